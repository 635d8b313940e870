"""TensorBoard's event files, written by the real packages, read beside TensorBoard's own EventAccumulator."""

import json
import logging
import os
import random
import struct
import time

import numpy as np
import pytest
from kind_cuts import Growing, check_cuts, counting, points, spoiled, whole
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.scalar.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from runicorn.metrics.columns import Table
from runicorn.metrics.kinds import names
from runicorn.metrics.kinds.crc32c import crc32c, masked, wrong
from runicorn.metrics.kinds.tensorboard import Reader, is_kind

EVERYTHING = dict.fromkeys(("scalars", "tensors", "images", "audio", "histograms", "compressedHistograms"), 0)


def accumulated(path):
    """Return {tag: [(ts, step, value as repr)]} as EventAccumulator has it, sampling off."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    events = EventAccumulator(str(path), size_guidance=EVERYTHING).Reload()
    out = {tag: [(one.wall_time, one.step, repr(float(one.value))) for one in events.Scalars(tag)]
           for tag in events.Tags()["scalars"]}
    for tag in events.Tags()["tensors"]:
        if (tag in events.summary_metadata
            and events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"):
            arrays = [(one.wall_time, one.step, tensor_util.make_ndarray(one.tensor_proto))
                      for one in events.Tensors(tag)]
            out.setdefault(tag, []).extend((ts, step, repr(float(value.item())))
                                           for ts, step, value in arrays if value.size == 1)
    return {tag: mine for tag, mine in out.items() if mine}


def ours(data):
    growing = whole(Reader, data)
    return counting(growing.parts, growing.reader.facts()), growing.reader


def only_file(folder):
    path, = folder.iterdir()
    return path


def record(data):
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked(crc32c(head))) + data + struct.pack("<I", masked(crc32c(data)))


def event(ts=0.0, step=0, **fields):
    return record(event_pb2.Event(wall_time=ts, step=step, **fields).SerializeToString())


def scalars(ts, step, *pairs):
    return event(ts, step,
                 summary=summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)
                                                    for tag, value in pairs]))


def version(number):
    return event(1e9, file_version=f"brain.Event:{number}")


def start(ts, step, status=event_pb2.SessionLog.START):
    return event(ts, step, session_log=event_pb2.SessionLog(status=status))


@pytest.fixture(scope="module")
def torch_file(tmp_path_factory):
    """A small training with all that torch's SummaryWriter can write, in one file."""
    from torch.utils.tensorboard import SummaryWriter
    folder = tmp_path_factory.mktemp("torch")
    rng = np.random.default_rng(1)
    with SummaryWriter(folder) as writer:
        for step in range(400):
            writer.add_scalar("train/loss", 1 / (step + 1), step)
            writer.add_scalar("train/acc", float(rng.random()), step)
            writer.add_scalar("lr", [1e-3, float("nan"), float("inf"), -0.0][step % 4], step)
            if step % 50 == 0:
                writer.add_scalar("验证/损失", 0.5, step * 1000)
                writer.add_histogram("weights", rng.normal(size=1000), step)
                writer.add_image("pictures", rng.integers(0, 255, (3, 32, 32), dtype=np.uint8), step)
                writer.add_image("large pictures", rng.integers(0, 255, (3, 400, 400), dtype=np.uint8), step)
                writer.add_text("note", f"step {step}, 好", step)
                writer.add_audio("sound", rng.random((1, 800), dtype=np.float32), step, 8000)
                writer.add_pr_curve("pr", rng.integers(0, 2, 50), rng.random(50), step)
        writer.add_scalar("negative step", 1.5, -7)
    return only_file(folder)


def test_all_points_of_torch_are_those_of_tensorboard(torch_file):
    data = torch_file.read_bytes()
    mine, reader = ours(data)
    assert mine == accumulated(torch_file) and sum(map(len, mine.values())) == 400 * 3 + 8 + 1
    facts = reader.facts()
    assert reader.skipped == {} and abs(facts["started"] - time.time()) < 3600
    assert facts["texts"] == {"note/text_summary": "step 350, 好"}
    assert facts["counts"] == {"histograms": 8, "images": 16, "texts": 8, "audio": 8, "PR curves": 8}
    assert json.loads(json.dumps(facts)) == facts and facts["purges"] == []


def test_a_table_takes_the_rows(torch_file):
    table = Table("tensorboard")
    table.add(whole(Reader, torch_file.read_bytes()).parts)
    group = table.where["train/loss"]
    assert list(group.steps) == list(range(400)) and group.columns["train/loss"].values[3] == 0.25


