"""The run of a program that `runicorn run` starts: its output comes in as bytes, how it ends from its wait
status."""

import json
import os
import time

from runicorn import disk
from runicorn.layout import (
    META,
    STATUS,
    SUMMARY,
    below,
    make_folders,
    own_file,
    parse_own,
    read_json,
    run_path,
)
from runicorn.writer import environment, link, run_folder
from runicorn.writer.background import NEVER
from runicorn.writer.capture import LogFile, log_gap
from runicorn.writer.live import lives
from runicorn.writer.notice import say
from runicorn.writer.run import METRICS_LIMIT, Run
from runicorn.writer.signals import GRACE_SECONDS, STOPS
from runicorn.writer.values import encode_exact

CRASHES = {"SIGSEGV": "segmentation fault", "SIGBUS": "bus error", "SIGABRT": "aborted",
           "SIGFPE": "floating point exception", "SIGILL": "illegal instruction", "SIGTRAP": "trap",
           "SIGSYS": "bad system call"}
OOM = "out of memory: the kernel killed it (SIGKILL)"


ROWS = 200                  # that are written at once
SPEC = ("project", "name", "config", "tags", "notes")       # of meta.json, what the command line says
RESUMES = (True, "allow", "must", "auto")
LINKS_SECONDS = 5.0         # a program that ends before has no time to look for what dead ones left


class Output:
    """What a Run wants of a capture, over a LogFile that is fed from elsewhere."""

    def __init__(self, file):
        self.log = LogFile(file)
        self.files = [file]
        self.tick, self.stop, self.abandon = self.log.tick, self.log.close, self.log.abandon


