"""`runicorn run` on a terminal: what a program asks of it, what it prints and what is typed are as without
us."""

import os
import subprocess
import sys
import termios
import time

import pytest
from programs import RUN, OnTerminal, python
from scripts import environment, only, shown, small
from waiting import until

FACTS = """
import fcntl, os, struct, sys, termios, signal
print([os.isatty(n) for n in range(3)], [tuple(os.get_terminal_size(n)) for n in range(3)], end=" ")
print(os.getsid(0) == os.getppid() or os.getsid(0) == os.getpid() or "session",
      os.tcgetpgrp(0) == os.getpgrp())
"""
TICKS = "import time\nfor n in range(600):\n print('tick', n, flush=True)\n time.sleep(0.1)\n"


def both(folder, argv, talk, **more):
    """Return what `talk` (a function of the OnTerminal) says bare and under `runicorn run`, with the wait
    status of each."""
    answers = []
    for bare in (True, False):
        with OnTerminal(folder, argv, bare=bare, **more) as terminal:
            answer = talk(terminal)
            answers.append((answer, terminal.end()))
    return answers


def test_a_program_has_a_terminal(tmp_path):
    bare, ours = both(tmp_path, python(FACTS), lambda terminal: terminal.until(b"\n"), size=(33, 101))
    assert bare == ours and b"[True, True, True] [(101, 33), (101, 33), (101, 33)]" in ours[0]


def test_output_is_the_same_to_the_last_byte(tmp_path):
    code = ("import sys\nfor n in range(50): print('\\r', n, end='', flush=True)\nprint()\n"
            "print('\\x1b[31mred\\x1b[0m\\ttab', file=sys.stderr)\nprint('ü' * 200)")
    code += "\nfor n in range(20000): print(n)\nsys.stdout.write('no end')"
    bare, ours = both(tmp_path, python(code), lambda terminal: terminal.until(b"no end"))
    assert bare == ours
    assert shown(only(tmp_path))[-1] == "no end" and len(shown(only(tmp_path))) == 20004


def test_a_flood_loses_nothing(tmp_path):
    code = ("import sys, os\nfor n in range(30_000): sys.stdout.write(f'{n} the quick brown fox\\n')\n"
            "sys.stdout.flush(); os.kill(os.getpid(), 9)")
    with OnTerminal(tmp_path, [sys.executable, "-c", code]) as terminal:
        time.sleep(0.5)         # the terminal is full
        assert terminal.end() == -9
        lines = terminal.seen.decode().split("\r\n")
    assert lines == [*(f"{n} the quick brown fox" for n in range(30_000)), ""]
    assert shown(only(tmp_path)) == lines[:-1]


@pytest.mark.parametrize("lines, code, state", [
    (["caught", "again"], 130, "interrupted"), ([], -2, "interrupted")])
def test_ctrl_c_once_and_twice(tmp_path, lines, code, state):
    catching = """
import signal, sys, time
count = []
def heard(number, frame):
    count.append(1)
    print(["caught", "again"][len(count) - 1], flush=True)
    if len(count) == 2: sys.exit(130)
signal.signal(2, heard)
""" if lines else "import time, signal; signal.signal(2, signal.SIG_DFL)"

    def talk(terminal):
        text = terminal.until(b"ready")
        for line in lines or [""]:
            time.sleep(0.2)
            terminal.type(b"\x03")
            text += terminal.until(line.encode() or b"^C")
        return text
    bare, ours = both(tmp_path,
                      python(catching + "\nprint('ready', flush=True)\ntime.sleep(30); time.sleep(30)\n"),
                      talk)
    assert bare == ours and ours[1] == code
    status = small(only(tmp_path), "status")
    assert (status["status"], status["signal"]) == (state, "SIGINT")


