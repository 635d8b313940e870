"""A Windows user's day, by a Windows Python under Wine, with a real sshd on this side: `make windows` runs it. Prints its counts.

    python tests/windows_walk.py FOLDER [SECONDS]

FOLDER: what windows_python made; SECONDS: how long two trainings are followed live (300). Ends with 1 if anything is wrong.
"""

import collections
import contextlib
import hashlib
import http.client
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import windows_python
from small_runs import write_run
from sshd import Sshd, free_port

from runicorn import layout

NAME = "GPU Server 1"
PROFILE = "users/\u5f20 \u4e09/.runicorn"           # a Chinese name with a space
TRAIN = """
import sys, time, runicorn
storage, seconds, end = sys.argv[1], float(sys.argv[2]), sys.argv[3]
run = runicorn.init(project="walk", name=end, storage=storage, config={"lr": 0.1, "end": end})
print(run.id, flush=True)
began, step = time.monotonic(), 0
while time.monotonic() - began < seconds:
    run.log({"loss": step / 7, "acc": step * 3}, step=step)
    print(f"step {step}")
    if step % 25 == 0:
        run.summary({"best": step / 7})
    step += 1
    time.sleep(max(0.0, began + step / 5 - time.monotonic()))
if end == "crash":
    raise RuntimeError("the loss is no number")
"""
# Opens what it finds below a folder and keeps each file open for a moment, as a virus scanner or an indexer does.
INDEXER = """
import os, sys, time
opened = 0
while True:
    for folder, _, names in os.walk(sys.argv[1]):
        for name in names:
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    file.read(100)
                    time.sleep(0.02)
                opened += 1
            except OSError:
                pass
            time.sleep(0.02)        # Wine has one server for all files, which is not to be the bottleneck
    print(opened, flush=True)
"""


class Windows:
    """The programs that run there: each is started with its own words, its output gathered."""

    def __init__(self, folder, home):
        self.folder, self.home = folder, home
        self.environ = {**os.environ, "LC_ALL": "C.UTF-8", "RUNICORN_HOME": windows_python.there(home), "RUNICORN_QUIET": "1"}
        self.programs = []

    def start(self, *words, **environ):
        process = windows_python.start(self.folder, *words, environ={**self.environ, **environ})
        process.out, process.err = Gathered(process.stdout), Gathered(process.stderr)
        self.programs.append(process)
        return process

    def runicorn(self, *words, **more):
        return self.start("-m", "runicorn", *words, **more)

    def done(self, *words, seconds=300, expect=0):
        """Run a command to its end; returns what it printed (str)."""
        began = time.monotonic()
        process = self.runicorn(*words)
        rc = process.wait(seconds)
        print(f"    {time.monotonic() - began:5.1f} s  runicorn {' '.join(words)[:90]}", flush=True)
        assert rc == expect, f"{words} ended with {rc}: {process.out.text()}\n{process.err.text()}"
        return process.out.text()

    def stop(self):
        for process in self.programs:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(20)


class Gathered(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self._pipe, self._data, self._lines = pipe, bytearray(), queue.Queue()
        self.start()

    def run(self):
        for line in self._pipe:
            self._data += line
            self._lines.put(line)

    def line(self, seconds=60):
        return self._lines.get(timeout=seconds).decode("utf-8", "replace").strip()

    def text(self):
        self.join(5)
        return self._data.decode("utf-8", "replace").replace("\r\n", "\n")


class Api:
    """A viewer's API as a browser that knows the token asks it; counts what is not 200."""

    def __init__(self, port, token, counts):
        self.port, self.token, self.counts = port, token, counts

    def get(self, path, raw=False, **query):
        """Return an answer as JSON (or bytes), None when there was none or an error. `counts` says which."""
        address = f"{path}?{urlencode(query, doseq=True)}"
        line, began = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300), time.monotonic()
        try:
            line.request("GET", address, headers={"X-Runicorn-Token": self.token})
            answer = line.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self.counts["no answer"] += 1
            return None
        finally:
            line.close()
        self.counts["answers"] += 1
        if time.monotonic() - began > 3:
            print(f"    {time.monotonic() - began:5.1f} s  {address[:110]}", flush=True)
        if answer.status != 200:
            self.counts["API errors"] += 1
            print(f"  {answer.status} {address[:150]}: {body[:300]!r}", flush=True)
            return None
        return body if raw else json.loads(body)


