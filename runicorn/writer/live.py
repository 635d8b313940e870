"""The live file of a running run: `.runicorn/live/<id>.json` below the root, whose mtime is the heartbeat."""

import os
import time
from collections import namedtuple

from runicorn import disk
from runicorn.layout import (
    BEAT,
    BESIDE,
    ENDED,
    HIDDEN,
    LIVE,
    STATUS,
    below,
    disk_path,
    json_bytes,
    make_folders,
    read_json,
    replace_file,
    slug,
)
from runicorn.writer import descriptors, processes
from runicorn.writer.environment import hostname, process, process_start
from runicorn.writer.notice import say_unwritten

BEAT_SECONDS = 10.0
LATE_SECONDS = 2.5 * BEAT_SECONDS       # a heart of another machine that was silent for so long has stopped
STALE_SECONDS = 7 * 86400.0     # a live file whose heart stopped so long ago is cleared away

Probe = namedtuple("Probe", "time user")

_beating = set()        # (pid, path of the live file) of the runs that this process writes


class Live:
    """The heartbeat of one run. Where the shared folder can't be written it beats on `RUN/.beat`."""

    def __init__(self, slot, facts):
        """slot: the run's Place. facts: dict for the file (its path is added). Raises OSError if neither can
        be written."""
        self._facts = {"path": slot.path, "interval": BEAT_SECONDS, **process(), **facts}
        self._run = slot.folder
        try:
            folder = make_folders(slot.root, f"{HIDDEN}/live")
            self.path = os.path.join(folder, disk_path(slug(slot.id) + ".json"))
            if _has_twin(self.path, slot):
                raise FileExistsError(self.path)
            self._write()
        except OSError:
            self.path = os.path.join(slot.folder, BEAT)
            self._write()
        _beating.add((os.getpid(), self.path))

    def _write(self):
        replace_file(self.path, json_bytes(self._facts), shield=descriptors, seconds=disk.BRIEF)

    def tell(self, **facts):
        """Put facts into the file."""
        self._facts.update(facts)
        try:
            self._write()
        except OSError as error:
            say_unwritten(self.path, error, self._run)

    def move(self, slot):
        """The run lies at another Place now, perhaps by another id."""
        before, self._run = self.path, slot.folder
        self.path = self._path_at(slot)
        _beating.add((os.getpid(), self.path))
        self.tell(path=slot.path, id=slot.id, attempt=slot.attempt)
        if self.path != before:
            _beating.discard((os.getpid(), before))
            disk.discard(before)

    def _path_at(self, slot):
        if os.path.basename(self.path) == BEAT:
            return os.path.join(slot.folder, BEAT)
        path = os.path.join(os.path.dirname(self.path), disk_path(slug(slot.id) + ".json"))
        return self.path if _has_twin(path, slot) else path

    def beat(self):
        """Move the mtime to now; makes the file again if it is gone. Returns the seconds until the next
        beat."""
        try:
            os.utime(self.path)
        except OSError:
            try:
                self._write()
            except OSError as error:
                say_unwritten(self.path, error, self._run)
        return BEAT_SECONDS

    def end(self):
        """The run is over: no heartbeat is expected any more."""
        _beating.discard((os.getpid(), self.path))
        disk.discard(self.path)     # gone already, or its folder is: status.json says that the run ended


def _has_twin(path, slot):
    """Whether a run of the same id in another experiment, running too, has the live file `path`."""
    twin = read_json(path)
    return twin is not None and twin.get("path") != slot.path and is_fresh(path)


def is_fresh(path, seconds=6 * BEAT_SECONDS):
    """Whether the live file `path` was touched within `seconds`, by the clock of the disk it lies on."""
    try:
        return probe(os.path.dirname(path)).time - os.stat(path).st_mtime < seconds
    except OSError:
        return False


