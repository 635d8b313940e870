"""What the server shows of a run whose files are not here, or not all of them: its log and spaced lines of
its events, read through the connection into memory, never into the mirror. The exact picture follows when the
files are here."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from runicorn.errors import RunicornError
from runicorn.metrics.samples import ENDS
from runicorn.reader.log import Log

if TYPE_CHECKING:
    from typing import Any

    from runicorn.metrics.series import Series
    from runicorn.reader.run_entry import Entry

BLOCK = 128 << 10           # bytes of a log read at once
# How the end of a log that grew is looked for: up to 4 ** LEAPS blocks on, then between PROBES places
LEAPS, PROBES = 11, 16

# a file is sampled again once it is so many times larger, or after so many times what its sample took
GREW, REST = 1.125, 20

_primed = weakref.WeakKeyDictionary()       # Series -> Primed
log = logging.getLogger("runicorn")


class Primed:
    """The samples of one Series, for any thread: `lock` is held by whoever takes one; `taken` is {file name:
    (size it was taken at, when it may be taken again at the earliest, monotonic s)}."""

    def __init__(self):
        self.lock, self.taken = threading.Lock(), {}

    def has(self, name: str, size: int) -> bool:
        """Whether the sample of a file that has `size` bytes now is good enough still."""
        taken_at, again = self.taken.get(name, (0, 0.0))
        return size == taken_at or taken_at < size < GREW * taken_at and time.monotonic() < again


def prime(connections: Any, entry: Entry, series: Series, ranks: list[int] | tuple[int] = (0,),
          wait: bool = True) -> None:
    """Tell `series` what is not here of its events, and give it a sample of each such file of `ranks`.
    Quietly does without where the line is down. wait: for a sample that another answer takes just now; a
    sample is 3 MB at most, which a thin line carries once only."""
    primed = _primed.setdefault(series, Primed())
    if not primed.lock.acquire(blocking=wait):
        return
    try:
        _prime(connections, entry, series, ranks, primed)
    finally:
        primed.lock.release()


def _prime(connections, entry, series, ranks, primed):
    sizes_here, sizes_there = entry.sizes(), entry.there()
    missing = {name: slot for name, slot in entry.slots().items()
               if sizes_here.get(name, 0) < sizes_there.get(name, 0)}
    series.expect({slot: sizes_there[name] for name, (slot, _) in missing.items()})
    for name, (slot, make) in sorted(missing.items()):
        size = sizes_there[name]
        if (slot[0] not in ranks or name in sizes_here and size - sizes_here[name] <= ENDS
                or primed.has(name, size)):
            continue
        began = time.monotonic()
        try:
            series.prime(slot, size, lambda spans, name=name: _blocks(connections, entry, name, spans), make)
            now = time.monotonic()
            primed.taken[name] = size, now + REST * (now - began)
        except RunicornError as error:
            # Sync brings the whole file as soon as it can
            log.info("%s: no first look at %s: %s", entry.key, name, error)


class FarLog(Log):
    """A run's log of which less is here than on the server: what is missing is read from there, into memory.

    Raises RunicornError when the line is down, OSError.
    """

    reach = 2 * BLOCK           # a log without stamps is not fetched for them

    def __init__(self, connections, entry, names):
        """names: the log's files in order, as the server has them (list of str)."""
        self._connections, self._entry, self._blocks = connections, entry, {}
        self._names = {os.fspath(entry.folder / name): name for name in names}
        self._local_sizes = {path: _size(path) for path in self._names}
        indexed = (entry.source.entry(entry.record.path) or {}).get("files", {})
        self._far_sizes = {path: max(self._local_sizes[path], (indexed.get(name) or {"size": 0})["size"])
                           for path, name in self._names.items()}
        last = list(self._names)[-1]
        if self._local_sizes[last] < self._far_sizes[last]:
            self._far_sizes[last] += self._growth(last)
        super().__init__(list(self._names))

    def _growth(self, path):
        """Return how many bytes a file grew by since the index was made; 0 while the line is down. Two round
        trips and a few more where that is more than a block."""
        base, low = self._far_sizes[path], 0
        try:
            first_block, *further = self._peek(path,
                                               [(base, BLOCK), *[(base + BLOCK * 4 ** power - 1, 1)
                                                                 for power in range(LEAPS)]])
            low, reached = len(first_block), sum(1 for byte in further if byte)
            if not reached:
                return low
            low, high = BLOCK * 4 ** (reached - 1), BLOCK * 4 ** reached
            while high - low > BLOCK:
                step = -(-(high - low) // PROBES)
                places = range(low + step, high, step)
                came = sum(1 for byte in self._peek(path, [(base + offset - 1, 1) for offset in places])
                           if byte)
                low, high = ((places[came - 1] if came else low),
                             (places[came] if came < len(places) else high))
            return low + len(self._peek(path, [(base + low, BLOCK)])[0])
        except RunicornError:
            return low

    def _peek(self, path, spans):
        return _blocks(self._connections, self._entry, self._names[path], spans)

    @property
    def covered(self) -> int:
        """How many bytes from its beginning are here (int)."""
        covered = 0
        for base, size, path in self._files:
            covered = base + self._local_sizes[path]
            if self._local_sizes[path] < size:
                break
        return covered

    def local(self) -> Log | None:
        """Return the Log of those `covered` bytes, None when there are none; its offsets are the same."""
        complete = 0
        for path in self.paths:
            complete += 1
            if self._local_sizes[path] < self._far_sizes[path]:
                break
        paths = [path for path in self.paths[:complete] if os.path.exists(path)]
        return Log(paths) if paths else None

    def _stat(self, path):
        return self._far_sizes[path], "far"

    def _piece(self, path, offset, length):
        end, piece = min(offset + length, self._far_sizes[path]), b""
        if offset < self._local_sizes[path]:
            piece = super()._piece(path, offset, min(end, self._local_sizes[path]) - offset)
        while offset + len(piece) < end:
            position = offset + len(piece)
            start = position - position % BLOCK
            block = self._block(path, start)[position - start:end - start]
            if not block:
                break               # cut there meanwhile
            piece += block
        return piece

    def _block(self, path, start):
        """Return up to BLOCK bytes at `start`, read once."""
        if (path, start) not in self._blocks:
            self._blocks[path, start] = self._peek(path, [(start, BLOCK)])[0]
        return self._blocks[path, start]

    def _number(self, offset):
        # Counting must not fetch the log
        return super()._number(offset) if offset <= self.covered else None


def _size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0                    # not here yet


def _blocks(connections, entry, name, spans):
    blocks = connections.peek(entry.source.slug, entry.record.path, name, spans)
    if blocks is None:
        raise RunicornError("its connection is not at work")
    return blocks
