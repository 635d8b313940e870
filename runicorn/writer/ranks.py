"""Which rank of which launch this process is, from what launchers put into the environment. `SLURM_PROCID`
alone is no rank."""

import os
import re
from collections import namedtuple

from runicorn.writer.environment import hostname, process
from runicorn.writer.link import RANK as TASK

# int, int, text that all ranks of one launch can compute, or None
Launch = namedtuple("Launch", "rank size key")

# (rank, size) of the launchers: torchrun and what follows it, Open MPI, MPICH and Intel MPI.
NAMES = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))

# Addresses that mean "this host" on any host: 127.0.0.0/8 and ::1 however they are written, the names
# distributions give them,
# and the unspecified address, which connects to the same.
LOOPBACK = (r"(?i)(::ffff:)?127(\.\d+){1,3}|(0*:)+0*1?|0(\.0){0,3}"
            r"|(.*\.)?localhost\d?(\.localdomain\d?)?|ip6-(localhost|loopback)")

_inits = {}             # (launch key, project, name) -> how many runs this process has begun under it


def launch(rank="auto", environ=os.environ):
    """Return the Launch of this process. rank: int to say it, None for "a launch of its own", "auto" to find
    out."""
    if rank is None:
        return Launch(0, 1, None)
    detected = _detected(environ)
    if rank != "auto":
        detected = (int(rank), max(detected[1], int(rank) + 1))
    return Launch(detected[0], detected[1], launch_key(environ) if detected[1] > 1 else None)


def task(alone, environ=os.environ):
    """Return the Launch of a program that this process starts. alone: whether each task of a launch is an
    experiment of its own; else those of one `srun` are one run."""
    launched = launch(None if alone else "auto", environ)
    if (not alone and launched.size == 1 and environ.get("SLURM_STEP_ID")
            and (_number(environ, "SLURM_STEP_NUM_TASKS") or 1) > 1):
        return Launch(_number(environ, "SLURM_PROCID") or 0, _number(environ, "SLURM_STEP_NUM_TASKS"),
                      launch_key(environ))
    return launched


def numbered(launch, project, name):
    """Return the Launch for one more run of an experiment: the second that a process begins is the second of
    each rank."""
    if launch.key is None:
        return launch
    experiment = (launch.key, project, name)
    _inits[experiment] = count = _inits.get(experiment, 0) + 1
    return launch if count == 1 else launch._replace(key=f"{launch.key}#{count}")


def _detected(environ):
    for rank, size in NAMES:
        if _number(environ, size) is not None and _number(environ, rank) is not None:
            return environ_pair(environ, rank, size)
    if "MASTER_ADDR" not in environ and TASK not in environ:
        return 0, 1                     # `srun -n4 python sweep.py` is four experiments
    if _number(environ, "SLURM_PROCID") is not None and _number(environ, "SLURM_NTASKS") is not None:
        return environ_pair(environ, "SLURM_PROCID", "SLURM_NTASKS")
    task, _, tasks = environ.get(TASK, "").partition("/")
    if task.isdecimal() and tasks.isdecimal():
        return int(task), int(tasks)
    local, size = _number(environ, "LOCAL_RANK"), _number(environ, "WORLD_SIZE")
    if local is None or size is None:
        return 0, 1
    local_n = _number(environ, "LOCAL_WORLD_SIZE") or size         # Lightning's own launcher sets no RANK
    return local + local_n * (_number(environ, "NODE_RANK") or 0), size


def environ_pair(environ, rank, size):
    return _number(environ, rank), _number(environ, size)


def _number(environ, name):
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None


def launch_key(environ=os.environ):
    """Return the text that names this launch for all its ranks and no other, or None if nothing does.

    A launcher's own id may be anything a user typed ("100"), and one Slurm step may start several launches:
    so the address and port where the ranks meet are always part of it, and this host where that address is a
    loopback one. torchrun's restart count is not: after a failure on one node each node counts its own.
    """
    parts = _launcher(environ)
    address, port = environ.get("MASTER_ADDR"), environ.get("MASTER_PORT")
    if address and port:
        parts = [*(parts or ["master"]), address, port, environ.get("WORLD_SIZE", "")]
        parts += [this_host()] if is_loopback(address) else []
    return ":".join(parts) or None


def _launcher(environ):
    elastic, job = environ.get("TORCHELASTIC_RUN_ID"), environ.get("SLURM_JOB_ID")
    if elastic and elastic != "none":
        return ["elastic", elastic]
    if job and (environ.get("SLURM_STEP_ID") or environ.get("MASTER_PORT")):
        step = "" if spans_steps(environ) else environ.get("SLURM_STEP_ID", "")
        return ["slurm", environ.get("SLURM_CLUSTER_NAME", ""), job, step,
                environ.get("SLURM_RESTART_COUNT") or "0"]
    return []


def spans_steps(environ=os.environ):
    """Whether the launch is larger than this Slurm step: one `srun -N1 torchrun …` a node makes one launch of
    many steps."""
    agents, nodes = _number(environ, "GROUP_WORLD_SIZE"), _number(environ, "SLURM_STEP_NUM_NODES") or 1
    return agents is not None and agents > nodes


def spans_tasks(environ=os.environ):
    """Whether the ranks of the launch lie in several Slurm tasks, whose numbers then say nothing about who is
    rank 0."""
    size, local = _number(environ, "WORLD_SIZE"), _number(environ, "LOCAL_WORLD_SIZE")
    return size is not None and local is not None and size > local


def is_loopback(address):
    """Whether every host would take `address` (text) for itself."""
    return re.fullmatch(LOOPBACK, address.strip().strip("[]").partition("%")[0].rstrip(".")) is not None


def this_host():
    """Return what tells the loopback device of this process from any other: host, and the boot and network
    namespace if known."""
    facts = process()
    return "/".join([hostname()] + [str(facts[name]) for name in ("net_ns", "boot") if name in facts])
