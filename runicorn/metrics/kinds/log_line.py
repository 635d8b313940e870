"""What one line of a plain text log tells: its time, its counters (step, epoch) and its pairs of a name and a
number.

Pairs are `name=1.23`, `name: 1.23`, `'name': 1.23`, `"name": "1.23"`; in lines with a counter also `name
1.23`. Counters are `step 5`, `iter=5/100`, `Epoch [3/10]`, `Epoch: [3][120/5000]`, a bar of tqdm whose own
numbers they are, and Keras' `120/5000` at the beginning.
"""

import re
import time
from calendar import timegm
from typing import NamedTuple

from runicorn.metrics.kinds.stamps import ISO, iso

LONG = 64 << 10             # characters of a line that are looked at
PAIRS = 500                 # of a line
DIGITS = 18                 # of a count
SHAPED = 4096               # characters of a line whose shape is remembered
SHAPES = 512
FLOAT = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|NaN|inf|Inf|[Ii]nfinity)\b"
UNIT = r"(?:%|m|[munµ]?s|secs?|mins?|h|hrs?|[kKMGT]i?[bB]?(?:/s)?|B|it/s|s/it|x|W|C|°C)(?!\w)"
BEHIND = r"(?!\w|:\d|[.\-]\w)"
COUNTERS = r"global[_ ]?step|step|iter(?:ation)?|itr|num_updates|update|batch|epoch|ep"
COUNT = re.compile(rf"(?<![\w./-])['\"]?({COUNTERS})['\"]?(?:\((train|val|test)\))?"
                   r"(?:\s{0,4}[:=#]\s{0,12}|\s{1,12}|(?=\[))([\[('\"]?)\s{0,12}(\d{1,18}(?:\.\d{1,30})?)['\"]?"
                   r"(?:\s{0,4}(?:/|of)\s{0,12}(\d{1,18}))?(?!\w|\.\d)\]?", re.IGNORECASE)
FRACTION = re.compile(r"\[\s{0,12}(\d{1,18})\s{0,4}/\s{0,12}(\d{1,18})[^\]]{0,20}\]")
# "| 200/2983 batches |"
BETWEEN = re.compile(r"\|\s{0,12}(\d{1,18})\s?/\s{0,12}(\d{1,18})\s")
# "[epoch, iteration] loss: …"
PAIR_OF = re.compile(r"\[(\d{1,9}),\s{1,12}(\d{1,18})\] ")
BAR = re.compile(r"\d{1,3}%\|[^|]{0,400}\|\s{0,12}(\d{1,18})/(\d{1,18}) \[([^\]]{0,4000})\]")
KERAS = re.compile(r"\s{0,12}(\d{1,18})/(\d{1,18})\s")
NAME = r"[A-Za-z_][\w./@%+#-]{0,99}"
PAIR = re.compile(rf"(?<![\w.@/-])(?:(['\"])([^'\"\n]{{1,99}})\1|({NAME}(?: "
                  rf"?\([\w%/]{{1,12}}\))?))\s{{0,4}}[:=]\s{{0,20}}"
                  rf"(?:['\"]|(?:tensor|(?:np|jnp|numpy)\.\w{{1,12}}|array)\(\[?)?({FLOAT})(?:{UNIT})?{BEHIND}")
WORD = re.compile(rf"(?<![\w.@/-])({NAME})\s{{1,12}}({FLOAT})(?:{UNIT})?{BEHIND}")
PHASE = re.compile(r"(?i)(?:^|[\s\[(|])(val|valid|validation|eval|evaluation|test)(?:[\]):]|\s[|-])")
BEFORE = re.compile(r"(?<![^\s:>\]|,;()])(?:[A-Za-z][\w%/@.+-]{0,30} ){1,3}$")
LEVELS = {"info", "debug", "warning", "error", "critical"}
STOPS = set("and the with of is at in after from to for by on a an was than as gpu rank node device worker "
            "version port line pid took "
            "top now saved cuda epoch step iter".split())
