"""What may be deleted may also be missing: a full or read-only home, no descriptor, no thread; and words that
begin with a minus."""

import contextlib
import errno
import http.client
import io
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from catalogs import make_run, reader_of
from waiting import until

from runicorn import foreign, manifest
from runicorn.cli import dialogue
from runicorn.cli import main as cli
from runicorn.viewer import home as viewer_home
from runicorn.viewer import http_server, shortage

PROJECT = Path(__file__).parents[2]
READ_ONLY = Path("/sys/runicorn")           # nobody can make a folder there, root included
ID = "20250123_180000_abc123"


def command(*words, home, **more):
    return subprocess.run([sys.executable, "-m", "runicorn", *map(str, words)], capture_output=True,
                          text=True, timeout=60, cwd=PROJECT, env={**os.environ, "RUNICORN_HOME": str(home)},
                          **more)


@pytest.fixture(params=["read-only", "files where its folders were"])
def bad_home(request, tmp_path):
    if request.param == "read-only":
        if not Path("/sys").is_dir() or os.access("/sys/runicorn", os.F_OK):
            pytest.skip("this system has no folder that nobody can write")
        return READ_ONLY
    home = tmp_path / "bad"
    home.mkdir()
    for name in ("index", "run", "columns", "logs", "cache"):
        (home / name).write_text("")
    return home


@pytest.mark.few("read-only")
def test_runs_and_show_read_where_nothing_can_be_kept(tmp_path, bad_home):
    make_run(tmp_path / "root")
    listed = command("runs", "--root", tmp_path / "root", "--json", home=bad_home)
    assert listed.returncode == 0 and json.loads(listed.stdout)["id"] == ID, listed.stderr
    shown = command("show", ID, "--root", tmp_path / "root", home=bad_home)
    assert shown.returncode == 0 and "train/loss" in shown.stdout, shown.stderr
    exported = command("export", "--run-id", ID, "--format", "csv", "-o", "-", "--root", tmp_path / "root",
                       home=bad_home)
    assert exported.returncode == 0 and "train/loss" in exported.stdout, exported.stderr


def held_at_rest(pid):
    """Return how many descriptors a process holds when it reads nothing."""
    counts = []
    for _ in range(15):
        counts.append(len(os.listdir(f"/proc/{pid}/fd")))
        time.sleep(0.01)
    return min(counts)


@contextlib.contextmanager
def viewer_at(root, home):
    """A viewer of its own process on `root`; yields it (subprocess.Popen; .said: its stderr, when it ended)
    and its port."""
    words = [sys.executable, "-m", "runicorn", "viewer", "--root", str(root), "--port", "0", "--no-browser",
             "--offline"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT,
                          env={**os.environ, "RUNICORN_HOME": str(home)}) as viewer:
        try:
            address = next(line.split("URL: ")[1].split()[0] for line in viewer.stdout if "URL: " in line)
            yield viewer, int(address.rsplit(":", 1)[1])
            viewer.terminate()
            viewer.said = viewer.communicate(timeout=20)[1]
        finally:
            viewer.kill()


