"""Another program of our name: the registry's runicorn is an older one (0.x). Finds it by what pip wrote, and
imports nothing of it.

A later version is told from ours by what it holds: its sdk.py, which no version of ours has, or no layout.py,
which each has."""

import json
import os
import re
import sys

from runicorn.version import VERSION

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WHEEL = f"./runicorn-{VERSION}-py3-none-any.whl"
DISTRIBUTION = re.compile(r"runicorn-(\d+(?:\.\w+)*)(?:-py[\d.]+)?\.(?:dist|egg)-info\Z", re.I)
# Itself on the path, unpacked by nobody
ARCHIVE = re.compile(r"runicorn-(\d+(?:\.\w+)*)-.*\.(?:whl|egg)\Z", re.I)

LISTS = "RECORD", "SOURCES.txt", "installed-files.txt"      # of what an installation put where
LIST = 4 << 20              # bytes read of one
LONGEST = 4096              # bytes of an answer
TOLD = re.compile(r"\d{1,4}(\.\w{1,20}){1,5}")      # a version that a server may tell
# What python3 on a server is asked, of 3.6 on, without running its site module, whose .pth files may hold
# code: which runicorn `import`
# would take, and whether it is the other one. Prints nothing where it is ours or none, nor where that can't
# be told.
LOOK = r"""
import json, os, re, site, sys, zipfile

def is_other(version, files):
    return version.startswith("0") or "runicorn/sdk.py" in files or "runicorn/layout.py" not in files

def text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(65536)

def folders():
    yield from filter(os.path.isabs, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    here = os.path.dirname(os.path.abspath(sys.executable))
    venv = os.path.dirname(here)
    cfg = next(filter(os.path.isfile, (os.path.join(place, "pyvenv.cfg") for place in (here, venv))), None)
    places = site.getsitepackages([venv]) if cfg else []
    if not cfg or re.search(r"(?im)^include-system-site-packages\s*=\s*true", text(cfg)):
        places += [site.getusersitepackages(), *site.getsitepackages([sys.base_prefix, sys.base_exec_prefix])]
    for place in filter(os.path.isdir, places):
        yield place
        for name in sorted(os.listdir(place)):
            if name.endswith(".pth"):
                lines = map(str.strip, text(os.path.join(place, name)).splitlines())
                yield from (os.path.join(place, line) for line in lines if line)

def look():
    folder = None
    for one in folders():
        archive = re.match(r"(?i)runicorn-(\d[.\w]*?)-.*\.(whl|egg)$", os.path.basename(one))
        if archive and os.path.isfile(one):
            with zipfile.ZipFile(one) as packed:
                return is_other(archive[1], packed.namelist()) and print(json.dumps([archive[1], one]))
        if os.path.isfile(os.path.join(one, "runicorn", "__init__.py")):
            folder = one
            break
    else:                   # an editable install's finder comes after all folders
        is_finder = re.compile(r"__editable___runicorn_(\d+(_\w+?)*)_finder\.py$").match
        for one in filter(os.path.isdir, folders()):
            for finder in filter(None, map(is_finder, os.listdir(one))):
                package = re.search(r"'runicorn': '([^'\n]+)'", text(os.path.join(one, finder[0])))
                names = os.listdir(package[1]) if package else ["layout.py"]
                files = ["runicorn/" + name for name in names]
                return is_other(finder[1], files) and print(json.dumps([finder[1].replace("_", "."), one]))
    if folder and is_other("", ["runicorn/" + name for name in os.listdir(os.path.join(folder, "runicorn"))]):
        told = re.findall(r"(?im)^runicorn-(\d[.\w]*?)(?:-py[\d.]+)?\.(?:dist|egg)-info$",
                          "\n".join(sorted(os.listdir(folder))))
        file = os.path.join(folder, "runicorn", "VERSION.txt")
        print(json.dumps([told[0] if told else os.path.isfile(file) and text(file).strip() or "0.x", folder]))

try:
    look()
except Exception:
    pass
"""


def others(folders=None):
    """Return [(version, folder)] (str) of the other program in `folders` (default: sys.path), in their
    order."""
    versions = {}
    for folder in dict.fromkeys(map(os.path.abspath, sys.path if folders is None else folders)):
        version = _installed(folder) or (_bare(folder) if folder != HERE else None)
        if version:
            versions[folder] = version
    return [(version, folder) for folder, version in versions.items()]


def _installed(folder):
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        archive = ARCHIVE.match(os.path.basename(folder))
        return (archive[1] if archive and os.path.isfile(folder) and _is_other(archive[1], _packed(folder))
                else None)
    return next((match[1] for match in map(DISTRIBUTION.match, names)
                 if match and _is_other(match[1], _listed(os.path.join(folder, match[0])))), None)


def _is_other(version, files):
    """Whether a version that put `files` (set of paths) somewhere is the other program's; no list of any is
    no sign."""
    return bool(re.match(r"0(\.|\Z)", version)) or "runicorn/sdk.py" in files \
        or "runicorn/__init__.py" in files and "runicorn/layout.py" not in files


def _packed(path):
    import zipfile
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return set()


def _listed(info):
    """Return the files that a distribution's own list names, and those of the checkout that an editable one
    leads to."""
    files = set()
    for name in LISTS:
        try:
            with open(os.path.join(info, name), encoding="utf-8", errors="replace") as file:
                files.update(line.partition(",")[0].strip() for line in file.read(LIST).splitlines())
        except OSError:
            continue            # one kind of install has one of them
    try:
        with open(os.path.join(info, "direct_url.json"), encoding="utf-8", errors="replace") as file:
            match = re.search(r'"url": *"file://([^"]+)"', file.read(LONGEST))
    except OSError:
        match = None
    for below in ("", "src") if match else ():
        package = os.path.join(match[1], below, "runicorn")
        files.update(f"runicorn/{name}" for name in (os.listdir(package) if os.path.isdir(package) else ()))
    return files


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
    beside = (": a script that imports it there does not log here. `pip uninstall runicorn` removes it; "
              "this one comes as a file: "
              f"pip install {WHEEL}")
    under = (" which this one was put over: `pip uninstall runicorn` until none is left, "
             f"then pip install {WHEEL}")
    return [f"in {folder} is runicorn {version}, another program of the same "
            f"name{under if folder == HERE else beside}"
            for version, folder in others(folders)]


def say():
    """Say on stderr where the other program is installed; nothing where it is not."""
    for sentence in sentences():
        print(f"runicorn: {sentence}", file=sys.stderr)


def told(answer):
    """Return (version, folder) (str) of what LOOK printed on a server (bytes), None where it told of
    nothing."""
    try:
        version, folder = json.loads(answer[:LONGEST])
    except (ValueError, TypeError, RecursionError):
        return None
    if not (isinstance(version, str) and isinstance(folder, str) and TOLD.fullmatch(version)):
        return None
    return version, "".join(character if character.isprintable() else "?" for character in folder)
