"""Whatever is edited on the server, in finished and in running runs, is found in the stated time, and until
then nothing wrong is called verified. With the clock handed in; over OpenSSH's sftp-server."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from clocks import Clock
from edits import EDITS, NAMES, edited_run, poke
from pairs import OLD, RUN, grow, live, make_run, mirror, pair, root, settle, tree, write  # noqa: F401 (fixtures)

from runicorn import manifest
from runicorn.metrics.column_file import File
from runicorn.mirror import remote_index
from runicorn.reader.catalog import Catalog

KEY = "gpu:vision/resnet50/20250123_180000_abc123"
CASES = [(edit, status) for edit in EDITS for status in ("finished", "running")]


class Judge:
    """What the pages say of the one run, against what is true."""

    def __init__(self, one, root, tmp_path):
        self.one, self.root = one, root
        self.reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])

    def is_same(self):
        here, there = tree(self.one.mirror), tree(self.root)
        return all(here.get(name) == data for name, data in there.items()), here.keys() - there.keys()

    def verified(self):
        self.reader.refresh()
        run = self.reader.run(KEY)
        return run["verified"], run["verified_at"]

    def check(self, since):
        """Nothing wrong may be called verified since."""
        verified, at = self.verified()
        assert not verified or at < since or self.is_same() == (
            True, set()), "called verified, and it is wrong"
        return verified and at >= since


@pytest.mark.few("same size in place-finished-exec", "deleted-finished-exec", 3)
@pytest.mark.parametrize("source", ["exec", "manifest", "sftp"])
@pytest.mark.parametrize("edit, status", CASES)
def test_an_edit_is_found_in_time_and_nothing_wrong_is_called_verified(
        root, tmp_path, pair, source, status, edit):
    run = edited_run(root, status)
    if source == "manifest":
        manifest.generate(str(root))
    one = pair(source)
    judge = Judge(one, root, tmp_path)
    one.passes()
    one.passes(31)
    assert judge.is_same() == (True, set()) and judge.verified()[0] is True
    one.now += 5
    edited = one.now
    EDITS[edit](run)
    if edit not in NAMES:
        os.utime(run, (OLD, OLD))  # the folder shows nothing
    for _ in range(2):
        one.sync.one_pass(one.now)
        judge.check(edited)
        one.now += 1
    if source == "manifest":
        manifest.generate(str(root))
    # what was read within two seconds of its change is read once more
    for seconds in [5] * 14 + [31, 31, 31]:
        one.passes(seconds)
        settle(one)
        judge.check(edited)
    same, stayed = judge.is_same()
    assert same and stayed == ({f"{RUN}/logs.txt"} if edit == "deleted" else set())
    assert judge.check(edited) is (edit != "deleted")


@pytest.mark.long
@pytest.mark.few("sftp-within a second")
@pytest.mark.parametrize("within", [True, False], ids=["within a second", "over minutes"])
@pytest.mark.parametrize("source", ["exec", "manifest", "sftp"])
def test_an_edit_of_a_log_that_never_rests_is_found_and_before_that_not_verified(
        root, tmp_path, pair, source, within):
    """Appended to between any two looks, it shows but a larger size and a later time. By exec its hash is
    asked for every ten minutes; else it is read again once it rests, or its run ends. Within one second of
    the system's clock our copy has the time of the server's."""
    run = edited_run(root, "running")
    one = pair(source)
    judge = Judge(one, root, tmp_path)
    one.passes()
    one.passes(31)
    assert judge.verified()[0] is True
    poke(run / "events.jsonl", 30)
    edited, found = one.now, None
    for turn in range(130):
        grow(run / "events.jsonl")
        if not within:
            os.utime(run / "events.jsonl", (one.now, one.now))
        if source == "manifest" and turn % 10 == 0:
            manifest.generate(str(root))
        one.passes(6)
        settle(one)
        judge.check(edited)
        if found is None and judge.is_same()[0]:
            found = one.now - edited
    assert source != "exec" or found is not None and found <= 660
    for seconds in [6] * 25:
        # told anew: it is spared by the system's clock, which hardly moves here
        one.sync._remote_root.recheck._told_at = 0.0
        one.passes(seconds)
        settle(one)
        judge.check(edited)
    assert judge.is_same() == (True, set())
    assert judge.check(edited) or source == "manifest"


@pytest.mark.few("exec")
@pytest.mark.parametrize("source", ["exec", "sftp"])
def test_a_row_that_a_server_s_clock_does_not_show_is_verified_once_its_log_rests(
        root, tmp_path, pair, source):
    """The tail took the row, the mtime stayed, as on disks of coarse times, and so no listing shows anything
    new after it."""
    run = edited_run(root, "running")
    one = pair(source)
    one.bell.look({"runs"})
    judge = Judge(one, root, tmp_path)
    one.passes()
    second = int(one.now) + 31
    for pauses in ((31, 31, 31, 31), (1,)):
        grow(run / "events.jsonl")
        os.utime(run / "events.jsonl", (second, second))
        for pause in pauses:
            one.passes(pause)
            settle(one)
    assert judge.is_same() == (True, set()) and judge.verified()[0] is False
    grown = one.now
    for _ in range(4):
        one.sync._remote_root.recheck._told_at = 0.0
        one.passes(31)
        settle(one)
    assert judge.check(grown)


def second_begun():
    """Wait until the system's clock shows the beginning of a second: what follows lies within it."""
    time.sleep(1.0 - time.time() % 1.0 + 0.02)


