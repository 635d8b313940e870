"""Log training to plain files; watch it from anywhere over SSH.

    import runicorn
    run = runicorn.init(project="vision", name="resnet50", config={"lr": 0.001})
    run.log({"train/loss": 0.5}, step=1)
    run.finish()
"""

import sys as _sys

if _sys.version_info < (3, 8):      # noqa: UP036  Before anything is imported that an older Python can't read; this file, even 2.7 can.
    _why = "runicorn needs Python 3.8 or newer; this is " + ".".join(map(str, _sys.version_info[:3]))
    if (getattr(_sys, "argv", None) or [""])[0] == "-m":
        _sys.exit(_why + " (`python3 " + __path__[0] + "/manifest.py --root FOLDER`, alone, runs on 3.6)")
    raise ImportError(_why)

from runicorn import errors as _errors
from runicorn.errors import RunicornError
from runicorn.version import VERSION as __version__
from runicorn.writer import api as _writer
from runicorn.writer import silent as _silent
from runicorn.writer.api import define_metric, finish, init, log, watch

__all__ = ["Image", "Run", "RunicornError", "SummaryWriter", "__version__", "define_metric", "finish", "init",
           "log", "open_run", "runs", "watch"]


def __getattr__(name):
    """`run`, `config` and `summary` are those of the current run; `Run`, `Image`, `runs` and `open_run` are
    loaded when used."""
    if name == "run":
        return _writer.current_run()
    if name in ("config", "summary"):
        if _writer.current_run() is None:
            if name in _assigned:
                return _assigned[name]
            raise AttributeError("runicorn." + name + " needs a run: call runicorn.init(...) first")
        return getattr(_writer.current_run(), name)
    if name == "Run":
        from runicorn.writer.run import Run
        return Run
    if name == "Image":
        from runicorn.writer.images import Image
        return Image
    if name == "SummaryWriter":
        from runicorn.integrations.summary_writer import SummaryWriter
        return SummaryWriter
    if name in ("runs", "open_run"):
        from runicorn.reader import scripts
        return getattr(scripts, name)
    # Of a script that says `import runicorn as wandb`
    if name[:1] != "_" and not _is_module(name) and name in _wandb("names").PUBLIC:
        value = getattr(_sys.modules["runicorn.wandb"], name)
        return globals().setdefault(name, value)
    raise AttributeError("module 'runicorn' has no attribute " + repr(name))


def _is_module(name):
    """Whether it is one of ours, which `from runicorn import name` asks for here before it is loaded."""
    from importlib.machinery import PathFinder
    return PathFinder.find_spec(__name__ + "." + name, __path__) is not None


def _wandb(module):
    from importlib import import_module
    return import_module("runicorn.wandb." + module)


def _error(name):
    if name[:1] == "_" or _wandb("names").HOMES.get(name) != "errors":
        raise AttributeError("module 'runicorn.errors' has no attribute " + repr(name))
    return getattr(_wandb("errors"), name)


_silent.answer_with(lambda run, name: _wandb("facade").attribute(run, name))
# `except wandb.errors.CommError`, of `import runicorn as wandb`
vars(_errors).setdefault("__getattr__", _error)


def __dir__():
    return sorted(set(globals()) | set(__all__) | {"config", "run", "summary"})


_assigned = {}


class _Module(type(_sys)):
    """This module, which copies and pickles as itself: in objects that keep it as an attribute. What a script
    assigns to its `config` or `summary` goes into those of the run, and stands for them before there is one,
    as in wandb."""

    def __setattr__(self, name, value):
        if name not in ("config", "summary") or isinstance(value, type(_sys)):
            super().__setattr__(name, value)
            return
        _assigned[name] = value
        if _writer.current_run() is not None:
            getattr(_writer.current_run(), name).update(value)

    def __reduce__(self):
        return __import__, (__name__,)


_sys.modules[__name__].__class__ = _Module
