"""The Parquet dataset, read back by pyarrow: every point as the reader has it, one table of all runs, a
folder that is never half."""

import contextlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from catalogs import make_run, mirror_of, reader_of
from later import Later
from nobody import needs_root
from tables import rows_of
from tfrecords import event, simple

from runicorn import layout, local_disk
from runicorn.cli import main as cli
from runicorn.errors import BusyError, DataError, NotFoundError, UsageError
from runicorn.metrics.series import Series
from runicorn.surrogates import exact_json
from runicorn.transfer import dataset, export_dataset, one_run, parquet

arrow_dataset, arrow_parquet = Later("pyarrow.dataset"), Later("pyarrow.parquet")
POINTS = ["connection", "project", "name", "run", "attempt", "rank", "superseded", "step", "ts", "metric",
          "value", "text"]
HOSTILE = ["../x", "a=b", "a/b", "%2e%2e", "x" * 255, "图像分类", "123", "null", "2024-01-01", "Vision",
           "vision", "a\\b", "__HIVE_DEFAULT_PARTITION__", ".", "con", "a b", "\x07", "é" * 120, "-o", "p~1"]


def export(reader, folder, filter="", again=False, **selection):
    view, entries = reader.chosen(filter)
    workers = export_dataset.LocalWorkers(view, {entry.key: entry for entry in entries})
    return export_dataset.export(folder, list(map(dataset.run_of, entries)), workers,
                                 {"filter": filter, **selection}, again)


def points(folder):
    return arrow_dataset.dataset(folder / "points", format="parquet",
                                 partitioning=None).to_table().to_pylist()


def runs(folder):
    return {row["id"]: row for row in arrow_parquet.read_table(folder / "runs").to_pylist()}


def files(folder):
    return {path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in folder.rglob("part-*.parquet")}


def write(path, rows, start=1700000000.125):
    path.write_bytes(
        b"".join(exact_json(layout.to_json({"ts": start + index, "step": step, "data": data})) + b"\n"
                 for index, (step, data) in enumerate(rows)))


# -- points --------------------------------------------------------------------------------------------------

def test_a_dataset_has_every_point_bit_by_bit(tmp_path):
    values = [math.exp(-step / 7) for step in range(3000)]
    make_run(tmp_path / "root", events=[{"loss": value, **({"acc": step / 3} if step % 5 == 0 else {})}
                                        for step, value in enumerate(values)])
    report = export(reader_of(tmp_path / "root"), tmp_path / "d")
    assert (report.runs, report.points, report.files, report.written, report.problems) == (1, 3600, 1, 1, [])
    rows = points(tmp_path / "d")
    assert list(rows[0]) == POINTS
    loss = sorted((row["step"], row["ts"], row["value"]) for row in rows if row["metric"] == "loss")
    assert loss == [(float(step), 1737655200.0 + step, value) for step, value in enumerate(values)]
    assert [row["step"] for row in rows if row["metric"] == "acc"] == list(range(0, 3000, 5))
    assert {(row["connection"], row["project"], row["name"], row["run"], row["attempt"], row["rank"],
             row["superseded"], row["text"])
            for row in rows} == {("local", "vision", "resnet50", "20250123_180000_abc123", 1, 0, False, None)}
    file = arrow_parquet.ParquetFile(next((tmp_path / "d").rglob("part-*.parquet")))
    assert [str(field.type) for field in file.schema_arrow] == list(parquet.point_types().values())


