"""Every row of one run, straight from its files, for exports: holds one block of them, so memory stays flat.
Formats nothing.

A row is what one call of `log` wrote. Values that a later attempt logged again are left out, as `curves`
does: an older attempt's are superseded from the first step on at which a newer attempt logged the same
metric.
"""

from __future__ import annotations

import math
import os
from collections import deque
from typing import TYPE_CHECKING

from runicorn import layout
from runicorn.errors import DataError
from runicorn.metrics.column_file import File
from runicorn.metrics.inner_files import InnerFiles
from runicorn.metrics.parse import LONG, STEP_LIMIT, Part, Template
from runicorn.metrics.series import Series

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

BLOCK = 1 << 20             # bytes that are looked at at once


class Rows:
    """The rows of the run in `folder`, as far as they are here when it is made. `ranks` (list of int);
    `names`: the metrics, in the order first logged (list of str); `first_ts`: of the first row (Unix
    seconds), or None; `extent`: how many rows and values. Reads everything once for these, and once more for
    the rows. Raises DataError."""

    def __init__(self, folder: Path) -> None:
        paths = {}                      # (rank, attempt) -> path
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    own = layout.parse_own(entry.name)
                    if own and own[0] == "events" and entry.is_file(follow_symlinks=False):
                        paths[own[2], own[1]] = entry.path
        except FileNotFoundError:
            pass                        # a run without a folder logged nothing
        except OSError as error:
            raise unreadable(folder, error) from error
        self.ranks = sorted({rank for rank, _ in paths})
        self._attempts = {rank: [path for (of, _), path in sorted(paths.items()) if of == rank]
                          for rank in self.ranks}
        self.extent = 0, 0
        # Path -> {metric: the first step at which a newer attempt logged it}
        self._cuts, names, times = {}, {}, []
        for rank in self.ranks:
            firsts = []
            for path in self._attempts[rank]:
                alone = len(self._attempts[rank]) == 1
                firsts.append(alone and self._names_alone(path, times) or self._first_steps(path, times))
                names.update(dict.fromkeys(firsts[-1]))
            cuts = {}
            for path, firsts_of in zip(reversed(self._attempts[rank]), reversed(firsts)):
                self._cuts[path] = dict(cuts)
                cuts.update((name, min(step, cuts.get(name, math.inf))) for name, step in firsts_of.items())
        self.names, self.first_ts = list(names), min(times, default=None)

    def _names_alone(self, path, times):
        """Return {metric: 0} of one file all of whose lines are written alike, so that no number has to be
        read for it, and None of another; adds its first time to `times`."""
        alike = _alike(path)
        if alike is None:
            return None
        names, count, first_ts = alike
        times.append(first_ts)
        self.extent = self.extent[0] + count, self.extent[1] + count * len(names)
        return dict.fromkeys(names, 0)

    def _first_steps(self, path, times):
        """Return {metric: the smallest step it was logged at} of one file, in the order first logged; adds
        its first time to `times`."""
        lowest_steps = {}
        for parts in _blocks(path):
            parts.sort(key=lambda part: part.rows[0])
            times += [part.ts[0] for part in parts[:0 if lowest_steps else 1]]
            self.extent = _grown(self.extent, parts)
            for part in parts:
                lowest = min(part.steps)
                for name in part.names:
                    lowest_steps[name] = min(lowest, lowest_steps.get(name, math.inf))
        return lowest_steps

    def blocks(self, rank: int) -> Iterator[Any]:
        """Yield the rows of a rank in the order logged, about a megabyte of the file at a time: lists of
        parse.Part, whose `rows` (line numbers) tell the order within a list. Times are floats, steps integers
        where they are whole. Raises DataError."""
        for path in self._attempts[rank]:
            for parts in _blocks(path):
                yield [counted for part in parts for counted in _counting(part, self._cuts[path])]


class ForeignRows:
    """The same of another logger's run, out of its metrics.series.Series, which is read whole: metrics that
    were logged at the same steps make the same rows, in the order of the steps. Raises DataError."""

    ranks = (0,)

    def __init__(self, series: Series) -> None:
        series.refresh()
        self.names, self.first_ts = list(series.metrics()), series.first_ts
        alike = {}                      # bytes of the steps -> (steps, times, {metric: values})
        for name, steps, times, values in series.points_of(self.names):
            alike.setdefault(steps.tobytes(), (steps, times, {}))[2][name] = values
        self._alike = [table for table in alike.values() if len(table[0])]
        self.extent = (sum(len(steps) for steps, *_ in self._alike),
                       sum(len(steps) * len(columns) for steps, _, columns in self._alike))

    def blocks(self, rank: int) -> Iterator[Any]:
        """Yield one list of parse.Part, whose `rows` are the steps. rank: 0."""
        yield [Part(tuple(columns), list(steps), list(map(float, times)), _steps(list(steps)),
                    list(columns.values())) for steps, times, columns in self._alike]


