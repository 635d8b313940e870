"""Another program of our name: the registry's runicorn is an older one (0.x). Finds it by what pip wrote, and imports nothing of it."""

import os
import re
import sys

from runicorn.version import VERSION

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DISTRIBUTION = re.compile(r"runicorn-(0(?:\.\w+)*)(?:-py[\d.]+)?\.(?:dist|egg)-info\Z", re.I)


def others(folders=None):
    """Return [(version, folder)] (str) of the other program in `folders` (default: sys.path), in their order."""
    found = {}
    for folder in dict.fromkeys(map(os.path.abspath, sys.path if folders is None else folders)):
        version = _installed(folder) or (_bare(folder) if folder != HERE else None)
        if version:
            found[folder] = version
    return [(version, folder) for folder, version in found.items()]


def _installed(folder):
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None                     # a zip file, or nothing that can be listed
    return next((match[1] for match in map(DISTRIBUTION.match, names) if match), None)


def _bare(folder):
    """Return the version of one that was put there without pip, as its files tell, or None."""
    package = os.path.join(folder, "runicorn")
    if not os.path.isfile(os.path.join(package, "sdk.py")):
        return None
    try:
        with open(os.path.join(package, "VERSION.txt"), encoding="utf-8", errors="replace") as file:
            return file.read(40).strip() or "0.x"
    except OSError:
        return "0.x"


def sentences(folders=None):
    """Return a sentence (str) for each place where the other program is installed."""
    return [f"in {folder} is runicorn {version}, another program of the same name: a script that imports it there does not log here. "
            f"`pip uninstall runicorn` removes it; this one comes as a file: pip install ./runicorn-{VERSION}-py3-none-any.whl"
            for version, folder in others(folders)]


def say():
    """Say on stderr where the other program is installed; nothing where it is not."""
    for sentence in sentences():
        print(f"runicorn: {sentence}", file=sys.stderr)
