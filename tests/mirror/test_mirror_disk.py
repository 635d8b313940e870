"""Never wrong on this disk: names it can't tell apart, files that vanish under our hands, what is left of a
transfer that was cut."""

import errno
import json
import os
import random
import shutil
from pathlib import Path

import pytest
from odd_files import KINDS, put
from pairs import RUN, Pair, grow, here, live, make_run, mirror, pair, root, tree, write  # noqa: F401 (fixtures)
from refusals import (
    LONG,
    ONE_FILE,
    Refusals,
    Refusing,
    giant,
    refusing,  # noqa: F401 (fixture)
)

from runicorn import disk, layout, left_out, manifest
from runicorn.errors import DeniedError
from runicorn.mirror import local_copy, quota, room
from runicorn.reader.mirror_source import MirrorSource
from runicorn.ssh import sftp
from runicorn.viewer import run_files

OTHER = "vision/resnet50/runs/20250124_180000_abc124"


@pytest.fixture
def caseless(monkeypatch):
    """A disk that ignores case, as far as the mirror can see."""
    monkeypatch.setattr(local_copy.LocalCopy, "ignores_case", True)


def contents(folder):
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def twins(run, names):
    for number, name in enumerate(names):
        # as large, and as old: only the place tells them apart
        write(run / name, b"%03d" % number * 1000, mtime=1_000_000_000)


TWINS = ("last.pt", "LAST.pt", "Last.pt", "media/a.png", "Media/a.png", "EVENTS.jsonl")


def test_a_disk_that_knows_case_mirrors_twins_as_they_are(root, pair):
    twins(make_run(root), TWINS)
    one = pair()
    one.passes()
    one.same()


def test_on_a_disk_that_ignores_case_the_later_twins_are_escaped(root, pair, caseless):
    run = make_run(root)
    twins(run, TWINS)
    one = pair()
    one.passes()
    names = here(one)
    assert len({name.casefold() for name in names}) == len(names) == len(TWINS) + 5
    assert contents(one.mirror / RUN) == contents(run)
    assert {"LAST.pt", "Media/a.png", "events.jsonl"} <= set(names) and "last.pt" not in names
    assert "EVENTS.jsonl" not in names
    before = {path: path.stat().st_ino for path in (one.mirror / RUN).rglob("*")}
    one.passes(700)
    one.passes(31)
    assert {path: path.stat().st_ino for path in (one.mirror / RUN).rglob("*")} == before, "known to be here"


def test_a_twin_that_comes_later_never_passes_for_the_one_that_is_here(root, pair, caseless):
    run = make_run(root)
    twins(run, ["readme"])
    one = pair()
    one.passes()
    assert "readme" in here(one)
    write(run / "README", b"other" * 600, mtime=1_000_000_000)
    held = one.mirror / RUN
    os.rename(held / "readme", held / "README")  # on such a disk this is one file
    one.passes(700)
    one.passes(31)
    assert (held / "README").read_bytes() == (run / "README").read_bytes()
    assert contents(held) == contents(run)


def lie_apart(one):
    """Return {run path: where it lies}; no two of them, and nothing else of the mirror, are one place to such
    a disk."""
    places = {path: os.path.dirname(one.sync.mirror.place(path, "meta.json"))
              for path in one.sync.mirror.load_index().paths()}
    assert len({place.casefold() for place in places.values()}) == len(places)
    return places


@pytest.mark.parametrize("other",
                         ["P/n/runs/20250124_180000_abc124", "p/N/runs/20250124_180000_abc124",
                          "p/n/runs/20250124_180000_ABC124"])
def test_two_runs_that_such_a_disk_takes_for_one_are_both_mirrored(root, pair, caseless, other):
    path = "p/n/runs/20250124_180000_abc124"
    make_run(root, path, status="running", rows=50, old=False)
    make_run(root, other, status="running", rows=70, old=False)
    live(root, path)
    one = pair()
    one.bell.look({"runs"})
    one.passes()
    for _ in range(3):
        one.passes(1)
    places = lie_apart(one)
    assert set(places) == {path, other}
    assert all(contents(Path(places[run])) == contents(root / run) for run in places)
    assert one.sync.state()["state"] == "live" and one.sync.state()["runs"] == 2
    source = MirrorSource("gpu", one.mirror)
    source.refresh(None)
    assert {run: os.fspath(source.run_folder(run)) for run in places} == places