FILES = ["events.jsonl", "logs.txt", "system.jsonl", "events.rank1.jsonl", "notes.md", "checkpoints/last.pt",
         "summary.json"]


def rewrite(path):
    """Rewrite a file in the middle, to the same size, its last 4 KiB kept."""
    data = path.read_bytes()
    middle = len(data) // 3
    path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:])


@pytest.mark.few(1)
@pytest.mark.parametrize("status", ["finished", "running"])
@pytest.mark.parametrize("name", FILES)
def test_by_sftp_an_edit_within_the_second_of_what_was_read_is_found_and_before_that_not_verified(
        root, tmp_path, pair, name, status):
    """The server shows the same size and mtime before and after."""
    run = edited_run(root, status)
    write(run / "system.jsonl", b'{"ts":1,"data":{"cpu":5}}\n' * 400, OLD)
    write(run / "notes.md", b"what I tried\n" * 100, OLD)
    one = pair()
    judge = Judge(one, root, tmp_path)
    one.passes()
    one.passes(31)
    assert judge.verified()[0] is True
    second_begun()
    data = (run / name).read_bytes()
    (run / name).write_bytes(data + b" \n" if name == "summary.json" else data + data[-30:])
    before = (run / name).stat()
    for _ in range(80):                     # it is looked at in its turn, in handed time, within this second
        one.now += 1
        one.sync.one_pass(one.now)
        if ((one.mirror / RUN / name).read_bytes() == (run / name).read_bytes()
            and not one.sync._remote_root.queue.left):
            break
    rewrite(run / name)
    # as within the same second, on a machine of any speed
    os.utime(run / name, (before.st_mtime, before.st_mtime))
    edited = one.now
    for seconds in [0.5, 0.5] + [5] * 14 + [31] * 3:
        one.passes(seconds)
        judge.check(edited)
    assert judge.is_same() == (True, set()) and judge.check(edited)


def test_a_log_that_grows_is_not_read_again_until_it_rests_and_then_once(root, tmp_path, pair):
    run = edited_run(root, "running")
    one = pair()
    judge = Judge(one, root, tmp_path)
    one.passes()
    one.passes(31)
    size = (run / "events.jsonl").stat().st_size
    before = one.far.bytes_received
    for number in range(20):
        grow(run / "events.jsonl")
        os.utime(run / "events.jsonl", (time.time() + 6 * number,) * 2)
        one.passes(6)
    assert one.far.bytes_received - before < size, "its end only"
    assert judge.verified()[0] is False and judge.is_same() == (True, set())
    before = one.far.bytes_received
    for _ in range(4):
        one.passes(31)
    assert judge.verified()[0] is True and size < one.far.bytes_received - before < 2 * size
    before = one.far.bytes_received
    for _ in range(4):
        one.passes(31)
    assert one.far.bytes_received - before < 10_000, "and never again"


