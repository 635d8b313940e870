"""What the mirrors take on this disk, what may go, what a choice of files would fetch. Never touches the
index or a running run."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import disk, layout, local_disk, local_names, manifest
from runicorn.errors import BusyError, LayoutError, SyncError
from runicorn.manifest_entry import kinds_of
from runicorn.mirror import local_copy, plan, run_places

if TYPE_CHECKING:
    from typing import Any

MOST_BYTES = 20_000_000_000     # the limit nobody chose: a tenth of the free disk, at most this
FREE_SHARE = 0.1
# s that another logger's run neither grew nor was viewed before its files may go …
QUIET = 3600.0
SMALL = 64 << 10                # … those larger than this
IN_USE_SECONDS = 600            # a run viewed this recently is left alone
DAY = 86400.0
# Files in a mirror's .index: {run path: True or [names]}, {run path: wall s}
EVICTED, VIEWED = "evicted", "viewed"


def mirror_folders(folder):
    """Return [(slug, Path)] of every mirror below HOME/cache, those of removed connections included."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        return [(entry.name, Path(local_disk.long(entry.path))) for entry in entries if entry.is_dir()]
    except OSError:
        return []               # no cache yet


def limit(home, size=None):
    """Return how many bytes all mirrors may take: `size`, else a tenth of the free disk, at most 20 GB."""
    if size:
        return size
    disk_folder = next(folder for folder in (Path(home), *Path(home).parents) if folder.exists())
    return min(MOST_BYTES, int(shutil.disk_usage(disk_folder).free * FREE_SHARE))


def size_of(folder):
    """Return the bytes of all files below `folder`."""
    return sum(size for _, size, _ in _files(folder))


def clean(folders, older_than=None, size=None, dry_run=False, now=None):
    """Drop files of finished runs from mirrors that their servers have, too; returns {"files", "bytes"} of
    what went, or would go.

    older_than: days neither viewed nor changed: all of the run's files but its small JSON. size: bytes to
    come below: longest not viewed first, files that are not the run's own before those that are.
    """
    now = time.time() if now is None else now
    over = 0 if size is None else sum(map(size_of, folders)) - size
    if older_than is None and over <= 0:
        return {"files": 0, "bytes": 0}         # the usual case, without opening a file
    runs = [run for folder in folders for run in _finished(folder, now)]
    runs.sort(key=lambda run: run["used"])
    chosen = {}
    if older_than is not None:
        _take(chosen, [(run, file) for run in runs if run["used"] < now - older_than * DAY
                       for file in run["files"]])
    if size is not None:
        over -= sum(file[1] for _, file in chosen.values())
        ordered = [(run, file) for own in (False, True) for run in runs
                   for file in run["files"] if local_names.is_own(file[0]) == own]
        _take(chosen, ordered, over)
    return _delete(list(chosen.values()), dry_run)


def _take(chosen, ordered, enough=None):
    """Add (run, file) pairs to `chosen` until they hold `enough` bytes more (None: all)."""
    for run, file in ordered:
        if enough is not None and enough <= 0:
            break
        key = (run["folder"], run["path"], file[0])
        if key not in chosen:
            chosen[key] = run, file
            enough = None if enough is None else enough - file[1]


def _finished(mirror, now):
    """Yield {"mirror", "folder", "path", "used", "files": [(name, size, mtime)]} of runs that ended, or are
    quiet, and hold files that may
    go: those that the server had at the last look. Of others the only copy may be here."""
    viewed, places = layout.read_json(mirror / layout.INDEX / VIEWED) or {}, run_places.read(mirror)
    cache = local_copy.LocalCopy(mirror).load_kept()
    for path, entry in _known(mirror, cache["gone"]):
        try:
            folder = run_places.folder(mirror, path, places)
        except LayoutError:
            continue            # a link stands in the way: nothing of ours lies behind it
        files = _files_of(mirror, path, folder, entry)
        used = max([layout.number(viewed.get(path)) or 0.0, *(mtime for _, _, mtime in files)], default=0.0)
        if not (_is_quiet(cache, path, used, now) if entry.get("kinds") else _has_ended(folder)):
            continue
        # Ahead of us: the clock was set back since
        if abs(now - (layout.number(viewed.get(path)) or 0.0)) > IN_USE_SECONDS:
            yield {"mirror": mirror, "folder": folder, "path": path, "used": used,
                   "files": [file for file in files if _may_go(file, entry)]}


def _has_ended(folder):
    status = layout.read_json(folder / layout.STATUS) or {}
    return status.get("status") in layout.ENDED


def _is_quiet(cache, path, used, now):
    """Whether another logger's run was neither seen to grow lately nor written to or viewed, as its times
    say. cache: what sync left."""
    seen_of = cache["runs"].get(path) if isinstance(cache.get("runs"), dict) else None
    seen_at = layout.number(seen_of.get("seen")) if isinstance(seen_of, dict) else None
    ahead = layout.number(cache.get("ahead")) or 0.0
    return (seen_at is None or now - seen_at - ahead > QUIET) and now - used > QUIET


def _may_go(file, entry):
    name, size, _ = file
    if entry.get("kinds"):
        return size > SMALL             # a list of quiet runs shows what little ones tell
    return not local_names.is_small(name) and name.replace(os.sep, "/") in entry["files"]


