"""What a person reads and types at a terminal: tables, sizes, sparklines, one progress line, questions."""

import json
import math
import os
import signal
import sys

from runicorn.cli.terminal import PLAIN, cells, clean, columns, fit, say, unicode_fits
from runicorn.errors import UsageError
from runicorn.writer.processes import WINDOWS, escapes

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=+*#@"
ERASE = "\x1b[K"


def table(headers, rows, width, uncut=()):
    """Return the lines (list of str) of a table at most `width` cells wide.

    headers: list of str. rows: list of lists of str. The widest columns give way first, down to 8 cells;
    uncut: headers of columns that never do, the others then down to 6. Cells that would look alike where they
    are cut are cut where they differ.
    """
    most = max(1000, 4 * width)         # characters looked at of a cell that may be megabytes
    columns = [[clean(row[i] if header in uncut else row[i][:most]) for row in rows]
               for i, header in enumerate(headers)]
    widths = [max(map(cells, [header, *column])) for header, column in zip(headers, columns)]
    least, giving = 6 if uncut else 8, [i for i, header in enumerate(headers) if header not in uncut]
    for i in giving:
        widths[i] = min(widths[i], max(width, 8))
    while giving and sum(widths) + 2 * (len(widths) - 1) > width and max(widths[i] for i in giving) > least:
        widths[max(giving, key=widths.__getitem__)] -= 1
    cut = [[header, *apart(column, wide)] for header, column, wide in zip(headers, columns, widths)]
    return ["  ".join(fit(cell, wide) for cell, wide in zip(row, widths)).rstrip() for row in zip(*cut)]


def apart(texts, width):
    """Return `texts` (list of str), those too wide for `width` cells that would look the same without their
    end cut in the middle or, where that does not tell them apart either, before the place where they
    differ."""
    groups = {}
    for text in set(texts):
        if cells(text) > width and not _is_number(text):
            groups.setdefault(fit(text, width), []).append(text)
    shown = {}
    for alike in filter(lambda group: group[1:], groups.values()):
        half, begin = (width - 1) // 2, len(os.path.commonprefix(alike))
        ways = [{text: f"{_begin(text, half)}…{_end(text, width - 1 - half)}" for text in alike},
                {text: f"…{text[max(0, begin - width // 6):]}" for text in alike}]
        best = max(ways, key=lambda texts_cut: len({fit(text, width) for text in texts_cut.values()}))
        shown.update(best)
    return [shown.get(text, text) for text in texts]


def _is_number(text):
    try:
        return float(text) is not None
    except ValueError:
        return False


def _begin(text, width):
    """Return as much of the beginning of `text` as has room in `width` cells (str)."""
    count = 0
    while count < len(text) and cells(text[:count + 1]) <= width:
        count += 1
    return text[:count]


def _end(text, width):
    """Return as much of the end of `text` as has room in `width` cells (str)."""
    start = len(text)
    while start > 0 and cells(text[start - 1:]) <= width:
        start -= 1
    return text[start:]


def size_text(count):
    """Return bytes for people: "832 B", "1.2 MB"; powers of ten, as disks and networks count."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def counted(count, noun):
    """Return "1 run", "1,234 runs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def spark(values, unicode=True):
    """Return one bar a value; None and what is not finite leave a space."""
    bars = BARS if unicode else ASCII_BARS
    real = [v for v in values if isinstance(v, (int, float)) and math.isfinite(v)]
    low, high = (min(real), max(real)) if real else (0, 0)
    scale = (len(bars) - 1) / (high - low) if high > low else 0
    return "".join(bars[round((v - low) * scale)] if isinstance(v, (int, float)) and math.isfinite(v) else " "
                   for v in values)


def bar(share, width=24):
    """Return a progress bar for a share from 0 to 1."""
    full = round(max(0.0, min(share, 1.0)) * width)
    return "█" * full + "░" * (width - full)


def json_text(value, indent=None):
    """Return JSON for a program that reads our output (str): names as they are where the output's encoding
    has them, else escaped."""
    return json.dumps(value, ensure_ascii=not unicode_fits(sys.stdout), indent=indent)


def end_as_ctrl_c_does():
    """Have KeyboardInterrupt raised also by what systemd, a closed terminal and a closed console of Windows
    (Ctrl+Break, too) send; what nohup has ignored stays so. Of use in the main thread only."""
    for number in filter(None, (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP", "SIGBREAK"))):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def is_terminal(stream):
    """Whether somebody may sit before a stream; Windows' NUL says so too, and nobody ever answers there."""
    return stream.isatty() and is_console(stream)


def is_console(stream):
    """Whether a terminal is one, and not a device that says so."""
    if not WINDOWS:
        return True
    from runicorn.writer.windows import console
    try:
        return console(stream)[1] != 0
    except (OSError, ValueError):
        return True             # a program's own window, as IDLE has: no device of the system's behind it


def ask(prompt, default=None, secret=False):
    """Return what the person types after `prompt`, or `default` for an empty line. Raises UsageError at the
    end of input."""
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
    if not is_terminal(sys.stdin):
        raise UsageError(f"{prompt} Nobody is at the terminal: add --yes to go ahead")
    return ask(f"{prompt} [y/N]").lower() in ("y", "yes", "是")


class Line:
    """One status line: redrawn in place on a terminal; elsewhere each new text is a line of its own."""

    def __init__(self, stream=None):
        self._stream = stream or sys.stdout
        self._live = is_terminal(self._stream)
        self._shown = ""

    def show(self, text, final=False):
        """Show `text`; `final` keeps it and begins a new line. A text that only moves goes to terminals
        alone."""
        if not self._live:
            if final and text != self._shown:
                say(text, self._stream)
                self._shown = text
            return
        self._shown = "" if final else text
        text = text if unicode_fits(self._stream) else text.translate(PLAIN)
        text = fit(text, columns(self._stream) - 1)
        if escapes(self._stream):
            text = ERASE + text.rstrip()        # elsewhere its blanks cover what stood there
        self._stream.write(f"\r{text}" + ("\n" if final else ""))
        self._stream.flush()

    def clear(self):
        """End the line of a text that only moved."""
        if self._live and self._shown:
            self._stream.write("\n")
            self._stream.flush()
            self._shown = ""
