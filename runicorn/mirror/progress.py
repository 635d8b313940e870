"""How much of what is fetched has come, and at what rate: files and bytes, counted anew whenever all is over.
Fetches nothing."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, TypedDict

from runicorn.mirror import plan

if TYPE_CHECKING:
    from runicorn.mirror.parts import Parts
    from runicorn.mirror.plan import Fetch

MARK = 0.25                     # s between marks of how much has come …
LATELY = 8.0                    # … over which the rate is taken
STEADY = 1.5                    # s of it, at least, before anybody is told how long the rest takes


class ProgressRow(TypedDict):
    """What a connection's row shows of its fetches."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    rate: int                   # bytes/s
    left: int | None            # s; None: nobody knows


class Progress:
    """The fetches of a queue since it was last empty; the sync's thread's alone, but for `row`."""

    def __init__(self, parts: Parts) -> None:
        """parts: parts.Parts, which knows how much of a file was here already when its fetch went on after a
        cut."""
        self._parts = parts
        self.restart()

    def restart(self) -> None:
        """Nothing is left: count anew."""
        self.files_done = self.files_total = 0
        # (run path, name) -> offset of its Fetch, of those that are to be queued anew
        self._lost = {}
        self._bytes_done = self._bytes_total = 0
        self._marks = collections.deque()       # (monotonic s, bytes that had come)
        self._parts.begin_progress()

    def add(self, fetches: list[Fetch]) -> None:
        """Fetches (list of Fetch) were queued."""
        self.files_total += len(fetches)
        self._bytes_total += plan.total(fetches)
        for fetch in fetches if self._lost else ():
            resumed = max(0, fetch.offset - self._lost.pop((fetch.path, fetch.name), fetch.offset))
            self._bytes_done += resumed
            self._bytes_total += resumed

    def give_up(self, fetches: list[Fetch]) -> None:
        """Fetches (list of Fetch) were queued in vain: what does not come is no part of what is waited
        for."""
        self.files_total -= len(fetches)
        self._bytes_total -= plan.total(fetches)

    def lose(self, fetch: Fetch) -> None:
        """The line took a Fetch down with it; it is to be queued anew: what is here of it by then came all
        the same."""
        self.give_up([fetch])
        self._lost[fetch.path, fetch.name] = fetch.offset

    def finish(self, fetch: Fetch) -> None:
        """A Fetch came."""
        self.files_done += 1
        self._bytes_done += fetch.size - fetch.offset

    def mark(self, coming: int, steady: bool) -> None:
        """Note how much has come by now. coming: as for `row`; steady: whether the rate of now tells that of
        the rest, which it does not while the many small files come that the run list shows."""
        now = time.monotonic()
        if not steady:
            self._marks.clear()
        if not self._marks or now - self._marks[-1][0] >= MARK:
            self._marks.append((now, self._come(coming)))
        while now - self._marks[0][0] > LATELY:
            self._marks.popleft()

    def _here(self, coming):
        return self._bytes_done + coming + sum([*self._parts.resumed.values()])

    def _come(self, coming):
        """How many bytes came over the line, without those that were here when a fetch went on after a
        cut."""
        return self._here(coming) - self._parts.resumed_bytes

    def row(self, coming, room=None):
        """Return what a connection's row shows (dict): files and bytes, done and in all; bytes/s; seconds
        left, or None.

        coming: bytes that the lines have of files on their way; room: bytes that may still come onto this
        disk, None: nobody knows.
        """
        arrived, marks = self._here(coming), [*self._marks]
        total = self._bytes_total if room is None else min(self._bytes_total, arrived + room)
        fetched, seconds = min(arrived, total), time.monotonic() - marks[0][0] if marks else 0.0
        rate = max(0, self._come(coming) - marks[0][1]) / max(MARK, seconds) if marks else 0.0
        return {"files_done": self.files_done, "files_total": self.files_total, "bytes_done": fetched,
                "bytes_total": total, "rate": round(rate),
                "left": round((total - fetched) / rate) if rate and seconds >= STEADY else None}
