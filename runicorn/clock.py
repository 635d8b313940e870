"""Time for whoever waits: it only goes on, whatever the wall clock is set to, and it goes on while the
machine sleeps."""

import time


class Clock:
    """Seconds that begin as the wall clock's and never go back. One thread moves it on by `at`; any may call
    `now` and `wall`.

    It goes on with the wall clock, which a sleeping laptop keeps and a monotonic clock (Linux, macOS) does
    not: after a sleep, or where the wall clock was set forward, all is due. Where that was set back, the
    monotonic clock says how much went by.
    """

    def __init__(self, monotonic=time.monotonic):
        self._monotonic = monotonic
        # (the time, the wall clock, the monotonic clock) when it was moved on last
        self._mark = None

    def at(self, wall):
        """Move on to the moment at which the wall clock shows `wall` (Unix s), which is now; returns the time
        (s)."""
        monotonic = self._monotonic()
        now, last_wall, last_monotonic = self._mark or (wall, wall, monotonic)
        now += wall - last_wall if wall >= last_wall else monotonic - last_monotonic
        self._mark = now, wall, monotonic
        return now

    def was_set_back(self, wall):
        """Whether the wall clock, which shows `wall` now, was set back since `at` (bool)."""
        return self._mark is not None and wall < self._mark[1]

    def now(self):
        """Return the time (s), without a look at the wall clock."""
        now, _, monotonic = self._mark or (0.0, 0.0, self._monotonic())
        return now + self._monotonic() - monotonic

    def wall(self, now):
        """Return what the wall clock shows at the time `now` (Unix s): to compare with a file's mtime, and to
        be shown."""
        return now if self._mark is None else now + self._mark[1] - self._mark[0]
