"""Lines of JSON that other loggers write: detectron2's metrics.json, mmengine's scalars.json, mmcv's
*.log.json, one's own.

A line is a row if it is an object with a number and one of STEP_KEYS; without one it belongs to a data set.
Objects in it are flattened with "/", text is left out, but "mode": "train" and its like stand before the
names.
"""

import json
import math
from bisect import bisect

from runicorn.foreign_text import COUNTERS, DEPTH, EPOCH_KEY, STEP_KEYS, is_count
from runicorn.layout import number
from runicorn.metrics.kinds.names import Names
from runicorn.metrics.kinds.row_steps import Steps, whole
from runicorn.metrics.kinds.stamps import ISO, moment, naive, plausible, seconds
from runicorn.metrics.kinds.text_lines import LineReader
from runicorn.metrics.parse import Parser, Part, Template

TIMES = ("time", "timestamp", "ts", "_timestamp", "wall_time", "datetime", "date", "created_at")
PHASES = ("mode", "phase", "split", "stage", "subset")
TRAINING = {"train", "training"}
EVALUATION = {"val", "valid", "validation", "eval", "evaluation", "test", "dev"}
WORDS = ("NaN", "Infinity", "-Infinity")            # as text they are numbers all the same


def row(entry, roles_of):
    """Return (ts, step, {metric: number}) of an object (dict), or None if it is no row; ts or step may be
    None, where it has none.
    roles_of: as `roles`."""
    entry_roles = roles_of(entry)
    if entry_roles is None:
        return None
    time_name, step_name, prefix = entry_roles
    values = dict(leaves(entry))
    ts, step = values.pop(time_name, None), values.pop(step_name, None)
    data = {name if name in COUNTERS else prefix + name: value for name, value in values.items()
            if type(value) is not str or value in WORDS}
    return (seconds(ts) if type(ts) is str else ts if ts is None else moment(ts),
            step if step is None else number(step), data)


def roles(entry):
    """Return (key of the time or None, key of the step or None if there is an epoch alone, what stands before
    the names), or None."""
    step_key = next((key for key in STEP_KEYS if is_count(entry.get(key))), None)
    has_epoch = is_count(entry.get(EPOCH_KEY))
    if step_key is None and not has_epoch:
        return None
    phase = next((entry[key] for key in PHASES if type(entry.get(key)) is str), "")
    is_evaluation = phase.lower() in EVALUATION
    if step_key == "iter" and has_epoch and is_evaluation:
        step_key = None                                     # mmcv: the number of batches it was evaluated on
    return time_key(entry), step_key, f"{phase}/" if is_evaluation or phase.lower() in TRAINING else ""


def time_key(entry):
    """Return the key of the time in an object (dict), or None."""
    return next((key for key in TIMES if _is_time(entry.get(key))), None)


def _is_time(value):
    if type(value) is str:
        return ISO.match(value) is not None and seconds(value) is not None
    return type(value) in (int, float) and moment(value) is not None


def leaves(entry, depth=DEPTH, prefix=""):
    """Yield (name, value) of the numbers and texts in an object; what is deeper than `depth` is left out."""
    for key, value in entry.items():
        if type(value) is dict:
            if depth:
                yield from leaves(value, depth - 1, f"{prefix}{key}/")
        elif type(value) in (int, float, str):
            yield prefix + key, value


class _Template(Template):
    def __init__(self, line, roles_of):
        self._roles_of = roles_of
        super().__init__(line)

    def roles(self, line, skeleton):
        """Return the places of the time, the step and the metrics, as the real `line` (bytes) tells which is
        which."""
        entry_roles = self._roles_of(json.loads(line))
        if entry_roles is None:
            raise ValueError("not a row")
        time_name, step_name, prefix = entry_roles
        places = dict(leaves(skeleton))
        ts, step = (places.get(name) if name else None for name in (time_name, step_name))
        if type(ts) is str or any(position in WORDS for position in places.values()):
            raise ValueError("a number or a time in words")
        return (ts, step, {name if name in COUNTERS else prefix + name: position
                           for name, position in places.items()
                           if name not in (time_name, step_name) and type(position) is int})

    def read(self, block):
        """Return as Template does, or None if what seemed to be times are none."""
        batches = super().read(block)
        if batches is None or batches[0] is None or plausible(min(batches[0])) and plausible(max(batches[0])):
            return batches
        ts = list(map(moment, batches[0]))
        return None if None in ts else (ts, *batches[1:])


class _Parser(Parser):
    def __init__(self, row_of, lines, roles_of):
        super().__init__(row_of, lines)
        self._roles_of = roles_of

    def template(self, line):
        return _Template(line, self._roles_of)

    def clean(self, ts, step, data, line_number):
        """Return the row with NaN for a time or step it does not have."""
        return (math.nan if ts is None else ts, math.nan if step is None else step,
                {name: number(value) for name, value in data.items() if number(value) is not None})


