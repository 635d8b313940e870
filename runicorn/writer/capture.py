"""What the terminal shows, copied into a log file: stdout and stderr as Python writes them. The terminal
always comes first."""

import builtins
import codecs
import os
import sys
import threading
import time
import weakref
from collections import deque
from io import BufferedWriter

from runicorn.layout import legible
from runicorn.writer.descriptors import select_ready
from runicorn.writer.notice import is_interrupt, say
from runicorn.writer.screen import Screen

FORK_SECONDS = 1.0          # a fork waits this long at most for a terminal that somebody is writing to
CELL_SECONDS = 5.0          # a cell that has ended puts `write` back within this time


class LogFile:
    """The log of one run: stamped lines, from several streams and threads. Only ever appended to; `feed` and
    `tick` never raise."""

    def __init__(self, file):
        """file: an AppendFile, or what has its methods."""
        self.file = file
        self.closed = False
        self._streams = {}                  # key -> Screen
        self._lock = threading.RLock()      # re-entrant: a signal handler prints while this thread prints
        self._waiting = deque()
        # Takes (key, text): its place among what is to be logged, without waiting for a lock
        self.queue = self._waiting.append
        self._busy = False
        self._stated = (None, [])           # the Screen whose state is the last in the file, and the state
        self._stamp = (None, "")

    def feed(self, key, text):
        """Take `text`, just written to the stream `key`; whole lines are in the file when this returns."""
        self.queue((key, text))
        self.drain()

    def drain(self):
        """Log what is queued."""
        try:
            with self._lock:
                # From a signal handler in the middle of the loop below, which takes it next
                if self._busy:
                    return
                self._busy = True
                try:
                    while self._waiting and not self.closed:
                        self._take(*self._waiting.popleft())
                finally:
                    self._busy = False
        except RecursionError:              # the training's own, which happens to end here
            raise
        except Exception as error:          # whatever it is, the training must not see it
            if is_interrupt(error):
                raise
            say(f"a line of output was not logged: {type(error).__name__}: {error}")

    def _take(self, key, text):
        screen = self._streams.get(key)
        if screen is None:
            screen = self._streams[key] = Screen()
        block = screen.feed_block(text, time.monotonic())
        if block is not None:
            self._append_block(block, screen)
            return
        ended = screen.feed(text, time.monotonic())
        if not ended:
            return
        ended = self._resting_beside(screen) + ended
        # What is printed above bars is no later state of a bar, unless it is its end
        if self._stated[0] is screen and screen.is_moving and self._stated[1] != ended[:1]:
            ended = self._stated[1] + ended
        self._stated = (None, [])
        self._append(ended, "\n")

    def _resting_beside(self, screen):
        """Return the lines (list) of bars that are over: they go before what another stream says after
        them."""
        if len(self._streams) < 2:
            return []
        return [line for beside in self._streams.values() if beside is not screen
                for line in beside.resting()]

    def _append(self, lines, ending):
        mark = self._mark()
        self.file.write(_encoded(mark + (ending + mark).join(lines) + ending if lines else ""))

    def _append_block(self, lines, screen):
        """Append lines (one str, joined by newlines), which move nothing."""
        beside, self._stated = self._resting_beside(screen), (None, [])
        if beside:
            self._append(beside, "\n")
        mark, bare = self._mark().encode(), _encoded(lines)
        marked = bare.replace(b"\n", b"\n" + mark)
        count = (len(marked) - len(bare)) // len(mark) + 1      # to count newlines takes longer than all else
        screen.scroll(count)
        self.file.write(b"".join((mark, marked, b"\n")), lines=count)

    def _mark(self):
        second = int(time.time())
        if self._stamp[0] != second:        # made once a second
            self._stamp = (second, time.strftime("[%Y-%m-%d %H:%M:%S%z] ", time.localtime(second)))
        return self._stamp[1]

    def tick(self, now):
        """Log the present state of lines that move or have no end yet; call it every 0.5 s."""
        with self._lock:
            if self._busy or self.closed:
                return
            for screen in self._streams.values():
                state = screen.states(now)
                if state:
                    self._append(state, "\r")
                    self._stated = (screen, state)

    def close(self):
        """End open lines and close the file; what is written to the streams later is not logged."""
        with self._lock:
            while self._waiting and not self.closed:
                self._take(*self._waiting.popleft())
            for screen in self._streams.values():
                tail = screen.end()
                if tail and not self.closed:
                    self._append(tail, "\n")
            if not self.closed:
                self.closed = True
                self.file.close()

    def abandon(self):
        """In a forked child: log nothing any more. The lock may be held by a thread that does not exist
        here."""
        self._lock = threading.RLock()
        self._waiting.clear()
        self._busy = False
        self.closed = True


