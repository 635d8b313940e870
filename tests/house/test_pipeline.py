"""How the mirror keeps a line full and lets nobody wait: counted in requests, over OpenSSH's sftp-server."""

import logging
import time

import pytest
from far import Far
from pairs import make_run, mirror, pair, root  # noqa: F401 (fixtures)
from waiting import until

from runicorn import manifest
from runicorn.errors import LoginError
from runicorn.mirror import fetcher as fetch
from runicorn.mirror.fetcher import Fetcher
from runicorn.mirror.local_copy import LocalCopy
from runicorn.mirror.outcome import Outcome
from runicorn.mirror.plan import Fetch
from runicorn.mirror.room import Room
from runicorn.mirror.second_line import AGAIN, FAST, LONGEST_TRIAL, PROBE, TRIAL, TRIAL_CEILING, SecondLine
from runicorn.mirror.unsettled import Moment
from runicorn.ssh import sftp

MANY, LONG = 60, 3              # files; reads of one


@pytest.fixture
def line(root, tmp_path):
    """A Fetcher over a session that notes what is asked and what is answered: ("asked" or "answered",
    kind)."""
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
        near = LocalCopy(tmp_path / "near")
        near.lock()
        fetcher = Fetcher(session, near, str(root), Room(near.folder), lambda *said: ended.append(said),
                          lambda: Moment(0.0, None, 0.0))
        fetcher.allow(1 << 60)
        yield fetcher, seen, ended
        near.unlock()


def files(root, count, size):
    fetches = []
    for number in range(count):
        run = make_run(root, f"p/n/runs/20250123_{180000 + number}_abc123", rows=0)
        (run / "events.jsonl").write_bytes(b"x" * size)
        fetches.append(Fetch(f"p/n/runs/{run.name}", "events.jsonl", 0, size, None, None, True))
    return fetches


def test_the_next_files_are_opened_while_the_last_are_read(root, line, monkeypatch):
    monkeypatch.setattr(fetch, "AHEAD", 0)      # else all of them are before the first is read
    monkeypatch.setattr(fetch, "PACE", 60.0)    # and the ceiling stays
    fetcher, seen, ended = line
    fetcher.ceiling = 4 * LONG * 8192       # room for the reads of four files
    fetcher.add(files(root, MANY, LONG * 8192))
    while fetcher.left:
        fetcher.client.pump()
    assert len(ended) == MANY and {outcome for _, outcome, _, _ in ended} == {Outcome.DONE}
    reading, ahead = 0, 0
    for what, kind in seen:
        if kind == sftp.READ:
            reading += 1 if what == "asked" else -1
        ahead += (what, kind) == ("asked", sftp.OPEN) and reading > 0
    assert ahead > MANY * 3 // 4, "the answer to an OPEN comes behind all that was asked before it"


def test_files_are_opened_ahead_however_little_may_be_asked_for(root, line):
    """Of a line on trial: with a turn for each OPEN, and one for an LSTAT before it, it would not show how
    fast it is."""
    fetcher, seen, ended = line
    fetcher.ceiling = 8192
    fetcher.add(files(root, MANY, 8192))
    while fetcher.left:
        fetcher.client.pump()
    assert len(ended) == MANY and {outcome for _, outcome, _, _ in ended} == {Outcome.DONE}
    assert seen[:seen.index(("asked", sftp.READ))].count(("asked", sftp.OPEN)) == fetcher.client.room > 30


def test_what_may_be_asked_for_grows_though_files_are_opened_in_gusts(root, line, monkeypatch):
    fetcher, _, _ = line
    moment = [fetch.time.monotonic()]
    monkeypatch.setattr(fetch.time, "monotonic", lambda: moment[0])
    fetcher.ceiling, fetcher.promised = fetch.SMALLEST, 8 * fetch.SMALLEST
    for _ in range(8):
        moment[0] += 1.1 * fetch.PACE
        fetcher.client._packets.received += 4 * fetch.SMALLEST
        fetcher._pace()
    assert fetcher.ceiling > 8 * fetch.SMALLEST and fetcher.full == 0 and fetcher.wire_rate == float(
        "inf"), "the line was not full"
    fetcher.promised, ceiling = 0, fetcher.ceiling
    for _ in range(8):
        moment[0] += 1.1 * fetch.PACE
        fetcher._pace()
    assert fetcher.ceiling == ceiling, "nothing was asked for: that tells nothing"


@pytest.mark.parametrize("rate, fast", [(2 * FAST, True), (FAST / 2, None)])
def test_a_second_line_is_fast_by_what_its_trial_took_whenever_somebody_asks(rate, fast, monkeypatch):
    """Whoever asks may have been busy with the list for longer than the trial, and the trial may have been
    too short to fill the line."""
    second = SecondLine(None, None, "", None, None, None)
    second._tried = 100.0
    second._fetcher = type("Line", (), {"best_rate": 0.0, "bytes": TRIAL, "full": 0,
                                        "client": type("Client", (), {"answered_at": 100.0 + TRIAL / rate})})
    monkeypatch.setattr("runicorn.mirror.second_line.time.monotonic", lambda: 100.1)
    second._judge(type("Main", (), {"round_trip": 0.05}))
    assert second._fast is fast


