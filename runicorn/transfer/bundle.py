"""Carry runs between machines that have no line: one archive with only the new bytes, and back into a root,
checked.

A bundle is a gzipped tar: `bundle.json` (what it is), then for each file its bytes as member `N` and what
they are as `N.json` ({"path", "name", "offset", "size", "mtime", "whole", "sha256", "before"}), at last
`end.json` (how many). Names in the tar are numbers alone, so nothing in it can point anywhere; the paths
inside the JSON are checked as any server's are.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import tarfile
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import disk, foreign, layout, local_disk, local_names, manifest, rule_book
from runicorn.errors import DataError, LayoutError, NotFoundError, UsageError
from runicorn.foreign_rules import Rules
from runicorn.mirror import plan

if TYPE_CHECKING:
    from typing import Any

    from runicorn.manifest import Manifest
    from runicorn.mirror.plan import Fetch

FORMAT = 1
BLOCK = 1 << 20
# Bytes a bundle may unpack to unless the user says more: a bomb unpacks to anything
LIMIT = 20 * 10**9
RESERVE = 256 << 20         # bytes that stay free on the disk whatever comes in
NOTE_LIMIT = 1 << 20        # bytes of one of our own JSON members
# Where the bytes of a file that was cut while it was packed would belong: behind all there is
NOWHERE = 1 << 60
ANY = Rules([{"files": "*", "pattern": ""}])        # a rule of whoever packed a file may have named it
SKIP, PUT, APPEND, GAP, CLASH = "unchanged", "put", "appended", "gap", "clash"


# -- out -----------------------------------------------------------------------------------------------------

def snapshot(root: Path) -> Manifest:
    """Return the Manifest of a root as it is now. Raises NotFoundError when it is no folder."""
    if not Path(root).is_dir():
        raise NotFoundError(f"the root {root} is not a folder")
    rules = rule_book.RuleBook(layout.home_dir()).of_folder(root)
    return manifest.build(root, find_others=functools.partial(foreign.find, rules=rules))


def bundle(root: Path, after: Manifest, before: Manifest | None,
           output: str | os.PathLike[str]) -> dict[str, Any]:
    """Write what brings the Manifest `before` (None: nothing) to `after`, this root's, into the archive
    `output`.

    Returns {"files", "bytes", "runs", "problems": [str], "incomplete": {(run path, file name)} of what it
    lacks}. The archive appears whole or not at all. Raises UsageError if `output` exists, OSError that names
    it where it can't be written.
    """
    if os.path.exists(output):
        raise UsageError(f"{output} is there already; choose another name with -o")
    fetches = changed(before or manifest.Manifest({}, {}), after)
    beside = f"{output}.{os.getpid()}{layout.BESIDE}"
    report = {"files": 0, "bytes": 0, "runs": len({fetch.path for fetch in fetches}),
              "problems": [], "incomplete": set()}
    try:
        with tarfile.open(beside, "w:gz", compresslevel=6, format=tarfile.GNU_FORMAT) as archive:
            _put_note(archive, "bundle.json", {"format": FORMAT, "kind": "runicorn bundle",
                                               "host": socket.gethostname(), "root": str(root),
                                               "made_at": round(time.time(), 3)})
            for fetch in fetches:
                _pack(archive, root, fetch, report)
            _put_note(archive, "end.json", {"files": report["files"]})
        disk.replace(beside, output)
    except OSError as error:
        raise local_disk.about(error, output, beside) from error
    finally:
        disk.discard(beside, 0.0)       # there only when something went wrong
    return report


def changed(before: Manifest, after: Manifest) -> list[Fetch]:
    """Return what brings one Manifest to another: list of plan.Fetch, small JSON first, then the newest
    runs."""
    fetches = []
    for path in after.paths():
        new = after.entry(path)["files"]
        old = before.entry(path)["files"] if path in before else {}
        for fetch in plan.diff(path, old, new):
            file = new[fetch.name]
            if file["size"] < old.get(fetch.name,
                                      file)["size"] or fetch.offset and _may_be_rewritten(fetch.name):
                # A log that shrank was replaced; a table that got another column grew, and nobody compares
                # what lies before its new end.
                fetch = plan.Fetch(path, fetch.name, 0, file["size"], file["mtime"], file["tail"], True)
            fetches.append(fetch)
    return sorted(fetches, key=plan.order, reverse=True)


def _may_be_rewritten(name):
    """Whether a file that grows may also be written anew: a table or a text that is none of our own logs."""
    return (layout.parse_own(name) is None
            and foreign.kind_by_name(name.rpartition("/")[2]) not in ("wandb", "tensorboard"))


def _pack(archive, root, fetch, report):
    """Add one file's new bytes: of a log those that were listed, of any other file all that it has now, which
    may be another file since.

    What vanished, shrank or was replaced since it was listed, or can't be read, is incomplete: it comes with
    the next bundle.
    """
    try:
        file = open(layout.open_regular(local_disk.reach(
                                                         Path(root, foreign.folder_of(fetch.path),
                                                              fetch.name))), "rb")
    except OSError as error:
        report["incomplete"].add((fetch.path, fetch.name))
        if not isinstance(error, FileNotFoundError):        # not ours to read, or no regular file any more
            report["problems"].append(f"{fetch.path}/{fetch.name}: {error.strerror}")
        return
    with file:
        size, mtime = _extent(file, fetch)
        if size is None:
            report["incomplete"].add((fetch.path, fetch.name))
            return
        before = _digest_before(file, fetch.offset)
        file.seek(fetch.offset)
        number, reading = report["files"], _Hashing(file)
        member = tarfile.TarInfo(str(number))
        member.size = size - fetch.offset
        archive.addfile(member, reading)
    note = {"path": fetch.path, "name": fetch.name, "offset": fetch.offset, "size": size, "mtime": mtime,
            "whole": fetch.whole, "sha256": reading.hexdigest(), "before": before}
    if reading.is_cut:
        report["incomplete"].add((fetch.path, fetch.name))
        report["problems"].append(f"{fetch.path}/{fetch.name}: it was cut while it was read; the next "
                                  f"bundle has it")
        note.update(offset=NOWHERE, size=NOWHERE + member.size, whole=False, cut=True)
    _put_note(archive, f"{number}.json", note)
    report["files"] += 1
    report["bytes"] += member.size


def _extent(file, fetch):
    """Return (size, mtime) of what to pack of an open file; (None, None) of a log that is not the one that
    was listed."""
    status = os.fstat(file.fileno())
    if not plan.is_appended(fetch.name):
        return status.st_size, status.st_mtime
    if status.st_size < fetch.size:
        return None, None
    file.seek(max(0, fetch.size - manifest.TAIL))
    tail = hashlib.sha256(file.read(min(fetch.size, manifest.TAIL))).hexdigest()
    return (fetch.size, fetch.mtime) if fetch.tail in (tail, None) else (None, None)


class _Hashing:
    """A file that knows the SHA-256 of what was read from it. Zeros stand for what it lost meanwhile: the
    archive was told its size."""

    def __init__(self, file):
        self._file, self._sha = file, hashlib.sha256()
        self.hexdigest, self.is_cut = self._sha.hexdigest, False

    def read(self, count):
        data = self._file.read(count)
        if len(data) < count:
            self.is_cut, data = True, data.ljust(count, b"\0")
        self._sha.update(data)
        return data


def forget(index: Manifest, incomplete: set[Any]) -> None:
    """Take out of the Manifest `index` the files that a bundle could not bring (iterable of (run path, file
    name))."""
    for path, name in incomplete:
        entry = json.loads(index.line(path))
        entry["files"].pop(name, None)
        index.lines[path] = json.dumps(entry).encode()


def _put_note(archive, name, value):
    data = layout.to_json(value).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


# -- in ------------------------------------------------------------------------------------------------------

def take_in(archive: Path, root: Path, limit: int = LIMIT) -> dict[str, Any]:
    """Merge the bundle `archive` (path) into a root; what is there already stays, so doing it twice changes
    nothing.

    Returns {"files", "runs", "unchanged", "put", "appended", "gap", "clash", "bytes", "problems": [str]}.
    A file that misses the bytes before it (an older bundle was left out) is a gap; one whose bytes differ is
    a clash. Raises DataError for what is no bundle, is cut short or damaged: what came before that point is
    kept.
    """
    report = {"files": 0, "bytes": 0, "problems": [], **dict.fromkeys((SKIP, PUT, APPEND, GAP, CLASH), 0)}
    runs = set()
    os.makedirs(root, exist_ok=True)
    try:
        with gzip.open(archive) as unpacked:
            _merge(_Members(unpacked, archive, limit), Path(local_disk.long(root)), report, runs)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError, RecursionError) as error:
        raise DataError(f"{archive} is cut short, damaged or no bundle after {report['files']} files "
                        f"({error}); "
                        "copy it again and import it again: what is in stays in") from error
    report["runs"] = len(runs)
    return report


class _Members:
    """The members of a tar in order, each refused unless it is a plain file of the expected name and a sane
    size.

    Only plain headers are read (POSIX.1-1988 ustar, with GNU's large sizes): `tarfile` would follow links and
    read extended headers of any size into memory.
    """

    def __init__(self, unpacked, archive, limit):
        self._unpacked, self._archive, self._limit, self._total = unpacked, archive, limit, 0

    def next(self, names, largest=None):
        """Return (name, size) of the next member, which must be one of `names`; its bytes must be taken with
        `blocks`."""
        header = self._unpacked.read(tarfile.BLOCKSIZE)
        if len(header) < tarfile.BLOCKSIZE or not any(header):
            raise EOFError("it ends too early")
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if (member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.name not in names
                or member.size < 0):
            raise DataError(f"{self._archive} holds {member.name[:100]!r} where {names[0]!r} belongs: "
                            f"refused")
        self._total += member.size
        if self._total > self._limit or (largest and member.size > largest):
            raise DataError(f"{self._archive} unpacks to more than {self._limit / 10**9:g} GB: refused; "
                            f"--limit allows more, "
                            "if you trust it")
        return member.name, member.size

    def blocks(self, size):
        """Yield the bytes of the member whose header was read, and step over what fills its last tar
        block."""
        remaining = size
        while remaining:
            data = self._unpacked.read(min(remaining, BLOCK))
            if not data:
                raise EOFError("it ends in the middle of a file")
            remaining -= len(data)
            yield data
        self._unpacked.read(-size % tarfile.BLOCKSIZE)

    def note(self, name):
        """Return the dict in the next member, the JSON object `name`."""
        return self.parsed(self.next([name], NOTE_LIMIT)[1])

    def parsed(self, size):
        """Return the dict in the member whose header was read."""
        value = json.loads(b"".join(self.blocks(size)))
        if not isinstance(value, dict):
            raise ValueError("a JSON object was expected")
        return value


def _merge(members, root, report, runs):
    head = members.note("bundle.json")
    if head.get("kind") != "runicorn bundle" or head.get("format") != FORMAT:
        raise DataError(f"this is a bundle of format {head.get('format')!r}, which this Runicorn does not "
                        f"know: refused")
    with tempfile.TemporaryDirectory(prefix=".import-", dir=root) as scratch:
        cases = _Cases(os.path.exists(os.path.join(root, os.path.basename(scratch).upper())))
        while True:
            number = report["files"]
            name, size = members.next([str(number), "end.json"])
            if name == "end.json":
                if members.parsed(size).get("files") != number:
                    raise EOFError("files are missing")
                return
            _room(root, size)
            spool = Path(scratch, "data")
            digest = _spool(members.blocks(size), spool)
            entry = _entry(members.note(f"{number}.json"), size, digest)
            runs.add(entry["path"])
            _apply(root, entry, spool, report, cases)
            report["files"] += 1


def _room(root, size):
    if shutil.disk_usage(root).free < size + RESERVE:
        raise DataError(f"the disk of {local_disk.short(root)} has no room for the next "
                        f"{max(size // 1000, 1)} kB; what came before is in")


def _spool(blocks, spool):
    sha = hashlib.sha256()
    with open(spool, "wb") as out:
        for data in blocks:
            sha.update(data)
            out.write(data)
    return sha.hexdigest()


def _entry(entry, size, digest):
    """Return a file's description if it is sound. Raises ValueError."""
    shapes = {"path": str, "name": str, "offset": int, "size": int, "whole": bool, "sha256": str}
    if any(type(entry.get(field)) is not kind for field, kind in shapes.items()):
        raise ValueError("a file's description lacks its fields")
    if entry["sha256"] != digest or entry["offset"] < 0 or entry["size"] - entry["offset"] != size:
        raise ValueError(f"the bytes of {entry['name'][:100]!r} are not those that were packed")
    if type(entry.get("mtime")) not in (int, float) or not abs(entry["mtime"]) < 1e15:
        entry["mtime"] = None           # no time of a file: it has that of its coming here
    return entry


class _Cases:
    """The run that a root's disk has in the place of one: another, where it ignores case and their ids differ
    in that alone."""

    def __init__(self, ignores_case):
        # Folder of runs -> {what such a disk sees of an id: the id it has}
        self._ignores_case, self._listed = ignores_case, {}
        self.said = set()               # problems that were told

    def check(self, run):
        """Raise LayoutError where another run lies in the folder `run` (Path)."""
        if not self._ignores_case:
            return
        if run.parent not in self._listed:
            names = os.listdir(run.parent) if run.parent.is_dir() else ()
            self._listed[run.parent] = {local_names.folded(name): name for name in names}
        has = self._listed[run.parent].setdefault(local_names.folded(run.name), run.name)
        if has != run.name:
            raise LayoutError(f"this disk ignores case and has the run {has[:100]} there; nothing of "
                              f"{run.name[:100]} was taken in")


def _apply(root, entry, spool, report, cases):
    """Merge one file and count what was done with it."""
    relative, path = f"{entry['path']}/{entry['name']}", entry["path"]
    if entry.get("cut") is True:
        report["problems"].append(f"{relative[:300]} was cut while it was packed; the next bundle has it")
        return
    try:
        if foreign.belongs(path, entry["name"], ANY) and not local_names.is_run_path(path):
            target = local_names.local_path(root, f"{foreign.folder_of(path)}/{entry['name']}".lstrip("/"))
        else:
            local_names.split_run_path(path)
            # of a home: those in it are a root's like all
            target = local_names.local_path(root, local_names.in_its_root(relative))
            cases.check(local_names.local_path(root, local_names.in_its_root(path)))
    except LayoutError as error:        # a hostile path, or one that is another's here
        report[CLASH] += 1
        if str(error) not in cases.said:
            cases.said.add(str(error))
            report["problems"].append(str(error))
        return
    try:
        outcome = _replace(target, entry, spool, root) if entry["whole"] else _append(target, entry, spool)
        if outcome in (PUT, APPEND) and entry["mtime"] is not None:
            os.utime(target, (entry["mtime"], entry["mtime"]))
        elif outcome in (PUT, APPEND):
            report["problems"].append(f"{relative[:300]} came with no time a file can have; it has the time "
                                      f"of now")
    # a name too long, a folder in the way, a time beyond all clocks …
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) in local_disk.DISK_ERRORS:
            disk_of = local_disk.short(root)
            raise DataError(f"the disk of {disk_of} takes nothing more ({error.strerror}); what came before "
                            f"is in") from error
        report[CLASH] += 1
        report["problems"].append(f"{relative[:300]} can't be stored here: "
                                  f"{getattr(error, 'strerror', None) or error}")
        return
    report[outcome] += 1
    if outcome in (PUT, APPEND):
        report["bytes"] += entry["size"] - entry["offset"]
    elif outcome == GAP:
        report["problems"].append(f"{relative} misses the bytes before {entry['offset']}: import the bundle "
                                  f"before this one first")
    elif outcome == CLASH:
        report["problems"].append(f"{relative} differs from what is here; it was left as it is (what was "
                                  f"written anew there comes with "
                                  "runicorn bundle --since all)")


