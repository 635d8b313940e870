"""Makes symbolic links look as junctions of Windows do to a Python before 3.12: folders, whose lstat has a
reparse tag."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

from runicorn import local_disk, manifest

MOUNT_POINT = 0xA0000003        # IO_REPARSE_TAG_MOUNT_POINT


def pose(monkeypatch):
    """From now on in this test every symbolic link to a folder is a junction."""
    scandir, lstat, is_symlink = os.scandir, os.lstat, Path.is_symlink

    def is_link(path):
        try:
            return stat.S_ISLNK(lstat(path).st_mode)
        except OSError:
            return False

    def is_junction(path):
        return is_link(path) and os.path.isdir(path)

    class Entry:
        def __init__(self, entry):
            self.name, self.path = entry.name, entry.path
            self._entry, self._is = entry, is_junction(entry.path)

        def is_symlink(self):
            return not self._is and self._entry.is_symlink()

        def is_dir(self, follow_symlinks=True):
            return self._entry.is_dir(follow_symlinks=follow_symlinks or self._is)

        def is_file(self, follow_symlinks=True):
            return self._entry.is_file(follow_symlinks=follow_symlinks)

        def stat(self, follow_symlinks=True):
            return told(self._entry.stat(follow_symlinks=follow_symlinks), self._is and not follow_symlinks)

        def __fspath__(self):
            return self.path

    class Listed:
        def __init__(self, path):
            self._entries = scandir(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()

        def __iter__(self):
            return map(Entry, self._entries)

        def __next__(self):
            return Entry(next(self._entries))

        def close(self):
            self._entries.close()

    def told(status, junction):
        names = [name for name in dir(status) if name.startswith("st_")]
        shown = {name: getattr(status, name) for name in names}
        if junction:
            shown["st_mode"] = stat.S_IFDIR | 0o777
        return Status(status, shown, MOUNT_POINT if junction else 0)

    class Status(SimpleNamespace):
        def __init__(self, status, shown, tag):
            super().__init__(**shown, st_reparse_tag=tag)
            self._whole = (shown["st_mode"], *status[1:])

        def __getitem__(self, place):
            return self._whole[place]

    def linked(path, *more, **words):
        return told(lstat(path, *more, **words), not words and is_junction(path))
    def realpath(path, **_):                # which knows junctions
        descriptor = os.open(path, os.O_PATH)
        try:
            return os.readlink(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    monkeypatch.setattr(os, "scandir", Listed)
    monkeypatch.setattr(os.path, "realpath", realpath)
    monkeypatch.setattr(os, "lstat", linked)
    monkeypatch.setattr(os.path, "islink", lambda path: is_link(path) and not is_junction(path))
    monkeypatch.setattr(Path, "is_symlink", lambda path: is_symlink(path) and not is_junction(path))
    monkeypatch.setattr(local_disk, "JUNCTIONS", True)
    for name in ("scandir", "is_link"):         # as the manifest takes them on Windows
        monkeypatch.setattr(manifest, name, getattr(local_disk, name))
