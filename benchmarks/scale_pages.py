"""What a page costs as a root, a run or a comparison grows: each row at three sizes in a real Chromium, with
the exponent between them.

    python benchmarks/scale_pages.py        # every row; about half an hour, 2 GB of scratch space
    python benchmarks/scale_pages.py --only runs charts       # some rows
    python benchmarks/scale_pages.py --only files --sizes 100 1000
    python benchmarks/scale_pages.py --scratch /tmp/s         # keeps the roots for the next time

Frames are Chromium's own, by its trace while a page scrolls as fast as it draws; beside them stands what one
costs the page's main thread, which is what the frame rate is on a machine that does nothing else. Shares of a
core are of the same thread while one run grows by ten rows a second. A line whose exponent, from the second
size to the third, is above 1.15 is marked, and so is a missed target.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests" / "support")]

from browser import Chromium  # noqa: E402
from pages import CHROMIUM, viewer  # noqa: E402
from scale_roots import made  # noqa: E402
from small_runs import beat, event, write_run  # noqa: E402

WORST = 1.15                # exponent above which a row grows worse than linearly
START = 1_737_653_445.0
RATE = 10                   # rows a second of the run that grows
WATCHED = 8.0               # s for which it is watched
SCROLLED = 2.0              # s of scrolling
PATIENCE = 120.0            # s until a page is given up
SETTLE = 3.0                # s of calm after a page is painted
COUNTED = """(() => {
    window.bytes = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((one) => {
        window.bytes += one.encodedBodySize;
    }))
        .observe({type: "resource", buffered: true});
})()"""
SCROLL = """new Promise((resolve) => {
    const box = document.querySelector(%s);
    const start = performance.now();
    let frames = 0;
    const step = () => {
        box.scrollTop += 300;
        if (box.scrollTop + box.clientHeight >= box.scrollHeight - 1) box.scrollTop = 0;
        frames += 1;
        performance.now() - start < %d ? requestAnimationFrame(step) : resolve(frames);
    };
    requestAnimationFrame(step);
})"""
ROWS = {}


class Figure(NamedTuple):
    """One figure of a row at one size. most, least: its target; grows: whether its exponent is held against
    WORST."""

    what: str
    value: float
    unit: str
    most: float = math.inf
    least: float = -math.inf
    grows: bool = False


def row(*sizes):
    """Register the decorated function(browser, scratch, size) -> [Figure] under its name, for these sizes."""
    def add(function):
        ROWS[function.__name__] = (function, sizes)
        return function
    return add


# -- a page under measurement --------------------------------------------------------------------------------


class Costs(NamedTuple):
    """What a page's main thread did in a stretch: s of tasks, layout, style, script; layouts; s it took;
    bytes of answers."""

    task: float
    layout: float
    style: float
    script: float
    layouts: float
    seconds: float
    bytes: float

    def minus(self, other):
        return Costs(*(mine - its for mine, its in zip(self, other)))


class Watched:
    """One tab on the viewer, with the browser's own counters on."""

    def __init__(self, browser, before=""):
        self.page = browser.tab(browser.context(), f"{COUNTED};{before}")
        self.page.ask("Performance.enable", timeDomain="threadTicks")
        self._browser = browser

    def open(self, url, ready):
        """Go to `url`; returns ms from the navigation until the expression `ready` is true."""
        self.page.go(url)
        return self.until(ready)

    def until(self, ready):
        since = time.monotonic()
        while time.monotonic() - since < PATIENCE:
            with contextlib.suppress(RuntimeError):             # asked before the new document was there
                if at := self.page.value(f"({ready}) && performance.now()"):
                    return at
            time.sleep(0.01)
        raise SystemExit(f"the page never comes to {ready}")

    def now(self):
        said = {one["name"]: one["value"] for one in self.page.ask("Performance.getMetrics")["metrics"]}
        return Costs(said["TaskDuration"], said["LayoutDuration"], said["RecalcStyleDuration"],
                     said["ScriptDuration"], said["LayoutCount"], time.monotonic(),
                     self.page.value("window.bytes"))

    def spent(self, seconds):
        """Return the Costs of so many seconds."""
        before = self.now()
        time.sleep(seconds)
        return self.now().minus(before)

    def scrolled(self, selector):
        """Scroll what `selector` names for a while; returns (frames drawn a second by the trace, ms of the
        main thread a frame)."""
        before = self.now()
        with self._browser.traced("devtools.timeline.frame,disabled-by-default-devtools.timeline") as events:
            frames = self.page.value(SCROLL % (json.dumps(selector), SCROLLED * 1000))
        spent = self.now().minus(before)
        drawn = [one["ts"] for one in events if one.get("name") == "DrawFrame"]
        rate = (len(drawn) - 1) / ((max(drawn) - min(drawn)) / 1e6) if len(drawn) > 2 else frames / SCROLLED
        return min(rate, frames / SCROLLED), spent.task / frames * 1000

    def elements(self):
        return self.page.value("document.querySelectorAll('*').length")

    def close(self):
        self.page.close()


