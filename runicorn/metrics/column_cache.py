"""The column cache: one file for what was parsed of a growing file, believed only if everything in its head
agrees."""

from __future__ import annotations

import json
import os
import sys
from array import array
from threading import get_ident
from typing import TYPE_CHECKING

from runicorn import disk, layout
from runicorn.metrics.columns import Column, Group
from runicorn.metrics.stored import LONG, POSSIBLE, Store, Stored

if TYPE_CHECKING:
    from typing import Any

    from runicorn.metrics.columns import Table

HEAD_LIMIT = 64 << 20       # bytes of a cache file's first line: names, and what else is known of the file
MAGIC = b"runicorn columns 4\n"


def save(path: str, head: dict[str, Any], table: Table) -> None:
    """Write what is parsed to the cache file `path`; head: dict of what the caller wants back. Long columns
    lie there from then on. Raises OSError."""
    head = {**head, "order": sys.byteorder, "rows": table.rows, "first_ts": table.first_ts,
            "last_ts": table.last_ts, "top_step": table.top_step, "recent": list(table.recent),
            "purges": table.purges, "names": list(table.where),
            "groups": [_describe(group) for group in table.groups()]}
    arrays = [numbers for group in table.groups() for numbers in _arrays(group)]
    store, offset, places = _write(path, head, arrays)
    for numbers in arrays:
        places[id(numbers)] = offset
        offset += len(numbers) * numbers.itemsize
    for group in table.long_groups() if store else ():
        group.put(lambda numbers: Stored(array(numbers.typecode),
                                         [(store, places[id(numbers)], len(numbers))]))


def load(path, table, believe):
    """Fill the empty `table` from the cache file `path` and return its head (dict), or None where it tells
    nothing.

    believe: called with the head, whether it is of the file in question. Raises OSError, EOFError or
    ValueError for a damaged one.
    """
    with open(layout.open_regular(path), "rb") as cached:
        head = json.loads(cached.readline(HEAD_LIMIT)) if cached.read(len(MAGIC)) == MAGIC else None
        if not head or head["order"] != sys.byteorder or not believe(head):
            return None
        store = Store(cached) if POSSIBLE and any(shape["rows"] >= LONG for shape in head["groups"]) else None
        groups = [_read_group(cached, shape, store) for shape in head["groups"]]
    by_name = {name: group for group in groups for name in group.columns}
    table.restore({name: by_name[name] for name in head["names"]}, head)
    return head


def trim(folder: str, limit: int) -> None:
    """Delete the cache files in `folder` that were not used for longest until the rest holds at most `limit`
    bytes."""
    try:
        caches = [(entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in os.scandir(folder)]
    except OSError:
        return                                  # none yet, or not ours to read: then we keep none either
    used = sum(size for _, size, _ in caches)
    for _, size, path in sorted(caches):
        if used <= limit:
            return
        disk.discard(path, 0.0)         # another viewer trims, too, or reads it
        used -= size


def _arrays(group):
    columns = [numbers for column in group.columns.values()
               for numbers in (column.values, column.lows, column.highs, column.bad)]
    return [group.rows, group.ts, group.steps, *columns]


def _describe(group):
    return {"rows": len(group.rows), "steps": group.steps.typecode,
            "sorted": [group.ts_sorted, group.steps_sorted],
            "columns": [[name, len(column.lows), len(column.bad)] for name, column in group.columns.items()]}


def _read_group(file, shape, store):
    group = Group()
    rows = shape["rows"]
    whole = (file, store if rows >= LONG else None)
    group.ts_sorted, group.steps_sorted = shape["sorted"]
    group.rows, group.ts = _long_array(*whole, "I", rows), _long_array(*whole, "d", rows)
    group.steps = _long_array(*whole, shape["steps"], rows)
    for name, blocks, bad in shape["columns"]:
        column = group.columns[name] = Column()
        column.values = _long_array(*whole, "d", rows)
        column.lows, column.highs = _read_array(file, "d", blocks), _read_array(file, "d", blocks)
        column.bad = _read_array(file, "I", bad)
    return group


def _long_array(file, store, kind, count):
    """Return the next `count` items, which stay in the file if there is a Store of it. Raises EOFError."""
    if store is None:
        return _read_array(file, kind, count)
    offset, empty = file.tell(), array(kind)
    if file.seek(count * empty.itemsize, os.SEEK_CUR) > os.fstat(file.fileno()).st_size:
        raise EOFError("the cache file ends early")
    return Stored(empty, [(store, offset, count)])


def _read_array(file, kind, count):
    """Return the next `count` items (array). Raises EOFError. Straight into place: `fromfile` would copy each
    byte twice."""
    if count * array(kind).itemsize > os.fstat(file.fileno()).st_size:
        raise EOFError("the cache file's head is wrong")
    numbers = array(kind, [0]) * count
    if file.readinto(memoryview(numbers).cast("B")) < len(numbers) * numbers.itemsize:
        raise EOFError("the cache file ends early")
    return numbers


def _write(path, head, arrays):
    """Write a cache file beside `path` and rename it; streamed, because the arrays of a large run should not
    exist twice. Return (the Store of it, None where there can be none, where the first array begins, {})."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}-{get_ident()}{layout.BESIDE}"
    try:
        with open(beside, "w+b") as file:
            begin = file.write(MAGIC + json.dumps(head).encode() + b"\n")
            for numbers in arrays:
                numbers.tofile(file)
            file.flush()
            store = Store(file) if POSSIBLE else None
        disk.replace(beside, path)
        return store, begin, {}
    except OSError:
        disk.discard(beside, 0.0)
        raise
