"""A first picture of a huge file of any kind: a few whole records of it, read in two requests, and no value
that is not there."""

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from runicorn.metrics import samples
from runicorn.metrics.column_file import File
from runicorn.metrics.foreign_files import ForeignFiles, reader_of
from runicorn.metrics.run_tables import COARSE_BYTES
from runicorn.metrics.series import Series
from runicorn.transfer import tensorboard as tfevents

STEPS = 30_000
TAGS = ("train/loss", "lr", "a rather long name of something/that is measured")


def tensorboard(folder):
    scalars = tfevents.Scalars()
    path = folder / "events.out.tfevents.1.host"
    with open(path, "wb") as file:
        file.write(tfevents.opening(1.0))
        for step in range(STEPS // 3):
            for tag in TAGS:
                file.write(scalars.record(1e9 + step, step, (tag,), (step * 0.5,)))
            # a large record that is none of a scalar, with what looks like heads inside
            if step % 100 == 0:
                file.write(tfevents.record(tfevents.double(1, 1.0)
                                           + tfevents.message(3, b"\1\0\0\0\0\0\0\0ABCD" * 300)))
    return path


def table(folder):
    path = folder / "metrics.csv"
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", "step", "loss", "lr"])
        rows.writerows([step // 100, step, step * 0.5, 1.0 if step % 2 else ""] for step in range(STEPS))
    return path


def lines(folder):
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step, "loss": step * 0.5, "lr": 1.0}) + "\n"
                            for step in range(STEPS)))
    return path


def log(folder):
    path = folder / "train.log"
    path.write_text("".join(f"step {step}: loss: {step * 0.5}, lr: 1e-3\n" for step in range(STEPS)))
    return path


def wandb(folder):
    script = Path(__file__).parents[1] / "support" / "wandb_script.py"
    subprocess.run([sys.executable, script, folder, "2200"], check=True, stdout=subprocess.DEVNULL,
                   timeout=120)
    path, = folder.rglob("run-*.wandb")
    return path


MADE = {"tensorboard": tensorboard, "csv": table, "jsonl": lines, "log": log, "wandb": wandb}


def points(table):
    return {name: list(zip(group.steps, group.columns[name].values)) for name, group in table.where.items()}


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", MADE)
def test_a_sample_is_of_whole_records_in_two_requests(tmp_path, kind):
    path = MADE[kind](tmp_path)
    text, asked = path.read_bytes(), []

    def read(spans):
        asked.append(spans)
        return [text[offset:offset + length] for offset, length in spans]
    sampled = points(samples.sample(read, len(text), reader_of(kind)(None)))
    file = File(str(path), make=reader_of(kind))
    file.look()
    while file.step():
        pass
    exact = points(file.table)
    assert len(asked) == 2 and sum(length for spans in asked for _, length in spans) < len(text)
    assert sampled.keys() >= {name for name, pairs in exact.items() if len(pairs) > 1000}
    for name, pairs in sampled.items():
        there = set(exact[name])
        missing = [pair for pair in pairs if pair not in there and pair[1] == pair[1]]
        assert not missing, (name, missing[:5])
    loss = next(name for name in ("train/loss", "loss") if name in exact)
    steps, last = [step for step, _ in sampled[loss]], exact[loss][-1][0]
    assert steps[0] == exact[loss][0][0] and steps[-1] == last and steps == sorted(set(steps))
    assert max(later - earlier for earlier, later in zip(steps, steps[1:])) <= last / 10 and len(steps) > 200


def test_a_sample_of_damage_is_what_can_be_read_of_it(tmp_path):
    path = tensorboard(tmp_path)
    text, chance = bytearray(path.read_bytes()), random.Random(3)
    for _ in range(2000):
        text[chance.randrange(len(text))] ^= 1 << chance.randrange(8)
    text = bytes(text)
    sampled = points(samples.sample(lambda spans: [text[offset:offset + length] for offset, length in spans],
                                    len(text), reader_of("tensorboard")(None)))
    assert len(sampled["lr"]) > 500 and all(value == step * 0.5 for step, value in sampled["lr"])


def test_a_run_of_another_logger_shows_curves_before_all_of_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("runicorn.metrics.run_tables.COARSE_BYTES", COARSE_BYTES // 64)
    tensorboard(tmp_path)
    series = Series(tmp_path, None, ForeignFiles(".", ("tensorboard",)))
    series.refresh(0.0)
    picture = series.picture("train/loss")
    assert series.behind and picture["approximate"] and series.last_step == STEPS // 3 - 1
    assert picture["x"][0] < 100 and picture["x"][-1] > STEPS // 3 - 100 and len(picture["x"]) > 300
    series.refresh()
    picture = series.picture("train/loss")
    assert not series.behind and not picture["approximate"]
    assert series.metrics()["train/loss"]["points"] == STEPS // 3


def test_a_trainers_state_which_is_one_object_is_never_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr("runicorn.metrics.run_tables.COARSE_BYTES", 1 << 16)
    state = {"global_step": 9000, "log_history": [{"step": step, "loss": 0.5} for step in range(9000)]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    series = Series(tmp_path, None, ForeignFiles(".", ("trainer",)))
    series.refresh(0.0)
    assert series.behind and not series.metrics()
    series.refresh()
    assert series.metrics()["loss"]["points"] == 9000
