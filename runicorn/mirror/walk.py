"""Walk a root on the server by SFTP: the places the layout names, links included. Reads no file."""

import collections
import posixpath

from runicorn import layout, local_names, manifest
from runicorn.errors import DeniedError, MissingFileError, SftpError
from runicorn.mirror import plan
from runicorn.mirror.folder_lister import list_folders, walk_folders
from runicorn.ssh import sftp

FOLDERS = 200_000               # folders listed below one run
PENDING = 400_000               # folders that wait to be listed, of all runs
LONGEST = 4096                  # characters of a path that a link may lead to
CLOSED = 20                     # folders above the runs that may not be listed, tried again with each look
# Links read one after the other where the server does not say where a path really is
HOPS = 10


# -- the folders above the runs ------------------------------------------------------------------------------

class Skeleton:
    """The folders from the root, and from EXPERIMENTS in it where it is a home, down to project/name/runs,
    and the runs in them; asked again only where an mtime moved.

    Symbolic links to folders are followed as manifest.Links decides. root: absolute, where it really is as
    far as the server tells. `skipped` is {reason: count} of what the last whole refresh passed over;
    `complete` says whether there was one; `home` is EXPERIMENTS as a list, [] where the root is no home.
    """

    def __init__(self, client, root, wall=lambda now: now, listed=lambda folder, listing, now: None):
        """wall: clock.Clock.wall, where that is not the clock of the times handed in. listed(folder, listing,
        now): called with each listing of a folder that no link leads to."""
        self.client, self.root, self.skipped, self._wall, self._listed = client, root, {}, wall, listed
        self._mtimes = {}             # folder -> (mtime, when first observed so, when listed); "" is the root
        self._children = {}         # folder -> {name: mtime} of the folders in it
        self._links = {}            # folder -> {name: uid} of the symbolic links in it
        self._passed = {}           # folder -> {reason: count} of what else is in it
        # Folder -> None, of those that may not be listed, those first that were tried longest ago
        self._closed = {}
        self._listed_at = {}        # folder -> its absolute path when it was listed
        self._targets = {}          # link -> (uid, uid of the folder, where that really is, its mtime)
        self._decided = manifest.Links(root, collections.Counter())
        self.home, self._home_links = [], {}        # … and the links to it, as `_resolve` takes them
        self.complete = False       # `refresh` reached the runs

    def told(self):
        """Return what `resume` takes: {folder: [its mtime, {name: mtime} of the folders in it, {reason:
        count}]} of what can't have changed unseen (dict); {} where there are links, which no mtime speaks
        for."""
        if not self.complete or any(self._links.values()) or self._home_links:
            return {}
        sure = {}
        for folder, children in self._children.items():
            mtime, observed, listed = self._mtimes.get(folder, (None, 0.0, 0.0))
            if folder not in self._mtimes or mtime is not None and plan.settled(mtime, observed, listed,
                                                                                self._wall(listed)):
                sure[folder] = [mtime, children, dict(self._passed.get(folder, ()))]
        return sure

    def resume(self, folders):
        """Take up what an earlier session told, or something that only looks like it: what shows the same
        mtime is not listed anew."""
        for folder, folder_told in folders.items() if isinstance(folders, dict) else ():
            if not (isinstance(folder_told, list) and len(folder_told) == 3
                    and all(isinstance(table, dict) for table in folder_told[1:])):
                continue
            mtime, children, passed = folder_told
            self._children[folder], self._links[folder] = children, {}
            self._passed[folder] = collections.Counter(passed)
            self._listed_at[folder] = self.absolute(folder)
            self.home = [folder] if folder == layout.EXPERIMENTS else self.home
            if mtime is not None:
                self._mtimes[folder] = mtime, 0.0, 2.0

    def absolute(self, folder):
        """Return the absolute path of a folder (str), where a link leads to: LSTAT tells of the folder
        then."""
        return self._decided.real.get(folder) or (f"{self.root}/{folder}" if folder else self.root)

    def listed_as(self, path):
        """Return the path under which a run is listed, which is another one where `path` passes a second link
        to a folder (str)."""
        parts = path.split("/")
        for level in range(1, len(parts) + 1):
            same = self._decided.same.get("/".join(parts[:level]))
            if same:
                return self.listed_as("/".join([same, *parts[level:]]))
        return path

    def leads_to(self, path):
        """Whether no link on the way to a run (and none that it is) is passed over (bool)."""
        while path:
            folder, _, name = path.rpartition("/")
            if name in self._links.get(folder, ()) and path not in self._decided.real:
                return False
            path = folder
        return True

    def known(self, now):
        """Return the folders to LSTAT (list of str, relative): those that were not listed in this very
        pass."""
        return [folder for folder, (_, _, listed) in self._mtimes.items() if listed != now]

    def note(self, folder, attrs, now):
        """Take the answer to an LSTAT of a known folder: forget what moved, vanished, or is a link now."""
        if folder not in self._mtimes:
            return              # went with a folder above it
        mtime = None if isinstance(attrs, SftpError) else attrs.mtime
        old, observed, listed = self._mtimes[folder]
        if (mtime is None and isinstance(attrs, MissingFileError) or mtime is not None and folder
                and sftp.is_link(attrs)):
            self._forget(folder)
        elif mtime != old or mtime is None:         # a server that tells no times is listed at each look
            self._mtimes[folder] = mtime, now, now
            self._children.pop(folder, None)
        elif not plan.settled(mtime, observed, listed, self._wall(listed)):
            self._children.pop(folder, None)

    def _forget(self, folder):
        for below in [below for below in self._mtimes
                      if not folder or below == folder or below.startswith(folder + "/")]:
            del self._mtimes[below]
            self._children.pop(below, None)
            self._closed.pop(below, None)
        # What is in the folder above it has to be told again
        self._children.pop(folder.rpartition("/")[0], None)

    def forget_listings(self):
        """List everything, and see where links lead, at the next refresh: the runs' own mtimes are in the
        listings only."""
        self._children.clear()
        self._targets.clear()

    def expected(self):
        """Return the absolute paths (list of str) of the folders that the next `refresh` lists, as far as
        what was told shows them."""
        known = ["", *(_below(folder, name) for folder, children in self._children.items()
                       for name in children)]
        return [self.absolute(folder) for folder in known if folder not in self._children
                and self._depth(folder) in (0, manifest.EXPERIMENT - 1, manifest.RUN - 1)]

    def _depth(self, folder):
        """Return how many levels a folder is below the root, or below what a home keeps (int)."""
        depth = folder.count("/") + 1 if folder else 0
        return depth - any(f"{folder}/".startswith(f"{inside}/") for inside in self.home)

    def refresh(self, now, enough=lambda count: False, ahead=None):
        """List what is not known (any more) and return {run path: its folder's mtime}; {} once
        `enough(count)` before the `count` folders of a level are listed. ahead: folder_lister.Ahead.

        Raises SftpError when the root can't be listed.
        """
        self._decided = decided = manifest.Links(self.root, collections.Counter())
        self._find_home()
        folders, passed = ["", *self.home], collections.Counter()
        # What opens it, an access list or another owner, need not show in any LSTAT
        for folder in list(self._closed)[:CLOSED]:
            self._children.pop(folder, None)
        for level in range(1, manifest.RUN + 1):
            if enough(len(folders)):
                return {}
            stale = [folder for folder in folders if self._is_stale(folder, level)]
            if level == manifest.EXPERIMENT + 1:
                self._find_runs(stale, now)
            else:
                self._list(stale, now, ahead)
            for folder in folders:
                passed.update(self._passed.get(folder, ()))
            links = {_below(folder, name): uid for folder in folders
                     for name, uid in self._links.get(folder, {}).items()}
            self._resolve(links)
            mtimes = {_below(folder, name): mtime for folder in folders
                      for name, mtime in self._children.get(folder, {}).items()}
            followed = decided.follow({link: self._targets.get(link, NOWHERE)[:3] for link in links}, mtimes)
            mtimes.update((link, self._targets[link][3]) for link in followed)
            folders = list(mtimes)
        runs = {run: mtimes[run] for run in self._apart(folders) if plan.believable(run)}
        self.skipped, self.complete = dict(passed + decided.skipped), True
        return runs

    def _find_home(self):
        """See whether the root is a home, where it has to be listed anyway, and whether links to what it
        keeps are followed."""
        if "" not in self._children:
            places = manifest.HIDDEN, layout.EXPERIMENTS
            answers = self.client.batch([sftp.lstat(self.absolute(place)) for place in places])
            stats = {place: attrs for place, attrs in zip(places, answers)
                     if not isinstance(attrs, SftpError)}
            self._home_links = {place: attrs.uid for place, attrs in stats.items() if sftp.is_link(attrs)}
            inside = stats.get(layout.EXPERIMENTS)
            self.home = [layout.EXPERIMENTS] if inside and (sftp.is_dir(inside) or self._home_links) else []
            for link in self._home_links:
                self._targets.pop(link, None)
        if self.home and self._home_links:
            self._resolve(self._home_links)
            if not all(self._decided.follow({link: self._targets[link][:3]}, ())
                       for link in self._home_links):
                self.home = []

    def _is_stale(self, folder, level):
        if level == manifest.EXPERIMENT + 1 and self._links.get(folder):
            return True             # no listing tells when a link `runs` is turned to another folder
        return folder not in self._children or self._listed_at.get(folder) != self.absolute(folder)

    def _apart(self, runs):
        if not self._decided.real:
            return runs
        plain = [run for run in runs if self._decided.where(run) == f"{self.root}/{run}"]
        return plain + self._decided.apart(plain, set(runs).difference(plain))

    def _list(self, folders, now, ahead):
        absolute = {self.absolute(folder): folder for folder in folders}
        for path, listing in (list_folders(self.client, absolute, ahead).items() if absolute else ()):
            folder = absolute[path]
            self._closed.pop(folder, None)
            if isinstance(listing, SftpError):
                if not folder:
                    raise listing
                self._closed.update({folder: None} if isinstance(listing, DeniedError) else {})
                self._take(folder, (), {"unreadable": 1} if isinstance(listing, DeniedError) else {})
                mtime = None
            else:
                self._take(folder, listing, {manifest.NO_UTF8: listing.undecodable} if listing.undecodable
                           else {})
                mtime = next((attrs.mtime for name, attrs in listing if name == "."), None)
                if not folder or path == f"{self.root}/{folder}":
                    self._listed(folder, listing, now)
            mtime, observed, _ = self._mtimes.get(folder, (mtime, now, now))
            self._mtimes[folder] = mtime, observed, now

    def _find_runs(self, experiments, now):
        """See what `runs` is in each experiment; where there is none yet, it is asked for each time."""
        places = [f"{self.root}/{experiment}/{layout.RUNS}" for experiment in experiments]
        answers = self.client.batch([sftp.lstat(path) for path in places]) if places else ()
        for experiment, attrs in zip(experiments, answers):
            self._take(experiment, () if isinstance(attrs, SftpError) else [(layout.RUNS, attrs)], {})
            if not (self._children[experiment] or self._links[experiment]):
                self._passed[experiment] = {"unreadable" if isinstance(attrs, DeniedError) else "outside": 1}
                del self._children[experiment]

    def _take(self, folder, listing, passed):
        """Note what a listing shows of a folder. passed: {reason: count} of what it does not."""
        self._children[folder], self._links[folder] = {}, {}
        self._passed[folder], self._listed_at[folder] = collections.Counter(passed), self.absolute(folder)
        for name, attrs in listing:
            if name.startswith("."):
                continue            # no slug begins so
            if sftp.is_link(attrs):
                self._links[folder][name] = attrs.uid
                self._targets.pop(_below(folder, name), None)
            elif sftp.is_dir(attrs):
                self._children[folder][name] = attrs.mtime
            else:
                self._passed[folder]["outside"] += 1

    def _resolve(self, links):
        """Ask where links lead, {path: uid}, unless that is known."""
        fresh = [link for link in sorted(links)[:manifest.MOST_LINKS] if link not in self._targets]
        places = [f"{self.root}/{link}" for link in fresh]
        answers = self.client.batch([ask(path) for ask in (sftp.stat_target,
                                                           sftp.resolve) for path in places]) if fresh else ()
        reals = dict(zip(fresh, answers[len(fresh):]))
        unresolved = {link: path for link, path in zip(fresh, places)
                      if reals[link] == path or not _is_path(reals[link])}
        reals.update(_hop(self.client, unresolved) if unresolved else ())
        for link, attrs in zip(fresh, answers):
            folder = not isinstance(attrs, SftpError) and sftp.is_dir(attrs)
            self._targets[link] = (links[link], attrs.uid, reals[link], attrs.mtime) if folder else NOWHERE


