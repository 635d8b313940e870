"""What is each system's own in the viewer: whose a loopback connection is, and whether there is a desktop.

Linux knows the user of each end: sock_diag(7), else /proc/net/tcp (proc(5)). Windows knows its process
(GetExtendedTcpTable), and of that the user. Elsewhere nobody is told.
"""

import errno
import functools
import ipaddress
import math
import os
import re
import socket
import struct
import sys
import time

from runicorn.local_disk import SHORT

WINDOWS = os.name == "nt"
HAS_DESKTOP = sys.platform in ("darwin", "win32")       # whoever sits at a terminal there has a desktop
# Instead of a user: that end is not established or not accepted, and so has no owner, yet or any more
CLOSING = -1

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ESTABLISHED = 1
# linux/netlink.h, linux/sock_diag.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLMSG_ERROR, NLM_F_REQUEST = 4, 20, 2, 1
LINE = re.compile(r"^\s*\d+: ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ "
                  r"\S+\s+(\d+)\s+\d+ (\d+)",
                  re.M)

# TCP_TABLE_OWNER_PID_CONNECTIONS, MIB_TCP_STATE_ESTAB, ERROR_INSUFFICIENT_BUFFER
CONNECTIONS, MIB_ESTABLISHED, TOO_SMALL = 4, 5, 122
# MIB_TCPROW_OWNER_PID, MIB_TCP6ROW_OWNER_PID
ROW, ROW6 = struct.Struct("=I4s2s2x4s2s2xI"), struct.Struct("=16s4x2s2x16s4x2s2xII")
QUERY, TOKEN_QUERY, TOKEN_USER = 0x1000, 8, 1           # PROCESS_QUERY_LIMITED_INFORMATION, winnt.h
# a user of this machine or a domain, of a cloud; others are services
PERSON = re.compile(r"S-1-(5-21|12-1)-")
# s from 1601, where Windows begins to count (in 100 ns)
EPOCH = 11_644_473_600


def peer_user(peer, own, since=None):
    """Return whose the peer's end of a loopback connection is: a uid (int), on Windows a SID (str); CLOSING
    if nobody's any more; None where the system does not know, or does not tell.

    peer, own: (address, port) of the two ends. since: when the connection was taken (Unix s).
    """
    if not peer or not own:
        return None
    try:
        if WINDOWS:
            return by_process(peer, own, math.inf if since is None else since)
        return by_uid(peer, own) if sys.platform == "linux" else None
    except OSError as error:
        if error.errno in SHORT:
            raise                           # the system would tell
        return None


def our_users():
    """Return the users that may ask (set): ours, and under sudo who called it."""
    if WINDOWS:
        return {our_sid()} - {None}
    uids = {os.getuid()}
    if os.getuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        uids.add(int(os.environ["SUDO_UID"]))
    return uids


def lives(pid):
    """Whether a process of ours has this number, where that can be told without ending it."""
    try:
        return not WINDOWS and isinstance(pid, int) and pid > 0 and (os.kill(pid, 0) or True)
    except (OSError, OverflowError):
        return False


