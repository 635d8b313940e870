"""Pictures of curves: so many points into so few buckets that no extreme is lost, and smoothing. Pure: reads
no file.

A bucket is a stretch of neighbouring points; it answers with its minimum, maximum and last finite value and
where each of them stands.
"""

from __future__ import annotations

import math
import weakref
from bisect import bisect_left, bisect_right
from functools import reduce
from itertools import accumulate
from typing import TYPE_CHECKING

from runicorn.metrics.columns import BLOCK, STRETCH

if TYPE_CHECKING:
    from typing import Any

    from runicorn.metrics.columns import Column
    from runicorn.metrics.curves import Curve

# Blocks in an average bucket from which bounds may move to the next block: an eighth of a bucket
SNAP = 4
WEIGHTS_KEPT = 4            # smoothings remembered of a column


def picture(curve: Curve, lo: float | None = None, hi: float | None = None, buckets: int = 600,
            smooth: float = 0.0) -> dict[str, Any]:
    """Return the picture of a curves.Curve between `lo` and `hi` (its x, inclusive) in at most `buckets`
    buckets.

    {"n", "m", "total": points drawn, in range, in all; "x", "last": the last finite point of each bucket;
    "min", "min_x", "max", "max_x": its extremes; "smooth": the smoothed value at `x`, or None; "nan": [[x,
    "NaN" or "Infinity" or "-Infinity"], …], one of a kind in each bucket; "bad": how many there are in all;
    "x_min", "x_max": of the range; "exact": whether every point is shown}
    """
    start, end = curve.span(lo, hi)
    exact = end - start <= buckets
    bounds = range(start, end + 1) if exact else _shared_bounds(curve.xs, start, end, buckets)
    bad = curve.column.bad[bisect_left(curve.column.bad, start):bisect_left(curve.column.bad, end)]
    low, high, last = _places(curve.column, bounds, clean=not bad)
    x, value = curve.x if curve.shift else curve.xs.__getitem__, curve.column.values.__getitem__
    return {"n": len(last), "m": end - start, "total": len(curve.xs), "exact": exact, "x": list(map(x, last)),
            "last": list(map(value, last)), "min_x": list(map(x, low)), "min": list(map(value, low)),
            "max_x": list(map(x, high)), "max": list(map(value, high)),
            "smooth": smoothed(curve.column, last, smooth) if smooth else None,
            "nan": _marks(curve, bad, bounds), "bad": len(bad), "x_min": x(start) if end > start else None,
            "x_max": x(end - 1) if end > start else None}


def extremes(column: Column) -> tuple[int | None, int | None]:
    """Return the places of the smallest and the largest finite value, (None, None) without any."""
    end = len(column.values)
    return _extreme(column, 0, end, min, column.lows), _extreme(column, 0, end, max, column.highs)


# The x, what was asked of them, and their bounds: metrics of one group share all three
_LAST = [(lambda: None, (), None)]


def _shared_bounds(xs, start, end, buckets):
    """Return `_bounds`, computed once for metrics that were logged together and are asked for one after the
    other."""
    curve_xs, question, bounds = _LAST[0]
    if curve_xs() is not xs or question != (len(xs), start, end, buckets):
        bounds = _bounds(xs, start, end, buckets)
        _LAST[0] = weakref.ref(xs), (len(xs), start, end, buckets), bounds
    return bounds


