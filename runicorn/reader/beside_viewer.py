"""The run list of a viewer that runs beside us, where it is of just the folders and the runs that we would
read ourselves.

A viewer has everything in memory; a command that asks it says the same as its pages, and reads nothing but
the names of runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from runicorn.reader import first_look, viewer_client

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

MOST = 10_000               # rows in one answer


def mirror_folders(home: Path) -> list[Any]:
    """Return [(slug, folder, name of the connection whose mirror it is, else its slug)] of the mirrors on
    this machine."""
    from runicorn import local_names, settings
    cache = home / "cache"
    folders = sorted(folder for folder in cache.iterdir() if folder.is_dir()) if cache.is_dir() else []
    names = {local_names.connection_slug(saved["name"]): saved["name"]
             for saved in settings.connections(home)} if folders else {}
    return [(folder.name, folder, names.get(folder.name, folder.name)) for folder in folders]


def runs(home: Path, roots: list[Any], mirrors: Any, filter: str, sort: str, limit: int | None,
         columns: list[str]) -> None:
    """Return what Catalog.runs would (dict) of local roots [(slug, folder)] and of `mirrors`, as
    mirror_folders has them, as a viewer has it; None where no viewer has just these, or it finds fault with
    the words. "undecided": of how many runs it does not know yet how they stand."""
    if limit is None or limit > MOST:
        return None
    query = urlencode([("filter", filter), ("sort", sort), ("limit", limit),
                       *(("column", column) for column in columns)])
    ours = None
    for note in viewer_client.notes(home):
        answer = viewer_client.asked(note, f"/api/rows?{query}")
        if answer and isinstance(answer.get("runs"), list) and not answer.get("unread"):
            ours = ours or sources(roots, mirrors)
            if _known(answer.get("sources")) == ours:
                return answer
    return None


def sources(roots, mirrors):
    """Return {folder: a digest of the paths of its runs, None of a mirror} as Catalog.known says it of all
    sources."""
    return {**{os.path.realpath(folder): None for _, folder, _ in mirrors},
            **{os.path.realpath(folder): first_look.digest(first_look.paths(os.fspath(folder)))
               for _, folder in roots}}


def _known(sources):
    try:
        return {source["folder"]: source["runs"] for source in sources}
    except (TypeError, KeyError):
        return None             # another make of viewer