NOWHERE = None, None, None, None


def _below(folder, name):
    return f"{folder}/{name}" if folder else name


def _is_path(answer):
    return isinstance(answer, str) and answer.startswith("/") and len(answer) <= LONGEST


def _hop(client, places):
    """Return {link: where it leads}, by reading links one after the other. places: {link: its absolute
    path}."""
    places, moving = dict(places), list(places)
    for _ in range(HOPS if moving else 0):
        answers = client.batch([sftp.readlink(places[link]) for link in moving])
        texts = {link: text for link, text in zip(moving, answers)
                 if isinstance(text, str) and 0 < len(text) <= LONGEST}
        places.update((link, posixpath.normpath(posixpath.join(posixpath.dirname(places[link]), text)))
                      for link, text in texts.items())
        moving = list(texts)
        if not moving:
            break
    return places


class RunFiles(dict):
    """The files of a run as a listing shows them; `skipped` is a Counter of what else is there, by reason;
    `closed` are the folders below, "checkpoints/", that may not be listed (list of str)."""

    def __init__(self):
        super().__init__()
        self.skipped, self.closed = collections.Counter(), []
        self._folders = 0               # of the entries

    def add_folder(self, name, mtime):
        """Take the folder of the run itself, ".", or one below, "checkpoints/", with its mtime (s)."""
        self._folders += name not in self
        self.setdefault(name, {"mtime": mtime})

    @property
    def is_full(self):
        """Whether so many files are in it as a manifest lists of one run, but for the run's own (bool)."""
        return len(self) - self._folders >= manifest.FILES


