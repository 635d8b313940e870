"""Pictures: whatever the points and the number of buckets, every extreme is there, and a zoom that fits is
exact."""

import math
import random
from array import array

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runicorn.metrics.columns import BLOCK, Column
from runicorn.metrics.curves import Curve
from runicorn.metrics.downsample import extremes, picture, smoothed

FAIR = settings(max_examples=80, deadline=None)
gaps = st.one_of(st.just(1), st.integers(0, 3), st.floats(0, 1000))
values = st.one_of(st.floats(-100, 100), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
                   st.floats(-1e308, 1e308))
points = st.lists(st.tuples(gaps, values), min_size=1, max_size=40)


def curve_of(pairs, repeats=1):
    """Return a Curve of (gap, value) pairs, the whole repeated."""
    xs, ys, x = [], [], 0
    for gap, value in pairs * repeats:
        x += gap
        xs.append(float(x))
        ys.append(value)
    column = Column()
    for place in range(0, len(ys), 50):             # in portions, as a file grows
        column.extend(array("d", ys[place:place + 50]))
    return Curve(array("d", xs), column)


def finite(curve, first, end):
    return [(curve.xs[place], curve.column.values[place])
            for place in range(first, end) if math.isfinite(curve.column.values[place])]


@FAIR
@given(points, st.integers(1, 60), st.integers(1, 50))
@example([(1, 0.5)], 300, 3)
def test_every_extreme_of_every_bucket_and_of_all_is_there(pairs, repeats, buckets):
    curve = curve_of(pairs, repeats)
    shown = picture(curve, buckets=buckets)
    everything = finite(curve, 0, len(curve.xs))
    assert shown["m"] == shown["total"] == len(curve.xs) and shown["n"] == len(shown["x"]) <= max(buckets, 1)
    if not everything:
        assert shown["x"] == shown["min"] == shown["last"] == []
        return
    assert min(shown["min"]) == min(value for _, value in everything)
    assert max(shown["max"]) == max(value for _, value in everything)
    assert (shown["x"][-1], shown["last"][-1]) == everything[-1]
    assert shown["x"] == sorted(shown["x"]) and set(zip(shown["x"], shown["last"])) <= set(everything)
    assert set(zip(shown["min_x"], shown["min"])) <= set(everything)
    assert set(zip(shown["max_x"], shown["max"])) <= set(everything)
    if len(set(everything)) == len(everything):     # else it is not to be seen where a bucket ends
        check_stretches(shown, everything)


def check_stretches(shown, everything):
    """Each bucket ends at its `last`; between two ends lie exactly its points, whose extremes it tells."""
    begin = 0
    for x, last, low, high in zip(shown["x"], shown["last"], shown["min"], shown["max"]):
        end = everything.index((x, last)) + 1
        inside = [value for _, value in everything[begin:end]]
        assert (min(inside), max(inside)) == (low, high)
        begin = end
    assert begin == len(everything)


@pytest.mark.long
@FAIR
@given(points, st.integers(1, 20), st.floats(-10, 2000), st.floats(-10, 2000))
def test_a_zoom_that_fits_gives_exactly_the_points_of_the_range(pairs, repeats, one, other):
    curve, (lo, hi) = curve_of(pairs, repeats), sorted((one, other))
    inside = [(x, value) for x, value in zip(curve.xs, curve.column.values) if lo <= x <= hi]
    shown = picture(curve, lo, hi, buckets=max(1, len(inside)))
    assert shown["exact"] and shown["m"] == len(inside)
    kept = [(x, value) for x, value in inside if math.isfinite(value)]
    assert all(list(zip(shown[x], shown[y])) == kept
               for x, y in (("x", "last"), ("min_x", "min"), ("max_x", "max")))
    assert [x for x, _ in shown["nan"]] == [x for x, value in inside if not math.isfinite(value)]
    assert (shown["x_min"], shown["x_max"]) == ((inside[0][0], inside[-1][0]) if inside else (None, None))


@FAIR
@given(points, st.integers(1, 30), st.sampled_from([0.1, 0.6, 0.99]), st.integers(1, 40))
def test_smoothing_is_that_of_all_points_before(pairs, repeats, weight, buckets):
    curve = curve_of([(1, value if abs(value) < 1e100 or not math.isfinite(value) else 1.0)
                      for _, value in pairs], repeats)
    shown, want, state, count = picture(curve, buckets=buckets, smooth=weight), {}, 0.0, 0
    for x, value in zip(curve.xs, curve.column.values):
        if math.isfinite(value):
            state, count = state * weight + (1 - weight) * value, count + 1
        want[x] = state / (1 - weight ** count) if count else None
    assert all(math.isclose(value, want[x], rel_tol=1e-9, abs_tol=1e-9)
               for x, value in zip(shown["x"], shown["smooth"]))
    assert len(shown["smooth"]) == len(shown["x"])


