"""The index of all roots: scanned, merged, kept, sorted, found; corrupt runs shown as what they are."""

import os
import shutil
import sys
import time

import pytest
from catalogs import ids, make_run, mirror_of, reader_of
from clocks import Clock
from small_runs import run_folder

import runicorn
from runicorn import layout, manifest
from runicorn.errors import AmbiguousError, DataError, MissingPackageError, NotFoundError
from runicorn.reader import local_root, scripts
from runicorn.reader.catalog import Catalog
from runicorn.transfer import export


def test_finding_by_any_unambiguous_tail(tmp_path):
    make_run(tmp_path)
    make_run(tmp_path, name="vgg", run_id="20250124_180000_abc123", created_at=1.0)
    reader = reader_of(tmp_path)
    key = "local:vision/resnet50/20250123_180000_abc123"
    for tail in (key, "vision/resnet50/20250123_180000_abc123", "20250123_180000_abc123",
                 "resnet50/20250123_180000_abc123"):
        assert reader.find(tail) == key
    with pytest.raises(AmbiguousError) as caught:
        reader.find("abc123")
    assert "may be 2 runs" in str(caught.value) and key in str(caught.value)
    for tail in ("", "0123_180000_abc123", "nothing", "../" * 5, "x" * 10000):
        with pytest.raises(NotFoundError):
            reader.find(tail)


# -- keeping up ----------------------------------------------------------------------------------------------


def test_new_changed_and_vanished_runs_are_noticed(tmp_path, monkeypatch):
    # how long this machine takes to look has no place in the clock below
    monkeypatch.setattr(local_root, "PACE", 0.0)
    monkeypatch.setattr(local_root, "LOOK", 0.0)
    clock, root = Clock(), tmp_path / "root"
    reader = reader_of(root, clock=clock)  # the root is not there yet
    assert reader.runs()["total"] == 0
    folder = make_run(root, status="running")
    clock.now += 2
    assert reader.refresh() and reader.runs()["total"] == 1
    clock.now += 2
    (folder / "summary.json").write_text('{"val/loss": 0.125}')
    reader.refresh()
    assert reader.look()[1] and reader.runs()["runs"][0]["main"]["value"] == 0.125
    make_run(root, name="second", run_id="20250124_180000_000001")
    clock.now += 2
    assert reader.refresh() and reader.runs()["total"] == 2
    shutil.rmtree(root / "vision" / "second")
    clock.now += 2
    assert reader.refresh() and reader.runs()["total"] == 1
    (folder / "status.json").write_text('{"status": "finished"}')
    clock.now += 2
    assert reader.refresh() | reader.look()[1] and reader.runs()["runs"][0]["state"] == "finished"


def test_growth_is_told_by_run(tmp_path):
    folder = make_run(tmp_path, status="running")
    reader = reader_of(tmp_path)
    assert reader.look() == (set(), False)
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts": 1737655300.0, "step": 7, "data": {"val/loss": 0.1}}\n')
    grown, changed = reader.look(["local:vision/resnet50/20250123_180000_abc123", "local:no/such/run"])
    # it lives: checking became running
    assert grown == {"local:vision/resnet50/20250123_180000_abc123"} and changed
    (row,) = reader.runs(spark=True)["runs"]
    assert (row["step"], row["spark"]) == (7, [0.5, 0.1])
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts": 1737655301.0, "step": 8, "data": {"val/loss": 0.05}}\n')
    view = reader.view()
    entry = reader.entry(row["key"])
    late = view.row(entry, spark=True, deadline=0.0)
    assert late["spark"] == [
        0.5, 0.1] and entry.owes, "a row without time for its new sparkline shows the one it had"
    assert view.row(entry, spark=True, deadline=float("inf"))["spark"] == [0.5, 0.1, 0.05]


def test_what_was_read_is_kept_for_the_next_start_and_only_what_fits_is_used(tmp_path, home):
    for n in range(20):
        make_run(tmp_path, name=f"n{n}", run_id=f"20250123_180000_0000{n:02}")
    reader = reader_of(tmp_path)
    rows = reader.runs(columns=["config.lr"])["runs"]
    reader.save()
    again = Catalog([("local", tmp_path)])
    again.begin()
    # before anything was scanned
    assert again.ready.is_set() and again.runs(columns=["config.lr"])["runs"] == rows
    time.sleep(0.01)
    summary = tmp_path / "vision/n3/runs/20250123_180000_000003/summary.json"
    layout.replace_file(summary, b'{"val/loss": 9.0}')
    again.refresh()
    assert again.runs("n3")["runs"][0]["main"]["value"] == 9.0
    for path in (home / "index").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    assert reader_of(tmp_path).runs("n3")["runs"][0]["main"]["value"] == 9.0


