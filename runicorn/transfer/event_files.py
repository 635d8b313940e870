"""Read the TensorBoard event files of one folder as the rows of one run, in order and without what restarts
superseded. Writes nothing."""

from __future__ import annotations

import bisect
import math
import os
from typing import TYPE_CHECKING

from runicorn import layout, local_disk
from runicorn.metrics.kinds import tensorboard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

BLOCK, LONGEST = 1 << 20, 16 << 20          # bytes handed over at once, and at most where a record is as long
LAST = 1e11                                 # s; the year 5138
# Counted by the reader, but no values of a tag
NO_VALUES = ("hyperparameters", "graphs", "run metadata")


def is_event_file(path: Path) -> bool:
    """Whether a file is TensorBoard's. Raises OSError if it can't be read."""
    if "tfevents" not in path.name:
        return False
    with open(layout.open_regular(path), "rb") as file:
        return tensorboard.is_kind(path.name, file.read(4096))


class EventFiles:
    """The files of one folder, in the order of their names, as TensorBoard reads them. Each is read twice:
    what supersedes comes last.

    config: {hyperparameter: value}; skipped: values that are no scalars (int); damage: sentences (list of
    str).
    """

    def __init__(self, paths: Iterator[Any] | list[Any]) -> None:
        """paths: Paths of event files. Raises OSError."""
        self._paths = sorted(paths, key=lambda path: path.name)
        self.config, self.skipped, self.damage, starts = {}, 0, [], {}
        for number, path in enumerate(self._paths):
            reader = tensorboard.Reader()
            for _ in _parts(path, reader):
                pass
            facts = reader.facts()
            self.config.update(facts.get("config", {}))
            self.skipped += sum(count for name, count in facts.get("counts", {}).items()
                                if name not in NO_VALUES)
            if reader.skipped:
                reasons = ", ".join(f"{count} {reason}" for reason, count in reader.skipped.items())
                self.damage.append(f"{local_disk.short(str(path))}: left out: {reasons}")
            for row, step, names in facts["purges"]:
                for name in (None,) if names is None else names:
                    starts.setdefault(name, []).append(((number, row), step))
        self._purges = {name: _Lowest(purges) for name, purges in starts.items()}

    def rows(self) -> Iterator[Any]:
        """Yield (wall time s, step, {tag: number}); neighbours of the same time and step are one. Raises
        OSError."""
        row, last = None, 0.0
        for ts, step, data in self._records():
            # a time that no calendar has: that of the point before
            ts = last = ts if abs(ts) < LAST else last
            if row and row[:2] == (ts, step) and row[2].keys().isdisjoint(data):
                row[2].update(data)
                continue
            if row:
                yield row
            row = (ts, step, data)
        if row:
            yield row

    def _records(self):
        for number, path in enumerate(self._paths):
            for parts in _parts(path, tensorboard.Reader()):
                records = [(row, ts, step, part.names, values) for part in parts
                           for row, ts, step, values in zip(part.rows, part.ts, part.steps,
                                                            zip(*part.columns))]
                for row, ts, step, names, values in sorted(records, key=lambda record: record[0]):
                    data = dict(zip(names, values))
                    if self._purges:
                        data = {name: value for name, value in data.items()
                                if step < self._limit((number, row), name)}
                    if data:
                        yield ts, step, data

    def _limit(self, position, name):
        return min(self._purges[key].after(position) if key in self._purges else math.inf
                   for key in (None, name))


class _Lowest:
    """Of purges [((file, row), step)], places ascending: the lowest step of those behind a place."""

    def __init__(self, purges):
        self._places = [position for position, _ in purges]
        self._steps = [step for _, step in purges] + [math.inf]
        for number in range(len(purges) - 1, -1, -1):
            self._steps[number] = min(self._steps[number:number + 2])

    def after(self, position):
        return self._steps[bisect.bisect_right(self._places, position)]


def _parts(path, reader):
    """Yield the Parts of each block of a file; an unfinished record at its end is left, as a writer may still
    be at work."""
    with open(layout.open_regular(path), "rb") as file:
        end, position, length = os.fstat(file.fileno()).st_size, 0, BLOCK
        while position < end:
            file.seek(position)
            block = file.read(min(length, end - position))
            used, parts = reader.take(block, end - position)
            if used:
                yield parts
                position, length = position + used, BLOCK
            elif len(block) < length or length >= LONGEST:
                return
            else:
                length *= 2
