"""Carry fetches out: many files in flight over one SFTP session, each seam compared, every replacement by
rename. Decides nothing."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import time
from typing import TYPE_CHECKING

from runicorn import local_names
from runicorn.errors import SyncError
from runicorn.mirror import plan
from runicorn.mirror.job import SNAPSHOT, Job
from runicorn.mirror.outcome import Outcome
from runicorn.ssh import sftp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runicorn.mirror.plan import Fetch

# In flight; a small one takes two round trips, so this many at 50 ms are 5,000 a second
FILES = 500
PACE = 0.05                     # s between looks at how fast it comes …
PACES = 10                      # … which are taken together: it comes in gusts
# marks, between which it came in the last moments: more, where it is the line's beginning
GUST = 4
# s; no more is asked for than comes in this time, or whoever watches a tail waits behind it
LAG = 0.3
AT_ONCE = 64                    # answers of one file asked for at once
# Bytes of files that are opened ahead, however little may be asked for: each takes a turn or two
AHEAD = 2 << 20
SMALLEST, FIRST_CEILING = 512 << 10, 2 << 20


class Fetcher:
    """Fetches over one session. `report(fetch, outcome, held, data)` is called for each when it ends:

    outcome: DONE; CHANGED, when what we hold or were told is not what the server has; SHORT, when the
    server's file ends before the size we were told; UNWANTED, when it was given up; NO_ROOM, when there is
    none for it here; DISK, when this disk takes nothing any more; the OSError or LayoutError with which it
    refused this file alone; or the SftpError.
    held: bytes of it that are here now; data: the bytes of a small JSON file, else None.
    `ceiling` is how many bytes may be asked for at once (int), none while `paused` is set. `wire()` returns
    the bytes that came over the line so far, fewer than the client's where it is compressed.
    """

    def __init__(self, client, mirror, root, room, report, moment, wire=None, hearsay=(), contents=None,
                 ceiling=FIRST_CEILING):
        """room: room.Room, asked before each file; moment(): what a Fetch `began` at; hearsay: run paths
        whose files may be none by now (container): looked at first; contents: contents.Contents; ceiling: to
        begin with."""
        self._hearsay, self._moment, self._contents = hearsay, moment, contents
        self.client, self.mirror, self.root, self.room, self.report = client, mirror, root, room, report
        self._wire = wire or (lambda: client.received)
        self.ceiling, self._least = ceiling, min(ceiling, SMALLEST)
        self.paused = False
        self.rests = False                  # whether what waits and can wait is left to another line
        self.wire_rate = float("inf")       # bytes/s on the wire when the line was full last …
        self.best_rate = 0.0                # … at any time …
        self.full = 0                       # … and how often in a row it was, looked at twenty times a second
        self.round_trip = 0.0               # s; see `know_round_trip`
        self.bytes = 0                      # written to the mirror
        self.coming = 0                     # of these, bytes of files that are not done
        self.in_flight = 0                  # bytes on their way …
        # … and bytes of the files being opened, which are read as soon as the line has room
        self.promised = 0
        self.enough = 0                     # `bytes` at which no more files are begun
        # The OSError with which this disk refused a file; `step` raises it
        self.refusal = None
        self._queue, self._opened, self._jobs = collections.deque(), collections.deque(), set()
        self._urgent, self._grown = frozenset(), set()
        self._marks = collections.deque([self._mark()], PACES)
        client.call(before_sending=self.refill)

    def allow(self, size, ceiling=None):
        """Begin files until `size` bytes more came than have by now; ceiling: ask for no more than that at
        once, None: as before."""
        self.enough = self.bytes + size
        if ceiling is not None:
            self.ceiling = max(SMALLEST // 8, min(self.ceiling, ceiling))

    def leave_rest(self, rests):
        """Say whether what waits and can wait is left to another line."""
        self.rests = rests

    def know_round_trip(self, seconds: float) -> None:
        """Take over how long one takes (s)."""
        self.round_trip = seconds

    def pause(self, paused):
        """Ask for nothing, or go on."""
        self.paused = paused

    def add(self, fetches, is_urgent=False):
        """Queue fetches (list of Fetch, most urgent first) behind those that wait, or before them."""
        if is_urgent:
            self._queue.extendleft(reversed(fetches))
        else:
            self._queue.extend(fetches)

    def prefer(self, path: str) -> None:
        """Put what waits of the run `path` first."""
        chosen = [fetch for fetch in self._queue if fetch.path == path]
        if chosen:
            self._queue = collections.deque(chosen + [fetch for fetch in self._queue if fetch.path != path])

    def hurry(self, paths: Iterable[str]) -> None:
        """Say which runs (set of paths) somebody looks at or are being written: for their files room is made
        here."""
        self._urgent = paths

    def grown(self) -> set[str]:
        """Return the runs of which bytes came into their place since last asked (set of paths)."""
        grown, self._grown = self._grown, set()
        return grown

    def has_waiting(self, size: int, count: int = 0) -> bool:
        """Whether fetches of `size` bytes wait, `count` of them elsewhere (bool)."""
        sizes = (fetch.size - fetch.offset for fetch in self._queue)
        return any(total >= size for total in itertools.accumulate(sizes, initial=count))

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait to be asked for (int)."""
        return plan.total(self._queue)

    def take_back(self):
        """Give the last of the fetches that wait to somebody else (Fetch); None where there is none that can
        wait."""
        return self._queue.pop() if self._queue and self.can_wait(self._queue[-1]) else None

    def can_wait(self, fetch: Fetch) -> bool:
        """Whether nobody waits for a Fetch: it is none of the list, nor of a run that somebody looks at or
        that is being written (bool)."""
        return not (local_names.is_small(fetch.name) or fetch.path in self._urgent)

    def keep_only(self, keep):
        """Give up the fetches, waiting or under way, of which `keep(fetch)` is false; each is reported as
        Outcome.UNWANTED."""
        waiting, self._queue = self._queue, collections.deque()
        for fetch in waiting:
            if keep(fetch):
                self._queue.append(fetch)
            else:
                self.report(fetch, Outcome.UNWANTED, 0, None)
        for job in [job for job in self._jobs if not keep(job.fetch)]:
            self.finish(job, Outcome.UNWANTED)

    @property
    def left(self) -> int:
        """How many fetches wait or are under way (int)."""
        return len(self._queue) + len(self._jobs)

    @property
    def at_rest(self) -> bool:
        """Whether there is nothing to do here but what is left to another line (bool)."""
        return self.rests and not self._jobs and not (self._queue and not self.can_wait(self._queue[0]))

    def refill(self) -> None:
        """Read as many open files as the line allows, and open as many ahead; the session calls this before
        it sends.

        The answer to an OPEN comes behind all that was asked before: without files open ahead the line would
        fall idle.
        """
        if self.paused:
            return
        self._pace()
        while self._opened and self.asks_more():
            job = self._opened.popleft()
            if self.at_work(job):
                job.go_on()
        files, without_line = min(FILES, max(1, self.client.room - self.client.folders)), 0
        while (without_line < AT_ONCE and self._queue and len(self._jobs) < files
               and self.promised < max(self.ceiling, AHEAD)
               and self.bytes + self.in_flight + self.promised < self.enough
               and not (self.rests and self.can_wait(self._queue[0]))):
            without_line += self._start(self._queue.popleft())

    @contextlib.contextmanager
    def held_back(self):
        """Ask for nothing more while the block runs, and for little after it, unless the files under way hold
        all that may be open."""
        if self.client.max_handles < 2:
            yield
            return
        self.paused = True
        try:
            yield
        finally:
            # Who waited asks again, mostly
            self.paused, self.ceiling = False, min(self.ceiling, SMALLEST)

    def step(self, until: float) -> None:
        """Work until all is fetched, the monotonic clock says `until`, or `bytes` reached `enough`.

        Raises LineError, ProtocolError and SyncError.
        """
        while (self.left and not self.at_rest and self.bytes < self.enough and time.monotonic() < until
               and (self.client.unanswered or not self.paused)):
            self.client.pump()
            if self.refusal:
                error, self.refusal = self.refusal, None
                raise SyncError(f"the mirror can't be written: {error.strerror}") from error

    def _pace(self):
        """Ask for about as much as comes in LAG."""
        passed, full = time.monotonic() - self._marks[-1][0], self.in_flight >= self.ceiling // 2
        if passed < PACE:
            return
        self.full = self.full + 1 if full else 0
        if passed > PACES * PACE or self.in_flight + self.promised < self.ceiling // 2:
            self.full = 0               # it was neither the line that set the rate nor the ceiling
            self._marks = collections.deque([self._mark()], PACES)
            return
        self._marks.append(self._mark())
        aim = max(self._rate(0, 1), self._rate(-GUST, 1)) * max(LAG, 4 * self.round_trip)
        ceiling = int(max(self._least, min(sftp.IN_FLIGHT_BYTES, aim, 2 * self.ceiling)))
        if full:
            self.wire_rate = self._rate(0, 2)
            self.best_rate = max(self.best_rate, self.wire_rate if self.full > 1 else 0.0)
            self.ceiling = ceiling
        else:
            # Files that are being opened come in gusts, between which the line is idle
            self.ceiling = max(self.ceiling, ceiling)

    def _rate(self, since, column):
        """Return how many bytes a second came since a mark. column: 1 for those of the session, 2 for those
        on the wire."""
        mark, last = self._marks[max(since, -len(self._marks))], self._marks[-1]
        return (last[column] - mark[column]) / (last[0] - mark[0])

    def _mark(self):
        return time.monotonic(), self.client.received, self._wire()

    def drop(self) -> None:
        """Forget everything; what is written stays for the next try."""
        for job in self._jobs:
            job.shut()
            self.room.release(job.claim, job.put)
        self.coming = 0
        self._queue.clear()
        self._opened.clear()
        self._jobs.clear()

    def _start(self, fetch):
        """Begin a fetch; returns whether its file is here already, as its bytes were known."""
        claim = fetch.size - fetch.offset
        copy = self.mirror.stat(fetch.path, fetch.name) if fetch.whole else None
        # Without those nothing is known of a run
        limited = not (local_names.is_small(fetch.name) and fetch.size <= SNAPSHOT)
        if not self.room.claim(claim, min(copy["size"], claim) if copy else 0,
                               fetch.size * (fetch.path in self._urgent), limited):
            self.report(fetch, Outcome.NO_ROOM, 0, None)
            return False
        data, began = self._contents and self._contents.proven(fetch) or (None, self._moment())
        fetch = fetch._replace(began=began)
        job = Job(self, fetch, claim, copy["size"] if copy else 0)
        self._jobs.add(job)
        if data is not None:
            job.take(data)
            return True
        self.promise(job.promised)
        path = plan.remote_path(self.root, fetch.path, fetch.name)
        reason = self._contents.unproven(fetch) if self._contents and fetch.path in self._hearsay else None
        if reason is not None:
            self.client.ask(sftp.lstat(path), functools.partial(job.looked_at, path, reason))
        elif fetch.path in self._hearsay:
            self.client.ask_open(path, job.opened)
        else:
            self.client.ask(sftp.open_file(path), job.opened)
        return False

    def promise(self, size: int) -> None:
        """So many bytes will be read once their files are open; below 0: no longer."""
        self.promised += size

    def count_asked(self, size: int) -> None:
        """So many bytes were asked for; below 0: came."""
        self.in_flight += size

    def stop_for(self, error: Exception) -> None:
        """This disk takes nothing any more: `step` raises that."""
        self.refusal = error

    def finish(self, job: Job, outcome: Outcome | Exception, data: bytes | None = None) -> None:
        """End a job and report it; what still comes for it is dropped."""
        self._jobs.discard(job)
        job.promise_kept()
        job.shut()
        self.coming -= job.put
        self.room.release(job.claim, job.put - (job.replaced if outcome is Outcome.DONE else 0))
        self.report(job.fetch, outcome, job.written, data)

    def wrote(self, job: Job, count: int) -> None:
        """Count bytes of a job that are in the mirror."""
        self.bytes += count
        self.coming += count
        if not job.gathered_file:
            self._grown.add(job.fetch.path)

    def opened(self, job: Job) -> None:
        """A file is open: it's read when its turn comes."""
        self._opened.append(job)

    def asks_more(self) -> bool:
        """Whether more may be asked for now (bool)."""
        return self.in_flight < self.ceiling and not self.paused

    def put_off(self, job: Job) -> None:
        """A file that is being read goes on as soon as there is room for more."""
        self._opened.appendleft(job)

    def at_work(self, job: Job) -> bool:
        """Whether the job has not ended (bool)."""
        return job in self._jobs
