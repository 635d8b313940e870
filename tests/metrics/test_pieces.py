"""Pieces: whatever they hold, joined they are one zlib stream of the whole text."""

import json
import zlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runicorn.metrics.pieces import Pieces, piece


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.recursive(st.text(max_size=200) | st.floats(allow_nan=False),
                             lambda inner: st.lists(inner, max_size=50)), max_size=12))
def test_joined_pieces_are_one_stream_of_the_whole(values):
    whole = Pieces(b'{"items":[', [piece(json.dumps(value).encode()) for value in values])
    assert json.loads(whole.plain()) == {"items": values}
    unpacker = zlib.decompressobj()             # as a browser does it: the checksum at the end included
    assert unpacker.decompress(whole.deflated()) == whole.plain() and unpacker.eof
    assert not unpacker.unused_data


def test_a_piece_is_compressed_once_and_used_many_times():
    text = json.dumps([step / 7 for step in range(5000)]).encode()
    one = piece(text)
    assert len(one.deflated) < 0.6 * len(text)
    assert Pieces(b"[[", [one] * 300).plain() == b"[[" + b",".join([text] * 300) + b"]}\n"
