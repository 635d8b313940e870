"""The curves of one run: its attempts and ranks joined, pictures, best values, times of steps. Parses nothing itself."""

import itertools
import json
import math
import os
import threading
import time
from array import array
from bisect import bisect_left, bisect_right

from runicorn import layout, local_disk
from runicorn.errors import DataError, UsageError
from runicorn.metrics import curves, own_files, samples
from runicorn.metrics.column_file import File
from runicorn.metrics.downsample import extremes, picture
from runicorn.metrics.pieces import piece

COARSE_BYTES = 16 << 20     # more than this not yet parsed: a picture is made from spaced samples (about half a second of parsing)
POINTS_KEPT = 4_000_000     # in joined or sorted copies of curves: 64 MB
POINT_BYTES = 16            # of such a copy: x and value
PICTURES_KEPT = 64          # encoded pictures of a run, until it grows: about 8 KB each at 300 buckets
YIELD_SECONDS = 0.0002      # between two portions: a lock given back and taken at once would let nobody else in
TAIL_BYTES = 64 << 10       # holds a system sample of any machine

class Series:
    """The metrics and system samples of the run in `folder`. Thread-safe; each call holds its lock for some 30 ms at most
    while a large file is parsed."""

    def __init__(self, folder, columns_dir=None, files_of=own_files.find):
        """folder: path of the run; columns_dir: folder of the column cache, or None for no cache; files_of: function(folder) that
        tells the run's files as `own_files.find` does: of another logger's run it is `foreign_files.find`."""
        self.folder, self._files_of = os.fspath(folder), files_of
        self._cache = os.fspath(columns_dir) if columns_dir else None
        self._files = {}                # (stem, rank, attempt) -> File
        self._curves = {}               # (stem, metric, rank, x) -> ([(Table, points, purges), …], Curve, superseded Curve)
        self._samples = {}              # (rank, attempt) -> Table of spaced lines, while the file is far from parsed, or here
        self._far_sizes = {}            # (rank, attempt) -> bytes the server has of the file, of those that were not all here
        self._encoded = (None, {})         # what the files were like, and the pictures encoded since: asked -> pieces.Piece
        self._bytes = 0                  # bytes in the columns of all files
        self._lock = threading.RLock()

    # -- reading ---------------------------------------------------------------------------------------------------

    def refresh(self, seconds=None):
        """Read what is new; return whether anything was. Stops after `seconds` if given; then `behind` tells what is left.

        A file that can't be read counts as it was at the last look; a run without a folder has no metrics.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        changed = self._find()
        with self._lock:
            files = [file for file in self._files.values() if _quietly(file.look)]
            self._sample()
        for file in files:
            changed |= self._read(file, deadline)
        with self._lock:
            self._sample()
            if changed:
                self._bytes = sum(file.table.nbytes() for file in self._files.values())
        return changed

    def _find(self):
        files = self._files_of(self.folder)
        with self._lock:
            vanished = [key for key, file in self._files.items() if key not in files or files[key][0] != file.path]
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
            with self._lock:
                more = _quietly(file.step)
            if more:
                time.sleep(YIELD_SECONDS)
        with self._lock:
            if not more:
                file.save()
        return (file.table, file.position) != before

    @property
    def behind(self):
        """Bytes that could be parsed now and are not yet (int); half a line at the end does not count."""
        with self._lock:
            return sum(file.behind for file in self._files.values())

    @property
    def skipped(self):
        """Lines of events that were no JSON object (int)."""
        with self._lock:
            return sum(file.skipped for (stem, _, _), file in self._files.items() if stem == "events")

    @property
    def nbytes(self):
        """Bytes of memory the columns take (int), as of the last refresh; asked often, so it waits for nobody."""
        copies = [len(curve.xs) for _, *curves in list(self._curves.values()) for curve in curves if curve]
        return self._bytes + sum(copies) * POINT_BYTES + sum(len(encoded.deflated) for encoded in [*self._encoded[1].values()] if encoded)

    def prime(self, slot, size, read, make):
        """Sample a file of metrics of which not nearly all is here: until it is, pictures are approximate and made from the sample.

        slot: (rank, attempt) of the file; size: in bytes; read: see `samples.sample`; make: function(state) returning its reader. Does
        nothing for a kind that can't be read in part. Raises what `read` raises.
        """
        reader = make(None)
        table = samples.sample(read, size, reader) if reader.grid else None
        with self._lock:
            self._samples.update({slot: table} if table else {})

    def expect(self, sizes):
        """Say how large on the server the files of metrics are of which less is here, {(rank, attempt): bytes}: pictures of what is here of
        them, and no sample, are approximate, too, unless next to nothing is missing."""
        with self._lock:
            self._far_sizes = dict(sizes)

    def _tables(self, rank, stem="events"):
        """Return [(attempt, Table)] of a rank, oldest first, and whether any of them is only a sample."""
        tables = {attempt: file.table for (kind, of, attempt), file in self._files.items() if kind == stem and of == rank}
        approximate = stem == "events" and any(of == rank and self._lacks(of, attempt) for of, attempt in self._far_sizes)
        for (of, attempt), table in self._samples.items() if stem == "events" else ():
            file = self._files.get((stem, rank, attempt))
            if of == rank and (file is None or file.behind > COARSE_BYTES or self._lacks(rank, attempt)):
                tables[attempt], approximate = table, True
        return sorted(tables.items()), approximate

    def _lacks(self, rank, attempt):
        """Whether the server has more of an events file than a first picture shows of its end."""
        file = self._files.get(("events", rank, attempt))
        return self._far_sizes.get((rank, attempt), 0) - (file.position + file.behind if file else 0) > samples.ENDS

    def _sample(self):
        """Keep a sample of each events file that is far from parsed, and of no other that is here."""
        for (stem, rank, attempt), file in self._files.items():
            if stem != "events":
                continue
            if file.behind <= COARSE_BYTES and not self._lacks(rank, attempt):
                self._samples.pop((rank, attempt), None)
            elif (rank, attempt) not in self._samples:
                sample = _quietly(lambda file=file: samples.of(file))
                self._samples.update({(rank, attempt): sample} if sample else {})

    def facts(self):
        """Return what the readers of the files know beside numbers (dict): "config", "summary" and "texts" (dicts), "counts" and "restarts"
        added up, and what else the kind that is believed first tells."""
        with self._lock:
            told = [file.reader.facts() for _, file in sorted(self._files.items())]
        joined = {}
        for facts in told:
            for name, value in facts.items():
                if name in ("config", "summary", "texts"):
                    value = {**joined.get(name, {}), **value}
                elif name == "counts":
                    before = joined.get(name, {})
                    value = {what: value.get(what, 0) + before.get(what, 0) for what in {*value, *before}}
                joined[name] = value + joined.get(name, 0) if name == "restarts" else value
        joined.pop("purges", None)
        return joined

    # -- what there is ---------------------------------------------------------------------------------------------

    @property
    def ranks(self):
        """The ranks that logged (list of int)."""
        with self._lock:
            return sorted({rank for stem, rank, _ in self._files if stem == "events"} | {rank for rank, _ in self._samples})

    @property
    def attempts(self):
        """The attempts that logged (list of int)."""
        with self._lock:
            return sorted({attempt for stem, _, attempt in self._files if stem == "events"})

    @property
    def rows(self):
        """Rows of metrics parsed, all attempts and ranks (int)."""
        return sum(table.rows for table in self._logged())

    @property
    def first_ts(self):
        """Time of the first row (Unix seconds), or None."""
        return min((table.first_ts for table in self._logged()), default=None)

    @property
    def last_ts(self):
        """Time of the last row (Unix seconds), or None."""
        return max((table.last_ts for table in self._logged()), default=None)

    @property
    def last_step(self):
        """The largest step of the newest attempt (number), or None."""
        tables = self._logged(self._first_rank())
        return tables[-1].top_step if tables else None

    @property
    def median_gap(self):
        """Median time between the last rows (seconds), or None if there are fewer than two."""
        tables = self._logged(self._first_rank())
        times = list(tables[-1].recent) if tables else []
        return _median(later - earlier for earlier, later in zip(times, times[1:])) if len(times) > 1 else None

    def _first_rank(self):
        return self.ranks[0] if self.ranks else 0

    def _logged(self, rank=None):
        with self._lock:
            ranks = self.ranks if rank is None else [rank]
            return [table for each in ranks for _, table in self._tables(each)[0] if table.rows]

    def metrics(self):
        """Return {name: facts} of every metric, in the order they were first logged.

        Facts are of the lowest rank that logged it, superseded points left out: "points", "first_step", "last_step",
        "last" (float, maybe NaN), "last_ts", "best": {"min": (value, step), "max": (value, step)} or None without a finite
        value; "attempts", "ranks": lists of int.
        """
        with self._lock:
            places_of = {}
            for rank in self.ranks:
                for attempt, table in self._tables(rank)[0]:
                    for name in table.where:
                        places_of.setdefault(name, []).append((rank, attempt))
            return {name: self._facts(name, places) for name, places in places_of.items()}

    def _facts(self, name, places):
        rank = places[0][0]
        curve, _ = self._curve(name, rank, "step")
        group = _holding([table for _, table in self._tables(rank)[0]], name)[-1].where[name]
        values, (low, high) = curve.column.values, extremes(curve.column)
        return {"points": len(values), "first_step": curve.xs[0], "last_step": curve.xs[-1],
                "last": group.columns[name].values[-1], "last_ts": group.ts[-1],
                "best": None if low is None else {"min": (values[low], curve.xs[low]), "max": (values[high], curve.xs[high])},
                "attempts": sorted({attempt for _, attempt in places}), "ranks": sorted({rank for rank, _ in places})}

    # -- curves ----------------------------------------------------------------------------------------------------

    def picture(self, metric, x="step", lo=None, hi=None, buckets=600, smooth=0.0, rank=0):
        """Return the picture of a metric (see `buckets.picture`) and more, or None if this rank did not log it.

        x: "step", "relative" (seconds since the rank's first row), "wall" (Unix seconds) or "metric:NAME" (the value of
        NAME in the same row, else its last one before); lo, hi: range of x, inclusive; smooth: weight in [0, 1).
        Adds "metric", "rank", "approximate" (made from a sample, the exact one follows) and "superseded": None, or
        {"x", "last", "min", "max"} of points that a later attempt logged again.
        Raises UsageError for an x, a number of buckets or a smoothing that can't be.
        """
        if x not in ("step", "relative", "wall") and not x.startswith("metric:"):
            raise UsageError(f"x can't be {x!r}; it is step, relative, wall or metric:NAME")
        if buckets < 1 or not 0 <= smooth < 1 or lo != lo or hi != hi:
            raise UsageError(f"a picture from {lo} to {hi} in {buckets} buckets, smoothed by {smooth}, can't be; smoothing is below 1")
        with self._lock:
            curve, superseded = self._curve(metric, rank, x)
            if curve is None:
                return None
            old = superseded and picture(superseded, lo, hi, buckets)
            return {"metric": metric, "rank": rank, **picture(curve, lo, hi, buckets, smooth), "approximate": self._tables(rank)[1],
                    "superseded": old and {key: old[key] for key in ("x", "last", "min", "max")}}

    def told(self, run, metric, **options):
        """Return the pieces.Piece of the JSON of {"run": run, **picture}, or None without a picture; encoded once, until
        something is read. options: as for `picture`."""
        with self._lock:
            if self._encoded[0] != (state := self._state()):
                self._encoded = state, {}
            encoded, question = self._encoded[1], (run, metric, *sorted(options.items()))
            if question not in encoded:
                picture = self.picture(metric, **options)
                encoded[question] = piece(layout.to_json({"run": run, **picture}).encode("utf-8", "surrogatepass")) if picture else None
                while len(encoded) > PICTURES_KEPT:
                    del encoded[next(iter(encoded))]
            return encoded[question]

    def _state(self):
        """Return what every picture is made from: while this stays equal, so do they."""
        files = [(file.table, file.position, file.behind > COARSE_BYTES) for file in self._files.values()]
        return files, list(self._samples.items()), dict(self._far_sizes)

    def _curve(self, metric, rank, x, stem="events"):
        """Return the Curve of a metric and that of its superseded points; None where there are none."""
        tables = _holding([table for _, table in self._tables(rank, stem)[0]], metric)
        if not tables:
            return None, None
        shift = min(table.first_ts for _, table in self._tables(rank, stem)[0] if table.rows) if x == "relative" else 0.0
        if len(tables) == 1 and not tables[0].purges and curves.in_order(tables[0].where[metric], x):
            return curves.curve(tables, metric, x, shift)
        return self._copy((stem, metric, rank, x), tables, shift)

    def _copy(self, key, tables, shift):
        """Return the two Curves joined or sorted from `tables`; kept, and continued where a newest attempt only grew."""
        _, metric, _, x = key
        state = [(table, len(table.where[metric].rows), len(table.purges or ())) for table in tables]
        before, *copies = self._curves.pop(key, ([], None, None))
        if before != state:
            grown = before and before[:-1] == state[:-1] and before[-1][2] == state[-1][2] and curves.grow(
                copies[0], before[-1][:2], tables[-1], metric, x)
            copies = copies if grown else curves.curve(tables, metric, x, shift)
        self._curves[key] = state, *copies
        while len(self._curves) > 1 and sum(len(copy.xs) for _, copy, _ in self._curves.values()) > POINTS_KEPT:
            del self._curves[next(iter(self._curves))]
        return copies

    def points(self, metric, rank=0):
        """Return (steps, ts, values), arrays of one length in the order logged, of all points that are not superseded; all
        empty if the rank never logged the metric. Reads what is new first. Raises DataError if part of the run is not here."""
        tables = _holding(self._whole(rank), metric)
        if not tables:
            return array("q"), array("d"), array("d")
        with self._lock:
            steps, values = curves.joined(tables, metric, "step")[0]
            return steps, curves.joined(tables, metric, "wall")[0][0], values

    def _whole(self, rank):
        self.refresh()
        with self._lock:
            tables, approximate = self._tables(rank)
        if approximate:
            raise DataError(f"{self.folder} is not all here yet; wait until it is synced, then try again")
        return [table for _, table in tables]

    def spark(self, metric, n=24, rank=0):
        """Return `n` values (or fewer) evenly spaced over the metric's points, None for NaN and infinities; [] without any."""
        with self._lock:
            curve, _ = self._curve(metric, rank, "step")
            if curve is None:
                return []
            total = len(curve.xs)
            places = range(total) if total <= n else [(k + 1) * total // n - 1 for k in range(n)]
            return [value if math.isfinite(value) else None for value in (curve.column.values[index] for index in places)]

    # -- times and steps -------------------------------------------------------------------------------------------

    def step_at(self, ts, rank=0):
        """Return the step of the last row at or before the second `ts` (Unix seconds) ends, or None before the first."""
        with self._lock:
            groups = [group for _, table in self._tables(rank)[0] for group in table.groups()]
            places = [(group, bisect_right(group.ts, math.floor(ts) + 0.9995) - 1) for group in groups]
            return max([(group.ts[index], group.steps[index]) for group, index in places if index >= 0], default=(None, None))[1]

    def steps_at(self, times, rank=0):
        """Return the steps (list of int or None) at which consecutive lines of a log were written.

        times: their Unix seconds, which a stamp tells to the second only, or None. The lines of a second are spread over the rows
        of that second, in their order: with a hundred steps a second the first line does not stand at the last of them.
        """
        steps = []
        for second, lines in itertools.groupby(times, lambda ts: None if ts is None else math.floor(ts)):
            count = sum(1 for _ in lines)
            rows = [] if second is None else self._rows_within(second, rank)
            step = None if second is None or rows else self.step_at(second, rank)
            steps += [rows[-(-(index + 1) * len(rows) // count) - 1][1] if rows else step for index in range(count)]
        return steps

    def _rows_within(self, second, rank):
        """Return [(ts, step)] of the rows of one second, in their order."""
        with self._lock:
            groups = [group for _, table in self._tables(rank)[0] for group in table.groups()]
            return sorted((group.ts[index], group.steps[index]) for group in groups
                          for index in range(bisect_left(group.ts, second - 0.0005), bisect_right(group.ts, second + 0.9995)))

    def time_of(self, step, rank=0):
        """Return the time (Unix seconds) at which `step`, or the first one after it, was logged (by the newest attempt that
        did), or None if no step reached it."""
        with self._lock:
            for _, table in reversed(self._tables(rank)[0]):
                places = [(group, bisect_left(group.steps, step)) for group in table.groups()]
                times = [group.ts[index] for group, index in places if index < len(group.steps)]
                if times:
                    return min(times)
        return None

    def moment(self, metric, x, position, rank=0):
        """Return {"step", "ts", "epoch"} of the metric's newest point that stands at `position` on the axis `x`, or None without one.

        x: "step", "relative" or "wall", position: as a picture tells it; ts: Unix seconds; epoch: the last value, at or before that
        row, of the metric whose last name part is "epoch", or None. Raises UsageError for another x.
        """
        if x not in ("step", "relative", "wall"):
            raise UsageError(f"x can't be {x!r}; a moment is found by step, relative or wall")
        with self._lock:
            tables = [table for _, table in self._tables(rank)[0] if table.rows]
            position += min(table.first_ts for table in tables) if x == "relative" and tables else 0.0
            for table in reversed(tables):
                group = table.where.get(metric)
                index = None if group is None else curves.place_of(group, x, position)
                if index is not None:
                    return {"step": group.steps[index], "ts": group.ts[index], "epoch": curves.epoch_at(table, group.rows[index])}
        return None

    def speed(self, seconds=600):
        """Return the median speed of the last `seconds` of logging (steps a second), or None if it can't be told."""
        with self._lock:
            tables = self._logged(self._first_rank())
            groups = tables[-1].groups() if tables else []
            recent = [group for group in groups if group.ts[-1] >= tables[-1].last_ts - seconds]
            if not recent:
                return None
            group = max(recent, key=lambda group: len(group.ts))        # the one logged most often
            start = bisect_left(group.ts, group.ts[-1] - seconds)
            places = range(start, len(group.ts), max(1, (len(group.ts) - start) // 50))
            points = [(group.ts[index], group.steps[index]) for index in places]
        speeds = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(points, points[1:]) if b[0] > a[0] and b[1] > a[1]]
        return _median(speeds) if speeds else None

    def steps_by_epoch(self):
        """Return how many steps an epoch takes by what was logged as the epoch (float), or None; see `curves.pace`."""
        with self._lock:
            rank = self._first_rank()
            names = {name for table in self._logged(rank) for name in table.where if name.rsplit("/", 1)[-1].lower() == "epoch"}
            logged = [self._curve(name, rank, "step")[0] for name in names]
        return curves.pace(max(logged, key=lambda curve: len(curve.xs))) if logged else None

    # -- system ----------------------------------------------------------------------------------------------------

    def system(self, lo=None, hi=None, buckets=300, rank=0):
        """Return {"now": the last sample as written (dict) or None, "series": [picture, …] of "cpu", "mem", "gpu0.util", …
        by wall time}."""
        with self._lock:
            tables, _ = self._tables(rank, "system")
            names = dict.fromkeys(name for _, table in tables for name in table.where)
            shown = {name: self._curve(name, rank, "wall", "system")[0] for name in names}
            series = [{"metric": name, "rank": rank, **picture(curve, lo, hi, buckets)} for name, curve in shown.items()]
            files = [file for key, file in sorted(self._files.items()) if key[:2] == ("system", rank)]
        return {"now": _last_object(files[-1].path) if files else None, "series": series}


def _holding(tables, metric):
    """Return those of some Tables (oldest first, those of the kind that is believed first last) that hold a metric: of one kind only,
    where another logger wrote it, too."""
    holding = [table for table in tables if metric in table.where]
    return [table for table in holding if table.kind == holding[-1].kind]


def _median(values):
    """Return the median of numbers, the lower of the middle two; `statistics` would cost the viewer's start 15 ms."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def _quietly(call):
    """Return what `call` does, None if its file vanished or can't be read just now: the next look tells."""
    try:
        return call()
    except OSError as error:
        local_disk.pass_over(error)
        return None


def _last_object(path):
    """Return the last complete JSON object of a .jsonl file (dict), or None."""
    try:
        with open(layout.open_regular(path), "rb") as file:
            file.seek(max(0, os.path.getsize(path) - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError as error:
        local_disk.pass_over(error)
        return None
    for line in reversed(lines):
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue            # torn, or the middle of a line
        if isinstance(value, dict):
            return value
    return None
