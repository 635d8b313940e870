"""Helpers of W&B's that scripts borrow."""

import importlib
import json
import random
import sys

from runicorn.writer.values import plain

__path__ = []           # W&B has modules below it
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def generate_id(length=8):
    """Return a fresh id of `length` letters and digits (str)."""
    source = random.SystemRandom()              # the script's own seed makes the same numbers in every run
    return "".join(source.choice(LETTERS) for _ in range(length))


generate_fast_id = generate_id


def get_module(name, required=None, lazy=True):
    """Return a module by its name, None where it is not installed; raises ImportError with `required` as its
    text."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if required:
            raise ImportError(required) from None
        return None


vendor_import = get_module


def is_numpy_array(value):
    """Whether `value` is an array of numpy's."""
    return isinstance(value, getattr(sys.modules.get("numpy"), "ndarray", ()))


def json_friendly(value):
    """Return (value as JSON has it, whether it was another)."""
    form = plain(value, "json_friendly")
    return form, form is not value


def json_dumps_safer(value, **options):
    """Return the JSON text of anything."""
    return json.dumps(plain(value, "json_dumps_safer"), **options)


def make_artifact_name_safe(name):
    """Return an artifact's name (str) without letters that W&B refuses."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in str(name))


def to_forward_slash_path(path):
    """Return a path (str) with "/"."""
    return str(path).replace("\\", "/")


def __getattr__(name):
    from runicorn.wandb.aliases import attribute
    return attribute(name, "util")
