"""What the server holds: our index of it, brought up to date by exec, by its manifest and by walking. Fetches
no run's data.

A manifest or a listing only adds knowledge; a run is gone when the server said so of the run while it still
showed the root.
"""

from __future__ import annotations

import collections
import functools
import json
import re
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quote
from typing import Any, TypedDict

from runicorn import foreign, layout, left_out, manifest
from runicorn.manifest_entry import kinds_of
from runicorn.mirror import plan

FIELDS = [name[:-5] for name in layout.SMALL]
# Of a run of ours only while it is being made
BARE = b'"meta": null, "status": null, "summary": null, "files": {"'
SKIPPED = b'}, "skipped": '      # near the end of a run's line where there is something to say
TEXT = re.compile(rb'("(?:[^"\\]|\\.)*")')
# Outside of texts: a blank that was one, of JSON that is indented
NEWLINE = re.compile(rb"(?<! ) (?=[ }\]])")
# Entries of ended runs that stay parsed while all are gone through, and bytes of their lines at most
RECENT, SHORT = 1000, 8 << 10
WALKED = "0" * 64               # digest of an entry nobody hashed


Key = tuple[str, str]           # (run path, file name)


class File(TypedDict):
    """A file as a server shows it."""

    size: int                   # bytes
    mtime: float | None         # Unix s; None: the server tells none
    tail: str | None            # SHA-256 of its last 4 KiB, in hex; None: nobody told


class Entry(TypedDict, total=False):
    """What the index says of a run; a line of a manifest, parsed. See docs/format.md."""

    digest: str                 # SHA-256 of the run's files, in hex; WALKED: nobody hashed it
    mtime: float | None         # of its folder, Unix s
    ended: bool
    meta: dict[str, Any] | None
    status: dict[str, Any] | None
    summary: dict[str, Any] | None
    beat: float | None          # Unix s
    files: dict[str, File]
    skipped: dict[str, int]     # {reason: count} of what is not among its files
    kinds: list[str]            # of another logger's run


