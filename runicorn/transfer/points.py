"""Every point of one run, for a dataset: read once, superseded ones too, a megabyte of its files at a time.
Formats nothing.

What supersedes what is told by newer attempts, so these are read first: an older attempt's point is
superseded from the first step on at which a newer one logged the same metric. What other loggers wrote is
told by columns, one of their files at a time, as `curves` joins them.
"""

import math
from array import array
from bisect import bisect_left
from typing import NamedTuple

from runicorn.metrics import curves, own_files
from runicorn.metrics.column_file import File
from runicorn.metrics.full_parse import FullReader
from runicorn.metrics.parse import RowPart
from runicorn.transfer.rows import portions, unreadable

PIECE = 1 << 16             # rows of another logger's file that are told at once
OWN = own_files.MAKERS["events"]


class Chunk(NamedTuple):
    """Points of one file. attempt: number, None of another logger's file; superseded: a bool for all rows, or
    bytes with 0 or 1 for each;
    ts, steps: array('d') of the rows; columns: an array('d') of values for each of `names`, or None where
    `cells` has them row by row."""

    attempt: object
    rank: int
    superseded: object
    names: tuple
    ts: array
    steps: array
    columns: object
    cells: object = None


class TextChunk(NamedTuple):
    """Values that a float64 does not say whole, each with whether it is superseded: `texts` is a list of
    (full_parse.Text, bool)."""

    attempt: object
    rank: int
    texts: list


class Points:
    """The points of a run whose files are `files`: {(stem, rank, attempt): (path, function(state) returning
    its reader)}, as own_files.find and foreign_files tell them. `skipped` (int): lines and records that could
    not be read, once all chunks are taken."""

    def __init__(self, files):
        self._files, self.skipped = files, 0
        # Metric -> kind of the file that is believed first of those that hold it; of others' files
        self._kinds = {}

    def chunks(self):
        """Yield Chunks and TextChunks. Raises DataError for a file that can't be read, or was replaced
        meanwhile."""
        others = {key: file for key, file in self._files.items()
                  if key[0] == "inner" or key[0] == "events" and file[1] is not OWN}
        cuts = {}                       # of other loggers' metrics
        for _, (path, make) in sorted(others.items(), reverse=True):
            yield from self._of_table(self._table(path, make), cuts)
        own = sorted(((rank, attempt), path) for (stem, rank, attempt), (path, make) in self._files.items()
                     if stem == "events" and make is OWN)
        rank_before, cuts = None, {}
        for (rank, attempt), path in reversed(own):
            cuts = cuts if rank == rank_before else {}
            rank_before, firsts = rank, {}
            yield from self._of_own(path, attempt, rank, cuts, firsts)
            for name, step in firsts.items():
                cuts[name] = min(step, cuts.get(name, math.inf))

    # -- ours ------------------------------------------------------------------------------------------------

    def _of_own(self, path, attempt, rank, cuts, firsts):
        """Yield what is in one file of ours. cuts: {metric: step from which on its points are superseded};
        firsts: takes {metric: the first step it was logged at}."""
        for parts, texts in self._blocks(path):
            for part in parts:
                steps = array("d", part.steps)
                lowest = min(steps)
                for name in part.names:
                    firsts[name] = min(lowest, firsts.get(name, math.inf))
                yield from _chunks(part, steps, attempt, rank, cuts, self._kinds if not rank else {})
            for text in texts:
                firsts[text.name] = min(text.step, firsts.get(text.name, math.inf))
            chosen = [(text, text.step >= cuts.get(text.name, math.inf))
                      for text in texts if rank or text.name not in self._kinds]
            if chosen:
                yield TextChunk(attempt, rank, chosen)

    def _blocks(self, path):
        """Yield (list of parse.Part, list of full_parse.Text) of one file, up to its end as it was at
        first."""
        file = File(path, None, FullReader)
        for parts in portions(file):
            yield [part for part in parts if part.names], file.reader.take_texts()
        self.skipped += file.skipped

    # -- other loggers' --------------------------------------------------------------------------------------

    def _table(self, path, make):
        """Return the columns.Table of a file, read to its end as it was at first."""
        file = File(path, None, make)
        try:
            more = file.look()
            while more:
                more = file.step()
        except OSError as error:
            raise unreadable(path, error) from error
        self.skipped += file.skipped
        return file.table

    def _of_table(self, table, cuts):
        for group in table.groups():
            steps, ts = array("d", group.steps), array("d", group.ts)
            alike = {}                  # superseded -> names
            for name in group.columns:
                if self._kinds.setdefault(name, table.kind) == table.kind:
                    alike.setdefault(_superseded(table, group, name, cuts), []).append(name)
            for superseded, names in alike.items():
                for begin in range(0, len(steps), PIECE):
                    piece = slice(begin, begin + PIECE)
                    yield Chunk(None, 0, superseded and superseded[piece], tuple(names), ts[piece],
                                steps[piece], [group.columns[name].values[piece] for name in names])


def _chunks(part, steps, attempt, rank, cuts, without):
    """Yield the Chunks of a Part: of metrics that are superseded alike; metrics in `without` are left out."""
    ts = array("d", part.ts)
    if not cuts and not without:
        cells = part.cells if type(part) is RowPart else None
        yield Chunk(attempt, rank, False, part.names, ts, steps, None if cells is not None else part.columns,
                    cells)
        return
    alike, lowest, highest = {}, min(steps), max(steps)
    for index, name in enumerate(part.names):
        if name not in without:
            cut = cuts.get(name, math.inf)
            cut = math.inf if cut > highest else -math.inf if cut <= lowest else cut
            alike.setdefault(cut, []).append(index)
    columns = part.columns
    for cut, places in alike.items():
        yield Chunk(attempt, rank, _from(cut, steps), tuple([part.names[number] for number in places]), ts,
                    steps, [columns[number] for number in places])


def _from(cut, steps):
    """Return which of some steps are at or beyond `cut`: a bool for all of them, or bytes with 0 or 1 for
    each."""
    if not math.isfinite(cut):
        return cut < 0
    return bytes([step >= cut for step in steps])


def _superseded(table, group, name, cuts):
    """Return which points of a metric in a columns.Table are superseded, as `_from` does; takes over into
    `cuts` what it supersedes."""
    cut, flags = cuts.get(name, math.inf), b""
    for begin, end, until in curves.stretches(table, name):         # the newest rows first
        cut = min(cut, until)
        steps = group.steps[bisect_left(group.rows, begin):bisect_left(group.rows, end)]
        flags = bytes([step >= cut for step in steps] if cut < math.inf else len(steps)) + flags
    cuts[name] = cut
    return flags if any(flags) else False
