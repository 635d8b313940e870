"""One mirror, end to end over OpenSSH's sftp-server: what comes here, how, and what the state says."""

import json
import os
import threading
import time

import pytest
from far import Far
from pairs import OLD, OWN, RUN, Pair, grow, here, live, make_run, mirror, pair, root, told, tree, write  # noqa: F401 (fixtures)

from runicorn import manifest


def test_everything_comes_from_nothing(root, pair):
    make_run(root)
    make_run(root, "nlp/bert/runs/20250124_180000_abc124", status="running", old=False)
    one = pair()
    one.passes()
    one.same()
    index = manifest.load(one.mirror / ".index" / "full.json")
    assert index.entry("vision/resnet50/runs/20250123_180000_abc123")["status"] == {"status": "finished"}
    assert one.sync.state()["state"] == "live" and one.sync.state()["runs"] == 2
    assert one.sync.state()["source"] == "walk"


def test_a_log_that_grew_is_appended_not_fetched_again(root, pair):
    run = make_run(root, status="running", rows=20_000)
    one = pair()
    one.passes()
    before = one.far.bytes_received
    inode = (one.mirror / run.relative_to(root) / "events.jsonl").stat().st_ino
    with open(run / "events.jsonl", "ab") as file:
        file.write(b'{"ts":1,"step":20001,"data":{"loss":1}}\n')
    one.passes(31)
    one.same()
    assert (one.mirror / run.relative_to(root) / "events.jsonl").stat().st_ino == inode
    assert one.far.bytes_received - before < 20_000


def test_a_replaced_file_is_replaced_by_rename(root, pair):
    run = make_run(root, status="running")
    one = pair()
    one.passes()
    inode = (one.mirror / run.relative_to(root) / "summary.json").stat().st_ino
    write(run / "summary.json", {"loss": 0.25})
    one.passes(31)
    one.same()
    assert (one.mirror / run.relative_to(root) / "summary.json").stat().st_ino != inode
    assert (manifest.load(one.mirror / ".index" / "full.json").entry(str(run.relative_to(root)))["summary"]
            == {"loss": 0.25})


@pytest.mark.parametrize(
    "options, extra",
    [
        ({"small_only": True, "large": False}, ["media/a.png"]),
        ({"small_only": False, "large": False}, []),
        ({"small_only": True, "large": True}, ["checkpoints/last.pt", "media/a.png"]),
        ({"small_limit": 50}, []),
        ({"small_limit": 3 << 20}, ["checkpoints/last.pt", "media/a.png"]),
    ],
)
def test_which_files_come_is_the_users_choice(root, pair, options, extra):
    run = make_run(root)
    write(run / "media" / "a.png", b"p" * 100)
    write(run / "checkpoints" / "last.pt", b"w" * (2 << 20))
    one = pair(**options)
    one.passes()
    assert here(one) == sorted(OWN + extra)


def test_only_recent_runs_are_fetched_when_a_window_is_set_but_all_are_listed(root, pair):
    make_run(root)
    make_run(root, "p/n/runs/20250124_180000_abc124", old=False)
    one = pair(window="24h")
    one.passes()
    assert one.sync.state()["runs"] == 2
    assert here(one) == [] and here(one, "p/n/runs/20250124_180000_abc124") == OWN
    one.sync.want(RUN)
    one.passes()
    assert here(one) == OWN, "a run somebody opens is fetched all the same"


def test_manual_mode_fetches_on_demand_only(root, pair):
    run = make_run(root, status="running")
    one = pair(mode="manual")
    one.passes()
    assert one.far.sessions == [] and one.sync.state()["reason"]["code"] == "manual"
    one.sync.sync_now()
    one.passes()
    one.same()
    write(run / "summary.json", {"loss": 7})
    one.passes(1000)
    assert json.loads((one.mirror / RUN / "summary.json").read_text()) == {"loss": 0.5}
    one.sync.sync_now()
    one.passes()
    one.same()


