"""The settings in a real browser against real SSH servers: the guide's section 2.2 step by step, prompts, a
lost server, offline."""

import json
import re
import subprocess

import pytest
from asking import AskingServer
from forms import NAME, connection, fill_in
from playwright.sync_api import expect
from ports import free_port
from small_runs import write_run
from waiting import until

pytest_plugins = ["chromium"]

SLOW = 30_000                   # ms, for a line that must time out or come back
AGO = re.compile(r"^\d+ (s|min) ago$")
ROOT = ".runicorn/experiments"
LABELS = ["连接名称", "服务器地址", "端口", "用户名", "密钥路径", "远程实验根目录", "同步间隔",
          "启用 Manifest-based sync（高性能）", "仅同步元数据和小文件", "同步大文件（模型检查点等）"]


@pytest.fixture
def far(tmp_path):
    """The server's root with two runs, in the folder where its SFTP sessions begin."""
    root = tmp_path / "far" / ROOT
    write_run(root, "vision", "resnet50", "20250123_180000_abc123")
    write_run(root, "vision", "resnet18", "20250122_180000_abc124")
    return root


def added(server, sshd, **more):
    server.connections.save(sshd.connection(name=NAME, remote_root=f"~/{ROOT}", **more))


def test_the_guide_from_the_gear_to_the_first_runs_in_chinese(sshd, far, serve, open_page):
    page = open_page(serve().url, locale="zh-CN")
    page.locator("#gear").click()
    expect(page.get_by_role("heading", name="远程同步")).to_be_visible()
    for label in LABELS:
        expect(page.get_by_label(label, exact=True)).to_be_visible()
    for choice in ("SSH 密钥（推荐）", "密码", "自动同步（推荐）", "最近 24 小时", "最近 7 天"):
        expect(page.get_by_role("radio", name=choice, exact=True)).to_be_visible()
    assert [page.locator(f"#f-{field}").is_checked() for field in ("manifest", "small_only", "large")] == [
        True, True, False]
    fill_in(page, sshd)
    said = []
    page.on("console", lambda message: message.type == "info" and said.append(message.text))
    page.get_by_role("button", name="测试连接").click()
    question = page.locator("[data-question]")
    expect(question).to_contain_text("ssh-ed25519")
    hash_of_key = re.search(r"SHA256:(\S+)", shown_fingerprint(sshd)).group(1)
    expect(question).to_contain_text(hash_of_key)
    assert question.locator(".pri").count() == 0
    question.get_by_role("button", name="信任并继续").click()
    expect(page.locator(".verdict")).to_contain_text("✓ 连接成功")
    expect(page.locator("li[data-line=runs]")).to_contain_text("中有 2 个实验")
    expect(page.locator("li[data-line=manifest]")).to_contain_text("在服务器上每 5 分钟运行一次")
    words = [re.sub(r"SSH-2.0-.*|Python [\d.]+|publickey|MB/s|ms|SHA256:\S+|ssh-ed25519|SFTP|python3|"
                    + re.escape(sshd.user), "", line)
             for line in page.locator(".doc .said").all_inner_texts()]
    english = [line for line in words if re.search(r"(?<![/\w.~`-])[a-z]{3,} [a-z]{2,}", line)]
    assert not english, english
    assert any("login" in line and "2 runs in" in line or "publickey (it takes" in line
               for line in said), "the console stays English"
    expect(page.locator(".plan")).to_contain_text("个文件")
    page.get_by_role("button", name="保存并启动同步").click()
    expect(connection(page)).to_contain_text("已连接")
    row = page.locator("tr[data-name]")
    expect(row).to_contain_text(NAME)
    expect(row.get_by_role("button", name="暂停同步")).to_be_visible()
    expect(row.get_by_role("button", name="立即同步")).to_be_visible()
    page.locator(".brand").click()
    expect(page.locator("tr[data-key]")).to_have_count(2)


