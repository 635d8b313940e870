"""What the server holds: our index of it, brought up to date by exec, by its manifest and by walking. Fetches no run's data.

A manifest or a listing only adds knowledge; a run is gone when the server said so of the run while it still showed the root.
"""

import collections
import json
from json.encoder import encode_basestring_ascii as quote

from runicorn import layout, manifest, plan, sftp
from runicorn.errors import MissingFileError, SftpError

FIELDS = [name[:-5] for name in layout.SMALL]
WALKED = "0" * 64               # digest of an entry nobody hashed
FOLDERS = 200_000               # folders listed below one run
PENDING = 400_000               # folders that wait to be listed, of all runs
CROWD = 200_000                 # entries of one folder that are kept; of more, those that may be a run's own file
LISTED = 400                    # folders listed at once; each takes two round trips
MANY_NAMES = 50                 # entries in one answer that make another one likely; OpenSSH puts 100 in


class Index:
    """The runs of a server, as lines of a manifest; those looked at often are kept parsed and written back by `flush`."""

    def __init__(self, held):
        self.manifest = held
        self.lines = held.lines
        for path in [path for path in self.lines if not plan.believable(path)]:
            del self.lines[path]
        self._parsed = {}               # path -> entry, of runs that may still change …
        self._texts = {}                # … -> {field: its JSON text}, of fields that came as text
        self._dirty = set()
        self._mended = {}
        self.changed = False            # since the last save

    def __contains__(self, path):
        return path in self.lines

    def paths(self):
        """Return the run paths (list of str)."""
        return list(self.lines)

    def entry(self, path):
        """Return the entry of a run (dict); what is changed in it must be followed by `touch`. What does not fit in its line is
        mended: see `take_mended`."""
        entry = self._parsed.get(path)
        if entry is None:
            entry, wrong = self._read(path)
            if wrong:
                self._mended[path] = wrong
                self.put(path, entry)
            elif not entry["ended"]:
                self._parsed[path] = entry
        return entry

    def take_mended(self):
        """Return {path: what did not fit in its line (list of str)} of the runs mended since last asked."""
        mended, self._mended = self._mended, {}
        return mended

    def _read(self, path):
        """Return (the entry of a line, what did not fit in it)."""
        try:
            entry, wrong = self.manifest.mended(path)
        except manifest.ManifestError:
            return empty(), ["all of it"]
        names = [name for name in entry["files"] if not plan.believable(path, name)]
        for name in names:
            del entry["files"][name]
        return entry, wrong + ["files." + ascii(name)[1:-1] for name in names]

    def put(self, path, entry, texts=None):
        """Set the entry of a run. texts: {field: JSON text (bytes)} of those of "meta", "status", "summary" that are new in it."""
        self._parsed[path] = entry
        if texts:
            self._texts.setdefault(path, {}).update(texts)
        self.lines.setdefault(path, b"")
        self.touch(path)

    def adopt(self, path, line):
        """Take a line of a manifest as it is."""
        self._parsed.pop(path, None)
        self._texts.pop(path, None)
        self._dirty.discard(path)
        self.lines[path] = line
        self.changed = True

    def touch(self, path):
        """Note that the entry of `path` was changed."""
        self._dirty.add(path)
        self.changed = True

    def drop(self, path):
        """Forget a run."""
        self.lines.pop(path, None)
        self._parsed.pop(path, None)
        self._texts.pop(path, None)
        self._dirty.discard(path)
        self.changed = True

    def ended(self, path):
        """Whether the run says it ended (bool), without parsing a line laid out by us."""
        if path in self._parsed:
            return self._parsed[path]["ended"]
        head = manifest.HEAD.match(self.lines[path])
        return head.group(3) == b"true" if head else self.entry(path)["ended"]

    def mtime(self, path):
        """Return the mtime (s) of the run's folder as last seen, or None."""
        if path in self._parsed:
            return self._parsed[path]["mtime"]
        head = manifest.HEAD.match(self.lines[path])
        return float(head.group(2)) if head else self.entry(path)["mtime"]

    def flush(self, now=None):
        """Write parsed entries back into their lines and return the Manifest, its header made anew if `now` (s) is given."""
        for path in self._dirty:
            entry = self._parsed[path]
            self.lines[path] = _line(entry, self._texts.get(path, {}))
            if entry["ended"]:
                del self._parsed[path]
                self._texts.pop(path, None)
        self._dirty.clear()
        if now is not None:
            heads = [head for head in map(manifest.HEAD.match, self.lines.values()) if head]
            self.manifest.header.update(kind="full", digest=index_digest(self.lines), generated_at=now, statistics={
                "runs": len(self.lines), "files": sum(int(head[4]) for head in heads), "bytes": sum(int(head[5]) for head in heads)})
        return self.manifest