def test_what_no_float64_holds_is_told_as_text(tmp_path):
    folder = make_run(tmp_path / "root")
    long, beyond = 2**53 + 1, 10**400
    write(folder / "events.jsonl", [
        *[(step, {"loss": step / 2, "count": float(step)}) for step in range(20)],
        (20, {"loss": "NaN"}), (21, {"loss": "Infinity", "low": "-Infinity"}),
        (22, {"note": "好\n\"quoted\"", "list": [1, 2.5], "none": None}),
        *[(step, {"loss": 0.5, "count": long}) for step in range(23, 40)],
        (40, {"count": beyond, "even": 2**54, "flag": True}), (41.5, {"loss": 1}), (42, {"half": "\ud800"})])
    export(reader_of(tmp_path / "root"), tmp_path / "d")
    told = {(row["step"], row["metric"]): (row["value"], row["text"]) for row in points(tmp_path / "d")}
    assert math.isnan(told.pop((20.0, "loss"))[0]) and len(told) == 40 + 2 + 2 + 34 + 3 + 2
    assert told[21.0, "loss"] == (math.inf, None) and told[21.0, "low"] == (-math.inf, None)
    assert told[22.0, "note"] == (None, '好\n"quoted"') and told[22.0, "list"] == (None, "[1,2.5]")
    assert told[30.0, "count"] == (float(long), str(long)) and told[30.0, "loss"] == (0.5, None)
    assert told[40.0, "count"] == (math.inf, str(beyond))
    assert told[40.0, "even"] == (2.0**54, None) and told[40.0, "flag"] == (1.0, None)
    assert told[41.5, "loss"] == (1.0, None)
    assert told[42.0, "half"] == (None, "\\ud800")


def test_attempts_and_ranks_stand_apart_and_superseded_points_say_so(tmp_path):
    folder = make_run(tmp_path / "root")
    write(folder / "events.jsonl",
          [(step, {"loss": 1.0, "only": 2.0, "note": f"a{step}"}) for step in range(10)])
    write(folder / "events.2.jsonl", [(step, {"loss": 3.0, "note": "b"}) for step in range(6, 8)],
          start=1800000000.0)
    write(folder / "events.3.jsonl", [(step, {"loss": 4.0}) for step in (9, 7)], start=1900000000.0)
    write(folder / "events.rank3.jsonl", [(step, {"loss": 5.0}) for step in range(4)])
    export(reader_of(tmp_path / "root"), tmp_path / "d")
    rows = points(tmp_path / "d")
    for rank in (0, 3):
        steps, ts, values = Series(folder).points("loss", rank)
        counting = [row for row in rows
                    if row["metric"] == "loss" and row["rank"] == rank and not row["superseded"]]
        assert sorted((row["step"], row["ts"], row["value"]) for row in counting) == sorted(
            zip(steps, ts, values))
    old = sorted((row["attempt"], row["step"], row["metric"]) for row in rows if row["superseded"])
    assert old == [*[(1, float(step), name) for step in (6, 7, 8, 9) for name in ("loss", "note")],
                   (2, 7.0, "loss")]
    assert len(rows) == 30 + 4 + 2 + 4


class OneByOne(export_dataset.LocalWorkers):
    """Looks at each run as an executor of a Spark job does."""

    def _entry(self, run):
        return one_run.opened(run, self._entries[run.key].verdict())


def test_a_run_looked_at_by_itself_is_the_same(tmp_path):
    """What test_spark.py holds against a real Spark, in `make spark` alone."""
    root = tmp_path / "root"
    for number in range(3):
        folder = make_run(root, run_id=f"r{number}", config={"lr": number}, summary={"loss": number / 3},
                          events=[{"loss": number + step / 7, "note": f"at {step}"} for step in range(20)])
    (folder / "events.2.jsonl").write_bytes((folder / "events.jsonl").read_bytes()[-300:])
    (make_run(root, run_id="no_meta") / "meta.json").write_text("{broken")
    (root / "tb/exp").mkdir(parents=True)
    (root / "tb/exp/events.out.tfevents.1700000000.host").write_bytes(
        b"".join(event(1700000000.0 + step, step, simple("loss", step / 4)) for step in range(9)))
    reader = reader_of(root)
    view, entries = reader.chosen("")
    planned = list(map(dataset.run_of, entries))
    for name, workers in (("all", export_dataset.LocalWorkers), ("each", OneByOne)):
        report = export_dataset.export(tmp_path / name, planned,
                                       workers(view, {entry.key: entry for entry in entries}), {})
        assert (report.runs, report.points, report.problems) == (5, 137, [])
    for part in ("points", "runs"):
        assert rows_of(tmp_path / "all" / part) == rows_of(tmp_path / "each" / part)


