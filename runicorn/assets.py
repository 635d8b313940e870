"""Read a page from `static/`: in a copy, a wheel, an editable install and a zip. Knows names, not types."""

import os
import re
import zlib

from . import __file__ as _package_file
from . import __loader__ as _loader

# No drive, no stream (a colon), no share, no trailing dot or space, and none of the names that are devices on
# Windows, with any ending.
_PLAIN = re.compile(
    r"(?!(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9])(?:\.|\Z))[a-z0-9_-][a-z0-9_.-]*(?<!\.)\Z",
    re.I)
_PACKAGE = os.path.dirname(_package_file)
_PLACES = (os.path.join(_PACKAGE, "static"), os.path.join(os.path.dirname(_PACKAGE), "static"))


def read(name):
    """Return the bytes of the file `name` (such as "index.html" or "uplot/uPlot.iife.min.js") below
    `static/`.

    Raises FileNotFoundError if there is none, or if `name` could leave the folder.
    """
    parts = name.split("/")
    if not all(map(_PLAIN.match, parts)):
        raise FileNotFoundError(name)
    for folder in _PLACES:
        try:
            # The loader's own reader: works inside a zip too
            return _loader.get_data(os.path.join(folder, *parts))
        except OSError:
            continue
    raise FileNotFoundError(name)


def stamp():
    """Return a short word (str) that another state of `static/` does not have: names, sizes and times of its
    files, or of the zip."""
    states = []
    for root in _PLACES:
        for folder, _, names in os.walk(root):
            states += [(name, *_state(os.path.join(folder, name))) for name in names]
    if not states:
        states = _state(_loader.archive)
    return f"{zlib.crc32(repr(sorted(states)).encode()):08x}"


def _state(path):
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns
