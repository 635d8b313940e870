"""Limits that a server does not announce: plain sftp gets everything from it, and so do we, a live curve
included, by asking for less."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from clocks import Clock
from far import Far
from pairs import RUN, Pair, grow, live, make_run, tree, write
from real_syncs import Running, mirror_of, same
from sshd import Sshd
from waiting import until

from runicorn import settings
from runicorn.connections import doctor
from runicorn.errors import DeniedError, LineError, MissingFileError, ProtocolError, SftpError
from runicorn.ssh.grants import (
    CLOSE,
    GROWTH,
    HANDLES,
    LOAD,
    LSTAT,
    OPEN,
    READ,
    REQUESTS,
    STANDING,
    Asked,
    Caution,
    Grants,
    Trial,
)
from runicorn.ssh.sftp import Request

CHAOS = pytest.mark.chaos
DOOR = Path(__file__).parents[1] / "support" / "stingy_sftp.py"
OPENED, LOGGED = "p/n/runs/20250124_180000_abc124", "p/n/runs/20250125_180000_abc125"
LIMITS = ["handles=3", "handles=1", "handles=2", "handles=7",
          "handles=3 denies=Too_many_open_files refusal=3", "requests=16", "requests=2",
          "read=4096", "read=16384", "short=700", "short=5000", "burst=40", "per=150",
          "handles=3 requests=20 short=3000", "requests=40 refusal=cut", "handles=20 refusal=cut",
          "read=20000 refusal=5", "handles=4 refusal=10"]
USUAL = ("handles=3", "requests=16", "short=700")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "far"
    for number in range(30):
        make_run(folder, f"p/m/runs/20250123_1800{number:02}_abc1{number:02}", rows=200)
    make_run(folder, RUN, rows=3000)
    for path in (OPENED, LOGGED):
        make_run(folder, path, status="running", old=False, rows=300)
        live(folder, path)
        for rank in range(1, 4):
            write(folder / path / f"events.rank{rank}.jsonl", b'{"ts":1,"step":1,"data":{"loss":1}}\n')
    return folder


@pytest.mark.few(1)
@pytest.mark.parametrize("limits",
                         [limits if limits in USUAL else pytest.param(limits, marks=CHAOS)
                          for limits in LIMITS])
def test_all_comes_and_a_curve_goes_on(root, tmp_path, home, limits):
    door = f"{sys.executable} {DOOR} {limits}"
    with Sshd(tmp_path / "sshd",
              ForceCommand=door) as server, Running(mirror_of(server, root, home, small_only=False)) as one:
        if "cut" not in limits:
            assert doctor.examine(settings.checked(server.connection(remote_root=str(root))), [].append,
                                  home=home)["ok"]
        one.bell.look({"runs", f"run:gpu:{OPENED.replace('/runs/', '/')}"})
        until(lambda: same(one, root), seconds=80)
        for _ in range(3):
            for path in (OPENED, LOGGED):
                grow(root / path / "events.jsonl")
                write(root / path / "summary.json", {"loss": 0.25, "names": ["x" * 50] * 200})
            until(lambda: same(one, root), seconds=30)
        assert one.state()["state"] in ("live", "syncing"), one.state()


def test_one_file_that_can_not_be_opened_costs_the_others_nothing_and_is_counted(root, tmp_path):
    for number in range(9):
        write(root / RUN / f"bad{number}.json", {"x": number})
    with Far([sys.executable, str(DOOR), "fails=/bad"]) as far:
        pair = Pair(root, tmp_path / "near", far=far)
        began = time.monotonic()
        for _ in range(4):
            pair.passes(31)
        told = pair.sync.state()
        pair.sync.stop()
        pair.sync.run()
    assert time.monotonic() - began < 30, "nobody waits long for a file that never opens"
    here, there = tree(tmp_path / "near"), tree(root)
    assert {name: content for name, content in there.items() if "bad" not in name} == here
    assert told["reason"]["code"] == "live_partly" and told["reason"]["files"] == 9, told


def test_plain_sftp_needs_the_same_patience(root, tmp_path):
    """With more than three files open at once the server refuses; sftp opens one after the other, and gets
    all."""
    with Sshd(tmp_path / "sshd", ForceCommand=f"{sys.executable} {DOOR} handles=3") as server:
        plain = subprocess.run(["sftp", "-b", "-", "-i", str(server.key),
                                f"-oUserKnownHostsFile={server.known_hosts}", "-P",
                                str(server.port), "127.0.0.1"], input=f"get -R {root} {tmp_path / 'plain'}\n",
                               capture_output=True, text=True, timeout=60)
        assert plain.returncode == 0 and tree(tmp_path / "plain") == tree(root), plain.stderr


def asked(kind, cost=0):
    return Asked(Request(kind, b"", "x", cost, None), None)


def refused(text="x: Failure", status=4):
    return SftpError(text, status)


def test_a_refusal_with_files_open_is_asked_again_with_one_less_and_then_stands():
    grants = Grants(100, 32768)
    for _ in range(3):
        assert grants.opens(asked(OPEN)) and grants.judge(asked(OPEN), b"handle", 0) is None
    fourth = asked(OPEN)
    assert grants.opens(fourth)
    again = grants.judge(fourth, refused(), 0)
    assert again.trial == Trial(HANDLES, 3) and not grants.opens(again), "it waits for a handle"
    assert grants.judge(asked(CLOSE), None, 0) is None and grants.freed() == [again]
    assert grants.opens(again) and grants.judge(again, refused(),
                                                0) is None, "nothing else was too much: it is the file"
    assert grants.handles == 100


def test_what_was_granted_with_less_is_kept_to_and_a_little_more_is_tried_later():
    grants = Grants(100, 32768)
    again = grants.judge(asked(LSTAT), refused(), 80)
    assert again.trial == Trial(LOAD, 10) and grants.at_once == 10
    assert grants.judge(again, "attrs", 3) is None and grants.at_once == 10
    for _ in range(GROWTH):
        grants.judge(asked(LSTAT), "attrs", 3)
    assert grants.at_once == 15


@pytest.mark.parametrize("error", [
    MissingFileError("x: No such file", 2), DeniedError("x: Permission denied", 3),
    SftpError("x: Operation unsupported", 8)])
def test_what_can_not_be_for_now_stands_at_once(error):
    grants = Grants(100, 32768)
    grants.judge(asked(OPEN), b"handle", 0)
    assert grants.judge(asked(OPEN), error, 400) is None and grants.judge(asked(LSTAT), error, 400) is None


def test_a_server_that_refuses_all_for_a_while_is_left_alone_for_so_long_and_no_longer():
    clock = Clock(100.0)
    grants = Grants(100, 32768, clock)
    grants.judge(asked(LSTAT), "attrs", 0)
    one, pauses = asked(LSTAT), []
    for _ in range(100):
        again = grants.judge(one, refused(), 0)
        if again is None:
            one = asked(LSTAT)          # another one: that refusal stood
        else:
            one = again
            pauses.append(grants.pausing())
            clock.now += grants.pausing()
    assert pauses and sum(pauses) < 20 and grants.judge(asked(LSTAT), refused(),
                                                        0) is None, "in the end it is believed"


def granted(grants, kind, result=b"x"):
    if kind == OPEN:
        assert grants.opens(asked(OPEN))
    return grants.judge(asked(kind), result, 0)


@pytest.mark.parametrize("error",
                         [MissingFileError("x: No such file", 2), DeniedError("x: Permission denied", 3),
                          refused()])
def test_files_that_are_absent_or_broken_now_and_then_do_not_end_the_doubt(error):
    """Manifests and beats are looked for again and again where there are none, and one broken file is tried
    again all day."""
    grants = Grants(100, 32768)
    assert granted(grants, OPEN) is None
    for _ in range(3 * STANDING):
        if isinstance(error, (MissingFileError, DeniedError)):
            assert granted(grants, OPEN, error) is None
        else:
            again = granted(grants, OPEN, error)
            assert again.trial == Trial(HANDLES, 1) or not again, "asked again once nothing else is open"
            if again:
                granted(grants, CLOSE)
                assert grants.opens(again) and grants.judge(again, error, 0) is None
            assert granted(grants, OPEN) is None
    assert granted(grants, OPEN, refused()), "this one may be one file too many"


def test_refusals_in_a_row_are_believed_in_the_end():
    grants = Grants(100, 32768)
    for _ in range(STANDING):
        again = granted(grants, LSTAT, refused())
        assert again is None
    assert grants.judge(asked(LSTAT), refused(), 80) is None and grants.at_once == REQUESTS


@pytest.mark.parametrize("announced", [16, 8, 4, 1024])
def test_what_is_borne_is_kept_to_whatever_the_server_announces_later(announced):
    grants = Grants(100, 32768)
    grants.keep_to(16, 8)
    grants.announce(announced, 255 << 10)
    for _ in range(5 * GROWTH):
        granted(grants, LSTAT)
    assert grants.handles == min(8, announced) and grants.at_once == 16 and grants.longest == 255 << 10


def test_a_request_that_is_given_up_while_it_waits_for_a_handle_slows_the_others_no_more():
    grants = Grants(1, 32768)
    first = asked(OPEN)
    assert grants.opens(first)
    again = grants.judge(first, refused(), 5)
    assert again.trial.why is LOAD and grants.at_once == 1
    assert granted(grants, OPEN) is None and not grants.opens(again), "another file came first"
    assert list(grants.take_deferred()) == [again]
    assert granted(grants, READ) is None and grants.at_once == REQUESTS


class Line:
    """What Caution and Rest look at of an sftp.Sftp."""

    def __init__(self, crowd, crowded_at=0.0, answered_at=1.0):
        self.crowd, self.unanswered, self.crowded_at, self.answered_at = crowd, crowd, crowded_at, answered_at
        self.max_handles, self.grants = 100, Grants(100, 32768)


def test_lines_cut_under_many_requests_make_the_next_more_careful_and_long_ones_bolder():
    caution, levels = Caution(), []
    bold = Line(1)
    caution.tame(bold)
    bold.grants.announce(1024, 255 << 10)
    assert bold.grants.handles == 1024, "a server that cut nothing is believed"

    def at_once():
        line = Line(1)
        caution.tame(line)
        return line.grants.at_once
    for line in (Line(500), Line(500), Line(60), Line(16), Line(16, answered_at=100.0)):
        caution.lost(line, LineError("cut"))
        levels.append(at_once())
    assert levels == [REQUESTS, 64, 16, 4, 16]
    caution.lost(Line(500), ProtocolError("garbage"))
    assert at_once() == 64
