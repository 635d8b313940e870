"""`runicorn run`: any program through pipes. Output, exit code, signals and descriptors are what they are
without us; a run tells of it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from programs import RUN, finished, python, started
from scripts import environment, only, runs, shown, small
from waiting import until

from runicorn.reader.liveness import judge


def told(folder):
    """Return what the only run says of its end: (state, reason, exit code)."""
    status = small(only(folder), "status")
    return judge(status, None).state, judge(status, None).text, status.get("exit_code")


ENDS = {
    "true": ("pass", 0, ("finished", "finished", 0)),
    "exit 3": ("import sys; sys.exit(3)", 3, ("failed", "exit code 3", 3)),
    "exit 255": ("import sys; sys.exit(255)", 255, ("failed", "exit code 255", 255)),
    "an error": ("1 / 0", 1, ("failed", "exit code 1", 1)),
    "os._exit": ("import os; os._exit(7)", 7, ("failed", "exit code 7", 7)),
    "abort": ("import os; os.abort()", -6, ("failed", "aborted (SIGABRT)", None)),
    "SIGSEGV": ("import os; os.kill(os.getpid(), 11)", -11, ("failed", "segmentation fault (SIGSEGV)", None)),
    **{name: (f"import os; os.kill(os.getpid(), {int(getattr(signal, name))})", -getattr(signal, name),
              ("interrupted", f"ended by {name}", None))
       for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGALRM", "SIGXCPU")},
    "SIGPIPE": ("import os, signal; signal.signal(13, signal.SIG_DFL); os.kill(os.getpid(), 13)", -13,
                ("interrupted", "ended by SIGPIPE", None)),
    "SIGINT": ("import os, time; os.kill(os.getpid(), 2); time.sleep(9)", -2,
               ("interrupted", "ended by SIGINT", None)),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_wait_status_is_the_programs_and_the_run_says_it(tmp_path, how):
    code, status, end = ENDS[how]
    bare = finished(tmp_path, python(code), bare=True)[0]
    assert finished(tmp_path, python(f"print('first'); print('last')\n{code}"))[0] == bare == status
    assert told(tmp_path) == end
    assert [line for line in shown(only(tmp_path)) if line in ("first", "last")] == ["first", "last"]
    assert list((tmp_path / "root" / ".runicorn" / "live").iterdir()) == []


@pytest.mark.few()
@pytest.mark.parametrize("name", [
    "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU", "SIGABRT",
    "SIGKILL"])
@pytest.mark.parametrize("target", ["group", "program"])
def test_a_signal_ends_the_program_and_us_alike(tmp_path, name, target):
    number = getattr(signal, name)
    statuses = []
    for bare in (True, False):
        process = started(tmp_path, python("import time; print('ready'); time.sleep(60)"), bare=bare)
        assert process.stdout.readline() == b"ready\n"
        if target == "group" and name != "SIGKILL":
            os.killpg(process.pid, number)
        elif name == "SIGKILL" and not bare:
            os.kill(child_of(process.pid), number)
        else:
            os.kill(process.pid, number)
        process.communicate(timeout=30)
        statuses.append(process.returncode)
    assert statuses == [-number, -number]
    state = told(tmp_path)
    assert state[:2] == (("failed", "aborted (SIGABRT)") if name == "SIGABRT"
                         else ("interrupted", f"ended by {name}"))


def child_of(pid):
    """Return the program of a `runicorn run` (int): the child that runs something else."""
    def look():
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in map(int, file.read().split()):
                    with open(f"/proc/{child}/cmdline", "rb") as words:
                        if b"runicorn\0run\0" not in words.read():
                            return child
        return None
    return until(look, "the program")


COUNTING = """
import os, signal, sys, time
count = {}
def heard(number, frame):
    count[number] = count.get(number, 0) + 1
    print(signal.Signals(number).name, count[number], flush=True)
    if number == signal.SIGUSR2:
        print(sorted((signal.Signals(n).name, c) for n, c in count.items()), flush=True)
        os._exit(5)
for number in (1, 2, 3, 10, 12, 15):
    signal.signal(number, heard)
