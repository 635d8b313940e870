"""The log in a real browser follows its end: through floods, tabs, searches, pauses and files that are cut or
replaced."""

import re
import threading
import time

import pytest
from playwright.sync_api import expect
from small_runs import beat, event, write_run

from runicorn import layout

pytest_plugins = ["chromium"]

RUN_ID = "20250123_180000_abc123"
KEY = f"local:vision/resnet50/{RUN_ID}"
START = 1737653445.0
STAMP = layout.stamp(START)

# The text of the first line in view.
FIRST = """() => {
    const top = document.querySelector('.logscroll').getBoundingClientRect().top;
    const shown = [...document.querySelectorAll('li.logline')]
        .find(one => one.getBoundingClientRect().bottom > top + 1);
    return shown.querySelector('.text').innerText;
}"""

@pytest.fixture
def live(home):
    """A live run with 400 lines of log; its folder."""
    root = home / "experiments"
    folder = write_run(root, "vision", "resnet50", RUN_ID, "running", rows=0, started=START)
    (folder / "events.jsonl").write_text(
        "".join(event(START + step, step, {"loss": 1 / (step + 1)}) for step in range(100)))
    beat(root, folder, RUN_ID)
    write(folder, "".join(f"{STAMP}line {i}\n" for i in range(400)), "w")
    return folder


def write(folder, text, mode="a"):
    with open(folder / "logs.txt", mode, encoding="utf-8", newline="") as file:
        file.write(text)


def opened(open_page, server, tab="?tab=logs", **options):
    page = open_page(f"{server.url}/runs/{KEY}{tab}", **options)
    expect(lines(page).last.locator(".text")).to_have_text("line 399")
    return page


def lines(page):
    return page.locator("[data-log] li.logline")


def scroll(page):
    return page.locator(".logscroll")


def follow(page):
    return page.get_by_role("button", name="Follow")


def shows_end(page, text):
    expect(lines(page).last.locator(".text")).to_have_text(text)
    expect(lines(page).last).to_be_in_viewport()
    expect(follow(page)).to_have_attribute("aria-pressed", "true")


@pytest.mark.long
def test_one_burst_of_any_size_ends_no_following(serve, open_page, live):
    page = opened(open_page, serve())
    for burst, count in enumerate((3000, 60_000, 1000)):
        write(live, "".join(f"{STAMP}burst {burst} {i}\n" for i in range(count)) + f"{STAMP}end of {burst}\n")
        shows_end(page, f"end of {burst}")
    write(live, f"{STAMP}{'x' * 200_000}\n")
    expect(lines(page).last.locator(".text")).to_contain_text("more characters")
    write(live, f"{STAMP}after a long line\n")
    shows_end(page, "after a long line")
    scroll(page).evaluate("node => { node.scrollTop = 0; }")
    expect(lines(page).first.locator(".text")).to_have_text("line 0")


@pytest.mark.long
def test_a_log_that_never_rests_is_followed_line_by_line_of_what_is_new(serve, open_page, live):
    page, stop, asked = opened(open_page, serve()), threading.Event(), []
    page.on("request", lambda request: "/api/logs?" in request.url and asked.append(request.url))

    def flood():
        count = 0
        while not stop.wait(0.05):              # about 2 MB/s
            write(live, "".join(f"{STAMP}flood {count} {i} {'x' * 60}\n" for i in range(1000)))
            count += 1
    thread = threading.Thread(target=flood)
    thread.start()
    try:
        heights = []
        for _ in range(20):
            time.sleep(0.5)
            heights.append(int(lines(page).last.locator(".text").inner_text().split()[1])
                           if lines(page).count() > 0 else -1)
            assert lines(page).count() <= 6000
        assert len(set(heights)) > 10, f"it stood still: {heights}"
        assert heights == sorted(heights), heights
        expect(follow(page)).to_have_attribute("aria-pressed", "true")
    finally:
        stop.set()
        thread.join()
    assert 0 < len(asked) < 120, "more than four times a second"
    write(live, f"{STAMP}the end\n")
    shows_end(page, "the end")


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("width", [1440, 900])
def test_the_tab_of_a_live_run_shows_the_end(serve, open_page, live, width):
    page = opened(open_page, serve(), "", width=width)
    page.locator(".tabs a", has_text="Logs").click()
    shows_end(page, "line 399")
    write(live, "".join(f"{STAMP}more {i}\n" for i in range(300)))
    shows_end(page, "more 299")
    page.locator(".tabs a", has_text="System").click()
    write(live, "".join(f"{STAMP}later {i}\n" for i in range(3000)))
    page.locator(".tabs a", has_text="Logs").click()
    shows_end(page, "later 2999")
    page.locator(".tabs a", has_text="Charts").click()
    shows_end(page, "later 2999")


