"""What `runicorn run` costs a program: start and end together, memory, and how fast a flood of output passes,
beside `script -qc` and the bare program in the same run.

    python benchmarks/run.py                # about a minute
    python benchmarks/run.py --times 20     # starts of each, interleaved
"""

import argparse
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROWS = 2_000_000            # of the flood
LINE = "step 123456 loss 0.1234 the quick brown fox jumps\\n"
FLOOD = f"import sys; block = {LINE!r} * 1000\nfor _ in range({ROWS // 1000}): sys.stdout.write(block)"
MEMORY = ("Pss", "Private_Clean", "Private_Dirty")


def environment(folder):
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")}
    return {**kept, "RUNICORN_HOME": str(folder / "home"), "RUNICORN_DIR": str(folder / "root"),
            "RUNICORN_QUIET": "1", "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": "",
            "TERM": "xterm"}


def ours(argv):
    # what people type; it finds this tree by PYTHONPATH
    command = Path(sys.executable).with_name("runicorn")
    return [*([str(command)] if command.exists() else [sys.executable, "-m", "runicorn"]), "run", "--", *argv]


def scripted(argv):
    return ["script", "-qec", " ".join(map(_quoted, argv)),
            "/dev/null" if argv[0] == "true" else "typescript"]


def _quoted(word):
    return "'" + word.replace("'", "'\\''") + "'"


def spent(argv, folder, terminal=False):
    """Return (seconds, bytes that came out) of a program whose output goes into a pipe, or to a terminal that
    is read at once."""
    count = [0]

    def read(number):
        while True:
            try:
                data = os.read(number, 1 << 20)
            except OSError:
                return
            if not data:
                return
            count[0] += len(data)
    reader, writer = pty.openpty() if terminal else os.pipe()
    thread = threading.Thread(target=read, args=(reader,))
    thread.start()
    start = time.perf_counter()
    process = subprocess.Popen(argv, cwd=folder, env=environment(folder),
                               stdin=writer if terminal else subprocess.DEVNULL, stdout=writer,
                               stderr=writer, start_new_session=True)
    os.close(writer)
    process.wait()
    thread.join()
    seconds = time.perf_counter() - start
    os.close(reader)
    return seconds, count[0]


def starts(folder, times):
    """Return the medians (ms) of `true` bare, below script and below us, and of a Python that does nothing,
    interleaved."""
    kinds = {"bare": ["true"], "python": [sys.executable, "-c", ""], "script -qc": scripted(["true"]),
             "runicorn run": ours(["true"])}
    found = {name: [] for name in kinds}
    for _ in range(times):
        for name, argv in kinds.items():
            found[name].append(spent(argv, folder)[0] * 1000)
    return {name: statistics.median(values) for name, values in found.items()}


def floods(folder, times):
    """Return {(where, who): the best MB/s}, each with all bytes there."""
    argv, found = [sys.executable, "-c", FLOOD], {}
    for where in ("pipe", "terminal"):
        for _ in range(times):
            for who, command in (("bare", argv), ("script -qc", scripted(argv)),
                                 ("runicorn run", ours(argv))):
                seconds, count = spent(command, folder, where == "terminal")
                least = ROWS * len(LINE.encode())
                assert count >= least, (who, count, least)
                found[where, who] = max(found.get((where, who), 0), least / seconds / 1e6)
    return found


def memory(folder):
    """Return (proportional set size, private memory) in MB of all processes that `runicorn run` adds to a
    program."""
    process = subprocess.Popen(ours(["sleep", "60"]), cwd=folder, env=environment(folder),
                               start_new_session=True)
    time.sleep(5)
    sums = dict.fromkeys((*MEMORY, "Rss"), 0)
    for number in (process.pid, *_children(process.pid)):
        if b"runicorn" in Path(f"/proc/{number}/cmdline").read_bytes():
            for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in sums:
                    sums[name] += int(value.split()[0]) / 1000
    process.terminate()
    process.wait()
    return sums["Pss"], sums["Private_Clean"] + sums["Private_Dirty"], sums["Rss"]


def _children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="starts of each")
    parser.add_argument("--floods", type=int, default=3, help="floods of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # compiled once
        subprocess.run(ours(["true"]), cwd=folder, env=environment(folder), check=True)
        found = starts(folder, options.times)
        for name, value in found.items():
            print(f"{name + ', start and end':<40}{value:8.1f} ms")
        print(f"{'runicorn run adds':<40}{found['runicorn run'] - found['bare']:8.1f} ms   (target 60; "
              f"script adds {found['script -qc'] - found['bare']:.1f}, a bare python "
              f"{found['python'] - found['bare']:.1f})")
        pss, private, rss = memory(folder)
        print(f"{'memory added, proportional':<40}{pss:8.1f} MB   (target 25; private {private:.1f}, "
              f"resident {rss:.1f})")
        speeds = floods(folder, options.floods)
        for (where, who), speed in speeds.items():
            ratio = speed / speeds[where, "script -qc"]
            target = "   (target 0.8)" if who == "runicorn run" else ""
            print(f"{'a flood into a ' + where + ', ' + who:<40}{speed:8.0f} MB/s {ratio:6.2f} x script "
                  f"-qc{target}")


if __name__ == "__main__":
    main()
