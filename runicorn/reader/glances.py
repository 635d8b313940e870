"""When the files of other loggers' runs are read for the list: an answer waits a moment for them, the rest is
read behind it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from runicorn import faults, layout
from runicorn.metrics.series import Series
from runicorn.reader.quick_stats import End, Spark
from runicorn.reader.records import flat

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.reader.foreign_entry import ForeignEntry

SOON = 0.05                 # s of reading one run before others get their turn
SHARE = 0.2                 # of the time, and s at once, that all answers together may spend on it
NAMES = 2000                # metrics of which last values are kept for the list
SPARKS = 50                 # … and curves
TELL = 1.0                  # s between two times that what was read is told

log = logging.getLogger("runicorn")


class Glance:
    """What the list shows of one run as of the sizes of its files: `end`, `values` {metric: last value},
    `sparks` {metric: Spark}, `facts` as Series.facts tells them, `config` flat, `whole`: whether all of the
    files was read."""

    def __init__(self, sizes: dict[str, int] | None, series: Series,
                 beside: dict[str, Any] | None = None) -> None:
        """beside: what files beside those with metrics tell of the config (dict)."""
        self.sizes, self.whole = sizes, not series.behind
        metrics = series.metrics(NAMES)
        self.values = {name: layout.strict(facts["last"]) for name, facts in metrics.items()}
        self.facts = series.facts()
        if beside:
            self.facts["config"] = {**self.facts.get("config", {}), **beside}
        self.config = flat(self.facts.get("config"))
        self.end = End(series.last_step, layout.moment(series.last_ts), series.median_gap)
        self.sparks = {name: _spark(series, name, metrics[name]) for name in list(metrics)[:SPARKS]}


def _spark(series, name, facts):
    best = facts["best"] or {"min": None, "max": None}
    return Spark(series.spark(name), best["min"], best["max"], True)


NOTHING = Glance(None, Series("", files_of=lambda folder: {}))          # of a run that nobody looked at


class Reading:
    """What was read of one run for the list, kept until its files grow; any thread may ask."""

    def __init__(self):
        self.glance, self._series, self._lock = None, None, threading.Lock()

    def is_of(self, sizes: dict[str, int]) -> bool:
        """Whether all of files of these `sizes` ({name: bytes}) was read."""
        return self.glance is not None and self.glance.whole and self.glance.sizes == sizes

    def go_on(self, sizes: dict[str, int], make: Callable[..., Any], beside: Callable[..., Any],
              seconds: float | None = None) -> None:
        """Read on for `seconds`, or to the end. make: function() returning the run's Series; beside:
        function(sizes), as Glance has it."""
        with self._lock:
            if not self.is_of(sizes):
                series = self._series or make()
                series.refresh(seconds)
                self.glance = Glance(sizes, series, beside(sizes))
                # Goes on where it was, at the next look
                self._series = None if self.glance.whole else series


class Glances:
    """Shares out the time for it. Thread-safe; what answers do not wait for is read by a thread of its own,
    which ends behind the last."""

    def __init__(self, tell: Callable[..., Any] | None = None,
                 clock: Callable[..., Any] = time.monotonic) -> None:
        """tell: function(), called when runs were read behind the answers; None: an answer waits for all that
        it needs."""
        self._tell, self._clock = tell, clock
        self._lock, self._thread = threading.Lock(), None
        self._entries = {}              # key -> entry to be read, first come first served
        # The first list is painted before its curves; from then on the time that answers may spend grows
        self._budget, self._counted_at = SOON, None

    @property
    def seconds(self) -> float | None:
        """How long one run may be read in an answer (float), or None for no limit."""
        return None if self._tell is None else SOON

    def may_wait(self) -> bool:
        """Whether an answer may wait for one run more."""
        if self._tell is None:
            return True
        with self._lock:
            now = self._clock()
            since = now if self._counted_at is None else self._counted_at
            self._budget, self._counted_at = min(SHARE, self._budget + SHARE * (now - since)), now
            return self._budget > 0

    def spent(self, seconds: float) -> None:
        """Note that an answer waited for so long."""
        with self._lock:
            self._budget -= seconds

    def want(self, entry):
        """Have an entry read behind the answers."""
        if self._tell is None:
            return
        with self._lock:
            self._entries[entry.key] = entry
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="glances", daemon=True)
                self._thread.start()

    def waits(self, entry: ForeignEntry) -> bool:
        """Whether an entry is still to be read (bool)."""
        return entry.key in self._entries

    def _work(self):
        reported = self._clock()
        while True:
            with self._lock:
                entry = next(iter(self._entries.values()), None)
                if entry is None:
                    self._thread = None
                    break
            is_whole = self._read(entry)
            with self._lock:
                self._entries.pop(entry.key, None)
                if not is_whole:
                    self._entries[entry.key] = entry        # behind the others
            if self._clock() - reported >= TELL:
                reported = self._clock()
                self._tell()
            time.sleep(0.001)           # answers come first
        self._tell()

    def _read(self, entry):
        """Read one entry on; returns whether that was all of it. A broken run must not keep the others
        waiting."""
        try:
            return entry.read_on(SOON)
        except Exception as error:
            faults.tell(log, error, f"reading {entry.key}")
            return True
