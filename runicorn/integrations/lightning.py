"""A logger for PyTorch Lightning: `Trainer(logger=RunicornLogger(project="vision", name="resnet50"))`."""

try:
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities.rank_zero import rank_zero_only
except ImportError:         # the older package of the same code
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

from torch.utils.data import get_worker_info

from runicorn.writer import api


class RunicornLogger(Logger):
    """Logs what `self.log(…)` and the trainer report, from rank 0, into one run. The run ends with the
    process, or by `finish()`.

    Takes the arguments of `runicorn.init`; the run begins when it is first needed. run: an existing Run to
    use instead.
    """

    def __init__(self, run=None, **options):
        super().__init__()
        self._run = run
        # On its own: LightningCLI follows it to the arguments of init (jsonargparse reads the source)
        self._options = options

    @property
    @rank_zero_experiment
    def experiment(self):
        """The Run; begun by the first use. On other ranks Lightning puts a dummy in its place."""
        if self._run is None:
            self._run = api.init(**self._options)
        elif getattr(self._run, "elsewhere", False) and get_worker_info() is None:
            # ddp_spawn: the run began in the process that spawned this one, and only that may write it
            same = {"project": self._run.project, "name": self._run.name, "config": self._run.config}
            self._run = api.init(**{**same, **self._options})
        return self._run

    @property
    def name(self):
        """The experiment's name (str)."""
        return self._run.name if self._run else self._options.get("name", "default")

    @property
    def version(self):
        """The run's id (str), None before the run began: Lightning calls so what tells two runs of an
        experiment apart."""
        return self._run.id if self._run else None

    @property
    def save_dir(self):
        """The run's folder (str), where Lightning puts checkpoints; None before the run began."""
        return str(self._run.dir) if self._run else None

    @rank_zero_only
    def log_hyperparams(self, params, *_, **__):
        """Put the model's hyperparameters (dict or Namespace) into the config."""
        self.experiment.config.update(params)

    @rank_zero_only
    def log_metrics(self, metrics, step=None):
        """Log one row: metrics is a dict of str to float, step an int."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def finish(self):
        """End the run."""
        self.experiment.finish()
