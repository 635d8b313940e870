"""The command line and what is packed, each figure beside its target: start, run list, exports, imports,
weights. One table.

    python benchmarks/tools.py                       # two minutes; needs 200 MB of scratch space
    python benchmarks/tools.py --only version runs   # some sections

Each command runs in a process of its own. Beside its wall time stand its processor time, which is what the
wall time is on a machine that does nothing else, and the most memory it held.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tree import make_run  # noqa: E402

from runicorn.reader import viewer_client  # noqa: E402
from runicorn.transfer import tensorboard as tfevents  # noqa: E402  (the tree beside us, not an installed copy)

RUNS, POINTS, RUN_ID = 10_000, 1_000_000, "20250123_180000_abc123"
STARTS, LISTS = 21, 7           # times a quick command is repeated; the median counts
SECTIONS = {}


class Spent(NamedTuple):
    """What a process took: wall and processor time in s, the most memory it held in MB."""

    wall: float
    cpu: float
    memory: float


def section(function):
    SECTIONS[function.__name__] = function
    return function


def say(what, target, value, spent=None):
    more = f"{spent.cpu:9.3f} s {spent.memory:7.0f} MB" if spent else ""
    print(f"{what:<58} {target:>9} {value:>12} {more}", flush=True)


def spent(command, home, output=os.devnull):
    """Run a command to its end; returns Spent. Raises SystemExit if it fails."""
    with open(output, "wb") as out, open(home / "said", "wb") as said:
        began = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=said, cwd=home,
                                   stdin=subprocess.DEVNULL, env=environment(home))
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}: {(home / 'said').read_text()}")
    return Spent(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)


def environment(home):
    return {**os.environ, "HOME": str(home), "RUNICORN_HOME": str(home / ".runicorn"),
            "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": ""}          # as where it is installed


def runicorn(*arguments):
    return [sys.executable, "-m", "runicorn", *arguments]


def median(command, home, times):
    taken = [spent(command, home) for _ in range(times)]
    return Spent(*(statistics.median(column) for column in zip(*taken)))


@section
def version(home):
    """The cost of any command before it does something, against Python's own."""
    bare, ours = (median(command, home, STARTS)
                  for command in ([sys.executable, "-c", "pass"], runicorn("--version")))
    say("python -c pass", "", f"{bare.wall * 1000:.0f} ms", bare)
    say("runicorn --version", "60 ms", f"{ours.wall * 1000:.0f} ms", ours)


@section
def runs(home):
    """The run list of 10,000 runs with a manifest, for the first time and again."""
    root = home / ".runicorn" / "experiments"
    for number in range(RUNS):
        make_run(root, number, events=3, logs=3)
    say("manifest of 10,000 runs", "",
        f"{(taken := spent(runicorn('manifest', '--root', root), home)).wall:.2f} s", taken)
    shutil.rmtree(home / ".runicorn" / "index", ignore_errors=True)
    say("runicorn runs, for the first time", "", f"{(taken := spent(runicorn('runs'), home)).wall:.2f} s",
        taken)
    again = median(runicorn("runs"), home, LISTS)
    say("runicorn runs", "0.5 s", f"{again.wall:.2f} s", again)
    with viewer(home):
        beside = median(runicorn("runs"), home, LISTS)
        say("runicorn runs, beside a running viewer", "0.5 s", f"{beside.wall:.2f} s", beside)
    found = median(runicorn("runs", "loss<0.3 -project:project1", "--sort", "summary.loss"), home, LISTS)
    say("runicorn runs with a filter, sorted by a metric", "0.5 s", f"{found.wall:.2f} s", found)


@contextlib.contextmanager
def viewer(home):
    """A viewer of the home folder, once it knows all its runs."""
    command = runicorn("viewer", "--no-browser", "--port", "0")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=home, env=environment(home))
    try:
        while not (notes := viewer_client.notes(home / ".runicorn")) or not knows(notes[0]):
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(20)


def knows(note):
    answer = viewer_client.asked(note, "/api/rows?limit=1")
    return answer and answer["total"] == RUNS


