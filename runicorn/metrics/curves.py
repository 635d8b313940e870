"""One run out of its attempts: a curve on any x, with what a later attempt logged again set apart. Pure."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from runicorn.metrics.columns import Column, ascending

if TYPE_CHECKING:
    from typing import Any

    from runicorn.metrics.columns import Group, Table

# Points that are sorted at once, as a rule; points looked at to find where a stretch of so many ends
SORTED, SAMPLED = 1 << 15, 64
SAME = 1e-5                 # x told to a page is rounded to the microsecond


class Curve(NamedTuple):
    """`xs`: ascending array of numbers; `column`: columns.Column of as many values; `shift`: subtracted from
    x when told."""

    xs: array
    column: Column
    shift: float = 0.0

    def x(self, index: int) -> int:
        """Return the x to tell for the point at `index`."""
        return round(self.xs[index] - self.shift, 6) if self.shift else self.xs[index]

    def span(self, lo: float | None, hi: float | None) -> tuple[int, int]:
        """Return the places [first, end) of the points with lo <= x <= hi; None is no bound."""
        start = 0 if lo is None else bisect_left(self.xs, lo + self.shift)
        return start, max(start, len(self.xs) if hi is None else bisect_right(self.xs, hi + self.shift))


def curve(tables, metric, x, shift=0.0):
    """Return the Curve of a metric and the Curve of its superseded points (None without any).

    tables: the columns.Table of each attempt that logged it, oldest first; x: "step", "relative" and "wall"
    (both by time, `shift` makes the difference) or "metric:NAME". One attempt that is in order is shown as it
    stands, without a copy.
    """
    group = tables[0].where[metric]
    if len(tables) == 1 and not tables[0].purges and in_order(group, x):
        return Curve(group.steps if x == "step" else group.ts, group.columns[metric], shift), None
    counting, superseded = joined(tables, metric, x)
    return _sorted(*counting, shift), _sorted(*superseded, shift) if len(superseded[0]) else None


def grow(drawn, before, table, metric, x):
    """Append the newest attempt's new points to the Curve `drawn`, joined before; return whether that was
    possible.

    before: (columns.Table, points) of that attempt when `drawn` was made; table: its Table now.
    """
    group = table.where[metric]
    old, joined_before = before
    xs = group.steps if x == "step" else group.ts
    if (old is not table or not (group.steps_sorted and in_order(group, x))
            or drawn.xs.typecode != xs.typecode):
        return False
    if not drawn.xs or drawn.xs[-1] > xs[joined_before - 1]:            # an older attempt reaches beyond
        return False
    drawn.xs.extend(xs[joined_before:])
    drawn.column.extend(group.columns[metric].values[joined_before:])
    return True


def in_order(group: Group, x: str) -> bool:
    """Whether the rows of a columns.Group stand in the order of `x`."""
    return group.steps_sorted if x == "step" else group.ts_sorted and x in ("relative", "wall")


def place_of(group, x, position):
    """Return the place of the last row of a columns.Group that stands at `position` on "step" or a time axis,
    or None."""
    xs = group.steps if x == "step" else group.ts
    if in_order(group, x):
        index = bisect_right(xs, position + SAME) - 1
    else:
        index = min(range(len(xs)), key=lambda index: abs(xs[index] - position), default=-1)
    return index if index >= 0 and abs(xs[index] - position) <= SAME else None


def epoch_at(table: Table, row: int) -> float | None:
    """Return the epoch (number) that was logged last at or before line `row` of a columns.Table, None without
    one."""
    for name, group in table.where.items():
        index = bisect_right(group.rows, row) - 1
        if index >= 0 and name.rsplit("/", 1)[-1].lower() == "epoch":
            epoch = group.columns[name].values[index]
            return epoch if math.isfinite(epoch) else None
    return None


def pace(curve: Curve) -> float | None:
    """Return how many steps an epoch takes (float), by the Curve by step of what was logged as the epoch, or
    None before that can be told: of whole numbers when a second one has come, of fractions after a tenth of
    an epoch."""
    values = curve.column.values
    if not values or not (math.isfinite(values[0]) and math.isfinite(values[-1])):
        return None
    integral = values[-1] == int(values[-1])
    index = bisect_left(values, values[-1]) if integral else len(values) - 1
    epochs, steps = values[-1] - values[0], curve.xs[index] - curve.xs[0]
    return steps / epochs if epochs >= (1 if integral else 0.1) and steps > 0 else None


def joined(tables: list[Table], metric: str, x: str) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return (xs, values) of the points that count and (xs, values) of those superseded, each in the order
    logged.

    An older attempt's point is superseded when its step is at or beyond the first step at which a newer
    attempt logged the same metric; where the Tables tell purges, those decide alone. Points without a finite
    x are left out.
    """
    cut, pieces = math.inf, []
    for table in reversed(tables):
        group = table.where[metric]
        xs, values = _axis(table, group, x), group.columns[metric].values
        ends = stretches(table, metric)
        for begin, end, until in ends:          # the newest rows first
            cut = min(cut, until)
            piece = slice(bisect_left(group.rows, begin), bisect_left(group.rows, end))
            if math.isinf(cut) and group.steps.typecode == "q":     # all of them count
                pieces.append(((xs[piece], values[piece]), (xs[:0], values[:0])))
            else:
                pieces.append(_cut(group.steps[piece], group.steps_sorted, cut, xs[piece], values[piece]))
        if table.purges is None:
            cut = min(cut, _first_step(group))
    pieces.reverse()
    counting, superseded = ([piece[side] for piece in pieces] for side in (0, 1))
    return _concatenated(counting), _concatenated(superseded)


