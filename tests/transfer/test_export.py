"""Exports read back by those they are for: csv.reader, TensorBoard's EventAccumulator, a
browser with no network."""

import csv
import io
import json
import math
import struct
import tracemalloc
import zipfile

import pytest
from catalogs import make_run as mirrored_run
from catalogs import mirror_of
from later import Later
from small_runs import run_folder

from runicorn import layout
from runicorn.errors import DataError, UsageError
from runicorn.metrics.kinds import events as own_events
from runicorn.metrics.kinds.crc32c import CASTAGNOLI, crc32c
from runicorn.metrics.series import Series
from runicorn.reader.catalog import Catalog
from runicorn.transfer import export, html_report
from runicorn.transfer.rows import Rows

event_accumulator = Later("tensorboard.backend.event_processing.event_accumulator")
plugin_data_pb2 = Later("tensorboard.plugins.hparams.plugin_data_pb2")
pytest_plugins = ["chromium"]       # for its browser
STEPS = 3000
HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror="document.title=1"><!--'


def write(folder, name, rows, start=1700000000.125):
    with open(folder / name, "a", encoding="utf-8") as file:
        for place, (step, data) in enumerate(rows):
            file.write(layout.to_json({"ts": start + place, "step": step, "data": data}) + "\n")


def make_run(root, name="resnet50", run_id="20250123_180000_abc123", lr=0.001, **meta):
    """A run of fifty minutes with a config of every type; its events are written by `write`."""
    config = {"lr": lr, "model": {"name": "resnet", "layers": [3, 4, 6, 3]}, "amp": True, "note": None,
              **meta.pop("config", {})}
    return run_folder(root, layout.run_path("vision", name, run_id), {
        "meta.json": {"id": run_id, "project": "vision", "name": name, "created_at": 1700000000.0,
                      "config": config, "format": 1, **meta},
        "status.json": {"status": "finished", "started_at": 1700000000.0, "ended_at": 1700003000.0},
        "summary.json": {"best_val_accuracy": 85.6}})


def events():
    for step in range(STEPS):
        yield step, {"train/loss": math.exp(-step / 700) + 0.1 / (step + 1), "lr": 0.001 / (1 + step)}
        if step % 500 == 499:
            yield step // 500, {"val/loss": "NaN" if step > 2000 else 1 / step, "val/acc": step / 40}


@pytest.fixture
def root(tmp_path):
    write(make_run(tmp_path / "root"), "events.jsonl", events())
    return tmp_path / "root"


@pytest.fixture
def reader(root, tmp_path):
    found = Catalog([("local", root)], home=tmp_path / "home")
    found.refresh()
    return found


def all_of(pieces):
    return b"".join(pieces)


def table(pieces):
    return list(csv.reader(io.StringIO(all_of(pieces).decode())))


