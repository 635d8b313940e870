"""The run list: filter, sort, group, slice, and states counted. Works on the merged runs; reads no file but
through them."""

from __future__ import annotations

import collections
import operator
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from runicorn import layout, local_names
from runicorn.errors import UsageError
from runicorn.reader import bounded, filters

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.reader.foreign_entry import ForeignEntry
    from runicorn.reader.run_entry import Entry

STATE_ORDER = {state: position for position, state in enumerate(
    ("running", "stalled", "checking", "quiet", "lost", "failed", "interrupted", "finished"))}
MEANINGS = 5                # names that a bare one is said to stand for
SPARK_SECONDS = 0.1         # an answer waits no longer for sparklines; the rest come with the next
FIRST = operator.itemgetter(0)
DIGITS = re.compile("([0-9]+)")
# what one can sort by besides config.X and summary.X
PLAIN = ("key", "name", "project", "state", "started", "ended", "duration", "step", "user", "host",
         "connection", "tags", "main", "id", "note", "group", "job_type")
DROPPED = ("epoch", "step", "_step", "_runtime", "_timestamp")     # never the main metric by themselves
GROUPS, GROUPS_BYTES = 500, 64 << 10      # named in one answer, JSON of them


class Ordered(NamedTuple):
    """The runs (list of run_entry.Entry) of a question in their order, and what an answer says of all of them
    ({"matched", …})."""

    runs: list
    facts: dict


