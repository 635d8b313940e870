"""What the ranks other than 0 say of their ends: each in a file of its own, and the run with them in every
reader."""

import os
import subprocess
import sys
import time

import pytest
from ends_page import table
from pairs import OLD, Pair, make_run, write
from playwright.sync_api import expect
from ranks import BEGIN, torchrun
from scripts import environment, only, small, start
from small_runs import write_run

from runicorn import layout, local_names, manifest
from runicorn.mirror import plan, quota
from runicorn.mirror.remote_root import AUDIT
from runicorn.reader.catalog import Catalog
from runicorn.reader.liveness import Pulse, Verdict, judge, with_ranks
from runicorn.transfer.check import check_run

pytest_plugins = ["chromium"]

RUN_ID = "20261127_080000_abc123"
# Every rank waits until all have joined; rank 0 ends last or first, as FIRST says.
RANK = BEGIN + """
import pathlib
rank = int(os.environ["RANK"])
run = runicorn.init(project="p", name="n", all_ranks=True, system=False)
run.log({"loss": 1.0})
def await_all(stem):
    while len(list(pathlib.Path(".").glob(stem + "*"))) < 4:
        time.sleep(0.02)
while not (rank == 0 or list(run.dir.glob(f"status.rank{rank}.json"))):
    time.sleep(0.02)
pathlib.Path(f"joined{rank}").touch()
await_all("joined")
def end():
    END
if rank == 0 and os.environ["FIRST"] == "others":
    time.sleep(1.5)
if rank != 0 and os.environ["FIRST"] == "rank 0":
    while '"running"' in (run.dir / "status.json").read_text():
        time.sleep(0.02)
end()
"""
RAISES = 'if rank == 2: raise RuntimeError("no memory")'


def launch(folder, end, first="others"):
    """Run four ranks that end as `end` says; returns (the run's folder, their exit codes)."""
    code = RANK.replace("END", end)
    processes = [start(folder, code, FIRST=first, **torchrun(rank)) for rank in range(4)]
    try:
        for process in processes:
            process.communicate(timeout=90)
    finally:
        for process in processes:
            process.kill()
    return only(folder), [process.returncode for process in processes]


def shown(folder):
    """Return what `runicorn show` says of the run's state."""
    done = subprocess.run([sys.executable, "-m", "runicorn", "show", only(folder).name],
                          env=environment(folder), cwd=folder, capture_output=True, encoding="utf-8",
                          timeout=60)
    return done.stdout.splitlines()[1].split(" ", 1)[1]


@pytest.mark.few(1)
@pytest.mark.parametrize("first", ["others", "rank 0"])
def test_a_rank_that_raises_is_told_whichever_ends_first(tmp_path, first):
    run, codes = launch(tmp_path, RAISES, first)
    assert codes == [0, 0, 1, 0]
    told = small(run, "status.rank2")
    assert told["status"] == "failed" and told["error"] == "RuntimeError: no memory"
    assert "raise RuntimeError" in told["traceback"]
    assert {rank: small(run, f"status.rank{rank}")["status"] for rank in (1, 3)} == {
        1: "finished", 3: "finished"}
    assert small(run, "status")["status"] == "finished"
    assert shown(tmp_path) == "finished; rank 2 failed: RuntimeError: no memory"
    assert not [finding for finding in check_run(run, "", None) if finding.wrong]


# (rank 0, another rank) as docs/ends.md names them -> how they end
ENDS = {("ends by itself", "raises an error"): RAISES,
        ("ends by itself", "leaves with 3"): "if rank == 2: sys.exit(3)",
        ("ends by itself", "SIGTERM"): "if rank == 2: os.kill(os.getpid(), signal.SIGTERM)",
        ("ends by itself", "kill -9, or goes on"): "if rank == 2: os.kill(os.getpid(), signal.SIGKILL)",
        ("raises an error", "raises an error"):
        "if rank == 0: raise KeyError(7)\n    if rank == 2: raise ValueError(8)",
        ("SIGTERM", "raises an error"):
        "if rank == 0: os.kill(os.getpid(), signal.SIGTERM)\n    if rank == 2: raise ValueError(8)",
        ("SIGTERM", "SIGTERM"): "os.kill(os.getpid(), signal.SIGTERM)"}
PAGE = {tuple(row[:2]): tuple(row[2:]) for row in table("With other ranks")}
GOES_ON = ("goes on", "raises an error")        # no process needed: test_the_row_of_a_run_that_goes_on