def test_rows_kept_of_a_walked_mirror_are_not_mistaken_for_its_later_lines(tmp_path):
    """Where a server was walked, its runs have no digests: the index of two days may differ in nothing but
    its lines."""
    folder = make_run(tmp_path / "far")
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    mirrors = [("gpu1", tmp_path / "mirror")]
    reader = reader_of(mirrors=mirrors)
    reader.save()
    digest = manifest.load(tmp_path / "mirror/.index/full.json").header["digest"]
    (folder / "summary.json").write_text('{"val/loss": 7.0}')
    later = manifest.build(tmp_path / "far")
    later.header["digest"] = digest
    manifest.save(later, tmp_path / "mirror/.index/full.json")
    assert reader_of(mirrors=mirrors).runs()["runs"][0]["main"]["value"] == 7.0


def test_a_kept_index_of_another_root_is_not_believed(tmp_path, home):
    make_run(tmp_path / "a")
    reader = reader_of(tmp_path / "a")
    reader.save()
    os.rename(tmp_path / "a", tmp_path / "b")
    make_run(tmp_path / "a", name="other", run_id="20250125_180000_000009")
    assert ids(reader_of(tmp_path / "a").runs()) == ["20250125_180000_000009"]
    shutil.copytree(tmp_path / "b/vision", tmp_path / "c/vision")
    shutil.copytree(home / "index", tmp_path / "c/.runicorn")  # an index that names another root
    os.rename(next((tmp_path / "c/.runicorn").glob("*.json")), tmp_path / "c/.runicorn/full_manifest.json")
    assert ids(reader_of(tmp_path / "c").runs()) == ["20250123_180000_abc123"]


# -- what is broken ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file, content, shown",
    [
        ("meta.json", b"", "meta.json"),
        ("meta.json", b"{", "meta.json"),
        ("meta.json", b"[]", "meta.json"),
        ("meta.json", b"\xff\xfe", "meta.json"),
        ("meta.json", b'{"config": [1], "tags": {"a": 1}, "created_at": "x", "user": 5, "project": 7}', None),
        ("status.json", b"nonsense", None),
        ("summary.json", b'{"a": {"b": [1, 2, {"c": NaN}]}}', None),
        ("meta.json", b'{"format": 99, "config": {"x": 1}}', "format is 99"),
        ("meta.json", b"[" * 100000, "meta.json"),
        ("summary.json", b'{"val/loss": 1e999, "b": true}', None),
        ("meta.json", None, "meta.json"),
    ],
)
def test_a_corrupt_run_never_breaks_the_list(tmp_path, file, content, shown):
    make_run(tmp_path, name="good", run_id="20250124_180000_000001")
    folder = make_run(tmp_path)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    reader = reader_of(tmp_path)
    rows = {row["id"]: row
            for row in reader.runs("-tag:none", sort="config.lr", columns=["summary.a"], spark=True)["runs"]}
    assert len(rows) == 2
    broken = rows["20250123_180000_abc123"]
    assert shown in broken["error"] if shown else broken["error"] is None
    layout.to_json(reader.run("20250123_180000_abc123"))
    reader.facets(reader.view()).tree()


def test_a_newer_format_is_named_and_never_parsed_half(tmp_path):
    make_run(tmp_path, format=2)
    reader = reader_of(tmp_path)
    (row,) = reader.runs(columns=["config.lr"])["runs"]
    assert row["newer"] and row["format"] == 2 and row["values"] == {} and row["name"] == "resnet50"
    assert (row["step"], row["main"], row["spark"], row["error_code"]) == (None, None, None, "newer")
    assert "format is 2" in row["error"]
    run = reader.run(row["key"])
    assert (run["config"], run["summary"], run["metrics"], run["attempts"], run["progress"]["step"]) == (
        {}, {}, [], [], None)
    assert reader.series(row["key"]).metrics() == {} and reader.runs("step>=0")["runs"] == []
    for format in export.FORMATS:
        with pytest.raises(DataError, match="format is 2"):
            export.stream(reader, row["key"], format)
    script = scripts.OpenedRun(reader, row)
    assert script.metrics() == {} and script.metric_names() == [] and script.step is None
    with pytest.raises(DataError, match="format is 2"):
        script.metrics(["val/loss"])


