"""How a run ends: what ended the script is noted as it happens, and the verdict is given when its process
leaves."""

import atexit
import os
import sys
import threading
from functools import partial

from runicorn.writer import signals
from runicorn.writer.leaving import (
    hold_prints,
    unwatch_exit_code,
    watch_children,
    watch_exec,
    watch_exit_code,
)
from runicorn.writer.notice import is_interrupt, say

TRIES = 9                   # of a step of ours in the middle of which a signal handler raises

# What is running: objects with `conclude(verdict, hurry)`, `state_end(verdict)`, `abandon()` and `rows`
_watched = []
# Run -> the thread other than the main one that began it; once that died, its (verdict, rows of the run)
_threads = {}
# Run -> (JobReturn of the job of Hydra's within which it began, its folder's key in a multirun or None)
_jobs = {}
_noted = {}                 # "error", "exit", "cell", "thread", "before": what happened, newest wins
_hooks = {}                 # name -> the function before ours
_owner = None               # the process that all this belongs to


def watch(run):
    """Have `run.conclude(verdict)` called when the process ends. Call it in the main thread to hear of
    signals."""
    if _owner != os.getpid():
        _begin()
    _noted.pop("cell", None)
    _watched.append(run)
    thread = threading.current_thread()
    if thread is not threading.main_thread():
        _threads[run] = thread
        _watch_ray(thread)
    watch_exit_code(_exits)
    signals.take(_end_by_signal)
    watch_children(_at_exit)
    _watch_cells()
    _watch_hydra(run)


def forget(run):
    """`run` is over; with the last one the process is left as it was found."""
    error = sys.exc_info()[1]
    # `finally: run.finish()`: should nobody catch this error, the run failed after all
    if error is not None:
        error.__dict__.setdefault("_runicorn", _Ended()).runs.append(run)
    if run in _watched:
        _watched.remove(run)
    _threads.pop(run, None)
    _jobs.pop(run, None)
    if not _watched and _owner == os.getpid():
        signals.give_back()
        if error is None:
            unwatch_exit_code(_exits)


def each(steps):
    """Take every step though somebody's signal handler may raise in the middle of one; that one is taken
    again.

    Returns what was raised last (an exception of the script's, to be raised when all is done) or None. Faults
    of ours are said.
    """
    raised = None
    for step in steps:
        for _ in range(TRIES):
            try:
                step()
                break
            except BaseException as error:
                if isinstance(error, Exception) and not is_interrupt(error):
                    say(f"{getattr(step, '__name__', 'the end of the run')}: {type(error).__name__}: {error}")
                    break
                raised = error
    return raised


# -- the verdict ---------------------------------------------------------------------------------------------

def verdict_now(exit_code=None):
    """Return how a run ended whose script calls `finish` now (see `verdict`), perhaps on the way out with an
    exception."""
    error = sys.exc_info()[1]
    if exit_code is None and isinstance(error, (SystemExit, KeyboardInterrupt)):
        return verdict_of(error)
    return verdict(exit_code)


def verdict_by_init(run):
    """Return how a run ended that the next `init` ends: by the error that is being handled or ended its
    thread, or nobody knows how."""
    error = sys.exc_info()[1]
    if error is not None:
        return verdict_of(error)
    end = _fallen(run) or _noted.get("cell") or verdict()
    return dict(end, exit_code=None, ended_by="init") if end["status"] == "finished" else end


def verdict(exit_code=None, leaving=False):
    """Return how a run ended that ends now: {"status", "exit_code", "signal"?, "error"?, "traceback"?,
    "thread_error"?, "ended_by"?}.

    exit_code: as the script says it; else the one that Python leaves with. leaving: whether it does, so that
    without any it is 0.
    """
    name, error = signals.stopped(), _uncaught()
    code = (_noted.get("exit", 0 if leaving and not isinstance(error, KeyboardInterrupt) else None)
            if exit_code is None else exit_code)
    end = {"status": "finished", "exit_code": code or 0}
    if isinstance(error, KeyboardInterrupt):
        code = code if type(error) is KeyboardInterrupt else code or 1
        end = {"status": "interrupted", "exit_code": code, "signal": name or "SIGINT"}
    elif error is not None:
        end = dict({"status": "failed", "exit_code": code or 1}, **described(error))
    elif name and exit_code is None:
        end = {"status": "interrupted", "exit_code": code, "signal": name}
    elif code:
        end["status"] = "failed"
    if "thread" in _noted:
        end["thread_error"] = _noted["thread"]
    return end


def verdict_of(error):
    """Return how a run ended that the exception `error` left (see `verdict`)."""
    if isinstance(error, SystemExit):
        return verdict(exit_code(error.code))
    if isinstance(error, KeyboardInterrupt):
        return {"status": "interrupted", "exit_code": 130, "signal": signals.stopped() or "SIGINT"}
    if any(kind.__name__ == "TrialPruned" and kind.__module__.startswith("optuna.")
           for kind in type(error).__mro__):
        return {"status": "finished", "exit_code": None, "ended_by": "pruning"}
    return dict({"status": "failed", "exit_code": 1}, **described(error))


