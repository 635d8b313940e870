"""The guide's training script (section 1.1), word for word, with a small real model where it says `...`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pytorch import NO_COMPILER

BLOCK = (Path(__file__).parents[1] / "guide" / "train.py.txt").read_text(encoding="utf-8")
GAP = "model = ...  # 你的 PyTorch 模型\n"
MODEL = NO_COMPILER + """
torch.manual_seed(0); torch.set_num_threads(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
batches = [(torch.randn(2, 3, 32, 32), torch.randint(0, 10, (2,))) for _ in range(14)]
train_loader, val_loader = batches[:12], batches[12:]
"""
EPOCHS = 100


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(run folder, folder the script ran in, its stdout) of one training as the guide starts it."""
    user = tmp_path_factory.mktemp("alice")
    assert BLOCK.count(GAP) == 1
    (user / "train.py").write_text(BLOCK.replace(GAP, MODEL), encoding="utf-8")
    environ = {"HOME": str(user), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "train.py"], cwd=user, env=environ, capture_output=True,
                          encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    where = r'runicorn: image_classification/resnet50_experiment -> (~/\S+); "runicorn viewer" shows it\n'
    assert re.fullmatch(where, done.stderr), done.stderr
    runs = user / ".runicorn" / "experiments" / "image_classification" / "resnet50_experiment" / "runs"
    folder, = runs.iterdir()
    return folder, user, done.stdout


def test_the_files_of_section_1_3_are_there(trained):
    folder, _, _ = trained
    assert re.fullmatch(r"\d{8}_\d{6}_[0-9a-f]{6}", folder.name)
    assert {"meta.json", "status.json", "summary.json", "events.jsonl", "logs.txt"} <= {
        path.name for path in folder.iterdir()}


def test_meta_holds_what_init_was_given(trained):
    meta = json.loads((trained[0] / "meta.json").read_text(encoding="utf-8"))
    assert meta["project"] == "image_classification" and meta["name"] == "resnet50_experiment"
    assert meta["config"] == {"model": "resnet50", "batch_size": 32, "learning_rate": 0.001, "epochs": 100,
                              "optimizer": "Adam", "dataset": "CIFAR-10"}
    assert meta["tags"] == ["production", "resnet", "v2.0"]


def test_every_logged_row_is_there_in_order(trained):
    rows = [json.loads(line)
            for line in (trained[0] / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = []
    for epoch in range(EPOCHS):
        expected += [(epoch * 12, "train/loss"), (epoch * 12 + 10, "train/loss"),
                     ((epoch + 1) * 12, "val/loss")]
    assert [(row["step"], next(iter(row["data"]))) for row in rows] == expected
    assert set(rows[0]["data"]) == {"train/loss", "train/accuracy", "train/learning_rate", "epoch"}
    assert rows[0]["data"]["train/learning_rate"] == 0.001 and rows[-2]["data"]["epoch"] == EPOCHS - 1


def test_summary_keeps_the_best_and_the_last(trained):
    summary = json.loads((trained[0] / "summary.json").read_text(encoding="utf-8"))
    rows = [json.loads(line)["data"]
            for line in (trained[0] / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    validated = [row["val/accuracy"] for row in rows if "val/accuracy" in row]
    assert summary["best_val_accuracy"] == max(validated) and summary["total_epochs"] == EPOCHS
    assert summary["val/accuracy"] == validated[-1]


def test_what_was_printed_is_in_the_log(trained):
    folder, _, stdout = trained
    lines = (folder / "logs.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}\] ", line) for line in lines)
    shown = [line.split("] ", 1)[1] for line in lines]
    printed = stdout.splitlines()
    assert shown == printed[:-1] and printed[-1] == "✓ Training completed!"        # printed after finish()
    assert "✓ Checkpoint saved: epoch 10" in shown


def test_the_run_finished_and_left_no_heartbeat(trained):
    folder, user, _ = trained
    status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    assert status["status"] == "finished" and status["ended_at"] >= status["started_at"]
    assert list((user / ".runicorn" / "experiments" / ".runicorn" / "live").iterdir()) == []
    assert len(list(user.glob("checkpoint_epoch_*.pth"))) == 10
