"""Bundles carry exactly what is new, merge twice to the same, and refuse what could do harm; foreign runs
come in with their times."""

import gzip
import hashlib
import io
import json
import os
import re
import struct
import tarfile
import time
from pathlib import Path

import pytest
from small_runs import run_folder, write_run
from tfrecords import SCALARS, event, part, record, simple, varint

from runicorn import layout, manifest
from runicorn.cli import main as cli
from runicorn.errors import DataError, LayoutError, NotFoundError, UsageError
from runicorn.transfer import bundle as courier
from runicorn.transfer import importer, tensorboard
from runicorn.transfer.event_files import EventFiles

PATH = "vision/resnet50/runs/20250123_180000_abc123"


def write(root, name, data, path=PATH, mode="wb"):
    file = root / path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, mode) as out:
        out.write(data)
    return file


@pytest.fixture
def far(tmp_path):
    root = tmp_path / "far"
    run_folder(root, PATH, {
        "meta.json": {"id": "20250123_180000_abc123", "project": "vision", "name": "resnet50", "format": 1},
        "status.json": {"status": "running"}, "events.jsonl": '{"ts":1.0,"step":0,"data":{"loss":2.5}}\n',
        "media/1.png": b"\x89PNG"})
    return root


def carried(far, tmp_path, here=None, name="b.tar.gz"):
    there = courier.snapshot(far)
    report = courier.bundle(far, there, here, tmp_path / name)
    return there, report, tmp_path / name


def files(root):
    return {file.relative_to(root).as_posix(): file.read_bytes()
            for file in root.rglob("*") if file.is_file()}


def put(root, path, data, mtime):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    os.utime(root / path, (mtime, mtime))


EVENTS = tensorboard.opening(1.7e9) + b"".join(
    tensorboard.Scalars().record(1.7e9 + step, step, ("loss",), (0.5,)) for step in range(40))
TABLE = b"step,loss\n" + b"".join(b"%d,0.%d\n" % (step, step) for step in range(30))
WIDER = b"step,loss,acc\n" + b"".join(b"%d,0.%d,1\n" % (step, step) for step in range(40))
LINES = b"".join(b'{"step": %d, "loss": %d}\n' % (step, step) for step in range(30))
LOG = b"".join(b"step %d loss: %d.5\n" % (step, step) for step in range(30))


@pytest.mark.parametrize("name, before, after, appended", [
    ("tb/events.out.tfevents.1.gpu", EVENTS[:900], EVENTS, 1),
    ("lit/metrics.csv", TABLE, WIDER, 0), ("lit/metrics.csv", TABLE, TABLE + b"30,9\n", 1),
    ("lit/metrics.csv", WIDER, TABLE, 0), ("jl/metrics.jsonl", LINES, LINES.replace(b"loss", b"acc") * 3, 0),
    ("jl/metrics.jsonl", LINES, LINES * 2, 1),
    ("txt/train.log", LOG, b"again\n" + LOG * 2, 0), ("txt/train.log", LOG, LOG[:300], 0)])
def test_files_of_other_loggers_that_grew_or_were_written_anew_come_as_they_are(
        tmp_path, name, before, after, appended):
    there, near = tmp_path / "there", tmp_path / "near"
    put(there, name, before, 1.7e9)
    first, _, archive = carried(there, tmp_path)
    assert courier.take_in(archive, near)["put"] == 1
    put(there, name, after, 1.7e9 + 60)
    _, report, second = carried(there, tmp_path, first, "second.tar.gz")
    told = courier.take_in(second, near)
    assert report["files"] == 1
    assert (told["put"], told["appended"], told["problems"]) == (1 - appended, appended, [])
    assert files(near) == files(there)
    for older in (archive, second):                 # an old bundle again takes nothing back
        assert courier.take_in(older, near)["problems"] == [] and files(near) == files(there)


@pytest.mark.parametrize("name",
                         ["tb/events.out.tfevents.1.gpu", "p/offline-run-20240101_000000-a/run-a.wandb"])
