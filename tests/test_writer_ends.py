"""How runs end, each in a process of its own that really ends that way."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import tally
from scripts import environment, only, rows, runs, shown, small, start, train

# subprocess is imported first, as torch does: CPython forgets an uncaught KeyboardInterrupt (and exits with 1, not by SIGINT) when a thread
# still imports a module that calls eval() on text, which resets the flag (run_eval_code_obj in Python/pythonrun.c).
BEGIN = "import os, signal, subprocess, sys, threading, time\nimport runicorn\n"
BEGIN += "run = runicorn.init(project='p', name='n', config={'lr': 0.1})\nrun.log({'loss': 1.0})\n"
LIVE = "root/.runicorn/live"


def status(folder):
    return small(only(folder), "status")


def is_over(folder):
    return not list((folder / LIVE).glob("*.json"))


@pytest.mark.parametrize("code, expect, state, exit_code", [
    ("run.finish()", 0, "finished", 0),
    ("run.finish(exit_code=3)", 0, "failed", 3),
    ("", 0, "finished", 0),
    ("sys.exit(0)", 0, "finished", 0),
    ("sys.exit(3)", 3, "failed", 3),
    ("sys.exit('out of memory')", 1, "failed", 1),
    ("try:\n    sys.exit(2)\nexcept SystemExit:\n    run.log({'loss': 0.5})", 0, "finished", 0),
    ("try:\n    sys.exit(2)\nexcept SystemExit:\n    pass\nrun.finish()", 0, "finished", 0),
    ("try:\n    sys.exit(2)\nfinally:\n    run.finish()", 2, "failed", 2),
    ("1 / 0", 1, "failed", 1),
    ("try:\n    1 / 0\nfinally:\n    run.finish()", 1, "failed", 1),
    ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    run.finish()", 0, "finished", 0),
    ("with run:\n    raise SystemExit(5)", 5, "failed", 5),
    ("raise KeyboardInterrupt", -signal.SIGINT, "interrupted", None),
    ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", -signal.SIGINT, "interrupted", None),
    ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)", -signal.SIGTERM, "interrupted", None),
    ("os.kill(os.getpid(), signal.SIGHUP); time.sleep(5)", -signal.SIGHUP, "interrupted", None),
], ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "")
def test_the_way_a_run_ends(tmp_path, code, expect, state, exit_code):
    train(tmp_path, BEGIN + code, expect)
    found = status(tmp_path)
    assert (found["status"], found["exit_code"]) == (state, exit_code)
    assert found["ended_at"] >= found["started_at"] and is_over(tmp_path)
    if "1 / 0" in code and state == "failed":
        assert found["error"] == "ZeroDivisionError: division by zero" and "1 / 0" in found["traceback"]
    if state == "interrupted":
        assert found["signal"] == signal.Signals(-expect).name


def test_the_traceback_still_reaches_the_terminal(tmp_path):
    _, err = train(tmp_path, BEGIN + "raise ValueError('the data is gone')", 1)
    assert err.count("ValueError: the data is gone") == 1
    assert "ValueError: the data is gone" in shown(only(tmp_path))


def test_an_exception_in_another_thread_is_noted_and_the_run_goes_on(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        def work():
            raise ValueError("x")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        run.log({"a": 1})
        """))
    assert status(tmp_path)["status"] == "finished" and "ValueError: x" in status(tmp_path)["thread_error"]
    assert len(rows(only(tmp_path))) == 2


@pytest.mark.parametrize("code", ["os._exit(7)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()"])
def test_a_death_that_nobody_can_see_leaves_a_stopped_heart(tmp_path, code):
    process = start(tmp_path, BEGIN + "print('last words')\n" + code)
    process.communicate(timeout=60)
    assert status(tmp_path)["status"] == "running" and not is_over(tmp_path)
    assert len(rows(only(tmp_path))) == 1 and shown(only(tmp_path)) == ["last words"]


def test_a_script_that_catches_sigterm_and_goes_on_stays_running(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        saved = []
        signal.signal(signal.SIGTERM, lambda number, frame: saved.append(number))
        os.kill(os.getpid(), signal.SIGTERM)
        print(saved, open(run.dir / "status.json").read().count("running"))
        run.log({"loss": 0.5})
        run.finish(exit_code=0)
        """))
    assert out.strip() == "[15] 1"
    assert status(tmp_path)["status"] == "finished" and len(rows(only(tmp_path))) == 2


def test_a_handler_set_before_init_is_called_and_decides(tmp_path):
    code = """
        import os, signal, sys
        import runicorn
        def save(number, frame):
            print("saved", number)
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        run = runicorn.init(project="p", name="n")
        os.kill(os.getpid(), signal.SIGTERM)
        """
    out, _ = train(tmp_path, textwrap.dedent(code))
    assert out == "saved 15\n"
    assert (status(tmp_path)["status"], status(tmp_path)["signal"]) == ("interrupted", "SIGTERM")


def test_a_handler_that_chains_to_ours_decides_too(tmp_path):
    """Frameworks call the handler they find; what was the default before us must not kill them then."""
    train(tmp_path, BEGIN + textwrap.dedent("""
        before = signal.getsignal(signal.SIGTERM)
        def mine(number, frame):
            if callable(before):
                before(number, frame)
        signal.signal(signal.SIGTERM, mine)
        os.kill(os.getpid(), signal.SIGTERM)
        run.log({"loss": 0.5})
        """))
    assert status(tmp_path)["status"] == "interrupted" and len(rows(only(tmp_path))) == 2


def test_an_ignored_signal_stays_ignored(tmp_path):
    code = BEGIN + "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    (tmp_path / "train.py").write_text(code)
    out = subprocess.run(["nohup", sys.executable, "train.py"], cwd=tmp_path, env=environment(tmp_path), stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=60, check=True).stdout
    assert out == "True\n"


def test_after_finish_the_process_is_as_it_was(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        run.finish()
        print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        print("write" in sys.stdout.__dict__, "write" in sys.stdout.buffer.__dict__, threading.active_count())
        """))
    assert out == "True True\nFalse False 1\n"


