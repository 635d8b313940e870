"""The runs of a root on this machine: scanned, watched by the times of folders, and asked of their
processes."""

from __future__ import annotations

import collections
import os
import time
from typing import TYPE_CHECKING

from runicorn import foreign, layout, local_disk, local_names, manifest, manifest_lines
from runicorn.reader import file_marks, first_look, own_runs, quick_stats
from runicorn.reader.file_marks import live_beats
from runicorn.reader.liveness import LOST
from runicorn.reader.records import record_of
from runicorn.reader.sources import Source, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BUILD_AGAIN = 300.0         # s; a full look at a local root, for what the cheap looks can't see
# s; the same where other loggers write: in what folder the next run begins, nobody knows
FOREIGN_AGAIN = 15.0
# s; folders changed within their mtime's second are looked at once more after this
SETTLE = 2.5
# s; at the first scan, folders changed so recently may be changing still (file servers' clocks differ)
FRESH = 60.0
# A look that took t seconds is not repeated before PACE * t, and SHARE * t where nothing moved: 1 % of a core
PACE, SHARE = 20, 100
# So many times what it takes lie between two looks at all folders: 0.2 % of a core
LOOK = 500
MANY = 2000                 # runs in a root whose first look takes long enough that …
NEWEST = 200                # … so many are shown before it has come to all
UNREADABLE = {"code": "unreadable", "text": "it can't be read: permission denied"}


