"""What the list says of a run is what its events say: its last values after a kill, its largest step, its
total, its best."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from catalogs import make_run, reader_of
from small_runs import event

import runicorn
from runicorn import layout

ID = "20250123_180000_abc123"


def put(folder, summary, written, rows, name="events.jsonl"):
    """Give a run a summary.json of the time `written` and rows [(ts, step, data)]."""
    (folder / layout.SUMMARY).write_text(layout.to_json(summary))
    (folder / name).write_text("".join(event(*row) for row in rows))
    os.utime(folder / layout.SUMMARY, (written, written))


def listed(root, metric):
    """Return what the list's column, the filter, the run and its summary for scripts say of a metric."""
    reader = reader_of(root)
    row = reader.runs(columns=[f"summary.{metric}"])["runs"][0]
    whole = reader.run(row["key"])
    return row["values"].get(f"summary.{metric}"), whole["summary"].get(metric), reader.small(
        row["key"])[layout.SUMMARY].get(metric)


def killed(root, body):
    """Run a script that logs to `root` until it printed "ready", then kill it."""
    code = (f"import runicorn, time, sys\nrun = runicorn.init(project='p', name='n', storage={str(root)!r}, "
            "system=False)\n" + body)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root,
                          env={**os.environ,
                               "PYTHONPATH": os.path.dirname(os.path.dirname(runicorn.__file__))}) as process:
        assert any(line.strip() == "ready" for line in process.stdout)
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("summary_set", ["", "run.summary({'best': 7})\n"],
                         ids=["metrics alone", "and the user's"])
def test_after_a_kill_the_last_values_are_those_of_the_events(tmp_path, summary_set):
    killed(tmp_path, f"""{summary_set}
for step in range(3000):
    run.log({{'loss': 1 / (step + 1), 'val/acc': step / 10}}, step=step)
print('ready', flush=True)
time.sleep(60)""")
    assert listed(tmp_path, "loss") == (1 / 3000, 1 / 3000, 1 / 3000)
    reader = reader_of(tmp_path)
    assert reader.runs("loss<0.0004")["matched"] == 1
    assert reader.runs("val/acc>299")["matched"] == 1
    assert reader.row(reader.runs()["runs"][0]["key"])["main"]["value"] == 1 / 3000
    assert reader.runs("best=7")["matched"] == bool(summary_set)


def test_a_verdict_that_came_before_the_summary_does_not_hide_the_rows_after_it(tmp_path):
    folder = make_run(tmp_path, status="interrupted")
    put(folder, {"loss": 0.5}, 1000.0, [(990.0 + n, n, {"loss": 1 / (n + 1)}) for n in range(30)])
    # 0.5 is no value that the metric had then or later: the user's
    assert listed(tmp_path, "loss") == (0.5, 0.5, 0.5)
    put(folder, {"loss": 1 / 10}, 1000.0, [(990.0 + n, n, {"loss": 1 / (n + 1)}) for n in range(30)])
    assert listed(tmp_path, "loss") == (1 / 30, 1 / 30, 1 / 30)


ROWS = [(1000.0 + n, n, {"loss": 1 / (n + 1)}) for n in range(100)]


@pytest.mark.parametrize(
    "summary, written, rows, shown",
    [
        # killed after the flush
        ({"loss": 1 / 51}, 1050.0, ROWS, 1 / 100),
        ({"loss": 1 / 51}, 1050.9, ROWS, 1 / 100),
        # the user's own value stays
        ({"loss": 0.001}, 1050.0, ROWS, 0.001),
        # nothing was missed
        ({"loss": 1 / 100}, 2000.0, ROWS, 1 / 100),
        # killed before the first flush
        ({}, 1000.0, ROWS, 1 / 100),
        ({"loss": 1 / 51}, 1050.0, [*ROWS, (1100.0, 100, {"loss": float("nan")})], "NaN"),
        # the file server's clock is 4 s behind
        ({"loss": 1 / 51}, 1046.0, ROWS, 1 / 100),
        # set before it was ever logged
        ({"loss": 7.0}, 990.0, ROWS, 7.0),
        ({"loss": 1 / 51, "val/acc": 0.5}, 1050.0, [(1000.0, 0, {"val/acc": 0.5}), *ROWS], 1 / 100),
    ],
)
def test_what_the_summary_missed(tmp_path, summary, written, rows, shown):
    folder = make_run(tmp_path, status="running")
    (folder / "events.jsonl").write_text("")
    (folder / layout.SUMMARY).write_text(json.dumps(summary))
    (folder / "events.jsonl").write_text("".join(
        layout.to_json({"ts": ts, "step": step, "data": data}) + "\n" for ts, step, data in rows))
    os.utime(folder / layout.SUMMARY, (written, written))
    assert listed(tmp_path, "loss") == (shown, shown, shown)


