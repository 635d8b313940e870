"""An append-only file: one unbuffered write a call, never an exception. Remembers a torn write, counts what
was lost."""

import errno
import os
import time

from runicorn.layout import open_regular
from runicorn.writer.descriptors import identity, keep, mark, release
from runicorn.writer.notice import is_interrupt, say, say_gone, say_unwritten

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND
REOPEN_SECONDS = 1.0        # how often a file that went away is looked for
# How long lines may go into a file that got our descriptor's number after C code had closed ours
LOOK_SECONDS = 0.1


class AppendFile:
    """Whole lines appended to `path`. After `write` returned True the bytes are the kernel's: killing the
    process loses none.

    gap: called with the number of lines lost, returns the bytes (whole lines) that say so; they go before the
    next line that can be written. Raises OSError only here, when it can't be opened.
    """

    def __init__(self, path, gap=None):
        self.path = os.fspath(path)
        self.lost = 0                   # lines that could not be written since the last one that could
        self.size = 0                   # bytes written by us
        self._lines = 0                 # lines written by us
        self._gap = gap
        self._tell = None
        # The next write has something to mend first: a new line, a gap, another descriptor
        self._torn = False
        self._split = False             # the last write failed or fell short: the file may end within a line
        self._lost = False              # what we hold open is no longer the file at `path`
        self._reopen_at = 0.0           # monotonic
        self._synced = 0
        self._open()

    def move(self, path):
        """It lies at `path` (str) now: where it is opened again, it is there."""
        self.path = path

    def _open(self):
        self._take(open_regular(self.path, FLAGS))

    def _take(self, fd):
        self._fd = keep(fd, self._moved)
        status = os.fstat(self._fd)
        self._identity, self._mark = identity(status), mark(self._fd)
        # Bytes in the file when it was looked at last, and what we had written by then
        self._end = status.st_size
        self._size_then, self._lines_then = self.size, self._lines
        self._looked = time.time()
        self._look_at = self._looked + LOOK_SECONDS

    def _moved(self, fd):
        self._fd = fd

    def when_looked(self, tell):
        """Call `tell` with Unix seconds after each look at the descriptor; None: nobody wants to know."""
        self._tell = tell

    def write(self, data, now=None, lines=None):
        """Append `data` (bytes, whole lines); returns whether all of it was written. Not locked: callers take
        turns.

        now: Unix seconds, from a caller that has asked the clock already. lines: how many they are, from one
        that has counted them.
        """
        if now is None:
            now = time.time()
        # a clock set back is a reason to look, too
        if not self._looked <= now < self._look_at and not self._lost:
            self._look(now)
        if self._torn:
            return self._mend(data)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            return self._failed(data, error)
        self.size += written
        self._lines += data.count(b"\n") if lines is None else lines
        return written == len(data) or self._rest(data, written)

    def _rest(self, data, count):
        try:
            while count < len(data):
                written = os.write(self._fd, data[count:])
                self.size += written
                count += written
        except OSError as error:
            self._lines -= max(1, data.count(b"\n"))
            return self._failed(data, error)
        return True

    def _failed(self, data, error):
        if is_interrupt(error):
            self._torn = self._split = True
            raise error
        if error.errno == errno.EBADF and self.size != self._size_then:
            self._was_taken()
            return self._mend(data)
        self._torn = self._split = True
        self.lost += max(1, data.count(b"\n"))
        say_unwritten(self.path, error)
        return False

    def _mend(self, data):
        """Write after a failure: open the file again if it must be, end the torn line, say what is
        missing."""
        if self._lost and not self._reopen():
            self.lost += max(1, data.count(b"\n"))
            return False
        lost, split = self.lost, self._split
        before = self._gap(lost) if self._gap and lost else b""
        if split or before:
            before = b"\n" + before
        self._torn, self._split, self.lost = False, False, 0
        if not self.write(before + data):
            self.lost = lost + max(1, data.count(b"\n"))
            return False
        return True

    # -- the descriptor and the path -------------------------------------------------------------------------

    def _look(self, now):
        """See whether the descriptor is still our file; if it is not, C code closed it, and perhaps others
        have its number now."""
        try:
            if self._is_ours():
                self._end += self.size - self._size_then
                self._size_then, self._lines_then = self.size, self._lines
                self._looked, self._look_at = now, now + LOOK_SECONDS
                if self._tell is not None:
                    self._tell(now)
                return
        except OSError as error:        # nothing is open there
            if is_interrupt(error):
                raise
        self._was_taken()

    def _is_ours(self):
        mine = mark(self._fd)
        if mine == self._mark:
            return True
        status = os.fstat(self._fd)         # renamed, or numbered anew, as some file systems do
        if status.st_size < self._end + self.size - self._size_then:
            return False                            # a new file that got the inode of ours, which was removed
        if identity(status) != self._identity and identity(status) != identity(os.stat(self.path)):
            return False
        self._identity, self._mark = identity(status), mine
        return True

    def _was_taken(self):
        """The descriptor is somebody else's: leave it alone, and have the next line open the file again."""
        release(self._fd)
        self._fd, self._torn, self._lost, self._reopen_at = -1, True, True, 0.0
        astray = max(0, self._lines - self._lines_then - self._arrived())
        self.lost += astray
        self._size_then, self._lines_then = self.size, self._lines
        if astray:
            say(f"something closed the descriptor of {self.path}; {astray} lines are missing in it, and may "
                f"be in a file opened since",
                once=("taken", self.path))

    def _arrived(self):
        """Return how many of the lines written since the last look are in the file (int)."""
        try:
            with open(open_regular(self.path, os.O_RDONLY), "rb") as file:
                file.seek(self._end)
                return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 16), b""))
        except OSError as error:        # the file is gone, too
            if is_interrupt(error):
                raise
            return 0

    def _reopen(self):
        now = time.monotonic()
        if now < self._reopen_at:
            return False
        self._reopen_at = now + REOPEN_SECONDS
        try:
            fd = open_regular(self.path, FLAGS)
        except OSError as error:        # still away; it was reported when it went
            if is_interrupt(error):
                raise
            return False
        self._close()
        self._take(fd)
        self._lost = False
        return True

    def _close(self):
        """Close the descriptor, unless it has become somebody else's."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        release(fd)
        try:
            if identity(os.fstat(fd)) == self._identity:
                os.close(fd)
        except OSError as error:        # nothing is buffered here, so nothing can be lost by it
            if is_interrupt(error):
                raise

    def check(self):
        """Notice that the file was removed or replaced under us; then wait for its folder to come back."""
        if self._lost:
            return
        try:
            mine = identity(os.stat(self.path))
            same = mine == self._identity or mine == identity(os.fstat(self._fd))
        except OSError:
            same = False
        if not same:
            self._torn = self._split = self._lost = True
            if os.path.isdir(os.path.dirname(self.path)):
                say(f"{self.path} was removed or replaced; training goes on, and logging in a new file",
                    once=("gone", self.path))
            else:
                say_gone(os.path.dirname(self.path))

    def sync(self):
        """fsync if anything was written since the last time: on a network file system only this lets others
        see it."""
        if self.size == self._synced or self._lost:
            return
        self._synced = self.size
        try:
            if self._is_ours():
                os.fsync(self._fd)
        except OSError as error:
            say(f"{self.path} can't be synced ({error.strerror or error})", once=("sync", self.path))

    def close(self):
        """Close the file; whoever still writes to it writes nowhere."""
        self._torn = self._lost = True
        self._reopen_at = float("inf")
        self._close()
