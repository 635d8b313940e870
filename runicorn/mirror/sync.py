"""Keep one connection's mirror up to date: look what is new, fetch it, tell the pages. Is handed a way to the server, talks to no SSH.

One pass, in order: hold the mirror's lock, have a line, read the tails somebody watches, survey the server when that is due,
fetch what the plan says for as long as the rhythm allows, publish the index. `run` is passes in a loop.
"""

import collections
import math
import os
import random
import threading
import time
from queue import Empty, Queue

from runicorn import clock, faults, layout, left_out, local_disk, local_names
from runicorn.errors import BusyError, FaultError, LineError, MissingFileError, ProtocolError, RemoteError, SftpError, SyncError
from runicorn.mirror import local_copy, remote_index
from runicorn.mirror.looks import Turns
from runicorn.mirror.room import Room
from runicorn.mirror.traffic import Meter
from runicorn.ssh import grants

TICK = 0.9                      # s between looks at what somebody watches: with a round trip and the writing, a second
IDLE = 5.0                      # s between looks while nobody does
SLICE = 0.6                     # s of fetching between two looks
FOLLOW = 3.0                    # s between tries to take over a mirror that another process holds
PLACES = 20                     # running runs looked at per tick that nobody opened
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0      # s; pauses between tries to get a line, growing and jittered
DISK_RETRY, HELD_RETRY = 10.0, 1.0      # s between tries to write where this disk refused, and where readers keep a file open
HASHING = 0.1                   # s between looks whether the server has hashed what it was asked for
PARTIAL = 1.0                   # s after which a list that is not whole is shown
SAVED = 30.0                    # s after which an index is written in which only sizes and times changed
PACE = 5                        # writing an index that took t s is not repeated before PACE * t
REFUSALS = 5                    # times in a row that readers may keep a file open that is to be replaced
STEADY = 60.0                   # s; a line that held so long was good: the pauses between tries begin anew
WAIT = 3600.0                   # s; until somebody wakes us
NAP = 5.0                       # s between looks whether the machine slept, while nothing is due


