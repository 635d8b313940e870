"""The run list in a real browser on the real viewer: the guide's journeys, keys, live news, hostile text,
10,000 rows."""

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect
from ports import free_port, listening
from small_runs import beat, event, write_run

from runicorn.reader import first_look, local_root

pytest_plugins = ["chromium"]

SLOW = 30_000                   # ms, where a machine under load has much to do
STATIC = Path(__file__).parents[2] / "static"
HOSTILE = ["<img src=x onerror=alert(1)><script>alert(2)</script>", "\u202egnihton si siht\u202c",
           "👩‍👩‍👧‍👦 عربى 中文", "n" * 10_000, "'\"`${alert(3)}&lt;", "%2F..%00"]


@pytest.fixture
def root(home):
    return home / "experiments"


@pytest.fixture
def three(root):
    """Three experiments as in the guide."""
    now = time.time()
    write_run(root, "vision", "resnet50", "20250123_180000_abc123", started=now - 300,
              tags=["baseline", "resnet"], config={"lr": 0.001, "batch_size": 32})
    write_run(root, "vision", "resnet18", "20250122_180000_abc124", "failed", started=now - 4000,
              config={"lr": 0.01, "batch_size": 64})
    write_run(root, "language", "transformer", "20250121_180000_abc125", started=now - 90000,
              tags=["baseline"], config={"lr": 0.0007, "batch_size": 256})


def rows(page):
    return page.locator("tr[data-key]")


def names(page):
    return [name.strip() for name in rows(page).locator("td.c-name").all_inner_texts()]


def test_with_nothing_the_next_command_is_said(serve, open_page):
    page = open_page(serve().url)
    expect(page.get_by_role("heading", name="No runs here yet")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text("pip install runicorn")
    expect(page.locator(".conns")).to_contain_text("No connection yet")
    page.get_by_role("link", name="Add connection").click()
    expect(page.locator("#f-host")).to_be_visible()


def test_lists_runs_with_their_states_newest_first(serve, open_page, three):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    assert names(page) == ["resnet50", "resnet18", "transformer"]
    states = rows(page).locator("td.c-state").all_inner_texts()
    assert [state.split(":")[0].strip() for state in states] == ["Finished", "Failed", "Finished"]
    expect(page.locator(".counts")).to_have_text("3 runs")
    expect(rows(page).nth(0)).to_contain_text("0.001")
    assert rows(page).nth(0).locator(".spark path").get_attribute("d").startswith("M")
    page.get_by_role("link", name="resnet50").first.click()
    expect(page).to_have_url(re.compile("/runs/local:vision/resnet50/20250123_180000_abc123"))


@pytest.mark.long
def test_hovering_a_state_tells_its_reason(serve, open_page, three):
    page = open_page(serve().url)
    rows(page).nth(1).locator("td.c-state").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("exit code 1")


def test_filter_lives_in_the_address_and_a_wrong_one_shows_where(serve, open_page, three):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("tag:baseline lr<0.001")
    expect(rows(page)).to_have_count(1)
    assert "filter=tag:baseline" in page.url
    page.locator("input[type=search]").fill("lr<")
    expect(page.locator(".fault")).to_be_visible()
    expect(rows(page)).to_have_count(1)
    page.locator("input[type=search]").fill("nothing_like_this")
    expect(page.get_by_role("heading", name="No run matches")).to_be_visible()
    page.get_by_role("link", name="Show all runs").click()
    expect(rows(page)).to_have_count(3)


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("locale, title, group", [("en-US", "The filter can’t be read", "Group: none"),
                                                  ("zh-CN", "无法理解筛选条件", "分组：无")])
def test_an_address_with_a_wrong_filter_says_so_in_place_of_rows(
        serve, open_page, three, locale, title, group):
    page = open_page(f"{serve().url}/?filter=loss%3C", locale=locale)
    expect(page.locator(".empty h2")).to_have_text(title)
    expect(page.get_by_role("button", name=group)).to_be_visible()
    # the time after which rows of a list that is being read keep their place
    page.wait_for_timeout(500)
    assert page.locator(".bone").count() == 0
    page.get_by_role("searchbox").fill("resnet50")
    expect(page.locator("tbody .c-name").first).to_contain_text("resnet50")
    expect(page.locator(".empty")).to_have_count(0)


def test_keys_tick_and_compare(serve, open_page, three):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    for key in ("j", "x", "j", "Shift+X"):
        page.keyboard.press(key)
    expect(page.locator(".panel .hd")).to_contain_text("2 ticked")
    expect(page.locator("tr.on")).to_have_count(2)
    colours = [box.get_attribute("class") for box in page.locator("tr.on .tick").all()]
    assert len(set(colours)) == 2
    page.reload()
    expect(page.locator("tr.on")).to_have_count(2)
    assert [box.get_attribute("class") for box in page.locator("tr.on .tick").all()] == colours
    expect(page.locator(".panel .chart").first).to_be_visible()
    page.keyboard.press("c")
    expect(page).to_have_url(
        re.compile(r"/compare\?runs=local:vision/resnet50/\w+,local:vision/resnet18/\w+"))


@pytest.mark.long
def test_cursor_opens_a_run_and_question_mark_lists_the_keys(serve, open_page, three):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)
    for key in ("j", "j", "k", "j", "Enter"):
        page.keyboard.press(key)
    expect(page).to_have_url(re.compile("/runs/local:vision/resnet18/"))
    page.go_back()
    expect(rows(page)).to_have_count(3)