def test_a_binary_log_that_was_written_anew_is_not_appended_to_another_beginning(tmp_path, name):
    there, near = tmp_path / "there", tmp_path / "near"
    put(there, name, EVENTS[:900] + b"\x12\x34", 1.7e9)
    first, _, archive = carried(there, tmp_path)
    courier.take_in(archive, near)
    put(there, name, EVENTS, 1.7e9 + 60)
    _, _, second = carried(there, tmp_path, first, "second.tar.gz")
    told = courier.take_in(second, near)
    assert told["clash"] == 1 and "--since all" in told["problems"][0]
    assert files(near)[name] == EVENTS[:900] + b"\x12\x34"
    *_, whole = carried(there, tmp_path, None, "whole.tar.gz")
    assert courier.take_in(whole, near)["problems"] == [] and files(near) == files(there)
    assert courier.take_in(archive, near)["problems"] == [] and files(near) == files(there)


def test_everything_comes_over_and_twice_changes_nothing(far, tmp_path):
    _, report, archive = carried(far, tmp_path)
    assert (report["files"], report["runs"]) == (4, 1)
    near = tmp_path / "near"
    assert courier.take_in(archive, near)["put"] == 4
    assert files(near) == files(far)
    assert (near / PATH / "events.jsonl").stat().st_mtime == (far / PATH / "events.jsonl").stat().st_mtime
    again = courier.take_in(archive, near)
    assert (again["unchanged"], again["put"], again["appended"], again["problems"]) == (4, 0, 0, [])


def test_the_second_bundle_holds_only_new_bytes(far, tmp_path):
    before, _, first = carried(far, tmp_path)
    write(far, "events.jsonl", b'{"ts":2.0,"step":1,"data":{"loss":2.0}}\n', mode="ab")
    write(far, "status.json", b'{"status": "finished"}')
    _, report, second = carried(far, tmp_path, before, "c.tar.gz")
    size = len(b'{"ts":2.0,"step":1,"data":{"loss":2.0}}\n') + len(b'{"status": "finished"}')
    assert report == {"files": 2, "runs": 1, "bytes": size, "problems": [], "incomplete": set()}
    near = tmp_path / "near"
    courier.take_in(first, near)
    assert courier.take_in(second, near)["appended"] == 1
    assert files(near) == files(far)
    assert courier.take_in(first, near)["problems"] == []       # an old bundle again takes nothing back
    assert files(near) == files(far)


def test_a_bundle_left_out_is_a_gap_and_is_said(far, tmp_path):
    before, *_ = carried(far, tmp_path)
    write(far, "events.jsonl", b'{"ts":2.0,"step":1,"data":{"loss":2.0}}\n', mode="ab")
    _, _, second = carried(far, tmp_path, before, "c.tar.gz")
    report = courier.take_in(second, tmp_path / "near")
    assert report["gap"] == 1 and "before this one" in report["problems"][0]
    assert not (tmp_path / "near" / PATH / "events.jsonl").exists()


def test_what_differs_here_is_left_alone(far, tmp_path):
    _, _, archive = carried(far, tmp_path)
    near = tmp_path / "near"
    mine = write(near, "events.jsonl", b'{"ts":9.0,"step":0,"data":{"mine":1}}\n')
    report = courier.take_in(archive, near)
    assert report["clash"] == 1 and mine.read_bytes().startswith(b'{"ts":9.0')


def test_a_cut_bundle_keeps_what_came_before_and_can_be_taken_again(far, tmp_path):
    write(far, "model.bin", os.urandom(300_000))
    _, _, archive = carried(far, tmp_path)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:-100_000])
    near = tmp_path / "near"
    with pytest.raises(DataError, match="copy it again"):
        courier.take_in(cut, near)
    assert (near / PATH / "meta.json").is_file() and not (near / PATH / "model.bin").exists()
    assert courier.take_in(archive, near)["problems"] == []
    assert files(near) == files(far)


def test_no_bundle_is_ever_written_over(far, tmp_path):
    carried(far, tmp_path)
    with pytest.raises(UsageError):
        carried(far, tmp_path)


# -- hostile archives ----------------------------------------------------------------------------------------

def replaced(root, name, data):
    """Replace a file as the writer does: another one, renamed over it."""
    os.replace(write(root, name + ".new", data), root / PATH / name)


