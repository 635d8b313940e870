"""All mirrors on this disk together: what they take, how much they may, and what goes when that is too
little."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runicorn.connections.remembered import Remembered
from runicorn.errors import BusyError, NotFoundError
from runicorn.mirror import quota
from runicorn.mirror.room import Room

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path
    from typing import Any

    from runicorn.news import Bell

# Within which another process has noticed that a connection was removed, and lets its mirror go
LET_GO_SECONDS = 15


class Cache:
    """The mirrors below HOME/cache, those of removed connections included. Any thread may call any method."""

    def __init__(self, home: Path, size: int | None, bell: Bell, log: Logger) -> None:
        """size: bytes all mirrors may take, None: by the disk; bell: rung when runs went; log: told of room
        that was made."""
        self._home, self._size, self._bell, self._log = home, size, bell, log
        self._remembered = Remembered()
        self.room = Room(home / "cache", self._limit, self._used)

    def roots(self) -> list[Any]:
        """Return (slug, folder Path) of every mirror on this disk."""
        return quota.mirror_folders(self._home / "cache")

    def info(self):
        """Return {"used", "limit", "by": {slug: bytes}}, at most 30 s old."""
        by = self._remembered.get("used", 30,
                                  lambda: {slug: quota.size_of(folder) for slug, folder in self.roots()})
        return {"used": sum(by.values()), "limit": quota.limit(self._home, self._size), "by": by}

    def _limit(self):
        """Return how many bytes the mirrors may take, asked for each file that comes."""
        return self._remembered.get("limit", 0.2, lambda: quota.limit(self._home, self._size))

    def _used(self):
        """Return the bytes of all mirrors and of what is kept of their curves."""
        return (sum(quota.size_of(folder) for _, folder in self.roots())
                + quota.size_of(self._home / "columns"))

    def clean(self, older_than: int | None = None, slug: str | None = None, size: Any = None,
              dry_run: bool = False) -> dict[str, int]:
        """Drop finished runs from the mirrors, longest not viewed first: {"files", "bytes"}.

        older_than: days neither viewed nor changed. slug: of one mirror. size: bytes to come below.
        """
        folders = [folder for name, folder in self.roots() if slug in (None, name)]
        went = quota.clean(folders, older_than=older_than, size=size, dry_run=dry_run)
        self._remembered.forget("used")
        if went["files"] and not dry_run:
            self._bell.ring("runs")
        return went

    def make_room(self, folders: list[Any], short: int) -> bool:
        """Bring the mirrors `folders` so far below the limit that `short` bytes more fit, finished runs'
        large files first. Returns whether any went."""
        others = self._used() - sum(map(quota.size_of, folders))
        went = quota.clean(folders, size=max(0, quota.limit(self._home, self._size) - others - short))
        self.room.measure()
        if went["files"]:
            self._log.info("made room: %d files, %d bytes", went["files"], went["bytes"],
                           extra={"connection": "mirrors"})
            self._bell.ring("runs")
        return bool(went["files"])

    def drop(self, slug: str) -> None:
        """Delete a mirror. Raises NotFoundError, BusyError, SyncError."""
        folder = dict(self.roots()).get(slug)
        if folder is None:
            raise NotFoundError(f"there is no mirror {slug[:100]!r}")
        quota.drop_mirror(folder)
        self._remembered.forget("used")
        self._bell.ring("runs")
        self._bell.ring("connections")


def drop_when_free(folder: Path) -> None:
    """Delete a mirror; a process beside us that syncs it is given the time to notice that its connection is
    gone."""
    until = time.monotonic() + LET_GO_SECONDS
    while True:
        try:
            return quota.drop_mirror(folder)
        except BusyError:
            if time.monotonic() > until:
                raise
        time.sleep(0.1)
