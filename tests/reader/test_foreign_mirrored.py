"""Runs of other loggers in a mirror, as the list, their page and the commands show them; no server is asked
but for blocks."""

import json
import os
import shutil
import time

import pytest
from clocks import Clock
from tfrecords import event, simple

from runicorn import foreign, layout, manifest
from runicorn.errors import DeniedError, LineError
from runicorn.left_out import FILE, LeftOut
from runicorn.reader.catalog import Catalog
from runicorn.reader.liveness import CHECKING, QUIET, Pulse, judge_foreign
from runicorn.viewer import far_files

TABLE = "epoch,step,loss\n" + "".join(f"0,{step},{1 / (step + 1)!r}\n" for step in range(20))
EVENTS = "events.out.tfevents.1737653445.gpu-01"
OLD = time.time() - 200_000


def scalars(steps):
    return b"".join(event(1737653445 + step, step, simple("loss", 1 / (step + 1))) for step in steps)


def put(root, path, content, mtime=OLD):
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(place, (mtime, mtime))
    return place


def mirror_of(root, folder, live=None, up=True, written=None):
    """Make a mirror's folder as sync leaves it."""
    shutil.copytree(root, folder, dirs_exist_ok=True)
    (folder / ".index").mkdir(exist_ok=True)
    (folder / ".index/source.json").write_text(layout.to_json({"host": "gpu-01", "root": str(root)}))
    manifest.save(manifest.build(str(root), find_others=foreign.find), os.fspath(folder / ".index/full.json"))
    tell(folder, live, up, written)
    return folder


def tell(folder, live=None, up=True, written=None, looked=None):
    now = time.time()
    told = {"runs": live or {}, "line": {"up": up}, "gone": [], "written": written or now,
            "looked": looked or now, "ahead": 0.0, "checked": [["", now]]}
    layout.replace_file(folder / ".index/live.json", layout.to_json(told).encode())


def catalog_of(mirror, tmp_path, clock=None):
    opened = Catalog([], [("gpu", mirror)], home=tmp_path / "home", clock=clock or Clock())
    opened.refresh()
    opened.look()
    return opened


@pytest.fixture
def root(tmp_path):
    put(tmp_path / "far", f"tb/{EVENTS}", scalars(range(10)))
    put(tmp_path / "far", "lightning/version_0/metrics.csv", TABLE)
    put(tmp_path / "far", "lightning/version_0/hparams.yaml", "lr: 0.1\n")
    put(tmp_path / "far", "lightning/version_0/out.log", "first line\nlast line\n")
    state = {"log_history": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], "max_steps": 2,
             "global_step": 2}
    put(tmp_path / "far", "bert/checkpoint-2/trainer_state.json", json.dumps(state))
    return tmp_path / "far"


def test_the_list_shows_them_with_their_kind_step_and_metric(root, tmp_path):
    opened = catalog_of(mirror_of(root, tmp_path / "mirror"), tmp_path)
    rows = {row["key"]: row for row in opened.runs()["runs"]}
    assert set(rows) == {"gpu:tb", "gpu:lightning/version_0", "gpu:bert"}
    assert {key: (*row["kinds"], row["step"], row["state"]) for key, row in rows.items()} == {
        "gpu:tb": ("tensorboard", 9, "quiet"), "gpu:lightning/version_0": ("csv", 19, "quiet"),
        "gpu:bert": ("trainer", 2, "finished")}
    assert rows["gpu:tb"]["main"]["value"] == pytest.approx(0.1)
    assert rows["gpu:tb"]["reason"]["seconds"] > 190_000
    assert [row["key"] for row in opened.runs("kind:csv connection:gpu")["runs"]] == [
        "gpu:lightning/version_0"]
    run = opened.run("gpu:lightning/version_0")
    assert run["config"] == {"lr": 0.1} and run["files_here"] and run["verified"]
    assert run["remote_path"] == f"{root}/lightning/version_0"
    entry = opened.entry("gpu:lightning/version_0")
    indexed, places, _ = entry.source.copies(entry.record.path)
    assert entry.source.agrees(entry.record.path, indexed, places) == dict.fromkeys(
        ["metrics.csv", "hparams.yaml", "out.log"], True)


def test_a_copy_that_is_not_what_the_server_has_is_not_verified(root, tmp_path):
    mirror = mirror_of(root, tmp_path / "mirror")
    opened = catalog_of(mirror, tmp_path)
    assert opened.run("gpu:tb")["verified"]
    put(mirror, f"tb/{EVENTS}", scalars(range(9)) + scalars([10]))
    assert not opened.run("gpu:tb")["verified"]
    os.unlink(mirror / "tb" / EVENTS)
    run = opened.run("gpu:tb")
    assert not run["verified"] and not run["files_here"]


