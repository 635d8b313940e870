"""The dataset made by a real Spark in local mode is the one that one process makes. Java 17 comes from Debian, see `make spark`."""

import math
import warnings

import analysis
import pytest

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore")]      # pandas and pyspark of the same year warn of each other


def test_sparks_block_of_the_document(tmp_path, monkeypatch):
    series = analysis.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = analysis.result_of("pyspark")
    best = {0.1: [], 1.0: []}
    for run, one in series.items():
        best[analysis.lr_of(run)] += [value for value in one.points("val/loss")[2] if math.isfinite(value)]
    assert [(row.lr, row.best, row.runs) for row in found] == [(lr, min(values), 3) for lr, values in best.items()]
