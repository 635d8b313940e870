"""Workers of a real DataLoader are killed: PyTorch's SIGCHLD handler then raises in whatever Python code runs, ours too."""

import subprocess
import sys
import textwrap

import pytest
import tally
from scripts import environment, only, small

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
        os.kill(random.choice(workers).pid, signal.SIGKILL)
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
            except Exception:       # RuntimeError by PyTorch's handler, or ConnectionResetError where the worker was sending
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
    """Return (exit code, status.json, stderr) of a training one of whose workers is killed `after` seconds after its first batch."""
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    process = subprocess.Popen([sys.executable, "train.py", str(after), how], cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"{how} hangs:\n{process.communicate()[1]}")
    return process.returncode, small(only(folder), "status"), err


def check(folder, attempt):
    how = ("plain", "plain", "two", "finally", "caught")[attempt % 5]
    code, said, err = crash(folder / str(attempt), 0.002 * (attempt % 100), how)
    assert code == (3 if how == "caught" else 1), err
    assert (said["status"], said["exit_code"]) == ("failed", code), (how, said, err)
    assert how == "caught" or said["error"].splitlines()[-1] in err


def test_a_training_whose_workers_are_killed_has_failed(tmp_path):
    for attempt in range(12):
        check(tmp_path, attempt)


@pytest.mark.chaos
def test_hundreds_of_trainings_whose_workers_are_killed_have_failed(tmp_path):
    for attempt in range(300):
        check(tmp_path, attempt)
        tally.tried()
