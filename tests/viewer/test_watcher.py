"""Looking at local files: what somebody watches ten times a second, the rest seldom, and the bell rung for
what changed."""

import os
import time

import pytest
from catalogs import make_run
from clocks import Clock
from waiting import until

from runicorn import manifest
from runicorn.news import Bell
from runicorn.reader.catalog import Catalog
from runicorn.reader.mirror_source import MirrorSource
from runicorn.viewer import watcher as module
from runicorn.viewer.watcher import Poll

KEY = "local:vision/resnet50/20250123_180000_abc123"


@pytest.fixture
def clock():
    return Clock(100.0)


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path, status="running")


@pytest.fixture
def bell(clock):
    return Bell(clock)


@pytest.fixture
def poll(tmp_path, folder, bell, clock):
    made = Poll(Catalog([("local", tmp_path)], clock=clock), bell, clock)
    made.one_pass(clock.now)
    return made


def grow(folder):
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts": 1737655300.0, "step": 7, "data": {"val/loss": 0.1}}\n')


def heard(poll, bell, clock, seconds):
    """Let one pass run `seconds` later; return (topics rung, seconds until the next pass)."""
    mark = bell.now()
    clock.now += seconds
    wait = poll.one_pass(clock.now)
    return set(bell.wait(mark, ["runs", f"run:{KEY}"], 0)["topics"]), wait


def test_a_watched_run_is_looked_at_ten_times_a_second(poll, bell, clock, folder):
    bell.look([f"run:{KEY}"])
    assert heard(poll, bell, clock, 0.1) == (set(), module.WATCHED)
    grow(folder)
    topics, wait = heard(poll, bell, clock, 0.1)
    assert f"run:{KEY}" in topics and wait == module.WATCHED == 0.1


def test_an_index_that_a_sync_wrote_shows_at_once_in_a_list_that_is_watched(tmp_path, clock, monkeypatch):
    mirror, there, bell = tmp_path / "mirror", tmp_path / "there", Bell(clock)
    make_run(there, status="running")
    (mirror / ".index").mkdir(parents=True)
    catalog = Catalog([], lambda: [("far", mirror)], clock=clock)
    poll = Poll(catalog, bell, clock)
    poll.one_pass(clock.now)
    bell.look(["runs"])
    manifest.save(manifest.build(str(there)), str(mirror / ".index" / "full.json"))
    reads = []
    monkeypatch.setattr(MirrorSource, "refresh",
                        lambda source, now, read=MirrorSource.refresh: reads.append(now) or read(source, now))
    assert heard(poll, bell, clock, 0.1)[0] == {"runs"}
    assert [key.partition(":")[0] for key in catalog.beating()] == ["far"]
    assert heard(poll, bell, clock, 0.1)[0] == set() and len(reads) == 1


def test_unwatched_everything_is_looked_at_each_two_seconds(tmp_path, clock, folder):
    bell = Bell(clock)
    poll = Poll(Catalog([("local", tmp_path)], clock=clock), bell, clock)
    assert poll.one_pass(clock.now) == module.REST == 2.0
    grow(folder)
    mark = bell.now()
    clock.now += 1.0
    poll.one_pass(clock.now)
    assert bell.now() == mark  # too early, and nobody looks
    clock.now += 1.0
    poll.one_pass(clock.now)
    assert bell.now() != mark


def test_the_run_list_hears_of_growth_at_most_once_a_second(poll, bell, clock, folder):
    bell.look(["runs"])
    grow(folder)
    assert "runs" in heard(poll, bell, clock, 0.1)[0]  # checking became running
    rung = 0
    for _ in range(20):
        grow(folder)
        bell.look(["runs"])
        rung += "runs" in heard(poll, bell, clock, 0.1)[0]
    assert 1 <= rung <= 3


def test_a_new_run_and_a_finished_one_ring_the_list(poll, bell, clock, folder, tmp_path):
    make_run(tmp_path, name="second", run_id="20250124_180000_000001")
    assert "runs" in heard(poll, bell, clock, 2.1)[0]
    heard(poll, bell, clock, 5)
    (folder / "status.json").write_text('{"status": "finished"}')
    assert "runs" in heard(poll, bell, clock, 2.1)[0]
    heard(poll, bell, clock, 5)
    assert heard(poll, bell, clock, 2.1)[0] == set()


def test_only_watched_and_live_runs_are_looked_at(tmp_path, bell, clock, monkeypatch):
    for n in range(30):
        make_run(tmp_path, name=f"n{n}", run_id=f"20250123_180000_0000{n:02}", status="finished")
    make_run(tmp_path, status="running")
    poll = Poll(Catalog([("local", tmp_path)], clock=clock), bell, clock)
    poll.one_pass(clock.now)
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": listed.append(path) or scandir(path))
    bell.look(["runs", f"run:{KEY}"])
    clock.now += 0.1
    poll.one_pass(clock.now)
    assert len(listed) == 1 and os.fspath(listed[0]).endswith("20250123_180000_abc123")


def test_the_thread_notices_an_append_stops_and_survives_an_error(tmp_path, folder, monkeypatch, caplog):
    bell = Bell()
    poll = Poll(Catalog([("local", tmp_path)]), bell)
    broken = iter([True, True])
    monkeypatch.setattr("runicorn.faults._logged", set())

    def look(keys=None, look=poll._catalog.look):
        if keys and next(broken, False):
            raise RuntimeError("one bad moment")
        return look(keys)

    monkeypatch.setattr(poll._catalog, "look", look)
    monkeypatch.setattr(module, "REST", 0.3)
    poll.start()
    try:
        bell.look([f"run:{KEY}"])
        time.sleep(1.0)
        mark = bell.now()
        grow(folder)
        assert bell.wait(mark, [f"run:{KEY}"], 5)["topics"] == [f"run:{KEY}"]
        assert next(broken, None) is None, "both came"
        assert caplog.text.count(
            "looking for changes failed: a mistake of Runicorn's own at viewer/watcher.py:") == 1
        assert "RuntimeError: one bad moment" in caplog.text
    finally:
        poll.stop()
    assert not poll._thread.is_alive()


def test_looks_without_memory_are_said_once_in_words_and_tried_again(tmp_path, monkeypatch, caplog):
    poll = Poll(Catalog([("local", tmp_path)]), Bell())
    tries = []

    def refresh():
        tries.append(1)
        raise MemoryError
    monkeypatch.setattr(poll._catalog, "refresh", refresh)
    monkeypatch.setattr(module, "REST", 0.05)
    poll.start()
    try:
        until(lambda: len(tries) >= 3)
    finally:
        poll.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "runicorn: looking for changes fails (Cannot allocate memory); it is tried again every 0 s"]
