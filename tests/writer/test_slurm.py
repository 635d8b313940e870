"""How jobs of a real Slurm end and go on, each a batch script as users write it. `make slurm`. docs/ends.md
has the rows of `SAYS`."""

import os
import re
import textwrap
import time

import pytest
import tally
from scripts import environment, rows, runs, shown, small
from slurm import NODES, Slurm
from waiting import until

pytestmark = pytest.mark.slurm
TIMES = 12              # of each way to end a job
SHARE = 0.9             # of the jobs whose SIGKILL follows SIGTERM by milliseconds, at least so many have to
                        # say "interrupted" …
BUSY_SHARE = 0.5        # … and so many where other programs keep the processors from them
BEGIN = "import os, signal, sys, time\nimport runicorn\n"
GOES_ON = """
run = runicorn.init(project="p", name="n", config={"lr": 0.1})
for step in range(5 if os.environ.get('SLURM_RESTART_COUNT') else 5000):
    run.log({"loss": 1.0})
    time.sleep(0.02)
"""
SAVES = BEGIN + """
asked = []
for name in ("SIGUSR1", "SIGTERM"):
    signal.signal(getattr(signal, name), lambda number, frame: asked.append(number))
run = runicorn.init(project="p", name="n", config={"lr": 0.1})
for step in range(5 if os.environ.get('SLURM_RESTART_COUNT') else 5000):
    run.log({"loss": 1.0})
    time.sleep(0.02)
    if asked:
        time.sleep(0.1)     # the checkpoint
        if os.environ.get("ASK"):
            os.system("scontrol requeue $SLURM_JOB_ID")
        sys.exit(int(os.environ.get("CODE", 0)))
"""
# (what happens to a job, what its run says): the rows of docs/ends.md that the tests below hold
SAYS = []


def says(happens, said):
    """Name the row of docs/ends.md that a test holds; several tests may hold one."""
    def mark(test):
        SAYS.extend([(happens, said)] if (happens, said) not in SAYS else [])
        return test
    return mark


@pytest.fixture(scope="module")
def slurm():
    with Slurm() as server:
        yield server


class Work:
    """One folder with a training script and the jobs that run it."""

    def __init__(self, slurm, folder, code=BEGIN + GOES_ON):
        self.slurm, self.folder = slurm, folder
        (folder / "train.py").write_text(textwrap.dedent(code))

    def submit(self, script="python train.py\n", *options, runs=1, **env):
        """Submit a job and wait until `runs` more runs log; returns its id."""
        before = len(self.logging())
        job = self.slurm.sbatch(self.folder, script, *options, **environment(self.folder, **env))
        until(lambda: len(self.logging()) >= before + runs, self.output)
        return job

    def logging(self):
        return [run for run in runs(self.folder)
                if any(path.stat().st_size for path in run.glob("events*.jsonl"))]

    def output(self):
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("slurm-*.out")))

    def over(self, job, *states):
        """Wait until a job is over and nothing of it is left; returns what Slurm says of it."""
        facts = self.slurm.wait(job, *states)
        until(lambda: not self.slurm.job_processes(job), self.output)
        return facts

    def states(self):
        """Return what each run says of itself (list of str): "running" with a live file is what will be
        called lost."""
        found = []
        for run in runs(self.folder):
            state = small(run, "status")["status"]
            live = list(self.folder.glob(f"root/.runicorn/live/{run.name}.json"))
            assert rows(run) and (live or state != "running"), run
            found.append(state)
        return found

    def statuses(self):
        return [small(run, "status") for run in runs(self.folder)]


@pytest.fixture
def work(slurm, tmp_path):
    return lambda code=BEGIN + GOES_ON: Work(slurm, tmp_path, code)


def attempts(status):
    return [attempt["n"] for attempt in status["attempts"]]


# -- jobs that are ended from outside ------------------------------------------------------------------------

def cancelled(work, jobs):
    for job in jobs:
        work.slurm.call("scancel", job)
        time.sleep(0.2)         # one at a time, as people do


