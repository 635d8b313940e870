"""The lines of a manifest where they lie, in a file, until somebody looks: 100,000 of them are 200 MB."""

import collections.abc
import os
import sys
import tempfile

MANY = 1000                     # lines in memory that are not worth a file
HEAD = 512                      # bytes of a line that tell its digest, its times and its stamp


class Lines(collections.abc.MutableMapping):
    """{path of a run: its line (bytes)}; a line that nobody set is read from the manifest each time."""

    def __init__(self, places, read):
        """places: {path: a line (bytes), or its place as manifest.lines_of has it}; read: as of an
        OpenFile."""
        self.places, self.read = places, read

    def __getitem__(self, path):
        position = self.places[path]
        return position if type(position) is bytes else self.read(position)

    def head(self, path):
        """Return what manifest.HEAD matches of a line (bytes), b"" of one that is not there or can't be read
        any more."""
        position = self.places.get(path, b"")
        try:
            return position if type(position) is bytes else self.read(position, HEAD)
        except OSError:
            return b""

    def __setitem__(self, path, line):
        self.places[path] = line

    def __delitem__(self, path):
        del self.places[path]

    def __iter__(self):
        return iter(self.places)

    def __len__(self):
        return len(self.places)

    def __contains__(self, path):
        return path in self.places

    def keys(self):
        """Return the paths (a set-like view)."""
        return self.places.keys()

    def other(self, places):
        """Return Lines of other places in the same file."""
        return Lines(places, self.read)


class OpenFile:
    """A file that stays open while somebody may ask for its bytes; whoever puts another in its place leaves
    it to us as it was."""

    _descriptor = None

    def __init__(self, file, bits):
        """file: an open one, whose descriptor is duplicated; bits: so many of a place are its length, the
        others its start."""
        self._descriptor, self._bits, self._mask = os.dup(file.fileno()), bits, (1 << bits) - 1

    def read(self, position, most=sys.maxsize):
        """Return the bytes at a place, or the first `most` of them. Raises OSError: of a network folder an
        old file may be gone."""
        return os.pread(self._descriptor, min(position & self._mask, most), position >> self._bits)

    def write(self, start, data):
        """Write bytes from `start` on; return how many there was room for. Raises OSError."""
        return os.pwrite(self._descriptor, data, start)

    def __del__(self, close=os.close):       # at the end of a process `os` may be gone before us
        if self._descriptor is not None:
            close(self._descriptor)


class Spool(Lines):
    """Lines that go to a nameless file as they are set, for one thread; in memory where there is no room for
    it."""

    def __init__(self, folder, bits):
        """folder: where the file may lie; bits: see OpenFile. Raises OSError."""
        with tempfile.TemporaryFile(dir=folder) as file:
            source = OpenFile(file, bits)
        self._write, self._bits, self._end = source.write, bits, 0
        super().__init__({}, source.read)

    def __setitem__(self, path, line):
        try:
            is_complete = self._write(self._end, line) == len(line)
        except OSError:
            is_complete = False     # a full disk
        self.places[path] = (self._end << self._bits) + len(line) if is_complete else line
        self._end += len(line) if is_complete else 0


def spooled(lines, folder, bits):
    """Return {path: line} (dict or Lines) as it is, or where more than MANY of the lines are in memory as a
    Spool in `folder`."""
    places = getattr(lines, "places", lines)
    if sum(type(position) is bytes for position in places.values()) <= MANY or not hasattr(os, "pread"):
        return lines
    try:
        spool = Spool(folder, bits)
    except OSError:
        return lines                # no such folder, or no room in it
    for path in places:
        spool[path] = lines[path]
    return spool