def test_a_resized_window(tmp_path):
    code = """
import os, signal, time
signal.signal(signal.SIGWINCH, lambda *_: print(tuple(os.get_terminal_size(1)), flush=True))
print("ready", flush=True)
time.sleep(0.5); time.sleep(30)
"""
    with OnTerminal(tmp_path, python(code)) as terminal:
        terminal.until(b"ready")
        for rows, columns in ((40, 120), (10, 55)):
            terminal.resize(rows, columns)
            terminal.until(f"({columns}, {rows})".encode())
        terminal.type(b"\x03")
        assert terminal.end() == -2


def test_keys_and_echo_and_end_of_file(tmp_path):
    def talk(terminal):
        text = terminal.until(b"name? ")
        terminal.type(b"Ada\n")
        text += terminal.until(b"hello Ada")
        time.sleep(0.2)
        terminal.type(b"more\n\x04")
        return text + terminal.until(b"over")
    bare, ours = both(tmp_path,
                      python("import sys; print('hello', input('name? ')); print(sys.stdin.read(), 'over')"),
                      talk)
    assert bare == ours and ours[1] == 0


def test_modes_of_a_program_on_its_output_hold_and_are_taken_back(tmp_path):
    code = """
import curses
def main(screen):
    screen.addstr(3, 5, "press")
    screen.refresh()
    key = screen.getch()
    screen.addstr(4, 5, f"got {key} {curses.LINES} {curses.COLS}")
    screen.refresh()
    screen.getch()
curses.wrapper(main)
input("over")
"""

    def talk(terminal):
        modes = terminal.modes()
        terminal.until(b"press")
        time.sleep(0.3)
        assert not terminal.modes()[3] & (termios.ICANON | termios.ECHO)
        terminal.type(b"q")
        terminal.until(b"113 24 80")
        terminal.type(b"x")
        terminal.until(b"over")
        time.sleep(0.2)
        terminal.type(b"\n")
        return terminal.modes()[:4] == modes[:4]
    bare, ours = both(tmp_path, python(code), talk)
    assert bare == ours == (True, 0)


def test_modes_set_on_the_input_are_the_terminals(tmp_path):
    code = "import getpass; print(len(getpass.getpass('secret: ')))"

    def talk(terminal):
        terminal.until(b"secret: ")
        time.sleep(0.2)
        terminal.type(b"hunter2\n")
        return terminal.until(b"7")
    bare, ours = both(tmp_path, python(code), talk)
    assert bare == ours and b"hunter2" not in ours[0]


def shell(folder):
    terminal = OnTerminal(folder, ["bash", "--norc", "--noprofile", "-i"], bare=True, env={"PS1": "@@ "})
    terminal.until(b"@@ ")
    return terminal


def test_job_control(tmp_path):
    (tmp_path / "t.py").write_text(TICKS)
    with shell(tmp_path) as terminal:
        terminal.type(f"{' '.join(RUN)} -- {sys.executable} t.py\n".encode())
        terminal.until(b"tick 3")
        terminal.type(b"\x1a")
        terminal.until(b"Stopped")
        terminal.until(b"@@ ")
        time.sleep(0.6)
        terminal.read(0.1)
        assert b"tick" not in terminal.seen
        terminal.type(b"fg\n")
        terminal.until(b"tick 8")
        terminal.type(b"\x1a")
        terminal.until(b"Stopped")
        terminal.type(b"bg\n")
        terminal.until(b"tick 12")
        terminal.type(b"kill -TERM %1; wait %1; echo status $?\n")
        terminal.until(b"status 143")
        terminal.type(b"exit\n")
        terminal.end()
    assert small(only(tmp_path), "status")["signal"] == "SIGTERM"


def test_stopping_us_alone_stops_the_program(tmp_path):
    (tmp_path / "t.py").write_text(TICKS)
    with shell(tmp_path) as terminal:
        terminal.type(f"{' '.join(RUN)} -- {sys.executable} t.py & sleep 0.1; echo\n".encode())
        terminal.until(b"tick 3")
        terminal.type(b"kill -TSTP $!\n")
        terminal.until(b"kill")
        time.sleep(0.6)
        terminal.read(0.3)
        terminal.seen = b""
        time.sleep(0.5)
        terminal.read(0.2)
        assert b"tick" not in terminal.seen
        terminal.type(b"kill -CONT $!\n")
        terminal.until(b"tick 10")
        # a shell's `wait` may take it for stopped
        terminal.type(b"kill $!; while kill -0 $! 2>/dev/null; do sleep 0.1; done; exit\n")
        terminal.end()


