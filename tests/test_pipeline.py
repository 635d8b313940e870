"""How the mirror keeps a line full and lets nobody wait: counted in requests, over OpenSSH's sftp-server."""

import pytest
from far import Far
from pairs import make_run, mirror, pair, root  # noqa: F401 (fixtures)

from runicorn import sftp
from runicorn.cache import Mirror
from runicorn.errors import LoginError
from runicorn.fetch import Fetcher
from runicorn.plan import Fetch
from runicorn.room import Room
from runicorn.unsettled import Moment

MANY, LONG = 60, 3              # files; reads of one


@pytest.fixture
def line(root, tmp_path):
    """A Fetcher over a session that notes what is asked and what is answered: ("asked" or "answered", kind)."""
    with Far() as far:
        session, seen, ended = far.open_sftp(), [], []
        session.batch([sftp.lstat(str(root))])
        session.grants.announce(100, 8192)
        ask = session.ask

        def noting(request, done):
            def noted(result):
                seen.append(("answered", request.kind))
                done(result)
            seen.append(("asked", request.kind))
            ask(request, noted)
        session.ask = noting
        near = Mirror(tmp_path / "near")
        near.lock()
        fetcher = Fetcher(session, near, str(root), Room(near.folder), lambda *said: ended.append(said),
                          lambda: Moment(0.0, None, 0.0))
        fetcher.enough = 1 << 60
        yield fetcher, seen, ended
        near.unlock()


def files(root, count, size):
    fetches = []
    for number in range(count):
        run = make_run(root, f"p/n/runs/20250123_{180000 + number}_abc123", rows=0)
        (run / "events.jsonl").write_bytes(b"x" * size)
        fetches.append(Fetch(f"p/n/runs/{run.name}", "events.jsonl", 0, size, None, None, True))
    return fetches


def test_the_next_files_are_opened_while_the_last_are_read(root, line):
    fetcher, seen, ended = line
    fetcher.ceiling = 4 * LONG * 8192       # room for the reads of four files
    fetcher.add(files(root, MANY, LONG * 8192))
    while fetcher.left:
        fetcher.session.pump()
    assert len(ended) == MANY and {outcome for _, outcome, _, _ in ended} == {"done"}
    reading, ahead = 0, 0
    for what, kind in seen:
        if kind == sftp.READ:
            reading += 1 if what == "asked" else -1
        ahead += (what, kind) == ("asked", sftp.OPEN) and reading > 0
    assert ahead > MANY * 3 // 4, "the answer to an OPEN comes behind all that was asked before it"


def test_a_question_is_not_kept_waiting_by_bulk(root, line):
    fetcher, _, _ = line
    session, size = fetcher.session, 4 << 20
    fetcher.ceiling = 256 << 10
    fetcher.add(files(root, 4, size))
    while fetcher.left and not fetcher.asked:
        session.pump()
    path = str(root / "p/n/runs/20250123_180000_abc123/meta.json")
    on_its_way, before = fetcher.asked, session.received
    with fetcher.held_back():
        assert list(session.read_pieces(path, 1 << 20))
    assert session.received - before <= on_its_way + 2 * 4 * session.max_read, "what was on its way, and a read or two of each file"
    while fetcher.left:
        session.pump()
    assert fetcher.bytes == 4 * size


def test_the_list_is_written_before_bulk_begins(root, pair, monkeypatch):
    class Lonely(Far):                  # a second line need not wait: it holds nothing up
        def second(self):
            raise LoginError("one line only")

    for number in range(20):
        make_run(root, f"p/n/runs/20250123_{180000 + number}_abc123", rows=3000)
    one, seen = pair(far=Lonely()), []
    publish = type(one.sync)._publish

    def noting(sync, session, now):
        publish(sync, session, now)
        if (one.mirror / ".index/full.json").exists():
            held = [path.name for path in one.mirror.glob("p/n/runs/*/*")]
            seen.append((held.count("summary.json"), held.count("events.jsonl")))
    monkeypatch.setattr(type(one.sync), "_publish", noting)
    monkeypatch.setattr(Fetcher, "step", lambda fetcher, until: fetcher.session.pump())       # looks up after each handful of answers
    one.passes()
    one.same()
    assert seen[0][0] == 20 and seen[0][1] < 5, "all that the list shows, and bulk has only just begun"
    assert seen[-1] == (20, 20)
