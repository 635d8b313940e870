"""W&B's logs, written offline by the real package, read beside its own reader and what the script logged."""

import json
import os
import random
import struct
import subprocess
import sys
import time
import zlib

import pytest
import wandb_script
from environments import environment
from kind_cuts import Growing, check_cuts, points, spoiled, whole

from runicorn.metrics.columns import Table
from runicorn.metrics.kinds import names, wandb_log
from runicorn.metrics.kinds.wandb import Reader, SystemReader, is_kind

STEPS = 120
OLD = {"0.12.21": ["protobuf<4", "setuptools<80", "numpy<2"], "0.15.12": ["numpy<2"], "0.18.7": ["numpy<2"]}


def written(python, folder, *arguments):
    """Run the training and return the path of its log."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run([str(python), wandb_script.__file__, str(folder), *map(str, arguments)],
                          capture_output=True, text=True, timeout=400, env=environ)
    logs = [path for path in folder.rglob("run-*.wandb")
            if not path.is_symlink() and "latest-run" not in str(path)]
    assert len(logs) == 1, done.stdout + done.stderr
    return logs[0]


@pytest.fixture(scope="module")
def log_path(tmp_path_factory):
    return written(sys.executable, tmp_path_factory.mktemp("wandb"), STEPS)


@pytest.fixture(scope="module")
def log(log_path):
    return log_path.read_bytes()


def expected():
    """Return {name: [(step, repr of the value)]} of what the script logs."""
    out = {}
    for step in range(STEPS):
        values = wandb_script.value_of(step)
        flat = {"loss": values["loss"], "n": values["n"], "flag": values["flag"],
                "nested.a": values["nested"]["a"], "nested.b.c": values["nested"]["b"]["c"],
                "bad": values["bad"]}
        for name, value in flat.items():
            out.setdefault(name, []).append((step, repr(float(value))))
    out["loss"] += [(STEPS + 50, "5.0"), (STEPS + 60, "6.0")]
    out["big"], out["np.float"] = [(STEPS + 60, "1e+30")], [(STEPS + 60, "0.1")]
    return out


def logged(growing):
    """Return what was read, as `expected` has it; "-0.0", which newer versions write as 0, as "0.0"."""
    return {name: [(step, "0.0" if value == "-0.0" else value) for _, _, step, value in rows]
            for name, rows in points(growing.parts).items()}


def check_training(data):
    """Assert that a log of the training says all of it; return the Growing."""
    growing = whole(Reader, data)
    assert logged(growing) == {name: [(step, "0.0" if value == "-0.0" else value) for step, value in rows]
                               for name, rows in expected().items()}
    assert growing.reader.skipped == {} and growing.position == len(data)
    facts = growing.reader.facts()
    assert facts["config"] == {"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, 0.99]}, "later": {"x": 1}}
    assert {"best": 0.5, "deeper.y": 2, "loss": 6, "nested.b.c": 1 - STEPS,
            "text": "你好"}.items() <= facts["summary"].items()
    assert not [name for name in facts["summary"]
                if name.split(".")[0] in ("h", "img", "t", "deep") or "_type" in name]
    assert (facts["project"], facts["name"], facts["group"], facts["job_type"], facts["notes"]) == (
        "p1", "a name", "g", "jt", "my notes")
    assert facts["tags"] == ["t1", "t2"] and facts["exit_code"] == 0 and facts["finished"] is True
    assert facts["host"]
    assert facts["definitions"] == [{"name": "val/*", "step_metric": "epoch"}] and len(facts["run_id"]) == 8
    counts = facts["counts"]
    assert (counts["histograms"], counts["HTML"], counts["images"]) == (2, 1, 1) and counts["files"] >= 1
    times = [ts for _, ts, _, _ in points(growing.parts)["loss"]]
    assert times == sorted(times) and 0 <= times[0] - facts["started"] < 300
    assert facts["log"]["tail"].rstrip().endswith("the last 行") and json.loads(json.dumps(facts)) == facts
    return growing


def test_all_that_the_script_logged_is_read(log):
    growing = check_training(log)
    table = Table("wandb")
    table.add(growing.parts)
    assert table.top_step == STEPS + 60 and len(table.where["loss"].rows) == STEPS + 2


def test_measurements_of_the_machine_are_a_reading_of_their_own(log):
    growing = whole(SystemReader, log)
    measured = points(growing.parts)
    assert measured and all(name.startswith("system/") for name in measured) and growing.position == len(log)
    assert all(ts == step for rows in measured.values() for _, ts, step, _ in rows)
    assert not any(name.startswith("system/") for name in points(whole(Reader, log).parts))


def test_the_output_is_told_to_who_wants_it(log):
    pieces = []
    whole(lambda state: Reader(state, log=lambda *piece: pieces.append(piece)), log)
    text = "".join(line for _, stream, line in pieces if stream == "stdout")
    assert [line for line in text.splitlines() if line.startswith("line ")] == [
        f"line {step}" for step in range(STEPS)]
    assert all(1e9 < ts < 1e10 for ts, _, _ in pieces)
    assert len(whole(Reader, log).reader.facts()["log"]["tail"]) <= 4096


def test_growth_in_steps_of_any_size_gives_the_same_rows(log):
    check_cuts(Reader, log, rounds=4)
    check_cuts(SystemReader, log, rounds=2)
    short = log[:3000]
    check_cuts(Reader, short, rounds=1)


def test_a_log_cut_at_any_of_its_last_bytes_has_what_was_whole(log):
    begun = whole(Reader, log[:-2048])
    everything = points(whole(Reader, log).parts)
    for end in range(len(log) - 2048, len(log) + 1):
        growing = Growing(lambda _: Reader(json.loads(json.dumps(begun.reader.state()))))
        growing.position, growing.data = begun.position, log[:begun.position]
        growing.grow(log[begun.position:end])
        assert growing.reader.skipped == {}
        read = points(begun.parts + growing.parts)
        assert all(rows == everything[name][:len(rows)] for name, rows in read.items())
    assert read == everything


@pytest.mark.few("12000")
@pytest.mark.parametrize("length", [12_000, 50_000])
def test_one_flipped_bit_costs_one_record(log, length):
    log = log[:length]
    everything, rng = points(whole(Reader, log).parts), random.Random(5)
    rows_there = {row for rows in everything.values() for row, *_ in rows}
    rows_of = {(name, ts, step, value) for name, rows in everything.items() for _, ts, step, value in rows}
    for number in range(500):
        damaged = bytearray(log)
        damaged[rng.randrange(len(log))] ^= 1 << rng.randrange(8)
        growing = whole(Reader, bytes(damaged))
        read = {(name, ts, step, value) for name, rows in points(growing.parts).items()
                for _, ts, step, value in rows}
        assert read <= rows_of and len({step for _, _, step, _ in rows_of - read}) <= 1
        # At most one; what is damaged in the unfinished end is waited for.
        assert sum(growing.reader.skipped.values()) == 1 or growing.position >= len(log) - 32768
        if number % 100 == 0:
            check_cuts(Reader, bytes(damaged), rounds=1, seed=number)
    assert len(rows_there) > 5


def test_nul_tails_and_holes_of_nuls_are_no_damage(log):
    for zeros in (1, 6, 7, 500, 40_000):
        growing = whole(Reader, log + bytes(zeros))
        assert growing.reader.skipped == {} and logged(growing) == logged(whole(Reader, log))


@pytest.mark.frameworks         # it waits for what newer versions write every 15 s
def test_a_killed_run_has_what_reached_the_disk(tmp_path):
    data = written(sys.executable, tmp_path, STEPS, 1).read_bytes()
    growing = whole(Reader, data)
    read = logged(growing)
    assert all(rows == expected()[name][:len(rows)] for name, rows in read.items())
    assert growing.reader.skipped == {}
    assert "finished" not in growing.reader.facts() and len(read["loss"]) == STEPS


def test_a_log_is_told_by_its_name_and_head(log, log_path):
    assert is_kind(log_path.name, log[:4096]) and is_kind("run-abc.wandb", b"")
    assert is_kind("run-abc.wandb", b":W&")
    assert is_kind("run-abc.wandb", b"?" + log[1:4096]), "a damaged head"
    assert not is_kind("run-abc.txt", log[:4096]) and not is_kind("x.wandb", b"#!/bin/sh\n" * 50)


# -- the package's own reader, and older ones ----------------------------------------------------------------

SCAN = """
import json, sys
from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore
store = DataStore()
store.open_for_scan(sys.argv[1])
while True:
    data = store.scan_data()
    if data is None:
        break
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data)
    if record.WhichOneof("record_type") == "history":
        print(json.dumps([[list(item.nested_key) or [item.key], item.value_json]
                          for item in record.history.item]))
