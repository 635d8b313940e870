"""Tables with a header and a column of steps or epochs: Lightning's metrics.csv, Keras' CSVLogger, YOLO's
results.csv, pandas' to_csv.

Cells are separated by commas, semicolons or tabs, and may be quoted (RFC 4180). Empty cells and text are no
points. Most tables have no times: then `facts` tells "no_times" and all `ts` are 0.0; the caller puts in when
it saw the rows.
"""

import csv
import math
from array import array

from runicorn.foreign_text import SEPARATORS, Header, decoded, number
from runicorn.metrics.kinds.row_steps import Steps, whole
from runicorn.metrics.kinds.stamps import naive, plausible, seconds
from runicorn.metrics.kinds.text_lines import LineReader
from runicorn.metrics.parse import STEP_LIMIT, Part

PHASE_NAMES = {"train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev"}
HEADER_BYTES = 128 << 10
OPEN_LIMIT = 64 << 10       # bytes in which a quoted cell must end
NOT = {separator: bytes(set(range(256)) - {separator, 10}) for separator in SEPARATORS}


class Reader(LineReader):
    """Reads one table from its beginning, or from where `state` was told."""

    kind = "csv"

    def load(self, own):
        """Take over what `save` told (dict), or begin (None)."""
        own = own or {}
        self._header = Header(own["names"], own["separator"]) if own else None
        self._steps = Steps(own.get("steps"))
        self._rows, self._ts, self._timed = own.get("rows", 0), own.get("ts", 0.0), own.get("timed")
        self._has_naive = own.get("naive", False)

    def save(self):
        """Return what is needed to go on, or None at the beginning."""
        if self._header is None:
            return None
        return {"names": self._header.names, "separator": self._header.separator,
                "steps": self._steps.state(), "rows": self._rows, "ts": self._ts, "timed": self._timed,
                "naive": self._has_naive}

    def facts(self):
        """Return what else is known of the run (dict)."""
        return self._steps.facts(self._timed, self._has_naive)

    def end(self, block, start):
        """Return where the last complete row of `block` ends; lines of one quoted cell are not taken
        apart."""
        if b'"' not in block:
            return block.rfind(b"\n", start) + 1
        for end, _ in _records(block, start):
            start = end
        return start

    def parse(self, body):
        """Return the Parts of `body` (bytes): complete lines."""
        parts = []
        if self._header is None:
            body = self._begin_table(body)
        if body and self._header is not None:
            columns, is_strict = self._columns(body), b"_" in body
            steps = _values(columns[self._header.steps], is_strict) if columns is not None else None
            # Another header, as a rule
            if columns is None or _has_text(steps, columns[self._header.steps]):
                for header, rows in self._tables(body):
                    if header is not self._header:
                        self._header, self._timed = header, None
                    columns = [list(column) for column in zip(*rows)]
                    parts += self._parts(columns, True, _values(columns[header.steps], True)) if rows else []
            else:
                parts = self._parts(columns, is_strict, steps)
        return parts

    def _begin_table(self, body):
        """Take the header off `body`; return the other lines."""
        while body and self._header is None:
            line, _, body = body.partition(b"\n")
            if not line.strip() or line.startswith(b"#"):
                continue
            self._header = Header.of(line) if len(line) <= HEADER_BYTES else None
            if self._header is None:
                self.close("no column of steps or epochs")
                return b""
        return body

    def _columns(self, body):
        """Return the cells of `body` by column (lists of bytes), or None if its rows are not all written
        alike."""
        width, separator = len(self._header.names), self._header.separator
        if b'"' in body or b"\n\n" in body or body.startswith(b"\n"):
            return None
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n")
        between = bytes([separator])
        if body.translate(None, NOT[separator]) != (between * (width - 1) + b"\n") * body.count(b"\n"):
            return None
        flat = body[:-1].replace(b"\n", between).split(between)
        return [flat[position::width] for position in range(width)]

    def _tables(self, body):
        """Yield (header, rows), one pair for each header within `body`: who appends to a table may write
        another one."""
        header, rows = self._header, []
        position = 0
        for end, is_whole in _records(body, 0):
            record, position = body[position:end], end
            cells = self._cells(record, header.separator) if is_whole else None
            next_header = (Header.of(record) if cells and not any(number(cell) is not None for cell in cells)
                           else None)
            if next_header is not None:
                yield header, rows
                header, rows = next_header, []
            elif cells and len(cells) == len(header.names):
                rows.append(cells)
            elif record.strip():
                self.skip("not as wide as the header" if cells else "quotes that do not end")
        yield header, rows

    def _cells(self, record, separator):
        if b'"' not in record:
            return record.rstrip(b"\r\n").split(bytes([separator])) if record.strip() else None
        try:
            return [cell.encode() for cell in next(
                                                   csv.reader(decoded(record).splitlines(True),
                                                              delimiter=chr(separator)), [])]
        except csv.Error:
            return None

    def _parts(self, columns, is_strict, steps):
        """Return the settled Parts of `columns` (lists of bytes, all as long) with the numbers of `steps`.

        is_strict: whether some cells may be numbers to Python alone.
        """
        header, count = self._header, len(columns[0])
        rows = range(self._rows, self._rows + count)
        self._rows += count
        values = {position: _values(columns[position], is_strict)
                  for position in range(len(columns)) if header.is_metric(position)}
        steps = _steps(steps)
        ts = self._times(columns, values, count)
        texts = columns[header.phases] if header.phases is not None else None
        parts, epochs = [], []
        for names, numbers, index in _shapes(header, values, texts, count):
            parts.append(Part(names, _chosen(rows, index), _chosen(ts, index), _chosen(steps, index),
                              [array("d", _chosen(column, index)) for column in numbers]))
            counted = values.get(header.epochs)
            epochs.append(counted if counted is None
                          else [math.nan if epoch is None else epoch for epoch in _chosen(counted, index)])
        return self._steps.settle(parts, epochs)

    def _times(self, columns, values, count):
        """Return the rows' times (Unix seconds), 0.0 each if the table has none."""
        position = self._header.times
        if self._timed is None:
            self._timed = position is not None and seconds(decoded(columns[position][0].strip())) is not None
        if not self._timed or position is None:
            return [self._ts] * count
        numbers = values.pop(position)
        if None not in numbers and all(map(plausible, numbers)):
            self._ts = numbers[-1]
            return list(numbers)
        ts = []
        for cell in columns[position]:
            moment = seconds(decoded(cell.strip()))
            self._ts = self._ts if moment is None else moment
            self._has_naive = self._has_naive or naive(cell)
            ts.append(self._ts)
        return ts


