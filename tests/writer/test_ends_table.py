"""The table of ends: how a script starts × how it ends → what its run says. The wait status is what it is without us."""

import signal

import pytest
from endings import BEGIN, READY, both, told

SLEEP = READY + "time.sleep(30)\n"
WAIT_IN_C = READY + "import ctypes\nctypes.CDLL(None).sleep(30); ctypes.CDLL(None).sleep(30)\n"
HANDLER = "def save(number, frame):\n    run.log({'saved': 1})\n    sys.exit(%s)\nsignal.signal(signal.SIGTERM, save)\n"
USR1 = "import faulthandler\nfaulthandler.register(signal.SIGTERM, chain=False)\n"

# (name, script after init, signals sent, wait status, (state, reason, exit code, signal, rows))
ENDS = [
    # -- by itself
    ("its last line", "", (), 0, ("finished", "finished", 0, None, 1)),
    ("finish()", "run.finish()", (), 0, ("finished", "finished", 0, None, 1)),
    ("finish(exit_code=3)", "run.finish(exit_code=3)", (), 0, ("failed", "exit code 3", 3, None, 1)),
    ("finish() at exit, after sys.exit(3)", "import atexit; atexit.register(run.finish); sys.exit(3)", (), 3,
     ("failed", "exit code 3", 3, None, 1)),
    ("sys.exit()", "sys.exit()", (), 0, ("finished", "finished", 0, None, 1)),
    ("sys.exit(3)", "sys.exit(3)", (), 3, ("failed", "exit code 3", 3, None, 1)),
    ("exit(4)", "exit(4)", (), 4, ("failed", "exit code 4", 4, None, 1)),
    ("quit(4)", "quit(4)", (), 4, ("failed", "exit code 4", 4, None, 1)),
    ("raise SystemExit(4)", "raise SystemExit(4)", (), 4, ("failed", "exit code 4", 4, None, 1)),
    ("raise of a subclass of SystemExit", "class Leave(SystemExit): pass\nraise Leave(4)", (), 4, ("failed", "exit code 4", 4, None, 1)),
    ("a code that is the class's", "class Leave(SystemExit): code = 4\nraise Leave", (), 4, ("failed", "exit code 4", 4, None, 1)),
    ("a class before init", ("class Leave(SystemExit): code = 4\n", "raise Leave(9)"), (), 4, ("failed", "exit code 4", 4, None, 1)),
    ("a code from a mixin", "class Four: code = 4\nclass Leave(Four, SystemExit): pass\nclass Deep(Leave): pass\nraise Deep", (), 4,
     ("failed", "exit code 4", 4, None, 1)),
    ("a code that is a property", "class Leave(SystemExit):\n    @property\n    def code(self): return self.args[0] + 1\nraise Leave(3)",
     (), 4, ("failed", "exit code 4", 4, None, 1)),
    ("a code set after raise", "class Leave(SystemExit): code = 9\ntry: raise Leave\nexcept Leave as e: e.code = 4; raise", (), 4,
     ("failed", "exit code 4", 4, None, 1)),
    ("a subclass with more arguments", "class Leave(SystemExit):\n"
     "    def __init__(self, code, trace): super().__init__(code); self.trace = trace\nraise Leave(4, 0)", (), 4,
     ("failed", "exit code 4", 4, None, 1)),
    ("a code of the class's, deleted again", "class Leave(SystemExit): code = 4\ne = Leave(); e.code = 9; del e.code; raise e", (), 4,
     ("failed", "exit code 4", 4, None, 1)),
    ("a code that can't be read", "class Leave(SystemExit):\n    @property\n    def code(self): return self.no\nraise Leave(4)", (), 1,
     ("failed", "exit code 1", 1, None, 1)),
    ("a code of None", "class Leave(SystemExit): code = None\nraise Leave(4)", (), 0, ("finished", "finished", 0, None, 1)),
    ("from sys import exit, before", ("from sys import exit\n", "exit(4)"), (), 4, ("failed", "exit code 4", 4, None, 1)),
    ("sys.exit(True)", "sys.exit(True)", (), 1, ("failed", "exit code 1", 1, None, 1)),
    ("sys.exit(False)", "sys.exit(False)", (), 0, ("finished", "finished", 0, None, 1)),
    ("sys.exit('no data')", "sys.exit('no data')", (), 1, ("failed", "exit code 1", 1, None, 1)),
    ("sys.exit((1, 2))", "sys.exit((1, 2))", (), 1, ("failed", "exit code 1", 1, None, 1)),
    ("sys.exit(256)", "sys.exit(256)", (), 0, ("finished", "finished", 0, None, 1)),
    ("sys.exit(257)", "sys.exit(257)", (), 1, ("failed", "exit code 1", 1, None, 1)),
    ("sys.exit(-1)", "sys.exit(-1)", (), 255, ("failed", "exit code 255", 255, None, 1)),
    ("sys.exit(1 << 70)", "sys.exit(1 << 70)", (), 255, ("failed", "exit code 255", 255, None, 1)),
    ("argparse's error", "import argparse; argparse.ArgumentParser().parse_args(['--no'])", (), 2, ("failed", "exit code 2", 2, None, 1)),
    ("a caught sys.exit(2)", "try: sys.exit(2)\nexcept SystemExit: pass", (), 0, ("finished", "finished", 0, None, 1)),
    ("a caught sys.exit(2), then another", "try: sys.exit(2)\nexcept SystemExit: pass\nsys.exit(5)", (), 5,
     ("failed", "exit code 5", 5, None, 1)),
    ("SystemExit.code read by the script", "try: exit(7)\nexcept SystemExit as e: print(e.code); e.code = 6; raise", (), 6,
     ("failed", "exit code 6", 6, None, 1)),
    # -- by an error
    ("an error", "1 / 0", (), 1, ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    ("an error, finish() in finally", "try: 1 / 0\nfinally: run.finish()", (), 1,
     ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    ("another error from one under which it finished",
     "try:\n    try: 1 / 0\n    finally: run.finish()\nexcept ZeroDivisionError as e: raise OSError('x') from e", (), 1,
     ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    ("sys.exit(3) from an error under which it finished",
     "try:\n    try: 1 / 0\n    finally: run.finish()\nexcept ZeroDivisionError: sys.exit(3)", (), 3,
     ("failed", "ZeroDivisionError: division by zero", 3, None, 1)),
    ("a caught error", "try: 1 / 0\nexcept ZeroDivisionError: pass", (), 0, ("finished", "finished", 0, None, 1)),
    ("an error within `with`", "with run: 1 / 0", (), 1, ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    ("an own sys.excepthook", "sys.excepthook = lambda *given: None\n1 / 0", (), 1,
     ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    ("an own sys.excepthook that leaves with 9", "sys.excepthook = lambda *given: sys.exit(9)\n1 / 0", (), 9,
     ("failed", "ZeroDivisionError: division by zero", 9, None, 1)),
    ("rich.traceback.install()", "import rich.traceback\nrich.traceback.install()\n1 / 0", (), 1,
     ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    ("typer", "import typer\ndef main(): 1 / 0\ntyper.run(main)", (), 1, ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    ("click's Abort", "import click\n@click.command()\ndef main(): raise click.Abort\nmain()", (), 1,
     ("failed", "exit code 1", 1, None, 1)),
    ("sys.excepthook called for a caught error", "try: 1 / 0\nexcept ZeroDivisionError: sys.excepthook(*sys.exc_info())", (), 0,
     ("finished", "finished", 0, None, 1)),
    ("an error whose text can't be made",
     "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd", (), 1, ("failed", None, 1, None, 1)),
    ("too many open files", "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\nheld = []\n"
     "while True: held.append(open('/dev/null'))", (), 1, ("failed", "OSError: [Errno 24] Too many open files: '/dev/null'", 1, None, 1)),
    ("an error in a thread", "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()", (), 0,
     ("finished", "finished", 0, None, 1)),
    ("an exception group", "raise ExceptionGroup('several', [ValueError('x')])", (), 1,
     ("failed", "ExceptionGroup: several (1 sub-exception)", 1, None, 1)),
    # -- by a signal
    ("SIGTERM", SLEEP, ("TERM",), -15, ("interrupted", "ended by SIGTERM", None, "SIGTERM", 1)),
    ("SIGHUP", SLEEP, ("HUP",), -1, ("interrupted", "ended by SIGHUP", None, "SIGHUP", 1)),
    ("SIGQUIT", SLEEP, ("QUIT",), -3, ("interrupted", "ended by SIGQUIT", None, "SIGQUIT", 1)),
    ("SIGUSR1", SLEEP, ("USR1",), -10, ("interrupted", "ended by SIGUSR1", None, "SIGUSR1", 1)),
    ("SIGUSR2", SLEEP, ("USR2",), -12, ("interrupted", "ended by SIGUSR2", None, "SIGUSR2", 1)),
    ("SIGXCPU", SLEEP, ("XCPU",), -24, ("interrupted", "ended by SIGXCPU", None, "SIGXCPU", 1)),
    ("SIGALRM", "signal.alarm(1)\ntime.sleep(30)", (), -14, ("interrupted", "ended by SIGALRM", None, "SIGALRM", 1)),
    ("SIGVTALRM", SLEEP, ("VTALRM",), -26, ("interrupted", "ended by SIGVTALRM", None, "SIGVTALRM", 1)),
    ("SIGPIPE, its default in force", ("import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\n", SLEEP), ("PIPE",), -13,
     ("interrupted", "ended by SIGPIPE", None, "SIGPIPE", 1)),
    ("SIGCONT and SIGWINCH", READY + "time.sleep(0.3)", ("CONT",), 0, ("finished", "finished", 0, None, 1)),
    ("Ctrl+C", SLEEP, ("INT",), -2, ("interrupted", "ended by SIGINT", None, "SIGINT", 1)),
    ("Ctrl+C, right after init", "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)", (), -2,
     ("interrupted", "ended by SIGINT", None, "SIGINT", 1)),
    ("Ctrl+C, caught, sys.exit(0)", "try:\n    print('ready', flush=True); time.sleep(30)\nexcept KeyboardInterrupt: sys.exit(0)",
     ("INT",), 0,
     ("interrupted", "ended by SIGINT", 0, "SIGINT", 1)),
    ("Ctrl+C under asyncio.run", "import asyncio\nasync def main():\n    try:\n        print('ready', flush=True); await asyncio.sleep(9)\n"
     "    except asyncio.CancelledError: run.log({'b': 1}); os._exit(0) if 0 else sys.exit(0)\nasyncio.run(main())",
     ("INT",), 0,
     ("interrupted", "ended by SIGINT", 0, "SIGINT", 2)),
    ("Ctrl+C, SIG_DFL set before init", ("import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n", SLEEP), ("INT",), -2,
     ("interrupted", "ended by SIGINT", None, "SIGINT", 1)),
    ("Ctrl+C, SIG_DFL set after init", "signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + SLEEP, ("INT",), -2,
     ("interrupted", "ended by SIGINT", None, "SIGINT", 1)),
    ("two Ctrl+C", "try:\n    print('ready', flush=True); time.sleep(30)\n"
     "except KeyboardInterrupt: print('ready', flush=True); time.sleep(30)",
     ("INT", "INT"), -2, ("interrupted", "ended by SIGINT", None, "SIGINT", 1)),
    ("SIGTERM in C code", WAIT_IN_C, ("TERM",), -15, ("interrupted", "ended by SIGTERM", None, "SIGTERM", 1)),
    ("SIGUSR1 in C code", WAIT_IN_C, ("USR1",), -10, ("interrupted", "ended by SIGUSR1", None, "SIGUSR1", 1)),
    ("SIGTERM, own handler after init, 0", HANDLER % 0 + SLEEP, ("TERM",), 0, ("interrupted", "ended by SIGTERM", 0, "SIGTERM", 2)),
    ("SIGTERM, own handler after init, 143", HANDLER % 143 + SLEEP, ("TERM",), 143,
     ("interrupted", "ended by SIGTERM", 143, "SIGTERM", 2)),
    ("SIGTERM, own handler before init, 0", ("import runicorn, signal, sys\n" + HANDLER % 0, SLEEP), ("TERM",), 0,
     ("interrupted", "ended by SIGTERM", 0, "SIGTERM", 2)),
    ("SIGTERM, own handler that goes on", "signal.signal(signal.SIGTERM, lambda *a: None)\n" + READY + "time.sleep(0.3)", ("TERM",), 0,
     ("interrupted", "ended by SIGTERM", 0, "SIGTERM", 1)),
    ("SIGALRM, own handler", "signal.signal(signal.SIGALRM, lambda *a: None)\n"
     "signal.setitimer(signal.ITIMER_REAL, 0.1)\ntime.sleep(0.3)", (), 0,
     ("finished", "finished", 0, None, 1)),
    ("SIGALRM, own handlers that set the default again",
     "for _ in range(50):\n    signal.signal(signal.SIGALRM, lambda *a: signal.signal(signal.SIGALRM, signal.SIG_DFL))\n"
     "    os.kill(os.getpid(), signal.SIGALRM)\n    time.sleep(0.01)", (), 0, ("finished", "finished", 0, None, 1)),
    ("SIGUSR1, own handler after init", "signal.signal(signal.SIGUSR1, lambda *a: None)\n" + READY + "time.sleep(0.3)", ("USR1",), 0,
     ("finished", "finished", 0, None, 1)),
    ("SIGTERM ignored after init", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "time.sleep(0.3)", ("TERM",), 0,
     ("finished", "finished", 0, None, 1)),
    ("SIGTERM, the default set again after init", "signal.signal(signal.SIGTERM, signal.SIG_DFL)\n" + SLEEP, ("TERM",), -15,
     ("interrupted", "ended by SIGTERM", None, "SIGTERM", 1)),
    ("SIGTERM handled in C before init", ("import signal\n" + USR1, READY + "time.sleep(0.3)"), ("TERM",), 0,
     ("finished", "finished", 0, None, 1)),
    ("SIGUSR1 handled in C after init", USR1.replace("TERM", "USR1") + READY + "time.sleep(0.3)", ("USR1",), 0,
     ("finished", "finished", 0, None, 1)),
    ("SIGTERM after an error, threads going on",
     "def on(): print('ready', flush=True); time.sleep(30)\nthreading.Thread(target=on).start()\n1 / 0", ("TERM",), -15,
     ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    # -- as another program
    ("os.execv", "os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", (), 5, ("finished", "the process became another program", None, None, 1)),
    ("os.execl", "os.execl('/bin/sh', 'sh', '-c', 'exit 5')", (), 5, ("finished", "the process became another program", None, None, 1)),
    ("os.execve", "os.execve('/bin/sh', ['sh', '-c', 'exit 5'], os.environ)", (), 5,
     ("finished", "the process became another program", None, None, 1)),
    ("os.execle", "os.execle('/bin/sh', 'sh', '-c', 'exit 5', os.environ)", (), 5,
     ("finished", "the process became another program", None, None, 1)),
    ("os.execvp", "os.execvp('sh', ['sh', '-c', 'exit 5'])", (), 5, ("finished", "the process became another program", None, None, 1)),
    ("os.execlp", "os.execlp('sh', 'sh', '-c', 'exit 5')", (), 5, ("finished", "the process became another program", None, None, 1)),
    ("os.execvpe", "os.execvpe('sh', ['sh', '-c', 'exit 5'], os.environ)", (), 5,
     ("finished", "the process became another program", None, None, 1)),
    ("os.execlpe", "os.execlpe('sh', 'sh', '-c', 'exit 5', os.environ)", (), 5,
     ("finished", "the process became another program", None, None, 1)),
    ("os.execv that fails", "try: os.execv('/nowhere', ['x'])\nexcept OSError: run.log({'b': 1})", (), 0,
     ("finished", "finished", 0, None, 2)),
    ("os.execv of no program", "open('x', 'w').write('no program'); os.chmod('x', 0o755)\ntry: os.execv('x', ['x'])\nexcept OSError: 1 / 0",
     (), 1, ("failed", "ZeroDivisionError: division by zero", 1, None, 1)),
    ("os.execvp that fails", "os.execvp('no-such-program', ['x'])", (), 1,
     ("failed", "FileNotFoundError: [Errno 2] No such file or directory", 1, None, 1)),
    ("os.posix_spawn", "os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', 'exit 5'], os.environ), 0); run.log({'b': 1})", (), 0,
     ("finished", "finished", 0, None, 2)),
    ("exec in a forked child", "p = os.fork()\nif not p: os.execv('/bin/sh', ['sh', '-c', 'exit 5'])\nos.waitpid(p, 0); run.log({'b': 1})",
     (), 0, ("finished", "finished", 0, None, 2)),
]


def script(code):
    """Return the script of a row: what stands before `init`, if anything, then what comes after it."""
    before, after = code if isinstance(code, tuple) else ("", code)
    return before + BEGIN + after


@pytest.mark.parametrize("code, signals, expect, run", [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_what_a_run_says_of_its_end(tmp_path, code, signals, expect, run, **how):
    status, err = both(tmp_path, script(code), [getattr(signal, f"SIG{name}") for name in signals], **how)
    found, = told(tmp_path)
    assert status == expect
    if run[1] is None:
        found, run = (found[0], *found[2:]), (run[0], *run[2:])
    assert found == run, err


# -- other starts -------------------------------------------------------------------------------------------------

ANYWHERE = ("its last line", "exit(4)", "sys.exit(3)", "an error", "an own sys.excepthook", "SIGTERM", "Ctrl+C", "SIGUSR1",
            "SIGTERM, own handler after init, 0", "os.execv")
STARTS = {"python -c": {"start": "command"}, "python -m": {"start": "module"}, "python -": {"start": "stdin"},
          "nice": {"before": ("nice",)}}


@pytest.mark.parametrize("row", [row for row in ENDS if row[0] in ANYWHERE], ids=lambda row: row[0])
@pytest.mark.parametrize("start", STARTS)
def test_however_it_starts(tmp_path, start, row):
    test_what_a_run_says_of_its_end(tmp_path, *row[1:], **STARTS[start])
