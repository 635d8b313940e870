"""A run in another format, as pieces of bytes: CSV, TensorBoard, a report. Names no file and writes none.

What a later attempt logged again is left out; a row is what one call of `log` wrote.
"""

from __future__ import annotations

import io
import math
import zipfile
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING

from runicorn.errors import DataError, UsageError
from runicorn.layout import META
from runicorn.local_names import local_name
from runicorn.transfer import html_report
from runicorn.transfer import tensorboard as tfevents
from runicorn.transfer.rows import ForeignRows, JoinedRows, Rows, of_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runicorn.reader.catalog import Catalog

# Of a table with a column a metric, beyond which it may have so many cells a value at most
CELLS, SPARSE = 50_000_000, 50
FORMATS = ("csv", "tensorboard", "html")


def stream(reader, key, format, long=False):
    """Return an iterator of bytes: the run `key` of a catalog.Catalog as "csv", "tensorboard" (a zip with the
    folder TensorBoard wants) or "html". Raises UsageError for another format, NotFoundError, and DataError
    while the run is not all here."""
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")
    if format == "tensorboard":
        facts = told(reader, key)
        folder = local_name(facts["id"], hidden=False)         # a server may have made the id
        pieces = _zipped(f"{folder}/{tensorboard_name(facts)}", tensorboard(rows(reader, key), facts))
    else:
        pieces = csv(rows(reader, key), long) if format == "csv" else html(reader, [key])
    # What can't be exported is told here, not in the middle of a download
    return chain([next(pieces)], pieces)


def rows(reader: Catalog, key: str) -> ForeignRows | JoinedRows | Rows:
    """Return the rows of a run, which are as rows.Rows has them. Raises NotFoundError, and DataError while it
    is not all here; of one that still runs the server may have a little more."""
    entry = _all_here(reader, key)
    return ForeignRows(entry.new_series(None)) if entry.record.kinds else of_folder(entry.folder)


def told(reader, key):
    """Return what a TensorBoard log says of a run beside its rows (dict): "id", "config", "started", "ended",
    "state"."""
    entry = reader.entry(key)
    record, config = entry.record, reader.small(key)[META].get("config")
    return {"id": record.id, "started": record.started, "ended": record.finished, "state": entry.state(),
            "config": config or {}}


def html(reader: Catalog, keys: list[str]) -> Iterator[Any]:
    """Yield a report of the runs `keys` as one HTML page that needs no network. Raises as `rows` does."""
    return html_report.page([(reader.run(key), reader.series(key)) for key in keys if _all_here(reader, key)])


def _all_here(reader, key):
    entry = reader.entry(key)
    require_all_here(entry)
    return entry


def require_all_here(entry):
    """Raise DataError where the points of an Entry can't be told: of a newer format, or not all here yet."""
    if entry.record.newer:
        raise DataError(f"{entry.key} can't be exported: {entry.error()[1]}")
    if not entry.logged(to_end=bool(entry.record.ended)):
        raise DataError(f"{entry.key} is not all here yet; wait until it is synced, then try again")


# -- CSV (RFC 4180, with "\n") -------------------------------------------------------------------------------

def csv(rows: ForeignRows | JoinedRows | Rows, long: bool = False) -> Iterator[Any]:
    """Yield the rows of a rows.Rows as CSV in UTF-8: step, ts (Unix seconds), rank if there are several, and
    a column a metric.

    long: a line for each value instead: metric, rank, step, ts, value. Every float64 reads back bit by bit;
    NaN and the infinities are NaN, Infinity and -Infinity; what a row does not have is empty. Raises
    DataError.
    """
    count, values = rows.extent
    cells = count * len(rows.names)
    if not long and cells > max(CELLS, SPARSE * values):
        raise DataError(f"a table with a column for each of {len(rows.names):,} metrics would have "
                        f"{cells:,} cells for {values:,} values; "
                        "take the long one, a line for each value (--long)")
    ranked = len(rows.ranks) > 1
    head = ["metric", "rank", "step", "ts", "value"] if long else ["step", "ts",
                                                                   *(["rank"] if ranked else []), *rows.names]
    yield (",".join(map(_quoted, head)) + "\n").encode("utf-8", "replace")
    for rank in rows.ranks:
        lines = _long_lines(rank) if long else _wide_lines(rows.names, rank if ranked else None)
        for parts in rows.blocks(rank):
            yield "".join(_in_order([(part.rows, lines(part)) for part in parts])).encode("utf-8", "replace")


