"""What looks at the files of runs show, LSTATs and tails, taken into the index and told to the copies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runicorn import local_names
from runicorn.errors import LayoutError, SftpError
from runicorn.mirror import plan, remote_index, tails
from runicorn.mirror.looks import FolderTimes, Looks
from runicorn.ssh import sftp

if TYPE_CHECKING:
    from collections.abc import Iterable

TAILS = 8                       # files of one run of another logger that are read at their ends at once


class FileChanges:
    """Which files of a server's runs changed, over one line; the sync's thread's alone. Lists no folder."""

    def __init__(self, options, mirror, index, queue, beats, tails_there, looked_at, wall):
        """queue: fetch_queue.FetchQueue; beats: heartbeats.Beats; tails_there: tails.Tails; looked_at:
        looked_at.LookedAt; wall: clock.Clock.wall."""
        self._options, self._mirror, self._index = options, mirror, index
        self._beats, self._looked_at = beats, looked_at
        self._queue, self._copies, self._tails, self._wall = queue, queue.copies, tails_there, wall
        self.looks, self.folders = Looks(), FolderTimes()
        self.round_trip = None          # s, the shortest lately

    def note_looks(self, paths: Iterable[str], now: float) -> None:
        """A silence is counted between two looks at a run, however seldom its turn comes."""
        for path in paths:
            self.looks.look(path, now)
            self._beats.read(path, now)

    def note(self, path, name, attrs, now):
        """Take the LSTAT of a run's folder ("") or file; returns whether the file changed."""
        entry, folder = self._index.entry(path), not name or name.endswith("/")
        if isinstance(attrs, SftpError) or not folder and (not sftp.is_file(attrs) or attrs.size is None):
            self._copies.doubtful.add(path)
            return False
        opened = self._copies.left_out.is_opened((path, name), attrs)
        if opened and folder:
            self._copies.doubtful.add(path)
        if folder:
            if self.folders.moved(path, name, entry["mtime"], attrs.mtime):
                self._copies.doubtful.add(path)
            return False
        file = entry["files"].get(name)
        if (file and file["size"] == attrs.size and file["mtime"] is not None
                and int(file["mtime"]) == attrs.mtime):
            return opened
        self._set_file(path, name, attrs.size, attrs.mtime, now,
                       self._copies.has_reached((path, name), attrs.size))
        return True

    def _set_file(self, path, name, size, mtime, now, is_known=False):
        """Take over what a file is like now. is_known: a tail saw it grow to that size."""
        entry = self._index.entry(path)
        file = {"size": size, "mtime": mtime, "tail": None}
        self._copies.rewrite.update((path, edited) for edited in plan.edits(entry, {name: file}))
        entry["files"][name] = file
        entry["digest"] = remote_index.WALKED
        if entry["ended"]:
            self._index.announce()
        self._index.put(path, entry)
        self.saw(path, now, is_known or not self.looks.knows(path))

    def note_listing(self, path, files, mtime, now):
        """Take out of a listing `files` (walk.RunFiles) what is no file; returns the mtime of the run's own
        folder. mtime: that as the folder above lists it, or None."""
        beat = files.pop(".beat", None)
        if beat:
            self._beats.own_heart(path, self._looked_at.absolute(path, ".beat"), beat["mtime"], now)
        self.note_looks([path], now)
        mtime = self.folders.take(path, files, mtime)
        again = self.folders.settles(path, mtime, now, self._wall(now))
        self._copies.again.update({path: again} if again else ())
        return mtime

    def saw(self, path, now, is_old=False):
        """A run's files changed: it is alive, and looked at again as soon as any. is_old: it may have changed
        long before now, as nobody looked over this line so far, or is known to: of another logger's run that
        says nothing."""
        if is_old and path in self._index.foreign:
            return
        self.looks.change(path, now)
        if not self._index.ended(path):
            self._beats.grew(path, now)

    def read_tails(self, paths, others, now):
        """Read the tails of the runs `paths` and LSTAT `others` in one round trip; returns {absolute path:
        Attrs or SftpError}."""
        began = time.monotonic()
        outcomes, stats = self._tails.look(list(self._tails_of(paths)), others,
                                           0.0 if self._options.get("budget") else tails.FLOOD)
        self.note_round_trip(time.monotonic() - began)
        for (path, name), (outcome, count) in outcomes.items():
            self._take_tail(path, name, outcome, count, now)
        return stats

    def note_round_trip(self, seconds: float) -> None:
        """A round trip took so long; beside fetching it tells little."""
        if not self._queue.left:
            self.round_trip = min(seconds, 1.1 * (self.round_trip or 60.0))
            self._queue.fetcher.know_round_trip(self.round_trip)

    def _tails_of(self, paths):
        """The append-only files of runs that are nearly all here, as (path, name)."""
        for path, (name, file) in ((run, item) for run in paths for item in self._growing(run)):
            if (self._copies.is_settled((path, name))
                    and file["size"] - (self._mirror.stat(path, name)
                                        or {"size": 0})["size"] < tails.CHUNK * tails.ROUNDS):
                yield path, name

    def _growing(self, path):
        """Return [(name, {"size", "mtime"}), …] of the files of a run that may grow, of another logger's run
        the last ones that did."""
        entry = self._index.entry(path)
        files = [item for item in entry["files"].items() if plan.is_appended(item[0])]
        if path in self._index.foreign:
            files = [item for item in files if self._copies.is_asked_for(path, item[0], entry)]
            return sorted(files, key=lambda item: item[1]["mtime"] or 0, reverse=True)[:TAILS]
        inner = [item for item in files if plan.is_inner(item[0])
                 and self._copies.is_asked_for(path, item[0], entry)]
        return [item for item in files if local_names.is_own(item[0])] + inner[-TAILS:]

    def _take_tail(self, path, name, outcome, count, now):
        if outcome is tails.CHANGED:
            self._copies.rewrite.add((path, name))
            self._copies.doubtful.add(path)
        elif outcome is tails.NO_ROOM or isinstance(outcome, (OSError, LayoutError)):
            self._copies.leave_out((path, name), self._index.entry(path)["files"][name],
                                   None if outcome is tails.NO_ROOM else outcome)
        elif isinstance(outcome, SftpError):
            self._copies.doubtful.add(path)
        elif count:
            file = self._index.entry(path)["files"][name]
            size = self._copies.tail_grew((path, name), file)
            if size > file["size"]:
                self._set_file(path, name, size, file["mtime"], now)
            elif path not in self._index.foreign:       # of those a listing may have told it long ago
                self.saw(path, now)
            self._queue.grow(path)
            # listed, it shows what is left to fetch
            self._copies.doubtful.update({path} if (path, name) in self._tails.behind else ())
