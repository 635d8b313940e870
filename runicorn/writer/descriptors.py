"""The file descriptors of our files, in a process that may close, or put its own on, any descriptor there is.

Libraries that make a daemon close all descriptors, and a script that closes one twice closes whose number it
became. What Python code does this way passes ours by; what C code does is noticed by `mark`.
"""

import errno
import os
import time

from runicorn.writer.notice import is_interrupt

LOWEST = 3                  # 0, 1 and 2 are the standard streams, also where they are closed: prints go there
_moved = {}                 # descriptor of ours -> its owner's function that takes the number it moves to
_marks = {}                 # descriptor of ours -> what tells it from another's that has its number
_originals = {}             # name in os -> the function before ours
_in_place = False           # whether ours are in os, perhaps below somebody else's


def keep(descriptor, moved=lambda number: None):
    """Have `descriptor` outlive os.close, os.closerange and os.dup2; moved(number) is called when it is
    another number from now on. Returns the descriptor, which is not one of the standard streams'."""
    global _in_place
    if not _in_place:
        _in_place = True
        for function in OURS:
            _originals[function.__name__] = getattr(os, function.__name__)
            setattr(os, function.__name__, function)
    if descriptor < LOWEST:
        low, descriptor = descriptor, _high(descriptor)
        _originals["close"](low)
    _moved[descriptor], _marks[descriptor] = moved, mark(descriptor)
    return descriptor


def is_ours(descriptor):
    """Whether a descriptor that was kept is what it was then: C code may have closed it, and somebody else
    got its number."""
    try:
        return mark(descriptor) == _marks.get(descriptor)
    except OSError:
        return False


def release(descriptor):
    """`descriptor` is nothing special any more; with the last one `os` is as it was found."""
    global _in_place
    _moved.pop(descriptor, None)
    if _in_place and not _moved and all(getattr(os, function.__name__) is function for function in OURS):
        _in_place = False
        for name, function in _originals.items():
            setattr(os, name, function)


def mark(descriptor):
    """Return what stays the same while a descriptor is the same open file: its path, or device and inode
    without /proc.

    Not device and inode at once: to say them NFS has to write all to the server first. Raises OSError if
    nothing is open there.
    """
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError as error:    # no such system, or /proc closed to us since the script changed its user
        if is_interrupt(error):
            raise
        return identity(os.fstat(descriptor))


def identity(status):
    """Return (device, inode) of a stat result."""
    return status.st_dev, status.st_ino


def select_ready(descriptors, writing=False, seconds=None):
    """Return those of `descriptors` (list of int) that can be read, or written to, without waiting, or that
    fail: those closed, too, where there is poll(). It waits `seconds` at most (None: for ever). Raises
    OSError or ValueError where it can't wait."""
    import select
    if hasattr(select, "poll"):         # select() takes no number above 1023; Windows has nothing else
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
        try:
            return [descriptor for descriptor, _ in poll.poll(seconds if seconds is None else seconds * 1000)]
        except OSError:
            pass                        # the process may have fewer descriptors than these: poll(2)
    readable, writable, _ = select.select([] if writing else descriptors, descriptors if writing else [], [],
                                          seconds)
    return readable + writable


def _high(descriptor):
    """Return a duplicate of `descriptor` whose number is LOWEST or more. Raises OSError."""
    low = []
    try:
        while True:
            duplicate = os.dup(descriptor)
            if duplicate >= LOWEST:
                return duplicate
            low.append(duplicate)
    finally:
        for number in low:
            _originals["close"](number)


# -- in the place of os.close, os.closerange and os.dup2 -----------------------------------------------------

def close(fd):
    """Close a file descriptor."""
    if fd not in _moved:
        _originals["close"](fd)


def closerange(fd_low, fd_high, /):
    """Close all file descriptors from fd_low to fd_high (exclusive), ignoring errors."""
    for ours in sorted(_moved):
        if fd_low <= ours < fd_high:
            _originals["closerange"](fd_low, ours)
            fd_low = ours + 1
    _originals["closerange"](fd_low, fd_high)


def dup2(fd, fd2, inheritable=True):
    """Duplicate a file descriptor."""
    if fd2 in _moved and fd2 != fd:
        moved = _moved.pop(fd2)
        try:
            number = _high(fd2)
            _moved[number], _marks[number] = moved, _marks.pop(fd2)
        except OSError:         # no descriptor left: the owner opens its file again when it can
            number = -1
        moved(number)
    for tries in range(400):
        try:
            return _originals["dup2"](fd, fd2, inheritable)
        # While a thread, of ours maybe, is about to open that very descriptor: dup(2)
        except OSError as error:
            if error.errno != errno.EBUSY or tries == 399:
                raise
            time.sleep(0.005)


OURS = (close, closerange, dup2)
for _function in OURS:
    _function.__module__ = "os"         # so that pickle finds them where their callers do


def _in_child():
    """A forked child writes to none of them, and may close what it likes."""
    _moved.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
