"""Heads of charts and the machine's figures in a real browser: no number is cut, what has no room is counted,
eight GPUs are one mean."""

import json
import time

import pytest
from playwright.sync_api import expect
from small_runs import event, write_run

pytest_plugins = ["chromium"]

KEY = "local:vision/vit/20250123_180000_abc123"
GB = 1e9
CUT = """() => [...document.querySelectorAll('.chart .lgd b')].filter((value) => {
    const [own, box] = [value.getBoundingClientRect(), value.closest('.lgd').getBoundingClientRect()];
    return own.right > box.right + 0.5
        || value.scrollWidth > value.clientWidth + 1 && getComputedStyle(value).display !== 'inline';
}).map((value) => value.textContent)"""


@pytest.fixture
def wide(home):
    """A run whose values are long, with eight GPUs."""
    start = time.time() - 3000
    folder = write_run(home / "experiments", "vision", "vit", KEY.rsplit("/", 1)[1], rows=0, started=start,
                       config={"lr": 3e-4})
    (folder / "summary.json").write_text(json.dumps({"best": 1}))
    row = {"train/loss": 6.401e-4, "val/loss": 1.278e-6, "test/loss": 1.2781e-6,
           "held_out_validation_set/loss": 4e-4, "lr": 3e-4}
    rows = ({**{name: value * (1 + i / 1e5) for name, value in row.items()}, "count": 1234567.01 + i * 1e-5}
            for i in range(3000))
    (folder / "events.jsonl").write_text(
        "".join(event(start + i, i, values) for i, values in enumerate(rows)))
    gpus = [{"i": i, "name": "H100", "util": 90 + i, "mem": [(60 + i) * GB, 80 * GB], "temp": 60 + i,
             "power": 600 + i} for i in range(8)]
    samples = ({"ts": start + 10 * i, "cpu": 45, "mem": [12 * GB, 64 * GB], "gpu": gpus} for i in range(200))
    (folder / "system.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return folder


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("width", [1440, 1000, 900])
def test_no_number_of_a_legend_is_cut_with_the_pointer_on_the_chart_or_without(serve, open_page, wide, width):
    page = open_page(f"{serve().url}/runs/{KEY}", width=width)
    loss = page.locator('figure[data-chart="loss"]')
    expect(loss.locator("canvas")).to_be_visible()
    expect(loss.locator(".lgd b").first).to_be_visible()
    assert page.evaluate(CUT) == []
    shown = loss.locator(".lgd b").all_inner_texts()
    assert len(shown) >= 1 and all("e−" in value for value in shown)
    rest = loss.locator(".others")
    expect(rest).to_have_count(0 if len(shown) == 4 else 1)
    if len(shown) < 4:
        expect(rest).to_have_text(f"+{4 - len(shown)}")
        assert len(rest.get_attribute("title").splitlines()) == 4 - len(shown)
    loss.locator(".u-over").hover()
    assert page.evaluate(CUT) == []
    assert loss.locator(".lgd b").all_inner_texts() == shown
    buttons = loss.locator(".act").bounding_box()
    values = loss.locator(".lgd").bounding_box()
    assert values["x"] + values["width"] <= buttons["x"] + 1


@pytest.mark.long
def test_the_crosshairs_step_is_whole_at_both_edges(serve, open_page, wide):
    page = open_page(f"{serve().url}/runs/{KEY}")
    figure = page.locator('figure[data-chart="count"]')
    plot = figure.locator(".u-over")
    badge = figure.locator(".xlab")
    expect(figure.locator("canvas")).to_be_visible()
    for share in (0.001, 0.999):
        for _ in range(100):            # the page may still be finding its places
            box, outer = plot.bounding_box(), figure.locator(".plot").bounding_box()
            page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
            page.mouse.move(box["x"] + box["width"] * share, box["y"] + 40)
            if badge.is_visible() and plot.bounding_box() == box:
                break
            page.wait_for_timeout(100)
        place = badge.bounding_box()
        assert outer["x"] - 0.5 <= place["x"], share
        assert place["x"] + place["width"] <= outer["x"] + outer["width"] + 0.5, share


@pytest.mark.long
def test_the_legend_tells_values_apart_that_differ_by_little(serve, open_page, wide):
    page = open_page(f"{serve().url}/runs/{KEY}")
    expect(page.locator('figure[data-chart="count"] .lgd b')).to_have_text("1,234,567.03999")


@pytest.mark.few(1)
@pytest.mark.parametrize("locale, words", [("en-US", "8 GPUs: use"), ("zh-CN", "8 块 GPU 使用")])
def test_eight_gpus_are_their_mean_and_a_fold_and_summary_and_config_stay_in_view(
        serve, open_page, wide, locale, words):
    page = open_page(f"{serve().url}/runs/{KEY}", locale=locale)
    rail = page.locator(".rail")
    row = rail.locator(".sys section > div", has_text=words)
    expect(row.locator(".num")).to_have_text("94%")           # the mean of 90 to 97, rounded
    expect(row).to_have_attribute("title", "mean of all; single ones from 90 to 97" if locale == "en-US"
                                  else "全部的均值；单块从 90 到 97")
    expect(rail.get_by_text("GPU 7")).to_have_count(3)
    expect(rail.get_by_text("GPU 7").first).to_be_hidden()
    expect(rail.locator("h2", has_text="Summary" if locale == "en-US" else "汇总")).to_be_in_viewport()
    assert page.evaluate(
        "[...document.querySelectorAll('.rail .g')].every((label) => label.scrollWidth <= label.clientWidth)")
    rail.locator("summary").click()
    expect(rail.get_by_text("GPU 7").first).to_be_visible()


@pytest.mark.long
def test_a_chart_of_eight_gpus_says_how_many_it_does_not_name(serve, open_page, wide):
    page = open_page(f"{serve().url}/runs/{KEY}?tab=system")
    head = page.locator("figure.chart").first.locator(".lgd")
    expect(head.locator("b").first).to_be_visible()
    expect(head.locator(".others")).to_be_visible()
    assert head.locator("b").count() + int(head.locator(".others").inner_text().lstrip("+")) == 8
