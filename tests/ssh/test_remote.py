"""Connecting to a real sshd: host keys, streams, commands, a second line, and what is said when it fails."""

import base64
import re
import socket
import subprocess
import threading
import time

import paramiko
import pytest
from asking import AskingServer
from ports import free_port
from sshd import JAIL, JAILED, Sshd, make_key

from runicorn import settings
from runicorn.errors import DeniedError, HostKeyError, LineError, LoginError, RemoteError
from runicorn.ssh import handshake, host_keys, remote
from runicorn.ssh.dialer import Dialer


def connect(server, home, ask=None, **changes):
    return remote.connect(settings.checked(server.connection(**changes)), ask, home=home)


def test_a_key_file_opens_sftp_and_everything_is_counted(sshd, home, tmp_path):
    sshd.trusted_in(home)
    (tmp_path / "far" / "hello.txt").write_text("hello")
    stages = []
    line = remote.connect(settings.checked(sshd.connection()), home=home,
                          log=lambda stage, text, **_: stages.append(stage))
    client = line.open_sftp()
    assert client.realpath(".") == str(tmp_path / "far")
    assert list(client.read_pieces("hello.txt", 100)) == [b"hello"]
    assert stages == ["name", "port", "banner", "host_key", "login"] and "OpenSSH" in line.banner
    assert line.bytes_sent > client.sent and line.bytes_received > client.received > 0
    assert line.host_key["fingerprint"] == host_keys.fingerprint(
        base64.b64decode(sshd.host_key.read_text().split()[1]))
    assert line.alive
    line.close()
    assert not line.alive


def test_an_unknown_host_key_is_asked_about_once_and_then_known(sshd, home):
    questions = []

    def trust(question):
        questions.append(question)
        return "yes"
    connect(sshd, home, trust).close()
    connect(sshd, home, trust).close()
    question, = questions
    assert question["kind"] == "host_key" and question["fingerprint"].startswith("SHA256:")
    assert question["key_type"] == "ssh-ed25519"
    assert f"[127.0.0.1]:{sshd.port} " in (home / "known_hosts").read_text()


@pytest.mark.parametrize("ask", [None, lambda question: None, lambda question: ""])
def test_without_a_yes_nobody_logs_in(sshd, home, ask):
    with pytest.raises(HostKeyError, match="is not known.*SHA256:"):
        connect(sshd, home, ask)
    assert not (home / "known_hosts").exists() and "Accepted" not in sshd.log.read_text()


def test_a_changed_host_key_stops_and_shows_both(sshd, home):
    sshd.trusted_in(home)
    old = host_keys.fingerprint(base64.b64decode(sshd.host_key.read_text().split()[1]))
    sshd.new_host_key()
    new = host_keys.fingerprint(base64.b64decode(sshd.host_key.read_text().split()[1]))
    with pytest.raises(HostKeyError) as caught:
        connect(sshd, home, ask=lambda question: pytest.fail("a changed key is never a question"))
    assert old in str(caught.value) and new in str(caught.value) and "ssh-keygen -R" in str(caught.value)
    assert caught.value.code == "host_key_changed"


