"""What the pages do while much stands behind them, counted in a real browser: elements, changes of the
document, requests, bytes."""

import re
import time

import pytest
from playwright.sync_api import expect
from small_runs import beat, event, write_run

pytest_plugins = ["chromium"]

CHANGES = """(selector) => {
    window.changes = 0;
    new MutationObserver((list) => { window.changes += list.length; })
        .observe(document.querySelector(selector),
                 {childList: true, subtree: true, attributes: true, characterData: true});
}"""


def live_run(root, project="live", name="live"):
    folder = write_run(root, project, name, "20260101_180000_abc123", "running", rows=1, started=time.time())
    beat(root, folder, folder.name)
    return folder


def answers(page, path):
    """Return a list that gets each answer (Response) whose address holds `path` from now on."""
    told = []
    page.on("response", lambda answer: path in answer.url and told.append(answer))
    return told


@pytest.mark.long
def test_a_run_that_grows_sends_no_tree_and_draws_none(home, serve, open_page):
    for number in range(200):
        write_run(home / "experiments", f"project{number:03}", "base", f"20250123_{number:06}_abc123", rows=1)
    folder = live_run(home / "experiments")
    page = open_page(serve().url)
    side = page.locator(".side").first
    expect(side.locator(".node")).to_have_count(201)
    page.wait_for_timeout(1500)
    # above it stands how many are running, which may change
    page.evaluate(CHANGES, ".side .part + .part")
    told = answers(page, "/api/runs?")
    with open(folder / "events.jsonl", "a", encoding="utf-8") as file:
        for step in range(1, 500):
            file.write(event(time.time(), step, {"train/loss": 1 / step}))
            file.flush()
            page.wait_for_timeout(100)
            if len(told) >= 3:
                break
    assert len(told) >= 3
    rest = [one.json() for one in told]
    assert all("columns" not in one and list(one["tree"]) == ["states"]
               for one in rest), "the tree came although it had not changed"
    assert page.evaluate("window.changes") == 0
    write_run(home / "experiments", "zebra", "base", "20260102_000000_abc123", rows=1)
    expect(side.locator(".node")).to_have_count(202)
    side.get_by_role("link", name="zebra").click()
    expect(page.locator("tr[data-key]")).to_have_count(1)


def test_a_long_list_that_is_scrolled_keeps_a_bounded_number_of_rows_and_comes_back(home, serve, open_page):
    server = serve()
    rows = [{"key": f"local:p/n/{n}", "id": f"{n}", "name": f"n{n}", "project": "p", "connection": "local",
             "connection_name": "local", "tags": [], "state": "finished", "reason": {"code": "finished"},
             "started": 1.7e9, "duration": 1, "step": n}
            for n in range(20_000)]
    said = {"news": "x.1", "loading": False, "total": 20_000, "matched": 20_000, "running": 0, "means": {},
            "unread": 0, "passed": {}, "beside": "1",
            "columns": {"config": [], "summary": [], "metrics": [], "more": {}},
            "tree": {"projects": [], "connections": [], "tags": [], "more": {}, "states": {}}}

    def answer(route):
        query = dict(part.split("=", 1) for part in route.request.url.split("?", 1)[1].split("&"))
        offset, limit = int(query["offset"]), int(query["limit"])
        route.fulfill(json={**said, "offset": offset, "runs": rows[offset:offset + limit]})
    page = open_page(f"{server.url}/settings")
    page.route("**/api/runs?*", answer)
    page.get_by_role("link", name="Runs", exact=True).click()
    first = page.locator('tr[data-key="local:p/n/0"]')
    expect(first).to_be_visible()
    for top in range(0, 500_000, 10_000):
        page.locator(".scroll.rows").evaluate("(node, top) => node.scrollTo(0, top)", top)
        page.wait_for_timeout(30)
    expect(page.locator(f'tr[data-key="local:p/n/{490_000 // 26 + 5}"]')).to_be_visible()
    assert page.locator("tr[data-key]").count() < 100
    page.locator(".scroll.rows").evaluate("node => node.scrollTo(0, 0)")
    expect(first).to_be_visible()
    expect(page.locator("tr[data-key]").first).to_have_attribute("aria-rowindex", "2")
    # A row that stands for another line while somebody scrolls goes to its place in the document when that
    # rests.
    page.wait_for_function(
        """() => [...document.querySelectorAll('tr[data-key]')]
            .map((row) => Number(row.dataset.key.split('/').at(-1)))
        .every((number, at, all) => !at || all[at - 1] < number)""")


def wide_run(root, names, rows=4):
    folder = write_run(root, "vision", "wide", "20250123_180000_abc123", rows=0, started=1.7e9)
    (folder / "events.jsonl").write_text(
        "".join(event(1.7e9 + step, step, {name: step + at for at, name in enumerate(names)})
                for step in range(rows)))
    return "local:vision/wide/20250123_180000_abc123"


