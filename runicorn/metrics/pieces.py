"""Text that is compressed once and sent many times: pieces that join into one answer without being touched
again. Knows no HTTP.

Each piece is raw deflate (RFC 1951) that refers to nothing before it and ends at a whole byte, so pieces
joined are one stream; the checksum of a zlib stream (RFC 1950) is put together from those of its pieces.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

LEVEL = 1                       # the numbers of a curve shrink little more at higher ones
HEAD, END = b"\x78\x01", b"\x03\x00"        # of a zlib stream: its kind, and an empty last block
MODULUS = 65521                 # of Adler-32


class Piece(NamedTuple):
    """`deflated`: bytes as they are sent; `size` and `adler`: length and checksum of the plain bytes."""

    deflated: bytes
    size: int
    adler: int


def piece(text: bytes) -> Piece:
    """Return the Piece of `text` (bytes)."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Piece(packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH), len(text), zlib.adler32(text))


COMMA, CLOSE = piece(b","), piece(b"]}\n")


class Pieces:
    """A JSON object whose last member is a list of `items` (Pieces): `head` is its text up to and with the
    "[" (bytes)."""

    def __init__(self, head: bytes, items: list[Piece]) -> None:
        between = [member for item in items for member in (COMMA, item)][1:]
        self._parts = [piece(head), *between, CLOSE]

    def deflated(self) -> bytes:
        """Return the whole as one zlib stream (bytes)."""
        low, high = 1, 0
        for member in self._parts:
            high = (high + (member.adler >> 16) + member.size * (low - 1)) % MODULUS
            low = (low + (member.adler & 0xFFFF) - 1) % MODULUS
        return b"".join([HEAD, *(member.deflated for member in self._parts), END,
                         (high << 16 | low).to_bytes(4, "big")])

    def plain(self) -> bytes:
        """Return the text (bytes)."""
        return zlib.decompress(self.deflated())
