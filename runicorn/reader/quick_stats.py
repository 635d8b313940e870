"""What a list shows of a run's events without keeping them: largest step, last time, median gap, a sparkline
and the best value. Looks at ends, searches for one name; `series` is for the whole truth."""

from __future__ import annotations

import json
import math
import os
import re
import statistics
from typing import TYPE_CHECKING, NamedTuple

from runicorn import local_disk
from runicorn.layout import moment, number, open_regular, parse_own, read_json
from runicorn.local_names import parse_rank_status
from runicorn.metrics.parse import Parser, event_row

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

END = 32 << 10              # bytes at the end of events that tell the last time and the usual gap
WHOLE = 4 << 20             # bytes; a larger file is looked at in places for its sparkline
PLACES, PLACE = 48, 32 << 10
SMALL = 256 << 10           # bytes; of a larger file few places and the end say whether its steps only grow
FEW, LITTLE = 16, 2 << 10
# Files that ranks left of how they ended, bytes of one, characters of what one says
RANKS, STATUS, MOST = 4096, 64 << 10, 2000
# What is told of a rank
VERDICT = ("status", "ended_at", "exit_code", "signal", "ended_by", "error", "reason")
STEP = re.compile(rb'"(?:step|global_step)":\s*(-?\d{1,18})(?!\d)')
# As `log` writes one, its numbers such as Python makes at once of their text
TIME = rb'(-?\d{1,15}(?:\.\d{1,20})?(?:[eE][-+]?\d\d?)?)'
ROW = re.compile(rb'\n\{"ts": ?' + TIME + rb', ?"step": ?(-?\d{1,18}), ?"data":')
# … and an image
OTHER = re.compile(rb'\n\{"ts": ?-?\d[-+.\deE]*, ?"step": ?-?\d+, ?"type": ?"(?!metrics")')
BLOCK = 1 << 20


class End(NamedTuple):
    """The end of a run's events: the last step (int) or None, its time (Unix s) or None, the median seconds
    between rows or None."""

    step: object = None
    ts: object = None
    gap: object = None


class Top(NamedTuple):
    """How far an events file was read for its largest step: bytes, lines (None where parts were passed over),
    the step or None."""

    position: int = 0
    lines: object = 0
    step: object = None


class Spark(NamedTuple):
    """A metric at a glance: `values` (floats, or None for NaN), the smallest and largest as (value, step),
    whether all points were seen."""

    values: list
    low: object
    high: object
    exact: bool


def own_sizes(folder: str | os.PathLike[str]) -> dict[str, int]:
    """Return {name: size in bytes} of the append-only files of the run in `folder`; empty if it can't be
    listed."""
    try:
        with os.scandir(folder) as items:
            return {item.name: item.stat(follow_symlinks=False).st_size
                    for item in items if item.name.startswith(("events", "logs", "system"))
                    and parse_own(item.name) and item.is_file(follow_symlinks=False)}
    except OSError as error:
        local_disk.pass_over(error)
        return {}           # removed, not fetched yet or not ours to read: nothing to show


def rank_statuses(folder: Path) -> dict[str, Any]:
    """Return {(attempt, rank): dict} of what the ranks other than 0 said of their ends in `folder`, of RANKS
    files at most."""
    try:
        names = sorted(filter(parse_rank_status, os.listdir(folder)))[:RANKS]
    except OSError as error:
        local_disk.pass_over(error)
        return {}           # as above
    statuses = ((parse_rank_status(name), read_json(os.path.join(folder, name), limit=STATUS))
                for name in names)
    return {rank: {field: _short(status[field]) for field in VERDICT if field in status}
            for rank, status in statuses if status is not None}


def _short(value):
    return (value[-MOST:] if isinstance(value, str) else value
            if isinstance(value, (int, float)) or value is None else None)


def events_of(sizes: dict[str, int]) -> list[str]:
    """Return the names of rank 0's events files in `sizes` (dict), first attempt first."""
    files = sorted((parse_own(name)[1], name)
                   for name in sizes if name.startswith("events") and parse_own(name)
                   and not parse_own(name)[2])
    return [name for _, name in files]


