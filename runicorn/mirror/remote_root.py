"""One line to a server and what is done over it: learn the list, survey, look at tails. Ends with the line;
the mirror stays."""

import collections
import functools
import time

from runicorn import layout, rules
from runicorn.errors import SftpError
from runicorn.mirror import fetcher, listings, moves, plan, remote_index, second_line, tails, verify, walk
from runicorn.mirror.fetch_queue import FetchQueue
from runicorn.mirror.file_changes import FileChanges
from runicorn.mirror.folder_lister import Ahead
from runicorn.mirror.foreign_runs import SHARE, ForeignRuns
from runicorn.mirror.heartbeats import Beats
from runicorn.mirror.looked_at import LookedAt
from runicorn.mirror.recheck import Recheck
from runicorn.mirror.server_runs import RunList
from runicorn.ssh import sftp

AUDIT = 600.0                   # s between looks at every run folder's mtime, ended runs included
# Runs listed in one go when there is nothing else to do; each takes two turns …
LISTED = 250
TOGETHER = 1000                 # … so that the first survey lists as many ended runs with the others
TROUBLED = 50                   # doubtful runs listed between two surveys
AHEAD = 10_000                  # runs that are planned at most before the folders above them are listed
NEWEST = 20                     # runs of other loggers that are looked at often to see whether they grow
# s that a search for other loggers' runs has the line before what it found is fetched beside it
ALONE = 30.0
PATIENCE = 1.0                  # s that a first look waits for python3 on the server
# The settings that say what is looked for and fetched
CHOICE = ("manifest", "small_only", "large", "small_limit", "window")


