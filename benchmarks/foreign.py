"""Runs of other loggers: a million records, two thousand runs, equal points; beside TensorBoard and W&B's own
reader on the same files.

    python benchmarks/foreign.py                       # a quarter of an hour; needs 3 GB of scratch space
    python benchmarks/foreign.py --only million equal  # some sections: see --help
    python benchmarks/foreign.py --scratch /tmp/s      # keeps the files for the next time

The files are written by the real packages (torch's SummaryWriter, wandb offline). Painted means: the frame
after the curve is on the canvas, or the rows are in the document, counted from the navigation, in a Chromium
with nothing in its cache; TensorBoard's page is judged in the same browser by its first chart. Beside that
stands the time from the command typed. One table, each figure beside its target.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "support")]

from browser import Chromium  # noqa: E402
from line import Line  # noqa: E402
from pages import CHROMIUM, CURVES, ROWS, WATCH, opening  # noqa: E402
from scale_roots import made  # noqa: E402
from sshd import Sshd, free_port  # noqa: E402

WITH_DATASTORE = "wandb==0.18.7", "setuptools<81"
RECORDS, RUNS, OF_RUN, LINES = 1_000_000, 2000, 200, 2_000_000
TAGS = ("train/loss", "train/accuracy", "train/lr", "val/loss")
CHART = ("window.ready = () => document.querySelector('line-chart canvas, line-chart svg path, "
         "vz-line-chart2 path.line')")
ROUNDS = 3
SECTIONS = {}


def section(function):
    SECTIONS[function.__name__] = function
    return function


def say(what, target, value):
    print(f"{what:<84} {target:>9} {value:>14}", flush=True)


# -- files ---------------------------------------------------------------------------------------------------

def write_million(root):
    from torch.utils.tensorboard import SummaryWriter
    chance = random.Random(7)
    with SummaryWriter(root / "vision" / "resnet50", max_queue=10_000) as writer:
        for step in range(RECORDS // len(TAGS)):
            for tag in TAGS:
                writer.add_scalar(tag, chance.random(), step)


def write_many(root):
    from torch.utils.tensorboard import SummaryWriter
    chance = random.Random(8)
    for run in range(RUNS):
        with SummaryWriter(root / f"project{run % 20}" / f"run{run:04}", max_queue=10_000) as writer:
            for step in range(OF_RUN // len(TAGS)):
                for tag in TAGS:
                    writer.add_scalar(tag, chance.random(), step)


def write_log(root):
    """Write 200 MB of a text log, one line in ten with numbers of the training."""
    chance = random.Random(11)
    (root / "nlp" / "text").mkdir(parents=True)
    with open(root / "nlp" / "text" / "train.log", "w") as file:
        for step in range(LINES // 10):
            clock = f"2026-01-01 12:{step // 60 % 60:02}:{step % 60:02}"
            file.write(f"{clock} Schritt {step} Verlust {chance.random():.6f} Rate 0.001000\n")
            file.writelines(f"{clock} worker {worker} took a batch of images from /data/shard-{step:07}.tar\n"
                            for worker in range(9))


def environment(home):
    # as installed
    return {**os.environ, "RUNICORN_HOME": str(home), "PYTHONPATH": str(HERE.parent),
            "PYTHONDONTWRITEBYTECODE": ""}


# -- programs ------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def serving(command, home, address, ready):
    """Start a program that answers at `address`; yields the s until it did. Ended, with its children, behind
    it."""
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True, env=environment(home))
    try:
        while True:
            with contextlib.suppress(OSError), urlopen(f"{address}{ready}", timeout=60):
                break
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode}")
            time.sleep(0.02)
        yield time.perf_counter() - began
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def ours(root, home):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "runicorn", "viewer", "--root", root, "--port", port, "--no-browser"]
    return address, serving(command, home, address, "/api")


def tensorboards(root, home):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    return address, serving([sys.executable, "-m", "tensorboard.main", "--logdir", root, "--port", port],
                            home, address, "/data/logdir")


def painted(browser, program, before, path="/"):
    """Return (ms from the navigation until painted, s from the command until then)."""
    page = browser.tab(browser.context(), f"{WATCH};{before}")
    address, running = program
    with running as started:
        at = opening(page, f"{address}{path}")
        page.close()
    return at, started + at / 1000


# What wait4 tells is of the process before its exec, too: of ours, which wrote the files.
PEAK = "\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"


def timed(code, *arguments, python=sys.executable):
    """Run Python `code` in a process of its own, which prints JSON; returns (what it printed, its most memory
    in MB)."""
    done = subprocess.run([python, "-c", code + PEAK, *map(str, arguments)], stdout=subprocess.PIPE,
                          cwd=HERE.parent, env={**os.environ, "PYTHONPATH": str(HERE.parent)}, text=True)
    if done.returncode:
        raise SystemExit(f"it ended with {done.returncode}")
    answer, peak = done.stdout.splitlines()
    return json.loads(answer), int(peak) / 1000


# -- sections ------------------------------------------------------------------------------------------------

READ = """
import json, sys, time
began = time.perf_counter()
from runicorn.metrics.foreign_files import ForeignFiles
from runicorn.metrics.series import Series
folder, cache, *more = sys.argv[1:]
series = Series(folder, cache if cache != "-" else None, ForeignFiles(".", ("tensorboard",)))
series.refresh(0.02 if more else None)
pictures = [series.told("run", name) for name in series.metrics()]
print(json.dumps([time.perf_counter() - began, len(pictures),
                  sum(facts["points"] for facts in series.metrics().values())]))