def end(folder: Path, sizes: dict[str, int], tops: dict[str, Top] | None = None) -> End:
    """Return the End of the run in `folder`, whose files have `sizes`. tops: {name: Top} of the last look,
    which is brought up to date; the step is the largest of the newest attempt that logged."""
    tops = {} if tops is None else tops
    for name in reversed(events_of(sizes)):
        if sizes[name]:
            path = os.path.join(folder, name)
            tail = _tail(path)
            rows = _times(tail)
            top = tops[name] = _top(path, sizes[name], tops.get(name, Top()), tail, rows)
            if rows or top.step is not None:
                # a whole row whose newline is not here yet
                last = rows[-1][1] if rows and not tail.endswith(b"\n") else None
                return _end(rows, max((step for step in (top.step, last) if step is not None), default=None))
    return End()


def gap(folder, sizes):
    """Return the median seconds between the last rows of the run in `folder` (float), or None."""
    for name in reversed(events_of(sizes)):
        rows = _times(_tail(os.path.join(folder, name))) if sizes[name] else []
        if rows:
            return _end(rows, None).gap
    return None


def first_step(folder: Path, name: str) -> int | None:
    """Return the step of the first row in the events file `name` (number), or None."""
    try:
        with open(open_regular(os.path.join(folder, name)), "rb") as file:
            rows = map(row_of, file.read(END).split(b"\n"))
    except OSError as error:
        local_disk.pass_over(error)
        return None             # gone since it was listed
    return next((row[1] for row in rows if row), None)


def _end(rows, step):
    times = [ts for ts, _ in rows if moment(ts) is not None]
    gaps = [b - a for a, b in zip(times, times[1:]) if b >= a]
    return End(step, times[-1] if times else None, statistics.median(gaps) if gaps else None)


def _times(tail):
    """Return [(ts, step)] of the rows in the end of a file (bytes; the first line may be half one)."""
    lines = tail.count(b"\n")
    rows = ROW.findall(b"\n" + tail)
    if tail.endswith(b"\n") and len(rows) + 1 >= lines:        # all but what may be half a line
        return [(float(ts), int(step)) for ts, step in rows]
    return [row[:2] for row in map(row_of, tail.split(b"\n")) if row]


def _top(path, size, top_before, tail, rows):
    """Return the Top of an events file, read from where `top_before` ended; of a large file that is new, in
    places. tail: its end (bytes),
    rows: what is in it."""
    if size < top_before.position:
        top_before = Top()               # another file has the name now
    if size - top_before.position > SMALL:
        steps, few = [step for _, step in rows if step is not None], _some_steps(path, size, FEW, LITTLE)
        if size - top_before.position > WHOLE or (steps and steps == sorted(steps)
                                                  and max(few, default=0) <= steps[-1]):
            more = _some_steps(path, size, PLACES, PLACE) if size - top_before.position > WHOLE else []
            return Top(size, None, max([*few, *more, *steps], default=None))
    if not top_before.position and len(tail) < END:
        return _stepped(top_before, tail[:tail.rfind(b"\n") + 1])         # that is the whole file
    try:
        with open(open_regular(path), "rb") as file:
            while top_before.position < size:
                file.seek(top_before.position)
                block = file.read(BLOCK)
                block = block[:block.rfind(b"\n") + 1]
                if not block:
                    break           # half a line, or a line longer than any row
                top_before = _stepped(top_before, block)
    except OSError as error:
        local_disk.pass_over(error)        # gone since it was listed
    return top_before


def _some_steps(path, size, places, length):
    return [int(step) for block in _spaced(path, size, places, length) for _, step in ROW.findall(block)]