class RemoteIndex:
    """The runs of a server, as lines of a manifest; those looked at often are kept parsed and written back by
    `flush`."""

    def __init__(self, read):
        self.manifest, self._rules = read, None
        self.lines = read.lines
        # Paths of other loggers' runs
        self.foreign = {path for path, line in self.lines.items() if kinds_of(line)}
        for path in [path for path in self.lines if not self.believes(path)]:
            del self.lines[path]
        self.foreign &= self.lines.keys()
        self._parsed = {}               # path -> entry, of runs that may still change …
        self._texts = {}                # … -> {field: its JSON text}, of fields that came as text
        self._recent = {}               # path -> entry, of ended runs, so long as somebody goes through all
        self._dirty = set()
        self._mended = {}
        self._versions, self._changes = {}, 0       # path -> which of the changes was the last of its files
        self.changed = False            # since the last save
        self.news = False               # what changed since then is to be shown at once

    def __contains__(self, path: str) -> bool:
        return path in self.lines

    def paths(self) -> list[str]:
        """Return the run paths (list of str)."""
        return list(self.lines)

    def folder(self, path):
        """Return where the files of a run lie below the root ("" for the root itself)."""
        return foreign.folder_of(path) if path in self.foreign else path

    def believes(self, path: str, name: str | None = None) -> bool:
        """Whether the path of a known run (and a file name in it) may be used at all; see plan.believable."""
        return plan.believable(path, name, path in self.foreign, self._rules)

    def follow_rules(self, rules):
        """Take over the foreign_rules.Rules by which other loggers' files are told."""
        self._rules = rules

    def entry(self, path):
        """Return the entry of a run (dict); what is changed in it must be followed by `put`. What does not
        fit in its line is
        mended: see `take_mended`."""
        entry = self._known(path)
        if entry is None:
            entry, wrong = self._read(path)
            if wrong:
                self._mended[path] = wrong
                self.put(path, entry)
            elif not entry["ended"]:
                self._parsed[path] = entry
            elif len(self._recent) < RECENT and len(self.lines[path]) <= SHORT:
                self._recent[path] = entry
        return entry

    def _known(self, path):
        """Return the entry of a run as far as it is parsed, else None."""
        return self._parsed.get(path) or self._recent.get(path)

    def let_go(self) -> None:
        """Let go of the parsed entries of runs that have ended: nobody goes through all of them for now."""
        self._recent.clear()

    def take_mended(self) -> dict[str, list[str]]:
        """Return {path: what did not fit in its line (list of str)} of the runs mended since last asked."""
        mended, self._mended = self._mended, {}
        return mended

    def _read(self, path):
        """Return (the entry of a line, what did not fit in it)."""
        try:
            entry, wrong = self.manifest.mended(path)
        except manifest.ManifestError:
            return empty(), ["all of it"]
        entry["skipped"] = left_out.checked(entry.get("skipped"))
        entry.pop("kinds", None)
        entry.update({"kinds": list(kinds_of(self.lines[path]))} if path in self.foreign else {})
        names = [name for name in entry["files"] if not self.believes(path, name)]
        for name in names:
            del entry["files"][name]
        return entry, wrong + ["files." + ascii(name)[1:-1] for name in names]

    def put(self, path, entry, texts=None):
        """Set the entry of a run. texts: {field: JSON text (bytes)} of those of "meta", "status", "summary"
        that are new in it."""
        self._parsed[path] = entry
        self._recent.pop(path, None)
        self.lines.setdefault(path, b"")
        self._sort(path, entry.get("kinds"))
        if texts:
            self._texts.setdefault(path, {}).update(texts)
        else:
            self._note_change(path)
        self._dirty.add(path)
        self.changed = True

    def adopt(self, path: str, line: bytes) -> None:
        """Take a line of a manifest as it is."""
        self._parsed.pop(path, None)
        self._recent.pop(path, None)
        self._texts.pop(path, None)
        self._dirty.discard(path)
        self.lines[path] = line
        self._sort(path, kinds_of(line))
        self._note_change(path)
        self.changed = True

    def _sort(self, path, kinds):
        (self.foreign.add if kinds else self.foreign.discard)(path)

    def _note_change(self, path):
        self._changes += 1
        self._versions[path] = self._changes

    def version(self, path: str) -> int:
        """Return a number (int) that is another one after more was learned of a run than what its small files
        say."""
        return self._versions.get(path, 0)

    def says(self, path, field, text):
        """Whether `text` (bytes) is the JSON of a run's "meta", "status" or "summary" (`field`), as far as
        can be told without parsing all of its line."""
        return path not in self._parsed and _texts(self.lines[path]).get(field) == text

    def take_small(self, path: str, name: str, data: bytes) -> bool:
        """Take the bytes of a run's small JSON file `name`; returns whether that is new and the run has
        ended."""
        field = name[:-5]
        if self.says(path, field, manifest.on_one_line(data)):
            return False
        entry = self.entry(path)
        text, value = manifest.splice(data, collections.Counter())
        if value is None or value == entry[field]:
            return False
        entry[field] = value
        entry["ended"] = (entry["status"] or {}).get("status") in layout.ENDED
        self.put(path, entry, {field: text})
        self.announce()
        return entry["ended"]

    def drop(self, path: str) -> None:
        """Forget a run."""
        self.lines.pop(path, None)
        self._parsed.pop(path, None)
        self._recent.pop(path, None)
        self._texts.pop(path, None)
        self._dirty.discard(path)
        self._versions.pop(path, None)
        self.foreign.discard(path)
        self.changed = True

    def content(self, fetch):
        """Return all bytes of the small file of a Fetch if its run's line tells them, proven by their
        SHA-256, else None."""
        if fetch.path in self._parsed or fetch.name not in layout.SMALL or not fetch.tail:
            return None
        text = _texts(self.lines[fetch.path]).get(fetch.name[:-5])
        return restored(text, fetch.size, fetch.tail) if text else None

    def ended(self, path: str) -> bool:
        """Whether the run says it ended (bool), without parsing a line laid out by us."""
        entry = self._known(path)
        if entry:
            return entry["ended"]
        head = manifest.HEAD.match(self.lines[path])
        return head.group(3) == b"true" if head else self.entry(path)["ended"]

    def size(self, path: str) -> int:
        """Return how many bytes the files of a run have (int)."""
        head = None if self._known(path) else manifest.HEAD.match(self.lines[path])
        if head:
            return int(head.group(5))
        return sum(file["size"] for file in self.entry(path)["files"].values())

    def mtime(self, path):
        """Return the mtime (s) of the run's folder as last seen, or None."""
        entry = self._known(path)
        if entry:
            return entry["mtime"]
        head = manifest.HEAD.match(self.lines[path])
        return float(head.group(2)) if head else self.entry(path)["mtime"]

    def skipped(self):
        """Return {reason: count} of what the runs' lines say is not among their files (Counter)."""
        total = collections.Counter()
        for line in self.flush().lines.values():
            total.update(skipped(line))
        return total

    def announce(self) -> None:
        """What changed is to be shown at once: a run came, went or ended, or a small file has other
        values."""
        self.news = True

    def was_saved(self) -> None:
        """It is on this disk as it is now."""
        self.changed = self.news = False

    def flush(self, now=None):
        """Write parsed entries back into their lines and return the Manifest, its header made anew if `now`
        (s) is given."""
        for path in self._dirty:
            entry = self._parsed[path]
            self.lines[path] = _line(entry, self._texts.get(path, {}))
            if entry["ended"]:
                del self._parsed[path]
                self._texts.pop(path, None)
        self._dirty.clear()
        if now is not None:
            heads = [head for head in map(manifest.HEAD.match, self.lines.values()) if head]
            self.manifest.header.update(kind="full", digest=index_digest(self.lines), generated_at=now,
                                        statistics={"runs": len(self.lines),
                                                    "files": sum(int(head[4]) for head in heads),
                                                    "bytes": sum(int(head[5]) for head in heads)})
        return self.manifest