class JoinedRows:
    """The same of a run of ours, `own` (Rows), in whose folder other loggers wrote, too: their rows,
    `inner` (ForeignRows), follow those of rank 0."""

    def __init__(self, own: Rows, inner: ForeignRows) -> None:
        self._own, self._inner = own, inner
        self.ranks = sorted({0, *own.ranks})
        self.names = list(dict.fromkeys([*own.names, *inner.names]))
        self.first_ts = min((ts for ts in (own.first_ts, inner.first_ts) if ts is not None), default=None)
        self.extent = tuple(map(sum, zip(own.extent, inner.extent)))

    def blocks(self, rank: int) -> Iterator[Any]:
        """Yield what those of both do."""
        yield from self._own.blocks(rank) if rank in self._own.ranks else ()
        yield from self._inner.blocks(rank) if rank == 0 else ()


def of_folder(folder: Path) -> Rows | JoinedRows:
    """Return the rows of the run of ours in a folder, with what other loggers wrote inside it. Raises
    DataError."""
    own, inner = Rows(folder), InnerFiles()
    return JoinedRows(own, ForeignRows(Series(folder, None, inner))) if inner(os.fspath(folder)) else own


def _grown(extent, parts):
    """Return (rows, values) with those of some Parts."""
    rows, values = extent
    return (rows + sum(len(part.rows) for part in parts),
            values + sum(len(part.rows) * len(part.names) for part in parts))


def _alike(path):
    """Return (names, how many, time of the first) of the lines of a file where all are written as the first,
    else None. Raises DataError."""
    try:
        with open(layout.open_regular(path), "rb") as file:
            line = file.readline(LONG)
            template, count, rest = Template(line.rstrip(b"\n")), 0, b""
            first = template.read(line)
            file.seek(0)
            if not first or not first[0] or b"\\ud" in line.lower():
                return None
            while block := file.read(BLOCK):
                whole = (rest + block)[:len(rest) + block.rfind(b"\n") + 1]
                rest = (rest + block)[len(whole):]
                if not template.repeats(whole) or len(rest) > LONG:
                    return None
                count += whole.count(b"\n")
            return template.names, count, first[0][0]
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError:              # no row of a few numbers
        return None


def _blocks(path):
    """Yield the rows of one file as lists of Parts, up to its present end."""
    for parts in portions(File(path)):
        yield [part._replace(ts=list(map(float, part.ts)), steps=_steps(part.steps)) for part in parts]


def portions(file: File) -> Iterator[list[Part]]:
    """Yield the rows of a column_file.File up to its present end, about a megabyte at a time, and keep none.
    Raises DataError where it can't be read or was replaced meanwhile."""
    try:
        more = file.look()
        while more:
            before, block = file.position, _Block()
            file.fill(block)
            more = file.step()
            if file.position < before:
                raise DataError(f"{file.path} was replaced while it was read; try again")
            yield block.parts
    except OSError as error:
        raise unreadable(file.path, error) from error


class _Block:
    """What column_file.File fills in place of a Table."""

    def __init__(self):
        self.parts, self.others = [], deque(maxlen=0)

    def add(self, parts):
        self.parts += parts

    def purge(self, purges):
        """Rows leave out what a newer attempt logged anew; nothing else is taken back in them."""


def unreadable(path, error):
    """Return the DataError of a path that an OSError says can't be read."""
    return DataError(f"{path} can't be read: {error.strerror or error}")


def _steps(steps):
    """Return steps as they are told everywhere: whole ones as int, unless they are beyond what an int64
    holds."""
    if set(map(type, steps)) == {int} and min(steps) > -STEP_LIMIT and max(steps) < STEP_LIMIT:
        return steps
    return [float(step) if abs(step) >= STEP_LIMIT or step != int(step) else int(step) for step in steps]


def _counting(part, cuts):
    """Yield `part` without its superseded values, in pieces that name the same metrics each."""
    limits = [cuts.get(name, math.inf) for name in part.names]
    if max(part.steps) < min(limits, default=math.inf):
        yield part
        return
    by_names = {}                          # places of the names that count -> rows
    for row, ts, step, *values in zip(part.rows, part.ts, part.steps, *part.columns):
        places = tuple(index for index, limit in enumerate(limits) if step < limit)
        by_names.setdefault(places, []).append((row, ts, step, *(values[index] for index in places)))
    for places, rows in by_names.items():
        if places:
            numbers, ts, steps, *columns = map(list, zip(*rows))
            yield Part(tuple(part.names[index] for index in places), numbers, ts, steps, columns)
