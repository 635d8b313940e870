"""The filter language of the run list: `loss<0.3 tag:baseline lr=0.001 -state:failed resnet`. Pure: knows
words, not runs.

Terms are separated by spaces and must all hold. A term is a word (somewhere in the run's names, tags, note,
user), or FIELD OP VALUE with : = != < <= > >=. A leading `-` or `!` negates. Double quotes keep spaces and
signs in a word, a field or a value; `*` stands for any text; after `:` commas separate alternatives
(`state:running,stalled`).
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from typing import TYPE_CHECKING, NamedTuple

from runicorn.errors import FilterError
from runicorn.layout import number

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STATES = ("checking", "running", "stalled", "quiet", "lost", "finished", "failed", "interrupted")
# `:` means equal here, elsewhere "contains"
WHOLE = ("tag", "state", "connection", "user", "host", "id", "key", "group", "job_type")
TIMES = ("started", "ended")
SPANS = ("duration", "age")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
SPAN = re.compile(r"^(\d+(?:\.\d*)?|\.\d+)([smhdw]?)$")
DATE = re.compile(r"^(\d{4})-(\d{2})(?:-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2}))?)?)?$")
OPERATORS = ("!=", "<=", ">=", "<", ">", "=", ":")
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
LONGEST = 4000              # characters; a longer filter is a mistake


class Term(NamedTuple):
    """One condition. field: "" for a bare word. values: texts of which one must fit. at: its place in the
    filter."""

    field: str
    operator: str
    values: tuple
    negated: bool
    at: int


def parse(text: str) -> list[Term]:
    """Return the list of Terms in `text`. Raises FilterError, which says what is wrong and where."""
    if len(text) > LONGEST:
        raise FilterError(f"the filter is longer than {LONGEST} characters", LONGEST, code="filter",
                          said="filter_long", count=LONGEST)
    terms, position = [], 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        end, pieces = _piece(text, position)
        terms.append(_checked(_term(pieces, position)))
        position = end
    return terms


def _piece(text, start):
    """Return (end, [(character, whether quoted)]) of the word that starts at `start`."""
    pieces, quoted, position = [], None, start
    while position < len(text) and (quoted is not None or not text[position].isspace()):
        character = text[position]
        if character == '"':
            quoted = position if quoted is None else None
            pieces.append(("", True))
        elif character == "\\" and quoted is not None and text[position + 1:position + 2] in ('"', "\\"):
            position += 1
            pieces.append((text[position], True))
        else:
            pieces.append((character, quoted is not None))
        position += 1
    if quoted is not None:
        raise FilterError(f'the quote at {quoted + 1} is never closed: add a " at its end', quoted,
                          code="filter", said="filter_quote", place=quoted + 1)
    return position, pieces


def _term(pieces, position):
    negated = pieces[0] in (("-", False), ("!", False))
    if negated:
        pieces = pieces[1:]
    plain = "".join("\0" if quoted else character for character, quoted in pieces)
    signs = [(plain.find(sign), -len(sign), sign) for sign in OPERATORS if sign in plain]
    if not signs:
        return Term("", ":", (_text(pieces),), negated, position)
    split, _, sign = min(signs)
    field, value = _text(pieces[:split]), pieces[split + len(sign):]
    if not field:
        raise FilterError(f"{sign!r} at {position + 1} has no name before it, such as loss{sign}0.3",
                          position, code="filter", said="filter_nameless", sign=sign, place=position + 1)
    values = tuple(_split(value)) if sign == ":" else (_text(value),)
    if not any(quoted for _, quoted in value) and not all(values):
        raise FilterError(f"{field}{sign} at {position + 1} has no value after it", position, code="filter",
                          said="filter_valueless", sign=field + sign, place=position + 1)
    return Term(field, sign, values, negated, position)


def _text(pieces):
    return "".join(character for character, _ in pieces)


def _split(pieces):
    word = []
    for character, quoted in pieces:
        if character == "," and not quoted:
            yield "".join(word)
            word = []
        else:
            word.append(character)
    yield "".join(word)


def _checked(term):
    if not term.field and not term.values[0]:
        raise FilterError(f"there is no word at {term.at + 1}", term.at, code="filter", said="filter_empty",
                          place=term.at + 1)
    if term.field == "state" and term.operator in (":", "=", "!="):
        for value in term.values:
            if "*" not in value and value.lower() not in STATES:
                raise FilterError(f"there is no state {value!r}; there are {', '.join(STATES)}", term.at,
                                  code="filter", said="filter_state", value=value, states=", ".join(STATES))
    if term.operator in COMPARE and _amount(term) is None:
        raise FilterError(f"{term.field}{term.operator} needs {_wanted(term.field)}, not {term.values[0]!r}",
                          term.at, code="filter", said="filter_time" if term.field in TIMES else "filter_span"
                          if term.field in SPANS else "filter_number", sign=term.field + term.operator,
                          value=term.values[0])
    return term


def _wanted(field):
    if field in TIMES:
        return "a time such as 2025-01-31"
    return "a span such as 30m, 2h or 7d" if field in SPANS else "a number"


def _amount(term):
    """Return the value of a comparison as a float, or None if it is none."""
    text = term.values[0]
    if term.field in TIMES:
        return _time(text)
    if term.field in SPANS:
        match = SPAN.match(text)
        return float(match[1]) * UNITS[match[2] or "s"] if match else None
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return None


def _time(text):
    match = DATE.match(text)
    if not match:
        return None
    from datetime import datetime  # here: most filters name no time

    try:
        return datetime(*(int(number or default)
                          for number, default in zip(match.groups(), (0, 1, 1, 0, 0, 0)))).timestamp()
    except (ValueError, OverflowError):
        return None


# -- deciding ------------------------------------------------------------------------------------------------

def compile_terms(terms: list[Term], getter: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function(run) -> bool. getter(field) gives a function(run) -> its values for the field (a
    sequence, empty if it has none); getter("") one that gives a single lower-case text holding all the run's
    words."""
    tests = [_test(term, getter(term.field)) for term in terms]

    def fits(run):
        for test in tests:              # noqa: SIM110 (`all` of a generator takes twice as long)
            if not test(run):
                return False
        return True
    return tests[0] if len(tests) == 1 else fits


