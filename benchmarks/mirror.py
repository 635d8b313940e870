"""The mirror against rsync, on the same tree through the same delayed line. Prints one table; ratios count,
seconds drift.

python benchmarks/mirror.py                       # everything, medians of 3, about 15 minutes
python benchmarks/mirror.py --only initial idle   # some sections
python benchmarks/mirror.py --runs 100 --repeat 1 # a quick look
"""

import argparse
import contextlib
import json
import logging
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "support")]

from line import Line  # noqa: E402
from sshd import Sshd  # noqa: E402
from tree import append, log_rows, make_run, make_tree, rows, run_path  # noqa: E402

from runicorn import manifest  # noqa: E402
from runicorn.mirror.sync import Sync  # noqa: E402
from runicorn.news import Bell  # noqa: E402
from runicorn.ssh import remote  # noqa: E402

SECTIONS = {}
LOG = logging.getLogger("mirror")


def section(function):
    SECTIONS[function.__name__] = function
    return function


# -- both sides ----------------------------------------------------------------------------------------------


class Bench:
    """One server, one line, one tree, and a table that grows."""

    def __init__(self, folder, options):
        self.folder, self.options = folder, options
        self.servers = contextlib.ExitStack()
        self.sftp_only = self.servers.enter_context(Sshd(folder / "sshd1", ForceCommand="internal-sftp"))
        self.with_exec = self.servers.enter_context(Sshd(folder / "sshd2"))
        self.root = make_tree(folder / "tree", options.runs)
        self.rows = []

    def row(self, what, peer, ours, target, good):
        self.rows.append((what, peer, ours, target, "ok" if good else "MISSED"))
        print(" | ".join(self.rows[-1]), flush=True)

    def line(self, rtt=0.05, mbit=0, ssh=False):
        """Return a Line to the SFTP-only server, or to the one that runs commands (rsync needs that)."""
        server = self.with_exec if ssh else self.sftp_only
        line = Line(server.port, rtt, mbit)
        line.server = server
        return line

    def mirror(self, line, root=None, **options):
        """Return a Sync of the tree over `line`, not yet connected."""
        home = self.folder / f"home{time.monotonic_ns()}"
        home.mkdir()
        host_key = " ".join(line.server.host_key.read_text().split()[:2])
        (home / "known_hosts").write_text(f"[127.0.0.1]:{line.port} {host_key}\n")
        connection = {
            **line.server.connection(),
            "name": "bench",
            "port": line.port,
            "remote_root": str(root or self.root),
            "mode": "auto",
            "interval": 30,
            "manifest": True,
            "small_only": True,
            "large": False,
            "window": None,
            "small_limit": 1 << 20,
            **options,
        }
        one = Sync(connection, home / "cache" / "bench", lambda: remote.connect(connection, home=home),
                   Bell(), LOG)
        one.connection = connection
        return one

    def ssh(self, line, extra=""):
        return (
            f"ssh -F none -i {line.server.key} -p {line.port} -o IdentitiesOnly=yes -o "
            "UserKnownHostsFile=/dev/null "
            f"-o StrictHostKeyChecking=no "
            f"-o LogLevel=ERROR -o BatchMode=yes {extra}"
        )

    def rsync(self, line, into, flags="-a", extra=""):
        return [
            "rsync",
            flags,
            "--exclude",
            ".runicorn",
            "-e",
            self.ssh(line, extra),
            f"{line.server.user}@127.0.0.1:{self.root}/",
            f"{into}/",
        ]

    def same(self, one):
        done = subprocess.run(
            ["diff", "-rq", "-x", ".index", "-x", ".runicorn", self.root, one.mirror.folder],
            capture_output=True, text=True
        )
        assert not done.stdout, f"the mirror differs: {done.stdout[:500]}"


def passes(one, until=None, due=True):
    """Let the mirror do all there is to do; returns (s, s until the list was whole)."""
    began, listed = time.monotonic(), None
    if due:
        one._due = 0.0
    while one.one_pass(time.time()) == 0.0:
        listed = listed or (time.monotonic() - began if one.state()["runs"] else None)
    return time.monotonic() - began, listed


