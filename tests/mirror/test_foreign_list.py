"""Which runs of other loggers a connection lists: by the server's manifest, by python3 there and by SFTP
alone the same as on its disk."""

import collections
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from mixed_root import EVENTS, OURS, PAIRS, TABLE, age, expected, make, mirrored, put
from pairs import mirror, pair, root, settle  # noqa: F401 (fixtures)
from small_runs import write_run

from runicorn import foreign, manifest
from runicorn.errors import DeniedError, SftpError
from runicorn.mirror import exec_look, foreign_exec, foreign_runs, foreign_walk, plan, remote_index
from runicorn.mirror.fetch_queue import FetchQueue
from runicorn.mirror.remote_root import RemoteRoot
from runicorn.ssh import sftp


def test_the_manifest_command_lists_them_and_says_that_it_looked(root):
    make(root)
    manifest.generate(str(root))
    full = manifest.load(root / ".runicorn" / manifest.FULL)
    assert full.header["foreign"] is True
    assert full.lines == manifest.build(str(root), find_others=foreign.find).lines
    assert {OURS, "tb/a", "p/wandb/:abc", "p/n2/runs/Jan01_host"} < set(full.lines)
    assert "p/n/beside" not in full.lines
    put(root, f"tb/new/{EVENTS}", "x")
    manifest.generate(str(root))
    active = manifest.load(root / ".runicorn" / manifest.ACTIVE)
    assert active.header["foreign"] is True and "tb/new" in active.lines
    assert active.header["digest"] == manifest.load(root / ".runicorn" / manifest.FULL).header["digest"]


def test_a_manifest_of_before_that_says_nothing_of_them_is_made_anew(root):
    make(root)
    manifest.save(manifest.build(str(root)), str(root / ".runicorn" / manifest.FULL))
    assert manifest.load(root / ".runicorn" / manifest.FULL).header["foreign"] is False
    assert manifest.generate(str(root))["changed"]
    assert manifest.load(root / ".runicorn" / manifest.FULL).header["foreign"] is True


def test_an_index_knows_whose_a_run_is_without_parsing_its_line(root, monkeypatch):
    make(root)
    others = {path for path, (kinds, _) in expected(root).items() if kinds}
    monkeypatch.setattr(manifest.Manifest, "mended", None)
    index = remote_index.RemoteIndex(manifest.build(str(root), find_others=foreign.find))
    assert len(others) == 11 and index.foreign == others and OURS in index
    assert index.folder("p/wandb/:abc") == "p/wandb" and index.folder(OURS) == OURS
    monkeypatch.undo()
    entry = index.entry("tb/a")
    index.put("tb/a", {**entry, "files": {**entry["files"], EVENTS: {"size": 7, "mtime": 1.0, "tail": None}}})
    again = remote_index.RemoteIndex(manifest.parse(b"".join(manifest.text(index.flush()))))
    assert again.entry("tb/a")["kinds"] == ["tensorboard"]
    assert again.entry("tb/a")["files"][EVENTS]["size"] == 7
    index.drop("tb/a")
    assert "tb/a" not in index.foreign


HOSTILE = ["../x", "/etc", "a/../b", ".ssh", "a/.git/b", "a//b", "", ":", "a/:", "a\0b", "a/env/b",
           "/".join("abcdefghi"), "\ud800"]


@pytest.mark.parametrize("path", HOSTILE)
def test_paths_that_no_run_of_another_logger_has_are_refused(path):
    assert not plan.believable(path, kinds=("csv",))
    assert not plan.believable(path, "metrics.csv", ("csv",))
    assert plan.believable(".", "metrics.csv", ("csv",)) and plan.believable("a/:env", kinds=("wandb",))


@pytest.mark.parametrize("name", [
    "../x.csv", "/x.csv", "a/b/c/d.csv", ".bashrc", "run.sh", "b/metrics.csv", "checkpoint-5/metrics.csv",
    "a\0.csv", "\ud800.csv", "", "run-20250101_000000-abc/run-abc.wandb", "id_rsa", "checkpoint-5/"])
