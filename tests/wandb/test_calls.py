"""What W&B's calls do here: init, log, config, summary, media, files, artifacts, alerts; call by call as
scripts write them."""

import argparse
import io
import json
import struct
import sys
import textwrap
import wave
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from one_process import quiet  # noqa: F401 (a fixture)
from scripts import only, rows, small, train

import runicorn.wandb as wandb

PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    for name in ("WANDB_PROJECT", "WANDB_MODE", "WANDB_DISABLED", "WANDB_NAME", "WANDB_RUN_ID", "WANDB_TAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("RUNICORN_QUIET", "1")
    monkeypatch.chdir(tmp_path)
    yield
    wandb.finish()


def begin(**more):
    return wandb.init(**{"project": "p", "name": "n", "console": "off", "system": False, **more})


def points(run):
    """Return [(step, data)] of the rows of metrics."""
    return [(row["step"], row["data"]) for row in rows(Path(run.dir)) if "type" not in row]


def typed(run, kind):
    """Return the data of the rows of a type."""
    return [row["data"] for row in rows(Path(run.dir)) if row.get("type") == kind]


def test_init_takes_all_its_arguments():
    run = wandb.init(entity="me", project="vision", dir=None, id="abc", name="resnet", notes="note",
                     tags=["a", "b"], config={"lr": 0.1, "skip": 1, "n": {"x": 2}},
                     config_exclude_keys=["skip"], allow_val_change=True, group="g",
                     job_type="train", mode="offline", force=True, reinit=True, resume="allow",
                     save_code=False, sync_tensorboard=False, monitor_gym=False,
                     settings=wandb.Settings(start_method="thread", console="off"))
    meta = small(Path(run.dir), "meta")
    assert {key: meta[key]
            for key in ("id", "project", "name", "notes", "tags", "config", "group", "job_type")} == {
                "id": "abc", "project": "vision", "name": "resnet", "notes": "note", "tags": ["a", "b"],
                "config": {"lr": 0.1, "n": {"x": 2}}, "group": "g", "job_type": "train"}
    assert (run.id, run.project, run.name, run.entity, run.group, run.job_type, run.notes, run.tags,
            run.resumed, run.step, run.url) == (
                "abc", "vision", "resnet", "me", "g", "train", "note", ("a", "b"), False, 0, None)
    assert run.path == "me/vision/abc" and run.settings.run_id == "abc" and isinstance(run.dir, str)
    assert wandb.run is run


def test_environment_and_settings_stand_in_for_arguments(monkeypatch):
    for name, value in {"PROJECT": "envp", "NAME": "envn", "TAGS": "x,y", "RUN_GROUP": "eg", "NOTES": "en",
                        "JOB_TYPE": "ej"}.items():
        monkeypatch.setenv("WANDB_" + name, value)
    with wandb.init(name="mine", settings={"run_notes": "settled", "console": "off"}) as run:
        assert (run.project, run.name, run.tags, run.group, run.notes, run.job_type) == (
            "envp", "mine", ("x", "y"), "eg", "settled", "ej")


@pytest.mark.parametrize("words",
                         [{"mode": "disabled"}, {"WANDB_MODE": "disabled"}, {"WANDB_DISABLED": "true"}])
def test_disabled_runs_take_every_call(words, monkeypatch, tmp_path):
    for name in [name for name in words if name.isupper()]:
        monkeypatch.setenv(name, words.pop(name))
    run = begin(**words)
    run.log({"loss": 1, "h": wandb.Histogram([1]), "t": wandb.Table(data=[[1, 2, 3]])})
    run.alert("t", "x")
    run.define_metric("loss", summary="min")
    run.watch(None)
    run.name = "other"
    run.config.update({"a": 1})
    assert run.disabled and run.config.a == 1 and run.url is None and not list(tmp_path.glob("root/p"))
    run.finish()


def test_a_second_init_returns_the_run_unless_told_otherwise(monkeypatch):
    # where another test loaded it, this is a notebook
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    first = begin()
    assert begin(config={"a": 1}) is first and wandb.init() is first and begin(reinit=False) is first
    second = begin(reinit=True)
    assert second is not first and first.ended and wandb.run is second
    third = begin(reinit="create_new")
    assert not second.ended and wandb.run is third
    third.finish()
    second.finish()


def test_resume_finds_the_run_by_its_id_alone():
    run = begin(id="one", name="first")
    run.log({"loss": 1})
    run.finish()
    again = wandb.init(project="p", id="one", resume="must", console="off", system=False)
    assert again.resumed and again.name == "first" and again.step == 1 and again.dir == run.dir
    again.log({"loss": 2})
    assert rows(Path(again.dir), "events.2.jsonl")[0]["step"] == 1


@pytest.mark.parametrize("words, said", [
    ({"mode": "nonsense"}, "mode='nonsense'"), ({"resume": ["x"]}, "resume="), ({"config": 5}, "config=…"),
    ({"colour": "red"}, "colour="), ({"config": "missing.yaml"}, "config='missing.yaml'"),
    ({"fork_from": "x?_step=1"}, "fork_from")])
def test_wrong_arguments_are_said_once_and_stop_nothing(words, said, capsys):
    run = begin(**words)
    run.log({"loss": 1})
    assert points(run) == [(0, {"loss": 1})]
    run.finish()
    begin(**words)
    assert capsys.readouterr().err.count(said) == 1


def test_a_config_file(tmp_path):
    (tmp_path / "config.yaml").write_text("wandb_version: 1\nlr:\n  desc: rate\n  value: 0.5\nplain: 3\n")
    assert dict(begin(config="config.yaml").config) == {"lr": 0.5, "plain": 3}


def test_steps_are_as_in_wandb():
    run = begin()
    run.log({"a": 1}, step=5)
    run.log({"b": 2})                       # the row of step 5
    run.log({"b": 3})
    run.log({"c": 1}, commit=False)
    run.log({"d": 1})
    run.log({"e": 1}, step=20, commit=True)
    run.log({"f": 1})
    run.log({"late": 1}, step=3)            # W&B drops it
    run.log({"g": 1})
    assert points(run) == [(5, {"a": 1}), (5, {"b": 2}), (6, {"b": 3}), (7, {"c": 1}), (7, {"d": 1}),
                           (20, {"e": 1}), (21, {"f": 1}), (3, {"late": 1}), (22, {"g": 1})]
    assert run.step == 23


def test_values_of_every_kind():
    import torch
    run = begin()
    run.log({"n": {"a": 1, "b": {"c": 2.5}}, "t": torch.tensor(2.5), "np": np.float64(0.1),
             "short": np.arange(3), "long": np.arange(100),
             "none": None, "text": "x", "flag": True, "nan": float("nan"), 3: 4, "list": [1, 2],
             "image": PIL.Image.fromarray(PIXELS)})
    assert points(run) == [(0, {"n.a": 1, "n.b.c": 2.5, "t": 2.5, "np": 0.1, "short": [0, 1, 2], "text": "x",
                                "flag": True, "nan": "NaN", "3": 4, "list": [1, 2]})]
    assert sum(typed(run, "histogram")[0]["long"]["counts"]) == 100
    assert typed(run, "image")[0]["image"][0]["file"]


@pytest.mark.parametrize("data", [5, None, "x", [1], {"a": object()}, {1: {2: {3: object()}}}])
def test_log_takes_anything(data, capsys):
    run = begin()
    wandb.log(data)
    run.log({"loss": 1})
    assert points(run)[-1][1] == {"loss": 1}


def test_config_before_init_is_taken_over(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import argparse
        import runicorn.wandb as wandb
        wandb.config.early = 1
        wandb.config.update({"other": 2})
        wandb.summary["first"] = 5
        wandb.init(config=argparse.Namespace(lr=0.1, other=3))
        assert dict(wandb.config) == {"early": 1, "other": 3, "lr": 0.1} and wandb.summary["first"] == 5
    """))
    assert small(only(tmp_path), "meta")["config"] == {"early": 1, "other": 3, "lr": 0.1}


def test_the_config():
    run = begin(config=argparse.Namespace(lr=0.1))
    wandb.config.lr = 0.2
    wandb.config["new"] = {"x": [1]}
    wandb.config.update({"lr": 0.3}, allow_val_change=True)
    wandb.config.setdefaults({"lr": 9, "fresh": 4})
    assert wandb.config.get("absent", 7) == 7 and "lr" in wandb.config and not hasattr(wandb.config, "absent")
    run.finish()
    assert small(Path(run.dir), "meta")["config"] == dict(wandb.config) == {
        "lr": 0.3, "new": {"x": [1]}, "fresh": 4}


def test_the_summary():
    run = begin()
    run.define_metric("loss", summary="min,max,mean,last,best")
    run.define_metric("acc", summary="best", goal="maximize")
    for loss, acc in ((3, 0.1), (1, 0.9), (2, 0.5)):
        run.log({"loss": loss, "acc": acc})
    wandb.summary["mine"] = 5
    wandb.run.summary.more = 6
    wandb.summary.update({"deep": {"x": 1}})
    assert wandb.summary["loss"]["min"] == 1 and wandb.summary["loss"] == 2 and run.summary.loss.max == 3
    assert run.summary["acc"]["best"] == 0.9
    run.finish()
    assert small(Path(run.dir), "summary") == {
        "loss": 2, "loss.min": 1, "loss.max": 3, "loss.mean": 2.0, "loss.last": 2, "loss.best": 1, "acc": 0.5,
        "acc.best": 0.9, "mine": 5, "more": 6, "deep": {"x": 1}}


def test_calls_without_a_run_say_so_and_pass(capsys):
    import subprocess
    import sys
    code = ("import runicorn.wandb as wandb\nwandb.log({'a': 1})\nwandb.log({'a': 1})\n"
            "wandb.define_metric('a')\nwandb.save('x')\n"
            "wandb.finish()\nassert wandb.run is None and wandb.watch(None) is None\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          cwd=Path(__file__).parents[2])
    assert done.returncode == 0 and done.stderr.count("wandb.log() before wandb.init()") == 1, done.stderr
    run = begin()
    run.finish()
    run.log({"a": 1})
    wandb.log({"a": 1})
    wandb.finish()
    assert capsys.readouterr().err.count("after the run ended") == 1 and points(run) == []


def test_the_runs_name_notes_and_tags_can_change():
    run = begin()
    run.name, run.notes, run.tags = "renamed", "later", ["t"]
    run.tags += ("u",)
    run.finish()
    meta = small(Path(run.dir), "meta")
    assert (run.name, meta["display_name"], meta["name"], meta["notes"], meta["tags"]) == (
        "renamed", "renamed", "n", "later", ["t", "u"])


def test_an_exit_code_and_an_exception_end_the_run_as_they_say():
    run = begin()
    wandb.finish(exit_code=3)
    assert small(Path(run.dir), "status")["status"] == "failed"
    with pytest.raises(ZeroDivisionError), begin() as run:
        1 / 0               # noqa: B018
    assert small(Path(run.dir), "status")["status"] == "failed"


# -- media ---------------------------------------------------------------------------------------------------

def read(run, entry):
    return (Path(run.dir) / entry["file"]).read_bytes()


def test_a_table():
    run = begin()
    table = wandb.Table(columns=["name", "value", "picture"])
    table.add_data("a", 0.1, wandb.Image(PIXELS))
    table.add_data("你", float("nan"), None)
    table.add_column("more", [1, 2])
    run.log({"t": table})
    (entry,), = (data.values() for data in typed(run, "table"))
    first, second = map(json.loads, read(run, entry).decode().splitlines())
    assert (entry["rows"], entry["columns"]) == (2, ["name", "value", "picture", "more"])
    assert first[:2] == ["a", 0.1]
    assert np.array_equal(np.asarray(PIL.Image.open(Path(run.dir) / first[2]["file"])), PIXELS)
    assert second == ["你", "NaN", None, 2] and table.get_column("value")[0] == 0.1


def test_tables_from_data_and_frames():
    import pandas
    run = begin()
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    run.log({"one": wandb.Table(dataframe=frame),
             "two": wandb.Table(data=[[1, "x"], [2, "y"]], columns=["a", "b"]),
             "three": frame, "four": wandb.Table(data=np.array([[1, 2], [3, 4]]), columns=["a", "b"])})
    entries = {key: entry for data in typed(run, "table") for key, entry in data.items()}
    assert [read(run, entries[key]) for key in ("one", "two", "three")] == [b'[1,"x"]\n[2,"y"]\n'] * 3
    assert read(run, entries["four"]) == b"[1,2]\n[3,4]\n"
    assert wandb.Table(dataframe=frame).get_dataframe().equals(frame)


@pytest.mark.parametrize("values, bins", [
    ([1, 2, 2, 5], 64), (np.random.default_rng(0).normal(size=1000), 32), ([3, 3], 10), ([], 5),
    ([1.0, float("nan"), 2.0, float("inf")], 4)])
def test_histograms_are_numpys_with_and_without_it(values, bins, monkeypatch):
    from runicorn.wandb.data_types import counted
    finite = np.asarray(values, dtype=float)[np.isfinite(np.asarray(values, dtype=float))]
    counts, edges = np.histogram(finite, bins=bins)
    made = wandb.Histogram(values, num_bins=bins)
    assert made.histogram == counts.tolist() and made.bins == edges.tolist()
    with monkeypatch.context() as without:
        without.delitem(sys.modules, "numpy")
        plain = counted([float(value) for value in values], bins)
    assert sum(plain[0]) == len(finite) and np.allclose(plain[1], edges)
    assert np.abs(np.subtract(plain[0], counts)).sum() <= 2


def test_a_histogram_of_a_tensor_and_of_numpys_result():
    import torch
    run = begin()
    run.log({"a": wandb.Histogram(torch.tensor([1.0, 2.0], requires_grad=True)),
             "b": wandb.Histogram(np_histogram=np.histogram([1, 2], bins=2)),
             "c": wandb.Histogram(torch.ones(3, dtype=torch.bfloat16))})
    found = {key: value for data in typed(run, "histogram") for key, value in data.items()}
    assert sum(found["a"]["counts"]) == 2 and found["b"] == {"bins": [1.0, 1.5, 2.0], "counts": [1, 1]}
    assert sum(found["c"]["counts"]) == 3


def test_sound_and_films(tmp_path):
    run = begin()
    sound = np.sin(np.arange(800) / 5)
    (tmp_path / "film.mp4").write_bytes(b"film")
    frames = np.random.default_rng(0).integers(0, 255, (3, 3, 8, 6), dtype=np.uint8)
    run.log({"a": wandb.Audio(sound, sample_rate=8000, caption="tone"), "v": wandb.Video(frames, fps=2),
             "f": wandb.Video("film.mp4"), "g": wandb.Video(io.BytesIO(b"GIF89a"), format="gif")})
    entry = typed(run, "audio")[0]["a"]
    with wave.open(io.BytesIO(read(run, entry))) as file:
        samples = struct.unpack(f"<{file.getnframes()}h", file.readframes(10_000))
        assert (file.getframerate(), file.getnchannels(), entry["caption"]) == (8000, 1, "tone")
    assert np.abs(np.array(samples) / 32767 - sound).max() < 1e-4
    films = {key: value for data in typed(run, "video") for key, value in data.items()}
    film = PIL.Image.open(io.BytesIO(read(run, films["v"])))
    assert film.n_frames == 3 and film.info["duration"] == 500
    for index in range(3):
        film.seek(index)
        assert np.array_equal(np.asarray(film.convert("RGB")), frames[index].transpose(1, 2, 0))
    assert read(run, films["f"]) == b"film" and films["f"]["file"].endswith(".mp4")
    assert films["g"]["file"].endswith(".gif")


def test_other_media_are_files(tmp_path):
    run = begin()
    (tmp_path / "page.html").write_text("<p>file</p>")
    run.log({"h": wandb.Html("<p>text</p>"), "i": wandb.Html("page.html"),
             "o": wandb.Object3D(np.zeros((2, 3))), "m": wandb.Molecule.from_smiles("CCO"),
             "p": wandb.Plotly({"data": []}), "c": wandb.Object3D.from_point_cloud([[0, 0, 0]], [])})
    assert [read(run, data[key]) for key, data in zip("hi", typed(run, "html"))] == [
        b"<p>text</p>", b"<p>file</p>"]
    assert json.loads(read(run, typed(run, "object3d")[0]["o"])) == [[0.0] * 3] * 2
    assert read(run, typed(run, "molecule")[0]["m"]) == b"CCO"
    assert json.loads(read(run, typed(run, "plotly")[0]["p"])) == {"data": []}


def test_images_with_boxes_and_masks():
    run = begin()
    boxes = {"predictions": {
        "box_data": [{"position": {"minX": 0.1, "maxX": 0.2, "minY": 0, "maxY": 1}, "class_id": 1}]}}
    masks = {"truth": {"mask_data": np.eye(4, dtype=np.int64), "class_labels": {1: "cat"}}}
    run.log({"x": [wandb.Image(PIXELS, caption="c", boxes=boxes, masks=masks),
                   wandb.Image(wandb.Image(PIXELS / 255))]})
    entry, other = typed(run, "image")[0]["x"]
    assert entry["boxes"] == boxes and entry["masks"]["truth"]["class_labels"] == {"1": "cat"}
    assert entry["caption"] == "c"
    mask = np.asarray(PIL.Image.open(Path(run.dir) / entry["masks"]["truth"]["file"]))
    assert np.array_equal(mask, np.eye(4))
    assert np.array_equal(np.asarray(PIL.Image.open(Path(run.dir) / other["file"])), PIXELS)


def test_plots_hold_the_numbers_that_are_drawn():
    run = begin()
    truth, scores = [0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]]
    table = wandb.Table(columns=["x", "y"], data=[[1, 2], [3, 4]])
    run.log({"cm": wandb.plot.confusion_matrix(y_true=truth, preds=[0, 1, 0, 1], class_names=["a", "b"]),
             "roc": wandb.plot.roc_curve(truth, scores, labels=["a", "b"]),
             "pr": wandb.plot.pr_curve(truth, scores), "line": wandb.plot.line(table, "x", "y", title="T"),
             "series": wandb.plot.line_series([0, 1], [[1, 2], [3, 4]], keys=["u", "v"]),
             "bar": wandb.plot.bar(table, "x", "y"),
             "custom": wandb.plot_table("wandb/line/v0", table, {"x": "x"}, {"title": "C"})})
    plots = {key: value for data in typed(run, "plot") for key, value in data.items()}
    cells = {key: [json.loads(line) for line in read(run, plots[key]).splitlines()] for key in plots}
    assert cells["cm"] == [["a", "a", 1], ["a", "b", 1], ["b", "a", 1], ["b", "b", 1]]
    assert [row[1:] for row in cells["roc"] if row[0] == "b"] == [
        [0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    assert [row[1:] for row in cells["pr"] if row[0] == "1"] == [
        [0, 1], [0.5, 1], [0.5, 0.5], [1, 2 / 3], [1, 0.5]]
    assert (plots["line"]["title"], plots["line"]["fields"], plots["custom"]["plot"]) == (
        "T", {"x": "x", "y": "y"}, "wandb/line/v0")
    assert len(cells["series"]) == 4


@pytest.mark.parametrize("medium", [
    lambda: wandb.Image("absent.png"), lambda: wandb.Video(5), lambda: wandb.Audio("absent.wav"),
    lambda: wandb.Histogram("text"), lambda: wandb.Table(data=5), lambda: wandb.Graph(),
    lambda: wandb.Histogram(object()), lambda: wandb.Image(object()), lambda: wandb.Html(object())])
def test_broken_media_are_named_and_the_row_goes_on(medium, capsys):
    run = begin()
    run.log({"x": medium(), "loss": 1})
    run.log({"loss": 2})
    assert [data for _, data in points(run)][-1] == {"loss": 2} and points(run)[0][1]["loss"] == 1
    assert capsys.readouterr().err.startswith("runicorn: ")


def test_media_of_a_resumed_and_of_an_unseen_run(tmp_path):
    run = begin(id="one")
    run.log({"t": wandb.Table(data=[[1, 2, 3]])})
    run.finish()
    run = begin(id="one", resume="must")
    run.log({"t": wandb.Table(data=[[4, 5, 6]])})
    assert sorted(path.name for path in (Path(run.dir) / "media").iterdir()) == [
        "000001.table.jsonl", "000002.table.jsonl"]


# -- files ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rest, name", [("runs-detect", "runs-detect"), ("", "")])
def test_a_project_named_by_a_path_below_the_working_folder_is_named_by_the_rest(tmp_path, rest, name):
    above = str(tmp_path).replace("/", "-") + "-"
    assert begin(project=above + rest, reinit=True).project == (name or above)
    assert begin(project="runs-detect", reinit=True).project == "runs-detect"


def test_saved_files_follow_until_the_end(tmp_path):
    run = begin()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.pt").write_text("1")
    wandb.save("models/*.pt")
    wandb.save(str(tmp_path / "models" / "a.pt"), base_path=tmp_path, policy="now")
    assert (Path(run.dir) / "a.pt").read_text() == "1"
    assert (Path(run.dir) / "models" / "a.pt").read_text() == "1"
    (tmp_path / "models" / "a.pt").write_text("22")
    with wandb.restore("a.pt") as file:
        assert file.read() == "1" and wandb.restore("absent") is None
    run.finish()
    assert (Path(run.dir) / "a.pt").read_text() == "22"
    assert (Path(run.dir) / "models" / "a.pt").read_text() == "1"


def test_artifacts_are_files_of_the_run_and_are_found_by_others(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("1")
    (tmp_path / "m.pt").write_text("weights")
    run = begin()
    for version in range(2):
        artifact = wandb.Artifact("model", type="model", metadata={"score": np.float32(0.5), "n": version})
        artifact.add_file("m.pt", name="model.ckpt")
        artifact.add_dir("data", name="d")
        with artifact.new_file("notes.txt") as file:
            file.write("hello")
        artifact.add(wandb.Table(data=[[1, 2, 3]]), "t")
        assert run.log_artifact(artifact,
                                aliases=["best"] if not version else None).wait().version == f"v{version}"
    wandb.log_artifact("m.pt", name="plain", type="file")
    wandb.log_model("m.pt", name="one")
    folder = Path(run.dir) / "artifacts" / "model"
    facts = json.loads((folder / "v0.json").read_text())
    assert (facts["metadata"], facts["aliases"], facts["type"]) == (
        {"score": 0.5, "n": 0}, ["best", "latest"], "model")
    assert {str(path.relative_to(folder / "v0"))
            for path in (folder / "v0").rglob("*") if path.is_file()} == {
                "model.ckpt", "d/x.csv", "notes.txt", "t.table.jsonl"}
    run.finish()
    other = begin(name="user")
    assert Path(other.use_artifact("me/p/model:best").download()) == folder / "v0"
    assert other.use_artifact("model").version == "v1"
    assert Path(wandb.use_model("one:latest")).read_text() == "weights"
    target = Path(other.use_artifact("model:v1").download(root="here"))
    assert (target / "d" / "x.csv").read_text() == "1"
    assert wandb.use_artifact("absent:v0").files() == []


def test_code_alerts_and_terminal_lines(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("1")
    (tmp_path / "src" / "b.txt").write_text("1")
    run = begin()
    run.log_code("src")
    wandb.alert(title="low", text="acc", level=wandb.AlertLevel.WARN, wait_duration=5)
    wandb.termlog("one\ntwo")
    for _ in range(2):
        wandb.termwarn("once", repeat=False)
    assert [path.name for path in (Path(run.dir) / "code").iterdir()] == ["a.py"]
    assert typed(run, "alert") == [{"title": "low", "text": "acc", "level": "WARN"}]
    assert capsys.readouterr().err == "wandb: one\nwandb: two\nwandb: once\n"


def test_gradients_are_watched():
    import torch
    run, model = begin(), torch.nn.Linear(2, 1)
    wandb.watch(model, log="all", log_freq=2)
    for _ in range(4):
        model(torch.ones(1, 2)).sum().backward()
        run.log({"loss": 1})
    wandb.unwatch(model)
    model(torch.ones(1, 2)).sum().backward()
    names = sorted((row["step"], name) for row in rows(Path(run.dir)) if row.get("type") == "histogram"
                   for name in row["data"])
    assert names == [(step, f"{kind}/{name}") for step in (1, 3) for kind in ("gradients", "parameters")
                     for name in ("bias", "weight")]
    run.log({"outputs": torch.tensor([[1.0, 2.0]])})        # of several values: no error, as of theirs


def test_a_notebook_shows_the_run():
    run = begin(name="<b>")
    assert "p / &lt;b&gt; / " in run._repr_html_() and run.dir in run._repr_html_()
    assert run.to_html() == run._repr_html_()


def test_the_import_costs_nothing_until_it_is_used(tmp_path):
    out, _ = train(tmp_path,
                   "import runicorn, sys\nprint([name for name in sys.modules if 'wandb' in name])\n")
    assert out == "[]\n"


def test_runs_survive_pickle_and_copies():
    import copy
    import pickle
    run = begin()
    assert copy.deepcopy({"run": run})["run"] is run and pickle.loads(pickle.dumps(run)) is run


def test_a_script_that_saves_its_code(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import runicorn.wandb as wandb
        wandb.init(project="p", save_code=True)
        wandb.log({"loss": 1})
    """))
    assert (only(tmp_path) / "code" / "train.py").read_text().strip().startswith("import runicorn.wandb")


