"""A second line for bulk, in a thread of its own: takes fetches over while there are many, hangs up when
there are none."""

from __future__ import annotations

import collections
import contextlib
import math
import threading
import time

from runicorn import faults
from runicorn.errors import RunicornError
from runicorn.mirror import plan
from runicorn.mirror.fetcher import Fetcher
from runicorn.mirror.outcome import Outcome

ENOUGH = 4 << 20                # bytes waiting that make a second line worth its login
HELD = 800                      # fetches handed over at once: as many as are in flight, and some
# Bytes handed over before its bandwidth is known; of these so many are asked for at first:
TRIAL = 8 << 20
TRIAL_CEILING = 256 << 10
# s, and eight round trips, after which a line that was full all the time, and did not show that it is fast,
# is not: one that was not full waited for a processor, here or there. After so many times as long it's not
# either
PATIENCE, LONGEST_TRIAL = 0.6, 5
COUNT_SECONDS = 1.0             # between looks at whether all that waits has room
# Looks at the first line while it is full, twenty a second, after which its bandwidth is known
PROBE = 4
# bytes/s on the wire; a thinner line is full with the first, compressed one alone
FAST = 3e6
# The first line brings so many times less than the second did: a processor holds it up, no line
IDLE = 2.0
# s until a line that was not fast has its second trial; twice as long each time
AGAIN = 5.0
LULL = 0.5                      # s after somebody waited for an answer: another question follows, mostly
# s without work until it hangs up; before its first, the list may take long to come
LINGER, FIRST_LINGER = 3.0, 30.0


