"""Tell the pages, and who comes after us, what a sync knows: its index, live.json and what is left out are
written, the bell is rung."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING

from runicorn import layout, left_out, local_disk, local_names
from runicorn.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.clock import Clock
    from runicorn.mirror.local_copy import LocalCopy
    from runicorn.mirror.remote_root import RemoteRoot
    from runicorn.mirror.status import StateRow, Status
    from runicorn.news import Bell

PARTIAL = 1.0                   # s after which a list that is not whole is shown
SAVED = 30.0                    # s after which an index is written in which only sizes and times changed
PACE = 5                        # writing an index that took t s is not repeated before PACE * t
REFUSALS = 5                    # times in a row that readers may keep a file open that is to be replaced


class Refusals:
    """How often in a row readers on Windows kept open a file that is to be replaced, by who writes it."""

    def __init__(self) -> None:
        self._refused = collections.Counter()

    def is_held(self, writer, error):
        """Whether an error of a writer says only that, which is no reason to pause unless they go on."""
        self._refused[writer] += 1
        return local_disk.is_held(error) and self._refused[writer] <= REFUSALS

    def forget(self, writer):
        """It went."""
        self._refused[writer] = 0


class Publisher:
    """What one sync publishes; its thread's alone."""

    def __init__(self, mirror: LocalCopy, bell: Bell, clock: Clock, status: Status, slug: str,
                 moved: Callable[[dict[str, str]], None]) -> None:
        """status: status.Status; slug: of the connection; moved({old path: new path}): called when runs were
        renamed on the server, before the index says so."""
        self._mirror, self._bell, self._clock = mirror, bell, clock
        self._status, self._slug, self._moved = status, slug, moved
        # When the index may be written next, and was last, the clock's time, s
        self._next = self._saved = 0.0
        # How much of the run list was, over this line: see remote_root.RemoteRoot.listed
        self._list_told = 0
        self._refusals = Refusals()
        # When each run was last seen as the saved index has it; see recheck.Recheck.told
        self._checked = []
        self._list = None               # what was read into that; see server_runs.RunList.told

    def expect_list(self, now: float) -> None:
        """A line came up: the run list is shown as soon as it is whole, and now and then until it is."""
        self._next, self._list_told = now + PARTIAL, 0

    def publish(self, remote_root: RemoteRoot, now: float) -> None:
        """Write the index when it changed, and ring what changed. remote_root: remote_root.RemoteRoot."""
        index, fetches, moved = remote_root.index, remote_root.queue, self.follow_moves(remote_root)
        listed = remote_root.listed
        complete = listed > self._list_told
        grown = index.changed and now >= self._saved + SAVED
        if (index.news or grown) and (complete or moved or now >= self._next):
            self._list_told = max(self._list_told, listed)
            self._save(index, now)
        runs = fetches.take_grown()
        if runs:
            self._bell.ring(*map(self._topic, runs))
        if not index.changed:
            self._checked = remote_root.recheck.told(index.paths)
            self._list = remote_root.list.told(index.manifest.header.get("digest"))
        passed = fetches.copies.left_out
        if passed.changed and self._write(self._mirror.write, self._mirror.index / left_out.FILE,
                                          passed.to_json()):
            passed.changes_saved()
            self._bell.ring("runs")

    def _save(self, index, now):
        began = time.monotonic()
        if self._write(self._mirror.save_index, index.flush(self._clock.wall(now))):
            self._saved = now
            index.was_saved()
            self._bell.ring("index")        # whoever reads it rings `runs`
        self._next = now + PACE * (time.monotonic() - began)

    def follow_moves(self, remote_root: RemoteRoot) -> bool:
        """Say which runs were renamed on the server since last told; returns whether some were."""
        moved = remote_root.moves.take()
        if moved:
            self._moved(moved)
            remote_root.index.announce()
        for path in moved:
            self._bell.ring(self._topic(path))
        return bool(moved)

    def _topic(self, path):
        return f"run:{local_names.run_key(self._slug, path)}"

    def tell(self, remote_root: RemoteRoot, row: StateRow) -> None:
        """Write live.json; without a line (None) the `row` that the connection shows alone is new in it."""
        live = {"runs": remote_root.beats.runs, "line": self._status.line,
                "gone": sorted(remote_root.vanished), "looked": remote_root.looked, "checked": self._checked,
                "turn": round(remote_root.turn_seconds), "list": self._list,
                "written": time.time(), "ahead": self._clock.wall(0.0)} if remote_root else self._earlier()
        self._write(self._mirror.save_live, {**live, "state": row})

    def _earlier(self):
        return layout.read_json(self._mirror.index / layout.INDEX_LIVE) or {}

    def _write(self, write, *content):
        """Return whether write(*content) went; where readers keep the old file open it is written another
        time."""
        try:
            write(*content)
        except SyncError as error:
            if self._refusals.is_held(write, error):
                return False
            raise
        self._refusals.forget(write)
        return True
