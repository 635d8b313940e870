"""One growing file of metrics or samples, whatever its kind: what is new of it is read, its columns are kept
between sessions."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from runicorn.layout import open_regular
from runicorn.metrics import column_cache
from runicorn.metrics.columns import Table
from runicorn.metrics.kinds import events
from runicorn.metrics.stored import POSSIBLE, Spool

if TYPE_CHECKING:
    from typing import Any

# Parsed at once: large enough for the templates, small enough to let other threads in between
READ_BYTES = 1 << 20
RECORD_LIMIT = 16 << 20     # what a reader does not know as one whole record by then is never one
WRITTEN_NS = 10_000_000     # an mtime that is so close to the ctime is that of a write
CHECKED = 4096              # bytes before the parsed end whose hash must still be the same
SINGLE = (None, events.Reader.kind)             # kinds of files that are read in one way only
SPOOL_BYTES = 64 << 20      # parsed until long columns are put into a file
SAVE_BYTES = 64 << 10       # parsed in about 2 ms; less is not worth a cache file


class File:
    """One growing file. `table` holds what is parsed, `reader` what reads it, `make` made that, `behind` is
    how many bytes could be parsed now."""

    def __init__(self, path: str, cache: str | None = None, make: Any = events.Reader) -> None:
        """path: str; cache: folder for the column cache (str) or None; make: function(state) returning the
        reader of its kind."""
        self.path, self.make, self._folder = path, make, cache
        self._begin()

    def _begin(self, identity=None):
        self.reader = self.make(None)
        # By rules of one's own it is another
        self._reading = self.reader.kind + getattr(self.reader, "variant", "")
        self.table = Table(self.reader.kind)
        self.position = self.behind = self._saved = self._torn = 0
        self._identity, self._mtime, self._size, self._guard = identity, None, None, b""
        self._spool = None

    @property
    def skipped(self) -> int:
        """Lines or records that could not be read (int)."""
        return sum(self.reader.skipped.values())

    def fill(self, table: Any) -> None:
        """Put what is parsed from now on into `table` (with Table's `add`, `purge` and `others`)."""
        self.table = table

    def look(self) -> bool:
        """Return whether there is something to parse, after one stat; forgets all if the file was replaced or
        has shrunk.

        Raises OSError if the file can't be looked at.
        """
        status = os.stat(self.path)
        identity = (status.st_dev, status.st_ino)
        if self._identity is None:
            self._identity = identity
            self._load(status)
        elif (identity != self._identity or status.st_size < self.position or self._is_rewritten(status)
              or isinstance(self.table, Table) and self.table.lost):
            self._begin(identity)
        self._mtime, self._size = status.st_mtime_ns, status.st_size
        self.behind = status.st_size - self.position if status.st_size != self._torn else 0
        return self.behind > 0

    def _is_rewritten(self, status):
        """Whether other bytes were written in place though the size is the same. A time set after the
        writing, as the mirror and `touch` set it, is no sign of it. Raises OSError."""
        if status.st_mtime_ns == self._mtime or status.st_size != self._size:
            return False
        if abs(status.st_mtime_ns - status.st_ctime_ns) < WRITTEN_NS:
            return True
        with open(open_regular(self.path), "rb") as file:
            return not self._holds_guard(file)

    def _holds_guard(self, file):
        file.seek(self.position - len(self._guard))
        return file.read(len(self._guard)) == self._guard

    def step(self) -> bool:
        """Parse at most the next READ_BYTES; return whether more is left. Raises OSError."""
        with open(open_regular(self.path), "rb") as file:
            if not self._holds_guard(file):                 # other content under the same inode: begin again
                self._begin(self._identity)
                return True
            remaining = os.fstat(file.fileno()).st_size - self.position
            block = file.read(READ_BYTES)
            used, parts = self.reader.take(block, max(remaining, len(block)))
            while not used and READ_BYTES <= len(block) < RECORD_LIMIT and (more := file.read(READ_BYTES)):
                block += more
                used, parts = self.reader.take(block, max(remaining, len(block)))
            if not used:
                # Part of a record: nothing to do until the file grows
                self.behind, self._torn = 0, self.position + len(block)
                return False
            self._guard = ((self._guard + block[:used])[-CHECKED:] if used <= len(block)
                           else self._passed_over(file, used))
        self.position += used
        self.behind = max(0, self.behind - used)
        facts = self.reader.facts()
        self.table.add(self._timed(parts, facts))
        self.table.purge(facts.get("purges", []))
        if self.position // SPOOL_BYTES != (self.position - used) // SPOOL_BYTES:
            self._put_aside()
        return self.behind > 0

    def _put_aside(self):
        """Put what is in memory of long columns into a nameless file beside the cache; where there is no room
        for it, it stays in memory."""
        if not POSSIBLE or not self._folder or not isinstance(self.table, Table):
            return
        with suppress(OSError):
            for group in self.table.long_groups():
                os.makedirs(self._folder, exist_ok=True)
                self._spool = self._spool or Spool(self._folder)
                group.put(self._spool.put)

    def _timed(self, parts, facts):
        """Return Parts whose rows have the times that the reader's `facts` leave open."""
        # Without times a row is as old as the file when it was first seen in it
        mtime = (self._mtime or 0) / 1e9
        if facts.get("no_times"):
            return [part._replace(ts=[mtime] * len(part.rows)) for part in parts]
        if facts.get("naive_times"):
            parts = [part._replace(ts=_as_local(part.ts)) for part in parts]
        if self.reader.kind != events.Reader.kind and not all(all(part.ts) for part in parts):
            # Rows before the first that tells a time are as old as that one.
            times = [ts for part in parts for ts in part.ts if ts]
            earliest = self.table.first_ts if self.table.rows else min(times, default=mtime)
            parts = [part._replace(ts=[ts or earliest for ts in part.ts]) for part in parts]
        return parts

    def _passed_over(self, file, used):
        """Return the bytes that must still be the same before what comes next, where the reader passed over
        bytes unread."""
        begin = max(0, self.position + used - CHECKED)
        file.seek(begin)
        return file.read(self.position + used - begin)

    # -- the column cache ------------------------------------------------------------------------------------

    def _cache(self):
        """Return where the parse is kept (str): found by device and inode, which a renamed file or folder
        keeps, else by the path."""
        name = f"{self._identity}" if self._identity[1] else os.path.abspath(self.path)
        # Two readings of one file are two parses
        name += "" if self._reading in SINGLE else self._reading
        return os.path.join(self._folder, sha256(os.fsencode(name)).hexdigest()[:32])

    def save(self) -> None:
        """Keep the parse in the cache if it grew enough to be worth it. Never raises: a cache is only a
        convenience."""
        grown = self.position - self._saved
        if not self._folder or grown < max(SAVE_BYTES, self._saved // 4):
            return
        head = {"identity": list(self._identity), "mtime": self._mtime, "length": self.position,
                "check": sha256(self._guard).hexdigest(), "kind": self._reading,
                "reader": self.reader.state()}
        with suppress(OSError):
            column_cache.save(self._cache(), head, self.table)
        # a full disk: parse again next time, and don't try at every append
        self._saved = self.position

    def _load(self, status):
        """Take the parse over from the cache if it is one of the first bytes of just this file."""
        try:
            head = (column_cache.load(self._cache(), self.table, lambda head: self._is_of(head, status))
                    if self._folder else None)
        except (OSError, EOFError, ValueError):
            self.table, self._guard = Table(self.reader.kind), b""
            return                          # absent or damaged: parse
        if head is None:
            return
        self.reader = self.make(head["reader"])
        self.position = self._saved = head["length"]
        with suppress(OSError):             # a cache we may only read serves as well
            os.utime(self._cache())         # `trim` drops what was not used for longest

    def _is_of(self, head, status):
        """Whether the cached parse is one of the bytes with which the file begins now; takes its guard then.
        Raises OSError."""
        if head.get("identity") != [status.st_dev, status.st_ino] or head.get("kind") != self._reading:
            return False
        if head["length"] > status.st_size:
            return False
        if head["length"] == status.st_size and head.get("mtime") != status.st_mtime_ns:
            # Rewritten to the same size, in place or under an inode that came back
            return False
        with open(open_regular(self.path), "rb") as file:
            file.seek(max(0, head["length"] - CHECKED))
            guard = file.read(min(CHECKED, head["length"]))
        self._guard = guard if sha256(guard).hexdigest() == head["check"] else b""
        return bool(self._guard)


def _as_local(times):
    """Return times (list of Unix s) that were read as UTC and are of this machine's zone."""
    ahead = [_ahead(ts) for ts in (times[0], times[-1])] if times else [0]
    if len(set(ahead)) > 1:
        return [ts and ts - _ahead(ts) for ts in times]
    return [ts and ts - ahead[0] for ts in times]


def _ahead(ts):
    """Return by how many seconds this machine's zone is ahead of UTC when its clocks show `ts` as if it were
    UTC."""
    return time.localtime(ts - time.localtime(ts).tm_gmtoff).tm_gmtoff
