"""A process that closes all descriptors: its files get no rows of ours, and our rows are not lost."""

import json
import os
import pickle
import textwrap

import pytest
from scripts import only, rows, shown, small, train

BEGIN = """
import ctypes, os, signal, sys, threading, time
import runicorn
run = runicorn.init(project='p', name='n', system=False)
libc = ctypes.CDLL(None)
def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if str(run.dir) in target:
            found[int(name)] = target
    return found
def next_file(count=4):
    return [os.open(f"mine{n}.bin", os.O_RDWR | os.O_CREAT) for n in range(count)]
run.log({"loss": 0.0}, step=0)
print("line 0")
run._facts_known.wait()
time.sleep(0.3)         # what our thread opens for a moment only, C code may still close
"""
END = """
run.log({"loss": 1.0}, step=1)
print("line 1")
for name in os.listdir("."):
    if name.startswith("mine"):
        assert open(name, "rb").read() in (b"", b"their own"), name
"""
WAYS = {
    "closerange": "os.closerange(3, 4096)\nfiles = next_file()",
    "closerange from the first":
    "before = min(descriptors())\nos.closerange(before, before + 1)\nfiles = next_file()",
    "close each": "for number in descriptors():\n    os.close(number)\nfiles = next_file()",
    "close all": """
for number in range(3, 256):
    try:
        os.close(number)
    except OSError:
        pass
files = next_file()""",
    "twice": "number = min(descriptors())\nos.close(fd=number)\nos.close(number)\nfiles = next_file()",
    "dup2": """
files = next_file(1)
os.write(files[0], b"their own")
for number in descriptors():
    assert os.dup2(files[0], number) == number and os.path.samestat(os.fstat(number), os.fstat(files[0]))
    assert os.get_inheritable(number)""",
    "dup2 in C": """
files = next_file(1)
for number in descriptors():
    libc.dup2(files[0], number)
time.sleep(0.11)""",
    "close in C":
    "for number in descriptors():\n    libc.close(number)\nfiles = next_file()\ntime.sleep(0.11)",
    "close in C and nothing there": "for number in descriptors():\n    libc.close(number)",
    "a file object":
    "import io\nfor number in descriptors():\n    io.FileIO(number).close()\nfiles = next_file()\n"
    "time.sleep(0.11)",
    "in a thread":
    "thread = threading.Thread(target=os.closerange, args=(3, 4096))\nthread.start()\nthread.join()\n"
    "files = next_file()",
}


@pytest.mark.few(3)
@pytest.mark.parametrize("way", WAYS)
def test_closing_all_descriptors_costs_nothing(tmp_path, way):
    _, err = train(tmp_path, BEGIN + WAYS[way] + END)
    run = only(tmp_path)
    assert [row["step"] for row in rows(run)] == [0, 1] and shown(run)[:2] == ["line 0", "line 1"]
    assert small(run, "status")["status"] == "finished" and "Traceback" not in err


def test_a_script_with_its_standard_streams_closed_prints_into_none_of_our_files(tmp_path):
    _, err = train(tmp_path, textwrap.dedent("""
        import os, sys
        os.close(0); os.close(1)
        import runicorn
        run = runicorn.init(project='p', name='n', system=False)
        run.log({"loss": 0.5}, step=0)
        os.open("/dev/null", os.O_RDWR)
        os.dup2(0, 1)
        os.write(1, b"not a row\\n")
        run.log({"loss": 0.5}, step=1)
        """), PYTHONUNBUFFERED="")
    assert [row["step"] for row in rows(only(tmp_path))] == [0, 1], err