def test_what_an_earlier_session_read_too_early_is_read_again_by_the_next_one(root, tmp_path, pair):
    run = edited_run(root, "finished")
    second_begun()
    grow(run / "events.jsonl")
    first = pair()
    first.passes()
    rewrite(run / "events.jsonl")
    judge = Judge(first, root, tmp_path)
    assert judge.verified()[0] is False
    first.close()
    next_one = pair()
    next_one.passes(3)
    judge = Judge(next_one, root, tmp_path)
    assert judge.is_same() == (True, set()) and judge.verified()[0] is True


def cut_in_the_middle(pair, run, name, source="sftp"):
    """Have a file of 12 MB come to about a half, and hang up; returns how many bytes of it came."""
    write(run / name, os.urandom(12 << 20), OLD)
    os.utime(run, (OLD, OLD))
    first = pair(source, budget=2 << 20, large=True)
    for _ in range(400):
        first.sync.one_pass(first.now)
        first.now += 2
        came = max((path.stat().st_size for path in first.mirror.rglob("*") if path.is_file()), default=0)
        if came > 3 << 20:
            break
    first.close()
    assert 3 << 20 < came < 9 << 20
    return came


@pytest.mark.few("sftp-last.pt")
@pytest.mark.parametrize("name", ["logs.txt", "last.pt"])
@pytest.mark.parametrize("source", ["sftp", "exec"])
def test_a_first_fetch_that_was_cut_goes_on_in_the_next_session_and_is_read_once(
        root, tmp_path, pair, source, name):
    run = edited_run(root, "finished")
    came = cut_in_the_middle(pair, run, name, source)
    one = pair(source, large=True)
    for _ in range(6):
        one.passes(31)
        settle(one)
    judge = Judge(one, root, tmp_path)
    assert judge.is_same() == (True, set()) and judge.verified()[0] is True
    assert one.far.bytes_received < (12 << 20) - came + 500_000


def test_the_progress_of_a_fetch_that_goes_on_after_a_cut_counts_what_is_here_and_its_rate_does_not(
        root, pair, monkeypatch):
    run = edited_run(root, "finished")
    came = cut_in_the_middle(pair, run, "last.pt")
    one = pair(budget=2 << 20, large=True)
    told, clock = [], Clock()
    monkeypatch.setattr("runicorn.mirror.progress.time", SimpleNamespace(monotonic=clock))
    for _ in range(200):
        one.sync.one_pass(one.now)
        one.now += 2
        clock.now += 60              # the budget is one of bytes a minute
        progress = one.sync.state()["progress"]
        if progress is None and told:
            break
        told += [progress] if progress and progress["bytes_done"] > 1 << 20 else []
    assert len(told) > 2 and came - 1000 <= told[0]["bytes_done"] <= told[0]["bytes_total"] < 13 << 20
    done = [progress["bytes_done"] for progress in told]
    assert done == sorted(done) and max(done) <= told[0]["bytes_total"]
    assert [progress["rate"] for progress in told if progress["rate"] > (2 << 20) / 60 * 1.2] == []


@pytest.mark.few("rewritten")
@pytest.mark.parametrize("edit", ["grown", "rewritten", "touched"])
def test_a_first_fetch_that_was_cut_is_not_believed_where_the_file_changed_meanwhile(
        root, tmp_path, pair, edit):
    run = edited_run(root, "finished")
    cut_in_the_middle(pair, run, "logs.txt")
    if edit == "grown":
        grow(run / "logs.txt", b"more\n")
    elif edit == "rewritten":
        poke(run / "logs.txt", 40_000)
    os.utime(run / "logs.txt", (OLD + 50, OLD + 50))
    one = pair(large=True)
    judge = Judge(one, root, tmp_path)
    for _ in range(6):
        one.passes(31)
        judge.check(0)
    assert judge.is_same() == (True, set()) and judge.check(0)


