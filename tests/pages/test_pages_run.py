"""The page of a run in a real browser on the real viewer: head, charts and their news, zoom, choices,
machine, config, files."""

import json
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect
from small_runs import beat, event, write_run

pytest_plugins = ["chromium"]

KEY = "local:vision/resnet50/20250123_180000_abc123"
HOSTILE = ["<img src=x onerror=alert(1)>", "\u202egnihton\u202c", "👩‍👩‍👧 中文 عربى", "n" * 3000,
           "a,b|c=%2F"]
GB = 1e9
RED_PIXELS = """() => {
    const canvas = document.querySelector('figure canvas');
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let red = 0;
    for (let i = 0; i < pixels.length; i += 4) {
        red += pixels[i] === 185 && pixels[i + 1] === 35 && pixels[i + 2] === 43;
    }
    return red;
}"""


@pytest.fixture
def root(home):
    return home / "experiments"


def write_rows(folder, rows, name="events.jsonl", mode="w"):
    """rows: iterable of (ts, step, {metric: value})."""
    with open(folder / name, mode, encoding="utf-8") as file:
        file.write("".join(event(*row) for row in rows))


def guide_rows(start, steps):
    for step in range(0, steps, 10):
        yield (
            start + step,
            step,
            {
                "train/loss": 2.3 / (1 + step / 100),
                "train/accuracy": min(99, 10 + step / 20),
                "train/learning_rate": 0.001,
                "epoch": step // 500,
            },
        )
        if step % 500 == 490:
            yield start + step + 1, step, {"val/loss": 2.4 / (1 + step / 100),
                                           "val/accuracy": min(95, 9 + step / 21)}


@pytest.fixture
def live(root):
    """A run as in the guide that is alive: 2,000 steps so far; its folder."""
    start = time.time() - 2100
    folder = write_run(
        root,
        "vision",
        "resnet50",
        KEY.rsplit("/", 1)[1],
        "running",
        started=start,
        tags=["baseline", "resnet"],
        config={"model": "resnet50", "optimizer": {"lr": 0.001}, "max_steps": 4000},
        git={"commit": "a41f9c2e77d05b1c", "dirty": True},
    )
    write_rows(folder, guide_rows(start, 2000))
    (folder / "summary.json").write_text(json.dumps({"val/loss": 0.4, "val/accuracy": 95}))
    (folder / "system.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "ts": time.time() - 100 + 10 * i,
                    "cpu": 45,
                    "mem": [12 * GB, 64 * GB],
                    "disk": [300 * GB, 900 * GB],
                    "gpu": [{"i": 0, "name": "RTX", "util": 95, "mem": [8.2 * GB, 11 * GB], "temp": 71,
                             "power": 240}],
                }
            )
            + "\n"
            for i in range(10)
        )
    )
    beat(root, folder, KEY.rsplit("/", 1)[1])
    return folder


def resting_box(page, locator):
    """The bounding box of what has found its place: the parts of a page arrive one after the other."""
    box = None
    while box != (box := locator.bounding_box()):
        page.wait_for_timeout(300)
    return box


def chart(page, title):
    return page.locator(f'figure[data-chart="{title}"]')


def open_run(open_page, server, query="", **options):
    page = open_page(f"{server.url}/runs/{KEY}{query}", **options)
    expect(page.locator("h1")).to_have_text("resnet50")
    return page


def test_the_guides_charts_stand_above_the_fold_with_their_last_values(serve, open_page, live):
    page = open_run(open_page, serve())
    for title in ("loss", "accuracy", "learning_rate"):
        expect(chart(page, title).locator("canvas")).to_be_in_viewport(ratio=1)
    expect(chart(page, "loss").locator(".lgd")).to_contain_text("train")
    expect(chart(page, "loss").locator(".lgd")).to_contain_text("val")
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "1990")
    expect(chart(page, "loss").locator(".n")).to_have_text("200 of 200 pts")
    assert page.locator("figure.chart h2").all_inner_texts()[:3] == ["loss", "accuracy", "learning_rate"]


