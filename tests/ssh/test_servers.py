"""The matrix of servers: with each, plain sftp gets in, the connection test passes, the mirror is the root,
and a curve goes on."""

import pytest
from pairs import LOG, RUN, grow, live, make_run, write
from real_syncs import Running, same
from servers import Server
from waiting import until

from runicorn import settings
from runicorn.connections import doctor
from runicorn.mirror.sync import Sync
from runicorn.news import Bell
from runicorn.ssh import remote

CHAOS = pytest.mark.chaos
# kind -> (ways in that work, whether commands run)
SERVERS = {"AsyncSSH": (("key", "system"), True), "dropbear": (("key", "system"), True),
           "rclone": (("key", "system"), False), "ProFTPD": (("key", "system"), False),
           "paramiko": (("key", "system"), False), "tinysshd": (("system",), True)}
ROWS = [pytest.param(kind, auth, marks=[] if kind == "AsyncSSH" and auth == "key" else CHAOS)
        for kind, (ways, _) in SERVERS.items() for auth in ways]


@pytest.mark.parametrize("kind, auth", ROWS)
def test_test_sync_and_live(kind, auth, tmp_path, home):
    root = tmp_path / "far"
    make_run(root)
    with Server(kind, tmp_path / "server", tmp_path) as server:
        plain = server.sftp()
        assert plain.returncode == 0, plain.stderr + (server.folder / "out").read_text()
        connection = settings.checked(
            server.trusted_in(home).connection(auth=auth, remote_root=str(root), interval=1,
                                               small_only=False))
        lines = []
        result = doctor.examine(connection, lines.append, home=home)
        told = {line["name"]: line for line in lines}
        assert result["ok"] and told["runs"]["text"] == f"1 run in {root}", told
        assert (told["exec"]["ok"] is True) == SERVERS[kind][1], told["exec"]
        one = Sync(connection, home / "cache" / "test", lambda: remote.connect(connection, home=home), Bell(),
                   LOG)
        with Running(one):
            until(lambda: same(one, root))
            live(root, RUN)
            write(root / RUN / "status.json", {"status": "running"})
            for _ in range(3):
                grow(root / RUN / "events.jsonl")
                until(lambda: same(one, root))


QUIRKS = [(), ("no long names",), ("no owners",), ("no modes in lists",), ("short reads",),
          ("reads past the end fail",), ("dots",), ("paths end in /",), ("paths begin with //",),
          ("input to what is refused ends the line",)]
OFTEN = ("no modes in lists",), ("input to what is refused ends the line",)


@pytest.mark.few(1)
@pytest.mark.parametrize("quirks", [quirks if quirks in OFTEN else pytest.param(quirks, marks=CHAOS)
                                    for quirks in QUIRKS], ids=lambda quirks: " ".join(quirks) or "none")
def test_an_sftp_server_that_is_odd(quirks, tmp_path, home):
    root = tmp_path / "far"
    make_run(root)
    for number in range(2):
        make_run(root, f"p/m/runs/2025012{number}_180000_abc12{number}")
    with Server("paramiko", tmp_path / "server", tmp_path, quirks) as server:
        plain = server.sftp(f"pwd\nls -l {root}\nget -R {root} {tmp_path / 'plain'}\n")
        connection = settings.checked(
            server.trusted_in(home).connection(remote_root=str(root), interval=1, small_only=False))
        lines = []
        result = doctor.examine(connection, lines.append, home=home)
        assert result["ok"], lines
        assert {line["name"]: line["text"] for line in lines}["runs"] == f"3 runs in {root}"
        one = Sync(connection, home / "cache" / "test", lambda: remote.connect(connection, home=home), Bell(),
                   LOG)
        with Running(one):
            until(lambda: same(one, root))
            live(root, RUN)
            write(root / RUN / "status.json", {"status": "running"})
            grow(root / RUN / "events.jsonl")
            until(lambda: same(one, root) and one.state()["state"] == "live")
        assert plain.returncode == 0 or quirks, plain.stderr