def test_large_pictures_are_passed_over_unread(torch_file):
    data, reader, position, asked = torch_file.read_bytes(), Reader(), 0, 0
    while position < len(data):
        used, _ = reader.take(data[position:position + 16_384], len(data) - position)
        assert used
        asked += min(16_384, len(data) - position)
        position += used
    assert reader.facts()["counts"]["images"] == 16 and asked < len(data) * 0.6


def test_growth_in_steps_of_any_size_gives_the_same_rows(torch_file):
    growing = check_cuts(Reader, torch_file.read_bytes()[:200_000])
    assert len(points(growing.parts)) >= 4 and growing.reader.skipped == {}


def test_a_file_that_grows_by_single_bytes():
    growing = check_cuts(Reader, b"".join(random_events(random.Random(9), 90)))
    assert len(growing.data) < 6000 and sum(map(len, points(growing.parts).values())) > 50


def test_tensorboardx_writes_the_same_points(tmp_path):
    from tensorboardX import SummaryWriter
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(300):
            writer.add_scalar("loss", 1 / (step + 1), step)
            writer.add_scalar("a/b", step * 0.5, step)
        writer.add_text("note", "hello")
    path = only_file(tmp_path)
    mine, reader = ours(path.read_bytes())
    assert mine == accumulated(path) and len(mine["loss"]) == len(mine["a/b"]) == 300
    assert list(reader.facts()["texts"].values()) == ["hello"]


# -- tensors, as TensorFlow 2 writes scalars -----------------------------------------------------------------

def tensor(tag, proto, metadata=None):
    return summary_pb2.Summary.Value(tag=tag, tensor=proto, metadata=metadata)


def content(value, dtype, number):
    return tensor_pb2.TensorProto(dtype=number, tensor_shape=TensorShapeProto(),
                                  tensor_content=np.asarray(value, dtype).tobytes())


def test_tensors_of_every_type_are_read_as_tensorboard_reads_them(tmp_path):
    makers = {
        "float32 list": lambda value: tensor_util.make_tensor_proto(np.float32(value)),
        "float64 list": lambda value: tensor_util.make_tensor_proto(np.float64(value)),
        "int64 list": lambda value: tensor_util.make_tensor_proto(np.int64(value * -1000)),
        "int32 list": lambda value: tensor_util.make_tensor_proto(np.int32(value * -1000)),
        "half list": lambda value: tensor_util.make_tensor_proto(np.float16(value)),
        "bool list": lambda value: tensor_util.make_tensor_proto(np.bool_(value > 1)),
        "one in a list": lambda value: tensor_util.make_tensor_proto([np.float32(value)]),
        "float32": lambda value: content(value, np.float32, types_pb2.DT_FLOAT),
        "float64": lambda value: content(value, np.float64, types_pb2.DT_DOUBLE),
        "int64": lambda value: content(value * 1e6, np.int64, types_pb2.DT_INT64),
        "int32": lambda value: content(value * 1e6, np.int32, types_pb2.DT_INT32),
        "uint8": lambda value: content(value, np.uint8, types_pb2.DT_UINT8),
        "half": lambda value: content(value, np.float16, types_pb2.DT_HALF),
    }
    writer = EventFileWriter(str(tmp_path))
    for step in range(60):
        for tag, maker in makers.items():
            value = tensor(tag, maker(step / 7), create_summary_metadata(tag, "") if step == 0 else None)
            writer.add_event(
                event_pb2.Event(wall_time=1e9 + step, step=step, summary=summary_pb2.Summary(value=[value])))
        for tag, array in (("no metadata", np.float32(step)), ("two numbers", np.ones(2, np.float32))):
            metadata = create_summary_metadata(tag, "") if step == 0 and tag == "two numbers" else None
            value = tensor(tag, tensor_util.make_tensor_proto(array), metadata)
            writer.add_event(
                event_pb2.Event(wall_time=1e9 + step, step=step, summary=summary_pb2.Summary(value=[value])))
    writer.close()
    path = only_file(tmp_path)
    mine, reader = ours(path.read_bytes())
    assert mine == accumulated(path) and set(mine) == set(makers)
    assert all(len(column) == 60 for column in mine.values())
    assert reader.facts()["counts"] == {"tensors": 120}
    check_cuts(Reader, path.read_bytes(), rounds=3)


