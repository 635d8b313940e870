"""Pictures of curves: so many points into so few buckets that no extreme is lost, and smoothing. Pure: reads no file.

A bucket is a stretch of neighbouring points; it answers with its minimum, maximum and last finite value and where each
of them stands.
"""

import math
import weakref
from bisect import bisect_left, bisect_right
from functools import reduce

from runicorn.metrics.columns import BLOCK

SNAP = 4                    # blocks in an average bucket from which bounds may move to the next block: an eighth of a bucket
WEIGHTS_KEPT = 4            # smoothings remembered of a column


def picture(curve, lo=None, hi=None, buckets=600, smooth=0.0):
    """Return the picture of a curves.Curve between `lo` and `hi` (its x, inclusive) in at most `buckets` buckets.

    {"n", "m", "total": points drawn, in range, in all; "x", "last": the last finite point of each bucket; "min", "min_x",
    "max", "max_x": its extremes; "smooth": the smoothed value at `x`, or None; "nan": [[x, "NaN" or "Infinity" or
    "-Infinity"], …], one of a kind in each bucket; "bad": how many there are in all; "x_min", "x_max": of the range;
    "exact": whether every point is shown}
    """
    first, end = curve.span(lo, hi)
    exact = end - first <= buckets
    bounds = range(first, end + 1) if exact else _shared_bounds(curve.xs, first, end, buckets)
    bad = curve.column.bad[bisect_left(curve.column.bad, first):bisect_left(curve.column.bad, end)]
    low, high, last = _places(curve.column, bounds, clean=not bad)
    x, value = curve.x if curve.shift else curve.xs.__getitem__, curve.column.values.__getitem__
    return {"n": len(last), "m": end - first, "total": len(curve.xs), "exact": exact,
            "x": list(map(x, last)), "last": list(map(value, last)),
            "min_x": list(map(x, low)), "min": list(map(value, low)), "max_x": list(map(x, high)), "max": list(map(value, high)),
            "smooth": smoothed(curve.column, last, smooth) if smooth else None,
            "nan": _marks(curve, bad, bounds), "bad": len(bad),
            "x_min": x(first) if end > first else None, "x_max": x(end - 1) if end > first else None}


def extremes(column):
    """Return the places of the smallest and the largest finite value, (None, None) without any."""
    end = len(column.values)
    return _extreme(column, 0, end, min, column.lows), _extreme(column, 0, end, max, column.highs)


_LAST = [(lambda: None, (), None)]      # the x, what was asked of them, and their bounds: metrics of one group share all three


def _shared_bounds(xs, first, end, buckets):
    """Return `_bounds`, computed once for metrics that were logged together and are asked for one after the other."""
    known, asked, bounds = _LAST[0]
    if known() is not xs or asked != (len(xs), first, end, buckets):
        bounds = _bounds(xs, first, end, buckets)
        _LAST[0] = weakref.ref(xs), (len(xs), first, end, buckets), bounds
    return bounds


