"""Numbers and texts of TensorFlow's TensorProto, and the hyperparameters of TensorBoard's HPARAMS plugin.
Opens no file.

Formats: tensorflow/core/framework/{tensor,types}.proto, tensorboard/plugins/hparams/plugin_data.proto,
google/protobuf/struct.proto.
"""

import struct

from runicorn.metrics.kinds.protobuf import fields, inner, signed, text, varint

# DataType -> struct code: float, double, int32, uint8, int16, int8, int64, bool, uint16, half, uint32, uint64
CODES = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 17: "H", 19: "e", 22: "I", 23: "Q"}
BFLOAT16, STRING = 14, 7
# Where single values stand: float_val, double_val, int_val, int64_val, bool_val, half_val, uint32_val,
# uint64_val
LISTS = {1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 9: 10, 10: 11, 14: 13, 17: 7, 19: 13, 22: 16, 23: 17}
SIZES = {"f": 4, "d": 8, "i": 4, "B": 1, "h": 2, "b": 1, "q": 8, "?": 1, "H": 2, "e": 2, "I": 4, "Q": 8}
DEEPEST = 16                    # lists and dicts within one another in a hyperparameter


def number(message):
    """Return the number in a TensorProto of exactly one, else None. Raises ValueError on what is no
    message."""
    dtype, elements, content, lists = 0, 1, b"", []
    for field, kind, value in fields(message):
        if (field, kind) == (1, 0):
            dtype = value
        elif (field, kind) == (2, 2):
            for size in inner([value], 2):
                elements *= next((signed(item) for name, _, item in fields(size) if name == 1), 0)
        elif (field, kind) == (4, 2):
            content = value
        elif len(lists) < 4:
            lists.append((field, kind, value))
    if elements != 1 or dtype not in LISTS:
        return None
    if content:
        return _from_content(dtype, content)
    values = [(kind, value) for field, kind, value in lists if field == LISTS[dtype]]
    return _from_list(dtype, *values[0]) if len(values) == 1 else None


def _from_content(dtype, content):
    if dtype == BFLOAT16:
        return _bfloat16(content) if len(content) == 2 else None
    code = CODES[dtype]
    return struct.unpack("<" + code, content)[0] if len(content) == SIZES[code] else None


def _from_list(dtype, kind, value):
    """Return the one number in a list of one: packed (kind 2) or not."""
    code = CODES.get(dtype, "e")
    if code in "fd":
        return struct.unpack("<" + code, value)[0] if kind != 0 and len(value) == SIZES[code] else None
    if kind == 2:
        if not value:
            return None
        packed, (value, end) = value, varint(value, 0)
        if end != len(packed):
            return None
    elif kind != 0:
        return None
    if dtype == BFLOAT16:
        return _bfloat16(struct.pack("<H", value & 0xFFFF))
    if code == "e":
        return struct.unpack("<e", struct.pack("<H", value & 0xFFFF))[0]
    return bool(value) if code == "?" else value if code == "Q" else signed(value)


def _bfloat16(raw):
    return struct.unpack("<f", b"\0\0" + raw)[0]


def strings(message, limit):
    """Return the texts in a TensorProto joined by newlines, at most about `limit` bytes. Raises
    ValueError."""
    pieces, size = [], 0
    for field, kind, value in fields(message):
        if (field, kind) == (8, 2) and size < limit:
            pieces.append(value[:limit - size])
            size += len(value) + 1
    return text(b"\n".join(pieces))


def hyperparameters(content):
    """Return those in the plugin data (bytes) of a session's start (dict), empty if it is something else.
    Raises ValueError."""
    config = {}
    for pair in inner(inner([content], 3), 1):                      # session_start_info, hparams
        name = text(b"".join(inner([pair], 1)))
        values = [_value(item) for item in inner([pair], 2)]
        if name and values and values[-1] is not None:
            config[name] = values[-1]
    return config


def _value(message, levels=DEEPEST):
    """Return a google.protobuf.Value as JSON has it."""
    for field, kind, value in fields(message) if levels else ():
        if (field, kind) == (2, 1):
            number, = struct.unpack("<d", value)
            return int(number) if number.is_integer() and abs(number) < 1 << 53 else number
        if (field, kind) == (3, 2):
            return text(value)
        if (field, kind) == (4, 0):
            return bool(value)
        if (field, kind) == (5, 2):
            return {text(b"".join(inner([pair], 1))): _value(item, levels - 1)
                    for pair in inner([value], 1) for item in inner([pair], 2)}
        if (field, kind) == (6, 2):
            return [_value(item, levels - 1) for item in inner([value], 1)]
    return None
