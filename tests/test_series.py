"""Series over real run folders: attempts and ranks joined, pictures on every x, the older event shape, what grows."""

import json

from runicorn.series import Series


def write(folder, name, *rows, start=1000.0):
    """Write rows (step, data) a second apart into an events file; returns its path."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    with open(path, "a") as file:
        for place, (step, data) in enumerate(rows):
            file.write(json.dumps({"ts": start + place, "step": step, "data": data}, separators=(",", ":")) + "\n")
    return path


def opened(folder, **options):
    series = Series(folder, **options)
    series.refresh()
    return series


def test_one_file(tmp_path):
    write(tmp_path, "events.jsonl", *[(step, {"loss": 1 / (step + 1), "lr": 0.1}) for step in range(100)], (100, {"val/loss": 0.5}))
    series = opened(tmp_path)
    facts = series.metrics()
    assert list(facts) == ["loss", "lr", "val/loss"]
    assert facts["loss"] == {"points": 100, "first_step": 0, "last_step": 99, "last": 0.01, "last_ts": 1099.0,
                             "attempts": [1], "ranks": [0], "best": {"min": (0.01, 99), "max": (1.0, 0)}}
    assert (series.rows, series.last_step, series.first_ts, series.last_ts, series.median_gap) == (101, 100, 1000.0, 1100.0, 1.0)
    picture = series.picture("loss")
    assert picture["exact"] and picture["x"] == list(range(100)) and picture["last"] == [1 / (step + 1) for step in range(100)]
    assert picture["n"] == picture["m"] == picture["total"] == 100 and picture["superseded"] is None and not picture["approximate"]
    assert series.picture("nothing") is None