def shown_fingerprint(sshd):
    """What the guide's reader sees on the server."""
    return subprocess.run(["ssh-keygen", "-lf", str(sshd.host_key)], capture_output=True, text=True,
                          check=True).stdout


@pytest.mark.long
def test_refusing_the_key_ends_the_test_and_nothing_is_kept(sshd, far, serve, open_page, home):
    server = serve()
    page = open_page(f"{server.url}/settings")
    fill_in(page, sshd)
    page.locator("#test-connection").click()
    stop = page.locator("[data-question]").get_by_role("button", name="Stop")
    stop.focus()
    with page.expect_response(lambda answer: "/api/connections/test/" in answer.url):
        server.connections.bell.ring(f"test:{next(iter(server.connections._trials))}")
    page.wait_for_timeout(100)
    # news leaves the question where it is, and the lines around it
    expect(stop).to_be_focused()
    expect(page.locator("li[data-line=banner]")).to_be_visible()
    stop.click()
    expect(page.locator("li[data-line=host_key]")).to_contain_text("not known")
    expect(page.locator(".verdict")).to_contain_text("Not connected")
    assert not (home / "known_hosts").exists()


def test_failures_are_told_in_chinese_with_what_to_do(sshd, far, serve, open_page, home, tmp_path):
    sshd.trusted_in(home)
    server = serve()
    page = open_page(f"{server.url}/settings", locale="zh-CN")
    fill_in(page, sshd, key=tmp_path / "absent")
    page.locator("#test-connection").click()
    expect(page.locator("li[data-line=login]")).to_contain_text(f"密钥文件 {tmp_path / 'absent'} 不存在")
    fill_in(page, sshd, port=free_port())
    page.locator("#test-connection").click()
    expect(page.locator("li[data-line=port]")).to_contain_text("无应答（连接被拒绝）")
    fill_in(page, sshd, root="~/elsewhere")
    page.locator("#test-connection").click()
    expect(page.locator("li[data-line=root]")).to_contain_text("请浏览选择")
    expect(page.locator("li[data-line=runs]")).to_contain_text("在其他目录中找到了")
    added(server, sshd, key=str(tmp_path / "absent"))
    expect(page.locator(".told")).to_contain_text("不存在")
    page.goto(f"{server.url}/?filter=loss%3E")
    expect(page.locator("body")).to_contain_text("后缺少值")


def test_a_changed_key_shows_both_and_offers_no_trust(sshd, far, serve, open_page, home):
    sshd.trusted_in(home)
    before = re.search(r"SHA256:(\S+)", shown_fingerprint(sshd)).group(1)
    sshd.new_host_key()
    after = re.search(r"SHA256:(\S+)", shown_fingerprint(sshd)).group(1)
    page = open_page(f"{serve().url}/settings", locale="zh-CN")
    fill_in(page, sshd)
    page.locator("#test-connection").click()
    line = page.locator("li[data-line=host_key]")
    expect(line).to_contain_text(f"ssh-ed25519 SHA256:{before}（{home / 'known_hosts'}）")
    expect(line).to_contain_text(after)
    assert page.get_by_role("button", name=re.compile("Trust|信任")).count() == 0


def test_pause_start_and_sync_now(sshd, far, serve, open_page, home):
    sshd.trusted_in(home)
    server = serve()
    added(server, sshd)
    page = open_page(f"{server.url}/settings?tab=sync")
    expect(connection(page)).to_have_attribute("data-state", "live")
    page.get_by_role("button", name="Pause sync").click()
    expect(connection(page)).to_contain_text("Paused")
    expect(connection(page).locator(".ago")).to_have_text(AGO)
    expect(page.locator("tr[data-name]")).to_contain_text(re.compile(r"last news \d+ s ago"))
    write_run(far, "vision", "later", "20250124_180000_abc125")
    page.get_by_role("button", name="Sync now").click()
    expect(connection(page)).to_contain_text("Connected")
    page.locator(".brand").click()
    expect(page.locator("tr[data-key]")).to_have_count(3)


