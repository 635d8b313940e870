"""Folders renamed on the server: what moved is one run, here too, and nothing comes twice. Over OpenSSH's
sftp-server."""

import itertools
import json
import logging
import os
import shutil
import subprocess

import pytest
from pairs import OLD, RUN, grow, live, make_run, mirror, pair, root, settle, told, tree, write  # noqa: F401 (fixtures)

from runicorn import manifest, settings
from runicorn.connections import connection
from runicorn.errors import AmbiguousError, NotFoundError
from runicorn.mirror import local_copy, quota, run_places
from runicorn.news import Bell
from runicorn.reader.catalog import Catalog

# each test in one of the ways, another one than the test before
pytestmark = pytest.mark.few(turn=True)

OTHER = "vision/vit/runs/20250124_180000_abc124"
# bytes that a look and a list may take; the runs below hold more than ten times as many
MOST = 30_000


@pytest.fixture(params=["sftp", "exec", "manifest"])
def source(request):
    return request.param


def big_run(root, path=RUN, host="gpu-01", **more):
    """A run of some 600 kB that says where it was made."""
    run = make_run(root, path, rows=8000, **more)
    meta = json.loads((run / "meta.json").read_text())
    write(run / "meta.json", {**meta, "hostname": host}, mtime=(run / "events.jsonl").stat().st_mtime)
    return run


# all this takes less than one second of the server's clock, and SFTP tells whole seconds
TIMES = itertools.count(int(OLD))


def age(root):
    """Everything is old, and nothing of the same second."""
    for path in sorted(path for path in [root, *root.rglob("*")]
                       if not path.is_symlink() and ".runicorn" not in path.parts):
        os.utime(path, (next(TIMES),) * 2)


def age_folders(root):
    for path in sorted(path for path in [root, *root.rglob("*")]
                       if path.is_dir() and ".runicorn" not in path.parts):
        os.utime(path, (next(TIMES),) * 2)


def mirrored(pair, root, source):
    """A Pair that has everything."""
    age(root)
    told_by(root, source)
    one = pair(source)
    one.passes()
    one.passes(31)
    one.same()
    return one


def told_by(root, source):
    if source == "manifest":
        manifest.generate(str(root))
        for file in (root / ".runicorn").glob("*_manifest.json*"):
            os.utime(file, (next(TIMES),) * 2)


def look_again(one, root):
    """Let the sync see what changed; returns the bytes that came."""
    before = one.far.bytes_received
    told_by(root, one.source)
    for _ in range(3):
        one.passes(31)
        settle(one)
    return one.far.bytes_received - before


def paths(one):
    """The runs in the mirror's index that are not gone."""
    return sorted(set(manifest.load(one.mirror / ".index" / "full.json").paths()) - set(told(one)["gone"]))


def moved_path(path, project=None, name=None, run=None):
    parts = path.split("/")
    return "/".join([project or parts[0], name or parts[1], "runs", run or parts[3]])


RENAMES = {
    "a project": (lambda root: os.rename(root / "vision", root / "renamed"), "renamed", None, None),
    "an experiment": (lambda root: os.rename(root / "vision/resnet50", root / "vision/other"), None, "other",
                      None),
    "into another project":
    (lambda root: ((root / "big").mkdir(), os.rename(root / "vision/resnet50", root / "big/resnet50")),
     "big", None, None),
    "a run's own folder": (lambda root: os.rename(root / RUN, (root / RUN).with_name("the best one")), None,
                           None, "the best one"),
    "a run alone": (lambda root: ((root / "best/of/runs").mkdir(parents=True),
                                  os.rename(root / RUN, root / "best/of/runs" / RUN.rpartition("/")[2])),
                    "best", "of", None),
    "a project, with a link at its old place": (lambda root: (os.rename(root / "vision", root / "renamed"),
                                                              os.symlink("renamed", root / "vision")),
                                                "renamed", None, None),
}


