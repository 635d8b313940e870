"""What Windows says of processes, consoles and the machine, which has no /proc. Imported there alone; the
server copy is without it."""

import ctypes
import os
import signal

from runicorn import local_disk
from runicorn.layout import RUNS, slug

CLOSING = (2, 5, 6)         # CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT
# PROCESS_QUERY_LIMITED_INFORMATION, STILL_ACTIVE, ERROR_ACCESS_DENIED
QUERY, ALIVE, DENIED = 0x1000, 259, 5
ESCAPES = 4                                     # ENABLE_VIRTUAL_TERMINAL_PROCESSING


def start(pid):
    """Return when a process of this machine began (int, 100 ns), 0 if there is none, None if it may not be
    asked. Never os.kill(pid, 0), which ends the process there."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(QUERY, False, os.getpid() if pid == "self" else pid))
    if not handle:
        return None if ctypes.get_last_error() == DENIED else 0
    times, code = (ctypes.c_uint64 * 4)(), ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.GetProcessTimes(handle, *(ctypes.byref(times, 8 * index) for index in range(4)))
    kernel.CloseHandle(handle)
    return times[0] if code.value == ALIVE else 0


def cpu_times():
    """Return (busy, possible) CPU time so far."""
    times = (ctypes.c_uint64 * 3)()             # idle; kernel, which has the idle time in it; user
    ctypes.windll.kernel32.GetSystemTimes(*(ctypes.byref(times, 8 * index) for index in range(3)))
    return times[1] + times[2] - times[0], times[1] + times[2]


def memory():
    """Return [used, total] in bytes of this machine's memory."""
    # MEMORYSTATUSEX: its size, and load in the upper half; total and free in bytes, …
    status = (ctypes.c_uint64 * 8)(64)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return [status[1] - status[2], status[1]]


_closing = None             # what Windows calls when the console goes, while we want that


def at_close(end):
    """Have end(SIGBREAK) called, in a thread of Windows', before a closed console, the user's leaving or the
    machine's shutdown ends this
    process: it dies as soon as that returns, whatever Python's handler of the signal would do. end: None for
    no more of it."""
    global _closing
    kernel = ctypes.windll.kernel32
    if _closing:
        kernel.SetConsoleCtrlHandler(_closing, False)
    _closing = end and ctypes.WINFUNCTYPE(ctypes.c_int,
                                          ctypes.c_ulong)(lambda event: event in CLOSING
                                                          and end(signal.SIGBREAK) or 0)
    if _closing:
        kernel.SetConsoleCtrlHandler(_closing, True)


def console(stream):
    """Return (handle, mode) of the console that a stream is; the mode is 0 where it is none: a pipe, a file,
    NUL. Raises OSError or ValueError for what is no stream of the system's."""
    from msvcrt import get_osfhandle
    handle, mode = ctypes.c_void_p(get_osfhandle(stream.fileno())), ctypes.c_ulong()
    return handle, mode.value if ctypes.windll.kernel32.GetConsoleMode(handle, ctypes.byref(mode)) else 0


def escapes(stream):
    """Whether a console takes escape sequences; those since Windows 10 do once that is switched on, as it is
    here."""
    try:
        handle, mode = console(stream)
    except (OSError, ValueError):
        return False
    return bool(mode and (mode & ESCAPES or ctypes.windll.kernel32.SetConsoleMode(handle, mode | ESCAPES)))


def settle(root, spec, run_id):
    """Return the same so that runs can be written below the root (str) though their paths are long, and so
    that each name is spelled as its folder, if there is one: to this disk names that differ in case are one,
    and to whoever compares paths they are not.

    spec: has "project" and "name". run_id: or None.
    """
    root = local_disk.long(root) if len(root + spec["project"] + spec["name"]) > local_disk.ROOM else root
    project = _spelled(root, spec["project"])
    name = _spelled(os.path.join(root, slug(project)), spec["name"])
    runs = os.path.join(root, slug(project), slug(name), RUNS)
    return root, dict(spec, project=project, name=name), run_id and _spelled(runs, run_id)


def _spelled(folder, name):
    names = os.listdir(folder) if os.path.isdir(folder) else ()
    return name if name in names else next((twin for twin in names if twin.lower() == name.lower()), name)