def test_who_was_here_first_keeps_its_place_whoever_is_looked_at_first(root, pair, caseless):
    path = "p/n/runs/20250124_180000_zzz"
    make_run(root, path, rows=50)
    one = pair()
    one.passes()
    first = lie_apart(one)[path]
    for run_id in ("20250124_180000_ZZZ", "20250124_180000_Zzz"):
        make_run(root, f"p/n/runs/{run_id}", rows=70)
        one.sync.mirror.unlock()
        one.sync.mirror.lock()          # as the next process does
        one.sync.mirror.place(f"p/n/runs/{run_id}", "meta.json")
        one.passes(700)
        one.passes(31)
        places = lie_apart(one)
        assert places[path] == first
        assert all(contents(Path(places[run])) == contents(root / run) for run in places)
    assert len(places) == 3
    quota.drop_run(one.mirror, "p/n/runs/20250124_180000_ZZZ")
    assert contents(Path(first)) == contents(root / path)


@pytest.fixture
def impatient(monkeypatch):
    """What readers hold open on Windows is given up at once, for tests in which they hold it for longer than
    anybody waits."""
    for module in (manifest, disk):
        monkeypatch.setattr(module, "patiently", lambda act, *names, seconds=0: act(*names))


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["full.json", "live.json"])
@pytest.mark.parametrize("count, state", [(2, "live"), (10**9, "paused")])
def test_a_record_that_readers_keep_open_for_long_pauses_nothing_unless_they_go_on(
        root, pair, monkeypatch, impatient, name, count, state):
    run = make_run(root, rows=50)
    one = pair()
    one.passes()
    refusals = Refusals(monkeypatch, "replace", count, 32, only=f".index{os.sep}{name}")
    states = set()
    for number in range(20):
        write(run / f"{number}.txt", b"new")
        for seconds in (700, 31):
            one.passes(seconds)
            states.add(one.sync.state()["state"])
    assert refusals.tries > 2 and ("paused" in states) == (state == "paused"), states
    told = (manifest.load(one.mirror / ".index" / "full.json").entry(RUN)["files"] if name == "full.json"
            else None)
    assert (told is None or any(path.endswith(".txt") and path != "logs.txt" for path in told)
            == (state == "live"))


def refused(act, name):
    """Return the method `act` of a Mirror, which for one file of a run says that this disk does not take
    it."""
    def call(mirror, path, file, *more):
        if file == name:
            raise PermissionError(errno.EACCES, "Permission denied", file)
        return act(mirror, path, file, *more)
    return call


@pytest.mark.few(3)
@pytest.mark.parametrize("name, count", [
    ("source.json", 2), ("probe", 2), ("left_out.json", 2), ("meta.json", 1), ("meta.json", 3),
    ("summary.json", 1)])
def test_nothing_that_is_replaced_in_a_mirror_pauses_it_while_a_reader_has_it_open(
        root, pair, monkeypatch, impatient, name, count):
    run = make_run(root, rows=50)
    monkeypatch.setattr(local_copy.LocalCopy, "replace", refused(local_copy.LocalCopy.replace, "logs.txt"))
    one = pair()
    refusals = Refusals(monkeypatch, "replace", count, 5, only=f"{os.sep}{name}")
    states, small = [], ["meta.json", "status.json", "summary.json"]
    for _ in range(8):
        one.passes(31)
        states.append(one.sync.state()["reason"]["code"])
    assert refusals.tries > count and "disk" not in states and states[-1].startswith("live"), (
        states, refusals.tries)
    assert [(one.mirror / RUN / file).read_bytes() for file in small] == [
        (run / file).read_bytes() for file in small]
    assert list(layout.read_json(one.mirror / ".index" / "left_out.json")["runs"][RUN]) == ["logs.txt"]


class Meanwhile(sftp.Sftp):
    """Does something here while the server's answer to a READ is on its way."""

    then = None

    def ask(self, request, done):
        if request.kind == sftp.READ and self.then:
            return super().ask(request, lambda data: (self._once(), done(data)))
        return super().ask(request, done)

    def _once(self):
        then, self.then = self.then, None
        if then:
            then()


def deleting(one, file):
    """Let `file` of the mirror be deleted while bytes for it are on their way."""
    session = one.far.sessions[0]
    session.__class__ = Meanwhile
    session.then = (one.mirror / file).unlink


