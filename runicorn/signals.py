"""The signals that end a process: noted when they come, whoever handles them, and let go their way.

Python's C handler writes a byte to a wakeup descriptor for each signal that has a Python handler, and a thread reads it. So the script's
own handlers stay as they are, SIGINT keeps Python's (asyncio looks for it), and a main thread stuck in C code holds up no `kill`.
"""

import os
import signal
import sys
import threading
import time
import weakref

from runicorn import processes
from runicorn.descriptors import is_ours, keep, release

# These say "stop", also to a script that handles them. SIGBREAK: a console of Windows was closed, or Ctrl+Break typed there.
STOPS = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP", "SIGQUIT", "SIGXCPU")
DEADLY = (*STOPS[1:], "SIGALRM", "SIGVTALRM", "SIGIO", "SIGPIPE")       # ours where the default is in force
ASIDE = ("SIGUSR1", "SIGUSR2")      # Lightning on Slurm takes them only where Python says that the default is in force
JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")                       # to a job of these schedulers, so do SIGUSR1 and SIGUSR2
GRACE_SECONDS = 120.0       # a run that ends this soon after a signal was ended by it; later it had gone on
PATIENCE_SECONDS = 0.2      # the main thread has this long to act on a signal
ENDING_SECONDS = 3.0        # and an ending of ours this long, should a disk hang: then the process dies without it

_previous = {}              # signal number -> the handler before ours
_aside = {}                 # signal number -> weakref of the _Dump that faulthandler was given for it
_mask = threading.local()   # "before": the signals a thread that forks had blocked
_wakeup = None              # (reader, writer): two sockets, while the wakeup descriptor is ours
_noted = (None, 0.0)        # the last signal that says "stop": name, monotonic time
_acted = 0.0                # monotonic: when the main thread last acted on a signal of ours
_end = None                 # called with nothing before a signal ends the process
_leaving = False            # the script is over: what comes now finds the verdict given


def take(end):
    """Note signals from now on. end: called when one is about to end the process. Of use in the main thread only."""
    global _end
    _end = end
    processes.at_close(_end_by)
    if threading.current_thread() is not threading.main_thread():
        return
    handled = set() if processes.WINDOWS else _handled_in_c()
    try:
        _listen(handled)
    except (ValueError, OSError, ImportError):
        pass        # a subinterpreter, no descriptor left, rights given up: handlers of the script's are wrapped instead
    try:
        for name in DEADLY:
            _take(getattr(signal, name, None), handled)
    except ValueError:
        pass        # a C program's own thread, a subinterpreter: signals do what they do


def give_back():
    """Leave the process as `take` found it, as far as nobody took a signal over meanwhile."""
    if threading.current_thread() is threading.main_thread():
        _put_back()


def _put_back():
    processes.at_close(None)
    for number, before in list(_previous.items()):
        if signal.getsignal(number) is _heard:
            signal.signal(number, before)
        del _previous[number]
    _stop_listening()


def stopped():
    """Return the name of the signal that is ending this process (str) or None."""
    if _wakeup:
        _note_all(_read(_wakeup[0]))
    name, when = _noted
    return name if name and time.monotonic() - when < GRACE_SECONDS else None


def forget():
    """The script went on after whatever signal there was."""
    global _noted, _leaving
    _noted, _leaving = (None, 0.0), False


def leave():
    """The script is over, and how it ended is written: a signal that comes now no longer decides anything."""
    global _leaving
    _leaving = True


def forked():
    """In a forked child: it dies by signals as if we were not there, and its signals are none of its parent's."""
    _put_back()
    forget()
    let_go()


def hold():
    """Before a fork: hold back signals, for a child that is killed before it has its own handlers would forget it."""
    if hasattr(signal, "pthread_sigmask") and (_previous or _wakeup):
        _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def let_go():
    """After a fork, in both."""
    before = getattr(_mask, "before", None)
    if before is not None:
        _mask.before = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- the main thread ----------------------------------------------------------------------------------------------

def _note(number, ends=False):
    global _noted
    name = signal.Signals(number).name if number in signal.valid_signals() else ""
    if ends or name in STOPS or (name in ASIDE and any(job in os.environ for job in JOBS)):
        _noted = (name, time.monotonic())


def _handled_in_c():
    """Return the numbers (set of int) that C code handles or ignores, unknown to Python (proc_pid_status(5))."""
    try:
        with open("/proc/thread-self/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file if line.startswith((b"SigCgt", b"SigIgn")))
    except (OSError, ValueError):
        return set()
    bits = sum(int(value, 16) for value in fields.values())
    return {number for number in signal.valid_signals() if bits >> (number - 1) & 1}


def _take(number, handled):
    if number is None:
        return
    before = signal.getsignal(number)
    if before is signal.SIG_DFL and number not in handled or not _wakeup and callable(before) and before is not _heard:
        _previous[number] = before
        signal.signal(number, _heard)


def _heard(number, frame):
    """Note the signal, then do what would have been done without us."""
    global _acted
    _acted = time.monotonic()
    _note(number)
    before = _previous.get(number, signal.SIG_DFL)
    if callable(before):
        before(number, frame)
    elif signal.getsignal(number) is _heard:                # else somebody's handler calls ours: theirs decides
        try:
            _note(number, ends=True)
            _end()
        finally:
            if not _leaving:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)                # so that our parent sees the same wait status


# -- the wakeup descriptor ----------------------------------------------------------------------------------------

