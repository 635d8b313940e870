"""A run in another format, as pieces of bytes: CSV, TensorBoard, a report. Names no file and writes none.

What a later attempt logged again is left out; a row is what one call of `log` wrote.
"""

import io
import math
import zipfile
from itertools import chain

from runicorn import report, tfevents
from runicorn.errors import UsageError

PIECE_ROWS = 2000           # rows put together before they are handed on: about 200 KB
FORMATS = ("csv", "tensorboard", "html")


def stream(reader, key, format, long=False):
    """Return an iterator of bytes: the run `key` of a reader.Reader as "csv", "tensorboard" (a zip with the folder TensorBoard
    wants) or "html". Raises UsageError for another format, NotFoundError, and DataError while the run is not all here."""
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")
    run, series = reader.run(key), reader.series(key)
    if format == "csv":
        pieces = csv(series, long)
    elif format == "html":
        pieces = html([(run, series)])
    else:
        pieces = _zipped(f"{run['id']}/{tensorboard_name(run)}", tensorboard(series, run))
    return chain([next(pieces)], pieces)        # what can't be exported is told here, not in the middle of a download


def html(runs):
    """Yield a report of the runs, [(run as Reader.run tells it, Series), …], as one HTML page that needs no network."""
    return report.page(runs)


# -- CSV (RFC 4180, with "\n") ----------------------------------------------------------------------------------------

def csv(series, long=False):
    """Yield the rows of a Series as CSV in UTF-8: step, ts (Unix seconds), rank if there are several, and a column a metric.

    long: a line for each value instead: metric, rank, step, ts, value. Every float64 reads back bit by bit; NaN and the
    infinities are NaN, Infinity and -Infinity; what a row does not have is empty. Raises DataError.
    """
    series.refresh()
    names, ranks = list(series.metrics()), series.ranks
    line = _long_line() if long else _wide_line(names, len(ranks) > 1)
    head = ["metric", "rank", "step", "ts", "value"] if long else ["step", "ts", *(["rank"] if len(ranks) > 1 else []), *names]
    lines = [",".join(map(_quoted, head)) + "\n"]
    for rank in ranks:
        for row in series.each_row(rank):
            lines.append(line(rank, *row))
            if len(lines) >= PIECE_ROWS:
                yield "".join(lines).encode("utf-8", "replace")
                lines.clear()
    yield "".join(lines).encode("utf-8", "replace")


def _wide_line(names, ranked):
    """Return a function from a row to its line; `names` are the columns, in order."""
    places, layouts = {name: place for place, name in enumerate(names)}, {tuple(names): None}

    def line(rank, step, ts, have, values):
        cells = list(map(repr, values))
        if have not in layouts:         # a metric first logged after the head was written goes into a column that is cut off
            layouts[have] = [places.get(name, len(names)) for name in have]
        where = layouts[have]
        if where is not None:
            told, cells = cells, [""] * (len(names) + 1)
            for place, cell in zip(where, told):
                cells[place] = cell
            cells.pop()
        text = ",".join(cells)
        return f"{step},{ts!r},{f'{rank},' if ranked else ''}{_finite(text) if 'n' in text else text}\n"
    return line


def _long_line():
    quoted = {}

    def line(rank, step, ts, have, values):
        for name in have:
            if name not in quoted:
                quoted[name] = _quoted(name)
        return "".join([f"{quoted[name]},{rank},{step},{ts!r},{repr(value) if math.isfinite(value) else _finite(repr(value))}\n"
                        for name, value in zip(have, values)])
    return line


def _finite(text):
    """Return cells with Python's nan and inf as JSON and everybody else spell them."""
    return text.replace("nan", "NaN").replace("inf", "Infinity")


def _quoted(text):
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


# -- TensorBoard ------------------------------------------------------------------------------------------------------

def tensorboard(series, run):
    """Yield the bytes of one TensorBoard event file: every row of a Series, and the run's config as hyperparameters.

    run: as Reader.run tells it ("config", "started", "ended", "state" are read). Values become float32, TensorBoard's own
    precision; a metric of another rank is tagged "rank3/loss". Raises DataError.
    """
    series.refresh()
    first = run.get("started") or series.first_ts or 0.0
    config = {name: value for name, value in report.flattened(run.get("config") or {}).items() if value is not None}
    yield tfevents.opening(first) + b"".join(tfevents.hparams(config, series.metrics(), first, run.get("ended"), run.get("state")))
    scalars = tfevents.Scalars()
    for rank in series.ranks:
        records, tags = [], {}
        for step, ts, names, values in series.each_row(rank):
            if names not in tags:
                tags[names] = tuple(f"rank{rank}/{name}" for name in names) if rank else names
            records.append(scalars.record(ts, step, tags[names], values))
            if len(records) >= PIECE_ROWS:
                yield b"".join(records)
                records.clear()
        yield b"".join(records)


def tensorboard_name(run):
    """Return the name of the event file in its folder; TensorBoard looks for "tfevents" in it."""
    return f"events.out.tfevents.{int(run.get('started') or 0)}.runicorn"


class _Pipe(io.RawIOBase):
    """What is written can be taken out again; no seeking, so that a zip is made as it goes."""

    def __init__(self):
        super().__init__()
        self._held = []

    def writable(self):
        return True

    def write(self, data):
        self._held.append(bytes(data))
        return len(data)

    def take(self):
        data = b"".join(self._held)
        self._held.clear()
        return data


def _zipped(name, pieces):
    """Yield a zip archive that holds `pieces` (bytes) as the file `name`."""
    pipe = _Pipe()
    archive = zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open(name, "w", force_zip64=True) as file:
        for piece in pieces:
            file.write(piece)
            yield pipe.take()
    yield pipe.take()
