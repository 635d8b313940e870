"""The filter language: what each term means, and errors that say where."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runicorn.errors import FilterError
from runicorn.reader.filters import compile_terms, parse

RUN = {
    "": ("vision\nresnet50_baseline\n20250123_180000_abc123\nalice\nbaseline\nlr sweep\n学习率扫描",),
    "loss": (0.25,),
    "val/loss": (0.25,),
    "lr": (0.001,),
    "model": ("ResNet50",),
    "tag": ("baseline", "lr sweep"),
    "state": ("running",),
    "connection": ("gpu1", "GPU Server 1"),
    "user": ("alice",),
    "amp": (True,),
    "started": (time.mktime((2025, 1, 23, 18, 0, 0, 0, 0, -1)),),
    "duration": (5400.0,),
    "bad": ("NaN",),
    "epochs": (100,),
    "name": ("resnet50_baseline",),
    "project": ("vision",),
    "none": (None,),
    "my metric": (3,),
    "huge": ("Infinity",),
}


def fits(text, run=RUN):
    return compile_terms(parse(text), lambda field: lambda one: one.get(field, ()))(run)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resnet",
        "RESNET",
        "学习率",
        "resnet -vgg",
        "loss<0.3",
        "loss<=0.25",
        "loss=0.25",
        "loss>0.2 lr=0.001",
        "lr=1e-3",
        "lr>9e-4",
        "tag:baseline",
        "tag:BASELINE",
        'tag:"lr sweep"',
        "tag:base*",
        "-tag:vit",
        "!tag:vit",
        "state:running",
        "state:running,stalled",
        "connection:gpu1",
        'connection:"GPU Server 1"',
        "user:alice",
        "model:resnet",
        "model=resnet50",
        "model=res*50",
        "model!=vgg",
        "amp=true",
        "started>2025-01-01",
        "started<2025-02",
        'started>"2025-01-23 17:59"',
        "duration>1h",
        "duration<=90m",
        "name:baseline",
        "project:vis",
        '"resnet50_baseline"',
        '"my metric"=3',
        "none=null",
        "huge>1e300",
        "loss!=0.3",
        "epochs=100",
        "loss>-1",
        "resnet*abc123",
        "loss<0.3 tag:baseline lr=0.001 state:running connection:gpu1 user:alice resnet",
    ],
)
def test_fits(text):
    assert fits(text)


@pytest.mark.parametrize(
    "text",
    [
        "vgg",
        "-resnet",
        "loss<0.25",
        "loss>0.25",
        "tag:base",
        "state:finished",
        "-state:running",
        "connection:gpu2",
        "user:bob",
        "model=resnet",
        "amp=false",
        "started>2025-02-01",
        "duration>2h",
        "bad<1",
        "bad>1",
        "bad=1",
        "absent<1",
        "absent=1",
        "absent!=1",
        "amp>0",
        "lr=0.0010001",
        'tag:"lr"',
        "model!=resnet50",
    ],
)
def test_does_not_fit(text):
    assert not fits(text)


@pytest.mark.parametrize("text, found", [
    ("tag!=baseline", False), ('tag!="lr sweep"', False), ("tag!=vit", True), ("loss!=0.25", False),
    ("connection!=gpu1", False), ("loss!=0.3", True),
    ('connection!="GPU Server 1"', False), ("connection!=gpu2", True), ("group!=a", False),
    ("-tag!=baseline", True), ("-tag!=vit", False)])
def test_not_equal_means_that_none_of_several_values_is_it(text, found):
    assert fits(text) == found


def test_a_negated_term_takes_runs_that_lack_the_field():
    assert fits("-absent<1") and fits("-absent=1")


@pytest.mark.parametrize(
    "text, at, words",
    [
        ('tag:"baseline', 4, "never closed"),
        ("resnet loss<", 7, "no value"),
        ("loss<high", 0, "a number"),
        ("tag:", 0, "no value"),
        ("<0.3", 0, "no name"),
        ("-", 0, "no word"),
        ("state:runing", 0, "running"),
        ("started>yesterday", 0, "2025-01-31"),
        ("resnet duration>long", 7, "30m"),
        ("started>2025-13-01", 0, "a time"),
    ],
)
def test_errors_say_what_and_where(text, at, words):
    with pytest.raises(FilterError, match=words) as caught:
        parse(text)
    assert caught.value.at == at


def test_an_endless_filter_is_refused():
    with pytest.raises(FilterError, match="longer"):
        parse("x " * 5000)


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text):
    try:
        terms = parse(text)
    except FilterError as error:
        assert 0 <= error.at <= len(text)
    else:
        assert isinstance(compile_terms(terms, lambda field: lambda run: run.get(field, ()))(RUN), bool)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters='"\\'), min_size=1).filter(str.strip))
def test_a_quoted_word_is_taken_as_it_is(word):
    assert fits(f'note="{word}"', {"note": (word,)})