class _Dump:
    """What faulthandler writes to when its signal comes. It drops this when somebody else registers the same signal."""

    def __init__(self, writer):
        self._writer = writer

    def fileno(self):
        return self._writer.fileno()

    def flush(self):
        """Nothing is buffered."""

    def __del__(self):
        _close(self._writer)


def _listen(handled):
    """Have the signals written to sockets of ours, and a thread that reads them."""
    global _wakeup
    if _wakeup or processes.WINDOWS:
        return
    reader, writer = _sockets()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)        # an event loop's
        _close(reader)
        _close(writer)
        return
    _wakeup = (reader, writer)
    readers = {reader: None}
    readers.update(_set_aside(number) for number in (getattr(signal, name) for name in ASIDE)
                   if number not in handled and signal.getsignal(number) is signal.SIG_DFL)
    try:
        import _thread
        _thread.start_new_thread(_watch, (readers,))
    except RuntimeError:                    # no thread can be started: what comes is noted when somebody asks
        _stop_setting_aside()
        for other in list(readers)[1:]:
            _close(other)


def _sockets():
    """Return (reader, writer). A child that C code forked writes to the same ones: the reader is told who did."""
    import _socket  # not `socket`, which takes ten times as long to import
    reader, writer = map(_kept, _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM))
    writer.setblocking(False)
    if hasattr(_socket, "SO_PASSCRED"):
        reader.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    return reader, writer


def _kept(end):
    """Return a socket that a script which closes all descriptors leaves open: else signals were written to a file of its own."""
    import _socket
    kept = _socket.socket(fileno=keep(end.detach(), lambda number: _lose(kept)))
    return kept


def _lose(end):
    """The script put a file of its own in the place of a socket."""
    global _wakeup
    end.detach()
    if _wakeup and end in _wakeup:
        _wakeup = None
        signal.set_wakeup_fd(-1)


def _close(end):
    """Close a socket of ours, unless C code did, and its number is somebody else's now."""
    release(end.fileno())
    if is_ours(end.fileno()):
        end.close()
    else:
        end.detach()


def _set_aside(number):
    """Have C code write to a socket when the signal comes; returns (its reader, number)."""
    import faulthandler
    reader, writer = _sockets()
    dump = _Dump(writer)
    faulthandler.register(number, dump, all_threads=False)
    _aside[number] = weakref.ref(dump)
    return reader, number


def _stop_setting_aside():
    for number, dump in list(_aside.items()):
        if dump() is not None and signal.getsignal(number) is signal.SIG_DFL:
            import faulthandler
            faulthandler.unregister(number)
        del _aside[number]


def _stop_listening():
    global _wakeup
    if not _wakeup:
        return
    _stop_setting_aside()
    (_, writer), _wakeup = _wakeup, None
    current = signal.set_wakeup_fd(-1)
    if current not in (-1, writer.fileno()):
        signal.set_wakeup_fd(current)       # somebody's who came after us
    _close(writer)                          # which ends the thread


def _read(reader):
    """Return what this process wrote to a reader (bytes), without waiting; None when there will be no more."""
    import _socket
    try:
        data, ancillary, _, _ = reader.recvmsg(64, _socket.CMSG_SPACE(12), _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""
    except OSError:
        return None
    for _, _, credentials in ancillary:     # struct ucred (unix(7)): pid, uid, gid
        if data and int.from_bytes(credentials[:4], sys.byteorder) != os.getpid():
            return b""
    return data or None


def _note_all(numbers):
    for number in numbers or b"":
        _note(number)


def _watch(readers):
    """The thread: note what comes, and see that a signal whose default ends the process does end it."""
    import select
    while readers:
        try:
            ready = select.select(list(readers), [], [])[0]
        except (OSError, ValueError):       # C code closed what it found
            ready = [reader for reader in readers if not is_ours(reader.fileno())]
        for reader in ready:
            data, number = _read(reader) if is_ours(reader.fileno()) else None, readers[reader]
            if data is None:
                del readers[reader]
                _close(reader)
            elif number is None:
                _note_all(data)
                for came in data:
                    if _is_deadly(came):
                        _note(came, ends=True)
                        _see_to(came)
            elif data and number in _aside and _aside[number]() is not None:
                _end_by(number)
                _stop_setting_aside()
                os.kill(os.getpid(), number)


def _is_deadly(number):
    return not _leaving and _previous.get(number) == signal.SIG_DFL and signal.getsignal(number) is _heard


def _see_to(number):
    came = time.monotonic()
    while _acted < came - PATIENCE_SECONDS and time.monotonic() - came < PATIENCE_SECONDS:
        time.sleep(0.01)
    if _acted >= came - PATIENCE_SECONDS:
        time.sleep(ENDING_SECONDS)          # longer lives no process that a disk does not hang
    else:
        _end_in_time()
    if _is_deadly(number):
        _die(number)


def _end_by(number):
    _note(number, ends=True)
    _end_in_time()


def _end_in_time():
    ending = threading.Thread(target=_end, daemon=True)
    try:
        ending.start()
    except RuntimeError:
        _end()
    else:
        ending.join(ENDING_SECONDS)


def _die(number):
    """Let the default action have its way; Python lets only the main thread say so, which is stuck."""
    try:
        import ctypes
        ctypes.CDLL(None).signal(number, None)
    except (ImportError, OSError, AttributeError):
        number = signal.SIGKILL             # whoever sent the signal wants the process to end
    os.kill(os.getpid(), number)