def test_a_disk_with_times_of_two_seconds_ends_too(root, tmp_path, pair):
    """As FAT has them: the mtime stays for up to two seconds of changes."""
    run = edited_run(root, "finished")
    one = pair()
    judge = Judge(one, root, tmp_path)
    one.passes()
    one.passes(31)
    even = int(time.time()) // 2 * 2
    grow(run / "events.jsonl")
    os.utime(run / "events.jsonl", (even, even))
    one.sync.sync_now()
    one.passes(1)
    rewrite(run / "events.jsonl")
    os.utime(run / "events.jsonl", (even, even))
    assert judge.verified()[0] is False
    for seconds in [3] + [31] * 3:
        one.passes(seconds)
    assert judge.is_same() == (True, set()) and judge.verified()[0] is True
    before = one.far.bytes_received
    one.passes(31)
    one.passes(31)
    assert one.far.bytes_received - before < 10_000


def test_by_exec_the_servers_clock_tells_what_is_settled_at_the_first_look(root, tmp_path, pair):
    run = edited_run(root, "finished")
    for path in run.rglob("*.*"):
        os.utime(path, (time.time() - 5,) * 2)
    one = pair("exec")
    one.passes()
    assert one.sync.state()["source"] == "exec" and Judge(one, root, tmp_path).verified()[0] is True


def test_by_exec_what_went_or_came_without_a_time_of_now_is_found(root, tmp_path, pair):
    """A file that is deleted, or a folder moved here, leaves every file's times as they were."""
    run = edited_run(root, "finished")
    kept = make_run(tmp_path / "aside", "p/n/runs/20250124_180000_abc124")
    one = pair("exec")
    judge = Judge(one, root, tmp_path)
    one.passes()
    time.sleep(manifest.SETTLED + 0.5)      # of the server's clock, which no test hands in
    for _ in range(2):
        one.passes(31)
        settle(one)
        one.passes(6)
    edited = one.now
    (run / "checkpoints" / "last.pt").unlink()
    (root / "p/n/runs").mkdir(parents=True)
    kept.rename(root / "p/n/runs/20250124_180000_abc124")
    for folder in (run / "checkpoints", run):
        os.utime(folder, (OLD, OLD))
    for _ in range(4):        # the next look waits for 30 times what the last one took
        one.passes(31)
        settle(one)
        one.passes(6)
    assert "checkpoints/last.pt" not in one.sync._remote_root.index.entry(RUN)["files"]
    assert judge.is_same() == (True, {f"{RUN}/checkpoints/last.pt"}) and judge.verified()[1] >= edited
    assert one.sync._remote_root.list._exec.stamps.keys() == {RUN, "p/n/runs/20250124_180000_abc124"}


def test_a_manifest_of_an_older_server_copy_is_a_hint_only(root, tmp_path, pair):
    """Such a line says neither when its files changed nor what was looked at: it is listed with, and proves
    nothing."""
    run = edited_run(root, "finished")
    manifest.generate(str(root))
    place = root / ".runicorn" / "full_manifest.json"
    older = re.sub(rb'"stamp": "[0-9a-f]{16}", "changed": [0-9.]+, ', b"", place.read_bytes())
    assert older != place.read_bytes()
    place.write_bytes(older)
    one = pair()
    judge = Judge(one, root, tmp_path)
    one.passes()
    assert one.sync.state()["source"] == "manifest" and judge.is_same() == (True, set())
    one.now += 5
    edited = one.now
    poke(run / "events.jsonl", 40_000)
    os.utime(run, (OLD, OLD))
    place.write_bytes(older)
    # made anew by the older copy, which took the finished run over unseen
    os.utime(place, (edited + 5, edited + 5))
    for _ in range(3):
        one.passes(5)
        judge.check(edited)
    for seconds in [5] * 14 + [31]:
        one.passes(seconds)
        judge.check(edited)
    assert judge.is_same() == (True, set()) and judge.check(edited)


def older_root(root):
    """The golden runs with the manifest that an older server copy made of them; returns that (Path)."""
    golden = Path(__file__).parents[1] / "golden"
    shutil.copytree(golden / "root", root, dirs_exist_ok=True)
    place = root / ".runicorn" / "full_manifest.json"
    place.parent.mkdir()
    shutil.copy(golden / "full_manifest.older.json", place)
    recorded = manifest.load(place)
    for path in recorded.paths():
        for name, file in recorded.entry(path)["files"].items():
            os.utime(root / path / name, (file["mtime"], file["mtime"]))
        os.utime(root / path, (recorded.entry(path)["mtime"],) * 2)
    return place