def test_a_tail_that_comes_for_a_file_deleted_meanwhile_makes_no_wrong_one(root, pair):
    run = make_run(root, status="running", rows=2000, old=False)
    live(root)
    one = pair()
    one.bell.look({"runs"})
    one.passes()
    one.passes(1)
    deleting(one, f"{RUN}/events.jsonl")
    grow(run / "events.jsonl")
    one.sync.one_pass(one.now + 1)
    held = tree(one.mirror).get(f"{RUN}/events.jsonl", b"")
    assert tree(root)[f"{RUN}/events.jsonl"].startswith(held)
    one.passes(31)
    one.same()


def test_a_file_deleted_in_the_moment_it_arrives_comes_again(root, pair, monkeypatch):
    make_run(root)
    arrived = local_copy.LocalCopy.replace

    def replace(self, path, name, data):
        arrived(self, path, name, data)
        if name == "logs.txt":
            monkeypatch.undo()
            os.unlink(self.place(path, name))

    monkeypatch.setattr(local_copy.LocalCopy, "replace", replace)
    one = pair()
    one.passes()
    one.passes(31)
    one.same()


def test_a_part_that_is_of_no_more_use_is_cleared_away(root, pair, monkeypatch):
    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.0)
    run = make_run(root)
    write(run / "weights.pt", random.Random(1).randbytes(3_000_000))
    one = pair(large=True)
    parts = one.mirror / ".index" / "parts"
    for _ in range(200):
        one.sync.one_pass(one.now)
        if parts.exists() and any(part.stat().st_size for part in parts.iterdir()):
            break
    one.sync.pause()
    one.passes()
    write(run / "weights.pt", random.Random(2).randbytes(2_000_000))
    monkeypatch.undo()
    one.far = type(one.far)()
    one.sync.resume()
    one.passes()
    one.same()
    assert list(parts.iterdir()) == []


def test_it_is_cleared_away_also_where_the_last_file_came_while_the_line_was_asked_for_other_things(
        root, pair, monkeypatch):
    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.0)
    write(make_run(root) / "weights.pt", random.Random(1).randbytes(3_000_000))
    one = pair(large=True)
    parts = one.mirror / ".index" / "parts"
    for _ in range(200):
        one.sync.one_pass(one.now)
        if parts.exists() and any(part.stat().st_size > 4096 for part in parts.iterdir()):
            break
    session = one.sync._remote_root
    for _ in range(200):
        session.client.lstat(session.root)
    assert session.queue.left == 0 and list(parts.iterdir()) != []
    one.passes()
    one.same()
    assert list(parts.iterdir()) == []


# -- what this disk does not take ----------------------------------------------------------------------------

WHOLE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def left_out_of(one, run=RUN):
    return left_out.read(one.mirror).get(run, {})


@pytest.mark.few(2)
@pytest.mark.parametrize("number", ONE_FILE, ids=errno.errorcode.get)
def test_a_file_this_disk_refuses_keeps_nothing_else_back(root, pair, refusing, monkeypatch, number):
    run = make_run(root)
    write(run / "odd.png", b"x" * 5000)
    other = make_run(root, "vision/resnet50/runs/20250124_180000_abc124")
    one = pair()
    one.sync.mirror = Refusing(one.mirror)
    monkeypatch.setattr(Refusing, "number", number)
    one.passes()
    one.passes(31)
    state = one.sync.state()
    assert (state["state"], state["reason"]["code"], state["reason"]["files"]) == ("live", "live_partly", 1)
    assert left_out_of(one)["odd.png"]["code"] == "disk"
    assert os.strerror(number) in left_out_of(one)["odd.png"]["text"]
    assert contents(one.mirror / RUN) == sorted(
        path.read_bytes() for path in run.iterdir() if path.name != "odd.png")
    assert contents(one.mirror / "vision/resnet50/runs/20250124_180000_abc124") == contents(other)
    monkeypatch.setattr(Refusing, "number", None)
    one.passes(31)
    one.same()
    assert left_out_of(one) == {} and one.sync.state()["reason"]["code"] == "live"


@pytest.mark.few(2)
def test_a_disk_that_is_full_when_the_mirror_is_taken_leaves_no_lock_behind(root, pair, monkeypatch):
    make_run(root)
    one, cut = pair(), os.ftruncate

    def refused(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "ftruncate", refused)
    assert one.passes() > 0 and one.sync.state()["reason"]["text"].endswith("No space left on device")
    monkeypatch.setattr(os, "ftruncate", cut)
    one.passes(10)
    one.same()


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_that_is_no_regular_file_is_named(root, pair, kind):
    make_run(root)
    one = pair()
    put(one.mirror / ".index" / "lock", kind)
    assert one.passes() > 0
    assert "can't be written" in one.sync.state()["reason"]["text"]


