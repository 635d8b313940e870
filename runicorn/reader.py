"""Every run on this machine, local roots and mirrors as one: find it, list it, open it. Changes nothing but what is in memory.

    import runicorn
    for run in runicorn.runs("loss<0.3 tag:baseline"):
        print(run.name, run.config["lr"], run.summary["val/loss"])
"""

import hashlib
import os
import threading
import time
from pathlib import Path

from runicorn import glance, layout
from runicorn.errors import AmbiguousError, NotFoundError
from runicorn.index import LocalRoot, Mirror
from runicorn.listing import View, names_of, total_steps
from runicorn.series import Series, best_rule
from runicorn.states import judge

SERIES_BYTES = 96 << 20     # columns kept in memory; the run last asked for stays whatever its size
READ_SECONDS = 0.12         # an answer waits no longer for parsing; the rest is parsed behind it
CANDIDATES = 20             # named in an ambiguous answer


class Entry:
    """One run as the list shows it: the member read, and all members (the same run through several connections)."""

    __slots__ = ("key", "source", "record", "members", "words", "owes", "_sizes", "_end", "_sparks")

    def __init__(self, key, members):
        self.key, self.members = key, members
        self.source, self.record = members[0].source, members[0].record
        self.words, self.owes, self._sizes, self._end, self._sparks = None, False, None, None, {}

    @property
    def folder(self):
        return self.source.run_folder(self.record.path)

    @property
    def gone(self):
        """Whether the server no longer has it."""
        return self.record.path in getattr(self.source, "gone", ())

    def state(self):
        """Return the derived state's name, without its reason."""
        return self.record.ended or self.verdict().state

    def verdict(self):
        """Return the states.Verdict on the run."""
        return self.source.verdict(self.record)

    def sizes(self):
        """Return {name: bytes} of the run's append-only files here; those of an ended local run are looked up once."""
        if self._sizes is None or not (self.record.ended and self.source.local):
            self._sizes = glance.own_sizes(self.folder)
        return self._sizes

    def end(self, sizes=None):
        """Return the glance.End of the run's events, read again only when they grew."""
        sizes = sizes or self.sizes()
        if self._end is None or self._end[0] != sizes:
            self._end = sizes, glance.end(self.folder, sizes)
        return self._end[1]

    def glanced(self, metric, sizes):
        """Whether `spark` of the metric would read nothing."""
        return metric in self._sparks and self._sparks[metric][0] == sizes

    def spark(self, metric, sizes):
        """Return the glance.Spark of a metric, or None."""
        if not self.glanced(metric, sizes):
            self._sparks = {metric: (sizes, glance.spark(self.folder, sizes, metric))}
        return self._sparks[metric][1]

    def duration(self, end=None):
        """Return the seconds the run took or has been running, by its own clock (float), or None."""
        record = self.record
        if record.started is None:
            return None
        if record.ended and record.finished is not None:
            return max(0.0, record.finished - record.started)
        last, pulse = (end or self.end()).ts, self.source.pulses.get(record.path)
        if last is None:
            return None
        waited = pulse.since_row(pulse.looked) if pulse and pulse.looked and self.state() == "running" else 0.0
        return max(0.0, last - record.started + (waited or 0.0))

    def here(self):
        """Whether all own files of the run are on this machine."""
        return self.source.local or self.source.complete(self.record.path)


class Member:
    """One place a run was found in."""

    __slots__ = ("source", "record")

    def __init__(self, source, record):
        self.source, self.record = source, record