def get(port, path):
    """Return (status, JSON value) of an answer."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


@pytest.mark.few("files where its folders were")
def test_the_viewer_starts_there_and_says_what_it_cannot_keep(tmp_path, bad_home):
    make_run(tmp_path / "root")
    with viewer_at(tmp_path / "root", bad_home) as (viewer, port):
        assert get(port, "/api/runs")[1]["total"] == 1
        assert get(port, f"/api/series?run={ID}&metric=train/loss")[1]["series"]
    assert "can't be written" in viewer.said and "Traceback" not in viewer.said


def change(port, home, path, body):
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        heads = {"X-Runicorn-Token": (home / "token").read_text(), "Content-Type": "application/json"}
        line.request("PATCH", path, json.dumps(body), heads)
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system sets no limits of another process")
def test_a_home_that_nothing_can_be_written_to_any_more_refuses_changes_and_reading_goes_on(tmp_path):
    root, home = tmp_path / "root", tmp_path / "home"
    make_run(root)
    with viewer_at(root, home) as (viewer, port):
        assert get(port, "/api/runs")[1]["total"] == 1
        # as a quota that is used up
        resource.prlimit(viewer.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        before = {path: path.read_bytes() for path in home.rglob("*.json")}
        refused = [change(port, home, path, body) for path, body in
                   2 * [("/api/settings", {"preferences": {"language": "zh"}}),
                        (f"/api/runs/{ID}", {"tags": ["mine"]})]]
        make_run(root, name="second", run_id="20250124_180000_abc124")
        until(lambda: get(port, "/api/runs")[1]["total"] == 2)
        assert get(port, "/api/series?run=20250124_180000_abc124&metric=train/loss")[1]["series"]
        assert get(port, f"/api/runs/{ID}")[1]["tags"] == ["baseline"]              # as on the disk
        assert before == {path: path.read_bytes() for path in home.rglob("*.json")}
    assert [status for status, _ in refused] == [500] * 4
    assert all("can't be written: File too large" in body["message"] for _, body in refused)
    assert viewer.said.count("is not kept, and reading goes on") == 1 and len(
        viewer.said.splitlines()) == 1, viewer.said


@pytest.mark.parametrize("free, code, word", [(0, True, "No space left"), (1 << 30, False, "denied")])
def test_a_home_that_fills_up_is_said_once_until_there_is_room_again(
        tmp_path, monkeypatch, capsys, free, code, word):
    now = [0.0]
    own = viewer_home.Home(tmp_path, clock=lambda: now[0])
    rooms = [(True, 1 << 30), (code, free), (code, free), (True, 1 << 30), (code, free)]
    for writable, left in rooms:
        monkeypatch.setattr(viewer_home.os, "access", lambda *_, answer=writable: answer)
        monkeypatch.setattr(viewer_home.shutil, "disk_usage",
                            lambda _, left=left: shutil._ntuple_diskusage(left, 0, left))
        own.look()
        now[0] += viewer_home.LOOK_SECONDS
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all(word in line and "reading goes on" in line for line in said)


# -- the viewer without descriptors and threads --------------------------------------------------------------

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


@pytest.fixture
def serving():
    made = http_server.HttpServer(app, http_server.listen("127.0.0.1", 0))
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.stop()
    thread.join(5)
    assert not thread.is_alive()


def asked(made):
    line = http.client.HTTPConnection("127.0.0.1", made.port, timeout=10)
    try:
        line.request("GET", "/")
        with line.getresponse() as answer:
            answer.read()
            return answer.status
    finally:
        line.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
def test_the_viewer_outlives_a_failing_accept(serving, monkeypatch, capsys, code):
    troubles = [OSError(code, os.strerror(code))] * 3
    accept = socket.socket.accept

    def failing(self):
        if troubles and self in serving.listeners:
            raise troubles.pop()
        return accept(self)
    monkeypatch.setattr(socket.socket, "accept", failing)
    assert asked(serving) == 200 and not troubles
    said = capsys.readouterr().err
    assert said.count("the viewer goes on") == 1 and os.strerror(code) in said


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system sets no limits of another process")
def test_a_viewer_without_descriptors_refuses_with_a_sentence_says_so_once_and_recovers(tmp_path):
    root = tmp_path / "root"
    make_run(root)
    with viewer_at(root, home=tmp_path / "home") as (viewer, port):
        assert get(port, "/api/runs")[0] == 200         # it has begun
        soft, hard = resource.prlimit(viewer.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(viewer.pid, resource.RLIMIT_NOFILE, (held_at_rest(viewer.pid), hard))
        refused = [get(port, path)
                   for path in ("/api/runs", f"/api/runs/{ID}", f"/api/series?run={ID}&metric=train/loss")]
        resource.prlimit(viewer.pid, resource.RLIMIT_NOFILE, (soft, hard))
        with open(root / f"vision/resnet50/runs/{ID}/events.jsonl", "a") as events:
            events.write('{"ts": 1737655300.0, "step": 9, "data": {"train/loss": 0.1}}\n')
        assert get(port, f"/api/series?run={ID}&metric=train/loss")[1]["series"][0]["last"][-1] == 0.1
        assert get(port, f"/api/runs/{ID}")[1]["step"] == 9
    assert len(refused) == 3
    assert {(status, body["error"], body["message"]) for status, body in refused} == {
        (503, shortage.CODE, shortage.SENTENCE)}
    said = viewer.said
    assert said.count("the viewer goes on") == 1 and "Traceback" not in said and len(
        said.splitlines()) <= 3, said


@pytest.mark.parametrize("call", ["open", "scandir"])
def test_what_could_not_be_read_for_want_of_descriptors_is_not_kept_as_read(tmp_path, monkeypatch, call):
    events = make_run(tmp_path) / "events.jsonl"
    reader = reader_of(tmp_path)
    with open(events, "a") as file:
        file.write('{"ts": 1737655300.0, "step": 9, "data": {"train/loss": 0.1}}\n')
    real = getattr(os, call)

    def full(path=".", *args, **options):
        if str(path).startswith(str(tmp_path)):
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return real(path, *args, **options)
    with monkeypatch.context() as short:
        short.setattr(os, call, full)
        for ask in (lambda: reader.run(ID), lambda: reader.series(ID), lambda: reader.runs(spark=True)):
            with pytest.raises(OSError, match="Too many open files"):
                ask()
                reader.view().runs[0].sizes()       # what a list already knows it need not read
    (row,) = reader.runs(spark=True)["runs"]
    assert (row["step"], row["spark"]) == (9, [0.5]) and reader.run(ID)["step"] == 9


def test_the_viewer_outlives_a_lack_of_threads(serving, monkeypatch, capsys):
    start, troubles = threading.Thread.start, [RuntimeError("can't start new thread")] * 2

    def failing(self):
        if self.name == "request" and troubles:
            raise troubles.pop()
        return start(self)
    monkeypatch.setattr(threading.Thread, "start", failing)
    assert get(serving.port, "/") == (503, {"error": shortage.CODE, "message": shortage.SENTENCE})
    assert [asked(serving) for _ in range(2)] == [503, 200]
    assert capsys.readouterr().err.count("the viewer goes on") == 1


def test_refused_requests_give_their_places_back(serving, monkeypatch):
    monkeypatch.setattr(serving, "_at_work", threading.BoundedSemaphore(1))
    start, troubles = threading.Thread.start, [RuntimeError("can't start new thread")]
    monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(troubles.pop())
                        if self.name == "request" and troubles else start(self))
    assert asked(serving) == 503
    until(lambda: asked(serving) == 200)
    places = serving._at_work
    until(lambda: places.acquire(blocking=False),
          "the last request's thread gives its place back a moment after its answer")
    places.release()


# -- words that begin with a minus ---------------------------------------------------------------------------

@pytest.mark.parametrize(
    "words, order",
    [
        (["--sort", "-config.lr"], ["c", "b", "a"]),
        (["--sort=-config.lr"], ["c", "b", "a"]),
        (["--sort", "config.lr"], ["a", "b", "c"]),
        (["-name:c", "--sort", "name"], ["a", "b"]),
        (["--sort", "-name", "-name:c"], ["b", "a"]),
        (["-name:c -name:b"], ["a"]),
        (["--sort", "-started", "--", "-name:c"], ["b", "a"]),
        (["-config.lr>1", "--sort", "name"], ["a", "b"]),
    ],
)
def test_a_leading_minus_is_taken_as_the_help_says(tmp_path, capsys, words, order):
    for n, name in enumerate("abc"):
        make_run(tmp_path, name=name, run_id=f"20250123_18000{n}_00000{n}", config={"lr": n},
                 created_at=1737655200.0 + n)
    assert cli.main(["runs", "--json", "--root", str(tmp_path), *words]) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == order


@pytest.mark.parametrize("words", [["--sort"], ["-x"], ["--nonsense", "a"], ["--limit", "-x"]])
def test_a_mistake_is_still_one(tmp_path, capsys, words):
    assert cli.main(["runs", "--root", str(tmp_path), *words]) == 2
    assert capsys.readouterr().err.startswith("runicorn: ")


# -- odd files -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    "row, said",
    [
        ({"ts": 1.0, "type": "image", "data": {"key": "x", "step": 3, "path": "media/1.png"}},
         "image: 'media/1.png' is not here"),
        ({"ts": 1.0, "type": "image", "data": {"x": "media/1.png"}}, "image: 'media/1.png' is not here"),
        ({"ts": 1.0, "type": "image", "data": {"x": 3}}, "image: 3 is not here"),
        ({"ts": 1.0, "type": "image", "data": {"x": None}}, "image: None is not here"),
        ({"ts": 1.0, "type": "image", "data": [1]}, "data: is no JSON object"),
        ({"ts": 1.0, "type": "image", "data": {"x": {"file": "media/1.png"}}},
         "image: 'media/1.png' is not here"),
        ({"ts": 1.0, "type": ["image"], "data": {}}, None),
        ({"ts": 1.0, "type": "image"}, "data: is no JSON object"),
    ],
)
def test_check_goes_on_past_odd_images(tmp_path, capsys, row, said):
    folder = make_run(tmp_path)
    with open(folder / "events.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    cli.main(["check", str(folder)])
    out = capsys.readouterr()
    assert "Traceback" not in out.err and (said is None or said in out.out + out.err)


@pytest.mark.few(2)
@pytest.mark.parametrize("depth", [70, 400, 900, 5000])
def test_deep_json_stops_neither_check_nor_tail_nor_show(tmp_path, depth):
    folder = make_run(tmp_path, name="deep")
    deep = "[" * depth + "1" + "]" * depth
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts":1.0,"step":1,"data":{"a":' + deep
                   + ',"b":2}}\n{"ts":2.0,"step":2,"data":{"b":3}}\n')
    for words in (["check", folder], ["tail", ID, "--root", tmp_path], ["show", ID, "--root", tmp_path],
                  ["runs", "--root", tmp_path]):
        done = command(*words, home=tmp_path / "home")
        assert "Traceback" not in done.stderr and "RecursionError" not in done.stderr, (
            words, done.stderr[-500:])
        assert words[0] != "check" or "nested" in done.stdout + done.stderr or depth > 900


def test_a_root_of_an_older_make_is_told_of(tmp_path, capsys):
    old = tmp_path / "old" / "cv" / "yolo" / "20250101_000000_abcdef"
    old.mkdir(parents=True)
    (old / "meta.json").write_text(json.dumps({"id": "20250101_000000_abcdef", "path": "cv/yolo"}))
    (old / "events.jsonl").write_text("")
    cli.main(["runs", "--root", str(tmp_path / "old")])
    assert f"runicorn import {tmp_path / 'old'}" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    cli.main(["runs", "--root", str(tmp_path / "empty")])
    assert "import" not in capsys.readouterr().err


# -- which root ----------------------------------------------------------------------------------------------

def test_a_home_is_not_taken_for_a_root_unless_it_is_named(tmp_path):
    home = tmp_path / "alice"
    make_run(home / ".runicorn" / "experiments")
    told = {}
    for where, words in (("none named", []), ("named", ["--root", "."])):
        done = subprocess.run([sys.executable, "-m", "runicorn", "generate-manifest", "--verbose", *words],
                              capture_output=True, text=True, cwd=home, timeout=60,
                              env={**{k: v for k, v in os.environ.items() if not k.startswith("RUNICORN_")},
                                   "HOME": str(home), "PYTHONPATH": str(PROJECT)})
        told[where] = done.stdout
        assert done.returncode == 0, done.stderr
    assert "runs        1" in told["none named"]
    assert (home / ".runicorn/experiments/.runicorn/full_manifest.json").is_file()
    assert "runs        1" in told["named"] and (home / ".runicorn/full_manifest.json").is_file()


def test_a_root_with_a_hidden_folder_of_its_own_is_one_still(tmp_path):
    make_run(tmp_path / "root")
    (tmp_path / "empty" / ".runicorn" / "live").mkdir(parents=True)
    for folder, runs in (("root", 1), ("empty", 0)):
        done = subprocess.run([sys.executable, "-m", "runicorn", "manifest", "--verbose"],
                              capture_output=True, text=True, timeout=60, cwd=tmp_path / folder,
                              env={**os.environ, "PYTHONPATH": str(PROJECT)})
        assert f"runs        {runs}" in done.stdout, done.stdout + done.stderr
        assert "this folder" in done.stdout, done.stdout + done.stderr


def test_the_list_of_a_root_is_read_from_a_reader_that_could_keep_nothing(tmp_path, bad_home):
    make_run(tmp_path / "root")
    assert reader_of(tmp_path / "root", home=bad_home).runs()["total"] == 1


@pytest.mark.parametrize("width", ["60", "80", "100", "200"])
def test_an_id_is_whole_at_every_width(tmp_path, capsys, monkeypatch, width):
    make_run(tmp_path, project="a project of many words", name="an experiment with quite a long name")
    monkeypatch.setenv("COLUMNS", width)
    assert cli.main(["runs", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == ID


@pytest.mark.few(1)
@pytest.mark.parametrize("host", ["1.2.3.4", "no-such-host.invalid"])
def test_a_host_that_is_not_ours_is_one_sentence(tmp_path, host):
    done = command("viewer", "--host", host, "--port", "0", "--no-browser", home=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr and host in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_moving_line_is_ended_before_the_prompt_comes_back():
    stream = io.StringIO()
    stream.isatty = lambda: True
    line = dialogue.Line(stream)
    line.show("lab live, last news 1 s ago")
    line.clear()
    line.clear()
    assert stream.getvalue().endswith("ago\n")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_can_not_be_listed_for_want_of_descriptors_or_memory_is_no_empty_folder(
        tmp_path, monkeypatch, number):
    make_run(tmp_path)

    def short(*_):
        raise OSError(number, os.strerror(number))
    for module in (manifest, foreign):
        monkeypatch.setattr(module, "scandir", short)
    for look in (lambda: manifest.build(str(tmp_path)), lambda: foreign.find(str(tmp_path), Counter())):
        with pytest.raises(OSError, match=re.escape(os.strerror(number))):
            look()
