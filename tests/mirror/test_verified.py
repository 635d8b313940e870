"""A mirrored run is called verified when all it has here is known to be what the server has. Over OpenSSH's
sftp-server."""

import json
import os
import re
import time

import pytest
from pairs import OLD, RUN, grow, here, make_run, mirror, pair, root, write  # noqa: F401 (fixtures)

from runicorn import manifest
from runicorn.reader.catalog import Catalog
from runicorn.reader.mirror_source import MirrorSource

KEY = "gpu:vision/resnet50/20250123_180000_abc123"


@pytest.fixture
def one(pair):
    return pair()


@pytest.fixture
def verified(one, tmp_path):
    """A function that returns what the reader says of the one run now."""
    reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])

    def say():
        reader.refresh()
        return reader.run(KEY)["verified"]
    return say


def test_a_finished_run_is_verified_once_it_is_here(root, one, verified):
    make_run(root)
    one.passes()
    assert verified() is True


def test_small_json_read_within_two_seconds_of_its_change_is_not_yet(root, one, verified):
    folder = make_run(root)
    write(folder / "summary.json", {"loss": 0.25}, mtime=time.time())
    one.passes()
    assert verified() is False
    one.passes(3)
    one.passes(31)
    assert verified() is True


@pytest.mark.parametrize("harm", ["cut", "grown", "removed", "older"])
def test_a_copy_that_differs_is_not(root, one, verified, harm):
    make_run(root)
    one.passes()
    copy = one.mirror / "vision/resnet50/runs/20250123_180000_abc123/events.jsonl"
    if harm == "cut":
        copy.write_bytes(copy.read_bytes()[:-5])
    elif harm == "grown":
        copy.write_bytes(copy.read_bytes() + b"x\n")
    elif harm == "removed":
        copy.unlink()
    else:
        os.utime(copy, (OLD - 10, OLD - 10))
    assert verified() is False


def test_with_a_manifest_the_tail_decides(root, one, verified):
    make_run(root)
    manifest.generate(str(root))
    one.passes()
    path = "vision/resnet50/runs/20250123_180000_abc123"
    copy = one.mirror / path / "logs.txt"
    assert manifest.load(one.mirror / ".index/full.json").entry(path)["files"]["logs.txt"]["tail"]
    assert verified() is True
    stat, text = copy.stat(), copy.read_bytes()
    copy.write_bytes(text[:-2] + b"?\n")
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert verified() is False


def test_a_local_run_has_nothing_to_be_verified_against(tmp_path):
    make_run(tmp_path / "here")
    reader = Catalog([("local", tmp_path / "here")])
    reader.refresh()
    assert reader.run("20250123_180000_abc123")["verified"] is None


def test_a_time_that_speaks_of_a_later_index_is_not_taken_for_that_of_this_one(root, one, monkeypatch):
    """Sync writes both while the reader reads them: first the index, then when it was seen to be so."""
    make_run(root)
    one.passes()
    place, load = one.mirror / ".index" / "live.json", manifest.load
    live = json.loads(place.read_text())

    def load_and_then_sync_writes(path):
        found = load(path)
        write(place, {**live, "checked": [[path, when + 1000] for path, when in live["checked"]]})
        return found
    monkeypatch.setattr(manifest, "load", load_and_then_sync_writes)
    source = MirrorSource("gpu", one.mirror)
    source.refresh(None)
    _, at = source.verified("vision/resnet50/runs/20250123_180000_abc123")
    assert live["checked"] and at == live["checked"][0][1]


def test_what_was_dropped_here_stays_away_from_the_next_process_too(root, pair):
    """One that asks python3 there, which answers before anything else is known."""
    make_run(root)
    one = pair("exec")
    one.passes()
    one.close()
    for name in ("events.jsonl", "logs.txt"):
        (one.mirror / RUN / name).unlink()
    (one.mirror / ".index" / "evicted").write_text(json.dumps({RUN: True}))
    again = pair("exec")
    again.passes()
    assert again.sync.state()["source"] == "exec"
    assert here(again) == ["meta.json", "status.json", "summary.json"]


