"""A root full of believable runs, written by the format alone: for screenshots and for looking at pages.

    python tests/support/showroom.py ROOT [--live]   # make them; --live keeps two running until Ctrl+C
"""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path
from typing import NamedTuple

from small_runs import run_folder

from runicorn import layout

MB, GB = 1e6, 1e9
EPOCH = 1563                    # steps, as CIFAR-10 in batches of 32


class Kind(NamedTuple):
    """How one sort of training behaves: where loss starts and ends, how noisy it is, steps a second, how fast
    it learns."""

    first: float
    last: float
    noise: float
    accuracy: float
    speed: float
    total: int
    rate: float
    batch: int
    model: str
    lr: float


KINDS = {
    "resnet50": Kind(2.3, 0.32, 0.05, 86, 4.6, 78150, 6.5, 32, "resnet50", 0.001),
    "resnet18": Kind(2.3, 0.42, 0.05, 82.4, 11, 39050, 6.0, 64, "resnet18", 0.01),
    "vgg16": Kind(2.3, 0.41, 0.06, 84, 3.1, 78150, 4.5, 32, "vgg16", 0.001),
    "vit": Kind(2.3, 0.7, 0.06, 79, 1.6, 78150, 5.0, 128, "vit_small", 0.0003),
    "lm": Kind(9.2, 2.8, 0.03, None, 0.96, 100000, 7.0, 256, "transformer_base", 0.0007),
    "unet": Kind(0.3, 0.03, 0.12, None, 2.4, 200000, 9.0, 64, "unet", 0.0002),
}
# project, name, tags, hours since start, state, share of the total steps done, kind
RUNS = [
    ("image_classification", "resnet50_experiment", ["production", "resnet", "v2.0"], 2.47, "live", 0.53,
     "resnet50"),
    ("image_classification", "resnet50_lr5e-4_b64", ["lr-sweep"], 4.4, "live", 0.49, "resnet50"),
    ("paper_reproduction", "transformer_base_v1", ["baseline", "attention"], 5.4, "live", 0.19, "lm"),
    ("image_classification", "vgg16_lr1e-2", ["lr-sweep"], 10.8, "failed", 0.11, "vgg16"),
    ("image_classification", "vit_small_patch4_warmup6k_mixup0.8_cutmix1.0", ["vit", "aug"], 12.8, "finished",
     0.43, "vit"),
    ("image_classification", "resnet18_experiment", ["baseline"], 26.3, "finished", 1, "resnet18"),
    ("image_classification", "vgg16_experiment", ["baseline"], 27.1, "finished", 1, "vgg16"),
    ("paper_reproduction", "transformer_base_label0.1", ["attention"], 28.6, "finished", 1, "lm"),
    ("paper_reproduction", "transformer_big_fp16", ["preempted"], 29.3, "interrupted", 0.21, "lm"),
    ("image_classification", "resnet50_baseline", ["baseline", "resnet"], 31.5, "finished", 1, "resnet50"),
    ("image_classification", "resnet50_label_smoothing", ["resnet"], 33.2, "finished", 1, "resnet50"),
    ("image_classification", "resnet50_randaugment_m9", ["resnet", "aug"], 36.4, "finished", 1, "resnet50"),
    ("image_classification", "resnet50_amp_bf16", ["amp"], 38.0, "failed", 0.03, "resnet50"),
    ("diffusion_cifar10", "unet_baseline", ["baseline"], 40.7, "finished", 1, "unet"),
    ("diffusion_cifar10", "unet_ema_cosine", ["ema"], 43.5, "finished", 0.7, "unet"),
    ("diffusion_cifar10", "unet_v_prediction", ["v-pred"], 50.2, "finished", 1, "unet"),
    ("中文实验", "学习率扫描_余弦", ["基线"], 52.0, "finished", 1, "resnet18"),
    *[("image_classification", f"resnet18_lr{lr}", ["lr-sweep"], 54 + 5 * i, "finished", 1, "resnet18")
      for i, lr in enumerate(["1e-1", "3e-2", "1e-2", "3e-3"])],
    ("image_classification", "resnet18_lr1", ["lr-sweep"], 74, "failed", 0.01, "resnet18"),
    *[("paper_reproduction", f"transformer_small_{variant}", ["attention"], 80 + 9 * i, "finished", 1, "lm")
      for i, variant in enumerate(["baseline", "rope", "alibi", "swiglu", "rmsnorm"])],
    *[("llm_finetune", f"lora_r{rank}_alpha{2 * rank}", ["lora"], 130 + 7 * i, "finished", 1, "lm")
      for i, rank in enumerate([4, 8, 16, 32, 64])],
]


