"""What the server does not let us read is said on the run and in Files, and comes by itself once it may be
read: by exec, by a manifest file and by SFTP alone. The far side's processes are another user's where the
tests run as root, whom no mode binds."""

import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from far import SERVER, Far
from nobody import PYTHON, needs_root
from pairs import OLD, OWN, RUN, Pair, make_run, settle, tree, write

from runicorn import left_out, manifest
from runicorn.mirror import folder_lister, recheck
from runicorn.reader.catalog import Catalog
from runicorn.viewer import run_files

# each test in one of the ways, another one than the test before
pytestmark = pytest.mark.few(turn=True)

KEY = "gpu:vision/resnet50/20250123_180000_abc123"
OTHER = "p/n/runs/20250124_180000_abc124"
NOBODY = 65534
AS = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if os.getuid() == 0 else ()
WAYS = ("exec", "manifest", "sftp")
FILES = ("meta.json", "status.json", "summary.json", "events.jsonl", "logs.txt", "checkpoints/last.pt")
CLOSED = {"the run's folder": ("", 0), "the run's folder, listed only": ("", 0o644),
          "a folder": ("checkpoints", 0), "a folder, listed only": ("checkpoints", 0o644)}


@pytest.fixture
def place():
    """A folder that another user may look into, as those of pytest may not."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def deny(path):
    """Close a folder to the other user by an access list (acl(5)), which neither its mode, nor its mtime, nor
    its owner shows."""
    whom = 0xffffffff           # the tag says it
    entries = (1, 7, whom), (2, 0, NOBODY), (4, 5, whom), (16, 5, whom), (32, 5, whom)
    os.setxattr(path, ACL, struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries))


ACL = "system.posix_acl_access"
UNSEEN = {"an access list": (0, 0o755, deny, lambda path: os.removexattr(path, ACL)),
          "another owner": (NOBODY, 0o700, lambda path: os.chown(path, 0, 0),
                            lambda path: os.chown(path, NOBODY, NOBODY))}
FOLDERS = (f"{RUN}/checkpoints", OTHER, "q/n/runs", "r/n", "s")     # each of another run


class Closed:
    """A root with two runs at the other user's, mirrored one way."""

    def __init__(self, place, way):
        self.root, self.way = place / "far", way
        self.run = make_run(self.root)
        make_run(self.root, OTHER)
        write(self.run / "checkpoints" / "last.pt", b"weights", mtime=OLD)
        if AS:
            for path in (self.root, *self.root.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        python = " ".join([*AS, PYTHON]) if way == "exec" else None
        self.one = Pair(self.root, place / "near", Far(words=(*AS, SERVER), python=python))
        self.reader = Catalog([("local", place / "local")], [("gpu", self.one.mirror)])

    def passes(self, times=1, seconds=31):
        """Let looks go by; who makes the manifest, makes one before each."""
        for _ in range(times):
            if self.way == "manifest":
                subprocess.run([*AS, PYTHON, "-", "--root", self.root],
                               input=Path(manifest.__file__).read_bytes(), check=True)
            self.one.passes(seconds)
            settle(self.one)
        self.one.passes(6)              # takes what python3 answered

    def said(self):
        """Return what the pages say of the run."""
        self.reader.refresh()
        return self.reader.run(KEY)

    def rows(self):
        self.reader.refresh()
        entry = self.reader.entry(KEY)
        indexed, places, why = entry.source.copies(entry.record.path)
        same = entry.source.agrees(entry.record.path, indexed, places)
        return {row["name"]: row
                for row in run_files.listed(entry.folder, indexed, places, why, same, False)[0]}

    def is_whole(self):
        """Whether all is here, and nothing is said to be left out."""
        return (tree(self.one.mirror) == tree(self.root), self.one.sync.state()["reason"]["code"],
                left_out.read(self.one.mirror)) \
            == (True, "live", {})


@pytest.fixture
def closed(place):
    made = []

    def make(way):
        made.append(Closed(place, way))
        return made[-1]
    yield make
    for one in made:
        one.one.close()


@pytest.mark.few(3)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_may_not_be_read_is_said_and_comes_when_it_may(closed, way, name):
    far = closed(way)
    (far.run / name).chmod(0)
    far.passes(2)
    row = far.rows()[name]
    assert row["why"]["code"] == "denied" and not row["here"]
    assert (name in far.said()["left_out"]) is ("/" not in name)
    assert far.one.sync.state()["reason"]["code"] == "live_partly" and far.said()["verified"] is ("/" in name)
    if name == "meta.json":
        assert far.said()["error"] == "meta.json is not here: the server does not let us read it"
    (far.run / name).chmod(0o644)
    far.passes(2)
    assert far.is_whole() and far.said()["left_out"] == {} and far.said()["error"] is None
    assert far.said()["verified"]


@pytest.mark.few(1)
@pytest.mark.parametrize("which", CLOSED)
@pytest.mark.parametrize("way", WAYS)
def test_a_folder_that_is_closed_later_loses_nothing_and_is_said(closed, way, which):
    far, (name, mode) = closed(way), CLOSED[which]
    far.passes(2)
    before, at = far.rows(), far.one.now
    (far.run / name).chmod(mode)
    far.passes(3)
    far.one.sync.sync_now()
    far.passes()
    rows = far.rows()
    assert {row["copy"] for row in rows.values()
            if row["here"]} == {"same"} and before.keys() <= rows.keys(), "nothing is said to be gone"
    assert far.one.sync.state()["reason"]["code"] == "live_partly" and far.said()["gone"] is False
    if name:
        assert rows["checkpoints/"]["why"]["code"] == "denied"
    else:
        assert far.said()["left_out"][""]["code"] == "denied" and far.said()[
            "verified_at"] <= at, "nobody could look since"
    (far.run / name).chmod(0o755)
    far.passes(3)
    assert far.is_whole() and far.said()["left_out"] == {} and far.rows().keys() == before.keys()


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_a_run_of_too_many_files_has_its_own_and_says_how_many_are_not_listed(closed, way):
    far = closed(way)
    for number in range(10_100):
        (far.run / f"a{number:05}.bin").touch()
    far.one.others = dict               # it would read all of them before and after each pass
    far.one.options.update(small_only=False)            # what is asked here is what is listed
    far.passes(2)
    run, entry = far.said(), far.reader.entry(KEY)
    assert (run["state"], run["error"], run["verified"], run["summary"]) == (
        "finished", None, True, {"loss": 0.5})
    assert set(OWN) <= {path.name for path in entry.folder.iterdir()}
    assert [metric["name"] for metric in run["metrics"]] == ["loss"]
    assert (entry.folder / "logs.txt").read_bytes() == (far.run / "logs.txt").read_bytes()
    rows = far.rows()
    assert run["more_files"] == 10_106 - len(rows) and set(OWN) <= rows.keys() and 9_990 < len(rows) < 10_010


@pytest.mark.few(1)
@pytest.mark.parametrize("which", CLOSED)
@pytest.mark.parametrize("way", WAYS)
def test_a_folder_that_was_closed_from_the_beginning_comes_when_it_opens(closed, way, which):
    far, (name, mode) = closed(way), CLOSED[which]
    (far.run / name).chmod(mode)
    far.passes(2)
    if name:
        assert far.rows()["checkpoints/"]["why"]["code"] == "denied"
    else:
        assert left_out.read_passed(far.one.mirror) == {"unreadable": 1} and far.one.sync.state()["runs"] == 1
    (far.run / name).chmod(0o755)
    far.passes(2)
    assert far.is_whole() and left_out.read_passed(far.one.mirror) == {}


@pytest.mark.few(1)
@pytest.mark.parametrize("folder", ["vision", "vision/resnet50", "vision/resnet50/runs"])
@pytest.mark.parametrize("way", WAYS)
def test_a_project_that_is_closed_keeps_its_runs(closed, way, folder):
    far = closed(way)
    far.passes(2)
    (far.root / folder).chmod(0)
    far.passes(3)
    assert far.said()["gone"] is False
    assert {row["copy"] for row in far.rows().values() if row["here"]} == {"same"}
    (far.root / folder).chmod(0o755)
    far.passes(3)
    assert far.is_whole()


@pytest.mark.few(1)
@needs_root
@pytest.mark.parametrize("way, how",
                         [("manifest", "an access list"), ("sftp", "an access list"),
                          ("sftp", "another owner")])
def test_a_folder_that_opens_without_a_sign_is_looked_into(closed, way, how):
    far, (owner, mode, close, undo) = closed(way), UNSEEN[how]
    for project in "qrs":
        make_run(far.root, f"{project}/n/runs/20250124_180000_abc124")
    folders = [far.root / name for name in FOLDERS]
    for folder in folders:
        os.chown(folder, owner, owner)
        folder.chmod(mode)
    for first in (True, False):
        for folder in folders:
            close(folder)
        far.passes(2)
        runs = [path for path, files in left_out.read(far.one.mirror).items() if "" in files]
        assert left_out.read_passed(far.one.mirror)["unreadable"] == 5 if first else len(runs) == 4
        assert far.rows()["checkpoints/"]["why"]["code"] == "denied"
        for folder in folders:
            undo(folder)
        far.passes(2)
        assert far.is_whole() and far.said()["verified"] and left_out.read_passed(far.one.mirror) == {}
        assert far.one.sync.state()["runs"] == 5


def closed_plots(far, count):
    """Return the paths of `count` files that may not be read, new in the run."""
    plots = [far.run / f"plot{number}.png" for number in range(count)]
    for plot in plots:
        write(plot, b"png", mtime=OLD)
        plot.chmod(0)
        if AS:
            os.chown(plot, NOBODY, NOBODY)
    return plots


@pytest.mark.parametrize("way", WAYS)
def test_sync_now_tries_all_of_them_at_once(closed, way):
    far = closed(way)
    plots = closed_plots(far, 60)
    far.passes(2)
    assert far.one.sync.state()["reason"]["files"] == 60
    for plot in plots:
        plot.chmod(0o644)
    far.one.sync.sync_now()
    far.passes(1, seconds=2)
    assert far.is_whole()


@pytest.mark.long
def test_by_sftp_alone_all_that_open_come_within_a_turn(closed):
    far = closed("sftp")
    plots = closed_plots(far, 300)
    far.passes(2)
    assert far.one.sync.state()["reason"]["files"] == 300
    for plot in plots:
        plot.chmod(0o644)
    assert far.one.sync._remote_root.turn_seconds == recheck.SHORTEST
    far.passes(13, seconds=5)
    assert far.is_whole(), "20 a survey would take 450 s"


@pytest.mark.long
def test_runs_of_others_that_may_not_be_listed_cost_little(closed):
    far = closed("sftp")
    for number in range(200):
        make_run(far.root, f"private/n/runs/20250201_{number:06d}_abc124", rows=1).chmod(0o700)
    if AS:
        far.passes()
        assert far.one.sync.state()["runs"] == 2
        assert left_out.read_passed(far.one.mirror) == {"unreadable": 200}
        before = far.one.far.sessions[0].requests
        far.passes()
        assert far.one.far.sessions[0].requests - before < 120
    for run in (far.root / "private/n/runs").iterdir():
        run.chmod(0o755)
    far.one.sync.sync_now()
    far.passes(2)
    assert far.is_whole() and far.one.sync.state()["runs"] == 202


def test_an_empty_folder_is_no_closed_one(tmp_path):
    (tmp_path / "empty").mkdir()
    with Far() as far:
        found = folder_lister.list_folders(far.open_sftp(), [str(tmp_path / "empty")])
    assert [name for name, _ in found[str(tmp_path / "empty")]] == ["."]


@pytest.mark.few(1)
@pytest.mark.parametrize("way", WAYS)
def test_what_was_edited_and_then_closed_is_not_taken_for_read(closed, way):
    """To the same size, so that by exec its hash decides: a file that can't be hashed is not what we hold."""
    far = closed(way)
    big = far.run / "checkpoints" / "big.bin"
    write(big, b"a" * 100_000, mtime=OLD)
    if AS:
        os.chown(big, NOBODY, NOBODY)
    far.passes(3)
    assert far.rows()["checkpoints/big.bin"]["copy"] == "same"
    with open(big, "r+b") as file:
        file.write(b"b")
    big.chmod(0)
    far.passes(4)
    row = far.rows()["checkpoints/big.bin"]
    assert row["why"]["code"] == "denied" and row["copy"] != "same" and not far.said()["verified"]
    big.chmod(0o644)
    far.passes(4)
    assert far.is_whole() and far.said()["verified"]


@pytest.mark.parametrize("way", ("exec", "sftp"))
def test_what_can_t_be_read_is_not_counted_as_compared(closed, way):
    far = closed(way)
    far.passes(2)
    (far.run / "logs.txt").chmod(0)
    assert far.one.sync._remote_root.verify(far.one.now) == {"files": 10, "refetched": 0}
    far.passes()
    assert far.rows()["logs.txt"]["why"]["code"] == "denied"
    assert far.one.sync.state()["reason"]["code"] == "live_partly"
    (far.run / "logs.txt").chmod(0o644)
    far.passes(2)
    assert far.is_whole()
