"""How many bytes may still come onto this disk: asked before each fetch, so that neither the limit nor the
reserve is ever passed."""

from __future__ import annotations

import shutil
import threading
import time

RESERVE = 64 << 20              # bytes that stay free on the disk whatever we fetch
# s between looks at the disk while files come; of those we know what they take
LOOK = 0.2


class Room:
    """What the mirrors of one home may take. Any thread may call any method.

    folder: on the disk in question (Path; a folder above it will do while it is not there). limit: returns
    the bytes all mirrors may take, or None; used: returns the bytes they take, found by looking at every
    file.
    """

    def __init__(self, folder, limit=lambda: None, used=lambda: 0):
        self._folder, self._limit, self._measure = folder, limit, used
        self._lock = threading.Lock()
        self._used = None               # bytes, as measured last plus what came since …
        self._measured = None           # … and when that was (monotonic s)
        self._claimed = 0               # bytes asked for and not written yet
        # Bytes free when the disk was looked at last less what came since, and when that was
        self._free, self._looked = 0, None
        # The most bytes that somebody waits for and that removing others would make room for
        self._short = 0

    def free(self):
        """Return how many bytes the disk takes until only the reserve is left (int, negative when it is gone
        already)."""
        existing = next(folder for folder in (self._folder, *self._folder.parents) if folder.exists())
        return shutil.disk_usage(existing).free - RESERVE

    def fits(self, count: int, replaced: int = 0) -> bool:
        """Whether `count` bytes may come, of which `replaced` take the place of bytes that are here
        (bool)."""
        with self._lock:
            return self._fits(count, replaced)

    def _fits(self, count, replaced=0, limited=True):
        if (self._looked is None or time.monotonic() - self._looked > LOOK
                or count > self._free - self._claimed):
            self._free, self._looked = self.free(), time.monotonic()
        if count > self._free - self._claimed:
            return False
        limit = self._limit() if limited else None
        if limit is None:
            return True
        if self._used is None:
            self._used, self._measured = self._measure(), time.monotonic()
        return self._used + self._claimed + count - replaced <= limit

    def left(self, written: int = 0) -> int | None:
        """Return how many bytes may still come (int), None before anybody asked for room. written: bytes here
        of what was claimed."""
        limit = self._limit()
        with self._lock:
            if self._looked is None or limit is not None and self._used is None:
                return None
            room = self._free if limit is None else min(self._free, limit - self._used)
            return max(0, room - self._claimed) + max(0, self._claimed - written)

    def claim(self, count, replaced=0, urgent=0, limited=True):
        """Set `count` bytes aside before they are asked for; returns whether they fit. What was claimed must
        be released.

        urgent: the bytes of the whole file, where somebody looks at it, or it grows: where they don't fit,
        others should go (see `short`).
        limited: whether the limit counts, beside the disk.
        """
        with self._lock:
            fits = self._fits(count, replaced, limited)
            if fits:
                self._claimed += count
            else:
                self._want(count, urgent)
            return fits

    def want(self, count, size):
        """Somebody waits for `count` bytes to fit, of a file of `size` bytes: others should go."""
        with self._lock:
            self._want(count, size)

    def _want(self, count, size):
        if 0 < size <= (self._limit() or 0):
            self._short = max(self._short, count)

    def release(self, claimed: int, written: int = 0) -> None:
        """Give up a claim of `claimed` bytes, `written` of which are on the disk now."""
        with self._lock:
            self._claimed -= claimed
            self._free -= claimed       # at most so many were written
            if self._used is not None:
                self._used += written

    def short(self) -> int:
        """Return how many bytes somebody waits for since last asked (int), 0 for none."""
        with self._lock:
            short, self._short = self._short, 0
            return short

    def measure(self, seconds: float = 0.0) -> None:
        """Look at the disk again, unless that was done within so many `seconds`: files went, or others
        wrote."""
        if self._measured is not None and time.monotonic() - self._measured < seconds:
            return
        used = self._measure()
        with self._lock:
            self._used, self._measured = used, time.monotonic()
