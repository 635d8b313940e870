"""The run of a program that `runicorn run` starts: its output comes in as bytes, how it ends from its wait status."""

import os
import time

from runicorn.writer import environment
from runicorn.writer.background import NEVER
from runicorn.writer.capture import LogFile, log_gap
from runicorn.writer.run import Run
from runicorn.writer.signals import GRACE_SECONDS, STOPS

CRASHES = {"SIGSEGV": "segmentation fault", "SIGBUS": "bus error", "SIGABRT": "aborted", "SIGFPE": "floating point exception",
           "SIGILL": "illegal instruction", "SIGTRAP": "trap", "SIGSYS": "bad system call"}
OOM = "out of memory: the kernel killed it (SIGKILL)"


class Output:
    """What a Run wants of a capture, over a LogFile that is fed from elsewhere."""

    def __init__(self, file):
        self.log = LogFile(file)
        self.files = [file]
        self.tick, self.stop, self.abandon = self.log.tick, self.log.close, self.log.abandon


class ProgramRun(Run):
    """Its `log_file` (LogFile) takes what the program prints. Not watched by `exits`: whoever started the program calls `conclude`."""

    def __init__(self, slot, meta, past, launch, **options):
        self._argv = meta["argv"]
        super().__init__(slot, meta, past, launch, **options)

    def _capture(self, capture):
        output = Output(self._own("logs", log_gap))
        self.log_file = output.log
        return output

    def _slow_facts(self, now):
        try:
            facts = environment.git(script_folder(self._argv))
            if facts:
                self._small.set(git=facts)
        finally:
            self._facts_known.set()
        return NEVER


def script_of(argv):
    """Return the script that a command line (list of str) runs: the first word that is a file with an ending, else the program."""
    return next((word for word in argv[:16] if os.path.splitext(word)[1][1:].isalpha() and os.path.isfile(word)), argv[0])


def script_folder(argv):
    """Return the folder (str) of the script that a command line runs, else the current one."""
    script = script_of(argv)
    return os.path.dirname(os.path.abspath(script)) if script != argv[0] else os.getcwd()


def verdict(status, stop=(None, 0.0), out_of_memory=False):
    """Return how the run ended of a program that left with a wait status: a dict for status.json, see exits.verdict.

    status: exit code, or minus the number of the signal that ended it (int). stop: (name, monotonic time) of the last signal that
    asked it to end. out_of_memory: whether the kernel killed a process of it for want of memory.
    """
    import signal
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        if name in CRASHES:
            return {"status": "failed", "exit_code": None, "signal": name, "error": f"{CRASHES[name]} ({name})"}
        if name == "SIGKILL" and out_of_memory:
            return {"status": "failed", "exit_code": None, "signal": name, "error": OOM}
        return {"status": "interrupted", "exit_code": None, "signal": name}
    if stop[0] in STOPS and time.monotonic() - stop[1] < GRACE_SECONDS:
        return {"status": "interrupted", "exit_code": status, "signal": stop[0]}
    if status == 128 + 9 and out_of_memory:
        return {"status": "failed", "exit_code": status, "error": OOM}
    return {"status": "failed" if status else "finished", "exit_code": status}


def oom_kills():
    """Return how many processes the kernel has killed for want of memory in our control group (int), None if nothing says so."""
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
