"""Names and paths of a root and a run, strict JSON, and replacing a file whole. Knows the format (README,
"Format"), opens no run."""

import errno
import itertools
import json
import os
import re
import stat
import sys
import time

from runicorn import disk
from runicorn.errors import AmbiguousError, LayoutError, NotFoundError

CANDIDATES = 20             # runs that an ambiguous answer names
FORMAT = 1                          # `format` in meta.json; a larger one was made by a newer Runicorn
META, STATUS, SUMMARY = "meta.json", "status.json", "summary.json"
SMALL = (META, STATUS, SUMMARY)
STEMS = ("meta", "status", "summary")                       # of SMALL
RUNS = "runs"
HIDDEN, LIVE = ".runicorn", "live"  # below a root: manifests, and in the second the live files
EXPERIMENTS = f"{HIDDEN}/experiments"       # below a home that is named as root: a root in it
BEAT = ".beat"                      # in a run's folder, where the root's live folder can't be written
BESIDE = ".tmp"                     # ends the name of a file that is not whole yet
LAST = 1e11                         # Unix s; the year 5138
ENDED = ("finished", "failed", "interrupted")               # states in status.json of a run that is over
# Below a mirror; in it what the server has, what the last pass told, and whose mirror it is:
INDEX = ".index"
INDEX_FULL, INDEX_LIVE, INDEX_SOURCE, INDEX_LOCK = "full.json", "live.json", "source.json", "lock"
CONFIG = "config.json"              # in a home
COARSE_NS = 3_000_000_000           # within which two changes of a folder may have one mtime
SLUG_BYTES = 120                    # project + name + id + a file stay far below PATH_MAX
KEPT = frozenset(" ._-=+,@()")
INFINITY = float("inf")
# Compiled when they are needed first. Names Windows keeps for itself, which all begin with one of six
DEVICE = r"(?i)^(con|prn|aux|nul|con(in|out)\$|(com|lpt)[0-9¹²³]) *(\.|$)"
DEVICE_BEGINNINGS = {"con", "prn", "aux", "nul", "com", "lpt"}
OWN = r"^(events|logs|system)(?:\.rank(\d{1,9}))?(?:\.(\d{1,9}))?\.(jsonl|txt)\Z"
ENDINGS = {"events": "jsonl", "logs": "txt", "system": "jsonl", "status": "json"}
# Anywhere in the last part of a name
SMALLER_IS_BETTER = ("loss", "error", "perplexity")
PHASES = {"train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev"}
# Only as a word: power, certainty, confidence
SMALLER_WORDS = {"err", "ppl", "rmse", "mae", "mse", "wer", "cer", "fid", "time"}


# -- where things are ----------------------------------------------------------------------------------------

def home_dir(environ=os.environ):
    """Return Runicorn's own folder on this machine (Path): RUNICORN_HOME, else ~/.runicorn."""
    # here, as below: a training needs none to begin, and it takes as long to load as half of what does
    from pathlib import Path
    return Path(_home(environ))


def _home(environ):
    return _expanded(environ.get("RUNICORN_HOME") or os.path.join("~", ".runicorn"))


def _expanded(path):
    home = os.path.expanduser(path)
    if home[:1] == "~":
        raise RuntimeError(f"no home folder: {path}")
    return home


def default_root(storage=None, environ=os.environ):
    """Return the root (Path): `storage`, else RUNICORN_DIR, else "root" in config.json, else
    HOME_DIR/experiments."""
    from pathlib import Path
    return Path(root_path(storage, environ))


def root_path(storage=None, environ=os.environ):
    """Return `default_root` as text."""
    chosen = storage or environ.get("RUNICORN_DIR") or _configured_root(_home(environ))
    return (_expanded(disk_path(os.fsdecode(chosen))) if chosen
            else os.path.join(_home(environ), "experiments"))


def _configured_root(home):
    # Absent or broken: `settings` reports it
    root = (read_json(os.path.join(home, CONFIG)) or {}).get("root")
    return root if isinstance(root, str) else None


def run_path(project, name, run_id):
    """Return the path of a run relative to its root, with "/" between the parts (str)."""
    return "/".join((slug(project), slug(name), RUNS, slug(run_id)))


