"""The run list: rows, sorting, filters, slices, groups, and what the sidebar counts."""

import json
import os

import pytest
from catalogs import ids, make_run, reader_of
from clocks import Clock

from runicorn.errors import FilterError, UsageError
from runicorn.settings import Overlay


def test_a_row_says_what_the_run_is(tmp_path):
    make_run(
        tmp_path,
        "图像 分类",
        "学习率",
        events=[{"val/loss": 0.9}, {"val/loss": 0.2}, {"val/loss": 0.25}],
        config={"lr": 1e-3, "max_steps": 100},
    )
    (row,) = reader_of(tmp_path).runs(spark=True)["runs"]
    assert {
        key: row[key]
        for key in ("key", "project", "name", "connection", "state", "started", "ended", "duration", "step",
                    "total", "sources", "here")
    } == {
        "key": "local:图像 分类/学习率/20250123_180000_abc123",
        "project": "图像 分类",
        "name": "学习率",
        "connection": "local",
        "state": "finished",
        "started": 1737655200.0,
        "ended": 1737655260.0,
        "duration": 60.0,
        "step": 2,
        "total": 100,
        "sources": 1,
        "here": True,
    }
    assert row["main"] == {"metric": "val/loss", "value": 0.25, "rule": "min",
                           "best": {"value": 0.2, "step": 1}}
    assert row["spark"] == [0.9, 0.2, 0.25]


@pytest.fixture
def sweep(tmp_path):
    for n, (lr, loss) in enumerate([(0.1, "NaN"), (0.01, 0.4), (0.001, 0.2), (1e-4, "Infinity"),
                                    (1e-5, None)]):
        make_run(
            tmp_path,
            name=f"run{n}",
            run_id=f"20250123_18000{n}_00000{n}",
            created_at=1737655200.0 + n,
            config={"lr": lr, "deep": {"er": {"x": n}}},
            summary={} if loss is None else {"val/loss": loss, "acc": 10 * n},
            tags=["even"] if n % 2 == 0 else ["odd", "lr"],
            status="failed" if n == 4 else "finished",
        )
    return reader_of(tmp_path)


@pytest.mark.parametrize(
    "sort, order",
    [
        ("-started", "43210"),
        ("started", "01234"),
        ("summary.val/loss", "213 04"),
        ("-summary.val/loss", "312 04"),
        ("config.lr", "43210"),
        ("-config.deep.er.x", "43210"),
        ("name", "01234"),
        ("state", "4 0123"),
        ("main", "213 04"),
        ("tags", "024 13"),
        ("-duration", ""),
        ("key", "01234"),
    ],
)
def test_sorting_puts_what_has_no_value_last(sweep, sort, order):
    found = [run_id[-1] for run_id in ids(sweep.runs(sort=sort))]
    assert len(found) == 5
    for group in [found] if not order else order.split():
        assert sorted(found[: len(group)]) == sorted(group)
        assert (" " in order or found[: len(group)] == list(group))
        found = found[len(group) :]


def test_numbers_in_texts_are_sorted_by_their_size_and_what_is_equal_newest_first(tmp_path):
    names = ["run10", "run9", "Run2", "v1.10", "v1.9", "run", "2", "10"]
    for n, name in enumerate(names):
        size = ("12B", 7, None, "NaN", True, [1], "7B", "1T")[n]
        make_run(tmp_path, name=name, run_id=f"20250123_18000{n}_00000{n}", created_at=1737655200.0 + n,
                 tags=[], config={"same": 1, "day": f"2025-0{9 - n}-01", "size": size, "long": "9" * 5000})
    reader = reader_of(tmp_path)

    def sizes(sort):
        return [row["values"].get("config.size")
                for row in reader.runs(sort=sort, columns=["config.size"])["runs"]]
    assert [row["name"] for row in reader.runs(sort="name")["runs"]] == [
        "2", "10", "run", "Run2", "run9", "run10", "v1.9", "v1.10"]
    assert [row["name"] for row in reader.runs(sort="-name")["runs"]] == [
        "v1.10", "v1.9", "run10", "run9", "Run2", "run", "10", "2"]
    assert sizes("config.size") == [True, 7, "1T", "7B", "12B", "[1]", "NaN", None]
    assert sizes("-config.size") == ["[1]", "12B", "7B", "1T", 7, True, "NaN", None]
    assert [ids(reader.runs(sort=sort))
            for sort in ("config.same", "-config.same", "host", "-long", "tag", "-age")] == [
                *[ids(reader.runs())] * 5, ids(reader.runs())[::-1]]
    assert ids(reader.runs(sort="day")) == ids(reader.runs())
    assert [group["value"] for group in reader.runs(group="name")["groups"]][:3] == ["2", "10", "run"]


def test_sorting_by_nothing_we_know_is_refused(sweep):
    with pytest.raises(UsageError, match="can't be sorted by 'colour'"):
        sweep.runs(sort="colour")


