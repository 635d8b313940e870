"""The SFTP client over OpenSSH's sftp-server, and over servers that lie, stall, ramble or break off."""

import os
import random
import socket
import struct
import threading
import time
from types import SimpleNamespace

import pytest
from clocks import Clock
from far import Far
from hypothesis import HealthCheck, given, settings, strategies

from runicorn.errors import DeniedError, LineError, MissingFileError, ProtocolError, RemoteError, SftpError
from runicorn.mirror import tails
from runicorn.ssh import packets, sftp


@pytest.fixture
def session(tmp_path):
    with Far() as far:
        yield far.open_sftp()


def whole(session, path, limit=64 << 20):
    return b"".join(session.read_pieces(path, limit))


def test_reads_whole_files_and_parts(session, tmp_path):
    data = random.Random(1).randbytes(3_000_000)
    (tmp_path / "文件").write_bytes(data)
    (tmp_path / "empty").write_bytes(b"")
    path = str(tmp_path / "文件")
    assert whole(session, path) == data and whole(session, path, limit=10) == data[:10]
    assert whole(session, str(tmp_path / "empty")) == b""
    size, empty = len(data), str(tmp_path / "empty")
    parts = session.parts([(path, 1000, 5), (path, size - 3, 100), (path, size + 3, 9), (path, 5, size),
                           (empty, 0, 9)])
    assert parts == [data[1000:1005], data[-3:], b"", data[5:], b""]


def test_lists_and_stats(session, tmp_path):
    for n in range(300):
        (tmp_path / f"file{n:03d}").write_bytes(b"x" * n)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9"), "wb"):
        pass
    listed = dict(session.listdir(str(tmp_path)))
    assert len(listed) == 302 and listed["file007"].size == 7 and None not in listed
    assert sftp.is_dir(listed["folder"]) and sftp.is_link(listed["link"]) and sftp.is_file(listed["file007"])
    os.utime(tmp_path / "file001", (5, 123456789))
    assert session.lstat(str(tmp_path / "file001")).mtime == 123456789
    assert session.realpath(str(tmp_path / "folder" / "..")) == str(tmp_path)


def test_a_batch_is_answered_in_order_and_one_refusal_spoils_nothing(session, tmp_path):
    (tmp_path / "a").write_bytes(b"aaa")
    found = session.batch(
        [sftp.lstat(str(tmp_path / "a")), sftp.lstat(str(tmp_path / "b")), sftp.opendir(str(tmp_path / "a")),
         sftp.realpath(".")]
    )
    assert found[0].size == 3 and isinstance(found[1], MissingFileError) and isinstance(found[2], SftpError)
    assert found[3].startswith("/")
    assert "b: No such file" in str(found[1])


def test_thousands_of_requests_share_few_round_trips(session, tmp_path):
    (tmp_path / "a").write_bytes(b"aaa")
    assert [attrs.size for attrs in session.batch([sftp.lstat(str(tmp_path / "a"))] * 5000)] == [3] * 5000
    assert session.requests >= 5000 and session.max_read == 255 << 10


def test_no_request_writes():
    """Read-only by construction: of all packet types that requests can have, none is one that changes a
    file."""
    made = [
        sftp.lstat("p"),
        sftp.fstat(b"h"),
        sftp.open_file("p"),
        sftp.read(b"h", 0, 1),
        sftp.close(b"h"),
        sftp.opendir("p"),
        sftp.readdir(b"h"),
        sftp.realpath("p"),
        sftp._limits(),
    ]
    writing = {6, 9, 10, 13, 14, 15, 18, 20}  # WRITE SETSTAT FSETSTAT REMOVE MKDIR RMDIR RENAME SYMLINK
    assert not {request.kind for request in made} & writing
    assert sftp.open_file("p").body[-8:] == struct.pack(">II", 1, 0), "SSH_FXF_READ alone, no attributes"
    assert sftp._limits().body[4:] == b"limits@openssh.com"


def test_refused_files_are_denied_not_missing(tmp_path):
    if os.geteuid() == 0:
        words = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                 "/usr/lib/openssh/sftp-server")
    else:
        words = ("/usr/lib/openssh/sftp-server",)
    (tmp_path / "mine").write_bytes(b"secret")
    (tmp_path / "mine").chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with Far(words, cwd="/") as far, pytest.raises(DeniedError):
        far.open_sftp().open(str(tmp_path / "mine"))


# -- servers that misbehave ----------------------------------------------------------------------------------


