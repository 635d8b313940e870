"""The log of a run in a real browser on the real viewer: follow, the whole of a big file, search, colours,
the tie to the charts."""

import json
import re
import time

import pytest
from playwright.sync_api import expect
from small_runs import beat, event, write_run

from runicorn import layout

pytest_plugins = ["chromium"]

RUN_ID = "20250123_180000_abc123"
KEY = f"local:vision/resnet50/{RUN_ID}"
START = 1737653445.0
IN_VIEW = """list => {
    const box = document.querySelector('.logscroll').getBoundingClientRect();
    return list.filter(one => {
        const at = one.getBoundingClientRect();
        return at.bottom > box.top && at.top < box.bottom;
    }).map(one => one.innerText);
}"""


@pytest.fixture
def root(home):
    return home / "experiments"


@pytest.fixture
def live(root):
    """A live run of 100 steps a second apart; its folder."""
    folder = write_run(root, "vision", "resnet50", RUN_ID, "running", rows=0, started=START)
    (folder / "events.jsonl").write_text(
        "".join(event(START + step, step, {"loss": 1 / (step + 1)}) for step in range(100)))
    beat(root, folder, RUN_ID)
    return folder


def write_log(folder, lines, mode="w"):
    """lines: iterable of (ts or None, text); each gets its stamp and a newline."""
    with open(folder / "logs.txt", mode, encoding="utf-8", newline="") as file:
        file.write("".join((layout.stamp(ts) if ts is not None else "") + text + "\n" for ts, text in lines))


def guide_lines(count):
    return ((START + i, f"Epoch {i // 10} [{i % 10}/10] Loss: {1 / (i + 1):.4f} Acc: {i}.00%")
            for i in range(count))


def open_logs(open_page, server, **options):
    page = open_page(f"{server.url}/runs/{KEY}?tab=logs", **options)
    expect(page.locator("[data-log] li").first).to_be_attached()
    return page


def lines(page):
    return page.locator("[data-log] li.logline")


def test_shows_the_end_with_steps_and_the_readers_time_and_follows(serve, open_page, live):
    write_log(live, guide_lines(100))
    page = open_logs(open_page, serve())
    last = lines(page).last
    expect(last).to_be_in_viewport()
    expect(last.locator(".text")).to_have_text("Epoch 9 [9/10] Loss: 0.0100 Acc: 99.00%")
    expect(last.locator(".step")).to_have_text("99")
    expect(last.locator("time")).to_have_text(time.strftime("%H:%M:%S", time.gmtime(START + 99 + 8 * 3600)))
    write_log(live, [(START + 101, f"later {i}") for i in range(200)], mode="a")
    expect(lines(page).last.locator(".text")).to_have_text("later 199")
    expect(lines(page).last).to_be_in_viewport()


@pytest.mark.long
def test_stays_where_one_reads_and_counts_the_lines_below(serve, open_page, live):
    write_log(live, guide_lines(400))
    page = open_logs(open_page, serve())
    scroll = page.locator(".logscroll")
    expect(lines(page)).to_have_count(400)
    scroll.evaluate("node => { node.scrollTop = 1000; }")
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
    write_log(live, [(START + 500, f"later {i}") for i in range(30)], mode="a")
    expect(page.get_by_role("button", name="Follow")).to_contain_text("30")
    assert scroll.evaluate("node => node.scrollTop") == 1000
    page.get_by_role("button", name="Follow").click()
    expect(lines(page).last).to_be_in_viewport()
    expect(lines(page).last.locator(".text")).to_have_text("later 29")


@pytest.mark.long
def test_news_that_come_in_the_moment_somebody_scrolls_up_do_not_undo_it(serve, open_page, live):
    write_log(live, guide_lines(400))
    page = open_logs(open_page, serve())
    expect(lines(page)).to_have_count(400)
    page.evaluate("""() => {
        const json = Response.prototype.json;
        Response.prototype.json = async function () {
            const data = await json.call(this);
            // its event comes after
            if (/api.logs.*from=/.test(this.url)) document.querySelector('.logscroll').scrollTop = 1000;
            return data;
        };
    }""")
    write_log(live, [(START + 500, f"later {i}") for i in range(30)], mode="a")
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
    expect(lines(page)).to_have_count(430)
    assert page.locator(".logscroll").evaluate("node => node.scrollTop") == 1000


