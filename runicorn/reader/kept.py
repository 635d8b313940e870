"""Keeps what the list knows between two starts, so that 10,000 runs are there at once: the manifest, and its
lines as records.

Both are caches: whatever does not fit is read anew.
"""

from __future__ import annotations

import itertools
import json
import marshal
import os
import struct
import sys
import time
from typing import TYPE_CHECKING
from zlib import crc32

from runicorn import disk, layout, manifest
from runicorn.errors import SettingsError
from runicorn.reader.file_marks import newest
from runicorn.reader.records import told

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from runicorn.manifest import Manifest
    from runicorn.reader.records import Record

MARK = f"runicorn rows 9 {sys.version}"     # marshal's format belongs to one Python
ROWS, SIZE = 1000, struct.Struct("<QI")     # packed at once; the bytes of a pack and their CRC-32
# s; a file that changed so lately may change again within its time's second
SETTLED = 2.5
UNKEPT = "what is known of the runs can't be kept for the next start: {}"


def save(path: Path, index: Manifest, records: dict[str, Record], with_manifest: bool) -> None:
    """Keep the records (dict: path -> Record) of the Manifest `index` beside `path`; with `with_manifest` the
    manifest too.

    Raises SettingsError if they can't be written.
    """
    def pieces():
        return _pieces((crc32(line), record.kept())
                       for record in records.values() if record.small is None and record.path in index
                       for line in [index.line(record.path)] if record.line == told(line))
    try:
        head = [MARK, *_sums(pieces())]
        if _read_head(f"{path}.rows") == head:
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if with_manifest:
            manifest.save(index, f"{path}.json")
        _write(f"{path}.rows", head, pieces())
    except (OSError, manifest.ManifestError) as error:
        raise SettingsError(UNKEPT.format(error)) from error


def load(path, index, again):
    """Return {path: Record} of what was kept for the Manifest `index`; again(kept, line) makes a Record.
    Empty if nothing fits or `path` is None."""
    records = {}
    for check, row in _rows(f"{path}.rows") if path is not None else ():
        line = index.line(row[0]) if row[0] in index else None
        if line is not None and crc32(line) == check:       # the index may be of another time than the rows
            records[row[0]] = again(row, told(line))
    return records


def save_small(path: Path, records: Any) -> None:
    """Keep the records (collection) with the marks of the small files that each was read from beside `path`,
    but for files so new that they may change under the same mark. Raises SettingsError if they can't be
    written."""
    since = (time.time() - SETTLED) * 1e9

    def pieces():
        return _pieces((record.small, record.kept()) for record in records if newest(record.small) < since)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(f"{path}.small", [MARK, *_sums(pieces())], pieces())
    except OSError as error:
        raise SettingsError(UNKEPT.format(error)) from error


def load_small(path, again):
    """Return {path: Record} of what `save_small` kept; again(kept, None, marks) makes a Record. Empty if
    `path` is None."""
    records = {}
    for marks, row in _rows(f"{path}.small") if path is not None else ():
        records[row[0]] = again(row, None, marks)
    return records


def _pieces(rows):
    """Yield rows packed, some at a time (bytes): all of 100,000 at once would be as much memory again."""
    while batch := list(itertools.islice(rows, ROWS)):
        data = marshal.dumps(batch)
        yield SIZE.pack(len(data), crc32(data)) + data


def _sums(pieces):
    """Return (bytes, CRC-32) of all pieces one after the other."""
    size = check = 0
    for piece in pieces:
        size, check = size + len(piece), crc32(piece, check)
    return size, check


def _read_head(path):
    try:
        with open(layout.open_regular(path), "rb") as file:
            return json.loads(file.readline(4096))
    except (OSError, ValueError):
        return None             # none yet


def _write(path, head, pieces):
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600),
                  "wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.writelines(pieces)
        disk.replace(beside, path)
    except OSError:
        disk.discard(beside, 0.0)
        raise


def _rows(path):
    """Yield the rows in a file that is of this make, up to where it is cut short or damaged."""
    try:
        with open(layout.open_regular(path), "rb") as file:
            head = json.loads(file.readline(4096))
            while head[0] == MARK and (sizes := file.read(SIZE.size)):
                size, check = SIZE.unpack(sizes)
                data = file.read(size) if size <= head[1] else b""
                if crc32(data) != check or len(data) != size:
                    return
                yield from marshal.loads(data)
    except (OSError, ValueError, EOFError, TypeError, KeyError, IndexError, struct.error):
        return                  # none yet: read anew
