"""Compare opened at an address with short ids, in a real browser: the curves are there and the address says
the whole keys."""

import re

import pytest
from playwright.sync_api import expect
from small_runs import write_run

pytest_plugins = ["chromium"]

COLOURED = """() => [...document.querySelectorAll('figure canvas')].some((canvas) => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) {
        const rgb = [data[i], data[i + 1], data[i + 2]];
        if (data[i + 3] > 9 && Math.max(...rgb) - Math.min(...rgb) > 60) return true;
    }
    return false;
})"""
IDS = ["20250123_180000_abc123", "20250123_180001_abc123"]


def test_runs_named_by_their_ids_are_compared_with_their_curves(home, serve, open_page):
    for run_id in IDS:
        write_run(home / "experiments", "vision", "resnet", run_id)
    page = open_page(f"{serve().url}/compare?runs={','.join(IDS)}&base={IDS[1]}")
    page.wait_for_function(COLOURED, timeout=60000)
    expect(page).to_have_url(re.compile("local.*vision.*180000.*local.*vision.*180001.*base=local.*180001"))


@pytest.mark.long
def test_runs_that_an_address_ticks_by_their_ids_have_their_names_and_curves(home, serve, open_page):
    for number, run_id in enumerate(IDS):
        write_run(home / "experiments", "vision", f"resnet{number}", run_id)
    # the last is nowhere
    page = open_page(f"{serve().url}/?ticked={','.join([*IDS, '20990101_000000_ffffff'])}")
    page.wait_for_function(COLOURED, timeout=60000)
    expect(page.locator(".panel .lg .nm")).to_have_text(["resnet0", "resnet1", "20990101_000000_ffffff"])
    expect(page.locator("tr.on")).to_have_count(2)
    expect(page).to_have_url(re.compile("ticked=local.*vision.*180000.*local.*vision.*180001"))
