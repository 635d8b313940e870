"""A rank other than 0 that is recorded: its own files in rank 0's run folder, which it has to find first."""

import os
import time

from runicorn import facts
from runicorn.append import AppendFile
from runicorn.heart import NEVER
from runicorn.layout import META, RUNS, STATUS, own_file, read_json, slug
from runicorn.live import is_fresh, process_lives, running
from runicorn.notice import say
from runicorn.place import Place, fresh
from runicorn.recorder import Run

MEMORY_BYTES = 8 << 20          # kept of each file until its folder is known
SEEK_SECONDS = 1.0
PATIENCE_SECONDS = 600.0        # then the rank makes a run of its own
NEWEST = 50                     # run folders looked into for one whose rank 0 has ended already
NEAR_SECONDS = 60.0             # ranks of one launch begin within this time


class Deferred:
    """An AppendFile whose folder is not known yet: keeps what is written, and writes it when it is."""

    def __init__(self, gap=None):
        self.path, self.size, self.lost = None, 0, 0
        self._kept, self._gap, self._file = [], gap, None

    def write(self, data):
        if self._file is not None:
            return self._file.write(data)
        if self.size + len(data) > MEMORY_BYTES:
            self.lost += max(1, data.count(b"\n"))
            return False
        self._kept.append(data)
        self.size += len(data)
        return True

    def settle(self, path):
        """Write what was kept to `path`, and what comes after it. Raises OSError."""
        file = AppendFile(path, self._gap)
        while self._kept:                   # what another thread adds meanwhile goes behind
            file.write(self._kept.pop(0))
        if self.lost and self._gap:
            file.write(self._gap(self.lost))
        self.path, self._file = path, file

    def check(self):
        if self._file is not None:
            self._file.check()

    def sync(self):
        if self._file is not None:
            self._file.sync()

    def close(self):
        if self._file is not None:
            self._file.close()


class RankRun(Run):
    """Rank 1, 2, … of a launch with all_ranks=True. Writes events.rankN.jsonl, logs.rankN.txt and system.rankN.jsonl into rank
    0's folder; config, summary and status are rank 0's to write. Without rank 0 within ten minutes it is a run of its own."""

    def __init__(self, root, meta, launch, capture=True, system=True):
        """root: Path. meta: dict for meta.json, should it need one. launch: ranks.Launch."""
        self._launch, self._files, self._begun, self._beats, self._file_rank = launch, {}, time.time(), {}, launch.rank
        self._give_up = time.monotonic() + PATIENCE_SECONDS
        super().__init__(Place(root, None, None, meta["id"], 1), meta, {}, launch, bool(capture), system)
        self._facts_known.set()

    @property
    def dir(self):
        """The run's folder (Path); until it is known, where it would be if this rank had a run of its own."""
        return self._folder or self._root / slug(self.project) / slug(self.name) / RUNS / slug(self.id)

    @dir.setter
    def dir(self, folder):
        self._folder = folder

    def _own(self, stem, gap=None):
        self._files[stem] = Deferred(gap)
        if self._folder is not None:
            self._files[stem].settle(self._folder / own_file(stem, self.attempt, self._file_rank))
        return self._files[stem]

    def _place_small_files(self):
        """Not ours to write, unless this becomes a run of its own."""

    def _begin_to_live(self, place, launch):
        return None

    def _chores(self, system):
        return super()._chores(system) + [self._seek]

    def _beat(self, now):
        return SEEK_SECONDS if self._live is None else self._live.beat()

    def _slow_facts(self, now):
        return NEVER

    # -- finding rank 0 -------------------------------------------------------------------------------------------

    def _seek(self, now):
        found = self._running() if self._launch.key else None
        if found:
            self._join(*found)
        elif self._launch.key is None or now >= self._give_up:
            self._be_alone()
        return SEEK_SECONDS if self._folder is None else NEVER

    def _running(self):
        """Return (path, id, attempt) of the run of this launch's rank 0, or None."""
        for file, live in running(self._root):
            if live.get("launch") == self._launch.key and self._is_ours(live.get("path")) and self._lives(file, live):
                return live["path"], live.get("id"), live.get("attempt")
        return None

    def _is_ours(self, path):
        return isinstance(path, str) and path.startswith(f"{slug(self.project)}/{slug(self.name)}/{RUNS}/")

    def _lives(self, file, live):
        """Whether a live file with our key is no leftover: keys such as host:port come back with the next launch."""
        if live.get("host") == facts.hostname():
            return process_lives(live.get("pid"))
        near = abs(live.get("started_at", 0) - self._begun) < NEAR_SECONDS
        beat = os.stat(file).st_mtime
        return is_fresh(file) and (near or self._beats.setdefault(file, beat) != beat)

    def _ended(self):
        """Return (path, id, attempt) of the run of this launch whose rank 0 has ended already, or None.

        A rank 0 that said how it ended goes before one that was killed, which may be a leftover; then the nearest in time.
        """
        above, found = self._root / slug(self.project) / slug(self.name) / RUNS, []
        for name in sorted(os.listdir(above) if above.is_dir() else [], reverse=True)[:NEWEST]:
            status = read_json(above / name / STATUS) or {}
            last = (status.get("attempts") or [{}])[-1]
            away = abs(last.get("started_at", 0) - self._begun)
            if self._launch.key and last.get("launch") == self._launch.key and away < NEAR_SECONDS:
                found.append((status.get("status") == "running", away, name, last.get("n")))
        if not found:
            return None
        _, _, name, attempt = min(found, key=lambda one: one[:2])
        return (above / name).relative_to(self._root).as_posix(), None, attempt

    def _join(self, path, run_id, attempt):
        self.path, self.attempt = path, int(attempt or 1)
        self.id = run_id or (read_json(self._root / path / META) or {}).get("id", self.id)
        self._settle(self._root / path, self.rank)

    def _settle(self, folder, rank):
        for stem, file in list(self._files.items()):
            file.settle(folder / own_file(stem, self.attempt, rank))
        self._file_rank, self._folder = rank, folder

    def _be_alone(self):
        place = fresh(self._root, self.project, self.name)
        say(f"rank {self.rank} of {self._launch.size} found no rank 0 of its launch; it is a run of its own: {place.id}")
        self.id = self._meta["id"] = place.id
        self.path = place.path
        self._settle(place.folder, 0)
        super()._place_small_files()
        self._live = super()._begin_to_live(place, self._launch)

    def conclude(self, verdict):
        """End this rank's files; the run ends with rank 0."""
        if self._folder is None and not self.ended:
            self._heart.stop()
            found = self._running() or self._ended()
            if found:
                self._join(*found)
            else:
                self._be_alone()
        super().conclude(verdict)