def test_names_that_no_file_of_such_a_run_has_are_refused(name):
    assert not plan.believable("a/b", name, ("csv",))
    assert plan.believable("a/b", "checkpoint-5/trainer_state.json", ("trainer",))
    assert plan.believable("a/:abc", "run-20250101_000000-abc/files/config.yaml", ("wandb",))
    assert not plan.believable("a/:abd", "run-20250101_000000-abc/run-abc.wandb", ("wandb",))


def test_what_a_manifest_file_tells_of_them_is_listed(root, pair):
    make(root)
    manifest.generate(str(root))
    one = pair()
    one.passes()
    assert mirrored(one) == expected(root)
    assert one.sync.state()["source"] == "manifest"


def test_entries_that_no_run_can_have_are_refused_and_counted(root, pair):
    make(root)
    whole = manifest.build(str(root), find_others=foreign.find)
    line = whole.lines["tb/a"]
    names = {path: line for path in HOSTILE if path and "\ud800" not in path}
    names["tb/b/c/d"] = whole.lines["tb/b/c/d"].replace(EVENTS.encode(), b"../../.bashrc")
    whole.lines.update(names)
    manifest.save(whole, str(root / ".runicorn" / manifest.FULL))
    one = pair()
    one.passes()
    assert not set(names) - {"tb/b/c/d"} & set(mirrored(one)) and "tb/a" in mirrored(one)
    told = json.loads((one.mirror / ".index" / "left_out.json").read_text())["passed"]
    assert told["runs in the manifest whose paths no run can have"] == len(names) - 1
    assert not list(one.mirror.parent.rglob(".bashrc"))


def test_a_manifest_that_did_not_look_for_them_does_not_say_that_there_are_none(root, pair):
    make(root)
    manifest.generate(str(root))
    one = pair()
    one.passes()
    before = mirrored(one)
    put(root, "p/n/runs/20250102_000000_abcdef/meta.json", "{}")
    manifest.save(manifest.build(str(root)), str(root / ".runicorn" / manifest.FULL))
    one.passes(31)
    assert before.keys() < mirrored(one).keys() and mirrored(one)["tb/a"] == before["tb/a"]


def test_files_that_grow_show_in_the_list(root, pair):
    make(root)
    manifest.generate(str(root))
    one = pair()
    one.passes()
    put(root, "lightning_logs/version_0/metrics.csv", TABLE + "0,20,0.1\n")
    one.passes(31)
    assert mirrored(one)["lightning_logs/version_0"] == expected(root)["lightning_logs/version_0"]


@pytest.fixture
def mixed(root):
    return make(root)


WAYS = {"SFTP": {"manifest": False}, "exec": {"source": "exec"}, "a manifest": {}}


def by(way, root, pair, **options):
    if way == "a manifest":
        manifest.generate(str(root))
    return pair(**WAYS[way], **options)


@pytest.mark.parametrize("way", WAYS)
def test_whatever_the_way_the_list_is_that_of_the_servers_disk(mixed, pair, way):
    one = by(way, mixed, pair)
    one.passes()
    settle(one)
    one.passes()
    assert mirrored(one) == expected(mixed)
    assert one.sync.state()["reason"]["code"] == "live"
    assert one.sync.state()["source"] == {"SFTP": "walk"}.get(way, way.split()[-1])


