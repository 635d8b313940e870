"""What is huge or has no end costs little wherever it is given: it is counted before it is converted, and
described if too large."""

import collections
import itertools

import numpy as np
import pytest
from later import Later
from scripts import rows

import runicorn
from runicorn.writer.notice import _sentences

pd = Later("pandas")


@pytest.fixture
def run(tmp_path):
    _sentences.clear()
    with runicorn.init(project="p", name="n", storage=tmp_path / "root", capture=False, system=False,
                       quiet=True) as run:
        yield run


class Endless(collections.abc.Mapping):
    """Generates keys for ever, and counts how many were asked for."""

    asked = 0

    def __getitem__(self, key):
        return 1.0

    def __len__(self):
        return 1 << 40

    def __iter__(self):
        for number in itertools.count():
            self.asked += 1
            yield f"k{number}"


class EndlessDict(dict):
    asked = 0

    def items(self):
        for number in itertools.count():
            self.asked += 1
            yield f"k{number}", 1.0


@pytest.mark.parametrize("kind, wrap", [
    (Endless, lambda value: value), (EndlessDict, lambda value: value),
    (EndlessDict, lambda value: {"v": value}), (EndlessDict, lambda value: {"v": {"w": value}})])
def test_a_row_without_an_end_is_cut_after_thousands_of_values(run, capsys, kind, wrap):
    endless = kind()
    run.log(wrap(endless))
    run.log({"after": 1.0})
    first, after = rows(run.dir)
    assert 1000 < len(first["data"]) < 10_000 and endless.asked < 10_000 and after["data"] == {"after": 1.0}
    assert f"only the first {len(first['data'])} nested values of a call are" in capsys.readouterr().err


def test_a_plain_dict_of_many_thousands_is_kept_whole(run):
    run.log({"v": {f"k{number}": 1.0 for number in range(50_000)}})
    assert len(rows(run.dir)[0]["data"]) == 50_000


def zeros():
    import torch  # seconds, which each process that collects the tests would wait for
    return torch.zeros(10_000_000)


LARGE = {
    "array": (lambda: np.zeros((1000, 1000)), "<ndarray of shape (1000, 1000)>"),
    "tensor": (lambda: zeros(), "<Tensor of shape (10000000,)>"),
    "frame": (lambda: pd.DataFrame(np.zeros((100_000, 20))), "<DataFrame of shape (100000, 20)>"),
    "nested": (lambda: [[0.0] * 1000] * 1000, "<list of 1000>"),
    "arrays": (lambda: [np.zeros(1000)] * 1000, "<list of 1000>"),
    "dict": (lambda: dict.fromkeys(range(1_000_000)), "<dict of 1000000>"),
    "queue": (lambda: collections.deque(range(1_000_000)), "<deque of 1000000>"),
}


class Unprinted(np.ndarray):
    def __str__(self):
        raise AssertionError("all of it was made text")


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", LARGE)
def test_a_large_value_is_described_and_never_made_text(run, capsys, kind):
    make, text = LARGE[kind]
    run.tags = [make(), "a"]
    assert run.tags == (text, "a")
    run.notes = make()
    assert run.notes == text
    assert run.define_metric(make()).name == text
    run.define_metric("m", step_metric=make(), goal=make(), summary=make())
    run.log({"m": 1.0}, step=make(), commit=make())
    assert [row["step"] for row in rows(run.dir)] == [0] and text in capsys.readouterr().err


def test_tags_and_summaries_that_are_arrays(run, capsys):
    table = np.zeros((1000, 1000)).view(Unprinted)
    run.tags = table
    assert run.tags == ("<Unprinted of shape (1000, 1000)>",)
    run.tags = zeros()
    assert run.tags == ("<Tensor of shape (10000000,)>",)
    run.tags = np.array(["a", "b"])
    assert run.tags == ("a", "b")
    run.tags = itertools.count()
    assert len(run.tags) == 1000
    run.define_metric("m", summary=np.arange(1_000_000))
    assert 0 < len(capsys.readouterr().err.splitlines()) <= 20


def test_texts_of_millions_of_characters_are_cut(run):
    text = "x" * 10_000_000
    run.tags, run.notes = [text], text
    assert run.tags == ("x" * 100_000 + "…",) and run.notes == run.tags[0]
    assert run.define_metric(text).name == run.notes


def test_a_short_list_or_array_is_shown(run):
    run.tags = [[1, 2], (1, "a"), {"a": 1}, np.arange(3)]
    assert run.tags == ("[1, 2]", "(1, 'a')", "{'a': 1}", "[0 1 2]")
