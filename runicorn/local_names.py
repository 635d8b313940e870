"""Names and paths that another machine sent: whether they may be taken, and where they lie on this machine's
disk."""

import os
import re
import unicodedata
from pathlib import Path

from runicorn import local_disk
from runicorn.errors import LayoutError
from runicorn.layout import (
    EXPERIMENTS,
    HIDDEN,
    RUNS,
    SMALL,
    escaped_name,
    is_device,
    name_bytes,
    parse_own,
    slug,
)

RANK_STATUS = re.compile(r"^status\.rank([1-9]\d{0,8})(?:\.(\d{1,9}))?\.json\Z")
# What nearly any disk takes in one component; a name of our own for a neighbour fits too
NAME_BYTES = 240
ORDINARY = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9_.=+-]{0,200}(?<!\.)\Z")           # names no disk objects to
SUFFIX = re.compile(r"~[0-9a-f]{6}$")                            # of a slug that differs from its name
# What no name on a disk of Windows may have
ODD = re.compile(r'[\\:*?"<>|\x00-\x1f]|[. ]\Z')
# Half a character in three bytes, as Python shows them in a name
HALF = re.compile("\udced[\udca0-\udcbf][\udc80-\udcbf]")


def safe_relative(path, depth=32):
    """Return `path` if it is relative, of at most `depth` parts, and has no empty, "." or ".." part and no
    NUL.

    Raises LayoutError otherwise. A path that passes may still hold names this disk can't: see `local_path`.
    """
    parts = path.split("/")
    if "\0" in path or len(parts) > depth or any(component in ("", ".", "..") for component in parts):
        raise LayoutError(f"the path {path[:200]!r} is not a plain relative path")
    return path


def is_plain(path, windows=local_disk.WINDOWS):
    """Whether every part of a relative `path` is one entry of a folder on this machine as it is written: on
    Windows "C:" is a drive, "a:b" a stream, "nul.txt" a device, "\\\\host" another machine, and "a." is
    "a"."""
    return not windows or not any(is_device(component) or ODD.search(component)
                                  for component in path.split("/"))


def inside(folder, path, windows=local_disk.WINDOWS):
    """Return where the relative `path` lies below a folder of this machine (str), links not looked at. Raises
    LayoutError for one that could lie elsewhere."""
    if not is_plain(safe_relative(path), windows):
        raise LayoutError(f"the path {path[:200]!r} means something else on this system")
    return os.path.join(os.fspath(folder), *path.split("/"))


def parse_rank_status(name):
    """Return (attempt, rank) of the file in which a rank other than 0 says how it ends, or None if `name` is
    none."""
    match = RANK_STATUS.match(name)
    return (int(match[2] or 1), int(match[1])) if match else None


def is_small(name):
    """Whether `name` (relative to the run) is one of the run's small JSON files, which are replaced whole."""
    return name in SMALL or RANK_STATUS.match(name) is not None


def is_own(name):
    """Whether `name` (relative to the run) is one of the run's own files: always mirrored."""
    return is_small(name) or parse_own(name) is not None


def split_run_path(path):
    """Return (project slug, name slug, id) of "project/name/runs/id", behind a home's EXPERIMENTS or not;
    raises LayoutError for anything else."""
    parts = _own_parts(safe_relative(path))
    if not parts or any(part.startswith(".") for part in parts):
        raise LayoutError(f"{path!r} is not project/name/runs/id")
    return parts


def is_run_path(path):
    """Whether `path` is project/name/runs/id."""
    try:
        split_run_path(path)
    except LayoutError:
        return False
    return True


def root_of(path):
    """Return the root (str) in which the run of ours at `path` below a root lies: "", or that in a home."""
    return EXPERIMENTS if path.startswith(EXPERIMENTS + "/") else ""


def in_its_root(path):
    """Return the path (str) below `root_of(path)` of the run of ours at `path`."""
    return path[len(root_of(path)):].lstrip("/")


def _own_parts(path):
    """Return (project slug, name slug, id) of a path that is like that of a run of ours, else None."""
    parts = in_its_root(path).split("/")
    return (parts[0], parts[1], parts[3]) if len(parts) == 4 and parts[2] == RUNS else None


def run_parts(path):
    """Return (project slug, name slug, id) of a run's path: of another logger's run, the first part, what is
    between, and the last."""
    parts = path.split("/")
    last = parts[-1].lstrip(":")
    return _own_parts(path) or (parts[0], "/".join(parts[1:-1]) or last, last)


def run_key(slug, path):
    """Return the key of a run: "gpu-1:vision/resnet50/20250123_180000_abc123" of its source's slug and its
    path (str)."""
    return f"{slug}:{'/'.join(_own_parts(path) or (path,))}"


def paths_of(name):
    """Return the paths (list of str) at which the run lies whose key ends in `name` behind the source's slug:
    of a run of ours, of one in a home, then of another logger's."""
    parts = name.split("/")
    own = ["/".join((*parts[:2], RUNS, parts[2]))] if len(parts) == 3 else []
    return [*own, *(f"{EXPERIMENTS}/{path}" for path in own), name]


def connection_slug(name):
    """Return the mirror folder of a connection: "GPU Server 1" is "gpu-server-1"."""
    return slug(re.sub(r"[\s/\\]+", "-", name.strip().lower()) or name)


def local_name(component, hidden=True, escaped=None):
    """Return a component of a server's path as it may stand on any disk; safe ones stay as they are.

    hidden: whether a leading dot may stay (not in a mirror's top folder, but of `.runicorn`: `.index` is
    ours). escaped: the place of a character that must not stay.
    """
    if escaped is None and ORDINARY.match(component) and not is_device(component):
        return component
    tilde = "~" if SUFFIX.search(component) else ""         # slugs made on the server stay readable here
    return escaped_name(component, component,
                        lambda c: c == tilde or c not in '\\/:*?"<>|~' and c.isprintable(), NAME_BYTES,
                        hidden, escaped)


def twin_name(component):
    """Return another local name for a component that this disk would take for one beside it, as reversible as
    the first."""
    return local_name(component, escaped=next((index for index, c in enumerate(component) if c.isalpha()), 0))


def folded(name):
    """Return what names have in common that a disk which ignores case, and how an accent is written, takes
    for one (str)."""
    return unicodedata.normalize("NFC", name).casefold()


def local_path(folder, path, plain=()):
    """Return where the server's relative `path` lives below `folder` (Path). Raises LayoutError for a hostile
    path and for one that would pass through a symbolic link. plain: folders known to be no links."""
    return Path(place(folder, path, plain))


def place(folder, path, plain=()):
    """As `local_path`, as a str."""
    local = os.fspath(folder)
    for level, component in enumerate(safe_relative(path).split("/")):
        local = f"{local}{os.sep}{local_name(component, hidden=level > 0 or component == HIDDEN)}"
        if local not in plain and local_disk.is_link(local):
            raise LayoutError(f"{local} is a symbolic link; the mirror never follows one")
    return local


def unslug(text):
    """Return the name a slug was made from; a slug that had to be cut gives its beginning."""
    return _unescape(SUFFIX.sub("", text)) if SUFFIX.search(text) else text


def _unescape(text):
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), name_bytes(text))
    text = raw.decode("utf-8", "surrogateescape")
    return HALF.sub(lambda m: name_bytes(m[0]).decode("utf-8", "surrogatepass"), text)
