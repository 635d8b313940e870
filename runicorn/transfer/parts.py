"""What one worker does for a dataset, be it this process or a Spark task: a file of points, the names in some
runs' small files, rows of the table of runs. Each call stands alone and may be repeated."""

import os
import time
import uuid
from typing import NamedTuple

from runicorn import disk, layout
from runicorn.errors import RunicornError
from runicorn.surrogates import visible
from runicorn.transfer import parquet, run_columns
from runicorn.transfer.export import require_all_here
from runicorn.transfer.points import Points, TextChunk

FIXED = tuple(parquet.RUNS)


class Written(NamedTuple):
    """What came of a Part: `runs` {key: [mark, points, lines skipped]}, `problems` [(key, why its points are
    left out)], `seconds` it took, `host` that wrote it."""

    file: str
    runs: dict
    problems: list
    seconds: float
    host: str


def write_part(folder, work, part, entry_of):
    """Write a dataset.Part below `folder` and return the Written. work: a folder in it for what is not whole
    yet, there until the export ends; entry_of: function(Run) returning its Entry. A run that can't be read is
    left out, and named. Raises OSError of the dataset."""
    started, problems, runs = time.monotonic(), [], list(part.runs)
    while True:
        beside = os.path.join(work, uuid.uuid4().hex + layout.BESIDE)
        try:
            notes, failed = _written(beside, runs, entry_of)
            if failed is None:
                if notes:
                    target = os.path.join(folder, part.file)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    disk.replace(beside, target)
                return Written(part.file, notes, problems, time.monotonic() - started,
                               os.uname().nodename if hasattr(os, "uname") else "")
            problems.append(failed)
            # what is in the file of it can't be taken back
            runs = [run for run in runs if run.key != failed[0]]
        finally:
            disk.discard(beside, 0.0)


def _written(path, runs, entry_of):
    """Write a file of points; return ({key: [mark, points, skipped]}, None), or (…, (key, why)) of a
    run that can't be read."""
    notes = {}
    with open(path, "xb") as file:
        points = parquet.PointsFile(file)
        try:
            for run in runs:
                try:
                    notes[run.key] = [run.mark, *_add(points, run, entry_of(run))]
                except RunicornError as error:
                    points.abandon()
                    return notes, (run.key, str(error))
            points.close({"format": 1, "runs": notes})
        except BaseException:
            points.abandon()
            raise
        file.flush()
        os.fsync(file.fileno())
    return notes, None


def _add(points, run, entry):
    """Append the points of a run; return how many there are, and how many lines could not be
    read. Raises DataError."""
    require_all_here(entry)
    before, source = points.rows, Points(entry.metric_files())
    points.begin_run(run.connection, run.project, run.name, run.id)
    for chunk in source.chunks():
        (points.add_texts if isinstance(chunk, TextChunk) else points.add)(chunk)
    return points.rows - before, source.skipped


# -- the table of runs ---------------------------------------------------------------------------------------

def tally(entries):
    """Return the ({name: [runs, kinds]} of configs, … of summaries) of some Entries, as
    run_columns.Tally counts them."""
    configs, summaries = run_columns.Tally(), run_columns.Tally()
    for entry in entries:
        config, summary = _documents(entry)
        configs.add(run_columns.flattened(config, ".")[0])
        summaries.add(run_columns.flattened(summary, "/")[0])
    return configs.top(), summaries.top()


def rows(entries, facts, configs, summaries):
    """Return the rows of the table of runs (list of lists) for some Entries. facts: for each what only
    the catalog and the points tell, {"tags", "note", "points", "skipped", "error"}; configs, summaries:
    lists of run_columns.Column."""
    table = []
    for entry, more in zip(entries, facts):
        config, summary = _documents(entry)
        fixed = {**_facts(entry), **more}
        config_cells, config_rest = run_columns.row(config, ".", configs)
        summary_cells, summary_rest = run_columns.row(summary, "/", summaries)
        table.append([*(fixed[name] for name in FIXED), *config_cells, *summary_cells, config_rest,
                      summary_rest])
    return table


def columns(configs, summaries):
    """Return {column: type} of the table of runs."""
    return {**parquet.RUNS, **{f"config.{column.name}": column.type for column in configs},
            **{f"summary.{column.name}": column.type for column in summaries}, "config_rest": "string",
            "summary_rest": "string"}


def _documents(entry):
    """Return the config and the summary (JSON values) of a run."""
    small = entry.small()
    return small[layout.META].get("config"), small[layout.SUMMARY]


def _facts(entry):
    """Return what the small files of a run and its state tell, by columns."""
    record, files = entry.record, entry.metric_files()
    attempts = [attempt for stem, _, attempt in files if stem == "events"]
    return {"id": record.id, "connection": entry.source.slug, "project": record.project, "name": record.name,
            "state": entry.verdict().state, "user": record.user, "host": record.host, "group": record.group,
            "job_type": record.job_type, "kinds": list(record.kinds),
            "created": record.created, "started": record.started, "ended": record.finished,
            "duration": _duration(entry), "attempts": None if record.kinds else max(attempts, default=1),
            "folder": visible(os.fspath(entry.folder)), "error": entry.error()[1]}


def _duration(entry):
    """Return the seconds from a run's start to its end, or to its last row where it
    goes on (float), or None."""
    record = entry.record
    last = record.finished if record.ended and record.finished is not None else entry.end().ts
    return None if last is None or record.started is None else max(0.0, last - record.started)
