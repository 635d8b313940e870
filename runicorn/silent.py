"""A run that records nothing: disabled, another rank, or a root that can't be written. Every call works as on a real one."""

from pathlib import Path

from runicorn.mappings import Config, Summary


class SilentRun:
    """Has what `Run` has, keeps config and summary in memory, writes nothing but what the user puts into `dir`."""

    resumed, attempt, rank, rows, threads = False, 1, 0, 0, frozenset()

    def __init__(self, given, run_id, why):
        """why: str, one reason in words."""
        self.project, self.name, self.id, self.why = given["project"], given["name"], run_id or "not-recorded", why
        self.path = None
        self.tags, self.notes = tuple(given["tags"]), given["notes"]
        self.config, self.summary = Config(values=given["config"]), Summary()
        self.step, self.ended = -1, False
        self._folder = None

    @property
    def dir(self):
        """A temporary folder (Path), made when asked for, so that a script's checkpoints have a place."""
        if self._folder is None:
            import tempfile  # here: it is heavy, and few runs are silent

            self._folder = Path(tempfile.mkdtemp(prefix="runicorn-"))
        return self._folder

    def log(self, data, step=None, commit=True, **unknown):
        """Record nothing."""

    def define_metric(self, name, summary=None, **unknown):
        """Record nothing."""

    def watch(self, *models, **unknown):
        """Record nothing."""

    def finish(self, exit_code=None, **unknown):
        """End the run."""
        self.ended = True

    def conclude(self, verdict):
        """End the run."""
        self.ended = True

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.finish()

    def __repr__(self):
        return f"<runicorn.SilentRun: {self.why}>"
