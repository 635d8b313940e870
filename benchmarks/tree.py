"""Believable trees of runs to measure with, the same each time: 1,000 runs of five files, ten of them long,
are 256 MB."""

import json
import os
import random
import time


def run_path(number):
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(1_740_000_000 + 600 * number))
    return f"project{number % 5}/exp{number % 20:02d}/runs/{stamp}_{number:06x}"


def rows(number, first, count):
    chance, loss = random.Random(number * 7919 + first), 2.5
    return "".join(
        '{"ts":%.3f,"step":%d,"data":{"train/loss":%.5f,"train/accuracy":%.4f,"train/lr":%.3e,"grad_norm":%.3f}}\n'
        % (1.74e9 + k, k, loss / (1 + k / 250) + chance.random() / 20, chance.random(), 3e-4 / (1 + k / 1000),
           chance.random())
        for k in range(first, first + count)
    )


def log_rows(number, first, count):
    chance = random.Random(number * 104729 + first)
    return "".join(
        "[2025-02-19 21:20:%02d+0000] step %d: loss %.4f, %.1f samples/s, gpu mem %.2f GiB\n"
        % (k % 60, k, chance.random(), 900 * chance.random(), 40 * chance.random())
        for k in range(first, first + count)
    )


def make_run(root, number, status="finished", events=1000, logs=760, path=None):
    folder = root / (path or run_path(number))
    folder.mkdir(parents=True)
    meta = {
        "id": folder.name,
        "project": folder.parts[-4],
        "name": folder.parts[-3],
        "created_at": 1.74e9 + 600 * number,
        "argv": ["train.py", "--lr", "0.0003"],
        "hostname": "gpu-box",
        "pid": 1000 + number,
        "config": {f"key{n}": n / 7 for n in range(40)},
        "git": {"commit": f"{number:040x}", "branch": "main"},
    }
    for name, value in (
        ("meta", meta),
        ("status", {"status": status, "started_at": 1.74e9}),
        ("summary", {"loss": number / 999, "best": {"acc": 1 / (1 + number)}}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(value, indent=1))
    (folder / "events.jsonl").write_text(rows(number, 0, events))
    (folder / "logs.txt").write_text(log_rows(number, 0, logs))
    when = 1.74e9 + 600 * number + 6000
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (when, when))
    return folder


def make_tree(root, runs, running=4, long=10):
    """1,000 runs of five files, ten of them long: 5,000 files, 256 MB."""
    every = max(1, runs // long)
    for number in range(runs):
        make_run(
            root, number, "running" if number >= runs - running else "finished",
            events=50_000 if number % every == every // 2 else 1000
        )
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        os.utime(folder, (1.75e9, 1.75e9))
    return root


def append(root, runs, running=4, turn=[0]):  # noqa: B006 (the turn is meant to be kept)
    turn[0] += 1
    for number in range(runs - running, runs):
        with open(root / run_path(number) / "events.jsonl", "a") as file:
            file.write(rows(number, 50 * turn[0] + 100_000, 50))
        with open(root / run_path(number) / "logs.txt", "a") as file:
            file.write(log_rows(number, 50 * turn[0] + 100_000, 50))