@pytest.mark.few()
@pytest.mark.parametrize("rename", RENAMES)
def test_a_renamed_folder_is_the_same_run_and_comes_once(root, pair, source, rename):
    big_run(root)
    one = mirrored(pair, root, source)
    inode = (one.mirror / RUN / "events.jsonl").stat().st_ino
    act, *parts = RENAMES[rename]
    act(root)
    assert look_again(one, root) < MOST
    new = moved_path(RUN, *parts)
    assert paths(one) == [new] and told(one)["gone"] == [] and one.moved == {RUN: new}
    assert (one.mirror / new / "events.jsonl").stat().st_ino == inode and not (one.mirror / RUN).exists()
    assert tree(one.mirror / new) == tree(root / new)
    assert one.sync.state()["state"] == "live" and one.sync.state()["runs"] == 1


def test_half_of_the_runs_moved(root, pair, source):
    for n in range(6):
        big_run(root, f"p/n/runs/20250123_18000{n}_abc12{n}")
    one = mirrored(pair, root, source)
    (root / "q/n/runs").mkdir(parents=True)
    for n in range(0, 6, 2):
        os.rename(root / f"p/n/runs/20250123_18000{n}_abc12{n}",
                  root / f"q/n/runs/20250123_18000{n}_abc12{n}")
    assert look_again(one, root) < MOST
    one.same()
    assert len(paths(one)) == 6 and len(one.moved) == 3 and told(one)["gone"] == []


def test_two_experiments_change_their_names(root, pair, source):
    big_run(root)
    big_run(root, OTHER)
    one = mirrored(pair, root, source)
    for old, new in (("resnet50", "aside"), ("vit", "resnet50"), ("aside", "vit")):
        os.rename(root / "vision" / old, root / "vision" / new)
    assert look_again(one, root) < MOST
    one.same()
    assert one.moved == {RUN: moved_path(RUN, name="vit"), OTHER: moved_path(OTHER, name="resnet50")}


def test_two_runs_change_their_folders_names(root, pair, source):
    """Nobody does that; each has the other's files, whole, soon."""
    first, second = big_run(root), big_run(root, moved_path(OTHER, name="resnet50"))
    write(second / "logs.txt", b"[2025-01-23 18:30:45+0800] another\n")
    one = mirrored(pair, root, source)
    for old, new in ((first, first.with_name("aside")), (second, first), (first.with_name("aside"), second)):
        os.rename(old, new)
    look_again(one, root)
    one.same()


def test_moved_and_then_appended(root, pair, source):
    big_run(root, status="running")
    one = mirrored(pair, root, source)
    os.rename(root / "vision", root / "renamed")
    log = root / moved_path(RUN, "renamed") / "events.jsonl"
    grow(log)
    assert look_again(
        one, root) < MOST + log.stat().st_size, "what was appended to is read again at rest, once"
    one.same()
    assert one.moved == {RUN: moved_path(RUN, "renamed")}


def test_moved_and_then_rewritten(root, pair, source):
    big_run(root)
    one = mirrored(pair, root, source)
    os.rename(root / "vision", root / "renamed")
    new = root / moved_path(RUN, "renamed")
    write(new / "events.jsonl", b'{"ts":1,"step":1,"data":{"loss":7}}\n' * 20_000)
    write(new / "meta.json", {**json.loads((new / "meta.json").read_text()), "notes": "moved"})
    look_again(one, root)
    one.same()
    assert paths(one) == [moved_path(RUN, "renamed")] and told(one)["gone"] == []


def test_renamed_back(root, pair, source):
    big_run(root)
    one = mirrored(pair, root, source)
    os.rename(root / "vision", root / "renamed")
    assert look_again(one, root) < MOST
    os.utime(root, (next(TIMES),) * 2)
    one.passes(31)
    os.rename(root / "renamed", root / "vision")
    assert look_again(one, root) < MOST
    one.same()
    assert paths(one) == [RUN] and one.moved[moved_path(RUN, "renamed")] == RUN


