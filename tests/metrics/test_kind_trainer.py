"""The state of a real Trainer, of several ages, complete or not, small or beyond what is read at once."""

import json
import os

import pytest
from kind_cuts import Growing, points, steps_and_values, whole

from runicorn.metrics.column_file import File
from runicorn.metrics.kinds import trainer
from runicorn.metrics.kinds.trainer import Reader, is_kind


def state(steps, reached, **more):
    history = [{"epoch": step / 10, "grad_norm": 1.5, "learning_rate": 1e-4, "loss": 1 / step, "step": step}
               for step in range(1, reached + 1)]
    history.append({"epoch": 1.0, "eval_loss": 0.5, "eval_runtime": 2.0, "remaining_time": "59h:30m:19s",
                    "step": reached})
    return {"best_metric": 0.5, "epoch": 1.0, "global_step": reached, "log_history": history,
            "logging_steps": 1, "max_steps": steps, **more}


def as_text(entry):
    return {name: str(value) if type(value) is float else value for name, value in entry.items()}


@pytest.mark.parametrize("rewrite", [dict, as_text])
def test_a_state_of_both_versions(rewrite):
    content = state(40, 20)
    content["log_history"] = [rewrite(entry) for entry in content["log_history"]]
    data = json.dumps(content, indent=2, sort_keys=True).encode()
    read = whole(Reader, data)
    assert is_kind("trainer_state.json", data[:4096]) and not is_kind("other_state.json", data[:4096])
    assert steps_and_values(read.parts, "loss") == [(step, 1 / step) for step in range(1, 21)]
    assert set(points(read.parts)) == {"loss", "epoch", "grad_norm", "learning_rate", "eval_loss",
                                       "eval_runtime"}
    facts = read.reader.facts()
    assert facts["steps"] == 40 and facts["finished"] is False and facts["no_times"] is True
    assert facts["config"]["max_steps"] == 40 and facts["summary"]["best_metric"] == 0.5
    assert whole(Reader, json.dumps(state(20, 20)).encode()).reader.facts()["finished"] is True


def test_nothing_is_read_before_the_object_is_complete():
    data = json.dumps(state(40, 20)).encode()
    growing = Growing(Reader)
    for place in range(0, len(data) - 1, 50):
        growing.grow(data[place:min(place + 50, len(data) - 1)], restart=place % 400 == 0)
        assert growing.parts == [] and growing.position == 0
    growing.grow(data[-1:])
    assert growing.outcome() == whole(Reader, data).outcome() and growing.parts


def test_a_file_that_is_replaced_whole(tmp_path):
    path = tmp_path / "trainer_state.json"
    file = File(str(path), make=Reader)
    for reached in (5, 10, 15, 3):
        path.write_text(json.dumps(state(15, reached), indent=2))       # in place, as Transformers writes it
        while file.look() and file.step():
            pass
        group = file.table.where["loss"]
        assert list(group.steps) == list(range(1, reached + 1))
        assert file.reader.facts()["finished"] is (reached == 15)
        path.rename(tmp_path / "old")
        os.replace(tmp_path / "old", path)


@pytest.mark.parametrize("content", [b"{}", b'{"log_history": 3}', b"[]", b"3",
                                     b'{"log_history": [3, null, {"step": "x", "loss": 1}, {"step": 1}, '
                                     b'{"loss": 2}]}'])
def test_odd_objects(content):
    read = whole(Reader, content)
    assert read.parts == [] and read.position == len(content)


def test_damaged_ones_wait_for_the_next():
    for content in (b"not json", b'{"log_history": [', b"\xff\xfe\0", b"[" * 100_000, b""):
        read = whole(Reader, content)
        assert read.parts == [] and read.position == 0


def test_long_ones_are_read_entry_by_entry(monkeypatch):
    content = state(5000, 2000, trial_name="a", stateful_callbacks={"x": {"args": {"y": [1, {"z": "]}"}]}}})
    content["log_history"].insert(
        7, {"step": 7, "note": 'brace } and ] and "quote"', "nested": {"a": {"b": 1}}, "extra": 1.0})
    data = json.dumps(content, indent=2, sort_keys=True).encode()
    wanted = whole(Reader, data)
    monkeypatch.setattr(trainer, "WHOLE", 1000)
    for restart in (False, True):
        growing = Growing(Reader, block=4096)
        growing.data = data
        while growing.position < len(data):
            growing.grow(b"", restart=restart)
        assert sorted(map(repr, growing.outcome()[0].items())) == sorted(
            map(repr, wanted.outcome()[0].items()))
        assert growing.outcome()[1:] == wanted.outcome()[1:]


def test_what_is_too_long_is_passed_over():
    reader = Reader()
    assert reader.take(b'{"global_step": 1', 65 << 20) == (65 << 20, [])
    assert reader.skipped == {"longer than 64 MiB": 1}
    assert reader.take(b"more", 4) == (4, [])


def test_a_real_trainer(tmp_path):
    import torch
    from transformers import Trainer, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x, labels=None):
            loss = ((self.layer(x) - labels) ** 2).mean()
            return {"loss": loss, "logits": loss[None]}

    rows = [{"x": torch.ones(2) * n, "labels": torch.ones(1) * n} for n in range(16)]
    arguments = TrainingArguments(str(tmp_path), max_steps=6, logging_steps=1, save_steps=3, eval_steps=2,
                                  eval_strategy="steps", use_cpu=True, per_device_train_batch_size=4,
                                  report_to=[], disable_tqdm=True)
    made = Trainer(Model(), arguments, train_dataset=rows, eval_dataset=rows)
    made.train()
    for step in (3, 6):
        data = (tmp_path / f"checkpoint-{step}/trainer_state.json").read_bytes()
        read = whole(Reader, data)
        assert is_kind("trainer_state.json", data[:4096])
        wanted = [(entry["step"], float(entry["loss"]))
                  for entry in made.state.log_history if "loss" in entry and entry["step"] <= step]
        assert len(wanted) == step and steps_and_values(read.parts, "loss") == wanted
        assert len(steps_and_values(read.parts, "eval_loss")) == step // 2
        assert (read.reader.facts()["steps"], read.reader.facts()["finished"]) == (6, step == 6)
