"""Rules of one's own: which text files are logs of a training though nothing else shows it, and what is what
in them (docs/foreign.md). Opens no file and tries no pattern itself; Python 3.6 is enough."""

import json
import math
import re

from runicorn.layout import is_like

STEPS, EPOCHS, TIMES = ("step",), ("epoch",), ("time", "ts")      # groups of a pattern that are no metrics
LINE = 4096                 # characters of a line that a pattern is tried on
# Files on which a rule may take too long before it is tried on no more, until it is set anew
SLOW = 3
DEPTH = 8                   # of objects in objects


class Rules:
    """The rules for the files below one root; false where there are none.

    A rule is a dict: of a text log {"pattern": a regular expression whose named groups are metrics, or
    `step`, `epoch`, `time`, or `name` and `value`}, of lines of JSON {"step", "time": names or "", "metrics":
    [names, * for anything; none: all numbers]}; "files": what the files are called ("train_*.txt"), or their
    paths below the folder that the rule was set for, "" for all that are named as logs, or as lines of JSON,
    are.
    """

    def __init__(self, rules=(), prefix="", search=None):
        """rules: checked (list of dicts); prefix: of the root below the folder that they were set for, "" or
        "a/b/"; search: function(patterns, lines) returning [(place of the line, place of the pattern, {group:
        text}), ...], None where that took too long."""
        self.rules, self.prefix, self._search, self._slow = tuple(rules), prefix, search, {}

    def __bool__(self):
        return bool(self.rules)

    def __eq__(self, other):
        return isinstance(other, Rules) and (self.rules, self.prefix) == (other.rules, other.prefix)

    __hash__ = None

    def of(self, path, kind):
        """Return the rules (list) for the file at `path` below the root, whose name speaks of `kind` (str, or
        None)."""
        return [rule for rule in self.rules if (self._is_named(rule, path) if rule["files"]
                                                else kind_of(rule) == kind)]

    def _is_named(self, rule, path):
        return _fits(rule["files"], self.prefix + path if "/" in rule["files"] else path.rpartition("/")[2])

    def kind_of(self, path, kind):
        """Return the kind of the file at `path` (str, or None): what a rule says that names it, else `kind`,
        of which its name speaks."""
        return next((kind_of(rule) for rule in self.rules if rule["files"] and self._is_named(rule, path)),
                    kind)

    def may_name(self, name):
        """Whether a rule may name a file that is called `name`, wherever it is."""
        return any(rule["files"] and _fits(rule["files"].rpartition("/")[2], name) for rule in self.rules)

    def decide(self, path, kind, head, tail, skipped):
        """Return the kind (str) of a text file of which a line fits a rule, else None. kind: of which its
        name speaks; head, tail: its first bytes and its last; skipped: a Counter of rules that took too
        long."""
        lines = None
        for rule in self.of(path, kind):
            lines = lines_of(head, tail) if lines is None else lines
            if "pattern" not in rule:
                if any(is_row(entry, rule) for entry in map(_object, lines) if entry):
                    return "jsonl"
            elif self._fits(rule["pattern"], lines, skipped):
                return "log"
        return None

    def _fits(self, pattern, lines, skipped):
        if self._slow.get(pattern, 0) >= SLOW:
            matches = None
        else:
            matches = self._search([pattern], [line[:LINE] for line in lines])
            self._slow[pattern] = self._slow.get(pattern, 0) + (matches is None)
        if matches is None:
            skipped[too_slow(pattern)] += 1
        return any(numbers(groups) for _, _, groups in matches or ())


def _fits(pattern, name):
    return is_like(pattern, name) if "*" in pattern else pattern == name


def too_slow(pattern):
    """Return what is said (str) of a file on which a rule takes too long."""
    name = "".join(char if char.isprintable() else "?" for char in pattern[:40])
    return "text files on which the rule " + name + "..." * (len(pattern) > 40) + " takes too long"


def kind_of(rule):
    """Return the kind of the files that a rule is for (str)."""
    return "log" if "pattern" in rule else "jsonl"


def lines_of(head, tail):
    """Return the complete lines (list of str) among the first bytes of a text file and its last."""
    if b"\0" in head.rstrip(b"\0"):
        return []
    complete = head[:head.rfind(b"\n") + 1] + tail[tail.find(b"\n") + 1:tail.rfind(b"\n") + 1]
    return [line.decode("utf-8", "replace") for line in re.split(rb"[\r\n]+", complete) if line.strip()]


def numbers(groups):
    """Return {metric: number} of the groups (dict of text) of a pattern that fits a line."""
    named = dict(groups)
    if named.get("name") and "value" in named:
        named[named.pop("name").strip()[:100]] = named.pop("value")
    values = {name: number(text) for name, text in named.items()
              if name not in STEPS + EPOCHS + TIMES and name != "name"}
    return {name: value for name, value in values.items() if value is not None}


def number(text):
    """Return the float that the text of a group stands for, or None."""
    try:
        return float(text) if text and len(text) < 64 and "_" not in text else None
    except ValueError:
        return None


# -- lines of JSON -------------------------------------------------------------------------------------------

def is_row(entry, rule):
    """Whether an object (dict) is a row by a rule: it has the step, if that is named, and a number that is a
    metric."""
    leaves = dict(numbers_in(entry))
    step = leaves.pop(rule["step"], None) if rule["step"] else 0
    return step is not None and any(is_metric(name, rule) for name in leaves)


def is_metric(name, rule):
    """Whether a number that is called `name` is a metric by a rule."""
    return name not in (rule["step"], rule["time"]) and (not rule["metrics"]
                                                         or any(_fits(like, name)
                                                                for like in rule["metrics"]))


def numbers_in(entry, depth=DEPTH, prefix=""):
    """Yield (name, number) of the numbers in an object, and in those in it: "eval/loss"."""
    for key, value in entry.items():
        if type(value) is dict and depth:
            yield from numbers_in(value, depth - 1, prefix + key + "/")
        elif type(value) in (int, float) and abs(value) < math.inf:
            yield prefix + key, value


def _object(line):
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if type(entry) is dict else None
