"""A first look at a run whose files are not here: from the server, into memory, and quietly without it where the line is down."""

import shutil

import pytest
from test_reader import make_run, mirror_of

from runicorn import far, layout
from runicorn.errors import LineError
from runicorn.reader import Reader

KEY = "gpu1:vision/resnet50/20250123_180000_abc123"


class FolderMirrors:
    """Serves blocks of files from the folder that plays the server; counts what it was asked."""

    def __init__(self, root, broken=False):
        self.root, self.broken, self.asked = root, broken, 0

    def peek(self, key, name, ranges):
        self.asked += 1
        if self.broken:
            raise LineError("the line is down")
        project, experiment, run_id = key.partition(":")[2].split("/")
        data = (self.root / project / experiment / "runs" / run_id / name).read_bytes()
        return [data[offset : offset + length] for offset, length in ranges]


@pytest.fixture
def entry(tmp_path):
    """A run of 60,000 rows on the server, of which only the index is here."""
    folder = make_run(tmp_path / "far", status="running", events=[{"loss": 1.0 - n / 60_000} for n in range(60_000)])
    (folder / "logs.txt").write_text("".join(f"{layout.stamp(1737655200 + n)}line {n}\n" for n in range(20_000)))
    mirror_of(tmp_path / "far", tmp_path / "mirror")
    shutil.rmtree(tmp_path / "mirror/vision")
    reader = Reader([], [("gpu1", tmp_path / "mirror")])
    reader.refresh()
    return reader.entry(KEY), reader.series(KEY)


def test_a_curve_is_drawn_from_spaced_blocks(tmp_path, entry):
    entry, series = entry
    mirrors = FolderMirrors(tmp_path / "far")
    far.prime(mirrors, entry, series)
    picture = series.picture("loss", buckets=100)
    assert picture["approximate"] and picture["x_min"] == 0 and picture["x_max"] == 59_999 and 200 < picture["m"] < 30_000
    asked = mirrors.asked
    far.prime(mirrors, entry, series)
    assert mirrors.asked == asked and not entry.folder.exists()


def test_the_end_of_the_log_is_shown(tmp_path, entry):
    page = far.log_end(FolderMirrors(tmp_path / "far"), entry[0], 65536)
    whole = (tmp_path / "far/vision/resnet50/runs/20250123_180000_abc123/logs.txt").read_bytes()
    assert page["lines"][-1]["text"] == "line 19999" and page["end"] == page["size"] == len(whole) and page["more_before"]
    first = page["lines"][0]
    assert whole[first["at"] :].split(b"\n")[0].endswith(first["text"].encode()) and first["n"] is None


def test_without_a_line_there_is_nothing_and_no_error(tmp_path, entry, caplog):
    entry, series = entry
    mirrors = FolderMirrors(tmp_path / "far", broken=True)
    far.prime(mirrors, entry, series)
    assert series.picture("loss") is None and far.log_end(mirrors, entry, 65536) is None
