"""What Slurm does to a job, with Slurm's timing and without Slurm: SIGTERM, and SIGKILL within milliseconds;
a requeue after a checkpoint.

A busy machine may hold a process up for longer than Slurm waits, so milliseconds are only counted. What is
asserted is the order: from the signal (or whatever else ends the script) to the rename of status.json nothing
else is read, written, started or waited for.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import tally
from scripts import environment, only, rows, runs, small, start, train
from waiting import until

from runicorn import open_run

# Writes what the main thread does from the moment `armed` is set, one JSON list a line, and kills the process
# where KILL says: before the event of that number. Writes to open files raise no event.
WATCHED = """
import atexit, json, os, signal, sys, threading, time
armed, number = False, 0
journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
kill = int(os.environ.get("KILL", "-1"))
KINDS = ("open", "os.", "subprocess.", "import", "shutil.", "tempfile.", "socket.", "wait")

def note(event, arguments):
    global number
    if (not armed or not event.startswith(KINDS) or threading.get_ident() != main
            or event in ("os.putenv", "os.kill")):
        return
    if number == kill:
        os.kill(os.getpid(), signal.SIGKILL)
    number += 1
    os.write(journal,
             (json.dumps([event] + [str(argument) for argument in arguments[:2]]) + chr(10)).encode())

def noted(kind, name):
    function = getattr(kind, name)
    def wrapper(self, *arguments, **keywords):
        note("wait", (name,))
        return function(self, *arguments, **keywords)
    setattr(kind, name, wrapper)

main = threading.get_ident()
sys.addaudithook(note)
noted(threading.Condition, "wait")
noted(threading.Thread, "join")
import runicorn
run = runicorn.init(project="p", name="n", config={"lr": 0.1}, system=False)
run.log({"loss": 1.0})
print("a line")
"""
SIGNALLED = "armed = True\nos.kill(os.getpid(), signal.{})\ntime.sleep(5)\n"
ENDS = {
    "SIGTERM": (SIGNALLED.format("SIGTERM"), -signal.SIGTERM, "interrupted"),
    "SIGHUP": (SIGNALLED.format("SIGHUP"), -signal.SIGHUP, "interrupted"),
    "SIGTERM while a line is printed": ("print('no end yet', end='')\n" + SIGNALLED.format("SIGTERM"),
                                        -signal.SIGTERM, "interrupted"),
    "SIGTERM within log": (textwrap.dedent("""
        class Signal:
            def item(self):
                global armed
                armed = True
                os.kill(os.getpid(), signal.SIGTERM)
                return 1.0
        run.log({"loss": Signal()})
        """), -signal.SIGTERM, "interrupted"),
    "SIGTERM while a summary waits":
    (f"run.summary['a'] = run.summary['b'] = 2\n{SIGNALLED.format('SIGTERM')}", -signal.SIGTERM,
     "interrupted"),
    "finish": ("armed = True\nrun.finish()\n", 0, "finished"),
    "the end of a with block": ("with run:\n    armed = True\n", 0, "finished"),
    "the end of the script": ("armed = True\n", 0, "finished"),
    "sys.exit": ("armed = True\nsys.exit(3)\n", 3, "failed"),
}


@pytest.fixture
def slow_git(tmp_path):
    """A PATH (str) whose git takes its time, as in a huge repository on a busy file system."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec sleep 5\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}"


def events(folder, code, expect, path, **more):
    """Run a watched script to its end; returns what its main thread did after `armed` (list of [event,
    argument, …])."""
    folder.mkdir(exist_ok=True)
    journal = folder / "journal"
    train(folder, WATCHED + code, expect, JOURNAL=str(journal), PATH=path, **more)
    return [json.loads(line) for line in journal.read_text().splitlines()]


def verdict_at(found):
    """Return the index of the event that puts the verdict in place: the first rename to status.json."""
    return next(index for index, event in enumerate(found)
                if event[0] == "os.rename" and event[2].endswith("/status.json"))


@pytest.mark.few(2)
@pytest.mark.parametrize("end", ENDS)
def test_the_verdict_is_the_first_thing_that_an_end_writes(tmp_path, slow_git, end):
    code, expect, state = ENDS[end]
    found = events(tmp_path, code, expect, slow_git)
    turn = verdict_at(found)
    # the file that becomes status.json
    assert [event[:2] for event in found[:turn]] == [["open", found[turn][1]]]
    assert small(only(tmp_path), "status")["status"] == state


@pytest.mark.few(1)
@pytest.mark.parametrize("end", ENDS)
def test_a_process_killed_at_any_moment_of_its_end_says_how_it_ended(tmp_path, end):
    """Killed before one of the operations of its end: up to the rename it is running, from there on it is
    over."""
    code, expect, state = ENDS[end]
    found = events(tmp_path / "whole", code, expect, os.environ["PATH"])
    turn = verdict_at(found)
    # how often the threads' waits are seen differs from run to run, the last may not come
    late = (turn + len(found)) // 2
    for moment in sorted({0, turn, turn + 1, late}):
        folder = tmp_path / str(moment)
        events(folder, code, -signal.SIGKILL, os.environ["PATH"], KILL=str(moment))
        assert small(only(folder), "status")["status"] == (state if moment > turn else "running"), (
            moment, found[moment])
        if moment > turn:
            # whatever its live file says
            assert open_run(only(folder).name, folder / "root").state == state
        assert rows(only(folder))[0]["data"] == {"loss": 1.0}
        assert small(only(folder), "meta")["config"] == {"lr": 0.1}