def test_the_terminal_goes_away(tmp_path):
    (tmp_path / "t.py").write_text(
        "import signal, time\nsignal.signal(1, lambda *_: open('hup', 'w').write('x'))\n"
        "print('ready', flush=True)\n"
        "for n in range(20):\n print(n, flush=True)\n time.sleep(0.1)\nopen('done', 'w').write('yes')\n")
    with OnTerminal(tmp_path, [sys.executable, "t.py"]) as terminal:
        terminal.until(b"ready")
        os.close(terminal.fd)
        until((tmp_path / "done").exists, "the end of the program")
        assert (tmp_path / "hup").exists()
        os.waitpid(terminal.pid, 0)
        assert shown(only(tmp_path))[-1] == "19"


def test_one_stream_on_the_terminal_and_one_in_a_file(tmp_path):
    command = (f"{' '.join(RUN)} -- {sys.executable} -c 'import os, sys; print(os.isatty(1), os.isatty(2)); "
               "print(3, file=sys.stderr)'")
    for redirect, seen, kept in (("2> kept", b"True False", "3\n"), ("> kept", b"3", "False True\n")):
        with OnTerminal(tmp_path, ["sh", "-c", f"{command} {redirect}"], bare=True) as terminal:
            terminal.until(seen)
            assert terminal.end() == 0
        assert (tmp_path / "kept").read_text() == kept


def test_input_from_a_pipe_on_a_terminal(tmp_path):
    facts = "import sys; print(sys.stdin.read(), sys.stdin.isatty(), sys.stdout.isatty())"
    command = f"echo line | {' '.join(RUN)} -- {sys.executable} -c '{facts}'"
    with OnTerminal(tmp_path, ["sh", "-c", command], bare=True) as terminal:
        terminal.until(b"line\r\n False True")
        assert terminal.end() == 0


def test_killed_itself_on_a_terminal_the_program_goes_on(tmp_path):
    (tmp_path / "t.py").write_text(
        "import time\nfor n in range(30):\n print('tick', n, flush=True)\n time.sleep(0.1)\n"
        "open('done', 'w').write('yes')\n")
    with shell(tmp_path) as terminal:
        terminal.type(f"{' '.join(RUN)} -- {sys.executable} t.py & sleep 0.1; echo\n".encode())
        terminal.until(b"tick 3")
        terminal.type(b"kill -9 $!\n")
        terminal.until(b"tick 29")
        until((tmp_path / "done").exists, "the end of the program")
        assert small(only(tmp_path), "status")["status"] == "running"
        terminal.type(b"exit\n")
        terminal.end()
    assert "tick 29" in until(lambda: [line for line in shown(only(tmp_path)) if "tick" in line])


def test_a_bar_is_a_bar(tmp_path):
    code = "from tqdm import tqdm\nimport time\nfor n in tqdm(range(30), ncols=60): time.sleep(0.01)\n"

    def talk(terminal):
        return len(terminal.until(b"30/30").split(b"\r")) > 3
    bare, ours = both(tmp_path, python(code), talk)
    assert bare == ours == (True, 0)
    assert "30/30" in shown(only(tmp_path))[-1]


def test_without_a_controlling_terminal(tmp_path):
    ours, theirs = os.openpty()
    done = subprocess.Popen([*RUN, "--", sys.executable, "-c", "import os; print(os.isatty(1))"],
                            env=environment(tmp_path), cwd=tmp_path, stdin=theirs, stdout=theirs,
                            stderr=theirs, start_new_session=True)
    os.close(theirs)
    assert done.wait(timeout=30) == 0
    assert os.read(ours, 99) == b"True\r\n"
    os.close(ours)
