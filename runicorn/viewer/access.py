"""Who may ask the viewer: our own user on this machine, from our own page. Everybody else is refused before a
route runs.

A loopback peer is known by whose its end of the connection is, where the system tells; the token decides
elsewhere. Host and Origin checks keep foreign pages out: DNS rebinding names another Host, a forged form
another Origin.
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import logging
import os
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from runicorn import disk, layout, local_disk
from runicorn.loopback import our_users, peer_user
from runicorn.viewer.exchange import Refused

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

SAFE = ("GET", "HEAD")
TOKEN = re.compile(r"[\w-]{43}\Z", re.ASCII)
log = logging.getLogger("runicorn")
HOST = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\\]+)(?::(\d{1,5}))?$")


class Guard:
    """Admits requests. host: the address the viewer listens on; beyond loopback every request needs the
    token."""

    def __init__(self, host: str = "127.0.0.1", token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(32)
        self.open = not is_loopback(host)
        self.peer_user = peer_user          # function(peer, here, since) -> user

    def admit(self, environ: dict[str, Any], cookie: str | None = None, api: bool = True) -> str:
        """Return "peer" or "token": what let the request in. Raises Refused.

        environ: WSGI, with runicorn.peer and runicorn.here as (address, port) of the two ends, runicorn.since
        as when it was taken;
        cookie: the token cookie's value; api: False for a page or a static file, which a link from elsewhere
        may lead to.
        """
        host = environ.get("HTTP_HOST", "")
        match = HOST.match(host)
        if not match or not (self.open or is_loopback(match[1].strip("[]"))):
            raise Refused(403, "foreign_host",
                          f"this viewer is not {host[:100]!r}; open it as 127.0.0.1 or localhost")
        self._check_origin(environ, host, api)
        if self._is_our_peer(environ):
            by = "peer"
        elif self._has_token(environ, cookie):
            by = "token"
        else:
            raise Refused(401, "token", "open the address that `runicorn viewer` printed: it carries the "
                                        "token this request lacks")
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
        if any(self._is_token(token) for token in (environ.get("HTTP_X_RUNICORN_TOKEN"), query)):
            return True
        expected = self.cookie((environ.get("runicorn.here") or ("", environ.get("SERVER_PORT")))[1])
        return bool(cookie) and hmac.compare_digest(cookie.encode("utf-8", "surrogateescape"),
                                                    expected.encode())

    def cookie(self, port: int | str) -> str:
        """Return the cookie's value for a viewer at `port`: browsers send a cookie to every port, and another
        program may listen there."""
        return hmac.new(self.token.encode(), f"cookie {port}".encode(), "sha256").hexdigest()

    def _is_token(self, token):
        return bool(token) and hmac.compare_digest(token.encode("utf-8", "surrogateescape"),
                                                   self.token.encode())

    def _is_our_peer(self, environ):
        """Whether the system says that the peer is ours; False if it can't tell. Raises Refused if it is
        somebody else's."""
        if self.open:
            return False
        user = self.peer_user(environ.get("runicorn.peer"), environ.get("runicorn.here"),
                              environ.get("runicorn.since"))
        if user is not None and user not in our_users():
            raise Refused(403, "foreign_user", "this viewer belongs to another user of this machine")
        return user is not None

    def _check_change(self, environ):
        if not self._is_token(environ.get("HTTP_X_RUNICORN_TOKEN")):
            raise Refused(403, "token", "a change needs the viewer's token in the header X-Runicorn-Token")
        if environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower() != "application/json":
            raise Refused(415, "content_type", "a change needs a body of type application/json")


def lasting_token(home: Path, renew: bool = False) -> str:
    """Return the token that the viewers of the profile `home` (Path) share, made once: bookmarks and open
    tabs outlive a restart.

    It lies in `home`/token, mode 0600 (on Windows the profile's own rights keep others out); one that others
    may read is replaced, as every one is with `renew`. Where nothing can be written the token is for this
    start only, and a warning says so.
    """
    path = home / "token"
    try:
        (home / "run").mkdir(parents=True, exist_ok=True)
        with local_disk.locked(home / "run" / "token"):
            token = (None if renew or _others_read(path)
                     else disk.patiently(layout.read_regular, path).decode("ascii", "replace").strip())
            if not token or not TOKEN.match(token):
                token = secrets.token_urlsafe(32)
                layout.replace_file(path, token.encode(), mode=0o600)
        return token
    except OSError as error:
        if error.errno != errno.ENOSPC:         # of a full disk the viewer's own note tells next
            log.warning("%s can't be kept (%s): the viewer's address has another token at the next start",
                        path, error.strerror or error)
        return secrets.token_urlsafe(32)


def _others_read(path):
    """Whether a file is not there, or may be read by others, where the system has such modes."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    return hasattr(os, "getuid") and (status.st_uid != os.getuid() or bool(status.st_mode & 0o077))


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
