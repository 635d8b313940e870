"""Answers that stay small whatever a run holds: so much of each part, what is left out counted, the rest
asked for by part. Pure."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from runicorn import layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PART = 256 << 10            # bytes of JSON of one part of a run (config, summary, …) in one answer
LEAST = PART // 2000        # … that a value counts for at least: a page draws a line for each
TEXT = 16 << 10             # bytes of JSON of one value; of a longer one its beginning and its end are told
METRICS = 2000              # in one answer
NAMES, NAMES_BYTES = 500, 32 << 10      # columns that one list of names offers
LEVELS = 64                 # of nesting whose names are joined
PARTS = ("config", "summary", "meta", "status")


def run(answer: dict[str, Any], main: str | None = None) -> dict[str, Any]:
    """Return the answer of Catalog.run with as much of each part as an answer takes, and "more" ({part: how
    many values (int) are left out}) of those that hold more. main: name of a metric that is told in any
    case."""
    more, bounded = {}, dict(answer)
    for field in PARTS:
        bounded[field], more[field] = some(answer[field])
    bounded["metrics"], more["metrics"] = _metrics(answer["metrics"], main)
    more["metrics"] += bounded.pop("metrics_left")
    return {**bounded, "more": {field: count for field, count in more.items() if count}}


def some(values: dict[str, Any], size: int = PART) -> tuple[dict[str, Any], int]:
    """Return (as much of a nested dict as takes `size` bytes of JSON, how many values (int) of it are left
    out)."""
    taking = _Taking(size)
    return taking.dict(values), taking.left_out


def pairs(values: dict[str, Any]) -> Iterator[Any]:
    """Yield (name, value) of a nested dict, names joined with "."; an empty dict is a value."""
    ahead = [("", iter(values.items()))]
    while ahead:
        prefix, items = ahead[-1]
        for name, value in items:
            if isinstance(value, dict) and value and len(ahead) < LEVELS:
                ahead.append((f"{prefix}{name}.", iter(value.items())))
                break
            yield prefix + name, value
        else:
            ahead.pop()


def page(items, find="", offset=0, limit=500, name=lambda item: item[0], short=None, size=PART):
    """Return {"total", "matched", "offset", "items"} of those `items` whose name holds the text `find`: from
    the `offset`-th of them at most `limit`, and not more than `size` bytes of JSON, but one in any case."""
    total, matched, room, items_within = 0, 0, size, []
    find, full = find.lower(), False
    for item in items:
        total += 1
        if find and find not in name(item).lower():
            continue
        matched += 1
        if matched <= offset or full:
            continue
        shown = short(item) if short else item
        room -= len(layout.json_bytes(shown))
        full = bool(items_within) and room < 0 or len(items_within) >= limit
        if not full:
            items_within.append(shown)
    return {"total": total, "matched": matched, "offset": offset, "items": items_within}


def short_pair(pair: tuple[str, float | str]) -> list[Any]:
    """Return [name, value] with a value that is told whole, or of a long one its beginning and its end."""
    return [clipped(pair[0]), short(pair[1])]


def short(value):
    """Return a value that JSON has, or of a long one a text: its beginning, how much is left out, and its
    end."""
    if not isinstance(value, (str, dict, list)):
        return value
    if isinstance(value, str):
        return clipped(value)
    text = layout.to_json(value)
    return clipped(text) if len(text) > TEXT // 4 and len(text.encode("utf-8", "replace")) > TEXT else value


def clipped(text: str, most: int = TEXT) -> str:
    """Return a text of at most about `most` bytes; of a longer one the beginning and the end, with what is
    left out between them."""
    if len(text) <= most // 4 or len(text.encode("utf-8", "replace")) <= most:
        return text
    side = most // 8
    return f"{text[:side]} … {len(text) - 2 * side:,} characters left out … {text[-side:]}"


def offered(runs: tuple[Any, ...], names: dict[str, Any]) -> dict[str, Any]:
    """Return {"config", "summary", "metrics", "more"}: the names that a list of columns offers, sorted, and
    {side: how many more}.

    runs: run_entry.Entry; names: {side: sorted list of all}. Where there are too many, those that most runs
    have go first, then the short.
    """
    columns, more = {}, {}
    for side, every in names.items():
        chosen = every
        if len(every) > NAMES or sum(map(len, every)) > NAMES_BYTES // 4:
            chosen = _offered(every, _counts(runs, side))
        columns[side] = chosen
        more.update({side: len(every) - len(chosen)} if len(chosen) < len(every) else {})
    return {**columns, "more": more}


def _counts(runs, side):
    counts = collections.Counter()
    for run in runs:
        counts.update((run.config if side == "config" else run.known_summary).keys())
    return counts


def _offered(names, counts):
    room, offer = NAMES_BYTES, []
    for name in sorted(names, key=lambda name: (-counts[name], len(name), name)):
        size = len(layout.json_bytes(name))
        if size <= room and len(offer) < NAMES:
            offer.append(name)
            room -= size
    return sorted(offer)


def _metrics(metrics, main):
    """Return (as many of a run's metrics as an answer takes, in their order, how many are left out)."""
    front = [metric for metric in metrics if metric["name"] == main]
    within = page([*front, *(metric for metric in metrics if metric["name"] != main)], limit=METRICS,
                  size=2 * PART)["items"]
    if len(within) == len(metrics):
        return metrics, 0
    names = {metric["name"] for metric in within}
    return [metric for metric in metrics if metric["name"] in names], len(metrics) - len(within)


class _Taking:
    """Takes values until the bytes are used up, and counts the others."""

    def __init__(self, size):
        self.room, self.left_out = size, 0

    def dict(self, values):
        shown = {}
        for name, value in values.items():
            nested = isinstance(value, dict) and value
            value_shown = "" if nested else short(value)
            size = (len(layout.json_bytes(name)) + len(layout.json_bytes(value_shown)) + 2 if self.room > 0
                    else 0)
            size = size if nested else max(size, LEAST)
            if not 0 < size <= self.room:
                self.left_out += sum(1 for _ in pairs(value)) if nested else 1
                continue
            self.room -= size
            if not nested:
                shown[name] = value_shown
            elif inner := self._within(value):
                shown[name] = inner
        return shown

    def _within(self, values):
        """Take what is nested: not all of the room, so that what comes after it is told, too, and no nesting
        is too deep."""
        share = self.room * 3 // 4
        inner = _Taking(share)
        shown = inner.dict(values)
        self.room -= share - inner.room
        self.left_out += inner.left_out
        return shown
