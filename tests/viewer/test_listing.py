"""The list slice after slice: what stands beside the rows is told once, and an order is found once while
somebody scrolls."""

import pytest
from small_runs import write_run

from runicorn.news import Bell
from runicorn.reader.catalog import Catalog
from runicorn.reader.run_list import View
from runicorn.settings import Overlay
from runicorn.viewer import listing


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def root(tmp_path):
    for number in range(30):
        run_id = f"20260101_{number:06}_aaaaaa"
        write_run(tmp_path / "root", f"project{number % 3}", f"n{number}", run_id, started=1.7e9 + number,
                  tags=["all"])
    return tmp_path / "root"


@pytest.fixture
def catalog(root, home):
    clock = Clock()
    made = Catalog([("local", root)], home=home, overlay=Overlay(home), clock=clock)
    made.refresh()

    def later():
        """Look again, after a time that makes everything due."""
        clock.now += 600
        made.refresh()
        made.look()
    made.later = later
    return made


@pytest.fixture
def orders(monkeypatch):
    """The questions for which an order was found."""
    found, ordered = [], View.ordered
    monkeypatch.setattr(View, "ordered",
                        lambda self, *args, **question: found.append(question)
                        or ordered(self, *args, **question))
    return found


QUESTION = {"text": "", "sort": "-started", "group": None, "hidden": False, "project": "", "name": "",
            "connection": "", "tag": ""}


def test_columns_and_tree_are_told_once_and_again_when_they_changed(catalog, root):
    lists = listing.Listing(catalog, Bell())
    first = lists.answer(0, 10, **QUESTION)
    assert [one["count"] for one in first["tree"]["projects"]] == [10, 10, 10]
    assert first["columns"]["summary"] == ["train/loss"]
    again = lists.answer(10, 10, known=first["beside"], **QUESTION)
    assert again["tree"] == {"states": {"finished": 30}} and "columns" not in again
    assert again["beside"] == first["beside"]
    assert len(again["runs"]) == 10 and again["matched"] == 30
    assert "projects" in lists.answer(10, 10, known="0" * 16, **QUESTION)["tree"]
    write_run(root, "project9", "new", "20260102_000000_aaaaaa")
    catalog.later()
    changed = lists.answer(10, 10, known=first["beside"], **QUESTION)
    assert len(changed["tree"]["projects"]) == 4 and changed["beside"] != first["beside"]
    catalog.overlay.set(first["runs"][0]["key"], tags=["mine"])
    assert ({"tag": "mine", "count": 1}
            in lists.answer(0, 10, known=changed["beside"], **QUESTION)["tree"]["tags"])


def test_an_order_is_found_once_for_all_slices(catalog, orders):
    lists = listing.Listing(catalog, Bell(), Clock())
    keys = [row["key"] for offset in range(0, 30, 5) for row in lists.answer(offset, 5, **QUESTION)["runs"]]
    assert len(orders) == 1 and len(set(keys)) == 30
    for number in range(2 * listing.ORDERS):
        lists.answer(0, 5, **{**QUESTION, "text": f"n{number}"})
    assert len(orders) == 1 + 2 * listing.ORDERS and len(lists._orders) == listing.ORDERS


@pytest.mark.parametrize("news", ["ring", "time", "run", "note", "metric"])
def test_an_order_is_found_anew_when_something_changed(catalog, orders, root, news, monkeypatch):
    bell, clock = Bell(), Clock()
    lists = listing.Listing(catalog, bell, clock)
    lists.answer(0, 5, **QUESTION)
    bell.ring("run:somebody's", "connections")
    clock.now += listing.STANDS / 2
    lists.answer(5, 5, **QUESTION)
    assert len(orders) == 1
    if news == "ring":
        bell.ring("runs")
    elif news == "time":
        clock.now += listing.STANDS
    elif news == "run":
        write_run(root, "project9", "new", "20260102_000000_aaaaaa")
        catalog.later()
    elif news == "note":
        catalog.overlay.set(lists.answer(0, 1, **QUESTION)["runs"][0]["key"], hidden=True)
    else:
        monkeypatch.setattr(catalog, "preferences", lambda: {"main_metric": {"project0": "acc"}})
    answer = lists.answer(0, 5, **QUESTION)
    assert len(orders) == 2 and answer["matched"] == {"run": 31, "note": 29}.get(news, 30)


def test_rows_of_a_standing_order_are_as_the_runs_are_now(catalog, root, orders):
    lists = listing.Listing(catalog, Bell(), Clock())
    folder = write_run(root, "project0", "live", "20260103_000000_aaaaaa", "running", started=1.8e9)
    catalog.later()
    (row,) = lists.answer(0, 1, **QUESTION)["runs"]
    assert row["name"] == "live" and row["state"] != "failed"
    (folder / "status.json").write_text(
        '{"status": "failed", "started_at": 1.8e9, "ended_at": 1.8e9, "exit_code": 1}')
    catalog.later()
    assert lists.answer(0, 1, **QUESTION)["runs"][0]["state"] == "failed" and len(orders) == 1