def test_the_users_own_known_hosts_hashed_and_revoked(sshd, home):
    name = f"[127.0.0.1]:{sshd.port}"
    key = " ".join(sshd.host_key.read_text().split()[:2])
    ssh = home.parent / ".ssh"
    ssh.mkdir()
    (ssh / "known_hosts").write_text(f"* {key}\n")
    connect(sshd, home).close()
    (ssh / "known_hosts").write_text(f"* {key}\n@revoked {name} {key}\n")
    with pytest.raises(HostKeyError, match="revoked"):
        connect(sshd, home)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_of_two_host_keys_the_known_kind_is_used(tmp_path, home, kind):
    (tmp_path / "sshd").mkdir()
    other = make_key(tmp_path / "sshd" / "other", kind=kind)
    with Sshd(tmp_path / "sshd", extra=[f"HostKey {other}"]) as server:
        home.mkdir()
        key = " ".join((tmp_path / "sshd" / "other.pub").read_text().split()[:2])
        (home / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {key}\n")
        line = connect(server, home)
        assert kind in line.host_key["type"]
        line.close()


def test_a_server_known_by_another_kind_of_key_is_a_question_that_says_so(sshd, home, tmp_path):
    make_key(tmp_path / "old", kind="ecdsa")
    home.mkdir()
    (home / "known_hosts").write_text(
        f"[127.0.0.1]:{sshd.port} {' '.join((tmp_path / 'old.pub').read_text().split()[:2])}\n")
    questions = []
    with pytest.raises(HostKeyError):
        connect(sshd, home, questions.append)
    assert "known by another kind of key: ecdsa-sha2-nistp256 SHA256:" in questions[0]["prompt"]


@pytest.mark.parametrize("principal, known", [("127.0.0.1", True), ("elsewhere", False)])
def test_a_host_certificate_of_a_trusted_authority_needs_no_question(tmp_path, home, principal, known):
    folder = tmp_path / "sshd"
    with Sshd(folder) as server:
        authority = make_key(tmp_path / "authority")
        subprocess.run(["ssh-keygen", "-q", "-s", str(authority), "-h", "-I", "gpu", "-n", principal,
                        str(server.host_key)],
                       check=True, capture_output=True)
        with (folder / "sshd_config").open("a") as file:
            file.write(f"HostCertificate {folder / 'host_key-cert.pub'}\n")
        server.restart()
        home.mkdir()
        public = " ".join((tmp_path / "authority.pub").read_text().split()[:2])
        (home / "known_hosts").write_text(f"@cert-authority [127.0.0.1]:* {public}\n")
        if known:
            connect(server, home).close()
        else:
            with pytest.raises(HostKeyError, match="not known"):
                connect(server, home)


@pytest.mark.parametrize("revoked, words", [("host", "revoked"), ("authority", "is not known")])
def test_a_revoked_key_is_refused_though_an_authority_vouches_for_it(tmp_path, home, revoked, words):
    folder = tmp_path / "sshd"
    with Sshd(folder) as server:
        authority = make_key(tmp_path / "authority")
        subprocess.run(["ssh-keygen", "-q", "-s", str(authority), "-h", "-I", "gpu", str(server.host_key)],
                       check=True, capture_output=True)
        with (folder / "sshd_config").open("a") as file:
            file.write(f"HostCertificate {folder / 'host_key-cert.pub'}\n")
        server.restart()
        home.mkdir()
        public = " ".join((tmp_path / "authority.pub").read_text().split()[:2])
        plain = " ".join(server.host_key.read_text().split()[:2])
        (home / "known_hosts").write_text(
            f"@cert-authority * {public}\n@revoked * {plain if revoked == 'host' else public}\n")
        with pytest.raises(HostKeyError, match=words):
            connect(server, home)


def test_a_forged_certificate_vouches_for_nobody(tmp_path, home):
    """The authority's own certificate for gpu1, with the name changed: the signature no longer fits."""
    authority, host = make_key(tmp_path / "authority"), make_key(tmp_path / "host")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-h", "-I", "gpu", "-n", "gpu1", f"{host}.pub"]
    subprocess.run(sign, check=True, capture_output=True)
    blob = base64.b64decode((tmp_path / "host-cert.pub").read_text().split()[1])
    public = " ".join((tmp_path / "authority.pub").read_text().split()[:2])
    home.mkdir(parents=True)
    (home / "known_hosts").write_text(f"@cert-authority * {public}\n")
    dialer = Dialer(lambda: paramiko, settings.checked({"host": "gpu1"}), None, {}, home,
                    lambda stage, text, **_: None)
    for name, data, good in (("gpu1", blob, True), ("gpu2", blob, False),
                             ("gpu2", blob.replace(b"gpu1", b"gpu2"), False)):
        key = paramiko.Ed25519Key(data=data)
        key.public_blob = paramiko.pkey.PublicBlob("ssh-ed25519-cert-v01@openssh.com", data)
        shown = handshake.Handshake(paramiko, dialer._hop(name, "alice", 22), home, None,
                                    lambda stage, text, **_: None)
        assert shown._certified(key) is good


def test_commands_run_with_input_both_outputs_and_a_status(sshd, home):
    line = connect(sshd.trusted_in(home), home)
    assert line.exec_allowed is None and line.probe_exec() is True
    data = bytes(range(256)) * 8000
    assert line.run("cat; echo oh >&2; exit 3", data) == (3, data, b"oh\n")
    assert line.run("true", b"x" * 3_000_000)[0] == 0       # a command that does not want its input
    with pytest.raises(LineError, match="did not answer"):
        line.run("sleep 30", timeout=0.5)
    line.close()


def test_sftp_only_with_chroot_denies_commands_and_works(tmp_path, home):
    force = ["Match User *", "  ForceCommand internal-sftp", "  AllowTcpForwarding no"]
    with Sshd(tmp_path / "sshd", extra=force, **JAIL) as server:
        line = connect(server.trusted_in(home), home)
        assert line.probe_exec() is False and line.exec_allowed is False
        assert "log" in [name for name, _ in line.open_sftp().listdir(f"{JAILED}/")]
        line.close()


def test_one_session_at_a_time(tmp_path, home):
    with Sshd(tmp_path / "sshd", MaxSessions=1) as server:
        line = connect(server.trusted_in(home), home)
        client = line.open_sftp()
        with pytest.raises(RemoteError, match="said no"):
            line.open_sftp()
        assert line.alive and client.realpath("/") == "/"
        client.close()
        assert line.probe_exec() is True
        line.close()


def test_a_server_without_sftp(tmp_path, home):
    with Sshd(tmp_path / "sshd", Subsystem="other /bin/true") as server:
        line = connect(server.trusted_in(home), home)
        with pytest.raises(RemoteError, match="offers no SFTP"):
            line.open_sftp()
        line.close()


@pytest.mark.parametrize("words, error",
                         [("", "did not begin within"), ("echo Welcome to gpu-01", "instead of SFTP")])
def test_where_sftp_does_not_begin_its_session_is_given_back(tmp_path, home, monkeypatch, words, error):
    """The one session that the server grants at a time is free for a command then."""
    monkeypatch.setattr(remote, "SFTP_SECONDS", 1)
    shell = tmp_path / "shell"
    shell.write_text(
        f'#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in\n*sftp*) {words or ":"}; cat > /dev/null;;\n'
        '*) eval "$SSH_ORIGINAL_COMMAND";;\nesac\n')
    shell.chmod(0o755)
    with Sshd(tmp_path / "sshd", Subsystem="sftp /usr/lib/openssh/sftp-server", ForceCommand=shell,
              MaxSessions=1) as server:
        line = connect(server.trusted_in(home), home)
        with pytest.raises(RemoteError, match=error):
            line.open_sftp(timeout=1)
        assert line.run("echo free")[:2] == (0, b"free\n")
        line.close()


def test_a_second_line_asks_nobody(sshd, home):
    line = connect(sshd.trusted_in(home), home)
    other = line.second()
    line.close()
    assert other.alive and other.open_sftp().realpath(".") == str(sshd.home)
    other.close()


def test_a_cut_line_is_noticed_by_every_stream(sshd, home):
    line = connect(sshd.trusted_in(home), home)
    client = line.open_sftp()
    sshd.cut()
    with pytest.raises(LineError):
        client.realpath(".")
    with pytest.raises(LineError):
        line.run("true")
    line.close()


def test_a_stranger_is_refused_and_the_key_is_named(sshd, home, tmp_path):
    stranger = make_key(tmp_path / "stranger")
    with pytest.raises(LoginError, match="tried: key .*stranger.*takes publickey"):
        connect(sshd.trusted_in(home), home, key=str(stranger))
    assert sshd.log.read_text().count("Connection closed by authenticating user") <= 1


def test_nobody_listens(home):
    connection = {"name": "x", "host": "127.0.0.1", "port": free_port(), "auth": "key"}
    with pytest.raises(LineError, match="Connection refused.*firewall"):
        remote.connect(settings.checked(connection), home=home)


def test_an_unknown_name(home):
    with pytest.raises(LineError, match="no-such-host.invalid is not known") as caught:
        remote.connect(settings.checked({"host": "no-such-host.invalid"}), home=home)
    assert caught.value.code == "name"


@pytest.mark.parametrize("greeting, said", [
    (b"", "said nothing"),
    (b"HTTP/1.0 400 Bad Request\r\n\r\n", "no SSH server: it says 'HTTP/1.0 400 Bad Request'"),
    (b"Exceeded MaxStartups\r\n", "hung up; it says: Exceeded MaxStartups"),
    (b"220 mail.lab ESMTP\r\n", "it says '220 mail.lab ESMTP'"), (b"\x00" * 5000, "no SSH server"),
    (b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff", "broke off the SSH handshake"),
    (b"-ERR unknown\r\n+PONG\r\n" * 100, "no SSH server"), ("\N{SNOWMAN}\x1b[31mred\r\n".encode(), "it says"),
])
def test_something_that_is_no_ssh_server(home, greeting, said):
    listener = socket.create_server(("127.0.0.1", 0))

    def greet():
        line, _ = listener.accept()
        line.sendall(greeting)
        line.close()
    threading.Thread(target=greet, daemon=True).start()
    with pytest.raises(LineError, match=re.escape(said)) as caught:
        remote.connect(settings.checked({"host": "127.0.0.1", "port": listener.getsockname()[1]}), home=home)
    assert caught.value.code == "banner" and "protocol banner" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    listener.close()


def test_a_server_that_punishes_is_not_tried_again(home):
    """sshd 9.8 and newer, PerSourcePenalties: each further try makes it longer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def punish():
        line, _ = listener.accept()
        line.sendall(b"Not allowed at this time\r\n")
        line.close()
    threading.Thread(target=punish, daemon=True).start()
    with pytest.raises(RemoteError,
                       match="says: Not allowed at this time. It is not tried again by itself") as caught:
        remote.connect(settings.checked({"host": "127.0.0.1", "port": listener.getsockname()[1]}), home=home)
    assert not isinstance(caught.value, LineError) and caught.value.code == "refused"
    listener.close()


def test_a_server_that_accepts_and_says_nothing(home, monkeypatch):
    monkeypatch.setattr(handshake, "HANDSHAKE_SECONDS", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(LineError, match="said nothing"):
        remote.connect(settings.checked({"host": "127.0.0.1", "port": listener.getsockname()[1]}), home=home)
    listener.close()


def test_old_servers_that_speak_only_sha1_are_explained(tmp_path, home):
    with Sshd(tmp_path / "sshd", KexAlgorithms="diffie-hellman-group14-sha1") as server, pytest.raises(
        RemoteError, match="paramiko<5"):
        connect(server, home)


def test_a_command_refused_outright(home):
    with AskingServer() as server:
        server.trusted_in(home)
        line = remote.connect(settings.checked(server.connection()), secrets={"password": "open sesame"},
                              home=home)
        with pytest.raises(DeniedError, match="runs no commands"):
            line.run("true")
        assert line.exec_allowed is False and line.open_sftp().realpath(".") == "/"
        line.close()


def test_nothing_is_sent_on_a_channel_that_is_closed(sshd, home):
    """sshd hangs up at "data packet referred to nonexistent channel": a command that ends without wanting its
    input, now and then."""
    line = connect(sshd.trusted_in(home), home)
    transport = line._transport
    for kind in (94, 96, 97, 93):
        channel = transport.open_session()
        channel.exec_command("true")
        number = channel.remote_chanid
        assert channel.recv_exit_status() == 0
        while not channel.closed:
            time.sleep(0.01)
        message = paramiko.Message()
        message.add_byte(bytes([kind]))
        message.add_int(number)
        if kind == 94:
            message.add_string(b"late")
        elif kind == 93:
            message.add_int(1000)
        transport._send_user_message(message)
        assert line.run("echo still here")[1] == b"still here\n", f"after a late message {kind}"
    assert line.open_sftp().realpath(".")
    line.close()


def test_commands_that_end_before_their_input_never_cost_the_line(home, tmp_path):
    with Sshd(tmp_path / "sshd", ForceCommand="internal-sftp") as server:
        line = connect(server.trusted_in(home), home)
        for _ in range(40):
            try:
                line.run("python3 -S -E -", b"x" * 200_000, timeout=20)
            except RemoteError:
                assert line.alive
        assert line.open_sftp().realpath(".")
        line.close()
