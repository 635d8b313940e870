"""The pages in a real Chromium with a cold cache: how soon they are painted, how soon a logged point is
drawn, what they weigh.

    python benchmarks/pages.py                     # everything; about four minutes, 1 GB of scratch space
    python benchmarks/pages.py --only list live    # some parts: list, million, live, mirror, hour, weight
    python benchmarks/pages.py --scratch /tmp/s    # keeps the big runs for the next time

Painted means: the frame after the rows or the curves are in the document or on the canvas, counted from the
navigation. Cold: nothing in the browser's cache, and for the list no index on disk, so that of 10,000 runs
the newest come first; warm: the same browser's second opening, when the viewer has its index. Beside them
stands the floor, one small static file in the same browser. Chromium draws in software here, so every frame
is dearer than with a graphics card. These pages are opened over Chromium's own pipe, because Playwright's
instruments cost a page a fifth of its time. One table, each figure beside its target.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "support")]

from browser import Chromium  # noqa: E402
from small_runs import beat, event, write_run  # noqa: E402
from sshd import Sshd, free_port  # noqa: E402

CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-precise-memory-info",
    "--js-flags=--expose-gc",
]
KEY = "vision/resnet50/20250123_180000_abc123"
SPIKES = [123_456, 300_001, 500_000, 777_777, 999_998]
GUIDE = ("train/loss", "train/accuracy", "train/learning_rate", "epoch")
WATCH = """(() => {
    window.drawn = [];
    const look = () => {
        const step = Number(document.querySelector('figure[data-chart="loss"]')?.dataset.lastStep ?? -1);
        if (step > (window.drawn.at(-1)?.[0] ?? -1)) window.drawn.push([step, Date.now() / 1000]);
        const ready = window.ready && window.ready();
        if (ready && !window.paintedAt) requestAnimationFrame((at) => {
            window.paintedAt ??= at;
            window.told?.(at);
        });
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})()"""
ROWS = """window.ready = () => document.querySelectorAll('tr[data-key]').length > 20;
    const count = () => {
        const words = document.querySelector('.counts b')?.textContent;
        words ? window.countedAt = performance.now() : requestAnimationFrame(count);
    };
    count()"""
COUNTED = "window.countedAt || Infinity"
CURVES = ("window.ready = () => [...document.querySelectorAll('figure[data-chart]')].filter((one) => "
          "one.dataset.lastStep > 0).length >= 4")
FLOOR = "window.ready = () => document.documentElement"
FRAMES = """new Promise((resolve) => {
    const box = [...document.querySelectorAll('*')].find((one) => (
        one.scrollHeight > one.clientHeight + 5000 && one.clientHeight > 300));
    const start = performance.now();
    let [count, full] = [0, 0];
    const step = () => {
        full += document.querySelectorAll('tr[data-key]').length > 20;
        box.scrollTop += 300;
        count += 1;
        const spent = performance.now() - start;
        spent < 2000 ? requestAnimationFrame(step) : resolve([count / (spent / 1000), full / count]);
    };
    requestAnimationFrame(step);
})"""
PAINTED = "window.paintedAt || new Promise((resolve) => { window.told = resolve; })"
ROUNDS = 3


@contextlib.contextmanager
def viewer(home, root):
    """A viewer process on `root`; yields its address."""
    port = free_port()
    environment = {**os.environ, "RUNICORN_HOME": str(home), "PYTHONPATH": str(HERE.parent),
                   "PYTHONDONTWRITEBYTECODE": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "runicorn", "viewer", "--root", str(root), "--port", str(port),
         "--no-browser"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_for(url, process):
    from urllib.request import urlopen

    for _ in range(200):
        try:
            with urlopen(f"{url}/api"):
                return
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"the viewer ended: {process.stderr.read().decode()}") from None
            time.sleep(0.05)
    raise SystemExit("the viewer does not answer")


def open_page(browser, url, ready=None):
    """A page in a context of its own, so with a cold cache; waits for `ready` and returns (page, ms from
    navigation to painted)."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(WATCH)
    if ready:
        page.add_init_script(ready)
    page.goto(url, wait_until="commit")
    while ready and not page.evaluate("window.paintedAt"):
        time.sleep(0.02)
    return page, page.evaluate("window.paintedAt")


# -- parts ---------------------------------------------------------------------------------------------------


def opening(page, url):
    """Milliseconds from the navigation of an empty tab to `url` until the page was painted."""
    page.go(url)
    for _ in range(100):
        try:
            at = page.value(PAINTED)
        except RuntimeError:
            at = None           # asked before the new document was there
        if at:
            return at
        time.sleep(0.005)
    raise SystemExit("the page is never painted")


def measure_list(browser, scratch):
    with Chromium(CHROMIUM) as plain:
        for count, target in ((1000, 400), (10_000, 900)):
            yield from measure_lists(plain, scratch, count, target)


def measure_lists(browser, scratch, count, target):
    root = scratch / f"list{count}"
    if not root.exists():
        for index in range(count):
            run = f"20250123_{index:06}_{index:06x}"
            write_run(root, f"project{index % 20}", f"exp{index % 300}", run, config={"lr": index / 1e4},
                      rows=12)
    rounds = []
    for _ in range(ROUNDS):
        context = browser.context()
        first = browser.tab(context, f"{WATCH};{ROWS}")
        with viewer(Path(tempfile.mkdtemp(dir=scratch)), root) as url:
            cold = opening(first, url)
            time.sleep(3)               # the viewer makes and keeps its index
            whole = first.value(COUNTED)
            first.close()
            second = browser.tab(context, f"{WATCH};{ROWS}")
            warm = opening(second, url)
            time.sleep(1)
            frames, full = second.value(FRAMES) if count > 1000 else (0, 0)
            second.close()
            empty = browser.tab(context, f"{WATCH};{FLOOR}")
            rounds.append((opening(empty, f"{url}/static/icon.svg"), cold, whole, warm, frames, full))
            empty.close()
    floor, cold, whole, warm, frames, full = map(statistics.median, zip(*rounds))
    yield "the floor: one small file painted", f"{floor:.0f} ms", "–"
    yield f"list of {count:,} runs painted, cold", f"{cold:.0f} ms", f"{target} ms"
    yield "… and all of them counted", f"{whole:.0f} ms", "–"
    yield f"list of {count:,} runs painted, warm", f"{warm:.0f} ms", f"{200 if count > 1000 else target} ms"
    if count > 1000:
        name = f"scrolling {count:,} runs (rows there in {full:.0%} of the frames)"
        yield name, f"{frames:.0f} frames/s", "50"


def million(scratch):
    """A run of a million steps with four metrics and five spikes of one step; returns its root."""
    root = scratch / "million"
    if not (root / "done").exists():
        folder = write_run(root, "vision", "resnet50", KEY.rsplit("/", 1)[1], rows=0, started=1737653445)
        rng = random.Random(1)
        with open(folder / "events.jsonl", "w", encoding="utf-8") as file:
            for step in range(1_000_000):
                loss = 50.0 if step in SPIKES else 2.3 / (1 + step / 1e5) + rng.random() / 10
                file.write(event(1737653445 + step / 100, step,
                                 dict(zip(GUIDE, (loss, 100 * rng.random(), 0.001, step // 1563)))))
        (root / "done").touch()
    return root


def measure_million(browser, scratch):
    root, home = million(scratch), scratch / "millionhome"
    with viewer(home, root) as url:
        warm, _ = open_page(browser, f"{url}/runs/local:{KEY}", CURVES)
        warm.wait_for_function("() => !document.querySelector('figure .warn')", timeout=120_000, polling=200)
        answer = warm.evaluate(
            f"fetch('/api/series?run=local:{KEY}&metric=train/loss&buckets=600').then((one) => one.json())")
        series = answer["series"][0]
        shown = {x for x, high in zip(series["max_x"], series["max"]) if high == 50.0}
        yield "spikes of one step in the drawn data", f"{len(shown & set(SPIKES))} of 5", "5"
        warm.context.close()
    with Chromium(CHROMIUM) as plain:
        for word, target in (("no cache, coarse", "600 ms"), ("column cache", "500 ms")):
            rounds = []
            for _ in range(ROUNDS):
                page = plain.tab(plain.context(), f"{WATCH};{CURVES}")
                with viewer(home if "column" in word else Path(tempfile.mkdtemp(dir=scratch)), root) as url:
                    rounds.append(opening(page, f"{url}/runs/local:{KEY}"))
                    page.close()
            yield f"1,000,000 steps x 4 painted, {word}", f"{statistics.median(rounds):.0f} ms", target


def live_run(root):
    folder = write_run(root, "vision", "resnet50", KEY.rsplit("/", 1)[1], "running", rows=0,
                       started=time.time())
    (folder / "events.jsonl").write_text(event(time.time(), 0, {"train/loss": 2.3}))
    beat(root, folder, KEY.rsplit("/", 1)[1])
    return folder


def append(folder, seconds, rate, first=1):
    """Log `rate` points a second; returns {step: when}."""
    logged = {}
    with open(folder / "events.jsonl", "a", encoding="utf-8", buffering=1) as file:
        start = time.time()
        for count in range(int(seconds * rate)):
            time.sleep(max(0, start + count / rate - time.time()))
            step = first + count
            logged[step] = time.time()
            file.write(
                event(
                    logged[step],
                    step,
                    {"train/loss": 2.3 / step, "train/accuracy": step % 100, "train/learning_rate": 0.001,
                     "epoch": step // 100},
                )
            )
    return logged


def delays(page, logged):
    drawn = page.evaluate("window.drawn")
    return sorted(next((at for upto, at in drawn if upto >= step), float("inf")) - when
                  for step, when in logged.items())


def measure_live(browser, scratch, seconds):
    root = Path(tempfile.mkdtemp(dir=scratch))
    folder = live_run(root)
    with viewer(root / "home", root) as url:
        page, _ = open_page(browser, f"{url}/runs/local:{KEY}")
        page.wait_for_selector('figure[data-chart="loss"][data-last-step="0"]')
        logged = append(folder, seconds, 10)
        time.sleep(1)
        spent = delays(page, logged)
        median = f"{statistics.median(spent) * 1000:.0f} ms"
        yield f"local append to drawn pixel over {seconds} s, median", median, "250 ms"
        yield "… worst", f"{spent[-1] * 1000:.0f} ms", "500 ms"
        page.context.close()


def measure_mirror(browser, scratch, seconds):
    """Over SFTP through a line of 50 ms round trip, from the write on the server to the pixel."""
    from line import Line

    folder = Path(tempfile.mkdtemp(dir=scratch))
    run = live_run(folder / "far")
    home = folder / "home"
    with Sshd(folder / "sshd", start=folder / "far") as server, Line(server.port, rtt=0.05) as line:
        home.mkdir()
        settings = server.connection(name="far", port=line.port, remote_root=str(folder / "far"))
        (home / "config.json").write_text(json.dumps({"connections": [settings]}))
        (home / "config.json").chmod(0o600)
        (home / "known_hosts").write_text(
            f"[127.0.0.1]:{line.port} {' '.join(Path(server.known_hosts).read_text().split()[1:3])}\n")
        with viewer(home, folder) as url:
            page, _ = open_page(browser, f"{url}/runs/{KEY.rsplit('/', 1)[1]}")
            for _ in range(60):
                if page.query_selector('figure[data-chart="loss"]'):
                    break
                page.wait_for_timeout(500)
                page.reload()
            page.wait_for_selector('figure[data-chart="loss"][data-last-step]')
            logged = append(run, seconds, 10)
            time.sleep(3)
            spent = delays(page, logged)
            median = f"{statistics.median(spent) * 1000:.0f} ms"
            yield f"log to drawn pixel, mirrored at 50 ms, over {seconds} s, median", median, "1000 ms"
            yield "… worst", f"{spent[-1] * 1000:.0f} ms", "2000 ms"
            page.context.close()


def heap(page):
    """Bytes of JavaScript objects that are alive."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return session.send("Runtime.getHeapUsage")["usedSize"]


def busy(session):
    """Seconds of processor time of the page's main thread since the session's Performance.enable."""
    return {one["name"]: one["value"]
            for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]


def measure_hour(browser, scratch, seconds):
    """36,000 points, an hour at 10 a second, in `seconds`; what the page does is bounded by its four repaints
    a second either way.

    Its processor time a second of an hour at 10 points a second is measured apart, at the real pace.
    """
    root = Path(tempfile.mkdtemp(dir=scratch))
    folder = live_run(root)
    with viewer(root / "home", root) as url:
        page, _ = open_page(browser, f"{url}/runs/local:{KEY}")
        page.wait_for_selector('figure[data-chart="loss"][data-last-step="0"]')
        append(folder, 10, 10)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = busy(session)
        append(folder, 20, 10, first=101)
        share = f"{(busy(session) - before) / 20:.1%} of a core"
        yield "page's processor time at 10 points a second", share, "10%"
        early = append_fast(folder, page, 301, 12_000, seconds / 3)
        late = append_fast(folder, page, 12_301, 24_000, seconds * 2 / 3)
        yield (
            "page memory after a third of an hour, and at its end",
            f"{early / 1e6:.1f} and {late / 1e6:.1f} MB ({late / early - 1:+.0%})",
            "+10%",
        )
        page.context.close()


def append_fast(folder, page, first, count, seconds):
    append(folder, seconds, count / seconds, first)
    time.sleep(2)
    return heap(page)


def measure_weight(browser, scratch):
    root = Path(tempfile.mkdtemp(dir=scratch))
    live_run(root)
    with viewer(root / "home", root) as url:
        page = browser.new_context().new_page()
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        total, assets = [0], {}
        session.on("Network.responseReceived",
                   lambda said: assets.__setitem__(said["requestId"], said["response"]["url"]))
        session.on(
            "Network.loadingFinished",
            lambda said: total.__setitem__(
                0, total[0]
                + (said["encodedDataLength"] if "/api/" not in assets.get(said["requestId"], "/api/") else 0)
            ),
        )
        page.goto(f"{url}/runs/local:{KEY}")
        page.wait_for_selector('figure[data-chart="loss"][data-last-step]')
        yield (
            "everything a run page loads, data aside",
            f"{total[0] / 1000:.0f} kB in {sum('/api/' not in one for one in assets.values())} answers",
            "200 kB",
        )
        page.context.close()


PARTS = {
    "list": measure_list,
    "million": measure_million,
    "live": measure_live,
    "mirror": measure_mirror,
    "hour": measure_hour,
    "weight": measure_weight,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--seconds", type=int, default=60, help="how long the live parts last")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = options.scratch or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scratch.mkdir(parents=True, exist_ok=True)
        os.environ.update(HOME=str(scratch), RUNICORN_HOME=str(scratch / "nobody"))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM)
        for name in options.only:
            extra = [options.seconds] if name in ("live", "mirror", "hour") else []
            for what, found, target in PARTS[name](browser, scratch, *extra):
                print(f"{what:<66} {found:>24}   target {target}", flush=True)


if __name__ == "__main__":
    main()
