"""One table out of many configs (or summaries): which of their values have a column, and of what type. Pure;
bounded whatever is in them.

Names are joined as in the run list: `model.layers`, `val/loss`. A list is its JSON text. What has no column
is told as JSON, in one text.
"""

from typing import NamedTuple

from runicorn import layout
from runicorn.surrogates import visible

COLUMNS = 500               # of a config, and of a summary: those that most runs have
NAMES, NAMES_OF_PART = 20_000, 5000     # that are counted in all, and of a part of the runs
NAME_LENGTH = 200           # characters; a longer name has no column
LEVELS = 8                  # of objects within objects; what is deeper is JSON
EXACT = 1 << 53             # integers up to it are exact as float64
TEXT, LIST, BOOL, INT, LONG_INT, HUGE_INT, FLOAT, NOT_FINITE = (1 << bit for bit in range(8))
WORDS = {TEXT: "text", LIST: "lists", BOOL: "booleans", INT: "integers", LONG_INT: "integers beyond 2^53",
         HUGE_INT: "integers beyond 64 bits", FLOAT: "fractions", NOT_FINITE: "NaN or infinities"}


class Column(NamedTuple):
    """`name`; `type`: "bool", "int64", "double" or "string"; `runs`: how many have it; `kinds`: of its
    values, or-ed."""

    name: str
    type: str
    runs: int
    kinds: int


class Tally:
    """Counts the names in many flat documents. `counts` is {name: [runs, kinds]}, at most `limit` names:
    those of most runs stay."""

    def __init__(self, counts=(), limit=NAMES_OF_PART):
        self.counts, self._limit = dict(counts), limit

    def add(self, flat):
        """Count the values (dict by name, as `flattened` returns) of one run."""
        self.merge({name: (1, kind(value)) for name, value in flat.items()})

    def merge(self, counts):
        """Count what another Tally counted."""
        for name, (runs, kinds) in counts.items():
            count = self.counts.setdefault(name, [0, 0])
            count[0] += runs
            count[1] |= kinds
        if len(self.counts) > 2 * self._limit:
            self.counts = self.top()

    def top(self):
        """Return the `counts` that stay."""
        if len(self.counts) <= self._limit:
            return self.counts
        return dict(sorted(self.counts.items(), key=lambda item: -item[1][0])[:self._limit])

    def columns(self, most=COLUMNS):
        """Return the Columns (list, by name): of names that differ in case only, which engines take for one,
        that of most runs."""
        columns, column_names = [], set()
        for name, (runs, kinds) in sorted(self.counts.items(), key=lambda item: (-item[1][0], item[0])):
            folded = name.casefold()
            if (len(columns) < most and len(name) <= NAME_LENGTH and name.isprintable()
                    and folded not in column_names):
                column_names.add(folded)
                columns.append(Column(name, type_of(kinds), runs, kinds))
        return sorted(columns)


def flattened(document, joint):
    """Return ({name: value}, {name: value}) of a document (dict of JSON values): its values by joined names,
    plain ones and texts as they are, lists as they are; and those whose joined name another one has
    already."""
    flat, twins, ahead = {}, {}, [("", document, LEVELS)] if isinstance(document, dict) else []
    while ahead:
        prefix, value, levels = ahead.pop()
        for key, item in value.items():
            name = prefix + visible(key)
            if type(item) is dict and item and levels:
                ahead.append((name + joint, item, levels - 1))
            else:
                (twins if name in flat else flat)[name] = item
    return flat, twins


def kind(value):
    """Return the kind of a JSON value: one of TEXT … NOT_FINITE, 0 for null."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT if -EXACT <= value <= EXACT else LONG_INT if -1 << 63 <= value < 1 << 63 else HUGE_INT
    if isinstance(value, float):
        return FLOAT if value - value == 0 else NOT_FINITE
    if isinstance(value, str):
        return NOT_FINITE if value in ("NaN", "Infinity", "-Infinity") else TEXT
    return LIST


def type_of(kinds):
    """Return the type that all values of these kinds have in common: numbers are never rounded for it."""
    if kinds and not kinds & ~BOOL:
        return "bool"
    if kinds and not kinds & ~(INT | LONG_INT):
        return "int64"
    return "double" if kinds and not kinds & ~(INT | FLOAT | NOT_FINITE) else "string"


def clash(column):
    """Return what was unified in a Column (str: "integers and fractions become double"), None where all its
    values are of one kind."""
    kinds = column.kinds & ~NOT_FINITE if column.kinds & ~NOT_FINITE else column.kinds
    if column.type in ("bool", "int64") or not kinds & (kinds - 1):
        return None
    names = [word for bit, word in WORDS.items() if kinds & bit]
    return f"{', '.join(names[:-1])} and {names[-1]} become {column.type}"


def row(document, joint, columns):
    """Return ([value for each of `columns`], JSON text of what has none or None) of one document. columns:
    list of Column."""
    flat, remaining = flattened(document, joint)
    cells = []
    for column in columns:
        value = flat.pop(column.name, None)
        cell = cell_of(value, column.type)
        if value is not None and cell is None:
            remaining[column.name] = value          # of a type that nobody had when types were counted
        cells.append(cell)
    remaining.update(flat)
    return cells, visible(layout.to_json(remaining)) if remaining else None


def cell_of(value, type):
    """Return a JSON value as a cell of a column of some type, None for null and for what does not fit it."""
    of = kind(value)
    if type == "string":
        return (None if value is None else visible(value) if isinstance(value, str)
                else visible(layout.to_json(value)))
    if type == "double":
        return layout.number(value) if of & (INT | FLOAT | NOT_FINITE) else None
    return value if of & (BOOL if type == "bool" else INT | LONG_INT) else None
