"""Runs that hold more than an answer takes, in a real browser: the pages say how much is left out, and it can
be had."""

import time

import pytest
from playwright.sync_api import expect
from small_runs import event, write_run

pytest_plugins = ["chromium"]

RUN = "20250123_180000_abc123"
KEY = f"local:vision/wide/{RUN}"


@pytest.fixture
def wide(home):
    folder = write_run(home / "experiments", "vision", "wide", RUN,
                       config={f"key{n:05}": n for n in range(40_000)})
    (folder / "events.jsonl").write_text("".join(
        event(1737655200.0 + step, step,
              {"val/loss": 1 / (step + 1), **{f"layer{n}/norm{n}": n + step for n in range(3000)}})
        for step in range(3)))
    (folder / "summary.json").write_text('{"val/loss": 0.25, '
                                         + ", ".join(f'"s{n}": {n}' for n in range(600)) + "}")
    return folder


@pytest.mark.long
def test_the_config_tab_says_what_is_left_out_and_finds_it(wide, serve, open_page):
    page = open_page(f"{serve().url}/runs/{KEY}?tab=config")
    rest = page.locator(".factspart section p", has_text="more")
    expect(rest).to_have_count(1)
    before = page.locator(".facts-table tr").count()
    rest.get_by_role("button", name="Show more").click()
    expect(rest).to_contain_text("37,000")
    page.get_by_placeholder("Keys, regex").fill("key39999")
    expect(page.locator(".facts-table tr th", has_text="key39999")).to_have_count(1)
    page.get_by_placeholder("Keys, regex").fill("")
    expect(page.locator(".facts-table tr")).to_have_count(before)


@pytest.mark.long
def test_the_charts_filter_finds_a_metric_that_the_answer_left_out(wide, serve, open_page):
    page = open_page(f"{serve().url}/runs/{KEY}?metrics=norm2999")
    expect(page.locator("figure")).to_have_count(1)
    expect(page.locator("figure")).to_contain_text("norm2999")
    expect(page.locator(".charttools")).to_contain_text("2,001 of 3,001")
    page.locator(".charttools input").first.fill("norm2998")
    expect(page.locator("figure")).to_contain_text("norm2998")


@pytest.mark.few("True")
@pytest.mark.parametrize("late", [False, True])
def test_the_chooser_of_columns_finds_a_name_that_the_list_left_out(wide, serve, open_page, late):
    page = open_page(f"{serve().url}/settings")
    if late:            # it is opened before the list has come
        page.route("**/api/runs?*", lambda route: (time.sleep(2), route.continue_()))
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("button", name="Columns").click()
    chooser = page.locator(".chooser")
    expect(chooser).to_contain_text("more: type a part of the name")
    chooser.get_by_role("searchbox").fill("s599")
    chooser.get_by_role("checkbox").first.check()
    expect(page.locator("[role=gridcell]", has_text="599").first).to_be_visible()


@pytest.mark.long
def test_the_sidebar_counts_the_projects_and_groups_it_leaves_out_and_the_filter_finds_them(
        home, serve, open_page):
    for number in range(520):
        write_run(home / "experiments", f"project{number:03}", "base", f"20250123_{number:06}_abc123", rows=0,
                  user=f"user{number:03}")
    page = open_page(serve().url)
    side = page.locator(".side").first
    rest = side.locator("[data-rest=project]")
    expect(rest).to_have_text("… 220 more")
    rest.click()
    box = page.get_by_role("searchbox", name="Filter")
    expect(box).to_be_focused()
    expect(box).to_have_value("project:")
    page.keyboard.type("project519")
    expect(page.locator("tr[data-key]")).to_have_count(1)
    page.goto(f"{page.url.split('?')[0]}?project=project519")
    # what is chosen stands there in any case
    expect(side.locator("a[aria-current=page]")).to_have_text("project519")
    page.goto(f"{page.url.split('?')[0]}?group=user")
    expect(page.locator("tr.grp").first).to_contain_text("user000")
    page.locator(".scroll.rows").evaluate("node => node.scrollTo(0, node.scrollHeight)")
    expect(page.locator("tr.grp").last).to_have_text("… 20 more groups20")
