"""Ports for the servers that tests start, outside the range from which the kernel gives a port to whoever
asks for any: one that a test has let go for a moment (a server that is stopped and started again) is not
given to somebody else meanwhile."""

import itertools
import os
import socket

with open("/proc/sys/net/ipv4/ip_local_port_range") as _range:
    _EPHEMERAL = int(_range.read().split()[0])
_FIRST, _LAST = (10_000, _EPHEMERAL) if _EPHEMERAL > 20_000 else (20_000, 60_000)
_PORTS = itertools.cycle(range(_FIRST, _LAST))
# processes that test at the same time begin at different places
_TURN = os.getpid() * 97 % (_LAST - _FIRST)
next(itertools.islice(_PORTS, _TURN, _TURN), None)


def free_port(address="127.0.0.1"):
    """Return a port on which nobody listens at `address`; the same is not returned again before thousands of
    others."""
    for port in _PORTS:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port


def listening(address, port):
    """Whether somebody accepts connections at `address`:`port`."""
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True
