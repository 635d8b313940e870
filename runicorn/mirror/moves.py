"""Runs that moved: the server shows under another path what we know already, because its folder, or one above
it, was renamed there.

A run is the same one where id, time of creation and host agree and nothing is at its old path any more; where
its meta.json does not tell them, where its files are the same. A copy beside it is another run, until the
original is gone: then both are one if all we hold of that is in the copy, too.
"""

import json
import time

from runicorn import foreign, layout, local_names, manifest
from runicorn.errors import LayoutError, MissingFileError, SftpError
from runicorn.mirror import plan
from runicorn.ssh import sftp

# Of a meta.json that is read to compare; a larger one is told by its size and mtime
META_BYTES = 64 << 10
MERGING = 1.0                   # s that copies are compared with what they are copies of, at each survey


class Moves:
    """Finds the runs of one session that moved, and has our copies, and what is known of them, go with
    them."""

    def __init__(self, remote_root, hearsay):
        """remote_root: remote_root.RemoteRoot, of which the client, root, mirror, index, queue, beats,
        recheck, log and the set `vanished` are used; hearsay: runs (set) that nobody looked at yet."""
        self._client, self._root, self._mirror, self._log = (remote_root.client, remote_root.root,
                                                             remote_root.mirror, remote_root.log)
        self._vanished, self._hearsay = remote_root.vanished, hearsay
        self._index, self._queue, self._copies = (remote_root.index, remote_root.queue,
                                                  remote_root.queue.copies)
        self._beats, self._recheck = remote_root.beats, remote_root.recheck
        # Run path -> (its line in the index, its identity, the facts of its meta.json)
        self._facts_of = {}
        self._moved = {}                # old path -> new path, since last taken
        # (runs that were gone, how many there were) when no copies of those were found
        self._searched = None

    def take(self):
        """Return {old path: new path} of the runs that moved since last asked."""
        moved, self._moved = self._moved, {}
        return moved

    def follow_listings(self, fresh, lost):
        """Look for runs that moved among `fresh`, {run path: walk.RunFiles} of runs that were just listed and
        are not known.
        lost: paths of known runs (set) that the server says are not there. Returns the new paths (set)."""
        names, facts = {_name(path) for path in lost}, {self._known(path)[2] for path in lost} - {None}
        alike = [path for path, files in fresh.items() if _name(path) in names or _facts(files) in facts]
        return self._follow(paired(self._identities(lost), self._read(alike, fresh))) if alike else set()

    def follow_entries(self, new):
        """Look for runs that moved among `new` (set of paths), just taken from a list."""
        if not new or not self._index.lines.keys() - new:
            return                      # none, or all that is known: nothing moved
        fresh, unsure = self._identities(new), self._vanished | self._copies.doubtful
        names = {_name(path) for path in new}.union(identity_of[0]
                                                    for identity_of in fresh.values() if identity_of)
        candidates = {path for path in self._index.paths() if path in unsure or _name(path) in names} - new
        moved = paired(self._identities(candidates), fresh) if candidates else {}
        if not moved:
            return
        places = [f"{self._root}/{self._index.folder(path)}" for path in (*moved, *moved.values())]
        answers = self._client.batch([ask(index) for ask in (sftp.lstat, sftp.resolve) for index in places])
        # Raises when the root itself can't be seen: then nothing is known
        self._client.lstat(self._root)
        count = len(moved)
        before, stats_now, real_before, real_now = (answers[start:start + count]
                                                    for start in range(0, 4 * count, count))
        self._follow({old: new for index, (old, new) in enumerate(moved.items())
                      if not isinstance(stats_now[index], SftpError)
                      and (isinstance(before[index], MissingFileError)
                           or real_before[index] == real_now[index])})

    def merge_copies(self):
        """Of runs that are gone, find those that were copied before: where the copy has all that we hold, the
        run moved there."""
        state = frozenset(self._vanished), len(self._index.lines)
        if not self._vanished or state == self._searched:
            return
        copies, until = {}, time.monotonic() + MERGING
        for path in sorted(set(self._index.paths()) - self._vanished):
            copies.setdefault(self._known(path)[1], path)
        waiting = any(map(_is_weak, copies))        # a meta.json that was not read yet may say more
        for old in sorted(self._vanished):
            identity_of = self._known(old)[1]
            if identity_of and identity_of in copies and (time.monotonic() > until
                                                          or not self._is_here(copies[identity_of])):
                waiting = True
            elif identity_of and identity_of in copies:
                self._merge(old, copies[identity_of])
        self._searched = None if waiting else state

    def _is_here(self, path):
        """Whether all own files of a run are here (bool)."""
        own = {name: file["size"] for name, file in self._index.entry(path)["files"].items()
               if local_names.is_own(name)}
        return all((self._mirror.stat(path, name) or {"size": -1})["size"] >= size
                   for name, size in own.items())

    def _merge(self, old, new):
        try:
            if not self._mirror.merge(old, new):
                return
        except (LayoutError, OSError) as error:
            return self._log.warning("%s is %s on the server now, and its copy here stays: %s", old, new,
                                     error)
        self._log.info("%s is %s on the server now", old, new)
        self._index.drop(old)
        self._recheck.forget(old)
        self._vanished.discard(old)
        self._hearsay.discard(old)
        self._moved[old] = new

    def _follow(self, moved):
        """Runs moved, {old path: new path}; returns the new paths of those whose copies are there now
        (set)."""
        weak = {old: new for old, new in moved.items() if _is_weak(self._known(old)[1])}
        unlike = weak.keys() - self._ending_alike(weak)
        moved = {old: new for old, new in moved.items()
                 if old not in unlike and self._has_moved_here(old, new)}
        if not moved:
            return set()
        self._queue.rename(moved)
        self._beats.rename(lambda path: moved.get(path, path))
        for old, new in moved.items():
            before = self._index.entry(old)
            if new in self._index:
                self._copies.rewrite.update((new, name)
                                            for name in plan.edits(before, self._index.entry(new)["files"]))
            else:
                self._index.put(new, before)
            self._index.drop(old)
            self._recheck.rename(old, new)
        self._vanished.difference_update(moved)
        self._hearsay.difference_update(moved)
        self._moved.update(moved)
        return set(moved.values())

    def _has_moved_here(self, old, new):
        """Whether our copy of a run is where it belongs now; where it can't be, `old` stays as one that is
        gone."""
        try:
            moved = self._mirror.rename(old, new)
            for name, file in self._index.entry(old)["files"].items():
                self._mirror.parts.rename(*(plan.Fetch(path, name, 0, file["size"], file["mtime"], None, True)
                                            for path in (old, new)))
        except (LayoutError, OSError) as error:
            moved = False
            self._log.warning("%s is %s on the server now, and can't be moved here: %s", old, new, error)
        if moved:
            self._log.info("%s is %s on the server now", old, new)
        return moved

    def _ending_alike(self, moved):
        """Return those of `moved`, {old path: new path}, of which the largest file that we hold is the
        server's up to where ours ends, as far as its last 4 KiB tell (set of old paths)."""
        largest = {old: (name, size) for old, (name, size) in ((old, self._largest(old)) for old in moved)
                   if size}
        folders = {old: foreign.folder_of(moved[old]) if old in self._index.foreign else moved[old]
                   for old in largest}
        places = [f"{self._root}/{folders[old]}/{name}" for old, (name, _) in largest.items()]
        stats = self._client.batch([sftp.lstat(path) for path in places])
        regular = [(old, path) for old, path, attrs in zip(largest, places, stats)
                   if not sftp.refusal(path, attrs)]
        ends = self._client.parts([(path, max(0, largest[old][1] - manifest.TAIL), manifest.TAIL)
                                   for old, path in regular])
        return {old for (old, _), end in zip(regular, ends) if self._ends_with(old, *largest[old], end)}

    def _largest(self, path):
        """Return (name, size) of the largest file that we hold of a run, (None, 0) without one."""
        sizes = {name: self._mirror.stat(path, name) for name in self._index.entry(path)["files"]}
        return max(((name, copy["size"]) for name, copy in sizes.items() if copy), key=lambda item: item[1],
                   default=(None, 0))

    def _ends_with(self, path, name, size, end):
        start = max(0, size - manifest.TAIL)
        return (isinstance(end, bytes) and end[:size - start]
                == self._mirror.read(path, name, start, size - start))

    def _known(self, path):
        line, facts = self._index.lines[path], self._facts_of.get(path)
        if facts is None or facts[0] is not line or not self._index.ended(path):
            entry = self._index.entry(path)
            facts = self._facts_of[path] = (line, identity(path, entry["meta"], entry["files"]),
                                            _facts(entry["files"]))
        return facts

    def _identities(self, paths):
        """Return {run path: identity} of known runs."""
        return {path: self._known(path)[1] for path in paths}

    def _read(self, paths, listings):
        """Return {run path: identity} of listed runs, their meta.json read."""
        small = [path for path in paths if (listings[path].get(layout.META)
                                            or {"size": META_BYTES + 1})["size"] <= META_BYTES]
        metas = dict(zip(small, self._client.parts(
                                                   [(f"{self._root}/{path}/{layout.META}", 0, META_BYTES)
                                                    for path in small])))
        return {path: identity(path, _parsed(metas.get(path)), listings[path]) for path in paths}