def test_whoever_scrolled_up_stays_there_through_tabs_and_floods(serve, open_page, live):
    page = opened(open_page, serve())
    scroll(page).evaluate("node => { node.scrollTop = 1000; }")
    expect(follow(page)).to_have_attribute("aria-pressed", "false")
    first = page.evaluate(FIRST)
    page.locator(".tabs a", has_text="Charts").click()
    expect(page.locator(".chart").first).to_be_visible()
    page.locator(".tabs a", has_text="Logs").click()
    assert page.evaluate(FIRST) == first
    for burst in range(6):                      # more lines than the page holds, in pieces and at once
        write(live, "".join(f"{STAMP}burst {burst} {i}\n" for i in range(500 * (1 + 40 * (burst == 5)))))
        time.sleep(0.6)
        assert page.evaluate(FIRST) == first
    expect(follow(page)).to_have_text(re.compile(r"Follow\d"))
    follow(page).click()
    shows_end(page, "burst 5 20499")


@pytest.mark.long
def test_following_is_paused_by_its_button_and_gone_on_with(serve, open_page, live):
    page = opened(open_page, serve())
    follow(page).click()
    expect(follow(page)).to_have_attribute("aria-pressed", "false")
    first = page.evaluate(FIRST)
    write(live, "".join(f"{STAMP}later {i}\n" for i in range(30)))
    expect(follow(page)).to_contain_text("30")
    assert page.evaluate(FIRST) == first
    follow(page).click()
    shows_end(page, "later 29")


@pytest.mark.long
def test_a_search_while_it_follows_shows_the_hit_and_marks_what_comes(serve, open_page, live):
    page = opened(open_page, serve())
    page.locator(".logsearch input").fill("line 39")
    expect(page.locator(".logsearch")).to_contain_text("of 11")         # line 39, line 390 … 399
    follow(page).click()
    write(live, f"{STAMP}line 39 once more\n")
    expect(lines(page).last.locator("mark")).to_have_text("line 39")
    shows_end(page, "line 39 once more")
    page.keyboard.press("Enter")
    expect(page.locator("[data-log] li.on")).to_be_in_viewport()
    expect(follow(page)).to_have_attribute("aria-pressed", "false")
    write(live, "".join(f"{STAMP}later {i}\n" for i in range(5000)))
    time.sleep(1)
    expect(page.locator("[data-log] li.on")).to_be_in_viewport()


@pytest.mark.few(1)
@pytest.mark.parametrize("way", ["cut", "cut and longer", "replaced"])
@pytest.mark.parametrize("up", [False, True])
def test_a_log_that_is_cut_or_replaced_is_shown_as_it_is(serve, open_page, live, way, up):
    page = opened(open_page, serve())
    if up:
        scroll(page).evaluate("node => { node.scrollTop = 1000; }")
        expect(follow(page)).to_have_attribute("aria-pressed", "false")
    text = "".join(f"{STAMP}other {i}\n" for i in range(30 if way == "cut" else 900))
    if way == "replaced":
        (live / "new.txt").write_text(text)
        (live / "new.txt").replace(live / "logs.txt")
    else:
        write(live, text, "w")
    expect(lines(page).first.locator(".text")).to_have_text(re.compile(r"^other \d+$"))
    assert "line" not in "".join(lines(page).locator(".text").all_inner_texts())
    if not up:
        shows_end(page, f"other {29 if way == 'cut' else 899}")


@pytest.mark.long
def test_bars_that_move_for_long_stay_one_line(serve, open_page, live):
    page = opened(open_page, serve())
    for share in range(0, 100, 5):
        # in all 200 KB without a newline
        write(live, "".join(f"\r{share:3}%|{'#' * 40}| {i}" for i in range(200)))
        expect(lines(page).last.locator(".text")).to_contain_text(f"{share}%|")
    expect(lines(page)).to_have_count(401)
    write(live, "\r100% done\nnext\n")
    expect(lines(page)).to_have_count(402)
    expect(lines(page).nth(400).locator(".text")).to_have_text("100% done")
    shows_end(page, "next")


@pytest.mark.long
def test_news_of_a_run_that_the_address_calls_by_its_short_id_are_its_news(serve, open_page, live):
    server = serve()
    page = open_page(server.url)

    def slowly(route):
        page.wait_for_timeout(3000)             # meanwhile the page asks for news of the short id
        route.continue_()
    page.route(f"**/api/runs/{RUN_ID}", slowly, times=1)
    page.goto(f"{server.url}/runs/{RUN_ID}?tab=logs")
    expect(lines(page).last.locator(".text")).to_have_text("line 399")
    time.sleep(0.5)
    write(live, f"{STAMP}news\n")
    shows_end(page, "news")
