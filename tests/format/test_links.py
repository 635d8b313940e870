"""Symbolic links above the runs: followed alike by the manifest, by exec, by SFTP and in a local root, and
what is passed over is said."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import pytest
from far import Far
from pairs import OLD, Pair, make_run, tree
from small_runs import beat, write_run

from runicorn import left_out, manifest, shares
from runicorn.cli import tail
from runicorn.cli.main import main
from runicorn.connections import doctor
from runicorn.mirror import exec_look, server_answer, walk
from runicorn.reader import first_look
from runicorn.reader.local_root import LocalRoot
from runicorn.reader.mirror_source import MirrorSource
from runicorn.transfer import check

NOBODY = 65534
ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="another owner's files are made by root only")


def run_id(number):
    return f"20250123_1800{number:02d}_abc1{number:02d}"


def run_at(folder, number):
    """Make a run in `folder`, any folder (Path)."""
    made = make_run(folder.parent / "making", f"p/n/runs/{run_id(number)}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made.rename(folder)
    shutil.rmtree(folder.parent / "making")
    return folder


def link(place, target):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return place


def everything(root, disk):
    """Make one root with a link of every kind; returns the paths of the runs that count, and {reason: count}
    of the links that do not."""
    followed, passed = set(), Counter()

    def own(path, number):
        run_at(root / path / run_id(number), number)
        followed.add(f"{path}/{run_id(number)}")

    own("own/exp/runs", 1)
    own("own/exp/runs", 2)
    # a link at each level, to another disk
    run_at(disk / "project/exp/runs" / run_id(3), 3)
    link(root / "at-project", disk / "project")
    run_at(disk / "experiment/runs" / run_id(4), 4)
    link(root / "own/at-experiment", os.path.relpath(disk / "experiment", root / "own"))
    run_at(disk / "runs" / run_id(5), 5)
    link(root / "own/at-runs/runs", disk / "runs")
    run_at(disk / "elsewhere", 6)
    link(root / "own/exp/runs" / run_id(6), disk / "elsewhere")
    followed |= {f"at-project/exp/runs/{run_id(3)}", f"own/at-experiment/runs/{run_id(4)}",
                 f"own/at-runs/runs/{run_id(5)}", f"own/exp/runs/{run_id(6)}"}
    # inside the root, where no run is listed
    run_at(root / "own/store" / run_id(7), 7)
    link(root / "own/exp/runs" / run_id(7), f"../../store/{run_id(7)}")
    run_at(root / "store/vision/exp/runs" / run_id(8), 8)
    link(root / "vision", "store/vision")
    run_at(root / ".runicorn/archive" / run_id(9), 9)
    link(root / "own/exp/runs" / run_id(9), root / ".runicorn/archive" / run_id(9))
    followed |= {f"own/exp/runs/{run_id(7)}", f"vision/exp/runs/{run_id(8)}", f"own/exp/runs/{run_id(9)}"}
    # a chain, and links below links
    run_at(disk / "end/exp/runs" / run_id(10), 10)
    link(disk / "hop2", disk / "end")
    link(disk / "hop1", "hop2")
    link(root / "chain", disk / "hop1")
    run_at(disk / "deep-run", 11)
    link(disk / "end/linked-exp", disk / "deep-exp")
    link(disk / "deep-exp/runs", disk / "deep-runs")
    link(disk / "deep-runs" / run_id(11), disk / "deep-run")
    followed |= {f"chain/exp/runs/{run_id(10)}", f"chain/linked-exp/runs/{run_id(11)}"}
    # to nowhere, in a circle, to a file: at each level
    (disk / "file").write_text("x")
    for place in ["nowhere", "own/nowhere", "own/nowhere2/runs", "own/exp/runs/nowhere"]:
        link(root / place, disk / "absent")
        link(root / place.replace("nowhere", "circle"), (root / place.replace("nowhere", "circle")).name)
        link(root / place.replace("nowhere", "file"), disk / "file")
        passed["links to no folder"] += 3
    # to the root and above it, at each level
    for place in ["whole", "own/whole", "own/whole2/runs", "own/exp/runs/whole"]:
        link(root / place, root)
        link(root / place.replace("whole", "above"), root.parent)
        passed["links back to the root"] += 2
    # what is listed already: another project, experiment, runs, run; a second link; what holds a run, and
    # what is in one
    for place, target in [("again", root / "own"), ("own/again", "exp"), ("own/again2/runs", "../exp/runs"),
                          ("own/exp/runs/again", run_id(1)), ("zz-project", disk / "project"),
                          ("own/exp/runs/zz", disk / "elsewhere"),
                          ("own/exp/runs/holds", disk / "project/exp"),
                          ("own/exp/runs/within", f"{run_id(1)}/media")]:
        link(root / place, target)
        passed["links to a folder that is listed"] += 1
    # in a run: neither folders nor files
    (root / "own/exp/runs" / run_id(1) / "media").mkdir()
    (root / "own/exp/runs" / run_id(1) / "media/1.png").write_bytes(b"png")
    link(root / "own/exp/runs" / run_id(1) / "folder", disk / "project")
    link(root / "own/exp/runs" / run_id(1) / "weights.pt", disk / "file")
    passed["links in runs"] += 2
    # names and depth
    os.mkdir(os.fsencode(root / "own/exp/runs") + b"/caf\xe9")
    os.symlink(disk / "runs", os.fsencode(root) + b"/caf\xe9")
    with open(os.fsencode(root / "own/exp/runs" / run_id(2)) + b"/caf\xe9.txt", "wb") as file:
        file.write(b"x")
    deep = root / "own/exp/runs" / run_id(2) / "/".join("12345678")
    (deep / "9" / "10").mkdir(parents=True)
    (deep / "ok.txt").write_text("x")
    (deep / "9" / "lost.txt").write_text("x")
    passed[manifest.NO_UTF8] += 3
    passed[manifest.TOO_DEEP] += 1
    return followed, passed


def others_links(root, disk):
    """Add a link at each level whose owner owns nothing of what it leads to; returns how many."""
    run_at(disk / "secret/exp/runs" / run_id(30), 30)
    places = {"theirs": "secret", "own/theirs": "secret/exp", "own/theirs2/runs": "secret/exp/runs",
              "own/exp/runs/theirs": f"secret/exp/runs/{run_id(30)}"}
    for place, target in places.items():
        os.lchown(link(root / place, disk / target), NOBODY, NOBODY)
    return len(places)


# -- the ways to a list of runs

def by_manifest(root, tmp):
    manifest.generate(str(root))
    return manifest.load(root / ".runicorn" / manifest.FULL).paths()


def by_exec(root, tmp):
    return mirrored(root, tmp / "near", Far(python=sys.executable))


def by_manifest_file(root, tmp):
    manifest.generate(str(root))
    return mirrored(root, tmp / "near", Far())


def by_sftp(root, tmp):
    return mirrored(root, tmp / "near", Far(), manifest=False)


def mirrored(root, near, far, **options):
    """Mirror the root; returns the runs listed, after comparing what came with what is there."""
    with contextlib.closing(Pair(root, near, far, **options)) as pair:
        pair.passes()
        assert pair.sync.state()["state"] == "live", pair.sync.state()
        session = pair.sync._remote_root
        assert session.source == ("exec" if far.python else "manifest" if options.get("manifest", True)
                                  else "walk")
        listed = session.index.paths()
        assert not [path for path in near.rglob("*") if path.is_symlink()], "the mirror holds no links"
        assert sorted(path.parent.relative_to(near).as_posix() for path in near.rglob("meta.json")) == sorted(
            listed)
        assert len(listed) > 0
        for path in listed:
            there = {name: data for name, data in tree(root / path).items()
                     if "/9/" not in name and name.isprintable()}
            assert tree(near / path) == {name: data for name, data in there.items()
                                         if not (root / path / name).is_symlink()}
        assert left_out.read_passed(near) == dict(left_out.worth_telling(manifest.build(str(root)).skipped))
        session.survey(pair.now + 700)
        assert session.index.paths() == listed and not session.vanished, "a second look finds the same"
        return listed


def by_first_look(root, tmp):
    return first_look.paths(str(root))


def by_reader(root, tmp):
    source = LocalRoot("local", root)
    source.refresh(0.0)
    return source.records


def by_check(root, tmp):
    return [path for path, _ in check.run_folders(root, Counter())]


def by_tail(root, tmp):
    return [os.path.relpath(folder, root) for folder in tail.run_folders(str(root))]


def by_the_test(root, tmp):
    with Far() as far:
        entries = doctor.holdings(far.open_sftp(), str(root))
        assert len(entries) == doctor.count_runs(far.open_sftp(), str(root))
        return walk.Skeleton(far.open_sftp(), os.path.realpath(root)).refresh(0.0)


WAYS = [by_manifest, by_exec, by_manifest_file, by_sftp, by_first_look, by_reader, by_check, by_tail,
        by_the_test]


@pytest.mark.few(3)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_lists_the_same_runs(way, tmp_path):
    root, disk = tmp_path / "far", tmp_path / "disk"
    followed, passed = everything(root, disk)
    if os.getuid() == 0:
        passed["links whose owner does not own the folder"] = others_links(root, disk)
    assert sorted(way(root, tmp_path)) == sorted(followed)
    skipped = manifest.build(str(root)).skipped
    assert left_out.worth_telling(skipped) == passed


@pytest.mark.few(2)
@pytest.mark.parametrize("way", [by_manifest, by_exec, by_sftp, by_reader])
def test_a_root_that_is_a_link_or_passes_one_is_the_same(way, tmp_path):
    root, disk = tmp_path / "far", tmp_path / "disk"
    everything(root, disk)
    expected = first_look.paths(str(root))
    link(tmp_path / "data/root", root)
    link(tmp_path / "short", "data")
    (tmp_path / "work").mkdir()
    assert sorted(way(tmp_path / "short/root", tmp_path / "work")) == expected and len(expected) == 11


@ROOT_ONLY
@pytest.mark.parametrize("owner, target_owner, counts", [
    (0, 0, True), (0, 1000, True), (1000, 1000, True), (1000, 0, False), (1000, 1001, False)])
def test_a_link_counts_where_its_owner_is_root_or_owns_the_folder(owner, target_owner, counts, tmp_path):
    root, disk = tmp_path / "far", tmp_path / "disk"
    make_run(root)
    make_run(disk, "p/n/runs/20250124_180000_abc124")
    os.lchown(link(root / "linked", disk / "p"), owner, owner)
    os.chown(disk / "p", target_owner, target_owner)
    expected = 1 + counts
    assert [len(list(way(root, tmp_path)))
            for way in (by_manifest, by_sftp, by_first_look, by_tail)] == [expected] * 4


@ROOT_ONLY
def test_what_a_link_leads_to_may_be_closed_to_us(tmp_path):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        root, disk = folder / "far", folder / "disk"
        make_run(root)
        make_run(disk, "listless/n/runs/20250124_180000_abc124")
        make_run(disk, "closed/p/n/runs/20250125_180000_abc125")
        for name, target in (("listless", "listless"), ("inside", "closed/p")):
            link(root / name, disk / target)
        for path, mode in ((folder, 0o755), (disk / "listless", 0o711), (disk / "closed", 0o700)):
            path.chmod(mode)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            skipped = Counter()
            listed = [path for path, _ in manifest.runs(str(root), skipped)]
            with Far() as far:
                skeleton = walk.Skeleton(far.open_sftp(), str(root))
                walked = sorted(skeleton.refresh(0.0))
        finally:
            os.setresuid(0, 0, 0)
        assert listed == walked == ["vision/resnet50/runs/20250123_180000_abc123"]
        assert dict(+skipped) == skeleton.skipped == {"unreadable": 1, "links to no folder": 1}
    finally:
        shutil.rmtree(folder)


def test_a_server_that_tells_no_owner_is_followed():
    owners = {"a": (None, None), "b": (1000, None), "c": (None, 5), "d": (7, 5)}
    links = {name: (*uids, f"/disk/{name}") for name, uids in owners.items()}
    assert manifest.Links("/root", Counter()).follow(links, []) == ["a", "b", "c"]


class Lexical:
    """A session whose REALPATH follows no links, as some servers' does."""

    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def batch(self, requests):
        return [request.about if request.kind == 16 else answer
                for request, answer in zip(requests, self._session.batch(requests))]


