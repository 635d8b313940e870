"""A list of many runs of another logger: an answer waits for none of them for long, and what it did without
comes behind it."""

import threading
import time

import pytest
from clocks import Clock
from waiting import until

from runicorn.errors import UsageError
from runicorn.reader import glances
from runicorn.reader.catalog import Catalog

RUNS = 60


@pytest.fixture
def root(tmp_path):
    for run in range(RUNS):
        folder = tmp_path / "root" / "sweep" / f"run{run:02}"
        folder.mkdir(parents=True)
        rows = "".join(f"{step},{1 / (run + 1)!r},{run}\n" for step in range(20))
        (folder / "metrics.csv").write_text(f"step,eval/loss,odd_{run % 3}\n{rows}")
    return tmp_path / "root"


def opened(root, tmp_path, **how):
    catalog = Catalog([("local", root)], home=tmp_path / "home", **how)
    catalog.begin()
    catalog.refresh()
    return catalog


@pytest.fixture
def slow(monkeypatch):
    """Reading a run takes a while; yields the list of the runs that were read."""
    read, before = [], glances.Reading.go_on

    def go_on(self, *arguments):
        read.append(threading.current_thread().name)
        time.sleep(0.02)
        before(self, *arguments)
    monkeypatch.setattr(glances.Reading, "go_on", go_on)
    return read


def test_a_filter_by_a_metric_is_answered_at_once_and_right_in_the_end(root, tmp_path, slow, monkeypatch):
    monkeypatch.setattr(glances, "SHARE", 0.1)
    rung = []
    catalog = opened(root, tmp_path, ring=rung.append)
    answer = catalog.runs("loss<0.05")
    assert answer["matched"] < RUNS - 20 and 0 < answer["unread"] < RUNS
    # about 0.1 s
    assert slow.count("glances") < RUNS and len([name for name in slow if name != "glances"]) <= 8
    until(lambda: not catalog.runs("loss<0.05")["unread"])
    answer = catalog.runs("loss<0.05")
    assert (answer["matched"], answer["means"]) == (RUNS - 20, {"loss": {"eval/loss": RUNS}}) and catalog.owes
    assert {"eval/loss", "odd_0", "odd_1", "odd_2"} <= set(catalog.view().names["metrics"])
    assert [row["name"] for row in catalog.runs(sort="summary.eval/loss", limit=1)["runs"]] == [
        f"run{RUNS - 1}"]


def test_without_a_bell_the_answer_waits_for_all_of_them(root, tmp_path):
    answer = opened(root, tmp_path).runs("loss<0.05")
    assert (answer["matched"], answer["unread"]) == (RUNS - 20, 0)
    with pytest.raises(UsageError):
        opened(root, tmp_path).runs(sort="nothing_of_that_name")


def test_a_list_that_asks_for_no_metric_reads_the_rows_it_shows_alone(root, tmp_path, slow):
    catalog = opened(root, tmp_path, ring=lambda topic: None)
    assert catalog.runs("run", limit=3)["matched"] == RUNS
    until(lambda: not catalog.runs("run", limit=3)["unread"])
    assert len(slow) == 3


def test_what_grew_meanwhile_is_read_behind_the_answer_and_shown_as_it_was(root, tmp_path, slow, monkeypatch):
    catalog = opened(root, tmp_path, ring=lambda topic: None)
    catalog.runs("loss<9")
    until(lambda: not catalog.runs("loss<9")["unread"])
    monkeypatch.setattr(glances, "SHARE", 0.0)
    with open(root / "sweep/run07/metrics.csv", "a") as file:
        file.write("20,0.001,7\n")
    row = next(row for row in catalog.runs("loss<9")["runs"] if row["name"] == "run07")
    assert row["values"] == {} and row["main"]["value"] in (1 / 8, 0.001)
    until(lambda: [row["main"]["value"]
                   for row in catalog.runs("loss<0.01")["runs"] if row["name"] == "run07"] == [0.001])


def test_a_run_whose_reading_fails_keeps_the_others_waiting_for_nothing(root, tmp_path, monkeypatch, caplog):
    before = glances.Reading.go_on

    def go_on(self, sizes, make, *more):
        if make().folder.endswith("run30"):
            raise RuntimeError("planted")
        before(self, sizes, make, *more)
    monkeypatch.setattr(glances.Reading, "go_on", go_on)
    monkeypatch.setattr(glances, "SHARE", 0.0)
    catalog = opened(root, tmp_path, ring=lambda topic: None, clock=Clock())
    catalog.runs("loss<9")
    until(lambda: catalog.runs("loss<9")["matched"] == RUNS - 1)
    assert "planted" in caplog.text
