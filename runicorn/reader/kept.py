"""Keeps what the list knows between two starts, so that 10,000 runs are there at once: the manifest, and its lines as records.

Both are caches: whatever does not fit is read anew.
"""

import json
import marshal
import os
import sys
import time
from zlib import crc32

from runicorn import layout, manifest
from runicorn.errors import SettingsError

MARK = f"runicorn rows 8 {sys.version}"     # marshal's format belongs to one Python
SETTLED = 2.5                               # s; a file that changed so lately may change again within its time's second
UNKEPT = "what is known of the runs can't be kept for the next start: {}"


def save(path, index, records, with_manifest):
    """Keep the records (dict: path -> Record) of the Manifest `index` beside `path`; with `with_manifest` the manifest too.

    Raises SettingsError if they can't be written.
    """
    rows = [(crc32(record.line), record.kept()) for record in records.values()
            if record.small is None and record.path in index and record.line == index.line(record.path)]
    data = marshal.dumps(rows)
    head = _head(data)
    if _read_head(f"{path}.rows") == head:
        return
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if with_manifest:
            manifest.save(index, f"{path}.json")
        _write(f"{path}.rows", head, data)
    except (OSError, manifest.ManifestError) as error:
        raise SettingsError(UNKEPT.format(error)) from error


def load(path, index, again):
    """Return {path: Record} of what was kept for the Manifest `index`; again(kept, line) makes a Record. Empty if nothing fits
    or `path` is None."""
    records = {}
    for check, row in _rows(f"{path}.rows") if path is not None else ():
        line = index.line(row[0]) if row[0] in index else None
        if line is not None and crc32(line) == check:       # the index may be of another time than the rows
            records[row[0]] = again(row, line)
    return records


def save_small(path, records):
    """Keep the records (iterable) with the marks of the small files that each was read from beside `path`, but for files so new that
    they may change under the same mark. Raises SettingsError if they can't be written."""
    newest = (time.time() - SETTLED) * 1e9
    rows = [(record.small, record.kept()) for record in records if all(mark is None or mark[0] < newest for mark in record.small)]
    data = marshal.dumps(rows)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(f"{path}.small", _head(data), data)
    except OSError as error:
        raise SettingsError(UNKEPT.format(error)) from error


def load_small(path, again):
    """Return {path: Record} of what `save_small` kept; again(kept, None, marks) makes a Record. Empty if `path` is None."""
    records = {}
    for marks, row in _rows(f"{path}.small") if path is not None else ():
        records[row[0]] = again(row, None, marks)
    return records


def _head(data):
    return [MARK, len(data), crc32(data)]


def _read_head(path):
    try:
        with open(path, "rb") as file:
            return json.loads(file.readline(4096))
    except (OSError, ValueError):
        return None             # none yet


def _write(path, head, data):
    layout.replace_file(path, json.dumps(head).encode() + b"\n" + data, mode=0o600)


def _rows(path):
    """Return the rows (list) in a file that is whole and of this make, else none."""
    try:
        with open(path, "rb") as file:
            head, data = json.loads(file.readline(4096)), file.read()
        return marshal.loads(data) if head == _head(data) else []
    except (OSError, ValueError, EOFError, TypeError):
        return []               # none yet, or cut short: read anew
