"""What a channel's bytes wait in: beside what paramiko has in its place."""

import random
import threading
import types

import paramiko
import pytest
from paramiko.buffered_pipe import BufferedPipe, PipeTimeout

from runicorn.ssh import line, transport


@pytest.fixture
def chunks():
    return transport.buffer_class(paramiko)()


def test_every_byte_comes_once_and_in_order_in_pieces_of_any_size(chunks):
    chance = random.Random(4)
    data = chance.randbytes(3_000_000)

    def feed():
        at = 0
        while at < len(data):
            size = chance.choice((1, 7, 4096, 32_768, 65_536))
            chunks.feed(data[at:at + size])
            at += size
        chunks.close()
    feeder = threading.Thread(target=feed)
    feeder.start()
    taken = bytearray()
    while piece := chunks.read(random.Random(len(taken)).choice((1, 100, 40_000, 261_120)), 10):
        assert type(piece) is bytes
        taken += piece
    feeder.join()
    assert taken == data and chunks.read(1) == b"" and len(chunks) == 0


def answers(pipe):
    """What a pipe answers, step by step."""
    event, told = threading.Event(), []
    pipe.set_event(event)
    steps = [("read_ready",), ("read", 1, 0.0), ("read", 1, 0.01), ("feed", b"abcdef"), ("__len__",),
             ("read", 2, 1), ("read_ready",), ("read", 9, 1), ("feed", b"xyz"), ("empty",), ("read_ready",),
             ("feed", b"end"), ("close",), ("read", 9, 0.0), ("read", 9, 0.0), ("read", 9)]
    for name, *arguments in steps:
        try:
            told.append((getattr(pipe, name)(*arguments), event.is_set()))
        except PipeTimeout as error:
            told.append((type(error), event.is_set()))
    return told


def test_it_answers_as_paramikos_own_does(chunks):
    told = answers(chunks)
    assert told == answers(BufferedPipe()) and len(told) == 16


@pytest.mark.parametrize("ended", ["closed", "eof_received"])
def test_a_channel_that_ended_at_once_has_an_end(ended):
    channel = types.SimpleNamespace(**{"closed": False, "eof_received": False, ended: True})
    transport.take_chunks(paramiko, channel)
    assert channel.in_buffer.read(1, 5) == b""


class Bytes:
    """A socket that hands out `data` in pieces of the sizes given, whatever it is asked for, and counts how
    often that was."""

    def __init__(self, data, sizes):
        self.data, self.sizes, self.asked = data, sizes, 0
        self.settimeout = lambda seconds: None

    def recv(self, size):
        self.asked += 1
        count = min(size, self.sizes[self.asked % len(self.sizes)])
        piece, self.data = self.data[:count], self.data[count:]
        return piece


@pytest.mark.parametrize("sizes", [[1], [7, 100], [65_536], [1 << 20]])
def test_a_packets_head_and_the_rest_of_it_are_one_wait_for_the_line(sizes):
    """paramiko asks for 16 bytes, then for the rest, and each wait may cost another thread's turn."""
    data = random.Random(9).randbytes(20_000 if sizes[0] < 100 else 3_000_000)
    stream = Bytes(data, sizes)
    counted, taken = line.Counted(stream), bytearray()
    while piece := counted.recv(16 if len(taken) % 5 else 32_752):
        assert 0 < len(piece) <= 32_752
        taken += piece
    assert taken == data and counted.received == len(data) and bytes(counted.first) == data[:line.FIRST_BYTES]
    assert counted.recv(16) == b""
    assert stream.asked <= len(data) // min(sizes[-1], sizes[0], line.AHEAD) + 3


def test_the_handshake_ends_once():
    """paramiko cancels its timer again with each packet."""
    packets = transport.transport_class(paramiko).keywords["packetizer_class"](types.SimpleNamespace())
    packets.complete_handshake()        # before it began there is nothing to end
    packets.start_handshake(0.01)
    threading.Event().wait(0.1)
    assert packets.handshake_timed_out()
    packets.complete_handshake()
    packets.complete_handshake()
    assert not packets.handshake_timed_out()
