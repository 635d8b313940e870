"""Event files of a real TensorFlow and of Keras on it, read beside TensorBoard's EventAccumulator."""

import json
import math
import os
import subprocess

import numpy as np
import pytest
from environments import environment
from event_writers import KERAS, TENSORFLOW
from test_kind_tensorboard import accumulated

from runicorn.metrics.foreign_files import ForeignFiles
from runicorn.metrics.series import Series

VERSION = "2.21.0"


def written(source, folder):
    """Run a training with TensorFlow; return what it logged."""
    python = environment(f"tensorflow-{VERSION}", f"tensorflow-cpu=={VERSION}", "tensorboard==2.21.0")
    environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([str(python), "-c", source, str(folder)], capture_output=True, text=True,
                          env=environ, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def read(folder, kind):
    """Return {metric: [(step, value), …]} by the one way in."""
    series = Series(str(folder), None, ForeignFiles(".", (kind,)))
    series.refresh()
    columns = {name: series.points(name) for name in series.metrics()}
    return {name: list(zip(steps, values)) for name, (steps, _, values) in columns.items()}


def same(rows, wanted):
    return len(rows) == len(wanted) and all(
        step == other and (value == expected or math.isnan(value) and math.isnan(expected)
                           or np.float32(value) == np.float32(expected))
        for (step, value), (other, expected) in zip(rows, wanted))


@pytest.mark.frameworks
@pytest.mark.parametrize("source", [TENSORFLOW, KERAS], ids=["tensorflow", "keras"])
def test_all_points_are_those_that_were_logged_and_those_of_tensorboard(tmp_path, source):
    logged = written(source, tmp_path)
    assert len(logged) == 3
    for below, wanted in logged.items():
        folder = tmp_path / below
        mine = read(folder, "csv" if below == "csv" else "tensorboard")
        assert wanted.keys() <= mine.keys(), (below, mine.keys())
        assert {name: mine[name] for name in wanted if not same(mine[name], wanted[name])} == {}, below
        if below != "csv":
            theirs = {tag: [(step, value) for _, step, value in rows]
                      for tag, rows in accumulated(folder).items()}
            found = {tag: [(step, repr(value)) for step, value in rows] for tag, rows in mine.items()}
            assert found == theirs
