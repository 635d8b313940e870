"""What a server grants and does not announce: files open at once, requests at once, the length of a read,
requests a second.

Each is learned from a refusal. One that may mean "not now" is asked again with less of what it may have been
too much of; where that is granted, so much is kept to from then on, and a little more is tried later. A
refusal that stands is the server's answer.
"""

import collections
import math
import time

from runicorn.errors import DeniedError, LineError, MissingFileError, SftpError
from runicorn.ssh import sftp_answers

OPEN, CLOSE, READ, LSTAT, FSTAT, OPENDIR, READDIR, STAT = 3, 4, 5, 7, 8, 11, 12, 17
OPENING = {OPEN, OPENDIR}
HANDLING = {*OPENING, CLOSE}
DOUBTED = {*OPENING, CLOSE, READ, LSTAT, FSTAT, READDIR, STAT}      # kinds of request that are asked again
REQUESTS = 1024                 # at once, whose answers tell something; nobody waits for a CLOSE
SPARE_HANDLES = 60              # of many files open at once, those for tails, listings and single questions
SHORT_READ = 4096               # bytes; what a server must be able to answer that refused a longer READ
SHORTEST_READ = 256
STEP = 8                        # by how much less is asked at once after a refusal
GROWTH = 50                     # granted at a learned limit, after which half as much more is tried
# Doubted refusals of a kind that stood, and none of it granted since, after which none is doubted any more
STANDING = 8
STREAK = 6                      # refusals of a kind in a row that make it the server's pace, not its files
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 5.0       # s; of a server that refuses everything for a while
DOUBT, PATIENCE = 2.0, 15.0     # s within which some request must be granted; the latter once a pause helped
TOO_MUCH = ("too many", "limit", "quota", "handle", "busy", "resource", "emfile", "descriptor", "try again")

HANDLES, LENGTH, LOAD, PAUSE = "handles", "length", "load", "pause"
Trial = collections.namedtuple("Trial", "why level")
# A request as the client keeps it: done takes its result; trial: with how much less it is asked again (None:
# the first time).
Asked = collections.namedtuple("Asked", "request done trial", defaults=[None])