def test_filters_see_config_summary_tags_and_states(sweep):
    assert [run_id[-1] for run_id in ids(sweep.runs("loss<0.3"))] == ["2"]
    assert [run_id[-1] for run_id in ids(sweep.runs("lr<=0.001 -tag:odd", sort="started"))] == ["2", "4"]
    assert [run_id[-1] for run_id in ids(sweep.runs("deep.er.x=3"))] == ["3"]
    assert [run_id[-1] for run_id in ids(sweep.runs("x=3"))] == ["3"]
    assert [run_id[-1] for run_id in ids(sweep.runs("state:failed"))] == ["4"]
    assert sweep.runs(
        "acc>0 connection:local user:alice host:gpu-01 project:vision started>2020-01-01")["matched"] == 3
    with pytest.raises(FilterError):
        sweep.runs("loss<")


def test_slices_columns_groups_and_what_the_sidebar_counts(sweep):
    answer = sweep.runs(sort="started", offset=1, limit=2,
                        columns=["config.lr", "summary.val/loss", "config.absent"])
    assert (answer["total"], answer["matched"], answer["offset"], len(answer["runs"])) == (5, 5, 1, 2)
    assert [row["values"] for row in answer["runs"]] == [
        {"config.lr": 0.01, "summary.val/loss": 0.4},
        {"config.lr": 0.001, "summary.val/loss": 0.2},
    ]
    names = sweep.view().names
    assert names.pop("offered") == {**names, "more": {}}
    assert names == {"config": ["deep.er.x", "lr"], "summary": ["acc", "val/loss"],
                     "metrics": ["acc", "val/loss"]}
    grouped = sweep.runs(sort="started", group="tag")
    assert grouped["groups"] == [{"value": "even", "count": 3}, {"value": "odd", "count": 2}]
    assert [run_id[-1] for run_id in ids(grouped)] == list("02413")
    tree, states = sweep.facets(sweep.view()).tree(), sweep.view().states()
    assert tree["projects"][0]["count"] == 5 and len(tree["projects"][0]["names"]) == 5
    assert tree["tags"] == [{"tag": "even", "count": 3}, {"tag": "lr", "count": 2},
                            {"tag": "odd", "count": 2}]
    assert states == {"finished": 4, "failed": 1}
    assert tree["connections"] == [{"slug": "local", "name": "local", "count": 5}]
    assert (
        sweep.runs(tag="even")["matched"] == 3 and sweep.runs(name="run1")["matched"] == 1
        and sweep.runs(connection="gpu1")["matched"] == 0
    )


def test_the_overlay_is_the_readers_own_view(tmp_path, home):
    make_run(tmp_path)
    overlay = Overlay(home, clock=Clock())
    reader = reader_of(tmp_path, overlay=overlay)
    key = reader.find("abc123")
    overlay.set(key, tags=["mine"], note="look again", hidden=True)
    assert reader.runs()["runs"] == []
    (row,) = reader.runs("tag:mine again", hidden=True)["runs"]
    assert (row["tags"], row["note"], row["hidden"]) == (["mine"], "look again", True)
    assert reader.facets(reader.view()).tree()["tags"] == []
    assert reader.facets(reader.view(), hidden=True).tree()["tags"] == [{"tag": "mine", "count": 1}]
    assert json.loads(
        (tmp_path / "vision/resnet50/runs/20250123_180000_abc123/meta.json").read_text())["tags"] == [
            "baseline"]


def test_a_local_run_whose_events_may_not_be_read_says_so(tmp_path, monkeypatch):
    folder = make_run(tmp_path)
    access = os.access
    denied = "events.jsonl"                 # said by hand: root may read everything
    monkeypatch.setattr(os, "access",
                        lambda path, mode: access(path, mode) and not os.fspath(path).endswith(denied))
    reader = reader_of(tmp_path)
    row, = reader.runs()["runs"]
    assert row["error"] == "events.jsonl can't be read: permission denied"
    run = reader.run(row["key"])
    assert run["left_out"] == {
        "events.jsonl": {"code": "unreadable", "text": "it can't be read: permission denied"}}
    monkeypatch.undo()
    row, = reader.runs()["runs"]
    assert row["error"] is None and reader.run(row["key"])["left_out"] == {}
    assert (folder / "events.jsonl").exists()


@pytest.mark.parametrize("field, text", [
    *(("ts", text) for text in ("1e5e5", "1-2", "1e999", "-1e999", "9" * 5000, '"Infinity"', "1e300")),
    *(("step", text) for text in ("9" * 5000, "-" + "9" * 400, "1e5e5")),
])
def test_a_number_in_a_row_that_is_none_costs_only_that_row(tmp_path, field, text):
    run = make_run(tmp_path, status="running", events=[{"loss": 0.5}])
    row = '{"ts": 1737655205, "step": 1, "data": {"loss": 0.5}}\n'
    poisoned = row.replace({"ts": "1737655205", "step": "1,"}[field], {"ts": text, "step": f"{text},"}[field])
    for rows in (poisoned, poisoned + row, (row * 9 + poisoned) * 99):
        (run / "events.jsonl").write_text(rows)
        (listed,) = reader_of(tmp_path).runs(spark=True)["runs"]
        assert listed["duration"] in ((None, 5.0) if rows is poisoned else (5.0,))
