"""Every run on this machine, local roots and mirrors as one: find it, list it, open it. Changes
nothing but what is in memory."""

from __future__ import annotations

import collections
import hashlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import layout, local_disk, local_names, rule_book
from runicorn.metrics.series import Series
from runicorn.reader import bounded
from runicorn.reader.facets import Facets
from runicorn.reader.first_look import digest
from runicorn.reader.foreign_entry import ForeignEntry
from runicorn.reader.glances import Glances
from runicorn.reader.liveness import BEAT, Verdict
from runicorn.reader.local_root import LocalRoot
from runicorn.reader.mirror_source import MirrorSource
from runicorn.reader.open_series import COLUMNS, OpenSeries
from runicorn.reader.run_entry import Entry, Member, attempts, freshness, newest, progress
from runicorn.reader.run_facts import metric_facts, verified_facts, with_best
from runicorn.reader.run_list import View, names_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runicorn.settings import Overlay

FIRST_SECONDS = 3.0         # an answer waits so long for the first look at the roots


class Catalog:
    """The index of all roots, in memory. `refresh` and `look` are called by one thread;
    everything else by any."""

    def __init__(self, roots: list[Any], mirrors: Callable[..., Any] | list[Any] | tuple[Any, ...] = (),
                 home: Path | None = None, overlay: Overlay | None = None, clock: Any = time.monotonic,
                 preferences: Any = dict, ring: Callable[..., Any] | None = None, columns: int = COLUMNS,
                 local: Any = LocalRoot) -> None:
        """roots: [(slug, folder)]; mirrors: [(slug, folder[, name])] or a function that returns it;
        overlay: settings.Overlay or None; clock: monotonic seconds; preferences: function returning
        {"main_metric", "best_rule", …}; ring: function(topic), called when something was parsed in the
        background; None parses before answering; columns: bytes that the column cache on disk may take;
        local: what reads a root of this machine."""
        self.home = Path(home) if home else layout.home_dir()
        self.overlay, self.preferences, self._clock, self._ring = overlay, preferences, clock, ring
        self._series = OpenSeries(self.home / "columns", columns, ring, clock)
        self._mirrors = mirrors if callable(mirrors) else lambda: mirrors
        self._rules = rule_book.RuleBook(self.home)
        self.sources = {slug: local(slug, folder, self._kept(folder)) for slug, folder in roots}
        self.glances = Glances(ring and self._glanced)
        for source in self.sources.values():
            source.read_by(self.glances)
        self._begun = set()                 # slugs of sources that took what was kept
        self._by_key, self._aliases, self._versions = {}, {}, None
        self._other_keys = {}               # key -> its aliases
        self._facts = {}                    # what was counted over all runs, until something changes
        self.some = threading.Event()       # set once there is something to show, or nothing to wait for
        self.ready = threading.Event()      # set once the first look has come to all runs
        self._lock = threading.Lock()
        self.looked_at = clock()            # when all open runs were looked at last
        # whether an answer left out sparklines for lack of time; see `owe`
        self.owes = False

    def local(self) -> list[Any]:
        """Return the local roots (list of local_root.LocalRoot)."""
        return [source for source in list(self.sources.values()) if source.local]

    def unreadable(self) -> int:
        """Return how many folders of the local roots a command could not look into (int)."""
        return sum(source.passed["unreadable"] for source in self.local())

    def others_passed(self) -> dict[str, Any]:
        """Return {reason: count} of what the search for other loggers' runs below the
        local roots passed over."""
        counts = collections.Counter()
        for source in self.local():
            counts.update(source.others_passed)
        return dict(sorted(counts.items()))

    def beating(self) -> list[str]:
        """Return the keys of the runs that are alive or may be (list of str)."""
        return [entry.key for entry in list(self._by_key.values())
                if not entry.record.ended and entry.state() != "lost"]

    def _kept(self, folder):
        encoded = os.path.abspath(folder).encode("utf-8", "surrogateescape")
        return self.home / "index" / hashlib.sha256(encoded).hexdigest()[:16]

    # -- keeping up ------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Look for new, changed and vanished runs; returns whether the list changed."""
        now = self._clock()
        self._follow()
        self._begin()
        for source in list(self.sources.values()):
            source.refresh(now)
        changed = self._merge()
        self._shown()
        return changed

    def follow_mirrors(self) -> bool:
        """Take the indexes of mirrors that were written since last read; returns whether there were any.
        Costs one stat each."""
        moved = [source for source in list(self.sources.values()) if not source.local and source.is_behind()]
        for source in moved:
            source.refresh(self._clock())
        if moved:
            self._merge()
        return bool(moved)

    def begin(self) -> None:
        """Take what the last start kept, or where there is nothing, what a first look tells: enough for a
        list. `refresh` tells all."""
        self._follow()
        self._begin(look=True)
        self._merge()
        if self._by_key:
            self._shown()

    def _shown(self):
        self.some.set()
        self.ready.set()

    def _show_newest(self):
        self._merge()
        self.some.set()

    def _follow(self):
        """Bring the sources in line with the mirrors there are."""
        mirrors = {slug: (folder, *name) for slug, folder, *name in self._mirrors()}
        for slug in [slug for slug, source in self.sources.items()
                     if not source.local and slug not in mirrors]:
            del self.sources[slug]
            self._begun.discard(slug)
        for slug, (folder, *name) in mirrors.items():
            if slug not in self.sources:
                self.sources[slug] = MirrorSource(slug, folder, kept_path=self._kept(folder))
                self.sources[slug].read_by(self.glances)
            self.sources[slug].rename(name[0] if name else slug)
        for slug, source in self.sources.items():
            source.follow_rules(self._rules.of_folder(source.folder) if source.local
                                else self._rules.of_mirror(slug))

    def _begin(self, look=False):
        """Take what is known of new sources, so that there is an answer before anything is scanned."""
        new = [source for slug, source in self.sources.items() if slug not in self._begun]
        # mirrors have an index, which is quick
        for source in sorted(new, key=lambda source: source.local):
            source.begin(look, self._show_newest)
            self._begun.add(source.slug)

    def look(self, keys: list[str] | set[str] | None = None) -> tuple[set[str], bool]:
        """Look at all open runs, or at those of `keys`; returns (set of keys that grew,
        whether the list changed)."""
        now, grown, changed = self._clock(), set(), False
        paths = None if keys is None else self._paths(keys)
        self.looked_at = now if keys is None else self.looked_at
        for source in list(self.sources.values()):
            if paths is None or source.slug in paths:
                more, moved = source.look(now, None if paths is None else paths[source.slug])
                grown |= {local_names.run_key(source.slug, path) for path in more}
                changed |= bool(moved)
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
            sources = list(self.sources.values())
            # the source that is up is read
            versions = [(source.slug, source.version, source.up) for source in sources]
            changed = {local_names.run_key(source.slug, path) for source in sources
                       for path in _taken(source.dirty)}
            if versions == self._versions:
                return self._exchange(changed)
            groups = {}
            for source in sources:
                for record in list(source.records.values()):
                    groups.setdefault((record.id, record.created, record.host), []).append(
                        Member(source, record))
            entries, aliases = [], {}
            for members in groups.values():
                entries += self._joined(members, aliases)
            entries.sort(key=newest, reverse=True)         # what is equal is listed alike everywhere
            self._by_key = {entry.key: entry for entry in entries}
            self._aliases, self._versions, self._facts = aliases, versions, {}
            self._other_keys = {}
            for alias, key in aliases.items():
                self._other_keys.setdefault(key, []).append(alias)
            return True

    def _exchange(self, changed):
        """Put new Entries in the places of runs whose records changed."""
        for key in {self._aliases.get(key, key) for key in changed}:
            old = self._by_key.get(key)
            if old is None:
                continue
            members = [Member(member.source, member.source.records.get(member.record.path, member.record))
                       for member in old.members]
            fresh = self._by_key[key] = _entry(key, sorted(members, key=freshness, reverse=True), old)
            if fresh.record.tags != old.record.tags:
                self._facts.pop("facets", None)
            if not (fresh.record.config.keys() <= old.record.config.keys()
                    and fresh.record.summary.keys() <= old.record.summary.keys()):
                self._facts.pop("names", None)
        return bool(changed)

    def _joined(self, members, aliases):
        """Return the Entries for members that look alike: one in all, if they come
        through different connections."""
        record = members[0].record
        if (len({member.source.slug for member in members}) < len(members) or record.created is None
                or record.kinds):
            groups = [[member] for member in members]
        else:
            groups = [members]
        entries = []
        for group in groups:
            keys = [local_names.run_key(member.source.slug, member.record.path) for member in group]
            group.sort(key=freshness, reverse=True)
            aliases.update((key, keys[0]) for key in keys[1:])
            old = self._by_key.get(keys[0])
            same = (old is not None and [(m.source, m.record) for m in old.members]
                    == [(m.source, m.record) for m in group])
            entries.append(old if same else _entry(keys[0], group, old))
        return entries

    def save(self) -> None:
        """Keep what was found for the next start."""
        for source in list(self.sources.values()):
            source.save()

    def await_first_look(self, partial: bool = False) -> None:
        """Wait until the first look has come to all runs, or if `partial` to the newest
        ones; a few seconds at most."""
        (self.some if partial else self.ready).wait(FIRST_SECONDS)

    # -- finding ---------------------------------------------------------------------------------------------

    def aliases(self, key: str) -> list[str]:
        """Return every key of the run `key`, its own first (list of str)."""
        return [key, *self._other_keys.get(key, ())]

    def find(self, tail: str) -> str:
        """Return the key of the run that `tail` names: a key, an id or any unambiguous end of a key.

        Raises NotFoundError, AmbiguousError.
        """
        # an address kept from yesterday, opened while the viewer starts
        self.await_first_look(partial=True)
        if tail not in self._by_key:
            self.await_first_look()
        if tail in self._by_key:
            return tail
        if tail in self._aliases:
            return self._aliases[tail]
        return layout.only([key for key in self._by_key if layout.ends_key(key, tail)]
                           or self._elsewhere(tail), tail)

    def _elsewhere(self, key):
        """Return the keys with the id of `key` in the same place, where nothing has that key (any more), as a
        folder above was renamed; else those of the runs of that name."""
        slug, _, path = key.partition(":")
        ending = path[path.rfind("/"):]
        return [name for name in self._by_key
                if path.count("/") == 2 and name.startswith(f"{slug}:") and name.endswith(ending)
                ] or [name for name, entry in list(self._by_key.items()) if entry.name == key]

    def entry(self, tail: str) -> Entry:
        """Return the Entry of the run that `tail` names. Raises NotFoundError, AmbiguousError."""
        key = self.find(tail)           # may wait, and meanwhile the map is another
        return self._by_key[key]

    def keys_of(self, slug: str) -> list[str]:
        """Return the keys of the runs of other loggers of the root or mirror `slug` (list of str)."""
        return [entry.key for entry in list(self._by_key.values())
                if entry.source.slug == slug and entry.record.kinds]

    def folder(self, key: str) -> Path:
        """Return the run's folder on this machine (Path; of a mirror it may not exist yet)."""
        return self.entry(key).folder

    # -- states ----------------------------------------------------------------------------------------------

    def states(self) -> list[dict[str, Any]]:
        """Return [{"folder", "up", "runs": {path: the Verdict as a list}}] of the open runs of each
        source, for other processes."""
        return [{"folder": os.path.realpath(source.folder), "up": source.up,
                 "runs": {path: list(source.verdict(source.records[path]))
                          for path in list(source.pulses) if path in source.records}}
                for source in list(self.sources.values())]

    def known(self) -> list[dict[str, Any]]:
        """Read again what the open runs say of themselves; return [{"folder", "runs": a digest of
        their paths, of a local root that was looked through}] of each source, for another process that
        wants to know whether it would find the same."""
        for source in list(self.sources.values()):
            for path in list(source.pulses):
                source.reread(path)
        self._merge()
        return [{"folder": os.path.realpath(source.folder),
                 "runs": digest(source.records) if source.local and source.is_whole else None}
                for source in list(self.sources.values())]

    def believe(self, sources):
        """Take the states that a viewer tells, as `states` does. What is not well-formed is passed over."""
        for source in self.sources.values():
            source_told = next(
                (entry for entry in sources if entry.get("folder") == os.path.realpath(source.folder)), None)
            if source_told is not None:
                runs = source_told["runs"] if isinstance(source_told.get("runs"), dict) else {}
                verdicts = {path: Verdict.read(value) for path, value in runs.items()}
                source.believe(source_told.get("up") is True,
                               {path: verdict for path, verdict in verdicts.items() if verdict})
        self._merge()

    def undecided(self) -> int:
        """Return how many runs are neither alive nor lost yet, as far as anybody knows (int)."""
        return sum(entry.state() == "checking"
                   for entry in list(self._by_key.values()) if not entry.record.ended)

    def decide(self):
        """Look once more, a beat after the first look: what has not moved by now is lost."""
        for source in self.sources.values():
            source.hurry(BEAT)
        self.refresh()
        self.look()

    # -- the list --------------------------------------------------------------------------------------------

    def owe(self, sparklines: bool = True) -> None:
        """Say that an answer left out sparklines for lack of time, or that nobody waits for them any more."""
        self.owes = sparklines

    def view(self) -> View:
        """Return the run_list.View on all runs as they are now."""
        preferences = self.preferences()
        rules = preferences.get("best_rule") or {}
        runs = tuple(self._by_key.values())
        return View(runs, self._fact("names", lambda: names_of(runs)),
                    self.overlay.all() if self.overlay else {}, preferences.get("main_metric") or {},
                    lambda metric, run: rules[metric] if rules.get(metric) in ("min", "max")
                    else run.rule(metric))

    def _glanced(self):
        """Take notice that other loggers' runs were read behind the answers: there may be metrics nobody
        knew, and the list is news."""
        self._facts.pop("names", None)
        self.owes = True

    def _fact(self, name, count):
        fact = self._facts.get(name)
        if fact is None:
            fact = self._facts[name] = count()
        return fact

    def runs(self, filter: str = "", sort: str = "-started", offset: int = 0, limit: int | None = 100,
             **choice: Any) -> dict[str, Any]:
        """Return the answer of GET /api/runs without its news (dict). Raises FilterError, UsageError."""
        return self._view_for(filter, sort, choice.get("columns", ())).list(
            filter, sort, offset, limit, **choice)

    def chosen(self, filter=""):
        """Return the run_list.View, and the Entries (list) of the runs that fit a filter as the list shows
        them. Raises FilterError."""
        view = self._view_for(filter, "", ())
        return view, view.chosen(filter)

    def _view_for(self, filter, sort, columns):
        """Return the View that answers a question; what other loggers' runs have of what it
        asks for is read first."""
        view = self.view()
        if self._ring is None and view.asks_for_metrics(filter, sort, columns):
            for run in view.runs:
                # what a bare name means is told by the names that other loggers' runs have
                run.look_closely()
            self._facts.pop("names", None)
            view = self.view()
        return view

    def row(self, key: str) -> dict[str, Any]:
        """Return the Row of one run (dict)."""
        entry = self.entry(key)
        entry.look_closely()
        return self.view().row(entry, spark=True, deadline=float("inf"))

    @property
    def versions(self):
        """What differs once runs came or went (opaque)."""
        return self._versions

    def present(self, entry: Entry) -> Entry:
        """Return the Entry of a run as it is now."""
        return self._by_key.get(entry.key, entry)

    def facets(self, view: View, hidden: bool = False) -> Facets:
        """Return the facets.Facets of a view."""
        facets = self._fact("facets", dict)
        if facets.get("notes") != view.notes:        # the overlay was changed since
            facets.clear()
            facets["notes"] = view.notes
        if hidden not in facets:
            facets[hidden] = Facets(view, hidden)
        return facets[hidden]

    # -- one run ---------------------------------------------------------------------------------------------

    def run(self, key, most=None):
        """Return everything about one run but its points (dict; see the README, "HTTP API"). most: of so many
        metrics, and of the main one, the facts are told, and "metrics_left" says how many others there are.
        Raises NotFoundError, AmbiguousError."""
        entry = self.entry(key)
        entry.source.reread(entry.record.path)
        self._merge()
        entry = self.entry(key)
        entry.look_closely()
        small, series = self.small(entry.key), self.series(entry.key)
        meta, status, summary = (small[name] for name in layout.SMALL)
        config = meta.get("config")
        config = config if isinstance(config, dict) else {}
        if not series.behind:
            entry.learn_step(series.last_step)
        view = self.view()
        metrics = [{**metric_facts(name, facts, view.rule(name, entry)), **entry.definition(name)}
                   for name, facts in series.metrics(most, most and view.main_name(entry)).items()]
        row = view.row(entry, spark=bool(series.behind), deadline=float("inf"))
        if not series.behind:           # all is in memory: the file need not be searched for a sparkline
            row["main"] = with_best(row["main"], metrics)
            row["spark"] = row["main"] and series.spark(row["main"]["metric"], rank=series.first_rank) or None
        return {**row, "config": config, "summary": summary,
                "meta": {name: value for name, value in meta.items() if name != "config"},
                "status": status, "attempts": attempts(status, entry), "metrics": metrics,
                "metrics_left": series.count() - len(metrics) if most and len(metrics) >= most else 0,
                "progress": progress(entry, series, entry.end()), "ranks": list(series.ranks),
                "files_here": entry.here(), "path": local_disk.short(entry.folder),
                "remote_path": entry.source.remote_path(entry.record.path), "skipped": series.skipped,
                "behind": series.behind, **verified_facts(entry), "left_out": self._own_left_out(entry),
                "more_files": entry.source.beyond(entry.record.path)}

    def part(self, key, of, find="", offset=0, limit=500):
        """Return a bounded.page of one part of a run whose names hold `find`: [name, value] of its
        "config", "summary", "meta" or "status", or its "metrics" as `run` has them. Raises
        NotFoundError, AmbiguousError."""
        entry = self.entry(key)
        if of == "metrics":
            rule = self.view().rule
            return bounded.page(self.series(entry.key).metrics().items(), find, offset, limit,
                                short=lambda item: {**metric_facts(*item, rule(item[0], entry)),
                                                    **entry.definition(item[0])})
        small = self.small(entry.key)
        values = {"summary": small[layout.SUMMARY], "status": small[layout.STATUS],
                  "config": small[layout.META].get("config"),
                  "meta": {name: value for name, value in small[layout.META].items() if name != "config"}}[of]
        return bounded.page(bounded.pairs(values if isinstance(values, dict) else {}), find, offset, limit,
                            short=bounded.short_pair)

    def _own_left_out(self, entry):
        """Return {name: {"code", "text"}} of the run's own files, and its own folder (""), that
        its mirror does without."""
        return {name: why for name, why in entry.source.left_out(entry.record.path).items()
                if not name or entry.record.kinds or local_names.is_own(name)}

    def small(self, key: str) -> dict[str, Any]:
        """Return {file name: dict} of the run's small JSON files, from its folder, else from the index."""
        return self.entry(key).small()

    def series(self, key):
        """Return the run's Series, as far as it can be read at once; the rest is parsed behind,
        then the run's topic rings."""
        entry = self.entry(key)
        if entry.record.newer:
            return Series("")           # of no folder: what its lines mean is not known
        return self._series.of(entry)


# -- details -------------------------------------------------------------------------------------------------

def _taken(dirty):
    """Return the paths in `dirty` and empty it; another thread may add to it meanwhile."""
    return {dirty.pop() for _ in range(len(dirty))}


def _entry(key, members, before=None):
    """Return the Entry of a run, ours or another logger's."""
    return (ForeignEntry if members[0].record.kinds else Entry)(key, members, before)