def test_a_file_of_which_more_is_known_when_its_fetch_ends_comes_whole(root, pair):
    """A session that was cut knows it by its size of then; python3 there says another before it has come."""
    run = make_run(root)
    one = pair("exec")
    one.passes()
    one.close()
    (one.mirror / RUN / "events.jsonl").unlink()
    grow(run / "events.jsonl")
    os.utime(run / "events.jsonl", (OLD + 1000, OLD + 1000))
    again = pair("exec")
    again.passes()
    again.same()


@pytest.mark.few()
@pytest.mark.parametrize("mtime", ["null", '"yesterday"', "-1e99", "86400.5", str(OLD + 1000)],
                         ids=["null", "text", "far", "old", "later"])
@pytest.mark.parametrize("name", ["logs.txt", "summary.json"])
def test_a_file_whose_mtime_a_manifest_tells_wrong_or_not_is_looked_at_before_it_is_called_verified(
        root, one, verified, name, mtime):
    """The manifest made after an edit has the very line of the one before it."""
    run = make_run(root)
    manifest.generate(str(root))
    full = root / ".runicorn" / manifest.FULL
    (root / ".runicorn" / manifest.ACTIVE).unlink()
    text = re.sub(rf'("{name}": {{"size": \d+, "mtime": )[\d.]+', rf"\g<1>{mtime}", full.read_text())
    text = re.sub(rf'("{name}".*?"tail": )"\w+"', r"\1null", text)
    assert f'"mtime": {mtime}, "tail": null' in text
    write(full, text.encode())
    one.passes()
    one.passes(31)
    assert verified() is True
    assert manifest.load(one.mirror / ".index/full.json").entry(RUN)["files"][name]["mtime"] == int(OLD)
    data = (run / name).read_bytes()
    (run / name).write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    os.utime(run / name, (OLD + 5, OLD + 5))
    write(full, re.sub(r'"generated_at": [\d.]+', f'"generated_at": {time.time()}', text).encode())
    one.passes(31)
    assert (one.mirror / RUN / name).read_bytes() == (run / name).read_bytes() or not verified()
    one.passes(31)
    one.same()
    assert verified() is True


def test_an_index_that_knows_no_mtime_of_a_file_says_nothing_is_verified(root, one, verified):
    make_run(root)
    one.passes()
    place = one.mirror / ".index/full.json"
    assert verified() is True
    place.write_text(re.sub(r'("logs.txt": {"size": \d+, "mtime": )[\d.]+', r"\1null", place.read_text()))
    assert verified() is False


def test_of_a_server_without_times_it_says_that_nobody_can_know(root, one, tmp_path):
    make_run(root)
    one.passes()
    reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])
    reader.refresh()
    assert (reader.run(KEY)["verified"], reader.run(KEY)["no_times"]) == (True, False)
    index = one.mirror / ".index" / "full.json"
    write(index, re.sub(rb'"mtime": [\d.]+, "tail"', b'"mtime": null, "tail"', index.read_bytes()))
    reader.refresh()
    assert (reader.run(KEY)["verified"], reader.run(KEY)["no_times"]) == (False, True)


@pytest.mark.parametrize("status, size, name, unhashed", [
    ("running", 3 << 30, "logs.txt", True), ("running", 3 << 30, "events.jsonl", True),
    ("running", 1 << 30, "logs.txt", False), ("finished", 3 << 30, "logs.txt", False),
    ("running", 3 << 30, "summary.json", False)])
def test_of_a_large_log_that_does_not_rest_it_says_when_it_is_compared(
        root, one, tmp_path, status, size, name, unhashed):
    make_run(root, status=status)
    one.passes()
    reader = Catalog([("local", tmp_path / "local")], [("gpu", one.mirror)])
    index = one.mirror / ".index" / "full.json"
    text, count = re.subn(rf'("{name}": {{"size": )\d+'.encode(), rb"\g<1>%d" % size, index.read_bytes())
    assert count == 1
    write(index, text)
    reader.refresh()
    assert (reader.run(KEY)["verified"], reader.run(KEY)["unhashed"]) == (False, unhashed)