def test_renamed_while_nobody_looked(root, pair, source, tmp_path):
    big_run(root)
    one = mirrored(pair, root, source)
    one.sync._hang_up("offline", "line", "cut")
    one.far.close()
    os.rename(root / "vision", root / "renamed")
    told_by(root, source)
    again = pair(source)
    one.sync.mirror.unlock()
    again.now += 60
    again.sync.one_pass(again.now)
    assert len(paths(again)) == 1, "never twice in the list, not for a moment"
    again.passes()
    again.same()
    assert again.moved == {RUN: moved_path(RUN, "renamed")} and again.far.bytes_received < MOST


def test_a_copy_is_another_run_and_the_id_alone_names_neither(root, pair, source, tmp_path):
    big_run(root)
    one = mirrored(pair, root, source)
    shutil.copytree(root / "vision", root / "copied")
    look_again(one, root)
    one.same()
    assert paths(one) == [moved_path(RUN, "copied"), RUN] and one.moved == {}
    reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])
    reader.refresh()
    with pytest.raises(AmbiguousError, match="may be 2 runs: .*copied/resnet50.*vision/resnet50"):
        reader.find("20250123_180000_abc123")
    shutil.rmtree(root / "vision")
    assert look_again(one, root) < MOST
    assert told(one)["gone"] == [] and one.moved == {
        RUN: moved_path(RUN, "copied")}, "the original is gone: the copy is the run"
    one.same()


def copied(root, project="copied"):
    """As `cp -a`: all times stay."""
    subprocess.run(["cp", "-a", root / "vision", root / project], check=True)


@pytest.mark.few(2)
@pytest.mark.parametrize("change",
                         ["logs.txt was deleted before", "rewritten in the copy", "appended in the copy"])
def test_a_copy_takes_the_place_of_an_original_that_is_gone_only_where_it_has_all_of_it(
        root, pair, source, change):
    run = big_run(root)
    one = mirrored(pair, root, source)
    if change == "logs.txt was deleted before":
        (run / "logs.txt").unlink()
        look_again(one, root)
        assert (one.mirror / RUN / "logs.txt").exists()
    copied(root)
    copy = root / moved_path(RUN, "copied")
    if change == "rewritten in the copy":
        write(copy / "events.jsonl", b'{"ts":1,"step":1,"data":{"loss":7}}\n' * 9000)
    elif change == "appended in the copy":
        grow(copy / "events.jsonl")
    look_again(one, root)
    assert one.moved == {}
    shutil.rmtree(root / "vision")
    look_again(one, root)
    here = tree(one.mirror / moved_path(RUN, "copied"))
    assert here == tree(copy)
    if change == "appended in the copy":
        assert one.moved == {RUN: moved_path(RUN, "copied")} and not (one.mirror / "vision").exists()
    else:
        assert told(one)["gone"] == [RUN] and (one.mirror / RUN / "events.jsonl").exists() and one.moved == {}


def test_what_was_dropped_here_of_an_original_is_not_missing_in_its_copy(root, pair, source):
    big_run(root)
    one = mirrored(pair, root, source)
    copied(root)
    look_again(one, root)
    (one.mirror / RUN / "events.jsonl").unlink()
    (one.mirror / ".index" / "evicted").write_text(json.dumps({RUN: True}))
    shutil.rmtree(root / "vision")
    look_again(one, root)
    assert json.loads((one.mirror / ".index" / "evicted").read_text()) == {}
    grow(root / moved_path(RUN, "copied") / "events.jsonl")
    look_again(one, root)
    one.same()


def test_copied_and_the_original_removed_between_two_looks(root, pair, source):
    big_run(root)
    one = mirrored(pair, root, source)
    copied(root)
    shutil.rmtree(root / "vision")
    assert look_again(one, root) < MOST
    one.same()
    assert one.moved == {RUN: moved_path(RUN, "copied")} and told(one)["gone"] == []


