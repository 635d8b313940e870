"""One connection's mirror on this disk: its lock, its index, and writing a file so that no reader ever sees
half of it."""

import functools
import hashlib
import itertools
import json
import os
import stat
from pathlib import Path

from runicorn import disk, layout, local_disk, local_names, manifest
from runicorn.errors import BusyError, LayoutError, SyncError
from runicorn.mirror import parts, plan, run_places
from runicorn.surrogates import exact_json

BLOCK = 1 << 20
FOREIGN = "foreign.json"        # beside layout.INDEX_LIVE: what foreign_runs.ForeignRuns.told told
# In it: the folders above the runs as they were listed last; see walk.Skeleton.told
FOLDERS = "folders.json"
NEW, SAME, REKEYED = "new", "same", "rekeyed"
_EXACT = getattr(os, "O_BINARY", 0)       # not every system has each


class LocalCopy:
    """The folder of a mirror. Only the process that holds its lock writes into it."""

    def __init__(self, folder):
        self.folder = Path(local_disk.long(folder))
        self.index = self.folder / layout.INDEX
        self.parts = parts.Parts(os.fspath(self.index / "parts"))
        self._lock = None
        self._folders = {}              # run path -> its folder here, once checked
        self._above = set()             # the folders above those, no links
        self._places = None             # run_places.Places, where this disk ignores case and we write it
        # Run path -> {name: local name} where the usual one would be another file's
        self._apart = {}
        self._evicted = (None, {})      # (mtime of .index/evicted, what it says)

    # the lock

    def lock(self):
        """Take the mirror for this process, unless it has it; returns whether it was taken now.

        The kernel frees it when the process dies. Raises BusyError naming the holder, SyncError.
        """
        if self._lock is not None and self._still_ours():
            return False
        self.unlock()
        try:
            self.index.mkdir(parents=True, exist_ok=True)
            descriptor = layout.open_regular(self.index / layout.INDEX_LOCK,
                                             os.O_RDWR | os.O_CREAT | _EXACT, 0o600)
            try:
                if not local_disk.try_lock(descriptor):
                    raise BusyError(f"synced by process {self.owner()}")
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
            except BaseException:
                os.close(descriptor)        # else the lock would be held by nobody who knows of it
                raise
        except OSError as error:
            raise SyncError(f"the mirror {self.folder} can't be written: {error.strerror}") from error
        self._lock = descriptor
        self.parts = parts.Parts(os.fspath(self.index / "parts"))       # the folder may be another one by now
        self._folders.clear()
        self._above.clear()
        self._places = None
        self.look_at_evicted()
        return True

    def _still_ours(self):
        """Whether the lock file is the one we hold; it is not after somebody deleted the cache under us."""
        try:
            current, ours = os.stat(self.index / layout.INDEX_LOCK), os.fstat(self._lock)
        except OSError:
            return False
        return (current.st_ino, current.st_dev) == (ours.st_ino, ours.st_dev)

    def unlock(self):
        """Give the mirror back. Never raises."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def check(self):
        """Raise SyncError if this disk takes not even a small file."""
        self.write(self.index / "probe", b"1")

    def owner(self):
        """Return the process id written in the lock (int), or None."""
        try:
            with open(layout.open_regular(self.index / layout.INDEX_LOCK), "rb") as file:
                return int(file.read(20))
        except (OSError, ValueError):
            return None

    # what it mirrors

    def claim(self, source):
        """Make sure the folder mirrors `source` (dict: user, host, port, host_key, root); another one's is
        moved to `<name>~1`.

        A server of the same user, host, port and root that shows another host key, which the user trusts by
        now, is the same one. Returns NEW, SAME, or REKEYED for that, whose files should be compared anew.
        Raises SyncError, OSError.
        """
        old = layout.read_json(self.index / layout.INDEX_SOURCE)
        differing = {key for key in source if old is not None and old.get(key) and source[key]
                     and old[key] != source[key]}
        if differing - {"host_key"}:
            self._move_aside()
        if old != source:
            self.write(self.index / layout.INDEX_SOURCE, json.dumps(source).encode())
        return NEW if differing - {"host_key"} else REKEYED if differing else SAME

    def _move_aside(self):
        number = 1
        while (aside := self.folder.with_name(f"{self.folder.name}~{number}")).exists():
            number += 1
        self.unlock()
        disk.rename(self.folder, aside)
        self.lock()

    def load_index(self):
        """Return the Manifest in .index/full.json, an empty one when there is none or it is broken."""
        try:
            return manifest.load(self.index / layout.INDEX_FULL)
        except manifest.ManifestError:
            return manifest.Manifest({"format": manifest.FORMAT, "kind": "full", "revision": 0, "digest": ""},
                                     {})

    def save_index(self, index):
        """Replace .index/full.json; who reads it finds a place for each of its runs. Raises SyncError."""
        self._settle(index.paths())
        try:
            manifest.save(index, os.fspath(self.index / layout.INDEX_FULL))
        except manifest.ManifestError as error:
            raise SyncError(str(error)) from error

    def load_kept(self):
        """Return what the last session told (dict): {"checked", "list", "folders", "foreign"}, whatever is
        there, and {"gone"}, run paths (set)."""
        live, folders, foreign = (layout.read_json(self.index / name) or {}
                                  for name in (layout.INDEX_LIVE, FOLDERS, FOREIGN))
        vanished = live["gone"] if isinstance(live.get("gone"), list) else ()
        return {**live, "folders": folders, "foreign": foreign,
                "gone": {path for path in vanished if isinstance(path, str)}}

    def save_folders(self, folders=None, foreign=None):
        """Keep what walk.Skeleton.told and foreign_runs.ForeignRuns.told told for the next session, unless
        that is nothing. Raises SyncError."""
        for name, content in ((FOLDERS, folders), (FOREIGN, foreign)):
            if content:
                self.write(self.index / name, exact_json(layout.to_json(content)))

    def save_live(self, live):
        """Replace .index/live.json by `live` (dict). Raises SyncError."""
        self.write(self.index / layout.INDEX_LIVE, exact_json(layout.to_json(live)))

    def write(self, path, data):
        """Replace a file whole (see layout.replace_file). Raises SyncError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            layout.replace_file(path, data)
        except OSError as error:
            raise SyncError(f"{path} can't be written: {error.strerror}") from error

    def evicted(self, path):
        """Return what of a run was removed here to save space: True (all but its small JSON), a list of
        names, or None."""
        return self._evicted[1].get(path)

    def look_at_evicted(self):
        """Take up what was removed here since last asked; it may be another process that tidies."""
        try:
            mtime = os.stat(self.index / "evicted").st_mtime_ns
        except OSError:
            mtime = None
        if mtime != self._evicted[0]:
            evicted = layout.read_json(self.index / "evicted") or {}
            self._evicted = (mtime, {path: names
                                     for path, names in evicted.items()
                                     if names is True or isinstance(names, list)})

    def take_back(self, path):
        """A run is wanted here again: no longer count it as evicted. Raises SyncError."""
        self.look_at_evicted()
        if self.evicted(path):
            evicted = {run: names for run, names in self._evicted[1].items() if run != path}
            self.write(self.index / "evicted", json.dumps(evicted).encode())
            self.look_at_evicted()

    # runs that moved

    def rename(self, old, new):
        """Have our copy of the run `old` where that of `new` belongs, with what was noted of it; returns
        whether it is there now: not where something else is. Safe to repeat. Raises OSError, LayoutError,
        SyncError."""
        source, target = Path(self._run_folder(old)), Path(self._run_folder(new))
        if os.path.lexists(source) and os.path.lexists(target) and not os.path.samefile(source, target):
            return False
        self._rename_notes(old, new)
        if os.path.lexists(source):
            if self._places and self._places.rename(old, new,
                                                    lambda local_path: self._is_another(local_path, source)):
                target = Path(self._run_folder(new))
                self._folders.pop(new, None)
            target.parent.mkdir(parents=True, exist_ok=True)
            disk.rename(source, target)
            self._write_places() if self._places else None
            self._remove_empty(source.parent)
        return True

    def _is_another(self, local_path, folder):
        """Whether something is at `local_path`, relative to the mirror, that is not the folder `folder`."""
        other_folder = local_names.local_path(self.folder, local_path)
        return os.path.lexists(other_folder) and not os.path.samefile(other_folder, folder)

    def _rename_notes(self, old, new, merging=False):
        """merging: our copy of `new` has notes of its own, and what was removed here of `old` is not missing
        in it."""
        for notes in ("evicted", "viewed"):
            table = layout.read_json(self.index / notes)
            if isinstance(table, dict) and old in table:
                note = table.pop(old)
                if not merging:
                    table[new] = note
                elif notes == "viewed":
                    table.setdefault(new, note)
                self.write(self.index / notes, json.dumps(table).encode())
        self.look_at_evicted()
        for table in (self._folders, self._apart):
            table.pop(old, None)
        self._above.clear()             # folders come and go: whether they are links is looked at anew

    def merge(self, old, new):
        """Remove our copy of the run `old` if all of it is in that of `new`, too, byte by byte; returns
        whether it is gone now.

        A log may have grown in `new`. Raises OSError, LayoutError, SyncError.
        """
        source, target = Path(self._run_folder(old)), Path(self._run_folder(new))
        if os.path.lexists(source) and os.path.lexists(target) and os.path.samefile(source, target):
            return False
        for folder, _, names in os.walk(source):
            for name in names:
                file = Path(folder, name)
                if not _begins_with(target / file.relative_to(source), file, plan.is_appended(name)):
                    return False
        self._rename_notes(old, new, merging=True)
        if os.path.lexists(source):
            local_disk.remove_tree(os.fspath(source))
            self._remove_empty(source.parent)
        if self._places and self._places.forget(old):
            self._write_places()
        return True

    def _remove_empty(self, folder):
        """Remove a folder of runs and those above it as far as nothing is in them."""
        while folder != self.folder:
            try:
                folder.rmdir()
            except OSError:
                return              # there is
            folder = folder.parent

    # files of runs

    def place(self, path, name):
        """Return where file `name` of run `path` lives (str). Raises LayoutError for a hostile name and a
        link in the way."""
        folder = self._folders.get(path)
        if folder is None:
            folder = self._folders[path] = self._folder(path)
        local = self._apart[path].get(name, name) if path in self._apart else name
        return (local_names.place(folder, local) if "/" in local
                else f"{folder}{os.sep}{_local_name(local)}")

    def _folder(self, path):
        folder = self._run_folder(path)
        above = os.path.dirname(folder)
        if above not in self._above:
            self._above.update((above, os.path.dirname(above), os.path.dirname(os.path.dirname(above))))
        return folder

    def _run_folder(self, path):
        """Return where a run lies (str), which a run that this disk takes for the same does not. Raises
        LayoutError, SyncError."""
        if not self.ignores_case:
            places = {}
        elif self._lock is None:
            places = run_places.read(self.folder)
        else:
            self._settle([path])
            places = self._places.elsewhere
        return run_places.place(self.folder, path, places, self._above)

    def _settle(self, paths):
        """Give runs their places, those that were here before them first. Raises SyncError."""
        if not self.ignores_case:
            return
        if self._places is None:
            self._places = run_places.Places(run_places.read(self.folder))
            paths = itertools.chain(self.load_index().paths(), paths)
        if self._places.settle(paths):
            self._write_places()

    def _write_places(self):
        self.write(self.index / run_places.FILE, json.dumps(self._places.elsewhere).encode())

    def tell_apart(self, path, names):
        """Where this disk ignores case, give twins among the files `names` of a run places of their own.

        Returns {name: its twins that are not at theirs yet}: what is at `name` may be one of those.
        """
        if not self.ignores_case:
            return {}
        local = self._apart[path] = plan.apart(names)
        absent = {name for name in local if not self.stat(path, name)}
        stay = set(names).difference(local) if absent else ()
        return {name: {twin for twin in absent if local_names.folded(twin) == local_names.folded(name)}
                for name in stay}

    def local_name(self, path, name):
        """Return where file `name` lives, relative to its run's folder here, with "/" between the parts
        (str)."""
        return os.path.relpath(self.place(path, name), self._folders[path]).replace(os.sep, "/")

    def local_names(self, path, names):
        """Return {name: where it lives in the run's folder here} of all files of a run; what has no place
        here is not in it."""
        self.tell_apart(path, names)
        places = {}
        for name in names:
            try:
                places[name] = self.local_name(path, name)
            except LayoutError:
                continue        # a hostile name, or a link stands in its way
        return places

    @functools.cached_property
    def ignores_case(self):
        """Whether this disk takes two names that differ in case only for one (bool)."""
        return (self.folder / layout.INDEX.upper()).exists()

    def holds(self, path):
        """Whether there is a folder of the run here (bool)."""
        try:
            self.place(path, layout.META)
        except LayoutError:
            return False
        return os.path.lexists(self._folders[path])

    def stat(self, path, name):
        """Return {"size", "mtime", "tail": None} of our copy, or None if there is none."""
        try:
            status = os.lstat(self.place(path, name))
        except (OSError, LayoutError):
            return None
        return ({"size": status.st_size, "mtime": status.st_mtime, "tail": None}
                if stat.S_ISREG(status.st_mode) else None)

    def changed(self, path, name):
        """Return when our copy, its times included, changed last (Unix s), None when this disk can't tell or
        there is no copy."""
        try:
            return local_disk.changed(os.lstat(self.place(path, name)))
        except (OSError, LayoutError):
            return None

    def appender(self, path, name):
        """Open our copy of an append-only file for appending (a file object, unbuffered), making it if it is
        absent. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | _EXACT
        return open(self._put(path, name, lambda file: os.open(file, flags, 0o666)), "ab", buffering=0)

    def replace(self, path, name, data):
        """Replace our copy by `data` (bytes), by rename. Raises OSError, LayoutError."""
        self._put(path, name, lambda file: layout.replace_file(file, data))

    def _put(self, path, name, write):
        """Return `write(where our copy lives)`, once more when the way there could be made free."""
        file = self.place(path, name)
        try:
            return write(file)
        except OSError as error:
            if not (isinstance(error, FileNotFoundError) and _make_above(file)
                    or self._clear_way(self._folders[path], file)):
                raise
            return write(file)

    def _clear_way(self, folder, file):
        """Make the folders above `file`; what stands where the server now has a folder, or has a file, is
        renamed to `<name>~1`.

        Returns whether anything was changed.
        """
        above = os.path.dirname(file)
        parts = os.path.relpath(above, folder).split(os.sep)
        levels = [folder, *(os.path.join(folder, *parts[:count]) for count in range(1, len(parts) + 1))]
        blocked = [level for level in levels if _is_no_folder(level)][:1]
        blocked += [file] if os.path.isdir(file) and not local_disk.is_link(file) else []
        for obstacle in blocked:
            asides = (f"{obstacle}~{number}" for number in range(1, 1000))
            disk.rename(obstacle, next(aside for aside in asides if not os.path.lexists(aside)))
        missing = not os.path.isdir(above)
        if missing:
            os.makedirs(above, exist_ok=True)
        return bool(blocked) or missing

    def take_part(self, gathered, path, name):
        """Put a gathered file in the place of our copy. Raises OSError, LayoutError."""
        self._put(path, name, lambda file: disk.replace(gathered, file))

    def touch(self, path, name, mtime):
        """Give our copy the server's mtime (s): it says up to which change we have it; returns whether that
        could be done: not where it is gone, or somebody else's. Raises OSError where the disk takes none."""
        try:
            if mtime is not None:
                os.utime(self.place(path, name), (mtime, mtime))
        except OSError as error:
            if error.errno in (*local_disk.DISK_ERRORS, *local_disk.SHORT):
                raise
            return False
        return True

    def read(self, path, name, offset, size):
        """Return at most `size` bytes of our copy from `offset` on; b"" when there is none."""
        try:
            with open(layout.open_regular(self.place(path, name)), "rb") as file:
                file.seek(offset)
                return file.read(size)
        except (OSError, LayoutError):
            return b""

    def tail(self, path, name, size):
        """Return the SHA-256 (hex) of the last 4 KiB before `size` of our copy."""
        start = max(0, size - manifest.TAIL)
        return hashlib.sha256(self.read(path, name, start, size - start)).hexdigest()


def _begins_with(longer, shorter, may_grow):
    """Whether the file `longer` begins with all that is in `shorter`, and ends there unless it `may_grow`."""
    try:
        with open(layout.open_regular(longer), "rb") as file, open(layout.open_regular(shorter),
                                                                   "rb") as beginning:
            for block in iter(lambda: beginning.read(BLOCK), b""):
                if file.read(len(block)) != block:
                    return False
            return may_grow or not file.read(1)
    except (OSError, LayoutError):
        return False


def _is_no_folder(path):
    """Whether something else stands where a folder belongs. Raises OSError where the disk does not tell what
    it is: then nothing is moved out of the way."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    is_link = local_disk.stands_for_another(status)
    return not (os.path.isdir(path) if is_link else stat.S_ISDIR(status.st_mode))


def _make_above(file):
    """Make the folders above a file; returns whether they are there now, which the other line's thread may
    have made in this moment."""
    try:
        os.makedirs(os.path.dirname(file), exist_ok=True)
    except OSError:
        return False
    return True


@functools.lru_cache(4096)
def _local_name(name):
    """Return the local name of a file directly in a run; most runs have the same five."""
    return local_names.local_name(local_names.safe_relative(name))