def probe(folder):
    """Return Probe(time, user): what a file written in `folder` now gets as its mtime and owner. On a network
    file system the server says both, and alike to all hosts, however wrong their clocks are. Where nothing
    can be written: our clock, None."""
    path = os.path.join(folder, f"{os.getpid()}-{os.urandom(3).hex()}{BESIDE}")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            file = os.stat(path)
        finally:
            disk.discard(path, disk.BRIEF)
    except OSError:
        return Probe(time.time(), None)
    return Probe(file.st_mtime, file.st_uid)


def is_alive(path, facts, seconds=LATE_SECONDS):
    """Whether the process that a live file names is there. Where its number means something here it is looked
    for; in another container or on another machine its heart must have beaten within `seconds`.

    Our own number is no other process: os.execv keeps it, and the training of a container has the same one
    (1, mostly) whenever the container is started again. It lives for the runs that this process writes.
    """
    if facts.get("host") == hostname() and facts.get("pid") == os.getpid():
        return (os.getpid(), os.fspath(path)) in _beating
    return (process_lives(facts.get("pid"), facts.get("start")) if is_of_this_machine(facts)
            else is_fresh(path, seconds))


def is_of_this_machine(facts):
    """Whether a live file's process number counts own: same host, boot and process namespace, as far as the
    file says."""
    own = dict(process(), host=hostname())
    return facts.get("host") == own["host"] and all(facts.get(name, own.get(name)) == own.get(name)
                                                    for name in ("boot", "pid_ns"))


def process_lives(pid, start=None):
    """Whether there is a process of this number on this machine (a zombie counts as none). start: when it has
    to have begun (int, as in `facts.process`): numbers are used again, in a container always the same."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    began = process_start(pid)
    if began is not None:
        return began > 0 and start in (None, began)
    if processes.WINDOWS:
        return True         # one that we may not ask
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass            # somebody else's process, which /proc may hide from us
    return True


def running(root):
    """Return [(path of the live file, its dict), …] for all live files of a root."""
    folder = os.path.join(root, HIDDEN, LIVE)
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    files = ((os.path.join(folder, name), read_json(os.path.join(folder, name), limit=1 << 16))
             for name in names if name.endswith(".json"))
    return [(path, facts) for path, facts in files if facts is not None]


def hearts(root, path):
    """Return [(path of the live file, its dict), …] of the run at `path`; also one that beats in its own
    folder."""
    beat = below(root, f"{path}/{BEAT}")
    own = read_json(beat, limit=1 << 16)
    return ([(file, facts) for file, facts in running(root) if facts.get("path") == path]
            + ([(beat, own)] if own else []))


def lives(root, path, elsewhere=True):
    """Whether the run at `path` is being written by a process; elsewhere: one of another machine counts, too.
    A status that says how the run ended is believed over a live file, which a killed process may leave."""
    files = [(file, facts) for file, facts in hearts(root, path) if elsewhere or is_of_this_machine(facts)]
    return any(is_alive(file, facts) for file, facts in files) and not has_ended(root, path)


def has_ended(root, path):
    """Whether the status of the run at `path` says how it ended."""
    return (read_json(below(root, f"{path}/{STATUS}")) or {}).get("status") in ENDED


def clear_stale(root):
    """Remove live files whose heart stopped a week ago, and what an interrupted replacement left."""
    folder = os.path.join(root, HIDDEN, LIVE)
    oldest = time.time() - STALE_SECONDS
    if os.path.realpath(folder) != os.path.join(os.path.realpath(root), HIDDEN, LIVE):
        return              # a link, which others may have laid to a folder of ours
    try:
        with os.scandir(folder) as entries:
            stale = [entry.path for entry in entries
                     if entry.name.endswith((".json", BESIDE)) and entry.is_file(follow_symlinks=False)
                     and entry.stat(follow_symlinks=False).st_mtime < oldest]
    except OSError:
        return              # no such folder yet, or somebody else's to tidy
    for path in stale:
        disk.discard(path, 0.0)     # another user's file in a sticky folder is theirs to clear