def _files_of(mirror, path, folder, entry):
    """Return [(name in the run's folder, size, mtime)] of a run's files here; the folder of another logger's
    run may hold other files."""
    if not (entry and entry.get("kinds")):
        return [(os.path.relpath(name, folder), size, mtime) for name, size, mtime in _files(folder)]
    files = []
    for local_name in local_copy.LocalCopy(mirror).local_names(path, entry["files"]).values():
        with suppress(OSError):         # it is not
            status = os.lstat(folder / local_name)
            files.append((local_name, status.st_size, status.st_mtime))
    return files


def _known(mirror, vanished=frozenset(), only=None):
    """Yield (path, entry) of the runs in a mirror's index, of `only` one if given, that are not gone from the
    server; what is not in it is none of ours to delete."""
    try:
        index = manifest.load(mirror / layout.INDEX / layout.INDEX_FULL)
    except manifest.ManifestError:
        return
    for path in index.paths():
        kinds = kinds_of(index.line(path))
        if only in (None, path) and plan.believable(path, kinds=kinds) and path not in vanished:
            try:
                yield path, {**index.entry(path), "kinds": list(kinds)}
            except manifest.ManifestError:
                continue        # nobody knows what the server has of it


def _delete(chosen, dry_run):
    files = total = 0
    evicted = {}
    for run, (name, _, _) in chosen:
        if not dry_run:
            evicted.setdefault(run["mirror"], {}).setdefault(run["path"], []).append(
                name.replace(os.sep, "/"))
    for mirror, runs in evicted.items():
        # First the note, then the deed: else the sync would fetch them again
        mark_evicted(mirror, runs)
    for run, (name, size, _) in chosen:
        if dry_run or _unlinked(run["folder"] / name):
            files, total = files + 1, total + size
    return {"files": files, "bytes": total}


def _unlinked(path):
    return disk.discard(path)       # one that stays open, or went meanwhile, is not ours to count


def mark_evicted(mirror: Path, runs: dict[str, Any]) -> None:
    """Note in a mirror's index that files went: {run path: [names] or True for all}. Raises SyncError."""
    path = mirror / layout.INDEX / EVICTED
    evicted = layout.read_json(path) or {}
    for run, names in runs.items():
        old = evicted.get(run)
        evicted[run] = True if names is True or old is True else sorted(
                                                                        {*(old if isinstance(old, list)
                                                                           else ()), *names})
    local_copy.LocalCopy(mirror).write(path, layout.to_json(evicted).encode())


def mark_viewed(mirror: Path, run: str, now: float | None = None) -> None:
    """Note that a run was opened: it is kept longest."""
    path = mirror / layout.INDEX / VIEWED
    viewed = layout.read_json(path) or {}
    viewed[run] = int(time.time() if now is None else now)
    local_copy.LocalCopy(mirror).write(path, layout.to_json(viewed).encode())


def drop_run(mirror: Path, run: str) -> None:
    """Delete all files of a mirrored run here; it is not fetched again until it is opened. Raises
    LayoutError, SyncError."""
    folder = run_places.folder(mirror, run, run_places.read(mirror))
    entry = next((entry for _, entry in _known(mirror, only=run)), None)
    if entry is None and not plan.believable(run):
        return                  # which files of its folder are its own, nobody knows
    mark_evicted(mirror, {run: True})
    for name, _, _ in _files_of(mirror, run, folder, entry):
        if not local_names.is_small(name):
            _unlinked(folder / name)


def drop_mirror(mirror: Path) -> None:
    """Delete a whole mirror. Raises BusyError while another process syncs it, SyncError where the disk
    refuses."""
    if not mirror.exists():
        return
    copy = local_copy.LocalCopy(mirror)
    try:
        copy.lock()
        local_disk.remove_tree(os.fspath(copy.folder), spare=(os.fspath(copy.index / layout.INDEX_LOCK),))
        copy.unlock()
        # Windows keeps a file, and its folders, while we have it open
        local_disk.remove_tree(os.fspath(copy.folder))
    except BusyError as error:
        raise BusyError(f"the mirror {local_disk.short(mirror)} is {error}; stop that first", code="busy",
                        said="mirror_busy", path=str(local_disk.short(mirror))) from error
    except OSError as error:
        path = local_disk.short(error.filename or mirror)
        raise SyncError(f"the mirror {local_disk.short(mirror)} can't be deleted: {error.strerror} ({path}); "
                        "close what has it open, then try again", code="sync", said="mirror_stays",
                        path=str(path), detail=str(error.strerror)) from error
    finally:
        copy.unlock()


def known_entries(mirror):
    """Return the entries of all runs in a mirror's index (list of dicts), or None if it was never synced."""
    try:
        index = manifest.load(mirror / layout.INDEX / layout.INDEX_FULL)
        return [index.entry(path) for path in index.paths()]
    except manifest.ManifestError:
        return None


def outlook(entries, options, now=None):
    """Return {"files", "bytes"} that a connection's choice brings here in all, of runs with these entries."""
    now = time.time() if now is None else now
    files = total = 0
    for entry in entries:
        if plan.within(entry, options["window"], now):
            sizes = [file["size"] for name, file in entry["files"].items()
                     if plan.asked_for(entry, name, options)]
            files, total = files + len(sizes), total + sum(sizes)
    return {"files": files, "bytes": total}


def _files(folder):
    """Yield (path, size, mtime) of every regular file below a folder, links never followed."""
    for current, _, names in local_disk.walk(folder):
        for name in names:
            path = os.path.join(current, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue        # gone meanwhile
            yield path, status.st_size, status.st_mtime

