"""Small things of the pages in a real browser: seeds told apart, half a filter, menus, charts that are on
their way."""

import re
import time

import pytest
from playwright.sync_api import expect
from small_runs import write_run

pytest_plugins = ["chromium"]


@pytest.fixture
def seeds(home):
    """Three runs of one name and one of another; their keys."""
    keys = []
    for seed in (1, 2, 3):
        run_id = f"20250123_18000{seed}_abc00{seed}"
        write_run(home / "experiments", "vision", "base", run_id, started=time.time() - 1000 * seed,
                  config={"seed": seed, "lr": 3e-4}, group="seeds", tags=["resnet50", "baseline"])
        keys.append(f"local:vision/base/{run_id}")
    write_run(home / "experiments", "vision", "vit_small_patch4_warmup6k_m", "20250123_190000_def001",
              tags=["resnet50"], config={"seed": 9})
    return [*keys, "local:vision/vit_small_patch4_warmup6k_m/20250123_190000_def001"]


def test_seeds_of_one_name_are_told_apart_in_compare(serve, open_page, seeds):
    page = open_page(f"{serve().url}/compare?runs={','.join(seeds)}")
    heads = page.locator(".ct thead th[data-run]")
    expect(heads).to_have_count(4)
    expect(page.locator(".ct thead .apart")).to_have_text(["seed=1", "seed=2", "seed=3"])
    plot = page.locator("figure.chart .u-over").first
    plot.hover()
    expect(page.locator(".chart-tip")).to_contain_text("base seed=2")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
        page.get_by_role("menuitem").first.click()
    assert (saved.value.path().read_text().splitlines()[0]
            == ",base seed=1,base seed=2,base seed=3,vit_small_patch4_warmup6k_m")


@pytest.mark.long
def test_seeds_are_told_apart_beside_the_list_and_no_name_is_cut_without_a_sign(serve, open_page, seeds):
    page = open_page(f"{serve().url}/?ticked={','.join(seeds)}")
    names = page.locator(".panel .lg .nm")
    expect(names).to_have_count(4)
    labels = names.evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    assert sorted(labels)[:3] == [f"base seed={seed}" for seed in (1, 2, 3)]
    cut = """all => all.filter((one) => one.scrollWidth > one.clientWidth + 1
        && !(getComputedStyle(one, '::after').width !== '0px' && one.classList.contains('midcut'))
        && getComputedStyle(one).textOverflow !== 'ellipsis').map((one) => one.textContent)"""
    page.set_viewport_size({"width": 1300, "height": 900})
    assert page.locator(".panel .lg bdi").evaluate_all(cut) == []
    box, inner = page.locator(".panel .lg .nm").first.bounding_box(), page.locator(
        ".panel .lg .nm bdi").first.bounding_box()
    assert inner["width"] <= box["width"] + 0.5


@pytest.mark.long
def test_the_list_filters_and_groups_by_the_group(serve, open_page, seeds):
    page = open_page(f"{serve().url}/?filter=group%3Aseeds&group=group&cols=state,name,group")
    expect(page.locator(".tb [role=row] [data-col=group], .rows .c-group").or_(
        page.get_by_text("seeds", exact=True)).first).to_be_visible()
    expect(page.get_by_text("3 of 4")).to_be_visible()


@pytest.mark.long
def test_the_tag_that_is_shown_is_the_one_that_tells_apart(serve, open_page, seeds):
    page = open_page(serve().url)
    expect(page.locator(".chips .chip").filter(has_text="baseline")).to_have_count(3)


@pytest.mark.long
def test_half_a_filter_is_no_fault_in_the_console(serve, open_page, seeds):
    page = open_page(f"{serve().url}/")
    said = []
    page.on("console", lambda message: said.append(message.text))
    box = page.get_by_role("searchbox").first
    for text in ("loss<", 'tag:"a', "state:nosuch", "age<1x"):
        box.fill(text)
        expect(page.locator(".fault")).to_be_visible()
    page.goto(f"{page.url.split('/?')[0]}/compare?runs={seeds[0]}")
    page.get_by_role("button", name="Add a run").click()
    page.get_by_role("textbox").last.fill("loss<")
    expect(page.get_by_text("No other")).to_be_visible()
    assert [text for text in said if "400" in text] == []


