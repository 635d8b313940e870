"""CRC-32C (Castagnoli) as TFRecord has it: of one message, and of many records of one length at once. Opens
no file.

Polynomial: RFC 3720, appendix B.4. Masking: tensorflow/core/lib/hash/crc32c.h. The sum is linear over GF(2):
what a byte adds depends on its value and its distance from the end alone, and all that is xored.
"""

import struct
from functools import reduce
from operator import getitem, xor

CASTAGNOLI = 0x82F63B78         # the polynomial, bits reversed
CHUNK = 256                     # bytes summed at once: one table of 256 numbers for each
MASK_DELTA = 0xA282EAD8
BITS32 = 0xFFFFFFFF
HEAD, TAIL = 12, 4              # of a record: its length with a CRC before the data, the data's CRC behind it
WIDEST = 2048                   # bytes of data; `wrong` takes no longer records, whose tables would be large

_TABLES = []                    # those of a chunk by distance from the end, made when they are first needed
_CHUNK_TABLES = []              # the same by place from its beginning
# By distance, four bytes.translate tables: the bytes of the table, rotated, lowest first
_PLANES = []
_LAST_TABLE = []                # of the last distance in _PLANES


def table(distance):
    """Return what each byte value adds to the sum when `distance` bytes below CHUNK follow it (list of 256
    int)."""
    if not _TABLES:
        _TABLES.append([reduce(lambda value, _: value >> 1 ^ (CASTAGNOLI if value & 1 else 0), range(8), byte)
                        for byte in range(256)])
        while len(_TABLES) < CHUNK:
            _TABLES.append(_further(_TABLES[-1]))
    return _TABLES[distance]


def _further(table_before):
    return [value >> 8 ^ _TABLES[0][value & 255] for value in table_before]


def crc32c(data):
    """Return the CRC-32C of `data` (bytes; int). Some 40 ns a byte: no Python loop over the bytes."""
    if not _CHUNK_TABLES:
        _CHUNK_TABLES.extend(table(CHUNK - 1 - position) for position in range(CHUNK))
    state = BITS32
    for begin in range(0, len(data), CHUNK):
        chunk = data[begin:begin + CHUNK]
        if len(chunk) < 4:      # shorter than the state: byte by byte
            for byte in chunk:
                state = state >> 8 ^ _TABLES[0][(state ^ byte) & 255]
            continue
        head = (int.from_bytes(chunk[:4], "little") ^ state).to_bytes(4, "little")
        state = reduce(xor, map(getitem, _CHUNK_TABLES[-len(chunk):], head + chunk[4:]))
    return state ^ BITS32


def masked(crc):
    """Return a CRC as TFRecord stores it (int): rotated and shifted, so that a record of records does not
    confuse."""
    return (_rotated(crc) + MASK_DELTA) & BITS32


def _rotated(crc):
    return (crc >> 15 | crc << 17) & BITS32


def wrong(frames, size):
    """Return the places of the records whose data does not match their CRC (list of int, as a rule empty).

    frames: bytes, records of `size` bytes one after the other: 12 bytes of head, data, 4 bytes of CRC. Summed
    column by column: one `bytes.translate` gives what a byte place adds in all records, and integers as long
    as the column are xored.
    """
    count = len(frames) // size
    constant, planes = bytearray(size - HEAD - TAIL), [0, 0, 0, 0]
    for position in range(HEAD, size - TAIL):
        column, distance = frames[position::size], size - TAIL - 1 - position
        if column.count(column[:1]) == count:
            constant[position - HEAD] = column[0]
            continue
        for index, plane in enumerate(_planes(distance)):
            planes[index] ^= int.from_bytes(column.translate(plane), "little")
    sums, stored = bytearray(4 * count), bytearray(4 * count)
    for index, byte in enumerate(_rotated(crc32c(constant)).to_bytes(4, "little")):
        sums[index::4] = (planes[index] ^ int.from_bytes(bytes([byte]) * count, "little")).to_bytes(
            count, "little")
        stored[index::4] = frames[size - TAIL + index::size]
    numbers = struct.Struct(f"<{count}I")
    unshifted = [number - MASK_DELTA & BITS32 for number in numbers.unpack(stored)]
    if numbers.pack(*unshifted) == sums:
        return []
    return [position for position, (mine, stated) in enumerate(zip(numbers.unpack(sums), unshifted))
            if mine != stated]


def _planes(distance):
    while len(_PLANES) <= distance:
        _LAST_TABLE[:] = _further(_LAST_TABLE) if _PLANES else table(0)
        rotated = struct.pack("<256I", *map(_rotated, _LAST_TABLE))
        _PLANES.append([rotated[index::4] for index in range(4)])
    return _PLANES[distance]