def test_a_file_that_was_replaced_since_it_was_listed_comes_whole(far, tmp_path):
    there = courier.snapshot(far)
    replaced(far, "status.json", b'{"status": "finished", "ended_at": 1737655500.25}')
    replaced(far, "media/1.png", b"\x89PN")
    write(far, "events.jsonl", b'{"ts":2.0,"st', mode="ab")
    log = (far / PATH / "events.jsonl").read_bytes()
    report = courier.bundle(far, there, None, tmp_path / "b.tar.gz")
    assert (report["problems"], report["incomplete"]) == ([], set())
    taken = courier.take_in(tmp_path / "b.tar.gz", tmp_path / "near")
    assert (taken["put"], taken["problems"]) == (4, [])
    near = files(tmp_path / "near")
    assert near.pop(f"{PATH}/events.jsonl") == log[:-len(b'{"ts":2.0,"st')], "of a log what was listed"
    assert near == {name: data for name, data in files(far).items() if not name.endswith("events.jsonl")}
    for name in ("status.json", "media/1.png"):
        assert (tmp_path / "near" / PATH / name).stat().st_mtime == (far / PATH / name).stat().st_mtime


def test_a_log_that_is_another_one_than_was_listed_comes_with_the_next_bundle(far, tmp_path):
    there = courier.snapshot(far)
    replaced(far, "events.jsonl", b'{"ts":9.0,"step":0,"data":{"loss":9.5}}\n' * 3)
    (far / PATH / "media/1.png").unlink()
    report = courier.bundle(far, there, None, tmp_path / "b.tar.gz")
    assert report["incomplete"] == {(PATH, "events.jsonl"), (PATH, "media/1.png")} and report["files"] == 2
    assert courier.take_in(tmp_path / "b.tar.gz", tmp_path / "near")["problems"] == []
    courier.forget(there, report["incomplete"])
    write(far, "media/1.png", b"\x89PNG")
    manifest.save(there, tmp_path / "held.json")
    second = courier.bundle(far, courier.snapshot(far), manifest.load(tmp_path / "held.json"),
                            tmp_path / "c.tar.gz")
    assert second["files"] == 2, "the other files of the run are not packed again"
    courier.take_in(tmp_path / "c.tar.gz", tmp_path / "near")
    assert files(tmp_path / "near") == files(far)


@pytest.mark.parametrize("name", ["media/1.png", "events.jsonl"])
def test_a_file_that_is_cut_while_it_is_read_costs_no_other(far, tmp_path, monkeypatch, name):
    write(far, "zzz.bin", b"\1" * 9)
    write(far, name, os.urandom(300_000))
    there, add = courier.snapshot(far), tarfile.TarFile.addfile

    def cut_at(archive, member, reading=None):
        if member.size == 300_000:
            os.truncate(far / PATH / name, 5)
        add(archive, member, reading)
    monkeypatch.setattr(tarfile.TarFile, "addfile", cut_at)
    report = courier.bundle(far, there, None, tmp_path / "b.tar.gz")
    assert report["incomplete"] == {(PATH, name)}
    assert "was cut while it was read" in report["problems"][0]
    taken = courier.take_in(tmp_path / "b.tar.gz", tmp_path / "near")
    assert taken["put"] == 4 and name in taken["problems"][0]
    assert files(tmp_path / "near") == {
        path: data for path, data in files(far).items() if path != f"{PATH}/{name}"}


def hostile(tmp_path, members):
    """Write a bundle of [(TarInfo or name, bytes)] after a good head."""
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        for member, data in [("bundle.json", b'{"format":1,"kind":"runicorn bundle"}'), *members]:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive


def described(data, **changes):
    entry = {"path": PATH, "name": "x.txt", "offset": 0, "size": len(data), "mtime": 1.0, "whole": True,
             "sha256": hashlib.sha256(data).hexdigest()}
    return json.dumps({**entry, **changes}).encode()


@pytest.mark.parametrize("changes", [
    {"path": "../../etc/runs/x"}, {"path": "/etc/a/runs/x"}, {"path": "a/b/c/d", "name": "x.sh"},
    {"name": "../../../../out.txt"}, {"name": "/tmp/out.txt"}, {"name": "a\0b"},
    {"path": ".runicorn/live/runs/x"},
])
def test_a_path_that_leaves_the_root_is_refused(tmp_path, changes):
    archive = hostile(tmp_path, [("0", b"data"), ("0.json", described(b"data", **changes))])
    near = tmp_path / "deep" / "near"
    with pytest.raises((DataError, LayoutError)):
        courier.take_in(archive, near)
    assert files(tmp_path / "deep") == {}