# No numbers of a training: a device, a place in code
NEVER = re.compile(r"v_num|eta|cuda|mps|npu|.*\.(?:py|cc?|cpp|h|cu|rs|go|java)")
# A number that stands by itself, not in a name: the same lines but for these have the same shape.
TOKEN = re.compile(r"(?<![\w.@/#%+])(?<!\w-)(\d+\.?\d*(?:[eE][-+]?\d+)?)")
ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[@-Z\\^_])|\x08")
MONTHS = {name: number
          for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
SYSLOG = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? ")
GLOG = re.compile(r"[IWEF](\d\d)(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?\s")
# detectron2, mmengine
SHORT = re.compile(r"\[?(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)()(?=[\s\]])")
STAMP = re.compile(r"[\s\[(<]{0,4}(?:[A-Z]{4,8}[:\s]{1,3}\[?)?")


class Line(NamedTuple):
    """What a line tells: `ts` (Unix seconds) or None; whether that `is_naive`, without a zone; `step`,
    `epoch` (numbers) or None; `length` (steps in an epoch, 0: not told); `pairs` {name: number}; whether it
    is of an evaluation."""

    ts: object
    is_naive: bool
    step: object
    epoch: object
    length: int
    pairs: dict
    is_evaluation: bool


class LineParser:
    """Reads lines one by one. Lines of one shape, which differ in their numbers alone, are looked at closely
    but once."""

    def __init__(self):
        self._shapes = {}

    def read(self, text, now=None):
        """Return the Line that `text` (str, without colours) is. now: Unix seconds, for stamps that tell no
        year; None: this moment."""
        text = text[:LONG]
        ts, is_naive, begin = stamp(text, now)
        text = text[begin:]
        pieces = TOKEN.split(text) if len(text) <= SHAPED else [text]
        tokens = pieces[1::2]
        numbers = [int(token) if len(token) <= DIGITS and token.isdigit() else float(token)
                   for token in tokens]
        forms = "".join(["i" if type(value) is int else _form(token)
                         for value, token in zip(numbers, tokens)])
        key = ("\0".join(pieces[::2]), forms)
        shape = self._shapes.get(key)
        if shape is None:
            roles = _roles(text)
            if len(self._shapes) >= SHAPES or "o" in forms:
                return _line(ts, is_naive, text, roles)
            shape = self._shapes[key] = _shape(text, pieces, roles)
        if shape is False:                              # a number of it is not one token of the line
            return _line(ts, is_naive, text, _roles(text))
        (step, epoch, length), names, places, is_evaluation = shape
        values = [numbers[position] if type(position) is int else position[0] if type(position) is tuple
                  else -numbers[~int(position)] for position in places]
        step, epoch, length = (None if position is None else numbers[position]
                               for position in (step, epoch, length))
        return Line(ts, is_naive, step, epoch, length or 0, dict(zip(names, map(float, values))),
                    is_evaluation)


def read_line(text, now=None):
    """Return the Line that `text` (str) is, by itself."""
    return LineParser().read(text, now)


def _form(token):
    """Return how a number that is no integer is written: with an exponent (e), a point (f), or as few are
    (o)."""
    return ("e" if "e" in token or "E" in token else "f"
            if token[-1] != "." and 0 < token.find(".") <= DIGITS and len(token) <= 30 else "o")


def _line(ts, is_naive, text, roles):
    counts, pairs, is_evaluation = roles
    step, epoch, length = (None if span is None else _value(text[slice(*span)]) for span in counts)
    pairs = {name: float(text[slice(*span)]) for name, span in pairs.items()}
    return Line(ts, is_naive, step, epoch, length or 0, pairs, is_evaluation)


def _value(digits):
    return int(digits) if digits.isdigit() else float(digits)


def _shape(text, pieces, roles):
    """Return ((places of step, epoch, length), names, places of their values, whether it is of an evaluation)
    in the numbers of a line.

    A place is the number's index, -1.0 - index if its sign is reversed, or (value,) if it is no token: nan.
    False if a number is part of one.
    """
    begins, ends, position = {}, [], 0
    for index, piece in enumerate(pieces):
        if index % 2:
            begins[position] = index // 2
            ends.append(position + len(piece))
        position += len(piece)

    def place(span):
        begin, end = span
        sign = text[begin] in "+-"
        index = begins.get(begin + sign)
        if index is not None and ends[index] == end:
            return -1.0 - index if text[begin] == "-" else index
        is_apart = all(stop <= begin or start >= end for start, stop in zip(begins, ends))
        return (float(text[begin:end]),) if is_apart else None

    counts, pairs, is_evaluation = roles
    counted = [span if span is None else place(span) for span in counts]
    places = [place(span) for span in pairs.values()]
    if None in places or any(type(count) is not int
                             for count, span in zip(counted, counts) if span is not None):
        return False
    return counted, tuple(pairs), places, is_evaluation


def stamp(text, now=None):
    """Return (Unix seconds or None, whether it tells no zone, where it ends) of the time at the beginning of
    `text`."""
    begin = STAMP.match(text).end()
    match = ISO.match(text, begin)
    if match:
        ts = iso(match)
        return ts, ts is not None and match[8] is None, match.end()
    for pattern, position in ((SYSLOG, 0), (GLOG, 0), (SHORT, 0), (SYSLOG, begin)):
        match = pattern.match(text, position)
        if match:
            month = match[1] if match[1].isdigit() else MONTHS.get(match[1].lower(), 0)
            return (_this_year(int(month), *map(int, match.group(2, 3, 4, 5)), match[6], now), True,
                    match.end())
    return None, False, 0


def _this_year(month, day, hour, minute, second, fraction, now):
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    now = time.time() if now is None else now
    year = time.gmtime(now).tm_year
    ts = timegm((year, month, day, hour, minute, second))
    if ts > now + 86400:
        ts = timegm((year - 1, month, day, hour, minute, second))
    return ts + float("0." + (fraction or "0"))


def _roles(text):
    """Return ((span of the step, of the epoch, of the steps in an epoch; None: not told), {name: span of its
    number}, whether the line is of an evaluation)."""
    counts, phase, text, is_counted = _counters(text)
    pairs = {}
    for name, span in _pairs(text, is_counted):
        if len(pairs) >= PAIRS:
            break
        pairs.setdefault(f"{phase}/{name}" if phase and not name.lower().startswith(phase) else name, span)
    return counts, pairs, bool(phase)


def _counters(text):
    """Return (the spans as `_roles` has them, phase, `text` without what counts, whether a word says what
    counts).

    A bar's numbers count for what stands within it or before it: what was printed behind it has nothing to do
    with it.
    """
    step = epoch = length = None
    phase, spans = "", []
    for match in COUNT.finditer(text):
        word = match[1].lower()
        if word in ("batch", "update") and not match[5] and epoch is None:
            continue                                    # as like as not the size of a batch
        spans.append(match.span())
        if match[2] and match[2].lower() != "train":
            phase = match[2].lower()
        if word in ("epoch", "ep"):
            epoch = epoch or match.span(4)
        elif step is None and match[4].isdigit() and not phase:
            step, length = match.span(4), match.span(5) if match[5] else None
    pair_of = PAIR_OF.match(text)
    if pair_of and not spans:
        epoch, step = pair_of.span(1), pair_of.span(2)
        spans.append(pair_of.span())
    is_counted = bool(spans)
    pair = PAIR.search(text)
    named = PHASE.search(text, 0, pair.start() if pair else len(text))
    phase = phase or (named[1].lower() if named else "")
    bar = BAR.search(text) if "%|" in text else None
    fraction = bar or KERAS.match(text)
    if fraction is None and "/" in text:
        fractions = [*FRACTION.finditer(text), *BETWEEN.finditer(text)]
        fraction = next((match for match in fractions
                         if all(match.end() <= begin or match.start() >= end for begin, end in spans)), None)
    if fraction is not None:
        spans.append((fraction.start(), fraction.start(3) if bar else fraction.end()))
        if step is None and not phase and (bar is None or PAIR.search(bar[3])
                                           or PAIR.search(text, 0, bar.start())):
            step, length = fraction.span(1), fraction.span(2)
    return (step, epoch, length), phase, _blanked(text, spans), is_counted


def _blanked(text, spans):
    for begin, end in spans:
        text = text[:begin] + "|" * (end - begin) + text[end:]
    return text


def _pairs(text, is_counted):
    """Yield (name, span of its number) of the pairs of a line."""
    end, spans = 0, []
    for match in PAIR.finditer(text):
        name = match[2] or _phrase(text[max(end, match.start() - 100):match.start()], match[3])
        end = match.end()
        spans.append(match.span())
        if not NEVER.fullmatch(name):
            yield name, match.span(4)
    if is_counted:
        text, end = _blanked(text, spans), 0
        for match in WORD.finditer(text):
            name = match[1].rstrip(".")
            if name.lower() not in STOPS and not name.endswith("-"):
                yield _phrase(text[max(end, match.start() - 100):match.start()], name), match.span(2)
            end = match.end()


def _phrase(before, name):
    """Return `name` with the words that stand before it: "val loss" of "| val loss: 0.5"."""
    match = BEFORE.search(before)
    words = match[0].split() if match else []
    for position in range(len(words) - 1, -1, -1):
        if words[position].lower() in STOPS | LEVELS:
            words = words[position + 1:]
            break
    return " ".join([*words, name])
