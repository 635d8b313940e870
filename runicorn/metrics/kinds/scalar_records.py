"""Take scalar records of one size apart, all at once: the bytes at one place of every record are one slice.
Opens no file.

A plain record: Event.wall_time, step, summary, nothing else; its values `simple_value`s, or one tensor of one
number.
Formats: tensorflow/core/util/event.proto, tensorflow/core/framework/{summary,tensor}.proto.
"""

import struct
from array import array
from functools import lru_cache

from runicorn.metrics.kinds.crc32c import HEAD, TAIL
from runicorn.metrics.kinds.protobuf import varint

# 1: not as a varint's byte is
CONTINUES, ENDS = bytes(byte < 128 for byte in range(256)), bytes(byte > 127 for byte in range(256))
WIDTHS = {"f": 4, "d": 8, "q": 8, "i": 4, "e": 2}
CONTENT = {1: "f", 2: "d", 3: "i", 9: "q", 19: "e"}         # DataType -> struct code of tensor_content
WORTH = 8                   # records; fewer are as quick one by one
SHAPES = 8                  # ways to write records of one size that are tried
LISTS = {1: (0x2A, "f"), 2: (0x32, "d")}                    # DataType -> key of float_val, double_val


class Shape:
    """Where the numbers and tags stand in records written like `data` (bytes). Raises ValueError if it is no
    plain record.

    values: [(begin of the tag, its end, place of the number, struct code)], places in the record with its
    head. With one value the tag may differ from record to record; `tensor`: whether the number is one.
    """

    def __init__(self, data):
        self.values, self.tensor = [], False
        try:
            self._locate(data)
        except IndexError:
            raise ValueError("it ends early") from None
        free = set(range(HEAD + 1, HEAD + 9)) | set(self.step)
        for begin, end, number, code in self.values:
            free.update(range(number, number + WIDTHS[code]))
            free.update(range(begin, end) if len(self.values) == 1 else ())
        self.fixed = [(position, data[position - HEAD])
                      for position in range(HEAD, HEAD + len(data)) if position not in free]

    def _locate(self, data):
        if data[0] != 0x09:
            raise ValueError("no time")
        position = 9
        if data[position] == 0x10:
            _, end = varint(data, position + 1)
            self.step, position = range(HEAD + position + 1, HEAD + end), end
        else:
            self.step = range(0)
        if data[position] != 0x2A or len(self.step) > 9:          # ten bytes are a negative step
            raise ValueError("no summary")
        length, position = varint(data, position + 1)
        if position + length != len(data):
            raise ValueError("more than a summary")
        while position < len(data):
            position = self._value(data, position, len(data))
        names = [data[begin - HEAD:end - HEAD] for begin, end, _, _ in self.values]
        if not names or len(set(names)) < len(names) or self.tensor and len(names) > 1:
            raise ValueError("not each tag once")

    def _value(self, data, position, end):
        if data[position] != 0x0A:
            raise ValueError("no value")
        size, position = varint(data, position + 1)
        stop = position + size
        if stop > end or data[position] != 0x0A:
            raise ValueError("no tag")
        length, begin = varint(data, position + 1)
        position = begin + length
        if data[position] == 0x15 and position + 5 == stop:
            index, code = position + 1, "f"
        elif data[position] == 0x42:
            index, code = _tensor(data, position + 1, stop)
            self.tensor = True
        else:
            raise ValueError("no number alone")
        self.values.append((HEAD + begin, HEAD + begin + length, HEAD + index, code))
        return stop

    def misfits(self, frames, size):
        """Return the places of the records in `frames` (bytes, each of `size` bytes) that are written
        otherwise (list of int)."""
        count, odd = len(frames) // size, 0
        for position, byte in self.fixed:
            column = frames[position::size]
            if column.count(byte) != count:
                odd |= int.from_bytes(column.translate(_differs(byte)), "little")
        for position in self.step:
            flags = frames[position::size].translate(ENDS if position == self.step[-1] else CONTINUES)
            if 1 in flags:
                odd |= int.from_bytes(flags, "little")
        return ([position for position, flag in enumerate(odd.to_bytes(count, "little")) if flag] if odd
                else [])

    def numbers(self, frames, size):
        """Return (wall times, steps, [array('d') of each value]) of records that all fit."""
        count = len(frames) // size
        steps = list(frames[self.step[-1]::size]) if self.step else [0] * count
        for position in self.step[-2::-1]:
            steps = [(step << 7) + byte - 128 for step, byte in zip(steps, frames[position::size])]
        columns = [array("d", _column(frames, size, position, code)) for _, _, position, code in self.values]
        return list(_column(frames, size, HEAD + 1, "d")), steps, columns

    def tags(self, frames, size):
        """Return the tag of each record (list of bytes), or the one tag (bytes) that all have, of records
        with one value."""
        begin, end, _, _ = self.values[0]
        count = len(frames) // size
        if all(frames[position::size].count(frames[position]) == count for position in range(begin, end)):
            return frames[begin:end]
        length = end - begin
        return [frames[position:position + length] for position in range(begin, len(frames), size)]


def _tensor(data, position, stop):
    """Return (place, struct code) of the number in the TensorProto that ends at `stop`: dtype, an empty or no
    shape, the number."""
    length, position = varint(data, position)
    if position + length != stop or data[position] != 0x08:
        raise ValueError("no tensor")
    dtype, position = data[position + 1], position + 2
    if data[position] == 0x12 and data[position + 1] == 0:
        position += 2
    key, code = LISTS.get(dtype, (0, None))
    if data[position] == 0x22:
        code = CONTENT.get(dtype)
    elif data[position] != key:
        code = None
    if code is None or data[position + 1] != WIDTHS[code] or position + 2 + WIDTHS[code] != stop:
        raise ValueError("not one number")
    return position + 2, code


def _column(frames, size, position, code):
    width, count = WIDTHS[code], len(frames) // size
    raw = bytearray(width * count)
    for index in range(width):
        raw[index::width] = frames[position + index::size]
    return struct.unpack(f"<{count}{code}", raw)


@lru_cache(maxsize=256)
def _differs(byte):
    return bytes(value != byte for value in range(256))


def split(frames, size):
    """Take records of `size` bytes (bytes, one after the other) apart by the way they are written.

    Returns ([(Shape, places, their records as bytes)], places of the others).
    """
    pieces, others, places = [], [], list(range(len(frames) // size))
    for _ in range(SHAPES):
        if len(places) < WORTH:
            break
        try:
            shape = Shape(frames[HEAD:size - TAIL])
        except ValueError:
            others.append(places.pop(0))
            frames = frames[size:]
            continue
        odd = shape.misfits(frames, size)
        if not odd:
            return [*pieces, (shape, places, frames)], others
        alike = sorted(set(range(len(places))) - set(odd))
        mine = [places[position] for position in alike]
        if len(alike) < WORTH:
            others += mine
        else:
            pieces.append((shape, mine, _picked(frames, size, alike)))
        places, frames = [places[position] for position in odd], _picked(frames, size, odd)
    return pieces, others + places


def _picked(frames, size, places):
    return b"".join([frames[position * size:(position + 1) * size] for position in places])
