"""The only door to paramiko: connect, check the host key, log in, open a stream, run a command; or let the
system's ssh do it."""

import contextlib
import importlib.util
import logging
import sys
import threading
import time
from pathlib import Path

from runicorn.errors import (
    DeniedError,
    LineError,
    LoginError,
    MissingPackageError,
    ProtocolError,
    RemoteError,
    SftpError,
)
from runicorn.ssh import host_keys, remote_shell, sftp, system_remote, user_config
from runicorn.ssh import transport as ssh_transport
from runicorn.ssh.channel_errors import as_line_errors
from runicorn.ssh.dialer import PACKET_BYTES, WINDOW_BYTES, Dialer, silent

# Bytes of what a command prints, and of its standard error
OUTPUT_LIMIT, SAID_LIMIT = system_remote.OUTPUT_LIMIT, 1 << 20
CHANNEL_PAUSES = (0.1, 0.3, None)
# For SFTP to begin: a home folder that is mounted, start files that take their time
SFTP_SECONDS = 60


def connect(connection, ask=None, secrets=None, home=None, log=None, compress=True):
    """Log in and return a Remote. Tries once.

    connection: a dict as in config.json. ask(question: dict) -> str or None relays host key questions and
    prompts.
    secrets: {"password", "passphrase"}, read, and filled with what the user types, also for jump hosts;
    memory only.
    home: Runicorn's folder (Path).
    log(stage, text, **values): told as each of name, port, jump, banner, host_key, login is passed; values:
    what `text` is made of, for a translation (`said` names the sentence; a text without any holds no words).
    compress: zlib on the line. Raises LineError, LoginError, HostKeyError, MissingPackageError, RemoteError.
    """
    secrets = {} if secrets is None else secrets
    if connection["auth"] != "system":
        load = _ParamikoFor(connection)
        with contextlib.suppress(_NoParamiko):
            load.begin()
            dialer = Dialer(load, connection, ask, secrets, Path(home), log or silent)
            return Remote(dialer, *dialer.dial(compress))
    return system_remote.SystemRemote(connection, home, compress)


def hosts():
    """Return what ~/.ssh/config offers: list of {"host", "hostname", "user", "port", "key", "jump"}."""
    return [{"host": name, "hostname": options["hostname"], "user": options["user"], "port": options["port"],
             "key": (options.get("identityfile") or [None])[0], "jump": options.get("proxyjump")}
            for name, options in user_config.offered().items()]


class _NoParamiko(Exception):
    """It is absent, and the system's ssh can take its place."""


class _ParamikoFor:
    """Paramiko for a connection: called, it returns the module. Raises _NoParamiko, MissingPackageError."""

    def __init__(self, connection):
        self._connection = connection

    def begin(self):
        """Begin to load it: that takes as long as the server's first words do. One that is not installed is
        told before anybody is called."""
        if "paramiko" not in sys.modules and importlib.util.find_spec("paramiko"):
            threading.Thread(target=self._load_ahead, name="paramiko", daemon=True).start()
        else:
            self()

    def _load_ahead(self):
        with contextlib.suppress(Exception):    # whoever needs it loads it then, and says what is wrong
            self()

    def __call__(self):
        try:
            # It takes half of its start to load that, for a `Match exec` that we read ourselves
            with _without("invoke"):
                import paramiko
        except ImportError as error:
            if self._connection["auth"] == "password":
                raise MissingPackageError("logging in with a password needs paramiko: pip install paramiko",
                                          code="missing", said="missing_paramiko") from error
            raise _NoParamiko from error
        logger = logging.getLogger("paramiko")
        if not logger.handlers:
            # It would print tracebacks of what we report in one sentence
            logger.addHandler(logging.NullHandler())
        return paramiko


@contextlib.contextmanager
def _without(name):
    """Let imports within the block find no module of this name, unless it is loaded already."""
    absent = name not in sys.modules
    if absent:
        sys.modules[name] = None
    try:
        yield
    finally:
        if absent:
            del sys.modules[name]