@pytest.mark.parametrize("number", WHOLE_DISK, ids=errno.errorcode.get)
def test_a_disk_that_takes_nothing_pauses_the_mirror(root, pair, refusing, monkeypatch, number):
    run = make_run(root)
    write(run / "odd.png", b"x" * 5000)
    one = pair()
    one.sync.mirror = Refusing(one.mirror)
    monkeypatch.setattr(Refusing, "number", number)
    for _ in range(5):
        one.sync.one_pass(one.now)
        if one.sync.state()["state"] == "paused":
            break
    assert one.sync.state()["reason"]["code"] == "disk"
    assert os.strerror(number) in one.sync.state()["reason"]["text"]
    monkeypatch.setattr(Refusing, "number", None)
    one.passes(61)
    one.same()


@pytest.mark.parametrize("folder", ["", "samples/", "图" * 80 + "/" + "n" * 250 + "/"],
                         ids=["in the run", "below", "in long folders"])
def test_long_names_come_and_stop_nothing(root, pair, folder):
    run = make_run(root)
    for number, name in enumerate(LONG):
        write_short(run / (folder + name), b"%d" % number * 3000)
    live(root)
    one = pair()
    one.passes()
    one.passes(31)
    assert contents(one.mirror / RUN) == contents(run) and one.sync.state()["reason"]["code"] == "live"
    before = {path: path.stat().st_ino for path in (one.mirror / RUN).rglob("*")}
    one.passes(700)
    assert {path: path.stat().st_ino for path in (one.mirror / RUN).rglob("*")} == before, "known to be here"
    indexed = one.sync._index.entry(RUN)["files"]
    listed, _ = run_files.listed(one.mirror / RUN, indexed, one.sync.mirror.local_names(RUN, indexed))
    assert [file["name"] for file in listed] == sorted(indexed)
    assert [file["name"] for file in listed if not file["here"]] == []


