"""Runs that go on: resume, requeued Slurm jobs, and the heartbeat, as real processes with the launchers'
environment."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from scripts import environment, only, rows, runs, shown, small, start, train

from runicorn.cli.main import main
from runicorn.writer import live
from runicorn.writer.environment import process, process_start

BEGIN = "import os, signal, sys, time\nimport runicorn\n"
SLURM = {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train"}


def attempt(folder, code="", expect=0, options="", **environ):
    """One process of a training that begins or goes on; returns its stderr."""
    script = (BEGIN + f"run = runicorn.init(project='p', name='n', config={{'lr': 0.1}}{options})\n"
              + textwrap.dedent(code))
    return train(folder, script, expect, **environ)[1]


# -- resume --------------------------------------------------------------------------------------------------

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
    assert (run / "events.jsonl").read_bytes() == before
    assert [row["step"] for row in rows(run, "events.2.jsonl")] == [10]
    assert shown(run, "logs.2.txt")[-1] == "second" and shown(run) == ["first"]
    status, meta = small(run, "status"), small(run, "meta")
    assert status["status"] == "finished"
    assert [(each["n"], each["from_step"]) for each in status["attempts"]] == [(1, 0), (2, 10)]
    assert meta["config"] == {"lr": 0.1, "seed": 1} and meta["tags"] == ["again"]
    assert small(run, "summary") == {"loss": 0.4, "best": 7}


def test_the_id_may_come_from_the_environment(tmp_path):
    attempt(tmp_path, "run.log({'a': 1})", RUNICORN_RUN_ID="from-env")
    attempt(tmp_path, "run.log({'a': 1})", options=", resume=True", RUNICORN_RUN_ID="from-env")
    assert only(tmp_path).name == "from-env"
    assert [row["step"] for row in rows(only(tmp_path), "events.2.jsonl")] == [1]


def test_a_taken_id_without_resume_is_a_new_run(tmp_path):
    attempt(tmp_path, options=", id='abc'")
    said = attempt(tmp_path, options=", id='abc'")
    assert len(runs(tmp_path)) == 2 and "there is a run abc already" in said


def test_a_run_that_is_being_written_is_not_joined(tmp_path):
    code = (BEGIN + "run = runicorn.init(project='p', name='n', id='abc')\nprint('on', flush=True)\n"
                    "time.sleep(30)")
    one = start(tmp_path, code, name="one.py")
    assert one.stdout.readline() == "on\n"
    said = attempt(tmp_path, "run.log({'a': 1})", options=", id='abc', resume='must'")
    one.kill()
    one.communicate()
    assert "running process" in said and len(runs(tmp_path)) == 2
    assert not (tmp_path / "root/p/n/runs/abc/events.2.jsonl").exists()


# -- requeued jobs -------------------------------------------------------------------------------------------

def requeue(**more):
    return {**SLURM, "SLURM_RESTART_COUNT": "1", **more}


GUIDE = """
for epoch in range(first, last):
    for batch in range(10):
        run.log({"train/loss": 1.0}, step=epoch * 10 + batch)
    run.log({"val/loss": 0.5}, step=epoch)