def the_chart(page, name):
    return page.locator(f'figure[data-chart="{name}"]')


def scroll(page, top):
    page.locator(".chartscroll").evaluate(
        "(node, top) => node.scrollTo(0, top < 0 ? node.scrollHeight : top)", top)


PLACES = """() => {
    const box = document.querySelector('.chartscroll').getBoundingClientRect();
    return [...document.querySelectorAll('figure.chart')]
        .map((one) => [one.dataset.chart, one.getBoundingClientRect()])
        .filter(([, at]) => at.bottom > box.top && at.top < box.bottom)
        .map(([name, at]) => [name, Math.round(at.left), Math.round(at.top)]);
}"""


@pytest.mark.long
def test_of_many_charts_those_near_the_view_are_in_the_document_each_at_its_place(home, serve, open_page):
    key = wide_run(home / "experiments", [f"layer{n:04}/norm{n:04}" for n in range(1500)])
    page = open_page(f"{serve().url}/runs/{key}")
    expect(the_chart(page, "norm0000").locator("canvas")).to_be_visible()
    pitch = the_chart(page, "norm0000").evaluate("node => node.getBoundingClientRect().height")
    assert page.locator("figure.chart").count() <= 300
    tall = page.locator(".chartscroll").evaluate("node => node.scrollHeight")
    assert abs(tall - 500 * pitch) < 2 * pitch
    for row in (100, 250, 499, 30, 0):
        scroll(page, row * pitch)
        first = min(3 * row, 1500 - 6)
        expect(the_chart(page, f"norm{first:04}").locator("canvas")).to_be_visible()
        seen = page.evaluate(PLACES)
        names = [name for name, _, _ in sorted(seen, key=lambda one: (one[2], one[1]))]
        assert names == [f"norm{n:04}" for n in range(int(names[0][4:]), int(names[0][4:]) + len(names))]
        assert len(names) >= 6
        # three columns, from the first on
        assert [left for _, left, _ in seen[:3]] == sorted({left for _, left, _ in seen})
    assert page.locator("figure.chart").count() <= 302 and page.locator("figure.chart canvas").count() <= 24
    assert page.evaluate("document.querySelectorAll('*').length") < 3000


@pytest.mark.long
def test_a_chart_far_down_is_full_found_by_the_filter_and_put_first(home, serve, open_page):
    key = wide_run(home / "experiments", [f"layer{n:04}/norm{n:04}" for n in range(1200)])
    page = open_page(f"{serve().url}/runs/{key}")
    expect(the_chart(page, "norm0000").locator("canvas")).to_be_visible()
    scroll(page, -1)
    last = the_chart(page, "norm1199")
    expect(last.locator("canvas")).to_be_visible()
    last.hover()
    page.keyboard.press("f")
    expect(last).to_have_class("chart full")
    page.keyboard.press("Escape")
    expect(last.locator("canvas")).to_be_visible()
    last.get_by_role("button", name="Chart menu").click()
    page.get_by_role("menuitem", name="Pin").click()
    scroll(page, 0)
    expect(page.locator("figure.chart").first).to_have_attribute("data-chart", "norm1199")
    page.locator(".charttools input").first.fill("norm07")
    expect(page.locator("figure.chart")).to_have_count(100)
    page.locator(".charttools input").first.fill("")
    expect(page.locator("figure.chart").first).to_have_attribute("data-chart", "norm1199")


@pytest.mark.long
def test_the_end_of_the_charts_brings_the_metrics_that_the_answer_left_out(home, serve, open_page):
    key = wide_run(home / "experiments", [f"layer{n:04}/norm{n:04}" for n in range(2600)], rows=2)
    page = open_page(f"{serve().url}/runs/{key}")
    expect(page.locator(".charttools")).to_contain_text("2,000 of 2,600")
    expect(the_chart(page, "norm0000").locator("canvas")).to_be_visible()
    for _ in range(100):
        scroll(page, -1)
        page.wait_for_timeout(100)
        if the_chart(page, "norm2599").count():
            break
    scroll(page, -1)
    expect(the_chart(page, "norm2599").locator("canvas")).to_be_visible()
    expect(page.locator(".charttools")).not_to_contain_text("of 2,600")


@pytest.mark.long
def test_a_chart_of_very_many_curves_draws_some_and_says_so(home, serve, open_page):
    key = wide_run(home / "experiments", [f"layer{n:04}/norm" for n in range(400)])
    page = open_page(f"{serve().url}/runs/{key}")
    figure = the_chart(page, "norm")
    expect(figure.locator("h2")).to_contain_text("100 of 400")
    expect(figure.locator("canvas")).to_be_visible()
    asked = """() => performance.getEntriesByType("resource").filter(({name}) => name.includes("/api/series"))
        .reduce((sum, {name}) => sum + name.split("metric=").length - 1, 0)"""
    page.wait_for_function(f"() => ({asked})() >= 100")
    assert page.evaluate(asked) <= 200


