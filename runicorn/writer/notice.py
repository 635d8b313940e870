"""Manners in a stranger's process: one line on stderr for what went wrong, said once, and which exceptions
are none of ours."""

import _signal  # not `signal`, which takes longer to import, and a descriptor
import os
import sys
import threading

FORK_SECONDS = 10.0     # a fork waits this long at most for what must not be cut in two
# Distinct lines a process says at most: a loop of new troubles must not flood a terminal
SAID_LIMIT = 1000
OWN_PACKAGES = ("runicorn", "json")     # whose code runs within our calls and calls no code of the user's
_sentences = set()
_lock = threading.RLock()      # re-entrant: a signal handler may fork, or be heard of, in the middle of it
_fork_state = threading.local()       # "by_fork": whether the thread that forks holds it


def uncut():
    """Return what to do things under that no fork may cut in two, in our thread above all: a child made in
    the middle of an import, or of a write to stderr, would have its lock taken for ever, by a thread that it
    does not have."""
    return _lock


def name_unknown(call, keywords):
    """Say once for each keyword that this call does not know it."""
    for keyword in keywords:
        say(f"{call}({keyword}=…) is not known here and was ignored", once=("unknown", call, keyword))


def say(message, once=None):
    """Print "runicorn: `message`" to stderr unless it, or what `once` names, was said before in this
    process."""
    key = once or message
    if key in _sentences or len(_sentences) >= SAID_LIMIT:
        return
    _sentences.add(key)
    # The text of an array, or of an error, has several
    line = f"runicorn: {' '.join(message.splitlines())}\n"
    try:
        with _lock:
            try:
                sys.stderr.write(line)
            # An ASCII terminal that is strict about it, half a character in a name
            except UnicodeError:
                sys.stderr.write(line.encode("ascii", "backslashreplace").decode())
            sys.stderr.flush()
    # Stderr is None, closed or somebody's broken object: there is nobody left to tell
    except Exception as error:
        if is_interrupt(error):
            raise


def say_unwritten(path, error, folder=None):
    """Say that the file `path` can't be written; of a run whose folder is gone it is said once, whichever
    file noticed.

    error: the OSError. folder: the run's, if it is not the file's own.
    """
    folder = os.fspath(folder or os.path.dirname(path))
    if os.path.isdir(folder):
        say(f"{path} can't be written ({error.strerror or error}); training goes on, and logging when it can",
            once=("unwritten", str(path)))
    else:
        say_gone(folder)


def say_gone(folder):
    """Say that the folder of a run is gone."""
    say(f"{folder} was removed; training goes on, and logging when the folder is back",
        once=("gone", str(folder)))


# -- exceptions that are not ours ----------------------------------------------------------------------------

def is_interrupt(error, data=False):
    """Whether `error`, caught around code of ours, was raised into it from outside: by a signal handler (a
    time limit) or by another thread. Such an error is the training's; whoever catches it must raise it again.

    data: whether what was called works on values of the user's, in which C code finds any fault.

    Ours are: what a `raise` statement of the code that we called raised, and what C code raised that it
    called, which says why. An exception put into a thread (PyThreadState_SetAsyncExc) is raised by no
    statement, and has no arguments or a class of its own. A handler is called with the frame it interrupts,
    and so is known whatever kind of callable it is; one in C leaves no frame.
    """
    trace, codes = error.__traceback__, _handlers()
    if trace is None:
        return False
    while trace.tb_next is not None:
        if _is_handler(trace.tb_next.tb_frame, trace.tb_frame, codes):
            return True
        trace = trace.tb_next
    if _instruction(trace) == RAISE or isinstance(error, (MemoryError, RecursionError)):
        return False
    if not error.args:
        return True
    if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in OWN_PACKAGES:
        return False
    if type(error).__module__.partition(".")[0] not in ("builtins", *OWN_PACKAGES):
        return not data
    return None in codes and not data and not isinstance(error, OSError)


def _handlers():
    """Return the code objects of the signal handlers there are (set); None stands for one in C."""
    return {_code(handler) for handler in map(_signal.getsignal, _signal.valid_signals())
            if callable(handler) and handler is not _signal.default_int_handler}


def _code(handler):
    for _ in range(10):         # a bound method of a partial of a callable object …
        code = getattr(handler, "__code__", None)
        if code is not None:
            return code
        inner = getattr(handler, "__func__", None) or getattr(handler, "func", None)
        handler = inner or type(handler).__call__
    return None


def _is_handler(frame, interrupted, codes):
    code = frame.f_code
    if code in codes:
        return True
    count = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[:count + bool(code.co_flags & 4)]          # 4: it takes *args
    values = [frame.f_locals.get(name) for name in names]
    return any(value is interrupted or type(value) is tuple and any(item is interrupted for item in value)
               for value in values)


def _instruction(trace):
    return trace.tb_frame.f_code.co_code[trace.tb_lasti]


def _raise_instruction():
    """Return the opcode of a `raise` statement: another Python, another number."""
    try:
        raise LookupError
    except LookupError as error:
        return _instruction(error.__traceback__)


RAISE = _raise_instruction()


# -- forks ---------------------------------------------------------------------------------------------------

def _hold():
    _fork_state.by_fork = _lock.acquire(timeout=FORK_SECONDS)


def _let_go():
    if _fork_state.__dict__.pop("by_fork", False):
        _lock.release()


def _in_child():
    global _lock
    if _fork_state.__dict__.get("by_fork", True):
        _let_go()
    else:
        _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_in_child)
