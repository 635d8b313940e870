"""capture="fd": a helper process owns the pipe that stdout and stderr are, copies it to the terminal, then to
the log.

A process, because a thread of ours could not empty the pipe while C code fills it holding the GIL. It ends
when the last writer has closed its end, so what was written before a SIGKILL still arrives.
"""

import codecs
import os
import signal
import socket
import sys
import threading
import time
from collections import deque

from runicorn.writer.append import AppendFile
from runicorn.writer.capture import LogFile, is_stalled, log_gap
from runicorn.writer.descriptors import is_ours, keep, release, select_ready
from runicorn.writer.notice import say
from runicorn.writer.system import on_network

TICK_SECONDS = 0.5
SYNC_SECONDS = 2.0          # between two fsyncs on a network file system
ANSWER_SECONDS = 5.0        # `stop` waits this long for what is still in the pipe
STALL_SECONDS = 0.1         # a terminal that takes nothing for so long is stalled
DONE, STALLED = b"k", b"s"  # how the helper answers `stop`
BLOCK = 1 << 16
PIPE_BYTES = 1 << 20        # what Linux lets anybody have; C code then rarely waits for the helper
START = ("import sys; sys.path.insert(0, sys.argv[1]); from runicorn.writer.capture_fd import main; "
         "main(sys.argv[2:])")


class DescriptorCapture:
    """Logs all that reaches the file descriptors 1 and 2. Raises OSError or ValueError where that is
    impossible."""

    files = []              # the helper looks after the log

    def __init__(self, path):
        if not hasattr(os, "fork"):
            raise ValueError("a helper process can't be given our descriptors")
        if not _has_python():
            raise ValueError("this program has no Python of its own to start a helper with")
        _flush()
        if any(stream is None or stream.fileno() != number
               for number, stream in ((1, sys.stdout), (2, sys.stderr))):
            raise ValueError("sys.stdout and sys.stderr are not the descriptors 1 and 2")
        self._saved = {1: os.dup(1), 2: os.dup(2)}
        # Descriptor 1 or 2 -> (read end, write end); one for both if they are the same file
        self._pipes = {}
        self._pipes[1] = _pipe()
        self._pipes[2] = self._pipes[1] if os.path.sameopenfile(1, 2) else _pipe()
        self._control, theirs = socket.socketpair()
        try:
            self._helper = self._start(path, theirs)
        except BaseException:
            self._control.close()
            for fd in {*self._saved.values(), *self._pipes[1], *self._pipes[2]}:
                os.close(fd)
            raise
        finally:
            theirs.close()
        self._lines = [_by_line(sys.stdout), _by_line(sys.stderr)]
        for number, (_, write_end) in self._pipes.items():
            os.dup2(write_end, number)
        for write_end in {pair[1] for pair in self._pipes.values()}:
            os.close(write_end)
        self._copies = [keep(fd) for fd in self._descriptors()]

    def _descriptors(self):
        return ({self._control.fileno(), *self._saved.values(), *(pair[0] for pair in self._pipes.values())}
                - {-1, 0, 1, 2})

    def _start(self, path, theirs):
        import subprocess
        ends = {self._pipes[number][0]: self._saved[number] for number in (2, 1)}
        package = os.path.abspath(__file__ + "/../../..")
        arguments = [str(path), str(theirs.fileno())] + [f"{read_end}:{terminal}"
                                                         for read_end, terminal in ends.items()]
        return subprocess.Popen([sys.executable, "-S", "-E", "-c", START, package, *arguments],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                pass_fds=[theirs.fileno(), *ends, *ends.values()])

    def tick(self, now):
        """Look whether the helper lives. Without it nobody would empty the pipe: then the terminal gets its
        descriptors back."""
        if self._helper is not None and self._helper.poll() is not None:
            self._restore()
            for read_end in {pair[0] for pair in self._pipes.values()}:
                os.set_blocking(read_end, False)
                _drain(read_end, lambda data: write_all(self._saved[1], data))
            self._helper = None
            say("the helper of capture=\"fd\" was killed; output goes to the terminal alone")

    def abandon(self):
        """In a forked child: it goes on writing into the pipe, which is what "fd" is for."""

    def stop(self):
        """Give the terminal its descriptors back, after all that was written before has reached it. If it is
        stalled, the helper goes on: it passes on what is waiting, and what comes after that."""
        _flush()
        if self._helper is None:
            return
        pipes = {number: os.dup(number) for number in self._pipes}
        self._restore()
        try:
            self._control.settimeout(ANSWER_SECONDS)
            self._control.sendall(b"e")
            if self._control.recv(1) == STALLED:
                for number, write_end in pipes.items():
                    os.dup2(write_end, number)
        except OSError as error:
            say(f"the helper of capture=\"fd\" does not answer ({error}); the end of the log may be missing")
        self._control.close()
        for write_end in pipes.values():
            os.close(write_end)
        for fd in self._copies:
            release(fd)
        for fd in {pair[0] for pair in self._pipes.values()} | set(self._saved.values()):
            if is_ours(fd):
                os.close(fd)
        self._wait()

    def _restore(self):
        for stream, was, number in zip((sys.stdout, sys.stderr), self._lines, (1, 2)):
            # It flushes, which would wait for whoever writes to a full pipe
            if was is not None and not is_stalled(number):
                stream.reconfigure(line_buffering=was)
        for number, terminal in self._saved.items():
            if is_ours(terminal):             # else the pipe stays, and the helper with it
                os.dup2(terminal, number)

    def _wait(self):
        import subprocess
        try:
            self._helper.wait(0.2)
        except subprocess.TimeoutExpired:
            # a child of the training still prints: the helper serves it and ends with it
            self._helper.returncode = 0


