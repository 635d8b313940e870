"""Stands in for a name of W&B's that has no meaning here: it can be called, subclassed, iterated, entered and
asked for more, and does nothing. The first use of each name says on stderr what to do instead."""

from runicorn.writer.notice import say

INSTEAD = {
    "sweep": "the function of a sweep is not called; an optimiser such as Optuna in the script does the "
             "choosing, with a run of its own for each config",
    "Api": "runicorn.runs() and runicorn.open_run(id) read runs", "launch": "start the program yourself, or "
                                                                            "by Slurm",
    "integration": "call log() in a callback of your own, or see docs/wandb.md for what there is",
    "report": "the viewer compares runs",
}
GROUPS = {**dict.fromkeys(("agent", "agents", "controller", "wandb_agent", "wandb_controller"), "sweep"),
          **dict.fromkeys(("InternalApi", "PublicApi", "api", "apis"), "Api"),
          **dict.fromkeys(("keras", "sklearn", "xgboost", "lightgbm", "catboost", "fastai", "sacred"),
                          "integration")}
# What integrations of W&B's own tell W&B
QUIET = frozenset(("telemetry", "proto", "analytics", "term", "internal"))
# What libraries ask any object for
PROBES = frozenset(("item", "numpy", "dtype", "shape", "keys", "to_dict", "model_dump", "tolist"))


def tell(name):
    """Say once that `name` (dotted, below wandb) does nothing."""
    head = name.partition(".")[0]
    if QUIET.intersection(name.split(".")):
        return
    advice = INSTEAD.get(GROUPS.get(head, head))
    say(f"wandb.{name} does nothing here" + (f": {advice}" if advice else ""), once=("wandb", head))


class Stub:
    """What a class of a script's is made from that names an inert one as its base."""

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        return part(type(self).__name__, name)


class Inert:
    """False, empty, callable; every public attribute and item is another one. name: str, below wandb."""

    def __init__(self, name):
        self.__dict__["_name"] = name

    def __call__(self, *args, **kwargs):
        tell(self._name)
        if len(args) == 1 and not kwargs and type(args[0]).__name__ in ("function", "type"):
            return args[0]                                  # a decorator
        return Inert(self._name)

    def __getattr__(self, name):
        return part(self._name, name)

    def __getitem__(self, key):
        return Inert(self._name)

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 0

    def __contains__(self, item):
        return False

    def __enter__(self):
        tell(self._name)
        return self

    def __or__(self, operand):
        return self

    __ror__ = __or__

    def _nothing(self, *args):
        """Assignments change nothing, an exception within a block passes."""

    __exit__ = __setattr__ = __setitem__ = __delitem__ = _nothing

    def __instancecheck__(self, value):
        return False

    __subclasscheck__ = __instancecheck__

    def __mro_entries__(self, bases):
        tell(self._name)
        return (Stub,)

    def __reduce__(self):
        return Inert, (self._name,)

    def __repr__(self):
        return f"<wandb.{self._name}: nothing here>"


def part(above, name):
    """Return what stands for the attribute `name` of `above` (str, below wandb). Raises AttributeError for
    what is private, or asked of any object."""
    if name[:1] == "_" or name in PROBES:
        raise AttributeError(f"wandb.{above} has no {name!r} here")
    if name.endswith(("Error", "Exception", "Warning")):
        return type(name, (Exception,), {})                 # something may be caught by it
    return Inert(f"{above}.{name}" if above else name)