def _bounds(xs, first, end, buckets):
    """Return ascending places that cut [first, end) into at most `buckets` stretches.

    Half of the cuts are evenly spaced in x, for an even axis; half in number of points, for a logarithmic axis and for
    a curve that is logged densely in one stretch only. The two kinds interleave where x is even.
    """
    half, count = buckets // 2, end - first
    low, width = xs[first], xs[end - 1] - xs[first]
    cuts = {first + count * (2 * k + 1) // (2 * half) for k in range(half)}
    if width > 0 and math.isfinite(width):
        place = first
        for k in range(1, half):
            place = bisect_left(xs, low + width * k / half, place, end)
            cuts.add(place)
    if count >= buckets * BLOCK * SNAP:
        cuts = {(cut + BLOCK // 2) // BLOCK * BLOCK for cut in cuts}
    return [first, *sorted(cut for cut in cuts if first < cut < end), end]


def _places(column, bounds, clean):
    """Return the places of the minimum, maximum and last finite value of each bucket that has one (three lists).

    clean: whether all values in the range are finite.
    """
    first, end, count = bounds[0], bounds[-1], len(bounds) - 1
    if clean and count == end - first:
        return (list(bounds[:-1]),) * 3
    if clean and end - first < count * BLOCK:       # too few in a bucket for blocks to help
        values = column.values[first:end].tolist()
        parts = [values[a - first:b - first] for a, b in zip(bounds, bounds[1:])]
        low, high = ([a + part.index(best) for a, part, best in zip(bounds, parts, map(pick, parts))] for pick in (min, max))
        return low, high, [b - 1 for b in bounds[1:]]
    if clean and count > 2 and all(bound % BLOCK == 0 for bound in bounds[1:-1]):
        ends = [_bucket(column, a, b, clean) for a, b in (bounds[:2], bounds[-2:])]
        low, high = (_by_blocks(column.values, blocks, bounds[1:-1], pick) for blocks, pick in ((column.lows, min), (column.highs, max)))
        return [ends[0][0], *low, ends[1][0]], [ends[0][1], *high, ends[1][1]], [b - 1 for b in bounds[1:]]
    found = [bucket for bucket in (_bucket(column, a, b, clean) for a, b in zip(bounds, bounds[1:])) if bucket]
    return tuple(map(list, zip(*found))) if found else ([], [], [])


def _by_blocks(values, blocks, bounds, pick):
    """Return the places of the first smallest (pick: min) or largest (max) value between neighbours of `bounds`, which are
    whole blocks of finite values. The same as `_extreme` of each, some four times as fast."""
    blocks, places = blocks[:bounds[-1] // BLOCK].tolist(), []
    cuts = [bound // BLOCK for bound in bounds]
    for a, b in zip(cuts, cuts[1:]):
        part = blocks[a:b]
        best = pick(part)
        start = (a + part.index(best)) * BLOCK
        places.append(start + values[start:start + BLOCK].index(best))
    return places


def _bucket(column, a, b, clean):
    """Return the places of the minimum, maximum and last of the finite values in [a, b), or None if there are none."""
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
    part = blocks[begin:stop]
    best = pick(part)
    start = (begin + part.index(best)) * BLOCK
    place = start + column.values[start:start + BLOCK].index(best) if math.isfinite(best) else None
    if a == begin * BLOCK and b == stop * BLOCK:
        return place
    places = [place, _scan(column, a, begin * BLOCK, pick), _scan(column, stop * BLOCK, b, pick)]
    return pick(sorted(place for place in places if place is not None), key=column.values.__getitem__, default=None)


def _scan(column, a, b, pick):
    if a >= b:
        return None
    part, bad = column.values[a:b], column.bad
    if bad and bisect_left(bad, a) < bisect_left(bad, b):
        finite = [value for value in part if math.isfinite(value)]
        return a + part.index(pick(finite)) if finite else None
    return a + part.index(pick(part))


def _marks(curve, places, bounds):
    """Return [x, kind] of the values that are no finite numbers, one of a kind in each bucket."""
    seen, marks = set(), []
    for place in places:
        value = curve.column.values[place]
        kind = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        bucket = bisect_right(bounds, place)
        if (bucket, kind) not in seen:
            seen.add((bucket, kind))
            marks.append([curve.x(place), kind])
    return marks


def smoothed(column, places, weight):
    """Return the smoothed values at `places` (ascending): the debiased exponential moving average of all points before.

    As TensorBoard's: s_n = w s_(n-1) + (1 - w) v_n from s_0 = 0, told as s_n / (1 - w^n); w = `weight` in [0, 1), n counts
    finite values only. (Kingma and Ba, "Adam", 2014, section 3, has the debiasing.)
    """
    states = _states(column, weight)
    out, here, state = [], 0, 0.0
    for place in places:
        block = place // BLOCK
        if block * BLOCK >= here:
            here, state = block * BLOCK, states[block - 1] if block else 0.0
        state = _average(column, here, place + 1, state, 1 - weight)
        here = place + 1
        out.append(state / (1 - weight ** (here - bisect_left(column.bad, here))))
    return out


def _states(column, weight):
    """Return the state of the average at the end of each full block; kept with the column, so an append costs little."""
    states = column.smoothed.setdefault(weight, [])
    while len(column.smoothed) > WEIGHTS_KEPT:
        del column.smoothed[next(iter(column.smoothed))]
    state = states[-1] if states else 0.0
    for begin in range(len(states) * BLOCK, len(column.values) - BLOCK + 1, BLOCK):
        state = _average(column, begin, begin + BLOCK, state, 1 - weight)
        states.append(state)
    return states


def _average(column, a, b, state, share):
    part, bad = column.values[a:b], column.bad
    if bad and bisect_left(bad, a) < bisect_left(bad, b):
        part = filter(math.isfinite, part)
    return reduce(lambda state, value: state + share * (value - state), part, state)
