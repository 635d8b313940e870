"""Metrics that a program writes in files of other loggers' kinds: they are its run's own, while it runs, and
what stood before is not."""

import json
import os
import sys
import textwrap
import time

import pytest
from programs import finished, started
from scripts import only, rows, runs, small
from waiting import until

from runicorn.cli.program_doubles import Doubles
from runicorn.cli.program_files import ProgramFiles


def script(folder, code, name="train.py"):
    (folder / name).write_text(textwrap.dedent(code))
    return [sys.executable, name]


def points(run):
    """Return {metric: [(step, value), ...]} of a run, in the order logged."""
    found = {}
    for row in rows(run):
        for name, value in row["data"].items():
            found.setdefault(name, []).append((row["step"], value))
    return found


CSV = """
import time
with open("metrics.csv", "w") as file:
    print("step,loss", file=file)
    for n in range(20):
        print(f"{n},{1 / (n + 1)}", file=file, flush=True)
        time.sleep(0.05)
"""
LOSSES = [(n, 1 / (n + 1)) for n in range(20)]


def test_a_table_is_taken_live(tmp_path):
    code = CSV + "import os\nwhile not os.path.exists('go'): time.sleep(0.05)\n"
    process = started(tmp_path, script(tmp_path, code))
    until(lambda: runs(tmp_path) and len(rows(runs(tmp_path)[0])) == 20, "the rows")
    assert small(only(tmp_path), "status")["status"] == "running"
    (tmp_path / "go").write_text("")
    process.communicate(timeout=30)
    assert points(only(tmp_path)) == {"loss": LOSSES}
    assert small(only(tmp_path), "summary") == {"loss": 1 / 20}


def test_what_is_written_at_the_very_end_is_taken(tmp_path):
    assert finished(tmp_path, script(tmp_path, CSV.replace("0.05", "0")))[0] == 0
    assert points(only(tmp_path)) == {"loss": LOSSES}


@pytest.mark.parametrize("kill", [9, 15])
def test_what_a_killed_program_wrote_is_taken(tmp_path, kill):
    assert finished(tmp_path,
                    script(tmp_path,
                           CSV.replace("0.05", "0") + f"import os; os.kill(os.getpid(), {kill})"))[0] == -kill
    assert points(only(tmp_path)) == {"loss": LOSSES}


def test_files_that_stood_before_are_not_taken_but_for_what_is_appended(tmp_path):
    (tmp_path / "old.csv").write_text("step,old\n" + "".join(f"{n},{n}\n" for n in range(50)))
    (tmp_path / "grows.csv").write_text("step,grown\n" + "".join(f"{n},{n}\n" for n in range(50)))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log.jsonl").write_text('{"step": 1, "older": 2.5}\n')
    time.sleep(0.2)
    code = """
    import time
    time.sleep(1)
    with open("grows.csv", "a") as file:
        for n in range(50, 60): print(f"{n},{n}", file=file)
    """
    assert finished(tmp_path, script(tmp_path, code))[0] == 0
    assert points(only(tmp_path)) == {"grown": [(n, n) for n in range(50, 60)]}


