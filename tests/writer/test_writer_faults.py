"""Full disks, vanished folders, foreign modes: one clear line each, never an exception in the training,
nothing torn for readers."""

import json
import os
import stat
import subprocess
import textwrap

import pytest
from nobody import (
    as_nobody,
    needs_root,
    open_path,  # noqa: F401 (fixture)
)
from scripts import only, rows, runs, small, start, train

BEGIN = "import os, resource, shutil, signal, sys, time\nimport runicorn\n"
INIT = BEGIN + "run = runicorn.init(project='p', name='n')\n"


def lines(path):
    """Return (rows that parse, lines that do not) of an events file."""
    good, bad = [], []
    for line in path.read_bytes().split(b"\n"):
        try:
            good.append(json.loads(line)) if line else None
        except ValueError:
            bad.append(line)
    return good, bad


def test_a_full_disk_costs_only_the_rows_that_did_not_fit(tmp_path):
    """RLIMIT_FSIZE makes writes fall short and then fail, as a full disk does; lifting it is somebody making
    room."""
    _, err = train(tmp_path, INIT.replace("name='n'", "name='n', system=False") + textwrap.dedent("""
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limit[1]))
        for step in range(200):
            run.log({"loss": 1.0}, step=step)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        for step in range(200, 300):
            run.log({"loss": 0.5}, step=step)
        """))
    good, bad = lines(only(tmp_path) / "events.jsonl")
    steps = [row["step"] for row in good if "step" in row]
    gap, = (row for row in good if row.get("type") == "gap")
    assert steps == list(range(200 - gap["lines"])) + list(range(200, 300)) and gap["lines"] > 50
    assert len(bad) == 1 and good.index(gap) == 200 - gap["lines"]
    assert err.count("can't be written") == 1 and "training goes on" in err
    assert small(only(tmp_path), "status")["status"] == "finished"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a tmpfs")
def test_a_really_full_file_system(tmp_path):
    (tmp_path / "root").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path / "root")], check=True)
    try:
        _, err = train(tmp_path, INIT + textwrap.dedent("""
            ballast = run.dir / "checkpoint.pt"
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError:
                    pass
            for step in range(500):
                run.log({"loss": 1.0}, step=step)
                print("step", step)
                run.summary["step"] = step
            ballast.unlink()
            run.log({"loss": 0.5}, step=1000)
            print("room again")
            """))
        good, bad = lines(only(tmp_path) / "events.jsonl")
        assert good[-1]["step"] == 1000 and good[-2]["type"] == "gap" and len(bad) <= 1
        assert small(only(tmp_path), "status")["status"] == "finished"
        assert small(only(tmp_path), "summary")["step"] == 499
        assert "No space left" in err and "Traceback" not in err
        assert "room again" in (only(tmp_path) / "logs.txt").read_text()
    finally:
        subprocess.run(["umount", str(tmp_path / "root")], check=True)


QUICK_CHECK = "import runicorn.writer.run\nrunicorn.writer.run.CHECK_SECONDS = 0.2\n"


def test_a_removed_root_is_said_once_and_the_training_goes_on(tmp_path):
    _, err = train(tmp_path, QUICK_CHECK + INIT + textwrap.dedent("""
        run.log({"loss": 1.0})
        while os.path.exists(os.environ["RUNICORN_DIR"]):
            # a summary may be on its way to its place
            shutil.rmtree(os.environ["RUNICORN_DIR"], ignore_errors=True)
        while not run._events._lost:
            time.sleep(0.05)
        run._live.beat()
        for step in range(100):
            run.log({"loss": 1.0})
            run.summary["step"] = step
            run.tags = ["late"]
            print(step)
        """))
    assert "was removed; training goes on" in err and err.count("\n") == 1


