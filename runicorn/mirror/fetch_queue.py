"""What to fetch, in which order and over which line: the queue of one line's fetches. What came of each,
mirror.copies knows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runicorn import layout
from runicorn.mirror import plan
from runicorn.mirror.copies import Copies
from runicorn.mirror.outcome import Outcome
from runicorn.mirror.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from logging import Logger
    from typing import Any

    from runicorn.mirror.fetcher import Fetcher
    from runicorn.mirror.heartbeats import Beats
    from runicorn.mirror.local_copy import LocalCopy
    from runicorn.mirror.plan import Fetch
    from runicorn.mirror.remote_index import Key, RemoteIndex
    from runicorn.mirror.room import Room
    from runicorn.mirror.seams import Options
    from runicorn.mirror.second_line import SecondLine

SPACE_SECONDS = 5.0             # s between looks at the free disk
AT_A_TIME = 100                 # runs planned between two looks whether the lines have work; 40 ms
LITTLE = 20                     # runs planned between two looks whether an answer is here; a few ms
# Between looks what the second line did and could do, whatever the first is used for
SHARE_SECONDS = 0.05


class FetchQueue:
    """The fetches over one line: planned, carried out, told to its `copies`. The sync's thread's alone, as
    the Fetcher of the first line is; that of the second is the thread `bulk`'s."""

    def __init__(self, options: Options, mirror: LocalCopy, index: RemoteIndex, beats: Beats, room: Room,
                 log: Logger, wall: Callable[[float], float]) -> None:
        """wall: clock.Clock.wall. `take_lines` must follow."""
        self.options, self.mirror, self.index, self.beats = options, mirror, index, beats
        self.room, self._wall = room, wall
        self.fetcher: Fetcher
        self.second: SecondLine
        self.opened: set[str] = set()   # run paths somebody opened
        self._grown = set()             # run paths whose files grew since last told
        self._queued = {}               # (path, name) -> (the index's version, its mtime)
        self._small = set()             # of the queued ones those the list shows
        self.listed = False             # the last of them came, and nobody was told yet
        # Run path -> (the index's version, when) with which it was planned as it was listed
        self._planned = {}
        self._unplanned: list[str] = []         # run paths that are planned while the line is idle
        self._later = []                # fetches that wait until the run list is whole
        self._more = False              # more runs are being listed
        self._may_share = False         # whether a second line may be used
        self._space_seen = self._shared = self.now = 0.0
        self.full = False               # this disk has no room for more
        self._begun_any = False         # since what is left of earlier transfers was cleared away
        self.copies = Copies(options, mirror, index, beats, room, log, lambda: self.now, wall, self._queued,
                             self.opened)
        self.progress = Progress(mirror.parts)

    def take_lines(self, fetcher: Fetcher, second: SecondLine) -> None:
        """Say what fetches: a fetcher.Fetcher, which reports to `ended`, and a second_line.SecondLine."""
        self.fetcher, self.second = fetcher, second
        fetcher.client.call(before_sending=self._refill, while_idle=self._plan_some)
        if not (self.index.lines or self.options.get("budget")):
            second.expect()         # nothing is here: it will have work

    # -- planning

    def plan(self, paths: Iterable[str], now: float, more: bool = False) -> None:
        """Queue what the settings ask for and is not here yet, of the runs `paths`; everything else keeps its
        place.

        more: other runs are being listed still; but for what the run list shows, fetching waits until that is
        whole.
        """
        self.now, self._more, fetches = now, more, []
        for path in {*paths, *self.copies.take_forgiven()}:
            if path not in self.index:
                continue
            if more:
                self._planned[path] = self.index.version(path), now
            entry = self.index.entry(path)
            if self._is_chosen(path, entry, now):
                fetches += self.copies.missing(path, entry, now)
        self.copies.doubt_mended()
        # a file that is queued anew, the last one that is left, begins nothing
        if not self._begun_any:
            self.progress.restart()
        small = [fetch for fetch in fetches if fetch.name in layout.SMALL]
        self._queued.update(((fetch.path, fetch.name), (self.index.version(fetch.path), fetch.mtime))
                            for fetch in fetches)
        self._small.update((fetch.path, fetch.name) for fetch in small)
        self.listed = self.listed and not small
        self.progress.add(fetches)
        if more:
            self._later += [fetch for fetch in fetches if fetch.name not in layout.SMALL]
        self._queue(small if more else fetches)
        if self._later and not (more or self._small):
            self._release()

    def plan_meanwhile(self, paths: Iterable[str], now: float) -> None:
        """As `plan`, but little by little while the first line waits for answers, and what is left then
        before anything is fetched."""
        self.now = now
        self._unplanned += paths

    def _plan_some(self):
        """Plan a few of the runs that are to be; returns whether there were any."""
        batch = self._unplanned[-LITTLE:]
        del self._unplanned[-LITTLE:]
        if batch:
            self.plan(batch, self.now, more=self._more)
        return bool(batch)

    def plan_rest(self, paths: Iterable[str], now: float) -> None:
        """As `plan`, but for those of the runs `paths` that were planned at `now` as they were listed, and
        show nothing else since."""
        while self._plan_some():
            pass
        planned, self._planned = self._planned, {}
        self.plan({path for path in paths if planned.get(path) != (self.index.version(path), now)}, now)

    def plan_ahead(self, paths: Iterable[str], now: float) -> bool:
        """Plan the runs `paths`, the newest first, and have the first line begin with what the run list shows
        of some while there are more, and the second with the rest; returns whether there were any."""
        newest_first = sorted(paths, key=lambda path: path.rpartition("/")[2], reverse=True)
        # Else the newest should have the room, and a second line begins with the oldest
        fits = self.room.fits(sum(map(self.index.size, newest_first)))
        self.fetcher.hurry(self.opened | self.beats.runs.keys())
        for start in range(0, len(newest_first), AT_A_TIME):
            self.plan(newest_first[start:start + AT_A_TIME], now, more=True)
            self.fetcher.client.send()
            if fits and self._may_share:        # a fast line would be idle until all are planned
                self.second.share(self.fetcher, self._later)
        self._more = False
        if fits or self.room.fits(plan.total(self._later)):         # files that nobody asked for need none
            later, self._later = self._later, []
            self._queue(later, last=True)
            self._share()
        return bool(newest_first)

    def give_up(self, paths: Iterable[str]) -> None:
        """The runs `paths` (set) are none: nothing of them is fetched."""
        for line in (self.fetcher, self.second):
            line.keep_only(lambda fetch: fetch.path not in paths)

    def _release(self, path=None):
        """Queue what waited for the run list, of one run or of all."""
        freed = [fetch for fetch in self._later if path in (None, fetch.path)]
        self._later = [fetch for fetch in self._later if path not in (None, fetch.path)]
        self._queue(freed)
        self._share()                   # before the first line begins with them

    def _queue(self, fetches, last=False):
        self._begun_any = self._begun_any or bool(fetches)
        fetches.sort(key=self._urgency, reverse=True)
        self.fetcher.add(fetches, is_urgent=not last and len(fetches) < 100)

    def _unqueue(self, fetches):
        for fetch in fetches:
            self._queued.pop((fetch.path, fetch.name), None)
        self.progress.give_up(fetches)

    def replan(self, now: float) -> None:
        """The settings changed: give up what they no longer ask for, and queue what they ask for now."""
        entries = {path: self.index.entry(path)
                   for path in {path for path, _ in self._queued} if path in self.index}
        chosen = {path: entry for path, entry in entries.items() if self._is_chosen(path, entry, now)}
        still = {(path, name) for path, name in self._queued
                 if path in chosen and name in chosen[path]["files"]
                 and self.copies.is_asked_for(path, name, chosen[path])}
        self._unqueue(self._later)
        self._later.clear()              # planned anew below, where they are still wanted
        self.copies.left_out.clear()
        for line in (self.fetcher, self.second):
            line.keep_only(lambda fetch: (fetch.path, fetch.name) in still)
        self.plan(self.index.paths(), now)

    def rename(self, moved: dict[str, str]) -> None:
        """Runs moved, {old path: new path}: what was on its way is given up, to be planned under the new
        path."""
        if any(path in moved for path in self.second.runs()):
            self._drop_second()             # it writes into the old folders
        self.fetcher.keep_only(lambda fetch: fetch.path not in moved)
        freed = [fetch for fetch in self._later if fetch.path in moved]
        self._later = [fetch for fetch in self._later if fetch.path not in moved]
        self._unqueue(freed)
        self.opened.update(moved[path] for path in moved.keys() & self.opened)
        for paths in (self.opened, self._grown):
            paths.difference_update(moved)
        self.copies.rename(moved)

    def _is_chosen(self, path, entry, now):
        """Whether the settings ask for a run: somebody opened it, it runs, or it is recent enough."""
        return path in self.opened or path in self.beats.runs or plan.within(entry,
                                                                             self.options.get("window"),
                                                                             self._wall(now))

    def judged(self, suspects: dict[Key, Fetch], wrong: set[Key], now: float) -> None:
        """The server told the SHA-256 of `suspects`, see copies.Copies.judge: fetch what is wrong."""
        self._grown |= self.copies.judge(suspects, wrong)
        self.plan({path for path, _ in suspects}, now)

    def fetch_whole(self, keys: Iterable[Key], now: float) -> None:
        """Queue the files `keys`, [(run path, name), ...], whole: ours are wrong somewhere."""
        self.copies.rewrite.update(keys)
        self.plan({path for path, _ in keys}, now)

    def _urgency(self, fetch):
        return fetch.path in self.opened, fetch.path in self.beats.runs, plan.order(fetch)

    def ask_for(self, path: str, now: float) -> None:
        """Somebody opened a run: its files come before everything else."""
        self.opened.add(path)
        self.fetcher.hurry(self.opened | self.beats.runs.keys())
        self.copies.left_out.ask_for({path})
        self.plan([path], now)
        self._release(path)
        self.fetcher.prefer(path)

    # -- carrying out

    @property
    def left(self) -> int:
        """How many files are not here yet (int)."""
        return self.fetcher.left + self.second.held + len(self._later)

    def allow(self, now: float, allowance: int | None) -> None:
        """Say how many bytes may be fetched until told anew (None: any number): whatever the line is used
        for, they come beside it.

        now: the clock.Clock's time, which files that arrive are seen at. On a full disk nothing is fetched,
        and `full` says so.
        """
        self.now = now
        self._may_share = allowance is None
        self.mirror.look_at_evicted()
        room = 0 if not self._has_room() else 1 << 60 if allowance is None else allowance
        self.fetcher.allow(room, None if allowance is None else allowance // 4)
        self.fetcher.hurry(self.opened | self.beats.runs.keys())

    @property
    def whole(self) -> bool:
        """Whether all is here that the run list shows (bool)."""
        return not self._small and not self._more

    def _share(self):
        """Have a second line take its share, where that is allowed, and not before all that the run list
        shows was asked for."""
        self.fetcher.hurry(self.opened | self.beats.runs.keys())
        self._shared = time.monotonic()
        all_asked = not (self._more or self._later and self.fetcher.has_waiting(1))
        self.fetcher.leave_rest(self._may_share and all_asked
                                and self.second.share(self.fetcher, self._later))

    def _refill(self):
        """Give both lines work, before the first sends: the second would be idle for as long as a survey
        takes."""
        if time.monotonic() >= self._shared + SHARE_SECONDS:
            self._share()
            self._collect()
        self.fetcher.refill()

    def work(self, until: float, urgent: Iterable[Any] = ()) -> None:
        """Fetch until the monotonic clock says `until`, `urgent` holds something, as much came as is allowed,
        or the list is whole.

        Raises LineError, ProtocolError, and SyncError when the disk refuses all the same.
        """
        while self._plan_some():
            pass
        while (self.left and not urgent and not self.listed and time.monotonic() < until
               and self.fetcher.bytes < self.fetcher.enough):
            self._share()
            self._collect()
            if self.fetcher.left and not self.fetcher.at_rest:
                self.fetcher.step(min(until, time.monotonic() + 0.1))
            elif self.second.held:
                time.sleep(0.02)
        self._grown |= self.fetcher.grown() | self.second.grown()
        self.progress.mark(self._coming, self.whole)
        self.fetcher.client.send()     # the line has work while whoever called tells the pages
        self.listed = False
        # The last may have come while the line was asked for other things
        if self._begun_any and not self.left:
            self._begun_any = False
            self.mirror.parts.clear()

    def _has_room(self):
        """Look at the free disk now and then; where it is full, everything waits, and the second line hangs
        up."""
        if self.now - self._space_seen >= SPACE_SECONDS:
            self._space_seen = self.now
            full, self.full = self.full, self.room.free() < 0
            if self.full and not full:
                self._drop_second()
        return not self.full

    def _drop_second(self):
        self.second.close()
        self._collect()

    def _collect(self):
        """Take what came over the second line."""
        for ended in self.second.collect():
            self.ended(*ended)

    def ended(self, fetch: Fetch, outcome: Outcome | Exception, size: int, data: bytes | None) -> None:
        """A fetch ended: believe what it showed."""
        key, now = (fetch.path, fetch.name), self.now
        version, mtime = self._queued.pop(key, (None, None))
        if key in self._small:
            self._small.discard(key)
            self.listed = not self._small
            if self.listed and self._later and not self._more:
                self._release()
        if outcome is not Outcome.DONE:
            self._planned.pop(fetch.path, None)
        if outcome in (Outcome.LOST, Outcome.DISK, Outcome.UNWANTED):
            if outcome is Outcome.UNWANTED:
                self.progress.give_up([fetch])
            else:
                self.progress.lose(fetch)
                self.plan([fetch.path], now)
            return
        self.progress.finish(fetch) if outcome is Outcome.DONE else self.progress.give_up([fetch])
        self._grown.update({fetch.path} if self.copies.take(fetch, outcome, size, data) else ())
        if outcome is Outcome.DONE:
            # Whoever told of it was wrong
            self.copies.doubtful.update({fetch.path} if fetch.mtime != mtime else ())
            self._follow(fetch, version, now)

    def _follow(self, fetch, version, now):
        """Plan the rest of a file that the index has learned more of since its `version` while it was on its
        way."""
        if fetch.mtime is None or fetch.path not in self.index or self.index.version(fetch.path) == version:
            return
        listed = self.copies.listed(fetch)
        if listed["size"] != fetch.size or not plan.is_same_time(fetch.mtime, listed["mtime"]):
            self.plan([fetch.path], now)

    # -- what is told of it

    def grow(self, path: str) -> None:
        """Files of a run grew, or went."""
        self._grown.add(path)

    def take_grown(self) -> set[str]:
        """Return the runs whose files grew or went since last asked (set of paths)."""
        grown, self._grown = self._grown, set()
        return grown

    @property
    def _coming(self):
        """How many bytes the lines have of files on their way (int)."""
        return self.fetcher.coming + self.second.coming

    def progress_row(self):
        """Return what a connection's row shows of the fetches (see progress.Progress.row), None when nothing
        is left."""
        coming = self._coming
        return self.progress.row(coming, self.room.left(coming)) if self.left else None