"""


@section
def million(scratch, browser):
    """One event file of a million scalar records: coarse, exact, cached; memory; what is painted."""
    root = made(scratch / "million", write_million)
    folder = root / "vision" / "resnet50"
    cache = scratch / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    (coarse, curves, _), _ = timed(READ, folder, "-", "coarse")
    (exact, _, points), memory = timed(READ, folder, cache)
    (cached, _, again), _ = timed(READ, folder, cache)
    assert curves == len(TAGS) and points == again == RECORDS, (curves, points, again)
    say("1,000,000 records read in a process of its own: coarse, four pictures", "", f"{coarse:.2f} s")
    say("… exact / memory", "6 s 150 MB", f"{exact:.2f} s {memory:.0f} MB")
    say("… from the column cache, its start and imports with it", "", f"{cached:.2f} s")
    began = time.perf_counter()
    command = [sys.executable, "-m", "runicorn", "export", "--run-id", "resnet50", "--root", str(root),
               "--format", "csv", "-o", "-"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment(scratch / "exporthome"))
    say("… exported as CSV, from nothing", "", f"{time.perf_counter() - began:.2f} s")
    home = scratch / "millionhome"
    shutil.rmtree(home, ignore_errors=True)
    rounds = [painted(browser, ours(root, Path(tempfile.mkdtemp(dir=scratch))), CURVES,
                      "/runs/local:vision/resnet50")
              for _ in range(ROUNDS)]
    shown("its page painted, coarse", "600 ms", rounds)
    address, running = ours(root, home)
    with running:
        while json.load(urlopen(f"{address}/api/runs/local:vision/resnet50"))["behind"]:
            time.sleep(0.5)
        exact = json.load(
            urlopen(f"{address}/api/series?run=local:vision/resnet50&metric=train/loss&buckets=600"))[
                "series"][0]
        assert not exact["approximate"]
        times = []
        for _ in range(5):
            began = time.perf_counter()
            urlopen(f"{address}/api/series?run=local:vision/resnet50&metric=train/loss&buckets=600").read()
            times.append(time.perf_counter() - began)
        say("… a curve of it, once read, from the viewer", "100 ms",
            f"{1000 * statistics.median(times):.0f} ms")
    shown("… from the column cache", "",
          [painted(browser, ours(root, home), CURVES, "/runs/local:vision/resnet50") for _ in range(ROUNDS)])
    shown("TensorBoard's first chart of the same file", "",
          [painted(browser, tensorboards(root, home), CHART, "/") for _ in range(ROUNDS)])


def shown(what, target, rounds):
    navigated, typed = (statistics.median(column) for column in zip(*rounds))
    say(f"{what}; from the command typed", target, f"{navigated:.0f} ms {typed:.1f} s")


@section
def many(scratch, browser):
    """Two thousand TensorBoard runs in one root."""
    root = made(scratch / "many", write_many)
    rounds = [painted(browser, ours(root, Path(tempfile.mkdtemp(dir=scratch))), ROWS) for _ in range(ROUNDS)]
    shown("list of 2,000 TensorBoard runs painted, cold", "1,000 ms", rounds)
    home = scratch / "manyhome"
    shutil.rmtree(home, ignore_errors=True)
    command = [sys.executable, "-m", "runicorn", "runs", "--root", str(root)]
    for word in ("for the first time", "again"):
        began = time.perf_counter()
        told = subprocess.run([*command, "--limit", "0"], check=True, capture_output=True, text=True,
                              env=environment(home)).stdout
        say(f"runicorn runs --root of them, {word}", "", f"{time.perf_counter() - began:.2f} s")
        assert "run1999" in told
    address, running = ours(root, home)
    with running:
        began = time.perf_counter()
        answer = json.load(urlopen(f"{address}/api/runs?limit=100&filter=loss%3C2"))
        say("a filter by a metric nobody looked at: the answer", "", f"{time.perf_counter() - began:.2f} s")
        while answer.get("unread") or answer["matched"] < RUNS:
            time.sleep(0.2)
            answer = json.load(urlopen(f"{address}/api/runs?limit=100&filter=loss%3C2"))
        say("… all of them read and found", "", f"{time.perf_counter() - began:.2f} s")
    shown("TensorBoard's first chart of the same root", "",
          [painted(browser, tensorboards(root, home), CHART)])


OURS = """
import json, sys
from runicorn.metrics.foreign_files import ForeignFiles
from runicorn.metrics.series import Series
folder, kind = sys.argv[1:]
series = Series(folder, None, ForeignFiles(".", (kind,)))
series.refresh()
found = {}
for name in series.metrics():
    steps, ts, values = series.points(name)
    found[name] = [list(steps), [value.hex() for value in values]]
