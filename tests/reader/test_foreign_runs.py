"""Runs of other loggers in the list, on their page, in exports: what TensorBoard, W&B, CSV files and logs of
a root tell as ours would."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from catalogs import catalog_of
from clocks import Clock
from small_runs import write_run
from waiting import until

from runicorn import foreign, manifest
from runicorn.cli.main import main
from runicorn.reader.catalog import Catalog
from runicorn.reader.liveness import QUIET
from runicorn.transfer import export

TABLE = ("epoch,step,train_loss,lr\n"
         + "".join(f"{step // 10},{step},{1 / (step + 1)!r},0.1\n" for step in range(50)))
WRITER = """
import sys
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter(sys.argv[1])
for line in sys.stdin:
    writer.add_scalar("train/loss", float(line.split()[1]), int(line.split()[0]))
    writer.flush()
    print("written", flush=True)
"""


def put(root, path, content):
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return place


@pytest.fixture
def root(tmp_path):
    put(tmp_path / "root", "lightning_logs/version_0/metrics.csv", TABLE)
    rows = [{"step": n, "loss": n / 2, "time": 1.7e9 + n} for n in range(9)]
    put(tmp_path / "root", "sweep/a/b/log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_run(tmp_path / "root", "p", "n", "20250101_000000_abcdef")
    return tmp_path / "root"


def test_rows_that_mmengine_writes_into_two_files_are_points_once(tmp_path):
    rows = "".join(json.dumps({"loss": 1 / n, "epoch": 1, "iter": n, "step": n}) + "\n" for n in range(1, 21))
    for name in ("scalars.json", "20240501_120000.json"):
        put(tmp_path / "root", f"work/20240501_120000/vis_data/{name}", rows)
    put(tmp_path / "root", "other/20240501_120000.json", rows)
    catalog = catalog_of(tmp_path / "root", tmp_path)
    keys = [row["key"] for row in catalog.runs()["runs"]]
    assert sorted(keys) == ["local:other", "local:work/20240501_120000/vis_data"]
    for key in keys:
        steps, _, values = catalog.series(key).points("loss")
        assert list(steps) == list(range(1, 21)) and list(values) == [1 / n for n in range(1, 21)]
        assert catalog.series(key).metrics()["loss"]["attempts"] == [1]


def test_a_root_of_others_alone_is_listed_before_a_file_in_it_is_read(root, tmp_path, monkeypatch):
    shutil.rmtree(root / "p")
    searches, find = [], foreign.find
    monkeypatch.setattr(foreign, "find", lambda *arguments: searches.append(1) or find(*arguments))
    catalog = Catalog([("local", root)], home=tmp_path / "home", clock=Clock())
    catalog.begin()
    early = {row["key"]: row["kinds"] for row in catalog.runs()["runs"]}
    put(root, "late/metrics.csv", TABLE)
    catalog.refresh()
    assert early == {"local:lightning_logs/version_0": ["csv"], "local:sweep/a/b": ["jsonl"]}
    assert {row["key"] for row in catalog.runs()["runs"]} == early.keys() and searches == [1]
    catalog.sources["local"].forget_kinds()
    catalog.refresh()
    assert "local:late" in {row["key"] for row in catalog.runs()["runs"]}


def test_they_stand_in_the_list_beside_ours(root, tmp_path):
    rows = {row["key"]: row for row in catalog_of(root, tmp_path).runs()["runs"]}
    assert set(rows) == {"local:lightning_logs/version_0", "local:sweep/a/b",
                         "local:p/n/20250101_000000_abcdef"}
    row = rows["local:lightning_logs/version_0"]
    assert (row["project"], row["name"], row["id"], row["kinds"], row["step"]) == (
        "lightning_logs", "version_0", "version_0", ["csv"], 49)
    assert row["main"]["metric"] == "train_loss" and row["main"]["value"] == 1 / 50 and row["error"] is None
    assert (rows["local:sweep/a/b"]["name"], rows["local:sweep/a/b"]["id"]) == ("a/b", "b")
    assert rows["local:p/n/20250101_000000_abcdef"]["kinds"] == []


@pytest.mark.parametrize(("text", "keys"), [
    ("kind:csv", ["lightning_logs/version_0"]), ("kind:runicorn", ["p/n/20250101_000000_abcdef"]),
    ("train_loss<0.1", ["lightning_logs/version_0"]), ("kind:jsonl,csv loss>=4", ["sweep/a/b"])])
def test_filters_find_them_by_kind_and_by_what_they_logged(root, tmp_path, text, keys):
    opened = catalog_of(root, tmp_path)
    opened.runs(limit=None)             # what was looked at once is known to the filter
    opened.refresh()
    assert [row["key"] for row in opened.runs(text)["runs"]] == [f"local:{key}" for key in keys]


def test_one_run_tells_its_metrics_points_and_files(root, tmp_path):
    opened = catalog_of(root, tmp_path)
    run = opened.run("local:lightning_logs/version_0")
    assert {metric["name"]: metric["points"] for metric in run["metrics"]} == {
        "train_loss": 50, "lr": 50, "epoch": 50}
    assert run["summary"]["train_loss"] == 1 / 50 and run["files_here"] and run["skipped"] == 0
    steps, _, values = opened.series("local:sweep/a/b").points("loss")
    assert list(steps) == list(range(9)) and list(values) == [n / 2 for n in range(9)]
    told = list(csv.DictReader(
        io.StringIO(b"".join(export.stream(opened, "local:sweep/a/b", "csv")).decode())))
    assert [(int(row["step"]), float(row["loss"])) for row in told] == [(n, n / 2) for n in range(9)]
    assert b"train_loss" in b"".join(export.stream(opened, "local:lightning_logs/version_0", "html"))


def test_what_no_file_touches_is_quiet_and_what_grows_runs_again(root, tmp_path):
    table = root / "lightning_logs/version_0/metrics.csv"
    old = time.time() - QUIET - 60
    os.utime(table, (old, old))
    opened = catalog_of(root, tmp_path)
    row = opened.row("local:lightning_logs/version_0")
    assert (row["state"], row["reason"]["code"]) == ("quiet", "no_change")
    assert row["reason"]["seconds"] >= QUIET
    with open(table, "a") as file:
        file.write("5,50,0.5,0.1\n")
    grown = set()
    until(lambda: grown.update(opened.look()[0]) or grown)         # what is quiet is looked at in turns
    row = opened.row("local:lightning_logs/version_0")
    assert grown == {"local:lightning_logs/version_0"}
    assert (row["state"], row["step"], row["main"]["value"]) == ("running", 50, 0.5)


def test_a_table_that_is_written_anew_with_one_column_more_is_read_anew(root, tmp_path):
    opened = catalog_of(root, tmp_path)
    assert opened.row("local:lightning_logs/version_0")["step"] == 49
    lines = TABLE.splitlines()
    text = "\n".join([lines[0] + ",val_loss", *(line + ",0.7" for line in lines[1:])]) + "\n"
    put(root, "lightning_logs/version_0/metrics.csv", text)
    opened.look()
    assert [metric["name"]
            for metric in opened.run("local:lightning_logs/version_0")["metrics"]].count("val_loss") == 1


def test_text_files_are_the_log_and_nothing_else_in_the_folder_is_listed(root, tmp_path, capsys):
    from runicorn.viewer import run_files
    put(root, "lightning_logs/version_0/output.log", "hello\n")
    put(root, "lightning_logs/version_0/model.bin", "x" * 100)
    opened = catalog_of(root, tmp_path)
    entry = opened.entry("local:lightning_logs/version_0")
    assert entry.logs(entry.sizes()) == [("output.log", 1, 0)]
    listed, more = run_files.listed(entry.folder, only=entry.source.foreign_files(entry.record.path))
    assert [file["name"] for file in listed] == ["metrics.csv", "output.log"] and more == 0


def test_the_commands_say_the_same(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RUNICORN_HOME", str(tmp_path / "home"))
    assert main(["runs", "--root", str(root), "--json"]) == 0
    rows = {row["key"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["local:lightning_logs/version_0"]["kinds"] == ["csv"]
    assert rows["local:sweep/a/b"]["main"]["value"] == 4.0
    assert main(["show", "version_0", "--root", str(root)]) == 0
    assert "train_loss" in capsys.readouterr().out


def test_an_index_that_somebody_left_names_no_file_elsewhere(root, tmp_path):
    secret = put(tmp_path, "secret/metrics.csv", TABLE)
    place = root / ".runicorn" / manifest.FULL
    place.parent.mkdir()
    manifest.save(manifest.build(str(root), find_others=foreign.find), str(place))
    whole = json.loads(place.read_text())
    entry = whole["runs"]["lightning_logs/version_0"]
    whole["runs"].update({"../secret": entry, "lightning_logs/../../secret": entry, "a/../../secret": entry})
    whole["runs"]["lightning_logs/version_0"]["files"]["../../../secret/metrics.csv"] = {
        "size": 5, "mtime": 1.0, "tail": None}
    place.write_text(json.dumps(whole))
    opened = Catalog([("local", root)], home=tmp_path / "home", clock=Clock())
    opened.begin()
    assert secret.exists() and [row["key"] for row in opened.runs()["runs"] if "secret" in row["key"]] == []
    assert "../../../secret/metrics.csv" not in opened.entry("local:lightning_logs/version_0").sizes()


@pytest.mark.frameworks
def test_a_curve_of_torchs_writer_in_another_process_grows(tmp_path):
    pytest.importorskip("torch")
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "root/tb/exp")],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    try:
        opened = None
        for step in range(4):
            process.stdin.write(f"{step} {step / 4}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "written\n"
            opened = opened or catalog_of(tmp_path / "root", tmp_path)
            until(lambda step=step, opened=opened: (opened.look(),
                                                    list(opened.series("local:tb/exp").points(
                                                        "train/loss")[0]))[1]
                  == list(range(step + 1)))
        row = opened.row("local:tb/exp")
        assert (row["state"], row["step"], row["main"]["value"], row["kinds"]) == (
            "running", 3, 0.75, ["tensorboard"])
    finally:
        process.communicate(timeout=30)


def test_a_bundle_carries_them_and_check_names_them(root, tmp_path, capsys):
    for folder in ("offline-run-20250101_000000-abc", "run-20250102_000000-abc"):
        put(root, f"p/wandb/{folder}/run-abc.wandb", "x" * 50)
    assert main(["bundle", "--root", str(root), "-o", str(tmp_path / "all.tgz")]) == 0
    assert main(["import", str(tmp_path / "all.tgz"), "--root", str(tmp_path / "there")]) == 0
    capsys.readouterr()
    names = {str(path.relative_to(root))
             for path in root.rglob("*") if path.is_file() and ".runicorn" not in path.parts}
    assert {str(path.relative_to(tmp_path / "there"))
            for path in (tmp_path / "there").rglob("*") if path.is_file()} >= names
    assert main(["check", str(tmp_path / "there")]) == 0
    told = capsys.readouterr().out
    assert "lightning_logs/version_0: not ours: CSV, 1 file" in told
    assert "p/wandb/:abc: not ours: W&B, 2 files" in told


def test_check_sums_up_notes_that_are_alike(root, capsys):
    for number in range(30):
        put(root, f"sweep/{number}/metrics.csv", TABLE)
    assert main(["check", str(root)]) == 0
    told = capsys.readouterr().out
    assert told.count("not ours: CSV, 1 file") == 20
    assert "· … and 11 more like “not ours: CSV, n file”; --json has all" in told
    main(["check", str(root), "--json"])
    assert capsys.readouterr().out.count("not ours: CSV") == 31


def test_a_run_is_shown_by_its_name_where_no_other_has_it(root, capsys):
    assert main(["show", "--root", str(root), "version_0"]) == 0
    assert main(["show", "--root", str(root), "n"]) == 0
    assert capsys.readouterr().out.count("local:p/n/20250101_000000_abcdef") == 1
    write_run(root, "q", "n", "20250101_000000_fedcba")
    assert main(["show", "--root", str(root), "n"]) == 2
    assert "local:q/n/20250101_000000_fedcba" in capsys.readouterr().err


@pytest.mark.parametrize(("path", "name"), [
    ("../x", "metrics.csv"), ("a/.ssh", "metrics.csv"), ("a", ".bashrc"), ("a", "b/../../x.csv"),
    ("/a", "metrics.csv"), ("a", "authorized_keys"), (".", ".profile"), ("a", "run.sh")])
def test_a_bundle_can_bring_nothing_that_is_no_file_of_a_run(path, name):
    assert not foreign.belongs(path, name)
    assert foreign.belongs("a/b", "metrics.csv") and foreign.belongs(".", "events.out.tfevents.1")
    assert foreign.belongs("a", "hparams.yaml")