class Grants:
    """Of one SFTP session. `handles`, `at_once` and `longest` are how many files may be open, how many
    requests unanswered, and how many bytes a READ may ask for (int)."""

    def __init__(self, handles, longest, clock=time.monotonic):
        self.handles = self._most_handles = handles
        self._bound = math.inf                  # files open at once, whatever the server announces
        self.longest = longest
        self._requests = self._most_requests = REQUESTS
        self._quiet = None
        self._open = self._opening = 0          # handles granted and not closed; asked for
        self.deferred = collections.deque()     # what waits for a handle
        self._retrying = self._at_limit = 0
        # Kind -> doubted refusals that stood since it was last granted
        self._stood = collections.Counter()
        self._granted = set()                   # kinds that were granted at least once
        self._streak = collections.Counter()    # kind -> refusals in a row
        self._pause, self._until, self._since, self._patience, self._clock = (FIRST_PAUSE, 0.0, 0.0, DOUBT,
                                                                              clock)

    def announce(self, handles, longest):
        """Take what the server announces."""
        self.handles = self._most_handles = min(handles, self._bound)
        self.longest = longest

    def keep_to(self, requests, handles):
        """Ask for no more than so many requests and files at once, also of a server that announces more
        later."""
        self._requests = self._most_requests = min(self._most_requests, requests)
        self._bound = min(self._bound, handles)
        self.handles = self._most_handles = min(self.handles, handles)

    def cut_reads(self, length):
        """A READ was answered with so many bytes, and more were there."""
        self.longest = max(SHORTEST_READ, min(self.longest, length))

    @property
    def at_once(self):
        if self._until and self.pausing():
            return 0
        return min(self._requests, self._quiet) if self._quiet else self._requests

    @property
    def learned(self):
        """Whether fewer requests are granted at once than would be sent (bool); CLOSEs count, too, then."""
        return self._quiet is not None or self._requests < REQUESTS

    def pausing(self):
        """Return for how many s nothing is sent."""
        seconds = self._until - self._clock()
        if seconds <= 0:
            self._until = 0.0
        return max(0.0, seconds)

    @property
    def spare(self):
        """How many of the files open at once are not for fetching (int)."""
        return min(SPARE_HANDLES, max(1, self.handles * 3 // 5)) if self.handles > 1 else 0

    # -- asking

    def opens(self, pending):
        """Whether an OPEN or OPENDIR may be sent (bool); else it waits here for a handle."""
        bound = pending.trial.level if pending.trial and pending.trial.why is HANDLES else self.handles
        if self._open + self._opening < min(bound, self.handles):
            self._opening += 1
            return True
        self.deferred.append(pending)
        return False

    def freed(self):
        """Return the requests that may be tried, now that there is a handle for them (list of Asked)."""
        room = self.handles - self._open - self._opening
        return [self.deferred.popleft() for _ in range(min(max(0, room), len(self.deferred)))]

    def take_deferred(self):
        """Return all that waits for a handle, and forget it."""
        deferred, self.deferred = self.deferred, collections.deque()
        self._retrying -= sum(map(_is_retry, deferred))
        return deferred

    # -- answers

    def judge(self, pending, result, others):
        """Take the answer to a request; returns the Asked to ask again, None where the answer stands.

        others: how many requests are unanswered.
        """
        kind, trial, refused = pending.request.kind, pending.trial, isinstance(result, SftpError)
        if trial is None and self._quiet is None and not (refused or kind in HANDLING):
            self._note_grant(kind, None)        # as most often
            return None
        if kind in OPENING:
            self._opening -= 1
            self._open += not refused
        self._retrying -= _is_retry(pending)
        more = self._next_trial(pending, result, others) if refused else None
        if kind == CLOSE and not more:
            self._open -= 1
        if not refused:
            self._note_grant(kind, trial)
        elif not more:
            self._stood[kind] += _may_be_for_now(kind, result)
        again = pending._replace(trial=more) if more else None
        self._retrying += _is_retry(again)
        if not self._retrying:
            self._quiet = None
        return again

    def _note_grant(self, kind, trial):
        self._granted.add(kind)
        self._streak[kind] = self._stood[kind] = 0
        if trial:
            self._pause, self._since, self._patience = FIRST_PAUSE, 0.0, max(DOUBT, self._patience)
        if trial and trial.why is PAUSE:
            self._patience = PATIENCE
        elif trial and trial.why is HANDLES:
            self.handles, self._at_limit = min(self.handles, trial.level), 0
        elif trial and trial.why is LOAD:
            self._requests, self._at_limit = min(self._requests, trial.level), 0
        elif trial and trial.why is LENGTH:
            self.longest = min(self.longest, trial.level)
        elif self._requests < self._most_requests or self.handles < self._most_handles and kind in OPENING:
            self._grow()

    def _grow(self):
        self._at_limit += 1
        if self._at_limit >= GROWTH and not self._retrying and not self.deferred:
            self._at_limit = 0
            self._requests = min(self._most_requests, self._requests + max(1, self._requests // 2))
            self.handles = min(self._most_handles, self.handles + max(1, self.handles // 2))

    def _next_trial(self, pending, error, others):
        """Return the Trial in which a refused request is asked once more, None where the refusal stands."""
        kind, trial = pending.request.kind, pending.trial
        if self._stood[kind] >= STANDING or not _may_be_for_now(kind, error):
            return None
        self._streak[kind] += 1
        if trial is None and kind in OPENING and self._open:
            return Trial(HANDLES, self._open)
        if trial is None and kind == READ and pending.request.cost > SHORT_READ:
            return Trial(LENGTH, SHORT_READ)
        if trial and trial.why is LOAD and trial.level > 1 or others and not (trial
                                                                              and trial.why in (LOAD, PAUSE)):
            level = max(1, (trial.level if trial and trial.why is LOAD else others) // STEP)
            self._quiet = min(level, self._quiet or level)
            return Trial(LOAD, level)
        return self._wait_a_while(kind)

    def _wait_a_while(self, kind):
        """A server that grants nothing any more, and did before, wants to be asked less often."""
        now = self._clock()
        if kind not in self._granted or self._streak[kind] < STREAK or not self._patience:
            return None
        self._since = self._since or now
        if now - self._since > self._patience:
            # In vain: no more pauses, until something is granted that was refused before
            self._since, self._patience = 0.0, 0.0
            return None
        if not self.pausing():
            self._until = now + self._pause
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        self._quiet = 1
        return Trial(PAUSE, 1)


def _is_retry(pending):
    """Whether a request, or None, is being asked again with fewer others beside it (bool)."""
    return bool(pending and pending.trial) and pending.trial.why is not HANDLES


def _may_be_for_now(kind, error):
    """Whether an error may be one for now: not that a file is absent, and no lack of rights unless its words
    say otherwise."""
    if kind not in DOUBTED:
        return False
    if isinstance(error, DeniedError):
        return any(word in str(error).rpartition(": ")[2].lower() for word in TOO_MUCH)
    if isinstance(error, MissingFileError):
        return False
    return kind == READ or error.status not in (sftp_answers.BAD_MESSAGE, sftp_answers.UNSUPPORTED)


class Caution:
    """How much is asked at once over the next line, where a server cut one after the other, or fell silent,
    under many requests."""

    LEVELS = (REQUESTS, None), (64, 32), (16, 8), (4, 3), (1, 1)
    # s from the first crowd of requests to the last answer; a line that lasts longer can bear them
    QUICK = 10.0

    def __init__(self):
        self._level = self._strikes = 0

    def tame(self, client):
        """Have an sftp.Sftp keep to what is borne."""
        requests, handles = self.LEVELS[self._level]
        client.grants.keep_to(requests, handles or math.inf)

    def lost(self, client, error):
        """A line ended with `error`; client: its sftp.Sftp."""
        crowded = client.unanswered and client.answered_at - client.crowded_at < self.QUICK
        lower = [level for level, (requests, _) in enumerate(self.LEVELS)
                 if level > self._level and requests < client.crowd]
        if crowded and lower and isinstance(error, LineError):
            self._strikes += 1
            self._level = lower[0] if self._strikes > 1 else self._level
        else:
            self._strikes, self._level = 0, max(0, self._level - 1)


class Rest:
    """How long a line may rest: `seconds`, less where the server cut two lines one after the other that had
    rested equally long."""

    SAME, SHORTEST = 0.7, 1.0           # s

    def __init__(self, seconds):
        self.seconds, self._before = seconds, None

    def lost(self, client):
        """A line broke; client: its sftp.Sftp."""
        rested = time.monotonic() - client.answered_at
        if self._before is not None and abs(rested - self._before) < self.SAME < rested:
            self.seconds, rested = max(self.SHORTEST, min(self.seconds, rested / 2)), None
        self._before = rested