def described(error):
    """Return {"error": how Python names it, "traceback": the last 40 lines of that} of an exception, as far
    as it can be described. Of long texts, such as all that doesn't fit in a checkpoint, their beginning and
    end."""
    try:
        import traceback
        named = traceback.format_exception_only(type(error), error)
        report, own = ("".join(traceback.format_exception(type(error), error, error.__traceback__)),
                       "".join(named))
        # after a SyntaxError's place
        text = "".join(named[next((n for n, line in enumerate(named) if line[:1] != " "), 0):]).strip()
        lines = (report[:-len(own)] if report.endswith(own) else report).splitlines()
        own = _short(own.rstrip()) if report.endswith(own) else ""
    # No descriptor left to import it, an error whose text can't be made, a handler that raises
    except Exception:
        text, own = type(error).__name__, ""
        try:
            text = f"{text}: {error}"
        # What the script's own exception raises instead of its text may be anything
        except Exception as failure:
            text = f"{text} (its text can't be made: {type(failure).__name__})"
        lines = ["Traceback (most recent call last):", *_places(error.__traceback__), _short(text)]
    return {"error": _short(text), "traceback": "\n".join(
                                                          [*(line[:500] for line in lines[-40:]),
                                                           *own.splitlines()])}


def _short(text):
    return text if len(text) <= 2000 else f"{text[:1500]} … {text[-500:]}"


def _places(trace):
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}'
        trace = trace.tb_next


def exit_code(status):
    """Return what the shell says of `sys.exit(status)` (int): any object but an int and None is printed, and
    1."""
    if status is None:
        return 0
    if not isinstance(status, int):
        return 1
    # As PyLong_AsLong and exit(3) cut it
    return int(status) & 0xff if -1 << 63 <= status < 1 << 63 else 0xff


# -- what happens --------------------------------------------------------------------------------------------

class _Ended:
    """The runs that ended while an error was on its way, kept with the error: an id of it would be somebody
    else's one day."""

    def __init__(self):
        self.runs = []

    def __reduce__(self):               # an error that travels to another process takes no runs along
        return str, ()


def _begin():
    global _owner
    fresh = _owner is None
    _owner = os.getpid()
    for before in (_watched, _threads, _jobs, _noted):
        before.clear()
    _noted["before"] = id(_last_error())
    if fresh:
        _hooks.update(excepthook=sys.excepthook, threading=threading.excepthook)
        sys.excepthook, threading.excepthook = _excepthook, _thread_excepthook
        sys.unraisablehook = partial(_unraisable, sys.unraisablehook, _skip_ours)
        watch_exec(lambda: list(_watched) if _owner == os.getpid() else [])
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=signals.hold, after_in_parent=signals.let_go, after_in_child=_forked)
    # What a signal handler raises when it begins costs one call, not the verdict
    for _ in range(3):
        atexit.register(_at_exit)


def _exits(error, code):
    """Python ends with the SystemExit `error`."""
    if _owner == os.getpid():
        _noted["exit"] = code = exit_code(code)
        if code:
            each([partial(_amend, error, code)])


def _excepthook(kind, error, trace):
    if _owner == os.getpid() and error is _last_error():    # else somebody only has it printed
        _skip_ours(trace)
        if isinstance(error, SystemExit):       # python -i shows it and goes on
            _exits(error, error.code)
        else:
            _noted["error"] = (error, _rows())
            each([_say_uncaught])
    _hooks["excepthook"](kind, error, trace)


def _unraisable(before, skip, args):
    """An error that can't be raised, such as sys.exit's in __del__ or at exit. The modules may be gone: what
    it calls is given."""
    skip(args.exc_traceback)
    before(args)


def _skip_ours(trace):
    """Take what stands before a stream's functions or sys.exit, and what that calls, out of a traceback, as
    it would be without us."""
    while trace:
        within = False
        while trace.tb_next:
            name = trace.tb_next.tb_frame.f_globals.get("__name__") or ""
            within = (name in ("runicorn.writer.capture", "runicorn.writer.leaving") or within
                      and name.startswith("runicorn."))
            if not within:
                break
            trace.tb_next = trace.tb_next.tb_next
        trace = trace.tb_next


def _say_uncaught():
    """Write the verdict before anything else is done about an error that nobody caught: other threads may go
    on for hours."""
    if not hasattr(sys, "ps1"):
        for run in list(_watched):
            run.state_end(_own(run, verdict()))