def test_the_page_has_these_rows_and_no_others():
    assert sorted(PAGE) == sorted([*ENDS, GOES_ON])


def test_the_row_of_a_run_that_goes_on():
    pulse = Pulse()
    for now, beats in ((0, 1), (10, 2), (80, 2)):
        pulse.look(now, beats, 0)
    found = with_ranks(judge({"status": "running"}, pulse), {},
                       {(1, 2): {"status": "failed", "error": "RuntimeError: no memory"}})
    assert (found.state, found.text) == PAGE[GOES_ON]


@pytest.mark.few(1)
@pytest.mark.parametrize("ways", ENDS, ids=" and ".join)
def test_the_run_says_how_the_others_ended(tmp_path, ways):
    launch(tmp_path, ENDS[ways])
    state, reason = PAGE[ways]
    assert shown(tmp_path) == (reason if reason.startswith("finished") else f"{state} ({reason})")


@pytest.mark.few(1)
@pytest.mark.parametrize("end, said", [
    ("if rank in (1, 2): raise ValueError(9)", "finished; rank {} failed: ValueError: 9 (and 1 more)"),
    ("if rank == 2: runicorn.finish(exit_code=4)", "finished; rank 2 failed: exit code 4"),
    ("if rank == 2: os.execvp('true', ['true'])", "finished"),
    ("pass", "finished"),
], ids=["two", "finish(4)", "exec", "none"])
def test_siblings_of_these_rows(tmp_path, end, said):
    launch(tmp_path, end)
    assert shown(tmp_path) in [said.format(rank) for rank in (1, 2)]


def test_another_attempt_forgets_the_ranks_of_the_one_before():
    verdict, failed = Verdict("finished", "finished", "finished"), {"status": "failed", "error": "E: 1"}
    twice = {"attempts": [{"n": 1}, {"n": 2}]}
    assert with_ranks(verdict, twice, {(1, 2): failed, (2, 2): {"status": "finished"}}) == verdict
    assert with_ranks(verdict, twice, {(1, 3): failed}) == verdict
    assert with_ranks(verdict, twice, {(2, 3): failed}).text == "finished; rank 3 failed: E: 1"
    assert with_ranks(verdict, {}, {(1, 3): failed, (2, 3): {"status": "finished"}}) == verdict


@pytest.mark.parametrize("status",
                         [None, {}, {"attempts": 5}, {"attempts": []}, {"attempts": ["x"]},
                          {"attempts": [{"n": "x"}]}])
@pytest.mark.parametrize("told", [
    {}, {"status": 5}, {"status": ["failed"]}, {"status": "failed", "ended_at": "NaN", "error": 7},
    {"status": "failed", "ended_at": [1], "exit_code": "x"}])
def test_odd_status_files_cost_nothing_but_themselves(status, told):
    found = with_ranks(judge({"status": "finished"}, None), status, {(1, 1): told})
    assert found.text == ("finished; rank 1 failed" if told.get("status") == "failed" else "finished")


def test_of_several_the_first_that_failed_is_named_and_running_ranks_are_not_missed():
    ranks = {(1, 1): {"status": "interrupted", "ended_at": 1},
             (1, 2): {"status": "failed", "error": "B", "ended_at": 3},
             (1, 3): {"status": "failed", "error": "A", "ended_at": 2}, (1, 4): {"status": "running"}}
    reason = with_ranks(judge({"status": "finished"}, None), {}, ranks).reason()
    assert reason["text"] == "finished; rank 3 failed: A (and 1 more)"
    assert reason["code"] == "finished" and reason["ranks"]["rank"] == 3
    assert reason["ranks"]["why"]["code"] == "error"
    still = Verdict("running", "beating", "it was seen to change within the last minute")
    assert with_ranks(still, {}, {(1, 4): {"status": "running"}}) == still
    assert with_ranks(still, {}, {(1, 4): {"status": "failed"}}).text == still.text + "; rank 4 failed"


