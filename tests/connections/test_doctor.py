"""The connection test against servers that are well, strange or ill: each line says what is so, or what to
do."""

import os
import time

import pytest
from asking import AskingServer
from ports import free_port
from small_runs import run_folder
from sshd import JAIL, JAILED, NO_BASHRC, Sshd, make_key

from runicorn import settings
from runicorn.connections import doctor
from runicorn.errors import DeniedError
from runicorn.ssh import remote


def examined(server, home, ask=None, secrets=None, **changes):
    """Return ({line name: line}, result) of a test."""
    lines = []
    result = doctor.examine(settings.checked(server.connection(**changes)), lines.append, ask, secrets, home)
    assert [line["name"] for line in lines if line["name"] not in doctor.LINES] == []
    return {line["name"]: line for line in lines}, result


def make_runs(root, count):
    for number in range(count):
        run_folder(root, f"vision/name{number % 3}/runs/20250101_00000{number}_abcdef", {})


def test_a_healthy_server_line_by_line(sshd, home, tmp_path):
    root = tmp_path / "far" / ".runicorn" / "experiments"
    make_runs(root, 5)
    (root / ".runicorn").mkdir()
    (root / ".runicorn" / "full_manifest.json").write_text("{}")
    lines, result = examined(sshd.trusted_in(home), home)
    assert result == {"ok": True, "offer": [], "browse": True}
    assert set(lines) == set(doctor.LINES) - {"jump", "namesake"}
    assert all(line["ok"] for line in lines.values())
    assert "by publickey (it takes publickey)" in lines["login"]["text"]
    assert "OpenSSH" in lines["banner"]["text"]
    assert lines["runs"]["text"] == f"5 runs in {root}" and "Python 3" in lines["exec"]["text"]
    assert lines["throughput"]["text"].endswith("MB/s") and lines["rtt"]["ms"] >= 0


def test_runs_behind_links_count_and_links_that_lead_nowhere_are_told(sshd, home, tmp_path):
    root = tmp_path / "far" / ".runicorn" / "experiments"
    make_runs(root, 2)
    make_runs(tmp_path / "disk", 3)
    (root / "linked").symlink_to(tmp_path / "disk" / "vision")
    (root / "nowhere").symlink_to(tmp_path / "absent")
    (root / "circle").symlink_to("circle")
    lines, result = examined(sshd.trusted_in(home), home)
    assert result["ok"] and lines["runs"]["text"] == f"5 runs in {root}; passed over: 2 links to no folder"
    assert (lines["runs"]["said"], lines["runs"]["count"], lines["runs"]["passed"]) == ("runs_passed", 5, 2)


@pytest.mark.few(1)
@pytest.mark.parametrize("hangs",
                         ["sleep 300", "echo welcome; cat > /dev/null; sleep 300",
                          "yes | head -c 5000000; sleep 300"])
def test_commands_that_hang_are_no_missing_connection(tmp_path, home, hangs):
    script = tmp_path / "shell"
    script.write_text(
        '#!/bin/bash\ncase "$SSH_ORIGINAL_COMMAND" in *sftp-server*) exec /usr/lib/openssh/sftp-server;; '
        f'esac\n{hangs}\n')
    script.chmod(0o755)
    make_runs(tmp_path / "root", 2)
    with Sshd(tmp_path / "hanging", Subsystem="sftp /usr/lib/openssh/sftp-server",
              ForceCommand=str(script)) as server:
        began = time.monotonic()
        lines, result = examined(server.trusted_in(home), home, remote_root=str(tmp_path / "root"))
        took = time.monotonic() - began
    assert result["ok"] and lines["exec"]["ok"] is None and lines["runs"]["count"] == 2
    assert f"do not answer within {doctor.EXEC_SECONDS} s; SFTP works" in lines["exec"]["text"]
    assert lines["exec"]["ms"] < 4000 * doctor.EXEC_SECONDS and took < 60


def test_no_runs_where_the_user_says_and_three_elsewhere(sshd, home, tmp_path):
    make_runs(tmp_path / "far" / ".runicorn" / "experiments", 3)
    make_runs(tmp_path / "far" / "experiments", 2)
    (tmp_path / "far" / "data").mkdir()
    lines, result = examined(sshd.trusted_in(home), home, remote_root="~/data")
    usual, other = f"{sshd.home}/.runicorn/experiments", f"{sshd.home}/experiments"
    assert result["ok"] and result["offer"] == [{"root": usual, "runs": 3}, {"root": other, "runs": 2}]
    assert lines["runs"]["text"] == f"0 runs in {sshd.home}/data; 3 in {usual}; 2 in {other}: use it?"


def test_a_root_that_is_not_there_yet_or_is_a_file(sshd, home, tmp_path):
    lines, result = examined(sshd.trusted_in(home), home)
    assert result["ok"] and lines["root"]["ok"] is None and "browse" in lines["root"]["advice"]
    (tmp_path / "far" / "file").write_text("")
    lines, result = examined(sshd, home, remote_root="file")
    assert not result["ok"] and "not a folder" in lines["root"]["text"]


def test_an_old_manifest_is_noticed(sshd, home, tmp_path):
    hidden = tmp_path / "far" / ".runicorn" / "experiments" / ".runicorn"
    hidden.mkdir(parents=True)
    (hidden / "full_manifest.json.gz").write_bytes(b"")
    os.utime(hidden / "full_manifest.json.gz", (time.time() - 7200,) * 2)
    lines, _ = examined(sshd.trusted_in(home), home)
    assert lines["manifest"]["ok"] is None and "timer or cron" in lines["manifest"]["advice"]