SHAPES = """
wandb.config.update({"a": 2}, allow_val_change=True)
wandb.log({"x": 1, "epoch": 2}, step=7)
wandb.log({"x": 1}, 12)
wandb.log({"x": 1}, 13, True)
wandb.log({("a", "b"): 1})
wandb.log({"a": {"b": {"c": wandb.Histogram([1])}}})
wandb.run.summary["q"] = 2
wandb.run._label(code="transformers_trainer")
wandb.run.mark_preempting()
wandb.run.display()
wandb.run.status()
wandb.run.history
wandb.run.log_code(".")
wandb.run.link_artifact(wandb.Artifact("a", "b"), "x")
wandb.run.use_artifact("x/y/d:v0", type="dataset").download()
wandb.log_artifact(wandb.Artifact("d", type="dataset"))
wandb.Artifact()
wandb.save("*.pt")
wandb.sweep({"method": "grid"}, project="x")
wandb.agent("id", lambda: 1, count=1)
[run.summary for run in wandb.Api().runs("x/y")]
wandb.Api(timeout=19).run("a/b/c").history(samples=10)
wandb.tensorboard.patch(root_logdir="runs")
wandb.gym.monitor()
wandb.sklearn.plot_classifier(1, 2, 3)
wandb.keras.WandbCallback
wandb.login(key="x")
wandb.setup()
wandb.require("core")
wandb.env.get_project()
wandb.errors.CommError("x")
wandb.errors.UsageError("x")
wandb.util.generate_id()
wandb.sdk.lib.runid.generate_id()
wandb.log({"x": wandb.Image("absent.png")})
wandb.Table(columns=["a"]).add_data(1, 2)
wandb.Settings(start_method="fork").nothing
wandb.plot.pr_curve([0, 1], [[0.1, 0.9], [0.4, 0.6]])
isinstance(wandb.run, wandb.sdk.wandb_run.Run)
wandb.alert(title="t", text="x", level=wandb.AlertLevel.INFO)
wandb.run.finish(quiet=True)
wandb.finish(quiet=True)
""".strip().splitlines()