def _bounds(xs, start, end, buckets):
    """Return ascending places that cut [first, end) into at most `buckets` stretches.

    Half of the cuts are evenly spaced in x, for an even axis; half in number of points, for a logarithmic
    axis and for a curve that is logged densely in one stretch only. The two kinds interleave where x is even.
    """
    half, count = buckets // 2, end - start
    low, width = xs[start], xs[end - 1] - xs[start]
    cuts = {start + count * (2 * k + 1) // (2 * half) for k in range(half)}
    if width > 0 and math.isfinite(width):
        index = start
        for k in range(1, half):
            index = bisect_left(xs, low + width * k / half, index, end)
            cuts.add(index)
    if count >= buckets * BLOCK * SNAP:
        cuts = {(cut + BLOCK // 2) // BLOCK * BLOCK for cut in cuts}
    return [start, *sorted(cut for cut in cuts if start < cut < end), end]


def _places(column, bounds, clean):
    """Return the places of the minimum, maximum and last finite value of each bucket that has one (three
    lists).

    clean: whether all values in the range are finite.
    """
    start, end, count = bounds[0], bounds[-1], len(bounds) - 1
    if clean and count == end - start:
        return (list(bounds[:-1]),) * 3
    if clean and end - start < count * BLOCK:       # too few in a bucket for blocks to help
        values = column.values[start:end].tolist()
        parts = [values[a - start:b - start] for a, b in zip(bounds, bounds[1:])]
        low, high = ([a + stretch.index(best) for a, stretch, best in zip(bounds, parts, map(pick, parts))]
                     for pick in (min, max))
        return low, high, [b - 1 for b in bounds[1:]]
    if clean and count > 2 and all(bound % BLOCK == 0 for bound in bounds[1:-1]):
        ends = [_bucket(column, a, b, clean) for a, b in (bounds[:2], bounds[-2:])]
        low, high = (_by_blocks(column.values, blocks, bounds[1:-1], pick)
                     for blocks, pick in ((column.lows, min), (column.highs, max)))
        return [ends[0][0], *low, ends[1][0]], [ends[0][1], *high, ends[1][1]], [b - 1 for b in bounds[1:]]
    buckets = [bucket for bucket in (_bucket(column, a, b, clean) for a, b in zip(bounds, bounds[1:]))
               if bucket]
    return tuple(map(list, zip(*buckets))) if buckets else ([], [], [])


def _by_blocks(values, blocks, bounds, pick):
    """Return the places of the first smallest (pick: min) or largest (max) value between neighbours of
    `bounds`, which are whole blocks of finite values. The same as `_extreme` of each, some four times as
    fast."""
    blocks, places = blocks[:bounds[-1] // BLOCK].tolist(), []
    cuts = [bound // BLOCK for bound in bounds]
    for a, b in zip(cuts, cuts[1:]):
        stretch = blocks[a:b]
        best = pick(stretch)
        start = (a + stretch.index(best)) * BLOCK
        places.append(start + values[start:start + BLOCK].index(best))
    return places


def _bucket(column, a, b, clean):
    """Return the places of the minimum, maximum and last of the finite values in [a, b), or None if there are
    none."""
    low, last = _extreme(column, a, b, min, column.lows), b - 1
    if low is None:
        return None
    while not clean and not math.isfinite(column.values[last]):
        last -= 1
    return low, _extreme(column, a, b, max, column.highs), last


def _extreme(column, a, b, pick, blocks):
    """Return the place of the first smallest (pick: min) or largest (max) finite value in [a, b), or None."""
    begin, stop = -(-a // BLOCK), min(b // BLOCK, len(blocks))
    if begin >= stop:
        return _scan(column, a, b, pick)
    stretch = blocks[begin:stop]
    best = pick(stretch)
    start = (begin + stretch.index(best)) * BLOCK
    index = start + column.values[start:start + BLOCK].index(best) if math.isfinite(best) else None
    if a == begin * BLOCK and b == stop * BLOCK:
        return index
    places = [index, _scan(column, a, begin * BLOCK, pick), _scan(column, stop * BLOCK, b, pick)]
    return pick(sorted(index for index in places if index is not None), key=column.values.__getitem__,
                default=None)


def _scan(column, a, b, pick):
    if a >= b:
        return None
    stretch, bad = column.values[a:b], column.bad
    if bad and bisect_left(bad, a) < bisect_left(bad, b):
        finite = [value for value in stretch if math.isfinite(value)]
        return a + stretch.index(pick(finite)) if finite else None
    return a + stretch.index(pick(stretch))


def _marks(curve, places, bounds):
    """Return [x, kind] of the values that are no finite numbers, one of a kind in each bucket."""
    marked, marks = set(), []
    for index in places:
        value = curve.column.values[index]
        kind = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        bucket = bisect_right(bounds, index)
        if (bucket, kind) not in marked:
            marked.add((bucket, kind))
            marks.append([curve.x(index), kind])
    return marks


def smoothed(column: Column, places: list[int], weight: float) -> list[float]:
    """Return the smoothed values at `places` (ascending): the debiased exponential moving average of all
    points before.

    As TensorBoard's: s_n = w s_(n-1) + (1 - w) v_n from s_0 = 0, told as s_n / (1 - w^n); w = `weight` in [0,
    1), n counts finite values only. (Kingma and Ba, "Adam", 2014, section 3, has the debiasing.)
    """
    if places and not column.bad and places[-1] - places[0] < len(places) * BLOCK:
        return _smoothed_densely(column, places, weight)
    states = _states(column, weight)
    out, position, state = [], 0, 0.0
    for index in places:
        block = index // BLOCK
        if block * BLOCK >= position:
            position, state = block * BLOCK, states[block - 1] if block else 0.0
        state = _average(column.values[position:index + 1], position, column.bad, state, 1 - weight)
        position = index + 1
        out.append(state / (1 - weight ** (position - bisect_left(column.bad, position))))
    return out


def _smoothed_densely(column, places, weight):
    """Return what `smoothed` does of finite values with so few between the places that all are averaged at
    once."""
    block, share = places[0] // BLOCK, 1 - weight
    start = block * BLOCK
    before = _states(column, weight)[block - 1] if block else 0.0
    averages = list(accumulate(column.values[start:places[-1] + 1],
                               lambda state, value: state + share * (value - state), initial=before))
    return [averages[index - start + 1] / (1 - weight ** (index + 1)) for index in places]


def _states(column, weight):
    """Return the state of the average at the end of each full block; kept with the column, so an append costs
    little."""
    states = column.smoothed.setdefault(weight, [])
    while len(column.smoothed) > WEIGHTS_KEPT:
        del column.smoothed[next(iter(column.smoothed))]
    state = states[-1] if states else 0.0
    stop = len(column.values) // BLOCK * BLOCK
    for start in range(len(states) * BLOCK, stop, STRETCH):
        stretch = column.values[start:min(start + STRETCH, stop)]
        for begin in range(0, len(stretch), BLOCK):
            state = _average(stretch[begin:begin + BLOCK], start + begin, column.bad, state, 1 - weight)
            states.append(state)
    return states


def _average(values, start, bad, state, share):
    """Return the state of the average after some `values`, the first of which stands at place `start`; bad:
    the places of those that are not finite."""
    if bad and bisect_left(bad, start) < bisect_left(bad, start + len(values)):
        values = filter(math.isfinite, values)
    return reduce(lambda state, value: state + share * (value - state), values, state)