def packet(kind, body):
    return struct.pack(">IB", len(body) + 1, kind) + body


def string(raw):
    return struct.pack(">I", len(raw)) + raw


VERSION = packet(2, struct.pack(">I", 3))


class Scripted:
    """A server that answers each request by `answer(kind, number, body)` -> bytes, or hangs up on None."""

    def __init__(self, answer, hello=VERSION):
        self.answer, self.hello = answer, hello
        self.near, self.far = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with self.far, self.far.makefile("rb") as requests:
            try:
                while head := requests.read(4):
                    request = requests.read(struct.unpack(">I", head)[0])
                    reply = (self.hello if request[0] == 1
                             else self.answer(request[0], request[1:5], request[5:]))
                    if reply is None:
                        return
                    self.far.sendall(reply)
            except OSError:
                pass  # the client hung up

    def __enter__(self):
        return self.near

    def __exit__(self, *exc):
        self.near.close()
        self.thread.join(5)


@pytest.mark.parametrize(
    "hello, error",
    [
        (b"Welcome to gpu-01!\r\nLast login: yesterday\r\n", 'answered "Welcome to gpu-01!'),
        (packet(2, struct.pack(">I", 2)), "version 3"),
        (packet(101, b"\0" * 8), "version 3"),
        (packet(2, b""), "version 3"),
        (struct.pack(">I", 0), "instead of SFTP"),
        (None, "closed the line"),
    ],
)
def test_a_server_that_does_not_say_hello_properly(hello, error):
    with Scripted(None, hello) as stream, pytest.raises(RemoteError, match=error):
        sftp.Sftp(stream, timeout=20)


def data(number, raw):
    return packet(103, number + string(raw))


@pytest.mark.parametrize(
    "answer, error",
    [
        (lambda kind, number, body: data(b"\0\0\0\x63", b"x"), "nobody asked"),
        (lambda kind, number, body: data(number, b"x" * 99), "fit"),
        (lambda kind, number, body: packet(102, number + string(b"h")), "packet type 102"),
        (lambda kind, number, body: struct.pack(">I", 1 << 30), "of 1073741824 bytes"),
        (lambda kind, number, body: packet(103, number + struct.pack(">I", 50) + b"short"), "fit"),
        (lambda kind, number, body: packet(103, number), "ends in the middle"),
        (lambda kind, number, body: packet(101, number + struct.pack(">I", 0)), "OK where data"),
        (lambda kind, number, body: packet(103, b"")[:5], "without a number"),
        (lambda kind, number, body: None, "closed the line"),
        (lambda kind, number, body: b"", "no answer"),
    ],
)
def test_a_read_answered_wrongly_is_a_clear_error(answer, error):
    with Scripted(answer) as stream:
        session = sftp.Sftp(stream, timeout=20)
        session._packets._timeout = 0.5 if error == "no answer" else 20
        with pytest.raises((ProtocolError, LineError), match=error):
            session.batch([sftp.read(b"h", 0, 10)])


def test_a_server_that_dribbles_does_not_hold_us_for_ever():
    def answer(kind, number, body):
        for byte in struct.pack(">IB", 200, 103) + b"\0" * 20:
            time.sleep(0.1)
            server.far.send(bytes([byte]))
        return None

    server = Scripted(answer)
    with server as stream, pytest.raises(LineError, match="no answer"):
        sftp.Sftp(stream, timeout=0.5).lstat("/x")


def test_what_came_while_this_process_stood_still_is_no_silence_of_the_server(monkeypatch):
    clock = Clock(0.0)

    class Stream:
        answers = [TimeoutError, socket.timeout, packet(101, struct.pack(">II", 7, 0))]

        def settimeout(self, seconds):
            pass

        def recv(self, count):
            clock.now += 100.0           # stopped for so long
            answer = self.answers.pop(0)
            if isinstance(answer, bytes):
                return answer
            raise answer

    monkeypatch.setattr(packets, "time", SimpleNamespace(monotonic=clock))
    assert packets.Packets(Stream(), 30.0).wait()[:5] == b"\x65\0\0\0\7"
    with pytest.raises(LineError, match="no answer from the server for 3 s"):
        Stream.answers = [TimeoutError] * 2
        packets.Packets(Stream(), 3.0).wait()


TEXT = bytes(range(256)) * 400