def plain(value):
    return {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity"}.get(value) or repr(float(value))


# -- CSV -----------------------------------------------------------------------------------------------------

def test_wide_csv_holds_every_row_exactly(reader):
    head, *rows = table(export.stream(reader, reader.find("abc123"), "csv"))
    assert head == ["step", "ts", "train/loss", "lr", "val/loss", "val/acc"]
    wanted = [[str(step), repr(1700000000.125 + place),
               *(plain(data[name]) if name in data else "" for name in head[2:])]
              for place, (step, data) in enumerate(events())]
    assert rows == wanted
    assert float(rows[7][2]) == math.exp(-7 / 700) + 0.1 / 8                    # bit by bit


def test_long_csv_holds_every_value_exactly(reader):
    head, *rows = table(export.stream(reader, reader.find("abc123"), "csv", long=True))
    assert head == ["metric", "rank", "step", "ts", "value"]
    assert rows == [[name, "0", str(step), repr(1700000000.125 + place), plain(value)]
                    for place, (step, data) in enumerate(events()) for name, value in data.items()]


def test_csv_of_strange_names_ranks_and_infinities(tmp_path):
    write(tmp_path, "events.jsonl",
          [(0, {'a,"b"': 1, "nan": "Infinity", "损失": -0.0}), (1.5, {"nan": "-Infinity"})])
    write(tmp_path, "events.rank2.jsonl", [(0, {"nan": 5e-324})])
    head, *rows = table(export.csv(Rows(tmp_path)))
    assert head == ["step", "ts", "rank", 'a,"b"', "nan", "损失"]
    assert [",".join(row[:1] + row[2:]) for row in rows] == [
        "0,0,1.0,Infinity,-0.0", "1.5,0,,-Infinity,", "0,2,,5e-324,"]
    assert [row[:3] for row in table(export.csv(Rows(tmp_path), long=True))[1:4]] == [
        ['a,"b"', "0", "0"], ["nan", "0", "0"],
             ["损失", "0", "0"]]
    assert table(export.csv(Rows(tmp_path / "absent"))) == [["step", "ts"]]


@pytest.mark.parametrize("other, names", [
    ('{"ts":9.5,"step":9,"data":{"layer1/a":1.5,"layer2/a":2.5,"layer3/a":3.5}}', ["layer3/a"]),
    ('{"ts":9.5,"step":9,"data":{"layer1/a":1.5,"layer3/a":2.5}}', ["layer3/a"]),
    ('{"ts":9.5,"step":9,"data":{"layer2/a":1.5,"layer1/a":2.5}}', []),
    ('{"ts":9.5,"step":9,"data":{"layer1/a":1.5,"layer2/a":"NaN"}}', []),
    ('{"ts":9.5,"step":9,"data":{"layer1/a":1.5,"layer2/a":2-5}}', []), ('{"ts":9.5,"st', []), ("", [])])
def test_a_line_unlike_all_others_keeps_its_columns(tmp_path, other, names):
    """Where all lines are written alike, their numbers are not read to learn the columns."""
    rows = [f'{{"ts":{n}.5,"step":{n},"data":{{"layer1/a":{n}.25,"layer2/a":{n}.75}}}}' for n in range(50)]
    for where in (0, 25, 50):
        folder = tmp_path / str(where)
        folder.mkdir()
        (folder / "events.jsonl").write_text("\n".join([*rows[:where], other, *rows[where:]]) + "\n")
        lines = b"".join(export.csv(Rows(folder))).decode().splitlines()
        assert sorted(lines[0].split(",")[2:]) == ["layer1/a", "layer2/a", *names]
        whole = other.endswith("}}") and "2-5" not in other
        assert len(lines) == 1 + len(rows) + whole


def test_csv_leaves_out_what_was_superseded(tmp_path):
    write(tmp_path, "events.jsonl", [(step, {"loss": 1.0, "only": 2.0}) for step in range(10)])
    write(tmp_path, "events.2.jsonl", [(step, {"loss": 3.0}) for step in range(6, 8)], start=1800000000.0)
    head, *rows = table(export.csv(Rows(tmp_path)))
    assert [(row[0], *row[2:]) for row in rows] == [*[(str(step), "1.0", "2.0") for step in range(6)],
                                                    *[(str(step), "", "2.0") for step in range(6, 10)],
                                                    ("6", "3.0", ""), ("7", "3.0", "")]
    steps, ts, values = Series(tmp_path).points("loss")
    assert (list(steps), list(values), ts[-1]) == (list(range(8)), [1.0] * 6 + [3.0] * 2, 1800000001.0)
    assert [list(column) for column in Series(tmp_path).points("nothing")] == [[], [], []]


def test_rows_with_metrics_of_many_groups_stay_one_row(tmp_path):
    def logged(step):
        return {"loss": float(step), **({"grad": step / 2} if step % 3 == 0 else {}),
                **({"lr": 0.1} if step % 5 else {})}
    rows = [(step, logged(step)) for step in range(10_000)]
    write(tmp_path, "events.jsonl", rows)
    head, *found = table(export.csv(Rows(tmp_path)))
    assert head == ["step", "ts", "loss", "grad", "lr"]
    assert found == [
        [str(step), repr(1700000000.125 + step),
         *(repr(data[name]) if name in data else "" for name in head[2:])]
        for step, data in rows]


def test_a_run_that_is_not_all_here_is_not_exported(tmp_path):
    series = Series(tmp_path)
    series.prime((0, 1), 40, lambda spans: [b'{"ts":1,"step":1,"data":{"loss":1}}\n' for _ in spans],
                 own_events.Reader)
    for call in (lambda: all_of(html_report.page([({}, series)])), lambda: series.points("loss")):
        with pytest.raises(DataError, match="not all here"):
            call()


def test_a_mirrored_run_is_exported_once_it_is_here_or_while_it_grows(tmp_path):
    mirror, files = tmp_path / "mirror", {}
    for name, state in (("whole", "finished"), ("torn", "finished"), ("absent", "running"),
                        ("growing", "running")):
        folder = mirrored_run(tmp_path / "far", name=name,
                              run_id=f"20250123_180000_{name:>6.6}".replace(" ", "0"), status=state,
                              events=[{"loss": step} for step in range(3)])
        (folder / "logs.txt").write_text("one line\n")
        files[name] = folder.relative_to(tmp_path / "far") / "events.jsonl"
    mirror_of(tmp_path / "far", mirror)
    for name in ("torn", "growing"):
        whole = (tmp_path / "far" / files[name]).read_bytes()
        (mirror / files[name]).write_bytes(whole.partition(b"\n")[0] + b"\n")
    (mirror / files["absent"]).unlink()
    # a log that may not be read keeps no metric back
    (mirror / files["whole"]).with_name("logs.txt").unlink()
    reader = Catalog([], [("gpu1", mirror)], home=tmp_path / "home")
    reader.refresh()
    found = {name: reader.find(files[name].parts[-2]) for name in files}
    assert [len(table(export.stream(reader, found[name], "csv"))) for name in ("whole", "growing")] == [4, 2]
    for name in ("torn", "absent"):
        for form in export.FORMATS:
            with pytest.raises(DataError, match="not all here"):
                export.stream(reader, found[name], form)


@pytest.mark.long
def test_csv_holds_one_block_of_the_rows_in_memory(tmp_path):
    peaks = []
    for count in (60_000, 180_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        with open(folder / "events.jsonl", "w") as file:
            file.writelines(f'{{"ts":{1.7e9 + step},"step":{step},"data":{{"loss":{step / 7}}}}}\n'
                            for step in range(count))
        tracemalloc.start()
        assert sum(piece.count(b"\n") for piece in export.csv(Rows(folder))) == count + 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_a_file_replaced_while_it_is_read_ends_the_export(tmp_path):
    rows = "".join(f'{{"ts":1.5,"step":{step},"data":{{"loss":1.0}}}}\n' for step in range(60_000))
    (tmp_path / "events.jsonl").write_text(rows)
    pieces = export.csv(Rows(tmp_path))
    next(pieces), next(pieces)
    (tmp_path / "events.jsonl").write_text(rows.replace("1.5", "2.5"))
    with pytest.raises(DataError, match="was replaced while it was read; try again"):
        all_of(pieces)


def test_steps_are_whole_where_they_can_be_and_rows_in_disorder_count_by_their_step(tmp_path):
    write(tmp_path, "events.jsonl",
          [(9, {"a": 1}), (1.0, {"a": 2, "b": 2}), (7, {"b": 3}), (2**63, {"a": 4}), (5, {"b": 5})])
    write(tmp_path, "events.2.jsonl", [(8, {"a": 6}), (6, {"b": 7})])
    write(tmp_path, "events.3.jsonl", [(3, {"a": 8})])
    _, *rows = table(export.csv(Rows(tmp_path)))
    assert [[row[0], *row[2:]] for row in rows] == [
        ["1", "2.0", "2.0"], ["5", "", "5.0"], ["6", "", "7.0"], ["3", "8.0", ""]]
    steps, _, values = Series(tmp_path).points("a")
    assert (list(steps), list(values)) == ([1, 3], [2.0, 8.0])


def test_an_unknown_format_is_refused(reader):
    with pytest.raises(UsageError, match="csv, tensorboard, html"):
        export.stream(reader, reader.find("abc123"), "xlsx")


# -- TensorBoard ---------------------------------------------------------------------------------------------

def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def test_crc32c_is_the_published_one():
    assert crc32c(b"123456789") == 0xE3069283                  # RFC 3720's check value, and its examples
    assert crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    for length in (0, 1, 3, 4, 5, 255, 256, 257, 259, 700):
        data = bytes(place * 7 & 255 for place in range(length))
        state = 0xFFFFFFFF
        for byte in data:
            state ^= byte
            for _ in range(8):
                state = state >> 1 ^ (CASTAGNOLI if state & 1 else 0)
        assert crc32c(data) == state ^ 0xFFFFFFFF


def test_tensorboard_reads_every_step_time_value_and_tag(reader, tmp_path):
    archive = zipfile.ZipFile(io.BytesIO(all_of(export.stream(reader, reader.find("abc123"), "tensorboard"))))
    assert archive.namelist() == ["20250123_180000_abc123/events.out.tfevents.1700000000.runicorn"]
    assert archive.testzip() is None
    archive.extractall(tmp_path / "tb")
    found = event_accumulator.EventAccumulator(str(tmp_path / "tb" / "20250123_180000_abc123"),
                                               size_guidance={"scalars": 0})
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == ["lr", "train/loss", "val/acc", "val/loss"]
    for tag in found.Tags()["scalars"]:
        wanted = [(1700000000.125 + place, step, repr(float32(float(data[tag]))))
                  for place, (step, data) in enumerate(events()) if tag in data]
        assert [(event.wall_time, event.step, repr(event.value)) for event in found.Scalars(tag)] == wanted


def test_tensorboard_reads_the_hyperparameters(reader, tmp_path):
    key = reader.find("abc123")
    run = export.told(reader, key)
    (tmp_path / export.tensorboard_name(run)).write_bytes(
        all_of(export.tensorboard(export.rows(reader, key), run)))
    found = event_accumulator.EventAccumulator(str(tmp_path))
    found.Reload()
    content = found.PluginTagToContent("hparams")
    start = plugin_data_pb2.HParamsPluginData.FromString(
        content["_hparams_/session_start_info"]).session_start_info
    told = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert told == {"lr": 0.001, "model.name": "resnet", "model.layers": "[3,4,6,3]", "amp": True}
    assert start.start_time_secs == 1700000000.0
    end = plugin_data_pb2.HParamsPluginData.FromString(content["_hparams_/session_end_info"]).session_end_info
    assert (end.status, end.end_time_secs) == (1, 1700003000.0)
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    assert sorted(info.name for info in experiment.hparam_infos) == sorted(told)
    assert [info.name.tag for info in experiment.metric_infos] == ["train/loss", "lr", "val/loss", "val/acc"]


def test_tensorboard_with_values_float32_cannot_hold_negative_steps_and_ranks(tmp_path):
    write(tmp_path, "events.jsonl",
          [(step, {"损失": value})
           for step, value in enumerate([1e300, -1e39, "NaN", 1e-320, "Infinity"], -3)])
    write(tmp_path, "events.rank1.jsonl", [(7, {"损失": 0.5})])
    (tmp_path / "events.out.tfevents.1.runicorn").write_bytes(all_of(export.tensorboard(Rows(tmp_path), {})))
    found = event_accumulator.EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(event.step, repr(event.value)) for event in found.Scalars("损失")] == list(
        enumerate(["inf", "-inf", "nan", "0.0", "inf"], -3))
    assert [(event.step, event.value) for event in found.Scalars("rank1/损失")] == [(7, 0.5)]


# -- the report ----------------------------------------------------------------------------------------------

@pytest.fixture
def opened(browser, tmp_path):
    """Open a report from disk; anything it asks for beyond itself, and any error, fails the test."""
    pages = []

    def open_report(pieces, **options):
        (tmp_path / "report.html").write_bytes(all_of(pieces))
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda message: page.errors.append(message.text))
        page.goto((tmp_path / "report.html").as_uri())
        pages.append(page)
        return page
    yield open_report
    for page in pages:
        assert page.errors == [] and len(page.asked) == 1
        page.close()


