"""The way to the server: ~/.ssh/config, jump hosts, ProxyCommand, IPv6, and the system's own ssh."""

import socket
import sys

import pytest
from asking import AskingServer
from sshd import Sshd, make_key

from runicorn import settings
from runicorn.errors import HostKeyError, LineError, LoginError, RemoteError, UsageError
from runicorn.ssh import remote, system_remote


@pytest.fixture
def config(home):
    """Writes ~/.ssh/config: config(text)."""
    folder = home.parent / ".ssh"
    folder.mkdir()
    return (folder / "config").write_text


@pytest.fixture
def gate(tmp_path):
    with Sshd(tmp_path / "gate") as server:
        yield server


def connect(home, host="gpu", ask=None, log=None, secrets=None, **changes):
    return remote.connect(settings.checked({"host": host, **changes}), ask, secrets, home, log)


def block(name, server, *lines, host="127.0.0.1"):
    usual = [f"Host {name}", f"HostName {host}", f"Port {server.port}", f"User {server.user}",
             f"IdentityFile {server.key}"]
    return "\n  ".join([*usual, *lines]) + "\n"


def works(line):
    names = line.open_sftp().listdir(".")
    line.close()
    return isinstance(names, list)


def test_a_host_of_the_ssh_config_needs_only_its_name(sshd, home, config):
    config(block("gpu", sshd))
    assert works(connect(home, ask=lambda question: "yes"))
    assert f"[127.0.0.1]:{sshd.port}" in (home / "known_hosts").read_text()
    assert remote.hosts() == [{"host": "gpu", "hostname": "127.0.0.1", "user": sshd.user, "port": sshd.port,
                               "key": str(sshd.key), "jump": None}]


def test_a_host_key_alias_and_a_known_hosts_file_of_ones_own(sshd, home, config, tmp_path):
    key = " ".join(sshd.host_key.read_text().split()[:2])
    (tmp_path / "own_hosts").write_text(f"cluster {key}\n")
    config(block("gpu", sshd, "HostKeyAlias cluster", f"UserKnownHostsFile {tmp_path / 'own_hosts'}"))
    assert works(connect(home))


def test_a_jump_host_is_checked_and_logged_in_for_itself(sshd, gate, home, config):
    config(block("gpu", sshd, "ProxyJump gate") + block("gate", gate))
    asked, passed = [], []

    def trust(question):
        asked.append(question["host"])
        return "yes"
    assert works(connect(home, ask=trust, log=lambda stage, text, **_: passed.append(stage)))
    assert asked == [f"[127.0.0.1]:{gate.port}", f"[127.0.0.1]:{sshd.port}"]
    assert passed.count("login") == 2 and passed.count("jump") == 1
    gate.new_host_key()
    with pytest.raises(HostKeyError, match=f"{gate.port}.*CHANGED"):
        connect(home)


def test_two_jumps_in_a_row(sshd, gate, home, config, tmp_path):
    with Sshd(tmp_path / "second") as second:
        config(block("gpu", sshd, f"ProxyJump gate,{second.user}@second:{second.port}") + block("gate", gate)
               + block("second", second))
        line = connect(home, ask=lambda question: "yes")
        assert line.open_sftp().realpath(".") == str(sshd.home)
        other = line.second()
        assert other.run("echo over two gates")[1] == b"over two gates\n"
        other.close()
        line.close()


def test_a_jump_host_may_ask_for_a_code(sshd, home, config):
    with AskingServer(["keyboard-interactive"], prompts=[("Code: ", False, "7")]) as gate:
        gate.trusted_in(home)
        sshd.trusted_in(home)
        config(block("gpu", sshd, f"ProxyJump alice@127.0.0.1:{gate.port}"))
        # it lets us in and forwards nothing
        with pytest.raises(RemoteError, match=f"way from 127.0.0.1 to 127.0.0.1:{sshd.port}"):
            connect(home, ask=lambda question: "7")
        assert gate.logins == 1


def test_what_is_typed_for_a_jump_host_is_kept_for_the_next_line(sshd, gate, home, config, tmp_path):
    locked = make_key(tmp_path / "locked", "correct horse")
    with (gate.folder / "authorized_keys").open("a") as file:
        file.write((tmp_path / "locked.pub").read_text())
    gate.trusted_in(home)
    sshd.trusted_in(home)
    config(block("gpu", sshd, "ProxyJump gate") + block("gate", gate).replace(str(gate.key), str(locked)))
    asked, secrets = [], {}

    def answer(question):
        asked.append(question["kind"])
        return "correct horse"
    line = connect(home, ask=answer, secrets=secrets)
    line.second().close()
    line.close()
    connect(home, secrets=secrets).close()
    assert asked == ["passphrase"]


