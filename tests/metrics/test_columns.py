"""Lines to columns: every way of parsing gives what a plain json.loads per line gives; the cache is never
believed wrongly."""

import json
import math
import os
import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runicorn import layout
from runicorn.metrics import column_cache, column_file, columns, parse, samples
from runicorn.metrics.column_cache import trim
from runicorn.metrics.column_file import File
from runicorn.metrics.columns import BLOCK
from runicorn.metrics.kinds import events
from runicorn.metrics.parse import Parser, Part, sample_row


def line(ts, step, data, **more):
    return layout.to_json({"ts": ts, "step": step, **more, "data": data}).encode() + b"\n"


def plain(lines):
    """Return {metric: [(ts, step, value), …]}, read in the plainest way there is, and the number of lines
    that are no object."""
    out, skipped = {}, 0
    for raw in lines:
        try:
            row = json.loads(raw)
        except ValueError:
            skipped += bool(raw.strip())
            continue
        if not isinstance(row, dict):
            skipped += 1
        elif "type" not in row:
            for name, value in row["data"].items():
                if layout.number(value) is not None:
                    out.setdefault(name, []).append((row["ts"], row["step"], layout.number(value)))
    return out, skipped


def held(table):
    return {name: list(zip(group.ts, group.steps, group.columns[name].values))
            for name, group in table.where.items()}


def same(found, wanted):
    # repr: NaN equals NaN, and -0.0 is not 0.0
    return repr(sorted(found.items())) == repr(sorted(wanted.items()))


def parsed(path, cache=None):
    file = File(str(path), cache)
    file.look()
    while file.step():
        pass
    file.save()
    return file


values = st.one_of(st.floats(), st.integers(-10**6, 10**6), st.booleans(), st.none(), st.just("text"),
                   st.just([1, 2]), st.just(10**400))
names = st.sampled_from(["loss", "lr", "layer1", "layer2", "验证/准确率", 'a"b', "step", "e-5", "x\\y", "NaN",
                         "Infinity", ',"loss":1'])
