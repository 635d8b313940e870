"""When is each run that goes on looked at again? Those that show no change in a crowd come less often. Keeps
times, asks no server."""

from __future__ import annotations

from runicorn.mirror import plan

# s; a run without an end that shows no change is looked at at least so often …
QUIET = 600.0
CROWD = 200                     # … where there are more of them than this; fewer are looked at every time


class Looks:
    """When the files of runs (by path) were last looked at, and last seen to change; all times are our
    clock.Clock's, s."""

    def __init__(self) -> None:
        self._next, self._changed, self._looked = {}, {}, {}

    def due(self, paths, now):
        """Return those of the runs `paths` that are looked at now (list)."""
        return [path for path in paths if now >= self._next.get(path, 0)]

    def knows(self, path: str) -> bool:
        """Whether a run's files were looked at before (bool)."""
        return path in self._looked

    def look(self, path: str, now: float) -> None:
        """A run's files were looked at."""
        self._looked[path] = now

    def change(self, path: str, now: float) -> None:
        """A run's files changed: the next look comes as soon as any."""
        self._changed[path] = now
        self._next.pop(path, None)

    def oldest(self, paths, now):
        """Return since when each of the runs `paths` was looked at (s), `now` where there are none."""
        return min((self._looked.get(path, 0.0) for path in paths), default=now)

    def space(self, paths, now, age):
        """Have the runs `paths`, just looked at, wait a tenth of the time they were quiet, where they are
        many.

        age(path): how old the newest file of a run is (s).
        """
        for path in paths if len(paths) > CROWD else ():
            quiet = min(now - self._changed.get(path, 0), age(path))
            self._next[path] = now + min(max(0, quiet / 10), QUIET)

    def forgive(self) -> None:
        """Look at all of them at the next occasion."""
        self._next.clear()


class Turns:
    """What is looked at in turn where it is much."""

    def __init__(self) -> None:
        self._next_member = 0

    def take(self, members, most):
        """Return those of `members` (list) whose turn it is, at most `most`."""
        if len(members) <= most:
            return members
        self._next_member = (self._next_member + most) % len(members)
        return (members + members)[self._next_member:self._next_member + most]


class FolderTimes:
    """The mtimes (s) of the folders of runs, and of those below, "checkpoints/", as LSTATs and listings show
    them."""

    def __init__(self) -> None:
        self._mtimes = {}               # "run path", "run path/checkpoints/" -> mtime
        self._observed = {}             # run path -> (its folder's mtime, when first seen so)

    def __contains__(self, path: str) -> bool:
        return path in self._mtimes

    def moved(self, path, name, before, mtime):
        """Take the LSTAT of a folder of the run `path`, "" or "checkpoints/"; returns whether that was
        another one before.
        before: the mtime of the run's own folder so far."""
        before = self._mtimes.get(f"{path}/{name}") if name else before
        self._mtimes[f"{path}/{name}" if name else path] = mtime
        return mtime is not None and (before is None or int(before) != mtime)

    def take(self, path, files, mtime):
        """Take the folders out of a listing `files` (walk.RunFiles); returns the mtime of the run's own.
        mtime: as the folder above lists it, for servers that list no "."."""
        mtime = files.pop(".", {"mtime": self._mtimes.get(path, mtime)})["mtime"]
        for name in [name for name in files if name.endswith("/")]:
            self._mtimes[f"{path}/{name}"] = files.pop(name)["mtime"]
        self._mtimes[path] = mtime
        return mtime

    def settles(self, path, mtime, now, wall):
        """Return when to list a run's folder once more (s), as it may still change within the second of its
        mtime; else None."""
        old, observed = self._observed.get(path, (None, now))
        observed = observed if old == mtime else now
        if plan.settled(mtime, observed, now, wall):
            self._observed.pop(path, None)
            return None
        self._observed[path] = mtime, observed
        return observed + 2
