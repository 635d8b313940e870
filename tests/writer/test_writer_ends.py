"""How runs end, each in a process of its own that really ends that way."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import tally
from endings import stub
from scripts import environment, only, rows, runs, shown, small, start, train

BEGIN = "import os, signal, sys, threading, time\nimport runicorn\n"
BEGIN += "run = runicorn.init(project='p', name='n', config={'lr': 0.1})\nrun.log({'loss': 1.0})\n"
LIVE = "root/.runicorn/live"


def status(folder):
    return small(only(folder), "status")


def is_over(folder):
    return not list((folder / LIVE).glob("*.json"))


@pytest.mark.few(6)
@pytest.mark.parametrize("code, expect, state, exit_code", [
    ("run.finish()", 0, "finished", 0),
    ("run.finish(exit_code=3)", 0, "failed", 3),
    ("", 0, "finished", 0),
    ("sys.exit(0)", 0, "finished", 0),
    ("sys.exit(3)", 3, "failed", 3),
    ("sys.exit('out of memory')", 1, "failed", 1),
    ("try:\n    sys.exit(2)\nexcept SystemExit:\n    run.log({'loss': 0.5})", 0, "finished", 0),
    ("try:\n    sys.exit(2)\nexcept SystemExit:\n    pass\nrun.finish()", 0, "finished", 0),
    ("try:\n    sys.exit(2)\nfinally:\n    run.finish()", 2, "failed", 2),
    ("1 / 0", 1, "failed", 1),
    ("try:\n    1 / 0\nfinally:\n    run.finish()", 1, "failed", 1),
    ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    run.finish()", 0, "finished", 0),
    ("with run:\n    raise SystemExit(5)", 5, "failed", 5),
    ("raise KeyboardInterrupt", -signal.SIGINT, "interrupted", None),
    ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", -signal.SIGINT, "interrupted", None),
    ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)", -signal.SIGTERM, "interrupted", None),
    ("os.kill(os.getpid(), signal.SIGHUP); time.sleep(5)", -signal.SIGHUP, "interrupted", None),
], ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "")
def test_the_way_a_run_ends(tmp_path, code, expect, state, exit_code):
    train(tmp_path, BEGIN + code, expect)
    found = status(tmp_path)
    assert (found["status"], found["exit_code"]) == (state, exit_code)
    assert found["ended_at"] >= found["started_at"] and is_over(tmp_path)
    if "1 / 0" in code and state == "failed":
        assert found["error"] == "ZeroDivisionError: division by zero" and "1 / 0" in found["traceback"]
    if state == "interrupted":
        assert found["signal"] == signal.Signals(-expect).name


@pytest.mark.few(1)
@pytest.mark.parametrize("code, first, last", [
    ("raise RuntimeError('Error(s) in loading state_dict for Net:\\n' + '\\n'.join(f'\\t{n}.weight differs' "
     "for n in range(300)))",
     "RuntimeError: Error(s) in loading state_dict for Net:\n\t0.weight differs", "\t299.weight differs"),
    ("raise ValueError('x' * 10_000_000)", "ValueError: xxx", "xxx"),
    ("try:\n    raise ValueError('y' * 10_000_000)\nexcept ValueError:\n    raise RuntimeError('after')",
     "RuntimeError: after", "after"),
    ("exec('a b c')", "SyntaxError: invalid syntax", "invalid syntax"),
    ("assert 0, ['row'] * 100_000", "AssertionError: ['row', 'row'", "'row']"),
], ids=["a checkpoint that doesn't fit", "one line", "one before it", "a place first", "a list"])
def test_a_long_error_is_told_by_its_beginning_and_end_behind_where_it_was_raised(
        tmp_path, code, first, last):
    train(tmp_path, BEGIN + code, 1)
    found = status(tmp_path)
    assert found["error"].startswith(first) and found["error"].endswith(last) and len(found["error"]) < 2100
    assert 'train.py", line' in found["traceback"] and found["traceback"].endswith(found["error"])
    assert len(found["traceback"]) < 30_000


def test_a_subclass_of_keyboardinterrupt_is_an_error_to_python(tmp_path):
    train(tmp_path, BEGIN + "class Enough(KeyboardInterrupt):\n    pass\nraise Enough", 1)
    assert (status(tmp_path)["status"], status(tmp_path)["exit_code"], status(tmp_path)["signal"]) == (
        "interrupted", 1, "SIGINT")


def test_the_traceback_still_reaches_the_terminal(tmp_path):
    _, err = train(tmp_path, BEGIN + "raise ValueError('the data is gone')", 1)
    assert err.count("ValueError: the data is gone") == 1
    assert "ValueError: the data is gone" in shown(only(tmp_path))


def test_an_exception_in_another_thread_is_noted_and_the_run_goes_on(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        def work():
            raise ValueError("x")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        run.log({"a": 1})
        """))
    assert status(tmp_path)["status"] == "finished" and "ValueError: x" in status(tmp_path)["thread_error"]
    assert len(rows(only(tmp_path))) == 2