def test_a_descriptor_that_a_thread_is_about_to_open_is_waited_for(tmp_path):
    """dup2 then says EBUSY (dup(2)), which no script of one thread expects."""
    train(tmp_path, BEGIN + textwrap.dedent("""
        import errno
        from runicorn.writer import descriptors as ours
        true, busy = ours._originals["dup2"], [1, 2, 3]
        def dup2(*arguments):
            if busy:
                busy.pop()
                raise OSError(errno.EBUSY, "Device or resource busy")
            return true(*arguments)
        ours._originals["dup2"] = dup2
        number = os.open("mine.bin", os.O_RDWR | os.O_CREAT)
        assert os.dup2(number, 77) == 77 and not busy
        try:
            os.dup2(300, 301)
        except OSError as error:
            assert error.errno == errno.EBADF
        """) + END)


@pytest.mark.long
def test_what_goes_astray_in_a_tight_loop_is_a_tenth_of_a_second_and_said(tmp_path):
    """C code closes our descriptor and the script's next file gets its number, while rows come without a
    pause."""
    out, err = train(tmp_path, BEGIN + textwrap.dedent("""
        steps, theft = 1, 0
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            run.log({"loss": 0.5}, step=steps)
            steps += 1
            if steps == 500:
                for number, target in descriptors().items():
                    if "events" in target:
                        libc.close(number)
                theft = time.monotonic()
                files = next_file(1)
        moments = ([json.loads(line)["ts"] for line in open("mine0.bin")] if (json := __import__("json"))
                   else [])
        print(len(moments), moments[-1] - moments[0] if moments else 0.0, steps)
        """))
    astray, seconds, steps = out.split("\n")[-2].split()
    kept = rows(only(tmp_path))
    gap, = (row["lines"] for row in kept if row.get("type") == "gap")
    written = [row["step"] for row in kept if "step" in row]
    assert gap == int(astray) and len(written) + gap == int(steps) and written == sorted(written)
    assert float(seconds) <= 0.2            # the look itself is due after 0.1 s; a busy machine is late
    assert "something closed the descriptor" in err and err.count("\n") == 1


def test_all_files_of_a_run_are_looked_after(tmp_path):
    """events, logs and system: each descriptor is taken by C code, each goes on in its own file."""
    train(tmp_path, textwrap.dedent("""
        import runicorn.writer.run
        runicorn.writer.run.FIRST_SAMPLE_SECONDS = runicorn.writer.run.SAMPLE_SECONDS = 0.15
        """) + BEGIN.replace("system=False", "system=True") + textwrap.dedent("""
        while len(descriptors()) < 3:
            time.sleep(0.02)
        time.sleep(0.2)
        for number in descriptors():
            libc.close(number)
        files = next_file()
        time.sleep(0.5)
        assert len(descriptors()) == 1, descriptors()
        """) + END)
    run = only(tmp_path)
    assert [row["step"] for row in rows(run)] == [0, 1] and shown(run) == ["line 0", "line 1"]
    assert len(rows(run, "system.jsonl")) >= 3


def test_a_folder_that_was_renamed_is_still_ours(tmp_path):
    _, err = train(tmp_path, BEGIN + textwrap.dedent("""
        while not run._check_at:        # the first look at the paths, then none for ten seconds
            time.sleep(0.01)
        os.rename(run.dir, str(run.dir) + "-elsewhere")
        time.sleep(0.11)
        run.log({"loss": 1.0}, step=1)
        os.rename(str(run.dir) + "-elsewhere", run.dir)
        time.sleep(0.11)
        run.log({"loss": 1.0}, step=2)
        """))
    assert [row["step"] for row in rows(only(tmp_path))] == [0, 1, 2] and err == ""


