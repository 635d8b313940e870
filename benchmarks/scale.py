"""How each thing grows: every row at three sizes, with the exponent between them. Seconds and memory beside
the floor of each row.

    python benchmarks/scale.py                                     # every row at its own sizes; an hour
    python benchmarks/scale.py --only manifest list                # some rows
    python benchmarks/scale.py --only manifest --sizes 3000,10000  # … at these sizes
    python benchmarks/scale.py --rows                              # what rows there are

A row is a function in scale_rows.py: `@row(sizes, unit)`, called as function(bench, size), yields Measured
values. What happens in a browser stands in scale_pages.py, a program of its own. An exponent is log(cost of
one size / cost of the size before) / log(size / size before): 1 is linear. Worse than 1.15 is a failure (exit
code 1); the cost is processor time where a Measured has one, which other work on the machine changes little,
else seconds. What took less than 0.1 s more than the size before has no exponent: its start is all that is
measured.
"""

import argparse
import importlib
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "tests" / "support")]

WORST, LEAST = 1.15, 0.1        # exponent; s more than the size before that are enough to tell it
ROWS = {}                       # name -> (function, sizes, unit)


class Measured(NamedTuple):
    """One figure of a row at one size. seconds: wall time, best of two; cpu: s of processor time, None where
    waiting is what counts; mb: peak of the memory; floor, floor_seconds: what the same files cost without us;
    limit, limit_mb: what is right at this size.

    Floor and limit are of processor time where `cpu` is.
    """

    what: str
    seconds: float
    cpu: float = None
    mb: float = None
    floor: str = ""
    floor_seconds: float = None
    limit: float = None
    limit_mb: float = None

    @property
    def cost(self):
        return self.seconds if self.cpu is None else self.cpu

    def over(self):
        """Return whether it is over what is right (bool)."""
        return (self.limit is not None and self.cost > self.limit
                or self.limit_mb is not None and self.mb > self.limit_mb)


class Cost(NamedTuple):
    """What a process cost: wall seconds, processor seconds, peak memory in MB."""

    seconds: float
    cpu: float
    mb: float


def row(sizes, unit):
    """Register function(bench, size) as a row, named by its name."""
    def register(function):
        ROWS[function.__name__] = function, sizes, unit
        return function
    return register


class Bench:
    """Folders to work in, and processes measured one by one."""

    def __init__(self, scratch):
        self.scratch = Path(scratch)
        self.scratch.mkdir(parents=True, exist_ok=True)

    def fresh(self, name):
        """Return a new empty folder."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def once(self, command, home=None, output=None):
        """Run a command (list of str, or text of Python) to its end; return its Cost. Raises RuntimeError
        where it fails."""
        words = [sys.executable, "-c", command] if isinstance(command, str) else list(map(str, command))
        environment = {**os.environ, "RUNICORN_HOME": str(home or self.scratch / "home"),
                       "PYTHONDONTWRITEBYTECODE": "",
                       "PYTHONPATH": os.pathsep.join(
                           map(str, (HERE.parent, HERE, HERE.parent / "tests" / "support")))}
        with open(output or os.devnull, "wb") as stdout, tempfile.TemporaryFile() as stderr:
            began = time.perf_counter()
            process = subprocess.Popen(words, stdout=stdout, stderr=stderr, env=environment)
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                stderr.seek(0)
                raise RuntimeError(
                    f"{words} ended with {process.returncode}: "
                    f"{stderr.read()[-2000:].decode(errors='replace')}")
        return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)

    def best(self, command, times=2, **how):
        """Return the best Cost of several runs of a command: the smallest of each figure."""
        return Cost(*map(min, zip(*(self.once(command, **how) for _ in range(times)))))

    @staticmethod
    def finding(root):
        """Return the `find` that prints size and time of each file: nothing tells what changed for less."""
        return ["find", root, "-printf", "%p %s %T@\n"]

    def find(self, root):
        """Return the Cost of that."""
        return self.best(self.finding(root))


def own_memory():
    """Return the peak memory of this process so far (MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- the table -----------------------------------------------------------------------------------------------

def exponent(before, after):
    """Return the exponent between two (size, cost), None where too little was added to tell it."""
    (size, cost), (larger, more) = before, after
    return math.log(more / cost) / math.log(larger / size) if more - cost >= LEAST and cost > 0 else None


def measure(bench, name, sizes):
    """Print the lines of one row; return how many of its exponents are too large."""
    function, own_sizes, unit = ROWS[name]
    worse, former = 0, {}
    for size in sizes or own_sizes:
        for figure in function(bench, size):
            grew = exponent(former[figure.what], (size, figure.cost)) if figure.what in former else None
            former[figure.what] = size, figure.cost
            worse += grew is not None and grew > WORST
            print(line(f"{name}: {figure.what}", f"{size:,} {unit}", figure, grew), flush=True)
    return worse


def line(what, size, figure, grew):
    cells = [f"{figure.seconds:.2f} s", "-" if figure.cpu is None else f"{figure.cpu:.2f} s",
             "-" if figure.mb is None else f"{figure.mb:.0f} MB",
             "-" if figure.floor_seconds is None else f"{figure.floor} {figure.floor_seconds:.2f} s",
             " ".join([*([f"{figure.limit:.2f} s"] if figure.limit is not None else []),
                       *([f"{figure.limit_mb:.0f} MB"] if figure.limit_mb is not None else [])]) or "-",
             "-" if grew is None else f"{grew:.2f}"]
    marks = ["over"] * figure.over() + ["WORSE THAN LINEAR"] * (grew is not None and grew > WORST)
    return " | ".join([f"{what:<44}", f"{size:>16}", *(f"{cell:>9}" for cell in cells), " ".join(marks)])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows")
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], metavar="N,N",
                        help="these sizes")
    parser.add_argument("--scratch", help="folder to work in; what is made there stays for the next time")
    parser.add_argument("--rows", action="store_true", help="say which rows there are")
    options = parser.parse_args()
    sys.modules["scale"] = sys.modules["__main__"]          # of which the modules with the rows import `row`
    importlib.import_module("scale_rows")
    if options.rows:
        return print("\n".join(
            f"{name:<12} {unit:<10} {', '.join(f'{size:,}' for size in sizes)}: "
            f"{function.__doc__.splitlines()[0]}"
            for name, (function, sizes, unit) in ROWS.items()))
    if unknown := set(options.only or ()) - ROWS.keys():
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    print("what | size | wall, best of two | processor | peak memory | floor | right | exponent")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.scratch or folder)
        worse = sum(measure(bench, name, options.sizes) for name in options.only or ROWS)
    print(f"{worse} of the exponents are over {WORST}")
    return int(worse > 0)


if __name__ == "__main__":
    sys.exit(main())
