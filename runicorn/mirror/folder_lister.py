"""List many folders of a server by SFTP at once, also before anybody asks. Knows no runs, reads no file."""

import collections
import functools

from runicorn import local_names
from runicorn.errors import DeniedError, SftpError
from runicorn.ssh import sftp

# Entries of one folder that are kept; of more, those that may be a run's own file
CROWD = 200_000
LISTED = 500                    # folders listed at once while files are fetched; each takes two round trips
MANY_NAMES = 50                 # entries in one answer that make another one likely; OpenSSH puts 100 in


def list_folders(client, paths, ahead=None):
    """Return {path: [(name, Attrs), …] or SftpError} of many folders (absolute paths), listed at once.
    ahead: as for `walk_folders`."""
    listings = {}
    walk_folders(client, paths, listings.__setitem__, ahead=ahead)
    return listings


def walk_folders(client, paths, took, listing=None, ahead=None, alone=False):
    """List folders (absolute paths) at once; `took(path, [(name, Attrs), …] or SftpError)` is called as each
    is done, and may return more folders to list. listing: the class of what it is called with, Listing by
    default; ahead: Ahead, of which those listings are taken that are in it; alone: no files are to be
    fetched beside them, as far as anybody knows."""
    begun = [path for path in paths if path in ahead] if ahead else []
    lister = _Lister(client, [path for path in paths if path not in ahead] if ahead else paths, took,
                     listing or Listing, alone)
    lister.pending += len(begun)
    try:
        for path in begun:
            ahead.hand_over(path, functools.partial(lister.take_over, path))
        while lister.pending:
            if ahead:
                ahead.go_on()
            lister.start()
            client.pump()
    finally:
        client.count_folders(-lister.open)


def listed_at_once(client, alone):
    """Return how many folders may be listed at once (int). alone: as for `walk_folders`."""
    return client.room if alone else min(LISTED, max(1, client.room // 2))


class Ahead:
    """Folders that are listed before anybody asks, while the line waits for other answers. Each listing is
    taken once, by `walk_folders`."""

    def __init__(self, client, paths):
        """Begin with `paths` (absolute); whoever sends next sends that, too."""
        self._listings, self._takers, self._expected = {}, {}, dict.fromkeys(paths)
        self._lister = _Lister(client, self._expected, self._took, Listing, alone=True)
        self.go_on()

    def __contains__(self, path):
        return path in self._expected

    def go_on(self):
        """Begin with more of them, where as many as may be open are done."""
        self._lister.start()

    def hand_over(self, path, take):
        """Have `take(listing or SftpError)` called as soon as a folder is listed."""
        del self._expected[path]
        if path in self._listings:
            take(self._listings.pop(path))
        else:
            self._takers[path] = take

    def _took(self, path, listing):
        take = self._takers.pop(path, None)
        if take:
            take(listing)
        else:
            self._listings[path] = listing


class _Lister:
    """Folders being listed: OPENDIR, then READDIR twice ahead (most folders end with the second), then
    CLOSE."""

    def __init__(self, client, paths, took, listing, alone=False):
        self.client, self.took, self.listing, self.alone = client, took, listing, alone
        self.queue = collections.deque(paths)
        self.pending = len(self.queue)
        self.open = 0

    def start(self):
        most = listed_at_once(self.client, self.alone)
        while self.queue and self.open < most:
            self.open += 1
            self.client.count_folders(1)
            folder = _Folder(self, self.queue.popleft())
            self.client.ask(sftp.opendir(folder.path), folder.opened)

    def end(self, folder, result):
        self.open -= 1
        self.client.count_folders(-1)
        self.take_over(folder.path, result)

    def take_over(self, path, result):
        """A folder is listed, by this lister or ahead of it."""
        more = self.took(path, result) or ()
        self.queue.extend(more)
        self.pending += len(more) - 1


class Listing(list):
    """[(name, Attrs), …] of a folder, "." among them where the server says it; `undecodable` counts names
    that are no UTF-8; `full`: no more of it is wanted."""

    undecodable, full = 0, False

    def take(self, entries, names):
        """Add `entries`, those of `names` that are of use."""
        self += entries
        self.undecodable += sum(name is None for name, _ in names)


class _Folder:
    """One folder being listed."""

    __slots__ = ("lister", "path", "handle", "unanswered", "entries", "count", "ended")

    def __init__(self, lister, path):
        self.lister, self.path, self.entries = lister, path, lister.listing()
        self.unanswered, self.count, self.ended = 0, 0, False

    def opened(self, handle):
        if isinstance(handle, SftpError):
            return self.lister.end(self, handle)
        self.handle = handle
        self.ask()
        self.ask()

    def ask(self):
        self.unanswered += 1
        self.lister.client.ask(sftp.readdir(self.handle), self.names)

    def names(self, names):
        self.unanswered -= 1
        if isinstance(names, SftpError):
            self.entries, self.ended = names, True
        elif not names:
            self.ended = True
        elif isinstance(self.entries, list):
            crowded = len(self.entries) > CROWD
            self.entries.take([(name, attrs) for name, attrs in names
                               if name not in (None, "..") and (not crowded or local_names.is_own(name))],
                              names)
            self.count, self.ended = self.count + len(names), self.ended or self.entries.full
            if self.count > sftp.MAX_NAMES:
                self.entries, self.ended = SftpError(f"{self.path} has too many entries", 4), True
        if self.ended and not self.unanswered:
            self.lister.client.ask(sftp.close(self.handle), _ignored)
            # OpenSSH lists nothing, not even ".", of a folder whose files it may not look at
            if not self.count and self.entries == []:
                return self.lister.client.ask(sftp.lstat(self.path + "/."), self.looked_into)
            self.complete()
        elif not self.ended and (len(names) >= MANY_NAMES or not self.unanswered):
            self.ask()          # after a short answer the one on its way is most often the end

    def complete(self):
        """End; where the server lists names alone, LSTAT tells first what they are."""
        entries = self.entries
        bare = ([index for index, (_, attrs) in enumerate(entries) if attrs.mode is None]
                if isinstance(entries, list) else [])
        self.unanswered = len(bare)
        for index in bare:
            self.lister.client.ask(sftp.lstat(f"{self.path}/{entries[index][0]}"),
                                   functools.partial(self.told, index))
        if not bare:
            self.lister.end(self, entries)

    def told(self, index, attrs):
        self.unanswered -= 1
        if not isinstance(attrs, SftpError):
            self.entries[index] = self.entries[index][0], attrs
        if not self.unanswered:
            self.lister.end(self, self.entries)

    def looked_into(self, attrs):
        self.lister.end(self, attrs if isinstance(attrs, DeniedError) else self.entries)


def _ignored(answer):
    """A CLOSE has nothing to tell."""
