"""Which of our copies were read so soon after a change that another may hide under the same mtime, and when
is each read again?

SFTP's mtimes are whole seconds, those of some disks (FAT) two. Asks no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runicorn.mirror import plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.mirror.local_copy import LocalCopy
    from runicorn.mirror.plan import Fetch
    from runicorn.mirror.remote_index import File, Key

# s after an mtime of whole seconds on the server's clock: what changes later has another
MARGIN = 2.1
REST = 10.0                     # s that a file of a running run did not change before it is read again …
RATE = 30_000.0                 # … and one more for each so many bytes of it

LONG_AGO = float("-inf")        # `now` of a Moment of an earlier session, whose clock.Clock is not ours


class Moment(NamedTuple):
    """When a file's first byte was asked for."""

    now: float                  # s of our clock.Clock
    # The server's clock showed this time (Unix s) or a later one; None: nobody knows
    server: float | None
    wall: float                 # what our wall clock showed (Unix s)


class Unsettled:
    """The files (run path, name) whose copies prove nothing yet. Such a copy has an mtime one second before
    the server's."""

    def __init__(self, mirror: LocalCopy, clock: Callable[[], float], wall: Callable[[float], float]) -> None:
        """clock: callable that returns the time (s) of clock.Clock; wall: clock.Clock.wall."""
        self._mirror, self._clock, self._wall = mirror, clock, wall
        self._server = None
        self._mtimes = {}                 # key -> (mtime, when first seen so)
        self._read = {}                 # key -> when it was read whole last, of those that wait
        self._waiting = {}              # key -> size (bytes) of append-only files that are to be read again

    def hear(self, server):
        """The server's clock showed `server` (Unix s) a moment ago."""
        self._server = max(server, self._server or server)

    def moment(self):
        """Return the Moment that is now."""
        now = self._clock()
        return Moment(now, self._server, self._wall(now))

    def see(self, key: Key, mtime: float | None, now: float) -> None:
        """A file has this mtime (s) on the server at `now`."""
        if mtime is not None and self._mtimes.get(key, (None,))[0] != mtime:
            self._mtimes[key] = mtime, now

    def is_settled(self, key: Key, mtime: float, began: Moment) -> bool:
        """Whether what was read from the Moment `began` on can't have changed since without moving the
        mtime."""
        if began.server is not None and mtime <= began.server - MARGIN:
            return True
        return plan.settled(mtime, self._since(key, mtime, began.now), began.now, began.wall)

    def _since(self, key, mtime, otherwise):
        known_mtime, since = self._mtimes.get(key, (None, otherwise))
        return since if known_mtime == mtime else otherwise

    def settle(self, key: Key) -> None:
        """Our copy is what the server had."""
        for table in (self._mtimes, self._read, self._waiting):
            table.pop(key, None)

    def wait(self, fetch, began=None):
        """Our copy of the file of a Fetch may be wrong. began: the Moment at which it was begun to be read,
        if it was read whole just now. Returns when it may be read again (s)."""
        key = fetch.path, fetch.name
        if began:
            self._read[key] = began.now
        if plan.is_appended(fetch.name):
            self._waiting[key] = fetch.size
        return self._since(key, fetch.mtime, self._clock()) + 2

    def grew(self, key: Key, size: int) -> None:
        """Bytes were appended to our copy, now of `size`."""
        self._waiting[key] = size

    def rests(self, fetch: Fetch, copy: File | None, ended: bool, now: float) -> bool:
        """Whether to leave our copy ({"size", "mtime"}) as it is for now, though the Fetch `fetch` asks to
        read it again.

        So it is of an append-only file of which we know nothing but that it is unproven: it is read again
        once it does not change.
        """
        key = fetch.path, fetch.name
        if (not copy or copy["size"] != fetch.size or not plan.is_appended(fetch.name) or fetch.mtime is None
                or copy["mtime"] is None):
            return False
        if (not plan.is_same_time(copy["mtime"] + 1, fetch.mtime) or fetch.tail
                and self._mirror.tail(*key, fetch.size) != fetch.tail):
            return False
        if self._mtimes[key][1] == now and key not in self._waiting:
            # An earlier session gave it that time, and had seen the server's before
            changed = self._mirror.changed(*key)
            self._mtimes[key] = fetch.mtime, min(now, changed + now - self._wall(now)) if changed else now
        self._waiting[key] = fetch.size
        return not self._is_due(key, ended, now)

    def _is_due(self, key, ended, now):
        since = self._mtimes[key][1] if key in self._mtimes else now
        if ended:
            return now >= since + 2
        return now >= max(since, self._read.get(key, since)) + REST + self._waiting[key] / RATE

    def waiting(self):
        """Return the append-only files that are to be read again once they rest, those first that were read
        whole longest ago (list)."""
        return sorted(self._waiting, key=lambda key: self._read.get(key, 0.0))

    def take_due(self, ended: Callable[[str], bool], now: float) -> set[str]:
        """Return the runs of which files are to be read again now (set of paths). ended(path): whether a run
        ended."""
        due = [key for key in self._waiting if self._is_due(key, ended(key[0]), now)]
        for key in due:
            del self._waiting[key]
        return {path for path, _ in due}

    def rename(self, moved: dict[str, str]) -> None:
        """Runs moved, {old path: new path}."""
        for table in (self._mtimes, self._read, self._waiting):
            table.update({(moved[path], name): table.pop((path, name))
                          for path, name in list(table) if path in moved})