@section
def export(home):
    """A run of 1,000,000 points as CSV, TensorBoard log and report; memory against a tenth of it."""
    small, large = (curve(home, f"{count}", count) for count in (POINTS // 10, POINTS))
    memory = spent(runicorn("export", "--run-id", small, "--format", "csv", "-o", "-"), home).memory
    for form, more, target in (("csv", (), "5 s"), ("csv", ("--long",), "5 s"), ("tensorboard", (), ""),
                               ("html", (), "")):
        taken = spent(runicorn("export", "--run-id", large, "--format", form, *more, "--force"), home)
        say(f"export of 1,000,000 points as {form} {' '.join(more)}", target, f"{taken.wall:.2f} s", taken)
        if not more and form == "csv":
            say("  its memory beyond that of 100,000 points", "flat", f"{taken.memory - memory:+.0f} MB")
    lines = sum(1 for _ in open(home / f"{large}.csv", "rb"))
    assert lines == POINTS + 1, f"{lines} lines of CSV"


def curve(home, name, count):
    """Write a finished run of one metric; returns its id."""
    chance = random.Random(count)
    path = f"curves/{name}/runs/{RUN_ID[:-6]}{count:06x}"
    folder = make_run(home / ".runicorn" / "experiments", count, events=0, logs=0, path=path)
    with open(folder / "events.jsonl", "w", encoding="utf-8") as file:
        for step in range(count):
            file.write('{"ts":%.3f,"step":%d,"data":{"loss":%r}}\n'
                       % (1.74e9 + step / 64, step, chance.random()))
    return folder.name


@section
def tensorboard(home):
    """A TensorBoard log of 1,000,000 points comes in, and every step, time and value is there."""
    scalars, logs = tfevents.Scalars(), home / "logs"
    logs.mkdir()
    with open(logs / "events.out.tfevents.1740000000.gpu", "wb") as file:
        file.write(tfevents.opening(1.74e9))
        file.writelines(scalars.record(ts, step, ("loss",), (value,)) for ts, step, value in points())
    taken = spent(runicorn("import", str(logs)), home)
    say("import of a TensorBoard log of 1,000,000 points", "", f"{taken.wall:.2f} s", taken)
    events, = (home / ".runicorn" / "experiments").glob("logs/run/runs/*/events.jsonl")
    with open(events, "rb") as file:
        lost = sum(not same(json.loads(line), point) for line, point in zip(file, points(), strict=True))
    say("  points lost or changed (values are float32 there)", "0", str(lost))


def points():
    """Yield (time, step, value), the same each time; never a list, since a process counts its parent's memory
    as its own."""
    chance = random.Random(5)
    return ((1.74e9 + step / 64, step, chance.random()) for step in range(POINTS))


def same(row, point):
    ts, step, value = point
    return (row["ts"], row["step"]) == (ts, step) and abs(row["data"]["loss"] - value) <= 6e-8 * value


@section
def weights(home):
    """What is carried: made here from this tree."""
    tree = HERE.parent
    for kind in ("pyz", "copy", "server-copy"):
        subprocess.run([sys.executable, ".ci/pack.py", kind], cwd=tree, check=True, stdout=subprocess.DEVNULL)
    build = "from setuptools import build_meta as b; print(b.build_wheel('dist'))"
    wheel = subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True,
                           text=True).stdout.splitlines()[-1]
    folder = tree / "dist" / "runicorn-server-copy"
    server = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    for what, target, size in (("wheel", "250 kB", (tree / "dist" / wheel).stat().st_size),
                               ("pyz", "500 kB", (tree / "dist" / "runicorn.pyz").stat().st_size),
                               ("server copy, unpacked", "300 kB", server)):
        say(what, target, f"{size / 1000:.0f} kB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    print(f"{'what':<58} {'target':>9} {'wall, size':>12} {'processor':>11} {'memory':>10}")
    for name in options.only:
        with tempfile.TemporaryDirectory() as home:
            SECTIONS[name](Path(home))


if __name__ == "__main__":
    main()
