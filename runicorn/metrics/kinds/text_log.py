"""Plain text logs: what scripts print or log, with numbers in it (see `log_line`), and rules of one's own.

A name is a metric once it stands on five lines, so that a list of requirements or a dump of settings is none; then every name in lines
with a counter is one. A line without a counter stands where the last one did; in a file without any, at its number among those that match.
"""

import math
import re
import time
from array import array

from runicorn.errors import RunicornError
from runicorn.foreign_text import LINES, decoded
from runicorn.metrics.kinds.log_line import ANSI, LineParser
from runicorn.metrics.kinds.row_steps import Steps, whole
from runicorn.metrics.kinds.stamps import naive, seconds
from runicorn.metrics.kinds.text_lines import LineReader
from runicorn.metrics.parse import Part

NAMES = 500                # that are counted
RULES = 16
RULE = 1000                 # characters of a rule
SLOW = 0.5                  # seconds of the processor for one line
RULE_LINE = 4096            # characters of a line that a rule is tried on
# A line without quotes, in small letters, its digits 0: does a number stand behind a sign?
SIGN = re.compile(rb"[=:] *(?:[\[(]|tensor\(|np\.\w+\()?[-+.]?(?:0|nan|inf)")
SMALL = bytes(48 if 48 <= byte < 58 else byte + 32 if 65 <= byte < 91 else 32 if byte == 9 else byte for byte in range(256))
WORDS = re.compile(r"(?i)(?:^|[\W_\d])(?:loss(?:es)?|nll|acc(?:uracy)?|lr|learning.rate|epoch|reward|return|ppl|perplexity|f1|auc|m?ap|"
                   r"m?iou|bleu|psnr|ssim|fid|err(?:or)?|mae|rmse|mse|grad|norm|entropy|kl|wer|cer|score|precision|recall|dice|bpb|bpc|mfu)(?:$|[\W_\d])|loss|acc$")


def check_rule(pattern):
    """Return the compiled rule. Raises RunicornError where it is none, or might take for ever."""
    try:
        rule = re.compile(pattern) if len(pattern) <= RULE else None
    except (re.error, RecursionError, OverflowError) as error:
        raise RunicornError(f"the rule {pattern[:80]} is no regular expression: {error}") from error
    if rule is None:
        raise RunicornError(f"a rule of more than {RULE} characters is too long: {pattern[:80]}…")
    if not rule.groupindex:
        raise RunicornError(f"the rule {pattern[:80]} names no number: write (?P<loss>[0-9.]+) for what is to be a metric")
    if _repeats(pattern) > 2:
        raise RunicornError(f"the rule {pattern[:80]} might take too long: put no * or + around another, nor more than two .* in a row")
    return rule


def _repeats(pattern):
    """Return how many unbounded repeats of nearly anything (.*) `pattern` has; many if one stands within another or beside another."""
    parser = re.sre_parse if hasattr(re, "sre_parse") else re._parser

    def walk(nodes, is_within):
        count, is_behind = 0, False
        for operator, argument in nodes:
            if str(operator) in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
                is_long = argument[1] > 256
                is_wide = any(str(inner[0]) in ("ANY", "NOT_LITERAL") for inner in argument[2])
                count += walk(argument[2], is_within or is_long) + (99 if is_long and (is_within or is_behind) else is_long and is_wide)
                is_behind = is_long
                continue
            is_behind = False
            for item in argument if isinstance(argument, (tuple, list)) else (argument,):
                for inner in item if isinstance(item, list) else (item,):
                    count += walk(inner, is_within) if isinstance(inner, parser.SubPattern) else 0
        return count
    return walk(parser.parse(pattern), False)


