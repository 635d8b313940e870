"""Many points on an axis that is in no order: as a plain sort has them, in little memory."""

import random
import tracemalloc
from array import array

import pytest

from runicorn.metrics import columns, curves

POINTS = 200_000
AXES = {
    "spread": lambda chance, index: chance.random(),
    "skewed": lambda chance, index: chance.random() ** 40,
    "few values": lambda chance, index: float(chance.randrange(3)),
    "two values": lambda chance, index: float(index % 2),
    "falling": lambda chance, index: float(-index),
    "one beyond all": lambda chance, index: 1e300 if index == 7 else chance.random(),
    "negative zero": lambda chance, index: chance.choice((-0.0, 0.0, 1.0)),
}


@pytest.mark.few()
@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("count", [2, 1000, POINTS])
def test_points_are_in_the_order_of_x_and_else_as_they_were_logged(name, count):
    chance = random.Random(5)
    xs = array("d", [AXES[name](chance, index) for index in range(count)])
    values = array("d", range(count))
    order = sorted(range(count), key=xs.__getitem__)
    assert curves.by_x(xs, values) == (array("d", [xs[index] for index in order]), array("d", order))


def test_whole_numbers_stay_whole():
    xs = array("q", [(1 << 62) - index * 7919 % 1000 for index in range(POINTS)])
    sorted_xs, values = curves.by_x(xs, array("d", range(POINTS)))
    assert sorted_xs == array("q", sorted(xs)) and sorted(values) == list(range(POINTS))


@pytest.mark.long
def test_sorting_takes_little_memory_beside_the_points():
    chance = random.Random(6)
    xs, values = (array("d", [chance.random() for _ in range(POINTS)]) for _ in range(2))
    tracemalloc.start()
    try:
        assert len(curves.by_x(xs, values)[0]) == POINTS
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Bytes a point, 16 of them what is returned; a list of them all takes 100 and more
    assert peak / POINTS < 60


def test_whether_numbers_ascend_is_seen_across_the_stretches_looked_at(monkeypatch):
    for stretch in (1, 2, 3, 1000):
        monkeypatch.setattr(columns, "STRETCH", stretch)
        for numbers in ([], [1], [1, 1], [1, 2, 3, 4, 5, 6, 7], [2, 1], [1, 2, 3, 4, 3], [1, 3, 2, 4, 5, 6],
                        [1, 2, 4, 3]):
            for before in ((), [0], [1], [9]):
                whole = [*before[-1:], *numbers] if numbers else []
                assert columns.ascending(array("d", numbers), before) is (whole == sorted(whole)), (
                    stretch, numbers, before)
