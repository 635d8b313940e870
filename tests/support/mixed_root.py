"""A root in which several loggers and Runicorn wrote, and what of it every way of listing it has to tell."""

import functools
import json
import os
import time

from small_runs import write_run

from runicorn import foreign, manifest
from runicorn.manifest_entry import kinds_of

OURS = "p/n/runs/20250101_000000_abcdef"
EVENTS = "events.out.tfevents.1700000000.host.1.0"
TABLE = "epoch,step,train_loss\n" + "".join(f"0,{step},{1 / (step + 1)!r}\n" for step in range(20))
ROWS = "".join(json.dumps({"step": n, "loss": n / 2}) + "\n" for n in range(9))
PAIRS = "".join(f"[12:00:0{n}] step {n}: loss: 0.{n}\n" for n in range(7))
FIRST, AGAIN = "offline-run-20250101_000000-abc", "run-20250102_000000-abc"
OLD = time.time() - 300_000

FILES = {
    f"tb/a/{EVENTS}": "x" * 100, f"tb/a/eval/{EVENTS}": "x", "tb/a/hparams.yaml": "lr: 1\n",
    f"tb/b/c/d/{EVENTS}": "y" * 40, "lightning_logs/version_0/metrics.csv": TABLE,
    "lightning_logs/version_1/metrics.csv": TABLE,
    f"p/wandb/{FIRST}/run-abc.wandb": "x" * 50, f"p/wandb/{AGAIN}/run-abc.wandb": "x" * 60,
    f"p/wandb/{FIRST}/files/config.yaml": "a: 1\n", f"p/wandb/{FIRST}/files/requirements.txt": "torch\n",
    "out/checkpoint-500/trainer_state.json": "{}",
    "out/checkpoint-1000/trainer_state.json": '{"global_step": 5}',
    f"out/{EVENTS}": "z", "sweep/x/log.jsonl": ROWS, "sweep/x/notes.txt": "hello\n",
    "sweep/y/train.log": PAIRS, f"p/n2/runs/Jan01_host/{EVENTS}": "x",
    "data/prompts.jsonl": '{"text": "a", "label": 1}\n', "data/names.csv": "name,age\nann,3\n",
    f"env/lib/a/{EVENTS}": "", f"conda/conda-meta/h/{EVENTS}": "", f".git/{EVENTS}": "",
    f"p/n/beside/{EVENTS}": "", "readme.txt": PAIRS, "code/train.py": "print()\n",
    "\u4e2d\u6587/\u8bad\u7ec3/metrics.csv": TABLE,
}


def put(root, path, content, mtime=None):
    """Write a file below `root` (Path), all folders included; returns it."""
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    if mtime:
        os.utime(place, (mtime, mtime))
    return place


def make(root):
    """Write the mixed root, long ago, into the folder `root` (Path); returns it."""
    for path, content in FILES.items():
        put(root, path, content)
    write_run(root, "p", "n", OURS.rpartition("/")[2])
    os.symlink(AGAIN, root / "p/wandb/latest-run")
    os.symlink("tb", root / "linked")
    age(root)
    return root


def age(root):
    """Let everything below `root`, and itself, have been changed long ago."""
    for path in sorted((path for path in (root, *root.rglob("*")) if not path.is_symlink()),
                       key=lambda path: -len(path.parts)):
        os.utime(path, (OLD, OLD))


def listed(index):
    """Return {run path: (kinds, {file name: (size, whole mtime)})} of a manifest.Manifest."""
    return {path: (kinds_of(index.line(path)), {name: (file["size"], int(file["mtime"] or 0))
                                                for name, file in index.entry(path)["files"].items()})
            for path in index.paths()}


def expected(root, rules=None):
    """Return what a look on the server's own machine lists, as `listed` has it. rules:
    foreign_rules.Rules."""
    return listed(manifest.build(str(root), find_others=functools.partial(foreign.find, rules=rules)))


def mirrored(one):
    """Return what the mirror of a pairs.Pair lists, as `listed` has it."""
    return listed(manifest.load(one.mirror / ".index" / "full.json"))
