"""What is known of our copies, file by file: which are wrong, unproven, refused or failing, and so what of a
run is to be fetched.

Reads and dates files of the mirror, asks no server.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from runicorn import local_names
from runicorn.errors import DeniedError, LayoutError, SftpError
from runicorn.left_out import LeftOut, passed_text, passes, read_passed
from runicorn.mirror import plan
from runicorn.mirror.contents import Contents
from runicorn.mirror.outcome import Outcome
from runicorn.mirror.unsettled import LONG_AGO, Moment, Unsettled

if TYPE_CHECKING:
    from runicorn.mirror.plan import Fetch
    from runicorn.mirror.remote_index import Entry, File, Key

# bytes; a larger file of which only the mtime moved is hashed by the server where that can
HASHED = 64 << 10
NAMED = 20                      # runs whose broken entries are named in the log at once
# s between looks at what the mirrors take, while files wait for room: other processes clean, too
MEASURED = 60.0
TROUBLE = 3                     # times a file may fail before it waits for the next survey


class Copies:
    """The files of a mirror beside what the index says of them, while one line is up; a file's key is (run
    path, name). The sync's thread's alone. `doubtful` (run paths to list again), `rewrite` and `left_out` are
    there for whoever learns of such."""

    def __init__(self, options, mirror, index, beats, room, log, clock, wall, on_way, opened):
        """room: room.Room; clock: callable that returns the clock.Clock's time of the present pass (s); wall:
        clock.Clock.wall; on_way: {key: …} of the files that are queued; opened: paths of the runs (set) that
        somebody opened: both are looked into only."""
        self._options, self._mirror, self._index, self._beats = options, mirror, index, beats
        self._room, self._log = room, log
        self._on_way, self._opened = on_way, opened
        self.unsettled = Unsettled(mirror, clock, wall)
        self.contents = Contents(index, self.unsettled,
                                 lambda key: key in self.rewrite or key in self._trouble)
        self.doubtful = set()           # run paths to list again
        self._undated = set()           # run paths listed again already as an mtime was missing
        # run path -> when to list and plan it again: it changed within its mtime's second
        self.again = {}
        self.rewrite = set()            # keys: ours is wrong somewhere, fetch it whole
        self.hashes = False             # whether the server can tell a file's SHA-256, so that …
        self.suspects = {}              # … key -> Fetch waits in here for that: only the mtime of a large
                                        # file moved
        self._grown_to = {}             # key -> size that a tail reached, every seam compared
        self.left_out = LeftOut(read_passed(mirror.folder))
        # key -> how often its fetch failed; run paths to try again
        self._trouble, self._forgiven = {}, set()

    # -- what to fetch

    def missing(self, path: str, entry: Entry, now: float) -> list[Fetch]:
        """Return the fetches that complete our copy of a run (list of Fetch)."""
        if path not in self._undated and None in (file["mtime"] for file in entry["files"].values()):
            # listed once: a manifest may leave out what the server tells, which may tell none itself
            self._undated.add(path)
            self.doubtful.add(path)
        evicted = self._mirror.evicted(path)
        twins = self._mirror.tell_apart(path, entry["files"])
        bare = not self._mirror.holds(path)
        listed = {name: file for name, file in entry["files"].items()
                  if (bare or twins or not self._is_here((path, name), file))
                  and self._may_come((path, name), entry, evicted)}
        self.rewrite.update((path, name) for name in twins if name in listed and twins[name] & listed.keys())
        copies = {} if bare else {name: self._copy((path, name), listed[name]) for name in listed}
        fetches = plan.diff(path, copies, listed)
        for fetch in fetches:
            self.unsettled.see((path, fetch.name), fetch.mtime, now)
        if self.left_out.count():
            for name in listed.keys() - {fetch.name for fetch in fetches}:
                self.left_out.forget((path, name))      # it came by a tail, or went back to what is here
        return [fetch for fetch in fetches
                if not self.unsettled.rests(fetch, copies.get(fetch.name), entry["ended"], now)
                and not self._is_suspect(fetch, copies.get(fetch.name))]

    def is_asked_for(self, path: str, name: str, entry: Entry) -> bool:
        """Whether the settings ask for a file of an entry, or somebody does: what is here in part goes on,
        however large it becomes."""
        return (plan.asked_for(entry, name, self._options, path in self._opened)
                or bool(entry.get("kinds") and self._mirror.stat(path, name)))

    def _is_here(self, key, file):
        """Whether nothing of a file is to be fetched, as most often: ours has its size and mtime, and
        nobody knows better."""
        return (key not in self.rewrite and key not in self._grown_to and key not in self.left_out
                and plan.compare(*key, self._mirror.stat(*key), file) is None)

    def _may_come(self, key, entry, evicted):
        """Whether a file of an entry is wanted, and not on its way, refused, or failing for now."""
        name, file = key[1], entry["files"][key[1]]
        if (key in self._on_way or key in self.suspects or self.left_out.still(key, file)
                or self._trouble.get(key, 0) > TROUBLE):
            return False
        if not (self.is_asked_for(*key, entry) and self._index.believes(*key) and self._has_place(key, file)):
            return False
        return (not evicted or local_names.is_small(name)
                or evicted is not True and self._mirror.local_name(*key) not in evicted)

    def _has_place(self, key, file):
        try:
            return bool(self._mirror.place(*key))
        except LayoutError as error:
            self.leave_out(key, file, error)
            return False

    def leave_out(self, key: Key, file: File, error: Exception | None) -> None:
        """Do without a file ({"size", "mtime"} on the server) until it changes there: `error`,
        or None for want of room."""
        if self.left_out.add(key, file, error):
            self._log.warning("%s/%s is not mirrored: %s", *key, error or "there is no room for it")

    def pass_over(self, counts):
        """Say what is not mirrored because of its name, place or kind: {reason: count} above the runs, and
        what the runs' lines say."""
        if self.left_out.pass_over(dict(self._index.skipped() + collections.Counter(counts))):
            self._log.warning("passed over on the server: %s", passed_text(self.left_out.passed))

    def _copy(self, key, file):
        """Return what we hold of a file, None when it must come whole."""
        copy = None if key in self.rewrite else self._mirror.stat(*key)
        # read by a tail, every seam compared
        if copy and self._grown_to.get(key) == copy["size"] == file["size"]:
            # what is before the seam is proven later
            copy["mtime"] = None if file["mtime"] is None else file["mtime"] - 1
            self._mirror.touch(*key, copy["mtime"])
            self.unsettled.grew(key, copy["size"])
            del self._grown_to[key]
        return copy

    def tail_grew(self, key, file):
        """A tail appended to our copy of a file, {"size", "mtime"} as last `file`;
        returns the size of our copy, 0 where it was removed meanwhile."""
        copy = self._mirror.stat(*key)
        if copy is None:
            self.doubtful.add(key[0])
            return 0
        # written in the very second of the server's mtime, ours would pass for a proof
        if file["mtime"] is not None:
            self._mirror.touch(*key, file["mtime"] - 1)
        self._grown_to[key] = copy["size"]
        # else nobody reads again what grew last within one second
        self.unsettled.see(key, file["mtime"], self.unsettled.moment().now)
        self.unsettled.grew(key, self._grown_to[key])
        return self._grown_to[key]

    def has_reached(self, key: Key, size: int) -> bool:
        """Whether a tail saw the file grow to this size (bool)."""
        return self._grown_to.get(key) == size

    def is_settled(self, key: Key) -> bool:
        """Whether our copy of the file (path, name) may be compared and added to: it is not being
        fetched, wrong, or refused."""
        return key not in self._on_way and key not in self.rewrite and key not in self.left_out

    def doubt_mended(self) -> None:
        """List the runs whose lines had to be mended, in a manifest or in our own index."""
        mended = self._index.take_mended()
        for path, wrong in list(mended.items())[:NAMED]:
            self._log.warning("the entry of %s does not fit and is made anew: %s", path,
                              ", ".join(wrong[:5])[:300])
        if len(mended) > NAMED:
            self._log.warning("the entries of %d more runs do not fit and are made anew", len(mended) - NAMED)
        self.doubtful.update(mended)

    # -- what is looked at once more

    def forgive(self, thorough: bool = False) -> None:
        """Try again what failed: a survey just looked. thorough: also all that is left out,
        else some of it in turn."""
        if self.left_out.wants_room:
            self._room.measure(MEASURED)
        self._forgiven = self.left_out.retry(self._fits, thorough) | {path for path, _ in self._trouble}
        self._trouble = {(path, name): TROUBLE for path, name in self._trouble
                         # one try until the next survey
                         if path in self._index and name in self._index.entry(path)["files"]}

    def _fits(self, key, size):
        """Whether there is room for a file of `size` bytes; where there is none, others should go for
        that of a run that goes on."""
        copy = (self._mirror.stat(*key) or {"size": 0})["size"]
        count = size - copy if plan.is_appended(key[1]) and copy < size else size
        fits = self._room.fits(count, min(copy, size) if count == size else 0)
        if not fits and key[0] in self._beats.runs:
            self._room.want(count, size)
        return fits

    def take_forgiven(self) -> set[str]:
        """Return the runs of which what failed is to be tried again (set of paths)."""
        forgiven, self._forgiven = self._forgiven, set()
        return forgiven

    @property
    def failing(self) -> int:
        """How many files failed so often that they wait for the next survey (int)."""
        return sum(count > TROUBLE for count in self._trouble.values())

    def take_due(self, now: float) -> set[str]:
        """Return the runs of which we have unproven files that are to be read again now (set of paths)."""
        return self.unsettled.take_due(lambda path: path not in self._index or self._index.ended(path), now)

    def hash_suspects(self, can_hash: bool) -> None:
        """Say whether the server can tell a file's SHA-256."""
        self.hashes = can_hash

    def _is_suspect(self, fetch, copy):
        """Whether a fetch waits for the server's SHA-256: its tail, where that is known, is ours,
        and only its mtime moved."""
        key = fetch.path, fetch.name
        if (not self.hashes or not fetch.whole or not copy or copy["size"] != fetch.size
                or fetch.size <= HASHED):
            # what is not whole looks at a seam only: the listing is older than what we read
            return False
        if fetch.tail and self._mirror.tail(*key, fetch.size) != fetch.tail:
            return False
        self.suspects[key] = fetch._replace(began=self.unsettled.moment())
        return True

    def doubt_growing(self) -> None:
        """Have the server hash what we hold of logs that grow without rest: an edit of what came
        before shows in nothing else."""
        room = plan.HASHED_AT_ONCE
        for path, name in self.unsettled.waiting() if self.hashes else ():
            file = self._index.entry(path)["files"].get(name) if path in self._index else None
            copy = self._mirror.stat(path, name) if file and self.is_settled((path, name)) else None
            if file and copy and copy["size"] <= room:
                room -= copy["size"]
                self.suspects[path, name] = plan.Fetch(
                    path, name, 0, copy["size"], file["mtime"], None, True, self.unsettled.moment())

    def judge(self, suspects: dict[Key, Fetch], wrong: set[Key]) -> set[str]:
        """The server told the SHA-256 of `suspects`, {key: Fetch}; those in `wrong` are not what we hold, or
        nobody knows. Returns the runs of which some are proven now (set of paths)."""
        proven = set()
        for key, fetch in suspects.items():
            self.suspects.pop(key, None)
            copy = self._mirror.stat(*key)
            if key in wrong:
                self.rewrite.add(key)
            elif copy and copy["size"] == fetch.size and fetch.mtime is not None:
                # a server may tell none
                self._date(fetch)
                proven.add(fetch.path)
        return proven

    def rename(self, moved: dict[str, str]) -> None:
        """Runs moved, {old path: new path}: what is known of their files goes with them."""
        self.doubtful.difference_update(moved)
        for path in moved.keys() & self.again.keys():
            del self.again[path]
        self.unsettled.rename(moved)
        for notes in (self._grown_to, self._trouble):
            notes.update({(moved[path], name): notes.pop((path, name))
                          for path, name in list(notes) if path in moved})
        wrong = {key for key in self.rewrite if key[0] in moved}
        self.rewrite.difference_update(wrong)
        self.rewrite.update((moved[path], name) for path, name in wrong)
        for key in [key for key in self.suspects if key[0] in moved]:
            del self.suspects[key]
        self.left_out.rename(moved)

    # -- what came of a fetch

    def take(self, fetch, outcome, size, data):
        """A fetch ended with an Outcome or an error: believe what it showed of our copy, which has `size`
        bytes now. data: those of a small file. Returns whether our copy is another one now."""
        key = fetch.path, fetch.name
        if outcome is Outcome.DONE:
            self.left_out.forget(key)
            return self._arrived(fetch, key, size, data)
        if outcome is Outcome.NO_ROOM and self._is_unproven(fetch, key):
            # it stays as it is, and not verified, until there is room for another
            self.unsettled.grew(key, fetch.size)
        elif outcome is Outcome.NO_ROOM:
            self.leave_out(key, self.listed(fetch), None)
        elif isinstance(outcome, (DeniedError, LayoutError, OSError)) and not passes(outcome):
            self.leave_out(key, self.listed(fetch), outcome)
        else:
            self._wrong(fetch, outcome)
        return False

    def listed(self, fetch):
        """Return {"size", "mtime"} of a fetch's file as the index has it now."""
        return (self._index.entry(fetch.path)["files"].get(fetch.name)
                or {"size": fetch.size, "mtime": fetch.mtime})

    def _arrived(self, fetch, key, size, data):
        if fetch.tail and size == fetch.size and self._mirror.tail(*key, fetch.size) != fetch.tail:
            self._wrong(fetch, Outcome.DONE if fetch.whole else Outcome.CHANGED)
            if not fetch.whole:
                return False
        if fetch.whole:
            self.rewrite.discard(key)
        if fetch.mtime is not None and size >= fetch.size and not self._date(fetch):
            self._wrong(fetch, Outcome.CHANGED)      # somebody deleted it in this moment
            return False
        self._trouble.pop(key, None)
        if data is not None and self._index.take_small(fetch.path, fetch.name, data):
            self._beats.over(fetch.path)
        return True

    def _is_unproven(self, fetch, key):
        """Whether our copy of a file that was to be read again has all of its bytes, as
        far as anybody knows."""
        copy = self._mirror.stat(*key)
        return (plan.is_appended(fetch.name) and key not in self.rewrite and copy is not None
                and copy["size"] == fetch.size)

    def _wrong(self, fetch, outcome):
        """What we hold, or were told, is not what the server has: list the run again, fetch
        whole what does not fit."""
        key = fetch.path, fetch.name
        if outcome is Outcome.CHANGED or outcome is Outcome.SHORT:
            self._log.info("%s/%s is not what we know of it any more; it is fetched whole", *key)
            self.rewrite.add(key)
        self._trouble[key] = self._trouble.get(key, 0) + 1
        if isinstance(outcome, (SftpError, OSError)) and self._trouble[key] > TROUBLE:
            self.leave_out(key, self.listed(fetch), outcome)
            del self._trouble[key]
        self.doubtful.add(fetch.path)

    def _date(self, fetch):
        """Give our copy the server's mtime if it is proven, one of a second before if it is to be read again;
        returns whether it is there.

        What was appended proves nothing of the bytes before: they may have been edited in the same moment.
        """
        key = fetch.path, fetch.name
        # not read twice for an edit of its beginning
        large = fetch.size > plan.SMALL_LIMIT and not plan.is_appended(fetch.name)
        began = self.unsettled.moment() if large else self._begun(fetch)
        sure = began is not None and self.unsettled.is_settled(key, fetch.mtime, began)
        if sure:
            self.unsettled.settle(key)
        else:
            again = self.unsettled.wait(fetch, fetch.began if fetch.whole else None)
            if not plan.is_appended(fetch.name):
                self.again[fetch.path] = again
        return self._mirror.touch(*key, fetch.mtime if sure else fetch.mtime - 1)

    def _begun(self, fetch):
        """Return the Moment since which all of our copy was read from a file of that size and mtime, None
        where only its end was."""
        noted = self._mirror.parts.begun(fetch)
        if noted and noted[1] != fetch.began.wall:
            return Moment(LONG_AGO, *noted)         # it goes on where an earlier one was cut
        return fetch.began if fetch.whole else None
