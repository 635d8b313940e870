"""A program started by `runicorn run`: in our group of processes, with pipes (or a pty where we have a
terminal) for what it prints, and everything else as it would be without us. Signals that come to us alone are
passed on to it; what ended it ends us."""

import _signal as signal  # not `signal`, which makes enums first, and at each call
import errno
import os
import sys
import time

from runicorn.cli.guard import Guard
from runicorn.cli.streams import Channel, Outlet, Pump, Terminal, pipe
from runicorn.writer.notice import say
from runicorn.writer.signals import STOPS

# Signals that are never passed on: they can't be caught, are for us, stop a whole group, or tell of a fault
# of our own.
OWN = {"SIGKILL", "SIGSTOP", "SIGCHLD", "SIGWINCH", "SIGTTIN", "SIGTTOU", "SIGPIPE", "SIGXFSZ", "SIGSEGV",
       "SIGBUS", "SIGFPE", "SIGILL"}
# Of several of a number the first: SIGABRT, SIGCHLD
NAMES = {getattr(signal, name): name for name in sorted(dir(signal))[::-1]
         if name[:3] == "SIG" and name[3] != "_"}
TYPED = {"SIGINT", "SIGQUIT", "SIGTSTP", "SIGHUP"}      # by keys, mostly, to a whole group
SETTLE_SECONDS = 0.001      # while the kernel goes through a group
TICK_SECONDS = 0.5
# Which runs a script without a first line that names its interpreter, as execvp(3) does
BOURNE = "/bin/sh"
# Is the program where whoever started us ignores that children end, which only a process itself can ask for
CHILDLESS = f"""import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for number in signal.SIGPIPE, signal.SIGXFSZ:
    signal.signal(number, signal.SIG_DFL)
try:
    os.execv(sys.argv[1], sys.argv[2:])
except OSError:
    os.execv("{BOURNE}", ["{BOURNE}", sys.argv[1], *sys.argv[3:]])"""


