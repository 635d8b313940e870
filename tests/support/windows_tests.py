"""The tests of the product's parts that run on Windows itself: `make windows` has the Python under Wine run
them, without those that are marked `posix`. A fixed choice, of what meets the system; ends with 1 unless all
pass."""

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CHOICE = """
    disk layout foreign_names settings manifest_timer cli_runs manifest catalog user_config windows_words
    loopback""".split()
NOT_HERE = "not to_pandas"   # pandas' own DLLs do not load under Wine
SECONDS = 300               # a test that takes longer hangs: it is named, with what its threads do


def main():
    os.chdir(TESTS.parent)
    files = [str(next(TESTS.rglob(f"test_{name}.py"))) for name in CHOICE]
    # What prints comes at once, so a run that is cut says how far it came.
    sys.stdout.reconfigure(line_buffering=True)
    return pytest.main(["-p", "no:cacheprovider", "--tb=short", "-rfEs", "--durations=5", "-o",
                        f"faulthandler_timeout={SECONDS}", "-o", "faulthandler_exit_on_timeout=true", "-k",
                        NOT_HERE, *files])


if __name__ == "__main__":
    sys.exit(int(main()))