print(json.dumps(found))
"""
ACCUMULATOR = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={SCALARS: 0})
events.Reload()
found = {}
for tag in events.Tags()["scalars"]:
    points = events.Scalars(tag)
    found[tag] = [[point.step for point in points], [float(point.value).hex() for point in points]]
print(json.dumps(found))
"""
DATASTORE = """
import json, sys
from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore
store = DataStore()
store.open_for_scan(sys.argv[1])
found = {}
while (data := store.scan_data()) is not None:
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data)
    if record.WhichOneof("record_type") == "history":
        items = {item.key or ".".join(item.nested_key): json.loads(item.value_json)
                 for item in record.history.item}
        for name, value in items.items():
            if not name.startswith("_") and type(value) in (int, float):
                steps, values = found.setdefault(name, [[], []])
                steps.append(items["_step"])
                values.append(float(value).hex())
print(json.dumps(found))
"""
LOGGED = """
import os, sys, random
os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=sys.argv[1], WANDB_CONSOLE="off")
import wandb
run, chance = wandb.init(project="p", dir=sys.argv[1]), random.Random(3)
for step in range(20_000):
    run.log({"train/loss": chance.random(), "lr": 1 / (step + 1),
             **({"val/loss": chance.random()} if step % 10 == 0 else {})})
run.finish()
"""


