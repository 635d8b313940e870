"""Take runs of other makes into a root: TensorBoard event files and folders of Runicorn 0.4 to 0.7. Times stay as they were.

Doing it twice changes nothing; doing it again after the source grew adds what is new.
TensorBoard: TFRecord framing (length, masked CRC-32C, data, CRC) around `Event` messages of tensorflow/core/util/event.proto;
scalars are `simple_value` or a tensor of one number. Images, audio and histograms are counted and left out.
"""

import bisect
import filecmp
import hashlib
import itertools
import math
import os
import shutil
import struct
import time
from pathlib import Path

from runicorn import disk, layout, local_disk
from runicorn.errors import NotFoundError

WIDTHS = {1: 8, 5: 4}           # bytes of a field of these wire types
HPARAMS = ("_hparams_/session_start_info", "_hparams_/experiment", "_hparams_/session_end_info")
LAST = 1e11                     # s; the year 5138
SHORT = 64                      # bytes at the beginning of a record that hold the keys of all but large ones
RECORD_LIMIT = 256 << 20        # bytes; a longer record is a damaged length
FLOATS = {1: ("f", 4), 2: ("d", 8), 3: ("i", 4), 9: ("q", 8)}       # DataType of types.proto: float, double, int32, int64
FIELD_OF = {1: 5, 2: 6, 3: 7, 9: 10}                               # where TensorProto keeps single values of each


def take_in(source, root, project=None, name=None):
    """Take every run below the folder `source` into a root.

    Returns {"runs", "new", "points", "skipped"} (int each). Raises NotFoundError when there is nothing known in it.
    """
    source = Path(source)
    if not source.is_dir():
        raise NotFoundError(f"{source} is neither a bundle nor a folder")
    report = {"runs": 0, "new": 0, "points": 0, "skipped": 0}
    far, root = Path(local_disk.long(source.absolute())), local_disk.long(root)         # paths of any length
    for folder, files in _walk(far):
        if layout.META in files and ("events.jsonl" in files or layout.STATUS in files):
            _take_old(folder, root, project, name, report)
        elif any(".tfevents." in file for file in files):
            _take_tensorboard(folder, far, sorted(file for file in files if ".tfevents." in file), root, project, name, report)
    if not report["runs"]:
        raise NotFoundError(f"{source} holds neither TensorBoard logs (*.tfevents.*) nor runs of Runicorn ({layout.META})")
    return report


def holds_any(source, most=2000):
    """Whether the folder `source` holds anything that `take_in` would take, as far as the first `most` folders in it show."""
    folders = itertools.islice(_walk(Path(source)), most)
    return any(layout.META in files and ("events.jsonl" in files or layout.STATUS in files) or any(".tfevents." in file for file in files)
               for _, files in folders)


def _walk(source):
    for folder, _, files in local_disk.walk(source):
        yield Path(folder), set(files)


# -- Runicorn 0.4 to 0.7 ------------------------------------------------------------------------------------------

def _take_old(folder, root, project, name, report):
    """Copy one run as it is; project and name from its meta, or from `path` ("cv/yolo") as 0.6 and 0.7 had it."""
    meta = layout.read_json(folder / layout.META) or {}
    there = [part for part in str(meta.get("path") or "").split("/") if part]
    project = project or _text(meta, "project") or (there[0] if there else "default")
    name = name or _text(meta, "name") or "/".join(there[1:]) or "default"
    path = layout.run_path(project, name, _text(meta, "id") or folder.name)
    target = Path(layout.make_folders(root, path))
    report["runs"] += 1
    files = sorted(Path(here, file) for here, _, names in local_disk.walk(folder) for file in names)
    copied = [_copy(file, target / file.relative_to(folder), target) for file in files if _is_data(file)]
    report["new"] += any(copied)


def _text(meta, field):
    return meta[field] if isinstance(meta.get(field), str) and meta[field].strip() else None


def _is_data(file):
    return file.is_file() and not file.is_symlink() and file.suffix not in (".lock", ".tmp")


def _copy(file, target, run):
    """Copy a file with its times unless the same or a newer one is there; returns whether it was copied."""
    there = file.stat()
    if target.is_file():
        here = target.stat()
        if here.st_mtime >= there.st_mtime and here.st_size >= there.st_size:
            return False
    layout.make_folders(run, target.parent.relative_to(run).as_posix()) if target.parent != run else None
    beside = target.with_name(target.name + ".tmp")
    shutil.copy2(file, beside)
    disk.replace(beside, target)
    return True


