"""Records from outside, each field of them poisoned in turn: the bad item is mended or dropped and named, all
others go on."""

import json
import os
import shutil

import pytest
from far import Far
from manifests import HEAD, PLACES, POISON, all_lines, listed, poisoned, run_id, write_manifest
from pairs import OLD, Pair, make_run, root  # noqa: F401 (fixture)
from pairs import mirror as near  # noqa: F401 (fixture)

from runicorn import layout, manifest, settings
from runicorn.cli import main as cli
from runicorn.errors import SettingsError
from runicorn.reader.catalog import Catalog
from runicorn.ssh import sftp, sftp_answers
from runicorn.viewer import run_files
from runicorn.viewer.exchange import to_json

GOOD = "vision/resnet50/runs/20250123_180000_abc123"


# Every tenth poison, another one at the next place, and all of them.
EVERY = pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.long)])


@EVERY
def test_a_poisoned_line_of_a_manifest_costs_only_itself(root, near, caplog, every):
    make_run(root, GOOD)
    lines = all_lines(every)
    for path in lines:
        make_run(root, path, status=path.split("/")[1])
    write_manifest(root, lines)
    one = Pair(root, near)
    for _ in range(3):
        one.passes(31)
    one.same()
    index = manifest.load(near / ".index" / "full.json")
    assert sorted(index.paths()) == sorted([GOOD, *lines])
    assert [path for path in index.paths() if index.mended(path)[1]] == []
    named = [record.getMessage() for record in caplog.records if "the entry of" in record.getMessage()]
    assert len(named) == len(set(named)) > 20 / every
    one.close()
    assert len(listed([], [("m", near)])) == len(lines) + 1


CHANGED = [(b'"files": {', b'"fils": {'), (b'"logs.txt": {', b'"meta.json": {'),
           (b'"ended": true', b'"ended": null'), (b'"ended": true', b'"ended": false')]


def test_a_line_that_lost_files_or_its_end_is_not_believed(root, near):
    paths = [f"p/n/runs/{run_id(number)}" for number in range(len(CHANGED))]
    for path in paths:
        make_run(root, path, rows=2)
    manifest.generate(root)
    full = root / ".runicorn" / manifest.FULL
    lines = full.read_bytes().split(b"\n")
    for number, change in enumerate(CHANGED, 2):
        assert change[0] in lines[number]
        lines[number] = lines[number].replace(*change)
    full.write_bytes(b"\n".join(lines))
    (root / ".runicorn" / manifest.ACTIVE).unlink()
    one = Pair(root, near)
    for _ in range(2):
        one.passes(31)
    one.same()
    assert [one.sync._index.entry(path)["ended"] for path in paths] == [True] * len(paths)
    one.close()


@pytest.mark.long
@EVERY
def test_an_index_of_ours_that_was_damaged_mends_itself(root, near, every):
    make_run(root, GOOD)
    lines = all_lines(every)
    for path in lines:
        make_run(root, path, status=path.split("/")[1])
    write_manifest(near, lines)
    (near / ".index").mkdir()
    shutil.move(near / ".runicorn" / "full_manifest.json", near / ".index" / "full.json")
    (near / ".runicorn").rmdir()
    assert len(listed([], [("m", near)])) == len(lines)
    one = Pair(root, near, manifest=False)
    for _ in range(3):
        one.passes(31)
    one.same()
    one.close()
    index = manifest.load(near / ".index" / "full.json")
    assert [path for path in index.paths() if index.mended(path)[1]] == []


@EVERY
def test_a_local_root_whose_manifest_is_poisoned_is_listed(root, capsys, every):
    make_run(root, GOOD)
    lines = all_lines(every)
    for path in lines:
        make_run(root, path, status=path.split("/")[1])
    write_manifest(root, lines,
                   f'"revision": 1, "generated_at": 9e9, "host": "h", "root": {json.dumps(str(root))}')
    assert len(listed([("local", root)])) == len(lines) + 1
    assert cli.main(["runs", "--root", str(root)]) == 0
    assert cli.main(["show", GOOD.rpartition("/")[2], "--root", str(root)]) == 0
    assert cli.main(["check", str(root)]) == 0
    assert cli.main(["manifest", "--no-incremental", "--root", str(root)]) == 0
    capsys.readouterr()
    index = manifest.load(root / ".runicorn" / "full_manifest.json")
    assert [path for path in index.paths() if index.mended(path)[1]] == []


