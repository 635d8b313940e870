"""A tracker for Accelerate: `Accelerator(log_with=RunicornTracker(name="bert"))`, then `init_trackers("nlp",
config=…)` as ever."""

from accelerate.tracking import GeneralTracker, on_main_process

from runicorn.wandb import data_types
from runicorn.writer import api


class RunicornTracker(GeneralTracker):
    """Logs what `accelerator.log` is given, from the main process. Takes the arguments of `runicorn.init`;
    the run begins when it is first needed, or is the one that is going on."""

    name = "runicorn"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, **options):
        super().__init__()
        self._options, self._run = options, None

    @property
    def tracker(self):
        """The Run."""
        if self._run is None:
            self._run = api.current_run() or api.init(**self._options)
        return self._run

    @on_main_process
    def start(self):
        """Begin the run."""
        return self.tracker

    @on_main_process
    def store_init_configuration(self, values):
        """Put settings (dict) into the config."""
        self.tracker.config.update(values)

    @on_main_process
    def log(self, values, step=None, **unknown):
        """Log one row."""
        self.tracker.log(values, step)

    @on_main_process
    def log_images(self, values, step=None, **unknown):
        """Log images: {name: list of arrays}."""
        self.tracker.log({key: [data_types.Image(image) for image in images]
                          for key, images in values.items()}, step)

    @on_main_process
    def log_table(self, table_name, columns=None, data=None, dataframe=None, step=None, **unknown):
        """Log a table."""
        self.tracker.log({table_name: data_types.Table(columns=columns, data=data, dataframe=dataframe)},
                         step)

    @on_main_process
    def finish(self):
        """End the run."""
        if self._run is not None:
            self._run.finish()
