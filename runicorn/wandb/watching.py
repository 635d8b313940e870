"""`watch`: histograms of a torch module's gradients, and of its parameters, every so many batches, as W&B
names them."""

from runicorn.wandb.data_types import Histogram
from runicorn.writer import current
from runicorn.writer.values import attempt

_handles = {}           # id of a module: the hooks on it


def watch(run, models, log="gradients", log_freq=1000, idx=None):
    """Log the modules' gradients and parameters ("gradients", "parameters", "all") with the row after each
    `log_freq`-th batch."""
    models = models if isinstance(models, (list, tuple)) else [models]
    for index, model in enumerate(models):
        if log is None or not hasattr(model, "named_parameters") or id(model) in _handles:
            continue
        prefix = f"graph_{index + (idx or 0)}" if len(models) > 1 or idx else ""
        _handles[id(model)] = [handle for name, parameter in model.named_parameters()
                               if parameter.requires_grad
                               for handle in [_hook(parameter, f"{prefix}{name}", log, max(1, int(log_freq)))]
                               if handle is not None]
    return []


def unwatch(models=None):
    """Log them no more."""
    models = models if isinstance(models, (list, tuple, type(None))) else [models]
    for key in list(_handles) if models is None else map(id, models):
        for handle in _handles.pop(key, ()):
            attempt(handle.remove)


def _hook(parameter, name, log, every):
    count = 0

    def take(gradient):
        nonlocal count
        count += 1
        run = current.current_run()
        if count % every == 0 and run is not None:
            row = {f"gradients/{name}": Histogram(gradient)} if log in ("gradients", "all") else {}
            if log in ("parameters", "all"):
                row[f"parameters/{name}"] = Histogram(parameter)
            run.log(row, commit=False)
    return attempt(parameter.register_hook, take)[0]
