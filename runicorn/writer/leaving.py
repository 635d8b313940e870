"""The ways out of a process that tell nobody: SystemExit, exec, and the children of multiprocessing."""

import functools
import gc
import os
import sys
import threading

from runicorn.writer.notice import say

GATE_SECONDS = 0.01         # threads that print have four times this long to come to the gate
HOLD_SECONDS = 1.0          # and stay there this long, while the rest of the exit goes on
CHILDREN = ("multiprocessing", "multiprocess", "billiard")      # and its forks, which pathos and Celery use


class _Code:
    """SystemExit.code, or a subclass's own, which says when Python itself reads it: the process ends with it,
    however it was raised."""

    def __init__(self, member, exits, inherited=False):
        # inherited: from a class that is no SystemExit
        self.member, self.exits, self.inherited = member, exits, inherited

    def __get__(self, error, kind=None, frame=sys._getframe):       # `sys` may be gone at the end
        try:
            frame(1)
            ends = False
        except ValueError:                  # no Python code asks
            ends = True
        # What Python prints before it leaves with 1, where the attribute raises
        code = error
        try:
            code = self._value(error, kind)
        finally:
            if ends:
                for exits in self.exits:
                    exits(error, code)
        return code

    def _value(self, error, kind):
        how = type(self.member)
        if error is not None and not hasattr(how, "__set__") and "code" in error.__dict__:
            return error.__dict__["code"]
        return how.__get__(self.member, error, kind) if hasattr(how, "__get__") else self.member

    def __set__(self, error, code):
        if hasattr(self.member, "__set__"):
            self.member.__set__(error, code)
        else:                               # a value of the class, which one of the instance hides
            error.__dict__["code"] = code

    def __delete__(self, error):
        if hasattr(self.member, "__set__"):
            self.member.__delete__(error)
        elif error.__dict__.pop("code", self) is self:
            raise AttributeError("code")

    def __reduce__(self):                   # a class that travels by value takes what was there
        return functools.reduce, (max, [self.member])


def watch_exit_code(exits):
    """Have `exits(error, code)`, which never raises, called when the interpreter ends with the SystemExit
    `error`.

    Nothing else tells the code. Python drops the exception before it calls what is registered for the exit,
    sets neither sys.last_exc nor sys.last_value and calls no hook; what stands before sys.exit never hears of
    `raise SystemExit(main())` and `exit(3)`; a class of ours named SystemExit would not catch what C code
    raises; sys.monitoring would slow every exception, and is Python 3.12's. But Python asks for the attribute
    `code`, which it looks up in the type, whose dict its mappingproxy refers to. So while a run goes on that
    entry is a descriptor with the same value around the one that was there: creating, raising, catching and
    copying pass it by. Subclasses that have a `code` of their own get one each, those to come from
    SystemExit.__init_subclass__. All copies of this module, and before Python 3.12 all subinterpreters, share
    it.
    """
    try:
        fields, = gc.get_referents(SystemExit.__dict__)
        code = fields["code"]
        if not hasattr(code, "exits"):
            code = _Code(code, [])
            _put(fields, code)
        if exits not in code.exits:
            code.exits.append(exits)
        exits = None
        if "__init_subclass__" not in fields:
            _put(fields, classmethod(_subclass_begins), "__init_subclass__")
        for kind in _subclasses(SystemExit):
            _watch_subclass(kind)
    # Not CPython, or another one
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        say(f"this Python does not tell with which code a script ends ({error}); only what calls sys.exit "
            f"is heard of")
    if (exits or sys.version_info < (3, 12)) and not hasattr(sys.exit, "whole"):
        _wrap_exit(sys.exit, exits)


def unwatch_exit_code(exits):
    """Have `exits` called no more; with the last one SystemExit is as it was."""
    code = SystemExit.__dict__.get("code")
    users = getattr(code, "exits", ())
    if exits in users:
        users.remove(exits)
        if not users:
            fields, = gc.get_referents(SystemExit.__dict__)
            fields.pop("__init_subclass__", None)
            _put(fields, code.member)
            for kind in _subclasses(SystemExit):
                own = vars(kind).get("code")
                if hasattr(own, "exits"):
                    if own.inherited:
                        type.__delattr__(kind, "code")
                    else:
                        type.__setattr__(kind, "code", own.member)


