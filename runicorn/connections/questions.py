"""Questions that wait for the user: host keys, passwords, one-time codes. Whoever asks blocks; whoever
answers wakes them."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.news import Bell

ANSWER_SECONDS = 300        # as long as a login waits (see login); afterwards the question is withdrawn


class Questions:
    """The questions open now. `bell` is rung (topic "connections") when one comes or goes. Any thread may
    call any method; `ask` keeps the one that asks waiting."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._lock = threading.Condition()
        self._open = {}             # id -> question
        self._answers = {}          # id -> answer (str, None: refused)

    def ask(self, connection: str, question: dict[str, Any], topic: str = "connections",
            stopping: Callable[..., Any] = lambda: False) -> str | None:
        """Put `question` (dict) for `connection` (name or None) and return the answer (str), or None:
        refused, stopped, nobody there."""
        question = {**question, "id": secrets.token_hex(8), "connection": connection, "topic": topic}
        with self._lock:
            self._open[question["id"]] = question
        self._ring(question)
        deadline = time.monotonic() + ANSWER_SECONDS
        with self._lock:
            while question["id"] in self._open and time.monotonic() < deadline and not stopping():
                self._lock.wait(1)          # wakes for an answer; a second bounds how late `stopping` is seen
            self._open.pop(question["id"], None)
            answer = self._answers.pop(question["id"], None)
        self._ring(question)
        return answer

    def answer(self, question_id: str, text: str | None) -> bool:
        """Answer a question (`text` None: refuse). Returns whether it was still open."""
        with self._lock:
            if question_id not in self._open:
                return False
            del self._open[question_id]
            self._answers[question_id] = text
            self._lock.notify_all()
        return True

    def waiting(self, connection=None, topic=None):
        """Return the first open question of a connection, or of a topic, without our own marks; or None.

        What a test asks belongs to the test alone: the connection it tests may be synced meanwhile.
        """
        with self._lock:
            for question in self._open.values():
                if question["topic"] == (topic or "connections") and (topic
                                                                      or connection
                                                                      == question["connection"]):
                    return {key: value for key, value in question.items() if key != "topic"}
        return None

    def withdraw(self, connection: str | None = None) -> None:
        """Refuse every open question, or those of one connection: nobody waits for them any more."""
        with self._lock:
            withdrawn = [question_id for question_id, question in self._open.items()
                         if connection in (None, question["connection"])]
        for question_id in withdrawn:
            self.answer(question_id, None)

    def _ring(self, question):
        for topic in {"connections", question["topic"]}:
            self._bell.ring(topic)