def _stepped(top_before, block):
    """Return the Top after `block` (bytes: whole lines)."""
    lines, padded = block.count(b"\n"), b"\n" + block
    steps = [int(step) for _, step in ROW.findall(padded)]
    # Written otherwise, or a broken line
    if len(steps) < lines and len(steps) + len(OTHER.findall(padded)) < lines:
        parts = Parser(lines=top_before.lines or 0).parse(block) if block else ()
        steps = [step for rows in parts for step in rows.steps]
    top = max(steps, default=None)
    top = top if top_before.step is None or top is not None and top > top_before.step else top_before.step
    return Top(top_before.position + len(block),
               None if top_before.lines is None else top_before.lines + lines, top)


def _tail(path, size=END):
    try:
        with open(open_regular(path), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size)
    except OSError as error:
        local_disk.pass_over(error)
        return b""          # gone since it was listed


def row_of(line):
    """Return (ts, step, data) of a row of metrics, or None."""
    try:
        row = event_row(json.loads(line))
    except (ValueError, AttributeError, RecursionError):
        return None         # torn, empty, or of another type
    if row is None:
        return None
    ts, step, data = row
    return number(ts), step if isinstance(step, (int, float)) and not isinstance(step, bool) else None, data


def spark(folder: Path, sizes: dict[str, int], metric: str, n: int = 24) -> Spark | None:
    """Return the Spark of `metric` in the run in `folder`, at most `n` values, or None if it was not
    found."""
    points, exact, cut = [], True, math.inf
    pattern = re.compile(rb'"' + re.escape(json.dumps(metric, ensure_ascii=False)[1:-1].encode())
                         + rb'":\s*("?[-+.\w]+"?)')
    events = events_of(sizes)
    for name in reversed(events):
        blocks, complete = _blocks(os.path.join(folder, name), sizes[name])
        exact = exact and complete
        matches = [(block, match) for block in blocks for match in pattern.finditer(block)]
        values = _values([match[1] for _, match in matches])
        older = [(value, block, match.start()) for value, (block, match) in zip(values, matches)]
        if len(events) > 1:             # what a newer attempt logged again is superseded
            steps = [_step(point) or 0 for point in older]
            older = [point for point, step in zip(older, steps) if step < cut]
            cut = min([cut, *steps])
        points = older + points
    if not points:
        return None
    finite = [point for point in points if point[0] is not None and math.isfinite(point[0])]
    low, high = (choose(finite, key=lambda point: point[0]) if finite else None for choose in (min, max))
    shown = _thin([value if value is not None and math.isfinite(value) else None for value, _, _ in points],
                  n)
    return Spark(shown, low and (low[0], _step(low)), high and (high[0], _step(high)), exact)


def _blocks(path, size):
    if size > WHOLE:
        return _spaced(path, size, PLACES, PLACE), False
    try:
        with open(open_regular(path), "rb") as file:
            return [file.read(WHOLE)], True
    except OSError as error:
        local_disk.pass_over(error)
        return [], False    # gone since it was listed


def _spaced(path, size, places, length):
    """Return `places` blocks (bytes) of `length` at even distances."""
    try:
        with open(open_regular(path), "rb") as file:
            blocks = []
            for index in range(places):
                file.seek((size - length) * index // (places - 1))
                blocks.append(file.read(length))
            return blocks
    except OSError as error:
        local_disk.pass_over(error)
        return []           # gone since it was listed


def _values(texts):
    """Return the floats that texts (list of bytes: JSON) stand for, None for one that is no number."""
    try:
        values = json.loads(b"[" + b",".join(texts) + b"]")     # one by one takes ten times as long
    except ValueError:
        values = []
    return list(map(number, values)) if len(values) == len(texts) else list(map(_value, texts))


def _value(text):
    try:
        return number(json.loads(text))
    except ValueError:
        return None


def _step(point):
    """Return the step of the row that a point (value, block, place in it) was found in (int), or None."""
    _, block, position = point
    line = block[block.rfind(b"\n", 0, position) + 1:(block.find(b"\n", position) + 1 or len(block) + 1) - 1]
    match = STEP.search(line)
    return int(match[1]) if match else None


def _thin(values, n):
    """Return about `n` of the values at even distances, the last one included."""
    if len(values) <= n:
        return values
    return [values[round(index * (len(values) - 1) / (n - 1))] for index in range(n)]
