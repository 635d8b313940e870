"""config.json and overlay.json: defaults, checks, merging, many writers at once, files that are broken."""

import json
import os
import stat
import subprocess
import sys
import threading

import pytest
from clocks import Clock

from runicorn import settings
from runicorn.errors import NotFoundError, SettingsError, UsageError

GPU = {"name": "GPU Server 1", "host": "gpu-server.example.com", "user": "alice", "key": "~/.ssh/id_rsa"}


def test_no_file_means_defaults(home):
    assert settings.load(home) == {} and settings.connections(home) == []
    assert settings.preferences(home)["language"] == "auto"


def test_a_saved_connection_is_whole_and_private(home):
    saved = settings.save_connection(home, {**GPU, "password": "hunter2", "colour": "red"})
    assert saved["port"] == 22 and saved["interval"] == 30 and saved["small_only"] is True
    assert saved["colour"] == "red"
    assert settings.connections(home) == [saved]
    assert "hunter2" not in (home / "config.json").read_text()
    assert os.name != "posix" or stat.S_IMODE((home / "config.json").stat().st_mode) == 0o600


def test_saving_again_merges_and_keeps_what_we_do_not_know(home):
    home.mkdir()
    (home / "config.json").write_text(
        json.dumps({"root": "/data", "future": [1], "connections": [{**GPU, "new_option": 7}]}))
    settings.save_connection(home, {"name": "GPU Server 1", "interval": 60})
    config = settings.load(home)
    assert config["root"] == "/data" and config["future"] == [1]
    assert config["connections"][0]["new_option"] == 7 and config["connections"][0]["interval"] == 60
    assert config["connections"][0]["user"] == "alice"


def test_found_by_name_or_folder_and_removed(home):
    settings.save_connection(home, GPU)
    assert settings.connection(home, "gpu-server-1")["name"] == "GPU Server 1"
    settings.remove_connection(home, "GPU Server 1")
    with pytest.raises(NotFoundError, match="runicorn config ssh add"):
        settings.connection(home, "GPU Server 1")


@pytest.mark.parametrize("change, word", [
    ({"host": ""}, "host"), ({"host": "-oProxyCommand=x"}, "host"), ({"host": "a b"}, "host"),
    ({"user": "a$(id)"}, "user"), ({"port": 0}, "port"), ({"port": "22"}, "port"), ({"port": 2.5}, "port"),
    ({"auth": "magic"}, "auth"), ({"window": "1y"}, "window"),
    ({"interval": True}, "interval"), ({"large": 1}, "large"), ({"key": "a\nb"}, "key"),
    ({"mode": None}, "mode"),
])
def test_what_makes_no_sense_is_refused_by_name(home, change, word):
    with pytest.raises(UsageError, match=word):
        settings.save_connection(home, {**GPU, **change})
    assert settings.connections(home) == []


def test_two_names_never_share_a_mirror(home):
    settings.save_connection(home, GPU)
    with pytest.raises(UsageError, match="gpu-server-1"):
        settings.save_connection(home, {**GPU, "name": "gpu server 1"})


def test_one_bad_connection_does_not_hide_the_others(home, caplog):
    home.mkdir()
    (home / "config.json").write_text(
        json.dumps({"connections": [{"name": "x", "host": "h", "port": -1}, GPU]}))
    assert [one["name"] for one in settings.connections(home)] == ["GPU Server 1"]
    assert "port" in caplog.text


@pytest.mark.parametrize("broken, said", [
    (b'{"root":\n "/da', "config.json:2 is no JSON (Unterminated string"),
    (b'{"root":\n "/data"\n"x"', "config.json:3 is no JSON"),
    (b"[]", "is no JSON object"), (b'{"a": "\xff"}', "no text in UTF-8"),
])
def test_a_broken_file_is_reported_with_its_line_and_kept_aside_by_who_writes(home, caplog, broken, said):
    home.mkdir()
    (home / "config.json").write_bytes(broken)
    os.utime(home / "config.json", (1e9, 1e9))          # nobody is writing it
    assert settings.load(home) == settings.load(home) == {} and (home / "config.json").read_bytes() == broken
    assert caplog.text.count(said) == 1
    settings.save_connection(home, GPU)
    aside, = home.glob("config.json.broken-*")
    assert aside.read_bytes() == broken and aside.name in caplog.text and len(settings.connections(home)) == 1