"""


def test_a_requeued_job_goes_on_with_its_run_and_loses_no_curve(tmp_path):
    """Train by step, validation by epoch: the counted steps of the second attempt begin after the largest of
    both."""
    attempt(tmp_path, "first, last = 0, 3\n" + GUIDE + "os.kill(os.getpid(), signal.SIGTERM)",
            -signal.SIGTERM, **SLURM)
    assert small(only(tmp_path), "status")["status"] == "interrupted"
    attempt(tmp_path, "first, last = 2, 5\n" + GUIDE, **requeue())
    run = only(tmp_path)
    assert [row["step"] for row in rows(run) if "val/loss" in row["data"]] == [0, 1, 2]
    assert [row["step"] for row in rows(run, "events.2.jsonl") if "val/loss" in row["data"]] == [2, 3, 4]
    assert [row["step"] for row in rows(run, "events.2.jsonl") if "train/loss" in row["data"]] == list(
        range(20, 50))
    assert small(run, "status")["status"] == "finished"
    assert small(run, "status")["attempts"][1]["from_step"] == 30


@pytest.mark.few(2)
@pytest.mark.parametrize("other",
                         [{"SLURM_JOB_ID": "78"}, {"SLURM_ARRAY_TASK_ID": "2"}, {"SLURM_STEP_ID": "1"},
                          {"SLURM_PROCID": "1"}, {"SLURM_CLUSTER_NAME": "b"}], ids=str)
def test_another_job_array_task_step_or_task_is_another_training(tmp_path, other):
    mine = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_CLUSTER_NAME": "a"}
    attempt(tmp_path, "run.log({'a': 1})\nos._exit(1)", 1, **SLURM, **mine)
    said = attempt(tmp_path, "run.log({'a': 1})", **requeue(**{**mine, **other}))
    assert len(runs(tmp_path)) == 2 and "none of its attempts began a run of p/n; this is a new run" in said


def test_each_task_of_a_sweep_goes_on_with_its_own_run(tmp_path):
    """`srun -n 4 python sweep.py`, and a second step of the same, requeued."""
    code = "run.log({'who': int(os.environ['SLURM_STEP_ID'] + os.environ['SLURM_PROCID'])})\n"
    for environ, end in ((SLURM, "os._exit(1)"), (requeue(), "")):
        for step in "01":
            for task in "0123":
                attempt(tmp_path, code + end, 1 if end else 0, SLURM_STEP_ID=step, SLURM_PROCID=task,
                        SLURM_NTASKS="4", **environ)
    assert len(runs(tmp_path)) == 8
    for run in runs(tmp_path):
        who = [row["data"]["who"] for name in ("events.jsonl", "events.2.jsonl") for row in rows(run, name)]
        assert len(who) == 2 and len(set(who)) == 1


@pytest.mark.few(2)
@pytest.mark.parametrize("end, status", [
    ("run.finish()", "finished"), ("sys.exit(3)", "failed"), ("raise ValueError('x')", "failed"),
    ("os.kill(os.getpid(), 15)", "interrupted"), ("os.kill(os.getpid(), 9)", "running"),
    ("", "finished")])
def test_a_restart_goes_on_whatever_the_status(tmp_path, end, status):
    """A script that catches USR1, saves and ends by itself has finished as far as anybody can see."""
    code = BEGIN + "run = runicorn.init(project='p', name='n')\nrun.log({'a': 1})\n"
    start(tmp_path, code + end, **SLURM).communicate(timeout=60)
    assert small(only(tmp_path), "status")["status"] == status
    (tmp_path / "train.py").unlink()
    _, said = train(tmp_path, code + "assert run.attempt == 2", **requeue())
    assert len(rows(only(tmp_path), "events.2.jsonl")) == 1 and "different" not in said


def restarted(folder, first, second, **environ):
    """Two attempts of one job, given as arguments and config; returns what the second says."""
    said = []
    for count, (arguments, config) in enumerate((first, second)):
        code = f"import os, sys\nsys.argv[1:] = {arguments!r}\nimport runicorn\n"
        code += f"run = runicorn.init(project='p', name='n', config={config})\n"
        said.append(train(folder, code + "run.log({'a': 1})\nos._exit(0)", SLURM_RESTART_COUNT=str(count),
                          **SLURM, **environ)[1])
    return said[1]


def test_what_a_restart_was_given_otherwise_is_said_on_one_line(tmp_path):
    said = restarted(tmp_path, (["--lr", "0.1", "--token=abc"], {"lr": 0.1, "out": "a", "seed": 1}),
                     (["--lr", "0.1", "--token=def", "--resume", "last.ckpt"],
                      {"lr": 0.1, "out": "b", "date": "today", "seed": 1}))
    run = only(tmp_path)
    assert said == (f"runicorn: going on with run {run.name}, attempt 2; different from the attempt before: "
                    "the command line (--token, --resume) and the config (out, date)\n")
    assert small(run, "meta")["config"] == {"lr": 0.1, "out": "b", "seed": 1, "date": "today"}
    assert small(run, "meta")["argv"][-1] == "last.ckpt"


@pytest.mark.parametrize("second, differing", [
    (([], {"lr": 0.1}), None), ((["2025-01-24"], {"lr": 0.1}), "the command line"),
    (([], {"lr": 0.2}), "the config (lr)"), (([], {}), "the config"),
    (([], {f"k{n}": n for n in range(9)}), "the config (k0, k1, k2, k3, k4, k5, …)")])
def test_the_words_for_a_difference(tmp_path, second, differing):
    said = restarted(tmp_path, ([], {"lr": 0.1}), second)
    assert said.endswith(f"attempt 2; different from the attempt before: {differing}\n" if differing
                         else "attempt 2\n")


def test_two_trainings_of_one_job_are_never_glued_together(tmp_path):
    for _ in range(2):
        attempt(tmp_path, "run.log({'a': 1})\nos._exit(1)", 1, **SLURM)
    said = attempt(tmp_path, "run.log({'a': 1})", **requeue())
    assert len(runs(tmp_path)) == 3 and not any((run / "events.2.jsonl").exists() for run in runs(tmp_path))
    assert said.count("\n") == 1 and "began 2 runs of p/n" in said


def test_of_several_runs_of_a_job_each_goes_on_with_its_config(tmp_path):
    """A sweep within one script, or `python train.py --lr 0.1 & python train.py --lr 0.2 &`; a config that is
    new is a new run."""
    code = BEGIN + textwrap.dedent("""
        for lr in map(float, os.environ["RATES"].split()):
            with runicorn.init(project="p", name="n", config={"lr": lr}) as run:
                run.log({"lr": lr})
        """)
    train(tmp_path, code, RATES="0.1 0.2", **SLURM)
    train(tmp_path, code, RATES="0.2 0.1 0.3", **requeue())
    seen = sorted([row["data"]["lr"] for file in sorted(run.glob("events*")) for row in rows(run, file.name)]
                  for run in runs(tmp_path))
    assert seen == [[0.1, 0.1], [0.2, 0.2], [0.3]]


def test_a_second_run_of_a_restarted_process_does_not_go_on_with_its_first(tmp_path):
    attempt(tmp_path, "os._exit(1)", 1, **SLURM)
    attempt(tmp_path,
            "run.finish()\nrun = runicorn.init(project='p', name='n', config={'lr': 0.1})\n"
            "assert run.attempt == 1", **requeue())
    assert len(runs(tmp_path)) == 2


@pytest.mark.parametrize("options, attempts",
                         [(", id='mine'", [2]), (", id='mine', resume='allow'", [2]),
                          (", resume='never'", [1, 1])])
def test_a_restart_with_an_id_and_one_that_wants_none(tmp_path, options, attempts):
    for environ in (SLURM, requeue()):
        attempt(tmp_path, "run.log({'a': 1})\nos.kill(os.getpid(), 9)", -9, options, **environ)
    assert [len(list(run.glob("events*"))) for run in runs(tmp_path)] == attempts


ELSEWHERE = ("import os\nuname = os.uname()\nos.uname = lambda: os.uname_result((uname.sysname, "
             "os.environ['HOST'], *uname[2:]))\n")
LOGS = (ELSEWHERE + BEGIN
        + "run = runicorn.init(project='p', name='n', {0})\nrun.log({{'a': 1}})\nos.kill(os.getpid(), 9)")


@pytest.mark.parametrize("options", ["", "id='x', resume='allow'"])
def test_a_restart_on_another_node_need_not_wait_for_the_old_heart_to_be_forgotten(tmp_path, options):
    for host, environ in (("a", SLURM), ("b", requeue()), ("c", requeue(SLURM_RESTART_COUNT="2"))):
        train(tmp_path, LOGS.format(options), -9, HOST=host, **environ)
    assert sorted(file.name for file in only(tmp_path).glob("events*")) == [
        "events.2.jsonl", "events.3.jsonl", "events.jsonl"]


def test_without_a_scheduler_a_heart_of_another_machine_is_believed_for_a_while(tmp_path):
    train(tmp_path, LOGS.format("id='x', resume='allow'"), -9, HOST="a")
    said = train(tmp_path, LOGS.format("id='x', resume='allow'"), -9, HOST="b")[1]
    assert len(runs(tmp_path)) == 2 and "run x is being written" in said
    file, = (file for file in (tmp_path / "root/.runicorn/live").glob("*.json") if file.name == "x.json")
    os.utime(file, (time.time() - 30,) * 2)
    train(tmp_path, LOGS.format("id='x', resume='allow'"), -9, HOST="b")
    assert (tmp_path / "root/p/n/runs/x/events.2.jsonl").exists()


def test_a_restart_beside_a_forerunner_that_is_there_is_a_new_run(tmp_path):
    code = BEGIN + "run = runicorn.init(project='p', name='n')\nprint('on', flush=True)\ntime.sleep(30)"
    one = start(tmp_path, code, name="train.py", **SLURM)
    assert one.stdout.readline() == "on\n"
    said = attempt(tmp_path, "run.log({'a': 1})", **requeue())
    one.kill()
    one.communicate()
    assert len(runs(tmp_path)) == 2 and "is still there; this is a new run" in said


# -- who is alive --------------------------------------------------------------------------------------------

def test_a_process_that_replaces_itself_goes_on_with_its_run(tmp_path):
    """os.execv keeps the process's number and start."""
    code = BEGIN + textwrap.dedent("""
        run = runicorn.init(project="p", name="n", id="x", resume="allow")
        run.log({"attempt": run.attempt})
        if run.attempt < 3:
            os.execv(sys.executable, [sys.executable, *sys.argv])
        """)
    train(tmp_path, code)
    assert [rows(only(tmp_path), f"events{n}.jsonl")[0]["data"]["attempt"] for n in ("", ".2", ".3")] == [
        1, 2, 3]


