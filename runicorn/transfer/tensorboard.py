"""Write TensorBoard event files: TFRecord framing around Event messages, by hand, so that no package is
needed. Reads none.

Formats: tensorflow/core/lib/io/record_writer.h (framing, masked CRC), tensorflow/core/util/event.proto and
tensorflow/core/framework/summary.proto (messages), tensorboard/plugins/hparams/plugin_data.proto
(hyperparameters).
"""

from __future__ import annotations

import math
import struct
from functools import reduce
from operator import getitem, xor

from runicorn.metrics.kinds import crc32c

FLOAT32_MAX = 3.4028235677973366e38         # from here on a value rounds to infinity
# hparams' Status: success, failure, running
STATUS = {"finished": 1, "failed": 2, "interrupted": 2, "running": 3}


# -- framing -------------------------------------------------------------------------------------------------

def masked(crc: int) -> bytes:
    """Return a CRC as TFRecord stores it (bytes)."""
    return struct.pack("<I", crc32c.masked(crc))


_LENGTHS = {}                   # length -> its 12 bytes; records of one file have few different ones


def record(data: bytes) -> bytes:
    """Return `data` (bytes) framed as one record."""
    if len(data) not in _LENGTHS:
        length = struct.pack("<Q", len(data))
        _LENGTHS[len(data)] = length + masked(crc32c.crc32c(length))
    return _LENGTHS[len(data)] + data + masked(crc32c.crc32c(data))


# -- protocol buffers: only what these messages need (protobuf.dev, "Encoding") ------------------------------

def varint(value: int) -> bytes:
    """Return a 64-bit integer as a protobuf varint (bytes); a negative one as its two's complement."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(field: int, data: bytes | str) -> bytes:
    """Return field number `field` holding `data` (bytes, or str as UTF-8) with its length."""
    data = data.encode("utf-8", "replace") if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def double(field: int, value: float) -> bytes:
    """Return field number `field` holding a float64."""
    return varint(field << 3 | 1) + struct.pack("<d", value)


def integer(field: int, value: int) -> bytes:
    """Return field number `field` holding an integer."""
    return varint(field << 3) + varint(value)


# -- events --------------------------------------------------------------------------------------------------

def opening(ts: float) -> bytes:
    """Return the record every event file begins with (bytes)."""
    return record(double(1, ts) + message(3, "brain.Event:2"))


class Scalars:
    """Makes records of scalars. Records of the same tags differ in a few bytes only, so only those are packed
    and summed."""

    def __init__(self):
        self._forms = {}

    def record(self, ts, step, tags, values):
        """Return one record (bytes) of the values (floats; TensorBoard keeps them as float32) of `tags`
        (tuple of str)."""
        step = varint(int(step))
        form = self._forms.get((tags, len(step)))
        if form is None:
            form = self._forms[tags, len(step)] = _Form(tags, len(step))
        try:
            return form.record(struct.pack(form.changing, ts, step, *values))
        except OverflowError:           # beyond float32
            return form.record(struct.pack(form.changing, ts, step, *map(_single, values)))


class _Form:
    """An Event message with scalars: its fixed bytes, and where the time, the step and the values go."""

    def __init__(self, tags, step_bytes):
        around = [_around(tag) for tag in tags]
        length = sum(len(text) + 4 for text in around)
        self.changing = f"<d{step_bytes}s{len(tags)}f"
        # Event.wall_time, step, summary
        pieces = [b"\x09", 8, b"\x10", step_bytes, b"\x2a" + varint(length)]
        for text in around:
            pieces += [text, 4]
        self.fixed = b"".join(bytes(piece) for piece in pieces)                     # bytes(8) are eight zeros
        places, offset = [], 0
        for piece in pieces:
            size = piece if isinstance(piece, int) else len(piece)
            places += range(offset, offset + size) if isinstance(piece, int) else ()
            offset += size
        self.places = places
        self.head = record(self.fixed)[:12]
        self.base = crc32c.crc32c(self.fixed) if offset <= crc32c.CHUNK else None
        self.tables = [crc32c.table(offset - 1 - index) for index in places] if offset <= crc32c.CHUNK else ()

    def record(self, data):
        """Return the record whose changing bytes are `data`. The sum is linear: theirs is xored onto that of
        the fixed ones."""
        body = bytearray(self.fixed)
        for index, byte in zip(self.places, data):
            body[index] = byte
        if self.base is None:
            return record(bytes(body))
        return b"%b%b%b" % (self.head, body, masked(reduce(xor, map(getitem, self.tables, data), self.base)))


def _around(tag):
    """Return the bytes of a Summary with one value, up to its four bytes of float32."""
    value = message(1, tag) + b"\x15"               # 2, fixed32: Summary.Value.simple_value
    return b"\x0a" + varint(len(value) + 4) + value


def _single(value):
    return math.copysign(math.inf, value) if abs(value) >= FLOAT32_MAX else value


def hparams(config, metrics, started, ended, state):
    """Return the records (bytes) that TensorBoard's HPARAMS page reads.

    config: {name: bool, number or str}; metrics: tags to show beside them; started, ended: Unix seconds or
    None; state: as in STATUS, anything else is unknown.
    """
    infos = b"".join(message(4, message(1, name) + integer(4, _kind(value)))
                     for name, value in config.items())
    shown = b"".join(message(5, message(1, message(2, tag))) for tag in metrics)
    values = b"".join(message(1, message(1, name) + message(2, _value(value)))
                      for name, value in config.items())
    content = {"_hparams_/experiment": message(2, infos + shown),
               "_hparams_/session_start_info": message(3, values + double(5, started or 0.0)),
               "_hparams_/session_end_info": message(4,
                                                     integer(1, STATUS.get(state, 0))
                                                     + double(2, ended or 0.0))}
    for tag, data in content.items():
        metadata = message(9, message(1, message(1, "hparams") + message(2, data)))
        yield record(double(1, started or 0.0) + message(5, message(1, message(1, tag) + metadata)))


def _kind(value):
    """Return the DataType of hparams' api.proto: 1 text, 2 bool, 3 float64."""
    return 2 if isinstance(value, bool) else 3 if isinstance(value, (int, float)) else 1


def _value(value):
    """Return a google.protobuf.Value."""
    if isinstance(value, bool):
        return integer(4, value)
    return double(2, value) if isinstance(value, (int, float)) else message(3, str(value))