def test_a_server_whose_realpath_follows_no_links_gives_the_same_list(tmp_path):
    root, disk = tmp_path / "far", tmp_path / "disk"
    followed, _ = everything(root, disk)
    with Far() as far:
        skeleton = walk.Skeleton(Lexical(far.open_sftp()), str(root))
        assert sorted(skeleton.refresh(0.0)) == sorted(followed)


# -- what changes while a mirror looks

def test_what_grows_behind_a_link_is_seen_at_the_next_look(tmp_path):
    root, disk = tmp_path / "far", tmp_path / "disk"
    make_run(disk, "vision/resnet50/runs/20250123_180000_abc123", status="running", old=False)
    link(root / "vision", disk / "vision")
    with contextlib.closing(Pair(root, tmp_path / "near", manifest=False)) as pair:
        pair.passes()
        make_run(disk, "vision/resnet50/runs/20250124_180000_abc124")
        make_run(disk, "vision/bert/runs/20250125_180000_abc125")
        pair.passes(31)
        assert sorted(pair.sync._remote_root.index.paths()) == [
            "vision/bert/runs/20250125_180000_abc125", "vision/resnet50/runs/20250123_180000_abc123",
            "vision/resnet50/runs/20250124_180000_abc124"]
        before = pair.far.sessions[0].requests
        pair.passes(31)
        assert pair.far.sessions[0].requests - before < 40, "nothing is listed again where nothing moved"