class View:
    """Merged runs with what the reader noted about them: answers for the run list.

    runs: sequence of run_entry.Entry; names: what `names_of` says of them; notes: {key: {"tags"?, "note"?,
    "hidden"?}};
    main_metric: {project: metric}; rule: function(metric, run) -> "min" or "max".
    """

    def __init__(self, runs: tuple[Any, ...], names: dict[str, Any], notes: dict[str, Any],
                 main_metric: dict[str, Any], rule: Callable[..., Any]) -> None:
        self.runs, self.names, self.notes, self.main_metric, self.rule = runs, names, notes, main_metric, rule

    # -- one run ---------------------------------------------------------------------------------------------

    def tags(self, run):
        own = self.notes.get(run.key, {}).get("tags")
        return tuple(own) if own is not None else run.labels.tags

    def note(self, run):
        own = self.notes.get(run.key, {}).get("note")
        return own if own is not None else run.labels.note

    def hidden(self, run: Entry) -> bool:
        return bool(self.notes.get(run.key, {}).get("hidden"))

    def main_name(self, run):
        """Return the name of the run's main metric (str), or None if it has no number in its summary."""
        summary = run.summary
        picked = self.main_metric.get(run.record.project)
        if picked in summary:
            return picked
        if "val/loss" in summary:
            return "val/loss"
        numbers = [name for name, value in summary.items()
                   if not isinstance(value, bool) and layout.number(value) is not None
                   and name.rpartition("/")[2] not in DROPPED and run.defined_of(name) is None]
        like = [name for name in numbers if "loss" in name.rpartition("/")[2].lower()]
        if not like:
            return numbers[0] if numbers else None
        # Beside "train/loss", "train/entropy_loss" is a part of it, but "val_loss" beside "loss" is none
        above, _, last = like[0].rpartition("/")
        whole = f"{above}/loss" if above else "loss"
        first, _, rest = last.rpartition("_")
        is_part = rest == "loss" and first.partition("_")[0].lower() not in layout.PHASES
        return whole if is_part and first and whole in like else like[0]

    def getter(self, field: str) -> Callable[..., Any]:
        """Return a function(run) -> values (sequence; empty if it has none) of a field, as the filter
        language names it."""
        if not field:
            return lambda run: (self.words(run),)
        plain, bare = _FIELDS.get(field), _SAID.get(field)
        if bare:
            named = self.bare(field)
            return lambda run: bare(self, run) or named(run)
        if plain:
            return lambda run: plain(self, run)
        if field.startswith("config."):
            return _getter([], [field[7:]])
        if field.startswith("summary."):
            return _getter([field[8:]], [])
        return self.bare(field)

    def bare(self, field: str) -> Callable[..., Any]:
        """Return a function(run) -> the values of what a bare `field` stands for in the summary or the
        config."""
        stands_for = self.meaning(field)

        def get(run):
            name = stands_for(run)
            return () if name is None else (run.summary[name] if name in run.summary else run.config[name],)
        return get

    def meaning(self, field: str) -> Callable[..., Any]:
        """Return a function(run) -> the name (str) in the run's summary or config that a bare `field` stands
        for, or None.

        Of each run for itself: the name that is just this; else one whose last part it is, the main metric
        before others, val/loss before train/loss, the summary before the config.
        """
        metrics = _by_last_part(self.names["summary"], field, "/")
        settings = _by_last_part(self.names["config"], field, ".")

        def stands_for(run):
            if field in run.summary or field in run.config:
                return field
            names = [name for name in metrics if name in run.summary]
            if names[1:] and (main := self.main_name(run)) in names:
                return main
            return names[0] if names else next((name for name in settings if name in run.config), None)
        return stands_for

    def meanings(self, fields: list[str], runs: tuple[Any, ...]) -> dict[str, dict[str, Any]]:
        """Return {field: {name: how many of `runs` it stands for}} of those bare `fields` that stand for
        anything but themselves."""
        meant = {}
        for field in dict.fromkeys(fields):
            if _is_logged(field) and not field.startswith(("config.", "summary.")):
                names = collections.Counter(map(self.meaning(field), runs))
                names.pop(None, None)
                if names.keys() - {field}:
                    meant[field] = dict(names.most_common(MEANINGS))
        return meant

    def asks_for_metrics(self, text: str, sort: str, columns: list[str] | tuple[Any, ...]) -> bool:
        """Whether a question is about what runs logged, or were configured with. Raises FilterError."""
        return any(map(_is_logged, _fields(text, sort, columns)))

    def words(self, run: ForeignEntry | Entry) -> str:
        """Return one lower-case text that holds all the run's words."""
        own = self.notes.get(run.key)
        return run.words + "\n" + "\n".join((*(own.get("tags")
                                               or ()), own.get("note") or "")).lower() if own else run.words

    def row(self, run, gets=None, spark=False, deadline=0.0):
        """Return the Row of one run (dict; see the README, "HTTP API"). gets: {column: its getter}; spark:
        whether to look for a sparkline, at most until `deadline` (monotonic s)."""
        record, sizes = run.record, run.sizes()
        end = run.end(sizes)
        # Of another logger's, `end` looked
        labels = run.labels
        main, verdict, (error_code, error) = self.main_name(run), run.verdict(), run.error()
        glanced = run.spark_until(deadline, main, sizes) if spark and main else None
        return {"key": run.key, "id": record.id, "connection": run.source.slug,
                "connection_name": run.source.name, "project": record.project, "name": run.name,
                "user": labels.user, "host": labels.host, "group": labels.group, "job_type": labels.job_type,
                "tags": list(self.tags(run)), "note": self.note(run), "hidden": self.hidden(run),
                "state": verdict.state, "reason": verdict.reason(), "stale": not run.source.up,
                "started": record.started, "ended": record.finished, "duration": run.duration(end),
                "step": end.step, "total": run.total(end.step), "main": self._main(run, main, glanced),
                "spark": glanced.values if glanced else None,
                "values": {column: layout.strict(value[0]) for column, get in (gets or {}).items()
                           for value in [get(run)] if value}, "sources": len(run.members), "here": run.here(),
                "gone": run.gone, "newer": bool(record.newer), "format": record.newer or None,
                "kinds": list(record.kinds), "error": error, "error_code": error_code}

    def _main(self, run, name, glanced):
        if name is None:
            return None
        side = self.rule(name, run)
        best = (glanced.low if side == "min" else glanced.high) if glanced and glanced.exact else None
        return {"metric": name, "value": layout.strict(run.summary.get(name)), "rule": side,
                "best": {"value": best[0], "step": best[1]} if best else None}

    # -- the list --------------------------------------------------------------------------------------------

    def chosen(self, text: str = "", hidden: bool = False, **sides: Any) -> list[Entry] | tuple[Any, ...]:
        """Return the runs that fit the filter `text` and the sidebar's choice (project, name, connection,
        tag).

        Raises FilterError, which says where.
        """
        terms = filters.parse(text)
        runs = self.runs if hidden or not self.notes else [run for run in self.runs if not self.hidden(run)]
        for side, choice in sides.items():
            runs = [run for run in runs if choice in _SIDES[side](self, run)] if choice else runs
        return list(filter(filters.compile_terms(terms, self.getter), runs)) if terms else runs

    def sorted(self, runs: list[Entry] | tuple[Any, ...], sort: str) -> list[Entry]:
        """Return `runs` sorted by a field, "-" before it for the largest first; runs without it come last."""
        field, down = sort.lstrip("-"), sort.startswith("-")
        value = self._sort_value(field)
        keyed, without = [], []
        for run in runs:
            key = value(run)
            if key is None:
                without.append(run)
            else:
                keyed.append((key, run))
        keyed.sort(key=FIRST, reverse=down)
        return [run for _, run in keyed] + without

    def _sort_value(self, field):
        """Return a function(run) -> key, or None for a run without the field. Raises UsageError for an
        unknown field."""
        if field == "started":
            return lambda run: run.record.started
        if field == "state":
            return lambda run: STATE_ORDER[run.state()]
        if not (field in PLAIN or field in _FIELDS or field.startswith(("config.", "summary."))
                or self._knows(field)):
            raise UsageError(f"runs can't be sorted by {field!r}; sort by {', '.join(PLAIN)}, config.NAME, "
                             f"summary.NAME or the last "
                             "part of one")
        get = self.getter("tag" if field == "tags" else field)

        def value(run):
            item = get(run)
            return None if not item or item[0] in (None, "NaN") or item[0] != item[0] else _ordered(item[0])
        return value

    def _knows(self, field):
        names = self.names
        return (field in names["summary"] or field in names["config"]
                or bool(_by_last_part(names["summary"], field, "/")
                        or _by_last_part(names["config"], field, ".")))

    def list(self, text="", sort="-started", offset=0, limit=100, columns=(), spark=False, group=None,
             hidden=False, **sides):
        """Return the answer of GET /api/runs without its news (dict). limit None: all. Raises FilterError,
        UsageError."""
        ordered = self.ordered(text, sort, columns, group, hidden, **sides)
        return self.page(ordered, ordered.runs[offset:None if limit is None else offset + limit], offset,
                         columns, spark)

    def ordered(self, text="", sort="-started", columns=(), group=None, hidden=False, **sides):
        """Return the Ordered runs of a question. Raises FilterError, UsageError."""
        chosen = self.sorted(self.chosen(text, hidden, **sides), sort or "-started")
        facts = {"total": len(self.runs), "matched": len(chosen),
                 "running": sum(run.state() == "running" for run in chosen if not run.record.ended)}
        if group:
            chosen, groups = self._grouped(chosen, group)
            facts["groups"] = bounded.page(groups, limit=GROUPS, size=GROUPS_BYTES)["items"]
            facts["more_groups"] = len(groups) - len(facts["groups"])
        facts["means"] = self.meanings(_fields(text, sort, columns), self.runs)
        # So many more may fit, or stand elsewhere, once they are read
        facts["unread"] = sum(run.unread for run in self.runs)
        return Ordered(chosen, facts)

    def page(self, ordered, runs, offset=0, columns=(), spark=False):
        """Return the answer (dict) that tells the rows of `runs`, which stand in an Ordered from the
        `offset`-th on."""
        deadline = time.monotonic() + SPARK_SECONDS
        gets = {column: self.getter(column) for column in columns}
        rows = [self.row(run, gets, spark, deadline) for run in runs]
        return {**ordered.facts, "offset": offset, "runs": rows,
                "owes": spark and any(run.owes for run in runs)}

    def _grouped(self, runs, field):
        get, groups = self.getter(field), {}
        for run in runs:
            group = get(run)
            groups.setdefault(group[0] if group else None, []).append(run)
        order = sorted(groups, key=lambda value: (value is None,
                                                  STATE_ORDER[value] if field == "state"
                                                  else _ordered(value)))
        return ([run for value in order for run in groups[value]],
                [{"value": layout.strict(value), "count": len(groups[value])} for value in order])

    def states(self, hidden: bool = False) -> Any:
        """Return {state: how many runs are in it}."""
        return collections.Counter(run.record.ended or run.state()
                                   for run in self.runs if hidden or not self.notes or not self.hidden(run))


