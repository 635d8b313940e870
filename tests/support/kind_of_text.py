"""Which text files are logs of a training, as every part that lists or reads them judges."""

from runicorn import foreign
from runicorn.foreign_text import kind_by_content


def kind_of(name, data):
    """Return the kind of a text file of this name and content (bytes), or None."""
    kind = foreign.kind_by_name(name)
    return (kind_by_content(kind, data[:foreign.HEAD], data[-foreign.TAIL:])
            if kind in ("csv", "jsonl", "log") else None)
