"""Our own events.jsonl and system.jsonl: lines of JSON, each ended by a newline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runicorn.metrics.kinds.sampled import Sampled
from runicorn.metrics.parse import Parser, event_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LINE_LIMIT = 16 << 20       # a longer line is no event; it is skipped like a broken one


class Reader(Sampled):
    """Reads one file of events or samples from its beginning, or from where `state` was told."""

    kind = "events"

    def __init__(self, state: Any = None, row: Callable[..., Any] = event_row) -> None:
        """state: what `state` told, or None; row: parse.event_row or sample_row."""
        self._parser = Parser(row, **(state or {}))

    @property
    def skipped(self) -> dict[str, int]:
        """Lines that were no JSON object ({reason: int})."""
        return {"no JSON": self._parser.skipped} if self._parser.skipped else {}

    def take(self, block: bytes, remaining: int) -> tuple[int, list[Any]]:
        """Return (bytes used, list of parse.Part) of `block`, with which the `remaining` bytes of the file
        that are not read yet begin."""
        end = block.rfind(b"\n") + 1
        if end:
            return end, self._parser.parse(block[:end])
        # Too long, or whole without its newline
        if len(block) >= LINE_LIMIT or len(block) == remaining and _is_object(block):
            return len(block), self._parser.parse(block + b"\n")
        return 0, []

    def state(self) -> dict[str, int]:
        """Return what a Reader that goes on from here is made with (dict)."""
        return {"lines": self._parser.lines, "skipped": self._parser.skipped}

    def facts(self) -> dict[str, Any]:
        """Return that no restart is told: what else is known of a run of ours stands in its small files."""
        return {"purges": None}


def _is_object(block):
    try:
        return block.endswith(b"}") and type(json.loads(block.decode("utf-8"))) is dict
    except (ValueError, RecursionError):
        return False
