"""When did the newest system sample of a run come? By this machine's clock, whatever the clock shows of the
machine that wrote it."""

from __future__ import annotations

import os
import time
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from runicorn import layout
from runicorn.clock import Clock
from runicorn.reader import quick_stats

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RUNS_KEPT = 1000


class Arrival(NamedTuple):
    """file: (name, bytes); came, looked: when the sample came and when somebody looked last, s of a
    clock.Clock."""

    file: tuple
    came: float
    looked: float


class SampleTimes:
    """Remembers what was the newest sample of each run that somebody looked at. Any thread may ask."""

    def __init__(self, wall: Callable[..., Any] = time.time) -> None:
        self._wall, self._clock, self._lock = wall, Clock(), Lock()
        self._arrivals = {}             # run key -> Arrival, asked for longest ago first

    def came(self, entry):
        """Return when the newest sample of an open run came (Unix s). None without one, and for a run that
        has ended: then its own time is what there is to say."""
        file = None if entry.record.ended else _newest(entry)
        if file is None:
            return None
        with self._lock:
            now = self._clock.at(self._wall())
            arrival = self._arrivals.pop(entry.key, None)
            came = (arrival.came if arrival and arrival.file == file
                    else self._arrived(entry, file[0], arrival, now))
            self._arrivals[entry.key] = Arrival(file, came, now)
            if len(self._arrivals) > RUNS_KEPT:
                del self._arrivals[next(iter(self._arrivals))]
            return self._clock.wall(came)

    def _arrived(self, entry, name, arrival, now):
        """Return when a sample came that is new to us (s of our clock)."""
        try:
            status = os.stat(os.path.join(entry.folder, name))
        except OSError:
            return now                  # it went this very moment
        # Since the last look; where the system tells when the file was touched, then
        if arrival:
            return min(now, max(arrival.looked, now + status.st_ctime - self._clock.wall(now)))
        return min(now, now + status.st_mtime + entry.source.behind(entry.record.path)
                   - self._clock.wall(now))


def _newest(entry):
    """Return (name, bytes) of the system file of the run's last attempt, or None."""
    own = [(layout.parse_own(name), name, size) for name, size in quick_stats.own_sizes(entry.folder).items()]
    samples = [(attempt, name, size) for (stem, attempt, rank), name, size in own
               if stem == "system" and rank == 0 and size]
    return max(samples)[1:] if samples else None
