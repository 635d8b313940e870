"""Run folders written by their format, without the writer: the one maker, `run_folder`, and a small run for
tests that need one to show."""

import json
import os
import time
from pathlib import Path

from runicorn import layout


def run_folder(root, path, files, mtime=None):
    """Make the folder of a run at `path` ("project/name/runs/id") below a root, and return it (Path); all
    tests make theirs here.

    files: {name: its content, bytes, text or what becomes JSON}, each put in place whole. mtime: of the files
    and the folder, Unix s.
    """
    folder = Path(layout.make_folders(root, path))
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        text = content if isinstance(content, (str, bytes)) else layout.to_json(content)
        layout.replace_file(folder / name, text if isinstance(text, bytes) else text.encode())
    if mtime is not None:
        for file in [*folder.iterdir(), folder]:
            os.utime(file, (mtime, mtime))
    return folder


def write_run(root, project, name, run_id, status="finished", rows=20, started=None, config=None, tags=(),
              metric="train/loss", **meta):
    """Write a small run; returns its folder (Path)."""
    started = time.time() - 3600 if started is None else started
    ended = ({} if status == "running"
             else {"ended_at": started + 600, "exit_code": 1 if status == "failed" else 0})
    return run_folder(root, layout.run_path(project, name, run_id), {
        layout.META: {"format": 1, "id": run_id, "project": project, "name": name, "created_at": started,
                      "user": "alice", "hostname": "gpu-01", "tags": list(tags), "config": config or {},
                      **meta},
        layout.STATUS: {"status": status, "started_at": started, **ended},
        layout.SUMMARY: {metric: 2.0 / rows} if rows else {},
        "events.jsonl": "".join(event(started + step, step, {metric: 2.0 / (step + 1)})
                                for step in range(rows))})


def event(ts, step, data):
    """One line of events.jsonl."""
    return json.dumps({"ts": round(ts, 3), "step": step, "data": data}) + "\n"


def beat(root, folder, run_id):
    """Let a running run's heart beat once."""
    live = Path(root) / ".runicorn" / "live"
    live.mkdir(parents=True, exist_ok=True)
    path = Path(folder).relative_to(root).as_posix()
    (live / f"{run_id}.json").write_text(
        json.dumps({"id": run_id, "path": path, "interval": 10.0, "host": "gpu-01", "pid": 1}))
