"""What may be logged and configured, as plain JSON values, at a bounded cost whatever a stranger's object
does when it is looked at. Knows numpy, torch, pandas and OmegaConf by what their objects answer, imports none
of them."""

import functools
import re
import sys
from collections import deque
from collections.abc import Sequence, Set, ValuesView
from enum import Enum
from itertools import islice
from json import JSONEncoder

from runicorn.layout import strict, to_json
from runicorn.writer.notice import is_interrupt, say

PLAIN = frozenset((int, float, bool, str))
DEPTH = 32              # of nested dicts and lists
STEP_LIMIT = 1 << 63
INT_BITS = 4096         # Python itself refuses to print an int of more than about 14,000 bits
TEXT = 1000             # characters of a config value that is no JSON value
LONGEST_TEXT = 100_000  # characters of a text in config, summary and rows
# Of one change of config or summary; one of its containers may have half of what is left
VALUES = 5000
CHARACTERS = 64         # of text that count as one value
ARRAY = 1000            # cells of an array or table; a larger one is described
LOGGED = 100_000        # nested values of one call of log, and numbers of one list
# So many nested values one of a mapping counts as that is no plain dict: it is slower, and may have no end
FOREIGN = 20
SHOWN = 100             # values of a list or cells of an array that are shown in a text
MORE = "…"              # stands for what is left out, and for a value within itself
ADDRESS = " at 0x[0-9A-Fa-f]+"
# Whatever a subclass makes of them
EXACT = ((str, str.__str__), (float, float.__float__), (int, int.__int__))

_name_of = type.__dict__["__name__"].__get__        # a metaclass has no say in it


def encode_exact(flat):
    """Return the JSON text of a flat dict whatever its floats and strings are: NaN as "NaN", lone surrogates
    escaped."""
    text = to_json(flat)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = JSONEncoder(separators=(",", ":"), allow_nan=False).encode(strict(flat))
    return text


class Unfit(TypeError):
    """A value that is no number and no text."""

    def __str__(self):
        return f"{self.args[0]} is no number, short text, list of numbers or image"


def attempt(call, *args, **kwargs):
    """Return (what a stranger's `call` returns, None), or (None, the Exception it raised)."""
    try:
        return call(*args, **kwargs), None
    except Unfit as error:
        return None, error
    except Exception as error:
        if is_interrupt(error, data=True):
            raise
        return None, error


def type_name(value):
    """Return the name of a value's type (str)."""
    return _name_of(type(value))


def _attribute(value, name):
    return attempt(getattr, value, name, None)[0]


# -- numbers and text ----------------------------------------------------------------------------------------

def scalar(value):
    """Return `value` as an int, float, bool or str: numpy and torch scalars and one-element tensors by
    `item()`, exactly; an Enum by its value.

    Raises Unfit for anything else, and what a stranger's object raises.
    """
    for _ in range(4):                                      # a TensorFlow scalar takes two steps
        if type(value) in PLAIN:
            if type(value) is int and value.bit_length() > INT_BITS:
                raise Unfit("an int too large")
            return value
        for kind, exact in EXACT:
            if isinstance(value, kind):
                value = exact(value)
                break
        else:
            value = value.value if isinstance(value, Enum) else _unwrapped(value)
    raise Unfit(type_name(value))


def _unwrapped(value):
    # Times are text
    if not isinstance(value, type) and _attribute(_attribute(value, "dtype"), "kind") not in ("m", "M"):
        for name in ("item", "numpy"):
            method = _attribute(value, name)
            if callable(method):
                item, error = attempt(method)
                if error is None:
                    return item
                break                   # more than one element, a tensor that needs a graph …
    raise Unfit(type_name(value))


def key_text(key):
    """Return the text (str) of a key of any kind."""
    form, error = (key, None) if type(key) is str else attempt(scalar, key)
    text = describe(key) if error else str(form)
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + MORE


def describe(value, nested=False):
    """Return a short text for a value, the same in every process: a class or function by its name, anything
    else by its str() without addresses in memory. nested: whether it stands within such a text already."""
    text, error = attempt(_described, value, nested)
    return (f"<{type_name(value)}: {type_name(error)}>" if error
            else re.sub(ADDRESS, "", str.__str__(text)[:2 * TEXT])[:TEXT])


def _size(value):
    """Return how many values and cells a text of `value` would show (int), counted until there are more than
    SHOWN."""
    size, waiting = 0, deque((value,))
    while waiting and size <= SHOWN:
        item = waiting.popleft()
        size += cell_count(item) or 1
        if isinstance(item, (dict, list, tuple, deque)):
            waiting.extend(islice(item.items() if isinstance(item, dict) else item, SHOWN + 1))
    return size