def index_digest(lines):
    """Return the root digest (str) of {path: line}; an entry laid out by others counts as unknown."""
    heads = ((path, manifest.HEAD.match(lines[path])) for path in sorted(lines))
    return manifest.digest((path, head[1] if head else b"") for path, head in heads)


def empty():
    """Return the entry of a run of which nothing is known."""
    return {"digest": WALKED, "mtime": None, "ended": False, "meta": None, "status": None, "summary": None, "beat": None, "files": {}}


def _line(entry, texts):
    texts = [texts.get(field) or json.dumps(entry[field]).encode() for field in FIELDS]
    pieces = [_piece(name, file) for name, file in entry["files"].items()]
    digest = entry["digest"] if len(entry["digest"]) == 64 else WALKED
    total = sum(file["size"] for file in entry["files"].values())
    line = manifest.entry_line(digest, entry["mtime"] or 0.0, entry["ended"], entry["beat"], texts, pieces, total)
    return line[:-1] + b', "more": %d}' % entry["more"] if entry.get("more") else line


def _piece(name, file):
    """Return what `json.dumps` would make of a file and its name, in a fifth of the time."""
    mtime = "null" if file["mtime"] is None else file["mtime"]
    return f'{quote(name)}: {{"size": {file["size"]}, "mtime": {mtime}, "tail": {quote(file["tail"]) if file["tail"] else "null"}}}'


# -- listing many folders ------------------------------------------------------------------------------------------

def list_folders(session, paths):
    """Return {path: [(name, Attrs), …] or SftpError} of many folders (absolute paths), listed at once."""
    found = {}
    walk_folders(session, paths, found.__setitem__)
    return found


def walk_folders(session, paths, took):
    """List folders (absolute paths) at once; `took(path, [(name, Attrs), …] or SftpError)` is called as each is done, and may
    return more folders to list."""
    lister = _Lister(session, paths, took)
    try:
        while lister.left:
            lister.start()
            session.pump()
    finally:
        session.folders -= lister.open