def test_init_in_a_thread_records_and_leaves_signals_alone(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import signal, threading
        import runicorn
        def work():
            run = runicorn.init(project="p", name="n")
            run.log({"a": 1})
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        """))
    assert status(tmp_path)["status"] == "finished"


# -- children -----------------------------------------------------------------------------------------------------

def test_a_forked_child_neither_logs_nor_ends_the_run(tmp_path):
    _, err = train(tmp_path, BEGIN + textwrap.dedent("""
        child = os.fork()
        if not child:
            run.log({"child": 1})
            print("from the child")
            run.summary["child"] = 1
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            sys.exit(3)
        os.waitpid(child, 0)
        assert "running" in (run.dir / "status.json").read_text()
        run.log({"loss": 0.5})
        """))
    assert [row["data"] for row in rows(only(tmp_path))] == [{"loss": 1.0}, {"loss": 0.5}]
    assert status(tmp_path)["status"] == "finished" and "from the child" not in shown(only(tmp_path))
    assert err.count("forked") == 1


def test_a_child_killed_by_sigterm_dies_by_it(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        child = os.fork()
        if not child:
            time.sleep(30)
        os.kill(child, signal.SIGTERM)
        print(os.WTERMSIG(os.waitpid(child, 0)[1]))
        """))
    assert out == "15\n" and status(tmp_path)["status"] == "finished"


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing_children_make_no_runs_of_their_own(tmp_path, method):
    """No `if __name__ == "__main__":` around init, as in most scripts; only the pool is guarded."""
    train(tmp_path, textwrap.dedent(f"""
        import multiprocessing
        import runicorn
        run = runicorn.init(project="p", name="n")
        def square(number):
            runicorn.log({{"child": number}})
            return number * number
        if __name__ == "__main__":
            with multiprocessing.get_context("{method}").Pool(2) as pool:
                run.log({{"sum": sum(pool.map(square, range(10)))}})
        """))
    assert [row["data"] for row in rows(only(tmp_path))] == [{"sum": 285}]
    assert status(tmp_path)["status"] == "finished"


def test_data_loader_workers_do_not_disturb(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import torch
        import runicorn
        class Numbers(torch.utils.data.Dataset):
            def __len__(self):
                return 16
            def __getitem__(self, index):
                runicorn.log({"worker": index})
                return torch.tensor(float(index))
        if __name__ == "__main__":
            run = runicorn.init(project="p", name="n")
            for epoch in range(2):
                for batch in torch.utils.data.DataLoader(Numbers(), batch_size=4, num_workers=2):
                    run.log({"sum": batch.sum()})
        """))
    assert [row["data"]["sum"] for row in rows(only(tmp_path))] == [6.0, 22.0, 38.0, 54.0] * 2
    assert status(tmp_path)["status"] == "finished"


def test_a_forked_child_may_begin_a_run_of_its_own(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        child = os.fork()
        if not child:
            mine = runicorn.init(project="p", name="child")
            mine.log({"child": 1})
            print("child prints")
            sys.exit(0)
        os.waitpid(child, 0)
        """))
    child, parent = sorted(runs(tmp_path))
    assert rows(child)[0]["data"] == {"child": 1} and shown(child) == ["child prints"] and small(child, "status")["status"] == "finished"
    assert small(parent, "status")["status"] == "finished" and len(rows(parent)) == 1


# -- killed at any moment -----------------------------------------------------------------------------------------

COUNT = """
import sys, os
import runicorn
run = runicorn.init(project="p", name=sys.argv[1] if len(sys.argv) > 1 else "n", capture=False, system=False)
pause = float(os.environ["PAUSE"])
import time
returned = os.open(os.environ["RETURNED"], os.O_WRONLY | os.O_CREAT)
step = 0
while True:
    run.log({"loss": 1 / (step + 1), "step": step}, step=step)
    os.pwrite(returned, b"%12d" % step, 0)      # what the script knows to have returned
    step += 1
    if pause:
        time.sleep(pause)
"""


def killed(folder, after, pause):
    """Kill a training `after` seconds after its first row; returns (last step whose log() returned, rows on disk)."""
    folder.mkdir()
    returned = folder / "returned"
    process = start(folder, COUNT, PAUSE=str(pause), RETURNED=str(returned))
    deadline = time.monotonic() + 30
    while not (returned.exists() and returned.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(after)
    process.kill()
    process.communicate()
    return int(returned.read_text()), rows(only(folder))


@pytest.mark.parametrize("pause", [0, 0.5])
def test_sigkill_loses_no_call_that_returned(tmp_path, pause):
    for attempt in range(6):
        last, found = killed(tmp_path / str(attempt), 0.013 * attempt * (1 if not pause else 10), pause)
        assert [row["step"] for row in found] == list(range(len(found))) and len(found) >= last + 1


@pytest.mark.chaos
@pytest.mark.parametrize("pause", [0, 0.5])
def test_sigkill_at_a_hundred_moments(tmp_path, pause):
    for attempt in range(100):
        last, found = killed(tmp_path / str(attempt), int.from_bytes(os.urandom(2), "big") / 65536 * (0.3 if not pause else 2), pause)
        tally.tried()
        assert [row["step"] for row in found] == list(range(len(found))) and len(found) >= last + 1