def test_a_folder_that_comes_back_is_written_again(tmp_path):
    """As when a network mount goes and returns."""
    train(tmp_path, QUICK_CHECK + INIT + textwrap.dedent("""
        root = os.environ["RUNICORN_DIR"]
        run.log({"loss": 1.0}, step=0)
        os.rename(root, root + "-away")
        while not run._events._lost:
            time.sleep(0.05)
        run.log({"loss": 1.0}, step=1)
        os.rename(root + "-away", root)
        time.sleep(1.2)
        run.log({"loss": 1.0}, step=2)
        """))
    good, bad = lines(only(tmp_path) / "events.jsonl")
    assert [row.get("step", row.get("lines")) for row in good] == [0, 1, 2] and not bad

LOOP = "for step in range(10):\n    run.log({'loss': 1.0})\nrun.summary({'best': 1})\nprint('trained')\n"


@needs_root
@pytest.mark.parametrize("environ",
                         [{"RUNICORN_DIR": "/proc/no/such"},
                          {"RUNICORN_DIR": "", "HOME": "/", "RUNICORN_HOME": ""}])
def test_a_root_that_can_not_be_written_records_nothing_and_says_so(open_path, environ):
    err = as_nobody(open_path, INIT + LOOP, **environ)
    assert err.count("\n") == 1 and "nothing is recorded" in err and "RUNICORN_DIR" in err


def test_no_home_at_all(tmp_path):
    # as it does where nobody has a home
    code = "import os.path\nos.path.expanduser = lambda path: path\n"
    _, err = train(tmp_path, code + INIT + LOOP, RUNICORN_HOME="", RUNICORN_DIR="")
    assert "nothing is recorded" in err and "home" in err


@needs_root
def test_a_root_made_read_only_in_mid_run(open_path):
    (open_path / "root").mkdir()
    os.chown(open_path / "root", 65534, 65534)
    err = as_nobody(open_path, INIT + "os.chmod(run.dir, 0o555)\ntime.sleep(0.2)\n" + LOOP)
    assert "can't be written" in err and "Traceback" not in err
    assert len(rows(only(open_path))) == 10         # what is open stays writable


