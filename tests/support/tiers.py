"""Which rows of a long table stay in `make test`: @pytest.mark.few on its test; the others are marked `long`
and run in `make chaos`.

    few("id", …)   the rows of these ids, as pytest shows them in brackets; "…" at an end of one stands for
                   any text
    few(3)         three rows: the first, the last, and one between
    few()          of a product, so many rows that every value of every argument comes once
    few(turn=True) one row, of each test of a file another one: for `pytestmark`, where all tests of a file
                   come in the same ways; a mark of a test's own goes before it
    few(…, tier="frameworks")      the others are run by `make frameworks`

A test, or a file run as `pytest FILE -m ""`, has all of them; so has a row that is named by itself, or that
failed the time before.
"""

from collections import Counter, defaultdict

import pytest


def shorten(items):
    """Mark those of `items` (list of pytest.Item, of whole files) that do not stay; raises UsageError for an
    id that no row has."""
    tables = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec") and item.get_closest_marker("few"):
            tables[item.nodeid.partition("[")[0]].append(item)
    turns = Counter()
    for name, rows in tables.items():
        few = rows[0].get_closest_marker("few")
        if few.kwargs.get("turn"):
            file = name.partition("::")[0]
            stay = {rows[turns[file] % len(rows)].callspec.id}
            turns[file] += 1
        else:
            stay = choose([row.callspec for row in rows], few.args, name)
        for row in rows:
            if row.callspec.id not in stay:
                row.add_marker(few.kwargs.get("tier", "long"))


def choose(rows, asked, name):
    """Return the ids of those of `rows` (pytest's CallSpec2, in order) that stay; `asked`: the mark's
    arguments; `name`: the test's."""
    if not asked:
        return _each_value_once(rows)
    count = sum(one for one in asked if isinstance(one, int))
    stay = {rows[round(index * (len(rows) - 1) / max(count - 1, 1))].id for index in range(count)}
    for text in (one for one in asked if isinstance(one, str)):
        named = {row.id for row in rows if _is(row.id, text)}
        if not named:
            raise pytest.UsageError(
                f"{name}: few() names {text!r}, which no row is called; they are {[row.id for row in rows]}")
        stay |= named
    return stay


def _is(row, text):
    begin, end = text.endswith("…"), text.startswith("…")
    part = text.strip("…")
    return (row == text or begin and end and part in row or begin and row.startswith(part)
            or end and row.endswith(part))


def _each_value_once(rows):
    """The row with the most values that none before had, again and again until none is left."""
    values = {row.id: {(name, value if isinstance(value, (str, int, float, bytes, type(None))) else id(value))
                       for name, value in row.params.items()} for row in rows}
    left, stay = set().union(*values.values()), set()
    while left:
        best = max(rows, key=lambda row: len(left & values[row.id])).id
        stay.add(best)
        left -= values[best]
    return stay
