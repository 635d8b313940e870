"""The runs of a mirror in memory: what sync wrote of them is read; no folder is scanned, no server asked."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import layout, left_out, local_disk, manifest
from runicorn.mirror import local_copy, run_places
from runicorn.mirror.verified import agrees, checked, is_unhashed, sound, verified
from runicorn.reader import quick_stats
from runicorn.reader.file_marks import file_mark
from runicorn.reader.foreign_index import ForeignIndex
from runicorn.reader.liveness import judge_foreign
from runicorn.reader.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SILENT = 600.0              # s; sync writes live.json every few seconds while its line is up


class MirrorSource(Source):
    """The mirror of a connection: its `.index/full.json` and `live.json` tell
    everything, no folder is scanned."""

    local = False

    def __init__(self, slug: str, folder: Path, name: Any = None, kept_path: Path | None = None) -> None:
        super().__init__(slug, local_disk.long(folder), name, kept_path)
        self._full = self._live = None
        self._places = {}                       # as run_places.read has them
        self._left_out = None, {}               # the mark of the file, what it says
        self._said_up = False
        self._heard = None                      # when sync wrote last, monotonic s …
        self._written = None                    # … and by the wall clock, s; …
        self._ahead = 0.0                       # … which is so much ahead of the times that sync tells, s
        self._looked = None                     # since when it has looked at every run that does not beat
        self.live, self.gone = {}, frozenset()
        self._foreign = ForeignIndex(self.entry, self._local_names)
        # of other loggers' runs: path -> when sync saw it grow last (Unix s); sizes here
        self._grew, self._sizes_here = {}, {}
        # path -> where its files are (str), of open runs that another logger writes, until the next index
        self._folders = {}
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
            # first: when a run was as the index has it, it tells of no later index
            live = file_mark(index / layout.INDEX_LIVE)
            live_told = live != self._live and (layout.read_json(index / layout.INDEX_LIVE) or {})
            mark = file_mark(index / layout.INDEX_FULL)
            if mark and mark != self._full:
                self._full, self._folders = mark, {}
                try:
                    listed = manifest.load(index / layout.INDEX_FULL)
                    # after the index: of each run that it lists
                    self._places = run_places.read(self.folder)
                    self.take(listed)
                    self._foreign.keep_only(self.records)
                except manifest.ManifestError:
                    pass            # the old records stay; sync makes a new index and says what was wrong
            if live_told is not False:
                self._take_live(live_told)
                # what we find may be old
                ago = 0.0 if self._live else abs(time.time() - (self._written or time.time()))
                self._live, self._heard = live, time.monotonic() - ago
            if now is not None:
                self._resume(now, time.time() - self._ahead)
            self._judge_line()

    def complete(self, path: str, stem: str | None = None, to_end: bool = True) -> bool:
        """Whether every own file of the run that the index lists (of one stem, such as "events", if given) is
        here, if `to_end` to its end."""
        if self._is_foreign(path):
            sizes, listed = self.foreign_sizes(path), self.there(path)
        else:
            files = (self.entry(path) or {}).get("files", {})
            sizes = quick_stats.own_sizes(self.run_folder(path))
            listed = {name: file["size"] for name, file in files.items()
                      if (own := layout.parse_own(name)) and stem in (None, own[0])}
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
        return {name: agrees(self.run_folder(path), path, name, file, places.get(name))
                for name, file in indexed.items()}

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
        files = (self._foreign.of(self.records[path]).files if foreign_run
                 else (self.entry(path) or {}).get("files", {}))
        return {name: file["size"] for name, file in files.items() if foreign_run or layout.parse_own(name)}

    def _is_foreign(self, path):
        return path in self.records and bool(self.records[path].kinds)

    def foreign_files(self, path):
        return self._foreign.of(self.records[path]).files if path in self.records else ()

    def places(self, path):
        """Return {name: its name in our folder} of the files of another logger's run that its server has."""
        return self._foreign.places(self.records[path]) if path in self.records else {}

    def foreign_statuses(self, path):
        folder, statuses = self._folders.get(path) or os.fspath(self.run_folder(path)), {}
        if path in self.pulses:
            self._folders[path] = folder    # thousands may be open, and are looked at every few seconds
        for name, run_place in sorted(self.places(path).items()):
            with suppress(OSError):                     # not here yet
                statuses[name] = os.stat(os.path.join(folder, run_place))
        return statuses

    def _feel(self, path, pulse, now):
        """Look as at any run; whether another logger's lives, sync saw on the server: what grows here
        may only be on its way."""
        if not self._is_foreign(path):
            return super()._feel(path, pulse, now)
        seen_at = layout.number(self.live.get(path, {}).get("seen"))
        # another session tells the same, rounded
        if seen_at is not None and seen_at + self._ahead > self._grew.get(path, 0.0) + 0.5:
            self._grew[path] = seen_at + self._ahead
        sizes = self.foreign_sizes(path)
        came, self._sizes_here[path] = self._sizes_here.get(path, sizes) != sizes, sizes
        grew = self._grew.get(path)
        return pulse.look(now, (None, grew), (), self._answers(path),
                          None if grew is None else now - (time.time() - grew)) or came

    def _foreign_verdict(self, record):
        newest = self._foreign.of(record).newest
        age = None if newest is None or newest > time.time() else time.time() - newest
        return judge_foreign(self.pulses.get(record.path), self._gaps.get(record.path), age)

    def behind(self, path):
        beat, seen_at = (layout.number(self.live.get(path, {}).get(name)) for name in ("beat", "seen"))
        # 0: no beat was seen to come
        return seen_at + self._ahead - beat if beat is not None and seen_at is not None else 0.0

    def _local_names(self, path, names):
        return local_copy.LocalCopy(self.folder).local_names(path, names)

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
        self.live = ({path: run for path, run in runs.items() if isinstance(run, dict)}
                     if isinstance(runs, dict) else {})
        # a sync that begins anew has seen nothing yet: that is no sign of life
        for path, run in self.live.items():
            run_id, seen_at = path.rpartition("/")[2], layout.number(run.get("seen"))
            before = self.beats.get(run_id, (None, None))
            if seen_at is None or seen_at < (before[1] or 0):
                seen_at = before[1]
            self.beats[run_id] = run.get("beat"), seen_at
        vanished = live.get("gone")
        self.gone = (frozenset(path for path in vanished if isinstance(path, str))
                     if isinstance(vanished, list) else frozenset())
        self._said_up, self._written = line.get("up") is True, layout.number(live.get("written"))
        self._looked, self._ahead = live.get("looked", self._written), layout.number(live.get("ahead")) or 0.0
        self._checked, self.turn = sound(live.get("checked")), layout.number(live.get("turn"))

    def _resume(self, now, wall):
        """Begin with what the process that syncs saw of the open runs, until now or until it
        ended; its clock is ours."""
        for path, run in self.live.items():
            pulse = self.pulses.get(path)
            first_look, looked, seen_at, beat = (
                layout.number(run.get(name)) for name in ("first", "looked", "seen", "beat"))
            if (pulse is None or pulse.first_look is not None or None in (first_look, looked)
                    or not first_look <= looked <= wall + 1):
                continue
            changed = None if seen_at is None else now - (wall - seen_at)
            rows = [mtime for name, mtime in self._mtimes(path).items() if name.startswith("events")]
            # both by the server's clock
            silent = max(0.0, beat - max(rows)) if rows and beat is not None else 0.0
            pulse.resume(now - (wall - first_look), now - (wall - looked), changed,
                         None if changed is None else changed - silent)

    def _mtimes(self, path):
        files = (self.entry(path) or {}).get("files", {})
        return {name: file["mtime"] for name, file in files.items()
                if layout.number(file.get("mtime")) is not None}

    def _age(self):
        return None if self.up or self._written is None else max(0.0, time.time() - self._written)

    def _answers(self, path):
        run = self.live.get(path)
        if not run:
            return self._looked, self._looked
        return run.get("looked", self._looked), run.get("read", self._looked)

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
