"""The passwords and passphrases of this process, by login: in memory only, never written anywhere."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def identity(connection: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a login is known by (tuple): two connections (dicts) of one identity share their
    secrets."""
    return tuple(connection[field] for field in ("host", "port", "user", "auth", "key"))


class Secrets:
    """Any thread may call any method."""

    def __init__(self):
        self._lock = threading.Lock()
        # Identity -> {"password", "passphrase", "user@host:port" of a jump host: the same}
        self._by_login = {}

    def of(self, connection: dict[str, Any]) -> dict[str, Any]:
        """Return the secrets of a connection (dict), which whoever logs in reads and fills."""
        with self._lock:
            return self._by_login.setdefault(identity(connection), {})

    def remember(self, connection: dict[str, Any], password: str | None = None,
                 passphrase: Any = None) -> bool:
        """Take what the user typed for a connection (dict); returns whether that was anything."""
        typed = {kind: text for kind, text in (("password", password), ("passphrase", passphrase)) if text}
        self.of(connection).update(typed)
        return bool(typed)

    def forget(self, connection: dict[str, Any]) -> None:
        """The connection (dict) is no more."""
        self._by_login.pop(identity(connection), None)

    def texts(self) -> list[str]:
        """Return all secrets (list of str), for a log that must not show them."""
        # no lock: the log calls this from the sync threads, which somebody holding the lock may be waiting
        # for
        kinds = list(self._by_login.values())
        # Of jump hosts
        kinds += [value for secrets in kinds for value in list(secrets.values()) if isinstance(value, dict)]
        return [text for secrets in kinds for text in list(secrets.values())
                if isinstance(text, str) and len(text) > 2]
