"""Look into folders of a server over a line of its own, which stays while somebody browses. Fetches
nothing."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from runicorn.connections.secrets import identity
from runicorn.errors import HostKeyError, LoginError, RunicornError, SftpError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from runicorn.connections.secrets import Secrets

BROWSE_SECONDS = 60         # how long a line made for browsing waits for the next folder


class _Line:
    """A line somebody browses over; `uses` counts how often it was asked for."""

    def __init__(self, login, remote):
        self.login, self.remote, self.client, self.uses, self._timer = (login, remote, remote.open_sftp(), 1,
                                                                        None)

    def use(self):
        self.uses += 1
        return self

    def call_later(self, call):
        """Call call(self, uses) once nobody asked for it for BROWSE_SECONDS."""
        if self._timer:
            self._timer.cancel()
        timer = self._timer = threading.Timer(BROWSE_SECONDS, call, [self, self.uses])
        timer.daemon = True
        timer.start()

    def close(self):
        if self._timer:
            self._timer.cancel()
        self.remote.close()


class Browsing:
    """One line at a time, to the server looked at last. Any thread may call any method; they wait for each
    other, but `close`."""

    def __init__(self, home: Path, secrets: Secrets) -> None:
        """secrets: secrets.Secrets."""
        self._home, self._secrets = home, secrets
        self._line, self._lock = None, threading.Lock()
        self._refusals = {}             # identity -> what refused it: never tried again without a new test

    def browse(self, options: dict[str, Any], path: str) -> dict[str, Any]:
        """Return {"path", "parent", "folders": [{"name", "runs"}]} of a folder there. Raises RemoteError,
        SftpError."""
        from runicorn.connections import doctor
        with self._client(options) as client:
            try:
                return doctor.browse(client, path)
            except SftpError:
                raise               # that folder only
            except RunicornError:
                self.close()
                raise

    def holdings(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what the remote root of a connection (dict) holds (see doctor.holdings). Raises RemoteError,
        SftpError."""
        from runicorn.connections import doctor
        with self._client(options) as client:
            return doctor.holdings(client, doctor.expanded(options["remote_root"], client.realpath(".")))

    def forgive(self, options: dict[str, Any]) -> None:
        """Try the login of a connection (dict) again, though it was refused: the user typed something, or
        tests it."""
        self._refusals.pop(identity(options), None)

    @contextlib.contextmanager
    def _client(self, options):
        with self._lock:
            line = self._line_for(options)
            try:
                yield line.client
            finally:
                if self._line is line:
                    line.call_later(self._close_unused)

    def _line_for(self, options):
        login = identity(options)
        if self._line and self._line.login == login and self._line.remote.alive:
            return self._line.use()
        from runicorn.ssh import remote
        self.close()
        if login in self._refusals:
            raise self._refusals[login]
        try:
            reached = remote.connect(options, None, self._secrets.of(options), self._home)
        except (LoginError, HostKeyError) as error:
            self._refusals[login] = error
            raise
        try:
            self._line = _Line(login, reached)
        except RunicornError:
            reached.close()
            raise
        return self._line

    def _close_unused(self, line, uses):
        with self._lock:         # somebody who browses at this moment comes first, and begins the time anew
            if self._line is line and line.uses == uses:
                self.close()

    def close(self) -> None:
        """Hang up."""
        line, self._line = self._line, None
        if line:
            line.close()
