"""The signals that end a process: noted when they come, whoever handles them, and let go their way.

Python's C handler writes a byte to a wakeup descriptor for each signal that has a Python handler, and a
thread reads it. So the script's own handlers stay as they are, SIGINT keeps Python's (asyncio looks for it),
and a main thread stuck in C code holds up no `kill`. There is one such descriptor in a process, and event
loops want it, too: theirs gets from that thread whatever comes.
"""

import _signal as signal  # not `signal`, which makes enums first; it has what is here, under the same names
import os
import sys
import threading
import time
import weakref

from runicorn.writer import processes
from runicorn.writer.descriptors import is_ours, keep, release, select_ready
from runicorn.writer.notice import say

# These say "stop", also to a script that handles them. SIGBREAK: a console of Windows was closed, or
# Ctrl+Break typed there.
STOPS = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP", "SIGQUIT", "SIGXCPU")
DEADLY = (*STOPS, "SIGALRM", "SIGVTALRM", "SIGIO", "SIGPIPE")           # ours where the default is in force
# Lightning on Slurm takes them only where Python says that the default is in force
ASIDE = ("SIGUSR1", "SIGUSR2")
# To a job of these schedulers, so do SIGUSR1 and SIGUSR2
JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
GRACE_SECONDS = 120.0       # a run that ends this soon after a signal was ended by it; later it had gone on
PATIENCE_SECONDS = 0.2      # the main thread has this long to act on a signal
# And an ending of ours this long, should a disk hang: then the process dies without it
ENDING_SECONDS = 3.0

_set_handler, _set_wakeup = signal.signal, signal.set_wakeup_fd      # before ours
NAMES = {getattr(signal, name): name for name in (*DEADLY, *ASIDE) if hasattr(signal, name)}
_previous = {}              # signal number -> the handler before ours
_aside = {}                 # signal number -> weakref of the _Dump that faulthandler was given for it
_mask = threading.local()   # "before": the signals a thread that forks had blocked
_wakeup = None              # (reader, writer, its number): two sockets, while the wakeup descriptor is ours
_theirs = ((-1,), {})       # the arguments with which others have set one meanwhile, or before
# While what came is handed on, so that nobody closes that descriptor and has its number used again
_handing = threading.RLock()
_watched = False            # whether a thread reads what is written to `_wakeup`
_unhanded = None            # why the last signal could not be handed on (str), until that is said
_noted = (None, 0.0)        # the last signal that says "stop": name, monotonic time
_acted = 0.0                # monotonic: when the main thread last acted on a signal of ours
_end = None                 # called with nothing before a signal ends the process
_leaving = False            # the script is over: what comes now finds the verdict given


def take(end):
    """Note signals from now on. end: called when one is about to end the process. Of use in the main thread
    only."""
    global _end
    _end = end
    processes.at_close(_end_by)
    if threading.current_thread() is not threading.main_thread():
        return
    handled = set() if processes.WINDOWS else _handled_in_c()
    try:
        _listen(handled)
    except (ValueError, OSError, ImportError):
        # a subinterpreter, no descriptor left, rights given up: handlers of the script's are wrapped instead
        pass
    try:
        for number, name in NAMES.items():
            if name in DEADLY:
                _take(number, handled)
    except ValueError:
        return      # a C program's own thread, a subinterpreter: signals do what they do
    _put_in_place((_set_handler, set_handler), (_set_wakeup, set_wakeup_fd))


def give_back():
    """Leave the process as `take` found it, as far as nobody took a signal over meanwhile."""
    global _theirs
    if threading.current_thread() is threading.main_thread():
        with _handing:
            reader = _wakeup and _wakeup[0]
            _put_back()
            while reader and _receive(reader):
                pass
            _theirs = (-1,), {}
        _say_unhanded()


def _put_back():
    processes.at_close(None)
    _put_in_place((set_handler, _set_handler), (set_wakeup_fd, _set_wakeup))
    for number, before in list(_previous.items()):
        if signal.getsignal(number) is _heard:
            _set_handler(number, before)
        del _previous[number]
    _stop_listening()


