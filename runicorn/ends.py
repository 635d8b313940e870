"""How a process ends: notes signals, exit codes and uncaught exceptions, lets them go their way, and gives the verdict at exit."""

import atexit
import os
import signal
import sys
import threading
import time

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
GRACE_SECONDS = 120.0       # a run that ends this soon after a signal was ended by it; later it had gone on

_watched = []               # what is running: objects with `conclude(verdict)`, `abandon()` and `rows`
_previous = {}              # signal number -> the handler before ours
_hooks = {}                 # name -> the function before ours
_noted = {}                 # "signal", "exit", "error", "thread_error": what happened, newest wins
_ended_under = {}           # id of an exception in flight -> the run that `finish` ended meanwhile
_mask = threading.local()   # "before": the signals a thread that forks had blocked
_owner = None               # the process that all this belongs to


def watch(run):
    """Have `run.conclude(verdict)` called when the process ends. Call it in the main thread to hear of signals."""
    global _owner
    if _owner != os.getpid():
        _begin()
    _noted.pop("exit", None)        # whoever begins a run has caught the SystemExit there was
    _watched.append(run)
    _take_signals()


def forget(run):
    """`run` is over; with the last one the process is left as it was found."""
    error = sys.exc_info()[1]
    if error is not None:           # `finally: run.finish()`: should nobody catch this error, the run failed after all
        _ended_under[id(error), type(error)] = run
    if run in _watched:
        _watched.remove(run)
    if not _watched and _owner == os.getpid():
        _give_signals_back()


def signalled():
    """Return the name of the signal that is ending this process (str) or None."""
    name, when = _noted.get("signal", (None, 0.0))
    return name if name and time.monotonic() - when < GRACE_SECONDS else None


def verdict_now(exit_code=None):
    """Return how a run ended whose script calls `finish` now (see `verdict`), perhaps on the way out with an exception."""
    error = sys.exc_info()[1]
    if exit_code is None and isinstance(error, (SystemExit, KeyboardInterrupt)):
        return verdict_of(error)
    return verdict(exit_code, leaving=False)


def verdict(exit_code=None, leaving=True):
    """Return how a run that ends now ended: {"status", "exit_code", "signal"?, "error"?, "traceback"?, "thread_error"?}.

    exit_code: as the script says it. leaving: whether the process is ending, so that a code given to sys.exit counts.
    """
    name, error = signalled(), _noted.get("error")
    code = exit_code if exit_code is not None or not leaving else _exit_code()
    found = {"status": "finished", "exit_code": code or 0}
    if error is not None:
        found.update(status="failed", exit_code=1 if exit_code is None else exit_code, **error)
    elif name and exit_code is None:
        found.update(status="interrupted", exit_code=code, signal=name)
    elif code:
        found["status"] = "failed"
    if "thread_error" in _noted:
        found["thread_error"] = _noted["thread_error"]
    return found


def verdict_of(error):
    """Return how a run ended that the exception `error` left (see `verdict`)."""
    if isinstance(error, SystemExit):
        return verdict(_code(error.code))
    if isinstance(error, KeyboardInterrupt):
        return {"status": "interrupted", "exit_code": 130, "signal": signalled() or "SIGINT"}
    return dict({"status": "failed", "exit_code": 1}, **described(error))


def described(error):
    """Return {"error": one line, "traceback": its last 40 lines} of an exception."""
    import traceback
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__)).splitlines()
    return {"error": "".join(traceback.format_exception_only(type(error), error)).strip()[-2000:], "traceback": "\n".join(lines[-40:])}


# -- hooks --------------------------------------------------------------------------------------------------------

def _begin():
    global _owner
    first = _owner is None
    _owner = os.getpid()
    for kept in (_watched, _noted, _ended_under):
        kept.clear()
    if first:
        _hooks.update(exit=sys.exit, excepthook=sys.excepthook, threading=threading.excepthook)
        sys.exit, sys.excepthook, threading.excepthook = _exit, _excepthook, _thread_excepthook
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_forked)
    atexit.register(_at_exit)


def _exit(status=None, /):
    """sys.exit, noted: at exit Python no longer knows the code. (`raise SystemExit(3)` outside a `with` block is seen by nobody
    and counts as finished.)"""
    if threading.current_thread() is threading.main_thread() and _owner == os.getpid():
        _noted["exit"] = (_code(status), _rows())
    raise SystemExit(status)


def _excepthook(kind, error, trace):
    if _owner == os.getpid():
        if issubclass(kind, KeyboardInterrupt):
            _noted["signal"] = ("SIGINT", time.monotonic())
        else:
            _noted["error"] = described(error)
        ended = _ended_under.get((id(error), kind))
        if ended is not None:
            ended.conclude(verdict_of(error))
    _hooks["excepthook"](kind, error, trace)


def _thread_excepthook(args):
    if _owner == os.getpid() and args.exc_value is not None and args.exc_type is not SystemExit:
        _noted["thread_error"] = f"{args.thread.name if args.thread else 'a thread'}: {described(args.exc_value)['error']}"
    _hooks["threading"](args)


def _at_exit():
    if _owner == os.getpid():
        for run in list(_watched):
            run.conclude(verdict())


def _exit_code():
    """The code given to sys.exit, unless the run logged after it: then somebody caught the SystemExit."""
    code, rows = _noted.get("exit", (None, None))
    return code if rows == _rows() else None


def _rows():
    return sum(run.rows for run in _watched)


def _code(status):
    if status is None:
        return 0
    return status if isinstance(status, int) else 1         # as Python itself does: any other object is printed, and 1


# -- signals ------------------------------------------------------------------------------------------------------

def _take_signals():
    if threading.current_thread() is not threading.main_thread():
        return
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) is _heard:
            continue
        before = signal.getsignal(number)
        if before is signal.SIG_DFL or callable(before):    # an ignored one stays ignored (nohup); None is C code's
            try:
                signal.signal(number, _heard)
            except ValueError:      # a C program's own thread, a subinterpreter: only signal knows which is the main one
                return
            _previous[number] = before


def _heard(number, frame):
    """Note the signal, then do what would have been done without us."""
    before = _previous.get(number, signal.SIG_DFL)
    mine = _owner == os.getpid()
    if mine:
        _noted["signal"] = (signal.Signals(number).name, time.monotonic())
    if callable(before):
        before(number, frame)
    elif signal.getsignal(number) is _heard:                # else somebody's handler calls ours: theirs decides
        if mine:
            for run in list(_watched):
                run.conclude(verdict())
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)                        # so that our parent sees the same wait status


def _give_signals_back():
    if threading.current_thread() is not threading.main_thread():
        return
    for number, before in list(_previous.items()):
        if signal.getsignal(number) is _heard:
            signal.signal(number, before)
        del _previous[number]


def _hold():
    """Before a fork: hold back our signals, for a child that is killed before it has its own handlers would forget it."""
    if _previous and hasattr(signal, "pthread_sigmask"):
        _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, list(_previous))


def _let_go():
    before = getattr(_mask, "before", None)
    if before is not None:
        _mask.before = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forked():
    """A child has no run to conclude, and dies by signals as if we were not there."""
    for run in _watched:
        run.abandon()
    _watched.clear()
    for number, before in _previous.items():
        if signal.getsignal(number) is _heard:
            signal.signal(number, before)
    _previous.clear()
    _let_go()