def list_runs(client, root, paths, took, ahead=None):
    """List runs at once, with their folders to depth 8; as each is whole, `took(run path, files or
    SftpError)` is called. ahead: folder_lister.Ahead.

    files: RunFiles {file name: {"size", "mtime", "tail": None}}, the run's own all; "." is the run's folder
    itself, and those below end in "/".
    """
    folders = {f"{root}/{path}": (path, "") for path in paths}
    files_of, open_folders, counts = ({path: RunFiles() for path in paths}, dict.fromkeys(paths, 1),
                                      dict.fromkeys(paths, 1))

    def listed(absolute, listing):
        path, prefix = folders.pop(absolute)
        files, deeper = files_of[path], []
        if isinstance(listing, SftpError):
            if prefix and isinstance(listing, DeniedError):
                files.skipped["unreadable"] += 1
                files.closed.append(prefix)
            files = files if prefix else listing
        else:
            deeper = _take_folder(files, path, prefix, listing)
            room = max(0, min(FOLDERS - counts[path], PENDING - len(folders)))
            if len(deeper) > room:
                files.skipped[manifest.FULL_RUN] += len(deeper) - room
            deeper = deeper[:room]
            counts[path] += len(deeper)
            folders.update((f"{absolute}/{name}", (path, f"{prefix}{name}/")) for name in deeper)
        open_folders[path] += len(deeper) - 1
        if not open_folders[path]:
            del files_of[path]
            took(path, files)
        return [f"{absolute}/{name}" for name in deeper]

    walk_folders(client, list(folders), listed, ahead=ahead)


def _take_folder(files, path, prefix, listing):
    """Add what a folder of a run shows to `files`; returns the names of the folders in it that are looked
    into."""
    deeper, deep = [], prefix.count("/") >= manifest.DEPTH
    if listing.undecodable:
        files.skipped[manifest.NO_UTF8] += listing.undecodable
    for name, attrs in listing:
        if name == ".":
            files.add_folder(prefix or ".", attrs.mtime)
        elif sftp.is_dir(attrs) and not deep:
            deeper.append(name)
        elif sftp.is_file(attrs) and (not files.is_full or not prefix and local_names.is_own(name)):
            _add(files, path, prefix + name, attrs)
        else:
            files.skipped[_reason(attrs)] += 1
    return deeper


def _reason(attrs):
    """Return why something in a run is passed over (str)."""
    if sftp.is_dir(attrs):
        return manifest.TOO_DEEP
    return (manifest.IN_RUNS if sftp.is_link(attrs) else manifest.FULL_RUN if sftp.is_file(attrs)
            else "outside")


def _add(files, path, name, attrs):
    if attrs.size is not None and not name.endswith(layout.BESIDE) and plan.believable(path, name):
        files[name] = {"size": attrs.size, "mtime": attrs.mtime, "tail": None}
