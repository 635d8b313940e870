"""Rules of one's own: what a rule may be, and what a text file of any cut tells by it; patterns that run away
are ended and named."""

import collections
import json
import time

import pytest
from kind_cuts import Growing, check_cuts, steps_and_values, whole

from runicorn import foreign_rules, rules
from runicorn.errors import UsageError
from runicorn.metrics.kinds import ruled
from runicorn.rule_process import SECONDS, RuleProcess


def log(*patterns):
    listed = json.dumps(rules.checked([{"pattern": pattern} for pattern in patterns]))
    return lambda state=None: ruled.reader("log", listed, state)


def lines(**rule):
    listed = json.dumps(rules.checked([rule]))
    return lambda state=None: ruled.reader("jsonl", listed, state)


# -- text logs -----------------------------------------------------------------------------------------------

def test_a_pattern_says_the_step_the_time_and_the_metrics_however_the_file_is_cut():
    data = "".join(f"[{n}] Verlust 0,{n} / Güte {n}.5 um 2024-05-01 12:00:0{n}\nsomething else {n}\n"
                   for n in range(4)).encode()
    read = check_cuts(log(r"^\[(?P<step>\d+)\] Verlust .* Güte (?P<quality>[\d.]+) um (?P<time>.+)$"), data)
    assert steps_and_values(read.parts, "quality") == [(n, n + 0.5) for n in range(4)]
    assert [ts for part in read.parts for ts in part.ts] == [1714564800 + n for n in range(4)]
    assert read.reader.facts()["naive_times"]


def test_the_name_of_a_metric_may_stand_in_the_line():
    read = check_cuts(log(r"(?P<name>\w+) is (?P<value>[\d.]+) in (?P<epoch>\d+)"),
                      b"loss is 0.5 in 1\nacc is 0.25 in 1\nloss is 1 in 2\n")
    assert steps_and_values(read.parts, "loss") == [(1, 0.5), (2, 1)]
    assert steps_and_values(read.parts, "acc") == [(1, 0.25)]


def test_lines_without_a_step_stand_one_after_the_other_and_what_is_no_number_is_left_out():
    read = check_cuts(log(r"perte (?P<loss>\S+)"),
                      b"perte 0.5\nperte n/a\nperte 0.25\nperte 1_000\nperte nan\n")
    assert [step for step, _ in steps_and_values(read.parts, "loss")] == [0, 1, 2]


def test_the_first_rule_that_fits_counts_and_other_lines_are_read_as_without_rules():
    data = "".join(f"U{n} X={n}.5\nstep {n}: loss: 0.{n}, lr: 0.1\n" for n in range(1, 9)).encode()
    read = check_cuts(log(r"U(?P<step>\d+) X=(?P<first>\S+)", r"X=(?P<second>\S+)"), data)
    assert steps_and_values(read.parts, "first") == [(n, n + 0.5) for n in range(1, 9)]
    assert steps_and_values(read.parts, "second") == []
    assert steps_and_values(read.parts, "loss") == [(n, n / 10) for n in range(1, 9)]


def test_a_rule_with_many_gaps_is_one():
    pattern = r"epoch (?P<epoch>\d+).*loss (?P<loss>\S+).*acc (?P<acc>\S+).*lr (?P<lr>\S+)"
    read = whole(log(pattern), b"".join(b"epoch %d | loss 0.5 | acc 0.25 | lr 1e-3\n" % n for n in range(5)))
    assert steps_and_values(read.parts, "lr") == [(n, 1e-3) for n in range(5)]


# -- what runs away ------------------------------------------------------------------------------------------

BAD = ["(", "no group", r"(?P<a>(\d+)+)x", r"(?P<a>(?:a|b*)*)c", r".*.*(?P<a>\d)", r"(?P<a>\d+\d+)x",
       "(?P<a>x)" + "y" * 1000, r"(?P<a>(?:\d+\s*)*)z", r"(?P<step>\d+)", r"(?P<name>\d+)", "(?P<a>" * 300]


@pytest.mark.parametrize("pattern", BAD)
def test_what_is_no_rule_is_refused_by_its_name(pattern):
    with pytest.raises(UsageError, match="rule") as refusal:
        rules.checked([{"pattern": pattern}])
    assert pattern[:40] in str(refusal.value)


RUNAWAYS = [r"(?P<x>(?:a|aa)+)$", r"(?P<x>(?:a{1,30}){1,30})$", r"(?P<x>(?:a?){40}a{40})b",
            r"(?P<x>.*a.*a.*a.*a.*a)c", r"(?P<x>(a|b|ab)*)c\1"]


