"""The one-second rhythm: one batch reads what was appended to the files somebody watches. Opens them once,
compares every seam."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from runicorn import local_disk
from runicorn.errors import HandlesError, LayoutError, MissingFileError, SftpError
from runicorn.mirror import plan
from runicorn.ssh import sftp

if TYPE_CHECKING:
    from runicorn.mirror.local_copy import LocalCopy
    from runicorn.mirror.remote_index import Key
    from runicorn.mirror.room import Room
    from runicorn.mirror.seams import Client

# Bytes before our end read again each time: the same bytes compress to nothing
SEAM = 32
CHUNK = 64 << 10                # bytes a file may grow by in one batch; more is asked for at once
# Files opened anew per batch: on NFS only an open refreshes the size, and a replaced file shows
AGAIN = 10
ROUNDS = 4                      # batches in one tick at least where more waits …
# … and s of a tick after which no other begins, so that a flood can't hold the thread
FLOOD = 0.4
WIDEST = 64                     # chunks of all files in one batch
SAME, GREW, CHANGED, NO_ROOM = "same", "grew", "changed", "no room"


class Tails:
    """Open files and where we are in them. Raises LineError, ProtocolError, and OSError when the disk takes
    nothing any more."""

    def __init__(self, client: Client, mirror: LocalCopy, root: str, room: Room) -> None:
        """room: room.Room, asked before anything is appended."""
        self.client, self.mirror, self.root, self.room = client, mirror, root, room
        self._handles = {}              # (path, name) -> handle
        self._ends = {}                 # (path, name) -> our size when its end was asked for
        self._turn = 0
        self._refused = {}              # key -> why it could not be opened anew since the last look
        self.behind = set()             # keys of which more waits than the last look could read
        client.call(when_full=self._let_go)

    def look(self, files, others, patience=FLOOD):
        """Read the ends of `files`, a list of (run path, file name), and LSTAT `others`, absolute paths, in
        one round trip; of files that grew by more, what can be read in `patience` s. `behind` then holds
        those that are still not at their end.

        Returns ({(path, name): (outcome, bytes added)}, {absolute path: Attrs or SftpError}); the outcome is
        SAME, GREW, CHANGED, NO_ROOM, or the SftpError, OSError or LayoutError of that file. Files seen for
        the first time take a round trip more, and two those that the server does not let stay open.
        """
        began = time.monotonic()
        files, passing = files[:self.client.lasting], files[self.client.lasting:]
        self._keep(files)
        refused, self._refused = self._refused, {}
        outcomes = {key: (error, 0) for key, error in refused.items()}
        fresh, reads = ([key for key in files if key not in outcomes and (key in self._handles) == is_open]
                        for is_open in (False, True))
        fresh = self._regular(fresh, outcomes) if fresh else []
        for key in self._next_turn(reads):
            self.client.ask_open(self._absolute(key), functools.partial(self._opened_anew, key))
        answers = self.client.batch([sftp.lstat(path) for path in others]
                                    + [sftp.open_file(self._absolute(key)) for key in fresh]
                                    + self._reads(reads))
        stats, answers = dict(zip(others, answers)), answers[len(others):]
        for key, handle in zip(fresh, answers):
            self._opened(key, handle, outcomes)
        full = self._take([(key, data) for key, data in zip(reads, answers[len(fresh):])
                           if key in self._handles], outcomes)
        self.behind = self._drain(full + [key for key in fresh if key in self._handles], outcomes,
                                  began + patience)
        self._pass([*passing, *(key for key in fresh
                                if isinstance(outcomes.get(key, (None, 0))[0], HandlesError))], outcomes)
        return outcomes, stats

    def _drain(self, full, outcomes, until):
        """Read on where more waits, in wider and wider batches; returns the keys of which more waits still
        (set)."""
        rounds, width = 0, 1
        while full and (rounds < ROUNDS or time.monotonic() < until):
            width = 1 if rounds < ROUNDS else max(1, min(2 * width, WIDEST // len(full)))
            answers = self.client.batch(self._reads(full, width))
            joined = [_joined(answers[start:start + width], self._chunk)
                      for start in range(0, len(answers), width)]
            full = self._take([(key, data) for key, data in zip(full, joined) if key in self._handles],
                              outcomes, width)
            full, rounds = [key for key in full if key in self._handles], rounds + 1
        return set(full)

    def _pass(self, keys, outcomes):
        """Read the ends of files that can't stay open."""
        keys = self._regular(keys, outcomes) if keys else []
        for _ in range(ROUNDS):
            if not keys:
                break
            self._ends.update((key, self._size(key)) for key in keys)
            places = [(self._absolute(key), max(0, self._ends[key] - SEAM), self._chunk) for key in keys]
            keys = self._take(list(zip(keys, self.client.parts(places))), outcomes)

    @property
    def _chunk(self):
        return min(CHUNK, self.client.max_read)

    def peek(self, key, ranges):
        """Return the bytes at `ranges`, [(offset, length), …], of a file as the server has it now; a negative
        offset counts from its end. Raises SftpError."""
        path = self._absolute(key)
        handle = self.client.open(path)
        try:
            size = self._size_there(path, handle) if any(offset < 0 for offset, _ in ranges) else 0
            places = [(max(0, size + offset) if offset < 0 else offset, length) for offset, length in ranges]
            results = self.client.gather([functools.partial(self.client.ask_bytes, handle, *span)
                                          for span in places])
        finally:
            self._close(handle)
        for data in results:
            if isinstance(data, SftpError):
                raise data
        return results

    def _size_there(self, path, handle):
        """Return how many bytes an open file has on the server (int). Raises SftpError."""
        attrs, = self.client.batch([sftp.fstat(handle)])
        if isinstance(attrs, SftpError):
            raise attrs
        if attrs.size is None:
            raise SftpError(f"{path}: the server does not tell its size", sftp.FAILURE)
        return attrs.size

    def _absolute(self, key):
        return plan.remote_path(self.root, *key)

    def _regular(self, keys, outcomes):
        """Return those of `keys` that the server calls regular files; others are told in `outcomes`."""
        stats = self.client.batch([sftp.lstat(self._absolute(key)) for key in keys])
        errors = {key: sftp.refusal(self._absolute(key), attrs) for key, attrs in zip(keys, stats)}
        outcomes.update((key, (error, 0)) for key, error in errors.items() if error)
        return [key for key in keys if not errors[key]]

    def _opened_anew(self, key, handle, attrs=None):
        """Take the answer to an OPEN that nobody waited for."""
        if key not in self._handles:        # nobody watches it any more
            if not isinstance(handle, SftpError):
                self._close(handle)
        elif isinstance(handle, HandlesError):
            pass                # the one that is open has to do
        elif isinstance(handle, SftpError):
            self.forget(key)
            self._refused[key] = handle
        else:
            self._close(self._handles[key])
            self._handles[key] = handle

    def _next_turn(self, keys):
        self._turn += AGAIN
        return ([keys[(self._turn + step) % len(keys)] for step in range(min(AGAIN, len(keys)))] if keys
                else [])

    def _opened(self, key, handle, outcomes):
        if isinstance(handle, SftpError):
            outcomes[key] = handle, 0
        else:
            self._handles[key] = handle

    def _reads(self, keys, width=1):
        self._ends.update((key, self._size(key)) for key in keys)
        return [sftp.read(self._handles[key], max(0, self._ends[key] - SEAM) + chunk * self._chunk,
                          self._chunk) for key in keys for chunk in range(width)]

    def _size(self, key):
        copy = self.mirror.stat(*key)
        return copy["size"] if copy else 0

    def _take(self, read, outcomes, width=1):
        """Write what came, [(key, bytes or SftpError), …], of `width` chunks at most; return the keys of
        which more may wait."""
        more = []
        for key, data in read:
            if isinstance(data, SftpError):
                self.forget(key)        # a handle the server has forgotten: opened again next time
                outcomes[key] = (data if isinstance(data, MissingFileError) else SAME), 0
                continue
            outcome, count = self._append(key, data)
            outcomes[key] = outcome, outcomes.get(key, (None, 0))[1] + count
            if len(data) >= width * self._chunk and outcome is GREW:
                more.append(key)
        return more

    def _append(self, key, data):
        size = self._size(key)
        if size != self._ends[key]:
            return CHANGED, 0           # somebody deleted our copy meanwhile: these bytes belong elsewhere
        overlap = self.mirror.read(*key, max(0, size - SEAM), SEAM)
        if data[:len(overlap)] != overlap:
            return CHANGED, 0
        added = data[len(overlap):]
        if not added:
            return SAME, 0
        if not self.room.claim(len(added), urgent=size + len(added)):
            return NO_ROOM, 0
        written = 0
        try:
            with self.mirror.appender(*key) as file:
                while written < len(added):
                    written += file.write(added[written:])
        except (OSError, LayoutError) as error:
            if getattr(error, "errno", None) in local_disk.DISK_ERRORS:
                raise
            return error, written       # this file's own trouble
        finally:
            self.room.release(len(added), written)
        return GREW, written

    def _keep(self, files):
        """Close what nobody watches any more."""
        for key in set(self._handles) - set(files):
            self.forget(key)

    def _let_go(self):
        """Close all files: somebody needs a handle. Returns whether there were any (bool)."""
        keys = list(self._handles)
        for key in keys:
            self.forget(key)
        return bool(keys)

    def forget(self, key: Key) -> None:
        """Close a file; the next look opens it again."""
        if key in self._handles:
            self._close(self._handles.pop(key))
            self._ends.pop(key, None)

    def _close(self, handle):
        self.client.ask(sftp.close(handle), lambda answer: None)


def _joined(answers, chunk):
    """Return what READs of `chunk` bytes, one after the other, answered as one: up to the first that came
    short, for what follows it may have been read later. The SftpError of the first, if that is one."""
    if isinstance(answers[0], SftpError):
        return answers[0]
    parts = []
    for data in answers:
        if isinstance(data, SftpError):
            break
        parts.append(data)
        if len(data) < chunk:
            break
    return b"".join(parts)
