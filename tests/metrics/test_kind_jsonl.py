"""Lines of JSON as other loggers write them: detectron2, mmengine, mmcv, scripts of one's own; what is a data
set."""

import json
import math
import random

import pytest
from kind_cuts import Growing, check_cuts, points, steps_and_values, whole
from kind_of_text import kind_of

from runicorn.metrics.kinds.jsonl import Reader
from runicorn.metrics.kinds.names import MOST


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def detectron2(first, last, every=20):
    """Return what its writer leaves: keys sorted, bare NaN, an evaluation's row behind one that was logged
    later."""
    data = b""
    for iteration in range(first + every - 1, last, every):
        row = {"iteration": iteration, "total_loss": math.nan if iteration == 39 else 1 / iteration,
               "lr": 0.01, "time": 0.25, "data_time": 0.01, "eta_seconds": 5.0,
               **{f"loss_{name}": iteration / 7 for name in ("cls", "box_reg", "rpn_cls", "rpn_loc", "mask")}}
        data += json.dumps(row, sort_keys=True).encode() + b"\n"
        if iteration % 100 == 99:
            data += lines({"bbox/AP": iteration / 10, "bbox/AP50": 2.0, "iteration": iteration - 1})
    return data


def test_detectron2_and_its_second_training_in_the_same_file():
    data = detectron2(0, 400)
    read = check_cuts(Reader, data)
    assert kind_of("metrics.json", data[:4096]) == "jsonl"
    assert [step for step, _ in steps_and_values(read.parts, "total_loss")] == list(range(19, 400, 20))
    assert math.isnan(steps_and_values(read.parts, "total_loss")[1][1])
    assert [step for step, _ in steps_and_values(read.parts, "bbox/AP")] == [98, 198, 298, 398]
    assert read.reader.facts() == {"no_times": True}
    read = check_cuts(Reader, data + detectron2(0, 200) + detectron2(100, 300))
    first = data.count(b"\n")
    assert read.reader.facts()["purges"] == [[first, 19, None], [first + 12, 119, None]]
    assert read.reader.facts()["restarts"] == 2


def mmengine(epochs, with_iterations=True):
    rows = []
    for epoch in range(1, epochs + 1):
        for iteration in range(10, 51, 10):
            step = (epoch - 1) * 50 + iteration
            rows.append({"lr": 0.1, "data_time": 0.01, "loss": 1 / step, "loss_cls": 2.0, "loss_bbox": 3.0,
                         "loss_mask": 1.0, "loss_rpn": 0.1, "acc": 50.5, "time": 0.2, "epoch": epoch,
                         "iter": step, "memory": 4000, "step": step})
        rows.append({"coco/bbox_mAP": epoch / 10, "coco/bbox_mAP_50": 0.5, "data_time": 0.01, "time": 0.1,
                     "step": epoch if with_iterations else epoch * 50})
    return lines(*rows)


@pytest.mark.parametrize("with_iterations", [True, False])
def test_mmengine_validates_at_epochs_that_stand_at_their_iterations(with_iterations):
    data = mmengine(8, with_iterations)
    read = check_cuts(Reader, data)
    assert kind_of("scalars.json", data[:4096]) == kind_of("20240501_100000.json", data[:4096]) == "jsonl"
    assert steps_and_values(read.parts, "coco/bbox_mAP") == [
        (epoch * 50, epoch / 10) for epoch in range(1, 9)]
    assert [step for step, _ in steps_and_values(read.parts, "loss")] == list(range(10, 401, 10))
    assert "purges" not in read.reader.facts()


def test_mmcv_counts_iterations_in_each_epoch():
    rows = [{"env_info": "sys.platform: linux\n", "config": "model = dict()", "seed": 0, "exp_name": "a.py"}]
    for epoch in (1, 2, 3):
        rows += [{"mode": "train", "epoch": epoch, "iter": step, "lr": 0.1, "memory": 1000, "loss": epoch}
                 for step in range(50, 201, 50)]
        rows.append({"mode": "val", "epoch": epoch, "iter": 1234, "lr": 0.1, "bbox_mAP": epoch / 10})
    data = lines(*rows)
    read = check_cuts(Reader, data)
    assert kind_of("20240501_100000.log.json", data[:4096]) == "jsonl"
    assert [step for step, _ in steps_and_values(read.parts, "train/loss")] == list(range(50, 601, 50))
    assert steps_and_values(read.parts, "val/bbox_mAP") == [(200, 0.1), (400, 0.2), (600, 0.3)]


