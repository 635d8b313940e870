"""Logs by byte range from both ends, as a terminal would show them; search and times without reading all into
memory."""

import os
import re
import resource
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import searching

from runicorn import layout
from runicorn.errors import BusyError, UsageError
from runicorn.reader import expression
from runicorn.reader.log import BLOCK_BYTES, Log, seconds, shown


def log_of(folder, text, name="logs.txt"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Log(folder / name)


def stamped(ts, text):
    return layout.stamp(ts) + text


def texts(page):
    return [line["text"] for line in page["lines"]]


def hits(log, *args, **options):
    return [hit for hit in log.find(*args, **options) if "at" in hit]


def test_a_short_log(tmp_path):
    log = log_of(tmp_path,
                 stamped(1737628245, "Epoch 0 ✓\n") + "  traceback line\n" + stamped(1737628247, "done\n"))
    page = log.page()
    assert [(line["n"], line["ts"], line["text"]) for line in page["lines"]] == [
        (1, 1737628245, "Epoch 0 ✓"), (2, 1737628245, "  traceback line"), (3, 1737628247, "done")]
    assert page["start"] == 0 and page["end"] == page["size"] == log.size and not page["more_before"]
    assert not page["more_after"]
    raw = (tmp_path / "logs.txt").read_bytes()
    assert [raw[line["at"]:line["at"] + 1] for line in page["lines"]] == [b"[", b" ", b"["]
    assert log_of(tmp_path, "").page()["lines"] == []


def test_a_stamp_is_told_in_seconds():
    assert seconds("[2025-01-23 18:30:45+0800] ") == 1737628245 == seconds("[2025-01-23 05:00:45-0530] ")
    assert seconds("[2025-02-31 18:30:45+0800] ") is None and seconds("[18:30:45] ") is None


@pytest.mark.parametrize("raw, ts, text", [
    (b"plain", None, "plain"),
    (b"windows\r", None, "windows"),
    (b"[2025-01-23 18:30:45+0800] 10%\r[2025-01-23 18:30:46+0800] 20%", 1737628246, "20%"),
    (b"[2025-01-23 18:30:45+0800] 10%\r20%\r", 1737628245, "20%"),
    (b"10%\r\x1b[32m20%\x1b[0m", None, "\x1b[32m20%\x1b[0m"),
    (b"12:30:45 | as Runicorn 0.6 wrote it", None, "12:30:45 | as Runicorn 0.6 wrote it"),
    (b"\xff\xfe bytes", None, "\ufffd\ufffd bytes"),
    (b"", None, ""),
])
def test_a_line_is_what_a_terminal_would_show(raw, ts, text):
    assert shown(raw) == (ts, text)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=40),
                max_size=60),
       st.integers(1, 400), st.booleans())
def test_pages_from_either_end_give_every_line_once(tmp_path_factory, lines, limit, torn):
    text = "".join(line + "\n" for line in lines) + ("half a line" if torn else "")
    wanted = lines + (["half a line"] if torn else [])
    log = log_of(tmp_path_factory.mktemp("log"), text)
    down, page = [], log.page(0, limit_bytes=limit)
    down += page["lines"]
    while page["more_after"]:
        page = log.page(page["end"], limit_bytes=limit)
        down += page["lines"]
    assert [line["text"] for line in down] == wanted
    assert [line["n"] for line in down] == list(range(1, len(wanted) + 1))
    up, page = [], log.page(limit_bytes=limit)
    up = page["lines"] + up
    while page["more_before"]:
        page = log.page(before=page["start"], limit_bytes=limit)
        up = page["lines"] + up
    assert up == down


