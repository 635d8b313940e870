"""The output of a program that `runicorn run` started, on its way: out of a pipe or a pty, on to where it
would have gone, into the log."""

import codecs
import errno
import os
import select
import stat
import time

from runicorn.writer.notice import say

BLOCK = 1 << 16             # bytes that are logged at once, at most
PIPE_BYTES = 1 << 20        # what Linux lets anybody have; a program then rarely waits for us
F_SETPIPE_SZ = 1031         # which fcntl names only since Python 3.10
# PIPE_BUF: what a descriptor that is ready takes without waiting, if it is a pipe or a socket
CHUNK = 4096
PTY_BYTES = 4096            # more than a read of a pty gives
BACKLOG_SECONDS = 0.01      # so long what was passed on waits for more, to be logged together


class Outlet:
    """Where a stream goes. `write` never waits and never raises: what is not taken yet is kept in `rest`."""

    def __init__(self, number):
        """number: the descriptor, of ours (int)."""
        self.number, self.rest, self.is_broken = number, b"", False
        self._limit, self._own = _unblocked(number)

    @property
    def descriptor(self):
        """What to wait for until it takes more (int)."""
        return self.number if self._own is None else self._own

    def write(self, data):
        """Write `data` (bytes, or a memoryview of what may change later) behind what waits; returns whether
        somebody may still read it."""
        if self.rest:
            data = b"".join((self.rest, data))
        written, length, limit = 0, len(data), self._limit
        try:
            while written < length:
                if limit and not _is_writable(self.descriptor):
                    break
                # As it is, mostly
                some = memoryview(data)[written:written + (limit or length)] if written or limit else data
                written += os.write(self.descriptor, some)
                if written < length and self._own is not None:
                    break           # it is full now
        except BlockingIOError:
            pass
        except OSError as error:
            written = length
            if error.errno == errno.EPIPE:
                self.is_broken = True
            # a disk that is full, a terminal that is gone: the program goes on, and the log with it
            else:
                say(f"the program's output can't be written ({error.strerror or error}); it is in the run's "
                    f"log",
                    once=("outlet", error.errno))
        self.rest = bytes(memoryview(data)[written:]) if written < length else b""
        return not self.is_broken

    def close(self):
        """Have nobody wait for more from us."""
        if self._own is not None:
            os.close(self._own)
            self._own = None
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.number)
        os.close(null)


def _unblocked(number):
    """Return (how much may be written at once or 0, a descriptor that does not wait or None) for a descriptor
    whose flags are others', too.

    A pipe or a terminal that is opened once more has flags of its own (proc(5)); where that is not allowed,
    small writes to what is ready do not wait either.
    """
    mode = os.fstat(number).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return 0, None
    if stat.S_ISFIFO(mode) or os.isatty(number):
        try:
            return 0, os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            pass
    return (0 if stat.S_ISCHR(mode) and not os.isatty(number) else CHUNK), None


def _is_writable(number):
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return bool(poll.poll(0))


