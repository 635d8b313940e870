"""Roots and mirrors with runs in them, a catalog over them, and a clock that stands still until it is
moved."""

import shutil

from clocks import Clock
from small_runs import run_folder

from runicorn import layout, manifest
from runicorn.reader.catalog import Catalog


def catalog_of(root, tmp_path):
    """Return a Catalog over the local root, all of it looked at."""
    catalog = Catalog([("local", root)], home=tmp_path / "home", clock=Clock())
    catalog.begin()
    catalog.refresh()
    catalog.look()
    return catalog


def make_run(root, project="vision", name="resnet50", run_id="20250123_180000_abc123", status="finished",
             config=None, summary=None, events=(), **meta):
    """Write a run of a minute in 2025; return its folder. events: the data of each row."""
    meta = {"format": 1, "id": run_id, "project": project, "name": name, "created_at": 1737655200.0,
            "user": "alice", "hostname": "gpu-01", "tags": ["baseline"], "notes": "",
            "config": config or {"lr": 0.001, "optimizer": {"name": "Adam"}}, **meta}
    began = meta["created_at"]
    rows = enumerate(events or [{"train/loss": 1.0, "val/loss": 0.5}])
    return run_folder(root, layout.run_path(project, name, run_id), {
        layout.META: meta,
        layout.STATUS: {"status": status, "started_at": began,
                        **({"ended_at": began + 60} if status != "running" else {})},
        layout.SUMMARY: {"train/loss": 0.5, "val/loss": 0.25} if summary is None else summary,
        "events.jsonl": "".join(layout.to_json({"ts": began + step, "step": step, "data": data}) + "\n"
                                for step, data in rows)})


def reader_of(*roots, clock=None, **more):
    reader = Catalog([("local" if n == 1 else f"local{n}", root) for n, root in enumerate(roots, 1)],
                     clock=clock or Clock(), **more)
    reader.refresh()
    reader.look()
    return reader


def ids(answer):
    return [row["id"] for row in answer["runs"]]


def mirror_of(root, folder, live=None, up=True):
    """Make a mirror's folder as sync leaves it: the index of `root`, and its files."""
    shutil.copytree(root, folder, dirs_exist_ok=True)
    (folder / ".index").mkdir(exist_ok=True)
    (folder / ".index/source.json").write_text(layout.to_json({"host": "gpu-01", "root": str(root)}))
    manifest.save(manifest.build(root), folder / ".index/full.json")
    layout.replace_file(folder / ".index/live.json",
                        layout.to_json({"runs": live or {}, "line": {"up": up}, "gone": []}).encode())
