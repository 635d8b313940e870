"""Read the messages in W&B's log: items of history, summary and config, and what they say of a run. Opens no
file.

Formats: wandb_internal.proto and wandb_base.proto of the package wandb, versions 0.12 to 0.31.
"""

import json
import struct
from functools import lru_cache

from runicorn.layout import number
from runicorn.metrics.kinds.protobuf import behind_field, fields, inner, signed, text, varint

KEY_FIELDS, JSON_FIELD = b"\x0a\x12", b"\x82\x01"        # of an item: key and nested_key, value_json
DEEPEST = 16                # dicts within one another in a value
# Of config, summary and the like, together and each
KEYS, KEY_BYTES, VALUE_BYTES = 1000, 1 << 20, 16 << 10
MEDIA = {"image-file": "images", "images": "images", "images/separated": "images", "histogram": "histograms",
         "table-file": "tables", "table": "tables", "partitioned-table": "tables", "joined-table": "tables",
         "audio-file": "audio", "audio": "audio", "video-file": "videos", "videos": "videos",
         "html-file": "HTML", "html": "HTML", "plotly-file": "plots", "plotly": "plots",
         "object3D-file": "3D objects", "object3D": "3D objects", "molecule-file": "molecules",
         "graph-file": "graphs"}
OTHER_MEDIA = "other media"
INTERNAL = {"_step", "_timestamp", "_runtime", "_wandb"}
TYPE = "_type"              # the key of a dict that is a picture or the like, not numbers


def items(message, number_of_items, skip):
    """Return [(path: tuple of str, value)] of the items (field `number_of_items`) of a HistoryRecord or the
    like.

    The values are as JSON has them, NaN and the infinities too. skip: called with a reason for what can't be
    read. Raises ValueError.
    """
    paths, contents = _split(message, number_of_items)
    try:
        values = json.loads(text(b"[" + b",".join(contents) + b"]"))
        if len(values) == len(paths):
            return list(zip(paths, values))
    except (ValueError, RecursionError):
        pass                        # one is broken: find out which
    pairs = []
    for path, content in zip(paths, contents):
        try:
            pairs.append((path, json.loads(text(content))))
        except (ValueError, RecursionError):
            skip("unreadable values")
    return pairs


def _split(message, number_of_items):
    """Return ([path], [JSON as bytes]) of the items in field `number_of_items`. Nearly all are a key and a
    value of less than 128 bytes each, whose places are counted here; that takes a fifth of the time. Raises
    ValueError."""
    paths, contents, tag, position, end = [], [], number_of_items << 3 | 2, 0, len(message)
    message += bytes(4)                                 # so that a place just behind the end can be looked at
    while position < end:
        if message[position] != tag:
            position = behind_field(message, position)
            continue
        size, begin = ((message[position + 1], position + 2) if message[position + 1] < 128
                       else varint(message, position + 1))
        position = stop = begin + size
        if stop > end:
            raise ValueError("no protobuf message")
        index = begin
        while index < stop and message[index] in KEY_FIELDS and message[index + 1] < 128:
            index += 2 + message[index + 1]
        if message[index:index + 2] == JSON_FIELD and index + 3 + message[index + 2] == stop:
            paths.append(_path(message[begin:index]))
            contents.append(message[index + 3:stop])
            continue
        path, content = _item(message[begin:stop])
        if content is not None:
            paths.append(path)
            contents.append(content)
    if position != end:
        raise ValueError("no protobuf message")
    return paths, contents


@lru_cache(maxsize=4096)
def _path(key_fields):
    return _item(key_fields)[0]


def _item(message):
    """Return (path: tuple of str, JSON as bytes or None) of one item."""
    key, nested, content = b"", [], None
    for field, kind, value in fields(message):
        if kind == 2 and field == 16:
            content = value
        elif kind == 2 and field == 1:
            key = value
        elif kind == 2 and field == 2:
            nested.append(text(value))
        elif kind == 2 and field in (7, 8):
            content = json.dumps(text(value)).encode() if field == 7 else value
        elif (field, kind) == (6, 1):
            content = json.dumps(struct.unpack("<d", value)[0]).encode()
        elif kind == 0 and 3 <= field <= 5:
            content = (b"null", b"true" if value else b"false",
                       b"%d" % (value >> 1 ^ -(value & 1)))[field - 3]
    return tuple(nested) or (text(key),), content


def removed(message):
    """Return the paths (tuples of str) that a SummaryRecord or ConfigRecord removes. Raises ValueError."""
    return [_item(item)[0] for item in inner([message], 2)]


def is_internal(path):
    """Whether W&B wrote it for itself: the step and times of a row, or what it keeps under "_wandb"."""
    return path[0] in INTERNAL


def media_paths(pairs):
    """Return {path of a picture or the like: what it is}, of [(path, value)] of one record, where a dict may
    be one value or many."""
    return {path[:-1]: str(value) for path, value in pairs if path[-1] == TYPE and len(path) > 1}


def flat(pairs, media, count):
    """Yield (name, value) of [(path, value)] without dicts: the keys of dicts within one another are joined
    by points.

    media: paths that are a picture or the like, which are left out; count: called with what a value that is
    one is.
    """
    for path, value in pairs:
        if media and any(path[:length] in media for length in range(1, len(path))):
            continue
        name = path[0] if len(path) == 1 else ".".join(path)
        if type(value) is dict:
            yield from _flat(name, value, count, DEEPEST)
        else:
            yield name, value


