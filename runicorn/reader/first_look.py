"""The first look at a local root of which nothing is known yet: only the small JSON of each run, so that the
list is there before the manifest is. Hashes nothing, lists no run's files."""

from __future__ import annotations

import collections
import hashlib
import heapq
import json
import os
import stat
from typing import TYPE_CHECKING

from runicorn import disk, layout, local_disk, manifest
from runicorn.reader.file_marks import mark_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# json.loads guesses the encoding first, which takes a third of its time
DECODE = json.JSONDecoder().decode


def paths(root: str, passed: Any = None) -> list[str]:
    """Return the paths of all runs below `root`, sorted (list of str). None for an absent root. passed:
    {reason: count} of what is no run's and may not be looked into (Counter), added to."""
    try:
        return sorted(path for path, _ in manifest.runs(root,
                                                        collections.Counter() if passed is None else passed))
    except manifest.ManifestError:
        return []


def digest(paths):
    """Return what tells one set of paths (iterable of str) from another (str)."""
    return hashlib.sha1("\n".join(sorted(paths)).encode("utf-8",
                                                        "surrogateescape"), usedforsecurity=False).hexdigest()


def newest(paths: list[str], count: int) -> list[str]:
    """Return the paths of the `count` runs that began last, as their ids tell (list of str)."""
    return heapq.nlargest(count, paths, key=lambda path: path.rpartition("/")[2])


def entries(root: str, paths: Iterator[Any] | list[str]) -> Iterator[Any]:
    """Yield (path, entry, part, marks) of the runs at `paths` below `root`: their small files as dicts or
    None, the part of a run's line in a manifest that these make (bytes), or None where only a parse of that
    line can tell, and the file_marks of the files."""
    for path in paths:
        folder = local_disk.reach(f"{root}/{path}")
        raws, marks = zip(*[_raw(f"{folder}{os.sep}{small}") for small in layout.SMALL])
        if not any(raws) and not os.access(folder, os.R_OK | os.X_OK):
            continue                    # another user's: the manifest counts it
        if raws == (None, None, None) and not manifest.is_run(folder):
            continue
        values = list(map(_parsed, raws))
        excerpt = _part(raws) if None not in values else None
        yield path, dict(zip(layout.STEMS, values)), excerpt, marks


def _raw(path):
    """Return (the bytes of a small file, None if it is absent or may not be read, its file_marks.file_mark
    before it was opened). A huge one is cut, and then no JSON."""
    try:
        status = os.stat(path)
    except OSError:
        return None, None
    mark = mark_of(status)
    try:
        if not stat.S_ISREG(status.st_mode):        # a device may do anything when it is opened
            return None, mark
        descriptor = disk.patiently(os.open, path, manifest.READING, seconds=disk.BRIEF)
    except OSError as error:
        local_disk.pass_over(error)
        return None, mark               # a link, or not ours to read
    try:
        return os.read(descriptor, manifest.INLINE + 1), mark
    finally:
        os.close(descriptor)


def _parsed(raw):
    try:
        value = DECODE(raw.decode("utf-8")) if raw else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _part(raws):
    meta, status, summary = (raw.strip().replace(b"\n", b" ").replace(b"\r", b" ") for raw in raws)
    return b'"meta": %b, "status": %b, "summary": %b, "files": {' % (meta, status, summary)