@pytest.mark.few("…SIGKILL…")
@pytest.mark.parametrize("code", ["os._exit(7)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()"])
def test_a_death_that_nobody_can_see_leaves_a_stopped_heart(tmp_path, code):
    process = start(tmp_path, BEGIN + "print('last words')\n" + code)
    process.communicate(timeout=60)
    assert status(tmp_path)["status"] == "running" and not is_over(tmp_path)
    assert len(rows(only(tmp_path))) == 1 and shown(only(tmp_path)) == ["last words"]


def test_a_script_that_catches_sigterm_and_goes_on_stays_running(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        saved = []
        signal.signal(signal.SIGTERM, lambda number, frame: saved.append(number))
        os.kill(os.getpid(), signal.SIGTERM)
        print(saved, open(run.dir / "status.json").read().count("running"))
        run.log({"loss": 0.5})
        run.finish(exit_code=0)
        """))
    assert out.strip() == "[15] 1"
    assert status(tmp_path)["status"] == "finished" and len(rows(only(tmp_path))) == 2


def test_a_handler_set_before_init_is_called_and_decides(tmp_path):
    code = """
        import os, signal, sys
        import runicorn
        def save(number, frame):
            print("saved", number)
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        run = runicorn.init(project="p", name="n")
        os.kill(os.getpid(), signal.SIGTERM)
        """
    out, _ = train(tmp_path, textwrap.dedent(code))
    assert out == "saved 15\n"
    assert (status(tmp_path)["status"], status(tmp_path)["signal"]) == ("interrupted", "SIGTERM")


def test_a_handler_that_chains_to_ours_decides_too(tmp_path):
    """Frameworks call the handler they find; what was the default before us must not kill them then."""
    train(tmp_path, BEGIN + textwrap.dedent("""
        before = signal.getsignal(signal.SIGTERM)
        def mine(number, frame):
            if callable(before):
                before(number, frame)
        signal.signal(signal.SIGTERM, mine)
        os.kill(os.getpid(), signal.SIGTERM)
        run.log({"loss": 0.5})
        """))
    assert status(tmp_path)["status"] == "interrupted" and len(rows(only(tmp_path))) == 2


def test_an_ignored_signal_stays_ignored(tmp_path):
    code = BEGIN + "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    (tmp_path / "train.py").write_text(code)
    out = subprocess.run(["nohup", sys.executable, "train.py"], cwd=tmp_path, env=environment(tmp_path),
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                         check=True).stdout
    assert out == "True\n"


CLOSED = """
import os, signal, threading, runicorn
from runicorn.writer import processes
asked = []
processes.at_close = asked.append
run = runicorn.init(project="p", name="n")
closing = threading.Thread(target=asked[-1], args=(signal.SIGHUP,))
{end}
"""


@pytest.mark.parametrize("end, state, code", [
    ("closing.start(); closing.join(); os._exit(9)", "interrupted", 9),
    ("run.finish(); assert asked[-1] is None", "finished", 0)])
def test_a_console_that_is_closed_ends_the_run_before_the_process(tmp_path, end, state, code):
    """Windows ends a process as soon as what it calls returns, whatever the main thread does: the verdict is
    written by then."""
    train(tmp_path, CLOSED.replace("{end}", end), expect=code)
    assert small(only(tmp_path), "status")["status"] == state


def test_after_finish_the_process_is_as_it_was(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        run.finish()
        print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
              signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        print("write" in sys.stdout.__dict__, "write" in sys.stdout.buffer.__dict__, threading.active_count())
        """))
    assert out == "True True\nFalse False 1\n"


