"""The runs of one root in memory: a local root is scanned, a mirror's index is read. One record a run, nothing of its events."""

from __future__ import annotations

import collections
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import foreign, layout, left_out, local_disk, local_names, manifest
from runicorn.errors import LayoutError
from runicorn.foreign_rules import Rules
from runicorn.mirror import local_copy, run_places
from runicorn.mirror.verified import agrees, checked, is_unhashed, sound, verified
from runicorn.reader import kept, quick_stats
from runicorn.reader.file_marks import file_mark, packed
from runicorn.reader.foreign_index import ForeignIndex
from runicorn.reader.glances import Glances
from runicorn.reader.liveness import CHECKING, Pulse, as_of, judge, judge_foreign
from runicorn.reader.records import LARGEST, Record, record_of, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SILENT = 600.0              # s; sync writes live.json every few seconds while its line is up
LOST_TURN = 15              # runs without a sign of life are looked at in every n-th round only


class Source:
    """The records of one root and the pulses of its open runs. Refreshed by one thread, read by any."""

    local = True

    def __init__(self, slug: str, folder: str | os.PathLike[str], name: Any = None,
                 kept_path: Path | None = None) -> None:
        """kept_path: path (without ending) at which to keep what was read for the next start, or None."""
        self.slug, self.name, self.folder, self.kept_path = slug, name or slug, Path(folder), kept_path
        self.records = {}           # path -> Record; the dict is replaced when runs come or go, a Record when its run changed
        self.dirty = set()          # paths whose Record was replaced since somebody cleared this
        self.pulses = {}            # path -> Pulse of runs that have not ended
        self.beats = {}             # run id -> a number that moves when the heart beats
        self.version = 0            # grows when runs came or went
        self.up = True              # whether our line to it is up
        self.verdicts_told = {}              # path -> Verdict of a run that has not ended, by a viewer that looks at the same folder
        self.patience = CHECKING    # s; see liveness.Pulse.judge
        self.rules = Rules()        # of one's own, for what other loggers wrote
        self.columns = None if kept_path is None else Path(kept_path).parents[1] / "columns"
        self.glances = Glances()    # when other loggers' runs are read
        self._gaps = {}             # path -> median s between the rows of another logger's run, once somebody read them
        self.lock = threading.Lock()
        self._manifest = None
        self._round = 0

    def rename(self, name: str) -> None:
        """Take over what the root is called (str)."""
        self.name = name

    def follow_rules(self, rules):
        """Take over the Rules of the root; where they are others, what was read by those before is read anew."""
        if rules != self.rules:
            self.rules = rules
            self.forget_kinds()
            self.dirty.update(path for path, record in self.records.items() if record.kinds)

    def forget_kinds(self):
        """Forget which text files are of which kind: the index tells."""

    def texts(self):
        """Return [{"path", "size", "changed" (Unix s), "kind" (str or None)}, ...] of text files below the root that were looked into."""
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
            return record_of(path, self._whole(path, index.entry(path)), line)
        except manifest.ManifestError:
            return record_of(path, None, line, error="its line in the index can't be read")
        except layout.LayoutError:
            return None         # a path that is no run's, from an index somebody else wrote

    def _whole(self, path, entry):
        """Return `entry` with small files that were too large for the index ("truncated": size) read from the run's folder."""
        for stem, most in LARGEST.items():
            if "truncated" in (entry[stem] or {}):
                entry[stem] = layout.read_json(self.run_folder(path) / f"{stem}.json", limit=most)
        return entry

    def _replace(self, records):
        if records.keys() != self.records.keys():
            self.version += 1
        self.dirty.update(path for path, record in records.items() if self.records.get(path) is not record)
        self.records = records
        self.pulses = {path: self.pulses.get(path) or Pulse() for path, record in records.items() if not record.ended}

    def reread(self, path: str) -> bool:
        """Read the run's small JSON files again if one changed; returns whether one did."""
        record, folder = self.records.get(path), str(self.run_folder(path))
        marks = packed([file_mark(os.path.join(folder, name)) for name in layout.SMALL])
        if record is None or record.kinds or marks == record.small or not any(marks):
            return False
        fresh_record = record.small is None
        small = {stem: layout.read_json(os.path.join(folder, f"{stem}.json")) for stem in layout.STEMS}
        if None in small.values():          # not fetched yet, or broken: what the index has is the next best
            small.update((stem, (self.entry(path) or {}).get(stem)) for stem, value in small.items() if value is None)
        fresh = record_of(path, small, record.line, marks)
        self.records[path] = fresh
        self.dirty.add(path)
        if fresh.ended:
            self.pulses.pop(path, None)
        else:
            self.pulses.setdefault(path, Pulse())
        return not fresh_record or (fresh.status, fresh.summary, fresh.config) != (record.status, record.summary, record.config)

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
            sizes = self.foreign_sizes(path)
            return pulse.look(now, (None, sizes), tuple(sizes.values()), self._answers(path))
        folder = str(self.run_folder(path))
        sizes = quick_stats.own_sizes(folder)
        rows = tuple([size for name, size in sorted(sizes.items()) if name.startswith("events")])
        beat = self.beats.get(path.rpartition("/")[2]) or file_mark(os.path.join(folder, layout.BEAT))
        return pulse.look(now, (beat, sizes), rows, self._answers(path))

    def _answers(self, path):
        """Return the numbers of the last answers about the run's heart and its files; None: every look is a new one."""
        return None, None

    def _rests(self, path, pulse):
        """Whether a lost run, whose heart did not move since, is left out of this round."""
        record = self.records[path]
        if pulse.sign is None or (self._foreign_verdict(record).state != "quiet" if record.kinds else pulse.judge().state != "lost"):
            return False
        return self.beats.get(path.rpartition("/")[2]) in (None, pulse.sign[0]) and (hash(path) + self._round) % LOST_TURN != 0

    def believe(self, up, verdicts):
        """Take over what a viewer says that looks at the same folder: whether its line is up, {path: Verdict} of open runs."""
        self.up, self.verdicts_told = up, verdicts

    def verdict(self, record):
        """Return the liveness.Verdict on the run of a record."""
        if record.path in self.verdicts_told and not record.ended:
            return self.verdicts_told[record.path]
        pulse = self.pulses.get(record.path)
        verdict = self._foreign_verdict(record) if record.kinds else judge(record.status, pulse, patience=self.patience)
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
        """Return the run's entry in the index (dict), or None if the index has none or can't be read there."""
        try:
            return self._manifest.entry(path) if self._manifest and path in self._manifest else None
        except manifest.ManifestError:
            return None         # the list says so

    def verified(self, path: str) -> tuple[Any, Any]:
        """Return (whether our copy of the run is what the server had, when that was (Unix s) or None); (None, None) without a server."""
        return None, None

    def is_undated(self, path: str) -> bool:
        """Whether the server tells no time of a file of the run, so that our copy is never verified (bool)."""
        return False

    def is_unhashed(self, path):
        """Whether a log of the run is so large that it is compared with the server's only once it rests (bool)."""
        return False

    def agrees(self, path, indexed, places):
        """Return {name: whether our copy is what the server had, None where it is not here} of a run's files; see `copies`."""
        return {}

    def remote_path(self, path: str) -> None:
        """Return where the server keeps the run (str), or None."""
        return None

    def copies(self, path: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Return ({file name: {"size", "mtime"}} of what the server has of the run, {name: its name in our folder},
        {name: why it is not here}); empty where there is no server."""
        return {}, {}, {}

    def left_out(self, path):
        """Return {name: {"code", "text"}} of the run's files that are not fetched, or not read, though they should be."""
        return {}

    def beyond(self, path: str) -> int:
        """Return how many files and folders of the run its index leaves out because there are too many (int)."""
        return left_out.checked((self.entry(path) or {}).get("skipped")).get(manifest.FULL_RUN, 0)

    def passed_over(self, path: str) -> dict[str, int]:
        """Return {reason: count} of what else is in the run's folder, where it was written, and not among its files."""
        kinds = path in self.records and self.records[path].kinds       # what else is in its folder is no part of another logger's run
        look = None if kinds else manifest.look_at(str(self.run_folder(path)), None, collections.Counter())
        return {reason: count for reason, count in look.skipped.items() if reason != manifest.FULL_RUN} if look else {}

    def there(self, path: str) -> dict[str, Any]:
        """Return {name: bytes} of the run's append-only files as the server has them; empty where there is none."""
        return {}

    def behind(self, path):
        """Return by how many seconds our clock is ahead of the one that gives the run's files their times (float)."""
        return 0.0

    def place(self, path: str, name: str) -> str:
        """Return the name that a file of the run has in our folder (str)."""
        return name

    def foreign_files(self, path: str) -> dict[str, dict[str, Any]]:
        """Return the names of the files of another logger's run (iterable of str)."""
        return (self.entry(path) or {}).get("files", ())

    def foreign_sizes(self, path: str) -> dict[str, int]:
        """Return {name: bytes} of the files of another logger's run that are here."""
        folder, sizes = os.fspath(self.run_folder(path)), {}
        for name in sorted(self.foreign_files(path)):
            with suppress(OSError, LayoutError):        # gone since it was listed, or an index that somebody else left
                local_names.safe_relative(name)
                sizes[name] = os.stat(os.path.join(folder, self.place(path, name))).st_size
        return sizes


def _table(value):
    return value if isinstance(value, dict) else {}


def texts_of(known):
    """Return what Source.texts does of {path: (state, kind)} as foreign.find has it, here or from another machine."""
    states = [(path, told[0], told[1]) for path, told in known.items() if isinstance(told, (list, tuple)) and len(told) == 2
              and isinstance(told[0], (list, tuple)) and [type(number) for number in told[0]] == [int, int]]
    return [{"path": path, "size": size, "changed": mtime / 1e9 if mtime > 1e12 else mtime, "kind": kind}
            for path, (size, mtime), kind in states if kind in (None, "log", "jsonl")]


class MirrorSource(Source):
    """The mirror of a connection: its `.index/full.json` and `live.json` tell everything, no folder is scanned."""

    local = False

    def __init__(self, slug: str, folder: Path, name: Any = None, kept_path: Path | None = None) -> None:
        super().__init__(slug, local_disk.long(folder), name, kept_path)
        self._full = self._live = None
        self._places = {}                       # as run_places.read has them
        self._left_out = None, {}               # the mark of the file, what it says
        self._said_up = False
        self._heard = None                      # when sync wrote last, monotonic s …
        self._written, self._ahead = None, 0.0  # … and by the wall clock, which is so much ahead of the times it tells, s
        self._looked = None                     # since when it has looked at every run that does not beat
        self.live, self.gone = {}, frozenset()
        self._foreign = ForeignIndex(self.entry, lambda path, names: local_copy.LocalCopy(self.folder).local_names(path, names))
        self._grew, self._sizes_here = {}, {}         # of other loggers' runs: path -> when sync saw it grow last (Unix s); sizes here
        self._checked = []                      # when sync last saw each run as the index has it
        self.turn = None                        # s that it takes to look at all ended runs once

    def run_folder(self, path: str) -> Path:
        return run_places.folder(self.folder, path, self._places)

    def begin(self, look: bool = False, shown: Callable[..., Any] | None = None) -> None:
        """Take the index that sync left."""
        self.refresh(None)

    def is_behind(self) -> bool:
        """Whether sync wrote another index than the one that was read (bool)."""
        return file_mark(self.folder / ".index" / "full.json") not in (None, self._full)

    def refresh(self, now):
        """Read the index again where it changed. now: as for a LocalRoot; None: no look will follow."""
        with self.lock:
            index = self.folder / layout.INDEX
            live = file_mark(index / layout.INDEX_LIVE)     # first: when a run was as the index has it, it tells of no later index
            live_told = live != self._live and (layout.read_json(index / layout.INDEX_LIVE) or {})
            mark = file_mark(index / layout.INDEX_FULL)
            if mark and mark != self._full:
                self._full = mark
                try:
                    listed = manifest.load(index / layout.INDEX_FULL)
                    self._places = run_places.read(self.folder)         # after the index: of each run that it lists
                    self.take(listed)
                    self._foreign.keep_only(self.records)
                except manifest.ManifestError:
                    pass            # the old records stay; sync makes a new index and says what was wrong
            if live_told is not False:
                self._take_live(live_told)
                ago = 0.0 if self._live else abs(time.time() - (self._written or time.time()))      # what we find may be old
                self._live, self._heard = live, time.monotonic() - ago
            if now is not None:
                self._resume(now, time.time() - self._ahead)
            self._judge_line()

    def complete(self, path: str, stem: str | None = None, to_end: bool = True) -> bool:
        """Whether every own file of the run that the index lists (of one stem, such as "events", if given) is here, if `to_end` to its
        end."""
        if self._is_foreign(path):
            sizes, listed = self.foreign_sizes(path), self.there(path)
        else:
            files = (self.entry(path) or {}).get("files", {})
            sizes = quick_stats.own_sizes(self.run_folder(path))
            listed = {name: file["size"] for name, file in files.items() if (own := layout.parse_own(name)) and stem in (None, own[0])}
        return all(sizes.get(name, -1) >= (size if to_end else 0) for name, size in listed.items())

    def verified(self, path: str) -> tuple[bool, Any]:
        checked_at = checked(self._checked, path)
        if checked_at is None or path in self.gone:
            return False, checked_at
        indexed, places, _ = self.copies(path)
        return verified(self.run_folder(path), path, indexed, places, self._is_foreign(path)), checked_at

    def is_undated(self, path: str) -> bool:
        return any(file["mtime"] is None for file in (self.entry(path) or {"files": {}})["files"].values())

    def is_unhashed(self, path):
        entry = self.entry(path)
        return entry is not None and is_unhashed(entry)

    def agrees(self, path, indexed, places):
        return {name: agrees(self.run_folder(path), path, name, file, places.get(name)) for name, file in indexed.items()}

    def copies(self, path):
        indexed = (self.entry(path) or {}).get("files", {})
        places = local_copy.LocalCopy(self.folder).local_names(path, indexed)
        return indexed, places, self.left_out(path)

    def left_out(self, path):
        mark = file_mark(self.folder / layout.INDEX / left_out.FILE)
        if mark != self._left_out[0]:
            self._left_out = mark, left_out.read(self.folder)
        return self._left_out[1].get(path, {})

    def passed_over(self, path):
        passed = left_out.checked((self.entry(path) or {}).get("skipped"))
        return {reason: count for reason, count in passed.items() if reason != manifest.FULL_RUN}

    def there(self, path: str) -> dict[str, int]:
        foreign_run = self._is_foreign(path)
        files = self._foreign.of(self.records[path]).files if foreign_run else (self.entry(path) or {}).get("files", {})
        return {name: file["size"] for name, file in files.items() if foreign_run or layout.parse_own(name)}

    def _is_foreign(self, path):
        return path in self.records and bool(self.records[path].kinds)

    def foreign_files(self, path):
        return self._foreign.of(self.records[path]).files if path in self.records else ()

    def places(self, path):
        """Return {name: its name in our folder} of the files of another logger's run that its server has."""
        return self._foreign.places(self.records[path]) if path in self.records else {}

    def foreign_sizes(self, path):
        folder, sizes = os.fspath(self.run_folder(path)), {}
        for name, run_place in sorted(self.places(path).items()):
            with suppress(OSError):                     # not here yet
                sizes[name] = os.stat(os.path.join(folder, run_place)).st_size
        return sizes

    def _feel(self, path, pulse, now):
        """Look as at any run; whether another logger's lives, sync saw on the server: what grows here may only be on its way."""
        if not self._is_foreign(path):
            return super()._feel(path, pulse, now)
        seen_at = layout.number(self.live.get(path, {}).get("seen"))
        if seen_at is not None and seen_at + self._ahead > self._grew.get(path, 0.0) + 0.5:     # another session tells the same, rounded
            self._grew[path] = seen_at + self._ahead
        sizes = self.foreign_sizes(path)
        came, self._sizes_here[path] = self._sizes_here.get(path, sizes) != sizes, sizes
        grew = self._grew.get(path)
        return pulse.look(now, (None, grew), (), self._answers(path), None if grew is None else now - (time.time() - grew)) or came

    def _foreign_verdict(self, record):
        newest = self._foreign.of(record).newest
        age = None if newest is None or newest > time.time() else time.time() - newest
        return judge_foreign(self.pulses.get(record.path), self._gaps.get(record.path), age)

    def behind(self, path):
        beat, seen_at = (layout.number(self.live.get(path, {}).get(name)) for name in ("beat", "seen"))
        return seen_at + self._ahead - beat if beat is not None and seen_at is not None else 0.0      # 0: no beat was seen to come

    def place(self, path, name):
        copy = local_copy.LocalCopy(self.folder)
        others = (self.entry(path) or {}).get("files", ()) if copy.ignores_case else ()
        return copy.local_names(path, [*others, name]).get(name, name)

    def remote_path(self, path):
        root = (layout.read_json(self.folder / layout.INDEX / layout.INDEX_SOURCE) or {}).get("root")
        return f"{root}/{path}" if isinstance(root, str) else None

    def _take_live(self, live):
        line, runs = live.get("line"), live.get("runs")
        line = line if isinstance(line, dict) else {}
        self.live = {path: run for path, run in runs.items() if isinstance(run, dict)} if isinstance(runs, dict) else {}
        for path, run in self.live.items():     # a sync that begins anew has seen nothing yet: that is no sign of life
            run_id, seen_at = path.rpartition("/")[2], layout.number(run.get("seen"))
            before = self.beats.get(run_id, (None, None))
            self.beats[run_id] = run.get("beat"), before[1] if seen_at is None or seen_at < (before[1] or 0) else seen_at
        vanished = live.get("gone")
        self.gone = frozenset(path for path in vanished if isinstance(path, str)) if isinstance(vanished, list) else frozenset()
        self._said_up, self._written = line.get("up") is True, layout.number(live.get("written"))
        self._looked, self._ahead = live.get("looked", self._written), layout.number(live.get("ahead")) or 0.0
        self._checked, self.turn = sound(live.get("checked")), layout.number(live.get("turn"))

    def _resume(self, now, wall):
        """Begin with what the process that syncs saw of the open runs, until now or until it ended; its clock is ours."""
        for path, run in self.live.items():
            pulse = self.pulses.get(path)
            first_look, looked, seen_at, beat = (layout.number(run.get(name)) for name in ("first", "looked", "seen", "beat"))
            if pulse is None or pulse.first_look is not None or None in (first_look, looked) or not first_look <= looked <= wall + 1:
                continue
            changed = None if seen_at is None else now - (wall - seen_at)
            rows = [mtime for name, mtime in self._mtimes(path).items() if name.startswith("events")]
            silent = max(0.0, beat - max(rows)) if rows and beat is not None else 0.0       # both by the server's clock
            pulse.resume(now - (wall - first_look), now - (wall - looked), changed, None if changed is None else changed - silent)

    def _mtimes(self, path):
        files = (self.entry(path) or {}).get("files", {})
        return {name: file["mtime"] for name, file in files.items() if layout.number(file.get("mtime")) is not None}

    def _age(self):
        return None if self.up or self._written is None else max(0.0, time.time() - self._written)

    def _answers(self, path):
        run = self.live.get(path)
        return (run.get("looked", self._looked), run.get("read", self._looked)) if run else (self._looked, self._looked)

    def _judge_line(self):
        """Our line is up if sync says so and still writes; one that died in the middle said nothing more."""
        self.up = self._said_up and time.monotonic() - self._heard < SILENT
        if not self.up:
            for pulse in self.pulses.values():
                pulse.line_down()

    def look(self, now: float, paths: list[str] | None = None) -> tuple[set[str], set[Any]]:
        if not self.up:
            return set(), set()
        return super().look(now, paths)
