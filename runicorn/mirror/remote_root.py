"""One line to a server and what is done over it: learn the list, survey, look at tails. Ends with the line; the mirror stays."""

import collections
import functools
import time

from runicorn import layout
from runicorn.errors import DeniedError, LayoutError, MissingFileError, SftpError
from runicorn.mirror import fetcher, moves, plan, remote_index, second_line, tails, verify, walk
from runicorn.mirror.fetch_queue import FetchQueue
from runicorn.mirror.heartbeats import Beats
from runicorn.mirror.looked_at import LookedAt
from runicorn.mirror.looks import FolderTimes, Looks
from runicorn.mirror.recheck import Recheck
from runicorn.mirror.server_runs import RunList
from runicorn.ssh import sftp, sftp_answers

AUDIT = 600.0                   # s between looks at every run folder's mtime, ended runs included
LISTED = 250                    # runs listed in one go when there is nothing else to do; each takes two turns …
TOGETHER = 1000                 # … so that the first survey lists as many ended runs with the others
CLOSED = 20                     # unknown runs whose folders may not be listed, tried again with each survey
TROUBLED = 50                   # doubtful runs listed between two surveys
AHEAD = 10_000                  # runs that are planned at most before the folders above them are listed
GHOSTS = 1000                   # runs that only a manifest knows are looked for one by one up to here; more is a lie
PATIENCE = 1.0                  # s that a first look waits for python3 on the server
CHOICE = ("manifest", "small_only", "large", "small_limit", "window")       # the settings that say what is looked for and fetched


