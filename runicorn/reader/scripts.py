"""Runs for scripts and commands: one Catalog, up to date, whose states are those of a running viewer where
there is one.

    import runicorn
    for run in runicorn.runs("loss<0.3 tag:baseline"):
        print(run.name, run.config["lr"], run.summary["val/loss"])
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from runicorn import layout, settings
from runicorn.errors import DataError, MissingPackageError, NotFoundError, SettingsError
from runicorn.reader import viewer_client
from runicorn.reader.beside_viewer import mirror_folders
from runicorn.reader.catalog import Catalog
from runicorn.reader.command_root import CommandRoot
from runicorn.reader.filters import parse
from runicorn.reader.liveness import BEAT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

MARGIN = 1.0                # s; a heart may beat a little late


def open_reader(roots: list[Any], mirrors: list[Any], home: Path) -> Catalog:
    """Return a Catalog over local roots [(slug, folder)] and mirrors [(slug, folder[, name])], up to date; no
    connection is opened.

    A viewer that runs beside is asked how the open runs stand; without one they are looked at here.
    """
    catalog = Catalog(roots, mirrors, home, settings.Overlay(home), time.monotonic,
                      lambda: settings.preferences(home), local=CommandRoot)
    catalog.refresh()
    with contextlib.suppress(SettingsError):        # a full or read-only home: the next command reads anew
        catalog.save()
    sources = viewer_client.states(home)
    catalog.look()
    if sources:
        catalog.believe(sources)
    return catalog


def decide(catalog, wait=time.sleep):
    """Look a second time, one beat after the first: of each run that was "checking" it is known then whether
    it is alive."""
    if catalog.undecided():
        wait(max(0.0, BEAT + MARGIN - (time.monotonic() - catalog.looked_at)))
        catalog.decide()


def runs(filter: str = "", sort: str = "-started", limit: Any = None,
         root: Path | None = None) -> list[OpenedRun]:
    """Return the runs on this machine that fit `filter` (list of OpenedRun), local ones and those mirrored
    from servers.

    filter, sort: as in the run list, such as "loss<0.3 tag:baseline" and "summary.val/loss"; root: folder of
    runs instead of the default one. Opens no connection. Raises FilterError, UsageError.
    """
    catalog = _script_reader(root)
    if any(term.field == "state" for term in parse(filter)):
        decide(catalog)
    return [OpenedRun(catalog, row) for row in catalog.runs(filter, sort, limit=limit)["runs"]]


def open_run(run_id: str, root: Any = None) -> OpenedRun:
    """Return the OpenedRun that `run_id` names: an id, or any unambiguous end of connection:project/name/id.

    Raises NotFoundError, AmbiguousError.
    """
    catalog = _script_reader(root)
    return OpenedRun(catalog, catalog.row(run_id))


def _script_reader(root):
    home = layout.home_dir()
    return open_reader([("local", layout.default_root(root))], mirror_folders(home) if root is None else [],
                       home)


class OpenedRun:
    """One run, for scripts. `key`, `id`, `project`, `name`, `user`, `host` (str); `tags` (list); `state`
    (str), with its `reason` (dict with "code" and "text"); `started` (Unix s), `duration` (s), `step` (last
    one); `folder` (Path)."""

    def __init__(self, catalog, row):
        self._reader, self._row = catalog, row
        for name in ("key", "id", "project", "name", "user", "host", "tags", "started", "duration", "step"):
            setattr(self, name, row[name])
        self.folder = catalog.folder(self.key)

    def __repr__(self):
        return f"<run {self.key} {self._row['state']}>"

    @property
    def state(self):
        """How the run stands (str), as `runicorn runs` and the pages say it. Of a run that was "checking" at
        first, and only where nothing else tells, it is known after a second look: then this takes up to 11 s,
        once for all runs of a call."""
        if self._row["state"] == "checking":
            decide(self._reader)
            self._row = self._reader.row(self.key)
        return self._row["state"]

    @property
    def reason(self):
        """Why its state is what it is (dict: "code", "text" and the numbers in it)."""
        return self._row["reason"] if self.state else {}

    @property
    def config(self) -> dict[str, Any]:
        """The run's config as it was given (nested dict)."""
        return self._small(layout.META).get("config") or {}

    @property
    def summary(self) -> dict[str, float]:
        """The run's summary (dict)."""
        return self._small(layout.SUMMARY)

    def _small(self, name):
        return self._reader.small(self.key)[name]

    def metric_names(self):
        """Return the names of the metrics it logged (list of str)."""
        return list(self._reader.series(self.key).metrics())

    def metrics(self, names=None, rank=0):
        """Return {name: (steps, times, values)}, arrays of one length in the order logged, for `names`
        (default: all).

        times are Unix seconds; superseded points are left out. Raises NotFoundError for a metric that was
        never logged.
        """
        series = self._reader.series(self.key)
        logged = series.metrics()
        if names and self._row["newer"]:
            raise DataError(f"{self.key} can't be read: {self._row['error']}")
        for name in names or ():
            if name not in logged:
                raise NotFoundError(f"{self.key} never logged {name!r}; it logged "
                                    f"{', '.join(logged) or 'nothing'}")
        return {name: series.points(name, rank) for name in names or logged}

    def to_pandas(self, names: list[str] | None = None) -> Any:
        """Return a DataFrame with a column for each metric, by step. Raises MissingPackageError without
        pandas."""
        try:
            import pandas
        except ImportError as error:
            raise MissingPackageError(
                "to_pandas needs the Python package pandas: pip install pandas") from error
        columns = {}
        for name, (steps, _, values) in self.metrics(names).items():
            column = pandas.Series(values, index=pandas.Index(steps, name="step"), dtype="float64")
            columns[name] = column[~column.index.duplicated(keep="last")]
        return pandas.DataFrame(columns).sort_index()