class Reader(LineReader):
    """Reads one log from its beginning, or from where `state` was told."""

    kind = "log"

    def __init__(self, state=None, rules=()):
        """state: what `state` told (dict), or None; rules: regular expressions (str) with named groups, see docs/foreign.md: a group is a
        metric, but `step`, `epoch` and `time`; `name` and `value` together are one whose name stands in the line. Raises RunicornError."""
        if len(rules) > RULES:
            raise RunicornError(f"{len(rules)} rules are more than {RULES}: join some with |")
        self._rules = [check_rule(pattern) for pattern in rules]
        super().__init__(state)

    def load(self, own):
        """Take over what `save` told (dict), or begin (None)."""
        own = own or {}
        self.is_open = own.get("open", False)               # whether any name stood on five lines
        self._counts, self._waiting = own.get("counts", {}), own.get("waiting", {})
        self._matches, self._rows, self._epoch = own.get("matches", 0), own.get("rows", 0), own.get("epoch")
        self._has_counters, self._ts, self._has_naive = own.get("counters", False), own.get("ts"), own.get("naive", False)
        self._steps, self._ready, self._parser = Steps(own.get("steps")), [], LineParser()

    def save(self):
        """Return what is needed to go on."""
        return {"open": self.is_open, "counts": dict(self._counts), "waiting": {name: list(rows) for name, rows in self._waiting.items()},
                "matches": self._matches, "rows": self._rows, "epoch": self._epoch, "counters": self._has_counters, "ts": self._ts,
                "naive": self._has_naive, "steps": self._steps.state()}

    def facts(self):
        """Return what else is known of the run (dict)."""
        return self._steps.facts(self._ts is not None, self._has_naive)

    def take(self, block, left):
        """Return (bytes used, list of parse.Part), as every Reader does. Of a bar that is drawn over itself only the last state counts."""
        is_text = self.has_begun and not self.is_inside or not self.has_begun and block[:1] not in (b"\xef", b"\xff", b"\xfe")
        if is_text and not self.is_closed and b"\n" not in block:
            before = block.rfind(b"\r", 0, max(0, block.rfind(b"\r")))
            if before > 0:
                return before, []
        return super().take(block, left)

    def bounded(self, body):
        """Return `body` with what was drawn over left out, and lines that are too long."""
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n")
        if b"\r" in body:
            body = b"\n".join([_last_state(line) if b"\r" in line else line for line in body.split(b"\n")])
        return super().bounded(body)

    def parse(self, body):
        """Return the Parts of `body` (bytes): complete lines."""
        if b"\x1b" in body or b"\x08" in body:
            body = ANSI.sub(b"", body)
        places = None if self._rules else _candidates(body)
        if places == []:
            return []
        lines = body.split(b"\n")
        lines.pop()
        for position in range(len(lines)) if places is None else places:
            self._read(decoded(lines[position]))
        return self._parts()

    def _read(self, text):
        match = self._fit(text[:RULE_LINE]) if self._rules else None
        if match:
            line = self._by_rule(match)
            if line:
                self._emit(*line)
            return
        line = self._parser.read(text)
        if line.ts is not None:
            self._ts = line.ts
            self._has_naive = self._has_naive or line.is_naive
        if line.epoch is not None:
            self._epoch = line.epoch
        has_counter = line.step is not None or line.epoch is not None or line.is_evaluation
        if line.pairs:
            self._has_counters = self._has_counters or has_counter
            step = math.nan if self._has_counters or self._epoch is not None else self._matches
            self._place(line.pairs, has_counter, [self._ts or 0.0, step if line.step is None else line.step, self._epoch, line.length])
            self._matches += 1

    def _fit(self, text):
        """Return the match of the first rule that fits, or None; a rule that takes too long is tried no more."""
        for rule in list(self._rules):
            begin = time.thread_time()
            match = rule.search(text)
            if time.thread_time() - begin > SLOW:
                self._rules.remove(rule)
                self.skip("a rule that takes too long")
            if match:
                return match
        return None

    def _by_rule(self, match):
        """Return what `_emit` takes of a line that a rule fits, or None."""
        groups = {name: value for name, value in match.groupdict().items() if value is not None}
        if "name" in groups and "value" in groups:
            groups[groups.pop("name")[:100]] = groups.pop("value")
        data, ts, step, epoch = {}, None, None, None
        for name, value in groups.items():
            if name in ("time", "ts"):
                ts = seconds(value.strip())
                self._has_naive = self._has_naive or ts is not None and naive(value.encode("utf-8", "replace"))
                continue
            try:
                found = float(value) if len(value) < 64 and "_" not in value else math.nan
            except ValueError:
                continue
            if name == "step" and math.isfinite(found):
                step = whole(found)
            elif name == "epoch" and math.isfinite(found):
                epoch = found
            else:
                data[name] = found
        self._ts = self._ts if ts is None else ts
        self._epoch = self._epoch if epoch is None else epoch
        self._has_counters = self._has_counters or step is not None or epoch is not None
        if not data:
            return None
        self._matches += 1
        self.is_open = True
        missing = math.nan if self._has_counters else self._matches - 1
        return self._ts or 0.0, missing if step is None else step, self._epoch, 0, data

    def _place(self, pairs, has_counter, line):
        """Emit the pairs of a line that are metrics, keep the others until they are; line: its time, step, epoch and length."""
        metrics = set()
        for name, value in pairs.items():
            count = self._counts.get(name, 0)
            if count >= LINES or self.is_open and has_counter:
                metrics.add(name)
            elif name in self._counts or len(self._counts) < NAMES:
                self._waiting.setdefault(name, []).append([self._matches, *line, value, has_counter])
            if name in self._counts or len(self._counts) < NAMES:
                self._counts[name] = min(LINES, count + 1)
        ready = {}
        for name in pairs:
            if len(self._waiting.get(name, ())) >= LINES:
                self._promote(name, ready)
        if metrics:
            ready.setdefault(self._matches, (line, {}))[1].update((name, pairs[name]) for name in metrics)
        for number, (told, data) in sorted(ready.items(), key=lambda item: item[0]):
            self._emit(*told, {name: pairs[name] for name in pairs if name in data} if number == self._matches else data)

    def _promote(self, name, ready):
        """Move what waited for a fifth line with `name` to `ready`, if that makes it a metric; at the first, all beside counters, too."""
        values, has_counter = {row[5] for row in self._waiting[name]}, any(row[6] for row in self._waiting[name])
        is_fraction = len(values) > 2 and any(value == value and value != whole(value) for value in values)
        is_metric = WORDS.search(name) and (has_counter or len(values) > 1) or is_fraction
        if not self.is_open and not is_metric:
            self._counts[name] -= 1
            del self._waiting[name][0]
            return
        names = {name: self._waiting.pop(name)}
        if not self.is_open:
            self.is_open = True
            for other, rows in list(self._waiting.items()):
                names[other] = [row for row in rows if row[6]]
                self._waiting[other] = [row for row in rows if not row[6]]
        for metric, rows in names.items():
            for row in rows:
                ready.setdefault(row[0], (row[1:5], {}))[1][metric] = row[5]

    def _emit(self, ts, step, epoch, length, data):
        self._ready.append((self._rows, ts, step, math.nan if epoch is None else epoch, length, data))
        self._rows += 1

    def _parts(self):
        """Return the settled Parts of the rows that are ready."""
        shapes = {}
        for row in self._ready:
            shapes.setdefault(tuple(row[5]), []).append(row)
        self._ready = []
        parts = [Part(names, [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows],
                      [array("d", column) for column in zip(*(row[5].values() for row in rows))]) for names, rows in shapes.items()]
        return self._steps.settle(parts, [[row[3] for row in rows] for rows in shapes.values()],
                                  [[row[4] for row in rows] for rows in shapes.values()])


def _candidates(body):
    """Return the places of the lines of `body` that may hold a number of a training or count, ascending; the most have none."""
    small = body.translate(SMALL, b"'\"").replace(b"0:0", b"000").replace(b"0:0", b"000")
    begins = set()                                      # of lines
    end = -1
    for match in SIGN.finditer(small):
        if match.start() > end:
            begins.add(small.rfind(b"\n", 0, match.start()) + 1)
            end = small.find(b"\n", match.start())
    for word in (b"epoch", b"step", b"iter"):
        position = small.find(word)
        while position >= 0:
            begins.add(small.rfind(b"\n", 0, position) + 1)
            position = small.find(word, small.find(b"\n", position))
    places, index, before = [], 0, 0
    for begin in sorted(begins):
        index += small.count(b"\n", before, begin)
        before = begin
        places.append(index)
    return places


def _last_state(line):
    """Return the last state that is not blank of a line that is drawn over itself, of its last two."""
    *_, before, last = line.split(b"\r")
    return last if last.strip() else before