class RemoteRoot:
    """What is known while one line is up: the sync's thread's alone. Raises LineError, ProtocolError (of no
    use after these), SyncError."""

    def __init__(self, options, mirror, remote, opening, room, log, wall, caution):
        """opening: opening.Opening; wall: clock.Clock.wall, whose times all are; caution: grants.Caution."""
        self.options, self.mirror, self.remote = options, mirror, remote
        self.room, self.log, self._wall = room, log, wall
        self._opening, self.client, self.root, self._caution = opening, opening.client, opening.root, caution
        caution.tame(self.client)
        self.vanished = set()           # runs that vanished from the server
        self.recheck = Recheck(wall)
        # Every run that may be alive and is not in `beats` was looked at since then, s
        self.looked = 0.0

    def resume(self, earlier, now):
        """Take up what an earlier session told, `earlier` (see local_copy.LocalCopy.load_kept), or what only
        looks like it."""
        if self.index.lines:
            self.vanished.update(earlier["gone"] & self.index.lines.keys())
            self.recheck.resume(earlier.get("checked"), self.index.paths(), now)
            self.list.resume(earlier.get("list"), self.index.manifest.header.get("digest"), now)
            self.skeleton.resume(earlier.get("folders"))
            self.beats.resume(earlier.get("runs"), layout.number(earlier.get("ahead")) or 0.0,
                              self.index.foreign, now)
            self.foreign.resume(earlier.get("foreign"), earlier.get("folders"))

    def _rules(self):
        return rules.made(self.options.get("rules") or ())

    def begin(self, index, rekeyed=False):
        """Take up the index (remote_index.RemoteIndex) of the mirror. rekeyed: the server shows another host
        key than it did before."""
        self.index, self._rekeyed = index, rekeyed
        index.follow_rules(self._rules())
        look = self._opening.look_for(index)
        self.foreign = ForeignRuns(self.client, self.root, self._wall, index, self.log, look.ask,
                                   self._rules())
        self.skeleton = walk.Skeleton(self.client, self.root, self._wall, self.foreign.feed)
        self.beats = Beats(self.client, self.root, self._wall)
        self.tails = tails.Tails(self.client, self.mirror, self.root, self.room)
        self._hearsay = set(index.paths())      # runs that neither a listing nor exec showed over this line
        self.queue = FetchQueue(self.options, self.mirror, index, self.beats, self.room, self.log, self._wall)
        self.copies = self.queue.copies
        self._looked_at = LookedAt(self.root, index, self.skeleton, self.copies.left_out)
        self.changes = FileChanges(self.options, self.mirror, index, self.queue, self.beats, self.tails,
                                   self._looked_at, self._wall)
        moment, tame = self.copies.unsettled.moment, self._caution.tame
        self.queue.take_lines(fetcher.Fetcher(self.client, self.mirror, self.root, self.room,
                                              self.queue.ended, moment, lambda: self.remote.bytes_received,
                                              self._hearsay, self.copies.contents),
                              second_line.SecondLine(self.remote.second, self.mirror, self.root, self.room,
                                                     self.log, moment, self._hearsay, tame))
        # Ended runs known by hearsay: from the index on this disk, or an old manifest
        self._audited, self._unlisted = None, []
        self.list = RunList(self.options, self.remote, self.client, self.root, index, self.copies,
                            self.recheck, self.log, self._wall, look)
        # Runs of other loggers that were found and shown: fetched once the list of them is whole
        self._unplanned = set()
        self._search_is_over = False
        self._expected = set()          # runs of other loggers that were among the newest, or were not
        self._bare = not index.lines    # nothing was here to begin with
        # What is missing here of what the index said to begin with, or the list told first
        self._planned = False
        self._passed = None             # {reason: count} of what the survey before passed over above the runs
        self.whole_files = verify.WholeFiles(self.client, self.remote, self.mirror, self.root, self.queue,
                                             self.log)
        self.moves = moves.Moves(self, self._hearsay)
        self._listings = listings.Listings(self, self.changes, self.moves, self._hearsay, self.foreign.doubt)
        # Absolute path -> its LSTAT, of what the first survey need not ask again
        self._just_seen = {}
        self._ahead = None              # Ahead, of what the first survey lists where nobody tells of it

    @property
    def surveyed(self):
        """Whether the server was surveyed at least once over this line (bool)."""
        return self._audited is not None

    @property
    def source(self):
        """Return where the list came from: "exec", "manifest" or "walk"; None before anything told."""
        return self.list.source or ("walk" if self.surveyed else None)

    @property
    def turn_seconds(self):
        """Return within how many seconds every file is looked at again (float)."""
        return self.list.every if self.source == "exec" else self.recheck.seconds

    # -- the list, before any walk

    def learn(self, now):
        """Get the list from python3 on the server, or from its manifest file. What neither tells, the survey
        finds.

        While python3 looks, what is missing here is planned or, of a server that is new to us, the folders
        above the runs are listed. Where it takes its time (a slow file system, a greeting shell, a hook), the
        survey begins without it, and its answer is taken when it comes.
        """
        if not self.options.get("manifest", True):
            return
        asking, began, stats = self.list.ask(now), time.monotonic(), {}
        self._planned, self._just_seen = bool(self.index.lines), {} if self.surveyed else stats
        paths = ([path for _, path in remote_index.manifest_files(self.root)] + self.list.places_of_owners()
                 + self.beats.ask())
        paths += self._looked_at.of_first_survey(self.vanished, now) if self._planned and not asking else []
        paths = set(paths)              # a folder above some runs may be that of another logger's
        for path in paths:
            self.client.ask(sftp.lstat(path), functools.partial(stats.__setitem__, path))
        if self._planned and not asking and not self.list.had_files:
            self._ahead = Ahead(self.client, [*self.skeleton.expected(),
                                              *(f"{self.root}/{path}" for path in self._first_listed())])
        self.client.send()
        if self._planned:
            (self.queue.plan if asking else self.queue.plan_meanwhile)(self.index.lines.keys()
                                                                       - self.vanished, now)
        while len(stats) < len(paths):
            self.client.pump()
            if self._ahead:
                self._ahead.go_on()
        if not self._planned:
            self.changes.note_round_trip(time.monotonic() - began)
            self._list_above(now) if asking else None
        if not (asking and self.list.take_answer(PATIENCE)):
            self.list.read(stats, now)
        if self.list.new:
            self.index.announce()
        self.moves.follow_entries(self.list.new)

    def _list_above(self, now):
        """List the folders above the runs until the answer is there."""
        try:
            self.skeleton.refresh(now, lambda _: not self.list.asking)
        except SftpError as error:
            # The survey, which tries again, says so
            self.log.info("the root can't be listed yet: %s", error)

    # -- what the server holds

    def survey(self, now, watched=(), thorough=False):
        """Bring the index up to date and plan what to fetch; look at the tails of the runs `watched` on the
        way.

        thorough: look at every run. Raises SftpError when the root can't be listed.
        """
        is_first = self._audited is None
        audit = is_first or thorough or now - self._audited >= AUDIT
        if audit:
            self.changes.looks.forgive()
        self.list.look(now, thorough)
        self.foreign.try_again(thorough)
        if is_first and self._bare and len(self.list.new) <= AHEAD:
            self._planned = self.queue.plan_ahead(self._take_new(), now)
        changed = self._stat_all(now, watched)
        if audit and not is_first:
            self.skeleton.forget_listings()
        changed |= self._list(now, audit)
        if is_first or thorough:
            self._unlisted = self._known_by_hearsay(is_first)
            changed |= set() if is_first and self._planned else self.index.lines.keys() - self.vanished
        elif audit:
            self.whole_files.compare_share([path for path in self.index.paths() if path not in self.vanished],
                                           now)
            self.copies.doubt_growing()
        self._audited = now if audit else self._audited
        self.copies.forgive(thorough)
        self.moves.merge_copies()
        self._plan(changed | self.copies.take_due(now), now)
        self._expect_newest(now)
        self.index.let_go()
        self._listings.forget_opened()
        self._pass_over()

    def _pass_over(self):
        """Say what of the server is not listed because of its name, place or number, where that is news."""
        skipped = {**self.skeleton.skipped, **self.list.refused}
        skipped.update((reason, max(count, skipped.get(reason, 0)))
                       for reason, count in self.foreign.skipped.items())
        passed = collections.Counter(skipped, unreadable=self._listings.closed)
        if self.skeleton.complete and (self.index.news or passed != self._passed):
            self._passed = passed
            self.copies.pass_over(passed)

    def _expect_newest(self, now):
        """Look often at the newest runs of other loggers that nobody saw before: no live file tells which of
        them grow."""
        new = self.index.foreign - self._expected - self.vanished
        self._expected |= new
        self.beats.expect(sorted(new, key=lambda path: plan.newest(self.index.entry(path)))[-NEWEST:], now)

    def _plan(self, paths, now):
        for path in self.list.take_grown():
            self.changes.saw(path, now, not self.changes.looks.knows(path))
        self.queue.plan_rest(self._take_new().union(paths) - self._unplanned, now)

    def _take_new(self):
        """Return the runs of which the list told something new (set of paths)."""
        # Nobody but the list knows whether their files are regular ones
        unlooked = self.list.unlooked(self._hearsay)
        self._hearsay.intersection_update(unlooked)
        self._hearsay.update(unlooked)
        new = self.list.take_new()
        self.copies.left_out.ask_for(new)
        if new:
            self.index.announce()
        return new

    def _known_by_hearsay(self, is_first):
        """Return the ended runs that are to be listed, sorted, as nobody looked at their files: on this line,
        if it is the `is_first` time, or just now."""
        if self.source == "exec" or is_first and self.list.fresh:
            return []
        ended = (path for path in self.index.paths() if path not in self.vanished and self.index.ended(path))
        return sorted(path for path in ended if not (is_first and path in self.changes.folders))

    def adjust(self, before, now):
        """The settings changed from `before` (dict) to what `options` says now: plan anew, and give up what
        is not wanted any more."""
        for part in (self.index, self.foreign):
            part.follow_rules(self._rules())
        if all(self.options.get(field) == before.get(field) for field in CHOICE):
            return
        if self.options.get("manifest", True) != before.get("manifest", True):
            self.list.forget()
            self.learn(now)
        self.queue.replan(now)

    @property
    def looking(self):
        """Whether some runs are known by hearsay only, or nobody looked for those of other loggers yet, or
        planned them (bool)."""
        return bool(self._unlisted or self._unplanned) or self.foreign.is_behind(self.list.tells_foreign)

    @property
    def listed(self):
        """How much of the list is whole: 2 all of it, 1 the runs of ours, 0 neither (int)."""
        if not (self.surveyed and self.queue.whole):
            return 0
        return 1 if self.foreign.is_behind(self.list.tells_foreign) else 2

    def check_hearsay(self, now):
        """List some runs that we know by hearsay only, and plan what that shows; returns whether more are
        left."""
        group, self._unlisted = self._unlisted[:LISTED], self._unlisted[LISTED:]
        self.queue.plan_rest(self._listings.relist(set(group), {}, now), now)
        return bool(self._unlisted)

    def check_wrong(self, now):
        """List the runs of which we know that a copy is wrong, and plan what that shows; returns whether
        there were any."""
        wrong = self.copies.doubtful & {path for path, _ in self.copies.rewrite}
        if wrong:
            self._plan(self._listings.relist(wrong, {}, now), now)
        return bool(wrong)

    def look_for_others(self, now, seconds):
        """Look for runs of other loggers for so many seconds, if that is due; returns whether there is more
        to do at once."""
        skipped = self.foreign.skipped
        if not self.surveyed:
            return False
        try:
            may_ask = self.list.source == "exec"
            changed, more = self.foreign.go_on(now, seconds, self._listings, self.vanished,
                                               self.list.tells_foreign, may_ask, not self.queue.left)
        except SftpError as error:
            self.log.info("the root can't be listed now: %s", error)        # the next survey says so
            return False
        self._unplanned |= changed
        was_over = self._search_is_over
        self._search_is_over = not changed and not (more and self.foreign.seconds < ALONE)
        if was_over and self._search_is_over:       # in between the list was shown
            planned, self._unplanned = self._unplanned, set()
            try:
                self._plan(planned, now) if planned else None
            except BaseException:
                self._unplanned |= planned          # this disk refused something: the next look plans them
                raise
        self._pass_over() if self.foreign.skipped != skipped else None
        return more or bool(self._unplanned)

    def _stat_all(self, now, watched):
        """LSTAT, in one round trip, the folders above the runs, the runs that have not ended with their
        files, live files and manifests; returns run paths that changed (set)."""
        folders = {self.skeleton.absolute(folder): folder for folder in self.skeleton.known(now)}
        alive = [path for path in self.index.paths()
                 if not self.index.ended(path) and path not in self.vanished
                 and not self.list.speaks_of(path)]
        running = self.changes.looks.due(alive, now)
        files = {self._looked_at.absolute(path, name): (path, name) for path in running
                 for name in self._looked_at.names(path)}
        in_turn = self.source != "exec" and self._audited is not None and not self._unlisted
        turn = self.recheck.due(now, lambda: self._looked_at.turn(self.vanished)) if in_turn else []
        files.update((self._looked_at.absolute(path, name), (path, name))
                     for path, names, _, _ in turn if path in self.index for name in names)
        beats = self.beats.ask()
        manifests = ([path for _, path in remote_index.manifest_files(self.root)]
                     if self.options.get("manifest", True) else [])
        stats, self._just_seen = self._just_seen, {}
        paths = [path for path in dict.fromkeys((*folders, *files, *beats, *manifests, *self.foreign.ask()))
                 if path not in stats]
        if paths or watched:
            stats.update(self.changes.read_tails(watched, paths, now))
        for absolute, folder in folders.items():
            self.skeleton.note(folder, stats[absolute], now)
        self.foreign.note(stats, now)
        changed = {path for absolute, (path, name) in files.items()
                   if self.changes.note(path, name, stats[absolute], now)}
        self.copies.doubtful.update(self.beats.take({path: stats[path] for path in beats}, now))
        if self._audited is not None:
            self.list.read(stats, now)
        self.changes.note_looks(running, now)
        self.recheck.note([path for path in running
                           if path not in self.copies.doubtful
                           and len(self._looked_at.names(path)) > len(self.index.entry(path)["files"])], now)
        for path, _, begun, last in turn:
            if last and path in self.index and path not in self.copies.doubtful and path not in self.vanished:
                self.recheck.note([path], begun)
        self.looked = self.changes.looks.oldest([path for path in alive if path not in self.beats.runs], now)
        self.changes.looks.space(running, now,
                                 lambda path: self._wall(now) - plan.newest(self.index.entry(path)))
        return changed

    def _list(self, now, audit):
        """List new, moved and doubtful runs; find out which vanished. Returns run paths that changed
        (set)."""
        by_exec = self._planned and not self._bare and self.source == "exec"
        if by_exec and not self.surveyed and not self.copies.doubtful | self.list.seen(self.vanished):
            self.moves.follow_entries(self.list.new)
            # It just told of all; the next survey lists what is above
            return self._listings.relist(set(), {}, now)
        ahead, self._ahead = self._ahead, None
        mtimes = self.skeleton.refresh(now, ahead=ahead)
        self.beats.look_into(self.skeleton.home)
        self.beats.rename(self.skeleton.listed_as)
        self.moves.follow_entries(self.list.new)
        doubtful = self.copies.doubtful
        closed = self._listings.closed_later()
        if self.source != "exec":
            doubtful.update(self.copies.left_out.closed_runs[:None if audit else listings.CLOSED])
        self._listings.believe(self.list.take_hearsay() - self.index.foreign, mtimes)
        for path, mtime in mtimes.items():
            new = (path not in self.index and (audit or path not in closed)
                   and not self._listings.is_known_as_another(path, mtime) or path in self.vanished)
            ours = path not in self.index.foreign
            if new or audit and ours and (not self.index.ended(path)
                                          or int(self.index.mtime(path) or 0) != mtime):
                doubtful.add(path)
        doubtful.update(self.index.lines.keys() - mtimes.keys() - self.vanished - self.index.foreign)
        if not (self.surveyed or self.list.asking):
            doubtful.update(self._first_listed())
        return self._listings.relist(doubtful, mtimes, now, ahead)

    def _first_listed(self):
        """Return the ended runs known by hearsay that the first survey lists (list of paths)."""
        return self._known_by_hearsay(True)[:TOGETHER]

    # -- what somebody watches

    def look(self, paths, now):
        """Read the tails of the runs `paths` and look at their small files and at who is alive, in one round
        trip."""
        small = [(path, name) for path in paths for name in self._looked_at.often(path)]
        beats = self.beats.ask()
        near = self.foreign.ask(SHARE)
        stats = self.changes.read_tails(paths,
                                        [self._looked_at.absolute(*file) for file in small] + beats + near,
                                        now)
        self.foreign.note(stats, now)
        changed = {path for path, name in small
                   if self.changes.note(path, name, stats[self._looked_at.absolute(path, name)], now)}
        new = self.beats.take({path: stats[path] for path in beats}, now)
        self.changes.note_looks(paths, now)
        self.list.look(now, False)
        self.moves.follow_entries(self.list.new)
        doubtful = set(new) | self.copies.doubtful if len(self.copies.doubtful) <= TROUBLED else set(new)
        self._plan(changed | self._listings.relist(doubtful, {}, now), now)

    # -- what somebody asks for

    def peek(self, path, name, ranges):
        """Return the bytes at `ranges`, [(offset, length), …], of a run's file as the server has it now; a
        negative offset counts from its end. Raises SftpError."""
        # What is on its way already is enough ahead of it
        with self.queue.fetcher.held_back(), self.queue.second.held_back():
            return self.tails.peek((path, name), ranges)

    def verify(self, now):
        """Compare every file we hold, byte by byte, and queue what differs; returns {"files": compared,
        "refetched": n}."""
        self.survey(now, thorough=True)
        return self.whole_files.compare([path for path in self.index.paths() if path not in self.vanished],
                                        now)

    def check_rekeyed(self, now):
        """Once after the host key changed, compare all files whole where python3 on the server can; returns
        whether it did."""
        due, self._rekeyed = self._rekeyed and self.remote.exec_allowed is not False, False
        return due and bool(self.verify(now))

    def traffic(self):
        """Return (bytes both ways, requests) of this session and its second line."""
        second = self.queue.second
        return (self.remote.bytes_sent + self.remote.bytes_received + second.sent + second.received,
                self.client.requests + second.requests)

    def close(self):
        """Drop the line. Never raises."""
        if hasattr(self, "queue"):
            self.queue.second.close()
            self.queue.fetcher.drop()
        self.client.close()
        self.remote.close()
