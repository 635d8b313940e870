"""The Series of the runs that somebody looks at: kept in memory, read as far as an answer can wait, parsed on
behind it."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from runicorn.metrics.column_cache import trim
from runicorn.metrics.run_tables import COARSE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from runicorn.metrics.series import Series
    from runicorn.reader.foreign_entry import ForeignEntry
    from runicorn.reader.run_entry import Entry

SERIES_BYTES = 96 << 20     # columns kept in memory; the run last asked for stays whatever its size
COLUMNS = 2 << 30           # bytes of the column cache on disk, unless somebody says otherwise
TRIM_SECONDS = 60.0         # between two looks at what it takes
READ_SECONDS = 0.6          # an answer waits no longer for parsing; the rest is parsed behind it
HEAD_START = 0.1            # s
LITTLE_SECONDS = 0.02       # … and no longer than this where a sample can be drawn meanwhile


class OpenSeries:
    """The Series in memory, and their column cache on disk. Any thread may call `of`; what is parsed on has a
    thread of its own."""

    def __init__(self, folder: Path, columns: int, ring: Callable[..., Any] | None, clock: Any) -> None:
        """folder: of the column cache (Path); columns: bytes that it may take; ring: function(topic), called
        when something was parsed behind an answer; None parses before answering; clock: monotonic seconds."""
        self._folder, self._columns, self._ring, self._clock = folder, columns, ring, clock
        self._trimmed = float("-inf")
        # Key -> Series, asked for longest ago first; keys being parsed
        self._series, self._parsing = {}, set()
        self._sizes, self._bytes = {}, 0        # bytes of columns in memory by key, and in all
        self._lock = threading.Lock()

    def of(self, entry: ForeignEntry | Entry) -> Series:
        """Return the Series of the run of an Entry, as far as it can be read at once; the rest is parsed
        behind, then the run's topic rings."""
        with self._lock:
            series = self._series.pop(entry.key, None)
            if series is None or series.folder != os.fspath(entry.folder):
                series = entry.new_series(self._folder)
            self._series[entry.key] = series
        if self._ring is None:
            series.refresh()
        elif entry.key not in self._parsing:
            self._read_some(entry.key, series)
        self._drop_oldest(entry.key, series)
        self._trim()
        return series

    def _trim(self):
        if self._clock() - self._trimmed >= TRIM_SECONDS:
            self._trimmed = self._clock()
            trim(self._folder, self._columns)

    def _read_some(self, key, series):
        """Parse what an answer can wait for: all of it where that is soon done, else a little; the rest goes
        on behind it."""
        series.refresh(LITTLE_SECONDS)
        if 0 < series.behind <= COARSE_BYTES:
            series.refresh(READ_SECONDS)
        if series.behind:
            self._parse_on(key, series)

    def _parse_on(self, key, series):
        with self._lock:
            if key in self._parsing:
                return
            self._parsing.add(key)

        def parse():
            time.sleep(HEAD_START)      # the answer that is being made has the processor first
            try:
                series.refresh()
            finally:
                self._parsing.discard(key)
                self._ring(f"run:{key}")
        threading.Thread(target=parse, name=f"parse {key}", daemon=True).start()

    def _drop_oldest(self, key, series):
        """Keep what the columns in memory take below SERIES_BYTES: those asked for longest ago go first."""
        with self._lock:
            self._bytes += series.nbytes - self._sizes.get(key, 0)
            self._sizes[key] = series.nbytes
            while self._bytes > SERIES_BYTES and len(self._series) > 1:
                oldest = next(iter(self._series))
                del self._series[oldest]
                self._bytes -= self._sizes.pop(oldest, 0)
