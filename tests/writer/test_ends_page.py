"""docs/ends.md says what the tables of the tests say, row by row, and the ends that nobody can see are
lost."""

import re
import signal
from pathlib import Path

import pytest
import test_slurm
from endings import BEGIN
from ends_page import ENDS, table
from scripts import only, rows, small, start

from runicorn.reader.liveness import LOST, Pulse, judge

NONE = "–"              # no exit code
UNSEEN = {"kill -9": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
          "os._exit(7)": ("os._exit(7)", 7), "os.abort()": ("os.abort()", -signal.SIGABRT),
          "a segmentation fault": ("import ctypes\nctypes.string_at(0)", -signal.SIGSEGV)}


def page(*sections):
    """Return {how a script ends: (state, reason, exit code)} of the page's rows; a row may name several
    ways."""
    named = [(way, (state, reason, None if code == NONE else int(code)))
             for section in sections for ways, state, reason, code in table(section)
             for way in ways.split("; ")]
    assert len(dict(named)) == len(named), "a way to end stands twice in the page"
    return dict(named)


SAID = page("By itself", "By an error", "By a signal", "As another program")


def test_the_page_has_the_rows_of_the_tests_and_no_others():
    assert sorted(SAID) == sorted(row[0] for row in ENDS)


@pytest.mark.parametrize("row", ENDS, ids=[row[0] for row in ENDS])
def test_a_row_of_the_page_says_what_the_test_holds(row):
    state, reason, code, name, _ = row[4]
    said = SAID[row[0]]
    assert (said[0], said[2]) == (state, code)
    assert said[1] == reason or reason is None
    assert name is None or name in said[1]


def test_the_page_says_of_slurm_what_its_tests_hold():
    assert sorted(map(tuple, table("Under Slurm"))) == sorted(test_slurm.SAYS)


def test_each_test_of_slurm_holds_a_row():
    source = Path(test_slurm.__file__).read_text(encoding="utf-8")
    marked = re.findall(r"@says\((?:[^@]|@pytest)*?^def (test_\w+)", source, re.M)
    assert marked == re.findall(r"^def (test_\w+)", source, re.M)


@pytest.mark.parametrize("way", UNSEEN)
def test_an_end_that_nobody_can_see_is_lost(tmp_path, way):
    code, expect = UNSEEN[way]
    process = start(tmp_path, BEGIN + code)
    process.communicate(timeout=60)
    assert process.returncode == expect and len(rows(only(tmp_path))) == 1
    pulse = Pulse()
    for now, beats in ((0, 1), (10, 2), (11 + LOST, 2)):
        pulse.look(now, beats, 1)
    status = small(only(tmp_path), "status")
    verdict = judge(status, pulse)
    assert (verdict.state, verdict.text, status.get("exit_code")) == page("Unseen")[way]