class ProgramRun(Run):
    """Its `log_file` (LogFile) takes what the program prints. Not watched by `exits`: whoever started the
    program calls `conclude`.

    writer: the process that joined (its pid), whose meta.json and summary.json are then. told: {"pid",
    "verdict"} of its end."""

    def __init__(self, slot, meta, past, launch, fixed=(), settings=(), announce=None, **options):
        """fixed: those of "project" and "name" that the command line says, and no script changes. settings:
        dict, its part of the config, as little to be changed."""
        self._argv, self.writer, self.told, self._fixed = meta["argv"], None, None, fixed
        self._settings = dict(settings)
        self.logged = set()                 # folders whose event files a script logs itself, as it said
        self._first_step = past.get("step", -1)
        # The second: the id that the `init` which joined was given
        self._announce, self._asked_id = announce, None
        self._links, self._links_at = None, 0.0
        super().__init__(slot, meta, past, launch, announce=announce, **options)

    def _capture(self, capture):
        output = Output(self._own("logs", log_gap))
        self.log_file = output.log
        return output

    def start(self):
        """Begin the heartbeat; returns the run."""
        if not environment.is_in_repository(script_folder(self._argv)):
            self._facts_known.set()         # the end has nothing to wait for
        return super().start()

    def _chores(self, system):
        return [*super()._chores(system), self._clear_links]

    def beside_links(self, folder):
        """Have what dead `runicorn run` left of their Links in `folder` (str) removed, unless the program
        ends soon."""
        self._links = folder

    def _clear_links(self, now):
        self._links_at = self._links_at or now + LINKS_SECONDS
        if now < self._links_at:
            return self._links_at - now
        if self._links is not None:
            link.clear_dead(self._links)
        return NEVER

    def _slow_facts(self, now):
        try:
            facts = environment.git(script_folder(self._argv))
            if facts:
                self._small.set(git=facts)
        finally:
            self._facts_known.set()
        return NEVER


    @property
    def root(self):
        """The root folder (str)."""
        return self._root

    @property
    def events_path(self):
        """Where its rows are now (str)."""
        return self._events.path

    # -- what its files tell ---------------------------------------------------------------------------------

    def take(self, rows, config):
        """Record rows of metrics that the program wrote elsewhere, [(ts, step, {name: value}), ...], and
        settings (dict) that lack."""
        lines = []
        for ts, step, data in rows:
            step = int(step) if step == int(step) else step
            lines.append(f'{{"ts":{ts:.3f},"step":{json.dumps(step)},"data":{encode_exact(self._small.masked(data))}}}\n'.encode())
            self._last.update(data)
            self.step = max(self.step, int(step))
        with self._lock:
            for start in range(0, len(lines), ROWS):
                self._events.write(b"".join(lines[start:start + ROWS]))
            self.rows += len(lines)
            if len(self._last) > METRICS_LIMIT:
                self._forget_metrics()
        if self.writer is None:
            self.config.update({key: value for key, value in config.items() if key not in self.config})

    # -- a script that calls `init` --------------------------------------------------------------------------

    def answer(self, question):
        """Return the answer (dict) to a question that came over the Link: {"ask": "join", "pid", "again",
        "project", "name", "id", "resume", "key"} of an `init`; "end" with its "pid" and "verdict"; "facts"
        for what is known of the machine; "run" for where the run is, once it has been joined, or at once for
        the "last" files that a rank writes; "place" for its root, project and name, and which of both are
        "fixed"; "logged" with the "folder" of event files whose rows the script logs itself."""
        request = question.get("ask")
        if request == "join":
            return self._join(question)
        if (request == "end" and question.get("pid") == self.writer
                and isinstance(question.get("verdict"), dict)):
            self.told = question
        elif request == "facts":
            return {key: self._small.meta[key] for key in ("gpus",) if key in self._small.meta}
        elif request == "run" and (self.writer or question.get("last")):
            return self._whereabouts()
        elif request == "logged" and len(self.logged) < 10_000:
            self.logged.add(str(question.get("folder")))
        elif request == "place":
            return {"root": self._root, "project": self.project, "name": self._experiment,
                    "fixed": list(self._fixed)}
        return {}

    def _whereabouts(self):
        return {"root": self._root, "path": self.path, "folder": self._folder, "id": self.id,
                "attempt": self.attempt, "step": self._first_step, "settings": self._settings}

    def _join(self, question):
        pid, asked_id = question.get("pid"), question.get("id")
        resumes = question.get("again") or asked_id is not None and asked_id == self._asked_id
        if self.ended or self.writer is not None and not (pid == self.writer and resumes):
            return {}
        if self.writer is None:
            names = {"project": self.project, "name": self._experiment, "id": self.id}
            names.update((key, question[key]) for key in names if key not in self._fixed
                         and isinstance(question.get(key), str) and question[key])
            if not self._be_named(names, question.get("resume")):
                return {}
            self._small.leave()
        self.writer, self.told, self._asked_id = pid, None, asked_id
        if isinstance(question.get("key"), str):
            self._live.tell(launch=question["key"])
        return self._whereabouts()

    def _be_named(self, names, resume):
        """Be the run that an `init` names, or one more attempt of it where it is there and to be resumed;
        else stay, and say so. names: {"project", "name", "id"}. Returns False for one that must be there,
        and is not."""
        path = run_path(names["project"], names["name"], names["id"])
        if path == self.path:
            return True
        folder, is_named = below(self._root, path), names["id"] != self.id
        is_there = os.path.isfile(below(folder, META))
        if resume == "must" and is_named and not is_there:
            return False
        try:
            if is_there and resume in RESUMES and not lives(self._root, path):
                self._be_attempt(run_folder.again(self._root, path, names["id"]), names)
            elif not os.path.exists(folder):
                self._move(run_folder.Place(self._root, path, folder, names["id"], self.attempt), names)
            elif is_named:
                say(f"there is a run {names['id']} already; this one is {self.id}"
                    + (", as a process writes that" if resume in RESUMES
                       else '. resume="allow" goes on with the old one'))
                return self._be_named(dict(names, id=self.id), None)
            else:
                raise OSError(f"{folder} is there already")
        except OSError as error:
            say(f"the run stays {self.project}/{self._experiment}, id {self.id}; init() said otherwise: "
                f"{error}")
        return True

    def _move(self, slot, names):
        """Lie at a Place where nothing is. Raises OSError."""
        before = self._folder
        make_folders(self._root, slot.path.rpartition("/")[0])
        disk.rename(before, slot.folder)
        self._small.move(slot.folder)
        self._be_at(slot, names)
        self._small.set(**names)
        if self._announce is not None:
            say(f"init() says {names['project']}/{names['name']} -> {slot.folder}")
        _clear_above(before)

    def _be_attempt(self, slot, names):
        """Be one more attempt of an existing run: its Place is `slot`. Raises OSError."""
        before, past = self._folder, run_folder.past(slot.folder)
        given = dict(self._small.meta, **names, config=self.config.as_dict())
        meta = run_folder.next_attempt(slot.folder, {key: given[key] for key in given if key not in SPEC},
                                       {key: given[key] for key in SPEC if key in given})
        for stem, _, rank in filter(None, map(parse_own, os.listdir(before))):
            if rank or stem != "status":
                disk.replace(below(before, own_file(stem, self.attempt, rank)),
                             below(slot.folder, own_file(stem, slot.attempt, rank)))
        self._first_step, self.resumed = past["step"], True
        self.step = max(self.step, self._first_step)
        for key, value in past["summary"].items():
            self._last.setdefault(key, value)
        self._be_at(slot, names)
        self._small.be_attempt(slot.folder, meta, {"n": slot.attempt, "from_step": past["step"] + 1},
                               past["status"])
        say(f"going on with run {slot.id}, attempt {slot.attempt} -> {slot.folder}")
        for name in (META, STATUS, SUMMARY):
            disk.discard(below(before, name))
        if disk.discard_folder(before):
            _clear_above(before)

    def _be_at(self, slot, names):
        """Have all that is open know the Place where it lies now, and its names."""
        self.path, self._folder, self.attempt, self.id = slot.path, slot.folder, slot.attempt, slot.id
        self.project, self._experiment = names["project"], names["name"]
        for stem, file in (("events", self._events), ("system", self._samples), ("logs", self.log_file.file)):
            if file is not None:
                file.move(below(slot.folder, own_file(stem, slot.attempt, self.rank)))
        self._live.move(slot)

    def take_back(self):
        """The program is over: meta.json and summary.json are ours again, with what the script left in
        them."""
        if self.writer is not None and not self.ended:
            meta, summary = (read_json(below(self._folder, name)) or {} for name in (META, SUMMARY))
            self._small.take_back(self._folder, meta, summary)