def _in_order(blocks):
    """Return what is told of the rows of a block in their order. blocks: [(line numbers, list of as
    many)]."""
    if len(blocks) == 1:
        return blocks[0][1]
    return map(itemgetter(1), sorted(chain.from_iterable(zip(*block) for block in blocks), key=itemgetter(0)))


def _wide_lines(names, rank):
    """Return a function from a Part to its lines (list of str); `names` are the columns, in order; rank: None
    for no such column."""
    forms = {}

    def lines(part):
        if part.names not in forms:     # a metric first logged after the head was written has no column
            columns = {name: index for index, name in enumerate(part.names)}
            cells = ",".join("%s" if name in columns else "" for name in names)
            forms[part.names] = (f"%s,%r,{'' if rank is None else f'{rank},'}{cells}\n",
                                 [columns[name] for name in names if name in columns])
        form, order = forms[part.names]
        return list(map(form.__mod__, zip(part.steps, part.ts,
                                          *[_cells(part.columns[index]) for index in order])))
    return lines


def _long_lines(rank):
    """Return a function from a Part to the lines of each of its rows (list of str)."""
    forms = {}

    def lines(part):
        if part.names not in forms:
            forms[part.names] = [_quoted(name).replace("%", "%%") + f",{rank},%s,%r,%s\n"
                                 for name in part.names]
        columns = [list(map(form.__mod__, zip(part.steps, part.ts, _cells(column))))
                   for form, column in zip(forms[part.names], part.columns)]
        return columns[0] if len(columns) == 1 else list(map("".join, zip(*columns)))
    return lines


def _cells(column):
    """Return numbers as cells: the shortest text that reads back the same, NaN and infinities as JSON and
    everybody else spell them."""
    cells = map(repr, column)
    return cells if math.isfinite(sum(column)) else [cell if cell[-1] not in "nf" else _finite(cell)
                                                     for cell in cells]


def _finite(cell):
    return cell.replace("nan", "NaN").replace("inf", "Infinity")


def _quoted(text):
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


# -- TensorBoard ---------------------------------------------------------------------------------------------

def tensorboard(rows, run):
    """Yield the bytes of one TensorBoard event file: every row of a rows.Rows, and the run's config as
    hyperparameters.

    run: as `told` tells it. Values become float32, TensorBoard's own precision; a metric of another rank is
    tagged "rank3/loss". Raises DataError.
    """
    started = run.get("started") or rows.first_ts or 0.0
    config = {name: value for name, value in html_report.flattened(run.get("config") or {}).items()
              if value is not None}
    yield tfevents.opening(started) + b"".join(
                                               tfevents.hparams(config, rows.names, started, run.get("ended"),
                                                                run.get("state")))
    scalars = tfevents.Scalars()
    for rank in rows.ranks:
        for parts in rows.blocks(rank):
            yield b"".join(_in_order([(part.rows, _records(scalars, part, rank)) for part in parts]))


def _records(scalars, part, rank):
    tags = tuple(f"rank{rank}/{name}" for name in part.names) if rank else part.names
    return [scalars.record(ts, step, tags, values)
            for ts, step, values in zip(part.ts, part.steps, zip(*part.columns))]


def tensorboard_name(run: dict[str, Any]) -> str:
    """Return the name of the event file in its folder; TensorBoard looks for "tfevents" in it."""
    return f"events.out.tfevents.{int(run.get('started') or 0)}.runicorn"


class _Pipe(io.RawIOBase):
    """What is written can be taken out again; no seeking, so that a zip is made as it goes."""

    def __init__(self):
        super().__init__()
        self._blocks = []

    def writable(self):
        return True

    def write(self, data):
        self._blocks.append(bytes(data))
        return len(data)

    def take(self):
        data = b"".join(self._blocks)
        self._blocks.clear()
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
