"""The rows of scale.py that need no browser, each in processes of their own. (Those of the pages:
scale_pages.py.)"""

import contextlib
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

from line import Line
from scale import Cost, Measured, row
from scale_roots import long_run, made, many_runs, wide_run
from sshd import Sshd
from viewer import Viewer

RUNS = (3_000, 10_000, 30_000)
PROGRAM = [sys.executable, "-m", "runicorn"]
RTT = 0.05                      # s to the server and back
PARSE = """
import sys
from runicorn.metrics.series import Series
series = Series(sys.argv[1])
series.refresh()
%s
"""
COUNT = "import json, sys\nfor line in open(sys.argv[1], 'rb'):\n    json.loads(line)"


def root_of(bench, count):
    """Return a root of so many runs."""
    return made(bench.scratch / f"runs{count}", many_runs, count)


def run_of(root):
    """Return the folder of the only run of a root."""
    return next(root.glob("*/*/runs/*"))


def without_manifest(root):
    """Remove what manifests there are."""
    shutil.rmtree(root / ".runicorn", ignore_errors=True)


def least(costs):
    """Return the smallest of each figure of some Costs."""
    return Cost(*map(min, zip(*costs)))


@row(RUNS, "runs")
def manifest(bench, size):
    """`runicorn manifest`, from nothing and with nothing changed."""
    root = root_of(bench, size)
    command, costs = [*PROGRAM, "manifest", "--root", root, "--active-window", "1"], []
    for _ in range(2):
        without_manifest(root)
        costs.append(bench.once(command))
    yield Measured("full", *least(costs), "find", bench.find(root).cpu)
    time.sleep(3)                   # a file that changed so lately is not settled
    # In turn with the floor: other work on the machine slows both. Several processes: waiting counts.
    floors, costs = zip(*((bench.once(bench.finding(root)), bench.once(command)) for _ in range(4)))
    floor, cost = least(floors), least(costs)
    yield Measured("nothing changed", cost.seconds, None, cost.mb, "find", floor.seconds,
                   2 * floor.seconds + 0.1, 2e-3 * size + 20)
    yield Measured("processor of that", *cost, "find", floor.cpu)


@row(RUNS, "runs")
def runs(bench, size):
    """`runicorn runs`, the first time and again, without a manifest."""
    root = root_of(bench, size)
    floor, command = bench.find(root).cpu, [*PROGRAM, "runs", "--root", root]
    without_manifest(root)
    first = least([bench.once(command, home=bench.fresh(f"home{turn}")) for turn in range(2)])
    yield Measured("first", *first, "find", floor, 4 * floor + 2, 3.7e-3 * size + 30)
    yield Measured("again", *bench.best(command, home=bench.scratch / "home1"), "find", floor, 2 * floor + 2,
                   3.7e-3 * size + 30)


@row(RUNS, "runs")
def viewer(bench, size):
    """A viewer on a local root: seconds to the whole list, memory once the index is made."""
    root = root_of(bench, size)
    without_manifest(root)
    floor = bench.find(root).seconds
    one = Viewer(bench.fresh("home"), root)
    try:
        kept = bench.scratch / "home" / "index"
        memory = [one.memory()]
        while len(memory) < 3 or memory[-1] > memory[-3] + 1:       # until it takes no more
            time.sleep(max(2.0, one.started / 2))
            memory.append(one.memory())
        yield Measured("whole list, and memory", one.started, None, max(memory), "find", floor, None,
                       4.5e-3 * size + 50)
    finally:
        one.stop()
    assert kept.is_dir(), "what is known of the runs was not kept"


@row((1_000, 3_000, 10_000), "runs")
def mirror(bench, size):
    """A server's list at 50 ms, by the bare walk and by a manifest; the memory is what the list adds."""
    root = root_of(bench, size)
    for way in ("walk", "manifest"):
        without_manifest(root)
        if way == "manifest":
            subprocess.run([*PROGRAM, "manifest", "--root", root, "--active-window", "1"], check=True,
                           cwd=Path(__file__).parents[1])
        measured = [listed(bench, root, size) for _ in range(2)]
        seconds, cpu, before, most = (min(figures) for figures in zip(*measured))
        right = (1e-3 if way == "walk" else 1e-4) * size + 1
        yield Measured(f"list by {way}", seconds, None, most - before, "", None, right, 4e-3 * size + 4)
        yield Measured(f"processor of that, by {way}", cpu, cpu)


