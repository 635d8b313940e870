"""The tables of one run: its files as far as they are parsed, samples of those that are far from it, all
attempts and ranks. Makes no curves."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from runicorn import local_disk
from runicorn.metrics import own_files, samples
from runicorn.metrics.column_file import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from runicorn.metrics.columns import Table
    from runicorn.metrics.foreign_files import ForeignFiles
    from runicorn.metrics.own_files import OwnFiles

# More than this not yet parsed: a picture is made from spaced samples (about half a second of parsing)
COARSE_BYTES = 16 << 20
# Between two portions: a lock given back and taken at once would let nobody else in
YIELD_SECONDS = 0.0002


class RunTables:
    """What is read of the run in `folder`. Any thread may call any method; each holds its lock for some 30 ms
    at most while a large file is parsed."""

    def __init__(self, folder: str | os.PathLike[str], columns_dir: Path | None = None,
                 files_of: ForeignFiles | OwnFiles | Callable[..., Any] = own_files.find) -> None:
        """folder: path of the run; columns_dir: folder of the column cache, or None for no cache; files_of:
        function(folder) that tells the run's files as `own_files.find` does: of another logger's run it is
        `foreign_files.find`."""
        self.folder, self._files_of = os.fspath(folder), files_of
        self._cache = os.fspath(columns_dir) if columns_dir else None
        self._files = {}                # (stem, rank, attempt) -> File
        # (rank, attempt) -> Table of spaced lines, while the file is far from parsed, or here
        self._samples = {}
        # (rank, attempt) -> bytes the server has of the file, of those that were not all here
        self._far_sizes = {}
        self.bytes_of_columns = 0       # in the columns of all files, as of the last refresh
        self.lock = threading.RLock()

    # -- reading ---------------------------------------------------------------------------------------------

    def refresh(self, seconds: float | None = None) -> bool:
        """Read what is new; return whether anything was. Stops after `seconds` if given; then `behind` tells
        what is left.

        A file that can't be read counts as it was at the last look; a run without a folder has no metrics.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        changed = self._find()
        with self.lock:
            files = [file for file in self._files.values() if quietly(file.look)]
            self._sample()
        for file in files:
            changed |= self._read(file, deadline)
        with self.lock:
            self._sample()
            if changed:
                self.bytes_of_columns = sum(file.table.nbytes() for file in self._files.values())
        return changed

    def _find(self):
        files = self._files_of(self.folder)
        with self.lock:
            vanished = [key for key, file in self._files.items()
                        if key not in files or files[key] != (file.path, file.make)]
            for key in vanished:
                del self._files[key]
            new = sorted(files.keys() - self._files.keys())
            for key in new:
                path, make = files[key]
                self._files[key] = File(path, self._cache, make)
            return bool(vanished or new)

    def _read(self, file, deadline):
        before, more = (file.table, file.position), True
        while more and (deadline is None or time.monotonic() < deadline):
            with self.lock:
                more = quietly(file.step)
            if more:
                time.sleep(YIELD_SECONDS)
        with self.lock:
            if not more:
                file.save()
        return (file.table, file.position) != before

    @property
    def behind(self) -> int:
        """Bytes that could be parsed now and are not yet (int); half a line at the end does not count."""
        with self.lock:
            return sum(file.behind for file in self._files.values())

    def passed_over(self):
        """Return [(path, {reason: count})] of what of each file could not be read."""
        with self.lock:
            return [(file.path, dict(file.reader.skipped))
                    for (stem, _, _), file in sorted(self._files.items())
                    if stem == "events" and file.skipped]

    @property
    def skipped(self) -> int:
        """Lines of events that were no JSON object (int)."""
        with self.lock:
            return sum(file.skipped for (stem, _, _), file in self._files.items() if stem == "events")

    def prime(self, slot: tuple[int, int], size: int, read: Callable[..., Any], make: Any) -> None:
        """Sample a file of metrics of which not nearly all is here: until it is, pictures are approximate and
        made from the sample.

        slot: (rank, attempt) of the file; size: in bytes; read: see `samples.sample`; make: function(state)
        returning its reader. Does nothing for a kind that can't be read in part. Raises what `read` raises.
        """
        reader = make(None)
        table = samples.sample(read, size, reader) if reader.grid else None
        with self.lock:
            self._samples.update({slot: table} if table else {})

    def expect(self, sizes: dict[Any, int]) -> None:
        """Say how large on the server the files of metrics are of which less is here, {(rank, attempt):
        bytes}: pictures of what is here of them, and no sample, are approximate, too, unless next to nothing
        is missing."""
        with self.lock:
            self._far_sizes = dict(sizes)

    def tables_of(self, rank: int, stem: str = "events") -> tuple[list[Any], bool]:
        """Return [(attempt, Table)] of a rank, oldest first, and whether any of them is only a sample."""
        tables = {attempt: file.table for (kind, of, attempt), file in self._files.items()
                  if kind == stem and of == rank}
        approximate = stem == "events" and any(of == rank and self._lacks(of, attempt)
                                               for of, attempt in self._far_sizes)
        for (of, attempt), table in self._samples.items() if stem == "events" else ():
            file = self._files.get((stem, rank, attempt))
            if of == rank and (file is None or file.behind > COARSE_BYTES or self._lacks(rank, attempt)):
                tables[attempt], approximate = table, True
        return sorted(tables.items()), approximate

    def all_of(self, rank: int) -> tuple[list[Any], bool]:
        """Return the same with the tables of what other loggers wrote inside the run, whose attempt is None,
        last."""
        tables, approximate = self.tables_of(rank)
        return tables + [(None, table) for _, table in self.tables_of(rank, "inner")[0]], approximate

    def _lacks(self, rank, attempt):
        """Whether the server has more of an events file than a first picture shows of its end."""
        file = self._files.get(("events", rank, attempt))
        return (self._far_sizes.get((rank, attempt), 0)
                - (file.position + file.behind if file else 0) > samples.ENDS)

    def _sample(self):
        """Keep a sample of each events file that is far from parsed, and of no other that is here."""
        for (stem, rank, attempt), file in self._files.items():
            if stem != "events":
                continue
            if file.behind <= COARSE_BYTES and not self._lacks(rank, attempt):
                self._samples.pop((rank, attempt), None)
            elif (rank, attempt) not in self._samples:
                sample = quietly(lambda file=file: samples.of(file))
                self._samples.update({(rank, attempt): sample} if sample else {})

    def state(self) -> tuple[list[Any], list[Any], dict[Any, int]]:
        """Return what every picture is made from: while this stays equal, so do they."""
        files = [(file.table, file.position, file.behind > COARSE_BYTES) for file in self._files.values()]
        return files, list(self._samples.items()), dict(self._far_sizes)

    def newest_file(self, stem: str, rank: int) -> str | None:
        """Return the path (str) of the file of the newest attempt with that stem, None without any."""
        paths = [file.path for key, file in sorted(self._files.items()) if key[:2] == (stem, rank)]
        return paths[-1] if paths else None

    def facts(self) -> dict[str, Any]:
        """Return what the readers of the files know beside numbers (dict): "config", "summary" and "texts"
        (dicts), "counts" and "restarts" added up, and what else the kind that is believed first tells."""
        with self.lock:
            all_facts = [file.reader.facts() for _, file in sorted(self._files.items())]
        joined = {}
        for facts in all_facts:
            for name, value in facts.items():
                if name in ("config", "summary", "texts"):
                    value = {**joined.get(name, {}), **value}
                elif name == "counts":
                    before = joined.get(name, {})
                    value = {reason: value.get(reason, 0) + before.get(reason, 0)
                             for reason in {*value, *before}}
                joined[name] = value + joined.get(name, 0) if name == "restarts" else value
        joined.pop("purges", None)
        return joined

    # -- what there is ---------------------------------------------------------------------------------------

    @property
    def ranks(self) -> list[int]:
        """The ranks that logged (list of int)."""
        with self.lock:
            return sorted({rank for stem, rank, _ in self._files if stem != "system"}
                          | {rank for rank, _ in self._samples})

    @property
    def attempts(self) -> list[int]:
        """The attempts that logged (list of int)."""
        with self.lock:
            return sorted({attempt for stem, _, attempt in self._files if stem == "events"})

    @property
    def rows(self) -> int:
        """Rows of metrics parsed, all attempts and ranks (int)."""
        return sum(table.rows for table in self.logged())

    @property
    def first_ts(self):
        """Time of the first row (Unix seconds), or None."""
        return min((table.first_ts for table in self.logged()), default=None)

    @property
    def last_ts(self):
        """Time of the last row (Unix seconds), or None."""
        return max((table.last_ts for table in self.logged()), default=None)

    @property
    def last_step(self) -> int | None:
        """The largest step of the newest attempt (number), or None."""
        tables = self.logged(self.first_rank)
        return tables[-1].top_step if tables else None

    @property
    def median_gap(self) -> float | None:
        """Median time between the last rows (seconds), or None if there are fewer than two."""
        tables = self.logged(self.first_rank)
        times = list(tables[-1].recent) if tables else []
        return median(later - earlier for earlier, later in zip(times, times[1:])) if len(times) > 1 else None

    @property
    def first_rank(self) -> int:
        """The lowest rank that logged (int), 0 while none did."""
        return self.ranks[0] if self.ranks else 0

    def logged(self, rank: int | None = None) -> list[Table]:
        """Return the Tables with rows of one rank, or of all; the newest attempt's last."""
        with self.lock:
            ranks = self.ranks if rank is None else [rank]
            return [table for each in ranks for _, table in self.tables_of(each)[0] if table.rows]


def median(values: Iterator[Any] | list[float]) -> float:
    """Return the median of numbers, the lower of the middle two; `statistics` would cost the viewer's start
    15 ms."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def quietly(call):
    """Return what `call` does, None if its file vanished or can't be read just now: the next look tells."""
    try:
        return call()
    except OSError as error:
        local_disk.pass_over(error)
        return None
