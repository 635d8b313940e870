"""Windows' way with files that somebody has open, shown anywhere by refusals that are handed in; locks; long
paths; junctions."""

import ast
import errno
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import sources
from refusals import Refusals
from small_runs import write_run
from waiting import until

import runicorn
from runicorn import disk, layout, local_disk, local_names, manifest, settings
from runicorn.connections import sync_log
from runicorn.errors import BusyError, LayoutError
from runicorn.metrics import column_cache
from runicorn.mirror import local_copy, quota
from runicorn.viewer import access


@pytest.fixture
def run(tmp_path):
    run = runicorn.init(project="p", name="n", storage=tmp_path / "root", capture=False, system=False)
    run.log({"loss": 1.0})
    yield run
    run.finish()


# -- replacing -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("winerror", [5, 32, 33, 1224])
def test_a_file_that_is_open_is_replaced_when_its_reader_closes_it(tmp_path, monkeypatch, winerror):
    refusals = Refusals(monkeypatch, "replace", 3, winerror)
    layout.replace_file(tmp_path / "status.json", b"{}")
    assert (tmp_path / "status.json").read_bytes() == b"{}" and refusals.tries == 4


def test_other_refusals_are_final_at_once(tmp_path, monkeypatch):
    refusals = Refusals(monkeypatch, "replace", 1, winerror=17)
    with pytest.raises(PermissionError):
        layout.replace_file(tmp_path / "status.json", b"{}")
    assert refusals.tries == 1 and not list(tmp_path.iterdir())         # nothing half is left beside it
    (tmp_path / "folder").mkdir()
    refusals = Refusals(monkeypatch, "replace", 1)
    with pytest.raises(PermissionError):
        disk.replace(tmp_path / "status.json", tmp_path / "folder")     # which no reader makes room for
    assert refusals.tries == 1


def test_patience_ends(tmp_path, monkeypatch):
    refusals = Refusals(monkeypatch, "replace", 10**9)
    began = time.monotonic()
    with pytest.raises(PermissionError):
        layout.replace_file(tmp_path / "a", b"", seconds=0.05)
    assert refusals.tries > 1 and time.monotonic() - began >= 0.04 and not list(tmp_path.iterdir())


class Closed:
    """Stands for a function that opens or reads a file, which Windows refuses `count` times while the file is
    replaced."""

    def __init__(self, act, name, count=2, winerror=5):
        self.act, self.name, self.count, self.winerror, self.tries = act, name, count, winerror, 0

    def __call__(self, path, *more, **words):
        if os.path.basename(path) == self.name:
            self.tries += 1
            if self.tries <= self.count:
                error = PermissionError(13, "Access is denied", os.fspath(path))
                error.winerror = self.winerror
                raise error
        return self.act(path, *more, **words)


@pytest.mark.parametrize("winerror", [5, 32])
def test_a_file_that_is_being_replaced_is_read_a_moment_later(tmp_path, monkeypatch, winerror):
    """To a page that asks just then a connection would have no state, a mirror no runs, the settings an
    error."""
    home = tmp_path / "home"
    settings.save_preferences(home, {"locale": "zh"})
    token = access.lasting_token(home)
    write_run(tmp_path / "root", "p", "n", "20250101_000000_abcdef")
    manifest.save(manifest.build(str(tmp_path / "root")), str(tmp_path / "full.json"))
    closed = [Closed(open, "full.json", winerror=winerror), Closed(os.open, "meta.json", winerror=winerror)]
    for name in ("config.json", "token"):
        closed.append(Closed(closed[-1], name, winerror=winerror))
    monkeypatch.setattr(disk, "BRIEF", 10.0)        # a machine with other work may not come back within 20 ms
    monkeypatch.setattr(manifest, "open", closed[0], raising=False)
    monkeypatch.setattr(os, "open", closed[-1])
    assert layout.read_json(tmp_path / "root" / "p" / "n" / "runs" / "20250101_000000_abcdef"
                            / "meta.json")["project"] == "p"
    assert len(manifest.load(str(tmp_path / "full.json"))) == 1
    assert settings.preferences(home)["locale"] == "zh"
    assert access.lasting_token(home) == token
    assert [one.tries for one in closed] == [3, 3, 3, 3]


def test_the_manifest_which_travels_alone_has_the_same_function(tmp_path, monkeypatch):
    copies = [node for module in (disk, manifest)
              for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body
              if getattr(node, "name", "") == "patiently"]
    assert len(copies) == 2 and ast.dump(copies[0]) == ast.dump(copies[1])
    write_run(tmp_path / "root", "p", "n", "20250101_000000_abcdef")
    refusals = Refusals(monkeypatch, "replace", 2)
    assert manifest.main([str(tmp_path / "root")]) == 0 and refusals.tries > 2


