"""Take runs of other makes into a root: TensorBoard event files and folders of Runicorn 0.4 to 0.7. Times
stay as they were.

Doing it twice changes nothing; doing it again after the source grew adds what is new. Images, audio and
histograms of TensorBoard are counted and left out.
"""

from __future__ import annotations

import filecmp
import hashlib
import itertools
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import disk, foreign, layout, local_disk
from runicorn.errors import NotFoundError
from runicorn.transfer.event_files import EventFiles, is_event_file

if TYPE_CHECKING:
    from typing import Any


def take_in(source: Path, root: Path, project: Any = None, name: Any = None) -> dict[str, Any]:
    """Take every run below the folder `source` into a root.

    Returns {"runs", "new", "points", "skipped": int each, "damage", "problems": lists of sentences: what of a
    file was left out, and files that could not be read}. Raises NotFoundError when there is nothing known in
    it.
    """
    source = Path(source)
    if not source.is_dir():
        raise NotFoundError(f"{source} is neither a bundle nor a folder")
    report = {"runs": 0, "new": 0, "points": 0, "skipped": 0, "damage": [], "problems": []}
    far, root = Path(local_disk.long(source.absolute())), local_disk.long(root)         # paths of any length
    for folder, files in _walk(far):
        if foreign.is_own_run(files):
            _take_old(folder, root, project, name, report)
        else:
            _take_tensorboard(folder, far, files, root, project, name, report)
    if not report["runs"] and not report["problems"]:
        raise NotFoundError(f"{source} holds neither TensorBoard logs (*.tfevents.*) nor runs of Runicorn "
                            f"({layout.META})")
    return report


def holds_any(source: str | os.PathLike[str], most: int = 2000) -> bool:
    """Whether the folder `source` holds anything that `take_in` would take, as far as the first `most`
    folders in it show."""
    folders = itertools.islice(_walk(Path(source)), most)
    return any(foreign.is_own_run(files) or _event_files(folder, files, []) for folder, files in folders)


def _walk(source):
    for folder, _, files in local_disk.walk(source):
        yield Path(folder), set(files)


# -- Runicorn 0.4 to 0.7 -------------------------------------------------------------------------------------

def _take_old(folder, root, project, name, report):
    """Copy one run as it is; project and name from its meta, or from `path` ("cv/yolo") as 0.6 and 0.7 had
    it."""
    meta = layout.read_json(folder / layout.META) or {}
    names_above = [name_part for name_part in str(meta.get("path") or "").split("/") if name_part]
    project = project or _text(meta, "project") or (names_above[0] if names_above else "default")
    name = name or _text(meta, "name") or "/".join(names_above[1:]) or "default"
    path = layout.run_path(project, name, _text(meta, "id") or folder.name)
    target = Path(layout.make_folders(root, path))
    report["runs"] += 1
    files = sorted(Path(inside, file) for inside, _, names in local_disk.walk(folder) for file in names)
    copied = [_copy(file, target / file.relative_to(folder), target) for file in files if _is_data(file)]
    report["new"] += any(copied)


def _text(meta, field):
    return meta[field] if isinstance(meta.get(field), str) and meta[field].strip() else None


def _is_data(file):
    return file.is_file() and not file.is_symlink() and file.suffix not in (".lock", layout.BESIDE)


def _copy(file, target, run):
    """Copy a file with its times unless the same or a newer one is there; returns whether it was copied."""
    original = file.stat()
    if target.is_file():
        copy = target.stat()
        if copy.st_mtime >= original.st_mtime and copy.st_size >= original.st_size:
            return False
    layout.make_folders(run, target.parent.relative_to(run).as_posix()) if target.parent != run else None
    beside = target.with_name(target.name + layout.BESIDE)
    shutil.copy2(file, beside)
    disk.replace(beside, target)
    return True


# -- TensorBoard ---------------------------------------------------------------------------------------------

def _event_files(folder, files, problems):
    """Return the Paths of the event files among `files`; appends to `problems` what can't be looked at."""
    paths = []
    for path in [folder / file for file in sorted(files) if "tfevents" in file]:
        try:
            paths += [path] if is_event_file(path) else []
        except OSError as error:
            problems.append(f"{local_disk.short(str(path))} can't be read: {error.strerror}")
    return paths


def _take_tensorboard(folder, source, files, root, project, name, report):
    """Write one run from the event files of one folder. Its id comes from its first time and its place, so it
    is the same again."""
    paths = _event_files(folder, files, report["problems"])
    if not paths:
        return
    log = EventFiles(paths)
    report["runs"] += 1
    report["skipped"] += log.skipped
    report["damage"] += log.damage
    rows = _counted(log.rows(), report)
    first_row = next(rows, None)
    if first_row:
        log_path = folder.relative_to(source).as_posix()
        report["new"] += _write_run(root, project or source.resolve().name,
                                    name or (log_path if log_path != "." else "run"), log_path, first_row,
                                    rows, log.config)


def _counted(rows, report):
    for ts, step, data in rows:
        report["points"] += len(data)
        yield ts, step, {tag: layout.strict(value) for tag, value in data.items()}


def _write_run(root, project, name, log_path, first_row, rows, config):
    """Write the run's four files; returns whether anything changed. A log knows no time zone, so its id is in
    UTC: the same everywhere."""
    started = first_row[0]
    suffix = hashlib.sha256(f"{project}/{log_path}@{started!r}".encode()).hexdigest()[:6]
    run_id = time.strftime("%Y%m%d_%H%M%S_", time.gmtime(started)) + suffix
    target = Path(layout.make_folders(root, layout.run_path(project, name, run_id)))
    changed, last, ended = _write_events(target / layout.own_file("events"),
                                         itertools.chain([first_row], rows))
    meta = {"id": run_id, "project": project, "name": name, "created_at": started, "tags": ["tensorboard"],
            "config": config, "format": layout.FORMAT}
    small = {layout.META: meta, layout.SUMMARY: last,
             layout.STATUS: {"status": "finished", "started_at": started, "ended_at": ended}}
    for path, data in ((target / file, layout.to_json(value).encode()) for file, value in small.items()):
        if not path.is_file() or path.read_bytes() != data:
            layout.replace_file(path, data)
            os.utime(path, (ended, ended))
            changed = True
    return changed


def _write_events(path, rows):
    """Write rows as they come beside `path`, and over it unless it is the same; returns (whether it changed,
    last values, last time)."""
    beside, last = path.with_name(path.name + layout.BESIDE), {}
    try:
        with open(beside, "wb") as file:
            for ts, step, data in rows:
                last.update(data)
                file.write(layout.to_json({"ts": ts, "step": step, "data": data}).encode() + b"\n")
        if path.is_file() and filecmp.cmp(beside, path, shallow=False):
            return False, last, ts
        os.utime(beside, (ts, ts))
        disk.replace(beside, path)
    finally:
        disk.discard(beside, 0.0)
    return True, last, ts