def test_bad_lines_cost_themselves_and_are_counted(tmp_path):
    folder = make_run(tmp_path / "root", events=[{"loss": 1.0}] * 5)
    with open(folder / "events.jsonl", "ab") as file:
        file.write(b'not json\n\0\0\0\n{"ts":1,"step":9,"data":{"loss":2}}\n{"ts":1,"st')
    export(reader_of(tmp_path / "root"), tmp_path / "d")
    assert sorted(row["step"] for row in points(tmp_path / "d")) == [0, 1, 2, 3, 4, 9]
    run = runs(tmp_path / "d")[folder.name]
    assert (run["points"], run["skipped"]) == (6, 2)


def test_wide_and_chaotic_rows(tmp_path):
    folder = make_run(tmp_path / "root",
                      events=[{f"m{metric}": metric / 3 + step for metric in range(3000)}
                              for step in range(3)]
                      + [{f"odd{step}": 1.0, "loss": step} for step in range(500)])
    export(reader_of(tmp_path / "root"), tmp_path / "d")
    series = Series(folder)
    series.refresh()
    wanted = [(name, step, value) for name in series.metrics()
              for step, _, value in zip(*series.points(name))]
    assert len(wanted) == 10_000
    assert sorted((row["metric"], row["step"], row["value"]) for row in points(tmp_path / "d")) == sorted(
        wanted)


def test_other_loggers_runs_are_told_as_the_reader_has_them(tmp_path):
    root = tmp_path / "root"
    (root / "tb" / "exp").mkdir(parents=True)
    (root / "tb/exp/events.out.tfevents.1700000000.host").write_bytes(
        b"".join(event(1700000000.0 + step, step, simple("loss", step / 4), simple("lr", 0.5))
                 for step in range(40)))
    (root / "tb/exp/events.out.tfevents.1700000100.host").write_bytes(
        b"".join(event(1700000100.0 + step, step, simple("loss", step / 8)) for step in range(30, 50)))
    ours = make_run(root, events=[{"loss": 1.0}])
    (ours / "tb").mkdir()
    (ours / "tb/events.out.tfevents.1700000000.host").write_bytes(
        event(1700000000.0, 7, simple("inner", 0.25)))
    reader = reader_of(root)
    export(reader, tmp_path / "d")
    foreign = next(entry for entry in reader.view().runs if entry.record.kinds)
    series = foreign.new_series(None)
    series.refresh()
    rows = [row for row in points(tmp_path / "d") if row["project"] == "tb"]
    for name in ("loss", "lr"):
        steps, ts, values = series.points(name)
        found = sorted((row["step"], row["ts"], row["value"])
                       for row in rows if row["metric"] == name and not row["superseded"])
        assert len(steps) > 30 and found == sorted(zip(steps, ts, values))
    assert len(rows) == 100
    assert (sum(row["superseded"] for row in rows) == 100
            - sum(len(series.points(name)[0]) for name in ("loss", "lr")))
    assert {(row["run"], row["attempt"], row["rank"]) for row in rows} == {(foreign.record.id, None, 0)}
    inner = [row for row in points(tmp_path / "d") if row["metric"] == "tb/inner"]
    assert [(row["run"], row["attempt"], row["step"], row["value"]) for row in inner] == [
        (ours.name, None, 7.0, 0.25)]
    assert runs(tmp_path / "d")[foreign.record.id]["summary.loss"] == 49 / 8


# -- runs ----------------------------------------------------------------------------------------------------

