"""Who may ask the viewer: our own user on this machine, from our own page. Everybody else is refused before a route runs.

A loopback peer is known by the uid the kernel has for its end of the connection: sock_diag(7), else /proc/net/tcp (proc(5));
the token decides where neither can tell.
Host and Origin checks keep foreign pages out: DNS rebinding names another Host, a forged form another Origin.
"""

import errno
import hmac
import ipaddress
import logging
import os
import re
import secrets
import socket
import struct
import sys
from urllib.parse import parse_qs

from runicorn import layout, local_disk
from runicorn.exchange import Refused

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ESTABLISHED = 1
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLMSG_ERROR, NLM_F_REQUEST = 4, 20, 2, 1        # linux/netlink.h, linux/sock_diag.h
SAFE = ("GET", "HEAD")
HAS_DESKTOP = sys.platform in ("darwin", "win32")       # whoever sits at a terminal there has a desktop
TOKEN = re.compile(r"[\w-]{43}\Z", re.ASCII)
log = logging.getLogger("runicorn")
LINE = re.compile(r"^\s*\d+: ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+\s+(\d+)", re.M)
HOST = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\\]+)(?::(\d{1,5}))?$")


class Guard:
    """Admits requests. host: the address the viewer listens on; beyond loopback every request needs the token."""

    def __init__(self, host="127.0.0.1", token=None):
        self.token = token or secrets.token_urlsafe(32)
        self.open = not is_loopback(host)
        self.peer_uid = peer_uid            # function(peer, here) -> uid

    def admit(self, environ, cookie=None, api=True):
        """Return "peer" or "token": what let the request in. Raises Refused.

        environ: WSGI, with runicorn.peer and runicorn.here as (address, port) of the two ends; cookie: the token cookie's value;
        api: False for a page or a static file, which a link from elsewhere may lead to.
        """
        host = environ.get("HTTP_HOST", "")
        found = HOST.match(host)
        if not found or not (self.open or is_loopback(found[1].strip("[]"))):
            raise Refused(403, "foreign_host", f"this viewer is not {host[:100]!r}; open it as 127.0.0.1 or localhost")
        self._check_origin(environ, host, api)
        if self._is_our_peer(environ):
            by = "peer"
        elif self._has_token(environ, cookie):
            by = "token"
        else:
            raise Refused(401, "token", "open the address that `runicorn viewer` printed: it carries the token this request lacks")
        if environ["REQUEST_METHOD"] not in SAFE:
            self._check_change(environ)
        return by

    def _check_origin(self, environ, host, api):
        origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Refused(403, "foreign_origin", "this request comes from another site's page")
        if api and site not in (None, "same-origin", "none"):
            raise Refused(403, "foreign_origin", "this request comes from another site's page")

    def _has_token(self, environ, cookie):
        query = parse_qs(environ.get("QUERY_STRING", "")).get("token", [""])[-1]
        if any(self._is_token(given) for given in (environ.get("HTTP_X_RUNICORN_TOKEN"), query)):
            return True
        wanted = self.cookie((environ.get("runicorn.here") or ("", environ.get("SERVER_PORT")))[1])
        return bool(cookie) and hmac.compare_digest(cookie.encode("utf-8", "surrogateescape"), wanted.encode())

    def cookie(self, port):
        """Return the cookie's value for a viewer at `port`: browsers send a cookie to every port, and another program may listen there."""
        return hmac.new(self.token.encode(), f"cookie {port}".encode(), "sha256").hexdigest()

    def _is_token(self, given):
        return bool(given) and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode())

    def _is_our_peer(self, environ):
        """Whether the kernel says that the peer is ours; False if it can't tell. Raises Refused if it is somebody else's."""
        if self.open:
            return False
        uid = self.peer_uid(environ.get("runicorn.peer"), environ.get("runicorn.here"))
        if uid is not None and uid not in our_uids():
            raise Refused(403, "foreign_user", "this viewer belongs to another user of this machine")
        return uid is not None

    def _check_change(self, environ):
        if not self._is_token(environ.get("HTTP_X_RUNICORN_TOKEN")):
            raise Refused(403, "token", "a change needs the viewer's token in the header X-Runicorn-Token")
        if environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower() != "application/json":
            raise Refused(415, "content_type", "a change needs a body of type application/json")


