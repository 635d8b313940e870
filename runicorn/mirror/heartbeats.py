"""Which runs are alive: the live files on the server and when they were seen to change on our clock. Only
looks, judges nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runicorn import layout, local_names
from runicorn.errors import MissingFileError, SftpError
from runicorn.mirror import folder_lister, plan
from runicorn.mirror.looks import Turns
from runicorn.ssh import sftp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runicorn.mirror.seams import Client

LIMIT = 64 << 10                # bytes of a live file
# s that another logger's run is looked at often, since it grew or since it was first seen
GROWING, EXPECTED = 600.0, 90.0
PLACES = 50                     # live files LSTATed per look, in turn


class LiveFolder:
    """A folder of live files; `root` is the root in the root whose it is (str)."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._mtime: float | None = None
        self._observed = 0.0

    def note(self, mtime: float | None, now: float, wall: float) -> bool:
        """Take its mtime as it is now; returns whether it has to be listed. wall: our wall clock now."""
        moved = mtime != self._mtime
        if not moved and plan.settled(mtime, self._observed, now, wall):
            return False
        if moved:
            self._mtime, self._observed = mtime, now
        elif now >= self._observed + 2:
            self._observed = 0.0        # this listing is the last one this mtime needs
        return True


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
        self._root, self._folders = root, {}        # absolute path -> LiveFolder
        self.look_into([""])
        self.runs = {}
        self._files = {}                # absolute path of a live file -> run path
        self._own = {}                  # absolute path of a .beat -> run path
        self._expected = {}             # run path of another logger -> since when
        self._beating = set()           # run paths that have either
        self._turns = Turns()

    def look_into(self, roots):
        """Look at the live files of the roots in the root, too (list of str, relative)."""
        for inner in roots:
            folder = "/".join(filter(None, (self._root, inner, layout.HIDDEN, layout.LIVE)))
            self._folders.setdefault(folder, LiveFolder(inner))

    def ask(self):
        """Return the absolute paths to LSTAT now: the live folders, and hearts in turn."""
        self._beating = {*self._files.values(), *self._own.values()}
        return [*self._folders, *self._turns.take(sorted([*self._files, *self._own]), PLACES)]

    def take(self, stats, now):
        """Take the answers ({absolute path: Attrs or SftpError}); lists a folder when it moved. Returns new
        run paths (list)."""
        for path, attrs in stats.items():
            run = self._files.get(path) or self._own.get(path)
            if run and not isinstance(attrs, SftpError):
                self.beat(run, attrs.mtime, now)
            elif run:
                self._own.pop(path, None)       # of the live files, the listing of their folder tells
        return [run for folder, live in self._folders.items()
                for run in self._take_folder(folder, live, stats.get(folder), now)]

    def _take_folder(self, folder, live, attrs, now):
        if attrs is None or isinstance(attrs, SftpError):
            if isinstance(attrs, MissingFileError):
                self._keep(folder, ())
            return []
        return self._list(folder, live.root, now) if live.note(attrs.mtime, now, self._wall(now)) else []

    def _keep(self, folder, hearts):
        """Forget the live files in a folder but for `hearts` (a container of absolute paths)."""
        self._files = {path: run for path, run in self._files.items()
                       if path in hearts or path.rpartition("/")[0] != folder}

    def _list(self, folder, root, now):
        listing = folder_lister.list_folders(self.client, [folder])[folder]
        if isinstance(listing, SftpError):
            return []
        hearts = {f"{folder}/{name}": attrs for name, attrs in listing
                 if name.endswith(".json") and sftp.is_file(attrs) and (attrs.size or 0) <= LIMIT}
        self._keep(folder, hearts)
        new = self._read([path for path in hearts if path not in self._files], root)
        self._files.update(new)
        for path, attrs in hearts.items():
            if path in self._files:
                self.beat(self._files[path], attrs.mtime, now)
        return list(new.values())

    def _read(self, paths, root):
        """Return {live file: run path} of new live files of a root in the root ("": itself), those that name
        a run of their own id."""
        runs = {}
        for path, text in zip(paths, self.client.parts([(path, 0, LIMIT) for path in paths])):
            try:
                run = json.loads(text).get("path")
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue            # half written, or no live file: the next listing shows it again
            if (isinstance(run, str) and plan.believable(run) and not local_names.root_of(run)
                    and path.endswith(f"/{run.rsplit('/', 1)[-1]}.json")):
                runs[path] = f"{root}/{run}" if root else run
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