def test_types_of_configs_are_unified_and_clashes_said(tmp_path):
    configs = [{"lr": 1, "seed": 1, "amp": True, "opt": "adam", "layers": [1, 2], "mixed": 1, "big": 2**60,
                "huge": 2**70, "inf": "Infinity", "exact": 2**60, "model": {"depth": 3, "empty": {}},
                "nothing": None},
               {"lr": 0.1, "seed": 2, "amp": False, "opt": None, "layers": [], "mixed": "one", "big": 5,
                "inf": 3, "exact": 0.5},
               {"LR": 7}]
    for number, config in enumerate(configs):
        make_run(tmp_path / "root", run_id=f"r{number}", config=config,
                 summary={"val/loss": number / 2, "best": {"step": number}})
    report = export(reader_of(tmp_path / "root"), tmp_path / "d")
    table = runs(tmp_path / "d")
    columns = json.loads((tmp_path / "d/_schema.json").read_text())["runs"]
    assert {name[7:]: kind for name, kind in columns.items() if name.startswith("config.")} == {
        "lr": "double", "seed": "int64", "amp": "bool", "opt": "string", "layers": "string",
        "mixed": "string", "big": "int64", "huge": "string", "inf": "double", "exact": "string",
        "model.depth": "int64", "model.empty": "string", "nothing": "string"}
    first = {name[7:]: value for name, value in table["r0"].items() if name.startswith("config.")}
    assert first == {"lr": 1.0, "seed": 1, "amp": True, "opt": "adam", "layers": "[1,2]", "mixed": "1",
                     "big": 2**60, "huge": str(2**70), "inf": math.inf, "exact": str(2**60), "model.depth": 3,
                     "model.empty": "{}", "nothing": None}
    assert (table["r1"]["config.mixed"], table["r1"]["config.exact"], table["r1"]["config.inf"]) == (
        "one", "0.5", 3.0)
    assert (table["r2"]["config.lr"], table["r2"]["config_rest"]) == (None, '{"LR":7}')
    assert [table[run]["summary.val/loss"] for run in ("r0", "r1", "r2")] == [0.0, 0.5, 1.0]
    assert table["r2"]["summary.best/step"] == 2
    assert report.notes == ["config.exact: integers beyond 2^53 and fractions become string",
                            "config.lr: integers and fractions become double",
                            "config.mixed: text and integers become string",
                            "1 name in the config of some runs has no column: it stands in config_rest, "
                            "as JSON"]
    assert {name: table["r0"][name]
            for name in ("connection", "project", "name", "state", "user", "host", "tags", "created",
                         "started", "ended", "duration", "attempts", "points", "error")} == {
"connection": "local", "project": "vision", "name": "resnet50", "state": "finished", "user": "alice",
"host": "gpu-01", "tags": ["baseline"], "created": 1737655200.0, "started": 1737655200.0,
"ended": 1737655260.0, "duration": 60.0, "attempts": 1, "points": 2, "error": None}


@pytest.mark.long
def test_chaotic_configs_stay_a_bounded_table(tmp_path):
    make_run(tmp_path / "root", run_id="chaos", config={f"k{number}": number for number in range(100_000)})
    for number in range(20):
        make_run(tmp_path / "root", run_id=f"r{number}",
                 config={"lr": 0.1, f"own{number}": {"deep": {"er": 1}}, "x" * 300: 1, "a\nb": 2})
    export(reader_of(tmp_path / "root"), tmp_path / "d")
    table = runs(tmp_path / "d")
    columns = [name for name in table["r0"] if name.startswith("config.")]
    assert len(columns) == 500 and "config.lr" in columns
    rest = json.loads(table["chaos"]["config_rest"])
    assert len(rest) + sum(table["chaos"][name] is not None for name in columns) == 100_000
    assert {"x" * 300, "a\nb"} <= json.loads(table["r0"]["config_rest"]).keys()
    assert os.path.getsize(tmp_path / "d/runs/runs.parquet") < 2 << 20


# -- names ---------------------------------------------------------------------------------------------------

def test_hostile_names_of_projects_stay_inside_and_come_back(tmp_path):
    for number, name in enumerate(HOSTILE):
        folder = make_run(tmp_path / "root", project=f"p{number}", run_id=f"r{number}",
                          events=[{"loss": float(number)}])
        meta = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps({**meta, "project": name, "name": name}))
    export(reader_of(tmp_path / "root"), tmp_path / "out" / "d")
    rows = points(tmp_path / "out" / "d")
    told = {row["run"]: (row["project"], row["name"]) for row in rows}
    assert told == {f"r{number}": (name, name) for number, name in enumerate(HOSTILE)}
    assert {row["project"] for row in runs(tmp_path / "out" / "d").values()} == set(HOSTILE)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["d"]
    labels = [path.name for path in (tmp_path / "out/d/points").iterdir()]
    assert len(labels) == len(HOSTILE) == len({label.lower() for label in labels})
    assert all(label.isascii() and len(label) < 80 and label.count("=") == 1
               and label[15:].strip("~-_").isprintable() for label in labels)
    table = arrow_parquet.read_table(tmp_path / "out/d/points")               # with the label as a column
    assert set(table["project"].to_pylist()) == set(HOSTILE)
    assert {str(table.schema.field("project_folder").type)} == {
        "dictionary<values=string, indices=int32, ordered=0>"}


