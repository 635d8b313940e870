"""What may be logged and configured, as plain JSON values. Knows numpy and torch by their `item()` alone, imports neither."""

from json import JSONEncoder

from runicorn.layout import to_json
from runicorn.notice import is_interrupt

PLAIN = frozenset((int, float, bool, str))
DEPTH = 32              # of nested dicts; deeper is a cycle
INT_BITS = 4096         # Python itself refuses to print an int of more than about 14,000 bits
TEXT = 1000             # characters of a config value that is no JSON value

encode = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False).encode


def encode_exact(flat):
    """Return the JSON text of a flat dict whatever its floats and strings are: NaN as "NaN", lone surrogates escaped."""
    text = to_json(flat)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = JSONEncoder(separators=(",", ":"), allow_nan=False).encode(_strict(flat))
    return text


def _strict(flat):
    from runicorn.layout import strict
    return strict(flat)


def scalar(value):
    """Return `value` as an int, float, bool or str: numpy and torch scalars and one-element tensors by `item()`, exactly.

    Raises TypeError for anything else.
    """
    for _ in range(3):                                      # a TensorFlow scalar takes two steps
        if type(value) in PLAIN:
            if type(value) is int and value.bit_length() > INT_BITS:
                raise TypeError("an int too large")
            return value
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return kind(value)
        value = _unwrapped(value)
    raise TypeError(type(value).__name__)


def _unwrapped(value):
    for way in ("item", "numpy"):
        method = getattr(value, way, None)
        if callable(method):
            try:
                return method()
            except Exception as error:      # any framework's: more than one element, a tensor that needs a graph …
                if is_interrupt(error, data=True):
                    raise
                raise TypeError(type(value).__name__) from error
    raise TypeError(type(value).__name__)


def loggable(value):
    """Return `value` as a scalar or a list of numbers. Raises TypeError for anything else."""
    if isinstance(value, (list, tuple)):
        numbers = [scalar(item) for item in value]
        if any(isinstance(item, str) for item in numbers):
            raise TypeError(type(value).__name__ + " of text")
        return numbers
    return scalar(value)


def flatten(data, drop, take=None):
    """Return a dict of text keys to loggable values; nested dicts are flattened with "/".

    drop: called with (key, type name) for each value that can't be logged. take: called with (key, value) first; a true
    answer means it was taken elsewhere.
    """
    flat = {}
    _flatten(data, "", flat, drop, take or (lambda key, value: False), 0)
    return flat


def _flatten(data, prefix, flat, drop, take, depth):
    for key, value in data.items():
        key = f"{prefix}{key}"
        if take(key, value):
            continue
        if isinstance(value, dict):
            if depth >= DEPTH:
                drop(key, "dict in a dict in a dict …")
            else:
                _flatten(value, key + "/", flat, drop, take, depth + 1)
            continue
        try:
            flat[key] = loggable(value)
        except TypeError as error:
            drop(key, str(error))


def plain(value, depth=0):
    """Return any value as JSON can hold it, for config and summary; what has no JSON form becomes its text."""
    if value is None or type(value) in PLAIN:
        return value
    try:
        return scalar(value)
    except TypeError:
        pass            # not a number or text: a container, or something to describe
    if depth < DEPTH:
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(item, depth + 1) for item in value]
        fields = mapping(value)
        if fields is not None:
            return {str(key): plain(item, depth + 1) for key, item in fields.items()}
    return describe(value)


def mapping(value):
    """Return the dict that a dict, mapping, Namespace, dataclass or object with `to_dict` stands for, else None."""
    if isinstance(value, dict):
        return value
    if isinstance(value, type):
        return None
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):
        return dict(value)
    if hasattr(value, "__dataclass_fields__"):
        return {field: getattr(value, field, None) for field in value.__dataclass_fields__}
    if type(value).__name__ in ("Namespace", "SimpleNamespace"):
        return vars(value)
    if callable(getattr(value, "to_dict", None)):
        return value.to_dict()
    return None


def describe(value):
    """Return a short text for a value: a class or function by its name, anything else by its str()."""
    named = getattr(value, "__qualname__", None)
    if named is not None and callable(value):
        return f"{getattr(value, '__module__', '')}.{named}"
    try:
        return str(value)[:TEXT]
    except Exception as error:      # a stranger's __str__ must not stop a training
        if is_interrupt(error, data=True):
            raise
        return f"<{type(value).__name__}: {type(error).__name__}>"
