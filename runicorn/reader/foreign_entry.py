"""Another logger's run as the list and its page show it: what ours tell in small files is taken from its
columns."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from runicorn import foreign, layout
from runicorn.foreign import BESIDE, LOGS
from runicorn.metrics import foreign_files
from runicorn.metrics.foreign_files import ForeignFiles
from runicorn.metrics.series import Series
from runicorn.reader.glances import NOTHING, Reading
from runicorn.reader.liveness import judge
from runicorn.reader.records import KEPT_NOTE, KEPT_TAGS
from runicorn.reader.run_entry import Entry
from runicorn.surrogates import visible

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from runicorn.reader.liveness import Verdict
    from runicorn.reader.quick_stats import End, Spark

NAME = 200                  # characters of a run's name
BEGINNING = 7               # bytes of a W&B file before its first record
WAITS = ("W&B has written nothing yet, which it does when some 10 KB are full or the run ends: "
         "it may be running")


# What its logger tells of where it ran and of what, shown as the environment
ENVIRONMENT = ("entity", "project", "sweep_id", "program", "git", "os", "python", "executable", "cpu_count",
               "gpu", "gpu_count", "texts", "counts", "restarts")


class Labels(NamedTuple):
    """See Entry.labels."""

    user: str | None
    host: str | None
    group: str | None
    job_type: str | None
    tags: tuple
    note: str


class ForeignEntry(Entry):
    """Another logger's run. What is read of its files is kept until they grow."""

    __slots__ = ("_reading", "_files_of", "_rules")

    def __init__(self, key, members, before=None):
        super().__init__(key, members, before)
        self._rules = self.source.rules
        is_same = (isinstance(before, ForeignEntry)
                   and (before.source, before.record.path) == (self.source, self.record.path)
                   and (before._rules == self._rules))
        self._reading = before._reading if is_same else Reading()
        self._files_of = None

    def new_series(self, columns: Path | None, system: bool = True) -> Series:
        """Return a Series of the run that keeps its columns in the folder `columns`, or nowhere for None.
        system: whether samples of the machine are wanted, too."""
        return Series(self.folder, columns, self._files(system))

    def _files(self, system):
        listed = None if self.source.local else functools.partial(self.source.places, self.record.path)
        return ForeignFiles(self.record.path, self.record.kinds, system, listed, lambda: self.source.rules)

    def metric_files(self):
        return self._files(False)(os.fspath(self.folder))

    def slots(self):
        self._files_of = self._files_of or self._files(False)
        self._files_of(os.fspath(self.folder))
        return {name: ((0, number), self._files_of.maker(name, kind))
                for name, (number, kind) in self._files_of.numbers.items()}

    def _beside(self, sizes):
        """Return what the files of BESIDE that lie in the run's folder, of `sizes`, tell of how it was
        configured (dict)."""
        files = {}
        for name in [name for name in reversed(BESIDE) if sizes.get(name)]:
            files.update(foreign_files.config(os.path.join(self.folder,
                                                           self.source.place(self.record.path, name))))
        return files

    def _look(self, sizes=None):
        """Return the Glance of the run; read again when its files grew, now or, where answers have waited
        enough, behind them."""
        sizes, glances = sizes or self.sizes(), self.source.glances
        if not self._reading.is_of(sizes):
            if glances.may_wait():
                began = time.monotonic()
                self.look_closely(sizes)
                glances.spent(time.monotonic() - began)
            if not self._reading.is_of(sizes):
                glances.want(self)
        return self._glance

    @property
    def _glance(self):
        """What was read of it so far (Glance)."""
        return self._reading.glance or NOTHING

    def look_closely(self, sizes: dict[str, int] | None = None) -> None:
        """Read what is new of it, as much as an answer waits for one run alone."""
        self._read(sizes or self.sizes(), self.source.glances.seconds)

    def read_on(self, seconds):
        """Read on for `seconds`; return whether all of it is read then."""
        sizes = self.sizes()
        self._read(sizes, seconds)
        return self._glance.whole

    def _read(self, sizes, seconds):
        self._reading.go_on(sizes, lambda: self.new_series(self.source.columns, system=False), self._beside,
                            seconds)
        self.source.know_gap(self.record.path, self._glance.end.gap)

    @property
    def unread(self):
        """Whether an answer did without what its files tell, because they are still to be read."""
        return self.source.glances.waits(self)

    def sizes(self):
        """Return {name: bytes} of the run's files here."""
        return self.source.foreign_sizes(self.record.path)

    def logs(self, sizes):
        """Return [(name, number, 0)] of the text files that are its log, by name."""
        names = [name for name in sizes if name.endswith(LOGS) or self.source.rules.kind_of(foreign.below(
            foreign.folder_of(self.record.path), name), None) == "log"]
        return [(name, number, 0) for number, name in enumerate(sorted(names), 1)]

    def duration(self, end: End | None = None) -> float | None:
        """Return the seconds it has been logging, by its own clock (float), or None where its files tell no
        times."""
        return super().duration(end) or None

    def error(self) -> tuple[Any, Any]:
        """Return (None, None): what can't be read of it is counted on its page."""
        return None, None

    def end(self, sizes: dict[str, int] | None = None) -> End:
        """Return the quick_stats.End of the run."""
        return self._look(sizes).end

    def learn_step(self, step):
        """Do nothing: the step is that of its columns already."""

    @property
    def summary(self) -> dict[str, float]:
        """The last value of each metric (dict)."""
        return self._look().values

    @property
    def known_summary(self) -> dict[str, float]:
        """The same, {} before anybody looked at the run."""
        return self._glance.values

    def missed(self, summary, sizes=None):
        """Return the last values that `summary` does not tell (dict)."""
        return {name: value for name, value in self.summary.items() if name not in summary}

    def glanced(self, metric: str, sizes: dict[str, int]) -> bool:
        """Whether `spark` of the metric would read nothing."""
        return self._reading.is_of(sizes)

    def spark(self, metric: str, sizes: dict[str, int]) -> Spark:
        """Return the quick_stats.Spark of a metric, or None."""
        return self._look(sizes).sparks.get(metric)

    def last_spark(self, metric):
        """Return the quick_stats.Spark of a metric as it was when last looked at, or None; reads nothing."""
        return self._glance.sparks.get(metric)

    @property
    def config(self) -> dict[str, Any]:
        """What its files tell of how it was configured, as far as somebody looked (dict of plain values by
        joined names)."""
        return self._glance.config

    @property
    def name(self):
        """What its logger calls it, as far as somebody looked, else its folder (str)."""
        name = self._glance.facts.get("name")
        return name[:NAME] if isinstance(name, str) and name.strip() else self.record.name

    @property
    def labels(self):
        """What its logger tells of that as far as somebody looked, else what its files do (Labels)."""
        facts, record = self._glance.facts, self.record
        plain = (_said(facts.get(name)) or getattr(record, name)
                 for name in ("user", "host", "group", "job_type"))
        tags = tuple(tag for tag in map(_said, (facts.get("tags") or ())[:KEPT_TAGS]) if tag)
        return Labels(*plain, tags, _said(facts.get("notes"), KEPT_NOTE) or record.note)

    @property
    def defined(self) -> dict[str, dict[str, Any]]:
        """What define_metric said of its metrics, as far as somebody looked, in the form of ours (dict)."""
        goals, entries = {"minimize": "min", "maximize": "max"}, {}
        for definition in self._glance.facts.get("definitions") or ():
            entries[definition["name"]] = {**({"summary": ",".join(definition["summary"])}
                                              if definition.get("summary") else {}),
                                           **({"goal": goals[definition["goal"]]}
                                              if definition.get("goal") in goals else {}),
                                           **({"step_metric": definition["step_metric"]}
                                              if definition.get("step_metric") else {})}
        return entries

    @property
    def words(self) -> str:
        """One lower-case text that holds all its words but the user's own."""
        labels = self.labels
        own = (self.name, _said(self._glance.facts.get("project")), *labels.tags, *labels[:4], labels.note)
        return "\n".join([super().words, *filter(None, own)]).lower()

    def total(self, step):
        """Return how many steps it is to take, if its files say so and it is not past that at `step`, else
        None."""
        steps = layout.number(self._glance.facts.get("steps"))
        return steps if steps and (step is None or step <= steps) else None

    def small(self):
        """Return what stands in for the small JSON files of a run of ours."""
        glance = self._look()
        meta = {"config": glance.facts.get("config", {}), "kinds": list(self.record.kinds), **{
            name: glance.facts[name] for name in ENVIRONMENT if name in glance.facts}}
        return {layout.META: meta, layout.STATUS: {}, layout.SUMMARY: dict(glance.values)}

    def state(self) -> str:
        """Return the derived state's name, without its reason."""
        return self.verdict().state

    def verdict(self) -> Verdict:
        """Return the liveness.Verdict on the run: what its files tell of its end, else whether they grow."""
        facts = self._glance.facts
        code = facts.get("exit_code")
        if code == 0 or code is None and facts.get("finished"):
            return judge({"status": "finished"}, None)
        if isinstance(code, int):
            return judge({"status": "failed", "exit_code": code}, None)
        verdict = self.source.verdict(self.record)
        return verdict._replace(code="wandb_waits", text=WAITS) if self._waits() else verdict

    def _waits(self):
        """Whether W&B has written nothing but the beginning of its file, which it does when some 10 KB are
        full or the run ends."""
        sizes = [size for name, size in (self._glance.sizes or {}).items() if name.endswith(".wandb")]
        return bool(sizes) and max(sizes) <= BEGINNING

    def here(self):
        """Whether all files of the run are on this machine."""
        return self.source.local or self.source.complete(self.record.path)

    def logged(self, to_end=True):
        """Whether those with its metrics are."""
        return self.source.local or self.source.complete(self.record.path, to_end=to_end)


def _said(value, most=NAME):
    """Return a text that a logger wrote, cut to `most` characters, or None of anything else or an empty
    one."""
    return visible(value[:most]) if isinstance(value, str) and value.strip() else None