# -- again ---------------------------------------------------------------------------------------------------

def test_what_has_not_changed_is_not_written_again(tmp_path):
    root, d = tmp_path / "root", tmp_path / "d"
    for number in range(6):
        make_run(root, project=f"p{number % 2}", run_id=f"r{number}",
                 status="running" if number == 5 else "finished")
    export(reader_of(root), d)
    before = files(d)
    assert len(before) == 3
    assert export(reader_of(root), d).written == 0 and files(d) == before
    write(root / "p1/resnet50/runs/r5/events.jsonl", [(step, {"loss": 1.0}) for step in range(9)])
    make_run(root, project="p0", run_id="r6")
    assert export(reader_of(root), d).written == 2
    after = files(d)
    assert len(after) == 4 and sum(after.get(name) == mark for name, mark in before.items()) == 2
    shutil.rmtree(root / "p0/resnet50/runs/r2")
    export(reader_of(root), d)
    export(reader_of(root), tmp_path / "fresh")
    assert set(runs(d)) == {"r0", "r1", "r3", "r4", "r5", "r6"}
    for part in ("points", "runs"):
        assert rows_of(d / part) == rows_of(tmp_path / "fresh" / part)
    state = json.loads((d / "_runicorn.json").read_text())
    assert state["complete"] is True and set(state["files"]) == set(files(d))
    assert state["points"] == len(points(d))
    assert sorted(path.name for path in d.iterdir()) == [
        ".runicorn.lock", "_runicorn.json", "_schema.json", "points", "runs"]


def test_a_file_that_was_cut_is_written_again(tmp_path):
    make_run(tmp_path / "root")
    export(reader_of(tmp_path / "root"), tmp_path / "d")
    part = next((tmp_path / "d").rglob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-40])
    assert export(reader_of(tmp_path / "root"), tmp_path / "d").written == 1
    assert len(points(tmp_path / "d")) == 2


def test_another_selection_needs_force(tmp_path):
    root, d = tmp_path / "root", tmp_path / "d"
    for number in range(4):
        make_run(root, project=f"p{number % 2}", run_id=f"r{number}")
    export(reader_of(root), d, "project:p0")
    with pytest.raises(UsageError, match="holds an export of other runs .*project:p0.*--force"):
        export(reader_of(root), d, "project:p1")
    assert {row["project"] for row in points(d)} == {"p0"}
    export(reader_of(root), d, "project:p1", again=True)
    assert {row["project"] for row in points(d)} == {"p1"} and set(runs(d)) == {"r1", "r3"}
    with pytest.raises(NotFoundError, match="no runs"):
        export(reader_of(root), d, "project:p7", again=True)
    assert set(runs(d)) == {"r1", "r3"}


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    make_run(tmp_path / "root")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/thesis.tex").write_text("precious")
    for again in (False, True):
        with pytest.raises(UsageError, match=r"holds other things \(thesis.tex\)"):
            export(reader_of(tmp_path / "root"), tmp_path / "d", again=again)
    with pytest.raises(UsageError, match="is no folder"):
        export(reader_of(tmp_path / "root"), tmp_path / "d/thesis.tex")
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["thesis.tex"]


def test_two_exports_into_one_folder_never_mix(tmp_path):
    make_run(tmp_path / "root")
    export(reader_of(tmp_path / "root"), tmp_path / "d")
    with open(tmp_path / "d" / dataset.LOCK, "a+b") as file:
        assert local_disk.try_lock(file.fileno())
        with pytest.raises(BusyError, match="another export is writing"):
            export(reader_of(tmp_path / "root"), tmp_path / "d")


@needs_root
def test_a_full_disk_is_said_and_the_rest_goes_on_later(tmp_path):
    rows = [{"loss": random.random(), "x": random.random()} for _ in range(20_000)]
    for number in range(4):
        make_run(tmp_path / "root", project=f"p{number}", run_id=f"r{number}", events=rows)
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(full)], check=True)
    try:
        with pytest.raises(DataError,
                           match="full can't be written: No space left on device; what is whole in it stays"):
            export(reader_of(tmp_path / "root"), full)
        whole = files(full)
        assert 0 < len(whole) < 4
        assert not list(full.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(full)], check=True)
        report = export(reader_of(tmp_path / "root"), full)
        assert report.written == 4 - len(whole) and whole.items() <= files(full).items()
        assert len(points(full)) == 160_000
    finally:
        subprocess.run(["umount", str(full)], check=True)