class Reader:
    """The index of all roots, in memory. `refresh` and `look` are called by one thread; everything else by any."""

    def __init__(self, roots, mirrors=(), home=None, overlay=None, clock=time.monotonic, preferences=dict, ring=None):
        """roots: [(slug, folder)]; mirrors: [(slug, folder[, name])] or a function that returns it; overlay: settings.Overlay or None;
        clock: monotonic seconds; preferences: function returning {"main_metric", "best_rule", …};
        ring: function(topic), called when something was parsed in the background; None parses before answering."""
        self.home = Path(home) if home else layout.home_dir()
        self.overlay, self.preferences, self._clock, self._ring = overlay, preferences, clock, ring
        self._mirrors = mirrors if callable(mirrors) else lambda: mirrors
        self.sources = {slug: LocalRoot(slug, folder, self._kept(folder)) for slug, folder in roots}
        self._begun = set()                 # slugs of sources that took what was kept
        self._by_key, self._aliases, self._versions = {}, {}, None
        self._facts = {}                    # what was counted over all runs, until something changes
        self.ready = threading.Event()      # set once there is something to show, or nothing to wait for
        self._series, self._parsing = {}, set()
        self._lock = threading.Lock()
        self.owes = False                   # sparklines that an answer left out for lack of time

    def local(self):
        """Return the local roots (list of index.LocalRoot)."""
        return [source for source in self.sources.values() if source.local]

    def beating(self):
        """Return the keys of the runs that are alive or may be (list of str)."""
        return [entry.key for entry in list(self._by_key.values()) if not entry.record.ended and entry.state() != "lost"]

    def _kept(self, folder):
        return self.home / "index" / hashlib.sha256(os.path.abspath(folder).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    # -- keeping up ------------------------------------------------------------------------------------------------

    def refresh(self):
        """Look for new, changed and vanished runs; returns whether the list changed."""
        now = self._clock()
        wanted = {slug: (folder, *name) for slug, folder, *name in self._mirrors()}
        for slug in [slug for slug, source in self.sources.items() if not source.local and slug not in wanted]:
            del self.sources[slug]
            self._begun.discard(slug)
        for slug, (folder, *name) in wanted.items():
            if slug not in self.sources:
                self.sources[slug] = Mirror(slug, folder, kept=self._kept(folder))
            self.sources[slug].name = name[0] if name else slug
        changed = self._begin()
        for source in list(self.sources.values()):
            source.refresh(now)
        changed |= self._merge()
        self.ready.set()
        return changed

    def _begin(self):
        """Take what the last start kept, so that there is an answer before anything is scanned."""
        new = [source for slug, source in self.sources.items() if slug not in self._begun]
        for source in new:
            source.begin()
            self._begun.add(source.slug)
        changed = bool(new) and self._merge()
        if self._by_key:
            self.ready.set()
        return changed

    def look(self, keys=None):
        """Look at all open runs, or at those of `keys`; returns (set of keys that grew, whether the list changed)."""
        now, grown, changed = self._clock(), set(), False
        paths = None if keys is None else self._paths(keys)
        for source in list(self.sources.values()):
            if paths is None or source.slug in paths:
                more, other = source.look(now, None if paths is None else paths[source.slug])
                grown |= {f"{source.slug}:{_short(path)}" for path in more}
                changed |= bool(other)
        return {self._aliases.get(key, key) for key in grown}, self._merge() or changed

    def _paths(self, keys):
        paths = {}
        for key in keys:
            for member in getattr(self._by_key.get(self._aliases.get(key, key)), "members", ()):
                paths.setdefault(member.source.slug, []).append(member.record.path)
        return paths

    def _merge(self):
        """Bring the merged runs in line with the sources; returns whether anything changed."""
        with self._lock:
            versions = [(slug, source.version) for slug, source in self.sources.items()]
            changed = {f"{slug}:{_short(path)}" for slug, source in self.sources.items() for path in _taken(source.dirty)}
            if versions == self._versions:
                return self._exchange(changed)
            found = {}
            for source in self.sources.values():
                for record in list(source.records.values()):
                    found.setdefault((record.id, record.created, record.host), []).append(Member(source, record))
            entries, aliases = [], {}
            for members in found.values():
                entries += self._joined(members, aliases)
            self._by_key = {entry.key: entry for entry in entries}
            self._aliases, self._versions, self._facts = aliases, versions, {}
            return True

    def _exchange(self, changed):
        """Put new Entries in the places of runs whose records changed."""
        for key in {self._aliases.get(key, key) for key in changed}:
            old = self._by_key.get(key)
            if old is None:
                continue
            members = [Member(member.source, member.source.records.get(member.record.path, member.record)) for member in old.members]
            fresh = self._by_key[key] = Entry(key, sorted(members, key=_freshness, reverse=True))
            if fresh.record.tags != old.record.tags:
                self._facts.pop("trees", None)
            if not (fresh.record.config.keys() <= old.record.config.keys() and fresh.record.summary.keys() <= old.record.summary.keys()):
                self._facts.pop("names", None)
        return bool(changed)

    def _joined(self, members, aliases):
        """Return the Entries for members that look alike: one in all, if they come through different connections."""
        if len({member.source.slug for member in members}) < len(members) or members[0].record.created is None:
            groups = [[member] for member in members]
        else:
            groups = [members]
        entries = []
        for group in groups:
            keys = [f"{member.source.slug}:{_short(member.record.path)}" for member in group]
            group.sort(key=_freshness, reverse=True)
            aliases.update((key, keys[0]) for key in keys[1:])
            old = self._by_key.get(keys[0])
            same = old is not None and [(m.source, m.record) for m in old.members] == [(m.source, m.record) for m in group]
            entries.append(old if same else Entry(keys[0], group))
        return entries

    def save(self):
        """Keep what was found for the next start."""
        for source in list(self.sources.values()):
            source.save()

    # -- finding ---------------------------------------------------------------------------------------------------

    def aliases(self, key):
        """Return every key of the run `key`, its own first (list of str)."""
        return [key, *(alias for alias, main in list(self._aliases.items()) if main == key)]

    def find(self, tail):
        """Return the key of the run that `tail` names: a key, an id or any unambiguous end of a key.

        Raises NotFoundError, AmbiguousError.
        """
        if tail in self._by_key:
            return tail
        if tail in self._aliases:
            return self._aliases[tail]
        found = [key for key in self._by_key if tail and key.endswith(tail) and key[-len(tail) - 1] in ":/_"]
        if not found:
            raise NotFoundError(f"there is no run {tail[:200]!r}; `runicorn runs` lists them")
        if len(found) > 1:
            raise AmbiguousError(f"{tail[:200]!r} may be {len(found)} runs: {', '.join(found[:3])}{' …' if found[3:] else ''}; give more of the key",
                                 found[:CANDIDATES])
        return found[0]

    def entry(self, tail):
        """Return the Entry of the run that `tail` names. Raises NotFoundError, AmbiguousError."""
        return self._by_key[self.find(tail)]

    def folder(self, key):
        """Return the run's folder on this machine (Path; of a mirror it may not exist yet)."""
        return self.entry(key).folder

    # -- the list --------------------------------------------------------------------------------------------------

    def view(self):
        """Return the listing.View on all runs as they are now."""
        preferences = self.preferences()
        rules = preferences.get("best_rule") or {}
        runs = tuple(self._by_key.values())
        return View(runs, self._fact("names", lambda: names_of(runs)), self.overlay.all() if self.overlay else {},
                    preferences.get("main_metric") or {}, lambda metric: rules.get(metric) if rules.get(metric) in ("min", "max") else best_rule(metric))

    def _fact(self, what, count):
        found = self._facts.get(what)
        if found is None:
            found = self._facts[what] = count()
        return found

    def runs(self, filter="", sort="-started", offset=0, limit=100, **choice):
        """Return the answer of GET /api/runs without its news (dict). Raises FilterError, UsageError."""
        return self.view().list(filter, sort, offset, limit, **choice)

    def row(self, key):
        """Return the Row of one run (dict)."""
        return self.view().row(self.entry(key), spark=True, deadline=float("inf"))

    def tree(self, view, hidden=False):
        """Return what the sidebar counts (see listing.View): {"projects", "connections", "tags", "states"}."""
        trees = self._fact("trees", dict)
        if trees.get("notes") != view.notes:        # the overlay was changed since
            trees.clear()
            trees["notes"] = view.notes
        if hidden not in trees:
            trees[hidden] = view.tree(hidden)
        return {**trees[hidden], "states": view.states(hidden)}

    # -- one run ---------------------------------------------------------------------------------------------------

    def run(self, key):
        """Return everything about one run but its points (dict; see the README, "HTTP API"). Raises NotFoundError, AmbiguousError."""
        entry = self.entry(key)
        entry.source.reread(entry.record.path)
        self._merge()
        entry = self.entry(key)
        small, series = self._small(entry), self.series(entry.key)
        view, metrics = self.view(), series.metrics()
        end = entry.end()
        return {**view.row(entry, spark=True, deadline=float("inf")), "meta": small[layout.META], "config": small[layout.META].get("config") or {},
                "summary": small[layout.SUMMARY], "status": small[layout.STATUS], "attempts": attempts(small[layout.STATUS], entry),
                "metrics": [_metric(name, facts, view.rule(name)) for name, facts in metrics.items()],
                "progress": progress(entry, series, end), "ranks": list(series.ranks), "files_here": entry.here(),
                "path": str(entry.folder), "remote_path": entry.source.remote_path(entry.record.path), "skipped": series.skipped,
                "behind": series.behind, "verified": None}

    def _small(self, entry):
        """Return {file name: dict} of the run's small JSON files, from its folder, else from the index."""
        found = {name: layout.read_json(entry.folder / name) for name in layout.SMALL}
        if None in found.values():
            index = entry.source.entry(entry.record.path) or {}
            for name, stem in ((layout.META, "meta"), (layout.STATUS, "status"), (layout.SUMMARY, "summary")):
                found[name] = found[name] if found[name] is not None else index.get(stem) or {}
        return found if not entry.record.newer else {name: {} for name in found}

    def series(self, key):
        """Return the run's Series, as far as it can be read at once; the rest is parsed behind, then the run's topic rings."""
        entry = self.entry(key)
        with self._lock:
            series = self._series.pop(entry.key, None)
            if series is None or series.folder != os.fspath(entry.folder):
                series = Series(entry.folder, self.home / "columns")
            self._series[entry.key] = series
        series.refresh(None if self._ring is None else READ_SECONDS)
        if self._ring and series.behind:
            self._parse_on(entry.key, series)
        self._drop_series()
        return series

    def _parse_on(self, key, series):
        with self._lock:
            if key in self._parsing:
                return
            self._parsing.add(key)

        def parse():
            try:
                series.refresh()
            finally:
                self._parsing.discard(key)
                self._ring(f"run:{key}")
        threading.Thread(target=parse, name=f"parse {key}", daemon=True).start()

    def _drop_series(self):
        with self._lock:
            sizes = {key: series.nbytes for key, series in self._series.items()}
            while sum(sizes.values()) > SERIES_BYTES and len(sizes) > 1:
                oldest = next(iter(sizes))
                del sizes[oldest], self._series[oldest]


def _taken(dirty):
    """Return the paths in `dirty` and empty it; another thread may add to it meanwhile."""
    return {dirty.pop() for _ in range(len(dirty))}


def _short(path):
    """Return "project/name/id" of "project/name/runs/id"."""
    project, name, _, run_id = path.split("/")
    return f"{project}/{name}/{run_id}"


def _freshness(member):
    """Local files first, then a source whose line is up, then the one that saw the run change last."""
    pulse = member.source.pulses.get(member.record.path)
    return member.source.local, member.source.up, (pulse.changed or 0.0) if pulse else 0.0


def _metric(name, facts, rule):
    best = facts["best"] and facts["best"][rule]
    return {"name": name, **{key: facts[key] for key in ("points", "first_step", "last_step", "last", "last_ts", "ranks")},
            "best": {"value": best[0], "step": best[1], "rule": rule} if best else None}


def attempts(status, entry):
    """Return [{"n", "started_at", "from_step"}] of the run's attempts, from its status or else its files."""
    said = status.get("attempts") if isinstance(status.get("attempts"), list) else []
    told = {item.get("n", place): item for place, item in enumerate(said, 1) if isinstance(item, dict)}
    events = {layout.parse_own(name)[1]: name for name in glance.events_of(entry.sizes())}
    numbers = sorted({n for n in told if isinstance(n, int)} | set(events) | {1})
    return [{"n": n, "started_at": layout.number(told.get(n, {}).get("started_at", status.get("started_at") if n == 1 else None)),
             "from_step": told.get(n, {}).get("from_step", glance.first_step(entry.folder, events[n]) if n in events else None)} for n in numbers]


def progress(entry, series, end):
    """Return {"step", "total", "speed" (steps/s), "eta" (s)} of the run; None where it can't be known."""
    total, speed = total_steps(entry.record), series.speed()
    share = _epoch_share(entry.record)
    if total is None and share and end.step:
        total = end.step / share
    left = max(0.0, total - end.step) if total is not None and end.step is not None else None
    eta = left / speed if left is not None and speed and not entry.record.ended else None
    return {"step": end.step, "total": round(total) if total is not None else None, "speed": speed, "eta": eta}


def _epoch_share(record):
    """Return the share done by epochs (0 to 1), if the config tells `epochs` and the run logs `epoch` beyond the first."""
    epochs, epoch = record.config.get("epochs"), layout.number(record.summary.get("epoch"))
    if not isinstance(epochs, (int, float)) or isinstance(epochs, bool) or not epoch or not 0 < epoch < epochs:
        return None
    return min(1.0, (epoch + 0.5) / epochs)     # somewhere within the epoch it logged