def test_pause_hangs_up_and_resume_goes_on(root, pair):
    run = make_run(root, status="running")
    one = pair()
    one.passes()
    one.sync.pause()
    one.passes(1)
    assert not one.far.alive and one.sync.state()["state"] == "paused"
    assert one.sync.state()["reason"]["code"] == "paused"
    write(run / "summary.json", {"loss": 7})
    one.far = Far()
    one.passes(100)
    assert one.far.sessions == []
    one.sync.resume()
    one.passes()
    one.same()


def test_the_interval_is_kept(root, pair):
    run = make_run(root, status="running")
    one = pair(interval=30)
    assert one.passes() <= 30
    (run / "new.txt").write_text("new")
    one.passes(29)
    assert "new.txt" not in here(one)
    one.passes(2)
    assert "new.txt" in here(one)


def test_a_watched_run_is_read_every_second(root, pair):
    run = make_run(root, status="running", old=False)
    live(root)
    one = pair()
    one.bell.look({"runs", "run:gpu-server-1:vision/resnet50/20250123_180000_abc123"})
    one.passes()
    one.passes(5)
    before = one.bell.now()
    for _ in range(3):
        grow(run / "events.jsonl")
        assert one.passes(1) <= 1
        assert tree(one.mirror)[f"{RUN}/events.jsonl"] == (run / "events.jsonl").read_bytes()
    assert (
        "run:gpu-server-1:vision/resnet50/20250123_180000_abc123"
        in one.bell.wait(before, {"run:gpu-server-1:vision/resnet50/20250123_180000_abc123"}, 0)["topics"]
    )


@pytest.mark.parametrize("topic", ["runs", "run:gpu-server-1:vision/resnet50/20250123_180000_abc123"])
def test_who_begins_to_look_ends_the_rest_between_two_looks(root, pair, topic):
    run = make_run(root, status="running", old=False)
    live(root)
    one = pair()
    one.passes()
    assert one.passes(6) > 1            # nobody looks
    grow(run / "events.jsonl")
    one.bell.look({topic})
    assert one.sync._waking.is_set() and one.passes(0.1) <= 1
    assert tree(one.mirror)[f"{RUN}/events.jsonl"] == (run / "events.jsonl").read_bytes()


def test_nothing_new_costs_one_round_trip(root, pair):
    make_run(root)
    make_run(root, "p/n/runs/20250124_180000_abc124", status="running")
    for folder in (root, *root.rglob("*")):
        if folder.is_dir():
            os.utime(folder, (OLD, OLD))
    one = pair()
    one.passes()
    one.passes(31)
    session, turns = one.far.sessions[0], []
    flush = session._packets.send
    session._packets.send = lambda sent: (turns.append(len(sent)), flush(sent))
    one.passes(31)
    assert len(turns) == 1 and turns[0] < 4000


def test_a_new_run_appears_by_its_live_file_without_a_survey(root, pair):
    make_run(root)
    os.utime(live(root).parent, (OLD, OLD))
    one = pair()
    one.bell.look({"runs"})
    one.passes()
    one.passes(3)
    since = one.bell.now()
    path = "vision/resnet50/runs/20250125_180000_abc125"
    make_run(root, path, status="running", old=False)
    live(root, path)
    one.passes(1)
    assert here(one, path) == OWN
    assert manifest.load(one.mirror / ".index" / "full.json").entry(path)["status"] == {"status": "running"}
    assert "index" in one.bell.wait(since, {"index"}, 0)["topics"]


def test_the_heartbeat_is_told_by_change_not_by_clock(root, pair):
    make_run(root, status="running")
    heart = live(root)
    os.utime(heart, (5000, 5000))  # a clock that is wrong by decades
    one = pair()
    one.passes()
    assert told(one)["runs"][RUN] == {"beat": 5000, "seen": None,
                                      **dict.fromkeys(("first", "looked", "read"), one.now)}
    os.utime(heart, (5010, 5010))
    one.passes(10)
    assert told(one)["runs"][RUN]["beat"] == 5010 and told(one)["runs"][RUN]["seen"] == pytest.approx(one.now)
    write(root / RUN / "status.json", {"status": "finished"})
    heart.unlink()
    one.passes(40)
    assert RUN not in told(one)["runs"]


