"""Which runs of other loggers a connection lists: by the server's manifest, by python3 there and by SFTP alone the same as on its disk."""

import json

import pytest
from mixed_root import EVENTS, OURS, TABLE, expected, make, mirrored, put
from pairs import mirror, pair, root  # noqa: F401 (fixtures)

from runicorn import foreign, manifest
from runicorn.mirror import plan, remote_index


def test_the_manifest_command_lists_them_and_says_that_it_looked(root):
    make(root)
    manifest.generate(str(root))
    full = manifest.load(root / ".runicorn" / manifest.FULL)
    assert full.header["foreign"] is True and full.lines == manifest.build(str(root), find_others=foreign.find).lines
    assert {OURS, "tb/a", "p/wandb/:abc", "p/n2/runs/Jan01_host"} < set(full.lines) and "p/n/beside" not in full.lines
    put(root, f"tb/new/{EVENTS}", "x")
    manifest.generate(str(root))
    active = manifest.load(root / ".runicorn" / manifest.ACTIVE)
    assert active.header["foreign"] is True and "tb/new" in active.lines
    assert active.header["digest"] == manifest.load(root / ".runicorn" / manifest.FULL).header["digest"]


def test_a_manifest_of_before_that_says_nothing_of_them_is_made_anew(root):
    make(root)
    manifest.save(manifest.build(str(root)), str(root / ".runicorn" / manifest.FULL))
    assert manifest.load(root / ".runicorn" / manifest.FULL).header["foreign"] is False
    assert manifest.generate(str(root))["changed"]
    assert manifest.load(root / ".runicorn" / manifest.FULL).header["foreign"] is True


def test_an_index_knows_whose_a_run_is_without_parsing_its_line(root, monkeypatch):
    make(root)
    others = {path for path, (kinds, _) in expected(root).items() if kinds}
    monkeypatch.setattr(manifest.Manifest, "mended", None)
    index = remote_index.RemoteIndex(manifest.build(str(root), find_others=foreign.find))
    assert len(others) == 11 and index.foreign == others and OURS in index
    assert index.folder("p/wandb/:abc") == "p/wandb" and index.folder(OURS) == OURS
    monkeypatch.undo()
    entry = index.entry("tb/a")
    index.put("tb/a", {**entry, "files": {**entry["files"], EVENTS: {"size": 7, "mtime": 1.0, "tail": None}}})
    again = remote_index.RemoteIndex(manifest.parse(b"".join(manifest.text(index.flush()))))
    assert again.entry("tb/a")["kinds"] == ["tensorboard"] and again.entry("tb/a")["files"][EVENTS]["size"] == 7
    index.drop("tb/a")
    assert "tb/a" not in index.foreign


HOSTILE = ["../x", "/etc", "a/../b", ".ssh", "a/.git/b", "a//b", "", ":", "a/:", "a\0b", "a/env/b", "/".join("abcdefghi"), "\ud800"]


@pytest.mark.parametrize("path", HOSTILE)
def test_paths_that_no_run_of_another_logger_has_are_refused(path):
    assert not plan.believable(path, kinds=("csv",))
    assert not plan.believable(path, "metrics.csv", ("csv",))
    assert plan.believable(".", "metrics.csv", ("csv",)) and plan.believable("a/:env", kinds=("wandb",))


@pytest.mark.parametrize("name", ["../x.csv", "/x.csv", "a/b/c/d.csv", ".bashrc", "run.sh", "b/metrics.csv", "checkpoint-5/metrics.csv",
                                  "a\0.csv", "\ud800.csv", "", "run-20250101_000000-abc/run-abc.wandb", "id_rsa", "checkpoint-5/"])
def test_names_that_no_file_of_such_a_run_has_are_refused(name):
    assert not plan.believable("a/b", name, ("csv",))
    assert plan.believable("a/b", "checkpoint-5/trainer_state.json", ("trainer",))
    assert plan.believable("a/:abc", "run-20250101_000000-abc/files/config.yaml", ("wandb",))
    assert not plan.believable("a/:abd", "run-20250101_000000-abc/run-abc.wandb", ("wandb",))


def test_what_a_manifest_file_tells_of_them_is_listed(root, pair):
    make(root)
    manifest.generate(str(root))
    one = pair()
    one.passes()
    assert mirrored(one) == expected(root)
    assert one.sync.state()["source"] == "manifest"


def test_entries_that_no_run_can_have_are_refused_and_counted(root, pair):
    make(root)
    whole = manifest.build(str(root), find_others=foreign.find)
    line = whole.lines["tb/a"]
    names = {path: line for path in HOSTILE if path and "\ud800" not in path}
    names["tb/b/c/d"] = whole.lines["tb/b/c/d"].replace(EVENTS.encode(), b"../../.bashrc")
    whole.lines.update(names)
    manifest.save(whole, str(root / ".runicorn" / manifest.FULL))
    one = pair()
    one.passes()
    assert not set(names) - {"tb/b/c/d"} & set(mirrored(one)) and "tb/a" in mirrored(one)
    told = json.loads((one.mirror / ".index" / "left_out.json").read_text())["passed"]
    assert told["runs in the manifest whose paths no run can have"] == len(names) - 1
    assert not list(one.mirror.parent.rglob(".bashrc"))


def test_a_manifest_that_did_not_look_for_them_does_not_say_that_there_are_none(root, pair):
    make(root)
    manifest.generate(str(root))
    one = pair()
    one.passes()
    before = mirrored(one)
    put(root, "p/n/runs/20250102_000000_abcdef/meta.json", "{}")
    manifest.save(manifest.build(str(root)), str(root / ".runicorn" / manifest.FULL))
    one.passes(31)
    assert before.keys() < mirrored(one).keys() and mirrored(one)["tb/a"] == before["tb/a"]


def test_files_that_grow_show_in_the_list(root, pair):
    make(root)
    manifest.generate(str(root))
    one = pair()
    one.passes()
    put(root, "lightning_logs/version_0/metrics.csv", TABLE + "0,20,0.1\n")
    one.passes(31)
    assert mirrored(one)["lightning_logs/version_0"] == expected(root)["lightning_logs/version_0"]
