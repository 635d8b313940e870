"""Rows of thousands of metrics, always the same or never: read as JSON reads them, in time that grows with
the values and not with the width, and held for what `nbytes` says."""

import json
import math
import random
import time
import tracemalloc

import pytest

from runicorn.metrics import columns, wide
from runicorn.metrics.column_file import File
from runicorn.metrics.columns import BLOCK

DRAW = random.Random(1)
ROWS = {
    "one row": lambda: [range(20_000)],
    "sliding": lambda: [range(n * 100, n * 100 + 3000) for n in range(30)],
    "alternating, disjoint": lambda: [range(n % 2 * 3000, n % 2 * 3000 + 3000) for n in range(40)],
    "alternating, some shared": lambda: [[k for k in range(3000) if k % (2 + n % 3)] for n in range(40)],
    "scattered": lambda: [DRAW.sample(range(3000), 60) for _ in range(1000)],
    "scattered, wide": lambda: [DRAW.sample(range(6000), 1500) for _ in range(40)],
    "each once": lambda: [range(n * 500, n * 500 + 500) for n in range(60)],
    "one metric a row": lambda: [[n % 700] for n in range(20_000)],
}
NAMES = {"plain": "m{}".format, "control characters": "a\n\0\x1b[31m{}".format,
         "long": lambda n: "x" * 200 + str(n)}


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


@pytest.mark.few(4)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", ROWS)
def test_wide_rows_are_read_as_they_are(tmp_path, shape, name):
    points = written(tmp_path / "events.jsonl", ROWS[shape](), NAMES[name])
    table = read(tmp_path / "events.jsonl")
    held = {metric: list(zip(group.rows, group.columns[metric].values))
            for metric, group in table.where.items()}
    assert held == points and list(held) == list(points) and table.rows == len(ROWS[shape]())


def test_names_of_a_megabyte_are_read(tmp_path):
    points = written(tmp_path / "events.jsonl", [[n % 3] for n in range(12)],
                     lambda n: str(n) + "x" * 1_000_000)
    assert {name: list(group.columns[name].values)
            for name, group in read(tmp_path / "events.jsonl").where.items()} == {
                name: [value for _, value in rows] for name, rows in points.items()}


@pytest.mark.long
def test_the_time_grows_with_the_values_and_not_with_the_width(tmp_path):
    seconds = {}
    for width in (500, 4000):
        written(tmp_path / f"{width}.jsonl",
                [DRAW.sample(range(2 * width), width) for _ in range(100_000 // width)])
        began = time.process_time()
        read(tmp_path / f"{width}.jsonl")
        seconds[width] = time.process_time() - began
    assert seconds[4000] < 12 * seconds[500] + 0.5, "each name was looked for among all of its row"


@pytest.mark.few(1)
@pytest.mark.parametrize("shape", ROWS)
def test_what_is_held_is_what_nbytes_says(tmp_path, shape):
    written(tmp_path / "events.jsonl", ROWS[shape]())
    read(tmp_path / "events.jsonl")         # what the first reading makes once is not held by a table
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        table = read(tmp_path / "events.jsonl")
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 * held < table.nbytes() < 1.2 * held


@pytest.mark.few(1)
@pytest.mark.parametrize("shape", sorted(set(ROWS) - {"one metric a row"}))      # that one has no wide rows
def test_no_column_is_made_before_it_is_asked_for(tmp_path, monkeypatch, shape):
    made, plain = [], columns.Column.__init__
    monkeypatch.setattr(columns.Column, "__init__", lambda column: (made.append(column), plain(column))[1])
    points = written(tmp_path / "events.jsonl", ROWS[shape]())
    table = read(tmp_path / "events.jsonl")
    assert list(table.where) == list(points) and not made
    metric, found = next(reversed(points.items()))
    assert list(table.where[metric].columns[metric].values) == [value for _, value in found]
    assert len(made) == 1


@pytest.mark.few(1)
@pytest.mark.parametrize("shape", sorted(set(ROWS) - {"one metric a row"}))
def test_wide_rows_cost_a_few_times_their_json(tmp_path, shape):
    path, ratios = tmp_path / "events.jsonl", []
    written(path, ROWS[shape]())
    lines = path.read_bytes().splitlines()
    for _ in range(3):
        began = time.process_time()
        for line in lines:
            json.loads(line)
        alone = time.process_time() - began
        began = time.process_time()
        read(path)
        ratios.append((time.process_time() - began - 0.02) / alone)
    assert min(ratios) < 8, "an array or a list is made for each value"


def mixed(path):
    """Write blocks of narrow and of wide rows in turns, with NaN, big integers and steps that are no
    integers; return {metric: [(row, step, value), …]}."""
    points, row = {}, 0
    with open(path, "w") as file:
        for part in range(6):
            for n in range(12_000 if part % 2 else 30):
                data = {"loss": row / 3, "lr": "NaN" if row % 1000 == 7 else row}
                if not part % 2:
                    data.update((f"m{k}", 10 ** 400 if k == 5 and n == 3 else k * n / 7)
                                for k in DRAW.sample(range(3000), 1500))
                step = row + 0.5 if part == 4 and n % 5 == 0 else row
                file.write(json.dumps({"ts": 1e9 + row, "step": step, "data": data}) + "\n")
                for metric, value in data.items():
                    value = math.inf if type(value) is int and value > 1e300 else float(value)
                    points.setdefault(metric, []).append((row, step, value))
                row += 1
    return points


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("limit", [1, wide.LIMIT])
@pytest.mark.parametrize("asked", [False, True], ids=["at the end", "at each step"])
def test_wide_and_narrow_rows_in_turns_are_one_table(tmp_path, monkeypatch, limit, asked):
    monkeypatch.setattr(columns, "LIMIT", limit)
    points = mixed(tmp_path / "events.jsonl")
    file = File(str(tmp_path / "events.jsonl"), str(tmp_path / "cache"))
    file.look()
    while file.step():
        assert not asked or all(len(group.columns[metric].values) == len(group.rows)
                                for metric, group in file.table.where.items())
    file.save()
    again = File(str(tmp_path / "events.jsonl"), str(tmp_path / "cache"))
    assert not again.look()
    for table in (file.table, again.table):
        held = {metric: list(zip(group.rows, group.steps, group.columns[metric].values))
                for metric, group in table.where.items()}
        assert str({name: [(row, float(step), value) for row, step, value in rows]
                    for name, rows in held.items()}) == str(
                        {name: [(row, float(step), value) for row, step, value in rows]
                         for name, rows in points.items()})
        for group in table.groups():
            for column in group.columns.values():
                assert len(column.lows) == len(column.values) // BLOCK
                assert list(column.bad) == [place for place, value in enumerate(column.values)
                                            if not math.isfinite(value)]
