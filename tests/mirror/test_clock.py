"""The laptop's clock is set back or forward, or the laptop sleeps: nothing waits longer for it, and no age is
shown that is too small."""

import json
import os
import threading
import time

import clocks
import pytest
from pairs import OLD, RUN, Pair, grow, live, make_run, mirror, pair, root, settle, told  # noqa: F401 (fixtures)
from small_runs import write_run
from waiting import until

from runicorn import manifest
from runicorn.clock import Clock
from runicorn.errors import LineError
from runicorn.mirror import quota, recheck
from runicorn.mirror.sync import Sync
from runicorn.reader.catalog import Catalog

KEY = "gpu:vision/resnet50/20250123_180000_abc123"
NEW = "p/n/runs/20250124_180000_abc124"
JUMPS = [-120, -1800, -86400, 86400, -7 * 86400, 400 * 86400]


def paths(one):
    return manifest.load(one.mirror / ".index" / "full.json").paths()


# -- the clock itself

def test_the_time_goes_on_with_the_wall_clock_and_never_back():
    monotonic = clocks.Clock(100.0)
    clock = Clock(monotonic)
    assert clock.at(5000.0) == 5000.0 and clock.wall(5000.0) == 5000.0
    monotonic.now += 3
    assert not clock.was_set_back(5003.0) and clock.at(5003.0) == 5003.0
    monotonic.now += 4
    assert clock.was_set_back(3203.0) and clock.at(
        3203.0) == 5007.0, "set back by half an hour and 4 s: 4 s went by"
    assert clock.wall(5007.0) == 3203.0 and clock.wall(5000.0) == 3196.0
    monotonic.now += 1
    assert clock.at(3204.0) == 5008.0
    assert clock.at(3204.0 + 28_800) == 5008.0 + 28_800, "the laptop slept, and the monotonic clock with it"
    monotonic.now += 2
    assert clock.now() == 5010.0 + 28_800


# -- what comes here

@pytest.mark.few(2)
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("source", ["sftp", "exec", "manifest"])
def test_new_runs_are_listed_within_the_interval(root, pair, source, jump):
    run = make_run(root, status="running")
    live(root)
    if source == "manifest":
        manifest.generate(str(root))
    one = pair(source)
    for _ in range(3):
        one.passes(31)
    one.sync.one_pass(one.now)
    os.utime(root, (OLD, OLD))      # its mtime is told in whole seconds
    one.passes(31)
    make_run(root, NEW)
    grow(run / "events.jsonl")
    one.now += jump
    for _ in range(8):
        one.now += min(5.0, one.passes())
        settle(one)
    assert NEW in paths(one), "35 s are more than the interval"
    one.passes(5)
    settle(one)
    one.passes(5)
    one.same()
    assert told(one)["state"]["last_news"] < one.now + 60 and told(one)["line"]["up"]


@pytest.mark.few(2)
@pytest.mark.parametrize("jump", JUMPS)
def test_a_watched_run_goes_on_growing(root, pair, jump):
    run = make_run(root, status="running")
    live(root)
    one = pair()
    one.bell.look({"runs", "run:gpu-server-1:vision/resnet50/20250123_180000_abc123"})
    one.passes()
    one.passes(1)
    one.now += jump
    for _ in range(3):
        grow(run / "events.jsonl")
        one.passes(1)
        assert (one.mirror / RUN / "events.jsonl").read_bytes() == (run / "events.jsonl").read_bytes()


@pytest.mark.few(2)
@pytest.mark.parametrize("jump", JUMPS)
def test_a_line_that_is_down_is_tried_again_as_soon_as_before(root, pair, jump):
    make_run(root)
    one = pair()
    one.passes()
    tries = []

    def refuse():
        tries.append(one.now)
        raise LineError("no route to host")
    one.sync._connect = refuse
    one.sync._hang_up("offline", "line", "the line broke")
    for _ in range(5):
        one.now += one.sync.one_pass(one.now) + 0.01
    count, shown = len(tries), one.sync.state()["retry_at"]
    assert count == 5 and shown >= tries[-1]
    one.now += jump
    for _ in range(80):
        one.sync.one_pass(one.now)
        one.now += 1
    assert len(tries) > count, "the longest pause is 60 s, and a third"
    assert abs(one.sync.state()["retry_at"] - one.now) < 90, "as the wall clock shows it now"


