"""The files of a mirror that are not fetched, each with its reason, kept in the mirror's index for the pages
and commands.

A run's folder that may not be listed is among them under the name "", one below it as "checkpoints/".
"""

import errno

from runicorn import layout, local_disk
from runicorn.errors import DeniedError, LayoutError, RunicornError

# In a mirror's .index: {"runs": {run path: {file name: {"code", "text"}}}, "files": how many in all,
FILE = "left_out.json"
                                # "passed": {reason: count} of what is there and not in the index}
# Reasons for which something is passed over, of several and of one, where the first word does not tell
ONE = {"Python environments": "Python environment", "tables and lines of data sets": "file of a data set"}
MOST = 10_000                   # files named in it; `files` counts all
RETRIES = 20                    # files that could not be read or stored, tried again in turn with each survey
PASSING = (*local_disk.SHORT, errno.EINTR, errno.ESTALE)        # troubles of the moment, not of the file


class LeftOut:
    """What is not fetched though the settings ask for it. A file is tried again when its size, mtime or mode
    on the server moved, and in turn: what else keeps it from us shows in none of them."""

    def __init__(self, passed=None):
        """passed: what an earlier session passed over (see `passed`), until this one looked."""
        self._files = {}            # (path, name) -> (size and mtime on the server then, {"code", "text"})
        self._trying = set()        # of these, what may be fetched once more
        self._access = {}           # of these, {(path, name): (its mode, uid, gid) when last looked at}
        # Run path -> its folders that may not be listed (tuple of str); each is among the files, too
        self._closed = {}
        # {reason: count} of what the server has and no index lists, because of its name, place or kind
        self.passed = passed or {}
        self.changed = False        # since it was saved

    def __contains__(self, key):
        return key in self._files

    def add(self, key, file, error):
        """Leave out the file `key`, (run path, name), that the server has as `file` ({"size", "mtime"}),
        because of `error`: an exception, or None where this disk has no room for it. Returns whether that is
        news."""
        why = reason(error)
        news = self._files.pop(key, (None, None))[1] != why
        # At the end: the others have their turn first
        self._files[key] = (file["size"], file["mtime"]), why
        self._trying.discard(key)
        self.changed = self.changed or news
        return news

    def still(self, key, file):
        """Whether the file is left out as it is now on the server."""
        return (key in self._files and key not in self._trying
                and self._files[key][0] == (file["size"], file["mtime"]))

    def forget(self, key):
        """A file is here, or not asked for any more."""
        self._trying.discard(key)
        self._access.pop(key, None)
        self.changed = self._files.pop(key, None) is not None or self.changed

    def rename(self, moved):
        """Runs moved, {old path: new path}."""
        for table in (self._files, self._access):
            table.update({(moved[path], name): table.pop((path, name))
                          for path, name in list(table) if path in moved})
        self._trying = {(moved.get(path, path), name) for path, name in self._trying}
        for path in moved.keys() & self._closed.keys():
            self._closed[moved[path]] = self._closed.pop(path)
        self.changed = True

    def clear(self):
        """Try all again."""
        self.changed = self.changed or bool(self._files)
        self._files.clear()
        self._trying.clear()
        self._access.clear()
        self._closed.clear()

    def ask_for(self, paths):
        """Have all of the runs `paths` tried again: somebody opened them, or the server says that they
        changed."""
        self._trying.update(key for key in self._files if key[0] in paths)

    def is_opened(self, key, attrs):
        """Whether what is left out may be readable now: its mode or owners, as an LSTAT just showed (Attrs),
        are others than before, or the first."""
        access = attrs.mode, attrs.uid, attrs.gid
        if key not in self._files or self._access.get(key) == access:
            return False
        self._access[key] = access
        self._trying.add(key)
        return True

    def folders(self, path):
        """Return the folders below a run that may not be listed (list of str)."""
        return [name for name in self._closed.get(path, ()) if name]

    @property
    def closed_runs(self):
        """The run paths that have a folder which may not be listed, those first that were listed longest ago
        (list)."""
        return list(self._closed)

    def set_folders(self, path, names):
        """Note which folders of a run may not be listed now: "checkpoints/", or "" for its own (sequence of
        str)."""
        for name in self._closed.pop(path, ()):
            if name not in names:
                self.forget((path, name))
        for name in names:
            self.add((path, name), {"size": 0, "mtime": None}, DeniedError("permission denied", 3))
        if names:
            self._closed[path] = tuple(names)

    def retry(self, fits, everything=False):
        """Have some files tried again, or `everything`; `fits(key, bytes)` says whether there is room.
        Returns their run paths (set)."""
        chosen = [key for key, ((size, _), why) in self._files.items()
                  if why["code"] != "no_room" or fits(key, size)]
        self._trying.update(chosen if everything else chosen[:RETRIES])
        return {path for path, _ in self._trying}

    def pass_over(self, counts):
        """Note {reason: count} of what is passed over on the server; returns whether that is news worth
        telling."""
        passed = worth_telling(counts)
        if passed == self.passed:
            return False
        self.passed, self.changed = passed, True
        return bool(passed)

    @property
    def wants_room(self):
        """Whether files wait for room (bool)."""
        return any(why["code"] == "no_room" for _, why in self._files.values())

    def count(self):
        """Return how many files are left out (int)."""
        return len(self._files)

    def to_json(self):
        """Return what FILE holds (bytes)."""
        runs = {}
        for (path, name), (_, why) in list(self._files.items())[:MOST]:
            runs.setdefault(path, {})[name] = why
        value = {"runs": runs, "files": len(self._files), "passed": self.passed}
        return layout.to_json(value).encode("utf-8", "replace")

    def changes_saved(self):
        """FILE holds what `to_json` gave."""
        self.changed = False


