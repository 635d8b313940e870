"""Ends by way of command-line and asynchronous libraries, pools, threads, destructors and limits, each beside
a stub."""

import re
import signal
import subprocess
import sys

import pytest
from endings import BEGIN, READY, both, stub, told
from scripts import environment

FINISHED = ("finished", "finished", 0, None, 1)
INTERRUPTED = ("interrupted", "ended by SIGINT", None, "SIGINT", 1)
POOL = "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as pool:\n"
CLOSES = ("def values():\n    try: yield\n    finally: sys.exit(3)\nopen_values = values()\n"
          "next(open_values)\n")


def failed(reason, code):
    return "failed", reason, code, None, 1


WAYS = {
    "click, exit": ("import click\n@click.command()\ndef main(): click.get_current_context().exit(3)\nmain()",
                    failed("exit code 3", 3)),
    "click, usage": (
        "import click\n@click.command()\n@click.option('--n', required=True)\ndef main(n): pass\nmain()",
        failed("exit code 2", 2)),
    "click, by itself": ("import click\n@click.command()\ndef main(): pass\nmain()", FINISHED),
    "typer, exit": ("import typer\ndef main(): raise typer.Exit(4)\ntyper.run(main)",
                    failed("exit code 4", 4)),
    "asyncio, exit": ("import asyncio\nasync def main(): sys.exit(5)\nasyncio.run(main())",
                      failed("exit code 5", 5)),
    "a pool, KeyboardInterrupt": (
        POOL + "    pool.submit(lambda: (_ for _ in ()).throw(KeyboardInterrupt)).result()", INTERRUPTED),
    "a pool, exit": (POOL + "    pool.submit(sys.exit, 7).result()", failed("exit code 7", 7)),
    "interrupt_main": ("import _thread\n_thread.interrupt_main()\ntime.sleep(3)", INTERRUPTED),
    "recursion": ("def deeper(): deeper()\ndeeper()",
                  failed("RecursionError: maximum recursion depth exceeded", 1)),
    "an error at exit": ("import atexit\natexit.register(lambda: 1 / 0)", FINISHED),
    "exit at exit": ("import atexit\natexit.register(sys.exit, 3)", FINISHED),
    "exit in a thread":
    ("thread = threading.Thread(target=sys.exit, args=(3,))\nthread.start()\nthread.join()", FINISHED),
    "exit in finally": ("try: 1 / 0\nfinally: sys.exit(3)", failed("exit code 3", 3)),
    "exit undone in finally": ("def main():\n    try: sys.exit(3)\n    finally: return\nmain()", FINISHED),
    "exit in __del__": ("class Thing:\n    def __del__(self): sys.exit(3)\nthing = Thing()\ndel thing",
                        FINISHED),
    "exit in a generator's close": (CLOSES + "open_values.close()", failed("exit code 3", 3)),
    "exit in a generator left open": (CLOSES, FINISHED),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("way", WAYS)
def test_a_library_or_an_unusual_place_ends_the_run(tmp_path, way):
    code, expected = WAYS[way]
    both(tmp_path, BEGIN + code + "\n")
    assert told(tmp_path) == [expected]


@pytest.mark.few("nohup")
@pytest.mark.parametrize("before, code, signals, expected", [
    (("timeout", "-s", "INT", "4"), "time.sleep(60)", (), INTERRUPTED),
    (("nohup",), READY + "time.sleep(1)\n" + READY + "time.sleep(60)", (signal.SIGHUP, signal.SIGTERM),
     ("interrupted", "ended by SIGTERM", None, "SIGTERM", 1)),
    (("bash", "-c", 'ulimit -S -t 3; exec "$@"', "bash"), "while True: pass", (),
     ("interrupted", "ended by SIGXCPU", None, "SIGXCPU", 1)),
    ((), POOL
     + "    future = pool.submit(time.sleep, 1)\n    print('ready', flush=True)\n    future.result()",
     (signal.SIGINT,), INTERRUPTED),
], ids=["timeout -s INT", "nohup", "ulimit -t", "Ctrl+C in a pool"])
def test_what_starts_or_limits_a_script_ends_the_run(tmp_path, before, code, signals, expected):
    both(tmp_path, BEGIN + code + "\n", signals, before=before)
    assert told(tmp_path) == [expected]


UNSEEN = """
import atexit
def at_exit(): sys.exit(5)
atexit.register(at_exit)
class Leaves:
    def __del__(self): sys.exit(4)
leaves = Leaves()
del leaves
"""


@pytest.mark.few(1)
@pytest.mark.parametrize("code, arguments, expected", [
    (UNSEEN, (), FINISHED), ("def main(): sys.exit(3)\nmain()", ("-i",), failed("exit code 3", 3)),
    ("sys.exit()", ("-i",), FINISHED), ("1 / 0", ("-i",), failed("ZeroDivisionError: division by zero", 1)),
], ids=["at exit and in __del__", "-i, exit code 3", "-i, exit", "-i, error"])
def test_a_traceback_that_python_prints_of_an_exit_shows_nothing_of_ours(tmp_path, code, arguments, expected):
    """Before Python 3.12 a function stands before sys.exit."""
    said = []
    for name, path in (("without", stub(tmp_path)), ("with", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text(BEGIN + code + "\n")
        env = environment(tmp_path / name) if path is None else environment(tmp_path / name, PYTHONPATH=path)
        done = subprocess.run([sys.executable, *arguments, "train.py"], cwd=tmp_path / name, env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        said.append((done.returncode,
                     re.sub("0x[0-9a-f]+", "", done.stderr.replace(str(tmp_path / name), ""))))
    assert said[0] == said[1] and (said[0][1] or "del" not in code)
    assert told(tmp_path) == [expected]


def test_a_signal_that_the_kernel_keeps_from_pid_1_ends_no_run(tmp_path):
    """Of a container's first process the kernel ignores what has the default action; what stops the container
    kills it later."""
    code = BEGIN + "assert os.getpid() == 1\nos.kill(1, signal.SIGTERM)\ntime.sleep(0.3)\nrun.log({'b': 1})\n"
    both(tmp_path, code, before=("unshare", "-pf", "--mount-proc"))
    assert told(tmp_path) == [("interrupted", "ended by SIGTERM", 0, "SIGTERM", 2)]


HYDRA = """
import sys, hydra, runicorn
@hydra.main(version_base=None, config_path=None)
def main(config):
    run = runicorn.init(project='p', name='n', config=config)
    run.log({'a': 1})
    if config.x == 2:
        raise ValueError('two')
    if config.x == 4:
        sys.exit(4)
sys.argv = ['train.py', *%r]
main()
%s
"""
NEXT, TWO = ("finished", "ended by the next init()"), ("failed", "ValueError: two")
RETURNED, CODE = ("finished", "its job of the multirun returned"), ("failed", "exit code 4")


@pytest.mark.few("-m +x=1,3---1", tier="frameworks")
@pytest.mark.parametrize("full", ["0", "1"])
@pytest.mark.parametrize("arguments, after, said", [
    (["-m", "+x=1,2,3"], "", [NEXT, TWO, RETURNED]),
    (["-m", "+x=1,2"], "", [NEXT, TWO]),
    (["-m", "+x=2,2"], "", [TWO, TWO]),
    (["-m", "+x=1,3"], "", [NEXT, FINISHED[:2]]),
    (["-m", "+x=1,3"], "runicorn.finish(exit_code=4)", [NEXT, CODE]),
    (["-m", "+x=3,4"], "", [NEXT, CODE]),
    (["+x=2"], "", [TWO]),
    (["+x=3"], "sys.exit(4)", [CODE]),
], ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "")
def test_each_job_of_hydras_says_how_it_ended_whatever_hydra_leaves_with(
        tmp_path, monkeypatch, full, arguments, after, said):
    monkeypatch.setenv("HYDRA_FULL_ERROR", full)
    both(tmp_path, HYDRA % (arguments, after))
    assert [run[:2] for run in told(tmp_path)] == said
