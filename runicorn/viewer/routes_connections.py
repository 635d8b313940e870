"""The HTTP API of connections, settings and the cache. Plain functions of (site, ask) over the mirrors; no
answer ever holds a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn import settings
from runicorn.errors import UsageError
from runicorn.version import VERSION
from runicorn.viewer.exchange import Refused
from runicorn.viewer.routes import route
from runicorn.viewer.routes_rules import ROUTES

if TYPE_CHECKING:
    from typing import Any

    from runicorn.viewer.app import Site
    from runicorn.viewer.exchange import Ask

__all__ = ["ROUTES"]        # with those of `routes` and `routes_rules`, and now ours
SECRETS = ("password", "passphrase")
ORDERS = {"start": "start", "pause": "pause", "sync": "sync_now", "reconnect": "reconnect"}


@route("GET", "/api/connections",
       "all connections, how they stand, hosts from ~/.ssh/config, and what the cache takes")
def connections(site: Site, ask: Ask) -> dict[str, Any]:
    mark = site.bell.now()
    return {"news": mark, "connections": site.connections.list(), "hosts": site.connections.hosts(),
            "offline": site.offline, "cache": site.connections.cache.info(),
            "home": {"path": str(site.home), "refusal": site.room.refusal}}


@route("POST", "/api/connections",
       "save a connection: {\"name\", \"host\", \"user\", \"auth\", …, \"password\"?, \"start\": true}")
def save(site: Site, ask: Ask) -> dict[str, Any]:
    body = ask.json()
    start = bool(body.pop("start", True))
    secrets = _secrets(body)
    return _told(site, site.connections.save(body, start=start, **secrets))


@route("POST", "/api/connections/test",
       "test a connection line by line: {\"name\"} or the whole connection; answers {\"test\": ID}")
def test(site: Site, ask: Ask) -> dict[str, Any]:
    _online(site)
    connection, secrets = _meant(ask.json())
    return {"news": site.bell.now(), "test": site.connections.test(connection, **secrets)}


@route("GET", "/api/connections/test/<test>", "how far a test is")
def test_state(site, ask, test):
    return {"news": site.bell.now(), **site.connections.test_state(test)}


@route("POST", "/api/connections/browse", "the folders at a place on the server: {…connection…, \"path\"}")
def browse(site, ask):
    _online(site)
    body = ask.json()
    path = body.pop("path", None) or "~"
    connection, secrets = _meant(body)
    return site.connections.browse(connection, path, **secrets)


@route("POST", "/api/connections/plan",
       "what the present choice would fetch: {…connection…}; answers {\"files\", \"bytes\"}")
def plan(site, ask):
    _online(site)
    connection, _ = _meant(ask.json())
    return site.connections.plan(connection)


@route("POST", "/api/connections/answer", "answer a server's question: {\"question\", \"answer\"}")
def answer(site, ask):
    body = ask.json()
    site.connections.answer(_needed(body, "question"), body.get("answer"))
    return {"news": site.bell.now()}


@route("POST", "/api/connections/trust", "trust a host key that was asked about: {\"question\"}")
def trust(site, ask):
    site.connections.trust(_needed(ask.json(), "question"))
    return {"news": site.bell.now()}


@route("DELETE", "/api/connections/<name:path>", "forget a connection; its mirror stays unless ?drop=1")
def remove(site: Site, ask: Ask, name: str) -> dict[str, Any]:
    site.connections.remove(name, drop_cache=ask.flag("drop"))
    for topic in ("connections", "runs"):
        site.bell.ring(topic)
    return {"news": site.bell.now()}


@route("POST", "/api/connections/<name:path>/<order:re:start|pause|sync|reconnect>",
       "start, pause, sync now or reconnect a connection")
def command(site: Site, ask: Ask, name: str, order: str) -> dict[str, Any]:
    if order != "pause":
        _online(site)
    getattr(site.connections, ORDERS[order])(name)
    return _told(site, site.connections.row(name))


def _online(site):
    """Raise Refused if the viewer runs offline: then nothing may open a connection."""
    if site.offline:
        raise Refused(409, "offline",
                      "this viewer runs with --offline and opens no connection; start it without")


def _told(site, row):
    site.bell.ring("connections")
    return {"news": site.bell.now(), **row}


def _meant(body):
    """Return (connection, or the name of a saved one; {"password", "passphrase"}) of what a page sent."""
    secrets = _secrets(body)
    return _needed(body, "name") if set(body) == {"name"} else body, secrets


def _secrets(body):
    """Take the secrets, text or None, out of a body and return them. Raises UsageError."""
    secrets = {name: body.pop(name, None) for name in SECRETS}
    for name, value in secrets.items():
        if not isinstance(value, (str, type(None))):
            raise UsageError(f"{name} must be text")
    return secrets


def _needed(body, name):
    if not isinstance(body.get(name), str):
        raise UsageError(f"the body needs {name!r} as text")
    return body[name]


# -- settings ------------------------------------------------------------------------------------------------

@route("GET", "/api/settings", "your preferences, the cache, where things are")
def read_settings(site: Site, ask: Ask) -> dict[str, Any]:
    mark = site.bell.now()
    return {"news": mark, "preferences": settings.preferences(site.home),
            "cache": site.connections.cache.info(), "version": VERSION, "home": str(site.home),
            "roots": [{"slug": source.slug, "path": str(source.folder)} for source in site.catalog.local()],
            "offline": site.offline}


@route("PATCH", "/api/settings", "change preferences: {\"preferences\": {…merged…}}")
def change_settings(site: Site, ask: Ask) -> dict[str, Any]:
    changes = ask.json().get("preferences")
    if not isinstance(changes, dict):
        raise UsageError("the body needs \"preferences\" as an object")
    preferences = settings.save_preferences(site.home, changes)
    site.bell.ring("settings")
    return {"news": site.bell.now(), "preferences": preferences}


@route("POST", "/api/cache/drop", "delete a mirror that no connection has any more: {\"mirror\"}")
def cache_drop(site, ask):
    site.connections.drop_mirror(str(ask.json().get("mirror")))
    return {}


@route("POST", "/api/cache/clean",
       "remove what was not looked at for long: {\"older_than\": days, \"connection\", \"dry_run\"}")
def clean(site, ask):
    body = ask.json()
    days = body.get("older_than")
    if days is not None and (isinstance(days, bool) or not isinstance(days, (int, float)) or days < 0):
        raise UsageError("older_than is a number of days")
    report = site.connections.cache_clean(older_than=days, connection=body.get("connection"),
                                          dry_run=bool(body.get("dry_run")))
    site.bell.ring("runs")
    return {"news": site.bell.now(), **report}