def test_nested_renames_at_once(root, pair, source):
    """The project, the experiment and the run's own folder; and a chain, where one takes the name of the
    next."""
    big_run(root)
    big_run(root, "nlp/bert/runs/20250125_180000_abc125")
    one = mirrored(pair, root, source)
    os.rename(root / RUN, (root / RUN).with_name("best"))
    os.rename(root / "vision/resnet50", root / "vision/final")
    os.rename(root / "vision", root / "aside")
    os.rename(root / "nlp", root / "vision")
    os.rename(root / "aside", root / "nlp")
    assert look_again(one, root) < MOST
    one.same()
    assert one.moved == {RUN: "nlp/final/runs/best",
                         "nlp/bert/runs/20250125_180000_abc125": "vision/bert/runs/20250125_180000_abc125"}
    assert told(one)["gone"] == []


@pytest.mark.few(2)
@pytest.mark.parametrize("level", ["vision", "vision/resnet50", "vision/resnet50/runs", RUN])
@pytest.mark.parametrize("link", ["absolute", "relative"])
def test_moved_to_another_disk_with_a_link_in_its_place(root, pair, source, tmp_path, level, link):
    big_run(root)
    one = mirrored(pair, root, source)
    inode = (one.mirror / RUN / "events.jsonl").stat().st_ino
    place = tmp_path / "other disk"
    os.rename(root / level, place)
    (root / level).symlink_to(place if link == "absolute" else os.path.relpath(place, (root / level).parent))
    assert look_again(one, root) < MOST
    assert paths(one) == [RUN] and told(one)["gone"] == [] and one.moved == {}
    assert (one.mirror / RUN / "events.jsonl").stat().st_ino == inode
    (root / level).unlink()
    os.rename(place, root / level)
    assert look_again(one, root) < MOST, "and back"
    one.same()
    assert paths(one) == [RUN] and (one.mirror / RUN / "events.jsonl").stat().st_ino == inode


BARE = {"no meta.json": lambda run: (run / "meta.json").unlink(),
        "no time": lambda run: write(run / "meta.json", {"id": run.name, "project": "p", "name": "n"}),
        "no id": lambda run: write(run / "meta.json", {"created_at": 1737653445, "hostname": "gpu-01"}),
        "not JSON": lambda run: write(run / "meta.json", b'{"id": "'),
        "nothing in it": lambda run: write(run / "meta.json", b"")}


@pytest.mark.few()
@pytest.mark.parametrize("bare", BARE)
@pytest.mark.parametrize("rename", ["a project", "an experiment", "a run's own folder"])
def test_a_run_whose_meta_tells_not_who_it_is_moves_with_its_folder(root, pair, source, rename, bare):
    BARE[bare](big_run(root))
    one = mirrored(pair, root, source)
    act, *parts = RENAMES[rename]
    act(root)
    assert look_again(one, root) < MOST
    one.same()
    assert paths(one) == [moved_path(RUN, *parts)] and told(one)["gone"] == []
    assert one.moved == {RUN: moved_path(RUN, *parts)}


@pytest.mark.few(turn=True)
@pytest.mark.parametrize("bare", ["no meta.json", "no time"])
def test_such_a_run_moves_while_it_is_written(root, pair, source, bare):
    run = big_run(root, status="running")
    BARE[bare](run)
    one = mirrored(pair, root, source)
    os.rename(root / "vision", root / "renamed")
    grow(root / moved_path(RUN, "renamed") / "events.jsonl")
    grow(root / moved_path(RUN, "renamed") / "logs.txt", b"[2025-01-23 18:30:45+0800] more\n")
    look_again(one, root)
    one.same()
    assert paths(one) == [moved_path(RUN, "renamed")] and one.moved == {RUN: moved_path(RUN, "renamed")}


def test_twins_without_a_meta_are_never_taken_for_each_other(root, pair, source):
    """Of the same sizes and times; one is deleted, and another comes under another name."""
    first, second = big_run(root), big_run(root, OTHER)
    for run in (first, second):
        (run / "meta.json").unlink()
    age(root)
    for name in ("events.jsonl", "logs.txt", "status.json", "summary.json"):
        for run in (first, second):
            os.utime(run / name, (OLD, OLD))
    write(second / "events.jsonl", (second / "events.jsonl").read_bytes().replace(b"0.5", b"0.7"), OLD)
    told_by(root, source)
    one = pair(source)
    one.passes()
    one.passes(31)
    one.same()
    os.rename(second, second.with_name("new"))
    shutil.rmtree(first)
    look_again(one, root)
    new = OTHER.replace("20250124_180000_abc124", "new")
    assert one.moved in ({}, {OTHER: new}) and tree(one.mirror / new) == tree(root / new)
    assert RUN in told(one)["gone"] and b"0.5" in (one.mirror / RUN / "events.jsonl").read_bytes()


