"""One state for one run: command line, JSON, scripts and the pages' API say the same, with the same
reason."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from clocks import Clock
from running_runs import beat, looked, make_run
from waiting import until

import runicorn
from runicorn import layout, manifest, settings
from runicorn.connections.registry import Registry
from runicorn.news import Bell
from runicorn.reader import beside_viewer, local_root, scripts, viewer_client
from runicorn.reader.catalog import Catalog
from runicorn.viewer import app
from runicorn.writer import environment

PROJECT = Path(__file__).parents[2]
ID = "20250123_180000_abc123"
WRITER = """
import sys, time, runicorn
run = runicorn.init(project="p", name="n", storage=sys.argv[1], system=False, capture=False)
for step in range(20): run.log({"loss": 1.0}, step=step)
print(run.id, flush=True)
time.sleep(120)
"""


@pytest.fixture
def root(tmp_path, home, monkeypatch):
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def training(root):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True,
                          cwd=PROJECT) as process:
        process.run_id = process.stdout.readline().strip()
        yield process
        process.kill()


def command(*words, timeout=60):
    return subprocess.run([sys.executable, "-m", "runicorn", *words], capture_output=True, text=True,
                          timeout=timeout, cwd=PROJECT)


@contextlib.contextmanager
def viewing(home, roots):
    bell = Bell()
    mirrors = Registry(home, bell, offline=True)
    server = app.start(home, roots, mirrors, bell, port=0, offline=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        mirrors.stop()
        thread.join(5)


def told_everywhere(run_id):
    """Return the set of (state, reason code) that each way tells."""
    line = json.loads(command("runs", "--json").stdout.splitlines()[0])
    shown = json.loads(command("show", run_id, "--json").stdout)
    opened, (listed,) = runicorn.open_run(run_id), runicorn.runs()
    return {(line["state"], line["reason"]["code"]), (shown["state"], shown["reason"]["code"]),
            (opened.state, opened.reason["code"]), (listed.state, listed.reason["code"])}


def test_a_run_of_this_machine_is_judged_at_once_and_alike(root, home, training):
    assert told_everywhere(training.run_id) == {("running", "beating")}
    found = command("runs", "state:running", "--json")
    assert json.loads(found.stdout)["id"] == training.run_id and not found.stderr
    assert [run.id for run in runicorn.runs("state:running")] == [training.run_id]
    training.send_signal(signal.SIGKILL)
    training.wait()
    assert told_everywhere(training.run_id) == {("lost", "process_gone")}
    assert "its process is gone" in command("show", training.run_id).stdout
    assert not runicorn.runs("state:running") and len(runicorn.runs("state:lost")) == 1
    with viewing(home, [("local", root)]) as server:
        assert server.catalog.runs()["total"] in (0, 1)
        server.catalog.await_first_look()
        path = f"p/n/runs/{training.run_id}"
        until(lambda: server.catalog.states()[0]["runs"].get(path, [""])[0] == "lost")
        assert told_everywhere(training.run_id) == {("lost", "process_gone")}


def test_a_dead_run_of_this_machine_is_never_running_again_after_a_restart(root, home, training):
    training.kill()
    training.wait()
    for _ in range(2):
        reader, states = Catalog([("local", root)], home=home), []
        for _ in range(4):
            reader.refresh()
            reader.look()
            states.append(reader.runs()["runs"][0]["state"])
        reader.save()
        assert set(states) == {"lost"}


@pytest.mark.few(1)
@pytest.mark.parametrize("ended", ["finish", "os._exit"])
def test_the_end_of_a_process_is_what_it_said(root, home, ended):
    code = WRITER.replace("time.sleep(120)",
                          "run.finish()" if ended == "finish" else "import os; os._exit(0)")
    run_id = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True,
                            cwd=PROJECT, timeout=60).stdout.strip()
    (state, _), = told_everywhere(run_id)
    assert state == ("finished" if ended == "finish" else "lost")


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "beat_age, row_age, state",
    [(0, 0, "running"), (30, 30, "running"), (0, 3600, "stalled"), (120, 3600, "stalled"),
     (3600, 3600, "lost")],
)
def test_beat_and_rows_of_a_living_process_of_this_machine_are_told_by_our_clock(
        root, home, beat_age, row_age, state):
    folder = make_run(root)
    live = root / ".runicorn/live" / f"{ID}.json"
    ours = {"host": environment.hostname(), **environment.process(), "pid": os.getppid(), "start": None}
    live.write_text(layout.to_json({"path": f"p/n/runs/{ID}", **ours}))
    now = time.time()
    for path, age in ((live, beat_age), (folder / "events.jsonl", row_age)):
        os.utime(path, (now - age, now - age))
    (told, _), = told_everywhere(ID)
    assert told == state


# -- neither a viewer nor our own machine --------------------------------------------------------------------

def test_a_second_look_one_beat_later_decides(root, home):
    make_run(root)
    run, = runicorn.runs()
    reader = run._reader
    waits = []

    def beats(seconds):
        waits.append(seconds)
        beat(root, time.time() + 5)
    assert reader.undecided() == 1
    scripts.decide(reader, beats)
    assert (run.state, run.reason["code"]) == ("running", "beating") and 9 < waits[0] <= 11


def test_a_second_look_that_sees_nothing_move_says_lost(root, home, monkeypatch):
    make_run(root)
    reader = scripts.open_reader([("local", root)], [], home)
    clock = time.monotonic() + 11
    monkeypatch.setattr(reader, "_clock", lambda: clock)
    scripts.decide(reader, lambda seconds: None)
    assert [(line["state"], line["reason"]["code"]) for line in reader.runs()["runs"]] == [
        ("lost", "never_seen")]


@pytest.mark.long
def test_the_command_prints_the_first_answer_and_what_the_second_look_decided(root, home):
    make_run(root)
    (root / ".runicorn/live" / f"{ID}.json").write_text(layout.to_json({"host": "another-machine", "pid": 1}))
    answer = command("runs", "--json")                  # a pipe gets one answer
    assert [json.loads(line)["state"] for line in answer.stdout.splitlines()] == ["checking"]
    answer = command("runs", "state:checking,lost", "--json")
    assert [json.loads(line)["state"] for line in answer.stdout.splitlines()] == ["checking", "lost"]
    assert "once more" in answer.stderr


# -- mirrored runs -------------------------------------------------------------------------------------------

def synced(mirror, far, seen=1.0, looked=0.5, first=600.0, written=0.5, up=True, beat_at=5000.0, **run):
    """Leave a mirror as its syncing process does; all times are seconds ago."""
    now, path = time.time(), f"p/n/runs/{ID}"
    if not far.exists():
        make_run(far)
    (mirror / ".index").mkdir(parents=True, exist_ok=True)
    manifest.save(manifest.build(far), mirror / ".index" / "full.json")
    times = {"seen": None if seen is None else now - seen, "first": now - first, "looked": now - looked,
             "read": now - looked}
    run = {"beat": beat_at, **times, **run}
    live = {"runs": {path: run}, "line": {"up": up, "since": now - first}, "gone": [], "looked": now - looked,
            "written": now - written}
    layout.replace_file(mirror / ".index" / "live.json", layout.to_json(live).encode())


@pytest.mark.parametrize(
    "seen, looked_ago, first, state",
    [(1, 0.5, 600, "running"), (150, 0.5, 600, "stalled"), (300, 0.5, 600, "lost"), (None, 0.5, 600, "lost"),
     (None, 0.5, 20, "checking"), (3601, 3600, 7200, "running")],
)
def test_of_mirrored_runs_what_the_syncing_process_last_wrote_is_told(
        tmp_path, home, root, seen, looked_ago, first, state):
    synced(home / "cache" / "gpu1", tmp_path / "far", seen, looked_ago, first, looked_ago)
    for told in (looked(Catalog([], [("gpu1", home / "cache" / "gpu1")]), Clock())[0],
                 scripts.open_reader([], beside_viewer.mirror_folders(home),
                                     home).runs()["runs"][0]["state"]):
        assert told == state


def test_a_mirrors_runs_are_found_by_the_name_of_its_connection(tmp_path, home, root):
    settings.save_connection(home, {"name": "GPU Server 1", "host": "gpu.example"})
    synced(home / "cache" / "gpu-server-1", tmp_path / "far")
    for words, count in (('connection:"GPU Server 1"', 1), ("connection:gpu-server-1", 1),
                         ('connection!="GPU Server 1"', 0)):
        assert command("runs", words, "--json").stdout.count("\n") == len(runicorn.runs(words)) == count


def test_what_an_ended_sync_wrote_comes_with_its_age(tmp_path, home, root):
    synced(home / "cache" / "gpu1", tmp_path / "far", seen=7201, looked=7200, first=9000, written=7200,
           up=False)
    line = json.loads(command("runs", "--json").stdout)
    assert line["state"] == "running" and line["stale"] and line["reason"]["text"].endswith("as of 2 h ago")
    assert "as of 2 h ago" in command("show", ID).stdout


def test_a_run_in_two_mirrors_shows_the_freshest_everywhere(tmp_path, home, root):
    synced(home / "cache" / "a-old", tmp_path / "far", seen=7000, looked=6900, first=9000, written=6900,
           up=False)
    synced(home / "cache" / "b-new", tmp_path / "far")
    line = json.loads(command("runs", "--json").stdout)
    assert (line["connection"], line["state"], line["stale"], line["sources"]) == (
        "b-new", "running", False, 2)
    run, = runicorn.runs()
    assert run.state == "running" and run._reader.entry(run.key).source.slug == "b-new"


def test_the_page_follows_to_the_mirror_whose_line_is_up(tmp_path):
    synced(tmp_path / "a", tmp_path / "far", up=False)
    synced(tmp_path / "b", tmp_path / "far", up=False)
    reader = Catalog([], [("a", tmp_path / "a"), ("b", tmp_path / "b")])
    reader.refresh()
    synced(tmp_path / "b", tmp_path / "far")
    reader.refresh()
    assert reader.runs()["runs"][0]["connection"] == "b"
    time.sleep(0.01)
    synced(tmp_path / "b", tmp_path / "far", up=False)
    synced(tmp_path / "a", tmp_path / "far")
    reader.refresh()
    found, = reader.runs()["runs"]
    assert (found["connection"], found["stale"]) == ("a", False)


def test_a_mirrored_run_known_to_be_dead_stays_lost_when_a_new_sync_begins(tmp_path):
    synced(tmp_path / "m", tmp_path / "far", seen=4000, looked=10, first=9000, written=9, up=False)
    clock = Clock()
    reader = Catalog([], [("m", tmp_path / "m")], clock=clock)
    assert looked(reader, clock)[0] == "lost"
    for seconds in range(1, 8):                 # the new sync has seen nothing yet
        synced(tmp_path / "m", tmp_path / "far", seen=None, looked=0, first=seconds, written=0)
        assert looked(reader, clock, 1)[0] == "lost"
    synced(tmp_path / "m", tmp_path / "far", seen=0, looked=0, first=9, written=0, beat_at=5010.0)
    assert looked(reader, clock, 1)[0] == "running"


def test_a_sync_that_has_not_listed_a_run_yet_is_no_sign_of_its_life(tmp_path):
    synced(tmp_path / "m", tmp_path / "far", seen=4000, looked=10, first=9000, written=9)
    clock = Clock()
    reader = Catalog([], [("m", tmp_path / "m")], clock=clock)
    looked(reader, clock)
    live = json.loads((tmp_path / "m/.index/live.json").read_text())
    layout.replace_file(tmp_path / "m/.index/live.json",
                        layout.to_json({**live, "runs": {}, "written": time.time()}).encode())
    assert looked(reader, clock, 1)[0] == "lost"


# -- beside a viewer -----------------------------------------------------------------------------------------

def test_a_viewer_beside_is_asked(root, home):
    make_run(root)
    beat(root, 1000)
    with viewing(home, [("local", root)]) as server:
        server.catalog.await_first_look()
        times = itertools.count(1001)

        def state_after_a_beat():
            beat(root, next(times))
            return server.catalog.states()[0]["runs"].get(f"p/n/runs/{ID}", [None])[0]
        until(state_after_a_beat, wanted=lambda state: state == "running", pause=0.2)
        assert told_everywhere(ID) == {("running", "beating")}
        assert command("runs", "state:running", "--json").stdout.count("\n") == 1
    assert viewer_client.states(home) == []


ASKED = "-started", 50, ()


def finished(root, number):
    folder = make_run(root, run_id=f"20250123_180000_{number:06x}")
    (folder / "status.json").write_text(
        json.dumps({"status": "finished", "started_at": 1.7e9, "ended_at": 1.7e9 + 60}))
    return folder


@pytest.fixture
def beside_three(root, home):
    """A viewer that knows of three finished runs."""
    for number in range(3):
        finished(root, number)
    with viewing(home, [("local", root)]) as server:
        server.catalog.await_first_look()
        yield server


def test_the_list_beside_a_viewer_is_the_viewers(root, home, beside_three):
    until(lambda: beside_three.catalog.known()[0]["runs"])          # it looked through the root
    by_viewer = beside_viewer.runs(home, [("local", root)], (), "", *ASKED)
    own = scripts.open_reader([("local", root)], [], home).runs(limit=50)
    assert by_viewer["matched"] == 3 and by_viewer["undecided"] == 0
    assert json.loads(layout.to_json(own["runs"])) == by_viewer["runs"]
    beside_three.catalog.runs = None             # only the viewer's view is asked
    assert len(command("runs", "--json").stdout.splitlines()) == 3
    found = beside_viewer.runs(home, [("local", root)], (), "state:finished", "name", 2, ["config.lr"])
    own = scripts.open_reader([("local", root)], [], home).runs(
        "state:finished", "name", limit=2, columns=["config.lr"])
    assert found["matched"] == 3 and len(found["runs"]) == 2
    assert json.loads(layout.to_json(own["runs"])) == found["runs"]


def test_what_a_viewer_does_not_know_yet_is_read_here(root, home, tmp_path, beside_three):
    finished(root, 7)
    assert (beside_viewer.runs(home, [("local", root)], (), "", *ASKED) is None
            or beside_three.catalog.runs()["total"] == 4)
    assert len(command("runs", "--json").stdout.splitlines()) == 4
    other = tmp_path / "other"
    finished(other, 8)
    assert beside_viewer.runs(home, [("local", other)], (), "", *ASKED) is None
    assert len(command("runs", "--json", "--root", str(other)).stdout.splitlines()) == 1
    (home / "cache" / "a-mirror").mkdir(parents=True)           # which this viewer does not show
    assert beside_viewer.runs(home, [("local", root)], beside_viewer.mirror_folders(home), "", *ASKED) is None


def test_a_viewer_that_did_not_look_through_the_root_yet_is_not_believed(root, home, monkeypatch):
    """What other loggers wrote it finds after our own runs, and says nothing of it until then."""
    finished(root, 1)
    monkeypatch.setattr(local_root.LocalRoot, "_build", lambda self: None)
    with viewing(home, [("local", root)]) as server:
        server.catalog.await_first_look()
        assert server.catalog.known()[0]["runs"] is None
        assert beside_viewer.runs(home, [("local", root)], (), "", *ASKED) is None


def test_a_run_that_ends_has_ended_at_once_beside_a_viewer(root, home, training):
    with viewing(home, [("local", root)]) as server:
        until(lambda: server.catalog.known()[0]["runs"])
        folder, = root.glob("p/n/runs/*")
        (folder / "status.json").write_text(
            json.dumps({"status": "finished", "started_at": 1.7e9, "ended_at": 1.7e9 + 60}))
        found = beside_viewer.runs(home, [("local", root)], (), "", *ASKED)
        assert [run["state"] for run in found["runs"]] == ["finished"]


@pytest.mark.few(2)
@pytest.mark.parametrize("words",
                         [["loss<"], ["", "--sort", "config.lr,,"], ["", "--limit", "0"],
                          ["", "--limit", "20000"]])
def test_words_and_numbers_are_answered_as_without_a_viewer(root, home, words):
    finished(root, 1)
    before = command("runs", *words)
    with viewing(home, [("local", root)]) as server:
        server.catalog.await_first_look()
        after = command("runs", *words)
    assert (after.returncode, after.stdout, after.stderr) == (before.returncode, before.stdout, before.stderr)


@pytest.mark.parametrize("answer",
                         [{}, {"runs": 3}, {"runs": []}, {"runs": [], "sources": 5},
                          {"runs": [], "sources": [{"folder": 3}]}])
def test_a_nonsensical_list_is_not_taken(root, home, monkeypatch, answer):
    monkeypatch.setattr(viewer_client, "notes", lambda home: [{"url": "", "token": ""}])
    monkeypatch.setattr(viewer_client, "asked", lambda note, path: answer)
    assert beside_viewer.runs(home, [("local", root)], (), "", *ASKED) is None


@pytest.mark.parametrize(
    "note", [{"url": "http://127.0.0.1:9", "token": "x", "pid": 1}, {"url": 3, "token": "x"}, {},
             {"url": "http://[", "token": ""}]
)
def test_the_note_of_a_viewer_that_was_killed_is_no_obstacle(root, home, note):
    make_run(root)
    (home / "run").mkdir(parents=True)
    (home / "run" / "23300.json").write_text(json.dumps(note))
    (home / "run" / "23301.json").write_text("{torn")
    assert viewer_client.states(home) == []
    assert [line["state"] for line in scripts.open_reader([("local", root)], [], home).runs()["runs"]] == [
        "checking"]


@pytest.mark.parametrize(
    "told", [{}, {"runs": 3}, {"runs": {"p/n/runs/" + ID: ["nonsense", "", "", {}]}},
             {"runs": {"p/n/runs/" + ID: "running"}}]
)
def test_a_nonsensical_answer_changes_nothing(root, home, told):
    make_run(root)
    reader = Catalog([("local", root)])
    reader.refresh()
    reader.look()
    reader.believe([{"folder": os.path.realpath(root), "up": True, **told}])
    assert reader.runs()["runs"][0]["state"] == "checking"


@pytest.mark.long
def test_ten_thousand_open_runs_are_told_in_one_answer(tmp_path):
    """Counted, not timed: one request, and one verdict for each run."""
    reader = Catalog([("local", tmp_path)])
    for n in range(300):
        make_run(tmp_path, run_id=f"20250123_180000_{n:06x}")
    reader.refresh()
    source, = reader.states()
    assert len(source["runs"]) == 300


def test_header_and_sidebar_count_the_same(tmp_path):
    clock = Clock()
    make_run(tmp_path)
    make_run(tmp_path, run_id="20250123_180001_abc124")
    reader = Catalog([("local", tmp_path)], clock=clock)
    beat(tmp_path, 1)
    reader.refresh()
    reader.look()
    beat(tmp_path, 2)
    clock.now += 5
    reader.refresh()
    reader.look()
    view = reader.view()
    assert view.list()["running"] == view.states()["running"] == view.list("state:running")["matched"] == 1


def test_the_readers_preferences_hold_at_the_command_line_too(root, home):
    folder = make_run(root, status="finished")
    (folder / "summary.json").write_text(json.dumps({"a": 1, "b": 2}))
    settings.save_preferences(home, {"main_metric": {"p": "b"}})
    assert json.loads(command("runs", "--json").stdout)["main"]["metric"] == "b"


IMPOSTOR = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
if sys.argv[1] == "other":
    os.setgid(65534), os.setuid(65534)
print(listener.getsockname()[1], flush=True)
while True:
    line, _ = listener.accept()
    line.settimeout(5)
    print(repr(line.recv(4096)), flush=True)
    line.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 15\\r\\nConnection: close\\r\\n\\r\\n{"sources": []}')
    line.close()
"""


@pytest.mark.posix
@pytest.mark.skipif(os.name == "posix" and os.getuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("who, asked", [("ours", True), ("other", False)])
def test_nobody_elses_program_on_a_killed_viewers_port_is_given_the_token(who, asked):
    process = subprocess.Popen([sys.executable, "-c", IMPOSTOR, who], stdout=subprocess.PIPE, text=True)
    try:
        note = {"url": f"http://127.0.0.1:{int(process.stdout.readline())}", "token": "a-secret",
                "pid": process.pid}
        answer = viewer_client.asked(note, "/api/states")
    finally:
        process.kill()
        seen = process.communicate()[0]
    assert (answer is not None, "a-secret" in seen) == (asked, asked)
