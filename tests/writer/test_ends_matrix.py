"""Every way a script can end × the ways to start a process × who hears of it: what the run begun in that
process says."""

import signal

import pytest
from scripts import runs, small, train

SCRIPT = '''
import concurrent.futures, multiprocessing, os, signal, sys, time
import runicorn

def work(how):
    run = runicorn.init(project="p", name="n", system=False)
    run.log({"a": 1})
    if how == "returns":
        return 1
    if how == "caught":
        try:
            1 / 0
        except ZeroDivisionError:
            return 1
    if how == "uncaught":
        1 / 0
    if how == "sys.exit(3)":
        sys.exit(3)
    if how == "finish":
        return run.finish()
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(30)

class Data:
    def __init__(self, how):
        self.how = how
    def __len__(self):
        return 1
    def __getitem__(self, index):
        work(self.how)
        return index

if __name__ == "__main__":
    kind, how = sys.argv[1:]
    try:
        if kind == "script":
            work(how)
        elif kind in ("fork", "spawn", "forkserver"):
            child = multiprocessing.get_context(kind).Process(target=work, args=(how,))
            child.start()
            child.join()
            sys.exit(child.exitcode if child.exitcode >= 0 else 128 - child.exitcode)
        elif kind == "os.fork":
            child = os.fork()
            if not child:
                work(how)
                sys.exit(0)
            status = os.waitpid(child, 0)[1]
            sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
        elif kind == "Pool":
            pool = multiprocessing.get_context("fork").Pool(1)
            result = pool.apply_async(work, (how,))
            result.wait(2 if how in ("returns", "caught", "uncaught", "finish") else 1)
            pool.close()
            if result.ready():
                pool.join()
            else:
                pool.terminate()
        elif kind == "executor":
            with concurrent.futures.ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context("fork")) as executor:
                executor.submit(work, how).exception()
        elif kind == "DataLoader":
            import torch
            list(torch.utils.data.DataLoader(Data(how), num_workers=1))
    except BaseException as error:
        if kind in ("script", "os.fork"):
            raise
        print(type(error).__name__)
        sys.exit(error.code if isinstance(error, SystemExit) else 0)
'''
KINDS = ("script", "fork", "spawn", "forkserver", "os.fork", "Pool", "executor", "DataLoader")
HOWS = {"returns": ("finished", 0, None), "finish": ("finished", 0, None), "caught": ("finished", 0, None),
        "uncaught": ("failed", 1, None), "sys.exit(3)": ("failed", 3, None),
        "SIGTERM": ("interrupted", None, "SIGTERM"), "SIGHUP": ("interrupted", None, "SIGHUP"),
        "SIGUSR1": ("interrupted", None, "SIGUSR1"), "SIGINT": ("interrupted", None, "SIGINT")}
# Whoever runs the work catches what it raises, and goes on to leave as if nothing had been.
CAUGHT = {("Pool", "uncaught"): ("finished", 0, None), ("executor", "uncaught"): ("finished", 0, None),
          ("executor", "sys.exit(3)"): ("finished", 0, None),
          ("executor", "SIGINT"): ("interrupted", 0, "SIGINT"),
          ("Pool", "SIGINT"): ("interrupted", None, "SIGINT")}
# PyTorch's handler in C ends a worker when its parent says so, and nobody else hears of it.
CAUGHT.update({("DataLoader", how): ("running", None, None) for how in ("uncaught", "SIGTERM")})
counts = {"finished": 0, "failed": 0, "interrupted": 0, "running": 0}


@pytest.mark.few(5)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_of_ends(tmp_path, kind, how, capsys):
    state, code, name = CAUGHT.get((kind, how), HOWS[how])
    expect = (0 if kind in ("Pool", "executor", "DataLoader") else code if name is None
              else 128 + signal.Signals[name])
    if kind == "script" and name:
        expect = -signal.Signals[name]
    if how == "SIGINT" and kind in ("fork", "spawn", "forkserver"):
        expect = 1                      # multiprocessing prints the KeyboardInterrupt and leaves with 1
    train(tmp_path, SCRIPT.replace("kind, how = sys.argv[1:]", f"kind, how = {kind!r}, {how!r}"), expect)
    for run in runs(tmp_path):
        found = small(run, "status")
        counts[found["status"]] += 1
        with capsys.disabled():
            print(f"\n{kind} × {how}: {found['status']} {found.get('exit_code')} {found.get('signal')}   "
                  f"{counts}", end=" ")
    assert [(small(run, "status")["status"], small(run, "status").get("signal"))
            for run in runs(tmp_path)] == [(state, name)]
