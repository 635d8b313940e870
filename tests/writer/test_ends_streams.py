"""The end of a script whose output somebody still writes, or nobody reads any more: it is what it is without
us."""

import collections
import os
import re
import subprocess
import sys
import textwrap

import pytest
from endings import BEGIN, launch, stub
from scripts import environment, only, small

PRINTS = {"print": "print('x' * 50, flush=True)", "bytes": "sys.stdout.buffer.write(b'x' * 50)",
          "stderr": "print('x' * 50, file=sys.stderr)", "log": "logging.error('x' * 50)",
          "a function kept": "write('x' * 50 + chr(10))"}
ENDS_TRIED = 5


@pytest.mark.few(1)
@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("what", PRINTS)
def test_a_daemon_thread_that_prints_in_a_tight_loop_aborts_no_end(tmp_path, what, capture):
    """Python stops such threads at exit, perhaps within a write that holds the lock of the stream's buffer;
    its own flush then aborts."""
    code = BEGIN.replace("name='n'", f"name='n', system=False, capture={capture}") + (
        f"import logging\nwrite = sys.stderr.write\ndef loop():\n    while True: {PRINTS[what]}\n"
        "for _ in range(2): threading.Thread(target=loop, daemon=True).start()\ntime.sleep(0.05)\n")
    found = collections.Counter()
    for number in range(ENDS_TRIED):
        process = launch(tmp_path / str(number), code,
                         before=("bash", "-c", 'exec "$@" >/dev/null 2>err', "bash"))
        found[process.wait(60)] += 1
        process.communicate()
        assert small(only(tmp_path / str(number)), "status")["status"] == "finished"
    # Without us nearly each one aborts. Not all of them need end well: a thread that gets no processor for
    # the 40 ms in which those that print come to the gate, as happens on a busy machine, is still within a
    # write when Python stops it. To wait longer delays every exit.
    assert found[0] > ENDS_TRIED // 2, found


def test_an_exit_that_waits_for_a_printing_thread_ends(tmp_path):
    """What an earlier `atexit.register` joins, such as a QueueListener, prints what it still has: the gate
    opens to it."""
    code = textwrap.dedent("""
        import atexit, logging.handlers, queue, sys, threading, time
        class Slow(logging.StreamHandler):
            def emit(self, record):
                time.sleep(0.1)
                super().emit(record)
        waiting = queue.Queue()
        listener = logging.handlers.QueueListener(waiting, Slow(sys.stderr))
        listener.start()
        atexit.register(listener.stop)
        """) + BEGIN.replace("name='n'", "name='n', system=False") + (
        "for number in range(8): waiting.put(logging.makeLogRecord({'msg': f'line {number}'}))\n")
    process = launch(tmp_path, code)
    try:
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, err.decode().splitlines()) == (0, [f"line {number}" for number in range(8)])


# -- a stream that takes nothing -----------------------------------------------------------------------------

CODES = {"held back": "for number in range(100): print(number)",
         "a block": "for number in range(9999): print(number)",
         "flushed": "for number in range(9): print(number, flush=True)",
         "large": "sys.stdout.write('x' * 300000)", "bytes": "sys.stdout.buffer.write(b'x' * 100)",
         "an error": "print('x')\n1 / 0", "an exit code": "print('x')\nsys.exit(3)",
         "caught":
         "for number in range(99999):\n    try: print(number)\n    except OSError as e: print(e.errno, "
         "file=sys.stderr); break",
         "a log": "import logging\nlogging.error('x')", "finished": "print('x')\nrun.finish()"}
SHELLS = {"| true": '"$@" | true; exit ${PIPESTATUS[0]}',
          "2>&1 | true": '"$@" 2>&1 | true; exit ${PIPESTATUS[0]}',
          "a full disk": 'exec "$@" >/dev/full', "both full": 'exec "$@" >/dev/full 2>&1',
          "stderr closed": 'exec "$@" 2>&-', "stdout closed": 'exec "$@" >&-',
          "both closed": 'exec "$@" >&- 2>&-', "read only": 'exec "$@" 1</dev/null'}


def end_of(folder, shell, code, path=None):
    """Run a script with its streams as `shell` leaves them; returns (exit code, standard error without what
    differs each time)."""
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(code)
    env = environment(folder) if path is None else environment(folder, PYTHONPATH=path)
    done = subprocess.run(["bash", "-c", SHELLS[shell], "bash", sys.executable, "train.py"], cwd=folder,
                          env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, re.sub(r"0x[0-9a-f]+", "", done.stderr.replace(os.fspath(folder), ""))


@pytest.mark.few(4)
@pytest.mark.parametrize("what", CODES)
@pytest.mark.parametrize("shell", SHELLS)
def test_streams_that_take_nothing_end_a_script_as_without_us(tmp_path, shell, what):
    code = (BEGIN.replace("name='n'", "name='n', system=False") + "time.sleep(0.2)\n" * ("true" in shell)
            + CODES[what] + "\n")
    without = end_of(tmp_path / "without", shell, code, stub(tmp_path))
    assert end_of(tmp_path / "with", shell, code) == without
    assert small(only(tmp_path / "with"), "status")["status"] in ("finished", "failed")
