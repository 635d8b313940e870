"""The log's model of a terminal, held against a reference emulator: random streams, and real progress bars on
a real terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import textwrap
import time
import unicodedata
from unittest import mock

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripts import environment, only, shown

from runicorn.writer import screen as screen_module
from runicorn.writer.capture import LogFile
from runicorn.writer.screen import COLOUR, ROWS, Screen

HEIGHT, WIDTH = ROWS, 300
UP = re.compile("\x1b(\\[[0-9;]*[AFHJ]|8|M)")


def wide(text):
    return bool(text) and unicodedata.east_asian_width(text[0]) in "WF"


def picture(text):
    """Return the rows that pyte's screen shows at the end (list of str), blanks at their ends left out."""
    screen = pyte.Screen(WIDTH, HEIGHT)
    screen.set_mode(pyte.modes.LNM)             # what the terminal driver does: a newline begins at the left
    pyte.Stream(screen).feed(text)
    # of each row the cells that were written
    rows = [dict(screen.buffer[number]) for number in range(HEIGHT)]
    return [line_of([row[column].data if column in row else " "
                     for column in range(max(row, default=-1) + 1)]) for row in rows]


def line_of(cells):
    """Half a wide character is a blank, as xterm shows it; pyte keeps the whole, or nothing."""
    line = ""
    for column, cell in enumerate(cells):
        if not cell:
            line += "" if column and wide(cells[column - 1]) else " "
        elif wide(cell) and cells[column + 1:column + 2] != [""]:
            line += " "
        else:
            line += cell
    return unicodedata.normalize("NFC", line).rstrip()


def plain(line):
    """Return what a line of the log looks like on a terminal: no colours, tabs as blanks."""
    line, out, column = COLOUR.sub("", line), "", 0
    for character in line:
        text = " " * (8 - column % 8) if character == "\t" else character
        out += text
        column += (len(text) if text.isspace() else 0 if unicodedata.combining(character)
                   else 1 + wide(character))
    return unicodedata.normalize("NFC", out).rstrip()


def logged(chunks):
    screen = Screen()
    lines = [line for chunk in chunks for line in screen.feed(chunk, 0.0)]
    return [plain(line) for line in lines + screen.end()]


def without_blank(lines):
    return [line for line in lines if line]


def within(part, lines):
    """Whether `part` is in `lines`, in this order."""
    rest = iter(lines)
    return all(line in rest for line in part)


# -- random streams ------------------------------------------------------------------------------------------

TEXT = ["a", "bcd", "hello world", "LoRA", "[2K", "\n", "\n", "\n", "\r", "\r\n", "\b", "\t", "\x1b[31m",
        "\x1b[0m", "\x1b[1;32m", "\x1b[38;5;1mx", "\x1b[?25l", "\x1b]0;title\x07", "\x1b]8;;http://a/\x1b\\",
        "\x1b(B", "\x07", "\x1b[3C", "\x1b[2D", "\x1b[5G", "\x1b[K", "\x1b[1K", "\x1b[2K"]
FAR = ["中", "文字ab", "ｆ", "e\u0301", "\x1b[4X"]
ACROSS = ["\x1b[A", "\x1b[2A", "\x1b[3A", "\x1b[B", "\x1b[2B", "\x1b[E", "\x1b[2F", "\x1b[J", "\x1bD",
          "\x1bE"]
SWEEP = ["\x1b[1J", "\x1b[2J", "\x1b[H", "\x1b[3;4H", "\x1b[2d"]


def streams(pieces):
    chunks = st.lists(st.sampled_from(pieces), max_size=60).map("".join)
    return st.tuples(chunks, st.lists(st.integers(1, 12), min_size=1, max_size=20)).map(
        lambda drawn: (drawn[0], cut(*drawn)))


def cut(text, sizes):
    chunks, at = [], 0
    while at < len(text):
        chunks.append(text[at:at + sizes[len(chunks) % len(sizes)]])
        at += len(chunks[-1])
    return chunks


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(streams(TEXT + FAR))
@example(("text then more\rover\n", ["text then", " more\r", "over\n"]))
def test_a_stream_that_never_goes_up_is_logged_as_a_terminal_shows_it(stream):
    text, chunks = stream
    assert without_blank(logged(chunks)) == without_blank(picture(text))


@settings(max_examples=60, deadline=None)
@given(streams(TEXT + FAR + ACROSS))
@example(("中b\n\x1b[Aa", ["中b\n\x1b[A", "a"]))
def test_what_a_terminal_shows_at_the_end_is_in_the_log_in_order(stream):
    """Lines that were changed after they had ended stand there twice: before, and, with all below them,
    after."""
    text, chunks = stream
    lines, rows = without_blank(logged(chunks)), without_blank(picture(text))
    assert within(rows, lines)
    assert lines[-1:] == rows[-1:] or UP.search(text)