@pytest.mark.parametrize("changes",
                         [{"sha256": "0" * 64}, {"size": 99}, {"offset": -4, "size": 0}, {"whole": "yes"},
                          {"mtime": None}])
def test_a_false_description_is_refused(tmp_path, changes):
    archive = hostile(tmp_path, [("0", b"data"), ("0.json", described(b"data", **changes))])
    with pytest.raises(DataError):
        courier.take_in(archive, tmp_path / "near")


@pytest.mark.parametrize("kind", [
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.DIRTYPE])
def test_a_member_that_is_no_plain_file_is_refused(tmp_path, kind):
    member = tarfile.TarInfo("0")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(DataError, match="refused"):
        courier.take_in(hostile(tmp_path, [(member, b"")]), tmp_path / "near")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    archive = hostile(tmp_path, [("0", b"\0" * 5_000_000)])
    assert archive.stat().st_size < 50_000
    with pytest.raises(DataError, match="--limit"):
        courier.take_in(archive, tmp_path / "near", limit=1_000_000)
    with pytest.raises(DataError):
        courier.take_in(hostile(tmp_path, [("0", b"x"), ("0.json", b" " * 2_000_000)]), tmp_path / "near")


def test_a_link_in_the_root_is_not_followed(tmp_path, far):
    _, _, archive = carried(far, tmp_path)
    near, outside = tmp_path / "near", tmp_path / "outside"
    outside.mkdir()
    near.mkdir()
    (near / "vision").symlink_to(outside)
    assert courier.take_in(archive, near)["clash"] == 4
    assert files(outside) == {}


@pytest.mark.parametrize("data", [b"", b"hello", gzip.compress(b"hello" * 1000), gzip.compress(b"\0" * 1024)],
                         ids=["nothing", "text", "text packed", "zeros packed"])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DataError):
        courier.take_in(tmp_path / "x", tmp_path / "near")


# -- the commands --------------------------------------------------------------------------------------------

