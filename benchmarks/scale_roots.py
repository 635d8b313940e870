"""Roots to measure growth with: many small runs, one run of many rows, one of many metrics. The same bytes
each time.

Only what is asked for is made, once for each size; what a former call made whole is taken again.
"""

import json
import os
import random
import shutil
import time
from pathlib import Path

STARTED = 1_740_000_000
META = ('{"format":1,"created_at":%(at).3f,"tz":"UTC","utc_offset":0,"user":"alice",'
        '"hostname":"gpu-%(host)02d","pid":%(pid)d,'
        '"argv":["train.py","--lr","%(lr)s"],"cwd":"/home/alice/vision","python":"3.11.7","platform":"Linux-6.1.0-x86_64-with-glibc2.36",'
        '"cpus":64,"runicorn":"1.0.0","id":"%(id)s","project":"%(project)s","name":"%(name)s","config":{"lr":%(lr)s,"batch_size":%(batch)d,'
        '"model":"resnet50","optimizer":"adamw","epochs":90,"seed":%(seed)d,"weight_decay":0.05,"dataset":"imagenet"},'
        '"tags":["%(tag)s"],"notes":null}')
STATUS = ('{"started_at":%(at).3f,"attempts":[{"n":1,"started_at":%(at).3f,"host":"gpu-%(host)02d",'
          '"pid":%(pid)d,"from_step":0,'
          '"launch":null}],"ended_at":%(end).3f,"status":"finished","exit_code":0}')
LOG = "epoch 0: loss 2.31\nepoch 1: loss 1.07\nepoch 2: loss 0.88\n"


def run_facts(number, project, name):
    """Return what the files of run `number` say (dict)."""
    chance = random.Random(number)
    at = STARTED + 60 * number + chance.random()
    run_id = time.strftime("%Y%m%d_%H%M%S_", time.gmtime(at)) + f"{number:06x}"
    return {"at": at, "end": at + 3600 * chance.random(), "host": number % 40, "pid": 1000 + number,
            "id": run_id, "project": project, "name": name, "lr": chance.choice(("0.1", "0.01", "0.001")),
            "batch": chance.choice((32, 64)), "seed": number, "tag": chance.choice(("baseline", "amp", "v2"))}


def small_run(root, number, project, name, rows=5):
    """Write one finished run of five small files."""
    facts = run_facts(number, project, name)
    folder = f"{root}/{project}/{name}/runs/{facts['id']}"
    os.makedirs(folder)
    chance, at = random.Random(number), facts["at"]
    values = [(chance.random(), chance.random()) for _ in range(rows)]
    events = "".join(
        f'{{"ts":{at + step:.3f},"step":{step},'
        f'"data":{{"train/loss":{loss:.6f},"train/accuracy":{right:.4f}}}}}\n'
        for step, (loss, right) in enumerate(values))
    summary = json.dumps({"train/loss": round(values[-1][0], 6), "train/accuracy": round(values[-1][1], 4)})
    for file_name, content in (("meta.json", META % facts), ("status.json", STATUS % facts),
                               ("summary.json", summary), ("events.jsonl", events), ("logs.txt", LOG)):
        with open(f"{folder}/{file_name}", "w") as file:
            file.write(content)
    return folder


def many_runs(root, count, project_of=lambda number: (f"project{number % 5}", f"exp{number % 200:03d}")):
    """Write `count` runs, as (project, name) of each number say; by default 5 projects of 40 experiments."""
    for number in range(count):
        small_run(root, number, *project_of(number))


def long_run(root, rows, metrics=4):
    """Write one run of `rows` rows of `metrics` metrics; about 190 bytes a row of four."""
    folder = Path(small_run(root, 0, "long", "run", rows=1))
    names = ["train/loss", "train/accuracy", "train/learning_rate", "val/loss",
             *(f"metric{n}" for n in range(4, metrics))][:metrics]
    chance, pieces = random.Random(1), []
    with open(folder / "events.jsonl", "w", buffering=1 << 20) as file:
        for step in range(rows):
            pieces.append(f'{{"ts":{STARTED + step * 0.1:.3f},"step":{step},"data":{{'
                          + ",".join(f'"{name}":{chance.random() + n:.12f}' for n, name in enumerate(names))
                          + "}}\n")
            if len(pieces) == 10_000:
                file.writelines(pieces)
                pieces.clear()
        file.writelines(pieces)


def wide_run(root, metrics, rows=20):
    """Write one run whose rows have `metrics` metrics each."""
    folder, chance = Path(small_run(root, 0, "wide", "run", rows=1)), random.Random(2)
    names = [f"layer{n // 10:04d}/norm{n % 10}" for n in range(metrics)]
    with open(folder / "events.jsonl", "w") as file:
        for step in range(rows):
            file.write(wide_row(names, step, chance))
    (folder / "summary.json").write_text(json.dumps({name: round(chance.random(), 6) for name in names}))


def wide_row(names, step, chance):
    """Return one row (str) with a value of each name."""
    return json.dumps({"ts": STARTED + step, "step": step,
                       "data": {name: round(chance.random(), 6) for name in names}}) + "\n"


def made(folder, make, *what):
    """Return `folder` as make(folder, *what) leaves it; a whole one from before is taken as it is."""
    whole = Path(f"{folder}.whole")
    if not whole.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder, *what)
        whole.touch()
    return folder