def test_a_second_line_is_thin_if_it_was_full_and_slow_and_has_another_trial(monkeypatch):
    """One that was not full waited for a processor; so does the first, if it brings so much less."""
    clock, line = [0.0], type("Line", (), {"best_rate": 0.0, "bytes": 1_000_000, "full": 0,
                                          "client": type("Client", (), {"answered_at": 101.0})})
    monkeypatch.setattr("runicorn.mirror.second_line.time.monotonic", lambda: clock[0])
    main = type("Main", (), {"round_trip": 0.05, "full": PROBE, "wire_rate": 900_000.0,
                             "has_waiting": lambda self, *_: False})()

    def judged_at(now, full, fast):
        clock[0], line.full = now, full
        second._judge(main)
        return second._fast is fast
    second = SecondLine(None, None, "", None, logging.getLogger("t"), None)
    second._tried, second._fetcher = 100.0, line
    assert judged_at(100.9, PROBE, None) and judged_at(101.1, 0, None) and judged_at(101.2, PROBE, False)
    second._fetcher = None
    clock[0] = 120.0
    assert not second.share(main, []) and second._fast is False, "the first one makes as much of the line"
    main.wire_rate, clock[0] = 300_000.0, 101.3 + AGAIN - 1
    assert not second.share(main, []) and second._fast is False, "not at once"
    clock[0] += 1
    assert not second.share(main, []) and second._fast is None
    second._tried, second._fetcher = 110.0, line
    assert judged_at(111.5, 0, None)
    assert judged_at(110.1 + LONGEST_TRIAL, 0, False), "answers may be too rare to fill it"


def test_what_a_manifest_tells_is_fetched_while_the_folders_above_are_listed(root, pair, monkeypatch):
    for number in range(20):
        make_run(root, f"p/n/runs/20250123_{180000 + number}_abc123")
    manifest.generate(str(root))
    one, asked, ask = pair(manifest=True), [], sftp.Sftp.ask
    monkeypatch.setattr(sftp.Sftp, "ask",
                        lambda session, request, done: (asked.append((request.kind, request.about)),
                                                        ask(session, request, done))[1])
    one.passes()
    one.same()
    looked = asked.index((sftp.LSTAT, str(root / "p/n/runs/20250123_180019_abc123/meta.json")))
    assert asked.index((sftp.OPENDIR, str(root / "p/n/runs"))) > looked


def test_a_question_is_not_kept_waiting_by_bulk(root, line):
    fetcher, _, _ = line
    session, size = fetcher.client, 4 << 20
    fetcher.ceiling = 256 << 10
    fetcher.add(files(root, 4, size))
    while fetcher.left and not fetcher.in_flight:
        session.pump()
    path = str(root / "p/n/runs/20250123_180000_abc123/meta.json")
    on_its_way, before = fetcher.in_flight, session.received
    with fetcher.held_back():
        assert list(session.read_pieces(path, 1 << 20))
    received = session.received - before
    assert received <= on_its_way + 2 * session.max_read, "what was on its way, and no read of a file more"
    assert not fetcher.paused and fetcher.left
    while fetcher.left:
        session.pump()
    assert fetcher.bytes == 4 * size


def test_a_question_is_not_kept_waiting_by_the_second_line(root, tmp_path):
    """What it asked for is no more than it may while it is on trial; then it rests, and for a moment after
    the answer, and goes on."""
    near, room, size = LocalCopy(tmp_path / "near"), Room(tmp_path), 4 << 20
    near.lock()
    with Far() as far:
        second = SecondLine(far.second, near, str(root), room, logging.getLogger("t"),
                            lambda: Moment(0.0, None, 0.0))
        main = type("Main", (), {"can_wait": lambda self, one: True, "round_trip": 0.0})()
        later = files(root, 4, size)
        second.expect()
        until(lambda: second._fetcher, "a second line", pause=0.01)
        line, asked, tried = second._fetcher, [], []
        ask = line.client.ask
        line.client.ask = lambda request, done: (asked.append((request.kind, line.in_flight)),
                                                 ask(request, done))
        with second.held_back():
            second._take(main, later, 4, 1 << 60)
            time.sleep(0.3)
            assert line.left and not [kind for kind, _ in asked if kind == sftp.READ] and line.paused
            tried.append(second._tried)
        assert second._tried >= tried[0] + 0.3, "what it rested is no part of its trial"
        while second.held:
            second.collect()
            time.sleep(0.01)
        most = [count for kind, count in asked if kind == sftp.READ]
        second.close()
    near.unlock()
    assert len(most) > 30 and most[0] <= TRIAL_CEILING
    assert {path.stat().st_size for path in near.folder.rglob("events.jsonl")} == {size}


def test_a_second_line_that_had_no_work_yet_waits_for_a_list_that_is_long_in_coming(
        root, tmp_path, monkeypatch):
    monkeypatch.setattr("runicorn.mirror.second_line.LINGER", 0.05)
    near, room = LocalCopy(tmp_path / "near"), Room(tmp_path)
    near.lock()
    with Far() as far:
        second = SecondLine(far.second, near, str(root), room, logging.getLogger("t"),
                            lambda: Moment(0.0, None, 0.0))
        main = type("Main", (), {"can_wait": lambda self, one: True, "round_trip": 0.0})()
        second.expect()
        time.sleep(0.5)
        assert second._thread.is_alive()
        second._take(main, files(root, 1, 1000), 1, 1 << 60)


        def has_hung_up():
            second.collect()
            return second._thread is None and not second.held
        until(has_hung_up, "that it hangs up soon after the last of it", pause=0.01)
    near.unlock()


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
    # looks up after each handful of answers
    monkeypatch.setattr(Fetcher, "step", lambda fetcher, until: fetcher.client.pump())
    one.passes()
    one.same()
    assert seen[0][0] == 20 and seen[0][1] < 5, "all that the list shows, and bulk has only just begun"
    assert seen[-1] == (20, 20)
