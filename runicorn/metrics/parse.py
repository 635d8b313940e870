"""Turn lines of events.jsonl or system.jsonl into columns of numbers, many lines at a time. Opens no file,
keeps no data.

Lines of one training repeat their shape, so those of one shape are taken apart by a template: every text
between two numbers becomes one separator byte, and what is left is read as one flat JSON array. What fits no
template is parsed as JSON, all together, or one by one where a line is broken. Every way gives the same rows.
"""

import json
import math
import re
from array import array
from typing import NamedTuple

from runicorn.layout import number
from runicorn.surrogates import visible

# All that a number, NaN or Infinity is made of
NUMERIC = b"0123456789.+-eE" + b"NaInfity"
SEPARATORS = bytes((1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15))    # control characters: never raw inside JSON
COMMAS = bytes.maketrans(SEPARATORS + b"\n", b"," * (len(SEPARATORS) + 1))
STRINGS = re.compile(rb'("(?:[^"\\]|\\.)*")')
NUMBER = re.compile(rb"-?(?:\d[\d.eE+-]*|NaN|Infinity)")
# As values: to what json.loads takes
QUOTED = [(b':"%s"' % name, b":%s" % name) for name in (b"NaN", b"Infinity", b"-Infinity")]
AROUND = b"\0\r\t \xef\xbb\xbf"           # what a crash or an editor leaves around a good line
LONG = 16 << 10             # bytes; a longer line is no row of a few numbers
WORTH = 8                   # lines of one shape in a block; fewer are as quick as JSON
SHAPES = 256                # templates remembered; a file with more shapes than that is read as JSON
OLD_EXTRAS = ("global_step", "time", "stage")           # what Runicorn 0.4 to 0.7 put beside the metrics
PLAIN = {int, float}
STEP_LIMIT = 1 << 62        # an integer step beyond it is read as a float64


class Part(NamedTuple):
    """Rows that name the same metrics. `names`: tuple of str; `rows`: line numbers in the file, ascending;
    `ts`: Unix seconds; `steps`: numbers; `columns`: one array('d') for each name, as long as `rows`. NaN and
    infinities stay in."""

    names: tuple
    rows: object
    ts: list
    steps: list
    columns: list


class RowPart(NamedTuple):
    """A Part whose numbers stand as they were logged: `cells` is one array('d') with the values of the first
    row, of the next, …, each in the order of `names`. Rows of thousands of metrics cost no object a value."""

    names: tuple
    rows: object
    ts: list
    steps: list
    cells: array

    @property
    def columns(self):
        """Return one array('d') for each name, as long as `rows`."""
        width = len(self.names)
        return [self.cells[index::width] for index in range(width)]


def event_row(line):
    """Return (ts, step, {metric: value}) of an event (dict), or None if it is no row of metrics.

    Also reads the shape of Runicorn 0.4 to 0.7, {"ts", "type": "metrics", "data": {…, "global_step": n}}.
    """
    data = line.get("data")
    if line.get("type", "metrics") != "metrics" or not isinstance(data, dict):
        return None
    if "step" in line or "global_step" not in data:
        return line.get("ts"), line.get("step"), data
    return (line.get("ts"), data["global_step"],
            {name: value for name, value in data.items() if name not in OLD_EXTRAS})


