"""Find the runs of other loggers below a root by SFTP: many folders listed at once, none twice while its
mtime stands. Writes nothing.

A discovery lists what is below some folders, slice after slice, so that what else the line is for goes on.
What a folder showed is remembered, also for the next session; a text file is looked into again only when it
changed.
"""

import collections
import functools
import time
from stat import S_ISREG

from runicorn import foreign, manifest
from runicorn.errors import DeniedError, MissingFileError, SftpError
from runicorn.foreign_rules import Rules
from runicorn.mirror import folder_lister, plan
from runicorn.ssh import sftp

# Entries of folders that one discovery takes in; each takes about 200 bytes of the line
LISTED = 400_000
# Remembered folders LSTATed, and text files looked into, between two looks at the clock
CONFIRMED, READ = 2000, 200
FEW, FEW_ENTRIES = 50, 8000     # folders listed at once at least, and entries that may come for all that are
MOVED = float("-inf")           # when a folder was listed whose LSTAT shows another mtime since
MANY = f"folders not looked into, as {LISTED} entries were listed"


class Entries(folder_lister.Listing):
    """What of a folder a foreign.Finder has use for: [(name, Attrs), …], of its first foreign.ENTRIES
    entries."""

    def __init__(self, rules):
        super().__init__()
        self.count, self._rules = 0, rules

    def take(self, entries, names):
        self.count += len(names)
        super().take([(name, attrs) for name, attrs in entries if _is_of_use(name, attrs, self._rules)],
                     names)
        self.full = self.count >= foreign.ENTRIES


