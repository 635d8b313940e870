"""The run list: filter, sort, group, slice, and what its sidebar counts. Works on the merged runs; reads no file but through them."""

import time

from runicorn import filters, layout
from runicorn.errors import UsageError

STATE_ORDER = {state: place for place, state in enumerate(("running", "stalled", "checking", "lost", "failed", "interrupted", "finished"))}
MOST = 10_000               # rows in one answer
SPARK_SECONDS = 0.1         # an answer waits no longer for sparklines; the rest come with the next
PLAIN = ("key", "name", "project", "state", "started", "ended", "duration", "step", "user", "host", "connection", "tags", "main", "id", "note")
DROPPED = ("epoch", "step", "_step", "_runtime", "_timestamp")     # never the main metric by themselves


class View:
    """Merged runs with what the reader noted about them: answers for the run list.

    runs: sequence of reader.Entry; notes: {key: {"tags"?, "note"?, "hidden"?}}; main_metric: {project: metric};
    rule: function(metric) -> "min" or "max".
    """

    def __init__(self, runs, notes, main_metric, rule):
        self.runs, self.notes, self.main_metric, self.rule = runs, notes, main_metric, rule

    # -- one run ---------------------------------------------------------------------------------------------------

    def tags(self, run):
        own = self.notes.get(run.key, {}).get("tags")
        return tuple(own) if own is not None else run.record.tags

    def note(self, run):
        own = self.notes.get(run.key, {}).get("note")
        return own if own is not None else run.record.note

    def hidden(self, run):
        return bool(self.notes.get(run.key, {}).get("hidden"))

    def main_name(self, run):
        """Return the name of the run's main metric (str), or None if it has no number in its summary."""
        summary = run.record.summary
        picked = self.main_metric.get(run.record.project)
        if picked in summary:
            return picked
        if "val/loss" in summary:
            return "val/loss"
        numbers = [name for name, value in summary.items() if not isinstance(value, bool) and layout.number(value) is not None
                   and name.rpartition("/")[2] not in DROPPED]
        return next((name for name in numbers if "loss" in name.rpartition("/")[2].lower()), numbers[0] if numbers else None)

    def values(self, run, field):
        """Return the values of a field of the run (sequence; empty if it has none), as the filter language sees them."""
        record = run.record
        plain = _FIELDS.get(field)
        if plain:
            return plain(self, run)
        if field.startswith("config."):
            return _held(record.config, field[7:])
        if field.startswith("summary."):
            return _held(record.summary, field[8:])
        return _held(record.summary, field) or _held(record.config, field) or _by_last_part(record, field)

    def words(self, run):
        """Return one lower-case text that holds all the run's words."""
        if run.words is None:
            record = run.record
            run.words = "\n".join(filter(None, (record.project, record.name, record.id, record.user, record.host, run.source.slug,
                                                run.source.name, record.note, *record.tags))).lower()
        own = self.notes.get(run.key)
        return run.words + "\n" + "\n".join((*(own.get("tags") or ()), own.get("note") or "")).lower() if own else run.words

    def row(self, run, columns=(), spark=False, deadline=0.0):
        """Return the Row of one run (dict; see the README, "HTTP API")."""
        record, verdict, end = run.record, run.verdict(), run.end()
        started, main = record.started, self.main_name(run)
        glanced = run.spark(main) if spark and main and (run.glanced(main) or time.monotonic() < deadline) else None
        run.owes = bool(spark and main and not run.glanced(main))
        return {
            "key": run.key, "id": record.id, "connection": run.source.slug, "connection_name": run.source.name, "project": record.project,
            "name": record.name, "user": record.user, "host": record.host, "tags": list(self.tags(run)), "note": self.note(run),
            "hidden": self.hidden(run), "state": verdict.state, "reason": verdict.reason(), "stale": not run.source.up,
            "started": started, "ended": layout.number((record.status or {}).get("ended_at")), "duration": run.duration(),
            "step": end.step, "total": total_steps(record), "main": self._main(record, main, glanced),
            "spark": glanced.values if glanced else None, "values": {column: self._column(run, column) for column in columns},
            "sources": len(run.members), "here": run.here(), "gone": run.gone, "newer": record.newer, "error": record.error}

    def _main(self, record, name, glanced):
        if name is None:
            return None
        side = self.rule(name)
        best = (glanced.low if side == "min" else glanced.high) if glanced and glanced.exact else None
        return {"metric": name, "value": layout.strict(record.summary.get(name)), "rule": side,
                "best": {"value": best[0], "step": best[1]} if best else None}

    def _column(self, run, column):
        found = self.values(run, column)
        return layout.strict(found[0]) if found else None

    # -- the list --------------------------------------------------------------------------------------------------

    def chosen(self, text="", hidden=False, **sides):
        """Return the runs that fit the filter `text` and the sidebar's choice (project, name, connection, tag).

        Raises FilterError, which says where.
        """
        terms = filters.parse(text)
        fits = filters.compile_terms(terms)
        runs = self.runs if hidden else [run for run in self.runs if not self.hidden(run)]
        for side, wanted in sides.items():
            runs = [run for run in runs if wanted in _side(self, run, side)] if wanted else runs
        if not terms:
            return list(runs)
        return [run for run in runs if fits(lambda field: self.values(run, field) if field else (self.words(run),))]

    def sorted(self, runs, sort):
        """Return `runs` sorted by a field, "-" before it for the largest first; runs without it come last."""
        field, down = sort.lstrip("-"), sort.startswith("-")
        if not (field in PLAIN or field.startswith(("config.", "summary."))):
            raise UsageError(f"runs can't be sorted by {field!r}; sort by {', '.join(PLAIN)}, config.NAME or summary.NAME")
        held, without = [], []
        for run in runs:
            value = self._sort_value(run, field)
            (held if value is not None else without).append((value, run))
        held.sort(key=lambda pair: pair[0], reverse=down)
        return [run for _, run in held] + [run for _, run in without]

    def _sort_value(self, run, field):
        if field == "state":
            return STATE_ORDER[run.state()]
        if field == "main":
            value = layout.number(run.record.summary.get(self.main_name(run)))
            return value if value is not None and value == value else None
        found = self.values(run, "tag" if field == "tags" else field)
        if not found:
            return None
        return _ordered(found[0]) if field.startswith(("config.", "summary.")) else found[0].lower() if isinstance(found[0], str) else found[0]

    def list(self, filter="", sort="-started", offset=0, limit=100, columns=(), spark=False, group=None, hidden=False, **sides):
        """Return the answer of GET /api/runs without its news (dict). limit None: all. Raises FilterError, UsageError."""
        chosen = self.sorted(self.chosen(filter, hidden, **sides), sort or "-started")
        answer = {"total": len(self.runs), "matched": len(chosen), "running": sum(run.state() in ("running", "stalled", "checking") for run in chosen
                                                                                  if not run.record.ended), "offset": offset}
        if group:
            chosen, answer["groups"] = self._grouped(chosen, group)
        deadline = time.monotonic() + SPARK_SECONDS
        part = chosen[offset:offset + min(MOST if limit is None else limit, MOST)]
        answer["runs"] = [self.row(run, columns, spark, deadline) for run in part]
        answer["owes"] = any(run.owes for run in part)
        return answer

    def _grouped(self, runs, field):
        groups = {}
        for run in runs:
            found = (run.state(),) if field == "state" else self.values(run, field)
            groups.setdefault(found[0] if found else None, []).append(run)
        order = sorted(groups, key=lambda value: (value is None, STATE_ORDER[value] if field == "state" else _ordered(value) if value is not None else 0))
        return ([run for value in order for run in groups[value]],
                [{"value": layout.strict(value), "count": len(groups[value])} for value in order])

    # -- the sidebar -----------------------------------------------------------------------------------------------

    def tree(self, hidden=False):
        """Return what the sidebar counts: {"projects", "connections", "tags", "states"}."""
        projects, connections, tags, states = {}, {}, {}, {}
        for run in self.runs:
            if not hidden and self.hidden(run):
                continue
            project, name, _, _ = run.record.path.split("/")
            held = projects.setdefault(project, {"slug": project, "project": run.record.project, "count": 0, "names": {}})
            held["count"] += 1
            named = held["names"].setdefault(name, {"slug": name, "name": run.record.name, "count": 0})
            named["count"] += 1
            for source in {member.source.slug: member.source for member in run.members}.values():
                connection = connections.setdefault(source.slug, {"slug": source.slug, "name": source.name, "count": 0})
                connection["count"] += 1
            for tag in self.tags(run):
                tags[tag] = tags.get(tag, 0) + 1
            state = run.state()
            states[state] = states.get(state, 0) + 1
        return {"projects": [{**held, "names": sorted(held["names"].values(), key=_by_slug)} for held in sorted(projects.values(), key=_by_slug)],
                "connections": sorted(connections.values(), key=_by_slug),
                "tags": [{"tag": tag, "count": count} for tag, count in sorted(tags.items(), key=lambda item: (-item[1], item[0]))], "states": states}

    def columns(self):
        """Return {"config", "summary", "metrics"}: the names that any run has, sorted; metrics are the numeric ones of summary."""
        config, summary, metrics = set(), set(), set()
        for run in self.runs:
            config.update(run.record.config)
            summary.update(run.record.summary)
            if not summary <= metrics:
                metrics.update(name for name, value in run.record.summary.items() if name not in metrics and layout.number(value) is not None)
        return {"config": sorted(config), "summary": sorted(summary), "metrics": sorted(metrics)}


