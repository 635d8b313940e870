"""Find records in the log that W&B writes, also behind damage. Opens no file.

The log is LevelDB's (its doc/log_format.md) with a head of 7 bytes before it and zlib's CRC-32: blocks of 32
KiB, in them pieces of a
record: CRC of type and data, length of the data (uint16), type (full, first, middle, last), data. No piece
crosses a block's end.
"""

import re
import struct
import zlib

HEADER = b":W&B\xe1\xbe\0"          # four letters, the number 0xBEE1, version 0
BLOCK = 32 << 10
NULS = bytes(BLOCK)
PIECE = 7                           # bytes before the data of a piece
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
TYPE = re.compile(rb"[\1-\4]")
LONGEST = 15 << 20                  # bytes of a record that is read
TRIES = 2000                        # places in a damaged block that are tried; a block of noise has 500


class Log:
    """Takes one log apart. skip: called with a reason for what is left out."""

    def __init__(self, skip, state=None):
        """state: what `state` returned, or None."""
        state = state or {}
        self._skip = skip
        self._position = state.get("position", 0)
        # Pieces without a first one belong to what was damaged
        self._is_behind_damage = state.get("behind", False)

    def state(self):
        """Return what the constructor takes (dict for JSON)."""
        return {"position": self._position, "behind": self._is_behind_damage}

    def take(self, block):
        """Return (bytes used, [data of each record that ends in `block`]). block: bytes from the position
        on."""
        position = 0
        if not self._position:
            if len(block) < len(HEADER):
                return 0, []
            position = len(HEADER)
            if not block.startswith(HEADER):
                self._skip("damaged heads")
        records, pieces, start = [], [], position
        while True:
            end = position + BLOCK - (self._position + position) % BLOCK
            size, kind = _piece(block, position, end)
            if size:
                pieces = self._assemble(pieces, kind, block[position + PIECE:position + size], records)
                position += size
            elif end - position < PIECE and end <= len(block):
                position = end                                            # too short for a piece: filled up
            else:
                behind = self._behind_damage(block, position, end, pieces)
                if behind == position:
                    break
                position, pieces = behind, []
            if not pieces:
                start = position
        self._position += start
        return start, records

    def _assemble(self, pieces, kind, data, records):
        """Return the pieces of the record that is not whole yet; appends a whole one to `records`."""
        if kind in (FULL, FIRST):
            if pieces:
                self._skip("damaged records")                       # its end never came
            self._is_behind_damage = False
            if kind == FULL:
                records.append(data)
                return []
            return [data]
        if not pieces:
            if not self._is_behind_damage:
                self._skip("damaged records")
                self._is_behind_damage = True
            return []
        pieces.append(data)
        if kind == LAST:
            records.append(b"".join(pieces))
            return []
        if sum(map(len, pieces)) > LONGEST:
            self._skip("records over 15 MB")
            self._is_behind_damage = True
            return []
        return pieces

    def _behind_damage(self, block, position, end, pieces):
        """Return where the next piece is, as none begins at `position`; `position` if that can't be told
        yet."""
        behind = _next_piece(block, position + 1, end)
        if not behind:
            if end > len(block):
                return position
            behind = end
        # NULs alone are room that was never written to
        if pieces or block[position:behind] != NULS[:behind - position]:
            self._skip("damaged records")
            self._is_behind_damage = True
        return behind


def _piece(block, position, end):
    """Return (size, type) of the piece at `position`, or (0, 0) if there is no whole one that is right. end:
    of the 32 KiB, in `block`."""
    if position + PIECE > min(end, len(block)):
        return 0, 0
    crc, length, kind = struct.unpack_from("<IHB", block, position)
    stop = position + PIECE + length
    if (not FULL <= kind <= LAST or stop > end or stop > len(block)
            or zlib.crc32(block[position + 6:stop]) != crc):
        return 0, 0
    return PIECE + length, kind


def whole(piece, is_first):
    """Return the pieces that are whole records, with their heads (list of bytes), in one part of a log that
    begins where a block does;
    is_first: where the log does, too."""
    position, records = len(HEADER) if is_first else 0, []
    while True:
        end = position + BLOCK - position % BLOCK
        size, kind = _piece(piece, position, end)
        if kind == FULL:
            records.append(piece[position:position + size])
        if not size and (end - position >= PIECE or end > len(piece)):
            return records
        position = position + size if size else end


def log_of(pieces):
    """Return the bytes of a log of such pieces: none crosses a block's end."""
    log = bytearray(HEADER)
    for piece in pieces:
        room = BLOCK - len(log) % BLOCK
        log += (bytes(room) if len(piece) > room else b"") + piece
    return bytes(log)


def _next_piece(block, position, end):
    """Return the place of the next right piece from `position` on, 0 if there is none before `end`."""
    tries = 0
    # Room that was never written to
    if block[position:end] == NULS[:end - position]:
        return 0
    for match in TYPE.finditer(block, position + 6, min(end, len(block))):
        index = match.start() - 6
        length, = struct.unpack_from("<H", block, index + 4)
        if index + PIECE + length <= min(end, len(block)):
            tries += 1
            if _piece(block, index, end)[0]:
                return index
            if tries == TRIES:
                break
    return 0


def begins(head):
    """Whether a file that begins with `head` (bytes, 4,096 of them or all there are) is such a log; an empty
    one may become one."""
    return HEADER.startswith(head[:len(HEADER)]) or _piece(head, len(HEADER), BLOCK)[0] > 0