def _values(cells, is_strict):
    """Return the numbers of `cells` (bytes): array('d'), or a list with None for what is no number."""
    if not is_strict:
        try:
            return ([float(cell) if cell else None for cell in cells] if b"" in cells
                    else array("d", map(float, cells)))
        except ValueError:
            pass                                        # a text among them
    return [number(cell) for cell in cells]


def _has_text(numbers, cells):
    return type(numbers) is list and any(number is None and cell.strip()
                                         for number, cell in zip(numbers, cells))


def _steps(numbers):
    """Return steps as int where they are whole; NaN where there is none."""
    if type(numbers) is array and math.isfinite(sum(numbers)):
        steps = list(map(int, numbers))
        if sum(steps) == sum(numbers) and abs(sum(steps)) < STEP_LIMIT and array("d", steps) == numbers:
            return steps
    return [whole(step) if step is not None and math.isfinite(step) else math.nan for step in numbers]


def _chosen(column, index):
    return column if index is None else [column[position] for position in index]


def _shapes(header, values, texts, count):
    """Yield (names, columns, places of the rows or None for all) for the rows that have the same metrics."""
    partial = [position for position, numbers in values.items() if type(numbers) is list and None in numbers]
    partial = [position for position in partial if any(value is not None for value in values[position])]
    full = [position for position, numbers in values.items() if type(numbers) is array or None not in numbers]
    masks = [[value is not None for value in values[position]] for position in partial]
    prefixes = [_prefix(text) for text in texts] if texts is not None else None
    if not masks and prefixes is None:
        if full:
            yield (tuple(header.names[position] for position in full),
                   [values[position] for position in full], None)
        return
    shapes = {}
    for index, key in enumerate(zip(*masks, prefixes or [""] * count)):
        shapes.setdefault(key, []).append(index)
    for key, index in shapes.items():
        places = sorted([*full, *(position for position, present in zip(partial, key) if present)])
        if places:
            yield (tuple(key[-1] + header.names[position] for position in places),
                   [values[position] for position in places], index)


def _prefix(text):
    text = decoded(text).strip()
    return f"{text}/" if text.lower() in PHASE_NAMES else ""


def _records(block, start):
    """Yield (end, whether it is whole) of each record of `block` behind `start`; one of several lines has
    OPEN_LIMIT bytes at most."""
    begin = start
    while True:
        line_end = block.find(b"\n", begin) + 1
        end, quotes = line_end, block.count(b'"', begin, line_end) if line_end else 0
        while end and quotes % 2 and end - begin <= OPEN_LIMIT:
            more = block.find(b"\n", end) + 1
            quotes += block.count(b'"', end, more) if more else 0
            end = more
        if not line_end or not end and len(block) - begin <= OPEN_LIMIT:
            return
        is_whole = end and quotes % 2 == 0 and (end == line_end or end - begin <= OPEN_LIMIT)
        # a quote that does not end is damage: only its line is lost
        begin = end if is_whole else line_end
        yield begin, bool(is_whole)
