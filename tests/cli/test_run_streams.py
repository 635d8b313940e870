"""What a Pump passes on, in which order it is logged, and in how many pieces."""

import os
import pty
import tty

from runicorn.cli.streams import Channel, Outlet, Pump, pipe


class Log:
    """Keeps what it is fed."""

    def __init__(self):
        self.pieces = []

    def feed(self, name, text):
        self.pieces.append((name, text))


def test_pieces_of_a_terminal_are_logged_together_and_before_what_another_stream_says_later(tmp_path):
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    source, errors = pipe()
    out = [os.open(tmp_path / name, os.O_CREAT | os.O_RDWR) for name in ("out", "err")]
    log = Log()
    pump = Pump([Channel(ours, Outlet(out[0]), "stdout"), Channel(source, Outlet(out[1]), "stderr")], log)
    for number in range(3):
        os.write(theirs, b"%d\n" % number)
        pump.channels[0].move(log)
    assert not log.pieces and (tmp_path / "out").read_bytes() == b"0\n1\n2\n"
    os.write(errors, b"oh\n")
    assert pump.wait(0.1) == []
    assert log.pieces == [("stdout", "0\n1\n2\n"), ("stderr", "oh\n")]
    os.write(theirs, "ü".encode()[:1])
    pump.wait(0.1)
    os.write(theirs, "ü".encode()[1:])
    os.close(theirs)
    os.close(errors)
    while not pump.is_over:
        pump.wait(0.1)
    assert "".join(text for _, text in log.pieces[2:]) == "ü" and not pump.channels
