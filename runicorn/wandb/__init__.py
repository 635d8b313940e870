"""W&B's names over a run of Runicorn's: `import runicorn.wandb as wandb`, or `import wandb` under `runicorn
run`.

What has a meaning here works, the rest is there, does nothing and says so once. docs/wandb.md lists both.
Begin reading with beginning (`init`), facade (`Run`) and names; aliases answers every name.
"""

import sys as _sys

from runicorn import version as _version
from runicorn.wandb import aliases as _aliases
from runicorn.wandb import names as _names

__version__ = _version.WANDB
patched = {"tensorboard": [], "keras": [], "gym": []}

_aliases.find_modules()


def __getattr__(name):
    if name == "wandb":
        return _sys.modules[__name__]
    if name in _names.OWN:
        return _aliases.import_module(__name__ + "." + name)
    if name in ("run", "config", "summary"):
        from runicorn.wandb import facade
        return facade.of_current(name)
    if name[:1] == "_" and name not in _names.PRIVATE:
        raise AttributeError("module 'wandb' has no attribute " + repr(name))
    value = globals()[name] = _aliases.attribute(name)
    return value


class _Module(type(_sys)):

    def __setattr__(self, name, value):
        if name not in ("run", "config", "summary") or isinstance(value, type(_sys)):
            super().__setattr__(name, value)
        elif name != "run":
            from runicorn.wandb import facade
            facade.assign(name, value)


_sys.modules[__name__].__class__ = _Module


def __dir__():
    return sorted(_names.PUBLIC | set(globals()))
