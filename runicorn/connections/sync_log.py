"""HOME/logs/sync.log: what the connections did, rotated, a line an event. No secret and no control character
gets into it."""

import logging
import os
from pathlib import Path

from runicorn import disk, layout, local_disk

LOG_BYTES, LOG_FILES = 1 << 20, 3


class _Clean(logging.Formatter):
    """One line an event, no control characters from a server, no secret even if somebody wrote one into a
    message."""

    def __init__(self, secrets):
        super().__init__("%(asctime)s [%(connection)s] %(message)s")
        self._secrets = secrets

    def format(self, record):
        text = super().format(record)
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return "".join(c if c.isprintable() else ("\n    " if c == "\n" else " ") for c in text)


class _Appender(logging.Handler):
    """Appends each line under a lock, with the file closed between two: several processes write it, and
    Windows renames no file that one of them has open."""

    def __init__(self, path):
        super().__init__()
        self.path = os.fspath(path)
        self._trouble = None            # what keeps the lines from being written, until one is

    def emit(self, record):
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            with local_disk.locked(os.path.dirname(self.path)):
                if os.path.exists(self.path) and os.path.getsize(self.path) + len(line) > LOG_BYTES:
                    self._rotate()
                with open(_appending(self.path), "ab") as file:
                    file.write(line)
            self._trouble = None
        except OSError as error:        # said once while it lasts: the mirror goes on
            if error.strerror != self._trouble:
                self._trouble = error.strerror
                _unwritten(self.path, error)
        except Exception:
            self.handleError(record)

    def _rotate(self):
        """Move sync.log to sync.log.1, that to sync.log.2, and so on."""
        names = [self.path, *(f"{self.path}.{number}" for number in range(1, LOG_FILES + 1))]
        for older, newer in reversed(list(zip(names[1:], names))):
            if os.path.exists(newer):
                disk.replace(newer, older)


def _appending(path):
    """Open the file for lines at its end; returns the descriptor. Raises OSError."""
    return layout.open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _unwritten(path, error):
    logging.getLogger("runicorn").warning("%s can't be written (%s); the sync's story is not kept", path,
                                          error.strerror or error)


def opened(home, secrets):
    """Return the logger of HOME/logs/sync.log, rotated; `secrets()` gives the texts that must never be in
    it."""
    logger = logging.Logger("sync", logging.INFO)
    path = Path(home) / "logs" / "sync.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(_appending(path), "ab"):
            handler = _Appender(path)
    except OSError as error:
        _unwritten(path, error)
        handler = logging.NullHandler()
    handler.setFormatter(_Clean(secrets))
    logger.addHandler(handler)
    return logger
