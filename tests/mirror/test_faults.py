"""A planted mistake of our own is said as one, with its place, once: it is no line that broke, and is not
tried again for ever."""

import logging
import re
import threading
import time

import pytest
from pairs import RUN, make_run, mirror, pair, root  # noqa: F401 (fixtures)

from runicorn import faults
from runicorn.connections.connection import Connection
from runicorn.connections.questions import Questions
from runicorn.errors import FaultError
from runicorn.mirror import fetcher, local_copy, remote_root, verify
from runicorn.news import Bell


@pytest.fixture(autouse=True)
def nothing_was_told(monkeypatch):
    monkeypatch.setattr(faults, "_logged", set())


@pytest.fixture
def mistakes(caplog):
    """Return a function to what the log says of mistakes of ours (list of str)."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def broken(*args, **options):
    return {}["planted"]


def asked(one, question):
    """Ask from another thread as the viewer does, with passes meanwhile; returns what it raised."""
    caught = []

    def ask():
        try:
            question()
        except Exception as error:
            caught.append(error)
    thread = threading.Thread(target=ask)
    thread.start()
    while thread.is_alive():
        one.sync.one_pass(one.now)
        time.sleep(0.01)
    return caught[0]


def test_a_question_that_meets_it_is_told_so_and_the_line_goes_on(root, pair, monkeypatch, mistakes):
    make_run(root)
    one = pair()
    one.passes()
    with monkeypatch.context() as patch:
        patch.setattr(remote_root.RemoteRoot, "peek", broken)
        answers = [asked(one, lambda: one.sync.peek(RUN, "logs.txt", [(0, 10)])) for _ in range(3)]
    for error in answers:
        assert type(error) is FaultError and "line broke" not in str(error)
        assert re.search(r"a mistake of Runicorn's own at mirror/sync\.py:\d+ \(KeyError: 'planted'\)",
                         str(error))
    assert len(answers) == 3 and len(mistakes()) == 1
    assert one.logins == 1 and one.sync.state()["state"] == "live"
    make_run(root, "nlp/bert/runs/20250124_180000_abc124")
    one.passes(31)
    one.same()


def test_the_second_line_is_left_and_not_dialled_again(root, pair, monkeypatch, mistakes):
    for n in range(8):
        make_run(root, f"p/n/runs/20250123_{180000 + n}_abc123", rows=20_000)
    monkeypatch.setattr("runicorn.mirror.second_line.PROBE", 0)
    step = fetcher.Fetcher.step
    begun = []

    def step_of_the_first(self, until):
        if threading.current_thread().name == "bulk":
            begun.append(until)
            broken()
        return step(self, until)
    monkeypatch.setattr(fetcher.Fetcher, "step", step_of_the_first)
    one = pair()
    one.passes()
    one.same()
    assert len(begun) == 1 and one.sync._remote_root.queue.second.refused
    assert len(mistakes()) == 1 and "the second line failed" in mistakes()[0]
    assert "mirror/second_line.py:" in mistakes()[0]


def test_a_comparison_by_hash_ends(root, pair, monkeypatch, mistakes):
    make_run(root)
    one = pair()
    one.passes()
    monkeypatch.setattr(verify, "_by_exec", broken)
    hashing = verify.Hashing(one.far, one.sync.mirror, str(root), [(RUN, "logs.txt")], one.sync.log)
    hashing._thread.join(20)
    assert not hashing.busy and hashing.wrong == {(RUN, "logs.txt")}
    assert len(mistakes()) == 1 and "comparing by sha256 failed" in mistakes()[0]


class Ended(Connection):
    """A connection whose way to the server is a folder of this machine."""

    far = None

    def _connect(self):
        return self.far


@pytest.mark.parametrize("where, name", [
    (remote_root.RemoteRoot, "survey"), (local_copy.LocalCopy, "save_index"), (fetcher.Fetcher, "add"),
])
def test_a_sync_that_meets_it_ends_and_says_where(root, pair, tmp_path, monkeypatch, mistakes, where, name):
    make_run(root)
    one = pair()
    monkeypatch.setattr(where, name, broken)
    bell = Bell()
    connection = Ended(one.options | {"enabled": True, "auth": "key", "key": None}, tmp_path / "home", bell,
                       Questions(bell), logging.getLogger("sync"), {})
    connection.far = one.far
    connection.start()
    deadline = time.monotonic() + 30
    while connection._thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    row = connection.row()
    assert row["state"] == "refused", row
    assert re.search(r"the sync ended by a mistake of Runicorn's own at mirror/\w+\.py:\d+ \(KeyError",
                     row["reason"]["text"])
    assert row["reason"]["code"] == "refused" and len(mistakes()) == 1
    time.sleep(1.5)
    assert not connection._thread.is_alive() and connection.row()[
        "state"] == "refused", "nothing tries it again"