def test_init_in_a_thread_records_and_leaves_signals_alone(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import signal, threading
        import runicorn
        def work():
            run = runicorn.init(project="p", name="n")
            run.log({"a": 1})
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        """))
    assert status(tmp_path)["status"] == "finished"


def test_ctrl_c_is_python_s_own_and_its_traceback_ends_in_the_script(tmp_path):
    _, err = train(tmp_path, BEGIN + "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
                   "def step():\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\nstep()",
                   -signal.SIGINT)
    frames = [line for line in err.splitlines() if line.startswith("  File ")]
    assert len(frames) == 2 and frames[-1].endswith("in step"), err


def test_a_handler_of_the_script_s_is_left_where_it_is(tmp_path):
    train(tmp_path,
          "import signal\ndef mine(number, frame): raise TimeoutError\nsignal.signal(signal.SIGTERM, mine)\n"
          + BEGIN
          + "assert signal.getsignal(signal.SIGTERM) is mine")
    assert status(tmp_path)["status"] == "finished"


@pytest.mark.long
def test_sweeps_whose_errors_are_caught_outside_end_as_they_did(tmp_path):
    """An error's id is soon another's: only a run that ended while this very error was on its way has failed
    by it."""
    train(tmp_path, textwrap.dedent("""
        import runicorn
        class Diverged(Exception):
            pass
        def trial(number):
            run = runicorn.init(project="p", name=f"n{number}", system=False, capture=False)
            try:
                run.log({"a": number})
                raise Diverged(number)
            finally:
                run.finish()
        for number in range(10):
            try:
                trial(number)
            except Diverged:
                pass
        raise Diverged("of nobody")
        """), 1)
    assert [small(run, "status")["status"] for run in runs(tmp_path)] == ["finished"] * 10


def test_an_error_that_ended_a_run_can_be_pickled_and_keeps_nothing_alive(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        import copy, gc, pickle, weakref
        class Big: pass
        def work():
            big = Big()
            seen.append(weakref.ref(big))
            try:
                raise ValueError("x")
            finally:
                run.finish()
        seen = []
        try:
            work()
        except ValueError as error:
            print(pickle.loads(pickle.dumps(error)), copy.copy(error))
        gc.collect()
        print(seen[0]())
        """))
    assert out == "x x\nNone\n"


def test_system_exit_stays_what_it_was(tmp_path):
    """What stands before its attribute `code` keeps nothing alive, and copies, pickles, subclasses and
    deletion see nothing of it."""
    train(tmp_path, BEGIN + textwrap.dedent("""
        import copy, gc, pickle, types
        class Leave(SystemExit):
            pass
        class Own(SystemExit):
            code = 8
        class Derived(SystemExit):
            @property
            def code(self):
                return self.args[0] + 1
        error = SystemExit(5)
        assert [copy.copy(error).code, pickle.loads(pickle.dumps(error)).code, copy.copy(Leave(6)).code] == [
            5, 5, 6]
        class Mixin:
            code = 3
        class Mixed(Mixin, SystemExit):
            def __init_subclass__(kind, more, **given):
                super().__init_subclass__(**given)
                kind.more = more
        class Deep(Mixed, more=5):
            pass
        assert [pickle.loads(pickle.dumps(error)).code
                for error in (Leave(6), Own(1), Derived(1), Mixed(1))] == [6, 8, 2, 3]
        assert (Own.code, Mixed.code, Deep.code, Deep.more, type(Derived.code)) == (8, 3, 3, 5, property)
        own = Own(1)
        own.code = 9
        assert own.code == 9 and vars(own) == {"code": 9} and Own.code == 8
        del own.code
        assert own.code == 8 and vars(own) == {}
        for wrong in (lambda: delattr(own, "code"), lambda: setattr(Derived(1), "code", 1),
                      lambda: type("X", (Own,), {}, more=1)):
            try:
                wrong()
                sys.exit("no error")
            except (AttributeError, TypeError):
                pass
        assert "code" not in vars(error) and "code" in dir(SystemExit)
        error.code = 7
        assert error.code == 7
        del error.code
        assert error.code is None and SystemExit.code.__get__(SystemExit(4)) == 4
        value = object()
        before = sys.getrefcount(value)
        gc.collect()
        kinds = (SystemExit, types.TracebackType, types.FrameType)
        def alive(): return sum(isinstance(item, kinds) for item in gc.get_objects())
        objects = alive()
        for _ in range(10000):
            try:
                sys.exit(value)
            except SystemExit as error:
                error.code = error.code
        gc.collect()
        assert sys.getrefcount(value) == before and alive() < objects + 100
        sys.exit(9)
        """), 9)
    assert status(tmp_path)["exit_code"] == 9


