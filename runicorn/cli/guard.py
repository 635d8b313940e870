"""Two small duties of a second process beside `runicorn run`: to say whether a signal was sent to the whole
group of processes, and to read the program's output on where `runicorn run` itself was killed, or a child of
the program outlives it."""

import _signal as signal  # as `program` has it
import os
import select

from runicorn.cli.streams import Pump
from runicorn.disk import discard_tree
from runicorn.writer.append import AppendFile
from runicorn.writer.capture import LogFile, log_gap

ASK, PASS_ON = b"?", b"p"       # else: the number of a channel that is over
ANSWER_MS = 2000                # on a machine that thrashes; then a signal counts as one to us alone
TICK_SECONDS = 0.5


class Guard:
    """Our side. Made before any thread is."""

    def __init__(self, channels, log_path, link_folder, numbers, before, ends):
        """channels: list of streams.Channel; log_path: str; link_folder: of a Link (str) or None; numbers:
        the signals to note; before: their mask in this process, in which they are blocked now; ends: what is
        the program's alone, its ends of the channels among it (ints). Raises OSError."""
        ask, self._ask = os.pipe()
        self._answer, answer = os.pipe()
        self._names = {id(channel): bytes([65 + index]) for index, channel in enumerate(channels)}
        self.pid = os.fork()
        if not self.pid:
            try:
                for number in {self._ask, self._answer, *ends}:
                    os.close(number)
                _serve(channels, log_path, link_folder, numbers, before, ask, answer)
            finally:
                os._exit(0)
        os.close(ask)
        os.close(answer)

    def was_sent_to_all(self, number):
        """Whether the signal that came to us came to the whole group; None if the guard is gone."""
        try:
            os.write(self._ask, ASK)
            if not _wait([self._answer], ANSWER_MS):
                return None
            count = os.read(self._answer, 1)
            heard = os.read(self._answer, count[0]) if count and count[0] else b""
            return number in heard if count else None
        except OSError:
            return None

    def forget(self, channel):
        """A channel is over: nobody else may hold it open."""
        self._tell(self._names[id(channel)])

    def _tell(self, word):
        try:
            os.write(self._ask, word)
        except OSError:
            pass                # it was killed

    def pass_on(self):
        """Have it read on, as long as anybody writes; it goes its own way then."""
        self._tell(PASS_ON)

    def end(self):
        """End it."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except OSError:
            pass


def _wait(numbers, milliseconds):
    poll = select.poll()
    for number in numbers:
        poll.register(number, select.POLLIN)
    return [number for number, _ in poll.poll(milliseconds)]


# -- the process ---------------------------------------------------------------------------------------------

def _serve(channels, log_path, link_folder, numbers, before, ask, answer):
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    os.set_blocking(bell, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, _note)
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)       # it writes to the terminal from the background, too
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    open_channels, heard = list(channels), set()
    while True:
        ready = _wait([ask, bell], None)
        if bell in ready:
            heard |= _rung(bell)
        if ask not in ready:
            continue
        word = os.read(ask, 1)
        if word == ASK:
            heard |= _rung(bell)
            os.write(answer, bytes([len(heard), *heard]))
            heard.clear()
        elif word in (b"", PASS_ON):
            if not word and link_folder:
                discard_tree(link_folder)
            return _read_on(open_channels, None if word else log_path)
        else:
            channel = channels[word[0] - 65]
            open_channels.remove(channel)
            channel.end(None)
            channel.outlet.close()


def _note(number, frame):
    """The wakeup descriptor says it."""


def _rung(bell):
    try:
        return set(os.read(bell, 4096))
    except BlockingIOError:
        return set()


def _read_on(channels, log_path):
    try:
        log = LogFile(AppendFile(log_path, log_gap)) if log_path else None
    except OSError:
        log = None              # its folder is gone
    pump = Pump(channels, log)
    while not pump.is_over:
        pump.wait(TICK_SECONDS)
        if log is not None:
            import time
            log.tick(time.monotonic())
    if log is not None:
        log.close()
