"""How often the line turns round for one `sync once` as a user types it, login included, and what it weighs:
counted, not timed."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from line import Line
from small_runs import write_run
from sshd import Sshd

from runicorn import manifest, settings

RUNS = 60
RTT = 0.15                      # s; on a busy machine, what goes together may come a few ms apart


class Typed:
    """A home with one connection through a delayed line."""

    def __init__(self, line, server, root, home):
        self.line, self.server, self.home = line, server, home
        home.mkdir()
        key = " ".join(server.host_key.read_text().split()[:2])
        (home / "known_hosts").write_text(f"[127.0.0.1]:{line.port} {key}\n")
        settings.save_connection(
            home, {**server.connection(), "name": "gpu", "port": line.port, "remote_root": str(root)})

    def sync(self):
        """Run `sync once`, whose words on standard error are `said` then; returns (turns, bytes both
        ways)."""
        before = self.line.stats()
        done = subprocess.run([sys.executable, "-m", "runicorn", "sync", "once", "--json"],
                              capture_output=True, text=True, timeout=120,
                              env={**os.environ, "HOME": str(self.home), "RUNICORN_HOME": str(self.home)})
        assert done.returncode == 0, done.stderr
        self.said = done.stderr
        after = self.line.stats()
        return after["turns"] - before["turns"], after["up"] + after["down"] - before["up"] - before["down"]


def same(root, mirror):
    files = {path.relative_to(root): path.read_bytes()
             for path in root.rglob("*.json*") if ".runicorn" not in path.parts}
    assert len(files) >= 4 * RUNS
    assert {path: (mirror / path).read_bytes() for path in files} == files


@pytest.fixture(params=["exec", "exec and a manifest", "a manifest", "SFTP alone"])
def typed(request, tmp_path):
    root = tmp_path / "far"
    for number in range(RUNS):
        folder = write_run(root, f"p{number % 3}", f"n{number % 6}", f"20250123_180000_{number:06x}",
                           status="running" if number % 20 == 7 else "finished")
        for path in (*folder.iterdir(), folder):
            os.utime(path, (1.75e9, 1.75e9))
    for folder in (path for path in (root, *root.rglob("*")) if path.is_dir()):
        os.utime(folder, (1.75e9, 1.75e9))
    if "manifest" in request.param:
        manifest.generate(str(root))
        os.utime(root, (1.75e9, 1.75e9))
    options = {} if "exec" in request.param else {"ForceCommand": "internal-sftp"}
    with Sshd(tmp_path / "sshd", **options) as server, Line(server.port, RTT) as line:
        yield request.param, Typed(line, server, root, tmp_path / "home"), root


# Turns of a first `sync once`, and (turns, bytes) of one that finds nothing new: of the turns six are the
# login and one the end. What is fetched while folders are listed turns the line more often, and holds nobody
# up.
FIRST = {"exec": 26, "exec and a manifest": 26, "a manifest": 34, "SFTP alone": 34}
AGAIN = {"exec": (14, 15_000), "exec and a manifest": (14, 15_000), "a manifest": (17, 8_000),
         "SFTP alone": (18, 11_000)}


@pytest.mark.few("exec")
def test_turns_of_sync_once(typed):
    how, user, root = typed
    turns, _ = user.sync()
    # two lines log in and read at once: on a busy machine the answers to one come between those to the other
    if turns > FIRST[how]:
        turns, _ = Typed(user.line, user.server, root, user.home.with_name("another")).sync()
    same(root, user.home / "cache" / "gpu")
    again, weight = user.sync()
    same(root, user.home / "cache" / "gpu")
    assert turns <= FIRST[how] and again <= AGAIN[how][0] and weight <= AGAIN[how][1]
    (root / "p0/n0/runs/20250123_180000_000000/summary.json").write_text('{"loss": 7}')
    write_run(root, "p0", "n0", "20250124_180000_ffffff")
    shutil.rmtree(root / "p1/n1/runs/20250123_180000_000001")
    if how == "a manifest":
        manifest.generate(str(root))
    user.sync()
    copy = user.home / "cache" / "gpu"
    assert (copy / "p1/n1/runs/20250123_180000_000001").exists()
    assert json.loads((copy / ".index/live.json").read_text())["gone"] == [
        "p1/n1/runs/20250123_180000_000001"]
    same(root, copy)


@pytest.mark.long
@pytest.mark.parametrize("typed", ["exec"], indirect=True)
def test_what_is_passed_over_is_said_again_though_nobody_lists_it(typed):
    _, user, root = typed
    os.symlink("/nonexistent", root / "p0/dead")
    for _ in range(2):
        user.sync()
        assert "passed over there: 1 link to no folder" in user.said


@pytest.mark.few(1)
@pytest.mark.parametrize("typed", ["a manifest"], indirect=True)
@pytest.mark.parametrize("spoilt", ["folders.json", "live.json"])
@pytest.mark.parametrize("how", [
    b"", b"[]", b'{"": 5, "p0": [1, {}, {}], "list": [], "../..": [1750000000, {"x": null}, {"a": "b"}]}',
    b'{"list": {"digest": 5, "read": {"x": 7}, "made": "x", "refused": 1e999, "server_time": []}}'])
def test_what_an_earlier_session_left_may_be_anything(typed, spoilt, how):
    _, user, root = typed
    user.sync()
    (user.home / "cache" / "gpu" / ".index" / spoilt).write_bytes(how)
    user.sync()
    same(root, user.home / "cache" / "gpu")


@pytest.mark.few(1)
@pytest.mark.parametrize("where", ["~", "~/far", "far", "../{name}/far"])
def test_a_root_from_where_sftp_begins_is_the_same_for_commands(tmp_path, where):
    """A command begins in the user's home, SFTP where the server says."""
    write_run(tmp_path / "far", "p", "n", "20250123_180000_abc123")
    home = tmp_path / "home"
    with Sshd(tmp_path / "sshd", start=tmp_path / "far" if where == "~" else tmp_path) as server:
        server.trusted_in(home)
        settings.save_connection(
            home, {**server.connection(), "name": "gpu", "remote_root": where.format(name=tmp_path.name)})
        for count in (1, 2):
            done = subprocess.run([sys.executable, "-m", "runicorn", "sync", "once"], capture_output=True,
                                  text=True, timeout=120,
                                  env={**os.environ, "HOME": str(home), "RUNICORN_HOME": str(home)})
            assert done.returncode == 0, done.stderr
            index = manifest.load(home / "cache" / "gpu" / ".index" / "full.json")
            told = json.loads((home / "cache/gpu/.index/live.json").read_text())["list"]
            assert len(index.paths()) == count and told["server_time"], "python3 there told of them"
            assert not told["refused"]
            write_run(tmp_path / "far", "p", "n", "20250124_180000_abc124")
