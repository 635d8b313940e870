"""What a script hands to `log`, as values that a run takes: dicts within it flattened with ".", as W&B names
them; arrays, figures and tables as media."""

import sys

from runicorn.wandb import data_types
from runicorn.writer.images import Medium
from runicorn.writer.notice import say
from runicorn.writer.values import attempt, cell_count, fields, flatten

# Cells of an array that is logged as a list; a larger one becomes a histogram, as in W&B
LISTED = 32


def flat(data):
    """Return a dict without dicts in it, of what is loggable; the rest is named once."""
    pairs = data if isinstance(data, dict) else attempt(fields, data)[0]
    if pairs is None:
        say(f"log() takes a dict, not {type(data).__name__}; such calls are not recorded",
            once=("log", type(data).__name__))
        return {}
    row = {}

    def take(key, value):
        if isinstance(value, dict):
            return False
        if value is not None:
            row[key] = value if type(value) in (int, float, bool, str) else loggable(value)
        return True

    flatten(pairs, _dropped, take, ".")
    return row


def loggable(value):
    """Return a value of any kind as one that `Run.log` takes: itself, a medium, or a list of these."""
    if isinstance(value, Medium):
        return value
    if isinstance(value, (list, tuple)):
        media = [_medium(item) for item in value] if len(value) <= 1000 else [None]
        return media if all(media) and media else value
    return _medium(value) or _array(value)


def _medium(value):
    if isinstance(value, Medium):
        return value
    if (callable(getattr(value, "savefig", None)) or callable(getattr(value, "save", None))
            and hasattr(value, "getbands")):
        return data_types.Image(value)
    figure = getattr(value, "figure", None)
    # Axes of matplotlib, pyplot itself
    if figure is not None and callable(getattr(figure, "savefig", None)):
        return data_types.Image(figure)
    if callable(getattr(value, "to_plotly_json", None)):
        return data_types.Plotly(value)
    if isinstance(value, getattr(sys.modules.get("pandas"), "DataFrame", ())):
        return data_types.Table(dataframe=value)
    return None


def _array(value):
    size = cell_count(value)
    if size is None or size < 2 or not callable(getattr(value, "tolist", None)):
        return value
    return value.tolist() if size <= LISTED and len(value.shape) == 1 else data_types.Histogram(value)


def _dropped(key, why):
    say(f"{key!r} can't be logged: {why}; it is left out", once=("dropped", key))