print("ready", flush=True)
while True:
    time.sleep(1)
"""


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_each_signal_arrives_once_whoever_it_was_sent_to(tmp_path, send):
    process = started(tmp_path, python(COUNTING))
    assert process.stdout.readline() == b"ready\n"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1,
                   signal.SIGQUIT):
        send(process.pid, number)
        assert process.stdout.readline().startswith(signal.Signals(number).name.encode())
        time.sleep(0.1)
    send(process.pid, signal.SIGUSR2)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 5
    assert (out.splitlines()[-1]
            == b"[('SIGHUP', 1), ('SIGINT', 1), ('SIGQUIT', 1), ('SIGTERM', 2), ('SIGUSR1', 1), "
               b"('SIGUSR2', 1)]")
    assert told(tmp_path) == ("interrupted", "ended by SIGQUIT", 5)


@pytest.mark.parametrize("send, expect", [(os.kill, [b"parent\n"]), (os.killpg, [b"child\n", b"parent\n"])])
def test_children_hear_of_a_signal_as_without_us(tmp_path, send, expect):
    script = f"""
        {sys.executable} -u -c 'import signal, time, sys
signal.signal(15, lambda *_: (print("child"), sys.exit(0)))
print("ready"); time.sleep(5)' &
        trap 'echo parent; wait; exit 4' TERM
        wait
    """
    process = started(tmp_path, ["bash", "-c", script])
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    send(process.pid, signal.SIGTERM)
    out = process.communicate(timeout=30)[0]
    assert (process.returncode, sorted(out.splitlines(keepends=True))) == (4, expect)


IGNORING = "import os, signal, sys; signal.signal(17, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize("wrapper", [["nohup"], python(IGNORING)])
def test_an_ignored_signal_stays_ignored(tmp_path, wrapper):
    code = ("import signal; print(*(repr(signal.getsignal(number)) for number in (1, 13, 17)), "
            "signal.getsignal(2) is signal.default_int_handler)")
    texts = [finished(tmp_path, [*wrapper, *([] if bare else [*RUN, "--"]), *python(code)], bare=True)[1]
             for bare in (True, False)]
    assert texts[0] == texts[1] and b"SIG_IGN" in texts[0], texts


@pytest.mark.parametrize("words, code", [(["printf", "x"], 0), (["./none"], 127), (["./bare"], 3)])
def test_started_where_ended_children_are_ignored(tmp_path, words, code):
    (tmp_path / "bare").write_text("exit 3\n")         # no first line, as a shell runs it
    (tmp_path / "bare").chmod(0o755)
    assert finished(tmp_path, [*python(IGNORING), *RUN, "--", *words], bare=True)[0] == code


def test_what_python_adds_to_the_environment_is_not_passed_on(tmp_path):
    plain = ["env", "-u", "LC_ALL", "-u", "LC_CTYPE", "LANG=C"]
    for more, told in ([], b""), (["LC_CTYPE=C.UTF-8"], b"LC_CTYPE=C.UTF-8\n"):
        out = finished(tmp_path, [*plain, *more, *RUN, "--", "env"], bare=True)[1]
        assert b"".join(line for line in out.splitlines(True) if line.startswith(b"LC_CTYPE")) == told


def test_the_signal_mask_and_descriptors_are_those_we_were_given(tmp_path):
    code = ("import os, signal; print(sorted(os.listdir('/proc/self/fd')), signal.pthread_sigmask(0, []), "
            "os.getpgid(0), os.getsid(0))")
    reader, writer = os.pipe()
    texts = []
    for bare in (True, False):
        process = started(tmp_path, python(code), bare=bare, pass_fds=[writer])
        out = process.communicate(timeout=30)[0].decode()
        texts.append(out.replace(str(process.pid), "PID"))
    assert texts[0] == texts[1]
    os.close(writer)
    os.close(reader)


def test_a_descriptor_for_the_program_is_not_held_open_by_us(tmp_path):
    reader, writer = os.pipe()
    code = (f"import os, time; ours = os.getppid(); os.write({writer}, b'up'); os.close({writer})\n"
            "os.close(0)\nfor _ in range(600): os.getppid() == ours and time.sleep(0.05)")
    process = started(tmp_path, python(code), pass_fds=[writer], stdin=subprocess.PIPE)
    os.close(writer)
    assert os.read(reader, 9) == b"up"
    began = time.monotonic()
    assert os.read(reader, 9) == b"" and time.monotonic() - began < 20, "not only once the program ended"
    with pytest.raises(BrokenPipeError):
        for _ in range(100):
            process.stdin.write(b"x" * 4096)
            process.stdin.flush()
            time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(BrokenPipeError):
        process.communicate(timeout=30)
    os.close(reader)


def test_stdin_is_passed_on(tmp_path):
    data = os.urandom(1_000_000)
    status, out, err = finished(tmp_path, ["cat"], data=data)
    assert (status, out == data, err) == (0, True, b"")


def test_closed_streams_are_closed_for_the_program_too(tmp_path):
    code = ("import os\nfor n in range(3):\n try: os.fstat(n); open('state','a').write('open ')\n"
            " except OSError: open('state','a').write('closed ')")
    for bare in (True, False):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            command = " ".join(map(_quoted, [*([] if bare else [*RUN, "--"]), *python(code)]))
            finished(tmp_path, ["sh", "-c", f"{command} {closed}"], bare=True)
        text = (tmp_path / "state").read_text()
        (tmp_path / "state").unlink()
        if bare:
            expect = text
    assert text == expect and "closed closed closed" in text


def _quoted(word):
    return "'" + word.replace("'", "'\\''") + "'"


def test_output_that_nobody_reads_ends_the_program_as_without_us(tmp_path):
    for bare in (True, False):
        command = " ".join(map(_quoted, [*([] if bare else [*RUN, "--"]), "yes", "a line"]))
        status, out, _ = finished(tmp_path, ["bash", "-c", f"{command} | head -n 3; echo ${{PIPESTATUS[0]}}"],
                                  bare=True)
        assert (status, out) == (0, b"a line\n" * 3 + b"141\n")
    assert told(tmp_path) == ("interrupted", "ended by SIGPIPE", None)


def test_one_stream_that_nobody_reads_leaves_the_other(tmp_path):
    script = "trap '' PIPE; for i in $(seq 9); do echo out $i; echo err $i >&2; sleep 0.05; done; exit 6"
    command = " ".join(map(_quoted, [*RUN, "--", "bash", "-c", script]))
    status, out, err = finished(tmp_path, ["bash", "-c", f"{command} | head -n 1; exit ${{PIPESTATUS[0]}}"],
                                bare=True)
    assert (status, out) == (6, b"out 1\n")
    assert [line for line in err.decode().splitlines() if line.startswith("err")] == [
        f"err {n}" for n in range(1, 10)]


def test_order_is_kept_where_both_streams_are_one(tmp_path):
    code = "import sys\nfor n in range(3000):\n print(n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)"
    status, out, _ = finished(tmp_path, python(code), stderr=subprocess.STDOUT)
    assert status == 0 and out.decode().splitlines() == [str(n) for n in range(3000)]
    assert shown(only(tmp_path)) == [str(n) for n in range(3000)]


def test_a_flood_loses_nothing(tmp_path):
    code = ("import sys, os\nfor n in range(150_000): sys.stdout.write(f'{n} the quick brown fox\\n')\n"
            "sys.stdout.flush(); sys.stderr.write('done')\nos.kill(os.getpid(), 9)")
    status, out, err = finished(tmp_path, python(code))
    expect = "".join(f"{n} the quick brown fox\n" for n in range(150_000)).encode()
    assert status == -9 and out == expect and err == b"done"
    assert shown(only(tmp_path)) == [*expect.decode().splitlines(), "done"]


def test_bytes_that_are_no_text_pass(tmp_path):
    data = bytes(range(256)) * 1000
    status, out, _ = finished(tmp_path,
                              python("import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)"))
    assert (status, out == data) == (0, True)


def test_what_a_child_prints_later_still_comes(tmp_path):
    script = "(sleep 1; echo late; echo later >&2) & echo early; exit 3"
    process = started(tmp_path, ["bash", "-c", script])
    assert process.wait(timeout=30) == 3
    assert told(tmp_path) == ("failed", "exit code 3", 3)
    out, err = process.communicate(timeout=30)
    assert (out, err) == (b"early\nlate\n", b"later\n")


def test_killed_itself_the_program_goes_on_and_the_run_is_lost(tmp_path):
    code = "import time\nfor n in range(40):\n print(n)\n time.sleep(0.05)\nopen('done', 'w').write('yes')"
    process = started(tmp_path, python(code))
    assert process.stdout.readline() == b"0\n"
    os.kill(process.pid, signal.SIGKILL)
    out = process.communicate(timeout=30)[0]
    assert out.decode().split()[-20:] == [str(n) for n in range(20, 40)]
    assert (tmp_path / "done").read_text() == "yes"
    assert small(only(tmp_path), "status")["status"] == "running"
    assert until(lambda: shown(only(tmp_path))[-1] == "39")
    listed = subprocess.run([sys.executable, "-m", "runicorn", "runs", "--json"], env=environment(tmp_path),
                            capture_output=True, text=True, timeout=60)
    assert '"lost"' in listed.stdout, listed


def test_a_killed_guard_is_no_harm(tmp_path):
    process = started(tmp_path, python("import time\nfor n in range(20):\n print(n)\n time.sleep(0.1)"))
    assert process.stdout.readline() == b"0\n"
    program = child_of(process.pid)
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        guard, = {*map(int, file.read().split())} - {program}
    os.kill(guard, signal.SIGKILL)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert told(tmp_path)[1] == "ended by SIGTERM"


@pytest.mark.parametrize("make, word, code", [
    (None, "no-such-program", 127), (None, "./no-such-file", 127), ("text", "./file", 126),
    ("folder", "./file", 126)])
def test_what_can_not_be_started_gets_a_sentence(tmp_path, make, word, code):
    if make == "text":
        (tmp_path / "file").write_text("not to be run")
    elif make == "folder":
        (tmp_path / "file").mkdir()
    status, out, err = finished(tmp_path, [word])
    assert (status, out, err.count(b"\n")) == (code, b"", 1) and word.encode() in err
    assert runs(tmp_path) == []


def test_a_script_without_an_interpreter_runs_as_in_a_shell(tmp_path):
    (tmp_path / "job").write_text("echo hi $1; exit 4\n")
    (tmp_path / "job").chmod(0o755)
    assert finished(tmp_path, ["./job", "you"]) == (4, b"hi you\n", b"")


def test_an_interpreter_that_is_missing(tmp_path):
    (tmp_path / "job").write_text("#!/no/such/thing\n")
    (tmp_path / "job").chmod(0o755)
    status, _, err = finished(tmp_path, ["./job"])
    assert status == 127 and err.startswith(b"runicorn: ./job:")
    assert told(tmp_path)[0] == "failed"


def test_without_a_root_the_program_runs(tmp_path):
    root = tmp_path / "no"
    root.write_text("a file")
    status, out, err = finished(tmp_path, python("print('trained'); raise SystemExit(9)"),
                                env={"RUNICORN_DIR": str(root / "below")})
    assert (status, out) == (9, b"trained\n") and b"nothing is recorded" in err


def test_in_a_folder_that_was_removed(tmp_path):
    (tmp_path / "gone").mkdir()
    words = ["sh", "-c", 'cd gone; rmdir ../gone; exec "$@"', "sh", *RUN, "--", "printf", "x"]
    assert finished(tmp_path, words, bare=True) == (0, b"x", b"")
    assert told(tmp_path) == ("finished", "finished", 0)


def test_options_are_recorded(tmp_path):
    status, _, err = finished(tmp_path, ["true"],
                              ["--project", "vision", "--name=res net", "--tag", "a", "--tag", "b",
                               "--config", "lr=0.1", "--config", "opt=adam",
                               "--config", "api_key=hunter2hunter2", "--notes", "why"])
    meta = small(only(tmp_path), "meta")
    assert (status, err) == (0, b"")
    assert [meta[key] for key in ("project", "name", "tags", "notes", "argv")] == [
        "vision", "res net", ["a", "b"], "why", ["true"]]
    assert meta["config"] == {"lr": 0.1, "opt": "adam", "api_key": "[masked]"}


@pytest.mark.parametrize("words",
                         [["true"], ["--", "true"], ["--name", "n", "true"], ["--name", "n", "--", "true"]])
def test_two_dashes_are_optional(tmp_path, words):
    done = subprocess.run([*RUN, *words], env=environment(tmp_path), cwd=tmp_path, timeout=60)
    assert done.returncode == 0 and small(only(tmp_path), "meta")["argv"] == ["true"]


def test_options_of_the_program_are_its_own(tmp_path):
    status, out, _ = finished(tmp_path, ["echo", "--project", "x", "--", "--help", "-h"])
    assert (status, out) == (0, b"--project x -- --help -h\n")


@pytest.mark.parametrize("words, sentence", [([], "which program"), (["--nmae", "x", "true"], "--nmae"),
                                             (["--config", "lr", "true"], "lr=0.1")])
def test_a_wrong_call_gets_a_sentence(tmp_path, words, sentence):
    done = subprocess.run([*RUN, *words], env=environment(tmp_path), cwd=tmp_path, timeout=60,
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and sentence in done.stderr


def test_git_of_the_scripts_folder(tmp_path):
    subprocess.run("git init -q code && cd code && echo 'import time; time.sleep(1.5)' > t.py && git add "
                   ". && "
                   "git -c user.name=a -c user.email=b commit -qm c", shell=True, cwd=tmp_path, check=True)
    assert finished(tmp_path, [sys.executable, "code/t.py"])[0] == 0
    meta = small(only(tmp_path), "meta")
    assert len(meta["git"]["commit"]) == 40 and meta["name"] == "t"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 kB, as root can make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)],
                      capture_output=True).returncode:
        pytest.skip("no right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_below_the_run_is_no_matter_of_the_programs(tmp_path, small_disk):
    code = "for n in range(30_000): print(n, 'a line of the program')\nraise SystemExit(4)"
    status, out, err = finished(tmp_path, python(code), env={"RUNICORN_DIR": str(small_disk / "root")})
    assert status == 4 and out.decode().splitlines() == [f"{n} a line of the program" for n in range(30_000)]
    assert b"No space left on device" in err


def test_a_full_disk_below_the_output_leaves_it_in_the_log(tmp_path, small_disk):
    code = "for n in range(30_000): print(n, 'a line of the program')\nraise SystemExit(4)"
    with open(small_disk / "out", "wb") as file:
        status, _, err = finished(tmp_path, python(code), stdout=file)
    assert status == 4 and err.count(b"can't be written (No space left on device)") == 1
    assert shown(only(tmp_path))[:30_000] == [f"{n} a line of the program" for n in range(30_000)]


def test_a_reader_that_pauses_holds_up_one_stream_only(tmp_path):
    code = ("import sys\nsys.stderr.write('first\\n')\nfor n in range(60_000): print('x' * 50)\n"
            "sys.stderr.write('last\\n')")
    reader, writer = os.pipe()
    process = started(tmp_path, python(code), stdout=writer)
    os.close(writer)
    assert process.stderr.readline() == b"first\n"
    time.sleep(1)
    os.kill(process.pid, signal.SIGUSR2)            # it is heard though the output waits
    process.stderr.read()
    count = len(b"".join(iter(lambda: os.read(reader, 1 << 16), b"")))
    assert process.wait(timeout=30) == -signal.SIGUSR2 and 0 < count < 60_000 * 51
    process.stderr.close()
    os.close(reader)


@pytest.mark.parametrize("limit", [8, 14])
def test_a_program_that_leaves_us_no_room_runs_without_us(tmp_path, limit):
    run = [sys.executable, "-m", "runicorn", "run", "--"]
    argv = ["bash", "-c", f"ulimit -n {limit}; exec \"$@\"", "-", *run, "bash", "-c", "echo out; exit 5"]
    status, out, err = finished(tmp_path, argv, bare=True)
    assert (status, out) == (5, b"out\n") and b"Too many open files" in err and b"Traceback" not in err
