"""Never wrong, with real training processes: one that is stopped, one that goes on for long over a line that
is cut again and again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tally
from clocks import Clock
from line import Line
from pairs import facts, mirror, pair, root, tree  # noqa: F401 (fixtures)
from real_syncs import Running, mirror_of
from sshd import Sshd
from waiting import until

from runicorn.reader.catalog import Catalog

# s; our clock runs ahead of the writer's: its last word must not bear the second of what we have read
SECOND = 1.1
WRITER = """
import sys, time, runicorn
run = runicorn.init(project="p", name="n", storage=sys.argv[1], system=False)
print(run.id, flush=True)
step = 0
while True:
    run.log({"loss": 1 / (step + 1), "seen": step}, step=step)
    step += 1
    if step % 20 == 0:
        print("epoch", step // 20, flush=True)
        run.summary({"best": step})
    time.sleep(0.01)
"""


@pytest.fixture
def training(root):
    """A real process that logs 100 rows a second into the server's root; `run_id` and `folder` are its
    run's."""
    command = [sys.executable, "-c", WRITER, str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    process.run_id = process.stdout.readline().strip()
    process.path = f"p/n/runs/{process.run_id}"
    process.folder = root / process.path
    yield process
    process.kill()
    process.communicate()


def shown(one, reader, clock, seconds):
    """Let `seconds` pass for the sync and the reader; return the state of the only run as the list shows
    it."""
    clock.now += seconds
    one.now += seconds
    one.sync.one_pass(one.now)
    reader.refresh()
    reader.look()
    (row,) = reader.runs()["runs"]
    return row["state"]


@pytest.mark.long
def test_a_writer_that_was_stopped_for_100_seconds_is_stalled_not_lost_and_goes_on(
        mirror, root, pair, training):
    one, clock = pair(), Clock()
    one.bell.look({"runs"})
    one.sync.one_pass(one.now)
    reader = Catalog([], [("gpu", mirror)], clock=clock)
    states = [shown(one, reader, clock, 1) for _ in range(5)]
    assert states[-1] == "running"
    time.sleep(SECOND)
    training.send_signal(signal.SIGSTOP)
    states = [shown(one, reader, clock, 1) for _ in range(100)]
    assert states[:55] == ["running"] * 55 and set(states[55:]) == {"running", "stalled"}
    assert states[-1] == "stalled"
    held = tree(mirror)
    assert held == tree(root), "what it wrote before is here, whole"
    training.send_signal(signal.SIGCONT)
    until(lambda: shown(one, reader, clock, 1) == "running")
    time.sleep(SECOND)
    training.send_signal(signal.SIGTERM)
    training.wait(20)
    one.passes(31)
    one.passes(31)
    one.same()
    assert shown(one, reader, clock, 1) == "interrupted"
    assert_whole(tree(mirror), training)


def assert_whole(held, training):
    """Every row that was logged is there once, in order."""
    steps = [json.loads(line)["step"] for line in held[f"{training.path}/events.jsonl"].splitlines()]
    assert steps == list(range(len(steps))) and steps


def through(line, one, training, cuts, pause):
    """Cut the line `cuts` times, at random moments and bytes, while somebody watches and the training goes
    on."""
    chance, ways = random.Random(cuts), (line.cut, lambda: line.cut_after(chance.randrange(1, 60_000)))
    while line.stats()["cuts"] < cuts:
        time.sleep(pause * chance.random())
        chance.choice(ways)()
        one.bell.look({"runs", f"run:gpu:p/n/{training.run_id}"})
        one.wake()
        assert one.state()["state"] in ("live", "syncing", "offline", "connecting"), one.state()
        mirrored = one.mirror.folder / training.path / "events.jsonl"
        if mirrored.exists():
            held = mirrored.read_bytes()
            tally.compare(held, (training.folder / "events.jsonl").read_bytes(), whole=False)


@pytest.mark.long
@pytest.mark.parametrize("cuts, pause", [(4, 1.0), pytest.param(100, 2.5, marks=pytest.mark.chaos)])
def test_a_training_watched_over_a_line_that_is_cut_again_and_again(
        tmp_path, home, root, training, cuts, pause):
    with Sshd(tmp_path / "sshd") as server, Line(server.port,
                                                 rtt=0.02) as line, Running(
                                                     mirror_of(server, root, home, line.port)) as one:
        until(lambda: one.state()["state"] == "live")
        through(line, one, training, cuts, pause)
        training.send_signal(signal.SIGTERM)
        training.wait(20)
        line.cut_after(1 << 60)
        before = facts(root)
        one.wake()
        until(lambda: one.state()["state"] == "live" and tree(one.mirror.folder) == tree(root))
    if cuts > 50:
        tally.tried(cuts)
    for name, true in tree(root).items():
        tally.compare(tree(one.mirror.folder)[name], true)
    assert_whole(tree(one.mirror.folder), training)
    assert facts(root) == before


@pytest.mark.chaos
def test_a_writer_really_stopped_for_100_seconds(tmp_path, home, root, training):
    with Sshd(tmp_path / "sshd") as server, Running(mirror_of(server, root, home)) as one:
        until(lambda: tree(one.mirror.folder).keys() == tree(root).keys())
        reader = Catalog([], [("gpu", one.mirror.folder)])

        def state():
            one.bell.look({"runs"})
            reader.refresh()
            reader.look()
            return reader.runs()["runs"][0]["state"]

        until(lambda: state() == "running")
        training.send_signal(signal.SIGSTOP)
        seen, end = set(), time.monotonic() + 100
        while time.monotonic() < end:
            seen.add(state())
            time.sleep(0.5)
        assert seen == {"running", "stalled"}
        os.kill(training.pid, signal.SIGCONT)
        until(lambda: state() == "running")
        training.send_signal(signal.SIGTERM)
        training.wait(20)
        until(lambda: state() == "interrupted" and tree(one.mirror.folder) == tree(root))
    tally.tried()
    assert_whole(tree(one.mirror.folder), training)
