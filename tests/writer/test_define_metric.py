"""What define_metric says of metrics: values in the summary as wandb has them, patterns, step metrics,
attempts that go on."""

import json
import math
import time

import pytest
from one_process import begin, quiet  # noqa: F401 (fixtures)
from scripts import rows, small

import runicorn
from runicorn import layout


def summary(run):
    run.finish()
    return small(run.dir, "summary")


def logged(run, *values, name="loss"):
    for value in values:
        run.log({name: value})
    return run


def test_every_way(begin):
    run = begin()
    run.define_metric("loss", summary="min,max, mean first,last,best,copy")
    assert summary(logged(run, 3, 1.0, math.nan, 2)) == {
        "loss": 2, "loss.min": 1.0, "loss.max": 3, "loss.mean": 2.0, "loss.first": 3, "loss.last": 2,
        "loss.best": 1.0}
    assert small(run.dir, "meta")["metrics"] == {"loss": {"summary": "min,max,mean,first,last,best"}}


@pytest.mark.parametrize("pattern, fits", [
    ("val/*", {"val/loss", "val/acc/top5"}), ("*", {"val/loss", "val/acc/top5", "acc", "a[0]"}),
    ("*/loss", {"val/loss"}), ("val/*/top*", {"val/acc/top5"}), ("a[0]", {"a[0]"}), ("acc", {"acc"}),
    ("v?l/loss", set()), ("val/", set())])
def test_patterns_name_every_metric_that_fits(begin, pattern, fits):
    run = begin()
    run.define_metric(pattern, summary="min")
    for value in (2, 1, 3):
        run.log({"val": {"loss": value, "acc/top5": value}, "acc": value, "a[0]": value})
    assert {name[:-4] for name, value in summary(run).items() if name.endswith(".min") and value == 1} == fits


def test_a_metrics_own_definition_and_the_longer_pattern_go_first(begin):
    run = begin()
    run.define_metric("*", summary="mean")
    run.define_metric("val/*", summary="max")
    run.define_metric("val/loss", summary="min")
    run.log({"val/loss": 1, "val/acc": 2, "lr": 3})
    assert summary(run).keys() == {"val/loss", "val/acc", "lr", "val/loss.min", "val/acc.max", "lr.mean"}


@pytest.mark.parametrize("name, said, best", [
    ("loss", {}, 1), ("acc", {}, 3), ("acc", {"goal": "minimize"}, 1), ("loss", {"goal": "maximize"}, 3),
    ("loss", {"goal": "max"}, 3), ("loss", {"summary": "max,best"}, 3), ("acc", {"summary": "min,best"}, 1),
    ("loss", {"summary": "min,max,best"}, 1), ("loss", {"summary": "max,best", "goal": "minimize"}, 1),
    ("time", {}, 1), ("power", {}, 3)])
def test_best(begin, name, said, best):
    run = begin()
    run.define_metric(name, **{"summary": "best", **said})
    assert summary(logged(run, 2, 1, 3, name=name))[f"{name}.best"] == best
    assert layout.best_rule(name, small(run.dir, "meta")["metrics"][name]) == ("min" if best == 1 else "max")


def test_definitions_add_up_until_overwritten(begin):
    run = begin()
    run.define_metric("loss", summary="min", step_metric="epoch")
    run.define_metric("loss", summary="max", hidden=True)
    run.define_metric("acc", summary="min")
    run.define_metric("acc", summary="max", overwrite=True)
    run.log({"loss": 1, "acc": 1})
    assert summary(run).keys() == {"loss", "acc", "loss.min", "loss.max", "acc.max"}
    assert (small(run.dir, "meta")["metrics"]
            == {"loss": {"summary": "min,max", "step_metric": "epoch", "hidden": True},
               "acc": {"summary": "max"}})


def test_a_step_metrics_last_value_joins_rows_that_lack_it(begin):
    run = begin()
    epoch = run.define_metric("epoch")
    run.define_metric("val/*", step_metric=epoch)
    run.define_metric("free", step_metric="epoch", step_sync=False)
    for row in ({"val/loss": 9}, {"epoch": 1}, {"val/loss": 1, "val/acc": 2}, {"free": 3}, {"train": 4},
                {"epoch": 2, "val/loss": 5}, {"val/loss": 6}):
        run.log(row)
    run.finish()
    assert [row["data"] for row in rows(run.dir)] == [
        {"val/loss": 9}, {"epoch": 1}, {"val/loss": 1, "val/acc": 2, "epoch": 1}, {"free": 3}, {"train": 4},
        {"epoch": 2, "val/loss": 5}, {"val/loss": 6, "epoch": 2}]


