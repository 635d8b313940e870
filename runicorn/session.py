"""One line to a server and what is done over it: survey, plan, fetch, look at tails. Ends with the line; the mirror stays."""

import json
import time

from runicorn import fetch, layout, manifest, plan, sftp, survey, tails
from runicorn.beats import Beats
from runicorn.errors import DeniedError, LineError, MissingFileError, ProtocolError, SftpError

AUDIT = 600.0                   # s between looks at every run folder's mtime, ended runs included
QUIET = 600.0                   # s; a run without an end that shows no change is looked at at least so often
OWN_LOOKED = 64                 # files of one run that are LSTATed instead of listed


class Session:
    """What is known while one line is up. Raises LineError and ProtocolError, after which it is of no more use, and SyncError."""

    def __init__(self, options, mirror, remote, log):
        self.options, self.mirror, self.remote, self.log = options, mirror, remote, log
        self.index = None               # a survey.Index, set before the first survey
        self.sftp = remote.open_sftp()
        self.root = self._resolve(options["remote_root"])
        self.skeleton = survey.Skeleton(self.sftp, self.root)
        self.beats = Beats(self.sftp, self.root)
        self.tails = tails.Tails(self.sftp, mirror, self.root)
        self.fetcher = fetch.Fetcher(self.sftp, mirror, self.root, self._fetched)
        self.source = None              # "exec", "manifest" or "walk": where the list came from
        self.manifest_seen = {}         # path of a manifest -> its mtime when we read it
        self.gone, self.grown = set(), set()            # runs that vanished; runs whose files grew since last told
        self.asked = []                 # runs somebody opened, newest last
        self.news = False               # the index or a small file changed since last told
        self._doubtful = set()          # runs to list at the next survey
        self._rewrite = set()           # (path, name): ours is wrong somewhere, fetch whole
        self._queued, self._refused = set(), set()
        self._observed = {}             # (path, name) -> (mtime, when first seen so)
        self._again = {}                # path -> when to list it again, for what changed within its mtime's second
        self._folder_mtime = {}         # path -> the folder's mtime by LSTAT, for servers that list no "."
        self._next_look = {}            # path -> when, for quiet runs
        self._changed = {}              # path -> when its files were last seen to change
        self._audited = None
        self.files_done = self.files_total = self.bytes_done = self.bytes_total = 0

    def _resolve(self, root):
        start = self.sftp.realpath(".")
        root = start.rstrip("/") + root[1:] if root == "~" or root.startswith("~/") else root
        root = root if root.startswith("/") else f"{start.rstrip('/')}/{root}"
        try:
            return self.sftp.realpath(root).rstrip("/") or "/"
        except SftpError:
            return root.rstrip("/") or "/"      # not there yet: the survey says so

    # -- what the server holds

    def survey(self, now):
        """Bring the index up to date and plan what to fetch. Raises SftpError when the root can't be listed."""
        first = self._audited is None
        if self.options.get("manifest", True):
            self._learn(first)
        audit = first or now >= self._audited + AUDIT
        changed = self._look_at_folders(now, audit)
        changed |= self._list(now, audit)
        if audit:
            self._audited = now
        self.source = self.source or "walk"
        self.plan(self.index.paths() if first else changed, now)

    def _learn(self, first):
        """Take over what exec or a manifest file tells."""
        if first and self.remote.exec_allowed is not False and self._by_exec():
            return
        stats = dict(zip(survey.manifest_files(self.root), self.sftp.batch([sftp.lstat(path) for _, path in survey.manifest_files(self.root)])))
        for kind in survey.MANIFESTS:
            there = [(attrs.mtime, path) for (name, path), attrs in stats.items() if name == kind and not isinstance(attrs, SftpError)]
            if there and self.manifest_seen.get(max(there)[1]) != max(there)[0] and not (kind == manifest.ACTIVE and first):
                if self._by_file(*max(there)) and kind == manifest.ACTIVE:
                    full = [(attrs.mtime, path) for (name, path), attrs in stats.items() if name == manifest.FULL and not isinstance(attrs, SftpError)]
                    self.manifest_seen.update({path: mtime for mtime, path in full})
                    return

    def _by_exec(self):
        try:
            found = survey.ask_exec(self.remote, self.root, self.index.flush().lines)
        except (SftpError, manifest.ManifestError) as error:
            self.log.info("no list by python3 on the server: %s", error)
            return False
        except LineError:
            if not self.remote.alive:
                raise
            return False        # this server grants one channel a line
        self._adopt(found)
        self.source = "exec"
        return True

    def _by_file(self, mtime, path):
        """Read a manifest; returns whether the index now has its digest."""
        try:
            found = manifest.parse(self.sftp.read_file(path, limit=manifest.LIMIT), path)
        except (SftpError, manifest.ManifestError) as error:
            self.log.warning("the server's manifest is of no use: %s", error)
            found = None
        self.manifest_seen[path] = mtime
        self._adopt(found)
        self.source = "manifest" if found else self.source
        return bool(found) and survey.index_digest(self.index.flush().lines) == found.header["digest"]

    def _adopt(self, found):
        if found and survey.adopt(self.index, found, self._doubtful):
            self.news = True

    def _look_at_folders(self, now, audit):
        """LSTAT the folders above the runs, and running runs with their files; returns run paths that changed (set)."""
        folders = self.skeleton.known()
        if audit:
            self.skeleton.forget_listings()
        running = [path for path in self.index.paths() if not self.index.ended(path) and path not in self.gone and now >= self._next_look.get(path, 0)]
        names = [(path, name) for path in running for name in self._looked(path)]
        answers = self.sftp.batch([sftp.lstat(self.skeleton.absolute(folder)) for folder in folders]
                                  + [sftp.lstat(f"{self.root}/{path}/{name}".rstrip("/")) for path, name in names]
                                  + [sftp.lstat(path) for path in self.beats.ask()])
        for folder, attrs in zip(folders, answers):
            self.skeleton.note(folder, attrs, now)
        changed = {path for (path, name), attrs in zip(names, answers[len(folders):]) if self._note(path, name, attrs, now)}
        self._doubtful.update(self.beats.take(dict(zip(self.beats.ask(), answers[len(folders) + len(names):])), now))
        for path in running:
            quiet = now - max(self._changed.get(path, 0), plan.newest(self.index.entry(path)))
            self._next_look[path] = now + min(max(0, quiet / 10), QUIET)
        return changed

    def _looked(self, path):
        files = self.index.entry(path)["files"]
        return [""] + [name for name in files if "/" not in name][:OWN_LOOKED]

    def _note(self, path, name, attrs, now):
        """Take the LSTAT of a run's folder ("") or file; returns whether the file changed."""
        entry = self.index.entry(path)
        if isinstance(attrs, SftpError):
            self._doubtful.add(path)
            return False
        if not name:
            self._folder_mtime[path] = attrs.mtime
            if entry["mtime"] is None or int(entry["mtime"]) != attrs.mtime:
                self._doubtful.add(path)
            return False
        known = entry["files"].get(name)
        if not sftp.is_file(attrs) or attrs.size is None:
            self._doubtful.add(path)
            return False
        if known and known["size"] == attrs.size and known["mtime"] is not None and int(known["mtime"]) == attrs.mtime:
            return False
        entry["files"][name] = {"size": attrs.size, "mtime": attrs.mtime, "tail": None}
        entry["digest"] = survey.WALKED
        self._saw_change(path, now)
        return True

    def _saw_change(self, path, now):
        self._changed[path] = now
        self.index.touch(path)
        self.beats.grew(path, now)

    def _list(self, now, audit):
        """List new, moved and doubtful runs; find out which vanished. Returns run paths that changed (set)."""
        there = self.skeleton.refresh(now)
        index = self.index
        for path, mtime in there.items():
            if path not in index or (index.ended(path) and int(index.mtime(path) or 0) != mtime and audit) or audit and not index.ended(path):
                self._doubtful.add(path)
        self._doubtful |= {path for path, when in self._again.items() if when <= now}
        missing = {path for path in index.paths() if path not in there}
        stale = [path for path in self._doubtful | missing - self.gone if plan.believable(path)]
        self._doubtful.clear()
        changed = set()
        for path, files in survey.list_runs(self.sftp, self.root, stale).items():
            if isinstance(files, SftpError):
                self._missing(path, files)
            elif self._listed(path, files, there.get(path), now):
                changed.add(path)
        return changed

    def _missing(self, path, error):
        if not isinstance(error, MissingFileError) or path not in self.index:
            return
        self.sftp.lstat(self.root)          # raises when the root itself can't be seen: then nothing is gone
        self.news = True
        if any(self.mirror.stat(path, name) for name in self.index.entry(path)["files"]):
            self.gone.add(path)
            self.beats.over(path)
        else:
            self.index.drop(path)           # a manifest spoke of it and we hold nothing: it never was here

    def _listed(self, path, files, mtime, now):
        """Take the listing of a run; returns whether it shows anything new."""
        self.gone.discard(path)
        entry = self.index.entry(path) if path in self.index else survey.empty()
        beat = files.pop(".beat", None)
        if beat:
            self.beats.beat(path, beat["mtime"], now)
        mtime = files.pop(".", {"mtime": self._folder_mtime.get(path, mtime)})["mtime"]
        self._settle(path, mtime, now)
        known = path in self.index
        new = survey.merged(entry, files, mtime)
        if new is entry and known:
            return False
        self.index.put(path, new)
        if known:
            self._saw_change(path, now)
        self.news = True
        return True

    def _settle(self, path, mtime, now):
        """List a folder once more if it may still change within the second of its mtime."""
        old, when = self._observed.get((path, ""), (None, now))
        when = when if old == mtime else now
        if plan.settled(mtime, when, now):
            self._observed.pop((path, ""), None)
            self._again.pop(path, None)
        else:
            self._observed[path, ""] = mtime, when
            self._again[path] = when + 2

    # -- what to fetch

    def plan(self, paths, now):
        """Queue what the settings ask for and is not here yet, of the runs `paths`."""
        fetches = []
        for path in paths:
            entry = self.index.entry(path)
            if path in self.asked or path in self.beats.runs or plan.within(entry, self.options.get("window"), now):
                fetches += self.missing_files(path, entry, now)
        fetches.sort(key=self._urgency, reverse=True)
        self._queue(fetches)

    def missing_files(self, path, entry, now):
        """Return the fetches that complete our copy of a run (list of Fetch)."""
        found = []
        for name, file in entry["files"].items():
            key = path, name
            if key in self._queued or key in self._refused or not plan.wanted(name, file["size"], self.options) or not plan.believable(path, name):
                continue
            here = self.mirror.stat(path, name)
            one = plan.compare(path, name, None if key in self._rewrite else here, file)
            if one and one.whole and here and plan.is_appended(name) and here["size"] > file["size"] and key not in self._rewrite:
                one = one._replace(offset=here["size"], size=here["size"], whole=False, tail=None)      # shrunk, or old attributes: look
            if one:
                found.append(one)
                self._observe(key, file["mtime"], now)
        return found

    def _observe(self, key, mtime, now):
        if self._observed.get(key, (None,))[0] != mtime:
            self._observed[key] = mtime, now

    def _urgency(self, one):
        return one.path in self.asked, one.path in self.beats.runs, *plan.order(one)

    def _queue(self, fetches):
        self._queued.update((one.path, one.name) for one in fetches)
        self.files_total += len(fetches)
        self.bytes_total += sum(one.size - one.offset for one in fetches)
        self.fetcher.add(fetches)

    def work(self, until):
        """Fetch until the monotonic clock says `until`; returns whether anything is left."""
        self.fetcher.step(until)
        return bool(self.fetcher.left)

    def _fetched(self, one, outcome, data):
        """A fetch ended: believe what it showed, and look again where it showed that we were told wrong."""
        key, now = (one.path, one.name), time.time()
        self._queued.discard(key)
        self.files_done += 1
        self.bytes_done += one.size - one.offset
        if isinstance(outcome, DeniedError):
            self._refused.add(key)
            self.log.info("%s/%s can't be read", *key)
        elif outcome is fetch.CHANGED or outcome is fetch.SHORT and not one.whole:
            self._rewrite.add(key)
            self._doubtful.add(one.path)
        elif outcome is not fetch.DONE:
            self._doubtful.add(one.path)        # gone, shorter than we were told, or an error of the server's: list it
        else:
            self._arrived(one, key, data, now)

    def _arrived(self, one, key, data, now):
        here = self.mirror.stat(*key)
        if one.tail and here["size"] == one.size and self.mirror.tail(*key, one.size) != one.tail:
            self._doubtful.add(one.path)
            if not one.whole:
                self._rewrite.add(key)
                return
        if one.whole:
            self._rewrite.discard(key)
        mtime, when = self._observed.get(key, (one.mtime, now))
        if one.mtime is not None and here["size"] >= one.size:
            sure = plan.is_appended(one.name) or plan.settled(mtime, when, now)
            self.mirror.touch(*key, one.mtime if sure else one.mtime - 1)
            if sure:
                self._observed.pop(key, None)
            else:
                self._again[one.path] = when + 2        # read within the second of its change: read it once more
        if data is not None:
            self._took_small(one, data)
        self.grown.add(one.path)

    def _took_small(self, one, data):
        """Put a small JSON file into the index."""
        entry = self.index.entry(one.path)
        value = json.loads(manifest.splice(data))
        if value is None or value == entry[one.name[:-5]]:
            return
        entry[one.name[:-5]] = value
        entry["ended"] = (entry["status"] or {}).get("status") in manifest.ENDED
        self.index.put(one.path, entry)
        if entry["ended"]:
            self.beats.over(one.path)
        self.news = True

    # -- what somebody watches

    def look(self, paths, now):
        """Read the tails of the runs `paths` and look at their small files and at who is alive, in one round trip."""
        files = [(path, name) for path in paths for name in self._tails_of(path)]
        small = [(path, name) for path in paths for name in layout.SMALL[1:] if name in self.index.entry(path)["files"]]
        asked = [f"{self.root}/{path}/{name}" for path, name in small]
        found, stats = self.tails.look(files, asked + [f"{self.root}/{path}" for path in paths] + self.beats.ask())
        changed = {path for (path, name), absolute in zip(small, asked) if self._note(path, name, stats[absolute], now)}
        for path in paths:
            self._note(path, "", stats[f"{self.root}/{path}"], now)
        for key, (outcome, count) in found.items():
            self._read_tail(key, outcome, count, now)
        new = self.beats.take(stats, now)
        changed |= self._relist(set(new) | self._doubtful & set(paths), now)
        if changed:
            self.plan(changed, now)

    def _tails_of(self, path):
        """The append-only files of a run that are nearly all here."""
        for name, file in self.index.entry(path)["files"].items():
            if plan.is_appended(name) and (path, name) not in self._queued and (path, name) not in self._rewrite:
                here = self.mirror.stat(path, name)
                if file["size"] - (here["size"] if here else 0) < tails.CHUNK * tails.ROUNDS:
                    yield name

    def _read_tail(self, key, outcome, count, now):
        path, name = key
        if outcome is tails.CHANGED:
            self._rewrite.add(key)
            self._doubtful.add(path)
        elif isinstance(outcome, SftpError):
            self._doubtful.add(path)
        elif count:
            here, entry = self.mirror.stat(*key), self.index.entry(path)
            entry["files"][name] = {"size": here["size"], "mtime": entry["files"][name]["mtime"], "tail": None}
            entry["digest"] = survey.WALKED
            self._saw_change(path, now)
            self.grown.add(path)

    def _relist(self, paths, now):
        if not paths:
            return set()
        self._doubtful -= paths
        found = survey.list_runs(self.sftp, self.root, [path for path in paths if plan.believable(path)])
        for path, files in found.items():
            if isinstance(files, SftpError):
                self._missing(path, files)
        return {path for path, files in found.items() if not isinstance(files, SftpError) and self._listed(path, files, self._folder_mtime.get(path), now)}

    def close(self):
        """Drop the line. Never raises."""
        self.fetcher.drop()
        self.sftp.close()
        self.remote.close()
