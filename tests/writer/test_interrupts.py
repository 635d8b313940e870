"""Time limits of the script's: what a signal handler or another thread raises within our code reaches the
script, each time."""

import textwrap

import pytest
from scripts import only, rows, train

BEGIN = """
import ctypes, errno, functools, operator, os, random, signal, sys, threading, time, types
import runicorn
run = runicorn.init(project='p', name='n', system=False)
class Late(Exception):
    pass
class Handlers:
    def __init__(self, error):
        self.error = error
    def __call__(self, number, frame):
        raise self.error
    def method(self, *arguments):
        raise self.error
    def calls(self, number, frame):
        self.deeper()
    def deeper(self):
        raise self.error
def plain(number, frame):
    raise ERROR
def forgetful(number, frame):
    signal.signal(number, signal.SIG_DFL)
    del frame
    raise ERROR
def again(number, frame):
    signal.signal(number, signal.SIG_DFL)
    raise ERROR
def with_more(more, number, frame):
    raise ERROR
def wrapped(function):
    @functools.wraps(function)
    def wrapper(*arguments, **keywords):
        return function(*arguments, **keywords)
    return wrapper
"""

LOG = "run.log({'loss': 1.0, 'accuracy': 0.5})"
PRINT = "print('a line of output', 17)"
LOOPS = """
swallowed = reached = 0
random.seed(7)
for turn in range({turns}):
    signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-5, 1e-3))
        while signal.getitimer(signal.ITIMER_REAL)[0]:
            {call}
        for _ in range(20):         # it rang: what it raised is on its way, or was swallowed
            {call}
        swallowed += 1
    except BaseException as error:
        reached += type(error) is expected
sys.__stderr__.write(f"{{swallowed}} swallowed, {{reached}} reached\\n")
"""

HANDLERS = {
    "function": "handler = plain",
    "partial": "handler = functools.partial(with_more, 'more')",
    "partial of a method": "handler = functools.partial(Handlers(ERROR).method, 1)",
    "callable object": "handler = Handlers(ERROR)",
    "bound method": "handler = Handlers(ERROR).method",
    "method that calls another": "handler = Handlers(ERROR).calls",
    "lambda": "handler = lambda *a: (_ for _ in ()).throw(ERROR)",
    "decorated": "handler = wrapped(plain)",
    "cached": "handler = functools.lru_cache(None)(plain)",
    "method type": "handler = types.MethodType(with_more, object())",
    "resets itself": "handler = again",
}
ERRORS = ("Late('too late')", "TimeoutError()", "TimeoutError(errno.ETIMEDOUT, 'too late')",
          "ValueError('too late')")
KINDS = ([(setup, error) for setup in HANDLERS.values() for error in ERRORS[:2]]
         + [("handler = plain", error) for error in ERRORS[2:]])
IN_C = [("handler = operator.truediv", "TypeError"),
        ("handler = signal.default_int_handler", "KeyboardInterrupt")]


def count(folder, code):
    _, err = train(folder, BEGIN + code, timeout=300, PYTHONUNBUFFERED="")
    return err.splitlines()[-1]


@pytest.mark.few(1)
@pytest.mark.parametrize("call", [LOG, PRINT], ids=["log", "print"])
def test_what_a_handler_raises_reaches_the_script(tmp_path, call):
    """All kinds of handlers in one process: 24 times 60 time limits."""
    code = "".join(textwrap.dedent(f"""
        ERROR = {error}
        expected = type(ERROR)
        {setup}
        """) + LOOPS.format(turns=60, call=call) for setup, error in KINDS)
    _, err = train(tmp_path, BEGIN + code, timeout=300)
    assert err.splitlines() == ["0 swallowed, 60 reached"] * len(KINDS)
    assert len(rows(only(tmp_path))) > 100 or call is PRINT


@pytest.mark.few(3)
@pytest.mark.parametrize("call", [LOG, PRINT], ids=["log", "print"])
@pytest.mark.parametrize("setup, kind", IN_C)
def test_what_a_handler_in_c_raises_reaches_the_script(tmp_path, setup, kind, call):
    assert (count(tmp_path, f"{setup}\nexpected = {kind}\n" + LOOPS.format(turns=200, call=call))
            == "0 swallowed, 200 reached")


INJECTED = """
raised = ctypes.pythonapi.PyThreadState_SetAsyncExc
swallowed = reached = 0
class Configured(Exception):        # as job queues do, whose class carries its message
    def __init__(self):
        super().__init__("too late")
class Work(threading.Thread):
    done = False
    def run(self):
        global swallowed, reached
        while not self.done:
            try:
                self.ready.set()
                while not self.injected.is_set():
                    {call}
                for _ in range(50):
                    {call}
                swallowed += 1
            except BaseException as error:
                reached += type(error) is self.kind
            self.injected.wait()
            self.injected.clear()
            self.turn.set()
work = Work(daemon=True)
work.ready, work.injected, work.turn = threading.Event(), threading.Event(), threading.Event()
work.kind = {kind}
work.start()
for turn in range({turns}):
    work.ready.wait()
    work.ready.clear()
    time.sleep(random.uniform(0, 1e-3))
    raised(ctypes.c_ulong(work.ident), ctypes.py_object({kind}))
    work.done = turn == {turns} - 1
    work.injected.set()
    work.turn.wait()
    work.turn.clear()
sys.__stderr__.write(f"{{swallowed}} swallowed, {{reached}} reached\\n")
"""


@pytest.mark.few(3)
@pytest.mark.parametrize("call", [LOG, PRINT], ids=["log", "print"])
@pytest.mark.parametrize("kind", ["Late", "TimeoutError", "ValueError", "KeyboardInterrupt", "Configured"])
def test_what_another_thread_puts_into_one_reaches_it(tmp_path, kind, call):
    assert count(tmp_path, INJECTED.format(turns=100, call=call, kind=kind)) == "0 swallowed, 100 reached"


def test_a_time_limit_within_a_slow_value_reaches_the_script(tmp_path):
    """A loss on a GPU is waited for in `log`: there a time limit strikes most often."""
    out, _ = train(tmp_path, BEGIN + textwrap.dedent("""
        class Slow:
            def item(self):
                time.sleep(30)
        ERROR = Late("too late")
        ways = (lambda: run.log({"loss": Slow()}), lambda: run.log({"loss": 1.0}, step=Slow()),
                lambda: run.summary.update(loss=Slow()))
        for way in ways:
            for handler in (plain, functools.partial(with_more, 1), Handlers(ERROR),
                            Handlers(TimeoutError())):
                signal.signal(signal.SIGALRM, handler)
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                try:
                    way()
                    print("swallowed")
                except (Late, TimeoutError):
                    print("reached")
        """))
    assert out.split() == ["reached"] * 12


def test_errors_of_values_and_of_our_own_stay_in_log(tmp_path):
    """Also while somebody's handler, in Python or in C, is set."""
    _, err = train(tmp_path, BEGIN + textwrap.dedent("""
        class Odd:
            def __init__(self, error):
                self.error = error
            def item(self):
                raise self.error
            def keys(self):
                raise self.error
            __str__ = __getitem__ = keys
        for handler in (signal.SIG_DFL, plain, operator.truediv):
            signal.signal(signal.SIGALRM, handler)
            for error in (Late(), Late("odd"), ValueError(), OSError(), TimeoutError("odd"), KeyError("odd"),
                          RuntimeError(Late())):
                run.log({"loss": Odd(error), "good": 1.0})
                run.log(Odd(error))
                run.log({"loss": 1.0}, step=Odd(error))
                run.log({Odd(error): 1.0})
                run.log({"loss": 10 ** 5000, "good": float("nan")})
        real = os.write
        def full(descriptor, data):
            raise OSError(errno.ENOSPC, "No space left on device")
        os.write = full
        run.log({"loss": 1.0})
        os.write = lambda *a: real(*a) and {}["a fault of ours"]
        run.log({"loss": 1.0})
        os.write = real
        """))
    assert "Traceback" not in err and "No space left" in err
    assert sum(row.get("data") == {"good": 1.0} for row in rows(only(tmp_path))) == 21
