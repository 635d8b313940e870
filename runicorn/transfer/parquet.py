"""The files of a dataset in Apache Parquet: points in row groups of a million, and the table of runs. The one
module that imports pyarrow.

A file of points says in its footer, under "runicorn", which runs it holds, of which state of their files, and
how many points of each.
"""

import io
import json
from array import array

from runicorn.errors import MissingPackageError

try:
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet
except ImportError as error:
    raise MissingPackageError(
        f"a Parquet dataset needs the Python package pyarrow ({error}): pip install "
        f"'pyarrow >= 16'") from error

# The others keep what a row group took: 40 MB more for the whole export
pyarrow.set_memory_pool(pyarrow.system_memory_pool())

GROUP = 1_000_000           # rows of a row group
TEXT_BYTES = 64 << 20       # of texts that a row group holds at most
NOTE = b"runicorn"          # key of what a file of points says of itself
NO_ATTEMPT = -1
OF_RUN = ("connection", "project", "name", "run")
# While it is written; in the file it is a string
INDEXED = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
POINTS = [("connection", INDEXED), ("project", INDEXED), ("name", INDEXED), ("run", INDEXED),
          ("attempt", pyarrow.int32()), ("rank", pyarrow.int32()), ("superseded", pyarrow.bool_()),
          ("step", pyarrow.float64()), ("ts", pyarrow.float64()), ("metric", INDEXED),
          ("value", pyarrow.float64()), ("text", pyarrow.string())]
RUNS = {"id": "string", "connection": "string", "project": "string", "name": "string", "state": "string",
        "user": "string", "host": "string", "group": "string", "job_type": "string", "tags": "list",
        "note": "string", "kinds": "list", "created": "double", "started": "double", "ended": "double",
        "duration": "double", "attempts": "int64", "points": "int64", "skipped": "int64", "folder": "string",
        "error": "string"}
TYPES = {"string": pyarrow.string(), "list": pyarrow.list_(pyarrow.string()), "double": pyarrow.float64(),
         "int64": pyarrow.int64(), "bool": pyarrow.bool_()}


def point_types():
    """Return {column: type} of the points, as words."""
    return {name: "string" if kind == INDEXED else str(kind) for name, kind in POINTS}


def _options(strings):
    """Return how files are written: strings by a dictionary; no types but Parquet's own, which every engine
    reads alike."""
    return {"compression": "zstd", "use_dictionary": strings, "store_schema": False, "write_statistics": True}


class _Sink(io.RawIOBase):
    """An open binary file that can be given up: what a writer still has to say then goes nowhere."""

    def __init__(self, file):
        super().__init__()
        self._file, self._gone = file, False

    def writable(self):
        return True

    def write(self, data):
        return len(data) if self._gone else self._file.write(data)

    def give_up(self):
        """Take no more."""
        self._gone = True


# -- points --------------------------------------------------------------------------------------------------

