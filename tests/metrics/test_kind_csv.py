"""Tables of trainings: what real loggers write, as it grows, is replaced and is
damaged; what is no training."""

import csv
import io
import math
import random

import pytest
from kind_cuts import Growing, check_cuts, steps_and_values, whole
from kind_of_text import kind_of

from runicorn.metrics.column_file import File
from runicorn.metrics.kinds import csv_table
from runicorn.metrics.kinds.csv_table import Reader


def plain(data):
    """Return {column: [(row number, number), …]}, read with the standard library's csv."""
    read = {}
    for number, row in enumerate(csv.DictReader(io.StringIO(data.decode()))):
        for name, cell in row.items():
            if cell.strip():
                read.setdefault(name, []).append((number, float(cell)))
    return read


def test_a_million_ways_to_cut_a_table_with_empty_cells():
    dice = random.Random(1)
    lines = ["val/loss,epoch,step,train loss"]
    for step in range(120):
        loss = "nan" if step == 7 else dice.random() if step % 5 else ""
        lines.append(f"{'' if step % 5 else dice.random()},{step // 10},{step},{loss}")
    data = ("\n".join(lines) + "\n").encode()
    read = check_cuts(Reader, data)
    assert kind_of("metrics.csv", data[:4096]) == kind_of("anything.csv", data[:4096]) == "csv"
    wanted = plain(data)
    assert steps_and_values(read.parts, "val/loss") == wanted["val/loss"]
    found = steps_and_values(read.parts, "train loss")
    assert repr(found) == repr(wanted["train loss"]) and math.isnan(dict(found)[7])
    assert [step for step, _ in steps_and_values(read.parts, "epoch")] == list(range(120))
    assert read.reader.facts() == {"no_times": True} and read.reader.skipped == {}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_ends_of_lines_separators_and_marks(newline, separator, mark):
    rows = [["epoch", "loss", "acc"], ["0", "0.5", "0.1"], ["1", "", "0.2"], ["2", "0.25", "0.3"]]
    data = mark + newline.join(separator.join(row) for row in rows).encode() + newline.encode()
    read = check_cuts(Reader, data)
    assert steps_and_values(read.parts, "loss") == [(0, 0.5), (2, 0.25)]
    assert steps_and_values(read.parts, "acc") == [(0, 0.1), (1, 0.2), (2, 0.3)]
    assert kind_of("training.log", data) == "csv"


def test_padded_as_yolo_writes_it():
    head = "               epoch,      train/box_loss,  metrics/mAP50(B)\n"
    data = (head + "".join(f"{epoch:20d},{1 / (epoch + 1):20.5g},{epoch / 9:20.5g}\n"
                           for epoch in range(9))).encode()
    read = check_cuts(Reader, data)
    assert kind_of("results.csv", data) == "csv"
    assert steps_and_values(read.parts, "train/box_loss")[1] == (1, 0.5)
    assert len(steps_and_values(read.parts, "metrics/mAP50(B)")) == 9


def test_the_last_row_waits_for_its_end():
    growing = Growing(Reader).grow(b"step,loss\n0,1.5\n1,0.22")
    assert steps_and_values(growing.parts, "loss") == [(0, 1.5)]
    growing.grow(b"5\n")
    assert steps_and_values(growing.parts, "loss") == [(0, 1.5), (1, 0.225)]


def test_what_is_a_number_and_what_is_text():
    data = b'step,a,b,"c, d"\n"0","0.5",1_000,1e400\n1, 1e-3 ,True,-inf\n2,.5,0x10,NaN\n3,"1",n/a,"2"\n'
    read = check_cuts(Reader, data)
    assert steps_and_values(read.parts, "a") == [(0, 0.5), (1, 0.001), (2, 0.5), (3, 1)]
    assert steps_and_values(read.parts, "b") == []
    assert repr(steps_and_values(read.parts, "c, d")) == "[(0, inf), (1, -inf), (2, nan), (3, 2.0)]"


