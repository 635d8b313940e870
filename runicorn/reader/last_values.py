"""The last values of a run's metrics that its summary.json missed: a writer puts them there every few
seconds, and one that was killed never again. Reads events from their end."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from runicorn import local_disk
from runicorn.layout import SUMMARY, best_rule, definition_of, number, open_regular
from runicorn.reader.file_marks import mtime
from runicorn.reader.quick_stats import END, events_of, row_of

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

BACK = 16 << 20             # bytes at the end of events in which a run that died is searched
FIRST = 4 << 10             # bytes; mostly all that is read: the summary is as new as the last row
FLUSHED = 15.0              # s; a writer puts last values into summary.json three times as often
LONG = 1 << 20              # bytes; a longer line is no row


def missed(folder: Path, sizes: dict[str, int], summary: dict[str, Any], definitions: Any = None,
           alive: bool = False) -> dict[str, float]:
    """Return {name: value} of the metrics logged since summary.json was written.

    sizes: {name: bytes} of the run's files; summary: what summary.json says (dict): a value that the user set
    over a metric's own stays; definitions: the "metrics" of meta.json; alive: it is written again soon, so a
    short look will do.
    """
    since = mtime(os.path.join(folder, SUMMARY))
    names = [name for name in reversed(events_of(sizes)) if sizes[name]]
    if not names:
        return {}
    rows = _rows_back(folder, names, END if alive or since is None else BACK)
    search = _Search(summary, since)
    for row in rows:
        if search.take(row):
            break
    unwritten = _unwritten(folder, names[1:], summary.keys() | search.newest.keys())
    return {**unwritten, **search.late(), **_defined(search.numbers, summary, definitions or {})}


def _unwritten(folder, names, names_written):
    """Return {metric: value} of what attempts before the last logged in their last seconds: one that was
    killed had not written it, and the summary that the next one went on with lacks it. names: their events,
    last attempt first; names_written: metrics that are told."""
    values = {}
    for name in names:
        until = None
        for row in _rows_back(folder, [name], END):
            ts, _, data = row or (None, None, {})
            until = ts if until is None else until
            if row is None or ts is None or until is None or ts < until - FLUSHED:
                break
            for metric in data.keys() - names_written:
                values.setdefault(metric, data[metric])
    return values


class _Search:
    """Goes through rows, last first, until it is known of each metric whether the summary's value was its
    own.

    A value of the summary that the metric had when summary.json was written, or later where clocks differ, is
    the metric's; another one the user set.
    """

    def __init__(self, summary, since):
        self.summary, self.since = summary, since
        # s; SFTP tells whole seconds
        self.slack = 1.1 if since is not None and since == int(since) else 0.3
        # Of the rows that the summary may lack: last value, all values
        self.newest, self.numbers = {}, {}
        # Metrics whose summary is their own, and those of which that is known
        self._own, self._settled = set(), set()
        self._cut = False                           # whether rows are left unread

    def take(self, row):
        """Take the next row, None if more are not read; returns whether all is known."""
        if row is None:
            self._cut = True
            return True
        ts, _, data = row
        early = self.since is not None and ts is not None and ts < self.since - self.slack
        for metric, value in data.items():
            if not early:
                self.newest.setdefault(metric, value)
                self.numbers.setdefault(metric, []).append(value)
            if metric in self.newest and metric not in self._settled:
                if value == self.summary.get(metric):
                    self._own.add(metric)
                if early or metric in self._own:
                    self._settled.add(metric)
        return early and self.newest.keys() <= self._settled

    def late(self):
        """Return {metric: value} of what the summary lacks."""
        # Taken for their own, as most are
        unknown = self.newest.keys() - self._settled if self._cut else set()
        return {metric: value for metric, value in self.newest.items()
                if metric not in self.summary or metric in self._own or metric in unknown}


def _defined(numbers, summary, definitions):
    """Return {"<metric>.max": value, …} of what define_metric has the summary keep, with the new `numbers` of
    each metric."""
    best_values = {}
    for metric, values in numbers.items() if definitions else ():
        entry = definition_of(definitions, metric)
        finite = [value for value in map(number, values) if value is not None and math.isfinite(value)]
        for rule in {"min", "max", "best"}.intersection(
                                                        entry.get("summary",
                                                                  "").split(",")) if finite else ():
            best = number(summary.get(f"{metric}.{rule}"))
            choose = min if (best_rule(metric, entry) if rule == "best" else rule) == "min" else max
            best_values[f"{metric}.{rule}"] = choose([*finite, *([] if best is None else [best])])
    return best_values


def _rows_back(folder, names, budget):
    """Yield the rows (ts, step, data) of the files `names`, last row first; None where `budget` (bytes) ends
    before they do."""
    for name in names:
        try:
            file = open(open_regular(os.path.join(folder, name)), "rb")
        except OSError as error:
            local_disk.pass_over(error)
            continue                # gone since it was listed
        with file:
            position, open_line, block = file.seek(0, os.SEEK_END), b"", FIRST
            while position:
                if budget <= 0:
                    yield None
                    return
                count = min(block, position)
                position, budget, block = position - count, budget - count, END
                file.seek(position)
                head, *lines = (file.read(count) + open_line).split(b"\n")
                open_line = head if len(head) < LONG else b""
                yield from filter(None, map(row_of, reversed(lines)))
            yield from filter(None, [row_of(open_line)])
