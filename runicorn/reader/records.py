"""What the list knows of one run in one root, made from its small JSON files. Pure: opens none of them."""

from __future__ import annotations

import marshal
import re
import sys
import time
from typing import TYPE_CHECKING

from runicorn import layout, local_names
from runicorn.surrogates import visible

if TYPE_CHECKING:
    from typing import Any

KEPT_TEXT = 400             # characters kept of a long value in config or summary
KEPT_TAGS = 100             # of a run; more are no use in a list
KEPT_NOTE = 4096            # characters
PLAIN = frozenset((bool, int, float, type(None)))
NO_META = "meta.json is missing, is no JSON object or has more than 4 MB"
# Bytes of a small file that a list can hold
LARGEST = {"meta": 4 << 20, "status": 256 << 10, "summary": 4 << 20}
MOST_ATTEMPTS, KEPT_TEXT = 1000, 4000           # of a status, characters of each text in it
# When it was begun, by which host
EVENT_FILE = re.compile(r"tfevents\.(\d{9,10})\.([\w.-]*?)(?:\.\d+\.\d+)?(?:\.v2)?$")
ID_TIME = re.compile(r"^(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)_")


class Record:
    """What the list knows of one run in one root. ended: "finished", "failed", "interrupted" or "" while it
    is open;
    defined: what define_metric said, or None;
    created, started, finished: Unix s or None; resumed: whether it has several attempts; line: what `told`
    says of its line in the index;
    small: file_marks.packed marks of its small files when reread. There may be 100,000: what is seldom asked
    for is packed."""

    __slots__ = ("path", "project", "name", "id", "user", "host", "tags", "note", "created", "started",
                 "finished", "ended", "resumed", "group", "job_type", "config", "summary", "defined", "error",
                 "newer", "kinds", "line", "small", "_status")

    def kept(self):
        """Return what is kept of it for the next start: a tuple of plain values."""
        return (self.path, self.project, self.name, self.id, self.user, self.host, self.tags, self.note,
                self.created, self.started, self.finished, self.ended, self.resumed, self.group,
                self.job_type, self.config, self.summary, self.defined, self.error, self.newer, self.kinds,
                self._status)

    @classmethod
    def again(cls, row, line, small=None):
        """Return the Record that `row` was made of, with its line in the index and the marks of its small
        files."""
        self = cls()
        (self.path, self.project, self.name, self.id, self.user, self.host, self.tags, self.note,
         self.created, self.started, self.finished, self.ended, self.resumed, self.group, self.job_type,
         self.config, self.summary, self.defined, self.error, self.newer, self.kinds, self._status) = row
        self.project, self.name, self.ended = (sys.intern(self.project), sys.intern(self.name),
                                               sys.intern(self.ended))
        self.line, self.small = line, small
        return self

    @property
    def status(self):
        """What its status.json says of it and its attempts (dict of plain values, and "attempts")."""
        return marshal.loads(self._status) if self._status else {}

    @status.setter
    def status(self, values):
        self._status = marshal.dumps(values) if values else b""
        attempts = values.get("attempts")
        self.resumed = isinstance(attempts, list) and len(attempts) > 1


def told(line):
    """Return what stands for the part of a run's line in an index (bytes) that its Record is made of (int),
    in this process."""
    begin, end = line.find(b'"meta": '), line.rfind(b'"files": {')
    part = line[begin:end] if 0 <= begin < end and not line.endswith(b'"]}') else line
    # Of a file that is not in the line other things may be new
    return hash(line if b'{"truncated": ' in part else part)


def record_of(path, entry, line=None, small=None, error=None):
    """Return the Record of the run at `path`. entry: dict with meta, status, summary (dict or None), or None
    if it is unreadable, which `error` says; line: its line in the index (bytes), or what `told` says of one;
    small: packed marks of the small files."""
    if entry and entry.get("kinds"):
        return _foreign(path, entry, line)
    record = Record()
    project, name, run_id = local_names.split_run_path(path)
    entry = entry or {}
    meta = entry.get("meta") or {}
    record.path, record.line, record.small = path, told(line) if type(line) is bytes else line, small
    record.newer, record.kinds = newer_format(meta), ()
    record.error = error or (None if meta else NO_META)
    record.project = sys.intern(_text(meta.get("project")) or local_names.unslug(project))
    record.name = sys.intern(_text(meta.get("display_name")) or _text(meta.get("name"))
                             or local_names.unslug(name))
    record.id = run_id
    record.user, record.host = _intern(meta.get("user")), _intern(meta.get("hostname"))
    record.group, record.job_type = _intern(meta.get("group")), _intern(meta.get("job_type"))
    tags = meta.get("tags") if isinstance(meta.get("tags"), list) else ()
    record.tags = tuple(_intern(tag) for tag in tags[:KEPT_TAGS] if isinstance(tag, str))
    record.note = _text(meta.get("notes"), KEPT_NOTE) or ""
    record.created = layout.moment(meta.get("created_at")) or _id_time(run_id)
    record.status = status = _status(entry.get("status"))
    record.ended = sys.intern(status["status"]) if status.get("status") in layout.ENDED else ""
    started = layout.moment(status.get("started_at"))
    record.started = record.created if started is None or started == record.created else started
    record.finished = layout.moment(status.get("ended_at"))
    record.config = {} if record.newer else flat(meta.get("config"))
    record.summary = {} if record.newer else flat(entry.get("summary"), "/")
    record.defined = None if record.newer else _defined(meta.get("metrics"))
    return record


