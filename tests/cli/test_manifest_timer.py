"""What `manifest --install` makes, taken by the real thing: systemd's own checker, a real crontab, the rules
of a Windows command line."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import run_folder

from runicorn import manifest, manifest_timer
from runicorn.errors import UsageError

NAMES = ["experiments", 'runs of "Ann", 100% $HOME\\new \'s']


@pytest.fixture(params=NAMES, ids=["plain", "awkward"])
def root(tmp_path, request):
    """A root with one run, whose name may need every kind of quoting."""
    meta = {"format": 1, "id": "20250123_180000_abc123", "project": "vision", "name": "resnet50"}
    run_folder(tmp_path / request.param, f"vision/resnet50/runs/{meta['id']}", {"meta.json": meta})
    return tmp_path / request.param


def indexed(root):
    return (root / ".runicorn" / "full_manifest.json").is_file()


# -- systemd -------------------------------------------------------------------------------------------------

def unit_files(said, below):
    """Write the printed units below a folder, each at its path; returns the paths."""
    paths = []
    for path, content in re.findall(r"^# (/\S+)\n(.*?)\n(?=\n# |\Z)", said, re.M | re.S):
        paths.append(below / path.lstrip("/"))
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_text(content + "\n")
    return paths


def exec_words(service):
    """Return the words of ExecStart as systemd.service(5) says: quoted, C escapes, %% and $$ for
    themselves."""
    line = re.search(r"^ExecStart=(.*)$", service, re.M)[1]
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r'"((?:[^"\\]|\\.)*)"', line)]
    assert not [word for word in words
                if re.search(r"(?<!%)%(?:%%)*(?!%)|(?<!\$)\$(?:\$\$)*(?!\$)", word)], line
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


@pytest.mark.few(2)
@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
def test_systemd_accepts_and_enables_the_timer(root, tmp_path, user, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000 if user else 0)
    monkeypatch.setenv("SUDO_USER", "daemon")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))        # as a login gives it
    assert manifest.main(["--root", str(root), "--install", "systemd"]) == 0
    service, timer = unit_files(capsys.readouterr().out, tmp_path / "machine")
    assert [path.name for path in (service, timer)] == [
        "runicorn-manifest.service", "runicorn-manifest.timer"]
    assert ("/.config/systemd/user/" in str(service)) == user
    assert ("User=daemon" in service.read_text()) == (not user)
    scope = ["--user"] if user else []
    for unit in (service, timer):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *scope, str(unit)],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "runicorn-manifest" not in done.stderr, done.stderr
    assert subprocess.run(exec_words(service.read_text()), stdout=subprocess.DEVNULL,
                          timeout=60).returncode == 0
    assert indexed(root)
    if not user:            # the guide's line; --root stands for the machine
        subprocess.run(["systemctl", f"--root={tmp_path / 'machine'}", "enable", timer.name], check=True,
                       capture_output=True)
        link = tmp_path / "machine/etc/systemd/system/timers.target.wants/runicorn-manifest.timer"
        assert link.is_symlink() and Path(os.readlink(link)).name == timer.name


# -- cron ----------------------------------------------------------------------------------------------------

@pytest.fixture
def table(tmp_path, monkeypatch):
    """table() returns the lines of nobody's real crontab, which is what `crontab` reaches; it is put back at
    the end."""
    if os.geteuid():
        pytest.skip("only root may use another user's crontab")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "crontab").write_text(
        f'#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups {shutil.which("crontab")} "$@"\n'
        '')
    (tmp_path / "bin" / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def lines(option="-l", text=None):
        done = subprocess.run(["crontab", option], input=text, capture_output=True, text=True, cwd="/")
        return done.stdout.splitlines() if done.returncode == 0 else []
    before = lines()
    lines("-", "0 4 1 1 * true\n")
    yield lines
    lines("-", "\n".join(before) + "\n") if before else lines("-r")


def test_a_real_crontab_takes_the_line_once_and_keeps_what_was_there(root, table, capfd):
    for _ in range(2):
        assert manifest_timer.install("cron", str(root), yes=True) == 0, capfd.readouterr().err
    first, line = table()
    assert first == "0 4 1 1 * true" and line.startswith("*/5 * * * * ")
    # crontab(5): a plain % would end the command
    command = line.split(" ", 5)[5].replace("\\%", "%")
    assert shlex.split(command)[-1] == str(root)
    assert subprocess.run(["sh", "-c", command], stdout=subprocess.DEVNULL, timeout=60).returncode == 0
    assert indexed(root)


# -- Windows -------------------------------------------------------------------------------------------------

def windows_words(line):
    """Split a command line as Windows programs do (Microsoft: "Parsing C command-line arguments")."""
    words, word, quoted, slashes, begun = [], "", False, 0, False
    for mark in line + " ":
        if mark == "\\":
            slashes, begun = slashes + 1, True
            continue
        word += "\\" * (slashes // 2 if mark == '"' else slashes)
        if mark == '"':
            word, quoted, begun = (word + '"', quoted, True) if slashes % 2 else (word, not quoted, True)
        elif mark == " " and not quoted:
            words, word, begun = words + ([word] if begun else []), "", False
        else:
            word, begun = word + mark, True
        slashes = 0
    return words


@pytest.mark.parametrize("folder", ["D:\\experiments", "D:\\my runs", "D:\\", "E:\\my runs\\"])
def test_the_windows_task_runs_the_same_words(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "executable", "C:\\Program Files\\Python\\python.exe")
    assert manifest_timer.install("schtasks", folder, yes=False) == 0
    task = windows_words(capsys.readouterr().out.rstrip("\n"))
    assert task[:8] == ["schtasks", "/Create", "/F", "/SC", "MINUTE", "/MO", "5", "/TN"] and task[9] == "/TR"
    assert windows_words(task[10]) == [
        sys.executable, str(Path(manifest_timer.__file__).with_name("manifest.py")), "--root", folder]


def task_name(root, capsys):
    assert manifest_timer.install("schtasks", root, yes=False) == 0
    return windows_words(capsys.readouterr().out.rstrip("\n"))[8]


def test_every_root_has_a_windows_task_of_its_own(capsys):
    roots = ["D:\\runs", "E:\\runs", "D:\\my runs", "D:\\my-runs", "D:\\my\\runs", "\\\\server\\share\\runs",
             "D:\\", "D:\\\u9879\u76ee", "D:\\\u9879\u6728",
             "D:\\" + "x" * 90 + "\\a", "D:\\" + "x" * 90 + "\\b"]
    names = [task_name(root, capsys) for root in roots]
    assert len(set(names)) == len(roots)
    assert all(name.startswith("Runicorn manifest ") and not re.search(r'[\\/:*?"<>|]', name)
               and len(name) < 100 for name in names), names
    # One folder, written in other ways, keeps one task: a second /Create replaces the first.
    assert {task_name(root, capsys) for root in ("D:\\Runs", "d:\\runs", "D:\\runs\\", "D:/runs")} == {
        names[0]}


@pytest.mark.parametrize("name, other", [("python.exe", "pythonw.exe"), ("Python.EXE", "pythonw.EXE"),
                                         ("python3.12.exe", "pythonw3.12.exe")])
def test_a_windows_task_shows_no_console_window(tmp_path, monkeypatch, capsys, name, other):
    monkeypatch.setattr(sys, "executable", str(tmp_path / name))
    for made, expected in ((False, name), (True, other)):
        if made:
            (tmp_path / other).write_bytes(b"")
        assert manifest_timer.install("schtasks", "D:\\runs", yes=False) == 0
        command = windows_words(windows_words(capsys.readouterr().out.rstrip("\n"))[10])
        assert command[0] == str(tmp_path / expected)


@pytest.mark.parametrize("name, code", [("experiments", 0), ("absent", 1)])
def test_what_a_windowless_task_runs_needs_no_streams(tmp_path, name, code):
    (tmp_path / "experiments" / "p" / "n" / "runs" / "i").mkdir(parents=True)
    words = [str(Path(manifest_timer.__file__).with_name("manifest.py")), "--root", str(tmp_path / name),
             "--verbose"]
    script = "import runpy, sys; sys.stdin = sys.stdout = sys.stderr = None; sys.argv = sys.argv[1:]; " \
             "runpy.run_path(sys.argv[0], run_name='__main__')"
    assert subprocess.run([sys.executable, "-c", script, *words], timeout=60).returncode == code
    assert indexed(tmp_path / name) is (code == 0)


def test_a_command_that_is_too_long_for_schtasks_is_said(capsys):
    with pytest.raises(UsageError, match="261 characters"):
        manifest_timer.install("schtasks", "D:\\" + "x" * 250, yes=False)
    assert capsys.readouterr().out == ""


@pytest.mark.posix       # systemd
def test_a_second_root_has_systemd_units_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "systemd").mkdir()
    calls = []
    monkeypatch.setattr(manifest_timer, "_call", lambda words, text=b"": calls.append(words[-1]) or 0)
    for root in ("/data/a", "/data/a b", "/data/\u9879\u76ee", "/data/a", "/data/a b"):
        assert manifest_timer.install("systemd", root, yes=True) == 0
    enabled = [name for name in calls if name != "daemon-reload"]
    assert enabled[0] == enabled[3] == "runicorn-manifest.timer" and enabled[1] == enabled[4]
    assert len(set(enabled)) == 3
    services = sorted((tmp_path / ".config/systemd/user").glob("*.service"))
    assert [exec_words(path.read_text(encoding="utf-8"))[-1] for path in services].count("/data/a") == 1
    assert len(services) == 3


@pytest.mark.posix       # systemd
def test_without_a_bus_of_the_user_one_sentence_says_what_to_do(root, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nothing"))
    calls = []
    monkeypatch.setattr(subprocess, "run",
                        lambda words, **options: calls.append(words) or subprocess.CompletedProcess(words, 0))
    with pytest.raises(UsageError) as caught:
        manifest.main(["--root", str(root), "--install", "systemd", "--yes"])
    said = str(caught.value)
    assert "loginctl enable-linger" in said and "--install cron" in said and calls == []
    (tmp_path / "nothing/systemd").mkdir(parents=True)
    monkeypatch.setattr(manifest_timer.shutil, "which", lambda name: name)
    assert manifest.main(["--root", str(root), "--install", "systemd", "--yes"]) == 0
    assert calls == [["systemctl", "--user", "daemon-reload"],
                     ["systemctl", "--user", "enable", "--now", "runicorn-manifest.timer"]]
