"""Hand the bytes of a foreign file to its kind's reader as they would come, and gather the points it gives."""

import json
import random


def read(reader, data, end=None, block=1 << 20, position=0):
    """Feed `data` up to `end` from `position` on; returns (Parts, the position behind what was used)."""
    end, parts, length = len(data) if end is None else end, [], block
    while True:
        piece = data[position:min(position + length, end)]
        used, got = reader.take(piece, end - position)
        assert 0 <= used <= end - position
        parts += got
        if used:
            position, length = position + used, block
        elif position + len(piece) == end or length >= 16 << 20:
            return parts, position
        else:
            length *= 2


def grown(make, data, seed, most=4096):
    """Feed `data` as it grows in steps of random size, in blocks of random size; a new reader goes on from the state now and then.

    Returns (the last reader, Parts).
    """
    rng = random.Random(seed)
    reader, parts, end, position = make(), [], 0, 0
    while end < len(data):
        end = min(len(data), end + rng.randint(1, most))
        got, position = read(reader, data, end, rng.choice((64, 1000, 1 << 20)), position)
        parts += got
        if rng.random() < 0.1:
            reader = make(json.loads(json.dumps(reader.state())))
    return reader, parts


def points(parts, facts=None):
    """Return {name: [(row, ts, step, value)]}, without what later starts superseded if `facts` are given."""
    out = {}
    for part in parts:
        assert len(part.rows) == len(part.ts) == len(part.steps) and list(part.rows) == sorted(set(part.rows))
        for name, column in zip(part.names, part.columns):
            assert len(column) == len(part.rows) and column.typecode == "d"
            out.setdefault(name, []).extend(zip(part.rows, part.ts, part.steps, column))
    for row, step, names in (facts or {}).get("purges", ()):
        for name in out if names is None else names:
            out[name] = [point for point in out.get(name, ()) if point[0] >= row or point[2] < step]
    return {name: sorted(mine, key=lambda point: point[0]) for name, mine in out.items()}


def values(parts, facts=None):
    """Return {name: [(ts, step, value as repr)]}: NaN equals NaN, -0.0 does not equal 0.0."""
    return {name: [(ts, step, repr(float(value))) for _, ts, step, value in mine] for name, mine in points(parts, facts).items() if mine}
