"""The dataset made by a real Spark in local mode is the one that one process makes. Java 17 comes from
Debian, see `make spark`."""

import ast
import json
import math
import os
import subprocess
import sys
import warnings

import analysis
import pytest
from catalogs import make_run
from tables import rows_of
from tfrecords import event, simple

# pandas and pyspark of the same year warn of each other
pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def context():
    """A Spark that tries each task four times, with two workers."""
    os.environ.update(SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable)
    import pyspark
    settings = pyspark.SparkConf().setMaster("local[2,4]").set("spark.ui.enabled", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = pyspark.SparkContext(conf=settings)
    yield context
    context.stop()


@pytest.fixture
def root(tmp_path):
    """Runs of two projects: resumed, of several ranks, chaotic, broken, of another logger."""
    root = tmp_path / "root"
    for number in range(24):
        folder = make_run(root, project=f"p{number % 2}", run_id=f"r{number:02}",
                          status="failed" if number % 5 == 0 else "finished",
                          config={"lr": number or 0.5, f"own{number}": [number]},
                          summary={"val/loss": number / 3},
                          events=[{"loss": number + step / 7, "note": f"at {step}"} for step in range(50)])
        if number % 4 == 0:
            (folder / "events.2.jsonl").write_bytes((folder / "events.jsonl").read_bytes()[-900:])
            (folder / "events.rank3.jsonl").write_bytes((folder / "events.jsonl").read_bytes())
    make_run(root, project="../x", run_id="newer", format=99)
    (make_run(root, project="a=b", run_id="no_meta") / "meta.json").write_text("{broken")
    (root / "tb" / "exp").mkdir(parents=True)
    (root / "tb/exp/events.out.tfevents.1700000000.host").write_bytes(
        b"".join(event(1700000000.0 + step, step, simple("loss", step / 4)) for step in range(40)))
    return root


def in_one_process(root, out):
    done = subprocess.run([sys.executable, "-m", "runicorn", "export", "--format", "parquet", "--root",
                           str(root), "-o", str(out)],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "newer Runicorn" in done.stderr, done.stderr
    return done


def same(one, other):
    for part in ("points", "runs"):
        assert rows_of(one / part) == rows_of(other / part)
    schemas = [json.loads((folder / "_schema.json").read_text()) for folder in (one, other)]
    assert schemas[0] == schemas[1] and len(rows_of(one / "points")) > 2500


def test_the_result_is_that_of_one_process_and_either_goes_on_with_the_other(context, root, tmp_path):
    from runicorn.transfer import spark
    report = spark.export(context, root, tmp_path / "spark")
    assert [key.rpartition("/")[2] for key, _ in report.problems] == ["newer"]
    in_one_process(root, tmp_path / "alone")
    same(tmp_path / "spark", tmp_path / "alone")
    make_run(root, project="p1", run_id="r99")
    assert "1 of them written now" in in_one_process(root, tmp_path / "spark").stderr
    assert spark.export(context, root, tmp_path / "spark").written == 0
    spark.export(context, root, tmp_path / "alone")
    same(tmp_path / "spark", tmp_path / "alone")
    names = sorted(path.name for path in (tmp_path / "spark").iterdir())
    assert names == [".runicorn.lock", "_runicorn.json", "_schema.json", "points", "runs"]


def test_tasks_that_fail_after_they_wrote_or_run_twice_leave_their_rows_once(
        context, root, tmp_path, monkeypatch):
    from runicorn.transfer import one_run, parts, spark

    class Flaky(spark.SparkWorkers):
        def parts(self, folder, work, planned):
            def task(part):
                import pyspark
                written = parts.write_part(folder, work, part, one_run.opened)
                if pyspark.TaskContext.get().attemptNumber() == 0:
                    raise OSError("the executor was lost")
                return written
            # as speculation does
            twice = self._context.parallelize([*planned, *planned], 2 * len(planned)).map(task).collect()
            yield from {written.file: written for written in twice}.values()
    monkeypatch.setattr(spark, "SparkWorkers", Flaky)
    spark.export(context, root, tmp_path / "flaky")
    in_one_process(root, tmp_path / "alone")
    same(tmp_path / "flaky", tmp_path / "alone")
    assert not list((tmp_path / "flaky").rglob("*.tmp"))


def test_sparks_block_of_the_document(tmp_path):
    series = analysis.make(tmp_path)
    code, = [code for code in analysis.BLOCKS if "pyspark" in code]
    done = subprocess.run([sys.executable, "-c", f"{code}\nprint([tuple(row) for row in result])"],
                          cwd=tmp_path, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"})
    assert done.returncode == 0, done.stderr
    best = {0.1: [], 1.0: []}
    for run, one in series.items():
        best[analysis.lr_of(run)] += [value for value in one.points("val/loss")[2] if math.isfinite(value)]
    assert ast.literal_eval(done.stdout) == [(lr, min(values), 3) for lr, values in best.items()]


def test_the_command(root, tmp_path):
    command = [sys.executable, "-m", "runicorn.transfer.spark"]
    done = subprocess.run([*command, str(root), str(tmp_path / "d"), "project:p1", "--master", "local[2]"],
                          capture_output=True, text=True, timeout=300,
                          env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"})
    assert done.returncode == 0 and done.stdout == f"{tmp_path / 'd'}\n", done.stderr
    assert "12 runs, 1,200 points in 1 files, 1 of them written now" in done.stderr
    done = subprocess.run([*command, str(tmp_path / "none"), str(tmp_path / "e")], capture_output=True,
                          text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, f"runicorn: the root {tmp_path / 'none'} is not a folder\n")
