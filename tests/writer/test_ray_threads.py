"""A trial in a thread of Ray's shape: what the thread catches and hands over ends the run that the thread
began."""

import pytest
from scripts import rows, runs, small, train

RUNNER = """
import queue, sys, threading, time
import runicorn

class StartTraceback(Exception):
    pass

class RunnerThread(threading.Thread):
    def __init__(self, target, error_queue):
        super().__init__(daemon=True)
        self._aim, self._error_queue = target, error_queue
    def _propagate_exception(self, error):
        self._error_queue.put(error)
    def run(self):
        try:
            self._aim()
        except StopIteration:
            pass
        except SystemExit as error:
            if error.code != 0:
                self._propagate_exception(error)
        except BaseException as error:
            self._propagate_exception(error)

errors = queue.Queue()
def trial(end, name):
    runicorn.init(project="p", name=name, system=False)
    runicorn.log({"loss": 1.0})
    try:
        exec(end)
    except Exception as error:
        raise StartTraceback from error
def runs_trial(end, name="n"):
    thread = RunnerThread(lambda: trial(end, name), errors)
    thread.start()
    thread.join()
"""


@pytest.mark.few(2)
@pytest.mark.parametrize("end, status, said, handed", [
    ("raise RuntimeError(7)", "failed", "RuntimeError: 7", "['StartTraceback']"),
    ("sys.exit(3)", "failed", None, "['SystemExit']"),
    ("raise KeyboardInterrupt", "interrupted", None, "['KeyboardInterrupt']"),
    ("sys.exit(0)", "finished", None, "[]"),
    ("pass", "finished", None, "[]"),
])
@pytest.mark.parametrize("then", ["", "runs_trial('pass', 'o')", "runicorn.init(project='p', name='o')"],
                         ids=["exit", "next trial", "next init"])
def test_a_trial_says_how_it_ended(tmp_path, end, status, said, handed, then):
    out, err = train(tmp_path,
                     RUNNER
                     + f"runs_trial({end!r})\n{then}\nprint([type(errors.get()).__name__ for _ in "
                       "range(errors.qsize())])")
    run, = (run for run in runs(tmp_path) if run.parts[-3] == "n")
    assert (small(run, "status")["status"], small(run, "status").get("error")) == (status, said)
    assert out.strip() == handed and len(rows(run)) == 1 and "Error" not in err
