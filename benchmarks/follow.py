"""How old the newest line is that the page of a live run shows, at rates from a trickle to a flood, here and
over a mirror.

    python benchmarks/follow.py         # every rate for 15 s; about three minutes, 2 GB of scratch space
    python benchmarks/follow.py --seconds 180           # for minutes
    python benchmarks/follow.py --only 0.2 10 --local   # some rates (MB/s), without a mirror

Another process prints lines that carry their time, fifty times a second; ten times a second the page is asked
which line it shows last. The mirror is reached through a line of 50 ms; "thin" is one of 10 Mbit/s that can't
carry what is written.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "support")]

from browser import Chromium  # noqa: E402
from line import Line  # noqa: E402
from small_runs import beat, write_run  # noqa: E402
from sshd import Sshd, free_port  # noqa: E402

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-sync"]
RUN_ID = "20250123_180000_abc123"
KEY = f"vision/resnet50/{RUN_ID}"
RATES = [0.02, 0.2, 1, 10, 50]          # MB/s
MIRRORED = [0.02, 0.2, 1]
# A line that is half written when the page looks bears no time: the one before it does.
SHOWN = """Number([...document.querySelectorAll('li.logline .text')].slice(-2)
    .map((node) => node.textContent.match(/^T(\\d+\\.\\d{3}) /))
  .findLast((found) => found)?.[1] ?? 0)"""
WRITER = """
import sys, time
path, rate, until, live = sys.argv[1], float(sys.argv[2]) * 1e6, time.time() + float(sys.argv[3]), sys.argv[4]
import os
with open(path, "ab", buffering=0) as file:
    due, began, written = time.time(), time.time(), 0
    while time.time() < until:
        now = time.time()
        count = max(0, int((rate * (now - began) - written) / 100))
        line = ("T%.3f " % now).encode().ljust(99, b"x") + b"\\n"
        if count:
            file.write(line * count)
            written += 100 * count
        os.utime(live)
        time.sleep(max(0.0, due + 0.02 - time.time()))
        due = max(due + 0.02, time.time())
"""


def ages(tab, folder, live, rate, seconds):
    """Write at `rate` MB/s for `seconds`; return the sorted ages of the newest line shown (s), the first two
    seconds left out."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder / "logs.txt"), str(rate),
                               str(seconds), str(live)])
    found, began = [], time.time()
    while writer.poll() is None:
        shown = tab.value(SHOWN)
        if time.time() > began + 2 and writer.poll() is None:
            found.append(time.time() - shown)
        time.sleep(0.1)
    writer.wait()
    time.sleep(3)
    return sorted(found)


def told(name, rate, found, target):
    middle, late = found[len(found) // 2], found[int(len(found) * 0.99)]
    print(f"{name:<18}{rate:>6} MB/s   median {middle:6.2f} s   99 % {late:6.2f} s   worst {found[-1]:6.2f} "
          f"s   target {target}",
          flush=True)


@contextlib.contextmanager
def viewer(home):
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "runicorn", "viewer", "--port", str(port),
                                "--no-browser"], cwd=HERE.parent,
                               env={**os.environ, "RUNICORN_HOME": str(home), "HOME": str(home.parent)},
                               stdout=subprocess.DEVNULL)
    try:
        time.sleep(2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def live_run(root):
    folder = write_run(root, "vision", "resnet50", RUN_ID, "running")
    (folder / "logs.txt").write_bytes(b"")
    beat(root, folder, RUN_ID)
    return folder, root / ".runicorn" / "live" / f"{RUN_ID}.json"


def measure(page, url, key, case):
    """case: (name, rates, target, seconds, (folder, live file))."""
    name, rates, target, seconds, (folder, live) = case
    tab = page.tab(page.context(), "")
    tab.go(f"{url}/runs/{key}?tab=logs")
    time.sleep(4)
    for rate in rates:
        told(name, rate, ages(tab, folder, live, rate, seconds), target)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--only", type=float, nargs="+", metavar="MB/s")
    parser.add_argument("--local", action="store_true", help="no mirror")
    chosen = parser.parse_args()
    rates, mirrored = ([rate for rate in known if not chosen.only or rate in chosen.only]
                       for known in (RATES, MIRRORED))
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home, browser = scratch / "user" / ".runicorn", stack.enter_context(Chromium(FLAGS))
        (scratch / "far").mkdir()
        here, there = live_run(home / "experiments"), live_run(scratch / "far" / "root")
        if not chosen.local:
            server = stack.enter_context(Sshd(scratch / "sshd", start=scratch / "far")).trusted_in(home)
            line = stack.enter_context(Line(server.port, 0.05))
            with open(home / "known_hosts", "a") as file:
                file.write(f"[127.0.0.1]:{line.port} {server.known_hosts.read_text().split(None, 1)[1]}")
            saved = [server.connection(name="gpu", port=line.port, remote_root="~/root")]
            (home / "config.json").write_text(json.dumps({"connections": saved}))
        url = stack.enter_context(viewer(home))
        measure(browser, url, f"local:{KEY}", ("on this machine", rates, "0.5 s", chosen.seconds, here))
        if not chosen.local:
            measure(browser, url, f"gpu:{KEY}", ("mirror, 50 ms", mirrored, "1.5 s", chosen.seconds, there))
            line.set(0.05, 10)
            measure(browser, url, f"gpu:{KEY}",
                    ("mirror, thin", [5.0], "the true end", chosen.seconds, there))


if __name__ == "__main__":
    main()
