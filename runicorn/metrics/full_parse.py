"""Lines of events.jsonl with all that they say: beside the numbers, which `parse` reads, texts, lists, and
integers that no float64 holds. Opens no file."""

import re
from typing import NamedTuple

from runicorn import layout
from runicorn.metrics.kinds import events
from runicorn.metrics.parse import Parser, event_row
from runicorn.surrogates import visible

EXACT = 1 << 53             # integers beyond it have neighbours that are the same float64
LONG_INTEGER = re.compile(rb"[:,\[]-?\d{16,}[\],}]")       # what may be one


class Text(NamedTuple):
    """One value of a row that a float64 does not say whole. `row`: line number; `text`: a text as logged, a
    list or an object as JSON, of an integer its digits; `value`: the float next to such an integer, else
    None."""

    row: int
    ts: float
    step: float
    name: str
    value: float
    text: str


class FullParser(Parser):
    """A parse.Parser that keeps what `parse` passes over, for the caller to take. An integer beyond 2^53 is
    in no Part."""

    def __init__(self, row=event_row, lines=0, skipped=0):
        super().__init__(row, lines, skipped)
        self._texts = []

    def take_texts(self):
        """Return the Texts of what was parsed since last asked (list)."""
        texts, self._texts = self._texts, []
        return texts

    def parse(self, block):
        start, skipped, ts = self.lines, self.skipped, self._ts
        parts = super().parse(block)
        if (any(not sum(map(abs, column)) < EXACT for part in parts for column in part.columns)
                and LONG_INTEGER.search(block)):
            self._texts = [text for text in self._texts if text.row < start]
            self.skipped, self._ts = skipped, ts
            lines = block.split(b"\n")
            lines.pop()
            parts = [part._replace(names=tuple(map(visible, part.names)))
                     for part in self._by_json(lines, range(len(lines)), start)]
        return parts

    def clean(self, ts, step, data, line_number):
        numbers = {name: value for name, value in data.items() if not _is_long(value)}
        ts, step, numbers = super().clean(ts, step, numbers, line_number)
        for name, value in data.items():
            if name not in numbers and value is not None:
                self._texts.append(Text(line_number, ts, step, visible(name),
                                        layout.number(value) if _is_long(value) else None,
                                        visible(value if type(value) is str else layout.to_json(value))))
        return ts, step, numbers


def _is_long(value):
    return type(value) is int and not -EXACT <= value <= EXACT and _as_float(value) != value


def _as_float(value):
    try:
        return float(value)
    except OverflowError:
        return None


class FullReader(events.Reader):
    """An events.Reader of a FullParser."""

    def __init__(self, state=None):
        super().__init__(state)
        self._parser = FullParser(**(state or {}))

    def take_texts(self):
        """Return the Texts of what was read since last asked (list)."""
        return self._parser.take_texts()


