"""A first look at a run whose files are not here: from the server, into memory, and quietly without it where
the line is down."""

import shutil
import threading

import pytest
from catalogs import make_run, mirror_of

from runicorn import layout
from runicorn.errors import LineError
from runicorn.reader.catalog import Catalog
from runicorn.viewer import far_files

KEY = "gpu1:vision/resnet50/20250123_180000_abc123"


class FolderMirrors:
    """Serves blocks of files from the folder that plays the server; counts what it was asked."""

    def __init__(self, root, broken=False):
        self.root, self.broken, self.asked = root, broken, 0

    def peek(self, slug, path, name, ranges):
        self.asked += 1
        if self.broken:
            raise LineError("the line is down")
        data = (self.root / path / name).read_bytes()
        return [data[offset : offset + length] for offset, length in ranges]


@pytest.fixture
def entry(tmp_path):
    """A run of 60,000 rows on the server, of which only the index is here."""
    folder = make_run(tmp_path / "far", status="running",
                      events=[{"loss": 1.0 - n / 60_000} for n in range(60_000)])
    (folder / "logs.txt").write_text(
        "".join(f"{layout.stamp(1737655200 + n)}line {n}\n" for n in range(20_000)))
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    shutil.rmtree(tmp_path / "mirror/vision")
    reader = Catalog([], [("gpu1", tmp_path / "mirror")])
    reader.refresh()
    return reader.entry(KEY), reader.series(KEY)


def test_a_curve_is_drawn_from_spaced_blocks(tmp_path, entry):
    entry, series = entry
    mirrors = FolderMirrors(tmp_path / "far")
    far_files.prime(mirrors, entry, series)
    picture = series.picture("loss", buckets=100)
    assert picture["approximate"] and picture["x_min"] == 0 and picture["x_max"] == 59_999
    assert 200 < picture["m"] < 30_000
    asked = mirrors.asked
    far_files.prime(mirrors, entry, series)
    assert mirrors.asked == asked and not entry.folder.exists()


def test_answers_that_are_asked_for_at_once_take_one_sample_between_them(tmp_path, entry):
    entry, series = entry
    held, began, mirrors = threading.Event(), threading.Event(), FolderMirrors(tmp_path / "far")
    serve = mirrors.peek

    def slow(*asked):
        began.set()
        assert held.wait(20)
        return serve(*asked)
    mirrors.peek = slow
    answers = [threading.Thread(target=far_files.prime, args=(mirrors, entry, series), daemon=True)
               for _ in range(5)]
    for answer in answers:
        answer.start()
    assert began.wait(20)
    far_files.prime(mirrors, entry, series, wait=False)         # the log's answer waits for no curve
    held.set()
    for answer in answers:
        answer.join(20)
    # the file's ends, then what lies between them
    assert mirrors.asked == 2 and series.picture("loss")["approximate"]