@contextlib.contextmanager
def growing(root, folder, metrics=lambda step: {"train/loss": 2.3 / step}, also=lambda step: None):
    """Let the run in `folder` of `root` log RATE rows a second and beat meanwhile; also(step) is called after
    each."""
    ended = threading.Event()

    def work():
        start = time.time()
        with open(folder / "events.jsonl", "a", encoding="utf-8", buffering=1) as file:
            for step in range(1, 10**6):
                if ended.wait(max(0.0, start + step / RATE - time.time())):
                    return
                if step % (RATE * 5) == 1:
                    beat(root, folder, folder.name)
                file.write(event(time.time(), step, metrics(step)))
                also(step)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def many_runs(root, count, place, rows=1):
    """place(number) -> (project, name)."""
    for number in range(count):
        project, name = place(number)
        write_run(root, project, name, f"20250123_{number:06}_{number:06x}", rows=rows,
                  started=START + number, config={"lr": number / 1e4})


def live_run(root, project="live", name="live", **more):
    folder = write_run(root, project, name, "20260101_180000_abc123", "running", rows=1, started=time.time(),
                       **more)
    beat(root, folder, folder.name)
    return folder


@contextlib.contextmanager
def opened(browser, scratch, root, path, ready, before="", calm=SETTLE):
    """A viewer that knows `root`, and a tab on `path` of it; yields (Watched, ms to `ready`)."""
    home = Path(tempfile.mkdtemp(dir=scratch))
    with viewer(home, root) as url:
        wait_for_index(url)
        tab = Watched(browser, before)
        at = tab.open(url + path, ready)
        time.sleep(calm)
        yield tab, at, url
        tab.close()
    shutil.rmtree(home)


def wait_for_index(url):
    while True:
        with urlopen(f"{url}/api/runs?limit=1", timeout=600) as answer:
            said = json.load(answer)
        if not said["loading"] and not said["unread"]:
            return
        time.sleep(0.3)


def memory(url):
    """MB of the viewer that answers at `url`."""
    port = url.rsplit(":", 1)[1]
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdecimal() and f"--port\0{port}\0".encode() in (folder / "cmdline").read_bytes():
                status = (folder / "status").read_text()
                return int(status.split("VmRSS:")[1].split()[0]) / 1000
    return math.nan


# -- rows ----------------------------------------------------------------------------------------------------


@row(1000, 10_000, 100_000)
def runs(browser, scratch, size):
    """Runs, the page's list: frames while scrolling, and what one run that grows costs the page."""
    root = made(scratch / f"runs{size}",
                lambda root: many_runs(root, size, lambda n: (f"project{n % 20}", f"exp{n % 300}")))
    yield from of_list(browser, scratch, root)


@row(100, 1000, 10_000)
def projects(browser, scratch, size):
    """Projects of one run each."""
    root = made(scratch / f"projects{size}",
                lambda root: many_runs(root, size, lambda n: (f"project{n:05}", "base")))
    yield from of_list(browser, scratch, root)


@row(100, 1000, 10_000)
def experiments(browser, scratch, size):
    """Experiments of one run each in one project, which is open in the tree."""
    root = made(scratch / f"experiments{size}",
                lambda root: many_runs(root, size, lambda n: ("project", f"exp{n:05}")))
    yield from of_list(browser, scratch, root, "?project=project")


def of_list(browser, scratch, root, query=""):
    folder = live_run(root)
    with opened(browser, scratch, root, f"/{query}",
                "document.querySelectorAll('tr[data-key]').length > 20") as (tab, at, url):
        frames, each = tab.scrolled(".scroll.rows")
        tab.page.value("document.querySelector('.scroll.rows').scrollTop = 0")
        with growing(root, folder):
            time.sleep(3)
            live = tab.spent(WATCHED)
        yield Figure("rows painted, warm", at, "ms")
        yield Figure("frames while scrolling", frames, "/s", least=50)
        yield Figure("main thread a frame", each, "ms", most=20)
        yield Figure("elements in the document", tab.elements(), "", most=5000)
        yield Figure("page busy while one run grows", live.task / live.seconds * 100, "%", most=15)
        yield Figure("answers while one run grows", live.bytes / live.seconds / 1000, "kB/s", most=100)
        yield Figure("viewer", memory(url), "MB", most=500)
    shutil.rmtree(folder)


