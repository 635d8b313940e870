"""Which files of a run of ours hold its metrics and samples, and what reads them."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from runicorn import layout, local_disk
from runicorn.metrics.inner_files import InnerFiles
from runicorn.metrics.kinds import events
from runicorn.metrics.parse import sample_row

if TYPE_CHECKING:
    from typing import Any

MAKERS = {"events": events.Reader, "system": functools.partial(events.Reader, row=sample_row)}


def find(folder: str) -> dict[Any, Any]:
    """Return {(stem, rank, attempt): (path, function(state) returning its reader)} of a run's folder; {}
    where there is none."""
    try:
        with os.scandir(folder) as entries:
            owned = [(layout.parse_own(entry.name), entry) for entry in entries]
            # a link may point at anybody's file
            return {(own[0], own[2], own[1]): (entry.path, MAKERS[own[0]]) for own, entry in owned
                    if own and own[0] in MAKERS and entry.is_file(follow_symlinks=False)}
    except OSError as error:        # not here yet, or taken away
        local_disk.pass_over(error)
        return {}


class OwnFiles:
    """The same, with what other loggers wrote inside the folder (see inner_files). For one thread at a
    time."""

    def __init__(self):
        self._inner = InnerFiles()

    def __call__(self, folder):
        return {**find(folder), **self._inner(folder)}