def test_the_same_number_in_a_fresh_container_is_another_process(tmp_path):
    """A training that is pid 1 each time: the live file's number is alive, its start and its namespace are
    not."""
    attempt(tmp_path, "os.kill(os.getpid(), 9)", -9, ", id='x', resume='allow'")
    file = tmp_path / "root/.runicorn/live/x.json"
    facts = json.loads(file.read_text())
    me = process()
    assert facts["pid_ns"] == me["pid_ns"] and facts["boot"] == me["boot"] and facts["start"] > 0
    for changed in ({"pid": os.getpid()}, {"pid": os.getpid(), "pid_ns": 1}, {"pid": os.getppid()}):
        file.write_text(json.dumps({**facts, **changed}))
        assert not live.lives(tmp_path / "root", facts["path"])
    file.write_text(json.dumps({**facts, "pid": os.getppid(), "start": process_start(os.getppid())}))
    assert live.lives(tmp_path / "root", facts["path"])
    # there only its heart can be heard
    for changed in ({"pid_ns": 1}, {"boot": "another"}, {"host": "another"}):
        file.write_text(json.dumps({**facts, **changed}))
        assert live.lives(tmp_path / "root", facts["path"])
        os.utime(file, (time.time() - 30,) * 2)
        assert not live.lives(tmp_path / "root", facts["path"])


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root, for a process namespace")
def test_a_container_that_is_started_again_goes_on_with_its_run(tmp_path):
    """The training is pid 1 each time, of a namespace that is new or has an old one's number; a wrapper's is
    pid 2."""
    script = tmp_path / "train.py"
    script.write_text(
        BEGIN + "run = runicorn.init(project='p', name='n', id='x', resume='allow')\n"
                "run.log({'pid': os.getpid()})\n"
        "os.kill(os.getpid(), 9)\nos._exit(1)")         # nothing kills the pid 1 of a namespace from within
    for command in ([sys.executable, str(script)], ["sh", "-c", f"{sys.executable} {script}; exit 1"]):
        for _ in range(3):
            subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", *command],
                           env=environment(tmp_path), cwd=tmp_path, timeout=60)
        assert len(list(only(tmp_path).glob("events*.jsonl"))) == 3
        assert len({row["data"]["pid"] for row in rows(only(tmp_path))}) == 1
        shutil.rmtree(tmp_path / "root")


