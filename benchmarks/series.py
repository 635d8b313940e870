"""Reading: curves of a million steps, a thousand overlaid runs, a log of a gigabyte, exports. One table, each
figure beside its target.

    python benchmarks/series.py                          # needs 1.5 GB of scratch space, about two minutes
    python benchmarks/series.py --scratch /tmp/scratch   # keeps what it made there for the next time
    python benchmarks/series.py --log-mb 200             # a smaller log

Each part runs in a process of its own. Beside the wall time stands the processor's, which is what the wall
time is on a machine that does nothing else.
"""

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from runicorn.metrics.series import Series  # noqa: E402
from runicorn.reader.log import Log  # noqa: E402
from runicorn.transfer import export  # noqa: E402  (the tree beside us, not an installed copy)
from runicorn.transfer.rows import Rows  # noqa: E402

STEPS, RUNS, RUN_STEPS, BUCKETS = 1_000_000, 1000, 1000, 2000
SPIKES = {123: 9.0, 77_777: -9.5, 500_000: 12.0, 654_321: 7.0, 999_999: -3.0}


# -- what is read --------------------------------------------------------------------------------------------

def event(step, data):
    return json.dumps({"ts": round(1737653445.123 + step / 64, 3), "step": step, "data": data},
                      separators=(",", ":")) + "\n"


