"""What listings of runs' folders show, taken into the index: which runs are new, which changed, and which are
gone."""

from runicorn import manifest
from runicorn.errors import DeniedError, MissingFileError, SftpError
from runicorn.mirror import plan, remote_index, walk
from runicorn.ssh import sftp_answers

CLOSED = 20                     # unknown runs whose folders may not be listed, tried again with each survey
# Runs that only a manifest knows are looked for one by one up to here; more is a lie
GHOSTS = 1000


class Listings:
    """The listings of one line; the sync's thread's alone."""

    def __init__(self, remote_root, changes, moves, hearsay, doubt_foreign):
        """remote_root: remote_root.RemoteRoot, of which the client, root, mirror, index, skeleton, queue,
        beats, recheck, log and the set `vanished` are used; changes: file_changes.FileChanges; moves:
        moves.Moves; hearsay: runs (set) that nobody looked at yet; doubt_foreign(paths): called with runs of
        other loggers that may have changed or gone."""
        self._doubt_foreign = doubt_foreign
        self._client, self._root, self._mirror, self._log = (remote_root.client, remote_root.root,
                                                             remote_root.mirror, remote_root.log)
        self._index, self._skeleton, self._queue = remote_root.index, remote_root.skeleton, remote_root.queue
        self._beats, self._recheck, self._copies = (remote_root.beats, remote_root.recheck,
                                                    remote_root.queue.copies)
        self._changes, self._moves, self._vanished, self._hearsay = (changes, moves, remote_root.vanished,
                                                                     hearsay)
        # Path of a folder in `runs` -> its mtime, of those that hold files, but none of a run of ours
        self._others = {}
        # Run path -> None, of runs we hold nothing of, whose folders may not be listed
        self._closed = {}

    @property
    def closed(self):
        """How many runs we hold nothing of may not be listed (int)."""
        return len(self._closed)

    def closed_later(self):
        """Return those of them whose turn to be tried is not with this survey (set of paths), but with the
        next that looks at all."""
        return set(list(self._closed)[CLOSED:])

    def forget_opened(self):
        """Of some of them a list told meanwhile."""
        self._closed = {path: None for path in self._closed if path not in self._index}

    def believe(self, hearsay, mtimes):
        """Look at the runs `hearsay` (set of paths) that a manifest spoke of: list those that go on, and
        forget those the server does not show (see `relist` for mtimes) where they are too many to be asked
        for one by one; we hold nothing of them."""
        ghosts, real = hearsay - mtimes.keys(), hearsay & mtimes.keys()
        self._copies.doubtful.update(path for path in real if not self._index.ended(path))
        if len(ghosts) > GHOSTS:
            self._log.warning("the server's manifest speaks of %d runs that are not there", len(ghosts))
            for path in ghosts:
                self._index.drop(path)
            self._copies.doubtful.difference_update(ghosts)
            self._queue.give_up(ghosts)
            self._index.announce()

    def relist(self, paths, mtimes, now, ahead=None):
        """List runs anew. mtimes: {run path: its folder's mtime}, as far as known; ahead:
        folder_lister.Ahead. Returns those that changed (set)."""
        due = {path for path, moment in self._copies.again.items() if moment <= now}
        foreign = self._index.foreign
        self._doubt_foreign(self._copies.doubtful & foreign)
        paths = {path for path in paths | due if plan.believable(path)} - foreign
        self._copies.doubtful.difference_update(paths | foreign)
        beyond = {path for path in paths if not self._skeleton.leads_to(path)}
        paths -= beyond
        for path in due:
            del self._copies.again[path]
        missing = {path: MissingFileError(f"{path} is beyond a link that is passed over",
                                          sftp_answers.NO_SUCH_FILE) for path in beyond}
        changed, lost = self._list(paths, missing, mtimes, now, ahead)
        for path, error in missing.items():
            if isinstance(error, DeniedError):
                self._denied(path)
            elif path in lost and path in self._index:
                self._missing(path)
        return changed | due & (paths | foreign)

    def _list(self, paths, missing, mtimes, now, ahead):
        """List the runs `paths`; to `missing`, {path: SftpError}, those are added that can't be. Returns
        (those that changed, those of `missing` that are not there), sets of paths."""
        changed, fresh = set(), {}
        is_known = self._vanished or any(path in self._index for path in paths | missing.keys())

        def took(path, files):
            if isinstance(files, SftpError):
                missing[path] = files
            elif is_known and (path in self._vanished or path not in self._index):
                fresh[path] = files         # it may be one of those that are missing, under another path
            else:
                listed(path, files)

        def listed(path, files):
            if self.take(path, files, mtimes.get(path), now):
                changed.add(path)
                self._queue.plan([path], now, more=True)
        try:
            walk.list_runs(self._client, self._root, paths, took, ahead)
            lost = {path for path, error in missing.items() if isinstance(error, MissingFileError)}
            if lost:
                # Raises when the root itself can't be seen: then nothing is known
                self._client.lstat(self._root)
            candidates = {path for path in lost | self._vanished if path in self._index}
            changed |= self._moves.follow_listings(fresh, candidates - fresh.keys())
            for path in fresh:
                listed(path, fresh[path])
        finally:
            self._queue.plan((), now)           # no more are being listed, whatever ended it
        return changed, lost

    def _denied(self, path):
        """A run's folder may not be listed."""
        self._closed[path] = self._closed.pop(path, None)       # at the end: the others have their turn first
        if path in self._index:
            self._closed.pop(path)
            self._copies.left_out.set_folders(path, [""])

    def _missing(self, path):
        """A run is gone: the server said so and, asked after that, still showed the root."""
        self._index.announce()
        self._beats.over(path)
        if any(self._mirror.stat(path, name) for name in self._index.entry(path)["files"]):
            self._vanished.add(path)
        else:
            self._index.drop(path)           # a manifest spoke of it and we hold nothing: nothing is lost

    def lose_foreign(self, lost, fresh, now):
        """The runs of other loggers `lost` (set of paths) are not where they were; they may be among `fresh`,
        {path: walk.RunFiles} of those that are not known."""
        self._client.lstat(self._root)              # as for ours
        self._moves.follow_listings(fresh, lost | self._vanished & self._index.foreign)
        for path in lost & self._index.lines.keys():
            self._missing(path)

    def take(self, path, files, mtime, now, kinds=()):
        """Take the listing of a run, `files` (walk.RunFiles), of `kinds` where another logger wrote it;
        returns whether it shows anything new. mtime: of its folder, where the listing does not tell it."""
        if not kinds and self._is_none_of_ours(path, files):
            self._others[path] = self._changes.note_listing(path, files, mtime, now)
            if path in self._index:
                self._index.drop(path)
            return False
        is_indexed = path in self._index and (path in self._index.foreign) == bool(kinds)
        entry = self._index.entry(path) if is_indexed else remote_index.empty()
        is_first = not self._changes.looks.knows(path)
        if kinds and entry.get("kinds") != list(kinds):
            entry, is_indexed = {**entry, "kinds": list(kinds)}, False
        mtime = self._changes.note_listing(path, files, mtime, now)
        self._recheck.note([path], now)
        back = path in self._vanished
        if back:
            self._index.announce()
        self._vanished.discard(path)
        self._hearsay.discard(path)
        self._closed.pop(path, None)
        self._keep_unseen(path, entry, files)
        self._copies.rewrite.update((path, name) for name in plan.edits(entry, files))
        new = remote_index.merged(entry, files, mtime)
        if new is entry and is_indexed:
            return back or bool(self._copies.rewrite) and any((path, name) in self._copies.rewrite
                                                              for name in files)
        self._index.put(path, new)
        if is_indexed:
            self._changes.saw(path, now, is_first)
            self._queue.grow(path)         # an open page shows what came, and what went
        self._index.announce()
        return True

    def _is_none_of_ours(self, path, files):
        """Whether a listing shows files and none that a run of ours has, and no earlier one did."""
        indexed = self._index.entry(path)["files"] if path in self._index else ()
        if indexed and manifest.is_ours(indexed):
            return False
        names = [name for name in files if name != "." and not name.endswith("/")]
        return not manifest.is_ours([*names, *indexed])

    def is_known_as_another(self, path, mtime):
        """Whether a folder in `runs`, of that mtime, was listed already and is no run of ours."""
        return path in self._others and self._others[path] == mtime

    def _keep_unseen(self, path, entry, files):
        """What is in a folder that may not be listed is there still, as far as anybody knows."""
        self._copies.left_out.set_folders(path, files.closed)
        if files.closed:
            files.update((name, file) for name, file in entry["files"].items()
                         if name.startswith(tuple(files.closed)))