def names_of(runs: tuple[Any, ...]) -> dict[str, Any]:
    """Return {"config", "summary", "metrics"}: the names that any of `runs` has, sorted; metrics are the
    numeric ones of summary; and "offered": what bounded.offered says of them."""
    config, summary, metrics = set(), set(), set()
    for run in runs:
        own_summary = run.known_summary
        config.update(run.config)
        summary.update(own_summary)
        if len(metrics) < len(summary):
            metrics.update(name for name, value in own_summary.items()
                           if name not in metrics and layout.number(value) is not None)
    names = {"config": sorted(config), "summary": sorted(summary), "metrics": sorted(metrics)}
    return {**names, "offered": bounded.offered(runs, names)}


def _fields(text, sort, columns):
    return [term.field for term in filters.parse(text)] + [(sort or "").lstrip("-"), *columns]


def _is_logged(field):
    return bool(field) and field not in _FIELDS and field not in PLAIN


def _getter(summary, config):
    """Return a function(run) -> the value of the first of these names that the run has, as a tuple."""
    def get(run):
        values = run.summary
        for name in summary:
            if name in values:
                return (values[name],)
        values = run.config
        for name in config:
            if name in values:
                return (values[name],)
        return ()
    return get


def _by_last_part(names, field, joint):
    """Return those of `names` that `loss` may mean where no name is just that: val/loss before train/loss."""
    matching = [name for name in names if name.endswith(joint + field)]
    return sorted(matching, key=lambda name: (not name.startswith(("val", "eval", "test")), name))


