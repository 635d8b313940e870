"""`wandb.init`: what it is given, and what W&B's environment variables and Settings say, as `runicorn.init`
takes it."""

import os
import sys
from importlib import import_module

from runicorn.layout import META, RUNS, below, legible, read_json, root_path, slug
from runicorn.wandb import facade
from runicorn.wandb.settings import flag, given
from runicorn.writer import api, current, link
from runicorn.writer.notice import name_unknown, say
from runicorn.writer.values import attempt, describe, key_text, plain_fields, reason, type_name

VARIABLES = {"project": "WANDB_PROJECT", "name": "WANDB_NAME", "notes": "WANDB_NOTES",
             "group": "WANDB_RUN_GROUP", "mode": "WANDB_MODE", "job_type": "WANDB_JOB_TYPE",
             "id": "WANDB_RUN_ID", "resume": "WANDB_RESUME", "entity": "WANDB_ENTITY", "tags": "WANDB_TAGS",
             "console": "WANDB_CONSOLE"}
# Of runicorn.init
OWN = ("storage", "capture", "system", "all_ranks", "rank", "not_secret", "quiet")
# taken, without effect
SETTLED = ("console", "silent", "quiet", "disable_stats", "disable_code", "disable_git", "start_method",
           "allow_val_change", "force", "anonymous", "login_timeout", "init_timeout", "service_wait",
           "root_dir", "base_url", "api_key", "symlink", "code_dir", "program", "label", "host", "username",
           "show_emoji", "show_info", "show_errors", "show_warnings")
MODES = {"dryrun": "offline", "run": "online", "true": None}
AGAIN = {True: "finish_previous", False: "return_previous"}


def init(entity=None, project=None, dir=None, id=None, name=None, notes=None, tags=None, config=None,
         config_exclude_keys=None, config_include_keys=None, allow_val_change=None, group=None, job_type=None,
         mode=None, force=None, anonymous=None, reinit=None, resume=None, resume_from=None, fork_from=None,
         save_code=None, tensorboard=None, sync_tensorboard=None, monitor_gym=None, settings=None, **unknown):
    """Begin a run and return it, as W&B's `init`, with `runicorn.init`'s own arguments besides (storage,
    capture, all_ranks …).

    A run that is going on is returned, unless reinit says otherwise. `dir` is the root folder where the
    script itself names it; what a framework passes is its own folder, and the run lies where RUNICORN_DIR
    says. Raises NotFoundError for resume="must" without such a run; what is wrong otherwise is said once.
    """
    words = {**_from_environment(), **_settled(settings)}
    words.update((key, value) for key, value in dict(entity=entity, project=project, id=id, name=name,
                                                     notes=notes, tags=tags, group=group, job_type=job_type,
                                                     mode=mode, reinit=reinit, resume=resume,
                                                     save_code=save_code,
                                                     sync_tensorboard=sync_tensorboard or tensorboard,
                                                     monitor_gym=monitor_gym, **unknown).items()
                 if value is not None)
    again = words.pop("reinit", None)
    again = AGAIN.get(again, again) if isinstance(again, bool) else again
    if again in (None, "default", "return_previous") and not (again in (None, "default")
                                                              and "ipykernel" in sys.modules):
        run = current.current_run()
        if run is not None:
            return facade.of(run)
    options = {key: words.pop(key) for key in OWN if key in words}
    options.setdefault("storage", dir if dir is not None and _is_of_script(sys._getframe(1)) else None)
    if words.get("console") == "off":
        options.setdefault("capture", False)
    if flag("WANDB_SILENT") or flag("WANDB_QUIET") or words.get("silent"):
        options.setdefault("quiet", True)
    values = {**facade.early("config"), **_config(config, config_exclude_keys, config_include_keys)}
    run = _begin(words, values, again, options)
    if resume_from or fork_from:
        say("init(resume_from=…, fork_from=…) is not known here; this is a run from its beginning",
            once="fork_from")
    return run