@pytest.mark.few(1)
@pytest.mark.parametrize("module", ["runicorn.wandb", "runicorn"])
def test_call_shapes_of_others_scripts_under_either_import(tmp_path, module):
    code = f"import warnings\nwarnings.simplefilter('ignore')\nimport {module} as wandb\n"
    code += "wandb.init(project='p', config={'a': 1})\n"
    assert len(SHAPES) > 40
    train(tmp_path, code + "\n".join(SHAPES) + "\nprint('to the end')\n")
    assert small(only(tmp_path), "status")["status"] == "finished"
    assert (only(tmp_path) / "logs.txt").is_file()


def test_check_knows_the_rows_and_misses_their_files(tmp_path):
    from runicorn.transfer import check
    run = begin()
    run.log({"t": wandb.Table(data=[[1, 2, 3]]), "h": wandb.Histogram([1]), "v": wandb.Html("x")})
    run.alert("title")
    run.finish()
    assert not [finding for finding in check.check(tmp_path / "root") if finding.wrong]
    (Path(run.dir) / "media" / "000001.table.jsonl").unlink()
    wrong = [finding.text for finding in check.check(tmp_path / "root") if finding.wrong]
    assert wrong == ["table: 'media/000001.table.jsonl' is not here"]


def test_films_of_a_monitored_gym_are_logged(tmp_path, monkeypatch):
    import types

    class RecordVideo:
        """As Gymnasium's: it knows its file's name while it records."""

        video_folder, _video_name = str(tmp_path), "episode-0"

        def stop_recording(self):
            (tmp_path / "episode-0.mp4").write_bytes(b"film")
            self._video_name = None

    monkeypatch.setitem(sys.modules, "gymnasium", types.ModuleType("gymnasium"))
    monkeypatch.setitem(sys.modules, "gymnasium.wrappers", types.SimpleNamespace(RecordVideo=RecordVideo))
    run = begin(monitor_gym=True)
    RecordVideo().stop_recording()
    run.log({"return": 1})
    assert typed(run, "video") == [{"videos": {"file": "media/000001.mp4"}}]
    assert points(run) == [(0, {"return": 1})]


