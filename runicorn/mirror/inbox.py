"""What other threads ask of a sync's thread: runs that somebody opened, and questions that wait for their
answers. Asks no server."""

from __future__ import annotations

import collections
from queue import Queue
from typing import TYPE_CHECKING

from runicorn import faults
from runicorn.errors import BusyError, FaultError, LineError, RemoteError, SftpError, SyncError

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger

    from runicorn.mirror.remote_root import RemoteRoot


class Inbox:
    """`open_run` and `ask` may be called from any thread, the rest belongs to the sync's."""

    def __init__(self, wake: Callable[[], None], log: Logger) -> None:
        """wake(): have the sync's thread look in here now."""
        self._wake, self._log = wake, log
        self._opened = collections.deque()      # run paths
        self.questions = collections.deque()    # (question, Queue for its answer)

    def __bool__(self) -> bool:
        return bool(self._opened or self.questions)

    def open_run(self, path: str) -> None:
        """Somebody opened the run `path`."""
        self._opened.append(path)
        self._wake()

    def ask(self, question, timeout):
        """Let the sync's thread answer `question(remote_root, now)` and wait `timeout` s. Raises queue.Empty,
        RemoteError, FaultError."""
        answer = Queue(1)
        self.questions.append((question, answer))
        self._wake()
        result = answer.get(timeout=timeout)
        if isinstance(result, Exception):
            raise result
        return result

    def opened(self):
        """Yield the runs (paths) that were opened; those that the caller does not come to stay."""
        while self._opened:
            yield self._opened.popleft()

    def answer(self, remote_root: RemoteRoot, now: float) -> None:
        """Answer whoever waits. Raises RemoteError, SyncError, BusyError, OSError where the line broke or
        this disk refuses."""
        while self.questions:
            question, answer = self.questions.popleft()
            try:
                answer.put(question(remote_root, now))
            except SftpError as error:
                answer.put(error)
            except (RemoteError, SyncError, BusyError, OSError) as error:
                answer.put(LineError(f"the line broke meanwhile: {error}"))
                raise
            # The question's own trouble: the line, and what is fetched over it, go on
            except Exception as error:
                answer.put(FaultError(faults.tell(self._log, error, "answering a question")))
