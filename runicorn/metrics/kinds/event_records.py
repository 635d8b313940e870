"""Read TensorBoard's Event messages one by one, and what they say besides scalars: metadata, texts,
hyperparameters, counts. Opens no file.

Formats: tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto.
"""

import struct
from array import array
from bisect import bisect_left

from runicorn.metrics.kinds import tensors
from runicorn.metrics.kinds.protobuf import fields, inner, signed, text, varint
from runicorn.metrics.parse import RowPart

VALUES = 100_000            # in one event
TEXTS, TEXT_BYTES = 64, 16 << 10            # tags whose last text is kept, and how much of it
CONFIG, CONFIG_BYTES = 1000, 1 << 20        # hyperparameters, and what they may take together
MEDIA = {3: "histograms", 4: "images", 5: "histograms", 6: "audio"}        # fields of Summary.Value
OTHERS = {4: "graphs", 8: "run metadata", 9: "graphs"}                      # fields of Event
# of tensors
PLUGINS = {"images": "images", "audio": "audio", "histograms": "histograms", "text": "texts",
           "pr_curves": "PR curves", "mesh": "meshes", "custom_scalars": "layouts",
           "hparams": "hyperparameters"}
SCALARS = "scalars"
VALUE = (2, *MEDIA, 8)      # of Summary.Value: of these one stands


class Events:
    """Reads events in order, batch by batch; what it learned stays. `plugins`: {tag: name of its plugin};
    `counts`: {what: how many}."""

    def __init__(self, tags, skip, state=None):
        """tags: Names; skip: called with a reason for what can't be read; state: what `state` returned."""
        state = state or {}
        self._tags, self._skip = tags, skip
        self.plugins, self.texts, self.config, self.counts = (dict(state.get(key, ()))
                                                              for key in ("plugins", "texts", "config",
                                                                          "counts"))
        self._config_bytes = state.get("config_bytes", 0)
        self.begin(0)

    def state(self):
        """Return what the constructor takes (dict for JSON)."""
        state = {"plugins": self.plugins, "texts": self.texts, "config": self.config, "counts": self.counts}
        return {**{key: dict(value) for key, value in state.items()}, "config_bytes": self._config_bytes}

    def begin(self, row):
        """Begin a batch whose first record is number `row`.

        `learned`: {tag: row of the record with its metadata}, of this batch; `marks`: [(row, what, value)]
        for the purges; `extra`: for each row beyond one a record, the record's place in the batch.
        """
        self._first_row, self.learned, self.marks, self.extra, self._rows = row, {}, [], [], {}

    def row(self, index):
        """Return the row of the record at a place in the batch."""
        return self._first_row + index + bisect_left(self.extra, index)

    def parts(self):
        """Return the batch's rows (list of RowPart)."""
        return list(self._rows.values())

    def count(self, name, count=1):
        """Count what is no point."""
        if count:
            self.counts[name] = self.counts.get(name, 0) + count

    def read(self, index, data):
        """Read the record at place `index` of the batch, all places in ascending order. data: bytes."""
        row = self.row(index)
        try:
            ts, step, number, content = _event(data)
            if number == 3:
                self.marks.append((row, "version", text(content, 100)))
            elif number == 7 and any((field, value) == (1, 1) for field, _, value in fields(content)):
                self.marks.append((row, "start", step))
            elif number in OTHERS:
                self.count(OTHERS[number])
            points = self._summary(row, content) if number == 5 else []
        except ValueError:
            self._skip("unreadable records")
            return
        if not points:
            self.marks.append((row, "event", (step, number == 5)))
        self._add(index, row, ts, step, points)

    def _add(self, index, row, ts, step, points):
        """Keep [(tag, value)] of one record; a tag that stands in it twice takes another row."""
        while points:
            cells = dict(reversed(points))
            names = tuple(dict.fromkeys(name for name, _ in points))
            part = self._rows.setdefault(names, RowPart(names, [], [], [], array("d")))
            part.rows.append(row)
            part.ts.append(ts)
            part.steps.append(step)
            part.cells.extend(cells[name] for name in names)
            points = _behind_first(points) if len(names) < len(points) else []
            if points:
                self.extra.append(index)
                row += 1
                self.marks.append((row, "extra", None))

    def _summary(self, row, content):
        points = []
        for count, (field, kind, value) in enumerate(fields(content)):
            if count == VALUES:
                self._skip("values beyond 100,000 of one record")
                break
            if (field, kind) == (1, 2):
                point = self._value(row, value)
                if point:
                    points.append(point)
        return points

    def _value(self, row, message):
        """Return (tag, number) of a Summary.Value, None if it is no scalar."""
        tag = node = b""
        number, content, metadata = 0, None, None
        for field, kind, value in fields(message):
            if (field, kind) == (1, 2):
                tag = value
            elif (field, kind) == (7, 2):
                node = value
            elif (field, kind) == (9, 2):
                metadata = value
            elif field in VALUE and kind == (5 if field == 2 else 2):
                number, content = field, value
        tag = text(node if number == 8 and not tag else tag)
        if metadata is not None:
            self._learn(row, tag, metadata)
        if number == 2:
            return tag, struct.unpack("<f", content)[0]
        if number == 8:
            return self._tensor(tag, content)
        if number:
            self.count(MEDIA[number])
        return None

    def _tensor(self, tag, message):
        plugin = self.plugins.get(tag)
        value = tensors.number(message) if plugin == SCALARS else None
        if value is not None:
            return tag, value
        if plugin == "text" and (tag in self.texts or len(self.texts) < TEXTS):
            self.texts[tag] = tensors.strings(message, TEXT_BYTES)
        self.count(PLUGINS.get(plugin, "tensors"))
        return None

    def _learn(self, row, tag, metadata):
        """Keep a tag's first metadata: a writer leaves it out later, another one in the same folder tells it
        again."""
        data = b"".join(inner([metadata], 1))
        name = text(b"".join(inner([data], 1)), 100)
        if name == "hparams":
            self._configure(tensors.hyperparameters(b"".join(inner([data], 2))))
        if tag in self.plugins or not name:
            return
        if not self._tags.admit(tag):
            self._skip("values of too many tags")
            return
        self.plugins[tag] = name
        self.learned[tag] = row

    def _configure(self, config):
        for name, value in config.items():
            size = len(repr((name, value)))
            if name in self.config or len(self.config) >= CONFIG or self._config_bytes + size > CONFIG_BYTES:
                size = 0 if name in self.config and size <= TEXT_BYTES else None
            if size is None:
                self._skip("hyperparameters beyond 1,000")
                continue
            self.config[name] = value
            self._config_bytes += size