def out_of_time(work, jobs):
    time.sleep(2)               # a job's end may not be before its begin
    for job in jobs:
        # s; a moment that is over by then is refused
        work.slurm.call("scontrol", "update", f"jobid={job}", "endtime=now+2")


def requeued(work, jobs):
    for job in jobs:
        work.slurm.call("scontrol", "requeuehold", job)
        time.sleep(0.2)


def preempted(work, jobs):
    other = work.slurm.sbatch(work.folder, "sleep 600\n", "--partition=high", "--exclusive", "--nodes=2")
    work.slurm.wait(other, "RUNNING")       # and stays so: they must not begin again while they are looked at
    return [other]


PLAIN = "python train.py\n"
STEP = "srun --ntasks=1 python train.py\n"
FORWARDS = "python train.py &\ntrap 'kill -TERM $!' TERM\nwait\nwait\n"
SHELL = "exec python train.py\n"       # the batch script becomes the training


@says("`python train.py`: cancelled, out of time, requeued or preempted",
      "interrupted, ended by SIGTERM (lost where SIGKILL was faster)")
@says("`exec python train.py` or `srun python train.py`: the same", "interrupted, ended by SIGTERM")
@says("a shell that forwards SIGTERM to `python train.py &`: the same", "interrupted, ended by SIGTERM")
@pytest.mark.parametrize("end, left", [
    (cancelled, "CANCELLED"), (out_of_time, "TIMEOUT"), (requeued, "PENDING"), (preempted, "PENDING")],
                         ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("way, script", [
    ("plain", PLAIN), ("exec", SHELL), ("a step", STEP), ("the shell forwards", FORWARDS)],
                         ids=["plain", "exec", "step", "forwards"])
def test_a_job_that_is_ended_from_outside_is_interrupted(work, end, left, way, script):
    work, times = work(), TIMES if script == PLAIN else 3
    jobs = [work.submit(script, "--nodelist=" + NODES[number % 2]) for number in range(times)]
    others = end(work, jobs) or []
    try:
        for job in jobs:
            work.over(job, left)
    finally:
        work.slurm.call("scancel", *jobs, *others)
    states = tally.count(f"slurm: {way}, {end.__name__.replace('_', ' ')}", work.states())
    assert set(states) <= {"interrupted", "running"} and sum(states.values()) == times
    share = 1 if script != PLAIN else SHARE if os.getloadavg()[0] <= os.cpu_count() else BUSY_SHARE
    assert states["interrupted"] >= share * times, states
    assert {status.get("signal") for status in work.statuses() if status["status"] == "interrupted"} == {
        "SIGTERM"}


@says("only its shell is signalled", "lost")
def test_a_job_whose_shell_alone_hears_the_signal_leaves_a_stopped_heart(work):
    work = work()
    job = work.submit(PLAIN)
    work.slurm.call("scancel", "--batch", "--signal=TERM", job)
    work.over(job)
    assert work.states() == ["running"]


@says("another signal that nobody handles, such as USR1", "interrupted, ended by that signal")
@pytest.mark.parametrize("name", ["INT", "HUP", "USR1", "USR2", "XCPU", "QUIT", "ALRM"])
def test_a_job_that_is_sent_another_signal_is_interrupted_by_it(work, name):
    work = work()
    job = work.submit("srun --ntasks=1 python train.py\n")
    work.slurm.call("scancel", f"--signal={name}", job)
    work.over(job)
    assert [(status["status"], status.get("signal")) for status in work.statuses()] == [
        ("interrupted", f"SIG{name}")]


@says("its node dies", "lost; requeued, it goes on as the same run")
def test_a_node_that_fails_leaves_a_stopped_heart_and_the_job_goes_on_elsewhere(work):
    work = work()
    job = work.submit(PLAIN, "--nodelist=n2")
    try:
        work.slurm.fail_node("n2")
        assert work.states() == ["running"]
        work.slurm.call("scontrol", "update", f"jobid={job}", "reqnodelist=n1", check=False)
        work.slurm.again(job)
        assert work.over(job)["JobState"] == "COMPLETED", work.output()
    finally:
        work.slurm.start_node("n2")
        work.slurm.call("scontrol", "update", "nodename=n2", "state=resume", check=False)
        until(lambda: work.slurm.idle("n2"))
    assert work.states() == ["finished"] and attempts(*work.statuses()) == [1, 2], work.output()


# -- requeued jobs go on with their run ----------------------------------------------------------------------

@says("it catches USR1 or TERM, saves, ends with any code, and is requeued", "goes on as the same run")
@pytest.mark.parametrize("code", ["0", "143", "1"])
@pytest.mark.parametrize("name", ["USR1", "TERM"])
def test_a_job_that_saves_ends_and_is_requeued_goes_on_with_its_run(work, name, code):
    work = work(SAVES)
    job = work.submit(STEP, CODE=code)
    work.slurm.call("scancel", f"--signal={name}", job)         # to the steps
    work.over(job)
    first = work.statuses()
    work.slurm.call("scontrol", "requeue", job)
    work.slurm.again(job)
    work.over(job)
    assert [attempts(status) for status in work.statuses()] == [[1, 2]], (first, work.output())
    assert work.states() == ["finished"]


@says("it saves and runs `scontrol requeue` itself, in Python or in its shell", "goes on as the same run")
def test_a_job_that_requeues_itself_goes_on_with_its_run(work):
    """As the pages of computing centres say: ask for a signal before the end, save, requeue."""
    work = work(SAVES)
    job = work.submit(f"export PATH=$PATH:/usr/bin\n{STEP}", "--signal=USR1@60", ASK="1")
    work.slurm.call("scancel", "--signal=USR1", job)
    work.slurm.again(job)
    work.over(job)
    assert [attempts(status) for status in work.statuses()] == [[1, 2]], work.output()


@says("it saves and runs `scontrol requeue` itself, in Python or in its shell", "goes on as the same run")
def test_a_shell_that_traps_the_signal_and_requeues_goes_on_with_its_run(work):
    work = work(SAVES)
    trap = "trap 'kill -TERM $CHILD; wait $CHILD; scontrol requeue $SLURM_JOB_ID' USR1"
    job = work.submit(f"python train.py &\nCHILD=$!\n{trap}\nwait\nwait\n", "--signal=B:USR1@60")
    work.slurm.call("scancel", "--batch", "--signal=USR1", job)
    work.slurm.again(job)
    work.over(job)
    assert [attempts(status) for status in work.statuses()] == [[1, 2]], work.output()


@pytest.mark.parametrize("script, config, difference", [
    ('[ "$SLURM_RESTART_COUNT" ] && MORE="--resume last.ckpt"\npython train.py $MORE\n', '{"lr": 0.1}',
     "--resume"),
    ("python train.py --out runs/$(date +%s.%N)\n", '{"lr": 0.1, "out": sys.argv[2]}', "out"),
    ("python train.py\n", '{"lr": 0.1, "begun": time.time()}', "begun"),
], ids=["resume", "output folder", "date"])
@says("requeued with other arguments or another config", "goes on as the same run, and says what differs")
def test_a_requeued_job_with_other_arguments_goes_on_with_its_run_and_says_so(
        work, script, config, difference):
    work = work((BEGIN + GOES_ON).replace('{"lr": 0.1}', config))
    job = work.submit(script)
    work.slurm.call("scontrol", "requeue", job)
    work.slurm.again(job)
    work.over(job)
    assert [attempts(status) for status in work.statuses()] == [[1, 2]], work.output()
    assert any(difference in line for line in work.output().splitlines()
               if line.startswith("runicorn:")), work.output()


@says("requeued, an array", "each task goes on as its own run")
def test_each_task_of_an_array_goes_on_with_its_own_run(work):
    work = work()
    job = work.submit(PLAIN, "--array=0-2", runs=3)
    folders = {small(run, "meta")["slurm"]["array_task_id"]: run for run in runs(work.folder)}
    assert sorted(folders) == ["0", "1", "2"]
    for task in folders:
        work.slurm.call("scontrol", "requeue", f"{job}_{task}")
    for task in folders:
        work.slurm.again(f"{job}_{task}")
        work.over(f"{job}_{task}")
    assert [attempts(status) for status in work.statuses()] == [[1, 2]] * 3, work.output()
    assert {small(run, "meta")["slurm"]["array_task_id"]: run for run in runs(work.folder)} == folders


# -- several experiments in one job --------------------------------------------------------------------------

SWEEP = BEGIN + """
run = runicorn.init(project="p", name="n", config={"lr": 0.1}, summary=None)
run.summary["task"] = os.environ["SLURM_STEP_ID"] + ":" + os.environ["SLURM_PROCID"]
for step in range(5 if os.environ.get('SLURM_RESTART_COUNT') else 5000):
    run.log({"task": int(os.environ["SLURM_PROCID"])})
    time.sleep(0.02)
""".replace(", summary=None", "")


def requeue(work, job):
    work.slurm.call("scontrol", "requeue", job)
    work.slurm.again(job)
    work.over(job)


def tasks(work):
    """Return the (step, task) that each run's summary names, and check that no row is another task's."""
    found = []
    for run in runs(work.folder):
        step, task = small(run, "summary")["task"].split(":")
        every = [row for path in sorted(run.glob("events*.jsonl")) for row in rows(run, path.name)]
        assert {row["data"]["task"] for row in every} == {int(task)}
        found.append((step, task))
    return sorted(found)


@says("requeued, `srun -n 4 python sweep.py` or several steps",
      "each task of each step goes on as its own run")
def test_the_tasks_of_a_sweep_are_four_runs_and_stay_four(work):
    work = work(SWEEP)
    job = work.submit("srun python train.py\n", "--ntasks=4", runs=4)
    requeue(work, job)
    assert [attempts(status) for status in work.statuses()] == [[1, 2]] * 4, work.output()
    assert tasks(work) == [("0", str(task)) for task in range(4)]


@says("requeued, `srun -n 4 python sweep.py` or several steps",
      "each task of each step goes on as its own run")
def test_two_steps_at_once_are_two_runs_and_stay_two(work):
    work = work(SWEEP)
    step = "srun --exact -n1 -c1 python train.py &\n"
    job = work.submit(f"{step}sleep 2\n{step}wait\n", "--ntasks=2", runs=2)
    requeue(work, job)
    assert [attempts(status) for status in work.statuses()] == [[1, 2]] * 2, work.output()
    assert tasks(work) == [("0", "0"), ("1", "0")]


@says("a step started once more in the same job", "a new run")
def test_a_step_that_is_started_once_more_in_the_same_job_is_a_new_run(work):
    work = work(BEGIN + """
run = runicorn.init(project="p", name="n", config={"lr": 0.1})
run.log({"loss": 1.0})
sys.exit(os.environ["SLURM_STEP_ID"] == "0")
""")
    job = work.submit("srun -n1 python train.py || srun -n1 python train.py\n", runs=2)
    work.over(job)
    assert sorted(work.states()) == ["failed", "finished"]


# -- distributed launches ------------------------------------------------------------------------------------

RANKS = BEGIN + """
run = runicorn.init(project="p", name="n", config={"lr": 0.1}, all_ranks=True)
for step in range(20 if {"SHORT", "SLURM_RESTART_COUNT"} & set(os.environ) else 5000):
    run.log({"rank": run.rank})
    time.sleep(0.1)
"""


def ranks(run, attempt=1):
    """Return the ranks that wrote into a run in one attempt (list of int); no file holds another rank's
    rows."""
    found = []
    for path in run.glob("events*.jsonl"):
        rank, number = re.fullmatch(r"events(?:\.rank(\d+))?(?:\.(\d+))?\.jsonl", path.name).groups()
        if int(number or 1) == attempt:
            assert {row["data"]["rank"] for row in rows(run, path.name)} == {int(rank or 0)}, path
            found.append(int(rank or 0))
    return sorted(found)


LAUNCH = "export MASTER_ADDR=$(hostname) MASTER_PORT=29511\nsrun python train.py\n"


@says("a launch with `all_ranks=True`, on one node or several", "one run of all its ranks, requeued too")
def test_a_launch_by_srun_is_one_run_of_all_its_ranks(work):
    work = work(RANKS)
    job = work.submit(LAUNCH, "--ntasks=4", SHORT="1")
    work.over(job)
    run, = runs(work.folder)
    assert ranks(run) == [0, 1, 2, 3] and work.states() == ["finished"]


@says("a launch with `all_ranks=True`, on one node or several", "one run of all its ranks, requeued too")
def test_a_launch_over_two_nodes_is_one_run(work):
    work = work(RANKS)
    job = work.submit(LAUNCH, "--nodes=2", "--ntasks-per-node=2", SHORT="1")
    work.over(job)
    run, = runs(work.folder)
    assert ranks(run) == [0, 1, 2, 3] and work.states() == ["finished"]


@says("a launch with `all_ranks=True`, on one node or several", "one run of all its ranks, requeued too")
def test_a_launch_that_is_requeued_goes_on_with_all_its_ranks(work):
    work = work(RANKS)
    job = work.submit(LAUNCH, "--ntasks=3")
    until(lambda: ranks(runs(work.folder)[0]) == [0, 1, 2])
    requeue(work, job)
    run, = runs(work.folder)
    assert ranks(run) == ranks(run, 2) == [0, 1, 2] and attempts(*work.statuses()) == [1, 2], work.output()


@says("two launches in one job", "two runs")
def test_two_launches_in_one_step_are_two_runs(work):
    work = work(RANKS)
    job = work.submit(
        "srun bash -c 'python -m torch.distributed.run --nproc-per-node=2 --master-addr=127.0.0.1 "
        "--master-port=$((29600 + SLURM_PROCID)) train.py'\n", "--ntasks=2", runs=2, SHORT="1")
    work.over(job)
    assert [ranks(run) for run in runs(work.folder)] == [[0, 1]] * 2, work.output()
    assert work.states() == ["finished"] * 2


@says("two launches in one job", "two runs")
def test_a_launch_started_once_more_in_the_same_job_is_a_run_of_its_own(work):
    work = work(RANKS)
    job = work.submit(f"{LAUNCH}srun python train.py\n", "--ntasks=2", runs=2, SHORT="1")
    work.over(job)
    assert [ranks(run) for run in runs(work.folder)] == [[0, 1]] * 2, work.output()


# -- submitit ------------------------------------------------------------------------------------------------

SUBMITIT = BEGIN + """
import submitit

class Training:
    def __call__(self, resume=None):
        run = runicorn.init(project="p", name="n", config={"lr": 0.1, "resume": resume})
        for step in range(5 if resume else 5000):
            run.log({"loss": 1.0})
            time.sleep(0.02)

    def checkpoint(self, resume=None):
        return submitit.helpers.DelayedSubmission(self, "last.ckpt")

if __name__ == "__main__":
    executor = submitit.AutoExecutor("submitit")
    executor.update_parameters(timeout_min=60, slurm_partition="low", slurm_signal_delay_s=30,
                               cpus_per_task=1)
    print(executor.submit(Training()).job_id)
"""


@says("requeued, a job of submitit", "goes on as the same run")
def test_a_job_of_submitit_that_is_preempted_goes_on_with_its_run(work):
    import submitit  # noqa: F401  what the script needs, said here if it is absent
    work = work(SUBMITIT)
    submit = work.slurm.sbatch(work.folder, "python train.py\n", **environment(work.folder))
    work.over(submit, "COMPLETED")
    job = re.search(r"^(\d+)$", work.output(), re.M)[1]
    until(lambda: len(work.logging()) == 1, work.output)
    work.slurm.call("scancel", "--signal=USR2", job)
    work.slurm.again(job)
    work.over(job)
    logs = "\n".join(path.read_text() for path in work.folder.glob("submitit/*.err"))
    assert [attempts(status) for status in work.statuses()] == [[1, 2]], logs
    assert work.states() == ["finished"] and shown(runs(work.folder)[0])
