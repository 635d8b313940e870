"""No walk of ours follows a junction: not to list, read, copy, export, count or delete what lies behind
it."""

import collections
import os
import shutil
import tarfile

import junctions
import pytest
from small_runs import write_run

from runicorn import layout, local_disk, local_names, manifest
from runicorn.errors import NotFoundError
from runicorn.mirror import local_copy, quota
from runicorn.transfer import bundle, check, importer
from runicorn.viewer import run_files

RUN = "p/n/runs/20250101_000000_abcdef"


@pytest.fixture
def behind(tmp_path):
    """A folder outside of every root, with what is nobody's business."""
    folder = tmp_path / "behind"
    write_run(folder, "p", "secret", "20250101_000000_aaaaaa")
    (folder / "key.pem").write_text("SECRET")
    (folder / "events.out.tfevents.1.host").write_bytes(b"")
    return folder


@pytest.fixture
def root(tmp_path, behind, monkeypatch):
    """A root with a run that has a junction in it, beside one instead of a run; from here on links are
    junctions."""
    root = tmp_path / "root"
    write_run(root, "p", "n", "20250101_000000_abcdef")
    (root / RUN / "media").symlink_to(behind)
    (root / RUN / "plain").mkdir()
    (root / RUN / "plain" / "deep").symlink_to(behind)
    (root / "p" / "n" / "runs" / "back").symlink_to(root)
    junctions.pose(monkeypatch)
    assert os.path.isdir(root / RUN / "media") and not (root / RUN / "media").is_symlink()
    # what a walk of Python's own finds here
    assert any(name == "key.pem" for _, _, names in os.walk(root) for name in names)
    return root


def names_below(folder):
    return {os.path.relpath(os.path.join(here, name), folder) for here, _, names in local_disk.walk(folder)
            for name in names}


def test_the_walk_all_others_are_made_of_passes_none(root, behind):
    assert (root / RUN / "media" / "key.pem").read_text() == "SECRET"          # it is there, for who goes
    found = names_below(root)
    assert found and not [name for name in found if "key.pem" in name or "secret" in name]
    assert names_below(behind) > {"key.pem"}


def test_a_manifest_takes_them_for_links(root):
    found = manifest.build(str(root))
    assert found.paths() == [RUN]
    listed = found.entry(RUN)
    assert set(listed["files"]) & {"events.jsonl"}
    assert not [name for name in listed["files"] if "key.pem" in name or "/" in name]
    assert listed["skipped"][manifest.IN_RUNS] == 2 and found.skipped["links back to the root"] == 1


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_junction_to_another_disk_is_followed_as_a_link_is_at_every_level(tmp_path, monkeypatch, level):
    write_run(tmp_path / "disk", "p", "n", "20250101_000000_abcdef")
    parts = RUN.split("/")
    link = tmp_path / "root" / "/".join(parts[:level])
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "disk" / "/".join(parts[:level]))
    junctions.pose(monkeypatch)
    skipped = collections.Counter()
    assert [path for path, _ in manifest.runs(str(tmp_path / "root"), skipped)] == [RUN]
    (tmp_path / "root" / "p2").symlink_to(tmp_path / "disk" / "p")
    assert [path for path, _ in manifest.runs(str(tmp_path / "root"), skipped)] in (
        [RUN], ["p2/n/runs/20250101_000000_abcdef"])


def test_the_files_of_a_run_end_at_them(root, monkeypatch):
    listed, more = run_files.listed(root / RUN)
    assert not more and {item["name"] for item in listed} >= {"meta.json"}
    assert not [item["name"] for item in listed if "/" in item["name"]]
    monkeypatch.setattr(os, "supports_dir_fd", set())               # as on Windows
    for name in ("media/key.pem", "plain/deep/key.pem", "media"):
        with pytest.raises(NotFoundError):
            run_files.opened(root / RUN, name)
    file = run_files.opened(root / RUN, "meta.json")
    assert b"".join(file)
    file.close()


