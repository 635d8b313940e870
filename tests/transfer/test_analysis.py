"""Every block of docs/analysis.md runs in the real engine, and says what Runicorn's own reader says.
Spark's is in test_spark.py."""

import math
import statistics
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
    blocks = [code for code in analysis.BLOCKS if "pyspark" not in code]
    assert [sum(word in code for code in blocks) for word in words] == [1] * len(words)
    assert len(blocks) == len(words)


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
