"""Where the runs of a mirror lie. A disk that ignores case would take two of them for one: the second has a
place of its own."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import foreign, layout, local_names

if TYPE_CHECKING:
    from collections.abc import Iterable

# In a mirror's .index: {run path: the path at which it lies below the mirror}, of those that lie elsewhere
FILE = "places.json"


def read(mirror):
    """Return what FILE says of the mirror in a folder (Path): dict of str."""
    listed = layout.read_json(mirror / layout.INDEX / FILE) or {}
    return {path: run_place for path, run_place in listed.items() if isinstance(run_place, str)}


def folder(mirror, path, places, plain=()):
    """Return where the files of a run lie (Path); see local_names.local_path."""
    return Path(place(mirror, path, places, plain))


def place(mirror, path, places, plain=()):
    """As `folder`, as a str."""
    run_folder = foreign.folder_of(places.get(path, path))
    return local_names.place(mirror, run_folder, plain) if run_folder else os.fspath(mirror)


class Places:
    """The places of all runs of a mirror, for the process that writes it."""

    def __init__(self, places):
        """places: as `read` has them."""
        self.elsewhere = dict(places)
        self._runs = {}                 # what a disk that ignores case sees of a place -> the run that has it
        self._settled = set()
        self.settle(self.elsewhere)

    def settle(self, paths: Iterable[str]) -> bool:
        """Give each of some runs (iterable of str) a place; returns whether one of them lies elsewhere than
        its path says, anew."""
        before = len(self.elsewhere)
        for path in paths:
            if path not in self._settled:
                run_place = self._free(path)
                self._runs[local_names.folded(run_place)] = path
                self._settled.add(path)
                if run_place != path:
                    self.elsewhere[path] = run_place
        return len(self.elsewhere) > before

    def _free(self, path):
        if path in self.elsewhere:
            return self.elsewhere[path]
        above, _, run_id = path.rpartition("/")
        names = (local_names.twin_name(f"{run_id}~{number}" if number else run_id)
                 for number in itertools.count())
        places = itertools.chain([path], (f"{above}/{name}" for name in names))
        return next(run_place for run_place in places
                    if self._runs.get(local_names.folded(run_place), path) == path)

    def rename(self, old, new, is_taken):
        """The run `old` is called `new` now: that lies where it would without `old`, unless something is
        there that `is_taken(place)` says is another run's. Returns whether that is another place than it
        had."""
        before = self.elsewhere.get(new, new)
        self.forget(old)
        self.forget(new)
        run_place = self._free(new)
        run_place = before if run_place != before and is_taken(run_place) else run_place
        self._runs[local_names.folded(run_place)] = new
        self._settled.add(new)
        self.elsewhere.update({new: run_place} if run_place != new else {})
        return run_place != before

    def forget(self, path: str) -> bool:
        """A run is not here any more; returns whether it lay elsewhere."""
        self._runs = {folded: run for folded, run in self._runs.items() if run != path}
        self._settled.discard(path)
        return self.elsewhere.pop(path, None) is not None
