"""Runs that go on: resume, requeued Slurm jobs, and the heartbeat, as real processes with the launchers' environment."""

import json
import os
import re
import signal
import textwrap
import time

import pytest
from scripts import only, rows, runs, shown, small, start, train

BEGIN = "import os, signal, sys, time\nimport runicorn\n"
SLURM = {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train"}


def attempt(folder, code="", expect=0, options="", **environ):
    """One process of a training that begins or goes on; returns its stderr."""
    script = BEGIN + f"run = runicorn.init(project='p', name='n', config={{'lr': 0.1}}{options})\n" + textwrap.dedent(code)
    return train(folder, script, expect, **environ)[1]


# -- resume -------------------------------------------------------------------------------------------------------

def test_resume_goes_on_in_files_of_its_own(tmp_path):
    attempt(tmp_path, """
        run.log({"loss": 1.0}, step=0)
        run.log({"loss": 0.5}, step=9)
        run.summary({"best": 7})
        run.config.update({"seed": 1})
        print("first")
        time.sleep(0.3)     # a second write of one small file within 0.1 s is the daemon thread's
        os.kill(os.getpid(), signal.SIGKILL)
        """, -signal.SIGKILL, ", id='abc', resume='allow'")
    before = (only(tmp_path) / "events.jsonl").read_bytes()
    said = attempt(tmp_path, """
        assert run.resumed and run.id == "abc" and run.summary["best"] == 7 and run.config.seed == 1
        run.log({"loss": 0.4})
        print("second")
        """, 0, ", id='abc', resume='must', tags=['again']")
    run = only(tmp_path)
    assert "attempt 2" in said
    assert (run / "events.jsonl").read_bytes() == before and [row["step"] for row in rows(run, "events.2.jsonl")] == [10]
    assert shown(run, "logs.2.txt")[-1] == "second" and shown(run) == ["first"]
    status, meta = small(run, "status"), small(run, "meta")
    assert status["status"] == "finished"
    assert [(each["n"], each["from_step"]) for each in status["attempts"]] == [(1, 0), (2, 10)]
    assert meta["config"] == {"lr": 0.1, "seed": 1} and meta["tags"] == ["again"]
    assert small(run, "summary") == {"loss": 0.4, "best": 7}


def test_the_id_may_come_from_the_environment(tmp_path):
    attempt(tmp_path, "run.log({'a': 1})", RUNICORN_RUN_ID="from-env")
    attempt(tmp_path, "run.log({'a': 1})", options=", resume=True", RUNICORN_RUN_ID="from-env")
    assert only(tmp_path).name == "from-env" and [row["step"] for row in rows(only(tmp_path), "events.2.jsonl")] == [1]


def test_a_taken_id_without_resume_is_a_new_run(tmp_path):
    attempt(tmp_path, options=", id='abc'")
    said = attempt(tmp_path, options=", id='abc'")
    assert len(runs(tmp_path)) == 2 and "there is a run abc already" in said


def test_a_run_that_is_being_written_is_not_joined(tmp_path):
    code = BEGIN + "run = runicorn.init(project='p', name='n', id='abc')\nprint('on', flush=True)\ntime.sleep(30)"
    one = start(tmp_path, code, name="one.py")
    assert one.stdout.readline() == "on\n"
    said = attempt(tmp_path, "run.log({'a': 1})", options=", id='abc', resume='must'")
    one.kill()
    one.communicate()
    assert "running process" in said and len(runs(tmp_path)) == 2 and not (tmp_path / "root/p/n/runs/abc/events.2.jsonl").exists()


# -- requeued jobs ------------------------------------------------------------------------------------------------

def requeue(**more):
    return {**SLURM, "SLURM_RESTART_COUNT": "1", **more}


GUIDE = """
for epoch in range(first, last):
    for batch in range(10):
        run.log({"train/loss": 1.0}, step=epoch * 10 + batch)
    run.log({"val/loss": 0.5}, step=epoch)
"""


def test_a_requeued_job_goes_on_with_its_run_and_loses_no_curve(tmp_path):
    """Train by step, validation by epoch: the counted steps of the second attempt begin after the largest of both."""
    attempt(tmp_path, "first, last = 0, 3\n" + GUIDE + "os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, **SLURM)
    assert small(only(tmp_path), "status")["status"] == "interrupted"
    attempt(tmp_path, "first, last = 2, 5\n" + GUIDE, **requeue())
    run = only(tmp_path)
    assert [row["step"] for row in rows(run) if "val/loss" in row["data"]] == [0, 1, 2]
    assert [row["step"] for row in rows(run, "events.2.jsonl") if "val/loss" in row["data"]] == [2, 3, 4]
    assert [row["step"] for row in rows(run, "events.2.jsonl") if "train/loss" in row["data"]] == list(range(20, 50))
    assert small(run, "status")["status"] == "finished" and small(run, "status")["attempts"][1]["from_step"] == 30


@pytest.mark.parametrize("other, options", [({"SLURM_JOB_ID": "78"}, ""), ({"SLURM_ARRAY_TASK_ID": "2"}, ""), ({}, ", notes='x'")])
def test_only_the_same_training_is_continued(tmp_path, other, options):
    attempt(tmp_path, "run.log({'a': 1})\nos._exit(1)", 1, **SLURM)
    attempt(tmp_path, "run.log({'a': 1})", options=options, **requeue(**other))
    assert len(runs(tmp_path)) == (2 if other else 1)


def test_two_trainings_of_one_job_are_never_glued_together(tmp_path):
    for _ in range(2):
        attempt(tmp_path, "run.log({'a': 1})\nos._exit(1)", 1, **SLURM)
    attempt(tmp_path, "run.log({'a': 1})", **requeue())
    assert len(runs(tmp_path)) == 3 and not any((run / "events.2.jsonl").exists() for run in runs(tmp_path))


def test_another_config_or_command_line_is_another_training(tmp_path):
    attempt(tmp_path, "os._exit(1)", 1, **SLURM)
    train(tmp_path, BEGIN + "runicorn.init(project='p', name='n', config={'lr': 0.2})", **requeue())
    train(tmp_path, BEGIN + "runicorn.init(project='p', name='n', config={'lr': 0.1})", name="other.py", **requeue())
    assert len(runs(tmp_path)) == 3


def test_a_finished_run_is_not_continued(tmp_path):
    attempt(tmp_path, "run.finish()", **SLURM)
    attempt(tmp_path, "run.finish()", **requeue())
    assert len(runs(tmp_path)) == 2


def test_twenty_processes_in_the_same_second_get_twenty_folders(tmp_path):
    code = BEGIN + "run = runicorn.init(project='p', name='n')\nrun.log({'pid': os.getpid()})"
    processes = [start(tmp_path, code) for _ in range(20)]
    said = [process.communicate(timeout=90)[1] for process in processes]
    assert said == [""] * 20
    assert {rows(run)[0]["data"]["pid"] for run in runs(tmp_path)} == {process.pid for process in processes}
    assert all(re.fullmatch(r"\d{8}_\d{6}_[0-9a-f]{6}", run.name) for run in runs(tmp_path))


# -- the heartbeat ------------------------------------------------------------------------------------------------

def test_the_live_file_names_the_run_and_beats(tmp_path):
    code = BEGIN + "import runicorn.live\nrunicorn.live.BEAT_SECONDS = 0.5\nrun = runicorn.init(project='p', name='n')\n"
    process = start(tmp_path, code + "print(run.path, flush=True)\ntime.sleep(60)", RANK="0", WORLD_SIZE="4", MASTER_ADDR="127.0.0.1",
                    MASTER_PORT="29511")
    path = process.stdout.readline().strip()
    live, = (tmp_path / "root/.runicorn/live").glob("*.json")
    facts = json.loads(live.read_text())
    assert facts["path"] == path and facts["pid"] == process.pid and facts["interval"] == 0.5
    assert facts["launch"].startswith(f"master:127.0.0.1:29511:4:{os.uname().nodename}")
    os.utime(live, (1, 1))
    deadline = time.monotonic() + 15
    while live.stat().st_mtime < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    process.kill()
    process.communicate()
    assert abs(live.stat().st_mtime - time.time()) < 20


def test_live_files_whose_heart_stopped_a_week_ago_are_cleared(tmp_path):
    folder = tmp_path / "root" / ".runicorn" / "live"
    folder.mkdir(parents=True)
    for name, age in (("old.json", 8), ("recent.json", 6)):
        (folder / name).write_text("{}")
        os.utime(folder / name, (time.time() - age * 86400,) * 2)
    attempt(tmp_path)
    assert os.listdir(folder) == ["recent.json"]