def cost(line, work):
    """Return (what `work()` returns, s, bytes both ways, turns)."""
    time.sleep(0.6)
    before, began = line.stats(), time.monotonic()
    found = work()
    took = time.monotonic() - began
    time.sleep(0.6)
    after = line.stats()
    moved = {name: after[name] - before[name] for name in ("up", "down", "turns")}
    return found, took, moved["up"] + moved["down"], moved["turns"]


def median(bench, measure):
    """Return the medians of what `measure()` returns (tuple of numbers), taken `repeat` times."""
    taken = [measure() for _ in range(bench.options.repeat)]
    return [statistics.median(values) for values in zip(*taken)]


def closed(one):
    one.stop()
    one.run()
    shutil.rmtree(one.mirror.folder.parent.parent)


# -- the sections --------------------------------------------------------------------------------------------


def from_nothing(bench, line, **options):
    one = bench.mirror(line, **options)
    (_, listed), took, count, _ = cost(line, lambda: passes(one))
    bench.same(one)
    closed(one)
    return took, count, listed


def rsync_from_nothing(bench, line, flags):
    into = bench.folder / "rsynced"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    _, took, count, _ = cost(line, lambda: subprocess.run(bench.rsync(line, into, flags), check=True))
    return took, count


@section
def initial(bench):
    """All files from nothing, login included."""
    for mbit, flags, factor in ((0, "-a", 0.6), (10, "-az", 1.15)):
        with bench.line(mbit=mbit, ssh=True) as line:
            peer, peer_bytes = median(bench, lambda: rsync_from_nothing(bench, line, flags))
        with bench.line(mbit=mbit) as line:
            ours, our_bytes, _ = median(bench, lambda: from_nothing(bench, line))
        speed = f"{mbit} Mbit/s" if mbit else "no cap"
        bench.row(
            f"everything from nothing, 50 ms, {speed}",
            f"rsync {flags} {peer:.2f} s, {peer_bytes / 1e6:.1f} MB",
            f"SFTP only {ours:.2f} s, {our_bytes / 1e6:.1f} MB",
            f"<= {factor} x: {ours / peer:.2f}",
            ours <= factor * peer,
        )


# -- as a user types it --------------------------------------------------------------------------------------


class Typed:
    """A home with one connection, in which the command line is run."""

    def __init__(self, bench, line):
        self.bench, self.line = bench, line
        self.home = bench.folder / f"home{time.monotonic_ns()}"
        (self.home / ".runicorn").mkdir(parents=True)
        host_key = " ".join(line.server.host_key.read_text().split()[:2])
        (self.home / ".runicorn" / "known_hosts").write_text(f"[127.0.0.1]:{line.port} {host_key}\n")
        self.run("config", "ssh", "add", "--name", "bench", "--host", "127.0.0.1", "--port", line.port,
                 "--user", line.server.user, "--key", line.server.key, "--remote-root", bench.root)

    def run(self, *words):
        environ = {**os.environ, "HOME": str(self.home), "RUNICORN_HOME": str(self.home / ".runicorn"),
                   "PYTHONPATH": str(HERE.parent)}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run([sys.executable, "-m", "runicorn", *map(str, words)], env=environ, check=True,
                       stdout=subprocess.DEVNULL)

    def sync(self):
        """Return (s, bytes both ways) of one `sync once`."""
        _, took, count, _ = cost(self.line, lambda: self.run("sync", "once", "--connection", "bench"))
        return took, count

    def close(self):
        copy = self.home / ".runicorn" / "cache" / "bench"
        done = subprocess.run(["diff", "-rq", "-x", ".index", "-x", ".runicorn", self.bench.root, copy],
                              capture_output=True, text=True)
        assert not done.stdout, f"the mirror differs: {done.stdout[:500]}"
        shutil.rmtree(self.home)


