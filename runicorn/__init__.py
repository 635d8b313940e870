"""Log training to plain files; watch it from anywhere over SSH.

    import runicorn
    run = runicorn.init(project="vision", name="resnet50", config={"lr": 0.001})
    run.log({"train/loss": 0.5}, step=1)
    run.finish()
"""

from runicorn import writer as _writer
from runicorn.errors import RunicornError
from runicorn.recorder import Run
from runicorn.version import VERSION as __version__
from runicorn.writer import define_metric, finish, init, log, watch

__all__ = ["Image", "Run", "RunicornError", "__version__", "define_metric", "finish", "init", "log", "open_run", "runs", "watch"]


def __getattr__(name):
    """`run`, `config` and `summary` are those of the current run; `Image`, `runs` and `open_run` are loaded when used."""
    if name == "run":
        return _writer.current_run()
    if name in ("config", "summary"):
        if _writer.current_run() is None:
            raise AttributeError(f"runicorn.{name} needs a run: call runicorn.init(...) first")
        return getattr(_writer.current_run(), name)
    if name == "Image":
        from runicorn.images import Image
        return Image
    if name in ("runs", "open_run"):
        from runicorn import reader
        return getattr(reader, name)
    raise AttributeError(f"module 'runicorn' has no attribute {name!r}")