def write_short(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.mark.parametrize("large", [3000, 3_000_000], ids=["small", "in parts"])
def test_a_file_that_became_a_folder_and_back(root, pair, large):
    run = make_run(root)
    write(run / "thing", b"a" * large, mtime=1_000_000_000)
    one = pair(large=True)
    one.passes()
    one.same()
    (run / "thing").unlink()
    write(run / "thing/inner/deep.bin", b"b" * large, mtime=1_000_000_000)
    one.passes(61)
    one.passes(31)
    held = one.mirror / RUN
    assert (held / "thing/inner/deep.bin").read_bytes() == b"b" * large
    assert (held / "thing~1").read_bytes() == b"a" * large, "what was here stays here"
    shutil.rmtree(run / "thing")
    write(run / "thing", b"c" * large, mtime=1_000_000_001)
    one.passes(700)
    one.passes(31)
    assert (held / "thing").read_bytes() == b"c" * large
    assert (held / "thing~2/inner/deep.bin").read_bytes() == b"b" * large
    assert one.sync.state()["reason"]["code"] == "live"


def test_an_unreadable_file_is_named_and_comes_when_it_may(root, pair):
    """As root every mode is readable: the server's refusal is played by a session that answers so."""
    run = make_run(root, status="running", old=False)
    live(root)
    one = pair()
    Denying.denied = {f"{root}/{RUN}/events.jsonl"}
    one.far.client = lambda **options: Denying(one.far.stream(), timeout=10, **options)
    one.passes()
    one.passes(31)
    assert left_out_of(one)["events.jsonl"]["code"] == "denied"
    assert one.sync.state()["reason"]["code"] == "live_partly"
    assert (one.mirror / RUN / "logs.txt").exists()
    Denying.denied = set()
    one.passes(31)
    one.passes(31)
    one.same()
    assert (run / "events.jsonl").exists() and left_out_of(one) == {}


class Denying(sftp.Sftp):
    """A server that opens some files for nobody."""

    denied = set()

    def ask(self, request, done):
        if request.kind == sftp.OPEN and any(path.encode() in request.body for path in self.denied):
            return super().ask(request, lambda handle: done(DeniedError("permission denied", 3)))
        return super().ask(request, done)


# -- room ----------------------------------------------------------------------------------------------------


def bytes_in(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("status", ["finished", "running"])
def test_a_giant_stays_on_the_server_and_keeps_nothing_else_back(root, pair, status):
    run = make_run(root, status=status, old=status == "finished")
    giant(run / "logs.txt", 1 << 40)
    giant(run / "system.jsonl", 5_000_000)
    other = make_run(root, "vision/resnet50/runs/20250124_180000_abc124")
    if status == "running":
        live(root)
    one = pair(room=room.Room(root.parent / "near", lambda: 2_000_000,
                              lambda: bytes_in(one.mirror) if one.mirror.exists() else 0))
    one.bell.look({"runs"})
    one.passes()
    for _ in range(3 if status == "running" else 0):
        grow(run / "events.jsonl")
        one.passes(1)
    one.passes(31)
    assert bytes_in(one.mirror) < 2_000_000
    assert {name: why["code"] for name, why in left_out_of(one).items()} == {
        "logs.txt": "no_room", "system.jsonl": "no_room"}
    assert (one.mirror / RUN / "events.jsonl").read_bytes() == (run / "events.jsonl").read_bytes()
    assert contents(one.mirror / "vision/resnet50/runs/20250124_180000_abc124") == contents(other)
    assert not (one.mirror / RUN / "logs.txt").exists(), "no file with a hole"
    assert one.sync.state()["reason"]["code"] == "live_partly"


def test_a_log_that_outgrows_the_limit_stops_there_and_the_rest_goes_on(root, pair):
    run = make_run(root, status="running", old=False)
    live(root)
    one = pair(room=room.Room(root.parent / "near", lambda: 300_000,
                              lambda: bytes_in(one.mirror) if one.mirror.exists() else 0))
    one.bell.look({"runs"})
    one.passes()
    for _ in range(12):
        with open(run / "logs.txt", "ab") as file:
            file.write(b"[2025-01-23 18:30:45+0800] a long line of output\n" * 1000)
        grow(run / "events.jsonl")
        one.passes(1)
    one.passes(31)
    assert bytes_in(one.mirror) <= 320_000, "the index is small, and not asked for by anybody"
    held = (one.mirror / RUN / "logs.txt").read_bytes()
    assert len(held) > 100_000 and (run / "logs.txt").read_bytes().startswith(held)
    assert (one.mirror / RUN / "events.jsonl").read_bytes() == (run / "events.jsonl").read_bytes()
    assert left_out_of(one)["logs.txt"]["code"] == "no_room"
    one.sync._room._limit = lambda: 3_000_000
    one.passes(31)
    one.passes(31)
    one.same()


def test_at_the_limit_a_run_still_ends_and_others_are_asked_to_go_for_what_may_fit(root, pair):
    run = make_run(root, status="running", old=False)
    live(root)
    big = make_run(root, OTHER, status="running", old=False)
    write(big / "logs.txt", b"[2025-01-23 18:30:45+0800] a long line of output\n" * 3000)
    live(root, OTHER)
    limit = 200_000
    one = pair(room=room.Room(root.parent / "near", lambda: limit,
                              lambda: bytes_in(one.mirror) if one.mirror.exists() else 0))
    one.passes()
    write(run / "logs.txt", b"[2025-01-23 18:30:45+0800] a long line of output\n" * 2500)
    # more than the limit, for which nobody should go
    write(run / "system.jsonl", b'{"ts":1,"cpu":1}\n' * 20_000)
    one.passes(31)
    assert {name: why["code"] for name, why in left_out_of(one).items()} == {
        "logs.txt": "no_room", "system.jsonl": "no_room"}
    write(one.mirror / "filled", bytes(limit))
    one.sync._room.measure()
    write(big / "status.json",
          {"status": "finished", "exit_code": 0, "why": "it is done, with a line more than it had before"})
    one.passes(31)
    assert json.loads((one.mirror / OTHER / "status.json").read_text())["status"] == "finished"
    (one.mirror / "filled").unlink()
    one.sync._room.short()
    one.passes(31)
    assert 100_000 < one.sync._room.short() < 200_000, "for the log, not for what can't fit"
    (one.mirror / OTHER / "logs.txt").unlink()
    quota.mark_evicted(one.mirror, {OTHER: ["logs.txt"]})
    one.sync._room.measure()
    one.sync.room_was_made()
    one.passes(1)
    assert (one.mirror / RUN / "logs.txt").read_bytes() == (run / "logs.txt").read_bytes()


def test_what_another_process_cleans_is_room_within_a_minute(root, pair, monkeypatch):
    monkeypatch.setattr("runicorn.mirror.copies.MEASURED", 0.0)
    run = make_run(root)
    write(run / "sample.bin", bytes(100_000))
    one = pair(room=room.Room(root.parent / "near", lambda: 150_000,
                              lambda: bytes_in(one.mirror) if one.mirror.exists() else 0))
    write(one.mirror / "another", bytes(100_000))
    one.passes()
    assert left_out_of(one)["sample.bin"]["code"] == "no_room"
    (one.mirror / "another").unlink()
    one.passes(31)
    one.passes(31)
    one.same()


def test_the_reserve_of_the_disk_is_asked_before_every_file(root, pair, monkeypatch):
    run = make_run(root)
    for number in range(20):
        write(run / f"sample{number:02}.bin", b"s" * 100_000)
    one = pair()
    free = 1_000_000
    left = lambda folder: shutil._ntuple_diskusage(0, 0, room.RESERVE + free - bytes_in(one.mirror))  # noqa: E731
    monkeypatch.setattr(room.shutil, "disk_usage", left)
    one.passes()
    one.passes(31)
    assert 800_000 < bytes_in(one.mirror) < free and len(left_out_of(one)) >= 10
    free = 10_000_000
    one.passes(31)
    one.passes(31)
    one.same()


def test_the_bytes_of_a_file_count_as_they_come(root, pair, monkeypatch):
    run = make_run(root, status="running", old=False)
    write(run / "logs.txt", b"[2025-01-23 18:30:45+0800] a long line of output\n" * 800_000)
    live(root)
    one = pair()
    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.002)
    # so that it takes several passes on any machine
    monkeypatch.setattr("runicorn.ssh.sftp.IN_FLIGHT_BYTES", 1 << 20)
    monkeypatch.setattr("runicorn.mirror.fetcher.SMALLEST", 256 << 10)
    told, rung, copy = [], [], one.mirror / RUN / "logs.txt"
    monkeypatch.setattr(one.bell, "ring", rung.append)
    for _ in range(2000):
        one.sync.one_pass(one.now)
        progress = one.sync.state()["progress"]
        if not progress:
            break
        told.append((progress["bytes_done"], copy.stat().st_size if copy.exists() else 0))
    growing = [done for done, size in told if 0 < size < 39_000_000]
    assert len(growing) >= 3 and growing == sorted(growing)
    assert [done - size for done, size in told if done < size] == []
    assert rung.count(
        "run:gpu-server-1:vision/resnet50/20250123_180000_abc123") >= 3, "the page hears of a file that grows"


def failing(monkeypatch, name, number, fits):
    """Have os.`name` fail with an error `number` on paths that `fits`."""
    call = getattr(os, name)

    def fail(path, *rest, **more):
        if isinstance(path, (str, os.PathLike)) and fits(os.fspath(path)):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return call(path, *rest, **more)
    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("number", [*ONE_FILE, *WHOLE_DISK], ids=errno.errorcode.get)
def test_a_copy_that_may_not_be_dated_is_one_files_trouble(root, pair, monkeypatch, number):
    """It is somebody else's after a `sudo runicorn sync once`: it is not proven, and comes anew."""
    make_run(root)
    one = pair()
    one.passes()
    failing(monkeypatch, "utime", number, lambda path: path.endswith("logs.txt"))
    if number in WHOLE_DISK:
        with pytest.raises(OSError):
            one.sync.mirror.touch(RUN, "logs.txt", 1e9)
    else:
        assert not one.sync.mirror.touch(RUN, "logs.txt", 1e9)
    assert one.sync.mirror.touch(RUN, "events.jsonl", 1e9)


def test_a_folder_that_the_disk_could_not_show_for_a_moment_is_not_moved_out_of_the_way(root, pair,
                                                                                        monkeypatch):
    run = make_run(root, RUN, status="running")
    one = pair()
    one.passes()
    folder = str(one.mirror / RUN)
    failing(monkeypatch, "stat", errno.ESTALE, lambda path: path == folder)
    failing(monkeypatch, "open", errno.ESTALE, lambda path: path.startswith(folder))
    write(run / "summary.json", {"loss": 0.1})
    one.passes(31)
    monkeypatch.undo()
    for _ in range(3):
        one.passes(31)
    one.same()


def test_what_is_here_after_all_is_not_left_out_any_more(root, pair):
    make_run(root)
    one = pair()
    one.passes()
    file = one.sync._index.entry(RUN)["files"]["logs.txt"]
    one.sync._remote_root.queue.copies.leave_out((RUN, "logs.txt"), file, OSError(errno.EBUSY, "busy"))
    one.passes(31)
    assert one.sync.state()["reason"]["code"] == "live"