def test_its_page_says_which_of_its_files_could_not_come(root, tmp_path):
    mirror = mirror_of(root, tmp_path / "mirror")
    out = LeftOut()
    out.add(("tb", EVENTS), {"size": 420, "mtime": OLD}, DeniedError("permission denied", 3))
    (mirror / ".index" / FILE).write_bytes(out.to_json())
    told = catalog_of(mirror, tmp_path).run("gpu:tb")["left_out"]
    assert list(told) == [EVENTS] and "does not let us read" in told[EVENTS]["text"]


def test_files_that_arrive_are_no_sign_of_life(root, tmp_path):
    for place in root.rglob("*"):
        os.utime(place, (time.time() - 3600,) * 2)
    mirror, clock = mirror_of(root, tmp_path / "mirror"), Clock()
    shutil.move(mirror / "tb" / EVENTS, tmp_path / "later")
    opened = catalog_of(mirror, tmp_path, clock)
    assert opened.row("gpu:tb")["state"] == "checking"
    shutil.move(tmp_path / "later", mirror / "tb" / EVENTS)
    clock.now += 2
    assert "gpu:tb" in opened.look()[0], "the page is told that it came"
    assert opened.row("gpu:tb")["state"] == "checking" and opened.row("gpu:tb")["step"] == 9
    clock.now += CHECKING
    tell(mirror, looked=time.time() + 92)
    opened.refresh()
    opened.look()
    assert opened.row("gpu:tb")["state"] == "quiet"


def grown(seconds_ago, path="tb"):
    now = time.time()
    return {path: {"beat": None, "seen": now - seconds_ago, "first": now - seconds_ago - 100, "looked": now,
                   "read": now}}


def test_what_was_seen_to_grow_on_the_server_runs_until_it_is_quiet(root, tmp_path):
    mirror = mirror_of(root, tmp_path / "mirror", grown(5))
    opened = catalog_of(mirror, tmp_path)
    row = opened.row("gpu:tb")
    assert (row["state"], row["reason"]["code"]) == ("running", "grew") and 5 <= row["reason"]["seconds"] < 60
    mirror = mirror_of(root, tmp_path / "mirror2", grown(QUIET + 300))
    row = catalog_of(mirror, tmp_path).row("gpu:tb")           # a viewer that begins anew
    assert row["state"] == "quiet" and QUIET + 300 <= row["reason"]["seconds"] < QUIET + 360


def test_a_viewer_that_begins_anew_and_tells_the_same_by_another_clock_saw_nothing_grow(root, tmp_path):
    mirror, clock = mirror_of(root, tmp_path / "mirror", grown(QUIET + 300)), Clock()
    opened = catalog_of(mirror, tmp_path, clock)
    assert opened.row("gpu:tb")["state"] == "quiet"
    ahead, now = 1234.567, time.time()
    runs = {path: {name: value and value - ahead for name, value in run.items()}
            for path, run in grown(QUIET + 300).items()}
    told = {"runs": runs, "line": {"up": True}, "gone": [], "written": now, "looked": now - ahead,
            "ahead": ahead, "checked": [["", now]]}
    layout.replace_file(mirror / ".index/live.json", layout.to_json(told).encode())
    clock.now += 2
    opened.refresh()
    opened.look([row["key"] for row in opened.runs()["runs"]])
    assert opened.row("gpu:tb")["state"] == "quiet"
    tell(mirror, grown(0))
    opened.refresh()
    opened.look(["gpu:tb"])
    assert opened.row("gpu:tb")["state"] == "running"


def test_growth_that_is_told_late_is_as_old_as_it_is(root, tmp_path):
    mirror, clock = mirror_of(root, tmp_path / "mirror"), Clock()
    opened = catalog_of(mirror, tmp_path, clock)
    for seconds, state in ((QUIET + 300, "quiet"), (100, "running")):
        tell(mirror, grown(seconds))
        clock.now += 2
        opened.refresh()
        opened.look(["gpu:tb"])
        row = opened.row("gpu:tb")
        assert row["state"] == state and seconds <= row["reason"]["seconds"] < seconds + 60


def test_a_line_that_is_down_says_how_old_the_state_is(root, tmp_path):
    mirror = mirror_of(root, tmp_path / "mirror", grown(5), up=False, written=time.time() - 60)
    row = catalog_of(mirror, tmp_path).row("gpu:tb")
    assert row["state"] == "running" and 60 <= row["reason"]["age"] < 120 and "as of" in row["reason"]["text"]