SMALL = {"meta": layout.META, "status": layout.STATUS, "summary": layout.SUMMARY}


@pytest.mark.long
@EVERY
def test_poisoned_small_files_cost_only_their_run(root, near, capsys, every):
    make_run(root, GOOD)
    both = [(place, poison) for place in PLACES.values() if place[0] in SMALL for poison in POISON.values()]
    assert len(both) > 300
    for number, (place, poison) in enumerate(both[::every]):
        run = make_run(root, f"p/n/runs/{run_id(number)}")
        (run / SMALL[place[0]]).write_text(_part(poisoned(place, poison), place[0]) if len(place) > 1
                                           else poison)
    number = len(both[::every])
    assert len(listed([("local", root)])) == number + 1
    for command in (["runs"], ["manifest"], ["show", GOOD.rpartition("/")[2]]):
        assert cli.main([*command, "--root", str(root)]) == 0
    assert cli.main(["check", str(root)]) in (0, 1)
    capsys.readouterr()
    one = Pair(root, near)
    for _ in range(3):
        one.passes(31)
    one.same()
    one.close()
    assert len(listed([], [("m", near)])) == number + 1


def _part(line, field):
    """Return the JSON text of one inlined file of a run's line."""
    start = line.index(f'"{field}": ') + len(field) + 4
    following = HEAD[HEAD.index(field) + 1]
    return line[start:line.rindex(f', "{following}": ')]


@pytest.mark.few(12)
@pytest.mark.parametrize("what", POISON)
@pytest.mark.parametrize("field",
                         ["revision", "generated_at", "host", "root", "kind", "window", "digest", "format"])
def test_a_poisoned_header_costs_at_most_its_manifest(root, near, field, what, capsys):
    make_run(root, GOOD)
    for name in ("full_manifest.json", "active_manifest.json"):
        write_manifest(root, {GOOD: poisoned(("files", "logs.txt", "size"), "3")},
                       f'"{field}": {POISON[what]}', name)
    one = Pair(root, near)
    one.passes()
    one.passes(31)
    one.same()
    one.close()
    assert len(listed([("local", root)], [("m", near)])) == 1
    assert cli.main(["manifest", "--root", str(root)]) == 0
    capsys.readouterr()


# -- the other records ---------------------------------------------------------------------------------------

class Sparse(sftp.Sftp):
    """A server that does not tell some attribute of a file."""

    missing = "mtime"

    def ask(self, request, done):
        super().ask(request, lambda answer: done(self._less(answer)))

    def _less(self, answer):
        if isinstance(answer, sftp_answers.Attrs):
            return answer._replace(**{self.missing: None})
        if isinstance(answer, list):
            return [(name, attrs if sftp.is_dir(attrs) and self.missing == "size"
                     else attrs._replace(**{self.missing: None}))
                    for name, attrs in answer]
        return answer


class SparseFar(Far):
    def client(self, **options):
        return Sparse(self.stream(), timeout=10, **options)


@pytest.mark.parametrize("use", [True, False], ids=["with a manifest", "by walking"])
def test_a_server_that_tells_no_times_is_mirrored(root, near, use):
    make_run(root, GOOD)
    running = make_run(root, "p/n/runs/20250124_180000_abc124", status="running")
    manifest.generate(str(root))
    one = Pair(root, near, SparseFar(), manifest=use)
    one.passes()
    one.same()
    with open(running / "logs.txt", "ab") as log:
        log.write(b"[2025-01-23 18:30:45+0800] more\n")
    make_run(root, "p/n/runs/20250125_180000_abc125")
    for _ in range(3):
        one.passes(31)
    one.same()
    one.close()


