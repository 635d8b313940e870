"""Scripts that end in every way, each run twice: with the writer, and with a stub in its place that does
nothing."""

import os
import subprocess
import sys
import textwrap
import time

from scripts import environment, rows, runs, small

from runicorn.reader.liveness import judge

STUB = '''
import atexit, os, pathlib, tempfile
class Run:
    dir = pathlib.Path(tempfile.gettempdir())
    summary, config, rows = {}, {}, 0
    def log(self, *args, **more): pass
    def finish(self, *args, **more): pass
    def __enter__(self): return self
    def __exit__(self, *args): pass
run = Run()
def init(*args, **more): return run
def log(*args, **more): pass
def finish(*args, **more): pass
'''
BEGIN = ("import os, signal, sys, threading, time\nimport runicorn\nrun = runicorn.init(project='p', "
         "name='n')\nrun.log({'a': 1})\n")
READY = "print('ready', flush=True)\n"


def launch(folder, code, start="script", before=(), **more):
    """Start `code` in `folder` as "script", "command" (-c), "module" (-m) or "stdin"; returns its Popen.
    before: what goes before it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(code)
    arguments = {"script": ["train.py"], "command": ["-c", code], "module": ["-m", "train"],
                 "stdin": ["-"]}[start]
    given = open(folder / "train.py") if start == "stdin" else subprocess.DEVNULL
    env = environment(folder, **more)
    env["PYTHONPATH"] = more.get("PYTHONPATH", env["PYTHONPATH"]) + os.pathsep + str(folder)
    try:
        return subprocess.Popen([*before, sys.executable, *arguments], cwd=folder, env=env, stdin=given,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    finally:
        if start == "stdin":
            given.close()


def ended(process, signals=(), pause=0.0):
    """Send `signals` to a process, each after it printed "ready" once more, or `pause` seconds later; returns
    (wait status, out, err)."""
    try:
        for number in signals:
            line = process.stdout.readline() if not pause or number is signals[0] else b"ready\n"
            assert line == b"ready\n", (line, process.stderr.read())
            time.sleep(pause or 0.05)
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out.decode(), err.decode()


def stub(folder):
    """Make a package `runicorn` that does nothing; returns the folder to import it from (str)."""
    (folder / "stub").mkdir(parents=True, exist_ok=True)
    (folder / "stub" / "runicorn.py").write_text(STUB)
    return str(folder / "stub")


def both(folder, code, signals=(), pause=0.0, **more):
    """Run `code` with the stub and with the writer: their wait statuses must be equal. Returns (wait status,
    stderr of the writer's)."""
    code = textwrap.dedent(code)
    without, _, _ = ended(launch(folder / "without", code, PYTHONPATH=stub(folder), **more), signals, pause)
    status, _, err = ended(launch(folder / "with", code, **more), signals, pause)
    assert status == without, f"{status} instead of {without}\n{err}"
    return status, err


def told(folder):
    """Return what the runs below folder/with say, oldest first: list of (state, reason, exit code, signal,
    rows)."""
    found = []
    for run in sorted(runs(folder / "with"), key=lambda run: small(run, "status")["started_at"]):
        status = small(run, "status")
        verdict = judge(status, None)
        found.append((verdict.state, verdict.text, status.get("exit_code"), status.get("signal"),
                      len(rows(run))))
    return found

