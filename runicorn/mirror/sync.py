"""Keep one connection's mirror up to date: look what is new, fetch it, tell the pages. Is handed a way to the
server, talks to no SSH.

One pass, in order: hold the mirror's lock, have a line, read the tails somebody watches, survey the server
when that is due, fetch what the plan says for as long as the rhythm allows, publish the index. `run` is
passes in a loop.
"""

import collections
import math
import os
import random
import threading
import time
from queue import Empty

from runicorn import clock, local_disk, local_names
from runicorn.errors import (
    BusyError,
    LineError,
    MissingFileError,
    ProtocolError,
    RemoteError,
    SftpError,
    SyncError,
)
from runicorn.mirror import local_copy, remote_index
from runicorn.mirror.inbox import Inbox
from runicorn.mirror.looks import Turns
from runicorn.mirror.publisher import Publisher, Refusals
from runicorn.mirror.room import Room
from runicorn.mirror.status import Status
from runicorn.ssh import grants

# s between looks at what somebody watches: with a round trip and the writing, a second
TICK = 0.9
IDLE = 5.0                      # s between looks while nobody does
SLICE = 0.6                     # s of fetching between two looks
LONE_SLICE = 2.0                # … of looking for other loggers' runs, where there is none to look at yet
FOLLOW = 3.0                    # s between tries to take over a mirror that another process holds
PLACES = 20                     # running runs looked at per tick that nobody opened
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0      # s; pauses between tries to get a line, growing and jittered
# s between tries to write where this disk refused, and where readers keep a file open
DISK_RETRY, HELD_RETRY = 10.0, 1.0
HASHING = 0.1                   # s between looks whether the server has hashed what it was asked for
STEADY = 60.0                   # s; a line that held so long was good: the pauses between tries begin anew
WAIT = 3600.0                   # s; until somebody wakes us
RELISTINGS = 3                  # times after a survey that what is wrong here is listed again at once
NAP = 5.0                       # s between looks whether the machine slept, while nothing is due


class Sync:
    """The mirror of one connection in `folder`. Constructing it opens, locks and writes nothing. Its thread
    runs `run`; `state` and what stands below "what others ask of us" may be called from any.
    options: the connection's settings (dict); connect: callable that returns a Remote or raises a
    RemoteError; bell: rung with `runs`, `run:<key>` and `connections`; logger: tells the same story to a
    file; room: room.Room of all mirrors, None: as much as the disk takes; look_elsewhere(client, root):
    called once a line when the root holds no runs; moved({old path: new path}): called when runs were renamed
    on the server, before the index says so.
    """

    def __init__(self, options, folder, connect, bell, logger, room=None, look_elsewhere=None, moved=None):
        self.options, self.mirror, self.bell, self.log = options, local_copy.LocalCopy(folder), bell, logger
        self._connect, self._room = connect, room or Room(self.mirror.folder)
        self._look_elsewhere, self._looked_elsewhere = look_elsewhere or (lambda client, root: None), False
        self._slug = local_names.connection_slug(options["name"])
        self._remote_root, self._index = None, None
        self._stopping, self._waking = threading.Event(), threading.Event()
        self._paused, self._now_asked = False, False
        # Whether a survey somebody asked for began, and not all is here yet
        self._unfinished = False
        # How often the runs found wrong may still be listed again before that is said to be done
        self._relistings = 0
        self._clock = clock.Clock()
        # When what is next is due, the clock's time, s
        self._due = self._look_due = self._retry_at = 0.0
        self._rests = False                 # whether nobody looked at our runs when they were last looked at
        self._failures, self._line_began = 0, 0.0
        self._status = Status(self.mirror, self._clock, bell, logger)
        self._publisher = Publisher(self.mirror, bell, self._clock, self._status, self._slug,
                                    moved or (lambda moved: None))
        self._inbox, self._adjusted = Inbox(self._waking.set, logger), collections.deque()
        bell.wake_watched(self._waking)
        self._turns, self._caution, self._resting, self._refusals = (Turns(), grants.Caution(),
                                                                     grants.Rest(IDLE), Refusals())
        self._no_root = self._room_made = False

    # -- the thread

    def run(self):
        """Pass after pass until `stop`."""
        while not self._stopping.is_set():
            try:
                pause = self.one_pass(time.time())
            # While one trouble was told: what the machine is short of may be there the next time
            except Exception as error:
                if not local_disk.is_shortage(error):
                    raise
                pause = FIRST_RETRY
            if pause > 0:
                self._wait(pause)
            self._waking.clear()
        self._hang_up("paused", "stopped", "stopped")
        self.mirror.unlock()

    def _wait(self, pause):
        """Wait for so many seconds, those included that the machine sleeps, or until somebody wakes us."""
        now = self._clock.at(time.time())
        due = now + pause
        while now < due and not self._waking.wait(min(NAP, due - now)):
            now = self._clock.at(time.time())

    def one_pass(self, wall):
        """Do what is due while the wall clock shows `wall` (Unix s), whatever it showed before, and return
        the seconds until the next pass. Raises nothing a line can cause."""
        if self._clock.was_set_back(wall):
            # How long it has been is not known to the second; an early look costs little
            self._due = self._look_due = 0.0
        now = self._clock.at(wall)
        try:
            pause = self._pass(now)
            self._refusals.forget("pass")
            return pause
        except BusyError as error:
            self._follow(error)
            return FOLLOW
        except (LineError, ProtocolError, SftpError, RuntimeError, MemoryError) as error:
            return self._lost(local_disk.passing(error), now)
        except RemoteError as error:
            self._retry_at = math.inf       # until somebody acts, who may do so as soon as the refusal shows
            self._hang_up("refused", error.code or "refused", str(error), error.values)
            return WAIT
        except (SyncError, OSError) as error:       # the line stays: it did nothing wrong
            if self._refusals.is_held("pass", error):
                return HELD_RETRY
            if local_disk.is_shortage(error):
                return self._short(local_disk.passing(error), now)
            detail = (getattr(error, "strerror", None) or getattr(error.__cause__, "strerror", None)
                      or str(error))
            text = str(error) if isinstance(error, SyncError) else f"the mirror can't be written: {detail}"
            self._retry_at = now + DISK_RETRY
            self._status.say("paused", "disk", text, detail=detail)
            return DISK_RETRY

    def _pass(self, now):
        """One pass, phase by phase. Each returns its pause (s), or None where it asks for none: what is to be
        fetched does not wait for the next look."""
        until_begin = self._begin(now)
        if until_begin is not None:
            return until_begin
        remote_root = self._remote_root or self._call(now)
        until_look = self._look(remote_root, now)
        until_fetch = self._fetch(remote_root, now)
        self._publish(remote_root, now)
        self._offer_others(remote_root)
        if now - self._line_began >= STEADY:
            self._failures = 0
        return until_look if until_fetch is None else until_fetch

    def _begin(self, now):
        """Hold the mirror and take up what was set; returns the pause while no line is to be used."""
        if self.mirror.lock() and self._remote_root:
            self._hang_up("connecting", "deleted", "the mirror was deleted here; it is made anew")
            self._index = None
        self._status.own(os.getpid())
        self._take_settings(now)
        if self._paused:
            self._hang_up("paused", "paused", "paused by you")
            return WAIT
        if not self._remote_root and now < self._retry_at:
            return min(WAIT, self._retry_at - now)
        if not (self._remote_root or self._automatic() or self._now_asked or self._inbox):
            self._status.say("paused", "manual", "not automatic: fetches when you say \"sync now\"")
            return WAIT
        return None

    def _look(self, remote_root, now):
        """Survey the server, or look at what somebody watches, where that is due; returns the seconds until
        the next look."""
        remote_root.queue.allow(now, self._allowance(now))
        if self._room_made:
            self._room_made = False
            remote_root.copies.forgive()
            remote_root.queue.plan((), now)
        if self._is_due(now):
            self._survey(remote_root, now)
        elif self._automatic() and (now >= self._look_due or self._rests and self._watched(remote_root)[0]):
            remote_root.look(self._looked_at(remote_root, now), now)
        return max(0.0, min(self._due, self._look_due) - now) if self._automatic() else WAIT

    def _fetch(self, remote_root, now):
        """Do what other threads asked for, fetch for a while, and check what is here once that is all;
        returns the pause while more is left to do."""
        queue = remote_root.queue
        for path in self._inbox.opened():
            self.mirror.take_back(path)
            queue.ask_for(path, now)
        self._inbox.answer(remote_root, now)
        queue.work(time.monotonic() + SLICE, self._inbox.questions)
        allowed = self._allowance(now) != 0
        others = allowed and remote_root.look_for_others(now, SLICE if self._index.lines else LONE_SLICE)
        idle = remote_root.surveyed and not queue.left and not self._no_root
        more = idle and (remote_root.check_rekeyed(now) or remote_root.check_hearsay(now)
                         or self._relist_wrong(remote_root, now))
        hashing = remote_root.whole_files.settle_suspects(remote_root.source == "exec", now)
        if queue.left or more or others:
            return 0.0 if allowed and not queue.full else 1.0
        return HASHING if hashing or remote_root.foreign.waits else None

    def _relist_wrong(self, remote_root, now):
        """List the runs of which a fetch found our copy wrong, before it is said that all is here; returns
        whether there were any."""
        if self._relistings == 0 or not remote_root.check_wrong(now):
            return False
        self._relistings -= 1
        return True

    def _take_settings(self, now):
        """Take up what `adjust` was told: on the line that is up, only what is fetched is planned anew."""
        while self._adjusted:
            before = dict(self.options)
            self.options.update(self._adjusted.popleft())       # the session's, too: they are one dict
            self._due += self.options["interval"] - before["interval"]
            if self._remote_root:
                self._remote_root.adjust(before, now)

    def _automatic(self):
        return self.options.get("mode", "auto") == "auto"

    def _allowance(self, now):
        """Return how many bytes the politeness budget (bytes a minute) leaves for this minute, None without
        one."""
        budget = self.options.get("budget")
        return max(0, budget - self._status.bytes_of_minute(now)) if budget else None

    def _is_due(self, now):
        if self._now_asked:
            return True
        return self._automatic() and now >= self._due

    def _survey(self, remote_root, now):
        thorough, self._now_asked = self._now_asked, False
        self._unfinished |= thorough
        self._relistings = RELISTINGS
        watched = self._looked_at(remote_root, now)
        try:
            remote_root.survey(now, watched if remote_root.source else (), thorough)
            self._no_root = False
        except MissingFileError:
            self._no_root = True        # it appears with the first run there
        except BaseException:
            self._now_asked = thorough or self._now_asked       # who asked for it gets it over the next line
            raise
        self._due = now + self.options["interval"]

    def _offer_others(self, remote_root):
        """Where the root holds no runs of any kind, look where some usually are."""
        if not (self._index.lines or self._looked_elsewhere) and (self._no_root or not remote_root.looking):
            self._looked_elsewhere = True
            self._look_elsewhere(remote_root.client, remote_root.root)

    def _looked_at(self, remote_root, now):
        """Return the runs whose tails are read now (list of paths), and say when they are next."""
        index, (is_watched, opened) = remote_root.index, self._watched(remote_root)
        running = [path for path in remote_root.beats.going(index.foreign, now)
                   if path in index and not index.ended(path) and path not in opened]
        self._rests = not is_watched
        self._look_due = now + (TICK if is_watched else self._resting.seconds)
        return opened + self._turns.take(running, PLACES)

    # -- the line

    def _call(self, now):
        """Get a line, take up the mirror, and learn the list at once where a manifest or exec tells it."""
        self.mirror.check()                 # before a login that would lead to nothing
        self._status.say("connecting", "connecting", f"connecting to {self.options['host']}")
        index, earlier = (self._index or remote_index.RemoteIndex(self.mirror.load_index()),
                          self.mirror.load_kept())
        loading = threading.Thread(target=__import__, args=("runicorn.mirror.remote_root",), daemon=True)
        loading.start()                     # a login is waiting, mostly
        remote = self._connect()
        remote_root = None
        try:
            loading.join()
            from runicorn.mirror.opening import Opening
            from runicorn.mirror.remote_root import RemoteRoot
            opening = Opening(remote, self.options, index, earlier, now, self._clock.wall)
            remote_root = RemoteRoot(self.options, self.mirror, remote, opening, self._room, self.log,
                                     self._clock.wall, self._caution)
            key = (remote.host_key if isinstance(remote.host_key, str)
                   else (remote.host_key or {}).get("fingerprint"))
            claim = self.mirror.claim({"user": self.options["user"], "host": self.options["host"],
                                       "port": self.options["port"], "host_key": key,
                                       "root": remote_root.root})
            self._index = (remote_index.RemoteIndex(self.mirror.load_index()) if claim is local_copy.NEW
                           else index)
            remote_root.begin(self._index, rekeyed=claim is local_copy.REKEYED)
            remote_root.resume(earlier, now)
            self._status.say("syncing", "looking", "looking what is new")
            remote_root.learn(now)
        except BaseException as error:
            self._caution.lost(remote_root.client, error) if remote_root else None
            remote_root.close() if remote_root else remote.close()
            raise
        self._remote_root, self._line_began = remote_root, now
        self._status.line_began(self._clock.wall(now))
        self._look_due, self._due, self._looked_elsewhere = 0.0, 0.0, False
        self._publish(remote_root, now)
        self._publisher.expect_list(now)
        return remote_root

    def _lost(self, error, now):
        """The line broke: try again after a growing, jittered pause."""
        self._failures += 1
        if self._remote_root:
            self._caution.lost(self._remote_root.client, error)
            self._resting.lost(self._remote_root.client)
        pause = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(self._failures - 1, 10)) * random.uniform(0.7, 1.3)
        self._retry_at = now + pause
        self._status.retry(self._clock.wall(now) + pause)
        values = error.values if error.code else {"host": self.options["host"], "detail": str(error),
                                                  **error.values}
        self._hang_up("offline", error.code or "line", str(error), values)
        return pause

    def _short(self, error, now):
        """This machine had no descriptor or memory for a moment: a line that is up stays."""
        if not self._remote_root:
            return self._lost(error, now)
        self._status.say("paused", error.code, str(error), **error.values)
        return DISK_RETRY

    def _hang_up(self, state, code, text, values=None):
        remote_root, self._remote_root = self._remote_root, None
        # The next line goes on with it, also where nothing comes by itself
        self._now_asked |= self._unfinished
        if remote_root:
            remote_root.close()
            self._status.line_ended()
        self._status.say(state, code, text, **(values or {}))
        if remote_root:
            self._publisher.follow_moves(remote_root)
        if remote_root or self._status.is_ours:
            try:
                self._publisher.tell(remote_root, self.state())
                self.mirror.save_folders(*((remote_root.skeleton.told(), remote_root.foreign.told())
                                           if remote_root else ()))
            except SyncError as error:      # this disk is full, too; one trouble at a time
                self.log.warning("%s", error)

    def _follow(self, error):
        """Another process syncs this mirror: show what it says, and wait for its end."""
        owner = self.mirror.owner()
        self._status.own(owner, ours=False)
        remote_root, self._remote_root = self._remote_root, None
        if remote_root:
            # The cache was deleted under us, and they were first to make it anew
            remote_root.close()
        self._status.say("paused", "held", str(error), pid=owner)

    # -- who looks

    def _watched(self, remote_root):
        """Return (whether somebody looks at our runs (bool), the run paths they have open that may still
        change (list))."""
        watched = self.bell.watched()
        prefix, opened = f"run:{self._slug}:", []
        for topic in watched:
            paths = local_names.paths_of(topic[len(prefix):]) if topic.startswith(prefix) else ()
            opened += [path for path in paths if path in remote_root.index
                       and not remote_root.index.ended(path)][:1]
        return bool(opened) or "runs" in watched, opened

    # -- what the pages see

    def _publish(self, remote_root, now):
        """Tell what is new, and say where we are."""
        self._publisher.publish(remote_root, now)
        self._say_where(remote_root)
        self._status.hear(remote_root.traffic(), now)
        if remote_root.surveyed and not (remote_root.queue.left or remote_root.looking or self._now_asked):
            self._status.set_up_to_date(self._clock.wall(now))
            self._unfinished = False
        self._publisher.tell(remote_root, self.state())

    def _say_where(self, remote_root):
        """Say what the line is used for."""
        fetches, say = remote_root.queue, self._status.say
        if fetches.left and fetches.full:
            say("paused", "disk_full", f"the disk of {self.mirror.folder} is full: {fetches.left} files wait",
                left=fetches.left)
        elif fetches.left:
            files_done, total = fetches.progress.files_done, fetches.progress.files_total
            say("syncing", "fetching", f"{files_done} of {total} files", done=files_done, total=total)
        elif self._no_root:
            say("live", "no_root", f"{self.options['host']} has no folder {remote_root.root} yet",
                root=remote_root.root)
        elif remote_root.looking:
            say("syncing", "looking", "looking what is new")
        elif remote_root.surveyed:
            failing = fetches.copies.left_out.count() + fetches.copies.failing
            files = "1 file" if failing == 1 else f"{failing} files"
            partly = f"up to date but for {files} that could not come; the Files of their runs say why"
            if failing:
                say("live", "live_partly", partly, files=failing)
            else:
                say("live", "live", "up to date")

    def state(self):
        """Return what the connection's row shows of us (dict; see status.Status.row)."""
        return self._status.row(self._remote_root, self._index)

    # -- what others ask of us, from any thread

    def wake(self):
        """Make the next pass now; a refused login is tried once more."""
        self._retry_at = 0.0
        self._waking.set()

    def adjust(self, options):
        """Go on with other settings (dict), on the same line: host, port, user, auth, key and remote_root
        must be the same."""
        self._adjusted.append(options)
        self._waking.set()

    @property
    def is_asked(self):
        """Whether somebody said "sync now", and that is not done (bool)."""
        return self._now_asked or self._unfinished

    def sync_now(self):
        """Survey the server now."""
        self._due = 0.0
        self._now_asked = True
        self._status.set_up_to_date(None)
        self.wake()

    def room_was_made(self):
        """Files went from this disk: what waited for room may come."""
        self._room_made = True
        self._waking.set()

    def pause(self):
        """Hang up until `resume`; the mirror stays ours."""
        self._paused = True
        self.wake()

    def resume(self):
        """Go on after `pause`."""
        self._paused = False
        self.wake()

    def stop(self):
        """Make `run` return soon."""
        self._stopping.set()
        self._waking.set()

    def want(self, path):
        """Somebody opened the run `path`: its files come first."""
        self._inbox.open_run(path)

    def peek(self, path, name, ranges, timeout=10.0):
        """Return the bytes at `ranges`, [(offset, length), …], of a run's file as the server has it; negative
        offsets count from its end. Nothing is kept. Raises RemoteError."""
        return self._ask(lambda remote_root, now: remote_root.peek(path, name, ranges), timeout)

    def verify(self, timeout=86_400.0):
        """Compare every file here with the server's, whole; returns {"files", "refetched"} once that is
        queued. Raises RemoteError."""
        return self._ask(lambda remote_root, now: remote_root.verify(now), timeout)

    def _ask(self, question, timeout):
        """Let the sync's thread answer `question(remote_root, now)`; wait `timeout` s. Raises RemoteError,
        FaultError."""
        try:
            if self._status.state in ("offline", "refused") or self._paused or self._status.is_anothers:
                raise Empty       # nobody would answer soon
            return self._inbox.ask(question, timeout)
        except Empty:
            text = self._status.reason["text"]
            raise LineError(f"{self.options['name']} is {self._status.state}: {text}") from None