def drawn(page):
    """How many pixels of each chart are coloured: neither white, nor grey like axes and grid."""
    return page.evaluate("""() => [...document.querySelectorAll("canvas")].map((canvas) => {
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let coloured = 0;
        for (let i = 0; i < data.length; i += 4) {
            const rgb = [data[i], data[i + 1], data[i + 2]];
            coloured += data[i + 3] > 60 && Math.max(...rgb) - Math.min(...rgb) > 60;
        }
        return coloured;
    })""")


def test_a_report_of_one_run_opens_from_disk(reader, opened):
    page = opened(export.stream(reader, reader.find("abc123"), "html"), locale="en-GB")
    assert page.inner_text("h1") == "vision / resnet50"
    # train/loss and val/loss share one
    assert page.locator(".chart h3").all_inner_texts() == ["loss", "lr", "acc"]
    assert min(drawn(page)) > 100
    text = page.inner_text("body")
    assert "85.6" in text and "model.layers" in text and "[3,4,6,3]" in text and "finished" in text
    assert "best (min)" in text
    page.click("#language")
    assert "已完成" in page.inner_text("body") and page.inner_text("#log") == "对数纵轴"
    page.click("#smooth")
    assert page.get_attribute("#smooth", "aria-pressed") == "true" and min(drawn(page)) > 100
    page.click("#log")
    assert page.get_attribute("#log", "aria-pressed") == "true" and min(drawn(page)) > 100