def total_steps(record):
    """Return how many steps the run is to take (float), if its config says so, else None."""
    for name in ("max_steps", "total_steps"):
        value = record.config.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _by_slug(item):
    return item["slug"].lower()


def _held(values, name):
    return (values[name],) if name in values else ()


def _by_last_part(record, field):
    """Return the value of the one that `loss` means where only `val/loss` or `train/loss` exist: val first."""
    for values in (record.summary, record.config):
        found = sorted((not name.startswith(("val", "eval", "test")), name) for name in values
                       if name.endswith(field) and name[-len(field) - 1:-len(field)] in ("/", "."))
        if found:
            return (values[found[0][1]],)
    return ()


def _ordered(value):
    """Return a key that puts numbers before texts before the rest, and NaN nowhere among numbers."""
    if isinstance(value, (bool, int, float)) or value in ("NaN", "Infinity", "-Infinity"):
        held = layout.number(value)
        return (0, held, "") if held == held else (1, 0.0, "")
    return (2, 0.0, str(value).lower()) if value is not None else (3, 0.0, "")


def _side(view, run, side):
    record = run.record
    if side == "tag":
        return view.tags(run)
    if side == "connection":
        return [name for member in run.members for name in (member.source.slug, member.source.name)]
    project, name, _, _ = record.path.split("/")
    return (project, record.project) if side == "project" else (name, record.name)


def _some(value):
    return (value,) if value is not None else ()


_FIELDS = {
    "key": lambda view, run: (run.key,),
    "id": lambda view, run: (run.record.id,),
    "project": lambda view, run: (run.record.project,),
    "name": lambda view, run: (run.record.name,),
    "user": lambda view, run: _some(run.record.user),
    "host": lambda view, run: _some(run.record.host),
    "note": lambda view, run: _some(view.note(run) or None),
    "tag": lambda view, run: view.tags(run),
    "connection": lambda view, run: _side(view, run, "connection"),
    "state": lambda view, run: (run.state(),),
    "started": lambda view, run: _some(run.record.started),
    "ended": lambda view, run: _some(layout.number((run.record.status or {}).get("ended_at"))),
    "age": lambda view, run: _some(run.record.started and time.time() - run.record.started),
    "duration": lambda view, run: _some(run.duration()),
    "step": lambda view, run: _some(run.end().step),
    "main": lambda view, run: _some(layout.number(run.record.summary.get(view.main_name(run)))),
}
