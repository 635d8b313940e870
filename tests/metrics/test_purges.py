"""Values that a file says are superseded: by a restart that it tells, not by the first step of a newer
attempt."""

import json

import pytest

from runicorn.metrics import curves
from runicorn.metrics.columns import Table
from runicorn.metrics.kinds.events import Reader
from runicorn.metrics.series import Series


def table(steps, purges, names=("loss",), kind="tensorboard"):
    """Return a Table of rows 0, 1, … that log the `names` at these steps: values are the row's number."""
    made = Table(kind)
    lines = [json.dumps({"ts": 1e9 + row, "step": step, "data": dict.fromkeys(names, row)}) + "\n"
             for row, step in enumerate(steps)]
    made.add(Reader().take("".join(lines).encode(), 0)[1])
    made.purges = purges
    return made


def points(tables, metric="loss"):
    (xs, values), (old_xs, old_values) = curves.joined(tables, metric, "step")
    return list(zip(xs, values)), list(zip(old_xs, old_values))


def test_a_purge_supersedes_what_came_before_it_from_its_step_on():
    told = table([0, 1, 2, 3, 2, 3, 4], [[4, 2, None]])
    assert points([told]) == ([(0, 0), (1, 1), (2, 4), (3, 5), (4, 6)], [(2, 2), (3, 3)])


def test_without_a_purge_a_step_that_goes_back_keeps_all():
    assert points([table([0, 1, 2, 1, 2], [])]) == ([(0, 0), (1, 1), (2, 2), (1, 3), (2, 4)], [])


def test_a_purge_names_its_metrics():
    told = table([0, 1, 2, 1], [[3, 1, ["loss"]]], names=("loss", "lr"))
    assert points([told])[1] == [(1, 1), (2, 2)] and points([told], "lr")[1] == []


def test_a_later_file_purges_the_older_ones():
    old, new = table([0, 1, 2, 3], []), table([2, 3], [[0, 2, None]])
    assert points([old, new]) == ([(0, 0), (1, 1), (2, 0), (3, 1)], [(2, 2), (3, 3)])


def test_a_later_purge_that_reaches_further_back_counts():
    told = table([0, 1, 2, 3, 2, 3, 1, 2], [[4, 2, None], [6, 1, None]])
    assert points([told]) == ([(0, 0), (1, 6), (2, 7)], [(1, 1), (2, 2), (3, 3), (2, 4), (3, 5)])


def test_attempts_of_ours_are_cut_where_the_newer_one_began():
    old, new = table([0, 1, 2, 3], None), table([2, 3], None)
    assert points([old, new]) == ([(0, 0), (1, 1), (2, 0), (3, 1)], [(2, 2), (3, 3)])


class Marked(Reader):
    """Lines of events, and {"purge": step} as another logger's restart."""

    kind = "tensorboard"

    def __init__(self, state=None):
        super().__init__()
        self.purges = []

    def take(self, block, left):
        begin = self._parser.lines
        for number, line in enumerate(block.splitlines(), begin):
            self.purges += [[number, json.loads(line)["purge"], None]] if b"purge" in line else []
        return super().take(block, left)

    def facts(self):
        return {"purges": self.purges}


@pytest.mark.parametrize("asked", [False, True], ids=["at the end", "in between"])
def test_a_curve_that_grows_by_a_purge_is_made_anew(tmp_path, asked):
    path = tmp_path / "events"
    rows = [{"ts": 1e9 + step, "step": step, "data": {"loss": step}} for step in range(5)]
    again = [{"purge": 3}, {"ts": 1e9 + 9, "step": 3, "data": {"loss": 30}}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    series = Series(tmp_path, None, lambda folder: {("events", 0, 1): (str(path), Marked)})
    if asked:
        series.refresh()
        assert list(series.points("loss")[2]) == [0, 1, 2, 3, 4]
        assert series.picture("loss", x="wall")["superseded"] is None
    with open(path, "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in again)
    series.refresh()
    assert list(series.points("loss")[2]) == [0, 1, 2, 30]
    assert series.picture("loss")["superseded"]["x"] == [3, 4]
    assert series.picture("loss", x="wall")["superseded"]["last"] == [3, 4]


def test_a_metric_in_files_of_two_kinds_is_taken_from_the_one_believed_first(tmp_path):
    for name, factor in (("a", 1), ("b", 2)):
        rows = [{"ts": 1e9 + step, "step": step, "data": {"loss": factor * step, name: 1}}
                for step in range(3)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {("events", 0, 1): (str(tmp_path / "a"), Reader), ("events", 0, 2): (str(tmp_path / "b"), Marked)}
    series = Series(tmp_path, None, lambda folder: files)
    series.refresh()
    assert list(series.points("loss")[2]) == [0, 2, 4] and list(series.metrics()) == ["loss", "a", "b"]
    assert series.metrics()["loss"]["last"] == 4


def test_a_metric_of_which_a_later_start_took_back_every_point_stops_no_other(tmp_path):
    rows = [{"ts": 1e9 + step, "step": step, "data": {"loss": step}} for step in range(5)]
    lines = [*rows, {"ts": 1e9 + 5, "step": 5, "data": {"gone": 1}}, {"purge": 0}, *rows]
    (tmp_path / "events").write_text("".join(json.dumps(line) + "\n" for line in lines))
    series = Series(tmp_path, None, lambda folder: {("events", 0, 1): (str(tmp_path / "events"), Marked)})
    series.refresh()
    assert list(series.metrics()) == list(series.metrics(1)) == ["loss"] and series.spark("gone") == []
    assert series.picture("gone")["superseded"]["x"] == [5] and series.told("run", "gone")