def listed(bench, root, count):
    """Return what scale_list.py prints of one list over a line of RTT to a server that runs no commands."""
    home = bench.fresh("mirror")
    with Sshd(bench.fresh("sshd"),
              ForceCommand="internal-sftp") as server, contextlib.closing(Line(server.port, RTT)) as line:
        host_key = " ".join(server.host_key.read_text().split()[:2])
        (home / "known_hosts").write_text(f"[127.0.0.1]:{line.port} {host_key}\n")
        connection = {**server.connection(), "name": "bench", "port": line.port, "remote_root": str(root),
                      "mode": "auto", "interval": 30, "manifest": True, "small_only": True, "large": False,
                      "window": None, "small_limit": 1 << 20}
        (home / "connection.json").write_text(json.dumps(connection))
        command = [sys.executable, Path(__file__).with_name("scale_list.py"), home / "connection.json", home,
                   count]
        told = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(told)


@row((1_000, 3_000, 10_000), "metrics")
def metrics(bench, size):
    """Many metrics in each of 20 rows: `show`, and the exact curves of all."""
    root = made(bench.scratch / f"wide{size}", wide_run, size)
    folder = run_of(root)
    floor = bench.best([sys.executable, "-c", COUNT, folder / "events.jsonl"]).cpu
    yield Measured("show", *bench.best([*PROGRAM, "show", "--root", root, folder.name],
                                       home=bench.fresh("home")), "JSON", floor, 3.0)
    pictures = PARSE % "print(len([series.picture(name) for name in series.metrics()]))"
    yield Measured("all curves", *bench.best([sys.executable, "-c", pictures, folder]), "JSON", floor)


@row((300_000, 1_000_000, 3_000_000), "rows x 4")
def points(bench, size):
    """Many rows of four metrics: exact curves, x = a metric, `show`, CSV."""
    root = made(bench.scratch / f"long{size}", long_run, size)
    folder = run_of(root)
    floor = bench.best([sys.executable, "-c", COUNT, folder / "events.jsonl"], times=1).cpu
    exact = bench.best([sys.executable, "-c", PARSE % "series.picture('train/loss')", folder])
    yield Measured("exact", *exact, "JSON", floor, 4e-6 * size + 0.3)
    by_metric = PARSE % "series.picture('train/loss', x='metric:train/accuracy')"
    yield Measured("x = a metric", *bench.best([sys.executable, "-c", by_metric, folder]), "exact", exact.cpu,
                   1.3 * exact.cpu)
    show = [*PROGRAM, "show", "--root", root, folder.name]
    yield Measured("show", *least([bench.once(show, home=bench.fresh(f"home{turn}")) for turn in range(2)]),
                   "exact", exact.cpu, exact.cpu + 0.5)
    csv = bench.once([*PROGRAM, "export", "--root", root, "--run-id", folder.name, "--format", "csv", "-o",
                      "-"], home=bench.fresh("home"))
    yield Measured("CSV", *csv, "exact", exact.cpu, 2 * exact.cpu + 0.5, 60)


@row((50, 200, 500), "tabs")
def tabs(bench, size):
    """Tabs that wait, each for a run of its own and the list, while another is changed 40 times: how late its
    news come."""
    root = made(bench.scratch / "runs1000", many_runs, 1000)
    one = Viewer(bench.fresh("home"), root)
    try:
        keys = [run["key"] for run in one.get("/api/runs", limit=1000)["runs"]]
        lines, mark = [], one.get("/api/runs", limit=1)["news"]
        for key in keys[1:size + 1]:
            lines.append(http.client.HTTPConnection("127.0.0.1", one.port, timeout=60))
            lines[-1].request("GET", f"/api/news?since={mark}&topic=run:{key}&topic=connections&timeout=25")
        time.sleep(1)
        token = json.loads((bench.scratch / "home" / "run" / f"{one.port}.json").read_text())["token"]
        late = [heard_late(one, keys[0], token) for _ in range(40)]
        for line in lines:
            line.close()
    finally:
        one.stop()
    yield Measured("news heard after, p95", statistics.quantiles(late, n=20)[-1], None, None, "", None, 0.1)


def heard_late(one, key, token):
    """Return how many seconds after a note was changed who waits for that run hears of it."""
    heard, mark = [], one.get("/api/runs", limit=1)["news"]
    waiting = threading.Thread(
        target=lambda: heard.append((one.get("/api/news", since=mark, topic=f"run:{key}", timeout=5),
                                     time.perf_counter())))
    waiting.start()
    time.sleep(0.05)
    began, line = time.perf_counter(), http.client.HTTPConnection("127.0.0.1", one.port, timeout=60)
    line.request("PATCH", f"/api/runs/{quote(key)}", json.dumps({"note": str(began)}),
                 {"X-Runicorn-Token": token, "Content-Type": "application/json",
                  "Origin": f"http://127.0.0.1:{one.port}"})
    assert line.getresponse().status == 200
    waiting.join()
    return heard[0][1] - began