def stopped():
    """Return the name of the signal that is ending this process (str) or None."""
    if _wakeup:
        _receive(_wakeup[0])
        _say_unhanded()
    name, moment = _noted
    return name if name and time.monotonic() - moment < GRACE_SECONDS else None


def forget():
    """The script went on after whatever signal there was."""
    global _noted, _leaving
    _noted, _leaving = (None, 0.0), False


def leave():
    """The script is over, and how it ended is written: a signal that comes now no longer decides anything."""
    global _leaving
    _leaving = True


def forked():
    """In a forked child: it dies by signals as if we were not there, and its signals are none of its
    parent's."""
    global _handing
    _handing = threading.RLock()
    _put_back()
    forget()
    let_go()


def hold():
    """Before a fork: hold back signals, for a child that is killed before it has its own handlers would
    forget it."""
    if hasattr(signal, "pthread_sigmask") and (_previous or _wakeup):
        _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def let_go():
    """After a fork, in both."""
    before = getattr(_mask, "before", None)
    if before is not None:
        _mask.before = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- the main thread -----------------------------------------------------------------------------------------

def _note(number, ends=False):
    global _noted
    name = NAMES.get(number)
    if ends or name in STOPS or (name in ASIDE and any(job in os.environ for job in JOBS)):
        _noted = (name, time.monotonic())


def _handled_in_c():
    """Return the numbers (set of int) that C code handles or ignores, unknown to Python
    (proc_pid_status(5))."""
    try:
        with open("/proc/thread-self/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file if line.startswith((b"SigCgt", b"SigIgn")))
    except (OSError, ValueError):
        return set()
    bits = sum(int(value, 16) for value in fields.values())
    return {number for number in signal.valid_signals() if bits >> (number - 1) & 1}


def _take(number, handled):
    before = signal.getsignal(number)
    others = not _wakeup and callable(before) and before not in (_heard, signal.default_int_handler)
    if before is signal.SIG_DFL and number not in handled or others:
        _previous[number] = before
        _set_handler(number, _heard)


def _heard(number, frame):
    """Note the signal, then do what would have been done without us."""
    global _acted
    _acted = time.monotonic()
    _note(number)
    before = _previous.get(number, signal.SIG_DFL)
    if callable(before):
        before(number, frame)
    # Else somebody's handler calls ours: theirs decides
    elif signal.getsignal(number) is _heard:
        try:
            _note(number, ends=True)
            _end()
        finally:
            if not _leaving:
                _set_handler(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)                # so that our parent sees the same wait status


# -- the wakeup descriptor -----------------------------------------------------------------------------------

class _Dump:
    """What faulthandler writes to when its signal comes. It drops this when somebody else registers the same
    signal."""

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
    global _wakeup, _theirs
    if _wakeup or processes.WINDOWS:
        return
    reader, writer = _sockets()
    _theirs = (_set_wakeup(writer.fileno(), warn_on_full_buffer=False),), {}
    _wakeup = reader, writer, writer.fileno()
    readers = {reader: None}
    readers.update(_set_aside(number) for number in (getattr(signal, name) for name in ASIDE)
                   if number not in handled and signal.getsignal(number) is signal.SIG_DFL)
    if not _begin(readers):                 # what comes is noted when somebody asks
        _stop_setting_aside()
        for former in list(readers)[1:]:
            _close(former)
        if _theirs[0][0] != -1:
            _stop_listening()               # nobody would hand anything on


def _begin(readers):
    """Start the thread; returns whether it could be started."""
    global _watched
    import _thread
    try:
        _thread.start_new_thread(_watch, (readers,))
        _watched = True
    except RuntimeError:
        _watched = False
    return _watched


def set_wakeup_fd(*args, **more):
    """Set the descriptor that gets the number of each signal, and return the one before: never ours, which
    hands on what comes."""
    global _theirs
    with _handing:
        before = _set_wakeup(*args, **more)
        if _wakeup and before == _wakeup[2]:
            _set_wakeup(before, warn_on_full_buffer=False)
            before = _theirs[0][0]
        _theirs = args, more
        if _wakeup and not _watched and not _begin({_wakeup[0]: None}):
            _stop_listening()           # nobody would hand anything on
    return before


def set_handler(signalnum, handler, /):
    """Set the action for the given signal, and return the one before. In place of the default that ends the
    process stands ours."""
    is_deadly = handler is signal.SIG_DFL and NAMES.get(signalnum) in DEADLY
    with _handing:
        while is_deadly and _wakeup and _receive(_wakeup[0]):
            pass                        # what came so far had another handler
        before = _set_handler(signalnum, _heard if is_deadly else handler)
        if is_deadly:
            _previous[signalnum] = handler
    _say_unhanded()
    return before


def _put_in_place(*pairs):
    """Put the second function of each pair in the place of the first, where this is: `signal` has a name of
    its own for one of them."""
    for module in (signal, sys.modules.get("signal")):
        for name, (before, after) in zip(("signal", "set_wakeup_fd"), pairs):
            if getattr(module, name, None) is before:
                setattr(module, name, after)


def _sockets():
    """Return (reader, writer). A child that C code forked writes to the same ones: the reader is told who
    did."""
    import _socket  # not `socket`, which takes ten times as long to import
    reader, writer = map(_kept, _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM))
    writer.setblocking(False)
    if hasattr(_socket, "SO_PASSCRED"):
        reader.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    return reader, writer


