"""From the page: a server of algorithms that paramiko does not know. The test names system ssh; chosen, it
passes and the runs come."""

import pytest
from forms import connection, fill_in
from pairs import make_run
from playwright.sync_api import expect
from servers import Server
from ssh_users import user  # noqa: F401 (fixture)

pytest_plugins = ["chromium"]
pytestmark = pytest.mark.chaos


@pytest.mark.few(1)
@pytest.mark.parametrize("locale, words, choice, passed",
                         [("en", "Set the connection to system ssh", "Use system ssh", "✓"),
                          ("zh-CN", "请将该连接改为系统 ssh", "改用系统 ssh", "✓ 连接成功")])
def test_tinysshd(tmp_path, home, user, serve, open_page, locale, words, choice, passed):
    make_run(tmp_path / "far")
    with Server("tinysshd", tmp_path / "server", tmp_path) as server:
        user.trusts(server.trusted_in(home))
        user.config(f"Host 127.0.0.1\n  IdentityFile {server.key}\n")
        page = open_page(f"{serve().url}/settings", locale=locale)
        fill_in(page, server, root=str(tmp_path / "far"))
        page.locator("#test-connection").click()
        expect(page.locator("li[data-line=banner]")).to_contain_text(words)
        page.get_by_role("button", name=choice).click()
        expect(page.locator(".verdict")).to_contain_text(passed, timeout=30_000)
        page.locator("#save-start").click()
        expect(connection(page)).to_be_visible()
        expect(page.locator("tr[data-name]")).to_contain_text("1", timeout=30_000)
        page.locator(".brand").click()
        expect(page.locator("tr[data-key]")).to_have_count(1, timeout=30_000)


def test_a_refused_connection_goes_on_by_system_ssh(tmp_path, home, user, serve, open_page):
    make_run(tmp_path / "far")
    with Server("tinysshd", tmp_path / "server", tmp_path) as server:
        user.trusts(server.trusted_in(home))
        user.config("")
        viewer = serve()
        viewer.connections.save(server.connection(name="tiny", remote_root=str(tmp_path / "far")), start=True)
        page = open_page(f"{viewer.url}/settings?tab=sync")
        page.locator(".told").get_by_role("button", name="Use system ssh").click()
        expect(page.locator("tr[data-name=tiny][data-state=live]")).to_contain_text("1", timeout=60_000)
        assert viewer.connections.row("tiny")["key"] == str(server.key), "the key file goes with it"
