"""What other loggers wrote inside the folder of a run of ours: its curves join the run's under the name of
the folder they lie in."""

from __future__ import annotations

import collections
import os
from typing import TYPE_CHECKING, NamedTuple

from runicorn import foreign, layout, local_disk
from runicorn.metrics.foreign_files import reader_of

if TYPE_CHECKING:
    from typing import Any

    from runicorn.metrics.parse import Part

FOLDERS = 500               # of one run that are looked into
OWN = ("media",)            # folders whose content is the run's own
SKIPPED = ("log",)          # kinds that are not read here: what a program prints stands in the run's log


class Joined:
    """A reader whose metrics have a name before theirs; what else the file tells is not told."""

    grid = 0                    # there is no sample

    def __init__(self, make: Any, prefix: str, state: Any = None) -> None:
        """make: function(state) returning the reader of the file's kind."""
        self._reader, self._prefix, self._names = make(state), f"{prefix}/", {}
        self.kind, self.state = f"{self._reader.kind} in {prefix}", self._reader.state

    @property
    def skipped(self):
        return self._reader.skipped

    def take(self, block: bytes, remaining: int) -> tuple[int, list[Part]]:
        used, parts = self._reader.take(block, remaining)
        return used, [part._replace(names=self._joined(part.names)) for part in parts]

    def _joined(self, names):
        if names not in self._names:
            self._names[names] = tuple([self._prefix + name for name in names])
        return self._names[names]

    def facts(self) -> dict[str, Any]:
        facts = self._reader.facts()
        purges = [[row, step, names and [self._prefix + name for name in names]]
                  for row, step, names in facts.get("purges") or ()]
        return {"purges": purges, **({"no_times": True} if facts.get("no_times") else {})}


class Inner(NamedTuple):
    """Makes the Joined reader of one file. Called with a state."""

    make: object
    prefix: str

    def __call__(self, state=None):
        return Joined(self.make, self.prefix, state)


class InnerFiles:
    """The files of one run, looked for again where a folder changed. For one thread at a time."""

    def __init__(self):
        self._mtimes, self._answer = {}, {}      # folder below the run's -> its mtime; the last answer
        self._listed = {}                       # … -> what a Finder takes
        self._kinds = {}                        # as foreign.find has it
        # whether a text file is of no kind yet, which no folder's mtime will tell of
        self._waits = False

    def __call__(self, folder):
        """Return {("inner", 0, number): (path, function(state) returning its reader)}."""
        if (self._mtimes and not self._waits
                and all(_mtime(folder, path) == mtime for path, mtime in self._mtimes.items())):
            return self._answer
        finder, ahead, mtimes = foreign.Finder(collections.Counter(), OWN), [""], {}
        while ahead and len(mtimes) < FOLDERS:
            path = ahead.pop()
            mtimes[path] = _mtime(folder, path)
            if path not in self._listed or self._mtimes.get(path) != mtimes[path] or self._waits:
                self._listed[path] = _entries(folder, path)
            ahead += finder.take(path, self._listed[path])
        foreign.look_into(finder, folder, self._kinds)
        self._mtimes, self._waits = mtimes, any(kind is None for _, kind in self._kinds.values())
        kinds = {run.path: foreign.without_twins(finder.kinds_of(run.path)) for run in finder.runs(folder)}
        self._answer = _numbered(folder, kinds)
        return self._answer


def _numbered(folder, runs):
    """Return what InnerFiles does of {path of a run in the folder: {name of a file: kind}}."""
    places = []
    for path, kinds in runs.items():
        for name, kind in kinds.items():
            if kind not in SKIPPED:
                prefix = kind if path == "." else path.replace("/:", "/").lstrip(":")
                places.append((-foreign.KINDS.index(kind), foreign.below(foreign.folder_of(path), name), kind,
                               prefix))
    return {("inner", 0, number): (os.path.join(folder, path_inside), Inner(reader_of(kind), prefix))
            for number, (_, path_inside, kind, prefix) in enumerate(sorted(places), 1)}


def _mtime(folder, path):
    """Return a folder's mtime (ns); one that is equal to nothing where it tells no change yet, or the folder
    was taken away."""
    try:
        mtime = os.stat(os.path.join(folder, path)).st_mtime_ns
    except OSError:
        return float("nan")
    return mtime if layout.tells_changes(mtime) else float("nan")


def _entries(folder, path):
    """Return what is in a folder of the run, but for the files that make it one."""
    try:
        entries = foreign.listed(os.path.join(folder, path))
    except OSError as error:
        local_disk.pass_over(error)
        return []
    return (entries if path
            else [entry for entry in entries if not (entry[0] in layout.SMALL or layout.parse_own(entry[0]))])
