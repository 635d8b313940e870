"""A run's config and summary: mappings that are on disk when an assignment returns."""

from collections.abc import MutableMapping

from runicorn.notice import say
from runicorn.values import mapping, plain


class Config(MutableMapping):
    """The run's settings, as items and as attributes: `config["lr"]`, `config.lr`, `config.update({...})`.

    Values are kept as JSON has them (int, float, bool, str, None, list, dict); anything else is kept as its text.
    A change is in meta.json when the call returns (at most 10 writes a second; then within 0.1 s).
    """

    def __init__(self, changed=lambda: None, values=()):
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_changed", changed)

    def __getitem__(self, key):
        return self._values[key]

    def __setitem__(self, key, value):
        self._values[str(key)] = plain(value)
        self._changed()

    def __delitem__(self, key):
        del self._values[key]
        self._changed()

    def __iter__(self):
        return iter(list(self._values))

    def __len__(self):
        return len(self._values)

    def __getattr__(self, name):
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"the config has no {name!r}; it has {', '.join(self._values) or 'nothing yet'}") from None

    def __setattr__(self, name, value):
        self[name] = value

    def __delattr__(self, name):
        del self[name]

    def update(self, other=(), allow_val_change=None, **more):
        """Take over a dict, Namespace, dataclass or pairs, and keywords; written once. `allow_val_change` is wandb's: always true here."""
        fields = mapping(other)
        self._values.update((str(key), plain(value)) for key, value in dict(other if fields is None else fields, **more).items())
        self._changed()

    def as_dict(self):
        """Return a copy (dict)."""
        return dict(self._values)

    def __repr__(self):
        return f"Config({self._values!r})"


class Summary(MutableMapping):
    """The run's results: the last value of every metric, and over them what the user set.

    `summary({...})`, `summary.update({...})` and `summary["best"] = …` set; reading sees both. On disk as `Config` is.
    """

    def __init__(self, changed=lambda: None, metrics=None, user=()):
        self._changed = changed
        self._metrics = {} if metrics is None else metrics      # the run's own dict of last values, which it updates in `log`
        self._user = dict(user)

    def __call__(self, values=(), **more):
        """Set several values at once: a dict, and keywords."""
        self.update(values, **more)

    def update(self, other=(), **more):
        """Set several values at once, written once; values as `Config` keeps them."""
        fields = mapping(other)
        for key, value in dict(other if fields is None else fields, **more).items():
            self._user[str(key)] = plain(value)
        self._changed()

    def __getitem__(self, key):
        return self._user[key] if key in self._user else self._metrics[key]

    def __setitem__(self, key, value):
        self._user[str(key)] = plain(value)
        self._changed()

    def __delitem__(self, key):
        if key not in self._user and key in self._metrics:
            say(f"summary[{key!r}] is the last value of a metric and stays")
            return
        del self._user[key]
        self._changed()

    def __iter__(self):
        return iter({**self._metrics, **self._user})

    def __len__(self):
        return len({**self._metrics, **self._user})

    def as_dict(self):
        """Return a copy (dict): metrics first, then what the user set."""
        return {**self._metrics, **self._user}

    def __repr__(self):
        return f"Summary({self.as_dict()!r})"
