"""A Windows user's day, by a Windows Python under Wine, with a real sshd on this side: `make windows` runs
it. Prints its counts.

    python tests/support/windows_walk.py FOLDER [SECONDS]

FOLDER: what windows_python made; SECONDS: how long two trainings are followed live at least (300). Ends with
1 if anything is wrong. What comes next waits for what was to be seen before, not for a time, so a slow
machine takes longer and is asked the same.
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
from waiting import until

from runicorn import layout

NAME = "GPU Server 1"
PATIENCE = 900.0            # s; what has not come by then, on whatever machine, does not come
PROFILE = "users/\u5f20 \u4e09/.runicorn"           # a Chinese name with a space
TRAIN = """
import os, sys, time, runicorn
storage, seconds, end, sign = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4]
run = runicorn.init(project="walk", name=end, storage=storage, config={"lr": 0.1, "end": end})
print(run.id, flush=True)
began, step = time.monotonic(), 0
while time.monotonic() - began < seconds or not os.path.exists(sign):
    run.log({"loss": step / 7, "acc": step * 3}, step=step)
    print(f"step {step}")
    if step % 25 == 0:
        run.summary({"best": step / 7})
    step += 1
    time.sleep(max(0.0, began + step / 5 - time.monotonic()))
if end == "crash":
    raise RuntimeError("the loss is no number")
"""
# Opens what it finds below a folder and keeps each file open for a moment, as a virus scanner or an indexer
# does.
INDEXER = """
import os, sys, time
opened = 0
while True:
    for folder, _, names in os.walk(sys.argv[1]):
        for name in names:
            began = time.monotonic()
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    file.read(100)
                    time.sleep(0.02)
                opened += 1
            except OSError:
                pass
            # Wine has one server for all files, which is not to be the bottleneck
            time.sleep(0.02 + time.monotonic() - began)
    print(opened, flush=True)
