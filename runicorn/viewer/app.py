"""The viewer: pages, static files and the API on one port. The only door to bottle; what is answered is in
`routes` and its kin."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

import bottle

from runicorn import assets, disk, layout, local_disk, settings
from runicorn.errors import RunicornError, SettingsError
from runicorn.loopback import told_by_kernel
from runicorn.metrics.pieces import Pieces
from runicorn.reader.catalog import Catalog
from runicorn.reader.open_series import COLUMNS
from runicorn.version import VERSION
from runicorn.viewer.access import Guard, lasting_token
from runicorn.viewer.exchange import BODY_LIMIT, GZIP_FROM, Answer, Ask, Refused, to_error, to_json, zipped
from runicorn.viewer.home import Home
from runicorn.viewer.http_server import HttpServer, listen
from runicorn.viewer.listing import Listing
from runicorn.viewer.routes_connections import ROUTES
from runicorn.viewer.sample_times import SampleTimes
from runicorn.viewer.shortage import CODE, SENTENCE
from runicorn.viewer.watcher import Poll

if TYPE_CHECKING:
    from typing import Any

    from runicorn.connections.registry import Registry
    from runicorn.news import Bell
    from runicorn.settings import Overlay

POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
REFUSED = {                 # code -> what a browser's page says of it, in English and in Chinese
    "token": (
        """<h1>This browser is not known to the viewer yet</h1>
<p>Open the whole address that <code>runicorn viewer</code> prints in its terminal
(it ends in <code>?token=…</code>), once: from then on this address works here, also after a restart.</p>
<p>No terminal in sight? Start <code>runicorn viewer</code> again, and open this page once more.</p>""",
        """<h2>查看器还不认识这个浏览器</h2>
<p>请打开一次 <code>runicorn viewer</code> 在终端里打印的完整地址（以 <code>?token=…</code> 结尾）：
此后直接访问本地址即可，重启后也一样。</p>
<p>找不到那个终端？重新运行 <code>runicorn viewer</code>，然后再打开一次本页。</p>"""),
    "foreign_host": (
        """<h1>This viewer does not answer by that name</h1>
<p>It takes only the names of this computer, so that no page from elsewhere reaches it:
open it as <code>127.0.0.1</code> or <code>localhost</code>, with the same port.</p>""",
        """<h2>查看器不接受这个主机名</h2>
<p>它只接受本机的名称，以免被外来网页访问：请改用 <code>127.0.0.1</code>
或 <code>localhost</code> 打开，端口不变。</p>"""),
    "foreign_user": (
        """<h1>This viewer belongs to another user of this computer</h1>
<p>Start one of your own, at a port that is free: <code>runicorn viewer --port 23301</code>.</p>""",
        """<h2>这个查看器属于本机的另一位用户</h2>
