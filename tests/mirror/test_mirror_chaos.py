"""Never wrong over a real sshd, in real time: files no disk takes, clocks that jump, pipes, poisoned records,
giants on a small disk."""

import contextlib
import errno
import os
import random
import subprocess
import threading
import time

import pytest
import tally
from manifests import all_lines, write_manifest
from odd_files import KINDS, put
from pairs import grow, live, make_run, tree, write
from real_syncs import Running, mirror_of, same
from refusals import (
    LONG,
    ONE_FILE,
    Refusing,
    giant,
    refusing,  # noqa: F401 (fixtures)
)
from sshd import Sshd
from waiting import until

from runicorn import local_names, manifest
from runicorn.mirror import room

pytestmark = pytest.mark.chaos
SETTLED = 90.0                  # s after the last change until all is here: a turn by SFTP alone takes 60


@pytest.fixture(params=["exec", "manifest", "sftp"])
def server(request, tmp_path):
    with Sshd(tmp_path / "sshd",
              **({} if request.param == "exec" else {"ForceCommand": "internal-sftp"})) as made:
        made.source = request.param
        yield made


@pytest.fixture
def root(tmp_path):
    for number in range(6):
        make_run(tmp_path / "far", f"p/n/runs/20250124_{180000 + number}_abc124",
                 status="running" if number < 2 else "finished", rows=500, old=number >= 2)
    live(tmp_path / "far", "p/n/runs/20250124_180000_abc124")
    return tmp_path / "far"


def runs_of(root):
    return sorted(root.glob("*/*/runs/*"))


def changing(server, root, chance, rounds, change):
    """Change the root `rounds` times, a moment apart; one log goes on growing all the time, and a manifest is
    made now and then."""
    for number in range(rounds):
        grow(runs_of(root)[0] / "events.jsonl")
        change(chance.choice(runs_of(root)))
        if server.source == "manifest" and number % 10 == 9:
            manifest.generate(str(root))
        time.sleep(chance.choice((0.0, 0.2, 1.1)))
        tally.tried()


def both(one, root, odd=()):
    """Return {file: (what is here, what is there)} but for those of the names `odd` in a run."""
    place = {name: local_names.local_path(one.mirror.folder, name) for name in tree(root)
             if name.split("/", 4)[4].split("/")[0] not in odd}
    return {name: (place[name].read_bytes() if place[name].is_file() else b"", data)
            for name, data in tree(root).items() if name in place}


def settled_and_compared(one, root, odd=()):
    """Wait until all is here, and count what is not; `odd` as for `both`."""
    def is_settled():
        return (one.state()["state"] == "live"
                and all(here == there for here, there in both(one, root, odd).values()))
    with contextlib.suppress(AssertionError):       # what is not here by then is counted
        until(is_settled, seconds=SETTLED, pause=0.2)
    assert one.state()["state"] == "live", one.state()
    for here, there in both(one, root, odd).values():
        tally.compare(here, there)


def test_names_that_hardly_fit_and_files_that_become_folders_stop_nothing(server, root, home):
    chance = random.Random(5)

    def change(run):
        name = chance.choice([*LONG, "turns"])
        place = run / name
        if place.is_dir():
            (place / "inside.bin").unlink()
            place.rmdir()
        elif place.exists():
            place.unlink()
            if name == "turns":
                return write(place / "inside.bin", chance.randbytes(3000))
        place.write_bytes(chance.randbytes(chance.choice((10, 5000))))
    with Running(mirror_of(server, root, home)) as one:
        changing(server, root, chance, 60, change)
        settled_and_compared(one, root)
        assert one.state()["reason"]["code"] == "live"


def test_files_this_disk_refuses_keep_nothing_else_back_and_come_when_it_takes_them(
        server, root, home, refusing, monkeypatch):
    chance = random.Random(10)

    def change(run):
        monkeypatch.setattr(Refusing, "number", chance.choice([None, *ONE_FILE]))
        (run / chance.choice(["odd.png", "odd.json", "notes.txt"])).write_bytes(
            chance.randbytes(chance.choice((10, 5000))))
    one = mirror_of(server, root, home)
    one.mirror = Refusing(one.mirror.folder)
    with Running(one):
        changing(server, root, chance, 40, change)
        monkeypatch.setattr(Refusing, "number", errno.EACCES)
        settled_and_compared(one, root, {"odd.png", "odd.json"})
        monkeypatch.setattr(Refusing, "number", None)
        settled_and_compared(one, root)
        until(lambda: one.state()["reason"]["code"] == "live")