def test_no_other_module_replaces_renames_deletes_or_locks():
    """They stand in disk.py and, for the laptop, local_disk.py, and in the manifest's copy."""
    calls = {}
    for name in sources.paths():
        for node in sources.nodes(name):
            if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (
                    node.value.id == "os" and node.attr in ("replace", "rename", "unlink", "remove", "rmdir")
                    or node.value.id == "shutil" and node.attr in ("rmtree", "move")
                    or node.value.id in ("fcntl", "msvcrt")
                    and node.attr in ("flock", "lockf", "locking"))
                or isinstance(node, ast.Attribute) and node.attr == "unlink"):
                calls.setdefault(name, set()).add(node.attr)
    assert calls.pop("disk") == {"replace", "rename", "unlink", "rmdir"}
    assert calls.pop("local_disk") == {"unlink", "rmdir", "flock", "locking"}
    assert calls.pop("manifest") == {"replace", "unlink"}
    assert calls.pop("cli/demo") == {"rmtree"}          # of its own scratch folder, where what stays is the
                                                        # system's to clear
    assert calls.pop("cli/demo_sshd") == {"rmdir"}      # of the folder that sshd wants, if it was made for it
    assert not calls


# -- in a training -------------------------------------------------------------------------------------------

def test_a_training_waits_20_ms_at_most_and_its_daemon_thread_goes_on(run, monkeypatch, capsys):
    """The training's thread has a clock of its own, which only its pauses move: how fast this machine is
    decides nothing."""
    refusals = Refusals(monkeypatch, "replace", 12, only="summary.json")
    waits, clock, trainer = [], SimpleNamespace(monotonic=time.monotonic,
                                                sleep=time.sleep), threading.get_ident()

    def sleep(seconds):
        if threading.get_ident() == trainer:
            waits.append((seconds, refusals.tries))
        else:
            clock.sleep(seconds)
    monkeypatch.setattr(disk, "time",
                        SimpleNamespace(sleep=sleep, monotonic=lambda: sum(wait for wait, _ in waits) if (
                            threading.get_ident() == trainer) else clock.monotonic()))
    run.summary({"best": 1})
    assert 0.01 <= sum(wait for wait, _ in waits) <= 0.02
    assert [tries for _, tries in waits] == list(range(1, len(waits) + 1))
    until(lambda: (layout.read_json(run.dir / "summary.json") or {}).get("best") == 1)
    assert refusals.tries > 12
    assert capsys.readouterr().err == ""            # a reader that was at it for a moment is nothing to tell


def test_a_reader_that_never_lets_go_is_told_of_once(run, monkeypatch, capsys):
    Refusals(monkeypatch, "replace", 10**9, only="summary.json")
    monkeypatch.setattr("runicorn.writer.jsonfile.PAUSE_SECONDS", 0.001)
    run.summary({"best": 1})
    assert until(lambda: capsys.readouterr().err).count("summary.json") == 1
    monkeypatch.undo()


def test_the_verdict_waits_for_its_readers(run, monkeypatch):
    refusals = Refusals(monkeypatch, "replace", 40, only="status.json")
    run.finish()
    assert layout.read_json(run.dir / "status.json")["status"] == "finished" and refusals.tries == 41


def test_a_run_begins_again_while_its_status_is_read(tmp_path, monkeypatch):
    first = runicorn.init(project="p", name="n", storage=tmp_path, capture=False, system=False)
    first.finish(1)
    refusals = Refusals(monkeypatch, "replace", 6, only="status.json")
    with runicorn.init(project="p", name="n", storage=tmp_path, id=first.id, resume="must", capture=False,
                       system=False) as second:
        assert second.id == first.id
        until(lambda: layout.read_json(second.dir / "status.json")["status"] == "running")
        assert refusals.tries > 6


# -- on the laptop -------------------------------------------------------------------------------------------

def test_the_column_cache_and_its_trimming_do_not_fail(tmp_path, monkeypatch):
    Refusals(monkeypatch, "replace", 2)
    column_cache._write(str(tmp_path / "columns" / "a"), {}, [])
    assert (tmp_path / "columns" / "a").is_file()
    (tmp_path / "columns" / "b").write_bytes(b"x" * 100)
    Refusals(monkeypatch, "unlink", 10**9, 32, only="b")        # another viewer reads it
    column_cache.trim(tmp_path / "columns", 0)
    assert [path.name for path in (tmp_path / "columns").iterdir()] == ["b"]


