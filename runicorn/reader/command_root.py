"""A local root as a command reads it, once and then no more: of each run only the small JSON files that moved
since the last command.

Their times, sizes and numbers are looked at, three a run; a viewer, which stays, makes the whole manifest
instead.
"""

from __future__ import annotations

import collections
import os

from runicorn import layout, local_disk, manifest
from runicorn.reader import first_look, kept
from runicorn.reader.file_marks import file_mark, live_beats, packed
from runicorn.reader.local_root import LocalRoot
from runicorn.reader.records import LARGEST, Record, record_of
from runicorn.shares import shared_out

STEMS = dict(zip(layout.STEMS, layout.SMALL))
FEW = 20        # runs read anew are sooner read once more than all are written


class CommandRoot(LocalRoot):
    """A root on this machine, for one process that ends soon. Refreshed by one thread, read by any."""

    def begin(self, look=False, shown=None):
        """Take what the last command knew; `refresh` sees what of it still holds."""
        with self.lock:
            self.beats = live_beats(self.folder)
            self._former = kept.load_small(self.kept_path, Record.again)

    def refresh(self, now: float) -> None:
        """Read what is new or changed. Raises OSError for a shortage alone: an absent root has no runs."""
        with self.lock:
            self.beats = live_beats(self.folder)
            folder, self.passed = os.fspath(self.folder), collections.Counter()
            records = {path: self._unmoved(path, f"{folder}/{path}")
                       for path in first_look.paths(folder, self.passed)}
            moved = [(path,) for path, record in records.items() if record is None]
            for (path,), answer in zip(moved, shared_out(moved, self._read_small, self.passed)):
                records[path] = Record.again(*answer) if answer else None
            records = {path: record for path, record in records.items() if record is not None}
            records.update(self._find_foreign(records))
            self._moved = sum(path in records for path, in moved) + len(self._former.keys() - records.keys())
            self._former = {path: record for path, record in records.items() if not record.kinds}
            self._replace(dict(records))

    def _find_foreign(self, records):
        """Return {path: Record} of other loggers' runs. records: those of ours."""
        ours = {path.rpartition(f"/{layout.RUNS}/")[0] for path in records}
        runs = self._find_others(os.fspath(self.folder), self.passed, ours)
        return {run.path: record_of(run.path,
                                    {"kinds": run.kinds, "files": {name: {"size": size, "mtime": mtime / 1e9}
                                                                   for name, size, mtime, *_ in run.files}})
                for run in runs}

    def _unmoved(self, path, folder):
        """Return the Record of a run as the last command knew it, None where a small file moved since."""
        record = self._former.get(path)
        marks = record and [file_mark(local_disk.reach(f"{folder}/{name}")) for name in layout.SMALL]
        return record if record and record.small == packed(marks) else None

    def _read_small(self, path, skipped):
        """Return what Record.again makes the Record of a run of as its small files are now, None where they
        may not be read."""
        folder = local_disk.reach(f"{self.folder}/{path}")
        if not os.access(folder, os.R_OK | os.X_OK):
            skipped["unreadable"] += 1
            return None
        for _, entry, _, marks in first_look.entries(os.fspath(self.folder), [path]):
            for (stem, name), mark in zip(STEMS.items(), marks):
                if entry[stem] is None and mark and mark[1] > manifest.INLINE:
                    entry[stem] = layout.read_json(f"{folder}/{name}", limit=LARGEST[stem])
            return record_of(path, entry).kept(), None, packed(marks)
        return None

    def save(self) -> None:
        """Keep what was read for the next command."""
        if self.kept_path and self._moved > FEW:
            kept.save_small(self.kept_path, self._former.values())

    def beyond(self, path: str) -> int:
        look = manifest.look_at(str(self.run_folder(path)), None, collections.Counter())
        return look.skipped.get(manifest.FULL_RUN, 0) if look else 0
