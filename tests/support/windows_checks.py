"""What a Windows has to show, run there by its own Python: `make windows` does so under Wine. Prints a line a
check; 1 if one fails."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="runicorn-windows-"))
os.environ["RUNICORN_HOME"] = str(HOME / "home")
TRAIN = """
import runicorn, sys, time
run = runicorn.init(project="p", name="n", id="one", resume="allow", storage=sys.argv[1], capture=False)
print(run.id, flush=True)
run.log({"loss": 1.0})
time.sleep(float(sys.argv[2]))
"""

# How a script ends: Ctrl+Break, the signal that Windows itself never sends, a closed console (called as
# Windows does, from a thread).
ENDS = {
    "signal.raise_signal(signal.SIGBREAK)": "SIGBREAK", "signal.raise_signal(signal.SIGTERM)": "SIGTERM",
    "end = threading.Thread(target=windows._closing, args=(2,)); end.start(); end.join(); os._exit(9)":
    "SIGBREAK",
    "windows._closing(0); signal.raise_signal(signal.SIGINT)": "SIGINT",
}
ENDING = """
import os, runicorn, signal, sys, threading
from runicorn.writer import windows
run = runicorn.init(project="ends", name="n", storage=sys.argv[1], capture=False)
run.log({"loss": 1.0})
"""


def opened_for(path, seconds):
    """Hold a file open for a while, as a reader does."""
    file = open(path, "rb")
    threading.Timer(seconds, file.close).start()


def a_lock_is_small_and_readable():
    from runicorn.errors import BusyError
    from runicorn.mirror import local_copy
    mirror = local_copy.LocalCopy(HOME / "cache" / "gpu")
    mirror.lock()
    assert (mirror.index / "lock").stat().st_size < 20
    assert local_copy.LocalCopy(mirror.folder).owner() == os.getpid()
    try:
        local_copy.LocalCopy(mirror.folder).lock()
    except BusyError:
        pass
    else:
        raise AssertionError("locked twice")
    mirror.unlock()


def a_mirror_is_dropped_whole():
    from runicorn.mirror import quota
    quota.drop_mirror(HOME / "cache" / "gpu")
    assert not (HOME / "cache" / "gpu").exists()


def files_that_are_open_are_replaced_and_deleted():
    from runicorn import disk, layout
    path = HOME / "open.json"
    for data in (b"1", b"2"):
        layout.replace_file(path, data)
        opened_for(path, 0.4)
    layout.replace_file(path, b"3")
    opened_for(path, 0.4)
    assert path.read_bytes() == b"3" and disk.discard(path)


def long_paths_and_odd_names_are_mirrored():
    from runicorn.mirror import local_copy, quota
    mirror = local_copy.LocalCopy(HOME / "cache" / "long")
    mirror.lock()
    run = "/".join(("p" * 100, "n" * 100, "runs", "i" * 100))
    for name in ("a/" + "b" * 200 + "/meta.json", "nul.txt", "tail.", "a:b", "con", "x" * 200):
        mirror.replace(run, name, b"{}")
        assert mirror.read(run, name, 0, 9) == b"{}", name
    mirror.unlock()
    quota.drop_mirror(mirror.folder)
    assert not mirror.folder.exists()


def a_run_ends_though_its_status_is_read():
    import runicorn
    from runicorn import layout
    run = runicorn.init(project="\u6d4b\u8bd5", name="n", storage=HOME / "root", capture=False)
    opened_for(run.dir / "summary.json", 0.3)
    began = time.monotonic()
    run.summary({"best": 1})
    took = time.monotonic() - began
    opened_for(run.dir / "status.json", 0.8)
    run.finish()
    assert layout.read_json(run.dir / "status.json")["status"] == "finished" and took < 0.5
    assert layout.read_json(run.dir / "summary.json")["best"] == 1


def processes_are_known_without_killing_them():
    from runicorn.writer import live, processes
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])
    assert live.process_lives(child.pid) and not live.process_lives(child.pid, 5) and child.poll() is None
    assert child.wait() == 0 and not live.process_lives(child.pid)
    assert processes.memory()[1] > 1 << 28


def a_run_that_is_written_is_not_joined():
    words = [sys.executable, "-c", TRAIN, str(HOME / "root2")]
    first = subprocess.Popen([*words, "8"], stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline().strip() == "one"
    second = subprocess.run([*words, "0"], capture_output=True, text=True)
    assert second.stdout.strip() not in ("one", "") and first.wait() == 0
    assert subprocess.run([*words, "0"], capture_output=True, text=True).stdout.strip() == "one"


def signals_and_a_closed_console_end_a_run():
    from runicorn import layout
    for number, (end, name) in enumerate(ENDS.items()):
        root = HOME / f"ends{number}"
        done = subprocess.run([sys.executable, "-c", ENDING + end, str(root)], capture_output=True, text=True)
        status, = root.glob("*/*/runs/*/status.json")
        told = layout.read_json(status)
        assert done.returncode != 0 and (told["status"], told.get("signal")) == ("interrupted", name), (
            end, told, done)


def pipes_join_a_process_and_a_socket():
    from runicorn.ssh.process import Pipe
    pipe = Pipe([sys.executable, "-c",
                 "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer, 4096)"])
    pipe.settimeout(30)
    data, came = os.urandom(1 << 20), bytearray()
    sender = threading.Thread(target=pipe.socket.sendall, args=(data,))
    sender.start()
    while len(came) < len(data):
        came += pipe.recv(1 << 16)
    sender.join()
    pipe.close()
    assert bytes(came) == data and pipe.process.poll() is not None


def two_processes_share_a_log():
    import logging

    from runicorn.connections import sync_log
    sync_log.LOG_BYTES = 1200
    loggers = [logging.LoggerAdapter(sync_log.opened(HOME, lambda: []), {"connection": name})
               for name in "ab"]
    for number in range(40):
        for logger in loggers:
            logger.info("event %d", number)
    files = list((HOME / "logs").glob("sync.log*"))
    assert len(files) > 2 and "event 39" in (HOME / "logs" / "sync.log").read_text()


def no_page_leaves_its_folder():
    from runicorn import assets
    for name in ("C:/windows/win.ini", "nul", "aux", "index.html:x", "index.html.", "con.js"):
        try:
            assets.read(name)
        except FileNotFoundError:
            continue
        raise AssertionError(name)
    assert assets.read("index.html")


def the_viewers_port_is_its_own():
    import socket

    from runicorn.viewer import http_server
    listeners = http_server.listen("127.0.0.1", 0)
    with socket.socket() as other:
        try:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", listeners[0].getsockname()[1]))
        except OSError:
            pass
        else:
            raise AssertionError("another program could take the port")
    for listener in listeners:
        listener.close()


def a_connection_of_the_same_user_is_known():
    """Wine knows a socket's process once that has sent something; a browser outside Wine is nobody's."""
    import socket

    from runicorn import loopback
    assert loopback.our_sid().startswith("S-1-") and loopback.told_by_kernel()
    with socket.create_server(("127.0.0.1",
                               0)) as listener, socket.create_connection(listener.getsockname()) as line:
        line.send(b"x")
        ends = line.getsockname(), line.getpeername()
        assert loopback.peer_user(*ends, time.time()) in loopback.our_users()
        assert loopback.peer_user(*ends, time.time() - 3600) is None        # this process is younger
        assert loopback.peer_user(ends[0], ("127.0.0.1", 1), time.time()) is None
    assert loopback.sid_of(4, time.time()) is None


def owners_of_links_are_told():
    """Wine has no links of its own; it tells whose a file is, whether the link or what it leads to is asked
    for."""
    from runicorn import local_disk, loopback
    (HOME / "mine").mkdir()
    assert set(local_disk.owners(str(HOME / "mine"))) <= {loopback.our_sid(), 0} != {None}
    assert local_disk.owners(str(HOME / "absent")) == (None, None)


def a_run_is_resumed_by_an_id_in_another_case():
    import runicorn
    root = HOME / "case"
    with runicorn.init(project="Vision", name="Net", id="Run-One", storage=root, capture=False) as first:
        pass
    with runicorn.init(project="vision", name="NET", id="RUN-ONE", resume="must", storage=root,
                       capture=False) as again:
        assert (again.id, again.attempt, again.path) == ("Run-One", 2, first.path)
        other = runicorn.init(project="vision", name="NET", id="run-one", resume="allow", storage=root,
                              capture=False, reinit="create_new")
        assert other.id.lower() != "run-one"
        other.finish()


def tail_follows_a_long_run():
    import runicorn
    root = HOME / "long-root" / ("d" * 90)
    run = runicorn.init(project="p" * 70, name="n" * 70, id="i" * 60, storage=root, capture=False)
    run.log({"loss": 1.5})
    run.finish()
    done = subprocess.run([sys.executable, "-m", "runicorn", "tail", "i" * 60, "--root", str(root)],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "loss=1.5" in done.stdout and "finished" in done.stdout, done


CHECKS = (owners_of_links_are_told, a_run_is_resumed_by_an_id_in_another_case, tail_follows_a_long_run,
          a_lock_is_small_and_readable, a_mirror_is_dropped_whole,
          files_that_are_open_are_replaced_and_deleted, long_paths_and_odd_names_are_mirrored,
          a_run_ends_though_its_status_is_read, processes_are_known_without_killing_them,
          a_run_that_is_written_is_not_joined, signals_and_a_closed_console_end_a_run,
          pipes_join_a_process_and_a_socket, two_processes_share_a_log, no_page_leaves_its_folder,
          the_viewers_port_is_its_own, a_connection_of_the_same_user_is_known)


def main():
    import traceback
    failed = 0
    for check in CHECKS:
        try:
            check()
            print("holds  ", check.__name__, flush=True)
        except Exception:
            failed += 1
            print("FAILED ", check.__name__, flush=True)
            traceback.print_exc()
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} hold, on {sys.platform}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
