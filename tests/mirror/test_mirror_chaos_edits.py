"""Never wrong over a real sshd, in real time: every edit of finished and running runs, by exec, manifest and
SFTP alone. What is called verified is what the server has, and after the stated time all of it is."""

import os
import time

import pytest
import tally
from edits import EDITS, NAMES, edited_run
from pairs import OLD, tree
from real_syncs import Running, mirror_of
from sshd import Sshd
from waiting import until

from runicorn import manifest
from runicorn.reader.catalog import Catalog

pytestmark = pytest.mark.chaos
SOURCES = ("exec", "manifest", "sftp")
# s; a turn by SFTP alone takes 60 for so few, what it finds rests 10 more
STATED = {"exec": 60.0, "manifest": 120.0, "sftp": 180.0}


class Edited:
    """One server with a finished and a running run for each edit, and who judges what its mirror says."""

    def __init__(self, source, folder):
        self.source, self.root, self.home = source, folder / "far", folder / "home"
        self.runs = {}                  # run path -> (edit, folder)
        for number, (edit, status) in enumerate(
            (edit, status) for edit in EDITS for status in ("finished", "running")):
            path = f"p/{status}/runs/20250123_{180000 + number}_abc123"
            self.runs[path] = edit, edited_run(self.root, status, path)
        self.make_manifest()
        self.server = Sshd(folder / "sshd", **({} if source == "exec" else {"ForceCommand": "internal-sftp"}))
        self.sync = mirror_of(self.server, self.root, self.home, interval=5)
        self.reader = Catalog([("local", folder / "local")], [("gpu", self.sync.mirror.folder)])
        self.edited = None              # when, Unix s

    def make_manifest(self):
        if self.source == "manifest":
            manifest.generate(str(self.root))

    def edit(self):
        for edit, run in self.runs.values():
            EDITS[edit](run)
            if edit not in NAMES:
                os.utime(run, (OLD, OLD))       # the folder shows nothing
        self.edited = time.time()

    def verified(self):
        """Return {run path: when verified} of the runs that are called so."""
        self.reader.refresh()
        keys = {path: "gpu:" + path.replace("/runs/", "/") for path in self.runs}
        listed = {row["key"] for row in self.reader.runs(limit=None)["runs"]}
        said = {path: self.reader.run(key) for path, key in keys.items() if key in listed}
        return {path: run["verified_at"] for path, run in said.items() if run["verified"]}

    def judge(self):
        """Return the runs that are called verified since the edits (set): none of them is wrong."""
        proven = {path for path, at in self.verified().items() if at >= self.edited}
        for path in proven:
            tally.verified(tree(self.sync.mirror.folder / path) == tree(self.root / path),
                           f"{self.runs[path][0]} by {self.source}")
        return proven

    def compare(self):
        """Count what is here of each run against what the server has; what was deleted there stays here."""
        for path, (edit, run) in self.runs.items():
            here, there = tree(self.sync.mirror.folder / path), tree(run)
            for name, data in there.items():
                tally.compare(here.get(name, b""), data)
            assert here.keys() - there.keys() == ({"logs.txt"} if edit == "deleted" else set()), edit
            tally.tried()


@pytest.mark.parametrize("source", SOURCES)
def test_every_edit_is_found_in_the_stated_time_and_nothing_wrong_is_called_verified(tmp_path, source):
    one = Edited(source, tmp_path)
    expected = {path for path, (edit, _) in one.runs.items() if edit != "deleted"}
    with one.server, Running(one.sync):
        until(lambda: one.verified().keys() == one.runs.keys(), seconds=120)
        one.edit()
        one.judge()
        time.sleep(1)
        one.make_manifest()
        deadline, proven = time.monotonic() + STATED[source], set()
        while proven != expected and time.monotonic() < deadline:
            time.sleep(0.5)
            proven = one.judge()
        assert sorted(one.runs[path][0] for path in expected - proven) == [] and proven == expected
        one.compare()
