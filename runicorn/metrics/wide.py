"""Rows of many metrics, gathered one after the other until they are asked for by metric. Opens no file."""

from __future__ import annotations

import sys
from array import array
from collections import Counter, defaultdict
from itertools import accumulate, chain, count, repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# Rows a shape, on average, up to which gathering by row is quicker than adding each shape's columns
FEW = 8
MANY = 1024         # names in a block below which either way is quick
LIMIT = 1 << 19     # values gathered before they are sorted by metric: half a second, and 50 MB meanwhile
NAME_BYTES, STEP_BYTES = 32, 40         # of a name's number; of a step and its place in the list


def is_wide(parts: list[Any]) -> bool:
    """Whether `parts` (list of parse.Part) name more metrics than their rows are worth adding column by
    column."""
    names = sum([len(part.names) for part in parts])
    return names > MANY and names * FEW > sum([len(part.names) * len(part.rows) for part in parts])


class Columns(dict):
    """{metric: Column}, each made when it is first asked for; until then its place among `cells`."""

    def __init__(self, make, names, cells):
        """make: returns the Column of an array('d'); names: list of str; cells: array('d'), the values of the
        first name, of the next, …"""
        super().__init__(zip(names, range(len(names))))
        self._make, self._cells = make, cells
        self._height, self._unmade = len(cells) // len(names), len(names)

    def __getitem__(self, name):
        column = super().__getitem__(name)
        if type(column) is not int:
            return column
        values = self[name] = self._make(self._cells[column * self._height:(column + 1) * self._height])
        self._unmade -= 1
        if not self._unmade:
            self._cells = None
        return values

    def values(self):
        """Return every Column (list)."""
        return [self[name] for name in self]

    def items(self):
        """Return every (metric, Column) (list)."""
        return [(name, self[name]) for name in self]

    def pop(self, name):
        """Take a Column out and return it."""
        column = self[name]
        del self[name]
        return column

    def made(self):
        """Return the Columns that were asked for so far (list)."""
        return [column for column in super().values() if type(column) is not int]

    def nbytes(self):
        """Return the bytes that are held for the columns not asked for yet."""
        return NAME_BYTES * self._unmade + (sys.getsizeof(self._cells) if self._unmade else 0)


class WideRows:
    """Rows in the order they came: `rows` (line numbers), `ts` (Unix seconds), `steps`, and for every value
    the number of its metric and the value itself, in two arrays without an object a value."""

    def __init__(self):
        self.rows, self.ts, self.steps = array("I"), array("d"), []
        self._widths, self._metrics, self._cells = array("I"), array("I"), array("d")
        # Metric -> its number, in the order first logged
        self._numbers = defaultdict(count().__next__)

    @property
    def names(self):
        """Return the metrics by number (list), in the order first logged."""
        return list(self._numbers)

    def __len__(self):
        """Return how many values are gathered."""
        return len(self._cells)

    def add(self, part):
        """Append the rows of an parse.Part or RowPart."""
        height = len(part.rows)
        self.rows.extend(part.rows)
        self.ts.extend(part.ts)
        self.steps += part.steps
        self._widths.extend([len(part.names)] * height)
        self._metrics.extend(array("I", map(self._numbers.__getitem__, part.names)) * height)
        self._cells.extend(part.cells if hasattr(part, "cells") else chain.from_iterable(zip(*part.columns)))

    def by_group(self, owners):
        """Yield (metrics, rows, ts, steps, cells) for the metrics (their numbers) that have the same rows
        here and the same group in `owners` (list, by number): what those rows are, in their order, and the
        values of the first metric, of the next, … (array)."""
        begins = [0, *accumulate(self._widths)]
        by_row = sorted(range(len(self.rows)), key=self.rows.__getitem__)
        by_row = chain.from_iterable([range(begins[row], begins[row + 1]) for row in by_row])
        # Each step here is one call for all values
        by_metric = sorted(by_row, key=self._metrics.__getitem__)
        row_of = list(chain.from_iterable(map(repeat, range(len(self.rows)), self._widths)))
        places = list(map(row_of.__getitem__, by_metric))
        cells = array("d", map(self._cells.__getitem__, by_metric))
        counts = Counter(self._metrics)
        begins = [0, *accumulate(map(counts.__getitem__, range(len(owners))))]
        columns = [list(map(column.__getitem__, places))
                   for column in (self.rows.tolist(), self.ts.tolist(), self.steps)]
        for metrics in _alike(owners, array("I", places), begins):
            lowest, last = metrics[0], metrics[-1]
            span = slice(begins[lowest], begins[lowest + 1])
            if last - lowest < len(metrics):
                mine = cells[begins[lowest]:begins[last + 1]]
            else:
                mine = array("d", chain.from_iterable(
                                                      [cells[begins[metric]:begins[metric + 1]]
                                                       for metric in metrics]))
            yield (metrics, *[column[span] for column in columns], mine)

    def nbytes(self) -> int:
        """Return the bytes it holds in memory."""
        arrays = (self.rows, self.ts, self._widths, self._metrics, self._cells)
        size = sum(map(sys.getsizeof, arrays)) + STEP_BYTES * len(self.steps)
        return (size + sys.getsizeof(self._numbers) + sum(map(sys.getsizeof, self._numbers))
                + NAME_BYTES * len(self._numbers))


def _alike(owners, places, begins):
    """Return lists of the metrics (numbers) that have the same owner and the same places: those from its
    begin to that of the next."""
    alike, raw, size = {}, places.tobytes(), places.itemsize
    begins = [size * begin for begin in begins]
    before = mine = None
    for metric, owner, begin, end in zip(range(len(owners)), owners, begins, begins[1:]):
        span = raw[begin:end]
        # As a rule those first logged together are logged together
        if span != before or owner is not owners[metric - 1]:
            mine, before = alike.setdefault((id(owner), span), []), span
        mine.append(metric)
    return list(alike.values())