@settings(max_examples=40, deadline=None)
@given(streams(TEXT + ACROSS + SWEEP + ["\x1b[2P", "\x1b[3@"]))
@example(("\n\x1b[2Baaa\x1b[3;4H\n\x1b[2P", ["\n\x1b[2Baaa\x1b[3;4H\n\x1b[2P"]))
def test_erased_screens_too(stream):
    text, chunks = stream
    assert within(without_blank(picture(text)), logged(chunks))


@settings(max_examples=40, deadline=None)
@given(*[st.lists(st.sampled_from(TEXT + FAR + ACROSS), max_size=20).map("".join)] * 3)
def test_a_cursor_that_was_saved_comes_back(before, between, after):
    text = f"{before}\x1b7{between}\x1b8{after}"
    # pyte knows the first two only
    other = text.replace("\x1b7", "\x1b[s").replace("\x1b8", "\x1b[u")
    rows = without_blank(picture(text))
    assert within(rows, logged([text])) and within(rows, logged([other]))


@settings(max_examples=40, deadline=None)
@given(streams(TEXT + FAR + ACROSS), st.integers(1, 200))
def test_borders_of_chunks_do_not_show(stream, size):
    text, chunks = stream
    single = logged(list(text))
    assert within(without_blank(picture(text)), single)
    assert within(without_blank(picture(text)), logged(cut(text, [size])))


PARTS = st.lists(st.sampled_from([*TEXT, *FAR, *ACROSS, "line\n", "\ttwo\nlines\n", "\udc80\n",
                                  "\x85\u2028\n"]), max_size=12).map("".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), PARTS), max_size=12))
@example([("stderr", "\rbar 1\n"), ("stdout", "a\nb\nc"), ("stdout", "d\ne\n")])
@example([("stdout", "\x1b[31mred"), ("stdout", "a\nb\n"), ("stdout", "c\n\x1b[A\x1b[Ax\n")])
def test_long_blocks_are_logged_as_their_lines_are(chunks):
    """What is handed to the log at once, however long, is what came of it line by line, in the same order."""
    logs = []
    for shortest in (1, 1 << 30):
        with mock.patch.object(screen_module, "LONG_BLOCK", shortest), mock.patch.object(
            time, "monotonic", lambda: 0.0):
            log = LogFile(Kept())
            for key, text in chunks:
                log.feed(key, text)
            log.close()
        assert sum(log.file.lines) == sum(data.count(b"\n") for data in log.file.data)
        logs.append(re.sub(rb"(?m)(?<![^\r\n])\[[-+: 0-9]{24}\] ", b"", b"".join(log.file.data)))
    assert logs[0] == logs[1]


def test_a_long_block_is_not_taken_apart():
    screen = Screen()
    assert screen.feed("begun ", 0.0) == []
    assert screen.feed_block("of text\n\tand\n" * 1000 + "rest", 0.0) == (
        "begun " + "of text\n\tand\n" * 999 + "of text\n\tand")
    screen.scroll(2000)
    assert screen.feed("\x1b[2A\x1b[KX\n", 0.0) + screen.end() == ["of tX", "\tand", "rest"]


class Kept:
    """What is written to a file, and how many lines each write is said to have."""

    def __init__(self):
        self.data, self.lines = [], []

    def write(self, data, lines=None):
        self.data.append(data)
        self.lines.append(data.count(b"\n") if lines is None else lines)

    def close(self):
        pass


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\x1b[]0;m?AHJK\n\r\t\b"), max_size=300))
def test_nothing_makes_it_raise_or_grow(text):
    screen = Screen()
    for _ in range(5):
        screen.feed(text, 0.0)
    assert screen.states(10.0) is not None
    assert len(screen._rows or []) <= 2 * ROWS and len(screen._past) <= ROWS
    screen.end()