@pytest.mark.parametrize("key", ["step", "_step", "global_step", "iter", "iteration", "epoch"])
def test_every_key_of_a_step(key):
    data = lines(*({key: n, "loss": n / 4, "note": "text", "ok": True, "none": None, "list": [1, 2]}
                   for n in range(40)))
    read = check_cuts(Reader, data)
    assert kind_of("log.jsonl", data[:4096]) == "jsonl"
    assert {name: [(step, float(value)) for _, _, step, value in rows]
            for name, rows in points(read.parts).items()} == {
                "loss": [(n, n / 4) for n in range(40)]}


def test_objects_within_are_flattened():
    read = check_cuts(Reader,
                      lines(*({"step": n, "train": {"loss": n, "by": {"head": n / 2}}, "val": {}, "lr": 1e-5}
                              for n in range(30))))
    assert {name: len(rows) for name, rows in points(read.parts).items()} == {
        "train/loss": 30, "train/by/head": 30, "lr": 30}
    deep = (b'{"step": 1, "a": ' + b'{"b": ' * 500 + b"1" + b"}" * 502 + b"\n" + b'{"step": 2, "a": '
            + b'{"b":' * 100_000 + b"\n")
    read = whole(Reader, deep + lines({"step": 3, "loss": 1}))
    assert steps_and_values(read.parts, "loss") == [(3, 1)] and read.reader.skipped == {"no JSON": 2}


@pytest.mark.few(8)
@pytest.mark.parametrize("cell, wanted", [(1714557600.5, 1714557600.5), (1714557600500, 1714557600.5),
                                          ("2024-05-01T10:00:00.500Z", 1714557600.5),
                                          ("2024-05-01 10:00:00,500", 1714557600.5),
                                          ("2024-05-01T12:00:00.5+02:00", 1714557600.5)])
@pytest.mark.parametrize("key", ["time", "timestamp", "ts", "_timestamp"])
def test_times(cell, wanted, key):
    data = lines({"step": 0, "loss": 1}, *({"step": n, key: cell, "loss": n} for n in range(1, 30)),
                 {"step": 30, "loss": 2})
    read = check_cuts(Reader, data)
    assert sorted(ts for part in read.parts for ts in part.ts) == [0.0, *[wanted] * 30]
    assert set(points(read.parts)) == {"loss"} and "no_times" not in read.reader.facts()
    assert read.reader.facts().get("naive_times", False) is (type(cell) is str and cell.endswith(",500"))


def test_bare_words_and_text_are_read_alike_however_many_lines():
    row = '{"step":%d,"a":NaN,"b":-Infinity,"c":"NaN","d": "Infinity","e":1e400}\n'
    for count in (1, 3, 50):
        read = check_cuts(Reader, "".join(row % n for n in range(count)).encode())
        firsts = {name: rows[0][3] for name, rows in points(read.parts).items()}
        assert firsts == {"a": "nan", "b": "-inf", "c": "nan", "d": "inf", "e": "inf"}
        assert all(len(rows) == count for rows in points(read.parts).values())


