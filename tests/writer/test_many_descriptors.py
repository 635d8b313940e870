"""A script with more than 1,024 files open, more than select() takes: signals are heard, output is copied,
nothing spins."""

import signal
import subprocess
import sys
import textwrap

import pytest
from endings import BEGIN, both, ended, launch, told
from scripts import environment, only, shown, small

MANY = """
import os, resource, select, signal, sys, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
"""
HEARS = """
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGUSR1, lambda *_: None)
{after}
def hear():
    os.kill(os.getpid(), signal.SIGUSR1)
    assert os.read(reader, 8) == bytes([signal.SIGUSR1])
threading.Timer(30, os._exit, (3,)).start()
hear()
hear()
before = time.process_time()
time.sleep(1)
print(time.process_time() - before < 0.4, flush=True)
hear()
os._exit(0)
"""
NO_POLL = MANY + "import subprocess\ndel select.poll\n"
# What is done before init, and after it. eventlet takes select.poll away; poll(2) takes no more descriptors
# than the process may have.
WAYS = {
    "poll": (MANY, ""),
    "no poll": (NO_POLL, ""),
    "a limit of none": ("import resource\n", "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 4096))"),
    "a limit of none, no poll": (NO_POLL, "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 4096))"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("way", WAYS)
def test_signals_are_handed_on_and_nothing_spins(tmp_path, way):
    before, after = WAYS[way]
    status, out, err = ended(launch(tmp_path / "with", before + BEGIN + HEARS.format(after=after)))
    assert (status, out) == (0, "True\n")
    assert [line for line in err.splitlines() if not after or "Too many open files" not in line] == []


def test_a_signal_that_the_script_handles_is_noted(tmp_path):
    code = MANY + BEGIN + "import asyncio\n" + textwrap.dedent("""
        async def main():
            over = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
            print('ready', flush=True)
            await asyncio.wait_for(over.wait(), 30)
        asyncio.run(main())
        """)
    assert both(tmp_path, code, (signal.SIGTERM,)) == (0, "")
    assert told(tmp_path) == [("interrupted", "ended by SIGTERM", 0, "SIGTERM", 1)]


def test_fd_copies_output_and_its_end(tmp_path):
    code = MANY + textwrap.dedent("""
        import subprocess
        import runicorn
        run = runicorn.init(project='p', name='n', system=False, capture='fd')
        assert min(pair[0] for pair in run._output._pipes.values()) > 1023
        print("one", flush=True)
        subprocess.run(["sh", "-c", "sleep 0.5; echo two; echo wrong >&2"])
        for number in range(20000):
            print(number)
        run.finish()
        print("after")
        """)
    (tmp_path / "train.py").write_text(code)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=environment(tmp_path),
                          capture_output=True, text=True, timeout=60)
    lines = ["one", "two", *map(str, range(20000))]
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, [*lines, "after"], "wrong\n")
    assert [line for line in shown(only(tmp_path)) if line != "wrong"] == lines
    assert "wrong" in shown(only(tmp_path))
    assert small(only(tmp_path), "status")["status"] == "finished"


def test_a_terminal_with_a_high_number_is_known_to_be_stalled_and_gets_all_in_the_end(tmp_path):
    code = MANY + textwrap.dedent("""
        from runicorn.writer.capture import is_stalled
        from runicorn.writer.capture_fd import write_all
        reader, writer = os.pipe()
        assert writer > 1023 and not is_stalled(writer)
        os.set_blocking(writer, False)
        written = 0
        try:
            while True:
                written += os.write(writer, b"x" * 4096)
        except BlockingIOError:
            assert is_stalled(writer)
        thread = threading.Thread(target=write_all, args=(writer, b"y" * 300_000))
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive()
        data = b""
        while len(data) < written + 300_000:
            data += os.read(reader, 65536)
        thread.join()
        assert data == b"x" * written + b"y" * 300_000
        os.close(reader)
        assert not is_stalled(writer)       # a write fails at once
        os.close(writer)
        assert not is_stalled(writer) and not is_stalled(None)
        """)
    assert ended(launch(tmp_path, code)) == (0, "", "")