def test_a_file_that_is_written_anew_is_new(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,loss\n" + "".join(f"{n},9\n" for n in range(200)))
    time.sleep(0.2)
    assert finished(tmp_path, script(tmp_path, "import time; time.sleep(1)\n" + CSV))[0] == 0
    assert points(only(tmp_path)) == {"loss": LOSSES}


def test_a_table_that_gets_a_column_gives_no_row_twice(tmp_path):
    code = """
    import time
    written = []
    for n in range(12):
        written.append((n, 1 / (n + 1), n * 10 if n > 5 else ""))
        with open("metrics.csv", "w") as file:
            print("step,loss" + (",acc" if n > 5 else ""), file=file)
            for step, loss, acc in written:
                print(f"{step},{loss}" + (f",{acc}" if n > 5 else ""), file=file)
        time.sleep(0.3)
    """
    assert finished(tmp_path, script(tmp_path, code))[0] == 0
    assert points(only(tmp_path)) == {"loss": [(n, 1 / (n + 1)) for n in range(12)],
                                      "acc": [(n, n * 10) for n in range(6, 12)]}


def test_tensorboard_of_two_splits(tmp_path):
    code = """
    import sys
    sys.modules["torch"] = None       # it imports PyTorch where it is: seconds
    from tensorboardX import SummaryWriter
    import time
    for split in ("train", "validation"):
        writer = SummaryWriter("logs/" + split)
        for n in range(5): writer.add_scalar("loss", n / 4, n)
        writer.close()
        time.sleep(0.5)
    """
    assert finished(tmp_path, script(tmp_path, code))[0] == 0
    curve = [(n, n / 4) for n in range(5)]
    assert points(only(tmp_path)) == {"train/loss": curve, "validation/loss": curve}


def test_kinds_of_one_folder_are_one_and_clashing_folders_are_told_apart(tmp_path):
    code = """
    import json, os
    for folder in ("a", "b"):
        os.makedirs("runs/" + folder)
        with open(f"runs/{folder}/log.jsonl", "w") as file:
            for n in range(6): print(json.dumps({"step": n, "loss": n, "acc": 1.5}), file=file)
    """
    assert finished(tmp_path, script(tmp_path, code))[0] == 0
    found = points(only(tmp_path))
    assert len(found) == 4 and {"loss", "acc"} < set(found)
    assert set(found) - {"loss", "acc"} in ({"a/loss", "a/acc"}, {"b/loss", "b/acc"})
    assert all(len(curve) == 6 for curve in found.values())


def test_a_trainers_states_are_one_history(tmp_path):
    code = """
    import json, os, time
    history = []
    for n in (10, 20, 30):
        history += [{"step": n - 5, "loss": n / 10, "epoch": n / 30},
                    {"step": n, "eval_loss": n / 5, "epoch": n / 30}]
        os.makedirs(f"out/checkpoint-{n}")
        with open(f"out/checkpoint-{n}/trainer_state.json", "w") as file:
            json.dump({"global_step": n, "max_steps": 30, "best_metric": 1, "log_history": history}, file)
        time.sleep(0.8)
    """
    assert finished(tmp_path, script(tmp_path, code))[0] == 0
    found = points(only(tmp_path))
    assert found["loss"] == [(5, 1.0), (15, 2.0), (25, 3.0)]
    assert found["eval_loss"] == [(10, 2.0), (20, 4.0), (30, 6.0)]


def test_a_file_that_comes_after_its_folder_was_listed_is_taken_though_the_mtime_tells_nothing(tmp_path):
    taken = []
    files = ProgramFiles([str(tmp_path)], set(), lambda rows, config: taken.extend(rows), lambda: False)
    folder = tmp_path / "checkpoint-10"
    folder.mkdir()
    files.finish()
    before = os.stat(folder).st_mtime_ns
    history = [{"step": 5, "loss": 0.5}]
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 5, "log_history": history}))
    os.utime(folder, ns=(before, before))       # as within one tick of the disk's clock
    files.finish()
    assert [(step, data) for _, step, data in taken] == [(5, {"loss": 0.5})]


def test_a_text_log_and_another_folder(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "elsewhere").mkdir()
    code = """
    import time
    with open("../elsewhere/train.log", "w") as file:
        for n in range(30):
            print(f"step {n} loss: {n / 8:.4f} lr=0.001", file=file, flush=True)
            time.sleep(0.03)
    """
    status, _, _ = finished(tmp_path,
                            script(tmp_path / "work", code)
                            and ["sh", "-c", f"cd work && exec {sys.executable} train.py"],
                            ["--watch", str(tmp_path / "elsewhere")])
    assert status == 0
    assert points(only(tmp_path))["loss"] == [(n, float(f"{n / 8:.4f}")) for n in range(30)]


def test_output_that_goes_into_a_file_below_is_no_metric(tmp_path):
    code = "for n in range(30): print(f'step {n} loss: {n / 8}')"
    with open(tmp_path / "train.log", "w") as file:
        assert finished(tmp_path, script(tmp_path, code), stdout=file)[0] == 0
    assert points(only(tmp_path)) == {} and len((only(tmp_path) / "logs.txt").read_text().splitlines()) == 30


def test_our_own_root_below_the_working_folder_is_passed_by(tmp_path):
    code = """
    import runicorn, time
    run = runicorn.init(project="p")
    for n in range(10): run.log({"a": n})
    run.finish()
    other = runicorn.init(project="q")
    for n in range(10): other.log({"b": n})
    time.sleep(1.5)
    """
    assert finished(tmp_path, script(tmp_path, code))[0] == 0
    assert sorted(tuple(points(run)) for run in runs(tmp_path)) == [("a",), ("b",)]