@pytest.mark.long
@FAIR
@given(st.integers(0, 1 << 32), st.integers(1500, 6000), st.integers(3, 12), st.integers(0, 400),
       st.booleans())
def test_wide_buckets_of_whole_blocks_tell_the_same_extremes(seed, count, buckets, lo, even):
    rng = random.Random(seed)
    xs = array("q", range(count) if even else sorted(rng.sample(range(100 * count), count)))
    columns = Column(), Column()                    # two metrics of one group: they share where buckets end
    for column in columns:
        column.extend(array("d", [rng.choice([rng.random(), rng.gauss(0, 1e6)]) for _ in range(count)]))
    for column in columns:
        shown = picture(Curve(xs, column), lo=lo, buckets=buckets)
        inside = [(x, value) for x, value in zip(xs, column.values) if x >= lo]
        assert shown["m"] == len(inside) and shown["n"] <= buckets
        assert list(zip(shown["x"], shown["last"]))[-1] == inside[-1]
        assert set(zip(shown["min_x"], shown["min"])) | set(zip(shown["max_x"], shown["max"])) <= set(inside)
        check_stretches(shown, inside)


def test_five_spikes_of_one_step_in_a_million():
    spikes = {123: 9.0, 77_777: -9.5, 500_000: 12.0, 654_321: 7.0, 999_999: -3.0}
    column = Column()
    column.extend(array("d", [spikes.get(step, math.sin(step / 9e4)) for step in range(1_000_000)]))
    shown = picture(Curve(array("q", range(1_000_000)), column), buckets=2000)
    found = set(zip(shown["min_x"], shown["min"])) | set(zip(shown["max_x"], shown["max"]))
    assert set(spikes.items()) <= found
    assert 1900 < shown["n"] <= 2000 and not shown["exact"] and shown["m"] == 1_000_000


def test_buckets_of_an_even_curve_are_even():
    column = Column()
    column.extend(array("d", range(10_000)))
    # wide ones end where a block does
    for buckets, unevenness in ((2, BLOCK), (7, BLOCK), (100, 1), (101, 1)):
        x = picture(Curve(array("q", range(10_000)), column), buckets=buckets)["x"]
        assert len(x) == buckets // 2 * 2
        widths = [later - earlier for earlier, later in zip([-1, *x], x)]
        assert max(widths) - min(widths) <= unevenness


def test_buckets_serve_dense_and_sparse_stretches():
    dense, sparse = range(100_000), range(1_000_000, 100_000_000, 1_000_000)
    column = Column()
    column.extend(array("d", [0.0] * (len(dense) + len(sparse))))
    shown = picture(Curve(array("q", [*dense, *sparse]), column), buckets=400)
    assert sum(x < 100_000 for x in shown["x"]) > 150           # an even cut alone would give them one
    assert sum(x >= 1_000_000 for x in shown["x"]) > 90         # a cut by number of points alone would give
                                                                # them one


def test_marks_of_nan_and_infinities_one_of_a_kind_in_each_bucket():
    column = Column()
    column.extend(array("d", [1.0] * 100 + [math.nan] * 100_000 + [math.inf, -math.inf]))
    shown = picture(Curve(array("q", range(100_102)), column), buckets=100)
    assert shown["n"] < 10 and shown["last"][-1] == 1.0
    assert shown["nan"][0] == [100, "NaN"] and len(shown["nan"]) <= 102 and shown["bad"] == 100_002
    assert shown["nan"][-2:] == [[100_100, "Infinity"], [100_101, "-Infinity"]]


def test_extremes_and_smoothing_follow_a_growing_column():
    column = Column()
    assert extremes(column) == (None, None)
    for step in range(3 * BLOCK):
        column.extend(array("d", [float(step)]))
        assert extremes(column) == (0, step)
        alone = Column()
        alone.extend(column.values)
        assert smoothed(column, [step], 0.9) == smoothed(alone, [step], 0.9)


def test_relative_x_is_told_from_the_shift_and_sought_with_it():
    column = Column()
    column.extend(array("d", range(5)))
    curve = Curve(array("d", [1737653445.1 + step * 0.1 for step in range(5)]), column, 1737653445.1)
    assert picture(curve)["x"] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert picture(curve, lo=0.15, hi=0.35)["last"] == [2.0, 3.0]