def test_a_report_that_compares(root, tmp_path, opened):
    other = make_run(root, "resnet18", "20250123_190000_def456", lr=0.01)
    write(other, "events.jsonl", [(step, {"train/loss": 0.5}) for step in range(10)])
    reader = Catalog([("local", root)], home=tmp_path / "home")
    reader.refresh()
    keys = [reader.find("abc123"), reader.find("def456")]
    page = opened(export.html(reader, keys), locale="zh-CN", color_scheme="dark")
    assert page.inner_text("h1") == "对比 2 个实验"
    assert page.locator(".chart h3").all_inner_texts() == ["train/loss", "lr", "val/loss", "val/acc"]
    assert page.locator(".chart").first.locator(".legend > span").count() == 2
    assert page.locator("tr.differs td").all_inner_texts()[:3] == ["lr", "0.001", "0.01"]
    assert page.locator("td.best").count() == 1 and min(drawn(page)) > 50


def compared(tmp_path, opened, *runs):
    """Open a report that compares `runs`, [(project, config), …] of one name; return the heads of its
    tables and a chart's legend."""
    for number, (project, config) in enumerate(runs):
        meta = {"id": f"20250123_18000{number}_abc12{number}", "project": project, "name": "base",
                "created_at": 1.7e9 + number, "config": config}
        folder = run_folder(tmp_path / "root", f"{project}/base/runs/{meta['id']}", {
            "meta.json": meta, "status.json": {"status": "finished", "started_at": 1.7e9,
                                               "ended_at": 1.7e9 + 9}, "summary.json": {}})
        write(folder, "events.jsonl", [(step, {"loss": float(step)}) for step in range(9)])
    reader = Catalog([("local", tmp_path / "root")], home=tmp_path / "home")
    reader.refresh()
    page = opened(export.html(reader, [reader.find(f"abc12{number}") for number in range(len(runs))]),
                  locale="en-GB")
    heads = page.locator("table >> nth=0").locator("th").all_inner_texts()[1:]
    assert page.locator("table >> nth=1").locator("th").all_inner_texts()[1:] == heads
    assert [text.rsplit(" ", 1)[0] for text in page.locator(".legend > span").all_inner_texts()] == heads
    return heads


