"""Which folders below a root are runs of other loggers, and which files they are made of: the table's rules,
and what is none."""

import collections
import json
import os

import pytest
from small_runs import write_run

from runicorn import foreign, manifest


def put(root, **files):
    """Write files: {path with "/": text or bytes}."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)


def found(root):
    """Return {path: (kinds, names of files)} of the runs below `root`."""
    return {run.path: (run.kinds, [file[0] for file in run.files])
            for run in foreign.find(str(root), collections.Counter())}


STEPS = "epoch,step,loss\n0,1,0.5\n0,2,0.4\n"
PAIRS = "".join(f"[12:00:0{n}] step {n}: loss: 0.{n}\n" for n in range(7))
ROWS = "".join(json.dumps({"step": n, "loss": 0.5}) + "\n" for n in range(3))
EVENTS = "events.out.tfevents.1700000000.host.1.0"

KINDS = [(EVENTS, "", "tensorboard"), ("run-abc.wandb", "", "wandb"), ("metrics.csv", STEPS, "csv"),
         ("results.csv", "   epoch,  box\n 1, 0.5\n", "csv"), ("only_header.csv", "step,loss\n", "csv"),
         ("training.log", "epoch,accuracy\n0,0.5\n", "csv"),
         ("trainer_state.json", '{"global_step": 5}', "trainer"),
         ("log.jsonl", ROWS, "jsonl"), ("metrics.json", ROWS, "jsonl"), ("train.log", PAIRS, "log"),
         ("nano.log", "".join(f"iter {n}: loss {10 - n / 9:.4f}, time 135.20ms\n" for n in range(9)), "log"),
         ("crashed.log", PAIRS + "Traceback (most recent call last):\n" + "  File model.py, line 5\n" * 400,
          "log"),
         ("slurm-12.out", PAIRS, "log")]


@pytest.mark.parametrize(("name", "content", "kind"), KINDS, ids=[name for name, _, _ in KINDS])
def test_a_folder_with_a_file_of_a_kind_is_a_run(tmp_path, name, content, kind):
    put(tmp_path, **{f"project/a/{name}": content})
    assert found(tmp_path) == {"project/a": ((kind,), [name])}


NONE = {"requirements.txt": "torch==2.1\nnumpy==1.26\n" * 5, "README.txt": PAIRS,
        "data.csv": "a,b,label\n1,2,3\n2,3,4\n", "train.csv": STEPS, "tensors.tsv": "0.1\t0.2\n",
        "._events.out.tfevents.1": "x", "people.csv": "name,age\nann,3\nbob,4\n",
        "words.csv": "step,text\n1,hello\n", "data.jsonl": '{"text": "a", "label": 1}\n',
        "config.json": '{"step": 3}', "package.json": '{"epoch": 3}', "pip.log": "Collecting torch\n" * 9,
        "notes.txt": "lr: 0.1\nwarmup: 0.2\n", "empty.csv": "",
        "prompts.jsonl": '{"text": "a", "iter": 1}\n', "meta.json": "{}",
        "pixels.csv": ",".join(f"p{n}" for n in range(20_000)) + "\n"}


@pytest.mark.parametrize("name", NONE)
def test_what_looks_like_data_is_none(tmp_path, name):
    put(tmp_path, **{f"project/a/{name}": NONE[name]})
    assert found(tmp_path) == {}


@pytest.mark.parametrize("folder", [".git", "site-packages", "node_modules", ".venv", "__pycache__", "env"])
def test_folders_that_never_hold_a_training_are_not_looked_into(tmp_path, folder):
    put(tmp_path, **{f"{folder}/a/{EVENTS}": "", f"b/{EVENTS}": ""})
    assert list(found(tmp_path)) == ["b"]


def test_a_python_environment_is_known_by_what_is_in_it(tmp_path):
    put(tmp_path, **{"mine/pyvenv.cfg": "", f"mine/lib/a/{EVENTS}": "", "conda/conda-meta/x.json": "",
                     f"conda/a/{EVENTS}": ""})
    assert found(tmp_path) == {}


def test_files_of_several_kinds_in_one_folder_are_one_run_and_a_folder_in_it_another(tmp_path):
    put(tmp_path, **{f"logs/a/{EVENTS}": "", "logs/a/metrics.csv": STEPS, "logs/a/hparams.yaml": "lr: 1\n",
                     "logs/a/out.txt": "hello\n", f"logs/a/eval/{EVENTS}": ""})
    assert (found(tmp_path)
            == {"logs/a": (("tensorboard", "csv"), [EVENTS, "hparams.yaml", "metrics.csv", "out.txt"]),
                "logs/a/eval": (("tensorboard",), [EVENTS])})


def test_the_root_itself_may_be_a_run(tmp_path):
    put(tmp_path, **{EVENTS: ""})
    assert list(found(tmp_path)) == ["."] and foreign.folder_of(".") == ""


def test_checkpoints_belong_to_the_folder_above_them_and_the_newest_counts(tmp_path):
    put(tmp_path,
        **{"out/checkpoint-500/trainer_state.json": "{}", "out/checkpoint-1000/trainer_state.json": "{}",
           "out/checkpoint-1000/rng/x.csv": STEPS, f"out/{EVENTS}": ""})
    assert found(tmp_path) == {
        "out": (("tensorboard", "trainer"), ["checkpoint-1000/trainer_state.json", EVENTS])}


def test_the_folders_of_one_wandb_run_are_one_run(tmp_path):
    first, again = "offline-run-20250101_000000-abc", "run-20250102_000000-abc"
    other = "run-20250102_000000-xyz"
    put(tmp_path, **{f"p/wandb/{first}/run-abc.wandb": "x", f"p/wandb/{again}/run-abc.wandb": "x",
                     f"p/wandb/{other}/run-xyz.wandb": "", f"p/wandb/{first}/files/config.yaml": "a: 1\n",
                     f"p/wandb/{first}/files/output.log": "hello\n",
                     f"p/wandb/{first}/files/requirements.txt": "torch\n",
                     f"p/wandb/{first}/files/media/t.csv": STEPS})
    os.symlink(again, tmp_path / "p/wandb/latest-run")
    assert found(tmp_path) == {
        "p/wandb/:abc": (("wandb",),
                         [f"{first}/files/config.yaml", f"{first}/files/output.log", f"{first}/run-abc.wandb",
                          f"{again}/run-abc.wandb"]),
        "p/wandb/:xyz": (("wandb",), [f"{other}/run-xyz.wandb"])}
    assert foreign.folder_of("p/wandb/:abc") == "p/wandb"


def test_links_are_not_followed(tmp_path):
    put(tmp_path, **{f"a/{EVENTS}": ""})
    os.symlink("a", tmp_path / "b")
    os.symlink(EVENTS, tmp_path / "a" / "c.tfevents")
    assert found(tmp_path) == {"a": (("tensorboard",), [EVENTS])}


def test_depth_and_number_are_bounded_and_what_is_left_out_for_its_number_is_said(tmp_path, monkeypatch):
    put(tmp_path, **{"/".join("abcdefgh") + f"/{EVENTS}": "", "/".join("abcdefghi") + f"/{EVENTS}": ""})
    assert list(found(tmp_path)) == ["a/b/c/d/e/f/g/h"]
    monkeypatch.setattr(foreign, "FOLDERS", 5)
    skipped = collections.Counter()
    assert foreign.find(str(tmp_path), skipped) == [] and skipped["folders beyond 5"] == 1


def test_names_that_are_no_utf8_are_passed_over(tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/a\xff")
    open(os.fsencode(tmp_path) + b"/a\xff/" + EVENTS.encode(), "wb").close()
    put(tmp_path, **{f"中文/{EVENTS}": ""})
    assert list(found(tmp_path)) == ["中文"]


def test_a_manifest_lists_them_beside_ours_and_takes_over_what_did_not_change(tmp_path):
    write_run(tmp_path, "p", "n", "20250101_000000_abcdef")
    put(tmp_path,
        **{f"tb/a/{EVENTS}": "x" * 100, f"p/n2/runs/Jan01_host/{EVENTS}": "x", f"p/n/beside/{EVENTS}": ""})
    whole = manifest.build(str(tmp_path), find_others=foreign.find)
    assert whole.paths() == ["p/n/runs/20250101_000000_abcdef", "p/n2/runs/Jan01_host", "tb/a"]
    assert whole.entry("tb/a")["kinds"] == ["tensorboard"]
    assert whole.entry("tb/a")["files"][EVENTS]["size"] == 100
    assert whole.entry("p/n/runs/20250101_000000_abcdef").get("kinds") is None
    again = manifest.build(str(tmp_path), manifest.parse(b"".join(manifest.text(whole))),
                           find_others=foreign.find)
    assert again.lines == whole.lines and again.header["digest"] == whole.header["digest"]
    os.truncate(tmp_path / f"tb/a/{EVENTS}", 50)
    assert manifest.build(str(tmp_path), again,
                          find_others=foreign.find).entry("tb/a")["files"][EVENTS]["size"] == 50


@pytest.mark.parametrize("kinds",
                         ['"tensorboard"', '["tensorboard", 5]', '["x"]', "[]", "{}",
                          str(["csv"] * 7).replace("'", '"')])
def test_kinds_that_no_table_has_are_refused(tmp_path, kinds):
    put(tmp_path, **{f"tb/a/{EVENTS}": ""})
    whole = manifest.build(str(tmp_path), find_others=foreign.find)
    line = whole.lines["tb/a"].replace(b'["tensorboard"]', kinds.encode())
    entry, wrong = manifest.Manifest(whole.header, {"tb/a": line}).mended("tb/a")
    assert entry["kinds"] == () and wrong == ["kinds"]


def test_of_many_text_files_the_newest_are_looked_into_and_none_twice(tmp_path, monkeypatch):
    put(tmp_path, **{f"data/{n}.txt": "hello\n" for n in range(foreign.OF_FOLDER + 20)},
        **{"run/train.log": PAIRS, "run/x.log": "no\n"})
    for path in (tmp_path / "data").iterdir():
        os.utime(path, (1e9, 1e9))
    opened, ends = [], foreign.ends
    monkeypatch.setattr(foreign, "ends", lambda path, size: opened.append(path) or ends(path, size))
    known, skipped = {}, collections.Counter()
    assert [run.path for run in foreign.find(str(tmp_path), skipped, known=known)] == ["run"]
    assert len(opened) == foreign.OF_FOLDER + 2 and skipped["text files beyond 5000"] == 0
    with open(tmp_path / "run/train.log", "a") as file:
        file.write("more\n")
    put(tmp_path, **{"run/x.log": PAIRS})
    del opened[:]
    assert [run.path for run in foreign.find(str(tmp_path), skipped, known=known)] == ["run"]
    assert opened == [str(tmp_path / "run/x.log")]
    monkeypatch.setattr(foreign, "READ", 2)
    assert [run.path for run in foreign.find(str(tmp_path), skipped)] == ["run"]
    assert skipped["text files beyond 2"] == foreign.OF_FOLDER


def test_a_folder_of_many_tables_is_a_data_set(tmp_path):
    put(tmp_path, **{f"data/{n}.csv": STEPS for n in range(foreign.OF_FOLDER + 1)},
        **{f"few/{n}.csv": STEPS for n in range(3)})
    assert list(found(tmp_path)) == ["few"]
