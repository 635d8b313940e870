"""The viewer as its pages see it, over HTTP: start, memory, the run list, curves, news. Prints one table
beside its targets.

    python benchmarks/viewer.py      # everything, about three minutes; needs 1.5 GB in the temporary folder
    python benchmarks/viewer.py --only runs news # some sections
"""

import argparse
import gzip
import http.client
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from urllib.parse import quote, urlencode

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "support")]

from sshd import Sshd  # noqa: E402

from runicorn import layout, settings  # noqa: E402

RUNS, STEPS, SPIKES = 10_000, 1_000_000, 5
OVERLAID, OVERLAID_STEPS = 1000, 1000
WAITING, WATCHED = 200, 20
LOG_BYTES, EXPRESSION = 1 << 30, {"q": r"loss: 0\.99\d+ acc: 100", "regex": 1}
QUERIES = {"newest, with sparklines": {"spark": 1},
           "filtered by loss and tag, sorted by a metric": {"filter": "loss<0.3 tag:baseline",
                                                            "sort": "summary.val/loss"},
           "a word and a negation, sorted by config": {"filter": "exp1 -tag:amp", "sort": "config.lr"}}
SECTIONS = {}


def section(function):
    SECTIONS[function.__name__] = function
    return function


def say(what, target, value):
    print(f"{what:<66} {target:>12}   {value}", flush=True)


# -- roots ---------------------------------------------------------------------------------------------------


def run_folder(root, number, project="p", status="finished"):
    """Make one run by the format; return its folder."""
    started = 1_740_000_000 + 600 * number
    run_id = time.strftime("%Y%m%d_%H%M%S_", time.gmtime(started)) + f"{number:06x}"
    folder = Path(root, project, f"exp{number % 200}", "runs", run_id)
    folder.mkdir(parents=True)
    chance = random.Random(number)
    config = {"lr": chance.choice([0.1, 0.01, 0.001]), "model": "resnet50", "batch_size": 32, "epochs": 100,
              "seed": number, "optimizer": {"name": "Adam", "betas": [0.9, 0.999], "wd": 0.0005}}
    meta = {"format": 1, "id": run_id, "project": project, "name": f"exp{number % 200}",
            "created_at": started, "user": "alice", "hostname": "gpu-01",
            "tags": chance.sample(["baseline", "lr", "amp", "v2"], 2), "notes": "x" * 300, "config": config}
    summary = {name: chance.random()
               for name in ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "lr", "epoch")}
    status = {"status": status, "started_at": started, "ended_at": started + 5000}
    for name, value in (("meta.json", meta), ("status.json", status), ("summary.json", summary)):
        (folder / name).write_text(layout.to_json(value))
    (folder / "events.jsonl").write_text(
        "".join(row(started, step, {"val/loss": 1 / (step + 1)}) for step in range(20)))
    return folder


def row(started, step, data):
    return layout.to_json({"ts": started + step * 0.1, "step": step, "data": data}) + "\n"


def big_run(root):
    """One run of STEPS x 4 metrics with SPIKES single-step spikes; returns (folder, steps of the spikes)."""
    folder, chance = run_folder(root, 0), random.Random(1)
    spikes = sorted(chance.sample(range(STEPS), SPIKES))
    marked = set(spikes)
    with open(folder / "events.jsonl", "w") as file:
        for step in range(STEPS):
            loss = 50.0 + step if step in marked else 2.3 / (1 + step * 1e-5) + chance.random() * 0.1
            file.write(f'{{"ts":{1.74e9 + step * 0.1:.3f},"step":{step},"data":{{"train/loss":{loss:.6f},'
                       f'"train/accuracy":{chance.random() * 100:.4f},"train/learning_rate":0.001,'
                       f'"epoch":{step // 1563}}}}}\n')
    return folder, spikes


# -- a viewer in its own process -----------------------------------------------------------------------------


