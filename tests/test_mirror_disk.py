"""Never wrong on this disk: names it can't tell apart, files that vanish under our hands, what is left of a transfer that was cut."""

import os
import random

import pytest
from test_sync import RUN, Pair, grow, here, live, make_run, mirror, pair, root, tree, write  # noqa: F401 (fixtures)

from runicorn import cache, sftp


@pytest.fixture
def caseless(monkeypatch):
    """A disk that ignores case, as far as the mirror can see."""
    monkeypatch.setattr(cache.Mirror, "ignores_case", True)


def contents(folder):
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def twins(run, names):
    for number, name in enumerate(names):
        write(run / name, b"%03d" % number * 1000, mtime=1_000_000_000)  # as large, and as old: only the place tells them apart


TWINS = ("last.pt", "LAST.pt", "Last.pt", "media/a.png", "Media/a.png", "EVENTS.jsonl")


def test_a_disk_that_knows_case_mirrors_twins_as_they_are(root, pair):
    twins(make_run(root), TWINS)
    one = pair()
    one.passes()
    one.same()


def test_on_a_disk_that_ignores_case_the_later_twins_are_escaped(root, pair, caseless):
    run = make_run(root)
    twins(run, TWINS)
    one = pair()
    one.passes()
    names = here(one)
    assert len({name.casefold() for name in names}) == len(names) == len(TWINS) + 5
    assert contents(one.mirror / RUN) == contents(run)
    assert {"LAST.pt", "Media/a.png", "events.jsonl"} <= set(names) and "last.pt" not in names and "EVENTS.jsonl" not in names
    before = {path: path.stat().st_ino for path in (one.mirror / RUN).rglob("*")}
    one.passes(700)
    one.passes(31)
    assert {path: path.stat().st_ino for path in (one.mirror / RUN).rglob("*")} == before, "known to be here"


def test_a_twin_that_comes_later_never_passes_for_the_one_that_is_here(root, pair, caseless):
    run = make_run(root)
    twins(run, ["readme"])
    one = pair()
    one.passes()
    assert "readme" in here(one)
    write(run / "README", b"other" * 600, mtime=1_000_000_000)
    held = one.mirror / RUN
    os.rename(held / "readme", held / "README")  # on such a disk this is one file
    one.passes(700)
    one.passes(31)
    assert (held / "README").read_bytes() == (run / "README").read_bytes()
    assert contents(held) == contents(run)


def test_of_two_runs_that_such_a_disk_takes_for_one_the_first_is_mirrored(root, pair, caseless, caplog):
    path = "p/n/runs/20250124_180000_abc124"
    make_run(root, path, status="running", rows=50, old=False)
    make_run(root, path.replace("p/", "P/"), status="running", rows=70, old=False)
    live(root, path)
    one = pair()
    one.bell.look({"runs"})
    one.passes()
    for _ in range(3):
        one.passes(1)
    kept = [held for held in (path, path.replace("p/", "P/")) if (one.mirror / held).exists()]
    assert len(kept) == 1 and "ignores case" in caplog.text
    assert contents(one.mirror / kept[0]) == contents(root / kept[0])
    assert one.sync.state()["state"] == "live" and one.sync.state()["runs"] == 2


class Meanwhile(sftp.Sftp):
    """Does something here while the server's answer to a READ is on its way."""

    then = None

    def ask(self, request, done):
        if request.kind == sftp.READ and self.then:
            return super().ask(request, lambda data: (self._once(), done(data)))
        return super().ask(request, done)

    def _once(self):
        then, self.then = self.then, None
        if then:
            then()


def deleting(one, file):
    """Let `file` of the mirror be deleted while bytes for it are on their way."""
    session = one.far.sessions[0]
    session.__class__ = Meanwhile
    session.then = (one.mirror / file).unlink


def test_a_tail_that_comes_for_a_file_deleted_meanwhile_makes_no_wrong_one(root, pair):
    run = make_run(root, status="running", rows=2000, old=False)
    live(root)
    one = pair()
    one.bell.look({"runs"})
    one.passes()
    one.passes(1)
    deleting(one, f"{RUN}/events.jsonl")
    grow(run / "events.jsonl")
    one.sync.one_pass(one.now + 1)
    held = tree(one.mirror).get(f"{RUN}/events.jsonl", b"")
    assert tree(root)[f"{RUN}/events.jsonl"].startswith(held)
    one.passes(31)
    one.same()


def test_a_file_deleted_in_the_moment_it_arrives_comes_again(root, pair, monkeypatch):
    make_run(root)
    arrived = cache.Mirror.replace

    def replace(self, path, name, data):
        arrived(self, path, name, data)
        if name == "logs.txt":
            monkeypatch.undo()
            os.unlink(self.place(path, name))

    monkeypatch.setattr(cache.Mirror, "replace", replace)
    one = pair()
    one.passes()
    one.passes(31)
    one.same()


def test_a_part_that_is_of_no_more_use_is_cleared_away(root, pair, monkeypatch):
    monkeypatch.setattr("runicorn.sync.SLICE", 0.0)
    run = make_run(root)
    write(run / "weights.pt", random.Random(1).randbytes(3_000_000))
    one = pair(large=True)
    parts = one.mirror / ".index" / "parts"
    for _ in range(200):
        one.sync.one_pass(one.now)
        if parts.exists() and any(part.stat().st_size for part in parts.iterdir()):
            break
    one.sync.pause()
    one.passes()
    write(run / "weights.pt", random.Random(2).randbytes(2_000_000))
    monkeypatch.undo()
    one.far = type(one.far)()
    one.sync.resume()
    one.passes()
    one.same()
    assert list(parts.iterdir()) == []
