"""Export many runs as one dataset: find out what is to be done, have workers do it, say what came of it.

Killed at any moment and started again it goes on: what is whole stays. Who reads the folder meanwhile sees
whole files only.
"""

import contextlib
import json
import os
import time
import uuid
from typing import NamedTuple

from runicorn import disk, layout, local_disk
from runicorn.errors import BusyError, DataError, NotFoundError, UsageError
from runicorn.transfer import dataset, parquet, parts, run_columns

CHUNK = 500                 # runs whose small files are read by one worker at a time


class Report(NamedTuple):
    """What came of an export. `runs`, `points`: in the dataset; `files`: of points, `written` of them now;
    `problems`: [(key, why its points are left out)]; `notes`: what was unified or left out in the table of
    runs (list of str); `slowest`: parts.Written that took much longer than the others."""

    runs: int
    points: int
    files: int
    written: int
    problems: list
    notes: list
    slowest: list


class LocalWorkers:
    """Does the work in this process. view: run_list.View; entries: {key: Entry}."""

    def __init__(self, view, entries):
        self._view, self._entries = view, entries

    def parts(self, folder, work, planned):
        """Yield the parts.Written of each dataset.Part in `planned`."""
        for part in planned:
            yield parts.write_part(folder, work, part, self._entry)

    def tallies(self, work, chunks):
        """Yield what parts.tally returns for each list of Runs."""
        for chunk in chunks:
            yield parts.tally(map(self._entry, chunk))

    def rows(self, work, chunks, facts, configs, summaries):
        """Yield the rows of the table of runs for each list of Runs. facts: {key: {column:
        value}}, as parts.rows has it."""
        for chunk in chunks:
            entries = list(map(self._entry, chunk))
            yield parts.rows(entries,
                             [{**tags_of(self._view, entry), **facts[entry.key]} for entry in entries],
                             configs, summaries)

    def _entry(self, run):
        return self._entries[run.key]


def tags_of(view, entry):
    """Return what the list, which knows the user's own words, tells of a run: {"tags", "note"}."""
    return {"tags": list(view.tags(entry)), "note": view.note(entry) or None}


def export(folder, runs, workers, selection, again=False, tell=lambda done, parts: None):
    """Bring the dataset in `folder` in line with `runs` (list of dataset.Run) and return the Report.

    workers: as LocalWorkers; selection: what these runs are (dict of JSON values), the same each time; again:
    write everything anew, also where the folder holds another selection; tell: function(files done, files to
    be done). Raises UsageError for a folder that holds other things, BusyError while somebody else writes it,
    NotFoundError for no runs, DataError for one that can't be written.
    """
    if not runs:
        raise NotFoundError("no runs fit; nothing was written")
    folder = os.path.abspath(folder)
    with _writable(folder), _locked(folder, selection, again):
        work = os.path.join(folder, dataset.WORK, uuid.uuid4().hex)
        # of an export that was killed; a task that still lives fails
        disk.discard_tree(os.path.join(folder, dataset.WORK))
        os.makedirs(work)
        try:
            return _export(folder, work, sorted(runs), workers, selection, again, tell)
        finally:
            disk.discard_tree(os.path.join(folder, dataset.WORK))


def _export(folder, work, runs, workers, selection, again, tell):
    before = dataset.records(folder, parquet.note_of)
    plan = dataset.plan(runs, dict.fromkeys(before, {}) if again else before)
    state = {"format": dataset.FORMAT, "complete": False, "selection": selection, "runs": len(runs)}
    _replace(folder, dataset.STATE, state)
    for file in plan.stale:
        local_disk.remove(os.path.join(folder, file))
        disk.discard_folder(os.path.dirname(os.path.join(folder, file)))
    written = []
    for part in workers.parts(folder, work, plan.parts):
        written.append(part)
        if not part.runs and part.file in before:           # none of its runs can be read any more
            disk.discard(os.path.join(folder, part.file))
        tell(len(written), len(plan.parts))
    files = {**plan.complete, **{part.file: part.runs for part in written if part.runs}}
    problems = [problem for part in written for problem in part.problems]
    notes = _write_runs(folder, work, runs, workers, files, dict(problems))
    totals = {file: {"runs": len(notes), "points": sum(note[1] for note in notes.values())}
              for file, notes in sorted(files.items())}
    points = sum(total["points"] for total in totals.values())
    _replace(folder, dataset.STATE,
             {**state, "complete": True, "exported_at": round(time.time(), 3), "points": points,
              "files": totals, "left_out": dict(problems)})
    return Report(len(runs), points, len(files), sum(bool(part.runs) for part in written), problems, notes,
                  _slowest(written))