class Curve:
    """The metrics of one training, a row for each logged step."""

    def __init__(self, kind, seed, quality):
        self.kind, self.rng, self.quality = kind, random.Random(seed), quality

    def rows(self, start, steps, every, first=0):
        """Yield (ts, step, {metric: value}); train rows each `every` steps, a validation row each epoch."""
        for step in range(first, steps, every):
            yield start + step / self.kind.speed, step, self.train(step)
            if step // EPOCH != (step - every) // EPOCH and step:
                yield start + step / self.kind.speed + 6, step, self.validate(step)

    def train(self, step):
        kind, rng = self.kind, self.rng
        left = math.exp(-kind.rate * step / kind.total)
        loss = (kind.last * self.quality + (kind.first - kind.last) * left) * math.exp(
            rng.gauss(0, kind.noise))
        warm = min(1, (step + 1) / 2000)
        row = {"train/loss": round(loss, 6)}
        if kind.accuracy:
            row["train/accuracy"] = round(
                min(99.9, (kind.accuracy + 6) * (1 - left) + 10 * left + rng.gauss(0, 0.9)), 4)
        row["train/learning_rate"] = kind.lr * warm * 0.5 * (
            1 + math.cos(math.pi * min(1, step / kind.total)))
        row["train/grad_norm"] = "NaN" if 17250 < step < 17430 and rng.random() < 0.2 else round(
            (0.6 + 6 * left) * math.exp(rng.gauss(0, 0.18)) * (40 if 17200 < step < 17260 else 1), 5)
        row["train/images_per_second"] = round(
            kind.speed * kind.batch * (0.75 if 12000 < step < 12600 else 1) + rng.gauss(0, 1), 3)
        row["step/ms"] = round(1000 / kind.speed + rng.gauss(0, 3), 3)
        row["data/ms"] = round(31 + abs(rng.gauss(0, 1.5)), 3)
        row["epoch"] = step // EPOCH
        return row

    def validate(self, step):
        left = math.exp(-self.kind.rate * 1.15 * step / self.kind.total)
        loss = self.kind.last * 1.25 * self.quality + (self.kind.first - self.kind.last) * left
        row = {"val/loss": round(loss + self.rng.gauss(0, 0.012), 6)}
        if self.kind.accuracy:
            accuracy = self.kind.accuracy * (1 - left) + 10 * left
            row["val/accuracy"] = round(accuracy + self.rng.gauss(0, 0.4), 4)
            row["val/f1"] = round(row["val/accuracy"] / 100 - 0.006, 4)
        return row


def event(ts, step, data):
    return json.dumps({"ts": round(ts, 3), "step": step, "data": data}, separators=(",", ":")) + "\n"


def log_line(ts, step, row, every):
    if "train/loss" in row:
        text = f"Epoch {row['epoch']} [{step % EPOCH}/{EPOCH}] Loss: {float(row['train/loss']):.4f}"
    else:
        text = f"\x1b[32m✓ Epoch {step // EPOCH} done\x1b[0m  val/loss {row['val/loss']:.4f}"
    return layout.stamp(ts) + text + "\n"


def sample(ts, rng):
    gpu = [{"i": i, "name": "RTX 2080 Ti", "util": min(100, round(94 + rng.gauss(0, 2.5))),
            "mem": [8.2 * GB - i * 0.1 * GB, 11 * GB], "temp": round(71 + rng.gauss(0, 0.6)),
            "power": round(240 + rng.gauss(0, 5))} for i in range(2)]
    return json.dumps({"ts": round(ts, 3), "cpu": round(45 + rng.gauss(0, 6), 1),
                       "mem": [12 * GB + rng.gauss(0, 0.1) * GB, 64 * GB],
                       "disk": [310 * GB, 1000 * GB], "gpu": gpu}, separators=(",", ":")) + "\n"


