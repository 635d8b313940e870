"""Event loops want the wakeup descriptor, too: beside the writer they get every signal and warn of nothing,
and the run hears it."""

import signal

import pytest
from endings import BEGIN, both, ended, launch, stub, told

ASYNCIO = BEGIN.split("run = ")[0] + """
import asyncio
async def main():
    over, loop = asyncio.Event(), asyncio.get_running_loop()
{before}
    run = runicorn.init(project='p', name='n')
    run.log({{'a': 1}})
{after}
    print('ready', flush=True)
    await asyncio.wait_for(over.wait(), 30)
    print('saved')
"""
HANDLER = "    loop.add_signal_handler(signal.SIGTERM, over.set)"
AT_ONCE = "\nasyncio.run(main())\n"
LIBRARIES = {
    "asyncio, before init": ASYNCIO.format(before=HANDLER, after="") + AT_ONCE,
    "asyncio, after init": ASYNCIO.format(before="", after=HANDLER) + AT_ONCE,
    "asyncio, in the second loop": "import asyncio, signal\nasync def first():\n"
                                   "    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, int)\n"
    "asyncio.run(first())\n"
                                   + ASYNCIO.format(before="", after=HANDLER) + "\nasyncio.run(first())"
    + AT_ONCE,
    "uvloop": "import uvloop\n" + ASYNCIO.format(before="", after=HANDLER) + "\nuvloop.run(main())\n",
    "uvloop, imported after init": BEGIN + "import uvloop\n"
    + ASYNCIO.format(before=HANDLER, after="").replace(
        "    run = runicorn.init(project='p', name='n')\n    run.log({'a': 1})\n", "")
    + "\nuvloop.run(main())\n",
    "trio": BEGIN + """
import trio
async def main():
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        print('ready', flush=True)
        async for number in signals:
            return print('saved')
trio.run(main)
""",
    "trio, init within": BEGIN.split("run = ")[0] + """
import trio
async def main():
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        runicorn.init(project='p', name='n').log({'a': 1})
        print('ready', flush=True)
        async for number in signals:
            return print('saved')
trio.run(main)
""",
    "tornado": BEGIN + """
from tornado.ioloop import IOLoop
loop = IOLoop.current()
loop.asyncio_loop.add_signal_handler(signal.SIGTERM, loop.stop)
loop.add_callback(print, 'ready', flush=True)
loop.start()
print('saved')
""",
    "a script's own": BEGIN + """
import socket
reader, writer = socket.socketpair()
writer.setblocking(False)
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGUSR1, lambda *_: None)
assert signal.set_wakeup_fd(writer.fileno()) == -1
assert signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False) == writer.fileno()
for _ in range(3):
    os.kill(os.getpid(), signal.SIGUSR1)
print('ready', flush=True)
numbers = b''
while len(numbers) < 4:
    numbers += reader.recv(64)
assert numbers == bytes([signal.SIGUSR1] * 3 + [signal.SIGTERM]), numbers
run.finish()
assert signal.set_wakeup_fd.__module__ != 'runicorn.writer.signals'
assert signal.set_wakeup_fd(-1) == writer.fileno()
""",
}


@pytest.mark.few(1)
@pytest.mark.parametrize("way", LIBRARIES)
def test_a_loop_that_handles_sigterm_saves_and_its_run_was_interrupted(tmp_path, way):
    _, err = both(tmp_path, LIBRARIES[way], (signal.SIGTERM,))
    (state, reason, _, name, rows), = told(tmp_path)
    assert (state, reason, name, rows, err) == ("interrupted", "ended by SIGTERM", "SIGTERM", 1, "")


ERRORS = """
def error(*args, **more):
    try:
        return signal.set_wakeup_fd(*args, **more)
    except BaseException as error:
        return type(error).__name__, str(error)
reader, writer = os.pipe()
os.dup2(writer, 90)
writer = 90
print(error(writer), error(987), error(-1), error('x')[0], error()[0], error(writer, 1)[0])
os.set_blocking(writer, False)
print(error(writer) == -1, error(writer, warn_on_full_buffer=True) == writer)
thread = threading.Thread(target=lambda: print(error(writer)))
thread.start()
thread.join()
"""
BYTES = """
signal.signal(signal.SIGUSR1, lambda *_: None)
for _ in range(200):
    os.kill(os.getpid(), signal.SIGUSR1)
pid = os.fork()
if not pid:
    os.kill(os.getpid(), signal.SIGUSR1)
    os._exit(0)
os.waitpid(pid, 0)
numbers = b''
while len(numbers) < 201:
    numbers += os.read(reader, 1000)
time.sleep(0.2)
signal.set_wakeup_fd(-1)
os.kill(os.getpid(), signal.SIGUSR1)
time.sleep(0.2)
os.closerange(reader + 1, 91)
print(numbers == bytes([signal.SIGUSR1]) * 201, os.read(reader, 1000))
"""