def test_runs_moved_to_another_disk_behind_a_link_stay_the_same_runs(tmp_path):
    root, disk = tmp_path / "far", tmp_path / "disk"
    disk.mkdir()
    for number in (1, 2):
        run_at(root / "vision/resnet50/runs" / run_id(number), number)
    with contextlib.closing(Pair(root, tmp_path / "near", manifest=False)) as pair:
        pair.passes()
        came = pair.far.sessions[0].received
        shutil.move(root / "vision/resnet50/runs", disk / "runs")
        link(root / "vision/resnet50/runs", disk / "runs")
        pair.passes(31)
        session = pair.sync._remote_root
        assert len(session.index.paths()) == 2 and not session.vanished
        assert (root / "vision/resnet50/runs").is_symlink() and pair.far.sessions[0].received - came < 20_000
        run_at(disk / "runs" / run_id(3), 3)
        pair.passes(31)
        assert len(session.index.paths()) == 3


def test_a_link_that_is_turned_to_another_folder_shows_that_one(tmp_path):
    root, disk = tmp_path / "far", tmp_path / "disk"
    for number, name in ((1, "old"), (2, "new")):
        run_at(disk / name / "exp/runs" / run_id(number), number)
    link(root / "vision", disk / "old")
    with contextlib.closing(Pair(root, tmp_path / "near", manifest=False)) as pair:
        pair.passes()
        (root / "vision").unlink()
        link(root / "vision", disk / "new")
        pair.passes(31)
        session = pair.sync._remote_root
        assert f"vision/exp/runs/{run_id(2)}" in session.index.paths()
        assert session.vanished == {f"vision/exp/runs/{run_id(1)}"}