@section
def equal(scratch, browser):
    """Every point beside those of the packages' own readers."""
    folder = made(scratch / "million", write_million) / "vision" / "resnet50"
    compare("1,000,000 records of TensorBoard", timed(OURS, folder, "tensorboard")[0],
            timed(ACCUMULATOR, folder)[0])
    root = made(scratch / "wandb",
                lambda folder: subprocess.run([sys.executable, "-c", LOGGED, folder], check=True))
    log, = root.rglob("run-*.wandb")
    compare("20,000 rows of W&B", timed(OURS, log.parent, "wandb")[0],
            timed(DATASTORE, log, python=with_datastore(scratch))[0])


def with_datastore(scratch):
    """Return the Python of an environment whose wandb has its reader in Python still; made once."""
    def make(folder):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *WITH_DATASTORE],
                       check=True)
    return made(scratch / "environment", make) / "bin" / "python"


def compare(what, ours, theirs):
    points = sum(len(steps) for steps, _ in theirs.values())
    alike = sum(point in mine for name, columns in theirs.items()
                for mine in [set(zip(*ours.get(name, [[], []])))] for point in zip(*columns))
    assert ours.keys() == theirs.keys() and points == sum(len(steps) for steps, _ in ours.values())
    say(f"{what}: equal (step, value)", "100 %", f"{100 * alike / points:.4f} %")


RULED = """
import json, sys, time
from runicorn import rules
from runicorn.metrics.kinds import ruled, text_log
path, pattern = sys.argv[1:]
rule = json.dumps(rules.checked([{"pattern": pattern}])) if pattern else None
reader = ruled.reader("log", rule) if rule else text_log.Reader()
began, points, rest = time.perf_counter(), 0, b""
with open(path, "rb") as file:
    while block := file.read(1 << 20):
        rest += block
        used, parts = reader.take(rest, len(rest))
        rest, points = rest[used:], points + sum(len(part.rows) for part in parts)
print(json.dumps([time.perf_counter() - began, points]))
"""