def test_a_mirror_is_dropped_whole_though_windows_keeps_the_lock_while_it_is_open(tmp_path, monkeypatch):
    """The lock file can't be deleted while we hold it; what can be deleted goes, and the rest when the lock
    is given back."""
    mirror = local_copy.LocalCopy(tmp_path / "cache" / "gpu")
    mirror.lock()
    mirror.unlock()
    (mirror.folder / "p" / "n").mkdir(parents=True)
    (mirror.folder / "p" / "n" / "x").write_bytes(b"x")
    unlink, held = os.unlink, []
    opened = local_disk.try_lock
    monkeypatch.setattr(local_disk, "try_lock",
                        lambda descriptor: held.append(descriptor) or opened(descriptor))

    def refuse(path, *more, **words):
        if os.fspath(path).endswith("lock"):
            try:
                os.fstat(held[0])
            except OSError:
                pass            # closed by now
            else:
                error = PermissionError(13, "The process cannot access the file", os.fspath(path))
                error.winerror = 32
                raise error
        return unlink(path, *more, **words)
    monkeypatch.setattr(os, "unlink", refuse)
    quota.drop_mirror(mirror.folder)
    assert held and not mirror.folder.exists()


def test_what_can_be_deleted_is_though_something_is_open(tmp_path, monkeypatch):
    for name in ("a", "b", "c/d", "c/e"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(b"")
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "kept").write_bytes(b"")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "aside")
    monkeypatch.setattr(local_disk, "remove", lambda path: disk.patiently(os.unlink, path, seconds=0.0))
    Refusals(monkeypatch, "unlink", 10**9, 32, only=f"c{os.sep}d")
    with pytest.raises(PermissionError):
        local_disk.remove_tree(str(tmp_path / "tree"))
    assert sorted(path.name for path in (tmp_path / "tree").rglob("*")) == ["c", "d"]
    assert (tmp_path / "aside" / "kept").exists()


def test_a_folder_whose_last_file_goes_with_its_reader_is_deleted(tmp_path, monkeypatch):
    (tmp_path / "tree" / "runs").mkdir(parents=True)
    (tmp_path / "tree" / "runs" / "x").write_bytes(b"")
    refusals = Refusals(monkeypatch, "rmdir", 3, 145, only="runs")
    local_disk.remove_tree(str(tmp_path / "tree"))
    assert refusals.tries == 4 and not (tmp_path / "tree").exists()


def test_a_folder_that_readers_hold_is_renamed_when_they_let_go(tmp_path, monkeypatch):
    mirror = local_copy.LocalCopy(tmp_path / "gpu")
    mirror.lock()
    assert mirror.claim({"host": "a", "user": "u", "port": 22, "root": "/r",
                         "host_key": ""}) == local_copy.SAME
    Refusals(monkeypatch, "rename", 3)
    assert mirror.claim({"host": "b", "user": "u", "port": 22, "root": "/r",
                         "host_key": ""}) == local_copy.NEW
    assert (tmp_path / "gpu~1").is_dir() and (tmp_path / "gpu" / ".index" / "lock").exists()
    mirror.unlock()