def identity(path, meta, files):
    """Return what tells a run from all others, whatever its path: (id, created_at, host).

    Where its meta.json doesn't tell all of them, the first is "", and the sizes and mtimes of its files stand
    for the rest; None where there are none. meta: its parsed meta.json, of no use where that is too large;
    files: {name: {"size", "mtime"}}.
    """
    facts = _facts(files)
    if facts and layout.META in files and files[layout.META]["size"] > META_BYTES:
        return _name(path), *facts
    meta_told = meta if isinstance(meta, dict) else {}
    run_id, created, host = meta_told.get("id"), meta_told.get("created_at"), meta_told.get("hostname")
    if (run_id and isinstance(run_id, str) and isinstance(created, (int, float, str))
            and isinstance(host, (str, type(None)))):
        return run_id, created, host
    return facts and ("", *facts)


def _is_weak(identity):
    """Whether an identity may be another run's as well."""
    return identity is not None and not identity[0]


def paired(before, fresh):
    """Return {path in `before`: path in `fresh`} of equal identities, both {run path: identity}: of copies
    those first whose names agree.

    Of those with a weak identity, which changes while they run, the run's name alone will do; where it is one
    of several, it tells nothing.
    """
    moved = {}
    for key in (lambda path, owner: (owner, *path.split("/")[1:]), lambda path, owner: (owner, _name(path)),
                lambda path, owner: owner, lambda path, owner: _is_weak(owner) and _name(path)):
        places = _alike(fresh.keys() - set(moved.values()), fresh, key)
        for shared, paths in _alike(before.keys() - moved.keys(), before, key).items():
            if len(paths) == len(places.get(shared, ())) == 1 or not _is_weak(before[paths[0]]):
                moved.update(zip(paths, places.get(shared, ())))
    return moved


def _alike(paths, identities, key):
    """Return {key: paths}, sorted, of those of which `key(path, identity)` is something."""
    alike = {}
    for path in sorted(path for path in paths if identities[path]):
        alike.setdefault(key(path, identities[path]), []).append(path)
    alike.pop(False, None)
    return alike


def _name(path):
    return path.rpartition("/")[2]


def _facts(files):
    """Return (size, whole mtime) of a run's meta.json, which a renamed folder keeps, or, without one, of all
    own files that hold something, or of all files; None without those, too."""
    filled = sorted(name for name in files if not name.endswith((".", "/")) and files[name]["size"])
    named = ([layout.META] if layout.META in files
             else [name for name in filled if local_names.is_own(name)] or filled)
    facts = [(*(() if name == layout.META else (name,)), files[name]["size"],
              files[name]["mtime"] and int(files[name]["mtime"])) for name in named]
    return tuple(fact for file in facts for fact in file) or None


def _parsed(text):
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None             # refused, torn or hostile: no run we know
