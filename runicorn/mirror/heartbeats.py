"""Which runs are alive: the live files on the server and when they were seen to change on our clock. Only
looks, judges nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runicorn import layout
from runicorn.errors import MissingFileError, SftpError
from runicorn.mirror import plan, walk
from runicorn.mirror.looks import Turns
from runicorn.ssh import sftp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runicorn.mirror.seams import Client

LIMIT = 64 << 10                # bytes of a live file
# s that another logger's run is looked at often, since it grew or since it was first seen
GROWING, EXPECTED = 600.0, 90.0
PLACES = 50                     # live files LSTATed per look, in turn


class Beats:
    """The running runs of one server: `runs` is {run path: {"beat", "seen", "first", "looked", "read"}}.

    beat: its heart's mtime on the server's clock, s, or None; seen: when a change was last seen, first: when
    the run was,
    looked: when its heart was last looked at (its files where it has none), read: when its files were; all on
    our clock.Clock, s. A heart is the run's live file, or .beat in its own folder.
    """

    def __init__(self, client: Client, root: str, wall: Callable[[float], float]) -> None:
        """wall: clock.Clock.wall."""
        self.client, self._wall = client, wall
        self.folder = f"{root}/{layout.HIDDEN}/live"
        self.runs = {}
        self._files = {}                # absolute path of a live file -> run path
        self._own = {}                  # absolute path of a .beat -> run path
        self._expected = {}             # run path of another logger -> since when
        self._beating = set()           # run paths that have either
        self._mtime, self._observed = None, 0.0
        self._turns = Turns()

    def ask(self):
        """Return the absolute paths to LSTAT now: the live folder, and hearts in turn."""
        self._beating = {*self._files.values(), *self._own.values()}
        return [self.folder, *self._turns.take(sorted([*self._files, *self._own]), PLACES)]

    def take(self, stats, now):
        """Take the answers ({absolute path: Attrs or SftpError}); lists the folder when it moved. Returns new
        run paths (list)."""
        for path, attrs in stats.items():
            run = self._files.get(path) or self._own.get(path)
            if run and not isinstance(attrs, SftpError):
                self.beat(run, attrs.mtime, now)
            elif run:
                self._own.pop(path, None)       # of the live files, the listing of their folder tells
        folder = stats.get(self.folder)
        if folder is None or isinstance(folder, SftpError):
            return self._none() if isinstance(folder, MissingFileError) else []
        moved = folder.mtime != self._mtime
        if not moved and plan.settled(folder.mtime, self._observed, now, self._wall(now)):
            return []
        if moved:
            self._mtime, self._observed = folder.mtime, now
        elif now >= self._observed + 2:
            self._observed = 0.0        # this listing is the last one this mtime needs
        return self._list(now)

    def _none(self):
        self._files.clear()
        return []

    def _list(self, now):
        listing = walk.list_folders(self.client, [self.folder])[self.folder]
        if isinstance(listing, SftpError):
            return []
        hearts = {f"{self.folder}/{name}": attrs for name, attrs in listing
                 if name.endswith(".json") and sftp.is_file(attrs) and (attrs.size or 0) <= LIMIT}
        for path in set(self._files) - set(hearts):
            del self._files[path]
        new = self._read([path for path in hearts if path not in self._files])
        self._files.update(new)
        for path, run in self._files.items():
            self.beat(run, hearts[path].mtime, now)
        return list(new.values())

    def _read(self, paths):
        """Return {live file: run path} of new live files, those that name a run of their own id."""
        runs = {}
        for path, text in zip(paths, self.client.parts([(path, 0, LIMIT) for path in paths])):
            try:
                run = json.loads(text).get("path")
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue            # half written, or no live file: the next listing shows it again
            if (isinstance(run, str) and plan.believable(run)
                    and path.endswith(f"/{run.rsplit('/', 1)[-1]}.json")):
                runs[path] = run
        return runs

    def own_heart(self, run: str, path: str, mtime: float | None, now: float) -> None:
        """Note the beat of a run that beats in its own folder: on the file `path` (absolute)."""
        self._own[path] = run
        self.beat(run, mtime, now)

    def beat(self, run: str, mtime: float | None, now: float) -> None:
        """Note the beat of a run, as its heart shows it now."""
        seen_of = self.runs.setdefault(run, {"beat": mtime, "seen": None, "first": now, "looked": now,
                                             "read": now})
        seen_of["looked"] = now
        if seen_of["beat"] != mtime:
            seen_of.update(beat=mtime, seen=now)

    def alive(self, foreign, now):
        """Return the runs that go on, as far as anybody saw (list): those of other loggers, `foreign` (set),
        which say nothing of their ends, so long as they grow."""
        return [run for run, beat in self.runs.items()
                if run not in foreign or now - (beat["seen"] or 0.0) < GROWING]

    def going(self, foreign, now):
        """Return the runs that are looked at often: those that are alive, and those that are expected to show
        it."""
        expected = [run for run, since in self._expected.items()
                    if now - since < EXPECTED and run not in self.runs]
        return self.alive(foreign, now) + expected

    def expect(self, runs: Iterable[str], now: float) -> None:
        """The runs `runs` of other loggers are the newest ones: if one of them grows, it is soon."""
        self._expected.update(dict.fromkeys(runs, now))

    def resume(self, earlier, ahead, foreign, now):
        """Take up when an earlier session, or something that only looks like it, saw runs of other loggers,
        `foreign` (set), grow.

        earlier: {run path: as `runs` has it}, by a clock of which the wall clock was `ahead` (s).
        """
        for run, beat in earlier.items() if isinstance(earlier, dict) else ():
            times = ([layout.number(beat.get(name)) for name in ("seen", "first", "looked")]
                     if isinstance(beat, dict) else [None])
            if run not in foreign or None in times:
                continue
            last_seen, first_seen, looked = (min(now, moment + ahead - self._wall(0.0)) for moment in times)
            if last_seen > now - plan.SKEW:          # of older ones their files' times say enough
                self.runs[run] = {"beat": None, "seen": last_seen, "first": first_seen, "looked": looked,
                                  "read": looked}

    def grew(self, run: str, now: float) -> None:
        """Note that a run's files changed."""
        self.runs.setdefault(run, {"beat": None, "seen": now, "first": now, "looked": now,
                                   "read": now})["seen"] = now

    def rename(self, listed_as):
        """Go on with each run under the path that `listed_as(path)` returns: a writer may reach its run by a
        link."""
        for run in [run for run in self.runs if listed_as(run) != run]:
            beat = self.runs.pop(run)
            self.runs.setdefault(listed_as(run), beat)
        for hearts in (self._files, self._own):
            hearts.update((heart, listed_as(run)) for heart, run in hearts.items())

    def read(self, run: str, now: float) -> None:
        """Note that a run's files were looked at."""
        seen_of = self.runs.get(run)
        if seen_of:
            seen_of["read"] = now
            if run not in self._beating:
                seen_of["looked"] = now

    def over(self, run: str) -> None:
        """The run ended or is gone."""
        self.runs.pop(run, None)
        self._own = {path: owner for path, owner in self._own.items() if owner != run}
