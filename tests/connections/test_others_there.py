"""Runs of other loggers on a server: the connection test counts them, and the folder browser says where they
lie."""

import json

import pytest
from playwright.sync_api import expect
from small_runs import write_run

from runicorn import settings
from runicorn.connections import doctor
from runicorn.ssh import remote
from runicorn.transfer import tensorboard as tfevents

pytest_plugins = ["chromium"]


@pytest.fixture
def far(sshd, home):
    """The home folder of a server's user: three runs of TensorBoard, one table, one of ours, and what is
    none."""
    folder = sshd.home
    for number in range(3):
        run = folder / "work" / "tb" / f"run{number}"
        run.mkdir(parents=True)
        run.joinpath("events.out.tfevents.1700000000.host").write_bytes(tfevents.opening(1.7e9))
    (folder / "work" / "csv").mkdir()
    (folder / "work" / "csv" / "metrics.csv").write_text("epoch,step,loss\n0,1,0.5\n0,2,0.25\n")
    (folder / "data").mkdir()
    (folder / "data" / "train.csv").write_text("id,label\n1,2\n")
    write_run(folder / "work", "p", "n", "20250101_000000_abcdef")
    return sshd.trusted_in(home)


def test_the_connection_test_counts_them_by_kind(far, home):
    lines = {}
    def report(line):
        lines[line["name"]] = line
    result = doctor.examine(settings.checked(far.connection(remote_root="~/work")), report, home=home)
    told = lines["runs"]
    assert result["ok"] and told["ok"]
    assert told["text"] == f"1 run of ours, 3 of TensorBoard, 1 of CSV in {far.home}/work"
    assert (told["said"], told["count"], told["others"]) == ("runs_others", 1, {"tensorboard": 3, "csv": 1})
    assert json.dumps(told)
    doctor.examine(settings.checked(far.connection(remote_root="~/work/tb")), report, home=home)
    assert lines["runs"]["text"] == f"0 runs of ours, 3 of TensorBoard in {far.home}/work/tb"


def test_browsing_says_where_they_lie(far, home):
    line = remote.connect(settings.checked(far.connection()), home=home)
    try:
        at_home = doctor.browse(line.open_sftp(), "~")
        there = doctor.browse(line.open_sftp(), "~/work")
    finally:
        line.close()
    folders = {folder["name"]: (folder["runs"], folder["others"]) for folder in at_home["folders"]}
    assert folders["work"] == (1, 4) and folders["data"] == (0, None)
    assert (there["runs"], there["others"]) == (1, 4)
    assert {folder["name"]: folder["others"] for folder in there["folders"]} == {"tb": 3, "csv": 1, "p": None}


@pytest.mark.few(1)
@pytest.mark.parametrize(("locale", "beside", "verdict", "choose"), [
    ("en-US", "4 of other loggers", "This folder holds 1 run of Runicorn and 4 of other loggers.",
     "Choose this folder"),
    ("zh-CN", "其他日志工具 4 个", "此目录中有 Runicorn 的 1 个实验，其他日志工具的 4 个。", "选择此目录")])
def test_a_folder_of_them_may_be_chosen(far, home, serve, open_page, locale, beside, verdict, choose):
    page = open_page(f"{serve().url}/settings?tab=sync&add=1", locale=locale)
    saved = far.connection()
    for field in ("host", "port", "user"):
        page.locator(f"#f-{field}").fill(str(saved[field]))
    page.locator("#f-key").fill(str(saved["key"]))
    page.locator("#f-root").fill("~")
    page.locator("#browse").click()
    page.locator(".folders button", has_text="work").filter(has_text=beside).click()
    expect(page.locator("dialog")).to_contain_text(verdict)
    page.get_by_role("button", name=choose, exact=True).click()
    expect(page.locator("#f-root")).to_have_value(f"{far.home}/work")