@pytest.mark.few(1)
@needs_root
@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_two_users_share_a_root(open_path, umask):
    """Folders copy the root's mode and group whatever the umask; files follow the umask."""
    root = open_path / "root"
    root.mkdir()
    os.chown(root, 0, 1234)
    os.chmod(root, 0o3777)
    code = f"import os\nos.umask({umask})\n" + INIT + LOOP
    train(open_path, code)
    assert as_nobody(open_path, code) == ""
    assert len(runs(open_path)) == 2
    for run in runs(open_path):
        for folder in (run, run.parent, run.parent.parent, root / ".runicorn" / "live"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o3777 and folder.stat().st_gid == 1234
        assert stat.S_IMODE((run / "events.jsonl").stat().st_mode) == 0o666 & ~umask
    assert {run.stat().st_uid for run in runs(open_path)} == {0, 65534}


@needs_root
def test_without_the_live_folder_the_run_beats_in_its_own(open_path):
    live = open_path / "root" / ".runicorn" / "live"
    live.mkdir(parents=True)
    os.chmod(open_path / "root", 0o777)
    as_nobody(open_path, INIT + LOOP + "os.kill(os.getpid(), 9)", -9)
    assert (json.loads((only(open_path) / ".beat").read_text())["path"]
            == only(open_path).relative_to(open_path / "root").as_posix())


def test_a_clock_that_jumps_back_loses_nothing(tmp_path):
    train(tmp_path, INIT + textwrap.dedent("""
        real = time.time
        run.log({"a": 1})
        time.time = lambda: real() - 86400
        run.log({"a": 2})
        print("yesterday")
        time.sleep(0.6)
        """))
    assert [row["step"] for row in rows(only(tmp_path))] == [0, 1]
    assert small(only(tmp_path), "status")["status"] == "finished"


def test_a_training_is_not_slowed_by_a_stopped_helper_thread(tmp_path):
    """Whatever a chore of the daemon thread raises costs that chore, not the run."""
    _, err = train(tmp_path, INIT + textwrap.dedent("""
        run._sampler = None
        called = []
        def broken(now):
            called.append(now)
            raise ValueError("chore")
        run._heart._chores.append([0.0, broken])
        while not called:
            time.sleep(0.05)
        run.log({"a": 1})
        """))
    assert "ValueError: chore; training goes on" in err and len(rows(only(tmp_path))) == 1


def test_the_writer_keeps_two_threads_at_most_and_no_process(tmp_path):
    out, _ = train(tmp_path, INIT + textwrap.dedent("""
        import threading
        time.sleep(0.7)
        print(threading.active_count() - 1, [name for name in os.listdir("/proc/self/task")].__len__() - 1)
        print(open(f"/proc/self/task/{os.getpid()}/children").read().split())
        """))
    threads, tasks = map(int, out.splitlines()[0].split())
    assert threads <= 2 and tasks <= 2 and out.splitlines()[1] == "[]"


def test_nothing_of_the_terminal_is_lost_when_the_log_is(tmp_path):
    process = start(tmp_path,
                    INIT + "shutil.rmtree(run.dir)\nfor number in range(1000):\n    print(number)\n"
                           "time.sleep(0.1)")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and out.splitlines() == [str(number) for number in range(1000)]


ODD_FILES = """
def fifo(path):
    os.mkfifo(path)
def folder(path):
    os.mkdir(path)
def unix_socket(path):
    here = os.getcwd()
    os.chdir(os.path.dirname(path))         # the names of sockets are short
    socket.socket(socket.AF_UNIX).bind(os.path.basename(path))
    os.chdir(here)
def endless(path):
    os.symlink("/dev/zero", path)
def terminal(path):
    os.symlink("/dev/tty", path)
def link_to_itself(path):
    os.symlink(os.path.basename(path), path)
def link_to_a_fifo(path):
    os.mkfifo(str(path) + "-fifo")
    os.symlink(str(path) + "-fifo", path)
def link_to_nothing(path):
    os.symlink("nowhere", path)
"""


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", [
    "fifo", "folder", "unix_socket", "endless", "terminal", "link_to_itself", "link_to_a_fifo",
    "link_to_nothing"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, kind):
    """In the place of any file that `init` reads or appends to. (Before, a FIFO hung a resuming init for
    ever.)"""
    out, err = train(tmp_path, "import os, socket, sys\nimport runicorn\n" + ODD_FILES + textwrap.dedent(f"""
        root, home = os.environ["RUNICORN_DIR"], os.environ["RUNICORN_HOME"]
        os.makedirs(home, exist_ok=True)
        {kind}(home + "/config.json")
        del os.environ["RUNICORN_DIR"]
        runicorn.init(project="p", mode="disabled")
        run = runicorn.init(project="p", storage=root, id="old")
        run.log({{"loss": 1.0}}, step=7)
        run.finish()
        {kind}(os.path.join(root, ".runicorn", "live", "odd.json"))
        {kind}(os.path.join(root, ".runicorn", "live", "old.json"))
        for name in ("nothing", "meta.json", "status.json", "summary.json", "events.jsonl", "events.jsonl",
                     "logs.txt", ".beat"):
            path = os.path.join(run.dir, name)
            kept = open(path, "rb").read() if os.path.isfile(path) else None
            if os.path.lexists(path):
                os.unlink(path)
            {kind}(path)
            again = runicorn.init(project="p", storage=root, id="old", resume="allow", system=False)
            again.log({{"loss": 1.0}})
            again.finish()
            print(name, type(again).__name__, again.step)
            if not os.path.isdir(path) or os.path.islink(path):
                os.unlink(path)
            else:
                os.rmdir(path)
            if os.path.lexists(path + "-fifo"):
                os.unlink(path + "-fifo")
            if kept is not None:
                open(path, "wb").write(kept)
        fresh = runicorn.init(project="p", storage=root, name="fresh", system=False)
        fresh.log({{"loss": 1.0}})
        print("fresh", type(fresh).__name__, fresh.step)
        """))
    lines = [line.split() for line in out.splitlines()]
    assert len(lines) == 9 and lines[0][1:] == ["Run", "8"] and lines[-1] == ["fresh", "Run", "0"]
    assert "Traceback" not in err
    # no file can be put over a folder
    assert kind == "folder" or {recorded for _, recorded, _ in lines} == {"Run"}