def test_system_exit_is_as_it_was_once_the_last_run_ended(tmp_path):
    before = """
        member = SystemExit.__dict__['code']
        class Four:
            code = 4
        class Own(SystemExit):
            code = 8
        class Mixed(Four, SystemExit):
            pass
        """
    out, _ = train(tmp_path, textwrap.dedent(before) + BEGIN + textwrap.dedent("""
        class Late(SystemExit):
            code = 5
        assert vars(Own)["code"] != 8 and vars(Late)["code"] != 5 and "code" in vars(Mixed)
        def same():
            is_whole = vars(Own)["code"] == 8 and vars(Late)["code"] == 5 and "code" not in vars(Mixed)
            assert is_whole == ("__init_subclass__" not in SystemExit.__dict__) == (
                SystemExit.__dict__['code'] is member)
            print(is_whole)
        same()
        other = runicorn.init(project="p", reinit='create_new')
        run.finish()
        same()
        other.finish()
        same()
        assert SystemExit(3).code == 3
        run = runicorn.init(project="p", reinit='create_new')
        try:
            sys.exit(3)
        except SystemExit as error:
            run.finish()                # this error may still end the process
        same()
        run = runicorn.init(project="p", reinit='create_new')
        run.finish()
        same()
        """), 0)
    assert out.split() == ["False", "False", "True", "False", "True"]


def test_a_script_that_loads_the_package_twice_tells_both_of_its_end(tmp_path):
    out, _ = train(tmp_path, "member = SystemExit.__dict__['code']\n" + BEGIN + textwrap.dedent("""
        import importlib
        exit = sys.exit
        importlib.reload(sys.modules["runicorn.writer.leaving"])
        other = runicorn.init(project="p", reinit='create_new')
        other.finish()
        for name in [name for name in sys.modules if name.partition(".")[0] == "runicorn"]:
            del sys.modules[name]
        import runicorn
        again = runicorn.init(project="p", reinit='create_new')
        assert SystemExit.__dict__["code"].member is member and sys.exit is exit
        class Late:
            def __del__(self):
                print(SystemExit(5).code, SystemExit.__dict__["code"] is member, flush=True)
        late = Late()
        raise SystemExit(4)
        """), 4)
    assert out == "5 True\n"
    told = [small(folder, "status") for folder in runs(tmp_path)]
    assert sorted((one["status"], one["exit_code"]) for one in told) == [
        ("failed", 4), ("failed", 4), ("finished", 0)]


def test_an_exit_of_somebody_elses_is_called_as_ever(tmp_path):
    own = ("import sys\nbefore = sys.exit\ndef leave(status=None):\n    print('leaves', status)\n"
           "    before(status)\nsys.exit = leave\n")
    out, _ = train(tmp_path, own + BEGIN + "sys.exit(7)\n", 7)
    assert out == "leaves 7\n" and status(tmp_path)["exit_code"] == 7


