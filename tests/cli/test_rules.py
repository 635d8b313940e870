"""`runicorn config rule`: set, listed, tried on a file, taken back; refusals name the rule."""

import json

import pytest

from runicorn import rule_book, settings
from runicorn.cli.main import main

LOG = "".join(f"update {n} | perte {1 / n:.3f}\nchat\n" for n in range(1, 6))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNICORN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work" / "a").mkdir(parents=True)
    (tmp_path / "work" / "a" / "out.log").write_text(LOG)
    return tmp_path / "work"


def told(capsys, *words, code=0):
    assert main(["config", "rule", *words]) == code
    return capsys.readouterr()


PATTERN = r"update (?P<step>\d+) \| perte (?P<loss>\S+)"


def test_a_rule_is_tried_set_listed_and_taken_back(home, work, capsys):
    file = str(work / "a" / "out.log")
    tried = told(capsys, "test", file, "--pattern", PATTERN).out
    assert "· update 1 | perte 1.000" in tried and "5 of 10 lines fit" in tried
    assert "loss  5 points, step 1: 1 … 5: 0.2" in tried
    assert f"✓ rule 1 of {work}: {PATTERN}" in told(capsys, "add", "--root", str(work), "--pattern",
                                                    PATTERN).out
    told(capsys, "add", "--root", str(work), "--step", "n", "--metric", "loss", "--metric", "eval/*",
         "--files", "*.jsonl")
    listed = told(capsys, "list").out
    assert f"  1  {PATTERN}" in listed and "  2  JSON: loss, eval/* by n in *.jsonl" in listed
    assert len(json.loads(told(capsys, "list", "--json").out)[str(work)]) == 2
    assert told(capsys, "test", file).out == tried
    assert main(["runs", "--root", str(work), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 5
    told(capsys, "remove", "--root", str(work), "1")
    assert [rule["step"] for rule in rule_book.kept(home, folder=work)] == ["n"]
    told(capsys, "remove", "--root", str(work), "1")
    assert "no rules yet" in told(capsys, "list").out and settings.load(home)["rules"] == {}


def test_a_connection_keeps_its_own(home, capsys):
    settings.save_connection(home, {"name": "gpu 1", "host": "h"})
    told(capsys, "add", "--connection", "gpu 1", "--pattern", PATTERN)
    assert settings.connection(home, "gpu 1")["rules"] == [{"pattern": PATTERN, "files": ""}]
    assert 'connection "gpu 1"' in told(capsys, "list").out
    assert "no connection" in told(capsys, "add", "--connection", "gpu 2", "--pattern", PATTERN, code=2).err


@pytest.mark.parametrize(("words", "said"), [
    (["add", "--pattern", "("], "the rule ( is no regular expression"), (["add"], "a rule needs --pattern"),
    (["add", "--pattern", "(?P<x>a)", "--step", "n"], "not both"), (["remove", "3"], "has no rule 3"),
    (["test", "FILE"], "no rules are set"),
    (["test", "nowhere.log", "--pattern", "(?P<x>a)"], "can't be read"),
    (["test", "FILE", "--step", "n"], "no rule is for a file called out.log"),
    (["test", "FILE", "--pattern", r"(?P<x>(?:a|aa)+)$"], "takes too long")])
def test_what_can_not_be_is_refused_in_a_sentence(home, work, capsys, words, said):
    (work / "a" / "out.log").write_text(LOG + "a" * 60 + "!\n")
    words = [str(work / "a" / "out.log") if word == "FILE" else word for word in words]
    assert said in told(capsys, *words, code=2).err


def test_a_file_of_which_no_line_fits_is_no_success(home, work, capsys):
    assert "0 of 10 lines fit" in told(capsys, "test", str(work / "a" / "out.log"), "--pattern", "(?P<x>zzz)",
                                       code=1).out


def test_a_broken_rule_in_the_settings_is_reported_and_counts_for_nothing(home, work, capsys, caplog):
    settings.update(home, lambda config: config.update(rules={str(work): [{"pattern": "("}]}))
    assert main(["runs", "--root", str(work)]) == 0
    assert "no regular expression" in caplog.text + capsys.readouterr().err