@pytest.mark.few(1)
@pytest.mark.parametrize("way", WAYS)
def test_what_changes_among_them_shows(mixed, pair, way):
    one = by(way, mixed, pair)
    one.passes()
    settle(one)
    put(mixed, "lightning_logs/version_0/metrics.csv", TABLE + "0,20,0.1\n")        # grows
    put(mixed, "lightning_logs/version_2/metrics.csv", TABLE)                       # comes
    put(mixed, f"tb/a/{EVENTS}.2", "a second file")
    put(mixed, "p/wandb/run-20250103_000000-abc/run-abc.wandb", "resumed")
    put(mixed, "out/checkpoint-1500/trainer_state.json", '{"global_step": 6}')
    put(mixed, "sweep/y/train.log", "nothing yet\n")                                # is none any more
    put(mixed, "sweep/new/deep/metrics.csv", TABLE)
    put(mixed, "data/train.log", "".join(f"step {n}: loss: 0.{n}\n" for n in range(9)))
    shutil.rmtree(mixed / "tb/a/eval")
    if way == "a manifest":
        manifest.generate(str(mixed))
    one.passes(31)
    settle(one)
    one.passes(31)
    told = {path: entry for path, entry in mirrored(one).items() if path not in live_json(one)["gone"]}
    assert told == expected(mixed) and {"data", "sweep/new/deep", "lightning_logs/version_2"} < set(told)
    assert "tb/a/eval" not in told


def live_json(one):
    return json.loads((one.mirror / ".index" / "live.json").read_text())


@pytest.mark.few(1)
@pytest.mark.parametrize("way", WAYS)
def test_a_new_run_shows_while_somebody_watches(mixed, pair, way):
    one = by(way, mixed, pair)
    one.bell.look({"runs"})
    one.passes()
    settle(one)
    one.passes(3)
    put(mixed, "lightning_logs/version_2/metrics.csv", TABLE)
    put(mixed, "sweep/z/w/train.log", PAIRS)
    for _ in range(3):
        one.passes(1.5)
    assert {"lightning_logs/version_2", "sweep/z/w"} < set(mirrored(one))


def test_a_text_file_becomes_a_run_where_only_its_size_shows_it(mixed, pair):
    put(mixed, "sweep/late/train.log", "starting\n")
    put(mixed, "sweep/empty/metrics.csv", "")
    age(mixed)
    one = pair(manifest=False)
    one.passes()
    assert not {"sweep/late", "sweep/empty"} & set(mirrored(one))
    with open(mixed / "sweep/late/train.log", "a") as file:
        file.write(PAIRS)
    with open(mixed / "sweep/empty/metrics.csv", "a") as file:
        file.write(TABLE)
    one.passes(31)
    assert mirrored(one) == expected(mixed) and {"sweep/late", "sweep/empty"} < set(mirrored(one))


def test_a_folder_that_becomes_ours_is_ours_at_once(mixed, pair):
    one = pair(manifest=False)
    one.passes()
    assert "p/n2/runs/Jan01_host" in mirrored(one)
    write_run(mixed, "p", "n2", "20250105_000000_abcdef")
    write_run(mixed, "x", "y", "20250106_000000_abcdef")
    put(mixed, "tb/a/meta.json", "{}")
    put(mixed, "tb/a/events.jsonl", "")
    one.passes(31)
    told = {path: entry for path, entry in mirrored(one).items() if path not in live_json(one)["gone"]}
    assert told == expected(mixed) and "p/n2/runs/Jan01_host" not in told and "tb/a" not in told


def test_a_root_of_our_runs_alone_costs_nothing_more(root, pair, mirror, monkeypatch):
    for number in range(12):
        folder = write_run(root, f"p{number % 3}", f"n{number % 5}", f"20250123_180000_{number:06x}")
        put(folder, "checkpoints/last.pt", "x")
    age(root)
    costs = []
    for looks in (True, False):
        if not looks:
            monkeypatch.setattr(foreign_runs.ForeignRuns, "go_on", lambda *_: (set(), False))
            monkeypatch.setattr(foreign_runs.ForeignRuns, "is_behind", lambda *_: False)
        for session in range(2):
            one = pair(manifest=False)
            one.passes()
            for _ in range(2):
                one.passes(31)
            costs.append((session, one.sync._remote_root.client.requests, one.far.bytes_received))
            one.close()
        shutil.rmtree(mirror)
    assert [cost[:2] for cost in costs[:2]] == [cost[:2] for cost in costs[2:]]
    assert costs[0][1] > costs[1][1] > 100
    assert all(abs(costs[session][2] - costs[session + 2][2]) < 500
               for session in range(2)), "answers to READ may come short"


