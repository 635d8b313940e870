"""What a person on Windows types and reads, shown anywhere: pipes in another encoding, consoles of old, ports
that are kept, odd names."""

import errno
import functools
import io
import json
import os
import selectors
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

import runicorn
from runicorn import assets, layout, local_disk, local_names
from runicorn.cli import dialogue, tail
from runicorn.cli import main as cli
from runicorn.errors import BusyError
from runicorn.viewer import http_server
from runicorn.writer import processes, windows


class Stream(io.StringIO):
    """A text stream of an encoding, a terminal or not."""

    def __init__(self, encoding="utf-8", tty=True):
        super().__init__()
        self._encoding, self._tty = encoding, tty

    encoding = property(lambda self: self._encoding)

    def isatty(self):
        return self._tty


@pytest.mark.few("cp936")
@pytest.mark.parametrize("encoding", ["cp1252", "cp936", "utf-8", "ascii"])
def test_names_in_json_come_through_a_pipe_of_any_encoding(encoding, tmp_path):
    """A script that reads our JSON gets the name, not "???"."""
    home = tmp_path / "home"
    words = [sys.executable, "-m", "runicorn"]
    environ = {**os.environ, "RUNICORN_HOME": str(home), "PYTHONIOENCODING": encoding}
    home.mkdir()
    (home / "config.json").write_text(
        json.dumps({"connections": [{"name": "图形服务器", "host": "127.0.0.1", "user": "u"}]}))
    for command in (["config", "ssh", "list", "--json"], ["config", "show"], ["sync", "status", "--json"]):
        done = subprocess.run([*words, *command], env=environ, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60)
        assert "图形服务器" in repr([json.loads(done.stdout)]), (command, done.stdout, done.stderr)


@pytest.mark.parametrize("erased", [True, False])
def test_a_console_without_escapes_gets_blanks(monkeypatch, erased):
    monkeypatch.setattr(dialogue, "escapes", lambda stream: erased)
    monkeypatch.setenv("COLUMNS", "40")
    stream = Stream()
    line = dialogue.Line(stream)
    line.show("a long text of the first line")
    line.show("short", final=True)
    assert ("\x1b" in stream.getvalue()) is erased
    last = stream.getvalue().rstrip("\n").split("\r")[-1]
    assert last == "\x1b[Kshort" if erased else last.startswith("short ") and len(last) == 39


def test_nobody_answers_at_nul(monkeypatch):
    monkeypatch.setattr(dialogue, "is_console", lambda stream: False)
    assert not dialogue.is_terminal(Stream()) and not dialogue.is_terminal(Stream(tty=False))
    monkeypatch.undo()
    assert dialogue.is_terminal(Stream())


def test_a_window_without_a_descriptor_is_a_terminal_that_takes_no_escapes(monkeypatch):
    """IDLE's streams, those of a notebook: isatty() is true, fileno() raises."""
    monkeypatch.setattr(dialogue, "WINDOWS", True)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(get_osfhandle=lambda descriptor: descriptor))
    with pytest.raises(io.UnsupportedOperation):
        Stream().fileno()
    assert dialogue.is_terminal(Stream()) and not windows.escapes(Stream())


@pytest.mark.parametrize("mode, takes, found, made",
                         [(7, True, True, None), (3, True, True, 7), (3, False, False, 7),
                          (0, True, False, None)])
