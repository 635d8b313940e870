"""Everything one connection needs to be made: who the server is, the way there over jump hosts and commands,
each host's login. Is handed paramiko, imports it not."""

import functools
import socket
from collections import namedtuple
from pathlib import Path

from runicorn.ssh import local, user_config
from runicorn.ssh import transport as ssh_transport
from runicorn.ssh.channel_errors import FOR_NOW, as_line_errors
from runicorn.ssh.handshake import Handshake
from runicorn.ssh.line import Counted, dialled, passed_socket
from runicorn.ssh.login import Login
from runicorn.ssh.process import Pipe

KEEPALIVE_SECONDS = 30
CHANNEL_SECONDS = 20        # for a jump host to reach the next one
WINDOW_BYTES = 16 << 20     # paramiko's own 2 MiB moves 40 MB/s at 50 ms and no more
PACKET_BYTES = 64 << 10

# One host to log in at. name: as the user calls it; hostname: after ~/.ssh/config; auth: key, agent, password
# or hop (a jump host:
# whatever works); keys: paths; options: what ~/.ssh/config says about it.
Target = namedtuple("Target", "name hostname port user auth keys key_required identities_only options")


def silent(stage, text, **values):
    """Nobody listens."""


class Dialer:
    """Everything one connection needs to be made, and made again for a second line."""

    def __init__(self, load, connection, ask, secrets, home, log):
        """load(): returns paramiko, which may be on its way while the server is called."""
        self._load = load
        self.connection, self.ask = connection, ask
        self.secrets, self.home, self.log = secrets, home, log
        self.opened = []            # transports and sockets of the way there, nearest first
        self.asked_user = False          # somebody on the way asked what only the user could answer

    @functools.cached_property
    def ssh(self):
        return self._load()

    def dial(self, compress):
        """Return (paramiko's Transport, logged in; the Target; its line.Counted). Raises RemoteError."""
        try:
            target = self._target()
            line = self._line(target)
            transport = self._logged_in(target, line, self.secrets, compress)
        except BaseException:
            self.hang_up()
            raise
        return transport, target, line

    def hang_up(self):
        while self.opened:
            self.opened.pop().close()

    def another(self):
        """Return a dialer for the same login that asks nobody."""
        return Dialer(lambda: self.ssh, self.connection, None, self.secrets, self.home, silent)

    # -- who is it

    def _target(self):
        connection = self.connection
        # 22 is the form's default: ~/.ssh/config may know better
        port = connection["port"] if connection["port"] != 22 else None
        options = user_config.lookup(connection["host"], connection["user"], port)
        keys = [str(Path(connection["key"]).expanduser())] if connection["key"] else []
        return Target(connection["host"], options["hostname"], options["port"], options["user"],
                      connection["auth"], keys or options.get("identityfile", []), bool(keys),
                      options.get("identitiesonly", "").lower() == "yes", options)

    def _hop(self, host, user, port):
        options = user_config.lookup(host, user, port)
        keys = list(options.get("identityfile", [])) or ([str(Path(self.connection["key"]).expanduser())]
                                                         if self.connection["key"] else [])
        return Target(host, options["hostname"], options["port"], options["user"], "hop", keys, False,
                      options.get("identitiesonly", "").lower() == "yes", options)

    # -- the way there

    def _line(self, target, depth=0):
        """Return a byte stream to the target's SSH port: over jump hosts, through a ProxyCommand, or by
        TCP."""
        if depth > user_config.JUMPS:
            raise user_config.circle(target.name)
        jump, command = target.options.get("proxyjump", "none"), target.options.get("proxycommand", "none")
        if jump.lower() != "none":
            return self._jumped(target, user_config.jumps(jump), depth)
        if command.lower() != "none":
            self.log("name", f"by ProxyCommand {command}", said="proxy", command=command)
            pipe = Pipe(local.shell_words(command, replaced=True))
            passes = (target.options.get("proxyusefdpass", "no").lower() in ("yes", "true")
                      and hasattr(socket, "recv_fds"))
            return self._counted(passed_socket(pipe, target) if passes else pipe)
        return self._counted(dialled(target, self.log))

    def _jumped(self, target, hops, depth):
        line = None
        for number, hop in enumerate(hops):
            via = self._hop(*hop)
            if line is None:
                line = self._line(via, depth + 1)
            transport = self._logged_in(via, line, self._hop_secrets(via), compress=False)
            self.log("jump", f"{via.user}@{via.name}:{via.port}")
            after = self._hop(*hops[number + 1]) if number + 1 < len(hops) else target
            line = self._counted(self._through(transport, via, after))
        return line

    def _hop_secrets(self, via):
        """Return the secrets of a jump host, kept in memory with the connection's; a key of both has one
        passphrase."""
        hop = self.secrets.setdefault(f"{via.user}@{via.hostname}:{via.port}", {})
        if self.secrets.get("passphrase"):
            hop.setdefault("passphrase", self.secrets["passphrase"])
        return hop

    def _through(self, transport, via, after):
        with as_line_errors(self.ssh, f"the way from {via.name} to {after.hostname}:{after.port}", via.name,
                            FOR_NOW):
            return transport.open_channel("direct-tcpip", (after.hostname, after.port), ("127.0.0.1", 0),
                                          window_size=WINDOW_BYTES, timeout=CHANNEL_SECONDS)

    def _counted(self, line):
        counted = Counted(line)
        self.opened.append(counted)
        return counted

    # -- one host: handshake, host key, login

    def _logged_in(self, target, line, secrets, compress):
        transport = ssh_transport.transport_class(self.ssh)(line, default_window_size=WINDOW_BYTES,
                                                            default_max_packet_size=PACKET_BYTES)
        self.opened.append(transport)
        transport.use_compression(compress)
        Handshake(self.ssh, target, self.home, self.ask, self.log).run(transport, line)
        login = Login(self.ssh, transport, target, self.ask, secrets)
        login.run()
        self.asked_user = self.asked_user or login.asked_user
        method, takes = transport.auth_handler.auth_method, ", ".join(login.offered)
        self.log("login", f"{target.user} by {method} (it takes {takes or 'anybody'})",
                 said="login_done" if takes else "login_open", user=target.user, method=method, takes=takes)
        transport.set_keepalive(KEEPALIVE_SECONDS)
        return transport
