"""The first look at a root: the same runs as the manifest tells, from their small files alone."""

import json
import os
import time

import pytest
from catalogs import make_run
from clocks import Clock

from runicorn import layout
from runicorn.errors import NotFoundError
from runicorn.news import Bell
from runicorn.reader import first_look, local_root
from runicorn.reader.catalog import Catalog
from runicorn.reader.records import told
from runicorn.viewer.watcher import GRACE, Poll


@pytest.fixture
def root(tmp_path):
    for number in range(30):
        make_run(tmp_path, run_id=f"20250123_1800{number:02d}_abc123", project=f"p{number % 3}",
                 config={"lr": number, "deep": {"er": [1]}})
    return tmp_path


@pytest.fixture
def reader(root):
    return Catalog([("local", root)], clock=Clock())


def rows(reader):
    listed = reader.runs(limit=None)
    return [{**row, "reason": None} for row in listed["runs"]]


def test_the_list_is_there_before_the_manifest_and_the_same_after_it(reader):
    reader.begin()
    assert reader.ready.is_set() and len(rows(reader)) == 30
    before, records = rows(reader), dict(reader.sources["local"].records)
    assert reader.refresh() is False
    assert rows(reader) == before
    after = reader.sources["local"].records
    assert all(after[path] is records[path] for path in records), "no run is parsed a second time"
    index = reader.sources["local"]._manifest
    assert {path: record.line for path, record in after.items()} == {
        path: told(index.line(path)) for path in index.paths()}


def test_what_changes_between_the_two_is_taken(reader, root):
    reader.begin()
    folder = root / "p0/resnet50/runs/20250123_180000_abc123"
    (folder / "summary.json").write_text('{"val/loss": 0.125}')
    reader.refresh()
    assert reader.sources["local"].records["p0/resnet50/runs/20250123_180000_abc123"].summary == {
        "val/loss": 0.125}


@pytest.mark.few(5)
@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", '{"a": 1} x', "[" * 100_000, '{"created_at": NaN}', "\ufeff{}",
    '{"id": "x",\n "created_at": 5}\n', json.dumps({"config": {"long": "x" * 100_000}})])
def test_small_files_that_are_odd_end_up_as_the_manifest_has_them(root, text):
    (root / "p1/resnet50/runs/20250123_180001_abc123/meta.json").write_text(text)
    quick, slow = (Catalog([("local", root)], clock=Clock()) for _ in range(2))
    quick.begin()
    assert len(rows(quick)) == 30
    quick.refresh()
    slow.refresh()
    assert rows(quick) == rows(slow)


def test_links_in_runs_and_foreign_folders_are_no_runs(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    make_run(elsewhere)
    os.symlink(elsewhere / "vision", root / "linked")
    (root / "p0/resnet50/runs/file").write_text("x")
    (root / layout.HIDDEN / "x/runs/y").mkdir(parents=True)
    folder = root / "p0/resnet50/runs/20250123_180000_abc123"
    (folder / "meta.json").rename(elsewhere / "meta.json")
    os.symlink(elsewhere / "meta.json", folder / "meta.json")
    found = {path: entry for path, entry, *_ in first_look.entries(str(root), first_look.paths(str(root)))}
    assert len(found) == 31 and "linked/resnet50/runs/20250123_180000_abc123" in found
    assert found["p0/resnet50/runs/20250123_180000_abc123"]["meta"] is None
    assert first_look.paths(str(root / "absent")) == []


def test_of_a_big_root_the_newest_runs_are_listed_before_the_others_are_read(reader, monkeypatch):
    monkeypatch.setattr(local_root, "MANY", 29)
    monkeypatch.setattr(local_root, "NEWEST", 10)
    read, seen = first_look.entries, []

    def entries(root, paths):
        for found in read(root, paths):
            listed = sorted([row["id"] for row in reader.runs(limit=None)["runs"]], reverse=True)
            seen.append((reader.some.is_set(), reader.ready.is_set(), listed))
            yield found
    monkeypatch.setattr(first_look, "entries", entries)
    reader.begin()
    assert reader.some.is_set() and reader.ready.is_set() and len(rows(reader)) == 30
    assert len(seen) == 30, "each run is read once"
    early, late = seen[:10], seen[10:]
    assert all(one == (False, False, []) for one in early)
    newest = [f"20250123_1800{number:02d}_abc123" for number in reversed(range(20, 30))]
    assert all(one == (True, False, newest) for one in late), "none of the older ones before all of them"
    assert list(reader.sources["local"].records) == first_look.paths(str(reader.sources["local"].folder))


def test_only_who_asks_for_it_gets_part_of_a_list(reader, monkeypatch):
    monkeypatch.setattr("runicorn.reader.catalog.FIRST_SECONDS", 0.05)
    reader.some.set()
    reader.await_first_look(partial=True)
    waited = time.monotonic()
    reader.await_first_look()
    assert time.monotonic() - waited >= 0.05
    with pytest.raises(NotFoundError):
        reader.find("abc123")


def test_a_viewer_answers_from_the_first_look_and_scans_a_moment_later(reader, root):
    clock, bell = Clock(), Bell()
    poll = Poll(reader, bell, clock)
    assert poll.first_pass(clock.now) == GRACE
    assert len(rows(reader)) == 30 and reader.sources["local"]._manifest is None
    poll.one_pass(clock.now + GRACE / 2)                # somebody began to watch: no reason to scan yet
    assert reader.sources["local"]._manifest is None
    poll.one_pass(clock.now + GRACE)
    assert len(reader.sources["local"]._manifest) == 30


def test_of_an_empty_root_there_is_nothing_to_wait_for(tmp_path):
    reader = Catalog([("local", tmp_path / "none")], clock=Clock())
    poll = Poll(reader, Bell(), Clock())
    assert poll.first_pass(0.0) == 0.0
    poll.one_pass(0.0)
    assert reader.ready.is_set() and reader.runs()["total"] == 0


def test_a_beat_seen_first_is_no_sign_of_life(reader, root):
    """Only a change is: what was learnt between the first look and the scan must not look like one."""
    folder = make_run(root, run_id="20250124_000000_abc123", status="running")
    live = root / layout.HIDDEN / "live"
    live.mkdir(parents=True)
    (live / "20250124_000000_abc123.json").write_text(
        json.dumps({"path": folder.relative_to(root).as_posix()}))
    reader.begin()
    reader.look(["local:vision/resnet50/20250124_000000_abc123"])
    reader.refresh()
    reader.look()
    assert reader.row("20250124_000000_abc123")["state"] == "checking"