def test_subinterpreters_leave_system_exit_whole(tmp_path):
    """Before Python 3.12 they share the type, whose entry must not outlive the modules of one that is
    gone."""
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        subinterpreters = __import__("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
        inner = subinterpreters.create()
        subinterpreters.run_string(inner,
                                   "import runicorn; runicorn.init(project='p', name='inner', capture=False)")
        subinterpreters.destroy(inner)
        import gc
        gc.collect()
        print(SystemExit(5).code, len(SystemExit.__dict__["code"].exits))
        sys.exit(6)
        """), 6)
    assert out == "5 1\n"
    assert [small(folder, "status")["exit_code"]
            for folder in runs(tmp_path) if small(folder, "meta")["name"] == "n"] == [6]


@pytest.mark.few(1)
@pytest.mark.parametrize("reader", ["head -1", "head -c 1", "true"])
@pytest.mark.parametrize("code, state", [
    ("print('a')", "finished"), ("print('a')\nsys.exit(3)", "failed"),
    ("print('a', flush=True)\ntime.sleep(0.7)\nfor i in range(9): print('a' * 20000, flush=True)", "failed"),
    ("1 / 0", "failed"), ("sys.stdout.write('no newline')", "finished")])
def test_a_closed_pipe_changes_no_exit_code_and_the_run_ends(tmp_path, reader, code, state):
    found = []
    for name, path in (("without", stub(tmp_path)), ("with", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text(BEGIN + "time.sleep(0.3)\n" + code)
        env = environment(tmp_path / name) if path is None else environment(tmp_path / name, PYTHONPATH=path)
        done = subprocess.run(["bash", "-c",
                               f"{sys.executable} train.py | {reader}; echo ${{PIPESTATUS[0]}}"],
                              cwd=tmp_path / name, env=env, capture_output=True, text=True, timeout=60)
        found.append(done.stdout.splitlines()[-1])
    assert found[0] == found[1], done.stderr
    assert status(tmp_path / "with")["status"] == state


@pytest.mark.few(1)
@pytest.mark.parametrize("code, expect, state",
                         [("", 0, "finished"), ("sys.exit(3)", 3, "failed"), ("1 / 0", 1, "failed")])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a tmpfs")
def test_a_disk_that_is_full_at_the_end_keeps_no_verdict_out(tmp_path, code, expect, state):
    (tmp_path / "root").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path / "root")], check=True)
    try:
        train(tmp_path, BEGIN + textwrap.dedent("""
            time.sleep(0.5)
            filler = os.open("root/filler", os.O_WRONLY | os.O_CREAT)
            try:
                while os.write(filler, bytes(100)):
                    pass
            except OSError:
                pass
            """) + code, expect)
        assert status(tmp_path)["status"] == state
    finally:
        subprocess.run(["umount", str(tmp_path / "root")], check=True)


@pytest.mark.parametrize("end, code", [("sys.exit(3)", 3), ("run.finish(exit_code=3)", -signal.SIGTERM)])
def test_a_signal_in_the_moment_in_which_the_verdict_is_written_changes_nothing_of_it(tmp_path, end, code):
    process = start(tmp_path, BEGIN + textwrap.dedent(f"""
        from runicorn.writer import small_files
        written = small_files.SmallFiles.state_end
        def write(files, verdict):
            written(files, verdict)
            small_files.SmallFiles.state_end = written
            os.kill(os.getpid(), 15)
            time.sleep(0.1)
        small_files.SmallFiles.state_end = write
        {end}
        time.sleep(20)
        """))
    _, err = process.communicate(timeout=60)
    assert (process.returncode, status(tmp_path)["status"],
            status(tmp_path)["exit_code"]) == (code, "failed", 3), err


@pytest.mark.long
def test_the_verdict_is_there_while_the_rest_is_being_done(tmp_path):
    """Git's answer takes five seconds; a kill, another signal or a Ctrl+C meanwhile changes neither the
    verdict nor the exit code."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec sleep 5\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    for name, number in (("int", signal.SIGINT), ("term", signal.SIGTERM), ("kill", signal.SIGKILL)):
        (tmp_path / name).mkdir()
        process = start(tmp_path / name, BEGIN + "print('ready', flush=True)\nsys.exit(3)", PATH=path)
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 30
        while status(tmp_path / name)["status"] == "running" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (status(tmp_path / name)["status"], status(tmp_path / name)["exit_code"]) == ("failed", 3)
        began = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == (3 if name != "kill" else -signal.SIGKILL), err
        assert "Traceback" not in err and time.monotonic() - began < 4
        assert (status(tmp_path / name)["status"], status(tmp_path / name)["exit_code"]) == ("failed", 3)


def test_sigterm_waits_for_nothing(tmp_path):
    """Slurm's SIGKILL follows its SIGTERM by a few milliseconds; the busy disk and the slow git are not
    waited for."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec sleep 5\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    process = start(tmp_path, BEGIN + "print('ready', flush=True)\ntime.sleep(30)",
                    PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    process.stdout.readline()
    began = time.monotonic()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM and time.monotonic() - began < 1.5
    assert status(tmp_path)["status"] == "interrupted" and is_over(tmp_path)


def test_a_fork_that_nobody_told_us_of_ends_no_parent_by_its_signals(tmp_path):
    """C code forks without Python's hooks; its child's signal is written to the parent's descriptor."""
    train(tmp_path, BEGIN + textwrap.dedent("""
        import ctypes
        fork, pause = ctypes.PyDLL(None).fork, ctypes.PyDLL(None).pause
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            child = fork()
            while not child:
                pause()                 # or hangs for want of our threads: its signals are written either way
            time.sleep(0.1)
            os.kill(child, number)
            time.sleep(0.3)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        time.sleep(0.3)
        run.log({"b": 1})
        """))
    assert status(tmp_path)["status"] == "finished" and len(rows(only(tmp_path))) == 2


def test_signals_are_not_written_into_files_of_a_script_that_closes_all_descriptors(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        os.closerange(3, 200)
        files = [open(f"mine{number}", "wb") for number in range(30)]
        signal.signal(signal.SIGUSR1, lambda *given: None)
        signal.signal(signal.SIGTERM, lambda *given: None)
        for number in (signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)
        time.sleep(0.2)
        assert not any(os.path.getsize(file.name) for file in files)
        """))
    assert status(tmp_path)["status"] == "interrupted"


def test_an_event_loop_that_was_there_first_keeps_its_signals(tmp_path):
    out, _ = train(tmp_path, textwrap.dedent("""
        import asyncio, os, signal
        import runicorn
        async def main():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: print("loop"))
            run = runicorn.init(project="p", name="n")
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.2)
            run.finish()
        asyncio.run(main())
        """))
    assert out == "loop\n" and status(tmp_path)["status"] == "interrupted"


def test_setting_signals_up_costs_less_than_a_millisecond(tmp_path):
    out, _ = train(tmp_path, textwrap.dedent("""
        import time
        import runicorn
        from runicorn.writer import signals
        times = []
        for _ in range(20):
            began = time.process_time()
            signals.take(lambda: None)
            times.append(time.process_time() - began)
            signals.give_back()
        print(min(times))
        """))
    assert float(out) < 0.001


def test_a_pruned_trial_is_pruned_and_has_not_failed(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import optuna
        import runicorn
        class Mine(optuna.TrialPruned):
            pass
        def objective(trial):
            with runicorn.init(project="p", name=f"n{trial.number}", system=False) as run:
                run.log({"a": 1})
                raise (optuna.TrialPruned, Mine, ValueError)[trial.number]("x")
        optuna.create_study().optimize(objective, n_trials=3, catch=(ValueError,))
        """))
    found = [small(run, "status") for run in runs(tmp_path)]
    assert [(each["status"], each["exit_code"], each.get("ended_by")) for each in found] == [
        ("finished", None, "pruning"), ("finished", None, "pruning"), ("failed", 1, None)]


