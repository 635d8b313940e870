"""The runs of one root in memory, whatever tells of them: a folder that is scanned (local_root) or a mirror's
index (mirror_source). One record a run, nothing of its events."""

from __future__ import annotations

import collections
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import foreign, layout, left_out, local_disk, local_names, manifest
from runicorn.errors import LayoutError
from runicorn.foreign_rules import Rules
from runicorn.reader import kept, quick_stats
from runicorn.reader.file_marks import file_mark, packed
from runicorn.reader.glances import Glances
from runicorn.reader.liveness import CHECKING, Pulse, as_of, judge, judge_foreign
from runicorn.reader.records import LARGEST, Record, record_of, told

if TYPE_CHECKING:
    from typing import Any

LOST_TURN = 15              # runs without a sign of life are looked at in every n-th round only


class Source:
    """The records of one root and the pulses of its open runs. Refreshed by one thread, read by any."""

    local = True
    is_whole = True             # whether all of its runs, other loggers' too, are among the records

    def __init__(self, slug: str, folder: str | os.PathLike[str], name: Any = None,
                 kept_path: Path | None = None) -> None:
        """kept_path: path (without ending) at which to keep what was read for the next start, or None."""
        self.slug, self.name, self.folder, self.kept_path = slug, name or slug, Path(folder), kept_path
        # path -> Record; the dict is replaced when runs come or go, a Record when its run changed
        self.records = {}
        self.dirty = set()          # paths whose Record was replaced since somebody cleared this
        self.pulses = {}            # path -> Pulse of runs that have not ended
        self.beats = {}             # run id -> a number that moves when the heart beats
        self.version = 0            # grows when runs came or went
        self.up = True              # whether our line to it is up
        # path -> Verdict of a run that has not ended, by a viewer that looks at the same folder
        self.verdicts_told = {}
        self.patience = CHECKING    # s; see liveness.Pulse.judge
        self.rules = Rules()        # of one's own, for what other loggers wrote
        self.columns = None if kept_path is None else Path(kept_path).parents[1] / "columns"
        self.glances = Glances()    # when other loggers' runs are read
        # path -> median s between the rows of another logger's run, once somebody read them
        self._gaps = {}
        self.lock = threading.Lock()
        self._manifest = None
        self._round = 0

    def rename(self, name: str) -> None:
        """Take over what the root is called (str)."""
        self.name = name

    def follow_rules(self, rules):
        """Take over the Rules of the root; where they are others, what was read by
        those before is read anew."""
        if rules != self.rules:
            self.rules = rules
            self.forget_kinds()
            self.dirty.update(path for path, record in self.records.items() if record.kinds)

    def forget_kinds(self):
        """Forget which text files are of which kind: the index tells."""

    def texts(self):
        """Return [{"path", "size", "changed" (Unix s), "kind" (str or None)}, ...] of text files below the
        root that were looked into."""
        texts = layout.read_json(self.folder / ".index" / "foreign.json") or {}
        return texts_of({**_table(texts.get("texts")), **_table(texts.get("asked"))})

    def read_by(self, glances: Glances) -> None:
        """From now on, have other loggers' runs read as a Glances says."""
        self.glances = glances

    def hurry(self, seconds):
        """Judge a run that was not seen to move after so many seconds of looking."""
        self.patience = seconds

    def know_gap(self, path: str, gap: float | None) -> None:
        """Take over the median time between the rows of another logger's run (s), or None."""
        self._gaps[path] = gap

    def run_folder(self, path: str) -> Path:
        """Return where the run's files are on this machine (Path)."""
        return local_disk.reach(self.folder / foreign.folder_of(path))

    def take(self, index):
        """Bring the records in line with a Manifest; unchanged lines keep their records."""
        earlier = self.records or kept.load(self.kept_path, index, Record.again)
        records = {}
        for path in index.paths():
            line, record = index.line(path), earlier.get(path)
            if record is None or record.line != told(line):
                record = self._parsed(index, path, line)
            if record is not None:
                records[path] = record
        self._manifest = index
        self._replace(records)

    def _parsed(self, index, path, line):
        try:
            try:
                return record_of(path, self._whole(path, index.entry(path)), line)
            except manifest.ManifestError:
                return record_of(path, None, line, error="its line in the index can't be read")
        except layout.LayoutError:
            # a path that is no run's, from an index somebody else wrote, or another
            # logger's, of which nothing but its line tells what it is
            return None

    def _whole(self, path, entry):
        """Return `entry` with small files that were too large for the index ("truncated": size)
        read from the run's folder."""
        for stem, most in LARGEST.items():
            if "truncated" in (entry[stem] or {}):
                entry[stem] = layout.read_json(self.run_folder(path) / f"{stem}.json", limit=most)
        return entry

    def _replace(self, records):
        if records.keys() != self.records.keys():
            self.version += 1
        self.dirty.update(path for path, record in records.items() if self.records.get(path) is not record)
        self.records = records
        self.pulses = {path: self.pulses.get(path) or Pulse()
                       for path, record in records.items() if not record.ended}

    def reread(self, path: str) -> bool:
        """Read the run's small JSON files again if one changed; returns whether one did."""
        record = self.records.get(path)
        if record is None or record.kinds:
            return False
        folder = str(self.run_folder(path))
        marks = packed([file_mark(os.path.join(folder, name)) for name in layout.SMALL])
        if marks == record.small or not any(marks):
            return False
        fresh_record = record.small is None
        small = {stem: layout.read_json(os.path.join(folder, f"{stem}.json")) for stem in layout.STEMS}
        if None in small.values():          # not fetched yet, or broken: what the index has is the next best
            small.update((stem, (self.entry(path) or {}).get(stem))
                         for stem, value in small.items() if value is None)
        fresh = record_of(path, small, record.line, marks)
        self.records[path] = fresh
        self.dirty.add(path)
        if fresh.ended:
            self.pulses.pop(path, None)
        else:
            self.pulses.setdefault(path, Pulse())
        return (not fresh_record or (fresh.status, fresh.summary, fresh.config)
                != (record.status, record.summary, record.config))

    def save(self) -> None:
        """Keep what was read for the next start."""
        if self.kept_path and self._manifest:
            kept.save(self.kept_path, self._manifest, self.records, with_manifest=self.local)

    def look(self, now: float, paths: list[str] | None = None) -> tuple[set[str], set[str]]:
        """Look at open runs (all that are due, or `paths`) at `now`, s of a monotonic clock.

        Returns (paths whose files grew or whose heart beat, paths whose small files changed).
        """
        with self.lock:
            self._round += 1
            grown, changed = set(), set()
            for path in list(self.pulses) if paths is None else paths:
                pulse = self.pulses.get(path)
                if pulse is None or (paths is None and self._rests(path, pulse)):
                    continue
                before = self.verdict(self.records[path]).state
                if self.reread(path):
                    changed.add(path)
                if self._feel(path, pulse, now):
                    grown.add(path)
                if self.verdict(self.records[path]).state != before:
                    changed.add(path)
            return grown, changed

    def _feel(self, path, pulse, now):
        """Look at one run's heart and files; return whether they moved."""
        if self.records[path].kinds:
            return self._feel_foreign(path, pulse, now, self.foreign_statuses(path))
        folder = str(self.run_folder(path))
        sizes = quick_stats.own_sizes(folder)
        rows = tuple([size for name, size in sorted(sizes.items()) if name.startswith("events")])
        beat = self.beats.get(path.rpartition("/")[2]) or file_mark(os.path.join(folder, layout.BEAT))
        return pulse.look(now, (beat, sizes), rows, self._answers(path))

    def _feel_foreign(self, path, pulse, now, statuses):
        """… at one that another logger writes, whose files have `statuses`, {name: os.stat_result}."""
        sizes = {name: status.st_size for name, status in statuses.items()}
        return pulse.look(now, (None, sizes), tuple(sizes.values()), self._answers(path))

    def _answers(self, path):
        """Return the numbers of the last answers about the run's heart and its files; None:
        every look is a new one."""
        return None, None

    def _rests(self, path, pulse):
        """Whether a lost run, whose heart did not move since, is left out of this round."""
        record = self.records[path]
        if pulse.sign is None or (self._foreign_verdict(record).state != "quiet" if record.kinds
                                  else pulse.judge().state != "lost"):
            return False
        return (self.beats.get(path.rpartition("/")[2]) in (None, pulse.sign[0])
                and (hash(path) + self._round) % LOST_TURN != 0)

    def believe(self, up, verdicts):
        """Take over what a viewer says that looks at the same folder: whether its line is up,
        {path: Verdict} of open runs."""
        self.up, self.verdicts_told = up, verdicts

    def verdict(self, record):
        """Return the liveness.Verdict on the run of a record."""
        if record.path in self.verdicts_told and not record.ended:
            return self.verdicts_told[record.path]
        pulse = self.pulses.get(record.path)
        verdict = (self._foreign_verdict(record) if record.kinds
                   else judge(record.status, pulse, patience=self.patience))
        if verdict.code == "no_rows":
            folder = self.run_folder(record.path)
            verdict = judge(record.status, pulse, quick_stats.gap(folder, quick_stats.own_sizes(folder)))
        age = None if record.ended or verdict.code == "first_look" else self._age()
        return verdict if age is None else as_of(verdict, age)

    def _foreign_verdict(self, record):
        return judge_foreign(self.pulses.get(record.path), self._gaps.get(record.path))

    def _age(self):
        """Return how old what is known of the open runs is (s), None where it is of now."""
        return None

    def entry(self, path: str) -> dict[str, Any] | None:
        """Return the run's entry in the index (dict), or None if the index has none or
        can't be read there."""
        try:
            return self._manifest.entry(path) if self._manifest and path in self._manifest else None
        except manifest.ManifestError:
            return None         # the list says so

    def verified(self, path: str) -> tuple[Any, Any]:
        """Return (whether our copy of the run is what the server had, when that was (Unix s) or None); (None,
        None) without a server."""
        return None, None

    def is_undated(self, path: str) -> bool:
        """Whether the server tells no time of a file of the run, so that our copy is
        never verified (bool)."""
        return False

    def is_unhashed(self, path):
        """Whether a log of the run is so large that it is compared with the server's
        only once it rests (bool)."""
        return False

    def agrees(self, path, indexed, places):
        """Return {name: whether our copy is what the server had, None where it is not here} of a
        run's files; see `copies`."""
        return {}

    def remote_path(self, path: str) -> None:
        """Return where the server keeps the run (str), or None."""
        return None

    def copies(self, path: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Return ({file name: {"size", "mtime"}} of what the server has of the run, {name: its name in our
        folder}, {name: why it is not here}); empty where there is no server."""
        return {}, {}, {}

    def left_out(self, path):
        """Return {name: {"code", "text"}} of the run's files that are not fetched, or not
        read, though they should be."""
        return {}

    def beyond(self, path: str) -> int:
        """Return how many files and folders of the run its index leaves out because
        there are too many (int)."""
        return left_out.checked((self.entry(path) or {}).get("skipped")).get(manifest.FULL_RUN, 0)

    def passed_over(self, path: str) -> dict[str, int]:
        """Return {reason: count} of what else is in the run's folder, where it was written,
        and not among its files."""
        # what else is in its folder is no part of another logger's run
        kinds = path in self.records and self.records[path].kinds
        look = None if kinds else manifest.look_at(str(self.run_folder(path)), None, collections.Counter())
        return ({reason: count for reason, count in look.skipped.items() if reason != manifest.FULL_RUN}
                if look else {})

    def there(self, path: str) -> dict[str, Any]:
        """Return {name: bytes} of the run's append-only files as the server has them;
        empty where there is none."""
        return {}

    def behind(self, path):
        """Return by how many seconds our clock is ahead of the one that gives the run's
        files their times (float)."""
        return 0.0

    def place(self, path: str, name: str) -> str:
        """Return the name that a file of the run has in our folder (str)."""
        return name

    def foreign_files(self, path: str) -> dict[str, dict[str, Any]]:
        """Return the names of the files of another logger's run (iterable of str)."""
        return (self.entry(path) or {}).get("files", ())

    def foreign_sizes(self, path: str) -> dict[str, int]:
        """Return {name: bytes} of the files of another logger's run that are here."""
        return {name: status.st_size for name, status in self.foreign_statuses(path).items()}

    def foreign_statuses(self, path: str) -> dict[str, os.stat_result]:
        """Return {name: os.stat_result} of the files of another logger's run that are here."""
        folder, statuses = os.fspath(self.run_folder(path)), {}
        for name in sorted(self.foreign_files(path)):
            # gone since it was listed, or an index that somebody else left
            with suppress(OSError, LayoutError):
                local_names.safe_relative(name)
                statuses[name] = os.stat(os.path.join(folder, self.place(path, name)))
        return statuses


def _table(value):
    return value if isinstance(value, dict) else {}


def texts_of(text_states):
    """Return what Source.texts does of {path: (state, kind)} as foreign.find has it, here
    or from another machine."""
    states = [(path, state[0], state[1])
              for path, state in text_states.items() if isinstance(state, (list, tuple)) and len(state) == 2
              and isinstance(state[0], (list, tuple)) and [type(number) for number in state[0]] == [int, int]]
    return [{"path": path, "size": size, "changed": mtime / 1e9 if mtime > 1e12 else mtime, "kind": kind}
            for path, (size, mtime), kind in states if kind in (None, "log", "jsonl")]
