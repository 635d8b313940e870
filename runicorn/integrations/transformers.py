"""A callback for Hugging Face Transformers: `Trainer(…, callbacks=[RunicornCallback(project="nlp",
name="bert")])`."""

from transformers import TrainerCallback

from runicorn.writer import api


class RunicornCallback(TrainerCallback):
    """Logs what the Trainer logs, from the world's first process: "loss" as "train/loss", "eval_loss" as
    "eval/loss".

    Takes the arguments of `runicorn.init`; the training arguments and the model's config go into the config.
    A run that is going on is used. It ends with the process, or by `runicorn.finish()`: an evaluation after
    the training is logged too.
    """

    def __init__(self, **options):
        self._options, self._run = options, None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Begin the run, unless there is one."""
        if not state.is_world_process_zero:
            return
        self._run = api.current_run() or api.init(**self._options)
        self._run.config.update(dict(args.to_dict(),
                                     **({"model": model.config.to_dict()} if hasattr(model, "config")
                                        else {})))

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Log a row at the trainer's global step."""
        if self._run is not None and state.is_world_process_zero:
            self._run.log({_name(key): value for key, value in (logs or {}).items()}, step=state.global_step)


def _name(key):
    for split in ("eval", "test", "predict"):
        if key.startswith(split + "_"):
            return f"{split}/{key[len(split) + 1:]}"
    return key if key == "epoch" else f"train/{key[6:] if key.startswith('train_') else key}"
