"""Keep one connection's mirror up to date: look what is new, fetch it, tell the pages. Is handed a way to the server, talks to no SSH.

One pass, in order: hold the mirror's lock, have a line, read the tails somebody watches, survey the server when that is due,
fetch what the plan says for as long as the rhythm allows, publish the index. `run` is passes in a loop.
"""

import collections
import math
import os
import queue
import random
import threading
import time

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
    """The mirror of one connection in `folder`. Constructing it opens, locks and writes nothing.

    options: the connection's settings (dict); connect: callable that returns a Remote or raises a RemoteError; bell: rung
    with `runs`, `run:<key>` and `connections`; logger: tells the same story to a file; room: room.Room of all mirrors,
    None: as much as the disk takes; look_elsewhere(client, root): called once a line when the root holds no runs;
    moved({old path: new path}): called when runs were renamed on the server, before the index says so.
    """

    def __init__(self, options, folder, connect, bell, logger, room=None, look_elsewhere=None, moved=None):
        self.options, self.mirror, self.bell, self.log = options, local_copy.Mirror(folder), bell, logger
        self._connect, self._room = connect, room or Room(self.mirror.folder)
        self._look_elsewhere, self._looked_elsewhere = look_elsewhere or (lambda client, root: None), False
        self._moved = moved or (lambda moved: None)
        self._slug = local_names.connection_slug(options["name"])
        self._session, self._index = None, None
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
        self._wanted, self._asked, self._adjusted = collections.deque(), collections.deque(), collections.deque()
        self._meter, self._caution, self._rest = Meter(), grants.Caution(), grants.Rest(IDLE)
        self._published = self._saved = 0.0         # when the index may be written next, and was last, the clock's time, s
        self._refused = collections.Counter()       # {who wrote: times in a row that readers kept open what it replaces}
        self._whole = False             # the run list was, over this line
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
        if self.mirror.lock() and self._session:
            self._hang_up("connecting", "deleted", "the mirror was deleted here; it is made anew")
            self._index = None
        self._owner = {"pid": os.getpid(), "ours": True}
        self._take_settings(now)
        if self._paused:
            self._hang_up("paused", "paused", "paused by you")
            return WAIT
        if not self._session and now < self._retry_at:
            return min(WAIT, self._retry_at - now)
        if not (self._session or self._automatic() or self._now_asked or self._wanted or self._asked):
            self._say("paused", "manual", "not automatic: fetches when you say \"sync now\"")
            return WAIT
        session = self._session or self._call(now)
        allowance = self._allowance(now)
        session.intake.allow(now, allowance)
        if self._room_made:
            self._room_made = False
            session.intake.forgive()
            session.intake.plan((), now)
        if self._is_due(now):
            self._survey(session, now)
        elif self._automatic() and now >= self._look_due:
            session.look(self._looked_at(session, now), now)
        self._serve(session, now)
        session.intake.work(time.monotonic() + SLICE, self._asked)
        idle = session.surveyed and not session.intake.left and not self._no_root
        more = idle and (session.check_rekeyed(now) or session.check_hearsay(now))
        hashing = session.whole_files.settle_suspects(session.source == "exec", now)
        self._publish(session, now)
        if now - self._line_began >= STEADY:
            self._failures = 0
        if session.intake.left or more:
            return 1.0 if allowance == 0 or session.intake.full else 0.0
        if hashing:
            return HASHING
        return max(0.0, min(self._due, self._look_due) - now) if self._automatic() else WAIT

    def _take_settings(self, now):
        """Take up what `adjust` was told: on the line that is up, only what is fetched is planned anew."""
        while self._adjusted:
            before = dict(self.options)
            self.options.update(self._adjusted.popleft())       # the session's, too: they are one dict
            self._due += self.options["interval"] - before["interval"]
            if self._session:
                self._session.adjust(before, now)

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

    def _survey(self, session, now):
        thorough, self._now_asked = self._now_asked, False
        watched = self._looked_at(session, now)
        try:
            session.survey(now, watched if session.source else (), thorough)
            self._no_root = False
        except MissingFileError:
            self._no_root = True        # it appears with the first run there
        except BaseException:
            self._now_asked = thorough or self._now_asked       # who asked for it gets it over the next line
            raise
        self._due = now + self.options["interval"]
        if not self._index.lines and not self._looked_elsewhere:
            self._looked_elsewhere = True
            self._look_elsewhere(session.sftp, session.root)

    def _looked_at(self, session, now):
        """Return the runs whose tails are read now (list of paths), and say when they are next."""
        watched = self.bell.watched()
        opened = self._opened(session, watched)
        running = [path for path in session.beats.runs if path in session.index and not session.index.ended(path) and path not in opened]
        self._look_due = now + (TICK if opened or "runs" in watched else self._rest.seconds)
        return opened + self._turns.take(running, PLACES)

    # -- the line

    def _call(self, now):
        """Get a line, take up the mirror, and learn the list at once where a manifest or exec tells it."""
        self.mirror.check()                 # before a login that would lead to nothing
        self._say("connecting", "connecting", f"connecting to {self.options['host']}")
        index, kept = self._index or remote_index.Index(self.mirror.load_index()), self.mirror.load_kept()
        loading = threading.Thread(target=__import__, args=("runicorn.mirror.remote_root",), daemon=True)
        loading.start()                     # a login is waiting, mostly
        remote = self._connect()
        session = None
        try:
            loading.join()
            from runicorn.mirror.opening import Opening
            from runicorn.mirror.remote_root import Session
            opening = Opening(remote, self.options, index, kept, now, self._clock.wall)
            session = Session(self.options, self.mirror, remote, opening, self._room, self.log, self._clock.wall, self._caution)
            key = remote.host_key if isinstance(remote.host_key, str) else (remote.host_key or {}).get("fingerprint")
            claim = self.mirror.claim({"user": self.options["user"], "host": self.options["host"], "port": self.options["port"],
                                       "host_key": key, "root": session.root})
            self._index = remote_index.Index(self.mirror.load_index()) if claim is local_copy.NEW else index
            session.begin(self._index, rekeyed=claim is local_copy.REKEYED)
            session.resume(kept, now)
            self._say("syncing", "looking", "looking what is new")
            session.learn(now)
        except BaseException as error:
            self._caution.lost(session.sftp, error) if session else None
            session.close() if session else remote.close()
            raise
        self._session, self._line, self._line_began = session, {"up": True, "since": self._clock.wall(now)}, now
        self._meter.restart()
        self._look_due, self._due, self._looked_elsewhere = 0.0, 0.0, False
        self._publish(session, now)
        self._published, self._whole = now + PARTIAL, False
        return session

    def _lost(self, error, now):
        """The line broke: try again after a growing, jittered pause."""
        self._failures += 1
        if self._session:
            self._caution.lost(self._session.sftp, error)
            self._rest.lost(self._session.sftp)
        pause = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(self._failures - 1, 10)) * random.uniform(0.7, 1.3)
        self._retry_at, self._retry_shown = now + pause, self._clock.wall(now) + pause
        self._hang_up("offline", error.code or "line", str(error), error.values)
        return pause

    def _hang_up(self, state, code, text, values=None):
        session, self._session = self._session, None
        if session:
            session.close()
            self._line = {"up": False, "since": time.time()}
        self._say(state, code, text, **(values or {}))
        if session:
            self._follow_moves(session)
        if session or self._owner and self._owner["ours"]:
            try:
                self._tell(session)
                self.mirror.save_folders(session.skeleton.told() if session else {})
            except SyncError as error:      # this disk is full, too; one trouble at a time
                self.log.warning("%s", error)

    def _follow(self, error):
        """Another process syncs this mirror: show what it says, and wait for its end."""
        self._owner = {"pid": self.mirror.owner(), "ours": False}
        session, self._session = self._session, None
        if session:
            session.close()             # the cache was deleted under us, and they were first to make it anew
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

    def _opened(self, session, watched):
        """Return the run paths somebody has open that may still change (list)."""
        prefix, opened = f"run:{self._slug}:", []
        for topic in watched:
            parts = topic[len(prefix):].split("/") if topic.startswith(prefix) else ()
            path = "/".join((*parts[:2], layout.RUNS, parts[2])) if len(parts) == 3 else ""
            if path in session.index and not session.index.ended(path):
                opened.append(path)
        return opened

    def _serve(self, session, now):
        """Do what other threads asked for: runs somebody opened come first, and whoever waits for an answer gets it."""
        while self._wanted:
            path = self._wanted.popleft()
            self.mirror.take_back(path)
            session.intake.ask_for(path, now)
        while self._asked:
            question, answer = self._asked.popleft()
            try:
                answer.put(question(session, now))
            except SftpError as error:
                answer.put(error)
            except (RemoteError, SyncError, BusyError, OSError) as error:
                answer.put(LineError(f"the line broke meanwhile: {error}"))
                raise
            except Exception as error:          # the question's own trouble: the line, and what is fetched over it, go on
                answer.put(FaultError(faults.tell(self.log, error, "answering a question")))

    def _ask(self, question, timeout):
        """Let the sync's thread answer `question(session, now)`; wait `timeout` s. Raises RemoteError, FaultError."""
        answer = queue.Queue(1)
        try:
            if self._state in ("offline", "refused") or self._paused or self._owner and not self._owner["ours"]:
                raise queue.Empty       # nobody would answer soon
            self._asked.append((question, answer))
            self._waking.set()
            found = answer.get(timeout=timeout)
        except queue.Empty:
            raise LineError(f"{self.options['name']} is {self._state}: {self._reason['text']}") from None
        if isinstance(found, Exception):
            raise found
        return found

    # -- what the pages see

    def _is_held(self, who, error):
        """Whether it is only that readers on Windows keep a file open, which is no reason to pause unless they go on."""
        self._refused[who] += 1
        return local_disk.is_held(error) and self._refused[who] <= REFUSALS

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

    def _publish(self, session, now):
        """Write the index when it changed, ring what changed, and say where we are."""
        intake, moved = session.intake, self._follow_moves(session)
        whole = session.surveyed and intake.whole and not self._whole
        grown = session.index.changed and now >= self._saved + SAVED
        if (session.news or intake.news or grown) and (whole or moved or now >= self._published):
            self._whole = self._whole or whole
            began = time.monotonic()
            if self._write(self.mirror.save_index, session.index.flush(self._clock.wall(now))):
                session.index.changed, self._saved = False, now
                session.news = intake.news = False
                self.bell.ring("runs")
            self._published = now + PACE * (time.monotonic() - began)
        if intake.grown:
            self.bell.ring(*(f"run:{local_names.run_key(self._slug, path)}" for path in intake.grown))
        intake.grown.clear()
        if not session.index.changed:
            self._checked = session.recheck.told(session.index.paths)
            self._list = session.list.told(session.index.manifest.header.get("digest"))
        if intake.left_out.changed and self._write(self.mirror.write, self.mirror.index / left_out.FILE, intake.left_out.to_json()):
            intake.left_out.changes_saved()
            self.bell.ring("runs")
        if intake.left and intake.full:
            self._say("paused", "disk", f"the disk of {self.mirror.folder} is full: {intake.left} files wait", left=intake.left)
        elif intake.left:
            done, total = intake.files_done, intake.files_total
            self._say("syncing", "fetching", f"{done} of {total} files", done=done, total=total)
        elif self._no_root:
            self._say("live", "no_root", f"{self.options['host']} has no folder {session.root} yet", root=session.root)
        elif session.looking:
            self._say("syncing", "looking", "looking what is new")
        elif session.surveyed and intake.left_out.count() + intake.failing:
            count = intake.left_out.count() + intake.failing
            files = "1 file" if count == 1 else f"{count} files"
            self._say("live", "live_partly", f"up to date but for {files} that could not come; the Files of their runs say why",
                      files=count)
        elif session.surveyed:
            self._say("live", "live", "up to date")
        traffic = session.traffic()
        if traffic != self._heard:              # a pass that asked nothing heard nothing
            self._heard, self._last_news = traffic, self._clock.now()
        self._meter.note(now, *traffic)
        if session.surveyed and not (intake.left or session.looking or self._now_asked):
            self._up_to_date = self._clock.wall(now)
        self._tell(session)

    def _follow_moves(self, session):
        """Say which runs were renamed on the server since last told; returns whether some were."""
        moved = session.moves.take()
        if moved:
            self._moved(moved)
            session.news = True
        for path in moved:
            self.bell.ring(f"run:{local_names.run_key(self._slug, path)}")
        return bool(moved)

    def _tell(self, session):
        """Write .index/live.json; without a session the state alone is new in it."""
        live = {"runs": session.beats.runs, "line": self._line, "gone": sorted(session.gone), "looked": session.looked,
                "checked": self._checked, "turn": round(session.turn_seconds), "list": self._list, "written": time.time(),
                "ahead": self._clock.wall(0.0)} if session else layout.read_json(self.mirror.index / "live.json") or {}
        self._write(self.mirror.save_live, {**live, "state": self.state()})

    def state(self):
        """Return what the connection's row shows of us (dict; see README, "Connections")."""
        session, index = self._session, self._index
        last_news = None if self._last_news is None else self._clock.wall(self._last_news)      # whatever the wall clock was set to since
        told = {"state": self._state, "reason": self._reason, "since": self._since, "last_news": last_news,
                "up_to_date": self._up_to_date,
                "retry_at": self._retry_shown if self._state == "offline" else None, "runs": len(index.lines) if index else 0,
                "running": len(session.beats.runs) if session else 0, "progress": self._progress(session) if session else None,
                "traffic": self._meter.told(self._clock.now()), "owner": self._owner, "source": session.source if session else None,
                "rtt_ms": round(1000 * session.round_trip) if session and session.round_trip else None,
                "manifest_age": round(self._clock.now() - session.list.manifest_made) if session and session.list.manifest_made else None}
        return told if index else self._from_index(told)

    def _from_index(self, told):
        """What another process, or an earlier one, wrote about this mirror."""
        kept = (layout.read_json(self.mirror.index / "live.json") or {}).get("state")
        kept = kept if isinstance(kept, dict) else {}
        if self._owner and not self._owner["ours"]:
            teller = kept.get("owner")
            if isinstance(teller, dict) and teller.get("pid") == self._owner["pid"]:
                return {**told, **kept, "owner": self._owner}
            told["state"] = "connecting"        # who holds it has said nothing yet, and what an earlier one said is over
        return {**told, **{key: kept[key] for key in ("runs", "running", "last_news") if key in kept}}

    def _progress(self, session):
        intake = session.intake
        if not intake.left:
            return None
        done = min(intake.bytes_here, intake.bytes_total)
        rate = done / max(0.1, time.monotonic() - intake.began)
        left = round((intake.bytes_total - done) / rate) if rate else None
        return {"files_done": intake.files_done, "files_total": intake.files_total, "bytes_done": done,
                "bytes_total": intake.bytes_total, "rate": round(rate), "left": left}

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
        self._wanted.append(path)
        self._waking.set()

    def peek(self, path, name, ranges, timeout=10.0):
        """Return the bytes at `ranges`, [(offset, length), …], of a run's file as the server has it; negative offsets count
        from its end. Nothing is kept. Raises RemoteError."""
        return self._ask(lambda session, now: session.peek(path, name, ranges), timeout)

    def verify(self, timeout=86_400.0):
        """Compare every file here with the server's, whole; returns {"files", "refetched"} once that is queued. Raises RemoteError."""
        return self._ask(lambda session, now: session.verify(now), timeout)