def test_a_torn_last_row_and_one_of_a_long_text_stop_nothing(tmp_path):
    folder = make_run(tmp_path, status="running")
    put(folder, {"loss": 1 / 51}, 1050.0, ROWS)
    with open(folder / "events.jsonl", "a") as file:
        file.write('{"ts":1100.0,"step":100,"data":{"loss":0.005}}\n{"ts":1101,"step":101,"da')
    assert listed(tmp_path, "loss")[0] == 0.005
    with open(folder / "events.jsonl", "a") as file:
        file.write("x" * (3 << 20) + "\n" + event(1102.0, 102, {"loss": 0.004}))
    assert listed(tmp_path, "loss")[0] == 0.004


@pytest.mark.long
def test_rows_in_plenty_since_the_flush_are_gone_through(tmp_path):
    folder = make_run(tmp_path, status="running")
    put(folder, {"loss": 1.0, "epoch": 0}, 1000.5,
        [(1000.0, 0, {"loss": 1.0, "epoch": 0}), (1001.0, 1, {"epoch": 1}),
         *[(1001.0 + n / 10000, n, {"loss": 1 / n}) for n in range(2, 40000)]])
    assert listed(tmp_path, "epoch") == (1, 1, 1)
    assert listed(tmp_path, "loss")[0] == 1 / 39999


def test_what_define_metric_keeps_is_kept_up_too(tmp_path):
    folder = make_run(tmp_path, status="running", metrics={"acc*": {"summary": "max,min"}})
    put(folder, {"acc": 0.2, "acc.max": 0.6, "acc.min": 0.2}, 1001.5,
        [(1000.0, 0, {"acc": 0.6}), (1001.0, 1, {"acc": 0.2}), (1005.0, 2, {"acc": 0.9}),
         (1006.0, 3, {"acc": 0.5})])
    assert [listed(tmp_path, name)[0] for name in ("acc", "acc.max", "acc.min")] == [0.5, 0.9, 0.2]


def test_a_second_attempt_goes_on_with_the_values_of_the_first(tmp_path):
    folder = make_run(tmp_path, status="running")
    put(folder, {"loss": 1 / 100, "old": 3}, 1200.0, [*ROWS, (1099.5, 99, {"old": 3})])
    (folder / "events.2.jsonl").write_text(event(1210.0, 100, {"loss": 0.009}))
    assert listed(tmp_path, "loss")[0] == 0.009 and listed(tmp_path, "old")[0] == 3


@pytest.mark.parametrize("status", ["finished", "failed", "running"])
def test_what_an_attempt_that_was_killed_had_not_written_is_told_after_the_next(tmp_path, status):
    folder = make_run(tmp_path, status=status)
    put(folder, {"loss": 0.02}, 2000.0,
        [(1000.0 + n, n, {"loss": 0.5, "lr": n, **({"early": 1} if n < 50 else {})}) for n in range(100)])
    (folder / "events.2.jsonl").write_text(
        "".join(event(1900.0 + n, 60 + n, {"loss": 0.02}) for n in range(20)))
    said = json.loads((folder / layout.STATUS).read_text())
    (folder / layout.STATUS).write_text(json.dumps({**said, "attempts": [{"n": 1}, {"n": 2}]}))
    assert set(listed(tmp_path, "loss")) == {0.02}
    assert set(listed(tmp_path, "lr")) == {99}
    # written every few seconds: gone from the summary for another reason
    assert set(listed(tmp_path, "early")) == {None}


def test_a_finished_run_without_a_summary_is_told_by_its_events(tmp_path):
    folder = make_run(tmp_path)
    put(folder, {}, 2000.0, [(1000.0 + n, n, {"loss": 1 / (n + 1)}) for n in range(10)])
    (folder / layout.SUMMARY).unlink()
    assert set(listed(tmp_path, "loss")) == {0.1}


