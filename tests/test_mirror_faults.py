"""Never wrong: whatever happens to the files, the line, the manifest or this disk, the mirror ends as the server's equal."""

import hashlib
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from far import SERVER, Far
from test_sync import LOG, OLD, OWN, RUN, Pair, grow, here, live, make_run, pair, root, told, tree, write  # noqa: F401 (fixtures)

from runicorn import cache, manifest, sftp
from runicorn.errors import HostKeyError, LineError, LoginError


@pytest.fixture
def mirror(tmp_path):
    return tmp_path / "near"


def facts(folder):
    """Everything that can be seen of a tree: contents, sizes, modes, mtimes."""
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() and not path.is_symlink() else None)
            for path in [folder, *folder.rglob("*")]}


# -- files change in every way -------------------------------------------------------------------------------------

CHANGES = {
    "truncated": lambda file: os.truncate(file, 100),
    "emptied": lambda file: os.truncate(file, 0),
    "replaced by a longer one": lambda file: write(file, b"z" * 200_000),
    "replaced by a shorter one": lambda file: write(file, b"y" * 50),
    "replaced by one as long": lambda file: write(file, bytes(reversed(file.read_bytes()))),
    "shrunk and regrown beyond": lambda file: (os.truncate(file, 1000), grow(file, b"w" * 300_000)),
    "rotated": lambda file: (os.rename(file, f"{file}.1"), write(file, b"fresh\n")),
    "rewritten in place": lambda file: file.write_bytes(b"q" * file.stat().st_size),
    "appended": grow,
}


@pytest.mark.parametrize("name", ["events.jsonl", "logs.txt", "summary.json", "weights.pt"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_here_as_it_is_there(root, pair, name, change):
    run = make_run(root, status="running", rows=2000)
    (run / "weights.pt").write_bytes(random.Random(1).randbytes(90_000))
    one = pair()
    one.passes()
    CHANGES[change](run / name)
    for _ in range(4):
        one.passes(31)
    one.same()


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "rewritten in place"])
def test_so_it_is_while_somebody_watches(root, pair, change):
    run = make_run(root, status="running", rows=2000, old=False)
    live(root)
    one = pair()
    one.bell.look({"runs"})
    one.passes()
    grow(run / "events.jsonl")
    one.passes(1)
    CHANGES[change](run / "events.jsonl")
    for seconds in (1, 1, 1, 31, 31):
        one.passes(seconds)
    one.same()


def test_small_json_rewritten_within_its_second_is_read_once_more(root, pair):
    run = make_run(root, status="running", old=False)
    one = pair()
    one.passes()
    before = (run / "summary.json").stat()
    (run / "summary.json").write_text('{"loss": 9.9}')
    assert (run / "summary.json").stat().st_size == before.st_size
    os.utime(run / "summary.json", (before.st_mtime, before.st_mtime))
    one.passes(3)
    one.passes(31)
    one.same()


def test_a_run_deleted_and_made_again_is_the_new_one(root, pair):
    run = make_run(root, status="running", rows=500)
    one = pair()
    one.passes()
    subprocess.run(["rm", "-r", run], check=True)
    make_run(root, status="finished", rows=20)
    for _ in range(3):
        one.passes(31)
    one.same()


def test_a_run_that_vanished_stays_here_marked_and_may_come_back(root, pair):
    run = make_run(root)
    make_run(root, "p/n/runs/20250124_180000_abc124")
    one = pair()
    one.passes()
    held = tree(one.mirror)
    os.rename(run, root.parent / "aside")
    one.passes(31)
    assert told(one)["gone"] == [RUN] and tree(one.mirror) == held
    os.rename(root.parent / "aside", run)
    os.utime(run.parent, (time.time() + 5,) * 2)        # all this takes less than one second of the server's clock
    one.passes(31)
    assert told(one)["gone"] == []
    one.same()


def test_a_root_that_can_not_be_seen_makes_no_run_vanish(root, pair):
    make_run(root)
    one = pair()
    one.passes()
    os.rename(root, root.parent / "aside")
    one.passes(31)
    assert told(one)["gone"] == [] and here(one) == OWN and one.sync.state()["reason"]["code"] == "no_root"
    os.rename(root.parent / "aside", root)
    one.passes(31)
    one.same()
    assert one.sync.state()["reason"]["code"] == "live"