def test_a_second_session_lists_no_folder_that_did_not_change(mixed, pair, monkeypatch):
    (mixed / "linked").unlink()
    age(mixed)
    first = pair(manifest=False)
    first.passes()
    first.close()
    opened, ask = [], sftp.Sftp.ask
    monkeypatch.setattr(sftp.Sftp, "ask",
                        lambda client, request, done: (opened.append((request.kind, request.about)),
                                                      ask(client, request, done))[1])
    put(mixed, "tb/new/metrics.csv", TABLE)
    one = pair(manifest=False)
    one.passes()
    assert mirrored(one) == expected(mixed)
    folders = {path[len(str(mixed)):]
               for kind, path in opened if kind == sftp.OPENDIR and "/p/n/runs" not in path}
    assert folders == {"/tb", "/tb/new"}
    assert not [path for kind, path in opened
                if kind == sftp.OPEN and path.endswith(("notes.txt", "names.csv", "prompts.jsonl"))]


def test_of_a_large_root_python3_on_the_server_tells(mixed, pair, monkeypatch):
    monkeypatch.setattr(foreign_runs, "ASKED", 3)
    asked, start = [], foreign_exec.ForeignExec.start
    monkeypatch.setattr(foreign_exec.ForeignExec, "start", lambda *how: (asked.append(how), start(*how)))
    one = pair("exec")
    one.passes()
    settle_foreign(one)
    assert mirrored(one) == expected(mixed) and len(asked) == 1
    assert one.sync.state()["reason"]["code"] == "live"
    monkeypatch.setattr(foreign_runs, "ASKED", 200)
    one.passes(5)
    put(mixed, "lightning_logs/version_2/metrics.csv", TABLE)       # comes: its folder alone is listed
    shutil.rmtree(mixed / "tb/a/eval")
    one.passes(31)
    settle_foreign(one)
    told = {path: entry for path, entry in mirrored(one).items() if path not in live_json(one)["gone"]}
    assert told == expected(mixed) and len(asked) == 1
    put(mixed, "somewhere/else/metrics.csv", TABLE)
    put(mixed, "sweep/y/train.log", "no log any more\n")
    one.passes(601)
    settle_foreign(one)
    told = {path: entry for path, entry in mirrored(one).items() if path not in live_json(one)["gone"]}
    assert told == expected(mixed) and len(asked) == 2, "what was looked into before is not told again"


def settle_foreign(one):
    while one.sync._remote_root.foreign.waits:
        one.passes(0.1)
        time.sleep(0.01)
    one.passes(0.1)


ANSWERS = {"nothing": b"", "no end": b"others", "a list": b"[]", "a number": b'{"runs": 5}',
           "a bomb": b" " * (20 << 20), "depth": b"[" * 100_000,
           "no runs":
           b'{"runs": [5, [], ["../x", ["csv"], 5, []], ["a", ["x"], 5, []], ["a", ["csv"], 5, [["x.csv", '
           b'-1, 5]]]]}',
           "no file of it":
           b'{"runs": [["a", ["csv"], 5, [["../x.csv", 1, 5], ["run.sh", 1, 5]]]], "skipped": [], '
           b'"known": 5, "took": -1}'}


@pytest.mark.few(2)
@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_that_no_program_of_ours_gives_costs_nothing(mixed, pair, monkeypatch, what):
    answer = ANSWERS[what] if what in ("nothing", "no end") else b"others" + zlib.compress(ANSWERS[what])
    monkeypatch.setattr(foreign_runs, "ASKED", 3)
    plain = exec_look.ExecLook.ask
    monkeypatch.setattr(exec_look.ExecLook, "ask",
                        lambda look, source, question: answer if source == foreign_exec.program() else plain(
                            look, source, question))
    one = pair("exec")
    one.passes()
    settle_foreign(one)
    told = mirrored(one)
    assert told == ({OURS: told[OURS]} if what in ("no runs", "no file of it") else expected(mixed))


