"""Ask the viewers of this home that run beside us, so that all of us say the same. Reads
`run/<port>.json`."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runicorn.layout import read_json
from runicorn.loopback import lives, our_users, peer_user

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

PATIENCE = 1.0              # s that a viewer may take; a busier one is no help
LIMIT = 64 << 20            # bytes of an answer


def states(home: Path) -> list[Any]:
    """Return what the running viewers of the home folder tell (list of dicts, see catalog.Catalog.states),
    oldest viewer first."""
    states_told = []
    for note in notes(home):
        sources = (asked(note, "/api/states") or {}).get("sources")
        states_told += ([source for source in sources if isinstance(source, dict)]
                        if isinstance(sources, list) else [])
    return states_told


def notes(home: Path) -> list[Any]:
    """Return what the viewers of the home folder, running or killed, left of where they answer (list of
    dicts: "url", "token")."""
    folder = os.path.join(home, "run")
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []               # no viewer ever ran here
    notes_read = [read_json(os.path.join(folder, name), limit=1 << 16)
                  for name in names if name.endswith(".json")]
    return [note for note in notes_read if note and isinstance(note.get("url"), str)
            and isinstance(note.get("token"), str)]


def asked(note, path):
    """Return what one viewer answers to GET `path` (dict), None if it is gone or answers nothing of use."""
    import http.client  # a sixth of what `runicorn runs` takes, where no viewer is
    try:
        url = urlsplit(note["url"])
        line = http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE)
        try:
            line.connect()
            if not _is_ours(line.sock, note):
                return None
            line.request("GET", path, headers={"X-Runicorn-Token": note["token"]})
            answer = line.getresponse()
            body = json.loads(answer.read(LIMIT)) if answer.status == 200 else None
        finally:
            line.close()
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return None             # killed, and its note left; or an older one without this answer
    return body if isinstance(body, dict) else None


def _is_ours(line, note):
    """Whether a viewer of ours is at the far end of a connection: somebody else's program may have the port
    of one that was killed, and is not to see the token. Where the system does not say whose it is, the
    viewer's process at least is there."""
    until = time.monotonic() + PATIENCE
    while True:
        user = peer_user(line.getpeername(), line.getsockname(), time.time())
        if user is None:
            return lives(note.get("pid"))
        if user in our_users() or time.monotonic() > until:
            return user in our_users()
        time.sleep(0.01)        # it has no owner until it was accepted