def with_metrics(root, count, rows=20, status="finished"):
    names = [f"layer{n:05}/norm{n:05}" for n in range(count)]
    started = START if status == "finished" else time.time()
    folder = write_run(root, "vision", "wide", "20250123_180000_abc123", status, rows=0, started=started)
    with open(folder / "events.jsonl", "w", encoding="utf-8") as file:
        for step in range(rows):
            file.write(event(START + step, step,
                             {"val/loss": 1 / (step + 1),
                              **{name: step + at for at, name in enumerate(names)}}))
    (folder / "summary.json").write_text(json.dumps({"val/loss": 0.25, **dict.fromkeys(names, 1.0)}))
    return folder


CURVES = ("[...document.querySelectorAll('figure[data-chart]')].filter((one) => one.dataset.lastStep >= "
          "0).length >= 3")


OFFERED = "Number(document.querySelector('.tabs .m3')?.textContent.replace(/\\D/g, '') || 0)"
DEEDS = {
    "filter typed": """const field = document.querySelector('.charttools input');
        field.value = 'norm';
        field.dispatchEvent(new Event('input'))""",
    "theme switched": "document.documentElement.dataset.theme = 'dark'",
}


@row(100, 1000, 10_000)
def charts(browser, scratch, size):
    """Charts on a run's page: frames while scrolling, a drag, a zoom of all, the filter."""
    root = made(scratch / f"charts{size}", lambda root: with_metrics(root, size))
    with opened(browser, scratch, root, "/runs/local:vision/wide/20250123_180000_abc123", CURVES) as (
        tab, at, _):
        time.sleep(size / 2000)
        frames, each = tab.scrolled(".chartscroll")
        yield Figure("first charts, warm", at, "ms")
        yield Figure("charts the page offers", tab.page.value(OFFERED), "")
        yield Figure("frames while scrolling", frames, "/s", least=50)
        yield Figure("main thread a frame", each, "ms", most=20)
        yield Figure("elements in the document", tab.elements(), "", most=5000)
        for what, does in DEEDS.items():
            before = tab.now()
            tab.page.value(f"(() => {{ {does} }})()")
            time.sleep(2)
            yield Figure(f"main thread, {what}", tab.now().minus(before).task * 1000, "ms", most=200)


@row(100, 1000, 10_000)
def metrics(browser, scratch, size):
    """Metrics in one row: the first chart with nothing read yet, and a run that goes on."""
    root = Path(tempfile.mkdtemp(dir=scratch))
    folder = with_metrics(root, size, 50, "running")
    beat(root, folder, folder.name)
    names = [f"layer{n:05}/norm{n:05}" for n in range(size)]
    with opened(browser, scratch, root, "/runs/local:vision/wide/20250123_180000_abc123", CURVES) as (
        tab, at, _):
        yield Figure("first chart, cold", at, "ms", most=2000)
        with growing(root, folder, lambda step: {"val/loss": 1 / step, **dict.fromkeys(names, step + 0.5)}):
            time.sleep(3)
            live = tab.spent(WATCHED)
        yield Figure("page busy while it grows", live.task / live.seconds * 100, "%", most=15)
        yield Figure("answers while it grows", live.bytes / live.seconds / 1000, "kB/s")
    shutil.rmtree(root)


@row(100, 1000, 10_000)
def files(browser, scratch, size):
    """The Files tab of a run that goes on and changes one file a second."""
    def make(root):
        folder = live_run(root, "vision", "files")
        for number in range(size):
            place = folder / f"checkpoints/{number // 1000:02}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"model{number:05}.pt").write_bytes(b"x")
    root = made(scratch / f"files{size}", make)
    folder = next(iter(root.glob("vision/files/runs/*")))
    (folder / "events.jsonl").write_text(event(time.time(), 0, {"train/loss": 2.3}))
    shown = "document.querySelectorAll('.files-table tr, .files-table [role=row]').length > 5"
    changed = folder / "checkpoints/00/model00005.pt"
    with opened(browser, scratch, root, f"/runs/local:vision/files/{folder.name}?tab=files", shown) as (
        tab, at, _):
        with growing(root, folder, also=lambda step: step % RATE or changed.write_bytes(b"x" * (step + 2))):
            time.sleep(3)
            live = tab.spent(WATCHED * 2)
        yield Figure("files painted, warm", at, "ms")
        yield Figure("page busy while it grows", live.task / live.seconds * 100, "%", most=5)
        yield Figure("answers while it grows", live.bytes / live.seconds / 1000, "kB/s", most=200)
        yield Figure("elements in the document", tab.elements(), "", most=5000)


@row(10, 25, 50)
def compare(browser, scratch, size):
    """Runs compared in a viewer that has read none of them: the first chart, all of them."""
    root = made(scratch / f"compare{size}", lambda root: many_compared(root, size))
    keys = [f"local:vision/run{n:02}/20250123_{n:06}_{n:06x}" for n in range(size)]
    first, whole, busy = [], [], []
    for _ in range(3):          # the first page that a browser draws waits for the browser
        tab = Watched(browser, TOLD)
        home = Path(tempfile.mkdtemp(dir=scratch))
        with viewer(home, root) as url:
            tab.open(f"{url}/compare?runs={quote(','.join(keys))}", f"window.curves >= {size}")
            first.append(tab.page.value("window.firstAt"))
            whole.append(tab.page.value("window.wholeAt"))
            time.sleep(1)
            busy.append(tab.now().task * 1000)
            elements = tab.elements()
        tab.close()
    yield Figure("first chart, cold", min(first), "ms", most=500)
    yield Figure("a curve of every run, cold", min(whole), "ms", most=1500)
    yield Figure("main thread until then", min(busy), "ms")
    yield Figure("elements in the document", elements, "", most=60_000)


TOLD = """(() => {
    window.curves = 0;
    const look = () => {
        const canvas = document.querySelector('figure[data-chart] .plot canvas');
        const label = canvas?.closest('.plot').getAttribute('aria-label') || '';
        const curves = label ? label.split(', ').length - 1 : 0;
        if (curves > 0) window.firstAt ??= performance.now();
        if (curves > window.curves) window.wholeAt = performance.now();
        window.curves = curves;
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})()"""


def many_compared(root, count, rows=1000, metrics=8):
    for number in range(count):
        folder = write_run(root, "vision", f"run{number:02}", f"20250123_{number:06}_{number:06x}", rows=0,
                           started=START + number, config={f"key{n}": n * number for n in range(40)})
        with open(folder / "events.jsonl", "w", encoding="utf-8") as file:
            for step in range(rows):
                file.write(event(START + step, step,
                                 {f"metric{n}": (step + number) / (n + 1) for n in range(metrics)}))
        (folder / "summary.json").write_text(
            json.dumps(dict.fromkeys((f"metric{n}" for n in range(metrics)), 1.0)))


# -- the table -----------------------------------------------------------------------------------------------


def exponent(sizes, values):
    """Return the power of the size by which the value grew between the last two sizes (float; nan where it
    can't be told)."""
    if len(sizes) < 2 or min(values[-2:]) <= 0:
        return math.nan
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def told(name, sizes, found):
    """Print one row; returns how many of its lines miss their target or grow worse than linearly."""
    print(f"\n{name}: {' '.join(f'{size:>12,}' for size in sizes):>60}", flush=True)
    missed = 0
    for figures in zip(*found):
        values, last = [one.value for one in figures], figures[-1]
        power = exponent(sizes, values)
        bad = (last.value > last.most or last.value < last.least
               or power > WORST and last.value > last.most / 4)
        missed += bad
        target = (f"<= {last.most:g}" if last.most < math.inf else f">= {last.least:g}"
                  if last.least > -math.inf else "")
        numbers = " ".join(f"{value:12,.1f}" for value in values)
        print(f"  {last.what:<34} {numbers} {last.unit:<5} {target:>9}  "
              f"n^{power:.2f}{'  MISSED' if bad else ''}", flush=True)
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=[*ROWS])
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--scratch", type=Path)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = options.scratch or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scratch.mkdir(parents=True, exist_ok=True)
        os.environ.update(HOME=str(scratch), RUNICORN_HOME=str(scratch / "nobody"))
        browser = stack.enter_context(Chromium(CHROMIUM))
        missed = 0
        for name in options.only:
            function, sizes = ROWS[name]
            sizes = options.sizes or sizes
            missed += told(name, sizes, [[*function(browser, scratch, size)] for size in sizes])
    raise SystemExit(bool(missed))


if __name__ == "__main__":
    main()
