"""What the pages say of a mirrored run's copy: when it was what the server had, and which files changed
since."""

import os
import re
import time

import pytest
from pairs import OLD, Pair, grow, make_run, write
from playwright.sync_api import expect

from runicorn import manifest
from runicorn.mirror import walk

pytest_plugins = ["chromium"]

PATH = "vision/resnet50/runs/20250123_180000_abc123"
KEY = "gpu:vision/resnet50/20250123_180000_abc123"


@pytest.fixture
def pair(home, tmp_path):
    """The mirror of a connection "gpu" with one finished run, synchronised by this test."""
    root = tmp_path / "far"
    run = make_run(root)
    write(run / "notes.txt", b"kept by the user", mtime=OLD)
    write(run / "old.txt", b"will go", mtime=OLD)
    (home / "cache").mkdir(parents=True)
    one = Pair(root, home / "cache" / "gpu", name="gpu")
    one.now -= 240
    one.passes()
    yield one
    one.close()


@pytest.mark.few(1)
@pytest.mark.parametrize("locale, head, line, changed, gone", [
    ("en-US", r"^4 m", "verified: as the server had it 4 m", "changed on the server", "gone from the server"),
    ("zh-CN", r"^4", "已验证：与服务器 4", "服务器上已变化", "服务器上已不存在"),
])
def test_a_mirrored_run_says_when_it_was_verified(serve, open_page, pair, locale, head, line, changed, gone,
                                                  tmp_path):
    site = serve(offline=True)
    page = open_page(f"{site.url}/runs/{KEY}?tab=files", locale=locale)
    expect(page.locator("[data-fact=verified] dd")).to_have_text(re.compile(head))
    expect(page.locator(".verified")).to_contain_text(line)
    shot(page, f"verified-{locale}")
    grow(pair.root / PATH / "logs.txt")
    (pair.root / PATH / "old.txt").unlink()
    pair.options["small_only"] = False          # the log's new lines are known before they come
    copy = pair.mirror / PATH / "logs.txt"
    before = copy.read_bytes()
    pair.passes(100)
    copy.write_bytes(before)
    until = time.monotonic() + 60
    # a viewer that is offline looks every two seconds
    while not page.get_by_text(gone).count() and time.monotonic() < until:
        page.reload()
        page.locator(".files-table tr", has_text="old.txt").wait_for()
    row = page.locator(".files-table tr", has_text="logs.txt")
    expect(row).to_contain_text(re.compile(f"{changed}|not fetched|未下载"))
    expect(page.locator(".files-table tr", has_text="old.txt")).to_contain_text(gone)
    expect(page.locator(".files-table tr", has_text="events.jsonl")).not_to_contain_text(changed)
    expect(page.locator(".verified")).to_have_class(re.compile("warn"))
    shot(page, f"unverified-{locale}")


@pytest.mark.long
def test_a_large_log_that_does_not_rest_is_named_as_the_reason(serve, open_page, pair):
    index = pair.mirror / ".index/full.json"
    text = index.read_text().replace('"ended": true', '"ended": false').replace(
        '"status": "finished"', '"status": "running"')
    text, count = re.subn(r'("logs.txt": {"size": )\d+', rf"\g<1>{3 << 30}", text)
    assert count == 1
    index.write_text(text)
    page = open_page(f"{serve(offline=True).url}/runs/{KEY}?tab=files")
    expect(page.locator(".verified")).to_contain_text(
        "a log of more than 2 GiB that still grows is compared once it rests")


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("locale, head, line", [
    ("en-US", "25 more than are listed", "and 25 more"), ("zh-CN", "另有 25 个未列出", "另有 25 个")])
def test_a_run_of_more_files_than_are_listed_says_how_many(
        serve, open_page, pair, monkeypatch, locale, head, line):
    monkeypatch.setattr(manifest, "FILES", 50)
    monkeypatch.setattr(walk.manifest, "FILES", 50)
    for number in range(69):
        write(pair.root / PATH / f"plot{number:02}.png", b"png", mtime=OLD)
    copy = pair.mirror / PATH / "plot-of-old.png"       # came when it was listed there
    copy.write_bytes(b"png")
    pair.passes(700)
    pair.passes(31)
    site = serve(offline=True)
    page = open_page(f"{site.url}/runs/{KEY}?tab=files", locale=locale)
    listed = len(pair.sync._remote_root.index.entry(PATH)["files"])
    left = 69 + 7 - listed
    expect(page.locator("[data-fact=files] dd")).to_have_text(head.replace("25", str(left)))
    expect(page.locator(".factspart")).to_contain_text(line.replace("25", str(left)))
    # its head, and what is here only
    assert left > 15 and page.locator(".files-table tr").count() >= listed + 2
    row = page.locator(".files-table tr", has_text="plot-of-old.png")
    expect(row).not_to_contain_text(re.compile("gone from|已不存在"))
    expect(row).to_contain_text(re.compile("not among those listed|不在服务器列出"))


def shot(page, name):
    """Keep a picture where one is asked for."""
    if os.environ.get("SHOTS"):
        page.screenshot(path=f"{os.environ['SHOTS']}/{name}.png")


def test_an_open_page_follows_its_run_to_the_new_name_of_its_folder(serve, open_page, pair):
    site = serve(offline=True)
    page = open_page(f"{site.url}/runs/{KEY}?tab=files")
    expect(page.locator(".files-table tr", has_text="notes.txt")).to_be_visible()
    os.utime(pair.root, (OLD, OLD))
    pair.passes(31)
    os.rename(pair.root / "vision", pair.root / "renamed")
    pair.passes(31)
    page.wait_for_url(re.compile(r"/runs/gpu(:|%3A)renamed/resnet50/20250123_180000_abc123\?tab=files$"),
                      timeout=30_000)
    expect(page.locator(".files-table tr", has_text="notes.txt")).to_be_visible()
    page.goto(f"{site.url}/runs/{KEY}")
    expect(page.locator("h1")).to_have_text("resnet50")
