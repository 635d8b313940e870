"""The system's own ssh as the line: for Kerberos, FIDO keys, ControlMaster, and where paramiko is absent."""

import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path

from runicorn.errors import (
    DeniedError,
    LineError,
    MissingPackageError,
    ProtocolError,
    RemoteError,
    SftpError,
)
from runicorn.ssh import local, remote_shell, sftp, user_config, words
from runicorn.ssh.process import Pipe

CONNECT_SECONDS = 15        # where the user's config names no ConnectTimeout
LOGIN_SECONDS = 60          # more, for the login itself: a home folder that is mounted, a slow PAM
CONFIG_SECONDS = 10         # for ssh to read its config, `Match exec` included
OUTPUT_LIMIT = 48 << 20     # bytes that a command may print; 200,000 runs take that in an answer
LOST = 255                  # ssh's own exit status when the line or the login failed (ssh(1))
# What the user's config may ask for a session of theirs and ours must not have; as sftp(1) and scp(1) do. The
# words of a
# failure come at INFO.
ALWAYS = ("BatchMode=yes", "ClearAllForwardings=yes", "PermitLocalCommand=no", "Tunnel=no",
          "VisualHostKey=no", "LogLevel=INFO")
# The same, for options that older ssh do not know: given only where ssh says that they are set otherwise.
WHERE_SET = {"RemoteCommand": "none", "SessionType": "default", "StdinNull": "no",
             "ForkAfterAuthentication": "no"}
OFF = {"no", "false"}       # as ssh -G prints it
OUR_ALIVE = {"ServerAliveInterval": "15", "ServerAliveCountMax": "3"}
GLOBAL_KNOWN_HOSTS = " ".join(f'"{local.system_file(name)}"'
                              for name in ("ssh_known_hosts", "ssh_known_hosts2"))


