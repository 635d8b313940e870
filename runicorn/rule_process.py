"""Try rules of one's own on the lines of a log, in bounded time: in a process beside this one, as no pattern
that runs can be stopped."""

import atexit
import json
import sys
import threading

from runicorn import rule_worker

SECONDS = 1.0               # of the processor for one question, which is of 1 MiB of a log at most
WALL = 20.0                 # s by the clock: a busy machine, or a system that has no timers


class RuleProcess:
    """One process, begun when it is first asked, and anew after one that had to be ended. Any thread may ask;
    they wait for each other."""

    def __init__(self):
        self._process, self._lock = None, threading.Lock()

    def ask(self, patterns, lines, seconds=SECONDS):
        """Return ([(line, pattern, {group: text}, [span of each]), ...] of those `lines` (list of str) that
        one of `patterns` (list of str) fits, the first of them; the place of the line on which that took too
        long, None where it did not). Where no process can be begun, or it ends, it is on the first."""
        question = json.dumps({"patterns": patterns, "lines": lines, "seconds": seconds}).encode() + b"\n"
        with self._lock:
            try:
                answer = self._answer(question)
            except (OSError, ValueError):
                answer = None
            if answer is None:
                self._end()
                return [], 0
        return [tuple(item) for item in answer["found"]], answer["slow"]

    def _answer(self, question):
        if self._process is None or self._process.poll() is not None:
            import subprocess
            self._end()
            source = rule_worker.__loader__.get_source("runicorn.rule_worker")
            self._process = subprocess.Popen([sys.executable, "-I", "-S", "-c", source],
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.DEVNULL)
        timer = threading.Timer(WALL, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(question)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        return json.loads(line) if line.endswith(b"\n") else None

    def end(self):
        """End the process."""
        with self._lock:
            self._end()

    def _end(self):
        process, self._process = self._process, None
        if process:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                try:
                    pipe.close()
                except OSError:         # what it was never given
                    continue
            process.wait()

    def search(self, patterns, lines):
        """Return what foreign_rules.Rules has as `search`."""
        hits, slow = self.ask(patterns, lines, SECONDS / 2)
        return None if slow is not None and not hits else [item[:3] for item in hits]


SHARED = RuleProcess()
atexit.register(SHARED.end)
