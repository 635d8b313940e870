"""The passwords and passphrases of this process, by login: in memory only, never written anywhere."""

import threading


def identity(connection):
    """Return what a login is known by (tuple): two connections (dicts) of one identity share their secrets."""
    return tuple(connection[field] for field in ("host", "port", "user", "auth", "key"))


class Secrets:
    """Any thread may call any method."""

    def __init__(self):
        self._lock = threading.Lock()
        self._by_login = {}             # identity -> {"password", "passphrase", "user@host:port" of a jump host: the same}

    def of(self, connection):
        """Return the secrets of a connection (dict), which whoever logs in reads and fills."""
        with self._lock:
            return self._by_login.setdefault(identity(connection), {})

    def remember(self, connection, password=None, passphrase=None):
        """Take what the user typed for a connection (dict); returns whether that was anything."""
        typed = {kind: text for kind, text in (("password", password), ("passphrase", passphrase)) if text}
        self.of(connection).update(typed)
        return bool(typed)

    def forget(self, connection):
        """The connection (dict) is no more."""
        self._by_login.pop(identity(connection), None)

    def texts(self):
        """Return all secrets (list of str), for a log that must not show them."""
        # no lock: the log calls this from the sync threads, which somebody holding the lock may be waiting for
        kinds = list(self._by_login.values())
        kinds += [value for secrets in kinds for value in list(secrets.values()) if isinstance(value, dict)]        # of jump hosts
        return [text for secrets in kinds for text in list(secrets.values()) if isinstance(text, str) and len(text) > 2]
