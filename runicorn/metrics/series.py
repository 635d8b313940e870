"""The curves of one run: its attempts and ranks joined, pictures, best values. Parses nothing itself."""

from __future__ import annotations

import itertools
import json
import math
import os
from array import array
from typing import TYPE_CHECKING

from runicorn import layout, local_disk
from runicorn.errors import DataError, UsageError
from runicorn.metrics import curves, own_files
from runicorn.metrics.downsample import extremes, picture
from runicorn.metrics.pieces import piece
from runicorn.metrics.run_tables import RunTables
from runicorn.metrics.times import Times

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from runicorn.metrics.foreign_files import ForeignFiles
    from runicorn.metrics.own_files import OwnFiles

POINTS_KEPT = 4_000_000     # in joined or sorted copies of curves: 64 MB
POINT_BYTES = 16            # of such a copy: x and value
PICTURES_KEPT = 64          # encoded pictures of a run, until it grows: about 8 KB each at 300 buckets
TAIL_BYTES = 64 << 10       # holds a system sample of any machine


class Series(RunTables):
    """The metrics and system samples of the run in `folder`, and when they were logged (`times`). Any thread
    may call any method; each holds the lock of the tables for some 30 ms at most while a large file is
    parsed."""

    def __init__(self, folder: str | os.PathLike[str], columns_dir: Path | None = None,
                 files_of: ForeignFiles | OwnFiles | Callable[..., Any] = own_files.find) -> None:
        """See run_tables.RunTables."""
        super().__init__(folder, columns_dir, files_of)
        self.times = Times(self)
        # (stem, metric, rank, x) -> ([(Table, points, purges), …], Curve, superseded Curve)
        self._curves = {}
        # what the files were like, which metrics' facts were asked for, and the facts
        self._facts_cache = None, None, {}
        # What the files were like, and the pictures encoded since: asked -> pieces.Piece
        self._encoded = (None, {})

    @property
    def nbytes(self) -> int:
        """Bytes of memory the columns take (int), as of the last refresh; asked often, so it waits for
        nobody."""
        copies = [len(curve.xs) for _, *curves in list(self._curves.values()) for curve in curves if curve]
        pictures = sum(len(encoded.deflated) for encoded in [*self._encoded[1].values()] if encoded)
        return self.bytes_of_columns + sum(copies) * POINT_BYTES + pictures

    def metrics(self, most=None, also=None):
        """Return {name: facts} of every metric, or of the first `most` and the one named `also`, in the order
        they were first logged.

        Facts are of the lowest rank that logged it, superseded points left out: "points", "first_step",
        "last_step", "last" (float, maybe NaN), "last_ts", "best": {"min": (value, step), "max": (value,
        step)} or None without a finite value; "attempts", "ranks": lists of int. A metric of which a later
        start took back every point is left out.
        """
        with self.lock:
            state, (cached_state, cached_question, cached) = self.state(), self._facts_cache
            # An answer, a report and an export want them one after the other
            if cached_state == state and cached_question in ((None, None), (most, also)):
                return cached if cached_question == (most, also) else {
                    name: facts for index, (name, facts) in enumerate(cached.items())
                    if index < most or name == also}
            tables_of, places_of = {rank: self.all_of(rank)[0] for rank in self.ranks}, self._places()
            facts = ((name, self._facts(name, places, tables_of[places[0][0]]))
                     for name, places in places_of.items())
            chosen = dict(itertools.islice((item for item in facts if item[1]), most))
            if also in places_of and also not in chosen:
                more = self._facts(also, places_of[also], tables_of[places_of[also][0][0]])
                chosen.update({also: more} if more else {})
            self._facts_cache = state, (most, also), chosen
            return chosen

    def count(self):
        """Return how many metrics were logged (int)."""
        with self.lock:
            return len(self._places())

    def _places(self):
        """Return {metric: [(rank, attempt), …] of the tables that hold it}, in the order first logged."""
        places_of = {}
        for rank in self.ranks:
            for attempt, table in self.all_of(rank)[0]:
                for name in table.where:
                    places_of.setdefault(name, []).append((rank, attempt))
        return places_of

    def _facts(self, name, places, tables):
        tables = _holding([table for _, table in tables], name)
        curve, group = self._joined("events", name, places[0][0], "step", tables)[0], tables[-1].where[name]
        values, (low, high) = curve.column.values, extremes(curve.column)
        if not values:
            return None
        return {"points": len(values), "first_step": curve.xs[0], "last_step": curve.xs[-1],
                "last": group.columns[name].values[-1], "last_ts": group.ts[-1],
                "best": None if low is None else {"min": (values[low], curve.xs[low]),
                                                  "max": (values[high], curve.xs[high])},
                "attempts": sorted({attempt for _, attempt in places} - {None}),
                "ranks": sorted({rank for rank, _ in places})}

    # -- curves ----------------------------------------------------------------------------------------------

    def picture(self, metric: str, x: str = "step", lo: float | None = None, hi: float | None = None,
                buckets: int = 600, smooth: float = 0.0, rank: int = 0) -> dict[str, Any] | None:
        """Return the picture of a metric (see `buckets.picture`) and more, or None if this rank did not log
        it.

        x: "step", "relative" (seconds since the rank's first row), "wall" (Unix seconds) or "metric:NAME"
        (the value of NAME in the same row, else its last one before); lo, hi: range of x, inclusive; smooth:
        weight in [0, 1). Adds "metric", "rank", "approximate" (made from a sample, the exact one follows) and
        "superseded": None, or {"x", "last", "min", "max"} of points that a later attempt logged again. Raises
        UsageError for an x, a number of buckets or a smoothing that can't be.
        """
        if x not in ("step", "relative", "wall") and not x.startswith("metric:"):
            raise UsageError(f"x can't be {x!r}; it is step, relative, wall or metric:NAME")
        if buckets < 1 or not 0 <= smooth < 1 or lo != lo or hi != hi:
            raise UsageError(f"a picture from {lo} to {hi} in {buckets} buckets, smoothed by {smooth}, "
                             f"can't be; smoothing is below 1")
        with self.lock:
            curve, superseded = self._curve(metric, rank, x)
            if curve is None:
                return None
            old = superseded and picture(superseded, lo, hi, buckets)
            return {"metric": metric, "rank": rank, **picture(curve, lo, hi, buckets, smooth),
                    "approximate": self.tables_of(rank)[1],
                    "superseded": old and {key: old[key] for key in ("x", "last", "min", "max")}}

    def told(self, run, metric, **options):
        """Return the pieces.Piece of the JSON of {"run": run, **picture}, or None without a picture; encoded
        once, until something is read. options: as for `picture`."""
        with self.lock:
            if self._encoded[0] != (state := self.state()):
                self._encoded = state, {}
            encoded, question = self._encoded[1], (run, metric, *sorted(options.items()))
            if question not in encoded:
                picture = self.picture(metric, **options)
                text = layout.to_json({"run": run, **picture}) if picture else None
                encoded[question] = piece(text.encode("utf-8", "surrogatepass")) if picture else None
                while len(encoded) > PICTURES_KEPT:
                    del encoded[next(iter(encoded))]
            return encoded[question]

    def _curve(self, metric, rank, x, stem="events"):
        """Return the Curve of a metric and that of its superseded points; None where there are none."""
        all_tables = [table for _, table in (self.all_of(rank) if stem == "events"
                                             else self.tables_of(rank, stem))[0]]
        tables = _holding(all_tables, metric)
        if not tables:
            return None, None
        shift = min(table.first_ts for table in all_tables if table.rows) if x == "relative" else 0.0
        return self._joined(stem, metric, rank, x, tables, shift)

    def _joined(self, stem, metric, rank, x, tables, shift=0.0):
        """Return the two Curves of a metric that `tables` hold."""
        if len(tables) == 1 and not tables[0].purges and curves.in_order(tables[0].where[metric], x):
            return curves.curve(tables, metric, x, shift)
        return self._copy((stem, metric, rank, x), tables, shift)

    def _copy(self, key, tables, shift):
        """Return the two Curves joined or sorted from `tables`; kept, and continued where a newest attempt
        only grew."""
        _, metric, _, x = key
        state = [(table, len(table.where[metric].rows), len(table.purges or ())) for table in tables]
        before, *copies = self._curves.pop(key, ([], None, None))
        if before != state:
            grown = before and before[:-1] == state[:-1] and before[-1][2] == state[-1][2] and curves.grow(
                copies[0], before[-1][:2], tables[-1], metric, x)
            copies = copies if grown else curves.curve(tables, metric, x, shift)
        self._curves[key] = state, *copies
        while len(self._curves) > 1 and sum(len(
                                                copy.xs)
                                            for _, copy, _ in self._curves.values()) > POINTS_KEPT:
            del self._curves[next(iter(self._curves))]
        return copies

    def points(self, metric: str, rank: int = 0) -> tuple[Any, Any, Any]:
        """Return (steps, ts, values), arrays of one length in the order logged, of all points that are not
        superseded; all empty if the rank never logged the metric. Reads what is new first. Raises DataError
        if part of the run is not here."""
        (_, *points), = self.points_of([metric], rank)
        return tuple(points)

    def points_of(self, metrics, rank=0):
        """Yield (metric, steps, ts, values), as `points` has them, of many metrics: what is new is read once,
        first. Raises DataError."""
        all_tables = self._whole(rank)
        for metric in metrics:
            tables = _holding(all_tables, metric)
            if not tables:
                yield metric, array("q"), array("d"), array("d")
                continue
            with self.lock:
                steps, values = curves.joined(tables, metric, "step")[0]
                ts = curves.joined(tables, metric, "wall")[0][0]
            yield metric, steps, ts, values

    def _whole(self, rank):
        self.refresh()
        with self.lock:
            tables, approximate = self.all_of(rank)
        if approximate:
            raise DataError(f"{self.folder} is not all here yet; wait until it is synced, then try again")
        return [table for _, table in tables]

    def spark(self, metric: str, n: int = 24, rank: int = 0) -> list[Any]:
        """Return `n` values (or fewer) evenly spaced over the metric's points, None for NaN and infinities;
        [] without any."""
        with self.lock:
            curve, _ = self._curve(metric, rank, "step")
            if curve is None:
                return []
            total = len(curve.xs)
            places = range(total) if total <= n else [(k + 1) * total // n - 1 for k in range(n)]
            return [value if math.isfinite(value) else None
                    for value in (curve.column.values[index] for index in places)]

    def steps_by_epoch(self) -> float | None:
        """Return how many steps an epoch takes by what was logged as the epoch (float), or None; see
        `curves.pace`."""
        with self.lock:
            rank = self.first_rank
            names = {name for table in self.logged(rank)
                     for name in table.where if name.rsplit("/", 1)[-1].lower() == "epoch"}
            logged = [self._curve(name, rank, "step")[0] for name in names]
        return curves.pace(max(logged, key=lambda curve: len(curve.xs))) if logged else None

    # -- system ----------------------------------------------------------------------------------------------

    def system(self, lo=None, hi=None, buckets=300, rank=0):
        """Return {"now": the last sample as written (dict) or None, "series": [picture, …] of "cpu", "mem",
        "gpu0.util", … by wall time}."""
        with self.lock:
            tables, _ = self.tables_of(rank, "system")
            names = dict.fromkeys(name for _, table in tables for name in table.where)
            shown = {name: self._curve(name, rank, "wall", "system")[0] for name in names}
            series = [{"metric": name, "rank": rank, **picture(curve, lo, hi, buckets)}
                      for name, curve in shown.items()]
            path = self.newest_file("system", rank)
        return {"now": _last_object(path) if path else None, "series": series}


def _holding(tables, metric):
    """Return those of some Tables (oldest first, those of the kind that is believed first last) that hold a
    metric: of one kind only, where another logger wrote it, too."""
    holding = [table for table in tables if metric in table.where]
    return [table for table in holding if table.kind == holding[-1].kind]


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
