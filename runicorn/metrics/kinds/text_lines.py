"""Whole lines of a growing text file, as all kinds of text are read: whatever way its bytes are cut, the same
lines, in bounded memory."""

from runicorn.metrics.kinds.sampled import Sampled

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
LINE_LIMIT = 1 << 20        # bytes; a longer line is passed over, and counted
JUDGED = 64                 # bytes of the first line that show UTF-16


class LineReader(Sampled):
    """What readers of text share. Subclasses have `kind`, `parse(body)`, which returns the Parts of complete
    lines, `save` and `load`."""

    def __init__(self, state=None):
        """state: what `state` told (dict), or None at the beginning of a file."""
        state = state or {}
        self.skipped = dict(state.get("skipped", {}))
        self.has_begun = state.get("begun", False)
        self.is_inside = state.get("inside", False)        # of a line that is too long
        self.is_closed = state.get("closed", False)
        self.load(state.get("own"))

    def state(self):
        """Return what a Reader that goes on from here is made with (dict)."""
        return {"skipped": dict(self.skipped), "begun": self.has_begun, "inside": self.is_inside,
                "closed": self.is_closed, "own": self.save()}

    def skip(self, reason, count=1):
        """Count what could not be read."""
        self.skipped[reason] = self.skipped.get(reason, 0) + count

    def close(self, reason):
        """Read no more of this file: it is not of this kind."""
        self.skip(reason)
        self.is_closed = True

    def take(self, block, remaining):
        """Return (bytes used, list of parse.Part) of `block`, with which the `remaining` bytes of the file
        that are not read yet begin."""
        start = 0
        if not self.has_begun and not self.is_closed:
            start = self._begin(block)
        if self.is_closed:
            return remaining, []
        if not self.has_begun:
            return 0, []
        if self.is_inside:
            start = block.find(b"\n") + 1
            if not start:
                return len(block), []
            self.is_inside = False
        end = self.end(block, start)
        if end <= start and len(block) - start > LINE_LIMIT:
            self.skip("longer than 1 MiB")
            self.is_inside = True
            return len(block), []
        if end <= start:
            return start, []
        parts = self.parse(self.bounded(block[start:end]))
        return (remaining if self.is_closed else end), parts

    def _begin(self, block):
        """Return how many bytes of a byte order mark to leave out, once the file's first line or enough of it
        is there."""
        head = block[:block.find(b"\n") + 1 or LINE_LIMIT]
        if not head.endswith(b"\n") and len(head) < LINE_LIMIT:
            return 0
        self.has_begun = True
        if is_utf16(head):
            self.close("UTF-16")
        return len(UTF8_BOM) if block.startswith(UTF8_BOM) else 0

    def end(self, block, start):
        """Return where the complete records of `block` behind `start` end; `start` or less if none is
        complete."""
        return block.rfind(b"\n", start) + 1

    def bounded(self, body):
        """Return `body` (bytes) without the lines that are too long."""
        if len(body) <= LINE_LIMIT:
            return body
        lines = body.split(b"\n")
        short = [line for line in lines if len(line) <= LINE_LIMIT]
        if len(short) == len(lines):
            return body
        self.skip("longer than 1 MiB", len(lines) - len(short))
        return b"\n".join(short)

    def facts(self):
        """Return what else is known of the run (dict)."""
        return {}


def is_utf16(head):
    """Whether a file that begins with `head` (bytes, at most its first line) is UTF-16, with its mark or
    without."""
    if head.startswith(UTF16_BOMS):
        return True
    even, odd = head[0:JUDGED:2], head[1:JUDGED:2]
    return len(odd) > 3 and (odd.count(0) > 0.7 * len(odd) and not even.count(0)
                             or even.count(0) > 0.7 * len(even) and not odd.count(0))
