"""What is a run, ours or another logger's, and what is none: the same by every way of listing a home."""

import collections
import os

import pytest
from mixed_root import EVENTS, PAIRS, ROWS, TABLE, age, put
from pairs import live, mirror, pair, root, settle, told  # noqa: F401 (fixtures)
from small_runs import write_run

from runicorn import foreign, manifest
from runicorn.cli import tail
from runicorn.connections import doctor
from runicorn.errors import NotFoundError
from runicorn.local_names import local_path, run_key
from runicorn.manifest_entry import kinds_of
from runicorn.news import Bell
from runicorn.reader.catalog import Catalog
from runicorn.reader.command_root import CommandRoot
from runicorn.transfer.check import check

HOME = ".runicorn/experiments"
ID, OWN, OTHER = "20250101_000000_abcdef", "20250101_000000_aaaaaa", "20250101_000000_bbbbbb"
OF_HOME, OF_ROOT = f"{HOME}/p/ours/runs/{ID}", f"p/n/runs/{OWN}"
RUNS = {OF_HOME: (), OF_ROOT: (), "work/tb": ("tensorboard",), "work/lit/version_0": ("csv",),
        "work/wandb/:abc": ("wandb",), "work/bert": ("trainer",), "work/rows": ("jsonl",),
        "work/text": ("log",), "p/n2/runs/Jan01_host": ("tensorboard",)}
WANDB = "work/wandb/offline-run-20250101_000000"
FILES = {
    f"work/tb/{EVENTS}": "x" * 90, "work/lit/version_0/metrics.csv": TABLE,
    f"{WANDB}-abc/run-abc.wandb": "x" * 50, "work/bert/checkpoint-500/trainer_state.json": "{}",
    "work/rows/log.jsonl": ROWS, "work/text/train.log": PAIRS, f"p/n2/runs/Jan01_host/{EVENTS}": "x",
    # None of these is a run
    "code/requirements.txt": PAIRS, "code/.git/train.log": PAIRS, f"code/.git/{EVENTS}": "x",
    "web/node_modules/x/metrics.csv": TABLE, "conda/lib/python3.11/site-packages/t/train.log": PAIRS,
    "named/conda-meta/history": "", "named/out/train.log": PAIRS, "mine/pyvenv.cfg": "",
    "mine/out/metrics.csv": TABLE, ".cache/huggingface/train.log": PAIRS, "a/.hidden/metrics.csv": TABLE,
    "only/checkpoint-5/train.log": PAIRS, f"{WANDB}-none/files/output.log": PAIRS,
    f"{WANDB}-none/files/requirements.txt": PAIRS, "nb/.ipynb_checkpoints/metrics.csv": TABLE,
    "nb/a.ipynb": "{}", "data/prompts.jsonl": '{"text": "a", "label": 1}\n',
    "data/names.csv": "name,age\nann,3\nbob,4\n", "hf/hub/models--bert/blobs/0123": TABLE,
    "hf/datasets/glue/dataset_info.json": "{}", "p/detect/runs/train1/weights/best.pt": "x",
    "p/detect/runs/train1/args.yaml": "lr: 1\n", "old/.runicorn/cache/gpu/metrics.csv": TABLE,
    "moved/cache/gpu/.index/full.json": "{}", f"moved/cache/gpu/work/tb/{EVENTS}": "x",
    f".runicorn/cache/gpu/work/tb/{EVENTS}": "x",
    **{f"series/s{number}.csv": "step,temperature\n1,2\n2,3\n3,4\n"
       for number in range(foreign.OF_FOLDER + 1)}}


@pytest.fixture
def dwelling(root):
    """A home folder as people have them, but small."""
    for path, content in FILES.items():
        put(root, path, content)
    write_run(root / HOME, "p", "ours", ID)
    write_run(root, "p", "n", OWN)
    for place in ("backup/2024", ".x", ".runicorn/cache/gpu"):       # of ours, but of no root in the root
        write_run(root / place, "p", "n", OTHER)
    os.symlink(root / "work", root / "linked")
    age(root)
    return root


def listed(index):
    return {path: kinds_of(index.line(path)) for path in index.paths()}


def records(source):
    return {path: record.kinds for path, record in source.records.items()}