@pytest.mark.parametrize("version", ["3.6", "3.13"])
def test_the_program_for_the_server_needs_little_of_its_python(mixed, version):
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))
    python = [str(beside[0]) if beside else sys.executable, "-S", "-I"]
    question = zlib.compress(json.dumps({"ours": ["p/n", "\u4e2d\u6587/x"], "known": {}}).encode())
    done = subprocess.run([*python, "-c", foreign_exec.program(), str(mixed)], input=question,
                          capture_output=True, timeout=60, env={"LC_ALL": "C", "PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    told = foreign_exec.Answer(done.stdout)
    listed = {run.path: (run.kinds, {name: (size, mtime) for name, size, mtime, *_ in run.files})
              for run in told.runs}
    assert listed == {path: entry for path, entry in expected(mixed).items() if entry[0]}
    assert len(listed) == 11


@pytest.mark.few(1)
@pytest.mark.parametrize("way", ["SFTP", "exec"])
def test_a_folder_of_them_that_is_renamed_keeps_its_copies(mixed, pair, way):
    one = by(way, mixed, pair)
    one.passes()
    settle(one)
    one.passes(31)
    inode = next(path.stat().st_ino for path in one.mirror.rglob("metrics.csv") if "version_1" in str(path))
    (mixed / "lightning_logs/version_1").rename(mixed / "lightning_logs/best")
    (mixed / "tb").rename(mixed / "tensorboard")
    (mixed / "p/wandb").rename(mixed / "p/wb")
    for _ in range(3):
        one.passes(31)
        settle(one)
    told = {path: entry for path, entry in mirrored(one).items() if path not in live_json(one)["gone"]}
    assert told == expected(mixed)
    assert {"lightning_logs/best", "tensorboard/a", "tensorboard/a/eval", "p/wb/:abc"} < set(told)
    assert one.moved["lightning_logs/version_1"] == "lightning_logs/best"
    assert one.moved["tb/a"] == "tensorboard/a"
    assert inode == next(path.stat().st_ino
                         for path in one.mirror.rglob("metrics.csv") if "best" in str(path))


def test_what_may_not_be_listed_any_more_is_not_gone(mixed, pair, monkeypatch):
    one = pair(manifest=False)
    one.passes()
    before = mirrored(one)
    closed, ask = {str(mixed / "sweep"), str(mixed / "tb/a")}, sftp.Sftp.ask
    monkeypatch.setattr(sftp.Sftp, "ask", lambda client, request, done: ask(client, request, (
        lambda answer: done(DeniedError("permission denied", 3))) if request.kind == sftp.OPENDIR
                                                                            and request.about in closed
                                                                            else done))
    for folder in ("sweep", "tb/a"):
        put(mixed, f"{folder}/touched", "x")
    one.passes(31)
    one.passes(601)
    assert mirrored(one).keys() == before.keys() and live_json(one)["gone"] == []
    monkeypatch.undo()
    put(mixed, "sweep/x/more.csv", TABLE)
    one.passes(601)
    assert mirrored(one) == expected(mixed)


@pytest.mark.parametrize("error, thorough", [(SftpError("failure", 4), False),
                                             (DeniedError("permission denied", 3), True)])
@pytest.mark.parametrize("kind, place", [(sftp.OPENDIR, "sweep/x"), (sftp.OPENDIR, "lightning_logs"),
                                         (sftp.OPEN, "lightning_logs/version_0/metrics.csv")])
def test_what_a_server_could_not_show_once_shows_with_the_next_survey_or_sync_now(
        mixed, pair, monkeypatch, error, thorough, kind, place):
    one, ask = pair(manifest=False), sftp.Sftp.ask
    monkeypatch.setattr(sftp.Sftp, "ask", lambda client, request, done: ask(client, request, (
        lambda answer: done(error)) if (request.kind, request.about) == (kind, str(mixed / place)) else done))
    one.passes()
    one.passes(31)
    assert mirrored(one).keys() < expected(mixed).keys()
    monkeypatch.undo()
    if thorough:
        one.sync.sync_now()
    one.passes(31)
    assert mirrored(one) == expected(mixed) and not one.sync.is_asked


def test_a_text_file_that_could_not_be_read_is_read_again(mixed, monkeypatch):
    known = {}
    monkeypatch.setattr(foreign, "ends", lambda *_: (None, None))
    blind = {run.path for run in foreign.find(str(mixed), collections.Counter(), known=known)}
    monkeypatch.undo()
    seen = {run.path for run in foreign.find(str(mixed), collections.Counter(), known=known)}
    assert seen - blind >= {"lightning_logs/version_0", "sweep/x", "sweep/y"}


def test_the_list_of_our_own_runs_waits_for_none_of_them(mixed, pair, monkeypatch):
    one = pair(manifest=False)
    monkeypatch.setattr(foreign_runs.ForeignRuns, "go_on", lambda *_: (set(), True))
    for _ in range(5):
        one.sync.one_pass(one.now)
    assert [path for path, (kinds, _) in mirrored(one).items() if not kinds] == [OURS]
    assert (one.mirror / OURS / "events.jsonl").exists() and one.sync.state()["reason"]["code"] == "looking"


@pytest.mark.parametrize("in_slices", [False, True])
def test_the_list_is_shown_before_what_is_fetched_of_it_is_planned_and_no_other_root_is_looked_at(
        mixed, pair, monkeypatch, in_slices):
    if in_slices:
        look = RemoteRoot.look_for_others
        monkeypatch.setattr(RemoteRoot, "look_for_others",
                            lambda remote_root, now, seconds: look(remote_root, now, 0.0))
        monkeypatch.setattr(foreign_runs, "SHOWN", 0.0)
        monkeypatch.setattr(foreign_walk, "FEW_ENTRIES", 4)
        monkeypatch.setattr(foreign_walk, "FEW", 4)
    shutil.rmtree(mixed / OURS.partition("/runs/")[0] / "runs")
    one, shown, elsewhere = pair(manifest=False), [], []
    one.sync._look_elsewhere = lambda client, root: elsewhere.append(root)
    plan_runs = FetchQueue.plan

    def planned(queue, paths, now, more=False):
        paths = list(paths)
        if paths:
            shown.append((one.mirror / ".index" / "full.json").exists() and len(mirrored(one)))
        return plan_runs(queue, paths, now, more)
    monkeypatch.setattr(FetchQueue, "plan", planned)
    one.passes()
    assert mirrored(one) == expected(mixed) and shown[0] == len(expected(mixed)) > 5
    assert not elsewhere and one.sync.state()["state"] == "live"


@pytest.mark.parametrize("there", [True, False])
def test_where_no_run_of_any_kind_is_other_roots_are_looked_at_once_a_line(root, pair, there):
    if not there:
        shutil.rmtree(root)
    one, elsewhere = pair(manifest=False), []
    one.sync._look_elsewhere = lambda client, root: elsewhere.append(root)
    one.passes()
    one.passes(31)
    assert elsewhere == [str(root)]


def test_a_home_of_many_files_takes_bounded_room_and_says_what_it_left_out(mixed, pair, monkeypatch):
    monkeypatch.setattr(foreign, "ENTRIES", 50)
    monkeypatch.setattr(foreign_walk, "LISTED", 200)
    for number in range(120):
        put(mixed, f"data/images/{number:04}.png", "")
        put(mixed, f"zz/{number:03}/deep/x.csv", "a,b\n")
    one = pair(manifest=False)
    one.passes()
    told = json.loads((one.mirror / ".index" / "left_out.json").read_text())["passed"]
    assert told["entries beyond 50 of a folder"] >= 2 and told[foreign_walk.MANY] > 0
    assert OURS in mirrored(one) and "tb/a" in mirrored(one) and one.sync.state()["reason"]["code"] == "live"
