"""config.json edited by hand, or by another process, while connections are at work over a real sshd: what an
editor leaves for a moment ends nothing, and what it says in the end holds."""

import json
import os
import threading
import time

import pytest
from pairs import make_run, tree
from sshd import Sshd
from waiting import until

from runicorn import settings
from runicorn.connections.registry import Registry
from runicorn.news import Bell

RUN = "p/n/runs/20250123_180000_abc123"


@pytest.fixture
def root(tmp_path):
    make_run(tmp_path / "far", RUN)
    return tmp_path / "far"


@pytest.fixture
def mirrors(home, sshd, root):
    sshd.trusted_in(home)
    settings.save_connection(home, sshd.connection(name="gpu", remote_root=str(root), interval=1))
    made = Registry(home, Bell())
    yield made
    made.stop()


def is_live(mirrors, name="gpu"):
    return lambda: mirrors.row(name)["state"] == "live"


def at_work(mirrors):
    """Start the connection and return its thread's Sync."""
    mirrors.start_all()
    until(is_live(mirrors))
    return mirrors._connections["gpu"].sync


def edited(home, **changes):
    """Return the text of config.json with `changes` of its first connection."""
    config = json.loads((home / "config.json").read_text())
    config["connections"][0].update(changes)
    return json.dumps(config)


def truncating(file, text, pause):
    """Save as an editor that writes in place: empty the file, then fill it, in two parts."""
    with open(file, "w") as opened:
        for part in (text[:len(text) // 2], text[len(text) // 2:]):
            time.sleep(pause / 2)
            opened.write(part)
            opened.flush()


def moving_away(file, text, pause):
    """Save as an editor that keeps the old file under another name, and writes the new one after that."""
    os.replace(file, f"{file}~")
    time.sleep(pause)
    file.write_text(text)


@pytest.mark.few(1)
@pytest.mark.parametrize("save, pause", [(truncating, 0.6), (moving_away, 0.15)])
def test_an_editor_that_is_saving_ends_no_connection(mirrors, home, save, pause):
    work = at_work(mirrors)
    thread = threading.Thread(target=save, args=(home / "config.json", edited(home, interval=7), pause))
    thread.start()
    while thread.is_alive():
        assert [row["name"] for row in mirrors.list()] == ["gpu"]
        time.sleep(0.01)
    until(lambda: mirrors.row("gpu")["interval"] == 7)
    assert mirrors._connections["gpu"].sync is work and is_live(mirrors)()
    assert list(home.glob("config.json.broken-*")) == []


def test_a_mistake_in_the_file_ends_no_connection_and_is_left_to_be_mended(mirrors, home, caplog):
    work, good = at_work(mirrors), edited(home, interval=8)
    (home / "config.json").write_text(good.replace("{", "", 1))
    until(lambda: "nothing in it counts until it is mended" in caplog.text)
    assert mirrors.row("gpu")["interval"] == 1 and is_live(mirrors)()
    (home / "config.json").write_text(good)
    until(lambda: mirrors.row("gpu")["interval"] == 8)
    assert mirrors._connections["gpu"].sync is work and caplog.text.count("is no JSON") == 1
    assert list(home.glob("config.json.broken-*")) == []


@pytest.mark.few(1)
@pytest.mark.parametrize("only", [None, ["gpu"]])
def test_a_connection_that_was_taken_out_and_put_back_works_again(mirrors, home, only):
    mirrors.start_all(only=only)
    until(is_live(mirrors))
    text = (home / "config.json").read_text()
    (home / "config.json").write_text(json.dumps({"connections": []}))
    until(lambda: mirrors.list() == [])
    (home / "config.json").write_text(text)
    until(is_live(mirrors))


def test_a_paused_connection_that_is_enabled_by_hand_begins_to_work(mirrors, home):
    (home / "config.json").write_text(edited(home, enabled=False))
    mirrors.start_all()
    assert mirrors.row("gpu")["state"] == "paused"
    (home / "config.json").write_text(edited(home, enabled=True))
    until(is_live(mirrors))


def test_a_connection_added_by_another_process_works_whoever_looks_first(mirrors, home, sshd, root):
    mirrors.start_all()
    settings.save_connection(home, sshd.connection(name="second", remote_root=str(root)))
    # as an open page asks, before the look every two seconds
    assert [row["name"] for row in mirrors.list()] == ["gpu", "second"]
    until(is_live(mirrors, "second"))


def test_a_viewer_for_one_connection_leaves_those_alone_that_are_added(mirrors, home, sshd):
    mirrors.start_all(only=["gpu"])
    settings.save_connection(home, sshd.connection(name="second"))
    assert mirrors.row("second")["state"] == "paused" and not mirrors._connections["second"].sync


def test_saved_without_a_start_it_does_not_start(mirrors, sshd):
    mirrors.start_all()
    row = mirrors.save(sshd.connection(name="second"), start=False)
    assert row["state"] == "paused" and not mirrors._connections["second"].sync


@pytest.mark.few(1)
@pytest.mark.parametrize("change", ["alias", "port", "remote_root"])
def test_another_server_or_root_by_hand_is_gone_to(mirrors, home, root, tmp_path, change):
    at_work(mirrors)
    other = tmp_path / "other"
    make_run(other, RUN.replace("abc123", "abc999"))
    with Sshd(tmp_path / "second") as second:
        second.trusted_in(home)
        ssh = home.parent / ".ssh"
        ssh.mkdir(exist_ok=True)
        (ssh / "config").write_text(f"Host box\n  HostName 127.0.0.1\n  Port {second.port}\n")
        key = " ".join(second.host_key.read_text().split()[:2])
        with open(home / "known_hosts", "a") as known:
            known.write(f"box {key}\n[box]:{second.port} {key}\n")
        changes = {"alias": {"host": "box", "port": 22, "key": str(second.key)},
                   "port": {"port": second.port, "key": str(second.key)},
                   "remote_root": {"remote_root": str(other)}}[change]
        (home / "config.json").write_text(edited(home, **changes))
        wanted = tree(other if change == "remote_root" else root)
        until(lambda: is_live(mirrors)()
              and mirrors.row("gpu")[next(iter(changes))] == changes[next(iter(changes))]
              and tree(home / "cache" / "gpu") == wanted)
        assert (home / "cache" / "gpu~1").is_dir()          # what it led to before is still to be seen