def test_on_this_machine(dwelling, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNICORN_HOME", str(tmp_path / "other"))
    assert listed(manifest.build(str(dwelling), find_others=foreign.find)) == RUNS
    assert set(listed(manifest.build(str(dwelling)))) == {OF_HOME, OF_ROOT}, "manifest.py alone"
    command = CommandRoot("local", dwelling)
    command.begin()
    command.refresh(0.0)
    assert records(command) == RUNS
    catalog = Catalog([("local", dwelling)], home=tmp_path / "viewer", ring=Bell().ring)
    catalog.begin()
    catalog.refresh()
    assert records(catalog.local()[0]) == RUNS
    assert {row["key"] for row in catalog.runs()["runs"]} == {run_key("local", path) for path in RUNS}
    assert catalog.folder(f"local:p/ours/{ID}") == dwelling / OF_HOME
    findings = list(check(dwelling))
    others = {finding.path for finding in findings if finding.text.startswith("not ours: ")}
    assert others == {path for path in RUNS if RUNS[path]}
    assert not any(finding.wrong for finding in findings)
    (dwelling / OF_HOME / "status.json").write_text("[]")
    assert [finding.path for finding in check(dwelling) if finding.wrong] == [f"{OF_HOME}/status.json"]
    roots = [("local", dwelling)]
    assert tail.find(roots, ID) == str(dwelling / OF_HOME)
    assert tail.find(roots, f"p/n/{OWN}") == str(dwelling / OF_ROOT)
    with pytest.raises(NotFoundError):
        tail.find(roots, "Jan01_host")


WAYS = {"SFTP": {"manifest": False}, "exec": {"source": "exec"}, "a manifest": {}}


@pytest.mark.few(1)
@pytest.mark.parametrize("way", WAYS)
def test_over_a_connection(dwelling, pair, way):
    if way == "a manifest":
        manifest.generate(str(dwelling))
    one = pair(**WAYS[way])
    one.passes()
    settle(one)
    one.passes(31)
    index = manifest.load(one.mirror / ".index" / "full.json")
    assert listed(index) == RUNS
    for path in (OF_HOME, OF_ROOT):
        assert {file.name: file.read_bytes() for file in local_path(one.mirror, path).iterdir()} == {
            file.name: file.read_bytes() for file in (dwelling / path).iterdir()}
    assert not (one.mirror / ".runicorn/cache").exists()


def test_the_doctor_counts_the_same(dwelling, pair, monkeypatch):
    client = pair().far.client()
    ours = doctor._walked(client, str(dwelling))[0]
    counts, is_complete = doctor.others_below(client, str(dwelling), ours, 60)
    assert set(ours) == {OF_HOME, OF_ROOT} and is_complete
    told = {folder["name"]: folder for folder in doctor.browse(client, str(dwelling))["folders"]}
    assert not (told[".cache"]["others"] or told[".runicorn"]["others"])
    assert told[".runicorn"]["inside"] == 1 and not told[".runicorn"]["least"]
    with monkeypatch.context() as patch:
        patch.setattr(doctor, "BROWSE_OTHERS", 0.0)      # its time runs out at once
        assert doctor.browse(client, str(dwelling))["least"]
    assert counts == collections.Counter(kinds[0] for kinds in RUNS.values() if kinds)


@pytest.mark.few()
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("link", [".runicorn", HOME])
def test_what_a_home_keeps_elsewhere_is_followed_as_links_in_a_root_are(dwelling, pair, way, link):
    os.rename(dwelling / link, dwelling.parent / "kept")
    os.symlink(dwelling.parent / "kept", dwelling / link)
    assert set(listed(manifest.build(str(dwelling)))) == {OF_HOME, OF_ROOT}
    if way == "a manifest":
        manifest.generate(str(dwelling))
    one = pair(**WAYS[way])
    one.passes()
    settle(one)
    one.passes(31)
    assert listed(manifest.load(one.mirror / ".index" / "full.json")) == RUNS


@pytest.mark.few(1)
@pytest.mark.parametrize("way", WAYS)
def test_a_link_back_to_the_root_is_none_to_follow(root, pair, way):
    write_run(root, "p", "n", OWN)
    (root / ".runicorn").mkdir()
    os.symlink(root, root / HOME)
    assert set(listed(manifest.build(str(root)))) == {OF_ROOT}
    one = pair(**WAYS[way])
    one.passes()
    settle(one)
    one.passes(31)
    assert set(listed(manifest.load(one.mirror / ".index" / "full.json"))) == {OF_ROOT}


def test_a_run_of_a_home_that_begins_shows_with_the_next_look_and_beats(dwelling, pair):
    one = pair(manifest=False)
    one.passes()
    write_run(dwelling / HOME, "p", "ours", OTHER, status="running")
    live(dwelling / HOME, f"p/ours/runs/{OTHER}")
    one.passes(31)
    assert f"{HOME}/p/ours/runs/{OTHER}" in told(one)["runs"] and one.sync.state()["running"] == 1
    assert one.mirror.joinpath(HOME, "p/ours/runs", OTHER, "events.jsonl").is_file()


def test_a_root_of_ours_alone_is_asked_nothing_more_where_nothing_changed(root, pair):
    write_run(root, "p", "n", OWN)
    age(root)
    one = pair(manifest=False)
    one.passes()
    one.passes(31)
    session, asked = one.far.sessions[0], []
    ask = session.ask
    session.ask = lambda request, *more: (asked.append(request), ask(request, *more))[1]
    one.passes(31)
    assert asked and not any(b"experiments" in bytes(str(request), "utf8") for request in asked)