<p>请启动您自己的查看器，并选用空闲端口：<code>runicorn viewer --port 23301</code>。</p>"""),
    "not_found": (
        '<h1>There is no such page</h1>\n<p><a href="/">All runs</a></p>',
        '<h2>没有这个页面</h2>\n<p><a href="/">全部实验</a></p>'),
}
PAGES = ("/", "/runs/<key:path>", "/compare", "/settings")
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
         "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml", "png": "image/png",
         "ico": "image/x-icon", "woff2": "font/woff2", "json": "application/json", "map": "application/json",
         "txt": "text/plain; charset=utf-8"}
LASTING = "private, max-age=31536000, immutable"      # a browser does not ask for it again
TEXTUAL = ("text/", "application/json", "image/svg")
PRIVATE = 0o600
DRAINED = 8 << 20           # bytes of a refused body that are read before the answer


class Site:
    """What every route may use, each in the thread of its request."""

    def __init__(self, home: Path, catalog: Catalog, connections: Registry, bell: Bell, overlay: Overlay,
                 guard: Guard, offline: bool = False) -> None:
        self.home, self.catalog, self.connections, self.bell, self.overlay = (home, catalog, connections,
                                                                              bell, overlay)
        self.guard, self.offline, self.port, self.url = guard, offline, 0, ""
        self.sample_times, self.room, self.listing = SampleTimes(), Home(home), Listing(catalog, bell)
        self._silent = threading.Lock()

    def bind(self, host: str, port: int) -> None:
        """Take the place where this viewer is reached."""
        self.port, self.url = port, f"http://{_shown(host)}:{port}"

    def address(self):
        """Return the address that makes a browser known (str)."""
        return f"{self.url}/?token={self.guard.token}"

    def say_address(self):
        """Say that address once: a browser asked of which nobody could tell whose it is."""
        if self._silent.acquire(blocking=False):
            print(f"runicorn: a browser came that is not known here; if it is yours, open {self.address()}",
                  file=sys.stderr, flush=True)


def make_app(site: Site) -> Any:
    """Return the WSGI application (bottle.Bottle) that serves `site`."""
    app = bottle.Bottle()
    # A folder of another logger's run may have newlines in its name
    app.router.add_filter("path", lambda configuration: ("(?s:.+)", None, None))
    app.uninstall(bottle.JSONPlugin)
    app.uninstall(bottle.TemplatePlugin)
    pages = Pages(site)
    for route in ROUTES:
        app.route(route.rule, route.method, _answering(site, route.function))
    for rule in PAGES:
        app.route(rule, "GET", _answering(site, pages.page, pages))
    for rule in ("/static/<stamp:re:[0-9a-f]{8}>/<name:path>", "/static/<name:path>"):
        app.route(rule, "GET", _answering(site, pages.static, pages))
    app.default_error_handler = functools.partial(_unrouted, pages)
    return app


def _answering(site, function, pages=None):
    """Return a bottle callback: admit, run the route, turn its answer or error into a response. pages: what
    makes a page of a refusal; None for the API."""
    def callback(**parts):
        ask = _ask()
        try:
            by = site.guard.admit(bottle.request.environ, bottle.request.get_cookie(cookie_name(site.port)),
                                  pages is None)
            result = function(site, ask, **parts)
            answer = result if isinstance(result, Answer) else to_json(result)
        except Exception as error:          # raised again unless it is ours, or the machine's
            if local_disk.is_shortage(error):
                error = Refused(503, CODE, SENTENCE)
            elif not isinstance(error, RunicornError):
                raise
            elif isinstance(error, SettingsError):
                site.room.tell_of(error)
            by, answer = None, pages and pages.refused(error) or to_error(error)
        return _sent(site, answer, cookie=by is not None and pages is not None)
    return callback


def _ask():
    request = bottle.request
    query = parse_qsl(request.query_string, keep_blank_values=True, errors="replace", max_num_fields=20_000)
    return Ask(request.method, query, request.headers, _body)


def _body():
    length = bottle.request.content_length
    if bottle.request.chunked or length > BODY_LIMIT:
        _drain(length)
        raise Refused(413, "too_large", f"a body has at most {BODY_LIMIT >> 20} MB and says its length")
    try:
        return bottle.request.environ["wsgi.input"].read(max(0, length))
    except OSError as error:
        raise Refused(408, "slow", "the body took too long") from error


def _drain(length):
    """Read some of a body that is refused: a client that is still sending would miss the answer."""
    source, remaining = bottle.request.environ["wsgi.input"], min(length, DRAINED)
    try:
        while remaining > 0 and source.read(min(remaining, 65536)):
            remaining -= 65536
    except OSError:
        pass                # slow as well: it has had its chance


def _sent(site, answer, cookie=False):
    accepted, body, coding = bottle.request.get_header("Accept-Encoding", ""), answer.body, None
    if isinstance(body, Pieces):
        body, coding = (body.deflated(), "deflate") if "deflate" in accepted else (body.plain(), None)
    if (isinstance(body, bytes) and not coding and len(body) >= GZIP_FROM and answer.type.startswith(TEXTUAL)
            and "gzip" in accepted):
        body, coding = zipped(body), "gzip"
    status, refused = answer.status, {}
    if status == 400 and bottle.request.query_string and "typed=1" in bottle.request.query_string.split("&"):
        # Asked while its reader types: no fault, and the console stays empty
        status, refused = 200, {"Runicorn-Refused": "400"}
    response = bottle.HTTPResponse(body, status)
    for name, value in {**_common(answer.type), **answer.headers, **refused}.items():
        response.set_header(name, value)
    if cookie:
        response.set_cookie(cookie_name(site.port), site.guard.cookie(site.port), path="/", samesite="strict",
                            httponly=True)
    if coding:
        response.set_header("Content-Encoding", coding)
    if isinstance(body, bytes):
        response.set_header("Content-Length", str(len(body)))
    return response


def _common(kind):
    return {"Content-Type": kind, "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
            "Vary": "Accept-Encoding", "X-Runicorn-Time": f"{time.time():.3f}"}


def _unrouted(pages, error):
    """What bottle answers by itself: no such route, a wrong method, a bug of ours."""
    code = {404: "not_found", 405: "method", 400: "request"}.get(error.status_code,
                                                                 "bug" if error.status_code >= 500
                                                                 else "request")
    message = {"not_found": "there is nothing at this address; GET /api lists the routes",
               "method": "this address does not take that method", "request": str(error.body),
               "bug": "a bug in Runicorn: please report what the viewer's terminal shows"}[code]
    refused = Refused(error.status_code, code, message)
    answer = (None if bottle.request.path.startswith("/api") else pages.refused(refused)) or to_error(refused)
    for name, value in {**_common(answer.type), **answer.headers}.items():
        error.set_header(name, value)
    return answer.body


def cookie_name(port: int) -> str:
    return f"runicorn-{port}"


class Pages:
    """index.html for every page's address, and the files below static/."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stamp = assets.stamp()
        self._files = {}             # name -> (bytes, zipped or None, ETag), as they were at that stamp

    def page(self, site: Site, ask: Ask, key: str | None = None) -> Answer:
        """Answer a page; an address that carries the token leads to the one without it, where the cookie does
        its work."""
        if ask.text("token"):
            query_left = [(name, value) for name, value in ask.query if name != "token"]
            query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query_left)
            address = quote(bottle.request.path.encode("utf-8", "surrogateescape"))
            return Answer(b"", "text/plain", 303, {"Location": address + (f"?{query}" if query else "")})
        self._renew()
        text = self._file("index.html")[0].decode("utf-8")
        for word, value in (("token", site.guard.token), ("version", VERSION),
                            ("static", f"/static/{self._stamp}")):
            text = text.replace("{{" + word + "}}", value)
        return Answer(text.encode(), TYPES["html"])

    def refused(self, error):
        """Return the page that tells a person of an error (Answer), or None where no page was asked for or no
        text is written for it."""
        sentences = REFUSED.get(error.code) if isinstance(error, Refused) else None
        if sentences is None or "text/html" not in bottle.request.get_header("Accept", ""):
            return None
        if error.code == "token":
            self._site.say_address()
        text = self._file("refused.html")[0].decode("utf-8")
        for word, sentence in zip(("en", "zh"), sentences):
            text = text.replace("{{" + word + "}}", sentence)
        style = hashlib.sha256(text[text.index("<style>") + 7:text.index("</style>")].encode()).digest()
        # Files of ours are refused here, too
        allowed = f"{POLICY}; style-src 'sha256-{base64.b64encode(style).decode()}'"
        return Answer(text.encode(), TYPES["html"], error.status, {"Content-Security-Policy": allowed})

    def static(self, site: Site, ask: Ask, name: str, stamp: str | None = None) -> Answer:
        """Answer a file; at an address with the present stamp it is kept by the browser, and by us, until the
        stamp changes."""
        if stamp is None:
            self._renew()
        body, packed, tag = self._file(name)
        headers = {"ETag": tag, "Cache-Control": LASTING if stamp == self._stamp else "no-cache"}
        if bottle.request.get_header("If-None-Match") == tag:
            return Answer(b"", _type(name), 304, headers)
        if packed and "gzip" in bottle.request.get_header("Accept-Encoding", ""):
            return Answer(iter([packed]), _type(name), 200,
                          {**headers, "Content-Encoding": "gzip", "Content-Length": str(len(packed))})
        return Answer(body, _type(name), 200, headers)

    def _renew(self):
        """Forget what is kept if a file below static/ has changed."""
        stamp = assets.stamp()
        if stamp != self._stamp:
            self._stamp, self._files = stamp, {}

    def _file(self, name):
        if name not in self._files:
            try:
                body = assets.read(name)
            except FileNotFoundError as error:
                raise Refused(404, "not_found", f"there is no file static/{name[:200]}") from error
            packed = zipped(body, 6) if _type(name).startswith(TEXTUAL) and len(body) >= GZIP_FROM else None
            self._files[name] = body, packed, '"' + hashlib.sha256(body).hexdigest()[:20] + '"'
        return self._files[name]