def told_by_kernel():
    """Whether this machine tells whose a loopback connection is: it is asked of one of ours."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(
                listener.getsockname(), 5) as line:
            return peer_user(line.getsockname(), line.getpeername(), time.time()) in our_users()
    except OSError:
        return False


# -- Linux ---------------------------------------------------------------------------------------------------

def by_uid(peer, own):
    """Return the uid that owns the peer's end, CLOSING, or None if the kernel knows no such end (another
    network namespace)."""
    try:
        socket_facts = by_diag(peer, own)
    except OSError as error:
        if error.errno in SHORT:
            raise
        socket_facts = by_table(peer, own)        # no sock_diag in this kernel or sandbox
    if socket_facts is None:
        return None
    state, uid, inode = socket_facts
    # Until it is accepted its owner is told as 0, which is root
    return uid if state == ESTABLISHED and inode else CLOSING


def by_diag(peer, own):
    """Ask the kernel for one socket: return (TCP state, uid, inode) of the peer's end, or None. Raises
    OSError where it can't be asked.

    Reading /proc/net/tcp walks all sockets (5 ms and more); this looks up one (0.1 ms).
    """
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    ends = [socket.inet_pton(family, end[0]).ljust(16, b"\0") for end in (peer, own)]
    ports, nobody = struct.pack("!HH", peer[1], own[1]), struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    # inet_diag_req_v2: in any state, on any interface, without a cookie
    identity = (struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ports + b"".join(ends)
                + nobody)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as channel:
        channel.settimeout(1.0)
        channel.send(struct.pack("=IHHII", 16 + len(identity), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0)
                     + identity)
        answer = channel.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR:
        code = -struct.unpack_from("=i", answer, 16)[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    return (answer[17], *struct.unpack_from("=II", answer, 16 + 64))       # inet_diag_msg: state, uid, inode


def by_table(peer, own, tables=TABLES):
    """Read the same from /proc/net/tcp and tcp6: return (TCP state, uid, inode) of the peer's end, or
    None."""
    pairs = {(_hex(peer, six), _hex(own, six)) for six in (False, True)}
    for table in tables:
        try:
            with open(table, encoding="ascii") as file:
                text = file.read()
        except OSError:
            continue        # no IPv6
        for local, remote, state, uid, inode in LINE.findall(text):
            if (local, remote) in pairs:
                return int(state, 16), int(uid), int(inode)
    return None


def _hex(end, six):
    """Return an (address, port) as /proc/net/tcp or tcp6 writes it: 32-bit words in this machine's byte
    order."""
    address = ipaddress.ip_address(end[0])
    if six and address.version == 4:
        address = ipaddress.ip_address(f"::ffff:{end[0]}")
    packed = address.packed
    words = [packed[start:start + 4] for start in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{end[1]:04X}"


# -- Windows -------------------------------------------------------------------------------------------------

def by_process(peer, own, since):
    """Return the SID of whose process owns the peer's end, CLOSING, or None if that can't be known or is a
    service: what looks into connections (virus scanners do) makes them anew, for whomever. Raises OSError."""
    owner = process_of(tcp_table(":" in peer[0]), peer, own)
    if not owner or owner[0] != MIB_ESTABLISHED:
        return owner and CLOSING
    sid = sid_of(owner[1], since)
    return sid if sid in our_users() or PERSON.match(sid or "") else None


def process_of(table, peer, own):
    """Return (TCP state, process id) of the peer's end in a MIB_TCPTABLE_OWNER_PID or, of IPv6,
    MIB_TCP6TABLE_OWNER_PID (bytes), or None."""
    six = ":" in peer[0]
    row, family = (ROW6, socket.AF_INET6) if six else (ROW, socket.AF_INET)
    pair = [field for end in (peer, own) for field in (socket.inet_pton(family, end[0]),
                                                       struct.pack("!H", end[1]))]
    count = min(struct.unpack_from("=I", table)[0], (len(table) - 4) // row.size)
    for entry in row.iter_unpack(table[4:4 + count * row.size]):
        ends, facts = (entry[:4], entry[4:]) if six else (entry[1:5], (entry[0], entry[5]))
        if list(ends) == pair:
            return facts
    return None


def tcp_table(six):
    """Return the table of this machine's TCP connections with their processes (bytes), of IPv6 or IPv4.
    Raises OSError."""
    import ctypes
    size = ctypes.c_ulong(1 << 16)
    while True:
        table = ctypes.create_string_buffer(size.value)
        code = ctypes.WinDLL("iphlpapi").GetExtendedTcpTable(table, ctypes.byref(size), False,
                                                             socket.AF_INET6 if six else socket.AF_INET,
                                                             CONNECTIONS, 0)
        if code == 0:
            return table.raw
        if code != TOO_SMALL:
            raise OSError(code, "GetExtendedTcpTable")


def sid_of(pid, since):
    """Return the SID (str) of whose process `pid` is; None if Windows does not say, or the process is younger
    than `since` (Unix s): a process's number comes again once it ended, and its connection may live on in
    another one."""
    import ctypes
    kernel, advapi = (ctypes.WinDLL(name, use_last_error=True) for name in ("kernel32", "advapi32"))
    kernel.OpenProcess.restype = ctypes.c_void_p
    process, token = ctypes.c_void_p(kernel.OpenProcess(QUERY, False, pid)), ctypes.c_void_p()
    times, user, length = (ctypes.c_uint64 * 4)(), ctypes.create_string_buffer(256), ctypes.c_ulong()
    try:
        times_known = (
            process
            and kernel.GetProcessTimes(process, *(ctypes.byref(times, 8 * index) for index in range(4)))
            and times[0] / 1e7 - EPOCH <= since
            and advapi.OpenProcessToken(process, TOKEN_QUERY, ctypes.byref(token))
            and advapi.GetTokenInformation(token, TOKEN_USER, user, len(user), ctypes.byref(length)))
        return (sid_text(user.raw[ctypes.c_void_p.from_buffer(user).value - ctypes.addressof(user):])
                if times_known else None)
    finally:
        for handle in filter(None, (token, process)):
            kernel.CloseHandle(handle)


def sid_text(sid):
    """Return a SID (bytes, as winnt.h has it) as people write it: "S-1-5-21-…"."""
    return "-".join(map(str, ("S", sid[0], int.from_bytes(sid[2:8], "big"),
                              *struct.unpack_from(f"<{sid[1]}I", sid, 8))))


@functools.cache
def our_sid():
    return sid_of(os.getpid(), math.inf)
