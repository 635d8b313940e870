"""What a training script pays: one table, in ratios against the raw floor (JSON encode and os.write) measured
in the same run.

    python benchmarks/log.py                  # ours, about half a minute
    python benchmarks/log.py --peers
        # and those of wandb, tensorboard, tensorboardX, trackio, aim, mlflow that are installed
    python benchmarks/log.py --calls 100000   # quicker
"""

import argparse
import array
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
BLOCK = 1000
INIT_RUNS = 10_000          # runs that are there already when init is timed


def row(step):
    """The guide's four metrics, with values as a training gives them."""
    return {"train/loss": 2.3025 / (1 + step * 1e-5), "train/accuracy": 100 * (step % 1563) / 1563,
            "train/learning_rate": 0.001, "epoch": step // 1563}


def timed(call, first, count):
    """Return the nanoseconds of each of `count` calls (array)."""
    clock, spent = time.perf_counter_ns, array.array("q")
    for step in range(first, first + count):
        data = row(step)
        start = clock()
        call(data, step)
        spent.append(clock() - start)
    return spent


def floor_writer(folder):
    descriptor = os.open(folder / "floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(data, step):
        os.write(descriptor,
                 (json.dumps({"ts": round(time.time(), 3), "step": step, "data": data}) + "\n").encode())
    return write


def joined(blocks):
    return [spent for block in blocks for spent in block]


def at(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] / 1000


def mean(values):
    return statistics.fmean(values) / 1000


def log_calls(folder, calls):
    """Interleave blocks of the floor and of ours, so that both meet the same machine."""
    import runicorn
    run = runicorn.init(project="bench", name="log", storage=folder / "root", capture=False)
    floor, floors, ours = floor_writer(folder), [], []
    timed(floor, 0, BLOCK), timed(run.log, 0, BLOCK)
    before = memory()
    for first in range(0, calls, BLOCK):
        ours.append(timed(run.log, first, BLOCK))
        if len(floors) < 200:
            floors.append(timed(floor, first, BLOCK))
    # without what this measurement keeps
    grown = memory() - before - 8 * BLOCK * (len(ours) + len(floors)) / 1e6
    threads = threading.active_count() - 1
    start = time.perf_counter()
    run.finish()
    finish = time.perf_counter() - start
    size = (run.dir / "events.jsonl").stat().st_size / (calls + BLOCK)
    return floors, ours, {"grown": grown, "threads": threads, "finish": finish, "bytes": size}


def memory():
    """Return the resident memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def child(code, times=7):
    """Return the medians of the numbers that `code` prints, each time in a fresh interpreter."""
    command, printed = [sys.executable, "-S", "-c", code], []
    for _ in range(times):
        printed.append(subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True,
                                      check=True).stdout.split())
    return [statistics.median(map(float, column)) for column in zip(*printed)]


IMPORT = """
import sys, time
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
before, start = memory(), time.perf_counter()
import runicorn
print((time.perf_counter() - start) * 1000, memory() - before)
"""
INIT = """
import sys, time
import runicorn
start = time.perf_counter()
run = runicorn.init(project="bench", name="many", storage={root!r}, config={{"lr": 0.1}})
middle = time.perf_counter()
time.sleep(0.3)
end = time.perf_counter()
run.finish()
print((middle - start) * 1000, (time.perf_counter() - end) * 1000)
"""


def many_runs(folder, count):
    runs = folder / "root" / "bench" / "many" / "runs"
    for number in range(count):
        run = runs / f"20250101_000000_{number:06x}"
        run.mkdir(parents=True)
        (run / "meta.json").write_text("{}")
    return folder / "root"


def ours(folder, calls):
    floors, rows, more = log_calls(folder, calls)
    floor, every = joined(floors), joined(rows)
    paired = joined(rows[:len(floors)])
    tenth = max(1, len(rows) // 10)
    first, last = joined(rows[:tenth]), joined(rows[-tenth:])
    bare = statistics.fmean(sum(len(name) + len(repr(value)) for name, value in row(step).items())
                            for step in range(0, calls, 97))
    imported, loaded = child(IMPORT)
    begun, finished = child(INIT.format(root=str(many_runs(folder, INIT_RUNS))))
    return [
        ("raw floor p50 / mean / p99", f"{at(floor, .5):.2f} / {mean(floor):.2f} / {at(floor, .99):.2f} µs",
         ""),
        ("log() p50", f"{at(paired, .5):.2f} µs",
         f"{at(paired, .5) / at(floor, .5):.2f} x floor (target 1.15)"),
        ("log() mean", f"{mean(paired):.2f} µs", f"{mean(paired) / mean(floor):.2f} x floor (target 1.5)"),
        ("log() p99", f"{at(paired, .99):.2f} µs",
         f"{at(paired, .99) / at(floor, .99):.2f} x floor (target 4)"),
        (f"last tenth of {len(every):,} calls", f"{at(last, .5):.2f} µs",
         f"{at(last, .5) / at(first, .5):.2f} x first tenth (target 1.2)"),
        ("memory grown over all calls", f"{more['grown']:.2f} MB", "flat"),
        ("bytes per call", f"{more['bytes']:.1f}",
         f"{more['bytes'] - bare:.1f} + names and decimals (target 64)"),
        ("threads", f"{more['threads']}", "target 2"),
        ("import", f"{imported:.1f} ms, {loaded:.2f} MB", "target 30 ms, 4 MB"),
        (f"init() among {INIT_RUNS:,} runs", f"{begun:.1f} ms", "target 20 ms"),
        ("finish()", f"{finished:.1f} ms", "target 50 ms"),
    ]


# -- peers ---------------------------------------------------------------------------------------------------

def wandb(folder):
    import wandb
    run = wandb.init(project="bench", mode="offline", dir=str(folder), settings=wandb.Settings(silent=True))
    return lambda data, step: run.log(data, step=step), run.finish


def tensorboard(folder):
    from torch.utils.tensorboard import SummaryWriter
    return _summary_writer(SummaryWriter(str(folder / "tb")))


def tensorboardX(folder):
    from tensorboardX import SummaryWriter
    return _summary_writer(SummaryWriter(str(folder / "tbx")))


def _summary_writer(writer):
    def log(data, step):
        for name, value in data.items():
            writer.add_scalar(name, value, step)
    return log, writer.close


def trackio(folder):
    os.environ["TRACKIO_DIR"] = str(folder / "trackio")
    import trackio
    trackio.init(project="bench")
    return lambda data, step: trackio.log(data, step=step), trackio.finish


def aim(folder):
    import aim
    run = aim.Run(repo=str(folder / "aim"), experiment="bench")

    def log(data, step):
        for name, value in data.items():
            run.track(value, name=name, step=step)
    return log, run.close


def mlflow(folder):
    import mlflow
    mlflow.set_tracking_uri((folder / "mlruns").as_uri())
    mlflow.start_run()
    return lambda data, step: mlflow.log_metrics(data, step=step), mlflow.end_run


def peers(folder, calls):
    """Return a row for each peer that is installed; the others are named."""
    table = []
    for peer in (wandb, tensorboard, tensorboardX, trackio, aim, mlflow):
        floor = at(timed(floor_writer(folder), 0, BLOCK), .5)
        try:
            log, end = peer(folder)
        except ImportError:
            table.append((peer.__name__, "not installed", ""))
            continue
        spent = timed(log, 0, calls)
        end()
        table.append((peer.__name__, f"{at(spent, .5):.1f} µs", f"{at(spent, .5) / floor:.1f} x floor"))
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000, help="of log(), default 1,000,000")
    parser.add_argument("--peers", action="store_true", help="measure other tools too, 2,000 calls each")
    parser.add_argument("--folder", help="where to write (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        table = ours(Path(folder), options.calls) + (peers(Path(folder), 2000) if options.peers else [])
    for name, figure, ratio in table:
        print(f"{name:36} {figure:>28}   {ratio}")


if __name__ == "__main__":
    main()