@pytest.mark.long
def test_a_lost_server_is_said_everywhere_and_found_again(sshd, far, serve, open_page, home, monkeypatch):
    # it does not come back by itself before the click
    monkeypatch.setattr("runicorn.mirror.sync.FIRST_RETRY", 600.0)
    sshd.trusted_in(home)
    server = serve()
    added(server, sshd)
    page = open_page(server.url)
    expect(page.locator("tr[data-key]")).to_have_count(2)
    sshd.stop()
    expect(connection(page)).to_contain_text("Disconnected", timeout=SLOW)
    expect(connection(page).locator(".ago")).to_have_text(AGO)
    expect(page.locator("tr[data-key]")).to_have_count(2)
    sshd.start()
    connection(page).get_by_role("button", name="Reconnect").click()
    expect(connection(page)).to_contain_text("Connected", timeout=SLOW)


@pytest.mark.long
def test_a_pasted_host_goes_to_the_fields_it_names(serve, open_page):
    page = open_page(f"{serve().url}/settings?tab=sync&add=1")

    def shown():
        return [page.locator(f"#f-{field}").input_value() for field in ("name", "host", "port", "user")]

    for pasted, expected in {"ssh://bob@gpu.lab:2222/": ["gpu.lab", "gpu.lab", "2222", "bob"],
                             "[::1]": ["::1", "::1", "2222", "bob"],
                             # which is right is asked later
                             "eve@other.lab": ["eve@other.lab", "eve@other.lab", "2222", "bob"]}.items():
        page.locator("#f-host").fill(pasted)
        page.locator("#f-host").blur()
        assert shown() == expected


@pytest.mark.long
def test_a_wrong_form_is_told_before_anybody_is_asked(serve, open_page):
    page = open_page(f"{serve().url}/settings")
    asked = []
    page.on("request", lambda request: "/test" in request.url and asked.append(request.url))
    page.locator("#test-connection").click()
    expect(page.locator("#f-host")).to_be_focused()
    expect(page.get_by_role("alert").first).to_contain_text("server address")
    page.locator("#f-host").fill("gpu; rm -rf /")
    page.locator("#save-start").click()
    expect(page.get_by_role("alert").first).to_contain_text("no spaces")
    page.locator("#f-host").fill("gpu")
    page.locator("#f-port").fill("99999")
    page.locator("#save-start").click()
    expect(page.get_by_role("alert").first).to_contain_text("65535")
    assert asked == []


@pytest.mark.long
def test_hosts_come_from_the_ssh_config(serve, open_page, home):
    ssh = home.parent / ".ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "config").write_text("Host lab\n  HostName 10.1.2.3\n  User alice\n  Port 2222\n")
    page = open_page(f"{serve().url}/settings")
    page.get_by_role("button", name="1 host in ~/.ssh/config").click()
    page.get_by_role("menuitem", name=re.compile("lab")).click()
    assert [page.locator(f"#f-{field}").input_value() for field in ("name", "host", "port", "user")] == [
        "lab", "lab", "2222", "alice"]


@pytest.mark.long
def test_browsing_to_the_folder(sshd, far, serve, open_page, home):
    sshd.trusted_in(home)
    page = open_page(f"{serve().url}/settings")
    fill_in(page, sshd, root="~")
    page.locator("#browse").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name=".runicorn")).to_contain_text("2 runs inside")
    expect(dialog.get_by_text("This folder holds no runs")).to_be_visible()
    expect(dialog.get_by_role("button", name="Choose it all the same")).to_be_enabled()
    dialog.get_by_role("button", name=".runicorn").click()
    expect(dialog.get_by_role("button", name="experiments")).to_contain_text("2 runs")
    dialog.get_by_role("button", name="experiments").click()
    expect(dialog.get_by_text("This folder holds 2 runs.")).to_be_visible()
    dialog.get_by_role("button", name="Choose this folder").click()
    expect(page.locator("#f-root")).to_have_value(str(far))


