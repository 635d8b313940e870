"""Limits that a server does not announce: plain sftp gets everything from it, and so do we, a live curve included, by asking for less."""

import sys
from pathlib import Path

import pytest
from sshd import Sshd
from test_sync import RUN, grow, live, make_run, write
from test_sync_ssh import Running, mirror_of, same, soon

CHAOS = pytest.mark.chaos
DOOR = Path(__file__).parent / "stingy_sftp.py"
OPENED, LOGGED = "p/n/runs/20250124_180000_abc124", "p/n/runs/20250125_180000_abc125"
LIMITS = ["handles=3", "handles=1", "handles=2", "handles=7", "handles=3 denies=Too_many_open_files refusal=3", "requests=16", "requests=2",
          "read=4096", "read=16384", "short=700", "short=5000", "burst=40", "per=150", "handles=3 requests=20 short=3000",
          "requests=40 refusal=cut", "handles=20 refusal=cut", "read=20000 refusal=5", "handles=4 refusal=10"]
USUAL = ("handles=3", "requests=16", "short=700")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "far"
    for number in range(30):
        make_run(folder, f"p/m/runs/20250123_1800{number:02}_abc1{number:02}", rows=200)
    make_run(folder, RUN, rows=3000)
    for path in (OPENED, LOGGED):
        make_run(folder, path, status="running", old=False, rows=300)
        live(folder, path)
        for rank in range(1, 4):
            write(folder / path / f"events.rank{rank}.jsonl", b'{"ts":1,"step":1,"data":{"loss":1}}\n')
    return folder


@pytest.mark.parametrize("limits", [limits if limits in USUAL else pytest.param(limits, marks=CHAOS) for limits in LIMITS])
def test_all_comes_and_a_curve_goes_on(root, tmp_path, home, limits):
    door = f"{sys.executable} {DOOR} {limits}"
    with Sshd(tmp_path / "sshd", ForceCommand=door) as server, Running(mirror_of(server, root, home, small_only=False)) as one:
        one.bell.look({"runs", f"run:gpu:{OPENED.replace('/runs/', '/')}"})
        soon(lambda: same(one, root), 80)
        for _ in range(3):
            for path in (OPENED, LOGGED):
                grow(root / path / "events.jsonl")
                write(root / path / "summary.json", {"loss": 0.25, "names": ["x" * 50] * 200})
            soon(lambda: same(one, root), 30)
        assert one.state()["state"] in ("live", "syncing"), one.state()
