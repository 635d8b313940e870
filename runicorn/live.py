"""The live file of a running run: `.runicorn/live/<id>.json` below the root, whose mtime is the heartbeat."""

import os
import time

from runicorn.facts import hostname
from runicorn.layout import HIDDEN, make_folders, read_json, replace_file, slug, to_json
from runicorn.notice import say

BEAT_SECONDS = 10.0
STALE_SECONDS = 7 * 86400.0     # a live file whose heart stopped so long ago is cleared away


class Live:
    """The heartbeat of one run. Where the shared folder can't be written it beats on `RUN/.beat`."""

    def __init__(self, place, facts):
        """place: the run's Place. facts: dict for the file (its path is added). Raises OSError if neither can be written."""
        self._facts = dict({"path": place.path, "interval": BEAT_SECONDS}, **facts)
        self._name = slug(place.id) + ".json"
        try:
            folder = make_folders(place.root, f"{HIDDEN}/live")
            self.path = folder / self._name
            other = read_json(self.path)
            if other is not None and other.get("path") != place.path and is_fresh(self.path):
                raise FileExistsError(self.path)        # the same id in another experiment, running too
            self._write()
        except OSError:
            self.path = place.folder / ".beat"
            self._write()

    def _write(self):
        replace_file(self.path, to_json(self._facts).encode("utf-8", "replace"))

    def beat(self):
        """Move the mtime to now; makes the file again if it is gone. Returns the seconds until the next beat."""
        try:
            os.utime(self.path)
        except OSError:
            try:
                self._write()
            except OSError as error:
                say(f"{self.path} can't be written ({error.strerror or error}); the run may look lost", once=("beat", str(self.path)))
        return BEAT_SECONDS

    def end(self):
        """The run is over: no heartbeat is expected any more."""
        try:
            os.unlink(self.path)
        except OSError:
            pass            # gone already, or its folder is: status.json says that the run ended


def is_fresh(path, seconds=6 * BEAT_SECONDS):
    """Whether the live file `path` was touched within `seconds`."""
    try:
        return time.time() - os.stat(path).st_mtime < seconds
    except OSError:
        return False


def process_lives(pid):
    """Whether there is a process of this number on this machine (a zombie counts as none)."""
    try:
        with open(f"/proc/{int(pid)}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, TypeError, ValueError):
        pass            # gone, or a system without /proc
    if os.name != "posix" or os.path.isdir("/proc/self"):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, TypeError, ValueError):
        return True     # somebody else's process
    return True


def running(root):
    """Return [(path of the live file, its dict), …] for all live files of a root."""
    folder = os.path.join(root, HIDDEN, "live")
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    files = ((os.path.join(folder, name), read_json(os.path.join(folder, name), limit=1 << 16)) for name in names if name.endswith(".json"))
    return [(path, facts) for path, facts in files if facts is not None]


def lives(root, path):
    """Whether the run at `path` is being written by a process: one of this machine that is there, one of another that beats."""
    for file, facts in running(root):
        if facts.get("path") == path:
            here = facts.get("host") == hostname()
            return process_lives(facts.get("pid")) if here else is_fresh(file, 2.5 * BEAT_SECONDS)
    return False


def clear_stale(root):
    """Remove live files whose heart stopped a week ago, and what an interrupted replacement left."""
    folder = os.path.join(root, HIDDEN, "live")
    oldest = time.time() - STALE_SECONDS
    try:
        with os.scandir(folder) as entries:
            stale = [entry.path for entry in entries if entry.stat(follow_symlinks=False).st_mtime < oldest]
    except OSError:
        return              # no such folder yet, or somebody else's to tidy
    for path in stale:
        try:
            os.unlink(path)
        except OSError:
            pass            # another user's file in a sticky folder: theirs to clear
