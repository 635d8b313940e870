"""A machine short of files, threads or memory: a connection says so, is no less wanted, and goes on when it
has them again."""

import errno
import json
import os
import socket
import threading
import time

import pytest
from small_runs import write_run
from waiting import until

from runicorn.connections.registry import Registry
from runicorn.news import Bell


@pytest.fixture
def shortage(monkeypatch):
    """shortage(error) makes every thread but the test's own short of what `error` says until
    shortage.over()."""
    class Short:
        error = None

        def __call__(self, error):
            self.error = error

        def over(self):
            self.error = None

        def here(self):
            if self.error and threading.current_thread() is not threading.main_thread():
                raise self.error

        def memory(self):
            if isinstance(self.error, MemoryError):
                self.here()
    short = Short()

    class Socket(socket.socket):
        def __init__(self, *args, **options):
            short.here()
            super().__init__(*args, **options)
    loads = json.loads
    monkeypatch.setattr(socket, "socket", Socket)
    monkeypatch.setattr(json, "loads", lambda *args, **options: (short.memory(), loads(*args, **options))[1])
    return short


@pytest.fixture
def mirrored(tmp_path, home, sshd):
    """A Registry whose connection "gpu" is live, with the run of tmp_path/far/root."""
    write_run(tmp_path / "far" / "root", "vision", "one", "20250123_180000_abc123")
    sshd.trusted_in(home)
    mirrors = Registry(home, Bell())
    mirrors.save(sshd.connection(name="gpu", remote_root="~/root"), start=True)
    until(lambda: mirrors.row("gpu")["state"] == "live")
    yield mirrors
    mirrors.stop()


@pytest.mark.few(1)
@pytest.mark.parametrize("error, detail", [
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files"),
    (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), "Too many open files in system"),
    (OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)), "No buffer space available"),
    (MemoryError(), "Cannot allocate memory"),
    (RuntimeError("can't start new thread"), "can't start new thread")])
def test_a_connection_says_what_the_machine_is_short_of_and_goes_on_afterwards(
        tmp_path, sshd, mirrored, shortage, error, detail):
    shortage(error)
    sshd.restart()
    write_run(tmp_path / "far" / "root", "vision", "two", "20250124_180000_abc124")
    seen = []
    until(lambda: seen.append(mirrored.row("gpu")) or seen[-1]["reason"]["code"] == "short")
    assert seen[-1]["state"] == "offline" and seen[-1]["reason"]["detail"] == detail
    test = mirrored.test("gpu")
    until(lambda: mirrored.test_state(test)["done"])
    last = mirrored.test_state(test)["lines"][-1]
    assert (last["ok"], last["said"], last["detail"], last["advice"]) == (
        False, "short_of", detail, "try again in a moment")
    time.sleep(3)
    seen.append(mirrored.row("gpu"))
    shortage.over()
    until(lambda: seen.append(mirrored.row("gpu")) or (seen[-1]["state"], seen[-1]["runs"]) == ("live", 2))
    assert {row["state"] for row in seen} <= {"live", "offline", "connecting", "syncing"}


def test_no_descriptor_for_the_mirror_is_no_full_disk_and_costs_no_line(tmp_path, mirrored, monkeypatch):
    """The line stays; what could not be written is written afterwards."""
    real = os.open

    def full(path, *args, **options):
        if short and threading.current_thread() is not threading.main_thread():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        return real(path, *args, **options)
    monkeypatch.setattr(os, "open", full)
    short = True
    write_run(tmp_path / "far" / "root", "vision", "two", "20250124_180000_abc124")
    mirrored.sync_now("gpu")
    until(lambda: mirrored.row("gpu")["reason"]["code"] == "short")
    row = mirrored.row("gpu")
    assert row["state"] == "paused"
    assert row["reason"]["text"].startswith("this machine is short of open files")
    short = False
    until(lambda: (mirrored.row("gpu")["state"], mirrored.row("gpu")["runs"]) == ("live", 2))


def test_an_address_of_a_family_that_this_machine_lacks_is_passed_over(mirrored, monkeypatch, sshd):
    found = socket.getaddrinfo
    gone = [(42, socket.SOCK_STREAM, 6, "", ("::1", sshd.port, 0, 0))]         # no machine has that family
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: gone + found(*args, **options))
    test = mirrored.test("gpu")
    until(lambda: mirrored.test_state(test)["done"])
    assert mirrored.test_state(test)["ok"]