def test_a_bundle_holds_nothing_from_behind(root, tmp_path):
    output = str(tmp_path / "a.tar.gz")
    report = bundle.bundle(str(root), bundle.snapshot(str(root)), None, output)
    with tarfile.open(output) as archive:
        held = b"".join(archive.extractfile(member).read() for member in archive)
    assert report["files"] > 1 and b"SECRET" not in held and b"secret" not in held


def test_an_import_writes_through_none(root, tmp_path, behind):
    output = str(tmp_path / "a.tar.gz")
    other = tmp_path / "other"
    write_run(other, "p", "n", "20250101_000000_abcdef")
    (other / RUN / "media").mkdir()
    (other / RUN / "media" / "key.pem").write_text("OVERWRITTEN")
    bundle.bundle(str(other), bundle.snapshot(str(other)), None, output)
    report = bundle.take_in(output, str(root))
    assert any("symbolic link" in problem for problem in report["problems"])
    assert (behind / "key.pem").read_text() == "SECRET"


def test_foreign_runs_are_not_looked_for_behind_them(root, tmp_path, behind):
    source, into = tmp_path / "logs", tmp_path / "into"
    source.mkdir()
    (source / "linked").symlink_to(behind)
    assert not importer.holds_any(source)
    with pytest.raises(NotFoundError):
        importer.take_in(source, into)
    write_run(source, "p", "n", "20250101_000000_abcdef")
    (source / RUN / "media").symlink_to(behind)
    report = importer.take_in(source, into)
    assert report["runs"] == 1 and not [name for name in names_below(into) if "key.pem" in name]
    assert names_below(into)


def mirrored(tmp_path, behind, monkeypatch):
    """Return a Mirror with a finished run in which somebody made a junction."""
    mirror = local_copy.LocalCopy(tmp_path / "cache" / "gpu")
    mirror.lock()
    write_run(mirror.folder, "p", "n", "20250101_000000_abcdef")
    mirror.save_index(manifest.build(os.fspath(mirror.folder)))
    (mirror.folder / RUN / "media").symlink_to(behind)
    layout.replace_file(mirror.folder / RUN / "status.json", b'{"status": "finished"}')
    junctions.pose(monkeypatch)
    return mirror


def test_what_lies_behind_is_never_deleted(tmp_path, behind, monkeypatch):
    mirror, before = mirrored(tmp_path, behind, monkeypatch), names_below(behind)
    assert quota.size_of(mirror.folder) < 100_000
    assert quota.clean([mirror.folder], older_than=0)["files"] and names_below(behind) == before
    quota.drop_run(mirror.folder, RUN)
    assert names_below(behind) == before and (mirror.folder / RUN / "meta.json").exists()
    mirror.unlock()
    quota.drop_mirror(mirror.folder)
    assert names_below(behind) == before and not os.path.lexists(mirror.folder)


def test_a_run_that_a_junction_stands_for_is_nobody_s_to_clean(tmp_path, behind, monkeypatch):
    mirror = mirrored(tmp_path, behind, monkeypatch)
    shutil.rmtree(behind)
    shutil.move(mirror.folder / RUN, behind)
    (mirror.folder / RUN).symlink_to(behind)
    before = names_below(behind)
    assert quota.clean([mirror.folder], older_than=0)["files"] == 0
    with pytest.raises(local_names.LayoutError):
        quota.drop_run(mirror.folder, RUN)
    with pytest.raises(local_names.LayoutError):
        local_copy.LocalCopy(mirror.folder).place(RUN, "logs.txt")
    assert names_below(behind) == before


def test_check_goes_through_none(root, behind):
    (behind / "p" / "secret" / "runs" / "20250101_000000_aaaaaa" / "status.json").write_text("no JSON")
    assert not [finding for finding in check.check(root) if finding.wrong and "secret" in finding.path]