@pytest.mark.long
def test_back_before_the_next_page_has_come_stays_on_the_list(serve, open_page, three):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    held = []
    page.route("**/run/page.js", lambda route: held.append(route))
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/runs/local:vision/resnet50/"))
    page.wait_for_timeout(300)
    assert held, "the page's code is on its way"
    page.go_back()
    with page.expect_response("**/run/page.js"):
        held[0].continue_()
    page.wait_for_timeout(500)
    expect(rows(page)).to_have_count(3)


def test_tags_and_note_are_edited_in_place_and_kept_in_the_overlay(serve, open_page, three, home):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.locator(".editor input").fill("paper, resnet, paper")
    page.locator(".editor textarea").fill("the one with the corrupt shard")
    page.keyboard.press("Enter")
    expect(rows(page).nth(0).locator(".chip").first).to_have_text("paper")
    kept = json.loads((home / "overlay.json").read_text())
    assert "the one with the corrupt shard" in json.dumps(kept)
    page.keyboard.press("e")
    page.locator(".editor input").fill("thrown away")
    page.keyboard.press("Escape")
    expect(page.locator(".editor")).to_have_count(0)
    expect(rows(page).nth(0).locator(".chip").first).to_have_text("paper")


@pytest.mark.long
def test_sort_group_and_fold_are_in_the_address_and_go_back(serve, open_page, three):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    page.get_by_role("button", name="Name", exact=True).click()
    expect(rows(page).first).to_contain_text("resnet18")
    assert names(page) == ["resnet18", "resnet50", "transformer"]
    page.get_by_role("button", name=re.compile("^Group")).click()
    page.get_by_role("menuitemradio", name="Project").click()
    expect(page.locator("tr.grp")).to_have_count(2)
    assert "group=project" in page.url and "sort=name" in page.url
    page.locator("tr.grp button", has_text="vision").click()
    expect(rows(page).locator("visible=true")).to_have_count(1)
    page.go_back()
    expect(page.locator("tr.grp")).to_have_count(0)
    assert names(page) == ["resnet18", "resnet50", "transformer"]


@pytest.mark.long
def test_columns_are_chosen(serve, open_page, three):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    page.get_by_role("button", name="Columns").click()
    page.locator(".chooser label", has_text="User").click()
    expect(page.get_by_role("button", name="User", exact=True)).to_be_visible()
    expect(rows(page).nth(0).locator("td.c-user")).to_have_text("alice")
    assert "user" in page.url
    page.reload()
    expect(rows(page).nth(0).locator("td.c-user")).to_have_text("alice")


@pytest.mark.long
def test_tree_narrows_and_a_view_is_saved(serve, open_page, three):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    page.locator(".side a", has_text="vision").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="Save view").click()
    page.locator(".editor input").fill("my vision")
    page.keyboard.press("Enter")
    page.locator(".side a", has_text="All runs").click()
    expect(rows(page)).to_have_count(3)
    page.locator(".side .saved a", has_text="my vision").click()
    expect(rows(page)).to_have_count(2)


