"""One file on its way here: asked for in order, written in order, its seam compared. Decides nothing."""

from __future__ import annotations

import functools
from hashlib import sha256

from runicorn import disk, layout, local_disk, manifest
from runicorn.errors import LayoutError, SftpError
from runicorn.mirror import plan
from runicorn.mirror.outcome import Outcome
from runicorn.ssh import sftp

# Bytes before our end that are read again and compared: two different logs differ there
SEAM = 64
SNAPSHOT = 64 << 10             # small JSON up to here is read in one request: one version, never half of two
ROOM = 4 << 10                  # bytes more than its size it is asked for, as it may have grown
ANSWERS = 64                    # of one file asked for at once


class Job:
    """One file on its way: asked for in order, written in order."""

    def __init__(self, fetcher, fetch, claim, replaced):
        """claim: bytes set aside for it; replaced: bytes here whose place it takes."""
        self.fetcher, self.fetch, self.mirror = fetcher, fetch, fetcher.mirror
        self.claim, self.replaced = claim, replaced
        self.put = 0                    # bytes of it that were written
        self.handle = self.file = None
        self.small = fetch.name in layout.SMALL and fetch.size <= SNAPSHOT
        # In one request, kept in memory
        self.at_once = fetch.whole and (self.small or fetch.size <= fetcher.client.max_read)
        self.gathered_file = None
        self.gathered = self.seam = b""
        if not fetch.whole:
            overlap = min(SEAM if fetch.offset < fetch.size else manifest.TAIL, fetch.offset)
            self.seam = self.mirror.read(fetch.path, fetch.name, fetch.offset - overlap, overlap)
        self.start = self.next = self.written = fetch.offset - len(self.seam)
        self.end = fetch.size
        self.promised = self.end - self.start
        self.begun, self.outstanding, self.arrived = False, 0, {}

    def looked_at(self, folder, reason, attrs):
        """Take what was said of the file where LSTAT shows the one that was spoken of, else open it."""
        error = sftp.refusal(folder, attrs)
        if not self.fetcher.at_work(self):
            return
        if not error and attrs.size == self.fetch.size and attrs.mtime == int(self.fetch.mtime):
            self.take(reason)
        elif error:
            self.opened(error)
        else:
            self.fetcher.client.ask(sftp.open_file(folder), lambda handle: self.opened(handle, attrs))

    def opened(self, handle, attrs=None):
        """Take the handle, or SftpError. attrs: what LSTAT said before, of a file of which others told: its
        mtime counts, not theirs."""
        if (attrs and attrs.mtime is not None and attrs.size == self.fetch.size
                and not plan.is_same_time(self.fetch.mtime, attrs.mtime)):
            self.fetch = self.fetch._replace(mtime=float(attrs.mtime))
        refused = isinstance(handle, SftpError)
        self.handle = None if refused else handle
        if not self.fetcher.at_work(self):
            return self._close()            # given up meanwhile
        if refused:
            return self.fetcher.finish(self, handle)
        self.fetcher.opened(self)

    def promise_kept(self) -> None:
        self.fetcher.promise(-self.promised)
        self.promised = 0

    def go_on(self):
        """Read the open file, from its beginning or from where it was put off."""
        begun, self.begun = self.begun, True
        self.promise_kept()
        try:
            if begun:
                return self._more()
            if self.at_once:
                return self._ask_all()
            if self.fetch.whole:
                self._resume_part()
            self._more()
        except (OSError, LayoutError) as error:
            self._disk(error)

    def _ask_all(self):
        """Ask for a file that is kept in memory, in one request where the server reads so much in one."""
        missing = max(1, self.fetch.size - len(self.gathered))
        size = min(missing + (ROOM if self.small else 0), self.fetcher.client.max_read)
        self._ask(len(self.gathered), min(missing, size), self._all, max(0, size - missing))

    def _all(self, offset, size, data):
        """Take a file that comes in one answer, or in few."""
        if isinstance(data, SftpError):
            return self.fetcher.finish(self, data)
        self.gathered += data
        if data and len(self.gathered) < self.fetch.size:
            return self._ask_all()
        self.take(self.gathered)

    def take(self, data):
        """Put the file's bytes in their place."""
        if not self.small and len(data) < self.fetch.size:
            return self.fetcher.finish(self, Outcome.SHORT)
        if self.fetch.tail == sha256(data[-manifest.TAIL:]).hexdigest():
            self.fetch = self.fetch._replace(tail=None)         # compared already
        if self.small and len(data) >= self.fetch.size + ROOM:
            return self.fetcher.finish(self, Outcome.CHANGED)
        try:
            self.mirror.replace(self.fetch.path, self.fetch.name, data)
        except (OSError, LayoutError) as error:
            return self._disk(error)
        self.written = len(data)
        self._wrote(len(data))
        self.fetcher.finish(self, Outcome.DONE, data if self.small else None)

    def _resume_part(self):
        """Gather a large file beside our copy; go on where a cut left it. A log that is not here yet grows in
        place."""
        fetch, parts = self.fetch, self.mirror.parts
        parts.make_folder()
        if plan.is_appended(fetch.name) and self.mirror.stat(fetch.path, fetch.name) is None:
            self.start = self.next = self.written = 0
            return parts.note_begun(fetch)
        self.gathered_file = parts.place(fetch)
        self.file = open(self.gathered_file, "ab", buffering=0)
        gathered = self.file.tell()
        if not gathered:
            parts.note_begun(fetch)
        with open(self.gathered_file, "rb") as file:
            file.seek(max(0, gathered - SEAM))
            self.seam = file.read(SEAM)
        self.next = self.written = gathered - len(self.seam)
        parts.go_on(fetch, self.written)

    def _more(self):
        """Ask for what fits."""
        longest = min(self.fetcher.client.max_read, max(sftp.SAFE_READ, self.fetcher.ceiling // 2))
        while self.next < self.end and self.outstanding < ANSWERS and self.fetcher.asks_more():
            self._ask(self.next, min(longest, self.end - self.next), self._came)
            self.next += min(longest, self.end - self.next)
        if self.outstanding:
            return
        if self.next < self.end:
            self.fetcher.put_off(self)
        else:
            self._ended()

    def _ask(self, offset, size, take, room=0):
        self.outstanding += 1
        self.fetcher.count_asked(size)
        self.fetcher.client.ask(sftp.read(self.handle, offset, size + room),
                                lambda data: self._answered(offset, size, data, take))

    def _answered(self, offset, size, data, take):
        self.outstanding -= 1
        self.fetcher.count_asked(-size)
        if self.fetcher.at_work(self):
            take(offset, size, data)

    def _came(self, offset, size, data):
        if isinstance(data, SftpError):
            self.end = min(self.end, offset)
            self.error = data
        elif not data:
            self.end = min(self.end, offset)        # the file ends here, whatever we were told
        else:
            self.arrived[offset] = data
            if len(data) < size and offset + len(data) < self.end:
                self._ask(offset + len(data), size - len(data), functools.partial(self._rest, len(data)))
        try:
            self._write()
        except (OSError, LayoutError) as error:
            self._disk(error)

    def _rest(self, before, offset, size, data):
        """Take what follows an answer that was short by no end of the file: the server reads no more than
        that at once."""
        if data and not isinstance(data, SftpError):
            self.fetcher.client.grants.cut_reads(before)
        self._came(offset, size, data)

    def _write(self):
        while self.written in self.arrived:
            data = self.arrived.pop(self.written)
            if self.seam:
                seam, self.seam = self.seam, b""
                if data[:len(seam)] != seam:
                    self.end, self.outcome = 0, Outcome.CHANGED
                    self.arrived.clear()
                    break
                self.written += len(seam)
                data = data[len(seam):]
            self._put(data)
        self._more()

    def _put(self, data):
        if self.file is None:
            self.file = self.mirror.appender(self.fetch.path, self.fetch.name)
            if self.file.tell() != self.written:        # somebody else grew it meanwhile: not ours to mend
                self.end, self.outcome = 0, Outcome.CHANGED
                return
        view = memoryview(data)
        while view:
            count = self.file.write(view)
            view = view[count:]
        self.written += len(data)
        self._wrote(len(data))

    def _wrote(self, count):
        self.put += count
        self.fetcher.wrote(self, count)

    outcome, error = Outcome.DONE, None

    def _ended(self):
        """Everything asked for has come."""
        fetch, outcome = self.fetch, self.outcome
        self._close()
        if self.error or outcome is Outcome.DONE and self.written < fetch.size:
            outcome = self.error or Outcome.SHORT
        if self.gathered_file and outcome is Outcome.DONE:
            self.file.close()
            self.mirror.take_part(self.gathered_file, fetch.path, fetch.name)
        elif self.gathered_file and outcome is Outcome.CHANGED:
            self.file.close()
            disk.discard(self.gathered_file)
        self.fetcher.finish(self, outcome)

    def _close(self):
        if self.handle is not None:
            self.fetcher.client.ask(sftp.close(self.handle), lambda answer: None)
            self.handle = None

    def _disk(self, error):
        """This disk refused the file, or all. The latter is raised by the next step, not here: other answers
        of the same packet have their own takers."""
        if getattr(error, "errno", None) not in local_disk.DISK_ERRORS:
            return self.fetcher.finish(self, error)
        self.fetcher.stop_for(error)
        self.fetcher.finish(self, Outcome.DISK)

    def shut(self) -> None:
        self._close()
        self.mirror.parts.resumed.pop((self.fetch.path, self.fetch.name), None)
        if self.file is not None:
            self.file.close()
            self.file = None