def test_a_moving_line_is_one_line_with_its_last_state(serve, open_page, live):
    (live / "logs.txt").write_bytes(
        layout.stamp(START).encode() + b"first\n" + layout.stamp(START).encode()
        + b" 10%|#    | 1/10\r 20%|##   | 2/10"
    )
    page = open_logs(open_page, serve())
    expect(lines(page)).to_have_count(2)
    expect(lines(page).last.locator(".text")).to_have_text(re.compile(r"20%\|##   \| 2/10"))
    with open(live / "logs.txt", "ab") as file:
        file.write(b"\r 90%|#### | 9/10")
    expect(lines(page).last.locator(".text")).to_have_text(re.compile(r"90%\|#### \| 9/10"))
    with open(live / "logs.txt", "ab") as file:
        file.write(b"\r100%|#####| 10/10\nnext\n")
    expect(lines(page)).to_have_count(3)
    expect(lines(page).nth(1).locator(".text")).to_have_text(re.compile(r"100%\|#####\| 10/10"))


@pytest.mark.long
def test_the_whole_of_a_big_log_is_reached_with_few_lines_in_the_document(serve, open_page, live):
    count = 200_000
    write_log(live, ((None, f"line {i:06} " + "x" * 40) for i in range(count)))
    page = open_logs(open_page, serve())
    expect(lines(page).last.locator(".text")).to_contain_text(f"line {count - 1:06}")
    scroll = page.locator(".logscroll")
    scroll.evaluate("node => { node.scrollTop = 0; }")
    expect(lines(page).first.locator(".text")).to_contain_text("line 000000")
    assert lines(page).count() <= 1600
    scroll.evaluate("node => { node.scrollTop = node.scrollHeight / 2; }")
    expect(page.locator(".log .hd .num").first).to_have_text(
        re.compile(r"^(line (9|10)\d,\d{3}|(4|5)\d\.\d%)"))
    middle = lines(page).evaluate_all(IN_VIEW)
    assert len(middle) > 20 and all(re.search(r"line (09|10)\d{4}", text) for text in middle)
    for _ in range(30):
        scroll.evaluate("node => node.scrollBy(0, -900)")
        expect(scroll).not_to_have_attribute("aria-busy", "true")
    numbers = [int(text)
               for text in lines(page).locator(".text").evaluate_all(
                   "list => list.map(one => one.innerText.slice(5, 11))")]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "lines are missing or twice"


def test_search_marks_counts_steps_through_and_takes_expressions(serve, open_page, live):
    write_log(live, guide_lines(3000))
    page = open_logs(open_page, serve())
    page.keyboard.press("/")
    page.keyboard.type("Epoch 7 [")
    expect(page.locator(".logsearch")).to_contain_text("10 found")
    page.keyboard.press("Enter")
    expect(page.locator(".logsearch")).to_contain_text("1 of 10")
    expect(page.locator("[data-log] li.on")).to_contain_text("Epoch 7 [0/10]")
    expect(page.locator("[data-log] li.on")).to_be_in_viewport()
    expect(page.locator("[data-log] li.on mark")).to_have_text("Epoch 7 [")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("[data-log] li.on")).to_contain_text("Epoch 7 [9/10]")
    page.get_by_role("button", name="Regular expression").click()
    page.get_by_placeholder("Search the log").fill(r"Acc: 2\d{3}\.00%$")
    expect(page.locator(".logsearch")).to_contain_text("1 of 1,000")
    page.get_by_placeholder("Search the log").fill("(")
    expect(page.get_by_placeholder("Search the log")).to_have_attribute("aria-invalid", "true")
    page.get_by_placeholder("Search the log").fill("nowhere at all")
    expect(page.locator(".logsearch")).to_contain_text("nothing found")