def _last_error():
    """Return the exception that nobody caught last: Python sets these before it calls sys.excepthook, whoever
    that is."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error if isinstance(error, BaseException) else None


def _uncaught():
    """Return the exception that ends this process, or None."""
    error, rows = _noted.get("error") or (_last_error(), None)
    # a session goes on after an error
    if error is None or isinstance(error, SystemExit) or (hasattr(sys, "ps1") and rows != _rows()):
        return None
    if rows is None:
        trace = error.__traceback__
        if trace is None or trace.tb_frame.f_back is not None or id(error) == _noted.get("before"):
            return None                 # somebody caught it and set it, such as a test runner
    return error


def _amend(error, code=1):
    """The runs that ended while `error`, or an error it came from, was on its way failed after all."""
    ids = set()
    while error is not None and id(error) not in ids:
        ids.add(id(error))
        ended = error.__dict__.get("_runicorn")
        for run in ended.runs if isinstance(ended, _Ended) and not isinstance(error, SystemExit) else ():
            end = verdict_of(error)
            run.state_end(dict(end, exit_code=code) if end["status"] == "failed" else end)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _thread_excepthook(args):
    if _owner == os.getpid() and args.exc_value is not None and args.exc_type is not SystemExit:
        name = args.thread.name if args.thread else "a thread"
        _noted["thread"] = f"{name}: {described(args.exc_value)['error']}"
        _thread_fell(args.thread, args.exc_value)
    _hooks["threading"](args)


def _thread_fell(thread, error):
    """The runs that `thread` began end as `error` says, which ended it."""
    for run, began in list(_threads.items()):
        if began is thread and run in _watched:
            _threads[run] = (verdict_of(error), run.rows)
            run.state_end(_threads[run][0])


def _watch_ray(thread):
    """Ray's RunnerThread, in which a trial runs, catches what it raises and hands it to the driver with this
    method."""
    hand_over = getattr(thread, "_propagate_exception", None)
    if callable(hand_over) and "_propagate_exception" not in vars(thread):
        def noted(error):
            cause = error.__cause__ if type(error).__name__ == "StartTraceback" else None
            each([partial(_thread_fell, thread, cause or error)])
            return hand_over(error)
        thread._propagate_exception = noted


def _watch_hydra(run):
    """Hydra keeps what a job raises, and goes on with the next one."""
    frame = sys._getframe() if "hydra.core.utils" in sys.modules else None
    while frame is not None:
        if frame.f_code.co_name == "run_job" and frame.f_globals.get("__name__") == "hydra.core.utils":
            _jobs[run] = frame.f_locals.get("ret"), frame.f_locals.get("job_subdir_key")
        frame = frame.f_back


def _fallen(run):
    """Return the verdict on a run whose own job or thread died of an error, unless others logged to it since;
    or None."""
    error = getattr(_jobs.get(run, (None,))[0], "_return_value", None)
    if isinstance(error, Exception):
        return verdict_of(error)
    end, rows = _threads[run] if isinstance(_threads.get(run), tuple) else (None, None)
    return end if rows == run.rows else None


def _own(run, end):
    """Return the verdict on a run where `end` is that on the process: Hydra leaves it with an error if any
    job of a multirun failed."""
    job, multirun = _jobs.get(run, (None, None))
    if multirun and end["status"] == "failed" and getattr(getattr(job, "status",
                                                                  None), "name", None) == "COMPLETED":
        return {"status": "finished", "exit_code": None, "ended_by": "job"}
    return _fallen(run) or end


def _rows():
    return sum(run.rows for run in _watched)


def _end_by_signal():
    """A signal is about to end the process."""
    if _owner == os.getpid():
        for run in list(_watched):
            # Which no default action ends: the training goes on until its container is killed
            if os.getpid() == 1:
                run.state_end(verdict())
            else:
                run.conclude(verdict(), hurry=True)


def _at_exit():
    """Python, or a child of multiprocessing, leaves. Whatever is raised meanwhile, every run gets its
    verdict."""
    if _owner != os.getpid():
        return
    error = sys.exc_info()[1]           # in a child of multiprocessing
    end = verdict_of(error) if error is not None else _noted.get("cell") or verdict(leaving=True)
    signals.leave()
    unwatch_exit_code(_exits)
    steps = [partial(run.conclude, _own(run, end)) for run in _watched]
    raised = each([*steps, partial(_amend, _uncaught()), *([hold_prints] if steps else [])])
    if type(_uncaught()) is KeyboardInterrupt:      # a subclass of it is an error to Python: 1
        # Python then leaves by SIGINT, unless any thread ran a text of code since (run_eval_code_obj in
        # Python/pythonrun.c clears the
        # flag), which the import of a named tuple does. So it is set once more.
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            pass
    if raised is not None and not isinstance(raised, KeyboardInterrupt):
        raise raised


def _forked():
    """A child has no run to conclude."""
    for run in _watched:
        run.abandon()
    _watched.clear()
    signals.forked()


# -- notebooks -----------------------------------------------------------------------------------------------

def _watch_cells():
    """In IPython: have it noted how each cell ended, for an error in the last one is how the notebook
    ended."""
    import builtins
    events = getattr(getattr(builtins, "get_ipython", lambda: None)(), "events", None)
    if events is not None and "cells" not in _hooks:
        _hooks["cells"] = events
        events.register("post_run_cell", _cell_ended)


def _cell_ended(result):
    error = getattr(result, "error_before_exec", None) or getattr(result, "error_in_exec", None)
    if error is None:
        _noted.pop("cell", None)
        signals.forget()
    elif _watched and _owner == os.getpid():
        _noted["cell"] = verdict_of(error)