def _kept(end):
    """Return a socket that a script which closes all descriptors leaves open: else signals were written to a
    file of its own."""
    import _socket
    end_kept = _socket.socket(fileno=keep(end.detach(), lambda number: _lose(end_kept)))
    return end_kept


def _lose(end):
    """The script put a file of its own in the place of a socket."""
    end.detach()
    if _wakeup and end in _wakeup:
        _unset()


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
    if not _wakeup:
        return
    _stop_setting_aside()
    reader = _wakeup[0]
    _close(_unset())                        # which ends the thread, and that closes the reader
    if not _watched:
        _close(reader)


def _unset():
    """Have the wakeup descriptor be what it would be without us; returns the writer that it was."""
    global _wakeup
    (_, writer, ours), _wakeup = _wakeup, None
    for args, more in (_theirs, ((-1,), {})):
        try:
            current = _set_wakeup(*args, **more)
            if current != ours:
                _set_wakeup(current)        # somebody's who passed us by
            break
        except (OSError, ValueError):
            pass        # closed meanwhile; another thread than the main one
    return writer


def _read(reader):
    """Return what this process wrote to a reader (bytes), without waiting; None when there will be no
    more."""
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


def _receive(reader):
    """Read what came, hand it on to the wakeup descriptor that others have set, and note it; returns it as
    `_read` does."""
    global _unhanded
    with _handing:
        numbers = _read(reader)
        (theirs, *_), more = _theirs
        if numbers and theirs != -1:
            try:
                os.write(theirs, numbers)
            except OSError as error:
                if more.get("warn_on_full_buffer", True) or not isinstance(error, BlockingIOError):
                    _unhanded = error.strerror
    for number in numbers or b"":
        _note(number)
    return numbers


def _say_unhanded():
    """Say what `_receive` could not do; never while `_handing` is held, for which a print may wait whose lock
    this waits for."""
    global _unhanded
    why, _unhanded = _unhanded, None
    if why and _theirs[0][0] != -1:         # else its loop has ended
        say(f"a signal can't be handed on to the event loop ({why})")


def _watch(readers):
    """The thread: note what comes, and see that a signal whose default ends the process does end it."""
    while readers:
        numbers = {reader.fileno(): reader for reader in readers}
        try:
            ready = [numbers[number] for number in select_ready(list(numbers))]
        # One is closed, or there is no way to wait: a look at all of them
        except (OSError, ValueError, ImportError):
            time.sleep(PATIENCE_SECONDS)
            ready = list(readers)
        for reader in ready:
            number = readers[reader]
            with _handing:
                data = (_read if number else _receive)(reader) if is_ours(reader.fileno()) else None
                deadly = [] if number else list(filter(_is_deadly, data or b""))
            if _unhanded:
                time.sleep(0.05)            # trio closes its descriptor, then takes it back
            _say_unhanded()
            if data is None:
                del readers[reader]
                _close(reader)
            elif number is None:
                for came in deadly:
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
