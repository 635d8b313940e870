"""Rows of thousands of metrics, always the same or never: read as JSON reads them, in time that grows with the values and not with the
width, and held for what `nbytes` says."""

import json
import random
import time
import tracemalloc

import pytest

from runicorn.columns import File

DRAW = random.Random(1)
ROWS = {
    "one row": [range(20_000)],
    "sliding": [range(n * 100, n * 100 + 3000) for n in range(30)],
    "alternating, disjoint": [range(n % 2 * 3000, n % 2 * 3000 + 3000) for n in range(40)],
    "alternating, some shared": [[k for k in range(3000) if k % (2 + n % 3)] for n in range(40)],
    "scattered": [DRAW.sample(range(3000), 60) for _ in range(1000)],
    "scattered, wide": [DRAW.sample(range(6000), 1500) for _ in range(40)],
    "each once": [range(n * 500, n * 500 + 500) for n in range(60)],
    "one metric a row": [[n % 700] for n in range(20_000)],
}
NAMES = {"plain": "m{}".format, "control characters": "a\n\0\x1b[31m{}".format, "long": lambda n: "x" * 200 + str(n)}


def written(path, rows, name="m{}".format):
    """Write rows of the metrics `rows` (lists of int); returns {metric: [(row, value), …]}."""
    points = {}
    with open(path, "w") as file:
        for row, metrics in enumerate(rows):
            data = {name(metric): (row * 31 + metric) / 7 for metric in metrics}
            file.write(json.dumps({"ts": 1e9 + row, "step": row, "data": data}) + "\n")
            for metric, value in data.items():
                points.setdefault(metric, []).append((row, value))
    return points


def read(path):
    file = File(str(path))
    file.look()
    while file.step():
        pass
    return file.table


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", ROWS)
def test_wide_rows_are_read_as_they_are(tmp_path, shape, name):
    points = written(tmp_path / "events.jsonl", ROWS[shape], NAMES[name])
    table = read(tmp_path / "events.jsonl")
    held = {metric: list(zip(group.rows, group.columns[metric].values)) for metric, group in table.where.items()}
    assert held == points and list(held) == list(points) and table.rows == len(ROWS[shape])


def test_names_of_a_megabyte_are_read(tmp_path):
    points = written(tmp_path / "events.jsonl", [[n % 3] for n in range(12)], lambda n: str(n) + "x" * 1_000_000)
    assert {name: list(group.columns[name].values) for name, group in read(tmp_path / "events.jsonl").where.items()} == {
        name: [value for _, value in rows] for name, rows in points.items()}


def test_the_time_grows_with_the_values_and_not_with_the_width(tmp_path):
    seconds = {}
    for width in (500, 4000):
        written(tmp_path / f"{width}.jsonl", [DRAW.sample(range(2 * width), width) for _ in range(100_000 // width)])
        began = time.process_time()
        read(tmp_path / f"{width}.jsonl")
        seconds[width] = time.process_time() - began
    assert seconds[4000] < 12 * seconds[500] + 0.5, "each name was looked for among all of its row"


@pytest.mark.parametrize("shape", ROWS)
def test_what_is_held_is_what_nbytes_says(tmp_path, shape):
    written(tmp_path / "events.jsonl", ROWS[shape])
    read(tmp_path / "events.jsonl")         # what the first reading makes once is not held by a table
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        table = read(tmp_path / "events.jsonl")
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 * held < table.nbytes() < 1.2 * held