def _flat(name, value, count, levels):
    if TYPE in value:
        count(MEDIA.get(str(value[TYPE]), OTHER_MEDIA))
    elif levels:
        for key, inner_value in value.items():
            if type(inner_value) is dict:
                yield from _flat(f"{name}.{key}", inner_value, count, levels - 1)
            else:
                yield f"{name}.{key}", inner_value


class Keys:
    """A bounded dict of plain values, as config and summary are: at most KEYS keys and KEY_BYTES of them."""

    def __init__(self, values=()):
        self.values = dict(values)
        self._sizes = {key: _size(value) for key, value in self.values.items()}
        self._bytes = sum(self._sizes.values())

    def put(self, key, value):
        """Set a key; returns whether there was room (bool)."""
        size = _size(value)
        grown = size - self._sizes.get(key, 0)
        is_new = key not in self.values
        if size > VALUE_BYTES or self._bytes + grown > KEY_BYTES or is_new and (len(self.values) >= KEYS
                                                                                or len(key) > 1000):
            return False
        self.values[key], self._sizes[key] = value, size
        self._bytes += grown
        return True

    def put_nested(self, path, value):
        """Set the value at a path (tuple of str) in dicts within one another; returns whether there was
        room."""
        for position in range(min(len(path), DEEPEST) - 1, 0, -1):
            nested = self._at(path[:position])
            value = {**(nested if type(nested) is dict else {}), path[position]: value}
        return self.put(path[0], value)

    def _at(self, path):
        value = self.values
        for key in path:
            value = value.get(key) if type(value) is dict else None
        return value

    def remove(self, key):
        """Forget a key."""
        if self.values.pop(key, None) is not None or key in self._sizes:
            self._bytes -= self._sizes.pop(key)


def _size(value):
    return 24 if type(value) in (int, float, bool) else len(json.dumps(value))


def seconds(timestamp):
    """Return a google.protobuf.Timestamp as Unix seconds (float). Raises ValueError."""
    parts = {field: signed(value) for field, kind, value in fields(timestamp) if kind == 0}
    return parts.get(1, 0) + parts.get(2, 0) / 1e9


RUN = {1: "run_id", 2: "entity", 3: "project", 6: "group", 7: "job_type", 8: "name", 9: "notes",
       12: "sweep_id", 13: "host"}


def run_facts(message):
    """Return what a RunRecord says, without config and summary (dict of plain values). Raises ValueError."""
    facts, tags = {}, []
    for field, kind, value in fields(message):
        if kind == 2 and field in RUN:
            facts[RUN[field]] = text(value, VALUE_BYTES)
        elif (field, kind) == (10, 2) and len(tags) < 100:
            tags.append(text(value, 1000))
        elif (field, kind) == (17, 2):
            facts["started"] = seconds(value)
        elif (field, kind) == (18, 0):
            facts["resumed"] = bool(value)
        elif (field, kind) == (21, 2):
            git = {number: text(content, 1000) for number, kind, content in fields(value) if kind == 2}
            facts["git"] = {name: git[number] for number, name in ((1, "remote"), (2, "commit"))
                            if number in git}
    if tags:
        facts["tags"] = tags
    return facts


ENVIRONMENT = {1: "os", 2: "python", 6: "program", 12: "host", 13: "user", 14: "executable", 16: "cpu_count",
               18: "gpu", 19: "gpu_count"}


def environment_facts(message):
    """Return what an EnvironmentRecord (0.19 and newer) says of the machine. Raises ValueError."""
    return {ENVIRONMENT[field]: text(value, 1000) if kind == 2 else value
            for field, kind, value in fields(message) if field in ENVIRONMENT and kind in (0, 2)}


def definition(message):
    """Return {"name", "step_metric", "summary", "goal"} of a MetricRecord, what stands in it. Raises
    ValueError."""
    entry = {}
    for field, kind, value in fields(message):
        if kind == 2 and field in (1, 2, 4):
            entry["step_metric" if field == 4 else "name"] = text(value, 1000)
        elif (field, kind) == (7, 2):
            entry["summary"] = [name for number, name in enumerate(("min", "max", "mean", "best", "last",
                                                                    "none", "copy", "first"), 1)
                                if any(number == inner_field and on for inner_field, _, on in fields(value))]
        elif (field, kind) == (8, 0) and value in (1, 2):
            entry["goal"] = ("minimize", "maximize")[value - 1]
    return entry


def output(message):
    """Return (Unix s or None, "stdout" or "stderr", text) of an OutputRecord or OutputRawRecord. Raises
    ValueError."""
    ts, stream, line = None, "stderr", ""
    for field, kind, value in fields(message):
        if (field, kind) == (1, 0):
            stream = "stdout" if value == 1 else "stderr"
        elif (field, kind) == (2, 2):
            ts = seconds(value)
        elif (field, kind) == (3, 2):
            line = text(value)
    return ts, stream, line


def as_number(value):
    """Return a value as a float, None if it is none: numbers, booleans, and the texts that stand for NaN and
    the infinities."""
    return value if type(value) is float else None if value is None or type(value) is list else number(value)
