"""Small runs, written by their format: for tests that need something to show."""

import json
import time
from pathlib import Path

from runicorn import layout


def write_run(root, project, name, run_id, status="finished", rows=20, started=None, config=None, tags=(), metric="train/loss", **meta):
    """Write a small run by its format; returns its folder (Path)."""
    started = time.time() - 3600 if started is None else started
    folder = Path(layout.make_folders(root, layout.run_path(project, name, run_id)))
    said = {"format": 1, "id": run_id, "project": project, "name": name, "created_at": started, "user": "alice", "hostname": "gpu-01",
            "tags": list(tags), "config": config or {}, **meta}
    ended = {} if status == "running" else {"ended_at": started + 600, "exit_code": 1 if status == "failed" else 0}
    (folder / "meta.json").write_text(json.dumps(said))
    (folder / "status.json").write_text(json.dumps({"status": status, "started_at": started, **ended}))
    (folder / "summary.json").write_text(json.dumps({metric: 2.0 / rows} if rows else {}))
    (folder / "events.jsonl").write_text("".join(event(started + step, step, {metric: 2.0 / (step + 1)}) for step in range(rows)))
    return folder


def event(ts, step, data):
    """One line of events.jsonl."""
    return json.dumps({"ts": round(ts, 3), "step": step, "data": data}) + "\n"


def beat(root, folder, run_id):
    """Let a running run's heart beat once."""
    live = Path(root) / ".runicorn" / "live"
    live.mkdir(parents=True, exist_ok=True)
    path = Path(folder).relative_to(root).as_posix()
    (live / f"{run_id}.json").write_text(json.dumps({"id": run_id, "path": path, "interval": 10.0, "host": "gpu-01", "pid": 1}))
