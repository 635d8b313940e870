"""`runicorn run` in jobs of a real Slurm: a step is one run, a cancelled job says so, a requeued one goes on.
`make slurm`."""

import pytest
from scripts import environment, only, rows, runs, small
from slurm import Slurm
from waiting import until

pytestmark = pytest.mark.slurm
SCRIPT = """
import os, sys, time
import runicorn
run = runicorn.init(project="p", name="n")
for step in range(5 if os.environ.get("SLURM_RESTART_COUNT") or len(sys.argv) > 1 else 5000):
    run.log({"loss": 1.0})
    print("step", step, flush=True)
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def slurm():
    with Slurm() as server:
        yield server


def submitted(slurm, folder, script, *options):
    (folder / "train.py").write_text(SCRIPT)
    return slurm.sbatch(folder, script, *options, **environment(folder))


def logged(folder):
    return sum(len(path.read_bytes().splitlines()) for path in folder.glob("root/*/*/runs/*/events*.jsonl"))


def output(folder):
    return "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("slurm-*.out")))


@pytest.mark.parametrize("program", ["python train.py short", "bash -c 'echo task $SLURM_PROCID'"])
def test_a_step_of_several_tasks_is_one_run(slurm, tmp_path, program):
    job = submitted(slurm, tmp_path, f"srun -n 3 python -m runicorn run -- {program}\n", "-n", "3")
    slurm.wait(job)
    until(lambda: small(only(tmp_path), "status")["status"] == "finished", lambda: output(tmp_path))
    if "train" in program:
        assert len(rows(only(tmp_path))) == 5 and only(tmp_path).parts[-4:-2] == ("p", "n")
    else:
        assert all(f"task {number}" in output(tmp_path) for number in range(3))


def test_each_task_is_a_run_if_asked(slurm, tmp_path):
    job = submitted(slurm, tmp_path,
                    "srun -n 3 python -m runicorn run --each-task -- python train.py short\n", "-n", "3")
    slurm.wait(job)
    until(lambda: [small(run, "status")["status"] for run in runs(tmp_path)] == ["finished"] * 3,
          lambda: output(tmp_path))


@pytest.mark.parametrize("how", ["srun", "exec"])
def test_a_cancelled_job(slurm, tmp_path, how):
    job = submitted(slurm, tmp_path, f"{how} python -m runicorn run -- python train.py\n")
    until(lambda: logged(tmp_path) > 5, lambda: output(tmp_path))
    slurm.call("scancel", job)
    slurm.wait(job)
    until(lambda: small(only(tmp_path), "status").get("signal") == "SIGTERM", lambda: output(tmp_path))


def test_a_requeued_job_goes_on(slurm, tmp_path):
    job = submitted(slurm, tmp_path, "srun python -m runicorn run -- python train.py\n")
    until(lambda: logged(tmp_path) > 5, lambda: output(tmp_path))
    slurm.call("scontrol", "requeue", job)
    slurm.again(job)
    slurm.wait(job)
    until(lambda: small(only(tmp_path), "status")["status"] == "finished", lambda: output(tmp_path))
    assert [attempt["n"] for attempt in small(only(tmp_path), "status")["attempts"]] == [1, 2]
    assert len(rows(only(tmp_path), "events.2.jsonl")) == 5