class Viewer:
    """`python -m runicorn viewer` on `root`, with `home`; `started` is the seconds to its first answer."""

    def __init__(self, home, root):
        home.mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        begin = time.perf_counter()
        command = [sys.executable, "-m", "runicorn", "viewer", "--port", str(self.port), "--root", str(root),
                   "--no-browser"]
        environment = {**os.environ, "RUNICORN_HOME": str(home), "PYTHONDONTWRITEBYTECODE": ""}
        self.process = subprocess.Popen(command, cwd=HERE.parent, env=environment, stdout=subprocess.DEVNULL)
        while True:
            try:
                self.first = self.get("/api/runs", spark=1)
                if not self.first["loading"]:
                    break
            except OSError:
                time.sleep(0.003)
        self.started = time.perf_counter() - begin

    def raw(self, path, **query):
        """Return (seconds, bytes on the wire, answer)."""
        begin = time.perf_counter()
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        path += "?" + urlencode(query, doseq=True) if query else ""
        line.request("GET", path, headers={"Accept-Encoding": "gzip, deflate, br"})      # as browsers say it
        answer = line.getresponse()
        body = answer.read()
        spent = time.perf_counter() - begin
        line.close()
        unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress,
                  None: bytes}[answer.getheader("Content-Encoding")]
        return spent, len(body), json.loads(unpack(body))

    def get(self, path, **query):
        return self.raw(path, **query)[2]

    def median(self, path, times=30, **query):
        """Return in words how long an answer takes, and how long the viewer's processor is busy with it."""
        before = self.cpu()
        spent = statistics.median(self.raw(path, **query)[0] for _ in range(times))
        return f"{1000 * spent:.0f} ms, {1000 * (self.cpu() - before) / times:.0f} ms of processor"

    def memory(self, field="VmRSS"):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split(field + ":")[1].split()[0]) / 1024

    def cpu(self):
        """Return the seconds of a core it has used."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().split()
        return (int(words[13]) + int(words[14])) / os.sysconf("SC_CLK_TCK")

    def share(self, seconds):
        """Return the percent of a core it uses over the next `seconds`."""
        before = self.cpu()
        time.sleep(seconds)
        return 100 * (self.cpu() - before) / seconds

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


# -- sections ------------------------------------------------------------------------------------------------


@section
def start(scratch):
    (scratch / "empty").mkdir()
    starts = []
    for _ in range(5):
        with Viewer(scratch / "home-empty", scratch / "empty") as viewer:
            starts.append(viewer.started)
            memory = viewer.memory()
    say("start to first answer, empty home", "<= 0.25 s",
        f"{min(starts):.2f} s best, {statistics.median(starts):.2f} s median of 5")
    say("memory, empty home", "<= 40 MB", f"{memory:.0f} MB")
    home = scratch / "home-live-line"
    run_folder(scratch / "far", 1)
    with Sshd(scratch / "sshd", start=scratch / "far") as server:
        server.trusted_in(home)
        settings.save_connection(home, server.connection(remote_root=str(scratch / "far")))
        with Viewer(home, scratch / "empty") as viewer:
            while viewer.get("/api/connections")["connections"][0]["state"] != "live":
                time.sleep(0.1)
            say("memory with a live connection", "<= 65 MB", f"{viewer.memory():.0f} MB")


@section
def runs(scratch):
    for number in range(RUNS):
        run_folder(scratch / "many", number, f"project{number % 20}")
    with Viewer(scratch / "home-many", scratch / "many") as viewer:
        say(f"{RUNS} runs: start to the list, nothing kept", "<= 1.25 s",
            f"{viewer.started:.2f} s for {viewer.first['total']} runs")
        time.sleep(8)                                   # the manifest is made, and kept for the next start
    with Viewer(scratch / "home-many", scratch / "many") as viewer:
        say(f"{RUNS} runs: start to the list, the last index kept", "<= 0.45 s",
            f"{viewer.started:.2f} s for {viewer.first['total']} runs")
        time.sleep(4)
        for what, query in QUERIES.items():
            say(f"  100 of {RUNS}, {what}", "<= 30 ms", viewer.median("/api/runs", **query))
        say(f"memory with {RUNS} runs", "<= 100 MB",
            f"{viewer.memory():.0f} MB, peak {viewer.memory('VmHWM'):.0f}")
        say("idle, nobody looks", "<= 0.5 %", f"{viewer.share(20):.2f} % of a core")


@section
def curves(scratch):
    folder, spikes = big_run(scratch / "big")
    names = ["train/loss", "train/accuracy", "train/learning_rate", "epoch"]
    query = {"run": folder.name, "metric": names, "buckets": 2000}
    with Viewer(scratch / "home-big", scratch / "big") as viewer:
        spent, _, answer = viewer.raw("/api/series", **query)
        say(f"{STEPS} steps x 4, coarse", "<= 0.1 s",
            f"{spent:.2f} s, approximate: {answer['series'][0]['approximate']}")
        begin = time.perf_counter() - spent
        while viewer.get("/api/series", **query)["series"][0]["approximate"]:
            time.sleep(0.1)
        say("  exact, without the column cache", "<= 4 s",
            f"{time.perf_counter() - begin:.2f} s, {viewer.cpu():.1f} s of processor")
        while viewer.get(f"/api/runs/{folder.name}")["behind"]:
            time.sleep(0.1)
        time.sleep(1)                                   # the columns are written when all is parsed
    with Viewer(scratch / "home-big", scratch / "big") as viewer:
        spent, size, answer = viewer.raw("/api/series", **query)
        seen = sum(value >= 50 for value in answer["series"][0]["max"])
        say("  exact, from the column cache, first time", "<= 0.15 s", f"{spent:.3f} s")
        say("  exact, again", "", viewer.median("/api/series", 7, **query))
        say("  spikes shown / to the page / memory, peak", "5, 0.35 MB",
            f"{min(seen, SPIKES)} of {SPIKES} / {size / 1e6:.2f} MB / "
            f"{viewer.memory():.0f} MB, {viewer.memory('VmHWM'):.0f} (<= 120, <= 180)")
        appended = []
        for step in range(STEPS, STEPS + 15):
            with open(folder / "events.jsonl", "a") as file:
                file.write(row(1.74e9, step, dict.fromkeys(names, 1.0)))
            appended.append(viewer.raw("/api/series", run=folder.name, metric=names[0], buckets=600)[0])
        say("  a live append, answered", "<= 30 ms", f"{1000 * statistics.median(appended):.0f} ms")


@section
def overlay(scratch):
    for number in range(OVERLAID):
        folder = run_folder(scratch / "overlaid", number)
        rows = (row(1.74e9, step, {"val/loss": 1 / (step + 1), "acc": step})
                for step in range(OVERLAID_STEPS))
        (folder / "events.jsonl").write_text("".join(rows))
    with Viewer(scratch / "home-overlaid", scratch / "overlaid") as viewer:
        keys = [one["key"] for one in viewer.get("/api/runs", limit=OVERLAID)["runs"]]

        def drawn():
            """Return (seconds to the first 50 curves, to all): of asking and receiving, without what parsing
            them costs us."""
            spent = [viewer.raw("/api/series", run=keys[at:at + 50], metric="val/loss", buckets=300)[0]
                     for at in range(0, len(keys), 50)]
            return spent[0], sum(spent)
        first, whole = drawn()
        say(f"{OVERLAID} runs overlaid, cold: the first 50, all", "0.3 s, 4 s",
            f"{first:.2f} s, {whole:.2f} s")
        say("  warm", "<= 0.4 s", f"{drawn()[1]:.2f} s, {viewer.memory():.0f} MB")


@section
def logs(scratch):
    folder = run_folder(scratch / "log", 0)
    lines = [f"[2025-01-23 18:{k // 60 % 60:02d}:{k % 60:02d}+0800] Epoch {k // 1563} [{k % 1563}/1563] "
             f"Loss: {random.random():.4f} "
             f"Acc: {100 * random.random():.2f}%\n" for k in range(10_000)]
    block = "".join(lines).encode()
    with open(folder / "logs.txt", "wb") as file:
        for part in range(LOG_BYTES // len(block) + 1):
            file.write(b"the needle is here\n" if part == LOG_BYTES // len(block) // 12 else block)
    size = (folder / "logs.txt").stat().st_size
    with Viewer(scratch / "home-log", scratch / "log") as viewer:
        before = viewer.memory()
        for what, place in (("last", {}), ("first", {"from": 0})):
            say(f"log of {size / 1e9:.2f} GB, {what} screen", "<= 0.3 s",
                f"{viewer.raw('/api/logs', run=folder.name, **place)[0]:.3f} s")
        say("  first hit, within the first 100 MB", "<= 0.3 s",
            f"{_searched(viewer, folder, q='the needle', limit=1):.3f} s")
        for what, target, query in (("plain", "1 GB/s", {"q": "no such text"}),
                                    ("by expression", "0.1 GB/s", EXPRESSION)):
            say(f"  search, {what}", f">= {target}",
                f"{size / 1e9 / _searched(viewer, folder, **query):.2f} GB/s")
        say("  memory", "flat",
            f"{before:.0f} MB, then {viewer.memory():.0f} MB, peak {viewer.memory('VmHWM'):.0f}")


def _searched(viewer, folder, **query):
    """Return the seconds until a search has ended."""
    begin, line = time.perf_counter(), http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=120)
    line.request("GET", "/api/logs/search?" + urlencode({"run": folder.name, **query}))
    assert b'"done":true' in line.getresponse().read()
    line.close()
    return time.perf_counter() - begin


@section
def news(scratch):
    folders = [run_folder(scratch / "live", number, status="running") for number in range(WATCHED)]
    with Viewer(scratch / "home-live", scratch / "live") as viewer:
        keys = [one["key"] for one in viewer.first["runs"]]
        topics, stop = [f"run:{key}" for key in keys], threading.Event()

        def watch():
            mark = viewer.first["news"]
            while not stop.is_set():
                mark = viewer.get("/api/news", since=mark, topic=topics, timeout=2)["news"]
        watcher = threading.Thread(target=watch)
        watcher.start()
        time.sleep(3)
        say(f"{WATCHED} watched runs, nothing happens", "<= 2 %", f"{viewer.share(10):.2f} % of a core")
        noticed = [_noticed(viewer, folders[0], next(key for key in keys if folders[0].name in key))
                   for _ in range(50)]
        stop.set()
        watcher.join()
        say("a local append, noticed", "<= 0.2 s",
            f"{statistics.median(noticed):.3f} s median, {max(noticed):.3f} s worst of 50")
        _waiting(viewer)


def _noticed(viewer, folder, key):
    mark, heard = viewer.get("/api/runs", limit=1)["news"], []

    def wait():
        viewer.get("/api/news", since=mark, topic=f"run:{key}", timeout=5)
        heard.append(time.perf_counter())
    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(random.uniform(0.02, 0.15))
    begin = time.perf_counter()
    with open(folder / "events.jsonl", "a") as file:
        file.write(row(time.time(), 100, {"val/loss": 0.1}))
    waiting.join()
    return heard[0] - begin


def _waiting(viewer):
    lines, mark = [], quote(viewer.get("/api/runs", limit=1)["news"])
    idle = viewer.share(6)
    for _ in range(WAITING):
        lines.append(http.client.HTTPConnection("127.0.0.1", viewer.port))
        lines[-1].request("GET", f"/api/news?since={mark}&topic=test:0&timeout=25")
    time.sleep(1)
    busy = viewer.share(6)
    say(f"{WAITING} waiting clients", "nothing",
        f"{busy:.2f} % of a core (without: {idle:.2f} %), {viewer.memory():.0f} MB; "
        f"HEAD returns in {1000 * _head(viewer):.1f} ms")
    for line in lines:
        line.close()


def _head(viewer):
    begin = time.perf_counter()
    line = http.client.HTTPConnection("127.0.0.1", viewer.port)
    line.request("HEAD", "/api/news?since=x.1&topic=runs&timeout=25")
    line.getresponse().read()
    line.close()
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="runicorn-bench-"))
    try:
        for name in options.only:
            SECTIONS[name](scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
