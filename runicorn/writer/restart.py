"""Which run a process goes on with that a scheduler started again: a requeued Slurm job, a worker restarted
by torchrun."""

import json
import os
import re
import time

from runicorn.layout import META, RUNS, below, disk_path, read_json, run_path, slug
from runicorn.masking import masked, names
from runicorn.writer import environment, ranks
from runicorn.writer.live import lives, process_lives
from runicorn.writer.notice import say

# a clock that was set, and the hour that summer ends with: how much older a run's id may look
CLOCK_SECONDS = 4000.0
AGENTS = (b"torchrun", b"torch.distributed.run", b"torch.distributed.launch", b"accelerate")
RUN_ID = r"^\d{8}_\d{6}_[0-9a-f]{6}$"
# Runs of an experiment, and in all, that are looked at for one whose names are not known
NEWEST, MOST = 50, 5000
NAMED = 6           # differing options and config entries that are named


def is_restart(facts):
    """Whether a scheduler may have started this process again. facts: facts of this process, as
    `facts.gather` returns them."""
    return ordinal(facts) > (0, 0) or _is_torchruns_child(facts)


def _is_torchruns_child(facts):
    """Whether torchrun itself started this process, which it may have done before: each node counts only its
    own failures, so of two nodes that start again one does not say so."""
    if not facts.get("torchrun"):
        return False
    pid = facts["torchrun"]["agent"][0]
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")[:4]           # python -u -m torch.distributed.run …
    except OSError:
        return False
    return pid == os.getppid() and any(word.rpartition(b"/")[2] in AGENTS for word in words)


def ordinal(meta):
    """Return (how often Slurm, how often torchrun had restarted the process of a meta.json when it began)."""
    return tuple(_count(meta.get(scheduler)) for scheduler in ("slurm", "torchrun"))


def _count(scheduler):
    count = str((scheduler or {}).get("restart_count", "0"))
    return int(count) if count.isdecimal() else 0


def follows(facts, before):
    """Whether this process is a restart of the one that wrote the meta.json `before`, which then is no more:
    same job, step and task of Slurm, earlier; or a worker of the same torchrun and rank, earlier."""
    if _task(facts, facts) != _task(before, facts) or ordinal(before) > ordinal(facts):
        return False
    if ordinal(before) == ordinal(facts):
        return (_is_torchruns_child(facts) and _same_torchrun(facts, before, agent_alone=True)
                and facts["pid"] != before.get("pid"))
    return ordinal(before)[0] < ordinal(facts)[0] or _same_torchrun(facts, before)


def _task(meta, facts):
    """Return what names the Slurm task of a meta.json (tuple); runs of older versions do not know their
    number in the step."""
    slurm, number = meta.get("slurm") or {}, (facts.get("slurm") or {}).get("task")
    step = None if ranks.spans_steps() else slurm.get("step_id")
    return (slurm.get("cluster"), slurm.get("job_id"), slurm.get("array_task_id"), step,
            None if ranks.spans_tasks() else slurm.get("task", number))


def _same_torchrun(facts, before, agent_alone=False):
    """Its processes are children of one agent; on another host, or of another agent that is there too, the id
    has to tell."""
    mine, peer = facts.get("torchrun") or {}, before.get("torchrun") or {}
    same_host = facts["hostname"] == before.get("hostname")
    if mine.get("rank") != peer.get("rank", mine.get("rank")):
        return False
    if agent_alone or same_host and mine.get("agent") == peer.get("agent"):
        return same_host and mine.get("agent") == peer.get("agent")
    pid, start = peer.get("agent") or (None, None)
    named = mine.get("run_id") not in (None, "none") and mine.get("run_id") == peer.get("run_id")
    return named and (not same_host or process_lives(pid, start))