def stretches(table, metric):
    """Yield (first row, row after the last, step from which rows before that are superseded) of the stretches
    between the purges of a metric in a columns.Table, the newest first; the first step is infinite."""
    marks = [(row, step) for row, step, names in table.purges or () if names is None or metric in names]
    ends = [(row, step) for row, step in marks] + [(math.inf, math.inf)]
    begins = [0, *(row for row, _ in marks)]
    for begin, (end, step) in zip(reversed(begins), reversed(ends)):
        yield begin, end, step


def _first_step(group):
    return group.steps[0] if group.steps_sorted else min(group.steps)


def _cut(steps, ordered, cut, xs, values):
    """Return ((xs, values) of the steps below `cut`, (xs, values) of the others)."""
    if ordered:
        index = bisect_left(steps, cut)
        return (xs[:index], values[:index]), (xs[index:], values[index:])
    below = [step < cut for step in steps]
    return _chosen(xs, values, below), _chosen(xs, values, [not is_below for is_below in below])


def _chosen(xs, values, mask):
    return (array(series.typecode, [value for value, keep in zip(series, mask) if keep])
            for series in (xs, values))


def _concatenated(pieces):
    pieces = [tuple(piece) for piece in pieces]
    if len(pieces) == 1 and (pieces[0][0].typecode == "q" or math.isfinite(sum(pieces[0][0]))):
        return pieces[0]
    kind = "q" if all(xs.typecode == "q" for xs, _ in pieces) else "d"
    xs, values = array(kind), array("d")
    for more_xs, more_values in pieces:
        xs.extend(more_xs if more_xs.typecode == kind else array(kind, more_xs))
        values.extend(more_values)
    if kind == "q" or math.isfinite(sum(xs)):
        return xs, values
    return tuple(_chosen(xs, values, list(map(math.isfinite, xs))))


def _axis(table, group, x):
    """Return x of each row of `group` (array); for a metric as x its value in the row, else its last one
    before, else NaN."""
    if not x.startswith("metric:"):
        return group.steps if x == "step" else group.ts
    name = x[len("metric:"):]
    owner = table.where.get(name)
    if owner is None:
        return array("d", [math.nan]) * len(group.rows)
    values = owner.columns[name].values
    if owner is group:
        return values
    rows, values = owner.rows[:], values[:]
    places = (bisect_right(rows, row) - 1 for row in group.rows)
    return array("d", [values[index] if index >= 0 else math.nan for index in places])


def _sorted(xs, values, shift):
    """Return the Curve of these points in the order of x; points of equal x keep theirs."""
    if not ascending(xs):
        xs, values = by_x(xs, values)
    column = Column()
    column.extend(values)
    return Curve(xs, column, shift)


def by_x(xs, values):
    """Return the points (two arrays, x finite) in the order of x; those of equal x keep theirs.

    Shared out among stretches of x before each of them is sorted: ten million at once would take a gigabyte
    of objects.
    """
    share = len(xs) // SORTED + 1
    cuts = sorted(xs[::max(1, len(xs) // (SAMPLED * share))])[SAMPLED::SAMPLED]
    stretches = [(array(xs.typecode), array("d")) for _ in range(len(cuts) + 1)]
    for start in range(0, len(xs), SORTED):
        some_xs, some_values = _ordered(xs[start:start + SORTED], values[start:start + SORTED])
        ends = [*(bisect_left(some_xs, cut) for cut in cuts), len(some_xs)]
        for begin, end, (stretch_xs, stretch_values) in zip([0, *ends], ends, stretches):
            stretch_xs.extend(some_xs[begin:end])
            stretch_values.extend(some_values[begin:end])
    all_xs, all_values = array(xs.typecode), array("d")
    stretches.reverse()
    while stretches:
        some_xs, some_values = stretches.pop()
        if len(some_xs) <= 4 * SORTED or not ascending(some_xs):        # a longer one is mostly of one x
            some_xs, some_values = _ordered(some_xs, some_values)       # of ordered pieces: soon done
        all_xs.extend(some_xs)
        all_values.extend(some_values)
    return all_xs, all_values


def _ordered(xs, values):
    """Return some points (two arrays) in the order of x; those of equal x keep theirs."""
    if len(xs) < 2:
        return xs, values
    numbers = xs.tolist()
    take = itemgetter(*sorted(range(len(xs)), key=numbers.__getitem__))
    return array(xs.typecode, take(numbers)), array("d", take(values.tolist()))