@pytest.fixture
def many_files(home):
    folder = live_run(home / "experiments", "vision", "files")
    (folder / "checkpoints").mkdir()
    for number in range(2000):
        (folder / f"checkpoints/model{number:05}.pt").write_bytes(b"x")
    for number in range(350):
        (folder / f"sample{number:05}.png").write_bytes(b"\x89PNG")
    return folder


def grow(folder, page, seconds):
    with open(folder / "events.jsonl", "a", encoding="utf-8") as file:
        for step in range(1, int(10 * seconds)):
            file.write(event(time.time(), step, {"train/loss": 1 / step}))
            file.flush()
            page.wait_for_timeout(100)


@pytest.mark.long
def test_of_many_files_those_in_view_are_asked_for_and_only_what_changed_is_drawn(
        many_files, serve, open_page):
    page = open_page(f"{serve().url}/runs/local:vision/files/{many_files.name}?tab=files")
    table = page.locator(".files-table")
    expect(table.get_by_text("model00000.pt")).to_be_visible()
    expect(page.locator(".factsbody h2").first).to_contain_text("2,354")        # with the run's own four
    expect(page.locator(".pictures img")).to_have_count(300)
    page.locator(".pictures").evaluate("node => node.scrollIntoView()")
    expect(table.get_by_text("sample00340.png")).to_have_count(1)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".pictures img")).to_have_count(350)
    page.locator(".factspart").evaluate("node => node.scrollTo(0, 0)")
    expect(table.get_by_text("model00000.pt")).to_be_visible()
    page.wait_for_timeout(500)
    told = answers(page, "/api/files")
    page.evaluate(CHANGES, ".files-table")
    (many_files / "checkpoints/model00003.pt").write_bytes(b"x" * 2048)
    grow(many_files, page, 10)
    expect(table.locator("tr", has_text="model00003.pt")).to_contain_text("2.0")
    assert 1 <= len(told) <= 5, "so many looks in ten seconds"
    assert all(len(one.json()["files"]) == 300 for one in told)
    # one line of 2,354, and that of the events
    assert page.evaluate("window.changes") <= 8 * len(told)
    assert page.evaluate("document.querySelectorAll('.files-table *').length") < 6000


@pytest.mark.long
def test_a_file_far_down_is_reached_by_scrolling_at_its_place(many_files, serve, open_page):
    page = open_page(f"{serve().url}/runs/local:vision/files/{many_files.name}?tab=files")
    rows = page.locator(".files-table tbody tr:not(.gap)")
    expect(rows).to_have_count(300)
    pitch = rows.first.evaluate("node => node.getBoundingClientRect().height")
    expect(page.locator(".files-table")).to_have_class("files-table fixed")
    tall = page.locator(".files-table").evaluate("node => node.getBoundingClientRect().height")
    assert abs(tall - 2355 * pitch) < 60
    for number in (1500, 1999, 700, 0):
        page.locator(".factspart").evaluate("(node, top) => node.scrollTo(0, top)", (number - 2) * pitch)
        expect(page.locator(".files-table").get_by_text(f"model{number:05}.pt")).to_be_in_viewport()
        expect(rows).to_have_count(300)


@pytest.mark.long
def test_compared_runs_are_drawn_while_others_are_on_their_way_and_asked_for_once(home, serve, open_page):
    keys = []
    for number in range(12):
        run_id = f"20250123_{number:06}_abc123"
        write_run(home / "experiments", "vision", f"run{number:02}", run_id, rows=20, started=1.7e9 + number)
        keys.append(f"local:vision/run{number:02}/{run_id}")
    server = serve()
    page = open_page(f"{server.url}/settings")
    held = []
    page.route(re.compile("/api/details.*run11"), lambda route: held.append(route))
    asked = answers(page, "/api/series")
    go = "address => { history.pushState({}, '', address); dispatchEvent(new Event('runicorn:go')); }"
    page.evaluate(go, f"/compare?runs={','.join(keys)}")
    plot = page.locator('figure[data-chart="train/loss"] .plot')
    # while one of the twelve has not come
    expect(plot).to_have_attribute("aria-label", re.compile(r"run00.*run01"))
    expect(page.locator(".ct")).to_have_count(0)
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator(".ct thead th")).to_have_count(13)
    expect(plot).to_have_attribute("aria-label", re.compile(r"run00.*run11"))
    curves = [series["run"] for one in asked for series in one.json()["series"]]
    assert sorted(curves) == sorted(keys)
