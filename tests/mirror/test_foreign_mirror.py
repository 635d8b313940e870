"""Runs of other loggers in a mirror: what of them comes, how it follows what is written, and what is said of
them."""

import json
import os

from pairs import OLD, Pair, grow, mirror, pair, root, settle, told, tree, write  # noqa: F401 (fixtures)
from tfrecords import event, simple

from runicorn import foreign, manifest
from runicorn.layout import HIDDEN
from runicorn.reader.mirror_source import MirrorSource

TABLE = b"epoch,step,loss\n" + b"".join(b"0,%d,%r\n" % (step, 1 / (step + 1)) for step in range(20))
EVENTS = "events.out.tfevents.1737653445.gpu-01"


def scalars(*steps):
    return b"".join(event(1737653445 + step, step, simple("loss", 1 / (step + 1))) for step in steps)


def list_them(root):
    """Leave in the root the manifest that lists them."""
    manifest.save(manifest.build(root, find_others=foreign.find), os.fspath(root / HIDDEN / manifest.FULL))


def make(root):
    """Make a run of each of some kinds, old ones."""
    write(root / "tb" / EVENTS, scalars(*range(10)), OLD)
    write(root / "lightning/version_0/metrics.csv", TABLE, OLD)
    write(root / "lightning/version_0/hparams.yaml", b"lr: 0.1\n", OLD)
    write(root / "bert/checkpoint-500/trainer_state.json",
          json.dumps({"log_history": [{"step": 1, "loss": 2.0}]}).encode(), OLD)
    write(root / "mm/20250101.log.json", b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n', OLD)
    write(root / "data/train.csv", b"a,b\n1,2\n" * 1000, OLD)
    for place in ["tb", "lightning/version_0", "bert", "bert/checkpoint-500", "mm", "lightning", ""]:
        os.utime(root / place, (OLD, OLD))
    list_them(root)


LOGS = {f"tb/{EVENTS}", "lightning/version_0/metrics.csv", "lightning/version_0/hparams.yaml",
        "bert/checkpoint-500/trainer_state.json", "mm/20250101.log.json"}


def index(one):
    return manifest.load(one.mirror / ".index/full.json")


def test_their_files_come_and_no_data_set(root, pair):
    make(root)
    one = pair()
    one.passes()
    assert {name: data for name, data in tree(root).items() if name in LOGS} == tree(one.mirror)
    assert set(index(one).paths()) == {"tb", "lightning/version_0", "bert", "mm"}
    assert index(one).entry("tb")["kinds"] == ["tensorboard"]
    assert one.sync.state()["state"] == "live"
    one.passes(31)
    assert index(one).entry("tb")["kinds"] == ["tensorboard"] and one.sync.state()["state"] == "live"


def test_an_event_file_that_grew_is_appended_to_though_its_end_is_torn(root, pair):
    make(root)
    one = pair()
    one.passes()
    one.passes(31)
    before, inode = one.far.bytes_received, (one.mirror / "tb" / EVENTS).stat().st_ino
    grow(root / "tb" / EVENTS, scalars(10, 11)[:-3])
    one.passes(31)
    assert (one.mirror / "tb" / EVENTS).read_bytes() == (root / "tb" / EVENTS).read_bytes()
    assert (one.mirror / "tb" / EVENTS).stat().st_ino == inode and one.far.bytes_received - before < 3000


def test_a_table_is_appended_to_or_replaced_as_it_was_there(root, pair):
    make(root)
    one = pair()
    one.passes()
    place = "lightning/version_0/metrics.csv"
    inode = (one.mirror / place).stat().st_ino
    grow(root / place, b"1,20,0.5\n")
    one.passes(31)
    assert (one.mirror / place).read_bytes() == (root / place).read_bytes()
    assert (one.mirror / place).stat().st_ino == inode
    text = ((root / place).read_bytes().replace(b"loss\n", b"loss,acc\n").replace(b"\n0,", b",\n0,")
            + b"1,21,0.4,0.9\n")
    (root / place).write_bytes(text)        # as Lightning does: in place, with a column more
    one.passes(31)
    one.passes(31)
    assert (one.mirror / place).read_bytes() == text


def state_of(one, path):
    return json.loads((one.mirror / ".index/live.json").read_text())["runs"].get(path)


def test_a_run_that_somebody_opened_is_followed_each_second(root, pair):
    make(root)
    one = pair()
    one.passes()
    one.bell.look({"runs", "run:gpu-server-1:tb", "run:gpu-server-1:lightning/version_0",
                   "run:gpu-server-1:bert"})
    one.passes(31)
    assert state_of(one, "tb") is None, "nobody saw it grow"
    for step in range(10, 13):
        before = one.bell.now()
        grow(root / "tb" / EVENTS, scalars(step))
        grow(root / "lightning/version_0/metrics.csv", b"1,%d,0.5\n" % (step + 10))
        write(root / "bert/checkpoint-500/trainer_state.json",
              json.dumps({"log_history": [{"step": 1, "loss": 1.0}] * step}).encode())
        assert one.passes(1) <= 1
        assert {name: data for name, data in tree(root).items() if name in LOGS} == tree(one.mirror)
        assert {"run:gpu-server-1:tb", "run:gpu-server-1:lightning/version_0"} <= set(one.bell.wait(before, {
            "run:gpu-server-1:tb", "run:gpu-server-1:lightning/version_0"}, 0)["topics"])
    assert state_of(one, "tb")["seen"] and state_of(one, "bert")["seen"] and one.sync.state()["running"] == 3
    one.bell.look({"runs"})
    one.passes(700)
    assert one.sync.state()["running"] == 0 and state_of(one, "tb")["seen"], "quiet, and since when is known"


def test_runs_that_nobody_opened_are_followed_in_turns_once_they_were_seen_to_grow(root, pair):
    make(root)
    one = pair()
    one.bell.look({"runs"})
    one.passes()
    for step in (10, 11):
        grow(root / "tb" / EVENTS, scalars(step))
        one.passes(1)
        assert (one.mirror / "tb" / EVENTS).read_bytes() == (
            root / "tb" / EVENTS).read_bytes(), "the newest are expected to"


def test_what_changed_while_nobody_looked_is_no_sign_of_life(root, mirror, pair):
    make(root)
    one = pair()
    one.passes()
    one.passes(31)
    grow(root / "tb" / EVENTS, scalars(10))
    one.passes(31)
    seen = state_of(one, "tb")["seen"]
    one.close()
    grow(root / "tb" / EVENTS, scalars(11))
    two = Pair(root, mirror)
    two.now = one.now + 5000
    two.passes()
    two.passes(31)
    assert (two.mirror / "tb" / EVENTS).read_bytes() == (root / "tb" / EVENTS).read_bytes()
    told = json.loads((two.mirror / ".index/live.json").read_text())
    assert two.sync.state()["running"] == 0
    assert told["runs"]["tb"]["looked"] - told["runs"]["tb"]["seen"] > 4000 and seen
    grow(root / "tb" / EVENTS, scalars(12))
    two.passes(31)
    assert two.sync.state()["running"] == 1
    two.close()


def test_a_large_file_comes_when_its_run_is_opened(root, pair, monkeypatch):
    monkeypatch.setattr("runicorn.mirror.plan.LARGE", 1000)
    make(root)
    grow(root / "tb" / EVENTS, scalars(*range(100, 200)))
    list_them(root)
    one = pair()
    one.passes()
    one.passes(31)
    assert not (one.mirror / "tb" / EVENTS).exists()
    assert (one.mirror / "lightning/version_0/metrics.csv").exists()
    assert one.sync.state()["state"] == "live"
    size = (root / "tb" / EVENTS).stat().st_size
    assert one.sync._remote_root.peek("tb", EVENTS, [(-50, 50)]) == [
        (root / "tb" / EVENTS).read_bytes()[size - 50:]]
    one.sync.want("tb")
    one.passes()
    assert (one.mirror / "tb" / EVENTS).read_bytes() == (root / "tb" / EVENTS).read_bytes()
    grow(root / "tb" / EVENTS, scalars(201))
    one.passes(31)
    assert (one.mirror / "tb" / EVENTS).read_bytes() == (root / "tb" / EVENTS).read_bytes()


def test_a_file_that_was_replaced_or_edited_in_place_is_read_anew(root, pair):
    make(root)
    one = pair()
    one.passes()
    write(root / "tb" / EVENTS, scalars(*range(5)))
    one.passes(31)
    one.passes(31)
    assert (one.mirror / "tb" / EVENTS).read_bytes() == scalars(*range(5))
    text = (root / "mm/20250101.log.json").read_bytes().replace(b"0.5", b"0.7")
    (root / "mm/20250101.log.json").write_bytes(text)           # the same size, another mtime
    one.passes(31)
    assert (one.mirror / "mm/20250101.log.json").read_bytes() == text


def test_python3_on_the_server_tells_what_grew(root, pair):
    make(root)
    one = pair("exec")
    one.passes()
    one.passes(31)
    settle(one)
    one.passes(1)
    assert one.sync.state()["source"] == "exec" and one.sync.state()["running"] == 0
    grow(root / "tb" / EVENTS, scalars(10))
    for _ in range(3):
        one.passes(31)
        settle(one)
    assert (one.mirror / "tb" / EVENTS).read_bytes() == (root / "tb" / EVENTS).read_bytes()
    assert state_of(one, "tb")["seen"] and state_of(one, "mm") is None and one.sync.state()["running"] == 1


def source_of(one):
    source = MirrorSource("gpu", one.mirror)
    source.begin()
    return source


def test_copies_are_verified_as_ours_are_also_after_they_grew_and_what_no_stat_shows_is_found_by_whole_files(
        root, pair, monkeypatch):
    make(root)
    one = pair()
    one.passes()
    one.passes(31)
    assert all(source_of(one).verified(path)[0] for path in ("tb", "lightning/version_0", "bert", "mm"))
    one.bell.look({"runs", "run:gpu-server-1:tb"})
    grow(root / "tb" / EVENTS, scalars(10))
    one.passes(1)
    one.bell.look({"runs"})
    for _ in range(4):
        one.passes(31)
    assert source_of(one).verified("tb")[0], "read again whole once it rests"
    table = root / "lightning/version_0/metrics.csv"
    data, times = table.read_bytes(), table.stat().st_mtime_ns
    table.write_bytes(data.replace(b"0.5", b"0.6"))
    os.utime(table, ns=(times, times))
    assert one.sync._remote_root.verify(one.now)["refetched"] == 1
    one.passes()
    assert (one.mirror / "lightning/version_0/metrics.csv").read_bytes() == table.read_bytes() != data
    table.write_bytes(data)
    os.utime(table, ns=(times, times))
    monkeypatch.setattr("runicorn.mirror.verify.MONTH", 1)
    one.passes(700)
    one.passes(1)
    assert (one.mirror / "lightning/version_0/metrics.csv").read_bytes() == data, "its turn of a month came"
