"""Never wrong over a real sshd, in real time: clocks that jump, pipes and other irregular files."""

import os
import random
import time

import pytest
import tally
from pairs import grow, live, make_run, tree, write
from sshd import Sshd
from test_pipes import KINDS, put
from test_sync_ssh import Running, mirror_of, same, soon

pytestmark = pytest.mark.chaos
ONLY_SFTP = {"ForceCommand": "internal-sftp"}


def compare(near, far, but=()):
    """Count what the mirror has of a run against what the server has, file by file."""
    held, true = tree(near), tree(far)
    assert true
    for name, data in true.items():
        if name not in but:
            tally.compare(held.get(name, b""), data)
    return held.keys() - true.keys()


@pytest.fixture(params=["exec", "sftp"])
def server(request, tmp_path):
    with Sshd(tmp_path / "sshd", **({} if request.param == "exec" else ONLY_SFTP)) as made:
        yield made


@pytest.fixture
def root(tmp_path):
    for number in range(6):
        make_run(tmp_path / "far", f"p/n/runs/20250124_{180000 + number}_abc124", status="running" if number < 2 else "finished",
                 rows=500, old=number >= 2)
    live(tmp_path / "far", "p/n/runs/20250124_180000_abc124")
    return tmp_path / "far"


def runs_of(root):
    return sorted(root.glob("*/*/runs/*"))


def changing(root, chance, rounds, change):
    """Change the root `rounds` times, a moment apart; one log goes on growing all the time."""
    for _ in range(rounds):
        grow(runs_of(root)[0] / "events.jsonl")
        change(chance.choice(runs_of(root)))
        time.sleep(chance.choice((0.0, 0.2, 1.1)))
        tally.tried()


def is_whole(one, root, odd):
    """Whether every file but the odd ones (names in a run) is here as it is there."""
    held = tree(one.mirror.folder)
    return all(held.get(name) == data for name, data in tree(root).items() if name.split("/", 4)[4].split("/")[0] not in odd)


def settled_and_compared(one, root, odd=()):
    soon(lambda: is_whole(one, root, odd) and one.state()["state"] == "live", 60)
    for run in runs_of(root):
        but = {name for name in tree(run) if name.split("/")[0] in odd}
        compare(one.mirror.folder / run.relative_to(root), run, but)


def test_a_clock_that_jumps_stops_nothing(server, root, tmp_path, home, monkeypatch):
    chance, real, ahead = random.Random(6), time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])

    def change(run):
        ahead[0] += chance.choice((-1800.0, -120.0, -5.0, 60.0, 7200.0))
        write(run / "summary.json", {"loss": chance.random()})
        grow(run / "logs.txt", b"[2025-01-23 18:30:45+0800] a line\n")
    with Running(mirror_of(server, root, home)) as one:
        soon(lambda: same(one, root))
        changing(root, chance, 40, change)
        settled_and_compared(one, root)


@pytest.mark.parametrize("server", ["sftp"], indirect=True)
def test_pipes_and_other_irregular_files_stop_nothing_and_leave_no_process_behind(server, root, tmp_path, home):
    chance, odd = random.Random(7), {"pipe.jsonl", "notes.txt", "events.9.jsonl", "pipe.jsonl.end", "notes.txt.end", "events.9.jsonl.end"}

    def change(run):
        name = chance.choice(["pipe.jsonl", "notes.txt", "events.9.jsonl"])
        for path in (run / name, run / f"{name}.end"):
            if path.is_dir() and not path.is_symlink():
                (path / "inside.txt").unlink()
                path.rmdir()
            elif os.path.lexists(path):
                path.unlink()
        put(run / name, chance.choice(KINDS)) if chance.random() < 0.8 else (run / name).write_bytes(b"a file again\n")
    put(root / ".runicorn" / "full_manifest.json", KINDS[0])
    with Running(mirror_of(server, root, home)) as one:
        changing(root, chance, 60, change)
        settled_and_compared(one, root, odd)
    soon(lambda: not server.sessions(), 20)