def _type(name):
    return TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")


# -- the whole -----------------------------------------------------------------------------------------------

class Viewer:
    """A viewer that is bound to its port. `url`: its plain address; `address`: what to open, with the token
    where it is needed."""

    def __init__(self, site: Site, listener: HttpServer, poll: Poll, address: str) -> None:
        self.site, self._listener, self.poll = site, listener, poll
        self.url, self.address = site.url, address
        self.token, self.port = site.guard.token, listener.port
        self.note = site.home / "run" / f"{self.port}.json"

    @property
    def catalog(self) -> Catalog:
        return self.site.catalog

    def serve_forever(self) -> None:
        """Answer until `stop`, from this or another thread."""
        self._listener.serve_forever()

    def stop(self) -> None:
        """Stop serving, free the port, keep the index for the next start."""
        self._listener.stop()
        self.poll.stop()
        try:
            self.site.catalog.save()
        except SettingsError as error:          # a full or read-only home: the next start reads anew
            self.site.room.tell_of(error)
        disk.discard(self.note)


def start(home: Path, roots: list[Any], connections: Registry, bell: Bell, host: str = "127.0.0.1",
          port: int = 23300, offline: bool = False, cache_size: Any = None) -> Viewer:
    """Build a viewer and bind it; returns the Viewer, which `serve_forever` runs.

    home: Runicorn's folder (Path); roots: [(slug, Path)] of local roots; connections: registry.Registry;
    cache_size: bytes the column cache may take. Raises BusyError if the port is taken.
    """
    home, overlay = Path(home), settings.Overlay(home)
    listeners = listen(host, port)
    catalog = Catalog(roots, lambda: mirror_names(connections), home, overlay,
                      preferences=lambda: settings.preferences(home), ring=bell.ring,
                      columns=COLUMNS if cache_size is None else min(COLUMNS, cache_size // 5))
    site = Site(home, catalog, connections, bell, overlay, Guard(host, lasting_token(home)), offline)
    listener = HttpServer(make_app(site), listeners)
    site.bind(host, listener.port)
    server = Viewer(site, listener, Poll(catalog, bell, home=site.room),
                    site.url if told_by_kernel() and not site.guard.open else site.address())
    note = {"pid": os.getpid(), "url": server.url, "token": site.guard.token}
    try:
        layout.make_folders(home, "run")
        layout.replace_file(server.note, layout.to_json(note).encode(), mode=PRIVATE)
    except OSError as error:
        site.room.tell(error, start=True)
    if local_disk.is_shared(home):
        print(f"runicorn: {home} lies outside your own folder: other users of this machine may read it, and "
              f"the viewer's token in it; "
              f"leave RUNICORN_HOME unset, or name a folder below {Path.home()}", file=sys.stderr)
    server.poll.start()
    return server


def mirror_names(connections: Registry) -> list[Any]:
    """Return [(slug, folder, the connection's name)] of all mirrors."""
    names = {row["slug"]: row["name"] for row in connections.list()}
    return [(slug, folder, names.get(slug, slug)) for slug, folder in connections.cache.roots()]


def _shown(host):
    if host in ("0.0.0.0", "::", ""):
        import socket
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def banner(url: str, version: str = VERSION, unicode: bool = True) -> str:
    """Return the box that says where the viewer is (str), ASCII where the terminal can't print lines."""
    lines = ["Runicorn Viewer", f"Version: {version}", f"URL: {url}", "", "Press Ctrl+C to stop"]
    width = max(58, *(len(line) + 2 for line in lines))
    corner, bar, side = ("╭╮╰╯", "─", "│") if unicode else ("++++", "-", "|")
    middle = [f"{side} {line:<{width - 2}} {side}" for line in lines]
    return "\n".join([corner[0] + bar * width + corner[1], *middle, corner[2] + bar * width + corner[3]])