@pytest.mark.parametrize(("format", "newer", "told"),
                         [(1, False, None), (1.0, False, None), (None, False, None), ("7", False, None),
                          (True, False, None), (7, True, 7), (1.5, True, 1.5), (10 ** 40, True, 1_000_000)])
def test_which_formats_are_newer(tmp_path, format, newer, told):
    make_run(tmp_path, format=format)
    (row,) = reader_of(tmp_path).runs()["runs"]
    assert (row["newer"], row["format"], row["error_code"], row["step"] is None) == (
        newer, told, "newer" if newer else None, newer)


def test_folders_of_runicorn_0_4_are_read(tmp_path):
    run_folder(tmp_path, "p/n/runs/20240101_000000_abcdef", {
        "meta.json":
        '{"id": "20240101_000000_abcdef", "project": "p", "name": "n", "created_at": 1704067200.0, '
        '"python": "3.10"}',
        "status.json": '{"status": "finished", "started_at": 1704067200.0, "ended_at": 1704067260.0}',
        "events.jsonl":
            '{"ts": 1704067201.0, "type": "metrics", "data": {"loss": 0.5, "global_step": 3, '
            '"time": 1704067201.0}}\n',
        "summary.json": '{"loss": 0.5}'})
    reader = reader_of(tmp_path)
    (row,) = reader.runs(spark=True)["runs"]
    assert (row["state"], row["step"], row["main"]["value"], row["spark"]) == ("finished", 3, 0.5, [0.5])


# -- several roots and mirrors -------------------------------------------------------------------------------


def test_local_roots_and_mirrors_are_one_list(tmp_path):
    make_run(tmp_path / "here")
    make_run(tmp_path / "second", name="other", run_id="20250125_180000_000009")
    make_run(tmp_path / "far", name="third", run_id="20250126_180000_00000a", hostname="gpu-02")
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    reader = reader_of(tmp_path / "here", tmp_path / "second",
                       mirrors=[("gpu-server-1", tmp_path / "mirror", "GPU Server 1")])
    assert sorted(row["key"] for row in reader.runs()["runs"]) == [
        "gpu-server-1:vision/third/20250126_180000_00000a",
        "local2:vision/other/20250125_180000_000009",
        "local:vision/resnet50/20250123_180000_abc123",
    ]
    (row,) = reader.runs('connection:"GPU Server 1"')["runs"]
    assert (row["connection"], row["connection_name"], row["here"]) == ("gpu-server-1", "GPU Server 1", True)
    assert (reader.run(row["key"])["remote_path"]
            == f"{tmp_path / 'far'}/vision/third/runs/20250126_180000_00000a")


def test_one_run_through_two_connections_is_one_run_and_the_freshest_is_read(tmp_path):
    far = tmp_path / "far"
    folder = make_run(far, status="running")
    mirror_of(far, tmp_path / "one", up=False)
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts": 1737655300.0, "step": 7, "data": {"val/loss": 0.1}}\n')
    mirror_of(far, tmp_path / "two", {"vision/resnet50/runs/20250123_180000_abc123": {"beat": 1}})
    make_run(far, run_id="20250127_180000_00000b", created_at=3.0)
    mirror_of(far, tmp_path / "two", {"vision/resnet50/runs/20250123_180000_abc123": {"beat": 2}})
    reader = reader_of(mirrors=[("one", tmp_path / "one"), ("two", tmp_path / "two")])
    rows = {row["id"]: row for row in reader.runs()["runs"]}
    row = rows["20250123_180000_abc123"]
    assert (row["sources"], row["connection"], row["step"]) == (2, "two", 7)
    assert rows["20250127_180000_00000b"]["sources"] == 1
    assert (
        reader.find("one:vision/resnet50/20250123_180000_abc123")
        == reader.find("two:vision/resnet50/20250123_180000_abc123") == row["key"]
    )
    assert reader.runs(connection="one")["matched"] == 1 and reader.runs(connection="two")["matched"] == 2
    twin = make_run(tmp_path / "elsewhere", status="running", hostname="gpu-99")
    assert twin.is_dir()
    mirror_of(tmp_path / "elsewhere", tmp_path / "three")
    assert (
        reader_of(mirrors=[("one", tmp_path / "one"), ("three", tmp_path / "three")]).runs()["total"] == 2
    )  # the same id on another host is another run


