"""`check` says what is wrong and where; the golden folders, which show the format to other languages, are
read as expected."""

import json
import shutil
from pathlib import Path

import pytest

from runicorn import layout
from runicorn.cli import main as cli
from runicorn.metrics.series import Series
from runicorn.reader.catalog import Catalog
from runicorn.transfer.check import check

GOLDEN = Path(__file__).parents[1] / "golden" / "root"
EXPECTED = json.loads((GOLDEN.parent / "expected.json").read_text(encoding="utf-8"))
RUN = "vision/resnet50/runs/20250123_180000_abc123"


def found(path):
    return [(finding.path, finding.line, finding.wrong) for finding in check(path)]


# -- the golden folders --------------------------------------------------------------------------------------

def test_the_expectations_cover_every_golden_run():
    assert set(EXPECTED) == {folder.relative_to(GOLDEN).as_posix() for folder in GOLDEN.glob("*/*/runs/*")}


@pytest.mark.parametrize("path", EXPECTED)
def test_golden_points_are_read_as_expected(path):
    series = Series(GOLDEN / path)
    series.refresh()
    metrics = {name: [facts["points"], facts["first_step"], facts["last_step"], layout.strict(facts["last"])]
               for name, facts in series.metrics().items()}
    expected = EXPECTED[path]
    assert (metrics, series.skipped, list(series.ranks)) == (
        expected["metrics"], expected["skipped"], expected["ranks"])


@pytest.mark.parametrize("path", EXPECTED)
def test_golden_names_and_states_are_read_as_expected(path, tmp_path):
    reader = Catalog([("local", GOLDEN)], home=tmp_path)
    reader.refresh()
    row = reader.row(reader.find(path.replace("/runs/", "/")))
    expected = EXPECTED[path]
    assert (row["project"], row["name"], row["newer"]) == (
        expected["project"], expected["name"], expected["newer"])
    if expected["status"] not in (None, "running"):
        assert row["state"] == expected["status"]


def test_numbers_come_back_bit_by_bit():
    series = Series(GOLDEN / "vision/numbers/runs/20250127_120000_cccccc")
    series.refresh()
    picture = series.picture("x")
    assert picture["last"] == [0.1, 0.30000000000000004, 0.0] and str(picture["last"][2]) == "-0.0"
    assert [word for _, word in picture["nan"]] == ["Infinity", "-Infinity", "NaN"]
    assert series.picture("tiny")["last"] == [5e-324]
    assert series.picture("huge")["last"] == [1.7976931348623157e308]


def test_a_newer_attempt_supersedes_metric_by_metric():
    series = Series(GOLDEN / "vision/resnet50/runs/20250124_090000_def456")
    series.refresh()
    loss, val = series.picture("loss"), series.picture("val")
    assert (loss["x"], loss["last"]) == ([0, 1, 2, 3], [1.0, 0.75, 0.5, 0.25])
    assert loss["superseded"]["last"] == [0.7, 0.65]
    assert (val["x"], val["last"]) == ([1, 2], [0.9, 0.8])


def test_the_only_wrong_line_of_the_golden_root_is_found():
    damaged = "vision/numbers/runs/20250127_120000_cccccc/events.jsonl"
    findings = found(GOLDEN)
    assert [finding[:2] for finding in findings if finding[2]] == [(damaged, 5)]
    assert (damaged, 9, False) in findings                      # its torn end is no fault


# -- faults --------------------------------------------------------------------------------------------------

@pytest.fixture
def root(tmp_path):
    shutil.copytree(GOLDEN / RUN, tmp_path / "root" / RUN)
    return tmp_path / "root"


def test_a_good_run_has_no_findings(root):
    assert found(root) == [] and found(root / RUN) == []


@pytest.mark.parametrize("name, data, line", [
    ("meta.json", b'{"format": 1', 1),
    ("meta.json", b'[1]', None),
    ("meta.json",
     b'{"format": 1, "id": "20250123_180000_abc123", "project": "audio", "name": "resnet50", '
     b'"created_at": 1}', None),
    ("meta.json",
     b'{"format": 1, "id": "20250123_180000_abc123", "project": "vision", "name": "resnet50", '
     b'"created_at": "now"}', None),
    ("status.json", b'{"status": "done"}', None),
    ("summary.json", b'{"loss": NaN}', None),
    ("summary.json", b"\xff", None),
    ("events.jsonl", b'{"ts":1,"data":{"a":1}}\n{"ts":"now","data":{"a":1}}\n', 2),
    ("events.jsonl", b'{"ts":1,"step":"x","data":{"a":1}}\n', 1),
    ("events.jsonl", b'{"ts":1,"data":{"a":[1,"x"]}}\n', 1),
    ("events.jsonl", b'{"ts":1,"data":{"a":[[1]]}}\n', 1),
    ("events.jsonl", b'{"ts":1,"data":{"a":{"b":1}}}\n', 1),
    ("events.jsonl", b'{"ts":1,"data":{"a":Infinity}}\n', 1),
    ("events.jsonl", b'{"ts":1,"data":7}\n', 1),
    ("events.jsonl", b'{"ts":1,"type":"image","data":{"x":[{"file":"media/gone.png"}]}}\n', 1),
    ("events.2.jsonl", b"[]\n", 1),
    ("system.jsonl", b'{"cpu":1}\n', 1),
])
def test_a_fault_is_found_with_its_place(root, name, data, line):
    (root / RUN / name).write_bytes(data)
    assert (f"{RUN}/{name}", line, True) in found(root)
    assert cli.main(["check", str(root)]) == 1


def test_text_and_lists_of_numbers_are_values(root):
    (root / RUN / "events.jsonl").write_bytes(
        b'{"ts":1,"step":0,"data":{"a":"warm up","b":[1,2.5,"NaN"],"c":[],"d":null,"e":true}}\n')
    assert found(root) == []


def test_a_missing_meta_is_a_fault_and_a_missing_status_a_note(root):
    (root / RUN / "meta.json").unlink()
    (root / RUN / "status.json").unlink()
    assert sorted(found(root)) == [(f"{RUN}/meta.json", None, True), (f"{RUN}/status.json", None, False)]


def test_a_live_file_must_name_a_run(root):
    live = root / ".runicorn" / "live"
    live.mkdir(parents=True)
    (live / "a.json").write_text(json.dumps({"path": RUN}))
    assert found(root) == []
    (live / "b.json").write_text('{"path": "vision/gone/runs/x"}')
    assert found(root) == [(".runicorn/live/b.json", None, True)]


def test_many_faults_of_a_kind_are_counted(root):
    (root / RUN / "events.jsonl").write_bytes(b'{"ts":1,"data":7}\n' * 100)
    findings = list(check(root))
    assert len(findings) == 6 and "95 more" in findings[-1].text


def test_what_is_neither_root_nor_run_is_refused(tmp_path, capsys):
    assert cli.main(["check", str(tmp_path)]) == 2
    assert cli.main(["check", str(tmp_path / "gone")]) == 2
    assert "holds no runs" in capsys.readouterr().err


def test_findings_as_json(root, capsys):
    (root / RUN / "status.json").write_bytes(b"{}")
    assert cli.main(["check", str(root), "--json"]) == 1
    finding, = map(json.loads, capsys.readouterr().out.splitlines())
    assert finding["path"] == f"{RUN}/status.json" and finding["wrong"] is True