def metrics(step, rng):
    return {"train/loss": SPIKES.get(step, math.exp(-step / 3e5) + rng.random() / 10),
            "train/accuracy": 100 * rng.random(),
            "train/learning_rate": 0.0005 * (1 + math.cos(step / 3.2e5)), "epoch": step // 1563}


def make(scratch, log_mb):
    """Write the million steps, the thousand runs and the log, where they aren't there yet."""
    rng = random.Random(7)
    written(scratch / "million" / "events.jsonl", (event(step, metrics(step, rng)) for step in range(STEPS)))
    for run in range(RUNS):
        written(scratch / "many" / f"{run:04d}" / "events.jsonl",
                (event(step, metrics(step, rng)) for step in range(RUN_STEPS)))
    lines = [f"[2025-01-23 18:{k // 60 % 60:02d}:{k % 60:02d}+0800] Epoch {k // 1563} [{k % 1563}/1563] "
             f"Loss: {rng.random():.4f} "
             f"Acc: {100 * rng.random():.2f}%\n" for k in range(10_000)]
    block = "".join(lines)
    parts = (log_mb << 20) // len(block)
    written(scratch / f"log{log_mb}.txt",
            ["the needle is here\n" if part == parts // 12 else block for part in range(parts)])


def written(path, lines):
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with open(beside, "w", encoding="utf-8") as file:
        file.writelines(lines)
    os.replace(beside, path)


# -- the parts, each in its own process ----------------------------------------------------------------------

class Row(NamedTuple):
    """One line of the table: `value` in `unit`, seconds of wall and of processor time, and what is aimed
    at."""

    what: str
    value: float
    target: object = None
    unit: str = "s"
    cpu: object = None


def timed(what, call, target=None, share=1, gigabytes=None):
    """Return (Row, what `call` returned); share: parts the work is told in; gigabytes: tell GB/s instead of
    seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    wall, cpu = (time.perf_counter() - wall) / share, (time.process_time() - cpu) / share
    if gigabytes:
        return Row(what, gigabytes / wall, target, "GB/s", gigabytes / cpu if cpu else None), result
    return Row(what, wall, target, "s", cpu), result


def memory(field="VmRSS"):
    """Return megabytes of this process: VmRSS now, VmHWM at its peak."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))


def pictures(series):
    return [series.picture(name, buckets=BUCKETS) for name in series.metrics()]


def spikes_shown(answer):
    shown = set(zip(answer[0]["min_x"], answer[0]["min"])) | set(zip(answer[0]["max_x"], answer[0]["max"]))
    return len(shown & set(SPIKES.items()))


def opened(folder, cache=None):
    series = Series(folder, cache)
    series.refresh()
    return series


def overlaid(folders, cache):
    held = [opened(folder, cache) for folder in folders]
    return held, [series.picture("train/loss", buckets=300) for series in held]


def part_cold(scratch):
    shutil.rmtree(scratch / "columns", ignore_errors=True)
    series = Series(scratch / "million", scratch / "columns")
    yield timed("1,000,000 steps x 4, coarse", lambda: (series.refresh(0), pictures(series)), 0.1)[0]
    yield timed("1,000,000 steps x 4, exact, no cache", lambda: (series.refresh(), pictures(series)), 4)[0]
    yield timed("  floor: json.loads of its lines", lambda: floor(scratch / "million" / "events.jsonl"))[0]
    yield Row("  peak memory while parsing", memory("VmHWM"), 180, "MB")


def floor(path):
    with open(path, "rb") as file:
        for line in file:
            json.loads(line)


def part_cached(scratch):
    row, (series, answer) = timed(f"exact {BUCKETS}-bucket answer for all 4, column cache",
                                  lambda: with_pictures(
                                      opened(scratch / "million", scratch / "columns")), 0.15)
    yield row
    yield Row("  single-step spikes shown, of 5", spikes_shown(answer), 5, "of 5")
    yield Row("  memory after it, interpreter and all", memory(), 120, "MB")
    yield timed("  the same again, warm", lambda: pictures(series), 0.15)[0]
    for again in ("first time", "again"):
        yield timed(f"  one curve smoothed, {again}",
                    lambda: series.picture("train/loss", buckets=BUCKETS, smooth=0.9))[0]
    yield Row("  JSON of all 4 at 600 buckets",
              sum(len(json.dumps(series.picture(name))) for name in series.metrics()) / 1e6, 0.35, "MB")
    folder = scratch / "million"
    yield timed("CSV, wide, per 1,000,000 points", lambda: sum(map(len, export.csv(Rows(folder)))), 5,
                share=4)[0]
    yield timed("CSV, long, per 1,000,000 points", lambda: sum(map(len, export.csv(Rows(folder), long=True))),
                5, share=4)[0]
    yield timed("TensorBoard, per 1,000,000 points",
                lambda: sum(map(len, export.tensorboard(Rows(folder), {}))), 5, share=4)[0]
    yield Row("  peak memory of the exports", memory("VmHWM"), 120, "MB")


def with_pictures(series):
    return series, pictures(series)


def part_live(scratch):
    folder = scratch / "live"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(scratch / "million" / "events.jsonl", folder)
    series, rng = opened(folder), random.Random(1)
    pictures(series)

    def append_and_answer():
        for step in range(STEPS, STEPS + 20):
            with open(folder / "events.jsonl", "a") as file:
                file.write(event(step, metrics(step, rng)))
            series.refresh()
            series.picture("train/loss", lo=STEPS - 5000)
    yield timed("a live append read and answered", append_and_answer, 0.03, share=20)[0]
    shutil.rmtree(folder)


def part_many(scratch):
    folders, cache = sorted((scratch / "many").iterdir()), scratch / "columns-many"
    shutil.rmtree(cache, ignore_errors=True)
    yield timed(f"{RUNS} runs overlaid, cold, the first 20", lambda: overlaid(folders[:20], cache), 0.3)[0]
    row, (held, _) = timed("  all of them, cold", lambda: overlaid(folders, cache), 4)
    yield row
    yield timed("  warm", lambda: [series.refresh() or series.picture("train/loss", buckets=300)
                                   for series in held], 0.4)[0]
    yield timed("  by another process, column cache", lambda: overlaid(folders, cache))[0]
    yield Row("  columns in memory", sum(series.nbytes for series in held) / 1e6, None, "MB")


def part_log(path):
    before, size = memory(), os.path.getsize(path) / 1e9
    yield timed(f"log of {size * 1000:.0f} MB, last screen", lambda: Log(path).page(), 0.3)[0]
    yield timed("  first screen", lambda: Log(path).page(0), 0.3)[0]
    log = Log(path)
    yield timed("  first hit, within the first tenth",
                lambda: next(hit for hit in log.find("the needle") if "at" in hit), 0.3)[0]
    yield timed("  line of a time", lambda: log.at_time(1737626400 + 1800))[0]
    yield timed("  plain search, case ignored", lambda: list(log.find("no such text")), 1, gigabytes=size)[0]
    yield timed("  plain search, exact", lambda: list(log.find("no such text", ignore_case=False)), 1,
                gigabytes=size)[0]
    yield timed("  floor: bytes.find in 256 KiB blocks", lambda: plain_find(path), gigabytes=size)[0]
    expression = r"loss: 0\.99\d+ acc: 100"
    yield timed("  expression, case ignored", lambda: list(log.find(expression, regex=True)), 0.1,
                gigabytes=size)[0]
    yield Row("  memory added", memory("VmHWM") - before, 20, "MB")


def plain_find(path):
    with open(path, "rb", buffering=0) as file:
        return sum(block.find(b"no such text") >= 0 for block in iter(lambda: file.read(256 << 10), b""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--log-mb", type=int, default=1024)
    parser.add_argument("--part", choices=["cold", "cached", "live", "many", "log"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        place = options.scratch / f"log{options.log_mb}.txt" if options.part == "log" else options.scratch
        for row in globals()[f"part_{options.part}"](place):
            tell(row)
        return
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="runicorn-series-"))
    try:
        make(scratch, options.log_mb)
        print(f"{'':50} {'measured':>9} {'':4} {'cpu':>9} {'target':>9}")
        for part in ("cold", "cached", "live", "many", "log"):
            subprocess.run([sys.executable, __file__, "--scratch", scratch, "--log-mb", str(options.log_mb),
                            "--part", part], check=True)
    finally:
        if options.scratch is None:
            shutil.rmtree(scratch)


def tell(row):
    """Print one row. Rates and spikes are to be reached, everything else not to be exceeded."""
    more = row.unit in ("GB/s", "of 5")
    reached = row.target is None or (row.value >= row.target if more else row.value <= row.target)
    aim = "" if row.target is None else f"{'≥' if more else '≤'} {row.target:g}"
    cpu = "" if row.cpu is None else f"{row.cpu:.3g}"
    print(f"{row.what:50} {row.value:9.3g} {row.unit:4} {cpu:>9} {aim:>9} {'' if reached else 'missed'}",
          flush=True)


if __name__ == "__main__":
    main()
