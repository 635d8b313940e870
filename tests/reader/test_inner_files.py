"""A run of ours with what other loggers wrote inside its folder: their curves join it under the name of the
folder they lie in."""

import io
import os
import subprocess
import sys
import zipfile

import pytest
from catalogs import make_run
from clocks import Clock
from pairs import RUN, grow, mirror, pair, root, write  # noqa: F401 (fixtures)
from tfrecords import event, simple

from runicorn.metrics import inner_files
from runicorn.reader.catalog import Catalog
from runicorn.transfer import export

EVENTS = "events.out.tfevents.1737653445.gpu-01"
TABLE = "epoch,step,acc\n" + "".join(f"0,{step},{step / 10!r}\n" for step in range(5))
KEY = "local:vision/resnet50/20250123_180000_abc123"


def scalars(*steps, tag="loss"):
    return b"".join(event(1737655200 + step, step, simple(tag, step / 4)) for step in steps)


def put(folder, name, content):
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def catalog(root, tmp_path):
    opened = Catalog([("local", root)], home=tmp_path / "home", clock=Clock())
    opened.begin()
    opened.refresh()
    return opened


def test_their_curves_join_under_the_folders_name_and_ours_stay_first(tmp_path):
    folder = make_run(tmp_path / "root", events=[{"loss": 1.0}, {"loss": 0.5}])
    put(folder, f"tb/{EVENTS}", scalars(0, 1, 2, 900))
    put(folder, "csv/version_0/metrics.csv", TABLE)
    put(folder, f"media/{EVENTS}", scalars(1))
    put(folder, "data/train.csv", "a,b\n1,2\n")
    put(folder, "notes.txt", "loss: 1.5\n" * 9)
    opened = catalog(tmp_path / "root", tmp_path)
    assert len(opened.runs()["runs"]) == 1
    run = opened.run(KEY)
    assert {metric["name"]: (metric["points"], metric["last"]) for metric in run["metrics"]} == {
        "loss": (2, 0.5), "tb/loss": (4, 225.0), "csv/version_0/acc": (5, 0.4),
        "csv/version_0/epoch": (5, 0.0)}
    assert run["kinds"] == [] and [metric["name"] for metric in run["metrics"]][0] == "loss"
    assert run["step"] == 1
    series = opened.series(KEY)
    assert list(series.points("tb/loss")[0]) == [0, 1, 2, 900] and series.picture("tb/loss")["x_max"] == 900
    assert series.last_step == 1
    put(folder, f"tb/{EVENTS}", scalars(0, 1, 2, 900, 901))
    put(folder, f"later/{EVENTS}", scalars(7, tag="x"))
    assert {"tb/loss", "later/x"} < opened.series(KEY).metrics().keys()
    assert opened.series(KEY).points("tb/loss")[0][-1] == 901
    again = catalog(tmp_path / "root", tmp_path)                # from the columns that were kept
    assert list(again.series(KEY).points("tb/loss")[0]) == [0, 1, 2, 900, 901]
    assert list(again.series(KEY).points("loss")[2]) == [1.0, 0.5]


@pytest.mark.frameworks
def test_a_run_that_never_logged_but_by_torchs_writer_into_its_own_folder_shows_that(tmp_path):
    folder = make_run(tmp_path / "root")
    os.unlink(folder / "events.jsonl")
    script = ("import sys\nfrom torch.utils.tensorboard import SummaryWriter\n"
              "writer = SummaryWriter(sys.argv[1])\n"
              "writer.add_scalar('a', 0.5, 3)\nwriter.close()\n")
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True, timeout=120)
    assert list(catalog(tmp_path / "root", tmp_path).series(KEY).points("tensorboard/a")[2]) == [0.5]


def test_exports_have_them_too(tmp_path):
    folder = make_run(tmp_path / "root", events=[{"loss": 1.0}, {"loss": 0.5}])
    put(folder, f"tb/{EVENTS}", scalars(0, 1, 900))
    opened = catalog(tmp_path / "root", tmp_path)
    rows = [line.split(",") for line in b"".join(export.stream(opened, KEY, "csv")).decode().splitlines()]
    assert rows[0] == ["step", "ts", "loss", "tb/loss"]
    assert [(row[0], *row[2:]) for row in rows[1:]] == [
        ("0", "1.0", ""), ("1", "0.5", ""), ("0", "", "0.0"), ("1", "", "0.25"), ("900", "", "225.0")]
    longer = b"".join(export.stream(opened, KEY, "csv", long=True)).decode().splitlines()
    assert [line.split(",")[0] for line in longer[1:]] == ["loss"] * 2 + ["tb/loss"] * 3
    archive = zipfile.ZipFile(io.BytesIO(b"".join(export.stream(opened, KEY, "tensorboard"))))
    assert b"tb/loss" in archive.read(archive.namelist()[0])


def test_a_run_without_any_costs_a_look_at_the_times_of_its_folders(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "root")
    put(folder, "checkpoints/last.pt", b"weights")
    for place in (folder, folder / "checkpoints"):
        os.utime(place, (0, 0))     # else a change a moment ago may hide another
    series = catalog(tmp_path / "root", tmp_path).series(KEY)
    listed = []
    monkeypatch.setattr(inner_files.foreign, "listed", listed.append)
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts": 1, "step": 5, "data": {"loss": 2}}\n')
    assert series.refresh() and listed == []


def test_over_a_connection_they_come_and_grow_with_the_run(root, pair):
    folder = make_run(root, status="running")
    put(folder, f"tb/{EVENTS}", scalars(*range(30_000)))
    assert (folder / "tb" / EVENTS).stat().st_size > 1 << 20, "no small file"
    one = pair()
    key = "run:gpu-server-1:vision/resnet50/20250123_180000_abc123"
    one.bell.look({"runs", key})
    one.passes()
    copy = one.mirror / RUN / "tb" / EVENTS
    assert copy.read_bytes() == (folder / "tb" / EVENTS).read_bytes()
    one.passes(31)
    before, now = one.far.bytes_received, one.bell.now()
    grow(folder / "tb" / EVENTS, scalars(30_000))
    one.passes(1)
    assert copy.read_bytes() == (folder / "tb" / EVENTS).read_bytes()
    assert one.far.bytes_received - before < 20_000
    assert key in one.bell.wait(now, {key}, 0)["topics"]
