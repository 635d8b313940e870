"""The only door to paramiko: connect, check the host key, log in, open a stream, run a command; or let the system's ssh do it."""

import contextlib
import errno
import ipaddress
import logging
import socket
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

from runicorn.errors import DeniedError, LineError, LoginError, MissingPackageError, ProtocolError, RemoteError, SftpError
from runicorn.ssh import host_keys, local, remote_shell, sftp, system_remote, user_config
from runicorn.ssh import transport as ssh_transport
from runicorn.ssh import words as ssh_words
from runicorn.ssh.handshake import Handshake
from runicorn.ssh.login import Login
from runicorn.ssh.process import Pipe

TCP_SECONDS = 10            # per address
KEEPALIVE_SECONDS = 30
CHANNEL_SECONDS = 20        # for a jump host to reach the next one
WINDOW_BYTES = 16 << 20     # paramiko's own 2 MiB moves 40 MB/s at 50 ms and no more
PACKET_BYTES = 64 << 10
OUTPUT_LIMIT, SAID_LIMIT = system_remote.OUTPUT_LIMIT, 1 << 20       # bytes of what a command prints, and of its standard error
FIRST_BYTES = 400
FOR_NOW = (2, 4)            # SSH_OPEN_CONNECT_FAILED, …_RESOURCE_SHORTAGE (RFC 4254, 5.1): of a host behind a jump host
CHANNEL_PAUSES = (0.1, 0.3, None)
SFTP_SECONDS = 60           # for SFTP to begin: a home folder that is mounted, start files that take their time
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}

# One host to log in at. name: as the user calls it; hostname: after ~/.ssh/config; auth: key, agent, password or hop (a jump host:
# whatever works); keys: paths; options: what ~/.ssh/config says about it.
Target = namedtuple("Target", "name hostname port user auth keys key_required identities_only options")


def connect(connection, ask=None, secrets=None, home=None, log=None, compress=True):
    """Log in and return a Remote. Tries once.

    connection: a dict as in config.json. ask(question: dict) -> str or None relays host key questions and prompts.
    secrets: {"password", "passphrase"}, read, and filled with what the user types, also for jump hosts; memory only.
    home: Runicorn's folder (Path).
    log(stage, text, **values): told as each of name, port, jump, banner, host_key, login is passed; values: what `text` is
    made of, for a translation (`said` names the sentence; a text without any holds no words). compress: zlib on the line.
    Raises LineError, LoginError, HostKeyError, MissingPackageError, RemoteError.
    """
    secrets = {} if secrets is None else secrets
    if connection["auth"] != "system":
        ssh = _paramiko(connection)
        if ssh:
            return _Dialer(ssh, connection, ask, secrets, Path(home), log or _silent).dial(compress)
    return system_remote.SystemRemote(connection, home, compress)


def hosts():
    """Return what ~/.ssh/config offers: list of {"host", "hostname", "user", "port", "key", "jump"}."""
    return [{"host": name, "hostname": options["hostname"], "user": options["user"], "port": options["port"],
             "key": (options.get("identityfile") or [None])[0], "jump": options.get("proxyjump")}
            for name, options in user_config.offered().items()]


def _paramiko(connection):
    """Return the paramiko module; None where it is absent and the system's ssh can take its place."""
    try:
        with _without("invoke"):        # paramiko takes half of its start to load it, for a `Match exec` that we read ourselves
            import paramiko
    except ImportError as error:
        if connection["auth"] == "password":
            raise MissingPackageError("logging in with a password needs paramiko: pip install paramiko", code="missing",
                                      said="missing_paramiko") from error
        return None
    logger = logging.getLogger("paramiko")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())        # it would print tracebacks of what we report in one sentence
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


def _silent(stage, text, **values):
    """Nobody listens."""


