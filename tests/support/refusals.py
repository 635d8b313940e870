"""Disks that refuse: a file that is held open elsewhere, one that may grow no further."""

import errno
import os

import pytest

from runicorn.mirror import local_copy


class Refusals:
    """Stands for an os function that Windows refuses `count` times while a reader has the file open."""

    def __init__(self, monkeypatch, name, count, winerror=5, only=""):
        self.act, self.count, self.tries = getattr(os, name), count, 0
        self.winerror, self.only = winerror, only
        monkeypatch.setattr(os, name, self)

    def __call__(self, *names, **more):
        if self.only in os.fspath(names[-1]):
            self.tries += 1
            if self.tries <= self.count:
                error = PermissionError(13, "Access is denied", os.fspath(names[0]))
                error.winerror = self.winerror
                raise error
        return self.act(*names, **more)


ONE_FILE = (errno.ENAMETOOLONG, errno.EACCES, errno.EISDIR, errno.EILSEQ, errno.ENOTDIR, errno.EFBIG,
            errno.ELOOP, errno.EINVAL)


class Refusing(local_copy.LocalCopy):
    """A mirror on a disk that refuses files whose name begins with `odd`."""

    number = errno.ENAMETOOLONG

    def place(self, path, name):
        place = super().place(path, name)
        return place if not name.startswith("odd") or self.number is None else Refused(place, self.number)


class Refused(str):
    """A path on which every call of the system fails."""

    def __new__(cls, place, number):
        made = super().__new__(cls, place)
        made.number = number
        return made


@pytest.fixture
def refusing(monkeypatch):
    """Make opens and replacements of `Refused` places fail as their error number says."""
    def failing(call):
        def tried(place, *rest, **named):
            if isinstance(place, Refused):
                raise OSError(place.number, os.strerror(place.number), str(place))
            return call(place, *rest, **named)
        return tried
    monkeypatch.setattr(local_copy.layout, "replace_file", failing(local_copy.layout.replace_file))
    monkeypatch.setattr(local_copy.os, "open", failing(os.open))


LONG = ("n" * 255, "图" * 80 + ".png", "图" * 85, "é" * 127, "😀" * 63, "n" * 241 + ".pt", "x" * 236 + ".npy",
        "." + "h" * 254)


def giant(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.truncate(size)