# -- TensorBoard --------------------------------------------------------------------------------------------------

def _take_tensorboard(folder, source, files, root, project, name, report):
    """Write one run from the event files of one folder. Its id comes from its first time and its place, so it is the same again."""
    config = {}
    rows = _rows([folder / file for file in files], report, config)
    report["runs"] += 1
    first = next(rows, None)
    if first:
        place = folder.relative_to(source).as_posix()
        report["new"] += _write_run(root, project or source.resolve().name, name or (place if place != "." else "run"), place, first, rows,
                                    config)


def _rows(paths, report, config):
    """Yield (wall time s, step, {tag: value}), neighbours of the same time and step together, and count them in `report`.

    Points that a later start purged are left out, as TensorBoard does; hyperparameters are put into `config` (dict).
    """
    row, last, limit = None, 0.0, _purges(paths)
    for number, path in enumerate(paths):
        for place, ts, step, tag, value in scalars(path):
            if tag is HPARAMS:
                config.update(value)
                continue
            ts = last = ts if abs(ts) < LAST else last      # a time that no calendar has: that of the point before
            if tag is None or step >= limit((number, place)):
                report["skipped"] += tag is None
                continue
            report["points"] += 1
            if row and row[:2] == (ts, step) and tag not in row[2]:
                row[2][tag] = layout.strict(value)
                continue
            if row:
                yield row
            row = (ts, step, {tag: layout.strict(value)})
    if row:
        yield row


def _write_run(root, project, name, place, first, rows, config):
    """Write the run's four files; returns whether anything changed. A log knows no time zone, so its id is in UTC: the same everywhere."""
    started = first[0]
    suffix = hashlib.sha256(f"{project}/{place}@{started!r}".encode()).hexdigest()[:6]
    run_id = time.strftime("%Y%m%d_%H%M%S_", time.gmtime(started)) + suffix
    target = Path(layout.make_folders(root, layout.run_path(project, name, run_id)))
    changed, last, ended = _write_events(target / "events.jsonl", itertools.chain([first], rows))
    meta = {"id": run_id, "project": project, "name": name, "created_at": started, "tags": ["tensorboard"], "config": config,
            "format": layout.FORMAT}
    small = {layout.META: meta, layout.SUMMARY: last, layout.STATUS: {"status": "finished", "started_at": started, "ended_at": ended}}
    for path, data in ((target / file, layout.to_json(value).encode()) for file, value in small.items()):
        if not path.is_file() or path.read_bytes() != data:
            layout.replace_file(path, data)
            os.utime(path, (ended, ended))
            changed = True
    return changed


def _write_events(path, rows):
    """Write rows as they come beside `path`, and over it unless it is the same; returns (whether it changed, last values, last time)."""
    beside, last = path.with_name(path.name + ".tmp"), {}
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


def _purges(paths):
    """Return a function from the place of a record, (file, record in it), to the step from which on a later start purged its points.

    Where a training goes on from a checkpoint at step N, `SummaryWriter(purge_step=N)` writes a SessionLog with status START
    there: what was logged before it at N or later does not count any more.
    """
    starts = [((number, place), step) for number, path in enumerate(paths) for place, step in _starts(path)]
    places = [place for place, _ in starts]
    lowest = [step for _, step in starts] + [math.inf]
    for number in range(len(starts) - 1, -1, -1):
        lowest[number] = min(lowest[number:number + 2])
    return lambda place: lowest[bisect.bisect_right(places, place)]


def _starts(path):
    """Yield (record, step) of each start in an event file."""
    for place, record in enumerate(records(path)):
        if b":" not in record[:SHORT]:          # the key of field 7, session_log
            continue
        found = {(field, kind): value for field, kind, value in fields(record)}
        if (7, 2) in found and (1, 0, 1) in fields(found[7, 2]):
            yield place, _signed(found.get((2, 0), 0))


def _signed(value):
    return value - (1 << 64) if value >> 63 else value