def of_text(kinds=None, **others):
    """Return an `answer` of a server with TEXT in each file, that reads 777 bytes at most; kinds: a list that
    takes each request's; others: what it answers, by its name, to a kind of request."""
    other = {getattr(sftp, name): reply for name, reply in others.items()}

    def answer(kind, number, body):
        if kinds is not None:
            kinds.append(kind)
        if kind in other:
            return other[kind](number)
        if kind == 3:
            return packet(102, number + string(b"h"))
        if kind in (sftp.LSTAT, sftp.FSTAT, sftp.STAT):
            return packet(105, number + struct.pack(">IQI", 5, len(TEXT), 0o100644))
        if kind == 4:
            return packet(101, number + struct.pack(">I", 0) + string(b"") + string(b""))
        offset, size = struct.unpack(">QI", body[-12:])
        return data(number, TEXT[offset : offset + min(size, 777)])
    return answer


def test_short_reads_are_asked_again():
    ranges = [(0, 10_000), (len(TEXT) - 5000, 9000), (50, 1), (len(TEXT), 10), (300, 80_000)]
    there = [TEXT[offset:offset + length] for offset, length in ranges]
    with Scripted(of_text()) as stream:
        client = sftp.Sftp(stream, timeout=20)
        assert whole(client, "/x") == TEXT
        assert client.parts([("/x", *place) for place in ranges]) == there
        look = tails.Tails(client, None, "/root", None)
        assert look.peek(("p/e/runs/x", "logs.txt"), [*ranges, (-5000, 9000)]) == [*there, TEXT[-5000:]]


def failure(number):
    return packet(101, number + struct.pack(">I", 4) + string(b"Failure") + string(b""))


@pytest.mark.parametrize("others, words", [
    ({"FSTAT": failure}, "Failure"), ({"READ": failure}, "Failure"), ({"OPEN": failure}, "Failure"),
    ({"LSTAT": failure}, "Failure"),
    ({"FSTAT": lambda number: packet(105, number + struct.pack(">II", 4, 0o100644))},
     "does not tell its size")])
def test_a_look_at_a_file_that_the_server_refuses_is_an_error_of_that_file_and_leaves_nothing_open(
        others, words):
    kinds = []
    with Scripted(of_text(kinds, **others)) as stream:
        client = sftp.Sftp(stream, timeout=20)
        with pytest.raises(SftpError, match=words):
            tails.Tails(client, None, "/root", None).peek(("p/e/runs/x", "logs.txt"), [(-10, 10)])
        client.batch([sftp.stat_target("/x")])          # what nobody waits for goes with the next request
    opened = "OPEN" not in others and "LSTAT" not in others
    assert kinds.count(sftp.CLOSE) == opened, kinds


def test_a_folder_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(sftp, "MAX_NAMES", 500)
    names = struct.pack(">I", 100) + (string(b"n") + string(b"") + struct.pack(">I", 0)) * 100

    def answer(kind, number, body):
        return packet(102, number + string(b"h")) if kind == 11 else packet(104, number + names)

    with Scripted(answer) as stream, pytest.raises(ProtocolError, match="more than 500"):
        sftp.Sftp(stream, timeout=20).listdir("/x")


def test_a_status_message_can_not_fake_a_terminal():
    def answer(kind, number, body):
        return packet(101, number + struct.pack(">I", 4) + string(b"\x1b[2Jhacked\r\n" + b"A" * 9999)
                      + string(b""))

    with Scripted(answer) as stream, pytest.raises(SftpError) as caught:
        sftp.Sftp(stream, timeout=20).lstat("/x")
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 250 and caught.value.status == 4


REQUESTS = [
    sftp.lstat("p"),
    sftp.read(b"h", 0, 100),
    sftp.opendir("p"),
    sftp.readdir(b"h"),
    sftp.realpath("p"),
    sftp.close(b"h"),
    sftp.open_file("p"),
]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=strategies.integers(0, 255),
    request=strategies.sampled_from(REQUESTS),
    body=strategies.binary(max_size=200),
    keep_number=strategies.booleans(),
    lie=strategies.integers(-5, 5),
)
def test_whatever_a_server_sends_ends_in_a_result_or_one_of_our_errors(kind, request, body, keep_number, lie):
    def answer(_, number, __):
        raw = (number if keep_number else b"") + body
        return struct.pack(">IB", max(0, len(raw) + 1 + lie), kind) + raw

    with Scripted(lambda *words: answer(*words)) as stream:
        session = sftp.Sftp(stream, timeout=20)
        session._packets._timeout = 0.05
        try:
            session.batch([request])
        except RemoteError as error:
            assert str(error)
