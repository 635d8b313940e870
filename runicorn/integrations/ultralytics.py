"""Callbacks for Ultralytics: `follow(model, project="yolo", name="n")` before `model.train(…)`."""

from runicorn.wandb import data_types
from runicorn.writer import api


def follow(model, run=None, **options):
    """Log the trainings of `model` (ultralytics.YOLO), a row an epoch at the epoch's number: losses as
    "train/…", learning rates, metrics; and the plots at the end. Returns the model.

    run: an existing Run, else the one that is going on, else one that begins with the training, with the
    arguments of `runicorn.init`.
    """
    events = _Training(run, options)
    for event in ("on_pretrain_routine_end", "on_fit_epoch_end", "on_train_end"):
        model.add_callback(event, getattr(events, event))
    return model


class _Training:
    """What Ultralytics calls, with its trainer."""

    def __init__(self, run, options):
        self._run, self._options, self._owns = run, options, False

    def on_pretrain_routine_end(self, trainer):
        self._run = self._run or api.current_run()
        self._owns = self._run is None
        self._run = self._run or api.init(**{"project": "Ultralytics", "name": str(trainer.args.name),
                                             **self._options})
        self._run.config.update(vars(trainer.args))

    def on_fit_epoch_end(self, trainer):
        if trainer.epoch >= trainer.epochs:             # the best weights, looked at once more
            return
        losses = trainer.label_loss_items(trainer.tloss, prefix="train")
        self._run.log({**losses, **trainer.lr, **trainer.metrics}, step=trainer.epoch + 1)

    def on_train_end(self, trainer):
        plots = {**trainer.validator.plots, **trainer.plots}
        self._run.log({path.stem: data_types.Image(path) for path in plots if path.is_file()},
                      step=trainer.epoch + 1)
        if self._owns:
            self._run.finish()