def typed(bench, line):
    """Return (s, bytes, s, bytes) of a first `sync once` and of a second one without a change."""
    user = Typed(bench, line)
    figures = *user.sync(), *user.sync()
    user.close()
    return figures


@section
def commands(bench):
    """`runicorn sync once` from the shell against `rsync -a` from the shell, first and again, start of Python
    and login included."""
    with bench.line(ssh=True) as line:
        def rsync():
            first = rsync_from_nothing(bench, line, "-a")
            again = cost(line, lambda: subprocess.run(bench.rsync(line, bench.folder / "rsynced"),
                                                      check=True))[1:3]
            return *first, *again
        first, first_bytes, again, again_bytes = median(bench, rsync)
        by_exec = median(bench, lambda: typed(bench, line))
        manifest.generate(str(bench.root))
        manifest_also = median(bench, lambda: typed(bench, line))
        shutil.rmtree(bench.root / ".runicorn")
    with bench.line() as line:
        walked = median(bench, lambda: typed(bench, line))
        manifest.generate(str(bench.root))
        by_file = median(bench, lambda: typed(bench, line))
        shutil.rmtree(bench.root / ".runicorn")
    for name, figures, most in (("exec", by_exec, 20_000), ("exec, manifest file", manifest_also, 20_000),
                                ("SFTP only", walked, None), ("SFTP only, manifest file", by_file, 10_000)):
        bench.row(f"sync once from nothing, 50 ms, {name}",
                  f"rsync -a {first:.2f} s, {first_bytes / 1e6:.1f} MB",
                  f"{figures[0]:.2f} s, {figures[1] / 1e6:.1f} MB", f"<= 0.6 x: {figures[0] / first:.2f}",
                  figures[0] <= 0.6 * first)
        bench.row(f"sync once again, nothing changed, {name}",
                  f"rsync -a {again:.2f} s, {again_bytes / 1000:.0f} KB",
                  f"{figures[2]:.2f} s, {figures[3] / 1000:.0f} KB", f"<= 1 x: {figures[2] / again:.2f}"
                  + (f", {most // 1000} KB" if most else ""),
                  figures[2] <= again and (most is None or figures[3] <= most))


def first_list(bench, line, **options):
    """Return (s from the login to a list of all runs in the index, requests until then)."""
    one = bench.mirror(line, **options)
    ready = one._connect()
    one._connect = lambda: ready
    since, began = one.bell.now(), time.monotonic()
    thread = threading.Thread(target=one.run)
    thread.start()
    while True:
        since = one.bell.wait(since, {"runs"}, 60)["news"]
        took, requests = time.monotonic() - began, one._remote_root.client.requests if one._remote_root else 0
        index = one.mirror.load_index()
        if (len(index) == bench.options.runs
            and all(index.entry(path)["meta"] for path in index.paths()[::17])):
            break
    one.stop()
    thread.join()
    shutil.rmtree(one.mirror.folder.parent.parent)
    return took, requests


@section
def listing(bench):
    """The run list complete, before events are fetched."""
    with bench.line() as line:
        walk, _ = median(bench, lambda: first_list(bench, line))
        manifest.generate(str(bench.root))
        by_file, _ = median(bench, lambda: first_list(bench, line))
        shutil.rmtree(bench.root / ".runicorn")
    with bench.line(ssh=True) as line:
        by_exec, _ = median(bench, lambda: first_list(bench, line))
    for name, took, most in (("by walk", walk, 2), ("by manifest file", by_file, 1), ("by exec", by_exec, 1)):
        bench.row(
            f"list of {bench.options.runs} runs after login, {name}",
            "rsync: when all is done",
            f"{took:.2f} s",
            f"<= {most} s",
            took <= most,
        )