@pytest.mark.long
def test_half_an_expression_for_the_log_is_no_fault_in_the_console(serve, open_page, home, seeds):
    (home / "experiments/vision/base" / "runs" / seeds[0].rsplit("/", 1)[1] / "logs.txt").write_text(
        "a line\n" * 30)
    page = open_page(f"{serve().url}/runs/{seeds[0]}?tab=logs")
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.get_by_role("button", name="Regular expression").click()
    field = page.get_by_role("searchbox", name="Search the log")
    field.fill("(a")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert said == []


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("locale, export, more", [("en-US", "Export", "More"), ("zh-CN", "导出", "更多")])
def test_export_only_exports(serve, open_page, seeds, locale, export, more):
    page = open_page(f"{serve().url}/runs/{seeds[0]}", locale=locale)
    page.get_by_role("button", name=export).click()
    assert len(page.get_by_role("menuitem").all_inner_texts()) == 3
    page.keyboard.press("Escape")
    page.locator(".rh").get_by_role("button", name=more).click()
    expect(page.get_by_role("menuitem")).to_have_text(re.compile("Hide|隐藏"))


def test_charts_of_compare_say_that_they_are_on_their_way(serve, open_page, seeds):
    server = serve()
    page = open_page(server.url)
    held = []
    released = []
    page.route("**/api/series*", lambda route: route.continue_() if released else held.append(route))
    page.goto(f"{server.url}/compare?runs={','.join(seeds)}")
    waiting = page.locator("figure.chart.waiting")
    expect(waiting.first).to_be_visible()
    expect(page.locator(".ct thead th[data-run]")).to_have_count(4)
    expect(waiting).to_have_count(1)
    assert waiting.evaluate("one => getComputedStyle(one, '::after').content") == '"Loading…"'
    assert held
    released.append(True)
    for route in held:
        route.continue_()
    expect(waiting).to_have_count(0)


def shown(page, selector):
    """The names below `selector` as they are read: head and tail of those that are cut, whole others, and
    their titles."""
    return page.locator(selector).evaluate_all("""all => all.map((one) => {
        const cut = one.classList.contains("midcut") && getComputedStyle(one, "::after").width !== "0px";
        const text = cut ? one.textContent.slice(0, 12) + one.dataset.tail : one.textContent;
        return [text, one.closest("[title]")?.title || ""];
    })""")


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 900)])
def test_names_that_begin_alike_are_told_apart_wherever_they_are_cut(serve, open_page, home, theme, width):
    ends = ("_lr1e-4", "_lr3e-4", "_seed1", "_seed2", "a" + "y" * 40, "b" + "y" * 40,
            "的大规模预训练实验一号", "的大规模预训练实验二号")
    names = [f"{'pretrain_llama_7b_redpajama_cosine_warmup':x<44}{end}" for end in ends]
    for number, name in enumerate(names):
        write_run(home / "experiments", f"a_rather_long_project_name_{number % 2}", name,
                  f"20250123_18000{number}_abc12{number}")
    ids = ",".join(f"20250123_18000{number}_abc12{number}" for number in range(len(names)))
    server = serve()
    page = open_page(
        f"{server.url}/?project=a_rather_long_project_name_0&ticked={ids}&cols=name,project,state,started",
        theme=theme, width=width)
    expect(page.locator("tr[data-key]")).to_have_count(4)
    expect(page.locator(".panel .lg .nm").filter(has_text="pretrain")).to_have_count(8 if width > 1200 else 0)
    places = [".rows td.c-name bdi", *([".side .in bdi", ".panel .lg bdi"] if width > 1200 else [])]
    for place in places:
        found = shown(page, place)
        assert len({name for name, _ in found}) == len(found) >= 4, (place, found)
        assert all(any(name in title for name in names) for _, title in found), (place, found)
    page.goto(f"{server.url}/?cols=name,project,state,started")
    expect(page.locator("tr[data-key]")).to_have_count(8)
    projects = {name for name, _ in shown(page, ".rows td.c-project bdi")}
    assert projects == {"a_rather_lon…t_name_0", "a_rather_lon…t_name_1"}


def test_a_run_that_can_t_be_read_is_marked_in_the_list_and_its_page_promises_nothing(home, serve, open_page):
    root = home / "experiments"
    write_run(root, "vision", "newer", "20250123_180000_abc123", format=3)
    broken = write_run(root, "vision", "broken", "20250123_180001_abc123", rows=0)
    (broken / "meta.json").write_text("{")
    write_run(root, "vision", "good", "20250123_180002_abc123")
    server = serve()
    page = open_page(server.url)
    expect(page.locator(".flaw")).to_have_count(2)
    assert page.locator("tr:has(.flaw) .c-name a").all_inner_texts() == ["broken", "newer"]
    assert "newer Runicorn" in page.locator("tr:has-text('newer') .flaw").get_attribute("title")
    page.goto(f"{server.url}/runs/20250123_180000_abc123")
    expect(page.locator("main")).to_contain_text("The metrics are not read")
    expect(page.locator("li.none")).to_contain_text("a newer Runicorn made")
    page.goto(f"{server.url}/runs/20250123_180001_abc123")
    expect(page.locator("main")).to_contain_text("The run ended and had logged none.")
    expect(page.locator("li.none")).to_contain_text("it printed nothing")
