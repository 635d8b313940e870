"""What shows whether files of a root changed: their times, sizes and numbers, one stat each. Opens none."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

from runicorn import layout

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

PACKED = struct.Struct("<4q")


def file_mark(path: str | os.PathLike[str]) -> tuple[int, int, int, int] | None:
    """Return what another state of a file differs in: (mtime in ns, bytes, inode, ctime in ns), None where it
    is absent. The last shows that it may be read now."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return mark_of(status)


def mark_of(status):
    """Return the mark of a file by its os.stat_result."""
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns


def packed(marks):
    """Return marks (list of what `file_mark` returns) as one value (bytes), of zeros alone where no file
    is."""
    return b"".join([PACKED.pack(*(number & (1 << 63) - 1 for number in mark)) if mark else bytes(PACKED.size)
                     for mark in marks])


def newest(marks):
    """Return the latest mtime (ns) in packed marks."""
    return max([mark[0] for mark in PACKED.iter_unpack(marks)], default=0)


def mtime_ns(path: str) -> int | None:
    """Return a file's or folder's mtime (ns), None where it is not there."""
    mark = file_mark(path)
    return mark and mark[0]


def mtime(path: str) -> float | None:
    """Return the same in seconds."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None             # gone since it was listed


def live_beats(root: Path) -> dict[str, Any]:
    """Return {run id: mtime of its live file, ns}; of a home, those of the root in it, too."""
    beats = {}
    for place in (root, os.path.join(root, layout.EXPERIMENTS)):
        folder = os.path.join(place, layout.HIDDEN, layout.LIVE)
        # absent: nothing was ever live here
        with contextlib.suppress(OSError), os.scandir(folder) as items:
            beats.update((item.name[:-5], item.stat(follow_symlinks=False).st_mtime_ns)
                         for item in items if item.name.endswith(".json"))
    return beats