class Readers:
    """Three pages that follow the runs of two viewers, until stopped; every value, state and file they see is compared."""

    def __init__(self, apis, running, counts):
        self.apis, self.running, self.counts = apis, running, counts
        self.stopping, self.down = threading.Event(), set()
        self.lag, self.steps = collections.deque(maxlen=20_000), {}
        self._threads = [threading.Thread(target=self._read, args=(number,), daemon=True) for number in range(3)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self._threads:
            thread.join(300)
            self.counts["readers that hang"] += thread.is_alive()

    def _read(self, number):
        while not self.stopping.is_set():
            api = self.apis[number % len(self.apis)]
            if api.port in self.down:
                self.stopping.wait(0.2)
                continue
            before = dict(self.running())
            listed = api.get("/api/runs", limit=1000, spark=1) or {"runs": [], "loading": True}
            self.counts["lists"] += not listed["loading"]
            self._states(listed["runs"], before)
            for connection in (api.get("/api/connections") or {"connections": []})["connections"]:
                bad = connection["state"] == "paused" and connection["reason"]["code"] not in ("held", "not_started")
                if bad:
                    print(f"  {connection['name']} is paused: {connection['reason']}", flush=True)
                self.counts["rows that say paused"] += bad
            for row in listed["runs"]:
                if row["id"] in before and row["step"]:
                    self._look(api, row["key"], number)
            self.stopping.wait(0.5)

    def _states(self, rows, before):
        states = {row["id"]: row["state"] for row in rows if row["connection"] == "gpu-server-1"}
        for run_id in before.keys() & self.running().keys() & states.keys():
            self.counts["states seen"] += 1
            if states[run_id] not in ("running", "checking"):
                self.counts["lost states"] += 1
                print(f"  {run_id} is {states[run_id]}", flush=True)

    def _look(self, api, key, number):
        if not api.get(f"/api/runs/{quote(key)}"):
            return
        told = api.get("/api/series", run=key, metric=["loss", "acc"], buckets=20_000)
        for curve in told["series"] if told else ():
            factor = 1 / 7 if curve["metric"] == "loss" else 3
            points = [(x, y) for x, y in zip(curve["x"], curve["last"]) if y is not None]
            self.counts["values compared"] += len(points)
            self.counts["wrong values"] += sum(y not in (x * factor, x / 7) for x, y in points)
            if len(points) < len(self.steps.get(key, ())):
                self.counts["curves that shrank"] += 1
            self.steps[key] = range(len(points))
        for path, query in (("/api/logs", {}), ("/api/files", {}), ("/api/system", {})):
            api.get(path, run=key, **query)
        if number == 0:
            api.get("/api/file", raw=True, run=key, name="summary.json")
            api.get("/api/export", raw=True, run=key, format=("csv", "html", "tensorboard")[int(time.time()) % 3])


class Walk:
    def __init__(self, folder, seconds):
        self.folder, self.seconds, self.counts = folder, seconds, collections.Counter()
        self.place = folder / "walk"
        self.home = folder / "prefix" / "drive_c" / PROFILE
        for path in (self.place, self.home):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        self.root, self.mirror = self.place / "root", self.home / "cache" / "gpu-server-1"
        self.windows = Windows(folder, self.home)
        self.trainings = {}         # run id -> (name, Popen), on the server
        self.ports = [free_port(), free_port()]

    # -- the server

    def runs_of_before(self):
        """Ended runs with names that Windows has trouble with."""
        for number in range(40):
            write_run(self.root, f"\u9879\u76ee {number % 3}", "n", f"20250101_000000_{number:06x}", rows=200)
        odd = write_run(self.root, "odd", "Con", "20250102_000000_aaaaaa")
        for name in ("aux.txt", "a:b", "trail.", "nul", "\u6a21\u578b.pt", "Weights.bin", "weights.bin", "deep/" + "d" * 200 + "/x.txt"):
            (odd / name).parent.mkdir(parents=True, exist_ok=True)
            (odd / name).write_bytes(name.encode() * 50)
        long = "n" * 110
        write_run(self.root, "p" * 110, long, "20250102_000001_" + "i" * 100)
        for run_id in ("Twin", "tWIN"):
            write_run(self.root, "twins", "n", run_id, metric=f"of/{run_id}")

    def train(self, end, seconds):
        environ = {**os.environ, "PYTHONPATH": str(Path(layout.__file__).parent.parent), "RUNICORN_QUIET": "1",
                   "RUNICORN_HOME": str(self.place / "server-home")}
        process = subprocess.Popen([sys.executable, "-c", TRAIN, str(self.root), str(seconds), end], env=environ,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        process.out = Gathered(process.stdout)
        said = process.out.line()
        process.began = time.monotonic()
        self.trainings[said] = end, process
        return process

    def running(self):
        """Return {run id: name} of the trainings that live."""
        return {run_id: name for run_id, (name, process) in self.trainings.items() if process.poll() is None}

    # -- what must be so

    def wrong(self, what, count=1):
        self.counts[what] += count

    def says(self, text):
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def compare(self):
        """Compare every file of the mirror with the server's, byte by byte."""
        places = self._places()
        for path in sorted(self.root.rglob("*")):
            relative = path.relative_to(self.root).as_posix()
            if path.is_dir() or relative.startswith(".runicorn/"):
                continue
            self.counts["files compared"] += 1
            here = places.get(digest(path))
            if not here:
                self.wrong("wrong bytes")
                print(f"  {relative[:200]} is not in the mirror", flush=True)

    def _places(self):
        return {digest(path): path for path in self.mirror.rglob("*") if path.is_file() and ".index" not in path.parts}

    def holder(self):
        """Return who holds the mirror, as the lock says (a process id of Windows)."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.mirror / ".index" / "lock").read_text())
        return None

    def until(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.2)
        self.wrong(f"waited in vain: {what}")
        return False

    # -- the day

    def run(self):
        self.began = time.monotonic()
        self.runs_of_before()
        with Sshd(self.place / "sshd") as self.server:
            try:
                self.first_sync()
                self.live()
                self.after()
            finally:
                self.windows.stop()
                for _, process in self.trainings.values():
                    process.kill()
        return self.report()

    def first_sync(self):
        self.server.trusted_in(self.home)
        said = self.windows.done("config", "ssh", "add", "--name", NAME, "--host", "127.0.0.1", "--port", str(self.server.port), "--user",
                                 self.server.user, "--key", windows_python.there(self.server.key), "--remote-root", str(self.root))
        assert "saved" in said, said
        (self.home / "logs").mkdir(exist_ok=True)
        line = "2025-01-01 00:00:00,000 [old] " + "x" * 90 + "\n"
        (self.home / "logs" / "sync.log").write_text(line * ((1 << 20) // len(line)))
        said = self.windows.done("sync", "once", "--connection", NAME)
        assert "live, 44 runs" in said, said
        self.compare()
        self.says(f"first sync: {self.counts['files compared']} files compared")

    def viewer(self, number):
        process = self.windows.runicorn("viewer", "--port", str(self.ports[number]), "--no-browser", "--cache-size", "1GB")
        api = Api(self.ports[number], (self.home / "token").read_text() if (self.home / "token").exists() else "", self.counts)
        return process, api

    def live(self):
        self.train("crash", self.seconds * 0.8)
        self.train("whole", self.seconds)
        written = self.windows.start("-c", TRAIN, windows_python.there(self.home / "experiments"), str(self.seconds * 0.7), "whole")
        crashed = self.windows.start("-c", TRAIN, windows_python.there(self.home / "experiments"), str(self.seconds * 0.3), "crash")
        indexer = self.windows.start("-c", INDEXER, windows_python.there(self.home))
        first, _ = self.viewer(0)
        self.until(lambda: (self.home / "run" / f"{self.ports[0]}.json").exists(), 240, "the first viewer")
        second, _ = self.viewer(1)
        self.until(lambda: (self.home / "run" / f"{self.ports[1]}.json").exists(), 240, "the second viewer")
        token = (self.home / "token").read_text()
        apis = [Api(port, token, self.counts) for port in self.ports]
        readers = Readers(apis, self.running, self.counts)
        self.says("two viewers, three readers, two trainings, two writers, one indexer")
        self.rest(0.25)
        self.beside()
        self.rest(0.5)
        self.take_over(first, readers)
        self.rest(1.0)
        for _, process in self.trainings.values():
            process.wait(240)
        time.sleep(15)
        self.states(apis, {"whole": "finished", "crash": "failed"})
        readers.stop()
        self.says(f"live: {self.counts['answers']} answers; the indexer opened {indexer.out.text().split()[-1:]} files")
        for process, code in ((written, 0), (crashed, 1)):
            if process.wait(240) != code:
                self.wrong("writers that ended badly")
                print(process.err.text(), flush=True)
        if "Runicorn" in written.err.text() or "runicorn" in written.err.text():
            self.wrong("complaints of a writer")
            print(written.err.text(), flush=True)

    def rest(self, share):
        """Wait until this share of the trainings' time is over."""
        end = next(iter(self.trainings.values()))[1].began + self.seconds * share
        time.sleep(max(0.0, end - time.monotonic()))

    def beside(self):
        """`sync once`, `sync status` and `cache info` while a viewer syncs: quick, and true."""
        began = time.monotonic()
        said = self.windows.done("sync", "once", "--connection", NAME)
        status = json.loads(self.windows.done("sync", "status", "--json"))
        info = json.loads(self.windows.done("cache", "info", "--json"))
        took = time.monotonic() - began
        size = sum(path.stat().st_size for path in self.mirror.rglob("*") if path.is_file())
        if f"process {self.holder()}" not in said or status["owner"]["pid"] != self.holder() or status["owner"]["ours"]:
            self.wrong("wrong owners")
            print(said, status, self.holder(), flush=True)
        if not 0.9 * size - 200_000 < info["by"]["gpu-server-1"] <= size + 200_000 or info["used"] > 100e6:
            self.wrong("wrong sizes")
            print(info, size, flush=True)
        self.says(f"sync once, status and cache info beside a sync: {took:.1f} s in all; process {self.holder()} holds the mirror")

    def take_over(self, first, readers):
        """The viewer that syncs is killed; another takes over, and the first comes back at its address with the same token."""
        readers.down.add(self.ports[0])
        before = self.holder()
        time.sleep(0.3)
        gone = self.counts["no answer"]
        first.kill()
        first.wait(20)
        began = time.monotonic()
        self.until(lambda: self.holder() not in (None, before), 240, "a second viewer that takes over")
        self.says(f"hard kill: process {self.holder()} took over from {before} after {time.monotonic() - began:.1f} s")
        self.counts["no answer"] = gone
        (self.home / "run" / f"{self.ports[0]}.json").unlink(missing_ok=True)
        self.viewer(0)
        if self.until(lambda: (self.home / "run" / f"{self.ports[0]}.json").exists(), 240, "the first viewer again"):
            readers.down.discard(self.ports[0])

    def states(self, apis, expected):
        for api in apis:
            for row in api.get("/api/runs", limit=1000)["runs"]:
                if row["project"] == "walk":
                    self.counts["ends seen"] += 1
                    if row["state"] != expected[row["name"]]:
                        self.wrong("wrong ends")
                        print(f"  {row['key']} is {row['state']}", flush=True)
        if self.counts["ends seen"] != 8:
            self.wrong("runs missing from the lists")

    def after(self):
        self.compare()
        self.exports()
        if (self.mirror / ".index" / "evicted").exists():
            self.wrong("files that --cache-size 1GB deleted")
        log = "".join(path.read_text(encoding="utf-8") for path in sorted((self.home / "logs").glob("sync.log*"), reverse=True))
        lines = log.splitlines()
        self.counts["log lines"] = len(lines)
        self.counts["pauses"] += sum(bool(re.search(r"\] paused: (?!stopped|synced by)", line)) for line in lines)
        self.counts["lost lines"] += sum(not re.match(r"\d{4}-\d\d-\d\d |    ", line) for line in lines)
        if not (self.home / "logs" / "sync.log.1").exists() or "[old]" not in log or "connected in" not in log:
            self.wrong("logs that were not rotated")
        print("\n".join("  | " + line[:200] for line in lines if "[old]" not in line), flush=True)
        said = self.windows.done("config", "ssh", "remove", NAME, "--drop-cache", "--yes")
        if self.mirror.exists() or "deleted" not in said:
            self.wrong("mirrors that were not dropped")
        self.says("removed with its mirror, two viewers and an indexer beside it")

    def exports(self):
        """Every export, made there, is what this side makes of the server's files."""
        environ = {**os.environ, "RUNICORN_HOME": str(self.place / "server-home"), "RUNICORN_DIR": str(self.root)}
        for run_id in self.trainings:
            for number, words in enumerate((["csv"], ["csv", "--long"], ["tensorboard"], ["html"])):
                made = [self.place / f"{side}-{number}-{run_id}" for side in "sw"]
                common = ["export", "--run-id", run_id, "--format", *words, "-o"]
                subprocess.run([sys.executable, "-m", "runicorn", *common, str(made[0])], env=environ, check=True, capture_output=True)
                self.windows.done(*common, windows_python.there(made[1]))
                self.counts["exports compared"] += 1
                if contents(made[0]) != contents(made[1]) and words != ["html"]:
                    self.wrong("wrong exports")
                    print(f"  {words} of {run_id} differs", flush=True)
        archive = self.place / "w.bundle.tar.gz"
        self.windows.done("bundle", "--since", "all", "--root", windows_python.there(self.home / "experiments"), "-o",
                          windows_python.there(archive))
        root = str(self.place / "in")
        for words in (["import", str(archive), "--root", root], ["check", root]):
            done = subprocess.run([sys.executable, "-m", "runicorn", *words], env=environ, capture_output=True, text=True)
            if done.returncode:
                self.wrong("wrong bundles")
                print(done.stdout, done.stderr, flush=True)
        self.says(f"{self.counts['exports compared']} exports compared, a bundle carried over and checked")

    def report(self):
        good = {"answers", "lists", "states seen", "values compared", "files compared", "log lines", "ends seen", "exports compared"}
        names = sorted({*self.counts, "pauses", "API errors", "no answer", "wrong bytes", "wrong values", "lost states"})
        for name in names:
            print(f"{self.counts[name]:9,d}  {name}")
        bad = {name: count for name, count in self.counts.items() if name not in good and count}
        empty = [name for name in good if not self.counts[name]]
        print("FAILED: " + ", ".join([*bad, *(f"no {name}" for name in empty)]) if bad or empty else "the walk holds", flush=True)
        return 1 if bad or empty else 0


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(path):
    """Return what an export holds: bytes of a file, {name: bytes} of a folder."""
    return path.read_bytes() if path.is_file() else {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()}


if __name__ == "__main__":
    made = Path(sys.argv[1]).resolve()
    windows_python.make(made)
    sys.exit(Walk(made, float(sys.argv[2]) if len(sys.argv) > 2 else 300.0).run())
