"""What `define_metric` says of metrics: which of their values the summary keeps, and by which other metric
they are drawn."""

import re
from collections import namedtuple

from runicorn.layout import best_rule, definition_of, number
from runicorn.writer.values import describe, key_text, texts

WAYS = ("min", "max", "mean", "first", "last", "best")
GOALS = {"minimize": "min", "maximize": "max", "min": "min", "max": "max"}
WORDS = 20                  # of one `summary`
PLANS_KEPT = 10_000         # metrics whose definition is looked up once

Metric = namedtuple("Metric", "name")       # what define_metric returns: the name (str) it was called with


def _words(summary):
    return re.findall("[^,\\s]+", ",".join(texts(summary)).lower())[:WORDS]


def _checked(entry):
    """Return what is right in an entry that was read from a file."""
    kinds = {"summary": str, "goal": str, "step_metric": str, "step_sync": bool, "hidden": bool}
    return {key: value for key, value in entry.items() if isinstance(value, kinds.get(key, ()))}


class Definitions:
    """By name or pattern ("val/*"). `entries`: {name: {"summary": "min,max", "goal", "step_metric",
    "step_sync", "hidden"}}, as in meta.json; `means`: {metric: [count, sum]}, for an attempt that goes on
    with them."""

    def __init__(self, entries=(), means=()):
        self.entries = {name: _checked(entry)
                        for name, entry in dict(entries).items() if isinstance(entry, dict)}
        self.means = {name: [number(value) for value in mean]
                      for name, mean in dict(means).items() if isinstance(mean, list)}
        self._plans = {}

    def define(self, name, step_metric=None, step_sync=None, hidden=None, summary=None, goal=None,
               overwrite=None):
        """Add to what is known of `name` (str); return the list of what was not understood, as text."""
        entry = {} if overwrite is True else dict(self.entries.get(name, {}))
        if summary is None and isinstance(step_metric, str) and {*_words(step_metric)} <= {*WAYS}:
            summary, step_metric = step_metric, None        # define_metric("loss", "min")
        words = _words(summary)
        unknown = [f"summary={word!r}" for word in words if word not in (*WAYS, "copy", "none")]
        ways = [verb for verb in WAYS if verb in words or verb in entry.get("summary", "").split(",")]
        if "none" in words:
            entry.pop("summary", None)
        elif ways:
            entry["summary"] = ",".join(ways)
        if goal is not None:
            best = GOALS.get(key_text(goal).lower())
            unknown += [] if best else [f"goal={describe(goal)!r}"]
            entry.update({"goal": best} if best else {})
        if step_metric is not None:
            entry["step_metric"] = key_text(not isinstance(step_metric, str)
                                            and getattr(step_metric, "name", "") or step_metric)
        entry.update({key: value for key, value in (("step_sync", step_sync), ("hidden", hidden))
                      if isinstance(value, bool)})
        self.entries[name] = entry
        self._plans.clear()
        return unknown

    def take(self, data, last):
        """Keep in `last` (the metrics' last values) what is defined for the metrics of a row; return the last
        values of the step metrics that the row lacks (dict)."""
        lacking = {}
        for metric, value in data.items():
            plan = self._plans.get(metric)
            if plan is None:
                plan = self._plan(metric)
            step, ways = plan
            if step in last and step not in data:
                lacking[step] = last[step]
            if ways and type(value) in (int, float) and value == value:
                for key, rule in ways:
                    last[key] = self._kept(key, rule, last.get(key), value)
        return lacking

    def _plan(self, metric):
        name = key_text(metric)
        entry = definition_of(self.entries, name)
        rule = best_rule(name, entry)
        ways = [(f"{name}.{word}", rule if word == "best" else word)
                for word in entry.get("summary", "").split(",") if word]
        if len(self._plans) >= PLANS_KEPT:
            self._plans.clear()
        plan = self._plans[metric] = ((entry.get("step_metric") if entry.get("step_sync", True) else None),
                                      ways)
        return plan

    def _kept(self, key, rule, before, value):
        if rule == "mean":
            mean = self.means.setdefault(key[:-len(".mean")], [0, 0.0])
            mean[:] = mean[0] + 1, mean[1] + number(value)
            return mean[1] / mean[0]
        # "Infinity", read from summary.json
        before = before if type(before) in (int, float) else number(before)
        if before is None or rule == "last":
            return value
        return before if rule == "first" else min(before, value) if rule == "min" else max(before, value)