def test_hearts_are_looked_at_in_turn_and_each_says_when(root, pair, monkeypatch):
    monkeypatch.setattr("runicorn.mirror.heartbeats.PLACES", 2)
    paths = [f"p/n/runs/2025012{n}_180000_abc12{n}" for n in range(6)]
    for path in paths:
        make_run(root, path, status="running")
        live(root, path)
    one = pair(interval=3600)
    one.passes()
    one.passes(5)
    for _ in range(3):
        one.passes(5)
        assert sum(run["looked"] == one.now for run in told(one)["runs"].values()) == 2
    assert all(run["looked"] > one.now - 15 for run in told(one)["runs"].values())


def test_a_run_that_beats_in_its_own_folder_is_looked_at_there(root, pair):
    run = make_run(root, status="running")
    (run / ".beat").touch()
    os.utime(run / ".beat", (OLD, OLD))
    one = pair(interval=3600)
    one.passes()
    one.passes(5)
    os.utime(run / ".beat", (OLD + 10, OLD + 10))  # moves no folder
    one.passes(5)
    assert told(one)["runs"][RUN]["beat"] == int(OLD + 10) and told(one)["runs"][RUN]["seen"] == one.now
    assert ".beat" not in here(one)


@pytest.mark.parametrize("compress", [False, True])
def test_a_manifest_gives_the_list_before_any_walk(root, pair, compress):
    for n in range(5):
        make_run(root, f"p/n/runs/20250123_18000{n}_abc12{n}")
    manifest.generate(str(root), compress=compress)
    one = pair()
    one.sync._call(one.now)
    assert len(manifest.load(one.mirror / ".index" / "full.json")) == 5
    assert here(one, "p/n/runs/20250123_180000_abc120") == []
    assert one.sync.state()["source"] == "manifest"
    one.passes()
    one.same()
    make_run(root, "p/n/runs/20250123_180009_abc129")
    manifest.generate(str(root), compress=compress)
    one.passes(31)
    one.same()


def test_exec_gives_the_list_and_then_only_what_is_new(root, mirror, pair):
    for n in range(5):
        make_run(root, f"p/n/runs/20250123_18000{n}_abc12{n}")
    one = pair(far=Far(python="python3"))
    one.sync._call(one.now)
    assert len(manifest.load(mirror / ".index" / "full.json")) == 5 and one.sync.state()["source"] == "exec"
    one.passes()
    one.same()
    session = one.sync._remote_root
    before = one.far.sessions[0].requests
    session.list._exec.start({}, one.now)
    assert session.list._exec.take(30) == (None, set())
    make_run(root, "p/n/runs/20250123_180009_abc129")
    session.list._exec.start({}, one.now)
    found, absent = session.list._exec.take(30)
    assert "p/n/runs/20250123_180009_abc129" in found
    assert (absent, one.far.sessions[0].requests) == (set(), before)


def test_a_list_older_than_what_was_read_of_a_growing_log_asks_for_its_seam_alone(root, pair):
    """What python3 listed a second ago is shorter than our copy, which was read at its end since: nothing of
    it moved."""
    run = make_run(root, status="running", rows=4000)
    live(root)
    one = pair(far=Far(python="python3"))
    one.passes()
    session = one.sync._remote_root
    assert session.copies.hashes and (run / "logs.txt").stat().st_size > 64 << 10
    entry = session.index.entry(RUN)
    file = entry["files"]["logs.txt"]
    session.index.put(RUN, {**entry,
                            "files": {**entry["files"],
                                      "logs.txt": {**file, "size": file["size"] - 4096, "tail": None}}})
    session.queue.plan([RUN], one.now)
    assert not session.copies.suspects
    one.passes()
    one.passes(31)
    one.same()


