"""How a run begins: what `init` was given is looked at, the run before it ends, and a folder is made or
found."""

import os
import sys
import time

from runicorn.errors import NotFoundError, RunicornError, UsageError
from runicorn.layout import legible, new_run_id, root_path, run_path
from runicorn.masking import masked, names
from runicorn.writer import current, environment, exits, link, processes, ranks
from runicorn.writer.live import clear_stale, lives
from runicorn.writer.notice import is_interrupt, name_unknown, say
from runicorn.writer.run import Run
from runicorn.writer.run_folder import again, fresh, next_attempt, past
from runicorn.writer.silent import SilentRun
from runicorn.writer.values import attempt, describe, key_text, plain_fields, texts, type_name


def begin(project, name, config, tags, notes, storage, id, resume, mode, capture, system, all_ranks, rank,
          group, job_type, reinit, dir, not_secret, quiet, unknown):
    """Begin a run and return it, as `init` says, which has these arguments."""
    _check(resume, mode, capture, reinit)
    spared = _spared(not_secret)
    name_unknown("init", unknown)
    if _previous_goes_on(reinit):
        return current.acting()
    project, name, id, notes, group, job_type = (value if value is None else key_text(value)
                                                 for value in (project, name, id, notes, group, job_type))
    project, name = os.environ.get(link.PROJECT) or project, os.environ.get(link.NAME) or name
    spec = {"project": project or "default", "name": name or "default", "config": config_values(config),
            "tags": texts(tags), "notes": notes}
    spec.update({key: value for key, value in (("group", group), ("job_type", job_type))
                 if value is not None})
    spec.update((key, legible(spec[key])) for key in ("project", "name"))
    run_id = id or os.environ.get("RUNICORN_RUN_ID")
    run_id = run_id and legible(run_id)
    launch = ranks.numbered(_launch(rank), spec["project"], spec["name"])
    why = _silence(mode, launch, all_ranks)
    if why is None:
        run = _begin(spec, storage or dir, run_id, resume,
                     {"capture": capture, "system": system, "not_secret": spared}, launch, quiet,
                     {"project": project and spec["project"], "name": name and spec["name"], "id": run_id,
                      "resume": resume})
    else:
        run = SilentRun(spec, run_id, why)
    current.begin(run)
    return run



def _check(resume, mode, capture, reinit):
    for name, value, choices in (("resume", resume, (None, False, True, "allow", "must", "never", "auto")),
                                 ("mode", mode, (None, "online", "offline", "disabled", "shared")),
                                 ("capture", capture, (True, False, "fd")),
                                 ("reinit", reinit, (None, True, False, "default", "finish_previous",
                                                     "return_previous", "create_new"))):
        if not any(value is choice or attempt(_same, value, choice)[0] for choice in choices):
            raise UsageError(f"init({name}={describe(value)!r}) is not one of "
                             f"{', '.join(map(repr, choices))}")


def _same(value, choice):
    return bool(value == choice)       # of an array it raises


def _launch(rank):
    try:
        return ranks.launch(rank)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(
            f"init(rank=…) takes a number, None or \"auto\", not {type(rank).__name__}") from None


def _spared(not_secret):
    if not isinstance(not_secret, (str, list, tuple, set, frozenset, type(None))):
        raise UsageError(f"init(not_secret={not_secret!r}) is no list of keys, such as [\"pad_token\"]")
    return names(not_secret)


def _previous_goes_on(reinit):
    """Whether `init` returns the run there is; ends the one it takes the place of, unless that shall be left
    alone."""
    if reinit == "create_new":
        return False
    if reinit in (False, "return_previous"):
        return current.current_run() is not None
    previous, is_shared = current.to_replace()
    if previous is None:
        return False
    if is_shared:
        say(f"run {previous.id} goes on beside this one, because another thread logs to it; its finish() "
            f"ends it")
        return False
    if reinit is None:
        say(f"run {previous.id} is finished now, because init() was called again",
            once=("again", previous.id))
    previous.conclude(exits.verdict_by_init(previous))
    return False