@functools.lru_cache(64)            # the small files of a run come one after the other
def _texts(line):
    """Return {"meta", "status", "summary": JSON (bytes)} of a run's line laid out by us, {} of another
    one."""
    head, decode, texts = manifest.HEAD.match(line), json.JSONDecoder().raw_decode, {}
    try:
        text, position = line.decode("utf-8"), head.end() if head else len(line)
        for field in FIELDS:
            name = f'"{field}": '
            start = position + len(name)
            _, end = decode(text, start)
            texts[field] = text[start:end].encode() if text.startswith(name, position) else None
            position = end + len(", ")
    except (ValueError, RecursionError):
        return {}
    return texts


def restored(text, size, tail):
    """Return the file of `size` bytes whose JSON stands in a run's line as `text` (bytes), where newlines are
    blanks; None if it can't be
    told: where `tail`, the SHA-256 of its last 4 KiB, is not that of all of it, or is another one."""
    if not 0 <= size - len(text) <= 1 or size > manifest.TAIL:
        return None
    pieces = TEXT.split(text)
    pieces[::2] = NEWLINE.sub(b"\n", b"\0".join(pieces[::2])).split(b"\0")
    forms = (form + b"\n" * (size - len(text)) for form in (text, b"".join(pieces)))
    return next((form for form in forms if sha256(form).hexdigest() == tail), None)


def skipped(line: bytes) -> dict[str, int]:
    """Return {reason: count} of what a run's line (bytes) says is not among its files."""
    position = line.rfind(SKIPPED, max(0, len(line) - 4096))
    try:
        return left_out.checked(json.loads(line[position + len(SKIPPED):-1])) if position > 0 else {}
    except (ValueError, RecursionError):
        return {}           # these bytes are of something else, or hostile


def index_digest(lines, without=()):
    """Return the root digest (str) of {path: line} but for the paths `without` (a container); an entry laid
    out by others counts as unknown."""
    heads = ((path, manifest.HEAD.match(lines[path])) for path in sorted(lines) if path not in without)
    return manifest.digest((path, head[1] if head else b"") for path, head in heads)


def empty():
    """Return the entry of a run of which nothing is known."""
    return {"digest": WALKED, "mtime": None, "ended": False, "meta": None, "status": None, "summary": None,
            "beat": None, "files": {}}


def _line(entry, texts):
    texts = [texts.get(field) or (b"null" if entry[field] is None else json.dumps(entry[field]).encode())
             for field in FIELDS]
    pieces = [_piece(name, file) for name, file in entry["files"].items()]
    digest = entry["digest"] if len(entry["digest"]) == 64 else WALKED
    total = sum(file["size"] for file in entry["files"].values())
    return manifest.entry_line(digest, entry["mtime"] or 0.0, entry["ended"], entry["beat"], texts, pieces,
                               total, skipped=entry.get("skipped"), kinds=entry.get("kinds", ()))