@pytest.mark.few(2)
@pytest.mark.parametrize("runs, heads", [
    ([("p", {"lr": 1, "seed": 1}), ("p", {"lr": 2, "seed": 2})], ["base seed=1", "base seed=2"]),
    ([("p", {"o": {"lr": 0.1}, "x": 1}), ("p", {"o": {"lr": 0.2}, "x": 1})], ["base lr=0.1", "base lr=0.2"]),
    ([("p", {"lr": 0.12345678}), ("p", {"lr": 3e-5}), ("p", {"lr": None})],
     ["base lr=0.12345678", "base lr=3e-5", "base lr=null"]),
    ([("a", {"seed": 1}), ("b", {"seed": 2})], ["base a", "base b"]),
    ([("p", {"seed": 1}), ("p", {"seed": 1})], ["base abc120", "base abc121"]),
    ([("p", {"seed": 1, "lr": 1}), ("p", {"seed": 1, "lr": 2}), ("p", {"seed": 2, "lr": 2})],
     ["base seed=1 lr=1", "base seed=1 lr=2", "base seed=2 lr=2"]),
    ([("p", {"path": "x" * 40, "__proto__": 1}), ("p", {"path": "y" * 40})],
     [f"base path={'x' * 17}…", f"base path={'y' * 17}…"]),
])
def test_runs_of_one_name_are_told_apart_in_a_report_as_in_compare(tmp_path, opened, runs, heads):
    assert compared(tmp_path, opened, *runs) == heads