def _outline(value):
    return (f"<{type_name(value)} of "
            f"{len(value) if cell_count(value) is None else f'shape {tuple(value.shape)}'}>")


def _described(value, nested):
    if _size(value) > SHOWN:
        return _outline(value)
    named = _attribute(value, "__qualname__")
    if isinstance(named, str) and callable(value):
        module = _attribute(value, "__module__")
        return f"{module}.{named}" if isinstance(module, str) else named
    if isinstance(value, functools.partial):
        parts = [MORE] if nested else [*map(_part, value.args),
                                       *(f"{key}={_part(item)}" for key, item in value.keywords.items())]
        return f"functools.partial({', '.join([describe(value.func, True), *parts])})"
    if isinstance(value, (set, frozenset)):
        return MORE if nested else _part(value)
    return str(value[:TEXT] if isinstance(value, (bytes, bytearray)) else value)


def _part(value):
    form = _Conversion(ARRAY // 10, nested=True).convert(value)
    return form if isinstance(form, str) else to_json(form)


def texts(values):
    """Return a list of str for one text or several values (tags)."""
    items, error = attempt(_several, values)
    return [key_text(value) for value in ([values] if error else items)]


def _several(values):
    cells = cell_count(values)          # a tensor makes all of its items before it gives the first
    is_one = isinstance(values, str) or cells is not None and (cells > ARRAY or len(values.shape) != 1)
    return [values] if is_one else list(islice(() if values is None else values, ARRAY))


# -- rows of metrics -----------------------------------------------------------------------------------------

def loggable(value):
    """Return `value` as a scalar or a list of numbers. Raises Unfit for anything else."""
    if isinstance(value, (list, tuple)):
        numbers = [scalar(item) for item in islice(value, LOGGED + 1)]
        if len(numbers) > LOGGED or any(isinstance(item, str) for item in numbers):
            raise Unfit(f"a {type_name(value)} of text, or too long,")
        return numbers
    number = getattr(sys.modules.get("numbers"), "Number", ())
    if isinstance(value, number) and type_name(value) in ("Decimal", "Fraction"):
        return float(value)
    form = scalar(value)
    if type(form) is str and len(form) > LONGEST_TEXT:
        raise Unfit(f"a text of {len(form)} characters")
    return form


def flatten(data, drop, take=lambda key, value: False, joint="/"):
    """Return a dict of text keys to loggable values; nested dicts are flattened with `joint`.

    data: dict, or an iterator of (key, value). drop: called with (key, what it is) for each value that can't
    be logged.
    take: called with (key, value) first; a true answer means it was taken elsewhere.
    """
    flat, room = {}, LOGGED

    def walk(pairs, prefix, above):
        nonlocal room
        for key, value in pairs:
            room -= 1 if type(above[-1]) is dict else FOREIGN
            if room < 0:
                drop(MORE, f"only the first {len(flat)} nested values of a call are")
                return
            name = prefix + key_text(key)
            error = attempt(put, name, value, above)[1]
            if error is not None:
                drop(name, reason(error) if type(error) is not Unfit else str(error))

    def put(name, value, above):
        if take(name, value):
            return
        if not isinstance(value, dict):
            flat[name] = loggable(value)
        elif len(above) >= DEPTH or any(value is outer for outer in above):
            drop(name, "a dict within itself, or too deep")
        elif room > 0:
            walk(iter(value.items()), name + joint, (*above, value))

    error = attempt(lambda: walk(iter(data.items()) if isinstance(data, dict) else data, "", (data,)))[1]
    if error is not None:
        drop("log(…)", reason(error))
    return flat


# -- config and summary --------------------------------------------------------------------------------------

class Unreadable:
    """Stands for a value that raised when it was read: `text` is kept of it, `why` is said."""

    __slots__ = ("text", "why")

    def __init__(self, text, why):
        self.text, self.why = text, why


def reason(error):
    """Return one short line (str) for an exception."""
    return f"{type_name(error)}: {describe(error)}".split("\n")[0][:200]


def plain(value, owner):
    """Return any value as JSON can hold it, for `owner` (str: "config", "summary"); what has no JSON form
    becomes its text."""
    conversion = _Conversion()
    form = conversion.convert(value)
    conversion.tell(owner)
    return form


def plain_fields(values, owner, more=()):
    """Return {text: plain value} of what stands for a dict: mapping, Namespace, dataclass, object, class,
    (key, value) pairs; `more` (dict) goes over it. None if `values` is nothing of the kind."""
    conversion = _Conversion()
    pairs, error = attempt(_stands_for, values)
    if error is not None:
        conversion.unread.append((type_name(values), reason(error)))
    elif pairs is None:
        return None
    result = conversion.fill({}, pairs or iter(()))
    result.update(conversion.fill({}, iter(dict(more).items())))
    conversion.tell(owner)
    return result


def _stands_for(values):
    form = fields(values)
    if form is not None or values is None or isinstance(values, (str, bytes, int, float)):
        return form
    if isinstance(values, (list, tuple)) or hasattr(values, "__next__"):
        pairs, error = attempt(lambda: [(key, value) for key, value in islice(values, VALUES)])
        return None if error else iter(pairs)
    if not hasattr(values, "__dict__"):
        return None
    own = {} if isinstance(values, type) else vars(values)
    shared = [item for kind in reversed((values if isinstance(values, type) else type(values)).__mro__)
              for item in vars(kind).items()]
    return iter({**{name: item for name, item in shared
                    if name[:1] != "_" and not hasattr(item, "__get__")}, **own}.items())


def fields(value):
    """Return an iterator of (key, value) over the dict that a dict, mapping, Namespace, dataclass or object
    with `to_dict` stands for, else None. It may be endless; values that can't be read come as Unreadable.
    Raises what the object raises."""
    if isinstance(value, dict):
        return iter(value.items())
    if isinstance(value, type):
        return None
    if callable(_attribute(value, "keys")) and hasattr(type(value), "__getitem__"):
        return ((key, _item(value, key)) for key in value.keys())       # noqa: SIM118 – it may iterate over something else
    names = _attribute(value, "__dataclass_fields__") or [field.name
                                                          for field in _attribute(value, "__attrs_attrs__")
                                                          or ()]
    if names:
        return ((name, _attribute(value, name)) for name in names)
    if {"Namespace", "SimpleNamespace"} & set(map(_name_of, type(value).__mro__)):
        return iter(vars(value).items())
    for method_name in ("to_dict", "model_dump", "_asdict"):
        method = _attribute(value, method_name)
        if callable(method):
            result = method()
            return iter(result.items()) if isinstance(result, dict) else None
    return None


def _item(value, key):
    item, error = attempt(lambda: value[key])
    if error is None:
        return item
    # Has "???" or "${nothing}" where reading raises
    omegaconf = getattr(sys.modules.get("omegaconf"), "OmegaConf", None)
    raw = attempt(lambda: omegaconf.to_container(value, resolve=False)[key])[0] if omegaconf else None
    return Unreadable(raw if isinstance(raw, str) else f"<{type_name(value)}: {reason(error)}>",
                      reason(error))


def _by_index(value):
    for index in range(len(value)):
        yield _item(value, index)


def cell_count(value):
    """Return how many cells an array or table has (int), None for anything else."""
    shape = _attribute(value, "shape")
    if (not isinstance(shape, tuple) or not hasattr(type(value), "__len__")
            or not all(isinstance(side, int) for side in shape)):
        return None
    return functools.reduce(lambda product, side: product * side, shape, 1)


def _rank(item):
    """Where an item of a set stands among the others, in every process."""
    if isinstance(item, (int, float)) and item == item:
        return 0, item, ""
    if isinstance(item, (tuple, frozenset)):
        ranks = [_rank(inner) for inner in item]
        return 1, 0, f"{type_name(item)}{ranks if isinstance(item, tuple) else sorted(ranks)}"
    return 1, 0, f"{type_name(item)} {key_text(item)}"


class _Conversion:
    """One conversion to plain values, breadth first: where there is too much, what lies near the top is
    kept."""

    def __init__(self, room=VALUES, nested=False):
        """room: so many values are kept. nested: whether the result goes into a text."""
        self.unread, self._cut, self._room, self._nested, self._waiting = [], [], room, nested, deque()

    def convert(self, value):
        return self.fill([], iter((value,)))[0]

    def fill(self, result, items):
        """Return `result`, a list or dict, with the plain form of all that `items`, an iterator, yields."""
        self._waiting.append((result, items, "", None))
        while self._waiting:
            self._fill(*self._waiting.popleft())
        return result

    def tell(self, owner):
        """Say what could not be kept as it is, a line each."""
        if self.unread:
            names = ", ".join(name for name, _ in self.unread[:3]) + (f" and {len(self.unread) - 3} more"
                                                                      if self.unread[3:] else "")
            say(f"{owner}: {names} can't be read ({self.unread[0][1]}); kept as text",
                once=("unread", owner, names))
        if self._cut:
            say(f"{owner}: {self._cut[0] or 'this'} is too large or too deep to be kept whole; {MORE!r} "
                f"stands for the rest",
                once=("cut", owner, self._cut[0]))

    def _fill(self, result, items, path, above):
        room = max(self._room + 1, 2) // 2
        while True:
            item, error = attempt(next, items, self)        # self: none follows
            if item is self:
                return
            if error is not None:
                self.unread.append((path or "it", reason(error)))
                return
            if room <= 0:
                self._cut.append(path)
                if type(result) is dict:
                    result[MORE] = MORE
                else:
                    result.append(MORE)
                return
            room -= 1
            if type(result) is dict:
                key = key_text(item[0])
                result[key] = self._value(item[1], f"{path}.{key}" if path else key, above)
            else:
                result.append(self._value(item, path, above))

    def _value(self, value, path, above):
        self._room -= 1
        if value is None or type(value) in (float, bool):
            return value
        if type(value) is Unreadable:
            self.unread.append((path, value.why))
            return value.text
        form, error = attempt(self._form, value, path, above)
        if error is None:
            return form
        self.unread.append((path, reason(error)))
        return f"<{type_name(value)}: {reason(error)}>"

    def _form(self, value, path, above):
        """Return the plain form of `value`; a container is empty and waits for its turn. above: (value,
        above, depth) or None."""
        if not isinstance(value, (dict, list, tuple, set, frozenset)):
            form, error = attempt(scalar, value)
            if error is None:
                return self._text(form, path) if type(form) is str else form
            if isinstance(value, Enum):
                inner = value.value
                return (self._form(inner, path, above)
                        if inner is None or isinstance(inner, (dict, list, tuple, set, frozenset, type))
                        else f"{type_name(value)}.{value.name}")
        if self._room <= 0 or above and above[2] >= DEPTH:
            self._cut.append(path)
            return MORE
        upper = above
        while upper:
            if upper[0] is value:
                return MORE
            upper = upper[1]
        result, items = self._container(value)
        if items is None:
            return self._text(result, path)
        self._waiting.append((result, items, path, (value, above, above[2] + 1 if above else 1)))
        return result

    def _container(self, value):
        """Return (empty list or dict, iterator of its items) for what holds others, (text, None) for what
        does not."""
        if isinstance(value, (list, tuple)) and not hasattr(value, "_asdict"):
            return [], iter(value)
        if isinstance(value, Set):
            items = list(islice(value, self._room + 2))
            return (([], iter(sorted(items, key=_rank))) if len(items) <= self._room
                    else (f"<{type_name(value)} of {len(value)}>", None))
        cells = cell_count(value)
        if cells is not None and cells > ARRAY:
            return _outline(value), None
        pairs = fields(value)
        if pairs is not None:
            return {}, pairs
        if cells is not None and callable(_attribute(value, "tolist")):
            return [], iter(value.tolist())
        if isinstance(value, (Sequence, ValuesView)) and not isinstance(value,
                                                                        (bytes, bytearray, memoryview,
                                                                         range)):
            return [], _by_index(value) if isinstance(value, Sequence) else iter(value)
        return describe(value, self._nested), None

    def _text(self, text, path):
        limit = min(LONGEST_TEXT, CHARACTERS * max(self._room // 2, 1))
        if len(text) > limit:
            self._cut.append(path)
            text = text[:limit] + MORE
        self._room -= len(text) // CHARACTERS
        return text


# -- whole numbers -------------------------------------------------------------------------------------------

def whole_step(step):
    """Return a step that was given as something else (a tensor, 3.0, "7") as an int, None where it means
    none; says what it became."""
    number = attempt(scalar, step)[0]
    n = attempt(int, number)[0]
    if n is None:
        say(f"step {describe(step)} is no whole number; the steps were counted instead", once="step")
    elif n != attempt(float, number)[0] or not -STEP_LIMIT < n < STEP_LIMIT:
        say(f"step {describe(step)} is no whole number; {n} was written", once="step")
    return n


def whole_exit_code(code):
    """Return an exit code of any kind as an int or None; what is no number means failed, as it does to
    sys.exit."""
    if code is None:
        return None
    number = attempt(lambda: int(scalar(code)))[0]
    if number is None:
        say(f"finish(exit_code={describe(code)}) is no number; the run counts as failed", once="exit_code")
    return 1 if number is None else number