@section
def cycles(bench):
    """Nothing changed, and four running runs appended, on a kept connection."""
    for rtt, most in ((0.05, 0.15), (0.2, 0.45)):
        with bench.line(rtt, ssh=True) as line:
            peer_idle, peer_active = median(bench, lambda: rsync_cycles(bench, line))
        with bench.line(rtt) as line:
            one = bench.mirror(line)
            passes(one)
            for _ in range(2):
                time.sleep(2.1)  # past the second in which a change could hide
                passes(one)
            idle = median(bench, lambda: cost(line, lambda: passes(one))[1:])
            active = median(bench,
                            lambda: (append(bench.root, bench.options.runs),
                                     cost(line, lambda: passes(one)))[1][1:])
            bench.same(one)
            closed(one)
        bench.row(
            f"nothing changed, {rtt * 1000:.0f} ms",
            f"rsync {peer_idle:.2f} s",
            f"{idle[0]:.3f} s, {idle[1]:.0f} B, {idle[2]:.0f} round trip",
            f"<= {most} s, 2 KB",
            idle[0] <= most and idle[1] <= 2048,
        )
        if rtt == 0.05:
            bench.row(
                "4 runs appended, 43 KB new",
                f"rsync {peer_active:.2f} s",
                f"{active[0]:.3f} s, {active[1] / 1000:.1f} KB",
                "<= 0.2 s, 12 KB",
                active[0] <= 0.2 and active[1] <= 12_000,
            )


@section
def looks(bench):
    """A look at all files by exec while nothing changed, on a kept connection, and how often it may be
    repeated."""
    with bench.line(ssh=True) as line:
        one = bench.mirror(line)
        passes(one)
        time.sleep(2.1)  # past the second in which a change could hide
        passes(one)
        listed = one._remote_root.list

        def look():
            listed._exec.start(one._index.flush().lines, time.time())
            assert listed.take_answer(), "python3 on the server did not answer"

        look()
        took, count, turns = median(bench, lambda: cost(line, look)[1:])
        share = (listed._exec.next - listed._exec.began) / took
        bench.same(one)
        closed(one)
    bench.row(
        f"a look at all files of {bench.options.runs} runs by exec, nothing changed, 50 ms",
        "-",
        f"{took:.2f} s, {count / 1000:.1f} KB, {turns:.0f} round trips, again after {share:.0f} x that",
        "<= 0.5 s, 12 KB",
        took <= 0.5 and count <= 12_000,
    )


def rsync_cycles(bench, line):
    control = bench.folder / "control"
    extra = f"-S {control} -o ControlMaster=auto -o ControlPersist=60"
    into = bench.folder / "rsynced"
    into.mkdir(exist_ok=True)
    command = bench.rsync(line, into, "-a", extra)
    subprocess.run(command, check=True)
    idle = cost(line, lambda: subprocess.run(command, check=True))[1]
    append(bench.root, bench.options.runs)
    active = cost(line, lambda: subprocess.run(command, check=True))[1]
    subprocess.run([*bench.ssh(line, extra).split(), "-O", "exit", "127.0.0.1"], stderr=subprocess.DEVNULL)
    return idle, active


def beating(bench, count, experiments):
    """Return a root of running runs, each with its live file, and a function that beats their hearts."""
    root = bench.folder / f"beating{count}"
    live = root / ".runicorn" / "live"
    live.mkdir(parents=True)
    for number in range(count):
        path = f"p/e{number % experiments:04d}/runs/20250219_{number:06d}_abc123"
        make_run(root, number, "running", 20, 20, path)
        (live / f"20250219_{number:06d}_abc123.json").write_text(json.dumps({"path": path}))
    return root


