"""Never wrong where a process stands still, over a real sshd, in real time: `sync once`, a viewer or the
server is stopped in a first sync and while they follow, all is edited meanwhile, and they go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import tally
from edits import EDITS, NAMES, edited_run
from line import Line
from pairs import OLD, make_run, tree
from sshd import Sshd
from waiting import until

from runicorn.reader.catalog import Catalog

pytestmark = pytest.mark.chaos
PACKAGE = str(Path(__file__).parents[2])
SETTLED = 180.0                 # s until all is here and no more: a turn by SFTP alone takes 60
ONCE, VIEWER = ("sync", "once", "--connection", "gpu"), ("viewer", "--no-browser", "--port", "0")


class Stopped:
    """A server with an edited run for each edit, and a process of a user that mirrors it."""

    def __init__(self, folder, source, mbit):
        self.root, self.user = folder / "far", folder / "user"
        self.home = self.user / ".runicorn"
        self.cache = self.home / "cache" / "gpu"
        self.runs = {}                  # run path -> (edit, folder)
        for number, (edit, status) in enumerate(
            (edit, status) for edit in EDITS for status in ("finished", "running")):
            path = f"p/{status}/runs/20250123_{180000 + number}_abc123"
            self.runs[path] = edit, edited_run(self.root, status, path)
        big = make_run(self.root, "p/big/runs/20250124_180000_abc124")
        (big / "events.jsonl").write_bytes(b'{"ts":1,"step":1,"data":{"loss":1}}\n' * 400_000)
        self.server = Sshd(folder / "sshd", **({} if source == "exec" else {"ForceCommand": "internal-sftp"}))
        self.line = Line(self.server.port, rtt=0.02, mbit=mbit)
        self.home.mkdir(parents=True)
        key = " ".join(self.server.host_key.read_text().split()[:2])
        (self.home / "known_hosts").write_text(f"[127.0.0.1]:{self.line.port} {key}\n")
        connection = {**self.server.connection(), "name": "gpu", "port": self.line.port,
                      "remote_root": str(self.root), "interval": 2}
        (self.home / "config.json").write_text(json.dumps({"connections": [connection]}))
        self.reader = Catalog([("local", folder / "local")], [("gpu", self.cache)])
        self.edited = None              # when, Unix s

    def start(self, words):
        environment = {**os.environ, "HOME": str(self.user), "RUNICORN_HOME": str(self.home),
                       "PYTHONPATH": PACKAGE}
        return subprocess.Popen([sys.executable, "-m", "runicorn", *words], env=environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True)

    def edit(self):
        for edit, run in self.runs.values():
            EDITS[edit](run)
            if edit not in NAMES:
                os.utime(run, (OLD, OLD))       # the folder shows nothing
            tally.tried()
        self.edited = time.time()

    def judge(self):
        """What is called verified since the edits is what the server has."""
        self.reader.refresh()
        for row in self.reader.runs(limit=None)["runs"]:
            project, name, run_id = row["key"].partition(":")[2].split("/")
            path, run = f"{project}/{name}/runs/{run_id}", self.reader.run(row["key"])
            if run["verified"] and run["verified_at"] >= self.edited:
                tally.verified(tree(self.cache / path) == tree(self.root / path), f"{path} after a stop")

    def is_same(self):
        here = tree(self.cache)
        return all(here.get(name) == data for name, data in tree(self.root).items())

    def stop_and_edit(self, processes, seconds):
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        self.edit()
        time.sleep(seconds)
        self.judge()
        for process in processes:
            if process.is_running():        # a session that we gave up meanwhile has ended
                process.send_signal(signal.SIGCONT)

    def settle(self):
        deadline = time.monotonic() + SETTLED
        while not self.is_same() and time.monotonic() < deadline:
            self.judge()
            time.sleep(1)
        for name, data in tree(self.root).items():
            tally.compare(tree(self.cache).get(name, b""), data)

    def close(self):
        self.line.close()
        self.server.stop()


@pytest.fixture
def stopped(tmp_path):
    made = []

    def make(source, mbit=0):
        made.append(Stopped(tmp_path, source, mbit))
        return made[0]
    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("source", ["exec", "sftp"])
@pytest.mark.parametrize("seconds", [3, 40], ids=["briefly", "longer than anybody waits for an answer"])
def test_a_sync_once_that_stood_still_ends_well_and_the_next_brings_the_rest(stopped, source, seconds):
    one = stopped(source, mbit=20)
    process = one.start(ONCE)
    until((one.cache / "p").exists, seconds=30)
    one.stop_and_edit([psutil.Process(process.pid)], seconds)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in said, said
    one.judge()
    for _ in range(2):
        again = one.start(ONCE)
        said, _ = again.communicate(timeout=120)
        assert again.returncode == 0, said
        one.judge()
    missing = {name.split("/")[3] for name, data in tree(one.root).items()
               if tree(one.cache).get(name) != data}
    resting = {path.split("/")[3] for path, (edit, _) in one.runs.items()
               if edit == "a line changed and one appended"}
    assert missing <= resting, "but for a log that was edited and grew, which is read again once it rests"


@pytest.mark.parametrize("source", ["exec", "sftp"])
@pytest.mark.parametrize("whose", ["the viewer", "the server's sessions"])
@pytest.mark.parametrize("seconds", [3, 40], ids=["briefly", "longer than anybody waits for an answer"])
def test_a_viewer_goes_on_after_a_stop(stopped, source, whose, seconds):
    one = stopped(source)
    process = one.start(VIEWER)
    try:
        until(one.is_same, seconds=60)
        time.sleep(3)
        one.stop_and_edit([psutil.Process(process.pid)] if whose == "the viewer" else one.server.sessions(),
                          seconds)
        one.settle()
        one.judge()
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "Traceback" not in said, said
