"""Never wrong: lines that are cut, stall or refuse; a disk that fills up; a mirror that is deleted, shared or
another's."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import tally
from far import SERVER, Far
from pairs import OWN, RUN, Pair, facts, grow, here, live, make_run, mirror, pair, root, tree, write  # noqa: F401 (fixtures)

from runicorn import manifest
from runicorn.errors import HostKeyError, LineError, LoginError
from runicorn.mirror import room
from runicorn.ssh import sftp

# -- lines that break ----------------------------------------------------------------------------------------


class Cut:
    """A stream that breaks after `left` bytes came through it."""

    def __init__(self, stream, left):
        self.stream, self.left = stream, left

    def recv(self, size):
        if self.left <= 0:
            raise ConnectionResetError("cut by the test")
        data = self.stream.recv(min(size, self.left))
        self.left -= len(data)
        return data

    def __getattr__(self, name):
        return getattr(self.stream, name)


class CutFar(Far):
    """Cuts each session after the next number of bytes; whole once there are no more."""

    def __init__(self, cuts, **options):
        super().__init__(**options)
        self.cuts = cuts

    def stream(self):
        stream = super().stream()
        return Cut(stream, self.cuts.pop()) if self.cuts else stream

    def second(self):
        raise LineError("one line only")


class Writer(threading.Thread):
    """A training run that goes on meanwhile: appends rows, replaces its summary, appends half lines too.

    clock: returns the time of the sync under test, which runs ahead of ours: two summaries of one of our
    seconds may lie minutes apart on it, so their mtimes must.
    """

    def __init__(self, run, clock):
        super().__init__(daemon=True)
        self.run_folder, self.clock, self.stopping = run, clock, threading.Event()

    def run(self):
        chance, step = random.Random(3), 0
        with open(self.run_folder / "events.jsonl", "ab", buffering=0) as events:
            while not self.stopping.wait(0.01):
                step += 1
                row = b'{"ts":1,"step":%d,"data":{"loss":%d}}\n' % (step, chance.randrange(10**9))
                events.write(row[:9])
                events.write(row[9:])
                if step % 20 == 0:
                    write(self.run_folder / "summary.json", {"loss": step}, self.clock())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        self.join()


def through_cuts(root, mirror, count):
    """Mirror a live tree over a line that is cut `count` times at random bytes; returns the Pair, its files
    all here."""
    chance = random.Random(count)
    for n in range(4):
        make_run(root, f"p/n/runs/20250123_{180000 + n}_abc123", rows=chance.randrange(4000))
    run = make_run(root, status="running", rows=3000, old=False)
    (run / "weights.pt").write_bytes(chance.randbytes(900_000))
    live(root)
    far = CutFar([chance.choice((20, 200, 5_000, 60_000, 400_000)) + chance.randrange(100)
                  for _ in range(count)])
    one = Pair(root, mirror, far=far)
    one.bell.look({"runs"})
    with Writer(run, lambda: one.now):
        for _ in range(40 * count):
            pause = one.sync.one_pass(one.now)
            assert one.sync.state()["state"] in ("syncing", "live", "offline", "connecting")
            check_prefix(one, run)
            one.now += pause if one.sync.state()["state"] == "offline" else min(pause, 1.0)
            if not far.cuts:
                break
        assert not far.cuts
    for _ in range(4):
        one.passes(31)
    return one


def check_prefix(one, run):
    """What a page may read at any moment is a true beginning of the log."""
    try:
        held = (one.mirror / RUN / "events.jsonl").read_bytes()
    except FileNotFoundError:
        return
    tally.compare(held, (run / "events.jsonl").read_bytes(), whole=False)


def test_cuts_at_random_bytes_cost_nothing_but_time(root, mirror):
    one = through_cuts(root, mirror, 60)
    one.same()
    one.close()


def test_a_cut_costs_only_the_bytes_in_flight(root, mirror):
    run = make_run(root)
    (run / "weights.pt").write_bytes(random.Random(1).randbytes(8_000_000))
    (run / "events.jsonl").write_bytes(b"".join(b'{"step":%d}\n' % n for n in range(500_000)))
    far = CutFar([7_000_000, 4_000_000])
    one = Pair(root, mirror, far=far, large=True)
    for _ in range(3):
        one.passes(100)
    one.same()
    # cut while it came: what the earlier session read is proven by reading it again
    log = (run / "events.jsonl").stat().st_size
    assert far.bytes_received < 1.35 * sum(map(len, tree(root).values())) + log
    one.close()


def test_a_manual_mirror_that_was_told_to_sync_is_brought_up_to_date_over_the_next_line(root, mirror):
    run = make_run(root)
    (run / "weights.pt").write_bytes(random.Random(1).randbytes(4_000_000))
    one = Pair(root, mirror, far=CutFar([2_000_000]), large=True, mode="manual")
    one.passes()
    assert one.sync.state()["state"] == "paused" and not one.sync.is_asked
    one.sync.sync_now()
    one.passes()
    assert one.sync.state()["state"] == "offline" and one.sync.is_asked
    one.passes(100)
    one.same()
    assert not one.sync.is_asked
    one.close()


def test_a_black_hole_ends_in_offline_with_its_reason_and_a_retry(root, mirror):
    make_run(root)

    class Hole(Far):
        words_now = ("sleep", "60")

        def stream(self):
            self.words = self.words_now
            return super().stream()

        def client(self, **options):
            return sftp.Sftp(self.stream(), timeout=0.3, **options)

        def close(self):
            for process in self.processes:
                process.kill()
            super().close()

    one = Pair(root, mirror, far=Hole())
    one.passes()
    state = one.sync.state()
    assert state["state"] == "offline" and "no answer" in state["reason"]["text"]
    assert state["retry_at"] > one.now
    one.far.words_now = (SERVER,)
    one.passes(2)
    one.same()
    one.close()


@pytest.mark.parametrize("error", [LoginError("permission denied"), HostKeyError("the host key changed")])
def test_a_refused_login_is_tried_exactly_once(root, mirror, error):
    tries = []

    def connect():
        tries.append(1)
        raise error

    one = Pair(root, mirror)
    one.sync._connect = connect
    for _ in range(20):
        one.passes(100)
    assert len(tries) == 1 and one.sync.state()["state"] == "refused"
    assert str(error) in one.sync.state()["reason"]["text"]
    one.sync.wake()
    one.passes()
    assert len(tries) == 2, "once more when the user says so"
    one.close()


def test_a_lost_line_is_tried_again_with_growing_pauses(root, mirror):
    tries = []

    def connect():
        tries.append(one.now)
        raise LineError("no route to host")

    one = Pair(root, mirror)
    one.sync._connect = connect
    for _ in range(12):
        one.now += one.passes()
    gaps = [after - before for before, after in zip(tries, tries[1:])]
    assert len(tries) == 12 and gaps[0] < 2 and 30 < gaps[-1] < 90 and one.sync.state()["state"] == "offline"
    one.close()


# -- this disk, this machine ---------------------------------------------------------------------------------


def test_a_full_disk_pauses_and_says_so(root, pair, monkeypatch):
    make_run(root)
    monkeypatch.setattr(room, "RESERVE", 1 << 60)
    one = pair()
    for _ in range(100):
        one.passes(10)
    state = one.sync.state()
    assert (state["state"], state["reason"]["code"], state["runs"]) == ("paused", "disk_full", 1)
    assert "full: 5 files wait" in state["reason"]["text"] and here(one) == []
    monkeypatch.undo()
    one.passes(10)
    one.same()
    assert one.logins == 1, "the line did nothing wrong"


@pytest.mark.long
def test_files_larger_than_this_disk_takes_keep_nothing_else_back(root, tmp_path):
    """RLIMIT_FSIZE makes every write beyond 100 kB fail with EFBIG, as a file system with a largest file size
    does."""
    make_run(root, rows=9000)
    script = textwrap.dedent(f"""
        import resource, signal, sys
        sys.path[:0] = {sys.path!r}
        from pairs import Pair
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from pathlib import Path
        one = Pair(Path({str(root)!r}), Path({str(tmp_path / "near")!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        for _ in range(20):
            one.passes(61)
        state = one.sync.state()
        assert (state["state"], state["reason"]["code"],
                state["reason"]["files"]) == ("live", "live_partly", 2), state
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        one.passes(61)
        one.same()
        assert one.logins == 1
        one.close()
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_cache_deleted_under_the_running_sync_is_made_anew(root, pair):
    run = make_run(root, status="running")
    one = pair()
    one.passes()
    subprocess.run(["rm", "-r", one.mirror], check=True)
    grow(run / "events.jsonl")
    one.far = Far()
    one.passes(1)
    one.same()
    assert manifest.load(one.mirror / ".index" / "full.json").paths() == [RUN]


def test_one_file_deleted_from_the_cache_comes_back_with_the_next_line(root, pair):
    make_run(root)
    one = pair()
    one.passes()
    (one.mirror / RUN / "events.jsonl").unlink()
    one.sync.pause()
    one.passes()
    one.sync.resume()
    one.far = Far()
    one.passes()
    one.same()


def test_a_mirror_of_another_server_is_moved_aside_not_mixed(root, pair, tmp_path):
    make_run(root)
    one = pair()
    one.passes()
    held = tree(one.mirror)
    one.close()
    (tmp_path / "other").mkdir()
    make_run(tmp_path / "other", "p/n/runs/20250124_180000_abc124")
    two = Pair(tmp_path / "other", one.mirror)
    two.passes()
    two.same()
    assert tree(tmp_path / "near~1") == held
    two.close()


def test_two_syncs_of_one_mirror_one_writes_the_other_follows_and_takes_over(root, tmp_path):
    run = make_run(root, status="running")
    script = textwrap.dedent(f"""
        import sys, time
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from pairs import Pair
        one = Pair(Path({str(root)!r}), Path({str(tmp_path / "near")!r}))
        one.passes()
        print("ready", flush=True)
        time.sleep(60)
    """)
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "ready\n"
    two = Pair(root, tmp_path / "near")
    two.passes()
    state = two.sync.state()
    assert state["owner"] == {"pid": holder.pid, "ours": False} and state["runs"] == 1
    assert two.far.sessions == []
    grow(run / "events.jsonl")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    two.passes(3)
    two.same()
    assert two.sync.state()["owner"] == {"pid": os.getpid(), "ours": True}
    two.close()


@pytest.mark.few(1)
@pytest.mark.parametrize("before", [False, True], ids=["never synced", "synced before"])
def test_who_follows_another_process_believes_what_that_one_said_and_nothing_older(root, tmp_path, before):
    """Whoever waits for the end of `sync once` must not take an earlier end for it, nor wait for what the
    other was refused."""
    make_run(root)
    if before:
        earlier = Pair(root, tmp_path / "near")
        earlier.passes()
        earlier.close()
    script = textwrap.dedent(f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from pairs import Pair
        from runicorn.errors import LoginError
        one = Pair(Path({str(root)!r}), Path({str(tmp_path / "near")!r}))
        def login():
            print("begun", flush=True)
            sys.stdin.readline()
            raise LoginError("no")
        one.sync._connect = login
        one.sync.one_pass(one.now)
        print("refused", flush=True)
        sys.stdin.readline()
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:
        assert holder.stdout.readline() == "begun\n"
        two = Pair(root, tmp_path / "near")
        two.sync.one_pass(two.now)
        assert (two.sync.state()["state"], two.sync.state()["owner"]) == (
            "connecting", {"pid": holder.pid, "ours": False})
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "refused\n"
        assert two.sync.state()["state"] == "refused" and two.sync.state()["runs"] == before
        holder.stdin.write("\n")
    two.close()


def test_who_mends_a_refusal_as_soon_as_it_shows_is_heard(root, tmp_path):
    """The page shows "refused" from another thread, before the pass that was refused is over."""
    make_run(root)
    one = Pair(root, tmp_path / "near")
    connect, ring = one.sync._connect, one.bell.ring

    def refuse():
        raise LoginError("no")

    def mend(topic):
        ring(topic)
        if one.sync.state()["state"] == "refused" and one.sync._connect is refuse:
            one.sync._connect = connect
            one.sync.wake()
    one.sync._connect, one.bell.ring = refuse, mend
    one.sync.one_pass(one.now)
    one.passes()
    one.same()
    one.close()


def test_nothing_on_the_server_is_touched(root, mirror):
    """The whole life of a mirror, against a server that would let us write."""
    make_run(root)
    make_run(root, "p/n/runs/20250124_180000_abc124", status="running")
    live(root, "p/n/runs/20250124_180000_abc124")
    manifest.generate(str(root))
    before = facts(root)
    one = Pair(root, mirror, far=Far(words=(SERVER,), python="python3"))
    one.bell.look({"runs"})
    for seconds in (0, 1, 1, 31, 700):
        one.passes(seconds)
    one.sync._remote_root.verify(one.now)
    one.sync._remote_root.peek(RUN, "logs.txt", [(0, 10)])
    one.passes(31)
    assert facts(root) == before
    one.same()
    one.close()


def test_the_thread_starts_wakes_and_stops(root, mirror):
    run = make_run(root, status="running", old=False)
    one = Pair(root, mirror)
    thread = threading.Thread(target=one.sync.run)
    thread.start()
    news = one.bell.wait(one.bell.now(), {"index"}, 20)
    assert news["topics"] == ["runs"] or here(one) == OWN
    assert one.sync.peek(RUN, "logs.txt", [(0, 5)]) == [(run / "logs.txt").read_bytes()[:5]]
    assert one.sync.verify()["files"] >= 0
    grow(run / "events.jsonl")
    one.sync.sync_now()
    deadline = time.monotonic() + 20
    while tree(mirror) != tree(root) and time.monotonic() < deadline:
        one.bell.wait(one.bell.now(), {"runs", f"run:gpu-server-1:{RUN.replace('/runs', '')}"}, 0.2)
    one.same()
    one.sync.stop()
    thread.join(20)
    assert not thread.is_alive() and one.sync.mirror._lock is None
    with pytest.raises(LineError):
        one.sync.peek(RUN, "logs.txt", [(0, 5)], timeout=0.1)
    one.far.close()


@pytest.mark.chaos
def test_two_hundred_cuts(root, mirror):
    one = through_cuts(root, mirror, 200)
    tally.tried(200)
    for name, true in tree(root).items():
        tally.compare(tree(mirror)[name], true)
    one.same()
    one.close()


def test_another_host_key_of_the_same_server_is_the_same_mirror_verified_anew(root, pair, tmp_path):
    run = make_run(root)
    one = pair(far=Far(python=sys.executable))
    one.passes()
    one.same()
    wrong = run / "logs.txt"
    status = wrong.stat()
    wrong.write_bytes(wrong.read_bytes().replace(b"line 3", b"LINE 3"))
    os.utime(wrong, ns=(status.st_atime_ns, status.st_mtime_ns))
    one.sync.pause()
    one.passes()
    one.sync.resume()
    one.far = Far(python=sys.executable)
    one.far.host_key = "SHA256:of-the-server-set-up-anew"
    one.passes()
    one.same()
    assert not (tmp_path / "near~1").exists()
    assert (json.loads((one.mirror / ".index/source.json").read_text())["host_key"]
            == "SHA256:of-the-server-set-up-anew")


def test_only_a_line_that_held_makes_the_pauses_short_again(root, pair):
    """A server that cuts each line a second after the login must not see one every two seconds."""
    make_run(root)
    one = pair()
    logins = []
    connect = one.sync._connect

    def counted():
        logins.append(one.now)
        one.far = Far()
        return connect()
    one.sync._connect = counted
    for _ in range(10):
        one.passes()
        one.far.close()
        for _ in range(5):
            one.now += 1 if one.sync.state()["state"] != "offline" else 0
            pause = one.sync.one_pass(one.now)
            if one.sync.state()["state"] == "offline":
                one.now += pause
                break
    gaps = [after - before for before, after in zip(logins, logins[1:])]
    assert len(gaps) >= 8 and max(gaps[:2]) < 10 and min(gaps[-2:]) > 25
    for _ in range(8):
        one.passes(10)
    one.far.close()
    one.now += 31
    assert one.sync.one_pass(one.now) < 2, "this line held for more than a minute"
    one.close()
