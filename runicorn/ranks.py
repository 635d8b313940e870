"""Which rank of which launch this process is, from what launchers put into the environment. `SLURM_PROCID` alone is no rank."""

import os
from collections import namedtuple

Launch = namedtuple("Launch", "rank size key")      # int, int, text that all ranks of one launch can compute, or None

# (rank, size) of the launchers: torchrun and what follows it, Open MPI, MPICH and Intel MPI.
NAMES = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))


def launch(rank="auto", environ=os.environ):
    """Return the Launch of this process. rank: int to say it, None for "a launch of its own", "auto" to find out."""
    if rank is None:
        return Launch(0, 1, None)
    found = _found(environ)
    if rank != "auto":
        found = (int(rank), max(found[1], int(rank) + 1))
    return Launch(found[0], found[1], launch_key(environ) if found[1] > 1 else None)


def _found(environ):
    for rank, size in NAMES:
        if _number(environ, size) is not None and _number(environ, rank) is not None:
            return environ_pair(environ, rank, size)
    if "MASTER_ADDR" not in environ:
        return 0, 1                     # `srun -n4 python sweep.py` is four experiments
    if _number(environ, "SLURM_PROCID") is not None and _number(environ, "SLURM_NTASKS") is not None:
        return environ_pair(environ, "SLURM_PROCID", "SLURM_NTASKS")
    local, size = _number(environ, "LOCAL_RANK"), _number(environ, "WORLD_SIZE")
    if local is None or size is None:
        return 0, 1
    here = _number(environ, "LOCAL_WORLD_SIZE") or size         # Lightning's own launcher sets no RANK
    return local + here * (_number(environ, "NODE_RANK") or 0), size


def environ_pair(environ, rank, size):
    return _number(environ, rank), _number(environ, size)


def _number(environ, name):
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None


def launch_key(environ=os.environ):
    """Return the text that names this launch for all its ranks and no other, or None if nothing does."""
    elastic = environ.get("TORCHELASTIC_RUN_ID")
    if elastic and elastic != "none":
        return f"elastic:{elastic}:{environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if environ.get("SLURM_JOB_ID") and environ.get("SLURM_STEP_ID"):
        return "slurm:" + ":".join(environ.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))
    if environ.get("MASTER_ADDR") and environ.get("MASTER_PORT"):
        return f"master:{environ['MASTER_ADDR']}:{environ['MASTER_PORT']}:{environ.get('WORLD_SIZE', '')}"
    return None