# -- Slurm's timing ------------------------------------------------------------------------------------------

LOOP = ("import runicorn, time\nrun = runicorn.init(project='p', name='n')\nwhile True:\n"
        "    run.log({'loss': 1.0})\n    time.sleep(0.01)\n")


def job(folder, code, **more):
    """Start a shell that runs the script, both in a process group of their own, as a batch script of Slurm's
    does; returns its Popen."""
    (folder / "train.py").write_text(code)
    process = subprocess.Popen(["bash", "-c", '"$0" train.py "$@"; true', sys.executable], cwd=folder,
                               env=environment(folder, **more), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    until(lambda: process.poll() is not None
          or [run for run in runs(folder) if (run / "events.jsonl").exists() and rows(run)], pause=0.02)
    assert process.poll() is None
    return process


def cancel(process, pause):
    """SIGTERM to the group; when its shell has died of it, `pause` seconds later, SIGKILL to what is left of
    the group."""
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(pause)
    process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass            # all have ended
    wait_for_group(process.pid)


def wait_for_group(group):
    def is_empty():
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return True
        return False
    until(is_empty, f"the end of the process group {group}", pause=0.01)


@pytest.mark.few("2")
@pytest.mark.parametrize("milliseconds", [2, 5, 10, 20])
def test_a_cancelled_job_is_interrupted_or_its_heart_stops(tmp_path, milliseconds):
    states = []
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        cancel(job(folder, LOOP), milliseconds / 1000)
        status = small(only(folder), "status")
        states.append(status["status"])
        assert status.get("signal") == ("SIGTERM" if status["status"] == "interrupted" else None)
        assert list(folder.glob("root/.runicorn/live/*.json")) or status["status"] == "interrupted"
        assert rows(only(folder))
    assert set(tally.count(f"SIGKILL {milliseconds} ms after SIGTERM", states)) <= {"interrupted", "running"}


SAVES = """
import os, signal, sys, time
import runicorn
asked = []
if os.environ["HANDLER"] == "before":
    signal.signal(getattr(signal, os.environ["SIGNAL"]), lambda number, frame: asked.append(number))
run = runicorn.init(project="p", name="n", config={"lr": 0.1, "resume": sys.argv[1:]})
if os.environ["HANDLER"] == "after":
    signal.signal(getattr(signal, os.environ["SIGNAL"]), lambda number, frame: asked.append(number))
while "SLURM_RESTART_COUNT" not in os.environ:
    run.log({"loss": 1.0})
    time.sleep(0.01)
    if asked:
        time.sleep(0.05)        # the checkpoint
        sys.exit(int(os.environ["CODE"]))
run.log({"loss": 0.5})
"""
SLURM = {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}


@pytest.mark.few(2)
@pytest.mark.parametrize("code", [0, 1, 143])
@pytest.mark.parametrize("handler", ["before", "after"])
@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_a_requeued_job_that_had_saved_goes_on_with_its_run(tmp_path, name, handler, code):
    """The signal reaches the training alone, which saves and ends by itself; the next attempt gets
    `--resume`."""
    more = dict(SLURM, SIGNAL=name, HANDLER=handler, CODE=str(code))
    process = start(tmp_path, SAVES, **more)
    wait_for_a_row(tmp_path, process)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    assert process.returncode == code
    _, err = restart(tmp_path, **more)
    assert [attempt["n"] for attempt in small(only(tmp_path), "status")["attempts"]] == [1, 2], err
    assert small(only(tmp_path), "status")["status"] == "finished" and rows(only(tmp_path), "events.2.jsonl")
    said = [line for line in err.splitlines() if line.startswith("runicorn:")]
    assert any("--resume" in line for line in said), said


@pytest.mark.few(1)
@pytest.mark.parametrize("milliseconds", [2, 20])
def test_a_requeued_job_that_was_killed_goes_on_with_its_run(tmp_path, milliseconds):
    more = dict(SLURM, SIGNAL="SIGUSR1", HANDLER="before", CODE="0")
    cancel(job(tmp_path, SAVES, **more), milliseconds / 1000)
    _, err = restart(tmp_path, **more)
    assert [attempt["n"] for attempt in small(only(tmp_path), "status")["attempts"]] == [1, 2], err
    assert small(only(tmp_path), "status")["status"] == "finished"


def wait_for_a_row(folder, process):
    until(lambda: process.poll() is not None
          or [run for run in runs(folder) if (run / "events.jsonl").exists() and rows(run)], pause=0.02)
    assert process.poll() is None


def restart(folder, **more):
    """The next attempt, with an argument that the first did not have; returns (stdout, stderr)."""
    done = subprocess.run([sys.executable, "train.py", "--resume", "last.ckpt"], cwd=folder,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, env=environment(folder, SLURM_RESTART_COUNT="1", **more))
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr
