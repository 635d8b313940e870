"""Columns of one events or system file: numbers in arrays, kept in a cache file between sessions. Draws nothing.

Metrics that are always logged together form a group and share its line numbers, times and steps, so a million rows
of four metrics take 52 MB. A metric that is once logged without the others gets a group of its own from there on.
"""

import json
import math
import os
import sys
from array import array
from collections import deque
from contextlib import suppress
from hashlib import sha256
from threading import get_ident

from runicorn import disk
from runicorn.layout import open_regular
from runicorn.metrics.parse import Parser, event_row
from runicorn.metrics.wide import LIMIT, Columns, WideRows, is_wide

BLOCK = 64                  # points whose minimum and maximum are kept together: a picture of a million points reads these
READ_BYTES = 1 << 20        # parsed at once: large enough for the templates, small enough to let other threads in between
LINE_LIMIT = 16 << 20       # a longer line is no event; it is skipped like a broken one
WRITTEN_NS = 10_000_000     # an mtime that is so close to the ctime is that of a write
CHECKED = 4096              # bytes before the parsed end whose hash must still be the same
RECENT = 64                 # last row times, for the median gap
SAVE_BYTES = 64 << 10       # parsed in about 2 ms; less is not worth a cache file
HEAD_LIMIT = 64 << 20       # of a cache file's first line: names, and the images of a run that logs many
MAGIC = b"runicorn columns 3\n"


COLUMN_BYTES = 182          # of a Column and its arrays, as the allocator rounds them, without their content
GROUP_BYTES = 640
# What a column of few values has of each; wide rows make a million of them.
EMPTY, NOWHERE = array("d"), array("I")


class Column:
    """The values of one metric in a group, with the minimum and maximum of each full block of finite ones."""

    __slots__ = ("values", "lows", "highs", "bad", "_smoothed")

    def __init__(self):
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

    def extend(self, values):
        """Append `values` (array('d'))."""
        start = len(self.values)
        if start:
            self.values.extend(values)
        else:
            self.values = values[:]
        if not math.isfinite(sum(values)):                  # an overflowing sum only costs the exact look
            bad = [start + place for place, value in enumerate(values) if not math.isfinite(value)]
            self.bad = self.bad + array("I", bad)
        if len(self.values) - len(self.lows) * BLOCK >= BLOCK:
            self._note_blocks()

    def _note_blocks(self):
        if self.lows is EMPTY:
            self.lows, self.highs = array("d"), array("d")
        for begin in range(len(self.lows) * BLOCK, len(self.values) - BLOCK + 1, BLOCK):
            block = self.values[begin:begin + BLOCK].tolist()
            if self.bad and self.bad[-1] >= begin:
                block = [value for value in block if math.isfinite(value)]
            self.lows.append(min(block, default=math.inf))
            self.highs.append(max(block, default=-math.inf))


class Group:
    """Metrics logged in the same rows: `rows` (line numbers), `ts` (Unix seconds), `steps`, and {name: Column}."""

    def __init__(self):
        self.rows, self.ts, self.steps = array("I"), array("d"), array("q")
        self.columns = {}
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

    def split(self, names):
        """Move the metrics `names` into a group of their own and return it; both keep all rows so far."""
        other = Group()
        other.rows, other.ts, other.steps = self.rows[:], self.ts[:], self.steps[:]
        other.ts_sorted, other.steps_sorted = self.ts_sorted, self.steps_sorted
        other.columns = {name: self.columns.pop(name) for name in names}
        return other


def ascending(values, before=()):
    """Whether `values` never go down and do not begin below the end of `before` (sequences of numbers, no NaN)."""
    return not values or (not before or before[-1] <= values[0]) and (len(values) == 1 or list(values) == sorted(values))


class Table:
    """Everything parsed from one file so far: `where` is {metric: Group} in the order first logged; of all rows their
    number, the first and last time, the largest step, and the last times."""

    def __init__(self):
        self._where = {}
        self._wide = WideRows()                             # not in `_where` yet
        self.rows = 0
        self.first_ts = self.last_ts = self.top_step = None
        self.recent = deque(maxlen=RECENT)

    @property
    def where(self):
        """Return {metric: Group}, of all rows so far."""
        self._sort_wide()
        return self._where

    def groups(self):
        """Return the distinct groups."""
        return list({id(group): group for group in self.where.values()}.values())

    def add(self, parts):
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
        self._where.update(dict.fromkeys([name for name in places if name not in self._where]))     # in the order first logged
        alike = {}                                          # (present group, places) -> metrics
        for name, mine in places.items():
            alike.setdefault((id(self._where[name]), *mine), []).append(name)
        for (_, *mine), names in alike.items():
            merge = _Merge([parts[place] for place in mine])
            self._group(names).extend(merge.rows, merge.ts, merge.steps, {name: merge.values(columns[name]) for name in names})

    def _sort_wide(self):
        """Append the wide rows, which were gathered one after the other, to the columns of their metrics."""
        if not self._wide:
            return
        wide, self._wide = self._wide, WideRows()
        names = wide.names
        owners = list(map(self._where.get, names))
        for metrics, rows, ts, steps, cells in wide.by_group(owners[:]):
            mine, group = [names[metric] for metric in metrics], owners[metrics[0]]
            if group is None:
                group = Group()
                group.columns = Columns(_column, mine, cells)
                group.extend(rows, ts, steps, {})
            else:
                group, height = self._group(mine), len(rows)
                group.extend(rows, ts, steps, {name: cells[place * height:(place + 1) * height] for place, name in enumerate(mine)})
            for metric in metrics:
                owners[metric] = group
        self._where.update(zip(names, owners))

    def _group(self, names):
        """Return the group of exactly `names`, which share one or are all new."""
        group = self._where.get(names[0])
        if group is not None and len(group.columns) == len(names):
            return group
        if group is None:
            group = Group()
            group.columns = {name: Column() for name in names}
        else:
            group = group.split(names)
        self._where.update(dict.fromkeys(names, group))
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

    def nbytes(self):
        """Return the bytes it holds in memory: of its arrays, and of what each metric costs beside its values."""
        groups = {id(group): group for group in self._where.values()}.values()
        size = sys.getsizeof(self._where) + self._wide.nbytes()
        for group in groups:
            size += GROUP_BYTES + sum(len(held) * held.itemsize for held in (group.rows, group.ts, group.steps))
            size += sys.getsizeof(group.columns) + sum(map(sys.getsizeof, group.columns))
            lazy = type(group.columns) is Columns
            size += sum([COLUMN_BYTES + 8 * (len(column.values) + 2 * len(column.lows)) + 4 * len(column.bad)
                         for column in (group.columns.made() if lazy else group.columns.values())])
            size += group.columns.nbytes() if lazy else 0
        return size


def _column(values):
    column = Column()
    column.extend(values)
    return column


def _presence(parts):
    """Return ({metric: places of the parts that name it}, {metric: its values there, a list of arrays if the parts are several}).

    Wide rows name a million metrics: what names few of the others costs no object each.
    """
    places, columns = {}, {}
    for place, part in enumerate(parts):
        if places.keys().isdisjoint(part.names):
            places.update(dict.fromkeys(part.names, (place,)))
            columns.update(zip(part.names, part.columns))
            continue
        for name, values in zip(part.names, part.columns):
            if name not in places:
                places[name], columns[name] = (place,), values
            elif type(columns[name]) is list:
                places[name].append(place)
                columns[name].append(values)
            else:
                places[name], columns[name] = [*places[name], place], [columns[name], values]
    return places, columns


class _Merge:
    """The rows of several parts in their order: `rows`, `ts`, `steps`, and the values of a metric that all of them name."""

    def __init__(self, parts):
        self._order = None              # of the rows one part after the other, where that is another
        if len(parts) == 1:
            self.rows, self.ts, self.steps = parts[0].rows, parts[0].ts, parts[0].steps
            return
        self.rows = [row for part in parts for row in part.rows]
        self.ts, self.steps = [ts for part in parts for ts in part.ts], [step for part in parts for step in part.steps]
        if not ascending(self.rows):
            self._order = sorted(range(len(self.rows)), key=self.rows.__getitem__)
            self.rows, self.ts, self.steps = ([values[place] for place in self._order] for values in (self.rows, self.ts, self.steps))

    def values(self, columns):
        """Return the values (array) of a metric that has `columns` in the parts, as `_presence` has them."""
        if type(columns) is not list:
            return columns
        values = [value for column in columns for value in column]
        return array("d", [values[place] for place in self._order] if self._order else values)


class File:
    """One growing file of events or samples. `table` holds what is parsed, `behind` how many bytes could be parsed now."""

    def __init__(self, path, cache=None, row=event_row):
        """path: str; cache: folder for the column cache (str) or None; row: parse.event_row or sample_row."""
        self.path, self.row, self._folder = path, row, cache
        self._begin()

    def _begin(self, identity=None):
        self.table, self.parser = Table(), Parser(self.row)
        self.position = self.behind = self._saved = self._torn = 0
        self._identity, self._mtime, self._size, self._guard = identity, None, None, b""

    @property
    def skipped(self):
        """Lines that were no JSON object (int)."""
        return self.parser.skipped

    def look(self):
        """Return whether there is something to parse, after one stat; forgets all if the file was replaced or has shrunk.

        Raises OSError if the file can't be looked at.
        """
        found = os.stat(self.path)
        identity = (found.st_dev, found.st_ino)
        if self._identity is None:
            self._identity = identity
            self._load(found)
        elif identity != self._identity or found.st_size < self.position or self._is_rewritten(found):
            self._begin(identity)
        self._mtime, self._size = found.st_mtime_ns, found.st_size
        self.behind = found.st_size - self.position if found.st_size != self._torn else 0
        return self.behind > 0

    def _is_rewritten(self, found):
        """Whether other bytes were written in place though the size is the same. A time set after the writing, as the mirror and
        `touch` set it, is no sign of it. Raises OSError."""
        if found.st_mtime_ns == self._mtime or found.st_size != self._size:
            return False
        if abs(found.st_mtime_ns - found.st_ctime_ns) < WRITTEN_NS:
            return True
        with open(open_regular(self.path), "rb") as file:
            return not self._holds_guard(file)

    def _holds_guard(self, file):
        file.seek(self.position - len(self._guard))
        return file.read(len(self._guard)) == self._guard

    def step(self):
        """Parse at most the next READ_BYTES; return whether more is left. Raises OSError."""
        with open(open_regular(self.path), "rb") as file:
            if not self._holds_guard(file):                 # other content under the same inode: begin again
                self._begin(self._identity)
                return True
            block = file.read(READ_BYTES)
            end = block.rfind(b"\n") + 1
            while not end and len(block) >= READ_BYTES and len(block) < LINE_LIMIT and (more := file.read(READ_BYTES)):
                end = more.rfind(b"\n") + 1
                end = end and len(block) + end
                block += more
        if not end and not self._whole(block):
            self.behind, self._torn = 0, self.position + len(block)     # half a line: nothing to do until the file grows
            return False
        self._take(block[:end] if end else block)
        return self.behind > 0

    def _whole(self, block):
        """Whether a last line without its newline may be taken: it is complete JSON, or too long to be waited for."""
        if len(block) >= LINE_LIMIT:
            return True
        try:
            return block.endswith(b"}") and type(json.loads(block.decode("utf-8"))) is dict
        except (ValueError, RecursionError):
            return False

    def _take(self, block):
        self.position += len(block)
        self.behind = max(0, self.behind - len(block))
        self._guard = (self._guard + block)[-CHECKED:]
        self.table.add(self.parser.parse(block if block.endswith(b"\n") else block + b"\n"))

    # -- the column cache: one file, believed only if everything in its head agrees --------------------------------

    def _cache(self):
        """Return where the parse is kept (str): found by device and inode, which a renamed file or folder keeps, else by the path."""
        name = f"{self._identity}" if self._identity[1] else os.path.abspath(self.path)
        return os.path.join(self._folder, sha256(os.fsencode(name)).hexdigest()[:32])

    def save(self):
        """Keep the parse in the cache if it grew enough to be worth it. Never raises: a cache is only a convenience."""
        grown = self.position - self._saved
        if not self._folder or grown < max(SAVE_BYTES, self._saved // 4):
            return
        try:
            _write(self._cache(), self._head(), [held for group in self.table.groups() for held in _arrays(group)])
            self._saved = self.position
        except OSError:
            self._saved = self.position     # a full disk: parse again next time, and don't try at every append

    def _head(self):
        table = self.table
        return {"identity": list(self._identity), "mtime": self._mtime, "length": self.position, "order": sys.byteorder,
                "check": sha256(self._guard).hexdigest(), "lines": self.parser.lines, "skipped": self.skipped, "rows": table.rows,
                "first_ts": table.first_ts, "last_ts": table.last_ts, "top_step": table.top_step, "recent": list(table.recent),
                "names": list(table.where), "groups": [_describe(group) for group in table.groups()]}

    def _load(self, found):
        """Take the parse over from the cache if it is one of the first bytes of just this file."""
        try:
            with open(self._cache() if self._folder else os.devnull, "rb") as cached:
                head = json.loads(cached.readline(HEAD_LIMIT)) if cached.read(len(MAGIC)) == MAGIC else {}
                guard = self._proof(head, found)
                if guard is None:
                    return
                groups = [_read_group(cached, shape) for shape in head["groups"]]
        except (OSError, EOFError, ValueError):
            return                          # absent or damaged: parse
        table = self.table
        where = {name: group for group in groups for name in group.columns}
        table.where.update((name, where[name]) for name in head["names"])
        table.rows, table.first_ts, table.last_ts, table.top_step = (head[key] for key in ("rows", "first_ts", "last_ts", "top_step"))
        table.recent.extend(head["recent"])
        self.parser = Parser(self.row, head["lines"], head["skipped"])
        self.position = self._saved = head["length"]
        self._guard = guard
        with suppress(OSError):             # a cache we may only read serves as well
            os.utime(self._cache())         # `trim` drops what was not used for longest

    def _proof(self, head, found):
        """Return the bytes of the file that end where the cached parse did, or None if the cache is of another file or content."""
        if head.get("identity") != [found.st_dev, found.st_ino]:
            return None
        if head["order"] != sys.byteorder or head["length"] > found.st_size:
            return None
        if head["length"] == found.st_size and head.get("mtime") != found.st_mtime_ns:
            return None                     # rewritten to the same size, in place or under an inode that came back
        with open(open_regular(self.path), "rb") as file:
            file.seek(max(0, head["length"] - CHECKED))
            guard = file.read(min(CHECKED, head["length"]))
        return guard if sha256(guard).hexdigest() == head["check"] else None


def trim(folder, limit):
    """Delete the cache files in `folder` that were not used for longest until the rest holds at most `limit` bytes."""
    try:
        found = [(entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in os.scandir(folder)]
    except OSError:
        return                                  # none yet, or not ours to read: then we keep none either
    used = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if used <= limit:
            return
        disk.discard(path, 0.0)         # another viewer trims, too, or reads it
        used -= size


def _arrays(group):
    columns = [held for column in group.columns.values() for held in (column.values, column.lows, column.highs, column.bad)]
    return [group.rows, group.ts, group.steps, *columns]


def _describe(group):
    return {"rows": len(group.rows), "steps": group.steps.typecode, "sorted": [group.ts_sorted, group.steps_sorted],
            "columns": [[name, len(column.lows), len(column.bad)] for name, column in group.columns.items()]}


def _read_group(file, shape):
    group, rows = Group(), shape["rows"]
    group.ts_sorted, group.steps_sorted = shape["sorted"]
    group.rows, group.ts = _read_array(file, "I", rows), _read_array(file, "d", rows)
    group.steps = _read_array(file, shape["steps"], rows)
    for name, blocks, bad in shape["columns"]:
        column = group.columns[name] = Column()
        column.values = _read_array(file, "d", rows)
        column.lows, column.highs = _read_array(file, "d", blocks), _read_array(file, "d", blocks)
        column.bad = _read_array(file, "I", bad)
    return group


def _read_array(file, kind, count):
    """Return the next `count` items (array). Raises EOFError. Straight into place: `fromfile` would copy each byte twice."""
    if count * array(kind).itemsize > os.fstat(file.fileno()).st_size:
        raise EOFError("the cache file's head is wrong")
    held = array(kind, [0]) * count
    if file.readinto(memoryview(held).cast("B")) < len(held) * held.itemsize:
        raise EOFError("the cache file ends early")
    return held


def _write(path, head, arrays):
    """Write a cache file beside `path` and rename it; streamed, because the arrays of a large run should not exist twice."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}-{get_ident()}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(MAGIC + json.dumps(head).encode() + b"\n")
            for held in arrays:
                held.tofile(file)
        disk.replace(beside, path)
    except OSError:
        disk.discard(beside, 0.0)
        raise
