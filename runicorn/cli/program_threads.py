"""A program started by `runicorn run` where processes don't fork (Windows): pipes, a thread for each, and
Ctrl+C, which the console sends to both. Has what `program.Program` has."""

import codecs
import os
import signal
import subprocess
import sys
import threading
import time

from runicorn.writer.notice import say
from runicorn.writer.signals import STOPS

BLOCK = 1 << 16
LATE_SECONDS = 1.0          # what a child of the program prints after its end is waited for so long


class Program:
    """One program. Call `start` once, then `wait`."""

    def __init__(self, argv, environ):
        """argv: list of str; environ: dict."""
        self._argv, self._environ = argv, environ
        self.pid, self.status, self.stop = None, None, (None, 0.0)

    def start(self, log, link=None, inherited=()):
        """Start it. log: the LogFile that takes its output. Raises OSError if it can't be started."""
        for name in STOPS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._heard)
        self._process = subprocess.Popen(self._argv, env=self._environ, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE)
        self.pid = self._process.pid
        streams = (("stdout", self._process.stdout, 1, log), ("stderr", self._process.stderr, 2, log))
        self._threads = [threading.Thread(target=_pass_on, args=stream, daemon=True) for stream in streams]
        for thread in self._threads:
            thread.start()

    def _heard(self, number, frame):
        self.stop = signal.Signals(number).name, time.monotonic()

    def wait(self):
        """Pass on output until it has ended; `status` says how."""
        while self.status is None:
            try:
                self.status = self._process.wait(0.5)       # a wait without end would hear of no Ctrl+C
            except subprocess.TimeoutExpired:
                pass
        deadline = time.monotonic() + LATE_SECONDS
        for thread in self._threads:
            thread.join(max(0.05, deadline - time.monotonic()))

    def leave(self):
        """End this process with the program's exit code."""
        sys.stderr.flush()
        os._exit(self.status - (1 << 32) if self.status >= 1 << 31 else self.status)


def _pass_on(name, source, target, log):
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for data in iter(lambda: source.read1(BLOCK), b""):
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(target, view):]
        except OSError as error:
            say(f"the program's output can't be written ({error.strerror or error}); it is in the run's log",
                once=("outlet", error.errno))
        log.feed(name, decoder.decode(data).replace("\r\n", "\n"))


def become(argv, environ):
    """Run a program without a run; returns its exit code."""
    return subprocess.call(argv, env=environ)