def _behind_first(points):
    """Return the points whose tag stood before them."""
    numbers, later = set(), []
    for name, value in points:
        if name in numbers:
            later.append((name, value))
        numbers.add(name)
    return later


def _event(data):
    """Return (wall time s, step, number and content of the field that says what it is: 0 and b"" if none).
    Raises ValueError."""
    ts, step, number, content = 0.0, 0, 0, b""
    for field, kind, value in fields(data):
        if (field, kind) == (1, 1):
            ts, = struct.unpack("<d", value)
        elif (field, kind) == (2, 0):
            step = signed(value)
        # The last one stands, parts of one message are one
        elif kind == 2 and 3 <= field <= 9:
            number, content = field, content + value if (field, number) == (5, 5) else value
    return ts, step, number, content


# -- large records -------------------------------------------------------------------------------------------

def large_media(beginning, length, plugins):
    """Return (step, whether it is a summary, what: as in `Events.counts`) of a record that is one picture,
    histogram, sound or graph to its end, or None: it has to be read.

    beginning: bytes, its data's first ones; length: bytes of all its data.
    """
    try:
        number, position, fields = _last_field(beginning, 0, length)
        step = signed(fields.get(2, 0))
        if number in OTHERS:
            return step, False, OTHERS[number]
        if number != 5:
            return None
        number, position, _ = _last_field(beginning, position, length)
        if number != 1:
            return None
        number, _, fields = _last_field(beginning, position, length)
    except (ValueError, IndexError):
        return None
    if number in MEDIA:
        return step, True, MEDIA[number]
    plugin = plugins.get(text(fields.get(1, b""))) if number == 8 else None
    return (step, True, PLUGINS.get(plugin, "tensors")) if plugin not in (None, "text", SCALARS) else None


def _last_field(beginning, position, length):
    """Return (number, begin) of the field from `position` on that reaches to `length`, and {number: value} of
    the short ones before it.

    Raises ValueError or IndexError if there is none, or a message stands before it.
    """
    fields = {}
    while True:
        key, position = varint(beginning, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            fields[number], position = varint(beginning, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        elif kind == 2:
            size, position = varint(beginning, position)
            if position + size == length:
                return number, position, fields
            if position + size > len(beginning) or number in fields:
                raise ValueError("not in the beginning")
            fields[number], position = beginning[position:position + size], position + size
        else:
            raise ValueError("no field")