def forerunner(root, spec, facts, shown, run_id=None):
    """Return the meta.json (dict) of the one run that this restarted process began and shall go on with, None
    if there is none; where it could have been another, one line says why a new run begins.

    spec: "project" and "name" of `init`. facts: facts of this process. shown: its "argv" and "config" as they
    are written, secrets masked. run_id: the only run that may be meant.
    """
    above, runs = below(root, f"{slug(spec['project'])}/{slug(spec['name'])}/{RUNS}"), []
    for folder in [disk_path(slug(run_id))] if run_id else _folders(above, facts):
        meta = read_json(below(above, f"{folder}/{META}"))
        if meta and follows(facts, meta):
            runs.append(meta)
    alike = [meta for meta in runs if not difference(meta, shown)]
    if len(runs) > 1 and len(alike) != 1:
        say(f"this job was restarted, but began {len(runs)} runs of {spec['project']}/{spec['name']}, and "
            f"none or several with this "
            "command line and config; this is a new run. init(id=…, resume=\"allow\") says which to go on "
            "with", once="restart")
        return None
    if not runs and not run_id and ordinal(facts) > (0, 0):
        say(f"this job was restarted, but none of its attempts began a run of "
            f"{spec['project']}/{spec['name']}; this is a new run",
            once="restart")
    chosen = runs[0] if len(runs) == 1 else alike[0] if alike else None
    if chosen and lives(root, run_path(spec["project"], spec["name"], chosen["id"]), elsewhere=False):
        say(f"this job was restarted, but the process that began run {chosen['id']} is still there; this is "
            f"a new run")
        return None
    return chosen


def names_of_forerunner(root, fixed, facts):
    """Return {"project", "name"} of the run that this restarted program began, which a script in it may have
    named otherwise than its command line; {} if there is none. fixed: those of both that are known. facts: of
    this process."""
    argv, count = masked({"argv": facts["argv"]}, names(()))["argv"], 0
    for project in [slug(fixed["project"])] if "project" in fixed else _listed(root):
        for name in [slug(fixed["name"])] if "name" in fixed else _listed(below(root, project)):
            above = below(root, f"{project}/{name}/{RUNS}")
            for folder in sorted(_listed(above), reverse=True)[:NEWEST]:
                meta, count = read_json(os.path.join(above, folder, META)) or {}, count + 1
                if follows(facts, meta) and meta.get("argv") == argv:
                    return {key: meta[key] for key in ("project", "name")}
            if count > MOST:
                return {}
    return {}


def _listed(folder):
    try:
        return [name for name in os.listdir(folder) if name[:1] != "."]
    except OSError:
        return []


def _folders(above, facts):
    """Return the names of the run folders that may be the forerunner's. Where no scheduler says that there
    was one, these are few."""
    try:
        names = os.listdir(above)
    except OSError:
        return []
    if ordinal(facts) > (0, 0):
        return names
    began = environment.began(facts["torchrun"]["agent"][1]) - CLOCK_SECONDS
    oldest = time.strftime("%Y%m%d_%H%M%S", time.localtime(began))
    return [name for name in names if not re.match(RUN_ID, name) or name >= oldest]


def config_digest(config):
    """Return the SHA-256 of the config that `init` was given (hex): kept in meta.json, where `config` may
    change later."""
    from hashlib import sha256
    return sha256(json.dumps(config, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def difference(before, shown):
    """Return what the attempt before was given otherwise (list of str, empty if nothing): options and names
    of config entries."""
    differing = []
    old, new = before.get("argv") or [], shown["argv"]
    if old != new:
        words = [word for word in [*old, *new]
                 if isinstance(word, str) and (word not in old or word not in new)]
        differing.append(_named("the command line",
                                [word.partition("=")[0] for word in words if word.startswith("-")]))
    digest = (before.get("slurm") or before.get("torchrun") or {}).get("config")
    if digest != config_digest(shown["config"]):
        config = before.get("config") or {}
        differing.append(_named("the config",
                                [key for key, value in shown["config"].items()
                                 if key not in config or config[key] != value]))
    return differing


def _named(noun, names):
    names = list(dict.fromkeys(names))
    return f"{noun} ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})" if names else noun
