"""Whether a text file is the log of a training, by its first and last bytes: the one rule for who lists it
and who reads it. Opens no file; Python 3.6 is enough."""

import collections
import csv
import json
import math
import re

LINES = 5                   # on which a name with a number stands in a text log, at least
LINE = 4096                 # bytes of a line that are looked at

# Tables. Names of columns without case, blanks and signs.
STEP_COLUMNS = ("globalstep", "step", "steps", "totalsteps", "trainstep", "iter", "iters", "iteration",
                "iterations", "itr", "globaliter", "globaliteration", "traininfoglobalstep", "totaltimesteps",
                "timestepstotal", "timesteps", "trainingiteration", "update", "updates")
EPOCH_COLUMNS = ("epoch", "epochs", "epochnumber", "currentepoch")
TIME_COLUMNS = ("time", "timestamp", "walltime", "datetime", "date", "ts", "createdat")
PHASE_COLUMNS = ("mode", "phase", "split", "stage", "subset")
# Of a counter: time/total_timesteps, not loss/epoch
OWNERS = {"", "train", "trainer", "training", "time", "global", "progress"}
JUDGED = 200                # lines of a table, its header among them
SEPARATORS = b",;\t"
COLUMNS = 1000              # a table of more is a data set
# Names in the first 4,096 bytes of a longer header; those of more are shorter than metrics have
SHORT = 400
CELL = 64                   # bytes; a longer cell is no number
NUMBER = re.compile(rb"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|infinity)", re.IGNORECASE)
STEPPED = re.compile(rb'(?:^|[,;\t])\s*"?(?:global_?step|step|iteration|epoch)"?\s*[,;\t]', re.I)

# Lines of JSON.
STEP_KEYS = ("step", "_step", "global_step", "trainer/global_step", "iter", "iteration")
EPOCH_KEY = "epoch"
COUNTERS = {*STEP_KEYS, EPOCH_KEY}
DEPTH = 8                   # of objects in objects
TEXT = 0.8                  # of the bytes; lines of more text are a data set
STEP_KEY = re.compile(rb'"(?:_?step|global_step|iter|iteration|epoch)"\s*:\s*-?\d')
NUMBERS = re.compile(rb'":\s*"?(?:-?\d|NaN|-?Infinity)')

PAIR = re.compile(
    rb"""([A-Za-z_][\w/.@-]{0,60}(?:["']?[ \t]*[=:][ \t]*["']?|(?<=loss|.ppl|.acc|..lr)[ \t]+))"""
    rb"(-?\d+\.\d+(?:[eE][-+]?\d+)?|-?\d+(?:\.\d+)?[eE][-+]?\d+|nan|inf)(?![\w.])", re.I)


def kind_by_content(kind, head, tail):
    """Return the kind of a text file (str), or None where it is no log of a training.

    kind: what its name speaks of ("csv", "jsonl" or "log"); head, tail: its first 4,096 bytes and its last,
    some more.
    """
    head = head[3:] if head.startswith(b"\xef\xbb\xbf") else head
    if kind in ("csv", "log") and _is_table(head):
        return "csv"
    if kind == "jsonl":
        return kind if _is_json_log(head) or _is_json_log(tail.partition(b"\n")[2]) else None
    return kind if kind == "log" and (_has_pairs(tail) or _has_pairs(head)) else None


def _lines(head):
    """Return the complete lines (list of bytes) of the first bytes of a text file; none of another file."""
    if b"\0" in head.rstrip(b"\0"):
        return []
    return [line.rstrip(b"\r") for line in head[:head.rfind(b"\n") + 1].split(b"\n") if line.strip()]


# -- tables --------------------------------------------------------------------------------------------------

def _is_table(head):
    """Whether a file is a table of a training: it has a column of steps or epochs, which go up, and one of
    numbers."""
    lines = [line for line in _lines(head) if not line.startswith(b"#")][:JUDGED]
    # a header of more than that, or one whose newline is still to come
    if not lines:
        return b"\0" not in head and 20 < head.count(b",") < SHORT and STEPPED.search(head) is not None
    header = Header.of(lines[0])
    if header is None:
        return False
    try:
        cells = csv.reader([decoded(line) for line in lines[1:]], delimiter=chr(header.separator))
        rows = [row for row in cells if len(row) == len(header.names)]
    except csv.Error:
        return False
    if len(rows) < 2:
        return len(lines) == len(rows) + 1 and all(not cell.strip() or number(cell.encode()) is not None
                                                   for row in rows for cell in row)
    return len(rows) > 0.8 * len(lines) - 2 and header.has_numbers(rows) and header.rises(rows)


