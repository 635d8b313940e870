"""Keep the index in line with what other loggers write below the root: when to look where, and what of it
came, changed and went.

Where python3 on the server, or a fresh manifest of it, tells of all such runs, only what moves beside those
that are known is listed.
"""

import time

from runicorn import foreign, layout
from runicorn.errors import RunicornError
from runicorn.mirror import plan, walk
from runicorn.mirror.foreign_exec import ForeignExec
from runicorn.mirror.foreign_walk import ForeignWalk, and_above
from runicorn.mirror.looks import Turns

RETRY = 5.0                     # s before a discovery that a server's error ended is begun anew
AGAIN = 600.0                   # s between looks at all folders, as their mtimes show what is new in them
# LSTATed at a survey: folders of known runs and those above them, text files that are of no kind yet …
FOLDERS, FILES = 400, 200
SHARE = 20                      # … and this part of them where somebody watches
# a discovery that took this thread t s is not followed by another one before PACE * t
PACE = 20
# Folders to be listed from which on python3 on the server is asked, where it answers
ASKED = 200
# s of a discovery after which is shown what it found by then; again after PAUSE times what showing took
SHOWN, PAUSE = 2.0, 5


class ForeignRuns:
    """The runs of other loggers of one session. The sync's thread's alone."""

    def __init__(self, client, root, wall, index, log, ask, rules):
        """root: absolute; wall: clock.Clock.wall; index: remote_index.RemoteIndex; ask: as for
        foreign_exec.ForeignExec; rules: foreign_rules.Rules."""
        self._index, self._log, self._rules = index, log, rules
        # Its last answer, and when it may be asked
        self._server, self._answered, self._ask_again = ForeignExec(ask, rules), None, 0.0
        self._walk = ForeignWalk(client, root, wall, rules)                                 # next, s
        # Folders whose discovery is due; those below which there is too much to list: python3 there will look
        self._moved, self._put_off = set(), set()
        # Folders of known runs and those above them; whether they are others by now
        self._near, self._stale = [], True
        # Absolute path -> (folder, name of a text file in it or "") of what is LSTATed now
        self._pending = {}
        self._folder_turns, self._file_turns = Turns(), Turns()
        self._whole_at = None           # when the last look at all folders ended, s
        # Folders that hold runs of ours, as of the last discovery; those below which it looks
        self._ours, self._tops = set(), set()
        self._is_whole = False          # the discovery under way is one
        self._rules_moved = False       # … since the last look at all folders
        self._next = self._spent = self._shown = self._began = 0.0

    @property
    def skipped(self):
        """{reason: count} of what was passed over, where such runs, or too much, lie in the root."""
        skipped = self._answered.skipped if self._answered else self._walk.skipped
        return {reason: count for reason, count in skipped.items()
                if count and (self._index.foreign or " beyond " in reason)}

    @property
    def seconds(self):
        """For how long the search under way, or the last one, goes on (s)."""
        return time.monotonic() - self._began

    @property
    def waits(self):
        """Whether python3 on the server was asked and its answer not taken yet (bool)."""
        return self._server.started

    def is_behind(self, told_by_server):
        """Whether it is not known yet what is below the root. told_by_server: whether the server itself tells
        of all such runs."""
        return self._whole_at is None and not (told_by_server and self._follows_no_rules)

    @property
    def _follows_no_rules(self):
        """Whether what the server itself tells is all there is: its manifest follows no rules of ours, and
        those that we had are gone."""
        return not (self._rules or self._rules_moved)

    def told(self):
        """Return what `resume` takes (dict), None where nothing is new."""
        is_news = (self._walk.changed or self._server.changed) and self._whole_at is not None
        return {**self._walk.told(), "asked": self._server.told()} if is_news else None

    def resume(self, earlier, skeleton):
        """Take up what an earlier session told, or something that only looks like it. skeleton: what
        walk.Skeleton.resume takes."""
        skeleton = skeleton if isinstance(skeleton, dict) else {}
        self._walk.resume(earlier, {folder: state[0]
                                    for folder, state in skeleton.items()
                                    if isinstance(state, list) and state})

    def follow_rules(self, rules):
        """Take over other foreign_rules.Rules: all folders are looked through anew."""
        if rules != self._rules:
            self._rules, self._answered, self._whole_at = rules, None, None
            self._ask_again = self._next = 0.0
            self._rules_moved = True
            self._server.follow_rules(rules)
            self._walk.follow_rules(rules)

    # -- what moved

    def feed(self, folder, listing, now):
        """Take the listing of a folder above the runs of ours, of which the root and the projects may hold
        others."""
        if "/" not in folder and self._walk.feed(folder, listing, now):
            self._moved.add(folder)

    def try_again(self, thorough):
        """A survey begins: have folders that could not be listed looked at once more. thorough: also those
        that may not be listed, and at once."""
        self._moved.update(self._walk.failed(denied=thorough))
        self._next = 0.0 if thorough else self._next

    def doubt(self, paths):
        """The files of the runs `paths`, or the folders they are in, are not what they were."""
        folders = {foreign.folder_of(path) for path in paths}
        if folders:
            self._walk.forget(folders)
            self._moved |= folders

    def ask(self, part=1):
        """Return the absolute paths to LSTAT now (list), the `part`-th of them."""
        if self._stale:
            self._near, self._stale = self._find_near(), False
        folders = self._folder_turns.take(self._near, FOLDERS // part)
        files = self._file_turns.take(self._walk.undecided, FILES // part)
        self._pending = {self._walk.absolute(folder): (folder, "") for folder in folders}
        self._pending.update((self._walk.absolute(foreign.below(*file)), file) for file in files)
        return list(self._pending)

    def _find_near(self):
        near = set()
        for path in self._index.foreign:
            folder = foreign.folder_of(path)
            below = {name.rpartition("/")[0] for name in self._index.entry(path)["files"]} - {""}
            for inner in [foreign.below(folder, name) for name in below] or [folder]:
                while inner not in near:
                    near.add(inner)
                    inner = inner.rpartition("/")[0]
        return sorted(near)

    def note(self, stats, now):
        """Take the answers to what `ask` returned. stats: {absolute path: Attrs or SftpError}."""
        for absolute, (folder, name) in self._pending.items():
            if absolute not in stats:
                continue
            if (self._walk.note_file(folder, name, stats[absolute]) if name
                    else self._walk.note(folder, stats[absolute], now)):
                self._moved.add(folder)
        self._pending = {}

    # -- looking

    def go_on(self, now, seconds, listings, vanished, told_by_server, may_ask, alone=False):
        """Go on looking for `seconds`, or a little longer, where that is due; returns (the run paths that
        changed (set), whether there is more to do at once). listings: listings.Listings, which take what is
        found; vanished: paths of runs that did. told_by_server: as for `is_behind`; may_ask: whether python3
        on the server answers; alone: as for ForeignWalk.go_on. Raises SftpError when the root can't be
        listed."""
        told_by_server = told_by_server and self._follows_no_rules
        if self._server.started:
            return self._take_answer(now, listings, vanished), False
        if told_by_server and self._is_whole:
            self._walk.drop()                       # its answer came meanwhile
        may_ask = may_ask and (self._answered is not None or now >= self._ask_again)
        waits = may_ask and now < self._ask_again       # it answers, but it is too soon to ask again
        if not self._walk.busy and not self._begin(now, vanished, told_by_server or waits, waits):
            return set(), False
        if may_ask and (self._is_whole and self._answered or self._walk.listed > ASKED):
            self._walk.drop()
            if waits:
                self._put_off |= self._tops
            else:
                self._server.start(self._ours)
            return set(), False
        began = time.thread_time()
        try:
            most = ASKED if may_ask else foreign.FOLDERS
            is_done = self._walk.go_on(now, time.monotonic() + seconds, most, alone)
            showing = time.monotonic()
            runs = self._walk.result() if is_done or time.monotonic() >= self._shown else ()
            covers = self._walk.finish() if is_done else None
            changed = (self._show(runs, covers, self._walk.mtime_of, listings, vanished, now)
                       if runs or is_done else set())
        except BaseException:
            self._walk.drop()
            self._moved |= self._tops - {""}        # all of the root is due still
            self._next = max(self._next, now + RETRY)
            raise
        if runs:
            self._shown = time.monotonic() + max(SHOWN, PAUSE * (time.monotonic() - showing))
        self._spent += time.thread_time() - began
        if is_done:
            self._next, self._spent = now + PACE * self._spent, 0.0
            self._whole_at, self._rules_moved = ((now, False) if self._is_whole
                                                 else (self._whole_at, self._rules_moved))
        return changed, not is_done

    def _take_answer(self, now, listings, vanished):
        """Take what python3 on the server told of all of the root; where it did not answer, folders are
        listed. Returns what changed."""
        try:
            answer = self._server.take()
        except RunicornError as error:
            self._log.info("no list of other loggers' runs by python3 on the server: %s", error)
            self._answered, self._ask_again, self._whole_at = None, now + AGAIN, None
            return set()
        if answer is None:
            return set()
        # Before it counts as looked at: the line, or this disk, may end it half way
        changed = self._show(answer.runs, lambda path: True, answer.mtimes.get, listings, vanished, now)
        self._answered, self._ask_again, self._whole_at = answer, now + answer.rest, now
        self._rules_moved, self._put_off = False, set()
        return changed

    def _begin(self, now, vanished, told_by_server, waits):
        """Begin a discovery if one is due; returns whether one is. waits: whether what is too much to list
        has to wait."""
        self._moved, self._put_off = ((self._moved, self._put_off) if waits
                                      else (self._moved | self._put_off, set()))
        self._is_whole = not told_by_server and (self._whole_at is None or now - self._whole_at >= AGAIN)
        if not (self._is_whole or self._moved) or now < self._next:
            return False
        self._ours = {path.rpartition(f"/{layout.RUNS}/")[0]
                      for path in self._index.lines.keys() - self._index.foreign - vanished}
        tops, self._moved = {""} if self._is_whole else self._moved, set()
        tops = {top for top in tops if not self._is_ours(top) and tops.isdisjoint(and_above(top)[1:])}
        self._tops = tops
        self._walk.start(sorted(tops), self._ours)
        self._began = time.monotonic()
        self._shown = self._began + SHOWN
        return True

    def _is_ours(self, folder):
        """Whether a folder is one that holds runs of ours, or is in such a one."""
        return not self._ours.isdisjoint(and_above(folder))

    def _show(self, runs, covers, mtime_of, listings, vanished, now):
        """Take the runs that were found, and, with `covers`, that others were not; returns the paths that
        changed. mtime_of(path): of a run's folder."""
        believable = ((run, self._files(run, mtime_of))
                      for run in runs if plan.believable(run.path, kinds=run.kinds))
        listed = {run.path: (run.kinds, files) for run, files in believable if len(files) > 1}
        shown_before = self._index.foreign - vanished
        absent = shown_before - listed.keys() if covers else ()
        lost = {path for path in absent if covers(path) or self._is_ours(foreign.folder_of(path))}
        fresh = {path: files for path, (_, files) in listed.items() if path not in shown_before}
        if lost or fresh and vanished:
            listings.lose_foreign(lost, fresh, now)
        changed = {path for path, (kinds, files) in listed.items()
                   if listings.take(path, files, files["."]["mtime"], now, kinds)}
        self._stale = self._stale or bool(changed or lost)
        return changed

    def _files(self, run, mtime_of):
        """Return the walk.RunFiles of a run that was found; what the index has seen later of a file stays."""
        before = self._index.entry(run.path)["files"] if run.path in self._index.foreign else {}
        files = walk.RunFiles()
        files["."] = {"mtime": mtime_of(run.path)}
        for name, size, mtime, *_ in run.files:
            if foreign.belongs(run.path, name, self._rules):
                old = before.get(name)
                files[name] = (old if old and int(old["mtime"] or 0) >= mtime
                               else {"size": size, "mtime": mtime or None, "tail": None})
        return files