def test_new_runs_rows_and_states_appear_by_themselves(serve, open_page, three, root):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    folder = write_run(root, "vision", "late", "20250124_000000_abc126", "running", started=time.time() - 20)
    beat(root, folder, "20250124_000000_abc126")
    expect(rows(page)).to_have_count(4)
    expect(rows(page).first).to_contain_text("late")
    with open(folder / "events.jsonl", "a") as events:
        events.write(event(time.time(), 4321, {"train/loss": 0.125}))
    (folder / "summary.json").write_text('{"train/loss": 0.125}')
    expect(rows(page).first.locator("td.c-step")).to_have_text("4,321")
    expect(rows(page).first.locator("td.c-main")).to_have_text("0.1250")
    beat(root, folder, "20250124_000000_abc126")
    expect(rows(page).first.locator("td.c-state")).to_contain_text("Running")
    (folder / "status.json").write_text(
        json.dumps({"status": "finished", "started_at": time.time() - 20, "ended_at": time.time()}))
    expect(rows(page).first.locator("td.c-state")).to_contain_text("Finished")


@pytest.mark.long
def test_the_view_does_not_move_while_somebody_reads_further_down(serve, open_page, root):
    for i in range(100):
        write_run(root, "p", f"run{i:03}", f"20250101_000000_{i:06x}", started=time.time() - 1000 - i, rows=1)
    page = open_page(serve().url)
    expect(page.locator(".counts")).to_contain_text("100")
    page.locator(".rows").evaluate("node => { node.scrollTop = 26 * 60; }")
    expect(page.locator("tr[data-key]", has_text="run070")).to_be_visible()
    before = page.locator("tr[data-key]", has_text="run070").bounding_box()["y"]
    write_run(root, "p", "brand_new", "20250102_000000_ffffff", started=time.time() - 5, rows=1)
    expect(page.locator(".fresh")).to_have_text("1 new")
    assert page.locator("tr[data-key]", has_text="run070").bounding_box()["y"] == before
    page.locator(".fresh").click()
    expect(rows(page).first).to_contain_text("brand_new")
    expect(page.locator(".fresh")).to_be_hidden()


@pytest.fixture
def mirrored(home):
    """The mirror of a connection that lists 10,000 runs; their files are not here."""
    lines = []
    for i in range(10_000):
        run_id = f"20250101_000000_{i:06x}"
        meta = {"format": 1, "id": run_id, "project": f"p{i % 7}", "name": f"exp{i % 50}",
                "created_at": 1_700_000_000 + i, "config": {"lr": i / 1e4}}
        entry = {"digest": run_id, "meta": meta, "status": {"status": "finished"}, "summary": {"loss": i},
                 "beat": None, "files": {}}
        lines.append(f'"p{i % 7}/exp{i % 50}/runs/{run_id}": {json.dumps(entry)}')
    head = ('{"format": 1, "kind": "full", "revision": 1, "digest": "d", "generated_at": 1.0, '
            '"host": "gpu-01", "root": "/data", "runs": {')
    index = home / "cache" / "gpu-server-1" / ".index" / "full.json"
    index.parent.mkdir(parents=True)
    index.write_text(head + "\n" + ",\n".join(sorted(lines))
                     + '\n},\n"statistics": {"runs": 10000, "files": 0, "bytes": 0}}\n')


@pytest.mark.long
def test_ten_thousand_runs_are_a_window(serve, open_page, mirrored):
    page = open_page(serve(offline=True).url)
    expect(page.locator(".counts")).to_contain_text("10,000", timeout=SLOW)
    assert 20 < rows(page).count() < 80
    page.locator(".rows").focus()
    page.keyboard.press("End")
    expect(page.locator("tr.cur")).to_have_attribute("aria-rowindex", "10001")
    expect(page.locator("tr.cur[data-key]")).to_contain_text("exp0")
    assert rows(page).count() < 80
    page.keyboard.press("Home")
    expect(page.locator("tr.cur")).to_have_attribute("aria-rowindex", "2")
    expect(page.locator("tr.cur")).to_contain_text("exp49")
    page.locator("input[type=search]").fill("lr<0.0003")
    expect(rows(page)).to_have_count(3)


