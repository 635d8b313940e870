"""What a list shows of a run's events without parsing them: last step and time, median gap, a sparkline and the best value.
Looks at ends, searches for one name; `series` is for the whole truth."""

import json
import math
import os
import re
import statistics
from typing import NamedTuple

from runicorn.layout import number, open_regular, parse_own, parse_rank_status, read_json

END = 32 << 10              # bytes at the end of events that tell the last step and the usual gap
WHOLE = 4 << 20             # bytes; a larger file is looked at in places for its sparkline
PLACES, PLACE = 48, 32 << 10
RANKS = 4096
STEP = re.compile(rb'"(?:step|global_step)":\s*(-?\d+)')


class End(NamedTuple):
    """The end of a run's events: the last step (int) or None, its time (Unix s) or None, the median seconds between rows or None."""

    step: object = None
    ts: object = None
    gap: object = None


class Spark(NamedTuple):
    """A metric at a glance: `values` (floats, or None for NaN), the smallest and largest as (value, step), whether all points were seen."""

    values: list
    low: object
    high: object
    exact: bool


def own_sizes(folder):
    """Return {name: size in bytes} of the append-only files of the run in `folder`; empty if it can't be listed."""
    try:
        with os.scandir(folder) as items:
            return {item.name: item.stat(follow_symlinks=False).st_size for item in items
                    if item.name.startswith(("events", "logs", "system")) and parse_own(item.name) and item.is_file(follow_symlinks=False)}
    except OSError:
        return {}           # removed, not fetched yet or not ours to read: nothing to show


def rank_statuses(folder):
    """Return {(attempt, rank): dict} of what the ranks other than 0 said of their ends in `folder`, of RANKS files at most."""
    try:
        names = sorted(filter(parse_rank_status, os.listdir(folder)))[:RANKS]
    except OSError:
        return {}           # as above
    found = ((parse_rank_status(name), read_json(os.path.join(folder, name), limit=1 << 20)) for name in names)
    return {place: status for place, status in found if status is not None}


def events_of(sizes):
    """Return the names of rank 0's events files in `sizes` (dict), first attempt first."""
    found = sorted((parse_own(name)[1], name) for name in sizes if name.startswith("events") and parse_own(name) and not parse_own(name)[2])
    return [name for _, name in found]


def end(folder, sizes):
    """Return the End of the run in `folder`, whose files have `sizes`."""
    for name in reversed(events_of(sizes)):
        if sizes[name]:
            rows = [row for row in map(_row, _tail(os.path.join(folder, name)).split(b"\n")) if row]
            if rows:
                return _end(rows)
    return End()


def first_step(folder, name):
    """Return the step of the first row in the events file `name` (number), or None."""
    try:
        with open(open_regular(os.path.join(folder, name)), "rb") as file:
            rows = map(_row, file.read(END).split(b"\n"))
    except OSError:
        return None             # gone since it was listed
    return next((row[1] for row in rows if row), None)


def _end(rows):
    times = [ts for ts, _ in rows if ts is not None]
    gaps = [b - a for a, b in zip(times, times[1:]) if b >= a]
    steps = [step for _, step in rows if step is not None]
    return End(steps[-1] if steps else None, times[-1] if times else None, statistics.median(gaps) if gaps else None)


def _tail(path):
    try:
        with open(open_regular(path), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - END))
            return file.read(END)
    except OSError:
        return b""          # gone since it was listed


def _row(line):
    """Return (ts, step) of a row of metrics, or None."""
    try:
        event = json.loads(line)
        data = event["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None         # torn, empty, or of another type
    if not isinstance(data, dict) or event.get("type", "metrics") != "metrics":
        return None
    ts, step = number(event.get("ts")), event.get("step", data.get("global_step"))
    return ts, step if isinstance(step, (int, float)) and not isinstance(step, bool) else None


def spark(folder, sizes, metric, n=24):
    """Return the Spark of `metric` in the run in `folder`, at most `n` values, or None if it was not found."""
    points, exact, cut = [], True, None
    pattern = re.compile(rb'"' + re.escape(json.dumps(metric, ensure_ascii=False)[1:-1].encode()) + rb'":\s*("?[-+.\w]+"?)')
    for name in reversed(events_of(sizes)):
        blocks, whole = _blocks(os.path.join(folder, name), sizes[name])
        exact = exact and whole
        older = [(_value(found[1]), block, found.start()) for block in blocks for found in pattern.finditer(block)]
        while cut is not None and older and (_step(older[-1]) or 0) >= cut:
            older.pop()                 # superseded: a newer attempt logged this step again
        cut = _step(older[0]) if older else cut
        points = older + points
    if not points:
        return None
    finite = [point for point in points if point[0] is not None and math.isfinite(point[0])]
    low, high = (choose(finite, key=lambda point: point[0]) if finite else None for choose in (min, max))
    shown = _thin([value if value is not None and math.isfinite(value) else None for value, _, _ in points], n)
    return Spark(shown, low and (low[0], _step(low)), high and (high[0], _step(high)), exact)


def _blocks(path, size):
    try:
        with open(open_regular(path), "rb") as file:
            if size <= WHOLE:
                return [file.read(WHOLE)], True
            blocks = []
            for index in range(PLACES):
                file.seek((size - PLACE) * index // (PLACES - 1))
                blocks.append(file.read(PLACE))
            return blocks, False
    except OSError:
        return [], False    # gone since it was listed


def _value(text):
    try:
        return number(json.loads(text))
    except ValueError:
        return None


def _step(point):
    """Return the step of the row that a point (value, block, place in it) was found in (int), or None."""
    _, block, at = point
    line = block[block.rfind(b"\n", 0, at) + 1:(block.find(b"\n", at) + 1 or len(block) + 1) - 1]
    found = STEP.search(line)
    return int(found[1]) if found else None


def _thin(values, n):
    """Return about `n` of the values at even distances, the last one included."""
    if len(values) <= n:
        return values
    return [values[round(index * (len(values) - 1) / (n - 1))] for index in range(n)]
