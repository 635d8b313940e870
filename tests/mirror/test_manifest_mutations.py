"""A server's manifest, changed at random: the sync goes on, all of every run comes, and what is said of a run
is what the server has."""

import json
import os
import random
import re

import pytest
from manifests import POISON
from pairs import OLD, Pair, make_run, root, tree, write  # noqa: F401 (fixture)

from runicorn import manifest
from runicorn.reader.catalog import Catalog

RUNS = [f"p{number}/n/runs/20250123_18000{number}_abc123" for number in range(4)]
STEMS = ("meta", "status", "summary")
VALUE = re.compile(rb'(?<=: )(?:-?[\d.]+(?:e-?\d+)?|"[^"\\]*"|true|false|null|\{\}|\[\])')
NAME = re.compile(rb'"[\w.]+": ')
NAMES = [b'"\\ud800": ', b'"": ', b'"/etc/passwd": ', b'"a/../../b": ', b'"' + b"n" * 300 + b'": ']


def some_bytes(chance, data):
    for _ in range(chance.randrange(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)


def cut(chance, data):
    del data[chance.randrange(len(data)):]


def lose(chance, data):
    start = chance.randrange(len(data))
    del data[start:start + chance.randrange(1, 200)]


def repeat(chance, data):
    start, to = chance.randrange(len(data)), chance.randrange(len(data))
    data[to:to] = data[start:start + chance.randrange(1, 400)]


def values(chance, data):
    for match in sorted(chance.sample(list(VALUE.finditer(data)), 2), key=re.Match.start, reverse=True):
        data[match.start():match.end()] = chance.choice(list(POISON.values())).encode()


def names(chance, data):
    first, other = chance.sample(list(NAME.finditer(data)), 2)
    data[first.start():first.end()] = chance.choice([other[0], chance.choice(NAMES)])


CHANGES = (some_bytes, cut, lose, repeat, values, values, names)


def wrong(one, folder):
    """Return what is not as it is on the server (list)."""
    entries = {path: one.sync._index.entry(path) for path in RUNS if path in one.sync._index}
    small = {path: {stem: json.loads((folder / path / f"{stem}.json").read_text()) for stem in STEMS}
             for path in RUNS}
    return [path for path in RUNS if path not in entries or not entries[path]["ended"]
            or {stem: entries[path][stem] for stem in small[path]} != small[path]]


@pytest.mark.parametrize("count", [4, pytest.param(500, marks=pytest.mark.chaos)])
def test_a_manifest_changed_at_random_costs_nothing(root, tmp_path, count):
    for path in RUNS:
        make_run(root, path, rows=3)
    manifest.generate(root)
    full, chance = root / ".runicorn" / manifest.FULL, random.Random(15)
    (root / ".runicorn" / manifest.ACTIVE).unlink()
    sound = full.read_bytes()
    for number in range(count):
        data = bytearray(sound)
        chance.choice(CHANGES)(chance, data)
        write(full, bytes(data), OLD + number)
        one = Pair(root, tmp_path / "mirrors" / f"m{number}")
        one.others = dict               # nothing is written there, which other tests look at
        for seconds in (0, 31, 3):
            one.passes(seconds)
        one.same()
        assert wrong(one, root) == [], (number, bytes(data))
        write(full, sound, OLD + 5000 + number)
        one.passes(31)
        one.same()
        catalog = Catalog([], [("m", one.mirror)])
        catalog.refresh()
        assert [path for path in RUNS
                if not catalog.run(f"m:{path.replace('/runs/', '/')}")["verified"]] == [], (
                    number, bytes(data))
        one.close()
    assert len(os.listdir(tmp_path / "mirrors")) == count
