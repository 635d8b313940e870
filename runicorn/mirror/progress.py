"""How much of what is fetched has come, and at what rate: files and bytes, counted anew whenever nothing is left. Fetches nothing."""

import time

from runicorn.mirror import plan


class Progress:
    """The fetches of a queue since it was last empty; the sync's thread's alone."""

    def __init__(self, parts):
        """parts: parts.Parts, which knows how much of a file was here already when its fetch went on after a cut."""
        self._parts = parts
        self.restart()

    def restart(self):
        """Nothing is left: count anew."""
        self.files_done = self.files_total = 0
        self._bytes_done = self._bytes_total = 0
        self.began = time.monotonic()
        self._parts.begin_progress()

    def add(self, fetches):
        """Fetches (list of Fetch) were queued."""
        self.files_total += len(fetches)
        self._bytes_total += plan.total(fetches)

    def give_up(self, fetches):
        """Fetches (list of Fetch) were queued in vain, or are to be queued anew."""
        self.files_total -= len(fetches)
        self._bytes_total -= plan.total(fetches)

    def finish(self, fetch):
        """A Fetch ended, whatever came of it."""
        self.files_done += 1
        self._bytes_done += fetch.size - fetch.offset

    def row(self, coming):
        """Return what a connection's row shows (dict): files and bytes, done and in all; bytes/s; seconds left, or None.

        coming: bytes that the lines have of files on their way.
        """
        bytes_here = self._bytes_done + coming + sum([*self._parts.resumed.values()])
        bytes_done, seconds = min(bytes_here, self._bytes_total), max(0.1, time.monotonic() - self.began)
        rate = max(0, bytes_done - self._parts.resumed_bytes) / seconds
        return {"files_done": self.files_done, "files_total": self.files_total, "bytes_done": bytes_done, "bytes_total": self._bytes_total,
                "rate": round(rate), "left": round((self._bytes_total - bytes_done) / rate) if rate else None}
