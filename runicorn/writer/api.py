"""What a training script calls: `init`, and `log`, `finish`, … for the current run. Only `init` may raise,
and only for a call that can't mean anything. What only a run needs is imported by `init`, so that `import
runicorn` costs little."""

from runicorn.errors import UsageError
from runicorn.writer import current
from runicorn.writer.notice import is_interrupt, say, uncut
from runicorn.writer.silent import SilentRun

AUTO = "auto"

current_run = current.current_run


def init(project=None, name=None, config=None, tags=None, notes=None, storage=None, id=None, resume=None,
         mode=None, capture=True, system=True, all_ranks=False, rank=AUTO, group=None, job_type=None,
         reinit=None, dir=None, not_secret=(), quiet=False, **unknown):
    """Begin a run and return it (Run); it is the current run for `runicorn.log` and the others.

    project, name: str, what is worked on and the experiment (default "default"). config: dict, Namespace,
    dataclass.
    tags: list of str. notes: str. storage (or dir): the root folder; default RUNICORN_DIR, else "root" in
    config.json, else ~/.runicorn/experiments. id: the run's id, default RUNICORN_RUN_ID or a fresh one.
    resume: "allow" goes on with the run `id` if there is one, "must" requires it; by default a taken id gives
    a new one, and a process that Slurm or torchrun started again goes on with the run it began ("never": not
    even then). mode: "disabled" records nothing, any other records. capture: True copies what Python prints
    into logs.txt, "fd" also what child processes and C code print, False nothing. system: sample CPU, memory
    and GPUs every 10 s. all_ranks: record every rank of a distributed launch, not rank 0 alone. rank: int;
    None if the processes of a launch are separate experiments. group, job_type: str, kept in meta.json.
    reinit: what happens to a run that is going on: True or "finish_previous" (default) finishes it, False or
    "return_previous" returns it, "create_new" leaves it alone.
    not_secret: list of str, keys whose values are written although they look like secrets, which are written
    as "[masked]".
    quiet: True (or RUNICORN_QUIET=1) leaves out the line on stderr that says where the run is.

    Raises UsageError for a value that is none of these, NotFoundError for resume="must" without such a run. A
    folder that can't be written does not raise: the run then records nothing, and one line on stderr says so.
    """
    arguments = dict(locals())
    try:
        with uncut():
            from runicorn.writer.beginning import begin
    except (ImportError, OSError) as error:     # the process ends; it has no descriptor left to import with
        if is_interrupt(error):
            raise
        say(f"nothing is recorded: {error}")
        run = SilentRun({"project": project, "name": name, "tags": (), "notes": notes, "config": {}}, id,
                        str(error))
        run.config.update(() if config is None else config)
        current.begin(run)
        return run
    return begin(**arguments)


def log(data, step=None, commit=True, **unknown):
    """Record one row of metrics in the current run; see `Run.log`. Raises UsageError if `init` was never
    called."""
    run = _acting("log")
    run.log(data, step, commit, **unknown)


def finish(exit_code=None, **unknown):
    """End the current run, if there is one; see `Run.finish`."""
    run = current.to_finish()
    if run is not None:
        run.finish(exit_code)


def define_metric(name, *words, **more):
    """Say which values of a metric count; see `Run.define_metric`. Raises UsageError if `init` was never
    called."""
    run = _acting("define_metric")
    return run.define_metric(name, *words, **more)


def watch(*models, **unknown):
    """Accepted for scripts written for wandb; gradients are not recorded."""


def _acting(call):
    run = current.acting()
    if run is None:
        raise UsageError(f"runicorn.{call}() needs a run: call runicorn.init(...) first")
    return run
