"""What a mirror's index says of the files of other loggers' runs, kept so long as their lines stay as they
are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runicorn import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.reader.records import Record


class Listed(NamedTuple):
    """The files of one run, as its line in the index has them (`line`: see records.told): `files` {name:
    {"size", "mtime"}}, `newest`: the latest mtime by the server's clock (s), or None."""

    line: object
    files: dict
    newest: object


class ForeignIndex:
    """The Listed of each run that was asked for. For one source."""

    def __init__(self, entry: Callable[..., Any], places: Callable[..., Any]) -> None:
        """entry: function(path) returning the run's entry in the index, or None; places: function(path,
        names) returning {name: its name in our folder}."""
        self._entry, self._find_places, self._listed, self._places = entry, places, {}, {}

    def of(self, record):
        """Return the Listed of the run of a Record."""
        listed = self._listed.get(record.path)
        if listed is None or listed.line != record.line:
            files = (self._entry(record.path) or {}).get("files", {})
            times = [time for time in (layout.number(file["mtime"]) for file in files.values())
                     if time is not None]
            listed = self._listed[record.path] = Listed(record.line, files, max(times, default=None))
            self._places.pop(record.path, None)
        return listed

    def places(self, record):
        """Return {name: its name in our folder} of the files of the run of a Record; the list does
        without."""
        files = self.of(record).files
        if record.path not in self._places:
            self._places[record.path] = self._find_places(record.path, files)
        return self._places[record.path]

    def keep_only(self, paths: dict[str, Record]) -> None:
        """Forget what is none of the runs at `paths` (container)."""
        self._listed = {path: listed for path, listed in self._listed.items() if path in paths}
        self._places = {path: places for path, places in self._places.items() if path in paths}