@pytest.mark.few(2)
@pytest.mark.parametrize("other", ["host", "time"])
def test_the_same_id_of_another_host_or_time_is_another_run(root, pair, source, other):
    big_run(root)
    one = mirrored(pair, root, source)
    shutil.rmtree(root / "vision")
    made = big_run(root, moved_path(RUN, "renamed"), host="gpu-02" if other == "host" else "gpu-01")
    if other == "time":
        write(made / "meta.json", {**json.loads((made / "meta.json").read_text()), "created_at": 1737650000})
    look_again(one, root)
    assert told(one)["gone"] == [RUN] and one.moved == {} and (one.mirror / RUN / "events.jsonl").exists()
    assert tree(one.mirror / "renamed") == tree(root / "renamed")


def test_a_running_run_is_renamed(root, pair, source):
    big_run(root, status="running")
    live(root)
    one = mirrored(pair, root, source)
    one.bell.look({"runs", "run:gpu-server-1:vision/resnet50/20250123_180000_abc123"})
    one.passes(5)
    with open(root / RUN / "events.jsonl", "ab", buffering=0) as training:
        os.rename(root / "vision", root / "renamed")
        training.write(b'{"ts":1,"step":9999,"data":{"loss":1}}\n')
        assert (look_again(one, root) < MOST
                + (root / moved_path(RUN, "renamed") / "events.jsonl").stat().st_size)
        training.write(b'{"ts":1,"step":10000,"data":{"loss":1}}\n')
        one.passes(31)
    one.same()
    assert paths(one) == [moved_path(RUN, "renamed")] and one.moved == {RUN: moved_path(RUN, "renamed")}
    assert list(told(one)["runs"]) == [moved_path(RUN, "renamed")]


def test_renamed_while_its_files_come(root, pair, source, monkeypatch):
    run = big_run(root)
    write(run / "best.pt", os.urandom(16 << 20))
    told_by(root, source)
    one = pair(source, large=True, budget=4 << 20)
    for _ in range(6):
        one.sync.one_pass(one.now)
    assert one.sync._remote_root.queue.left, "the large file is on its way"
    os.rename(root / "vision", root / "renamed")
    told_by(root, source)
    for _ in range(8):
        one.now += 61
        one.sync.one_pass(one.now)
    one.same()
    assert paths(one) == [moved_path(RUN, "renamed")] and one.far.bytes_received < 18 << 20, "once"
    assert not (one.mirror / "vision").exists()


def test_what_was_noted_here_goes_with_the_run(root, pair, source):
    big_run(root)
    one = mirrored(pair, root, source)
    quota.mark_viewed(one.mirror, RUN, now=7)
    quota.drop_run(one.mirror, RUN)
    os.rename(root / "vision", root / "renamed")
    assert look_again(one, root) < MOST
    new = moved_path(RUN, "renamed")
    notes = {name: json.loads((one.mirror / ".index" / name).read_text()) for name in ("viewed", "evicted")}
    assert notes == {"viewed": {new: 7}, "evicted": {new: True}}
    assert not (one.mirror / new / "events.jsonl").exists(), "what was removed here stays away"


def test_where_something_else_lies_the_run_comes_anew_and_then_both_are_one(root, pair, source):
    big_run(root)
    one = mirrored(pair, root, source)
    new = moved_path(RUN, "renamed")
    write(one.mirror / new / "mine.txt", b"not the server's")
    os.rename(root / "vision", root / "renamed")
    look_again(one, root)
    look_again(one, root)
    assert told(one)["gone"] == [] and one.moved == {RUN: new} and not (one.mirror / RUN).exists()
    assert tree(one.mirror / new) == {**tree(root / new), "mine.txt": b"not the server's"}