def test_a_heart_is_judged_by_the_clock_of_the_disk(tmp_path, monkeypatch):
    attempt(tmp_path, "os.kill(os.getpid(), 9)", -9, ", id='x'")
    file = tmp_path / "root/.runicorn/live/x.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "host": "another"}))
    for ahead in (-3600, 3600):
        monkeypatch.setattr(live.time, "time", lambda real=time.time, ahead=ahead: real() + ahead)
        assert live.is_fresh(file)
        os.utime(file, ns=(0, time.time_ns() - 30 * 10**9))
        assert not live.is_fresh(file, 25)
        os.utime(file)
        monkeypatch.undo()


def test_an_ended_status_is_believed_over_a_live_file(tmp_path):
    attempt(tmp_path, "time.sleep(0.1)", options=", id='x'")
    path = only(tmp_path).relative_to(tmp_path / "root").as_posix()
    (tmp_path / "root/.runicorn/live/x.json").write_text(
        json.dumps({"path": path, "host": os.uname().nodename, "pid": os.getppid()}))
    assert not live.lives(tmp_path / "root", path)
    (only(tmp_path) / "status.json").write_text('{"status": "running"}')
    assert live.lives(tmp_path / "root", path)


def test_a_run_that_beats_in_its_own_folder_is_alive_too(tmp_path):
    (tmp_path / "root/.runicorn").mkdir(parents=True)
    (tmp_path / "root/.runicorn/live").write_text("no folder")
    code = (BEGIN + "run = runicorn.init(project='p', name='n', id='x')\nprint('on', flush=True)\n"
                    "time.sleep(30)")
    one = start(tmp_path, code, name="one.py")
    assert one.stdout.readline() == "on\n"
    said = attempt(tmp_path, options=", id='x', resume='allow'")
    one.kill()
    one.communicate()
    assert "is being written" in said and len(runs(tmp_path)) == 2


