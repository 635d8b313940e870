"""Answers that are asked often and change slowly, each asked anew only after its time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Remembered:
    """Any thread may call any method; two that ask at once may both look."""

    def __init__(self):
        self._answers = {}              # question -> (when answered, monotonic s; answer)

    def get(self, question: str | tuple[str, tuple[Any, ...], str], seconds: float,
            ask: Callable[..., Any]) -> dict[str, Any] | int | list[Any]:
        """Return the answer to `question` (hashable), which `ask()` gave at most `seconds` ago or gives
        now."""
        answered_at, answer = self._answers.get(question, (None, None))
        if answered_at is None or time.monotonic() - answered_at > seconds:
            answer = ask()
            self._answers[question] = time.monotonic(), answer
        return answer

    def forget(self, question: str) -> None:
        """Something changed the answer."""
        self._answers.pop(question, None)