class Header:
    """The columns of a table: `names`, the one of `steps`, of `epochs`, of `times` and of `phases` (places,
    or None)."""

    def __init__(self, names, separator):
        self.names, self.separator = names, separator
        plain = [_plain(name) for name in names]
        self.steps, self.epochs, self.times, self.phases = (
            next((plain.index(word) for word in words if word in plain), None)
            for words in (STEP_COLUMNS, EPOCH_COLUMNS, TIME_COLUMNS, PHASE_COLUMNS))
        if self.steps is None:
            self.steps, self.epochs = self.epochs, None

    @classmethod
    def of(cls, line):
        """Return the Header that `line` (bytes) is, or None if it is none of a training."""
        separator = max(SEPARATORS, key=lambda byte: line.count(byte))
        try:
            names = [name.strip() for name in next(csv.reader([decoded(line)], delimiter=chr(separator)), [])]
        except csv.Error:
            return None
        if not 2 <= len(names) <= COLUMNS or any(NUMBER.fullmatch(name.encode()) for name in names):
            return None
        header = cls(_distinct(names), separator)
        return header if header.steps is not None else None

    def is_metric(self, position):
        """Whether the column's numbers are a metric."""
        return position not in (self.steps, self.phases) and bool(self.names[position])

    def has_numbers(self, rows):
        """Whether most cells of `rows` (lists of str) are numbers, and some of them of a metric."""
        cells = [(position, cell.strip()) for row in rows
                 for position, cell in enumerate(row) if position not in (self.phases, self.times)]
        numbers = [position for position, cell in cells if number(cell.encode()) is not None]
        return 2 * len(numbers) >= sum(bool(cell) for _, cell in cells) and any(
            position not in (self.steps, self.epochs) and self.is_metric(position) for position in numbers)

    def rises(self, rows):
        """Whether the steps of `rows` (lists of str) go up, as those of a training do, from zero again in
        each epoch at most."""
        steps = [number(row[self.steps].encode()) for row in rows]
        epochs = [number(row[self.epochs].encode()) for row in rows] if self.epochs is not None else []
        steps, epochs = ([step for step in steps if step is not None],
                         [epoch for epoch in epochs if epoch is not None])
        falls = sum(after < before for before, after in zip(steps, steps[1:]))
        if len(steps) < 0.5 * len(rows) or any(step < 0 or self.epochs is not None and not step.is_integer()
                                               for step in steps):
            return False
        rises = len(set(steps)) > 1 or len(rows) < 4
        in_epochs = len(set(epochs)) > 1 and epochs == sorted(epochs) and falls < len(set(epochs))
        return rises and (falls <= len(steps) // 10 or in_epochs) or in_epochs


def _plain(name):
    owner, _, last = name.lower().rpartition("/")
    return re.sub(r"[\s_-]+", "", last) if owner in OWNERS else ""


def _distinct(names):
    """Return `names` with a number behind what stands there already, as pandas does."""
    distinct = {}
    for name in names:
        candidate, count = name, 0
        while candidate in distinct and name:
            count += 1
            candidate = f"{name}.{count}"
        distinct[candidate if name else object()] = name and candidate
    return list(distinct.values())


def number(cell):
    """Return the float that a cell (bytes) stands for, or None. What only Python takes for a number (1_000)
    is text."""
    cell = cell.strip()
    return float(cell) if len(cell) <= CELL and NUMBER.fullmatch(cell) else None


def decoded(line):
    """Return bytes as text: UTF-8, else Latin-1, which any bytes are."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


# -- lines of JSON -------------------------------------------------------------------------------------------

def _is_json_log(text):
    """Whether the first lines of a file, or its last, are objects that count and hold a number."""
    lines = _lines(text)
    if not lines:
        return text.startswith(b"{") and STEP_KEY.search(text) is not None and len(NUMBERS.findall(text)) > 1
    objects = [entry for entry in map(_object, lines) if entry is not None]
    rows = [entry for entry in objects if any(is_count(entry.get(key)) for key in COUNTERS)
            and _has_number(entry, DEPTH)]
    torn = len(lines) - len(objects)                    # one where a training was killed, and went on
    if not rows or torn > (len(rows) > 2) or 2 * len(rows) < len(objects):
        return False
    if sum(len(text) for entry in objects for text in _texts(entry, DEPTH)) > TEXT * sum(map(len, lines)):
        return False
    steps = [next(entry[key] for key in [*STEP_KEYS, EPOCH_KEY] if is_count(entry.get(key)))
             for entry in rows]
    return len(set(steps)) > 1 or len(rows) < 5


def _object(line):
    try:
        entry = json.loads(decoded(line))
    except (ValueError, RecursionError):
        return None
    return entry if type(entry) is dict else None


def is_count(value):
    """Whether a value of JSON may be a step or an epoch."""
    return type(value) in (int, float) and abs(value) < math.inf


def _has_number(entry, depth):
    """Whether an object holds a number that is no counter."""
    return any(type(value) in (int, float) and key not in COUNTERS or type(value) is dict and depth
               and _has_number(value, depth - 1) for key, value in entry.items())


def _texts(entry, depth):
    for value in entry.values() if type(entry) is dict else entry:
        if type(value) is str:
            yield value
        elif type(value) in (dict, list) and depth:
            yield from _texts(value, depth - 1)


# -- other text ----------------------------------------------------------------------------------------------

def _has_pairs(text):
    """Whether a name stands with numbers, not always the same, on LINES lines at least."""
    counts, values = collections.Counter(), {}
    for line in re.split(rb"[\r\n]+", text):
        pairs = dict(PAIR.findall(line[:LINE]))
        counts.update(pairs.keys())
        for name, value in pairs.items():
            values.setdefault(name, set()).add(value)
    return any(count >= LINES and len(values[name]) > 1 for name, count in counts.items())