def test_a_clock_that_jumps_stops_nothing(server, root, home, monkeypatch):
    chance, real, ahead = random.Random(6), time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])

    def change(run):
        ahead[0] += chance.choice((-1800.0, -120.0, -5.0, 60.0, 7200.0))
        write(run / "summary.json", {"loss": chance.random()})
        grow(run / "logs.txt", b"[2025-01-23 18:30:45+0800] a line\n")
    with Running(mirror_of(server, root, home)) as one:
        until(lambda: same(one, root))
        changing(server, root, chance, 40, change)
        settled_and_compared(one, root)


def test_pipes_and_other_irregular_files_stop_nothing_and_leave_no_process_behind(server, root, home):
    chance, odd = random.Random(7), {"pipe.jsonl", "notes.txt", "events.9.jsonl", "pipe.jsonl.end",
                                     "notes.txt.end", "events.9.jsonl.end"}

    def change(run):
        name = chance.choice(["pipe.jsonl", "notes.txt", "events.9.jsonl"])
        for path in (run / name, run / f"{name}.end"):
            if path.is_dir() and not path.is_symlink():
                (path / "inside.txt").unlink()
                path.rmdir()
            elif os.path.lexists(path):
                path.unlink()
        put(run / name, chance.choice(KINDS)) if chance.random() < 0.8 else (run / name).write_bytes(
            b"a file again\n")
    if server.source != "manifest":
        put(root / ".runicorn" / "full_manifest.json", KINDS[0])
    with Running(mirror_of(server, root, home)) as one:
        changing(server, root, chance, 60, change)
        settled_and_compared(one, root, odd)
    until(lambda: not server.sessions(), seconds=20)


def test_poisoned_records_stop_nothing(server, root, home):
    chance, lines = random.Random(8), all_lines()
    lines = {path: lines[path] for path in chance.sample(sorted(lines), 300)}
    for path in lines:
        make_run(root, path, status=path.split("/")[1])
    write_manifest(root, lines)

    def change(_):
        write_manifest(root, {path: lines[path] for path in chance.sample(sorted(lines), 200)})
    with Running(mirror_of(server, root, home)) as one:
        changing(server, root, chance, 20, change)
        settled_and_compared(one, root)


# -- a small disk --------------------------------------------------------------------------------------------

@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 160 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", folder],
                      capture_output=True).returncode:
        pytest.skip("only root mounts a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


class LowestFree:
    """The fewest bytes that were free on a disk while the block ran: `bytes`."""

    def __init__(self, folder):
        self.folder, self.bytes = folder, 1 << 60
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._watch)

    def _watch(self):
        while not self._stop.wait(0.02):
            found = os.statvfs(self.folder)
            self.bytes = min(self.bytes, found.f_bavail * found.f_frsize)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join()


def test_giants_never_fill_a_small_disk_and_leave_no_hole(server, root, small_disk):
    chance = random.Random(9)

    def change(run):
        giant(run / chance.choice(["logs.txt", "system.jsonl", "events.rank1.jsonl"]),
              chance.choice((30 << 20, 1 << 30, 1 << 40)))
    with LowestFree(small_disk) as free, Running(
        mirror_of(server, root, small_disk / "home", large=True)) as one:
        changing(server, root, chance, 20, change)
        small = {str(path.relative_to(root))
                 for path in root.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20}
        small -= {name for name in small if name.startswith(".runicorn")}

        def come():
            return {name for name in small if (one.mirror.folder / name).is_file()
                    and (one.mirror.folder / name).read_bytes() == (root / name).read_bytes()}
        until(lambda: one.state()["state"] == "live" and come() == small, SETTLED)
        kept = [path for path in one.mirror.folder.rglob("*") if path.is_file()]
        assert [str(path) for path in kept
                if path.stat().st_blocks * 512 < path.stat().st_size] == [], "a file with a hole"
        for name in small:
            tally.compare((one.mirror.folder / name).read_bytes(), (root / name).read_bytes())
    assert free.bytes > room.RESERVE - (4 << 20), f"{free.bytes} bytes free"