@pytest.mark.long
def test_of_a_big_root_the_newest_runs_are_shown_while_the_others_are_read(
        serve, open_page, root, monkeypatch):
    for i in range(90):
        write_run(root, "vision", f"exp{i}", f"20250101_0000{i:02d}_abc123", started=1735689600 + i)
    monkeypatch.setattr(local_root, "MANY", 89)
    monkeypatch.setattr(local_root, "NEWEST", 60)
    read, shown = first_look.entries, threading.Event()

    def entries(root, paths):
        paths = list(paths)
        if "exp0/" in paths[0]:
            assert shown.wait(30)
        return read(root, paths)
    monkeypatch.setattr(first_look, "entries", entries)
    page = open_page(serve().url)
    expect(page.locator(".counts")).to_have_text("reading… 60 runs so far")
    for line, name in enumerate(("exp89", "exp88", "exp87"), 2):
        expect(page.locator(f"tr[aria-rowindex='{line}']")).to_contain_text(name)
    page.evaluate("document.querySelector('.rows').scrollTop = 390")
    expect(page.locator("tr[aria-rowindex='50']")).to_contain_text("exp41")
    shown.set()
    expect(page.locator(".counts")).to_contain_text("90 runs")
    expect(page.locator(".fresh")).to_be_hidden()
    expect(page.locator("tr[aria-rowindex='50']")).to_contain_text("exp41")
    page.locator(".rows").focus()
    page.keyboard.press("End")
    expect(page.locator("tr.cur")).to_contain_text("exp0")


TOUCHED = """new Promise((resolve) => {
    const [box, touched] = [document.querySelector('.rows'), new Set()];
    const heard = (news) => news.forEach(({target}) => {
        touched.add(target.nodeType === 1 && target.closest('tbody tr'));
    });
    const all = {subtree: true, attributes: true, characterData: true, childList: true};
    new MutationObserver(heard).observe(box, all);
    box.scrollTop += 2 * 26;
    const drawn = () => resolve([...touched].length);
    box.addEventListener('scroll', () => requestAnimationFrame(() => requestAnimationFrame(drawn)));
})"""


@pytest.mark.long
def test_a_scrolled_list_works_on_the_rows_that_come_and_no_others(serve, open_page, mirrored):
    page = open_page(serve(offline=True).url)
    expect(page.locator(".counts")).to_contain_text("10,000", timeout=SLOW)
    page.evaluate("document.querySelector('.rows').scrollTop = 2600")
    expect(page.locator("tr[data-key][aria-rowindex='113']")).to_be_visible()
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)           # the list rests, rows ahead are here
    # the list's news may come in between, and touch all
    touched = min(page.evaluate(TOUCHED) for _ in range(4))
    assert 2 <= touched <= 8             # two come, two go; the text nodes' own is one more
    # a cell that inherits what does not inherit gets a new style whenever its row moves, and so do hundreds
    # in every frame
    row = "document.querySelector('tr[data-key]')"
    page.evaluate(f"{row}.style.verticalAlign = 'super'")
    assert page.evaluate(
        f"[...{row}.cells].map((cell) => getComputedStyle(cell).verticalAlign).includes('super')") is False


def test_hostile_text_is_text(serve, open_page, root):
    for i, words in enumerate(HOSTILE):
        write_run(root, words[:100], words, f"20250101_000000_{i:06x}", "failed", tags=[words, words + "2"],
                  config={words[:200]: words}, metric=words[:300], user=words)
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(len(HOSTILE))
    page.get_by_role("button", name="Columns").click()
    page.locator(".chooser label", has_text="<img").last.click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Group")).click()
    page.get_by_role("menuitemradio", name="User").click()
    expect(page.locator("tr.grp")).to_have_count(len(HOSTILE))
    assert page.evaluate("document.querySelectorAll('#page img, #page script, #page iframe').length") == 0
    assert page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.body.scrollHeight <= innerHeight")


def test_language_and_theme_are_switched_and_kept(serve, open_page, three, home):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    page.locator("#language").click()
    expect(page.locator(".nav a").first).to_have_text("实验列表")
    expect(rows(page).first).to_contain_text("已完成")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    page.get_by_role("menuitemradio", name="深色").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator(".nav a").first).to_have_text("实验列表")
    kept = json.loads((home / "config.json").read_text())["preferences"]
    assert (kept["language"], kept["theme"]) == ("zh", "dark")


@pytest.mark.long
def test_the_browser_chooses_the_language_at_first(serve, open_page, three):
    page = open_page(serve().url, locale="zh-CN")
    expect(page.get_by_role("button", name="保存视图")).to_be_visible()


