"""Count bytes and requests by the minute for one hour. Keeps nothing on disk."""

from __future__ import annotations

import collections

MINUTES = 60


class Meter:
    """Growing totals noted now and then, told as per-minute and per-hour figures. Times are s of a clock that
    only goes on."""

    def __init__(self) -> None:
        self._minutes = collections.deque(maxlen=MINUTES)       # [minute, bytes, requests]
        self._last = (0, 0)
        self._rate = (0.0, 0.0)                                 # (when noted, bytes/s since the note before)

    def restart(self) -> None:
        """A new line counts from nothing."""
        self._last = (0, 0)

    def note(self, now: float, count: int, requests: int) -> None:
        """Take the line's totals: `count` bytes both ways, `requests`."""
        more, count_asked = count - self._last[0], requests - self._last[1]
        self._last = count, requests
        minute = int(now // 60)
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append([minute, 0, 0])
        self._minutes[-1][1] += more
        self._minutes[-1][2] += count_asked
        passed = now - self._rate[0]
        if passed >= 1:
            self._rate = now, more / passed

    def this_minute(self, now: float) -> int:
        """Return the bytes of the present minute (int)."""
        return self._minutes[-1][1] if self._minutes and self._minutes[-1][0] == int(now // 60) else 0

    def told(self, now):
        """Return {"hour": bytes of the last hour, "rate": bytes/s, "requests": of the last hour}."""
        since = int(now // 60) - MINUTES
        minutes = [minute for minute in self._minutes if minute[0] > since]
        return {"hour": sum(minute[1] for minute in minutes),
                "rate": round(self._rate[1]) if now - self._rate[0] < 10 else 0,
                "requests": sum(minute[2] for minute in minutes)}
