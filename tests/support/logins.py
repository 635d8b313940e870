"""Logins to a real sshd: an agent, a user who answers, a connection."""

import socket
import subprocess
import time

import pytest

from runicorn import settings
from runicorn.ssh import remote


def connect(server, home, ask=None, secrets=None, **changes):
    server.trusted_in(home)
    return remote.connect(settings.checked(server.connection(**changes)), ask, secrets, home)


class User:
    """Somebody who answers questions by their kind, and remembers them."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def __call__(self, question):
        self.asked.append(question)
        return self.answers.get(question["kind"])


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """A real ssh-agent; returns add(key path)."""
    path = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(str(path)):      # bound is not yet listening
            time.sleep(0.01)
    yield lambda path: subprocess.run(["ssh-add", "-q", str(path)], check=True, capture_output=True)
    process.terminate()
    process.wait()
