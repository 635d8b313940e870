"""A desk with a terminal, at which the system's own ssh asks its questions."""

import os
import shutil
import subprocess

import pytest

from runicorn import settings
from runicorn.ssh import remote

SSH, SFTP = shutil.which("ssh"), shutil.which("sftp")


class Desk:
    """A person's machine: `ssh` in a folder of PATH reads `folder`/config and its known_hosts, as do plain
    ssh and sftp."""

    def __init__(self, folder):
        self.folder, self.known = folder, folder / "known"
        self.known.write_text("")
        (folder / "bin").mkdir()
        self.script("exec", f'{SSH} -F {folder / "config"} "$@"')

    def script(self, *words):
        (self.folder / "bin" / "ssh").write_text(f"#!/bin/sh\n{' '.join(words)}\n")
        (self.folder / "bin" / "ssh").chmod(0o755)

    def config(self, server, *lines, name="gpu", above="", trusted=True):
        if trusted:
            with self.known.open("a") as file:
                file.write(server.known_hosts if isinstance(server.known_hosts, str)
                           else server.known_hosts.read_text())
        usual = [f"Host {name}", "HostName 127.0.0.1", f"Port {server.port}", f"User {server.user}",
                 f"IdentityFile {server.key}", f"UserKnownHostsFile {self.known}"]
        with (self.folder / "config").open("a") as file:
            file.write(above + "\n  ".join([*usual, *lines]) + "\n")

    def plain(self, program, *arguments):
        """Run plain ssh or sftp without a terminal, as a person's script would. Returns the finished
        process."""
        command = [program, "-F", str(self.folder / "config"), "-oBatchMode=yes", *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              start_new_session=True)

    def sftp(self, host="gpu"):
        return self.plain(SFTP, "-b", "/dev/null", host)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    (tmp_path / "desk").mkdir()
    made = Desk(tmp_path / "desk")
    monkeypatch.setenv("PATH", f"{made.folder / 'bin'}:{os.environ['PATH']}")
    return made


def connect(home, host="gpu", **changes):
    return remote.connect(settings.checked({"host": host, "auth": "system", **changes}), home=home)


def gets_in(home, **changes):
    line = connect(home, **changes)
    try:
        client = line.open_sftp()
        return bool(client.realpath(".")) and line.run("echo hello")[1] == b"hello\n" and line.probe_exec()
    finally:
        line.close()