def test_a_folder_made_by_other_means_is_mirrored_too(root, pair):
    run = root / "my project (v2)" / "exp: β" / "runs" / "first try"
    run.mkdir(parents=True)
    (run / "events.jsonl").write_text('{"step": 1, "data": {"loss": 1}}\n')
    one = pair()
    one.passes()
    assert len(tree(one.mirror)) == 1 and list(tree(one.mirror).values()) == [(run / "events.jsonl").read_bytes()]
    grow(run / "events.jsonl")
    one.passes(31)
    assert list(tree(one.mirror).values()) == [(run / "events.jsonl").read_bytes()]


# -- names and manifests that lie ----------------------------------------------------------------------------------

def test_hostile_names_stay_inside_the_mirror_and_apart(root, pair, tmp_path):
    names = ["back\\slash", "C:evil", "con", "nul.txt", "tab\there", "new\nline", "trailing.", "trailing ", "quote\"", "star*", "~", "%41", "A", "ⒶUnicode", "...", "twin.pt", "TWIN.pt"]
    run = make_run(root)
    for number, name in enumerate(names):
        (run / name).write_bytes(b"%d" % number)
    (run / "link").symlink_to("/etc/passwd")
    (run / "loop").symlink_to(".")
    make_run(root, "..evil/..n/runs/...i")
    one = pair(small_limit=1 << 20)
    one.passes()
    contents = sorted(path.read_bytes() for path in (one.mirror / RUN).iterdir() if path.name not in OWN)
    assert contents == sorted(b"%d" % number for number in range(len(names)))
    assert not list(one.mirror.rglob("link")) and sorted(path.name for path in tmp_path.iterdir()) == ["far", "near"]
    assert all(path.resolve().is_relative_to(one.mirror) for path in one.mirror.rglob("*"))


def test_a_link_planted_in_the_mirror_is_never_followed(root, pair, tmp_path):
    make_run(root)
    outside = tmp_path / "outside"
    outside.mkdir()
    one = pair()
    (one.mirror / "vision").mkdir(parents=True)
    (one.mirror / "vision" / "resnet50").symlink_to(outside)
    one.passes()
    assert list(outside.iterdir()) == []
    assert one.sync.state()["state"] == "live"


def line(**entry):
    whole = {"digest": "0" * 64, "mtime": OLD, "ended": True, "meta": None, "status": {"status": "finished"}, "summary": None, "beat": None, "files": {}, **entry}
    return json.dumps(whole)


