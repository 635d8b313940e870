"""One run as the list and its page show it: where it was found, how far it is, how long it took. Looks at
ends of files only."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from runicorn import layout
from runicorn.errors import LayoutError
from runicorn.metrics import own_files
from runicorn.metrics.series import Series
from runicorn.reader import last_values, quick_stats
from runicorn.reader.liveness import with_ranks
from runicorn.reader.records import MOST_ATTEMPTS, NO_META

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from runicorn.reader.command_root import CommandRoot
    from runicorn.reader.liveness import Verdict
    from runicorn.reader.local_root import LocalRoot
    from runicorn.reader.mirror_source import MirrorSource
    from runicorn.reader.quick_stats import Spark
    from runicorn.reader.records import Record

PACE_ERROR = 0.02           # of the steps of an epoch, where epochs are logged now and then
NOTHING, UNSEEN = {}, (None, {})        # of entries that nobody looked at; never changed
SETTLED = 2.0               # s; a folder may change once more within the second of its mtime


class Entry:
    """One run as the list shows it: the member read, and all members (the same run through several
    connections)."""

    __slots__ = ("key", "source", "record", "members", "owes", "_words", "_sizes", "_end", "_sparks",
                 "_ranks", "_tops", "_summary")

    def __init__(self, key, members, before=None):
        """before: the Entry that this one replaces, or None: what it read of files that are the same is not
        read again."""
        self.key, self.members = key, tuple(members)
        self.source, self.record = members[0].source, members[0].record
        self.owes = False           # whether its sparkline was left out for lack of time
        self._words, self._sizes, self._summary = None, None, None
        self._end, self._sparks, self._ranks, self._tops = None, NOTHING, UNSEEN, NOTHING
        if before is not None and (before.source, before.record.path) == (self.source, self.record.path):
            self._end, self._sparks, self._ranks, self._tops = (before._end, before._sparks, before._ranks,
                                                                before._tops)

    @property
    def words(self):
        """One lower-case text that holds all its words but the user's own."""
        if self._words is None:
            record, source = self.record, self.source
            self._words = "\n".join(filter(None,
                                           (record.project, record.name, record.id, record.user, record.host,
                                            source.slug, source.name, record.note, *record.tags))).lower()
        return self._words

    @property
    def folder(self):
        return self.source.run_folder(self.record.path)

    def new_series(self, columns: Path) -> Series:
        """Return a metrics.series.Series of the run that keeps its columns in the folder `columns`, or
        nowhere for None."""
        return Series(self.folder, columns, own_files.OwnFiles())

    def metric_files(self):
        """Return {(stem, rank, attempt): (path, function(state) returning its reader)} of its files with
        metrics and samples that are here; none of a format that is not known."""
        return {} if self.record.newer else own_files.OwnFiles()(os.fspath(self.folder))

    def slots(self) -> dict[str, Any]:
        """Return {file name: ((rank, attempt) by which a Series knows it, function(state) returning its
        reader)} of the files with metrics, here or on the server."""
        owned = {name: layout.parse_own(name) for name in {**self.there(), **self.sizes()}}
        return {name: ((own[2], own[1]), own_files.MAKERS["events"])
                for name, own in owned.items() if own and own[0] == "events"}

    @property
    def name(self):
        """What the list calls it (str)."""
        return self.record.name

    @property
    def labels(self):
        """What says whose run it is and what of: user, host, group, job_type (str or None), tags (tuple of
        str), note (str)."""
        return self.record

    unread = False              # whether an answer did without what its files tell

    def look_closely(self) -> None:
        """Do nothing: what the list shows of a run of ours is read when it is asked for."""

    @property
    def gone(self):
        """Whether the server no longer has it."""
        return self.record.path in getattr(self.source, "gone", ())

    def small(self):
        """Return {file name: dict} of the run's small JSON files, from its folder, else from the index."""
        files = {name: layout.read_json(self.folder / name) for name in layout.SMALL}
        if None in files.values():
            index = self.source.entry(self.record.path) or {}
            for name, stem in zip(layout.SMALL, layout.STEMS):
                files[name] = files[name] if files[name] is not None else index.get(stem) or {}
        files[layout.SUMMARY].update(self.missed(files[layout.SUMMARY]) if not self.is_summed_up else ())
        return files if not self.record.newer else {name: {} for name in files}

    def state(self):
        """Return the derived state's name, without its reason."""
        return self.record.ended or self.source.verdict(self.record).state

    def verdict(self) -> Verdict:
        """Return the liveness.Verdict on the run, with what its ranks other than 0 said of their ends."""
        return with_ranks(self.source.verdict(self.record), self.record.status, self._rank_statuses())

    def _rank_statuses(self):
        """Return what quick_stats.rank_statuses does; read again only when the folder changed."""
        try:
            folder = self.folder
            changed = os.stat(folder).st_mtime
        except (OSError, LayoutError):
            return {}               # gone, or not here yet
        if self._ranks[0] != changed:
            self._ranks = (changed if changed < time.time() - SETTLED else None,
                           quick_stats.rank_statuses(folder))
        return self._ranks[1]

    def sizes(self):
        """Return {name: bytes} of the run's append-only files here; those of an ended local run are looked up
        once."""
        if self._sizes is None or not (self.record.ended and self.source.local):
            self._sizes = quick_stats.own_sizes(self.folder)
        return self._sizes

    def logs(self, sizes: dict[str, int]) -> list[Any]:
        """Return [(name, attempt, rank)] of the run's logs among the files named in `sizes`."""
        return [(name, *layout.parse_own(name)[1:]) for name in sizes if name.startswith("logs")]

    def there(self):
        """Return {name: bytes} of the run's append-only files as its server has them; empty for a run of this
        machine."""
        return self.source.there(self.record.path)

    def error(self):
        """Return what the list says is wrong with the run: its code and a sentence (str), or (None, None)."""
        if self.record.newer:
            return "newer", (f"its format is {self.record.newer:g}, which a newer Runicorn made; this one "
                             f"knows format {layout.FORMAT}: "
                             "name, state, times and files are shown, nothing else is read")
        if self.record.error == NO_META:
            why = self.source.left_out(self.record.path)
            why = why.get(layout.META) or why.get("")
            return ("left_out", f"{layout.META} is not here: {why['text']}") if why else ("no_meta", NO_META)
        if self.record.error:
            return "index", self.record.error
        unread = self._unread()
        return ("unreadable", f"{unread} can't be read: permission denied") if unread else (None, None)

    def _unread(self):
        """Return the name of a file of events of a local run that may not be read, or None."""
        if not self.source.local:
            return None             # of a mirror, the run's page and the connection say so
        events = [name for name in quick_stats.events_of(self.sizes())
                  if not os.access(os.path.join(self.folder, name), os.R_OK)]
        return events[0] if events else None

    def end(self, sizes=None):
        """Return the quick_stats.End of the run's events, read again only when they grew; nothing of a format
        that is not known."""
        if self.record.newer:
            return quick_stats.End()
        sizes = sizes or self.sizes()
        if self._end is None or self._end[0] != sizes:
            self._tops = self._tops or {}
            self._end = sizes, quick_stats.end(self.folder, sizes, self._tops)
        return self._end[1]

    def learn_step(self, step):
        """Take the largest step as a whole reading of the events tells it: of a large file `end` looked at
        places only."""
        if self.record.newer:
            return
        end, sizes = self.end(), self._end[0]
        if step is not None and end.step is not None and step > end.step:
            name = [name for name in quick_stats.events_of(sizes) if sizes[name]][-1]
            self._end, self._tops[name] = ((sizes, end._replace(step=step)),
                                           self._tops[name]._replace(step=step))

    @property
    def is_summed_up(self):
        """Whether the writer wrote the summary whole at the end: not after a kill, and a later attempt knows
        nothing of what an earlier one that was killed had not written yet."""
        return self.record.ended == "finished" and bool(self.record.summary) and not self.record.resumed

    @property
    def summary(self):
        """The run's summary as the list shows it (dict): the last values of its metrics are those of its
        events."""
        if self.is_summed_up or self.record.newer:
            return self.record.summary
        pulse = self.source.pulses.get(self.record.path)
        sizes = pulse.sign[1] if pulse is not None and pulse.sign else self.sizes()
        if self._summary is None or self._summary[0] != sizes:
            self._summary = sizes, {**self.record.summary, **self.missed(self.record.summary, sizes)}
        return self._summary[1]

    @property
    def config(self):
        """What the run was configured with (dict of plain values by joined names)."""
        return self.record.config

    def total(self, step):
        """Return how many steps the run is to take (float), if it says so and is not past that at `step`,
        else None."""
        return total_steps(self.record, step)

    @property
    def known_summary(self) -> dict[str, Any]:
        """The run's summary (dict), as far as it is known without reading a whole run."""
        return self.summary

    def missed(self, summary, sizes=None):
        """Return what the events say that `summary` does not yet (see last_values.missed)."""
        alive = not self.record.ended and self.state() == "running"
        try:
            return last_values.missed(self.folder, sizes or self.sizes(), summary, self.record.defined, alive)
        except LayoutError:
            return {}               # a folder of a mirror that leads elsewhere

    def spark_until(self, deadline: float, metric: str, sizes: dict[str, int]) -> Spark | None:
        """Return the Spark of a metric, of now or, where that takes reading and `deadline` (monotonic s) is
        past, the last one."""
        may_read = self.glanced(metric, sizes) or time.monotonic() < deadline
        spark = self.spark(metric, sizes) if may_read else self.last_spark(metric)
        self.owes = not self.glanced(metric, sizes)
        return spark

    def glanced(self, metric: str, sizes: dict[str, int]) -> bool:
        """Whether `spark` of the metric would read nothing."""
        return metric in self._sparks and self._sparks[metric][0] == sizes

    def spark(self, metric: str, sizes: dict[str, int]) -> Spark | None:
        """Return the quick_stats.Spark of a metric, or None."""
        if not self.glanced(metric, sizes):
            self._sparks = {metric: (sizes, quick_stats.spark(self.folder, sizes, metric))}
        return self._sparks[metric][1]

    def last_spark(self, metric):
        """Return the quick_stats.Spark of a metric as it was when last looked at, or None; reads nothing."""
        return self._sparks[metric][1] if metric in self._sparks else None

    def duration(self, end=None):
        """Return the seconds the run took or has been running, by its own clock (float), or None."""
        record = self.record
        if record.started is None:
            return None
        if record.ended and record.finished is not None:
            return max(0.0, record.finished - record.started)
        last, pulse = (end or self.end()).ts, self.source.pulses.get(record.path)
        if last is None:
            return None
        waited = pulse.since_row(pulse.read) if pulse and pulse.read and self.state() == "running" else 0.0
        return max(0.0, last - record.started + (waited or 0.0))

    @property
    def defined(self):
        """What define_metric said of its metrics ({name or pattern: {"summary", "goal", "step_metric",
        "hidden"}})."""
        return self.record.defined or {}

    def rule(self, metric):
        """Return "min" or "max": which value of a metric is its best, as its definition or else its name
        says."""
        metric = self.defined_of(metric) or metric
        return layout.best_rule(metric, layout.definition_of(self.defined, metric))

    def definition(self, metric: str) -> dict[str, Any]:
        """Return what define_metric said of how a metric is shown ({"step_metric", "hidden"}, what there
        is)."""
        definition = layout.definition_of(self.defined, metric)
        return {key: definition[key] for key in ("step_metric", "hidden")
                if definition.get(key) not in (None, metric)}

    def defined_of(self, name):
        """Return the metric of whose values define_metric keeps `name` ("loss" of "loss.min"), or None where
        that is no such name."""
        metric, _, rule = name.rpartition(".")
        rules = (layout.definition_of(self.record.defined, metric).get("summary", "")
                 if metric and self.record.defined else "")
        return metric if rule in rules.split(",") else None

    def here(self):
        """Whether all own files of the run are on this machine."""
        return self.source.local or self.source.complete(self.record.path)

    def logged(self, to_end=True):
        """Whether the events of all its attempts and ranks are; if not `to_end`, the beginning of each is
        enough."""
        return self.source.local or self.source.complete(self.record.path, "events", to_end)


