"""A second line for bulk, in a thread of its own: takes fetches over while there are many, hangs up when there are none."""

import collections
import threading
import time

from runicorn import fetch
from runicorn.errors import RunicornError

ENOUGH = 4 << 20                # bytes waiting that make a second line worth its login
HELD = 1600                     # fetches handed over at once: three times what is in flight
PROBE = 4                       # looks at the first line while it is full, twenty a second, after which its bandwidth is known
FAST = 3e6                      # bytes/s on the wire; a thinner line is full with the first, compressed one alone
LINGER = 3.0                    # s without work until it hangs up
LOST = "lost"                   # outcome of a fetch that the second line took down with it


class Bulk:
    """Fetches over a line of its own. `dial()` returns a Remote or raises a RunicornError: one line only, then.

    The first line is compressed, which a thin line needs, and which holds a fast one up: so the second is not, and gets
    work only where the line is fast. It is dialled before that is known, for a login takes as long as finding out.
    """

    def __init__(self, dial, mirror, root, room, log, hearsay=(), moment=lambda: None, tame=lambda client: None):
        """hearsay, moment: as for the Fetcher. tame(client): has the line's Sftp keep to what lines to this server bear."""
        self._tame = tame
        self._hearsay, self._moment = hearsay, moment
        self._dial, self._mirror, self._root, self._room, self._log = dial, mirror, root, room, log
        self._given, self._ended = collections.deque(), collections.deque()
        self._held = {}                 # (path, name) -> Fetch, handed over and not collected
        self._waking, self._stopping = threading.Event(), threading.Event()
        self._unwanted = None           # (path, name) of what to give up, until the thread has seen to it
        self._thread = self._remote = self._fetcher = None
        self.refused = False            # the server grants one line only
        self.sent = self.received = self.requests = 0

    @property
    def held(self):
        """How many fetches are handed over and not collected (int)."""
        return len(self._held)

    def runs(self):
        """Return the runs of which files are handed over and not collected (set of paths)."""
        return {path for path, _ in self._held}

    @property
    def coming(self):
        """How many bytes of files that are not done are here (int)."""
        fetcher = self._fetcher
        return fetcher.coming if fetcher else 0

    def grown(self):
        """Return the runs of which bytes came into their place since last asked (set of paths)."""
        fetcher = self._fetcher
        return fetcher.grown() if fetcher else set()

    def share(self, fetcher, later):
        """Take fetches over from the end of the main queue when there are enough and the line is fast; dials when it is needed.

        later: bytes that will be queued soon.
        """
        known = fetcher.full >= PROBE or bool(self._held)
        thin = fetcher.full >= PROBE and fetcher.wire_rate < FAST
        if self.refused or thin or self.held >= HELD // 2 or fetcher.waiting_bytes() + later < (ENOUGH // 4 if self._held else ENOUGH):
            return
        if not self._thread or not self._thread.is_alive():
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="bulk", daemon=True)
            self._thread.start()
        if known:
            taken = fetcher.take_back(min(HELD - self.held, fetcher.left // 2))
            self._held.update(((one.path, one.name), one) for one in taken)
            self._given.extend(taken)
            self._waking.set()

    def keep_only(self, wanted):
        """Give up the fetches of which `wanted(fetch)` is false; they are collected as UNWANTED."""
        self._unwanted = {key for key, one in self._held.items() if not wanted(one)}
        self._waking.set()

    def collect(self):
        """Return [(Fetch, outcome, held, data), …] that ended since last asked; see fetch.Fetcher."""
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        for one, *_ in ended:
            self._held.pop((one.path, one.name), None)
        if self._thread and not self._thread.is_alive() and not self._ended:
            self._thread = None
            ended += [(one, LOST, 0, None) for one in self._held.values()]
            self._held.clear()
            self._given.clear()
        return ended

    def close(self):
        """Hang up; what was handed over is collected as LOST. Never raises."""
        self._stopping.set()
        self._waking.set()
        if self._remote:
            self._remote.close()
        if self._thread:
            self._thread.join(10)

    def _run(self):
        try:
            self._remote = self._dial()
            self._carry(self._remote)
        except RunicornError as error:
            if not self._stopping.is_set():
                self._log.info("no second line: %s", error)
                self.refused = True     # asked for once: a refused login is never repeated

    def _carry(self, remote):
        """Work until there is nothing to do."""
        session = fetcher = None
        try:
            session = remote.open_sftp()
            self._tame(session)
            fetcher = fetch.Fetcher(session, self._mirror, self._root, self._room, lambda *ended: self._ended.append(ended),
                                    hearsay=self._hearsay, moment=self._moment)
            fetcher.enough = 1 << 60
            self._fetcher = fetcher
            while not self._stopping.is_set():
                while self._given:
                    fetcher.add([self._given.popleft()])
                unwanted, self._unwanted = self._unwanted, None
                if unwanted:
                    fetcher.keep_only(lambda one, unwanted=unwanted: (one.path, one.name) not in unwanted)
                if fetcher.left:
                    fetcher.step(time.monotonic() + 0.1)
                elif not self._waking.wait(LINGER):
                    return
                self._waking.clear()
        finally:
            if fetcher:
                self._fetcher = None
                fetcher.drop()
            if session:
                self._count(session)
            remote.close()

    def _count(self, session):
        self.sent += session.sent
        self.received += session.received
        self.requests += session.requests