def test_who_sets_the_wakeup_descriptor_gets_the_same_errors_and_every_byte_also_in_a_forked_child(tmp_path):
    code = BEGIN + ERRORS + BYTES
    without, out, _ = ended(launch(tmp_path / "without", code, PYTHONPATH=stub(tmp_path)))
    with_us, ours, err = ended(launch(tmp_path / "with", code))
    assert (with_us, ours, err) == (without, out, "") == (0, out, "") and out.endswith("True b''\n")


def test_after_the_last_run_everything_is_as_it_was(tmp_path):
    code = BEGIN + """
import _signal
ours = signal.set_wakeup_fd, _signal.signal
from signal import set_wakeup_fd            # and keeps it
run.finish()
assert ours != (signal.set_wakeup_fd, _signal.signal) and signal.set_wakeup_fd is _signal.set_wakeup_fd
assert type(signal.set_wakeup_fd) is type(_signal.signal) is type(len)
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
reader, writer = os.pipe()
os.set_blocking(writer, False)
assert (set_wakeup_fd(writer), signal.set_wakeup_fd(-1)) == (-1, writer)
"""
    assert ended(launch(tmp_path / "with", code)) == (0, "", "")


REFUSED = """
    import _thread
    def refuse(*args):
        raise RuntimeError("can't start new thread")
    start, _thread.start_new_thread = _thread.start_new_thread, refuse
    run = runicorn.init(project='p', name='n')
"""


@pytest.mark.parametrize("later", [True, False])
def test_a_loop_hears_its_signals_though_no_thread_could_be_started_for_them(tmp_path, later):
    code = (ASYNCIO.format(before="", after="    _thread.start_new_thread = start\n" * later + HANDLER)
            + AT_ONCE)
    init = "    run = runicorn.init(project='p', name='n')\n"
    assert init in code
    status, out, err = ended(launch(tmp_path / "with", code.replace(init, REFUSED)), (signal.SIGTERM,))
    assert (status, out, err) == (0, "saved\n", "")
    (state, _, _, name, rows), = told(tmp_path)
    assert rows == 1 and (not later or (state, name) == ("interrupted", "SIGTERM"))


def test_without_a_thread_nothing_stays_open_after_the_last_run(tmp_path):
    code = ("import asyncio, os, threading\nbefore = len(os.listdir('/proc/self/fd'))\n"
            + BEGIN.split("run = ")[0] + REFUSED.replace(
                "\n    ", "\n") + "run.finish()\n" + """
until = time.monotonic() + 20
while len(os.listdir('/proc/self/fd')) > before and time.monotonic() < until:
    time.sleep(0.01)
print(len(os.listdir('/proc/self/fd')) - before)
""")
    assert ended(launch(tmp_path, code)) == (0, "0\n", "")


def test_a_signal_that_can_not_be_handed_on_is_told_while_nobody_waits_for_it(tmp_path):
    """A handler that runs in the middle of a print sets another one, while our thread wants to print."""
    code = """
import io, sys, threading
class Terminal(io.StringIO):
    lock, asked = threading.RLock(), threading.Event()
    def write(self, text):
        if threading.current_thread() is not threading.main_thread():
            self.asked.set()
        with self.lock:
            return sys.__stdout__.write(text)
sys.stderr = Terminal()
""" + BEGIN + """
threading.Timer(20, os._exit, (3,)).start()
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
os.close(writer)
signal.signal(signal.SIGUSR1, lambda *_: None)
with sys.stderr.lock:
    os.kill(os.getpid(), signal.SIGUSR1)
    assert sys.stderr.asked.wait(10)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
time.sleep(0.5)
sys.__stdout__.flush()
os._exit(0)
"""
    status, out, err = ended(launch(tmp_path / "with", code))
    assert (status, err) == (0, "")
    assert out == "runicorn: a signal can't be handed on to the event loop (Bad file descriptor)\n"


def test_a_signal_that_came_before_its_loop_closed_its_descriptor_is_not_told(tmp_path):
    """As trio does at its end: it closes the descriptor first, and takes it back then. Our thread comes late,
    as on a busy machine."""
    code = BEGIN + """
from runicorn.writer import signals
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGUSR1, lambda *_: None)
with signals._handing:
    os.kill(os.getpid(), signal.SIGUSR1)
    os.close(writer)
time.sleep(0.02)
signal.set_wakeup_fd(-1)
time.sleep(0.3)
"""
    status, _, err = ended(launch(tmp_path / "with", code))
    assert (status, err) == (0, "")
