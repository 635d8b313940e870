"""Plain text logs: what scripts print or log, with numbers in it (see `log_line`).

A name is a metric once it stands on five lines, so that a list of requirements or a dump of settings is none;
then every name in lines with a counter is one. A line without a counter stands where the last one did; in a
file without any, at its number among those that match.
"""

import math
import re
from array import array

from runicorn.foreign_text import LINES, decoded
from runicorn.metrics.kinds.log_line import ANSI, LineParser
from runicorn.metrics.kinds.row_steps import Steps, whole
from runicorn.metrics.kinds.text_lines import LineReader
from runicorn.metrics.parse import Part

NAMES = 500                # that are counted
# A line without quotes, in small letters, its digits 0: does a number stand behind a sign?
SIGN = re.compile(rb"[=:] *(?:[\[(]|tensor\(|np\.\w+\()?[-+.]?(?:0|nan|inf)")
SMALL = bytes(48 if 48 <= byte < 58 else byte + 32 if 65 <= byte < 91 else 32 if byte == 9 else byte
              for byte in range(256))
WORDS = re.compile(
    r"(?i)(?:^|[\W_\d])(?:loss(?:es)?|nll|acc(?:uracy)?|lr|learning.rate|epoch|reward|return|ppl|perplexity|f1"
    r"|auc|m?ap|m?iou|bleu|psnr|ssim|fid|err(?:or)?|mae|rmse|mse|grad|norm|entropy|kl|wer|cer|score|precision"
    r"|recall|dice|bpb|bpc|mfu)(?:$|[\W_\d])|loss|acc$")


class Reader(LineReader):
    """Reads one log from its beginning, or from where `state` was told."""

    kind = "log"

    def load(self, own):
        """Take over what `save` told (dict), or begin (None)."""
        own = own or {}
        self.is_open = own.get("open", False)               # whether any name stood on five lines
        self._counts, self._waiting = own.get("counts", {}), own.get("waiting", {})
        self._matches, self._rows, self._epoch = own.get("matches", 0), own.get("rows", 0), own.get("epoch")
        self._has_counters, self._ts, self._has_naive = (own.get("counters", False), own.get("ts"),
                                                         own.get("naive", False))
        self._steps, self._ready, self._parser = Steps(own.get("steps")), [], LineParser()

    def save(self):
        """Return what is needed to go on."""
        return {"open": self.is_open, "counts": dict(self._counts),
                "waiting": {name: list(rows) for name, rows in self._waiting.items()},
                "matches": self._matches, "rows": self._rows, "epoch": self._epoch,
                "counters": self._has_counters, "ts": self._ts, "naive": self._has_naive,
                "steps": self._steps.state()}

    def facts(self):
        """Return what else is known of the run (dict)."""
        return self._steps.facts(self._ts is not None, self._has_naive)

    def take(self, block, remaining):
        """Return (bytes used, list of parse.Part), as every Reader does. Of a bar that is drawn over itself
        only the last state counts."""
        is_text = (self.has_begun and not self.is_inside or not self.has_begun
                   and block[:1] not in (b"\xef", b"\xff", b"\xfe"))
        if is_text and not self.is_closed and b"\n" not in block:
            before = block.rfind(b"\r", 0, max(0, block.rfind(b"\r")))
            if before > 0:
                return before, []
        return super().take(block, remaining)

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
        places = candidates(body)
        if not places:
            return []
        lines = body.split(b"\n")
        for position in places:
            self.read_line(decoded(lines[position]))
        return self.parts()

    def read_line(self, text):
        """Take one line (str): its numbers wait, or stand in the next `parts`."""
        line = self._parser.read(text)
        has_counter = line.step is not None or line.epoch is not None or line.is_evaluation
        self.note(line.ts, line.is_naive, line.epoch, bool(line.pairs) and has_counter)
        if line.pairs:
            step = math.nan if self._has_counters or self._epoch is not None else self._matches
            self._place(line.pairs, has_counter,
                        [self._ts or 0.0, step if line.step is None else line.step, self._epoch, line.length])
            self._matches += 1

    def note(self, ts, is_naive, epoch, has_counter):
        """Take the time (Unix s) and the epoch of a line, None where it tells none, and whether it counts
        beside numbers."""
        if ts is not None:
            self._ts = ts
            self._has_naive = self._has_naive or is_naive
        self._epoch = self._epoch if epoch is None else epoch
        self._has_counters = self._has_counters or has_counter

    def emit_next(self, step, data):
        """Take the row {metric: number} of the line whose time and epoch were noted; step: None where it
        tells none."""
        missing = math.nan if self._has_counters or self._epoch is not None else self._matches
        self._emit(self._ts or 0.0, missing if step is None else step, self._epoch, 0, data)
        self._matches += 1

    def _place(self, pairs, has_counter, line):
        """Emit the pairs of a line that are metrics, keep the others until they are; line: its time, step,
        epoch and length."""
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
        for number, (told_ts, data) in sorted(ready.items(), key=lambda item: item[0]):
            self._emit(*told_ts, {name: pairs[name] for name in pairs if name in data}
                       if number == self._matches else data)

    def _promote(self, name, ready):
        """Move what waited for a fifth line with `name` to `ready`, if that makes it a metric; at the first,
        all beside counters, too."""
        values, has_counter = ({row[5] for row in self._waiting[name]},
                               any(row[6] for row in self._waiting[name]))
        is_fraction = len(values) > 2 and any(value == value and value != whole(value) for value in values)
        is_metric = WORDS.search(name) and (has_counter or len(values) > 1) or is_fraction
        if not self.is_open and not is_metric:
            self._counts[name] -= 1
            del self._waiting[name][0]
            return
        names = {name: self._waiting.pop(name)}
        if not self.is_open:
            self.is_open = True
            for waiting, rows in list(self._waiting.items()):
                names[waiting] = [row for row in rows if row[6]]
                self._waiting[waiting] = [row for row in rows if not row[6]]
        for metric, rows in names.items():
            for row in rows:
                ready.setdefault(row[0], (row[1:5], {}))[1][metric] = row[5]

    def _emit(self, ts, step, epoch, length, data):
        self._ready.append((self._rows, ts, step, math.nan if epoch is None else epoch, length, data))
        self._rows += 1

    def parts(self):
        """Return the settled Parts of the rows that are ready."""
        shapes = {}
        for row in self._ready:
            shapes.setdefault(tuple(row[5]), []).append(row)
        self._ready = []
        parts = [Part(names, [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows],
                      [array("d", column) for column in zip(*(row[5].values() for row in rows))])
                 for names, rows in shapes.items()]
        return self._steps.settle(parts, [[row[3] for row in rows] for rows in shapes.values()],
                                  [[row[4] for row in rows] for rows in shapes.values()])


def candidates(body):
    """Return the places of the lines of `body` that may hold a number of a training or count, ascending; the
    most have none."""
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
