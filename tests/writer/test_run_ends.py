"""The table and the matrix of ends through `runicorn run`: the script's run is that of the program, and no
second one is made."""

import signal

import pytest
from endings import BEGIN, ended, launch, stub, told
from ends_page import ENDS, table
from programs import RUN
from scripts import runs, small
from test_ends_matrix import CAUGHT, HOWS, KINDS, SCRIPT

EXEC = ("finished", "the process became another program", None, None, 1)
UNSEEN = [("kill -9", "os.kill(os.getpid(), 9)", (), -9,
           ("interrupted", "ended by SIGKILL", None, "SIGKILL", 1)),
          ("os._exit(7)", "os._exit(7)", (), 7, ("failed", "exit code 7", 7, None, 1)),
          ("os.abort()", "os.abort()", (), -6, ("failed", "aborted (SIGABRT)", None, "SIGABRT", 1)),
          ("a segmentation fault", "import ctypes\nctypes.string_at(0)", (), -11,
           ("failed", "segmentation fault (SIGSEGV)", None, "SIGSEGV", 1)),
          ("finish(), and on", "run.finish()\nsys.exit(5)", (), 5, ("failed", "exit code 5", 5, None, 1)),
          ("finish(), then kill -9", "run.finish()\nos.kill(os.getpid(), 9)", (), -9,
           ("interrupted", "ended by SIGKILL", None, "SIGKILL", 1))]
# Not passed on is SIGPIPE, which we get for what we write ourselves.
ROWS = [*(row for row in ENDS if row[0] != "SIGPIPE, its default in force"), *UNSEEN]


def test_the_page_says_what_is_tested_here():
    said = [(way, state, reason, code) for way, state, reason, code in table("Under `runicorn run`")]
    assert said == [(row[0], row[4][0], row[4][1], "–" if row[4][2] is None else str(row[4][2]))
                    for row in UNSEEN]


@pytest.mark.few(5)
@pytest.mark.parametrize("code, signals, expect, run", [row[1:] for row in ROWS],
                         ids=[row[0] for row in ROWS])
def test_what_the_run_says_of_its_end(tmp_path, code, signals, expect, run):
    before, after = code if isinstance(code, tuple) else ("", code)
    numbers = [getattr(signal, f"SIG{name}") for name in signals]
    script = before + BEGIN + after
    without, out, _ = ended(launch(tmp_path / "without", script, PYTHONPATH=stub(tmp_path)), numbers)
    status, ours, err = ended(launch(tmp_path / "with", script, before=[*RUN, "--"]), numbers)
    assert status == without == expect
    assert ours == out, err
    found, = told(tmp_path)
    if run[1] is None:
        found, run = (found[0], *found[2:]), (run[0], *run[2:])
    assert found == (("failed", "exit code 5", 5, None, 1) if run == EXEC else run), err


@pytest.mark.few("script-returns", "fork-uncaught", "Pool-SIGTERM", "executor-SIGINT")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_of_ends(tmp_path, kind, how):
    state, _, name = CAUGHT.get((kind, how), HOWS[how])
    code = SCRIPT.replace("kind, how = sys.argv[1:]", f"kind, how = {kind!r}, {how!r}")
    status, _, err = ended(launch(tmp_path / "without", code))
    ours, _, err = ended(launch(tmp_path / "with", code, before=[*RUN, "--"]))
    assert ours == status, err
    run, = runs(tmp_path / "with")
    found = small(run, "status")
    if kind == "script":
        assert (found["status"], found.get("signal")) == (state, name)
    elif status == 0:
        assert found["status"] == "finished"
    else:
        assert found["status"] == "failed" and found["exit_code"] == status
    assert len((run / "events.jsonl").read_text().splitlines()) == 1