def test_an_unreadable_file_is_one_sentence(home):
    (home / "config.json").mkdir(parents=True)
    with pytest.raises(SettingsError, match="config.json can't be read"):
        settings.load(home)


def test_a_change_that_fails_leaves_the_file_alone(home):
    settings.save_connection(home, GPU)
    before = (home / "config.json").read_bytes()
    with pytest.raises(ZeroDivisionError):
        settings.update(home, lambda config: config.clear() or 1 / 0)
    assert (home / "config.json").read_bytes() == before


def test_many_processes_lose_no_change(home):
    code = ("import sys\nfrom runicorn import settings\n"
            "for n in range(20): settings.update(sys.argv[1], lambda config: "
            "config.__setitem__(f'{sys.argv[2]}-{n}', n))")
    writers = [subprocess.Popen([sys.executable, "-c", code, str(home), str(number)]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(settings.load(home)) == 60


def test_preferences_merge_and_forget(home):
    settings.save_preferences(home, {"theme": "dark", "main_metric": {"vision": "val/loss"}})
    settings.save_preferences(home, {"main_metric": {"text": "ppl"}})
    chosen = settings.save_preferences(home, {"theme": None})
    assert chosen["main_metric"] == {"vision": "val/loss", "text": "ppl"} and chosen["theme"] == "auto"


def test_overlay_notes_without_touching_the_run(home):
    overlay = settings.Overlay(home)
    assert overlay.get("local:p/n/1") == {"tags": None, "note": None, "hidden": False}
    overlay.set("local:p/n/1", tags=["good"], note="NaN after 3 epochs")
    assert settings.Overlay(home).get("local:p/n/1") == {
        "tags": ["good"], "note": "NaN after 3 epochs", "hidden": False}
    overlay.set("local:p/n/1", tags=None, note=None)
    assert json.loads((home / "overlay.json").read_text())["runs"] == {}


def test_overlay_sees_what_another_process_wrote(home):
    clock = Clock(0.0)
    overlay = settings.Overlay(home, clock=clock)
    assert overlay.get("k")["hidden"] is False
    settings.Overlay(home).set("k", hidden=True)
    clock.now += 1
    assert overlay.get("k")["hidden"] is True


@pytest.mark.parametrize("changes", [{"tags": "a"}, {"tags": [1]}, {"hidden": "yes"}, {"name": "x"}])
def test_overlay_refuses_what_is_not_its_own(home, changes):
    with pytest.raises(UsageError):
        settings.Overlay(home).set("k", **changes)


@pytest.mark.parametrize("pasted, parts", [
    ("root@gpu.lab", ("gpu.lab", "root", 22)), ("gpu.lab:2222", ("gpu.lab", "", 2222)),
    ("ssh://bob@gpu.lab:2222", ("gpu.lab", "bob", 2222)),
    ("ssh://gpu.lab/", ("gpu.lab", "", 22)), ("sftp://bob@gpu.lab", ("gpu.lab", "bob", 22)),
    ("[::1]", ("::1", "", 22)), ("[::1]:2222", ("::1", "", 2222)),
    ("bob@[fe80::1]:22", ("fe80::1", "bob", 22)), ("::1", ("::1", "", 22)), ("GPU", ("GPU", "", 22)),
    ("fe80::1%eth0", ("fe80::1%eth0", "", 22)), ("10.0.0.7", ("10.0.0.7", "", 22)),
    (" gpu.lab ", ("gpu.lab", "", 22)),
])
def test_hosts_as_people_paste_them(pasted, parts):
    made = settings.checked({"host": pasted})
    assert (made["host"], made["user"], made["port"]) == parts


def test_a_pasted_host_that_says_another_user_or_port_is_asked_about():
    assert settings.checked({"host": "bob@gpu:2222", "user": "bob", "port": 2222})["host"] == "gpu"
    for given in ({"host": "bob@gpu", "user": "eve"}, {"host": "gpu:2222", "port": 22022}):
        with pytest.raises(UsageError, match="which is right"):
            settings.checked(given)


@pytest.mark.parametrize("pasted, root", [
    ("bob@gpu:/data/runs", "/data/runs"), ("bob@gpu:runs", "~/runs"), ("gpu:~/runs", "~/runs"),
    ("[::1]:/data", "/data")])
def test_a_pasted_path_is_the_remote_root_as_scp_has_it(pasted, root):
    made = settings.checked({"host": pasted})
    assert made["remote_root"] == root and made["host"] in ("gpu", "::1") and made["user"] in ("bob", "")
    with pytest.raises(UsageError, match="which is right"):
        settings.checked({"host": pasted, "remote_root": "/other"})


@pytest.mark.parametrize("pasted, words", [
    ("bob:hunter2@gpu", "holds a password"), ("ssh://bob:hunter2@gpu:22", "holds a password"),
    ("ssh://gpu:22/data", "ends in a path"), ("gpu:0", "from 1 to 65535"),
    ("a/b", "no name or address")])
def test_a_pasted_host_of_more_than_a_host_is_refused(pasted, words):
    with pytest.raises(UsageError, match=words) as caught:
        settings.checked({"host": pasted})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host",
                         ["ssh -p 2222 bob@gpu", "gpu; rm -rf /", "-oProxyCommand=x", "a b", "gpu|x", "$(x)"])
def test_what_is_no_host_is_refused_at_once(host):
    with pytest.raises(UsageError, match="does not allow"):
        settings.fits({"host": host})


@pytest.mark.parametrize("given, words", [
    ({"user": "a b"}, "does not allow"), ({"port": 0}, "from 1 to 65535"),
    ({"auth": "magic"}, "may be"),
    ({"name": "LAB"}, "would share the folder"), ({"host": "a/b"}, "no name or address")])
def test_each_field_of_a_connection_is_refused_by_itself(given, words):
    with pytest.raises(UsageError, match=words):
        settings.fits(given, [{"name": "lab", "host": "gpu"}])
    settings.fits({"name": "lab"}, [{"name": "lab", "host": "gpu"}])


@pytest.mark.parametrize("emptied", [b"", b'{"connections": [{"na'])
def test_a_file_that_is_being_saved_in_place_is_read_once_it_is_whole(home, emptied):
    settings.save_connection(home, GPU)
    whole = (home / "config.json").read_bytes()
    (home / "config.json").write_bytes(emptied)
    saving = threading.Timer(0.3, (home / "config.json").write_bytes, [whole])
    saving.start()
    assert [one["name"] for one in settings.connections(home)] == ["GPU Server 1"]
    saving.join()
    assert sorted(path.name for path in home.glob("config.json*")) == ["config.json", "config.json.lock"]


def test_a_broken_overlay_changes_nothing_until_it_is_mended(home):
    overlay = settings.Overlay(home)
    overlay.set("local:p/n/1", tags=["good"])
    (home / "overlay.json").write_text('{"runs": {')
    assert overlay.get("local:p/n/1")["tags"] == ["good"]
    assert (home / "overlay.json").read_text() == '{"runs": {'


@pytest.mark.skipif(os.name != "posix", reason="links need rights there")
def test_a_file_that_is_a_link_stays_one(home, tmp_path):
    home.mkdir()
    (tmp_path / "dotfiles.json").write_text('{"root": "/data"}')
    (home / "config.json").symlink_to(tmp_path / "dotfiles.json")
    settings.save_connection(home, GPU)
    assert (home / "config.json").is_symlink()
    assert json.loads((tmp_path / "dotfiles.json").read_text())["root"] == "/data"
    assert [one["name"] for one in settings.connections(home)] == ["GPU Server 1"]
