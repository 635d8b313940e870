"""Replacing and deleting files that somebody may have open: Windows refuses it then, for as long as they
have, and for the moment in which one is replaced it refuses to open it."""

import os
import time

# s; the most that anybody waits for a file that is open, and the training's own thread
PATIENCE, BRIEF = 2.0, 0.02


def patiently(act, *names, seconds=2.0):
    """Return act(*names), tried again for `seconds` while Windows refuses an open file. Raises OSError."""
    until = time.monotonic() + seconds
    while True:
        try:
            return act(*names)
        except OSError as error:    # access denied, sharing violation, a locked range, a mapped file
            if getattr(error, "winerror", None) not in (5, 32, 33, 1224) or time.monotonic() + 0.005 > until:
                raise
        time.sleep(0.005)


def replace(source, target, seconds=PATIENCE):
    """Rename the file `source` over `target`, which readers may have open. Raises OSError."""
    patiently(_replaced, source, target, seconds=seconds)


def _replaced(source, target):
    try:
        os.replace(source, target)
    except OSError as error:
        if os.path.isdir(target):
            error.winerror = None       # no reader makes room for it
        raise


def rename(source, target, seconds=PATIENCE):
    """Rename a file or a folder to a name that is free. Raises OSError."""
    patiently(os.rename, source, target, seconds=seconds)


def discard(path, seconds=PATIENCE):
    """Delete a file; returns whether it went. For what is only tidied up: nobody is told why it stays."""
    try:
        patiently(os.unlink, path, seconds=seconds)
    except OSError:
        return False
    return True


def discard_folder(folder):
    """Delete a folder that is empty; returns whether it went."""
    try:
        os.rmdir(folder)
    except OSError:
        return False
    return True


def discard_tree(folder):
    """Delete a folder and what is in it, as far as that goes; links are not followed. For what is only tidied
    up, as `discard`."""
    for above, folders, files in os.walk(folder, topdown=False):
        for name in files:
            discard(os.path.join(above, name))
        for path in (os.path.join(above, name) for name in folders):
            discard_folder(path) or discard(path)       # a link to a folder
    discard_folder(folder)
