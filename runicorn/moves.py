"""Runs that moved: the server shows under another path what we know already, because its folder, or one above it, was renamed there.

A run is the same one where id, time of creation and host agree and nothing is at its old path any more. A copy beside it is another.
"""

import json

from runicorn import layout, plan, sftp
from runicorn.errors import LayoutError, MissingFileError, SftpError

META_BYTES = 64 << 10           # of a meta.json that is read to compare; a larger one is told by its size and mtime


class Moves:
    """Finds the runs of one session that moved, and has our copies, and what is known of them, go with them."""

    def __init__(self, session, index, intake, beats, recheck, hearsay):
        """session: session.Session, of which the client, root, mirror, log and the set `gone` are used; hearsay: its set."""
        self._client, self._root, self._mirror, self._log = session.sftp, session.root, session.mirror, session.log
        self._gone, self._hearsay = session.gone, hearsay
        self._index, self._intake, self._beats, self._recheck = index, intake, beats, recheck
        self._told = {}                 # run path -> (its line in the index, its identity, the facts of its meta.json)
        self._moved = {}                # old path -> new path, since last taken

    def take(self):
        """Return {old path: new path} of the runs that moved since last asked."""
        moved, self._moved = self._moved, {}
        return moved

    def follow_listings(self, fresh, lost):
        """Look for runs that moved among `fresh`, {run path: walk.RunFiles} of runs that were just listed and are not known.
        lost: paths of known runs (set) that the server says are not there. Returns the new paths (set)."""
        names, facts = {_name(path) for path in lost}, {self._known(path)[2] for path in lost} - {None}
        alike = [path for path, files in fresh.items() if _name(path) in names or _meta_facts(files) in facts]
        return self._follow(paired(self._identities(lost), self._read(alike, fresh))) if alike else set()

    def follow_entries(self, new):
        """Look for runs that moved among `new` (set of paths), just taken from a list."""
        names, unsure = {_name(path) for path in new}, self._gone | self._intake.doubtful
        known = {path for path in self._index.paths() if path in unsure or _name(path) in names} - new if new else ()
        moved = paired(self._identities(known), self._identities(new)) if known else {}
        if not moved:
            return
        places = [f"{self._root}/{path}" for path in (*moved, *moved.values())]
        answers = self._client.batch([ask(place) for ask in (sftp.lstat, sftp.resolve) for place in places])
        self._client.lstat(self._root)          # raises when the root itself can't be seen: then nothing is known
        count = len(moved)
        before, now, real_before, real_now = (answers[start:start + count] for start in range(0, 4 * count, count))
        self._follow({old: new for place, (old, new) in enumerate(moved.items()) if not isinstance(now[place], SftpError)
                      and (isinstance(before[place], MissingFileError) or real_before[place] == real_now[place])})

    def _follow(self, moved):
        """Runs moved, {old path: new path}; returns the new paths of those whose copies are there now (set)."""
        moved = {old: new for old, new in moved.items() if self._has_moved_here(old, new)}
        if not moved:
            return set()
        self._intake.rename(moved)
        self._beats.rename(lambda path: moved.get(path, path))
        for old, new in moved.items():
            before = self._index.entry(old)
            if new in self._index:
                self._intake.rewrite.update((new, name) for name in plan.edits(before, self._index.entry(new)["files"]))
            else:
                self._index.put(new, before)
            self._index.drop(old)
            self._recheck.rename(old, new)
        self._gone.difference_update(moved)
        self._hearsay.difference_update(moved)
        self._moved.update(moved)
        return set(moved.values())

    def _has_moved_here(self, old, new):
        """Whether our copy of a run is where it belongs now; where it can't be, `old` stays as one that is gone."""
        try:
            moved = self._mirror.rename(old, new)
            self._mirror.keep_parts(old, new, self._index.entry(old)["files"])
        except (LayoutError, OSError) as error:
            moved = False
            self._log.warning("%s is %s on the server now, and can't be moved here: %s", old, new, error)
        if moved:
            self._log.info("%s is %s on the server now", old, new)
        return moved

    def _known(self, path):
        line, told = self._index.lines[path], self._told.get(path)
        if told is None or told[0] is not line or not self._index.ended(path):
            entry = self._index.entry(path)
            told = self._told[path] = line, identity(path, entry["meta"], entry["files"]), _meta_facts(entry["files"])
        return told

    def _identities(self, paths):
        """Return {run path: identity} of known runs."""
        return {path: self._known(path)[1] for path in paths}

    def _read(self, paths, listings):
        """Return {run path: identity} of listed runs, their meta.json read."""
        small = [path for path in paths if (listings[path].get(layout.META) or {"size": META_BYTES + 1})["size"] <= META_BYTES]
        handles = self._client.batch([sftp.open_file(f"{self._root}/{path}/{layout.META}") for path in small])
        opened = {path: handle for path, handle in zip(small, handles) if not isinstance(handle, SftpError)}
        texts = self._client.batch([sftp.read(handle, 0, META_BYTES) for handle in opened.values()]
                                   + [sftp.close(handle) for handle in opened.values()])
        metas = dict(zip(opened, texts))
        return {path: identity(path, _parsed(metas.get(path)), listings[path]) for path in paths}


def identity(path, meta, files):
    """Return what tells a run from all others, whatever its path: (id, created_at, host); None where its meta.json doesn't.

    meta: its parsed meta.json, of no use where that is too large; files: {name: {"size", "mtime"}}.
    """
    facts = _meta_facts(files)
    if facts and facts[0] > META_BYTES:
        return _name(path), *facts
    if not isinstance(meta, dict):
        return None
    run_id, created, host = meta.get("id", _name(path)), meta.get("created_at"), meta.get("hostname")
    if not isinstance(run_id, str) or not isinstance(created, (int, float, str)) or not isinstance(host, (str, type(None))):
        return None
    return run_id, created, host


def paired(known, fresh):
    """Return {path in `known`: path in `fresh`} of equal identities, both {run path: identity}: of copies those first whose names agree."""
    moved = {}
    for alike in (lambda path: path.split("/")[1:], lambda path: ()):
        places = {}
        for path in sorted(fresh.keys() - set(moved.values())):
            places.setdefault((fresh[path], *alike(path)), []).append(path)
        for path in sorted(known.keys() - moved.keys()):
            same = places.get((known[path], *alike(path)))
            if same and known[path] is not None:
                moved[path] = same.pop(0)
    return moved


def _name(path):
    return path.rpartition("/")[2]


def _meta_facts(files):
    """Return (size, whole mtime) of a run's meta.json, which a renamed folder keeps; None without one."""
    file = files.get(layout.META)
    return file and (file["size"], file["mtime"] and int(file["mtime"]))


def _parsed(text):
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None             # refused, torn or hostile: no run we know
