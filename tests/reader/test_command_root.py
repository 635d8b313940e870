"""What a command keeps of a local root for the next: it reads little, and says what a viewer's reader says,
whatever changed between."""

import json
import os
import shutil
from pathlib import Path

import pytest
from small_runs import event, write_run

from runicorn import layout, manifest
from runicorn.reader import first_look, scripts
from runicorn.reader.catalog import Catalog
from runicorn.reader.command_root import FEW

GOLDEN = Path(__file__).parents[1] / "golden"
OLD = 1737653445.0
MANY = FEW + 10


@pytest.fixture
def root(tmp_path):
    """A root of runs that were written long ago."""
    root = tmp_path / "root"
    for number in range(MANY):
        settle(write_run(root, "vision", f"n{number}", run_id(number), started=OLD + number, rows=5))
    return root


def run_id(number):
    return f"20250123_180000_{number:06x}"


def settle(folder, at=OLD):
    """Have what is in a folder be of long ago."""
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (at, at))
    return folder


def folder_of(root, number):
    return root / layout.run_path("vision", f"n{number}", run_id(number))


def command_reader(root, home):
    return scripts.open_reader([("local", root)], [], home)


def rows(reader):
    return {row["key"]: row
            for row in reader.runs(limit=None, columns=["summary.train/loss", "config.lr"])["runs"]}


def as_a_viewer_has_it(root, tmp_path):
    reader = Catalog([("local", root)], home=tmp_path / "another home")
    reader.refresh()
    reader.look()
    return rows(reader)


def taken_anew(monkeypatch):
    """Return a list to which the path of each run is added whose small files are read."""
    seen, entries = [], first_look.entries

    def counted(folder, paths):
        paths = list(paths)
        seen.extend(paths)
        return entries(folder, paths)
    monkeypatch.setattr(first_look, "entries", counted)
    return seen


def test_a_second_command_reads_no_run_that_did_not_change(root, tmp_path, monkeypatch):
    seen = taken_anew(monkeypatch)
    monkeypatch.setattr(manifest, "build", None)
    first = rows(command_reader(root, tmp_path / "home"))
    assert len(seen) == MANY
    again = rows(command_reader(root, tmp_path / "home"))
    assert len(seen) == MANY
    monkeypatch.undo()
    assert again == first == as_a_viewer_has_it(root, tmp_path)


def in_place(folder):
    (folder / "summary.json").write_text('{"train/loss": 77.25}')


def by_rename(folder):
    layout.replace_file(folder / "summary.json", b'{"train/loss": 77.25}')


def of_the_same_size_and_time(folder):
    old = (folder / "summary.json").stat()
    layout.replace_file(folder / "summary.json",
                        (folder / "summary.json").read_bytes().replace(b"0.4", b"0.7"))
    os.utime(folder / "summary.json", ns=(old.st_atime_ns, old.st_mtime_ns))


def failed(folder):
    (folder / "status.json").write_text('{"status": "failed", "exit_code": 3}')


def running_again(folder):
    (folder / "status.json").write_text('{"status": "running"}')
    with open(folder / "events.jsonl", "a") as file:
        file.write(event(OLD + 90, 90, {"train/loss": 0.125}))


def renamed_within(folder):
    (folder / "meta.json").write_text(
        json.dumps({"format": 1, "name": "another", "project": "elsewhere", "config": {"lr": 3}}))


def broken(folder):
    (folder / "meta.json").write_text("{")


def deep(folder):
    (folder / "meta.json").write_text('{"config": ' * 5000 + "1" + "}" * 5000)


def huge(folder):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(
        json.dumps({**meta, "config": {"lr": 0.5, "text": "x" * (manifest.INLINE + 1)}}))


def nan(folder):
    (folder / "summary.json").write_text('{"train/loss": NaN}')


def without_small_files(folder):
    for name in layout.SMALL:
        (folder / name).unlink()


def gone(folder):
    shutil.rmtree(folder)


def emptied(folder):
    gone(folder)
    folder.mkdir()


CHANGES = [in_place, by_rename, of_the_same_size_and_time, failed, running_again, renamed_within, broken,
           deep, huge, nan, without_small_files, gone, emptied]


@pytest.mark.few(6)
@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__ for change in CHANGES])
def test_a_change_between_two_commands_is_seen(root, tmp_path, change):
    before = rows(command_reader(root, tmp_path / "home"))
    change(folder_of(root, 3))
    after = rows(command_reader(root, tmp_path / "home"))
    assert after != before
    assert after == as_a_viewer_has_it(root, tmp_path)


def test_new_runs_and_linked_ones_are_seen(root, tmp_path):
    command_reader(root, tmp_path / "home")
    settle(write_run(root, "audio", "new", run_id(500), started=OLD))
    elsewhere = write_run(tmp_path / "elsewhere", "text", "far", run_id(501), started=OLD)
    (root / "linked").symlink_to(elsewhere.parent.parent.parent)
    after = rows(command_reader(root, tmp_path / "home"))
    assert len(after) == MANY + 2 and after == as_a_viewer_has_it(root, tmp_path)


def test_what_changed_within_the_second_is_read_again(root, tmp_path, monkeypatch):
    """A file system may tell whole seconds only: a file written just now may change once more and look the
    same."""
    in_place(folder_of(root, 3))
    command_reader(root, tmp_path / "home")
    seen = taken_anew(monkeypatch)
    command_reader(root, tmp_path / "home")
    assert seen == [folder_of(root, 3).relative_to(root).as_posix()]


def test_golden_runs_read_alike(tmp_path):
    for _ in range(2):
        assert rows(command_reader(GOLDEN, tmp_path / "home")) == as_a_viewer_has_it(GOLDEN, tmp_path)


@pytest.mark.few(2)
@pytest.mark.parametrize("damage", [
    lambda data: data[:-3], lambda data: b"", lambda data: data.replace(b"vision", b"garbag"),
    lambda data: data.replace(b'rows', b'sows')])
def test_a_damaged_file_of_kept_runs_is_read_anew(root, tmp_path, damage):
    first = rows(command_reader(root, tmp_path / "home"))
    small, = (tmp_path / "home" / "index").glob("*.small")
    small.write_bytes(damage(small.read_bytes()))
    assert rows(command_reader(root, tmp_path / "home")) == first


def test_an_absent_root_has_no_runs(tmp_path):
    assert rows(command_reader(tmp_path / "nowhere", tmp_path / "home")) == {}
    (tmp_path / "file").write_text("no folder")
    assert rows(command_reader(tmp_path / "file", tmp_path / "home")) == {}


def test_many_files_of_a_run_are_counted_beyond_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "FILES", 10)
    folder = write_run(tmp_path / "root", "vision", "n", run_id(1))
    for number in range(30):
        (folder / f"f{number}").write_text("x")
    whole = Catalog([("local", tmp_path / "root")], home=tmp_path / "another home")
    whole.refresh()
    told = [reader.run(run_id(1))["more_files"]
            for reader in (command_reader(tmp_path / "root", tmp_path / "home"), whole)]
    assert told[0] == told[1] > 20
