"""TensorBoard's records, made by hand."""

import struct


def varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def part(field, kind, data):
    return varint(field << 3 | kind) + (varint(len(data)) if kind == 2 else b"") + data


def event(ts, step, *values):
    body = part(1, 1, struct.pack("<d", ts)) + part(2, 0, varint(step)) + part(5, 2, b"".join(part(1, 2, value) for value in values))
    return struct.pack("<Q", len(body)) + b"\0" * 4 + body + b"\0" * 4


def simple(tag, value):
    return part(1, 2, tag.encode()) + part(2, 5, struct.pack("<f", value))
