"""A run's config and summary: mappings that are on disk when an assignment returns."""

import sys
from collections import OrderedDict
from collections.abc import MutableMapping

from runicorn.writer.definitions import WAYS
from runicorn.writer.notice import say
from runicorn.writer.values import attempt, key_text, plain, plain_fields, reason, type_name


class Copy(dict):
    """A copy of a config or summary: plain data, its keys as attributes as well. No change to it is
    written."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this copy of a config has no {name!r}") from None

    __setattr__, __delattr__ = dict.__setitem__, dict.__delitem__

    def __copy__(self):
        return Copy(self)

    def __deepcopy__(self, memo):
        from copy import deepcopy
        return Copy(deepcopy(dict(self), memo))

    def __reduce_ex__(self, protocol):
        """A checkpoint gets a kind of dict that torch.load takes by its name, a process that multiprocessing
        starts one with attributes."""
        context = sys.modules.get("multiprocessing.context")
        kind = Copy if context and context.get_spawning_popen() else OrderedDict
        return kind, (), None, None, iter(self.items())


class _Mapping(MutableMapping):
    """What both have in common: copies, and `update`."""

    def update(self, other=(), allow_val_change=None, **more):
        """Take over a dict, Namespace, dataclass, object or pairs, and keywords; written once.
        `allow_val_change` is wandb's."""
        self._change(self._fields, other, more)

    def _fields(self, other, more):
        values = plain_fields(other, self._name, more)
        if values is None:
            say(f"{self._name} takes a dict, not {type_name(other)}, which changes nothing",
                once=(self._name, type_name(other)))
        return values or plain_fields((), self._name, more)

    def __setitem__(self, key, value):
        self._change(lambda: {key_text(key): plain(value, f"{self._name}[{key_text(key)!r}]")})

    def _change(self, values, *args):
        _, error = attempt(lambda: self._set(values(*args)))
        if error is not None:
            say(f"{self._name}: {reason(error)}; this change was not recorded",
                once=(self._name, type_name(error)))

    def __copy__(self):
        return Copy(self.as_dict())

    def __deepcopy__(self, memo):
        from copy import deepcopy
        return deepcopy(Copy(self.as_dict()), memo)

    def __reduce_ex__(self, protocol):
        return Copy(self.as_dict()).__reduce_ex__(protocol)

    def __repr__(self):
        return f"{type(self).__name__}({self.as_dict()!r})"


class Config(_Mapping):
    """The run's settings, as items and as attributes: `config["lr"]`, `config.lr`, `config.update({...})`.

    Values are kept as JSON has them (int, float, bool, str, None, list, dict); anything else is kept as its
    text. A change is in meta.json when the call returns (at most 10 writes a second; then within 0.1 s).
    """

    _name = "config"

    def __init__(self, changed=lambda: None, values=()):
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_changed", changed)

    def _set(self, values):
        self._values.update(values)
        self._changed()

    def __getitem__(self, key):
        return self._values[key]

    def __delitem__(self, key):
        del self._values[key]
        self._changed()

    def __iter__(self):
        return iter(list(self._values))

    def __len__(self):
        return len(self._values)

    def __getattr__(self, name):
        # Absent in one that is being made by other means than a call
        values = self.__dict__.get("_values", {})
        try:
            return values[name]
        except KeyError:
            raise AttributeError(
                f"the config has no {name!r}; it has {', '.join(values) or 'nothing yet'}") from None

    def __setattr__(self, name, value):
        self[name] = value

    def __delattr__(self, name):
        del self[name]

    def setdefaults(self, values):
        """Take over what a dict or the like has that is not set yet."""
        self._change(lambda: {key: value for key, value in self._fields(values, {}).items()
                              if key not in self._values})

    def persist(self):
        """Nothing waits to be written; accepted for scripts written for wandb."""

    def as_dict(self):
        """Return a copy (dict)."""
        return dict(self._values)


class Several(float):
    """A metric's last value, whose least, largest … that define_metric asked for are its items and
    attributes, as in wandb: `summary["loss"]["min"]`."""

    def __new__(cls, value, values):
        number = super().__new__(cls, value)
        number._values = values
        return number

    def __getitem__(self, rule):
        return self._values[rule]

    def __getattr__(self, rule):
        try:
            return self.__dict__["_values"][rule]
        except KeyError:
            raise AttributeError(rule) from None

    def get(self, rule, default=None):
        """Return one of them, else `default`."""
        return self._values.get(rule, default)

    def __reduce__(self):
        return float, (float(self),)


class Summary(_Mapping):
    """The run's results: the last value of every metric, and over them what the user set.

    `summary({...})`, `summary.update({...})` and `summary["best"] = …` set; reading sees both. On disk as
    `Config` is.
    """

    _name = "summary"

    def __init__(self, changed=lambda: None, metrics=None, user=()):
        # _metrics: the run's own dict of last values, which it updates in `log`
        self.__dict__.update(_changed=changed, _metrics={} if metrics is None else metrics, _user=dict(user))

    def __call__(self, values=(), **more):
        """Set several values at once: a dict, and keywords."""
        self.update(values, **more)

    def _set(self, values):
        self._user.update(values)
        self._changed()

    def __getitem__(self, key):
        value = self._user[key] if key in self._user else self._metrics[key]
        if type(value) in (int, float) and type(key) is str:
            values = {rule: self._metrics[f"{key}.{rule}"]
                      for rule in WAYS if f"{key}.{rule}" in self._metrics}
            return Several(value, values) if values else value
        return value

    def __getattr__(self, name):
        if name[:1] == "_":                     # of one that is made by other means than a call
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the summary has no {name!r}") from None

    def __setattr__(self, name, value):
        self[name] = value

    def __delattr__(self, name):
        del self[name]

    def __delitem__(self, key):
        if key not in self._user and key in self._metrics:
            say(f"summary[{key!r}] is the last value of a metric and stays")
            return
        del self._user[key]
        self._changed()

    def __iter__(self):
        return iter(self.as_dict())

    def __len__(self):
        return len(self.as_dict())

    def as_dict(self):
        """Return a copy (dict): metrics first, then what the user set."""
        # log({3: 1.0}) has odd keys
        return {**{key_text(key): value for key, value in list(self._metrics.items())}, **self._user}
