"""Programs under `runicorn run`, and the same ones bare: through pipes, or on a terminal of their own (a pty
with a session)."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

from scripts import environment

RUN = [sys.executable, "-m", "runicorn", "run"]


def started(folder, argv, options=(), bare=False, **more):
    """Start a program in `folder` (Path), under `runicorn run` unless `bare`; returns its Popen, in a group
    of its own, with pipes.

    more: what Popen takes; `env`: variables beside those of scripts.environment.
    """
    env = environment(folder, **more.pop("env", {}))
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": folder,
           "start_new_session": True}
    how.update(more)
    return subprocess.Popen([*([] if bare else [*RUN, *options, "--"]), *argv], env=env, **how)


def finished(folder, argv, options=(), bare=False, timeout=60, data=None, **more):
    """Run a program to its end; returns (wait status as Popen has it, stdout, stderr) (int, bytes, bytes)."""
    if data is not None:
        more["stdin"] = subprocess.PIPE
    process = started(folder, argv, options, bare, **more)
    try:
        out, err = process.communicate(data, timeout=timeout)
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def python(code):
    """Return the command line (list) of Python code."""
    return [sys.executable, "-u", "-c", code]


class OnTerminal:
    """A program on a terminal of its own, as a shell starts it: its session's leader, in the foreground."""

    def __init__(self, folder, argv, options=(), bare=False, size=(24, 80), env=()):
        """size: (rows, columns)."""
        self.seen = b""
        command = [*([] if bare else [*RUN, *options, "--"]), *argv]
        variables = environment(folder, TERM="xterm", **dict(env))
        self.pid, self.fd = pty.fork()
        if not self.pid:
            try:
                os.chdir(folder)
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
                os.execvpe(command[0], command, variables)
            finally:
                os._exit(99)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data):
        os.write(self.fd, data)

    def modes(self):
        return termios.tcgetattr(self.fd)

    def read(self, seconds=0.1):
        """Take what it has printed; returns whether the terminal is still in use."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def until(self, text, seconds=30):
        """Read until `text` (bytes) was printed; it and what stands before it are forgotten then, and
        returned."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, (text, self.seen)
            assert self.read() or text in self.seen, (text, self.seen)
        before, text, self.seen = self.seen.partition(text)
        return before + text

    def end(self, seconds=30):
        """Wait for its end; returns the wait status as Popen has it (int)."""
        deadline = time.monotonic() + seconds
        while True:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while self.read(0.0) and select.select([self.fd], [], [], 0.05)[0]:
                    pass
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, self.seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(self.pid, 0)