def test_os_is_left_as_it_was_found(tmp_path):
    out, _ = train(tmp_path, textwrap.dedent("""
        import os, pickle, time
        before = os.close, os.closerange, os.dup2
        import runicorn
        for turn in range(2):
            run = runicorn.init(project='p', name='n', system=False, capture=bool(turn))
            assert pickle.loads(pickle.dumps(os.close)) is os.close is not before[0]
            assert os.close.__module__ == "os" and os.close.__name__ == "close"
            run.finish()
            # the thread that hears of signals closes its end by itself
            end = time.monotonic() + 20
            while (os.close, os.closerange, os.dup2) != before and time.monotonic() < end:
                time.sleep(0.01)
            assert (os.close, os.closerange, os.dup2) == before
        run = runicorn.init(project='p', name='n', system=False)
        ours = os.close
        os.close = lambda fd: ours(fd)          # somebody wraps it, too
        run.finish()
        run = runicorn.init(project='p', name='n', system=False)
        os.close(os.dup(0))
        run.log({"loss": 1.0})
        run.finish()
        for odd in ("0", None, [], 1.5):
            try:
                ours(odd)
            except TypeError:
                print("TypeError")
        try:
            ours(4095)
        except OSError as error:
            print(error)
        """))
    assert out.split("\n")[:-1] == ["TypeError"] * 4 + ["[Errno 9] Bad file descriptor"]
    assert pickle.loads(pickle.dumps(os.close)) is os.close


def test_a_forked_child_may_close_what_it_inherited(tmp_path):
    """A daemon made by a fork must not keep the files of the training open."""
    train(tmp_path, BEGIN + textwrap.dedent("""
        child = os.fork()
        if not child:
            os.closerange(3, 4096)
            os._exit(len(descriptors()))
        assert os.waitpid(child, 0)[1] == 0 and len(descriptors()) == 2
        """) + END)
    assert [row["step"] for row in rows(only(tmp_path))] == [0, 1]


def test_without_descriptors_left_dup2_works_and_rows_go_on(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        import resource
        mine, = next_file(1)
        target = min(descriptors())
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), 4096))
        while True:
            try:
                os.dup(mine)
            except OSError:
                break
        os.dup2(mine, target)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        """) + END)
    assert [row["step"] for row in rows(only(tmp_path))] == [0, 1]


def test_a_removed_file_and_a_taken_descriptor_at_once(tmp_path):
    train(tmp_path, BEGIN.replace("system=False", "system=False, capture=False") + textwrap.dedent("""
        os.unlink(run.dir / "events.jsonl")
        for number in descriptors():
            libc.close(number)
        files = next_file()
        time.sleep(0.11)
        """) + END)
    assert [row["step"] for row in rows(only(tmp_path)) if "step" in row] == [1]
    assert json.loads((only(tmp_path) / "status.json").read_text())["status"] == "finished"


FD = BEGIN.replace("system=False", "system=False, capture='fd'") + "os.system('echo a child before')\n"


@pytest.mark.few(1)
@pytest.mark.parametrize("way", [
    "os.closerange(3, 4096)", "for number in range(3, 64):\n    libc.close(number)",
    "files = [os.open('mine0.bin', os.O_RDWR | os.O_CREAT)]\nfor number in range(4, 40):\n"
    "    number in files or os.dup2(files[0], number)"])
def test_closing_all_descriptors_leaves_captured_descriptors_their_terminal(tmp_path, way):
    """With capture="fd" the terminal itself is one of the descriptors that are kept."""
    out, err = train(tmp_path, FD + way + textwrap.dedent("""
        files = next_file(12)
        time.sleep(0.11)
        run.log({"loss": 1.0}, step=1)
        print("line 1")
        os.system("echo a child")
        run.finish()
        print("after the end")
        for name in os.listdir("."):
            if name.startswith("mine"):
                assert open(name, "rb").read() == b"", name
        """), PYTHONUNBUFFERED="1")
    assert out.splitlines() == ["line 0", "a child before", "line 1", "a child", "after the end"]
    assert "Traceback" not in err
    assert [row["step"] for row in rows(only(tmp_path))] == [0, 1]
    assert small(only(tmp_path), "status")["status"] == "finished"
    logged = [line for line in shown(only(tmp_path)) if not line.startswith("runicorn: ")]
    assert logged[:4] == ["line 0", "a child before", "line 1", "a child"]