def _silence(mode, launch, all_ranks):
    """Return why nothing shall be recorded (str), or None."""
    if mode == "disabled":
        return "mode=\"disabled\""
    process = sys.modules.get("multiprocessing.process")
    # As multiprocessing itself asks
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        say("init() in a child process that is only importing the script records nothing; put it below `if "
            "__name__ == \"__main__\":`")
        return "a spawned child imports the script"
    if launch.rank and not all_ranks:
        say(f"rank {launch.rank} of {launch.size} is not recorded (rank 0 is). all_ranks=True records it; "
            "rank=None if these are separate experiments.")
        return f"rank {launch.rank}"
    return None


def config_values(config):
    """Return the dict that `config` stands for; raises UsageError if it is nothing like one."""
    if config is None:
        return {}
    values = plain_fields(config, "config")
    if values is None:
        raise UsageError(f"init(config=…) takes a dict or a Namespace, not {type_name(config)}")
    return values


def _begin(spec, storage, run_id, resume, options, launch, quiet, fields):
    """Return the Run, or a SilentRun where its files can't be made. fields: the project, name and id that
    `init` was given, or None each, and its "resume"."""
    try:
        run = _begin_below(spec, options, launch, fields) if os.environ.get(link.LINK) else None
        if run is not None:
            exits.watch(run)
            return run.start()
        root, spec, run_id = processes.settle(os.path.abspath(_root(storage)), spec, run_id)
        if launch.rank:
            from runicorn.writer.rank_run import RankRun  # here: most trainings have one rank, or record one

            run = RankRun(root, dict(environment.gather(time.time()), id=run_id or new_run_id(), **spec),
                          launch, **options)
        else:
            run = _rank_0(root, spec, run_id, resume, options, launch, quiet)
        clear_stale(root)
        exits.watch(run)
        return run.start()
    except RunicornError:
        raise
    # RuntimeError: no home folder; ValueError: no path of a file
    except (OSError, RuntimeError, ValueError) as error:
        if is_interrupt(error, data=True):
            raise
        say(f"nothing is recorded: {str(error).rstrip('.')}. Give init(storage=…), or RUNICORN_DIR, a "
            f"folder that can be written")
        return SilentRun(spec, run_id, str(error))
    # a fault of ours, or somebody's odd stream: the training has come to train
    except Exception as error:
        if is_interrupt(error):
            raise
        say(f"nothing is recorded: {type(error).__name__}: {error}")
        return SilentRun(spec, run_id, str(error))


def _begin_below(spec, options, launch, fields):
    """Return the run of a script below a `runicorn run`: what it logs joins that one. None if it is none, or
    another `init` was first."""
    from runicorn.writer import joined_run

    facts = dict(environment.gather(time.time()), id=new_run_id())
    if not launch.rank:
        return joined_run.join(spec, fields, facts, options, launch)
    answer = link.ask({"ask": "place"})
    if answer is None:
        return None
    spec = dict(spec, **{key: answer[key] for key in ("project", "name") if answer[key]})
    return joined_run.LaunchedRank(answer["root"], dict(facts, **spec), launch, **options)


def _root(storage):
    try:
        return root_path(storage)
    except TypeError:
        raise UsageError(
            f"init(storage=…) takes the path of a folder, not {type(storage).__name__}") from None


def begin_program(argv, spec, fixed, storage, quiet, each_task):
    """Begin the run of a program that `runicorn run` starts next; return its ProgramRun, or the Launch of a
    task whose run is task 0's.

    argv: list of str, the program's command line. spec: project, name, config, tags, notes. fixed: see
    ProgramRun. Raises OSError, ValueError or RuntimeError where the files can't be made, and the same
    RunicornErrors as `init`.
    """
    from runicorn.writer.program_run import ProgramRun  # here: no training needs it

    launch = ranks.numbered(ranks.task(each_task), spec["project"], spec["name"])
    if launch.rank:
        return launch
    root, spec, run_id = processes.settle(os.path.abspath(_root(storage)), spec,
                                          os.environ.get("RUNICORN_RUN_ID") or None)
    facts = dict(environment.gather(time.time()), argv=argv)
    restart = _restart(facts)
    if restart and len(fixed) < 2:
        spec = dict(spec, **restart.names_of_forerunner(root, {key: spec[key] for key in fixed}, facts))
    options = {"not_secret": _spared(()), "fixed": fixed, "settings": spec["config"]}
    run = _rank_0(root, spec, run_id and legible(run_id), None, options, launch, quiet, facts, ProgramRun)
    clear_stale(root)
    return run


