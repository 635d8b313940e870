"""A small JSON file that is replaced whole, at most ten times a second. Never raises; what can't be written
now is tried again."""

import threading
import time

from runicorn import disk
from runicorn.layout import json_bytes, replace_file
from runicorn.writer import descriptors
from runicorn.writer.notice import is_interrupt, say_unwritten

PAUSE_SECONDS = 0.1         # between two replacements of one file
RETRY_SECONDS = 2.0         # after one that failed


class JsonFile:
    """The dict that `content()` returns, kept at `path` (None: nowhere yet). Any thread may call any method.

    wake: called when a change had to wait, so that somebody calls `flush` within PAUSE_SECONDS.
    """

    def __init__(self, path, content, wake=lambda: None):
        self.path = path
        self._content = content
        self._wake = wake
        self._lock = threading.RLock()      # a signal handler may finish the run while this thread writes
        self._due = 0.0                     # monotonic; the next replacement not before this
        self._dirty = False
        # How often in a row by Windows, for which 20 are a failure: somebody may be reading it
        self.refused = 0

    def move(self, path):
        """Write to `path` from now on, and not to the one before."""
        with self._lock:
            self.path = path

    def changed(self):
        """Say that the content changed: written when this returns, unless one was written within
        PAUSE_SECONDS."""
        with self._lock:
            self._dirty = True
            if time.monotonic() >= self._due and self.write():
                self._due = time.monotonic() + PAUSE_SECONDS
                return
        self._wake()

    def flush(self, now):
        """Write what waits if it is time; returns the seconds until it should be called again, None for "when
        woken"."""
        with self._lock:
            if not self._dirty:
                return None
            if now >= self._due and self.write(0.0):       # the training may be waiting for the lock
                self._due = now + PAUSE_SECONDS
            return max(0.0, self._due - now) if self._dirty else None

    def write(self, seconds=disk.BRIEF):
        """Replace the file now; returns whether that worked. seconds: how long to try where somebody reads
        it; see disk.replace."""
        with self._lock:
            self._dirty = False
            if self.path is None:
                return True
            try:
                replace_file(self.path, json_bytes(self._content()), shield=descriptors, seconds=seconds)
            except OSError as error:
                self._dirty = True
                if is_interrupt(error):
                    raise
                self.refused = (self.refused + 1) % 20 if getattr(error, "winerror", 0) else 0
                self._due = time.monotonic() + (PAUSE_SECONDS if self.refused else RETRY_SECONDS)
                if not self.refused:
                    say_unwritten(self.path, error)
                return False
            self.refused = 0
            return True

    def abandon(self):
        """In a forked child: the file is the parent's to write. The lock may be held by a thread that does
        not exist here."""
        self.path, self._lock = None, threading.RLock()