@pytest.mark.long
def test_sync_now_says_that_it_looks_and_that_all_is_here(sshd, far, serve, open_page, home):
    sshd.trusted_in(home)
    server = serve()
    server.connections.save({**sshd.connection(name="gpu"), "remote_root": str(far)}, start=True)
    page = open_page(f"{server.url}/settings?tab=sync", locale="zh-CN")
    row = page.locator("tr[data-name=gpu]").first
    expect(row).to_have_attribute("data-state", "live")
    row.get_by_role("button", name="立即同步").click()
    expect(row.get_by_role("button", name="正在同步…")).to_be_disabled()
    expect(row.get_by_role("button", name="✓ 已是最新")).to_be_visible()
    expect(row.get_by_role("button", name="立即同步")).to_be_enabled()
    assert server.connections.row("gpu")["up_to_date"] is not None


@pytest.mark.long
def test_a_folder_without_runs_offers_the_one_that_has_them(sshd, far, serve, open_page, home):
    sshd.trusted_in(home)
    page = open_page(f"{serve().url}/settings")
    fill_in(page, sshd, root="~/elsewhere")
    page.locator("#test-connection").click()
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#f-root")).to_have_value(str(far))


def test_a_one_time_code_is_asked_and_the_password_is_kept_nowhere(serve, open_page, home):
    prompts = [("Verification code: ", False, "424242")]
    with AskingServer(["password", "keyboard-interactive"], password="open sesame",
                      prompts=prompts) as asking:
        asking.trusted_in(home)
        page = open_page(f"{serve().url}/settings")
        for field, value in {"name": "asking", "host": "127.0.0.1", "port": asking.port,
                             "user": "alice"}.items():
            page.locator(f"#f-{field}").fill(str(value))
        page.get_by_role("radio", name="Password").click()
        page.locator("#f-password").fill("open sesame")
        page.locator("#test-connection").click()
        question = page.locator("[data-question]")
        expect(question).to_contain_text("Verification code:")
        expect(question.locator("input")).to_be_focused()
        assert question.locator("input").get_attribute("type") == "password"
        page.keyboard.type("424242")
        page.keyboard.press("Enter")
        expect(page.locator("li[data-line=login] .ic.ok")).to_be_visible()
        page.locator("#save-only").click()
        expect(page.locator("tr[data-name=asking]")).to_be_visible()
    kept = "".join(path.read_text(errors="replace") for path in home.rglob("*") if path.is_file())
    assert "open sesame" not in kept and "424242" not in kept


def test_changing_and_removing_a_connection(sshd, far, serve, open_page, home):
    sshd.trusted_in(home)
    server = serve()
    added(server, sshd)
    page = open_page(f"{server.url}/settings?tab=sync")
    expect(connection(page)).to_have_attribute("data-state", "live")
    page.get_by_role("button", name=f"More for {NAME}").click()
    page.get_by_role("menuitem", name="Edit…").click()
    expect(page.locator("#f-host")).to_have_value(sshd.host)
    page.get_by_role("radio", name="Last 7 days").click()
    page.locator("#f-interval").fill("60")
    page.locator("#save-start").click()
    expect(page.locator("tr[data-name]").first).to_contain_text("every 60 s")
    saved = json.loads((home / "config.json").read_text())["connections"][0]
    assert (saved["window"], saved["interval"], saved["name"]) == ("7d", 60, NAME)
    page.get_by_role("button", name=f"More for {NAME}").click()
    page.get_by_role("menuitem", name="Remove…").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator("tr[data-name]")).to_have_count(0)
    assert json.loads((home / "config.json").read_text())["connections"] == []
    page.locator(".brand").click()
    expect(page.locator("tr[data-key]")).to_have_count(2)


