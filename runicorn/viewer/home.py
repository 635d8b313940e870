"""Runicorn's own folder while a viewer runs: that nothing can be kept in it any more is said once; reading
goes on."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

LOOK_SECONDS = 5.0
LEAST = 4096                # bytes without which no file can be written


class Home:
    """The folder `path` (Path) of a viewer's settings, overlay and caches."""

    def __init__(self, path: Path, clock: Callable[..., Any] = time.monotonic) -> None:
        self.path, self._clock = path, clock
        self._looked_at = float("-inf")
        self._reported = self._noticed = False              # whether it was said, and by what `look` sees
        self.refusal = None         # why nothing can be kept, in the system's words, as the pages show it

    def look(self):
        """Find out from time to time, without writing, whether anything can be kept here, and say if not.
        Returns whether that is news."""
        before, now = self.refusal, self._clock()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            try:
                code = (None if os.access(self.path, os.W_OK) else errno.EROFS if _read_only(self.path)
                        else errno.EACCES)
                code = errno.ENOSPC if code is None and shutil.disk_usage(self.path).free < LEAST else code
            except OSError as error:
                code = error.errno
            if code is None:
                # a quota, which nobody sees, is said once
                self._reported, self._noticed = self._reported and not self._noticed, False
                self.refusal = None
            else:
                self._noticed, self.refusal = True, os.strerror(code)
                self.tell(OSError(code, self.refusal))
        return self.refusal != before

    def tell(self, error, start=False):
        """Say once while it lasts that nothing can be kept, for the reason that `error` (OSError) has. start:
        at the viewer's."""
        if not self._reported:
            self._reported = True
            print(f"runicorn: {self.path} can't be written ({error.strerror or error}): changes are "
                  f"refused, what is read is not kept, "
                  + ("and other commands don't find this viewer" if start else "and reading goes on"),
                  file=sys.stderr)

    def tell_of(self, error):
        """The same of what a RunicornError was raised from, if that is the disk's refusal."""
        if isinstance(error.__cause__, OSError):
            self.tell(error.__cause__)


def _read_only(path):
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)
