"""The connections at work against a real sshd: save and start, pause, refusals, prompts, tests, browsing,
offers, cache."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from asking import AskingServer
from ports import free_port
from small_runs import run_folder
from sshd import Sshd, make_key
from waiting import until

from runicorn import settings
from runicorn.connections import doctor, sync_log
from runicorn.connections.questions import Questions
from runicorn.connections.registry import Registry
from runicorn.errors import DeniedError, LoginError, NotFoundError, SyncError, UsageError
from runicorn.mirror import local_copy, quota
from runicorn.news import Bell
from runicorn.ssh import remote

PATIENCE = 60               # s; how long a test waits, on a slow machine, for what takes a moment


@pytest.fixture
def bell():
    return Bell()


@pytest.fixture
def mirrors(home, bell):
    made = Registry(home, bell)
    yield made
    made.stop()


@pytest.fixture
def root(sshd):
    """The remote root, with one finished run and one that runs."""
    folder = sshd.home / ".runicorn" / "experiments"
    add_run(folder, "vision", "20250123_180000_abc123", "finished")
    add_run(folder, "vision", "20250123_190000_abc124", "running")
    return folder


def add_run(root, project, run_id, status):
    """A run of three days ago with a checkpoint."""
    meta = {"id": run_id, "project": project, "name": "resnet", "format": 1, "created_at": 1737653445.0}
    return run_folder(root, f"{project}/resnet/runs/{run_id}", {
        "meta.json": meta, "status.json": {"status": status, "started_at": 1737653445.0},
        "events.jsonl": '{"ts":1737653445.1,"step":1,"data":{"loss":0.5}}\n' * 100,
        "model.pt": os.urandom(5000)},
        time.time() - 3 * 86400)


def state(mirrors, *states, name="test"):
    return until(lambda: mirrors.row(name), wanted=lambda row: row["state"] in states)


def synced(mirrors):
    """Wait until the mirror is up to date and its index is on disk."""
    state(mirrors, "live")
    return until((mirrors.home / "cache" / "test" / ".index" / "full.json").exists)


def saved(mirrors, server, **changes):
    return mirrors.save(server.trusted_in(mirrors.home).connection(**changes))


# -- at work

def test_save_and_start_brings_the_runs_here(mirrors, sshd, root):
    row = saved(mirrors, sshd, name="GPU Server 1")
    assert row["slug"] == "gpu-server-1" and row["folder"].endswith("cache/gpu-server-1")
    row = state(mirrors, "live", name="GPU Server 1")
    assert row["runs"] == 2 and row["owner"] == {"pid": os.getpid(), "ours": True} and not row["has_password"]
    for run in root.glob("*/*/runs/*"):
        for path in run.iterdir():
            assert ((mirrors.home / "cache" / "gpu-server-1" / path.relative_to(root)).read_bytes()
                    == path.read_bytes())
    assert mirrors.cache.roots() == [("gpu-server-1", mirrors.home / "cache" / "gpu-server-1")]


def test_pause_hangs_up_and_start_goes_on(mirrors, sshd, root):
    saved(mirrors, sshd)
    state(mirrors, "live")
    assert mirrors.pause("test")["state"] == "paused"
    until(sshd.sessions, wanted=lambda sessions: not sessions)
    add_run(root, "text", "20250124_180000_abc125", "finished")
    assert mirrors.row("test")["enabled"] is False and mirrors.row("test")["runs"] == 2
    mirrors.start("test")
    until(lambda: mirrors.row("test"), wanted=lambda row: row["state"] == "live" and row["runs"] == 3)


@pytest.mark.long
def test_the_interval_is_how_soon_a_run_without_a_live_file_is_seen(mirrors, sshd, root):
    saved(mirrors, sshd, interval=1)
    state(mirrors, "live")
    add_run(root, "text", "20250124_180000_abc125", "running")
    until(lambda: mirrors.row("test"), wanted=lambda row: row["runs"] == 3)


def test_a_manual_connection_syncs_only_when_told(mirrors, sshd, root):
    saved(mirrors, sshd, mode="manual")
    mirrors.sync_now("test")
    until(lambda: mirrors.row("test"), wanted=lambda row: row["state"] == "live" and row["runs"] == 2)


@pytest.mark.long
def test_a_manual_connection_that_is_edited_while_it_syncs_is_synced_as_it_is_now(
        mirrors, sshd, root, monkeypatch):
    """Another process edits the saved settings, in the midst of a `sync once` of this one."""
    began, go_on, connect = threading.Event(), threading.Event(), remote.connect

    def connecting(*args, **options):
        began.set()
        assert go_on.wait(30)
        return connect(*args, **options)
    saved(mirrors, sshd, mode="manual", remote_root="~/elsewhere")
    monkeypatch.setattr(remote, "connect", connecting)
    mirrors.sync_now("test")
    assert began.wait(30)
    settings.save_connection(mirrors.home, {"name": "test", "remote_root": str(root)})
    mirrors.row("test")
    go_on.set()
    until(lambda: mirrors.row("test"), wanted=lambda row: row["state"] == "live" and row["runs"] == 2)
    settings.save_connection(mirrors.home, {"name": "test", "remote_root": "~/elsewhere"})
    state(mirrors, "paused")            # all that was asked for was done: nothing comes by itself


@pytest.mark.long
def test_another_rhythm_and_another_choice_of_files_need_no_new_login(mirrors, sshd, root):
    saved(mirrors, sshd, small_only=False)
    state(mirrors, "live")
    while any(thread.name == "bulk" for thread in threading.enumerate()):
        time.sleep(0.05)                # a new mirror dials a second line at once, and hangs it up
    logins = sshd.log.read_text().count("Accepted")
    mirrors.save({"name": "test", "interval": 600, "budget": 1 << 20})
    assert mirrors.row("test")["interval"] == 600
    assert state(mirrors, "live")["budget"] == 1 << 20
    assert sshd.log.read_text().count("Accepted") == logins
    mirrors.save({"name": "test", "small_only": True})
    copy = mirrors.home / "cache/test/vision/resnet/runs/20250123_180000_abc123/model.pt"
    until(copy.exists)
    assert sshd.log.read_text().count("Accepted") == logins
    mirrors.save({"name": "test", "remote_root": "~/elsewhere"})
    until(lambda: sshd.log.read_text().count("Accepted"), wanted=lambda count: count == logins + 1)


def test_a_lost_line_is_taken_up_again(mirrors, sshd, root):
    saved(mirrors, sshd)
    state(mirrors, "live")
    sshd.stop()
    row = state(mirrors, "offline")
    assert row["retry_at"] > time.time() - 1 and row["reason"]["text"]
    sshd.start()
    mirrors.reconnect("test")
    state(mirrors, "live")


def test_a_refused_login_is_tried_exactly_once(mirrors, home):
    with AskingServer() as server:
        server.trusted_in(home)
        mirrors.save(server.connection(), password="wrong guess")
        row = state(mirrors, "refused", name="asking")
        assert row["reason"]["code"] == "login" and "wrong guess" not in json.dumps(mirrors.list())
        time.sleep(2)
        assert server.attempts == ["password"] and server.connections == 1
        mirrors.save(server.connection(), password="open sesame")
        until(lambda: server.logins, wanted=lambda logins: logins == 1)
    assert "guess" not in (home / "logs" / "sync.log").read_text()
    assert "sesame" not in (home / "config.json").read_text()


@pytest.mark.long
def test_a_broken_ssh_config_is_a_refusal_and_mended_it_works(mirrors, sshd, root, home):
    config = home.parent / ".ssh" / "config"
    config.parent.mkdir()
    config.write_text('Host "127.0.0.1\n')
    saved(mirrors, sshd)
    assert "config:1" in state(mirrors, "refused")["reason"]["text"] and mirrors.hosts() == []
    config.write_text("Host gpu\n  HostName 127.0.0.1\n")
    mirrors.reconnect("test")
    state(mirrors, "live")


def test_settings_changed_by_another_process_are_followed(mirrors, sshd, root, home):
    saved(mirrors, sshd)
    state(mirrors, "live")
    other = Registry(home, Bell(), offline=True)
    assert other.row("test")["state"] == "offline"
    other.pause("test")
    assert until(lambda: mirrors.row("test"), wanted=lambda row: row["state"] == "paused")["enabled"] is False
    other.remove("test")
    assert mirrors.list() == []
    other.stop()


def test_unknown_names_and_nonsense(mirrors):
    with pytest.raises(NotFoundError, match="config ssh add"):
        mirrors.row("nothing")
    with pytest.raises(UsageError, match="port"):
        mirrors.save({"host": "h", "port": 99999})
    with pytest.raises(NotFoundError):
        mirrors.answer("nonsense", "yes")
    with pytest.raises(NotFoundError):
        mirrors.test_state("nonsense")
    assert mirrors.list() == []


@pytest.mark.few(1)
@pytest.mark.parametrize("options, here", [
    ({}, {"old/events.jsonl", "old/notes.md", "new/events.jsonl", "new/notes.md"}),
    ({"small_only": False}, {"old/events.jsonl", "new/events.jsonl"}),
    ({"small_limit": 10}, {"old/events.jsonl", "new/events.jsonl"}),
    ({"large": True}, {"old/events.jsonl", "old/notes.md", "old/model.pt", "new/events.jsonl", "new/notes.md",
                       "new/model.pt"}),
    ({"window": "24h"}, {"new/events.jsonl", "new/notes.md"}),
    ({"window": "7d"}, {"old/events.jsonl", "old/notes.md", "new/events.jsonl", "new/notes.md"}),
    ({"manifest": False}, {"old/events.jsonl", "old/notes.md", "new/events.jsonl", "new/notes.md"}),
])
def test_each_choice_of_the_form_decides_what_is_fetched(mirrors, sshd, options, here):
    root = sshd.home / ".runicorn" / "experiments"
    runs = {"old": add_run(root, "p", "20250123_180000_aaaaaa", "finished"),
            "new": add_run(root, "p", "20250124_180000_bbbbbb", "finished")}
    for name, run in runs.items():
        (run / "notes.md").write_text("small enough")
        (run / "model.pt").write_bytes(bytes(2 << 20))
        when = time.time() - (3 * 86400 if name == "old" else 3600)
        for path in (*run.iterdir(), run):
            os.utime(path, (when, when))
    saved(mirrors, sshd, **options)
    state(mirrors, "live")
    copy = mirrors.home / "cache" / "test" / "p" / "resnet" / "runs"
    found = {f"{name}/{path.name}" for name, run in runs.items() for path in (copy / run.name).glob("*")}
    assert found - {f"{name}/{small}.json" for name in runs for small in ("meta", "status")} == here
    assert mirrors.row("test")["runs"] == 2         # the list is whole whatever is fetched


def test_blocks_of_a_file_that_is_not_here_come_straight_from_the_server(mirrors, sshd, root):
    saved(mirrors, sshd, small_only=False)
    state(mirrors, "live")
    run = "test", "vision/resnet/runs/20250123_180000_abc123"
    data = (root / "vision/resnet/runs/20250123_180000_abc123/model.pt").read_bytes()
    assert mirrors.peek(*run, "model.pt", [(0, 10), (1000, 20), (-5, 5)]) == [
        data[:10], data[1000:1020], data[-5:]]
    assert not (mirrors.home / "cache/test/vision/resnet/runs/20250123_180000_abc123/model.pt").exists()
    assert mirrors.verify("test") == {"files": 6, "refetched": 0}
    with pytest.raises(UsageError, match="never deleted"):
        mirrors.drop("local", "vision/resnet/runs/20250123_180000_abc123")
    mirrors.drop(*run)
    assert not (mirrors.home / "cache/test/vision/resnet/runs/20250123_180000_abc123/events.jsonl").exists()


@pytest.mark.few(1)
@pytest.mark.parametrize("config, extra", [
    ({"MaxSessions": 1}, []),
    ({}, ["Match User *", "  ForceCommand internal-sftp -d {start}"]),
    ({"MaxSessions": 1, "AllowTcpForwarding": "no"}, [
        "Match User *", "  ForceCommand internal-sftp -d {start}", "  PermitTTY no"]),
    ({"Compression": "no"}, []),
])
def test_servers_that_allow_little_are_mirrored_all_the_same(mirrors, tmp_path, config, extra):
    start = tmp_path / "far"
    add_run(start / ".runicorn" / "experiments", "vision", "20250123_180000_abc123", "finished")
    with Sshd(tmp_path / "sshd", start=start, extra=[line.format(start=start) for line in extra],
              **config) as server:
        saved(mirrors, server)
        row = state(mirrors, "live", "refused", "offline")
        assert (row["state"], row["runs"]) == ("live", 1), row["reason"]
        assert (len(list((mirrors.home / "cache/test/vision/resnet/runs/20250123_180000_abc123").iterdir()))
                == 4)


# -- questions

def test_an_unknown_host_key_waits_for_trust(mirrors, sshd, root):
    mirrors.save(sshd.connection())
    row = state(mirrors, "waiting")
    assert row["question"]["kind"] == "host_key" and row["question"]["connection"] == "test"
    assert "topic" not in row["question"]
    mirrors.trust(row["question"]["id"])
    state(mirrors, "live")


def test_a_refused_host_key_stays_refused_until_somebody_acts(mirrors, sshd, root):
    mirrors.save(sshd.connection())
    mirrors.answer(state(mirrors, "waiting")["question"]["id"], "")
    assert state(mirrors, "refused")["reason"]["code"] == "host_key_unknown"
    mirrors.reconnect("test")
    mirrors.trust(state(mirrors, "waiting")["question"]["id"])
    state(mirrors, "live")


def test_a_one_time_code_is_relayed_to_the_page(mirrors, home):
    with AskingServer(["keyboard-interactive"], prompts=[("Code: ", False, "123456")]) as server:
        server.trusted_in(home)
        mirrors.save(server.connection())
        row = state(mirrors, "waiting", name="asking")
        assert row["question"]["kind"] == "code" and "Code:" in row["question"]["prompt"]
        assert row["question"]["echo"] is False
        mirrors.answer(row["question"]["id"], "123456")
        until(lambda: server.logins, wanted=lambda logins: logins == 1)


def test_stopping_does_not_wait_for_answers(home, bell, sshd):
    mirrors = Registry(home, bell)
    mirrors.save(sshd.connection())
    state(mirrors, "waiting")
    began = time.monotonic()
    mirrors.stop()
    assert time.monotonic() - began < PATIENCE      # not the five minutes a question stays open


# -- two at the same mirror

def test_a_second_viewer_follows_and_takes_over(mirrors, sshd, root, home):
    saved(mirrors, sshd)
    state(mirrors, "live")
    code = ("import sys,time\nfrom runicorn.news import Bell\nfrom runicorn.connections.registry import "
            "Registry\n"
            "mirrors = Registry(sys.argv[1], Bell())\nmirrors.start_all()\n"
            "while True:\n"
            "    row = mirrors.row('test')\n"
            "    print(row['state'], row['owner'] and row['owner']['pid'], "
            "row['owner'] and row['owner']['ours'], flush=True)\n"
            "    time.sleep(0.2)\n")
    second = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True)
    try:
        assert any(line.split()[1:] == [str(os.getpid()), "False"]
                   for _, line in zip(range(200), second.stdout))
        mirrors.stop()
        assert any(line.split() == ["live", str(second.pid), "True"]
                   for _, line in zip(range(300), second.stdout))
        third = Registry(home, Bell(), offline=True)
        assert third.row("test")["owner"] == {"pid": second.pid, "ours": False}
        third.stop()
    finally:
        second.kill()
        second.wait()
        second.stdout.close()


@pytest.mark.long
def test_three_viewers_in_one_home_each_with_its_own_connection(home, bell, sshd, root):
    sshd.trusted_in(home)
    names = ("one", "two", "three")
    setup = Registry(home, bell)
    for name in names:
        setup.save(sshd.connection(name=name), start=False)
    assert [row["reason"]["code"] for row in setup.list()] == ["not_started"] * 3
    viewers = [Registry(home, bell) for _ in names]
    for name, viewer in zip(names, viewers):
        viewer.start_all(only=[name])
    for name, viewer in zip(names, viewers):
        state(viewer, "live", name=name)
    for viewer, mine in zip(viewers, names):
        assert [row["owner"]["ours"] for row in viewer.list()] == [name == mine for name in names]
        until(viewer.list, wanted=lambda rows: [row["runs"] for row in rows] == [2, 2, 2])
    for one in (setup, *viewers):
        one.stop()


def test_one_server_that_is_down_holds_up_no_other(mirrors, sshd, root, tmp_path):
    mirrors.save(sshd.connection(name="down", port=free_port()))
    with AskingServer() as asking:
        mirrors.save(asking.trusted_in(mirrors.home).connection())         # waits for its password
        saved(mirrors, sshd)
        assert state(mirrors, "live")["runs"] == 2
        assert state(mirrors, "waiting", name="asking")["question"]["kind"] == "password"
        assert state(mirrors, "offline", name="down")["retry_at"]
        assert [row["name"] for row in mirrors.list()] == ["down", "asking", "test"]


# -- what is logged

def test_the_log_tells_the_story_without_secrets_and_is_rotated(home, monkeypatch):
    monkeypatch.setattr(sync_log, "LOG_BYTES", 2000)
    log = sync_log.opened(home, lambda: ["open sesame"])
    for number in range(100):
        log.info("login %d with open sesame\r\x1b[31mred\nsecond line", number,
                 extra={"connection": "GPU Server 1"})
    for handler in log.handlers:
        handler.close()
    files = sorted((home / "logs").iterdir())
    assert [path.name for path in files] == ["sync.log", "sync.log.1", "sync.log.2", "sync.log.3"]
    text = files[0].read_text()
    assert "[GPU Server 1] login 99 with *** " in text and "sesame" not in text and "\x1b" not in text
    assert "\r" not in text
    assert all(path.stat().st_size <= 2000 for path in files)


# -- tests, browsing, offers

def examined(mirrors, *arguments, **named):
    test = mirrors.test(*arguments, **named)
    return until(lambda: mirrors.test_state(test), wanted=lambda seen: seen["done"] or seen["question"])


def test_the_test_of_a_connection_not_saved_yet(mirrors, sshd, root):
    seen = examined(mirrors, sshd.connection())
    assert seen["question"]["kind"] == "host_key" and not seen["done"]
    mirrors.trust(seen["question"]["id"])
    seen = until(lambda: mirrors.test_state(seen["id"]), wanted=lambda seen: seen["done"])
    assert seen["ok"] and seen["browse"]
    assert [line["name"] for line in seen["lines"] if line["ok"] is False] == []
    assert mirrors.list() == []


def test_a_failed_test_says_where_and_what_to_do(mirrors, sshd, tmp_path):
    seen = examined(mirrors,
                    sshd.trusted_in(mirrors.home).connection(key=str(make_key(tmp_path / "stranger"))))
    assert not seen["ok"] and seen["lines"][-1]["name"] == "login" and seen["lines"][-1]["ok"] is False


def test_a_password_typed_for_the_test_serves_the_start(mirrors, home):
    with AskingServer() as server:
        server.trusted_in(home)
        examined(mirrors, server.connection(), password="open sesame")
        assert mirrors.save(server.connection())["has_password"] is True
        until(lambda: server.logins, wanted=lambda logins: logins == 2)


def test_browsing_counts_runs(mirrors, sshd, root):
    sshd.trusted_in(mirrors.home)
    here = mirrors.browse(sshd.connection(), "~/.runicorn")
    assert here == {"path": str(sshd.home / ".runicorn"), "parent": str(sshd.home), "runs": 0, "others": 0,
                    "least": False, "folders": [{"name": "experiments", "runs": 2, "inside": None,
                                                 "others": None, "least": False}]}
    above = mirrors.browse(sshd.connection(), here["parent"])["folders"]
    assert above == [{"name": ".runicorn", "runs": 0, "inside": 2, "others": None, "least": False}]
    assert mirrors.browse(sshd.connection(), f"{here['path']}/experiments")["runs"] == 2
    assert sshd.log.read_text().count("Accepted") == 1      # one line serves the next folder too


def test_a_refused_login_is_not_tried_again_by_browsing(mirrors, home):
    with AskingServer() as server:
        server.trusted_in(home)
        for _ in range(3):
            with pytest.raises(LoginError):
                mirrors.browse(server.connection(), "~", password=None)
            with pytest.raises(LoginError):
                mirrors.plan(server.connection())
        assert server.connections == 1
        with pytest.raises(DeniedError):        # this server lists nothing, but it let us in
            mirrors.browse(server.connection(), "/", password="open sesame")
        assert server.logins == 1


def test_an_empty_root_offers_where_the_runs_are(mirrors, sshd, root):
    (sshd.home / "experiments").mkdir()
    saved(mirrors, sshd, remote_root="~/experiments")
    row = until(lambda: mirrors.row("test"), wanted=lambda row: row["offer"])
    assert row["offer"] == [{"root": str(root), "runs": 2}]
    mirrors.save({"name": "test", "remote_root": row["offer"][0]["root"]})
    assert until(lambda: mirrors.row("test"), wanted=lambda row: row["runs"] == 2)["offer"] is None


# -- cache

def test_the_plan_counts_what_a_choice_would_fetch(mirrors, sshd, root):
    sshd.trusted_in(mirrors.home)
    before = mirrors.plan(sshd.connection())        # looked up there: nothing is mirrored yet
    saved(mirrors, sshd)
    synced(mirrors)
    assert mirrors.plan("test") == before
    own = mirrors.plan({**sshd.connection(), "small_only": False})
    small = mirrors.plan("test")
    assert small["files"] == own["files"] + 2 and small["bytes"] == own["bytes"] + 10000
    assert mirrors.plan({**sshd.connection(), "window": "24h"}) == {"files": 0, "bytes": 0}


def test_cleaning_takes_finished_runs_only_and_the_sync_leaves_them_out(mirrors, sshd, root, home):
    saved(mirrors, sshd)
    synced(mirrors)
    used = mirrors.cache.info()["used"]
    would = mirrors.cache_clean(older_than=1, dry_run=True)
    assert would == mirrors.cache_clean(older_than=1) and would["files"] == 2
    assert mirrors.cache.info()["used"] < used
    done = home / "cache" / "test" / "vision" / "resnet" / "runs" / "20250123_180000_abc123"
    assert sorted(path.name for path in done.iterdir()) == ["meta.json", "status.json"]
    assert (done.parent / "20250123_190000_abc124" / "model.pt").exists()
    before = mirrors.row("test")["last_news"]
    mirrors.sync_now("test")
    until(lambda: mirrors.row("test"),
          wanted=lambda row: row["state"] == "live" and row["last_news"] > before)
    assert not (done / "model.pt").exists()
    mirrors.want("test", "vision/resnet/runs/20250123_180000_abc123")
    until(lambda: (done / "model.pt").exists())


def test_mirrors_are_kept_below_their_size(home, bell, sshd, root):
    mirrors = Registry(home, bell, cache_size=30_000)
    saved(mirrors, sshd)
    synced(mirrors)
    until(lambda: mirrors.row("test"), wanted=lambda row: row["owner"])
    mirrors.cache._size = 15_000
    mirrors._trim()
    runs = home / "cache" / "test" / "vision" / "resnet" / "runs"
    assert not (runs / "20250123_180000_abc123" / "model.pt").exists()
    assert (runs / "20250123_190000_abc124" / "model.pt").exists()
    assert mirrors.cache.info()["limit"] == 15_000 and "made room" in (home / "logs" / "sync.log").read_text()
    mirrors.stop()


def test_what_is_opened_has_room_made_for_it_and_what_is_larger_than_the_limit_has_not(
        home, bell, sshd, root):
    runs = root / "vision" / "resnet" / "runs"
    (runs / "20250123_180000_abc123" / "model.pt").write_bytes(bytes(60_000))
    giant = add_run(root, "vision", "20250124_180000_abc124", "finished")
    (giant / "weights.pt").write_bytes(os.urandom(70_000))
    with open(giant / "logs.txt", "ab") as file:
        file.truncate(1 << 40)
    mirrors = Registry(home, bell, cache_size=110_000)
    saved(mirrors, sshd, large=True)
    synced(mirrors)
    here = home / "cache" / "test" / "vision" / "resnet" / "runs"
    assert (here / "20250124_180000_abc124" / "weights.pt").exists(), "the newest run comes first"
    assert not (here / "20250123_180000_abc123" / "model.pt").exists()
    assert quota.size_of(home / "cache") <= 110_000
    mirrors.want("test", "vision/resnet/runs/20250123_180000_abc123")
    mirrors.start_all()
    until(lambda: (here / "20250123_180000_abc123" / "model.pt").exists())
    assert not (here / "20250124_180000_abc124" / "weights.pt").exists()
    assert quota.size_of(home / "cache") <= 110_000
    assert not (here / "20250124_180000_abc124" / "logs.txt").exists()
    mirrors.stop()


@pytest.mark.long
def test_a_mirror_that_is_dropped_makes_room_at_once(home, bell, sshd, root):
    left_behind = home / "cache" / "gone"
    left_behind.mkdir(parents=True)
    (left_behind / "model.pt").write_bytes(bytes(25_000))
    mirrors = Registry(home, bell, cache_size=45_000)
    saved(mirrors, sshd, interval=3600)
    synced(mirrors)
    here = home / "cache" / "test" / "vision" / "resnet" / "runs"
    assert len(list(here.glob("*/model.pt"))) < 2
    assert state(mirrors, "live")["reason"]["code"] == "live_partly"
    mirrors.drop_mirror("gone")
    until(lambda: len(list(here.glob("*/model.pt"))) == 2)
    mirrors.stop()


def test_removing_keeps_the_mirror_unless_asked(mirrors, sshd, root, home):
    saved(mirrors, sshd)
    synced(mirrors)
    mirrors.remove("test")
    assert mirrors.list() == [] and [slug for slug, _ in mirrors.cache.roots()] == ["test"]
    saved(mirrors, sshd)
    synced(mirrors)
    mirrors.remove("test", drop_cache=True)
    assert mirrors.cache.roots() == [] and not (home / "cache" / "test").exists()


def test_offline_shows_everything_and_opens_no_line(home, bell, sshd, root):
    first = Registry(home, bell)
    saved(first, sshd)
    state(first, "live")
    first.stop()
    until(sshd.sessions, wanted=lambda sessions: not sessions)
    mirrors = Registry(home, bell, offline=True)
    mirrors.start_all()
    row = mirrors.row("test")
    assert (row["state"], row["reason"]["code"], row["runs"]) == ("offline", "offline_mode", 2)
    with pytest.raises(UsageError, match="offline"):
        mirrors.test("test")
    assert sshd.sessions() == []
    mirrors.stop()


# -- at once, and again --------------------------------------------------------------------------------------

def sync_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sync ")]


@pytest.mark.few(1)
@pytest.mark.parametrize("saving", [False, True], ids=["started", "started and saved"])
def test_many_starts_at_once_make_one_thread(mirrors, sshd, root, saving):
    saved(mirrors, sshd)
    state(mirrors, "live")
    for turn in range(15):
        mirrors.pause("test")
        mirrors._get("test").stop()
        mirrors._get("test").join()
        barrier = threading.Barrier(6)

        def begin(number, barrier=barrier, turn=turn):
            barrier.wait()
            if saving and number % 2:
                mirrors.save({"name": "test", "budget": (1 << 20) + turn})
            else:
                (mirrors.start if number % 3 else mirrors.sync_now)("test")
        threads = [threading.Thread(target=begin, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(sync_threads, wanted=lambda names: len(names) == 1)
    assert state(mirrors, "live")["owner"]["ours"] and sync_threads() == ["sync test"]


@pytest.mark.long
def test_the_line_of_browsing_stays_while_somebody_browses(mirrors, sshd, root, monkeypatch):
    monkeypatch.setattr("runicorn.connections.browsing.BROWSE_SECONDS", 0.4)
    saved(mirrors, sshd, start=False)
    lines = set()
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert mirrors.browse("test", str(root))["folders"][0]["name"] == "vision"
        lines.add(id(mirrors._browsing._line.remote))
    assert len(lines) == 1, "one login for all of it"
    until(lambda: mirrors._browsing._line is None)


@pytest.mark.long
def test_a_slow_folder_is_not_cut_by_the_timer(mirrors, sshd, root, monkeypatch):
    monkeypatch.setattr("runicorn.connections.browsing.BROWSE_SECONDS", 0.2)
    saved(mirrors, sshd, start=False)
    browse = doctor.browse
    monkeypatch.setattr(doctor, "browse", lambda client, path: time.sleep(0.6) or browse(client, path))
    for _ in range(3):
        assert mirrors.browse("test", str(root))["folders"]


def test_a_mirror_that_no_connection_has_can_be_deleted(mirrors, sshd, root):
    saved(mirrors, sshd)
    synced(mirrors)
    with pytest.raises(UsageError, match="remove that"):
        mirrors.drop_mirror("test")
    mirrors.remove("test")
    assert (mirrors.home / "cache" / "test").exists()
    mirrors.drop_mirror("test")
    assert mirrors.cache.roots() == []
    for slug in ("test", "..", ""):
        with pytest.raises(NotFoundError):
            mirrors.drop_mirror(slug)


def test_the_question_of_an_abandoned_test_is_not_the_connection_s():
    questions = Questions(Bell())
    asking = threading.Thread(target=questions.ask,
                              args=("gpu", {"kind": "password", "prompt": "Password:"}, "test:1"),
                              daemon=True)
    asking.start()
    assert until(lambda: questions.waiting(topic="test:1"))["kind"] == "password"
    assert questions.waiting("gpu") is None
    questions.withdraw()
    asking.join(10)
    assert not asking.is_alive()


@pytest.mark.long
def test_a_mirror_that_another_process_syncs_is_dropped_once_that_lets_go(home, bell, mirrors, sshd, root):
    """As `config ssh remove --drop-cache` does beside a viewer, which notices that its connection is gone."""
    beside = Registry(home, bell)
    try:
        saved(beside, sshd)
        beside.start_all()
        state(beside, "live")
        folder = home / "cache" / "test"
        assert folder.is_dir() and local_copy.LocalCopy(folder).owner() == os.getpid()
        mirrors.remove("test", drop_cache=True)
        assert not folder.exists() and mirrors.list() == []
    finally:
        beside.stop()


@pytest.mark.long
def test_a_mirror_that_nobody_lets_go_is_named_and_the_connection_is_gone(
        home, mirrors, sshd, root, monkeypatch):
    monkeypatch.setattr("runicorn.connections.cache.LET_GO_SECONDS", 0.3)
    mirrors.save(sshd.connection(remote_root=str(root)), start=False)
    held = local_copy.LocalCopy(home / "cache" / "test")
    held.lock()
    try:
        with pytest.raises(SyncError,
                           match=f"test is removed, but the mirror .*process {os.getpid()}.*settings page"):
            mirrors.remove("test", drop_cache=True)
        assert mirrors.list() == [] and held.folder.exists()
    finally:
        held.unlock()
