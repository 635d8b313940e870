"""The current run: that of this thread and task, the process's where there is none. `runicorn.log`, `run`,
`finish`, … act on it.

`init` makes its run current where it was called (a context variable: a thread begins without one, a task with
its parent's). The process's run is what other threads log to; once they did, they stay with that run until it
ends.
"""

import sys
import threading
import weakref
from contextvars import ContextVar

WAITING = ("threading", "queue")                # modules in which a thread without work waits …
# … within one of these
POOLS = ("concurrent.futures.thread", "multiprocessing.pool", "distributed.threadpoolexecutor")

_entry = ContextVar("runicorn", default=None)
_process = None         # the Entry that counts where there is none


class Entry:
    """A run and who began it."""

    __slots__ = ("run", "outer", "_thread", "_task")

    def __init__(self, run, outer):
        """outer: the Entry that is current again once `run` has ended, or None."""
        task = _current_task()
        self.run, self.outer, self._thread, self._task = (run, outer, threading.current_thread(),
                                                          task and weakref.ref(task))

    def is_ours(self):
        """Whether this thread and this very task began the run."""
        return self._thread is threading.current_thread() and (self._task and self._task()) is _current_task()

    def encloses_us(self):
        """Whether this task, or this thread outside of any task, began the run."""
        return self._thread is threading.current_thread() and (self._task is None or self.is_ours())

    def owner_lives(self):
        """Whether the thread and the task that began the run are still there."""
        task = self._task and self._task()
        return self._thread.is_alive() and (self._task is None or task is not None and not task.done())

    def is_of_main_thread(self):
        return self._thread is threading.main_thread()


def _current_task():
    asyncio = sys.modules.get("asyncio.tasks")          # never imported here: without it there is no task
    try:
        return asyncio.current_task() if asyncio else None
    except (AttributeError, RuntimeError):              # being imported; no loop runs in this thread
        return None


def _going(entry):
    """Return the first Entry from `entry` outwards whose run goes on, or None."""
    while entry is not None and entry.run.ended:
        entry = entry.outer
    return entry


def acting():
    """Return the current run; one that has ended if this thread or task began no other since, None if there
    never was one."""
    own = _entry.get()
    if own is not None and not own.run.ended:
        return own.run
    entry = _going(own)
    if entry is None and own is not None and own.encloses_us() and not (own.is_of_main_thread()
                                                                        and _going(_process)):
        # a thread that logs to its own run that ended is told so
        entry = own
    elif entry is None:
        entry = _going(_process) or _process
        if entry is not None and not entry.run.ended:
            _entry.set(entry)
    return entry and entry.run


def current_run():
    """Return the current run if it is going on, else None."""
    run = acting()
    return None if run is None or run.ended else run


def begin(new):
    """Make the run `new` current for this thread and task, and the process's unless that is another thread's
    and goes on."""
    global _process
    entry = Entry(new, _going(_entry.get()))
    _entry.set(entry)
    others = _going(_process)
    if others is None or others.encloses_us() or entry.is_of_main_thread() and not others.is_of_main_thread():
        _process = entry


def to_finish():
    """Return the run that `finish` ends, or None: never one that another thread or task began, unless there
    is none of our own."""
    own = entry = _entry.get()
    if own is None or not own.is_ours():
        return acting()
    while entry is not None and (entry.run.ended or not entry.is_ours()):
        entry = entry.outer
    return entry and entry.run


def to_replace():
    """Return (run, whether another living thread logs to it) of the run that one more `init` here takes the
    place of; the run is None if there is none, or a living other thread or task began it."""
    entry = _going(_entry.get()) or _going(_process)
    if entry is None or not entry.encloses_us() and entry.owner_lives():
        return None, False
    return entry.run, _logged_by_others(entry.run)


def _logged_by_others(run):
    living = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    frames = sys._current_frames()
    return any(not _is_idle(frames.get(ident)) for ident in living & run.threads)


def _is_idle(frame):
    """Whether a thread is a pool's that waits for work: what it logged before is over."""
    while frame is not None and frame.f_globals.get("__name__") in WAITING:
        frame = frame.f_back
    return frame is None or frame.f_globals.get("__name__") in POOLS
