"""Text and lists of numbers in rows: check accepts them, and all that reads curves passes over them."""

import csv
import json
import math

import pytest
from playwright.sync_api import expect

import runicorn
from runicorn.cli import main as cli
from runicorn.metrics.series import Series

pytest_plugins = ["chromium"]
ROWS = [{"loss": 1 / (step + 1), "phase": "warm <b>up</b>" if step < 10 else "main",
         "histogram": [1, 2.5, step], "empty": [], "only": "text", "mixed": step if step % 2 else "none",
         "number": "7"} for step in range(30)]


@pytest.fixture
def keys(home, capsys):
    """The keys of two finished runs below the home's root."""
    made = []
    for name in ("one", "two"):
        run = runicorn.init(project="p", name=name, storage=home / "experiments", capture=False, system=False)
        for step, row in enumerate(ROWS):
            run.log(row, step=step)
        run.finish()
        made.append(f"local:p/{name}/{run.id}")
    capsys.readouterr()
    return made


def folder(home, key):
    project, name, run_id = key.partition(":")[2].split("/")
    return home / "experiments" / project / name / "runs" / run_id


def test_check_finds_nothing_wrong(home, keys, capsys):
    root = str(home / "experiments")
    assert cli.main(["check", root]) == cli.main(["check", "--root", root]) == 0
    assert "0 wrong" in capsys.readouterr().out


def test_only_numbers_are_curves(home, keys):
    series = Series(folder(home, keys[0]))
    series.refresh()
    metrics = series.metrics()
    assert set(metrics) == {"loss", "mixed"}
    assert metrics["loss"]["points"] == 30 and metrics["mixed"]["points"] == 15
    picture = series.picture("mixed", buckets=100)
    assert list(picture["x"]) == list(picture["last"]) == list(range(1, 30, 2))


def test_exports_hold_the_curves(home, keys, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_id = keys[0].rsplit("/", 1)[1]
    for kind in ("csv", "tensorboard", "html"):
        assert cli.main(["export", "--run-id", run_id, "--format", kind]) == 0
    table = list(csv.DictReader((tmp_path / f"{run_id}.csv").read_text().splitlines()))
    assert set(table[0]) == {"step", "ts", "loss", "mixed"}
    assert [float(row["loss"]) for row in table] == [row["loss"] for row in ROWS]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(tmp_path / f"{run_id}.tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "mixed"} and len(events.Scalars("mixed")) == 15
    assert "warm <b>" not in (tmp_path / f"{run_id}.html").read_text()


def test_the_summary_and_a_script_have_them(home, keys, monkeypatch, capsys):
    kept = json.loads((folder(home, keys[0]) / "summary.json").read_text())
    assert kept["phase"] == "main" and kept["histogram"] == [1, 2.5, 29]
    assert cli.main(["show", keys[0].rsplit("/", 1)[1]]) == 0
    out = capsys.readouterr().out
    assert "phase" in out and "[1, 2.5, 29]" in out


def test_the_pages_draw_what_is_a_number(home, keys, serve, open_page):
    server = serve()
    page = open_page(f"{server.url}/runs/{keys[0]}")
    expect(page.locator('figure[data-chart="loss"] .n')).to_have_text("30 of 30 pts")
    expect(page.locator('figure[data-chart="mixed"] .n')).to_have_text("15 of 15 pts")
    assert page.locator("figure.chart").count() == 2
    compared = open_page(f"{server.url}/compare?runs={','.join(keys)}")
    expect(compared.locator('figure[data-chart="loss"] canvas')).to_be_visible()
    listed = open_page(server.url)
    expect(listed.locator("body")).to_contain_text("two")


def test_infinities_beside_text_stay_numbers(home, capsys):
    run = runicorn.init(project="p", name="n", storage=home / "experiments", capture=False, system=False)
    for value in (math.inf, math.nan, "text", 1.0):
        run.log({"x": value})
    run.finish()
    series = Series(run.dir)
    series.refresh()
    assert series.metrics()["x"]["points"] == 3 and cli.main(["check", str(run.dir)]) == 0