def test_with_the_manifest_switched_off_neither_exec_nor_file_is_used(root, pair):
    make_run(root)
    manifest.generate(str(root))
    one = pair(far=Far(python="python3"), manifest=False)
    one.passes()
    one.same()
    assert one.sync.state()["source"] == "walk"


@pytest.fixture
def bulk(root, monkeypatch):
    """A tree worth a second line, on a line whose bandwidth is known at once."""
    for n in range(8):
        make_run(root, f"p/n/runs/20250123_{180000 + n}_abc123", rows=20_000)
    monkeypatch.setattr("runicorn.mirror.second_line.PROBE", 0)


def test_a_second_line_carries_bulk(root, pair, bulk):
    one = pair()
    one.passes()
    one.same()
    second = one.sync._remote_root.queue.second
    second.close()
    assert second.requests > 2


def test_a_thin_line_is_left_to_the_first_connection(root, pair, bulk, monkeypatch):
    monkeypatch.setattr("runicorn.mirror.second_line.FAST", float("inf"))
    # what it is tried with is little here, and never fills it
    monkeypatch.setattr("runicorn.mirror.second_line.PROBE", 0)
    monkeypatch.setattr("runicorn.mirror.second_line.TRIAL", 400_000)
    one = pair()
    one.passes()
    one.same()
    second = one.sync._remote_root.queue.second
    second.close()
    assert second.received < one.sync._remote_root.client.received / 3, "little, to find that out"


def test_one_line_is_enough(root, pair, bulk):
    from runicorn.errors import LoginError

    class Lonely(Far):
        def second(self):
            raise LoginError("one line only")

    one = pair(far=Lonely())
    one.passes()
    one.same()
    assert one.sync._remote_root.queue.second.refused


def test_a_run_somebody_opens_jumps_the_queue(root, pair, monkeypatch):
    for n in range(50):
        make_run(root, f"p/n/runs/20250123_{180000 + n}_abc123", rows=2000)
    one = pair()
    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.0)
    # nothing is begun, so the queue shows the order
    monkeypatch.setattr("runicorn.mirror.fetcher.FILES", 0)
    one.sync.one_pass(one.now)
    one.sync.want("p/n/runs/20250123_180000_abc123")
    one.sync.one_pass(one.now)
    queued = [fetch.path for fetch in one.sync._remote_root.queue.fetcher._queue][:5]
    assert set(queued) == {"p/n/runs/20250123_180000_abc123"}
    monkeypatch.undo()
    one.passes()
    one.same()


def test_peek_reads_the_servers_bytes_and_keeps_nothing(root, pair):
    run = make_run(root, rows=5000)
    one = pair(window="24h")
    one.passes()
    text = (run / "logs.txt").read_bytes()
    session = one.sync._remote_root
    assert session.peek(RUN, "logs.txt", [(-100, 100), (0, 10), (len(text) - 5, 10)]) == [
        text[-100:], text[:10], text[-5:]]
    assert here(one) == []


def test_verify_finds_what_size_and_mtime_hide(root, pair):
    run = make_run(root, rows=3000)
    for python in (None, "python3"):
        one = pair(far=Far(python=python))
        one.passes()
        text = bytearray((run / "events.jsonl").read_bytes())
        text[1000:1001] = b"9" if text[1000:1001] != b"9" else b"8"
        before = (run / "events.jsonl").stat()
        (run / "events.jsonl").write_bytes(text)
        os.utime(run / "events.jsonl", (before.st_mtime, before.st_mtime))
        one.passes(31)
        assert tree(one.mirror) != tree(root), "planted where SFTP can't show it"
        assert one.sync._remote_root.verify(one.now) == {"files": 5, "refetched": 1}
        one.passes()
        one.same()
        one.close()