class Channel:
    """One stream of the program: read from `source` (descriptor), written to `outlet`, and handed to the log
    as `name`."""

    def __init__(self, source, outlet, name):
        self.source, self.outlet, self.name = source, outlet, name
        self.is_open, self._is_terminal = True, os.isatty(source)
        self._buffer = memoryview(bytearray(BLOCK))
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unlogged, self.backlog = [], 0    # pieces passed on that are not in the log, and their bytes
        os.set_blocking(source, False)

    def move(self, log):
        """Pass on what there is, a block at most, each piece as soon as it is read; returns how much there
        was (bytes). log: a LogFile or None.

        A pty gives little at once, and has no more until the kernel has had time to fill it: while the piece
        before is written. So what came of it is logged when it makes a block, or when `record` is called.
        """
        size, is_over, is_heard, outlet = 0, False, True, self.outlet
        while is_heard and not is_over and not outlet.rest and self.backlog + size <= BLOCK - PTY_BYTES:
            try:
                piece = os.read(self.source, PTY_BYTES) if self._is_terminal else self._all_there(size)
            except BlockingIOError:
                break
            except OSError:         # EIO: nobody holds the program's side of a pty any more
                piece = b""
            is_over = not piece
            size += len(piece)
            self._unlogged.append(piece)
            is_heard = outlet.write(piece)
        self.backlog += size
        if not is_heard:
            self.end(None)          # the program hears of it at its next write
        if not (self._is_terminal and self.is_open) or is_over or self.backlog > BLOCK - PTY_BYTES:
            self.record(log)
        if is_over:
            self.end(log)
        return size

    def record(self, log):
        """Log what was passed on."""
        if self.backlog and log is not None:
            log.feed(self.name, self._decoder.decode(b"".join(self._unlogged)))
        self._unlogged, self.backlog = [], 0

    def _all_there(self, start):
        """Return all that a pipe has now (memoryview of the buffer from `start` on): a write of it costs less
        than one of each piece. Raises OSError."""
        size, room = 0, self._buffer[start:]
        try:
            while count := os.readv(self.source, [room[size:]]):
                size += count
                if count < PTY_BYTES or size > len(room) - PTY_BYTES:
                    break
        except OSError:             # nothing more, mostly
            if not size:
                raise
        return room[:size]

    def end(self, log):
        """No more comes, or nobody wants more."""
        if self.is_open:
            self.is_open = False
            os.close(self.source)
            if log is not None:
                log.feed(self.name, self._decoder.decode(b"", True))


class Pump:
    """All channels of a program. One thread calls it."""

    def __init__(self, channels, log, watched=(), terminal=None, on_end=lambda channel: None):
        """channels: list of Channel; log: a LogFile or None; watched: further descriptors whose readability
        ends a wait (ints);
        terminal: the Terminal that one of the channels comes from, or None; on_end: called with each channel
        that is over."""
        self.channels, self._log, self._watched = list(channels), log, watched
        self._terminal, self._on_end = terminal, on_end
        self._since = None              # monotonic, when the oldest that is to be logged was passed on

    @property
    def is_over(self):
        """Whether nothing can come any more, and all that came has been passed on."""
        return not any(channel.is_open or channel.outlet.rest for channel in self.channels)

    def wait(self, seconds):
        """Move what can be moved, within `seconds` at most; returns the descriptors of `watched` that can be
        read, as soon as there are."""
        poll, waiting = select.poll(), {}       # descriptor -> Channel
        for number in self._watched:
            poll.register(number, select.POLLIN)
        for channel in self.channels:
            _await(channel, poll, waiting)
        while True:
            ready = poll.poll((BACKLOG_SECONDS if self._backlogs() else seconds) * 1000)
            if not ready and self._record():
                continue
            heard, is_over = [], False
            for number, _ in ready:
                channel = waiting.get(number)
                if channel is None:
                    heard.append(number)
                    continue
                was_full = bool(channel.outlet.rest)
                self._serve(channel)
                if not channel.is_open or bool(channel.outlet.rest) is not was_full:
                    del waiting[number]
                    poll.unregister(number)
                    _await(channel, poll, waiting)
                    is_over = is_over or not channel.is_open
            if heard or not ready or is_over:
                self.settle()
                return heard

    def _backlogs(self):
        return [channel for channel in self.channels if channel.backlog]

    def _record(self, but=None):
        """Log what was passed on, of all Channels but one, so that their order is kept; returns whether there
        was any."""
        behind = [channel for channel in self._backlogs() if channel is not but]
        for channel in behind:
            channel.record(self._log)
        if behind:
            self._since = None
        return bool(behind)

    def _serve(self, channel):
        if channel.outlet.rest:
            self._write_rest(channel)
            return
        self._record(channel)
        if self._terminal is not None:
            self._terminal.mirror()         # what was printed since is meant for these modes
        channel.move(self._log)
        if not channel.backlog:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > BACKLOG_SECONDS:
            self._record()
        if self._terminal is not None:
            self._terminal.mirror()

    def _write_rest(self, channel):
        if not channel.outlet.write(b""):
            channel.end(None)

    def settle(self):
        """Log what was passed on, and let go of outlets behind which no more comes."""
        self._record()
        over = [channel for channel in self.channels if not channel.is_open and not channel.outlet.rest]
        for channel in over:
            self.channels.remove(channel)
            channel.outlet.close()
            self._on_end(channel)

    def drain(self):
        """Move all that is there now, as far as it is taken."""
        for channel in list(self.channels):
            while channel.is_open and not channel.outlet.rest and channel.move(self._log):
                pass
        self.settle()