# -- single sequences ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("chunks, lines", [
    (["\x1b[32mINFO\x1b[0m training with LoRA\n"], ["\x1b[32mINFO\x1b[0m training with LoRA"]),
    (["\x1b[0;1mA\n"], ["\x1b[0;1mA"]),                             # nothing moves: as it was written
    (["\x1b[2K\x1b[33mN/A\x1b[0m\n"], ["\x1b[33mN/A\x1b[0m"]),
    (["\x1b[", "33", "mN/A\n"], ["\x1b[33mN/A"]),                   # in pieces, too
    (["\x1b[31mred", "\x1b[0m\rR\n"], ["R\x1b[31med\x1b[0m"]),      # what is left keeps its colour
    (["\x1b[31ma\nb\x1b[0m\x1b[A\x1b[A\rc\n"], ["c", "\x1b[31mb\x1b[0m"]),
    (["a\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\b\n"], ["alinkb"]),
    (["a\x1b]not a title\n", "b\n"], ["a]not a title", "b"]),
    (["\x1b[31", "中\n"], ["[31中"]),                               # it only looked like one
    (["a\tb\n"], ["a\tb"]),
    (["a\tb\r\x1b[9Gc\n"], ["a\tc"]),
    (["a\tb\r\x1b[3Gc\n"], ["a c     b"]),
    (["中文\rx\n"], ["x 文"]),
    (["trailing  \n"], ["trailing  "]),
    (["bar 50%\r", "       \r", "\n"], [""]),
    (["\x1b[999Cx\n"], [" " * 999 + "x"]),
    (["\x1b[999999999Cx\n"], [" " * 1000 + "x"]),
    (["a\x1b[999999999Bb\n"], ["ab"]),                              # to the last row, which this is
    (["a\nb\x1bM!\n"], ["a!", "b"]),
    (["a\nb\n", "c\x1b[s\x1b[2A\rA\x1b[uC\n"], ["a", "b", "A", "b", "cC"]),
])
def test_sequences(chunks, lines):
    screen = Screen()
    assert [line for chunk in chunks for line in screen.feed(chunk, 0.0)] + screen.end() == lines


@pytest.mark.parametrize("size", [1, 7, 64])
def test_coloured_lines_cut_anywhere_are_passed_on_and_never_taken_apart(size):
    """A flood comes in blocks that end within a sequence."""
    screen, ended = Screen(), []
    text = "".join(f"\x1b[3{n % 8}mINFO\x1b[0m step {n}\n" for n in range(200))
    for start in range(0, len(text), size):
        ended += screen.feed(text[start:start + size], 0.0)
        assert not screen.is_moving
    assert ended == text.splitlines() and screen.end() == []


def test_a_line_printed_after_bars_is_out_at_once():
    screen = Screen()
    for number in range(3):
        screen.feed(f"\router {number}\n\rinner {number}\x1b[A", 0.0)
    screen.feed("\n\n", 0.0)
    screen.feed("first\n", 0.0)
    assert screen.feed("second\n", 0.0)[-1] == "second" and screen.feed("third\n", 0.0) == ["third"]


@pytest.mark.few(2)
@pytest.mark.parametrize("again, size", [
    ("\r\x1b[2K\x1b[1A\x1b[2K{bar}\n{bar}", 2), ("\x1b[2A{bar}\n{bar}\n", 3),
    ("\x1b[2F\x1b[J{bar}\n{bar}\n", 3), ("\r\x1b[A\x1b[s{bar}\n{bar}\x1b[u\x1b[B", 2),
    ("\r\x1b[A\x1b7{bar}\n{bar}\x1b8\n", 2), ("\x1b[H\x1b[2J{bar}\n{bar}\n", 3), ("\r{bar}\x1b[K", 1),
])
def test_refreshes_cost_the_same_however_many_and_are_not_lines(again, size):
    """Counted: what the rows hold stays what the terminal shows."""
    screen, bar = Screen(), "epochs " + "=" * 40
    lines = screen.feed(f"{bar}\n{bar}" if size < 3 else f"{bar}\n{bar}\n", 0.0)
    for number in range(5_000):
        lines += screen.feed(again.format(bar=f"{bar} {number}"), 0.0)
        assert number % 1000 or sum(len(row.cells) for row in screen._rows) <= 3 * 60
    lines += screen.end()
    assert len(lines) <= 6 and max(map(len, lines)) <= 60 and lines[-1].endswith(" 4999")


@pytest.mark.parametrize("piece",
                         ["0.1234567890, ", ".", "\x1b[32m.\x1b[0m", "\x1b[Kx", "x\x1b[1@", "\x1b[1Cx"])
def test_a_line_without_end_is_bounded_whatever_it_is_made_of(piece, monkeypatch):
    monkeypatch.setattr("runicorn.writer.screen.LONGEST_OPEN", 4096)
    screen, lines, longest = Screen(), [], 0
    for number in range(1000):
        lines += screen.feed(piece * 10, 0.0)
        if number % 10 == 0:
            longest = max(longest, screen._length, *[len(row.cells) for row in screen._rows or []], 0)
    lines += screen.end()
    assert 0 < longest <= 4096 + 200 and max(map(len, lines)) <= 4096 * 12
    assert sum(line.count(piece.strip("\x1b[0m2K1@C, ")[-1]) for line in lines) >= 10_000