def new_run_id(now=None):
    """Return a fresh run id, the writer's local time and 24 random bits: "20250123_180000_abc123"."""
    return time.strftime("%Y%m%d_%H%M%S_", time.localtime(now)) + os.urandom(3).hex()


def stamp(now=None):
    """Return the stamp that opens a log line: "[2025-01-23 18:30:45+0800] ", local time with its offset."""
    return time.strftime("[%Y-%m-%d %H:%M:%S%z] ", time.localtime(now))


def own_file(stem, attempt=1, rank=0):
    """Return the file name of `stem` ("events", "logs", "system" or "status") for an attempt (1, 2, …) and a
    rank (0, 1, …)."""
    middle = (f".rank{rank}" if rank else "") + (f".{attempt}" if attempt > 1 else "")
    return f"{stem}{middle}.{ENDINGS[stem]}"


def parse_own(name):
    """Return (stem, attempt, rank) of an append-only file of a run, or None if `name` is none of them."""
    match = re.match(OWN, name)
    if not match or ENDINGS[match[1]] != match[4]:
        return None
    return match[1], int(match[3] or 1), int(match[2] or 0)


# -- names ---------------------------------------------------------------------------------------------------

def slug(name):
    """Return the folder name for any text: reversible unless cut, at most 120 bytes, distinct for distinct
    names.

    Letters (NFC), digits, space and ._-=+,@() stay; other characters, a leading dot, a trailing dot or space
    and Windows device names are percent-escaped. If the result differs from `name`, "~" and six hex digits of
    the name's SHA-256 follow.
    """
    if not name:
        raise LayoutError("a project, a name or a run id can't be empty")
    if name.isascii():
        return escaped_name(name, name, lambda c: c in KEPT or c.isalnum(), SLUG_BYTES)
    from unicodedata import category, normalize
    normal = normalize("NFC", name)
    return escaped_name(name, normal, lambda c: c in KEPT or category(c)[0] in "LMN", SLUG_BYTES)


def is_device(name):
    """Whether Windows keeps a file's name for itself."""
    return name[:3].lower() in DEVICE_BEGINNINGS and re.match(DEVICE, name) is not None


def escaped_name(name, normal, keep, limit, hidden=False, position=None):
    """Return `normal`, the form of `name` to write, with what a folder's name may not hold escaped; at most
    `limit` bytes.

    keep: called with a character, whether it may stay. hidden: whether a leading dot may. position: where a
    character must not stay.
    """
    out = [c if keep(c) and index != position else _escape(c) for index, c in enumerate(normal)]
    if out[0] == "." and not hidden:
        out[0] = "%2E"
    if out[-1] in (".", " "):
        out[-1] = _escape(out[-1])
    if is_device(normal):
        out[0] = _escape(normal[0])
    text = "".join(out)
    if text == name and len(name_bytes(text)) <= limit:
        return text
    from hashlib import sha256  # here: most names need no hash, and `import runicorn` must stay light
    suffix = "~" + sha256(name_bytes(name)).hexdigest()[:6]
    return _cut(out, limit - len(suffix)) + suffix


def _escape(char):
    return "".join(f"%{byte:02X}" for byte in name_bytes(char))


def name_bytes(text):
    """Return text as bytes, also undecodable bytes of a name (PEP 383) and, in three bytes as U+D800 would
    have, half characters."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b"".join(c.encode("utf-8", "surrogateescape" if "\udc80" <= c <= "\udcff" else "surrogatepass")
                        for c in text)


def _cut(pieces, limit):
    used, short = 0, []
    for piece in pieces:
        used += len(name_bytes(piece))
        if used > limit:
            break
        short.append(piece)
    return "".join(short)


def legible(text):
    """Return text whose bytes of UTF-8 are decoded that Python left undecoded, as it does where the locale is
    ASCII (PEP 383)."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return name_bytes(text).decode("utf-8", "surrogateescape")


def disk_path(path):
    """Return a path (str) as this process has to say it so that the disk gets UTF-8, also where the locale is
    ASCII."""
    if sys.getfilesystemencoding() == "utf-8" or path.isascii():
        return path
    return os.fsdecode(path.encode("utf-8", "surrogateescape"))


