"""The connections at work: start, pause, sync now, test, prompts, browsing, cache. What the pages and
commands ask for by name."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import faults, layout, local_names, settings
from runicorn.connections import sync_log
from runicorn.connections.browsing import Browsing
from runicorn.connections.cache import Cache, drop_when_free
from runicorn.connections.questions import Questions
from runicorn.connections.remembered import Remembered
from runicorn.connections.secrets import Secrets, identity
from runicorn.connections.trials import Trial
from runicorn.errors import BusyError, NotFoundError, RunicornError, SyncError, UsageError
from runicorn.mirror import quota

if TYPE_CHECKING:
    from typing import Any

    from runicorn.news import Bell

LOOK_SECONDS = 2            # how soon a connection added or paused by another process is noticed
TRIM_SECONDS = 300
VAIN_SECONDS = 60           # between tries to make room where there is nothing that may go
TRIALS_KEPT = 20
# What a connection can't change without a new login
LINE = ("host", "port", "user", "auth", "key", "remote_root")
# Within which an editor that moves the old settings file away has written the new one
SAVING_SECONDS = 0.3


class Registry:
    """All connections of a home. offline: show everything, open no line. cache_size: bytes all mirrors may
    take, None: by the disk.

    Any thread may call any of its public methods; `_keep` is its own thread's.
    """

    def __init__(self, home: Path, bell: Bell, offline: bool = False, cache_size: int | None = None) -> None:
        self.home, self.bell, self.offline = Path(home), bell, offline
        self.questions, self._secrets = Questions(bell), Secrets()
        self._log = sync_log.opened(self.home, self._secrets.texts)
        self.cache = Cache(self.home, cache_size, bell, self._log)
        self._browsing, self._remembered = Browsing(self.home, self._secrets), Remembered()
        self._lock = threading.RLock()
        self._connections = {}          # name -> Connection
        self._trials = {}               # id -> Trial
        # start_all's choice: a viewer for one connection leaves the others alone
        self._only = None
        self._stopping = threading.Event()
        self._keeper, self._vain_until = None, 0.0
        self._config_stamp = None
        self._reload()

    # -- the connections

    def list(self) -> list[dict[str, Any]]:
        """Return the row of every connection, in the order they were added."""
        with self._lock:
            self._reload()
            connections = list(self._connections.values())
        return [connection.row(self.offline) for connection in connections]

    def knows(self, slug: str) -> bool:
        """Whether there is a connection whose mirror is called `slug`."""
        return self._of(slug) is not None

    def row(self, name: str) -> dict[str, Any]:
        """Return the row of one connection, by name or mirror folder. Raises NotFoundError."""
        return self._get(name).row(self.offline)

    def save(self, changes: dict[str, Any], start: bool = True, password: str | None = None,
             passphrase: Any = None) -> dict[str, Any]:
        """Add or change a connection, and start it (again) unless `start` is false. Returns its row. Raises
        UsageError."""
        changes = {**changes, "enabled": True} if start else changes
        with self._lock:
            saved = settings.save_connection(self.home, changes)
            self._remember(saved, password, passphrase)
            self._reload(start=False)
            if start and not self.offline:
                self._get(saved["name"]).start()
        self.bell.ring("connections")
        return self.row(saved["name"])

    def remove(self, name: str, drop_cache: bool = False) -> None:
        """Forget a connection; its mirror stays viewable unless `drop_cache`. Raises NotFoundError, SyncError
        where it can't be deleted."""
        connection = self._get(name)
        connection.stop()
        connection.join()
        settings.remove_connection(self.home, connection.name)
        self._secrets.forget(connection.settings)
        with self._lock:
            self._reload()
        try:
            if drop_cache:
                drop_when_free(connection.folder)
        except RunicornError as error:
            raise SyncError(f"{connection.name} is removed, but {error}; what is left of it can be deleted "
                            f"by hand, or on the settings "
                            "page of `runicorn viewer`") from error
        finally:
            self.bell.ring("connections")
            self.bell.ring("runs")

    def start(self, name: str) -> dict[str, Any]:
        """Start a connection or let it go on; returns its row."""
        return self._act(name, lambda connection: connection.start(), enabled=True)

    def pause(self, name: str) -> dict[str, Any]:
        """Stop fetching until `start`; what is here stays viewable. Returns the row."""
        return self._act(name, lambda connection: connection.pause(), enabled=False)

    def reconnect(self, name: str) -> dict[str, Any]:
        """Try to connect now, also after a refused login. Returns the row."""
        return self._act(name, lambda connection: connection.start(), enabled=True)

    def sync_now(self, name: str) -> dict[str, Any]:
        """Bring the mirror up to date now, also where the mode is manual. Returns the row."""
        def act(connection):
            connection.start()
            connection.sync.sync_now()
        return self._act(name, act, enabled=True)

    def verify(self, name: str) -> dict[str, int]:
        """Compare whole files with the server's: {"files": compared, "refetched": n}. Blocks. Raises
        RemoteError, BusyError."""
        connection = self._get(name)
        if not connection.sync:
            raise BusyError(f"{connection.name} is not at work; start it first")
        return connection.sync.verify()

    def start_all(self, only=None):
        """Start every connection that is not paused, or those named in `only` whatever they are."""
        self._only = only
        for name in only or [row["name"] for row in self.list()]:
            connection = self._get(name)
            if not self.offline and (only or connection.settings["enabled"]):
                self.start(name)
        if not self._keeper:
            self._keeper = threading.Thread(target=self._keep, name="mirrors", daemon=True)
            self._keeper.start()

    def stop(self) -> None:
        """End every thread and line; waits a few seconds at most."""
        self._stopping.set()
        self.questions.withdraw()
        connections = list(self._connections.values())
        for connection in connections:
            connection.stop()
        self._browsing.close()
        for connection in connections:
            connection.join()
        for handler in list(self._log.handlers):
            self._log.removeHandler(handler)        # first: a late word would open the file again
            handler.close()

    def _act(self, name, action, enabled):
        with self._lock:            # else a reload between the file and the object would make a second one
            connection = self._get(name)
            if connection.settings["enabled"] != enabled:
                settings.save_connection(self.home, {"name": connection.name, "enabled": enabled})
                connection.allow(enabled)
            if not self.offline:
                action(connection)
        self.bell.ring("connections")
        return connection.row(self.offline)

    def _get(self, name):
        with self._lock:
            self._reload()
            for connection in self._connections.values():
                if name in (connection.name, connection.slug):
                    return connection
            names = ", ".join(map(repr, self._connections)) or "none"
        raise NotFoundError(f"there is no connection {name!r} (known: {names}); add one with `runicorn "
                            f"config ssh add`",
                            code="not_found", said="connection_gone", name=str(name))

    def _reload(self, start=True):
        """Follow config.json: connections added, changed or removed, by us or by another process. start:
        whether those that are new, or no longer paused, begin to work where others do."""
        stamp = settings.file_stamp(self.home / layout.CONFIG)
        if stamp is None and self._connections:
            # An editor moves the old file away before it writes the new one
            time.sleep(SAVING_SECONDS)
            stamp = settings.file_stamp(self.home / layout.CONFIG)
        if stamp == self._config_stamp and stamp is not None:
            return
        self._config_stamp = stamp
        listed = settings.connections(self.home,
                                      otherwise=[connection.settings
                                                 for connection in self._connections.values()])
        saved = {options["name"]: options for options in listed}
        for name in [name for name in self._connections if name not in saved]:
            self._connections[name].stop()
        former = self._connections
        self._connections = {
            name: former[name] if name in former and former[name].settings == options
            else self._made(options, former.get(name))
            for name, options in saved.items()}         # replaced whole: others read it without the lock
        for name, connection in self._connections.items() if start and self._is_at_work() else ():
            if (connection is not former.get(name) and not connection.sync and connection.settings["enabled"]
                    and self._is_ours(name)):
                connection.start()

    def _is_at_work(self):
        return bool(self._keeper) and not (self.offline or self._stopping.is_set())

    def _is_ours(self, name):
        """Whether `start_all` was asked for the connection `name`, or for all."""
        return not self._only or name in self._only

    def _made(self, saved, old):
        """Return the Connection for changed settings; one that was at work goes on with them."""
        # here: a viewer without connections need not load SSH and sync
        from runicorn.connections.connection import Connection
        secrets = self._secrets.of(saved)
        connection = Connection(saved, self.home, self.bell, self.questions, self._log, secrets,
                                self.cache.room)
        if old and old.sync:
            if all(old.settings.get(field) == saved.get(field) for field in LINE):
                old.adjust(saved)
                return old
            is_asked = old.sync.is_asked
            old.stop()
            if saved["enabled"] and not self.offline:
                connection.start(after=old, now=is_asked)
        return connection

    def _keep(self):
        """Until stopped: notice what other processes changed, and keep the mirrors within their size."""
        trimmed, trouble = time.monotonic(), None
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self._follow_config()
                short = 0 if time.monotonic() < self._vain_until else self.cache.room.short()
                if short or time.monotonic() - trimmed > TRIM_SECONDS:
                    trimmed = time.monotonic()
                    self._trim(short)
                trouble = None
            except (RunicornError, OSError) as error:
                if str(error) != trouble:           # said once while it lasts
                    trouble = str(error)
                    self._log.warning("%s", error, extra={"connection": "mirrors"})
            # What other processes change, and the mirrors' size, are looked after all the same
            except Exception as error:
                faults.tell(self._log, error, "looking after the mirrors", extra={"connection": "mirrors"})

    def _follow_config(self):
        before = set(self._connections)
        with self._lock:
            self._reload()
        if set(self._connections) != before:
            self.bell.ring("connections")

    def _trim(self, short=0):
        """Bring the mirrors we sync so far below the limit that `short` bytes more fit."""
        ours = [connection for connection in self._connections.values() if connection.holds_mirror()]
        if not ours:
            return
        if self.cache.make_room([connection.folder for connection in ours], short):
            self._tell_of_room()
        elif short:
            self._vain_until = time.monotonic() + VAIN_SECONDS

    def _tell_of_room(self):
        for connection in self._connections.values():
            if connection.holds_mirror():
                connection.sync.room_was_made()

    # -- tests, prompts, browsing

    def test(self, connection: dict[str, Any] | str, password: str | None = None,
             passphrase: Any = None) -> str:
        """Begin to test a connection (a saved one's name, or a dict not saved yet). Returns the test's id
        (str)."""
        options = self._wanted(connection, password, passphrase)
        if self.offline:
            raise UsageError("offline: connections are not tested; start the viewer without --offline")
        self._browsing.forgive(options)
        trial = Trial(options, self._secrets.of(options), self.home, self.questions, self.bell)
        with self._lock:
            for old in list(self._trials)[:-TRIALS_KEPT]:
                del self._trials[old]
            self._trials[trial.id] = trial
        trial.begin()
        return trial.id

    def test_state(self, test_id: str) -> dict[str, Any]:
        """Return how a test is going: {"id", "done", "ok", "lines", "question", "offer", "browse"}. Raises
        NotFoundError."""
        if test_id not in self._trials:
            raise NotFoundError(f"there is no test {test_id!r}; begin another", code="not_found",
                                said="test_gone")
        return self._trials[test_id].state()

    def answer(self, question_id: str, text: str) -> None:
        """Answer a prompt; an empty or absent text refuses a host key. Raises NotFoundError when nobody waits
        for it any more."""
        if not self.questions.answer(question_id, text):
            raise NotFoundError("that question is no longer open; reconnect to be asked again",
                                code="not_found", said="question_gone")

    def trust(self, question_id: str) -> None:
        """Trust the host key that a question shows, for good. Raises NotFoundError."""
        self.answer(question_id, "yes")

    def browse(self, connection: dict[str, Any] | str, path: str, password: str | None = None,
               passphrase: Any = None) -> dict[str, Any]:
        """Return {"path", "parent", "folders": [{"name", "runs"}]} of a folder on the server. Raises
        RemoteError, SftpError."""
        return self._browsing.browse(self._wanted(connection, password, passphrase), path)

    def hosts(self):
        """Return what ~/.ssh/config offers: [{"host", "hostname", "user", "port", "key", "jump"}]."""
        from runicorn.ssh import remote
        try:
            return self._remembered.get("hosts", 10, remote.hosts)
        except UsageError as error:
            self._log.warning("no hosts are offered: %s", error, extra={"connection": "~/.ssh/config"})
            return []

    def _wanted(self, connection, password=None, passphrase=None):
        options = (self._get(connection).settings if isinstance(connection, str)
                   else settings.checked(connection))
        self._remember(options, password, passphrase)
        return options

    def _remember(self, options, password, passphrase):
        if self._secrets.remember(options, password, passphrase):
            self._browsing.forgive(options)

    # -- runs

    def want(self, slug: str, path: str) -> None:
        """Say that somebody opened the run at `path` of the connection whose mirror is called `slug`: it is
        fetched first."""
        connection = self._of(slug)
        if connection and connection.folder.exists():
            quota.mark_viewed(connection.folder, path)
        if connection and connection.sync:
            connection.sync.want(path)

    def peek(self, slug, path, name, ranges):
        """Return blocks of a run's file straight from the server: [bytes]; None where its connection is not
        at work."""
        connection = self._of(slug)
        return connection.sync.peek(path, name, ranges) if connection and connection.sync else None

    def drop(self, slug: str, path: str) -> None:
        """Delete a mirrored run from this machine; it is not fetched again until opened. Raises UsageError
        for a local run."""
        connection = self._of(slug)
        if not connection:
            raise UsageError(f"{slug}:{path} is no mirrored run; runs of this machine are never deleted "
                             f"from here")
        quota.drop_run(connection.folder, path)
        self._went()
        self.bell.ring("runs")

    def _of(self, slug):
        return next((connection for connection in self._connections.values() if connection.slug == slug),
                    None)

    def plan(self, connection: dict[str, Any] | str) -> dict[str, int]:
        """Return what a connection's choice of files comes to: {"files", "bytes"}. Looks there if nothing is
        mirrored yet.

        Raises RemoteError; a login that was refused once is not tried again for this.
        """
        options = self._wanted(connection)
        entries = quota.known_entries(self.home / "cache" / local_names.connection_slug(options["name"]))
        if entries is None:
            question = "holdings", identity(options), options["remote_root"]
            entries = self._remembered.get(question, 60, lambda: self._browsing.holdings(options))
        return quota.outlook(entries, options)

    # -- the cache

    def drop_mirror(self, slug: str) -> None:
        """Delete a mirror that no connection has: of one removed, or that led to another server. Raises
        UsageError, NotFoundError."""
        if self._of(slug):
            raise UsageError(f"{slug} is the mirror of a connection; remove that, with its copy, instead")
        self.cache.drop(slug)
        self._went()

    def cache_clean(self, older_than=None, connection=None, size=None, dry_run=False):
        """Drop finished runs from the mirrors (see cache.Cache.clean), or from that of the connection of this
        name."""
        went = self.cache.clean(older_than, self._get(connection).slug if connection else None, size, dry_run)
        if went["files"] and not dry_run:
            self._went()
        return went

    def _went(self):
        """Files went from this disk: what waits for room may come."""
        self.cache.room.measure()
        self._tell_of_room()
