"""Runs that go on, beat and fall silent, before a clock that is moved by hand."""

import os
from pathlib import Path

from small_runs import run_folder

from runicorn import layout


def looked(reader, clock, seconds=0.0, key=None):
    """Let `seconds` pass on the reader's clock, look, and return the run's (state, reason code)."""
    clock.now += seconds
    reader.refresh()
    reader.look()
    (row,) = reader.runs()["runs"]
    return row["state"], row["reason"]["code"]


def make_run(root, status="running", run_id="20250123_180000_abc123", **more):
    """Write a run by the format alone; return its folder."""
    folder = run_folder(root, layout.run_path("p", "n", run_id), {
        layout.META: {"format": 1, "id": run_id, "project": "p", "name": "n", "created_at": 1737650000.0},
        layout.STATUS: {"status": status, "started_at": 1737650000.0, **more},
        "events.jsonl": "".join(row(step) for step in range(3))})
    layout.make_folders(root, ".runicorn/live")
    (Path(root) / ".runicorn/live" / f"{run_id}.json").write_text("{}")
    return folder


def row(step, ts=None, gap=1.0):
    return layout.to_json({"ts": 1737650000.0 + step * gap if ts is None else ts, "step": step,
                           "data": {"loss": 1.0}}) + "\n"


def beat(root, at, run_id="20250123_180000_abc123"):
    os.utime(Path(root) / ".runicorn/live" / f"{run_id}.json", (at, at))
