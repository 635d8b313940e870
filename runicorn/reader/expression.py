"""A regular expression searched for in a process of its own, so that one that takes for ever holds nobody up
and can be stopped."""

from __future__ import annotations

import atexit
import collections
import json
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from runicorn.errors import BusyError, UsageError
from runicorn.reader import log_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# s between two signs that it is still looking; writing one shows whether the client is still there
WAIT = 0.5
BLOCK_SECONDS = 10      # that one block may take; a sane expression takes milliseconds
MOST = 8                # searches at once
SET_PIPE_SIZE = 1031    # F_SETPIPE_SZ of Linux, which Python's fcntl names from 3.10 on
# Bytes of the pipe to it, where the system lets us: so the next block waits there while one is searched
PIPE = 1 << 20

_places = threading.BoundedSemaphore(MOST)
_at_work = set()        # processes


@atexit.register
def _end_all():
    """A thread that is searching when the viewer ends has no time to clean up. (After SIGKILL, the alarm in
    `log_lines` does it.)"""
    for process in list(_at_work):
        process.kill()


class Expression:
    """`with Expression(pattern, ignore_case) as expression:` starts the process and ends it, whatever it is
    doing.

    The thread of one request uses it; a thread of its own listens to the process. Raises UsageError if the
    pattern is no regular expression, BusyError while MOST searches are under way.
    """

    def __init__(self, pattern: str, ignore_case: bool) -> None:
        try:
            log_lines.matcher(pattern, ignore_case)
        except (log_lines.re.error, OverflowError, RecursionError) as error:
            raise UsageError(f"{pattern!r} is no regular expression: {error}", code="usage",
                             said="expression_bad", pattern=pattern[:200]) from error
        self.pattern, self._request = pattern, [pattern, ignore_case, 2 * BLOCK_SECONDS]
        self._answers = queue.SimpleQueue()

    def __enter__(self):
        if not _places.acquire(blocking=False):
            raise BusyError(f"{MOST} searches by expression are under way; stop one of them", code="busy",
                            said="expression_many", n=MOST)
        source = log_lines.__loader__.get_source(log_lines.__name__)        # works from a zip, too
        self.process = subprocess.Popen([sys.executable, "-S", "-I", "-c", source], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        _at_work.add(self.process)
        self._room = _widened(self.process.stdin)
        threading.Thread(target=self._listen, name="expression", daemon=True).start()
        self._say(json.dumps(self._request).encode() + b"\n")
        return self

    def __exit__(self, *_):
        _at_work.discard(self.process)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        _places.release()

    def search(self, blocks: Iterator[Any]) -> Iterator[Any]:
        """Yield (at, block, places) of each (at, block) in `blocks`: the places where lines of the block
        (bytes) begin that fit (a list of int); and before that (at, block, None) every WAIT seconds. Raises
        UsageError if one takes more than BLOCK_SECONDS.
        """
        sent = collections.deque()
        for offset, block in blocks:
            if sent and 8 + len(block) > self._room:
                yield from self._answer(*sent.popleft())        # a write that has to wait could not be ended
            self._say(len(block).to_bytes(8, "big") + block)
            sent.append((offset, block))
            if len(sent) > 1:
                yield from self._answer(*sent.popleft())
        while sent:
            yield from self._answer(*sent.popleft())

    def _answer(self, offset, block):
        for _ in range(int(BLOCK_SECONDS / WAIT)):
            try:
                answer = self._answers.get(timeout=WAIT)
            except queue.Empty:
                yield offset, block, None
                continue
            if answer:
                yield offset, block, json.loads(answer)
                return
            break
        raise UsageError(f"the expression {self.pattern[:200]!r} takes too long; make it simpler: repeats "
                         f"within repeats, such as (a+)+, " "can try more ways than there is time",
                         code="usage", said="expression_slow", pattern=self.pattern[:200])

    def _say(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except OSError:
            self._answers.put(b"")      # it ended: `places` says so

    def _listen(self):
        with self.process.stdout as answers:
            for answer in answers:
                self._answers.put(answer)
        self._answers.put(b"")


def _widened(pipe):
    """Make a pipe hold PIPE bytes; returns how many surely fit into it beside what is read (int)."""
    try:
        import fcntl
        return fcntl.fcntl(pipe, SET_PIPE_SIZE, PIPE)
    except (ImportError, OSError):
        return 0                        # not Linux, or no more memory for pipes: one block after the other
