"""The blocks of docs/analysis.md, a root and a dataset for them, and what Runicorn's own reader makes of
these runs."""

import re
import time
from pathlib import Path

from catalogs import reader_of
from small_runs import event, write_run

from runicorn.transfer import dataset, export_dataset

TEXT = (Path(__file__).parents[2] / "docs/analysis.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)


def make(folder):
    """Write `experiments` and its `dataset` into a folder; return {run id: metrics.series.Series} as the
    catalog has them."""
    root, now = folder / "experiments", time.time()
    for number in range(6):
        lr, seed = (0.1, 1)[number % 2], number // 2
        home = write_run(root, "vision", "resnet", f"20250123_18000{number}_abc12{number}",
                         started=now - 2 * 86400, config={"lr": lr, "seed": seed}, rows=0)
        begun = now - (3600 if number > 3 else 3 * 86400)
        rows = [(step, {"train/loss": lr / (step + 1) + seed / 100}) for step in range(100)]
        for step, data in rows[9::10]:
            data["val/loss"] = lr / (step + 2) + seed / 50
        if number == 2:
            rows[30][1]["train/loss"] = rows[39][1]["val/loss"] = "NaN"
        (home / "events.jsonl").write_text("".join(event(begun + step, step, data) for step, data in rows)
                                           + '{"ts":1,"step":7,"da')
    again = [event(now - 60 + step, step, {"train/loss": 5.0, "val/loss": 6.0}) for step in range(80, 90)]
    (home / "events.2.jsonl").write_text("".join(again))
    reader = reader_of(root, home=folder / "home")
    view, entries = reader.chosen("")
    workers = export_dataset.LocalWorkers(view, {entry.key: entry for entry in entries})
    export_dataset.export(folder / "dataset", list(map(dataset.run_of, entries)), workers, {})
    return {entry.record.id: reader.series(entry.key) for entry in entries}


def result_of(words):
    """Run, in the current folder, the one block that holds `words`; return its `result`."""
    code, = [code for code in BLOCKS if words in code]
    names = {"__name__": "block"}
    exec(compile(code, "docs/analysis.md", "exec"), names)
    return names["result"]


def lr_of(run):
    """Return the learning rate of a run, which its id ends with."""
    return (0.1, 1.0)[int(run[-1]) % 2]
