"""Does many like things in several processes, in their order, where this machine has the processors for it.
This travels to servers, too: Python 3.6 is enough, and nothing but the standard library is there."""
import collections
import contextlib
import marshal
import os
import sys

SHARE, MOST, MANY = 64, 4, 2000     # tasks at a time; processes; tasks that are worth it
PIPE_SIZE, ROOM = 1031, 1 << 20     # Linux' F_SETPIPE_SZ; bytes a process may be ahead of this one


def shared_out(tasks, act, skipped):
    """Yield what act(*task, a Counter like `skipped`) returns for each of the tasks (list), in their order.

    Of many tasks, other processes do a share each in turn, and tell what marshal takes. What they can't do,
    as they could not be made or were ended, is done here.
    """
    count, files, pids = _processes(len(tasks)), [], []
    try:
        with contextlib.suppress(OSError):
            while len(files) < count:
                _fork(tasks, act, count, files, pids)
        for number, start in enumerate(range(0, len(tasks), SHARE)):
            turn = number % count if count else 0
            answers, counts = _answered(files[turn]) if turn < len(files) else ([], None)
            if counts is None:
                yield from (act(*task, skipped) for task in tasks[start:start + SHARE])
            else:
                skipped.update(counts)
                yield from answers
    finally:
        for file in files:
            file.close()            # its process ends at the next share that it wants to tell
        for pid in pids:
            with contextlib.suppress(OSError):      # nobody's children are kept where SIGCHLD is ignored
                os.waitpid(pid, 0)


def _processes(count):
    """Return how many processes do so many tasks (int), 0 for none but this one: a copy of a process of
    several threads may wait for ever for what another thread held."""
    if count < MANY or not hasattr(os, "fork") or not hasattr(os, "sched_getaffinity"):
        return 0
    processors = min(MOST, len(os.sched_getaffinity(0)))
    return processors if processors > 1 and len(sys._current_frames()) == 1 else 0


def _answered(file):
    """Return (what `act` returned for each task of a share, {reason: count} of what it counted), ([], None)
    where the process that should tell was ended."""
    try:
        return marshal.loads(file.read(int.from_bytes(file.read(8), "big")))
    except (OSError, EOFError, ValueError, TypeError):
        return [], None


def _fork(tasks, act, count, files, pids):
    """Begin one of `count` processes; add the file to read from and its id to the lists. Raises OSError."""
    source, target = os.pipe()
    with contextlib.suppress(OSError):
        import fcntl  # Windows has none, and no fork

        fcntl.fcntl(target, PIPE_SIZE, ROOM)
    try:
        pid = os.fork()
    except OSError:
        os.close(source)
        os.close(target)
        raise
    if pid:
        os.close(target)
        files.append(open(source, "rb"))
        pids.append(pid)
        return
    try:
        for end in (source, *(file.fileno() for file in files)):    # else no write fails once nobody reads
            os.close(end)
        with open(target, "wb") as file:
            for start in range(len(files) * SHARE, len(tasks), count * SHARE):
                skipped = collections.Counter()
                answers = [act(*task, skipped) for task in tasks[start:start + SHARE]]
                data = marshal.dumps((answers, dict(skipped)))
                file.write(len(data).to_bytes(8, "big") + data)
                file.flush()
    finally:
        os._exit(0)                 # whatever happened: what it did not tell is done by who made it
