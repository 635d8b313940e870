"""The commands that reach a server, against a real sshd: test, sync once, sync start, status, and what they
ask."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from small_runs import run_folder
from waiting import until

from runicorn import settings
from runicorn.cli import main as cli
from runicorn.cli.sync import moving_text

RUN = "vision/resnet50/runs/20250123_180000_abc123"


@pytest.fixture
def far(tmp_path):
    """Three small runs in the server's ~/experiments."""
    root = tmp_path / "far" / "experiments"
    for n in range(3):
        meta = {"id": f"20250123_18000{n}_abc123", "project": "vision", "name": "resnet50", "format": 1,
                "created_at": n}
        run_folder(root, f"vision/resnet50/runs/{meta['id']}", {
            "meta.json": meta, "status.json": {"status": "finished", "started_at": 1, "ended_at": 2},
            "events.jsonl": '{"ts":1.0,"step":0,"data":{"loss":0.5}}\n' * (n + 1)})
    return root


@pytest.fixture
def added(sshd, home, far):
    """The server as the connection "GPU Server 1", its host key known."""
    sshd.trusted_in(home)
    settings.save_connection(home, sshd.connection(name="GPU Server 1", remote_root="~/experiments"))
    return sshd


def test_a_connection_is_tested_line_by_line(added, capsys):
    assert cli.main(["config", "ssh", "test", "GPU Server 1"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("✓ connected\n")
    assert [word for word in ("port", "host_key", "login", "sftp", "root", "runs")
            if not re.search(rf"^✓ {word}\b", said, re.M)] == []


def test_a_test_that_fails_says_where_and_what_to_do(added, capsys):
    added.stop()
    with socket.socket() as taken:          # bound and deaf, so that no other process listens there meanwhile
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", added.port))
        assert cli.main(["config", "ssh", "test", "gpu-server-1"]) == 3
    said = capsys.readouterr().out
    assert re.search(r"^✗ port", said, re.M) and said.endswith("✗ not connected\n")


def test_sync_once_brings_everything_and_says_so(added, home, far, capsys):
    assert cli.main(["sync", "once", "--connection", "GPU Server 1"]) == 0
    mirror = home / "cache" / "gpu-server-1"
    assert f"live, 3 runs, 0 running; mirror {mirror}" in capsys.readouterr().out
    for file in far.rglob("*"):
        if file.is_file():
            assert (mirror / file.relative_to(far)).read_bytes() == file.read_bytes()
    assert cli.main(["sync", "status"]) == 0
    assert re.search(r"GPU Server 1 +not synchronised now +3 +0 ", capsys.readouterr().out)
    assert cli.main(["runs"]) == 0
    assert capsys.readouterr().out.count("gpu-server-1:2025") == 3
    assert cli.main(["runs", "--root", str(home.parent)]) == 0      # what is in that folder alone
    assert "gpu-server-1:" not in capsys.readouterr().out


def test_sync_once_says_what_it_passed_over(added, home, far, tmp_path, capsys):
    (far / "nowhere").symlink_to(tmp_path / "absent")
    (far / "vision").rename(tmp_path / "disk")
    (far / "vision").symlink_to(tmp_path / "disk")
    assert cli.main(["sync", "once"]) == 0
    said = capsys.readouterr()
    assert "live, 3 runs, 0 running" in said.out
    assert "GPU Server 1: passed over there: 1 link to no folder" in said.err
    mirror = home / "cache" / "gpu-server-1"
    assert (mirror / "vision/resnet50/runs").is_dir() and not (mirror / "vision").is_symlink()


def test_sync_once_verify_finds_a_change_behind_the_back(added, home, far, capsys):
    for path in [path for path in far.rglob("*") if path.is_file()]:
        os.utime(path, (1.7e9, 1.7e9))      # at rest since long: not read again anyway
    assert cli.main(["sync", "once"]) == 0
    mine = home / "cache" / "gpu-server-1" / "vision/resnet50/runs/20250123_180002_abc123/events.jsonl"
    before = mine.stat()
    mine.write_bytes(mine.read_bytes().replace(b"0.5", b"0.6", 1))
    os.utime(mine, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cli.main(["sync", "once", "--verify"]) == 0
    assert "1 fetched again" in capsys.readouterr().out
    assert b"0.6" not in mine.read_bytes()


@pytest.mark.few(1)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["systemd", "a closed terminal"])
def test_sync_start_follows_until_it_is_stopped(added, home, far, number):
    process = subprocess.Popen([sys.executable, "-m", "runicorn", "sync", "start", "--connection",
                                "GPU Server 1", "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if json.loads(line)["state"] == "live":
                break
        status = subprocess.run([sys.executable, "-m", "runicorn", "sync", "status", "--json"],
                                capture_output=True, text=True, timeout=60)
        assert json.loads(status.stdout)["owner"] == {"pid": process.pid, "ours": False}
        process.send_signal(number)
        _, complaint = process.communicate(timeout=30)
        assert (process.returncode, complaint) == (0, "")
    finally:
        process.kill()
        process.communicate()


def test_sync_status_says_what_the_viewer_that_synchronises_says(added, home, capsys):
    with socket.socket() as taken:          # bound and deaf
        taken.bind(("127.0.0.1", 0))
        settings.save_connection(home, {"name": "GPU Server 1", "port": taken.getsockname()[1]})
        viewer = subprocess.Popen([sys.executable, "-m", "runicorn", "viewer", "--port", "0", "--no-browser"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def status():
            assert cli.main(["sync", "status"]) == 0
            return capsys.readouterr().out
        try:
            said = until(lambda: re.search(rf"offline, process {viewer.pid} .*refused", status(), re.S))
            assert said
        finally:
            viewer.terminate()
            viewer.wait(30)
    assert "not synchronised now" in status()


def test_sync_once_says_that_the_folder_is_not_there(added, home, capsys):
    settings.save_connection(home, {"name": "GPU Server 1", "remote_root": "~/experimnts"})
    assert cli.main(["sync", "once"]) == 0
    assert "has no folder" in capsys.readouterr().out


def test_a_key_is_kept_with_its_whole_path_and_a_missing_one_is_said(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["config", "ssh", "add", "--name", "A", "--host", "a", "--user", "u"]
    assert cli.main([*words, "--key", "keys/id"]) == 0
    assert settings.connection(home, "A")["key"] == str(tmp_path / "keys" / "id")
    assert "there is no key file" in capsys.readouterr().err
    assert cli.main([*words, "--key", "~/.ssh/id_rsa"]) == 0
    assert settings.connection(home, "A")["key"] == "~/.ssh/id_rsa"


def test_a_second_process_follows_the_first_and_says_whom(added, home):
    first = subprocess.Popen([sys.executable, "-m", "runicorn", "sync", "start"], stdout=subprocess.PIPE,
                             text=True)
    try:
        while "live, 3 runs" not in first.stdout.readline():
            pass
        second = subprocess.run([sys.executable, "-m", "runicorn", "sync", "once"], capture_output=True,
                                text=True, stdin=subprocess.DEVNULL, timeout=60)
        assert (second.returncode, second.stderr) == (0, "")
        assert f"synchronised by process {first.pid}" in second.stdout
    finally:
        first.terminate()
        first.communicate(timeout=30)


def test_on_a_terminal_one_line_moves(added, home, far):
    screen = answered(["sync", "once"], [])
    assert "\r\x1b[K" in screen and "live, 3 runs, 0 running" in screen


def test_the_moving_line_tells_how_far_it_is():
    progress = {"files_done": 420, "files_total": 1600, "bytes_done": 64 * 10**6, "bytes_total": 256 * 10**6,
                "rate": 48.1e6, "left": 4}
    row = {"name": "lab", "state": "syncing", "progress": progress, "last_news": None}
    assert (moving_text(row)
            == "lab ██████░░░░░░░░░░░░░░░░░░ 420/1600 files 64.0 MB of 256.0 MB 48.1 MB/s 4s left")


def test_the_offer_when_the_folder_holds_no_runs(added, home, capsys):
    settings.save_connection(home, {"name": "GPU Server 1", "remote_root": "~/elsewhere"})
    assert cli.main(["config", "ssh", "test", "GPU Server 1"]) == 0
    said = capsys.readouterr().out
    command = re.search(
        r'3 in (.*experiments): use it with runicorn (config ssh add --name "GPU Server 1" --remote-root '
        r'"\1")', said)
    assert command, said
    import shlex
    assert cli.main(shlex.split(command[2])) == 0
    assert cli.main(["sync", "once"]) == 0
    assert "live, 3 runs" in capsys.readouterr().out


def test_an_unknown_host_key_is_asked_about_once(sshd, home, far):
    settings.save_connection(home, sshd.connection(name="lab", remote_root="~/experiments"))
    once = [sys.executable, "-m", "runicorn", "sync", "once"]
    done = subprocess.run(once, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 2 and "Nobody is at the terminal" in done.stderr
    command = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
    assert command in done.stderr
    screen = answered(["sync", "once"], [(b"[y/N]", b"y\n")])
    assert "SHA256:" in screen and "live, 3 runs" in screen and command in screen[:screen.index("[y/N]")]
    assert subprocess.run(once, stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.DEVNULL).returncode == 0


def answered(argv, exchanges):
    """Run the command on a pseudo terminal; wait for each prompt, type its answer; return what the screen
    showed."""
    child, end = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "runicorn", *argv])
    screen, deadline = b"", time.monotonic() + 60
    for prompt, answer in exchanges:
        while prompt not in screen and time.monotonic() < deadline:
            screen += os.read(end, 4096)
        os.write(end, answer)
    while True:
        try:
            more = os.read(end, 4096)
        except OSError:             # Linux says EIO when the child has closed its end
            break
        screen += more
    os.waitpid(child, 0)
    os.close(end)
    return screen.decode()


def test_a_changed_host_key_is_refused_with_both_fingerprints(added, home, capsys):
    added.new_host_key()
    assert cli.main(["sync", "once"]) == 3
    assert capsys.readouterr().err.count("SHA256:") == 2


def test_remove_keeps_the_mirror_unless_told(added, home, capsys):
    assert cli.main(["sync", "once"]) == 0
    assert cli.main(["config", "ssh", "remove", "GPU Server 1"]) == 0
    assert (home / "cache" / "gpu-server-1" / RUN / "events.jsonl").is_file()
    settings.save_connection(home, added.connection(name="GPU Server 1"))
    assert cli.main(["config", "ssh", "remove", "GPU Server 1", "--drop-cache", "--yes"]) == 0
    assert not (home / "cache" / "gpu-server-1").exists()
    assert cli.main(["config", "ssh", "remove", "GPU Server 1"]) == 2


def test_cache_is_shown_and_cleaned(added, home, capsys):
    assert cli.main(["sync", "once"]) == 0
    assert cli.main(["cache", "info"]) == 0
    assert "gpu-server-1" in capsys.readouterr().out
    assert cli.main(["cache", "clean"]) == 2
    assert cli.main(["cache", "clean", "--connection", "GPU Server 1", "--dry-run"]) == 0
    assert "would delete" in capsys.readouterr().out
    assert (home / "cache" / "gpu-server-1" / RUN / "events.jsonl").is_file()
    assert cli.main(["cache", "clean", "--connection", "GPU Server 1", "--yes"]) == 0
    assert "deleted" in capsys.readouterr().out
    assert not (home / "cache" / "gpu-server-1" / RUN / "events.jsonl").exists()