@pytest.mark.long
def test_quoted_cells_over_several_lines_and_a_quote_that_never_ends():
    data = b'step,loss,sample\n0,0.5,"a\nb, ""c""\n"\n1,0.4,"x"\n2,0.3,"broken\n3,0.2,y\n4,0.1,z\n'
    # the rest may still be one cell
    assert [step for step, _ in steps_and_values(check_cuts(Reader, data).parts, "loss")] == [0, 1]
    grown = data + b"".join(b"%d,0.5,w\n" % step for step in range(5, 12000))
    read = check_cuts(Reader, grown, rounds=3)
    assert [step for step, _ in steps_and_values(read.parts, "loss")] == [0, 1, *range(3, 12000)]
    assert read.reader.skipped == {"quotes that do not end": 1}


def test_a_table_that_is_appended_to_by_another_start():
    first = "epoch,loss\n" + "".join(f"{epoch},{epoch}\n" for epoch in range(10))
    again = "".join(f"{epoch},{100 + epoch}\n" for epoch in range(6, 12))
    for between in ("", "epoch,loss\n", "epoch,acc,loss\n"):
        more = again if "acc" not in between else again.replace(",", ",0.5,")
        read = check_cuts(Reader, (first + between + more).encode())
        assert read.reader.facts()["purges"] == [[10, 6, None]] and read.reader.facts()["restarts"] == 1
        assert len(steps_and_values(read.parts, "loss")) == 16


def test_a_step_that_begins_again_in_each_epoch_goes_on():
    data = "epoch,iter,loss\n" + "".join(f"{epoch},{step},{step}\n" for epoch in range(1, 5)
                                         for step in range(0, 100, 10))
    read = check_cuts(Reader, data.encode())
    assert kind_of("log.csv", data.encode()[:4096]) == "csv"
    assert [step for step, _ in steps_and_values(read.parts, "loss")] == list(range(0, 400, 10))
    assert "purges" not in read.reader.facts()


def test_rows_that_overtake_one_another_supersede_nothing():
    read = check_cuts(Reader, b"step,loss\n0,1\n2,1\n1,1\n3,1\n5,1\n4,1\n6,1\n")
    assert "purges" not in read.reader.facts() and len(steps_and_values(read.parts, "loss")) == 7


def test_phases_in_one_table_are_metrics_of_their_own():
    data = "epoch,phase,loss\n" + "".join(f"{epoch},{phase},{epoch}\n" for epoch in range(4)
                                          for phase in ("train", "val"))
    read = check_cuts(Reader, data.encode())
    assert steps_and_values(read.parts, "train/loss") == steps_and_values(read.parts, "val/loss") == [
        (n, n) for n in range(4)]


@pytest.mark.parametrize("cell, wanted", [("1714557600.5", 1714557600.5), ("1714557600500", 1714557600.5),
                                          ("2024-05-01 10:00:00.5", 1714557600.5),
                                          ("2024-05-01T12:00:00.5+02:00", 1714557600.5)])
def test_times_are_taken_where_they_stand(cell, wanted):
    read = check_cuts(Reader, f"step,timestamp,loss\n0,{cell},1\n1,,2\n2,{cell},3\n".encode())
    parts = [ts for part in read.parts for ts in part.ts]
    assert parts == [wanted] * 3 and "no_times" not in read.reader.facts()
    assert read.reader.facts().get("naive_times", False) is (cell[10:11] == " ")
    assert {name for part in read.parts for name in part.names} == {"loss"}


def test_seconds_since_the_start_are_a_metric_and_no_time():
    read = check_cuts(Reader, b"epoch,time,loss\n1,10.5,1\n2,21,2\n")
    assert steps_and_values(read.parts, "time") == [(1, 10.5), (2, 21)]
    assert read.reader.facts() == {"no_times": True}


def test_pandas_writes_it_too(tmp_path):
    import pandas  # half a second that each process which collects the tests would take
    frame = pandas.DataFrame({"step": range(0, 500, 5), "loss": [1 / (n + 1) for n in range(100)],
                              "note": ["a, b"] * 100, "val": [None if n % 10 else n / 7 for n in range(100)]})
    for more in ({}, {"index": False}, {"sep": ";"}, {"quoting": csv.QUOTE_ALL}):
        path = tmp_path / "frame.csv"
        frame.to_csv(path, **more)
        read = check_cuts(Reader, path.read_bytes(), rounds=2)
        assert kind_of("frame.csv", path.read_bytes()[:4096]) == "csv", more
        assert steps_and_values(read.parts, "loss") == list(zip(frame["step"], frame["loss"]))
        assert steps_and_values(read.parts, "val") == [(n * 5, n / 7) for n in range(0, 100, 10)]