def scalars(path):
    """Yield (record, wall time s, step, tag, value) of every scalar in an event file; tag None stands for a value that is no scalar,
    HPARAMS for hyperparameters, whose value is a dict."""
    for place, record in enumerate(records(path)):
        ts, step, values = 0.0, 0, []
        for field, kind, value in fields(record):
            if (field, kind) == (1, 1):
                ts = struct.unpack("<d", value)[0]
            elif (field, kind) == (2, 0):
                step = _signed(value)
            elif (field, kind) == (5, 2):
                values += [item for number, kind, item in fields(value) if (number, kind) == (1, 2)]
        for value in values:
            yield (place, ts, step, *_scalar(value))


def records(path):
    """Yield the data (bytes) of each TFRecord; an unfinished or damaged end stops quietly, as a writer may still be at work."""
    with open(layout.open_regular(path), "rb") as file:
        while len(head := file.read(12)) == 12:
            length, = struct.unpack("<Q", head[:8])
            if length > RECORD_LIMIT:
                return
            data = file.read(length + 4)
            if len(data) < length + 4:
                return
            yield data[:-4]


def fields(data):
    """Yield (field number, wire type, value) of a protobuf message; bytes for types 1, 2 and 5, int for 0. A damaged rest is left."""
    at, end = 0, len(data)
    while at < end:
        key, at = (data[at], at + 1) if data[at] < 128 else _varint(data, at)      # nearly always one byte: a third faster
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
        else:
            size = WIDTHS.get(kind)
            if kind == 2 and at < end:
                size, at = (data[at], at + 1) if data[at] < 128 else _varint(data, at)
            if size is None or at + size > end:
                return
            value, at = data[at:at + size], at + size
        yield key >> 3, kind, value


def _varint(data, at):
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at


def _scalar(message):
    """Return (tag, value) of a Summary.Value, or (None, None) if it holds no single number."""
    tag = value = None
    for field, kind, item in fields(message):
        if (field, kind) == (9, 2) and tag in HPARAMS:
            return HPARAMS, _hyperparameters(item)
        if (field, kind) == (1, 2):
            tag = item.decode("utf-8", "replace")
        elif (field, kind) == (2, 5):
            value = struct.unpack("<f", item)[0]
        elif (field, kind) == (8, 2):
            value = _tensor(item)
    return (tag, value) if tag and value is not None else (None, None)


def _hyperparameters(metadata):
    """Return the hyperparameters in a SummaryMetadata (dict), empty if it holds none: tensorboard/plugins/hparams/plugin_data.proto."""
    found = {}
    for data in _inner(_inner([metadata], 1), 2):                   # plugin_data, content
        for pair in _inner(_inner([data], 3), 1):                   # session_start_info, hparams
            name = b"".join(_inner([pair], 1)).decode("utf-8", "replace")
            values = [_value(item) for item in _inner([pair], 2)]
            if name and values and values[-1] is not None:
                found[name] = values[-1]
    return found


def _inner(messages, wanted):
    """Return the messages or texts (bytes) in field `wanted` of messages."""
    return [value for message in messages for field, kind, value in fields(message) if (field, kind) == (wanted, 2)]


def _value(message, levels=16):
    """Return a google.protobuf.Value as JSON has it."""
    for field, kind, value in fields(message) if levels else ():
        if (field, kind) == (2, 1):
            number, = struct.unpack("<d", value)
            return int(number) if number.is_integer() and abs(number) < 1 << 53 else number
        if (field, kind) == (3, 2):
            return value.decode("utf-8", "replace")
        if (field, kind) == (4, 0):
            return bool(value)
        if (field, kind) == (5, 2):
            return {b"".join(_inner([pair], 1)).decode("utf-8", "replace"): _value(item, levels - 1)
                    for pair in _inner([value], 1) for item in _inner([pair], 2)}
        if (field, kind) == (6, 2):
            return [_value(item, levels - 1) for item in _inner([value], 1)]
    return None


def _tensor(message):
    """Return the number in a TensorProto of one number, else None."""
    found = list(fields(message))
    dtype = next((value for field, kind, value in found if (field, kind) == (1, 0)), None)
    if dtype not in FLOATS:
        return None
    code, size = FLOATS[dtype]
    for field, kind, value in found:
        if (field, kind) == (4, 2) and len(value) == size:                      # tensor_content
            return struct.unpack("<" + code, value)[0]
        if field == FIELD_OF[dtype] and kind == 2 and code in "fd" and len(value) == size:
            return struct.unpack("<" + code, value)[0]
        if field == FIELD_OF[dtype] and code in "iq":
            number = value if kind == 0 else _varint(value, 0)[0]
            return number - (1 << 64) if number >> 63 else number
    return None
