"""Methods of W&B's run beside `log`: files, artifacts, alerts, watching. None of them raises."""

import sys

from runicorn.wandb import artifacts, files
from runicorn.writer.notice import say
from runicorn.writer.values import attempt, reason


def _safe(method):
    """Return `method` as one that says once what it raises, a wrong argument too, and returns None then."""
    def call(self, *args, **kwargs):
        value, error = attempt(method, self, *args, **kwargs)
        if error is not None:
            say(f"wandb.{call.__name__}(): {reason(error)}", once=("wandb", call.__name__, type(error)))
        return value
    call.__name__, call.__doc__ = method.__name__[1:], method.__doc__
    return call


def _alert(self, title, text="", level=None, wait_duration=None):
    """Write an alert into the run: the laptop shows it."""
    self.__dict__["_run"].alert(title, text, getattr(level, "value", level))


def _save(self, glob_str=None, base_path=None, policy="live", glob=True):
    """Copy files into the run's folder, now and, with policy "live" or "end", when the run ends. Returns
    their paths (list of str)."""
    return files.save(self, glob_str, base_path, policy, glob)


def _restore(self, name, run_path=None, replace=False, root=None):
    """Open a file of this run, None where it is not there."""
    return files.restore(self, name, run_path)


def _log_code(self, root=".", name=None, include_fn=None, exclude_fn=None):
    """Copy the script's Python files into the run's folder `code`."""
    return files.log_code(self, root, include_fn, exclude_fn)


def _save_script(self, path):
    return files.save_script(self, path)


def _log_artifact(self, artifact_or_path, name=None, type=None, aliases=None, tags=None, **unknown):
    """Copy an artifact's files into the run's folder `artifacts`; returns the Artifact."""
    return artifacts.log_artifact(self, artifact_or_path, name, type, aliases)


def _use_artifact(self, artifact_or_name, type=None, aliases=None, use_as=None):
    """Return an Artifact that a run of this project logged, the newest of its name."""
    return artifacts.use_artifact(self, artifact_or_name, type)


def _log_model(self, path, name=None, aliases=None):
    """Copy a model's files into the run's folder `artifacts`."""
    return _log_artifact(self, path, name or f"run-{self.id}-model", "model", aliases)


def _use_model(self, name):
    """Return the path (str) of a model's file, or of its folder if it has several."""
    return artifacts.use_model(self, name)


def _link(self, artifact=None, *args, **kwargs):
    """There is no registry; the files stay in the run's folder."""
    return artifact


def _watch(self, models=None, criterion=None, log="gradients", log_freq=1000, idx=None, log_graph=False):
    """Log histograms of the gradients and parameters of torch modules, every `log_freq` batches."""
    from runicorn.wandb import watching
    return watching.watch(self, models, log, log_freq, idx) or []


def _unwatch(self, models=None):
    """Log them no more."""
    watching = sys.modules.get("runicorn.wandb.watching")
    return watching and watching.unwatch(models)


def _plot_table(self, *args, **kwargs):
    from runicorn.wandb import plot
    return plot.plot_table(*args, **kwargs)


OF_RUN = {name: _safe(method) for name, method in {"alert": _alert, "save": _save, "restore": _restore,
                                                   "log_code": _log_code, "save_script": _save_script,
                                                   "log_artifact": _log_artifact,
                                                   "upsert_artifact": _log_artifact,
                                                   "finish_artifact": _log_artifact,
                                                   "use_artifact": _use_artifact, "log_model": _log_model,
                                                   "use_model": _use_model, "link_artifact": _link,
                                                   "link_model": _link, "watch": _watch, "unwatch": _unwatch,
                                                   "plot_table": _plot_table}.items()}