def _replace(target, entry, spool, root):
    """Put a whole file in place unless what is here is the same, newer, or a longer log that begins so. A
    table that was written anew since takes the place of the older one."""
    if target.is_file():
        status = target.stat()
        is_another = layout.parse_own(entry["name"]) is None and (status.st_mtime > (entry["mtime"] or 0)
                                                                  or status.st_size > entry["size"]
                                                                  or not _same(target, spool, 0))
        if plan.is_appended(entry["name"]) and status.st_size and not is_another:
            return _append(target, entry, spool)
        if status.st_mtime > (entry["mtime"] or 0) or (status.st_size == entry["size"]
                                                       and _same(target, spool, 0)):
            return SKIP
    layout.make_folders(root, os.path.relpath(target.parent, root).replace(os.sep, "/"))
    disk.replace(spool, target)
    return PUT


def _append(target, entry, spool):
    """Append what is missing of a log, after comparing what both have."""
    size = target.stat().st_size if target.is_file() else 0
    if size < entry["offset"]:
        return GAP
    if not _same(target, spool, entry["offset"]) or not _follows(target, entry):
        return CLASH
    if size >= entry["size"]:
        return SKIP
    with open(spool, "rb") as data, open(target, "ab") as out:
        data.seek(size - entry["offset"])
        shutil.copyfileobj(data, out, BLOCK)
    return APPEND


def _follows(target, entry):
    """Whether what stands here before the bytes that came is what stood there: its last bytes are, where the
    bundle tells them."""
    if not entry["offset"] or not isinstance(entry.get("before"), str):
        return True                     # an older Runicorn packed it
    with open(layout.open_regular(target), "rb") as own:
        return _digest_before(own, entry["offset"]) == entry["before"]


def _digest_before(file, offset):
    """Return the SHA-256 (hex) of the last bytes of an open file before `offset`."""
    file.seek(max(0, offset - manifest.TAIL))
    return hashlib.sha256(file.read(min(offset, manifest.TAIL))).hexdigest()


def _same(target, spool, offset):
    """Whether `target` from `offset` on and `spool` agree as far as both go."""
    with open(layout.open_regular(target), "rb") as own, open(spool, "rb") as other_file:
        own.seek(offset)
        while True:
            ours, theirs = own.read(BLOCK), other_file.read(BLOCK)
            common = min(len(ours), len(theirs))
            if ours[:common] != theirs[:common]:
                return False
            if common < BLOCK:
                return True