class Program:
    """One program. Call `start` once, then `wait`; no thread may have been started before `start`."""

    def __init__(self, argv, environ):
        """argv: list of str; environ: dict."""
        self._argv, self._environ = argv, environ
        self.pid, self.status = None, None      # as os.waitstatus_to_exitcode has it
        self.stop = (None, 0.0)                 # the last signal that asked it to end: name, monotonic time
        self._guard = self._terminal = self._pump = self._link = None
        self._before = {}                       # signal number -> handler before ours
        self._is_stopped = False
        self._bell, self._ring = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._ring, False)

    # -- the start -------------------------------------------------------------------------------------------

    def start(self, log, link=None, inherited=()):
        """Start it. log: the LogFile that takes its output; link: a writer.link.Link or None; inherited:
        further descriptors that are for it, not for us (list of int). Raises OSError if it can't be
        started."""
        self._link = link
        every = signal.valid_signals()
        numbers = [number for number in every if _name(number) not in OWN]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, every)
        try:
            self._take_signals(numbers)
            channels, ends = self._channels()
            heard = [number for number in numbers if number in self._before]
            self._guard = Guard(channels, log.file.path, link and link.folder, heard, mask,
                                [*ends.values(), *inherited])
            self._spawn(ends, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number in {*ends.values(), *inherited}:
            os.close(number)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)            # whoever writes to it shall hear when the program stops reading
        os.close(null)
        self._pump = Pump(channels, log, [self._bell, *([link.fileno()] if link else [])], self._terminal,
                          self._guard.forget)

    def _take_signals(self, numbers):
        signal.set_wakeup_fd(self._ring, warn_on_full_buffer=False)
        for number in [*numbers, signal.SIGCHLD, signal.SIGWINCH]:
            try:
                if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGCHLD:
                    self._before[number] = signal.signal(number, _note)
            except (OSError, ValueError):
                pass                # the C library's own

    def _channels(self):
        """Return ([Channel], {descriptor of the program: our end of it}) for those of 1 and 2 that are
        open."""
        channels, ends = [], {}
        numbers = [number for number, stream in ((1, sys.__stdout__), (2, sys.__stderr__))
                   if stream is not None]
        for number in numbers:
            if number == 2 and 1 in ends and _is_same(1, 2):
                ends[2] = ends[1]
                continue
            source, ends[number] = self._pty(number) or pipe()
            channels.append(Channel(source, Outlet(number), ("stdout", "stderr")[number - 1]))
        return channels, ends

    def _pty(self, number):
        try:
            if self._terminal is not None or not os.isatty(number):
                return None
            self._terminal = Terminal(number)
            return self._terminal.ours, self._terminal.theirs
        except (OSError, ImportError):
            return None             # no pty left: pipes

    def _spawn(self, ends, mask):
        """Start the program. Not with `fork`: to copy what we have mapped takes longer than all else. (GNU's
        C library then has 32 and 33, signals of its own that it handles when it needs them, ignored.)"""
        files = []
        for number, stream in enumerate((sys.__stdin__, sys.__stdout__, sys.__stderr__)):
            if number in ends:
                files.append((os.POSIX_SPAWN_DUP2, ends[number], number))
            elif stream is None:
                files.append((os.POSIX_SPAWN_CLOSE, number))
        # What we handle becomes the default by itself; these Python ignores
        options = {"file_actions": files, "setsigmask": mask, "setsigdef": [signal.SIGPIPE, signal.SIGXFSZ]}
        path, argv = self._path(), self._argv
        if self._before.get(signal.SIGCHLD) is signal.SIG_IGN:
            path, argv = sys.executable, [sys.executable, "-ISc", CHILDLESS, path, *argv]
        try:
            try:
                self.pid = os.posix_spawn(path, argv, self._environ, **options)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                self.pid = os.posix_spawn(BOURNE, [BOURNE, path, *argv[1:]], self._environ, **options)
        except OSError:
            self._guard.end()
            raise

    def _path(self):
        """Return the path of the program, as a shell finds it."""
        word = self._argv[0]
        places = [os.path.join(folder, word)
                  for folder in self._environ.get("PATH", os.defpath).split(os.pathsep)]
        return word if os.sep in word else next(
            (path for path in places if os.path.isfile(path) and os.access(path, os.X_OK)), word)

    # -- while it runs ---------------------------------------------------------------------------------------

    def wait(self):
        """Pass on output and signals until it has ended; `status` says how."""
        try:
            self._wait()
        except Exception as error:      # a fault of ours: the program goes on, its output by way of the guard
            say(f"the log ends here: {type(error).__name__}: {error}")
            self._guard.pass_on()
            self._pump.channels.clear()
            while self.status is None:
                status = os.waitpid(self.pid, 0)[1]
                self.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _wait(self):
        while self.status is None:
            self._heed(self._pump.wait(TICK_SECONDS))
        while any(channel.outlet.rest for channel in self._pump.channels) or self._drained():
            if self._pump.wait(TICK_SECONDS) and any(_name(number) in STOPS for number in self._rung()):
                break               # nobody reads it, and somebody wants us to end
        if self._link is not None:
            self._link.serve()          # its last words
        if self._terminal is not None:
            self._terminal.restore()

    def _drained(self):
        self._pump.drain()
        return any(channel.outlet.rest for channel in self._pump.channels)

    def _rung(self):
        try:
            return set(os.read(self._bell, 4096))
        except BlockingIOError:
            return set()

    def _heed(self, ready):
        if self._link is not None and self._link.fileno() in ready:
            self._link.serve()
        numbers = self._rung() if self._bell in ready else set()
        for number in numbers - {signal.SIGCHLD, signal.SIGWINCH}:
            self._pass_on(number)
        if signal.SIGWINCH in numbers and self._terminal is not None and self._terminal.resize():
            group = self._terminal.foreground()
            if group:               # it may have asked for the size before we knew it
                _send(os.killpg, group, signal.SIGWINCH)
        if signal.SIGCHLD in numbers:
            self._look()

    def _pass_on(self, number):
        time.sleep(SETTLE_SECONDS)
        name = _name(number)
        is_everyones = self._guard.was_sent_to_all(number)
        if is_everyones is None:
            is_everyones = name in TYPED
        if name in STOPS:
            self.stop = name, time.monotonic()
        if not is_everyones and self.status is None:
            _send(os.kill, self.pid, number)

    def _look(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        if not pid or os.WIFCONTINUED(status):
            return
        if not os.WIFSTOPPED(status):
            self.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        elif os.WSTOPSIG(status) == signal.SIGTSTP:
            self._stop_too()

    def _stop_too(self):
        """The program was stopped by Ctrl+Z or the like: so are we, for a shell to see, until somebody has us
        go on."""
        if self._terminal is not None:
            self._terminal.restore()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _note)
        if not os.waitpid(self.pid, os.WNOHANG | os.WCONTINUED)[0]:
            _send(os.kill, self.pid, signal.SIGCONT)

    # -- the end ---------------------------------------------------------------------------------------------

    def leave(self):
        """The program has ended and its run is over: leave what its children still print to the guard. Ends
        this process as the program ended: with its exit code, or by the same signal."""
        sys.stderr.flush()
        self._guard.pass_on() if any(channel.is_open
                                     for channel in self._pump.channels) else self._guard.end()
        if self.status >= 0:
            os._exit(self.status)       # nothing is left to be done
        import resource
        # Its core is the one to look at
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        signal.set_wakeup_fd(-1)
        if -self.status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-self.status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-self.status})
        os.kill(os.getpid(), -self.status)
        os._exit(128 - self.status)


def _note(number, frame):
    """The wakeup descriptor says it."""


def _name(number):
    return NAMES.get(number) or f"signal {number}"


def _send(call, target, number):
    try:
        call(target, number)
    except OSError:
        pass                        # it is gone, or became another user's


def _is_same(first, second):
    """Whether two descriptors are the same open file, or the same pipe or terminal."""
    stats = [os.fstat(number) for number in (first, second)]
    if (stats[0].st_dev, stats[0].st_ino) != (stats[1].st_dev, stats[1].st_ino):
        return False
    return not os.path.isfile(f"/proc/self/fd/{first}") or os.path.sameopenfile(first, second)
