"""An append-only file: one unbuffered write a call, never an exception. Remembers a torn write, counts what a full disk cost."""

import os
import time

from runicorn.ends import from_handler
from runicorn.notice import say

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
REOPEN_SECONDS = 1.0        # how often a file that went away is looked for


class AppendFile:
    """Whole lines appended to `path`. After `write` returned True the bytes are the kernel's: killing the process loses none.

    gap: called with the number of lines lost, returns the bytes (whole lines) that say so; they go before the next line
    that can be written. Raises OSError only here, when it can't be opened.
    """

    def __init__(self, path, gap=None):
        self.path = os.fspath(path)
        self.lost = 0                   # lines that could not be written since the last one that could
        self.size = 0                   # bytes written by us
        self._gap = gap
        self._torn = False              # the last write failed or fell short: the file may end within a line
        self._gone = False              # what we hold open is no longer the file at `path`
        self._look_at = 0.0
        self._synced = 0
        self._descriptor = os.open(self.path, FLAGS, 0o666)

    def write(self, data):
        """Append `data` (bytes, whole lines); returns whether all of it was written. Not locked: callers take turns."""
        if self._torn:
            return self._mend(data)
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            return self._failed(data, error)
        self.size += written
        return written == len(data) or self._rest(data, written)

    def _rest(self, data, done):
        try:
            while done < len(data):
                written = os.write(self._descriptor, data[done:])
                self.size += written
                done += written
        except OSError as error:
            return self._failed(data, error)
        return True

    def _failed(self, data, error):
        self._torn = True
        if from_handler(error):
            raise error
        self.lost += max(1, data.count(b"\n"))
        say(f"{self.path} can't be written ({error.strerror or error}); training goes on, and logging when it can",
            once=("append", self.path))
        return False

    def _mend(self, data):
        """Write after a failure: first end the torn line, then say what is missing."""
        lost = self.lost
        if self._gone and not self._reopen():
            self.lost += max(1, data.count(b"\n"))
            return False
        self._torn, self.lost = False, 0
        before = b"\n" + (self._gap(lost) if self._gap and lost else b"")
        if not self.write(before + data):
            self.lost = lost + max(1, data.count(b"\n"))
            return False
        return True

    def _reopen(self):
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + REOPEN_SECONDS
        try:
            descriptor = os.open(self.path, FLAGS, 0o666)
        except OSError:
            return False                # still away; it was reported when it went
        os.close(self._descriptor)
        self._descriptor, self._gone = descriptor, False
        return True

    def check(self):
        """Notice that the file was removed or replaced under us; then wait for its folder to come back."""
        if self._gone:
            return
        try:
            here, ours = os.stat(self.path), os.fstat(self._descriptor)
            same = (here.st_dev, here.st_ino) == (ours.st_dev, ours.st_ino)
        except OSError:
            same = False
        if not same:
            self._torn = self._gone = True
            say(f"{self.path} was removed or replaced; training goes on, and logging when its folder is back", once=("gone", self.path))

    def sync(self):
        """fsync if anything was written since the last time: on a network file system only this lets others see it."""
        if self.size == self._synced:
            return
        self._synced = self.size
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            say(f"{self.path} can't be synced ({error.strerror or error})", once=("sync", self.path))

    def close(self):
        """Close the file; whoever still writes to it writes nowhere."""
        descriptor, self._descriptor = self._descriptor, -1
        self._torn, self._gone, self._look_at = True, True, float("inf")
        try:
            os.close(descriptor)
        except OSError:
            pass                        # nothing is buffered here, so nothing can be lost by it
