"""The mirror over a real sshd: SFTP only, one session only, restarts, cuts and stalls on a delayed line."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from line import Line
from pairs import RUN, grow, live, make_run, write
from real_syncs import Running, mirror_of, same
from sshd import Sshd
from waiting import until

MATCHED_CHROOT = ["  ChrootDirectory /"] if os.getuid() == 0 else []
STINGY = Path(__file__).parents[1] / "support" / "stingy_sftp.py"


@pytest.fixture
def root(tmp_path):
    make_run(tmp_path / "far")
    make_run(tmp_path / "far", "p/n/runs/20250124_180000_abc124", status="running", old=False)
    live(tmp_path / "far", "p/n/runs/20250124_180000_abc124")
    return tmp_path / "far"


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "config, source",
    [({}, "exec"), ({"ForceCommand": "internal-sftp"}, "walk"), ({"MaxSessions": 1}, "walk"),
     ({"PermitTTY": "no", "AllowTcpForwarding": "no", "X11Forwarding": "no", "DisableForwarding": "yes"},
      "exec"),
     ({"extra": ["Match User *", "  ForceCommand internal-sftp -R", "  PermitTTY no", *MATCHED_CHROOT]},
      "walk")],
    ids=["exec", "sftp only", "one session", "no terminal, no forwarding", "Match, read-only, chroot"],
)
def test_what_a_server_grants_is_enough(root, tmp_path, home, config, source):
    with Sshd(tmp_path / "sshd", **config) as server, Running(mirror_of(server, root, home)) as one:
        until(lambda: one.state()["state"] == "live" and same(one, root))
        assert one.state()["source"] == source and one.state()["runs"] == 2
        grow(root / RUN / "events.jsonl")  # a finished run is resumed
        write(root / RUN / "status.json", {"status": "running"})
        live(root, RUN)
        until(lambda: same(one, root))


def test_a_restarted_server_is_found_again(root, tmp_path, home):
    with Sshd(tmp_path / "sshd") as server, Running(mirror_of(server, root, home)) as one:
        until(lambda: same(one, root))
        server.stop()
        until(lambda: one.state()["state"] == "offline")
        assert one.state()["retry_at"] is not None and one.state()["reason"]["text"]
        grow(root / "p/n/runs/20250124_180000_abc124/events.jsonl")
        server.start()
        one.wake()
        until(lambda: same(one, root) and one.state()["state"] == "live")


@pytest.mark.long
def test_cuts_on_a_delayed_line_cost_nothing_but_time(root, tmp_path, home):
    for n in range(60):
        make_run(root, f"p/m/runs/20250125_{180000 + n}_abc125", rows=400)
    with Sshd(tmp_path / "sshd") as server, Line(server.port,
                                                 rtt=0.01) as line, Running(
                                                     mirror_of(server, root, home, line.port)) as one:
        for count in (2_000, 40_000, 90_000, 200_000):
            line.cut_after(count)
            until(lambda: one.state()["state"] in ("offline", "live"))
            grow(root / "p/n/runs/20250124_180000_abc124/events.jsonl")
            one.wake()
        line.cut()
        until(lambda: same(one, root) and one.state()["state"] == "live")


def test_a_stalled_line_delivers_everything_when_it_flows_again(root, tmp_path, home):
    with Sshd(tmp_path / "sshd") as server, Line(server.port,
                                                 rtt=0.01) as line, Running(
                                                     mirror_of(server, root, home, line.port)) as one:
        until(lambda: same(one, root))
        line.stall()
        grow(root / "p/n/runs/20250124_180000_abc124/events.jsonl")
        time.sleep(3)
        assert not same(one, root)
        line.resume()
        until(lambda: same(one, root))


NOISES = {"a greeting": "echo Welcome to gpu-01", "one letter": "printf x", "empty lines": "echo; echo; echo",
          "colours": r"printf '\033[31mred\033[0m\n'",
          "100 kB": "yes 'message of the day' | head -c 100000", "bytes": r"printf '\377\376\200\000'",
          "and an end": "echo bye; exit 0"}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("auth", ["key", "system"])
def test_a_shell_that_prints_in_place_of_sftp_is_a_refusal_as_it_is_for_sftp(
        root, tmp_path, home, name, auth):
    shell = tmp_path / "shell"
    shell.write_text(f"#!/bin/sh\n{NOISES[name]}\nexec /usr/lib/openssh/sftp-server\n")
    shell.chmod(0o755)
    with Sshd(tmp_path / "sshd", ForceCommand=shell) as server:
        options = ["-i", str(server.key), f"-oUserKnownHostsFile={server.known_hosts}", "-P",
                   str(server.port)]
        plain = subprocess.run(["sftp", "-b", "-", *options, "127.0.0.1"], input="pwd\n", capture_output=True,
                               text=True, timeout=30)
        assert plain.returncode != 0
        one, began = mirror_of(server, root, home, auth=auth), time.time()
        for hours in range(3):
            one.one_pass(began + hours * 4000)
        state = one.state()
        assert state["state"] == "refused" and state["retry_at"] is None and state["reason"][
            "code"] == "sftp", state
        assert "instead of SFTP" in state["reason"]["text"] and "internal-sftp" in state["reason"]["text"]
        assert server.log.read_text().count("Accepted publickey") == 2, "sftp's and ours, once"
        shell.write_text("#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n")
        one.wake()
        one.one_pass(began + 4 * 4000)
        assert one.state()["state"] in ("live", "syncing")
        one.stop()
        one.run()


@pytest.mark.long
def test_a_server_that_cuts_who_rests_is_asked_more_often(root, tmp_path, home):
    with Sshd(tmp_path / "sshd", ForceCommand=f"{sys.executable} {STINGY} idle=3") as server:
        one = mirror_of(server, root, home, interval=600)
        thread = threading.Thread(target=one.run)
        thread.start()          # nobody looks
        try:
            until(lambda: same(one, root))
            until(lambda: one._resting.seconds < 3)
            time.sleep(1)
            until(lambda: one.state()["state"] == "live")
            logins = server.log.read_text().count("Accepted publickey")
            time.sleep(7)           # twice what it bears
            assert one.state()["state"] == "live"
            assert server.log.read_text().count("Accepted publickey") == logins
        finally:
            one.stop()
            thread.join(30)


def test_a_line_that_was_cut_meanwhile_does_not_swallow_sync_now(root, tmp_path, home):
    with Sshd(tmp_path / "sshd") as server:
        one = mirror_of(server, root, home, mode="manual")
        thread = threading.Thread(target=one.run)
        thread.start()
        try:
            one.sync_now()
            until(lambda: same(one, root) and one.state()["state"] == "live")
            server.cut()
            grow(root / RUN / "events.jsonl")
            one.sync_now()
            until(lambda: same(one, root) and one.state()["state"] == "live")
        finally:
            one.stop()
            thread.join(30)
