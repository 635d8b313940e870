"""How fresh things are, said in several places, is one answer: the API's, by the viewer's clock, whatever the
others show."""

import json
import os
import re
import threading
import time

import pytest
from line import Line
from playwright.sync_api import expect
from small_runs import beat, event, write_run
from waiting import until

pytest_plugins = ["chromium"]

RUN_ID = "20250123_180000_abc123"
NAME = "gpu"
KEY = f"gpu:vision/resnet50/{RUN_ID}"
# A browser's wall clock that a test sets; its steady clock goes on as it does.
MOVED = ("const wall = Date.now.bind(Date); window.skew = {skew} * 1000; "
         "Date.now = () => wall() + window.skew;")
HOUR = 3600
BAR, HEAD, RAIL = f".conn[data-connection={NAME}] .ago", "[data-fact=connection] .ago", ".rail h2 .ago"
# The age the API tells, by its own clock, and what the places say, read in one turn.
READ = """async places => {
    const answer = await fetch('/api/connections');
    const [row] = (await answer.json()).connections;
    const say = selector => document.querySelector(selector)?.innerText ?? null;
    return {api: Number(answer.headers.get('X-Runicorn-Time')) - row.last_news, said: places.map(say)};
}"""
SAID = "places => places.map((selector) => document.querySelector(selector)?.innerText ?? null)"
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def seconds(text):
    """What an age as the pages write it is in seconds."""
    value, unit = re.fullmatch(r"([\d.,]+) (\w+) ago", text).groups()
    return float(value.replace(",", "")) * UNITS[unit]


@pytest.fixture
def running(tmp_path, sshd):
    """running(off=0) starts a run on the server whose clock is off by so many s, with a row, a sample and a
    beat each second."""
    stop, threads = threading.Event(), []

    def run(off=0):
        root = tmp_path / "far" / "root"
        folder = write_run(root, "vision", "resnet50", RUN_ID, "running", started=time.time() + off)

        def write():
            step = 20
            while not stop.wait(1):
                step += 1
                now = time.time() + off
                with open(folder / "events.jsonl",
                          "a") as events, open(folder / "system.jsonl", "a") as system:
                    events.write(event(now, step, {"train/loss": 2.0 / step}))
                    system.write(json.dumps({"ts": now, "cpu": 50.0, "mem": [12e9, 64e9]}) + "\n")
                beat(root, folder, RUN_ID)
        threads.append(threading.Thread(target=write))
        threads[-1].start()
        return folder
    yield run
    stop.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def site(home, sshd, serve):
    """site(port=None, names=…) -> Server with live connections to the sshd, the first of them through a Line
    of that port if given."""
    def start(port=None, names=(NAME,)):
        server, key = serve(), sshd.known_hosts.read_text().split(None, 1)[1]
        if port:
            with open(home / "known_hosts", "a") as file:
                file.write(f"[{sshd.host}]:{port} {key}")
        for name in names:
            more = {"port": port} if port and name == names[0] else {}
            server.connections.save(sshd.connection(name=name, remote_root="~/root", **more))
        until(lambda: all(row["state"] == "live" for row in server.connections.list())
              and server.catalog.runs()["runs"])
        return server
    sshd.trusted_in(home)
    return start


@pytest.mark.few("-3600")
@pytest.mark.parametrize("skew", [0, HOUR, -HOUR])
def test_bar_and_head_say_what_the_api_says_whatever_the_browsers_clock_shows(running, site, open_page, skew):
    running()
    server = site()
    page = open_page(f"{server.url}/runs/{KEY}", script=MOVED.format(skew=skew))
    expect(page.locator(HEAD)).to_be_visible()
    # its last news grow old: an age that no clock shows by being near to nothing
    server.connections.pause(NAME)
    expect(page.locator(f".conn[data-connection={NAME}][data-state=paused]")).to_be_visible()
    time.sleep(9)
    found = page.evaluate(READ, [BAR, HEAD])
    assert found["api"] > 8
    assert [abs(seconds(text) - found["api"]) < 2 for text in found["said"]] == [True, True], found
    assert found["said"][0] == found["said"][1]


def test_with_the_line_down_all_ages_count_on(running, site, open_page, sshd):
    running()
    with Line(sshd.port) as line:
        page = open_page(f"{site(line.port).url}/runs/{KEY}")
        expect(page.locator(RAIL)).to_have_text(re.compile(r"^\d(\.\d)? s ago"))
        line.stall()
        began = time.monotonic()
        time.sleep(10)
        found = page.evaluate(READ, [HEAD, RAIL])
        least = time.monotonic() - began - 5
        assert [seconds(text) > least for text in found["said"]] == [True, True], (found, least)
        assert abs(seconds(found["said"][0]) - found["api"]) < 6


@pytest.mark.long
def test_with_the_viewer_gone_the_last_news_grow_old(running, site, open_page):
    running()
    server = site()
    page = open_page(f"{server.url}/runs/{KEY}")
    expect(page.locator(HEAD)).to_be_visible()
    server.end.close()
    expect(page.locator(".banner.bad")).to_be_visible()
    before = [seconds(page.locator(place).inner_text())
              for place in (f".conn:has-text('{NAME}') .ago", HEAD, RAIL)]
    time.sleep(7)
    after = [seconds(page.locator(place).inner_text())
             for place in (f".conn:has-text('{NAME}') .ago", HEAD, RAIL)]
    assert [now - then > 5 for then, now in zip(before, after)] == [True, True, True], (before, after)
    assert abs(after[0] - after[1]) <= 1


