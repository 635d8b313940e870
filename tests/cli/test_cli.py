"""The command line: what it says, what it refuses and with which exit code. Real processes where the process
is the point."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import run_folder

from runicorn import manifest
from runicorn.cli import arguments, completion, dialogue, terminal
from runicorn.cli import main as cli
from runicorn.cli.tail import Tail
from runicorn.errors import UsageError
from runicorn.version import VERSION

ADD = ["config", "ssh", "add", "--name", "GPU Server 1", "--host", "gpu-server.example.com", "--port", "22",
       "--user", "your_username", "--key", "~/.ssh/id_rsa", "--remote-root",
       "/home/user/.runicorn/experiments"]


def typed(*argv, **more):
    return subprocess.run([sys.executable, "-m", "runicorn", *argv], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL, **more)


# -- the door ------------------------------------------------------------------------------------------------

def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"runicorn {VERSION}\n"


def test_version_loads_no_command_and_no_package_of_others():
    code = ("import sys; from runicorn.cli import main as cli; cli.main(['--version'])\n"
            "print(sorted(name for name in sys.modules if name.split('.')[0] in ('argparse', 'bottle', "
            "'paramiko', 'numpy')))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_arguments_it_lists_the_commands(capsys):
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name not in cli.OWN_ARGUMENTS])
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"example:\n  runicorn {name}" in shown


def test_every_subcommand_has_help_with_an_example():
    shown = {path: leaf.format_help() for name, parser in completion.parsers().items()
             for path, leaf in leaves(parser, name)}
    assert len(shown) > 10
    assert [path for path, text in shown.items() if f"example:\n  runicorn {path}" not in text] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "powershell"])
def test_completion_knows_commands_and_options(shell, capsys):
    assert cli.main(["--completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script
               for word in ("viewer", "--cache-size", "config ssh add", "--remote-root", "manifest",
                            "--active-window"))


def test_completion_works_in_bash(tmp_path, capsys):
    cli.main(["--completion", "bash"])
    (tmp_path / "complete.sh").write_text(capsys.readouterr().out)
    ask = "source complete.sh; COMP_WORDS=(runicorn {0}); COMP_CWORD={1}; _runicorn; echo ${{COMPREPLY[@]}}"
    for typed_so_far, place, answer in (("con", 1, "config"), ("config ssh a", 3, "add"),
                                        ("config ssh add --remote", 4, "--remote-root"),
                                        ("generate", 1, "generate-manifest"), ("sync st", 2, "start status")):
        done = subprocess.run(["bash", "-c", ask.format(typed_so_far, place)], cwd=tmp_path,
                              capture_output=True, text=True, timeout=30)
        assert done.stdout.strip() == answer, done.stderr


def test_the_script_for_powershell_has_the_words_of_that_for_bash():
    """There is no PowerShell here to run it: its table is compared, and what would end a word or a block of
    it looked for."""
    told = {path: re.findall("'([^']*)'", words) for path, words in
            re.findall(r"^ {8}'([^']*)' = @\((.*)\)$", completion.script("powershell"), re.M)}
    bash = completion.script("bash")
    known = {path: words.split()
             for path, words in re.findall(r'^ {8}"([^"]*)"\) echo "([^"]*)";;$', bash, re.M)}
    assert told == known and len(told) > 20 and "--completion" in told[""] and "add" in told["config ssh"]
    text = completion.script("powershell")
    assert all(text.count(begin) == text.count(end) for begin, end in ("{}", "()", "[]"))
    assert text.count("'") % 2 == 0
    assert text.isascii() and "%" not in text and "`" not in text


def leaves(parser, path):
    if callable(parser):        # it parses for itself
        return
    for action in parser._actions:
        for name, child in (action.choices or {}).items() if isinstance(action.choices, dict) else ():
            yield f"{path} {name}", child
            yield from leaves(child, f"{path} {name}")


@pytest.mark.parametrize("argv, code, words", [
    (["viewr"], 2, "did you mean 'viewer'"),
    (["viewer", "--port", "99999"], 2, "is no port"),
    (["viewer", "--cache-size", "lots"], 2, "is no size"),
    (["viewer", "--root", "/does/not/exist"], 2, "not a folder on this machine"),
    (["cache", "clean", "--older-than", "old"], 2, "is no age"),
    (["config", "ssh"], 2, "COMMAND"),
    (["tail", "20250123_180000_abc123"], 2, "there is no run"),
    (["sync", "start"], 2, "runicorn config ssh add"),
    (["sync", "start", "--connection", "nowhere"], 2, "nowhere"),
])
def test_a_mistake_is_one_sentence_and_an_exit_code(home, capsys, argv, code, words):
    assert cli.main(argv) == code
    said = capsys.readouterr()
    assert words in said.err and said.err.startswith("runicorn: ") and said.err.count("\n") == 1
    assert said.out == ""


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(f"{sys.executable} -m runicorn --help | true", shell=True, capture_output=True,
                          text=True, timeout=60)
    assert done.stderr == ""


def test_an_ascii_terminal_gets_no_traceback(home):
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert typed(*ADD, env=environ).returncode == 0
    done = typed("config", "ssh", "list", env=environ)
    assert done.returncode == 0 and "GPU Server 1" in done.stdout


# -- config --------------------------------------------------------------------------------------------------

def test_a_connection_is_added_by_the_flags_of_the_guide(home, capsys):
    assert cli.main(ADD) == 0
    assert f"{home}/cache/gpu-server-1" in capsys.readouterr().out
    saved, = json.loads((home / "config.json").read_text())["connections"]
    assert (saved["name"], saved["host"], saved["port"], saved["user"], saved["auth"],
            saved["remote_root"]) == (
                "GPU Server 1", "gpu-server.example.com", 22, "your_username", "key",
                "/home/user/.runicorn/experiments")
    assert (home / "config.json").stat().st_mode & 0o777 == 0o600


def test_adding_the_same_name_changes_it_and_keeps_the_rest(home):
    cli.main(ADD)
    assert cli.main(["config", "ssh", "add", "--name", "GPU Server 1", "--port", "2222"]) == 0
    saved, = json.loads((home / "config.json").read_text())["connections"]
    assert (saved["port"], saved["user"]) == (2222, "your_username")


def test_a_connection_is_asked_for_on_a_terminal(home):
    # "x" is no port and is asked for again
    answers = ["lab", "", "x", "2222", "alice", "agent", "~/experiments"]
    screen = at_a_terminal(["config", "ssh", "add"], answers)
    assert "'x' is no port" in screen and 'saved "lab"' in screen
    saved, = json.loads((home / "config.json").read_text())["connections"]
    assert (saved["name"], saved["host"], saved["port"], saved["user"], saved["auth"]) == (
        "lab", "lab", 2222, "alice", "agent")


def test_what_can_not_be_is_asked_for_again_at_once(home):
    answers = ["a b", "gpu; rm -rf /", "lab", "", "", "bob smith", "bob", "magic", "agent", ""]
    screen = at_a_terminal(["config", "ssh", "add"], answers)
    assert screen.count("Host (name") == 3 and screen.count("User [") == 2 and screen.count("Login by") == 2
    assert 'saved "lab"' in screen
    saved, = json.loads((home / "config.json").read_text())["connections"]
    assert (saved["host"], saved["user"], saved["auth"]) == ("lab", "bob", "agent")


def test_a_bad_value_that_was_given_is_refused_before_anything_is_asked(home):
    screen = at_a_terminal(["config", "ssh", "add", "--name", "new", "--user", "bob smith"], [])
    assert "does not allow" in screen and "Host (name" not in screen


def test_what_the_ssh_config_knows_is_offered(home):
    folder = Path(os.environ["HOME"]) / ".ssh"
    folder.mkdir()
    (folder / "config").write_text(
        "Host lab\n  HostName gpu.example.com\n  User carol\n  Port 2200\n  IdentityFile ~/.ssh/lab\n")
    screen = at_a_terminal(["config", "ssh", "add"], ["lab", "", "", "", "", "", ""])
    assert "Hosts of ~/.ssh/config: lab" in screen
    saved, = json.loads((home / "config.json").read_text())["connections"]
    assert (saved["host"], saved["port"], saved["user"]) == ("lab", 2200, "carol")
    assert saved["key"].endswith(".ssh/lab")


def at_a_terminal(argv, answers):
    """Run the command on a pseudo terminal, type each answer when it waits, and return what the screen
    showed."""
    child, terminal_end = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "runicorn", *argv])
    screen = b""
    deadline = time.monotonic() + 30
    for answer in answers:
        before = len(screen)
        while b": " not in screen[before:] and time.monotonic() < deadline:
            screen += os.read(terminal_end, 4096)
        os.write(terminal_end, answer.encode() + b"\n")
    while True:
        try:
            more = os.read(terminal_end, 4096)
        except OSError:         # Linux says EIO when the child has closed its end
            break
        if not more:
            break
        screen += more
    os.waitpid(child, 0)
    os.close(terminal_end)
    return screen.decode()


def test_without_a_terminal_nothing_is_asked(home):
    done = typed("config", "ssh", "add")
    assert done.returncode == 2 and "--host" in done.stderr


def test_list_as_table_and_as_json(home, capsys):
    cli.main(ADD)
    capsys.readouterr()
    assert cli.main(["config", "ssh", "list"]) == 0
    assert "your_username@gpu-server.example.com:22" in capsys.readouterr().out
    assert cli.main(["config", "ssh", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "GPU Server 1"


def test_values_are_set_and_shown_without_secrets(home, capsys):
    assert cli.main(["config", "set", "root", "/data/experiments"]) == 0
    assert cli.main(["config", "set", "preferences.language", "zh"]) == 0
    config = json.loads((home / "config.json").read_text())
    (home / "config.json").write_text(
        json.dumps({**config, "connections": [{"name": "a", "host": "a", "password": "hunter2"}]}))
    capsys.readouterr()
    assert cli.main(["config", "show"]) == 0
    said = capsys.readouterr()
    shown = json.loads(said.out)
    assert shown["root"] == "/data/experiments" and shown["preferences"] == {"language": "zh"}
    assert "hunter2" not in said.out and str(home) in said.err


def test_a_value_can_not_become_a_group(home, capsys):
    cli.main(["config", "set", "root", "/data"])
    assert cli.main(["config", "set", "root.deep", "1"]) == 2
    assert cli.main(["config", "set", "connections", "[]"]) == 2
    capsys.readouterr()
    for key, hint in (("rooot", "did you mean root?"), ("theme", "did you mean preferences.theme?"),
                      ("zzz", "there are root, preferences.language"), ("rules", "rule add")):
        assert cli.main(["config", "set", key, "1"]) == 2
        assert hint in capsys.readouterr().err


# -- what is typed and shown ---------------------------------------------------------------------------------

@pytest.mark.parametrize("text, count",
                         [("1GB", 10**9), ("500 mb", 5 * 10**8), ("2GiB", 2**31), ("1000", 1000),
                          ("1.5k", 1500)])
def test_sizes(text, count):
    assert arguments.size(text) == count


@pytest.mark.parametrize("text, seconds",
                         [("30d", 30 * 86400), ("12h", 43200), ("90m", 5400), ("45s", 45), ("2w", 1209600)])
def test_ages(text, seconds):
    assert arguments.age(text) == seconds


def test_a_table_fits_the_terminal_and_counts_wide_characters():
    lines = dialogue.table(["NAME", "PROJECT"],
                           [["学习率扫描_余弦退火_第二轮", "image_classification"], ["a", "b"]], 30)
    assert all(terminal.cells(line) <= 30 for line in lines)
    assert terminal.fit("学习率扫描", 6) == "学习… "


def test_what_another_machine_sent_can_not_steer_the_terminal():
    hostile = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b5n\x1bc\r\b"
    assert "\x1b" not in terminal.clean(hostile)
    coloured = terminal.coloured(hostile)
    assert "\x1b[31mred\x1b[0m" in coloured
    assert not any(c in coloured for c in ("\x1b]", "\x1b[2J", "\x9b", "\x07", "\b", "\x1bc"))


def test_nobody_at_the_terminal_means_no():
    with pytest.raises(UsageError, match="--yes"):
        dialogue.confirm("Delete?")


def test_text_for_people():
    assert [dialogue.size_text(n) for n in (832, 1200, 10**9)] == ["832 B", "1.2 kB", "1.0 GB"]
    assert [terminal.duration_text(s) for s in (45, 725, 12000, 187200)] == [
        "45s", "12m 5s", "3h 20m", "2d 4h"]
    assert (dialogue.spark([0, 1, None, float("nan"), 2]) == "▁▅  █"
            or dialogue.spark([0, 1, None, float("nan"), 2]) == "▁▄  █")
    assert dialogue.spark([]) == "" and dialogue.spark([3, 3]) == "▁▁"


# -- tail ----------------------------------------------------------------------------------------------------

def make_run(root, run_id="20250123_180000_abc123", name="resnet50"):
    """A run in the middle of a line of its log and of its events."""
    return run_folder(root, f"vision/{name}/runs/{run_id}", {
        "meta.json": {"id": run_id, "project": "vision", "name": name, "hostname": "gpu-01", "format": 1},
        "status.json": {"status": "running", "started_at": 100},
        "logs.txt":
        "[2025-01-23 18:30:45+0000] Epoch 0\n[2025-01-23 18:30:46+0000] 10%\r[2025-01-23 18:30:47+0000] 20%",
        "events.jsonl": '{"ts":1.0,"step":7,"data":{"loss":0.5}}\n{"ts":2.0,"step":8,"da'})


def test_tail_shows_the_end_then_what_comes_then_the_end_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    folder = make_run(tmp_path)
    process = subprocess.Popen([sys.executable, "-m", "runicorn", "tail", "resnet50/20250123_180000_abc123",
                                "--root", str(tmp_path)],
                               stdout=subprocess.PIPE, text=True)
    first = [process.stdout.readline() for _ in range(3)]
    assert first[1:] == ["[18:30:45] Epoch 0\n", "· step 7  loss=0.5\n"]
    with open(folder / "logs.txt", "a") as log:
        log.write("\r[2025-01-23 18:30:48+0000] 100%\n")
    assert process.stdout.readline() == "[18:30:48] 100%\n"
    with open(folder / "logs.2.txt", "w") as log:
        log.write("[2025-01-23 18:31:00+0000] resumed\n")
    assert process.stdout.readline() == "[18:31:00] resumed\n"
    with open(folder / "events.jsonl", "a") as events:
        events.write('ta":{"loss":0.25}}\n')
    (folder / "status.json").write_text('{"status": "finished", "started_at": 100, "ended_at": 160}')
    assert process.communicate(timeout=30)[0] == "· step 8  loss=0.25\n— finished after 1m 0s\n"
    assert process.returncode == 0


def test_tail_says_when_a_run_gives_no_sign_of_life(tmp_path):
    folder = make_run(tmp_path)
    live = tmp_path / ".runicorn" / "live" / f"{folder.name}.json"
    live.parent.mkdir(parents=True)
    live.write_text("{}")
    following = Tail(str(folder))
    following.one_pass(0.0)
    assert following.one_pass(179.0) == []
    os.utime(live, (1, 1))                                      # a heartbeat
    assert following.one_pass(181.0) == [] and following.one_pass(360.0) == []
    silent, = following.one_pass(361.0)
    assert "no sign of life for 3m 0s" in silent
    assert following.one_pass(362.0) == []                      # said once
    with open(folder / "events.jsonl", "ab") as events:
        events.write(b'ta":{"loss":0.25}}\n')
    assert following.one_pass(363.0) == ["· step 8  loss=0.25"]


def test_tail_goes_on_with_a_log_that_was_replaced_or_cut(tmp_path):
    folder = make_run(tmp_path)
    log = folder / "logs.txt"
    log.write_text("".join(f"old {number}\n" for number in range(1000)))
    following = Tail(str(folder), lines=2)
    assert following.one_pass(0.0)[:2] == ["old 998", "old 999"]
    (folder / "beside").write_text("new 1\nnew 2\n")
    os.replace(folder / "beside", log)
    assert following.one_pass(1.0) == ["new 1", "new 2"]
    os.truncate(log, 0)
    assert following.one_pass(2.0) == []
    log.write_text("third 1\nhalf")
    assert following.one_pass(3.0) == ["third 1"]
    (folder / "beside").write_bytes(log.read_bytes() + b" a line\n")          # as the mirror brings it whole
    os.replace(folder / "beside", log)
    assert following.one_pass(4.0) == ["half a line"]


def test_tail_reads_the_end_of_the_newest_of_many_attempts_only(tmp_path, monkeypatch):
    folder = make_run(tmp_path)
    for attempt in (2, 3, 10):
        (folder / f"logs.{attempt}.txt").write_text(f"line of {attempt}\n" * 100_000)
    following = Tail(str(folder), lines=3)
    assert following.one_pass(0.0)[:3] == ["line of 10"] * 3
    assert following._files["logs"].offset == (folder / "logs.10.txt").stat().st_size
    (folder / "logs.11.txt").write_text("begins\n")
    assert following.one_pass(1.0) == ["begins"]


def test_what_a_server_named_steers_no_terminal(capsys):
    assert cli.refuse("2 runs:\n\x1b]0;title\x07p/n\n\u202eend", 2) == 2
    assert capsys.readouterr().err == "runicorn: 2 runs:\n ]0;title p/n\n end\n"


def test_tail_takes_the_run_that_was_made_last_whatever_its_id(tmp_path, capsys):
    def newest():
        assert cli.main(["tail", "--root", str(tmp_path), "--no-follow"]) == 0
        return capsys.readouterr().out

    for run_id, created in (("20260101_120000_aaaaaa", 1767268800), ("zz-sweep", 1700000000),
                            ("20260101_190000_bbbbbb", 1767265200)):
        run_folder(tmp_path, f"p/n/runs/{run_id}", {"meta.json": {"id": run_id, "created_at": created}})
    assert "20260101_120000_aaaaaa" in newest()         # seven hours east, the other was made an hour before
    (tmp_path / "p" / "n" / "runs" / "a-run").mkdir()
    assert "a-run" in newest()


def test_tail_names_the_candidates_when_a_name_is_not_enough(tmp_path, capsys):
    make_run(tmp_path)
    make_run(tmp_path, name="vgg16")
    assert cli.main(["tail", "20250123_180000_abc123", "--root", str(tmp_path), "--no-follow"]) == 2
    assert "vision/vgg16/20250123_180000_abc123" in capsys.readouterr().err
    assert cli.main(["tail", "vgg16/20250123_180000_abc123", "--root", str(tmp_path), "--no-follow"]) == 0


def test_tail_runs_on_the_servers_bare_python(tmp_path):
    make_run(tmp_path)
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from runicorn.cli.main import main; "
            "sys.exit(main(sys.argv[2:]))")
    done = subprocess.run([sys.executable, "-S", "-I", "-c", code, str(Path(cli.__file__).parents[2]), "tail",
                           "--no-follow", "--root", str(tmp_path)], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0 and "Epoch 0" in done.stdout, done.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_tail_says_what_a_mirror_has_not_fetched_of_a_log_and_of_the_metrics(tmp_path, capsys, rank):
    folder = make_run(tmp_path)
    log, events = (folder / (name if not rank else name.replace(".", ".rank1."))
                   for name in ("logs.txt", "events.jsonl"))
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    events.write_text(
        "".join(f'{{"ts": 1, "step": {number}, "data": {{"loss": 1}}}}\n' for number in range(1000)))
    (folder / "status.json").write_text('{"status": "finished"}')
    (tmp_path / ".index").mkdir()
    manifest.save(manifest.build(tmp_path), tmp_path / ".index/full.json")
    command = f"tail --root {tmp_path} --rank {rank} --lines 1 {folder.name}".split()
    assert cli.main(command) == 0 and "fetched" not in capsys.readouterr().out
    os.truncate(log, log.stat().st_size - 8)
    assert cli.main(command) == 0
    assert capsys.readouterr().out.count(f"· the last 8 B of {log.name} have not been fetched\n") == 1
    events.unlink()
    assert cli.main(command + ["--no-follow"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.endswith("have not been fetched") for line in out[-3:]] == [True, True, False]
    assert f"of {events.name} have" in out[-3] and out[-1].startswith("— finished")