def _has_python():
    """Whether sys.executable runs Python code. A frozen program, or one that embeds an interpreter, would
    begin itself anew."""
    # Nuitka's
    frozen = getattr(sys, "frozen", False) or hasattr(sys.modules.get("__main__"), "__compiled__")
    name = os.path.basename(sys.executable or "").lower()
    return not frozen and any(word in name for word in ("python", "pypy", "graalpy"))


def _pipe():
    read_end, write_end = os.pipe()
    try:
        import fcntl
        # F_SETPIPE_SZ, which fcntl names only since Python 3.10
        fcntl.fcntl(write_end, 1031, PIPE_BYTES)
    except (ImportError, OSError):
        pass                                            # a smaller pipe works too
    return read_end, write_end


def _by_line(stream):
    """Have a stream hand on each line as it would to a terminal; returns what it did before (None: can't be
    set)."""
    if not hasattr(stream, "reconfigure"):
        return None
    before = stream.line_buffering
    stream.reconfigure(line_buffering=True)
    return before


def _flush():
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if not is_stalled(number):
                stream.flush()
        except (AttributeError, OSError, ValueError):
            pass            # None or closed: nothing is held back there


def write_all(fd, data):
    """Write `data` (bytes) to a terminal or what stands for one; a terminal that is gone is no reason to
    stop."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view):]
        except BlockingIOError:
            select_ready([fd], True, 1.0)
        except OSError:
            return


def _drain(fd, take):
    """Call `take` with each block that can be read without waiting; returns whether the end was reached."""
    while True:
        try:
            data = os.read(fd, BLOCK)
        except BlockingIOError:
            return False
        if not data:
            return True
        take(data)


# -- the helper ----------------------------------------------------------------------------------------------

class Channel(threading.Thread):
    """Copies one pipe to its terminal, then to the log. A thread for each: a terminal that stalls (a pager,
    Ctrl+S) stalls no other."""

    def __init__(self, log, pipe, terminal):
        super().__init__(daemon=True)
        self._log, self._pipe, self._terminal = log, pipe, terminal
        # Around reading and logging, never while the terminal is written to
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._block = None                  # what is being written to the terminal, and is not logged yet
        self._waiting = deque()             # blocks that are logged and go to the terminal next
        self._writing = False
        os.set_blocking(pipe, False)

    def run(self):
        data = None
        while data != b"":
            with self._lock:
                data = self._next()
            if data is None:
                select_ready([self._pipe])
                continue
            write_all(self._terminal, data)
            with self._lock:
                self._log_block()
                self._writing = False

    def _next(self):
        """Return the next block for the terminal (bytes; empty at the end), None if there is none yet."""
        block = self._waiting.popleft() if self._waiting else self._read()
        self._writing = block is not None
        return block

    def _read(self):
        try:
            self._block = os.read(self._pipe, BLOCK)
        except BlockingIOError:
            self._block = None
        return self._block

    def _log_block(self):
        if self._block is not None and not self._log.closed:
            self._log.feed(self._terminal, self._decoder.decode(self._block))
        self._block = None

    def is_done(self):
        """Whether all that was written to the pipe so far has reached the terminal and the log."""
        with self._lock:
            return (not self.is_alive() or not self._writing and not self._waiting
                    and not select_ready([self._pipe], seconds=0))

    def log_rest(self):
        """Log what the terminal does not take now; it gets it when it does."""
        with self._lock:
            self._log_block()
            while self._read():
                self._waiting.append(self._block)
                self._log_block()


class Pump:
    """The helper's work. ends: {read end of a pipe: descriptor of the terminal}; control: a socket, "e" asks
    to end the log."""

    def __init__(self, path, control, ends):
        self._control = control
        self._log = LogFile(AppendFile(path, log_gap))
        self._network = on_network(os.path.dirname(path))
        self._channels = {terminal: Channel(self._log, pipe, terminal) for pipe, terminal in ends.items()}
        self._sync_at = 0.0

    def run(self):
        """Copy until every writer has closed its end, and the training its socket."""
        for channel in self._channels.values():
            channel.start()
        while self._control or any(channel.is_alive() for channel in self._channels.values()):
            if self._control and select_ready([self._control.fileno()], seconds=TICK_SECONDS):
                self._answer()
            elif not self._control:
                self._outlive()
            self._tick(time.monotonic())
        self._log.close()

    def _outlive(self):
        for channel in self._channels.values():
            channel.join(None if self._log.closed else TICK_SECONDS / len(self._channels))

    def _answer(self):
        if self._control.recv(1) == b"e":
            answer = self._finish()
            self._log.close()
            try:
                self._control.sendall(answer)
            except OSError:
                pass            # it did not wait for us
        self._control.close()
        self._control = None

    def _finish(self):
        """Wait until all is copied that was written so far; returns STALLED if a terminal does not take
        it."""
        stalled_since = None
        while True:
            late = [terminal for terminal, channel in self._channels.items() if not channel.is_done()]
            if not late:
                return DONE
            now = time.monotonic()
            stalled_since = (stalled_since or now) if any(map(is_stalled, late)) else None
            if stalled_since and now - stalled_since > STALL_SECONDS:
                break
            time.sleep(0.001)
        for terminal in late:
            self._channels[terminal].log_rest()
        return STALLED

    def _tick(self, now):
        if self._log.closed:
            return
        self._log.tick(now)
        if self._network and now >= self._sync_at:
            self._sync_at = now + SYNC_SECONDS
            self._log.file.sync()


def main(arguments):
    """Be the helper: arguments are the log's path, the control socket and "pipe:terminal" descriptors."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        # They are meant for the training, whose last words we carry
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    path, control, *ends = arguments
    pairs = (end.split(":") for end in ends)
    Pump(path, socket.socket(fileno=int(control)), {int(end): int(terminal) for end, terminal in pairs}).run()