def test_a_thread_s_own_run_fails_with_it(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import threading
        import runicorn
        def work():
            run = runicorn.init(project="p", name="thread", system=False)
            run.log({"a": 1})
            raise ValueError("boom")
        main = runicorn.init(project="p", name="main", system=False, reinit="create_new")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """))
    main, thread = (small(run, "status") for run in runs(tmp_path))
    assert main["status"] == "finished" and "ValueError: boom" in main["thread_error"]
    assert (thread["status"], thread["error"]) == ("failed", "ValueError: boom")


def test_no_home_folder_is_said_in_one_sentence(tmp_path):
    train(tmp_path,
          "import os.path\nos.path.expanduser = lambda path: path\nimport runicorn, contextlib, io\n"
          "err = io.StringIO()\n"
          "with contextlib.redirect_stderr(err):\n    runicorn.init()\n"
          "assert 'no home folder' in err.getvalue(), err.getvalue()\n"
          "assert '..' not in err.getvalue()", RUNICORN_HOME="", RUNICORN_DIR="")


# -- children ------------------------------------------------------------------------------------------------

def test_a_forked_child_neither_logs_nor_ends_the_run(tmp_path):
    _, err = train(tmp_path, BEGIN + textwrap.dedent("""
        child = os.fork()
        if not child:
            run.log({"child": 1})
            print("from the child")
            run.summary["child"] = 1
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            sys.exit(3)
        os.waitpid(child, 0)
        assert "running" in (run.dir / "status.json").read_text()
        run.log({"loss": 0.5})
        """))
    assert [row["data"] for row in rows(only(tmp_path))] == [{"loss": 1.0}, {"loss": 0.5}]
    assert status(tmp_path)["status"] == "finished" and "from the child" not in shown(only(tmp_path))
    assert err.count("forked") == 1


def test_a_child_killed_by_sigterm_dies_by_it(tmp_path):
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        child = os.fork()
        if not child:
            time.sleep(30)
        os.kill(child, signal.SIGTERM)
        print(os.WTERMSIG(os.waitpid(child, 0)[1]))
        """))
    assert out == "15\n" and status(tmp_path)["status"] == "finished"


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing_children_make_no_runs_of_their_own(tmp_path, method):
    """No `if __name__ == "__main__":` around init, as in most scripts; only the pool is guarded."""
    train(tmp_path, textwrap.dedent(f"""
        import multiprocessing
        import runicorn
        run = runicorn.init(project="p", name="n")
        def square(number):
            runicorn.log({{"child": number}})
            return number * number
        if __name__ == "__main__":
            with multiprocessing.get_context("{method}").Pool(2) as pool:
                run.log({{"sum": sum(pool.map(square, range(10)))}})
        """))
    assert [row["data"] for row in rows(only(tmp_path))] == [{"sum": 285}]
    assert status(tmp_path)["status"] == "finished"


