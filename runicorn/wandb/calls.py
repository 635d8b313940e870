"""W&B's functions: those of the current run, and those that need no answer."""

from runicorn.wandb import facade
from runicorn.writer import current
from runicorn.writer.notice import say


def _run(call):
    """Return the current run's facade; before `init`, and after the end, one line says so and it is None."""
    run = current.acting()
    if run is None:
        say(f"wandb.{call}() before wandb.init() does nothing", once=("wandb before", call))
    return run and facade.of(run)


def log(data=None, step=None, commit=None, sync=None, **unknown):
    """Record one row in the current run."""
    run = _run("log")
    if run is not None:
        run.log({} if data is None else data, step, commit, sync, **unknown)


def finish(exit_code=None, quiet=None, **unknown):
    """End the current run, if there is one."""
    run = current.to_finish()
    if run is not None:
        facade.of(run).finish(exit_code)


join = finish


def teardown(exit_code=None):
    """End the current run, if there is one."""
    finish(exit_code)


_teardown = teardown


def login(*args, **kwargs):
    """There is no account: True."""
    return True


def setup(settings=None):
    """Return what holds the settings."""
    from types import SimpleNamespace

    from runicorn.wandb.settings import Settings
    return SimpleNamespace(settings=settings or Settings())


def require(*args, **kwargs):
    """Nothing is required."""


ensure_configured = pin_config_keys = require


def mark_preempting(*args, **kwargs):
    """A restarted job goes on with its run by itself, see docs/init.md."""


def _attach(*args, **kwargs):
    """Return the current run."""
    return _run("attach")


attach = _attach


def _of_module(name):
    """Return the function that calls the current run's method of the `name`."""
    def call(*args, **kwargs):
        run = _run(name)
        return run and getattr(run, name)(*args, **kwargs)
    call.__name__ = name
    return call


NAMES = """alert define_metric link_artifact link_model log_artifact log_code log_model restore save unwatch
    use_artifact use_model watch""".split()
globals().update((name, _of_module(name)) for name in NAMES)