def below(root, path):
    """Return where (str) the relative `path` (str, as JSON has it) lies below `root`."""
    return os.path.join(root, disk_path(path))


# -- files ---------------------------------------------------------------------------------------------------

def _fast_encoder():
    """Return a function that gives strict JSON text; from CPython, with its encoder made once and not at each
    call, which takes half its time."""
    slow = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
    try:
        fast = json.encoder.c_make_encoder(None, slow.default, json.encoder.encode_basestring, None, ":", ",",
                                           False, False, False)
    except TypeError:                   # there is none, or of another signature
        return slow.encode
    return lambda row: "".join(fast(row, 0))


encode = _fast_encoder()


def to_json(value):
    """Return strict JSON text (str): NaN and infinities as "NaN", "Infinity", "-Infinity", everything exact
    to 64 levels."""
    try:
        return encode(value)
    except (ValueError, RecursionError):
        return encode(strict(value))


def json_bytes(value):
    """Return strict JSON in UTF-8 (bytes) of values that may hold undecoded bytes and half characters: these
    become U+FFFD."""
    text = to_json(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", legible(text)).encode()


def strict(value, levels=64):
    """Return `value` with every NaN and infinity below it, and what is deeper than `levels`, replaced by a
    string."""
    if isinstance(value, float) and not abs(value) < INFINITY:
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, (dict, list, tuple)):
        if not levels:
            return "(nested too deep)"
        if isinstance(value, dict):
            return {key: strict(item, levels - 1) for key, item in value.items()}
        return [strict(item, levels - 1) for item in value]
    return value


def number(value):
    """Return the float that a JSON value stands for ("NaN" and the infinities included), or None if it is no
    number."""
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return INFINITY if value > 0 else -INFINITY
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else None


def moment(value):
    """Return the Unix seconds (float) that a JSON value stands for, or None if no calendar has them."""
    value = None if isinstance(value, bool) else number(value)
    return value if value is not None and abs(value) < LAST else None


def is_like(pattern, text):
    """Whether `text` is as `pattern` has it, each * standing for anything. In linear time: servers send
    patterns."""
    head, *parts, last = pattern.split("*")
    start, end = len(head), len(text) - len(last)
    for piece in parts:
        index = text.find(piece, start, end)
        start = index + len(piece) if index >= 0 else end + 1
    return start <= end and text.startswith(head) and text.endswith(last)


def definition_of(entries, metric):
    """Return the entry (dict) of a metric in meta.json: its own, else the longest fitting pattern's."""
    fits = [name for name in entries if "*" in name and is_like(name, metric)]
    return entries.get(metric if metric in entries else max(fits, key=len, default=None), {})


