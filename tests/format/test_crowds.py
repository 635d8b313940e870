"""Runs of more files and folders than are listed: the run's own come first, always, and what is left out is
said."""

import pytest
from far import Far
from pairs import Pair, make_run

from runicorn import local_names, manifest
from runicorn.mirror import folder_lister, walk
from runicorn.viewer import run_files

RUN = "vision/resnet50/runs/20250123_180000_abc123"


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "far"
    made.mkdir()
    return made


def crowd(folder, count):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"a{number:06d}.txt").touch()


def test_a_run_s_own_files_come_first_by_sftp(root, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "FILES", 50)
    run = make_run(root)
    crowd(run, 120)
    crowd(run / "deeper", 10)
    one = Pair(root, tmp_path / "near", manifest=False)
    one.passes()
    one.passes(31)
    entry = manifest.load(one.mirror / ".index" / "full.json").entry(RUN)
    own = {name for name in entry["files"] if local_names.is_own(name)}
    assert own == {"meta.json", "status.json", "summary.json", "events.jsonl", "logs.txt"}
    assert entry["status"] == {"status": "finished"}
    assert len(entry["files"]) + entry["skipped"][manifest.FULL_RUN] == 135
    assert one.sync.state()["state"] == "live"
    assert all((one.mirror / RUN / name).read_bytes() == (run / name).read_bytes() for name in own)
    requests = one.far.sessions[0].requests
    for _ in range(3):
        one.passes(31)
    assert one.far.sessions[0].requests - requests < 100       # nothing is listed or fetched again and again
    one.close()


def test_a_folder_of_more_entries_than_are_kept_still_shows_the_run_s_own(root, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lister, "CROWD", 100)
    run = make_run(root)
    crowd(run, 1000)
    one = Pair(root, tmp_path / "near", manifest=False)
    one.passes()
    one.passes(31)
    entry = manifest.load(one.mirror / ".index" / "full.json").entry(RUN)
    assert {"meta.json", "status.json", "summary.json", "events.jsonl", "logs.txt"} <= entry["files"].keys()
    one.close()


def test_a_tree_of_folders_without_end_is_left_at_a_bound(root, tmp_path, monkeypatch):
    monkeypatch.setattr(walk, "FOLDERS", 30)
    run = make_run(root)
    for number in range(60):
        (run / f"d{number:02d}" / "inner").mkdir(parents=True)
        (run / f"d{number:02d}" / "x.txt").touch()
    one = Pair(root, tmp_path / "near", Far(), manifest=False)
    one.passes()
    entry = manifest.load(one.mirror / ".index" / "full.json").entry(RUN)
    assert len([name for name in entry["files"] if name.endswith("/x.txt")]) == 29
    assert entry["skipped"][manifest.FULL_RUN] == 31 + 29
    assert one.far.sessions[0].requests < 400
    one.close()


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("status", ["finished", "running"])
def test_twenty_thousand_files_beside_them_hide_no_file_of_the_run(tmp_path, status):
    run = make_run(tmp_path, status=status)
    crowd(run, 20_000)
    found, more = run_files.listed(run)
    assert len(found) + more == 20_005 and more == 20_005 - run_files.MOST
    own = [item["name"] for item in found if item["kind"] == "own"]
    assert own == ["events.jsonl", "logs.txt", "meta.json", "status.json", "summary.json"]


def test_a_listing_and_a_manifest_leave_out_as_many(root, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "FILES", 50)
    crowd(make_run(root), 120)
    manifest.generate(str(root))
    told = manifest.load(root / ".runicorn" / "full_manifest.json").entry(RUN)
    one = Pair(root, tmp_path / "near", manifest=False)
    one.passes()
    listed = manifest.load(one.mirror / ".index" / "full.json").entry(RUN)
    assert listed["files"].keys() == told["files"].keys() and len(told["files"]) in range(50, 56)
    assert listed["skipped"] == told["skipped"]
    assert told["skipped"][manifest.FULL_RUN] == 125 - len(told["files"])
    one.close()
