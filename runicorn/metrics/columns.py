"""Columns of one growing file of metrics or samples: its numbers in arrays. Opens no file, draws nothing.

Metrics that are always logged together form a group and share its line numbers, times and steps, so a million
rows of four metrics take 52 MB. A metric that is once logged without the others gets a group of its own from
there on.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import deque
from typing import TYPE_CHECKING

from runicorn.metrics.stored import LONG, Stored, held
from runicorn.metrics.wide import LIMIT, Columns, WideRows, is_wide

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

STRETCH = 1 << 15           # numbers that are looked at at once
# Points whose minimum and maximum are kept together: a picture of a million points reads these
BLOCK = 64
RECENT = 64                 # last row times, for the median gap
COLUMN_BYTES = 182          # of a Column and its arrays, as the allocator rounds them, without their content
GROUP_BYTES = 640
# What a column of few values has of each; wide rows make a million of them.
EMPTY, NOWHERE = array("d"), array("I")


class Column:
    """The values of one metric in a group, with the minimum and maximum of each full block of finite ones."""

    __slots__ = ("values", "lows", "highs", "bad", "_smoothed")

    def __init__(self) -> None:
        self.values = array("d")
        self.lows = self.highs = EMPTY                      # inf and -inf for a block without a finite value
        self.bad = NOWHERE                                  # places of NaN and infinities
        self._smoothed = None

    @property
    def smoothed(self):
        """Return {weight: state of the smoothing at each block's end}, to be filled by the caller."""
        if self._smoothed is None:
            self._smoothed = {}
        return self._smoothed

    def extend(self, values: Any) -> None:
        """Append `values` (array('d'))."""
        start = len(self.values)
        if start:
            self.values.extend(values)
        else:
            self.values = values[:]
        if not math.isfinite(sum(values)):                  # an overflowing sum only costs the exact look
            bad = [start + index for index, value in enumerate(values) if not math.isfinite(value)]
            self.bad = self.bad + array("I", bad)
        if len(self.values) - len(self.lows) * BLOCK >= BLOCK:
            self._note_blocks()

    def put(self, place):
        """Put the values where place(numbers), an array or stored.Stored, returns them from then on."""
        self.values = place(self.values)

    def _note_blocks(self):
        if self.lows is EMPTY:
            self.lows, self.highs = array("d"), array("d")
        first = len(self.lows) * BLOCK
        fresh = self.values[first:].tolist()
        for begin in range(0, len(fresh) - BLOCK + 1, BLOCK):
            block = fresh[begin:begin + BLOCK]
            if self.bad and self.bad[-1] >= first + begin:
                block = [value for value in block if math.isfinite(value)]
            self.lows.append(min(block, default=math.inf))
            self.highs.append(max(block, default=-math.inf))


class Group:
    """Metrics logged in the same rows: `rows` (line numbers), `ts` (Unix seconds), `steps`, and {name:
    Column}."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.rows, self.ts, self.steps = array("I"), array("d"), array("q")
        self.columns = {name: Column() for name in names}
        self.ts_sorted = self.steps_sorted = True

    def extend(self, rows, ts, steps, columns):
        """Append rows; `columns` is {name: array('d')} for every metric of the group."""
        self.ts_sorted = self.ts_sorted and ascending(ts, self.ts)
        self.steps_sorted = self.steps_sorted and ascending(steps, self.steps)
        self.rows.extend(rows)
        self.ts.extend(ts)
        try:
            self.steps.extend(array(self.steps.typecode, steps))
        except (TypeError, OverflowError):                  # steps that are no 64-bit integers
            self.steps = array("d", self.steps)
            self.steps.extend(array("d", map(float, steps)))
        for name, values in columns.items():
            self.columns[name].extend(values)

    def is_long(self) -> bool:
        """Whether its columns are worth a file."""
        return len(self.rows) >= LONG

    def put(self, place):
        """Put all columns where place(numbers), an array or stored.Stored, returns them from then on. Raises
        what that raises; all are whole then, too."""
        self.rows = place(self.rows)
        self.ts = place(self.ts)
        self.steps = place(self.steps)
        for column in self.columns.values():
            column.put(place)

    def split(self, names: list[str]) -> Group:
        """Move the metrics `names` into a group of their own and return it; both keep all rows so far."""
        apart = Group()
        apart.rows, apart.ts, apart.steps = self.rows[:], self.ts[:], self.steps[:]
        apart.ts_sorted, apart.steps_sorted = self.ts_sorted, self.steps_sorted
        apart.columns = {name: self.columns.pop(name) for name in names}
        return apart


def ascending(values, before=()):
    """Whether `values` never go down and do not begin below the end of `before` (sequences of numbers, no
    NaN)."""
    if not values or before and not before[-1] <= values[0]:
        return not values
    for start in range(0, len(values) - 1, STRETCH):            # each with the first of the next
        stretch = list(values[start:start + STRETCH + 1])
        if stretch != sorted(stretch):
            return False
    return True


class Table:
    """Everything parsed from one file so far: `where` is {metric: Group} in the order first logged; of all
    rows their number, the first and last time, the largest step, and the last times. `purges`: [[row, step,
    [metric, …] or None], …]: the values of these metrics (None: of all) in rows before `row`, in this file
    and older ones, are superseded from `step` on; None: an older attempt's are from the first step that a
    newer one logged of the metric. `kind`: of the file."""

    def __init__(self, kind: str = "events") -> None:
        self.kind = kind
        self._groups = {}
        self._wide = WideRows()                             # not in `_where` yet
        self.rows = 0
        self.first_ts = self.last_ts = self.top_step = None
        self.recent = deque(maxlen=RECENT)
        self.purges = None

    def restore(self, by_name: dict[str, Group], head: dict[str, Any]) -> None:
        """Take what was parsed before into an empty Table: {metric: Group}, and the dict with the other
        fields."""
        self._groups.update(by_name)
        self.rows, self.first_ts, self.last_ts, self.top_step = (head[field]
                                                                 for field in ("rows", "first_ts", "last_ts",
                                                                               "top_step"))
        self.recent.extend(head["recent"])
        self.purges = head["purges"]

    @property
    def where(self) -> dict[str, Group]:
        """Return {metric: Group}, of all rows so far."""
        self._sort_wide()
        return self._groups

    def groups(self) -> list[Group]:
        """Return the distinct groups."""
        return list({id(group): group for group in self.where.values()}.values())

    def purge(self, purges):
        """Take over which values a later start took back; see the class."""
        self.purges = purges

    def add(self, parts: list[Any]) -> None:
        """Append the rows of `parts` (list of parse.Part, all of later lines than before)."""
        parts = sorted(parts, key=lambda part: part.rows[0])
        self._note(parts)
        if is_wide(parts):
            for part in parts:
                self._wide.add(part)
            if len(self._wide) >= LIMIT:
                self._sort_wide()
            return
        self._sort_wide()
        places, columns = _presence(parts)
        # In the order first logged
        self._groups.update(dict.fromkeys([name for name in places if name not in self._groups]))
        alike = {}                                          # (present group, places) -> metrics
        for name, mine in places.items():
            alike.setdefault((id(self._groups[name]), *mine), []).append(name)
        for (_, *mine), names in alike.items():
            merge = _Merge([parts[index] for index in mine])
            self._group(names).extend(merge.rows, merge.ts, merge.steps,
                                      {name: merge.values(columns[name]) for name in names})

    def _sort_wide(self):
        """Append the wide rows, which were gathered one after the other, to the columns of their metrics."""
        if not self._wide:
            return
        wide, self._wide = self._wide, WideRows()
        names = wide.names
        owners = list(map(self._groups.get, names))
        for metrics, rows, ts, steps, cells in wide.by_group(owners[:]):
            mine, group = [names[metric] for metric in metrics], owners[metrics[0]]
            if group is None:
                group = Group()
                group.columns = Columns(_column, mine, cells)
                group.extend(rows, ts, steps, {})
            else:
                group, height = self._group(mine), len(rows)
                group.extend(rows, ts, steps, {name: cells[index * height:(index + 1) * height]
                                               for index, name in enumerate(mine)})
            for metric in metrics:
                owners[metric] = group
        self._groups.update(zip(names, owners))

    def _group(self, names):
        """Return the group of exactly `names`, which share one or are all new."""
        group = self._groups.get(names[0])
        if group is not None and len(group.columns) == len(names):
            return group
        if group is None:
            group = Group(names)
        else:
            group = group.split(names)
        self._groups.update(dict.fromkeys(names, group))
        return group

    def _note(self, parts):
        if not parts:
            return
        self.rows += sum(len(part.rows) for part in parts)
        tail = sorted((row, ts) for part in parts for row, ts in zip(part.rows[-RECENT:], part.ts[-RECENT:]))
        self.recent.extend(ts for _, ts in tail)
        self.last_ts = tail[-1][1]
        tops = [max(part.steps) for part in parts]
        self.top_step = max(tops if self.top_step is None else [self.top_step, *tops])
        if self.first_ts is None:
            self.first_ts = min((part.rows[0], part.ts[0]) for part in parts)[1]

    def long_groups(self) -> list[Group]:
        """Return the groups whose columns are worth a file."""
        groups = {id(group): group for group in self._groups.values()} if self.rows >= LONG else {}
        return [group for group in groups.values() if group.is_long()]

    @property
    def lost(self) -> bool:
        """Whether a column that lies in a file could not be read."""
        groups = self.long_groups()
        columns = [column.values for group in groups for column in group.columns.values()]
        places = [numbers for group in groups for numbers in (group.rows, group.ts, group.steps)]
        return any(isinstance(numbers, Stored) and numbers.lost for numbers in places + columns)

    def nbytes(self) -> int:
        """Return the bytes it holds in memory: of its arrays, and of what each metric costs beside its
        values."""
        groups = {id(group): group for group in self._groups.values()}.values()
        size = sys.getsizeof(self._groups) + self._wide.nbytes()
        for group in groups:
            size += GROUP_BYTES + sum(map(held, (group.rows, group.ts, group.steps)))
            size += sys.getsizeof(group.columns) + sum(map(sys.getsizeof, group.columns))
            lazy = type(group.columns) is Columns
            size += sum([COLUMN_BYTES + held(column.values) + 16 * len(column.lows) + 4 * len(column.bad)
                         for column in (group.columns.made() if lazy else group.columns.values())])
            size += group.columns.nbytes() if lazy else 0
        return size


def _column(values):
    column = Column()
    column.extend(values)
    return column


def _presence(parts):
    """Return ({metric: places of the parts that name it}, {metric: its values there, a list of arrays if the
    parts are several}).

    Wide rows name a million metrics: what names few of the others costs no object each.
    """
    places, columns = {}, {}
    for index, part in enumerate(parts):
        if places.keys().isdisjoint(part.names):
            places.update(dict.fromkeys(part.names, (index,)))
            columns.update(zip(part.names, part.columns))
            continue
        for name, values in zip(part.names, part.columns):
            if name not in places:
                places[name], columns[name] = (index,), values
            elif type(columns[name]) is list:
                places[name].append(index)
                columns[name].append(values)
            else:
                places[name], columns[name] = [*places[name], index], [columns[name], values]
    return places, columns


class _Merge:
    """The rows of several parts in their order: `rows`, `ts`, `steps`, and the values of a metric that all of
    them name."""

    def __init__(self, parts):
        self._order = None              # of the rows one part after the other, where that is another
        if len(parts) == 1:
            self.rows, self.ts, self.steps = parts[0].rows, parts[0].ts, parts[0].steps
            return
        self.rows = [row for part in parts for row in part.rows]
        self.ts, self.steps = ([ts for part in parts for ts in part.ts],
                               [step for part in parts for step in part.steps])
        if not ascending(self.rows):
            self._order = sorted(range(len(self.rows)), key=self.rows.__getitem__)
            self.rows, self.ts, self.steps = ([values[index] for index in self._order]
                                              for values in (self.rows, self.ts, self.steps))

    def values(self, columns):
        """Return the values (array) of a metric that has `columns` in the parts, as `_presence` has them."""
        if type(columns) is not list:
            return columns
        values = [value for column in columns for value in column]
        return array("d", [values[index] for index in self._order] if self._order else values)
