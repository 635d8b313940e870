"""HOME/logs/sync.log: what the connections did, rotated, a line an event. No secret and no control character gets into it."""

import logging
import logging.handlers
from pathlib import Path

LOG_BYTES, LOG_FILES = 1 << 20, 3


class _Clean(logging.Formatter):
    """One line an event, no control characters from a server, no secret even if somebody wrote one into a message."""

    def __init__(self, secrets):
        super().__init__("%(asctime)s [%(connection)s] %(message)s")
        self._secrets = secrets

    def format(self, record):
        text = super().format(record)
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return "".join(c if c.isprintable() else ("\n    " if c == "\n" else " ") for c in text)


def opened(home, secrets):
    """Return the logger of HOME/logs/sync.log, rotated; `secrets()` gives the texts that must never be in it."""
    logger = logging.Logger("sync", logging.INFO)
    folder = Path(home) / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(folder / "sync.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    except OSError as error:
        logging.getLogger("runicorn").warning("%s can't be written (%s); the sync's story is not kept", folder / "sync.log", error.strerror)
        handler = logging.NullHandler()
    handler.setFormatter(_Clean(secrets))
    logger.addHandler(handler)
    return logger