# -- the step ------------------------------------------------------------------------------------------------

def step_of(root):
    """Return the step that the list, the run's page, a script's run and the sort value tell, and the curves'
    own."""
    reader = reader_of(root)
    row = reader.runs(sort="step")["runs"][0]
    whole = reader.run(row["key"])
    return {row["step"], whole["step"], whole["progress"]["step"], reader.series(row["key"]).last_step}


def by_epoch(steps, epochs):
    return ([(1000.0 + n, n, {"train/loss": 1.0}) for n in range(steps)]
            + [(2000.0 + n, n, {"val/loss": 1.0}) for n in range(epochs)])


@pytest.mark.parametrize(
    "rows, step",
    [
        (by_epoch(500, 5), 499),
        # far more than the end of the file shows
        (by_epoch(3000, 2000), 2999),
        ([*by_epoch(100, 3), (3000.0, 10**9, {"train/loss": 1.0}), *by_epoch(100, 3)], 10**9),
        ([(1000.0, -5, {"a": 1.0}), (1001.0, -7, {"a": 1.0})], -5),
        ([(1000.0, 7, {"step": 999, "a": 1.0})], 7),                            # a metric called step
        ([(1000.0, None, {"a": 1.0}), (1001.0, None, {"a": 2.0})], 1),           # counted by lines
    ],
)
def test_the_step_is_how_far_the_run_came(tmp_path, rows, step):
    folder = make_run(tmp_path)
    put(folder, {}, 5000.0, rows)
    assert step_of(tmp_path) == {step}


def test_the_step_in_other_writers_shapes_beside_images_and_broken_lines(tmp_path):
    folder = make_run(tmp_path)
    lines = [json.dumps({"ts": 1.0, "type": "metrics", "data": {"a": 1, "global_step": 30}}), "{broken", "",
             json.dumps({"data": {"a": 1}, "step": 41, "ts": 2.0}),
             '{"ts":3.0,"step":99,"type":"image","data":{"x":[]}}', '{"ts":4.0,"step":5,"data":{"a":1}}']
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    assert step_of(tmp_path) == {41}


def test_the_step_is_of_the_newest_attempt_and_grows_with_the_file(tmp_path):
    folder = make_run(tmp_path, status="running")
    put(folder, {}, 5000.0, by_epoch(500, 5))
    (folder / "events.2.jsonl").write_text(event(3000.0, 400, {"train/loss": 1.0}))
    reader = reader_of(tmp_path)
    assert step_of(tmp_path) == {400} and reader.runs()["runs"][0]["step"] == 400
    with open(folder / "events.2.jsonl", "a") as file:
        file.write(event(3001.0, 430, {"train/loss": 1.0}) + event(3002.0, 1, {"val/loss": 1.0})
                   + '{"ts":3003,"step":44')
    assert reader.runs()["runs"][0]["step"] == 430
    (folder / "events.3.jsonl").write_text("")                                  # begun, nothing logged yet
    assert step_of(tmp_path) == {430}


def test_a_file_of_many_megabytes_is_looked_at_in_places_for_its_step(tmp_path):
    folder = make_run(tmp_path)
    row = ('{{"ts":{0}.000,"step":{1},'
           '"data":{{"train/loss":0.123456789,"lr":0.001,"pad":0.123456789012345}}}}\n')
    with open(folder / "events.jsonl", "w") as file:
        file.writelines(row.format(1000 + n, n) for n in range(60_000))
        file.writelines(row.format(90_000 + n, n) for n in range(2_000))
    assert os.path.getsize(folder / "events.jsonl") > 5 << 20
    reader = reader_of(tmp_path)
    row = reader.runs()["runs"][0]
    assert row["step"] > 58_000
    # one answer once it was read whole
    assert reader.run(row["key"])["step"] == 59_999 == reader.runs()["runs"][0]["step"]


def test_a_lone_row_far_ahead_in_a_larger_file_is_known_once_it_was_read_whole(tmp_path):
    folder = make_run(tmp_path)
    put(folder, {}, 5000.0,
        [(1000.0 + n, 10**9 if n == 5003 else n, {"loss": 0.123456789, "lr": 0.001}) for n in range(20_000)])
    reader = reader_of(tmp_path)
    key = reader.runs()["runs"][0]["key"]
    assert {reader.run(key)["step"], reader.runs()["runs"][0]["step"], reader.series(key).last_step} == {
        10**9}


