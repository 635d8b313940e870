"""A dataset of many runs in a folder: what is in it, what of it is still true, and what is to be written.
Pure but for `records`.

    DIR/_runicorn.json  _schema.json        what it is of, whether it is complete, its files; columns, their
    types, what was unified
    DIR/runs/runs.parquet                   a row a run
    DIR/points/project_folder=vision-3f2a91bc/part-0123456789ab.parquet

A file of points holds some runs of one project, and says in its footer which, each with a mark of the files
that it was read from. So the files themselves tell what need not be written again.
"""

import hashlib
import os
import re
from typing import NamedTuple

from runicorn import local_disk

STATE, SCHEMA, LOCK, WORK = "_runicorn.json", "_schema.json", ".runicorn.lock", ".work"
RUNS, POINTS = "runs", "points"
RUNS_FILE = f"{RUNS}/runs.parquet"
FORMAT = 1
PART_BYTES = 256 << 20      # of the files that one file of points is made from, or of one run's
# Of ended runs in a file; of those that go on, which are written again each time
PART_RUNS, OPEN_RUNS = 2000, 50
ORDINARY = re.compile(r"[a-z][a-z0-9_-]{0,59}\Z")
# What engines, or Windows, take for something else.
WORDS = {"null", "none", "nan", "inf", "infinity", "true", "false", "con", "prn", "aux", "nul", "com", "lpt"}


class Run(NamedTuple):
    """A run to be exported. `mark`: of the state of its files, and of what is said of it with each point;
    `size`: bytes of its files with metrics; `ended`: whether they grow no more; `root`, `path`: where it
    lies; `kinds`, `files`: of another logger's run, else empty."""

    key: str
    connection: str
    project: str
    name: str
    id: str
    mark: str
    size: int
    ended: bool
    root: str
    path: str
    kinds: tuple
    files: tuple


class Part(NamedTuple):
    """A file of points to be written: its path below DIR, and its Runs."""

    file: str
    runs: list


class Plan(NamedTuple):
    """`complete`: {file: {key: [mark, points, lines skipped]}} of what stays; `parts`: what is to be written;
    `stale`: files to be deleted first."""

    complete: dict
    parts: list
    stale: list


def run_of(entry):
    """Return the Run of an Entry of the catalog."""
    record, files = entry.record, entry.metric_files()
    identity = (entry.source.slug, record.project, record.name, record.id)
    sizes, digest = 0, hashlib.sha256("\0".join(identity).encode("utf-8", "surrogatepass"))
    for (stem, rank, attempt), (path, _) in sorted(files.items()):
        if stem != "system":
            try:
                status = os.stat(path)
            except OSError:
                continue            # gone since it was listed
            sizes += status.st_size
            mark = f"\0{stem} {rank} {attempt} {os.path.basename(path)} {status.st_size} {status.st_mtime_ns}"
            digest.update(mark.encode("utf-8", "surrogatepass"))
    names = tuple(sorted(entry.source.foreign_files(record.path))) if record.kinds else ()
    return Run(entry.key, *identity, digest.hexdigest()[:16], sizes, bool(record.ended),
               os.fspath(entry.source.folder), record.path, tuple(record.kinds), names)


def project_folder(project):
    """Return the folder of a project's points: a label that is safe on any disk, and a text to every engine.
    The name itself is in the column `project`."""
    label = project
    if not ORDINARY.match(project) or project.rstrip("0123456789") in WORDS:
        plain = re.sub(r"[^a-z0-9_-]+", "-", project[:200].lower()).strip("-")[:40] or "project"
        label = f"{plain}~{hashlib.sha256(project.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"
        label = label if label[0].isalpha() else f"p-{label}"
    return f"project_folder={label}"


def records(folder, note_of):
    """Return {file: {key: [mark, points, skipped]}} of the files of points in DIR, {} of one that is not
    whole. note_of: function(path) returning what a file says of itself."""
    notes, points = {}, os.path.join(folder, POINTS)
    for project in sorted(os.listdir(points)) if os.path.isdir(points) else ():
        if project.startswith("project_folder="):
            for name in sorted(os.listdir(os.path.join(points, project))):
                if re.fullmatch(r"part-[0-9a-f]{12}\.parquet", name):
                    note = note_of(os.path.join(points, project, name))
                    notes[f"{POINTS}/{project}/{name}"] = note.get("runs") or {} if note else {}
    return notes


def plan(runs, before):
    """Return the Plan for `runs` (list of Run); before: as `records` returns it.

    A file all of whose runs are as they were stays. One of whose runs some changed or went is written again
    under its name, so that whoever reads meanwhile sees each run once; runs that are in no file get new ones.
    """
    waiting = {run.key: run for run in runs}
    complete, parts, stale = {}, [], []
    for file, notes in before.items():
        mine = [waiting[key] for key in notes if key in waiting and _belongs(file, waiting[key])]
        if not mine or len(mine) > 1 and sum(run.size for run in mine) > 2 * PART_BYTES:
            stale.append(file)
            continue
        for run in mine:
            del waiting[run.key]
        if len(mine) == len(notes) and all(notes[run.key][0] == run.mark for run in mine):
            complete[file] = notes
        else:
            parts.append(Part(file, mine))
    return Plan(complete, parts + _new_parts(waiting.values()), stale)


def _belongs(file, run):
    return file.split("/")[1] == project_folder(run.project)


def _new_parts(runs):
    """Return Parts of runs (Run) that are in no file: some of one project, which have all ended or all go on,
    until they are enough."""
    parts, kind, size = [], None, 0
    for run in sorted(runs, key=lambda run: (project_folder(run.project), not run.ended, run.key)):
        most = PART_RUNS if run.ended else OPEN_RUNS
        if ((project_folder(run.project), run.ended) != kind or size + run.size > PART_BYTES
                or len(parts[-1]) >= most):
            kind, size = (project_folder(run.project), run.ended), 0
            parts.append([])
        parts[-1].append(run)
        size += run.size
    return [Part(f"{POINTS}/{project_folder(part[0].project)}/part-{_name(part)}.parquet", part)
            for part in parts]


def _name(runs):
    keys = "\0".join(sorted(run.key for run in runs))
    return hashlib.sha256(keys.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def foreign_content(folder):
    """Return what is in a folder that is no dataset of ours (sorted list of names; empty where it may become
    one)."""
    with local_disk.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    return [] if STATE in names else [name for name in names if name not in (LOCK, WORK, ".DS_Store")]