class Sync:
    """The mirror of one connection in `folder`. Constructing it opens, locks and writes nothing. Its thread runs `run`; `state` and what
    stands below "what others ask of us" may be called from any.
    options: the connection's settings (dict); connect: callable that returns a Remote or raises a RemoteError; bell: rung with `runs`,
    `run:<key>` and `connections`; logger: tells the same story to a file; room: room.Room of all mirrors, None: as much as the disk
    takes; look_elsewhere(client, root): called once a line when the root holds no runs; moved({old path: new path}): called when runs
    were renamed on the server, before the index says so.
    """

    def __init__(self, options, folder, connect, bell, logger, room=None, look_elsewhere=None, moved=None):
        self.options, self.mirror, self.bell, self.log = options, local_copy.LocalCopy(folder), bell, logger
        self._connect, self._room = connect, room or Room(self.mirror.folder)
        self._look_elsewhere, self._looked_elsewhere = look_elsewhere or (lambda client, root: None), False
        self._moved = moved or (lambda moved: None)
        self._slug = local_names.connection_slug(options["name"])
        self._remote_root, self._index = None, None
        self._stopping, self._waking = threading.Event(), threading.Event()
        self._paused, self._now_asked = False, False
        self._up_to_date = None         # Unix s at which all that the server has was last known to be here
        self._clock = clock.Clock()
        self._due = self._look_due = self._retry_at = 0.0       # when what is next is due, the clock's time, s
        self._retry_shown = None        # the same of the next try to get a line, Unix s
        self._failures = 0
        self._state, self._reason, self._since = "connecting", {"code": "starting", "text": "starting"}, time.time()
        self._line, self._line_began = {"up": False, "since": time.time()}, 0.0
        self._owner, self._turns = None, Turns()
        self._last_news, self._heard = None, (0, 0)     # when the server answered last, the clock's time; the line's traffic by then
        self._opened_runs, self._questions, self._adjusted = collections.deque(), collections.deque(), collections.deque()
        self._meter, self._caution, self._resting = Meter(), grants.Caution(), grants.Rest(IDLE)
        self._published = self._saved = 0.0         # when the index may be written next, and was last, the clock's time, s
        self._refused = collections.Counter()       # {who wrote: times in a row that readers kept open what it replaces}
        self._list_told = False             # the run list was, over this line
        self._no_root = self._room_made = False
        self._checked = []              # when each run was last seen as the saved index has it; see recheck.Recheck.told
        self._list = None               # what was read into that; see server_runs.RunList.told

    # -- the thread

    def run(self):
        """Pass after pass until `stop`."""
        while not self._stopping.is_set():
            pause = self.one_pass(time.time())
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
        """Do what is due while the wall clock shows `wall` (Unix s), whatever it showed before, and return the seconds until the next
        pass. Raises nothing a line can cause."""
        if self._clock.was_set_back(wall):
            self._due = self._look_due = 0.0        # how long it has been is not known to the second; an early look costs little
        now = self._clock.at(wall)
        try:
            pause = self._pass(now)
            self._refused["pass"] = 0
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
            if self._is_held("pass", error):
                return HELD_RETRY
            detail = getattr(error, "strerror", None) or getattr(error.__cause__, "strerror", None) or str(error)
            text = str(error) if isinstance(error, SyncError) else f"the mirror can't be written: {detail}"
            self._retry_at = now + DISK_RETRY
            self._say("paused", "disk", text, detail=detail)
            return DISK_RETRY

    def _pass(self, now):
        """One pass from top to bottom."""
        if self.mirror.lock() and self._remote_root:
            self._hang_up("connecting", "deleted", "the mirror was deleted here; it is made anew")
            self._index = None
        self._owner = {"pid": os.getpid(), "ours": True}
        self._take_settings(now)
        if self._paused:
            self._hang_up("paused", "paused", "paused by you")
            return WAIT
        if not self._remote_root and now < self._retry_at:
            return min(WAIT, self._retry_at - now)
        if not (self._remote_root or self._automatic() or self._now_asked or self._opened_runs or self._questions):
            self._say("paused", "manual", "not automatic: fetches when you say \"sync now\"")
            return WAIT
        remote_root = self._remote_root or self._call(now)
        allowance = self._allowance(now)
        remote_root.queue.allow(now, allowance)
        if self._room_made:
            self._room_made = False
            remote_root.queue.forgive()
            remote_root.queue.plan((), now)
        if self._is_due(now):
            self._survey(remote_root, now)
        elif self._automatic() and now >= self._look_due:
            remote_root.look(self._looked_at(remote_root, now), now)
        self._serve(remote_root, now)
        remote_root.queue.work(time.monotonic() + SLICE, self._questions)
        idle = remote_root.surveyed and not remote_root.queue.left and not self._no_root
        more = idle and (remote_root.check_rekeyed(now) or remote_root.check_hearsay(now))
        hashing = remote_root.whole_files.settle_suspects(remote_root.source == "exec", now)
        self._publish(remote_root, now)
        if now - self._line_began >= STEADY:
            self._failures = 0
        if remote_root.queue.left or more:
            return 1.0 if allowance == 0 or remote_root.queue.full else 0.0
        if hashing:
            return HASHING
        return max(0.0, min(self._due, self._look_due) - now) if self._automatic() else WAIT

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
        """Return how many bytes the politeness budget (bytes a minute) leaves for this minute, None without one."""
        budget = self.options.get("budget")
        return max(0, budget - self._meter.this_minute(now)) if budget else None

    def _is_due(self, now):
        if self._now_asked:
            return True
        return self._automatic() and now >= self._due

    def _survey(self, remote_root, now):
        thorough, self._now_asked = self._now_asked, False
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
        if not self._index.lines and not self._looked_elsewhere:
            self._looked_elsewhere = True
            self._look_elsewhere(remote_root.client, remote_root.root)

    def _looked_at(self, remote_root, now):
        """Return the runs whose tails are read now (list of paths), and say when they are next."""
        watched = self.bell.watched()
        opened, index = self._opened(remote_root, watched), remote_root.index
        running = [path for path in remote_root.beats.runs if path in index and not index.ended(path) and path not in opened]
        self._look_due = now + (TICK if opened or "runs" in watched else self._resting.seconds)
        return opened + self._turns.take(running, PLACES)

    # -- the line

    def _call(self, now):
        """Get a line, take up the mirror, and learn the list at once where a manifest or exec tells it."""
        self.mirror.check()                 # before a login that would lead to nothing
        self._say("connecting", "connecting", f"connecting to {self.options['host']}")
        index, earlier = self._index or remote_index.RemoteIndex(self.mirror.load_index()), self.mirror.load_kept()
        loading = threading.Thread(target=__import__, args=("runicorn.mirror.remote_root",), daemon=True)
        loading.start()                     # a login is waiting, mostly
        remote = self._connect()
        remote_root = None
        try:
            loading.join()
            from runicorn.mirror.opening import Opening
            from runicorn.mirror.remote_root import RemoteRoot
            opening = Opening(remote, self.options, index, earlier, now, self._clock.wall)
            remote_root = RemoteRoot(self.options, self.mirror, remote, opening, self._room, self.log, self._clock.wall, self._caution)
            key = remote.host_key if isinstance(remote.host_key, str) else (remote.host_key or {}).get("fingerprint")
            claim = self.mirror.claim({"user": self.options["user"], "host": self.options["host"], "port": self.options["port"],
                                       "host_key": key, "root": remote_root.root})
            self._index = remote_index.RemoteIndex(self.mirror.load_index()) if claim is local_copy.NEW else index
            remote_root.begin(self._index, rekeyed=claim is local_copy.REKEYED)
            remote_root.resume(earlier, now)
            self._say("syncing", "looking", "looking what is new")
            remote_root.learn(now)
        except BaseException as error:
            self._caution.lost(remote_root.client, error) if remote_root else None
            remote_root.close() if remote_root else remote.close()
            raise
        self._remote_root, self._line, self._line_began = remote_root, {"up": True, "since": self._clock.wall(now)}, now
        self._meter.restart()
        self._look_due, self._due, self._looked_elsewhere = 0.0, 0.0, False
        self._publish(remote_root, now)
        self._published, self._list_told = now + PARTIAL, False
        return remote_root

    def _lost(self, error, now):
        """The line broke: try again after a growing, jittered pause."""
        self._failures += 1
        if self._remote_root:
            self._caution.lost(self._remote_root.client, error)
            self._resting.lost(self._remote_root.client)
        pause = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(self._failures - 1, 10)) * random.uniform(0.7, 1.3)
        self._retry_at, self._retry_shown = now + pause, self._clock.wall(now) + pause
        self._hang_up("offline", error.code or "line", str(error), error.values)
        return pause

    def _hang_up(self, state, code, text, values=None):
        remote_root, self._remote_root = self._remote_root, None
        if remote_root:
            remote_root.close()
            self._line = {"up": False, "since": time.time()}
        self._say(state, code, text, **(values or {}))
        if remote_root:
            self._follow_moves(remote_root)
        if remote_root or self._owner and self._owner["ours"]:
            try:
                self._tell(remote_root)
                self.mirror.save_folders(remote_root.skeleton.told() if remote_root else {})
            except SyncError as error:      # this disk is full, too; one trouble at a time
                self.log.warning("%s", error)

    def _follow(self, error):
        """Another process syncs this mirror: show what it says, and wait for its end."""
        self._owner = {"pid": self.mirror.owner(), "ours": False}
        remote_root, self._remote_root = self._remote_root, None
        if remote_root:
            remote_root.close()             # the cache was deleted under us, and they were first to make it anew
        self._say("paused", "held", str(error), pid=self._owner["pid"])

    def _say(self, state, code, text, **values):
        """Set the state with its reason, log it and ring when it changed."""
        reason = {"code": code, "text": text, **values}
        if (state, reason) == (self._state, self._reason):
            return
        if state != self._state:
            self._since = time.time()
            self.log.info("%s: %s", state, text)
        self._state, self._reason = state, reason
        self.bell.ring("connections")

    # -- who looks

    def _opened(self, remote_root, watched):
        """Return the run paths somebody has open that may still change (list)."""
        prefix, opened = f"run:{self._slug}:", []
        for topic in watched:
            parts = topic[len(prefix):].split("/") if topic.startswith(prefix) else ()
            path = "/".join((*parts[:2], layout.RUNS, parts[2])) if len(parts) == 3 else ""
            if path in remote_root.index and not remote_root.index.ended(path):
                opened.append(path)
        return opened

    def _serve(self, remote_root, now):
        """Do what other threads asked for: runs somebody opened come first, and whoever waits for an answer gets it."""
        while self._opened_runs:
            path = self._opened_runs.popleft()
            self.mirror.take_back(path)
            remote_root.queue.ask_for(path, now)
        while self._questions:
            question, answer = self._questions.popleft()
            try:
                answer.put(question(remote_root, now))
            except SftpError as error:
                answer.put(error)
            except (RemoteError, SyncError, BusyError, OSError) as error:
                answer.put(LineError(f"the line broke meanwhile: {error}"))
                raise
            except Exception as error:          # the question's own trouble: the line, and what is fetched over it, go on
                answer.put(FaultError(faults.tell(self.log, error, "answering a question")))

    def _ask(self, question, timeout):
        """Let the sync's thread answer `question(session, now)`; wait `timeout` s. Raises RemoteError, FaultError."""
        answer = Queue(1)
        try:
            if self._state in ("offline", "refused") or self._paused or self._owner and not self._owner["ours"]:
                raise Empty       # nobody would answer soon
            self._questions.append((question, answer))
            self._waking.set()
            result = answer.get(timeout=timeout)
        except Empty:
            raise LineError(f"{self.options['name']} is {self._state}: {self._reason['text']}") from None
        if isinstance(result, Exception):
            raise result
        return result

    # -- what the pages see

    def _is_held(self, writer, error):
        """Whether it is only that readers on Windows keep a file open, which is no reason to pause unless they go on."""
        self._refused[writer] += 1
        return local_disk.is_held(error) and self._refused[writer] <= REFUSALS

    def _write(self, write, *content):
        """Return whether write(*content) went; where readers keep the old file open it is written another time."""
        try:
            write(*content)
        except SyncError as error:
            if self._is_held(write, error):
                return False
            raise
        self._refused[write] = 0
        return True

    def _publish(self, remote_root, now):
        """Write the index when it changed, ring what changed, and say where we are."""
        fetches, moved = remote_root.queue, self._follow_moves(remote_root)
        complete = remote_root.surveyed and fetches.whole and not self._list_told
        grown = remote_root.index.changed and now >= self._saved + SAVED
        if (remote_root.news or fetches.news or grown) and (complete or moved or now >= self._published):
            self._list_told = self._list_told or complete
            began = time.monotonic()
            if self._write(self.mirror.save_index, remote_root.index.flush(self._clock.wall(now))):
                self._saved = now
                remote_root.mark(news=False)
                self.bell.ring("runs")
            self._published = now + PACE * (time.monotonic() - began)
        if fetches.grown:
            self.bell.ring(*(f"run:{local_names.run_key(self._slug, path)}" for path in fetches.grown))
        fetches.grown.clear()
        if not remote_root.index.changed:
            self._checked = remote_root.recheck.told(remote_root.index.paths)
            self._list = remote_root.list.told(remote_root.index.manifest.header.get("digest"))
        if fetches.left_out.changed and self._write(self.mirror.write, self.mirror.index / left_out.FILE, fetches.left_out.to_json()):
            fetches.left_out.changes_saved()
            self.bell.ring("runs")
        if fetches.left and fetches.full:
            self._say("paused", "disk", f"the disk of {self.mirror.folder} is full: {fetches.left} files wait", left=fetches.left)
        elif fetches.left:
            files_done, total = fetches.files_done, fetches.files_total
            self._say("syncing", "fetching", f"{files_done} of {total} files", done=files_done, total=total)
        elif self._no_root:
            self._say("live", "no_root", f"{self.options['host']} has no folder {remote_root.root} yet", root=remote_root.root)
        elif remote_root.looking:
            self._say("syncing", "looking", "looking what is new")
        elif remote_root.surveyed and fetches.left_out.count() + fetches.failing:
            count = fetches.left_out.count() + fetches.failing
            files = "1 file" if count == 1 else f"{count} files"
            self._say("live", "live_partly", f"up to date but for {files} that could not come; the Files of their runs say why",
                      files=count)
        elif remote_root.surveyed:
            self._say("live", "live", "up to date")
        traffic = remote_root.traffic()
        if traffic != self._heard:              # a pass that asked nothing heard nothing
            self._heard, self._last_news = traffic, self._clock.now()
        self._meter.note(now, *traffic)
        if remote_root.surveyed and not (fetches.left or remote_root.looking or self._now_asked):
            self._up_to_date = self._clock.wall(now)
        self._tell(remote_root)

    def _follow_moves(self, remote_root):
        """Say which runs were renamed on the server since last told; returns whether some were."""
        moved = remote_root.moves.take()
        if moved:
            self._moved(moved)
            remote_root.mark(news=True)
        for path in moved:
            self.bell.ring(f"run:{local_names.run_key(self._slug, path)}")
        return bool(moved)

    def _tell(self, remote_root):
        """Write .index/live.json; without a session the state alone is new in it."""
        live = {"runs": remote_root.beats.runs, "line": self._line, "gone": sorted(remote_root.vanished), "looked": remote_root.looked,
                "checked": self._checked, "turn": round(remote_root.turn_seconds), "list": self._list, "written": time.time(),
                "ahead": self._clock.wall(0.0)} if remote_root else layout.read_json(self.mirror.index / "live.json") or {}
        self._write(self.mirror.save_live, {**live, "state": self.state()})

    def state(self):
        """Return what the connection's row shows of us (dict; see README, "Connections")."""
        root, index = self._remote_root, self._index
        last_news = None if self._last_news is None else self._clock.wall(self._last_news)      # whatever the wall clock was set to since
        row = {"state": self._state, "reason": self._reason, "since": self._since, "last_news": last_news,
               "up_to_date": self._up_to_date, "retry_at": self._retry_shown if self._state == "offline" else None,
               "runs": len(index.lines) if index else 0, "running": len(root.beats.runs) if root else 0,
               "progress": self._progress(root) if root else None, "traffic": self._meter.told(self._clock.now()),
               "owner": self._owner, "source": root.source if root else None,
               "rtt_ms": round(1000 * root.round_trip) if root and root.round_trip else None,
               "manifest_age": round(self._clock.now() - root.list.manifest_made) if root and root.list.manifest_made else None}
        return row if index else self._from_index(row)

    def _from_index(self, row):
        """What another process, or an earlier one, wrote about this mirror."""
        earlier = (layout.read_json(self.mirror.index / "live.json") or {}).get("state")
        earlier = earlier if isinstance(earlier, dict) else {}
        if self._owner and not self._owner["ours"]:
            teller = earlier.get("owner")
            if isinstance(teller, dict) and teller.get("pid") == self._owner["pid"]:
                return {**row, **earlier, "owner": self._owner}
            row["state"] = "connecting"        # who holds it has said nothing yet, and what an earlier one said is over
        return {**row, **{key: earlier[key] for key in ("runs", "running", "last_news") if key in earlier}}

    def _progress(self, remote_root):
        fetches = remote_root.queue
        if not fetches.left:
            return None
        come = min(fetches.bytes_here, fetches.bytes_total)
        rate = max(0, come - self.mirror.parts.resumed_bytes) / max(0.1, time.monotonic() - fetches.began)
        seconds = round((fetches.bytes_total - come) / rate) if rate else None
        return {"files_done": fetches.files_done, "files_total": fetches.files_total, "bytes_done": come,
                "bytes_total": fetches.bytes_total, "rate": round(rate), "left": seconds}

    # -- what others ask of us, from any thread

    def wake(self):
        """Make the next pass now; a refused login is tried once more."""
        self._retry_at = 0.0
        self._waking.set()

    def adjust(self, options):
        """Go on with other settings (dict), on the same line: host, port, user, auth, key and remote_root must be the same."""
        self._adjusted.append(options)
        self._waking.set()

    def sync_now(self):
        """Survey the server now."""
        self._due = 0.0
        self._now_asked, self._up_to_date = True, None
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
        self._opened_runs.append(path)
        self._waking.set()

    def peek(self, path, name, ranges, timeout=10.0):
        """Return the bytes at `ranges`, [(offset, length), …], of a run's file as the server has it; negative offsets count
        from its end. Nothing is kept. Raises RemoteError."""
        return self._ask(lambda remote_root, now: remote_root.peek(path, name, ranges), timeout)

    def verify(self, timeout=86_400.0):
        """Compare every file here with the server's, whole; returns {"files", "refetched"} once that is queued. Raises RemoteError."""
        return self._ask(lambda remote_root, now: remote_root.verify(now), timeout)
