"""What the pages do while much stands behind them, counted in a real browser: elements, changes of the document, requests, bytes."""

import json
import time

from playwright.sync_api import expect
from small_runs import beat, event, write_run

pytest_plugins = ["chromium"]

CHANGES = """(selector) => {
    window.changes = 0;
    new MutationObserver((list) => { window.changes += list.length; })
        .observe(document.querySelector(selector), {childList: true, subtree: true, attributes: true, characterData: true});
}"""


def live_run(root, project="live", name="live"):
    folder = write_run(root, project, name, "20260101_180000_abc123", "running", rows=1, started=time.time())
    beat(root, folder, folder.name)
    return folder


def answers(page, path):
    """Return a list that gets (address, body) of each answer whose address holds `path` from now on."""
    told = []
    page.on("response", lambda answer: path in answer.url and told.append((answer.url, answer.text())))
    return told


def test_a_run_that_grows_sends_no_tree_and_draws_none(home, serve, open_page):
    for number in range(200):
        write_run(home / "experiments", f"project{number:03}", "base", f"20250123_{number:06}_abc123", rows=1)
    folder = live_run(home / "experiments")
    page = open_page(serve().url)
    side = page.locator(".side").first
    expect(side.locator(".node")).to_have_count(201)
    page.wait_for_timeout(1500)
    page.evaluate(CHANGES, ".side .part + .part")       # above it stands how many are running, which may change
    told = answers(page, "/api/runs?")
    with open(folder / "events.jsonl", "a", encoding="utf-8") as file:
        for step in range(1, 500):
            file.write(event(time.time(), step, {"train/loss": 1 / step}))
            file.flush()
            page.wait_for_timeout(100)
            if len(told) >= 3:
                break
    assert len(told) >= 3
    rest = [json.loads(body) for _, body in told]
    assert all("columns" not in one and list(one["tree"]) == ["states"] for one in rest), "the tree came although it had not changed"
    assert page.evaluate("window.changes") == 0
    write_run(home / "experiments", "zebra", "base", "20260102_000000_abc123", rows=1)
    expect(side.locator(".node")).to_have_count(202)
    side.get_by_role("link", name="zebra").click()
    expect(page.locator("tr[data-key]")).to_have_count(1)


def test_a_long_list_that_is_scrolled_keeps_a_bounded_number_of_rows_and_comes_back(home, serve, open_page):
    server = serve()
    rows = [{"key": f"local:p/n/{n}", "id": f"{n}", "name": f"n{n}", "project": "p", "connection": "local", "connection_name": "local",
             "tags": [], "state": "finished", "reason": {"code": "finished"}, "started": 1.7e9, "duration": 1, "step": n}
            for n in range(20_000)]
    said = {"news": "x.1", "loading": False, "total": 20_000, "matched": 20_000, "running": 0, "means": {}, "unread": 0, "passed": {},
            "beside": "1", "columns": {"config": [], "summary": [], "metrics": [], "more": {}},
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
    order = page.evaluate("[...document.querySelectorAll('tr[data-key]')].map((one) => Number(one.dataset.key.split('/').at(-1)))")
    expect(page.locator("tr[data-key]").first).to_have_attribute("aria-rowindex", "2")
    assert order == sorted(order)