def make_run(root, index, spec, now):
    """Write one run; return what `go_on` needs to continue it."""
    project, name, tags, hours, state, share, kind_name = spec
    kind, start = KINDS[kind_name], now - hours * 3600
    steps = int(kind.total * share)
    if state == "live":
        start = now - steps / kind.speed
    run_id = (time.strftime("%Y%m%d_%H%M%S_", time.localtime(start))
              + f"{(index * 7919 + 0xabc123) % 0xffffff:06x}")
    path = layout.run_path(project, name, run_id)
    curve = Curve(kind, index, 1 + (index * 37 % 20 - 8) / 60)
    every = max(1, steps // 6000)
    status = {"status": {"live": "running"}.get(state, state), "started_at": start}
    summary, lines, logs = {}, [], []
    resume = int(steps * 0.58) // every * every if index == 0 else None
    for ts, step, row in curve.rows(start, steps, every):
        if state == "failed" and step > steps - 3 * every:
            row = {key: "NaN" if key.endswith("loss") else value for key, value in row.items()}
        if resume and step > resume * 1.12:
            break
        if resume and step > resume and "train/loss" in row:        # what made somebody stop it and go back
            worse = (step - resume) / (0.12 * resume)
            row.update({"train/loss": row["train/loss"] * (1 + 1.5 * worse),
                        "train/accuracy": row["train/accuracy"] * (1 - 0.25 * worse)})
        lines.append(event(ts, step, row))
        summary.update(row)
        if len(lines) % 8 == 1 or "val/loss" in row:
            logs.append(log_line(ts, step, row, every))
    files = {"events.jsonl": "".join(lines)}
    if resume:
        rows = list(curve.rows(start, steps, every, first=resume))
        again = [event(*row) for row in rows]
        files["events.2.jsonl"] = "".join(again)
        lines = [line for line in lines if json.loads(line)["step"] < resume] + again
        logs += [log_line(ts, step, row, every) for ts, step, row in rows[::8]]
        summary.update({key: value for _, _, row in rows for key, value in row.items()})
        status["attempts"] = [{"n": 1, "started_at": start},
                              {"n": 2, "started_at": start + resume / kind.speed}]
    ended = start + steps / kind.speed
    if state == "failed":
        status.update(exit_code=1, error=f"FloatingPointError: loss is NaN at step {steps - 1:,}",
                      traceback="Traceback (most recent call last):\n  File \"train.py\", line 214, "
                                "in <module>\n"
                                "FloatingPointError: loss is NaN\n")
        logs.append(layout.stamp(ended) + "FloatingPointError: loss is NaN\n")
    if state == "interrupted":
        status.update(signal="SIGTERM")
    if state != "live":
        status["ended_at"] = ended
    if kind.accuracy:
        summary["best_val_accuracy"] = max(json.loads(line)["data"].get("val/accuracy", 0) for line in lines)
    rng = random.Random(index)
    files["system.jsonl"] = "".join(sample(start + (ended - start) * i / 400, rng) for i in range(400))
    files["logs.txt"] = "".join(logs)
    config = {"model": kind.model, "dataset": "CIFAR-10" if kind.accuracy else "WMT14 en-de",
              "optimizer": "Adam", "learning_rate": kind.lr,
              "batch_size": kind.batch, "epochs": kind.total // EPOCH, "max_steps": kind.total,
              "scheduler": "cosine, 1 epoch warm-up", "weight_decay": 0.0005, "amp": index % 2 == 0,
              "seed": 42 + index}
    meta = {"format": 1, "id": run_id, "project": project, "name": name, "created_at": start,
            "tz": time.strftime("%Z"), "utc_offset": 0, "user": "alice", "tags": tags, "notes": "",
            "config": config, "argv": ["train.py", "--model", kind.model],
            "cwd": "/home/alice/projects/vision",
            "git": {"commit": "a41f9c2e77d05b1c", "dirty": index % 3 == 0}, "hostname": "gpu-01",
            "pid": 28114 + index, "python": "3.11.7", "platform": "Linux-6.1",
            "gpus": ["RTX 2080 Ti", "RTX 2080 Ti"]}
    folder = run_folder(root, path,
                        {**files, layout.META: meta, layout.STATUS: status, layout.SUMMARY: summary}, ended)
    return folder, path, run_id, curve, steps, resume, every


def make(root, runs=RUNS, now=None):
    """Write `runs` below `root`; return those that are to stay alive, for `go_on`."""
    now = now or time.time()
    Path(root).mkdir(parents=True, exist_ok=True)
    made = [(make_run(root, index, spec, now), spec) for index, spec in enumerate(RUNS) if spec in runs]
    return [run for run, spec in made if spec[4] == "live"]


def go_on(root, alive, stop=None, pause=0.5):
    """Keep the live runs alive: append events, logs and samples and beat their hearts until `stop`
    (threading.Event) is set."""
    live = Path(layout.make_folders(root, ".runicorn/live"))
    rng, count = random.Random(1), 0
    steps = {run_id: step for _, _, run_id, _, step, _, _ in alive}
    while not (stop and stop.is_set()):
        for folder, path, run_id, curve, _, resume, every in alive:
            step = steps[run_id] = steps[run_id] + every
            row = curve.train(step)
            summary = json.loads((folder / layout.SUMMARY).read_text(encoding="utf-8"))
            layout.replace_file(folder / layout.SUMMARY, layout.to_json({**summary, **row}).encode())
            with open(folder / ("events.2.jsonl" if resume else "events.jsonl"), "a",
                      encoding="utf-8") as file:
                file.write(event(time.time(), step, row))
            with open(folder / "logs.txt", "a", encoding="utf-8") as file:
                file.write(log_line(time.time(), step, row, every))
            if count % 20 == 0:
                with open(folder / "system.jsonl", "a", encoding="utf-8") as file:
                    file.write(sample(time.time(), rng))
                beat = {"path": path, "id": run_id, "host": "gpu-01", "pid": os.getpid(), "interval": 10.0}
                layout.replace_file(live / f"{run_id}.json", layout.to_json(beat).encode())
        count += 1
        if stop:
            stop.wait(pause)
        else:
            time.sleep(pause)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--live", action="store_true")
    options = parser.parse_args()
    kept = make(options.root)
    if options.live:
        go_on(options.root, kept)