def test_a_rank_that_ends_later_is_seen_by_who_looked_before(tmp_path):
    root = tmp_path / "root"
    folder = write_run(root, "p", "n", RUN_ID)
    other = folder / "status.rank1.json"
    layout.replace_file(other, b'{"status": "running"}')
    old = time.time() - 60
    os.utime(folder, (old, old))
    now = [0.0]
    reader = Catalog([("local", root)], clock=lambda: now[0])
    reader.refresh()
    key = reader.find(RUN_ID)
    assert [reader.run(key)["reason"]["text"]
            for _ in range(2)] == ["finished; rank 1 has not said how it ended"] * 2
    layout.replace_file(other, b'{"status": "failed", "error": "E: late"}')
    now[0] = 1000.0
    reader.refresh()
    assert reader.run(key)["reason"]["text"] == "finished; rank 1 failed: E: late"
    assert reader.run(key)["state"] == "finished"
    layout.replace_file(other, b'{"status": ')
    assert reader.run(key)["reason"]["text"] == "finished"


# -- the file is one of the run's own everywhere -------------------------------------------------------------

NAMES = ["status.rank1.json", "status.rank12.json", "status.rank3.2.json"]
OTHERS = ["status.rank0.json", "status.rank.json", "status.rank1.jsonl", "status.2.json",
          "xstatus.rank1.json", "media/status.rank1.json"]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_an_own_small_file(name):
    attempt, rank = local_names.parse_rank_status(name)
    assert layout.own_file("status", attempt, rank) == name
    assert local_names.is_own(name) and local_names.is_small(name) and not plan.is_appended(name)
    assert layout.parse_own(name) is None
    assert plan.wanted(name, 1 << 30, {"small_only": True})


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_not(name):
    assert not local_names.is_own(name) and local_names.parse_rank_status(name) is None


def test_a_mirror_carries_it_whatever_is_chosen_and_keeps_it_when_files_go(tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    run = make_run(far)
    write(run / "status.rank2.json", {"status": "running"}, OLD)
    os.utime(run, (OLD, OLD))
    pair = Pair(far, tmp_path / "near", small_only=True, small_limit=0)
    try:
        pair.passes()
        reader = Catalog([("local", tmp_path / "local")], [("gpu", pair.mirror)])
        reader.refresh()
        key = reader.find(run.name)
        assert reader.run(key)["reason"]["text"].endswith("; rank 2 has not said how it ended")
        layout.replace_file(run / "status.rank2.json", b'{"status": "failed", "error": "E: far"}')
        pair.passes(AUDIT + 1)
        reader.refresh()
        assert reader.run(key)["reason"]["text"].endswith("; rank 2 failed: E: far")
    finally:
        pair.close()


def test_room_that_is_made_leaves_it_here(tmp_path):
    mirror = tmp_path / "gpu"
    folder = write_run(mirror, "p", "n", RUN_ID)
    (folder / "status.rank2.json").write_text('{"status": "failed", "error": "E: far"}')
    (mirror / ".index").mkdir()
    manifest.save(manifest.build(mirror), str(mirror / ".index" / "full.json"))
    assert quota.clean([mirror], size=0)["files"] == 1
    quota.drop_run(mirror, layout.run_path("p", "n", RUN_ID))
    assert sorted(os.listdir(folder)) == ["meta.json", "status.json", "status.rank2.json", "summary.json"]
    reader = Catalog([("local", tmp_path / "local")], [("gpu", mirror)])
    reader.refresh()
    assert reader.run(reader.find(RUN_ID))["reason"]["text"] == "finished; rank 2 failed: E: far"


# -- the pages -----------------------------------------------------------------------------------------------

@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("locale, said, more", [
    ("en-US", "finished; rank 3 failed: E: <b>far</b> (and 1 more)", "has not said how it ended"),
    ("zh-CN", "已完成；rank 3 失败：E: <b>far</b>（另有 1 个）", "未说明如何结束")])
def test_the_pages_say_it(serve, open_page, home, locale, said, more):
    root = home / "experiments"
    folder = write_run(root, "p", "n", RUN_ID)
    silent = write_run(root, "p", "n", RUN_ID[:-1] + "4")
    for rank in (3, 4):
        told = {"status": "failed", "error": "E: <b>far</b>", "ended_at": rank}
        (folder / f"status.rank{rank}.json").write_text(layout.to_json(told))
    (silent / "status.rank1.json").write_text('{"status": "running"}')
    server = serve()
    page = open_page(f"{server.url}/runs/local:p/n/{RUN_ID}", locale=locale)
    expect(page.locator(".whybar")).to_contain_text(said)
    page = open_page(f"{server.url}/runs/local:p/n/{silent.name}", locale=locale)
    expect(page.locator(".whybar")).to_contain_text(more)
