"""SSH servers that are not OpenSSH's, as packages bring them, each on a free loopback port with a key that
gets in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ports import free_port, listening
from sshd import make_key
from waiting import until

START_SECONDS = 20
ASYNCSSH = """
import asyncio, asyncssh, sys
async def process(process):
    import subprocess
    done = subprocess.run(["sh", "-c", process.command], input=(await process.stdin.read()),
                          capture_output=True)
    process.stdout.write(done.stdout)
    process.stderr.write(done.stderr)
    process.exit(done.returncode)
async def main(key, keys, port):
    await asyncssh.create_server(asyncssh.SSHServer, "127.0.0.1", int(port), server_host_keys=[key],
                                 authorized_client_keys=keys, sftp_factory=True, process_factory=process,
                                 encoding=None)
    await asyncio.Event().wait()
asyncio.run(main(*sys.argv[1:]))
"""
# paramiko's server announces no extension and may be odd on purpose: sys.argv[4:] are `Server`'s quirks.
PARAMIKO = """
import os, socket, sys, threading, paramiko
QUIRKS = sys.argv[4:]
if "no long names" in QUIRKS: paramiko.SFTPAttributes.__str__ = lambda self: ""
if "input to what is refused ends the line" in QUIRKS:
    feed = paramiko.Channel._feed
    def fed(channel, message):
        if hasattr(channel, "served"): feed(channel, message)
        else: channel.transport.close()
    paramiko.Transport._channel_handler_table[94] = fed
def attributes(status, name=None, listed=False):
    made = paramiko.SFTPAttributes.from_stat(status, name)
    bare = listed and "no modes in lists" in QUIRKS
    if bare or "no owners" in QUIRKS: made.st_uid = made.st_gid = None
    if bare: made.st_mode = made.st_size = made.st_mtime = made.st_atime = None
    return made
class Handle(paramiko.SFTPHandle):
    def __init__(self, path):
        super().__init__(os.O_RDONLY)
        self.readfile = open(path, "rb")
    def stat(self): return attributes(os.fstat(self.readfile.fileno()))
    def read(self, offset, length):
        if "short reads" in QUIRKS: length = min(length, 700)
        if "reads past the end fail" in QUIRKS and offset >= os.fstat(self.readfile.fileno()).st_size:
            return paramiko.SFTP_FAILURE
        return super().read(offset, length)
def answered(call):
    def method(*arguments):
        try:
            return call(*arguments)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
    return method
class Files(paramiko.SFTPServerInterface):
    @answered
    def list_folder(self, path):
        made = [attributes(os.lstat(os.path.join(path, name)), name, True) for name in os.listdir(path)]
        return made + [attributes(os.lstat(path), name, True) for name in (".", "..") if "dots" in QUIRKS]
    @answered
    def stat(self, path): return attributes(os.stat(path))
    @answered
    def lstat(self, path): return attributes(os.lstat(path))
    @answered
    def readlink(self, path): return os.readlink(path)
    @answered
    def open(self, path, flags, attr):
        return Handle(path)
    def canonicalize(self, path):
        path = os.path.normpath(os.path.join(os.getcwd(), path))
        if "paths end in /" in QUIRKS: return path + "/"
        if "paths begin with //" in QUIRKS: return "/" + path
        return path
class Login(paramiko.ServerInterface):
    def check_auth_publickey(self, user, key):
        return paramiko.AUTH_SUCCESSFUL if key.get_base64() in KEYS else paramiko.AUTH_FAILED
    def get_allowed_auths(self, user): return "publickey"
    def check_channel_request(self, kind, number): return paramiko.OPEN_SUCCEEDED
    def check_channel_subsystem_request(self, channel, name):
        channel.served = True
        return super().check_channel_subsystem_request(channel, name)
KEYS = open(sys.argv[2]).read()
def serve(line):
    transport = paramiko.Transport(line)
    transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(sys.argv[1]))
    transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
    transport.start_server(event=threading.Event(), server=Login())