def test_a_mirrored_run_whose_files_are_not_here_is_listed_from_the_index(tmp_path):
    make_run(tmp_path / "far")
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    shutil.rmtree(tmp_path / "mirror/vision")
    reader = reader_of(mirrors=[("gpu1", tmp_path / "mirror")])
    (row,) = reader.runs(columns=["config.lr"])["runs"]
    assert (row["here"], row["values"], row["step"], row["name"]) == (
        False, {"config.lr": 0.001}, None, "resnet50")
    run = reader.run(row["key"])
    assert (
        run["summary"] == {"train/loss": 0.5, "val/loss": 0.25}
        and run["config"]["optimizer"] == {"name": "Adam"} and not run["files_here"]
    )


def test_what_vanished_on_the_server_stays_here_marked(tmp_path):
    make_run(tmp_path / "far")
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    path = "vision/resnet50/runs/20250123_180000_abc123"
    layout.replace_file(tmp_path / "mirror/.index/live.json",
                        layout.to_json({"runs": {}, "line": {"up": True}, "gone": [path]}).encode())
    assert reader_of(mirrors=[("gpu1", tmp_path / "mirror")]).runs()["runs"][0]["gone"] is True


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"{",
        b'{"runs": {"../../etc": {}}}',
        b'{"format": 1, "digest": "x", "runs": {"../../../etc/x": {}, "a/b/runs/c": 5, "a/b/runs/d": {}}}',
    ],
)
def test_a_hostile_index_is_not_followed(tmp_path, index):
    (tmp_path / "mirror/.index").mkdir(parents=True)
    (tmp_path / "mirror/.index/full.json").write_bytes(index)
    (tmp_path / "mirror/.index/live.json").write_bytes(b'{"runs": [1], "line": 3, "gone": {"a": 1}}')
    reader = reader_of(mirrors=[("gpu1", tmp_path / "mirror")])
    found = reader.runs(spark=True)["runs"]
    assert [bool(row["error"]) for row in found] == [True] * index.count(b"a/b/runs")
    assert {row["key"].rpartition("/")[0] for row in found} <= {"gpu1:a/b"}


def test_a_mirror_comes_and_goes(tmp_path):
    make_run(tmp_path / "far")
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    mirrors = []
    reader = reader_of(mirrors=lambda: mirrors)
    assert reader.runs()["total"] == 0
    mirrors.append(("gpu1", tmp_path / "mirror"))
    assert reader.refresh() and reader.runs()["total"] == 1
    mirrors.clear()
    assert reader.refresh() and reader.runs()["total"] == 0


# -- one run -------------------------------------------------------------------------------------------------


def test_one_run_in_full(tmp_path):
    folder = make_run(
        tmp_path,
        status="running",
        config={"max_steps": 1000, "model": {"depth": 3}},
        events=[{"loss": 1 / (n + 1)} for n in range(100)],
        summary={"loss": 0.01},
    )
    (folder / "events.2.jsonl").write_text('{"ts": 1737656000.0, "step": 90, "data": {"loss": 0.001}}\n')
    run = reader_of(tmp_path).run("abc123")
    assert (
        run["config"] == {"max_steps": 1000, "model": {"depth": 3}} and run["status"]["status"] == "running"
        and run["path"] == str(folder)
    )
    (metric,) = run["metrics"]
    assert (metric["name"], metric["points"], metric["last_step"], metric["best"]) == (
        "loss",
        91,
        90,
        {"value": 0.001, "step": 90, "rule": "min"},
    )
    assert (
        [(attempt["n"], attempt["from_step"]) for attempt in run["attempts"]] == [(1, 0), (2, 90)]
        and run["progress"]["total"] == 1000
        and run["ranks"] == [0]
    )


def test_points_that_a_later_attempt_logged_again_do_not_count_in_the_list(tmp_path):
    folder = make_run(tmp_path, events=[{"val/loss": loss} for loss in (1.0, 0.5, 0.1, 0.05)])
    (folder / "events.2.jsonl").write_text(
        "".join(f'{{"ts": 1737656000.0, "step": {step}, "data": {{"val/loss": {loss}}}}}\n'
                for step, loss in ((2, 0.4), (3, 0.3)))
    )
    (row,) = reader_of(tmp_path).runs(spark=True)["runs"]
    assert row["spark"] == [1.0, 0.5, 0.4, 0.3] and row["main"]["best"] == {"value": 0.3, "step": 3}


def test_the_best_rule_can_be_flipped_by_the_reader(tmp_path):
    make_run(tmp_path, events=[{"val/loss": 1.0}, {"val/loss": 3.0}])
    reader = reader_of(tmp_path,
                       preferences=lambda: {"best_rule": {"val/loss": "max"},
                                            "main_metric": {"vision": "train/loss"}})
    assert reader.run("abc123")["metrics"][0]["best"] == {"value": 3.0, "step": 1, "rule": "max"}
    assert reader.runs()["runs"][0]["main"]["metric"] == "train/loss"


