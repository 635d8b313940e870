"""What each system has its own way in SSH: folders, agents, pipes; Windows' half by what is handed in, and by
pipes and threads here."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from desks import (
    connect,
    desk,  # noqa: F401
    gets_in,
)
from waiting import until

from runicorn import layout, manifest, settings
from runicorn.errors import LineError
from runicorn.ssh import handshake, host_keys, keys, local, remote, user_config
from runicorn.ssh.process import Pipe

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def piped(monkeypatch):
    """Processes are started as on Windows: with pipes, which two threads join to a socket."""
    monkeypatch.setattr(local, "WINDOWS", True)


# -- folders -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("environ, expected", [
    ({"ProgramData": "C:\\ProgramData"}, "C:\\ProgramData\\ssh\\ssh_config"),
    ({"ProgramData": "D:\\PD"}, "D:\\PD\\ssh\\ssh_config"),
    ({}, os.devnull), ({"ProgramData": ""}, os.devnull), ({"ProgramData": "etc"}, os.devnull),
    ({"ProgramData": "\\etc"}, os.devnull)])
def test_files_for_all_users_come_from_program_data_alone(environ, expected):
    assert local.system_file("ssh_config", environ, windows=True) == expected
    assert local.system_file("ssh_config", environ, windows=False) == "/etc/ssh/ssh_config"


def test_no_other_module_names_a_folder_of_the_system():
    texts = {path.name: path.read_text(encoding="utf-8")
             for path in (Path(__file__).parents[2] / "runicorn").rglob("*.py")}
    named = [name for name, text in texts.items()
             if "/etc/ssh/ssh_config" in text or "/etc/ssh/ssh_known" in text]
    assert named == []


# -- agents --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path, is_pipe", [
    ("\\\\.\\pipe\\openssh-ssh-agent", True), ("//./pipe/pageant.me.1234", True), ("\\\\.\\PIPE\\X", True),
    ("/run/agent.sock", False), ("C:\\agent.sock", False), ("\\\\server\\pipe\\agent", False)])
def test_agents_of_windows_are_pipes_of_this_machine(path, is_pipe, monkeypatch):
    assert local.is_pipe(path) is is_pipe
    assert local.usual_agent({"SSH_AUTH_SOCK": path}, windows=True) == (path if is_pipe else None)
    assert local.usual_agent({"SSH_AUTH_SOCK": path}, windows=False) is None
    opened = []
    monkeypatch.setattr(os, "open", lambda *named: opened.append(named[0]) or 1 << 20)
    if is_pipe:
        local.agent_line(path, windows=True)
        assert [name.replace("/", "\\") for name in opened] == [path.replace("/", "\\")]
    else:
        with pytest.raises(OSError, match="named pipe"):
            local.agent_line(path, windows=True)


def test_a_pipe_in_use_is_tried_again(tmp_path, monkeypatch):
    """Whoever listens has as many instances of a pipe as it makes; while all are in use, opening one is
    EINVAL."""
    (tmp_path / "pipe").write_bytes(b"")
    real, tries = os.open, []

    def busy(path, flags):
        tries.append(path)
        if len(tries) < 3:
            raise OSError(22, "Invalid argument")
        return real(tmp_path / "pipe", os.O_RDWR)
    monkeypatch.setattr(os, "open", busy)
    line = local.agent_line("\\\\.\\pipe\\agent", windows=True)
    assert len(tries) == 3 and line.send(b"abc") == 3
    line.close()


# -- config and known hosts ----------------------------------------------------------------------------------

WRITERS = {"Notepad": lambda text: BOM + text.encode(), "PowerShell's >": lambda text: text.encode("utf-16"),
           "Notepad, UTF-16 BE": lambda text: b"\xfe\xff" + text.encode("utf-16-be"), "an editor": str.encode}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_byte_order_mark_utf16_and_crlf_change_nothing(tmp_path, write):
    """With a mark taken for text, the first Host block was one for all hosts; in UTF-16 there was none."""
    (tmp_path / "config").write_bytes(
        write("Host gpu\r\n  User alice\r\n  Port 2222\r\nHost *\r\n  User bob\r\n"))
    found = {host: user_config.lookup(host, paths=[tmp_path / "config"]) for host in ("gpu", "other")}
    assert [(one["user"], one["port"]) for one in found.values()] == [("alice", 2222), ("bob", 22)]
    assert user_config.hosts(paths=[tmp_path / "config"]) == ["gpu"]
    blob = "AAAAC3NzaC1lZDI1NTE5AAAAIJhMUTfYpTf4eoDCJsU1dmWvVf8CBm0R0y4W7d2bTqvC"
    (tmp_path / "known").write_bytes(write(f"gpu ssh-ed25519 {blob}\r\nother ssh-ed25519 {blob}\r\n"))
    assert [len(host_keys.read([tmp_path / "known"], name)) for name in ("gpu", "other")] == [1, 1]
    (tmp_path / "key.pub").write_bytes(write(f"ssh-ed25519 {blob} me\r\n"))
    assert keys._public_blob(tmp_path / "key.pub")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_how_config_json_was_written_loses_no_root(home, tmp_path, monkeypatch, write):
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.json").write_bytes(write('{"root": "/data/runs"}\r\n'))
    assert layout.default_root() == Path("/data/runs") and settings.preferences(home) is not None
    monkeypatch.chdir(tmp_path)
    assert manifest._root(None)[0] == "/data/runs"
    assert not list(home.glob("*.broken*"))


def test_names_with_spaces_are_one_file_each(tmp_path):
    (tmp_path / "config").write_text(
        'Host gpu\n  UserKnownHostsFile "C:\\Users\\A B\\known" "~/second  one"\n'
        '  GlobalKnownHostsFile "/x y/z"\n  IdentityAgent "\\\\.\\pipe\\my  agent"\n')
    (tmp_path / "escaped").write_text('Host gpu\n  IdentityAgent "\\\\\\\\.\\\\pipe\\\\my  agent"\n')
    assert user_config.lookup("gpu", paths=[tmp_path / "escaped"],
                              folder=tmp_path / ".ssh")["identityagent"] == "\\\\.\\pipe\\my  agent"
    found = user_config.lookup("gpu", paths=[tmp_path / "config"], folder=tmp_path / ".ssh")
    assert found["userknownhostsfile"] == ["C:\\Users\\A B\\known", f"{tmp_path}/second  one"]
    assert found["globalknownhostsfile"] == ["/x y/z"] and found["identityagent"] == "\\\\.\\pipe\\my  agent"


def test_a_known_host_in_a_file_with_a_space_is_known(sshd, tmp_path):
    """The key that such a file holds is not asked about."""
    (tmp_path / "A B").mkdir()
    (tmp_path / "A B" / "known").write_text(sshd.known_hosts if isinstance(sshd.known_hosts, str)
                                            else sshd.known_hosts.read_text())
    target = type("Target", (),
                  {"options": {"userknownhostsfile": [str(tmp_path / "A B" / "known")]},
                   "hostname": "127.0.0.1", "port": sshd.port, "name": "gpu"})
    assert handshake.Handshake(None, target, tmp_path, None, None)._lines


# -- pipes ---------------------------------------------------------------------------------------------------

ECHO = [sys.executable, "-c",
        "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer, 1 << 14)"]


def test_bytes_go_through_the_pipes_both_ways_at_once(piped):
    """20 MB there and back: neither side waits for the other to be read first."""
    pipe, data, came = Pipe(ECHO), os.urandom(1 << 20), []
    pipe.settimeout(30)

    def receive():
        while sum(map(len, came)) < 20 << 20:
            came.append(pipe.recv(1 << 16))
    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    for _ in range(20):
        view = memoryview(data)
        while view:
            view = view[pipe.send(view):]
    receiver.join(60)
    assert b"".join(came) == data * 20
    pipe.shutdown_write()
    assert pipe.recv(1) == b"" and pipe.process.wait(10) == 0
    pipe.close()


def test_a_process_that_ends_ends_the_stream_and_its_words_are_kept(piped):
    pipe = Pipe([sys.executable, "-c",
                 "import sys; print('bye'); sys.stdout.flush(); sys.exit('no such host')"])
    pipe.settimeout(30)
    assert b"".join(iter(lambda: pipe.recv(100), b"")).strip() == b"bye"
    assert pipe.process.wait(10) == 1 and pipe.said() == "no such host"
    pipe.close()


def test_closing_ends_a_process_that_listens_to_nothing(piped):
    before = threading.active_count()
    pipe = Pipe([sys.executable, "-c", "import time; time.sleep(600)"])
    pipe.close()
    assert pipe.process.poll() is not None
    until(lambda: threading.active_count() <= before, "the end of both threads")


def test_a_program_that_is_not_there(piped):
    with pytest.raises(LineError, match="can't be started"):
        Pipe(["no-such-program-anywhere"])


def test_a_command_is_one_line_for_the_shell_of_windows():
    line = local.shell_words('connect.exe -S "a b" %h', replaced=True, environ={"ComSpec": "C:\\cmd.exe"},
                             windows=True)
    assert line == 'C:\\cmd.exe /d /s /c "connect.exe -S "a b" %h"'
    assert local.shell_words("nc a b", replaced=True, environ={"SHELL": "/bin/zsh"}, windows=False) == [
        "/bin/zsh", "-c", "exec nc a b"]


def test_windows_flags_are_given(monkeypatch):
    asked = {}

    def refuse(command, **options):
        asked.update(options)
        raise OSError(2, "no")
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    with pytest.raises(OSError, match="no"):
        local.started(["ssh"], 2, windows=True)
    assert asked["creationflags"] & 0x08000000 and asked["stdin"] == asked["stdout"] == subprocess.PIPE


def test_the_systems_ssh_through_pipes(sshd, home, desk, piped):
    desk.config(sshd)
    assert gets_in(home)
    line = connect(home)
    client = line.open_sftp()
    assert client.realpath(".")
    line.close()


def test_a_proxy_command_through_pipes(sshd, home, desk, piped, tmp_path, monkeypatch):
    (tmp_path / "pipe.py").write_text("import socket, sys, threading, shutil\n"
                                      "line = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
                                      "def up():\n    while data := sys.stdin.buffer.raw.read(65536):\n"
                                      "        line.sendall(data)\n"
                                      "threading.Thread(target=up, daemon=True).start()\n"
                                      "while data := line.recv(65536):\n    sys.stdout.buffer.write(data); "
                                      "sys.stdout.buffer.flush()\n")
    (home.parent / ".ssh").mkdir()
    known = sshd.known_hosts if isinstance(sshd.known_hosts, str) else sshd.known_hosts.read_text()
    (home.parent / ".ssh" / "known_hosts").write_text(known)
    (home.parent / ".ssh" / "config").write_text(
        f"Host gpu\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n  IdentityFile {sshd.key}\n"
        f"  ProxyCommand {sys.executable} {tmp_path / 'pipe.py'} %h %p\n")
    words = local.shell_words
    monkeypatch.setattr(local, "shell_words", lambda *given, **more: words(*given, **more, windows=False))
    line = remote.connect(settings.checked({"host": "gpu", "auth": "key"}), home=home)
    try:
        assert line.open_sftp().realpath(".") and line.run("echo hello")[1] == b"hello\n"
    finally:
        line.close()


def test_no_socket_stays_open_where_nothing_starts(monkeypatch):
    made, pair = [], socket.socketpair
    monkeypatch.setattr(socket, "socketpair", lambda: made.extend(pair()) or tuple(made[-2:]))
    with pytest.raises(OSError, match="no-such-program"):
        local.started(["no-such-program-anywhere"], 2, windows=True)
    assert [end.fileno() for end in made] == [-1, -1]


def test_a_program_that_is_not_there_is_named_where_windows_does_not(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError(2, "The system cannot find the file specified")
    monkeypatch.setattr("subprocess.Popen", absent)
    for windows in (True, False):
        for command in (["no-such-program", "-x"], "no-such-program"):
            with pytest.raises(OSError, match="no-such-program"):
                local.started(command, None, windows=windows)
