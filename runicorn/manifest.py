"""Describe a root of runs in one file, and say what changed since last time. Reads runs, writes only below `.runicorn`.

    python3 -m runicorn manifest --root /data/experiments --verbose
    python3 - /data/experiments < manifest.py            # where Runicorn is not installed; Python 3.6 is enough

One run per line, sorted by path, its small JSON files spliced in as found; the format is in docs/format.md, "Manifest".
"""
import argparse
import collections
import contextlib
import io
import itertools
import json
import marshal
import operator
import os
import re
import socket
import sys
import time
import zlib
from hashlib import sha256
from json.encoder import encode_basestring as quote
from os import scandir
from os.path import islink as is_link
from stat import S_ISDIR, S_ISLNK, S_ISREG

FORMAT, HIDDEN, EXPERIMENTS = 1, ".runicorn", ".runicorn/experiments"       # the last: where a home that is named as root keeps its runs
FULL, ACTIVE = "full_manifest.json", "active_manifest.json"
SMALL, ENDED = ("meta.json", "status.json", "summary.json"), ("finished", "failed", "interrupted")
TAIL = 4096                     # bytes hashed at the end of each file: an append changes them, and reading them is cheap
INLINE, NESTED = 64 << 10, 64   # of a small JSON file: a larger one becomes a stub; with more levels, what reads it would run out of stack
DEPTH, FILES = 8, 10000         # a run with more below it is listed to here
EXPERIMENT, RUN, MOST_LINKS = 2, 4, 10000      # levels below the root: project, experiment, "runs", run; links followed at one level
NO_UTF8, IN_RUNS = "names that are no UTF-8", "links in runs"       # reasons why something is passed over
TOO_DEEP, FULL_RUN = "folders deeper than %d" % DEPTH, "files beyond %d of a run" % FILES
SETTLED = 2.0                   # s; a file changed later than this before a look can change again under the same mtime (1 s on NFS)
WINDOW, STALE_BEAT = 3600.0, 7 * 86400.0        # s; what the active manifest covers; live files older than this are of nodes that died
LIMIT, RUNS = 512 << 20, 200000     # bytes of a manifest, unpacked, and runs in it; 100,000 runs have 250 MB
BITS, SHORT = 24, 4 << 20       # of a line's length; bytes of a file that is sooner read whole
MASK, START = (1 << BITS) - 1, b'"runs": {\n'
LINE, PLAIN = 8 << 20, 8 << 20      # bytes of one run; of what is parsed at once: JSON of empty lists takes 20 times as much memory
UNDECODABLE = re.compile("[\ud800-\udfff]")     # how Python shows bytes of a name that are no UTF-8
UTF8 = sys.getfilesystemencoding().lower() == "utf-8"       # of names; 3.6 takes them for ASCII in the C locale, which cron has
READING = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))    # no wait at a pipe
CHANGED = 2 if os.name == "nt" else 3       # which of a file's times in a Look moves with each change; Windows' ctime is when it was made
facts = operator.attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_mode")
OWN = re.compile(r"(?:(?:meta|status|summary)\.json|(?:(?:events|system)(?:\.rank\d+)?(?:\.\d+)?\.jsonl|logs(?:\.rank\d+)?(?:\.\d+)?\.txt)"
                 r"|\.beat)$")
TIME = rb'-?\d{1,15}(?:\.\d{1,20})?(?:e-\d\d)?'
HEAD = re.compile(rb'\{"digest": "([0-9a-f]{64})", "mtime": (' + TIME + rb'), "ended": (true|false), "count": (\d{1,9}), '
                  rb'"bytes": (\d{1,18}), (?:"stamp": "([0-9a-f]{16})", "changed": (' + TIME + rb'), )?"beat": (null|' + TIME + rb'), ')


def owners(link):
    return os.lstat(link).st_uid, os.stat(link).st_uid


reach = str
if os.name == "nt":             # junctions are links there, and long paths need a prefix
    with contextlib.suppress(ImportError):      # alone
        from runicorn.local_disk import is_link, owners, reach, scandir


class ManifestError(Exception):
    """The manifest can't be read, believed or written; the message is for the user."""
    exit_code = 1


class Manifest:
    """An index of runs: `header` (dict), and in `lines` (dict, or a manifest_lines.Lines) JSON text of each, parsed when somebody looks."""

    def __init__(self, header, lines, skipped=None):
        self.header, self.lines, self.skipped = header, lines, skipped or {}

    def __len__(self):
        return len(self.lines)

    def __contains__(self, path):
        return path in self.lines

    def paths(self):
        """Return the run paths, "project/name/runs/id", sorted (list of str)."""
        return sorted(self.lines)

    def line(self, path):
        """Return the entry's JSON text (bytes), without its key."""
        return self.lines[path]

    def entry(self, path):
        """Return a fresh dict of the entry, as `manifest_entry.parsed` gives it. Raises ManifestError if it is no JSON object."""
        return self.mended(path)[0]

    def mended(self, path):
        """Return (the entry, what did not fit in it (list of str)). Raises ManifestError if it is no JSON object."""
        try:
            from runicorn.manifest_entry import parsed  # not above: this file must also run alone
            return parsed(self.lines[path], is_object, is_number, NESTED)
        except (OSError, ValueError, RecursionError) as error:
            raise ManifestError("the manifest's entry of %s is not a JSON object" % ascii(path)[:200]) from error


