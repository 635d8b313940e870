"""A bare name such as `loss` means of each run what it has: just that, else what ends in it, the main metric
first."""

import pytest
from catalogs import make_run, reader_of

from runicorn.cli import main as cli
from runicorn.errors import UsageError


def runs_of(root, *summaries, **more):
    for n, summary in enumerate(summaries):
        make_run(root, name=f"run{n}", run_id=f"20250123_18000{n}_00000{n}", summary=summary,
                 created_at=1737655200.0 + n, **more)
    return reader_of(root)


def names(answer):
    return sorted(row["name"] for row in answer["runs"])


def test_a_filter_keeps_its_meaning_whatever_another_run_logs(tmp_path):
    reader = runs_of(tmp_path, {"val/loss": 0.1, "train/loss": 0.9}, {"val/loss": 0.5})
    assert names(reader.runs("loss<0.3")) == ["run0"]
    reader = runs_of(tmp_path, {"val/loss": 0.1, "train/loss": 0.9}, {"val/loss": 0.5}, {"loss": 0.2})
    assert names(reader.runs("loss<0.3")) == ["run0", "run2"]
    assert [row["name"] for row in reader.runs(sort="loss")["runs"]] == ["run0", "run2", "run1"]
    assert [row["values"].get("loss") for row in reader.runs(sort="name", columns=["loss"])["runs"]] == [
        0.1, 0.5, 0.2]
    assert reader.runs("loss<0.3")["means"] == {"loss": {"val/loss": 2, "loss": 1}}


@pytest.mark.parametrize(
    "summary, value",
    [
        ({"loss": 1, "val/loss": 2}, 1),                            # just this name
        ({"train/loss": 1, "val/loss": 2}, 2),                      # the main metric
        ({"train/loss": 1, "aux/loss": 2}, 1),
        ({"a/b/loss": 3}, 3),
        ({"lossy": 3, "myloss": 4}, None),
    ],
)
def test_the_exact_name_then_the_main_metric_then_the_others(tmp_path, summary, value):
    row, = runs_of(tmp_path, summary).runs(columns=["loss"])["runs"]
    assert row["values"].get("loss") == value


def test_the_main_metric_that_the_reader_picked_goes_before_the_others(tmp_path):
    for n in range(2):
        make_run(tmp_path, name=f"run{n}", run_id=f"20250123_18000{n}_00000{n}",
                 summary={"val/acc": 0.1, "test/acc": 0.9})
    reader = reader_of(tmp_path, preferences=lambda: {"main_metric": {"vision": "test/acc"}})
    assert reader.runs("acc>0.5")["matched"] == 2


def test_settings_are_meant_as_well_and_a_metric_goes_before_them(tmp_path):
    reader = runs_of(tmp_path, {"a": 1}, {"val/lr": 7}, config={"optimizer": {"lr": 0.1}})
    assert [row["values"]["lr"] for row in reader.runs(sort="name", columns=["lr"])["runs"]] == [0.1, 7]
    assert reader.runs("lr=0.1")["matched"] == 1
    assert reader.runs(columns=["optimizer.lr"])["runs"][0]["values"]["optimizer.lr"] == 0.1


def test_what_is_no_bare_name_is_not_explained(tmp_path):
    reader = runs_of(tmp_path, {"val/loss": 0.1})
    assert reader.runs("val/loss<1 summary.val/loss<1 state:finished vision", sort="-started")["means"] == {}
    with pytest.raises(UsageError, match="can't be sorted by 'nothing'"):
        reader.runs(sort="nothing")


def test_the_command_line_says_what_a_bare_name_means(tmp_path, capsys):
    runs_of(tmp_path, {"val/loss": 0.1}, {"loss": 0.2})
    assert cli.main(["runs", "loss<0.3", "--root", str(tmp_path)]) == 0
    assert "loss means loss in 1 run, val/loss in 1 run" in capsys.readouterr().err


@pytest.mark.parametrize("names_logged, main", [
    (["train/approx_kl", "train/entropy_loss", "train/loss"], "train/loss"),    # as Stable-Baselines3 logs
    (["acc", "val_loss", "loss"], "val_loss"), (["box_loss", "cls_loss"], "box_loss"), (["b", "a"], "b"),
    (["aux/loss_a", "loss"], "aux/loss_a"), (["train/loss", "val/loss"], "val/loss"),
])
def test_the_main_metric_is_the_loss_of_which_others_are_parts(tmp_path, names_logged, main):
    row, = runs_of(tmp_path, dict.fromkeys(names_logged, 1)).runs()["runs"]
    assert row["main"]["metric"] == main
