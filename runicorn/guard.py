"""Who may ask the viewer: our own user on this machine, from our own page. Everybody else is refused before a route runs.

A loopback peer is known by its line in /proc/net/tcp (proc(5)), whose uid the kernel wrote; the token decides where that can't tell.
Host and Origin checks keep foreign pages out: DNS rebinding names another Host, a forged form another Origin.
"""

import hmac
import ipaddress
import os
import re
import secrets
import sys
from urllib.parse import parse_qs

from runicorn.exchange import Refused

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ESTABLISHED = "01"
SAFE = ("GET", "HEAD")
LINE = re.compile(r"^\s*\d+: ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+\s+(\d+)", re.M)
HOST = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\\]+)(?::(\d{1,5}))?$")


class Guard:
    """Admits requests. host: the address the viewer listens on; beyond loopback every request needs the token."""

    def __init__(self, host="127.0.0.1", token=None, tables=TABLES):
        self.token = token or secrets.token_urlsafe(32)
        self.open = not is_loopback(host)
        self._tables = tables

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
        by = "token" if self._has_token(environ, cookie) else self._peer(environ)
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
        return any([self._is_token(given) for given in (environ.get("HTTP_X_RUNICORN_TOKEN"), cookie, query)])

    def _is_token(self, given):
        return bool(given) and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode())

    def _peer(self, environ):
        """Let a peer in that runs as our own user; its token could not tell."""
        if not self.open:
            uid = peer_uid(environ.get("runicorn.peer"), environ.get("runicorn.here"), self._tables)
            if uid in our_uids():
                return "peer"
            if uid is not None:
                raise Refused(403, "foreign_user", "this viewer belongs to another user of this machine")
        raise Refused(401, "token", "open the address that `runicorn viewer` printed: it carries the token this request lacks")

    def _check_change(self, environ):
        if not self._is_token(environ.get("HTTP_X_RUNICORN_TOKEN")):
            raise Refused(403, "token", "a change needs the viewer's token in the header X-Runicorn-Token")
        if environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower() != "application/json":
            raise Refused(415, "content_type", "a change needs a body of type application/json")


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
    return sys.platform == "linux" and os.access(TABLES[0], os.R_OK)


def our_uids():
    """Return the user ids that may ask: ours, and under sudo that of who called it."""
    if not hasattr(os, "getuid"):
        return set()
    uids = {os.getuid()}
    if os.getuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        uids.add(int(os.environ["SUDO_UID"]))
    return uids


def peer_uid(peer, here, tables=TABLES):
    """Return the uid that owns the peer's end of a loopback connection, -1 if that end is not established (its owner is
    unknown), or None if there is no such line (another network namespace, no /proc)."""
    if not peer or not here:
        return None
    wanted = {(_hex(peer, six), _hex(here, six)) for six in (False, True)}
    for table in tables:
        try:
            with open(table, encoding="ascii") as file:
                text = file.read()
        except OSError:
            continue        # not Linux, or no IPv6
        for local, remote, state, uid in LINE.findall(text):
            if (local, remote) in wanted:
                return int(uid) if state == ESTABLISHED else -1
    return None


def _hex(end, six):
    """Return an (address, port) as /proc/net/tcp or tcp6 writes it: 32-bit words in this machine's byte order."""
    address = ipaddress.ip_address(end[0])
    if six and address.version == 4:
        address = ipaddress.ip_address(f"::ffff:{end[0]}")
    packed = address.packed
    words = [packed[at:at + 4] for at in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{end[1]:04X}"
