"""Keeps what the list knows between two starts, so that 10,000 runs are there at once: the manifest, and its lines as records.

Both are caches: whatever does not fit is read anew.
"""

import json
import marshal
import os
import sys
from zlib import crc32

from runicorn import layout, manifest
from runicorn.errors import SettingsError

MARK = f"runicorn rows 5 {sys.version}"     # marshal's format belongs to one Python


def save(path, index, records, whole):
    """Keep the records (dict: path -> Record) of the Manifest `index` beside `path`; with `whole` the manifest too.

    Raises SettingsError if they can't be written.
    """
    rows = [(crc32(record.line), record.kept()) for record in records.values()
            if record.small is None and record.path in index and record.line == index.line(record.path)]
    data = marshal.dumps(rows)
    head = [MARK, len(rows), crc32(data)]
    if _head(path) == head:
        return
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if whole:
            manifest.save(index, f"{path}.json")
        layout.replace_file(f"{path}.rows", json.dumps(head).encode() + b"\n" + data, mode=0o600)
    except (OSError, manifest.ManifestError) as error:
        raise SettingsError(f"what is known of the runs can't be kept for the next start: {error}") from error


def _head(path):
    try:
        with open(f"{path}.rows", "rb") as file:
            return json.loads(file.readline(4096))
    except (OSError, ValueError):
        return None             # none yet


def load(path, index, again):
    """Return {path: Record} of what was kept for the Manifest `index`; again(kept, line) makes a Record. Empty if nothing fits
    or `path` is None."""
    head = _head(path) if path is not None else None
    if not isinstance(head, list) or head[:1] != [MARK]:
        return {}
    try:
        with open(f"{path}.rows", "rb") as file:
            file.readline()
            data = file.read()
        return dict(_records(marshal.loads(data), index, again)) if head[-1] == crc32(data) else {}
    except (OSError, ValueError, EOFError, TypeError):
        return {}               # cut short: read anew


def _records(rows, index, again):
    for check, row in rows:
        line = index.line(row[0]) if row[0] in index else None
        if line is not None and crc32(line) == check:       # the index may be of another time than the rows
            yield row[0], again(row, line)
