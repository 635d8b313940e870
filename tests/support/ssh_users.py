"""A user's own ~/.ssh, which ssh reads whatever HOME says."""

import getpass
import os
import shutil
import socket

import pytest
from user_home import UserHome

ME = getpass.getuser()
HOSTS = {"node7.cluster.example": "127.0.0.1", "node7.cluster.example.": "127.0.0.1"}


@pytest.fixture
def user(home, monkeypatch):
    """The test's home as that of plain ssh too; both know the hosts of a cluster."""
    made = UserHome(home.parent, HOSTS)
    monkeypatch.setenv("PATH", f"{made.tools}:{os.environ['PATH']}")
    monkeypatch.setenv("SHELL", shutil.which("bash"))
    monkeypatch.chdir(home.parent)
    asked = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo",
                        lambda host, *more, **options: asked(HOSTS.get(host, host), *more, **options))
    return made
