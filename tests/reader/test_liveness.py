"""Derived states, by what is seen to change on our own clock: processes really killed and stopped, clocks
that are off, old attributes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st
from running_runs import beat, looked, make_run, row
from waiting import until

from runicorn import layout, manifest
from runicorn.reader.catalog import Catalog
from runicorn.reader.liveness import Pulse, judge
from runicorn.reader.local_root import LocalRoot
from runicorn.reader.mirror_source import MirrorSource

WRITER = """
import sys, time, runicorn
run = runicorn.init(project="p", name="n", storage=sys.argv[1], system=False, capture=False)
print(run.id, flush=True)
step = 0
while True:
    run.log({"loss": 1.0}, step=step)
    step += 1
    time.sleep(0.02)
"""


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def training(tmp_path):
    """A real process that logs 50 rows a second into tmp_path/root."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "root")], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2]
    )
    process.run_id = process.stdout.readline().strip()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_killed_process_is_lost_and_a_stopped_one_too_until_it_goes_on(tmp_path, clock, training):
    reader = Catalog([("local", tmp_path / "root")], clock=clock)
    assert looked(reader, clock) == ("running", "beating")         # of this machine: known at once
    until(lambda: looked(reader, clock, 1)[0] == "running")
    os.kill(training.pid, signal.SIGSTOP)
    time.sleep(0.1)
    looked(reader, clock)  # what came before it stopped
    assert looked(reader, clock, 55) == ("running", "beating")
    assert looked(reader, clock, 60) == ("stalled", "quiet")
    assert looked(reader, clock, 70) == ("lost", "no_sign")
    os.kill(training.pid, signal.SIGCONT)
    until(lambda: looked(reader, clock, 1)[0] == "running")
    training.kill()
    training.wait()
    assert looked(reader, clock) == ("lost", "process_gone")
    assert (json.loads((tmp_path / "root/p/n/runs" / training.run_id / "status.json").read_text())["status"]
            == "running")


def test_a_process_that_was_killed_before_we_looked_is_lost_at_the_first_look(tmp_path, clock, training):
    time.sleep(0.2)
    training.kill()
    training.wait()
    reader = Catalog([("local", tmp_path / "root")], clock=clock)
    assert looked(reader, clock) == ("lost", "process_gone")
    assert looked(reader, clock, 89) == ("lost", "process_gone")


@pytest.mark.parametrize("offset", [-3600, 0, 3600, -10 * 365 * 86400])
def test_clocks_that_are_off_make_no_difference(tmp_path, clock, offset):
    make_run(tmp_path)
    reader, server = Catalog([("local", tmp_path)], clock=clock), time.time() + offset
    beat(tmp_path, server)
    assert looked(reader, clock)[0] == "checking"
    for _ in range(4):
        server += 10
        beat(tmp_path, server)
        assert looked(reader, clock, 10)[0] == "running"
    assert looked(reader, clock, 181)[0] == "lost"
    beat(tmp_path, server + 10)
    assert looked(reader, clock, 1)[0] == "running"