class PointsFile:
    """Writes a file of points into an open binary file. Rows are gathered in arrays and written a row group
    at a time, so memory stays flat; nothing is whole before `close`."""

    def __init__(self, file):
        schema = pyarrow.schema(POINTS)
        self._schema, self._sink = schema, _Sink(file)
        self._writer = pyarrow.parquet.ParquetWriter(self._sink, schema,
                                                     **_options([name for name, kind in POINTS
                                                                 if kind == INDEXED]))
        self._runs, self.rows = [], 0
        self._metrics = {}              # name -> its number
        self._begin()

    def _begin(self):
        self._run, self._attempt, self._rank, self._metric = (array("i") for _ in range(4))
        self._superseded, self._step, self._ts, self._value = bytearray(), array("d"), array("d"), array("d")
        # Row -> its text; rows that have no number
        self._texts, self._text_bytes, self._without = {}, 0, set()

    def begin_run(self, *identity):
        """Say whose points come now: their OF_RUN (str)."""
        self._runs.append(identity)

    def add(self, chunk):
        """Append the points of a points.Chunk."""
        count, width = len(chunk.steps), len(chunk.names)
        numbers = array("i", [self._metrics.setdefault(name, len(self._metrics)) for name in chunk.names])
        # a wide row costs nothing for each of its metrics
        if chunk.cells is not None and width > count:
            self._value.extend(chunk.cells)
            self._metric.extend(numbers * count)
            for step, ts in zip(chunk.steps, chunk.ts):
                self._step.extend(array("d", [step]) * width)
                self._ts.extend(array("d", [ts]) * width)
        else:
            columns = chunk.columns if chunk.cells is None else [chunk.cells[index::width]
                                                                 for index in range(width)]
            for number, column in zip(numbers, columns):
                self._value.extend(column)
                self._metric.extend(array("i", [number]) * count)
                self._step.extend(chunk.steps)
                self._ts.extend(chunk.ts)
        flags = chunk.superseded
        self._superseded += bytes([flags]) * (count * width) if isinstance(flags, bool) else flags * width
        self._same(chunk, count * width)

    def add_texts(self, chunk):
        """Append the points of a points.TextChunk."""
        for text, superseded in chunk.texts:
            row = len(self._value)
            self._texts[row] = text.text
            self._text_bytes += len(text.text)
            if text.value is None:
                self._without.add(row)
            self._value.append(0.0 if text.value is None else text.value)
            self._metric.append(self._metrics.setdefault(text.name, len(self._metrics)))
            self._step.append(text.step)
            self._ts.append(text.ts)
            self._superseded.append(superseded)
            self._same(chunk, 1)

    def _same(self, chunk, count):
        """Append what all of the last `count` points have in common; write what is full."""
        self.rows += count
        for column, value in ((self._run, len(self._runs) - 1), (self._rank, chunk.rank),
                              (self._attempt, NO_ATTEMPT if chunk.attempt is None else chunk.attempt)):
            column.extend(array("i", [value]) * count)
        while len(self._value) >= GROUP or self._text_bytes > TEXT_BYTES:
            self._write(min(GROUP, len(self._value)))

    def close(self, note):
        """Write the rest and the footer. note: what the file says of itself (dict of JSON values)."""
        if len(self._value):
            self._write(len(self._value))
        self._writer.add_key_value_metadata({NOTE: json.dumps(note, separators=(",", ":")).encode()})
        self._writer.close()

    def abandon(self):
        """Give up what was written."""
        self._sink.give_up()
        self._writer.close()

    def _write(self, count):
        """Write the first `count` rows as a row group; keep the others."""
        names, later = list(self._metrics), [column[count:] for column in self._columns()]
        for column in self._columns():
            del column[count:]
        texts = {row - count: text for row, text in self._texts.items() if row >= count}
        without = {row - count for row in self._without if row >= count}
        self._writer.write_table(self._table(names, count), row_group_size=count)
        self._begin()
        self._runs = self._runs[-1:]
        for column, values in zip(self._columns(), later):
            column.extend(values)
        self._run = array("i", [0]) * len(self._value)          # what is left is of one chunk
        self._metrics = {}
        self._metric = array("i", [self._metrics.setdefault(names[number], len(self._metrics))
                                   for number in self._metric])
        self._texts, self._without, self._text_bytes = texts, without, sum(map(len, texts.values()))

    def _columns(self):
        return (self._run, self._attempt, self._rank, self._metric, self._superseded, self._step, self._ts,
                self._value)

    def _table(self, names, count):
        run, attempt, rank, metric, superseded, step, ts, value = self._columns()
        run, attempt, value = _integers(run), _integers(attempt), _doubles(value)
        if NO_ATTEMPT in self._attempt:
            attempt = pyarrow.compute.if_else(pyarrow.compute.equal(attempt, NO_ATTEMPT), None, attempt)
        if self._without:
            value = pyarrow.compute.if_else(pyarrow.array([row in self._without for row in range(count)]),
                                            None, value)
        text = (pyarrow.array([self._texts.get(row) for row in range(count)], pyarrow.string()) if self._texts
                else pyarrow.nulls(count, pyarrow.string()))
        identities = [_indexed(run, [identity[index] for identity in self._runs])
                      for index in range(len(OF_RUN))]
        flags = _from(superseded, pyarrow.uint8(), count).cast(pyarrow.bool_())
        return pyarrow.Table.from_arrays([*identities, attempt, _integers(rank), flags, _doubles(step),
                                          _doubles(ts), _indexed(_integers(metric), names), value, text],
                                         schema=self._schema)


def _from(values, kind, count):
    return pyarrow.Array.from_buffers(kind, count, [None, pyarrow.py_buffer(values)])


def _integers(values):
    return _from(values, pyarrow.int32(), len(values))


def _doubles(values):
    return _from(values, pyarrow.float64(), len(values))


def _indexed(numbers, words):
    """Return the words (str) that some numbers (an Arrow array) stand for, by a dictionary of those that
    occur, each once."""
    dictionary, places = {}, [0] * len(words)
    for number in numbers.unique().to_pylist():
        places[number] = dictionary.setdefault(words[number], len(dictionary))
    indexes = pyarrow.compute.take(pyarrow.array(places, pyarrow.int32()), numbers)
    return pyarrow.DictionaryArray.from_arrays(indexes, pyarrow.array(list(dictionary), pyarrow.string()))


def note_of(path):
    """Return what a file of points says of itself (dict), None where it is no whole file of ours."""
    try:
        metadata = pyarrow.parquet.read_metadata(path).metadata or {}
        note = json.loads(metadata[NOTE])
    except (OSError, KeyError, ValueError, pyarrow.ArrowException):
        return None
    return note if isinstance(note, dict) else None


# -- runs ----------------------------------------------------------------------------------------------------

class RunsFile:
    """Writes the table of runs into an open binary file. columns: {name: a type as in RUNS}, all of them."""

    def __init__(self, file, columns):
        self._schema = pyarrow.schema([(name, TYPES[kind]) for name, kind in columns.items()])
        strings = [name if kind == "string" else f"{name}.list.element"
                   for name, kind in columns.items() if kind in ("string", "list")]
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, **_options(strings))

    def add(self, rows):
        """Append rows (list of lists of values, in the order of the columns) as a row group."""
        columns = [pyarrow.array(list(cells), kind) for cells, kind in zip(zip(*rows), self._schema.types)]
        self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))

    def add_file(self, path):
        """Append the rows of another such file, one row group at a time."""
        with pyarrow.parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                self._writer.write_table(file.read_row_group(group).cast(self._schema))

    def close(self):
        """Write the footer."""
        self._writer.close()