@pytest.mark.few(2)
@pytest.mark.parametrize("pattern", RUNAWAYS)
def test_a_pattern_that_runs_away_costs_a_moment_and_is_named(pattern):
    began = time.process_time()
    read = Growing(log(pattern)).grow(b"".join(b"step %d loss: 0.5%d\n" % (n, n) for n in range(9))
                                      + b"ab" * 2000 + b"a" * 90 + b"!\n" * 3)
    assert list(read.reader.skipped) == [f"tries of the rule {pattern[:80]}, which takes too long"]
    read.grow((b"a" * 90 + b"!\n") * 1000 + b"step 9 loss: 0.59\n", restart=True)
    assert sum(read.reader.skipped.values()) == 1 and time.process_time() - began < SECONDS
    # the rest of the log is read
    assert [step for step, _ in steps_and_values(read.parts, "loss")] == list(range(10))


def test_a_process_that_was_ended_is_begun_anew():
    asked = RuleProcess()
    assert asked.ask([r"(?P<x>\d)"], ["a1", "b"])[0] == [(0, 0, {"x": "1"}, [[1, 2]])]
    asked._process.kill()
    asked._process.wait()
    assert asked.ask([r"(?P<x>\d)"], ["a1"]) == ([(0, 0, {"x": "1"}, [[1, 2]])], None)
    found, slow = asked.ask([r"(?P<x>(?:a|aa)+)$"], ["a", "a" * 90 + "!", "aa"])
    assert found == [(0, 0, {"x": "a"}, [[0, 1]])] and slow == 1
    asked.end()


def test_a_rule_that_runs_away_on_some_files_is_tried_on_no_more():
    tries = []
    found = foreign_rules.Rules(rules.checked([{"pattern": r"(?P<x>(?:a|aa)+)$"}]), "",
                                lambda patterns, texts: tries.append(patterns))
    skipped = collections.Counter()
    kinds = [found.decide(f"{number}.log", "log", b"a\n", b"", skipped) for number in range(9)]
    assert kinds == [None] * 9 and len(tries) == foreign_rules.SLOW
    assert skipped == {"text files on which the rule (?P<x>(?:a|aa)+)$ takes too long": 9}


def test_there_are_sixteen_rules_at_most():
    with pytest.raises(UsageError, match="16"):
        rules.checked([{"pattern": r"(?P<a>\d)"}] * 17)


# -- lines of JSON -------------------------------------------------------------------------------------------

ROWS = [{"update": 3 * n, "losses": {"actor": n / 2, "critic": n / 4}, "fps": 100 + n,
         "when": f"2024-05-01 12:00:0{n}", "tag": "x"}
        for n in range(8)]
DATA = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def test_names_say_the_step_the_time_and_the_metrics():
    read = check_cuts(lines(step="update", time="when", metrics=["losses/*"]), DATA)
    assert steps_and_values(read.parts, "losses/actor") == [(3 * n, n / 2) for n in range(8)]
    assert {name for part in read.parts for name in part.names} == {"losses/actor", "losses/critic"}
    assert sorted(ts for part in read.parts for ts in part.ts) == [1714564800 + n for n in range(8)]
    assert read.reader.facts()["naive_times"]


def test_without_metrics_all_numbers_are_and_without_a_step_the_lines_count():
    assert {name for part in whole(lines(step="update"), DATA).parts for name in part.names} == {
        "losses/actor", "losses/critic", "fps"}
    read = check_cuts(lines(metrics=["fps"]), DATA)
    assert steps_and_values(read.parts, "fps") == [(n, 100 + n) for n in range(8)]


def test_a_step_may_stand_in_an_object_and_a_line_without_it_is_no_row():
    data = b"".join(b'{"a": {"n": %d}, "loss": 0.5}\n{"loss": 9}\n{"a": 3, "loss": 9}\nnot\n' % n
                    for n in range(12))
    assert steps_and_values(check_cuts(lines(step="a/n"), data).parts, "loss") == [
        (n, 0.5) for n in range(12)]


@pytest.mark.parametrize("rule", [
    {}, {"step": 3}, {"metrics": "loss"}, {"step": "a", "pattern": "(?P<a>x)"}, {"of": 1}, "x",
    {"metrics": [""]}, {"step": "a\nb"}, {"files": "/etc/*", "step": "a"}, {"files": "../*", "step": "a"}])
def test_names_that_are_none_are_refused(rule):
    with pytest.raises(UsageError):
        rules.checked([rule])


# -- which files ---------------------------------------------------------------------------------------------

def test_files_are_named_by_their_name_or_by_their_path_below_the_folder_of_the_rule():
    found = rules.made(rules.checked([{"files": "*.err", "pattern": "(?P<a>x)"},
                                      {"files": "exp*/train.jsonl", "step": "n"}]), "work/")
    assert found.kind_of("any/where/b.err", None) == "log" and found.kind_of("b.er", None) is None
    assert found.kind_of("train.jsonl", None) is None
    assert rules.made(found.rules, "exp3/").kind_of("train.jsonl", None) == "jsonl"
    assert found.may_name("train.jsonl") and found.may_name("x.err") and not found.may_name("x.log")
