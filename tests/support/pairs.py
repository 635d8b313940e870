"""One mirror and the machine it mirrors, by OpenSSH's sftp-server, for tests: runs made by hand, and a Sync
whose passes are called."""

import json
import logging
import os
import sys
import time

import pytest
from far import Far
from small_runs import run_folder

from runicorn.mirror.sync import Sync
from runicorn.news import Bell

LOG = logging.getLogger("sync")
OLD = time.time() - 200_000  # before any clock's doubt
RUN = "vision/resnet50/runs/20250123_180000_abc123"
OWN = ["events.jsonl", "logs.txt", "meta.json", "status.json", "summary.json"]


def write(path, data, mtime=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new.tmp")
    beside.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    if mtime:
        os.utime(beside, (mtime, mtime))
    os.replace(beside, path)


def make_run(root, path=RUN, status="finished", rows=10, old=True):
    """Make a run folder by hand, as any program could; returns it (Path)."""
    project, name, _, run_id = path.split("/")[-4:]
    return run_folder(root, path, {
        "meta.json": json.dumps({"id": run_id, "project": project, "name": name, "created_at": 1737653445}),
        "status.json": json.dumps({"status": status}),
        "summary.json": json.dumps({"loss": 0.5}),
        "events.jsonl": "".join(f'{{"ts":{1737653445 + n},"step":{n},"data":{{"loss":0.5}}}}\n'
                                for n in range(rows)),
        "logs.txt": "".join(f"[2025-01-23 18:30:45+0800] line {n}\n" for n in range(rows))},
                      OLD if old else None)


def live(root, path=RUN):
    """The heart of a run beats; returns its live file."""
    file = root / ".runicorn" / "live" / f"{path.rsplit('/', 1)[1]}.json"
    write(file, {"path": path, "host": "gpu"})
    return file


def grow(file, text=b'{"ts":1,"step":99,"data":{"loss":1}}\n'):
    with open(file, "ab") as out:
        out.write(text)


def facts(folder):
    """Everything that can be seen of a tree: contents (but of giants), sizes, modes, mtimes."""
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_size, content(path))
            for path in [folder, *folder.rglob("*")]}


def content(path):
    return (path.read_bytes() if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 28
            else None)


class Pair:
    """A Sync and the machine it mirrors; `passes` runs it until nothing is left to do.

    Whatever a test does between two calls of `passes`, within them nothing changes but the mirror: `passes`
    says so.
    """

    def __init__(self, root, mirror, far=None, room=None, **options):
        self.root, self.mirror, self.bell = root, mirror, Bell()
        self.far = far or Far()
        self.options = {
            "name": "GPU Server 1",
            "host": "gpu",
            "port": 22,
            "user": "alice",
            "remote_root": str(root),
            "mode": "auto",
            "interval": 30,
            "manifest": True,
            "small_only": True,
            "large": False,
            "window": None,
            "small_limit": 1 << 20,
            **options,
        }
        self.logins = 0
        self.sync = Sync(self.options, mirror, self.login, self.bell, LOG, room)
        self.now = time.time()

    def login(self):
        self.logins += 1
        return self.far

    def others(self):
        """All that is neither the mirror, nor an old mirror moved aside."""
        around = [path for path in self.mirror.parent.iterdir()
                  if path.name.split("~")[0] != self.mirror.name]
        return {path: facts(path) for path in [*around, self.root] if path.exists()}

    def passes(self, seconds=0.0):
        """Let `seconds` go by and pass until the sync would wait."""
        self.now += seconds
        before = self.others()
        for _ in range(50):
            pause = self.sync.one_pass(self.now)
            if pause > 0:
                assert self.others() == before, "only the mirror may change"
                return pause
        raise AssertionError("50 passes and still work left")

    def same(self):
        """Assert that the mirror equals the server, byte by byte, and that the state says so."""
        assert tree(self.mirror) == tree(self.root)
        assert self.sync.state()["state"] == "live", self.sync.state()

    def close(self):
        self.sync.stop()
        self.sync.run()
        self.far.close()


def tree(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] not in (".index", ".runicorn")
    }


def here(one, path=RUN):
    return sorted(str(file.relative_to(one.mirror / path))
                  for file in (one.mirror / path).rglob("*") if file.is_file())


def told(one):
    return json.loads((one.mirror / ".index" / "live.json").read_text())


def settle(one):
    """Wait for what the server was asked to do beside."""
    session = one.sync._remote_root
    while session.list.asking or session.whole_files.busy:
        time.sleep(0.01)


# -- fixtures

@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


@pytest.fixture
def mirror(tmp_path):
    return tmp_path / "near"


@pytest.fixture
def pair(root, mirror):
    """A function that makes a Pair, closed in the end; by exec the server tells by python3 what is new.

    The Pair's `source` is what it was made with, its `moved` {old path: new path} of the runs that were
    renamed on the server.
    """
    made = []

    def make(source="sftp", far=None, **options):
        one = Pair(root, mirror, far or Far(python=sys.executable if source == "exec" else None), **options)
        one.source, one.moved = source, {}
        one.sync._publisher._moved = one.moved.update
        made.append(one)
        return one
    yield make
    for one in made:
        one.close()
