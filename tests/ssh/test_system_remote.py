"""The system's own ssh as a person has it set up: whatever `ssh` and `sftp` get into with a config, we get
into, and say what they say."""

import socket
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import pytest
from asking import AskingServer
from desks import (
    SSH,
    connect,
    desk,  # noqa: F401 (fixture)
    gets_in,
)
from ports import free_port, listening
from sshd import Sshd, make_key
from waiting import until

from runicorn.errors import DeniedError, HostKeyError, LineError, LoginError, RemoteError
from runicorn.ssh import user_config


def refused(home, kind, **changes):
    """Return the error of a connection that must fail with `kind`."""
    with pytest.raises(kind) as caught:
        connect(home, **changes).close()
    return caught.value


# -- what the user's config wants for a session of theirs ----------------------------------------------------

def taken(port):
    """Hold `port`, as the user's own ssh with its LocalForward does."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    held.listen()
    return held


@pytest.mark.few(1)
@pytest.mark.parametrize("line", [
    "LocalForward 127.0.0.1:{port} 127.0.0.1:9", "RemoteForward 127.0.0.1:{port} 127.0.0.1:9",
    "DynamicForward 127.0.0.1:{port}"])
@pytest.mark.parametrize("held", [True, False], ids=["the port is taken", "the port is free"])
def test_forwards_of_the_config_are_neither_made_nor_missed(sshd, home, desk, line, held):
    port = free_port()
    desk.config(sshd, line.format(port=port), "ExitOnForwardFailure yes")
    own = taken(port) if held else None
    assert desk.sftp().returncode == 0
    line = connect(home)
    assert line.open_sftp().realpath(".") == str(sshd.home)
    if own:
        own.close()
    assert not listening("127.0.0.1", port)         # the user's own ssh may have it
    assert line.run("echo hello")[1] == b"hello\n"
    line.close()


@pytest.mark.few(2)
@pytest.mark.parametrize("lines", [
    ["RemoteCommand tmux attach", "RequestTTY yes"], ["RequestTTY force"],
    ["PermitLocalCommand yes", "LocalCommand touch {mark}"],
    ["ForkAfterAuthentication yes"], ["StdinNull yes"], ["SessionType none"], ["SessionType subsystem"],
    ["Tunnel yes"], ["EscapeChar none"], ["VisualHostKey yes"], ["LogLevel DEBUG3"], ["LogLevel QUIET"],
    ["SendEnv *"], ["SetEnv A=b"], ["ForwardAgent yes", "ForwardX11 yes"], ["AddKeysToAgent yes"],
    ["UpdateHostKeys yes"], ["ConnectTimeout 40"],
    ["ServerAliveInterval 5"], ["UserKnownHostsFile {known}", "HashKnownHosts yes"],
    ["CanonicalizeHostname yes"], ["IgnoreUnknown UseKeychain", "UseKeychain yes"],
    ["GlobalKnownHostsFile none"], ["StreamLocalBindUnlink yes"],
], ids=lambda lines: lines[0].split()[0] + "-" + lines[0].split()[-1].strip("{}"))
def test_a_session_of_ours_is_none_of_the_users(sshd, home, desk, tmp_path, lines):
    mark = tmp_path / "mark"
    desk.config(sshd, *(line.format(mark=mark, known=desk.known) for line in lines))
    assert gets_in(home) and not mark.exists()


def test_a_remote_command_in_the_block_of_all_hosts(sshd, home, desk):
    desk.config(sshd, above="Match all\n  RemoteCommand cd work && exec bash\n  RequestTTY yes\n"
                            "  LocalForward 127.0.0.1:1 x:1\n")
    assert gets_in(home)


def test_an_option_that_an_old_ssh_does_not_know_is_not_given(sshd, home, desk):
    """OpenSSH before 7.6 knows no RemoteCommand, before 8.7 none of the others: each would end it."""
    desk.config(sshd)
    desk.script('for word in "$@"; do case "$word" in RemoteCommand*|SessionType*|StdinNull*|ForkAfter*) '
                'exit 255;; esac; done\n'
                f'exec {SSH} -F {desk.folder / "config"} "$@"')
    assert gets_in(home)


def test_a_wrapper_called_ssh_and_all_that_it_starts_end_with_the_connection(sshd, home, desk):
    desk.config(sshd)
    desk.script(f'echo "calling $*" >&2\n{SSH} -F {desk.folder / "config"} "$@"\nexit $?')
    line = connect(home)
    line.open_sftp().realpath(".")
    assert sshd.sessions()
    line.close()
    until(lambda: not sshd.sessions())


@pytest.fixture
def masters():
    """A folder with a name short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="cm", dir="/tmp") as folder:
        yield folder


