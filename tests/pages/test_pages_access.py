"""Every page passes axe's rules without a serious violation; light in English or dark in Chinese, the two
busiest both ways."""

import time

import pytest
from axe import violations
from playwright.sync_api import expect
from small_runs import write_run

pytest_plugins = ["chromium"]

KEYS = ("local:vision/resnet50/20250123_180000_abc123", "local:vision/resnet18/20250122_180000_abc124")
PAGES = {
    "list": ("/?group=project&ticked=" + ",".join(KEYS), "tr.on"),
    "charts": (f"/runs/{KEYS[0]}", "figure.chart"),
    "logs": (f"/runs/{KEYS[0]}?tab=logs", ".logline"),
    "config": (f"/runs/{KEYS[0]}?tab=config", "main h1"),
    "files": (f"/runs/{KEYS[0]}?tab=files", "main h1"),
    "compare": ("/compare?runs=" + ",".join(KEYS), "figure.chart"),
    "sync": ("/settings?tab=sync", "#f-host"),
    "storage": ("/settings?tab=storage", "main table"),
    "appearance": ("/settings?tab=appearance", "main [role=radio]"),
    "keys": ("/settings?tab=keyboard", ".keys"),
    "about": ("/settings?tab=about", ".facts-list"),
    "nowhere": ("/runs/local:no/such/run", "main"),
}


@pytest.fixture
def root(home):
    now = time.time()
    for key, status, config in zip(KEYS, ("finished", "failed"),
                                   ({"lr": 0.001, "model": "resnet50"}, {"lr": 0.01, "model": "resnet18"})):
        _, _, path = key.partition(":")
        folder = write_run(home / "experiments", *path.split("/"), status, started=now - 900,
                           tags=["baseline"], config=config)
        (folder / "logs.txt").write_text(
            "[2025-01-23 18:30:45+0800] Epoch 0 [0/1563] Loss: 2.3025 Acc: 10.00%\n" * 30)


@pytest.mark.few("…dark…")
@pytest.mark.parametrize(("locale", "theme", "names"), [
    ("en-US", "light", ["list", "charts", "compare", "sync", "storage", "nowhere"]),
    ("zh-CN", "dark", ["list", "charts", "logs", "config", "files", "appearance", "keys", "about"])])
def test_no_page_has_a_serious_violation(serve, open_page, root, locale, theme, names):
    server = serve()
    found = {}
    page = open_page(server.url, locale=locale, theme=theme)
    for name in names:
        address, sign = PAGES[name]
        page.goto(server.url.rstrip("/") + address)
        expect(page.locator(sign).first).to_be_visible()
        found[name] = violations(page)
    assert not any(found.values()), "\n".join(f"{name}: {line}" for name, lines in found.items()
                                              for line in lines)


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize(("theme", "locale", "width"),
                         [("light", "en-US", 1440), ("dark", "zh-CN", 900), ("dark", "en-US", 360)])
def test_the_page_of_a_browser_without_the_token_looks_like_the_others(
        serve, open_page, root, theme, locale, width):
    server = serve()
    colours = """() => [document.body, document.querySelector("a")].map(node => {
        const look = getComputedStyle(node);
        const color = node === document.body ? "" : look.color;
        return [look.backgroundColor, color, look.fontFamily, look.fontSize];
    })"""
    page = open_page(server.url, theme=theme, locale=locale, width=width)
    expect(page.locator("a.brand")).to_be_visible()
    known = page.evaluate(colours)
    server.site.guard.peer_user = lambda *ends: None
    page = open_page(server.url, theme=theme, locale=locale, width=width)          # another browser
    expect(page.locator("h1")).to_have_text("This browser is not known to the viewer yet")
    expect(page.locator("[lang=zh-CN] h2")).to_have_text("查看器还不认识这个浏览器")
    assert page.evaluate(colours) == known
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    page.goto(server.site.address())
    expect(page.locator("tr[data-key]").first).to_be_visible()
