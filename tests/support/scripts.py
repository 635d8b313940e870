"""Training scripts run as processes of their own, and their runs on disk read back with nothing but json."""

import json
import os
import subprocess
import sys
from pathlib import Path


def environment(folder, **more):
    """Return what a bare login has: no launcher, no Runicorn settings but a home in `folder`, and without the
    line that says where the run is, so that whatever stands on stderr is a complaint (test_init_line.py is
    about that line)."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "HOME": str(folder), "RUNICORN_HOME": str(folder / "home"),
            "RUNICORN_DIR": str(folder / "root"), "RUNICORN_QUIET": "1",
            "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(Path(__file__).parents[2]), **more}


def start(folder, code, python=(), name="train.py", **more):
    """Start the script `code` in `folder` (Path); returns its Popen with text pipes."""
    script = Path(folder) / name
    # others may be starting the same one
    if not script.exists() or script.read_text(encoding="utf-8") != code:
        script.write_text(code, encoding="utf-8")
    return subprocess.Popen([sys.executable, *python, str(script)], cwd=folder,
                            env=environment(folder, **more), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                            errors="replace")


def train(folder, code, expect=0, timeout=60, **more):
    """Run the script `code` to its end, which must be the exit status `expect`; returns (stdout, stderr)."""
    process = start(folder, code, **more)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == expect, f"{process.returncode}\n{out}\n{err}"
    return out, err


def runs(folder):
    """Return the run folders below `folder`/root (list of Path), oldest first by name."""
    return sorted(Path(folder, "root").glob("*/*/runs/*"))


def only(folder):
    """Return the only run folder."""
    run, = runs(folder)
    return run


def rows(run, name="events.jsonl", killed=False):
    """Return the rows of an events file (list of dict); every line must be strict JSON. killed: the last may
    lack its end, where SIGKILL came while the system wrote it (at the edge of a page), and is left out
    then."""
    lines = (run / name).read_text(encoding="utf-8").split("\n")
    if killed:
        del lines[-1]
    return [json.loads(line, parse_constant=_refuse) for line in lines if line]


def _refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def small(run, name):
    """Return "meta", "status" or "summary" as a dict."""
    return json.loads((run / f"{name}.json").read_text(encoding="utf-8"), parse_constant=_refuse)


def shown(run, name="logs.txt"):
    """Return the lines of a log without their stamps, as a terminal would show them (list of str)."""
    text = (run / name).read_bytes().decode("utf-8").split("\n")
    assert text.pop() == ""
    return [line.rpartition("\r")[2].split("] ", 1)[1] for line in text]
