"""The lines of a manifest where they lie, in its file, until somebody looks: 100,000 of them are 200 MB. Reads one file, writes nothing."""

import collections.abc
import os
import sys

HEAD = 512                      # bytes of a line that tell its digest, its times and its stamp


class Lines(collections.abc.MutableMapping):
    """{path of a run: its line (bytes)}; a line that nobody set is read from the manifest each time."""

    def __init__(self, places, read):
        """places: {path: a line (bytes), or its place as manifest.lines_of has it}; read: as of an OpenFile."""
        self.places, self.read = places, read

    def __getitem__(self, path):
        place = self.places[path]
        return place if type(place) is bytes else self.read(place)

    def head(self, path):
        """Return what manifest.HEAD matches of a line (bytes), b"" of one that is not there or can't be read any more."""
        place = self.places.get(path, b"")
        try:
            return place if type(place) is bytes else self.read(place, HEAD)
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


class OpenFile:
    """A file that stays open while somebody may ask for its bytes; whoever puts another in its place leaves it to us as it was."""

    def __init__(self, file, bits):
        """file: an open one, whose descriptor is duplicated; bits: so many of a place are its length, the others its start."""
        self._descriptor, self._bits, self._mask = os.dup(file.fileno()), bits, (1 << bits) - 1

    def read(self, place, most=sys.maxsize):
        """Return the bytes at a place, or the first `most` of them. Raises OSError: of a network folder an old file may be gone."""
        return os.pread(self._descriptor, min(place & self._mask, most), place >> self._bits)

    def __del__(self):
        os.close(self._descriptor)