class _Lister:
    """Folders being listed: OPENDIR, then READDIR twice ahead (most folders end with the second), then CLOSE."""

    def __init__(self, session, paths, took):
        self.session, self.took = session, took
        self.queue = collections.deque(paths)
        self.left = len(self.queue)
        self.open = 0

    def start(self):
        while self.queue and self.open < min(LISTED, max(4, self.session.room // 2)):
            self.open += 1
            self.session.folders += 1
            folder = _Folder(self, self.queue.popleft())
            self.session.ask(sftp.opendir(folder.path), folder.opened)

    def end(self, folder, result):
        self.open -= 1
        self.session.folders -= 1
        more = self.took(folder.path, result) or ()
        self.queue.extend(more)
        self.left += len(more) - 1


class _Folder:
    """One folder being listed."""

    __slots__ = ("lister", "path", "handle", "asked", "entries", "count", "ended")

    def __init__(self, lister, path):
        self.lister, self.path, self.asked, self.entries, self.count, self.ended = lister, path, 0, [], 0, False

    def opened(self, handle):
        if isinstance(handle, SftpError):
            return self.lister.end(self, handle)
        self.handle = handle
        self.ask()
        self.ask()

    def ask(self):
        self.asked += 1
        self.lister.session.ask(sftp.readdir(self.handle), self.names)

    def names(self, names):
        self.asked -= 1
        if isinstance(names, SftpError):
            self.entries, self.ended = names, True
        elif not names:
            self.ended = True
        elif isinstance(self.entries, list):
            crowded = len(self.entries) > CROWD
            self.entries += [(name, attrs) for name, attrs in names
                             if name not in (None, "..") and (not crowded or layout.is_own(name))]
            self.count += len(names)
            if self.count > sftp.MAX_NAMES:
                self.entries, self.ended = SftpError(f"{self.path} has too many entries", 4), True
        if self.ended and not self.asked:
            self.lister.session.ask(sftp.close(self.handle), _ignored)
            self.lister.end(self, self.entries)
        elif not self.ended and (len(names) >= MANY_NAMES or not self.asked):
            self.ask()          # after a short answer the one on its way is most often the end


def _ignored(answer):
    """A CLOSE has nothing to tell."""


# -- the folders above the runs ------------------------------------------------------------------------------------

class Skeleton:
    """The folders from the root down to project/name/runs, and the runs in them; asked again only where an mtime moved."""

    def __init__(self, session, root):
        self.session, self.root = session, root
        self._seen = {}             # folder -> (mtime, when first observed so, when listed); "" is the root
        self._children = {}         # folder -> {name: mtime}

    def absolute(self, folder):
        return f"{self.root}/{folder}" if folder else self.root

    def known(self, now):
        """Return the folders to LSTAT (list of str, relative): those that were not listed in this very pass."""
        return [folder for folder, (_, _, listed) in self._seen.items() if listed != now]

    def note(self, folder, attrs, now):
        """Take the answer to an LSTAT of a known folder: forget what moved, or vanished."""
        if folder not in self._seen:
            return              # went with a folder above it
        mtime = None if isinstance(attrs, SftpError) else attrs.mtime
        old, observed, listed = self._seen[folder]
        if mtime is None and isinstance(attrs, MissingFileError):
            self._forget(folder)
        elif mtime != old or mtime is None:         # a server that tells no times is listed at each look
            self._seen[folder] = mtime, now, now
            self._children.pop(folder, None)
        elif not plan.settled(mtime, observed, listed):
            self._children.pop(folder, None)

    def _forget(self, folder):
        for known in [known for known in self._seen if not folder or known == folder or known.startswith(folder + "/")]:
            del self._seen[known]
            self._children.pop(known, None)

    def forget_listings(self):
        """List everything at the next refresh: the runs' own mtimes are in the listings only."""
        self._children.clear()

    def refresh(self, now, enough=lambda: False):
        """List what is not known (any more) and return {run path: its folder's mtime}; {} once `enough()` before a level is listed.

        Raises SftpError when the root can't be listed.
        """
        folders = []
        for level in (lambda _: [""], self._projects, self._experiments):
            if enough():
                return {}
            folders = level(folders)
            self._list(folders, now)
        return {f"{folder}/{run}": mtime for folder in folders for run, mtime in self._children.get(folder, {}).items()
                if plan.believable(f"{folder}/{run}")}

    def _projects(self, _):
        return [name for name in self._children[""] if name != layout.HIDDEN]

    def _experiments(self, projects):
        return [f"{project}/{name}/{layout.RUNS}" for project in projects for name in self._children.get(project, ())]

    def _list(self, folders, now):
        stale = {self.absolute(folder): folder for folder in folders if folder not in self._children}
        for absolute, listing in (list_folders(self.session, stale).items() if stale else ()):
            folder = stale[absolute]
            if isinstance(listing, SftpError):
                if not folder:
                    raise listing
                listing = []            # no `runs` in it, or not ours to read
            self._children[folder] = {name: attrs.mtime for name, attrs in listing if sftp.is_dir(attrs) and name != "."}
            mtime, observed, _ = self._seen.get(folder, (next((attrs.mtime for name, attrs in listing if name == "."), None), now, now))
            self._seen[folder] = mtime, observed, now


def list_runs(session, root, paths, took):
    """List runs at once, with their folders to depth 8; as each is whole, `took(run path, files or SftpError)` is called.

    files: {file name: {"size", "mtime", "tail": None}}, the run's own all; "." is the run's folder itself, those below end in "/",
    and ".." is how many files and folders were left out because there are too many (int; absent if none).
    """
    folders = {f"{root}/{path}": (path, "") for path in paths}
    found, open_folders, seen = {path: {} for path in paths}, dict.fromkeys(paths, 1), dict.fromkeys(paths, 1)

    def listed(absolute, listing):
        path, prefix = folders.pop(absolute)
        files, deeper = found[path], []
        if isinstance(listing, SftpError):
            files = files if prefix else listing
        else:
            deeper = _take_folder(files, path, prefix, listing)
            room = max(0, min(FOLDERS - seen[path], PENDING - len(folders)))
            _leave_out(files, len(deeper) - room)
            deeper = deeper[:room]
            seen[path] += len(deeper)
            folders.update((f"{absolute}/{name}", (path, f"{prefix}{name}/")) for name in deeper)
        open_folders[path] += len(deeper) - 1
        if not open_folders[path]:
            del found[path]
            took(path, files)
        return [f"{absolute}/{name}" for name in deeper]

    walk_folders(session, list(folders), listed)


def _take_folder(files, path, prefix, listing):
    """Add what a folder of a run shows to `files`; returns the names of the folders in it that are looked into."""
    deeper = []
    for name, attrs in listing:
        if name == ".":
            files.setdefault(prefix or ".", {"mtime": attrs.mtime})
        elif sftp.is_dir(attrs):
            deeper.append(name)
        elif sftp.is_file(attrs):
            if len(files) < manifest.FILES or not prefix and layout.is_own(name):
                _add(files, path, prefix + name, attrs)
            else:
                _leave_out(files, 1)
    return deeper if prefix.count("/") < manifest.DEPTH else []


def _leave_out(files, count):
    if count > 0:
        files[".."] = files.get("..", 0) + count


def _add(files, path, name, attrs):
    if attrs.size is not None and not name.endswith(".tmp") and plan.believable(path, name):
        files[name] = {"size": attrs.size, "mtime": attrs.mtime, "tail": None}


def merged(entry, files, mtime):
    """Return the entry of a run after a listing showed `files`; a tail is kept where size and mtime (whole s) stayed."""
    old, more = entry["files"], files.pop("..", 0)
    for name, file in files.items():
        known = old.get(name)
        if known and known["size"] == file["size"] and known["mtime"] is not None and int(known["mtime"]) == file["mtime"]:
            files[name] = known
    same = files == old and more == entry.get("more", 0)
    if same and mtime is not None and entry["mtime"] is not None and int(mtime) == int(entry["mtime"]):
        return entry
    digest = entry["digest"] if files == old else WALKED
    return {**entry, "files": files, "more": more, "mtime": mtime, "digest": digest}


# -- the manifest, by exec or as a file ----------------------------------------------------------------------------

MANIFESTS = (manifest.ACTIVE, manifest.FULL)


def manifest_files(root):
    """Return the paths a server's manifests may have, the newest of each kind counts: [(kind, path), …]."""
    return [(name, f"{root}/{layout.HIDDEN}/{name}{ending}") for name in MANIFESTS for ending in ("", ".gz")]


def adopt(index, found, doubtful, rewrite=None):
    """Take the runs of a manifest into the index: what is unknown as it stands; what differs from what we know is added to
    the set `doubtful`, to be listed. Returns the paths taken (list).

    rewrite: given with a manifest of this very moment: ended runs are as that says, and the (path, name) of files that must be
    read whole are added to this set.
    """
    taken = []
    for path, line in found.lines.items():
        if path in index and index.lines[path] == line or not plan.believable(path):
            continue
        if path not in index or _agrees(index.entry(path), found, path):
            index.adopt(path, line)
            taken.append(path)
        elif rewrite is not None and index.ended(path) and _ended(line) and is_proof(line):
            before = index.entry(path)
            index.adopt(path, line)
            rewrite.update((path, name) for name in plan.edits(before, index.entry(path)["files"]))
            taken.append(path)
        else:
            doubtful.add(path)
    return taken


def is_proof(line):
    """Whether a run's line was made by a look at every file: those of older server copies say no more than sizes."""
    head = manifest.HEAD.match(line)
    return bool(head and head[6])


def _ended(line):
    head = manifest.HEAD.match(line)
    return bool(head and head[3] == b"true")


def _agrees(ours, found, path):
    """Whether a manifest's entry shows the same files as ours, so that its tails are good for them."""
    try:
        theirs = found.entry(path)
    except manifest.ManifestError:
        return False
    return _shape(ours) == _shape(theirs)


def _shape(entry):
    return {name: (file["size"], int(file["mtime"] or 0)) for name, file in entry["files"].items()}, int(entry["mtime"] or 0)
