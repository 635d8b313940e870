"""The rows of scale.py that need no browser: the manifest and the commands, each in a process of its own."""

import shutil
import sys

from scale import Measured, row
from scale_roots import made, many_runs

RUNS = (3_000, 10_000, 30_000)
PROGRAM = [sys.executable, "-m", "runicorn"]


def root_of(bench, count):
    """Return a root of so many runs."""
    return made(bench.scratch / f"runs{count}", many_runs, count)


def without_manifest(root):
    """Remove what manifests there are."""
    shutil.rmtree(root / ".runicorn", ignore_errors=True)


@row(RUNS, "runs")
def manifest(bench, size):
    """`runicorn manifest`, from nothing and with nothing changed."""
    root, floor = root_of(bench, size), bench.find(root_of(bench, size)).cpu
    command = [*PROGRAM, "manifest", "--root", root]
    costs = []
    for _ in range(2):
        without_manifest(root)
        costs.append(bench.once(command))
    full = type(costs[0])(*map(min, zip(*costs)))
    yield Measured("full", *full, "find", floor)
    unchanged = bench.best(command)
    yield Measured("nothing changed", *unchanged, "find", floor, 2 * floor, 2e-3 * size + 20)


@row(RUNS, "runs")
def runs(bench, size):
    """`runicorn runs`, the first time and again, without a manifest."""
    root, floor = root_of(bench, size), bench.find(root_of(bench, size)).cpu
    without_manifest(root)
    command = [*PROGRAM, "runs", "--root", root]
    costs = [bench.once(command, home=bench.fresh(f"home{turn}")) for turn in range(2)]
    first = type(costs[0])(*map(min, zip(*costs)))
    yield Measured("first", *first, "find", floor, 4 * floor + 2, 4e-3 * size + 40)
    yield Measured("again", *bench.best(command, home=bench.scratch / "home1"), "find", floor, 2 * floor + 2, 3.6e-3 * size + 40)
