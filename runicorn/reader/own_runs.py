"""What this machine knows of the runs that its own processes write: whether the process is there, and how
long ago it did something, by the one clock that both have."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from runicorn.layout import BEAT, HIDDEN, LIVE, read_json, slug
from runicorn.local_disk import reach
from runicorn.local_names import root_of
from runicorn.reader import quick_stats
from runicorn.reader.file_marks import mtime
from runicorn.writer import live
from runicorn.writer.environment import hostname

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 1 << 16             # bytes of a live file


class Writer(NamedTuple):
    """The process that writes a run. lives: whether it is there (None: it is not of this machine, or nobody
    can say); same_clock: it has our clock; beat: when its heart beat last (Unix s), or None."""

    lives: object = None
    same_clock: bool = False
    beat: object = None


class Writers:
    """The writers of the open runs of one root on this machine. Used by one thread."""

    def __init__(self, root: str) -> None:
        self._root = os.fspath(root)
        # Path of a live file -> (inode, facts or None, whether it is of this machine)
        self._live_files = {}
        self._revived = {}          # path of a live file -> its beat when the process was first missed

    def of(self, path, record):
        """Return the Writer of the open run at `path`."""
        for live_file in map(reach, (f"{self._root}/{root_of(path)}/{HIDDEN}/{LIVE}/{slug(record.id)}.json",
                                     f"{self._root}/{path}/{BEAT}")):
            try:
                status = os.stat(live_file)
            except OSError:
                continue            # it beats elsewhere, or does no more
            facts, ours = self._facts(live_file, status.st_ino)
            lives = self._lives(live_file, facts, status.st_mtime) if ours else None
            return Writer(lives, ours or self._is_here(facts.get("host")), status.st_mtime)
        return Writer(None, self._is_here(record.host))

    def _facts(self, live_file, inode):
        cached = self._live_files.get(live_file)
        if cached is None or cached[0] != inode:
            facts = read_json(live_file, limit=LIMIT) or {}
            ours = isinstance(facts.get("pid"), int) and live.is_of_this_machine(facts)
            cached = self._live_files[live_file] = inode, facts, ours
        return cached[1:]

    def _lives(self, live_file, facts, beat):
        if facts["pid"] == os.getpid() or live.process_lives(facts["pid"], facts.get("start")):
            return True
        missed = self._revived.setdefault(live_file, beat)
        # a heart that beats on has a process, even if we can't see it
        return None if missed != beat else False

    def _is_here(self, host):
        """Whether what `host` writes into the root gets our clock's times: it is ours, and no file server is
        between."""
        return host == hostname() and not _is_served(self._root)


def foreign_age(root: str, times: Iterable[float]) -> float | None:
    """Return the seconds since the last of `times` (Unix s), at which files of another logger's run below
    `root` were changed (float); None where they are not by our clock."""
    latest, now = max(times, default=None), time.time()
    return None if latest is None or latest > now + 2 or _is_served(root) else max(0.0, now - latest)


def _is_served(root):
    """Whether a file server is between us and a root, and gives its files their times."""
    try:
        return _is_disk_served(root, os.stat(root).st_dev)
    except OSError:
        return False            # taken away meanwhile: nothing is told of it any more


@functools.lru_cache(64)        # a root has thousands of runs, a machine many mounts
def _is_disk_served(root, device):
    from runicorn.writer.system import on_network
    return on_network(root)


def ages(folder, writer):
    """Return (seconds since the run at `folder` did anything, seconds since its last row or None), None where
    its times are ahead of our clock, or there are none."""
    names = quick_stats.own_sizes(folder)
    times = {name: mtime(os.path.join(folder, name)) for name in names}
    times_known = [time for time in (writer.beat, *times.values()) if time is not None]
    rows = [times[name] for name in quick_stats.events_of(names) if names[name] and times[name] is not None]
    now = time.time()
    if not times_known or max(times_known) > now + 2:
        return None, None
    return max(0.0, now - max(times_known)), max(0.0, now - max(rows)) if rows else None
