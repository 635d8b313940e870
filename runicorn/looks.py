"""When is each run that goes on looked at again? Those that show no change in a crowd come less often. Keeps times, asks no server."""

QUIET = 600.0                   # s; a run without an end that shows no change is looked at at least so often …
CROWD = 200                     # … where there are more of them than this; fewer are looked at every time


class Looks:
    """When the files of runs (by path) were last looked at, and last seen to change; all times are our clock.Clock's, s."""

    def __init__(self):
        self._next, self._changed, self._looked = {}, {}, {}

    def due(self, paths, now):
        """Return those of the runs `paths` that are looked at now (list)."""
        return [path for path in paths if now >= self._next.get(path, 0)]

    def look(self, path, now):
        """A run's files were looked at."""
        self._looked[path] = now

    def change(self, path, now):
        """A run's files changed: the next look comes as soon as any."""
        self._changed[path] = now
        self._next.pop(path, None)

    def oldest(self, paths, now):
        """Return since when each of the runs `paths` was looked at (s), `now` where there are none."""
        return min((self._looked.get(path, 0.0) for path in paths), default=now)

    def space(self, paths, now, age):
        """Have the runs `paths`, just looked at, wait a tenth of the time they were quiet, where they are many.

        age(path): how old the newest file of a run is (s).
        """
        for path in paths if len(paths) > CROWD else ():
            quiet = min(now - self._changed.get(path, 0), age(path))
            self._next[path] = now + min(max(0, quiet / 10), QUIET)

    def forgive(self):
        """Look at all of them at the next occasion."""
        self._next.clear()