def test_following_a_log_shows_a_moving_line_again(tmp_path):
    log = log_of(tmp_path, "first\n 10%|#   |\r")
    page = log.page()
    assert texts(page) == ["first", " 10%|#   |"] and page["end"] == 6
    with open(tmp_path / "logs.txt", "ab") as file:
        file.write(b" 50%|##  |\r")
    again = log.page(page["end"])
    assert texts(again) == [" 50%|##  |"] and again["lines"][0]["at"] == page["lines"][1]["at"]
    assert again["end"] == 6
    with open(tmp_path / "logs.txt", "ab") as file:
        file.write(b"100%|####|\nnext\n")
    assert texts(log.page(again["end"])) == ["100%|####|", "next"]
    assert log.page(log.page()["end"])["lines"] == []


def test_offsets_inside_a_line_and_outside_the_log(tmp_path):
    log = log_of(tmp_path, "one\ntwo\nthree\n")
    assert texts(log.page(5)) == ["two", "three"] and texts(log.page(before=6)) == ["one"]
    assert texts(log.page(-5)) == texts(log.page(before=999)) == ["one", "two", "three"]
    assert texts(log.page(999)) == []


def test_attempts_read_as_one(tmp_path):
    (tmp_path / "logs.txt").write_bytes(b"one\nkilled he")
    (tmp_path / "logs.2.txt").write_bytes(b"")
    (tmp_path / "logs.3.txt").write_bytes(b"two\nthree\n")
    log = Log([tmp_path / "logs.txt", tmp_path / "logs.2.txt", tmp_path / "logs.3.txt"])
    assert texts(log.page()) == ["one", "killed he", "two", "three"]
    for line in log.page()["lines"]:
        assert texts(log.page(line["at"]))[0] == line["text"] == hits(log, line["text"])[0]["text"]
    assert log.read(2, 14) == b"e\nkilled he\ntw" and log.size == 24


def test_a_long_line_is_cut_and_a_page_stays_small(tmp_path):
    log = log_of(tmp_path, "before\n" + "x" * 300_000 + "\nafter\n")
    before, line, after = (log.page()["lines"] if len(log.page()["lines"]) == 3
                           else log.page(0)["lines"] + log.page()["lines"][-1:])
    assert (before["text"], after["text"]) == ("before", "after")
    assert len(line["text"]) + line["cut"] == 300_000 and len(line["text"]) == 20_000


def test_a_line_longer_than_any_reach_is_cut_and_passed(tmp_path):
    path, states = tmp_path / "logs.txt", b" 50%|#####     | step of many\r" * 350_000
    path.write_bytes(b"before\n" + states)
    log, starts = Log(path), set()
    for _ in range(3):
        page = log.page()
        assert texts(page) == [" 50%|#####     | step of many"]
        starts.add(page["lines"][0]["at"])
        with open(path, "ab") as file:
            file.write(states[:300])
    assert len(starts) == 1                                     # it grows in its place
    page = log.page(0)
    assert texts(page)[0] == "before"
    while page["more_after"]:
        after = log.page(page["end"])
        assert after["start"] >= page["end"] > page["start"]
        page = after
    while page["more_before"]:
        before = log.page(before=page["start"])
        assert before["start"] < page["start"]
        page = before
    assert texts(page)[0] == "before" and hits(log, "50%|")[0]["at"] == 7
    assert hits(log, "before", backwards=True)[0]["at"] == 0


def test_a_file_that_was_cut_or_replaced_is_counted_again(tmp_path):
    log = log_of(tmp_path, b"x\n" * BLOCK_BYTES)
    assert log.page()["lines"][-1]["n"] == BLOCK_BYTES and log.lines_known > 0
    # whoever opens it next need not count again
    assert Log(tmp_path / "logs.txt").lines_known == log.lines_known
    os.truncate(tmp_path / "logs.txt", 4)
    assert [line["n"] for line in log.page()["lines"]] == [1, 2]
    (tmp_path / "logs.txt").unlink()
    with pytest.raises(OSError):
        log.page()


# -- search --------------------------------------------------------------------------------------------------