def test_steps_that_begin_anew_in_a_larger_file_are_seen(tmp_path):
    folder = make_run(tmp_path)
    put(folder, {}, 5000.0, by_epoch(10_000, 0) + by_epoch(6_000, 0))
    assert reader_of(tmp_path).runs()["runs"][0]["step"] == 9_999


# -- the total -----------------------------------------------------------------------------------------------

def guide_rows(batches, epochs, upto=None):
    """The rows of the guide's own script, up to the epoch `upto`."""
    rows = []
    for epoch in range(epochs if upto is None else upto):
        rows += [(1000.0 + epoch * batches + batch, epoch * batches + batch,
                  {"train/loss": 1.0, "epoch": epoch})
                 for batch in range(0, batches, 10)]
        rows.append((1000.0 + (epoch + 1) * batches, (epoch + 1) * batches, {"val/loss": 1.0}))
    return rows


def progress_of(root, rows, config, status="running"):
    folder = make_run(root, config=config, status=status)
    put(folder, {"epoch": rows[-2][2].get("epoch", 0)}, time.time(), rows)
    reader = reader_of(root)
    return reader.run(reader.runs()["runs"][0]["key"])["progress"]


@pytest.mark.parametrize("rows", [3, 21, 40, 300, 1000, 2099])
def test_the_total_of_the_guides_script_does_not_swing(tmp_path, rows):
    found = progress_of(tmp_path, guide_rows(200, 100)[:rows], {"epochs": 100})
    assert (found["total"], found["about"]) == ((20_000, True) if rows >= 23 else (None, False))
    assert found["eta"] is None or abs(found["eta"] - (20_000 - found["step"])) < 60


