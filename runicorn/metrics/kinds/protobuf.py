"""Read messages of protocol buffers field by field (protobuf.dev, "Encoding"). Knows no message, holds nothing."""

WIDTHS = {1: 8, 5: 4}           # bytes of a field of these wire types


def fields(data):
    """Yield (field number, wire type, value) of a message; bytes for types 1, 2 and 5, int below 2**64 for 0.

    Raises ValueError when it comes to what is no message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = (data[at], at + 1) if data[at] < 128 else varint(data, at)       # nearly always one byte: a third faster
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            size = WIDTHS.get(kind)
            if kind == 2 and at < end:
                size, at = (data[at], at + 1) if data[at] < 128 else varint(data, at)
            if size is None or at + size > end:
                raise ValueError("no protobuf message")
            value, at = data[at:at + size], at + size
        yield key >> 3, kind, value


def behind_field(data, at):
    """Return the place behind the field at `at`. Raises ValueError if there is none."""
    key, at = varint(data, at)
    if key & 7 == 0:
        return varint(data, at)[1]
    size, at = varint(data, at) if key & 7 == 2 else (WIDTHS.get(key & 7), at)
    if size is None or at + size > len(data):
        raise ValueError("no protobuf message")
    return at + size


def varint(data, at):
    """Return the varint at `at` (int below 2**64) and the place behind it. Raises ValueError if there is none."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("no varint")


def signed(value):
    """Return a 64-bit number as the two's complement it is (int)."""
    return value - (1 << 64) if value >> 63 else value


def inner(messages, number):
    """Return the messages or texts (bytes) in field `number` of each of `messages`. Raises ValueError."""
    return [value for message in messages for field, kind, value in fields(message) if (field, kind) == (number, 2)]


def text(data, limit=None):
    """Return bytes as text; what is no UTF-8, and the half of a character at `limit` bytes, shows as U+FFFD."""
    return data[:limit].decode("utf-8", "replace")
