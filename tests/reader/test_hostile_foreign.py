"""Hostile files of every kind: listed, opened and exported in bounded time, what can't be read is
counted, the rest shows."""

import json
import os
import struct
import time
import zlib

import pytest
from catalogs import catalog_of
from playwright.sync_api import expect
from waiting import until

from runicorn import layout
from runicorn.cli import main as cli
from runicorn.errors import DataError
from runicorn.metrics.kinds import crc32c, names
from runicorn.reader import bounded
from runicorn.transfer import export
from runicorn.transfer import tensorboard as tfevents

pytest_plugins = ["chromium"]
SECONDS = 30                # of the processor; each takes one or two
NAME = '<img src=x onerror="document.title=1">\u202eb'


def scalars(count=50):
    made = tfevents.Scalars()
    return (tfevents.opening(1.7e9)
            + b"".join(made.record(1.7e9 + step, step, ("loss",), (0.5,)) for step in range(count)))


def summary(*values):
    return tfevents.record(tfevents.double(1, 1.7e9)
                           + tfevents.message(5, b"".join(tfevents.message(1, value) for value in values)))


def value(tag):
    return tfevents.message(1, tag) + b"\x15\0\0\x80?"


def head(length):
    raw = struct.pack("<Q", length)
    return raw + tfevents.masked(crc32c.crc32c(raw))


def nested(depth):
    message = b""
    for _ in range(depth):
        message = tfevents.message(1, message)
    return message


def piece(kind, data):
    return struct.pack("<IHB", zlib.crc32(bytes([kind]) + data), len(data), kind) + data


def wandb(*rows):
    log = bytearray(b":W&B\xe1\xbe\0")
    for row in rows:
        items = b"".join(tfevents.message(1, tfevents.message(1, name) + tfevents.message(16, text))
                         for name, text in row)
        data = tfevents.message(2, items)
        room = len(log) % 32768
        log += bytes(32768 - room) if room + 7 + len(data) > 32768 else b""
        log += piece(1, data)
    return bytes(log)