def read_object(line):
    """Return the JSON object (dict) that a line (bytes) is, or None where it is empty, torn or another
    value."""
    try:
        value = json.loads(line.strip(AROUND).decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None


def sample_row(line):
    """Return (ts, ts, {metric: value}) of a system sample (dict): "cpu", "mem" (used), "disk" (free),
    "gpu0.util", ….

    Its step is its time, so that no attempt supersedes another's samples.
    """
    data = {}
    for name, value in line.items():
        if name == "gpu" and isinstance(value, list):
            for gpu in value:
                if isinstance(gpu, dict):
                    data.update({f"gpu{gpu.get('i', 0)}.{key}": _first(item)
                                 for key, item in gpu.items() if key not in ("i", "name")})
        elif name != "ts":
            data[name] = _first(value)
    return line.get("ts"), line.get("ts"), data


def _first(value):
    return value[0] if isinstance(value, list) and value else value


class Template:
    """The one way in which all lines of a shape are written: fixed text, number, fixed text, number, … fixed
    text. NaN and the infinities are numbers if bare."""

    def __init__(self, line):
        """Take `line` (bytes) as the pattern. Raises ValueError if lines like it can't be read this way."""
        if len(line) > LONG or line.count(b":") > 8 * len(SEPARATORS):
            raise ValueError("too many numbers")        # found out without taking a wide row apart
        texts, skeleton = _fixed_texts(line)
        self.head, *self.middles, self.tail = texts
        if not 2 <= len(texts) - 1 <= len(SEPARATORS):
            raise ValueError("too few or too many numbers")
        self.ts, self.step, data = self.roles(line, json.loads(skeleton))
        self.names, self.places = tuple(data), list(data.values())
        self._signature = line.translate(None, NUMERIC)

    def roles(self, line, skeleton):
        """Return (place of the time, of the step, {metric: place}) in `skeleton`, `line` (bytes) as parsed
        with places for its numbers; no place is None. Raises ValueError."""
        row = event_row(skeleton)
        if row is None or not all(type(position) is int for position in (*row[:2], *row[2].values())):
            raise ValueError("not a plain row of metrics")
        return row

    def repeats(self, block):
        """Whether all lines of `block` (bytes, each ended by a newline) name what the pattern does (bool): no
        number is read for it, so one that is none shows later only."""
        count = block.count(b"\n")
        return (block.translate(None, NUMERIC) == (self._signature + b"\n") * count
                and all(block.count(text) == count for text in (self.head, *self.middles)))

    def read(self, block):
        """Return (ts, steps, columns) of `block` (bytes, lines each ended by a newline), or None if any line
        is written otherwise. What has no place in the lines is None."""
        if not (block.startswith(self.head) and block.endswith(self.tail + b"\n")):
            return None
        count = block.count(b"\n")
        body = block[len(self.head):-len(self.tail) - 1].replace(self.tail + b"\n" + self.head, b"\n")
        for index, text in enumerate(self.middles):
            body = body.replace(text, SEPARATORS[index:index + 1])
        between = SEPARATORS[:len(self.middles)]
        if body.translate(None, NUMERIC) != (between + b"\n") * (count - 1) + between:
            return None
        try:
            flat = json.loads(b"[" + body.translate(COMMAS) + b"]")
            width = len(between) + 1
            ts, steps = (number if number is None else flat[number::width] for number in (self.ts, self.step))
            if not math.isfinite(sum(ts or ())) or not math.isfinite(sum(steps or ())):
                return None
            return ts, steps, [array("d", flat[number::width]) for number in self.places]
        # 1.2.3, or a number beyond float64: the JSON way knows what to do
        except (ValueError, OverflowError):
            return None


def _fixed_texts(line):
    """Return the texts around the numbers of `line`, and `line` with each number replaced by its place (0, 1,
    …)."""
    texts, skeleton, places = [b""], b"", 0
    for index, piece in enumerate(STRINGS.split(line)):
        if index % 2:                               # a string: digits in it are not numbers
            texts[-1] += piece
            skeleton += piece
            continue
        end = 0
        for match in NUMBER.finditer(piece):
            texts[-1] += piece[end:match.start()]
            skeleton += piece[end:match.start()] + b"%d" % places
            texts.append(b"")
            places, end = places + 1, match.end()
        texts[-1] += piece[end:]
        skeleton += piece[end:]
    return texts, skeleton


class Parser:
    """Parses one file block by block, in order; remembers its shapes. `skipped` counts lines that are no JSON
    object."""

    template = Template

    def __init__(self, row=event_row, lines=0, skipped=0):
        """row: `event_row` or `sample_row`; lines, skipped: what was parsed before."""
        self.row, self.lines, self.skipped = row, lines, skipped
        self._has_templates = row is not sample_row
        self._ts = 0.0
        self._templates = {}
        self._last = None

    def take_skipped(self):
        """Return how many lines were skipped since last asked (int)."""
        skipped, self.skipped = self.skipped, 0
        return skipped

    def parse(self, block):
        """Return the list of Parts in `block` (bytes): complete lines, each ended by a newline."""
        parts = self._parts(block)
        if b"\\ud" in block or b"\\uD" in block:       # the names may hold half of a UTF-16 pair
            parts = [part._replace(names=tuple(map(visible, part.names))) for part in parts]
        return parts

    def _parts(self, block):
        start, count = self.lines, block.count(b"\n")
        self.lines += count
        if self._last is None and self._has_templates:
            # As a rule all lines look like the first
            self._last = self._template(b"", block[:block.find(b"\n")])
        columns = self._last.read(block) if self._last else None
        if columns:
            return [Part(self._last.names, range(start, start + count), *columns)]
        lines = block.split(b"\n")
        lines.pop()
        if not self._has_templates:
            return self._by_json(lines, range(count), start)
        parts, others = self._by_template(block, start)
        return parts + self._by_json(lines, others, start)

    def _by_template(self, block, start):
        """Return the Parts of the lines of `block` that repeat a shape, and the places of the others."""
        for quoted, bare in QUOTED:
            block = block.replace(quoted, bare)
        lines, signatures = block.split(b"\n"), block.translate(None, NUMERIC).split(b"\n")
        places, parts, others = {}, [], []
        for index in range(len(lines) - 1):
            places.setdefault(signatures[index], []).append(index)
        for signature, mine in places.items():
            template = self._template(signature, lines[mine[0]]) if len(mine) >= WORTH else None
            columns = template and template.read(b"\n".join([lines[index] for index in mine]) + b"\n")
            if columns:
                parts.append(Part(template.names, [start + index for index in mine], *columns))
                self._last = template
            else:
                others += mine
        return parts, sorted(others)

    def _template(self, signature, line):
        """Return the template for lines that look like `line` but for numeric characters, or None."""
        template = self._templates.get(signature, False)
        if template is None or template and template.read(line + b"\n"):
            return template
        if len(self._templates) >= SHAPES:
            return None
        try:
            self._templates[signature] = self.template(line)
        except (ValueError, RecursionError):
            self._templates[signature] = None
        return self._templates[signature]

    def _by_json(self, lines, places, start):
        rows = {}
        for index, line in zip(places, self._objects([lines[index] for index in places])):
            if line is None:
                continue
            row = self.row(line)
            if row is None:
                continue            # an image, a gap, or what a later version writes
            ts, step, data = self.clean(*row, start + index)
            names = tuple(data)
            part = rows.get(names)
            if part is None:
                part = rows[names] = RowPart(names, [], [], [], array("d"))
            part.rows.append(start + index)
            part.ts.append(ts)
            part.steps.append(step)
            part.cells.extend(_cells(data.values()))
        return list(rows.values())

    def _objects(self, lines):
        """Return the dict of each line, None for an empty or broken one."""
        try:
            objects = json.loads((b"[" + b",".join(lines) + b"]").decode("utf-8"))
            if len(objects) == len(lines) and all(type(item) is dict for item in objects):
                return objects
        except (ValueError, RecursionError):
            pass                    # one line is broken: find out which
        return [self._object(line) for line in lines]

    def _object(self, line):
        value = read_object(line)
        self.skipped += value is None and bool(line.strip(AROUND) or b"\0" in line)
        return value

    def clean(self, ts, step, data, line_number):
        """Fill in a missing or impossible time or step; leave only numbers in `data`."""
        ts = number(ts)
        self._ts = ts if ts is not None and math.isfinite(ts) else self._ts
        if type(step) is not int or not -STEP_LIMIT < step < STEP_LIMIT:
            step = number(step)
            step = (line_number if step is None or not math.isfinite(step) else int(step) if step == int(step)
                    else step)
        if not set(map(type, data.values())) <= PLAIN:
            data = {name: value for name, value in zip(data, map(number, data.values())) if value is not None}
        return self._ts, step, data


def _cells(values):
    try:
        return array("d", values)
    except OverflowError:           # an integer beyond float64 is an infinity
        return array("d", map(number, values))