# -- real programs on a real terminal ------------------------------------------------------------------------

BEGIN = ("import sys, time\nimport runicorn\nrun = runicorn.init(project='p', name='n', system=False, "
         "capture={capture!r})\n")


def on_terminal(folder, code, capture):
    """Run a script on a terminal of 40 rows and 100 columns; returns (what arrived there as text, lines of
    the log)."""
    (folder / "train.py").write_text(BEGIN.format(capture=capture) + textwrap.dedent(code), encoding="utf-8")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen([sys.executable, "train.py"], cwd=folder,
                               env=environment(folder, TERM="xterm-256color", RUNICORN_QUIET="1",
TTY_COMPATIBLE="1", TTY_INTERACTIVE="1"), stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    blocks, deadline = [], time.monotonic() + 100
    try:
        while time.monotonic() < deadline:
            blocks.append(os.read(master, 65536))
            if not blocks[-1]:
                break
    except OSError:         # Linux's way of saying that the last writer closed the terminal
        pass
    os.close(master)
    try:
        assert process.wait(30) == 0, b"".join(blocks)
    finally:
        process.kill()
    return b"".join(blocks).decode(), [plain(line) for line in shown(only(folder))]


RICH_ROWS = """
    from rich.progress import Progress
    with Progress(refresh_per_second=50) as progress:
        tasks = [progress.add_task(f"task {number}", total=60) for number in range(ROWS)]
        for step in range(60):
            for task in tasks: progress.advance(task)
            if step % 10 == 0: print(f"line {step}")
            time.sleep(0.01)
    print("end")
    """
RICH_TABLE = """
    from rich.live import Live
    from rich.table import Table
    def table(rows):
        table = Table("epoch", "损失")
        for row in range(rows): table.add_row(str(row), f"{1 / (row + 1):.3f}")
        return table
    with Live(table(1), refresh_per_second=50) as live:
        for step in range(12):
            live.update(table(step + 1), refresh=True)
            if step % 4 == 0: print(f"line {step}")
            time.sleep(0.02)
    print("end")
    """
TQDM = """
    from tqdm import tqdm
    for epoch in tqdm(range(3), desc="epoch", position=0, mininterval=0.01, file=sys.stderr):
        for part in tqdm(range(3), desc="part", position=1, leave=False, mininterval=0.01, file=sys.stderr):
            for batch in tqdm(range(20), desc="batch", position=2, leave=False, mininterval=0.01,
                              file=sys.stderr):
                time.sleep(0.001)
                if part == 1 and batch == 7: tqdm.write(f"line {epoch}", file=sys.stderr)
    print("end")
    """
ENLIGHTENED = """
    for step in range(40):
        for number in range(4):       # each row by itself, as container tools do
            up = 4 - number
            moved = f"\\x1b[{up}A\\r\\x1b[2Klayer {number}: {step}\\x1b[{up}B\\r"
            sys.stdout.write(moved if step else f"layer {number}: 0\\n")
        sys.stdout.flush()
        time.sleep(0.005)
    print("end")
    """


@pytest.mark.few(1)
@pytest.mark.parametrize("capture", [True, "fd"])
@pytest.mark.parametrize("code, printed, most", [
    (RICH_ROWS.replace("ROWS", "2"), 6, 40), (RICH_ROWS.replace("ROWS", "3"), 6, 40),
    (RICH_ROWS.replace("ROWS", "10"), 6, 80), (RICH_TABLE, 3, 100), (TQDM, 3, 30), (ENLIGHTENED, 0, 12),
], ids=["rich 2", "rich 3", "rich 10", "rich table", "tqdm 3", "rows"])
def test_bars_of_real_programs(tmp_path, code, printed, most, capture):
    text, lines = on_terminal(tmp_path, code, capture)
    rows = without_blank(picture(text))
    assert without_blank(lines)[-len(rows):] == rows or within(rows, lines), (rows, lines)
    assert [line for line in lines if line.startswith("line ")] == [
        row for row in rows if row.startswith("line ")]
    assert sum(line.startswith("line ") for line in lines) == printed and lines[-1] == "end"
    assert len(lines) <= most and max(map(len, lines)) <= 100, lines


@pytest.mark.parametrize("text", ["\x1b[2Kloss 0.5", "\x1b[1Kloss 0.5", "\x1b[2Jloss 0.5", "loss 0.5\x1bD"])
def test_a_row_that_is_erased_without_going_back_does_not_grow(text):
    screen, lines = Screen(), []
    for number in range(5000):
        lines += screen.feed(text, number * 0.01) or []
    assert max((len(row.cells) for row in screen._rows or []), default=0) <= 1100
    assert max(map(len, lines), default=0) <= 1100