class Reader(LineReader):
    """Reads one file from its beginning, or from where `state` was told."""

    kind = "jsonl"

    def load(self, own):
        """Take over what `save` told (dict), or begin (None)."""
        own = own or {}
        self._parser = _Parser(self._row, own.get("lines", 0), self.roles)
        self._steps = Steps(own.get("steps"))
        self._ts, self._has_times, self._has_naive = (own.get("ts", 0.0), own.get("times", False),
                                                      own.get("naive", False))
        self._names = Names(own.get("names", ()))
        # Of the last training row that counts iterations beside epochs
        self._epoch = own.get("epoch")

    def save(self):
        """Return what is needed to go on."""
        return {"lines": self._parser.lines, "steps": self._steps.state(), "ts": self._ts,
                "times": self._has_times, "naive": self._has_naive, "epoch": self._epoch,
                "names": list(self._names)}

    def facts(self):
        """Return what else is known of the run (dict)."""
        return self._steps.facts(self._has_times, self._has_naive)

    def parse(self, body):
        """Return the Parts of `body` (bytes): complete lines."""
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n")
        parts = [part for part in self._parser.parse(body) if part.names]
        skipped = self._parser.take_skipped()
        if skipped:
            self.skip("no JSON", skipped)
        if not parts:
            return parts
        parts = self._timed(self.numbered([part._replace(steps=_plain(part.steps)) for part in parts]))
        epochs = [part.columns[part.names.index(EPOCH_KEY)] if EPOCH_KEY in part.names else None
                  for part in parts]
        parts = self._at_iterations(parts, epochs)
        alone = [part.steps is None or all(step != step for step in part.steps) for part in parts]
        parts = self._steps.settle(parts, epochs)
        parts = [_without(part, EPOCH_KEY) if is_alone else part for part, is_alone in zip(parts, alone)]
        return [part for part in map(self._admitted, parts) if part.names]

    # -- what a rule of one's own says otherwise

    roles, times = staticmethod(roles), TIMES

    def numbered(self, parts):
        """Return Parts whose rows have a step where nothing in the line tells one."""
        return parts

    def is_metric(self, name):
        """Whether the numbers of a name are a metric."""
        return True

    # --

    def _admitted(self, part):
        """Return a Part of metrics alone, without the names beyond the limits."""
        part = _chosen(part, [position for position, name in enumerate(part.names) if self.is_metric(name)])
        places = [position for position, name in enumerate(part.names) if self._names.admit(name)]
        if len(places) == len(part.names):
            return part
        self.skip("values of too many names", len(part.rows) * (len(part.names) - len(places)))
        return _chosen(part, places)

    def _row(self, entry):
        fields = row(entry, self.roles)
        if fields is not None and not self._has_naive and fields[0] is not None:
            self._has_naive = any(type(entry.get(key)) is str and naive(entry[key].encode("utf-8", "replace"))
                                  for key in self.times)
        return fields

    def _timed(self, parts):
        """Put the last time before it in a row that has none."""
        if all(part.ts is None for part in parts):
            return [part._replace(ts=[self._ts] * len(part.rows)) for part in parts]
        if any(part.ts is None or not math.isfinite(sum(part.ts)) for part in parts):
            parts = [part._replace(ts=[math.nan] * len(part.rows) if part.ts is None else part.ts)
                     for part in parts]
            rows = [(line, position, index) for position, part in enumerate(parts)
                    for index, line in enumerate(part.rows)]
            for _, position, index in sorted(rows):
                ts = parts[position].ts
                if ts[index] == ts[index]:
                    self._ts, self._has_times = ts[index], True
                else:
                    ts[index] = self._ts
            return parts
        self._ts, self._has_times = max((part.rows[-1], part.ts[-1]) for part in parts)[1], True
        return parts

    def _at_iterations(self, parts, epochs):
        """Take the step of an evaluation for the epoch it is in a file (mmengine) whose training rows tell
        iterations beside epochs."""
        training = [(line, epoch) for part, column in zip(parts, epochs)
                    if column is not None and "iter" in part.names for line, epoch in zip(part.rows, column)]
        if not training and self._epoch is None:
            return parts
        training.sort()
        lines, before = [line for line, _ in training], self._epoch
        settled = []
        for part, column in zip(parts, epochs):
            if column is None and "iter" not in part.names and part.steps is not None:
                passed = [training[position - 1][1] if position else before
                          for position in (bisect(lines, line) for line in part.rows)]
                part = part._replace(steps=[math.nan if epoch is not None and step <= epoch else step
                                            for step, epoch in zip(part.steps, passed)])
            settled.append(part)
        if training:
            self._epoch = training[-1][1]
        return settled


def _plain(steps):
    return steps if steps is None or set(map(type, steps)) == {int} else list(map(whole, steps))


def _without(part, name):
    return _chosen(part, [position for position, metric in enumerate(part.names) if metric != name])


def _chosen(part, places):
    """Return a Part of the metrics at `places` alone."""
    if len(places) == len(part.names):
        return part
    columns = part.columns
    names = tuple(part.names[index] for index in places)
    return Part(names, part.rows, part.ts, part.steps, [columns[index] for index in places])