@pytest.mark.parametrize(
    "epochs, config, total",
    [
        # less than a tenth of an epoch
        ([n / 1000 for n in range(0, 50)], {"epochs": 3}, None),
        ([n / 1000 for n in range(0, 500)], {"epochs": 3}, 3000),
        # as Transformers rounds it
        ([round(n / 1000, 2) for n in range(0, 500)], {"epochs": 3}, 3000),
        ([1 + n // 100 for n in range(0, 250)], {"epochs": 10}, 1000),                 # counted from one
        # what is known goes before
        ([n // 100 for n in range(0, 250)], {"epochs": 10, "max_steps": 900}, 900),
        ([n // 100 for n in range(0, 250)], {}, None),
        ([n // 100 for n in range(0, 250)], {"epochs": "10"}, None),
        # more than it was to take
        ([n // 100 for n in range(0, 250)], {"epochs": 1}, None),
        ([0.0] * 250, {"epochs": 10}, None),
        ([float("nan")] * 250, {"epochs": 10}, None),
        ([0] * 250, {"max_steps": 100}, None),                                         # is past what it said
        ([0] * 250, {"max_steps": -1, "total_steps": 500}, 500),
    ],
)
def test_a_total_is_shown_when_it_is_known_or_about(tmp_path, epochs, config, total):
    rows = [(1000.0 + step, step, {"loss": 1.0, "epoch": epoch}) for step, epoch in enumerate(epochs)]
    found = progress_of(tmp_path, rows, config)
    assert found["total"] == pytest.approx(total, rel=0.03) if total else found["total"] is None
    assert found["about"] == (total is not None and not {"max_steps", "total_steps"} & config.keys())


@pytest.mark.parametrize("config",
                         [{}, {"max_steps": 1000}, {"max_steps": 250}, {"epochs": 100}, {"max_steps": 10}])
def test_a_finished_run_has_come_all_of_its_way(tmp_path, config):
    rows = [(1000.0 + step, step, {"loss": 1.0, "epoch": step // 100}) for step in range(250)]
    found = progress_of(tmp_path, rows, config, status="finished")
    assert found["share"] == 1.0 and found["total"] in (249, 250) and not found["about"]
    assert found["eta"] is None


# -- the best ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    "metrics, best",
    [
        ({}, 0.1),
        ({"error_free": {"summary": "max"}}, 0.9),
        ({"error_free": {"summary": "best", "goal": "max"}}, 0.9),
        ({"err*": {"summary": "max"}}, 0.9),
        # says nothing of which is better
        ({"error_free": {"summary": "min,max"}}, 0.1),
        ({"error_free": {"summary": 3}}, 0.1),
        ([], 0.1),
    ],
)
def test_best_follows_define_metric(tmp_path, home, metrics, best):
    folder = make_run(tmp_path, metrics=metrics)
    put(folder, {"error_free": 0.5}, 5000.0,
        [(1000.0 + n, n, {"error_free": value}) for n, value in enumerate((0.1, 0.9, 0.5))])
    # the second time from what was kept
    for _ in range(2):
        reader = reader_of(tmp_path, home=home)
        row = reader.runs(spark=True)["runs"][0]
        assert row["main"]["best"]["value"] == best
        assert [metric["best"]["value"] for metric in reader.run(row["key"])["metrics"]] == [best]
        reader.save()
    from runicorn.transfer import html_report
    facts = html_report._facts(reader.run(row["key"]), reader.series(row["key"]))
    assert facts["metrics"]["error_free"]["best"][0] == best


def test_the_readers_own_rule_goes_before_define_metric(tmp_path):
    folder = make_run(tmp_path, metrics={"acc": {"summary": "max"}})
    put(folder, {"acc": 0.5}, 5000.0,
        [(1000.0 + n, n, {"acc": value}) for n, value in enumerate((0.1, 0.9, 0.5))])
    reader = reader_of(tmp_path, preferences=lambda: {"best_rule": {"acc": "min"}})
    assert reader.runs(spark=True)["runs"][0]["main"]["best"]["value"] == 0.1


@pytest.mark.parametrize("way, kept",
                         [("max", 0.9), ("min", 0.1), ("mean", 0.5), ("first", 0.1), ("best", 0.1),
                          ("last,max", 0.9)])
@pytest.mark.parametrize("name", ["error_free", "val/loss", "train/x.y"])
def test_what_define_metric_keeps_is_not_the_main_metric(tmp_path, name, way, kept):
    """A run that finished and one that was killed have the same main metric, whatever the summary holds
    first."""
    folder = make_run(tmp_path, metrics={name: {"summary": way}})
    put(folder, {f"{name}.{way.split(',')[-1]}": kept, name: 0.5}, 5000.0,
        [(1000.0 + n, n, {name: value}) for n, value in enumerate((0.1, 0.9, 0.5))])
    reader = reader_of(tmp_path)
    assert reader.runs()["runs"][0]["main"]["metric"] == name
    main = reader.run(key_of(reader))["main"]
    assert (main["metric"], main["value"]) == (name, 0.5)
    assert main["best"]["value"] == (0.9 if "max" in way or way in ("mean", "first") and name == "train/x.y"
                                     else
                                     0.9 if way == "best" and name == "train/x.y" else 0.1)
    entry = reader.entry(key_of(reader))
    assert entry.rule(f"{name}.{way.split(',')[-1]}") == main["rule"]


def key_of(reader):
    return reader.runs()["runs"][0]["key"]


def test_a_metric_that_is_called_so_is_one_still(tmp_path):
    folder = make_run(tmp_path, metrics={"loss": {"goal": "min"}})
    put(folder, {"loss.max": 3.0, "loss": 0.5}, 5000.0, [(1000.0, 0, {"loss.max": 3.0, "loss": 0.5})])
    assert reader_of(tmp_path).runs()["runs"][0]["main"]["metric"] == "loss.max"


def test_the_best_of_a_long_run_is_one_in_its_page(tmp_path):
    """A list looks at places of a long curve and does not say what is best; the run's page, which has read
    it, says it once."""
    folder = make_run(tmp_path)
    rows = [event(1000.0 + n, n, {"val/loss": 0.01 if n == 70_003 else 1 + 1 / (n + 1)})
            for n in range(140_000)]
    (folder / "events.jsonl").write_text("".join(rows))
    reader = reader_of(tmp_path)
    assert reader.runs(spark=True)["runs"][0]["main"]["best"] is None
    told = reader.run(key_of(reader))
    metric, = told["metrics"]
    assert told["main"]["best"] == {"value": 0.01, "step": 70_003} == {
        name: metric["best"][name] for name in ("value", "step")}