@needs_root
def test_a_read_only_place_is_said(tmp_path):
    make_run(tmp_path / "root")
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], check=True)
    try:
        with pytest.raises(DataError, match="can't be written: Read-only file system"):
            export(reader_of(tmp_path / "root"), place / "d")
    finally:
        subprocess.run(["umount", str(place)], check=True)


# -- what can't be read --------------------------------------------------------------------------------------

def test_broken_runs_are_named_and_the_others_go_on(tmp_path):
    root = tmp_path / "root"
    make_run(root, run_id="good", events=[{"loss": 1.0}])
    make_run(root, run_id="newer", format=99)
    no_meta = make_run(root, run_id="no_meta", events=[{"loss": 2.0}])
    (no_meta / "meta.json").write_text("{broken")
    report = export(reader_of(root), tmp_path / "d")
    assert [key for key, _ in report.problems] == ["local:vision/resnet50/newer"]
    assert "newer Runicorn" in report.problems[0][1]
    assert sorted((row["run"], row["value"]) for row in points(tmp_path / "d")) == [
        ("good", 1.0), ("no_meta", 2.0)]
    table = runs(tmp_path / "d")
    assert "newer Runicorn" in table["newer"]["error"] and "meta.json is missing" in table["no_meta"]["error"]
    assert table["newer"]["points"] == 0 and table["good"]["error"] is None


def test_a_run_that_breaks_in_the_middle_takes_nothing_with_it(tmp_path, monkeypatch):
    root = tmp_path / "root"
    for name in ("a", "b", "c"):
        make_run(root, run_id=name, events=[{"loss": 1.0}] * 10)
    make_run(root, run_id="d")
    real = layout.open_regular

    def broken(path, *more):
        if os.sep + "b" + os.sep in os.fspath(path) and os.fspath(path).endswith("events.jsonl"):
            raise OSError(5, "Input/output error", path)
        return real(path, *more)
    reader = reader_of(root)
    monkeypatch.setattr("runicorn.metrics.column_file.open_regular", broken)
    report = export(reader, tmp_path / "d")
    assert [(key, "Input/output error" in why) for key, why in report.problems] == [
        ("local:vision/resnet50/b", True)]
    assert sorted({row["run"] for row in points(tmp_path / "d")}) == ["a", "c", "d"]
    assert len(points(tmp_path / "d")) == 22
    monkeypatch.undo()
    assert export(reader_of(root), tmp_path / "d").problems == []
    assert len(points(tmp_path / "d")) == 32


def test_mirrored_runs_under_their_connection_and_what_is_not_here_is_said(tmp_path):
    for name in ("whole", "torn"):
        make_run(tmp_path / "far", run_id=name, events=[{"loss": float(step)} for step in range(5)])
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    torn = tmp_path / "mirror/vision/resnet50/runs/torn/events.jsonl"
    torn.write_bytes(torn.read_bytes()[:50])
    make_run(tmp_path / "root", run_id="here", events=[{"loss": 1.0}])
    reader = reader_of(tmp_path / "root", mirrors=[("gpu-1", tmp_path / "mirror", "GPU 1")])
    report = export(reader, tmp_path / "d")
    assert [(key, "not all here yet" in why) for key, why in report.problems] == [
        ("gpu-1:vision/resnet50/torn", True)]
    assert {(row["connection"], row["run"]) for row in points(tmp_path / "d")} == {
        ("local", "here"), ("gpu-1", "whole")}


