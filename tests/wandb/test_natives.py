"""What stands beside W&B's names for those who change a line: SummaryWriter, the tracker of Accelerate,
Ultralytics' callbacks."""

import inspect
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from one_process import quiet  # noqa: F401 (a fixture)
from scripts import only, rows, small, train

import runicorn

PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("RUNICORN_QUIET", "1")


def test_it_has_every_method_of_torchs():
    from torch.utils.tensorboard import SummaryWriter
    methods = {name for name in dir(SummaryWriter) if name[:1] != "_"} - {"get_logdir"}
    assert len(methods) > 15 and methods <= set(dir(runicorn.SummaryWriter)) - {"file_writer"}
    for name in ("add_scalar", "add_image", "add_text", "add_histogram", "add_hparams"):
        theirs = [*inspect.signature(getattr(SummaryWriter, name)).parameters][:4]
        assert [*inspect.signature(getattr(runicorn.SummaryWriter, name)).parameters][:4] == theirs, name


def test_a_writer_without_a_run_begins_one(tmp_path):
    import torch
    with runicorn.SummaryWriter("logs/exp7", comment="-lr1", capture=False, system=False) as writer:
        for step in range(3):
            writer.add_scalar("loss", torch.tensor(1.0 / (step + 1)), step * 10)
        writer.add_scalars("both", {"a": 1, "b": 2}, 5)
        writer.add_image("hwc", PIXELS, 6, dataformats="HWC")
        writer.add_image("chw", torch.tensor(PIXELS).permute(2, 0, 1), 6)
        writer.add_images("many", torch.tensor(PIXELS).permute(2, 0, 1)[None].repeat(2, 1, 1, 1), 6)
        writer.add_histogram("h", torch.arange(10.0), 7)
        writer.add_text("t", "hello", 8)
        writer.add_audio("s", torch.zeros(1, 100), 9, sample_rate=8000)
        writer.add_video("v", torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8), 9)
        writer.add_pr_curve("pr", np.array([0, 1, 1]), np.array([0.1, 0.8, 0.3]), 10)
        writer.add_hparams({"lr": 0.1}, {"best": 0.5})
        writer.add_graph(None)
        writer.flush()
    run = only(tmp_path)
    numbers = [(row["step"], row["data"]) for row in rows(run) if "type" not in row]
    assert numbers == [(0, {"loss": 1.0}), (10, {"loss": 0.5}), (20, {"loss": float(np.float32(1 / 3))}),
                       (5, {"both/a": 1, "both/b": 2}), (8, {"t": "hello"})]
    assert run.parent.parent.name == "exp7-lr1" and small(run, "meta")["config"] == {"lr": 0.1}
    assert small(run, "summary")["best"] == 0.5
    media = {key: (row["type"], entry) for row in rows(run) if "type" in row
             for key, entry in row["data"].items()}
    assert {key: kind for key, (kind, _) in media.items()} == {
        "hwc": "image", "chw": "image", "many": "image", "h": "histogram", "s": "audio", "v": "video",
        "pr": "plot"}
    for key in ("hwc", "chw", "many"):
        assert all(np.array_equal(np.asarray(PIL.Image.open(run / entry["file"])), PIXELS)
                   for entry in media[key][1])
    assert sum(media["h"][1]["counts"]) == 10 and len(media["many"][1]) == 2
    assert small(run, "status")["status"] == "finished"


def test_a_writer_uses_the_run_that_is_going_on():
    with runicorn.init(project="p", capture=False, system=False) as run:
        with runicorn.SummaryWriter() as writer:
            writer.add_scalar("loss", 1.0, 3)
            writer.add_images("x", 5, 3)
        assert not run.ended and rows(Path(run.dir))[0]["data"] == {"loss": 1.0}


@pytest.mark.filterwarnings("ignore")
def test_the_tracker_of_accelerate(tmp_path):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from runicorn.integrations.accelerate import RunicornTracker
    AcceleratorState._reset_state(True)             # of another test's trainer
    accelerator = Accelerator(log_with=RunicornTracker(project="nlp", name="bert"), cpu=True)
    accelerator.init_trackers("ignored", config={"lr": 0.1})
    for step in range(3):
        accelerator.log({"loss": 1.0 / (step + 1)}, step=step)
    assert accelerator.get_tracker("runicorn")
    accelerator.trackers[0].log_images({"x": [np.zeros((4, 4, 3), dtype=np.uint8)]}, step=3)
    accelerator.trackers[0].log_table("t", columns=["a"], data=[[1]], step=3)
    accelerator.end_training()
    AcceleratorState._reset_state(True)
    run = only(tmp_path)
    assert [row["data"] for row in rows(run) if "type" not in row] == [
        {"loss": 1.0}, {"loss": 0.5}, {"loss": 1 / 3}]
    assert [row["type"] for row in rows(run) if "type" in row] == ["image", "table"]
    assert small(run, "meta")["config"] == {"lr": 0.1} and small(run, "status")["status"] == "finished"


@pytest.mark.frameworks
def test_ultralytics(tmp_path):
    from wandb_trainings import ULTRALYTICS
    source = ULTRALYTICS.replace('"wandb": True', '"wandb": False').replace(
        'YOLO("yolov8n.yaml").train(',
        'from runicorn.integrations.ultralytics import follow\nfollow(YOLO("yolov8n.yaml"), '
        'project="yolo").train(')
    assert "follow(" in source
    train(tmp_path, source, timeout=500, MPLBACKEND="Agg")
    run = only(tmp_path)
    numbers = [(row["step"], row["data"]) for row in rows(run) if "type" not in row]
    assert [step for step, _ in numbers] == [1, 2]
    assert all({"train/box_loss", "metrics/mAP50(B)", "lr/pg0"} <= set(row) for _, row in numbers)
    assert json.dumps(small(run, "meta")["config"]).count("epochs")
    assert small(run, "status")["status"] == "finished"
