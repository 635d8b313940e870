"""Answers stay small whatever a run holds: bytes are counted, what is left out is counted, and the rest comes
by part."""

import json
import os
import subprocess
import sys
import time

import pytest
from clients import Client
from small_runs import event, write_run

from runicorn import layout
from runicorn.cli import dialogue
from runicorn.connections.registry import Registry
from runicorn.news import Bell
from runicorn.reader import bounded
from runicorn.viewer import app

MOST = 1 << 20              # bytes of any answer here
RUN = "20250123_180000_abc123"
KEY = f"local:vision/wide/{RUN}"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def served(root, tmp_path):
    """A function that starts a viewer on the root and returns how it is asked: get(path, **query) -> (dict,
    bytes of the answer)."""
    running = []

    def start():
        mirrors = Registry(tmp_path / "home", Bell(), offline=True)
        server = app.start(tmp_path / "home", [("local", root)], mirrors, Bell(), port=0, offline=True)
        running.extend((server, mirrors))
        assert server.catalog.ready.wait(20)
        client = Client(server, app.make_app(server.site))

        def get(path, **query):
            reply = client("GET", path, **query)
            assert reply.status == 200
            return reply.json, len(reply.body)
        return get
    yield start
    for one in running:
        one.stop()


def rewrite(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def show(root, *words):
    done = subprocess.run([sys.executable, "-m", "runicorn", "show", RUN, "--root", str(root), *words],
                          capture_output=True, text=True, timeout=60,
                          env={**os.environ, "RUNICORN_HOME": str(root.parent / "home"), "COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_a_list_offers_some_of_100000_names_and_finds_the_others(root, served):
    folder = write_run(root, "vision", "wide", RUN)
    rows = [event(time.time() + 5, step, {f"layer/{n:06}/norm": n for n in range(step, 100_000, 20)})
            for step in range(20)]
    # as a killed run leaves them: its summary.json has none of it
    (folder / "events.jsonl").write_text("".join(rows))
    rewrite(folder, "status.json", status="running")
    write_run(root, "vision", "narrow", "20250123_180001_abc123", config={"lr": 0.1}, metric="val/loss")
    write_run(root, "vision", "narrow", "20250123_180002_abc123", config={"lr": 0.2}, metric="val/loss")
    get = served()
    answer, size = get("/api/runs")
    assert size < 100_000 and len(answer["runs"]) == 3
    columns = answer["columns"]
    assert "val/loss" in columns["summary"] and columns["config"] == ["lr"]
    assert "config" not in columns["more"]
    assert len(columns["summary"]) == 500 and columns["more"]["summary"] == 100_002 - 500
    found, size = get("/api/columns", of="summary", find="099999")
    assert found["items"] == ["layer/099999/norm"] and (found["matched"], found["total"]) == (1, 100_002)
    page, size = get("/api/columns", of="metrics", offset=500, limit=500)
    assert len(page["items"]) == 500 and size < 100_000
    answer, _ = get("/api/runs", filter="099999/norm=99999", column="summary.layer/099999/norm")
    assert [row["values"] for row in answer["runs"]] == [{"summary.layer/099999/norm": 99_999}]


def test_very_long_names_are_no_columns(root, served):
    write_run(root, "vision", "wide", RUN, config={"lr": 1, "x" * 40_000: 2, "y" * 10_000: 3})
    answer, size = served()("/api/runs")
    assert size < 100_000 and answer["columns"]["config"] == ["lr", "y" * 10_000]
    assert answer["columns"]["more"] == {"config": 1}


@pytest.mark.long
def test_a_run_is_told_in_part_and_the_rest_when_asked(root, served):
    config = {"lr": 0.001, "notes": "a" * 5_000_000 + "end",
              "layers": {f"layer{n}": {"width": n, "é": "ü" * 50} for n in range(60_000)},
              "seeds": list(range(200_000)), "last": True}
    folder = write_run(root, "vision", "wide", RUN, config=config)
    rewrite(folder, "status.json", traceback="Traceback\n" + "x" * 3_000_000 + "\nValueError: the end")
    get = served()
    answer, size = get(f"/api/runs/{KEY}")
    assert size < MOST and "config" not in answer["meta"] and answer["meta"]["hostname"] == "gpu-01"
    assert answer["config"]["lr"] == 0.001 and answer["config"]["last"] is True
    assert answer["config"]["notes"].endswith("aend") and "characters left out" in answer["config"]["notes"]
    assert answer["status"]["traceback"].endswith("ValueError: the end")
    told = sum(1 for _ in bounded.pairs(answer["config"]))
    assert told + answer["more"]["config"] == 120_004 and told > 1000
    assert answer["more"].keys() == {"config"}
    page, size = get("/api/part", run=KEY, of="config", find="layer59999")
    assert page["items"] == [["layers.layer59999.width", 59_999], ["layers.layer59999.é", "ü" * 50]]
    assert page["total"] == 120_004
    page, size = get("/api/part", run=KEY, of="config", offset=120_000, limit=5000)
    assert [name for name, _ in page["items"]][-1] == "last" and len(page["items"]) == 4 and size < MOST


def test_pages_of_a_part_meet_without_gap_and_stay_small(root, served):
    write_run(root, "vision", "wide", RUN, config={f"key{n}": "v" * 10_000 for n in range(200)})
    get, names = served(), []
    while True:
        page, size = get("/api/part", run=KEY, of="config", offset=len(names), limit=5000)
        assert size < 2 * bounded.PART
        names += [name for name, _ in page["items"]]
        if len(names) == page["matched"]:
            break
        assert page["items"]
    assert names == [f"key{n}" for n in range(200)]


@pytest.mark.long
def test_20000_metrics_are_told_in_part_the_main_one_among_them(root, served):
    folder = write_run(root, "vision", "wide", RUN)
    (folder / "events.jsonl").write_text(event(1.0, 1, {f"layer{n}/norm": n for n in range(20_000)})
                                         + event(2.0, 2, {"val/loss": 0.5}))
    rewrite(folder, "summary.json", **{"val/loss": 0.5})
    get = served()
    answer, size = get(f"/api/runs/{KEY}")
    names = [metric["name"] for metric in answer["metrics"]]
    assert size < MOST and len(names) == 2000 and names[0] == "layer0/norm" and "val/loss" in names
    assert answer["more"] == {"metrics": 18_001}
    page, _ = get("/api/part", run=KEY, of="metrics", find="layer19999/")
    assert [(metric["name"], metric["last"], metric["points"]) for metric in page["items"]] == [
        ("layer19999/norm", 19_999.0, 1)]


def test_a_usual_run_is_told_whole(root, served):
    write_run(root, "vision", "wide", RUN,
              config={"lr": 0.1, "optimizer": {"name": "Adam", "betas": [0.9, 0.99]}, "empty": {}})
    answer, _ = served()(f"/api/runs/{KEY}")
    assert answer["config"] == {"lr": 0.1, "optimizer": {"name": "Adam", "betas": [0.9, 0.99]}, "empty": {}}
    assert answer["more"] == {}


def test_what_a_hostile_meta_says_of_itself_stays_small_in_the_list(root, served):
    write_run(root, "vision", "wide", RUN, notes="w" * 20_000, tags=[f"tag{n}" for n in range(3_000)])
    answer, size = served()("/api/runs")
    assert size < 100_000
    row = answer["runs"][0]
    assert row["note"].endswith("…") and len(row["tags"]) == 100


def test_of_very_many_attempts_the_last_are_told(root, served):
    folder = write_run(root, "vision", "wide", RUN, rows=3)
    status = json.loads((folder / "status.json").read_text())
    status["attempts"] = [{"n": n, "started_at": 1737655200.0, "from_step": "x" * 50}
                          for n in range(1, 100_001)]
    (folder / "status.json").write_text(json.dumps(status))
    answer, size = served()(f"/api/runs/{RUN}")
    assert size < 200_000 and [answer["attempts"][at] for at in (0, -1)] == [
        {"n": n, "started_at": 1737655200.0, "from_step": None} for n in (99_001, 100_000)]


def test_a_part_that_is_none_is_refused(root, served):
    write_run(root, "vision", "wide", RUN)
    get = served()
    for path in ("/api/part?run=" + KEY + "&of=files", "/api/columns?of=tags"):
        with pytest.raises(AssertionError):
            get(path)


@pytest.mark.long
def test_show_tells_a_part_and_more_when_asked(root):
    folder = write_run(root, "vision", "wide", RUN,
                       config={"blob": "b" * 20_000_000, **{f"key{n}": n for n in range(50_000)}})
    (folder / "events.jsonl").write_text(event(1.0, 1, {f"layer{n}/norm": n for n in range(1000)}))
    said = show(root)
    assert len(said) < 100_000 and "  and 49,801 more" in said and "  and 800 more" in said
    found = show(root, "--find", "key4999")
    assert "key49999" in found and "key5 " not in found and "more;" not in found
    assert "key49999" in show(root, "--all")


def test_a_cell_of_megabytes_is_cut_at_once():
    lines = dialogue.table(["A", "B"], [["a", "x" * 50_000_000], ["b", "short"]], 80)
    assert all(len(line) <= 80 for line in lines) and lines[1].endswith("…")


def test_nesting_beyond_what_json_readers_take_is_said():
    deep = value = {}
    for _ in range(900):
        value["in"] = value = {}
    assert bounded.some({"deep": deep, "lr": 1}) == ({"lr": 1}, 1)
    (name, said), = map(bounded.short_pair, bounded.pairs(deep))
    assert name.count("in") == 64 and len(layout.to_json(said)) < bounded.TEXT
    assert bounded.some({"a": {"b": {"c": {"d": 1}}}}) == ({"a": {"b": {"c": {"d": 1}}}}, 0)
