"""A run's group and job type, as init took them: filtered, sorted, grouped by and listed like its project."""

import pytest
from small_runs import write_run

from runicorn.reader.catalog import Catalog


@pytest.fixture
def view(tmp_path, home):
    root = tmp_path / "root"
    for seed in (1, 2):
        write_run(root, "vision", "base", f"20250123_18000{seed}_aaaaa{seed}", config={"seed": seed},
                  group="vit seeds", job_type="train")
    write_run(root, "vision", "eval", "20250123_180005_bbbbb1", group="vit", job_type="eval")
    write_run(root, "vision", "old", "20250123_180006_ccccc1", config={"group": "vit", "lr": 1})
    write_run(root, "vision", "plain", "20250123_180007_ddddd1")
    for _ in range(2):                  # read, then as it was kept for the next start
        reader = Catalog([("local", root)], home=home)
        reader.refresh()
        reader.save()
    return reader.view()


@pytest.mark.parametrize("text, names", [
    ('group:"vit seeds"', ["base", "base"]),
    # the whole word; a config key of that name where init was given none
    ("group:vit", ["eval", "old"]),
    ("group:vit*", ["base", "base", "eval", "old"]),
    ("-group:vit*", ["plain"]),
    ("config.group:vit", ["old"]),
    ("job_type:eval", ["eval"]),
    ("job_type:train,eval", ["base", "base", "eval"]),
])
def test_filters_know_group_and_job_type(view, text, names):
    assert sorted(row["name"] for row in view.list(text)["runs"]) == names


def test_rows_are_sorted_and_grouped_by_it(view):
    answer = view.list(group="group", sort="-group")
    assert [(one["value"], one["count"]) for one in answer["groups"]] == [
        ("vit", 2), ("vit seeds", 2), (None, 1)]
    assert [row["name"] for row in view.list(sort="-group")["runs"]] == [
        "base", "base", "old", "eval", "plain"]
    assert {row["name"]: row["job_type"] for row in view.list()["runs"]} == {
        "base": "train", "eval": "eval", "old": None, "plain": None}