def test_a_writer_that_reaches_its_run_by_a_second_link_has_one_run_that_lives(tmp_path):
    root = tmp_path / "far"
    folder = write_run(root, "vision", "resnet50", "20250123_180000_abc123", status="running")
    link(root / "alias", "vision")
    beat(root, root / "alias/resnet50/runs/20250123_180000_abc123", "20250123_180000_abc123")
    assert folder.is_dir()
    with contextlib.closing(Pair(root, tmp_path / "near", manifest=False)) as pair:
        pair.passes()
        session = pair.sync._remote_root
        assert session.index.paths() == ["vision/resnet50/runs/20250123_180000_abc123"]
        assert list(session.beats.runs) == session.index.paths()
        assert session.beats.runs[session.index.paths()[0]]["beat"]


def test_a_run_that_comes_to_be_listed_by_its_own_path_is_not_fetched_twice_as_two(tmp_path):
    root = tmp_path / "far"
    run_at(root / "old-name/exp/runs" / run_id(1), 1)
    with contextlib.closing(Pair(root, tmp_path / "near", manifest=False)) as pair:
        pair.passes()
        (root / "old-name").rename(root / "new-name")
        link(root / "old-name", "new-name")
        pair.passes(31)
        session = pair.sync._remote_root
        assert session.vanished == set() and session.index.paths() == [f"new-name/exp/runs/{run_id(1)}"]


# -- said

def test_it_is_said_what_is_passed_over(tmp_path, caplog, capsys):
    root, disk = tmp_path / "far", tmp_path / "disk"
    everything(root, disk)
    with caplog.at_level("WARNING", logger="sync"), contextlib.closing(Pair(root, tmp_path / "near")) as pair:
        pair.passes()
    said = [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()]
    assert len(said) == 1 and "12 links to no folder" in said[0] and "3 names that are no UTF-8" in said[0]
    assert "1 folder deeper than 8" in said[0] and "2 links in runs" in said[0]
    assert main(["manifest", "--root", str(root), "--verbose"]) == 0
    assert "skipped     12 links to no folder" in capsys.readouterr().out
    assert main(["check", str(root)]) in (0, 1)
    assert "12 links to no folder: passed over" in capsys.readouterr().out
    source = LocalRoot("local", root)
    source.refresh(0.0)
    path, there = f"own/exp/runs/{run_id(2)}", {manifest.NO_UTF8: 1, manifest.TOO_DEEP: 1}
    mirror = MirrorSource("gpu", tmp_path / "near")
    mirror.begin()
    assert source.passed_over(path) == mirror.passed_over(path) == there, "what the Files tab says"