def test_bfloat16_is_read(tmp_path):
    raw = tensor_pb2.TensorProto(dtype=types_pb2.DT_BFLOAT16, tensor_shape=TensorShapeProto(),
                                 tensor_content=b"\xc0\x3f")
    listed = tensor_pb2.TensorProto(dtype=types_pb2.DT_BFLOAT16, tensor_shape=TensorShapeProto(),
                                    half_val=[0x3FC0])
    metadata = create_summary_metadata("x", "")
    data = (version(2)
            + b"".join(event(1e9, step, summary=summary_pb2.Summary(value=[tensor("x", proto, metadata)]))
                       for step, proto in enumerate((raw, listed))))
    assert [value for _, _, value in ours(data)[0]["x"]] == ["1.5", "1.5"]


# -- random files --------------------------------------------------------------------------------------------

def random_events(rng, count, number=2):
    """Yield records of events as several writers may mix them: shapes, tags, several values, duplicates,
    restarts."""
    yield version(number)
    tags = ["loss", "acc1", "acc2", "a much longer name of a metric/part", "值",
            *([""] if number > 1 else [])]
    first = set()
    for step in range(count):
        ts, kind = 1e9 + step / 8, rng.random()
        at = max(0, step - rng.choice((0, 0, 0, 1, 40))) if number < 2 else step
        if kind < 0.6:
            yield scalars(ts, at, (rng.choice(tags), rng.uniform(-9, 9)))
        elif kind < 0.7:
            yield scalars(ts, at, *((tag, rng.random()) for tag in tags[:3]))
        elif kind < 0.75:
            yield scalars(ts, at, ("loss", 1.0), ("acc1", 2.0), ("loss", 3.0))
        elif kind < 0.9 and number == 2:
            tag = rng.choice(("t1", "t2"))
            metadata = None if tag in first else create_summary_metadata(tag, "")
            first.add(tag)
            proto = tensor_util.make_tensor_proto(np.float32(rng.random()))
            yield event(ts, at, summary=summary_pb2.Summary(value=[tensor(tag, proto, metadata)]))
        elif kind < 0.93:
            yield event(ts, at, summary=summary_pb2.Summary(value=[summary_pb2.Summary.Value(
                tag="h", histo=summary_pb2.HistogramProto(
                    min=0, max=1, num=2, bucket=[1, 1], bucket_limit=[0.5, 1]))]))
        elif kind < 0.94:
            yield event(ts, at, log_message=event_pb2.LogMessage(message="words"))
        elif kind < 0.95 and not first:
            yield start(ts, max(0, at - 30))


@pytest.mark.few(5)
@pytest.mark.parametrize(("seed", "number"), [(seed, number) for seed in range(6) for number in (1, 2)])
def test_random_files_give_tensorboards_points(tmp_path, seed, number):
    data = b"".join(random_events(random.Random(seed), 500, number))
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(data)
    mine, reader = ours(data)
    assert mine == accumulated(path) and sum(map(len, mine.values())) > 100 and reader.skipped == {}
    check_cuts(Reader, data, rounds=2, seed=seed)


# -- restarts ------------------------------------------------------------------------------------------------

def test_a_start_supersedes_what_stands_before_it(tmp_path):
    from torch.utils.tensorboard import SummaryWriter
    with SummaryWriter(tmp_path) as writer:
        for step in range(100):
            writer.add_scalar("loss", 1.0, step)
    first = only_file(tmp_path)
    os.rename(first, tmp_path / "events.out.tfevents.1")
    with SummaryWriter(tmp_path, purge_step=50) as writer:
        for step in range(50, 80):
            writer.add_scalar("loss", 2.0, step)
    second, = set(tmp_path.iterdir()) - {tmp_path / "events.out.tfevents.1"}
    os.rename(second, tmp_path / "events.out.tfevents.2")
    parts, start_row, purges = [], 0, []
    for number in (1, 2):
        growing = whole(Reader, (tmp_path / f"events.out.tfevents.{number}").read_bytes())
        parts += [part._replace(rows=[row + start_row for row in part.rows]) for part in growing.parts]
        purges += [[row + start_row, step, names] for row, step, names in growing.reader.facts()["purges"]]
        start_row += growing.reader.state()["row"]
    assert growing.reader.facts()["restarts"] == 1 and len(purges) == 1
    assert counting(parts, {"purges": purges}) == accumulated(tmp_path)
    assert len(points(parts)["loss"]) == 130 and len(counting(parts, {"purges": purges})["loss"]) == 80


