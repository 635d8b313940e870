"""Numbers that lie in a file answer as an array does, and a long run's curves are the same from there."""

import os
import random
from array import array

import pytest
from small_runs import event

from runicorn.metrics import column_cache, column_file, columns, stored
from runicorn.metrics.column_file import File
from runicorn.metrics.series import Series
from runicorn.metrics.stored import PAGE, Spool, Store, Stored

pytestmark = pytest.mark.posix      # Windows can't replace a file that is open


@pytest.mark.parametrize("kind", ["I", "q", "d"])
def test_it_answers_as_an_array_does(tmp_path, kind):
    chance, spool = random.Random(1), Spool(str(tmp_path))
    plain, other = array(kind), Stored(array(kind))
    for length in (3, PAGE - 5, 2 * PAGE, 1, 700, 0, 5 * PAGE):
        new = array(kind, [chance.randrange(10**6) for _ in range(length)])
        plain.extend(new)
        other.extend(new)
        if length % 2:
            spool.put(other)
        assert len(other) == len(plain) and list(other) == list(plain) and other.typecode == kind
        for _ in range(60):
            place, end = chance.randrange(len(plain)), chance.randrange(len(plain) + 9)
            assert other[place] == plain[place] and other[-place - 1] == plain[-place - 1]
            assert other[place:end] == plain[place:end] and other[::7] == plain[::7]
            assert other[place:] == plain[place:]
    for place in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            other[place]
    with open(tmp_path / "out", "wb") as file:
        other.tofile(file)
    assert (tmp_path / "out").read_bytes() == plain.tobytes()
    assert stored.held(spool.put(other)) <= stored.PAGES * PAGE * plain.itemsize
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.fixture
def small(monkeypatch):
    """Let a thousand numbers be many."""
    for module in (columns, column_cache):
        monkeypatch.setattr(module, "LONG", 1000)
    monkeypatch.setattr(column_file, "SPOOL_BYTES", 100_000)
    monkeypatch.setattr(column_file, "READ_BYTES", 30_000)


def write(path, rows):
    chance = random.Random(2)
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(event(1000 + step / 7, step, {
        "loss": chance.random(), "acc": chance.random(), **({} if step % 50 else {"eval": chance.random()})})
        for step in range(rows)))


ASKED = [("loss", {}), ("loss", {"x": "wall", "lo": 1100.0, "hi": 1400.0}), ("loss", {"x": "metric:acc"}),
         ("eval", {"x": "relative"}), ("loss", {"x": "metric:eval", "smooth": 0.9}),
         ("acc", {"smooth": 0.6, "buckets": 10, "lo": 333}), ("eval", {"x": "metric:loss"})]


def pictures(series):
    drawn = [series.picture(metric, **options) for metric, options in ASKED]
    return drawn, series.metrics(), list(map(list, series.points("loss")))


def read(folder, cache=None):
    series = Series(folder, cache)
    series.refresh()
    return series


def test_a_long_run_is_the_same_from_memory_from_its_spool_and_from_the_cache(tmp_path, small):
    run = tmp_path / "run"
    write(run / "events.jsonl", 6000)
    (run / "events.2.jsonl").write_text(event(5000, 4000, {"loss": 0.5, "acc": 0.5}))
    plain = pictures(read(run))
    spooled, cached = (read(run, tmp_path / "cache") for _ in range(2))
    assert pictures(spooled) == pictures(cached) == plain
    for series in (spooled, cached):
        table = series.tables_of(0)[0][0][1]
        group, = table.long_groups()
        numbers = group.rows, group.ts, group.columns["acc"].values
        assert list(map(type, numbers)) == [Stored] * 3 and table.nbytes() < 100_000
    with open(run / "events.2.jsonl", "a") as file:
        file.write("".join(event(6000 + step, 4001 + step, {"loss": 0.25, "acc": step / 9000})
                           for step in range(3000)))
    plain = pictures(read(run))
    for series in (spooled, cached, read(run, tmp_path / "cache")):
        series.refresh()
        assert pictures(series) == plain


def test_what_becomes_of_the_cache_meanwhile_is_no_loss(tmp_path, small):
    run, cache = tmp_path / "run", tmp_path / "cache"
    write(run / "events.jsonl", 3000)
    read(run, cache)
    plain, series = pictures(read(run)), read(run, cache)
    for file in cache.iterdir():
        file.unlink()
    assert pictures(series) == plain, "it is open"
    read(run, cache)
    series = read(run, cache)
    file, = cache.iterdir()
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(OSError, match="cut short"):
        pictures(series)
    series.refresh()
    assert pictures(series) == plain


def test_without_room_for_a_spool_numbers_stay_in_memory(tmp_path, small, monkeypatch):
    run = tmp_path / "run"
    write(run / "events.jsonl", 3000)
    plain = pictures(read(run))

    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(Store, "write", full)
    monkeypatch.setattr(File, "save", lambda file: None)
    assert pictures(read(run, tmp_path / "cache")) == plain
