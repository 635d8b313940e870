"""What a manifest costs a run: memory and calls that hold on a busy machine, at two sizes."""

import collections
import json
import os
import sys
import tracemalloc

import pytest
from pairs import OLD
from small_runs import write_run

from runicorn import manifest, manifest_lines

SMALL, LARGE, MANY = 150, 600, 1200


def root_of(folder, count, config):
    """Write so many runs, none of them new, and their manifest; return the path of that."""
    for number in range(count):
        run = write_run(folder, f"p{number % 3}", f"exp{number % 7}", f"20250123_180000_{number:06x}", rows=2,
                        started=OLD, config=config)
        for file in (*run.iterdir(), run):
            os.utime(file, (OLD, OLD))
    manifest.generate(str(folder))
    return folder / ".runicorn" / manifest.FULL


def memory(act):
    """Return (what `act()` returns, the most memory that it took meanwhile, bytes)."""
    tracemalloc.start()
    try:
        return act(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.long
def test_the_memory_of_a_manifest_is_that_of_its_paths_not_of_its_lines(tmp_path):
    full = root_of(tmp_path, MANY, {f"key{number}": "x" * 20 for number in range(100)})
    assert full.stat().st_size > 3000 * MANY
    known, loaded = memory(lambda: manifest.load(full))
    built, taken_over = memory(lambda: manifest.build(str(tmp_path), known))
    assert built.read == 0 and built.lines == known.lines and len(built) == MANY
    assert loaded / MANY < 600 and taken_over / MANY < 900, "bytes a run"
    assert built.entry(built.paths()[7])["meta"]["config"]["key99"] == "x" * 20


def test_a_line_is_as_it_was_read_though_another_manifest_is_in_its_place(tmp_path):
    full = root_of(tmp_path, LARGE, {"lr": 0.1})
    known, whole = manifest.load(full), json.loads(full.read_text())["runs"]
    changed = known.paths()[5]
    (tmp_path / changed / "summary.json").write_text('{"train/loss": 99.5}')
    report = manifest.generate(str(tmp_path))
    assert report["changed"] and manifest.load(full).entry(changed)["summary"] == {"train/loss": 99.5}
    assert {path: json.loads(known.line(path)) for path in known.paths()} == whole
    assert manifest.build(str(tmp_path),
                          known).lines == manifest.build(
                              str(tmp_path)).lines, "one run of it is set, the others stay there"


def test_the_calls_of_a_look_at_unchanged_runs_grow_as_their_number(tmp_path):
    counts = {}
    for count in (SMALL, LARGE):
        full = root_of(tmp_path / str(count), count, {})
        known, calls = manifest.load(full), collections.Counter()
        sys.setprofile(lambda frame, event, argument, calls=calls: calls.update([event]))
        try:
            built = manifest.build(str(tmp_path / str(count)), known)
        finally:
            sys.setprofile(None)
        assert built.read == 0
        counts[count] = calls["call"] + calls["c_call"]
    assert counts[LARGE] < 1.05 * counts[SMALL] * LARGE / SMALL and counts[LARGE] / LARGE < 80, "calls a run"


@pytest.mark.long
def test_the_lines_of_a_first_look_go_to_a_nameless_file_and_to_memory_where_there_is_no_room(
        tmp_path, monkeypatch):
    root_of(tmp_path / "root", SMALL, {f"key{number}": "x" * 20 for number in range(100)})
    plain, spool = manifest.build(str(tmp_path / "root")), manifest_lines.Spool(str(tmp_path), manifest.BITS)
    built, taken = memory(lambda: manifest.build(str(tmp_path / "root"), into=spool))
    assert built.lines is spool and built.lines == plain.lines and os.listdir(tmp_path) == ["root"]
    assert taken < sum(map(len, plain.lines.values())) / 3
    assert all(type(place) is int for place in spool.places.values())
    again = manifest.build(str(tmp_path / "root"), built)
    assert again.read == 0 and again.lines == plain.lines

    spool, write = manifest_lines.Spool(str(tmp_path), manifest.BITS), os.pwrite
    monkeypatch.setattr(os, "pwrite",
                        lambda file, line, start: write(
                            file, line[:max(0, 7 * len(line) // 2 - start)], start))
    for path in plain.paths()[:6]:      # on a disk with room for three and a half
        spool[path] = plain.line(path)
    monkeypatch.setattr(os, "pwrite", write)
    assert [type(place) for place in spool.places.values()] == [int] * 3 + [bytes] * 3
    assert dict(spool) == {path: plain.line(path) for path in plain.paths()[:6]}
    monkeypatch.setattr(manifest_lines, "MANY", 2)
    assert manifest_lines.spooled(plain.lines, str(tmp_path / "none"), manifest.BITS) is plain.lines
    moved = manifest_lines.spooled(spool, str(tmp_path), manifest.BITS)
    assert moved is not spool and moved == spool
    assert all(type(place) is int for place in moved.places.values())