@pytest.mark.long
def test_a_hidden_tab_stops_asking_and_catches_up(serve, open_page, three, root):
    page = open_page(serve().url)
    expect(rows(page)).to_have_count(3)
    asked = []
    page.on("request", lambda request: "/api/" in request.url and asked.append(request.url))
    page.evaluate("""() => {
        Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.away});
                           window.away = true; document.dispatchEvent(new Event('visibilitychange')); }""")
    page.wait_for_timeout(2000)             # what was under way may end
    asked.clear()
    write_run(root, "vision", "meanwhile", "20250125_000000_abc127", started=time.time())
    page.wait_for_timeout(2000)
    assert asked == []
    page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
    expect(rows(page)).to_have_count(4)


@pytest.fixture
def viewer_process(home):
    """viewer_process(port) -> a running `runicorn viewer` (Popen); killed at the end."""
    started = []

    def start(port):
        command = [sys.executable, "-m", "runicorn", "viewer", "--port", str(port), "--no-browser"]
        started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL))
        while not listening("127.0.0.1", port):
            assert started[-1].poll() is None
            time.sleep(0.05)
        return started[-1]
    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_viewer_that_ends_is_said_and_found_again(viewer_process, open_page, three):
    port = free_port()
    first = viewer_process(port)
    page = open_page(f"http://127.0.0.1:{port}/")
    expect(rows(page)).to_have_count(3)
    first.kill()
    first.wait()
    expect(page.get_by_role("alert")).to_contain_text("The viewer does not answer")
    expect(page.get_by_role("alert")).to_contain_text("runicorn viewer")
    expect(rows(page)).to_have_count(3)
    viewer_process(port)
    expect(page.get_by_role("alert")).to_have_count(0, timeout=SLOW)
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.locator(".editor input").fill("after")
    page.keyboard.press("Enter")
    expect(rows(page).nth(0).locator(".chip").first).to_have_text("after")


@pytest.mark.long
def test_an_address_that_is_no_page_leads_home(serve, open_page):
    page = open_page(f"{serve().url}/nowhere")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    page.get_by_role("link", name="Runicorn").click()
    expect(page.locator("#gear")).to_be_visible()


@pytest.mark.long
def test_nine_hundred_pixels_are_enough(serve, open_page, three):
    page = open_page(serve().url, width=900, height=700)
    expect(rows(page)).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Projects").click()
    page.locator(".pop a", has_text="language").click()
    expect(rows(page)).to_have_count(1)


def test_modules_ask_nobody_but_home():
    paths = [path for path in STATIC.rglob("*.*")
             if path.suffix in (".js", ".css", ".html") and path.parent.name != "uplot"]
    assert len(paths) > 50
    for path in paths:
        # the name of SVG, not an address
        text = re.sub(r"http://www\.w3\.org/\S+", "", path.read_text(encoding="utf-8"))
        found = set(re.findall(r"""(?:https?:|wss?:)?//[\w.-]+\.\w+[^\s"'`]*""", text))
        assert not found, f"{path.name}: {found}"


def test_pure_modules_under_node():
    tests = sorted(map(str, (Path(__file__).parents[1] / "js").glob("*.test.mjs")))
    ran = subprocess.run(["node", "--test", *tests], capture_output=True, text=True)
    assert tests and ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize(("locale", "words"), [("en-US", "Its format is 7, which a newer Runicorn made"),
                                               ("zh-CN", "格式为 7，由更新版本的 Runicorn 写入")])
def test_a_run_of_a_newer_format_says_what_is_known_of_it(home, serve, open_page, locale, words):
    write_run(home / "experiments", "vision", "next", "20300101_000000_ffffff", format=7)
    page = open_page(f"{serve().url}/", locale=locale)
    row = page.locator("tr[data-key]")
    expect(row.locator("td.c-step")).to_have_text("–")
    row.locator("td.c-state").hover()
    expect(page.get_by_role("tooltip").or_(page.locator(".tip")).first).to_contain_text(words)
    row.locator("td.c-name a").click()
    expect(page.locator(".whybar")).to_contain_text(words)
    expect(page.locator("[data-fact=step] dd")).to_have_text("–")
    expect(page.locator("figure.chart")).to_have_count(0)
    # where the charts would be, and the log
    expect(page.locator(".empty").filter(has_text=words)).to_have_count(2)
