"""One test of a connection at work: its lines as they come, its questions, its result."""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING

from runicorn import faults, local_disk

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from runicorn.connections.questions import Questions
    from runicorn.news import Bell


class Trial:
    """One test of a connection, in a thread of its own; `begin` and `state` are for any other."""

    def __init__(self, connection: dict[str, Any], passwords: dict[str, Any], home: Path,
                 questions: Questions, bell: Bell) -> None:
        self.id = secrets.token_hex(8)
        self.topic = f"test:{self.id}"
        self._connection, self._secrets, self._home = connection, passwords, home
        self._questions, self._bell = questions, bell
        self._lines, self._result = [], None

    def begin(self) -> None:
        threading.Thread(target=self._run, name="connection test", daemon=True).start()

    def _run(self):
        from runicorn.connections import doctor
        try:
            self._result = doctor.examine(self._connection, self._say, self._ask, self._secrets, self._home)
        except Exception as error:      # a bug of ours must end the test on the page, too, and show there
            self._say({"name": "login", "ok": False, "ms": None, **_broken(error)})
            self._result = {"ok": False, "offer": [], "browse": False}
        self._bell.ring(self.topic)

    def _ask(self, question):
        return self._questions.ask(self._connection["name"], question, self.topic)

    def _say(self, line):
        self._lines.append(line)
        self._bell.ring(self.topic)

    def state(self):
        result = self._result or {"ok": False, "offer": [], "browse": False}
        return {"id": self.id, "done": self._result is not None, "lines": list(self._lines), **result,
                "question": self._questions.waiting(topic=self.topic)}


def _broken(error):
    """Return what a line says of a test that did not come to its end."""
    detail = local_disk.shortage(error)
    if detail:
        return {"text": str(local_disk.passing(error)), "advice": "try again in a moment", "said": "short_of",
                "detail": detail}
    detail = faults.tell(logging.getLogger("runicorn"), error, "the test of a connection")
    return {"text": f"the test itself failed: {detail}", "advice": "please report this",
            "said": "test_broken", "detail": detail}