@pytest.mark.parametrize("counts",
                         [None, [], {"x": "y"}, {"x": -1}, {"x": 1.5}, {"": 1}, {"a" * 101: 1},
                          {"\x1b[31m": 1}, {"outside": 4}])
def test_counts_from_elsewhere_are_checked(counts):
    assert left_out.worth_telling(counts) == {}


def test_what_is_sent_to_python3_on_the_server_is_small_and_whole(tmp_path):
    """What answers there is our modules' own code, and all of it that the answer needs."""
    make_run(tmp_path / "root", f"p/n/runs/{run_id(1)}")
    link(tmp_path / "root" / "linked", tmp_path / "root" / "p")
    (tmp_path / "root" / f"p/n/runs/{run_id(1)}" / os.fsdecode(b"\xff")).write_bytes(b"")
    program = exec_look.program()
    assert len(zlib.compress(program.encode(), 9)) <= 6_500 and '"""' not in program
    assert not re.search("(?m)^ *#", program)
    lines = {line for module in (manifest, shares, server_answer)
             for line in Path(module.__file__).read_text(encoding="utf-8").split("\n")}
    assert len(program.split("\n")) > 100 and sum(line not in lines and line
                                                  not in {re.sub("  +# .*", "", one) for one in lines}
                                                  for line in program.split(
                                                      "\n")) == 1, "and the line that calls it"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, str(tmp_path / "root")], input=b"{}\n",
                          capture_output=True)
    whole = server_answer.answer(str(tmp_path / "root"))
    there, here = (manifest.parse(zlib.decompress(answer[5:])) for answer in (done.stdout, whole))
    assert done.returncode == 0 and there.lines == here.lines and len(there) == 1
    assert there.header["stamp"] == here.header["stamp"]
    none = subprocess.run([sys.executable, "-I", "-S", "-c", program, str(tmp_path / "none")], input=b"{}\n",
                          capture_output=True)
    assert none.returncode == 1 and b"is not a folder" in none.stderr.splitlines()[-1]


def test_at_most_so_many_links_are_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "MOST_LINKS", 3)
    for number in range(5):
        link(tmp_path / "far" / f"p{number}",
             make_run(tmp_path / "disk", f"p{number}/n/runs/{run_id(number)}").parents[2])
    expected = [f"p{number}/n/runs/{run_id(number)}" for number in range(3)]
    assert [sorted(way(tmp_path / "far", tmp_path))
            for way in (by_manifest, by_first_look, by_sftp)] == [expected] * 3


def test_a_line_that_says_what_is_skipped_is_taken_over_and_made_anew_when_that_changes(tmp_path):
    run = make_run(tmp_path)
    first = manifest.build(str(tmp_path))
    os.symlink("/etc/passwd", run / "weights.pt")
    os.utime(run, (OLD, OLD))
    second = manifest.build(str(tmp_path), first)
    assert second.read == 1 and second.entry(second.paths()[0])["skipped"] == {manifest.IN_RUNS: 1}


@pytest.mark.parametrize("owner, target, follows", [
    ("S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1001", True), (0, "S-1-5-21-1-2-3-1001", True), (0, 0, True),
    (None, None, True), ("S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002", False),
    ("S-1-5-21-1-2-3-1001", 0, False)])
def test_on_windows_a_link_counts_by_the_owners_that_it_tells(tmp_path, monkeypatch, owner, target, follows):
    """There every uid is 0: the owners are SIDs, 0 for the system and its administrators."""
    root = tmp_path / "root"
    run_at(root / "p/n/runs" / run_id(1), 1)
    run_at(tmp_path / "disk" / "elsewhere", 2)
    link(root / "p/n/runs" / run_id(2), tmp_path / "disk" / "elsewhere")
    asked = []
    monkeypatch.setattr(manifest, "owners", lambda path: asked.append(path) or (owner, target))
    skipped = Counter()
    assert [path.rpartition("/")[2] for path, _ in manifest.runs(str(root), skipped)] == [
        run_id(1), *[run_id(2)] * follows]
    assert asked == [str(root / "p/n/runs" / run_id(2))]
    assert skipped["links whose owner does not own the folder"] == (not follows)