def is_object(value):
    return isinstance(value, dict) and not _is_deep(value)


def is_number(value):
    return type(value) in (int, float) and -1e15 < value < 1e15         # NaN fails too


def _is_deep(value, levels=NESTED):
    return not levels or any(_is_deep(item, levels - 1) for item in (value.values() if type(value) is dict else value) if type(item) in (dict, list))


# -- reading a manifest --------------------------------------------------------------------------------------------
def load(path):
    """Return the Manifest in the file `path` (plain or gzip). Raises ManifestError, also for an absent file."""
    try:
        if not S_ISREG(os.stat(path).st_mode):
            raise OSError(22, "Is no regular file")     # opening a pipe would wait for its other end
        with patiently(open, path, "rb") as file:
            if os.fstat(file.fileno()).st_size > SHORT and file.peek(2)[:2] != b"\x1f\x8b" and hasattr(os, "pread"):
                return _indexed(file, path)             # not on Windows, where nobody could replace it
            return parse(file.read(LIMIT + 1), path)
    except OSError as error:
        raise ManifestError("%s can't be read: %s" % (path, error.strerror)) from error


def parse(data, name="the manifest"):
    """Return the Manifest in `data` (bytes, plain or gzip). Raises ManifestError. `name` is for the message."""
    return _indexed(io.BytesIO(_unzip(data, name) if data[:2] == b"\x1f\x8b" else data), name)


def _indexed(file, name):
    """Return the Manifest in a file (binary, at its beginning), whose lines stay there where that is possible."""
    found, skipped, before = None, 0, []
    try:
        for line in iter(lambda: file.readline(PLAIN), b""):
            before.append(line)
            if line == START or before[0][:1] != b"{" or file.tell() > PLAIN:
                break
        places, skipped, end = lines_of(file, file.tell()) if before[-1:] == [START] else ({}, 0, b"")
        if end:
            header = json.loads((b"".join(before[:-1]).rstrip(b",\n") + b"," + end).decode("utf-8"))
            found = Manifest(checked_header(header, name), _kept(file, places), {"not JSON": skipped} if skipped else None)
    except (ValueError, RecursionError):
        pass            # not laid out by us: a plain parse decides
    if found and not skipped:
        return found
    file.seek(0)
    data = file.read(PLAIN + 1)
    return found if found and _plain(data) is None else _parse_plain(data, name)


def _kept(file, places):
    """Return {path: line} of a file's places."""
    if not isinstance(file, io.BytesIO):
        with contextlib.suppress(ImportError):      # alone: they are read now
            from runicorn.manifest_lines import Lines, OpenFile
            return Lines(places, OpenFile(file, BITS).read)
    return {path: file.read(place & MASK) for path, place in places.items() if file.seek(place >> BITS)}


def _unzip(data, name):
    unpacker, size = zlib.decompressobj(31), int.from_bytes(data[-4:], "little")        # as its last bytes say, modulo 4 GiB
    if size > LIMIT:
        raise ManifestError("%s unpacks to more than %d MB" % (name, LIMIT >> 20))
    try:
        plain = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise ManifestError("%s is not gzip: %s" % (name, error)) from error
    if not unpacker.eof or len(plain) != size:
        raise ManifestError("%s ends in the middle, or says a wrong size; remake it with `runicorn manifest`" % name)
    return plain