def many(folder):
    lines = [stamped(1737628245 + k // 10, f"Epoch {k // 1000} [{k % 1000}/1000] Loss: {1 / (k + 1):.4f}")
             for k in range(30_000)]
    lines[777] = stamped(1737628322, "\x1b[31mNaN in Layer-7: 学习率 ÄNDERUNG\x1b[0m")
    lines[20_000] = "\r".join(f"{k}%|bar of needle" for k in range(100)) + "\r100%|done"
    lines[29_999] = "NaN at the end, unstamped"
    assert len("\n".join(lines)) > 4 * BLOCK_BYTES
    return log_of(folder, "\n".join(lines))


def test_plain_search(tmp_path):
    log = many(tmp_path)
    assert [hit["n"] for hit in hits(log, "nan")] == [778, 30_000]
    first = hits(log, "NaN in layer-7")[0]
    assert first["text"] == "\x1b[31mNaN in Layer-7: 学习率 ÄNDERUNG\x1b[0m" and first["ts"] == 1737628322
    assert texts(log.page(first["at"]))[0] == first["text"]
    assert all([hit["n"] for hit in hits(log, pattern)] == [778]
               for pattern in ("学习率", "änderung", "率 änd"))
    assert hits(log, "nan", ignore_case=False) == [] and len(hits(log, "NaN", ignore_case=False)) == 2
    # stamps and colours are not text
    assert hits(log, "2025-01-23") == [] and hits(log, "[31m") == []
    # nor is what a later state overwrote
    assert hits(log, "needle") == [] and len(hits(log, "100%|done")) == 1
    assert len(hits(log, "Epoch 7 ")) == 1000 and len(hits(log, "loss")) == 29_997
    assert [hit["n"] for hit in hits(log, "nan", start=first["at"] + 1)] == [778, 30_000]
    with pytest.raises(UsageError):
        next(log.find(""))


WORDS = st.text("aAzZéÉß学 .1%", min_size=1, max_size=4)


@given(st.lists(st.text("aAzZéÉß学 .1%", max_size=12), min_size=1, max_size=8), WORDS, st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_plain_search_finds_what_one_line_after_the_other_shows(
        tmp_path_factory, lines, pattern, ignore_case):
    log = log_of(tmp_path_factory.mktemp("log"), "\n".join(lines) + "\n")
    fold = str.lower if ignore_case else str
    assert [hit["n"] for hit in hits(log, pattern, ignore_case=ignore_case)] == [
        n for n, line in enumerate(lines, 1) if fold(pattern) in fold(line)]


@pytest.mark.parametrize("pattern, ignore_case",
                         [("Loss: 0.5", False), ("loss: 0.5", True), ("epoch 2", True), ("[x]", False)])
def test_a_plain_search_finds_words_that_colours_divide(tmp_path, pattern, ignore_case):
    log = log_of(tmp_path,
                 "nothing\n\x1b[31mLoss\x1b[0m: 0.5 [\x1b[1mx\x1b[0m]\nEpo\x1b[32mch\x1b[0m 2 [x] "
                 "lo\x1b[1mss: 0.5 Loss: 0.5\n")
    assert (hits(log, pattern, ignore_case=ignore_case)
            == hits(log, re.escape(pattern), regex=True, ignore_case=ignore_case) != [])


def test_backwards_search(tmp_path):
    log = many(tmp_path)
    assert [hit["text"][-8:] for hit in hits(log, "nan", backwards=True)] == ["nstamped", "RUNG\x1b[0m"]
    assert hits(log, "epoch 2 ", backwards=True) == hits(log, "epoch 2 ")[::-1]
    middle = hits(log, "epoch 2 ")[500]["at"]
    assert hits(log, "epoch 2 ", backwards=True, start=middle) == hits(log, "epoch 2 ")[499::-1]


@pytest.mark.few(6)
@pytest.mark.parametrize("pattern, count", [
    (r"^Epoch 3 \[99\d/", 10), (r"Loss: 0\.0001$", 20_000 - 6_666), (r"NaN.*(end|Layer)", 2), (r"\s\s", 0),
    (r"(?i)^nan", 2), (r"(?<!\[)31m", 0), (r"\ANaN", 2), (r"done\Z", 1), (r"^\d+%\|done$", 1),
    (r"1000\]\s*\S*\s*Epoch", 0), (r"学习.", 1), ("unstamped\\Z", 1)])
def test_search_by_expression(tmp_path, pattern, count):
    log = many(tmp_path)
    found = hits(log, pattern, regex=True, ignore_case=False)
    assert len(found) == count
    assert all(texts(log.page(hit["at"], limit_bytes=1))[0] == hit["text"] for hit in found[:3])


def test_a_match_that_would_run_over_the_end_of_a_line_hides_none(tmp_path):
    log = log_of(tmp_path, "a\nb c\nab c\n\n")
    assert [hit["text"] for hit in hits(log, r"a?\s*b\sc", regex=True)] == ["b c", "ab c"]
    assert [hit["text"] for hit in hits(log, r"a[^x]*c", regex=True)] == ["ab c"]
    assert [hit["n"] for hit in hits(log, r"^$", regex=True)] == [4]


def test_an_expression_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no regular expression"):
        next(log_of(tmp_path, "x\n").find("(", regex=True))


PATHOLOGICAL = r"(a+)+$"


def test_an_expression_that_takes_for_ever_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(expression, "BLOCK_SECONDS", 1)
    search = log_of(tmp_path, "a" * 100 + "b\n").find(PATHOLOGICAL, regex=True)
    assert next(search) == {"progress": 0, "size": 102}
    with pytest.raises(UsageError, match="takes too long"):
        list(search)
    assert not searching()


def test_a_search_that_is_left_ends_its_process(tmp_path):
    search = log_of(tmp_path, "a" * 100 + "b\n").find(PATHOLOGICAL, regex=True)
    next(search)
    assert len(searching()) == 1
    search.close()
    assert not searching()


def test_only_so_many_expressions_at_once(tmp_path):
    log = log_of(tmp_path, "x\n" * 10)
    searches = [log.find("x", regex=True) for _ in range(expression.MOST)]
    assert all(next(search)["n"] == 1 for search in searches)
    with pytest.raises(BusyError):
        next(log.find("x", regex=True))
    searches.pop().close()
    assert next(log.find("x", regex=True))["n"] == 1


def test_progress_is_told_and_a_search_can_be_left(tmp_path):
    log = log_of(tmp_path, b"nothing of interest\n" * 2_000_000)
    told = list(log.find("needle"))
    assert len(told) == 2 and told[0]["progress"] < told[1]["progress"] <= log.size == told[0]["size"]
    search = log.find("nothing")
    assert next(search)["n"] == 1
    search.close()


@pytest.mark.long
def test_memory_does_not_grow_with_the_log(tmp_path):
    path = tmp_path / "logs.txt"
    with open(path, "wb") as file:
        # a hole of 100 MB, which reads as one endless line of NULs
        file.seek(100 << 20)
        file.write(b"\n" + b"[2025-01-23 18:30:45+0800] line of text\n" * 300_000 + b"the end\n")
    log, before = Log(path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert texts(log.page())[-1] == "the end"
    assert [hit["text"] for hit in hits(log, "the end")] == ["the end"] == [
        hit["text"] for hit in hits(log, "^the end", regex=True)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


# -- time ----------------------------------------------------------------------------------------------------

def test_a_line_by_its_time(tmp_path):
    start = 1737628245
    lines = [stamped(start + k // 7 * 3, f"line {k}\n") + ("unstamped\n" if k % 5 == 0 else "")
             for k in range(20_000)]
    log = log_of(tmp_path, "".join(lines))
    for ts in (start - 100, start, start + 1, start + 2999.7, start + 5000, start + 20_000 // 7 * 3):
        wanted = next(line for line in lines if seconds(line[:27]) >= int(ts))
        assert texts(log.page(log.at_time(ts), limit_bytes=1))[0] == wanted[27:].split("\n")[0]
    assert log.at_time(time.time() + 1e6) == log.size
    plain = log_of(tmp_path, "no stamps\n" * 100_000)
    assert plain.at_time(5) == plain.size