def test_bundle_since_last_and_import(far, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bundle", "--since", "last", "--root", str(far), "-o", "one.tar.gz"]) == 0
    assert capsys.readouterr().out == "one.tar.gz\n"
    assert cli.main(["bundle", "--root", str(far), "-o", "two.tar.gz"]) == 0
    assert "nothing is new" in capsys.readouterr().err and not os.path.exists("two.tar.gz")
    write(far, "events.jsonl", b'{"ts":2.0,"step":1,"data":{"loss":2.0}}\n', mode="ab")
    assert cli.main(["bundle", "--root", str(far), "-o", "two.tar.gz"]) == 0
    assert cli.main(["import", "one.tar.gz", "--root", "near"]) == 0
    assert cli.main(["import", "two.tar.gz", "--root", "near"]) == 0
    assert files(tmp_path / "near") == files(far)
    assert cli.main(["bundle", "--since", "soon", "--root", str(far)]) == 2
    assert cli.main(["import", "three.tar.gz"]) == 2


# -- runs of other makes -------------------------------------------------------------------------------------


def tensor(tag, dtype, content):
    return (part(1, 2, tag.encode()) + part(8, 2, part(1, 0, varint(dtype)) + content)
            + part(9, 2, part(1, 2, SCALARS)))


def test_tensorboard_scalars_come_in_with_step_time_value_and_tag(tmp_path):
    logs = tmp_path / "logs" / "lr0.1"
    logs.mkdir(parents=True)
    (logs / "events.out.tfevents.1737653445.gpu").write_bytes(
        event(1737653445.25, 0, simple("loss", 0.1))
        + event(1737653446.5, 1, simple("loss", float("nan")), simple("acc", 0.5))
        + event(1737653447.5, 2, tensor("lr", 2, part(4, 2, struct.pack("<d", 1e-3))),
                tensor("n", 9, part(10, 0, varint(-3))))
        + event(1737653448.5, 3, part(1, 2, b"img") + part(4, 2, b"\x89PNG")) + b"torn")
    report = importer.take_in(tmp_path / "logs", tmp_path / "root")
    assert report == {"runs": 1, "new": 1, "points": 5, "skipped": 1, "damage": [], "problems": []}
    run, = (tmp_path / "root").glob("logs/lr0.1/runs/*")
    rows = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    single = struct.unpack("<f", struct.pack("<f", 0.1))[0]
    assert rows == [{"ts": 1737653445.25, "step": 0, "data": {"loss": single}},
                    {"ts": 1737653446.5, "step": 1, "data": {"loss": "NaN", "acc": 0.5}},
                    {"ts": 1737653447.5, "step": 2, "data": {"lr": 1e-3, "n": -3}}]
    assert json.loads((run / "meta.json").read_text())["created_at"] == 1737653445.25
    assert importer.take_in(tmp_path / "logs", tmp_path / "root")["new"] == 0
    with open(logs / "events.out.tfevents.1737653445.gpu", "r+b") as file:
        file.truncate(file.seek(0, 2) - 4)
        file.seek(0, 2)
        file.write(event(1737653449.5, 4, simple("loss", 0.25)))
    assert importer.take_in(tmp_path / "logs", tmp_path / "root")["new"] == 1
    assert len(list((tmp_path / "root").glob("*/*/runs/*"))) == 1


def test_a_tensorboard_log_has_the_same_id_in_every_time_zone(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.out.tfevents.1").write_bytes(event(1737653445.25, 0, simple("loss", 0.5)))
    try:
        for zone in ("UTC", "Asia/Shanghai", "America/Los_Angeles"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert importer.take_in(tmp_path / "logs", tmp_path / "root")["new"] == (zone == "UTC")
    finally:
        monkeypatch.undo()
        time.tzset()
    run, = (tmp_path / "root").glob("logs/run/runs/*")
    assert run.name.startswith("20250123_173045_")


@pytest.mark.parametrize("damaged", [
    b"\xff" * 12, struct.pack("<Q", 1 << 60) + b"\0" * 4, record(b"\x2a\xff\xff"),
    event(1.5, 1, simple("loss", 0.25))[:-1] + b"?"])
def test_what_is_damaged_in_a_log_is_said_and_what_follows_it_comes_in(tmp_path, damaged, capsys):
    (tmp_path / "logs").mkdir()
    around = event(1.5, 0, simple("loss", 0.5)), event(2.5, 2, simple("loss", 0.75))
    (tmp_path / "logs" / "events.out.tfevents.1").write_bytes(damaged.join(around))
    assert cli.main(["import", str(tmp_path / "logs"), "--root", str(tmp_path / "root")]) == 0
    said = capsys.readouterr()
    assert "1 runs, 1 of them new or grown, 2 points, 0 values" in said.out
    assert re.search(r"events\.out\.tfevents\.1: left out: 1 (damaged|unreadable) (records|heads)\n",
                     said.err)
    events, = (tmp_path / "root").glob("logs/run/runs/*/events.jsonl")
    assert [json.loads(line)["data"]["loss"] for line in events.read_text().splitlines()] == [0.5, 0.75]


def test_a_log_that_can_not_be_read_keeps_no_other_back(tmp_path, capsys):
    for place in ("a", "b"):
        (tmp_path / "logs" / place).mkdir(parents=True)
        (tmp_path / "logs" / place / "events.out.tfevents.1").write_bytes(event(1.5, 0, simple("loss", 0.5)))
    (tmp_path / "logs" / "a" / "events.out.tfevents.1").unlink()
    (tmp_path / "logs" / "a" / "events.out.tfevents.1").symlink_to(tmp_path / "gone")
    assert cli.main(["import", str(tmp_path / "logs"), "--root", str(tmp_path / "root")]) == 1
    assert "tfevents.1 can't be read: " in capsys.readouterr().err
    assert len(list((tmp_path / "root").glob("logs/b/runs/*"))) == 1


def test_what_only_bears_the_name_of_a_log_is_none(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "read_tfevents.py").write_bytes(b"import struct\n" * 100)
    (tmp_path / "._events.out.tfevents.1").write_bytes(b"\0\5\x16\7" + bytes(4092))
    assert not importer.holds_any(tmp_path)
    with pytest.raises(NotFoundError, match="neither"):
        importer.take_in(tmp_path, tmp_path / "root")


@pytest.mark.parametrize("place, meta, target", [
    ("cv/yolo/runs/20240101_000000_aaaaaa", {"id": "20240101_000000_aaaaaa", "project": "cv", "name": "yolo"},
     "cv/yolo"),
    ("runs/cv/yolo/v8/20240101_000000_aaaaaa", {"id": "20240101_000000_aaaaaa", "path": "cv/yolo/v8"},
     "cv/" + layout.slug("yolo/v8")),
    ("runs/20240101_000000_aaaaaa", {"id": "20240101_000000_aaaaaa", "path": ""}, "default/default"),
])
def test_folders_of_older_runicorns_come_in_as_they_are(tmp_path, place, meta, target):
    old = tmp_path / "old"
    write(old, "meta.json", json.dumps(meta).encode(), path=place)
    write(old, "events.jsonl", b'{"ts":1.0,"type":"metrics","data":{"loss":1.0,"global_step":3}}\n',
          path=place)
    write(old, "events.jsonl.lock", b"", path=place)
    write(old, "media/a.png", b"png", path=place)
    os.utime(old / place / "events.jsonl", (1_700_000_000, 1_700_000_000))
    assert cli.main(["import", str(old), "--root", str(tmp_path / "root")]) == 0
    run = tmp_path / "root" / target / "runs" / "20240101_000000_aaaaaa"
    assert sorted(files(run)) == ["events.jsonl", "media/a.png", "meta.json"]
    assert (run / "events.jsonl").stat().st_mtime == 1_700_000_000
    assert importer.take_in(old, tmp_path / "root")["new"] == 0


def imported(tmp_path, *logs):
    """Import event files made of the records in each of `logs`; return (rows of the events, meta, report)."""
    (tmp_path / "logs").mkdir()
    for number, records in enumerate(logs):
        (tmp_path / "logs" / f"events.out.tfevents.{number}").write_bytes(
            tensorboard.opening(1e9) + b"".join(records))
    report = importer.take_in(tmp_path / "logs", tmp_path / "root")
    run, = (tmp_path / "root").glob("logs/run/runs/*")
    rows = [json.loads(line, parse_constant=pytest.fail)
            for line in (run / "events.jsonl").read_text().splitlines()]
    return rows, json.loads((run / "meta.json").read_text()), report


def start(ts, step, status=1):
    session = tensorboard.message(7, tensorboard.integer(1, status))
    return tensorboard.record(tensorboard.double(1, ts) + tensorboard.integer(2, step) + session)


def points(ts, steps, value):
    return [event(ts + step, step, simple("loss", value)) for step in steps]


def test_points_that_a_later_start_purged_do_not_count(tmp_path):
    rows, _, report = imported(tmp_path,
                               points(1e9, range(10), 1.0) + [start(1e9 + 20, 8)]
                               + points(1e9 + 20, range(8, 12), 2.0),
                               [start(1e9 + 90, 5), *points(1e9 + 90, range(5, 7), 3.0)],
                               # a stop purges nothing
                               [start(1e9 + 99, 6, status=2), *points(1e9 + 99, [7], 4.0)])
    assert [(row["step"], row["data"]["loss"]) for row in rows] == [
        *((n, 1.0) for n in range(5)), (5, 3.0), (6, 3.0), (7, 4.0)]
    assert report["points"] == 8 and report["skipped"] == 0


def test_hyperparameters_become_the_config(tmp_path):
    config = {"lr": 0.1, "epochs": 10, "amp": True, "opt": "adam", "optimizer.betas": "[0.9, 0.999]",
              "名": "值"}
    rows, meta, report = imported(tmp_path,
                                  [*tensorboard.hparams(config, ["loss"], 1e9, None, "running"),
                                   *points(1e9, range(3), 1.0)])
    assert meta["config"] == config and type(meta["config"]["epochs"]) is int and len(rows) == 3
    assert report["skipped"] == 0


def test_times_that_no_calendar_has_cost_no_point(tmp_path):
    bad = [event(ts, step, simple("loss", 1.0))
           for step, ts in enumerate((1e9, float("nan"), float("inf"), -1e300, 1e19, 1e9 + 5))]
    rows, meta, _ = imported(tmp_path, bad)
    assert [row["ts"] for row in rows] == [1e9, 1e9, 1e9, 1e9, 1e9, 1e9 + 5]
    assert [row["step"] for row in rows] == list(range(6))
    assert meta["created_at"] == 1e9


def test_a_log_of_nothing_but_impossible_times_comes_in(tmp_path):
    rows, _, _ = imported(tmp_path, [event(float("nan"), 3, simple("loss", 1.0))])
    assert [(row["ts"], row["step"]) for row in rows] == [(0.0, 3)]


def test_a_folder_with_nothing_known_in_it_is_said_to_be_so(tmp_path):
    with pytest.raises(NotFoundError, match="neither"):
        importer.take_in(tmp_path, tmp_path / "root")


def test_what_we_export_to_tensorboard_comes_back_the_same(tmp_path):
    from runicorn.transfer import export
    from runicorn.transfer.rows import Rows
    golden = Path(__file__).parents[1] / "golden" / "root" / PATH
    logs = tmp_path / "logs"
    logs.mkdir()
    run = {"config": {"lr": 0.1}, "started": 1737653400.5, "ended": 1737653460.0, "state": "finished"}
    (logs / export.tensorboard_name(run)).write_bytes(b"".join(export.tensorboard(Rows(golden), run)))
    rows = [json.loads(line) for line in (golden / "events.jsonl").read_text().splitlines()]
    logged = [(row["ts"], row["step"], tag, value) for row in rows if "type" not in row
              for tag, value in row["data"].items()]
    back = [(ts, step, tag, value) for ts, step, data in EventFiles(logs.iterdir()).rows()
            for tag, value in data.items()]
    assert sorted(row[:3] for row in back) == sorted(row[:3] for row in logged)
    single = {row[:3]: struct.unpack("<f", struct.pack("<f", row[3]))[0] for row in logged}
    assert all(value == single[ts, step, tag] for ts, step, tag, value in back)


def test_a_file_that_can_not_be_stored_keeps_no_other_back(far, tmp_path):
    write(far, "thing/inner.bin", b"inner")
    write(far, "图" * 80 + ".png", b"a long name")
    write(far, "z.txt", b"the last one")
    os.utime(far / PATH / "status.json", (1e9, 1e9))
    _, _, archive = carried(far, tmp_path)
    near = tmp_path / "near"
    write(near, "thing", b"a file stands where the folder belongs")
    (near / PATH / "events.jsonl").mkdir()
    report = courier.take_in(archive, near)
    came = files(near)
    assert came[f"{PATH}/z.txt"] == b"the last one" and b"a long name" in came.values()
    assert came[f"{PATH}/media/1.png"] == b"\x89PNG"
    assert report["clash"] == 2 and report["put"] == 5
    refused = [problem.split(" can't be stored here: ")[0] for problem in report["problems"]]
    assert refused == [f"{PATH}/events.jsonl", f"{PATH}/thing/inner.bin"]


def test_a_time_beyond_all_clocks_costs_only_that_file(tmp_path):
    data = b"x"
    members = []
    for number, mtime in enumerate((1e19, 1.0)):
        members += [(str(number), data),
                    (f"{number}.json", described(data, name=f"{number}.bin", mtime=mtime))]
    members.append(("end.json", b'{"files": 2}'))
    report = courier.take_in(hostile(tmp_path, members), tmp_path / "near")
    assert report["put"] == 2 and len(report["problems"]) == 1 and "no time" in report["problems"][0]
    assert [(tmp_path / "near" / PATH / name).read_bytes() for name in ("0.bin", "1.bin")] == [data, data]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_disk_that_ignores_case_takes_in_no_run_over_another(tmp_path, monkeypatch, at_once):
    """Nor one in two bundles; the second is named, once, and what is here of the first stays whole."""
    known = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: ".IMPORT-" in os.fspath(path) or known(path))
    root, there = tmp_path / "far", tmp_path / "here"
    bundles = []
    for number, run_id in enumerate(("Twin", "tWIN")):
        write_run(root, "p", "n", run_id, metric=f"of/{run_id}")
        if not at_once or number:
            bundles.append(tmp_path / f"{number}.bundle")
            courier.bundle(root, courier.snapshot(root), None, bundles[-1])
    reports = [courier.take_in(bundle, there) for bundle in [*bundles, bundles[-1]]]
    runs = list((there / "p" / "n" / "runs").iterdir())
    assert len(runs) == 1
    kept = root / "p" / "n" / "runs" / runs[0].name
    assert {path.name: path.read_bytes() for path in runs[0].iterdir()} == {
        path.name: path.read_bytes() for path in kept.iterdir()}
    said = [sum("ignores case" in problem for problem in report["problems"]) for report in reports]
    assert said == ([1, 1] if at_once else [0, 1, 1])