ROWS = [[("_step", str(step)), ("loss", "0.5")] for step in range(50)]
EVENTS, TABLE, LINES = "events.out.tfevents.1.host", "metrics.csv", "metrics.jsonl"
CSV = b"step,loss\n" + b"".join(b"%d,0.5\n" % step for step in range(50))
JSON = b"".join(b'{"step": %d, "loss": 0.5}\n' % step for step in range(50))
LOG = b"".join(b"step %d loss: %d.5\n" % (step, step) for step in range(50))
# Made where a test asks: (file, content, points of loss that show at least, whether something is counted)
HOSTILE = {
    "a length of 2^63": lambda: (EVENTS, scalars() + head(1 << 63) + scalars(), 100, True),
    "a length beyond the file": lambda: (EVENTS, scalars() + head((1 << 31) - 1) + bytes(9), 50, False),
    "nested messages": lambda: (EVENTS,
        scalars() + tfevents.record(tfevents.double(1, 1.0) + tfevents.message(5, nested(5000))) + scalars(),
                                100, False),
    "empty records": lambda: (EVENTS, scalars() + tfevents.record(b"") * 20_000 + scalars(), 100, False),
    "tags without end": lambda: (EVENTS,
                                 scalars() + b"".join(summary(value(f"tag{number}"))
                                                      for number in range(4000)), 50, False),
    "one value a tag": lambda: (EVENTS,
                                scalars() + summary(*(value(f"tag{number}") for number in range(5000))), 50,
                                False),
    "long tags": lambda: (EVENTS,
                          scalars() + b"".join(summary(value("t" * 100_000 + str(number)))
                                               for number in range(60)), 50, True),
    "tags that are no UTF-8": lambda: (EVENTS,
                                       scalars() + summary(value(b"\xff\xed\xa0\x80")) + summary(value(NAME)),
                                       50, False),
    "NaN as time": lambda: (EVENTS,
        tfevents.record(tfevents.double(1, float("nan"))
                        + tfevents.message(5, tfevents.message(1, value("loss")))), 1, False),
    "JSON without end": lambda: ("run-a.wandb",
                                 wandb(*ROWS, *([("_step", "60"), ("loss", "[" * 9000)] for _ in range(50))),
                                 50, False),
    "digits without end": lambda: ("run-a.wandb",
        wandb(*ROWS, [("_step", "9" * 9000), ("loss", "1" * 9000)], [("\ud800", "1e999")]), 50, False),
    "a record that never ends": lambda: ("run-a.wandb",
        wandb(*ROWS) + piece(2, b"x" * 100) + b"".join(piece(3, b"x" * 100) for _ in range(200)), 50, False),
    "noise": lambda: ("run-a.wandb", wandb(*ROWS) + os.urandom(1 << 20), 50, True),
    "a quote that never ends": lambda: (TABLE,
        CSV + b"".join(b"%d,0.5\n" % step for step in range(50, 900)) + b'900,"' + b"x,\n" * 50_000, 50,
                                        False),
    "a line without end": lambda: (TABLE, CSV + b"9" * (3 << 20) + b"\n51,0.5\n", 51, True),
    "names as markup": lambda: (TABLE,
        CSV.replace(b"loss", b"loss," + f'"{NAME.replace(chr(34), chr(34) * 2)}"'.encode()).replace(
            b",0.5", b",0.5,1"), 50, False),
    "infinities": lambda: (TABLE, CSV + b"51,1e999\n52,-inf\n53,nan\n", 53, False),
    "objects in objects": lambda: (LINES, JSON + (b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"\n") * 20 + JSON,
                                   50, True),
    "half of a letter": lambda: (LINES, JSON + b'{"step": 51, "\\ud800": 1, "loss": 1}\n', 51, False),
    "steps of any size": lambda: (LINES,
                                  JSON + b'{"step": 1e308, "loss": 1}\n{"step": 99999999999999999999999, '
                                         b'"loss": 1}\n', 50, False),
    "bars and pairs": lambda: ("train.log", LOG + (b"epoch " * 100 + b"loss=0.5 " * 100 + b"\n") * 100, 50,
                               False),
    "ever new names": lambda: ("train.log",
                               LOG + b"".join(b"name%d: 1.5\n" % number for number in range(5000)), 50,
                               False),
    "brackets": lambda: ("checkpoint-1/trainer_state.json",
                         b'{"global_step": 1, "log_history": ' + b"[" * 100_000, 0, False),
    "yaml of references": lambda: ("hparams.yaml", b"a: &a [x]\n" + b"b: *a\n" * 20 + b"c: " + b"[" * 50_000,
                                   50, False),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_listed_opened_and_exported_in_bounded_time(tmp_path, what):
    name, content, least, is_counted = HOSTILE[what]()
    folder = tmp_path / "root" / ("offline-run-20240101_000000-a" if name.endswith(".wandb") else "run")
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(content)
    if name == "hparams.yaml":
        (folder / TABLE).write_bytes(CSV)
    began = time.process_time()
    catalog = catalog_of(tmp_path / "root", tmp_path)
    row, = catalog.runs(spark=True)["runs"]
    run, series = catalog.run(row["key"]), catalog.series(row["key"])
    json.loads(layout.to_json([row, run]).encode("utf-8", "surrogatepass"))
    points = series.metrics().get("loss", {"points": 0})["points"]
    assert points >= least and bool(run["skipped"]) >= is_counted
    if points:
        assert series.told(row["key"], "loss")
        assert sum(map(len, export.stream(catalog, row["key"], "csv"))) > points
        assert sum(map(len, export.stream(catalog, row["key"], "html"))) > points
    assert time.process_time() - began < SECONDS


MOST, NAMES = 2000, 2500    # of one file, instead of the twenty thousand that are read of it
MANY = {
    "TensorBoard, a record each": lambda: (EVENTS,
                                           scalars()
                                           + b"".join(summary(value(f"tag{number}"))
                                                      for number in range(NAMES))),
    "TensorBoard, in one record": lambda: (EVENTS,
                                           scalars()
                                           + summary(*(value(f"tag{number}") for number in range(NAMES)))),
    "W&B, in one row": lambda: ("run-a.wandb",
                                wandb(*ROWS, *([("_step", f"{50 + block}"), *((f"k{number}", "1.5")
for number in range(block * 500, block * 500 + 500))] for block in range(NAMES // 500)))),
    "W&B, a row each": lambda: ("run-a.wandb",
        wandb(*ROWS, *([("_step", f"{50 + number}"), (f"k{number}", "1.5")] for number in range(NAMES)))),
    "JSON, in one line": lambda: (LINES,
                                  JSON + b'{"step": 50, '
                                  + b", ".join(b'"n%d": 1.5' % number for number in range(NAMES)) + b"}\n"),
    "JSON, a line each": lambda: (LINES,
                                  JSON + b"".join(b'{"step": %d, "n%d": 1.5}\n' % (50 + number, number)
                                                  for number in range(NAMES))),
    "JSON, objects in an object": lambda: (LINES, JSON + b'{"step": 50, "a": {'
        + b", ".join(b'"n%d": {"b": 1.5}' % number for number in range(NAMES)) + b"}}\n"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("what", MANY)
def test_of_names_without_end_some_are_read_the_rest_is_counted_and_every_answer_is_bounded(
        tmp_path, monkeypatch, what):
    monkeypatch.setattr(names, "MOST", MOST)
    monkeypatch.setattr(export, "CELLS", 1_000_000)
    name, content = MANY[what]()
    folder = tmp_path / "root" / ("offline-run-20240101_000000-a" if name.endswith(".wandb") else "run")
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    catalog = catalog_of(tmp_path / "root", tmp_path)
    row, = catalog.runs(spark=True)["runs"]
    run = catalog.run(row["key"])
    assert run["skipped"] >= NAMES - MOST and 1000 < len(run["metrics"]) <= MOST
    assert len(layout.to_json(bounded.run(run, "loss"))) < 1 << 20
    if what in ("JSON, a line each", "W&B, a row each"):        # each at a step of its own
        with pytest.raises(DataError, match="--long"):
            export.stream(catalog, row["key"], "csv")
    else:
        assert sum(map(len, export.stream(catalog, row["key"], "csv"))) < 4 << 20
    assert sum(map(len, export.stream(catalog, row["key"], "csv", long=True))) < 4 << 20


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir])
def test_what_is_no_file_is_none_and_keeps_nobody_waiting(tmp_path, make):
    (tmp_path / "root/run").mkdir(parents=True)
    for name in (EVENTS, "run-a.wandb", "train.log", LINES, "results.csv", "hparams.yaml", "config.json"):
        make(tmp_path / "root/run" / name)
    assert catalog_of(tmp_path / "root", tmp_path).runs()["runs"] == []
    (tmp_path / "root/run" / TABLE).write_bytes(CSV)
    catalog = catalog_of(tmp_path / "root", tmp_path)
    row, = catalog.runs()["runs"]
    assert catalog.run(row["key"])["metrics"][0]["points"] == 50 and row["kinds"] == ["csv"]


@pytest.mark.few(1)
@pytest.mark.parametrize("name, content, reason", [
    (EVENTS, scalars() + b"\1" * 40 + scalars(), "1 damaged heads"),
    (TABLE, CSV + b"x,y,z\n51,0.5\n", "1 not as wide as the header"),
    (LINES, JSON + b'{"step": 5\n{"step": 51, "loss": 1}\n', "1 no JSON"),
    ("run-a.wandb", wandb(*ROWS) + piece(1, b"x")[:-1] + b"y" + wandb(*ROWS)[7:], "damaged")])
def test_what_could_not_be_read_is_said_by_the_page_show_and_check(
        serve, open_page, home, capsys, name, content, reason):
    folder = home / "experiments" / "p" / ("offline-run-20240101_000000-a" if name.endswith(".wandb")
                                           else "run")
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    root = str(home / "experiments")
    assert cli.main(["show", "a" if name.endswith(".wandb") else "run", "--root", root]) == 0
    assert "of its files are unread" in capsys.readouterr().out
    assert cli.main(["check", root]) == 0
    told = capsys.readouterr().out
    assert f"{name}: " in told and reason in told and "passed over" in told
    page = open_page(serve().url)
    page.locator("tr[data-key] a").first.click()
    expect(page.locator("[data-fact=skipped]")).to_contain_text("lines, records or values")


def test_names_are_text_on_the_pages(serve, open_page, home):
    run = home / "experiments" / "<b>p" / '<img src=x onerror="document.title=1">'
    run.mkdir(parents=True)
    (run / TABLE).write_bytes(HOSTILE["names as markup"]()[1])
    page = open_page(serve().url)
    row = page.locator("tr[data-key]")
    expect(row).to_contain_text("<img src=x onerror=")
    row.locator("a").first.click()
    until(lambda: page.locator("figure[data-chart]").count() >= 2)
    assert page.locator("img").count() == 0 and page.locator("main b:text-is('p')").count() == 0
    assert page.title() != "1"
