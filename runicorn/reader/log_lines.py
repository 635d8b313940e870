"""What a line of a log shows and when it was written, and which lines of a block fit an expression. Imports
nothing of ours.

Run by itself, `python -c SOURCE`, it matches blocks that come on its standard input (see `main`): an
expression can take for ever, and a process can be ended.
"""

from __future__ import annotations

import calendar
import json
import re
import signal
import sys
import time
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate

STAMP = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)([+-]\d{4})\] ")
STAMP_LENGTH = 27
# ECMA-48 CSI, and OSC as terminals end it
COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
ACROSS = re.compile(r"\(\?|\\[AZB]")       # what may mean another thing when lines are searched joined


@lru_cache(maxsize=4096)
def seconds(stamp):
    """Return the Unix seconds of a stamp such as "[2025-01-23 18:30:45+0800] " (int), or None if it is
    none."""
    match = STAMP.fullmatch(stamp)
    if not match:
        return None
    try:
        local = calendar.timegm(time.strptime(match[1], "%Y-%m-%d %H:%M:%S"))
    except ValueError:          # the 99th of a month
        return None
    offset = int(match[2][1:3]) * 3600 + int(match[2][3:]) * 60
    return local - offset if match[2][0] == "+" else local + offset


def shown(line, before=None):
    """Return (ts, text) of a line (bytes, no newline): its time, `before` if it has no stamp, and what a
    terminal would show."""
    states = line.rstrip(b"\r").split(b"\r")
    text = states[-1].decode("utf-8", "replace")
    stamp = text[:STAMP_LENGTH]
    ts = seconds(stamp) if stamp[:1] == "[" and stamp[-2:] == "] " else None
    if ts is not None:
        return ts, text[STAMP_LENGTH:]
    return (shown(states[0], before)[0] if len(states) > 1 else before), text


# -- expressions ---------------------------------------------------------------------------------------------

def matcher(pattern, ignore_case):
    """Return a function from a block of lines (bytes) to the places where lines begin that fit a regular
    expression.

    Raises re.error, OverflowError or RecursionError for one that is none.
    """
    expression = re.compile(pattern, re.MULTILINE | (re.IGNORECASE if ignore_case else 0))
    joined = not ACROSS.search(pattern)

    def match(block):
        lines = _texts(block)
        places = _matching(expression, lines) if joined else [index
                                                              for index, line in enumerate(lines)
                                                              if expression.search(line)]
        if not places:
            return []
        starts = list(accumulate((len(line) + 1 for line in block.split(b"\n")), initial=0))
        return [starts[index] for index in places if starts[index] < len(block)]
    return match


def _texts(block):
    """Return what each line of a block shows, without colours (list of str)."""
    lines = block.decode("utf-8", "replace").split("\n")
    if b"\r" in block:
        return [COLOUR.sub("", shown(line)[1]) for line in block.split(b"\n")]
    lines = [line[STAMP_LENGTH:] if line[25:27] == "] " and line[:1] == "[" else line for line in lines]
    return [COLOUR.sub("", line) if "\x1b" in line else line for line in lines] if b"\x1b" in block else lines


def _matching(expression, lines):
    """Return the places of the lines that match, by searching all of them as one text; several times as fast
    as one by one."""
    text, hits, position = "\n".join(lines), [], 0
    starts = None
    while hit := expression.search(text, position):
        starts = starts or list(accumulate((len(line) + 1 for line in lines), initial=0))
        index = bisect_right(starts, hit.start()) - 1
        # a match may have run on into the next line
        if index < len(lines) and expression.search(lines[index]):
            hits.append(index)
        position = starts[index + 1]
        if position > len(text):
            break
    return hits


# -- alone ---------------------------------------------------------------------------------------------------

def main() -> None:
    """Match block after block until standard input ends. First comes a line of JSON: [expression, whether
    case is ignored, seconds that a block may take]; then for each block its length, 8 bytes, and itself.
    Answers a line of JSON each: the places of its lines."""
    requests, answer = sys.stdin.buffer, sys.stdout
    pattern, ignore_case, limit = json.loads(requests.readline())
    match = matcher(pattern, ignore_case)
    while size := requests.read(8):
        block = requests.read(int.from_bytes(size, "big"))
        if hasattr(signal, "alarm"):
            signal.alarm(limit)         # ends this process if nobody else does
        answer.write(json.dumps(match(block)) + "\n")
        answer.flush()


if __name__ == "__main__":
    main()