def _test(term, get):
    fits, negated = _fits(term), term.negated
    if term.field and term.operator == "!=":        # of several values none may be the one that is named
        return lambda run: negated != (bool(values := get(run)) and not any(map(fits, values)))
    if not term.field:
        return (lambda run: not fits(get(run)[0])) if negated else (lambda run: fits(get(run)[0]))
    if negated:
        return lambda run: not any(map(fits, get(run)))
    return lambda run: any(map(fits, get(run)))


def _fits(term):
    """Return a function(value) -> bool for one value of the term's field."""
    if not term.field:
        word = term.values[0].lower()
        return _like(f"*{word}*") if "*" in word else lambda value: word in value
    if term.operator in ("=", "!=", ":"):
        tests = [_same(term, text) for text in term.values]
        return _remembered(tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests))
    return _compares(term.operator, _amount(term))


def _compares(sign, bound):
    compare = COMPARE[sign]

    def fits(value):
        if type(value) is not float:
            value = number(value) if not isinstance(value, bool) else None
        return value is not None and compare(value, bound)      # NaN compares false with everything
    return fits


def _remembered(fits):
    """Return `fits`, asked once for each text: thousands of runs share a handful of tags and states."""
    answers = {}

    def remembered(value):
        if type(value) is not str:      # 1, 1.0 and True would share a place
            return fits(value)
        answer = answers.get(value)
        if answer is None:
            answer = answers[value] = fits(value)
        return answer
    return remembered


def _same(term, text):
    lower = text.lower()
    amount = _amount(term._replace(values=(text,)))
    contains = term.operator == ":" and term.field not in WHOLE
    like = _like(f"*{lower}*" if contains else lower) if "*" in lower else None

    def same(value):
        if isinstance(value, bool) or value is None:
            return lower in (("true", "yes", "1") if value else ("none", "null") if value is None
                             else ("false", "no", "0"))
        if isinstance(value, (int, float)):
            return amount is not None and (value == amount or math.isclose(value, amount, rel_tol=1e-9))
        shown = str(value).lower()
        return like(shown) if like else lower in shown if contains else lower == shown
    return same


def _like(pattern):
    match = re.compile(fnmatch.translate(pattern.replace("[", "[[]").replace("?", "[?]")), re.S).match
    return lambda value: match(value) is not None
