"""The writer inside a real Jupyter kernel: cells show what they print, runs record it, errors and ends are
what they are."""

import json
import signal
import time

import pytest
from later import Later

jupyter_client = Later("jupyter_client.manager")
BEGIN = "import runicorn\nrun = runicorn.init(project='p', name='n')\nprint('first cell')"


class Kernel:
    """A kernel; `cell(code)` returns (status, text its streams showed, names of errors). Its runs go below
    `root`."""

    def __init__(self, root):
        self.root = root
        self.manager, self.client = jupyter_client.start_new_kernel(
            extra_arguments=["--log-level=ERROR"])

    def cell(self, code):
        shown, errors = [], []

        def heard(message):
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                shown.append(message["content"]["text"])
            if message["msg_type"] == "error":
                errors.append(message["content"]["ename"])

        reply = self.client.execute_interactive(code, timeout=60, output_hook=heard)
        return reply["content"]["status"], "".join(shown), errors

    def close(self, kill=False):
        if kill:
            self.manager.signal_kernel(signal.SIGKILL)
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=kill)
        self.manager.cleanup_resources()

    def runs(self, name):
        return sorted(self.root.glob(f"p/{name}/runs/*"))


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kernel = Kernel(tmp_path / "root")
    yield kernel
    if kernel.manager.has_kernel:
        kernel.close(kill=True)


def status_of(folder):
    return json.loads((folder / "status.json").read_text(encoding="utf-8"))["status"]


def logged(folder):
    return [json.loads(line)["data"]
            for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def printed(folder):
    return [line.split("] ", 1)[1] for line in (folder / "logs.txt").read_text(encoding="utf-8").splitlines()]


def test_cells_log_and_print_into_one_run_until_the_next_init(kernel):
    assert kernel.cell(BEGIN) == ("ok", "first cell\n", [])
    assert (kernel.cell("for i in range(3):\n    run.log({'loss': i})\n    print('step', i)")[1]
            == "step 0\nstep 1\nstep 2\n")
    assert kernel.cell("1 / 0")[::2] == ("error", ["ZeroDivisionError"])
    assert kernel.cell("run.log({'loss': 9}); print('still here')") == ("ok", "still here\n", [])
    first, = kernel.runs("n")
    assert status_of(first) == "running"            # an error in a cell is not the end of a notebook's run
    assert kernel.cell(
        "other = runicorn.init(project='p', name='m'); other.log({'a': 1}); print('second run')")[0] == "ok"
    kernel.close()
    second, = kernel.runs("m")
    assert status_of(first) == status_of(second) == "finished"
    assert logged(first) == [{"loss": 0}, {"loss": 1}, {"loss": 2}, {"loss": 9}]
    assert logged(second) == [{"a": 1}]
    assert printed(first)[:5] == ["first cell", "step 0", "step 1", "step 2", "still here"]
    assert printed(second) == ["second run"]


@pytest.mark.long
def test_what_a_thread_prints_after_its_cell_is_logged(kernel):
    thread = "import threading, time\n" + BEGIN + """
def work():
    for number in range(80):
        print('thread', number)
        time.sleep(0.02)
worker = threading.Thread(target=work)
worker.start()"""
    kernel.cell(thread)
    time.sleep(0.5)
    kernel.cell("print('second cell')")
    time.sleep(0.5)
    kernel.cell("worker.join(); print('third cell'); run.finish()")
    kernel.cell(BEGIN.replace("'n'", "'again'")
                + "\ntimer = threading.Timer(1, print, ['after the cell']); timer.start()")
    time.sleep(1.5)
    kernel.cell("timer.join(); print('last cell')")
    kernel.close()
    (first,), (again,) = kernel.runs("n"), kernel.runs("again")
    lines = printed(first)
    assert sorted(line for line in lines if line.startswith("thread")) == sorted(
        f"thread {number}" for number in range(80))
    assert [line for line in lines if "cell" in line] == ["first cell", "second cell", "third cell"]
    assert printed(again) == ["first cell", "after the cell", "last cell"]


@pytest.mark.long
def test_cells_that_end_slowly_are_captured(kernel):
    # a figure that is drawn when its cell is over, say
    kernel.cell(BEGIN + "\nimport time\nget_ipython().events.register('post_run_cell', "
                        "lambda result: time.sleep(0.3))")
    for number in range(3):
        kernel.cell(f"print('cell', {number})")
    kernel.cell("run.finish()")
    run, = kernel.runs("n")
    assert printed(run) == ["first cell", "cell 0", "cell 1", "cell 2"]


@pytest.mark.long
def test_descriptor_capture_falls_back_in_a_kernel(kernel):
    kernel.cell(BEGIN.replace("name='n'", "name='n', capture='fd'"))
    kernel.close()
    run, = kernel.runs("n")
    assert printed(run)[-1] == "first cell" and status_of(run) == "finished"


def test_a_killed_kernel_loses_no_row(kernel):
    kernel.cell(BEGIN)
    kernel.cell("for i in range(500):\n    run.log({'loss': i})")
    kernel.close(kill=True)
    run, = kernel.runs("n")
    assert [row["loss"] for row in logged(run)] == list(range(500)) and status_of(run) == "running"


def whole_status(folder):
    return json.loads((folder / "status.json").read_text(encoding="utf-8"))


def test_the_last_cell_is_how_a_notebook_ended(kernel):
    kernel.cell(BEGIN)
    kernel.cell("run.log({'a': 1}); raise ValueError('boom')")
    kernel.close()
    run, = kernel.runs("n")
    assert whole_status(run)["status"] == "failed" and whole_status(run)["error"] == "ValueError: boom"


@pytest.mark.long
def test_a_cell_that_failed_and_then_another_init(kernel):
    kernel.cell(BEGIN)
    kernel.cell("1 / 0")
    kernel.cell(BEGIN.replace("'n'", "'second'"))
    kernel.cell("run.log({'a': 1})")
    kernel.cell(BEGIN.replace("'n'", "'third'"))
    kernel.close()
    (first,), (second,), (third,) = (kernel.runs(name) for name in ("n", "second", "third"))
    assert whole_status(first)["status"] == "failed" and "ZeroDivisionError" in whole_status(first)["error"]
    assert [whole_status(second).get(key) for key in ("status", "exit_code", "ended_by")] == [
        "finished", None, "init"]
    assert [whole_status(third).get(key) for key in ("status", "exit_code", "ended_by")] == [
        "finished", 0, None]


@pytest.mark.long
def test_an_interrupted_cell_is_not_the_end_if_another_follows(kernel):
    kernel.cell(BEGIN)
    kernel.cell("import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(5)\n"
                "except KeyboardInterrupt: pass")
    kernel.cell("run.log({'a': 1})")
    kernel.close()
    run, = kernel.runs("n")
    assert whole_status(run)["status"] == "finished" and whole_status(run)["exit_code"] == 0
