"""A script whose types are right: `make lint` has mypy read it with the types that Runicorn gives. Nobody
runs it."""

from __future__ import annotations

from pathlib import Path

import runicorn

with runicorn.init(project="vision", name="resnet50", config={"lr": 0.1}, tags=["a"], storage=Path("runs"),
                   capture="fd") as training:
    training.define_metric("val/loss", summary="min", goal="minimize")
    runicorn.log({"loss": 0.5, "picture": runicorn.Image([[0, 255]], caption="two dots")}, step=1)
    runicorn.summary["best"] = 0.5
    folder: Path = training.dir
    ended: bool = training.ended
runicorn.finish(exit_code=0)

rows: list[str] = [run.name for run in runicorn.runs("state = finished", limit=3)]
started: float | None = runicorn.open_run("20261127_100000_abcdef").started
try:
    runicorn.init(mode="nonsense")
except runicorn.RunicornError as error:
    print(error)
