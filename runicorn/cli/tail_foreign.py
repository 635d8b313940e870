"""`runicorn tail` of a run that another logger writes: its metrics and its text files as they grow. Not in
the server copy."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from runicorn import foreign
from runicorn.cli import terminal
from runicorn.layout import ends_key, home_dir, number, only
from runicorn.metrics.foreign_files import ForeignFiles
from runicorn.metrics.series import Series
from runicorn.rule_book import RuleBook

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

METRICS_SECONDS = 1.0       # between two lines of metrics
LOGS = (".log", ".out", ".txt")
SHOWN = 20                  # metrics of a line


def find(roots: list[Any], tail: str, growing: Callable[..., Any],
         lines: int = 20) -> tuple[str, ForeignTail] | None:
    """Return (title (str), ForeignTail) of the run `tail` among `roots` [(name, folder), ...], None where
    there is none.

    tail: a folder of this machine, which is the run or whose newest run is meant, an id or the end of
    connection:path, or None: the newest; growing: function(path) that reads a growing text file; lines: of
    each log to begin with. Raises AmbiguousError.
    """
    is_folder = tail and os.path.isdir(os.path.expanduser(tail))
    roots = [("local", os.path.abspath(os.path.expanduser(tail)))] if is_folder else roots
    runs, rules_of = _runs(roots)
    if tail and not is_folder:
        runs = {key: run for key, run in runs.items() if ends_key(key, tail)}
        key = only(list(runs), tail) if runs else None
    else:
        key = max(runs, key=lambda key: (bool(is_folder) and runs[key].path == ".",
                                         max(file[2] for file in runs[key].files)), default=None)
    if key is None:
        return None
    run = runs[key]
    kinds = ", ".join(foreign.NAMES[kind] for kind in run.kinds)
    return (terminal.clean(f"{run.path if run.path != '.' else run.folder}  ({kinds})"),
            ForeignTail(run, growing, lines, rules_of[key]))


def place(roots, tail):
    """Return (folder of the root (str), path of the run in it) of the run `tail` among `roots`, as for
    `find`; None where there is none. Raises AmbiguousError."""
    runs, _ = _runs(roots)
    fitting = [key for key in runs if ends_key(key, tail)]
    if not fitting:
        return None
    name, _, path = only(fitting, tail).partition(":")
    return next(os.fspath(root) for of, root in roots if of == name), path


def _runs(roots):
    """Return ({connection:path: foreign.Run}, {the same: foreign_rules.Rules or None}) of what is below
    `roots`."""
    book = RuleBook(home_dir())
    listed = [(name, run, rules) for name, root in roots for rules in [book.of_folder(root)]
              for run in foreign.find(os.fspath(root), Counter(), rules=rules)]
    return ({f"{name}:{run.path}": run for name, run, _ in listed},
            {f"{name}:{run.path}": rules for name, run, rules in listed})


class ForeignTail:
    """The log and the metrics of one run as they grow."""

    moving = ""                 # nothing of an unfinished line: several files may grow

    def __init__(self, run, growing, lines, rules):
        self._lines = lines
        self._series = Series(run.folder, None,
                              ForeignFiles(run.path, run.kinds, system=False, rules=lambda: rules))
        self._logs = [growing(os.path.join(run.folder, file[0]))
                      for file in run.files if file[0].endswith(LOGS)]
        self._told_at, self._fresh = float("-inf"), False

    def ended(self) -> str | None:
        """Return how the run ended, for people, or None while its files do not say."""
        facts = self._series.facts()
        code = number(facts.get("exit_code"))
        if code or not (facts.get("finished") or code == 0):
            return f"— failed: exit code {code:.0f}" if code else None
        return "— finished"

    def one_pass(self, now: float) -> list[str]:
        """Return the lines (list of str) to print now: log lines as they came, at most one line of metrics a
        second."""
        lines = []
        for log in self._logs:
            came = [line.decode("utf-8", "replace") for line in log.read()]
            lines += came if self._lines is None else came[-self._lines:] if self._lines else []
        self._lines = None
        self._fresh |= self._series.refresh()
        if self._fresh and now - self._told_at >= METRICS_SECONDS:
            self._told_at = now
            lines += self.metrics()
        return lines

    def unfetched(self) -> list[Any]:
        """Return []: all of its files are here."""
        return []

    def metrics(self) -> list[str]:
        """Return the line of the last value of each metric, if any came since the last call."""
        if not self._fresh:
            return []
        self._fresh = False
        metrics = list(self._series.metrics().items())
        values = "  ".join(f"{terminal.clean(name)}={terminal.number_text(facts['last'])}"
                           for name, facts in metrics[:SHOWN])
        more = f"  and {len(metrics) - SHOWN} more" if len(metrics) > SHOWN else ""
        return [f"· step {self._series.last_step}  {values}{more}"] if metrics else []
