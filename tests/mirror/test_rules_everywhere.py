"""Rules of one's own: the same runs and the same curves by exec, by SFTP alone, beside a manifest, in local
roots and in all commands."""

import csv
import io
import json
import os
import shutil

import pytest
from mixed_root import age, expected, make, mirrored, put
from pairs import mirror, pair, root, settle  # noqa: F401 (fixtures)

from runicorn import manifest, rule_book, rules, settings
from runicorn.cli.main import main
from runicorn.local_names import connection_slug

LOG = "".join(f"U{n}|V {1 / n:.4f}\nchat\n" for n in range(1, 31))
ROWS = "".join(json.dumps({"update": 10 * n, "ret": n / 2, "note": "x"}) + "\n" for n in range(20))
RULES = rules.checked([{"pattern": r"U(?P<step>\d+)\|V (?P<verlust>\S+)"},
                       {"files": "train.jsonl", "step": "update"},
                       {"files": "odd/*/stdout", "pattern": r"(?P<name>\w+) is at (?P<value>\S+)"}])
ODD = {"odd/a": ("log",), "odd/b": ("jsonl",), "odd/c": ("log",)}
WAYS = {"SFTP": {"manifest": False}, "exec": {"source": "exec"}, "a manifest": {}}


@pytest.fixture
def odd(root):
    make(root)
    put(root, "odd/a/out.txt", LOG)
    put(root, "odd/b/train.jsonl", ROWS)
    put(root, "odd/c/stdout", "".join(f"speed is at {n}.5\n" for n in range(9)))
    put(root, "elsewhere/stdout", "speed is at 1\n" * 9)
    put(root, "elsewhere/requirements.txt", "U1|V 0.5\n" * 9)       # named as none is, and no rule names it
    age(root)
    return root


def by(way, root, pair, **options):
    if way == "a manifest":
        manifest.generate(str(root))
    return pair(**WAYS[way], **options)


def kinds(listed):
    return {path: kinds for path, (kinds, _) in listed.items() if path.startswith(("odd", "elsewhere"))}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_the_way_the_list_is_that_of_the_servers_disk(odd, pair, way):
    one = by(way, odd, pair, rules=RULES)
    one.passes()
    settle(one)
    one.passes()
    assert mirrored(one) == expected(odd, rules.made(RULES)) and kinds(mirrored(one)) == ODD
    assert (one.mirror / "odd/b/train.jsonl").read_text() == ROWS and not (one.mirror / "elsewhere").exists()


@pytest.mark.few(1)
@pytest.mark.parametrize("way", WAYS)
def test_rules_that_are_set_or_taken_back_while_the_line_is_up_count_at_once(odd, pair, way):
    one = by(way, odd, pair)
    one.passes()
    settle(one)
    assert kinds(mirrored(one)) == {}
    for chosen, listed in ((RULES, ODD), ([], {})):
        one.sync.adjust({**one.sync.options, "rules": chosen})
        for seconds in (0, 3, 3):
            one.passes(seconds)
            settle(one)
        gone = json.loads((one.mirror / ".index" / "live.json").read_text())["gone"]
        assert {path: of for path, of in kinds(mirrored(one)).items() if path not in gone} == listed


def test_a_rule_that_runs_away_holds_nobody_up_and_is_named(odd, pair):
    put(odd, "odd/bad/x.log", "a" * 200 + "!\n")
    bad = rules.checked([{"pattern": r"(?P<x>(?:a|aa)+)$"}, *RULES])
    one = by("exec", odd, pair, rules=bad)
    for seconds in (0, 3, 3):
        one.passes(seconds)
        settle(one)
    assert kinds(mirrored(one)) == ODD
    told = json.loads((one.mirror / ".index" / "left_out.json").read_text())["passed"]
    assert told["text files on which the rule (?P<x>(?:a|aa)+)$ takes too long"] >= 1


# -- what commands say ---------------------------------------------------------------------------------------

@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNICORN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def told(capsys, *words):
    assert main(list(words)) == 0
    return capsys.readouterr().out


def summaries(capsys, *roots):
    rows = map(json.loads,
               told(capsys, "runs", *roots, "--json", "--limit", "0", "--columns",
                    "summary.verlust,summary.ret").splitlines())
    return {row["key"].partition(":")[2]: (row["step"], row["kinds"], row["values"])
            for row in rows if ":odd" in row["key"]}


LISTED = {"odd/a": (30, ["log"], {"summary.verlust": 0.0333}),
          "odd/b": (190, ["jsonl"], {"summary.ret": 9.5}), "odd/c": (8, ["log"], {})}


def test_all_commands_go_by_the_rules_of_a_folder_and_of_those_above_it(odd, home, capsys, tmp_path):
    at = ["--root", str(odd)]
    assert summaries(capsys, *at) == {}
    rule_book.save(home, RULES, folder=odd)
    assert summaries(capsys, *at) == LISTED
    shown = json.loads(told(capsys, "show", "odd/a", *at, "--json"))
    assert shown["summary"] == {"verlust": 0.0333}
    assert [metric["name"] for metric in shown["metrics"]] == ["verlust"]
    assert "step 30  verlust=0.0333" in told(capsys, "tail", str(odd / "odd/a"), "--no-follow")
    table = list(csv.DictReader(
        io.StringIO(told(capsys, "export", "--run-id", "odd/b", *at, "--format", "csv", "-o", "-"))))
    assert [(float(row["step"]), float(row["ret"])) for row in table] == [(10 * n, n / 2) for n in range(20)]
    findings = told(capsys, "check", str(odd))
    assert "not ours: text log, 1 file" in findings and "odd/b" in findings
    told(capsys, "bundle", *at, "-o", str(tmp_path / "b.tar.gz"))
    told(capsys, "import", str(tmp_path / "b.tar.gz"), "--root", str(tmp_path / "there"))
    assert (tmp_path / "there/odd/b/train.jsonl").read_text() == ROWS
    rule_book.save(home, [], folder=odd)
    assert summaries(capsys, *at) == {}


def test_a_mirror_goes_by_the_rules_of_its_connection(odd, home, capsys, pair):
    one = by("SFTP", odd, pair, rules=RULES)
    one.passes()
    settle(one)
    settings.save_connection(home, {"name": "gpu 1", "host": "h", "rules": RULES})
    shutil.copytree(one.mirror, home / "cache" / connection_slug("gpu 1"))
    os.makedirs(home / "experiments")
    assert summaries(capsys) == LISTED
    assert "step 30  verlust=0.0333" in told(capsys, "tail", "odd/a", "--no-follow")
    shown = json.loads(told(capsys, "show", "odd/b", "--json"))
    assert shown["summary"] == {"ret": 9.5}