@pytest.mark.long
def test_offline_shows_what_is_here_and_asks_nobody(sshd, far, serve, open_page, home):
    sshd.trusted_in(home)
    online = serve()
    added(online, sshd)
    until(lambda: online.connections.row(NAME)["state"] == "live")
    online.end.close()
    sshd.stop()
    page = open_page(serve(offline=True).url)
    expect(page.locator("tr[data-key]")).to_have_count(2)
    expect(page.locator("#notices")).to_contain_text("Offline: no server is asked")
    expect(connection(page)).to_contain_text("Offline")
    page.locator("#gear").click()
    expect(page.locator("tr[data-name]")).to_be_visible()
    assert page.get_by_role("button", name="Sync now").count() == 0


@pytest.mark.long
def test_cache_is_shown_and_cleaned(sshd, far, serve, open_page, home):
    sshd.trusted_in(home)
    server = serve()
    added(server, sshd)
    until(lambda: server.connections.row(NAME)["state"] == "live")
    page = open_page(f"{server.url}/settings?tab=storage")
    expect(page.locator("tbody tr")).to_contain_text(NAME)
    page.get_by_role("button", name="Clean…").click()
    expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text(
        re.compile("Nothing is that old|This frees"))
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()


@pytest.mark.long
def test_the_other_tabs(serve, open_page, home):
    page = open_page(f"{serve().url}/settings")
    page.get_by_role("link", name="Appearance, language").click()
    page.get_by_role("radio", name="中文").click()
    expect(page.get_by_role("heading", name="外观与语言")).to_be_visible()
    page.get_by_role("link", name="快捷键").click()
    expect(page.locator(".keys")).to_contain_text("移动")
    page.get_by_role("link", name="关于").click()
    expect(page.locator(".main")).to_contain_text(str(home))
    page.set_viewport_size({"width": 900, "height": 700})
    page.get_by_role("link", name="远程同步").click()
    expect(page.locator("#f-host")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [900, 1440])
def test_many_connections_in_trouble_have_their_names_in_the_bar_and_overlap_nothing(
        serve, open_page, locale, width):
    server = serve()
    for number in range(5):
        server.connections.save({"name": f"cluster-{number}", "host": "127.0.0.1", "port": free_port(),
                                 "user": "alice"}, start=True)
    page = open_page(f"{server.url}/settings", width=width, locale=locale)
    shown = page.locator(".conns > .conn[data-connection]")
    expect(shown).to_have_count(2 if width == 900 else 3)
    expect(page.locator(".conns")).to_contain_text("3" if width == 900 else "2")
    names = page.evaluate(
        "[...document.querySelectorAll('.conns .cname')].map((name) => name.getBoundingClientRect().width)")
    assert min(names) >= 48
    # At one moment: the words change
    inside = page.evaluate("""[...document.querySelectorAll('.conns > .conn[data-connection]')]
        .map((conn) => [...conn.children]
            .map((part) => part.getBoundingClientRect().toJSON()).filter((box) => box.width))""")
    assert len(inside) == (2 if width == 900 else 3)
    for parts in inside:
        assert parts == sorted(parts, key=lambda box: box["x"])
        assert all(left["x"] + left["width"] <= right["x"] + 1
                   for left, right in zip(parts, parts[1:])), parts
    boxes = page.evaluate("""[...document.querySelectorAll('#top > *, .conns > .conn, .conns > .conn > *')]
        .map((part) => part.getBoundingClientRect().toJSON()).filter((box) => box.width)""")
    assert boxes and all(box["x"] + box["width"] <= width for box in boxes)
    ends = page.evaluate(
        """[...document.querySelectorAll('.conns > *')].map((part) => part.getBoundingClientRect())
        .map((box) => [box.left, box.right])""")
    assert ends and all(end <= begin + 1 for (_, end), (begin, _) in zip(ends, ends[1:])), ends