def best_rule(metric, definition=()):
    """Return "min" or "max": which value of a metric is its best. definition: its entry in meta.json (dict);
    its goal, or one of the two as summary, goes before a word in the name's last part, or in the one before
    it where that is a phase."""
    ways = {"min", "max"} & set(dict(definition).get("summary", "").split(","))
    goal = dict(definition).get("goal") or (ways.pop() if len(ways) == 1 else None)
    if goal:
        return goal
    above, _, name = metric.rpartition("/")
    # TensorBoard's loss/train
    name = above.rpartition("/")[2] if above and name.lower() in PHASES else name
    words = {word.lower() for word in re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    return ("min" if words & SMALLER_WORDS or any(part in name.lower() for part in SMALLER_IS_BETTER)
            else "max")


def tells_changes(mtime, since=None):
    """Whether a folder of this mtime (ns) has another one after a change since `since` (ns, None: now): some
    disks and servers give the same one to all changes of two seconds."""
    return abs((time.time_ns() if since is None else since) - mtime) > COARSE_NS


def open_regular(path, flags=os.O_RDONLY, mode=0o666):
    """Open a regular file, or a link to one, as os.open does; returns the descriptor. Never waits: a FIFO
    would, for its other end.

    Raises OSError, also for anything that is no regular file.
    """
    if not flags & os.O_CREAT or os.path.lexists(path):
        _require_regular(os.stat(path), path)           # before it is opened: a device may do anything then
    flags |= getattr(os, "O_BINARY", 0)
    try:
        fd = disk.patiently(os.open, path, flags | getattr(os, "O_NONBLOCK", 0), mode, seconds=disk.BRIEF)
    # somebody's lease (Samba's) has to be given back first, which takes a moment
    except BlockingIOError:
        fd = os.open(path, flags, mode)
    try:
        _require_regular(os.fstat(fd), path)
    except OSError:
        os.close(fd)
        raise
    return fd


def read_regular(path):
    """Return all bytes of a regular file, or of what a link to one leads to. Raises OSError as open_regular
    does."""
    with open(open_regular(path), "rb") as file:
        return file.read()


def _require_regular(status, path):
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Is no regular file", os.fspath(path))


def read_json(path, limit=64 << 20):
    """Return the dict in a small JSON file, or None if it is absent, no regular file, larger than `limit`
    bytes, or no JSON object."""
    try:
        with open(open_regular(path), "rb") as file:
            raw = file.read(limit + 1)
        value = json.loads(raw) if len(raw) <= limit else None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


# No other host's process, and none forked from us, makes such a name
_OURS, _TURNS = os.urandom(3).hex(), itertools.count()


def replace_file(path, data, mode=None, durable=False, shield=None, seconds=disk.PATIENCE):
    """Write `data` (bytes) beside `path` and rename it over `path`. Raises OSError; then the old file is as
    it was.

    mode: permission bits (default: by the umask). durable: fsync before the rename. shield: whose
    keep(descriptor) and release(descriptor) see to it that nobody in this process closes the file meanwhile.
    seconds: as disk.replace has it.
    """
    # The name beside owes nothing to the file's own, which may be as long as a disk takes
    path = os.fspath(path)
    beside = os.path.join(os.path.dirname(path), f".{os.getpid()}-{_OURS}{next(_TURNS):x}{BESIDE}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0),
                         0o666 if mode is None else mode)
    try:
        fd = fd if shield is None else shield.keep(fd)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view):]
            if durable:
                os.fsync(fd)
        finally:
            if shield is not None:
                shield.release(fd)
            os.close(fd)
        disk.replace(beside, path, seconds)
    except BaseException:
        disk.discard(beside, 0.0)       # the first error is the one worth telling
        raise


def make_folders(root, path):
    """Make the folders `path` (str, relative, "/") below `root`; each new one copies the root's mode and
    group. Returns the last (str)."""
    os.makedirs(root, exist_ok=True)
    like = os.stat(root)
    folder = os.fspath(root)
    for name in disk_path(path).split("/"):
        folder = os.path.join(folder, name)
        try:
            new_folder(folder, like)
        except FileExistsError:
            continue
    return folder


def new_folder(folder, like):
    """Make one folder with the mode and group of `like` (a stat result). Raises FileExistsError, OSError."""
    os.mkdir(folder)
    try:
        if hasattr(os, "chown") and os.stat(folder).st_gid != like.st_gid:
            os.chown(folder, -1, like.st_gid)
        os.chmod(folder, stat.S_IMODE(like.st_mode))
    except OSError:
        pass            # a foreign group or a file system without modes: the folder works all the same


# -- which run is meant --------------------------------------------------------------------------------------

def ends_key(key, tail):
    """Whether `tail` is a key, or its end from a sign that parts names, or the end of its id, behind
    "connection:" or not."""
    if key == tail or bool(tail) and key.endswith(tail) and key[-len(tail) - 1] in ":/_":
        return True
    connection, _, ending = tail.partition(":")
    return (bool(connection and ending) and key.startswith(connection + ":")
            and ends_key(key[len(connection):], ending))


def only(keys, tail):
    """Return the one of `keys`, which `tail` may mean. Raises NotFoundError, or AmbiguousError with the first
    `candidates`."""
    if not keys:
        raise NotFoundError(f"there is no run {tail[:200]!r}; `runicorn runs` lists them")
    if len(keys) > 1:
        keys = sorted(keys)
        examples = ", ".join(keys[:3]) + (" …" if keys[3:] else "")
        error = AmbiguousError(f"{tail[:200]!r} may be {len(keys)} runs: {examples}; give more of the key")
        error.candidates = keys[:CANDIDATES]
        raise error
    return keys[0]
