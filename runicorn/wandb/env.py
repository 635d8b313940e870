"""W&B's environment variables, as scripts read and set them."""

import os

from runicorn.wandb.settings import flag

__path__ = []           # W&B has modules below it
VARIABLES = {"project": "WANDB_PROJECT", "entity": "WANDB_ENTITY", "run": "WANDB_RUN_ID",
             "name": "WANDB_NAME", "dir": "WANDB_DIR", "tags": "WANDB_TAGS", "notes": "WANDB_NOTES",
             "mode": "WANDB_MODE", "username": "WANDB_USERNAME", "base_url": "WANDB_BASE_URL",
             "cache_dir": "WANDB_CACHE_DIR", "data_dir": "WANDB_DATA_DIR",
             "artifact_dir": "WANDB_ARTIFACT_DIR"}


def __getattr__(name):
    if name.isupper():
        return "WANDB_" + name                  # wandb.env.PROJECT
    verb, _, field = name.partition("_")
    if verb == "get" and field in VARIABLES:
        return lambda default=None, env=None: (os.environ if env is None else env).get(
            VARIABLES[field], default)
    if verb == "set" and field in VARIABLES:
        return lambda value, env=None: (os.environ if env is None else env).__setitem__(
            VARIABLES[field], str(value))
    if name[:1] == "_":
        raise AttributeError(name)
    return lambda *args, **kwargs: flag("WANDB_" + name[3:].upper()) if verb == "is" else None
