"""The HTTP API of rules of one's own for other loggers' text files: what is set, what it makes of a log,
setting it."""

import os

from runicorn import foreign, local_names, rule_book, rules
from runicorn.errors import LayoutError, NotFoundError, RunicornError, UsageError
from runicorn.metrics import rule_preview
from runicorn.viewer.routes import ROUTES, route

__all__ = ["ROUTES"]        # with those of `routes`, and now ours
FILES = 300                 # offered for a preview, the newest


@route("GET", "/api/rules", "rules of your own for the logs of a root: ?root=SLUG; with all roots, and text "
                            "files of it to try them on")
def read_rules(site, ask):
    mark, sources = site.bell.now(), site.catalog.sources
    roots = [{"slug": slug, "name": source.name, "path": _path(source), "local": source.local}
             for slug, source in list(sources.items())]
    roots = [root for root in roots if root["local"] or site.connections.knows(root["slug"])]
    if not roots:
        return {"news": mark, "roots": [], "root": None, "rules": [], "files": []}
    source = _source(site, ask.text("root", roots[0]["slug"]))
    files = sorted(source.texts(), key=lambda file: -file["changed"])[:FILES]
    return {"news": mark, "roots": roots, "root": source.slug, "rules": _kept(site, source), "files": files}


@route("POST", "/api/rules",
       "set the rules of a root: {\"root\": SLUG, \"rules\": [{\"pattern\", \"files\"} or "
       "{\"step\", \"metrics\", \"time\", \"files\"}]}")
def set_rules(site, ask):
    body = ask.json()
    source = _source(site, body.get("root"))
    listed = rule_book.save(site.home, body.get("rules"), **_where(site, source))
    site.connections.list()             # takes over what its connection's settings say now
    for topic in ("runs", "connections", *(f"run:{key}" for key in site.catalog.keys_of(source.slug))):
        site.bell.ring(topic)
    return {"news": site.bell.now(), "rules": listed}


@route("POST", "/api/rules/preview",
       "what rules make of a log before they are set: {\"root\": SLUG, \"file\", \"rules\": [...]}")
def preview(site, ask):
    body = ask.json()
    source, file = _source(site, body.get("root")), body.get("file")
    if not isinstance(file, str) or not file or len(file) > 4096:
        raise UsageError("the body needs \"file\", a path below the root", code="usage", said="rule_no_file")
    listed = rules.checked(body.get("rules"))
    _check_name(file)
    named = rules.made(listed).of(file, foreign.kind_of_name(file))
    return {"file": file, **rule_preview.preview(listed, file, _bytes(site, source, file) if named else b"")}


def _check_name(file):
    """Raise NotFoundError for a path that no log below a root has."""
    try:
        local_names.safe_relative(file, depth=64)
        if "/." in f"/{file}":
            raise LayoutError("it is hidden")
    except LayoutError as error:
        raise NotFoundError(f"{file[:200]!r} is no log below the root", code="not_found",
                            said="rule_file_gone", file=file[:200]) from error


def _source(site, slug):
    source = site.catalog.sources.get(slug) if isinstance(slug, str) else None
    if source is None:
        raise NotFoundError(f"there is no root {str(slug)[:80]!r}", code="not_found", said="rule_no_root",
                            root=str(slug)[:80])
    return source


def _where(site, source):
    return ({"folder": source.folder} if source.local
            else {"connection": site.connections.row(source.slug)["name"]})


def _kept(site, source):
    try:
        return rule_book.kept(site.home, **_where(site, source))
    except UsageError:
        return []                       # broken by hand: the log says so


def _path(source):
    return str(source.folder) if source.local else source.remote_path("") or ""


def _bytes(site, source, file):
    """Return what a preview looks at of a file below a root (bytes), from the server where it is not here."""
    path = local_names.local_path(source.folder, file)
    try:
        if (os.path.isfile(path)
                and os.path.realpath(path).startswith(os.path.join(os.path.realpath(source.folder), ""))):
            return rule_preview.read(path)
        half = rule_preview.BYTES // 2
        blocks = None if source.local else site.connections.peek(source.slug, ".", file,
                                                                 [(0, half), (-half, half)])
    except OSError as error:
        raise NotFoundError(f"{file} can't be read: {error.strerror}", code="not_found",
                            said="rule_file_gone", file=file) from error
    except RunicornError as error:
        raise NotFoundError(f"{file} can't be read: {error}", code="not_found", said="rule_file_gone",
                            file=file) from error
    if blocks is None:
        raise NotFoundError(f"{file} is not here, and its connection is not at work", code="not_found",
                            said="rule_file_gone", file=file)
    return blocks[0] if len(blocks[0]) < half else rule_preview.joined(*blocks)
