"""The run list as pages ask for it, slice after slice: a question's order is found once for some time, what
stands beside is told once."""

from __future__ import annotations

import collections
import hashlib
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from runicorn import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.news import Bell
    from runicorn.reader.catalog import Catalog

# s for which an order stands if nothing rings: an age or a duration goes on by itself
STANDS = 1.0
ORDERS = 4                  # questions whose orders are kept


class Kept(NamedTuple):
    """What was found for a question: when (monotonic s), of what (another is found if that differs), and
    what."""

    at: float
    of: tuple
    found: tuple


class Listing:
    """Answers for GET /api/runs. Any thread may call `answer`."""

    def __init__(self, catalog: Catalog, bell: Bell, clock: Callable[..., Any] = time.monotonic) -> None:
        self._catalog, self._bell, self._clock = catalog, bell, clock
        self._orders = collections.OrderedDict()        # question -> Kept, the oldest first
        # Whether hidden runs count -> (the columns offered, the tree, their mark)
        self._beside = {}
        self._lock = threading.Lock()

    def answer(self, offset, limit, columns=(), spark=False, known="", **question):
        """Return the answer (dict) to a question as View.ordered takes it, without its news: of `limit` rows
        from the `offset`-th.

        "columns" and "tree" are large and change seldom: "beside" is their mark, and who names it as `known`
        is told of the tree only "states", of the columns nothing. Raises FilterError, UsageError.
        """
        view, hidden = self._catalog.view(), question["hidden"]
        ordered, states = self._kept((tuple(columns), *question.items()), view,
                                     lambda: (view.ordered(columns=columns, **question), view.states(hidden)))
        rows = [self._catalog.present(run) for run in ordered.runs[offset:offset + limit]]
        mark, offered, tree = self._beside_of(view, hidden)
        beside = {"tree": {"states": states}} if known == mark else {"columns": offered,
                                                                     "tree": {**tree, "states": states}}
        return {**view.page(ordered, rows, offset, columns, spark), "passed": self._catalog.others_passed(),
                "beside": mark, **beside}

    def _kept(self, question, view, find):
        """Return what find() returns, or returned for that question a moment ago, if nothing is new since."""
        of = (self._bell.last("runs"), self._catalog.versions, view.notes, view.main_metric)
        with self._lock:
            entry = self._orders.get(question)
        if entry is None or entry.of != of or self._clock() - entry.at > STANDS:
            entry = Kept(self._clock(), of, find())
            with self._lock:
                self._orders[question] = entry
                self._orders.move_to_end(question)
                while len(self._orders) > ORDERS:
                    self._orders.popitem(last=False)
        return entry.found

    def _beside_of(self, view, hidden):
        """Return (mark, columns, tree) of what stands beside the list."""
        columns, tree = view.names["offered"], self._catalog.facets(view, hidden).tree()
        before = self._beside.get(hidden)
        if before is None or before[1] is not columns or before[2] is not tree:
            mark = hashlib.sha256(layout.json_bytes([columns, tree])).hexdigest()[:16]
            before = self._beside[hidden] = (mark, columns, tree)
        return before
