"""Manifests that another machine sends, taken in piece by piece: never held twice, and never larger than
their runs explain."""

import io
import json
import zlib

from runicorn import manifest
from runicorn.manifest import ManifestError

START, END = b'\n"runs": {\n', b"\n},\n"
PIECE, PACKED = 1 << 20, 64 << 10       # bytes unpacked at once, and of what they are unpacked from
# Bytes that a manifest may have however few its runs, and for each of them; one takes 2,500
ROOM, PER_RUN = 64 << 20, 16 << 10


def read(pieces, name, unpacker=None):
    """Return the Manifest in `pieces` (iterable of bytes), plain or gzip, or as `unpacker`, a
    zlib.decompressobj, unpacks it.

    Raises ManifestError, which speaks of it by `name`.
    """
    return _Reading(name).all(_unpacked(pieces, name, unpacker))


def _unpacked(pieces, name, unpacker):
    """Yield the pieces unpacked, PIECE bytes at most each."""
    begun = unpacker is not None
    for piece in pieces:
        if not begun:
            begun, unpacker = True, zlib.decompressobj(31) if piece[:2] == b"\x1f\x8b" else None
        if not unpacker:
            yield piece
            continue
        for start in range(0, len(piece), PACKED):
            packed = piece[start:start + PACKED]
            try:
                while packed and not unpacker.eof:
                    yield unpacker.decompress(packed, PIECE)
                    packed = unpacker.unconsumed_tail
            except zlib.error as error:
                raise ManifestError(f"{name} is not packed as it says: {error}") from error
            if unpacker.eof and (packed or unpacker.unused_data):
                raise ManifestError(f"{name} goes on after its end; remake it with `runicorn manifest`")
    if unpacker and not unpacker.eof:
        raise ManifestError(f"{name} ends in the middle; remake it with `runicorn manifest`")


class _Reading:
    """A manifest that comes. What is small enough to be parsed at once is; the rest has to be laid out as
    ours are."""

    def __init__(self, name):
        self._name, self._data, self._size = name, bytearray(), 0
        # _head: what comes before the runs, once more came than is parsed at once
        self._head, self._lines = None, {}
        self._skipped = 0

    def all(self, pieces):
        for piece in pieces:
            self._size += len(piece)
            self._data += piece
            if self._size > manifest.PLAIN:
                self._take()
            if self._size > min(manifest.LIMIT, ROOM + PER_RUN * len(self._lines)):
                raise ManifestError(f"{self._name} has {self._size >> 20} MB and more for "
                                    f"{len(self._lines)} runs")
        if self._head is None:
            return manifest.parse(bytes(self._data), self._name)
        return self._whole()

    def _take(self):
        """Take the lines that are whole; what follows may be the last run's, or the end."""
        if self._head is None:
            start = self._data.find(START)
            if start < 0:
                raise ManifestError(f"{self._name} is larger than {manifest.PLAIN >> 20} MB and has not one "
                                    f"run a line")
            self._head = bytes(self._data[:start])
            del self._data[:start + len(START)]
        end = (self._data.rfind(b"\n", 0, max(0, len(self._data) - PIECE)) if len(self._data) > 2 * PIECE
               else -1)
        if end < 0:
            if len(self._data) > manifest.LINE + 2 * PIECE:
                raise ManifestError(f"{self._name} has a run of more than {manifest.LINE >> 20} MB")
            return
        self._add(bytes(self._data[:end + 1]))
        del self._data[:end + 1]

    def _add(self, block):
        places, skipped, _ = manifest.lines_of(io.BytesIO(block), 0)
        for path, position in places.items():
            start = position >> manifest.BITS
            self._lines[path] = block[start:start + (position & manifest.MASK)]
        self._skipped += skipped
        if len(self._lines) > manifest.RUNS:
            raise ManifestError(f"{self._name} has more than {manifest.RUNS} runs")

    def _whole(self):
        end = self._data.rfind(END)
        if end < 0:
            raise ManifestError(f"{self._name} ends in the middle; remake it with `runicorn manifest`")
        self._add(bytes(self._data[:end + 1]))
        try:
            header = json.loads(
                (self._head.rstrip(b",") + b"," + self._data[end + len(END):]).decode("utf-8"))
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict):
            raise ManifestError(f"{self._name} is not JSON; remake it with `runicorn manifest`")
        return manifest.Manifest(manifest.checked_header(header, self._name), self._lines,
                                 {"not JSON": self._skipped} if self._skipped else None)
