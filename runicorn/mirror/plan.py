"""Decide what to fetch: pure functions from what is here and what is there to an ordered list of fetches.
Touches no file and no line."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn import foreign, layout, local_names, manifest
from runicorn.errors import LayoutError

if TYPE_CHECKING:
    from runicorn.mirror.remote_index import Entry, File
    from runicorn.mirror.seams import Options

SMALL_LIMIT = 1 << 20           # bytes; other files up to this are "small"
LARGE = 64 << 20                # bytes; a larger file of another logger's run comes when somebody opens it
WINDOWS = {"24h": 86400.0, "7d": 7 * 86400.0}
SKEW = 93_600.0                 # s; no clock and no zone is wrong by more than 26 hours
INNER = ("wandb", "tensorboard")
# kinds of other loggers' files that are appended to
GROWING = ("wandb", "tensorboard", "csv", "jsonl", "log")
ENDINGS = (*foreign.LOGS, ".err", ".jsonl", ".ndjson")
# bytes of logs that never rest, which the server hashes at once; larger ones are compared once they do
HASHED_AT_ONCE = 2 << 30
# s after a run's end, the last lines of its logs and of its other ranks have come
LATE = 60.0


class Fetch(NamedTuple):
    """One file to bring here: bytes offset..size of file `name` of run `path`."""

    path: str
    name: str
    offset: int
    size: int
    mtime: float | None         # Unix s; None: the server tells none
    tail: str | None            # SHA-256 of the last 4 KiB up to `size`; None: unknown, or compared already
    whole: bool                 # replace what is here
    began: Any = None           # the unsettled.Moment at which its first byte was asked for; None before that


def diff(path: str, copies: dict[str, File | None], listed: dict[str, File]) -> list[Fetch]:
    """Return what brings our copy of the run `path` to what the server has (list of Fetch).

    here, listed: {file name: {"size", "mtime", "tail"}}. A file only `copies` is left alone.
    """
    return [fetch for name, file in listed.items()
            for fetch in [compare(path, name, copies.get(name), file)] if fetch]


def compare(path, name, copy, file):
    """Return the Fetch that brings one file to `file` ({"size", "mtime", "tail"}), or None if it is the same.

    The same means: size and mtime agree, and the tail where both are known. An equal size with another mtime
    is read again, whole. A log is fetched from where ours ends; who carries that out must compare the bytes
    before the seam, and fetch whole what does not fit, or is shorter file: a listing may be older than what
    we read, so a smaller size alone proves nothing.
    """
    size, mtime, tail = file["size"], file["mtime"], file["tail"]
    if copy and copy["size"] == size:
        if is_same_time(copy["mtime"], mtime) and (not tail or not copy["tail"] or tail == copy["tail"]):
            return None
        return Fetch(path, name, 0, size, mtime, tail, True)
    if not copy or not is_appended(name) or not copy["size"] or not size:
        return Fetch(path, name, 0, size, mtime, tail, True)
    if size < copy["size"]:
        return Fetch(path, name, copy["size"], copy["size"], None, None, False)
    return Fetch(path, name, copy["size"], size, mtime, tail, False)


def is_same_time(ours, theirs):
    """Whether two mtimes (s) are one: to 10 µs, or to the whole second where one of them has no fraction, as
    SFTP's.

    A server that tells none is believed by size alone.
    """
    if theirs is None or ours is None:
        return theirs is None
    if ours == int(ours) or theirs == int(theirs):
        return int(ours) == int(theirs)
    return abs(ours - theirs) < 1e-5


def edits(entry, files):
    """Return the names of append-only files that did more than grow since `entry` was the run's, so that they
    must be read whole.

    Those whose mtime went back, or that changed LATE s and more after the run's end. files: {name: {"size",
    "mtime"}} as they are now, or those of them that were looked at. What shrank shows when its end is
    compared.
    """
    if not entry["files"]:
        return []
    status = {**entry["files"], **files}.get(layout.STATUS)
    late = (status["mtime"] + LATE if entry["ended"] and status and status["mtime"] is not None
            else float("inf"))
    return [name for name, new in files.items() if is_appended(name) and name in entry["files"]
            and _is_edit(entry["files"][name], new, late)]


def _is_edit(old, new, late):
    if (None in (old["mtime"], new["mtime"])
            or old["size"] == new["size"] and is_same_time(old["mtime"], new["mtime"])):
        return False
    return new["mtime"] > late or int(new["mtime"]) < int(old["mtime"])


def total(fetches: list[Fetch]) -> int:
    """Return how many bytes fetches (iterable of Fetch) bring (int)."""
    return sum(fetch.size - fetch.offset for fetch in fetches)


def order(fetch):
    """Sort key of a Fetch, most urgent largest: small JSON, then the run's own files, newest
    run first, then the rest."""
    own = 2 if local_names.is_small(fetch.name) else 1 if is_appended(fetch.name) else 0
    return own, fetch.path.rsplit("/", 1)[-1], fetch.path, -fetch.size, fetch.name


def apart(names):
    """Return {name: local name} of the files of a run (iterable of str) that a disk which ignores case would
    mix up with another.

    Of twins a run's own file keeps its name, else the first by name; the others are escaped where they
    differ.
    """
    beside = {}                     # folder -> {what this disk sees of a component: the components}
    for name in names:
        for folder, component in _levels(name):
            beside.setdefault(folder, {}).setdefault(local_names.folded(component), set()).add(component)
    if all(len(twins) == 1 for folder in beside.values() for twins in folder.values()):
        return {}
    leaders = {folder: {min(twins, key=lambda component: (not local_names.is_own(component), component))
                        for twins in spellings.values()}
             for folder, spellings in beside.items()}
    local = {name: "/".join([local_names.local_name(component) if component in leaders[folder]
                             else local_names.twin_name(component)
                             for folder, component in _levels(name)]) for name in names}
    return {name: to for name, to in local.items()
            if any(component not in leaders[folder] for folder, component in _levels(name))}


def _levels(name):
    """Yield (folder, component) of each level of a relative path."""
    parts = name.split("/")
    for depth, component in enumerate(parts):
        yield "/".join(parts[:depth]), component


@functools.lru_cache(1 << 12)
def is_appended(name: str) -> bool:
    """Whether the file `name` of a run grows at its end. A table may also be rewritten: then the bytes before
    the end of ours differ."""
    base = name.rpartition("/")[2]
    return (layout.parse_own(name) is not None or foreign.kind_by_name(base) in GROWING
            or base.endswith(ENDINGS))


def wanted(name: str, size: int, options: Options) -> bool:
    """Whether the connection's settings ask for this file: own files always, others by size."""
    if local_names.is_own(name) or options.get("large") or is_inner(name) and size <= LARGE:
        return True
    return bool(options.get("small_only", True)) and size <= options.get("small_limit", SMALL_LIMIT)


