"""Read a run's log by byte range from either end, search it, and find lines by time; any size, little memory.
Colours stay in.

A log is one file, or the files of several attempts read as one; offsets count bytes of the whole. What a
terminal would show of a line is what follows its last carriage return; the stamp before it is told apart.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from array import array
from threading import Lock
from typing import TYPE_CHECKING

from runicorn.errors import UsageError
from runicorn.layout import open_regular
from runicorn.reader.expression import Expression
from runicorn.reader.log_lines import COLOUR, STAMP, STAMP_LENGTH, matcher, seconds, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

PAGE_BYTES = 64 << 10
# Read at once: fits the processor's cache, which doubles the speed of a search
BLOCK_BYTES = 256 << 10
TEXT_LIMIT = 20_000             # characters of a line shown
REACH = 4 << 20                 # how far the ends of one line are looked for; beyond, it is cut there
PROGRESS_BYTES = 16 << 20       # a search says how far it is each time it read as much
INDEX_SECONDS = 0.05            # of counting lines for one page: about 100 MB; the next page goes on
HEAD_BYTES = 256                # of a file; its first line ends within, or says nothing
LOGS_COUNTED = 64               # logs whose counts are remembered: 32 KB for a gigabyte
STAMPED = re.compile(b"\n(" + STAMP.pattern.encode() + b")")


class Log:
    """One log: a path, or the paths of its attempts in order. Raises OSError when a file can't be read.

    size: bytes, as of the last look.
    """

    reach = REACH               # how far a line with a stamp is looked for

    def __init__(self, paths: str | os.PathLike[str] | Iterable[str]) -> None:
        self.paths = ([os.fspath(paths)] if isinstance(paths, (str, os.PathLike))
                      else [os.fspath(path) for path in paths])
        self._look()

    def _look(self):
        """Take in the present sizes. A file that ends in the middle of a line gets a newline if another
        follows it."""
        files, identity, base = [], [], 0
        for path in self.paths:
            size, *marks = self._stat(path)
            torn = size and path != self.paths[-1] and self._piece(path, size - 1, 1) != b"\n"
            files.append((base, size, path))
            identity.append((base, path, *marks))
            base += size + bool(torn)
        self._files, self.size, self._counts = files, base, _counts(tuple(identity), base)
        self._identity = identity

    def _stat(self, path):
        """Return (bytes of a file, what makes it the same one …)."""
        status = os.stat(path)
        return status.st_size, status.st_dev, status.st_ino

    def _piece(self, path, offset, length):
        with open(open_regular(path), "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(length) if length > 0 else b""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset` (bytes)."""
        out, end = b"", min(offset + length, self.size)
        for index, (base, size, path) in enumerate(self._files):
            stop = self._files[index + 1][0] if index + 1 < len(self._files) else self.size
            if offset < stop and end > base:
                piece = self._piece(path, offset - base, min(end, base + size) - offset)
                out += piece + b"\n" * (min(end, stop) - offset - len(piece)
                                        if stop > base + size and end >= stop else 0)
                offset = min(end, stop)
        return out

    @property
    def id(self) -> int:
        """A number that is another one when a file was replaced, or cut and written anew (int)."""
        heads = [self._piece(path, 0, HEAD_BYTES).partition(b"\n")[:2] for _, _, path in self._files]
        text = repr((self._identity, [head for head, complete in heads if complete]))
        return zlib.crc32(text.encode("utf-8", "surrogateescape"))

    @property
    def lines_known(self) -> int:
        """Lines counted so far, from the beginning (int)."""
        return self._counts[-1] if self._counts else 0

    # -- pages -----------------------------------------------------------------------------------------------

    def page(self, offset: int | None = None, before: int | None = None,
             limit_bytes: int = PAGE_BYTES) -> dict[str, Any]:
        """Return a screen of lines: from the line at `offset` on, those that end at `before`, or the last
        ones.

        {"start", "end", "size", "lines": [{"at": byte offset, "n": line number from 1 or None if not counted
        yet, "ts": Unix seconds or None, "text": str, "cut": characters left out, absent if none}],
        "more_before", "more_after"} `end` is where to go on: before a last line that has no newline yet, so
        that it comes again when it grew.
        """
        self._look()
        if offset is not None:
            start = self._line_start(min(max(0, offset), self.size))
            end = self._line_end(min(start + limit_bytes, self.size))
        else:
            end = self.size if before is None else self._line_start(min(max(0, before), self.size))
            low = max(0, end - limit_bytes)
            # a moving line of days keeps its place while it grows
            start = self._line_start(low, low - low % REACH)
        raw = self.read(start, end - start)
        position, n, ts, lines = start, self._number(start), None, []
        for line in raw.split(b"\n")[:None if raw and not raw.endswith(b"\n") else -1]:
            ts, text = shown(line, ts)
            lines.append({"at": position, "n": n, "ts": ts, **_limited(text)})
            position, n = position + len(line) + 1, n and n + 1
        last = lines[-1]["at"] if raw and not raw.endswith(b"\n") and end == self.size else end
        return {"start": start, "end": last, "size": self.size, "lines": lines, "more_before": start > 0,
                "more_after": end < self.size}

    def _line_start(self, offset, cut=None):
        """Return where the line that holds `offset` begins; `cut` (default: `offset`) if that is more than
        REACH before."""
        low = offset
        while low > 0 and offset - low < REACH:
            step = min(low, PAGE_BYTES)
            newline = self.read(low - step, step).rfind(b"\n")
            if newline >= 0:
                return low - step + newline + 1
            low -= step
        return 0 if low == 0 else offset if cut is None else cut

    def _line_end(self, offset):
        """Return where the line that holds the byte before `offset` ends, its newline included; at most REACH
        after."""
        if offset and self.read(offset - 1, 1) == b"\n":
            return offset
        high = offset
        while high < self.size and high - offset < REACH:
            newline = self.read(high, PAGE_BYTES).find(b"\n")
            if newline >= 0:
                return high + newline + 1
            high += PAGE_BYTES
        return min(high, self.size)

    def _number(self, offset):
        """Return the number (from 1) of the line at `offset`, or None if counting so far would take too
        long."""
        blocks = offset // BLOCK_BYTES
        deadline = time.monotonic() + INDEX_SECONDS
        while len(self._counts) < blocks:
            if time.monotonic() > deadline:
                return None
            index = len(self._counts)
            lines = self.read(index * BLOCK_BYTES, BLOCK_BYTES).count(b"\n")
            with _COUNTING:
                if len(self._counts) == index:              # else another thread counted it
                    self._counts.append(self.lines_known + lines)
        before = self._counts[blocks - 1] if blocks else 0
        return before + self.read(blocks * BLOCK_BYTES, offset - blocks * BLOCK_BYTES).count(b"\n") + 1

    # -- search ----------------------------------------------------------------------------------------------

    def find(self, pattern: str, regex: bool = False, start: Any = None, backwards: bool = False,
             ignore_case: bool = True) -> Iterator[Any]:
        """Yield the lines that show `pattern`, as {"at", "n", "ts", "text"}, and now and then {"progress":
        bytes searched, "size"}.

        start: where to begin, None: at the beginning, or for `backwards` at the end. Colours and stamps are
        not searched. Raises UsageError for an empty pattern, for an expression that is none, and for one that
        takes too long; BusyError.
        """
        if not pattern:
            raise UsageError("there is nothing to search for: the pattern is empty")
        self._look()
        blocks = self._backwards(start) if backwards else self._forwards(start or 0)
        if not regex:
            match = _plain(pattern, ignore_case)
            yield from self._found(((position, block, match(block)) for position, block in blocks), backwards)
            return
        with Expression(pattern, ignore_case) as expression:
            yield from self._found(expression.search(blocks), backwards)

    def _found(self, searched_blocks, backwards):
        """Yield what `find` does, of (offset, block, places of lines in it, or None while they are looked
        for)."""
        searched = progress = 0
        for position, block, places in searched_blocks:
            if places is None:
                yield {"progress": searched, "size": self.size}
                continue
            if places:
                lines = _hits(block, position, places, self._number(position))
                yield from reversed(list(lines)) if backwards else lines
            searched += len(block)
            if searched - progress >= PROGRESS_BYTES:
                progress = searched
                yield {"progress": searched, "size": self.size}

    def _forwards(self, start):
        """Yield (offset, block of whole lines) to the end."""
        position, open_line = self._line_start(min(start, self.size)), b""
        while position + len(open_line) < self.size:
            block = self.read(position + len(open_line), BLOCK_BYTES)
            if not block:
                return                      # the file was cut meanwhile
            end = block.rfind(b"\n") + 1
            if not end and len(open_line) < REACH and position + len(open_line) + len(block) < self.size:
                open_line += block
                continue
            end = end or len(block)
            lines = open_line + block[:end] if open_line else block[:end]
            yield position, lines
            position, open_line = position + len(lines), block[end:]
        if open_line:
            yield position, open_line

    def _backwards(self, end):
        """Yield (offset, block of whole lines) from `end` to the beginning."""
        end = self.size if end is None else self._line_start(min(end, self.size))
        while end > 0:
            begin = self._line_start(max(0, end - BLOCK_BYTES))
            yield begin, self.read(begin, end - begin)
            end = begin

    # -- time ------------------------------------------------------------------------------------------------

    def at_time(self, ts: float) -> int:
        """Return the offset of the first line stamped at or after the second of `ts` (Unix seconds); the end
        if there is none.

        Stamps ascend in a log, so it is found by halving: about 20 short reads in a gigabyte.
        """
        self._look()
        low, high = 0, self.size
        while high - low > PAGE_BYTES:
            middle = (low + high) // 2
            stamped = self._stamp_after(middle, high)
            if stamped is None or stamped[1] >= int(ts):
                high = middle
            else:
                low = stamped[0]
        position, end, open_line = low, min(high + self.reach, self.size), b""
        while low < end:
            *lines, open_line = (open_line + self.read(low, PAGE_BYTES)).split(b"\n")
            low += PAGE_BYTES
            for line in lines if low < end else [*lines, open_line]:
                stamp = shown(line)[0]
                if stamp is not None and stamp >= int(ts):
                    return position
                position += len(line) + 1
        return self.size

    def _stamp_after(self, offset, end):
        """Return (offset, Unix seconds) of the first stamped line after `offset`, or None if there is none
        before `end` or `reach`."""
        end = min(end, offset + self.reach)
        while offset < end:
            for match in STAMPED.finditer(self.read(offset, PAGE_BYTES)):
                ts = seconds(match[1].decode())
                if ts is not None:
                    return offset + match.start() + 1, ts
            offset += PAGE_BYTES - STAMP_LENGTH - 1
        return None


