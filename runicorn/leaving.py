"""The ways out of a process that tell nobody: SystemExit, exec, and the children of multiprocessing."""

import functools
import gc
import os
import sys
import threading
import time

GATE_SECONDS = 0.01         # threads that print have four times this long to come to the gate
CHILDREN = ("multiprocessing", "multiprocess", "billiard")      # and its forks, which pathos and Celery use


class _Code:
    """SystemExit.code, which says when Python itself reads it: then the process ends with it, however it was raised."""

    def __init__(self, member, exits):
        self._member, self._exits = member, exits

    def __get__(self, error, kind=None):
        if error is None:
            return self
        code = self._member.__get__(error, kind)
        try:
            sys._getframe(1)
        except ValueError:                  # no Python code asks
            self._exits(error, code)
        return code

    def __set__(self, error, code):
        self._member.__set__(error, code)

    def __delete__(self, error):
        self._member.__delete__(error)


def watch_exit_code(exits):
    """Have `exits(error, code)` called when the interpreter ends with the SystemExit `error`.

    At exit nothing else tells the code: `exit(3)`, `raise SystemExit(3)` and a `from sys import exit` from before us pass by sys.exit.
    The interpreter looks the attribute `code` up in the type, whose dict its mappingproxy refers to.
    """
    seen = None
    try:
        fields, = gc.get_referents(SystemExit.__dict__)
        fields["code"] = _Code(fields["code"], exits)
        sys._clear_type_cache()
    except (AttributeError, KeyError, TypeError, ValueError):       # not CPython
        seen = exits
    if seen or sys.version_info < (3, 12):
        _wrap_exit(sys.exit, seen)


def _wrap_exit(original, exits):
    """Before Python 3.12 the sys.exit of C code makes no exception, just a type and a value; `raise` makes one."""
    @functools.wraps(original)
    def exit(status=None, /):
        error = SystemExit(status)
        if exits:
            exits(error, status)
        raise error
    sys.exit = exit
    for module in list(sys.modules.values()):       # `from sys import exit`
        names = getattr(module, "__dict__", {})
        if names.get("exit") is original:
            names["exit"] = exit


def watch_children(leave):
    """Have `leave()` called when this process ends, if it is a child of multiprocessing: those leave by os._exit."""
    for name in CHILDREN:
        process, util = (sys.modules.get(f"{name}.{part}") for part in ("process", "util"))
        if process and util and getattr(process.current_process(), "_parent_pid", None) is not None:
            util.Finalize(None, leave, exitpriority=0)


def watch_exec(running):
    """Have the runs that `running()` returns end when the process becomes another program, and go on when it can't.

    All of os.exec* come down to these two; posix_spawn and subprocess leave us here.
    """
    for name in ("execv", "execve"):
        setattr(os, name, _exec(getattr(os, name), running))


def _exec(original, running):
    @functools.wraps(original)
    def execute(path, *arguments, **more):
        runs = running() if _may_run(path) else []
        for run in runs:
            run.step_aside({"status": "finished", "exit_code": None, "ended_by": "exec"})
        try:
            return original(path, *arguments, **more)
        finally:                            # it did not work
            for run in runs:
                run.go_on()
    return execute


def _may_run(path):
    try:
        return isinstance(path, int) or os.access(path, os.X_OK)        # execvp tries every folder of PATH
    except (TypeError, ValueError):
        return False


def hold_prints():
    """The last thing before the interpreter stops: see that no other thread is within a write to stdout or stderr.

    One that Python stops there keeps the lock of the stream's buffer, and the flush that follows aborts the process. Without us that
    is rare, as long as nothing at exit lets other threads run. So those that print wait at a gate until Python has stopped them.
    """
    if threading.active_count() < 2:
        return
    gate, leaver = threading.Lock(), threading.get_ident()

    def gated(original):
        def call(*given, **named):
            if threading.get_ident() != leaver:     # who flushes when whoever held the gate has been stopped
                with gate:
                    pass
            return original(*given, **named)
        return call
    with gate:
        for stream in (sys.stdout, sys.stderr):
            for target in (getattr(stream, "buffer", None), stream):
                for name in ("write", "flush"):
                    try:
                        setattr(target, name, gated(getattr(target, name)))
                    except Exception:
                        pass                # no stream, or one that takes no attributes
        sys.setswitchinterval(1e-4)         # threads that compute let them come
        for stream in (sys.stdout, sys.stderr) * 2:
            time.sleep(GATE_SECONDS)
            try:
                stream.flush()              # waits for whoever is within a slow write
            except Exception:
                pass                        # Python's own flush says it
