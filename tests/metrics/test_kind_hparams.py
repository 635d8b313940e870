"""Settings as Lightning's CSVLogger and PyYAML write them are read as PyYAML reads them; what is hostile
costs little."""

import math
import random
import re
import time

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from runicorn.metrics.kinds.hparams import config, is_kind

texts = st.one_of(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30),
                  st.sampled_from(
                      ["yes", "1e-05", "null", "~", "", " a ", "a: b", "a #b", "- x", "it's", 'say "x"',
                       "1_000", "0x10", "010", "2024-05-01", "line\nline\n", "[1]",
                       "{a}",
                       "a word " * 30, "*a", "&a", "!b", "%c", "@d", "?", "-", ":", "é" * 50, "tab\there",
                       "\\n", "..", "...", "---", "12:30:00", "1.5.2"]))
keys = st.text("abcdefghij_/.- 0123456789", min_size=1, max_size=20).filter(lambda key: key.strip() == key)
values = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(-10**12, 10**12),
                                st.floats(allow_nan=False), texts),
                      lambda inner: st.one_of(st.lists(inner, max_size=4),
                                              st.dictionaries(keys, inner, max_size=4)), max_leaves=12)


def meant(value):
    """Return what is read for a value: text that is a number to everybody but YAML 1.1 is one."""
    if isinstance(value, dict):
        return {key: meant(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [meant(inner) for inner in value]
    is_number = isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)", value)
    return float(value) if is_number else value


@pytest.mark.long
@settings(max_examples=150, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.dictionaries(keys, values, min_size=1, max_size=8), st.sampled_from([None, False, True]))
def test_what_pyyaml_writes_is_read_as_it_reads_it(data, style):
    assert config(yaml.safe_dump(data, default_flow_style=style, allow_unicode=True).encode()) == meant(data)
    assert config(yaml.safe_dump(data, default_flow_style=style, sort_keys=False).encode()) == meant(data)


@pytest.mark.frameworks
def test_lightning_writes_it(tmp_path):
    from pytorch_lightning.loggers import CSVLogger
    logger = CSVLogger(str(tmp_path), name="n", version=0)
    wanted = {"lr": 1e-05, "batch_size": 32, "name": "resnet50", "betas": [0.9, 0.999],
              "nested": {"a": 1, "b": {"c": None}}, "flag": True,
              "note": "a: b # c", "small": 1e-20, "list": [{"x": 1, "y": [1, 2]}, "z"]}
    logger.log_hyperparams(wanted)
    logger.log_metrics({"loss": 1.0}, 0)
    logger.save()
    content = (tmp_path / "n/version_0/hparams.yaml").read_bytes()
    assert is_kind("hparams.yaml", content) and not is_kind("conda.yaml", content)
    assert config(content) == wanted


def test_what_people_write_by_hand():
    content = b"""\xef\xbb\xbf%YAML 1.1
---
# a comment
lr: 1e-4   # as a number
seed: 0
model:
    name: 'it''s'
    layers: [64, 128, "a, b", {k: 1.5}]
    drop: .5
data:
  - a
  - path: /x/y
    n: 3
  -
    - 1
off: off
text: |
  two
    lines
folded: >-
  one
  line
url: http://host:80/x
obj: !!python/object:argparse.Namespace
  a: 1
tagged: !!float 3
empty:
last: "x\\ty"
"""
    assert config(content) == {
        "lr": 1e-4, "seed": 0,
        "model": {"name": "it's", "layers": [64, 128, "a, b", {"k": 1.5}], "drop": 0.5},
        "data": ["a", {"path": "/x/y", "n": 3}, [1]], "off": False, "text": "two\n  lines\n",
        "folded": "one line", "url": "http://host:80/x",
        "obj": "python/object:argparse.Namespace", "tagged": 3, "empty": None, "last": "x\ty"}
    assert math.isnan(config(b"a: .nan\n")["a"])
    assert config(b"a: -.inf\nb: .INF\n") == {"a": -math.inf, "b": math.inf}


@pytest.mark.parametrize("content",
                         [b"", b"\0\1\2", b"- 1\n- 2\n", b"just text\n", b"\xff\xfe", b"a" * (2 << 20),
                          b"{}\n"])
def test_what_holds_no_settings(content):
    assert config(content) == {}


@pytest.mark.parametrize("content", [
    b"a: " + b"[" * 200_000, b"a: " + b"{a: " * 100_000,
    b"".join(b" " * n + b"k%d:\n" % n for n in range(1200)), b"- " * 200_000,
    b"".join(b"k%d: 1\n" % n for n in range(90_000)), b'a: "' + b"\\" * 500_000, b"a: '" + b"'" * 500_000,
    b"a:\n" * 200_000, b"a" * 900_000 + b": 1",
    b"a: |\n" + b" x\n" * 200_000, b": " * 300_000, b'"' * 500_000, b"a: [" + b"'" * 200_000,
    b"a: " + b"1" * 500_000, b"a: [" + b"1, " * 200_000,
    b"a: b\n" + b" c\n" * 200_000, b"? x\n" * 100_000])
def test_hostile_files_cost_little(content):
    begin = time.process_time()
    found = config(content)
    assert time.process_time() - begin < 5 and type(found) is dict and len(found) <= 10_000


@pytest.mark.few(6)
@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_raise(seed):
    dice = random.Random(seed)
    content = bytearray(yaml.safe_dump({"a": {"b": [1, "x: y", {"c": "z" * 100}]}, "d": [[1, 2], {"e": 'q"'}],
                                        "f": "l\nm\n"}).encode() * 3)
    for _ in range(6):
        content[dice.randrange(len(content))] = dice.randrange(256)
    assert type(config(bytes(content))) is dict
