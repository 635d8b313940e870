"""What a person reads and types at a terminal: tables, sizes, durations, sparklines, questions, one progress line.

Text that came from another machine goes through `clean` first: it may hold escape sequences.
"""

import math
import os
import re
import shutil
import sys
import unicodedata

from runicorn.errors import UsageError

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=+*#@"
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
    """Return `text` without control characters, so that nothing another machine sent can steer this terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def coloured(text):
    """Return `text` with its colours (SGR sequences) and no other control sequence or character."""
    kept = SGR.split(OTHER_ESCAPE.sub("", text))
    colours = [*SGR.findall(text), ""]
    done = "".join(clean(piece) + colour for piece, colour in zip(kept, colours))
    return done + "\x1b[0m" if len(colours) > 1 else done


def cells(text):
    """Return how many terminal cells `text` takes: two for wide East Asian characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fit(text, width):
    """Return `text` in exactly `width` cells: cut with "…" or padded at the right."""
    if cells(text) <= width:
        return text + " " * (width - cells(text))
    kept, used = "", 0
    for character in text:
        used += cells(character)
        if used > width - 1:
            break
        kept += character
    return kept + "…" + " " * (width - 1 - cells(kept))


def table(headers, rows, width):
    """Return the lines (list of str) of a table at most `width` cells wide.

    headers: list of str. rows: list of lists of str. The widest columns give way first, down to 8 cells.
    """
    rows = [[clean(cell) for cell in row] for row in rows]
    widths = [max([cells(header)] + [cells(row[i]) for row in rows]) for i, header in enumerate(headers)]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return ["  ".join(fit(cell, w) for cell, w in zip(row, widths)).rstrip() for row in [list(headers), *rows]]


def size_text(count):
    """Return bytes for people: "832 B", "1.2 MB"; powers of ten, as disks and networks count."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration_text(seconds):
    """Return seconds for people: "45s", "12m 5s", "3h 20m", "2d 4h"."""
    seconds = int(max(seconds, 0))
    for unit, name, part, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= unit:
            return f"{seconds // unit}{name} {seconds % unit // part}{small}"
    return f"{seconds}s"


def number_text(value):
    """Return a metric's value in at most six digits; None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return clean(value)


def spark(values, unicode=True):
    """Return one bar a value; None and what is not finite leave a space."""
    bars = BARS if unicode else ASCII_BARS
    real = [v for v in values if isinstance(v, (int, float)) and math.isfinite(v)]
    low, high = (min(real), max(real)) if real else (0, 0)
    scale = (len(bars) - 1) / (high - low) if high > low else 0
    return "".join(bars[round((v - low) * scale)] if isinstance(v, (int, float)) and math.isfinite(v) else " " for v in values)


def ask(prompt, default=None, secret=False):
    """Return what the person types after `prompt`, or `default` for an empty line. Raises UsageError at the end of input."""
    shown = f"{prompt} [{default}]: " if default not in (None, "") else f"{prompt}: "
    try:
        if secret:
            from getpass import getpass
            return getpass(shown)
        return input(shown).strip() or (default or "")
    except EOFError as error:
        raise UsageError(f"no answer to {prompt!r}: the input ended") from error


def confirm(prompt):
    """Whether the person types yes. Raises UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(f"{prompt} Nobody is at the terminal: add --yes to go ahead")
    return ask(f"{prompt} [y/N]").lower() in ("y", "yes", "是")


class Line:
    """One status line: redrawn in place on a terminal; elsewhere each new text is a line of its own."""

    def __init__(self, stream=None):
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty()
        self._shown = ""

    def show(self, text, final=False):
        """Show `text`; `final` keeps it and begins a new line. A text that only moves goes to terminals alone."""
        if not self._live:
            if final and text != self._shown:
                say(text, self._stream)
                self._shown = text
            return
        text = text if unicode_fits(self._stream) else text.translate(PLAIN)
        text = fit(text, columns(self._stream) - 1).rstrip()
        self._stream.write(f"\r\x1b[K{text}" + ("\n" if final else ""))
        self._stream.flush()


def bar(share, width=24):
    """Return a progress bar for a share from 0 to 1."""
    full = round(max(0.0, min(share, 1.0)) * width)
    return "█" * full + "░" * (width - full)