def test_a_move_that_was_cut_is_finished_at_the_next_start(root, pair, source):
    big_run(root)
    one = mirrored(pair, root, source)
    one.sync._hang_up("offline", "line", "killed")
    os.rename(root / "vision", root / "renamed")
    one.sync.mirror.rename(RUN, moved_path(RUN, "renamed"))     # and killed before the index was written
    one.sync.mirror.unlock()
    told_by(root, source)
    again = pair(source)
    again.now += 60
    again.passes()
    again.same()
    assert again.moved == {RUN: moved_path(RUN, "renamed")} and again.far.bytes_received < MOST


def test_a_run_whose_meta_is_huge_or_missing(root, pair, source):
    """A huge meta.json is not in the index: its size and mtime tell. Where there is none, those of the other
    files do."""
    run = big_run(root)
    write(run / "meta.json",
          {**json.loads((run / "meta.json").read_text()), "config": {"text": "x" * 100_000}}, mtime=1.7e9)
    bare = make_run(root, OTHER)
    (bare / "meta.json").unlink()
    one = mirrored(pair, root, source)
    os.rename(root / "vision", root / "renamed")
    look_again(one, root)
    assert one.moved == {path: moved_path(path, "renamed") for path in (RUN, OTHER)}
    assert told(one)["gone"] == []
    assert tree(root).items() <= tree(one.mirror).items()


def test_an_address_kept_from_before_leads_to_the_run(root, pair, tmp_path):
    big_run(root)
    big_run(root, moved_path(RUN, run="20250123_190000_abc125"))
    one = mirrored(pair, root, "sftp")
    reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])
    reader.refresh()
    os.rename(root / "vision", root / "renamed")
    look_again(one, root)
    reader.refresh()
    assert (reader.find("gpu:vision/resnet50/20250123_180000_abc123")
            == "gpu:renamed/resnet50/20250123_180000_abc123")
    assert reader.find("20250123_180000_abc123") == "gpu:renamed/resnet50/20250123_180000_abc123"
    for other in ("gpu:vision/resnet50/20250123_180000_abc999",
                  "other:vision/resnet50/20250123_180000_abc123"):
        with pytest.raises(NotFoundError):
            reader.find(other)


def test_tags_and_notes_made_here_go_with_the_run(root, tmp_path):
    """The connection's own part: what the reader noted, by key."""
    home = tmp_path / "home"
    overlay = settings.Overlay(home)
    overlay.set("gpu-1:vision/resnet50/20250123_180000_abc123", tags=["best"], note="mine")
    overlay.set("gpu-1:vision/vit/20250124_180000_abc124", hidden=True)
    saved = {"name": "GPU 1", "host": "gpu", "enabled": True}
    one = connection.Connection(saved, home, Bell(), None, logging.getLogger("sync"), {})
    one._run_moved({RUN: moved_path(RUN, "renamed")})
    assert (settings.Overlay(home).all()
            == {"gpu-1:renamed/resnet50/20250123_180000_abc123": {"tags": ["best"], "note": "mine"},
                "gpu-1:vision/vit/20250124_180000_abc124": {"hidden": True}})
    before = (home / "overlay.json").stat().st_mtime_ns
    one._run_moved({OTHER.replace("vit", "none"): "a/b/runs/c"})
    assert (home / "overlay.json").stat().st_mtime_ns == before, "nothing was noted about it"


CASES = {"the experiment": ("Vision/ResNet/runs/20250123_180000_abc123",
                            "Vision/resnet/runs/20250123_180000_abc123"),
         "the project": ("Vision/resnet50/runs/20250123_180000_abc123",
                         "vision/resnet50/runs/20250123_180000_abc123"),
         "the run's own folder": ("vision/resnet50/runs/Best", "vision/resnet50/runs/best"),
         "how an accent is written": ("vision/caf\u00e9/runs/20250123_180000_abc123",
                                      "vision/cafe\u0301/runs/20250123_180000_abc123")}


