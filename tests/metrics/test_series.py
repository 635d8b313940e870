"""Series over real run folders: attempts and ranks joined, pictures on every x, the older event shape, what
grows."""

import json
import math
import os
import random
import shutil
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runicorn import layout
from runicorn.errors import UsageError
from runicorn.metrics.kinds import events, trainer
from runicorn.metrics.run_tables import COARSE_BYTES
from runicorn.metrics.series import Series


def write(folder, name, *rows, start=1000.0):
    """Append rows (step, data), a second apart, to an events file."""
    folder.mkdir(exist_ok=True)
    with open(folder / name, "a") as file:
        for place, (step, data) in enumerate(rows):
            file.write(layout.to_json({"ts": start + place, "step": step, "data": data}) + "\n")


def opened(folder, cache=None):
    series = Series(folder, cache)
    series.refresh()
    return series


def points(picture):
    return list(zip(picture["x"], picture["last"]))


def losses(*steps):
    return [(step, {"loss": step / 10}) for step in steps]


def test_one_file(tmp_path):
    write(tmp_path, "events.jsonl", *[(step, {"loss": 1 / (step + 1), "lr": 0.1}) for step in range(100)],
          (100, {"val/loss": 0.5}))
    series = opened(tmp_path)
    facts = series.metrics()
    assert list(facts) == ["loss", "lr", "val/loss"]
    assert facts["loss"] == {"points": 100, "first_step": 0, "last_step": 99, "last": 0.01, "last_ts": 1099.0,
                             "attempts": [1], "ranks": [0], "best": {"min": (0.01, 99), "max": (1.0, 0)}}
    assert (series.rows, series.last_step, series.first_ts, series.last_ts, series.median_gap) == (
        101, 100, 1000.0, 1100.0, 1.0)
    picture = series.picture("loss")
    assert picture["exact"] and points(picture) == [(step, 1 / (step + 1)) for step in range(100)]
    assert picture["n"] == picture["m"] == picture["total"] == 100 and picture["superseded"] is None
    assert not picture["approximate"]
    assert series.picture("nothing") is None and series.picture("loss", rank=1) is None
    json.dumps(picture, allow_nan=False)


def test_no_folder_and_an_empty_one(tmp_path):
    series = Series(tmp_path / "absent")
    assert not series.refresh() and series.metrics() == {} and series.picture("loss") is None
    assert (series.rows, series.last_step, series.first_ts, series.median_gap, series.times.speed()) == (
        0, None, None, None, None)
    assert series.ranks == series.attempts == series.spark("loss") == []
    assert series.times.step_at(1000) is None and series.times.time_of(1) is None
    assert series.system() == {"now": None, "series": []}