class SystemRemote:
    """A server reached by `ssh -s HOST sftp`; the same methods as remote.Remote. Prompts are impossible: ssh
    must get in by itself."""

    host_key = banner = None        # ssh keeps them to itself
    interactive = False

    def __init__(self, connection, home, compress=True):
        if not shutil.which("ssh"):
            raise MissingPackageError("the system has no ssh: install OpenSSH's client, or `pip install "
                                      "paramiko`", code="missing",
                                      said="missing_ssh")
        self._connection, self._home, self._compress = connection, home, compress
        self._pipes = []
        self._past = [0, 0]
        self._arguments, self._login_seconds = None, LOGIN_SECONDS
        self.exec_allowed = None
        self._opened = self._open()      # says at once whether ssh gets in

    def command(self, last, subsystem=False):
        """Return ssh's argument list for this connection; `last` is the command, or the subsystem, to start
        there."""
        options = self._ssh()
        # -s goes before SessionType
        return ["ssh", *(["-s"] if subsystem else []), *options, "--", self._connection["host"], last]

    def _ssh(self):
        """Return the options of every ssh of ours; SessionType=default is -s's own after it, and a command's
        without."""
        if self._arguments is None:
            config = self._told()
            self._no_circle(config)
            options = [*ALWAYS, f"Compression={'yes' if self._compress else 'no'}",
                       *(f"{name}={value}" for name, value in WHERE_SET.items()
                         if _differs(config, name, value)), *_patience(config), *_multiplexing(config),
                       *_strictness(config), *self._known_hosts(config)]
            self._arguments = ["-a", "-x", "-T", *(word for option in options for word in ("-o", option)),
                               *self._where()]
            self._login_seconds = LOGIN_SECONDS + _seconds(config.get("connecttimeout"), CONNECT_SECONDS)
        return self._arguments

    def _where(self):
        connection = self._connection
        arguments = ["-p", str(connection["port"])] if connection["port"] != 22 else []
        arguments += ["-l", connection["user"]] if connection["user"] else []
        return arguments + (["-i", str(Path(connection["key"]).expanduser())] if connection["key"] else [])

    def _told(self):
        """Return what ssh's config says for this connection, {lower-case keyword: value}; {} where ssh can't
        tell."""
        return _config([*self._where(), "--", self._connection["host"]])

    def _no_circle(self, config):
        """Refuse jump hosts that lead to themselves: ssh would start itself again and again, until the
        machine has no memory left."""
        for _ in range(user_config.JUMPS + 1):
            jump = config.get("proxyjump", "none")
            if jump.lower() == "none":
                return
            # Ssh reads the config of the nearest one; the others are told by it
            host, user, port = user_config.jumps(jump)[0]
            config = _config([*(["-l", user] if user else []), *(["-p", str(port)] if port else []), "--",
                              host])
        raise user_config.circle(self._connection["host"])
    def _known_hosts(self, config):
        """Let ssh also read the host keys that were trusted here, and write none of its own there."""
        ours = Path(self._home) / "known_hosts"
        usual = config.get("globalknownhostsfile", GLOBAL_KNOWN_HOSTS)
        return [f'GlobalKnownHostsFile={usual if usual != "none" else ""} "{ours}"'] if ours.is_file() else []

    def _by_hand(self):
        """Return what a person types to go the same way (str)."""
        return shlex.join(["ssh", *self._where(), self._connection["host"]])

    def open_sftp(self, timeout=30, start=None, meanwhile=None):
        """Return an sftp.Sftp over a new ssh process; `start` and `meanwhile` are as for remote.Remote.
        Raises LoginError, HostKeyError, LineError, RemoteError."""
        opened, self._opened = self._opened, None
        if opened and start is not None:
            opened.begin_at(start)
        client = opened or self._open(timeout, start)
        if meanwhile:
            meanwhile()
        return client

    def _open(self, timeout=30, start=None):
        pipe = self._pipe(self.command("sftp", subsystem=True))
        try:
            return sftp.Sftp(pipe, timeout, self._login_seconds, start)
        except RemoteError as error:
            raise self._why(pipe, error) from error

    def _pipe(self, command):
        for old in [pipe for pipe in self._pipes if pipe.process.poll() is not None]:
            self._pipes.remove(old)
            self._past = [self._past[0] + old.sent, self._past[1] + old.received]
            old.close()
        pipe = Pipe(command, apart=True)     # a jump host's ssh would ask its questions on our terminal
        self._pipes.append(pipe)
        return pipe

    def _why(self, pipe, error):
        """Return the error that ssh's own words stand for, or `error` when it said nothing."""
        if not isinstance(error, LineError):
            pipe.close()
            return error        # it got in; what came tells more
        try:
            status = pipe.process.wait(2)
        except subprocess.TimeoutExpired:
            status = None       # it hangs; what it said so far has to do
        stderr = pipe.said()
        pipe.close()
        host = self._connection["host"]
        if status is None and not stderr:
            return LineError(f"ssh brought no SFTP from {host} within {self._login_seconds} s, and says "
                             f"nothing: does " f"`{self._by_hand()}` get in, and quickly?", code="line",
                             said="system_silent", host=host, limit=self._login_seconds,
                             command=self._by_hand())
        # It got in, and hands on what the server's end left with
        if status not in (None, LOST) and status > 0:
            return remote_shell.ended(self, host, status)
        return words.error(host, stderr, self._by_hand()) or error

    def run(self, command, stdin=b"", timeout=60):
        """Run `command` there. Returns (exit status, stdout bytes, stderr bytes). Raises LineError,
        SftpError."""
        pipe = self._pipe(self.command(command))
        try:
            out = self._talk(pipe, stdin, time.monotonic() + timeout)
            status = pipe.process.wait(5)
            stderr = pipe.said()
        except (TimeoutError, socket.timeout, subprocess.TimeoutExpired) as error:
            raise LineError(f"{self._connection['host']} did not finish a command within {timeout} s",
                            code="line", said="command_slow", host=self._connection["host"]) from error
        finally:
            pipe.close()
        host = self._connection["host"]
        if status == LOST and words.no_commands(stderr):
            self.exec_allowed = False
            raise DeniedError(f"{host} runs no commands", 3, code="exec", said="exec_none",
                              detail=words.sentence(stderr))
        if status == LOST:
            detail = words.sentence(stderr) or "ssh failed"
            raise LineError(f"{host}: {detail}", code="line", said="system_line", host=host, detail=detail)
        self.exec_allowed = True
        return status, out, stderr.encode()

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
                return out
            out += data
            if len(out) > OUTPUT_LIMIT:
                raise ProtocolError(f"the command printed more than {OUTPUT_LIMIT >> 20} MB")

    def probe_exec(self):
        """Return whether the server runs commands (bool); some accept them and start SFTP in their place."""
        try:
            remote_shell.probe(self)
            self.exec_allowed = True
        except (SftpError, LineError, ProtocolError):
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


def _config(arguments):
    """Return what `ssh -G` says, {lower-case keyword: value}; {} where it can't tell."""
    try:
        process = subprocess.run(["ssh", "-G", *arguments], capture_output=True, text=True, errors="replace",
                                 stdin=subprocess.DEVNULL, timeout=CONFIG_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return {}           # the connection itself, tried next, tells what is wrong
    return (dict(line.split(" ", 1) for line in process.stdout.splitlines() if " " in line)
            if not process.returncode else {})


def _seconds(text, otherwise):
    return int(text) if text and text.isdecimal() else otherwise


def _patience(config):
    """Return the options that say how long ssh waits: the user's where they set any."""
    options = ([] if config.get("connecttimeout", "none").isdecimal()
               else [f"ConnectTimeout={CONNECT_SECONDS}"])
    if config.get("serveraliveinterval", "0") == "0":
        options += [f"{name}={value}" for name, value in OUR_ALIVE.items()]
    return options


def _multiplexing(config):
    """Use a master of the user's; be none that others hang on, unless it lives on by itself: ours ends when
    we hang up."""
    return (["ControlMaster=no"] if _differs(config, "controlmaster", "no")
            and not _differs(config, "controlpersist", "no") else [])


def _strictness(config):
    """Nobody can be asked about a new host key; where that is said, ssh names the host whose key it is."""
    return ["StrictHostKeyChecking=yes"] if config.get("stricthostkeychecking") == "ask" else []


def _differs(config, name, value):
    return config.get(name.lower(), value) not in (OFF if value == "no" else {value})
