"""What the terminal shows is in the log, and the terminal shows what it would have shown without us."""

import errno
import glob
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from scripts import environment, only, rows, runs, shown, small, start, train

from runicorn.writer.append import AppendFile
from runicorn.writer.capture import LogFile
from runicorn.writer.screen import LONGEST_OPEN, Screen

BEGIN = ("import os, signal, subprocess, sys, threading, time\nimport runicorn\n"
         "run = runicorn.init(project='p', name='n')\n")
BEGIN_FD = BEGIN.replace("name='n'", "name='n', capture='fd'")
OLD_PYTHON = shutil.which("python3.8",
                          path=os.pathsep.join(
                              sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.8*/bin"))))) \
    or sys.executable
STAMP = re.compile(rb"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}\] ")


# -- lines ---------------------------------------------------------------------------------------------------

def fed(*chunks):
    screen = Screen()
    return [line for chunk in chunks for line in screen.feed(chunk, 0.0)], screen.end()


@pytest.mark.parametrize("chunks, ended, rest", [
    (["a\nb\n"], ["a", "b"], []),
    (["a", "b", "\n"], ["ab"], []),
    (["a\n", "b"], ["a"], ["b"]),
    (["\n\n"], ["", ""], []),
    (["windows\r\n", "too\r", "\n"], ["windows", "too"], []),
    (["\r10%", "\r20%", "\r30%\n"], ["30%"], []),
    (["10%\r", "20%\r", "\n"], ["20%"], []),
    (["10%\r20%"], [], ["20%"]),
    (["\x1b[31mred\x1b[0m\n"], ["\x1b[31mred\x1b[0m"], []),
    (["Epoch 1\n", "text then", " more\r", "over\n"], ["Epoch 1", "over then more"], []),
])
def test_lines_are_what_a_terminal_shows(chunks, ended, rest):
    assert fed(*chunks) == (ended, rest)


def test_bars_below_each_other_end_once():
    """tqdm's nested bars: down with \\n, redraw with \\r, up with ESC [ A."""
    chunks = ["\router 0%"]
    for number in range(100):
        chunks += ["\n", f"\rinner {number}%", "\x1b[A", f"\router {number}%"]
    ended, rest = fed(*chunks, "\n", "\n", "done\n")
    assert ended == ["outer 0%", "outer 99%", "inner 99%", "done"] and rest == []


def test_a_line_without_end_is_ended_before_it_fills_the_memory():
    ended, rest = fed(*["." * 1000] * 1000)
    assert sum(map(len, ended + rest)) == 1_000_000 and max(map(len, ended)) <= LONGEST_OPEN + 1000


@pytest.mark.few(1)
@pytest.mark.parametrize("piece", [".", "0.123, ", "中", "\x1b[32m.\x1b[0m", "\b\b.\r"])
def test_a_line_in_many_pieces_costs_what_its_pieces_cost(piece):
    """json.dump writes each number by itself. Ten times as many must not take a hundred times as long."""
    def seconds(count):
        log, begin = LogFile(Nowhere()), time.process_time()
        for _ in range(count):
            log.feed("stdout", piece)
        return time.process_time() - begin
    assert seconds(200_000) < 40 * min(seconds(20_000) for _ in range(2)) + 0.1


class Nowhere:
    """A file that takes everything."""

    def write(self, data, lines=None):
        return True


def test_a_line_printed_above_bars_is_a_line_of_its_own_in_the_file(tmp_path):
    log = LogFile(AppendFile(tmp_path / "logs.txt"))
    log.feed("stdout", "bar 1\nbar 2")
    for number in range(3):
        log.feed("stdout", f"\r\x1b[2K\x1b[1A\x1b[2Kbar 1 {number}\nbar 2 {number}")
        log.tick(time.monotonic() + 5 + number * 20)
        log.feed("stdout", f"\r\x1b[2K\x1b[1A\x1b[2Kline {number}\nbar 1 {number}\nbar 2 {number}")
    log.close()
    raw = (tmp_path / "logs.txt").read_bytes().split(b"\n")
    assert [number for number in range(3)
            if any(STAMP.sub(b"", line) == b"line %d" % number for line in raw)] == [0, 1, 2]
    assert raw.count(b"") == 1 and b"\r" in b"".join(raw)


def test_a_line_whose_state_is_in_the_file_is_there_once_when_it_ends(tmp_path):
    """A terminal's output comes in pieces that end anywhere: also within a line, behind one that moved."""
    log = LogFile(AppendFile(tmp_path / "logs.txt"))
    log.feed("stdout", "\r50%\r100%\n17\n1")
    log.feed("stdout", "8")
    log.tick(time.monotonic() + 5)
    log.feed("stdout", "\n19\n2")
    log.close()
    assert shown(tmp_path) == ["100%", "17", "18", "19", "2"]


def states(lines, until, step=0.5):
    return sum(len(lines.states(tick * step)) for tick in range(int(until / step)))


def test_a_moving_line_leaves_one_state_a_second_then_one_in_ten():
    lines, count = Screen(), 0
    for tick in range(0, 240):
        lines.feed(f"\r{tick}", tick * 0.5)
        count += len(lines.states(tick * 0.5))
    assert 58 <= count - 6 <= 62                # 60 in the first minute, 6 in the second


# -- in a script ---------------------------------------------------------------------------------------------

def test_prints_of_all_kinds(tmp_path):
    out, err = train(tmp_path, "import logging\nlogging.basicConfig(format='%(message)s')\nprint('before')\n"
                     + BEGIN + textwrap.dedent("""
        print("中文 ✓ 💥", "\\x1b[31mred\\x1b[0m")
        print("err", file=sys.stderr)
        logging.warning("from a handler made before init")
        sys.stdout.flush()
        sys.stdout.buffer.write("bytes ü\\n".encode())
        sys.stdout.buffer.write(b"bad \\xff\\n")
        sys.stdout.writelines(["one\\n", "two\\n"])
        print("no end", end="")
        run.finish()
        print("after")
        """))
    assert out.splitlines() == ["before", "中文 ✓ 💥 \x1b[31mred\x1b[0m", "bytes ü", "bad \ufffd", "one",
                                "two", "no endafter"]
    assert err == "err\nfrom a handler made before init\n"
    assert shown(only(tmp_path)) == ["中文 ✓ 💥 \x1b[31mred\x1b[0m", "err", "from a handler made before init",
                                     "bytes ü", "bad \ufffd", "one", "two", "no end"]


def test_every_line_carries_a_stamp_and_the_file_only_grows(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        for number in range(25):
            print(f"\\r{number}%", end="", file=sys.stderr, flush=True)
            time.sleep(0.1)
        print(file=sys.stderr)
        print("done")
        """))
    raw = (only(tmp_path) / "logs.txt").read_bytes()
    lines = raw.split(b"\n")
    assert [STAMP.sub(b"", line.rpartition(b"\r")[2]) for line in lines] == [b"24%", b"done", b""]
    moving = lines[0].split(b"\r")
    assert all(STAMP.match(state) for state in moving) and 2 <= len(moving) < 20


def test_a_partial_line_is_on_disk_within_a_second(tmp_path):
    process = start(tmp_path, BEGIN + "print('waiting', end='', flush=True)\ntime.sleep(30)")
    deadline = time.monotonic() + 20
    while not (runs(tmp_path) and (only(tmp_path) / "logs.txt").exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    while b"waiting\r" not in (only(tmp_path) / "logs.txt").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert re.fullmatch(STAMP.pattern + rb"waiting\r", (only(tmp_path) / "logs.txt").read_bytes())


def test_threads_print_whole_lines(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        def work(name):
            for number in range(300):
                sys.stdout.write(f"{name} {number}\\n")
        threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """))
    lines = shown(only(tmp_path))
    assert sorted(lines) == sorted(f"{name} {number}" for name in range(6) for number in range(300))
    for name in range(6):
        assert [line for line in lines if line.startswith(f"{name} ")] == [
            f"{name} {number}" for number in range(300)]


@pytest.mark.long
def test_a_hundred_forks_while_a_thread_prints(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        stop = threading.Event()
        def work():
            number = 0
            while not stop.is_set():
                print("thread", number, flush=True)
                number += 1
        thread = threading.Thread(target=work)
        thread.start()
        for number in range(100):
            child = os.fork()
            if not child:
                print("child", number, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
        stop.set()
        thread.join()
        """))
    lines = shown(only(tmp_path))
    assert sorted(map(int, re.findall(r"child (\d+)", out))) == list(range(100))
    assert lines == [f"thread {number}" for number in range(len(lines))] and len(lines) > 0


def test_a_signal_handler_prints_while_the_script_prints(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        calm = True
        def tick(number, frame):        # within itself it stays quiet: that Python's own streams refuse
            global calm
            if calm:
                calm = False
                sys.stderr.write("tick\\n")
                calm = True
        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for number in range(3000):
            print(number)
        signal.setitimer(signal.ITIMER_REAL, 0)
        """))
    lines = shown(only(tmp_path))
    assert [line for line in lines if line != "tick"] == [str(number) for number in range(3000)]
    assert "tick" in lines


def test_an_exception_of_a_signal_handler_reaches_the_script(tmp_path):
    """A time limit by SIGALRM may strike within our code: it is the script's, even as an OSError."""
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        def late(number, frame):
            raise TimeoutError("too late")
        signal.signal(signal.SIGALRM, late)
        caught = 0
        for attempt in range(100):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.002)
                while True:
                    run.log({"loss": 1})
                    print("x", file=sys.stderr)
                    run.summary["x"] = 1
            except TimeoutError:
                caught += 1
        print(caught)
        """))
    assert out == "100\n"
    assert all(row["data"] == {"loss": 1} for row in rows(only(tmp_path)))


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("call",
                         ["print('x')", "print('\\x1b[A\\rx')", "logging.warning('x')",
                          "sys.stdout.buffer.write(b'x\\n')"])
def test_an_endless_recursion_that_prints_is_a_recursion_error(tmp_path, call):
    """Python 3.8 ends the process if its RecursionError is answered by calls as deep again; tried at each
    depth."""
    code = BEGIN + textwrap.dedent(f"""
        import logging
        logging.basicConfig()
        def endless():
            {call}
            endless()
        def at(depth):
            if depth:
                return at(depth - 1)
            try:
                endless()
            except RecursionError:
                return 1
        sys.__stderr__.write(f"\\ncaught {{sum(at(depth) for depth in range(30))}}\\n")
        """)
    for python in (sys.executable, OLD_PYTHON):
        (tmp_path / "train.py").write_text(code)
        done = subprocess.run([python, "train.py"], cwd=tmp_path, env=environment(tmp_path),
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and done.stderr.endswith("\ncaught 30\n"), done.stderr[-2000:]


@pytest.mark.parametrize("call", ["print('x')", "print('\\x1b[A\\rx')", "logging.warning('x')"])
def test_the_traceback_of_a_recursion_that_prints_shows_no_function_of_ours(tmp_path, call):
    code = BEGIN + "import logging\nlogging.basicConfig()\nsys.setrecursionlimit(90)\n" \
                   f"def endless():\n    {call}\n    endless()\nendless()\n"
    _, err = train(tmp_path, code, expect=1)
    trace = err[err.rindex("Traceback"):]
    assert "RecursionError" in trace and "in endless" in trace and "runicorn" not in trace


def test_streams_that_are_closed_replaced_or_absent(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        import contextlib, io
        with contextlib.redirect_stdout(io.StringIO()) as elsewhere:
            print("not on the terminal")
        assert elsewhere.getvalue() == "not on the terminal\\n"
        before = sys.stdout
        class Shout:
            def write(self, text): before.write(text.upper())
            def flush(self): before.flush()
        sys.stdout = Shout()
        print("loud")
        sys.stdout = before
        sys.stderr.close()
        sys.stderr = None
        run.log({"x": object()})
        print("end")
        sys.stdout = None
        """))
    assert out == "LOUD\nend\n" and shown(only(tmp_path)) == ["LOUD", "end"]


