"""A far side without SSH: OpenSSH's sftp-server over a socketpair, one process per session."""

import socket
import subprocess

from runicorn.ssh.sftp import Sftp

SERVER = "/usr/lib/openssh/sftp-server"


class Far:
    """A Remote as `sync` wants it, whose server is this machine: one that would let us write."""

    exec_allowed = False
    host_key = "SHA256:of-this-machine"

    def __init__(self, words=(SERVER,), python=None, cwd=None):
        self.words, self.python, self.cwd = words, python, cwd
        self.exec_allowed = bool(python)
        self.processes, self.streams, self.sessions, self.alive = [], [], [], True

    @property
    def bytes_sent(self):
        return sum(session.sent for session in self.sessions)

    @property
    def bytes_received(self):
        return sum(session.received for session in self.sessions)

    def stream(self):
        ours, theirs = socket.socketpair()
        self.processes.append(subprocess.Popen(self.words, stdin=theirs, stdout=theirs, cwd=self.cwd))
        theirs.close()
        self.streams.append(ours)
        return ours

    def client(self, **options):
        return Sftp(self.stream(), timeout=10, **options)

    def open_sftp(self, start=None, meanwhile=None):
        self.sessions.append(self.client(start=start))
        if meanwhile:
            meanwhile()
        return self.sessions[-1]

    def run(self, command, stdin=b"", timeout=60):
        done = subprocess.run(["sh", "-c", command.replace("python3", self.python)], input=stdin,
                              capture_output=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def second(self):
        return Far(self.words, self.python, self.cwd)

    def close(self):
        self.alive = False
        for stream in self.streams:
            stream.close()
        for process in self.processes:
            process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
