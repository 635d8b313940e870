"""TensorBoard's records, made by hand."""

import struct

from runicorn.metrics.kinds.crc32c import crc32c, masked

SCALARS = b"\x0a\x07scalars"                   # SummaryMetadata.PluginData.plugin_name


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
    body = (part(1, 1, struct.pack("<d", ts)) + part(2, 0, varint(step))
            + part(5, 2, b"".join(part(1, 2, value) for value in values)))
    return record(body)


def record(data):
    head = struct.pack("<Q", len(data))
    return b"".join([head, struct.pack("<I", masked(crc32c(head))), data,
                     struct.pack("<I", masked(crc32c(data)))])


def simple(tag, value):
    return part(1, 2, tag.encode()) + part(2, 5, struct.pack("<f", value))