def test_a_file_that_grows_far_away_is_sampled_again_once_that_shows_or_was_cheap(
        tmp_path, entry, monkeypatch):
    entry, series = entry
    mirrors, now = FolderMirrors(tmp_path / "far"), [1000.0]
    monkeypatch.setattr(far_files.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(type(entry), "there", lambda _: {"events.jsonl": size[0]})
    size, asked = [(tmp_path / "far" / entry.record.path / "events.jsonl").stat().st_size], []

    def slow(*asked_for, serve=mirrors.peek):
        now[0] += 1.0
        return serve(*asked_for)
    mirrors.peek = slow
    for grown, seconds in ((0, 0), (1000, 1), (2000, 30), (0, 41), (size[0] // 2, 0), (-size[0], 0)):
        size[0], now[0] = size[0] + grown, now[0] + seconds
        before = mirrors.asked
        far_files.prime(mirrors, entry, series)
        asked.append(mirrors.asked > before)
    assert asked == [True, False, False, True, True, True]


def log_of(tmp_path, entry, mirrors=None):
    return far_files.FarLog(mirrors or FolderMirrors(tmp_path / "far"), entry[0], ["logs.txt"])


def whole_log(tmp_path):
    return (tmp_path / "far/vision/resnet50/runs/20250123_180000_abc123/logs.txt").read_bytes()


def hold(tmp_path, count):
    """Let the first `count` bytes of the log be here."""
    copy = tmp_path / "mirror/vision/resnet50/runs/20250123_180000_abc123/logs.txt"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(whole_log(tmp_path)[:count])


@pytest.mark.few(1)
@pytest.mark.parametrize("count", [0, 40, 300_000])
def test_a_log_that_is_not_all_here_is_read_from_the_server(tmp_path, entry, count):
    if count:
        hold(tmp_path, count)
    log, whole = log_of(tmp_path, entry), whole_log(tmp_path)
    page = log.page()
    assert page["lines"][-1]["text"] == "line 19999" and page["end"] == page["size"] == len(whole)
    assert page["more_before"]
    first = page["lines"][0]
    assert whole[first["at"] :].split(b"\n")[0].endswith(first["text"].encode()) and first["n"] is None
    assert log.covered == count
    before = log.page(before=page["start"])
    assert before["end"] == page["start"]
    assert before["lines"][-1]["text"] == f"line {int(first['text'][5:]) - 1}"
    seam = log.page(offset=max(0, count - 100))
    assert seam["lines"][1][
        "text"] == f"line {whole[: seam['lines'][1]['at']].count(10)}", "across what is here and what is not"


def test_the_true_end_is_found_where_the_index_is_older(tmp_path, entry):
    with open(tmp_path / "far/vision/resnet50/runs/20250123_180000_abc123/logs.txt", "a") as file:
        file.write(f"{layout.stamp(1737700000)}the newest line\n")
    assert log_of(tmp_path, entry).page()["lines"][-1]["text"] == "the newest line"


def test_what_is_here_can_be_searched_and_no_more_is_fetched_for_it(tmp_path, entry):
    hold(tmp_path, 300_000)
    mirrors = FolderMirrors(tmp_path / "far")
    log = log_of(tmp_path, entry, mirrors)
    asked = mirrors.asked
    hits = [hit["at"] for hit in log.local().find("line 100") if "at" in hit]
    assert hits and max(hits) < 300_000 and mirrors.asked == asked
    assert log.local().page(offset=0)["lines"] == log.page(offset=0)["lines"]


def test_without_a_line_there_is_nothing_and_no_error(tmp_path, entry, caplog):
    entry, series = entry
    mirrors = FolderMirrors(tmp_path / "far", broken=True)
    far_files.prime(mirrors, entry, series)
    assert series.picture("loss") is None
    log = far_files.FarLog(mirrors, entry, ["logs.txt"])
    assert log.covered == 0 and log.local() is None and log.size == len(whole_log(tmp_path))
    with pytest.raises(LineError):
        log.page()


@pytest.mark.few(1)
@pytest.mark.parametrize("grown", [0, 1, 100_000, 131_072, 200_000, 5_000_000, 70_000_000])
def test_the_true_end_of_a_log_is_found_however_much_it_grew_since_the_index_was_made(tmp_path, entry, grown):
    mirrors, text = FolderMirrors(tmp_path / "far"), whole_log(tmp_path)
    with open(tmp_path / "far/vision/resnet50/runs/20250123_180000_abc123/logs.txt", "ab") as file:
        file.write(b"y" * grown)
    log = log_of(tmp_path, entry, mirrors)
    assert log.size == len(text) + grown
    assert mirrors.asked <= 8


@pytest.mark.few(2)
@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("count", [0, 40, 300_000])
def test_a_time_is_found_in_what_is_not_here_yet_in_few_round_trips(tmp_path, entry, count, stamped):
    far = tmp_path / "far/vision/resnet50/runs/20250123_180000_abc123/logs.txt"
    far.write_text("".join(f"{layout.stamp(1737655200 + n) if stamped else ''}line {n} {'x' * 200}\n"
                           for n in range(40_000)))
    if count:
        hold(tmp_path, count)
    mirrors = FolderMirrors(tmp_path / "far")
    log, whole = log_of(tmp_path, entry, mirrors), whole_log(tmp_path)
    for n in (0, 100, 1500, 25_000, 39_999):
        at = log.at_time(1737655200 + n)
        assert at == (whole.index(f"line {n} ".encode()) - len(layout.stamp(0)) if stamped else len(whole))
    assert log.at_time(1737655200 + 40_000) == log.size == len(whole) and mirrors.asked < 90


@pytest.mark.few(1)
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_curve_whose_events_are_being_fetched_is_marked_and_reaches_to_the_end_of_what_is_there(
        tmp_path, entry, rank, broken):
    name = "events.rank1.jsonl" if rank else "events.jsonl"
    far = tmp_path / "far/vision/resnet50/runs/20250123_180000_abc123"
    whole = (far / "events.jsonl").read_bytes()
    (far / name).write_bytes(whole)
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    copy = tmp_path / "mirror/vision/resnet50/runs/20250123_180000_abc123" / name
    copy.write_bytes(whole[:len(whole) // 10])
    reader = Catalog([], [("gpu1", tmp_path / "mirror")])
    reader.refresh()
    run, series = reader.entry(KEY), reader.series(KEY)
    far_files.prime(FolderMirrors(tmp_path / "far", broken), run, series, [rank])
    told = series.told(KEY, "loss", buckets=100, rank=rank)
    picture = series.picture("loss", buckets=100, rank=rank)
    assert picture["approximate"] and (picture["x_max"] == 59_999) is not broken
    copy.write_bytes(whole)
    series.refresh()
    picture = series.picture("loss", buckets=100, rank=rank)
    assert not picture["approximate"] and picture["total"] == 60_000
    assert series.told(KEY, "loss", buckets=100, rank=rank) != told
    copy.write_bytes(whole[:len(whole) // 10])         # cut on the server, too
    series.refresh()
    assert series.picture("loss", rank=rank)["approximate"]
    series.expect({})
    assert not series.picture("loss", rank=rank)["approximate"]