def _write_runs(folder, work, runs, workers, files, problems):
    """Write the table of runs and what is said of its columns; return the notes (list of str)."""
    chunks = [runs[begin:begin + CHUNK] for begin in range(0, len(runs), CHUNK)]
    tallies = [run_columns.Tally(limit=run_columns.NAMES) for _ in range(2)]
    for counts in workers.tallies(work, chunks):
        for tally, more in zip(tallies, counts):
            tally.merge(more)
    configs, summaries = (tally.columns() for tally in tallies)
    counted = {key: note[1:] for notes in files.values() for key, note in notes.items()}
    facts = {run.key: {"points": counted.get(run.key, (0, 0))[0], "skipped": counted.get(run.key, (0, 0))[1],
                       **({"error": problems[run.key]} if run.key in problems else {})} for run in runs}
    columns, beside = parts.columns(configs, summaries), os.path.join(work, dataset.RUNS + layout.BESIDE)
    with open(beside, "xb") as file:
        table = parquet.RunsFile(file, columns)
        for rows in workers.rows(work, chunks, facts, configs, summaries):
            table.add_file(rows) if isinstance(rows, str) else table.add(rows)
        table.close()
        os.fsync(file.fileno())
    os.makedirs(os.path.join(folder, dataset.RUNS), exist_ok=True)
    disk.replace(beside, os.path.join(folder, dataset.RUNS_FILE))
    notes = [note for prefix, tally, chosen in (("config", tallies[0], configs),
                                                ("summary", tallies[1], summaries))
             for note in _notes(prefix, tally, chosen)]
    _replace(folder, dataset.SCHEMA, {"runs": columns, "points": parquet.point_types(), "notes": notes})
    return notes


def _notes(prefix, tally, columns):
    """Yield what is to be said of a config's, or a summary's, columns."""
    for column in columns:
        clash = run_columns.clash(column)
        if clash:
            yield f"{prefix}.{column.name}: {clash}"
    dropped = len(tally.counts) - len(columns)
    if dropped:
        # A part of the runs whose names are more than are counted tells some of them only
        least = "at least " if len(tally.counts) >= run_columns.NAMES_OF_PART else ""
        names, verb, pronoun = (("1 name", "has", "it stands") if dropped == 1
                                else (f"{least}{dropped:,} names", "have", "they stand"))
        yield f"{names} in the {prefix} of some runs {verb} no column: {pronoun} in {prefix}_rest, as JSON"


def _slowest(written):
    """Return those that took much longer than the middle one (list, the slowest first; five at most)."""
    ordered = sorted(written, key=lambda part: -part.seconds)
    middle = ordered[len(ordered) // 2].seconds if ordered else 0.0
    return [part for part in ordered[:5] if len(ordered) > 2 and part.seconds > max(1.0, 3 * middle)]


# -- the folder ----------------------------------------------------------------------------------------------

def _replace(folder, name, value):
    layout.replace_file(os.path.join(folder, name), json.dumps(value, indent=1).encode())


@contextlib.contextmanager
def _writable(folder):
    """Tell in one sentence why the dataset can't be written. Raises DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{folder} can't be written: {error.strerror or error}; what is whole in it stays, "
                        "and the same command goes on from there") from error


@contextlib.contextmanager
def _locked(folder, selection, again):
    """Hold a folder that is, or is to become, a dataset of `selection`. Raises
    UsageError, BusyError, OSError."""
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"{folder} is no folder; a dataset is a folder of files, and -o names it")
    os.makedirs(folder, exist_ok=True)
    others = dataset.foreign_content(folder)
    if others:
        shown = ", ".join(others[:3]) + (" …" if others[3:] else "")
        raise UsageError(
            f"{folder} holds other things ({shown}); -o names a new or an empty folder, or an earlier export")
    with open(os.path.join(folder, dataset.LOCK), "a+b") as file:
        if not local_disk.try_lock(file.fileno()):
            raise BusyError(f"another export is writing {folder}; "
                            "wait for it, or name another folder with -o")
        state = layout.read_json(os.path.join(folder, dataset.STATE)) or {}
        if state.get("format", 1) != dataset.FORMAT:
            raise UsageError(f"{folder} was written by a newer Runicorn; name another folder with -o")
        if not again and state.get("selection", selection) != selection:
            earlier = json.dumps(state["selection"], ensure_ascii=False)
            raise UsageError(f"{folder} holds an export of other runs ({earlier}); "
                             "name another folder with -o, or replace it with --force")
        yield
