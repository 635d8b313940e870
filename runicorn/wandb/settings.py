"""W&B's settings: kept as they are given, read by `init`."""

import os


class Settings:
    """Any keywords, as attributes; what was not given is None."""

    def __init__(self, *args, **values):
        self.__dict__.update(values)

    def __getattr__(self, name):
        if name[:2] == "__":
            raise AttributeError(name)
        return None

    def update(self, values=(), **more):
        """Take over a dict, Settings, and keywords."""
        self.__dict__.update(given(values), **more)

    def to_dict(self):
        """Return what was given (dict)."""
        return dict(self.__dict__)

    keys, items = (lambda self: self.__dict__.keys()), (lambda self: self.__dict__.items())

    def __getitem__(self, name):
        return getattr(self, name)

    def __repr__(self):
        return f"Settings({self.__dict__!r})"


def given(settings):
    """Return what a Settings, dict or None holds (dict), by the names that `init` has for it."""
    values = dict(settings if isinstance(settings, dict) else getattr(settings, "__dict__", {}))
    return {name[4:] if name[:4] == "run_" else name[2:] if name[:2] == "x_" else name: value
            for name, value in values.items()}


def flag(name):
    """Whether an environment variable says yes."""
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "y", "on")
