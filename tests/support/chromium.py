"""A real Chromium on the real viewer, for the tests of the pages: pytest_plugins = ["chromium"].

Uncaught errors and console.error on a page fail its test, and so does a request to anywhere but the viewer.
"""

import contextlib
import shutil
import threading
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from runicorn.connections.registry import Registry
from runicorn.news import Bell
from runicorn.viewer import app

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# The same engine without the windows of a desktop, where it is: half the processor time of a page. The
# guide's walk uses the whole browser.
SHELL = shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
QUIET = ("Failed to load resource",)        # the browser's own remark on an answer that is no 200; the pages
                                            # say the rest
PATIENCE = 60000                            # ms; nothing takes a tenth of it, but a busy machine must fail no
                                            # test

expect.set_options(timeout=PATIENCE)


_running = contextlib.ExitStack()
_chromium = []


@pytest.fixture
def browser():
    """One Chromium for all tests of this process that follow each other: to start it costs as much as a
    test."""
    if not _chromium or not _chromium[0].is_connected():
        pytest_sessionfinish()
        playwright = _running.enter_context(sync_playwright())
        _chromium.append(playwright.chromium.launch(executable_path=SHELL, args=CHROMIUM))
        _running.callback(_chromium[0].close)
    return _chromium[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """End it before a test of another kind: Playwright's event loop counts as running as long as it is
    there."""
    if "browser" not in item.fixturenames:
        pytest_sessionfinish()


def pytest_sessionfinish():
    """End the browser, where one runs."""
    _chromium.clear()
    _running.close()


@pytest.fixture
def serve(home):
    """serve(offline=False, port=0, bell=…) starts a viewer on `home`: its Server, with .connections and
    .end.close() added."""
    with contextlib.ExitStack() as stack:
        def start(**options):
            mirrors = Registry(home, bell := Bell(), offline=options.get("offline", False))
            server = app.start(home, [("local", home / "experiments")], mirrors, bell,
                               **{"port": 0, **options})
            threading.Thread(target=server.serve_forever, daemon=True).start()
            mirrors.start_all()
            server.connections, server.end = mirrors, stack.enter_context(contextlib.ExitStack())
            server.end.callback(mirrors.stop)
            server.end.callback(server.stop)
            return server
        yield start


@pytest.fixture
def open_page(browser):
    """open_page(url, width=1440, height=900, locale="en-US", theme="light", quiet=(), script="") -> Page
    whose errors fail the test.

    quiet: beginnings of console errors that are none here; script: runs before the page's own."""
    contexts, faults = [], []

    def opened(url, width=1440, height=900, locale="en-US", theme="light", quiet=(), script=""):
        context = browser.new_context(viewport={"width": width, "height": height}, locale=locale,
                                      color_scheme=theme, timezone_id="Asia/Shanghai")
        contexts.append(context)
        context.add_init_script(script)
        page, known = context.new_page(), (*QUIET, *quiet)
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: faults.append(f"uncaught: {error.stack or error}"))
        page.on("console", lambda said: said.type == "error" and not said.text.startswith(known)
                and faults.append(f"console: {said.text}"))
        page.on("dialog", lambda dialog: faults.append(f"a dialog opened: {dialog.message}"))
        origin = urlsplit(url).netloc
        page.on("request", lambda request: urlsplit(request.url).netloc not in (origin, "")
                and faults.append(f"asked for {request.url}"))
        page.goto(url)
        return page
    yield opened
    for context in contexts:
        context.close()
    assert not faults, "\n".join(faults)
