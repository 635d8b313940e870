"""Which paths of a server are LSTATed, run by run: of a look at those that go on, of a turn through all. Asks
no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn import foreign, layout, local_names

if TYPE_CHECKING:
    from runicorn.left_out import LeftOut
    from runicorn.mirror.remote_index import RemoteIndex
    from runicorn.mirror.walk import Skeleton

LOOKED = 64                     # files of one run that are LSTATed; the rest shows when the folder is listed


class LookedAt:
    """The names of runs' files, folders ("checkpoints/") and own folders (""), and the absolute paths they
    are asked by."""

    def __init__(self, root: str, index: RemoteIndex, skeleton: Skeleton, left_out: LeftOut) -> None:
        """root: absolute; index: remote_index.RemoteIndex; skeleton: walk.Skeleton; left_out:
        left_out.LeftOut."""
        self._root, self._index, self._skeleton, self._left_out = root, index, skeleton, left_out

    def absolute(self, path: str, name: str) -> str:
        """Return the absolute path (str) of the file or folder `name` of a run."""
        if path in self._index.foreign:
            return "/".join(filter(None, (self._root, self._index.folder(path), name)))
        return f"{self._root}/{path}/{name}".rstrip("/") if name else self._skeleton.absolute(path)

    def names(self, path: str) -> list[str]:
        """Return the names in a run that goes on (list of str)."""
        if path in self._index.foreign:
            files = self._index.entry(path)["files"]
            return ["", *sorted(files, key=lambda name: files[name]["mtime"] or 0, reverse=True)[:LOOKED]]
        names = [name for name in self._index.entry(path)["files"] if "/" not in name]
        return ["", *sorted(names, key=lambda name: not local_names.is_own(name))[:LOOKED],
                *self._left_out.folders(path)]

    def often(self, path):
        """Return the names that are LSTATed in a run whose tails are read: its folder, and small files that
        are replaced."""
        files = self._index.entry(path)["files"]
        if path in self._index.foreign:
            return ["", *[name for name in files if name.endswith(foreign.STATE)]]
        return ["", *[name for name in layout.SMALL[1:] if name in files]]

    def of_first_survey(self, vanished, now):
        """Return the absolute paths of the folders above the runs, and of what is in the runs that go on, but
        for `vanished` (set)."""
        running = [path for path in self._index.paths()
                   if not self._index.ended(path) and path not in vanished]
        return [*map(self._skeleton.absolute, self._skeleton.known(now)),
                *(self.absolute(path, name) for path in running for name in self.names(path))]

    def turn(self, vanished):
        """Return [(run path, names), …] of a new turn: every run but for `vanished` (set), with its folder,
        files and folders below."""
        paths = sorted(path for path in self._index.paths()
                       if path not in vanished and self._index.believes(path))
        return [(path, self._all_names(path)) for path in paths]

    def _all_names(self, path):
        files = [name for name in self._index.entry(path)["files"] if self._index.believes(path, name)]
        if path in self._index.foreign:
            return ["", *files]
        below = {name.rpartition("/")[0] for name in files} - {""}
        return ["", *files, *(f"{folder}/" for folder in below), *self._left_out.folders(path)]