@pytest.mark.long
def test_a_recorded_manifest_of_an_older_server_copy_is_read_whole_and_proves_nothing(root, tmp_path, pair):
    place = older_root(root)
    recorded = manifest.load(place)
    assert recorded.paths() == sorted(str(path.relative_to(root)) for path in root.glob("*/*/runs/*"))
    assert [path for path in recorded.paths()
            if recorded.mended(path)[1] or remote_index.is_proof(recorded.line(path))] == []
    path = "vision/resnet50/runs/20250123_180000_abc123"
    stale = recorded.entry(path)
    poke(root / path / "events.jsonl", 30)      # since it was made, and as no folder shows
    os.utime(root / path, (stale["mtime"], stale["mtime"]))
    one = pair()
    judge = Judge(one, root, tmp_path)
    one.passes()
    assert one.sync.state()["source"] == "manifest" and one.sync.state()["runs"] == len(recorded)
    judge.check(0)
    for number in range(2):
        edited = one.now = one.now + 5
        poke(root / path / "logs.txt", 40 + number)
        # by the clock handed in: two edits are not of one second
        os.utime(root / path / "logs.txt", (edited, edited))
        os.utime(root / path, (stale["mtime"], stale["mtime"]))
        # looked, nothing new: as the older copy says of a run whose folder did not move
        os.utime(place, (edited, edited))
        for seconds in [5] * 14 + [31, 31]:
            one.passes(seconds)
            judge.check(edited)
        assert judge.is_same() == (True, set()) and judge.check(edited)


class Traced:
    """What a look opens and LSTATs of the files of runs, by strace."""

    def __init__(self, root, folder, previous=None):
        script = "import sys; sys.path.insert(0, sys.argv[1]); from runicorn import manifest; " \
                 "manifest.build(sys.argv[2], manifest.load(sys.argv[3]) if sys.argv[3] else None)"
        subprocess.run(["strace", "-f", "-y", "-o", folder / "trace", "-e", "trace=%%stat,openat,open",
                        sys.executable, "-c", script, str(Path(manifest.__file__).parent.parent), str(root),
                        str(previous or "")], check=True)
        lines = [line for line in (folder / "trace").read_text().splitlines()
                 if ".jsonl" in line or ".txt" in line or ".json\"" in line]
        lines = [line for line in lines if "/runs/" in line]
        self.opened = sum("open" in line.split("(")[0] for line in lines)
        self.looked = len(lines) - self.opened


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_look_at_what_did_not_change_lstats_each_file_once_and_opens_none(root, tmp_path):
    for number in range(20):
        make_run(root, f"p/n/runs/20250123_{180000 + number}_abc123")
    time.sleep(manifest.SETTLED + 0.1)
    manifest.generate(str(root))
    full = Traced(root, tmp_path)
    again = Traced(root, tmp_path, root / ".runicorn" / "full_manifest.json")
    assert (full.looked, full.opened) == (100, 100), "each of 5 files of 20 runs, once"
    assert (again.looked, again.opened) == (100, 0)


def test_an_open_page_and_the_column_cache_show_what_was_rewritten_to_the_same_size(root, tmp_path, pair):
    events = edited_run(root, "finished") / "events.jsonl"
    one = pair()
    one.passes()

    def opened():
        return File(str(one.mirror / RUN / "events.jsonl"), str(tmp_path / "columns"))

    def curve(file):
        more = file.look()
        while more:
            more = file.step()
        file.save()
        return file.table.where["loss"].columns["loss"].values.tolist()
    page = opened()
    assert curve(page) == [0.5] * 2000
    # inodes come back, sizes and last lines stay
    for number, value in enumerate((0.6, 0.7, 0.8, 0.9), 1):
        lines = events.read_bytes().splitlines(keepends=True)
        lines[1000] = re.sub(rb"0\.\d", b"%.1f" % value, lines[1000])
        write(events, b"".join(lines), mtime=OLD + 10 * number)
        one.sync.sync_now()
        one.passes(31)
        expected = [0.5] * 1000 + [value] + [0.5] * 999
        assert curve(opened()) == curve(page) == expected
