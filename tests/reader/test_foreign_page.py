"""What the page of another logger's run tells besides its curves: how it was configured, how it ended, its
machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from catalogs import catalog_of
from playwright.sync_api import expect

from runicorn.cli.main import main

pytest_plugins = ["chromium"]
WANDB = Path(__file__).parents[1] / "support/wandb_script.py"
TABLE = "epoch,step,train_loss\n" + "".join(f"0,{step},{1 / (step + 1)!r}\n" for step in range(20))


def put(root, path, content):
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return place


def test_hparams_and_args_beside_the_metrics_are_the_config(tmp_path):
    put(tmp_path / "root", "a/version_0/metrics.csv", TABLE)
    put(tmp_path / "root", "a/version_0/hparams.yaml",
        "lr: 0.03\nhidden: !!python/tuple\n- 3\n- 4\nopt:\n  name: adam\n")
    put(tmp_path / "root", "b/metrics.csv", TABLE)
    put(tmp_path / "root", "b/args.json", json.dumps({"seed": 5, "lr": 0.5}))
    put(tmp_path / "root", "c/metrics.csv", TABLE)
    put(tmp_path / "root", "c/config.json", "[broken")
    opened = catalog_of(tmp_path / "root", tmp_path)
    assert opened.run("local:a/version_0")["config"] == {
        "lr": 0.03, "hidden": [3, 4], "opt": {"name": "adam"}}
    assert opened.run("local:b")["config"] == {"seed": 5, "lr": 0.5} and opened.run("local:c")["config"] == {}
    opened.runs()
    opened.refresh()
    assert [row["key"] for row in opened.runs("config.opt.name=adam")["runs"]] == ["local:a/version_0"]


@pytest.mark.long
def test_what_define_metric_said_in_a_wandb_run_counts_as_in_ours(tmp_path):
    folder = tmp_path / "root" / "p"
    folder.mkdir(parents=True)
    code = ("import wandb\nrun = wandb.init(project='p')\nrun.define_metric('val/*', step_metric='epoch', "
            "summary='max')\n"
            "for step in range(5):\n    run.log({'epoch': step, 'val/loss': 5 - step, 'lr': 0.1})\n"
            "run.finish()\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=120, capture_output=True,
                   env={**environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true",
                        "WANDB_ERROR_REPORTING": "false"})
    opened = catalog_of(tmp_path / "root", tmp_path)
    (row,) = opened.runs()["runs"]
    metrics = {metric["name"]: metric for metric in opened.run(row["key"])["metrics"]}
    # max, as it said
    assert metrics["val/loss"]["step_metric"] == "epoch" and metrics["val/loss"]["best"]["value"] == 5
    assert "step_metric" not in metrics["lr"] and "step_metric" not in metrics["epoch"]


@pytest.mark.long
def test_a_wandb_run_tells_its_machine_its_config_and_that_it_finished_at_the_first_look(tmp_path):
    pytest.importorskip("wandb")
    (tmp_path / "root/w").mkdir(parents=True)
    subprocess.run([sys.executable, str(WANDB), str(tmp_path / "root/w")], check=True, timeout=120,
                   capture_output=True, env={**os.environ, "WANDB_SILENT": "true"})
    opened = catalog_of(tmp_path / "root", tmp_path)
    [row] = opened.runs()["runs"]
    assert (row["kinds"], row["state"], row["name"]) == (["wandb"], "finished", "a name")
    assert [opened.runs(text)["matched"]
            for text in ('"a name"', 'name:"a name"', 'name:"another name"')] == [1, 1, 0]
    assert (row["tags"], row["note"], row["group"], row["job_type"]) == (["t1", "t2"], "my notes", "g", "jt")
    assert [opened.runs(text)["matched"] for text in ("tag:t1", "tag:t3", "group:g", "p1")] == [1, 0, 1, 1]
    meta = opened.run(row["key"])["meta"]
    assert meta["counts"]["images"] == 1 and meta["project"] == "p1"
    series = opened.series(row["key"])
    assert {one["metric"] for one in series.system()["series"]} >= {"system/proc.memory.rssMB"}
    assert not [name for name in series.metrics() if name.startswith("system/")]
    assert opened.run(row["key"])["config"]
    # from the columns that were kept: two parses of one file
    again = catalog_of(tmp_path / "root", tmp_path)
    assert again.series(row["key"]).metrics().keys() == series.metrics().keys()
    assert len(again.series(row["key"]).system()["series"]) == len(series.system()["series"])


def test_a_trainer_that_reached_its_steps_is_finished_at_the_first_look(tmp_path):
    state = {"global_step": 20, "max_steps": 20,
             "log_history": [{"step": step, "loss": 1 / step} for step in range(2, 21, 2)]}
    put(tmp_path / "root", "out/checkpoint-20/trainer_state.json", json.dumps(state))
    [row] = catalog_of(tmp_path / "root", tmp_path).runs()["runs"]
    assert (row["state"], row["step"], row["total"]) == ("finished", 20, 20)


def test_tail_follows_a_folder_of_another_logger_or_a_run_by_its_id(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RUNICORN_HOME", str(tmp_path / "home"))
    put(tmp_path / "root", "a/version_0/metrics.csv", TABLE)
    put(tmp_path / "root", "a/version_0/out.log", "older line\nlast\n")
    put(tmp_path / "root", "p/wandb/offline-run-20250101_000000-abc/run-abc.wandb", "")
    state = {"global_step": 20, "max_steps": 20, "log_history": [{"step": 20, "loss": 0.5}]}
    put(tmp_path / "root", "out/checkpoint-20/trainer_state.json", json.dumps(state))
    for asked in ([str(tmp_path / "root/a/version_0")], [str(tmp_path / "root/a")],
                  ["version_0", "--root", str(tmp_path / "root")]):
        assert main(["tail", *asked, "--no-follow", "--lines", "1"]) == 0
        told = capsys.readouterr().out
        assert "CSV" in told and "last\n" in told and "older line" not in told
        assert "· step 19  epoch=0  train_loss=0.05" in told
    # by itself it ends where the files say so
    assert main(["tail", "out", "--root", str(tmp_path / "root")]) == 0
    assert capsys.readouterr().out.endswith("— finished\n")
    assert main(["tail", "abc", "--root", str(tmp_path / "root"), "--no-follow"]) == 0
    assert "W&B" in capsys.readouterr().out
    assert main(["tail", "nothing", "--root", str(tmp_path / "root")]) == 2
    assert "there is no run" in capsys.readouterr().err


def test_a_torn_line_near_the_beginning_costs_itself_and_not_the_curve(tmp_path):
    rows = [json.dumps({"step": step, "loss": step / 4}) for step in range(9)]
    put(tmp_path / "root", "a/log.jsonl", "\n".join([*rows[:3], '{"step": 3, "lo', *rows[4:]]) + "\n")
    assert list(catalog_of(tmp_path / "root", tmp_path).series("local:a").points("loss")[0]) == [
        0, 1, 2, 4, 5, 6, 7, 8]


@pytest.mark.few(1)
@pytest.mark.parametrize(("locale", "title", "words"), [("en-US", "Not drawn here", ["images", "histograms"]),
                                                        ("zh-CN", "此处未绘制", ["图像", "直方图"])])
def test_pictures_and_histograms_are_counted_and_named_on_the_page(
        serve, open_page, home, locale, title, words):
    numpy, torch_writer = pytest.importorskip("numpy"), pytest.importorskip("torch.utils.tensorboard")
    with torch_writer.SummaryWriter(home / "experiments/tb/run1") as writer:
        for step in range(3):
            writer.add_scalar("loss", 1 / (step + 1), step)
            writer.add_image("picture", numpy.zeros((3, 4, 4)), step)
        writer.add_histogram("weights", numpy.arange(9.0), 0)
    page = open_page(f"{serve().url}/runs/local:tb/run1", locale=locale)
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    rows = page.locator("dl.kv div")
    expect(rows.filter(has_text=words[0])).to_contain_text("3")
    expect(rows.filter(has_text=words[1])).to_contain_text("1")


@pytest.mark.few(1)
@pytest.mark.parametrize(("text", "age", "state"),
                         [("", 0, "running"), ("1234567", 0, "running"), ("", 90_000, "quiet")])
def test_a_wandb_file_in_which_nothing_stands_says_that_its_run_may_be_running(tmp_path, text, age, state):
    place = put(tmp_path / "root", "p/wandb/offline-run-20250101_000000-abc/run-abc.wandb", text)
    os.utime(place, (time.time() - age,) * 2)
    row = catalog_of(tmp_path / "root", tmp_path).row("local:p/wandb/:abc")
    assert (row["reason"]["code"], row["state"]) == ("wandb_waits", state)
    assert "nothing yet" in row["reason"]["text"]