@pytest.mark.long
@pytest.mark.few("3600")
@pytest.mark.parametrize("off", [HOUR, -HOUR])
def test_a_sample_is_as_old_as_it_is_whatever_the_servers_clock_shows(running, site, open_page, off):
    running(off)
    page = open_page(f"{site().url}/runs/{KEY}")
    expect(page.locator(RAIL)).to_be_visible()
    time.sleep(8)                   # the first answer may be a guess: no beat was seen before
    assert seconds(page.locator(RAIL).inner_text()) < 12
    page.goto(page.url + "?tab=system")
    expect(page.locator(".sysnow .ago")).to_be_visible()
    assert seconds(page.locator(".sysnow .ago").inner_text()) < 12


@pytest.mark.long
def test_after_a_sleep_the_page_asks_what_time_it_is(running, site, open_page):
    running()
    server = site()
    page = open_page(f"{server.url}/runs/{KEY}", script=MOVED.format(skew=0))
    expect(page.locator(HEAD)).to_be_visible()
    server.connections.pause(NAME)          # nothing rings any more that would bring the time along
    expect(page.locator(f".conn[data-connection={NAME}][data-state=paused]")).to_be_visible()
    page.wait_for_timeout(4000)
    for skew in (HOUR, -HOUR, 3 * HOUR):
        page.evaluate(f"window.skew = {skew * 1000}")
        time.sleep(4)
        # before anybody asks: an answer tells the page the time
        said = page.evaluate(SAID, [BAR, HEAD])
        found = page.evaluate(READ, [BAR, HEAD])
        assert [abs(seconds(text) - found["api"]) < 2 for text in said] == [True, True], (skew, said, found)


@pytest.mark.long
@pytest.mark.few("3600")
@pytest.mark.parametrize("skew", [HOUR, -HOUR])
def test_a_tab_in_the_background_says_the_same_as_another_once_it_is_back(running, site, open_page, skew):
    running()
    server = site()
    away, other = (open_page(f"{server.url}/runs/{KEY}", script=MOVED.format(skew=0)) for _ in range(2))
    for page in (away, other):
        expect(page.locator(HEAD)).to_be_visible()
    away.evaluate("""() => {
        Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.gone});
                             window.gone = true; document.dispatchEvent(new Event('visibilitychange')); }""")
    server.connections.pause(NAME)
    away.evaluate(f"window.skew = {skew * 1000}")       # the machine's clock is set meanwhile
    time.sleep(9)
    assert f"{NAME} Paused" in other.locator(f".conn[data-connection={NAME}]").inner_text().replace("\n", " ")
    away.evaluate("() => { window.gone = false; document.dispatchEvent(new Event('visibilitychange')); }")
    expect(away.locator(f".conn[data-connection={NAME}][data-state=paused]")).to_be_visible()
    away.wait_for_timeout(2500)
    found = [page.evaluate(READ, [BAR, HEAD]) for page in (away, other)]
    assert [abs(seconds(text) - one["api"]) < 2 for one in found for text in one["said"]] == [True] * 4, found


@pytest.mark.long
def test_a_run_through_two_mirrors_tells_the_age_of_the_one_it_is_read_from(running, site, open_page, sshd):
    running()
    with Line(sshd.port) as line:
        page = open_page(site(line.port, (NAME, "other")).url)
        page.goto(page.url + f"runs/{RUN_ID}")
        line.stall()
        expect(page.locator("[data-fact=connection] bdi")).to_have_text("other")        # the freshest
        time.sleep(7)
        both = page.evaluate(SAID, [HEAD, ".conn[data-connection=other] .ago"])
        assert both[0] == both[1] and seconds(both[0]) < 6
        stale = page.locator(f".conn[data-connection={NAME}] .ago")
        assert seconds(stale.inner_text()) > 6


@pytest.mark.long
def test_the_sample_of_a_run_that_ended_has_a_time_and_no_age(home, serve, open_page):
    folder = write_run(home / "experiments", "vision", "resnet50", RUN_ID, started=1737653445.0)
    (folder / "system.jsonl").write_text(json.dumps({"ts": 1737653450.0, "cpu": 50.0}) + "\n")
    page = open_page(f"{serve().url}/runs/local:vision/resnet50/{RUN_ID}")
    expect(page.locator(".rail h2").first).to_contain_text("2025-01-24 01:30:50")
    assert page.locator(".rail [data-ago]").count() == 0


@pytest.mark.long
def test_of_a_run_of_this_machine_the_sample_is_as_old_as_its_file(home, serve, open_page):
    root = home / "experiments"
    folder = write_run(root, "vision", "resnet50", RUN_ID, "running")
    beat(root, folder, RUN_ID)
    (folder / "system.jsonl").write_text(json.dumps({"ts": time.time() + HOUR, "cpu": 50.0}) + "\n")
    then = time.time() - 600
    os.utime(folder / "system.jsonl", (then, then))
    page = open_page(f"{serve().url}/runs/local:vision/resnet50/{RUN_ID}", script=MOVED.format(skew=5 * HOUR))
    expect(page.locator(RAIL)).to_have_text("10 min ago")
