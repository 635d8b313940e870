"""What a channel's bytes wait in: beside what paramiko has in its place."""

import random
import threading
import types

import paramiko
import pytest
from paramiko.buffered_pipe import BufferedPipe, PipeTimeout

from runicorn.ssh import transport


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
    steps = [("read_ready",), ("read", 1, 0.0), ("read", 1, 0.01), ("feed", b"abcdef"), ("__len__",), ("read", 2, 1), ("read_ready",),
             ("read", 9, 1), ("feed", b"xyz"), ("empty",), ("read_ready",), ("feed", b"end"), ("close",), ("read", 9, 0.0),
             ("read", 9, 0.0), ("read", 9)]
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