# What makes a log the same one -> lines before the end of each BLOCK_BYTES of it
_COUNTED, _COUNTING = {}, Lock()


def _counts(identity, size):
    """Return the counts of the log of this identity (array), begun anew if it is shorter than what was
    counted."""
    with _COUNTING:
        counts = _COUNTED.pop(identity, None)
        if counts is None or len(counts) * BLOCK_BYTES > size:
            counts = array("Q")
        _COUNTED[identity] = counts
        while len(_COUNTED) > LOGS_COUNTED:
            del _COUNTED[next(iter(_COUNTED))]
        return counts


# -- lines ---------------------------------------------------------------------------------------------------

def _hits(block, base, places, n):
    """Yield the lines of a block that begin at `places`; `base` is its offset, `n` the number of its first
    line or None."""
    before = 0
    for begin in places:
        n, before = n and n + block.count(b"\n", before, begin), begin
        end = block.find(b"\n", begin)
        ts, text = shown(block[begin:end if end >= 0 else len(block)])
        yield {"at": base + begin, "n": n, "ts": ts, **_limited(text)}


def _limited(text):
    return {"text": text} if len(text) <= TEXT_LIMIT else {"text": text[:TEXT_LIMIT],
                                                           "cut": len(text) - TEXT_LIMIT}


