"""Answer the names of W&B's package and of its modules: by what is here, else by something inert. `install`
makes it all `import wandb`."""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

from runicorn.wandb import names
from runicorn.wandb.inert import part
from runicorn.writer.values import attempt

OURS, THEIRS = "runicorn.wandb", "wandb"


class Module(ModuleType):
    """A module of W&B's without a file here."""

    def __getattr__(self, name):
        return attribute(name, self.__name__.partition("wandb.")[2])


class _Ours:
    """Finds every module below this package that has no file."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, _Loader, is_package=True) if name.startswith(f"{OURS}.") else None


class _Theirs:
    """Finds every module below `wandb`, while that is this package."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        is_ours = name.startswith(f"{THEIRS}.") and sys.modules.get(THEIRS) is sys.modules.get(OURS)
        return ModuleSpec(name, _Loader, is_package=True) if is_ours else None


class _Loader:

    @staticmethod
    def create_module(spec):
        name = spec.name if spec.name.startswith(OURS) else f"{OURS}.{spec.name.partition('.')[2]}"
        module = sys.modules.get(name)
        if module is None and name != spec.name:
            module = import_module(name)
        if module is None:
            return Module(name)
        vars(module).setdefault("_own_spec", module.__spec__)
        return module

    @staticmethod
    def exec_module(module):
        # The import system has put in the alias's
        vars(module)["__spec__"] = vars(module).pop("_own_spec", module.__spec__)


def attribute(name, above=""):
    """Return what W&B's module `above` (str, "" for the package itself) has by the `name`. Raises
    AttributeError for what is private."""
    callback = above.rpartition(".")[2]
    if callback in names.CALLBACKS and name in names.CALLBACKS[callback]:
        member, error = attempt(getattr(import_module(f"{OURS}.callbacks"), names.CALLBACKS[callback][name]))
        return member if error is None else part(above, name)         # without the framework
    if name in names.HOMES and (name[:1] != "_" or not above):
        home = import_module(f"{OURS}.{names.HOMES[name]}")
        return part(above, name) if isinstance(home, Module) else getattr(home, name)
    if name in names.SAME:
        return _dotted(names.SAME[name])
    if name in names.MODULES:
        return import_module(".".join(filter(None, (OURS, above, name))))
    return part(above, name)


def _dotted(path):
    value = sys.modules[OURS]
    for name in path.split("."):
        value = getattr(value, name)
    return value


def find_modules():
    """Have the import system find here what of W&B's modules has no file."""
    if _Ours not in sys.meta_path:
        sys.meta_path.append(_Ours)


def install():
    """Make this package what `import wandb` gives in this process, and its modules what `import wandb.…`
    gives."""
    package = import_module(OURS)
    for name in [name for name in sys.modules if name.startswith(f"{THEIRS}.")]:
        del sys.modules[name]
    sys.modules[THEIRS] = package
    if _Theirs not in sys.meta_path:
        sys.meta_path.insert(0, _Theirs)
