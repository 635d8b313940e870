"""A run that records nothing: disabled, another rank, a root that can't be written, or a copy of another
process's run. Every call works as on a real one."""

import os
from weakref import WeakValueDictionary

from runicorn.writer.definitions import Metric
from runicorn.writer.mappings import Config, Summary
from runicorn.writer.notice import say
from runicorn.writer.values import key_text

STATE = ("project", "name", "id", "path", "tags", "notes", "step", "resumed", "attempt", "rank")
_written = WeakValueDictionary()        # by id: the runs that this process writes
# Functions of (run, name) that answer a name which a run does not have
_others = []


def answer_with(function):
    """Have `function` (run, name) answer the names that a run does not have, or raise AttributeError."""
    _others[:] = [function]


class Copied:
    """A run stays itself when what holds it is copied; pickled, it goes to other processes as one that
    records nothing."""

    def __getattr__(self, name):
        if name[:1] == "_" and name != "_label" or not _others:        # which Transformers calls
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return _others[0](self, name)

    def _repr_html_(self):
        """Return what a notebook shows of the run (str)."""
        from html import escape
        if not self.path:
            return f"Runicorn run, not recorded: {escape(str(self.why))}"
        names = escape(f"{self.project} / {self.name} / {self.id}")
        return f"Runicorn run {names}<br><code>{escape(str(self.dir))}</code>"

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce_ex__(self, protocol):
        state = {name: getattr(self, name) for name in STATE}
        state.update(config=self.config.as_dict(), summary=self.summary.as_dict(),
                     why=getattr(self, "why", None))
        if state["why"] is None:
            state["dir"] = str(self.dir)
            _written[self.id] = self
        return _unpickled, (os.getpid(), state)


def _unpickled(pid, state):
    if pid == os.getpid() and state["id"] in _written:
        return _written[state["id"]]
    return SilentRun(state, state["id"], state["why"])


class SilentRun(Copied):
    """Has what `Run` has, keeps config and summary in memory, writes nothing but what the user puts into
    `dir`."""

    path, step, resumed, attempt, rank, rows, threads = None, -1, False, 1, 0, 0, frozenset()

    def __init__(self, spec, run_id, why):
        """spec: project, name, tags, notes, config; of a pickled run more. why: str, one reason in words;
        None for a pickled run."""
        self.__dict__.update((name, spec[name]) for name in STATE if name in spec)
        self.id, self.why, self.ended, self.tags = run_id or "not-recorded", why, False, tuple(spec["tags"])
        self.elsewhere = why is None            # else it was said when the run began
        self.config, self.summary = (Config(self._ignored, spec["config"]),
                                     Summary(self._ignored, user=spec.get("summary", ())))
        self.why = why or "it belongs to another process: only the one that called init() writes"
        self._folder = spec.get("dir")

    def _ignored(self):
        if self.elsewhere:
            say(f"run {self.id} records nothing here: {self.why}", once=("copied", self.id))

    @property
    def dir(self):
        """A temporary folder (Path), made when asked for, so that a script's checkpoints have a place."""
        from pathlib import Path
        if self._folder is None:
            import tempfile
            self._folder = tempfile.mkdtemp(prefix="runicorn-")
        return Path(self._folder)

    def log(self, data, step=None, commit=True, **unknown):
        """Record nothing."""
        self._ignored()

    def define_metric(self, name, *words, **more):
        """Record nothing."""
        return Metric(key_text(name))

    def watch(self, *models, **unknown):
        """Record nothing."""

    def alert(self, title, text="", level="INFO"):
        """Record nothing."""

    def fact(self, name):
        """Return None: there is no meta.json."""

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
