"""The system's own ssh as the line: for Kerberos, FIDO keys, ControlMaster, and where paramiko is absent. Also runs ProxyCommands."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from runicorn import sftp, sshconfig
from runicorn.errors import (
    DeniedError,
    HostKeyError,
    LineError,
    LoginError,
    MissingPackageError,
    ProtocolError,
    RemoteError,
    SftpError,
    coded,
)

CONNECT_SECONDS = 15
OUTPUT_LIMIT = 256 << 20    # what a command may print before we stop believing it
LOST = 255                  # ssh's own exit status when the line or the login failed (ssh(1))


class Pipe:
    """A process's standard input and output as one byte stream with timeouts: send, recv, settimeout, close."""

    def __init__(self, command, shell=False):
        if os.name == "nt":         # a socket can't be a process's standard input there
            raise coded(MissingPackageError("system ssh and ProxyCommand work on Linux and macOS only: use a key, an agent or a password"),
                        "missing", said="missing_system")
        ours, theirs = socket.socketpair()
        self.errors = tempfile.TemporaryFile()
        self.socket = ours
        self.sent = self.received = 0
        try:
            self.process = subprocess.Popen(command, shell=shell, stdin=theirs, stdout=theirs, stderr=self.errors)
        except OSError as error:
            self.errors.close()
            ours.close()
            name = command if shell else command[0]
            raise coded(LineError(f"{name} can't be started: {error.strerror}"), "line", said="not_started", command=name,
                        detail=error.strerror) from error
        finally:
            theirs.close()

    def send(self, data):
        sent = self.socket.send(data)
        self.sent += sent
        return sent

    def recv(self, size):
        try:
            data = self.socket.recv(size)
        except ConnectionResetError:
            return b""          # the process ended with bytes of ours unread: the same as its end
        self.received += len(data)
        return data

    def settimeout(self, seconds):
        self.socket.settimeout(seconds)

    def shutdown_write(self):
        """Tell the process that no more input comes."""
        self.socket.shutdown(socket.SHUT_WR)

    def said(self):
        """Return the last lines the process wrote to standard error (str)."""
        if self.errors.closed:
            return ""
        self.errors.seek(0)
        return self.errors.read(1 << 16).decode("utf-8", "replace").strip()

    def close(self):
        """End the process and free everything."""
        self.socket.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.errors.close()


