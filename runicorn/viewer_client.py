"""Ask the viewers of this home that run beside us how the open runs stand, so that all of us say the same. Reads `run/<port>.json`."""

import http.client
import json
import os
from urllib.parse import urlsplit

from runicorn.layout import read_json

PATIENCE = 1.0              # s that a viewer may take; a busier one is no help
LIMIT = 64 << 20            # bytes of an answer


def states(home):
    """Return what the running viewers of the home folder tell (list of dicts, see reader.Reader.states), oldest viewer first."""
    told = []
    for note in _notes(os.path.join(home, "run")):
        told += _asked(note)
    return told


def _notes(folder):
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []               # no viewer ever ran here
    notes = [read_json(os.path.join(folder, name), limit=1 << 16) for name in names if name.endswith(".json")]
    return [note for note in notes if note and isinstance(note.get("url"), str) and isinstance(note.get("token"), str)]


def _asked(note):
    """Return the sources that one viewer tells of; none if it is gone or answers nothing of use."""
    try:
        url = urlsplit(note["url"])
        line = http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE)
        try:
            line.request("GET", "/api/states", headers={"X-Runicorn-Token": note["token"]})
            answer = line.getresponse()
            body = json.loads(answer.read(LIMIT)) if answer.status == 200 else None
        finally:
            line.close()
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return []               # killed, and its note left; or an older one without this answer
    sources = body.get("sources") if isinstance(body, dict) else None
    return [source for source in sources if isinstance(source, dict)] if isinstance(sources, list) else []