def pulse(first_look, looked, changed=None):
    made = Pulse()
    made.resume(first_look, looked, changed)
    return made


@pytest.mark.parametrize(("told", "gap", "age", "state"), [
    (pulse(0, 0), None, 200_000, "quiet"),                      # no clock is so wrong
    (pulse(0, 10), None, 5000, "checking"), (pulse(0, 100), None, 5000, "quiet"),
    (pulse(0, 100), None, 100, "checking"),                     # written a moment ago, says a clock
    (pulse(0, QUIET + 1), None, 100, "quiet"),                  # … that is wrong
    (pulse(0, 100), None, None, "quiet"), (pulse(0, 50), None, None, "checking"),
    (pulse(0, 1000, 500), None, None, "running"), (pulse(0, 2000, 500), None, None, "quiet"),
    (pulse(0, 2000, 500), 100, None, "running"), (pulse(0, 2600, 500), 100, None, "quiet"),
    (pulse(0, 9000, 500), None, 60, "checking"),                # it went on while nobody looked
    (None, None, 10, "checking")])
def test_a_run_is_quiet_when_nobody_saw_it_grow_for_long_enough(told, gap, age, state):
    verdict = judge_foreign(told, gap, age)
    assert verdict.state == state and (state != "quiet" or verdict.values["seconds"] >= CHECKING)


def test_a_file_that_vanished_from_a_run_that_goes_on_is_no_part_of_it(root, tmp_path):
    put(root, f"tb/{EVENTS}.2", scalars(range(5)))
    mirror = mirror_of(root, tmp_path / "mirror")
    os.unlink(root / "tb" / EVENTS)
    mirror_of(root, mirror)
    assert (mirror / "tb" / EVENTS).exists()
    series = catalog_of(mirror, tmp_path).series("gpu:tb")
    assert list(series.points("loss")[0]) == [0, 1, 2, 3, 4]


class FolderMirrors:
    """Serves blocks of files from the folder that plays the server."""

    def __init__(self, root, broken=False):
        self.root, self.broken, self.asked = root, broken, []

    def peek(self, slug, path, name, ranges):
        self.asked.append(name)
        if self.broken:
            raise LineError("the line is down")
        data = (self.root / foreign.folder_of(path) / name).read_bytes()
        return [data[offset:offset + length] for offset, length in ranges]


def test_curves_and_log_of_what_is_not_here_come_from_the_server(root, tmp_path):
    put(root, f"tb/{EVENTS}", scalars(range(20_000)))
    mirror = mirror_of(root, tmp_path / "mirror")
    shutil.rmtree(mirror / "tb")
    shutil.rmtree(mirror / "lightning")
    opened, mirrors = catalog_of(mirror, tmp_path), FolderMirrors(root)
    entry, series = opened.entry("gpu:tb"), opened.series("gpu:tb")
    far_files.prime(mirrors, entry, series)
    picture = series.picture("loss", buckets=100)
    assert picture["approximate"] and (picture["x_min"], picture["x_max"]) == (0, 19_999)
    assert 100 < picture["m"] < 20_000
    asked = list(mirrors.asked)
    far_files.prime(mirrors, entry, series)
    assert mirrors.asked == asked and set(asked) == {EVENTS}
    entry, series = opened.entry("gpu:lightning/version_0"), opened.series("gpu:lightning/version_0")
    far_files.prime(FolderMirrors(root, broken=True), entry, series)
    assert series.metrics() == {}
    far_files.prime(mirrors, entry, series)
    assert series.picture("loss")["x_max"] == 19
    log = far_files.FarLog(mirrors, entry, ["out.log"])
    assert [line["text"] for line in log.page(None, None, 1 << 16)["lines"]] == ["first line", "last line"]
    shutil.copytree(root, mirror, dirs_exist_ok=True)
    series.refresh()
    far_files.prime(mirrors, entry, series)
    assert not series.picture("loss")["approximate"]


def test_a_damaged_line_of_one_in_the_index_costs_only_that_run(tmp_path):
    root = tmp_path / "far"
    put(root, "tb/metrics.csv", TABLE)
    put(root, "other/metrics.csv", TABLE)
    full = mirror_of(root, tmp_path / "near") / ".index/full.json"
    line = next(line for line in full.read_bytes().splitlines() if line.startswith(b'"tb'))
    full.write_bytes(full.read_bytes().replace(line, line.replace(b'"mtime": ', b'"mtime": \xff', 1)))
    assert [row["key"] for row in catalog_of(tmp_path / "near", tmp_path).runs()["runs"]] == ["gpu:other"]