class Member:
    """One place a run was found in."""

    __slots__ = ("source", "record")

    def __init__(self, source: CommandRoot | LocalRoot | MirrorSource, record: Record) -> None:
        self.source, self.record = source, record


def freshness(member):
    """Return a key: local files first, then a source whose line is up, then the one that saw the run change
    last."""
    pulse = member.source.pulses.get(member.record.path)
    return member.source.local, member.source.up, (pulse.changed or 0.0) if pulse else 0.0


def newest(entry):
    """Return a key that grows with when a run was started; runs of one moment follow their ids."""
    return entry.record.started or 0.0, entry.record.id, entry.key


def total_steps(record, step):
    """Return how many steps the run is to take (float), if its config says so and it is not past that at
    `step`, else None."""
    totals = [value for value in (record.config.get(name) for name in ("max_steps", "total_steps"))
              if _is_positive(value)]
    return totals[0] if totals and (step is None or step <= totals[0]) else None


def _is_positive(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def attempts(status, entry):
    """Return [{"n", "started_at", "from_step"}] of the run's attempts, the last of them where there are many,
    from its status or else its files."""
    if entry.record.newer:
        return []
    listed = status.get("attempts") if isinstance(status.get("attempts"), list) else []
    by_number = {item.get("n", index): item for index, item in enumerate(listed, 1) if isinstance(item, dict)}
    events = {layout.parse_own(name)[1]: name for name in quick_stats.events_of(entry.sizes())}
    numbers = sorted({n for n in by_number if isinstance(n, int)} | set(events) | {1})
    return [_attempt(n, by_number.get(n, {}), status, entry.folder, events.get(n))
            for n in numbers[-MOST_ATTEMPTS:]]


def _attempt(n, attempt, status, folder, name):
    started = attempt.get("started_at", status.get("started_at") if n == 1 else None)
    from_step = attempt.get("from_step")
    if not isinstance(from_step, (int, float)):
        from_step = quick_stats.first_step(folder, name) if name else None
    return {"n": n, "started_at": layout.number(started), "from_step": from_step}


def progress(entry, series, end):
    """Return {"step", "total", "about", "share", "speed" (steps/s), "eta" (s)} of the run; None where it
    can't be known.

    about: the total is reckoned from the steps that its epochs took so far; share: of the way (0 to 1). A
    finished run has come all of its way, wherever it was to go.
    """
    step, speed, ended = end.step, series.times.speed(), entry.record.ended
    total = planned = entry.total(step)
    if ended == "finished" and step is not None:
        total = planned = planned if planned is not None and step + 1 >= planned else step
    elif total is None and step is not None:
        total = _by_epochs(entry.config, series, step)
    steps_left = total - step if total is not None and step is not None else None
    share = 1.0 if ended == "finished" else min(1.0, (step + 1) / total) if steps_left is not None else None
    return {"step": step, "total": None if total is None else round(total),
            "about": total is not None and planned is None, "share": share, "speed": speed,
            "eta": steps_left / speed if steps_left is not None and speed and not ended else None}


def _by_epochs(config, series, step):
    """Return how many steps the run is to take, if the config tells `epochs` and what the run logged of its
    `epoch` tells how many steps one takes; else None. Nothing is known before the second epoch has begun."""
    epochs, pace = config.get("epochs"), series.steps_by_epoch()
    total = epochs * pace if _is_positive(epochs) and pace else None
    return max(total, step) if total is not None and step <= total * (1 + PACE_ERROR) else None
