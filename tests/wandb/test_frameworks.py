"""Trainings, and frameworks' own callbacks, unchanged: once with the real package offline, once with ours in
its place, and read back."""

import math
import os
import subprocess
import sys

import pytest
from kind_cuts import points, whole
from scripts import environment, rows, runs, small
from wandb_trainings import TRAININGS

from runicorn.cli.wandb_folder import fill_folder
from runicorn.layout import number
from runicorn.metrics.kinds.wandb import Reader

WITH_ALL = {"plain"}           # of the rest `make frameworks` runs all
# differs from run to run
CLOCKED = ("runtime", "per_second", "speed", "time", "/fps", "_timestamp", "memory")


# The names of the points that W&B drops, because a step before theirs was logged already: ours has them.
DROPPED = dict.fromkeys(("optuna", "optuna-multirun"), {"accuracy", "x", "trial_number"})


def run_script(folder, name, **more):
    folder.mkdir()
    (folder / "train.py").write_text(TRAININGS[name], encoding="utf-8")
    environ = {**environment(folder), "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg",
               "RAY_USAGE_STATS_ENABLED": "0", **more}
    done = subprocess.run([sys.executable, "train.py"], cwd=folder, env=environ, capture_output=True,
                          encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL, timeout=500)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done.stderr


def theirs(folder):
    """Return [({(step, name): value}, None)] of the logs that the real package wrote, in their order."""
    found = []
    for path in folder.rglob("run-*.wandb"):
        if path.is_symlink() or "latest-run" in str(path):
            continue
        growing = whole(Reader, path.read_bytes())
        table = {(step, name): float(value) for name, values in points(growing.parts).items()
                 for _, _, step, value in values}
        facts = growing.reader.facts()
        found.append((facts.get("config", {}).get("lr", 0), facts.get("started", 0), table, None))
    return [row[2:] for row in sorted(found, key=lambda row: row[:2])]


def ours(folder):
    """Return [({(step, name): value}, folder)] of our runs, in their order."""
    found = []
    for run in runs(folder):
        table = {}
        for row in rows(run):
            for name, value in row["data"].items() if "type" not in row else ():
                if number(value) is not None:
                    table[row["step"], name] = number(value)
        meta = small(run, "meta")
        found.append((meta["config"].get("lr", 0), meta["created_at"], table, run))
    return [row[2:] for row in sorted(found, key=lambda row: row[:2])]


def comparable(table):
    return {key: value for key, value in table.items() if not any(word in key[1] for word in CLOCKED)}


def by_global_step(table):
    """Return what sync_tensorboard wrote, by the step that the event had."""
    steps = {step: value for (step, name), value in table.items() if name == "global_step"}
    return {(steps[step], name): value
            for (step, name), value in table.items() if step in steps and name != "global_step"}


def same(one, other):
    return one == other or math.isnan(one) and math.isnan(other) or math.isclose(one, other, rel_tol=1e-6)


@pytest.mark.parametrize("training", [
    name if name in WITH_ALL else pytest.param(name, marks=pytest.mark.frameworks) for name in TRAININGS])
def test_curves_are_equal(tmp_path, training):
    fill_folder(str(tmp_path / "names"))
    real = run_script(tmp_path / "real", training, WANDB_MODE="offline", WANDB_ERROR_REPORTING="false",
                      WANDB_DISABLE_GIT="true", WANDB_DIR=str(tmp_path / "real"))
    said = run_script(tmp_path / "ours", training,
                      PYTHONPATH=f"{tmp_path / 'names'}{os.pathsep}{environment(tmp_path)['PYTHONPATH']}")
    wanted, got = theirs(tmp_path / "real"), ours(tmp_path / "ours")
    assert len(wanted) == len(got) > 0, (real[-2000:], said)
    key = by_global_step if training in ("ppo", "sb3") else comparable
    for (table, _), (our_table, run) in zip(wanted, got):
        expected, found = comparable(key(table)), comparable(key(our_table))
        assert expected.keys() - found.keys() == set() and len(expected) > 1
        assert not {point for point, value in expected.items() if not same(value, found[point])}
        assert {name for _, name in found.keys() - expected.keys()} <= DROPPED.get(training, set())
        assert small(run, "status")["status"] == "finished"
    assert "can't be logged" not in said and "not recorded" not in said, said


def test_every_training_that_is_named_is_there():
    assert len(TRAININGS) == 14 and all(TRAININGS.values())


@pytest.mark.frameworks
def test_under_runicorn_run_event_files_that_a_script_logs_itself_come_once(tmp_path):
    (tmp_path / "train.py").write_text(TRAININGS["ppo"], encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "runicorn", "run", "--", sys.executable, "train.py"],
                          cwd=tmp_path, capture_output=True, env=environment(tmp_path), text=True,
                          stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0, done.stderr
    (table, run), = ours(tmp_path)
    assert {name for _, name in table} == {"charts/episodic_return", "charts/episodic_length",
                                           "charts/learning_rate", "losses/value_loss",
                                           "losses/explained_variance", "global_step"}
    assert sum(name == "losses/value_loss" for _, name in table) == 10
    assert small(run, "meta")["project"] == "cleanRL"
