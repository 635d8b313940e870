"""A rank other than 0 that is recorded: its own files in rank 0's run folder, which it has to find first."""

import os
import time

from runicorn.layout import (
    HIDDEN,
    META,
    RUNS,
    STATUS,
    below,
    legible,
    make_folders,
    own_file,
    read_json,
    run_path,
    slug,
)
from runicorn.writer.append import AppendFile
from runicorn.writer.background import NEVER
from runicorn.writer.live import LATE_SECONDS, has_ended, hearts, is_alive, is_of_this_machine, probe, running
from runicorn.writer.notice import say
from runicorn.writer.run import Run
from runicorn.writer.run_folder import Place, claim_events, fresh

MEMORY_BYTES = 8 << 20          # kept of each file until its folder is known
SEEK_SECONDS = 1.0
PATIENCE_SECONDS = 600.0        # then the rank makes a run of its own
NEWEST = 50                     # run folders looked into for one whose rank 0 has ended already


class Deferred:
    """An AppendFile whose folder is not known yet: keeps what is written, and writes it when it is."""

    def __init__(self, gap=None):
        self.path, self.size, self.lost = None, 0, 0
        self._early, self._gap, self._file = [], gap, None

    def write(self, data, now=None, lines=None):
        if self._file is not None:
            return self._file.write(data, now, lines)
        if self.size + len(data) > MEMORY_BYTES:
            self.lost += max(1, data.count(b"\n"))
            return False
        self._early.append(data)
        self.size += len(data)
        return True

    def settle(self, path):
        """Write what was kept to `path`, and what comes after it. Raises OSError."""
        file = AppendFile(path, self._gap)
        while self._early:                   # what another thread adds meanwhile goes behind
            file.write(self._early.pop(0))
        if self.lost and self._gap:
            file.write(self._gap(self.lost))
        self.path, self._file = path, file

    def when_looked(self, tell):
        """It has no descriptor to look at."""

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
    """Rank 1, 2, … of a launch with all_ranks=True. Writes events.rankN.jsonl, logs.rankN.txt and
    system.rankN.jsonl into rank 0's folder, and status.rankN.json as rank 0 its status.json; config and
    summary are rank 0's to write. Without rank 0 within ten minutes it is a run of its own."""

    def __init__(self, root, meta, launch, capture=True, **options):
        """root: str. meta: dict for meta.json, should it need one. launch: ranks.Launch."""
        self._launch, self._files, self._file_rank = launch, {}, launch.rank
        # By the disk's clock, as are all times compared with it
        self._begun = probe(make_folders(root, f"{HIDDEN}/live"))
        self._give_up = time.monotonic() + PATIENCE_SECONDS
        super().__init__(Place(root, None, None, meta["id"], 1), meta, {}, launch, bool(capture), **options)
        self._facts_known.set()

    def _own(self, stem, gap=None):
        self._files[stem] = Deferred(gap)
        if self._folder is not None:
            self._files[stem].settle(below(self._folder, own_file(stem, self.attempt, self._file_rank)))
        return self._files[stem]

    def _place_small_files(self):
        """Not ours to write, unless this becomes a run of its own."""

    def _begin_to_live(self, slot):
        return None

    def _chores(self, system):
        return super()._chores(system) + [self._seek]

    def _beat(self, now):
        return SEEK_SECONDS if self._live is None else self._live.beat()

    def _slow_facts(self, now):
        return NEVER

    # -- finding rank 0 --------------------------------------------------------------------------------------

    def _seek(self, now):
        run = self._running() if self._launch.key else None
        if run:
            self._join(*run)
        elif self._launch.key is None or now >= self._give_up:
            self._be_alone()
        return SEEK_SECONDS if self._folder is None else NEVER

    def _running(self):
        """Return (path, id, attempt) of the run of this launch's rank 0, or None.

        Keys come back: host and port are those of the launch before, too. So rank 0 has to be alive now, and
        where only its heart can tell, that has to have beaten since this rank began.
        """
        for file, live in running(self._root):
            if (live.get("launch") == self._launch.key and live.get("path") == self._path(live)
                    and not has_ended(self._root, live["path"])):
                local, beat = is_of_this_machine(live), self._changed(file)
                if beat and (is_alive(file, live) if local else beat >= self._begun.time):
                    return live["path"], live.get("id"), live.get("attempt")
        return None

    def _path(self, live):
        return run_path(self.project, self._experiment, str(live.get("id") or None))

    def _changed(self, file):
        """Return when `file` was changed last (Unix seconds of the disk); None if it is gone or another
        user's."""
        try:
            stat = os.stat(file)
        except OSError:
            return None
        return stat.st_mtime if self._begun.user in (None, stat.st_uid) else None

    def _over(self):
        """Return (path, id, attempt) of the run of this launch whose rank 0 is gone already, or None.

        A rank 0 that said how it ended, or was last heard of, before this rank began is one of an earlier
        launch. On another machine it may have been alive then up to LATE_SECONDS after it was heard of; of
        several the one begun nearest counts.
        """
        runs, candidates = f"{slug(self.project)}/{slug(self._experiment)}/{RUNS}", []
        above = below(self._root, runs)
        for name in sorted(os.listdir(above) if os.path.isdir(above) else [], reverse=True)[:NEWEST]:
            file = os.path.join(above, name, STATUS)
            status, age = read_json(file) or {}, self._changed(file)
            last = (status.get("attempts") or [{}])[-1]
            if age is None or self._launch.key is None or last.get("launch") != self._launch.key:
                continue
            path, heard = f"{runs}/{legible(name)}", age
            for file, live in hearts(self._root, path) if status.get("status") == "running" else []:
                heard = max(heard, (self._changed(file) or 0)
                            + (0 if is_of_this_machine(live) else LATE_SECONDS))
            if heard >= self._begun.time:
                candidates.append((abs(age - self._begun.time), path, last.get("n")))
        return (min(candidates)[1], None, min(candidates)[2]) if candidates else None

    def _join(self, path, run_id, attempt):
        self.path = path
        self.id = run_id or (read_json(below(self._root, f"{path}/{META}")) or {}).get("id", self.id)
        self.attempt = claim_events(below(self._root, path), int(attempt or 1), self.rank)
        self._settle(below(self._root, path), self.rank)
        self._small.place_status(below(self._folder, own_file("status", self.attempt, self.rank)),
                                 self.attempt)

    def _settle(self, folder, rank):
        for stem, file in list(self._files.items()):
            file.settle(below(folder, own_file(stem, self.attempt, rank)))
        self._file_rank, self._folder = rank, folder

    def _be_alone(self):
        slot = fresh(self._root, self.project, self._experiment)
        say(f"rank {self.rank} of {self._launch.size} found no rank 0 of its launch; it is a run of its "
            f"own: {slot.id}")
        self.id, self.path = slot.id, slot.path
        self._small.set(id=slot.id)
        self._settle(slot.folder, 0)
        super()._place_small_files()
        self._live = super()._begin_to_live(slot)

    def conclude(self, verdict, hurry=False):
        """End this rank's files, its status first; the run ends with rank 0."""
        if self._folder is None and not self.ended:
            self._heart.stop()
            run = self._running() or self._over()
            if run:
                self._join(*run)
            else:
                self._be_alone()
        super().conclude(verdict, hurry)