"""


class Windows:
    """The programs that run there: each is started with its own words, its output gathered."""

    def __init__(self, folder, home):
        self.folder, self.home = folder, home
        self.environ = {**os.environ, "LC_ALL": "C.UTF-8", "RUNICORN_HOME": windows_python.there(home),
                        "RUNICORN_QUIET": "1"}
        self.programs = []

    def start(self, *words, **environ):
        process = windows_python.start(self.folder, *words, environ={**self.environ, **environ})
        process.out, process.err = Gathered(process.stdout), Gathered(process.stderr)
        self.programs.append(process)
        return process

    def runicorn(self, *words, **more):
        return self.start("-m", "runicorn", *words, **more)

    def done(self, *words, seconds=PATIENCE, expect=0):
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

    def line(self, seconds=PATIENCE):
        return self._lines.get(timeout=seconds).decode("utf-8", "replace").strip()

    def text(self):
        self.join(5)
        return self._data.decode("utf-8", "replace").replace("\r\n", "\n")


class Api:
    """A viewer's API as a browser that knows the token asks it; counts what is not 200. down: its viewer was
    killed, and is not back."""

    def __init__(self, port, token, counts):
        self.port, self.token, self.counts, self.down = port, token, counts, False

    def get(self, path, raw=False, **query):
        """Return an answer as JSON (or bytes), None when there was none or an error. `counts` says which."""
        address = f"{path}?{urlencode(query, doseq=True)}"
        line, began = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE), time.monotonic()
        try:
            line.request("GET", address, headers={"X-Runicorn-Token": self.token})
            answer = line.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self.counts["no answer"] += not self.down
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
    """Three pages that follow the runs of two viewers, until stopped; every value, state and file they see is
    compared.

    trainings: {run id: (name, Popen)} on the server; ends: {name: the state it is to end in}.
    seen: {(port, run id)} of what a viewer has shown as running, with values, since it was last cleared.
    """

    def __init__(self, apis, trainings, ends, counts):
        self.apis, self.trainings, self.ends, self.counts = apis, trainings, ends, counts
        self.stopping, self.seen, self.steps = threading.Event(), set(), {}
        self._threads = [threading.Thread(target=self._read, args=(number,), daemon=True)
                         for number in range(3)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            self.counts["readers that hang"] += thread.is_alive()

    def _read(self, number):
        while not self.stopping.is_set():
            api = self.apis[number % len(self.apis)]
            if api.down:
                self.stopping.wait(0.2)
                continue
            before, began = self.running(), time.monotonic()
            listed = api.get("/api/runs", limit=1000, spark=1) or {"runs": [], "loading": True}
            self.counts["lists"] += not listed["loading"]
            shown = self._states(listed["runs"], before)
            for connection in (api.get("/api/connections") or {"connections": []})["connections"]:
                bad = (connection["state"] == "paused"
                       and connection["reason"]["code"] not in ("held", "not_started"))
                if bad:
                    print(f"  {connection['name']} is paused: {connection['reason']}", flush=True)
                self.counts["rows that say paused"] += bad
            for row in listed["runs"]:
                if row["id"] in before and row["step"]:
                    points = self._look(api, row["key"], number)
                    self.seen |= {(api.port, run_id) for run_id in shown & {row["id"]} if points}
            # a page asks no more of a machine that is slow to answer
            self.stopping.wait(max(0.5, time.monotonic() - began))

    def running(self):
        """Return {run id} of the trainings that live."""
        return {run_id for run_id, (_, process) in self.trainings.items() if process.poll() is None}

    def follow(self):
        """Whether every viewer has shown every training that lives as running, with values, since `seen` was
        cleared."""
        return {(api.port, run_id) for api in self.apis
                for run_id in self.running() if not api.down} <= self.seen

    def _states(self, rows, before):
        """Count the states of the server's trainings in an answer asked for when `before` lived; returns {run
        id} of those running."""
        states, after = {row["id"]: row["state"]
                         for row in rows if row["connection"] == "gpu-server-1"}, self.running()
        for run_id in self.trainings.keys() & states.keys():
            lives, over = run_id in before & after, self.ends[self.trainings[run_id][0]]
            self.counts["states seen"] += lives
            if states[run_id] not in ("running", "checking") and (lives or states[run_id] != over):
                self.counts["lost states"] += 1
                print(f"  {run_id} is {states[run_id]}", flush=True)
        return {run_id for run_id in before & after & states.keys() if states[run_id] == "running"}

    def _look(self, api, key, number):
        """Ask for all that a run's page shows; returns how many values of its curves were right."""
        right = 0
        if not api.get(f"/api/runs/{quote(key)}"):
            return right
        told = api.get("/api/series", run=key, metric=["loss", "acc"], buckets=20_000)
        for curve in told["series"] if told else ():
            factor = 1 / 7 if curve["metric"] == "loss" else 3
            points = [(x, y) for x, y in zip(curve["x"], curve["last"]) if y is not None]
            self.counts["values compared"] += len(points)
            wrong = sum(y not in (x * factor, x / 7) for x, y in points)
            self.counts["wrong values"] += wrong
            right += len(points) - wrong
            if len(points) < len(self.steps.get(key, ())):
                self.counts["curves that shrank"] += 1
            self.steps[key] = range(len(points))
        for path, query in (("/api/logs", {}), ("/api/files", {}), ("/api/system", {})):
            api.get(path, run=key, **query)
        if number == 0:
            api.get("/api/file", raw=True, run=key, name="summary.json")
            api.get("/api/export", raw=True, run=key,
                    format=("csv", "html", "tensorboard")[int(time.time()) % 3])
        return right


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
        # run id -> (name, Popen), on the server; each ends when the file of its name is there
        self.trainings = {}
        self.ends = {"whole": "finished", "crash": "failed"}
        self.ports = [free_port(), free_port()]

    # -- the server

    def runs_of_before(self):
        """Ended runs with names that Windows has trouble with."""
        for number in range(40):
            write_run(self.root, f"\u9879\u76ee {number % 3}", "n", f"20250101_000000_{number:06x}", rows=200)
        odd = write_run(self.root, "odd", "Con", "20250102_000000_aaaaaa")
        for name in ("aux.txt", "a:b", "trail.", "nul", "\u6a21\u578b.pt", "Weights.bin", "weights.bin",
                     "deep/" + "d" * 200 + "/x.txt"):
            (odd / name).parent.mkdir(parents=True, exist_ok=True)
            (odd / name).write_bytes(name.encode() * 50)
        long = "n" * 110
        write_run(self.root, "p" * 110, long, "20250102_000001_" + "i" * 100)
        for run_id in ("Twin", "tWIN"):
            write_run(self.root, "twins", "n", run_id, metric=f"of/{run_id}")

    def train(self, end):
        environ = {**os.environ, "PYTHONPATH": str(Path(layout.__file__).parent.parent),
                   "RUNICORN_QUIET": "1", "RUNICORN_HOME": str(self.place / "server-home")}
        process = subprocess.Popen([sys.executable, "-c", TRAIN, str(self.root), "0", end,
                                    str(self.place / end)], env=environ,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        process.out = Gathered(process.stdout)
        said = process.out.line()
        process.began = time.monotonic()
        self.trainings[said] = end, process
        return process

    # -- what must be so

    def wrong(self, what, count=1):
        self.counts[what] += count

    def says(self, text):
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def compare(self):
        """Compare every file of the mirror with the server's, byte by byte, when the mirror has had the time
        to fetch it."""
        self.until(lambda: not self.missing(), PATIENCE, "a mirror with all bytes")
        for name in self.missing():
            self.wrong("wrong bytes")
            print(f"  {name[:200]} is not in the mirror", flush=True)
        self.counts["files compared"] += len(self.files())

    def files(self):
        """Return {name: path} of what is to be mirrored."""
        names = {path.relative_to(self.root).as_posix(): path
                 for path in sorted(self.root.rglob("*")) if path.is_file()}
        return {name: path for name, path in names.items() if not name.startswith(".runicorn/")}

    def missing(self):
        places = self._places()
        return [name for name, path in self.files().items() if digest(path) not in places]

    def _places(self):
        return {digest(path): path for path in self.mirror.rglob("*")
                if path.is_file() and ".index" not in path.parts}

    def holder(self):
        """Return who holds the mirror, as the lock says (a process id of Windows)."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.mirror / ".index" / "lock").read_text())
        return None

    def until(self, condition, seconds, what):
        """Wait until condition() holds; returns whether it did, counts that it did not."""
        try:
            return bool(until(condition, what, seconds, pause=0.2))
        except AssertionError:
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
        said = self.windows.done("config", "ssh", "add", "--name", NAME, "--host", "127.0.0.1", "--port",
                                 str(self.server.port), "--user", self.server.user, "--key",
                                 windows_python.there(self.server.key), "--remote-root", str(self.root))
        assert "saved" in said, said
        (self.home / "logs").mkdir(exist_ok=True)
        line = "2025-01-01 00:00:00,000 [old] " + "x" * 90 + "\n"
        (self.home / "logs" / "sync.log").write_text(line * ((1 << 20) // len(line)))
        said = self.windows.done("sync", "once", "--connection", NAME)
        assert "live, 44 runs" in said, said
        self.compare()
        self.says(f"first sync: {self.counts['files compared']} files compared")

    def live(self):
        for name in self.ends:
            self.train(name)
        storage = windows_python.there(self.home / "experiments")
        written, crashed = (self.windows.start("-c", TRAIN, storage, str(self.seconds * share), name, storage)
                            for name, share in (("whole", 0.7), ("crash", 0.3)))
        indexer = self.windows.start("-c", INDEXER, windows_python.there(self.home))
        before = self.holder()
        first = self.started(0)
        self.until(lambda: self.holder() not in (None, before), PATIENCE, "a first viewer that syncs")
        self.started(1)
        token = (self.home / "token").read_text()
        apis = [Api(port, token, self.counts) for port in self.ports]
        readers = Readers(apis, self.trainings, self.ends, self.counts)
        self.says("two viewers, three readers, two trainings, two writers, one indexer")
        self.followed(readers, 0.25)
        self.beside()
        self.followed(readers, 0.5)
        self.take_over(first, readers)
        self.followed(readers, 0.8)
        self.over("crash")
        self.followed(readers, 1.0)
        self.over("whole")
        for process, code in ((written, 0), (crashed, 1)):
            if process.wait(PATIENCE) != code:
                self.wrong("writers that ended badly")
                print(process.err.text(), flush=True)
        self.until(lambda: self.states(apis) == [4, 4], PATIENCE, "ends that both viewers show")
        readers.stop()
        self.counts["ends seen"] = sum(self.states(apis))
        self.says(f"live: {self.counts['answers']} answers; the indexer opened "
                  f"{indexer.out.text().split()[-1:]} files")
        if "Runicorn" in written.err.text() or "runicorn" in written.err.text():
            self.wrong("complaints of a writer")
            print(written.err.text(), flush=True)

    def started(self, number):
        """Start a viewer; returns its Popen when it answers."""
        process = self.windows.runicorn("viewer", "--port", str(self.ports[number]), "--no-browser",
                                        "--cache-size", "1GB")
        self.until(lambda: (self.home / "run" / f"{self.ports[number]}.json").exists(), PATIENCE,
                   f"viewer {number + 1}")
        return process

    def followed(self, readers, share):
        """Wait until this share of the time is over and every viewer has shown, from now on, every training
        that lives."""
        readers.seen.clear()
        self.until(readers.follow, PATIENCE, f"trainings that all viewers show as running, {share:.0%}")
        self.rest(share)
        self.says(f"{share:.0%}: {self.counts['states seen']} states, {self.counts['values compared']} "
                  "values")

    def over(self, name):
        """End a training of the server."""
        (self.place / name).touch()
        next(process for one, process in self.trainings.values() if one == name).wait(PATIENCE)

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
        if (f"process {self.holder()}" not in said or status["owner"]["pid"] != self.holder()
            or status["owner"]["ours"]):
            self.wrong("wrong owners")
            print(said, status, self.holder(), flush=True)
        if not 0.9 * size - 200_000 < info["by"]["gpu-server-1"] <= size + 200_000 or info["used"] > 100e6:
            self.wrong("wrong sizes")
            print(info, size, flush=True)
        self.says(f"sync once, status and cache info beside a sync: {took:.1f} s in all; "
                  f"process {self.holder()} holds the mirror")

    def take_over(self, first, readers):
        """The viewer that syncs is killed; another takes over, and the first comes back at its address with
        the same token."""
        before, readers.apis[0].down = self.holder(), True
        first.kill()
        first.wait(20)
        began = time.monotonic()
        self.until(lambda: self.holder() not in (None, before), PATIENCE, "a second viewer that takes over")
        self.says(f"hard kill: process {self.holder()} took over from {before} after "
                  f"{time.monotonic() - began:.1f} s")
        (self.home / "run" / f"{self.ports[0]}.json").unlink(missing_ok=True)
        self.started(0)
        readers.apis[0].down = False

    def states(self, apis):
        """Return for each viewer how many of the four runs it shows as ended, and as they did."""
        return [sum(row["project"] == "walk" and row["state"] == self.ends[row["name"]]
                    for row in (api.get("/api/runs", limit=1000) or {"runs": []})["runs"]) for api in apis]

    def after(self):
        self.compare()
        self.exports()
        if (self.mirror / ".index" / "evicted").exists():
            self.wrong("files that --cache-size 1GB deleted")
        log = "".join(path.read_text(encoding="utf-8")
                      for path in sorted((self.home / "logs").glob("sync.log*"), reverse=True))
        lines = log.splitlines()
        self.counts["log lines"] = len(lines)
        self.counts["pauses"] += sum(bool(re.search(r"\] paused: (?!stopped|synced by)", line))
                                     for line in lines)
        self.counts["lost lines"] += sum(not re.match(r"\d{4}-\d\d-\d\d |    ", line) for line in lines)
        if (not (self.home / "logs" / "sync.log.1").exists() or "[old]" not in log
            or "connected in" not in log):
            self.wrong("logs that were not rotated")
        print("\n".join("  | " + line[:200] for line in lines if "[old]" not in line), flush=True)
        said = self.windows.done("config", "ssh", "remove", NAME, "--drop-cache", "--yes")
        if self.mirror.exists() or "deleted" not in said:
            self.wrong("mirrors that were not dropped")
        self.says("removed with its mirror, two viewers and an indexer beside it")

    def exports(self):
        """Every export, made there, is what this side makes of the server's files."""
        environ = {**os.environ, "RUNICORN_HOME": str(self.place / "server-home"),
                   "RUNICORN_DIR": str(self.root)}
        for run_id in self.trainings:
            for number, words in enumerate((["csv"], ["csv", "--long"], ["tensorboard"], ["html"])):
                made = [self.place / f"{side}-{number}-{run_id}" for side in "sw"]
                common = ["export", "--run-id", run_id, "--format", *words, "-o"]
                subprocess.run([sys.executable, "-m", "runicorn", *common, str(made[0])], env=environ,
                               check=True, capture_output=True)
                self.windows.done(*common, windows_python.there(made[1]))
                self.counts["exports compared"] += 1
                if contents(made[0]) != contents(made[1]) and words != ["html"]:
                    self.wrong("wrong exports")
                    print(f"  {words} of {run_id} differs", flush=True)
        archive = self.place / "w.bundle.tar.gz"
        self.windows.done("bundle", "--since", "all", "--root",
                          windows_python.there(self.home / "experiments"), "-o",
                          windows_python.there(archive))
        root = str(self.place / "in")
        for words in (["import", str(archive), "--root", root], ["check", root]):
            done = subprocess.run([sys.executable, "-m", "runicorn", *words], env=environ,
                                  capture_output=True, text=True)
            if done.returncode:
                self.wrong("wrong bundles")
                print(done.stdout, done.stderr, flush=True)
        self.says(f"{self.counts['exports compared']} exports compared, a bundle carried over and checked")

    def report(self):
        good = {"answers", "lists", "states seen", "values compared", "files compared", "log lines",
                "ends seen", "exports compared"}
        names = sorted({*self.counts, "pauses", "API errors", "no answer", "wrong bytes", "wrong values",
                        "lost states"})
        for name in names:
            print(f"{self.counts[name]:9,d}  {name}")
        bad = {name: count for name, count in self.counts.items() if name not in good and count}
        empty = [name for name in good if not self.counts[name]]
        print("FAILED: " + ", ".join([*bad, *(f"no {name}" for name in empty)]) if bad or empty
              else "the walk holds", flush=True)
        return 1 if bad or empty else 0


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(path):
    """Return what an export holds: bytes of a file, {name: bytes} of a folder."""
    return (path.read_bytes() if path.is_file()
            else {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()})


if __name__ == "__main__":
    made = Path(sys.argv[1]).resolve()
    windows_python.make(made)
    sys.exit(Walk(made, float(sys.argv[2]) if len(sys.argv) > 2 else 300.0).run())