def lasting_token(home, renew=False):
    """Return the token that the viewers of the profile `home` (Path) share, made once: bookmarks and open tabs outlive a restart.

    It lies in `home`/token, mode 0600 (on Windows the profile's own rights keep others out); one that others may read is replaced, as
    every one is with `renew`. Where nothing can be written the token is for this start only, and a warning says so.
    """
    path = home / "token"
    try:
        (home / "run").mkdir(parents=True, exist_ok=True)
        with local_disk.locked(home / "run" / "token"):
            kept = None if renew or _others_read(path) else path.read_text("ascii", "replace").strip()
            if not kept or not TOKEN.match(kept):
                kept = secrets.token_urlsafe(32)
                layout.replace_file(path, kept.encode(), mode=0o600)
        return kept
    except OSError as error:
        if error.errno != errno.ENOSPC:         # of a full disk the viewer's own note tells next
            log.warning("%s can't be kept (%s): the viewer's address has another token at the next start", path,
                        error.strerror or error)
        return secrets.token_urlsafe(32)


def _others_read(path):
    """Whether a file is not there, or may be read by others, where the system has such modes."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    return hasattr(os, "getuid") and (status.st_uid != os.getuid() or bool(status.st_mode & 0o077))


def is_loopback(host):
    """Whether a host name or address can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def told_by_kernel():
    """Whether this machine can tell whose a loopback connection is."""
    return sys.platform == "linux"


def our_uids():
    """Return the user ids that may ask: ours, and under sudo that of who called it."""
    if not hasattr(os, "getuid"):
        return set()
    uids = {os.getuid()}
    if os.getuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        uids.add(int(os.environ["SUDO_UID"]))
    return uids


def peer_uid(peer, here):
    """Return the uid that owns the peer's end of a loopback connection, -1 if that end is not established (its owner is
    unknown), or None if the kernel knows no such end (another network namespace) or can't be asked."""
    if not peer or not here or sys.platform != "linux":
        return None
    try:
        found = by_diag(peer, here)
    except OSError:
        found = by_table(peer, here)        # no sock_diag in this kernel or sandbox
    return found and (found[1] if found[0] == ESTABLISHED else -1)


def by_diag(peer, here):
    """Ask the kernel for one socket: return (TCP state, uid) of the peer's end, or None. Raises OSError where it can't be asked.

    Reading /proc/net/tcp walks all sockets (5 ms and more); this looks up one (0.1 ms).
    """
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    ends = [socket.inet_pton(family, end[0]).ljust(16, b"\0") for end in (peer, here)]
    ports, nobody = struct.pack("!HH", peer[1], here[1]), struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    # inet_diag_req_v2: in any state, on any interface, without a cookie
    wanted = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ports + b"".join(ends) + nobody
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(1.0)
        asked.send(struct.pack("=IHHII", 16 + len(wanted), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + wanted)
        answer = asked.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR:
        code = -struct.unpack_from("=i", answer, 16)[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    return answer[17], struct.unpack_from("=I", answer, 16 + 64)[0]        # inet_diag_msg: state, uid


def by_table(peer, here, tables=TABLES):
    """Read the same from /proc/net/tcp and tcp6: return (TCP state, uid) of the peer's end, or None."""
    wanted = {(_hex(peer, six), _hex(here, six)) for six in (False, True)}
    for table in tables:
        try:
            with open(table, encoding="ascii") as file:
                text = file.read()
        except OSError:
            continue        # no IPv6
        for local, remote, state, uid in LINE.findall(text):
            if (local, remote) in wanted:
                return int(state, 16), int(uid)
    return None


def _hex(end, six):
    """Return an (address, port) as /proc/net/tcp or tcp6 writes it: 32-bit words in this machine's byte order."""
    address = ipaddress.ip_address(end[0])
    if six and address.version == 4:
        address = ipaddress.ip_address(f"::ffff:{end[0]}")
    packed = address.packed
    words = [packed[at:at + 4] for at in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{end[1]:04X}"