def _signs(raw):
    """Return bytes of which text that holds `raw` (lower-case ASCII) in any case holds at least one: much
    sooner looked for than all text is folded. Two or more characters that have no case, else the letter that
    is rarest in English."""
    caseless, letters = max(re.split(rb"[a-z]+", raw), key=len), re.sub(rb"[^a-z]", b"", raw)
    if len(caseless) > 1 or not letters:
        return [caseless]
    rarest = bytes([min(letters, key=b"zqxjkvbpygfwmucldrhsnioate".index)])
    return [rarest, rarest.upper()]


def _plain(pattern, ignore_case):
    """Return a function from a block of lines (bytes) to the places where lines begin that show `pattern`."""
    fold = str.lower if ignore_case else str
    folded = fold(pattern)
    raw, lower = folded.encode("utf-8", "surrogateescape"), False
    # Bytes fold ASCII letters only: look for the longest part without others
    if folded != folded.upper() and ignore_case:
        raw, lower = max(re.split(r"[^\x00-\x7f]+", folded), key=len).encode(), True
    signs = _signs(raw) if lower else [b""]
    drawn = matcher(re.escape(pattern), ignore_case)

    def match(block):
        # Colours or redrawn parts may divide what the eye reads as one word
        if b"\x1b" in block or b"\r" in block:
            return drawn(block)
        hits, index = [], 0
        if not any(sign in block for sign in signs):
            return hits
        text = block.lower() if lower else block
        while (index := text.find(raw, index)) >= 0:
            begin = text.rfind(b"\n", 0, index) + 1
            end = text.find(b"\n", index)
            end = len(text) if end < 0 else end
            if folded in fold(COLOUR.sub("", shown(block[begin:end])[1])):
                hits.append(begin)
            index = end + 1
        return hits
    return match