def _clear_above(folder):
    """Remove what a run's folder (str) leaves empty: runs, the experiment, the project."""
    for _ in range(3):
        folder = os.path.dirname(folder)
        if not disk.discard_folder(folder):
            break                       # other runs lie there


def script_of(argv):
    """Return the script that a command line (list of str) runs: the first word that is a file with an ending,
    else the program."""
    return next((word for word in argv[:16]
                 if os.path.splitext(word)[1][1:].isalpha() and os.path.isfile(word)), argv[0])


def script_folder(argv):
    """Return the folder (str) of the script that a command line runs, else the current one."""
    script = script_of(argv)
    return os.path.dirname(os.path.abspath(script)) if script != argv[0] else os.curdir


def joint_verdict(own, claim, pid):
    """Return the verdict on a program of which a script that joined told its own. own: see `verdict`; claim:
    {"pid", "verdict"} or None;
    pid: the program's.

    Of the program's own process the script knows more: an error, a signal that it caught. Of a child of it,
    it says why the program failed.
    """
    verdict = dict((claim or {}).get("verdict") or {})
    if not verdict or verdict.get("ended_by"):
        return own
    if claim["pid"] != pid:
        if own["status"] == "failed" and "error" in verdict and "error" not in own:
            return dict(own, **{key: verdict[key] for key in ("error", "traceback") if key in verdict})
        return own
    if (verdict["status"] == "finished" and own["exit_code"] != 0 or verdict["status"] != "failed"
            and own["exit_code"] is None):
        return own                  # something else ended it later
    return dict(verdict, exit_code=own["exit_code"] or verdict.get("exit_code"))


def verdict(status, stop=(None, 0.0), out_of_memory=False):
    """Return how the run ended of a program that left with a wait status: a dict for status.json, see
    exits.verdict.

    status: exit code, or minus the number of the signal that ended it (int). stop: (name, monotonic time) of
    the last signal that asked it to end. out_of_memory: whether the kernel killed a process of it for want of
    memory.
    """
    if status < 0:
        import signal
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        if name in CRASHES:
            return {"status": "failed", "exit_code": None, "signal": name,
                    "error": f"{CRASHES[name]} ({name})"}
        if name == "SIGKILL" and out_of_memory:
            return {"status": "failed", "exit_code": None, "signal": name, "error": OOM}
        return {"status": "interrupted", "exit_code": None, "signal": name}
    if stop[0] in STOPS and time.monotonic() - stop[1] < GRACE_SECONDS:
        return {"status": "interrupted", "exit_code": status, "signal": stop[0]}
    if status == 128 + 9 and out_of_memory:
        return {"status": "failed", "exit_code": status, "error": OOM}
    return {"status": "failed" if status else "finished", "exit_code": status}


def oom_kills():
    """Return how many processes the kernel has killed for want of memory in our control group (int), None if
    nothing says so."""
    for path, name in _counters():
        try:
            with open(path, "rb") as file:
                counts = dict(line.split()[:2] for line in file if len(line.split()) > 1)
        except OSError:
            continue
        if name in counts:
            return int(counts[name])
    return None


def _counters():
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        groups = []
    for _, names, path in (group for group in groups if len(group) == 3):
        if not names:
            yield f"/sys/fs/cgroup{path}/memory.events", b"oom_kill"
        elif "memory" in names.split(","):
            yield f"/sys/fs/cgroup/memory{path}/memory.oom_control", b"oom_kill"
    yield "/proc/vmstat", b"oom_kill"