def test_a_run_without_any_metric_and_an_empty_one(tmp_path):
    folder = make_run(tmp_path, summary={"note": "text"})
    (folder / "events.jsonl").write_bytes(b"")
    reader = reader_of(tmp_path)
    (row,) = reader.runs(spark=True)["runs"]
    assert row["main"] is None and row["spark"] is None and row["step"] is None
    assert reader.run(row["key"])["metrics"] == []


def test_a_big_file_is_glanced_at_in_places(tmp_path, monkeypatch):
    # on a busy machine the list would come without
    monkeypatch.setattr("runicorn.reader.run_list.SPARK_SECONDS", 60.0)
    folder = make_run(tmp_path)
    with open(folder / "events.jsonl", "w") as file:
        for step in range(120_000):
            file.write(f'{{"ts":{1737655200 + step},"step":{step},'
                       f'"data":{{"val/loss":{1 - step / 120_000:f}}}}}\n')
    assert (folder / "events.jsonl").stat().st_size > 4 << 20
    (row,) = reader_of(tmp_path).runs(spark=True)["runs"]
    assert len(row["spark"]) == 24 and row["spark"] == sorted(row["spark"], reverse=True)
    assert (
        row["spark"][0] > 0.99 and row["spark"][-1] < 0.01 and row["step"] == 119_999
        and row["main"]["best"] is None
    )  # best would be a guess


# -- for scripts ---------------------------------------------------------------------------------------------


def test_scripts_open_runs(home, monkeypatch):
    make_run(
        home / "experiments",
        events=[{"loss": 1.0}, {"loss": "NaN", "acc": 0.5}, {"loss": 0.25}],
        config={"lr": 0.1, "opt": {"name": "sgd"}},
    )
    make_run(home / "far", name="vgg", run_id="20250124_180000_000001")
    mirror_of(home / "far", home / "cache/gpu1")
    assert {run.key.partition(":")[0] for run in runicorn.runs()} == {"local", "gpu1"}
    (run,) = runicorn.runs("lr=0.1 resnet")
    assert (run.name, run.state, run.config["opt"]["name"], run.summary["val/loss"], run.step) == (
        "resnet50", "finished", "sgd", 0.25, 2)
    steps, times, values = run.metrics(["loss"])["loss"]
    assert (
        list(steps) == [0, 1, 2]
        and list(times) == [1737655200.0, 1737655201.0, 1737655202.0]
        and values[0] == 1.0
        and values[1] != values[1]
    )
    assert (
        run.metric_names() == ["loss", "acc"] and list(run.metrics()["acc"][0]) == [1] and run.folder.is_dir()
        and "resnet50" in repr(run)
    )
    with pytest.raises(NotFoundError, match="never logged 'accuracy'; it logged loss, acc"):
        run.metrics(["accuracy"])
    assert runicorn.open_run("abc123").key == run.key
    with pytest.raises(NotFoundError):
        runicorn.open_run("nothing")
    assert runicorn.runs(root=home / "far")[0].name == "vgg"


def test_to_pandas_is_one_row_for_each_step_and_one_column_for_each_metric(home):
    make_run(home / "experiments",
             events=[{"loss": 1.0, "acc": 0.1}, {"loss": 0.5}, {"loss": "NaN", "acc": 0.3}])
    folder = home / "experiments/vision/resnet50/runs/20250123_180000_abc123"
    # the same step once more: what was logged last counts
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts":1737655300.0,"step":1,"data":{"loss":0.25}}\n')
    frame = runicorn.open_run("abc123").to_pandas()
    assert list(frame.columns) == ["loss", "acc"] and frame.index.name == "step"
    assert list(frame.index) == [0, 1, 2]
    assert frame.loc[0].tolist() == [1.0, 0.1] and frame["loss"][1] == 0.25
    assert str(frame["loss"].dtype) == "float64"
    assert frame.isna().to_dict("list") == {"loss": [False, False, True], "acc": [False, True, False]}
    assert frame["acc"].dropna().tolist() == [0.1, 0.3]
    assert list(runicorn.open_run("abc123").to_pandas(["acc"]).columns) == ["acc"]
    with pytest.raises(NotFoundError):
        runicorn.open_run("abc123").to_pandas(["nothing"])


def test_to_pandas_without_pandas_says_what_to_install(home, monkeypatch):
    make_run(home / "experiments")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match="pip install pandas"):
        runicorn.open_run("abc123").to_pandas()
