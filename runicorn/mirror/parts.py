"""What large files are gathered in before they take their place in a mirror, and when each was begun to be
read."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from runicorn import disk, layout

if TYPE_CHECKING:
    from runicorn.mirror.plan import Fetch

BEGUN = ".begun"                # ending of the note beside a part


class Parts:
    """In a `folder` (str) that only the process which holds the mirror's lock writes into. A Fetch has the
    same part again after a cut."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._noted = None              # names of the parts that have a note, once looked at
        # (run path, name) -> bytes that were here when its fetch, which is under way, went on
        self.resumed = {}
        self.resumed_bytes = 0          # of these and of fetches that ended, since the progress began

    def begin_progress(self) -> None:
        """Count anew what was here already when its fetch went on."""
        self.resumed_bytes = 0

    def place(self, fetch: Fetch) -> str:
        """Return where the file of a Fetch is gathered (str)."""
        return os.path.join(self._folder, _name(fetch))

    def make_folder(self) -> None:
        """Raises OSError."""
        os.makedirs(self._folder, exist_ok=True)

    def note_begun(self, fetch: Fetch) -> None:
        """Keep when the first byte of a fetch was asked for, for who goes on with it after a cut. Raises
        OSError."""
        self._notes().add(_name(fetch))
        with open(f"{self.place(fetch)}{BEGUN}", "w", encoding="ascii") as file:
            json.dump({"server": fetch.began.server, "wall": fetch.began.wall}, file)

    def begun(self, fetch):
        """Return (the server's clock or None, our wall clock), s, when our copy was begun with its first
        byte, while the file had the size and mtime of the fetch; None where nobody noted that."""
        if not self._notes() or _name(fetch) not in self._noted:
            return None
        noted = layout.read_json(f"{self.place(fetch)}{BEGUN}") or {}
        wall = layout.number(noted.get("wall"))
        return None if wall is None else (layout.number(noted.get("server")), wall)

    def _notes(self):
        if self._noted is None:
            names = os.listdir(self._folder) if os.path.isdir(self._folder) else ()
            self._noted = {name[:-len(BEGUN)] for name in names if name.endswith(BEGUN)}
        return self._noted

    def go_on(self, fetch: Fetch, gathered: int) -> None:
        """So many bytes of a fetch were here already when it went on."""
        self.resumed[fetch.path, fetch.name] = gathered
        self.resumed_bytes += gathered

    def rename(self, old: Fetch, new: Fetch) -> None:
        """What was gathered for the Fetch `old` is of use for `new`. Raises OSError."""
        before, after = self.place(old), self.place(new)
        for ending in ("", BEGUN):
            if os.path.lexists(f"{before}{ending}"):
                disk.replace(f"{before}{ending}", f"{after}{ending}")
        self._noted = None

    def clear(self) -> None:
        """Remove what is left of transfers that were cut and never taken up again: the server has other files
        now."""
        if os.path.isdir(self._folder):
            for name in os.listdir(self._folder):
                disk.discard(os.path.join(self._folder, name))
        self._noted = None


def _name(fetch):
    key = f"{fetch.path}\0{fetch.name}\0{fetch.size}\0{fetch.mtime}"
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
