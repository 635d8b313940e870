"""Text for a terminal: what it can show, in how many cells; durations and numbers for people.

Text that came from another machine goes through `clean` first: it may hold escape sequences.
"""

import os
import re
import shutil
import sys
import unicodedata

SGR = re.compile(r"\x1b\[[0-9;:]*m")
OTHER_ESCAPE = re.compile(r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|\[(?![0-9;:]*m)[0-?]*[ -/]*[@-~]?|[^\[\]])")
PLAIN = str.maketrans({"…": "~", "─": "-", "·": "-", "✓": "+", "✗": "x", "█": "#", "░": "."})


def unicode_fits(stream):
    """Whether `stream` can print box drawing, ticks and bars."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def say(text, stream=None):
    """Print one line, in ASCII stand-ins where the terminal's encoding has no "…" or "✓"."""
    stream = stream or sys.stdout
    print(text if unicode_fits(stream) else text.translate(PLAIN), file=stream, flush=True)


def columns(stream=None):
    """Return how many cells a line has: the terminal's, or 160 where the output is a file or a pipe."""
    if not (stream or sys.stdout).isatty() and "COLUMNS" not in os.environ:
        return 160
    return shutil.get_terminal_size((100, 24)).columns


def clean(text):
    """Return `text` without control characters, so that nothing another machine sent can steer this
    terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def coloured(text):
    """Return `text` with its colours (SGR sequences) and no other control sequence or character."""
    pieces = SGR.split(OTHER_ESCAPE.sub("", text))
    colours = [*SGR.findall(text), ""]
    out = "".join(clean(piece) + colour for piece, colour in zip(pieces, colours))
    return out + "\x1b[0m" if len(colours) > 1 else out


def cells(text):
    """Return how many terminal cells `text` takes: two for wide East Asian characters, none for combining
    ones."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
               for c in text)


def fit(text, width):
    """Return `text` in exactly `width` cells: cut with "…" or padded at the right."""
    if cells(text) <= width:
        return text + " " * (width - cells(text))
    cut, used = "", 0
    for char in text:
        used += cells(char)
        if used > width - 1:
            break
        cut += char
    return cut + "…" + " " * (width - 1 - cells(cut))


def duration_text(seconds):
    """Return seconds for people: "45s", "12m 5s", "3h 20m", "2d 4h"."""
    seconds = int(max(seconds, 0))
    for unit, name, smaller_unit, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= unit:
            return f"{seconds // unit}{name} {seconds % unit // smaller_unit}{small}"
    return f"{seconds}s"


def number_text(value):
    """Return a metric's value in at most six digits; None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return clean(value)