class SystemRemote:
    """A server reached by `ssh -s HOST sftp`; the same methods as remote.Remote. Prompts are impossible: ssh must get in by itself."""

    host_key = banner = None        # ssh keeps them to itself
    interactive = False

    def __init__(self, connection, home, compress=True):
        if not shutil.which("ssh"):
            raise coded(MissingPackageError("the system has no ssh: install OpenSSH's client, or `pip install paramiko`"), "missing",
                        said="missing_ssh")
        self._connection, self._home, self._compress = connection, home, compress
        self._pipes = []
        self._past = [0, 0]
        self.exec_allowed = None
        self._first = self._open()      # says at once whether ssh gets in

    def command(self, last, subsystem=False):
        """Return ssh's argument list for this connection; `last` is the command, or the subsystem, to start there."""
        wanted = self._connection
        options = ["BatchMode=yes", f"ConnectTimeout={CONNECT_SECONDS}", "ServerAliveInterval=15", "ServerAliveCountMax=3",
                   f"Compression={'yes' if self._compress else 'no'}", *self._known_hosts()]
        made = ["ssh", "-a", "-x", *(part for option in options for part in ("-o", option))]
        made += ["-p", str(wanted["port"])] if wanted["port"] != 22 else []
        made += ["-l", wanted["user"]] if wanted["user"] else []
        made += ["-i", str(Path(wanted["key"]).expanduser())] if wanted["key"] else []
        made += ["-s"] if subsystem else []
        return [*made, "--", wanted["host"], last]

    def _known_hosts(self):
        """Let ssh also read the host keys that were trusted here."""
        ours = Path(self._home) / "known_hosts"
        if not ours.is_file():
            return []
        told = sshconfig.lookup(self._connection["host"], commands=False)
        usual = told.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
        return [f'UserKnownHostsFile={usual} "{ours}"']

    def open_sftp(self, timeout=30):
        """Return an sftp.Sftp over a new ssh process. Raises LoginError, HostKeyError, LineError, RemoteError."""
        first, self._first = self._first, None
        return first or self._open(timeout)

    def _open(self, timeout=30):
        pipe = self._pipe(self.command("sftp", subsystem=True))
        try:
            return sftp.Sftp(pipe, timeout=timeout)
        except RemoteError as error:
            raise self._why(pipe, error) from error

    def _pipe(self, command):
        for old in [pipe for pipe in self._pipes if pipe.process.poll() is not None]:
            self._pipes.remove(old)
            self._past = [self._past[0] + old.sent, self._past[1] + old.received]
        pipe = Pipe(command)
        self._pipes.append(pipe)
        return pipe

    def _why(self, pipe, error):
        """Return the error that ssh's own words stand for, or `error` when it said nothing."""
        try:
            pipe.process.wait(2)
        except subprocess.TimeoutExpired:
            pass                # it hangs; what it said so far has to do
        said = pipe.said()
        pipe.close()
        last = said.splitlines()[-1] if said else str(error)
        host = self._connection["host"]
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
            return coded(HostKeyError(f"the host key of {host} changed: {said}"), "host_key_changed", host=host)
        if "Host key verification failed" in said:
            return coded(HostKeyError(f"ssh does not know the host key of {host}: run `ssh {host}` once in a terminal"), "host_key_unknown",
                         said="system_key_unknown", host=host)
        if "Permission denied" in said:
            advice = f"Make `ssh -o BatchMode=yes {host}` work, then test again"
            return coded(LoginError(f"ssh did not get into {host}: {last}. {advice}"), "login", said="system_login", host=host, detail=last)
        if "subsystem request failed" in said:
            return coded(RemoteError(f"{host} offers no SFTP: {last}"), "sftp", host=host)
        return coded(LineError(f"{host}: {last}"), "line", host=host, detail=last) if said else error

    def run(self, command, stdin=b"", timeout=60):
        """Run `command` there. Returns (exit status, stdout bytes, stderr bytes). Raises LineError, SftpError."""
        pipe = self._pipe(self.command(command))
        try:
            out = self._talk(pipe, stdin, time.monotonic() + timeout)
            status = pipe.process.wait(5)
            said = pipe.said()
        except (TimeoutError, socket.timeout, subprocess.TimeoutExpired) as error:
            raise coded(LineError(f"{self._connection['host']} did not finish a command within {timeout} s"), "line", said="command_slow",
                        host=self._connection["host"]) from error
        finally:
            pipe.close()
        if status == LOST:
            raise coded(LineError(f"{self._connection['host']}: {said or 'ssh failed'}"), "line", host=self._connection["host"],
                        detail=said)
        self.exec_allowed = True
        return status, out, said.encode()

    def _talk(self, pipe, stdin, deadline):
        out, view = bytearray(), memoryview(stdin)
        try:
            while view:
                pipe.settimeout(max(0.01, deadline - time.monotonic()))
                view = view[pipe.send(view[:1 << 16]):]
            pipe.shutdown_write()
        except BrokenPipeError:
            pass                # it ended without wanting its input; its answer tells why
        while True:
            pipe.settimeout(max(0.01, deadline - time.monotonic()))
            data = pipe.recv(1 << 16)
            if not data:
                return bytes(out)
            out += data
            if len(out) > OUTPUT_LIMIT:
                raise ProtocolError("the command printed more than 256 MB")

    def probe_exec(self):
        """Return whether the server runs commands (bool)."""
        try:
            self.exec_allowed = b"runicorn-42" in self.run("echo runicorn-$((6*7))")[1]
        except (SftpError, DeniedError):
            self.exec_allowed = False
        return self.exec_allowed

    def second(self):
        """Return another SystemRemote with the same login."""
        return SystemRemote(self._connection, self._home, compress=False)

    @property
    def alive(self):
        return any(pipe.process.poll() is None for pipe in self._pipes)

    @property
    def bytes_sent(self):
        return self._past[0] + sum(pipe.sent for pipe in self._pipes)

    @property
    def bytes_received(self):
        return self._past[1] + sum(pipe.received for pipe in self._pipes)

    def close(self):
        """End every ssh process."""
        for pipe in self._pipes:
            pipe.close()
