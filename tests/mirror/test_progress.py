"""What the row of a connection tells of its fetches: bytes of what will come, the rate of late, and how long
the rest takes."""

from types import SimpleNamespace

import pytest
from clocks import Clock
from pairs import (
    RUN,
    make_run,
    mirror,  # noqa: F401 (fixtures)
    pair,  # noqa: F401
    root,  # noqa: F401
    write,
)

from runicorn.mirror import plan
from runicorn.mirror.progress import LATELY, STEADY, Progress
from runicorn.mirror.room import Room


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("runicorn.mirror.progress.time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def progress(clock):
    return Progress(SimpleNamespace(resumed={}, resumed_bytes=0, begin_progress=lambda: None))


def fetch(size, name="logs.txt"):
    return plan.Fetch(RUN, name, 0, size, 1e9, None, True)


def test_how_long_the_rest_takes_is_told_once_the_small_files_are_here_and_the_rate_is_known(progress, clock):
    progress.add([fetch(100), fetch(40_000_000)])
    told = []
    for tick in range(60):
        clock.now += 0.25
        coming = 100 if tick < 20 else 100 + (tick - 20) * 250_000
        progress.mark(coming, steady=tick >= 20)
        told.append(progress.row(coming))
    assert {row["left"]
            for row in told[:19 + int(STEADY / 0.25)]} == {None}, "the small files' pace is nobody's"
    lefts = [row["left"] for row in told[20 + int(STEADY / 0.25):]]
    assert lefts and None not in lefts and max(lefts) <= 48 and lefts == sorted(lefts, reverse=True)
    assert told[-1]["rate"] == pytest.approx(1e6, rel=0.05)


def test_a_line_that_stalls_or_recovers_is_told_as_it_is_of_late(progress, clock):
    progress.add([fetch(100_000_000)])
    for tick in range(100):
        clock.now += 0.25
        progress.mark(tick * 1_000_000, steady=True)
    assert progress.row(99_000_000)["rate"] == pytest.approx(4e6, rel=0.05)
    clock.now += 10 * LATELY                     # nobody marks while the line stands still
    assert progress.row(99_000_000)["rate"] < 500_000


def test_what_does_not_come_is_no_part_of_what_is_waited_for(progress):
    progress.add([fetch(1000), fetch(9_000_000)])
    assert progress.row(0, room=5000)["bytes_total"] == 5000
    progress.give_up([fetch(9_000_000)])
    progress.finish(fetch(1000))
    row = progress.row(0, room=4000)
    assert (row["files_done"], row["files_total"], row["bytes_done"], row["bytes_total"]) == (
        1, 1, 1000, 1000)


def test_what_a_line_brought_before_it_hung_up_stays_done(progress):
    whole, more = fetch(9_000_000), plan.Fetch(RUN, "events.jsonl", 1_000_000, 5_000_000, 1e9, None, False)
    progress.add([whole, more, fetch(1000, "meta.json")])
    before = progress.row(coming=3_000_000 + 500_000)
    for lost, here in ((whole, 3_000_000), (more, 1_500_000)):
        progress.lose(lost)
        progress.add([lost._replace(offset=here, whole=False)])
    assert progress.row(coming=0) == before
    progress.lose(whole)
    # here beside what it is to replace: it goes on from there once it is its turn
    progress.add([whole])
    assert progress.row(coming=0)["bytes_total"] == before["bytes_total"]
    progress.lose(whole)
    progress.add([fetch(10, "a.png")])
    assert progress.row(coming=0)["bytes_total"] == before["bytes_total"] - 9_000_000 + 10


def test_bytes_are_never_more_than_fit_while_the_limit_leaves_most_out(root, pair, monkeypatch, tmp_path):
    limit = 3 << 20
    make_run(root)
    for number in range(12):
        run = make_run(root, f"p/n/runs/20250124_{180000 + number}_abc124")
        write(run / "logs.txt", b"[2025-01-23 18:30:45+0800] a line of output\n" * 12_000)
    write(root / RUN / "logs.txt", b"[2025-01-23 18:30:45+0800] a line of output\n" * 500_000)
    one = pair(room=Room(tmp_path, lambda: limit, lambda: 0))
    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.002)
    monkeypatch.setattr("runicorn.ssh.sftp.IN_FLIGHT_BYTES", 1 << 20)
    monkeypatch.setattr("runicorn.mirror.fetcher.SMALLEST", 256 << 10)
    told = []
    for _ in range(2000):
        one.sync.one_pass(one.now)
        row = one.sync.state()["progress"]
        if row is None and told:
            break
        told += [row] if row and row["bytes_done"] else []
    assert len(told) > 3 and max(row["bytes_total"] for row in told) <= limit + 1000
    assert [row for row in told if not row["bytes_done"] <= row["bytes_total"]
            or row["files_done"] > row["files_total"]] == []
    assert one.sync.state()["reason"]["code"] == "live_partly"