def test_evicted_files_stay_away_until_the_run_is_opened(root, pair):
    make_run(root)
    one = pair()
    one.passes()
    for name in ("events.jsonl", "logs.txt"):
        (one.mirror / RUN / name).unlink()
    (one.mirror / ".index" / "evicted").write_text(json.dumps({RUN: True}))
    one.passes(1000)
    assert here(one) == ["meta.json", "status.json", "summary.json"]
    one.sync.want(RUN)
    one.passes()
    assert here(one) == OWN and json.loads((one.mirror / ".index" / "evicted").read_text()) == {}


def test_a_budget_spreads_fetching_over_minutes(root, pair):
    for n in range(20):
        make_run(root, f"p/n/runs/20250123_{180000 + n}_abc123", rows=5000)
    one = pair(budget=100_000)
    for _ in range(10):
        one.sync.one_pass(one.now)
    assert one.sync._remote_root.queue.left and one.sync.one_pass(one.now) == 1.0
    one.options["budget"] = None
    one.passes(60)
    one.same()


def test_the_root_may_start_with_a_tilde_or_be_missing(root, pair, tmp_path):
    make_run(root)
    one = pair(far=Far(cwd=str(tmp_path)), remote_root="~/far")
    one.passes()
    one.same()
    two = Pair(root, tmp_path / "other", remote_root=str(tmp_path / "absent"))
    two.passes()
    assert two.sync.state()["state"] == "live" and two.sync.state()["reason"]["code"] == "no_root"
    two.root = tmp_path / "absent"
    make_run(two.root)
    two.passes(31)
    two.same()
    two.close()


def test_progress_and_traffic_are_told(root, pair, monkeypatch):
    make_run(root, rows=30_000)
    monkeypatch.setattr("runicorn.mirror.sync.SLICE", 0.0)
    one = pair()
    one.sync.one_pass(one.now)
    progress = one.sync.state()["progress"]
    assert progress["files_total"] == 5 and progress["bytes_total"] == sum(map(len, tree(root).values()))
    assert one.sync.state()["reason"] == {"code": "fetching", "text": "0 of 5 files", "done": 0, "total": 5}
    monkeypatch.undo()
    one.passes()
    one.passes(2)
    state = one.sync.state()
    assert (
        state["progress"] is None
        and state["traffic"]["hour"] > progress["bytes_total"]
        and state["traffic"]["requests"] > 10
        and state["rtt_ms"] is not None
    )


class Slow(Far):
    """A server whose commands answer when they are let, or never; SFTP works."""

    def __init__(self, python="python3"):
        super().__init__(python=python)
        self.let = threading.Event()

    def run(self, command, stdin=b"", timeout=60):
        self.let.wait()
        return super().run(command, stdin, timeout)


def test_a_command_that_hangs_holds_nothing_up_and_its_answer_is_taken_when_it_comes(root, pair, monkeypatch):
    monkeypatch.setattr("runicorn.mirror.remote_root.PATIENCE", 0.05)
    for n in range(5):
        make_run(root, f"p/n/runs/20250123_18000{n}_abc12{n}")
    run = make_run(root, "p/n/runs/20250123_180009_abc129", status="running", old=False)
    one = pair(far=Slow())
    one.bell.look({"runs", "run:gpu-server-1:p/n/20250123_180009_abc129"})
    began = time.monotonic()
    one.passes()
    one.same()
    assert time.monotonic() - began < 20 and one.sync.state()["source"] == "walk"
    for second in range(3):
        with open(run / "events.jsonl", "a") as file:
            row = {"ts": 1737653500 + second, "step": 100 + second, "data": {"loss": 0.4}}
            file.write(json.dumps(row) + "\n")
        one.passes(1)
        one.same()
    one.far.let.set()
    deadline = time.monotonic() + 60
    while one.sync.state()["source"] != "exec" and time.monotonic() < deadline:
        one.passes(31)
        time.sleep(0.05)
    assert one.sync.state()["source"] == "exec"
    one.same()
