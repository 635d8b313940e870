"""`runicorn viewer` as a process: its roots, its port, its caches, and a search that would hold it up."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from catalogs import make_run
from searching import searching
from waiting import until

RUN = "20250123_180000_abc123"


@contextlib.contextmanager
def viewing(*words):
    """Run the command; yields (process, port), and ends it as Ctrl+C does."""
    command = [sys.executable, "-m", "runicorn", "viewer", "--no-browser", "--offline", *map(str, words)]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environ) as process:
        try:
            url = next(line for line in process.stdout if "URL: " in line)
            yield process, int(re.search(r":(\d+)", url)[1])
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def asked(port, path, **query):
    """Return (status, JSON) of a GET."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as line:
        line.request("GET", f"{path}?{urlencode(query)}")
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.few(1)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["systemd", "a closed terminal"])
def test_a_viewer_that_is_ended_leaves_no_note_of_itself(home, tmp_path, number):
    make_run(tmp_path)
    with viewing("--port", 0, "--root", tmp_path) as (process, port):
        note = home / "run" / f"{port}.json"
        assert note.is_file()
        process.send_signal(number)
        assert process.wait(30) == 0 and not note.exists()


def test_nohup_keeps_a_viewer_though_its_terminal_closes(tmp_path, monkeypatch):
    make_run(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with viewing("--port", 0, "--root", tmp_path) as (process, port):
            process.send_signal(signal.SIGHUP)
            assert asked(port, "/api/runs")[0] == 200 and process.poll() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_several_roots_are_one_list(tmp_path):
    make_run(tmp_path / "one", name="vgg")
    make_run(tmp_path / "two", name="bert", run_id="20250124_180000_abc124")
    with viewing("--port", 0, "--root", tmp_path / "one", "--root", tmp_path / "two") as (_, port):
        rows = asked(port, "/api/runs", sort="name")[1]["runs"]
        assert [(row["connection"], row["name"]) for row in rows] == [("local2", "bert"), ("local", "vgg")]
        assert asked(port, "/api/runs", filter="connection:local2")[1]["matched"] == 1


def test_a_busy_port_is_one_sentence_and_the_port_it_offers_is_free(tmp_path):
    make_run(tmp_path)
    with viewing("--port", 0, "--root", tmp_path) as (process, port):
        second = subprocess.run([sys.executable, "-m", "runicorn", "viewer", "--no-browser", "--port",
                                 str(port), "--root", str(tmp_path)],
                                capture_output=True, text=True, timeout=20)
        assert second.returncode and f"port {port} is held by process {process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        offered = re.search(r"take another: runicorn viewer --port (\d+)", second.stderr)[1]
        with viewing("--port", offered, "--root", tmp_path) as (_, other):
            assert other == int(offered) and asked(other, "/api/runs")[1]["total"] == 1


@pytest.mark.few(1)
@pytest.mark.parametrize("leave", ["client", "viewer"])
def test_a_search_that_takes_for_ever_holds_nobody_up_and_ends_with_who_asked(tmp_path, leave):
    (make_run(tmp_path) / "logs.txt").write_text("a" * 100 + "b\n")
    with viewing("--port", 0, "--root", tmp_path) as (process, port):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        line.request("GET", "/api/logs/search?" + urlencode({"run": RUN, "q": "(a+)+$", "regex": 1}))
        answer = line.getresponse()
        assert json.loads(answer.readline()) == {"progress": 0, "size": 102}       # it is at it
        pid, = searching(process.pid)
        for _ in range(20):
            assert asked(port, "/api/runs")[0] == 200
        assert searching(process.pid) == [pid]
        if leave == "client":
            answer.close()
            line.close()
            until(lambda: has_ended(pid))
    until(lambda: has_ended(pid))


def has_ended(pid):
    """Whether a process has ended (a zombie nobody waits for counts)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
