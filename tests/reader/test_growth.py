"""What the list of runs costs a run: memory and calls that hold on a busy machine, at two sizes."""

import collections
import gc
import os
import sys
import tracemalloc

import pytest
from pairs import OLD
from small_runs import write_run

from runicorn.reader import command_root
from runicorn.reader.catalog import Catalog

SMALL, LARGE = 200, 800
CONFIG = {"lr": 0.001, "batch_size": 64, "model": "resnet50", "optimizer": "adamw", "epochs": 90,
          "weight_decay": 0.05}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Return {count: a root of so many runs}."""
    folders = {count: tmp_path_factory.mktemp(f"runs{count}") for count in (SMALL, LARGE)}
    for count, folder in folders.items():
        for number in range(count):
            run = write_run(folder, f"p{number % 3}", f"exp{number % 7}", f"20250123_180000_{number:06x}",
                            rows=2, started=OLD + number / 7, config={**CONFIG, "seed": number},
                            tags=["baseline"])
            for file in run.iterdir():
                os.utime(file, (OLD, OLD))
    return folders


def opened(root, home):
    catalog = Catalog([("local", root)], (), home, local=command_root.CommandRoot)
    catalog.refresh()
    return catalog


@pytest.mark.long
def test_the_memory_of_a_list_of_runs_is_little_and_what_is_kept_of_it_takes_none(
        roots, tmp_path, monkeypatch):
    monkeypatch.setattr(command_root.kept, "ROWS", LARGE // 16)
    opened(roots[SMALL], tmp_path / "warm").save()
    tracemalloc.start()
    try:
        catalog = opened(roots[LARGE], tmp_path / "home")
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        catalog.save()
        meanwhile = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    assert len(catalog.runs(limit=None)["runs"]) == LARGE
    assert held / LARGE < 2600, "bytes a run"
    kept = next((tmp_path / "home" / "index").glob("*.small")).stat().st_size
    assert meanwhile < kept / 2, "rows are packed some at a time"
    before = {path: (record.status, record.kept())
              for path, record in catalog.sources["local"].records.items()}
    again = opened(roots[LARGE], tmp_path / "home").sources["local"].records
    assert {path: (record.status, record.kept()) for path, record in again.items()} == before
    assert len(before) == LARGE


def test_the_calls_of_a_list_grow_as_its_runs(roots, tmp_path):
    counts = {}
    for count, root in roots.items():
        home = tmp_path / str(count)
        opened(root, home).save()
        calls = collections.Counter()
        sys.setprofile(lambda frame, event, argument, calls=calls: calls.update([event]))
        try:
            answer = opened(root, home).runs(limit=50)
        finally:
            sys.setprofile(None)
        counts[count] = calls["call"] + calls["c_call"]
        assert answer["total"] == count and len(answer["runs"]) == 50
    assert counts[LARGE] < 1.1 * counts[SMALL] * LARGE / SMALL and counts[LARGE] / LARGE < 200, "calls a run"


def test_a_damaged_pack_costs_its_own_rows_only(roots, tmp_path, monkeypatch):
    monkeypatch.setattr(command_root.kept, "ROWS", 100)
    opened(roots[LARGE], tmp_path / "home").save()
    place = next((tmp_path / "home" / "index").glob("*.small"))
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 0xFF
    place.write_bytes(bytes(data))
    rows = command_root.kept.load_small(str(place)[:-len(".small")], command_root.Record.again)
    assert 0 < len(rows) < LARGE and len(rows) % 100 == 0
    assert opened(roots[LARGE], tmp_path / "home").runs(limit=None)["matched"] == LARGE
