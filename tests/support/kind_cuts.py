"""Reads the bytes of a file as the caller of a kind's Reader does, however they are cut, and tells what was
read."""

import json
import random

BLOCK = 1 << 20
RECORD = 16 << 20


def points(parts):
    """Return {metric: [(row, ts, step, repr of the value), …]} of Parts, in the order of their rows."""
    read = {}
    for part in parts:
        for name, column in zip(part.names, part.columns):
            assert len(column) == len(part.rows) == len(part.ts) == len(part.steps)
            read.setdefault(name, []).extend(zip(part.rows, part.ts, part.steps, map(repr, column)))
    for name, rows in read.items():
        assert len({row for row, *_ in rows}) == len(rows), name
        rows.sort()
    return read


def steps_and_values(parts, name):
    """Return [(step, value), …] of a metric."""
    return [(step, float(value)) for _, _, step, value in points(parts).get(name, [])]


def counting(parts, facts):
    """Return {metric: [(ts, step, repr of the value), …]} of the points that no later start superseded, in
    the order of their rows."""
    read = points(parts)
    for row, step, names in facts.get("purges", ()):
        for name in read if names is None else set(names) & set(read):
            read[name] = [point for point in read[name] if point[0] >= row or point[2] < step]
    return {name: [point[1:] for point in rows] for name, rows in read.items() if rows}


class Growing:
    """A file that grows: `reader` has read all it could of what was there. Its state goes through JSON now
    and then."""

    def __init__(self, make, block=BLOCK):
        self.make, self.block, self.reader = make, block, make(None)
        self.data, self.position, self.parts = b"", 0, []

    def grow(self, more, restart=False):
        """Append bytes and read; restart: go on with a reader made from the state of the last one."""
        self.data += more
        if restart:
            self.reader = self.make(json.loads(json.dumps(self.reader.state())))
        while self.position < len(self.data):
            left, longest = len(self.data) - self.position, self.block
            used, parts = self.reader.take(self.data[self.position:self.position + longest], left)
            while not used and longest < min(left, RECORD):
                longest += self.block
                used, parts = self.reader.take(self.data[self.position:self.position + longest], left)
            assert 0 <= used <= left
            if not used:
                return self
            self.position += used
            self.parts += parts
        return self

    def outcome(self):
        """Return (points, skipped, facts), all that must be the same for every way of cutting."""
        return points(self.parts), self.reader.skipped, self.reader.facts()


def whole(make, data):
    """Return the Growing that has read `data` at once."""
    return Growing(make).grow(data)


def check_cuts(make, data, rounds=6, seed=0):
    """Assert that bytes one by one, cut at random, in small blocks and over restarts give what the whole file
    gives; return the Growing."""
    wanted = whole(make, data)
    one_by_one = Growing(make)
    for place in range(len(data) if len(data) < 6000 else 0):
        one_by_one.grow(data[place:place + 1], restart=place % 97 == 0)
    outcomes = [one_by_one.outcome()] if len(data) < 6000 else []
    dice = random.Random(seed)
    for turn in range(rounds):
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(1, 30)))
        growing = Growing(make, dice.choice([64, 997, 4096, BLOCK]))
        for begin, end in zip([0, *cuts], [*cuts, len(data)]):
            growing.grow(data[begin:end], restart=turn % 2 == 1)
        outcomes.append(growing.outcome())
    assert outcomes and all(outcome == wanted.outcome() for outcome in outcomes)
    return wanted


def spoiled(data, rng):
    """Return bytes with a few of them changed, left out or put in, as a hostile writer might have it. rng:
    random.Random."""
    data = bytearray(data)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        place, way = rng.randrange(len(data) + 1), rng.randrange(4)
        if way == 0:
            data[place:place + 1] = bytes([rng.choice((0, 1, 2, 8, 10, 16, 18, 42, 66, 127, 128, 255))])
        elif way == 1:
            del data[place:place + rng.randrange(1, 6)]
        elif way == 2:
            data[place:place] = rng.randbytes(rng.randrange(1, 6))
        else:
            data[place:] = data[:place][:400]
    return bytes(data)