class Remote:
    """A server we are logged in at. One thread at a time may use a stream; any may close."""

    def __init__(self, dialer, transport, target, line):
        self._dialer, self._transport, self._target, self._line = dialer, transport, target, line
        self._ssh = dialer.ssh
        self.interactive = dialer.asked_user     # the login needed an answer that can't be given twice
        self.exec_allowed = None            # None: not tried yet
        self.banner = transport.remote_version
        key = transport.get_remote_server_key()
        self.host_key = {"type": key.get_name(), "fingerprint": host_keys.fingerprint(key.asbytes())}
        self.host, self.port, self.user = target.hostname, target.port, target.user

    def open_stream(self, timeout=30, meanwhile=None):
        """Return a channel on which SFTP was asked for, to be spoken at once: send, recv, settimeout, close.
        Raises LineError, RemoteError.

        meanwhile: called once the server was asked for the channel, before it answered.
        """
        self._transport.at_next_channel(meanwhile)
        channel = self._channel(timeout)
        with as_line_errors(self._ssh, f"SFTP at {self._target.name}", self._target.name):
            self._transport.begin(channel, "subsystem", "sftp")
        return channel

    def open_sftp(self, timeout=30, start=None, meanwhile=None):
        """Return an sftp.Sftp over a new channel; see there for `start`, and `open_stream` for `meanwhile`.
        Raises LineError, ProtocolError, RemoteError."""
        channel, client = self.open_stream(timeout, meanwhile), None
        try:
            client = sftp.Sftp(channel, timeout, max(timeout, SFTP_SECONDS), start)
            return client
        except LineError as error:
            if not self.alive:
                raise
            if channel.closed and not channel.event_ready:
                raise RemoteError(f"{self._target.name} offers no SFTP; ask for `Subsystem sftp "
                                  f"internal-sftp` in its sshd_config",
                                  code="sftp", host=self._target.name) from error
            if not channel.eof_received:
                raise remote_shell.silent(self._target.name, max(timeout, SFTP_SECONDS)) from error
            channel.status_event.wait(1)
            raise remote_shell.ended(self, self._target.name, channel.exit_status) from error
        finally:
            if client is None:
                channel.close()         # the line may go on without it

    def _channel(self, timeout):
        with as_line_errors(self._ssh, f"a channel at {self._target.name}", self._target.name):
            for patience in CHANNEL_PAUSES:
                try:
                    channel = self._transport.open_session(window_size=WINDOW_BYTES,
                                                           max_packet_size=PACKET_BYTES, timeout=timeout)
                    break
                except self._ssh.SSHException as error:
                    refused = isinstance(error, self._ssh.ChannelException) or "Unable to open" in str(error)
                    # Dropbear may open one and close it at once
                    if patience is None or not (refused and self.alive):
                        raise
                    time.sleep(patience)    # MaxSessions: the session closed a moment ago may still count
        channel.settimeout(timeout)
        ssh_transport.take_chunks(self._ssh, channel)
        return channel

    def run(self, command, stdin=b"", timeout=60):
        """Run `command` there. Returns (exit status, stdout bytes, stderr bytes). Raises LineError,
        DeniedError when it may not, ProtocolError when it prints without end."""
        deadline = time.monotonic() + timeout
        for _ in range(2):
            channel = self._command_channel(min(timeout, 30))
            if not channel:
                break
            try:
                with as_line_errors(self._ssh, f"a command at {self._target.name}", self._target.name):
                    self._transport.begin(channel, "exec", command)
                    answer = _talk(channel, stdin, deadline)
                    if answer:
                        return answer
                    if not self.alive:
                        raise EOFError
            finally:
                channel.close()
            if not channel.eof_received:    # refused; dropbear ends a channel opened as another one closes
                break
        self.exec_allowed = False           # no commands at all, or none beside SFTP (MaxSessions 1)
        raise DeniedError(f"{self._target.name} runs no commands", 3, code="exec")

    def _command_channel(self, timeout):
        """Return a channel, None where the server grants none."""
        try:
            return self._channel(timeout)
        except RemoteError:
            if not self.alive:
                raise
            return None

    def probe_exec(self):
        """Return whether the server runs commands (bool); some accept them and start SFTP in their place."""
        try:
            remote_shell.probe(self)
            self.exec_allowed = True
        except (SftpError, ProtocolError):
            self.exec_allowed = False
        return self.exec_allowed

    def second(self):
        """Return another Remote with the same login, for bulk. Asks nobody: raises LoginError where that
        can't be."""
        if self.interactive:
            raise LoginError(f"{self._target.name} asks a question at each login, so there is one line only",
                             code="no_answer", host=self._target.name)
        dialer = self._dialer.another()
        return Remote(dialer, *dialer.dial(compress=False))

    @property
    def alive(self):
        return self._transport.is_active()

    @property
    def bytes_sent(self):
        return self._line.sent

    @property
    def bytes_received(self):
        return self._line.received

    def close(self):
        """Hang up, jump hosts included."""
        self._dialer.hang_up()


def _talk(channel, stdin, deadline):
    """Feed `stdin`, gather both outputs, return (status, stdout, stderr); None where the server did not take
    the command."""
    problem = []
    feeder = threading.Thread(target=_feed, args=(channel, stdin, problem), daemon=True)
    feeder.start()
    outputs = (channel.recv, bytearray(), OUTPUT_LIMIT), (channel.recv_stderr, bytearray(), SAID_LIMIT)
    # Both are buffered below, so one after the other can't lock up within the window
    for read, output, most in outputs:
        while True:
            channel.settimeout(max(0.01, deadline - time.monotonic()))
            data = read(1 << 16)
            if not data:
                break
            output += data
            if len(output) > most:
                raise ProtocolError(f"the command printed more than {most >> 20} MB")
    feeder.join(max(0.01, deadline - time.monotonic()))
    if channel.closed and not channel.event_ready:
        return None
    if not channel.status_event.wait(max(0.01, min(5, deadline - time.monotonic()))):
        raise EOFError("no exit status")
    return channel.exit_status, *(output for _, output, _ in outputs)


def _feed(channel, stdin, problem):
    try:
        channel.sendall(stdin)
        channel.shutdown_write()
    except (OSError, EOFError) as error:
        problem.append(error)       # it ended without wanting its input: its exit status tells
