"""Is our copy of a mirrored run what the server had, and when? Looks at what is here and at
the index; asks no server."""

import bisect
import hashlib
import os

from runicorn import layout, local_names, manifest
from runicorn.errors import LayoutError
from runicorn.mirror import plan


def verified(folder, path, files, places=None, is_foreign=False):
    """Whether all own files of the run `path`, and the others of it that are here, agree with the index,
    which has all own ones.

    is_foreign: whether it is another logger's run, of which all files are its own, and whose folder may hold
    those of others; folder: the run's folder here; files: {name: {"size", "mtime", "tail"}} as the server had
    them; places: {name: its name here} where that is another. Agree means size and mtime, and the tail where
    the index has one; sync gives our copy of small JSON the server's mtime only if it was read 2 s after that
    change or later, for before it could change again unseen.
    """
    own = {name for name in files if is_foreign or local_names.is_own(name)}
    answers = ((name, agrees(folder, path, name, file, (places or {}).get(name)))
               for name, file in files.items())
    same = (answer or answer is None and name not in own for name, answer in answers)
    return bool(own) and all(same) and (is_foreign or not _extra(folder, own))


def is_unhashed(entry):
    """Whether the run of an index's entry goes on and has a log too large to be compared
    before it rests (bool)."""
    large = any(file["size"] > plan.HASHED_AT_ONCE and plan.is_appended(name)
                for name, file in entry["files"].items())
    return large and not entry["ended"]


def _extra(folder, own):
    """Whether own files are here that the server has not any more."""
    try:
        return any(local_names.is_own(name) and name not in own for name in os.listdir(folder))
    except OSError:
        return False            # not here: its files were missed before


def agrees(folder, path, name, file, local_name=None):
    """Whether our copy of the file `name`, here called `local_name`, is what the index says ({"size",
    "mtime", "tail"}); None where a file that is no own one is not here. Of a file without an mtime nobody can
    say so: it may be another one of that size."""
    try:
        copy = _copy(local_names.local_path(folder, local_name or name), file["tail"] is not None)
    except FileNotFoundError:
        return False if local_names.is_own(name) else None
    except (OSError, LayoutError):
        return False            # nothing that could be
    return file["mtime"] is not None and plan.compare(path, name, copy, file) is None


def checked(segments, path):
    """Return the time (s) of the run in what sync told, [[run path, s or None], …]: see
    recheck.Recheck.told."""
    index = bisect.bisect_right([start for start, _ in segments], path) - 1
    return segments[index][1] if index >= 0 else None


def sound(segments):
    """Return `segments`, read from a file, if it has the shape that `checked` needs, else []."""
    if not isinstance(segments, list):
        return []
    if not all(isinstance(segment, list) and len(segment) == 2 and isinstance(segment[0], str)
               for segment in segments):
        return []
    return [[start, layout.number(moment)] for start, moment in segments]


def _copy(path, with_tail):
    with open(layout.open_regular(path), "rb") as copy:
        status, tail = os.fstat(copy.fileno()), None
        if with_tail:
            copy.seek(max(0, status.st_size - manifest.TAIL))
            tail = hashlib.sha256(copy.read(manifest.TAIL)).hexdigest()
    return {"size": status.st_size, "mtime": status.st_mtime, "tail": tail}
