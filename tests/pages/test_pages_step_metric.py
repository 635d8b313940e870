"""What `define_metric` says of how a metric is shown: the metric it is drawn by, and that it is hidden."""

import pytest
from playwright.sync_api import expect

import runicorn

pytest_plugins = ["chromium"]


@pytest.fixture
def run(home):
    with runicorn.init(project="vision", name="n", storage=home / "experiments", capture=False,
                       system=False) as run:
        run.define_metric("epoch")
        run.define_metric("val/*", step_metric="epoch")
        run.define_metric("secret", hidden=True)
        run.define_metric("gone", step_metric="never logged")
        for step in range(300):
            run.log({"train/loss": 1 / (step + 1), "secret": step, "gone": step}, step=step)
            if step % 100 == 99:
                run.log({"epoch": step // 100 + 1, "val/acc": step}, step=step)
        run.name = "a new name"
    return run


RECORD = """
    window.axes = {};
    const get = window.fetch;
    window.fetch = (address, ...rest) => {
        const asked = new URL(address.url || address, location.href);
        if (asked.pathname === "/api/series") {
            asked.searchParams.getAll("metric").forEach((name) => {
                window.axes[name] = asked.searchParams.get("x") || "step";
            });
        }
        return get(address, ...rest);
    };
"""


def test_a_chart_is_drawn_by_its_step_metric_until_the_reader_chooses(run, serve, open_page):
    page = open_page(f"{serve().url}/runs/{run.id}", script=RECORD)
    drawn = {"val/acc": "metric:epoch", "train/loss": "step", "gone": "step"}
    page.wait_for_function("(drawn) => Object.entries(drawn).every(([name, x]) => window.axes[name] === x)",
                           arg=drawn)
    expect(page.locator("figure", has_text="by epoch")).to_have_count(1)
    expect(page.locator("figure", has_text="secret")).to_have_count(0)
    page.locator(".charttools input.inp").fill("secret")
    expect(page.locator("figure", has_text="secret")).to_have_count(1)
    page.locator(".charttools input.inp").fill("")
    page.get_by_role("radio", name="Wall").click()
    page.wait_for_function("() => window.axes['val/acc'] === 'wall' && window.axes['train/loss'] === 'wall'")
    expect(page.locator("figure", has_text="by epoch")).to_have_count(0)
    page.get_by_role("radio", name="Step").click()
    page.wait_for_function("() => window.axes['val/acc'] === 'step' && location.search.includes('x=step')")


@pytest.mark.long
def test_a_run_shows_the_name_it_was_given_later(run, serve, open_page):
    server = serve()
    page = open_page(server.url)
    expect(page.get_by_text("a new name").first).to_be_visible()
    told = page.evaluate("fetch('/api/facets?of=names&project=vision').then((answer) => answer.json())")
    assert [entry["name"] for entry in told["items"]] == ["n"]


@pytest.mark.long
@pytest.mark.few(1)
@pytest.mark.parametrize("other, axis", [("epoch", "metric:epoch"), (None, "step"), ("round", "step")])
def test_compared_runs_are_drawn_by_a_step_metric_where_all_of_them_say_so(
        run, home, serve, open_page, other, axis):
    with runicorn.init(project="vision", name="m", storage=home / "experiments", capture=False,
                       system=False) as second:
        second.define_metric("val/*", step_metric=other)
        for step in range(300):
            second.log({"train/loss": 1 / (step + 1)}, step=step)
            if step % 100 == 99:
                second.log({"epoch": step // 100 + 1, "round": step, "val/acc": step}, step=step)
    page = open_page(f"{serve().url}/compare?runs={run.id},{second.id}", script=RECORD)
    page.wait_for_function("(drawn) => Object.entries(drawn).every(([name, x]) => window.axes[name] === x)",
                           arg={"val/acc": axis, "train/loss": "step"})
    expect(page.locator("figure", has_text="by epoch")).to_have_count(int(axis != "step"))