class RemoteRoot:
    """What is known while one line is up: the sync's thread's alone. Raises LineError, ProtocolError (of no use after these), SyncError."""

    def __init__(self, options, mirror, remote, opening, room, log, wall, caution):
        """opening: opening.Opening; wall: clock.Clock.wall, whose times all are; caution: grants.Caution."""
        self.options, self.mirror, self.remote, self.room, self.log, self._wall = options, mirror, remote, room, log, wall
        self._opening, self.client, self.root, self._caution = opening, opening.client, opening.root, caution
        caution.tame(self.client)
        self.vanished = set()           # runs that vanished from the server
        self.recheck = Recheck(wall)
        self.round_trip = None          # s, the shortest lately
        self.news = False               # the index changed since last told
        self.looked = 0.0               # every run that may be alive and is not in `beats` was looked at since then, s

    def resume(self, earlier, now):
        """Take up what an earlier session told, `earlier` (see local_copy.LocalCopy.load_kept), or what only looks like it."""
        if self.index.lines:
            self.vanished.update(earlier["gone"] & self.index.lines.keys())
            self.recheck.resume(earlier.get("checked"), self.index.paths(), now)
            self.list.resume(earlier.get("list"), self.index.manifest.header.get("digest"), now)
            self.skeleton.resume(earlier.get("folders"))

    def begin(self, index, rekeyed=False):
        """Take up the index (remote_index.RemoteIndex) of the mirror. rekeyed: the server shows another host key than it did before."""
        self.index, self._rekeyed = index, rekeyed
        self.skeleton = walk.Skeleton(self.client, self.root, self._wall)
        self.beats = Beats(self.client, self.root, self._wall)
        self.tails = tails.Tails(self.client, self.mirror, self.root, self.room)
        self._hearsay = set(index.paths())      # runs that neither a listing nor exec showed over this line
        self.queue = FetchQueue(self.options, self.mirror, index, self.beats, self.room, self.log, self._wall)
        self._looked_at = LookedAt(self.root, index, self.skeleton, self.queue.left_out)
        moment, tame = self.queue.unsettled.moment, self._caution.tame
        self.queue.take_lines(
            fetcher.Fetcher(self.client, self.mirror, self.root, self.room, self.queue.ended, moment, lambda: self.remote.bytes_received,
                            self._hearsay, self.queue.contents),
            second_line.SecondLine(self.remote.second, self.mirror, self.root, self.room, self.log, moment, self._hearsay, tame))
        self._looks, self._folders = Looks(), FolderTimes()
        self._audited, self._unlisted = None, []        # ended runs known by hearsay: from the index on this disk, or an old manifest
        self.list = RunList(self.options, self.remote, self.client, self.root, index, self.queue, self.recheck, self.log,
                            self._wall, self._opening.look_for(index))
        self._bare = not index.lines    # nothing was here to begin with
        self._planned = False           # what is missing here of what the index said to begin with, or the list told first
        self._passed = None             # {reason: count} of what the survey before passed over above the runs
        self.whole_files = verify.WholeFiles(self.client, self.remote, self.mirror, self.root, self.queue, self.log)
        self._closed = {}               # run path -> None, of runs we hold nothing of, whose folders may not be listed
        self.moves = moves.Moves(self, index, self.queue, self.beats, self.recheck, self._hearsay)
        self._just_seen = {}            # absolute path -> its LSTAT, of what the first survey need not ask again

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
        """Get the list from python3 on the server, or from its manifest file. What neither tells, the survey finds.

        While python3 looks, what is missing here is planned or, of a server that is new to us, the folders above the runs are listed.
        Where it takes its time (a slow file system, a greeting shell, a hook), the survey begins without it, and its answer is taken
        when it comes.
        """
        if not self.options.get("manifest", True):
            return
        asking, began, stats = self.list.ask(now), time.monotonic(), {}
        self._planned, self._just_seen = bool(self.index.lines), {} if self.surveyed else stats
        paths = [path for _, path in remote_index.manifest_files(self.root)] + self.beats.ask()
        paths += self._looked_at.of_first_survey(self.vanished, now) if self._planned and not asking else []
        for path in paths:
            self.client.ask(sftp.lstat(path), functools.partial(stats.__setitem__, path))
        self.client.send()
        if self._planned:
            self.queue.plan(self.index.lines.keys() - self.vanished, now)
        while len(stats) < len(paths):
            self.client.pump()
        if not self._planned:
            self._took(time.monotonic() - began)
            self._list_above(now) if asking else None
        if not (asking and self.list.take_answer(PATIENCE)):
            self.list.read(stats, now)
        self.news = self.news or bool(self.list.new)
        self.moves.follow_entries(self.list.new)

    def _list_above(self, now):
        """List the folders above the runs until the answer is there."""
        try:
            self.skeleton.refresh(now, lambda _: not self.list.asking)
        except SftpError as error:
            self.log.info("the root can't be listed yet: %s", error)      # the survey, which tries again, says so

    # -- what the server holds

    def survey(self, now, watched=(), thorough=False):
        """Bring the index up to date and plan what to fetch; look at the tails of the runs `watched` on the way.

        thorough: look at every run. Raises SftpError when the root can't be listed.
        """
        is_first = self._audited is None
        audit = is_first or thorough or now - self._audited >= AUDIT
        if audit:
            self._looks.forgive()
        self.list.look(now, thorough)
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
            self.whole_files.compare_share([path for path in self.index.paths() if path not in self.vanished], now)
            self.queue.doubt_growing()
        self._audited = now if audit else self._audited
        self.queue.forgive(thorough)
        self.moves.merge_copies()
        self._plan(changed | self.queue.take_due(now), now)
        self.index.let_go()
        self._closed = {path: None for path in self._closed if path not in self.index}
        passed = collections.Counter({**self.skeleton.skipped, **self.list.refused}, unreadable=len(self._closed))
        if self.skeleton.complete and (self.news or passed != self._passed):
            self._passed = passed
            self.queue.pass_over(passed)

    def _plan(self, paths, now):
        self.queue.plan(self._take_new().union(paths), now)

    def _take_new(self):
        """Return the runs of which the list told something new (set of paths)."""
        unlooked = self.list.unlooked(self._hearsay)        # nobody but the list knows whether their files are regular ones
        self._hearsay.intersection_update(unlooked)
        self._hearsay.update(unlooked)
        new = self.list.take_new()
        self.queue.left_out.ask_for(new)
        self.news = self.news or bool(new)
        return new

    def _known_by_hearsay(self, is_first):
        """Return the ended runs that are to be listed, sorted, as nobody looked at their files: on this line, if it is the `is_first` time,
        or just now."""
        if self.source == "exec" or is_first and self.list.fresh:
            return []
        ended = (path for path in self.index.paths() if path not in self.vanished and self.index.ended(path))
        return sorted(path for path in ended if not (is_first and path in self._folders))

    def adjust(self, before, now):
        """The settings changed from `before` (dict) to what `options` says now: plan anew, and give up what is not wanted any more."""
        if all(self.options.get(field) == before.get(field) for field in CHOICE):
            return
        if self.options.get("manifest", True) != before.get("manifest", True):
            self.list.forget()
            self.learn(now)
        self.queue.replan(now)

    @property
    def looking(self):
        """Whether some runs are known by hearsay only (bool)."""
        return bool(self._unlisted)

    def check_hearsay(self, now):
        """List some runs that we know by hearsay only, and plan what that shows; returns whether more are left."""
        group, self._unlisted = self._unlisted[:LISTED], self._unlisted[LISTED:]
        self.queue.plan(self._relist(set(group), {}, now), now)
        return bool(self._unlisted)

    def _stat_all(self, now, watched):
        """LSTAT, in one round trip, the folders above the runs, the runs that have not ended with their files, live files
        and manifests; returns run paths that changed (set)."""
        folders = {self.skeleton.absolute(folder): folder for folder in self.skeleton.known(now)}
        alive = [path for path in self.index.paths()
                 if not self.index.ended(path) and path not in self.vanished and not self.list.speaks_of(path)]
        running = self._looks.due(alive, now)
        files = {self._looked_at.absolute(path, name): (path, name) for path in running for name in self._looked_at.names(path)}
        in_turn = self.source != "exec" and self._audited is not None and not self._unlisted
        turn = self.recheck.due(now, lambda: self._looked_at.turn(self.vanished)) if in_turn else []
        files.update((self._looked_at.absolute(path, name), (path, name))
                     for path, names, _, _ in turn if path in self.index for name in names)
        beats = self.beats.ask()
        manifests = [path for _, path in remote_index.manifest_files(self.root)] if self.options.get("manifest", True) else []
        stats, self._just_seen = self._just_seen, {}
        paths = [path for path in (*folders, *files, *beats, *manifests) if path not in stats]
        if paths or watched:
            stats.update(self._read_tails(watched, paths, now))
        for absolute, folder in folders.items():
            self.skeleton.note(folder, stats[absolute], now)
        changed = {path for absolute, (path, name) in files.items() if self._note(path, name, stats[absolute], now)}
        self.queue.doubtful.update(self.beats.take({path: stats[path] for path in beats}, now))
        if self._audited is not None:
            self.list.read(stats, now)
        self._note_looks(running, now)
        self.recheck.note([path for path in running if path not in self.queue.doubtful and len(self._looked_at.names(path)) > len(
            self.index.entry(path)["files"])], now)
        for path, _, begun, last in turn:
            if last and path in self.index and path not in self.queue.doubtful and path not in self.vanished:
                self.recheck.note([path], begun)
        self.looked = self._looks.oldest([path for path in alive if path not in self.beats.runs], now)
        self._looks.space(running, now, lambda path: self._wall(now) - plan.newest(self.index.entry(path)))
        return changed

    def _note_looks(self, paths, now):
        """A silence is counted between two looks at a run, however seldom its turn comes."""
        for path in paths:
            self._looks.look(path, now)
            self.beats.read(path, now)

    def _note(self, path, name, attrs, now):
        """Take the LSTAT of a run's folder ("") or file; returns whether the file changed."""
        entry, folder = self.index.entry(path), not name or name.endswith("/")
        if isinstance(attrs, SftpError) or not folder and (not sftp.is_file(attrs) or attrs.size is None):
            self.queue.doubtful.add(path)
            return False
        opened = self.queue.left_out.is_opened((path, name), attrs)
        if opened and folder:
            self.queue.doubtful.add(path)
        if folder:
            if self._folders.moved(path, name, entry["mtime"], attrs.mtime):
                self.queue.doubtful.add(path)
            return False
        file = entry["files"].get(name)
        if file and file["size"] == attrs.size and file["mtime"] is not None and int(file["mtime"]) == attrs.mtime:
            return opened
        self._set_file(path, name, attrs.size, attrs.mtime, now)
        return True

    def _set_file(self, path, name, size, mtime, now):
        entry = self.index.entry(path)
        file = {"size": size, "mtime": mtime, "tail": None}
        self.queue.rewrite.update((path, edited) for edited in plan.edits(entry, {name: file}))
        entry["files"][name] = file
        entry["digest"] = remote_index.WALKED
        self.news = self.news or entry["ended"]
        self.index.put(path, entry)
        self._saw_change(path, now)

    def _saw_change(self, path, now):
        self._looks.change(path, now)
        if not self.index.ended(path):
            self.beats.grew(path, now)

    def _list(self, now, audit):
        """List new, moved and doubtful runs; find out which vanished. Returns run paths that changed (set)."""
        by_exec = self._planned and not self._bare and self.source == "exec"
        if by_exec and not self.surveyed and not self.queue.doubtful | self.list.seen(self.vanished):
            self.moves.follow_entries(self.list.new)
            return self._relist(set(), {}, now)     # it just told of all; the next survey lists what is above
        mtimes = self.skeleton.refresh(now)
        self.beats.rename(self.skeleton.listed_as)
        self.moves.follow_entries(self.list.new)
        doubtful = self.queue.doubtful
        closed = set(list(self._closed)[CLOSED:])       # the others' turn comes at the next audit
        if self.source != "exec":
            doubtful.update(self.queue.left_out.closed_runs[:None if audit else CLOSED])
        self._believe(mtimes)
        for path, mtime in mtimes.items():
            new = path not in self.index and (audit or path not in closed) or path in self.vanished
            if new or audit and (not self.index.ended(path) or int(self.index.mtime(path) or 0) != mtime):
                doubtful.add(path)
        doubtful.update(self.index.lines.keys() - mtimes.keys() - self.vanished - self.index.foreign)
        if not (self.surveyed or self.list.asking):
            doubtful.update(self._known_by_hearsay(True)[:TOGETHER])
        return self._relist(doubtful, mtimes, now)

    def _believe(self, mtimes):
        """Look at the runs that a manifest spoke of: list those that go on, and forget those the server does not show where
        they are too many to be asked for one by one; we hold nothing of them."""
        hearsay = self.list.take_hearsay() - self.index.foreign
        ghosts, real = hearsay - mtimes.keys(), hearsay & mtimes.keys()
        self.queue.doubtful.update(path for path in real if not self.index.ended(path))
        if len(ghosts) > GHOSTS:
            self.log.warning("the server's manifest speaks of %d runs that are not there", len(ghosts))
            for path in ghosts:
                self.index.drop(path)
            self.queue.doubtful.difference_update(ghosts)
            self.queue.give_up(ghosts)
            self.news = True

    def _relist(self, paths, mtimes, now):
        """List runs anew. mtimes: {run path: its folder's mtime}, as far as known. Returns those that changed (set)."""
        due = {path for path, moment in self.queue.again.items() if moment <= now}
        paths = {path for path in paths | due if plan.believable(path)} - self.index.foreign
        self.queue.doubtful.difference_update(paths | self.index.foreign)
        beyond = {path for path in paths if not self.skeleton.leads_to(path)}
        paths -= beyond
        changed = due & (paths | self.index.foreign)
        for path in due:
            del self.queue.again[path]
        missing = {path: MissingFileError(f"{path} is beyond a link that is passed over", sftp_answers.NO_SUCH_FILE) for path in beyond}
        is_known, fresh = self.vanished or any(path in self.index for path in paths | beyond), {}

        def took(path, files):
            if isinstance(files, SftpError):
                missing[path] = files
            elif is_known and (path in self.vanished or path not in self.index):
                fresh[path] = files         # it may be one of those that are missing, under another path
            else:
                listed(path, files)

        def listed(path, files):
            if self._listed(path, files, mtimes.get(path), now):
                changed.add(path)
                self.queue.plan([path], now, more=True)
        try:
            walk.list_runs(self.client, self.root, paths, took)
            lost = {path for path, error in missing.items() if isinstance(error, MissingFileError)}
            if lost:
                self.client.lstat(self.root)      # raises when the root itself can't be seen: then nothing is known
            candidates = {path for path in lost | self.vanished if path in self.index}
            changed |= self.moves.follow_listings(fresh, candidates - fresh.keys())
            for path in fresh:
                listed(path, fresh[path])
        finally:
            self.queue.plan((), now)           # no more are being listed, whatever ended it
        for path, error in missing.items():
            if isinstance(error, DeniedError):
                self._denied(path)
            elif path in lost and path in self.index:
                self._missing(path)
        return changed

    def _denied(self, path):
        """A run's folder may not be listed."""
        self._closed[path] = self._closed.pop(path, None)       # at the end: the others have their turn first
        if path in self.index:
            self._closed.pop(path)
            self.queue.left_out.set_folders(path, [""])

    def _missing(self, path):
        """A run is gone: the server said so and, asked after that, still showed the root."""
        self.news = True
        self.beats.over(path)
        if any(self.mirror.stat(path, name) for name in self.index.entry(path)["files"]):
            self.vanished.add(path)
        else:
            self.index.drop(path)           # a manifest spoke of it and we hold nothing: nothing is lost

    def _listed(self, path, files, mtime, now):
        """Take the listing of a run; returns whether it shows anything new."""
        is_indexed = path in self.index
        entry = self.index.entry(path) if is_indexed else remote_index.empty()
        beat = files.pop(".beat", None)
        if beat:
            self.beats.own_heart(path, self._looked_at.absolute(path, ".beat"), beat["mtime"], now)
        self._note_looks([path], now)
        mtime = self._folders.take(path, files, mtime)
        self.recheck.note([path], now)
        again = self._folders.settles(path, mtime, now, self._wall(now))
        self.queue.again.update({path: again} if again else ())
        back = path in self.vanished
        self.news = self.news or back
        self.vanished.discard(path)
        self._hearsay.discard(path)
        self._closed.pop(path, None)
        self._keep_unseen(path, entry, files)
        self.queue.rewrite.update((path, name) for name in plan.edits(entry, files))
        new = remote_index.merged(entry, files, mtime)
        if new is entry and is_indexed:
            return back or bool(self.queue.rewrite) and any((path, name) in self.queue.rewrite for name in files)
        self.index.put(path, new)
        if is_indexed:
            self._saw_change(path, now)
            self.queue.grown.add(path)         # an open page shows what came, and what went
        self.news = True
        return True

    def _keep_unseen(self, path, entry, files):
        """What is in a folder that may not be listed is there still, as far as anybody knows."""
        self.queue.left_out.set_folders(path, files.closed)
        if files.closed:
            files.update((name, file) for name, file in entry["files"].items() if name.startswith(tuple(files.closed)))

    # -- what somebody watches

    def look(self, paths, now):
        """Read the tails of the runs `paths` and look at their small files and at who is alive, in one round trip."""
        small = [(path, name) for path in paths for name in ("", *layout.SMALL[1:]) if not name or name in self.index.entry(path)["files"]]
        beats = self.beats.ask()
        stats = self._read_tails(paths, [self._looked_at.absolute(*file) for file in small] + beats, now)
        changed = {path for path, name in small if self._note(path, name, stats[self._looked_at.absolute(path, name)], now)}
        new = self.beats.take({path: stats[path] for path in beats}, now)
        self._note_looks(paths, now)
        self.list.look(now, False)
        self.moves.follow_entries(self.list.new)
        doubtful = set(new) | self.queue.doubtful if len(self.queue.doubtful) <= TROUBLED else set(new)
        self._plan(changed | self._relist(doubtful, {}, now), now)

    def _read_tails(self, paths, others, now):
        """Read the tails of the runs `paths` and LSTAT `others` in one round trip; returns {absolute path: Attrs or SftpError}."""
        began = time.monotonic()
        outcomes, stats = self.tails.look(list(self._tails_of(paths)), others, 0.0 if self.options.get("budget") else tails.FLOOD)
        self._took(time.monotonic() - began)
        for (path, name), (outcome, count) in outcomes.items():
            self._take_tail(path, name, outcome, count, now)
        return stats

    def _took(self, seconds):
        """A round trip took so long; beside fetching it tells little."""
        if not self.queue.left:
            self.round_trip = min(seconds, 1.1 * (self.round_trip or 60.0))
            self.queue.fetcher.know_round_trip(self.round_trip)

    def _tails_of(self, paths):
        """The append-only files of runs that are nearly all here, as (path, name)."""
        for path, (name, file) in ((run, item) for run in paths for item in self.index.entry(run)["files"].items()):
            if (plan.is_appended(name) and self.queue.is_settled((path, name))
                    and file["size"] - (self.mirror.stat(path, name) or {"size": 0})["size"] < tails.CHUNK * tails.ROUNDS):
                yield path, name

    def _take_tail(self, path, name, outcome, count, now):
        if outcome is tails.CHANGED:
            self.queue.rewrite.add((path, name))
            self.queue.doubtful.add(path)
        elif outcome is tails.NO_ROOM or isinstance(outcome, (OSError, LayoutError)):
            self.queue.leave_out((path, name), self.index.entry(path)["files"][name], None if outcome is tails.NO_ROOM else outcome)
        elif isinstance(outcome, SftpError):
            self.queue.doubtful.add(path)
        elif count:
            file = self.index.entry(path)["files"][name]
            size = self.queue.tail_grew((path, name), file)
            if size > file["size"]:
                self._set_file(path, name, size, file["mtime"], now)
            self._saw_change(path, now)
            self.queue.grown.add(path)
            self.queue.doubtful.update({path} if (path, name) in self.tails.behind else ())    # listed, it shows what is left to fetch

    # -- what somebody asks for

    def mark(self, news):
        """Say whether anything is new that stands in no index that was written."""
        self.news = news
        if not news:
            self.index.was_saved()
            self.queue.was_told()

    def peek(self, path, name, ranges):
        """Return the bytes at `ranges`, [(offset, length), …], of a run's file as the server has it now; a negative offset
        counts from its end. Raises SftpError."""
        with self.queue.fetcher.held_back(), self.queue.second.held_back():   # what is on its way already is enough ahead of it
            return self.tails.peek((path, name), ranges)

    def verify(self, now):
        """Compare every file we hold, byte by byte, and queue what differs; returns {"files": compared, "refetched": n}."""
        self.survey(now, thorough=True)
        return self.whole_files.compare([path for path in self.index.paths() if path not in self.vanished], now)

    def check_rekeyed(self, now):
        """Once after the host key changed, compare all files whole where python3 on the server can; returns whether it did."""
        due, self._rekeyed = self._rekeyed and self.remote.exec_allowed is not False, False
        return due and bool(self.verify(now))

    def traffic(self):
        """Return (bytes both ways, requests) of this session and its second line."""
        second = self.queue.second
        return (self.remote.bytes_sent + self.remote.bytes_received + second.sent + second.received, self.client.requests + second.requests)

    def close(self):
        """Drop the line. Never raises."""
        if hasattr(self, "queue"):
            self.queue.second.close()
            self.queue.fetcher.drop()
        self.client.close()
        self.remote.close()