def test_a_run_that_grows_meanwhile_is_a_prefix_and_is_taken_the_next_time(tmp_path):
    folder = make_run(tmp_path / "root", status="running",
                      events=[{"loss": float(step)} for step in range(100)])
    reader = reader_of(tmp_path / "root")
    view, entries = reader.chosen("")
    planned = list(map(dataset.run_of, entries))
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts":1,"step":100,"data":{"loss":100}}\n{"ts":1,"step":101,"data":{"lo')
    workers = export_dataset.LocalWorkers(view, {entry.key: entry for entry in entries})
    export_dataset.export(tmp_path / "d", planned, workers, {})
    assert [row["value"] for row in points(tmp_path / "d")] == [float(step) for step in range(101)]
    with open(folder / "events.jsonl", "a") as file:
        file.write('ss":101}}\n')
    reader = reader_of(tmp_path / "root")
    view, entries = reader.chosen("")
    export_dataset.export(tmp_path / "d", list(map(dataset.run_of, entries)), workers, {})
    assert [row["value"] for row in points(tmp_path / "d")] == [float(step) for step in range(102)]


# -- the command ---------------------------------------------------------------------------------------------

def command(*words):
    return cli.main([*map(str, words)])


def test_the_command(tmp_path, capsys):
    root = tmp_path / "root"
    for number in range(4):
        make_run(root, project=f"p{number % 2}", run_id=f"r{number}", config={"lr": number or 0.5},
                 format=99 if number == 3 else 1)
    assert command("export", "--format", "parquet", "project:p0 lr>1", "-o", tmp_path / "d", "--root",
                   root) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'd'}\n" and "1 run, 2 points in 1 file, 1 of them written now" in err
    assert set(runs(tmp_path / "d")) == {"r2"}
    assert command("export", "--format", "parquet", "-project:p0", "-o", tmp_path / "e", "--root", root) == 1
    assert "newer Runicorn" in capsys.readouterr().err and set(runs(tmp_path / "e")) == {"r1", "r3"}
    assert command("export", "--format", "parquet", "--run-id", "r0", "--run-id", "r1", "-o", tmp_path / "f",
                   "--root", root) == 0
    assert set(runs(tmp_path / "f")) == {"r0", "r1"}
    assert "lr: integers and fractions become double" in capsys.readouterr().err
    for words, said in ((["--format", "parquet"], "name it with -o"),
                        (["--format", "parquet", "-o", "-"], "name it with -o"),
                        (["--format", "csv"], "--run-id names the run"),
                        (["--format", "csv", "lr>1", "--run-id", "r0"], "chooses runs for"),
                        (["--format", "parquet", "lr>>", "-o", tmp_path / "g"], "")):
        assert command("export", *words, "--root", root) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "g").exists()


def test_without_pyarrow_one_sentence_says_what_to_install(tmp_path):
    make_run(tmp_path / "root")
    code = ("import sys; sys.modules['pyarrow'] = None; from runicorn.cli import main; "
            "sys.exit(main.main(sys.argv[1:]))")
    words = ["export", "--format", "parquet", "-o", str(tmp_path / "d"), "--root", str(tmp_path / "root")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "pip install 'pyarrow >= 16'" in done.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.chaos
def test_killed_at_any_moment_it_goes_on_and_the_result_is_the_same(tmp_path):
    root, d = tmp_path / "root", tmp_path / "d"
    for number in range(60):
        events = [{"loss": number + step / 7, "acc": step / 3} for step in range(2000)]
        make_run(root, project=f"p{number % 12}", run_id=f"r{number:02}", events=events)
    words = [sys.executable, "-m", "runicorn", "export", "--format", "parquet", "--root", str(root), "-o"]
    whole = time.monotonic()
    subprocess.run([*words, str(tmp_path / "fresh")], check=True, capture_output=True, timeout=120)
    whole = time.monotonic() - whole
    kills = 0
    for turn in range(30):
        process = subprocess.Popen([*words, str(d)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(whole * (turn + 1) / 30)
        kills += process.poll() is None
        process.kill()
        process.wait()
        if turn % 7 == 3 and d.exists():
            for path in list(d.rglob("part-*.parquet"))[:2]:
                path.unlink()                       # somebody's hand
    subprocess.run([*words, str(d)], check=True, capture_output=True, timeout=120)
    assert kills >= 10
    for part in ("points", "runs"):
        assert rows_of(d / part) == rows_of(tmp_path / "fresh" / part)
    assert sorted(path.name for path in d.iterdir()) == [
        ".runicorn.lock", "_runicorn.json", "_schema.json", "points", "runs"]