@pytest.mark.long
def test_the_head_tells_how_far_how_good_and_what_it_is(serve, open_page, live):
    page = open_run(open_page, serve())
    expect(page.locator("[data-fact=step]")).to_contain_text("1,990 of 4,000")
    expect(page.locator("[data-fact=best]")).to_contain_text("val/loss")
    expect(page.locator("[data-fact=id]")).to_contain_text("20250123_180000_abc123")
    expect(page.locator(".rh .chip")).to_have_text(["baseline", "resnet"])
    assert page.title() == "resnet50 · Runicorn"


def test_the_guides_system_figures_stand_beside_the_charts_in_both_languages(serve, open_page, live):
    server = serve()
    rail = open_run(open_page, server).locator(".rail .sys")
    for words in ("GPU use", "95%", "GPU memory", "8.2GB / 11GB", "CPU use", "45%", "Memory use",
                  "12GB / 64GB"):
        expect(rail).to_contain_text(words)
    chinese = open_run(open_page, server, locale="zh-CN").locator(".rail .sys")
    for words in ("GPU 使用率", "GPU 内存", "CPU 使用率", "内存使用"):
        expect(chinese).to_contain_text(words)


def test_new_points_appear_by_themselves_and_nothing_jumps(serve, open_page, live):
    page = open_run(open_page, serve())
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "1990")
    box = chart(page, "accuracy").bounding_box()
    page.locator(".charttools input.inp").focus()
    write_rows(live, [(time.time(), 2000, {"train/loss": 0.1}),
                      (time.time(), 2010, {"train/loss": 0.09, "fresh/metric": 1})], mode="a")
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "2010")
    expect(chart(page, "loss").locator(".lgd")).to_contain_text("0.0900")
    expect(chart(page, "metric")).to_be_attached()
    expect(page.locator("[data-fact=step]")).to_contain_text("2,010")
    assert chart(page, "accuracy").bounding_box() == box
    expect(page.locator(".charttools input.inp")).to_be_focused()


@pytest.mark.long
def test_a_drag_zooms_all_charts_and_refetches_and_a_double_click_resets(serve, open_page, live):
    page = open_run(open_page, serve())
    over = chart(page, "loss").locator(".u-over")
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "1990")
    box = resting_box(page, over)
    with page.expect_request(lambda request: "/api/series" in request.url and "from=" in request.url
                             and "to=" in request.url):
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=4)
        page.mouse.up()
    expect(page.locator(".zoomed")).to_be_visible()
    expect(chart(page, "accuracy").locator(".n")).to_have_text(re.compile("^(49|50|51) of"))
    write_rows(live, [(time.time(), 2000, {"train/loss": 0.1})], mode="a")
    expect(page.get_by_role("button", name="New points")).to_be_visible()
    expect(chart(page, "accuracy").locator(".n")).to_have_text(re.compile("^(49|50|51) of"))
    over.dblclick()
    expect(page.locator(".zoomed")).to_have_count(0)
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "2000")


@pytest.mark.long
def test_a_stretch_whose_right_edge_is_in_view_slides_with_the_news(serve, open_page, live):
    page = open_run(open_page, serve())
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "1990")
    box = resting_box(page, chart(page, "loss").locator(".u-over"))
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] + 20, box["y"] + 40, steps=4)
    page.mouse.up()
    shown = page.locator(".zoomed .num")
    expect(shown).to_have_text(re.compile("– 1,990$"))
    first = shown.inner_text().split(" – ")[0]
    write_rows(live, [(time.time(), 2000 + 10 * i, {"train/loss": 0.1}) for i in range(11)], mode="a")
    expect(shown).to_have_text(re.compile("– 2,100$"))
    assert shown.inner_text().split(" – ")[0] != first, "it grew instead of sliding"
    expect(page.get_by_role("button", name="New points")).to_have_count(0)