@pytest.mark.few(12)
@pytest.mark.parametrize("value", [
    *POISON.values(), '{"runs": []}', '{"runs": {"p/n/runs/i": 7}, "line": 7, "gone": 7, "written": "x"}',
    '{"runs": {"vision/resnet50/runs/20250123_180000_abc123": {"logs.txt": 7, "a": {"code": 1}}}}',
    '{"vision/resnet50/runs/20250123_180000_abc123": 7}', '{"state": 7}', '{"state": {"runs": []}}'])
def test_what_stands_in_a_mirror_s_own_small_records_stops_nothing(root, near, value):
    make_run(root, GOOD)
    (near / ".index").mkdir(parents=True)
    for name in ("left_out.json", "evicted", "live.json", "source.json", "viewed"):
        (near / ".index" / name).write_text(value)
    assert listed([], [("m", near)]) == []
    one = Pair(root, near)
    assert isinstance(one.sync.state(), dict)
    one.passes()
    one.passes(31)
    one.same()
    one.close()
    for name in ("left_out.json", "evicted", "live.json", "source.json", "viewed"):
        (near / ".index" / name).write_text(value)
    assert len(listed([], [("m", near)])) == 1


@pytest.mark.few(8)
@pytest.mark.parametrize("value", [*POISON.values(), '{"runs": []}', '{"runs": {"KEY": 7}}',
                                   '{"runs": {"KEY": {"tags": 7, "note": 7, "hidden": 7}}}',
                                   '{"runs": {"KEY": {"tags": [7], "note": [], "hidden": "x"}}}',
                                   '{"runs": {"KEY": {"tags": ["\\ud800"]}}}'])
def test_an_overlay_of_other_hands_stops_no_list(root, tmp_path, value):
    make_run(root, GOOD)
    (tmp_path / "overlay.json").write_text(
        value.replace("KEY", "local:vision/resnet50/20250123_180000_abc123"))
    try:
        overlay = settings.Overlay(tmp_path)
        overlay.all()
    except SettingsError:
        return              # said so, by the command that reads it
    assert len(listed([("local", root)], overlay=overlay)) == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data[:-9] + b"garbage!!",
                                    lambda data: data.replace(b"vision", b"\xffision")])
def test_a_kept_index_that_was_damaged_is_read_anew(root, tmp_path, damage):
    make_run(root, GOOD)
    first = Catalog([("local", root)], home=tmp_path / "home")
    first.refresh()
    first.save()
    kept, = (tmp_path / "home" / "index").glob("*.rows")
    kept.write_bytes(damage(kept.read_bytes()))
    row, = listed([("local", root)], home=tmp_path / "home")
    assert row["project"] == "vision"


def test_text_that_is_no_utf_8_is_shown_by_its_escape(root, capsys):
    run = make_run(root, GOOD)
    (run / "meta.json").write_text(
        '{"format": 1, "project": "p\\ud800", "name": "n\\udfff", "user": "u\\ud800", '
        '"hostname": "h\\ud800", '
        '"tags": ["t\\ud800"], "notes": "n\\ud800", "config": {"k\\ud800": "v\\ud800"}}')
    (run / "summary.json").write_text('{"m\\ud800": 0.5}')
    (run / "events.jsonl").write_text(
        '{"ts":1,"step":0,"data":{"m\\ud800":1}}\n{"ts":2,"step":1,"data":{"m\\uD800":2}}\n')
    (run / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
    row, = listed([("local", root)])
    shown = [row[field] for field in ("project", "user", "host", "tags", "note")]
    assert shown == ["p\\ud800", "u\\ud800", "h\\ud800", ["t\\ud800"], "n\\ud800"]
    reader = Catalog([("local", root)])
    reader.refresh()
    (key,) = [row["key"] for row in reader.runs("tag:t\\ud800")["runs"]]
    steps, _, values = reader.series(key).points("m\\ud800", 0)
    assert (list(steps), list(values)) == ([0, 1], [1, 2])
    told = json.loads(to_json({"files": run_files.listed(run)[0]}).body.decode())
    assert [item["name"] for item in told["files"]][0] == "caf\\xe9.txt"
    assert cli.main(["runs", "--root", str(root), "--json"]) == 0
    assert cli.main(["show", "20250123_180000_abc123", "--root", str(root)]) == 0
    assert "p\\ud800" in capsys.readouterr().out