# -- locks ---------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from runicorn.mirror import local_copy as cache
mirror = cache.LocalCopy(sys.argv[1])
mirror.lock()
print(flush=True)
sys.stdin.read()
"""


def test_a_lock_is_a_few_bytes_and_says_whose_it_is_while_it_is_held(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "gpu")], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        mirror = local_copy.LocalCopy(tmp_path / "gpu")
        assert mirror.owner() == holder.pid and (mirror.index / "lock").stat().st_size < 20
        with pytest.raises(BusyError, match=f"process {holder.pid}"):
            mirror.lock()
    finally:
        holder.communicate(b"")
    assert mirror.lock()
    assert mirror.owner() == os.getpid()
    mirror.unlock()


def test_a_lock_of_windows_lies_beyond_what_is_written(tmp_path, monkeypatch):
    """Windows hides the locked bytes from all others, and a file that is written where its lock lies is as
    long as that is far."""
    asked = []
    monkeypatch.setattr(local_disk, "WINDOWS", True)
    monkeypatch.setitem(sys.modules, "msvcrt",
                        SimpleNamespace(LK_NBLCK=2, locking=lambda descriptor, mode, size: asked.append(
                            (os.lseek(descriptor, 0, os.SEEK_CUR), mode, size))))
    mirror = local_copy.LocalCopy(tmp_path / "gpu")
    mirror.lock()
    assert asked == [(local_disk.FAR, 2, 1)]
    assert (mirror.index / "lock").read_bytes() == str(os.getpid()).encode()
    mirror.unlock()


def test_a_huge_lock_of_an_earlier_version_is_cut_and_not_read_whole(tmp_path):
    mirror = local_copy.LocalCopy(tmp_path / "gpu")
    mirror.index.mkdir(parents=True)
    with open(mirror.index / "lock", "wb") as file:
        file.truncate(1 << 30)
    assert mirror.owner() is None
    mirror.lock()
    assert (mirror.index / "lock").stat().st_size < 20 and mirror.owner() == os.getpid()
    mirror.unlock()


def test_whoever_waits_for_a_lock_gets_it_or_is_told(tmp_path):
    turns = []

    def take(number):
        with local_disk.locked(tmp_path / "config.json"):
            turns.append(number)
            time.sleep(0.01)
            turns.append(number)
    threads = [threading.Thread(target=take, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(turns) == 10 and turns[::2] == turns[1::2]
    with local_disk.locked(tmp_path / "config.json"), pytest.raises(TimeoutError, match="another process"), \
            local_disk.locked(tmp_path / "config.json", seconds=0.05):
        pass


def test_two_processes_share_the_log_over_its_rotation(tmp_path, monkeypatch):
    """Every line of both is there: none holds the file open, so it can be renamed under neither."""
    monkeypatch.setattr(sync_log, "LOG_BYTES", 1200)
    first, second = (sync_log.opened(tmp_path, lambda: ["sesame"]) for _ in range(2))
    for number in range(40):
        for name, logger in (("a", first), ("b", second)):
            logging.LoggerAdapter(logger, {"connection": name}).info("event %d with sesame", number)
    files = sorted((tmp_path / "logs").glob("sync.log*"), reverse=True)
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(files) > 2 and all(file.stat().st_size <= 1200 for file in files)
    assert [line.split("] ")[1] for line in lines][-8:] == [
        f"event {number} with ***" for number in (36, 36, 37, 37, 38, 38, 39, 39)]


# -- links and long paths ------------------------------------------------------------------------------------

SHARE_TAG, CLOUD = 0xA0000003, 0x9000001A       # a junction, a file that OneDrive keeps elsewhere


@pytest.mark.parametrize("mode, tag, expected", [
    (0o120777, 0xA000000C, True), (0o040777, SHARE_TAG, True), (0o100666, CLOUD, False),
    (0o040777, 0, False), (0o120777, None, True)])
def test_a_junction_is_a_link_to_python_before_3_12_too(mode, tag, expected):
    status = (SimpleNamespace(st_mode=mode) if tag is None
              else SimpleNamespace(st_mode=mode, st_reparse_tag=tag))
    assert local_disk.stands_for_another(status) is expected


def test_no_mirrored_path_passes_a_junction(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    lstat = os.lstat
    monkeypatch.setattr(local_disk.os, "lstat",
                        lambda path: SimpleNamespace(st_mode=0o040777, st_reparse_tag=SHARE_TAG)
                        if os.fspath(path).endswith("project") else lstat(path))
    with pytest.raises(LayoutError, match="link"):
        local_names.local_path(tmp_path, "project/name/runs/id")
    assert local_copy.LocalCopy(tmp_path).stat("project/name/runs/id", "meta.json") is None


@pytest.mark.parametrize("path, expected", [
    ("C:\\Users\\me\\.runicorn", "\\\\?\\C:\\Users\\me\\.runicorn"),
    ("C:/Users/me/../you", "\\\\?\\C:\\Users\\you"),
    ("\\\\server\\share\\x", "\\\\?\\UNC\\server\\share\\x"), ("\\\\?\\C:\\x", "\\\\?\\C:\\x")])
def test_a_path_of_any_length(path, expected):
    assert local_disk.long(path, windows=True) == expected
    assert local_disk.long(path, windows=False) == path
    assert local_disk.short(expected, windows=True) == (
        path.replace("/", "\\").replace("me\\..\\", "") if "?" not in path else "C:\\x")


def test_a_path_too_long_for_windows_keeps_its_prefix():
    path = "\\\\?\\C:\\" + "x" * 200
    assert local_disk.short(path, windows=True) == path


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK], ids=errno.errorcode.get)
def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch, number):
    fcntl = pytest.importorskip("fcntl")

    def refused(*_):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(fcntl, "flock", refused)
    with local_disk.locked(tmp_path / "config.json", seconds=0.05):
        (tmp_path / "config.json").write_text("{}")