def _encoded(text):
    try:
        return text.encode()
    except UnicodeEncodeError:
        return legible(text).encode("utf-8", "backslashreplace")


def log_gap(lost):
    """Return the line (bytes) that stands for `lost` lines of output that could not be written."""
    moment = time.strftime("[%Y-%m-%d %H:%M:%S%z]")
    return f"{moment} (runicorn: {lost} lines of output are missing here)\n".encode()


class Turn:
    """Held by the thread that writes to a stream, one for each: what stalls one (a pager, a stopped terminal)
    stalls nothing else."""

    def __init__(self, stream):
        self.lock = threading.RLock()
        try:
            self._fd = stream.fileno()
        except (AttributeError, OSError, ValueError):
            self._fd = None

    def take(self):
        """Wait for whoever is writing, but not for one that is stalled; returns whether the lock is taken
        now."""
        deadline = time.monotonic() + FORK_SECONDS
        while not self.lock.acquire(timeout=0.02):
            if time.monotonic() > deadline or is_stalled(self._fd):
                return False
        return True

    def abandon(self):
        """In a forked child: whoever held the lock may not exist here."""
        self.lock = threading.RLock()


def is_stalled(fd):
    """Whether nobody reads what is written to a descriptor (int or None), so that a write waits."""
    try:
        return fd is not None and not select_ready([fd], True, 0)
    except (OSError, ValueError):       # closed; no such thing on Windows
        return False


class Capture:
    """Logs what Python writes: wraps `write` of the stream objects that sys.stdout and sys.stderr are now, so
    that handlers which hold them are seen too."""

    def __init__(self, file):
        """file: where to, an AppendFile."""
        self.log = LogFile(file)
        self.files = [self.log.file]
        self.turns = []                 # one for each stream
        self._wrapped = []              # (object, method name, our function)
        self.writers = {}               # "stdout", "stderr" -> our function, the newest
        self._parts = {}                # "stdout", "stderr" -> what our functions of that stream share
        self.notebook = None
        _captures.add(self)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            if stream is not None and not any(stream is wrapped for wrapped, _, _ in self._wrapped):
                self._wrap_stream(stream, name)
        shell = getattr(builtins, "get_ipython", lambda: None)()
        if hasattr(shell, "events"):
            self.notebook = Notebook(shell.events, self)

    def wrap_again(self, wanted_of):
        """Wrap each `write` that is not ours any more, if `wanted_of` (a function of the stream) says so."""
        for stream, name, function in list(self._wrapped):
            key = next((key for key, writer in self.writers.items() if writer is function), None)
            if key is not None and stream.write is not function and wanted_of(stream):
                self._wrapped.remove((stream, name, function))
                self._wrap_text(stream, key, *self._parts[key])

    def _wrap_text(self, stream, key, inside, turn):
        function = _text_write(own_write(stream) or stream.write, self, key, inside, turn)
        self.writers[key] = function
        return self._wrap(stream, "write", function)

    def _wrap_stream(self, stream, key):
        # inside.text: what the text layer hands down is no write of the user
        inside, turn = threading.local(), Turn(stream)
        self.turns.append(turn)
        self._parts[key] = inside, turn
        if not self._wrap_text(stream, key, inside, turn):
            return
        if hasattr(stream, "flush"):
            self._wrap(stream, "flush", _flush(stream.flush, turn))
        buffer = getattr(stream, "buffer", None)
        if hasattr(buffer, "write") and hasattr(stream, "reconfigure"):
            # Bytes held back in the text layer while a `write` in Python runs get lost or doubled when
            # somebody else prints
            # (CPython issue 119506). Handed down at once there are none; the buffer below still gathers them
            # for the terminal.
            # It stays so after the run: `reconfigure` flushes, which waits for a stalled terminal and raises
            # for a closed pipe.
            if not stream.write_through:
                stream.reconfigure(write_through=True)
            self._wrap(buffer, "write", _bytes_write(buffer, self, key, inside, turn))

    def _wrap(self, target, name, function):
        try:
            setattr(target, name, function)
        except (AttributeError, TypeError):     # a stream object that takes no attributes
            if name == "write":
                say(f"output is not captured: {type(target).__name__} can't be watched; try capture=\"fd\"")
            return False
        self._wrapped.append((target, name, function))
        return True

    def tick(self, now):
        """Log unfinished lines; call it every 0.5 s."""
        self.log.tick(now)

    def abandon(self):
        """In a forked child: write straight through."""
        for turn in self.turns:
            turn.abandon()
        self.log.abandon()

    def stop(self):
        """Put the streams back and close the log. Whoever still holds one of our functions writes straight
        through it."""
        if self.notebook is not None:
            self.notebook.stop()
            self.notebook = None
        for target, name, function in self._wrapped:
            if getattr(target, "__dict__", {}).get(name) is function:
                delattr(target, name)
        self._wrapped = []
        self.log.close()
        _captures.discard(self)