def _ordered(value):
    """Return a key that puts numbers before texts before nothing."""
    if isinstance(value, (bool, int, float)) or value in ("Infinity", "-Infinity"):
        return (0, layout.number(value), "")
    return (1, 0.0, natural(str(value))) if value is not None else (2, 0.0, "")


def natural(text: str) -> list[Any]:
    """Return a key (list) that puts run2 before run10: the numbers in a text by their size, the words between
    without their case."""
    parts = DIGITS.split(text.lower())
    parts[1::2] = [(len(digits), digits) for digits in (part.lstrip("0") for part in parts[1::2])]
    return parts


_SIDES = {"project": lambda view, run: (local_names.run_parts(run.record.path)[0], run.record.project),
          "name": lambda view, run: (local_names.run_parts(run.record.path)[1], run.record.name, run.name),
          "connection": lambda view, run: [name for member in run.members
                                           for name in (member.source.slug, member.source.name)],
          "tag": lambda view, run: view.tags(run),}


def _some(value):
    return (value,) if value is not None else ()


_SAID = {                # what init says of a run; of a run for which it said nothing, a setting of that name
    "group": lambda view, run: _some(run.labels.group),
    "job_type": lambda view, run: _some(run.labels.job_type),
}

_FIELDS = {
    **_SAID,
    "key": lambda view, run: (run.key,),
    "id": lambda view, run: (run.record.id,),
    "project": lambda view, run: (run.record.project,),
    "name": lambda view, run: tuple(dict.fromkeys((run.name, run.record.name))),
    "user": lambda view, run: _some(run.labels.user),
    "host": lambda view, run: _some(run.labels.host),
    "note": lambda view, run: _some(view.note(run) or None),
    "kind": lambda view, run: run.record.kinds or ("runicorn",),
    "tag": lambda view, run: view.tags(run),
    "connection": _SIDES["connection"],
    "state": lambda view, run: (run.state(),),
    "started": lambda view, run: _some(run.record.started),
    "ended": lambda view, run: _some(run.record.finished),
    "age": lambda view, run: _some(run.record.started and time.time() - run.record.started),
    "duration": lambda view, run: _some(run.duration()),
    "step": lambda view, run: _some(run.end().step),
    "main": lambda view, run: _some(layout.number(run.summary.get(view.main_name(run)))),
}
