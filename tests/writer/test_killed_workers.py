"""Workers of a real DataLoader are killed: PyTorch's SIGCHLD handler then raises in whatever Python code
runs, ours too."""

import subprocess
import sys
import textwrap

import pytest
import tally
from scripts import environment, only, small, start

TRAIN = textwrap.dedent("""
    import faulthandler, os, random, signal, sys, threading, time
    import torch
    import runicorn
    faulthandler.dump_traceback_later(90)       # of what hangs
    class Numbers(torch.utils.data.Dataset):
        def __len__(self):
            return 100000
        def __getitem__(self, index):
            return torch.tensor(float(index))
    def kill(workers, after):
        time.sleep(after)
        try:
            os.kill(random.choice(workers).pid, signal.SIGKILL)
        except ProcessLookupError:
            pass            # it is dead and gone; a second traceback would be printed into the first
    if __name__ == "__main__":
        after, how = float(sys.argv[1]), sys.argv[2]
        run = runicorn.init(project="p", name="n")
        loader = iter(torch.utils.data.DataLoader(Numbers(), batch_size=4, num_workers=2))
        next(loader)
        threading.Thread(target=kill, args=(loader._workers, after), daemon=True).start()
        if how == "caught":
            try:
                for batch in loader:
                    run.log({"sum": batch.sum()})
            except Exception:
                # RuntimeError by PyTorch's handler, or ConnectionResetError where the worker was sending
                sys.exit(3)
        elif how == "finally":
            try:
                for batch in loader:
                    run.log({"sum": batch.sum()})
            finally:
                run.finish()
        elif how == "two":
            for worker in loader._workers:
                os.kill(worker.pid, signal.SIGKILL)
            for batch in loader:
                run.log({"sum": batch.sum()})
        for batch in loader:
            run.log({"sum": batch.sum()})
            print("a line")
    """)


def crash(folder, after, how):
    """Return (exit code, stderr) of a training one of whose workers is killed `after` seconds after its first
    batch."""
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    process = subprocess.Popen([sys.executable, "train.py", str(after), how], cwd=folder,
                               env=environment(folder), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"{how} hangs:\n{process.communicate()[1]}")
    return process.returncode, err


HOW = ("plain", "two", "finally", "caught", "plain")
HUNDREDS, FEW = 300, 4
# PyTorch is loaded once for hundreds of trainings: each is a child that goes on with TRAIN to the end of its
# Python, `runicorn` still to be imported. Says "attempt exit-code" of each; one that hangs is killed.
FORKS = textwrap.dedent("""
    import os, sys, time
    import torch
    for attempt in range({count}):
        child, until, status = os.fork(), time.monotonic() + 120, None
        if not child:
            os.mkdir(str(attempt))
            os.chdir(str(attempt))
            os.environ.update(HOME=os.getcwd(), RUNICORN_HOME=os.path.abspath("home"),
                              RUNICORN_DIR=os.path.abspath("root"))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            sys.argv[1:] = str(0.002 * (attempt % 100)), {how}[attempt % {hows}]
            break
        while status is None:
            if time.monotonic() > until:
                os.kill(child, 9)
            done, ended = os.waitpid(child, os.WNOHANG if time.monotonic() < until else 0)
            status = os.waitstatus_to_exitcode(ended) if done else time.sleep(0.02)
        print(attempt, status, flush=True)
    else:
        sys.exit()
    """)


def check(how, code, folder, err):
    said = small(only(folder), "status")
    assert code == (3 if how == "caught" else 1), err
    assert (said["status"], said["exit_code"]) == ("failed", code), (how, said, err)
    assert how == "caught" or said["error"].splitlines()[-1] in err


def crashes(folder, count):
    """Return what is wrong of `count` trainings whose workers were killed (list of str)."""
    wrong, tried = [], 0
    with start(folder, FORKS.format(count=count, how=HOW, hows=len(HOW)) + TRAIN) as process:
        for line in process.stdout:
            attempt, code = map(int, line.split())
            place = folder / str(attempt)
            try:
                check(HOW[attempt % len(HOW)], code, place, (place / "stderr").read_text())
            except (AssertionError, OSError) as error:      # the others go on, and are counted
                wrong.append(f"attempt {attempt}: {error}")
            tried += 1
        assert process.wait() == 0 and tried == count, process.stderr.read()
    return wrong


def test_a_training_whose_workers_are_killed_has_failed(tmp_path):
    assert crashes(tmp_path, FEW) == []


@pytest.mark.frameworks
def test_a_training_that_began_by_itself_has_failed_too(tmp_path):
    code, err = crash(tmp_path / "fresh", 0.002, "plain")
    check("plain", code, tmp_path / "fresh", err)


@pytest.mark.chaos
def test_hundreds_of_trainings_whose_workers_are_killed_have_failed(tmp_path):
    wrong = crashes(tmp_path, HUNDREDS)
    tally.tried(HUNDREDS)
    assert not wrong, "\n\n".join(wrong)
