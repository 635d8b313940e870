"""Paths longer than a system takes without a prefix, on a system made so: reading, carrying, checking and
deleting reach them."""

import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_runs import beat, write_run
from tfrecords import event, simple

from runicorn import layout, local_disk, local_names, manifest
from runicorn.mirror import local_copy, quota
from runicorn.reader import own_runs
from runicorn.reader.catalog import Catalog
from runicorn.transfer import bundle, check, export, importer, secret_scan
from runicorn.viewer import run_files

LIMIT = 260                             # characters, as on Windows
PREFIX = "/proc/self/root"              # what reaches further here
PROJECT, NAME, ID = "p" * 118, "n" * 118, "20250101_000000_abcdef"
RUN = f"{PROJECT}/{NAME}/runs/{ID}"


def long(path, windows=True):
    path = os.fspath(path)
    return path if path.startswith(PREFIX) else PREFIX + os.path.abspath(path)


def reach(path, windows=True):
    text = os.fspath(path)
    return type(path)(long(text) if len(text) > local_disk.ROOM else text)


@pytest.fixture
def limited(monkeypatch):
    """A system that takes paths of LIMIT characters, and longer ones with PREFIX. Gives the list of those
    that it refused."""
    refused = []

    def guarded(act):
        def call(path, *more, **words):
            if (isinstance(path, (str, Path)) and len(os.fspath(path)) >= LIMIT
                and not os.fspath(path).startswith(PREFIX)):
                refused.append(os.fspath(path))
                raise FileNotFoundError(2, "The filename or extension is too long", os.fspath(path))
            return act(path, *more, **words)
        return call
    for name in ("stat", "lstat", "open", "scandir", "listdir", "mkdir", "unlink", "rmdir", "utime"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr(local_disk, "long", long)
    monkeypatch.setattr(local_disk, "short",
                        lambda path, windows=True: os.fspath(path).replace(PREFIX, "", 1))
    monkeypatch.setattr(os, "supports_dir_fd", set())
    for module in (local_disk, own_runs, manifest):
        monkeypatch.setattr(module, "reach", reach)
    for name in ("scandir", "is_link"):
        monkeypatch.setattr(manifest, name, getattr(local_disk, name))
    return refused


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    write_run(root, PROJECT, NAME, ID)
    write_run(root, "p", "n", ID.replace("abcdef", "aaaaaa"))
    (root / RUN / "media").mkdir()
    (root / RUN / "media" / "a.png").write_bytes(b"PNG")
    assert len(str(root / RUN)) > LIMIT
    return root


def test_the_system_is_as_it_is_said(root, limited):
    with pytest.raises(FileNotFoundError):
        os.stat(root / RUN)
    assert os.stat(local_disk.reach(root / RUN)) and len(limited) == 1


def test_a_long_run_of_a_local_root_is_read_as_any(root, limited, tmp_path):
    assert len(manifest.build(str(root))) == 2
    reader = Catalog([("local", root)], [], tmp_path / "home")
    reader.refresh()
    reader.look()
    key = f"local:{PROJECT}/{NAME}/{ID}"
    assert len(reader.runs()["runs"]) == 2 and reader.run(key)["metrics"][0]["points"] == 20
    assert b"".join(export.stream(reader, key, "csv")).count(b"\n") == 21
    folder = reader.folder(key)
    assert {item["name"] for item in run_files.listed(folder)[0]} > {"media/a.png", "meta.json"}
    file = run_files.opened(folder, "media/a.png")
    assert b"".join(file) == b"PNG"
    file.close()
    assert limited == []


def test_tail_follows_a_long_run(root, limited, capsys):
    from runicorn.cli import tail
    runs = sorted(tail.run_folders(str(root)), key=len)
    assert len(runs) == 2 and runs[1].startswith(PREFIX)
    options = SimpleNamespace(root=str(root), run_id=f"{NAME}/{ID}", lines=20, rank=0, no_follow=True)
    beat(root, root / RUN, ID)
    tail.tail(options)
    printed = capsys.readouterr().out
    assert f"{PROJECT} / {NAME}" in printed and "step 19" in printed and "loss=" in printed
    write_run(Path(PREFIX + str(root)), PROJECT, NAME, ID, status="running")
    following = tail.Tail(runs[1])
    following.one_pass(0.0)
    assert following.one_pass(tail.SILENT_SECONDS + 1)
    os.utime(root / layout.HIDDEN / "live" / f"{ID}.json", (1, 1))
    assert not following.one_pass(2 * tail.SILENT_SECONDS + 2) and limited == []


def test_check_looks_at_long_runs(root, limited):
    (Path(PREFIX + str(root)) / RUN / "status.json").write_text("no JSON")
    wrong = [finding for finding in check.check(root) if finding.wrong]
    assert [finding.path for finding in wrong] == [f"{RUN}/status.json"]
    (Path(PREFIX + str(root)) / RUN / "meta.json").write_text('{"config": {"password": "hunter2hunter2"}}')
    assert [finding.path for finding in secret_scan.scan(root) if "password" in finding.text] == [
        f"{RUN}/meta.json"]
    assert limited == []


def test_long_runs_travel_in_a_bundle(root, limited, tmp_path):
    output, there = str(tmp_path / "a.tar.gz"), tmp_path / "there"
    report = bundle.bundle(str(root), bundle.snapshot(str(root)), None, output)
    assert report["runs"] == 2 and not report["problems"]
    with tarfile.open(output) as archive:
        assert len(archive.getnames()) > 10
    report = bundle.take_in(output, str(there))
    assert report["runs"] == 2 and report["problems"] == [] and report["put"] == report["files"] > 8
    assert (Path(PREFIX + str(there)) / RUN / "media" / "a.png").read_bytes() == b"PNG"
    assert bundle.take_in(output, str(there))["unchanged"] == report["files"] and limited == []


def test_runs_of_other_makes_are_taken_in_by_long_names_and_from_long_folders(limited, tmp_path):
    source, into = tmp_path / "logs", tmp_path / "into"
    far = Path(PREFIX + str(source)) / ("d" * 100) / ("e" * 100)
    far.mkdir(parents=True)
    (far / "events.out.tfevents.1.host").write_bytes(event(1737653445.25, 0, simple("loss", 0.5)))
    write_run(Path(PREFIX + str(source)), PROJECT, NAME, ID)
    report = importer.take_in(source, into)
    assert report["runs"] == 2 and report["points"] > 0 and limited == []
    assert (Path(PREFIX + str(into)) / RUN / "events.jsonl").stat().st_size > 100
    assert len(manifest.build(str(into))) == 2


def test_what_is_long_in_a_mirror_is_counted_cleaned_and_dropped(limited, tmp_path):
    home = tmp_path / "home"
    mirror = local_copy.LocalCopy(home / "cache" / "gpu")
    mirror.lock()
    for name in ("meta.json", "summary.json", "logs.txt", "events.jsonl", "d" * 100 + "/x.txt"):
        mirror.replace(RUN, name, b"{}" * 100)
    mirror.replace(RUN, "status.json", b'{"status": "finished"}')
    mirror.save_index(manifest.build(os.fspath(mirror.folder)))
    mirror.unlock()
    (slug, folder), = quota.mirror_folders(home / "cache")
    assert slug == "gpu" and quota.size_of(folder) > 1000
    went = quota.clean([folder], older_than=0)
    assert went == {"files": 3, "bytes": 600}
    mirror.replace(RUN, "logs.txt", b"{}")
    quota.drop_run(folder, RUN)
    assert mirror.read(RUN, "logs.txt", 0, 9) == b"" and mirror.read(RUN, "meta.json", 0, 9)
    quota.drop_mirror(folder)
    assert quota.mirror_folders(home / "cache") == [] and limited == []


@pytest.mark.parametrize("path, expected", [
    ("C:/a/b", "C:/a/b"), ("C:/a/" + "b" * 150, "\\\\?\\C:\\a\\" + "b" * 150),
    ("\\\\?\\C:\\a/b", "\\\\?\\C:\\a\\b"),
    ("//host/share/" + "b" * 150, "\\\\?\\UNC\\host\\share\\" + "b" * 150)])
def test_a_prefix_is_for_what_is_long(monkeypatch, path, expected):
    assert local_disk.reach(path, windows=True) == expected and local_disk.reach(path, windows=False) == path


def test_a_root_is_reached_so_that_its_runs_can_be_written(monkeypatch):
    from runicorn.writer import windows
    monkeypatch.setattr(local_disk, "long", lambda path: "\\\\?\\" + path)
    given = {"project": "p" * 60, "name": "n" * 60}
    assert windows.settle("C:\\" + "u" * 40, given, None)[0].startswith("\\\\?\\C:")
    assert windows.settle("C:\\u", given, None) == ("C:\\u", given, None)


def test_where_a_run_cant_be_made_for_its_length_that_is_said(tmp_path, limited, capsys):
    """On a server copy, which has no prefix: the training goes on."""
    import runicorn
    run = runicorn.init(project=PROJECT, name=NAME, storage=tmp_path, capture=False, system=False)
    run.log({"loss": 1.0})
    run.finish()
    assert "nothing is recorded: " in capsys.readouterr().err and limited
    assert layout.run_path(PROJECT, NAME, ID) == RUN and local_names.split_run_path(RUN)