def _foreign(path, entry, line):
    """Return the Record of another logger's run: what its path and the names and times of its files tell.
    Raises LayoutError."""
    record = Record()
    if path != ".":
        local_names.safe_relative(path)
    project, name, run_id = map(visible, local_names.run_parts(path))
    name = name if name == run_id else f"{name}/{run_id}"
    record.path, record.line, record.small, record.kinds = (path, line and told(line), None,
                                                            tuple(entry["kinds"]))
    record.project, record.name, record.id = project[:KEPT_TEXT], name[:KEPT_TEXT], run_id
    record.user = record.group = record.job_type = record.error = record.defined = record.finished = None
    record.newer, record.tags, record.note, record.ended = False, (), "", ""
    record.status, record.config, record.summary = {}, {}, {}
    named = [match for match in map(EVENT_FILE.search, entry["files"]) if match]
    times = [float(match[1]) for match in named] or [file["mtime"]
                                                     for file in entry["files"].values()
                                                     if file["mtime"] is not None]
    record.host = _intern(named[0][2]) if named else None
    record.created = record.started = layout.moment(min(times, default=None))
    return record


def newer_format(meta: dict[str, Any]) -> bool | float:
    """Return the `format` (number, at most a million) of a meta.json that a newer Runicorn wrote; False of
    one that we know."""
    version = meta.get("format")
    return isinstance(version, (int, float)) and version > layout.FORMAT and min(version, 1_000_000)


def _status(status):
    """Return what a status.json says of the run and its attempts (dict of plain values, and "attempts"),
    nothing else that is in it."""
    status = status if isinstance(status, dict) else {}
    attempts = status.get("attempts") if isinstance(status.get("attempts"), list) else ()
    attempts_shown = [_plain(attempt) for attempt in attempts[-MOST_ATTEMPTS:] if isinstance(attempt, dict)]
    return {**_plain(status), **({"attempts": attempts_shown} if attempts_shown else {})}


def _plain(values):
    return {key: value[-KEPT_TEXT:] if type(value) is str else value
            for key, value in values.items() if type(value) in (*PLAIN, str)}


def _defined(metrics):
    """Return what define_metric said of the run's metrics ({name or pattern: {"summary", "goal",
    "step_metric", "hidden"}}), None where nothing useful."""
    definitions = {}
    for name, texts in metrics.items() if isinstance(metrics, dict) else ():
        texts = texts if isinstance(texts, dict) else {}
        entry = {key: texts[key] for key in ("summary", "step_metric")
                 if isinstance(texts.get(key), str) and len(texts[key]) < KEPT_TEXT}
        entry.update({key: texts[key] for key, values in (("goal", ("min", "max")), ("hidden", (True,)))
                      if texts.get(key) in values})
        if entry:
            definitions[name] = entry
    return definitions or None


def flat(value: dict[str, Any] | None, joint: str = ".") -> dict[str, Any]:
    """Return nested dicts as one dict with joined names; lists and long texts become short texts."""
    flattened, ahead = {}, [("", value)] if isinstance(value, dict) else []
    while ahead:
        prefix, value = ahead.pop()
        for key, item in value.items():
            name, kind = sys.intern(prefix + visible(key)), type(item)
            if kind in PLAIN:
                flattened[name] = item
            elif kind is str:
                flattened[name] = _intern(item)
            elif kind is dict and item and prefix.count(joint) < 8:
                ahead.append((name + joint, item))
            else:
                flattened[name] = _intern(layout.to_json(item))
    return flattened


def _intern(value):
    return sys.intern(visible(value[:KEPT_TEXT])) if isinstance(value, str) else None


def _text(value, most=KEPT_TEXT):
    return None if not isinstance(value, str) or not value else visible(value if len(value) <= most
                                                                        else value[:most - 1] + "…")


def _id_time(run_id):
    match = ID_TIME.match(run_id)
    try:
        return time.mktime((*map(int, match.groups()), 0, 0, -1)) if match else None
    except (ValueError, OverflowError):
        return None
