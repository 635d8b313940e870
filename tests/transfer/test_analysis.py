"""Every block of docs/analysis.md runs in the real engine, and says what Runicorn's own reader says.
Spark's is in test_spark.py."""

import math
import re
import statistics
import subprocess
import sys
import time

import analysis
import pytest


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis")
    return folder, analysis.make(folder)


@pytest.fixture
def series(place, monkeypatch):
    monkeypatch.chdir(place[0])
    return place[1]


def curve(series, run, metric):
    """Return {step: value} of what counts."""
    steps, _, values = series[run].points(metric)
    return dict(zip(steps, values))


def finite(values):
    return {step: value for step, value in values.items() if math.isfinite(value)}


def exactly(value):
    return pytest.approx(value, rel=1e-12, nan_ok=True)


def test_each_block_has_its_test_here_or_among_sparks():
    words = ["arg_min", "arg_max", "epoch(now())", "read_json('exp", 'group_by("lr"', ".pivot(on=",
             "scan_csv", "pivot_table", "json_normalize"]
    blocks = [code for code in analysis.BLOCKS if "pyspark" not in code and "runicorn.init" not in code]
    assert [sum(word in code for code in blocks) for word in words] == [1] * len(words)
    assert len(blocks) == len(words)


def test_each_block_works_where_the_first_has_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNICORN_HOME", str(tmp_path / "home"))
    first, *others = analysis.BLOCKS
    command = re.search(r"^```bash\nrunicorn (export .*--root experiments.*)\n```", analysis.TEXT, re.M)[1]
    subprocess.run([sys.executable, "-c", first], check=True, stderr=subprocess.PIPE, timeout=60)
    subprocess.run([sys.executable, "-m", "runicorn", *command.split()], check=True, capture_output=True,
                   timeout=60)
    empty = []
    for code in others:
        if "pyspark" not in code:
            names = {}
            exec(compile(code, "docs/analysis.md", "exec"), names)
            empty += [] if len(names["result"]) else [code]
    assert len(others) > 5 and empty == []


def test_a_file_with_texts_and_rows_without_metrics_is_read_as_it_lies(series, monkeypatch, tmp_path):
    """What a run logs besides numbers costs the blocks on its file nothing."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments/p/n/runs/20250123_180000_abc123"
    folder.mkdir(parents=True)
    (folder / "events.jsonl").write_text(
        '{"ts":1.5,"type":"gap","why":"disk full"}\n'
        '{"ts":2.5,"step":1,"data":{"train/loss":2,"note":"warm"}}\n'
        '{"ts":3.5,"step":null,"type":"text","data":{"sample":"a\\nb"}}\n'
        '{"ts":4.5,"step":3,"data":{"train/loss":"NaN"}}\n')
    found = analysis.result_of("json_normalize")
    assert list(found["step"].dropna()) == [1, 3] and found["train/loss"].iloc[0] == 2
    for words in ("read_json('exp", "scan_csv"):
        rows = analysis.result_of(words)
        (run, mean), = rows if isinstance(rows, list) else rows.rows()
        assert run == folder.name and (mean is None or math.isnan(mean))


def test_best_run(series):
    found = analysis.result_of("arg_min")
    best = []
    for run in series:
        values = finite(curve(series, run, "val/loss"))
        step = min(values, key=values.get)
        best.append((run, analysis.lr_of(run), values[step], step))
    assert found == sorted(best, key=lambda row: row[2])[:5]


def test_last_values(series):
    found = analysis.result_of("arg_max")
    wanted = []
    for run in sorted(series):
        for metric in ("train/loss", "val/loss"):
            values = curve(series, run, metric)
            wanted.append((run, metric, values[max(values)], max(values)))
    assert found == wanted and len(found) == 12


def test_the_last_day(series):
    found = analysis.result_of("epoch(now())")
    wanted = []
    for run in sorted(series)[4:]:
        tables = [table for _, table in series[run].all_of(0)[0]]
        times = [ts for table in tables for group in table.groups()
                 for ts in list(group.ts) * len(group.columns)]
        recent = [ts for ts in times if ts > time.time() - 86400]
        wanted.append(("vision", run, len(recent), pytest.approx(max(recent), abs=0.001)))
    assert [(*row[:3], row[3].timestamp()) for row in found] == wanted
    assert [row[2] for row in found] == [110, 130]


@pytest.mark.parametrize("words", ["read_json('exp", "scan_csv"])
def test_the_files_as_they_lie(series, words):
    found = analysis.result_of(words)
    rows = found if isinstance(found, list) else found.rows()
    means = {run: statistics.fmean([value for step, value in curve(series, run, "train/loss").items()
                                    if step < 50])
             for run in sorted(series)}
    assert [run for run, _ in rows] == list(means)
    assert [mean for _, mean in rows] == [exactly(mean) for mean in means.values()] and math.isnan(rows[2][1])


def test_the_mean_of_the_seeds(series):
    found = analysis.result_of('group_by("lr"')
    wanted = []
    for lr in (0.1, 1.0):
        curves = [curve(series, run, "train/loss") for run in series if analysis.lr_of(run) == lr]
        for step in sorted({step for values in curves for step in values}):
            values = [values[step] for values in curves if step in values]
            wanted.append((lr, step, exactly(sum(values) / len(values)),
                           exactly(statistics.stdev(values) if not math.isnan(sum(values)) else math.nan),
                           len(values)))
    assert found.rows() == wanted and len(wanted) == 200


def test_metrics_side_by_side(series):
    found = analysis.result_of(".pivot(on=")
    wanted = []
    for run in sorted(series):
        train, val = (curve(series, run, metric) for metric in ("train/loss", "val/loss"))
        wanted += [("local", run, step, exactly(train[step]), exactly(val[step]), analysis.lr_of(run),
                    int(run[-1]) // 2)
                   for step in sorted(train.keys() & val.keys())]
    columns = ["connection", "run", "step", "train/loss", "val/loss", "config.lr", "config.seed"]
    assert found.select(columns).rows() == wanted and len(wanted) == 68


def test_pandas_reads_one_metric_of_all_runs(series):
    found = analysis.result_of("pivot_table")
    curves = {run: dict(found[run].dropna()) for run in series}
    assert curves == {run: finite(curve(series, run, "val/loss")) for run in series}
    assert min(map(len, curves.values())) >= 9


def test_pandas_reads_a_file_as_it_lies(series):
    found = analysis.result_of("json_normalize")
    first = sorted(series)[0]
    assert dict(zip(found["step"], found["train/loss"])) == curve(series, first, "train/loss")
    assert dict(found.set_index("step")["val/loss"].dropna()) == curve(series, first, "val/loss")
    assert len(found) == 100
