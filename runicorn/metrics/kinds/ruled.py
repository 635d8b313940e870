"""Text files that are read by rules of one's own (see foreign_rules): which lines are rows, which number is
the step, which are metrics.

Of a text log, lines that no rule fits are read as without. A pattern is tried in a process beside this one,
on the first LINE characters of a line; one that takes too long on a block is tried no more on that file, and
said.
"""

import json
import math
from hashlib import sha256

from runicorn import foreign_rules
from runicorn.foreign_text import decoded, is_count
from runicorn.layout import number
from runicorn.metrics.kinds import jsonl, text_log
from runicorn.metrics.kinds.row_steps import whole
from runicorn.metrics.kinds.stamps import moment, naive, seconds
from runicorn.rule_process import SHARED


def reader(kind, rules, state=None, ask=SHARED.ask):
    """Return the reader of a file of a kind, "log" or "jsonl", by rules (JSON of a list of dicts; of lines of
    JSON the first counts).
    ask: as rule_process.RuleProcess has it."""
    variant = f" by {sha256(rules.encode()).hexdigest()[:16]}"
    if kind == "log":
        return RuledLog([rule["pattern"] for rule in json.loads(rules)], variant, state, ask)
    return RuledLines(json.loads(rules)[0], variant, state)


class RuledLog(text_log.Reader):
    """Reads one text log by patterns."""

    def __init__(self, patterns, variant, state, ask):
        """variant: what tells a reading by these rules from others (str)."""
        self._patterns, self.variant, self._ask = patterns, variant, ask
        super().__init__(state)

    def load(self, own):
        super().load(own)
        self._slow = (own or {}).get("slow", [])            # patterns that took too long

    def save(self):
        return {**super().save(), "slow": list(self._slow)}

    def parse(self, body):
        body = text_log.ANSI.sub(b"", body) if b"\x1b" in body or b"\x08" in body else body
        lines = body.split(b"\n")
        lines.pop()
        texts, matches = [decoded(line) for line in lines], {}
        self._try(texts, matches)
        for position in sorted({*text_log.candidates(body), *matches}):
            if position not in matches:
                self.read_line(texts[position])
            else:
                self._take(matches[position])
        return self.parts()

    def _try(self, texts, matches):
        """Put the groups of the lines that a pattern fits into `matches` ({place of a line: dict}), the first
        pattern's that does."""
        for pattern in [pattern for pattern in self._patterns if pattern not in self._slow]:
            places = [index for index in range(len(texts)) if index not in matches]
            hits, slow = self._ask([pattern], [texts[index][:foreign_rules.LINE] for index in places])
            matches.update((places[line], groups) for line, _, groups, _ in hits)
            if slow is not None:
                self._slow.append(pattern)
                self.skip(f"tries of the rule {pattern[:80]}, which takes too long")

    def _take(self, groups):
        """Emit the row of a line that a pattern fits, if there is a metric in it."""
        data, time = foreign_rules.numbers(groups), groups.get("time") or groups.get("ts")
        step, epoch = (foreign_rules.number(groups.get(name)) for name in ("step", "epoch"))
        step, epoch = (None if value is None or not math.isfinite(value) else value
                       for value in (step, epoch))
        ts = seconds(time.strip()) if time else None
        self.note(ts, ts is not None and naive(time.encode("utf-8", "replace")), epoch,
                  step is not None or epoch is not None)
        if data:
            self.emit_next(None if step is None else whole(step), data)


class RuledLines(jsonl.Reader):
    """Reads one file of lines of JSON by the names that a rule says."""

    def __init__(self, rule, variant, state):
        """variant: as for RuledLog."""
        self._rule, self.variant, self.times = rule, variant, (rule["time"], *jsonl.TIMES)
        super().__init__(state)

    def roles(self, entry):
        """Return what jsonl.roles does, by the rule."""
        leaves = dict(jsonl.leaves(entry))
        entry_roles = jsonl.roles(entry) or (jsonl.time_key(entry), None, "")
        step = self._rule["step"] if is_count(leaves.get(self._rule["step"])) else None
        if self._rule["step"] and step is None:
            return None
        time = (self._rule["time"] if moment_of(leaves.get(self._rule["time"])) is not None else None
                if self._rule["time"] else entry_roles[0])
        return time, step, entry_roles[2]

    def numbered(self, parts):
        """Number the rows where the rule names no step."""
        return parts if self._rule["step"] else [part._replace(steps=list(part.rows)) for part in parts]

    def is_metric(self, name):
        """Whether the numbers of a name are a metric, with the phase before it or without."""
        phase, _, plain = name.partition("/")
        names = [name, plain] if phase.lower() in jsonl.TRAINING | jsonl.EVALUATION else [name]
        return any(foreign_rules.is_metric(like, self._rule) for like in names)


def moment_of(value):
    """Return the time (Unix s) that a value of JSON tells, or None."""
    return seconds(value) if type(value) is str else None if number(value) is None else moment(value)
