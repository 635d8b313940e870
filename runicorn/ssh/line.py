"""The byte stream to one SSH port: by TCP, or the socket that a ProxyCommand hands over, with its bytes
counted. Speaks no SSH."""

import errno
import ipaddress
import socket
import time

from runicorn import local_disk
from runicorn.errors import LineError
from runicorn.ssh import user_config
from runicorn.ssh import words as ssh_words
from runicorn.ssh.process import Pipe

TCP_SECONDS = 10            # per address
FIRST_BYTES = 400
# Bytes asked of the stream at once: paramiko asks for a packet's head, then for its rest
AHEAD = 256 << 10
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def dialled(target, log):
    """Return a socket that is connected to the port of `target` (dialer.Target), by the first of its
    addresses that answers. Raises LineError."""
    began, options = time.monotonic(), target.options
    try:
        family = FAMILIES.get(options.get("addressfamily", "any").lower(), socket.AF_UNSPEC)
        addresses = socket.getaddrinfo(target.hostname, target.port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError):
            local_disk.pass_over(error)
        why = getattr(error, "strerror", error)
        raise LineError(f"the name {target.hostname} is not known here ({why}): check the spelling, the "
                        f"network or the VPN",
                        code="name", host=target.hostname) from error
    log("name", ", ".join(dict.fromkeys(address[4][0] for address in addresses)))
    errors, causes = [], []
    for family, kind, protocol, _, address in addresses:
        line = None
        try:
            line = socket.socket(family, kind, protocol)        # refused where this machine has no IPv6
            if options.get("bindaddress"):
                line.bind((options["bindaddress"], 0))
            line.settimeout(user_config.seconds(options.get("connecttimeout"), TCP_SECONDS))
            line.connect(address)
            keep_alive(line)
            address_text, took = f"{address[0]}:{address[1]}", f"{(time.monotonic() - began) * 1000:.0f}"
            log("port", f"{address_text} in {took} ms", said="port_open", where=address_text, took=took)
            return line
        except OSError as error:
            if line:
                line.close()
            local_disk.pass_over(error)
            errors.append(error.strerror or str(error))
            causes.append(errno.errorcode.get(error.errno,
                                              "ETIMEDOUT" if isinstance(error, TimeoutError) else errors[-1]))
    raise LineError(f"{target.hostname}:{target.port} does not answer ({'; '.join(dict.fromkeys(errors))}): "
                    f"is the port right, " "sshd running, a firewall or VPN in between?", code="port",
                    host=target.hostname, port=str(target.port), causes=list(dict.fromkeys(causes)))


def passed_socket(pipe, target):
    """Return the socket that a ProxyCommand with ProxyUseFdpass makes and hands over."""
    try:
        pipe.settimeout(user_config.seconds(target.options.get("connecttimeout"), TCP_SECONDS))
        _, passed, _, _ = socket.recv_fds(pipe.socket, 1, 1)
        line = socket.socket(fileno=passed[0])
    except (OSError, IndexError) as error:
        words = ssh_words.sentence(pipe.said()) or str(error)
        raise LineError(f"the ProxyCommand to {target.name} brought no server: {words}", code="banner",
                        said="proxy_said", words=words, host=target.name) from error
    finally:
        pipe.close()
    keep_alive(line)
    return line


def keep_alive(line):
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


class Counted:
    """A stream that counts its bytes, as paramiko's Transport wants a socket to be."""

    def __init__(self, line):
        self._line = line
        self._closed = False        # paramiko looks at this private mark of sockets when it ends
        self.sent = self.received = 0
        # The first bytes that came: what is no SSH server gives itself away by them
        self.first = bytearray()
        self._ahead, self._start = b"", 0       # bytes that came and nobody asked for yet, from `_start` on
        self.settimeout = line.settimeout

    def said(self):
        """Return what a ProxyCommand, if the line is one, said of itself (str)."""
        return ssh_words.sentence(self._line.said()) if isinstance(self._line, Pipe) else ""

    def is_local(self):
        """Whether the other end is an address of this computer's own (127.x.x.x, ::1); never so behind a jump
        host or a command."""
        try:
            return (isinstance(self._line, socket.socket)
                    and ipaddress.ip_address(self._line.getpeername()[0]).is_loopback)
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
        if self._start == len(self._ahead):
            self._look_ahead(max(size, AHEAD))
        start, self._start = self._start, min(self._start + size, len(self._ahead))
        return self._ahead[start:self._start]

    def _look_ahead(self, size):
        self._ahead, self._start = self._line.recv(size), 0
        if self.received < FIRST_BYTES:
            self.first += self._ahead[:FIRST_BYTES - self.received]
        self.received += len(self._ahead)