# -- real loggers --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_lightnings_logger_as_it_adds_columns(tmp_path):
    from pytorch_lightning.loggers import CSVLogger
    logger = CSVLogger(str(tmp_path), name="n", version=0, flush_logs_every_n_steps=1)
    file, wanted = None, {}
    for step in range(60):
        metrics = {"train_loss": 1 / (step + 1), "epoch": step // 10}
        if step % 10 == 9:
            metrics = {"val_loss": step / 3, "acc": step / 100, "epoch": step // 10}
        logger.log_metrics(metrics, step)
        logger.save()
        for name, value in metrics.items():
            wanted.setdefault(name, []).append((step, value))
        file = file or File(str(tmp_path / "n/version_0/metrics.csv"), make=Reader)
        while file.look() and file.step():
            pass
        assert file.behind == 0
        assert {name: len(group.rows) for name, group in file.table.where.items()} == {
            name: len(rows) for name, rows in wanted.items()}
    assert kind_of("metrics.csv", (tmp_path / "n/version_0/metrics.csv").read_bytes()[:4096]) == "csv"
    for name, rows in wanted.items():
        group = file.table.where[name]
        assert list(zip(group.steps, group.columns[name].values)) == rows


def test_keras_logger(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras
    path = tmp_path / "training.log"
    for first, last in ((0, 3), (2, 5)):                    # started again
        logger = keras.callbacks.CSVLogger(str(path), append=True)
        logger.on_train_begin()
        for epoch in range(first, last):
            logger.on_epoch_end(epoch, {"loss": 1 / (epoch + 1), "accuracy": epoch / 10, "val_loss": epoch})
        logger.on_train_end()
    data = path.read_bytes()
    read = check_cuts(Reader, data)
    assert kind_of("training.log", data) == "csv"
    assert steps_and_values(read.parts, "loss") == [(n, 1 / (n + 1)) for n in (0, 1, 2, 2, 3, 4)]
    assert [step for step, _ in steps_and_values(read.parts, "accuracy")] == [0, 1, 2, 2, 3, 4]


# -- damage and hostility ------------------------------------------------------------------------------------


def test_utf16_is_skipped_and_latin1_is_read():
    data = "step,loss\n0,1\n1,2\n"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        read = whole(Reader, data.encode(encoding))
        assert read.parts == [] and read.reader.skipped == {"UTF-16": 1} and read.position == len(read.data)
        assert kind_of("metrics.csv", data.encode(encoding)) is None
    read = check_cuts(Reader, "step,généralisation\n0,1\n1,2\n".encode("latin-1"))
    assert steps_and_values(read.parts, "généralisation") == [(0, 1), (1, 2)]


def test_rows_of_another_width_are_counted():
    read = check_cuts(Reader, b"step,a,b\n0,1,2\n1,1\n\n2,1,2,3\n3,1,2\nrubbish\n\0\0\0\n4,1,2\n")
    assert [step for step, _ in steps_and_values(read.parts, "a")] == [0, 3, 4]
    assert read.reader.skipped == {"not as wide as the header": 4}


@pytest.mark.few(6)
@pytest.mark.parametrize("flips", range(40))
def test_flipped_bytes_cost_their_row(flips):
    dice = random.Random(flips)
    data = bytearray(b"step,a,b\n" + b"".join(b"%d,%d,0.5\n" % (step, step) for step in range(300)))
    for _ in range(3):
        data[dice.randrange(20, len(data))] = dice.randrange(256)
    read = check_cuts(Reader, bytes(data), rounds=3)
    assert len(steps_and_values(read.parts, "a")) > 285


def test_a_header_of_a_hundred_thousand_columns_is_a_data_set():
    data = ",".join(["step", *(f"f{n}" for n in range(100_000))]).encode() + b"\n" + b"1," * 100_000 + b"1\n"
    assert kind_of("data.csv", data[:4096]) is None
    read = whole(Reader, data)
    assert read.parts == [] and read.reader.skipped == {"no column of steps or epochs": 1}
    assert read.position == len(data)


def test_a_line_without_end_is_passed_over_in_bounded_memory():
    reader = Reader()
    assert reader.take(b"step,loss\n0,1\n", 1 << 30)[0] == 14
    block, passed = b"9" * (2 << 20), 0
    for _ in range(500):
        passed += reader.take(block, 1 << 30)[0]
    assert passed == 1000 << 20 and len(repr(reader.state())) < 4000
    used, parts = reader.take(b"9\n1,2\n", 6)
    assert used == 6 and steps_and_values(parts, "loss") == [(1, 2)]
    assert reader.skipped == {"longer than 1 MiB": 1}


def test_a_saw_of_steps_keeps_few_purges():
    read = whole(Reader, b"step,loss\n" + b"".join(b"%d,1\n" % (step % 50) for step in range(40_000)))
    assert read.reader.facts()["purges"] == [[39_950, 0, None]] and len(repr(read.reader.state())) < 4000


@pytest.mark.parametrize("name, data", [
    ("iris.csv", "sepal_length,sepal_width,species\n" + "5.1,3.5,setosa\n" * 40),
    ("train.csv", "id,label,f0,f1\n" + "".join(f"{n},{n % 3},{n},0.5\n" for n in range(40))),
    ("index.csv", ",loss\n" + "".join(f"{n},{n}\n" for n in range(40))),
    ("eeg.csv", "step,channel\n" + "".join(f"{n * 7919 % 13},{n}\n" for n in range(200))),
    ("text.csv", "step,text,author\n" + "".join(f"{n},some words here,somebody\n" for n in range(40))),
    ("constant.csv", "epoch,loss\n" + "5,0.5\n" * 40),
    ("steps.csv", "step\n1\n2\n3\n"),
    ("tensors.tsv", "0.1\t0.2\t0.3\n" * 9), ("metadata.tsv", "step\tlabel\n0\t1\n1\t2\n2\t3\n"),
    ("numbers.csv", "".join(f"{n},{n},{n}\n" for n in range(20))),
    ("requirements.txt", "numpy==1.0\nstep==3\n"), ("app.log", "step by step, we go\non, and on\n"),
    ("wide.csv", "step," + ",".join(f"c{n}" for n in range(1200)) + "\n" + ("1," * 1200 + "1\n") * 2),
    ("metrics.json", "step,loss\n0,1\n1,2\n2,3\n"), ("empty.csv", ""), ("metrics.csv", ""),
    ("metrics.csv", "a,b,c\n1,2,3\n"),
])
def test_what_is_no_training(name, data):
    assert kind_of(name, data.encode()[:4096]) is None


@pytest.mark.parametrize("name, data", [
    ("metrics.csv", "epoch,step,loss\n"), ("metrics.csv", "epoch,step,loss\n0,0,\n"),
    ("results.csv", "epoch,a\n"), ("x.csv", "Step,loss\n1,0.5\n"),
    ("short.csv", "step,loss\n" + "".join(f"{n},1\n" for n in range(900))),
    ("tb.csv", "Wall time,Step,Value\n1714557600.1,0,0.5\n1714557601.1,10,0.4\n1714557602.1,20,0.3\n"),
    ("progress.csv", "time/total_timesteps,rollout/ep_rew_mean\n2048,1\n4096,2\n6144,3\n"),
    ("progress.txt", "Epoch\tAverageEpRet\tTime\n0\t10.5\t3\n1\t11.5\t6\n2\t12.5\t9\n"),
    ("log.csv", "#comment\nglobal step;loss\n0;1\n5;2\n9;3\n"),
    ("metrics.csv", ",".join(sorted(["epoch", "step", *(f"layer{n}/weight_norm" for n in range(400))]))),
])
def test_what_is_one(name, data):
    assert kind_of(name, data.encode()[:4096]) == "csv"
    assert csv_table.Reader().kind == "csv"