LIES = {
    "traversal": {"../../outside/runs/i": line(files={"a": {"size": 1, "mtime": 1, "tail": None}})},
    "absolute": {"/etc/x/runs/i": line()},
    "escaping file": {RUN: line(files={"../../../../../evil": {"size": 5, "mtime": 1, "tail": None}})},
    "windows": {"C:\\x/n/runs/i": line(), "p\\..\\x/n/runs/i": line()},
    "wrong sizes": {RUN: line(files={"events.jsonl": {"size": 10**9, "mtime": OLD, "tail": None}, "logs.txt": {"size": 3, "mtime": OLD, "tail": None}})},
    "wrong tails": {RUN: line(files={"events.jsonl": {"size": 450, "mtime": OLD, "tail": "f" * 64}})},
    "runs that are not": {f"ghost/n/runs/2025012{n}_180000_abc123": line(files={"events.jsonl": {"size": 9, "mtime": 1, "tail": None}}) for n in range(9)},
    "runs missing": {},
    "no JSON": {RUN: "{nonsense}"}, "wrong shape": {RUN: '{"files": {"a": -1}}'}, "deep": {RUN: "[" * 99_999},
    "lone surrogate": {"\\ud800/n/runs/i": line()},
    "many": {f"p/n/runs/i{n}": "{}" for n in range(20_000)},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_found_out(root, pair, tmp_path, lie):
    make_run(root)
    make_run(root, "p/n/runs/20250124_180000_abc124")
    text = ",\n".join(f'"{path if path.startswith(chr(92)) else json.dumps(path)[1:-1]}": {entry}' for path, entry in LIES[lie].items())
    head = '{"format": 1, "kind": "full", "revision": 1, "digest": "sha256:x", "generated_at": 1, "host": "h", "root": "r",\n"runs": {\n'
    (root / ".runicorn").mkdir()
    (root / ".runicorn" / "full_manifest.json").write_text(head + text + '\n},\n"statistics": {}}\n')
    one = pair()
    for _ in range(3):
        one.passes(31)
    one.same()
    assert sorted(manifest.load(one.mirror / ".index" / "full.json").paths()) == ["p/n/runs/20250124_180000_abc124", RUN]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "near"]


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b" + b"x" * 100, b'{"format": 1, "kind": "full"', b"[" * 100_000, b'{"format": 1, "digest": "x", "runs": {"a": {}, "a": {}}}'])
def test_a_manifest_that_is_none_is_left_alone(root, pair, data):
    make_run(root)
    (root / ".runicorn").mkdir()
    for name in ("full_manifest.json", "full_manifest.json.gz", "active_manifest.json"):
        (root / ".runicorn" / name).write_bytes(data)
    one = pair()
    one.passes()
    one.passes(31)
    one.same()


def test_a_stale_manifest_hides_nothing(root, pair):
    run = make_run(root, status="running")
    manifest.generate(str(root))
    grow(run / "events.jsonl")
    make_run(root, "p/n/runs/20250124_180000_abc124")
    write(run / "status.json", {"status": "finished"})
    one = pair()
    one.passes()
    one.same()


# -- attributes, clocks, hearts ------------------------------------------------------------------------------------

class Stale(sftp.Sftp):
    """Serves attributes as a network file system does: up to 60 s old, unless the file was opened since."""

    def __init__(self, stream, clock, **options):
        self.clock, self.cache = clock, {}
        super().__init__(stream, **options)

    def ask(self, request, done):
        if request.kind == sftp.OPEN:
            self.cache.pop(request.about, None)
        if request.kind == sftp.LSTAT:
            kept = self.cache.get(request.about)
            if kept and self.clock() - kept[0] < 60:
                return super().ask(request, lambda fresh: done(kept[1]))
            return super().ask(request, lambda fresh: (self.cache.update({request.about: (self.clock(), fresh)}), done(fresh)))
        return super().ask(request, done)


def test_attributes_a_minute_old_neither_lose_nor_repeat_a_byte(root, pair):
    class OldFar(Far):
        def open_sftp(self):
            self.sessions.append(Stale(self.stream(), lambda: one.now, timeout=10))
            return self.sessions[-1]
    run = make_run(root, status="running", old=False)
    live(root)
    one = pair(far=OldFar())
    one.bell.look({"runs"})
    one.passes()
    for second in range(12):
        grow(run / "events.jsonl", b'{"step":%d}\n' % second)
        one.passes(1)
        assert tree(one.mirror)[f"{RUN}/events.jsonl"] == (run / "events.jsonl").read_bytes()
    before = one.far.bytes_received
    for _ in range(4):
        one.passes(31)
    one.same()
    assert one.far.bytes_received - before < 30_000


def test_clocks_an_hour_off_change_nothing(root, pair):
    run = make_run(root, status="running", old=False)
    one = pair()
    one.passes()
    for ahead in (3600, -3600, 7200):
        grow(run / "events.jsonl")
        write(run / "summary.json", {"loss": ahead})
        for name in ("events.jsonl", "summary.json"):
            os.utime(run / name, (time.time() + ahead,) * 2)
        one.passes(31)
        one.passes(31)
        one.same()


def test_our_own_clock_set_back_does_not_stop_us(root, pair):
    run = make_run(root, status="running")
    one = pair()
    one.passes()
    grow(run / "events.jsonl")
    assert one.passes(-7200) <= 30
    one.same()
    grow(run / "events.jsonl")
    one.passes(50_000)          # the laptop slept
    one.same()


# -- lines that break ----------------------------------------------------------------------------------------------

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

    def second(self, compress=False):
        raise LineError("one line only")


class Writer(threading.Thread):
    """A training run that goes on meanwhile: appends rows, replaces its summary, appends half lines too."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_folder, self.stopping = run, threading.Event()

    def run(self):
        chance, step = random.Random(3), 0
        with open(self.run_folder / "events.jsonl", "ab", buffering=0) as events:
            while not self.stopping.wait(0.01):
                step += 1
                row = b'{"ts":1,"step":%d,"data":{"loss":%d}}\n' % (step, chance.randrange(10**9))
                events.write(row[:9])
                events.write(row[9:])
                if step % 20 == 0:
                    write(self.run_folder / "summary.json", {"loss": step})

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        self.join()


def through_cuts(root, mirror, count):
    """Mirror a live tree over a line that is cut `count` times at random bytes; returns the Pair, its files all here."""
    chance = random.Random(count)
    for n in range(4):
        make_run(root, f"p/n/runs/20250123_{180000 + n}_abc123", rows=chance.randrange(4000))
    run = make_run(root, status="running", rows=3000, old=False)
    (run / "weights.pt").write_bytes(chance.randbytes(900_000))
    live(root)
    far = CutFar([chance.choice((20, 200, 5_000, 60_000, 400_000)) + chance.randrange(100) for _ in range(count)])
    one = Pair(root, mirror, far=far)
    one.bell.look({"runs"})
    with Writer(run):
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
    assert (run / "events.jsonl").read_bytes().startswith(held)


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
    assert far.bytes_received < 1.35 * sum(map(len, tree(root).values()))
    one.close()


def test_a_black_hole_ends_in_offline_with_its_reason_and_a_retry(root, mirror):
    make_run(root)

    class Hole(Far):
        words_now = ("sleep", "60")

        def stream(self):
            self.words = self.words_now
            return super().stream()

        def open_sftp(self):
            self.sessions.append(sftp.Sftp(self.stream(), timeout=0.3))
            return self.sessions[-1]

        def close(self):
            for process in self.processes:
                process.kill()
            super().close()
    one = Pair(root, mirror, far=Hole())
    one.passes()
    state = one.sync.state()
    assert state["state"] == "offline" and "no answer" in state["reason"]["text"] and state["retry_at"] > one.now
    one.far.words_now = (SERVER, "-R")
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
    assert len(tries) == 1 and one.sync.state()["state"] == "refused" and str(error) in one.sync.state()["reason"]["text"]
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


# -- this disk, this machine ---------------------------------------------------------------------------------------

def test_a_full_disk_pauses_and_says_so(root, pair, monkeypatch):
    make_run(root)
    monkeypatch.setattr(cache, "RESERVE", 1 << 60)
    one = pair()
    one.passes()
    assert one.sync.state()["state"] == "paused" and one.sync.state()["reason"]["code"] == "disk" and "full" in one.sync.state()["reason"]["text"]
    monkeypatch.undo()
    one.far = Far()
    one.passes(61)
    one.same()


def test_a_disk_that_fills_up_under_our_hands(root, tmp_path):
    """RLIMIT_FSIZE makes every write beyond 100 kB fail, as a full disk does."""
    make_run(root, rows=9000)
    script = textwrap.dedent(f"""
        import resource, signal, sys
        sys.path[:0] = {sys.path!r}
        from test_sync import Pair
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        one = Pair(__import__("pathlib").Path({str(root)!r}), __import__("pathlib").Path({str(tmp_path / "near")!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        one.passes()
        state = one.sync.state()
        assert (state["state"], state["reason"]["code"]) == ("paused", "disk"), state
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        one.far = type(one.far)()
        one.passes(61)
        one.same()
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
        from test_sync import Pair
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
    assert state["owner"] == {"pid": holder.pid, "ours": False} and state["runs"] == 1 and two.far.sessions == []
    grow(run / "events.jsonl")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    two.passes(3)
    two.same()
    assert two.sync.state()["owner"] == {"pid": os.getpid(), "ours": True}
    two.close()


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
    one.sync._session.verify(one.now)
    one.sync._session.peek(RUN, "logs.txt", [(0, 10)])
    one.passes(31)
    assert facts(root) == before
    one.same()
    one.close()


def test_the_thread_starts_wakes_and_stops(root, mirror):
    run = make_run(root, status="running", old=False)
    one = Pair(root, mirror)
    thread = threading.Thread(target=one.sync.run)
    thread.start()
    news = one.bell.wait(one.bell.now(), {"runs"}, 20)
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
    one.same()
    one.close()