@pytest.mark.long
def test_the_crosshair_is_shared_and_its_box_is_sorted_by_value(serve, open_page, live):
    page = open_run(open_page, serve())
    over = chart(page, "loss").locator(".u-over")
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "1990")
    box = resting_box(page, over)
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
    tip = page.locator(".chart-tip")
    expect(tip).to_contain_text("step ")
    values = [float(value) for value in tip.locator("td:last-child").all_inner_texts()]
    assert len(values) == 2 and values == sorted(values, reverse=True)
    label = chart(page, "loss").locator(".xlab").inner_text()
    expect(chart(page, "accuracy").locator(".xlab")).to_have_text(label)
    expect(tip.locator(".when")).to_have_text(re.compile(r"^epoch \d · (\w+ \d+ )?\d\d:\d\d:\d\d$"))
    page.mouse.move(5, 5)
    expect(tip).to_have_count(0)


@pytest.mark.long
def test_the_box_tells_step_epoch_and_time_of_day_on_every_axis(serve, open_page, live):
    page = open_run(open_page, serve())
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "1990")
    starts = []
    for axis in ("Step", "Relative", "Wall"):
        page.get_by_role("radio", name=axis).click()
        chart(page, "learning_rate").locator(".plot").focus()
        tip = page.locator(".chart-tip")
        while not tip.count():                  # a key before the curves of this axis are drawn shows nothing
            page.keyboard.press("ArrowLeft")
            page.wait_for_timeout(50)
        expect(tip).to_contain_text(
            re.compile(r"epoch \d.*\d\d:\d\d:\d\d" if axis != "Wall" else r"\d\d:\d\d:\d\d.*epoch \d"))
        said = tip.inner_text().replace(",", "")
        hours, minutes, seconds = map(int, re.search(r"(\d\d):(\d\d):(\d\d)", said).groups())
        step, epoch = int(re.search(r"step (\d+)", said)[1]), int(re.search(r"epoch (\d+)", said)[1])
        assert epoch == step // 500
        starts.append((3600 * hours + 60 * minutes + seconds - step) % 86400)
        page.get_by_placeholder("Metrics, regex").focus()
    assert len(set(starts)) == 1, "a step a second was logged, so all say the same start"


@pytest.mark.long
def test_a_chart_is_dragged_by_its_title_and_stays_there(serve, open_page, live):
    server = serve()
    page = open_run(open_page, server)
    titles = page.locator("figure.chart h2")
    expect(titles).to_have_text(["loss", "accuracy", "learning_rate", "epoch"])
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "1990")
    box, onto = chart(page, "learning_rate").locator("h2").bounding_box(), chart(page, "loss").bounding_box()
    before = chart(page, "accuracy").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(onto["x"] + 20, onto["y"] + 80, steps=6)
    expect(page.locator(".dropbar")).to_be_visible()
    assert chart(page, "accuracy").bounding_box() == before, "charts moved before the drop"
    page.keyboard.press("Escape")
    expect(page.locator(".dropbar")).to_have_count(0)
    page.mouse.up()
    expect(titles).to_have_text(["loss", "accuracy", "learning_rate", "epoch"])
    page.mouse.move(box["x"] + 10, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(onto["x"] + 20, onto["y"] + 80, steps=6)
    page.mouse.up()
    expect(titles).to_have_text(["learning_rate", "loss", "accuracy", "epoch"])
    expect(page.locator(".zoomed")).to_have_count(0)
    again = open_run(open_page, server)
    expect(again.locator("figure.chart h2")).to_have_text(["learning_rate", "loss", "accuracy", "epoch"])
    chart(again, "learning_rate").get_by_role("button", name="Chart menu").focus()
    again.keyboard.press("Enter")
    again.get_by_role("menuitem", name="Move down").focus()
    again.keyboard.press("Enter")
    expect(again.locator("figure.chart h2")).to_have_text(["loss", "learning_rate", "accuracy", "epoch"])


@pytest.mark.long
def test_choices_are_kept_in_the_address_and_per_project(serve, open_page, live):
    server = serve()
    page = open_run(open_page, server)
    page.get_by_role("radio", name="Relative").click()
    page.get_by_placeholder("Metrics, regex").fill("^val/")
    expect(page.locator("figure.chart h2")).to_have_text(["loss", "accuracy"])
    assert "x=relative" in page.url and "metrics=" in page.url
    again = open_page(page.url)
    expect(again.locator("figure.chart h2")).to_have_text(["loss", "accuracy"])
    again.get_by_placeholder("Metrics, regex").fill("")
    chart(again, "learning_rate").hover()
    chart(again, "learning_rate").get_by_role("button", name="Chart menu").click()
    # a page opened before it knows nothing of it
    with again.expect_response(lambda answer: answer.request.method == "PATCH"):
        again.get_by_role("menuitem", name="Pin to the top").click()
    expect(again.locator("figure.chart h2").first).to_have_text("learning_rate")
    third = open_run(open_page, server)
    expect(third.locator("figure.chart h2").first).to_have_text("learning_rate")


def test_log_axes_smoothing_and_full_screen(serve, open_page, live):
    page = open_run(open_page, serve())
    write_rows(live, [(time.time(), 2000, {"train/loss": 0, "flat": -1}),
                      (time.time(), 2010, {"train/loss": -3, "flat": -1})], mode="a")
    expect(chart(page, "flat")).to_be_attached()
    for title in ("loss", "flat"):
        chart(page, title).scroll_into_view_if_needed()
        chart(page, title).hover()
        page.keyboard.press("l")
        expect(chart(page, title).locator("h2")).to_contain_text("log")
        expect(chart(page, title).locator("canvas")).to_be_visible()
    chart(page, "loss").hover()
    page.keyboard.press("f")
    expect(chart(page, "loss")).to_have_class(re.compile("full"))
    page.keyboard.press("Escape")
    expect(chart(page, "loss")).not_to_have_class(re.compile("full"))
    page.keyboard.press("s")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".smoothing .num")).to_have_text("0.61")
    expect(page).to_have_url(re.compile("smooth=0.61"))