class LocalRoot(Source):
    """A root on this machine."""

    def __init__(self, slug, folder, kept_path=None):
        super().__init__(slug, folder, kept_path=kept_path)
        self._tree, self._built, self._again, self._cost = None, None, None, 0.0
        self.is_whole = False
        self._looked_into = {}      # see foreign.find
        self._foreign_names = {}    # path of another logger's run -> names of its files, as last found
        self._first_found = None    # other loggers' runs, found before anything else was known
        self._listed = None, []     # version of the records, the folders that hold them
        self._mtimes, self._stat_at = [], float("-inf")
        self.passed = collections.Counter()         # {reason: count} of what a command's look passed over
        self.others_passed = {}                     # the same of the search for other loggers' runs
        # Ids of the runs at the last scan; another one that beats is new
        self._writers, self._ids = own_runs.Writers(folder), set()

    def begin(self, look: bool = False, shown: Callable[..., Any] | None = None) -> None:
        """Take what the last viewer knew: enough to answer at once. look: where nothing is known, read each
        run's small files, or where there are none find those of other loggers;
        shown: called when the newest runs of a big root are here and the others are not."""
        with self.lock:
            # Before anybody looks: a beat that comes to be known is no sign of life
            self.beats = live_beats(self.folder)
            if not self._begun() and look:
                self._look_first(shown)

    def _look_first(self, shown):
        paths = first_look.paths(os.fspath(self.folder))
        records = {}
        if len(paths) > MANY:
            records = self._read(first_look.newest(paths, NEWEST))
            self._replace(records)
            shown()
        records = {**records, **self._read(path for path in paths if path not in records)}
        self._replace({path: records[path] for path in paths if path in records} or self._found_first())

    def _found_first(self):
        """Return the records of other loggers' runs, {path: Record}, by what their paths and the names and
        times of their files tell; what is in those the first scan reads."""
        if not os.path.isdir(self.folder):
            return {}
        self._first_found = self._find_others(self.folder, collections.Counter(), ())
        return {path: record for path, record in ((run.path, _found(run)) for run in self._first_found)
                if record}

    def _read(self, paths):
        return {path: record_of(path, entry, excerpt)
                for path, entry, excerpt, _ in first_look.entries(os.fspath(self.folder), paths)}

    def _begun(self):
        """Take the index that was kept, or that a server's command left in the root; returns whether there
        was one."""
        for path in ([f"{self.kept_path}.json"] if self.kept_path
                     else []) + [self.folder / layout.HIDDEN / manifest.FULL]:
            try:
                index = manifest.load(path)
            except manifest.ManifestError:
                continue                    # none yet
            ours = os.path.abspath(index.header.get("root", "")) == os.path.abspath(self.folder)
            # Another user may have left one here
            if ours and all(map(local_names.is_plain, index.paths())):
                self.take(index)
                return True
        return False

    def _feel(self, path, pulse, now):
        """Look as at any run; of one that this machine wrote its process and its times tell more, at the
        first look already."""
        if self.records[path].kinds:
            statuses = self.foreign_statuses(path)
            age = (own_runs.foreign_age(os.fspath(self.folder),
                                        [status.st_mtime for status in statuses.values()])
                   if pulse.first_look is None else None)
            if age is not None:
                pulse.resume(now - max(age, LOST), now, now - age)
            return self._feel_foreign(path, pulse, now, statuses)
        writer = self._writers.of(path, self.records[path])
        if writer.lives is False:
            self.reread(path)           # a process that ends by itself says so first
            if path not in self.pulses:
                return True
        elif writer.same_clock and pulse.first_look is None:
            age, row_age = own_runs.ages(os.fspath(self.run_folder(path)), writer)
            if age is not None:
                pulse.resume(now - max(age, LOST), now, now - age, None if row_age is None else now - row_age)
        died = pulse.writer_ended(writer.lives is False)
        return super()._feel(path, pulse, now) or died

    def left_out(self, path: str) -> dict[str, dict[str, Any]]:
        folder = os.fspath(self.run_folder(path))
        names = [*layout.SMALL, *quick_stats.own_sizes(folder)]
        return {name: dict(UNREADABLE) for name in names
                if os.path.lexists(os.path.join(folder, name))
                and not os.access(os.path.join(folder, name), os.R_OK)}

    def refresh(self, now: float) -> None:
        """Scan what may have changed. now: s of a monotonic clock. Raises OSError where this machine is short
        of descriptors or memory; an absent root has no runs."""
        with self.lock:
            self.beats = live_beats(self.folder)
            tree = self._folders(now)
            due = (self._built is None or tree != self._tree or now - self._built > self._rest()
                   or (self._again and now >= self._again) or not self.beats.keys() <= self._ids)
            if due and (self._built is None or now - self._built >= PACE * self._cost):
                changing = (tree != self._tree if self._tree
                            else max(filter(None, tree), default=0) / 1e9 > time.time() - FRESH)
                self._again = now + SETTLE if changing else None
                self._tree, self._built = tree, now
                self._build()
            self._go_on()

    def texts(self):
        return texts_of(dict(self._looked_into))

    def forget_kinds(self):
        self._looked_into, self._built, self._first_found = {}, None, None

    def _rest(self):
        """Return after how many seconds everything is looked at again."""
        has_foreign = not self.records or any(record.kinds for record in self.records.values())
        return max(FOREIGN_AGAIN, SHARE * self._cost) if has_foreign else BUILD_AGAIN

    def _go_on(self):
        """Read again what beats though it had ended: a resumed run."""
        ids = self.beats.keys() - {path.rpartition("/")[2] for path in self.pulses}
        for path in [path for path in self.records if path.rpartition("/")[2] in ids] if ids else ():
            self.reread(path)

    def _build(self):
        started = time.perf_counter()
        try:
            index = manifest.build(self.folder, self._manifest, find_others=self._find_others,
                                   into=self._spool())
            lines = manifest_lines.spooled(index.lines, self._index_folder(), manifest.BITS)
            self.take(manifest.Manifest(index.header, lines, index.skipped))
        except manifest.ManifestError:
            self._replace({})                   # absent or not readable: shown as empty
        self._ids = self.beats.keys() | {path.rpartition("/")[2] for path in self.records}
        self._cost, self.is_whole = time.perf_counter() - started, True

    def _index_folder(self):
        """Return our own folder for what is known of roots (str, made where it is not there), or the system's
        for temporary files."""
        folder = os.path.dirname(self.kept_path) if self.kept_path else None
        try:
            os.makedirs(folder or "", exist_ok=True)
        except OSError:
            return None             # no home, or one that can't be written to
        return folder

    def _spool(self):
        """Return what a first look at many runs puts their lines into, None where memory will do."""
        if self._manifest is not None or len(self.records) < MANY or not hasattr(os, "pread"):
            return None
        try:
            return manifest_lines.Spool(self._index_folder(), manifest.BITS)
        except OSError:
            return None             # no room

    def _find_others(self, folder, skipped, ours):
        """Find other loggers' runs, as foreign.find does, and note what was passed over where they, or too
        much, lie in the root."""
        runs, self._first_found = self._first_found, None
        if runs is not None and not ours:
            return runs             # a moment ago
        passed = collections.Counter()
        runs = foreign.find(folder, passed, ours, self._looked_into, self.rules)
        self._foreign_names = {run.path: tuple([file[0] for file in run.files]) for run in runs}
        for reason, count in passed.items():
            skipped[reason] = max(skipped[reason], count)       # the look at ours counted some of these
        self.others_passed = {reason: count for reason, count in passed.items()
                              if count and (runs or " beyond " in reason)}
        return runs

    def foreign_files(self, path):
        return self._foreign_names.get(path) or super().foreign_files(path)     # before the first search

    def _folders(self, now):
        """Return the mtimes of all folders whose content is runs or folders of runs, not older than LOOK
        times what it takes."""
        if self._listed[0] != self.version:
            foreign_folders = {foreign.folder_of(path)
                               for path, record in self.records.items() if record.kinds}
            runs = {path.rpartition("/")[0] for path, record in self.records.items() if not record.kinds}
            names = {path.rpartition("/")[0] for path in runs}
            projects = {path.rpartition("/")[0] for path in names}
            roots = {local_names.root_of(path) for path in projects}
            self._listed = self.version, sorted({"", *roots, *projects, *names, *runs,
                                                 *_and_above(foreign_folders)})
            self._stat_at = float("-inf")
        if now >= self._stat_at:
            started = time.perf_counter()
            self._mtimes = [file_marks.mtime_ns(local_disk.reach(f"{self.folder}/{folder}"))
                            for folder in self._listed[1]]
            self._stat_at = now + LOOK * (time.perf_counter() - started)
        return self._mtimes


def _found(run):
    """Return the Record of a foreign.Run, None where no run can be at its path."""
    files = {name: {"mtime": manifest.seconds(mtime)} for name, _, mtime, *_ in run.files}
    try:
        return record_of(manifest.said(run.path), {"kinds": run.kinds, "files": files})
    except layout.LayoutError:
        return None


def _and_above(folders):
    """Return some folders (paths) and all those above them, but for the root (set)."""
    ancestors = set()
    for folder in folders:
        while folder and folder not in ancestors:
            ancestors.add(folder)
            folder = folder.rpartition("/")[0]
    return ancestors
