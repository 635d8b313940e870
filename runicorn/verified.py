"""Is our copy of a mirrored run known to be what the server has? Looks at what is here and at the index; asks no server."""

import hashlib
import os

from runicorn import layout, manifest, plan
from runicorn.errors import LayoutError


def verified(folder, path, files):
    """Whether all own files of the run `path` agree with the index.

    folder: the run's folder here; files: {name: {"size", "mtime", "tail"}} as the server had them. Agree means size and tail,
    or size and mtime where the index has no tail; and of small JSON the mtime too: sync gives our copy the server's only if
    it was read 2 s after that change or later, for before it could change again unseen.
    """
    own = {name: file for name, file in files.items() if layout.is_own(name)}
    return bool(own) and all(_agrees(folder, path, name, file) for name, file in own.items())


def _agrees(folder, path, name, file):
    try:
        here = _copy(layout.local_path(folder, name), file["tail"] is not None)
    except (OSError, LayoutError):
        return False            # not here, or nothing that could be
    if name in layout.SMALL and file["mtime"] is not None and int(file["mtime"]) != int(here["mtime"]):
        return False
    return plan.compare(path, name, here, file) is None


def _copy(place, with_tail):
    with open(layout.open_regular(place), "rb") as copy:
        found, tail = os.fstat(copy.fileno()), None
        if with_tail:
            copy.seek(max(0, found.st_size - manifest.TAIL))
            tail = hashlib.sha256(copy.read(manifest.TAIL)).hexdigest()
    return {"size": found.st_size, "mtime": found.st_mtime, "tail": tail}