def test_colours_markup_and_long_lines_are_text(serve, open_page, live):
    write_log(
        live,
        [
            (START, "\x1b[32m✓ Checkpoint saved\x1b[0m: epoch 10"),
            (START + 1, "<img src=x onerror=alert(1)>"),
            (START + 2, "y" * 30_000),
            (START + 3, "\u202egnihton\x1b]0;title\x07"),
        ],
    )
    page = open_logs(open_page, serve())
    expect(lines(page).nth(0).locator(".a-green")).to_have_text("✓ Checkpoint saved")
    expect(lines(page).nth(1).locator(".text")).to_have_text("<img src=x onerror=alert(1)>")
    expect(lines(page).nth(2)).to_contain_text("26,000 more characters")
    expect(lines(page).nth(3).locator(".text")).to_have_text("\u202egnihton")
    page.get_by_role("button", name="Wrap").click()
    assert page.locator(".logscroll").evaluate("node => node.scrollWidth <= node.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.long
def test_a_line_marks_the_charts_and_a_chart_finds_the_line(serve, open_page, live):
    write_log(live, guide_lines(100))
    page = open_page(f"{serve().url}/runs/{KEY}")
    figure = page.locator('figure[data-chart="loss"]')
    expect(figure).to_have_attribute("data-last-step", "99")
    expect(lines(page)).to_have_count(100)
    lines(page).nth(95).click()
    expect(figure.locator(".xlab")).to_have_text("95")
    expect(figure.locator(".xline")).to_be_visible()
    box = figure.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50)
    step = figure.locator(".xlab").inner_text()
    page.mouse.click(box["x"] + box["width"] * 0.2, box["y"] + 50)
    expect(page.locator("[data-log] li.on .step")).to_have_text(step)
    expect(page.locator("[data-log] li.on")).to_be_in_viewport()


@pytest.mark.long
def test_several_attempts_are_one_log_and_can_be_read_apart(serve, open_page, live):
    write_log(live, guide_lines(3))
    (live / "logs.2.txt").write_text(layout.stamp(START + 50) + "second attempt\n")
    (live / "status.json").write_text(
        json.dumps(
            {"status": "running", "started_at": START,
             "attempts": [{"n": 1, "started_at": START}, {"n": 2, "started_at": START + 50}]}
        )
    )
    page = open_logs(open_page, serve())
    expect(lines(page)).to_have_count(4)
    page.get_by_role("combobox", name="Log file").select_option("logs.2.txt")
    expect(lines(page)).to_have_count(1)
    expect(lines(page).first).to_contain_text("second attempt")


@pytest.mark.long
def test_an_empty_log_says_so_and_fills_by_itself(serve, open_page, live):
    page = open_page(f"{serve().url}/runs/{KEY}?tab=logs")
    expect(page.locator("[data-log]")).to_contain_text("The log is empty")
    # the second look is asked for when the first, which found it empty still, was taken in
    for step in (100, 101):
        answered = page.expect_response(lambda answer: "/api/logs?" in answer.url)
        with answered, open(live / "events.jsonl", "a") as file:
            file.write(event(START + step, step, {"loss": 0.01}))
    expect(page.locator("[data-log]")).to_contain_text("The log is empty")
    write_log(live, [(START, "hello")])
    expect(lines(page).first.locator(".text")).to_have_text("hello")
    expect(page.locator("[data-log]")).not_to_contain_text("The log is empty")


@pytest.mark.long
def test_the_drawer_folds_and_its_height_is_kept(serve, open_page, live):
    write_log(live, guide_lines(100))
    server = serve()
    page = open_page(f"{server.url}/runs/{KEY}")
    log = page.locator("[data-log]")
    expect(lines(page).last).to_be_in_viewport()
    before = log.bounding_box()["height"]
    page.get_by_role("separator", name="Height of the log").focus()
    page.keyboard.press("ArrowUp")
    assert log.bounding_box()["height"] == before + 32
    page.reload()
    expect(lines(page).last).to_be_in_viewport()
    assert log.bounding_box()["height"] == before + 32
    page.get_by_role("button", name="Fold or unfold the log").click()
    assert log.bounding_box()["height"] < 40