rows = st.lists(st.tuples(st.dictionaries(names, values, max_size=4), st.integers(1, 30)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(rows, st.lists(st.binary(max_size=30), max_size=3), st.lists(st.floats(0, 1), max_size=4),
       st.randoms(use_true_random=False))
def test_any_rows_in_any_portions_parse_as_plain_json(tmp_path_factory, shapes, rubbish, cuts, rng):
    lines, ts = [], 1000.0
    for data, repeats in shapes:
        for _ in range(repeats):                    # long enough for templates, with numbers of every look
            ts += 0.25
            same_shape = {name: rng.choice([value, rng.random() * 10 ** rng.randint(-9, 9)])
                          for name, value in data.items()}
            lines.append(line(ts, len(lines) * 3, same_shape))
    for bad in rubbish:
        lines.insert(rng.randint(0, len(lines)),
                     bad.replace(b"\n", b"").replace(b"\r", b"").replace(b"{", b"") + b"\n")
    text = b"".join(lines)
    path = tmp_path_factory.mktemp("rows") / "events.jsonl"
    path.write_bytes(b"")
    file, done = File(str(path)), 0
    for end in sorted(int(cut * len(text)) for cut in cuts) + [len(text)]:
        with open(path, "ab") as out:
            out.write(text[done:end])
        done = end
        while file.look() and file.step():
            pass
    wanted, _ = plain(lines)
    assert same(held(file.table), wanted)
    assert same(held(parsed(path).table), wanted)
    assert file.table.rows == sum(type(_json(raw)) is dict for raw in lines)
    for group in file.table.groups():
        for column in group.columns.values():
            check_blocks(column)


def _json(raw):
    try:
        return json.loads(raw)
    except ValueError:
        return None


def check_blocks(column):
    assert len(column.lows) == len(column.highs) == len(column.values) // BLOCK
    assert list(column.bad) == [place for place, value in enumerate(column.values)
                                if not math.isfinite(value)]
    for block, (low, high) in enumerate(zip(column.lows, column.highs)):
        finite = [value for value in column.values[block * BLOCK:(block + 1) * BLOCK] if math.isfinite(value)]
        assert (low, high) == (min(finite, default=math.inf), max(finite, default=-math.inf))


@pytest.mark.long
def test_a_million_bytes_of_mixed_shapes(tmp_path):
    rng, lines = random.Random(5), []
    for step in range(40_000):
        data = {"loss": rng.random(), "lr": 10.0 ** -rng.randint(1, 12)}
        if step % 100 == 99:
            data["grad"] = "NaN" if step % 300 == 299 else rng.random()
        lines.append(line(1000 + step / 8, step, data))
        if step % 1000 == 999:
            lines.append(line(1000 + step / 8, step, {"val/loss": rng.random()}))
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(lines))
    assert path.stat().st_size > 2 * column_file.READ_BYTES
    table = parsed(path).table
    assert same(held(table), plain(lines)[0])
    assert sorted(sorted(group.columns) for group in table.groups()) == [
        ["grad"], ["loss", "lr"], ["val/loss"]]
    assert (table.rows, table.top_step, table.first_ts, table.last_ts) == (
        40_040, 39_999, 1000.0, 1000 + 39_999 / 8)


def test_torn_nul_and_broken_lines_are_skipped_and_counted(tmp_path):
    good = [line(1000.0 + step, step, {"loss": step / 7}) for step in range(40)]
    lines = good[:10] + [good[0][:20] + b"\n", b"\0" * 512 + good[10], b"\0\0\0\n", b"[1,2]\n", b"\xff\xfe\n",
                         b"\n"] + good[11:]
    path = tmp_path / "events.jsonl"
    last = line(2000.0, 40, {"loss": 1})
    path.write_bytes(b"".join(lines) + last[:25])
    file = parsed(path)
    assert [step for _, step, _ in held(file.table)["loss"]] == list(range(40))
    # the torn, the NULs, the list, the bytes that are no UTF-8
    assert file.skipped == 4
    # half a line: nothing to do until it grows
    assert file.position == path.stat().st_size - 25 and not file.look()
    with open(path, "ab") as out:
        out.write(last[25:])
    file.look()
    file.step()
    assert held(file.table)["loss"][-1] == (2000.0, 40, 1.0) and file.behind == 0


def test_a_whole_last_line_needs_no_newline(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(1.0, 1, {"loss": 1}) + line(2.0, 2, {"loss": 2})[:-1])
    file = parsed(path)
    assert len(held(file.table)["loss"]) == 2
    with open(path, "ab") as out:
        out.write(b"\n" + line(3.0, 3, {"loss": 3}))
    file.look()
    file.step()
    assert [step for _, step, _ in held(file.table)["loss"]] == [1, 2, 3] and file.skipped == 0


def test_lines_without_time_or_step_and_other_types(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        b'{"ts":5,"data":{"a":1}}\n{"step":"x","data":{"a":2}}\n{"ts":"NaN","step":7.5,"data":{"a":3}}\n'
        b'{"ts":6,"type":"image","step":8,"data":{"samples":[]}}\n{"ts":7,"type":"from the future"}\n'
        b'{"ts":8,"step":true,"data":{"a":4}}\n')
    file = parsed(path)
    assert held(file.table)["a"] == [(5.0, 0.0, 1.0), (5.0, 1.0, 2.0), (5.0, 7.5, 3.0), (8.0, 1.0, 4.0)]
    assert file.skipped == 0 and file.table.rows == 4


def test_numbers_beyond_float64(tmp_path):
    path = tmp_path / "events.jsonl"
    rows = [b'{"ts":1e999,"step":1,"data":{"a":1}}\n', b'{"ts":5,"step":1e999,"data":{"a":1e999}}\n',
            b'{"ts":6,"step":1%s,"data":{"a":-1%s}}\n' % (b"0" * 400, b"0" * 400),
            b'{"ts":7,"step":9007199254740993,"data":{"a":-1e999}}\n']
    path.write_bytes(b"".join(row * 10 for row in rows))
    assert [held(parsed(path).table)["a"][place] for place in (0, 10, 20, 30)] == [
        (0.0, 1, 1.0), (5.0, 10, math.inf), (6.0, 20, -math.inf), (7.0, 9007199254740993, -math.inf)]


def test_the_older_shape(tmp_path):
    path = tmp_path / "events.jsonl"
    def old(step):
        data = {"loss": 1 / step, "global_step": step, "time": 100.5 + step,
                "stage": "warmup" if step < 50 else "train"}
        return json.dumps({"ts": 100.5 + step, "type": "metrics", "data": data}) + "\n"
    path.write_text("".join(map(old, range(1, 101))))
    table = parsed(path).table
    assert held(table) == {"loss": [(100.5 + step, step, 1 / step) for step in range(1, 101)]}
    assert table.top_step == 100


def test_system_samples():
    gpu = [{"i": 1, "name": "A100", "util": 95, "mem": [8e9, 11e9], "temp": 71}]
    part, = Parser(sample_row).parse(
        layout.to_json({"ts": 9.0, "cpu": 45.0, "mem": [12e9, 64e9], "gpu": gpu}).encode() + b"\n")
    assert part.names == ("cpu", "mem", "gpu1.util", "gpu1.mem", "gpu1.temp")
    assert [column[0] for column in part.columns] == [45.0, 12e9, 95.0, 8e9, 71.0]


# -- files that change, and the cache ------------------------------------------------------------------------

def grown(path, first=0, count=2000):
    with open(path, "ab") as out:
        for step in range(first, first + count):
            out.write(line(1000.0 + step, step,
                           {"loss": math.sin(step), "bad": "NaN" if step % 7 == 0 else step}))


def test_the_cache_gives_what_was_parsed_and_goes_on_from_there(tmp_path):
    path, cache = tmp_path / "events.jsonl", str(tmp_path / "columns")
    grown(path)
    with open(path, "ab") as out:
        out.write(b"broken\n" + line(1.0, 1, {}, type="image")
                  + line(5000.0, 2000, {"loss": 1, "rare": 2, "bad": 3}))
    first = parsed(path, cache)
    assert len(os.listdir(cache)) == 1
    again = File(str(path), cache)
    assert not again.look() and again.position == path.stat().st_size           # nothing left to parse
    assert same(held(again.table), held(first.table)) and again.skipped == first.skipped == 1
    assert list(again.table.where) == list(first.table.where) == ["loss", "bad", "rare"]
    assert list(again.table.recent) == list(first.table.recent)
    grown(path, 2001, 100)
    while again.look() and again.step():
        pass
    assert same(held(again.table), held(parsed(path).table))
    assert again.table.rows == 2101 and again.table.groups()[0].steps_sorted
    for column in again.table.groups()[0].columns.values():
        check_blocks(column)


@pytest.mark.parametrize("harm", ["replaced", "shrunk", "rewritten", "moved", "cut cache", "rubbish cache"])
def test_a_cache_of_another_file_is_not_believed(tmp_path, harm):
    path, cache = tmp_path / "events.jsonl", tmp_path / "columns"
    grown(path)
    parsed(path, str(cache))
    stored = cache / os.listdir(cache)[0]
    text = path.read_bytes()
    if harm == "replaced":
        layout.replace_file(path, text.replace(b'"loss"', b'"lass"'))
    elif harm == "shrunk":
        os.truncate(path, len(text) // 2)
    elif harm == "rewritten":                       # same inode, same length
        with open(path, "r+b") as out:
            out.write(text.replace(b'"loss"', b'"lass"'))
    elif harm == "moved":
        other = tmp_path / "other.jsonl"
        other.write_bytes(b"")
        theirs = File(str(other), str(cache))
        theirs.look()
        stored = stored.rename(theirs._cache())
        path = other
    elif harm == "cut cache":
        os.truncate(stored, stored.stat().st_size - 8)
    else:
        stored.write_bytes(column_cache.MAGIC + b'{"path":\n' + os.urandom(500))
    assert same(held(parsed(path, str(cache)).table), plain(path.read_bytes().splitlines())[0])


def test_the_cache_follows_a_run_whose_folder_is_renamed(tmp_path):
    path, cache = tmp_path / "project" / "events.jsonl", tmp_path / "columns"
    path.parent.mkdir()
    grown(path)
    first = parsed(path, str(cache))
    os.rename(path.parent, tmp_path / "renamed")
    again = File(str(tmp_path / "renamed" / "events.jsonl"), str(cache))
    assert not again.look() and same(held(again.table), held(first.table)), "nothing is parsed twice"


def test_a_file_replaced_or_rewritten_under_our_eyes_is_read_again(tmp_path):
    path = tmp_path / "events.jsonl"
    grown(path)
    file = parsed(path)
    layout.replace_file(path, line(1.0, 1, {"other": 1}))
    assert file.look()
    file.step()
    assert held(file.table) == {"other": [(1.0, 1, 1.0)]}
    with open(path, "r+b") as out:                  # cut and written anew, longer, between two looks
        out.truncate(0)
        out.write(line(2.0, 2, {"third": 2}) * 2)
    while file.look() and file.step():
        pass
    assert held(file.table) == {"third": [(2.0, 2, 2.0)] * 2}


def test_a_file_rewritten_in_place_to_its_size_is_read_again(tmp_path):
    path, rows = tmp_path / "events.jsonl", 500
    path.write_bytes(b"".join(line(1.0 + at, 10_000 + at, {"loss": 1}) for at in range(rows)))
    file = parsed(path)
    inode = path.stat().st_ino
    path.write_bytes(path.read_bytes().replace(b'"loss":1', b'"loss":2'))
    # rsync --inplace gives it the time of its source
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    while file.look() and file.step():
        pass
    assert path.stat().st_ino == inode and [value for _, _, value in held(file.table)["loss"]] == [2.0] * rows
    path.write_bytes(path.read_bytes().replace(b'"loss":2', b'"loss":3', 1))         # the end is as it was
    while file.look() and file.step():
        pass
    assert [value for _, _, value in held(file.table)["loss"]] == [3.0] + [2.0] * (rows - 1)
    os.utime(path, ns=(1, 1))           # as the mirror does after each append
    assert not file.look() and file.position == path.stat().st_size


def test_a_file_written_anew_in_place_and_longer_is_read_again_and_kept(tmp_path):
    path, cache = tmp_path / "events.jsonl", str(tmp_path / "columns")
    os.mkdir(cache)
    grown(path)
    file = parsed(path, cache)
    # over the same inode, as `cp` does
    path.write_bytes(b"".join(line(1.0 + at, at, {"other": at}) for at in range(9000)))
    while file.look() and file.step():
        pass
    file.save()
    again = File(str(path), cache)
    assert not again.look() and held(again.table) == held(file.table)
    assert len(held(file.table)["other"]) == 9000


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path):
    path = tmp_path / "events.jsonl"
    grown(path)
    (tmp_path / "columns").write_text("a file where the folder should be")
    assert parsed(path, str(tmp_path / "columns")).table.rows == 2000


def test_trim_drops_what_was_unused_for_longest(tmp_path):
    for age, name in enumerate(["new", "middle", "old"]):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    trim(tmp_path, 200)
    assert sorted(os.listdir(tmp_path)) == ["middle", "new"]
    trim(tmp_path / "absent", 0)


def test_a_sample_has_the_ends_and_lines_in_between(tmp_path):
    path = tmp_path / "events.jsonl"
    grown(path, 0, 60_000)
    text, asked = path.read_bytes(), []

    def read(spans):
        asked.append(spans)
        return [text[offset:offset + length] for offset, length in spans]
    table = samples.sample(read, len(text), events.Reader())
    steps = table.where["loss"].steps
    assert len(asked) == 2 and steps[0] == 0 and steps[-1] == 59_999 and list(steps) == sorted(set(steps))
    assert sum(length for spans in asked for _, length in spans) < len(text) / 2
    inside = [step for step in steps if 2000 < step < 58_000]
    assert max(later - earlier for earlier, later in zip(inside, inside[1:])) < 200
    assert all(value == math.sin(step)
               for step, value in zip(steps, table.where["loss"].columns["loss"].values))


class Compared(str):
    """A name that counts how often it is compared."""

    count = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Compared.count += 1
        return str.__eq__(self, other)


def test_wide_rows_are_put_together_without_looking_at_each_name_for_each():
    names = tuple(Compared(f"m{n}") for n in range(2000))
    parts = [Part(names, [row], [1.0], [row], [array("d", [n]) for n in range(2000)]) for row in range(3)]
    table = columns.Table()
    table.add(parts[:2])
    table.add([Part(names[:1500], [3], [1.0], [3], [array("d", [n]) for n in range(1500)]),
               parts[2]._replace(rows=[4])])
    assert [len(column.values) for name in (names[0], names[1999])
            for column in [table.where[name].columns[name]]] == [4, 3]
    assert Compared.count < 60_000      # 2,000 * 2,000 is 4,000,000


def test_a_wide_line_is_not_taken_apart_to_see_whether_it_is_a_template(monkeypatch):
    monkeypatch.setattr(parse, "_fixed_texts", lambda line: pytest.fail("taken apart"))
    line = json.dumps({"ts": 1, "step": 1, "data": {f"m{n}": n for n in range(10_000)}}).encode()
    with pytest.raises(ValueError, match="too many"):
        parse.Template(line)