"""


def old(version):
    """Return the Python of an environment with that version of wandb."""
    return environment(f"wandb-{version}", f"wandb=={version}", *OLD[version])


def scanned(python, path):
    """Return {name: [(step, repr of the value)]} as wandb's own reader gives it: numbers, those in dicts too,
    no media."""
    lines = subprocess.run([str(python), "-c", SCAN, str(path)], capture_output=True, text=True, check=True,
                           timeout=300).stdout
    out = {}
    for line in lines.splitlines():
        row, media = {}, []
        for path, text in json.loads(line):
            _spread(tuple(path), json.loads(text), row, media)
        row = {path: value for path, value in row.items() if not any(path[:len(one)] == one for one in media)}
        step = row[("_step",)]
        for path, value in row.items():
            if isinstance(value, (int, float)) and path[0] not in ("_step", "_timestamp", "_runtime"):
                out.setdefault(".".join(path), []).append((step, repr(float(value)).replace("-0.0", "0.0")))
    return out


def _spread(path, value, row, media):
    if path[-1] == "_type":
        media.append(path[:-1])
    if isinstance(value, dict):
        for key, inner in value.items():
            _spread((*path, key), inner, row, media)
    else:
        row[path] = value


@pytest.mark.frameworks
@pytest.mark.parametrize("version", sorted(OLD))
def test_older_versions_and_their_own_reader_agree(version, tmp_path):
    path = written(old(version), tmp_path, STEPS)
    growing = check_training(path.read_bytes())
    mine = {name: sorted(rows) for name, rows in logged(growing).items()}
    theirs = {name: sorted(rows) for name, rows in scanned(old(version), path).items()}
    assert mine == theirs and sum(map(len, mine.values())) > 6 * STEPS
    check_cuts(Reader, path.read_bytes(), rounds=2)


@pytest.mark.frameworks
def test_an_older_reader_agrees_on_the_newest_file(log_path, log):
    assert scanned(old("0.18.7"), log_path) == logged(whole(Reader, log))


# -- logs made by hand ---------------------------------------------------------------------------------------

def piece(kind, data):
    return struct.pack("<IHB", zlib.crc32(bytes([kind]) + data), len(data), kind) + data


def log_of(*records):
    """Return a log of records as LevelDB frames them."""
    out = bytearray(wandb_log.HEADER)
    for data in records:
        begun = False
        while True:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            part, data = data[:room - 7], data[room - 7:]
            out += piece((wandb_log.MIDDLE if begun else wandb_log.FIRST) if data else wandb_log.LAST if begun
                         else wandb_log.FULL, part)
            begun = True
            if not data:
                break
    return bytes(out)


def field(number, data):
    size, head = len(data), bytearray()
    for value in (number << 3 | 2, size):
        while value > 127:
            head.append(value & 127 | 128)
            value >>= 7
        head.append(value)
    return bytes(head) + data


def history(**values):
    return field(2, b"".join(field(1, field(1, key.encode()) + field(16, value.encode()))
                             for key, value in values.items()))


def row(step, **values):
    return history(_step=str(step), _timestamp=str(1e9 + step), **values)


def test_records_longer_than_a_block_are_one():
    data = log_of(*(row(step, loss=str(step), words=json.dumps("x" * (step * 4000))) for step in range(30)))
    growing = check_cuts(Reader, data, rounds=4)
    assert [step for _, _, step, _ in points(growing.parts)["loss"]] == list(range(30))
    assert growing.reader.skipped == {}


def test_a_damaged_block_costs_what_is_in_it():
    records = [row(step, loss=str(step), words=json.dumps("x" * 900)) for step in range(200)]
    data = bytearray(log_of(*records))
    data[40_000:50_000] = random.Random(1).randbytes(10_000)
    growing = check_cuts(Reader, bytes(data), rounds=4)
    steps = [step for _, _, step, _ in points(growing.parts)["loss"]]
    assert 180 < len(steps) < 195 and steps[-1] == 199 and growing.reader.skipped == {"damaged records": 1}


def test_typed_items_of_newer_versions_are_read():
    def item(key, content):
        return field(1, field(2, key.encode()) + content)
    message = field(2, b"".join([
        item("_step", b"\x28\x0e"), item("yes", b"\x20\x01"), item("minus", b"\x28\x05"),
        item("none", b"\x18\x00"), item("x", b"\x31" + struct.pack("<d", 0.25)),
        item("words", field(7, b"hi")), item("json", field(8, b"NaN"))]))
    read = points(whole(Reader, log_of(message)).parts)
    assert {name: (rows[0][2], rows[0][3]) for name, rows in read.items()} == {
        "yes": (7, "1.0"), "minus": (7, "-3.0"), "x": (7, "0.25"), "json": (7, "nan")}


def test_values_that_are_no_json_cost_themselves():
    data = log_of(row(1, a="1", b="{", c="[" * 5000, d="1" * 10_000, e='"NaN"', f="1,2", g="2"))
    growing = whole(Reader, data)
    assert set(points(growing.parts)) == {"a", "e", "g"} and growing.reader.skipped["unreadable values"] >= 3


def test_dicts_without_end_and_values_without_number_end(monkeypatch):
    monkeypatch.setattr(names, "MOST", 1000)
    deep = '{"a":' * 200 + "1" + "}" * 200
    wide = json.dumps({f"k{place}": place for place in range(5000)})
    begun = time.process_time()
    growing = whole(Reader, log_of(row(1, deep=deep, x="1"), *(row(step, wide=wide) for step in range(2, 6)),
                                   field(2, b"\xff" * 100)))
    assert time.process_time() - begun < 30
    assert len(points(growing.parts)) == 1000
    assert growing.reader.skipped["values of too many metrics"] == 4 * (5000 - 999)
    assert growing.reader.skipped["unreadable records"] == 1


def test_config_and_summary_have_their_limits():
    big = field(3, b"".join(field(1, field(1, b"k%d" % place) + field(16, b'"%s"' % (b"x" * 3000)))
                            for place in range(2000)))
    growing = whole(Reader, log_of(big, big))
    assert len(json.dumps(growing.reader.state())) < 1_500_000
    assert growing.reader.skipped["summary beyond its limits"] > 1000


def test_noise_and_giant_records_end():
    rng = random.Random(2)
    for noise in (rng.randbytes(300_000), b"\1" * 300_000, bytes(300_000),
                  piece(wandb_log.FIRST, b"x" * 100) * 3000):
        begun = time.process_time()
        growing = whole(Reader, log_of(row(1, loss="1")) + noise)
        assert len(points(growing.parts)["loss"]) == 1 and time.process_time() - begun < 20
    giant = log_of(row(1, loss="1"), row(2, words=json.dumps("x" * (17 << 20)), loss="2"), row(3, loss="3"))
    growing = whole(Reader, giant)
    assert [step for _, _, step, _ in points(growing.parts)["loss"]] == [1, 3]
    assert growing.reader.skipped == {"records over 15 MB": 1}


def test_spoiled_records_with_right_checksums_are_read_alike_at_once_and_in_pieces(log):
    rng, skipped = random.Random(12), []
    _, records = wandb_log.Log(skipped.append).take(log)
    assert len(records) > STEPS and skipped == []
    for turn in range(60):
        data = log_of(*(spoiled(record, rng) for record in rng.sample(records, 30)))
        growing = Growing(Reader, 300)
        for begin in range(0, len(data), 131):
            growing.grow(data[begin:begin + 131], restart=begin % 5 == 0)
        assert repr(growing.outcome()[1:]) == repr(whole(Reader, data).outcome()[1:]), turn
        assert growing.outcome()[0] == whole(Reader, data).outcome()[0]
        assert json.dumps(whole(SystemReader, data).reader.state())


def test_a_removed_key_is_gone():
    def record(number, *parts):
        return field(number, b"".join(parts))
    update = [field(1, field(1, name) + field(16, b"1")) for name in (b"a", b"b")]
    growing = whole(Reader, log_of(record(3, *update), record(3, field(2, field(1, b"a"))),
                                   record(5, *update), record(5, field(2, field(1, b"b")))))
    facts = growing.reader.facts()
    assert facts["summary"] == {"b": 1} and facts["config"] == {"a": 1}