@section
def rhythm(bench):
    """Running runs and somebody who watches the list: what the one-second rhythm costs while nothing is
    logged."""
    for count, experiments, seconds in ((50, 10, 20), (1000, 1000, 40)):
        root = beating(bench, count, experiments)
        with bench.line() as line:
            one = bench.mirror(line, root)
            while one.one_pass(time.time()) == 0.0:
                pass
            settle = time.monotonic() + 40
            while time.monotonic() < settle:
                one.bell.look({"runs"})
                time.sleep(min(1.0, one.one_pass(time.time())))
            before, cpu, began = line.stats(), time.process_time(), time.monotonic()
            while time.monotonic() < began + seconds:
                one.bell.look({"runs"})
                time.sleep(min(1.0, one.one_pass(time.time())))
            cpu, after = time.process_time() - cpu, line.stats()
            rate = (after["up"] + after["down"] - before["up"] - before["down"]) / seconds
            closed(one)
        bench.row(
            f"{count} running runs in {experiments} experiments, watched, idle",
            "-",
            f"{rate / 1000:.1f} KB/s, {100 * cpu / seconds:.0f} % of a core",
            "<= 5 KB/s, 15 %",
            rate <= 5000 and cpu <= 0.15 * seconds,
        )
        shutil.rmtree(root)


@section
def latency(bench):
    """log() on the server to the bytes on the laptop; a new run to the list."""
    import runicorn

    root = bench.folder / "live"
    run = runicorn.init(project="p", name="n", storage=str(root), capture=False, system=False)
    with bench.line() as line:
        one = bench.mirror(line, root)
        thread = threading.Thread(target=one.run)
        thread.start()
        here = one.mirror.folder / "p" / "n" / "runs" / run.id / "events.jsonl"
        stop, taken = threading.Event(), []

        def watch():
            while not stop.wait(5):
                one.bell.look({"runs", f"run:bench:p/n/{run.id}"})

        one.bell.look({"runs", f"run:bench:p/n/{run.id}"})
        watcher = threading.Thread(target=watch)
        watcher.start()
        chance = random.Random(1)
        for step in range(bench.options.logs):
            run.log({"loss": 1 / (step + 1)}, step=step)
            began, mark = time.monotonic(), b'"step":%d,' % step
            while not (here.is_file() and mark in here.read_bytes()):
                time.sleep(0.01)
            taken.append(time.monotonic() - began)
            time.sleep(chance.random())
        run.finish()
        fresh = runicorn.init(project="p", name="new", storage=str(root), capture=False, system=False)
        began = time.monotonic()
        while not list(one.mirror.folder.glob("p/new/runs/*/meta.json")):
            time.sleep(0.01)
        appeared = time.monotonic() - began
        fresh.finish()
        stop.set()
        watcher.join()
        one.stop()
        thread.join()
    taken = sorted(taken[3:])
    worst = taken[int(0.99 * (len(taken) - 1))]
    bench.row(
        "log() to the laptop's disk, 50 ms, SFTP only",
        "-",
        f"median {statistics.median(taken):.2f} s, worst {worst:.2f} s",
        "<= 0.7 s, 1.5 s",
        statistics.median(taken) <= 0.7 and worst <= 1.5,
    )
    bench.row("a new run, no manifest", "-", f"{appeared:.2f} s", "<= 2 s", appeared <= 2)


