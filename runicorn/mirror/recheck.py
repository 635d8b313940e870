"""When was each run last seen to be as our index has it, and whose turn is it now? Keeps times and a turn,
asks no server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runicorn.mirror.verified import checked, sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

RATE = 12.0                     # files and folders LSTATed a second: 5,000 files of 1,000 runs take 500 s …
SHORTEST = 60.0                 # s; … and smaller roots take at least this long
MOST = 400                      # LSTATed in one batch at most
SEGMENTS = 200                  # a turn's times are told to this many-th part of it


class Recheck:
    """Goes through runs in turn by SFTP alone, and keeps when each run was seen whole last (s of our
    clock.Clock)."""

    def __init__(self, wall: Callable[[float], float] = lambda now: now) -> None:
        """wall: clock.Clock.wall: what is told is the wall clock's time."""
        self._wall = wall
        self.times = {}                 # run path -> s
        self.seconds = SHORTEST         # what a turn takes
        # [(run path, names to look at, when begun)] of this turn, last first
        self._waiting = []
        self._rate = RATE
        self._credit, self._asked_at = 0.0, None
        self._segments_told = []
        self._told_at = 0.0             # monotonic

    def note(self, paths: Iterable[str], now: float) -> None:
        """The runs `paths` (iterable) were seen to be as the index has them at `now`."""
        self.times.update(dict.fromkeys(paths, now))

    def forget(self, path: str) -> None:
        """The run's files are not what the index says, or nobody knows."""
        self.times.pop(path, None)

    def rename(self, old: str, new: str) -> None:
        """The run `old` is called `new` now, and its files are what they were."""
        moment = self.times.pop(old, None)
        if moment is not None:
            self.times.setdefault(new, moment)

    def resume(self, listed: Any, paths: Iterable[str], now: float) -> None:
        """Take up what an earlier session told, or something that only looks like it, of the runs `paths`.

        A time that has not come yet, as the clock was set back since, tells nothing.
        """
        times = sound(listed)
        for path in paths if times else ():
            moment = checked(times, path)
            if moment is not None and moment <= self._wall(now):
                self.times[path] = moment - self._wall(0.0)

    def due(self, now, runs):
        """Return [(run path, names, when its first names were asked for, whether these are its last), …] to
        look at now.

        runs(): [(run path, names), …] of a new turn, in order.
        """
        if self._asked_at is None:
            self._asked_at = now
        if not self._waiting:
            self._waiting = [(path, names, None) for path, names in reversed(runs())]
            size = sum(len(names) for _, names, _ in self._waiting)
            self.seconds = max(SHORTEST, size / RATE)
            self._rate = size / self.seconds
        self._credit = min(MOST, self._credit + max(0.0, now - self._asked_at) * self._rate)
        self._asked_at = now
        chosen = []
        while self._waiting and self._credit >= 1:
            path, names, begun = self._waiting.pop()
            count = int(self._credit)
            chosen.append((path, names[:count], now if begun is None else begun, len(names) <= count))
            self._credit -= min(count, len(names))
            if len(names) > count:
                self._waiting.append((path, names[count:], now if begun is None else begun))
        return chosen

    def told(self, paths):
        """Return [[run path, Unix s or None], …], sorted: each run from that path on, up to the next, was
        seen whole at that time or later.

        paths: callable that returns the run paths of the index.
        """
        began = time.monotonic()
        if began >= self._told_at:
            self._segments_told = self._segments(paths())
            self._told_at = time.monotonic() + 50 * (time.monotonic() - began)
        return [[path, moment if moment is None else self._wall(moment)]
                for path, moment in self._segments_told]

    def _segments(self, paths):
        segments, grain = [], self.seconds / SEGMENTS
        for path in sorted(paths):
            moment = self.times.get(path)
            last = segments[-1][1] if segments else -1
            if last == moment or None not in (last, moment) and 0 <= moment - last <= grain:
                continue
            segments.append([path, moment])
        return segments