def test_a_broken_pipe_is_the_scripts_own_affair(tmp_path):
    """`python train.py | head -1`: the error is raised as without us."""
    (tmp_path / "train.py").write_text(BEGIN + "for number in range(100000):\n    print(number, flush=True)")
    shell = subprocess.run(f"{sys.executable} train.py | head -1", shell=True, cwd=tmp_path,
                           env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    assert shell.stdout == "0\n" and "BrokenPipeError" in shell.stderr


def test_a_notebooks_stream_is_captured(tmp_path):
    """ipykernel's OutStream is a Python object without a buffer; its cell code prints through write()."""
    out, _ = train(tmp_path, textwrap.dedent("""
        import io, sys
        import runicorn
        class OutStream(io.TextIOBase):
            def write(self, text):
                sys.__stdout__.write(text)
                return len(text)
        sys.stdout = OutStream()
        run = runicorn.init(project="p", name="n", capture="fd")
        print("cell")
        run.finish()
        """))
    assert out == "cell\n" and "cell" in shown(only(tmp_path))


def test_capture_false_takes_nothing(tmp_path):
    out, _ = train(tmp_path, BEGIN.replace("name='n'", "name='n', capture=False")
                   + "print('x')\nassert 'write' not in sys.stdout.__dict__")
    assert out == "x\n" and not (only(tmp_path) / "logs.txt").exists()


def test_tqdm_like_output_on_a_real_terminal(tmp_path):
    """Through a pty: what arrives there is byte for byte what the script wrote."""
    code = (BEGIN + "for number in range(3):\n    sys.stderr.write(f'\\r{number}%')\n"
                    "sys.stderr.write('\\n')\nprint('end')\n")
    (tmp_path / "train.py").write_text(code)
    master, slave = pty.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    process = subprocess.Popen([sys.executable, "train.py"], cwd=tmp_path, env=environment(tmp_path),
                               **streams)
    os.close(slave)
    seen = b""
    try:
        while True:
            block = os.read(master, 1024)
            if not block:
                break
            seen += block
    except OSError:         # Linux's way of saying that the last writer closed the terminal
        pass
    os.close(master)
    assert process.wait(30) == 0 and seen == b"\r0%\r1%\r2%\r\nend\r\n"
    assert shown(only(tmp_path)) == ["2%", "end"]


# -- capture="fd" --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("merged", [True, False])
def test_fd_takes_children_and_c_code_in_order(tmp_path, merged):
    code = "print('before')\n" + BEGIN_FD + textwrap.dedent("""
        import ctypes
        print("python")
        subprocess.run(["echo", "a child"])
        ctypes.PyDLL(None).write(1, b"C code\\n", 7)
        print("unfinished", end="")
        run.finish()
        print(" after")
        """)
    (tmp_path / "train.py").write_text(code)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=environment(tmp_path),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                          text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "before\npython\na child\nC code\nunfinished after\n"
    assert not done.stderr
    assert shown(only(tmp_path)) == ["python", "a child", "C code", "unfinished"]


def test_fd_survives_c_code_that_fills_the_pipe_holding_the_gil(tmp_path):
    out, _ = train(tmp_path, BEGIN_FD + textwrap.dedent("""
        import ctypes
        for _ in range(3):
            rest = (b"x" * 99 + b"\\n") * 10000
            while rest:                     # a stopped and continued process writes less than it was asked to
                rest = rest[ctypes.PyDLL(None).write(1, rest, len(rest)):]      # PyDLL keeps the GIL
        """))
    assert out == ("x" * 99 + "\n") * 30000
    assert shown(only(tmp_path)) == ["x" * 99] * 30000


def test_fd_what_was_written_before_sigkill_arrives(tmp_path):
    process = start(tmp_path, BEGIN_FD + textwrap.dedent("""
        for number in range(20000):
            print(number)
        run.log({"a": 1})
        os.kill(os.getpid(), signal.SIGKILL)
        """))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -9 and out.splitlines() == [str(number) for number in range(20000)]
    log, deadline = only(tmp_path) / "logs.txt", time.monotonic() + 10
    while not log.read_bytes().endswith(b" 19999\n") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shown(only(tmp_path)) == [str(number) for number in range(20000)]
    assert len(rows(only(tmp_path))) == 1


def test_fd_without_its_helper_the_terminal_gets_its_output_back(tmp_path):
    out, err = train(tmp_path, BEGIN_FD + textwrap.dedent("""
        print("one")
        run._output._helper.kill()
        while run._output._helper is not None:
            time.sleep(0.05)
        print("two")
        """))
    assert out == "one\ntwo\n" and "was killed" in err


def test_fd_a_child_that_outlives_the_run_still_reaches_the_terminal(tmp_path):
    out, _ = train(tmp_path,
                   BEGIN_FD
                   + "subprocess.Popen(['sh', '-c', 'sleep 1; echo late'])\nprint('early')\nrun.finish()\n"
                     "print('end')")
    assert out == "early\nend\nlate\n"


def test_fd_leaves_nothing_open_and_no_process(tmp_path):
    out, _ = train(tmp_path,
                   "import os\nbefore = len(os.listdir('/proc/self/fd'))\n" + BEGIN_FD + textwrap.dedent("""
        helper = run._output._helper
        run._facts_known.wait(30)           # git has answered: its pipes are not ours to count
        run.finish()
        until = time.monotonic() + 20       # the thread that hears of signals takes its time to go
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < until:
            time.sleep(0.01)
        print(len(os.listdir("/proc/self/fd")) - before, helper.poll())
        """))
    assert out == "0 0\n"


@pytest.mark.frameworks
@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("capture, logged", [(True, False), ("fd", True)])
def test_prints_of_data_loader_workers_need_fd(tmp_path, capture, logged, start):
    """They are processes of their own, as the README says."""
    out, _ = train(tmp_path, textwrap.dedent(f"""
        import runicorn, torch
        from torch.utils.data import DataLoader, Dataset
        class Squares(Dataset):
            def __len__(self):
                return 8
            def __getitem__(self, index):
                print(f"worker {{torch.utils.data.get_worker_info().id}} loads {{index}}", flush=True)
                return index * index
        if __name__ == "__main__":
            run = runicorn.init(project="p", name="n", system=False, capture={capture!r})
            loader = DataLoader(Squares(), 2, num_workers=2, multiprocessing_context={start!r})
            print(sum(batch.sum().item() for batch in loader))
            run.finish()
        """), timeout=200)
    loads = sorted(f"worker {index // 2 % 2} loads {index}" for index in range(8))
    assert sorted(line for line in out.splitlines() if "loads" in line) == loads and "140" in out.splitlines()
    assert sorted(line for line in shown(only(tmp_path)) if "loads" in line) == (loads if logged else [])
    assert "140" in shown(only(tmp_path))


@pytest.mark.few(2)
@pytest.mark.parametrize("program", [
    "sys.frozen = True", "sys.frozen = 'console_exe'", "sys.executable = '/usr/bin/blender'",
    "sys.executable = ''", "sys.executable = None", "__compiled__ = ()"])
def test_fd_in_a_program_that_is_no_python_starts_nothing(tmp_path, program):
    """PyInstaller and its like, embedded interpreters: their executable is the program itself."""
    out, err = train(tmp_path, f"import sys\n{program}\n" + BEGIN_FD + textwrap.dedent("""
        print("one")
        print(type(run._output).__name__)
        """))
    assert out == "one\nCapture\n" and err.count("\n") == 1 and 'capture="fd" is not possible here' in err
    assert shown(only(tmp_path))[-2:] == ["one", "Capture"]


# -- faults --------------------------------------------------------------------------------------------------

def test_a_log_that_can_not_be_written_keeps_the_terminal(tmp_path, capsys, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    log = LogFile(AppendFile(tmp_path / "logs.txt"))
    log.feed("stdout", "one\n")
    monkeypatch.setattr(os, "write", full)
    threads = [threading.Thread(target=log.feed, args=("stdout", "lost\n")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.file.lost == 4 and "can't be written" in capsys.readouterr().err


# -- a terminal that takes nothing ---------------------------------------------------------------------------

STALLED = """
import json, logging
logging.basicConfig(format="%(message)s")
answers = {}
def stall():
    while True:
        BLOCKING
blocked = threading.Thread(target=stall, daemon=True)
blocked.start()
time.sleep(WAIT)
def timed(name, call):
    begin = time.monotonic()
    call()
    answers[name] = time.monotonic() - begin
def forked():
    child = os.fork()
    if not child:
        print("child", file=sys.stderr, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
signal.signal(signal.SIGUSR1, lambda *_: print("handler", file=sys.stderr, flush=True))
timed("print", lambda: print("err", file=sys.stderr))
timed("flush", sys.stderr.flush)
timed("buffer", lambda: sys.stderr.buffer.write(b"bytes\\n"))
timed("lines", lambda: sys.stderr.writelines(["one\\n", "two\\n"]))
timed("logging", lambda: logging.warning("warning"))
timed("signal", lambda: os.kill(os.getpid(), signal.SIGUSR1))
timed("fork", forked)
timed("log", lambda: run.log({"loss": 1}))
timed("finish", run.finish)
timed("after", lambda: print("after", file=sys.stderr, flush=True))
json.dump(answers, open("answers.json", "w"))
os._exit(0)
"""


@pytest.mark.few(2)
@pytest.mark.parametrize("capture", [True, "fd"])
@pytest.mark.parametrize("blocking", [
    "print('x' * 999)", "sys.stdout.write('y' * 99)", "sys.stdout.buffer.write(b'z' * 99)",
    "print('w' * 99, flush=True)"])
def test_a_stalled_stdout_stalls_nothing_else(tmp_path, capture, blocking):
    """`python train.py | less`, and nobody turns the page: who prints there waits, and nobody else."""
    code = BEGIN.replace("name='n'", f"name='n', system=False, capture={capture!r}")
    # a pipe of a megabyte is full
    code += STALLED.replace("BLOCKING", blocking).replace("WAIT", "1.5" if capture is True else "3")
    (tmp_path / "train.py").write_text(code)
    read_end, write_end = os.pipe()
    process = subprocess.Popen([sys.executable, "train.py"], cwd=tmp_path, env=environment(tmp_path),
                               stdout=write_end, stderr=subprocess.PIPE, text=True)
    os.close(write_end)
    try:
        process.wait(30)
        answers = json.loads((tmp_path / "answers.json").read_text())
    finally:
        process.kill()
        os.close(read_end)
    err = process.communicate()[1]
    assert all(name in err for name in ("err", "bytes", "one", "two", "warning", "handler", "child", "after"))
    # without an end, if it waited for the pipe; seconds, for a busy machine
    assert max(answers.values()) < 3, answers
    assert small(only(tmp_path), "status")["status"] == "finished"
    assert [line for line in shown(only(tmp_path))
            if line in ("err", "bytes", "one", "two", "warning", "handler")][:4] == \
        ["err", "bytes", "one", "two"]


def test_fd_what_a_stalled_terminal_did_not_take_comes_later_and_in_order(tmp_path):
    code = BEGIN_FD + textwrap.dedent("""
        for number in range(20000):
            print("line", number)
        run.finish()
        print("after")
        print("finished", file=sys.stderr, flush=True)
        """)
    (tmp_path / "train.py").write_text(code)
    process = subprocess.Popen([sys.executable, "train.py"], cwd=tmp_path, env=environment(tmp_path),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "finished\n"         # though nobody has read its output yet
    lines = process.communicate(timeout=60)[0].splitlines()
    assert lines == [f"line {number}" for number in range(20000)] + ["after"] and process.returncode == 0
    assert shown(only(tmp_path)) == [f"line {number}" for number in range(20000)]


# -- a pipe that nobody reads any more -----------------------------------------------------------------------

CLOSED_PIPE = {
    "held back until the end": "for number in range(100):\n    print(number)\n",
    "raised while it prints": "for number in range(100000):\n    print(number, flush=True)\n",
    "caught by the script":
    "try:\n    print('x', flush=True)\nexcept BrokenPipeError:\n    print('caught', file=sys.stderr)\n",
    "exit code of its own": "print('x')\nsys.exit(3)\n",
    "an error of its own": "print('x')\nraise ValueError('mine')\n",
    "bytes": "sys.stdout.buffer.write(b'x' * 100)\n",
}


def end_of(folder, code):
    """Run a script whose standard output has no reader; returns (exit code, standard error)."""
    (folder / "train.py").write_text(code)
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run([sys.executable, "train.py"], cwd=folder, env=environment(folder),
                              stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(write_end)
    return done.returncode, re.sub(r"line \d+|0x[0-9a-f]+", "", done.stderr)


@pytest.mark.few(2)
@pytest.mark.parametrize("finish", ["", "run.finish()\n"])
@pytest.mark.parametrize("what", CLOSED_PIPE)
def test_a_closed_pipe_ends_a_script_as_without_us(tmp_path, what, finish):
    """`python train.py | head`: Python's own complaint, its exit code, and a run that has ended."""
    code = CLOSED_PIPE[what]
    for folder in (tmp_path / "without", tmp_path / "with"):
        folder.mkdir()
    without = end_of(tmp_path / "without", "import sys\n" + code)
    code, err = end_of(tmp_path / "with", BEGIN.replace("name='n'", "name='n', system=False") + code + finish)
    frames = [line for line in err.splitlines() if "/runicorn/" in line]
    assert code == without[0] and err.splitlines()[-1:] == without[1].splitlines()[-1:]
    assert "Error in atexit" not in err and "Exception ignored in atexit" not in err
    assert (not frames or "Traceback" in without[1])
    assert small(only(tmp_path / "with"), "status")["status"] != "running"
