"""A run as W&B's scripts know it: its methods and attributes over those of ours. None of them raises into the
training."""

import sys
import time
from weakref import WeakKeyDictionary

from runicorn.wandb import inert
from runicorn.wandb.methods import OF_RUN
from runicorn.wandb.names import RUN
from runicorn.writer import current
from runicorn.writer.mappings import Config, Summary
from runicorn.writer.notice import name_unknown, say
from runicorn.writer.run import NUMBERS
from runicorn.writer.values import attempt, reason

_facades = WeakKeyDictionary()          # one of each run, so that `wandb.run is run`
_assigned = {}
_early = {"config": Config(), "summary": Summary()}         # set before init()


def of(run, **facts):
    """Return the facade (Run) of a run of ours. facts: entity, settings, sync_tensorboard: what it is asked
    for later."""
    facade = _facades.get(run)
    if facade is None:
        facade = _facades[run] = Run(run)
    facade.take_facts(facts)
    return facade


def of_current(name):
    """Return "run", "config" or "summary" of the current run; before there is one, None, or what `init` will
    take over."""
    run = current.acting()
    if run is None or name == "run" and run.ended and not getattr(run, "forked", False):
        return _assigned.get(name, _early.get(name))
    return of(run) if name == "run" else getattr(run, name)


def assign(name, value):
    """Take over what a script assigns to wandb.config or wandb.summary: before `init` it stands for it, and
    `init` begins without it."""
    run = current.current_run()
    if run is None:
        _assigned[name] = value
    else:
        getattr(run, name).update(value)


def early(name):
    """Return what was set in wandb.config or wandb.summary before `init` (dict), which is forgotten then."""
    _assigned.pop(name, None)
    values = _early[name].as_dict()
    _early[name] = type(_early[name])()
    return values


def attribute(run, name):
    """Return what W&B's run has by the `name`, for a run of ours that has no such attribute. Raises
    AttributeError."""
    if name not in RUN:
        raise AttributeError(f"'{type(run).__name__}' object has no attribute {name!r}")
    return getattr(of(run), name)


class History:
    """What older scripts call `run.history`."""

    def __init__(self, run):
        self._run = run

    @property
    def _step(self):
        return self._run.step

    def add(self, row, step=None, **unknown):
        """Log a row."""
        self._run.log(row, step)


class _Kind(type):
    """A run of ours that `init` returned is a Run, too."""

    def __instancecheck__(cls, value):
        return (type.__instancecheck__(cls, value) or cls is Run and hasattr(type(value), "define_metric")
                and hasattr(value, "resumed"))


class Run(metaclass=_Kind):
    """W&B's run. What W&B does with a server is not done."""

    entity, url, project_url, sweep_id, sweep_url, offline, mode = "", None, None, None, None, True, "offline"

    def __init__(self, run):
        self.__dict__.update(_run=run, _settings=None, _lives=[], start_time=time.time(),
                             starting_step=run.step + 1)
        if hasattr(run, "before_closing"):
            run.before_closing(self._copy_rest, is_long=True)

    def take_facts(self, facts):
        """Remember what `init` was given (dict)."""
        self.__dict__.update({name: value for name, value in facts.items() if value is not None})

    # -- rows ------------------------------------------------------------------------------------------------

    def log(self, data=(), step=None, commit=None, sync=None, **unknown):
        """Record one row. A call with a step is finished by the next larger step, one without by itself
        (commit), as in W&B; rows whose step is smaller than one before, which W&B drops, are kept."""
        if type(data) is not dict or not NUMBERS.issuperset(map(type, data.values())):
            data, error = attempt(_row, data)
            if error is not None:
                say(f"log(): {reason(error)}; this call was not recorded", once=("wandb.log", reason(error)))
                return
        self._run.log(data, step, step is None if commit is None else commit)
        if unknown:
            name_unknown("log", unknown)

    @property
    def step(self):
        """The step of the next row (int)."""
        return self._run.step + 1

    @property
    def history(self):
        return History(self)

    def define_metric(self, name="*", step_metric=None, step_sync=None, hidden=None, summary=None, goal=None,
                      overwrite=None, **unknown):
        """As `runicorn.Run.define_metric`."""
        return self._run.define_metric(name, step_metric, step_sync, hidden, summary, goal, overwrite,
                                       **unknown)

    def finish(self, exit_code=None, quiet=None, **unknown):
        """End the run; what `save` shall follow is copied once more."""
        self._run.finish(exit_code)

    def _copy_rest(self):
        files = sys.modules.get("runicorn.wandb.files")        # where nothing was saved it is not there
        if files is not None:
            files.follow(self)

    join = finish

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def dir(self):
        """The run's folder (str)."""
        return str(self._run.dir)

    sync_dir = dir

    @property
    def path(self):
        """"project/id" (str), as W&B's."""
        return "/".join(filter(None, (self.entity, self.project, self.id)))

    @property
    def disabled(self):
        return self._run.path is None

    @property
    def settings(self):
        from runicorn.wandb.settings import Settings, given
        settings = {"project": self.project, "run_name": self.name, "run_id": self.id, "mode": self.mode,
                    "entity": self.entity}
        return Settings(**{**settings, **given(self._settings)})

    @property
    def group(self):
        return self._fact("group") or ""

    @property
    def job_type(self):
        return self._fact("job_type") or ""

    @property
    def config_static(self):
        return self._run.config

    def _fact(self, name):
        return self.__dict__.get(name) or attempt(lambda: self._run.fact(name))[0]

    def project_name(self):
        return self.project

    def get_url(self):
        """There is no page in the network: None."""

    get_project_url = get_sweep_url = get_url

    # -- what has no meaning here ----------------------------------------------------------------------------

    def mark_preempting(self, *args, **kwargs):
        """A restarted job goes on with its run by itself, see docs/init.md."""

    _label = pin_config_keys = mark_preempting

    def display(self, height=420, hidden=False):
        """No frame is shown."""
        return False

    def to_html(self, height=420, hidden=False):
        """Return one line about the run (str)."""
        return self._run._repr_html_()

    _repr_html_ = to_html

    # -- everything else -------------------------------------------------------------------------------------

    def __getattr__(self, name):
        if name[:1] != "_":
            if name in OF_RUN:
                return OF_RUN[name].__get__(self)
            if name not in RUN and hasattr(self._run, name):
                return getattr(self._run, name)
        return inert.part("run", name)

    def __setattr__(self, name, value):
        if name in ("name", "notes", "tags"):
            attempt(setattr, self._run, name, value)
        elif name in ("config", "summary"):
            attempt(getattr(self._run, name).update, value)
        else:
            self.__dict__[name] = value

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return of, (self._run,)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            self.finish()
        else:
            self._run.__exit__(kind, error, trace)

    def __repr__(self):
        return f"<wandb run {self.path}>"


class RunDisabled(Run):
    """The class that W&B has for mode="disabled"."""


def _row(data):
    from runicorn.wandb import rows
    return rows.flat(data)