class SecondLine:
    """Fetches over a line of its own. `dial()` returns a Remote or raises a RunicornError: one line only,
    then.

    The first line is compressed, which a thin line needs, and which holds a fast one up, and the server's
    processor: so the second is not. What little it is given at first tells whether the line is fast. If so it
    gets all that is no matter of moments, else it hangs up. It is dialled before there is work for it, for
    that takes as long as finding out what there is.

    All public methods are for the sync's thread; its own, `bulk`, is `_run`, which takes from `_waiting` and
    adds to `_ended`.
    """

    def __init__(self, dial, mirror, root, room, log, moment, hearsay=(), tame=lambda client: None):
        """moment, hearsay: as for the Fetcher. tame(client): has the line's Sftp keep to what lines to this
        server bear."""
        self._tame = tame
        self._hearsay, self._moment = hearsay, moment
        self._dial, self._mirror, self._root, self._room, self._log = dial, mirror, root, room, log
        self._waiting, self._ended = collections.deque(), collections.deque()
        self._taken_over = {}                 # (path, name) -> Fetch, handed over and not collected
        self._waking, self._stopping = threading.Event(), threading.Event()
        self._unwanted = None           # (path, name) of what to give up, until the thread has seen to it
        self._thread = self._remote = self._fetcher = None
        self._fast = None               # whether the line is; None: not known yet
        # When it was given something first, later by how long it was held back since
        self._tried = None
        # bytes/s that a trial in vain brought; when another one is due, and how long after that the next
        self._brought, self._again, self._pause = 0.0, math.inf, AGAIN
        self._resumes = 0.0             # when it is no more held back
        # Whether all that waits has room; when that was found out, and of how many
        self._fits, self._counted = True, (-math.inf, 0)
        self.refused = False            # the server grants one line only
        self.sent = self.received = self.requests = 0

    @property
    def held(self) -> int:
        """How many fetches are handed over and not collected (int)."""
        return len(self._taken_over)

    def runs(self) -> set[str]:
        """Return the runs of which files are handed over and not collected (set of paths)."""
        return {path for path, _ in self._taken_over}

    @property
    def coming(self) -> int:
        """How many bytes of files that are not done are here (int)."""
        fetcher = self._fetcher
        return fetcher.coming if fetcher else 0

    def grown(self) -> set[str]:
        """Return the runs of which bytes came into their place since last asked (set of paths)."""
        fetcher = self._fetcher
        return fetcher.grown() if fetcher else set()

    def expect(self) -> None:
        """Dial now: there will be much to fetch."""
        if not self.refused and not (self._thread and self._thread.is_alive()):
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="bulk", daemon=True)
            self._thread.start()

    def share(self, main, later):
        """Take fetches over, when there are enough and the line is fast, from the list `later`, which is
        emptied from its end, and from the end of the queue of `main`, the first line's Fetcher; dials when it
        is needed. Returns whether `main` should leave the rest to this line, too."""
        if time.monotonic() < self._resumes:
            return False
        self._judge(main)
        measured = main.full >= PROBE
        if self._fast is False and measured and self._is_worth_a_trial(main):
            self._fast = self._tried = None
        # The first, compressed one may be slow for want of a processor: the trial tells
        dialled = self._thread is not None
        thin = (self._fast is False or self._fast is None and not dialled and measured
                and main.wire_rate < FAST)
        enough = ENOUGH // 4 if self._taken_over else ENOUGH
        if (self.refused or thin or not main.has_waiting(enough, plan.total(later))
                or not self._all_fits(main, later)):
            return False
        self.expect()
        if self._fetcher and self.held < HELD // 2:
            self._take(main, later, HELD - self.held,
                       math.inf if self._fast else TRIAL - plan.total(self._taken_over.values()))
        return self._fast is True and bool(self._taken_over)

    def _is_worth_a_trial(self, main):
        """Whether a line that was not fast may be by now: what the first one brings shows that it is, or that
        the line is not what holds it up."""
        return main.wire_rate >= FAST or (main.wire_rate * IDLE < self._brought
                                          and time.monotonic() >= self._again)

    def _all_fits(self, main, later):
        """Whether all that waits has room (bool): else the newest should have it, and this line begins with
        the oldest."""
        now, count = time.monotonic(), main.left + len(later)
        if now > self._counted[0] + COUNT_SECONDS or count > self._counted[1]:
            self._fits, self._counted = self._room.fits(main.waiting_bytes + plan.total(later)), (now, count)
        return self._fits

    def _judge(self, main):
        """Find out whether the line is fast: once it showed it, or had long enough to show it."""
        line = self._fetcher
        if line is None or self._fast is not None:
            return
        # Whoever asks may have been busy since
        since = line.client.answered_at - (self._tried or math.inf)
        if line.best_rate >= FAST or line.bytes >= TRIAL // 4 and line.bytes >= FAST * since:
            self._fast = True
        # Answers may be too rare to fill it
        elif self._tried and time.monotonic() > self._tried + (PATIENCE + 8 * main.round_trip) * (
                1 if line.full >= PROBE else LONGEST_TRIAL):
            self._fast, self._brought = False, line.bytes / max(since, 0.001)
            self._again, self._pause = time.monotonic() + self._pause, 2 * self._pause
            self._log.info("one line is enough: a second one brings %.1f MB a second", self._brought / 1e6)
            self._hang_up()

    def _take(self, main, later, count, size):
        """Take over `count` fetches, or so many that they have `size` bytes."""
        self._tried = self._tried or time.monotonic()
        while count > 0 and size > 0:
            index = next((index for index in range(len(later) - 1, -1, -1) if main.can_wait(later[index])),
                         None)
            fetch = main.take_back() if index is None else later.pop(index)
            if fetch is None:
                break
            self._taken_over[fetch.path, fetch.name] = fetch
            self._waiting.append(fetch)
            count, size = count - 1, size - fetch.size
        self._waking.set()

    def keep_only(self, keep):
        """Give up the fetches of which `keep(fetch)` is false; they are collected as UNWANTED."""
        self._unwanted = {key for key, fetch in self._taken_over.items() if not keep(fetch)}
        self._waking.set()

    def collect(self):
        """Return [(Fetch, outcome, held, data), …] that ended since last asked; see fetcher.Fetcher."""
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        for fetch, *_ in ended:
            self._taken_over.pop((fetch.path, fetch.name), None)
        if self._thread and not self._thread.is_alive() and not self._ended:
            self._thread = None
            ended += [(fetch, Outcome.LOST, 0, None) for fetch in self._taken_over.values()]
            self._taken_over.clear()
            self._waiting.clear()
        return ended

    @contextlib.contextmanager
    def held_back(self):
        """Ask for nothing more while the block runs, and LULL s after it."""
        began, self._resumes = max(time.monotonic(), self._resumes), math.inf
        self._heed()
        try:
            yield
        finally:
            self._resumes = time.monotonic() + LULL
            self._tried = self._tried and self._tried + self._resumes - began

    def _heed(self):
        """Have the fetcher pause or go on; returns for how long it is held back yet (s)."""
        fetcher, seconds = self._fetcher, self._resumes - time.monotonic()
        if fetcher:
            fetcher.pause(seconds > 0)
        return max(0.0, seconds)

    def close(self) -> None:
        """Hang up; what was handed over is collected as LOST. Never raises."""
        self._hang_up()
        if self._thread:
            self._thread.join(10)

    def _hang_up(self):
        self._stopping.set()
        self._waking.set()
        if self._remote:
            self._remote.close()

    def _run(self):
        try:
            self._remote = self._dial()
            self._carry(self._remote)
        except RunicornError as error:
            if not self._stopping.is_set():
                self._log.info("no second line: %s", error)
                self.refused = True     # asked for once: a refused login is never repeated
        # The first line fetches what this one was given, and another of its kind would end so, too
        except Exception as error:
            self.refused = True
            faults.tell(self._log, error, "the second line")

    def _carry(self, remote):
        """Work until there is nothing to do."""
        client = fetcher = None
        try:
            client = remote.open_sftp()
            self._tame(client)
            fetcher = Fetcher(client, self._mirror, self._root, self._room,
                              lambda *ended: self._ended.append(ended), self._moment, hearsay=self._hearsay,
                              ceiling=TRIAL_CEILING)
            fetcher.allow(1 << 60)
            self._fetcher = fetcher
            while not self._stopping.is_set():
                while self._waiting:
                    fetcher.add([self._waiting.popleft()])
                unwanted, self._unwanted = self._unwanted, None
                if unwanted:
                    fetcher.keep_only(lambda fetch, unwanted=unwanted: (fetch.path,
                                                                        fetch.name) not in unwanted)
                seconds = self._heed()
                if fetcher.left and (client.unanswered or not seconds):
                    fetcher.step(time.monotonic() + 0.1)
                elif (not self._waking.wait(min(seconds, LULL) or (LINGER if self._tried else FIRST_LINGER))
                      and not seconds):
                    return
                self._waking.clear()
        finally:
            if fetcher:
                self._fetcher = None
                fetcher.drop()
            if client:
                self._count(client)
            remote.close()

    def _count(self, client):
        self.sent += client.sent
        self.received += client.received
        self.requests += client.requests
