"""`import runicorn` alone: what it loads, counted and not timed, and what `init` does where it can load no
more."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from scripts import environment, only, rows, runs, small, train

TREE = str(Path(__file__).parents[2])
EAGER = {"", ".disk", ".errors", ".layout", ".version", ".writer", ".writer.api", ".writer.current",
         ".writer.definitions", ".writer.mappings", ".writer.notice", ".writer.silent", ".writer.values"}
HEAVY = {"pathlib", "urllib.parse", "ipaddress", "fnmatch", "signal", "subprocess", "socket", "select",
         "selectors", "tempfile", "shutil", "hashlib", "datetime", "typing", "dataclasses", "inspect",
         "logging", "traceback", "tokenize", "contextlib", "asyncio", "argparse"}


def loaded(code):
    """Return the modules (set of str) that a bare Python has after `code`."""
    ask = (f"import sys; sys.path.insert(0, sys.argv[1]); {code}; import json; "
           "print(json.dumps(sorted(sys.modules)))")
    done = subprocess.run([sys.executable, "-S", "-I", "-c", ask, TREE], capture_output=True, text=True,
                          check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_import_loads_what_a_run_that_records_nothing_needs_and_no_more():
    names = loaded("import runicorn")
    assert {name[len("runicorn"):] for name in names if name.partition(".")[0] == "runicorn"} == EAGER
    assert names & HEAVY == set()
    assert len(names - loaded("pass")) < 45         # 22 of the standard library beside ours on Python 3.11


def test_init_loads_what_it_needs_to_begin_and_no_more(tmp_path):
    # its thread loads more later
    names = loaded("import runicorn, runicorn.writer.background as heart; heart.REST_SECONDS = 60; "
                   f"runicorn.init(project='p', name='n', storage={str(tmp_path)!r}, quiet=True)")
    # select, of C alone, by the thread that waits for signals
    assert names & HEAVY <= {"select"} and "runicorn.writer.run" in names
    # 5 on Python 3.11
    assert len({name for name in names - loaded("import runicorn") if not name.startswith("runicorn")}) < 10


def test_a_short_program_is_run_without_what_only_a_long_one_needs(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "requirements.txt").touch()
    # its thread loads more later
    code = ("import runicorn.writer.background as heart; heart.REST_SECONDS = 60; "
            "from runicorn.cli.main import main; main(['run', '--root', 'root', '--', 'true'])")
    command = [sys.executable, "-S", "-X", "importtime", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path, PYTHONPATH=TREE),
                          capture_output=True, text=True, timeout=60)
    names = {line.rpartition("|")[2].strip()
             for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert done.returncode == 0 and {"runicorn.cli.program", "runicorn.writer.program_run"} <= names
    later = {"runicorn.foreign", "runicorn.writer.system", "runicorn.wandb"}
    assert names & (HEAVY - {"select", "contextlib"} | later) == set()


def test_what_is_loaded_late_is_there_all_the_same():
    code = """
import pickle, runicorn, sys
from runicorn import settings
assert settings is sys.modules["runicorn.settings"] and "runicorn.wandb" not in sys.modules
assert {"Run", "Image", "runs", "open_run", "run", "config", "summary", "init", "log",
        "__version__"} <= set(dir(runicorn))
from runicorn import Run, init, log
assert runicorn.Run is Run and Run.__module__ == "runicorn.writer.run" and isinstance(Run, type)
assert all(pickle.loads(pickle.dumps(value)) is value
           for value in (runicorn, Run, init, log, runicorn.finish, runicorn.watch))
from runicorn import *
try:
    runicorn.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=TREE, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_init_without_a_descriptor_left_records_nothing_and_the_next_one_does(tmp_path):
    _, err = train(tmp_path, textwrap.dedent("""
        import os, resource
        import runicorn
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = [os.open(os.devnull, os.O_RDONLY)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, before[1]))
        for _ in range(2):
            run = runicorn.init(project="p", name="n", config={"lr": 0.1}, tags=["a"])
            run.log({"loss": 1.0})
            run.define_metric("loss", summary="min")
            run.config["more"] = {"x": 1}
            run.summary["best"] = 2
            assert (run.config.lr, run.config["more"], run.summary["best"], run.name) == (
                0.1, {"x": 1}, 2, "n")
            runicorn.finish()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        with runicorn.init(project="p", name="n") as run:
            run.log({"loss": 2.0})
        """))
    assert err.count("nothing is recorded") == 1 and "Too many open files" in err and "Traceback" not in err
    assert [row["data"] for row in rows(only(tmp_path))] == [{"loss": 2.0}]
    assert small(only(tmp_path), "status")["status"] == "finished"


def test_a_time_limit_that_strikes_while_init_loads_reaches_the_script(tmp_path):
    """TimeoutError is an OSError, and so is what a lack of descriptors raises."""
    train(tmp_path, textwrap.dedent("""
        import signal, sys
        import runicorn

        def strike(number, frame):
            raise TimeoutError("the script's own")

        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "runicorn.writer.run" and strike not in struck:
                    struck.append(strike)
                    signal.raise_signal(signal.SIGALRM)

        struck = []
        signal.signal(signal.SIGALRM, strike)
        sys.meta_path.insert(0, Finder())
        try:
            runicorn.init(project="p", name="n")
        except TimeoutError as error:
            assert str(error) == "the script's own"
        else:
            raise AssertionError
        runicorn.init(project="p", name="n").finish()
        """))
    assert small(only(tmp_path), "status")["status"] == "finished"


def test_many_threads_may_begin_the_first_run_at_once(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import threading
        import runicorn
        start = threading.Barrier(8)

        def work(number):
            start.wait()
            with runicorn.init(project="p", name="n", reinit="create_new", system=False) as run:
                run.log({"number": number})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """))
    assert sorted(rows(run)[0]["data"]["number"] for run in runs(tmp_path)) == list(range(8))
