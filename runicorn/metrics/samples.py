"""A first picture of a huge file of metrics, of any kind: evenly spaced records of it, and its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn.layout import open_regular
from runicorn.metrics.columns import Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.metrics.kinds.events import Reader

# Of a huge file's first picture: a point for every pixel, five lines at a time
SAMPLES, SAMPLE_BYTES = 1500, 768
MOST = 5 << 18              # bytes of them all
ENDS = 64 << 10             # of its beginning and its end, read whole
BLOCK = 1 << 20             # that a reader is handed at once


def of(file):
    """Return a Table of a sample of what a column_file.File has parsed and has yet to, None of a kind
    without. Raises OSError."""
    if not file.reader.grid:
        return None
    with open(open_regular(file.path), "rb", buffering=0) as opened:
        def read(spans):
            return [opened.read(length) for offset, length in spans if opened.seek(offset) >= 0]
        return sample(read, file.position + file.behind, file.make(None))


def sample(read: Callable[..., Any], size: int, reader: Reader) -> Table:
    """Return a Table of evenly spaced records of a file, and of its first and last ones: a first picture of a
    huge file.

    read: called with a list of (offset, length), returns a list of bytes (it may be far away, so it is called
    only twice); size: of the file in bytes; reader: of its kind, at the beginning of a file.
    """
    grid = reader.grid
    tail_at = max(0, size - ENDS) // grid * grid
    head, tail = read([(0, min(size, ENDS)), (tail_at, size - tail_at)])
    head_records = reader.records(head, True)
    # Room for a whole record after a torn one
    width = max(SAMPLE_BYTES, 3 * len(head) // max(1, len(head_records)))
    between = max(0, tail_at - ENDS)
    count = min(SAMPLES, MOST // width, between // max(width, grid))
    spaced = read([((ENDS + between * k // count) // grid * grid, width) for k in range(count)])
    last = [tail] if size > ENDS else []
    records = [*head_records,
               *(record for piece in [*spaced, *last] for record in reader.records(piece, False))]
    return _table(reader, reader.framed(records))


def _table(reader, body):
    table, position, used = Table(reader.kind), 0, 1
    while used and position < len(body):
        used, parts = reader.take(body[position:position + BLOCK], len(body) - position)
        table.add(parts)
        position += used
    table.purge(reader.facts().get("purges", []))
    return table
