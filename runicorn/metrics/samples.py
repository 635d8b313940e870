"""A first picture of a huge file of events: evenly spaced lines of it, and its ends."""

from runicorn.layout import open_regular
from runicorn.metrics.columns import Table
from runicorn.metrics.parse import Parser

SAMPLES, SAMPLE_BYTES = 1500, 768       # of a huge file's first picture: a point for every pixel, five lines at a time
ENDS = 64 << 10             # of its beginning and its end, read whole


def of(file):
    """Return a Table of a sample of what a column_file.File has parsed and has yet to. Raises OSError."""
    with open(open_regular(file.path), "rb", buffering=0) as opened:
        def read(spans):
            return [opened.read(length) for offset, length in spans if opened.seek(offset) >= 0]
        return sample(read, file.position + file.behind)


def sample(read, size):
    """Return a Table of evenly spaced lines of an events file, and of its first and last ones: a first picture of a huge file.

    read: called with a list of (offset, length), returns a list of bytes (it may be far away, so it is called only
    twice); size: of the file in bytes.
    """
    head, tail = read([(0, min(size, ENDS)), (max(0, size - ENDS), min(size, ENDS))])
    width = max(SAMPLE_BYTES, 3 * len(head) // max(1, head.count(b"\n")))      # room for a whole line after a torn one
    count = min(SAMPLES, max(0, size - 2 * ENDS) // width)
    spaced = read([(ENDS + (size - 2 * ENDS) * k // count, width) for k in range(count)])
    lines = [head[:head.rfind(b"\n") + 1], *map(_whole_lines, spaced), _whole_lines(tail) if size > ENDS else b""]
    parser, table = Parser(), Table()
    table.add(parser.parse(b"".join(lines)))
    return table


def _whole_lines(block):
    return block[block.find(b"\n") + 1:block.rfind(b"\n") + 1]
