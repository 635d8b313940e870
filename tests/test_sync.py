"""One mirror, end to end over OpenSSH's sftp-server: what comes here, how, and what the state says."""

import json
import logging
import os
import time

import pytest
from far import Far

from runicorn import manifest
from runicorn.bell import Bell
from runicorn.sync import Sync

LOG = logging.getLogger("sync")
OLD = time.time() - 200_000         # before any clock's doubt


def write(path, data, mtime=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new.tmp")
    beside.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    os.replace(beside, path)
    if mtime:
        os.utime(path, (mtime, mtime))


def make_run(root, path="vision/resnet50/runs/20250123_180000_abc123", status="finished", rows=10, old=True):
    """Make a run folder by hand, as any program could; returns it (Path)."""
    run = root / path
    name = path.split("/")
    write(run / "meta.json", {"id": name[3], "project": name[0], "name": name[1], "created_at": 1737653445})
    write(run / "status.json", {"status": status})
    write(run / "summary.json", {"loss": 0.5})
    write(run / "events.jsonl", b"".join(b'{"ts":%d,"step":%d,"data":{"loss":0.5}}\n' % (1737653445 + n, n) for n in range(rows)))
    write(run / "logs.txt", b"".join(b"[2025-01-23 18:30:45+0800] line %d\n" % n for n in range(rows)))
    if old:
        for file in [*run.iterdir(), run]:
            os.utime(file, (OLD, OLD))
    return run


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


@pytest.fixture
def mirror(tmp_path):
    return tmp_path / "near"


class Pair:
    """A Sync and the machine it mirrors; `passes` runs it until nothing is left to do."""

    def __init__(self, root, mirror, far=None, **options):
        self.root, self.mirror, self.bell = root, mirror, Bell()
        self.far = far or Far()
        self.options = {"name": "GPU Server 1", "host": "gpu", "port": 22, "user": "alice", "remote_root": str(root), "mode": "auto", "interval": 30,
                        "manifest": True, "small_only": True, "large": False, "window": None, "small_limit": 1 << 20, **options}
        self.sync = Sync(self.options, mirror, lambda: self.far, self.bell, LOG)
        self.now = time.time()

    def passes(self, seconds=0.0):
        """Let `seconds` go by and pass until the sync would wait."""
        self.now += seconds
        for _ in range(50):
            pause = self.sync.one_pass(self.now)
            if pause > 0:
                return pause
        raise AssertionError("50 passes and still work left")

    def same(self):
        """Assert that the mirror equals the server, byte by byte."""
        assert tree(self.mirror) == tree(self.root)

    def close(self):
        self.sync.stop()
        self.sync.run()
        self.far.close()


def tree(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*")
            if path.is_file() and path.relative_to(root).parts[0] not in (".index", ".runicorn")}


@pytest.fixture
def pair(root, mirror):
    pairs = []

    def make(**options):
        pairs.append(Pair(root, mirror, **options))
        return pairs[-1]
    yield make
    for one in pairs:
        one.close()


def test_everything_comes_from_nothing(root, pair):
    make_run(root)
    make_run(root, "nlp/bert/runs/20250124_180000_abc124", status="running", old=False)
    one = pair()
    one.passes()
    one.same()
    index = manifest.load(one.mirror / ".index" / "full.json")
    assert index.entry("vision/resnet50/runs/20250123_180000_abc123")["status"] == {"status": "finished"}
    assert one.sync.state()["state"] == "live" and one.sync.state()["runs"] == 2 and one.sync.state()["source"] == "walk"


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
    assert manifest.load(one.mirror / ".index" / "full.json").entry(str(run.relative_to(root)))["summary"] == {"loss": 0.25}