def test_sftp_only_is_enough(tmp_path, home):
    with Sshd(tmp_path / "sshd", extra=["Match User *", "  ForceCommand internal-sftp"],
              MaxSessions=1) as server:
        lines, result = examined(server.trusted_in(home), home, remote_root="/tmp")
    assert result["ok"] and lines["exec"]["ok"] is None and "complete all the same" in lines["exec"]["text"]
    assert lines["clock"]["ok"] is None


@pytest.mark.few(1)
@pytest.mark.parametrize("off, said", [(3600, "ahead"), (-3600, "behind")])
def test_a_clock_that_is_off_is_told_and_does_no_harm(tmp_path, home, off, said):
    (tmp_path / "date").write_text(f"#!/bin/sh\necho $(( $(/bin/date +%s) + {off} ))\n")
    (tmp_path / "date").chmod(0o755)
    with Sshd(tmp_path / "sshd", SetEnv=f"{NO_BASHRC} PATH={tmp_path}:/usr/bin:/bin") as server:
        lines, result = examined(server.trusted_in(home), home, remote_root="/tmp")
    assert result["ok"] and lines["clock"]["ok"] is None
    assert "liveness does not depend on it" in lines["clock"]["advice"]
    assert lines["clock"]["text"].split()[:4] == ["the", "server's", "clock", "is"]
    assert lines["clock"]["text"].endswith(said)


def test_a_chroot_without_devices_has_no_throughput(tmp_path, home):
    with Sshd(tmp_path / "sshd", extra=["Match User *", "  ForceCommand internal-sftp"], **JAIL) as server:
        lines, result = examined(server.trusted_in(home), home, remote_root=f"{JAILED}/lib")
    assert result["ok"] and lines["root"]["text"] == f"{JAILED}/lib"
    assert lines["throughput"]["ok"] is (None if JAIL else True)


def test_a_server_without_sftp(tmp_path, home):
    with Sshd(tmp_path / "sshd", Subsystem="other /bin/true") as server:
        lines, result = examined(server.trusted_in(home), home)
    assert not result["ok"] and not result["browse"] and "internal-sftp" in lines["sftp"]["text"]
    assert "root" not in lines


def test_where_it_fails_is_the_line_that_says_so(sshd, home, tmp_path):
    class Nowhere:
        def connection(self, **changes):
            return {"host": "127.0.0.1", "port": free_port(), **changes}
    lines, result = examined(Nowhere(), home)
    assert not result["ok"] and list(lines) == ["name", "port"] and "firewall" in lines["port"]["text"]
    lines, _ = examined(Nowhere(), home, host="no-such-host.invalid")
    assert list(lines) == ["name"] and lines["name"]["ok"] is False
    lines, _ = examined(sshd, home)
    assert list(lines) == ["name", "port", "banner", "host_key"] and lines["host_key"]["ok"] is False
    lines, _ = examined(sshd.trusted_in(home), home, key=str(make_key(tmp_path / "stranger")))
    assert list(lines)[-1] == "login" and "tried" in lines["login"]["text"]
    lines, _ = examined(sshd, home, key=str(tmp_path / "absent"))
    assert list(lines)[-1] == "login" and "absent is not there" in lines["login"]["text"]
    sshd.new_host_key()
    lines, _ = examined(sshd, home)
    assert list(lines)[-1] == "host_key" and "CHANGED" in lines["host_key"]["text"]
    assert lines["host_key"]["code"] == "host_key_changed"
    assert "SHA256:" in lines["host_key"]["known"] + lines["host_key"]["offered"]


def test_questions_are_relayed(home):
    with AskingServer(["keyboard-interactive"], prompts=[("Code: ", False, "7")]) as server:
        lines, result = examined(server.trusted_in(home), home, ask=lambda question: "7")
        assert lines["login"]["ok"] is True and server.logins == 1


def test_a_jump_host_has_a_line(sshd, home, tmp_path):
    with Sshd(tmp_path / "gate") as gate:
        (home.parent / ".ssh").mkdir()
        (home.parent / ".ssh" / "config").write_text(
            f"Host 127.0.0.1\n  ProxyJump localhost:{gate.port}\n  IdentityFile {sshd.key}\n"
            f"Host localhost\n  IdentityFile {gate.key}\n")
        lines, result = examined(sshd.trusted_in(home), home, ask=lambda question: "yes")
    assert result["ok"] and str(gate.port) in lines["jump"]["text"]


def test_the_systems_ssh_is_tested_from_sftp_on(sshd, home):
    lines, result = examined(sshd.trusted_in(home), home, auth="system")
    assert result["ok"] and list(lines)[0] == "sftp"
    sshd.stop()
    lines, result = examined(sshd, home, auth="system")
    assert not result["ok"] and "refused" in list(lines.values())[-1]["text"]


def test_browsing_a_folder_that_is_not_there(sshd, home):
    line = remote.connect(settings.checked(sshd.trusted_in(home).connection()), home=home)
    with pytest.raises(DeniedError, match="can't be listed"):
        doctor.browse(line.open_sftp(), "/nonexistent")
    line.close()


@pytest.mark.parametrize("root, path",
                         [("~", "/home/a"), ("~/x", "/home/a/x"), ("/data", "/data"),
                          ("data", "/home/a/data")])
def test_a_remote_root_is_expanded_from_where_sftp_starts(root, path):
    assert doctor.expanded(root, "/home/a") == path
