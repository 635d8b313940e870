"""Many runs are looked at by several processes: the answers are those of one, whatever happens to others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import write_run

from runicorn import manifest

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="there one process looks at all")
AROUND = {**os.environ, "PYTHONPATH": str(Path(manifest.__file__).parent.parent)}
ALONE = """
import os, signal, sys
from runicorn import manifest, shares
os.sched_getaffinity = lambda process: {0, 1, 2}
shares.MANY, shares.SHARE = 8, 4
tasks = [(str(number), number) for number in range(50)]
me = os.getpid()
def act(text, number, skipped):
    skipped["even" if number % 2 == 0 else "odd"] += 1
    return [text, number * number, os.getpid() != me] if number != 7 else None
def nobody_left():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
def right(answers, skipped):
    told = [answer and answer[:2] for answer in answers]
    assert told == [None if n == 7 else [str(n), n * n] for n in range(50)]
    assert skipped == {"even": 25, "odd": 25} and nobody_left()
    return sum(answer[2] for answer in answers if answer)
"""


def alone(text, *arguments):
    """Run Python in a process of its own, of one thread. Raises CalledProcessError where it fails."""
    subprocess.run([sys.executable, "-c", ALONE + text, *arguments], check=True, env=AROUND, text=True)


def test_answers_and_counts_are_those_of_one_process_whatever_becomes_of_the_others():
    alone("""
from collections import Counter
skipped = Counter()
assert right(list(shares.shared_out(tasks, act, skipped)), skipped) == 49, "all by others"

killed, skipped = [], Counter()
def dies(text, number, skipped):
    if os.getpid() != me and number == 21:
        os.kill(os.getpid(), signal.SIGKILL)
    return act(text, number, skipped)
assert 20 < right(list(shares.shared_out(tasks, dies, skipped)), skipped) < 49, "the rest by this one"

def fails(text, number, skipped):
    if os.getpid() != me and number == 21:
        raise ValueError(object())
    return act(text, number, skipped)
skipped = Counter()
assert 20 < right(list(shares.shared_out(tasks, fails, skipped)), skipped) < 49

fork, skipped = os.fork, Counter()
def refused(made=[]):
    made.append(1)
    if len(made) > 1:
        raise BlockingIOError(11, "no more processes")
    return fork()
os.fork, descriptors = refused, os.listdir("/proc/self/fd")
assert 10 < right(list(shares.shared_out(tasks, act, skipped)), skipped) < 25, "one of three was made"
assert os.listdir("/proc/self/fd") == descriptors

os.fork = fork
half = shares.shared_out(tasks, act, Counter())
next(half)
half.close()
assert nobody_left() and os.listdir("/proc/self/fd") == descriptors
os.sched_getaffinity = lambda process: {0}
skipped = Counter()
assert right(list(shares.shared_out(tasks, act, skipped)), skipped) == 0
""")


def test_a_manifest_by_several_processes_is_the_one_that_one_makes(tmp_path):
    for number in range(40):
        write_run(tmp_path, f"p{number % 3}", "n", f"20250123_180000_{number:06x}", rows=1)
    os.symlink("/etc/passwd", tmp_path / "p0" / "n" / "runs" / "20250123_180000_000000" / "weights.pt")
    (tmp_path / "p1/n/runs/20250123_180000_000001/summary.json").write_text("no JSON")
    (tmp_path / "p2/n/runs/20250123_180000_000002/.beat").touch()
    alone("""
built = manifest.build(sys.argv[1], share=shares.shared_out)
again = manifest.build(sys.argv[1], built, share=shares.shared_out)
assert again.header["digest"] == built.header["digest"] and again.lines == built.lines
os.utime(sys.argv[1] + "/p2/n/runs/20250123_180000_000002/.beat", (5000, 5000))
again = manifest.build(sys.argv[1], built, share=shares.shared_out)
manifest.save(again, sys.argv[1] + "/full.json")
""", str(tmp_path))
    several = manifest.load(tmp_path / "full.json")
    one = manifest.build(str(tmp_path))
    assert several.lines == one.lines and several.header["digest"] == one.header["digest"]
    assert len(several) == 40
    assert several.entry("p2/n/runs/20250123_180000_000002")["beat"] == 5000


def test_what_was_killed_leaves_nobody_behind(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ALONE + """
import time
def slow(text, number, skipped):
    time.sleep(0.02)
    return act(text, number, skipped)
answers = shares.shared_out(tasks * 20, slow, {})
next(answers)
print("begun", flush=True)
list(answers)
"""], stdout=subprocess.PIPE, env=AROUND)
    assert process.stdout.readline() == b"begun\n"
    process.kill()
    assert process.stdout.read() == b"", "the end of the output, which the others held open, too"
    process.wait()
    process.stdout.close()