@pytest.mark.frameworks
def test_keras_is_logged_by_wandbs_callback(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import warnings
        warnings.simplefilter("ignore")
        import numpy as np
        import keras
        import runicorn.wandb as wandb
        wandb.init(project="p")
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.5))
        model.fit(np.ones((8, 2)), np.ones(8), epochs=2, verbose=0,
                  callbacks=[wandb.integration.keras.WandbMetricsLogger()])
        from runicorn.wandb.keras import WandbCallback
        model.fit(np.ones((8, 2)), np.ones(8), epochs=1, batch_size=4, verbose=0,
                  callbacks=[wandb.keras.WandbMetricsLogger(log_freq="batch"), WandbCallback()])
    """), KERAS_BACKEND="torch", timeout=120)
    told = [row["data"] for row in rows(only(tmp_path))]
    assert [row["epoch/epoch"] for row in told if "epoch/epoch" in row] == [0, 1, 0, 0]
    assert told[0]["epoch/learning_rate"] == 0.5
    assert [row["batch/batch_step"] for row in told if "batch/loss" in row] == [0, 1]
    assert small(only(tmp_path), "meta")["metrics"]["epoch/*"] == {"step_metric": "epoch/epoch"}


def test_a_forked_child_and_a_rank_that_is_not_recorded_are_not_stopped(tmp_path):
    code = textwrap.dedent("""
        import os
        import runicorn.wandb as wandb
        run = wandb.init(project="p")
        child = os.fork() if not os.environ.get("RANK") else 0
        if child == 0:
            wandb.run.log({"loss": 1, "h": wandb.Histogram([1])})
            wandb.run.config.update({"a": 1})
            wandb.run.summary["b"] = 2
            wandb.run.name = "other"
            wandb.define_metric("x", summary="min")
            wandb.alert("title")
            wandb.log_artifact("train.py", name="code")
            assert isinstance(wandb.run.dir, str) and wandb.run.step >= 0
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        wandb.log({"loss": 2})
    """)
    train(tmp_path, code)
    assert [row["data"] for row in rows(only(tmp_path))] == [{"loss": 2}]
    assert small(only(tmp_path), "meta")["config"] == {}
    train(tmp_path, code, RANK="1", WORLD_SIZE="2", LOCAL_RANK="1", MASTER_ADDR="localhost", MASTER_PORT="1")
    assert only(tmp_path)


@pytest.mark.parametrize("module", ["runicorn.wandb", "runicorn"])
def test_an_assignment_to_the_config_hides_no_run(tmp_path, module):
    train(tmp_path, textwrap.dedent(f"""
        import {module} as wandb
        wandb.config = {{"lr": 0.1}}
        assert wandb.config["lr"] == 0.1
        run = wandb.init(project="p", config={{"lr": 0.2}})
        assert wandb.config.lr == 0.2
        wandb.config = {{"width": 4}}
        assert wandb.config.width == 4 and wandb.config.lr == 0.2 and wandb.run.id == run.id
    """))
    assert small(only(tmp_path), "meta")["config"] == {"lr": 0.2, "width": 4}


def test_a_folder_that_a_checkout_elsewhere_names_is_its_own_and_not_the_root(tmp_path):
    for place in ("clone/framework.py", "script/helper.py"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text("import runicorn.wandb as wandb\n"
                                      "def begin():\n    wandb.init(project=__name__, dir='work').finish()\n")
    train(tmp_path / "script", f"""
import sys
sys.path.append({str(tmp_path / "clone")!r})
import framework, helper
framework.begin()
helper.begin()
""")
    root, work = tmp_path / "script" / "root", tmp_path / "script" / "work"
    assert (root / "framework").is_dir() and (work / "helper").is_dir()
    assert not (work / "framework").exists()