@pytest.mark.frameworks
def test_data_loader_workers_do_not_disturb(tmp_path):
    train(tmp_path, textwrap.dedent("""
        import torch
        import runicorn
        class Numbers(torch.utils.data.Dataset):
            def __len__(self):
                return 16
            def __getitem__(self, index):
                runicorn.log({"worker": index})
                return torch.tensor(float(index))
        if __name__ == "__main__":
            run = runicorn.init(project="p", name="n")
            for epoch in range(2):
                for batch in torch.utils.data.DataLoader(Numbers(), batch_size=4, num_workers=2):
                    run.log({"sum": batch.sum()})
        """))
    assert [row["data"]["sum"] for row in rows(only(tmp_path))] == [6.0, 22.0, 38.0, 54.0] * 2
    assert status(tmp_path)["status"] == "finished"


def test_a_forked_child_may_begin_a_run_of_its_own(tmp_path):
    train(tmp_path, BEGIN + textwrap.dedent("""
        child = os.fork()
        if not child:
            mine = runicorn.init(project="p", name="child")
            mine.log({"child": 1})
            print("child prints")
            sys.exit(0)
        os.waitpid(child, 0)
        """))
    child, parent = sorted(runs(tmp_path))
    assert rows(child)[0]["data"] == {"child": 1} and shown(child) == ["child prints"]
    assert small(child, "status")["status"] == "finished"
    assert small(parent, "status")["status"] == "finished" and len(rows(parent)) == 1


# -- killed at any moment ------------------------------------------------------------------------------------

COUNT = """
import sys, os
import runicorn
run = runicorn.init(project="p", name=sys.argv[1] if len(sys.argv) > 1 else "n", capture=False, system=False)
pause = float(os.environ["PAUSE"])
import time
returned = os.open(os.environ["RETURNED"], os.O_WRONLY | os.O_CREAT)
step = 0
while True:
    run.log({"loss": 1 / (step + 1), "step": step}, step=step)
    os.pwrite(returned, b"%12d" % step, 0)      # what the script knows to have returned
    step += 1
    if pause:
        time.sleep(pause)
"""


def killed(folder, after, pause):
    """Kill a training `after` seconds after its first row; returns (last step whose log() returned, rows on
    disk)."""
    folder.mkdir()
    returned = folder / "returned"
    process = start(folder, COUNT, PAUSE=str(pause), RETURNED=str(returned))
    deadline = time.monotonic() + 30
    while not (returned.exists() and returned.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(after)
    process.kill()
    process.communicate()
    return int(returned.read_text()), rows(only(folder), killed=True)


@pytest.mark.few(1)
@pytest.mark.parametrize("pause", [0, 0.5])
def test_sigkill_loses_no_call_that_returned(tmp_path, pause):
    for attempt in range(6):
        last, found = killed(tmp_path / str(attempt), 0.013 * attempt * (1 if not pause else 10), pause)
        assert [row["step"] for row in found] == list(range(len(found))) and len(found) >= last + 1


@pytest.mark.chaos
@pytest.mark.parametrize("pause", [0, 0.5])
def test_sigkill_at_a_hundred_moments(tmp_path, pause):
    for attempt in range(100):
        last, found = killed(tmp_path / str(attempt),
                             int.from_bytes(os.urandom(2), "big") / 65536 * (0.3 if not pause else 2), pause)
        tally.tried()
        assert [row["step"] for row in found] == list(range(len(found))) and len(found) >= last + 1
