"""A pipe, a socket, a device, a folder or a loop of links where a regular file belongs: never opened, never
waited for."""

import os
import subprocess
import sys

import pytest
from far import Far
from manifests import listed
from odd_files import KINDS, folder, pipe, put, to_pipe
from pairs import OLD, Pair, make_run, write

from runicorn import manifest
from runicorn.errors import LayoutError, NotFoundError
from runicorn.reader.catalog import Catalog
from runicorn.transfer import bundle
from runicorn.viewer import run_files

RUN = "vision/resnet50/runs/20250123_180000_abc123"
OTHER = "vision/resnet50/runs/20250124_180000_abc124"

OWN = ["meta.json", "status.json", "summary.json", "events.jsonl", "events.2.jsonl", "system.jsonl",
       "logs.txt", "events.rank1.jsonl"]


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "far"
    made.mkdir()
    return made


class Watched(Far):
    """Says of each request of a session what it was."""

    def client(self, **options):
        session = super().client(**options)
        session.asked = self.asked = getattr(self, "asked", [])
        ask = session.ask
        session.ask = lambda request, done: (self.asked.append((request.kind, request.about)),
                                             ask(request, done))
        return session


def opened(far):
    return {about for kind, about in far.asked if kind == 3}


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name",
                         ["full_manifest.json", "active_manifest.json", "live/20250123_180000_abc123.json"])
def test_no_manifest_and_no_live_file_that_is_none_is_opened_on_a_server(root, tmp_path, kind, ending, name):
    make_run(root)
    put(root / ".runicorn" / (name + ending), kind)
    one = Pair(root, tmp_path / "near", Watched())
    one.passes()
    one.passes(31)
    assert one.sync.state()["state"] == "live" and one.logins == 1
    assert opened(one.far) and not [place for place in opened(one.far) if ".runicorn" in place]
    one.close()             # waits for the server's process: none is stuck
    assert all(process.returncode is not None for process in one.far.processes)


@pytest.mark.few(5)
@pytest.mark.parametrize("name", [*OWN, "notes.txt", "media/a.png"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_file_of_a_run_that_is_none_is_opened_on_a_server_whatever_its_manifest_says(
        root, tmp_path, kind, name):
    run = make_run(root)
    make_run(root, OTHER)
    for file in (name, *OWN):
        if not (run / file).exists():
            write(run / file, b"{}\n", OLD)
    manifest.generate(str(root))
    put(run / name, kind)
    os.utime(run, (OLD, OLD))
    one = Pair(root, tmp_path / "near", Watched())
    for _ in range(3):
        one.passes(31)
    assert one.sync.state()["state"] == "live" and one.logins == 1
    assert f"{run}/{name}" not in opened(one.far) and f"{root / OTHER}/events.jsonl" in opened(one.far)
    assert (one.mirror / OTHER / "events.jsonl").read_bytes() == (root / OTHER / "events.jsonl").read_bytes()
    one.close()
    assert all(process.returncode is not None for process in one.far.processes)


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", [pipe, folder, to_pipe], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("again", [False, True], ids=["watched", "after a restart"])
def test_a_log_that_becomes_a_pipe_while_somebody_watches(root, tmp_path, kind, again):
    run = make_run(root, status="running", old=False)
    one = Pair(root, tmp_path / "near", Watched())
    one.bell.look({"runs", f"run:gpu-server-1:{RUN.replace('/runs/', '/')}"})
    one.passes()
    for _ in range(3):
        one.passes(1)
    if again:
        one.close()
        one = Pair(root, tmp_path / "near", Watched())
        one.bell.look({"runs", f"run:gpu-server-1:{RUN.replace('/runs/', '/')}"})
    put(run / "logs.txt", kind)
    before = len(getattr(one.far, "asked", []))
    for _ in range(5):
        one.passes(1)
    one.passes(31)
    late = one.far.asked[before:] if again else one.far.asked[before + 20:]
    assert one.sync.state()["state"] == "live" and one.logins == 1
    assert (3, f"{run}/logs.txt") not in late
    one.close()
    assert all(process.returncode is not None for process in one.far.processes)


# -- on this machine -----------------------------------------------------------------------------------------

ID = RUN.rpartition("/")[2]
COMMANDS = [["runs"], ["show", ID], ["tail", ID], ["manifest"], ["check", "ROOT"], ["check", f"ROOT/{RUN}"],
            ["check", "--secrets", "ROOT"], ["export", "--run-id", ID, "--format", "csv", "-o", "-"],
            ["export", "--run-id", ID, "--format", "html", "-o", "-"]]


def command(root, words, tmp_path):
    words = [word.replace("ROOT", str(root)) for word in words]
    more = [] if words[0] == "check" else ["--root", str(root)]
    done = subprocess.run([sys.executable, "-m", "runicorn", *words, *more], capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL,
                          env={**os.environ, "RUNICORN_HOME": str(tmp_path / "home")})
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_command_waits_for_what_is_no_file_of_a_local_root(root, tmp_path, kind):
    for number, name in enumerate(OWN, 1):
        put(make_run(root, f"p/n/runs/20250124_18000{number}_abc123") / name, kind)
    run = make_run(root)
    for name in (*OWN[4:], "notes.txt"):
        put(run / name, kind)
    for name in ("full_manifest.json", "active_manifest.json", "live/20250124_180001_abc123.json"):
        put(root / ".runicorn" / name, kind)
    codes = [command(root, words, tmp_path).returncode for words in COMMANDS]
    assert set(codes) <= {0, 1} and codes[:3] == [0, 0, 0]
    assert command(root, ["bundle", "-o", str(tmp_path / "out.tgz")], tmp_path).returncode == 0
    assert command(tmp_path / "in", ["import", str(tmp_path / "out.tgz")], tmp_path).returncode == 0
    assert (tmp_path / "in" / RUN / "meta.json").read_bytes() == (run / "meta.json").read_bytes()
    assert len(listed([("local", root)])) == len(OWN) + 1      # as the viewer's pages ask
    reader = Catalog([("local", root)])
    reader.refresh()
    names = [item["name"] for item in run_files.listed(run)[0]]
    assert "meta.json" in names and not {*OWN[4:], "notes.txt"} & set(names)
    for name in (*OWN[4:], "notes.txt"):
        with pytest.raises((NotFoundError, LayoutError)):
            run_files.opened(run, name)


def test_a_bundle_goes_on_without_what_became_a_pipe_or_may_not_be_read(root, tmp_path, monkeypatch):
    run = make_run(root)
    there = bundle.snapshot(root)
    put(run / "logs.txt", pipe)
    report = bundle.bundle(root, there, None, tmp_path / "out.tgz")
    assert report["files"] == 4 and [line.split(":")[0] for line in report["problems"]] == [f"{RUN}/logs.txt"]
    assert bundle.take_in(tmp_path / "out.tgz", tmp_path / "in")["files"] == 4
