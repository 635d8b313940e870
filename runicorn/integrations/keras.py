"""A callback for Keras 3: `model.fit(…, callbacks=[RunicornCallback(project="vision", name="vgg16")])`."""

from keras.callbacks import Callback

from runicorn.writer import api


class RunicornCallback(Callback):
    """Logs each epoch at its number: "loss" as "train/loss", "val_loss" as "val/loss". A run that is going on
    is used, else one begins with the arguments of `runicorn.init`; it ends with the process, or by
    `runicorn.finish()`.

    every: int, also log each `every`-th batch, as "batch/loss", at the number of batches so far; 0: none.
    """

    def __init__(self, every=0, **options):
        super().__init__()
        self._every, self._options, self._run, self._batches = every, options, None, 0

    def on_train_begin(self, logs=None):
        """Begin the run, unless there is one; `model.fit`'s parameters go into the config."""
        self._run = api.current_run() or api.init(**self._options)
        self._run.config.update(self.params or {})

    def on_train_batch_end(self, batch, logs=None):
        """Log a batch, if it is one of the `every`-th."""
        if self._every and self._batches % self._every == 0:
            self._run.log({f"batch/{key}": value for key, value in (logs or {}).items()}, step=self._batches)
        self._batches += 1

    def on_epoch_end(self, epoch, logs=None):
        """Log the epoch's row."""
        named = {f"val/{key[4:]}" if key.startswith("val_") else f"train/{key}": value
                 for key, value in (logs or {}).items()}
        self._run.log(named, step=epoch)