listener = socket.create_server(("127.0.0.1", int(sys.argv[3])))
while True: serve(listener.accept()[0])
"""
PROFTPD = """
ServerType standalone
DefaultServer on
Port {port}
DefaultAddress 127.0.0.1
SocketBindTight on
User root
Group root
RootLogin on
RequireValidShell off
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
AuthUserFile {folder}/passwd
AuthOrder mod_auth_file.c
LoadModule mod_sftp.c
SFTPEngine on
SFTPLog {folder}/log
SFTPHostKey {folder}/host_key
SFTPAuthorizedUserKeys file:{folder}/keys.rfc4716
SFTPAuthMethods publickey
TransferLog none
SystemLog {folder}/system.log
"""


class Server:
    """One of `KINDS`, running until `stop()` or the end of the `with` block. Public: as sshd.Sshd. quirks: of
    PARAMIKO."""

    def __init__(self, kind, folder, start, quirks=()):
        self.quirks = quirks
        self.folder, self.home, self.host, self.port = Path(folder), Path(start), "127.0.0.1", free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.user = "tester" if kind == "ProFTPD" else "root"
        self.key, self.host_key = make_key(self.folder / "id_user"), self.folder / "host_key.pub"
        make_key(self.folder / "host_key", kind="rsa" if kind == "ProFTPD" else "ed25519")
        shutil.copy(self.folder / "id_user.pub", self.folder / "authorized_keys")
        self.known_hosts = self.folder / "known_hosts"
        command = KINDS[kind](self)
        if kind != "tinysshd":
            key = " ".join(self.host_key.read_text().split()[:2])
            self.known_hosts.write_text(f"[{self.host}]:{self.port} {key}\n")
        log = open(self.folder / "out", "wb")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=start,
                                         start_new_session=True)
        log.close()
        until(lambda: listening(self.host, self.port) or self._process.poll() is not None,
              (self.folder / "out").read_text, START_SECONDS)
        assert self._process.poll() is None, (self.folder / "out").read_text()
        if kind == "tinysshd":
            scan = subprocess.run(["ssh-keyscan", "-p", str(self.port), self.host], capture_output=True,
                                  text=True, timeout=20)
            self.known_hosts.write_text(scan.stdout)

    def dropbear(self):
        subprocess.run(["dropbearconvert", "openssh", "dropbear", str(self.folder / "host_key"),
                        str(self.folder / "dropbear_key")],
                       check=True, capture_output=True)
        return self._at_home(
            f"exec dropbear -F -E -r {self.folder / 'dropbear_key'} -p {self.host}:{self.port} -P "
            f"{self.folder / 'pid'}")

    def tinysshd(self):
        subprocess.run(["tinysshd-makekey", str(self.folder / "keys")], check=True, capture_output=True)
        tool = f"tinysshd -x sftp=/usr/lib/openssh/sftp-server {self.folder / 'keys'}"
        return [sys.executable, "-c", LISTENER, str(self.port), *self._at_home(f"exec {tool}")]

    def _at_home(self, command):
        """Run what looks for keys in the home folder where another one is mounted over it; seen by nobody
        else."""
        shutil.copytree(self.folder, self.folder / "root", ignore=lambda *_: {"root"})
        (self.folder / "root" / ".ssh").mkdir(mode=0o700)
        shutil.copy(self.folder / "authorized_keys", self.folder / "root" / ".ssh")
        os.chmod(self.folder / "root", 0o700)
        return ["unshare", "-m", "sh", "-c", f"mount --bind {self.folder / 'root'} /root && {command}"]

    def proftpd(self):
        made = subprocess.run(["ssh-keygen", "-e", "-f", str(self.folder / "id_user.pub")], check=True,
                              capture_output=True, text=True)
        (self.folder / "keys.rfc4716").write_text(made.stdout)
        (self.folder / "passwd").write_text(f"tester:x:{os.getuid()}:{os.getgid()}::{self.home}:/bin/sh\n")
        (self.folder / "passwd").chmod(0o600)
        (self.folder / "conf").write_text(PROFTPD.format(port=self.port, folder=self.folder))
        return ["proftpd", "-n", "-c", str(self.folder / "conf")]

    def asyncssh(self):
        return [sys.executable, "-c", ASYNCSSH, str(self.folder / "host_key"),
                str(self.folder / "authorized_keys"), str(self.port)]

    def paramiko(self):
        return [sys.executable, "-c", PARAMIKO, str(self.folder / "host_key"),
                str(self.folder / "authorized_keys"), str(self.port), *self.quirks]

    def rclone(self):
        return ["rclone", "serve", "sftp", "/", "--addr", f"{self.host}:{self.port}", "--key",
                str(self.folder / "host_key"), "--authorized-keys", str(self.folder / "authorized_keys"),
                "--dir-cache-time", "0s", "--config", "/dev/null"]

    def connection(self, **changes):
        return {"name": "test", "host": self.host, "port": self.port, "user": self.user, "auth": "key",
                "key": str(self.key), **changes}

    def trusted_in(self, home):
        home.mkdir(parents=True, exist_ok=True)
        with (home / "known_hosts").open("a") as file:
            file.write(self.known_hosts.read_text())
        return self

    def sftp(self, batch="pwd\n"):
        """Run plain sftp with the same key; returns the finished process. batch: its commands."""
        command = ["sftp", "-b", "-", "-P", str(self.port), "-i", str(self.key),
                   f"-oUserKnownHostsFile={self.known_hosts}", "-oIdentitiesOnly=yes",
                   f"{self.user}@{self.host}"]
        return subprocess.run(command, input=batch, capture_output=True, text=True, timeout=40)

    def stop(self):
        try:
            os.killpg(self._process.pid, 9)
        except ProcessLookupError:
            pass                # it ended by itself
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


LISTENER = ("import socket,subprocess,sys\ns=socket.create_server((\"127.0.0.1\",int(sys.argv[1])))\n"
            "while True:\n"
            " c,_=s.accept()\n subprocess.Popen(sys.argv[2:],stdin=c,stdout=c)\n c.close()\n")
KINDS = {"dropbear": Server.dropbear, "tinysshd": Server.tinysshd, "ProFTPD": Server.proftpd,
         "AsyncSSH": Server.asyncssh, "rclone": Server.rclone, "paramiko": Server.paramiko}