def test_escapes_are_switched_on_where_a_console_has_them(monkeypatch, mode, takes, found, made):
    """A console of Windows 10 takes them once it is told to, one of Windows 7 never; NUL and pipes are
    none."""
    asked = []
    kernel = SimpleNamespace(SetConsoleMode=lambda handle, wanted: asked.append(wanted) or takes)
    monkeypatch.setattr(windows, "console", lambda stream: (11, mode))
    monkeypatch.setattr(windows.ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert windows.escapes(Stream()) is found and asked == [made] * (made is not None)


@pytest.mark.parametrize("takes", [True, False])
def test_what_tail_draws_over_goes_only_where_it_can(monkeypatch, takes):
    monkeypatch.setattr(processes, "escapes", lambda stream: takes)
    output = tail.Output(stream := Stream())
    output.show(["\x1b[31mred\x1b[0m"], " 10%")
    output.show([], " 20%")
    output.show(["done"], "")
    shown = stream.getvalue()
    assert ("\x1b" in shown) is takes and ("20%" in shown) is takes and "red" in shown and "done\n" in shown


@pytest.mark.parametrize("error",
                         [BrokenPipeError(errno.EPIPE, "x"), OSError(errno.EINVAL, "Invalid argument")])
def test_a_reader_that_goes_away_is_no_error(monkeypatch, error, tmp_path):
    def gone(argv):
        raise error
    monkeypatch.setattr(cli, "dispatch", gone)
    monkeypatch.setattr(local_disk, "WINDOWS", True)
    with open(tmp_path / "out", "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert cli.main(["runs"]) == 141


def test_other_errors_of_that_number_are_not_hidden(monkeypatch):
    def broken(argv):
        raise OSError(errno.EINVAL, "Invalid argument", "some file")
    monkeypatch.setattr(cli, "dispatch", broken)
    assert cli.main(["runs"]) == 1


@pytest.mark.parametrize("number, winerror", [(errno.EACCES, 10013), (errno.EACCES, None)])
def test_a_port_that_the_system_keeps_is_one_sentence(monkeypatch, number, winerror):
    def refuse(self, address):
        if address[1] != 23300:
            return
        error = PermissionError(number,
                                "An attempt was made to access a socket in a way forbidden by its access "
                                "permissions")
        if winerror:
            error.winerror = winerror
        raise error
    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(BusyError, match="port 23300 .*take another: runicorn viewer --port 23301"):
        http_server.listen("127.0.0.1", 23300)


def test_our_port_is_ours_alone_where_a_system_lets_others_take_it(monkeypatch):
    asked = []
    real = socket.socket.setsockopt
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)


    def noted(self, level, option, value):
        return asked.append((level, option, value)) if option == -5 else real(self, level, option, value)
    monkeypatch.setattr(socket.socket, "setsockopt", noted)
    for listener in http_server.listen("127.0.0.1", 0):
        listener.close()
    assert (socket.SOL_SOCKET, -5, 1) in asked


def test_more_idle_sockets_than_select_takes_do_not_end_the_viewer(monkeypatch):
    """Where only select is there (Windows: 512), the oldest idle socket goes for a new one."""
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    listeners = http_server.listen("127.0.0.1", 0)
    serving = http_server.HttpServer(lambda environ, start: [], listeners)
    assert serving._most_waiting + len(listeners) + 1 <= 512
    serving.stop()


@pytest.mark.parametrize("name", [
    "D:/x", "d:x", "C:", "nul", "NUL", "aux", "con.js", "com1", "lpt9.css", "a/nul/b", "index.html:stream",
    "index.html.", "index.html ", "a\\b", "//server/share", "?/C:/x", "..", "../x", "", "a//b", "conin$",
    "x\0"])
def test_no_page_leaves_its_folder_whatever_the_system_takes_names_for(name):
    with pytest.raises(FileNotFoundError):
        assets.read(name)


def test_all_pages_are_still_read():
    names = [os.path.relpath(os.path.join(folder, name), assets._PLACES[1]).replace(os.sep, "/")
             for folder, _, files in os.walk(assets._PLACES[1])
             for name in files if not name.endswith((".pyc", ".py"))]
    assert len(names) > 20 and all(assets.read(name) is not None for name in names)


@pytest.mark.parametrize("words", [
    [os.path.join(os.path.dirname(assets.__file__), "manifest.py")], ["-m", "runicorn.manifest"],
    ["-m", "runicorn", "manifest", "--root"]])
def test_a_root_in_chinese_is_described_on_a_terminal_that_cannot_show_it(tmp_path, words):
    root = tmp_path / "\u9879\u76ee"
    root.mkdir()
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
               "PYTHONIOENCODING": "cp1252", "RUNICORN_HOME": str(tmp_path),
               "PYTHONPATH": os.path.dirname(os.path.dirname(assets.__file__))}
    done = subprocess.run([sys.executable, *words, str(root), "--verbose"], env=environ,
                          stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 0 and b"runs        0" in done.stdout and done.stderr == b""
    assert (root / ".runicorn" / "full_manifest.json").is_file()


def test_the_help_says_how_excel_reads_a_csv(capsys):
    with pytest.raises(SystemExit):
        cli.main(["export", "--help"])
    assert "byte order mark" in " ".join(capsys.readouterr().out.split())


def test_a_viewer_that_is_stopped_before_its_threads_began_ends():
    made = http_server.HttpServer(None, http_server.listen("127.0.0.1", 0))
    made.stop()
    made.serve_forever()
    assert [one.fileno() for one in made.listeners] == [-1] * len(made.listeners)


# -- names that differ in case -------------------------------------------------------------------------------

@pytest.fixture
def begin(tmp_path, monkeypatch):
    """init() as it is on a disk that takes names which differ in case for one, as far as names go."""
    monkeypatch.setattr(processes, "settle", windows.settle)
    return lambda **given: runicorn.init(storage=tmp_path / "root", capture=False, system=False, **given)


@pytest.mark.parametrize("given", [
    {"project": "VISION", "name": "ResNet"}, {"project": "Vision", "name": "RESNET"},
    {"project": "vision", "name": "resnet"}])
def test_a_run_is_resumed_by_an_id_in_another_case_where_its_folder_is_the_same(begin, tmp_path, given):
    first = begin(project="Vision", name="ResNet", id="Run-One")
    first.log({"loss": 1.0})
    first.finish()
    with begin(**given, id="RUN-one", resume="must") as again:
        again.log({"loss": 2.0})
        assert (again.id, again.project, again.name, again.attempt, again.path) == (
            "Run-One", "Vision", "ResNet", 2, first.path)
        other = begin(**given, id="run-ONE", resume="allow", reinit="create_new")
        assert other.id.lower() != "run-one", "that one is being written"
        other.finish()
    assert sorted(os.listdir(tmp_path / "root")) == [".runicorn", "Vision"]
    assert os.listdir(tmp_path / "root" / "Vision") == ["ResNet"]
    assert layout.read_json(again.dir / "meta.json")["id"] == "Run-One"


def test_a_new_run_lies_in_the_folders_that_are_there(begin, tmp_path):
    for project, name in (("Vision", "a"), ("vision", "A"), ("VISION", "a")):
        run = begin(project=project, name=name)
        live = layout.read_json(tmp_path / "root" / ".runicorn" / "live" / f"{run.id}.json")
        assert run.path.startswith("Vision/a/runs/") and live["path"] == run.path
        run.finish()
    begin(project="a/b", name="CON", id="nul").finish()
    assert begin(project="a/b", name="CON", id="nul", resume="must").attempt == 2


@pytest.mark.parametrize("name", ["aux", "AUX.tar.gz", "nul.bundle", "com1", "ab:c"])
def test_import_waits_for_no_device(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(local_names, "is_plain", functools.partial(local_names.is_plain, windows=True))
    assert cli.main(["import", name, "--root", str(tmp_path)]) == 2
    assert "no name of a file on Windows" in capsys.readouterr().err


@pytest.mark.posix
def test_import_waits_for_no_pipe(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert cli.main(["import", str(tmp_path / "pipe"), "--root", str(tmp_path)]) == 2
    assert "neither a file nor a folder" in capsys.readouterr().err
