"""Callbacks that W&B's own package has for frameworks, made when a script asks for one: the framework is
there then."""

import json
import os

from runicorn.wandb import calls, facade
from runicorn.writer.values import attempt


def stable_baselines():
    """Return WandbCallback for Stable-Baselines3: the model's settings into the config, its gradients, the
    model itself."""
    from stable_baselines3.common.callbacks import BaseCallback

    class WandbCallback(BaseCallback):

        def __init__(self, verbose=0, model_save_path=None, model_save_freq=0, gradient_save_freq=0,
                     log="all", **unknown):
            super().__init__(verbose)
            self._folder, self._every, self._gradients, self._log = (model_save_path, model_save_freq,
                                                                     gradient_save_freq, log)

        def _init_callback(self):
            values = {key: value if type(value) in (int, float, str) else str(value)
                      for key, value in self.model.__dict__.items()}
            facade.of_current("config").setdefaults({"algo": type(self.model).__name__, **values})
            if self._gradients:
                calls.watch(self.model.policy, log=self._log, log_freq=self._gradients)

        def _on_step(self):
            if self._every and self.n_calls % self._every == 0:
                self._keep()
            return True

        def _on_training_end(self):
            self._keep()

        def _keep(self):
            if self._folder is not None:
                os.makedirs(self._folder, exist_ok=True)
                path = os.path.join(self._folder, "model.zip")
                self.model.save(path)
                calls.save(path, base_path=self._folder)
    return WandbCallback


def keras_metrics():
    """Return WandbMetricsLogger for Keras: each epoch as "epoch/loss" …, or every n-th batch as
    "batch/loss"."""
    from keras.callbacks import Callback

    class WandbMetricsLogger(Callback):

        def __init__(self, log_freq="epoch", initial_global_step=0, **unknown):
            super().__init__()
            self._every = {"batch": 1, "epoch": 0}.get(log_freq, log_freq)
            self._batch = self._step = 0
            name = "batch/batch_step" if self._every else "epoch/epoch"
            calls.define_metric(name)
            calls.define_metric(name.partition("/")[0] + "/*", step_metric=name)

        def _row(self, split, logs, **more):
            rate = attempt(lambda: float(self.model.optimizer.learning_rate))[0]
            row = {f"{split}/{key}": value for key, value in {**(logs or {}), **more}.items()}
            calls.log({**row, **({} if rate is None else {f"{split}/learning_rate": rate})})

        def on_epoch_end(self, epoch, logs=None):
            self._row("epoch", logs, epoch=epoch)

        def on_train_batch_end(self, batch, logs=None):
            self._step += 1
            if self._every and batch % self._every == 0:
                self._row("batch", logs, batch_step=self._batch)
                self._batch += self._every
    return WandbMetricsLogger


def keras_checkpoint():
    """Return WandbModelCheckpoint for Keras: ModelCheckpoint, whose files are saved with the run."""
    from keras.callbacks import ModelCheckpoint

    class WandbModelCheckpoint(ModelCheckpoint):

        def _save_model(self, *args, **kwargs):
            super()._save_model(*args, **kwargs)
            calls.save(str(self.filepath).partition("{")[0] + "*")
    return WandbModelCheckpoint


def keras_nothing():
    """Return a callback for Keras that does nothing."""
    from keras.callbacks import Callback

    class WandbEvalCallback(Callback):

        def __init__(self, *args, **kwargs):
            super().__init__()
    return WandbEvalCallback


def xgboost_metrics():
    """Return WandbCallback for XGBoost: each iteration as "validation_0-rmse" …, and the best score."""
    from xgboost.callback import TrainingCallback

    class WandbCallback(TrainingCallback):

        def __init__(self, *args, **kwargs):
            super().__init__()

        def before_training(self, model):
            facade.of_current("config").update(attempt(lambda: json.loads(model.save_config()))[0] or {})
            return model

        def after_iteration(self, model, epoch, evals_log):
            calls.log({**{f"{data}-{name}": values[-1] for data, metrics in evals_log.items()
                          for name, values in metrics.items()}, "epoch": epoch})
            return False

        def after_training(self, model):
            if model.attr("best_score") is not None:
                calls.log({"best_score": float(model.attr("best_score")),
                           "best_iteration": int(model.attr("best_iteration"))})
            return model
    return WandbCallback


def lightgbm_metrics():
    """Return wandb_callback for LightGBM: each iteration as "valid_0_l2" …"""
    def wandb_callback(*args, **kwargs):
        def log(environment):
            calls.log({**{f"{data}_{name}": value
                          for data, name, value, *_ in environment.evaluation_result_list or ()},
                       "iteration": environment.iteration})
        return log
    return wandb_callback


def fastai_metrics():
    """Return WandbCallback for fastai: the recorder's numbers of each epoch."""
    from fastai.callback.core import Callback

    class WandbCallback(Callback):

        def __init__(self, *args, **kwargs):
            super().__init__()

        def after_epoch(self):
            names = [name for name in self.recorder.metric_names if name not in ("epoch", "time")]
            calls.log({**dict(zip(names, self.recorder.log[1:])), "epoch": self.epoch})
    return WandbCallback