def test_a_stop_supersedes_nothing():
    data = (version(2) + b"".join(scalars(1e9, step, ("x", 1.0)) for step in range(20))
            + start(1e9, 5, event_pb2.SessionLog.STOP))
    assert len(ours(data)[0]["x"]) == 20


def test_in_version_1_a_step_that_goes_back_supersedes_that_tag(tmp_path):
    data = (version(1)
            + b"".join(scalars(1e9, step, ("a", 1.0)) + scalars(1e9, step, ("b", 1.0)) for step in range(50))
            + b"".join(scalars(1e9 + 99, step, ("a", 2.0)) for step in range(30, 40)))
    (tmp_path / "events.out.tfevents.1").write_bytes(data)
    mine, reader = ours(data)
    assert mine == accumulated(tmp_path / "events.out.tfevents.1")
    assert (len(mine["a"]), len(mine["b"])) == (40, 50)
    assert reader.facts()["purges"] == [[101, 30, ["a"]]]


def test_steps_of_several_tags_that_take_turns_are_no_restart():
    data = version(1) + b"".join(scalars(1e9, step * 100, ("train", 1.0)) + scalars(1e9, step, ("epoch", 1.0))
                                 for step in range(1, 2000))
    mine, reader = ours(data)
    assert {tag: len(column) for tag, column in mine.items()} == {"train": 1999, "epoch": 1999}
    assert len(reader.facts()["purges"]) <= 2


# -- hyperparameters -----------------------------------------------------------------------------------------

def test_hyperparameters_are_the_config(tmp_path):
    from torch.utils.tensorboard import SummaryWriter
    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"lr": 0.1, "layers": 3, "amp": True, "opt": "adam"}, {"hparam/acc": 0.5},
                           run_name=".")
    config = {}
    for path in tmp_path.rglob("*tfevents*"):
        config.update(ours(path.read_bytes())[1].facts().get("config", {}))
    assert config == {"lr": 0.1, "layers": 3, "amp": True, "opt": "adam"}


def test_too_many_hyperparameters_are_counted():
    started = plugin_data_pb2.SessionStartInfo()
    for place in range(3000):
        started.hparams[f"p{place}"].number_value = place
    content = plugin_data_pb2.HParamsPluginData(session_start_info=started).SerializeToString()
    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="hparams", content=content))
    data = (version(2)
            + event(1e9, summary=summary_pb2.Summary(
                value=[summary_pb2.Summary.Value(tag="_hparams_/x", metadata=metadata)])))
    _, reader = ours(data)
    assert len(reader.facts()["config"]) == 1000 and sum(reader.skipped.values()) == 2000


# -- damage --------------------------------------------------------------------------------------------------

def plain(count=300):
    return b"".join([version(2),
                     *(scalars(1e9 + step, step, (("loss", "accuracy", "lr")[step % 3], step / 8))
                       for step in range(count))])


def test_files_cut_at_every_byte_of_their_last_2_kb_have_all_whole_records():
    data = plain(60)
    places = [0]
    while places[-1] < len(data):
        places.append(places[-1] + 16 + struct.unpack_from("<Q", data, places[-1])[0])
    for end in range(max(0, len(data) - 2048), len(data) + 1):
        growing = whole(Reader, data[:end])
        last = max(place for place in places if place <= end)
        assert growing.position == last and growing.reader.skipped == {}
        assert sum(len(part.rows) for part in growing.parts) == places.index(last) - 1


def test_one_flipped_bit_costs_one_record_and_is_counted(tmp_path):
    data, rng, all_points = plain(), random.Random(7), ours(plain())[0]
    everything = {(tag, *point) for tag, column in all_points.items() for point in column}
    path = tmp_path / "events.out.tfevents.1"
    for number in range(500):
        place = rng.randrange(len(data))
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        mine, reader = ours(bytes(damaged))
        got = {(tag, *point) for tag, column in mine.items() for point in column}
        assert got <= everything and sum(reader.skipped.values()) == 1, place
        assert len(got) >= len(everything) - 1, place
        if number % 25 == 0:
            path.write_bytes(damaged)
            theirs = {(tag, *point) for tag, column in accumulated(path).items() for point in column}
            assert theirs <= got
            check_cuts(Reader, bytes(damaged), rounds=2, seed=number)


def test_a_torn_record_in_the_middle_costs_itself_only():
    records = [scalars(1e9 + step, step, ("loss", step / 8)) for step in range(100)]
    for torn in (1, 5, 11, 12, 13, 20, 30, 40, len(records[50]) - 1):
        data = b"".join([version(2), *records[:50], records[50][:torn], *records[51:]])
        mine, reader = ours(data)
        assert [step for _, step, _ in mine["loss"]] == [*range(50), *range(51, 100)], torn
        assert sum(reader.skipped.values()) == 1
        check_cuts(Reader, data, rounds=2)