def test_beats_without_rows_are_stalled_by_the_runs_own_rhythm(tmp_path, clock):
    folder = make_run(tmp_path)
    reader, now = Catalog([("local", tmp_path)], clock=clock), 1e9

    def beats(seconds):
        nonlocal now
        for _ in range(seconds // 10):
            now += 10
            beat(tmp_path, now)
            state = looked(reader, clock, 10)
        return state

    looked(reader, clock)
    assert beats(60) == ("running", "beating")
    assert beats(20) == ("stalled", "no_rows")
    with open(folder / "events.jsonl", "a") as file:
        # now it logs every 500 s
        file.write(row(3, 1737650500.0) + row(4, 1737651000.0) + row(5, 1737651500.0) + row(6, 1737652000.0))
    assert beats(20) == ("running", "beating")
    assert beats(4900) == ("running", "beating")
    assert beats(200) == ("stalled", "no_rows")


def test_a_run_that_has_not_logged_yet_is_not_stalled(tmp_path, clock):
    (make_run(tmp_path) / "events.jsonl").unlink()
    reader, now = Catalog([("local", tmp_path)], clock=clock), 1e9
    for _ in range(30):
        now += 10
        beat(tmp_path, now)
        state, _ = looked(reader, clock, 10)
    assert state == "running"


def test_a_run_without_a_live_file_beats_on_its_own_folder(tmp_path, clock):
    folder = make_run(tmp_path)
    (tmp_path / ".runicorn/live/20250123_180000_abc123.json").unlink()
    reader = Catalog([("local", tmp_path)], clock=clock)
    looked(reader, clock)
    for at in (5, 15):
        (folder / ".beat").touch()
        os.utime(folder / ".beat", (at, at))
        assert looked(reader, clock, 10)[0] == "running"


@pytest.mark.parametrize(
    "status, state, code, text",
    [
        ({"status": "finished"}, "finished", "finished", "finished"),
        ({"status": "finished", "exit_code": None, "ended_by": "init"}, "finished", "by_init",
         "ended by the next init()"),
        ({"status": "finished", "ended_by": "exec"}, "finished", "by_exec",
         "the process became another program"),
        ({"status": "finished", "ended_by": "pruning"}, "finished", "by_pruning", "pruned"),
        ({"status": "finished", "exit_code": None, "ended_by": "job"}, "finished", "by_job",
         "its job of the multirun returned"),
        ({"status": "finished", "ended_by": ["odd"]}, "finished", "finished", "finished"),
        ({"status": "failed", "exit_code": 3}, "failed", "exit_code", "exit code 3"),
        ({"status": "failed", "error": "ValueError: no"}, "failed", "error", "ValueError: no"),
        ({"status": "failed"}, "failed", "failed", "failed"),
        ({"status": "interrupted", "signal": "SIGTERM"}, "interrupted", "signal", "ended by SIGTERM"),
        ({"status": "interrupted"}, "interrupted", "interrupted", "interrupted"),
        ({"status": "something new"}, "checking", "first_look", "not looked at yet"),
        ({}, "checking", "first_look", "not looked at yet"),
    ],
)
def test_what_the_run_said_itself(status, state, code, text):
    verdict = judge(status, None)
    assert (verdict.state, verdict.code, verdict.text) == (state, code, text)


def test_a_finished_run_that_goes_on_is_seen(tmp_path, clock):
    folder = make_run(tmp_path, status="finished")
    (tmp_path / ".runicorn/live/20250123_180000_abc123.json").unlink()
    reader = Catalog([("local", tmp_path)], clock=clock)
    assert looked(reader, clock)[0] == "finished"
    (folder / "status.json").write_text(
        layout.to_json({"status": "running", "attempts": [{"n": 1}, {"n": 2}]}))
    (tmp_path / ".runicorn/live/20250123_180000_abc123.json").write_text("{}")
    (folder / "events.2.jsonl").write_text(row(3))
    assert looked(reader, clock, 2)[0] == "checking"
    (folder / "events.2.jsonl").write_text(row(3) + row(4))
    assert looked(reader, clock, 2)[0] == "running"


# -- through a mirror ----------------------------------------------------------------------------------------


class Server:
    """A mirror's index as sync leaves it, with the beat that the server showed."""

    def __init__(self, far, mirror):
        self.path = "p/n/runs/20250123_180000_abc123"
        self.index = mirror / ".index"
        self.index.mkdir(parents=True)
        make_run(far)
        manifest.save(manifest.build(far), self.index / "full.json")
        self.looked = 0

    def show(self, beat, up=True):
        self.looked += 1
        live = {"runs": {self.path: {"beat": beat}}, "line": {"up": up}, "gone": [],
                "written": time.time() + self.looked / 1000}
        layout.replace_file(self.index / "live.json", layout.to_json(live).encode())


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path / "far", tmp_path / "mirror")