def passes(error):
    """Whether what kept a file from us is a trouble of the moment (bool), not of the file: readers on Windows
    may have it open."""
    return isinstance(error, OSError) and (error.errno in PASSING or local_disk.is_held(error))


def reason(error):
    """Return {"code", "text"}: why a file is not here."""
    if error is None:
        return {"code": "no_room",
                "text": "the mirrors have no room for it; raise --cache-size or free the disk"}
    if isinstance(error, DeniedError):
        return {"code": "denied", "text": "the server does not let us read it"}
    if isinstance(error, LayoutError):
        return {"code": "place", "text": str(error)}
    if isinstance(error, RunicornError):
        return {"code": "server", "text": str(error)}
    return {"code": "disk", "text": f"this disk does not take it: {error.strerror or error}"}


REASONS, LONGEST = 20, 100      # of what is passed over, as another machine may say them


def checked(counts):
    """Return {reason: count} of `counts`, which may be anything from anywhere: at most REASONS short texts
    with their numbers (dict)."""
    sound = {reason: count for reason, count in counts.items()
             if 0 < len(reason) <= LONGEST and reason.isprintable() and type(count) is int
             and 0 < count < 1 << 53} if isinstance(counts, dict) else {}
    return dict(sorted(sound.items())[:REASONS])


def worth_telling(counts):
    """Return those of {reason: count}, checked, that tell of something a user may miss: stray files are no
    runs' (dict)."""
    return {reason: count for reason, count in checked(counts).items() if reason != "outside"}


def passed_text(counts):
    """Return {reason: count} as text: "1 link to no folder, 2 names that are no UTF-8"."""
    return ", ".join(f"{count} {_singular(reason) if count == 1 else reason}"
                     for reason, count in sorted(counts.items()))


def _singular(reason):
    """Return why one thing is passed over (str). reason: the same of several."""
    if reason in ONE:
        return ONE[reason]
    first, _, rest = reason.partition(" ")
    first = f"{first[:-3]}y" if first.endswith("ies") else first.removesuffix("s")
    return f"{first} {rest}".replace(" that are ", " that is ").replace(" that lie ", " that lies ").strip()


def read_passed(folder):
    """Return {reason: count} of what the mirror in `folder` (Path) says is passed over on its server."""
    return worth_telling((layout.read_json(folder / layout.INDEX / FILE) or {}).get("passed"))


def read(folder):
    """Return {file name: {"code", "text"}} by run path, as the mirror in `folder` (Path) has it (dict of
    dicts)."""
    runs = (layout.read_json(folder / layout.INDEX / FILE) or {}).get("runs")
    runs = ({path: files for path, files in runs.items() if isinstance(files, dict)} if isinstance(runs, dict)
            else {})
    return {path: {name: {"code": why["code"], "text": why["text"][:500]}
                   for name, why in files.items() if _is_reason(why)} for path, files in runs.items()}


def _is_reason(why):
    return isinstance(why, dict) and isinstance(why.get("code"), str) and isinstance(why.get("text"), str)
