"""A disk that takes nothing more: what waits for it, and why, stands on every page; what is here can be
read."""

import subprocess

import pytest
from playwright.sync_api import expect
from small_runs import write_run
from waiting import until

pytest_plugins = ["chromium"]

RUN_ID = "20250123_180000_abc123"
BAR = ".conn[data-connection=gpu]"


@pytest.fixture
def home(home):
    """A home on a disk of 3 MB, less than what always stays free."""
    home.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", home],
                      capture_output=True).returncode:
        pytest.skip("only root mounts a tmpfs")
    yield home
    subprocess.run(["umount", "-l", home], check=True)


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("width", [1440, 900])
@pytest.mark.parametrize("locale, word, why, act",
                         [("en-US", "Held up", "this disk is full, 4 files wait", "Pause sync"),
                          ("zh-CN", "同步受阻", "本机磁盘已满，4 个文件在等待", "暂停同步")])
def test_a_full_disk_is_no_pause_of_the_readers(home, sshd, serve, open_page, tmp_path, locale, word, why,
                                                act, width):
    write_run(tmp_path / "far" / "root", "vision", "resnet50", RUN_ID)
    sshd.trusted_in(home)
    server = serve()
    server.connections.save(sshd.connection(name="gpu", remote_root="~/root"))
    until(lambda: server.connections.row("gpu")["reason"]["code"] == "disk_full")
    page = open_page(server.url, locale=locale, width=width)
    expect(page.locator(f"{BAR} .word")).to_have_text(word)
    expect(page.locator(f"{BAR} .why")).to_have_text(why)
    page.goto(f"{server.url}/settings?tab=sync")
    row = page.locator("tr[data-name=gpu]").first
    expect(row.locator(".sub").nth(1)).to_contain_text(why)
    expect(row.locator("[data-act=pause]")).to_have_text(act)


FULL = {"en-US":
        "{home} can’t be written (No space left on device): changes are refused and nothing new is kept; "
        "what is here can be read.",
        "zh-CN": "无法写入 {home}（磁盘已满）：不能保存更改，也不再保存新内容；已有内容仍可查看。"}


@pytest.mark.few(1)
@pytest.mark.parametrize("locale", FULL)
def test_a_home_that_fills_up_and_empties_is_said_while_it_lasts(home, serve, open_page, locale):
    write_run(home / "experiments", "vision", "resnet50", RUN_ID)
    page = open_page(serve().url, locale=locale)
    expect(page.locator(".c-name").last).to_contain_text("resnet50")
    expect(page.locator(".banner")).to_have_count(0)
    filler = home / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True)
    expect(page.locator(".banner.warn")).to_have_text(FULL[locale].format(home=home))
    filler.unlink()
    expect(page.locator(".banner")).to_have_count(0)