def test_every_x(tmp_path):
    rows = [(step * 10, {"loss": float(step), "epoch": step // 4}) for step in range(12)]
    write(tmp_path, "events.jsonl", *rows, (7, {"val": 0.5}), (8, {"val": 0.6}))
    series = opened(tmp_path)
    assert series.picture("loss", x="step")["x"] == [step * 10 for step in range(12)]
    assert series.picture("loss", x="relative")["x"] == list(range(12))
    # from the run's first row, not its own
    assert series.picture("val", x="relative")["x"] == [12, 13]
    assert series.picture("loss", x="wall")["x"] == [1000.0 + step for step in range(12)]
    assert series.picture("loss", x="metric:epoch")["x"] == [step // 4 for step in range(12)]
    assert series.picture("val", x="metric:epoch")["x"] == [2.0, 2.0]           # its last value before
    assert series.picture("loss", x="metric:val")["x"] == []                    # logged only afterwards
    assert series.picture("loss", x="metric:absent")["x"] == []
    assert series.picture("loss", lo=30, hi=50)["last"] == [3.0, 4.0, 5.0]
    assert series.picture("loss", x="relative", lo=3, hi=5)["last"] == [3.0, 4.0, 5.0]
    for wrong in ({"lo": math.nan}, {"x": "metric"}, {"x": "time"}, {"buckets": 0}, {"smooth": 1.0},
                  {"smooth": -0.1}):
        with pytest.raises(UsageError):
            series.picture("loss", **wrong)


def test_the_moment_of_a_point_on_every_axis_of_time(tmp_path):
    rows = [(step * 10, {"loss": float(step), "train/epoch": step // 4}) for step in range(12)]
    write(tmp_path, "events.jsonl", *rows, (110, {"val": 0.5}))
    series = opened(tmp_path)
    assert series.times.moment("loss", "step", 50) == {"step": 50, "ts": 1005.0, "epoch": 1.0}
    # later than the loss of that step
    assert series.times.moment("val", "step", 110) == {"step": 110, "ts": 1012.0, "epoch": 2.0}
    same = [series.times.moment("loss", x, at)
            for x, at in (("step", 50), ("relative", 5.000001), ("wall", 1005.0))]
    assert same[0] == same[1] == same[2]
    assert series.times.moment("loss", "step", 55) is series.times.moment("absent", "step", 50) is None
    assert series.times.moment("loss", "step", 50, rank=1) is None
    with pytest.raises(UsageError):
        series.times.moment("loss", "metric:val", 1)
    write(tmp_path, "events.2.jsonl", *losses(60, 40, 20), start=2000.0)
    series.refresh()
    # out of order, in the newer attempt
    assert series.times.moment("loss", "step", 40) == {"step": 40, "ts": 2001.0, "epoch": None}
    assert series.times.moment("loss", "step", 50)["ts"] == 1005.0


def test_x_in_any_order_is_sorted(tmp_path):
    order = random.Random(3).sample(range(500), 500)
    write(tmp_path, "events.jsonl", *[(step, {"loss": float(step), "lr": 500.0 - step}) for step in order])
    series = opened(tmp_path)
    assert points(series.picture("loss")) == [(step, float(step)) for step in range(500)]
    assert points(series.picture("loss", x="metric:lr", lo=1, hi=3)) == [
        (1.0, 499.0), (2.0, 498.0), (3.0, 497.0)]
    assert series.metrics()["loss"]["last_step"] == 499
    assert series.metrics()["loss"]["last"] == float(order[-1])


# -- attempts and ranks --------------------------------------------------------------------------------------

def test_superseding_is_per_metric(tmp_path):
    write(tmp_path, "events.jsonl", *losses(*range(100)), (1, {"val": 0.9}), (2, {"val": 0.8}))
    write(tmp_path, "events.2.jsonl", *losses(*range(60, 80)), start=2000.0)
    series = opened(tmp_path)
    picture = series.picture("loss")
    assert points(picture) == [(step, step / 10) for step in range(80)]
    assert picture["superseded"]["x"] == list(range(60, 100))
    assert picture["superseded"]["last"] == [step / 10 for step in range(60, 100)]
    # the second attempt never logged it
    assert points(series.picture("val")) == [(1, 0.9), (2, 0.8)]
    facts = series.metrics()
    assert (facts["loss"]["points"], facts["loss"]["attempts"], facts["loss"]["last_ts"]) == (
        80, [1, 2], 2019.0)
    # superseded points don't count
    assert facts["loss"]["best"]["max"] == (7.9, 79)
    assert (series.last_step, series.attempts) == (79, [1, 2])
    assert series.picture("loss", x="relative")["x"][-1] == 1019.0 and series.times.time_of(70) == 2010.0
    write(tmp_path, "events.3.jsonl", *losses(10), start=3000.0)
    series.refresh()
    assert points(series.picture("loss")) == [(step, step / 10) for step in range(11)]


def test_a_resumed_run_that_grows_is_drawn_as_if_opened_now(tmp_path):
    write(tmp_path, "events.jsonl", *losses(*range(200)))
    series = Series(tmp_path)
    for step in range(150, 180, 3):
        write(tmp_path, "events.2.jsonl", *losses(step, step + 1, step + 2), start=2000.0 + step)
        assert series.refresh()
        for x in ("step", "wall"):
            assert series.picture("loss", x=x, smooth=0.5) == opened(tmp_path).picture(
                "loss", x=x, smooth=0.5)
    # a step back: everything from there is superseded
    write(tmp_path, "events.2.jsonl", *losses(120), start=3000.0)
    series.refresh()
    assert points(series.picture("loss")) == points(opened(tmp_path).picture("loss"))
    assert series.picture("loss")["superseded"]["x"][0] == 120


attempts = st.lists(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a", "b"])), min_size=1,
                             max_size=25), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(attempts)
def test_superseding_by_its_definition(tmp_path_factory, logged):
    folder = tmp_path_factory.mktemp("run")
    for number, rows in enumerate(logged, 1):
        lines = [(step, {name: number + step / 100}) for step, name in rows]
        write(folder, layout.own_file("events", number), *lines, start=1000.0 * number)
    series = opened(folder)
    for name in ("a", "b"):
        kept, superseded = [], []
        for number, rows in enumerate(logged, 1):
            later = [step for rows in logged[number:] for step, other in rows if other == name]
            for step, other in rows:
                if other == name:
                    (superseded if later and step >= min(later) else kept).append((step, number + step / 100))
        picture = series.picture(name)
        if not kept:
            assert picture is None
            continue
        assert points(picture) == sorted(kept, key=lambda point: point[0])
        assert (points(picture["superseded"]) if picture["superseded"] else []) == sorted(
            superseded, key=lambda point: point[0])


def test_ranks_are_kept_apart(tmp_path):
    write(tmp_path, "events.jsonl", *losses(0, 1, 2))
    write(tmp_path, "events.rank3.jsonl", *[(step, {"loss": 9.0, "only3": 1.0}) for step in range(5)])
    series = opened(tmp_path)
    facts = series.metrics()
    assert series.ranks == [0, 3] and facts["loss"]["ranks"] == [0, 3] and facts["loss"]["points"] == 3
    assert facts["only3"]["ranks"] == [3]
    assert series.picture("loss", rank=3)["last"] == [9.0] * 5
    assert series.picture("loss")["last"] == [0.0, 0.1, 0.2]
    assert series.last_step == 2


# -- what grows, vanishes and is huge ------------------------------------------------------------------------

def test_growth_is_seen_and_nothing_new_is_told(tmp_path):
    series = Series(tmp_path)
    assert not series.refresh()
    write(tmp_path, "events.jsonl", *losses(1))
    assert series.refresh() and not series.refresh()
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"ts":1,"st')
    # half a line is no news and nothing to do
    assert not series.refresh() and series.behind == 0
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('ep":2,"data":{"loss":2}}\n')
    assert series.refresh() and series.metrics()["loss"]["points"] == 2
    shutil.rmtree(tmp_path)
    assert series.refresh() and series.metrics() == {}


def huge(folder):
    text, step = [], 0
    while step * 52 < COARSE_BYTES * 1.3:
        text.append(f'{{"ts":{1000 + step}.125,"step":{step},"data":{{"loss":{step % 1000}.5}}}}\n')
        step += 1
    (folder / "events.jsonl").write_text("".join(text))
    return step


def test_a_huge_cold_file_is_drawn_at_once_and_exactly_later(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    rows = huge(run)
    series = Series(run, tmp_path / "columns")
    series.refresh(0)
    coarse = series.picture("loss", buckets=400)
    assert coarse["approximate"] and series.behind > COARSE_BYTES and coarse["n"] > 300
    assert coarse["total"] < rows / 5
    assert (coarse["x_min"], coarse["x_max"], series.last_step) == (0, rows - 1, rows - 1)
    assert series.metrics()["loss"]["last_step"] == rows - 1
    reading = threading.Thread(target=series.refresh)
    reading.start()
    while reading.is_alive():
        # pictures come while it is parsed
        assert series.picture("loss", buckets=50)["x_max"] <= rows - 1
    exact = series.picture("loss", buckets=400)
    assert not exact["approximate"] and exact["total"] == rows == series.rows and series.behind == 0
    again = Series(run, tmp_path / "columns")
    again.refresh(0)
    # from the cache, at the first look
    assert again.picture("loss", buckets=400) == exact


def test_a_run_that_is_not_here_is_drawn_from_a_sample(tmp_path):
    rows = huge(tmp_path)
    text, far = (tmp_path / "events.jsonl").read_bytes(), tmp_path / "far"
    series = Series(far)
    series.prime((0, 1), len(text), lambda spans: [text[offset:offset + length] for offset, length in spans],
                 events.Reader)
    series.refresh()
    assert series.picture("loss")["approximate"] and series.picture("loss")["x_max"] == rows - 1
    assert series.ranks == [0]
    far.mkdir()
    shutil.copy(tmp_path / "events.jsonl", far / "events.jsonl")
    series.refresh()
    assert not series.picture("loss")["approximate"] and series.rows == rows
    series.prime((0, 2), 10, lambda spans: [], trainer.Reader)
    assert series.rows == rows and not series.picture(
        "loss")["approximate"], "a kind that can't be read in part"


def test_memory_is_told_and_copies_are_bounded(tmp_path):
    write(tmp_path, "events.jsonl", *[(-step, {f"m{k}": 1.0 for k in range(8)}) for step in range(1000)])
    series = opened(tmp_path)
    alone = series.nbytes
    for k in range(8):
        series.picture(f"m{k}")                     # steps go down: each is shown by a sorted copy
    assert 1000 * (8 * 8 + 20) <= alone < series.nbytes <= 2 * alone + 8 * 1000 * 16


def test_links_and_pipes_are_not_read(tmp_path):
    write(tmp_path, "secret.jsonl", *losses(1))
    os.symlink(tmp_path / "secret.jsonl", tmp_path / "events.jsonl")
    os.mkfifo(tmp_path / "events.2.jsonl")
    os.mkdir(tmp_path / "events.3.jsonl")
    assert opened(tmp_path).metrics() == {}


# -- small answers -------------------------------------------------------------------------------------------

def test_spark(tmp_path):
    write(tmp_path, "events.jsonl",
          *[(step, {"loss": "NaN" if step == 49 else float(step)}) for step in range(50)])
    series = opened(tmp_path)
    assert series.spark("loss", 5) == [9.0, 19.0, 29.0, 39.0, None] and len(series.spark("loss", 100)) == 50


def test_steps_and_times(tmp_path):
    write(tmp_path, "events.jsonl", *[(step * 5, {"loss": 1.0}) for step in range(10)], (3, {"val": 1.0}))
    series = opened(tmp_path)
    assert series.times.steps_at([999, None, 1003, 1003, 1004, 5000, 5000]) == [None, None, 15, 15, 20, 3, 3]
    assert [series.times.step_at(ts) for ts in (999, 1000, 1003.2, 1009, 1010, 5000)] == [
        None, 0, 15, 45, 3, 3]
    assert [series.times.time_of(step) for step in (0, 5, 6, 45, 46)] == [
        1000.0, 1001.0, 1002.0, 1009.0, None]
    assert series.times.speed() == 5.0


def test_the_lines_of_a_second_are_spread_over_its_steps(tmp_path):
    rows = [(step, 1000 + step / 100, {"train/loss": 1.0} if step % 10 else {"val/loss": 1.0})
            for step in range(300)]
    (tmp_path / "events.jsonl").write_text(
        "".join(json.dumps({"ts": ts, "step": step, "data": data}) + "\n" for step, ts, data in rows))
    series = opened(tmp_path)
    assert series.times.steps_at([1001] * 10) == [109, 119, 129, 139, 149, 159, 169, 179, 189, 199]
    assert series.times.steps_at([1000, 1001, 1001, 1002]) == [99, 149, 199, 299]
    assert series.times.steps_at([1001] * 100) == list(range(100, 200))
    assert series.times.steps_at([1001] * 200)[::2] == list(range(100, 200))
    assert series.times.steps_at([]) == []
    assert series.times.steps_at([1007, 1007]) == [299, 299]


def test_best_rule():
    smaller = ["loss", "val/loss", "train/error_rate", "ppl", "RMSE", "step_time", "a/fid", "valLoss",
               "testWER", "stepTime", "mse2"]
    assert [layout.best_rule(name) for name in smaller] == ["min"] * len(smaller)
    assert [layout.best_rule(name) for name in ("Loss/train", "a/loss/val", "mse/Test")] == ["min"] * 3
    assert [layout.best_rule(name) for name in ("Accuracy/test", "loss/trained", "train")] == ["max"] * 3
    assert [layout.best_rule(name)
            for name in ("acc", "loss/accuracy", "bleu", "reward", "power", "confidence")] == ["max"] * 6


def test_system(tmp_path):
    lines = [{"ts": 1000.0 + 10 * k, "cpu": 40.0 + k, "mem": [k * 1e9, 64e9], "disk": [5e9, 9e9],
              "gpu": [{"i": 0, "name": "A100", "util": 90 + k, "mem": [8e9, 11e9], "temp": 71, "power": 240}]}
             for k in range(5)]
    (tmp_path / "system.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"ts":10')
    told = opened(tmp_path).system()
    assert told["now"] == lines[-1]
    assert [picture["metric"] for picture in told["series"]] == [
        "cpu", "mem", "disk", "gpu0.util", "gpu0.mem", "gpu0.temp", "gpu0.power"]
    assert points(told["series"][1]) == [(1000.0 + 10 * k, k * 1e9) for k in range(5)]
    again = json.dumps({**lines[0], "ts": 2000.5}) + "\n"
    # another attempt's samples come after, they replace none
    (tmp_path / "system.2.jsonl").write_text(again)
    assert [len(picture["x"]) for picture in opened(tmp_path).system()["series"]] == [6] * 7
    assert opened(tmp_path).system()["now"]["ts"] == 2000.5
    assert points(opened(tmp_path).system(lo=1015, hi=1030)["series"][0]) == [(1020.0, 42.0), (1030.0, 43.0)]


def test_other_events_are_no_rows_and_broken_lines_are_told(tmp_path):
    write(tmp_path, "events.jsonl", *losses(1))
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"ts":5,"step":1,"type":"image","data":{"samples":[{"file":"media/000001.png"}]}}\n'
                   'rubbish\n{"ts":6,"type":"gap","lines":3}\n')
    series = opened(tmp_path)
    assert series.skipped == 1 and series.rows == 1 and list(series.metrics()) == ["loss"]


def test_a_folder_of_an_older_runicorn(tmp_path):
    for name in ("meta.json", "summary.json", "status.json"):
        (tmp_path / name).write_text("{}")
    rows = [{"ts": 1700000000.5 + k, "type": "metrics",
             "data": {"loss": math.exp(-k), "global_step": k + 1, "time": 1700000000.5 + k, "stage": "train"}}
            for k in range(30)]
    image = {"ts": 1.0, "type": "image",
             "data": {"key": "x", "path": "media/x.png", "step": 3, "caption": None}}
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, image]))
    os.close(os.open(tmp_path / "events.jsonl.lock", os.O_CREAT))
    series = opened(tmp_path)
    assert list(series.metrics()) == ["loss"]
    assert points(series.picture("loss")) == [(k + 1, math.exp(-k)) for k in range(30)]


def test_pictures_while_the_run_grows_in_another_thread(tmp_path):
    write(tmp_path, "events.jsonl", *losses(*range(1000)))
    series, stop, seen = opened(tmp_path), threading.Event(), []

    def look():
        while not stop.is_set():
            picture = series.picture("loss", buckets=5000, smooth=0.5)
            assert points(picture) == [(step, step / 10) for step in range(picture["m"])]
            seen.append(picture["m"])

    def grow():
        for begin in range(1000, 2000, 50):
            write(tmp_path, "events.jsonl", *losses(*range(begin, begin + 50)), start=2000.0 + begin)
            series.refresh()
        stop.set()
    threads = [threading.Thread(target=look) for _ in range(2)] + [threading.Thread(target=grow)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # an assertion that failed in a thread fails the test too
    assert seen and series.picture("loss")["m"] == 2000
