"""Numbers that lie in a file and are read where somebody asks: ten million rows need not be in memory. What
comes new is, until it is put beside the others."""

from __future__ import annotations

import errno
import os
import tempfile
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

LONG = 1 << 18              # numbers from which a column is worth a file
PAGE, PAGES = 512, 16       # numbers that are read for one; so many of these are remembered of a column
STRETCH = 1 << 15           # numbers that are gone through at once
# Windows can't replace a file that is open: there numbers stay in memory
POSSIBLE = hasattr(os, "pread")


class Store:
    """A file that stays open as it is, whatever is put in its place. `lost`: whether it could not be read."""

    _descriptor: Any = None

    def __init__(self, file: BinaryIO) -> None:
        """file: an open one, whose descriptor is duplicated. Raises OSError."""
        self._descriptor, self.lost = os.dup(file.fileno()), False

    def read(self, offset: int, numbers: array[Any]) -> None:
        """Fill an array from the bytes at `offset`. Raises OSError, also where the file ends before."""
        view = memoryview(numbers).cast("B")
        try:
            while view:
                data = os.pread(self._descriptor, len(view), offset)
                if not data:
                    raise OSError(errno.EIO, "the column cache was cut short; the next look makes it anew")
                view[:len(data)] = data
                view, offset = view[len(data):], offset + len(data)
        except OSError:
            self.lost = True
            raise

    def write(self, offset: int, numbers: array[Any]) -> None:
        """Write an array from `offset` on. Raises OSError."""
        view = memoryview(numbers).cast("B")
        while view:
            count = os.pwrite(self._descriptor, view, offset)
            view, offset = view[count:], offset + count

    def __del__(self, close=os.close):       # at the end of a process `os` may be gone before us
        if self._descriptor is not None:
            close(self._descriptor)


class Stored:
    """An array of which the first numbers lie in files and the last are in memory. One thread at a time."""

    def __init__(self, numbers: array[Any], pieces: Any = ()) -> None:
        """numbers: those in memory; pieces: [(Store, offset, how many)] of those before. Reading raises
        OSError."""
        self.typecode, self.itemsize = numbers.typecode, numbers.itemsize
        self._tail, self._pieces, self._ends, self._pages = numbers, [], [], {}
        for piece in pieces:
            self._add(*piece)

    def _add(self, store, offset, count):
        self._pieces.append((store, offset))
        self._ends.append(self._stored + count)

    @property
    def _stored(self):
        return self._ends[-1] if self._ends else 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self.itemsize * (len(self._tail) + PAGE * len(self._pages))

    @property
    def lost(self) -> bool:
        """Whether a file of it could not be read."""
        return any(store.lost for store, _ in self._pieces)

    def __len__(self) -> int:
        return self._stored + len(self._tail)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return self._span(start, max(start, stop)) if step == 1 else self._span(0, len(self))[index]
        index += len(self) if index < 0 else 0
        if not 0 <= index < len(self):
            raise IndexError("array index out of range")
        if index >= self._stored:
            return self._tail[index - self._stored]
        page = index // PAGE
        if page not in self._pages:
            while len(self._pages) >= PAGES:
                del self._pages[next(iter(self._pages))]
            self._pages[page] = self._span(page * PAGE, min(self._stored, (page + 1) * PAGE))
        return self._pages[page][index % PAGE]

    def _span(self, start, stop):
        parts, at = [], start
        number = bisect_right(self._ends, start)
        while at < min(stop, self._stored):
            store, offset = self._pieces[number]
            begin, end = self._ends[number - 1] if number else 0, min(stop, self._ends[number])
            part = array(self.typecode, bytes(self.itemsize)) * (end - at)
            store.read(offset + (at - begin) * self.itemsize, part)
            parts.append(part)
            at, number = end, number + 1
        if stop > self._stored or not parts:
            parts.append(self._tail[max(0, start - self._stored):max(0, stop - self._stored)])
        whole = parts[0]
        for part in parts[1:]:
            whole.extend(part)
        return whole

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), STRETCH):
            yield from self[start:start + STRETCH]

    def extend(self, numbers: Any) -> None:
        """Append numbers, as an array does."""
        self._tail.extend(numbers)

    def tofile(self, file: BinaryIO) -> None:
        """Write all of it to an open file. Raises OSError."""
        for start in range(0, len(self), STRETCH):
            self[start:start + STRETCH].tofile(file)

    def settle(self, store: Store, offset: int) -> int:
        """Write what is in memory to a Store from `offset` on and let it go; return after which offset others
        may write. Raises OSError, and keeps it then."""
        count = len(self._tail)
        store.write(offset, self._tail)
        self._pages.pop(self._stored // PAGE, None)         # which ended in the middle
        self._add(store, offset, count)
        self._tail = array(self.typecode)
        return offset + count * self.itemsize


class Spool:
    """A nameless file for what is in memory of long columns."""

    def __init__(self, folder: str) -> None:
        """folder: where the file may lie. Raises OSError."""
        with tempfile.TemporaryFile(dir=folder) as file:
            self._store, self._end = Store(file), 0

    def put(self, numbers: array[Any] | Stored) -> Stored:
        """Return numbers of which none is in memory any more. Raises OSError."""
        stored = numbers if isinstance(numbers, Stored) else Stored(numbers)
        self._end = stored.settle(self._store, self._end)
        return stored


def held(numbers: array[Any] | Stored) -> int:
    """Return how many bytes of memory numbers take."""
    return numbers.held if isinstance(numbers, Stored) else len(numbers) * numbers.itemsize