def _begin(words, config, again, options):
    entity, extras = (words.pop("entity", None),
                      {key: words.pop(key, None) for key in ("sync_tensorboard", "monitor_gym", "save_code")})
    settings = dict(words)
    mode = MODES.get(words.get("mode"), words.get("mode"))
    if flag("WANDB_DISABLED") and mode is None:
        mode = "disabled"
    spec = {key: words.pop(key, None) for key in ("project", "name", "notes", "tags", "group", "job_type",
                                                  "id")}
    spec["project"] = _readable(spec["project"])
    if isinstance(spec["tags"], str):
        spec["tags"] = [tag for tag in spec["tags"].split(",") if tag]
    resume = _resume(words.pop("resume", None))
    words.pop("mode", None)
    name_unknown("init", [key for key in words if key not in SETTLED and key[:1] != "_"])
    if resume not in (None, "never") and spec["id"] and not spec["name"]:
        above = link.ask({"ask": "place"}) or {}        # a `runicorn run`, whose command line may name it
        project = above["project"] if "project" in above.get("fixed", ()) else spec["project"] or "default"
        spec["name"] = attempt(_name_of, above.get("root") or options["storage"], project,
                               key_text(spec["id"]))[0]
    run = api.init(config=config, mode=_known(mode, "mode", ("online", "offline", "disabled", "shared")),
                   resume=resume, reinit=again if again in ("create_new", "return_previous")
                   else "finish_previous", **spec, **options)
    run.summary.update(facade.early("summary"))
    begun = facade.of(run, entity=entity, _settings=settings)
    _, error = attempt(_follow, begun, extras)
    if error is not None:
        say(f"init(): {reason(error)}", once=("init", reason(error)))
    return begun


def _readable(project):
    """Return a project's name without the working folder's path before it, which Ultralytics puts there with
    "-" for "/"."""
    above, error = attempt(lambda: os.getcwd().translate(dict.fromkeys(map(ord, "/\\#?%:"), "-")) + "-")
    return (project[len(above):] or project
            if error is None and isinstance(project, str) and project.startswith(above) else project)


def _follow(run, extras):
    """Begin what else `init` was asked for."""
    if extras["sync_tensorboard"]:
        from runicorn.wandb import tensorboard
        tensorboard.patch()
    if extras["monitor_gym"]:
        from runicorn.wandb import videos
        videos.monitor()
    if extras["save_code"] and sys.argv and os.path.isfile(sys.argv[0]):
        run.save_script(sys.argv[0])


def _from_environment():
    return {key: os.environ[variable] for key, variable in VARIABLES.items() if os.environ.get(variable)}


def _settled(settings):
    return {key: value for key, value in given(settings).items() if value is not None}


def _known(value, name, choices):
    if value is None or isinstance(value, str) and value in choices:
        return value
    say(f"init({name}={describe(value)!r}) is not known here and was ignored", once=("init", name))
    return None


def _resume(resume):
    words = {"true": "allow", "1": "allow", "auto": "allow", "false": None, "0": None}
    word = key_text(resume).lower() if isinstance(resume, (bool, str)) else resume
    return words[word] if isinstance(word, str) and word in words else _known(word, "resume",
                                                                              ("allow", "must", "never"))


def _config(config, exclude, include):
    if isinstance(config, (str, os.PathLike)):
        config = _read_config(os.fspath(config))
    values = {} if config is None else plain_fields(config, "config")
    if values is None:
        say(f"init(config=…) takes a dict or a Namespace, not {type_name(config)}, which is ignored",
            once="init config")
        values = {}
    names = [key_text(name) for name in exclude or ()], [key_text(name) for name in include or ()]
    return {key: value for key, value in values.items()
            if key not in names[0] and (not names[1] or key in names[1])}


def _read_config(path):
    """Return the dict that a YAML or JSON file holds, with the {"value": …} around its values that W&B writes
    taken off."""
    def read():
        with open(path, encoding="utf-8") as file:
            if path.endswith(".json"):
                import json
                return json.load(file)
            return import_module("yaml").safe_load(file)
    values, error = attempt(read)
    if error is not None or not isinstance(values, dict):
        say(f"init(config={path!r}) can't be read ({reason(error) if error else 'it holds no names'}); the "
            f"config begins empty")
        return {}
    return {key: value["value"] if isinstance(value, dict) and "value" in value else value
            for key, value in values.items() if key not in ("wandb_version", "_wandb")}


def _name_of(storage, project, run_id):
    """Return the experiment's name of the run `run_id`, None if there is none: W&B's ids are a project's,
    ours an experiment's."""
    folder, run_folder = below(os.path.abspath(root_path(storage)), slug(project)), slug(legible(run_id))
    for experiment in sorted(os.listdir(folder)):
        meta = read_json(os.path.join(folder, experiment, RUNS, run_folder, META))
        if meta:
            return meta.get("name")
    return None


def _is_of_script(frame):
    """Whether a call comes from the user's own code: the script, a notebook, or a module below the script's
    folder or the working one; not from a package, installed or in a checkout elsewhere."""
    if frame.f_globals.get("__name__") == "__main__":
        return True
    path = os.path.abspath(frame.f_code.co_filename).replace("\\", "/")
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = [attempt(os.getcwd)[0], script and os.path.dirname(os.path.abspath(script))]
    return ("/site-packages/" not in path and "/dist-packages/" not in path
            and any(path.startswith(folder.replace("\\", "/") + "/") for folder in folders if folder))