@section
def manifests(bench):
    """Making and reading the manifest of 10,000 runs, against `find -printf`."""
    root = bench.folder / "many"
    for number in range(10_000):
        make_run(root, number, events=2, logs=2)
    full, nothing, read = median(bench, lambda: manifest_times(root))
    bench.row("manifest of 10,000 runs, full", "find 1.0", f"{full:.1f} x", "<= 6 x", full <= 6)
    bench.row("manifest of 10,000 runs, nothing changed", "find 1.0", f"{nothing:.2f} x", "<= 2 x",
              nothing <= 2)
    bench.row("manifest of 10,000 runs, read into an index", "-", f"{read:.3f} s", "<= 0.1 s", read <= 0.1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with bench.line(rtt=0) as line:
        one = bench.mirror(line, root, window="24h")
        passes(one)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        closed(one)
    bench.row("memory of the sync side, 10,000 runs", "-", f"{grown:.0f} MB more", "<= 60 MB", grown <= 60)
    shutil.rmtree(root)


def manifest_times(root):
    def took(work):
        began = time.monotonic()
        return work(), time.monotonic() - began

    _, find = took(lambda: subprocess.run(["find", root, "-printf", "%p %s %T@\\n"],
                                          stdout=subprocess.DEVNULL, check=True))
    built, full = took(lambda: manifest.build(str(root)))
    _, nothing = took(lambda: manifest.build(str(root), built))
    manifest.save(built, str(root.parent / "many.json"))
    _, read = took(lambda: manifest.load(root.parent / "many.json"))
    return full / find, nothing / find, read


@section
def promise(bench):
    """The guide's promise: manifest on, against off, against one file after the other as a plain SFTP client
    walks."""
    manifest.generate(str(bench.root))
    with bench.line() as line:
        on = median(bench, lambda: first_list(bench, line))
        off = median(bench, lambda: first_list(bench, line, manifest=False))
        one = bench.mirror(line)
        ready = one._connect()
        client = ready.open_sftp()
        paths = [run_path(number) for number in range(0, bench.options.runs, bench.options.runs // 20)]
        began = time.monotonic()
        for path in paths:
            for name, _ in client.listdir(f"{bench.root}/{path}"):
                if name.endswith(".json"):
                    list(client.read_pieces(f"{bench.root}/{path}/{name}", 1 << 20))
        share = bench.options.runs / len(paths)
        walk = (time.monotonic() - began) * share, client.requests * share
        ready.close()
    shutil.rmtree(bench.root / ".runicorn")
    bench.row(
        "first list: manifest on, off, file by file",
        f"{walk[0]:.0f} s, {walk[1]:.0f} requests",
        f"on {on[0]:.2f} s, {on[1]:.0f}; off {off[0]:.2f} s, {off[1]:.0f}",
        f"1 %, 5 %: {100 * on[1] / walk[1]:.2f} % of requests, {100 * on[0] / walk[0]:.1f} % of time",
        on[1] <= 0.01 * walk[1] and on[0] <= 0.05 * walk[0],
    )


@section
def opening(bench):
    """A foreign 500 MB run, opened for the first time over a thin line."""
    root = bench.folder / "huge"
    folder = make_run(root, 1, events=1000, logs=1000)
    block = rows(1, 0, 20_000).encode()
    with open(folder / "events.jsonl", "ab") as file:
        while file.tell() < 450 << 20:
            file.write(block)
    with open(folder / "logs.txt", "ab") as file:
        while file.tell() < 50 << 20:
            file.write(log_rows(1, 0, 20_000).encode())
    size = (folder / "events.jsonl").stat().st_size
    with bench.line(mbit=10) as line:
        one = bench.mirror(line, root)
        thread = threading.Thread(target=one.run)
        thread.start()
        while one.state()["runs"] == 0:
            time.sleep(0.05)
        path = str(folder.relative_to(root))
        began = time.monotonic()
        one.want(path)
        one.peek(path, "logs.txt", [(-(256 << 10), 256 << 10)], timeout=60)
        end_of_log = time.monotonic() - began
        one.peek(path, "events.jsonl", [(size * n // 2000, 512) for n in range(2000)], timeout=60)
        curve = time.monotonic() - began
        one.stop()
        thread.join()
    bench.row(
        "a foreign 500 MB run at 10 Mbit/s",
        "400 s to fetch",
        f"end of the log {end_of_log:.2f} s, coarse curve {curve:.2f} s",
        "<= 1 s, 3 s",
        end_of_log <= 1 and curve <= 3,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    options = parser.parse_args()
    logging.getLogger("paramiko").setLevel(logging.ERROR)
    tmpfs = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=tmpfs) as folder:
        os.environ["RUNICORN_HOME"] = f"{folder}/home"
        bench = Bench(Path(folder), options)
        try:
            for name in options.only:
                SECTIONS[name](bench)
        finally:
            bench.servers.close()
    return any(row[-1] != "ok" for row in bench.rows)


if __name__ == "__main__":
    sys.exit(main())
