"""What the machine may run short of while a viewer runs: how that shows, and how a request is refused
meanwhile."""

from __future__ import annotations

import contextlib
import json
import os

FILES_WANTED = 8192         # open files; many systems start a process with 1,024
CODE = "short"
SENTENCE = ("this machine is short of open files, threads or memory just now, "
            "so this was not answered: try again in a moment")


def refusal():
    """Return a whole answer (bytes) that needs no thread to be written."""
    body = json.dumps({"error": CODE, "message": SENTENCE}).encode()
    return (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: "
            b"1\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


class Spare:
    """A descriptor held for the moment in which there is no other."""

    def __init__(self):
        self._descriptor = None

    def keep(self) -> None:
        """Hold one, if there is one to have."""
        if self._descriptor is None:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY)

    def give_up(self) -> None:
        """Close it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def more_files() -> None:
    """Raise this process's own limit of open files as far as it may go without asking."""
    try:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        target = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
        if soft != resource.RLIM_INFINITY and soft < target:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    except (ImportError, ValueError, OSError):
        pass                    # Windows, or a system that says no: fewer sockets then
