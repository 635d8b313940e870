"""A script below `runicorn run` that calls `init`, and what is below it: one run."""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from programs import RUN, finished, started
from scripts import environment, only, rows, runs, shown, small
from waiting import until

SCRIPT = """
import os, sys, time
import runicorn
run = runicorn.init(project="vision", name="res", config={"lr": 1, "b": 2}, tags=["t"], notes="n")
for step in range(3):
    runicorn.log({"loss": 1 / (step + 1)})
run.summary["best"] = 3
run.config.c = 4
print("dir", run.dir, run.id, run.project, run.name)
"""


def script(folder, code=SCRIPT, name="train.py"):
    (folder / name).write_text(textwrap.dedent(code))
    return [sys.executable, name]


def test_a_script_joins_the_run(tmp_path):
    status, out, err = finished(tmp_path, script(tmp_path),
                                ["--config", "lr=5", "--config", "d=6", "--tag", "q"])
    assert (status, err) == (0, b"")
    run = only(tmp_path)
    meta, summary = small(run, "meta"), small(run, "summary")
    assert out.decode().split() == ["dir", str(run), meta["id"], "vision", "res"]
    assert run.parent.parent == tmp_path / "root" / "vision" / "res"
    assert (meta["project"], meta["name"], meta["tags"], meta["notes"]) == ("vision", "res", ["q", "t"], "n")
    assert meta["config"] == {"lr": 5, "b": 2, "c": 4, "d": 6}
    assert summary == {"loss": 1 / 3, "best": 3}
    assert [(row["step"], row["data"]) for row in rows(run)] == [(n, {"loss": 1 / (n + 1)}) for n in range(3)]
    assert len(shown(run)) == 1
    assert small(run, "status")["status"] == "finished" and len(small(run, "status")["attempts"]) == 1
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == [".runicorn", "vision"]
    assert list((tmp_path / "root" / ".runicorn" / "live").iterdir()) == []
    check = subprocess.run([sys.executable, "-m", "runicorn", "check", str(tmp_path / "root")],
                           env=environment(tmp_path), timeout=60, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout


def test_project_and_name_of_the_command_line_win(tmp_path):
    assert finished(tmp_path, script(tmp_path), ["--project", "p", "--name", "n"])[0] == 0
    assert only(tmp_path).parent.parent == tmp_path / "root" / "p" / "n"
    assert small(only(tmp_path), "meta")["project"] == "p"


def test_one_of_both_wins_alone(tmp_path):
    assert finished(tmp_path, script(tmp_path), ["--name", "n"])[0] == 0
    assert only(tmp_path).parent.parent == tmp_path / "root" / "vision" / "n"


def test_finish_does_not_end_it_and_a_second_init_makes_its_own(tmp_path):
    code = SCRIPT + """
run.finish()
print("after")
second = runicorn.init(project="second")
second.log({"x": 1})
second.finish()
time.sleep(1)
print("over")
"""
    process = started(tmp_path, script(tmp_path, code))
    joined = until(lambda: [run for run in runs(tmp_path)
                            if run.parts[-4] == "vision" and "after" in (run / "logs.txt").read_text()])[0]
    assert small(joined, "status")["status"] == "running"
    process.communicate(timeout=30)
    first, second = (small(run, "status")
                     for run in sorted(runs(tmp_path), key=lambda run: run.parts[-4] == "vision",
                                       reverse=True))
    assert first["status"] == second["status"] == "finished"
    assert len(runs(tmp_path)) == 2 and shown(joined)[-1] == "over"
    assert small(joined, "summary")["best"] == 3


def test_of_two_scripts_in_a_job_the_first_joins(tmp_path):
    script(tmp_path)
    (tmp_path / "job.sh").write_text(f"{sys.executable} train.py && {sys.executable} train.py && exit 7\n")
    status, _, _ = finished(tmp_path, ["bash", "job.sh"])
    assert status == 7 and len(runs(tmp_path)) == 2
    states = [small(run, "status") for run in runs(tmp_path)]
    assert [(state["status"], state["exit_code"])
            for state in sorted(states, key=lambda state: state["exit_code"])] == [
                ("finished", 0), ("failed", 7)]
    assert all(len(rows(run)) == 3 for run in runs(tmp_path))


def test_the_error_of_a_script_in_a_job_is_the_reason(tmp_path):
    script(tmp_path, SCRIPT + "1 / 0\n")
    status, _, _ = finished(tmp_path, ["bash", "-c", f"{sys.executable} train.py"], env={"BASH_ENV": ""})
    assert status == 1
    found = small(only(tmp_path), "status")
    assert (found["status"], found["exit_code"], found["error"]) == (
        "failed", 1, "ZeroDivisionError: division by zero")
    assert "1 / 0" in found["traceback"]


def test_nested_it_is_one_run(tmp_path):
    argv = [*RUN, "--name", "inner", "--", *script(tmp_path, SCRIPT + "sys.exit(3)")]
    status, _, err = finished(tmp_path, argv, ["--project", "outer"])
    assert status == 3 and b"are not recorded" in err
    assert only(tmp_path).parent.parent == tmp_path / "root" / "outer" / "res"
    assert shown(only(tmp_path)).count("dir") == 0 and len(rows(only(tmp_path))) == 3
    assert (small(only(tmp_path), "status")["status"], small(only(tmp_path), "status")["exit_code"]) == (
        "failed", 3)


def test_a_child_joins_where_the_parent_does_not(tmp_path):
    code = """
    import multiprocessing
    def work(number):
        import runicorn
        run = runicorn.init(project="p", name=f"n{number}")
        run.log({"x": number})
    if __name__ == "__main__":
        for number in range(2):
            child = multiprocessing.get_context("spawn").Process(target=work, args=(number,))
            child.start(); child.join()
    """
    assert finished(tmp_path, script(tmp_path, code))[0] == 0
    assert [[row["data"] for row in rows(run)] for run in runs(tmp_path)] == [[{"x": 0}], [{"x": 1}]]


def test_disabled_it_does_not_join(tmp_path):
    assert (finished(tmp_path,
                     script(tmp_path,
                            "import runicorn; runicorn.init(project='x', mode='disabled').log({'a': 1})"))[0]
            == 0)
    assert rows(only(tmp_path)) == [] and only(tmp_path).parts[-4] == "default"


def slurm(task, tasks=2):
    return {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_PROCID": str(task), "SLURM_NTASKS": str(tasks),
            "SLURM_STEP_NUM_TASKS": str(tasks)}


@pytest.mark.few(1)
@pytest.mark.parametrize("options", [[], ["--project", "p"], ["--project", "p", "--name", "n"]])
def test_a_requeued_job_goes_on_with_its_run(tmp_path, options):
    code = (SCRIPT
            + "\nprint(run.resumed, run.attempt)\nos.kill(os.getpid(), 9) if run.attempt == 1 else None\n")
    argv, job = script(tmp_path, code), {"SLURM_JOB_ID": "91", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}
    assert finished(tmp_path, argv, options, env=job)[0] == -9
    (tmp_path / "root" / "vision" / "other" / "runs" / "20200101_000000_abcdef").mkdir(parents=True)
    status, out, err = finished(tmp_path, argv, options, env={**job, "SLURM_RESTART_COUNT": "1"})
    assert status == 0 and out.splitlines()[-1] == b"True 2" and b"going on with run" in err
    run, = [run for run in runs(tmp_path) if (run / "meta.json").exists()]
    assert [len(rows(run, name)) for name in ("events.jsonl", "events.2.jsonl")] == [3, 3]
    assert [row["step"] for row in rows(run, "events.2.jsonl")] == [3, 4, 5]
    assert [attempt["n"] for attempt in small(run, "status")["attempts"]] == [1, 2]
    assert len(shown(run, "logs.2.txt")) == 2


@pytest.mark.few(1)
@pytest.mark.parametrize("each", [False, True])
def test_tasks_of_a_step_are_one_run_unless_asked(tmp_path, each):
    options = ["--each-task"] if each else []
    for task in range(2):
        status, out, err = finished(tmp_path, script(tmp_path), [*options, "--name", "n"], env=slurm(task))
        assert status == 0 and out.startswith(b"dir")
        assert (b"is not recorded (task 0 is)" in err) == (task == 1 and not each)
    assert len(runs(tmp_path)) == (2 if each else 1)
    assert len(rows(runs(tmp_path)[0])) == 3


def test_after_a_kill_a_script_makes_a_run_of_its_own(tmp_path):
    code = "import time\nopen('ready', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.05)\n"
    process = started(tmp_path, script(tmp_path, "import os\n" + code + SCRIPT))
    until((tmp_path / "ready").exists)
    process.kill()
    (tmp_path / "go").write_text("")
    process.communicate(timeout=30)
    assert sorted(run.parts[-4] for run in runs(tmp_path)) == ["default", "vision"]


def test_a_script_killed_keeps_what_it_logged(tmp_path):
    assert finished(tmp_path, script(tmp_path, SCRIPT + "os.kill(os.getpid(), 9)"))[0] == -9
    run = only(tmp_path)
    assert len(rows(run)) == 3 and small(run, "summary")["best"] == 3
    assert small(run, "meta")["config"]["c"] == 4
    assert small(run, "status")["signal"] == "SIGKILL"


def test_what_a_killed_group_left_is_cleared(tmp_path):
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as temporary:      # a socket's path is short
        killed_and_cleared(tmp_path, Path(temporary))


def killed_and_cleared(tmp_path, temporary):
    env = {"TMPDIR": str(temporary)}
    lives = started(tmp_path, ["sleep", "30"], env=env)
    dies = started(tmp_path, ["sleep", "30"], env=env)
    until(lambda: len(list(temporary.glob("*/first/wandb/__init__.py"))) == 2 and len(runs(tmp_path)) == 2)
    os.killpg(dies.pid, 9)
    dies.communicate(timeout=30)
    for folder in temporary.iterdir():
        os.utime(folder, (1, 1))
    code = ("import sys, runicorn.writer.program_run as p; p.LINKS_SECONDS = 0.1; "
            "from runicorn.cli.main import main; main(sys.argv[1:])")
    command = [sys.executable, "-c", code, "run", "--", "sleep", "2"]
    subprocess.run(command, cwd=tmp_path, env=environment(tmp_path, **env), check=True, timeout=60)
    assert [path.name.split("-")[1] for path in temporary.iterdir()] == [str(lives.pid)]
    os.killpg(lives.pid, 15)
    lives.communicate(timeout=30)
    assert list(temporary.iterdir()) == []


def test_nothing_is_left_in_the_temporary_folder(tmp_path):
    (tmp_path / "tmp").mkdir()
    assert finished(tmp_path, script(tmp_path), env={"TMPDIR": str(tmp_path / "tmp")})[0] == 0
    assert list((tmp_path / "tmp").iterdir()) == []
    long = tmp_path / ("x" * 120)
    long.mkdir()
    assert finished(tmp_path, script(tmp_path), env={"TMPDIR": str(long)})[0] == 0
    assert len(runs(tmp_path)) == 2 and json.dumps(os.listdir(long)) == "[]"


@pytest.mark.few(1)
@pytest.mark.parametrize("begin",
                         ["import runicorn.wandb as wandb", "import runicorn as wandb", "import wandb"])
def test_a_script_that_resumes_its_own_run_by_its_id_goes_on_with_it(tmp_path, begin):
    code = f"""
        {begin}
        for mode in ("allow", "must"):
            run = wandb.init(project="r", id="abc123", resume=mode,
                             **({{"name": "exp"}} if mode == "allow" else {{}}))
            wandb.log({{"loss": 1.0}})
            wandb.log({{"loss": 2.0}})
            wandb.finish()
            print(bool(run.resumed))
        other = wandb.init(project="r", name="other")
        other.log({{"x": 1}})
    """
    status, out, err = finished(tmp_path, script(tmp_path, code))
    assert (status, out.split()) == (0, [b"False", b"True"]), err
    first, second = sorted(runs(tmp_path), key=lambda run: run.parent.parent.name)
    assert [path.parent.parent.name for path in (first, second)] == ["exp", "other"]
    assert [(row["step"], row["data"]["loss"]) for row in rows(first)] == [
        (0, 1.0), (1, 2.0), (2, 1.0), (3, 2.0)]
    assert [small(run, "status")["status"] for run in (first, second)] == ["finished"] * 2


RESUMING = """
import os, sys
import wandb
wandb.init(project="r", name="exp", config={"lr": float(sys.argv[2])}, **eval(sys.argv[1]))
for step in range(2):
    wandb.log({"loss": step})
wandb.run.summary["best"] = 5
print(wandb.run.id, bool(wandb.run.resumed), wandb.run.step, flush=True)
os._exit(3) if sys.argv[3:] else None
"""


def test_an_id_of_the_scripts_own_is_the_runs_and_resumes_it(tmp_path):
    argv = script(tmp_path, RESUMING)
    first = finished(tmp_path, [*argv, "dict(id='abc', resume='allow')", "1", "dies"],
                     ["--config", "b=1", "--tag", "x"])
    again = finished(tmp_path, [*argv, "dict(id='abc', resume='must')", "2"], ["--config", "c=2"])
    assert [(status, out.split()) for status, out, _ in (first, again)] == [
        (3, [b"abc", b"False", b"2"]), (0, [b"abc", b"True", b"4"])]
    assert b"going on with run abc, attempt 2" in again[2]
    run, = runs(tmp_path)
    assert run.relative_to(tmp_path / "root").parts == ("r", "exp", "runs", "abc")
    meta, status = small(run, "meta"), small(run, "status")
    assert (meta["id"], meta["config"], meta["tags"]) == ("abc", {"lr": 2.0, "b": 1, "c": 2}, ["x"])
    assert [(one["n"], one["from_step"]) for one in status["attempts"]] == [(1, 0), (2, 2)]
    assert status["status"] == "finished"
    steps = [[row["step"] for row in rows(run, name)] for name in ("events.jsonl", "events.2.jsonl")]
    assert steps == [[0, 1], [2, 3]]
    assert [shown(run, name)[-1] for name in ("logs.txt", "logs.2.txt")] == ["abc False 2", "abc True 4"]
    assert small(run, "summary") == {"loss": 1, "best": 5}
    assert list((tmp_path / "root" / ".runicorn" / "live").iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == [".runicorn", "r"]


@pytest.mark.few(1)
@pytest.mark.parametrize("options", [["--project", "p"], ["--project", "p", "--name", "n"]])
def test_a_saved_id_resumes_under_what_the_command_line_names(tmp_path, options):
    argv = script(tmp_path, RESUMING)
    run_id = finished(tmp_path, [*argv, "{}", "1"], options)[1].split()[0].decode()
    bare = script(tmp_path, RESUMING.replace('name="exp", ', ""), "again.py")
    status, out, err = finished(tmp_path, [*bare, f"dict(id={run_id!r}, resume='must')", "1"], options)
    assert (status, out.split()) == (0, [run_id.encode(), b"True", b"4"]), err
    assert only(tmp_path).parts[-4:-2] == ("p", "n" if "n" in options else "exp")


def test_an_id_that_is_taken_is_not_taken_over(tmp_path):
    argv = script(tmp_path, RESUMING)
    assert finished(tmp_path, [*argv, "dict(id='abc')", "1"])[0] == 0
    status, out, err = finished(tmp_path, [*argv, "dict(id='abc')", "1"])
    assert status == 0 and out.split()[1:] == [b"False", b"2"] and b"there is a run abc already" in err
    assert len(runs(tmp_path)) == 2 and {run.parts[-4:-2] for run in runs(tmp_path)} == {("r", "exp")}


def test_a_run_that_must_be_there_and_is_not_is_the_scripts_error(tmp_path):
    status, _, err = finished(tmp_path, [*script(tmp_path, RESUMING), "dict(id='abc', resume='must')", "1"])
    assert status == 1 and b"there is no run 'abc'" in err
    assert small(only(tmp_path), "status")["status"] == "failed"


def test_a_run_of_its_own_lies_below_the_root_of_the_command_line(tmp_path):
    code = "import runicorn\nfor name in 'ab': runicorn.init(name=name).finish()\n"
    assert finished(tmp_path, script(tmp_path, code), ["--root", "other"])[0] == 0
    assert not (tmp_path / "root").exists()
    assert sorted(path.name for path in (tmp_path / "other" / "default").iterdir()) == ["a", "b"]
