"""Looks at the runs that somebody watches ten times a second, at the rest every two seconds, and rings the
bell for what changed."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from runicorn import faults
from runicorn.errors import RunicornError
from runicorn.local_disk import is_shortage, shortage

if TYPE_CHECKING:
    from typing import Any

    from runicorn.news import Bell
    from runicorn.reader.catalog import Catalog
    from runicorn.viewer.home import Home

WATCHED = 0.1               # s between looks at the runs of open pages
REST = 2.0                  # s between looks at everything
GRACE = 1.0                 # s in which the first answers are given before the first look at everything
STEP = 0.25                 # s between looks whether somebody began to watch
LIST = 1.0                  # s between two rings of `runs` for mere growth: a list need not move faster
MOST = 50                   # running runs of an open list that are looked at ten times a second

log = logging.getLogger("runicorn")


class Poll:
    """One pass is `one_pass(now)`, seconds until the next; `run` loops over it, in a thread of its own, until
    any calls `stop`. home: the viewer's home.Home, if any."""

    def __init__(self, catalog: Catalog, bell: Bell, clock: Any = time.monotonic,
                 home: Home | None = None) -> None:
        self._catalog, self._bell, self._clock, self._home = catalog, bell, clock, home
        # When the last look at everything was, and the last ring for growth
        self._looked_at = self._list = float("-inf")
        self._grew = False                          # growth that `runs` was not rung for yet
        # What was said of the passes that fail, until one succeeds
        self._trouble = None
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._thread = None
        bell.wake("index", self._woken)

    def first_pass(self, now: float) -> float:
        """Have the reader know enough for a list; the pages that ask for it first are not kept waiting by the
        rest."""
        self._catalog.begin()
        if self._catalog.ready.is_set():
            self._looked_at = now - REST + GRACE
            self._bell.ring("runs")
        return 0.0 if not self._catalog.ready.is_set() else GRACE

    def one_pass(self, now: float) -> float:
        """Look at what is due at `now` (monotonic s), ring, and return the seconds until the next pass."""
        watched = self._bell.watched()
        keys = {topic[4:] for topic in watched if topic.startswith("run:")}
        if "runs" in watched and self._catalog.follow_mirrors():
            self._bell.ring("runs")         # to look at thousands of runs takes its time
        changed = False
        if now - self._looked_at >= REST:
            self._looked_at = now
            if self._home and self._home.look():
                self._bell.ring("connections")
            changed = self._catalog.refresh()
            grown, more = self._catalog.look()
        else:
            listed = self._catalog.beating()[:MOST] if "runs" in watched else ()
            grown, more = self._catalog.look(keys.union(listed)) if keys or listed else (set(), False)
        for key in grown:
            self._bell.ring(f"run:{key}")
        self._grew |= bool(grown) or self._catalog.owes
        if changed or more or (self._grew and now - self._list >= LIST):
            self._bell.ring("runs")
            self._list, self._grew = now, False
            self._catalog.owe(False)
        return WATCHED if keys or "runs" in watched else REST

    def start(self):
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="poll", daemon=True)
        self._thread.start()

    def run(self) -> None:
        turn = self.first_pass
        while not self._stopping.is_set():
            try:
                wait = turn(self._clock())
                self._trouble = None
            except Exception as error:      # one broken root must not stop the news of all others
                self._say(error)
                wait = REST
            turn = self.one_pass
            self._pause(wait)

    def _say(self, error):
        """Say a trouble once while it lasts, a mistake of ours once for all."""
        if not isinstance(error, RunicornError) and not is_shortage(error):
            faults.tell(log, error, "looking for changes")
        elif (words := shortage(error) or str(error)) != self._trouble:
            self._trouble = words
            log.warning("runicorn: looking for changes fails (%s); it is tried again every %.0f s", words,
                        REST)

    def _pause(self, wait):
        """Wait, but wake early when somebody begins to watch, or the index of a mirror was written."""
        until = self._clock() + wait
        while (not self._woken.wait(min(wait, STEP)) and self._clock() < until
               and not self._bell.watched()):
            pass
        self._woken.clear()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        if self._thread:
            self._thread.join(5)
