"""The metrics that a program writes in files of other loggers' kinds, taken into its run while it runs.

Below the working folder and the folders of --watch, what is new since the program began is looked for and
read in a thread, a bounded share of one core at most. Files that stood before are not taken, but for what is
appended to them.
"""

import os
import threading
import time

from runicorn.foreign_names import CHECKPOINT, KINDS, SURE, is_looked_into, kind_by_name
from runicorn.layout import open_regular, tells_changes
from runicorn.writer.notice import say

# levels, folders in all, entries of a folder, files that are followed
DEPTH, FOLDERS, ENTRIES, FILES = 8, 20_000, 20_000, 500
# That stood before and are looked at again; bytes of their ends, by which those written anew are known
OLD_FILES, TAIL = 1000, 64
OLD_BYTES = 64 << 20        # of a file that stood before: a larger one is not read for what is appended
PAUSE_SECONDS = 0.5         # between two passes, at least
SHARE = 10                  # and this many times what the last one took
PASS_SECONDS = 0.3          # of reading in one pass
LAST_SECONDS = 5.0          # of reading when the program has ended
SEARCH_SECONDS = 0.5        # … of the processor, for looking for what is new until then
EARLY_SECONDS = 0.05        # a disk's clock ticks that coarsely
SPLITS = {"train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev"}


def _absolute(folder):
    """Return a folder's path (str), None below a working folder that was removed."""
    try:
        return os.path.abspath(folder)
    except OSError:
        return None