@pytest.mark.few(1)
@pytest.mark.parametrize("change", CASES)
def test_where_the_disk_ignores_case_a_renamed_run_lies_where_its_name_says(
        root, pair, source, monkeypatch, change):
    monkeypatch.setattr(local_copy.LocalCopy, "ignores_case", True)
    old, new = CASES[change]
    big_run(root, old)
    one = mirrored(pair, root, source)
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    os.rename(root / old, root / new)
    assert look_again(one, root) < MOST
    assert one.moved == {old: new} and paths(one) == [new] and told(one)["gone"] == []
    assert tree(one.mirror / new) == tree(root / new)
    assert json.loads((one.mirror / ".index/places.json").read_text()) == {}
    age_folders(root)
    look_again(one, root)
    os.rename(root / new, root / old)
    assert look_again(one, root) < MOST, "and back"
    assert tree(one.mirror / old) == tree(root / old)
    assert json.loads((one.mirror / ".index/places.json").read_text()) == {}


def test_where_the_disk_ignores_case_a_renamed_run_never_takes_another_ones_place(
        root, pair, source, monkeypatch):
    monkeypatch.setattr(local_copy.LocalCopy, "ignores_case", True)
    first, second = "p/Exp/runs/20250123_180000_abc123", "p/exp/runs/20250123_180000_abc123"
    big_run(root, first)
    write(big_run(root, second, host="gpu-02") / "logs.txt", b"[2025-01-23 18:30:45+0800] another\n")
    age(root)
    told_by(root, source)
    one = pair(source)
    one.passes()
    one.passes(31)
    inner = {path: tree(root / path) for path in (first, second)}
    assert [tree(place(one, path)) for path in (first, second)] == list(inner.values())
    os.rename(root / "p/exp", root / "p/EXP")           # the one that lies elsewhere
    look_again(one, root)
    third = second.replace("exp", "EXP")
    assert one.moved == {second: third} and tree(place(one, third)) == inner[second]
    assert tree(place(one, first)) == inner[first]
    age_folders(root)
    look_again(one, root)
    os.rename(root / "p/Exp", root / "p/other")         # whose place is free then
    look_again(one, root)
    assert tree(place(one, "p/other/runs/20250123_180000_abc123")) == inner[first]
    assert tree(place(one, third)) == inner[second]
    assert len(list(one.mirror.rglob("meta.json"))) == 2


def place(one, path):
    return run_places.folder(one.mirror, path, run_places.read(one.mirror))


def test_a_run_that_is_gone_and_kept_makes_no_later_session_ask_twice(root, pair, tmp_path):
    big_run(root)
    big_run(root, OTHER)
    one = mirrored(pair, root, "exec")
    shutil.rmtree(root / RUN)
    look_again(one, root)
    assert told(one)["gone"] == [RUN]
    one.close()
    again = pair("exec")
    asked, run = [], again.far.run
    again.far.run = lambda *words, **more: asked.append(words) or run(*words, **more)
    again.passes()
    assert told(again)["gone"] == [RUN] and again.sync.state()["state"] == "live"
    assert len(asked) == 1, "nothing changed: one stamp says so"


@pytest.mark.few(1)
@pytest.mark.parametrize("changed", ["as it was", "changed meanwhile", "not all of it here"])
def test_a_run_that_was_gone_and_is_there_again_is_seen_by_the_next_session(root, pair, source, changed):
    run = big_run(root)
    big_run(root, OTHER)
    one = mirrored(pair, root, source)
    os.rename(root / "vision/resnet50", root.parent / "aside")
    look_again(one, root)
    assert told(one)["gone"] == [RUN]
    age_folders(root)
    look_again(one, root)
    one.close()
    os.rename(root.parent / "aside", root / "vision/resnet50")
    grow(run / "events.jsonl") if changed == "changed meanwhile" else None
    (one.mirror / RUN / "logs.txt").unlink() if changed == "not all of it here" else None
    told_by(root, source)
    again = pair(source)
    again.now += 100
    again.passes()
    assert told(again)["gone"] == [] and paths(again) == sorted([RUN, OTHER])
    look_again(again, root)
    again.same()