def test_a_master_of_ours_takes_nobodys_session_with_it(sshd, home, desk, masters):
    """With ControlMaster auto and no ControlPersist the first ssh carries the others, and they end with
    it."""
    desk.config(sshd, "ControlMaster auto", f"ControlPath {masters}/%C")
    line = connect(home)
    line.open_sftp().realpath(".")
    theirs = subprocess.Popen([SSH, "-F", str(desk.folder / "config"), "gpu", "sleep 1; echo done"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    line.close()
    assert theirs.communicate(timeout=30)[0] == "done\n"


def test_a_master_of_the_users_is_used_and_left_alone(sshd, home, desk, masters):
    desk.config(sshd, "ControlMaster auto", "ControlPersist 60", f"ControlPath {masters}/%C")
    assert desk.plain(SSH, "gpu", "true").returncode == 0
    before = len(sshd.log.read_text())
    assert gets_in(home) and "Accepted" not in sshd.log.read_text()[before:]
    assert desk.plain(SSH, "-O", "check", "gpu").returncode == 0
    desk.plain(SSH, "-O", "exit", "gpu")


@pytest.mark.long
def test_two_jumps_by_the_systems_ssh(sshd, home, desk, tmp_path):
    with Sshd(tmp_path / "gate") as gate, Sshd(tmp_path / "inner") as inner:
        desk.config(gate, name="gate")
        desk.config(inner, "ProxyJump gate", name="inner")
        desk.config(sshd, "ProxyJump inner")
        assert desk.sftp().returncode == 0 and gets_in(home)


def test_keys_trusted_here_count_and_nothing_is_written_beside_them(sshd, home, desk):
    desk.config(sshd, "UserKnownHostsFile none", trusted=False)
    sshd.trusted_in(home)
    before = (home / "known_hosts").read_bytes()
    assert gets_in(home) and (home / "known_hosts").read_bytes() == before


# -- patience ------------------------------------------------------------------------------------------------

def test_the_users_patience_is_ssh_s_patience(sshd, home, desk):
    desk.config(sshd, "ConnectTimeout 40", "ServerAliveInterval 7")
    line = connect(home)
    options = line.command("true")
    assert not [word for word in options if word.startswith(("ConnectTimeout", "ServerAlive"))]
    line.close()
    (desk.folder / "config").write_text("")
    desk.config(sshd)
    line = connect(home)
    assert "ConnectTimeout=15" in line.command("true") and "ServerAliveInterval=15" in line.command("true")
    line.close()


@pytest.mark.chaos
def test_a_login_that_takes_longer_than_an_answer_may(sshd, home, desk):
    """A gate that lets nobody through for 35 s: plain sftp waits, so do we."""
    wait = f"sleep 35; exec {sys.executable} -c {PIPE_CODE!r} %h %p"
    desk.config(sshd, f"ProxyCommand {wait}", "ConnectTimeout 100")
    assert desk.sftp().returncode == 0
    connect(home).close()


PIPE_CODE = ("import os,socket,sys,threading;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));"
             "threading.Thread(target=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,65536),b\"\")]and "
             "s.shutdown(1),daemon=True)"
             ".start();[os.write(1,d) for d in iter(lambda:s.recv(65536),b\"\")]")


# -- the words of a refusal ----------------------------------------------------------------------------------

def test_a_server_without_commands_passes(home, desk, tmp_path):
    with Sshd(tmp_path / "sshd", extra=["Match User *", "  ForceCommand internal-sftp"]) as server:
        desk.config(server)
        assert desk.sftp().returncode == 0
        line = connect(home)
        assert line.open_sftp().realpath(".") and line.probe_exec() is False and line.exec_allowed is False
        line.close()


@pytest.mark.parametrize("words, kind", [("exec request failed on channel 0", DeniedError),
                                         ("channel 0: open failed: administratively prohibited: open failed",
                                          DeniedError),
                                         ("Connection reset by 127.0.0.1 port 22", LineError)])
def test_what_refuses_a_command_is_told_from_a_cut(sshd, home, desk, words, kind):
    desk.config(sshd)
    desk.script(f'case "$*" in "-s "*|*-G*) exec {SSH} -F {desk.folder / "config"} "$@";; esac\n'
                f'echo "{words}" >&2; exit 255')
    line = connect(home)
    with pytest.raises(kind):
        line.run("true")
    assert line.probe_exec() is False and line.alive and line.open_sftp().realpath(".")
    line.close()


def test_an_unknown_and_a_changed_host_key_say_what_to_do(sshd, home, desk):
    desk.config(sshd, trusted=False)
    error = refused(home, HostKeyError)
    assert error.code == "host_key_unknown" and f"[127.0.0.1]:{sshd.port}" in str(error)
    assert "run `ssh gpu` once" in str(error)
    desk.known.write_text(sshd.known_hosts.read_text())
    sshd.new_host_key()
    error = refused(home, HostKeyError)
    assert error.code == "host_key_changed" and "@" not in str(error) and "\n" not in str(error)
    assert error.values["offered"].split()[1].startswith("SHA256:")
    assert str(desk.known) in error.values["known"]
    command, = error.values["removal"]
    assert subprocess.run(command, shell=True, capture_output=True).returncode == 0
    assert desk.known.read_text() == ""


def test_a_revoked_host_key(sshd, home, desk):
    desk.config(sshd)
    desk.known.write_text("@revoked " + sshd.known_hosts.read_text())
    assert refused(home, HostKeyError).code == "host_key_revoked"


@pytest.mark.few(1)
@pytest.mark.parametrize("keyword, value, option", [
    ("KexAlgorithms", "diffie-hellman-group14-sha1", "KexAlgorithms +diffie-hellman-group14-sha1"),
    ("Ciphers", "aes128-cbc", "Ciphers +aes128-cbc"),
    ("HostKeyAlgorithms", "ssh-rsa", "HostKeyAlgorithms +ssh-rsa")])
def test_no_common_algorithm_is_a_refusal_with_a_way_out(home, desk, tmp_path, keyword, value, option):
    (tmp_path / "sshd").mkdir()
    make_key(tmp_path / "sshd" / "host_key", kind="rsa")
    with Sshd(tmp_path / "sshd", **{keyword: value}) as server:
        desk.config(server)
        assert "Unable to negotiate" in desk.sftp().stderr
        error = refused(home, RemoteError)
        assert not isinstance(error, LineError) and error.code == "algorithms" and f"`{option}`" in str(error)
        (desk.folder / "config").write_text("")
        desk.config(server, option)                 # what the sentence says does help
        assert gets_in(home)


def test_a_stranger_too_many_keys_and_a_key_others_may_read(sshd, home, desk, tmp_path):
    desk.config(sshd)
    stranger = make_key(tmp_path / "stranger")
    text = (desk.folder / "config").read_text().replace(str(sshd.key), str(stranger))
    (desk.folder / "config").write_text(text)
    error = refused(home, LoginError)
    assert error.code == "login" and "Permission denied (publickey)" in str(error)
    assert "`ssh gpu`" in str(error)
    desk.config(sshd, name="open")
    sshd.key.chmod(0o644)
    assert f"Permissions 0644 for '{sshd.key}' are too open" in str(refused(home, LoginError, host="open"))


def test_too_many_keys_are_told_from_a_wrong_one(home, desk, tmp_path):
    with Sshd(tmp_path / "sshd", MaxAuthTries=2) as server:
        desk.config(server)
        keys = "".join(f"  IdentityFile {make_key(tmp_path / f'k{n}')}\n" for n in range(3))
        text = (desk.folder / "config").read_text()
        (desk.folder / "config").write_text(text.replace(f"  IdentityFile {server.key}\n", keys))
        error = refused(home, LoginError)
    assert "Too many authentication failures" in str(error) and "IdentitiesOnly yes" in str(error)


def test_a_broken_config_is_named(sshd, home, desk):
    desk.config(sshd, "NoSuchOption yes")
    error = refused(home, RemoteError)
    assert not isinstance(error, LineError) and "nosuchoption" in str(error).lower()
    assert "config" in str(error)


@pytest.mark.parametrize("auth", ["key", "system"])
def test_the_words_of_a_proxy_command_are_in_our_sentence(sshd, home, desk, auth):
    desk.config(sshd, "ProxyCommand sh -c 'echo cloud-gate: your certificate ran out >&2; exit 1'")
    if auth == "key":           # paramiko reads the config of the home folder
        (home.parent / ".ssh").mkdir()
        (home.parent / ".ssh" / "config").write_text((desk.folder / "config").read_text())
        assert user_config.lookup("gpu")["proxycommand"]
    assert "cloud-gate: your certificate ran out" in desk.sftp().stderr
    error = refused(home, LineError, auth=auth)
    assert "cloud-gate: your certificate ran out" in str(error) and "UNKNOWN" not in str(error)


def test_the_reasons_of_a_jump_host_are_in_our_sentence(sshd, home, desk, tmp_path):
    with Sshd(tmp_path / "gate", AllowTcpForwarding="no") as gate:
        desk.config(gate, name="gate")
        desk.config(sshd, "ProxyJump gate")
        error = refused(home, RemoteError)
        assert "administratively prohibited" in str(error) and "UNKNOWN" not in str(error)
        (desk.folder / "config").write_text("")
        desk.config(gate, name="gate", trusted=False)
        desk.known.write_text("")
        desk.config(sshd, "ProxyJump gate")
        assert "or of a host on the way there" in str(refused(home, HostKeyError))
        (desk.folder / "config").write_text("")
        desk.config(gate, name="gate")
        desk.config(sshd, "ProxyJump gate")
        text = (desk.folder / "config").read_text().replace(
            str(gate.key), str(make_key(tmp_path / "stranger")))
        (desk.folder / "config").write_text(text)
        assert f"{gate.user}@127.0.0.1: Permission denied" in str(refused(home, LoginError))
    error = refused(home, LineError)
    assert "Connection refused" in str(error) and str(gate.port) in str(error)


def test_a_port_that_nobody_answers_and_a_name_that_nobody_knows(home, desk):
    (desk.folder / "config").write_text(f"Host gpu\n  HostName 127.0.0.1\n  Port {free_port()}\n")
    assert "Connection refused" in str(refused(home, LineError))
    (desk.folder / "config").write_text("Host gpu\n  HostName no-such-host.invalid\n")
    assert "Could not resolve" in str(refused(home, LineError))


# -- a server that lets in and says why it does not serve ----------------------------------------------------

def test_words_of_a_server_that_hangs_up_are_a_refusal(home, desk):
    for words in ("Access denied by pam_slurm_adopt: you have no active jobs on this node",
                  "Your account has expired; ask the help desk",
                  "The system is down for maintenance until 18:00"):
        with AskingServer(["publickey"]) as server:
            server.parting = "banner", words + "\n"
            (desk.folder / "config").write_text("")
            desk.config(SimpleNamespace(port=server.port, known_hosts=server.known_hosts, user="alice",
                                        key=make_key(desk.folder / "id")))
            error = refused(home, LoginError)
            assert error.code == "login" and words in str(error) and "not tried again" in str(error)
            assert words in desk.sftp().stderr


@pytest.mark.few(1)
@pytest.mark.parametrize("shell, words", [
    ("echo 'This account is currently not available.'; exit 1", "This account is currently not available."),
    ("exit 1", "login shell"), ("echo 'out of order' >&2; exit 254", "out of order")],
                         ids=["prints", "exits", "says why"])
@pytest.mark.parametrize("auth", ["key", "system"])
def test_a_login_shell_that_breaks_an_external_sftp_server(home, desk, tmp_path, shell, words, auth):
    """ForceCommand stands for the login shell: sshd runs both in place of the subsystem."""
    (tmp_path / "shell").write_text(f"#!/bin/sh\n{shell}\n")
    (tmp_path / "shell").chmod(0o755)
    with Sshd(tmp_path / "sshd", Subsystem="sftp /usr/lib/openssh/sftp-server",
              ForceCommand=tmp_path / "shell") as server:
        desk.config(server)
        assert desk.sftp().returncode != 0
        where = server.trusted_in(home).connection(auth=auth) if auth == "key" else {}
        with pytest.raises(RemoteError) as caught:
            line = connect(home, **{"auth": auth, **where})
            try:
                line.open_sftp()
            finally:
                line.close()
    error = caught.value
    assert not isinstance(error, LineError) and error.code == "sftp" and words in str(error)
    assert "internal-sftp" in str(error)
    assert ("instead of SFTP" in str(error)) == words.startswith("This account")


@pytest.mark.parametrize("entries", [
    "Host gpu\n  HostName 127.0.0.1\n  Port 9\n  ProxyJump gpu\n",
    "Host gpu\n  ProxyJump gate\nHost gate\n  ProxyJump other\nHost other\n  ProxyJump someone@gpu:24,far\n",
    "Host *\n  ProxyJump gate\n  HostName 127.0.0.1\n",
])
def test_jump_hosts_that_lead_to_themselves_are_refused_before_ssh_starts(desk, home, entries):
    (desk.folder / "config").write_text(entries)
    started = desk.folder / "started"
    # a fork bomb, where it is started: only what ssh says of its config is asked of it here
    desk.script(f'case "$1" in -G) exec {SSH} -F {desk.folder / "config"} "$@";; esac; '
                f'echo "$@" >> {started}; exit 255')
    with pytest.raises(RemoteError, match="ProxyJump leads in a circle at gpu"):
        connect(home)
    assert not started.exists()


def test_a_long_way_over_jump_hosts_is_no_circle(desk, home):
    names = [f"gate{number}" for number in range(user_config.JUMPS)]
    entries = [f"Host {name}\n  ProxyJump {after}\n"
               for name, after in zip(["gpu", *names], names, strict=False)]
    (desk.folder / "config").write_text("".join(entries))
    desk.script(f'case "$1" in -G) exec {SSH} -F {desk.folder / "config"} "$@";; esac; echo no such way >&2; '
                'exit 255')
    with pytest.raises(LineError, match="no such way"):
        connect(home)