def _text_write(original, capture, key, inside, turn):
    log = capture.log

    def write(text):
        with turn.lock:
            outer = getattr(inside, "text", None)
            inside.text = text
            try:
                result = original(text)
            finally:
                inside.text = outer
            repeated = outer is text and capture.notebook       # IPython's function between two of ours
            logged = not log.closed and not repeated and isinstance(text, str)
            if logged:
                log.queue((key, text))
        if logged:
            log.drain()
        return result
    write.original, write.log = original, log
    return write


def is_own(stream):
    """Whether functions of ours alone, if any, stand before the stream's own `write`."""
    write = stream.write
    while hasattr(write, "original"):
        write = write.original
    return getattr(write, "__self__", None) is stream


def own_write(stream):
    """Return the stream's own `write` if nothing stands before it but functions of ours whose log has ended,
    else None."""
    write = stream.write
    while hasattr(write, "original") and write.log.closed:
        write = write.original
    return write if getattr(write, "__self__", None) is stream else None


class Notebook:
    """IPython replaces `write` while a cell runs, and puts back what it was before. So what a cell wrapped is
    lost at its end, and is wrapped again as soon as that has come: then it stays, below what IPython does in
    later cells."""

    def __init__(self, events, capture):
        self._events, self._capture = events, capture
        self._settled = False               # wrapped between two cells
        events.register("pre_run_cell", self._begins)
        events.register("post_run_cell", self._ends)

    def stop(self):
        self._settled = True
        self._events.unregister("pre_run_cell", self._begins)
        self._events.unregister("post_run_cell", self._ends)

    def _begins(self, *_):
        if not self._settled:
            self._capture.wrap_again(lambda stream: True)

    def _ends(self, *_):
        if not self._settled:
            threading.Thread(target=self._await_the_end, name="runicorn-cell", daemon=True).start()

    def _await_the_end(self):
        until = time.monotonic() + CELL_SECONDS
        while not self._settled and time.monotonic() < until:
            time.sleep(0.0002)
            # While the cell goes on, IPython's function is there too, below ours
            if is_own(sys.stdout):
                self._settled = True
                self._capture.wrap_again(own_write)


def _flush(original, turn):
    def flush():
        with turn.lock:
            return original()
    return flush


def _bytes_write(buffer, capture, key, inside, turn):
    original = buffer.write
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    log = capture.log

    def write(data):
        with turn.lock:
            try:
                result = original(data)
            except OSError as error:
                # The text layer, which would have held it back without us, drops what a pipe without readers
                # or a full disk does not
                # take, and Python's last flush has nothing left to fail with.
                if (getattr(inside, "text", 0) and type(buffer) is BufferedWriter
                        and not isinstance(error, BlockingIOError)):
                    buffer.__init__(buffer.raw, getattr(buffer.raw, "_blksize", 8192))
                raise
            logged = not log.closed and not getattr(inside, "text", False)
            if logged:
                log.queue((key, decoder.decode(bytes(data))))
        if logged:
            log.drain()
        return result
    return write


# -- forks ---------------------------------------------------------------------------------------------------

_captures = weakref.WeakSet()       # what watches streams of this process
_fork_state = threading.local()           # "turns": what the thread that forks holds


def _hold():
    """Before a fork: wait until nobody is within a write to the terminal. A child made meanwhile would find
    the stream's own lock taken by a thread that it does not have, and hang on its first print."""
    _fork_state.turns = [turn for capture in list(_captures) for turn in capture.turns if turn.take()]


def _let_go():
    for turn in _fork_state.__dict__.pop("turns", ()):
        turn.lock.release()


def _in_child():
    _fork_state.__dict__.clear()
    for capture in list(_captures):
        capture.abandon()
    _captures.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_in_child)
