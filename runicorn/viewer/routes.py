"""The HTTP API but for connections and settings: runs, curves, logs, system, files, news. Plain functions of
(site, ask)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from runicorn.errors import FilterError, RunicornError, UsageError
from runicorn.layout import parse_own
from runicorn.metrics.pieces import Pieces
from runicorn.reader import bounded
from runicorn.version import VERSION
from runicorn.viewer import run_files as files
from runicorn.viewer.exchange import Answer, Refused, begun, refusal, to_error, to_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.reader.foreign_entry import ForeignEntry
    from runicorn.reader.log import Log
    from runicorn.reader.run_entry import Entry
    from runicorn.viewer.app import Site
    from runicorn.viewer.exchange import Ask

NEWS_SECONDS = 25.0         # under the 30 s at which many proxies cut an idle request
MOST_CURVES = 4000          # runs x metrics in one answer
MOST_DETAILS = 200          # runs in one answer
LOG_LIMIT = 1 << 20         # bytes of log in one answer
EMPTY = {"size": 0, "start": 0, "end": 0, "lines": [], "more_before": False, "more_after": False}
ROUTES = []                 # every route of the API, in the order they are listed


class Route(NamedTuple):
    """method and rule as the web framework wants them; function(site, ask, **parts of the path) -> dict or
    Answer."""

    method: str
    rule: str
    about: str
    function: object


def route(method: str, rule: str, about: str) -> Callable[..., Any]:
    """Put the decorated function into ROUTES."""
    def add(function):
        ROUTES.append(Route(method, rule, about, function))
        return function
    return add


@route("GET", "/api", "all routes")
def api(site: Site, ask: Ask) -> dict[str, Any]:
    return {"version": VERSION,
            "routes": [{"method": endpoint.method, "path": shown(endpoint.rule), "about": endpoint.about}
                       for endpoint in ROUTES]}


def shown(rule: str) -> str:
    """Return a rule as people write it: "/api/runs/{key}"."""
    braces = rule.replace("<", "{").replace(">", "}")
    return braces.replace(":path}", "}").replace(":re:start|pause|sync|reconnect}", "}")


@route("GET", "/api/news",
       "wait until one of the topics changed: ?since=NEWS&topic=runs&topic=run:KEY&timeout=25")
def news(site: Site, ask: Ask) -> dict[str, Any]:
    topics = ask.all("topic", "topics")
    timeout = 0.0 if ask.method == "HEAD" else ask.number("timeout", NEWS_SECONDS, 0.0, NEWS_SECONDS)
    names = {f"run:{alias}": topic for topic in topics if topic.startswith("run:")
             for alias in site.catalog.aliases(topic[4:])}
    names.update((topic, topic) for topic in topics)
    heard = site.bell.wait(ask.text("since"), names, timeout)
    return {**heard, "topics": sorted({names[topic] for topic in heard["topics"]})}


# -- runs ----------------------------------------------------------------------------------------------------

@route("GET", "/api/runs", "the run list: "
       "?filter=loss<0.3&sort=-started&offset=0&limit=100&column=config.lr&spark=1&group=tag&hidden=1"
       "&project=&name=&connection=&tag=&partial=1&known=BESIDE (its columns and tree are not told again)")
def runs(site, ask):
    # After its time the list comes empty, and news follow
    site.catalog.await_first_look(ask.flag("partial"))
    # In this order: what ends after them is news
    mark, loading = site.bell.now(), not site.catalog.ready.is_set()
    sides = {side: ask.text(side) for side in ("project", "name", "connection", "tag")}
    try:
        answer = site.listing.answer(ask.number("offset", 0, 0, 1 << 40, integral=True),
                                     ask.number("limit", 100, 0, 10_000, integral=True),
                                     ask.all("column", "columns"), ask.flag("spark"), ask.text("known"),
                                     text=ask.text("filter"), sort=ask.text("sort", "-started"),
                                     group=ask.text("group") or None, hidden=ask.flag("hidden"), **sides)
    except FilterError as error:
        return to_json({**refusal(error)[0], "news": mark}, 400)
    if answer.pop("owes"):
        site.catalog.owe()
    return {"news": mark, "loading": loading, **answer}


@route("GET", "/api/rows", "the run list for a command beside this viewer: ?filter=&sort=&limit=&column=; "
                           "with the folders it is of")
def rows(site, ask):
    site.catalog.await_first_look()
    sources = site.catalog.known()               # before the list: what comes between is in it
    answer = site.catalog.view().list(ask.text("filter"), ask.text("sort", "-started"), 0,
                                      ask.number("limit", 100, 0, 10_000, integral=True),
                                      ask.all("column", "columns"))
    return {"sources": sources, "undecided": site.catalog.undecided(), **answer}


@route("GET", "/api/states",
       "the state of every open run by folder, as the commands beside this viewer show it")
def states(site: Site, ask: Ask) -> dict[str, Any]:
    mark = site.bell.now()
    site.catalog.await_first_look()
    return {"news": mark, "sources": site.catalog.states()}


@route("GET", "/api/runs/<key:path>", "one run: config, summary, state, metrics, progress")
def run(site, ask, key):
    mark = site.bell.now()
    entry = site.catalog.entry(key)
    if not entry.source.local:
        site.connections.want(entry.source.slug, entry.record.path)
    curves(site, entry)
    answer = site.catalog.run(entry.key, bounded.METRICS)
    return {"news": mark, **bounded.run(answer, (answer["main"] or {}).get("metric"))}


@route("GET", "/api/details",
       "several runs, streamed as one JSON object a line, {\"asked\", \"run\" or \"refused\"}: ?run=KEY (may "
       "repeat)")
def details(site: Site, ask: Ask) -> Answer:
    keys = list(dict.fromkeys(ask.all("run", "runs")))
    if not 0 < len(keys) <= MOST_DETAILS:
        raise UsageError(f"name the runs, at most {MOST_DETAILS}: ?run=KEY&run=KEY")
    return Answer((detail(site, ask, key) for key in keys), "application/x-ndjson")


def detail(site, ask, key):
    """Return the line of `details` about one run."""
    try:
        return to_json({"asked": key, "run": run(site, ask, key)}).body
    except RunicornError as error:
        return to_json({"asked": key, "refused": refusal(error)[0]}).body


@route("GET", "/api/part", "more of a run than its answer holds: "
                           "?run=KEY&of=config|summary|meta|status|metrics&find=lr&offset=0&limit=500")
def part(site: Site, ask: Ask) -> dict[str, Any]:
    entry, of = site.catalog.entry(ask.text("run")), ask.text("of")
    if of not in (*bounded.PARTS, "metrics"):
        raise UsageError(f"a run has no part {of[:50]!r}; it has {', '.join(bounded.PARTS)}, metrics")
    if of == "metrics":
        curves(site, entry)
    return site.catalog.part(entry.key, of, ask.text("find"), *_stretch(ask))


@route("GET", "/api/columns",
       "names that runs may be listed by: ?of=config|summary|metrics&find=loss&offset=0&limit=500")
def columns(site, ask):
    of, names = ask.text("of"), site.catalog.view().names
    if of not in ("config", "summary", "metrics"):
        raise UsageError(f"there are no columns of {of[:50]!r}; there are those of config, summary, metrics")
    return bounded.page(names[of], ask.text("find"), *_stretch(ask), name=str, short=bounded.clipped)


@route("GET", "/api/facets", "what the sidebar counts, with what the list's answer left out: "
                             "?of=projects|names|connections|tags&project="
       "&find=vis&offset=0&limit=500&hidden=1")
def facets(site: Site, ask: Ask) -> dict[str, Any]:
    return site.catalog.facets(site.catalog.view(), ask.flag("hidden")).part(ask.text("of"),
                                                                             ask.text("project"),
                                                                             ask.text("find"), *_stretch(ask))


def _stretch(ask):
    return (ask.number("offset", 0, 0, 1 << 40, integral=True),
            ask.number("limit", 500, 1, 5000, integral=True))


def curves(site, entry, ranks=(0,), wait=True):
    """Return the run's Series; of a run whose files are not here yet, with a sample of them read from the
    server. wait: see far_files.prime."""
    series = site.catalog.series(entry.key)
    if not entry.source.local and entry.here():
        series.expect({})
    elif not entry.source.local and not entry.record.newer:
        from runicorn.viewer import far_files
        far_files.prime(site.connections, entry, series, ranks, wait)
    return series


@route("PATCH", "/api/runs/<key:path>",
       "change your own view of a run: {\"tags\": [...], \"note\": \"...\", \"hidden\": true}")
def change_run(site: Site, ask: Ask, key: str) -> dict[str, Any]:
    key, changes = site.catalog.find(key), ask.json()
    if not changes:
        raise UsageError("nothing to change: give tags, note or hidden")
    site.overlay.set(key, **changes)
    site.bell.ring("runs")
    site.bell.ring(f"run:{key}")
    return {"news": site.bell.now(), **site.catalog.row(key)}


@route("DELETE", "/api/runs/<key:path>",
       "drop a mirrored run from this machine; never touches a server or a local root")
def drop_run(site, ask, key):
    entry = site.catalog.entry(key)
    if entry.source.local:
        raise UsageError("a local run is not deleted from here: it is the only copy; remove its folder "
                         "yourself")
    site.connections.drop(entry.source.slug, entry.record.path)
    site.bell.ring("runs")
    return {"news": site.bell.now(), "dropped": entry.key}


# -- curves --------------------------------------------------------------------------------------------------

@route("GET", "/api/series", "curves: ?run=KEY&metric=NAME (both may repeat) "
                             "&x=step|relative|wall|metric:NAME&from=&to=&buckets=600"
       "&smooth=0&rank=0")
def series(site: Site, ask: Ask) -> Answer:
    mark = site.bell.now()
    keys, metrics = ask.all("run", "runs"), ask.all("metric", "metrics")
    if not keys or not metrics:
        raise UsageError("name the run and the metric: ?run=KEY&metric=NAME")
    if len(keys) * len(metrics) > MOST_CURVES:
        raise UsageError(f"at most {MOST_CURVES} curves in one answer")
    ranks = ask.numbers("rank", "ranks", 0, 1 << 20) or [0]
    options = {"x": ask.text("x", "step"), "lo": ask.number("from"), "hi": ask.number("to"),
               "buckets": ask.number("buckets", 600, 1, 20_000, integral=True),
               "smooth": ask.number("smooth", 0.0, 0.0, 0.9999)}
    pictures = []
    for key in dict.fromkeys(keys):
        entry = site.catalog.entry(key)
        curves_of = curves(site, entry, ranks)
        pictures += [curves_of.told(entry.key, metric, rank=rank, **options) for metric in metrics
                     for rank in ranks]
    return Answer(Pieces(f'{{"news":"{mark}","series":['.encode(), list(filter(None, pictures))))


@route("GET", "/api/moment",
       "when a point was logged: ?run=KEY&metric=NAME&x=step|relative|wall&at=120&rank=0")
def moment(site, ask):
    entry, position = site.catalog.entry(ask.text("run")), ask.number("at")
    if position is None:
        raise UsageError("name the place on the x axis: ?at=120")
    point = curves(site, entry).times.moment(ask.text("metric"), ask.text("x", "step"), position,
                                       ask.number("rank", 0, 0, 1 << 20, integral=True))
    return point or {"step": None, "ts": None, "epoch": None}


@route("GET", "/api/system", "the machine under a run: ?run=KEY&from=&to=&buckets=300")
def system(site, ask):
    mark = site.bell.now()
    entry = site.catalog.entry(ask.text("run"))
    # Before the sample is read: one that comes meanwhile is told with the next answer
    came = site.sample_times.came(entry)
    samples = site.catalog.series(entry.key).system(ask.number("from"), ask.number("to"),
                                                       ask.number("buckets", 300, 1, 20_000, integral=True))
    return {"news": mark, **samples, "came": came,
            "series": [{"run": entry.key, **picture} for picture in samples["series"]]}


# -- logs ----------------------------------------------------------------------------------------------------

@route("GET", "/api/logs", "a page of the log: ?run=KEY&from=BYTE or &before=BYTE or neither (the end); "
                           "&limit=65536&rank=0&attempt=2"
       "&file=logs.txt&follow=BYTES (from BYTE, or so much of the end where more than the limit came since)")
def logs(site, ask):
    mark = site.bell.now()
    limit = ask.number("limit", 65536, 1, LOG_LIMIT, integral=True)
    log, entry, own = opened_log(site, ask)
    page, covered = EMPTY, None
    if log is not None:
        start, follow = byte_of(ask, "from"), ask.number("follow", 0, 0, LOG_LIMIT, integral=True)
        if follow and start is not None and log.size - start > limit:
            start, limit = None, follow
        page, covered = log_page(log, start, byte_of(ask, "before"), limit)
    rank, _ = writer_of(ask)
    times = curves(site, entry, (0, rank), wait=False).times
    steps = times.steps_at([line["ts"] for line in page["lines"]], times.rank_of(rank))
    lines = [{**line, "step": step} for line, step in zip(page["lines"], steps)]
    return {"news": mark, **page, "lines": lines, "files": own,
            "here": page["size"] if covered is None else covered,
            "id": log.id if log is not None and covered is None else None}


def log_page(log, start, before, limit):
    """Return (the page, bytes of the log from its beginning that are here; None: all)."""
    covered = getattr(log, "covered", None)
    try:
        return log.page(start, before, limit), covered
    except RunicornError:
        if covered is None:
            raise
    local = log.local()          # the line is down: what is here is shown, and that it is not all
    page = local.page(start, before, limit) if local else EMPTY
    return {**page, "size": log.size, "more_after": page["end"] < log.size}, covered


def byte_of(ask, name):
    """Return a parameter that is a place in a file (bytes), or None."""
    return ask.number(name, None, 0, 1 << 60, integral=True)


def opened_log(site: Site, ask: Ask) -> tuple[Log | None, ForeignEntry | Entry, list[Any]]:
    """Return (Log or None, Entry, [{"name", "size", "attempt", "rank"}]) of the log the request names: all
    attempts of a rank joined (rank 0 unless it says), one attempt, or one file. Only plain files are opened,
    never a link that has the name of one."""
    from runicorn.reader.log import Log
    from runicorn.viewer.far_files import FarLog
    entry = site.catalog.entry(ask.text("run"))
    local, remote = entry.sizes(), entry.there()
    sizes = {name: max(local.get(name, 0), remote.get(name, 0)) for name in {**local, **remote}}
    own = sorted(({"name": name, "size": sizes[name], "attempt": attempt, "rank": rank}
                  for name, attempt, rank in entry.logs(sizes)),
                 key=lambda item: (item["rank"], item["attempt"]))
    rank, attempt, name = (ask.number("rank", 0, 0, 1 << 20, integral=True), ask.text("attempt", "all"),
                           ask.text("file"))
    if name and name not in [item["name"] for item in own] and (parse_own(name) or [""])[0] != "logs":
        raise UsageError(f"{name[:100]!r} is no log file of a run")
    if name:
        chosen = [item["name"] for item in own if item["name"] == name]
    else:
        chosen = [item["name"] for item in own
                  if item["rank"] == rank and attempt in ("all", str(item["attempt"]))]
    if any(local.get(name, 0) < sizes[name] for name in chosen):
        return FarLog(site.connections, entry, chosen), entry, own
    return Log([entry.folder / name for name in chosen]) if chosen else None, entry, own


def writer_of(ask):
    """Return (rank, attempt) of what wrote the log that the request names (int; attempt None: several)."""
    own, attempt = parse_own(ask.text("file")) if ask.text("file") else None, ask.text("attempt", "all")
    if own:
        return own[2], own[1]
    return (ask.number("rank", 0, 0, 1 << 20, integral=True),
            int(attempt) if attempt.isdecimal() and len(attempt) < 10 else None)


@route("GET", "/api/logs/search",
       "search the log, streamed as one JSON object a line: ?run=KEY&q=TEXT&regex=1&from=BYTE&limit=100")
def search(site, ask):
    log, _, _ = opened_log(site, ask)
    if not ask.text("q"):
        raise UsageError("name what to search for: ?q=TEXT")
    size = covered = log.size if log else 0
    if hasattr(log, "covered"):
        covered, log = log.covered, log.local()         # a search must not fetch a log
    start = byte_of(ask, "from")
    findings = log.find(ask.text("q"), ask.flag("regex"), start,
                        ask.flag("backwards"), not ask.flag("case")) if log else (hit for hit in ())
    lines = hits(findings, ask.number("limit", 100, 1, 100_000, integral=True),
                 {"here": covered, "size": size})
    return Answer(begun(lines), "application/x-ndjson", 200, {"Cache-Control": "no-store"})


def hits(findings, limit, extent):
    """Yield a search's findings as lines of JSON, at most `limit` hits, then {"done": true} with `extent`,
    which says how much of the log was here to be searched; an error where it could not go on."""
    count, sent = 0, False
    with contextlib.closing(findings):
        try:
            for item in findings:
                yield to_json(item).body
                count, sent = count + ("at" in item), True
                if count >= limit:
                    break
        except UsageError as error:
            if not sent:
                raise                   # answered as an error, with its status
            yield to_error(error).body
    yield to_json({"done": True, "hits": count, **extent}).body


@route("GET", "/api/logs/at", "where in the log a step or a time is: ?run=KEY&step=N or &ts=S; &rank, "
                              "&attempt, &file as for /api/logs")
def log_at(site, ask):
    log, entry, _ = opened_log(site, ask)
    ts = ask.number("ts")
    if ts is None:
        step = ask.number("step")
        if step is None:
            raise UsageError("name the step or the time: ?step=N or ?ts=S")
        rank, attempt = writer_of(ask)
        times = curves(site, entry, (0, rank)).times
        ts = times.time_of(step, times.rank_of(rank), attempt)
    if not hasattr(log, "covered"):
        return {"at": log.at_time(ts) if log and ts is not None else None}
    try:
        position = None if ts is None else log.at_time(ts)
    except RunicornError:           # the line is down: what is here ends before the log does
        local = log.local()
        position = local.at_time(ts) if local else None
        position = None if position is not None and position >= local.size else position
    return {"at": position, "here": log.covered, "size": log.size}


# -- files ---------------------------------------------------------------------------------------------------

@route("GET", "/api/files", "the run's files, and how many more there are than are listed: "
                            "?run=KEY&offset=0&limit=300&images=300 (also "
       "names of images that are here)")
def run_files(site, ask):
    mark = site.bell.now()
    entry = site.catalog.entry(ask.text("run"))
    indexed, places, left_out = entry.source.copies(entry.record.path)
    local = entry.source.local
    same = None if local else entry.source.agrees(entry.record.path, indexed, places)
    beyond, passed = (0 if local else entry.source.beyond(entry.record.path),
                      entry.source.passed_over(entry.record.path))
    names = entry.source.foreign_files(entry.record.path) if entry.record.kinds else None
    listed, more = files.listed(entry.folder, indexed, places, left_out, same,
                                not beyond and "unreadable" not in passed, names)
    offset, limit = (ask.number("offset", 0, 0, 1 << 40, integral=True),
                     ask.number("limit", len(listed), 0, 1 << 40, integral=True))
    return {"news": mark, "files": listed[offset:offset + limit], "offset": offset, "total": len(listed),
            "more": more + beyond, "passed": passed,
            **_images(listed, ask.number("images", None, 0, 1 << 40, integral=True))}


def _images(listed, most):
    """Return {"images": the first names, "more_images"} of a run's images that are here; nothing where nobody
    asks (None)."""
    if most is None:
        return {}
    names = [file["name"] for file in listed if file["here"] and files.image_type(file["name"])]
    return {"images": names[:most], "more_images": max(0, len(names) - most)}


@route("GET", "/api/file", "one file of a run, as a download or an image: ?run=KEY&name=media/1.png")
def run_file(site, ask):
    entry, name = site.catalog.entry(ask.text("run")), ask.text("name")
    file = files.opened(entry.folder, entry.source.place(entry.record.path, name))
    kind = files.image_type(name)
    headers = {"Content-Length": str(file.size), "Content-Security-Policy": "sandbox; default-src 'none'",
               "Cache-Control": "no-cache", "Content-Disposition": f"{'inline' if kind else 'attachment'}; "
               f"filename*=UTF-8''{quote(name.rpartition('/')[2], safe='')}"}
    return Answer(file, kind or "application/octet-stream", 200, headers)


@route("GET", "/api/export", "a run as a download: ?run=KEY&format=csv|tensorboard|html&long=1")
def export(site: Site, ask: Ask) -> Answer:
    from runicorn.transfer import export as exports
    key, form = site.catalog.find(ask.text("run")), ask.text("format", "csv")
    if form not in EXPORTS:
        raise Refused(400, "format", f"there is no format {form[:50]!r}; there are {', '.join(EXPORTS)}")
    name = quote(f"{key.rpartition('/')[2]}.{EXPORTS[form][0]}", safe="")
    return Answer(begun(exports.stream(site.catalog, key, form, ask.flag("long"))), EXPORTS[form][1], 200,
                  {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})


# format: (ending, media type)
EXPORTS = {"csv": ("csv", "text/csv; charset=utf-8"), "tensorboard": ("tfevents.zip", "application/zip"),
           "html": ("html", "text/html; charset=utf-8")}