def test_a_long_torn_record_has_not_swallowed_the_ones_behind_it():
    picture = event(1e9, 5, summary=summary_pb2.Summary(value=[
        summary_pb2.Summary.Value(tag="t", simple_value=1.0),
        summary_pb2.Summary.Value(tag="i", image=summary_pb2.Summary.Image(
            encoded_image_string=bytes(range(256)) * 12))]))
    data = plain(30) + picture[:400] + b"".join(scalars(1e9, step, ("after", 1.0)) for step in range(100))
    mine, reader = ours(data)
    assert len(mine["after"]) == 100 and reader.skipped == {"damaged records": 1}


def test_nul_tails_are_no_damage_and_what_follows_them_is_read():
    data = plain(60)
    for zeros in (1, 11, 12, 4096, 70_001):
        mine, reader = ours(data + bytes(zeros))
        assert sum(map(len, mine.values())) == 60 and reader.skipped == {}
        more = data + bytes(zeros) + b"".join(scalars(1e9, step, ("after", 1.0)) for step in range(256))
        mine, reader = ours(more)
        assert len(mine["after"]) == 256 and reader.skipped == {}


def test_a_record_of_256_bytes_behind_nuls_is_found_where_it_begins():
    data = plain(9) + bytes(100) + scalars(1e9, 3, ("x" * 231, 1.0))
    mine, _ = ours(data)
    assert struct.unpack_from("<Q", data, len(plain(9)) + 100)[0] == 256 and len(mine["x" * 231]) == 1


def test_what_macos_puts_beside_event_files_has_no_records():
    data = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(4000)
    growing = whole(Reader, data)
    assert growing.parts == [] and growing.position == len(data) and growing.reader.skipped == {}
    assert not is_kind("._events.out.tfevents.1", data) and not is_kind("events.out.tfevents.1", data)


# -- what is one ---------------------------------------------------------------------------------------------

def test_a_file_is_tensorboards_by_its_name_and_its_first_record(torch_file):
    data = torch_file.read_bytes()
    assert is_kind(torch_file.name, data[:4096]) and is_kind("tfevents", b"")
    assert is_kind("x.tfevents.1", data[:5])
    assert is_kind("x.tfevents.1", b"\1" + data[1:4096]), "a damaged first record"
    assert not is_kind("events.jsonl", data[:4096])
    assert not is_kind("read_tfevents.py", b"import struct\n" * 300)
    assert not is_kind("tfevents.md", b"# Reading tfevents files\n")


# -- hostile files -------------------------------------------------------------------------------------------

def cost(data):
    """Read; returns (reader, Parts, processor seconds)."""
    begun = time.process_time()
    growing = whole(Reader, data)
    return growing.reader, growing.parts, time.process_time() - begun


def test_giant_lengths_are_damage():
    for length in ((1 << 31) + 1, 1 << 40, (1 << 64) - 1):
        head = struct.pack("<Q", length)
        data = plain(30) + head + struct.pack("<I", masked(crc32c(head))) + plain(30)
        mine, reader = ours(data)
        assert sum(map(len, mine.values())) == 60 and reader.skipped == {"damaged heads": 1}


def test_a_record_beyond_the_files_end_waits():
    head = struct.pack("<Q", 1 << 30)
    data = plain(30) + head + struct.pack("<I", masked(crc32c(head))) + bytes(100)
    growing = whole(Reader, data)
    assert growing.position == len(plain(30)) and growing.reader.skipped == {}
    assert sum(len(part.rows) for part in growing.parts) == 30


def test_tags_beyond_the_limit_are_counted(monkeypatch):
    assert names.MOST == 20_000
    monkeypatch.setattr(names, "MOST", 10_000)
    data = b"".join([version(2),
                     *(scalars(1e9, step, *((f"t{step}.{place}", 1.0) for place in range(110)))
                       for step in range(100))])
    reader, parts, _ = cost(data)
    assert len(points(parts)) == 10_000 and reader.skipped == {"values of too many tags": 1000}
    growing = whole(Reader, data[:200_000]).grow(data[200_000:], restart=True)
    assert growing.outcome()[1:] == (reader.skipped, reader.facts())
    assert points(growing.parts).keys() == points(parts).keys()