class ForeignWalk:
    """What the folders of one root showed, and the discovery under way. `skipped` is {reason: count} of what
    the last whole one left out; `undecided` are [(path of a folder, name), …] of text files that are of no
    kind yet, the newest first."""

    def __init__(self, client, root, wall, rules=None):
        """root: absolute; wall: clock.Clock.wall; rules: foreign_rules.Rules, if there are any."""
        self._client, self._root, self._wall, self._rules = client, root, wall, rules or Rules()
        # Path -> [mtime, when first observed so, when listed, {name: entry as a Finder takes it}]
        self._folders = {}
        self._glimpsed = {}             # path -> mtime, of folders that were LSTATed and never listed
        self._texts = {}                # as foreign.find has `known`
        self._finder, self._tops, self._denied, self._listed, self._count = None, (), set(), 0, 0
        self._unlisted, self._unconfirmed, self._unread = collections.deque(), [], None
        # Path -> the SftpError why a folder could not be listed, or a text file in it not be read
        self._failed = {}
        self.skipped, self.undecided = {}, []
        self.changed = False            # since `told`

    def absolute(self, path):
        """Return the absolute path of a folder or file (str)."""
        return f"{self._root}/{path}" if path else self._root or "/"

    def mtime_of(self, path):
        """Return the mtime (s) of the folder of the run at `path` as it was last seen, or None."""
        return self._folders.get(foreign.folder_of(path), [None])[0]

    # -- what is remembered

    def told(self):
        """Return what `resume` takes (dict), of folders that can't have changed unseen since they were
        listed."""
        self.changed = False
        return {"folders": {path: [mtime, list(entries.values())]
                            for path, (mtime, observed, listed, entries) in self._folders.items()
                            if mtime is not None and plan.settled(mtime, observed, listed,
                                                                  self._wall(listed))}, "texts": self._texts,
                "rules": list(self._rules.rules)}

    def resume(self, earlier, mtimes):
        """Take up what an earlier session told, or something that only looks like it. mtimes: {path: mtime}
        of the folders that are not LSTATed here."""
        earlier = (earlier if isinstance(earlier, dict)
                   and earlier.get("rules", []) == list(self._rules.rules) else {})
        folders, texts = (earlier[name] if isinstance(earlier.get(name), dict) else {}
                          for name in ("folders", "texts"))
        for path, state in folders.items():
            if (isinstance(state, list) and len(state) == 2 and type(state[0]) is int
                    and _are_entries(state[1]) and ("/" in path or mtimes.get(path) == state[0])):
                self._folders[path] = [state[0], 0.0, 2.0, {entry[0]: tuple(entry) for entry in state[1]}]
        self._texts = {position: (state[0], state[1])
                       for position, state in texts.items()
                       if isinstance(state, list) and len(state) == 2 and isinstance(state[0], list)
                       and [type(number) for number in state[0]] == [int, int]
                       and (state[1] is None or state[1] in foreign.KINDS)}

    def follow_rules(self, rules):
        """Take over other Rules: what folders showed is asked for anew."""
        self._rules, self._finder, self.undecided = rules, None, []
        for table in (self._folders, self._glimpsed, self._texts, self._failed):
            table.clear()

    def feed(self, path, listing, now):
        """Take a listing that somebody else asked for; returns whether it shows anything else than before."""
        before = self._folders.get(path)
        mtime, entries = (next((attrs.mtime for name, attrs in listing if name == "."), None),
                          _entries(listing, self._rules))
        observed = before[1] if before and before[0] == mtime else now
        self._folders[path] = [mtime, observed, now, entries]
        news = before is None or before[3] != entries
        self.changed = self.changed or news
        return news

    def note(self, path, attrs, now):
        """Take the LSTAT of a folder; returns whether it has to be listed: it moved, came or went."""
        if path not in self._folders:
            before, self._glimpsed[path] = self._glimpsed.get(path), getattr(attrs, "mtime", None)
            return before is not None and before != self._glimpsed[path]
        old, observed, listed, entries = self._folders[path]
        if isinstance(attrs, SftpError) or not sftp.is_dir(attrs):
            del self._folders[path]
        elif attrs.mtime is None or attrs.mtime != old:
            self._folders[path] = [attrs.mtime, now, MOVED, entries]
        elif listed == MOVED or not plan.settled(old, observed, listed, self._wall(listed)):
            self._folders[path][2] = MOVED
        else:
            return False
        return True

    def note_file(self, path, name, attrs):
        """Take the LSTAT of the file `name` of a folder that is remembered; returns whether it is another one
        than before."""
        entries = self._folders[path][3] if path in self._folders else {}
        before, entry = entries.get(name), None if isinstance(attrs, SftpError) else _entry(name, attrs)
        if before is None or entry is None or before == entry:
            return False                # what went shows in its folder's mtime
        entries[name] = entry
        return True

    def failed(self, denied):
        """Return folders that could not be listed or have text files that could not be read (list of paths):
        no mtime will show it when they can. FEW of those the server was at a loss with and, with `denied`,
        all where it says that we may not."""
        lost = [path for path, error in self._failed.items() if not isinstance(error, DeniedError)]
        return lost[:FEW] + [path for path in self._failed.keys() - set(lost) if denied]

    def forget(self, folders):
        """Have the folders (set of paths), and those in them that belong to the same runs, listed at the next
        discovery."""
        for path in [path for path in self._folders if path in folders or _owner(path) in folders]:
            del self._folders[path]

    # -- a discovery

    @property
    def listed(self):
        """How many folders the discovery under way lists, as far as is known (int)."""
        return self._count + len(self._unlisted or ())

    @property
    def busy(self):
        """Whether a discovery is under way (bool)."""
        return self._finder is not None

    def drop(self):
        """Give up the discovery under way."""
        self._finder = None

    def start(self, tops, ours):
        """Begin to look at what is below the folders `tops` (paths); of all of the root (""), each remembered
        folder is LSTATed first.
        ours: as for a foreign.Finder."""
        self._finder = foreign.Finder(collections.Counter(), ours, self._rules)
        self._tops, self._denied, self._listed, self._count, self._unread = tuple(tops), set(), 0, 0, None
        self._failed = {path: error for path, error in self._failed.items()
                        if not any(top in and_above(path) for top in tops)}
        # Others LSTAT those above
        self._unconfirmed = sorted(path for path in self._folders if "/" in path) if "" in tops else []
        self._unlisted = None if self._unconfirmed else collections.deque(self._known(tops))

    def go_on(self, now, until, most=foreign.FOLDERS, alone=False):
        """Go on until `until` (monotonic s), by one step at least, or until more than `most` folders are to
        be listed; returns whether it is done. alone: no files are to be fetched beside it. Raises SftpError
        when the root can't be listed."""
        while True:
            if self._unconfirmed:
                self._confirm(now)
            elif self._unlisted is None:
                self._unlisted = collections.deque(self._known(self._tops))
            elif self._unlisted:
                if self.listed > most:
                    return False
                self._list(now, until, most, alone)
            elif self._unread is None:
                self._unread = foreign.doubts(self._finder, self._texts)
            elif self._unread:
                self._look_into()
            else:
                return True
            if time.monotonic() >= until:
                return False

    def _confirm(self, now):
        paths, self._unconfirmed = self._unconfirmed[:CONFIRMED], self._unconfirmed[CONFIRMED:]
        for path, attrs in zip(paths, self._client.batch(
                                                         [sftp.lstat(self.absolute(path))
                                                          for path in paths])):
            self.note(path, attrs, now)

    def _list(self, now, until, most, alone):
        begin, in_flight = len(self._root) + 1, 0
        at_once = folder_lister.listed_at_once(self._client, alone)

        def more():
            """Return the absolute paths of folders to be listed beside those that are; of large ones fewer,
            to end in time."""
            nonlocal in_flight
            room = min(at_once, max(FEW, FEW_ENTRIES * (self._count + 1) // (self._listed + 1))) - in_flight
            paths = [self._unlisted.popleft() for _ in range(min(len(self._unlisted), max(0, room)))]
            in_flight += len(paths)
            return [self.absolute(path) for path in paths]

        def took(absolute, listing):
            nonlocal in_flight
            in_flight -= 1
            self._unlisted.extend(self._take(absolute[begin:], listing, now))
            return (more() if time.monotonic() < until and self._listed < LISTED and self.listed <= most
                    else ())
        if self._listed >= LISTED:
            self._finder.skipped[MANY] += len(self._unlisted)
            self._unlisted.clear()
        folder_lister.walk_folders(self._client, more(), took, functools.partial(Entries, self._rules),
                                   alone=alone)

    def _take(self, path, listing, now):
        """Take the listing of a folder; returns the folders in it that have to be listed, too."""
        if isinstance(listing, SftpError):
            if not path:
                raise listing
            self._folders.pop(path, None)
            if not isinstance(listing, MissingFileError):
                self._failed[path] = listing
                self._denied.add(path)
                self._finder.passed["unreadable"] += isinstance(listing, DeniedError)
            return []
        self._listed, self._count = self._listed + listing.count, self._count + 1
        self.feed(path, listing, now)
        self._finder.passed[manifest.NO_UTF8] += listing.undecodable
        self._finder.skipped[f"entries beyond {foreign.ENTRIES} of a folder"] += listing.full
        return self._known(self._finder.take(path, list(self._folders[path][3].values())))

    def _known(self, paths):
        """Hand the finder what is remembered of folders, and of those in them; returns those that have to be
        listed (list)."""
        unknown, ahead = [], list(reversed(paths))
        while ahead:
            path = ahead.pop()
            folder = self._folders.get(path)
            if folder and folder[2] != MOVED:
                ahead += reversed(self._finder.take(path, list(folder[3].values())))
            else:
                unknown.append(path)
        return unknown

    def _look_into(self):
        chosen, self._unread = self._unread[:READ], self._unread[READ:]
        places = [(self.absolute(foreign.below(path, name)), size) for path, name, _, size, _ in chosen]
        ends = self._client.parts([stretch for position, size in places
                                   for stretch in ((position, 0, foreign.HEAD),
                                                   (position, max(0, size - foreign.TAIL), foreign.TAIL))])
        for doubt, *texts in zip(chosen, ends[::2], ends[1::2]):
            error = next((text for text in texts if isinstance(text, SftpError)), None)
            if error and not isinstance(error, MissingFileError):
                self._failed[doubt[0]] = error
            foreign.settle(self._finder, self._texts, doubt, *((None, None) if error else texts))
        self.changed = True

    def result(self):
        """Return the foreign.Runs that were found so far (list)."""
        return self._finder.runs(self._root)

    def finish(self):
        """End a discovery that is done; returns a function(path) that says whether it would have found a run
        there."""
        finder, tops, denied = self._finder, self._tops, self._denied
        self._finder = None
        if "" in tops:
            self.skipped = dict(finder.skipped | finder.passed)
            for path in () if finder.skipped[MANY] else self._folders.keys() - finder.visited:
                del self._folders[path]
            self.undecided = self._find_undecided(finder)

        def covers(path):
            folder = foreign.folder_of(path)
            above = and_above(folder)
            return (any(top in above for top in tops) and denied.isdisjoint(above)
                    and (folder in finder.visited or not finder.skipped[MANY]))
        return covers

    def _find_undecided(self, finder):
        """Return what `undecided` is, of the folders that a Finder was handed."""
        texts = [(mtime, path, name) for path, name, _, _, mtime in finder.doubtful
                 if self._texts.get(foreign.below(path, name), (0, 0))[1] is None]
        for path in finder.visited & self._folders.keys():
            texts += [(mtime, path, name) for name, size, mtime, _, mode in self._folders[path][3].values()
                      if not size and S_ISREG(mode) and foreign.kind_of_name(foreign.below(path, name),
                                                                             self._rules)]
        return [(path, name) for _, path, name in sorted(texts, reverse=True)]


def and_above(folder):
    """Return a folder and those above it, the root ("") last (list)."""
    folders = [folder]
    while folder:
        folder = folder.rpartition("/")[0]
        folders.append(folder)
    return folders


def _owner(path):
    """Return the folder of the run to which a folder below it belongs (str): a checkpoint's, or a W&B run's;
    else itself."""
    above, _, name = path.rpartition("/")
    if name == "files":
        above, _, name = above.rpartition("/")
    return above if foreign.CHECKPOINT.match(name) or foreign.WANDB.match(name) else path


def _is_of_use(name, attrs, rules):
    return name == "." or not sftp.is_file(attrs) or foreign.is_of_use(name, rules)


def _entry(name, attrs):
    """Return what a foreign.Finder takes of one entry (tuple)."""
    return ((name, attrs.size or 0, attrs.mtime or 0, 0, attrs.mode) if sftp.is_file(attrs)
            else (name, 0, 0, 0, attrs.mode or 0))


def _entries(listing, rules):
    return {name: _entry(name, attrs) for name, attrs in listing
            if name != "." and _is_of_use(name, attrs, rules)}


def _are_entries(entries):
    return isinstance(entries, list) and all(
        isinstance(entry, list) and len(entry) == 5 and isinstance(entry[0], str)
        and all(type(number) is int and 0 <= number < 1 << 60 for number in entry[1:]) for entry in entries)
