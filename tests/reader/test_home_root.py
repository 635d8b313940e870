"""A home named as root: ours in .runicorn/experiments, other loggers' trainings beside them, nothing else,
and what was passed over."""

import collections
import json

import pytest
from playwright.sync_api import expect
from small_runs import write_run

from runicorn import foreign
from runicorn.cli.main import main
from runicorn.cli.viewer import local_roots
from runicorn.news import Bell
from runicorn.reader.catalog import Catalog
from runicorn.transfer import tensorboard as tfevents
from runicorn.transfer.check import check

pytest_plugins = ["chromium"]
ID = "20250101_000000_abcdef"


def put(home, path, content):
    place = home / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def dwelling(tmp_path):
    """A home folder as people have them, but small."""
    home = tmp_path / "alice"
    write_run(home / ".runicorn" / "experiments", "p", "ours", ID)
    scalars = tfevents.Scalars()
    events = (tfevents.opening(1.7e9)
              + b"".join(scalars.record(1.7e9 + step, step, ("loss",), (0.5,)) for step in range(9)))
    put(home, "code/net/tb/exp1/events.out.tfevents.1700000000.host", events)
    put(home, "code/net/requirements.txt", "numpy==1.0\ntorch==2.0\n" * 9)
    put(home, "code/net/.git/logs/train.log", "loss: 0.5\nloss: 0.25\n" * 9)
    put(home, "miniconda3/conda-meta/history", "")
    put(home, "miniconda3/lib/python3.11/site-packages/tests/train.log", "loss: 0.5\nloss: 0.25\n" * 9)
    put(home, "mine/pyvenv.cfg", "")
    put(home, "mine/out/train.log", "loss: 0.5\nloss: 0.25\n" * 9)
    for number in range(foreign.OF_FOLDER + 5):
        put(home, f"datasets/series/s{number}.csv", "step,temperature\n1,2\n2,3\n3,4\n")
        put(home, f"logs/server{number}.log", "2024-01-01 GET /x 200\n" * 9)
    put(home, "datasets/coco/000001.txt", "0 0.5 0.5 0.1 0.1\n" * 9)
    put(home, "notebooks/a.ipynb", json.dumps({"cells": []}))
    (home / "link").symlink_to(home / "code")
    return home


PASSED = {"Python environments": 2, "links": 1, foreign.DATA: foreign.OF_FOLDER + 5,
          f"text files beyond {foreign.OF_FOLDER} of a folder": 5}


def test_both_kinds_of_runs_stand_in_the_list_and_trainings_alone(dwelling, tmp_path):
    opened = Catalog(local_roots([str(dwelling)]), home=tmp_path / "home", ring=Bell().ring)
    opened.begin()
    opened.refresh()
    assert {row["key"] for row in opened.runs()["runs"]} == {"local:p/ours/" + ID, "local:code/net/tb/exp1"}
    assert opened.others_passed() == PASSED


def test_a_home_that_is_named_beside_what_it_keeps_shows_each_run_once(dwelling, tmp_path):
    roots = local_roots([str(dwelling), str(dwelling / ".runicorn/experiments")])
    opened = Catalog(roots, home=tmp_path / "home", ring=Bell().ring)
    opened.begin()
    opened.refresh()
    assert len(opened.runs()["runs"]) == 2


def test_the_commands_say_it_too(dwelling, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RUNICORN_HOME", str(tmp_path / "home"))
    assert main(["runs", "--root", str(dwelling), "--json"]) == 0
    told = capsys.readouterr()
    assert {json.loads(line)["key"] for line in told.out.splitlines()} == {
        "local:p/ours/" + ID, "local:code/net/tb/exp1"}
    assert "passed over: " in told.err and "2 Python environments" in told.err
    assert f"105 {foreign.DATA}" in told.err
    assert main(["show", ID, "--root", str(dwelling)]) == 0
    findings = list(check(dwelling))
    assert [finding.text for finding in findings if finding.path == "code/net/tb/exp1"] == [
        "not ours: TensorBoard, 1 file"]
    (dwelling / ".runicorn/experiments/p/ours/runs" / ID / "status.json").write_text("[]")
    assert [finding.path for finding in check(dwelling) if finding.wrong] == [
        f".runicorn/experiments/p/ours/runs/{ID}/status.json"]


def test_a_root_of_ours_alone_says_nothing_of_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RUNICORN_HOME", str(tmp_path / "home"))
    write_run(tmp_path / "root", "p", "n", ID)
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    assert main(["runs", "--root", str(tmp_path / "root")]) == 0
    assert "passed over" not in capsys.readouterr().err


@pytest.fixture
def home(dwelling, tmp_path):
    """The viewer's home; its local root is the dwelling."""
    folder = tmp_path / "viewer"
    folder.mkdir()
    (folder / "experiments").symlink_to(dwelling)
    return folder


@pytest.mark.few(1)
@pytest.mark.parametrize(("locale", "words", "reason"), [
    ("en-US", "passed over", "2 Python environments"), ("zh-CN", "略过", "2 个 Python 环境")])
def test_the_page_says_how_much_was_passed_over_and_why(serve, open_page, locale, words, reason):
    page = open_page(serve().url, locale=locale)
    told = page.get_by_text(words)
    expect(told).to_contain_text(str(sum(PASSED.values())))
    assert reason in told.get_attribute("title") and page.locator("tr[data-key]").count() == 2


@pytest.mark.long
def test_nothing_of_a_tree_of_files_is_kept_in_memory(dwelling):
    for folder in range(30):
        for number in range(100):
            put(dwelling, f"images/n{folder}/{number}.jpeg", "")
    passed = collections.Counter()
    finder = foreign.Finder(passed)
    assert finder.take("images/n0", [(f"{number}.jpeg", 0, 0, 0, 0o100644) for number in range(100)]) == []
    assert not finder.doubtful
    assert [run.path for run in foreign.find(str(dwelling), passed)] == ["code/net/tb/exp1"]