def test_attributes_that_are_60_seconds_old_never_make_a_live_run_look_dead(tmp_path, clock, server):
    reader = Catalog([], [("gpu1", tmp_path / "mirror")], clock=clock)
    server.show(0)
    assert looked(reader, clock)[0] == "checking"
    states = set()
    for second in range(5, 605, 5):
        server.show(second // 60 * 60)  # the listing is refreshed once a minute
        state, _ = looked(reader, clock, 5)
        states.add(state if second >= 60 else "running")  # checking until the first change
    assert states == {"running"}


def test_our_own_line_being_down_greys_a_state_and_never_changes_it(tmp_path, clock, server):
    reader = Catalog([], [("gpu1", tmp_path / "mirror")], clock=clock)
    server.show(1)
    looked(reader, clock)
    server.show(2)
    assert looked(reader, clock, 10)[0] == "running"
    server.show(2, up=False)
    assert looked(reader, clock, 7200)[0] == "running"
    assert reader.runs()["runs"][0]["stale"]
    server.show(500)
    assert looked(reader, clock, 1) == ("checking", "first_look")  # it beat while nobody looked: does it now?
    server.show(501)
    assert looked(reader, clock, 1)[0] == "running"
    server.show(501, up=False)
    looked(reader, clock, 10)
    server.show(501)
    assert looked(reader, clock, 1)[0] == "checking"
    server.show(501)
    assert looked(reader, clock, 91)[0] == "lost"


def test_silence_counts_only_between_looks_at_the_server(tmp_path, clock, server):
    """A connection that is asked once an hour, or by hand, must not lose its runs in between."""
    reader = Catalog([], [("gpu1", tmp_path / "mirror")], clock=clock)
    server.show(1)
    looked(reader, clock)
    server.show(2)
    assert looked(reader, clock, 30)[0] == "running"
    assert looked(reader, clock, 3600)[0] == "running"  # nobody asked the server since
    server.show(3)
    assert looked(reader, clock, 1)[0] == "running"
    server.show(3)
    assert looked(reader, clock, 3600)[0] == "lost"


def test_a_run_whose_turn_has_not_come_is_neither_lost_nor_stalled(tmp_path, clock, server):
    """Of thousands of running runs each is looked at in turn: until then nothing is known of its silence."""
    reader = Catalog([], [("gpu1", tmp_path / "mirror")], clock=clock)

    def show(beat, looked_at, read_at):
        server.looked += 1
        run = {"beat": beat, "seen": None, "looked": looked_at, "read": read_at}
        live = {"runs": {server.path: run}, "line": {"up": True}, "gone": [], "looked": 1,
                "written": time.time() + server.looked / 1000}
        layout.replace_file(server.index / "live.json", layout.to_json(live).encode())

    show(1, 1, 1)
    looked(reader, clock)
    show(2, 2, 2)
    assert looked(reader, clock, 5)[0] == "running"
    for _ in range(60):
        show(2, 2, 2)  # sync writes every few seconds, and did not look at this one
        assert looked(reader, clock, 10) == ("running", "beating")
    show(3, 3, 2)
    assert looked(reader, clock, 10) == ("running", "beating")  # its heart was looked at, its rows were not
    show(3, 4, 2)
    assert looked(reader, clock, 200) == ("lost", "no_sign")


def test_a_run_without_a_heart_is_judged_between_surveys(tmp_path, clock, server):
    reader = Catalog([], [("gpu1", tmp_path / "mirror")], clock=clock)

    def show(surveyed):
        server.looked += 1
        live = {"runs": {}, "line": {"up": True}, "gone": [], "looked": surveyed,
                "written": time.time() + server.looked / 1000}
        layout.replace_file(server.index / "live.json", layout.to_json(live).encode())

    for _ in range(30):
        show(1)
        assert looked(reader, clock, 10) == ("checking", "first_look")
    show(2)
    assert looked(reader, clock, 10) == ("lost", "never_seen")


def test_a_sync_that_died_without_a_word_greys_its_runs(tmp_path, clock, server):
    reader = Catalog([], [("gpu1", tmp_path / "mirror")], clock=clock)
    server.looked = -3600_000  # its last word is an hour old
    server.show(1)
    looked(reader, clock)
    assert reader.runs()["runs"][0]["stale"]
    server.looked = 0
    server.show(2)
    looked(reader, clock)
    assert not reader.runs()["runs"][0]["stale"]


def test_pulse_reports_what_it_saw_change():
    pulse = Pulse()
    assert pulse.look(0, 1, (10,)) and not pulse.look(1, 1, (10,)) and pulse.look(2, 2, (10,))
    assert pulse.look(3, 2, (11,))
    assert pulse.since_row(5) == 2


def test_a_pulse_that_was_never_seen_to_move_goes_on_after_a_restart():
    """The mirror's last word says since when it looks, and no change; then a beat moves, and no row with
    it."""
    pulse = Pulse()
    pulse.resume(0, 10)
    assert not pulse.look(11, 1, (5,)) and pulse.judge().state == "checking"
    assert pulse.look(12, 2, (5,)) and pulse.judge()[:2] == ("running", "beating")
    assert pulse.since_row(14) == 2


STEPS = st.one_of(st.tuples(st.just("look"), st.floats(0, 100), st.integers(0, 2), st.integers(0, 2),
                            st.tuples(*[st.one_of(st.none(), st.integers(0, 3))] * 2)),
                  st.just(("line down",)))
RESUMED = st.one_of(st.none(),
                    st.tuples(st.floats(0, 400), st.floats(0, 100), st.one_of(st.none(), st.floats(0, 400)),
                              st.one_of(st.none(), st.floats(0, 400))))


@given(RESUMED, st.lists(STEPS, max_size=12))
def test_whatever_a_pulse_saw_there_is_a_verdict(resumed, steps):
    pulse, now = Pulse(), 1000.0
    if resumed:
        long, ago, changed, grew = resumed
        changed, grew = (None if since is None else now - ago - since for since in (changed, grew))
        pulse.resume(now - ago - long, now - ago, changed, grew)
    for step in steps:
        if step[0] == "line down":
            pulse.line_down()
        else:
            _, passed, sign, rows, asked = step
            now += passed
            pulse.look(now, sign, (rows,), asked)
        verdict = pulse.judge()
        assert verdict.state in ("running", "checking", "stalled", "lost") and verdict.text
        assert all(seconds >= 0 for seconds in verdict.values.values())
        assert pulse.since_row(now) is None or pulse.since_row(now) >= 0


def test_sources_judge_alike_for_local_roots_and_mirrors():
    assert LocalRoot.verdict is MirrorSource.verdict