def test_an_epoch_alone_stands_where_the_steps_do():
    data = lines(*({"step": 10 * n, "epoch": n / 4, "loss": n} if n % 4 else {"epoch": n // 4, "acc": n}
                   for n in range(1, 41)))
    read = check_cuts(Reader, data)
    assert steps_and_values(read.parts, "acc") == [(10 * n - 10, n) for n in range(4, 41, 4)]
    read = check_cuts(Reader, lines(*({"epoch": n, "acc": n} for n in range(40))))
    assert steps_and_values(read.parts, "acc") == [(n, n) for n in range(40)]
    assert set(points(read.parts)) == {"acc"}


def test_a_training_that_logs_more_when_it_is_started_again():
    data = lines(*({"step": n, "loss": n} for n in range(50)),
                 *({"step": n, "loss": n, "grad": 1} for n in range(30, 60)))
    read = check_cuts(Reader, data)
    assert read.reader.facts()["purges"] == [[50, 30, None]]


def test_a_training_and_its_evaluation_log_at_steps_of_their_own():
    rows = [{"step": n, "loss": n, "lr": 1} if n % 10 else {"step": n - 5, "val_loss": n, "lr": 1}
            for n in range(1, 200)]
    read = check_cuts(Reader, lines(*rows))
    assert "purges" not in read.reader.facts() and len(steps_and_values(read.parts, "val_loss")) == 19


def test_damage_costs_its_line():
    good = [lines({"step": n, "loss": n, "acc": n / 2}) for n in range(200)]
    good[50] = good[50][:20] + b"\n"
    good[60] = b"\0" * 30 + good[60]
    good[70] = b"\xff\xfe{}\n"
    good[80] = b"[1, 2]\n"
    good[90] = b"\n"
    good[100] = good[100].replace(b"\n", b"\r\n")
    read = check_cuts(Reader, b"\xef\xbb\xbf" + b"".join(good) + b'{"step": 200, "loss": 0.2')
    assert [step for step, _ in steps_and_values(read.parts, "loss")] == [
        n for n in range(200) if n not in (50, 70, 80, 90)]
    assert read.reader.skipped == {"no JSON": 3}


@pytest.mark.few(6)
@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes(seed):
    dice = random.Random(seed)
    data = bytearray(mmengine(5))
    for _ in range(4):
        data[dice.randrange(len(data))] = dice.randrange(256)
    read = check_cuts(Reader, bytes(data), rounds=3)
    assert len(steps_and_values(read.parts, "loss")) >= 20


def test_hostile_lines_end_in_bounded_memory():
    reader, block = Reader(), b'{"step": 1, "' + b"x" * (2 << 20)
    assert sum(reader.take(block, 1 << 30)[0] for _ in range(500)) == 500 * len(block)
    assert len(repr(reader.state())) < 3000
    many = b"{" + b",".join(b'"n%d":%d' % (n, n) for n in range(60_000)) + b',"step":1}\n'
    read = whole(Reader, many + many.replace(b'"step":1', b'"step":2'))
    assert len(points(read.parts)) == MOST
    assert read.reader.skipped == {"values of too many names": 2 * (60_000 - MOST)}
    assert len(json.dumps(read.reader.state())) < 1_000_000
    read = whole(Reader, lines({"step": 10**400, "epoch": 1, "loss": 1}, {"step": 1e300, "loss": 2},
                               {"step": -5, "loss": 10**400}))
    assert points(read.parts)["loss"][-1][2:] == (-5, "inf")


def test_utf16_is_skipped():
    read = whole(Reader, lines({"step": 1, "loss": 2}).decode().encode("utf-16"))
    assert read.parts == [] and read.reader.skipped == {"UTF-16": 1}


def test_a_row_waits_for_the_end_of_its_line():
    growing = Growing(Reader).grow(b'{"step": 1, "loss": 0.2')
    assert growing.parts == []
    assert steps_and_values(growing.grow(b"5}\n").parts, "loss") == [(1, 0.25)]


@pytest.mark.parametrize("name, data", [
    ("train.jsonl", lines(*({"text": "once upon a time " * 9, "label": n} for n in range(9)))),
    ("steps.jsonl",
     lines(*({"step": n, "score": 1, "text": "once upon a time there was " * 9} for n in range(9)))),
    ("coco.json", b'{"images": [{"id": 1}], "step": 3}'), ("config.json", b'{"epoch": 10, "lr": 0.1}\n'),
    ("pretty.json", b'{\n  "step": 1,\n  "loss": 2\n}\n'),
    ("package.json", b'{"name": "x", "version": "1"}\n'),
    ("same.jsonl", lines(*({"epoch": 3, "id": n} for n in range(9)))),
    ("empty.jsonl", b""), ("no.jsonl", b'[1, 2]\n'), ("metrics.csv", lines({"step": 1, "loss": 1})),
    ("only.jsonl", lines({"step": 1}, {"step": 2})),
    ("chat.jsonl",
     lines(*({"messages": [{"role": "user", "content": "hello " * 50}], "iteration": n, "n": n}
             for n in range(9)))),
])
def test_what_is_no_training(name, data):
    assert kind_of(name, data[:4096]) is None


def test_a_file_of_ever_new_names_is_read_up_to_a_limit(monkeypatch):
    monkeypatch.setattr("runicorn.metrics.kinds.names.MOST", 500)
    read = check_cuts(Reader,
                      lines(*({"step": n, "loss": 0.5, **{f"name{n}_{k}": 1 for k in range(100)}}
                              for n in range(20))), rounds=2)
    names = {name for part in read.parts for name in part.names}
    assert len(names) == 500 and "loss" in names
    assert read.reader.skipped == {"values of too many names": 20 * 101 - 499 - 20}
    assert [step for step, _ in steps_and_values(read.parts, "loss")] == list(range(20))