def test_a_jump_host_that_forwards_nothing(sshd, home, config, tmp_path):
    with Sshd(tmp_path / "gate", AllowTcpForwarding="no") as gate:
        config(block("gpu", sshd, "ProxyJump gate") + block("gate", gate))
        with pytest.raises(RemoteError, match="the way from gate .*said no"):
            connect(home, ask=lambda question: "yes")


def test_a_host_behind_a_jump_host_that_is_down_is_tried_again(sshd, gate, home, config):
    gate.trusted_in(home)
    sshd.trusted_in(home)
    config(block("gpu", sshd, "ProxyJump gate") + block("gate", gate))
    sshd.stop()
    try:
        with pytest.raises(LineError, match="the way from gate to .* could not make it"):
            connect(home)
    finally:
        sshd.start()
    connect(home).close()


def test_a_refused_jump_names_the_jump_host(sshd, gate, home, config, tmp_path):
    gate.trusted_in(home)
    config(block("gpu", sshd, "ProxyJump other")
           + block("other", gate).replace(str(gate.key), str(make_key(tmp_path / "stranger"))))
    with pytest.raises(LoginError, match="@other"):
        connect(home)


def test_a_circle_of_jumps(home, config):
    config("Host gpu gate\n  ProxyJump gate\n")
    with pytest.raises(RemoteError, match="circle"):
        connect(home)


def test_a_proxy_command(sshd, home, config):
    pipe = ("import socket,sys,threading,os\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
            "def up():\n"
            "    while (d:=os.read(0,65536)): s.sendall(d)\n"
            "    s.shutdown(1)\n"
            "threading.Thread(target=up,daemon=True).start()\n"
            "while (d:=s.recv(65536)): os.write(1,d)\n")
    (home.parent / "pipe.py").write_text(pipe)
    config(block("gpu", sshd, f'ProxyCommand {sys.executable} "{home.parent / "pipe.py"}" %h %p'))
    assert works(connect(home, ask=lambda question: "yes"))


def test_a_proxy_command_that_fails(sshd, home, config):
    config(block("gpu", sshd, "ProxyCommand false"))
    with pytest.raises(LineError, match="said nothing"):
        connect(home)


def test_a_broken_config_is_told(home, config):
    config('Host gpu\n  HostName "x\n')
    with pytest.raises(UsageError, match="config:2"):
        connect(home)


def test_ipv6(tmp_path, home):
    assert socket.has_ipv6
    with Sshd(tmp_path / "sshd", address="::1") as server:
        server.trusted_in(home)
        line = connect(home, "::1", port=server.port, user=server.user, key=str(server.key))
        assert works(line)
        assert f"[::1]:{server.port}" in (home / "known_hosts").read_text()


# -- the system's ssh

def test_the_systems_ssh(sshd, home):
    line = remote.connect(settings.checked(sshd.trusted_in(home).connection(auth="system")), home=home)
    assert isinstance(line, system_remote.SystemRemote)
    client = line.open_sftp()
    assert client.realpath(".") == str(sshd.home)
    data = bytes(range(256)) * 2000
    assert line.run("cat; echo oh >&2; exit 3", data)[:2] == (3, data) and line.probe_exec() is True
    other = line.second()
    assert other.open_sftp().realpath("/") == "/" and line.bytes_received > 2000
    other.close()
    line.close()
    assert not line.alive


def test_without_paramiko_keys_go_through_the_systems_ssh(sshd, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    line = remote.connect(settings.checked(sshd.trusted_in(home).connection()), home=home)
    assert isinstance(line, system_remote.SystemRemote) and works(line)


def test_what_the_systems_ssh_says_becomes_our_error(sshd, home, tmp_path):
    system = sshd.connection(auth="system")
    home.mkdir()
    (home / "known_hosts").write_text("")
    with pytest.raises(HostKeyError, match="run `ssh -p .* 127.0.0.1` once"):
        remote.connect(settings.checked(system), home=home)
    sshd.trusted_in(home)
    with pytest.raises(LoginError, match="Permission denied .publickey.*not tried again"):
        remote.connect(settings.checked({**system, "key": str(make_key(tmp_path / "stranger"))}), home=home)
    sshd.new_host_key()
    with pytest.raises(HostKeyError, match="CHANGED.*ssh-keygen -R"):
        remote.connect(settings.checked(system), home=home)
    sshd.stop()
    with pytest.raises(LineError, match="refused"):
        remote.connect(settings.checked(system), home=home)


def test_a_cut_line_under_the_systems_ssh(sshd, home):
    line = remote.connect(settings.checked(sshd.trusted_in(home).connection(auth="system")), home=home)
    client = line.open_sftp()
    sshd.cut()
    with pytest.raises(LineError):
        client.realpath(".")
    line.close()