def test_a_reports_names_are_not_torn_on_a_narrow_page(tmp_path, opened):
    many = [("p", {"optimizer.momentum": 1, "seed": seed, "note": "some words that take room " * 3})
            for seed in range(5)]
    compared(tmp_path, lambda pieces, **options: opened(pieces, **options,
                                                        viewport={"width": 700, "height": 900}), *many)
    page = opened([(tmp_path / "report.html").read_bytes()], viewport={"width": 700, "height": 900})
    lines = page.locator("tbody td:first-child").evaluate_all("""cells => cells.map((cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return [cell.textContent, range.getClientRects().length];
    })""")
    assert ["optimizer.momentum", 1] in lines and [name for name, count in lines if count > 1] == []


def test_a_hostile_run_is_only_text(tmp_path, opened):
    folder = make_run(tmp_path / "root", HOSTILE,
                      config={HOSTILE: HOSTILE, "__proto__": {"x": 1}, "constructor": 2}, tags=[HOSTILE])
    write(folder, "events.jsonl",
          [(step, {HOSTILE: float(step), "constructor": 1.0, "nan": "NaN"}) for step in range(5)])
    reader = Catalog([("local", tmp_path / "root")], home=tmp_path / "home")
    reader.refresh()
    pieces = all_of(export.stream(reader, reader.find("abc123"), "html"))
    assert b"</script><script>document" not in pieces and b"<img" not in pieces and b"<!--" not in pieces
    page = opened([pieces], locale="en-GB")
    assert page.locator("img").count() == 0 and HOSTILE in page.inner_text("h1")
    assert page.title().endswith("· Runicorn")
    assert page.locator("script").count() == 3 and HOSTILE in page.inner_text("table >> nth=1")


def test_the_lines_of_a_reports_axes_have_labels_of_their_own(root, tmp_path, opened):
    folder = make_run(root, "narrow", "20250123_200000_aaa111")
    for name, first, step in (("lr", 3e-4, 5e-9), ("count", 1234567.01, 1e-4), ("tokens", 1.2e12, 100.0)):
        write(folder, f"{name}.jsonl", [(at, {name: first + at * step}) for at in range(100)])
    (folder / "events.jsonl").write_text(
        "".join((folder / f"{name}.jsonl").read_text() for name in ("lr", "count", "tokens")))
    reader = Catalog([("local", root)], home=tmp_path / "home")
    reader.refresh()
    page = opened(export.stream(reader, reader.find("aaa111"), "html"), locale="en-GB")
    page.evaluate("""() => {
        window.labels = new Map();
        const write = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
            labels.set(this.canvas, [...labels.get(this.canvas) ?? [], text]);
            return write.call(this, text, ...place);
        };
    }""")
    page.click("#smooth")
    page.wait_for_function("labels.size === 3")
    for labels in page.evaluate("[...labels.values()]"):
        steps, values = labels[:labels.index("80") + 1], labels[labels.index("80") + 1:]
        assert steps == ["0", "20", "40", "60",
                         "80"] and len(values) > 2 and len(set(values)) == len(values), labels


def test_a_report_keeps_every_spike(tmp_path):
    write(tmp_path, "events.jsonl",
          [(step, {"loss": {777: 99.0, 41_000: -99.0}.get(step, 0.5)}) for step in range(50_000)])
    text = all_of(html_report.page([({}, Series(tmp_path))])).decode()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    curve, = data["curves"]
    points = list(zip(curve["x"], curve["y"]))
    assert (777, 99.0) in points and (41_000, -99.0) in points and curve["m"] == 50_000 and len(points) < 1600
    assert curve["x"] == sorted(curve["x"])