@pytest.mark.long
def test_nan_infinity_and_superseded_points_are_shown_as_such(serve, open_page, root):
    start = time.time() - 1000
    folder = write_run(root, "vision", "resnet50", KEY.rsplit("/", 1)[1], rows=0, started=start)
    write_rows(folder, [(start + i, i, {"loss": "NaN" if i == 5 else "Infinity" if i == 7 else 1 / (i + 1)})
                        for i in range(30)])
    write_rows(folder, [(start + 100 + i, i, {"loss": 0.5}) for i in range(20, 40)], "events.2.jsonl")
    (folder / "status.json").write_text(
        json.dumps(
            {
                "status": "finished",
                "started_at": start,
                "ended_at": start + 500,
                "attempts": [{"n": 1, "started_at": start},
                             {"n": 2, "started_at": start + 100, "from_step": 20}],
            }
        )
    )
    page = open_run(open_page, serve())
    expect(chart(page, "loss").locator(".n .bad")).to_have_text("2 NaN or ∞")
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "39")
    expect(page.locator("[data-fact=attempt]")).to_contain_text("2 resumed at 20")
    assert page.evaluate(RED_PIXELS) > 20, "no triangle on the canvas"


@pytest.mark.long
def test_two_hundred_metrics_are_made_when_they_come_into_view(serve, open_page, root):
    start = time.time() - 100
    folder = write_run(root, "vision", "resnet50", KEY.rsplit("/", 1)[1], rows=0, started=start)
    write_rows(folder,
               [(start + i, i, {f"layer{n:03}/norm{n:03}": n + i for n in range(200)}) for i in range(5)])
    page = open_run(open_page, serve())
    expect(page.locator("figure.chart")).to_have_count(200)
    expect(chart(page, "norm000").locator("canvas")).to_be_visible()
    assert 6 <= page.locator("figure.chart canvas").count() <= 24
    chart(page, "norm199").scroll_into_view_if_needed()
    expect(chart(page, "norm199").locator("canvas")).to_be_visible()
    expect(chart(page, "norm000").locator("canvas")).to_have_count(0)
    assert page.locator("figure.chart canvas").count() <= 24


