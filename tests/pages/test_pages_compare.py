"""The compare page in a real browser on the real viewer: the guide's table and overlays, best, baseline,
hide, 50 runs, news."""

import json
import re
import time

import pytest
from playwright.sync_api import expect
from small_runs import beat, event, write_run

pytest_plugins = ["chromium"]

GUIDE = [
    ("experiment_1", "ResNet50", 0.001, 32, 85.6),
    ("experiment_2", "ResNet18", 0.01, 64, 82.3),
    ("experiment_3", "VGG16", 0.001, 32, 83.9),
]


@pytest.fixture
def root(home):
    return home / "experiments"


def make(root, index, name, model, rate, batch, best, steps=40, **options):
    """One run whose val/accuracy ends at `best`; returns (key, folder)."""
    run_id = f"20250123_1800{index:02}_abc{index:03}"
    folder = write_run(
        root,
        "vision",
        name,
        run_id,
        rows=0,
        started=time.time() - 5000 + index,
        config={"model": model, "learning_rate": rate, "batch_size": batch, "epochs": 100},
        **options,
    )
    with open(folder / "events.jsonl", "w", encoding="utf-8") as file:
        file.write(
            "".join(
                event(1737653445 + step, step,
                      {"val/accuracy": best * step / (steps - 1),
                       "train/loss": 2.3 / (1 + step) + index / 100})
                for step in range(steps)
            )
        )
    return f"local:vision/{name}/{run_id}", folder


@pytest.fixture
def three(root):
    """The guide's three experiments; their keys."""
    return [make(root, index, *run)[0] for index, run in enumerate(GUIDE)]


def open_compare(open_page, server, keys, more="", **options):
    page = open_page(f"{server.url}/compare?runs={','.join(keys)}{more}", **options)
    expect(page.locator(".ct thead th[data-run]")).to_have_count(len(keys))
    return page


def chart(page, metric):
    return page.locator(f'figure[data-chart="{metric}"]')


def cells(page, name):
    return page.locator(f'.ct tbody tr:has(th[title="{name}"])').locator("td")


@pytest.mark.long
def test_the_guides_table_has_config_and_the_best_accuracy_with_a_star(serve, open_page, three):
    page = open_compare(open_page, serve(), three)
    expect(page.locator(".ct thead .nm")).to_have_text(["experiment_1", "experiment_2", "experiment_3"])
    expect(cells(page, "model")).to_have_text(["ResNet50", "ResNet18", "VGG16"])
    expect(cells(page, "learning_rate")).to_have_text(["0.001", "0.01", "0.001"])
    accuracy = cells(page, "val/accuracy")
    expect(accuracy.nth(0)).to_contain_text("85.60")
    expect(accuracy.nth(0)).to_have_class(re.compile("best"))
    expect(page.locator(".ct .best svg").first).to_be_visible()
    expect(accuracy.nth(1)).to_contain_text("−3.3 pp")
    expect(accuracy.nth(1)).not_to_have_class(re.compile("best"))


@pytest.mark.long
def test_equal_keys_are_folded_and_shown_on_demand(serve, open_page, three):
    page = open_compare(open_page, serve(), three)
    expect(cells(page, "epochs")).to_have_count(0)
    page.get_by_role("button", name=re.compile("show 1 equal")).first.click()
    expect(cells(page, "epochs")).to_have_text(["100", "100", "100"])
    page.get_by_role("radio", name="Differences").click()


def test_curves_lie_over_each_other_in_different_colours(serve, open_page, three):
    page = open_compare(open_page, serve(), three)
    expect(chart(page, "train/loss")).to_have_attribute("data-last-step", "39")
    over = chart(page, "train/loss").locator(".u-over")
    box = over.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    expect(page.locator(".chart-tip tr:has(td)")).to_have_count(3)
    expect(page.locator(".chart-tip td.wide")).to_have_text([re.compile(r"\d\d:\d\d:\d\d$")] * 3)
    swatches = page.locator(".chart-tip i").evaluate_all(
        "list => list.map(one => getComputedStyle(one).color)")
    assert len(set(swatches)) == 3
    heads = page.locator(".ct thead .nm i").evaluate_all(
        "list => list.map(one => getComputedStyle(one).color)")
    assert set(heads) == set(swatches), "a run has another colour in the chart than in the table"
    expect(page.locator(".chart-tip")).to_contain_text("base")


def test_a_baseline_a_hidden_run_and_a_removed_one_live_in_the_address(serve, open_page, three):
    page = open_compare(open_page, serve(), three)
    page.get_by_role("radio", name="Take experiment_2 as the baseline").check()
    expect(cells(page, "val/accuracy").nth(0)).to_contain_text("+3.3 pp")
    page.get_by_role("button", name="Hide the curves of experiment_3").click()
    expect(page.get_by_role("button", name="Show the curves of experiment_3")).to_be_visible()
    again = open_page(page.url)
    expect(again.get_by_role("radio", name="Take experiment_2 as the baseline")).to_be_checked()
    expect(again.get_by_role("button", name="Show the curves of experiment_3")).to_be_visible()
    expect(cells(again, "val/accuracy").nth(2)).to_contain_text("83.90")
    again.get_by_role("button", name="Remove experiment_1").click()
    expect(again.locator(".ct thead .nm")).to_have_text(["experiment_2", "experiment_3"])
    assert three[0] not in again.url


@pytest.mark.long
def test_runs_are_added_from_here(serve, open_page, three):
    page = open_compare(open_page, serve(), three[:2])
    page.get_by_role("button", name="Add a run…").click()
    page.get_by_placeholder("Name, project or filter").fill("experiment_3")
    page.locator(".adder button.item").first.click()
    expect(page.locator(".ct thead .nm")).to_have_text(["experiment_1", "experiment_2", "experiment_3"])


