"""Where a run's files go: a fresh folder, or one more attempt in the folder of a run that was interrupted."""

import os
import re
from collections import namedtuple

from runicorn.layout import (
    META,
    RUNS,
    STATUS,
    SUMMARY,
    below,
    make_folders,
    new_folder,
    new_run_id,
    open_regular,
    own_file,
    parse_own,
    read_json,
    slug,
)
from runicorn.masking import without_masks

TRIES = 100                 # fresh ids tried; two runs of one second share an id once in 16 million
STEP = rb'^\{"ts":[^,]+,"step":(-?\d+)'
BLOCK = 1 << 22

# root, folder: str; path: str below root; attempt: 1, 2, …
Place = namedtuple("Place", "root path folder id attempt")


def fresh(root, project, name, run_id=None):
    """Make a new run folder; returns its Place. Raises OSError; FileExistsError if `run_id` is given and
    taken."""
    runs = f"{slug(project)}/{slug(name)}/{RUNS}"
    above = make_folders(root, runs)
    like = os.stat(root)
    for _ in range(TRIES):
        chosen = run_id or new_run_id()
        folder = below(above, slug(chosen))
        try:
            new_folder(folder, like)
        except FileExistsError:
            if run_id:
                raise
            continue
        return Place(root, f"{runs}/{slug(chosen)}", folder, chosen, 1)
    raise FileExistsError(f"{above}: {TRIES} run ids in a row were taken")


def again(root, path, run_id):
    """Return the Place of the next attempt of an existing run, its events file made; None if there is no such
    run."""
    folder = below(root, path)
    if not os.path.isfile(below(folder, META)):
        return None
    attempt = 1 + max([1] + [own[1] for own in map(parse_own, os.listdir(folder)) if own])
    return Place(root, path, folder, run_id, claim_events(folder, attempt))


def claim_events(folder, attempt, rank=0):
    """Make the events file of the first attempt from `attempt` on that has none; returns that attempt (int).
    Raises OSError.

    Whoever makes the file has it, so no two processes ever write one: not two requeues at once, nor a rank of
    an earlier launch.
    """
    while True:
        try:
            os.close(os.open(below(folder, own_file("events", attempt, rank)),
                             os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return attempt
        except FileExistsError:
            attempt += 1


def past(folder):
    """Return what the attempts before left in a run's folder: {"status", "summary": dicts, "step": the
    largest (int)}."""
    return {"status": read_json(below(folder, STATUS)) or {},
            "summary": read_json(below(folder, SUMMARY)) or {}, "step": largest_step(folder)}


def next_attempt(folder, facts, spec):
    """Return the dict for meta.json of one more attempt of the run in `folder`: what it has, with what this
    attempt was given over it. facts: of this process. spec: project, name, config, tags, notes …"""
    before = read_json(below(folder, META)) or {}
    for scheduler in ("slurm", "torchrun"):
        before.pop(scheduler, None)             # what began the last attempt, if anything, not an earlier one
    stays = {key: before[key] for key in ("created_at", "format", "metrics", "means") if key in before}
    spec = {key: value for key, value in spec.items() if value not in (None, [], {})}
    config = dict(without_masks(before.get("config") or {}), **spec.pop("config", {}))
    return {**before, **facts, **stays, **spec, "config": config}


def largest_step(folder):
    """Return the largest step in all events files of a run (int), -1 if there is none."""
    largest = -1
    for name in os.listdir(folder):
        own = parse_own(name)
        # Not a FIFO that somebody put there
        if own and own[0] == "events" and os.path.isfile(below(folder, name)):
            largest = max(largest, _largest_step(below(folder, name)))
    return largest


def _largest_step(path):
    largest, tail = -1, b""
    with open(open_regular(path), "rb") as file:
        while True:
            block = file.read(BLOCK)
            if not block:
                return largest
            lines, newline, tail = (tail + block).rpartition(b"\n")
            steps = re.findall(STEP, lines + newline, re.MULTILINE)
            if steps:
                largest = max(largest, max(map(int, steps)))
