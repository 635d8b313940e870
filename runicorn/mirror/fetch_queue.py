"""What to fetch, and what came of it: keeps the queue, believes what arrived, and looks again at what showed that we were told wrong."""

import collections
import time

from runicorn import layout, local_names, manifest
from runicorn.errors import DeniedError, LayoutError, SftpError
from runicorn.left_out import LeftOut, passed_text, passes, read_passed
from runicorn.mirror import plan
from runicorn.mirror.contents import Contents
from runicorn.mirror.outcome import Outcome
from runicorn.mirror.unsettled import LONG_AGO, Moment, Unsettled

HASHED = 64 << 10               # bytes; a larger file of which only the mtime moved is hashed by the server where that can
GROWING = 2 << 30               # bytes of logs that never rest, which the server hashes at once
SPACE_SECONDS = 5.0             # s between looks at the free disk
NAMED = 20                      # runs whose broken entries are named in the log at once
AT_A_TIME = 200                 # runs planned between two looks whether the lines have work
TROUBLE = 3                     # times a file may fail before it waits for the next survey


class FetchQueue:
    """The fetches over one line: planned, carried out, taken into the index. `doubtful` holds run paths to list again. The sync's thread's
    alone, as the Fetcher of the first line is; that of the second is the thread `bulk`'s."""

    def __init__(self, options, mirror, index, beats, room, log, wall):
        """wall: clock.Clock.wall. `take_lines` must follow."""
        self.options, self.mirror, self.index, self.beats, self.log, self._wall = options, mirror, index, beats, log, wall
        self.fetcher = self.second = None
        self.room = room
        self.unsettled = Unsettled(mirror, lambda: self.now, wall)
        self.contents = Contents(index, self.unsettled, lambda key: key in self.rewrite or key in self._trouble)
        self.doubtful = set()           # run paths to list again
        self._undated = set()           # run paths listed again already as an mtime was missing
        self.again = {}                 # run path -> when to list and plan it again: it changed within its mtime's second
        self.rewrite = set()            # (path, name): ours is wrong somewhere, fetch it whole
        self.hashes = False             # whether the server can tell a file's SHA-256, so that …
        self.suspects = {}              # … (path, name) -> Fetch waits in here for that: only the mtime of a large file moved
        self.opened = set()              # run paths somebody opened
        self.grown = set()              # run paths whose files grew since last told
        self.grown_to = {}              # (path, name) -> size that a tail reached, every seam compared
        self.news = False               # a small file changed since last told
        self.left_out = LeftOut(read_passed(mirror.folder))
        self._queued, self._trouble, self._forgiven = {}, {}, set()     # the first: (path, name) -> (the index's version, its mtime)
        self._small = set()             # of the queued ones those the list shows
        self.listed = False             # the last of them came, and nobody was told yet
        self._later = []                 # fetches that wait until the run list is whole
        self._more = False              # more runs are being listed
        self._may_share = False         # whether a second line may be used
        self._space_seen = self.now = 0.0
        self.full = False               # this disk has no room for more
        self._begun_any = False         # since what is left of earlier transfers was cleared away
        self.reset_progress()

    def reset_progress(self):
        self.files_done = self.files_total = self.bytes_done = self.bytes_total = 0
        self.began = time.monotonic()
        self.mirror.parts.begin_progress()

    def take_lines(self, fetcher, second):
        """Say what fetches: a fetcher.Fetcher, which reports to `ended`, and a second_line.SecondLine."""
        self.fetcher, self.second = fetcher, second
        if not (self.index.lines or self.options.get("budget")):
            second.expect()         # nothing is here: it will have work

    # -- planning

    def plan(self, paths, now, more=False):
        """Queue what the settings ask for and is not here yet, of the runs `paths`; everything else keeps its place.

        more: other runs are being listed still; but for what the run list shows, fetching waits until that is whole.
        """
        self.now, self._more, fetches = now, more, []
        forgiven, self._forgiven = self._forgiven, set()
        for path in {*paths, *forgiven}:
            if path not in self.index:
                continue
            entry = self.index.entry(path)
            if self._is_chosen(path, entry, now):
                fetches += self._missing(path, entry, now)
        self._list_mended()
        if not self.left:
            self.reset_progress()
        small = [fetch for fetch in fetches if fetch.name in layout.SMALL]
        self._queued.update(((fetch.path, fetch.name), (self.index.version(fetch.path), fetch.mtime)) for fetch in fetches)
        self._small.update((fetch.path, fetch.name) for fetch in small)
        self.listed = self.listed and not small
        self.files_total += len(fetches)
        self.bytes_total += plan.total(fetches)
        if more:
            self._later += [fetch for fetch in fetches if fetch.name not in layout.SMALL]
        self._queue(small if more else fetches)
        if self._later and not (more or self._small):
            self._release()

    def plan_ahead(self, paths, now):
        """Plan the runs `paths`, the newest first, and have the first line begin with what the run list shows of some while there are more,
        and the second with the rest; returns whether there were any."""
        newest_first = sorted(paths, key=lambda path: path.rpartition("/")[2], reverse=True)
        for start in range(0, len(newest_first), AT_A_TIME):
            self.plan(newest_first[start:start + AT_A_TIME], now, more=True)
            self.fetcher.client.send()
        self._more = False
        if self.room.fits(plan.total(self._later)):      # else the newest should have the room, and a second line begins with the oldest
            later, self._later = self._later, []
            self._queue(later, last=True)
            self._share()
        return bool(newest_first)

    def give_up(self, paths):
        """The runs `paths` (set) are none: nothing of them is fetched."""
        for line in (self.fetcher, self.second):
            line.keep_only(lambda fetch: fetch.path not in paths)

    def _list_mended(self):
        """List the runs whose lines had to be mended, in a manifest or in our own index."""
        mended = self.index.take_mended()
        for path, wrong in list(mended.items())[:NAMED]:
            self.log.warning("the entry of %s does not fit and is made anew: %s", path, ", ".join(wrong[:5])[:300])
        if len(mended) > NAMED:
            self.log.warning("the entries of %d more runs do not fit and are made anew", len(mended) - NAMED)
        self.doubtful.update(mended)

    def _release(self, path=None):
        """Queue what waited for the run list, of one run or of all."""
        freed = [fetch for fetch in self._later if path in (None, fetch.path)]
        self._later = [fetch for fetch in self._later if path not in (None, fetch.path)]
        self._queue(freed)
        self._share()                   # before the first line begins with them

    def _queue(self, fetches, last=False):
        self._begun_any = self._begun_any or bool(fetches)
        fetches.sort(key=self._urgency, reverse=True)
        self.fetcher.add(fetches, first=not last and len(fetches) < 100)

    def _unqueue(self, fetches):
        for fetch in fetches:
            self._queued.pop((fetch.path, fetch.name), None)

    def replan(self, now):
        """The settings changed: give up what they no longer ask for, and queue what they ask for now."""
        entries = {path: self.index.entry(path) for path in {path for path, _ in self._queued} if path in self.index}
        chosen = {path: entry["files"] for path, entry in entries.items() if self._is_chosen(path, entry, now)}
        still = {(path, name) for path, name in self._queued
                if name in chosen.get(path, ()) and plan.wanted(name, chosen[path][name]["size"], self.options)}
        self._unqueue(self._later)
        self.files_total -= len(self._later)
        self.bytes_total -= plan.total(self._later)
        self._later.clear()              # planned anew below, where they are still wanted
        self.left_out.clear()
        for line in (self.fetcher, self.second):
            line.keep_only(lambda fetch: (fetch.path, fetch.name) in still)
        self.plan(self.index.paths(), now)

    def rename(self, moved):
        """Runs moved, {old path: new path}: what was on its way is given up, to be planned under the new path."""
        if any(path in moved for path in self.second.runs()):
            self.second.close()             # it writes into the old folders
            for ended in self.second.collect():
                self.ended(*ended)
        self.fetcher.keep_only(lambda fetch: fetch.path not in moved)
        freed = [fetch for fetch in self._later if fetch.path in moved]
        self._later = [fetch for fetch in self._later if fetch.path not in moved]
        self._unqueue(freed)
        self.files_total -= len(freed)
        self.bytes_total -= plan.total(freed)
        self.opened.update(moved[path] for path in moved.keys() & self.opened)
        for paths in (self.doubtful, self.opened, self.grown):
            paths.difference_update(moved)
        for path in moved.keys() & self.again.keys():
            del self.again[path]
        self.unsettled.rename(moved)
        for notes in (self.grown_to, self._trouble):
            notes.update({(moved[path], name): notes.pop((path, name)) for path, name in list(notes) if path in moved})
        wrong = {key for key in self.rewrite if key[0] in moved}
        self.rewrite.difference_update(wrong)
        self.rewrite.update((moved[path], name) for path, name in wrong)
        for key in [key for key in self.suspects if key[0] in moved]:
            del self.suspects[key]
        self.left_out.rename(moved)

    def _is_chosen(self, path, entry, now):
        """Whether the settings ask for a run: somebody opened it, it runs, or it is recent enough."""
        return path in self.opened or path in self.beats.runs or plan.within(entry, self.options.get("window"), self._wall(now))

    def _missing(self, path, entry, now):
        """Return the fetches that complete our copy of a run (list of Fetch)."""
        if path not in self._undated and None in (file["mtime"] for file in entry["files"].values()):
            self._undated.add(path)         # listed once: a manifest may leave out what the server tells, which may tell none itself
            self.doubtful.add(path)
        evicted = self.mirror.evicted(path)
        twins = self.mirror.tell_apart(path, entry["files"])
        listed = {name: file for name, file in entry["files"].items() if self._may_come((path, name), file, evicted)}
        self.rewrite.update((path, name) for name in twins if name in listed and twins[name] & listed.keys())
        bare = not self.mirror.holds(path)
        copies = {} if bare else {name: self._here((path, name), listed[name]) for name in listed}
        fetches = plan.diff(path, copies, listed)
        for fetch in fetches:
            self.unsettled.see((path, fetch.name), fetch.mtime, now)
        return [fetch for fetch in fetches if not self.unsettled.rests(fetch, copies.get(fetch.name), entry["ended"], now)
                and not self._is_suspect(fetch, copies.get(fetch.name))]

    def take_due(self, now):
        """Return the runs of which we have unproven files that are to be read again now (set of paths)."""
        return self.unsettled.take_due(lambda path: path not in self.index or self.index.ended(path), now)

    def _is_suspect(self, fetch, copy):
        """Whether a fetch waits for the server's SHA-256: its tail, where that is known, is ours, and only its mtime moved."""
        key = fetch.path, fetch.name
        if not self.hashes or not fetch.whole or not copy or copy["size"] != fetch.size or fetch.size <= HASHED:
            return False        # what is not whole looks at a seam only: the listing is older than what we read
        if fetch.tail and self.mirror.tail(*key, fetch.size) != fetch.tail:
            return False
        self.suspects[key] = fetch._replace(began=self.unsettled.moment())
        return True

    def doubt_growing(self):
        """Have the server hash what we hold of logs that grow without rest: an edit of what came before shows in nothing else."""
        room = GROWING
        for path, name in self.unsettled.waiting() if self.hashes else ():
            file = self.index.entry(path)["files"].get(name) if path in self.index else None
            copy = self.mirror.stat(path, name) if file and self.is_settled((path, name)) else None
            if copy and copy["size"] <= room:
                room -= copy["size"]
                self.suspects[path, name] = plan.Fetch(path, name, 0, copy["size"], file["mtime"], None, True, self.unsettled.moment())

    def judged(self, suspects, wrong, now):
        """The server told the SHA-256 of `suspects`, {(path, name): Fetch}; those in `wrong` are not what we hold, or nobody knows."""
        for key, fetch in suspects.items():
            self.suspects.pop(key, None)
            copy = self.mirror.stat(*key)
            if key in wrong:
                self.rewrite.add(key)
            elif copy and copy["size"] == fetch.size and fetch.mtime is not None:         # a server may tell none
                self._date(fetch)
                self.grown.add(fetch.path)
        self.plan({path for path, _ in suspects}, now)

    def fetch_whole(self, keys, now):
        """Queue the files `keys`, [(run path, name), ...], whole: ours are wrong somewhere."""
        self.rewrite.update(keys)
        self.plan({path for path, _ in keys}, now)

    def _may_come(self, key, file, evicted):
        """Whether a file is wanted, and not on its way, refused, or failing for now."""
        name = key[1]
        if key in self._queued or key in self.suspects or self.left_out.still(key, file) or self._trouble.get(key, 0) > TROUBLE:
            return False
        if not plan.wanted(name, file["size"], self.options) or not self.index.believes(*key) or not self._has_place(key, file):
            return False
        return not evicted or local_names.is_small(name) or evicted is not True and self.mirror.local_name(*key) not in evicted

    def _has_place(self, key, file):
        try:
            return bool(self.mirror.place(*key))
        except LayoutError as error:
            self.leave_out(key, file, error)
            return False

    def leave_out(self, key, file, error):
        """Do without a file ({"size", "mtime"} on the server) until it changes there: `error`, or None for want of room."""
        if self.left_out.add(key, file, error):
            self.log.warning("%s/%s is not mirrored: %s", *key, error or "there is no room for it")

    def _here(self, key, file):
        """Return what we hold of a file, None when it must come whole."""
        copy = None if key in self.rewrite else self.mirror.stat(*key)
        if copy and self.grown_to.get(key) == copy["size"] == file["size"]:        # read by a tail, every seam compared
            copy["mtime"] = None if file["mtime"] is None else file["mtime"] - 1    # what is before the seam is proven later
            self.mirror.touch(*key, copy["mtime"])
            self.unsettled.grew(key, copy["size"])
            del self.grown_to[key]
        return copy

    def tail_grew(self, key, file):
        """A tail appended to our copy of a file, {"size", "mtime"} as last `file`; returns the size of our copy."""
        if file["mtime"] is not None:          # written in the very second of the server's mtime, ours would pass for a proof
            self.mirror.touch(*key, file["mtime"] - 1)
        self.grown_to[key] = self.mirror.stat(*key)["size"]
        return self.grown_to[key]

    def _urgency(self, fetch):
        return fetch.path in self.opened, fetch.path in self.beats.runs, plan.order(fetch)

    def ask_for(self, path, now):
        """Somebody opened a run: its files come before everything else."""
        self.opened.add(path)
        self.fetcher.hurry(self.opened | self.beats.runs.keys())
        self.left_out.ask_for({path})
        self.plan([path], now)
        self._release(path)
        self.fetcher.prefer(path)

    def is_settled(self, key):
        """Whether our copy of the file (path, name) may be compared and added to: it is not being fetched, wrong, or refused."""
        return key not in self._queued and key not in self.rewrite and key not in self.left_out

    def forgive(self, thorough=False):
        """Try again what failed: a survey just looked. thorough: also all that is left out, else some of it in turn."""
        self._forgiven = self.left_out.retry(self.room.fits, thorough) | {path for path, _ in self._trouble}
        self._trouble = {(path, name): TROUBLE for path, name in self._trouble
                         if path in self.index and name in self.index.entry(path)["files"]}       # one try until the next survey

    @property
    def failing(self):
        """How many files failed so often that they wait for the next survey (int)."""
        return sum(count > TROUBLE for count in self._trouble.values())

    # -- carrying out

    @property
    def left(self):
        """How many files are not here yet (int)."""
        return self.fetcher.left + self.second.held + len(self._later)

    def allow(self, now, allowance):
        """Say how many bytes may be fetched until told anew (None: any number): whatever the line is used for, they come beside it.

        now: the clock.Clock's time, which files that arrive are seen at. On a full disk nothing is fetched, and `full` says so.
        """
        self.now = now
        self._may_share = allowance is None
        self.mirror.look_at_evicted()
        room = 0 if not self._has_room() else 1 << 60 if allowance is None else allowance
        self.fetcher.allow(room, None if allowance is None else allowance // 4)
        self.fetcher.hurry(self.opened | self.beats.runs.keys())

    def hash_suspects(self, can_hash):
        """Say whether the server can tell a file's SHA-256."""
        self.hashes = can_hash

    def was_told(self):
        """What is new in the small files stands in the index that was written."""
        self.news = False

    @property
    def whole(self):
        """Whether all is here that the run list shows (bool)."""
        return not self._small and not self._more

    def _share(self):
        """Have a second line take its share, where that is allowed, and not before all that the run list shows was asked for."""
        self.fetcher.hurry(self.opened | self.beats.runs.keys())
        all_asked = not (self._more or self._later and self.fetcher.has_waiting(1))
        self.fetcher.leave_rest(self._may_share and all_asked and self.second.share(self.fetcher, self._later))

    def work(self, until, urgent=()):
        """Fetch until the monotonic clock says `until`, `urgent` holds something, as much came as is allowed, or the list is whole.

        Raises LineError, ProtocolError, and SyncError when the disk refuses all the same.
        """
        while self.left and not urgent and not self.listed and time.monotonic() < until and self.fetcher.bytes < self.fetcher.enough:
            self._share()
            for ended in self.second.collect():
                self.ended(*ended)
            if self.fetcher.left and not self.fetcher.at_rest:
                self.fetcher.step(min(until, time.monotonic() + 0.1))
            elif self.second.held:
                time.sleep(0.02)
        self.grown |= self.fetcher.grown() | self.second.grown()
        self.fetcher.client.send()     # the line has work while whoever called tells the pages
        self.listed = False
        if self._begun_any and not self.left:       # the last may have come while the line was asked for other things
            self._begun_any = False
            self.mirror.parts.clear()

    def _has_room(self):
        """Look at the free disk now and then; where it is full, everything waits, and the second line hangs up."""
        if self.now - self._space_seen >= SPACE_SECONDS:
            self._space_seen = self.now
            full, self.full = self.full, self.room.free() < 0
            if self.full and not full:
                self.second.close()
                for ended in self.second.collect():
                    self.ended(*ended)
        return not self.full

    def ended(self, fetch, outcome, size, data):
        """A fetch ended: believe what it showed."""
        key, now = (fetch.path, fetch.name), self.now
        version, mtime = self._queued.pop(key, (None, None))
        if key in self._small:
            self._small.discard(key)
            self.listed = not self._small
            if self.listed and self._later and not self._more:
                self._release()
        if outcome in (Outcome.LOST, Outcome.DISK, Outcome.UNWANTED):
            self.files_total -= 1
            self.bytes_total -= fetch.size - fetch.offset
            if outcome is not Outcome.UNWANTED:
                self.plan([fetch.path], now)
            return
        self.files_done += 1
        self.bytes_done += fetch.size - fetch.offset
        if outcome is Outcome.DONE:
            self.left_out.forget(key)
            self._arrived(fetch, key, size, data)
            self.doubtful.update({fetch.path} if fetch.mtime != mtime else ())      # whoever told of it was wrong
            self._follow(fetch, version, now)
        elif outcome is Outcome.NO_ROOM and self._is_unproven(fetch, key):
            self.unsettled.grew(key, fetch.size)          # it stays as it is, and not verified, until there is room for another
        elif outcome is Outcome.NO_ROOM:
            self.leave_out(key, self._listed_as(fetch), None)
        elif isinstance(outcome, (DeniedError, LayoutError, OSError)) and not passes(outcome):
            self.leave_out(key, self._listed_as(fetch), outcome)
        else:
            self._wrong(fetch, outcome)

    def _is_unproven(self, fetch, key):
        """Whether our copy of a file that was to be read again has all of its bytes, as far as anybody knows."""
        copy = self.mirror.stat(*key)
        return plan.is_appended(fetch.name) and key not in self.rewrite and copy is not None and copy["size"] == fetch.size

    def pass_over(self, counts):
        """Say what is not mirrored because of its name, place or kind: {reason: count} above the runs, and what the runs' lines say."""
        if self.left_out.pass_over(dict(self.index.skipped() + collections.Counter(counts))):
            self.log.warning("passed over on the server: %s", passed_text(self.left_out.passed))

    def _follow(self, fetch, version, now):
        """Plan the rest of a file that the index has learned more of since its `version` while it was on its way."""
        if fetch.mtime is None or fetch.path not in self.index or self.index.version(fetch.path) == version:
            return
        listed = self._listed_as(fetch)
        if listed["size"] != fetch.size or not plan.is_same_time(fetch.mtime, listed["mtime"]):
            self.plan([fetch.path], now)

    def _listed_as(self, fetch):
        """Return {"size", "mtime"} of a fetch's file as the index has it now."""
        return self.index.entry(fetch.path)["files"].get(fetch.name) or {"size": fetch.size, "mtime": fetch.mtime}

    @property
    def bytes_here(self):
        """How many bytes of `bytes_total` have come (int)."""
        return self.bytes_done + self.fetcher.coming + self.second.coming + sum([*self.mirror.parts.resumed.values()])

    def _wrong(self, fetch, outcome):
        """What we hold, or were told, is not what the server has: list the run again, fetch whole what does not fit."""
        key = fetch.path, fetch.name
        if outcome is Outcome.CHANGED or outcome is Outcome.SHORT and not fetch.whole:
            self.log.info("%s/%s is not what we hold of it any more; it is fetched whole", *key)
            self.rewrite.add(key)
        self._trouble[key] = self._trouble.get(key, 0) + 1
        if isinstance(outcome, (SftpError, OSError)) and self._trouble[key] > TROUBLE:
            self.leave_out(key, self._listed_as(fetch), outcome)
            del self._trouble[key]
        self.doubtful.add(fetch.path)

    def _arrived(self, fetch, key, size, data):
        if fetch.tail and size == fetch.size and self.mirror.tail(*key, fetch.size) != fetch.tail:
            self._wrong(fetch, Outcome.DONE if fetch.whole else Outcome.CHANGED)
            if not fetch.whole:
                return
        if fetch.whole:
            self.rewrite.discard(key)
        if fetch.mtime is not None and size >= fetch.size and not self._date(fetch):
            return self._wrong(fetch, Outcome.CHANGED)      # somebody deleted it in this moment
        self._trouble.pop(key, None)
        if data is not None:
            self._take_small(fetch, data)
        self.grown.add(fetch.path)

    def _date(self, fetch):
        """Give our copy the server's mtime if it is proven, one of a second before if it is to be read again; returns whether it is there.

        What was appended proves nothing of the bytes before: they may have been edited in the same moment.
        """
        key = fetch.path, fetch.name
        large = fetch.size > plan.SMALL_LIMIT and not plan.is_appended(fetch.name)      # not read twice for an edit of its beginning
        began = self.unsettled.moment() if large else self._begun(fetch)
        sure = began is not None and self.unsettled.is_settled(key, fetch.mtime, began)
        if sure:
            self.unsettled.settle(key)
        else:
            again = self.unsettled.wait(fetch, fetch.began if fetch.whole else None)
            if not plan.is_appended(fetch.name):
                self.again[fetch.path] = again
        return self.mirror.touch(*key, fetch.mtime if sure else fetch.mtime - 1)

    def _begun(self, fetch):
        """Return the Moment since which all of our copy was read from a file of that size and mtime, None where only its end was."""
        noted = self.mirror.parts.begun(fetch)
        if noted and noted[1] != fetch.began.wall:
            return Moment(LONG_AGO, *noted)         # it goes on where an earlier one was cut
        return fetch.began if fetch.whole else None

    def _take_small(self, fetch, data):
        """Put a small JSON file into the index."""
        field = fetch.name[:-5]
        if self.index.says(fetch.path, field, manifest.on_one_line(data)):
            return
        entry = self.index.entry(fetch.path)
        text, value = manifest.splice(data, collections.Counter())
        if value is None or value == entry[field]:
            return
        entry[field] = value
        entry["ended"] = (entry["status"] or {}).get("status") in manifest.ENDED
        self.index.put(fetch.path, entry, {field: text})
        if entry["ended"]:
            self.beats.over(fetch.path)
        self.news = True