def test_tabs_for_the_machine_the_config_and_the_files(serve, open_page, live):
    (live / "checkpoint.pt").write_bytes(b"x" * 5000)
    (live / "latest.pt").symlink_to("checkpoint.pt")
    page = open_run(open_page, serve())
    tabs = page.get_by_role("navigation", name="Parts of the run")
    tabs.get_by_role("link", name="System").click()
    expect(chart(page, "GPU use, %").locator("canvas")).to_be_visible()
    expect(chart(page, "GPU memory, GB").locator(".lgd")).to_contain_text("8.2")
    tabs.get_by_role("link", name="Config").click()
    expect(page.get_by_role("row", name="optimizer.lr 0.001")).to_be_visible()
    tabs.get_by_role("link", name="Files").click()
    expect(page.get_by_role("row", name="checkpoint.pt")).to_contain_text("5.0kB")
    expect(page.get_by_text("Not listed: 1 symbolic link")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("row", name="optimizer.lr 0.001")).to_be_visible()
    assert page.url.endswith("tab=config")


@pytest.mark.long
def test_the_config_tab_names_the_slurm_job(serve, open_page, live):
    meta = json.loads((live / "meta.json").read_text())
    meta["slurm"] = {"job_id": "77", "account": "lab", "qos": "long", "time_limit": "02:00:00", "nodes": "2",
                     "tasks": "8", "submit_dir": "/home/alice", "config": "0123abcd"}
    (live / "meta.json").write_text(json.dumps(meta))
    page = open_run(open_page, serve())
    page.get_by_role("navigation", name="Parts of the run").get_by_role("link", name="Config").click()
    section = page.locator("section", has=page.get_by_role("heading", name="Slurm"))
    expect(section.get_by_role("row")).to_have_text(
        [f"{name}{value}" for name, value in meta["slurm"].items() if name != "config"])


@pytest.mark.long
def test_tags_and_note_are_edited_here_and_never_in_the_run(serve, open_page, live):
    before = (live / "meta.json").read_bytes()
    page = open_run(open_page, serve())
    page.keyboard.press("e")
    page.get_by_placeholder("tags, parted by commas").fill("baseline, best")
    page.get_by_placeholder("what this run is about").fill("spike at 17k")
    page.keyboard.press("Enter")
    expect(page.locator(".rh .chip")).to_have_text(["baseline", "best"])
    expect(page.locator(".note")).to_contain_text("spike at 17k")
    assert (live / "meta.json").read_bytes() == before


def test_a_failed_run_says_why_without_a_hover(serve, open_page, root):
    folder = write_run(root, "vision", "resnet50", KEY.rsplit("/", 1)[1], "failed")
    (folder / "status.json").write_text(
        json.dumps(
            {
                "status": "failed",
                "started_at": 1,
                "ended_at": 2,
                "exit_code": 1,
                "error": "FloatingPointError: loss is NaN",
                "traceback":
                "Traceback (most recent call last):\n  File train.py\nFloatingPointError: loss is NaN\n",
            }
        )
    )
    page = open_run(open_page, serve())
    expect(page.locator(".whybar")).to_contain_text("FloatingPointError: loss is NaN")
    page.locator(".whybar summary").click()
    expect(page.locator(".whybar pre")).to_contain_text("File train.py")


def test_hostile_names_are_shown_as_text(serve, open_page, root):
    write_run(root, "vision", "resnet50", KEY.rsplit("/", 1)[1], tags=HOSTILE,
              config=dict(zip(HOSTILE, HOSTILE)), rows=0)
    folder = next(root.rglob("events.jsonl")).parent
    write_rows(folder, [(time.time() + i, i, dict.fromkeys(HOSTILE, i)) for i in range(4)])
    page = open_run(open_page, serve())
    expect(page.locator("figure.chart")).to_have_count(len(HOSTILE))
    expect(chart(page, HOSTILE[0])).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a long name widened the page"
    page.get_by_role("link", name="Config").click()
    expect(page.get_by_role("cell", name=HOSTILE[0])).to_be_visible()


@pytest.mark.long
def test_a_tree_without_uplot_says_what_to_do_in_place_of_each_chart(serve, open_page, live):
    server = serve()
    page = open_page(f"{server.url}/settings")
    page.route("**/uplot/**", lambda route: route.fulfill(status=404))
    page.goto(f"{server.url}/runs/{KEY}")
    expect(chart(page, "loss").locator(".noplot")).to_contain_text("run `make` once where there is a network")