class ProgramFiles:
    """Call `start`, and `finish` when the program is over, both in the thread that waits for it."""

    def __init__(self, folders, ours, take, is_joined, logged=frozenset(), events=None):
        """folders: to look into (list of str). ours: paths of folders and (device, inode) of files that are
        not the program's (set). take: function(rows, config) for [(ts, step, {name: value}), ...] and
        settings that the files tell (dict). is_joined: function() that says whether a script logs to the run
        itself, too. logged: folders (set of str, which grows) whose event files it logs itself. events:
        function() -> path of the events that it writes."""
        roots = sorted({*filter(None, map(_absolute, folders))})
        self._roots = [root for root in roots
                       if not any(root.startswith(above.rstrip("/") + "/") for above in roots)]
        self._ours, self._take, self._is_joined, self._logged = ours, take, is_joined, logged
        self._began = time.time() - EARLY_SECONDS
        # path -> (mtime in ns, None while that may not tell of a change; [paths of folders in it])
        self._folders = {}
        self._stood = set()             # files that are not taken
        self._files = {}                # path -> Followed; of a Trainer's states the folder above
        # Folder -> {path of a file that is of no kind yet, or did not grow yet: its size at the last look}
        self._doubtful = {}
        # Path of a file that stood before -> (its size then, its last bytes then)
        self._tails = {}
        self._owners, self._kinds, self._settings = {}, {}, set()
        self._events, self._doubles = events, None
        self._is_first = True
        # s of a thread's processor time when a pass began, so many it may take for looking, and s when no
        # folder is looked into any more
        self._search_began, self._search_seconds, self._search_ends = 0.0, float("inf"), float("inf")
        self._stop = threading.Event()
        self._thread = None

    def start(self):
        try:
            self._thread = threading.Thread(target=self._run, name="runicorn-files", daemon=True)
            self._thread.start()
        except RuntimeError:
            self._thread = None         # no room for a thread: `finish` reads all

    def _run(self):
        pause = 0.0
        while not self._stop.wait(pause):
            begun = time.monotonic()
            self._one_pass(begun + PASS_SECONDS)
            pause = max(PAUSE_SECONDS, SHARE * (time.monotonic() - begun))

    def finish(self):
        """Read what is left, within some seconds."""
        self._search_seconds, self._search_ends = SEARCH_SECONDS, time.monotonic() + LAST_SECONDS
        self._stop.set()
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)
            if self._thread.is_alive():
                return                  # a disk hangs
        self._search_ends = time.monotonic() + LAST_SECONDS
        self._one_pass(self._search_ends, is_last=True)

    def _one_pass(self, deadline, is_last=False):
        self._search_began = time.thread_time()
        try:
            for root in self._roots:
                self._look(root, 0)
            self._is_first = self._is_first and self._is_late()
            for file in list(self._files.values()):
                if not (file.folder in self._logged and "tfevents" in os.path.basename(file.path)):
                    self._read(file, deadline)
            if self._doubles is not None:
                self._take(self._doubles.settle(is_last), {})
        except Exception as error:      # a fault of ours costs these metrics, not the run
            say(f"metrics in the program's files: {type(error).__name__}: {error}",
                once=("files", type(error).__name__))

    def _is_late(self):
        """Whether this pass looks for nothing more: a busy machine gets its time, a disk that hangs does
        not."""
        return (time.thread_time() - self._search_began > self._search_seconds
                or time.monotonic() > self._search_ends)

    # -- which files -----------------------------------------------------------------------------------------

    def _look(self, folder, depth):
        """Look into a folder and those below it that changed."""
        if depth > DEPTH or folder in self._ours or len(self._folders) > FOLDERS or self._is_late():
            return
        try:
            changed = os.stat(folder).st_mtime_ns
            listing = self._folders.get(folder)
            if listing is None or listing[0] != changed:
                mark = changed if tells_changes(changed) else None
                listing = self._folders[folder] = (mark, self._list(folder, changed / 1e9 >= self._began))
        except OSError:
            return                      # gone, or not for us
        for path in listing[1]:
            self._look(path, depth + 1)
        for path in list(self._doubtful.get(folder, ())):
            self._consider(path)

    def _list(self, folder, is_changed):
        folders = []
        with os.scandir(folder) as entries:
            for _, entry in zip(range(ENTRIES), entries):
                if entry.is_dir(follow_symlinks=False):
                    if is_looked_into(entry.name):
                        folders.append(entry.path)
                elif (kind_by_name(entry.name) and entry.path not in self._stood
                      and entry.path not in self._files and entry.is_file(follow_symlinks=False)):
                    self._meet(entry.path, entry.stat(follow_symlinks=False), is_changed)
        return folders

    def _meet(self, path, status, is_changed):
        """Decide on a file that is seen for the first time. is_changed: whether its folder got or lost an
        entry since the beginning."""
        if (status.st_dev, status.st_ino) in self._ours:
            self._stood.add(path)
        elif not self._is_first or is_changed and status.st_mtime >= self._began:
            self._consider(path)
        elif status.st_size <= OLD_BYTES and len(self._tails) < OLD_FILES:
            self._tails[path] = status.st_size, _tail(path, status.st_size)
            self._consider(path)
        else:
            self._stood.add(path)

    def _consider(self, path):
        """Follow a file if it is of a kind, one that stood before once it has grown; a text file is looked
        into again when it has."""
        kind, doubtful = (kind_by_name(os.path.basename(path)),
                          self._doubtful.setdefault(os.path.dirname(path), {}))
        try:
            size = os.stat(path).st_size
        except OSError:
            size = -1
        if size == doubtful.get(path) or size < 0:
            return
        doubtful[path] = size
        skip, tail = self._tails.get(path, (0, b""))
        if skip and size == skip:
            return                      # nothing came since
        if skip and _tail(path, skip) != tail:
            skip = 0                    # written anew
        if kind not in SURE:
            from runicorn.foreign import ends
            from runicorn.foreign_text import kind_by_content  # here: few programs write such files
            kind = kind_by_content(kind, *ends(path, size))
        if kind is not None:
            del doubtful[path]
            self._follow(path, kind, skip)

    def _follow(self, path, kind, skip):
        from runicorn.metrics.follow import Followed
        folder, key = os.path.dirname(path), path
        if kind == "trainer" and CHECKPOINT.match(os.path.basename(folder)):
            self._stood.add(path)
            folder = key = os.path.dirname(folder)
            if key in self._files:
                self._files[key].move(path)
                return
        if len(self._files) < FILES:
            self._files[key] = Followed(path, kind, folder, skip)

    # -- what is in them -------------------------------------------------------------------------------------

    def _read(self, file, deadline):
        more = True
        while more and time.monotonic() < deadline:
            try:
                rows, more = file.step()
            except OSError:
                return                  # taken away; it may come back
            named = [(ts, step, self._named(ts, step, data, file)) for ts, step, data in rows]
            config = (file.reader.facts().get("config") or {} if rows and file.path not in self._settings
                      else {})
            if config:
                self._settings.add(file.path)
            if named:
                self._take([row for row in named if row[2]], config)

    def _named(self, ts, step, data, file):
        """Return what a row names in the run: as in the file, behind the folder's name where several folders
        have the same metric. What the script may log itself waits.

        In one folder a metric that stands in files of two kinds is taken from the one that is believed first.
        """
        named, folder, kind = {}, file.folder, file.kind
        if self._doubles is None and self._events is not None and self._is_joined():
            from runicorn.cli.program_doubles import Doubles  # here: few programs log in both ways
            self._doubles = Doubles(self._events)
        for name, value in data.items():
            if KINDS.index(kind) > KINDS.index(self._kinds.setdefault((folder, name), kind)):
                continue
            self._kinds[folder, name] = kind
            curve = self._owned(name, folder)
            if self._doubles is None or not self._doubles.holds(curve, name, ts, step, value):
                named[curve] = value
        return named

    def _owned(self, name, folder):
        last = os.path.basename(folder)
        joined = f"{last}/{name}"
        if (last.lower() in SPLITS and not name.lower().startswith(last.lower() + "/") or self._is_joined()
                and folder not in self._roots):
            name = joined
        for candidate in (name, joined, f"{os.path.relpath(folder, self._roots[0])}/{name}"):
            if self._owners.setdefault(candidate, folder) == folder:
                return candidate
        return candidate


def _tail(path, size):
    """Return the last bytes before `size` of a file; nothing of one that can't be read."""
    try:
        with open(open_regular(path), "rb") as file:
            file.seek(max(0, size - TAIL))
            return file.read(min(size, TAIL))
    except OSError:
        return b""
