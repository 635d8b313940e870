"""What time the rows of another logger's text file have: as told, in this machine's zone where none was told,
never 1970."""

import calendar
import os
import time

import pytest

from runicorn.metrics.column_file import File
from runicorn.metrics.foreign_files import reader_of

NOON = calendar.timegm((2024, 5, 1, 12, 0, 0))


def times(path, kind, content):
    path.write_text(content)
    file = File(str(path), make=reader_of(kind))
    file.look()
    while file.step():
        pass
    group, = {id(group): group for group in file.table.where.values()}.values()
    return list(group.ts)


@pytest.fixture(params=[("Asia/Shanghai", 8 * 3600), ("UTC", 0), ("America/New_York", -4 * 3600)])
def shift(request, monkeypatch):
    """This machine's zone: the s that it is ahead of UTC in May."""
    monkeypatch.setenv("TZ", request.param[0])
    time.tzset()
    yield request.param[1]
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("kind", "line"), [
    ("jsonl", '{"step": %d, "time": "2024-05-01 12:00:0%d", "loss": 1}'),
    ("log", "2024-05-01 12:00:0%.0s%d,000 INFO step %d loss: 0.5")])
def test_a_time_without_a_zone_is_this_machines(tmp_path, shift, kind, line):
    text = "".join((line % ((step, step) if kind == "jsonl" else (step, step, step))) + "\n"
                   for step in range(8))
    assert times(tmp_path / "a.log", kind, text) == [NOON - shift + step for step in range(8)]


def test_a_time_with_a_zone_is_what_it_says(tmp_path, shift):
    text = "".join(f'{{"step": {step}, "time": "2024-05-01T12:00:0{step}+02:00", "loss": 1}}\n'
                   for step in range(8))
    assert times(tmp_path / "a.jsonl", "jsonl", text) == [NOON - 7200 + step for step in range(8)]


def test_over_the_change_to_summer_time_each_row_has_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    rows = [f'{{"step": {hour}, "time": "2024-03-31 {hour:02}:30:00", "loss": 1}}\n' for hour in (0, 1, 3, 4)]
    told = times(tmp_path / "a.jsonl", "jsonl", "".join(rows))
    monkeypatch.undo()
    time.tzset()
    assert [later - earlier for earlier, later in zip(told, told[1:])] == [3600, 3600, 3600]


def test_rows_before_the_first_time_are_as_old_as_that_one(tmp_path):
    text = '{"step": 0, "loss": 1}\n{"step": 1, "loss": 1}\n' + "".join(
        f'{{"step": {step}, "loss": 1, "time": {NOON + step}}}\n' for step in range(2, 5))
    assert times(tmp_path / "a.jsonl", "jsonl", text) == [NOON + 2, NOON + 2, NOON + 2, NOON + 3, NOON + 4]


def test_without_times_rows_are_as_old_as_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("")
    text = "".join(f'{{"step": {step}, "loss": 1}}\n' for step in range(3))
    path.write_text(text)
    os.utime(path, (NOON, NOON))
    file = File(str(path), make=reader_of("jsonl"))
    file.look()
    while file.step():
        pass
    assert list(file.table.where["loss"].ts) == [NOON] * 3
