"""Names, ids, paths and strict JSON of the format."""

import json
import math
import os
import stat
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runicorn import foreign, layout, local_names, manifest
from runicorn.errors import LayoutError
from runicorn.reader import log_lines

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@given(NAMES)
def test_a_slug_is_one_safe_component_on_any_disk(name):
    slug = layout.slug(name)
    assert len(slug.encode()) <= 120
    assert not set(slug) & set('/\\:*?"<>|\0\n') and slug not in (".", "..")
    assert slug[0] != "." and slug[-1] not in ". "


@given(NAMES)
def test_a_slug_tells_its_name_back(name):
    slug = layout.slug(name)
    normal = unicodedata.normalize("NFC", name)
    if "~" not in slug:
        assert slug == name
    elif len(slug.encode()) < 100:          # longer ones may have been cut
        assert local_names.unslug(slug) == normal


@given(NAMES, NAMES)
@settings(max_examples=100)
def test_two_names_never_share_a_folder(one, other):
    if one != other:
        assert layout.slug(one) != layout.slug(other)


@pytest.mark.parametrize("name, slug", [
    ("resnet50_experiment", "resnet50_experiment"), ("v2.0 (lr=1e-3)", "v2.0 (lr=1e-3)"),
    ("图像分类", "图像分类"), ("a/b", "a%2Fb~c14cdd"), (".hidden", "%2Ehidden~169241"),
    ("con", "%63on~1143da"), ("nul.txt", "%6Eul.txt~7f3cbd"),
])
def test_slugs_that_are_part_of_the_format(name, slug):
    assert layout.slug(name) == slug


def test_an_empty_name_is_refused():
    with pytest.raises(LayoutError):
        layout.slug("")


def test_the_mirror_folder_of_the_guides_connection():
    assert local_names.connection_slug("GPU Server 1") == "gpu-server-1"


@given(NAMES)
def test_slugs_made_on_a_server_keep_their_name_in_the_mirror(name):
    assert local_names.local_name(layout.slug(name), hidden=False) == layout.slug(name)


@given(st.text(min_size=1, max_size=40))
def test_no_path_from_a_server_leaves_the_mirror(tmp_path_factory, path):
    mirror = tmp_path_factory.getbasetemp() / "mirror"
    try:
        place = local_names.local_path(mirror, path)
    except LayoutError:
        return
    assert os.path.commonpath([mirror, os.path.normpath(place)]) == str(mirror) and place != mirror


@pytest.mark.parametrize("path",
                         ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "a\0b", "a/" * 40 + "b"])
def test_hostile_paths_are_refused(tmp_path, path):
    with pytest.raises(LayoutError):
        local_names.local_path(tmp_path, path)


def test_a_path_through_a_symbolic_link_is_refused(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "project").symlink_to(tmp_path)
    with pytest.raises(LayoutError):
        local_names.local_path(tmp_path / "mirror", "project/name")


@pytest.mark.parametrize("path", ["a/b/runs/c", "图/b~123456/runs/20250123_180000_abc123"])
def test_run_paths_split(path):
    assert "/".join((*local_names.split_run_path(path)[:2], "runs",
                     local_names.split_run_path(path)[2])) == path


@pytest.mark.parametrize("path", ["a/b/c/d", "a/runs/c", ".runicorn/b/runs/c", "a/b/runs/c/d"])
def test_other_paths_are_no_runs(path):
    with pytest.raises(LayoutError):
        local_names.split_run_path(path)


@pytest.mark.parametrize("stem, attempt, rank, name", [
    ("events", 1, 0, "events.jsonl"), ("events", 2, 0, "events.2.jsonl"), ("logs", 1, 0, "logs.txt"),
    ("logs", 3, 0, "logs.3.txt"), ("events", 1, 3, "events.rank3.jsonl"),
    ("system", 2, 3, "system.rank3.2.jsonl"),
])
def test_own_file_names_read_back(stem, attempt, rank, name):
    assert layout.own_file(stem, attempt, rank) == name
    assert layout.parse_own(name) == (stem, attempt, rank)


@pytest.mark.parametrize("name",
                         ["events.txt", "logs.jsonl", "events.jsonl.bak", "xevents.jsonl",
                          "media/events.jsonl"])
def test_other_files_are_not_the_runs_own(name):
    assert not local_names.is_own(name)


@given(st.floats())
def test_every_float_reads_back_bit_by_bit_from_strict_json(value):
    back = layout.number(json.loads(layout.to_json({"x": value}), parse_constant=pytest.fail)["x"])
    assert (back == value and math.copysign(1, back) == math.copysign(1, value)
            or math.isnan(value) and math.isnan(back))


def test_replace_file_leaves_the_old_one_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    layout.replace_file(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        layout.replace_file(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["summary.json"]


def test_new_folders_copy_the_roots_mode(tmp_path):
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2770)
    made = Path(layout.make_folders(root, "project/name/runs/id"))
    assert stat.S_IMODE(made.stat().st_mode) == 0o2770 == stat.S_IMODE((root / "project").stat().st_mode)


@pytest.mark.posix
def test_the_root_is_storage_then_environment_then_config_then_home(tmp_path):
    environ = {"RUNICORN_HOME": str(tmp_path)}
    assert layout.default_root(environ=environ) == tmp_path / "experiments"
    (tmp_path / "config.json").write_text('{"root": "/data/experiments"}')
    assert str(layout.default_root(environ=environ)) == "/data/experiments"
    assert str(layout.default_root(environ={**environ, "RUNICORN_DIR": "/env"})) == "/env"
    assert str(layout.default_root("/given", environ=environ)) == "/given"


# -- facts of the format that stand elsewhere, too: in what travels alone ------------------------------------

NAMES_OF_FILES = [f"{stem}{rank}{attempt}.{ending}"
                  for stem in ("events", "logs", "system", "meta", "status", "summary", "model")
                  for rank in ("", ".rank1", ".rank12", ".rank") for attempt in ("", ".2", ".x")
                  for ending in ("jsonl", "txt", "json")]


def test_the_manifest_which_runs_alone_has_the_same_facts():
    assert (manifest.FORMAT, manifest.HIDDEN, manifest.SMALL, manifest.ENDED) == (
        layout.FORMAT, layout.HIDDEN, layout.SMALL, layout.ENDED)
    own = {name for name in [*NAMES_OF_FILES, layout.BEAT] if manifest.OWN.match(name)}
    expected = {name for name in NAMES_OF_FILES if layout.parse_own(name)} | {*layout.SMALL, layout.BEAT}
    assert len(own) > 20 and own == expected
    assert {layout.STATUS, layout.own_file("events")} == foreign.OURS
    assert {*foreign.OURS, layout.META} <= foreign.MARKS


def test_lines_of_a_log_which_are_searched_by_a_process_that_has_nothing_of_ours_have_the_same_stamp():
    stamp = layout.stamp(1737653445.7)
    assert log_lines.seconds(stamp) == 1737653445 and len(stamp) == log_lines.STAMP_LENGTH
