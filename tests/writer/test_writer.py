"""Logging in one process: values to the last bit, steps, config, summary, and what wandb scripts expect."""

import argparse
import enum
import json
import math
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_process import begin, quiet  # noqa: F401 (fixtures)
from scripts import rows, small

import runicorn
from runicorn.errors import NotFoundError, UsageError


def data(run):
    return [row["data"] for row in rows(run.dir)]


# -- values --------------------------------------------------------------------------------------------------

def test_a_row_is_the_documented_line(begin):
    run = begin()
    run.log({"train/loss": 2.3025, "lr": 0.001}, step=120)
    line = (run.dir / "events.jsonl").read_text()
    row = json.loads(line)
    assert line == f'{{"ts":{row["ts"]:.3f},"step":120,"data":{{"train/loss":2.3025,"lr":0.001}}}}\n'


def test_every_float64_reads_back_bit_by_bit(begin):
    run, read = begin(), 0

    @settings(max_examples=100, deadline=None)
    @given(values=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
    def check(values):
        nonlocal read
        floats = [struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in values]
        run.log({str(number): value for number, value in enumerate(floats)})
        run.log({"list": floats})
        with open(run.dir / "events.jsonl") as file:
            file.seek(read)
            first, second = (json.loads(line)["data"] for line in file.readlines())
            read = file.tell()
        for kept in ([first[str(number)] for number in range(len(floats))], second["list"]):
            for value, back in zip(floats, map(float, kept)):
                assert (struct.pack("<d", back) == struct.pack("<d", value)
                        or (math.isnan(value) and math.isnan(back)))
    check()


def test_nan_and_infinities_are_strict_json(begin):
    run = begin()
    run.log({"a": math.nan, "b": math.inf, "c": [1.0, -math.inf], "d": np.float32("nan"),
             "e": {"f": math.nan}})
    assert data(run) == [{"a": "NaN", "b": "Infinity", "c": [1.0, "-Infinity"], "d": "NaN", "e/f": "NaN"}]
    run.finish()
    assert small(run.dir, "summary")["a"] == "NaN"


@pytest.mark.parametrize("value, kept", [
    (True, True), (3, 3), (2**200, 2**200), ("text", "text"), ("\ud800", "\ud800"),
    ([1, 2.5, True], [1, 2.5, True]), ((1, 2), [1, 2]), ([], []),
    (np.float64(0.1), 0.1), (np.float32(0.1), float(np.float32(0.1))), (np.int64(-7), -7),
    (np.bool_(True), True), (np.array(1.5), 1.5),
    (np.array([1.5]), 1.5), ([np.float32(2), 1], [2.0, 1]), (enum.IntEnum("Kind", "A")(1), 1),
], ids=repr)
def test_what_can_be_logged(begin, value, kept):
    run = begin()
    run.log({"loss": 1.0, "x": value})
    assert data(run) == [{"loss": 1.0, "x": kept}]


@pytest.mark.parametrize("value",
                         [None, object(), {1, 2}, np.zeros((2, 2)), ["a", "b"], [None], b"bytes", 1j,
                          10**5000, len, np.datetime64("2025-01-01")], ids=lambda value: type(value).__name__)
def test_what_can_not_be_logged_is_named_once_and_left_out(begin, capsys, value):
    run = begin()
    run.log({"odd/thing": value, "loss": 1.0})
    run.log({"odd/thing": value, "loss": 2.0})
    assert data(run) == [{"loss": 1.0}, {"loss": 2.0}]
    assert capsys.readouterr().err.count("'odd/thing'") == 1


@pytest.mark.parametrize("call", [5, "loss", None, [("a", 1)], {"a": {}}])
def test_a_call_that_means_nothing_does_not_raise(begin, call):
    run = begin()
    run.log(call)
    run.log({"loss": 1})
    assert data(run)[-1] == {"loss": 1}


def test_a_dict_that_holds_itself_does_not_hang(begin):
    run, circle = begin(), {"loss": 1}
    circle["again"] = circle
    run.log(circle)
    assert data(run)[0]["loss"] == 1


def test_nested_dicts_are_flattened(begin):
    run = begin()
    run.log({"train": {"loss": 1, "deep": {"er": 2}}, 3: {4: 5}})
    assert data(run) == [{"train/loss": 1, "train/deep/er": 2, "3/4": 5}]


@pytest.mark.parametrize("key",
                         ["", "a b", "损失", "💥", 'quote"\\', "new\nline", "\0", "\ud800", "x" * 10_000,
                          "../up", "a.b[0]"])
def test_keys_hold_any_characters(begin, key):
    run = begin()
    run.log({key: 1.5})
    assert data(run) == [{key: 1.5}]


@pytest.mark.long
def test_a_million_keys_do_not_kill_the_run(begin, capsys):
    run = begin()
    for block in range(100):
        run.log({f"key{block}/{number}": number for number in range(10_000)})
    run.finish()
    assert len(rows(run.dir)) == 100
    assert len(small(run.dir, "summary")) == 10_000
    assert capsys.readouterr().err.count("10000 metrics") == 1


# -- steps ---------------------------------------------------------------------------------------------------

def steps(run):
    return [row["step"] for row in rows(run.dir)]


def test_steps_are_counted_from_the_largest_so_far(begin):
    run = begin()
    for step in (None, None, 10, 3, None, 10, None):
        run.log({"x": 1}, step=step)
    assert steps(run) == [0, 1, 10, 3, 11, 10, 12]
    assert run.step == 12


@pytest.mark.parametrize("given_step, written", [
    (np.int64(5), 5), (7.0, 7), ("8", 8), (2.5, 2), (math.nan, 0), ("?", 0), (object(), 0), (-3, -3),
    (True, 1)])
def test_a_step_of_any_kind(begin, given_step, written):
    run = begin()
    run.log({"x": 1}, step=given_step)
    assert steps(run) == [written]


def test_tensors_are_values_and_steps_where_they_hold_one_number(begin, capsys):
    import torch  # seconds, which each process that collects the tests would wait for
    run = begin()
    for step, value in enumerate([torch.tensor(0.1), torch.tensor([[4]]),
                                  torch.tensor(1.0, requires_grad=True),
                                  torch.tensor(0.5, dtype=torch.bfloat16)]):
        run.log({"x": value}, step=torch.tensor(step + 6))
    run.log({"odd/thing": torch.zeros(3), "loss": 1.0})
    run.log({"odd/thing": torch.zeros(3), "loss": 2.0})
    assert data(run) == [{"x": float(np.float32(0.1))}, {"x": 4}, {"x": 1.0}, {"x": 0.5}, {"loss": 1.0},
                         {"loss": 2.0}]
    assert steps(run)[:4] == [6, 7, 8, 9] and capsys.readouterr().err.count("'odd/thing'") == 1


def test_commit_false_keeps_the_step(begin):
    run = begin()
    run.log({"a": 1}, commit=False)
    run.log({"b": 2})
    run.log({"c": 3})
    assert steps(run) == [0, 0, 1]


def test_threads_log_whole_lines_and_count_each_step_once(begin):
    run = begin()

    def work(name):
        for number in range(500):
            run.log({f"thread{name}": number})
    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps(run) == list(range(4000))
    for name in range(8):
        assert [row[f"thread{name}"] for row in data(run) if f"thread{name}" in row] == list(range(500))


# -- config and summary --------------------------------------------------------------------------------------

def test_config_is_on_disk_when_the_call_returns(begin):
    run = begin(config={"lr": 0.1})
    assert small(run.dir, "meta")["config"] == {"lr": 0.1}
    import torch
    run.config.update({"layers": 6, "path": Path("/data"), "kind": torch.float32,
                       "nested": {"heads": 8, "none": None}}, seed=1)
    assert small(run.dir, "meta")["config"] == {"lr": 0.1, "layers": 6, "path": "/data",
                                                "kind": "torch.float32", "nested": {"heads": 8, "none": None},
                                                "seed": 1}
    run.config.lr = 0.2
    run.config["lr"] = run.config.lr * 2
    run.finish()
    assert small(run.dir, "meta")["config"]["lr"] == 0.4


def test_a_change_that_had_to_wait_is_on_disk_soon(begin):
    run = begin()
    for number in range(1000):
        run.summary["best"] = number
    deadline = threading.Event()
    for _ in range(50):
        if small(run.dir, "summary") == {"best": 999}:
            break
        deadline.wait(0.05)
    assert small(run.dir, "summary") == {"best": 999}


def test_config_from_a_namespace_and_reading_it(begin):
    run = begin(config=argparse.Namespace(lr=0.1, layers=[1, 2]))
    assert run.config.lr == run.config["lr"] == 0.1 and run.config.get("no", 5) == 5
    assert "layers" in run.config
    assert dict(run.config) == {"lr": 0.1, "layers": [1, 2]} == run.config.as_dict()
    with pytest.raises(AttributeError, match="no 'momentum'.*lr"):
        _ = run.config.momentum


def test_summary_is_callable_and_a_mapping_and_the_user_wins(begin):
    run = begin()
    run.log({"acc": 0.5, "loss": 1.0})
    run.summary({"best": max(run.summary.get("best", 0), 0.5), "loss": "mine"})
    run.summary.update({"epochs": 3})
    run.log({"acc": 0.7, "loss": 0.5})
    assert run.summary["acc"] == 0.7 and run.summary["loss"] == "mine" and len(run.summary) == 4
    run.finish()
    assert small(run.dir, "summary") == {"acc": 0.7, "loss": "mine", "best": 0.5, "epochs": 3}


def test_define_metric_keeps_the_best(begin):
    run = begin()
    run.define_metric("acc", summary="max")
    run.define_metric("loss", summary="min", step_metric="epoch")
    for acc, loss in ((0.1, 3.0), (0.9, 1.0), (0.5, math.nan), (0.4, 2.0)):
        run.log({"acc": acc, "loss": loss})
    run.finish()
    assert small(run.dir, "summary") == {"acc": 0.4, "loss": 2.0, "acc.max": 0.9, "loss.min": 1.0}
    assert small(run.dir, "meta")["metrics"] == {
        "acc": {"summary": "max"}, "loss": {"summary": "min", "step_metric": "epoch"}}


def test_tags_and_notes_can_be_changed(begin):
    run = begin(tags="one", notes="first")
    run.tags = run.tags + ("two",)
    run.notes = "second"
    run.finish()
    meta = small(run.dir, "meta")
    assert meta["tags"] == ["one", "two"] and meta["notes"] == "second"


# -- init, the current run, wandb's habits -------------------------------------------------------------------

def test_a_wandb_script_runs(tmp_path, capsys):
    import torch

    import runicorn as wandb
    wandb.init(project="nanogpt", name="gpt2", config=argparse.Namespace(lr=1e-3), dir=tmp_path, group="g",
               job_type="train", entity="me", mode="offline", settings=None)
    wandb.watch(torch.nn.Linear(1, 1), log="all")
    wandb.config.update({"batch": 8}, allow_val_change=True)
    wandb.define_metric("val/loss", summary="min")
    wandb.log({"iter": 0, "train/loss": 4.0, "step": 7, "mfu": 1.5}, commit=False)
    wandb.log({"val/loss": 2.0})
    wandb.run.summary["best"] = 1
    wandb.summary["more"] = 2
    folder = wandb.run.dir
    assert wandb.run.name == "gpt2" and wandb.config.lr == 1e-3
    wandb.finish(exit_code=0)
    assert wandb.run is None
    assert [row["step"] for row in rows(folder)] == [0, 0] and rows(folder)[0]["data"]["step"] == 7
    meta = small(folder, "meta")
    assert meta["group"] == "g" and meta["job_type"] == "train" and meta["config"] == {"lr": 1e-3, "batch": 8}
    said = capsys.readouterr().err
    assert said.count("entity") == 1 and said.count("settings") == 1


def test_without_init_the_module_says_so():
    code = "import runicorn\nrunicorn.finish()\nassert runicorn.run is None\nrunicorn.log({'a': 1})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "call runicorn.init(...) first" in done.stderr
    done = subprocess.run([sys.executable, "-c", "import runicorn\nrunicorn.config.lr"], capture_output=True,
                          text=True, timeout=60)
    assert "call runicorn.init(...) first" in done.stderr


def test_a_with_block_ends_the_run(begin):
    with begin() as run:
        run.log({"a": 1})
    assert small(run.dir, "status")["status"] == "finished"
    with pytest.raises(ZeroDivisionError), begin() as run:
        1 / 0  # noqa: B018
    status = small(run.dir, "status")
    assert status["status"] == "failed" and "ZeroDivisionError" in status["error"]
    assert "1 / 0" in status["traceback"]
    with pytest.raises(SystemExit), begin() as run:
        sys.exit(4)
    assert small(run.dir, "status")["exit_code"] == 4


def test_init_again_finishes_the_run_before(begin, capsys):
    one = begin()
    two = begin(name="other")
    two.log({"x": 1})
    assert one.ended and small(one.dir, "status")["status"] == "finished"
    assert "init() was called again" in capsys.readouterr().err
    assert begin(reinit=False) is two and begin(reinit="return_previous") is two
    three = begin(reinit="create_new")
    two.log({"x": 2})
    three.log({"x": 3})
    two.finish()
    assert data(two) == [{"x": 1}, {"x": 2}] and data(three) == [{"x": 3}]


def test_log_after_finish_is_named_once_and_records_nothing(begin, capsys):
    run = begin()
    run.finish()
    run.finish()
    run.log({"a": 1})
    run.log({"a": 1})
    run.summary["x"] = 1
    assert data(run) == [] and small(run.dir, "summary") == {}
    assert capsys.readouterr().err.count("records nothing") == 1


def test_disabled_writes_nothing_and_answers_everything(begin, tmp_path):
    run = begin(mode="disabled", config={"lr": 1})
    runicorn.log({"a": 1}, step=3)
    run.summary({"best": 1})
    assert run.config.lr == 1 and run.summary["best"] == 1 and runicorn.run is run
    (run.dir / "checkpoint.pt").write_text("kept somewhere")
    run.define_metric("a", summary="max")
    runicorn.finish()
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("wrong",
                         [{"mode": "of"}, {"resume": "perhaps"}, {"capture": "tty"}, {"reinit": "x"},
                          {"config": 5}])
def test_init_refuses_what_can_not_mean_anything(begin, wrong):
    with pytest.raises(UsageError, match=f"init\\({next(iter(wrong))}="):
        begin(**wrong)


def test_resume_must_needs_a_run(begin):
    with pytest.raises(NotFoundError, match="no run 'abc'"):
        begin(id="abc", resume="must")


@pytest.mark.parametrize("name",
                         ["n" * 255, "名" * 100, "a/b\\c:d*e?", ".hidden", "..", "con", " trailing. ", "\n"])
def test_any_name_makes_a_folder_and_is_kept(begin, tmp_path, name):
    run = begin(project=name, name=name)
    run.log({"a": 1})
    run.finish()
    assert small(run.dir, "meta")["project"] == small(run.dir, "meta")["name"] == name
    assert run.dir.parent.parent.parent.parent == tmp_path / "root"
    assert (tmp_path / "root" / run.path).samefile(run.dir)


def test_meta_says_where_the_run_was_made(begin):
    run = begin()
    run.finish()
    meta = small(run.dir, "meta")
    assert meta["format"] == 1 and meta["id"] == run.id and meta["pid"] > 0 and meta["hostname"]
    assert meta["user"] and meta["argv"]
    assert len(meta["git"]["commit"]) == 40 and isinstance(meta["git"]["dirty"], bool)


def test_public_names_have_docstrings():
    for name in runicorn.__all__:
        if name not in ("__version__", "runs", "open_run"):
            assert getattr(runicorn, name).__doc__, name
    for name, member in vars(runicorn.Run).items():
        assert name.startswith("_") or not callable(member) or member.__doc__, name
