"""Copies of files into a run's folder. Small ones are made at once; large ones in a thread, from a file that
is opened at once, so that the training neither waits nor has to leave it where it is. A file that is written
anew meanwhile is copied again, or left out and named."""

import os
import shutil
import threading
import time

from runicorn import disk
from runicorn.writer.notice import say
from runicorn.writer.values import attempt, reason

AT_ONCE = 4 << 20           # bytes of a file: a larger one is copied beside the training
CALL_SECONDS = 0.2          # that one call takes for small ones; the rest of them, too
OPEN = 64                   # files that wait open
BLOCK = 16 << 20
TRIES = 3                   # at a file that changes while it is copied
WAIT_SECONDS = 0.1          # between two looks whether all is copied: a signal handler gets its turn


def copy(path, target):
    """Copy a file, or what a folder holds, unless it is there in the same size and of the same time. Raises
    OSError."""
    if os.path.isdir(path):
        for folder, _, names in os.walk(path):
            for name in names:
                copy(os.path.join(folder, name), os.path.join(target, os.path.relpath(folder, path), name))
    elif not _is_there(path, target):
        with open(path, "rb") as file:
            _copy_open(file, path, target)


def _is_there(path, target):
    if not os.path.exists(target):
        return False
    ours, theirs = os.stat(target), os.stat(path)
    return (os.path.samestat(ours, theirs)
            or (ours.st_size, int(ours.st_mtime)) == (theirs.st_size, int(theirs.st_mtime)))


def _copy_open(file, path, target):
    """Copy an open file; returns whether it stayed as it was meanwhile. Where the disk can, nothing but its
    blocks' numbers is copied."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    before, part = os.fstat(file.fileno()), f"{target}.part"
    try:
        with open(part, "wb") as out:
            _pour(file, out)
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            disk.discard(part)
            return False
        os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.chmod(part, before.st_mode & 0o777)
        disk.replace(part, target)
        return True
    except OSError:
        disk.discard(part)
        raise


def _pour(file, out):
    file.seek(0)
    try:
        while os.copy_file_range(file.fileno(), out.fileno(), BLOCK):
            pass
    except (AttributeError, OSError):           # not on this system, or not between these disks
        file.seek(0)
        out.seek(0)
        out.truncate()
        shutil.copyfileobj(file, out, BLOCK)


class Copier:
    """Makes copies in a thread, one after the other."""

    def __init__(self):
        self._jobs, self._lock, self._thread, self._pid, self._is_given_up = ([], threading.RLock(), None,
                                                                              os.getpid(), False)

    def add(self, path, target, until=float("inf")):
        """Have a file copied, as it is now; returns whether it is there when this returns. until: the
        monotonic time from which small files have to wait, too. Raises OSError where it can't be read."""
        size, is_late = os.path.getsize(path), time.monotonic() > until
        if os.path.isdir(path) or size <= AT_ONCE and not is_late or _is_there(path, target):
            copy(path, target)
            return True
        room = shutil.disk_usage(_nearest(target)).free - self._waiting_bytes()
        if room < 2 * size:
            say(f"{path} is not copied into the run's folder: {max(0, room) >> 20} MiB are free there, and "
                f"as much as it takes "
                f"({size >> 20} MiB) stays for the training", once=("no room", path))
            return True
        # By now another may be put in its place
        file = open(path, "rb") if size > AT_ONCE and len(self._jobs) < OPEN else None
        self.then(lambda: self._copy(file or open(path, "rb"), path, target), size)
        return False

    def then(self, job, size=0):
        """Have `job` (a function) done when all that was added before is copied. size: bytes that it needs on
        the disk."""
        with self._lock:
            if self._pid != os.getpid():    # in a forked child there is no thread
                self.__init__()
            self._jobs.append((size, job))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="runicorn-copies", daemon=True)
                if attempt(self._thread.start)[1] is not None:
                    self._thread = None     # no room for one: the run's end does it

    def _waiting_bytes(self):
        with self._lock:
            return sum(size for size, _ in self._jobs)

    def _run(self):
        while True:
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs[0][1]
            error = attempt(job)[1]
            if error is not None:
                say(f"a file was not copied into the run's folder: {reason(error)}",
                    once=("copy", type(error)))
            with self._lock:
                self._jobs.pop(0)

    def _copy(self, file, path, target):
        with file:
            for _ in range(TRIES):
                if _is_there(path, target) or _copy_open(file, path, target):
                    return
        say(f"{path} was written anew each time it was being copied into the run's folder and is not kept; "
            f"give each checkpoint a name of "
            "its own", once=("changing", path))

    def wait(self, is_done=lambda: False):
        """Wait until all is copied, or `is_done` (a function) says that enough is."""
        if self._pid == os.getpid():
            if self._jobs and self._thread is None:
                self._run()
            while self._thread is not None and not is_done():
                time.sleep(WAIT_SECONDS)

    def wait_last(self):
        """The script is over: wait until all is copied. Ctrl+C ends this, and the next call waits no more."""
        if not self._is_given_up:
            self._is_given_up = True
            self.wait()
            self._is_given_up = False


def _nearest(path):
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


copier = Copier()
