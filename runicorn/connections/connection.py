"""One connection at work: its settings, its secrets in memory, its sync in a thread, and the row that tells
all of it."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import faults, layout, local_disk, local_names, settings
from runicorn.errors import BusyError, LineError, RemoteError, RunicornError, SettingsError, SftpError
from runicorn.mirror import local_copy, sync
from runicorn.ssh import remote

if TYPE_CHECKING:
    from logging import Logger
    from typing import Any

    from runicorn.connections.questions import Questions
    from runicorn.mirror.room import Room
    from runicorn.news import Bell

STOP_SECONDS = 5
# What a row tells when nothing is known yet; Sync.state() fills in the rest.
ROW = {"state": "paused", "reason": {"code": "not_started", "text": "not started"}, "since": None,
       "last_news": None, "retry_at": None, "up_to_date": None, "runs": 0, "running": 0, "progress": None,
       "traffic": {"hour": 0, "rate": 0, "requests": 0}, "question": None, "owner": None, "offer": None,
       "has_password": False, "rtt_ms": None, "source": None, "manifest_age": None}


class Connection:
    """The connection saved under a name. `secrets` is the dict of its password and passphrase, shared with
    whoever tested it.

    Any thread may call its public methods; what stands below "the way there" is called by the thread of its
    sync.
    """

    def __init__(self, saved: dict[str, Any], home: Path, bell: Bell, questions: Questions, logger: Logger,
                 secrets: dict[str, Any], room: Room | None = None) -> None:
        self.settings, self.secrets = saved, secrets
        self.name, self.slug = saved["name"], local_names.connection_slug(saved["name"])
        self.folder = Path(home) / "cache" / self.slug
        self.sync = None
        self._home, self._bell, self._questions, self._room = home, bell, questions, room
        self._log = logging.LoggerAdapter(logger, {"connection": self.name})
        self._thread = None
        # The error that ended the last login; nothing is tried until somebody acts
        self._refusal = None
        self._offer = None
        self._stopping, self._starting = threading.Event(), threading.Lock()

    # -- at work

    def start(self, after=None, now=False):
        """Start syncing, or go on; a refused login is tried once more. after: a Connection that must have let
        go first. now: bring the mirror up to date at once, as `sync_now` of a new one."""
        self._refusal = None
        with self._starting:            # two requests at once make one thread
            if self._thread and self._thread.is_alive():
                self.sync.resume()
                self.sync.wake()
                return
            self._stopping.clear()
            self.sync = sync.Sync(dict(self.settings), self.folder, self._connect, self._bell, self._log,
                                  self._room, self._look_elsewhere, self._run_moved)
            if now:
                self.sync.sync_now()
            self._thread = threading.Thread(target=self._run, args=(after,), name=f"sync {self.slug}",
                                            daemon=True)
            self._thread.start()

    def _run(self, after):
        try:
            if after:
                after.join()
            self.sync.run()
        except RunicornError as error:
            self._refuse(error)
        except Exception as error:      # a bug of ours must not end in silence: the row and the log tell it
            self._refuse(RemoteError(f"the sync ended by {faults.tell(self._log, error, 'the sync')}, with "
                                     f"logs/sync.log"))
        finally:
            # Whatever ended it: the next one, ours or another process's, must get in
            self.sync.mirror.unlock()

    def pause(self) -> None:
        """Hang up and rest, still holding the mirror."""
        self._questions.withdraw(self.name)
        if self.sync:
            self.sync.pause()

    def allow(self, enabled: bool) -> None:
        """Take over that the user lets it work, or not (bool); `start` and `pause` act on it."""
        self.settings = {**self.settings, "enabled": enabled}

    def adjust(self, saved):
        """Go on with settings that need no other line: the present one stays, nobody types a code again."""
        switched = saved["enabled"] != self.settings["enabled"]
        self.settings = saved
        self.sync.adjust(saved)
        if switched:
            (self.start if saved["enabled"] else self.pause)()

    def stop(self) -> None:
        """Say that the thread must end; `join` waits for it."""
        self._stopping.set()
        self._questions.withdraw(self.name)
        if self.sync:
            self.sync.stop()

    def join(self) -> None:
        """Wait a few seconds for the thread to end."""
        if self._thread:
            self._thread.join(STOP_SECONDS)

    def holds_mirror(self) -> bool:
        """Whether this process syncs the mirror now."""
        return bool(self.sync and self._thread.is_alive() and (self.sync.state()["owner"] or {}).get("ours"))

    # -- the way there, as the sync thread walks it

    def _connect(self):
        """Log in for the sync. A refused login is remembered and never tried again by itself."""
        if self._refusal:
            raise self._refusal
        began = time.monotonic()
        try:
            self._still_wanted()
            line = remote.connect(self.settings, self._ask, self.secrets, self._home, log=self._passed)
        except LineError:
            raise                       # worth another try later
        except RunicornError as error:
            if local_disk.is_shortage(error):
                raise LineError(str(error)) from error
            self._refuse(error if isinstance(error, RemoteError)
                         else RemoteError(str(error), error.code or "settings", **error.values))
            raise self._refusal from error
        self._log.info("connected in %.1f s", time.monotonic() - began)
        return line

    def _still_wanted(self):
        """Another process may have paused or removed the connection since."""
        saved = settings.connection(self._home, self.name)
        if not saved["enabled"] and self.sync:
            self.settings = saved
            self.sync.pause()
            raise LineError("paused by the user in another window")

    def _passed(self, stage, text, **values):
        self._log.info("%s: %s", stage, text)

    def _ask(self, question):
        self._log.info("waiting for the user: %s", question["kind"])
        return self._questions.ask(self.name, question, stopping=self._stopping.is_set)

    def _refuse(self, error):
        self._refusal = error
        self._log.warning("refused: %s", error)
        self._bell.ring("connections")

    def _look_elsewhere(self, client, root):
        """The root holds no runs, or is not there: look where runs usually are and offer it. client:
        sftp.Sftp."""
        from runicorn.connections import doctor
        try:
            self._offer = doctor.offers(client, root, client.realpath(".")) or None
        except SftpError as error:
            self._log.info("no look for other roots: %s", error)
        if self._offer:
            self._log.info("0 runs in %s; %s", root,
                           "; ".join(f"{offer['runs']} in {offer['root']}" for offer in self._offer))

    def _run_moved(self, moved):
        """Runs were renamed on the server, {old path: new path}: the reader's own tags and notes go with
        them."""
        try:
            keys = {local_names.run_key(self.slug, old): local_names.run_key(self.slug, new)
                    for old, new in moved.items()}
            settings.Overlay(self._home).rename(keys)
        except SettingsError as error:
            self._log.warning("tags and notes of runs that were renamed on the server stay behind: %s", error)

    # -- what is so

    def row(self, offline=False):
        """Return the connection's row (dict; never a secret)."""
        state = self.sync.state() if self.sync else self._kept()
        row = {**self.settings, **ROW, **{key: state[key] for key in ROW if key in state}}
        row.update(slug=self.slug, folder=str(self.folder), has_password=bool(self.secrets.get("password")),
                   offer=None if row["runs"] else self._offer, question=self._questions.waiting(self.name))
        for state, reason in self._overriding(row, offline):
            row.update(state=state, reason=reason)
        return row

    def _overriding(self, row, offline):
        """Yield (state, reason) of what we know better than the sync; the last one holds."""
        if self._refusal and not (self._thread and self._thread.is_alive()):
            yield ("refused", {**self._refusal.values, "code": self._refusal.code or "refused",
                               "text": str(self._refusal)})
        if row["question"]:
            yield ("waiting", {"code": f"question_{row['question']['kind']}",
                               "text": row["question"]["prompt"]})
        if not self.settings["enabled"]:
            yield "paused", {"code": "paused", "text": "paused by you"}
        if offline:
            yield "offline", {"code": "offline_mode", "text": "offline: nothing is fetched"}

    def _kept(self):
        """Return what the index tells of a connection that is not at work in this process, and who else is at
        it."""
        live = layout.read_json(self.folder / layout.INDEX / layout.INDEX_LIVE) or {}
        state = live.get("state") if isinstance(live.get("state"), dict) else {}
        owner = self._owner()
        if owner:
            return {**state, "owner": {"pid": owner, "ours": False}}
        return {key: state[key] for key in ("runs", "running", "last_news") if key in state}

    def _owner(self):
        """Return the id of another process that holds the mirror, or None."""
        mirror = local_copy.LocalCopy(self.folder)
        if not (mirror.index / layout.INDEX_LOCK).exists():
            return None
        try:
            mirror.lock()
        except BusyError:
            return mirror.owner() or 0
        except RunicornError:
            return None         # a mirror we may not write: nobody's, as far as we can tell
        mirror.unlock()
        return None