def _piece(name, file):
    """Return what `json.dumps` would make of a file and its name, in a fifth of the time."""
    mtime = "null" if file["mtime"] is None else file["mtime"]
    return (f'{quote(name)}: {{"size": {file["size"]}, "mtime": {mtime}, '
            f'"tail": {quote(file["tail"]) if file["tail"] else "null"}}}')


def merged(entry, files, mtime):
    """Return the entry of a run after a listing showed `files` (walk.RunFiles); a tail is kept where size and
    mtime (whole s) stayed."""
    old, skipped = entry["files"], dict(files.skipped)
    for name, file in files.items():
        before = old.get(name)
        if (before and before["size"] == file["size"] and before["mtime"] is not None
                and int(before["mtime"]) == file["mtime"]):
            files[name] = before
    same = files == old and skipped == entry.get("skipped", {})
    if same and mtime is not None and entry["mtime"] is not None and int(mtime) == int(entry["mtime"]):
        return entry
    return {**entry, "files": files, "skipped": skipped, "mtime": mtime,
            "digest": entry["digest"] if files == old else WALKED}


# -- the manifest, by exec or as a file ----------------------------------------------------------------------

MANIFESTS = (manifest.ACTIVE, manifest.FULL)


def manifest_files(root):
    """Return the paths a server's manifests may have, the newest of each kind counts: [(kind, path), …]."""
    return [(name, f"{root}/{layout.HIDDEN}/{name}{ending}") for name in MANIFESTS for ending in ("", ".gz")]


def adopt(index, listed, doubtful, rewrite=None, grown=None):
    """Take the runs of a manifest into the index: what is unknown as it stands; what differs from what we
    know is added to the set `doubtful`, to be listed. Returns (the paths taken (list), how many were refused
    as none of a run).

    rewrite: given with a manifest of this very moment: runs that ended, or that other loggers wrote, are as
    that says, and the (path, name) of files that must be read whole are added to this set; grown: those of
    the latter whose files changed are added to this set.
    """
    adopted, refused, tells_foreign = [], 0, listed.header.get("foreign") is True
    for path, line in listed.lines.items():
        kinds = kinds_of(line)
        if (path in index and index.lines[path] == line or path in index.foreign
                and not (kinds or tells_foreign)):
            continue
        if not plan.believable(path, kinds=kinds):
            refused += 1
            continue
        if path not in index and BARE in line and not kinds and _is_none_of_ours(listed, path):
            continue
        closed = "unreadable" in skipped(line)
        if closed:
            doubtful.add(path)              # a listing names its folders that may not be listed
        if path not in index or not closed and _agrees(index.entry(path), listed, path):
            index.adopt(path, line)
            adopted.append(path)
        elif rewrite is not None and (kinds or not closed and index.ended(path) and _ended(line)
                                      and is_proof(line)):
            before = index.entry(path)
            index.adopt(path, line)
            grown.update([path] if kinds else ())
            rewrite.update((path, name) for name in plan.edits(before, index.entry(path)["files"]))
            adopted.append(path)
        else:
            doubtful.add(path)
    return adopted, refused


def _is_none_of_ours(listed, path):
    """Whether a manifest's entry has files and none that a run of ours has: whoever made it did not look for
    runs of other loggers."""
    try:
        return not manifest.is_ours(listed.entry(path)["files"])
    except manifest.ManifestError:
        return False


def is_proof(line: bytes) -> bool:
    """Whether a run's line was made by a look at every file: those of older server copies say no more than
    sizes."""
    head = manifest.HEAD.match(line)
    return bool(head and head[6])


def _ended(line):
    head = manifest.HEAD.match(line)
    return bool(head and head[3] == b"true")


def _agrees(ours, listed, path):
    """Whether a manifest's entry shows the same files as ours, so that its tails are good for them."""
    try:
        theirs = listed.entry(path)
    except manifest.ManifestError:
        return False
    return _shape(ours) == _shape(theirs)


def _shape(entry):
    return ({name: (file["size"], int(file["mtime"] or 0)) for name, file in entry["files"].items()},
            int(entry["mtime"] or 0))