def lines_of(file, start):
    """Return ({path: where its line begins << BITS, and how long it is} of the runs in a file that was read to `start`, how many lines
    are none of a run, what follows the line that ends them: b"" where none does)."""
    places, skipped, line = {}, 0, file.readline(LINE)
    while line:
        follows = file.readline(LINE) if line == b"},\n" else b""
        if follows.startswith(b'"statistics": '):
            return places, skipped, follows + b"".join(itertools.islice(iter(lambda: file.read(TAIL), b""), PLAIN // TAIL))
        if len(places) == RUNS or len(line) == LINE:
            raise ManifestError("a manifest of more than %d runs, or a run of more than %d MB" % (RUNS, LINE >> 20))
        cut = line.find(b'": {')
        path = _path(line[1:max(cut, 1)])
        if path and cut > 0:
            places[path] = (start + cut + 3 << BITS) + len(line) - cut - 3 - (2 if line.endswith(b",\n") else 1)
        else:
            skipped += 1
        start += len(line)
        line = follows or file.readline(LINE)
    return places, skipped, b""


def _path(text):
    try:
        path = text.decode("utf-8")
        if "\\" in path:
            path = json.loads('"%s"' % path)
            path.encode()
        return path
    except ValueError:
        return ""


def _parse_plain(data, name):
    if len(data) > PLAIN:
        raise ManifestError("%s is larger than %d MB and has not one run a line" % (name, PLAIN >> 20))
    parsed = _plain(data)
    if parsed is None:
        raise ManifestError("%s is not JSON; remake it with `runicorn manifest`" % name)
    runs = parsed.pop("runs", None) if isinstance(parsed, dict) else None
    if not isinstance(runs, dict) or len(runs) > RUNS:
        raise ManifestError("%s is not a manifest: it has no runs, or too many" % name)
    lines = {path: json.dumps(entry).encode() for path, entry in runs.items() if not UNDECODABLE.search(path)}
    return Manifest(checked_header(parsed, name), lines)


def _plain(data):
    """Return the value of JSON text (bytes) up to PLAIN bytes, or None if it is none."""
    try:
        return json.loads(data.decode("utf-8")) if len(data) <= PLAIN else None
    except (ValueError, RecursionError):
        return None


def checked_header(header, name):
    """Return a header with a type and a range for each field that is read; refuse one of another format."""
    if header.get("format") != FORMAT or isinstance(header["format"], bool) or not isinstance(header.get("digest"), str):
        raise ManifestError("%s is not of format %d" % (name, FORMAT))
    if type(header.get("revision")) is not int or not 0 <= header["revision"] < 1 << 53:
        header["revision"] = 0
    for field, fits, default in (("generated_at", is_number, 0), ("host", _is_text, ""), ("root", _is_text, ""), ("statistics", is_object, {})):
        if not fits(header.get(field)):
            header[field] = default
    return header


def _is_text(value):
    return isinstance(value, str) and not UNDECODABLE.search(value) and "\0" not in value


# -- writing one ---------------------------------------------------------------------------------------------------
def patiently(act, *names, seconds=2.0):
    """Return act(*names), tried again for `seconds` while Windows refuses an open file. Raises OSError."""
    until = time.monotonic() + seconds
    while True:
        try:
            return act(*names)
        except OSError as error:    # access denied, sharing violation, a locked range, a mapped file
            if getattr(error, "winerror", None) not in (5, 32, 33, 1224) or time.monotonic() + 0.005 > until:
                raise
        time.sleep(0.005)


def text(manifest):
    """Yield the manifest as pieces of bytes, to be written one after the other."""
    header = {key: value for key, value in manifest.header.items() if key != "statistics"}
    yield json.dumps(header)[:-1].encode() + b',\n"runs": {'
    for number, path in enumerate(manifest.paths()):
        yield (b",\n" if number else b"\n") + quote(path).encode() + b": " + manifest.lines[path]
    yield ('%s\n},\n"statistics": %s}\n' % ("" if manifest.lines else "\n", json.dumps(manifest.header.get("statistics") or {}))).encode()


def save(manifest, path, compress=False):
    """Write `manifest` to the file `path`, beside it first, then renamed. Raises ManifestError."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31) if compress else None
    beside = "%s.%d-%s.tmp" % (path, os.getpid(), os.urandom(3).hex())
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(0, "it is no regular file")
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(beside, "wb") as file:
            file.writelines(map(packer.compress, text(manifest)) if packer else text(manifest))
            file.write(packer.flush() if packer else b"")
        patiently(os.replace, beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):      # the first error is the one worth telling
            os.unlink(beside)
        raise ManifestError("%s can't be written: %s" % (path, error.strerror)) from error


# -- making one ----------------------------------------------------------------------------------------------------
def build(root, previous=None, rescan=False, find_others=None, into=None, share=None):
    """Look at every file of the root and return its full Manifest. Raises ManifestError if the root can't be listed, OSError for a shortage.

    previous: a Manifest of the same root; a run whose files all kept size and times is taken over from it without opening one, unless
    `rescan`. find_others, share: see `each`. into: empty Lines to put the lines into if nothing is taken over. `read`: how many runs were
    opened; `newest`: when each showed a sign of change last (s, by the clock of its file system), in the order of `lines`."""
    now = time.time()
    earlier = previous.lines if previous and not rescan else {}
    places, head_of = getattr(earlier, "places", earlier), getattr(earlier, "head", earlier.get)
    trusted = previous.header.get("generated_at", 0) - SETTLED if previous else 0
    lines, skipped = {} if earlier or into is None else into, collections.Counter()
    heads, newest, read, files, size = [], [], 0, 0, 0
    def judge(path, look, skipped):
        """Return (its line (bytes) if that is a new one, whether its files were read, its digest, number of files, bytes, newest sign)."""
        head, line = HEAD.match(head_of(path) or b""), None
        opened = not head or not _is_same(head, look, trusted)
        beat = str(look.beat).encode() if look.beat else b"null"
        if opened:
            line = scan(look, skipped)
        elif head.group(8) != beat:
            line = earlier[path][:head.start(8)] + beat + earlier[path][head.end(8):]
        head = HEAD.match(line) if line else None if opened else head
        return head and (line, opened, *head.group(1, 4, 5), max(float(head.group(7)), look.beat or 0.0))
    for path, (line, opened, own, count, total, at) in each(root, skipped, judge, find_others, share):
        lines[path] = line or places[path]
        heads.append((path, own))
        newest.append(at)
        read, files, size = read + opened, files + int(count), size + int(total)
    found = digest(sorted(heads))
    revision = previous.header.get("revision", 0) + (previous.header["digest"] != found) if previous else 1
    header = {"format": FORMAT, "kind": "full", "revision": revision, "digest": found, "generated_at": round(now, 3), "host":
              socket.gethostname(), "root": said(os.path.abspath(root)), "foreign": bool(find_others),
              "statistics": {"runs": len(heads), "files": files, "bytes": size}}
    result = Manifest(header, earlier.other(lines) if places is not earlier else lines, dict(+skipped))
    result.read, result.newest = read, newest
    return result


def digest(pairs):
    """Return the digest of a root (str): of (path, its run's digest as bytes) sorted by path."""
    hashed = sha256()
    for path, run in pairs:
        hashed.update(path.encode("utf-8", "surrogatepass") + b"\0" + run + b"\n")
    return "sha256:" + hashed.hexdigest()


def runs(root, skipped):
    """Yield (path, folder) of every run below the root, path as "project/name/runs/id"; those of a home's EXPERIMENTS are behind that;
    those behind symbolic links come last. skipped: a Counter of what is passed over. Raises ManifestError if there is no such root."""
    if not os.path.isdir(root):
        raise ManifestError("%s is not a folder; name the root with --root" % root)
    plain, links, top = [[] for _ in range(RUN + 1)], [[] for _ in range(RUN + 1)], os.path.join(root, "")      # paths by level: runs at 4
    home = [EXPERIMENTS] if os.path.isdir(reach(top + EXPERIMENTS)) else []
    linked = [link for link in (HIDDEN, EXPERIMENTS) if home and is_link(top + link)]
    for start in [""] if linked else [""] + home:
        for path in _below(top, start, 0, skipped, plain, links):
            yield said(path), top + path
    for path in _linked(top, plain, links, skipped, linked) if linked or any(links) else ():
        yield said(path), top + path


def said(name):
    """Return a name as UTF-8 has it, whatever this Python takes names for."""
    return name if UTF8 else os.fsencode(name).decode("utf-8", "surrogateescape")


def _below(top, path, level, skipped, plain, links):
    """Yield the paths of the runs below the folder `path` that no link leads to; folders and links on the way are added to the lists."""
    prefix = path and path + "/"
    folders, linked = ([prefix + name for name in names] for names in _folders(top + path, level, skipped))
    plain[level + 1] += folders
    links[level + 1] += linked
    if level + 1 == RUN:
        yield from folders
    for folder in folders if level + 1 < RUN else ():
        yield from _below(top, folder, level + 1, skipped, plain, links)


def _folders(folder, level, skipped):
    """Return ([name of a folder, ...], [name of a symbolic link, ...]) in a folder, sorted; what is neither is counted."""
    if level == EXPERIMENT:
        link, is_folder = is_link(folder + "/runs"), os.path.isdir(reach(folder + "/runs"))
        skipped["outside" if os.access(folder, os.X_OK) else "unreadable"] += not (link or is_folder)
        return ([], ["runs"]) if link else (["runs"] * is_folder, [])
    folders, links = [], []
    try:
        with scandir(folder) as items:
            for item in items:
                if UNDECODABLE.search(said(item.name)):
                    skipped[NO_UTF8] += 1
                elif item.name[:1] != ".":         # no slug begins so
                    is_folder = item.is_dir(follow_symlinks=False)
                    if is_folder or item.is_symlink():
                        (folders if is_folder else links).append(item.name)
                    else:
                        skipped["outside"] += 1
    except OSError as error:
        skipped["unreadable"] += is_denied(error)
    return sorted(folders), sorted(links)


def is_denied(error):
    """Whether an OSError forbids a look; raised again where this machine is short of memory or descriptors: that tells of no file."""
    if error.errno in (12, 23, 24):         # ENOMEM, ENFILE, EMFILE
        raise error
    return isinstance(error, PermissionError)


class Links:
    """Decides which links to folders a walk of a root follows, a level after the other, here as by SFTP. Touches no file.

    A link shows to all what whoever makes the manifest can read, so it counts only where its owner is root or owns the folder.
    A folder has one path: its own in the root, else that of the first link to it, by name. `real` is {link: where it leads} of those
    followed, `same` {link: path} of others to a folder of that path; the rest is counted in `skipped`. root: where the root really is.
    """

    def __init__(self, root, skipped):
        self._root, self.real, self.skipped, self.same = root.rstrip("/"), {}, skipped, {}

    def where(self, path):
        """Return where a folder of the root really is."""
        link = path
        while link and link not in self.real:
            link = link.rpartition("/")[0]
        return self.real[link] + path[len(link):] if link else "%s/%s" % (self._root, path)

    def follow(self, links, plain):
        """Return those of one level's links that are followed, sorted. plain: the paths of that level that are no links.

        links: {path: (owner, owner of the folder, where that really is)}; whom nobody tells is None, and so is the last without a folder.
        """
        targets = {self.where(path): path for path in plain} if links else {}
        followed = []
        self.skipped["links beyond %d" % MOST_LINKS] += max(0, len(links) - MOST_LINKS)
        for path in sorted(links)[:MOST_LINKS]:
            owner, target_owner, real = links[path]
            if real is None:
                self.skipped["links to no folder"] += 1
            elif owner not in (0, None, target_owner) and target_owner is not None:
                self.skipped["links whose owner does not own the folder"] += 1
            elif (self._root + "/").startswith(real.rstrip("/") + "/"):
                self.skipped["links back to the root"] += 1
            elif real in targets:
                self.skipped["links to a folder that is listed"] += 1
                self.same[path] = targets[real]
            else:
                targets[real], self.real[path] = path, real
                followed.append(path)
        return followed

    def apart(self, plain, linked):
        """Return those of the runs `linked`, whose paths pass a link, that are folders of their own: none that holds another run, nor
        one in a run. plain: the runs whose paths pass none."""
        separate, folders = [], {self.where(path) for path in plain}
        above = _above(folders)
        for path in sorted(linked):
            real = self.where(path)
            around = _above([real])
            if real in folders or real in above or around & folders:
                self.skipped["links to a folder that is listed"] += 1
                self.real.pop(path, None)
                continue
            separate.append(path)
            folders.add(real)
            above |= around
        return separate


def _above(paths):
    """Return the folders that hold any of the paths, up to the top (set)."""
    above, folders = set(), set(paths)
    while folders:
        folders = {path.rpartition("/")[0] for path in folders} - above - {""}
        above |= folders
    return above


def _linked(top, plain, links, skipped, of_home):
    """Return the paths of the runs that links lead to. plain, links: what `_below` found at each level; of_home: those to EXPERIMENTS."""
    decided, own, linked = Links(os.path.realpath(top).replace(os.sep, "/"), skipped), list(plain[RUN]), []
    if of_home and all(decided.follow({link: _target(top + link)}, ()) for link in of_home):
        linked += _below(top, EXPERIMENTS, 0, skipped, plain, links)
    for level in range(1, RUN + 1):
        for path in decided.follow({path: _target(top + path) for path in links[level]}, plain[level]):
            linked += [path] if level == RUN else _below(top, path, level, skipped, plain, links)
    return decided.apart(own, linked)


def _target(link):
    """Return (owner of a link, owner of the folder it leads to, where that really is), as `Links.follow` takes it."""
    try:
        return (*owners(link), os.path.realpath(link).replace(os.sep, "/") if os.path.isdir(link) else None)
    except OSError:
        return None, None, None     # to nowhere, in a circle, or where we may not look


def _beats(root):
    """Return {run id: mtime of its live file, s}."""
    beats = {}
    for place in ("", EXPERIMENTS):
        with contextlib.suppress(OSError), scandir(os.path.join(root, place, HIDDEN, "live")) as items:     # none: nothing is running
            for item in items:
                if item.name.endswith(".json"):
                    beats[item.name[:-5]] = item.stat(follow_symlinks=False).st_mtime
    return beats


def is_ours(names, beat=None):
    """Whether a folder in `runs` that holds the files `names`, in it and below, is a run of Runicorn: one that is being made is empty."""
    return bool(beat) or not names or any(map(OWN.match, names))


def is_run(folder):
    """Whether a folder in `runs` is a run of Runicorn; one that can't be listed is."""
    look = look_at(folder, None, collections.Counter())
    return not look or is_ours([file[0] for file in look.files], look.beat)


def each(root, skipped, act, find_others=None, share=None):
    """Yield (path, what act(path, Look, a Counter like `skipped`) returns) of every run below the root but None: ours, then what find_others
    (foreign.find) finds, if given. share: shares.shared_out, where other processes may do some: act returns what marshal takes, then."""
    beats, ours = _beats(root), set()
    def judge(path, folder, skipped):
        look = look_at(folder, beats.get(folder.rpartition("/")[2]) if beats else None, skipped)
        return act(path, look, skipped) if look and is_ours([file[0] for file in look.files], look.beat) else None
    tasks = list(runs(root, skipped))
    for (path, _), answer in zip(tasks, share(tasks, judge, skipped) if share else (judge(*task, skipped) for task in tasks)):
        if answer is not None:
            ours.add(path.rpartition("/" + "runs/")[0])
            yield path, answer
    for run in find_others(root, skipped, ours) if find_others else ():
        answer = act(said(run.path), _look(run.folder, run.files, None, {}, run.kinds), skipped)
        if answer is not None:
            yield said(run.path), answer


Look = collections.namedtuple("Look", "folder files stamp changed beat skipped kinds")
Look.__doc__ = """What LSTAT shows of a run in `folder` (str). files: [(name, size, mtime, ctime, mode), ...] sorted by name, times in ns;
stamp: 16 hex of all that; changed: when the newest of them changed, s; beat: its heart's mtime, s, or None; skipped: {reason: count} of
what is not among the files; kinds: of foreign.KINDS, none of ours."""


def look_at(folder, beat, skipped):
    """Return the Look of a run's folder, or None when it can't be read. The folder's own times tell nothing of its files."""
    counts = collections.defaultdict(int)
    try:
        files = _files(folder, "", 0, counts, [])
    except OSError as error:
        if is_denied(error):
            skipped["unreadable"] += 1
            skipped["unreadable of uid %d" % os.stat(folder).st_uid] += 1
        return None         # or removed under our eyes
    files.sort()
    if files and files[0][0] == ".beat":
        beat = beat or seconds(files[0][2])
        del files[0]
    if counts:
        skipped.update(counts)
    return _look(folder, files, beat, {why: n for why, n in sorted(counts.items()) if n} if counts else {}, ())


def _look(folder, files, beat, passed, kinds):
    more = repr([*passed.items(), *kinds]).encode() if passed or kinds else b"[]"
    changed = max([file[CHANGED] for file in files]) / 1e9 if files else 0.0
    return Look(folder, files, sha256(marshal.dumps(files, 2) + more).hexdigest()[:16], changed, beat, passed, kinds)


def _files(folder, prefix, depth, skipped, into):
    """Add the regular files below `folder`, as a Look has them, to the list `into`, and return that: a run's own all, others up to
    FILES. Raises OSError when `folder` can't be listed."""
    listed = _listed(folder, skipped)
    names, modes = "\0".join([file[0] for file in listed]), {file[4] for file in listed}
    if (not prefix and listed and S_ISREG(min(modes)) and S_ISREG(max(modes)) and UTF8
            and ".tmp" not in names and not UNDECODABLE.search(names)):
        return listed               # as most runs are
    for name, size, mtime, changed, mode in listed:
        if UNDECODABLE.search(said(name)):
            skipped[NO_UTF8] += 1
        elif S_ISREG(mode) and (len(into) < FILES or not prefix and OWN.match(name)):
            if not name.endswith(".tmp"):
                into.append((prefix + name, size, mtime, changed, mode))
        elif S_ISREG(mode):
            skipped[FULL_RUN] += 1
        elif S_ISDIR(mode) and depth < DEPTH and len(into) < FILES:
            try:
                _files("%s/%s" % (folder, name), "%s%s/" % (prefix, name), depth + 1, skipped, into)
            except OSError as error:
                skipped["unreadable"] += is_denied(error)
        else:
            skipped[IN_RUNS if S_ISLNK(mode) else "outside" if not S_ISDIR(mode) else TOO_DEEP if depth >= DEPTH else FULL_RUN] += 1
    return into


def _listed(folder, skipped):
    """Return [(name, size, mtime, ctime, mode), ...] of what is in a folder: a run's own files all, others up to FILES."""
    try:
        if scandir in os.supports_fd:   # each file is looked at below the open folder: shorter paths are quicker
            where = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                with scandir(where) as items:
                    listed = [(item.name, *facts(item.stat(follow_symlinks=False))) for item in itertools.islice(items, FILES + 1)]
            finally:
                os.close(where)
            if len(listed) <= FILES:
                return listed
    except OSError as error:
        is_denied(error)        # one of them was removed under our eyes, or the folder can't be listed: the next try tells
    listed = []
    with scandir(folder) as items:
        for item in items:
            if len(listed) >= FILES and not OWN.match(item.name):
                skipped[FULL_RUN] += 1
            else:
                with contextlib.suppress(FileNotFoundError):
                    listed.append((item.name, *facts(item.stat(follow_symlinks=False))))
    return listed


def seconds(nanoseconds):
    """Return a time in s to the bit as os.stat has it."""
    return nanoseconds // 10**9 + 1e-9 * (nanoseconds % 10**9)


def _is_same(head, look, trusted):
    """Whether the `head` of a run's line of an earlier manifest is of the very files that the Look shows. trusted: s; what changed later
    than this may have changed again under the same times after it was read, unless its mtime was set by hand."""
    return head.group(6) == look.stamp.encode() and (look.changed < trusted or all(
        file[CHANGED] / 1e9 < trusted or file[2] < file[CHANGED] - SETTLED * 1e9 for file in look.files))


def scan(look, skipped):
    """Read what is needed of a run's files and return its line (bytes), or None when its folder vanished."""
    try:
        folder = os.stat(reach(look.folder))
    except OSError:
        return None         # removed under our eyes
    texts, pieces, total, ended, hashed = {}, [], 0, False, sha256()
    for name, size, mtime, _, _ in look.files:
        mtime, text = repr(seconds(mtime)), said(name)
        size, tail, raw = _read(look.folder + "/" + name, size, name in SMALL, skipped)
        hashed.update(("%s\0%d\0%s\0%s\n" % (text, size, tail, "" if raw else mtime)).encode() + (raw or b""))
        if name in SMALL:
            texts[name], value = (b'{"truncated": %d}' % size, {}) if raw is None else splice(raw, skipped, QUICK)
            ended = ended or name == SMALL[1] and isinstance(value, dict) and value.get("status") in ENDED
        total += size
        pieces.append('%s: {"size": %d, "mtime": %s, "tail": %s}' % (quote(text), size, mtime, '"%s"' % tail if tail else "null"))
    texts = [texts.get(name) or b"null" for name in SMALL]
    changed = max(look.changed, folder.st_mtime)
    return entry_line(hashed.hexdigest(), folder.st_mtime, ended, look.beat, texts, pieces, total, look.stamp, changed, *look[5:])


def entry_line(digest, mtime, ended, beat, texts, pieces, total, stamp=None, changed=0.0, skipped=None, kinds=()):
    """Return a run's line (bytes). texts: JSON of meta, status and summary; pieces: JSON of each file; total: their bytes.

    stamp, changed: of its Look, where one was taken. skipped: {reason: count} of what is left out of it. kinds: of another logger's run.
    """
    head = '{"digest": "%s", "mtime": %r, "ended": %s, "count": %d, "bytes": %d, ' % (digest, mtime, str(ended).lower(), len(pieces), total)
    if stamp:
        head += '"stamp": "%s", "changed": %.3f, ' % (stamp, changed)
    head += '"beat": %s, "meta": ' % (beat or "null")
    end = '}, "skipped": %s' % json.dumps(skipped, sort_keys=True) if skipped else "}"
    end += ', "kinds": %s}' % json.dumps(kinds) if kinds else "}"
    return b"".join([head.encode(), texts[0], b', "status": ', texts[1], b', "summary": ', texts[2],
                     b', "files": {', ", ".join(pieces).encode(), end.encode()])


def _read(path, size, is_whole, skipped):
    """Return (size, SHA-256 of the last 4 KiB, the bytes if `is_whole` and at most 64 KiB, else None); no tail if it can't be read."""
    try:
        fd = os.open(reach(path), READING)
        try:
            raw = os.read(fd, INLINE + 1) if is_whole else b""
            if is_whole and len(raw) <= INLINE:
                return len(raw), sha256(raw[-TAIL:]).hexdigest(), raw
            if is_whole or size > TAIL:
                os.lseek(fd, max(0, size - TAIL), os.SEEK_SET)
            return size, sha256(os.read(fd, min(size, TAIL))).hexdigest(), None
        finally:
            os.close(fd)
    except OSError as error:
        skipped["unreadable"] += is_denied(error) or 1      # whatever forbids it, but for a shortage
        return size, None, b"" if is_whole else None


STRICT = json.JSONDecoder(parse_constant={}.__getitem__)        # a bare NaN or infinity, which strict JSON has not, is a KeyError
QUICK = json.JSONDecoder(parse_constant={}.__getitem__, parse_float=str)     # half the time


def on_one_line(raw):
    return raw.strip().replace(b"\n", b" ").replace(b"\r", b" ")


def splice(raw, skipped, by=STRICT):
    """Return (the JSON object in `raw` (bytes) as text of one line, bare NaN quoted, its value); (b"null", None) if it is none."""
    try:
        try:
            value = by.decode(raw.decode("utf-8"))
            line = on_one_line(raw)
        except KeyError:
            value = json.loads(raw.decode("utf-8"), parse_constant=str)
            line = json.dumps(value).encode()
    except (ValueError, RecursionError):
        value = None
    if is_object(value):
        return line, value
    skipped["not JSON"] += 1
    return b"null", None


# -- the command ---------------------------------------------------------------------------------------------------
def generate(root, active_window=WINDOW, incremental=True, output=None, compress=False, active_only=False):
    """Bring the root's manifests up to date; return a report (dict), which --verbose prints. output: another place for the full one, which
    active_only leaves as it is. Raises ManifestError."""
    ending = ".gz" if compress or (output or "").endswith(".gz") else ""
    full, recent = (os.path.join(root, HIDDEN, name + ending) for name in (FULL, ACTIVE))
    full = os.path.realpath(output) if output else full     # /dev/stdout is a link
    previous = find = share = None
    with contextlib.suppress(ManifestError):    # none yet, or broken: it is remade from the runs
        previous = load(full)
    with contextlib.suppress(ImportError):      # this file is alone: runs of ours only
        from runicorn.foreign import find
        from runicorn.shares import shared_out as share
    live = os.path.join(root, HIDDEN, "live")
    is_own = os.path.realpath(live) == os.path.join(os.path.realpath(root), HIDDEN, "live")      # no link that others laid
    for name, beat in _beats(root).items() if is_own else ():
        if beat < time.time() - STALE_BEAT:
            with contextlib.suppress(OSError):      # somebody else's, or gone already
                os.unlink(os.path.join(live, name + ".json"))
    manifest = build(root, previous, not incremental, find, share=share)
    changed = not previous or any(manifest.header[field] != previous.header.get(field) for field in ("digest", "foreign"))
    try:
        if not active_only:         # a touch says "looked, nothing new"; what was read again is taken over the next time
            save(manifest, full, bool(ending)) if changed or manifest.read else os.utime(full)
    except OSError as error:
        raise ManifestError("%s can't be touched: %s" % (full, error.strerror)) from error
    if not output:
        save(active(manifest, active_window), recent, bool(ending))
    return dict({"kind": "active" if active_only else "full", "output": recent if active_only else full, "compressed": bool(ending),
                 "revision": manifest.header["revision"], "changed": changed}, skipped=manifest.skipped, **manifest.header["statistics"])


def active(manifest, window=WINDOW):
    """Return the Manifest of what changed within `window` s, with the digest of the whole root: apply, then compare."""
    known, since = manifest.lines, manifest.header["generated_at"] - window
    places = getattr(known, "places", known)
    lines = {path: places[path] for path, at in zip(known, manifest.newest) if at >= since}
    return Manifest(dict(manifest.header, kind="active", window=window), known.other(lines) if places is not known else lines)


def _root(argument):
    """Return (root, how it was chosen): the one given, this folder if it holds runs, else the default root."""
    if argument:
        return os.path.expanduser(argument), "as given"
    if os.path.isdir(HIDDEN) > os.path.isdir(EXPERIMENTS) or any(path[:1] != "." for path, _ in runs(".", collections.Counter())):
        return os.getcwd(), "this folder"       # no home, though
    home = os.path.expanduser(os.environ.get("RUNICORN_HOME") or "~/.runicorn")
    try:
        with open(os.path.join(home, "config.json"), "rb") as file:        # as bytes: in UTF-16, or with a mark, it is JSON too
            configured = json.load(file).get("root")
    except (OSError, ValueError, AttributeError):       # absent or broken: the command that edits it says so
        configured = None
    return os.path.expanduser(os.environ.get("RUNICORN_DIR") or configured or os.path.join(home, "experiments")), "the default root"


def _parser():
    parser = argparse.ArgumentParser(
        prog="runicorn manifest", description="Describe a root of runs in one file, so that mirrors see at once what is new.",
        epilog="example: runicorn manifest --root /data/experiments --verbose")
    add, flag = parser.add_argument, {"action": "store_true"}
    add("place", nargs="?", metavar="ROOT", help="the same as --root")
    add("--root", help="folder of runs (default: this folder if it holds runs, else the default root)")
    add("--verbose", "-v", help="say what was found and written", **flag)
    add("--output", help="write the full manifest to this file instead of ROOT/.runicorn/" + FULL)
    add("--active", help="write only the active manifest", **flag)
    add("--active-window", type=float, default=WINDOW, metavar="S", help="seconds that count as active (default 3600)")
    add("--no-incremental", help="read every run again, also finished ones that did not change", **flag)
    add("--compress", help="write .json.gz", **flag)
    add("--install", choices=("cron", "systemd", "schtasks"), help="print what regenerates it every 5 minutes")
    add("--yes", help="with --install: install it", **flag)
    return parser


def main(argv=None):
    """Run the command with the arguments `argv` (list of str) and return its exit code: 0, 1, or 130 after Ctrl+C."""
    options = _parser().parse_args(argv)
    try:
        return _run(options, *_root(options.root or options.place))
    except ManifestError as error:
        print("runicorn: %s" % error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _run(options, root, how):
    if options.install:
        from runicorn.manifest_timer import install  # only here: this file must also run alone
        return install(options.install, os.path.abspath(root), options.yes)
    if how != "as given":
        print("%s (%s%s)" % (root, how, "" if os.path.isdir(root) else "; no runs yet, the first one makes it"))
        if not os.path.isdir(root):
            return 0
    report = generate(root, options.active_window, not options.no_incremental, options.output, options.compress, options.active)
    skipped = report.pop("skipped")
    lines = [*report.items(), *(("skipped", "%d %s" % (count, reason)) for reason, count in sorted(skipped.items()))]
    for line in lines if options.verbose else ():
        print("%-11s %s" % line)
    return 0


if __name__ == "__main__":
    if sys.stdout:
        sys.stdout = open(1, "w", errors="replace", closefd=False)      # a name in Chinese must not end it on an ASCII terminal
    sys.exit(main())