def asked_for(entry: Entry, name: str, options: Options, opened: bool = False) -> bool:
    """Whether a file of the run of an entry comes here as the connection's settings say. Of another logger's
    run all do, but a large one when somebody `opened` the run."""
    size = entry["files"][name]["size"]
    return (opened or size <= LARGE or bool(options.get("large")) if entry.get("kinds")
            else wanted(name, size, options))


def within(entry: Entry, window: str | None, now: float) -> bool:
    """Whether a run changed, or began, within the window (None, "24h" or "7d") before
    `now` (wall clock, s)."""
    if window not in WINDOWS:
        return True
    return newest(entry) >= now - WINDOWS[window]


def newest(entry):
    """Return the latest time (server's clock, s) an entry shows: of its folder, its files and its beat."""
    times = [file["mtime"] for file in entry["files"].values()] + [entry["mtime"], entry["beat"]]
    return max((time for time in times if time is not None), default=0)


def settled(mtime, observed, now, wall=None):
    """Whether a file of this mtime, first seen so at `observed`, can't change any more without moving its
    mtime.

    SFTP's mtimes are whole seconds. observed, now: s of a clock that only goes on; wall: what our wall clock
    shows at `now`, if that is another time (Unix s).
    """
    return observed <= now - 2 or mtime is None or mtime < (now if wall is None else wall) - SKEW


def believable(path, name=None, kinds=(), rules=None):
    """Whether a run path (and a file name in it) from the server may be used at all. kinds: of another
    logger's run; rules: for its files (foreign_rules.Rules)."""
    if kinds:
        return foreign.is_path(path) if name is None else foreign.belongs(path, name, rules)
    return _is_run_path(path) and (name is None or _is_file_name(name))


@functools.lru_cache(1 << 15)
def _is_run_path(path):
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return local_names.is_run_path(path)


@functools.lru_cache(1 << 12)
def is_inner(name):
    """Whether the file `name` of a run of ours is one of another logger, whose curves join the
    run's, as far as names tell."""
    return foreign.kind_by_name(name.rpartition("/")[2]) in INNER


def remote_path(root: str, path: str, name: str) -> str:
    """Return where the server keeps the file `name` of the run at `path` (str). root: absolute."""
    folder = foreign.folder_of(path)
    return f"{root}/{folder}/{name}" if folder else f"{root}/{name}"


@functools.lru_cache(1 << 12)       # most runs have the same five
def _is_file_name(name):
    try:
        name.encode("utf-8")
        local_names.safe_relative(name, depth=manifest.DEPTH + 2)
    except (LayoutError, UnicodeEncodeError):
        return False
    return True