@pytest.mark.long
def test_names_of_many_megabytes_are_counted():
    data = version(2) + b"".join(scalars(1e9, 1, (str(number) * 700_000, 1.0)) for number in range(10))
    reader, parts, _ = cost(data)
    assert len(points(parts)) == 5 and reader.skipped == {"values of too many tags": 5}


def test_messages_within_messages_and_millions_of_empty_ones_end():
    nested = b""
    for _ in range(3000):
        size = len(nested)
        nested = b"\x0a" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + nested
    empty = b"\x0a\x00" * 1_500_000
    data = (version(2) + record(b"\x2a" + _size(nested) + nested) + record(b"\x2a" + _size(empty) + empty)
            + plain(20))
    reader, parts, seconds = cost(data)
    assert sum(len(part.rows) for part in parts if part.names != ("",)) >= 20 and seconds < 60
    assert reader.skipped["values beyond 100,000 of one record"] == 1


def _size(data):
    out, size = bytearray(), len(data)
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size])


def test_noise_is_one_damage_and_what_follows_it_is_read():
    rng = random.Random(3)
    for noise in (rng.randbytes(300_000), b"\1\0\0\0\0" * 60_000, bytes(8) + b"\1" * 9000,
                  record(b"\xff" * 50) * 2000):
        mine, reader = ours(plain(30) + noise + plain(30))
        assert sum(map(len, mine.values())) == 60 and sum(reader.skipped.values()) in (1, 2000)


def test_records_that_are_damaged_one_after_the_other_end_in_time():
    good = scalars(1e9, 1, ("loss", 1.0))
    torn = good[:30]
    data = plain(20) + (torn + good) * 3000
    reader, parts, seconds = cost(data)
    assert sum(len(part.rows) for part in parts) == 3020 and reader.skipped == {"damaged records": 3000}
    assert seconds < 30


def test_what_a_state_holds_is_bounded(torch_file):
    reader = whole(Reader, torch_file.read_bytes()).reader
    assert len(json.dumps(reader.state())) < 4000
    long = [event(1e9, step,
                  summary=summary_pb2.Summary(
                      value=[tensor(f"note {step}", tensor_util.make_tensor_proto("x" * 20_000),
summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")))]))
            for step in range(80)]
    reader = whole(Reader, version(2) + b"".join(long)).reader
    assert len(reader.facts()["texts"]) == 64 and len(json.dumps(reader.state())) < 2 << 20


def datas(stream):
    """Yield the data of each record."""
    at = 0
    while at < len(stream):
        length, = struct.unpack_from("<Q", stream, at)
        yield stream[at + 12:at + 12 + length]
        at += 16 + length


def test_spoiled_events_with_right_checksums_are_read_alike_at_once_and_in_pieces():
    rng = random.Random(11)
    for turn in range(60):
        events = list(datas(b"".join(random_events(rng, 50, 1 + turn % 2))))
        events[5:5] = [spoiled(events[5], rng)] * rng.choice((0, 12))
        data = b"".join(record(spoiled(event_data, rng)) for event_data in events)
        growing = Growing(Reader, 200)
        for begin in range(0, len(data), 97):
            growing.grow(data[begin:begin + 97], restart=begin % 5 == 0)
        assert growing.outcome() == whole(Reader, data).outcome(), turn


# -- sums of many records at once ----------------------------------------------------------------------------

@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 34, 255, 256, 257, 2048])
def test_sums_of_many_records_are_those_of_each(size):
    rng = random.Random(size)
    fixed = rng.randbytes(size)
    records = [bytearray(record(rng.randbytes(1) + fixed[1:] if place % 2 else rng.randbytes(size)))
               for place in range(40)]
    assert wrong(b"".join(records), size + 16) == []
    for place in (0, 7, 39):
        records[place][rng.randrange(12, size + 16)] ^= 1 << rng.randrange(8)
    assert wrong(b"".join(records), size + 16) == [0, 7, 39]


def test_a_head_is_found_behind_long_room_that_was_never_written_to():
    from runicorn.metrics.kinds.tfrecords import Heads
    record = struct.pack("<Q", 5)
    record += struct.pack("<I", masked(crc32c(record)))
    for room in (0, 1, 11, 12, 4084, 4095, 4096, 4097, 8180, 8192, 12276, 50_000):
        for noise in (b"", b"x", b"x" * 9):
            block = noise + bytes(room) + record + bytes(9000)
            assert Heads().next(block, 0) == len(noise) + room, (room, noise)
    assert Heads().next(bytes(50_000), 0) == -1