class _Dialer:
    """Everything one connection needs to be made, and made again for a second line."""

    def __init__(self, ssh, connection, ask, secrets, home, log):
        self.ssh, self.connection, self.ask, self.secrets, self.home, self.log = ssh, connection, ask, secrets, home, log
        self.opened = []            # transports and sockets of the way there, nearest first
        self.asked_user = False          # somebody on the way asked what only the user could answer

    def dial(self, compress):
        try:
            target = self._target()
            line = self._line(target)
            transport = self._logged_in(target, line, self.secrets, compress)
        except BaseException:
            self.hang_up()
            raise
        return Remote(self, transport, target, line)

    def hang_up(self):
        while self.opened:
            self.opened.pop().close()

    def again(self):
        """Return a dialer for the same login that asks nobody."""
        return _Dialer(self.ssh, self.connection, None, self.secrets, self.home, _silent)

    # -- who is it

    def _target(self):
        connection = self.connection
        port = connection["port"] if connection["port"] != 22 else None         # 22 is the form's default: ~/.ssh/config may know better
        options = user_config.lookup(connection["host"], connection["user"], port)
        keys = [str(Path(connection["key"]).expanduser())] if connection["key"] else []
        return Target(connection["host"], options["hostname"], options["port"], options["user"], connection["auth"],
                      keys or options.get("identityfile", []), bool(keys), options.get("identitiesonly", "").lower() == "yes", options)

    def _hop(self, host, user, port):
        options = user_config.lookup(host, user, port)
        keys = list(options.get("identityfile", [])) or ([str(Path(self.connection["key"]).expanduser())] if self.connection["key"] else [])
        return Target(host, options["hostname"], options["port"], options["user"], "hop", keys, False,
                      options.get("identitiesonly", "").lower() == "yes", options)

    # -- the way there

    def _line(self, target, depth=0):
        """Return a byte stream to the target's SSH port: over jump hosts, through a ProxyCommand, or by TCP."""
        if depth > user_config.JUMPS:
            raise user_config.circle(target.name)
        jump, command = target.options.get("proxyjump", "none"), target.options.get("proxycommand", "none")
        if jump.lower() != "none":
            return self._jumped(target, user_config.jumps(jump), depth)
        if command.lower() != "none":
            self.log("name", f"by ProxyCommand {command}", said="proxy", command=command)
            pipe = Pipe(local.shell_words(command, replaced=True))
            passes = target.options.get("proxyusefdpass", "no").lower() in ("yes", "true") and hasattr(socket, "recv_fds")
            return self._kept(_passed_socket(pipe, target) if passes else pipe)
        return self._kept(self._dialled(target))

    def _jumped(self, target, hops, depth):
        line = None
        for number, hop in enumerate(hops):
            via = self._hop(*hop)
            if line is None:
                line = self._line(via, depth + 1)
            transport = self._logged_in(via, line, self._hop_secrets(via), compress=False)
            self.log("jump", f"{via.user}@{via.name}:{via.port}")
            after = self._hop(*hops[number + 1]) if number + 1 < len(hops) else target
            line = self._kept(self._through(transport, via, after))
        return line

    def _hop_secrets(self, via):
        """Return the secrets of a jump host, kept in memory with the connection's; a key of both has one passphrase."""
        hop = self.secrets.setdefault(f"{via.user}@{via.hostname}:{via.port}", {})
        if self.secrets.get("passphrase"):
            hop.setdefault("passphrase", self.secrets["passphrase"])
        return hop

    def _through(self, transport, via, after):
        with _told(self.ssh, f"the way from {via.name} to {after.hostname}:{after.port}", via.name, FOR_NOW):
            return transport.open_channel("direct-tcpip", (after.hostname, after.port), ("127.0.0.1", 0), window_size=WINDOW_BYTES,
                                          timeout=CHANNEL_SECONDS)

    def _dialled(self, target):
        began, options = time.monotonic(), target.options
        try:
            family = FAMILIES.get(options.get("addressfamily", "any").lower(), socket.AF_UNSPEC)
            addresses = socket.getaddrinfo(target.hostname, target.port, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", error)
            raise LineError(f"the name {target.hostname} is not known here ({why}): check the spelling, the network or the VPN",
                            code="name", host=target.hostname) from error
        self.log("name", ", ".join(dict.fromkeys(address[4][0] for address in addresses)))
        errors, causes = [], []
        for family, kind, protocol, _, address in addresses:
            line = socket.socket(family, kind, protocol)
            try:
                if options.get("bindaddress"):
                    line.bind((options["bindaddress"], 0))
                line.settimeout(user_config.seconds(options.get("connecttimeout"), TCP_SECONDS))
                line.connect(address)
                _keep_alive(line)
                place_text, took = f"{address[0]}:{address[1]}", f"{(time.monotonic() - began) * 1000:.0f}"
                self.log("port", f"{place_text} in {took} ms", said="port_open", where=place_text, took=took)
                return line
            except OSError as error:
                line.close()
                errors.append(error.strerror or str(error))
                causes.append(errno.errorcode.get(error.errno, "ETIMEDOUT" if isinstance(error, TimeoutError) else errors[-1]))
        raise LineError(f"{target.hostname}:{target.port} does not answer ({'; '.join(dict.fromkeys(errors))}): is the port right, "
                        "sshd running, a firewall or VPN in between?",
                        code="port", host=target.hostname, port=str(target.port), causes=list(dict.fromkeys(causes)))

    def _kept(self, line):
        counted = _Counted(line)
        self.opened.append(counted)
        return counted

    # -- one host: handshake, host key, login

    def _logged_in(self, target, line, secrets, compress):
        transport = ssh_transport.transport_class(self.ssh)(line, default_window_size=WINDOW_BYTES, default_max_packet_size=PACKET_BYTES)
        self.opened.append(transport)
        transport.daemon = True
        transport.use_compression(compress)
        Handshake(self.ssh, target, self.home, self.ask, self.log).run(transport, line)
        login = Login(self.ssh, transport, target, self.ask, secrets)
        login.run()
        self.asked_user = self.asked_user or login.asked_user
        method, takes = transport.auth_handler.auth_method, ", ".join(login.offered)
        self.log("login", f"{target.user} by {method} (it takes {takes or 'anybody'})", said="login_done" if takes else "login_open",
                 user=target.user, method=method, takes=takes)
        transport.set_keepalive(KEEPALIVE_SECONDS)
        return transport


def _passed_socket(pipe, target):
    """Return the socket that a ProxyCommand with ProxyUseFdpass makes and hands over."""
    try:
        pipe.settimeout(user_config.seconds(target.options.get("connecttimeout"), TCP_SECONDS))
        _, passed, _, _ = socket.recv_fds(pipe.socket, 1, 1)
        line = socket.socket(fileno=passed[0])
    except (OSError, IndexError) as error:
        words = ssh_words.sentence(pipe.said()) or str(error)
        raise LineError(f"the ProxyCommand to {target.name} brought no server: {words}", code="banner", said="proxy_said", words=words,
                        host=target.name) from error
    finally:
        pipe.close()
    _keep_alive(line)
    return line


def _keep_alive(line):
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


class _Counted:
    """A stream that counts its bytes, as paramiko's Transport wants a socket to be."""

    def __init__(self, line):
        self._line = line
        self._closed = False        # paramiko looks at this private mark of sockets when it ends
        self.sent = self.received = 0
        self.first = bytearray()    # the first bytes that came: what is no SSH server gives itself away by them
        self.settimeout = line.settimeout

    def said(self):
        """Return what a ProxyCommand, if the line is one, said of itself (str)."""
        return ssh_words.sentence(self._line.said()) if isinstance(self._line, Pipe) else ""

    def is_local(self):
        """Whether the other end is an address of this computer's own (127.x.x.x, ::1); never so behind a jump host or a command."""
        try:
            return isinstance(self._line, socket.socket) and ipaddress.ip_address(self._line.getpeername()[0]).is_loopback
        except (OSError, ValueError):
            return False        # cut, or an address of another kind

    def close(self):
        self._closed = True
        self._line.close()

    def send(self, data):
        sent = self._line.send(data)
        self.sent += sent
        return sent

    def recv(self, size):
        data = self._line.recv(size)
        if self.received < FIRST_BYTES:
            self.first += data[:FIRST_BYTES - self.received]
        self.received += len(data)
        return data


class _told:
    """Turn paramiko's and the socket's errors into a LineError that names `what`, which `host` was to do. for_now: the codes of
    refused channels that are worth another try."""

    def __init__(self, ssh, what, host, for_now=()):
        self.ssh, self.what, self.host, self.for_now = ssh, what, host, for_now

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if isinstance(error, self.ssh.ChannelException) and error.code in self.for_now:
            raise LineError(f"{self.what}: {self.host} could not make it ({error.text})", code="line", said="channel",
                            host=self.host, detail=error.text) from error
        if isinstance(error, self.ssh.ChannelException):
            raise RemoteError(f"{self.what}: the server said no ({error})", code="channel", host=self.host, detail=str(error)) from error
        if isinstance(error, (self.ssh.SSHException, EOFError, OSError)):
            raise LineError(f"{self.what} was cut or did not answer ({error or 'end of stream'})", code="line", host=self.host,
                            detail=str(error) or "end of stream") from error


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
        """Return a channel on which SFTP was asked for, to be spoken at once: send, recv, settimeout, close. Raises LineError, RemoteError.

        meanwhile: called once the server was asked for the channel, before it answered.
        """
        self._transport.at_next_channel(meanwhile)
        channel = self._channel(timeout)
        with _told(self._ssh, f"SFTP at {self._target.name}", self._target.name):
            self._transport.begin(channel, "subsystem", "sftp")
        return channel

    def open_sftp(self, timeout=30, start=None, meanwhile=None):
        """Return an sftp.Sftp over a new channel; see there for `start`, and `open_stream` for `meanwhile`. Raises LineError,
        ProtocolError, RemoteError."""
        channel, client = self.open_stream(timeout, meanwhile), None
        try:
            client = sftp.Sftp(channel, timeout, max(timeout, SFTP_SECONDS), start)
            return client
        except LineError as error:
            if not self.alive:
                raise
            if channel.closed and not channel.event_ready:
                raise RemoteError(f"{self._target.name} offers no SFTP; ask for `Subsystem sftp internal-sftp` in its sshd_config",
                                  code="sftp", host=self._target.name) from error
            if not channel.eof_received:
                raise remote_shell.silent(self._target.name, max(timeout, SFTP_SECONDS)) from error
            channel.status_event.wait(1)
            raise remote_shell.ended(self, self._target.name, channel.exit_status) from error
        finally:
            if client is None:
                channel.close()         # the line may go on without it

    def _channel(self, timeout):
        with _told(self._ssh, f"a channel at {self._target.name}", self._target.name):
            for patience in CHANNEL_PAUSES:
                try:
                    channel = self._transport.open_session(window_size=WINDOW_BYTES, max_packet_size=PACKET_BYTES, timeout=timeout)
                    break
                except self._ssh.SSHException as error:
                    refused = isinstance(error, self._ssh.ChannelException) or "Unable to open" in str(error)
                    if patience is None or not (refused and self.alive):    # dropbear may open one and close it at once
                        raise
                    time.sleep(patience)    # MaxSessions: the session closed a moment ago may still count
        channel.settimeout(timeout)
        ssh_transport.take_chunks(self._ssh, channel)
        return channel

    def run(self, command, stdin=b"", timeout=60):
        """Run `command` there. Returns (exit status, stdout bytes, stderr bytes). Raises LineError, DeniedError when it may
        not, ProtocolError when it prints without end."""
        deadline = time.monotonic() + timeout
        for _ in range(2):
            channel = self._command_channel(min(timeout, 30))
            if not channel:
                break
            try:
                with _told(self._ssh, f"a command at {self._target.name}", self._target.name):
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
        """Return another Remote with the same login, for bulk. Asks nobody: raises LoginError where that can't be."""
        if self.interactive:
            raise LoginError(f"{self._target.name} asks a question at each login, so there is one line only", code="no_answer",
                             host=self._target.name)
        return self._dialer.again().dial(compress=False)

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
    """Feed `stdin`, gather both outputs, return (status, stdout, stderr); None where the server did not take the command."""
    problem = []
    feeder = threading.Thread(target=_feed, args=(channel, stdin, problem), daemon=True)
    feeder.start()
    outputs = (channel.recv, bytearray(), OUTPUT_LIMIT), (channel.recv_stderr, bytearray(), SAID_LIMIT)
    for read, output, most in outputs:            # both are buffered below, so one after the other can't lock up within the window
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