@pytest.mark.parametrize("seconds, limit",
                         [(7200, "02:00:00"), (86400, "1-00:00:00"), (90061, "1-01:01:01"), (0, None)])
def test_slurms_facts_are_kept_and_named(tmp_path, capsys, seconds, limit):
    environ = {"SLURM_JOB_ACCOUNT": "lab", "SLURM_JOB_QOS": "long", "SLURM_JOB_NUM_NODES": "2",
               "SLURM_NTASKS": "8", "SLURM_SUBMIT_DIR": "/home/alice", "SLURM_JOB_START_TIME": "1700000000",
               "SLURM_JOB_END_TIME": str(1700000000 + seconds), "SLURM_PROCID": "3"}
    attempt(tmp_path, **SLURM, **environ)
    kept = small(only(tmp_path), "meta")["slurm"]
    digest = kept.pop("config")
    expected = {"job_id": "77", "job_name": "train", "account": "lab", "qos": "long", "nodes": "2",
                "tasks": "8", "task": "3", "submit_dir": "/home/alice",
                **({"time_limit": limit} if limit else {})}
    assert kept == expected
    assert main(["show", only(tmp_path).name, "--root", str(tmp_path / "root")]) == 0
    shown = capsys.readouterr().out.partition("\nSlurm\n")[2].partition("\n\n")[0]
    assert {tuple(line.split()) for line in shown.splitlines()} == set(expected.items())
    assert digest not in shown


def test_twenty_processes_in_the_same_second_get_twenty_folders(tmp_path):
    code = BEGIN + "run = runicorn.init(project='p', name='n')\nrun.log({'pid': os.getpid()})"
    processes = [start(tmp_path, code) for _ in range(20)]
    said = [process.communicate(timeout=90)[1] for process in processes]
    assert said == [""] * 20
    assert {rows(run)[0]["data"]["pid"] for run in runs(tmp_path)} == {process.pid for process in processes}
    assert all(re.fullmatch(r"\d{8}_\d{6}_[0-9a-f]{6}", run.name) for run in runs(tmp_path))


# -- the heartbeat -------------------------------------------------------------------------------------------

def test_the_live_file_names_the_run_and_beats(tmp_path):
    code = (BEGIN + "import runicorn.writer.live\nrunicorn.writer.live.BEAT_SECONDS = 0.5\n"
                    "run = runicorn.init(project='p', name='n')\n")
    process = start(tmp_path, code + "print(run.path, flush=True)\ntime.sleep(60)", RANK="0", WORLD_SIZE="4",
                    MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
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