@section
def ruled(scratch, browser):
    """A text log of 200 MB: by a rule of one's own, and without one."""
    path = made(scratch / "log", write_log) / "nlp" / "text" / "train.log"
    size = path.stat().st_size / 1e6
    rule = r"Schritt (?P<step>\d+) Verlust (?P<loss>\S+) Rate (?P<lr>\S+)"
    for what, pattern, rows in (("without a rule", "", 0),
                                ("by a rule that one line in ten fits", rule, LINES // 10)):
        (spent, found), memory = timed(RULED, path, pattern)
        assert found == rows, found
        say(f"a text log of {size:.0f} MB {what} / memory", "", f"{size / spent:.1f} MB/s {memory:.0f} MB")


# -- over a connection ---------------------------------------------------------------------------------------

@contextlib.contextmanager
def connected(root, rtt, mbit=0.0):
    """A viewer that reaches `root` by SFTP alone, through a line of `rtt` s and `mbit` Mbit/s (0: no cap);
    yields its address."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        home = Path(folder) / "home"
        home.mkdir()
        server = stack.enter_context(Sshd(Path(folder) / "sshd", start=root, ForceCommand="internal-sftp"))
        line = stack.enter_context(Line(server.port, rtt, mbit))
        settings = server.connection(name="far", port=line.port, remote_root=str(root))
        (home / "config.json").write_text(json.dumps({"connections": [settings]}))
        (home / "config.json").chmod(0o600)
        (home / "known_hosts").write_text(
            f"[127.0.0.1]:{line.port} {' '.join(Path(server.known_hosts).read_text().split()[1:3])}\n")
        (Path(folder) / "empty").mkdir()
        address, running = ours(Path(folder) / "empty", home)
        with running:
            yield address


def answered(address, path):
    with urlopen(f"{address}{path}") as answer:
        return json.load(answer)


def wait_until(true, seconds=300):
    """Return the s until `true()`; ends the program where it never is."""
    began = time.perf_counter()
    while not true():
        if time.perf_counter() - began > seconds:
            raise SystemExit("it never comes")
        time.sleep(0.05)
    return time.perf_counter() - began


@section
def far_list(scratch, browser):
    """Two thousand TensorBoard runs, listed by SFTP alone at 50 ms."""
    root = made(scratch / "many", write_many)
    with connected(root, 0.05) as address:
        wait_until(lambda: answered(address, "/api/connections")["connections"][0]["state"] in (
            "syncing", "live"))
        began = time.perf_counter()
        # as a page with the list does
        with urlopen(f"{address}/api/news?timeout=0&topic=runs&since=") as answer:
            heard = json.load(answer)["news"]
        while answered(address, "/api/runs?limit=1")["total"] < RUNS:
            if time.perf_counter() - began > 120:
                raise SystemExit(
                    f"of {RUNS} runs {answered(address, '/api/runs?limit=1')['total']} are listed")
            heard = answered(address, f"/api/news?topic=runs&timeout=25&since={heard}")["news"]
        spent = time.perf_counter() - began
    say("2,000 TensorBoard runs by SFTP alone at 50 ms: all listed, after the login", "2 s", f"{spent:.2f} s")


@section
def far_growth(scratch, browser, count=60):
    """From a row on the server to the curve, by SFTP alone at 50 ms."""
    from torch.utils.tensorboard import SummaryWriter
    with tempfile.TemporaryDirectory() as root, SummaryWriter(Path(root) / "vision" / "live",
                                                              flush_secs=1) as writer:
        writer.add_scalar("train/loss", 1.0, 0)
        writer.flush()
        with connected(Path(root), 0.05) as address:
            wait_until(lambda: answered(address, "/api/runs?limit=1")["total"] == 1)
            page = browser.tab(browser.context(), WATCH)
            page.go(f"{address}/runs/far:vision/live")
            wait_until(lambda: page.value("(window.drawn || []).length > 0"))
            written_at = {}
            for step in range(1, count + 1):
                writer.add_scalar("train/loss", 1 / step, step)
                writer.flush()
                written_at[step] = time.time()
                time.sleep(0.5)
            wait_until(lambda: page.value("window.drawn.at(-1)[0]") == count)
            drawn = page.value("window.drawn")
            page.close()
    delays = [next(at for upto, at in drawn if upto >= step) - when for step, when in written_at.items()]
    say("a row of torch's SummaryWriter to the curve, SFTP alone at 50 ms: median / worst", "2 / 4 s",
        f"{statistics.median(delays):.2f} / {max(delays):.2f} s")


def write_large(root):
    """Write 2 GB of scalars, 40 metrics a step."""
    from runicorn.transfer import tensorboard as tfevents
    tags, chance, scalars = tuple(f"layer{number}/loss"
                                  for number in range(40)), random.Random(9), tfevents.Scalars()
    (root / "vision" / "large").mkdir(parents=True)
    with open(root / "vision" / "large" / "events.out.tfevents.1740000000.gpu", "wb") as file:
        file.write(tfevents.opening(1.74e9))
        step = 0
        while file.tell() < 2_000_000_000:
            values = [chance.random()] * len(tags)
            file.write(b"".join(scalars.record(1.74e9 + after, after, tags, values)
                                for after in range(step + 1, step + 101)))
            step += 100


@section
def far_large(scratch, browser):
    """The first curve of an event file of 2 GB over 10 Mbit/s."""
    root = made(scratch / "large", write_large)
    with connected(root, 0.05, 10.0) as address:
        wait_until(lambda: answered(address, "/api/runs?limit=1")["total"] == 1)
        # one chart holds the loss of all layers
        page = browser.tab(browser.context(), f"{WATCH};{CURVES.replace('>= 4', '>= 1')}")
        at = opening(page, f"{address}/runs/far:vision/large")
        page.close()
    say("an event file of 2 GB over 10 Mbit/s: first curves painted", "4 s", f"{at / 1000:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = options.scratch or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scratch.mkdir(parents=True, exist_ok=True)
        browser = stack.enter_context(Chromium(CHROMIUM))
        for name in options.only:
            SECTIONS[name](scratch, browser)


if __name__ == "__main__":
    main()