def _subclass_begins(kind, **more):
    super(SystemExit, kind).__init_subclass__(**more)
    _watch_subclass(kind)


def _watch_subclass(kind):
    try:
        home = next(base for base in kind.__mro__ if "code" in vars(base))
        member = vars(home)["code"]
        if not hasattr(member, "exits"):
            type.__setattr__(kind, "code", _Code(member, vars(SystemExit)["code"].exits, home is not kind))
    except (TypeError, AttributeError):
        pass                # a class that takes no attributes: of its exits sys.exit's are heard of


def _subclasses(kind):
    for each in type.__subclasses__(kind):
        yield each
        yield from _subclasses(each)


def _put(fields, value, name="code"):
    fields[name] = value
    (getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache)()


def _wrap_exit(original, exits):
    """Before Python 3.12 the sys.exit of C code makes no exception, just a type and a value; who catches it
    makes one."""
    @functools.wraps(original)
    def exit(*args):
        try:
            original(*args)
        except SystemExit as error:
            if exits:
                exits(error, error.code)
            raise
    exit.whole = sys.exit = exit
    for module in list(sys.modules.values()):       # `from sys import exit`
        names = getattr(module, "__dict__", {})
        if names.get("exit") is original:
            names["exit"] = exit


def watch_children(leave):
    """Have `leave()` called when this process ends, if it is a child of multiprocessing: those leave by
    os._exit."""
    for name in CHILDREN:
        process, util = (sys.modules.get(f"{name}.{module}") for module in ("process", "util"))
        if process and util and getattr(process.current_process(), "_parent_pid", None) is not None:
            util.Finalize(None, leave, exitpriority=0)


def watch_exec(running):
    """Have the runs that `running()` returns end when the process becomes another program, and go on when it
    can't.

    All of os.exec* come down to these two; posix_spawn and subprocess leave us here.
    """
    for name in ("execv", "execve"):
        setattr(os, name, _exec(getattr(os, name), running))


def _exec(original, running):
    @functools.wraps(original)
    def call(path, *args, **more):
        runs = running() if _may_run(path) else []
        for run in runs:
            run.step_aside({"status": "finished", "exit_code": None, "ended_by": "exec"})
        try:
            return original(path, *args, **more)
        finally:                            # it did not work
            for run in runs:
                run.go_on()
    return call


def _may_run(path):
    try:
        return isinstance(path, int) or os.access(path, os.X_OK)        # execvp tries every folder of PATH
    except (TypeError, ValueError):
        return False


def hold_prints():
    """The last thing before the interpreter stops: see that no other thread is within a write to stdout or
    stderr.

    One that Python stops there keeps the lock of the stream's buffer, and the flush that follows aborts the
    process. Without us that is rare, as long as nothing at exit lets other threads run. So those that print
    wait at a gate until Python has stopped them. It stays
    closed: opened here, it would let them in before Python begins to. But what is called next at exit may
    wait for one of them.
    """
    if threading.active_count() < 2:
        return
    gate, me = threading.Event(), threading.get_ident()

    def gated(real):
        def call(*args):
            # Who goes on may be waited for at exit
            if threading.get_ident() != me and not gate.wait(HOLD_SECONDS):
                gate.set()
            return real(*args)
        return call
    streams = sys.stdout, sys.stderr
    for stream in streams:
        for target in (getattr(stream, "buffer", None), stream):
            for name in ("write", "flush"):
                try:
                    setattr(target, name, gated(getattr(target, name)))
                except (AttributeError, TypeError):
                    pass                # no stream, or one that takes no attributes
    sys.setswitchinterval(1e-4)         # threads that compute let them come
    for stream in streams * 2:
        gate.wait(GATE_SECONDS)
        try:
            stream.flush()              # waits for whoever is within a slow write
        except (OSError, ValueError, AttributeError):
            pass                        # full, closed, or no stream: Python's own flush says it
