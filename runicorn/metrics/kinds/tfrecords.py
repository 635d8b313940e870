"""Find records in a TFRecord stream, also behind damage. Opens no file.

Framing, tensorflow/core/lib/io/record_writer.h: length (uint64), masked CRC-32C of it, data, masked CRC-32C
of the data.
"""

import re
import struct

from runicorn.metrics.kinds.crc32c import HEAD, TAIL, crc32c, masked

# Bytes of data: protocol buffers go no further, so a longer record is a damaged length
LONGEST = 1 << 31
# A head of at most LONGEST bytes: four bytes that are not all NUL, four that are. At any place, so it looks
# ahead.
PLAUSIBLE = re.compile(rb"(?s)(?=(?:[^\0]...|\0[^\0]..|\0\0[^\0].|\0\0\0[^\0])\0\0\0\0.{4})")
NULS, NOT_NUL = bytes(4096), re.compile(rb"[^\0]")
REMEMBERED = 4096               # lengths; one file has few different ones


class Heads:
    """Tells the size of a record from its head, and finds the next head behind damage."""

    def __init__(self):
        self.sizes = {}                 # head (12 bytes) -> size of the record with head and tail

    def size(self, head):
        """Return the size of the record with this head (12 bytes), or 0 if it is damaged."""
        size = self.sizes.get(head)
        if size is None:
            length, crc = struct.unpack("<QI", head)
            if length > LONGEST or masked(crc32c(head[:8])) != crc:
                return 0
            if len(self.sizes) >= REMEMBERED:
                self.sizes.clear()
            size = self.sizes[head] = HEAD + length + TAIL
        return size

    def next(self, block, position):
        """Return the place of the next head in `block` from `position` on, or -1; passes quickly over room
        that was never written to."""
        while True:
            while block[position:position + len(NULS)] == NULS:
                position += len(NULS) - HEAD
            nonzero = NOT_NUL.search(block, position)
            if not nonzero:
                return -1
            end = block.find(NULS, nonzero.start())
            for match in PLAUSIBLE.finditer(block, max(position, nonzero.start() - 3),
                                            len(block) if end < 0 else end + HEAD):
                if self.size(block[match.start():match.start() + HEAD]):
                    return match.start()
            if end < 0:
                return -1
            position = end