@pytest.mark.long
def test_a_run_that_comes_after_its_page_was_opened_is_shown(serve, open_page, root):
    """A bookmark opened while the connection is on its way."""
    page = open_page(f"{serve().url}/runs/{KEY}?tab=logs")
    expect(page.get_by_role("heading", name="This run is not here")).to_be_visible()
    folder = write_run(root, "vision", "resnet50", KEY.rsplit("/", 1)[1], "running")
    write_rows(folder, guide_rows(time.time(), 100))
    (folder / "logs.txt").write_text("the first line\n")
    beat(root, folder, folder.name)
    expect(page.get_by_text("the first line")).to_be_visible(timeout=20_000)
    with open(folder / "logs.txt", "a") as file:
        file.write("the second line\n")
    expect(page.get_by_text("the second line")).to_be_visible(timeout=20_000)
    expect(page.locator("section.log")).to_have_count(1)


@pytest.mark.long
def test_a_run_that_is_not_here_and_an_id_that_is_short(serve, open_page, live):
    server = serve()
    page = open_page(f"{server.url}/runs/20250101_000000_ffffff")
    expect(page.get_by_role("heading", name="This run is not here")).to_be_visible()
    short = open_page(f"{server.url}/runs/20250123_180000_abc123")
    expect(short.locator("h1")).to_have_text("resnet50")
    expect(chart(short, "loss").locator("canvas")).to_be_visible()


@pytest.mark.long
def test_keys_lead_to_the_neighbours_and_back_to_the_list(serve, open_page, live, root):
    write_run(root, "vision", "older", "20250101_180000_abc999", started=time.time() - 90000)
    page = open_run(open_page, serve())
    page.keyboard.press("]")
    expect(page.locator("h1")).to_have_text("older")
    page.keyboard.press("[")
    expect(page.locator("h1")).to_have_text("resnet50")
    page.keyboard.press("Escape")
    expect(page.locator("tr[data-key]")).to_have_count(2)


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("width", [900, 1440])
def test_everything_fits_at(serve, open_page, live, width):
    page = open_run(open_page, serve(), width=width)
    expect(chart(page, "loss").locator("canvas")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator(".gaugeline" if width == 900 else ".rail .sys")).to_contain_text("95%")


def test_a_chart_is_saved_as_csv_and_as_png(serve, open_page, live):
    page = open_run(open_page, serve())
    for name, ending in (("Save as CSV", "csv"), ("Save as PNG", "png")):
        chart(page, "loss").hover()
        expect(chart(page, "loss").locator("canvas")).to_be_visible()
        with page.expect_download() as caught:
            chart(page, "loss").get_by_role("button", name="Chart menu").click()
            page.get_by_role("menuitem", name=name).click()
        content = Path(caught.value.path()).read_bytes()
        assert caught.value.suggested_filename == f"loss.{ending}"
        assert content.startswith(b"run,metric,x," if ending == "csv" else b"\x89PNG") and (
            ending == "png" or content.count(b"\n") == 1 + 200 + 4
        )


@pytest.mark.long
def test_focus_selection_and_an_open_menu_survive_the_news(serve, open_page, live):
    page = open_run(open_page, serve())
    expect(chart(page, "loss")).to_have_attribute("data-last-step", "1990")
    page.get_by_role("button", name="Copy the id").focus()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('[data-fact=id] .mono'))")
    write_rows(live, [(time.time(), 2000, {"train/loss": 0.5})], mode="a")
    expect(page.locator("[data-fact=step]")).to_contain_text("2,000")
    expect(page.get_by_role("button", name="Copy the id")).to_be_focused()
    assert page.evaluate("String(getSelection())") == "20250123_180000_abc123"
    chart(page, "loss").hover()
    chart(page, "loss").get_by_role("button", name="Chart menu").click()
    write_rows(live, [(time.time(), 2010, {"train/loss": 0.25})], mode="a")
    expect(chart(page, "loss").locator(".lgd")).to_contain_text("0.2500")
    expect(page.get_by_role("menuitem", name="Save as CSV")).to_be_visible()
