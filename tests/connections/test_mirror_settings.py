"""Settings that change while a connection is at work: the line stays, and what is fetched follows at once."""

import os
import random
import time

import pytest
from far import Far
from pairs import OLD, OWN, RUN, Pair, here, make_run, mirror, pair, root, write  # noqa: F401 (fixtures)

from runicorn import manifest
from runicorn.errors import LoginError
from runicorn.mirror.second_line import SecondLine

RECENT = "p/n/runs/20250124_180000_abc124"


@pytest.fixture
def run(root):
    """An old run and a recent one, each with a small and a large file beside its own."""
    for path, old in ((RUN, True), (RECENT, False)):
        folder = make_run(root, path, old=old)
        write(folder / "notes.md", b"n" * 100)
        write(folder / "last.pt", random.Random(path).randbytes(2 << 20))
        if old:
            for file in [*folder.iterdir(), folder]:
                os.utime(file, (OLD, OLD))
    return root / RUN


def adjusted(one, **changes):
    """Let the settings change and pass; nobody logs in again."""
    one.sync.adjust({**one.sync.options, **changes})
    one.passes(1)
    assert one.logins == 1 and one.sync.state()["state"] == "live"


def test_what_is_fetched_follows_at_once(pair, run):
    one = pair(small_only=False, window="24h")
    one.passes()
    assert here(one) == [] and here(one, RECENT) == OWN
    adjusted(one, small_only=True)
    assert here(one) == [] and here(one, RECENT) == sorted([*OWN, "notes.md"])
    adjusted(one, window="7d")
    assert here(one) == sorted([*OWN, "notes.md"])
    adjusted(one, small_limit=50, window=None)
    assert "last.pt" not in here(one)
    adjusted(one, large=True)
    one.same()


def test_what_is_no_longer_wanted_is_given_up_half_way(pair, run, monkeypatch):
    class Lonely(Far):
        def second(self):
            raise LoginError("one line only")

    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.0)
    one = pair(far=Lonely(), large=True, window=None)
    one.sync.one_pass(one.now)
    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.001)
    one.sync.one_pass(one.now)
    assert one.sync.state()["progress"]["files_total"] == 14
    one.sync.adjust({**one.sync.options, "large": False, "small_only": False})
    monkeypatch.undo()
    one.passes()
    assert here(one) == here(one, RECENT) == OWN and one.logins == 1
    assert not list((one.mirror / ".index").glob("parts/*"))


class Slow:
    """A stream that delivers a block every 20 ms."""

    def __init__(self, stream):
        self.stream = stream

    def recv(self, size):
        time.sleep(0.02)
        return self.stream.recv(size)

    def __getattr__(self, name):
        return getattr(self.stream, name)


class SlowFar(Far):
    def stream(self):
        return Slow(super().stream())


def test_the_second_line_gives_up_what_is_no_longer_wanted(root, pair, monkeypatch):
    class Twofold(Far):
        def second(self):
            return SlowFar()

    def expecting(bulk):
        expect(bulk)
        while bulk._fetcher is None:
            time.sleep(0.01)

    expect = SecondLine.expect
    monkeypatch.setattr(SecondLine, "expect", expecting)      # it is there before the first line is done
    monkeypatch.setattr("runicorn.mirror.second_line.PROBE", 0)       # the line's bandwidth is known at once
    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.01)
    for n in range(60):
        folder = make_run(root, f"p/n/runs/20250123_{180000 + n}_abc123", rows=3)
        (folder / "last.pt").write_bytes(random.Random(n).randbytes(1_100_000))
    one = pair(far=Twofold(), large=True)
    for _ in range(500):
        one.sync.one_pass(one.now)
        if one.sync._remote_root.queue.second.held:
            break
    assert one.sync._remote_root.queue.second.held
    monkeypatch.undo()
    adjusted(one, large=False)
    weights = list(one.mirror.rglob("last.pt"))
    assert len(weights) < 60 and not one.sync._remote_root.queue.left
    assert all(path.read_bytes() == (root / path.relative_to(one.mirror)).read_bytes() for path in weights)


def test_the_manifest_is_taken_up_and_left_on_the_same_line(root, pair):
    make_run(root)
    manifest.generate(str(root))
    one = pair(far=Far(python="python3"), manifest=False)
    one.passes()
    assert one.sync.state()["source"] == "walk"
    adjusted(one, manifest=True)
    assert one.sync.state()["source"] == "exec"
    adjusted(one, manifest=False)
    assert one.sync.state()["source"] == "walk"
    one.far.exec_allowed = False
    adjusted(one, manifest=True)
    assert one.sync.state()["source"] == "manifest"
    one.same()


def test_a_rhythm_that_changes_takes_effect_at_once(root, pair):
    run = make_run(root, status="running")
    one = pair(interval=3600)
    one.passes()
    write(run / "summary.json", {"loss": 7})
    write(run / "new.txt", b"new")
    one.passes(60)
    assert "new.txt" not in here(one)
    adjusted(one, interval=30)
    assert "new.txt" in here(one)
    adjusted(one, mode="manual")
    one.passes(5)
    write(run / "newer.txt", b"newer")
    one.passes(1000)
    assert "newer.txt" not in here(one)
    adjusted(one, mode="auto")
    one.same()


@pytest.mark.long
def test_settings_that_change_while_it_rests_are_there_when_it_goes_on(root, pair, run):
    one = pair()
    one.sync.pause()
    one.passes()
    one.sync.adjust({**one.sync.options, "large": True})
    one.passes()
    assert one.logins == 0 and one.sync.state()["reason"]["code"] == "paused"
    one.sync.resume()
    one.passes()
    one.same()
