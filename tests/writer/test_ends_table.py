"""The table of ends: how a script starts × how it ends → what its run says. The wait status is what it is
without us."""

import signal

import pytest
from endings import BEGIN, both, told
from ends_page import ENDS


def script(code):
    """Return the script of a row: what stands before `init`, if anything, then what comes after it."""
    before, after = code if isinstance(code, tuple) else ("", code)
    return before + BEGIN + after


@pytest.mark.few(8)
@pytest.mark.parametrize("code, signals, expect, run", [row[1:] for row in ENDS],
                         ids=[row[0] for row in ENDS])
def test_what_a_run_says_of_its_end(tmp_path, code, signals, expect, run, **how):
    status, err = both(tmp_path, script(code), [getattr(signal, f"SIG{name}") for name in signals], **how)
    found, = told(tmp_path)
    assert status == expect
    if run[1] is None:
        found, run = (found[0], *found[2:]), (run[0], *run[2:])
    assert found == run, err


# -- other starts --------------------------------------------------------------------------------------------

ANYWHERE = ("its last line", "exit(4)", "sys.exit(3)", "an error", "an own sys.excepthook", "SIGTERM",
            "Ctrl+C", "SIGUSR1", "SIGTERM, own handler after init, 0", "os.execv")
STARTS = {"python -c": {"start": "command"}, "python -m": {"start": "module"}, "python -": {"start": "stdin"},
          "nice": {"before": ("nice",)}}


@pytest.mark.few(2)
@pytest.mark.parametrize("row", [row for row in ENDS if row[0] in ANYWHERE], ids=lambda row: row[0])
@pytest.mark.parametrize("start", STARTS)
def test_however_it_starts(tmp_path, start, row):
    test_what_a_run_says_of_its_end(tmp_path, *row[1:], **STARTS[start])
