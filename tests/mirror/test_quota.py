"""What mirrors take on this disk and what may go: only finished runs, longest not viewed first, never the
index."""

import json
import os
import time

import pytest
from small_runs import run_folder

from runicorn import foreign, manifest
from runicorn.errors import BusyError, LayoutError
from runicorn.mirror import local_copy, quota

NOW = 1_780_000_000.0


@pytest.fixture
def mirror(tmp_path):
    """A mirror of three runs (old, new, running), each with its own files and a 1,000-byte checkpoint."""
    folder = tmp_path / "cache" / "gpu"
    for run_id, status, days in (("20250101_000000_aaaaaa", "finished", 90),
                                 ("20250201_000000_bbbbbb", "failed", 10),
                                 ("20250301_000000_cccccc", "running", 90)):
        run_folder(folder, f"p/n/runs/{run_id}",
                   {"meta.json": {"id": run_id}, "status.json": {"status": status},
                    "events.jsonl": b"x" * 400, "model.pt": b"x" * 1000}, NOW - days * 86400)
    index = folder / ".index"
    index.mkdir()
    manifest.save(manifest.build(folder), str(index / "full.json"))
    return folder


def names(mirror, letter):
    run, = (mirror / "p" / "n" / "runs").glob(f"*_{letter * 6}")
    return sorted(path.name for path in run.iterdir())


def test_old_finished_runs_keep_only_their_small_json(mirror):
    assert quota.clean([mirror], older_than=30, now=NOW) == {"files": 2, "bytes": 1400}
    assert names(mirror, "a") == ["meta.json", "status.json"]
    assert len(names(mirror, "b")) == len(names(mirror, "c")) == 4
    told = json.loads((mirror / ".index" / "evicted").read_text())
    assert told == {"p/n/runs/20250101_000000_aaaaaa": ["events.jsonl", "model.pt"]}


def test_a_dry_run_counts_and_touches_nothing(mirror):
    assert quota.clean([mirror], older_than=5, now=NOW, dry_run=True) == {"files": 4, "bytes": 2800}
    assert len(names(mirror, "a")) == 4 and not (mirror / ".index" / "evicted").exists()


def test_room_is_made_with_large_files_first_and_the_longest_not_viewed(mirror):
    before = quota.size_of(mirror)
    # older, but viewed since
    quota.mark_viewed(mirror, "p/n/runs/20250101_000000_aaaaaa", now=NOW - 5 * 86400)
    assert quota.clean([mirror], size=before - 10, now=NOW) == {"files": 1, "bytes": 1000}
    assert "model.pt" not in names(mirror, "b") and "model.pt" in names(mirror, "a")
    quota.clean([mirror], size=before - 1500, now=NOW)
    assert "model.pt" not in names(mirror, "a") and "events.jsonl" in names(mirror, "b")
    quota.clean([mirror], size=0, now=NOW)
    assert names(mirror, "a") == names(mirror, "b") == ["meta.json", "status.json"]
    assert len(names(mirror, "c")) == 4


def test_a_run_somebody_looks_at_is_left_alone(mirror):
    quota.mark_viewed(mirror, "p/n/runs/20250101_000000_aaaaaa", now=NOW - 60)
    assert quota.clean([mirror], size=0, now=NOW)["files"] == 2
    assert len(names(mirror, "a")) == 4


def test_what_is_not_in_the_index_is_none_of_ours(mirror):
    foreign = mirror / "p" / "n" / "runs" / "20240101_000000_dddddd"
    foreign.mkdir()
    (foreign / "status.json").write_text('{"status": "finished"}')
    (foreign / "thesis.tex").write_text("years of work")
    quota.clean([mirror], size=0, older_than=0, now=NOW)
    assert (foreign / "thesis.tex").exists()


@pytest.mark.parametrize("choice", [{"older_than": 0}, {"size": 0}])
def test_what_the_server_has_not_any_more_is_the_only_copy_and_stays(mirror, choice):
    (mirror / ".index" / "live.json").write_text(json.dumps({"gone": ["p/n/runs/20250101_000000_aaaaaa"]}))
    index = manifest.load(str(mirror / ".index" / "full.json"))
    run, = (mirror / "p" / "n" / "runs").glob("*_bbbbbb")
    (run / "deleted-there.pt").write_bytes(b"x" * 5000)
    os.utime(run / "deleted-there.pt", (NOW - 10 * 86400,) * 2)
    assert quota.clean([mirror], **choice, now=NOW) == {"files": 2, "bytes": 1400} and len(index.lines) == 3
    assert len(names(mirror, "a")) == 4
    assert names(mirror, "b") == ["deleted-there.pt", "meta.json", "status.json"]


def test_a_link_in_the_way_is_never_followed(mirror, tmp_path):
    outside = tmp_path / "outside"
    (mirror / "p" / "n" / "runs" / "20250101_000000_aaaaaa").rename(outside)
    (mirror / "p" / "n" / "runs" / "20250101_000000_aaaaaa").symlink_to(outside)
    quota.clean([mirror], size=0, now=NOW)
    assert (outside / "model.pt").exists()
    with pytest.raises(LayoutError):
        quota.drop_run(mirror, "p/n/runs/20250101_000000_aaaaaa")
    with pytest.raises(LayoutError):
        quota.drop_run(mirror, "../outside")


def test_dropping_one_run(mirror):
    quota.drop_run(mirror, "p/n/runs/20250301_000000_cccccc")
    assert names(mirror, "c") == ["meta.json", "status.json"]
    assert json.loads((mirror / ".index" / "evicted").read_text()) == {
        "p/n/runs/20250301_000000_cccccc": True}


def test_a_mirror_in_use_is_not_deleted(mirror):
    holder = local_copy.LocalCopy(mirror)
    holder.lock()
    with pytest.raises(BusyError, match=str(os.getpid())):
        quota.drop_mirror(mirror)
    holder.unlock()
    quota.drop_mirror(mirror)
    quota.drop_mirror(mirror)
    assert not mirror.exists()


def test_what_a_choice_would_fetch(mirror):
    every = {"window": None, "large": True, "small_only": True, "small_limit": 500}
    entries = quota.known_entries(mirror)
    assert (quota.outlook(entries, every)["bytes"]
            == quota.outlook(entries, {**every, "large": False})["bytes"] + 3000)
    assert quota.outlook(entries, {**every, "small_limit": 2000, "large": False}) == quota.outlook(
        entries, every)
    assert quota.outlook(entries, {**every, "window": "7d"}, now=time.time() + 8 * 86400) == {
        "files": 0, "bytes": 0}
    assert quota.known_entries(mirror.parent / "none") is None


def test_the_limit_nobody_chose_is_a_tenth_of_the_free_disk(tmp_path):
    assert 0 < quota.limit(tmp_path / "not" / "there") <= quota.MOST_BYTES
    assert quota.limit(tmp_path, 5) == 5
    assert quota.mirror_folders(tmp_path / "none") == []


@pytest.fixture
def foreign_mirror(tmp_path):
    """A mirror of runs of other loggers: "old", one in the root itself, and "grows"."""
    folder = tmp_path / "cache" / "gpu"
    for path, days in (("old/events.out.tfevents.1.h", 90), ("events.out.tfevents.2.h", 80),
                       ("grows/events.out.tfevents.3.h", 70)):
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * 100_000)
        os.utime(place, (NOW - days * 86400,) * 2)
    (folder / "old/hparams.yaml").write_text("lr: 1\n")
    os.utime(folder / "old/hparams.yaml", (NOW - 90 * 86400,) * 2)
    (folder / ".index").mkdir()
    manifest.save(manifest.build(folder, find_others=foreign.find), str(folder / ".index/full.json"))
    live = {"runs": {"grows": {"seen": NOW - 60, "first": NOW - 900, "looked": NOW}}, "ahead": 0.0,
            "gone": []}
    (folder / ".index/live.json").write_text(json.dumps(live))
    return folder


def left(folder):
    return sorted(str(path.relative_to(folder))
                  for path in folder.rglob("*") if path.is_file() and ".index" not in path.parts)


def test_large_files_of_quiet_runs_of_other_loggers_go_longest_not_used_first(foreign_mirror):
    assert quota.clean([foreign_mirror], size=250_000, now=NOW) == {"files": 1, "bytes": 100_000}
    assert left(foreign_mirror) == ["events.out.tfevents.2.h", "grows/events.out.tfevents.3.h",
                                    "old/hparams.yaml"]
    assert local_copy.LocalCopy(foreign_mirror).evicted("old") is None      # read when the mirror is locked
    assert json.loads((foreign_mirror / ".index/evicted").read_text()) == {"old": ["events.out.tfevents.1.h"]}
    assert quota.clean([foreign_mirror], size=10, now=NOW)["files"] == 1
    assert left(foreign_mirror) == ["grows/events.out.tfevents.3.h", "old/hparams.yaml"]


def test_dropping_a_run_in_the_root_itself_drops_no_other_one(foreign_mirror):
    quota.drop_run(foreign_mirror, ".")
    assert left(foreign_mirror) == ["grows/events.out.tfevents.3.h", "old/events.out.tfevents.1.h",
                                    "old/hparams.yaml"]
    assert (foreign_mirror / ".index/full.json").exists()
    assert json.loads((foreign_mirror / ".index/evicted").read_text()) == {".": True}
    quota.drop_run(foreign_mirror, "unknown")
    assert len(left(foreign_mirror)) == 3