@pytest.mark.few(2)
@pytest.mark.parametrize("jump", JUMPS)
def test_with_real_clocks(root, tmp_path, monkeypatch, jump):
    """The thread itself, whose wall clock jumps while it waits."""
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    make_run(root)
    one = Pair(root, tmp_path / "near", interval=1)
    assert isinstance(one.sync, Sync)
    thread = threading.Thread(target=one.sync.run, daemon=True)
    thread.start()
    until(lambda: (one.mirror / RUN / "logs.txt").exists() and one.sync.state()["state"] == "live")
    ahead[0] = jump
    make_run(root, NEW, old=False)
    until(lambda: (one.mirror / NEW / "logs.txt").exists())
    one.sync.stop()
    thread.join(10)
    assert not thread.is_alive()
    one.far.close()


def test_a_sleep_is_noticed_while_nothing_is_due(root, pair, monkeypatch):
    """The laptop sleeps in the middle of an hour's wait: the rest of it isn't waited for."""
    one, real, ahead = pair(), time.time, [0.0]
    monkeypatch.setattr("runicorn.mirror.sync.NAP", 0.1)
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    one.sync._clock.at(time.time())
    waiting = threading.Thread(target=one.sync._wait, args=(3600,), daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    ahead[0] = 4000
    waiting.join(10)
    assert not waiting.is_alive()


# -- what is said

@pytest.mark.few(2)
@pytest.mark.parametrize("jump", JUMPS)
def test_a_copy_is_never_said_to_be_verified_later_than_it_was(root, pair, tmp_path, jump):
    make_run(root)
    one = pair()
    one.passes()
    one.passes(31)
    reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])
    reader.refresh()
    assert reader.run(KEY)["verified"] is True
    one.now += jump
    one.sync.one_pass(one.now)
    one.sync._remote_root.recheck.due = lambda now, runs: []       # nothing is looked at again
    for _ in range(4):
        one.passes(100)
    reader.refresh()
    age = one.now - reader.run(KEY)["verified_at"]
    assert age >= 390


def test_a_time_that_has_not_come_yet_tells_nothing():
    """The clock was set back between two starts."""
    one = recheck.Recheck()
    one.resume([["a", 900.0], ["b", 2000.0], ["c", None]], ["a", "b", "c"], 1000.0)
    assert one.times == {"a": 900.0}


@pytest.mark.few(2)
@pytest.mark.parametrize("jump", JUMPS)
def test_the_line_of_a_live_mirror_is_up_for_the_reader(root, pair, tmp_path, monkeypatch, jump):
    make_run(root)
    one = pair()
    one.passes()
    reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])
    reader.refresh()
    assert reader.sources["gpu"].up
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    reader.refresh()
    assert reader.sources["gpu"].up, "nothing was written since, and it is a second ago"
    one.passes(5)
    reader.refresh()
    assert reader.sources["gpu"].up


def test_a_mirror_whose_writer_died_long_ago_is_down_from_the_start(root, pair, tmp_path):
    make_run(root)
    one = pair()
    one.passes()
    place = one.mirror / ".index" / "live.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "written": time.time() - 700}))
    reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])
    reader.refresh()
    assert not reader.sources["gpu"].up


@pytest.mark.few(2)
@pytest.mark.parametrize("jump", JUMPS)
def test_new_runs_of_a_local_root_are_listed(tmp_path, monkeypatch, jump):
    write_run(tmp_path / "local", "p", "n", "20250123_180000_abc123", started=OLD)
    clock, real = [1000.0], time.time
    reader = Catalog([("local", tmp_path / "local")], clock=lambda: clock[0])
    reader.refresh()
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    write_run(tmp_path / "local", "p", "n", "20250124_180000_abc124", started=OLD)
    clock[0] += 2
    reader.refresh()
    assert reader.runs()["total"] == 2


@pytest.mark.parametrize("since, kept", [(60, True), (700, False), (-60, True), (-700, False)])
def test_a_run_viewed_before_the_clock_was_set_back_may_go_like_others(root, pair, since, kept):
    make_run(root)
    one = pair()
    one.passes()
    quota.mark_viewed(one.mirror, RUN, now=one.now - since)
    quota.clean([one.mirror], size=1, now=one.now)
    assert (one.mirror / RUN / "events.jsonl").exists() is kept