def _rank_0(root, spec, run_id, resume, options, launch, quiet, facts=None, kind=Run):
    facts = facts or environment.gather(time.time())
    # As the run before has them
    shown = masked({"argv": facts["argv"], "config": spec["config"]}, options["not_secret"])
    restart = _restart(facts)
    before = restart.forerunner(root, spec, facts, shown, run_id) if restart and resume != "never" else None
    slot = again(root, run_path(spec["project"], spec["name"],
                                before["id"]), before["id"]) if before else None
    slot = slot or _place(root, spec, run_id, resume)
    before_it = {}
    if slot.attempt > 1:
        differing = restart.difference(before, shown) if before else []
        say(f"going on with run {slot.id}, attempt {slot.attempt}"
            + (f"; different from the attempt before: {' and '.join(differing)}" if differing else ""))
        before_it = past(slot.folder)
    quiet = quiet or os.environ.get("RUNICORN_QUIET", "").lower() not in ("", "0", "false", "no")
    announce = None if quiet else lambda: _announce(slot, spec, root)
    return kind(slot, _meta(facts, slot, spec, launch, shown), before_it, launch, **options,
                announce=announce)


def _restart(facts):
    """Return the module `restart` where a scheduler may have started this process again, else None."""
    if "slurm" not in facts and "torchrun" not in facts:
        return None
    from runicorn.writer import restart  # here: few processes have a scheduler
    return restart if restart.is_restart(facts) else None


def _announce(slot, spec, root):
    """Say once in a process where its first run is."""
    is_default = root == os.path.abspath(_root(None))
    command = "runicorn viewer" if is_default else f"runicorn viewer --root {_short(root)}"
    say(f"{spec['project']}/{spec['name']} -> {_short(slot.folder)}; \"{command}\" shows it",
        once="where the run is")


def _short(folder):
    """Return a folder's path as people write it (str)."""
    home = os.path.join(os.path.expanduser("~"), "")
    return os.path.join("~", folder[len(home):]) if home != os.sep and folder.startswith(home) else folder


def _place(root, spec, run_id, resume):
    if resume in (True, "allow", "must", "auto") and run_id:
        path = run_path(spec["project"], spec["name"], run_id)
        if lives(root, path):
            say(f"run {run_id} is being written by a running process; this is a new run")
            return fresh(root, spec["project"], spec["name"])
        slot = again(root, path, run_id)
        if slot:
            return slot
    if resume == "must":
        raise NotFoundError(f"resume=\"must\", and there is no run {run_id!r} in {root} under "
                            f"{spec['project']}/{spec['name']}")
    try:
        return fresh(root, spec["project"], spec["name"], run_id)
    except FileExistsError:
        if not run_id:
            raise
        slot = fresh(root, spec["project"], spec["name"])
        say(f"there is a run {run_id} already; this one is {slot.id}. resume=\"allow\" goes on with the old "
            f"one")
        return slot


def _meta(facts, slot, spec, launch, shown):
    """Return the dict for meta.json: of a resumed run what it has, with what this attempt was given over
    it."""
    meta = dict(facts, id=slot.id)
    if launch.size > 1:
        meta["world_size"] = launch.size
    for scheduler in ("slurm", "torchrun"):
        if scheduler in meta:
            from runicorn.writer import restart  # here: few processes have a scheduler
            meta[scheduler] = dict(meta[scheduler], config=restart.config_digest(shown["config"]))
    return dict(meta, **spec) if slot.attempt == 1 else next_attempt(slot.folder, meta, spec)
