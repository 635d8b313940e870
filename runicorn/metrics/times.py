"""When was a step, and which step was it then? What the rows of one run tell of time. Reads no file."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from runicorn.errors import UsageError
from runicorn.metrics import curves
from runicorn.metrics.run_tables import median

if TYPE_CHECKING:
    from runicorn.metrics.series import Series


class Times:
    """The times and steps of one run. Any thread may call any method."""

    def __init__(self, run: Series) -> None:
        """run: run_tables.RunTables."""
        self._run = run

    def step_at(self, ts, rank=0):
        """Return the step of the last row at or before the second `ts` (Unix seconds) ends, or None before
        the first."""
        with self._run.lock:
            groups = [group for _, table in self._run.tables_of(rank)[0] for group in table.groups()]
            places = [(group, bisect_right(group.ts, math.floor(ts) + 0.9995) - 1) for group in groups]
            return max([(group.ts[index], group.steps[index]) for group, index in places if index >= 0],
                       default=(None, None))[1]

    def steps_at(self, times, rank=0):
        """Return the steps (list of int or None) at which consecutive lines of a log were written.

        times: their Unix seconds, which a stamp tells to the second only, or None. The lines of a second are
        spread over the rows of that second, in their order: with a hundred steps a second the first line does
        not stand at the last of them.
        """
        steps = []
        for second, lines in itertools.groupby(times, lambda ts: None if ts is None else math.floor(ts)):
            count = sum(1 for _ in lines)
            rows = [] if second is None else self._rows_within(second, rank)
            step = None if second is None or rows else self.step_at(second, rank)
            steps += [rows[-(-(index + 1) * len(rows) // count) - 1][1] if rows else step
                      for index in range(count)]
        return steps

    def _rows_within(self, second, rank):
        """Return [(ts, step)] of the rows of one second, in their order."""
        with self._run.lock:
            groups = [group for _, table in self._run.tables_of(rank)[0] for group in table.groups()]
            return sorted((group.ts[index], group.steps[index]) for group in groups
                          for index in range(bisect_left(group.ts, second - 0.0005),
                                             bisect_right(group.ts, second + 0.9995)))

    def rank_of(self, rank: int) -> int:
        """Return the rank whose rows tell of the log of `rank` (int): that one, where it logged metrics, else
        the lowest that did."""
        return rank if rank in self._run.ranks else self._run.first_rank

    def time_of(self, step, rank=0, attempt=None):
        """Return the time (Unix seconds) at which `step`, or the first one after it, was logged (by the
        newest attempt that did, or by the one given), or None if no step reached it."""
        with self._run.lock:
            for number, table in reversed(self._run.tables_of(rank)[0]):
                if attempt not in (None, number):
                    continue
                places = [(group, bisect_left(group.steps, step)) for group in table.groups()]
                times = [group.ts[index] for group, index in places if index < len(group.steps)]
                if times:
                    return min(times)
        return None

    def moment(self, metric, x, position, rank=0):
        """Return {"step", "ts", "epoch"} of the metric's newest point that stands at `position` on the axis
        `x`, or None without one.

        x: "step", "relative" or "wall", position: as a picture tells it; ts: Unix seconds; epoch: the last
        value, at or before that row, of the metric whose last name part is "epoch", or None. Raises
        UsageError for another x.
        """
        if x not in ("step", "relative", "wall"):
            raise UsageError(f"x can't be {x!r}; a moment is found by step, relative or wall")
        with self._run.lock:
            tables = [table for _, table in self._run.all_of(rank)[0] if table.rows]
            position += min(table.first_ts for table in tables) if x == "relative" and tables else 0.0
            for table in reversed(tables):
                group = table.where.get(metric)
                index = None if group is None else curves.place_of(group, x, position)
                if index is not None:
                    return {"step": group.steps[index], "ts": group.ts[index],
                            "epoch": curves.epoch_at(table, group.rows[index])}
        return None

    def speed(self, seconds=600):
        """Return the median speed of the last `seconds` of logging (steps a second), or None if it can't be
        told."""
        with self._run.lock:
            tables = self._run.logged(self._run.first_rank)
            groups = tables[-1].groups() if tables else []
            recent = [group for group in groups if group.ts[-1] >= tables[-1].last_ts - seconds]
            if not recent:
                return None
            group = max(recent, key=lambda group: len(group.ts))        # the one logged most often
            start = bisect_left(group.ts, group.ts[-1] - seconds)
            places = range(start, len(group.ts), max(1, (len(group.ts) - start) // 50))
            points = [(group.ts[index], group.steps[index]) for index in places]
        speeds = [(b[1] - a[1]) / (b[0] - a[0])
                  for a, b in zip(points, points[1:]) if b[0] > a[0] and b[1] > a[1]]
        return median(speeds) if speeds else None