@pytest.mark.long
def test_settings_and_a_script_that_joins(tmp_path):
    code = """
    import sys
    sys.modules["torch"] = None       # it imports PyTorch where it is: seconds
    from tensorboardX import SummaryWriter
    import runicorn
    run = runicorn.init(project="p", config={"lr": 1})
    writer = SummaryWriter("tb")
    for n in range(5):
        run.log({"loss": n})
        writer.add_scalar("loss", n / 4, n)
    writer.close()
    """
    assert finished(tmp_path, script(tmp_path, code))[0] == 0
    assert points(only(tmp_path)) == {"loss": [(n, n) for n in range(5)],
                                      "tb/loss": [(n, n / 4) for n in range(5)]}
    assert small(only(tmp_path), "summary") == {"tb/loss": 1.0, "loss": 4}
    assert json.dumps(small(only(tmp_path), "meta")["config"]) == '{"lr": 1}'


# -- a script that logs to two loggers -----------------------------------------------------------------------

TWICE = """
import csv, math, os, wandb
wandb.init(project="p")
os.mkdir("y")
with open("y/results.csv", "w", newline="") as file:
    table = csv.DictWriter(file, ["epoch", "train/loss", "lr", "own"])
    table.writeheader()
    for epoch in range(1, 31):
        data = {"train/loss": math.exp(-epoch / 7), "lr": 0.1 if epoch < 20 else 0.01}
        table.writerow({"epoch": epoch, "own": epoch * 2.5, **{key: f"{data[key]:.6g}" for key in data}})
        file.flush()
        STEP
wandb.finish()
"""


@pytest.mark.parametrize("step", ["wandb.log(data, step=epoch)", "wandb.log(dict(data, epoch=epoch))"])
def test_what_a_script_logs_itself_and_writes_into_a_file_too_is_taken_once(tmp_path, step):
    assert finished(tmp_path, script(tmp_path, TWICE.replace("STEP", step)))[0] == 0
    curves = points(only(tmp_path))
    assert len(curves["train/loss"]) == len(curves["lr"]) == 30
    assert curves["y/own"] == [(epoch, epoch * 2.5) for epoch in range(1, 31)]
    assert {name for name in curves if name.startswith("y/")} == {"y/own"}


def test_a_curve_that_comes_to_differ_is_taken_from_its_beginning(tmp_path):
    step = "wandb.log(dict(data, lr=data['lr'] if epoch < 25 else 0.5), step=epoch)"
    assert finished(tmp_path, script(tmp_path, TWICE.replace("STEP", step)))[0] == 0
    curves = points(only(tmp_path))
    assert curves["y/lr"] == [(epoch, 0.1 if epoch < 20 else 0.01) for epoch in range(1, 31)]
    assert "y/train/loss" not in curves and len(curves["lr"]) == 30


def test_a_point_waits_for_what_the_script_logs_later_but_not_for_ever(tmp_path, capsys, monkeypatch):
    events = tmp_path / "events.jsonl"
    events.write_text('{"ts":1,"step":9,"data":{"loss":0.5,"acc":"NaN"}}\n')
    doubles = Doubles(lambda: str(events))
    assert doubles.holds("y/loss", "loss", 1.0, 10, 0.25) and doubles.settle() == []
    with open(events, "a") as file:
        file.write('{"ts":2,"step":10,"data":{"loss":0.25}}\n{"ts":3,"step":11,"da')
    assert doubles.settle() == [] and doubles.settle(True) == []
    assert capsys.readouterr().err.count("not taken from its files a second time: loss") == 1
    # Logged before a file's first point told the name
    assert doubles.holds("y/acc", "acc", 1.0, 9, float("nan")) and doubles.settle(True) == []
    assert doubles.holds("y/loss", "loss", 4.0, 11, 0.1)
    monkeypatch.setattr("runicorn.cli.program_doubles.TWIN_SECONDS", 0.0)
    assert doubles.settle() == [(1.0, 10, {"y/loss": 0.25}), (4.0, 11, {"y/loss": 0.1})]
    assert not doubles.holds("y/loss", "loss", 5.0, 12, 0.1)