def test_what_is_not_understood_is_named_once(begin, capsys):
    run = begin()
    for _ in range(2):
        run.define_metric("loss", summary="min,median", goal="up", nonsense=1)
        run.define_metric("loss", summary="all")
    err = capsys.readouterr().err
    assert [err.count(word) for word in ("summary='median'", "goal='up'", "nonsense=", "summary='all'")] == [
        1, 1, 1, 1]
    assert summary(logged(run, 2, 1)) == {"loss": 1, "loss.min": 1}


def test_positions_as_here_and_as_in_wandb(begin):
    run = begin()
    run.define_metric("loss", "min")
    run.define_metric("acc", "epoch")
    assert runicorn.define_metric("x").name == "x"
    run.finish()
    assert small(run.dir, "meta")["metrics"] == {
        "loss": {"summary": "min"}, "acc": {"step_metric": "epoch"}, "x": {}}
    assert begin(mode="disabled").define_metric("x", summary="min").name == "x"


@pytest.mark.parametrize("again", [True, False], ids=["defined again", "not defined again"])
def test_the_next_attempt_goes_on_with_them(begin, again):
    run = begin(id="one")
    run.define_metric("l*", summary="min,max,mean,first,last,best")
    run.log({"loss": math.inf})
    run.log({"loss": 1.0})
    logged(run, 4, name="lr").finish()
    run = begin(id="one", resume="must")
    if again:
        run.define_metric("l*", summary="min,max,mean,first,last,best")
    logged(run, 2.5)
    found = summary(logged(run, 6, name="lr"))
    assert (found["loss.min"], found["loss.max"], found["loss.first"], found["loss.last"]) == (
        1.0, "Infinity", "Infinity", 2.5)
    assert found["loss.mean"] == "Infinity" and found["lr.mean"] == 5.0 and found["lr.first"] == 4
    assert found["lr.max"] == 6


def test_odd_definitions_in_meta_stop_no_attempt(begin):
    run = begin(id="one")
    run.define_metric("loss", summary="mean")
    logged(run, 1).finish()
    meta = small(run.dir, "meta")
    (run.dir / "meta.json").write_text(
        json.dumps({**meta, "metrics": {"loss": 5, "acc": {"summary": 7}}, "means": {"loss": "x"}}))
    run = begin(id="one", resume="must")
    run.log({"loss": 2, "acc": 3})
    run.finish()
    assert rows(run.dir, "events.2.jsonl")[0]["data"] == {"loss": 2, "acc": 3}


def test_a_metric_of_odd_keys_and_values(begin):
    run = begin()
    run.define_metric("*", summary="min,mean")
    run.log({3: 1.0, "text": "a", "list": [1, 2], "flag": True, "large": 10**400})
    run.log({3: 0.5})
    found = summary(run)
    assert found["3.min"] == 0.5 and "text.min" not in found and "list.mean" not in found
    assert len(rows(run.dir)) == 2


def test_without_a_definition_nothing_is_looked_up(begin):
    run = begin()
    run.log({"loss": 1})
    assert run._definitions is None


def test_many_metrics_cost_one_look_each(begin):
    run = begin()
    for number in range(50):
        run.define_metric(f"group{number}/*", summary="min,max,mean")
    row = {f"group{number}/loss": float(number) for number in range(50)}
    run.log(row)
    began = time.process_time()
    for _ in range(1000):
        run.log(row)
    # fifty patterns looked up for fifty metrics each time would take a minute
    assert time.process_time() - began < 5
    assert summary(run)["group3/loss.mean"] == 3.0


@pytest.mark.parametrize("word", ["none", "None", ["none"], "min,none"])
def test_none_keeps_nothing_but_the_last_value_and_takes_back_what_was_defined(begin, capsys, word):
    run = begin()
    run.define_metric("*", summary="min")
    run.define_metric("loss", summary="max", goal="min")
    run.define_metric("loss", summary=word)
    for value in (2.0, 1.0, 3.0):
        run.log({"loss": value, "acc": value})
    run.finish()
    assert "unknown" not in capsys.readouterr().err
    assert small(run.dir, "summary") == {"loss": 3.0, "acc": 3.0, "acc.min": 1.0}
    assert small(run.dir, "meta")["metrics"]["loss"] == {"goal": "min"}