def _await(channel, poll, waiting):
    """Have `poll` wait for what a Channel waits for, if anything; `waiting` (dict) says whose descriptor it
    is."""
    if channel.outlet.rest:
        number, event = channel.outlet.descriptor, select.POLLOUT
    elif channel.is_open:
        number, event = channel.source, select.POLLIN
    else:
        return
    waiting[number] = channel
    poll.register(number, event)


def pipe():
    """Return (read end, write end) of a pipe that holds much."""
    read_end, write_end = os.pipe()
    try:
        import fcntl
        fcntl.fcntl(write_end, F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, OSError):
        pass
    return read_end, write_end


class Terminal:
    """A pty whose program's side stands in for a terminal where only output goes: it has its size, and text
    passes it unchanged, for the terminal itself does the rest. Its keys, job control and signals are the
    program's as ever. Modes that the program sets on it, as curses does on its output, are set on the
    terminal, and taken back at the end."""

    def __init__(self, number):
        """number: the terminal's descriptor. Raises OSError."""
        import termios
        self._termios, self._number = termios, os.dup(number)
        os.set_inheritable(self._number, False)
        self.ours, self.theirs = os.openpty()
        self._real = termios.tcgetattr(number)
        modes = termios.tcgetattr(self.theirs)
        modes[:4] = self._real[:4]
        modes[1] &= ~termios.OPOST
        modes[6] = self._real[6]
        termios.tcsetattr(self.theirs, termios.TCSANOW, modes)
        self._modes = self._original = termios.tcgetattr(self.theirs)
        self._size = None
        self.resize()

    def resize(self):
        """Take over the terminal's size; returns whether it is another."""
        import fcntl
        before, self._size = self._size, fcntl.ioctl(self._number, self._termios.TIOCGWINSZ, bytes(8))
        if before != self._size:
            fcntl.ioctl(self.ours, self._termios.TIOCSWINSZ, self._size)
        return before not in (None, self._size)

    def foreground(self):
        """Return the group of processes that the terminal belongs to now (int), None if it is not ours to
        ask."""
        try:
            return os.tcgetpgrp(self._number)
        except OSError:
            return None

    def mirror(self):
        """Set on the terminal what the program has set on the pty since."""
        try:
            modes = self._termios.tcgetattr(self.ours)
            # Who asks from the background is stopped
            if modes != self._modes and self.foreground() == os.getpgrp():
                self._set(modes)
        except (OSError, self._termios.error):
            pass                # hung up

    def _set(self, modes):
        before, self._modes = self._modes, modes
        real = self._termios.tcgetattr(self._number)
        for field in (0, 3):    # input modes, local modes
            changed = modes[field] ^ before[field]
            real[field] = real[field] & ~changed | modes[field] & changed
        is_raw = not modes[3] & self._termios.ICANON and self._original[3] & self._termios.ICANON
        real[1] = real[1] & ~self._termios.OPOST if is_raw else real[1] | self._real[1] & self._termios.OPOST
        real[6] = modes[6] if is_raw else self._real[6]
        self._termios.tcsetattr(self._number, self._termios.TCSADRAIN, real)

    def restore(self):
        """Take back what `mirror` set."""
        try:
            if self._modes != self._original:
                self._set(self._original)
        except (OSError, self._termios.error):
            pass
