"""Read messages of protocol buffers field by field (protobuf.dev, "Encoding"). Knows no message, holds
nothing."""

WIDTHS = {1: 8, 5: 4}           # bytes of a field of these wire types


def fields(data):
    """Yield (field number, wire type, value) of a message; bytes for types 1, 2 and 5, int below 2**64 for 0.

    Raises ValueError when it comes to what is no message.
    """
    position, end = 0, len(data)
    while position < end:
        # nearly always one byte: a third faster
        key, position = (data[position], position + 1) if data[position] < 128 else varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = varint(data, position)
        else:
            size = WIDTHS.get(kind)
            if kind == 2 and position < end:
                size, position = ((data[position], position + 1) if data[position] < 128
                                  else varint(data, position))
            if size is None or position + size > end:
                raise ValueError("no protobuf message")
            value, position = data[position:position + size], position + size
        yield key >> 3, kind, value


def behind_field(data, position):
    """Return the place behind the field at `position`. Raises ValueError if there is none."""
    key, position = varint(data, position)
    if key & 7 == 0:
        return varint(data, position)[1]
    size, position = varint(data, position) if key & 7 == 2 else (WIDTHS.get(key & 7), position)
    if size is None or position + size > len(data):
        raise ValueError("no protobuf message")
    return position + size


def varint(data, position):
    """Return the varint at `position` (int below 2**64) and the place behind it. Raises ValueError if there
    is none."""
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
    raise ValueError("no varint")


def signed(value):
    """Return a 64-bit number as the two's complement it is (int)."""
    return value - (1 << 64) if value >> 63 else value


def inner(messages, number):
    """Return the messages or texts (bytes) in field `number` of each of `messages`. Raises ValueError."""
    return [value for message in messages for field, kind, value in fields(message)
            if (field, kind) == (number, 2)]


def text(data, limit=None):
    """Return bytes as text; what is no UTF-8, and the half of a character at `limit` bytes, shows as
    U+FFFD."""
    return data[:limit].decode("utf-8", "replace")