@pytest.mark.long
def test_from_the_ticked_runs_of_the_list(serve, open_page, three):
    page = open_page(serve().url)
    expect(page.locator("tr[data-key]")).to_have_count(3)
    for key in three:
        page.locator(f'tr[data-key="{key}"] input.tick').check()
    page.get_by_role("link", name="Compare").first.click()
    expect(page.locator(".ct thead th[data-run]")).to_have_count(3)


def test_a_live_run_grows_in_the_overlay_and_in_the_table(serve, open_page, root, three):
    key, folder = make(root, 9, "growing", "ViT", 0.1, 8, 50, status="running")
    beat(root, folder, key.rsplit("/", 1)[1])
    page = open_compare(open_page, serve(), [three[0], key])
    expect(chart(page, "val/accuracy")).to_have_attribute("data-last-step", "39")
    with open(folder / "events.jsonl", "a", encoding="utf-8") as file:
        file.write(event(time.time(), 60, {"val/accuracy": 91.5}))
    expect(chart(page, "val/accuracy")).to_have_attribute("data-last-step", "60")
    expect(cells(page, "val/accuracy").nth(1)).to_contain_text("91.50")
    expect(cells(page, "val/accuracy").nth(1)).to_have_class(re.compile("best"))


@pytest.mark.long
def test_fifty_runs_scroll_sideways_and_keep_the_baseline_in_view(serve, open_page, root):
    keys = [make(root, index, f"sweep_{index:02}", "r", index / 1000, 8, 50 + index / 10)[0]
            for index in range(50)]
    page = open_compare(open_page, serve(), keys)
    best = cells(page, "val/accuracy").nth(49)
    best.scroll_into_view_if_needed()
    expect(best).to_have_class(re.compile("best"))
    expect(page.locator(".ct thead th.base")).to_be_in_viewport()
    expect(chart(page, "val/accuracy").locator("canvas")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_config_and_a_run_that_is_gone(serve, open_page, root, three):
    hostile = "<img src=x onerror=alert(1)>"
    folder = write_run(root, "vision", "odd", "20250123_190000_abc777",
                       config={hostile: hostile, "long": "x" * 10_000}, rows=3)
    (folder / "summary.json").write_text(json.dumps({"loss": "NaN"}))
    page = open_page(
        f"{serve().url}/compare?runs={three[0]},local:vision/odd/20250123_190000_abc777,local:vision/gone/20200101_000000_abcdef"
    )
    expect(page.locator(".ct thead th[data-run]")).to_have_count(2)
    expect(page.get_by_role("rowheader", name=hostile)).to_be_visible()
    expect(page.locator(".banner")).to_contain_text("1 run is not here")
    expect(page.locator("h1")).to_have_text("2 runs")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # its connection was on its way to it
    write_run(root, "vision", "gone", "20200101_000000_abcdef", rows=3)
    expect(page.locator(".ct thead th[data-run]")).to_have_count(3, timeout=20_000)
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator("h1")).to_have_text("3 runs")


@pytest.mark.long
def test_with_nothing_to_compare_the_next_step_is_said(serve, open_page):
    page = open_page(f"{serve().url}/compare")
    expect(page.get_by_role("heading", name="Nothing to compare yet")).to_be_visible()
    expect(page.get_by_role("link", name="Go to the runs")).to_be_visible()


@pytest.mark.long
def test_a_chart_has_the_same_axis_in_the_list_on_the_page_of_a_run_and_beside_other_runs(
        serve, open_page, root):
    folder = write_run(root, "vision", "schedule", "20250123_180000_abc123", rows=0,
                       started=time.time() - 5000)
    with open(folder / "events.jsonl", "w", encoding="utf-8") as file:
        file.writelines(event(1737653445 + step, step,
                              {"optim/lr": 0.01 / (1 + step), "optim/grad_norm": 10 / (1 + step)})
                        for step in range(40))
    (folder / "summary.json").write_text(json.dumps({"optim/lr": 0.00025, "optim/grad_norm": 0.25}))
    key, url = "local:vision/schedule/20250123_180000_abc123", serve().url
    for address in (f"/?ticked={key}", f"/runs/{key}?group=one", f"/runs/{key}", f"/compare?runs={key}"):
        page = open_page(url + address)
        expect(page.locator("figure.chart header", has_text="grad_norm")).to_contain_text(" log")
        expect(page.locator("figure.chart header", has_text="lr")).not_to_contain_text(" log")


@pytest.mark.long
def test_an_axis_of_another_metric_is_named_in_the_bar(serve, open_page, three):
    page = open_compare(open_page, serve(), three)
    axis = page.get_by_role("radiogroup", name="Horizontal axis")
    axis.get_by_role("radio").last.click()
    page.get_by_role("menuitemradio", name="train/loss").click()
    expect(axis.get_by_role("radio").last).to_have_text("loss")
    expect(axis.get_by_role("radio").last).to_have_attribute("aria-checked", "true")
    axis.get_by_role("radio", name="Wall").click()
    expect(axis.get_by_role("radio").last).to_have_attribute("aria-checked", "false")


@pytest.mark.long
def test_a_metric_that_a_run_logs_later_gets_its_chart(serve, open_page, root):
    key, folder = make(root, 0, *GUIDE[0], status="running")
    beat(root, folder, key.rsplit("/", 1)[1])
    page = open_compare(open_page, serve(), [key])
    expect(chart(page, "train/loss")).to_be_visible()
    with open(folder / "events.jsonl", "a", encoding="utf-8") as file:
        file.write(event(time.time(), 41, {"val/f1": 0.5}))
    expect(chart(page, "val/f1")).to_be_visible()
