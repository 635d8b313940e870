"""What may not be read in a local root is said by the commands, hides nothing else, and is there as soon as
it may be read."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from nobody import PYTHON, needs_root, open_path  # noqa: F401
from pairs import RUN, make_run, write

import runicorn

pytestmark = needs_root         # a mode binds another user only
NOBODY = 65534
ID, OTHER = RUN.rpartition("/")[2], "20250124_180000_abc124"


@pytest.fixture
def root(open_path):
    """A root of two runs, and beside it what runs commands as another user."""
    folder = open_path / "root"
    run = make_run(folder)
    make_run(folder, f"p/n/runs/{OTHER}")
    write(run / "media" / "1.png", b"png")
    (folder / ".runicorn" / "live").mkdir(parents=True)
    (open_path / "home").mkdir()
    shutil.copytree(Path(runicorn.__file__).parent, open_path / "code" / "runicorn",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for path in (open_path / "home", folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return folder


def said(root, *words):
    """Return what a command says to another user: (its exit code, stdout and stderr)."""
    home = str(root.parent / "home")
    found = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", PYTHON,
                            "-m", "runicorn", *words],
                           env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": home,
                                "RUNICORN_HOME": home},
                           cwd=root.parent / "code", capture_output=True, text=True, timeout=60)
    assert "Traceback" not in found.stderr
    return found.returncode, found.stdout + found.stderr


def test_files_that_may_not_be_read_hide_no_run(root):
    closed = [root / RUN / name for name in ("status.json", "events.jsonl", "logs.txt")]
    closed += [root / "p/n/runs" / OTHER / name for name in ("meta.json", "summary.json")]
    times = {path: path.stat() for path in closed}
    for path in closed:
        path.chmod(0)
    told = said(root, "runs", "--root", str(root))[1]
    assert ID in told and OTHER in told
    for run_id, names in ((ID, ("events.jsonl", "logs.txt", "status.json")),
                          (OTHER, ("meta.json", "summary.json"))):
        told = said(root, "show", run_id, "--root", str(root))[1]
        assert [name for name in names if f"! {name}: it can't be read: permission denied" not in told] == []
    assert "logs.txt can't be read" in said(root, "tail", ID, "--root", str(root), "--no-follow")[1]
    for path, before in times.items():
        path.chmod(0o644)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    whole = said(root, "show", ID, "--root", str(root))[1]
    assert "✓ finished" in whole and "!" not in whole and "loss" in whole


@pytest.mark.long
def test_folders_that_may_not_be_read_are_counted_and_stop_nothing(root):
    closed = [root / "p/n/runs" / OTHER, root / "q/n", root / "r", root / ".runicorn" / "live"]
    for path in closed:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0)
    told = said(root, "runs", "--root", str(root))[1]
    assert ID in told and OTHER not in told
    assert f"3 folders below {root} can't be read: permission denied" in told
    found = said(root, "check", str(root))[1]
    lines = [f"p/n/runs/{OTHER}: can't be listed: Permission denied",
             ".runicorn/live: can't be listed: Permission denied"]
    assert ([line for line in [*lines, "2 unreadable: passed over", f"{RUN}/meta.json"] if line not in found]
            == [])
    root.chmod(0)
    told = said(root, "runs", "--root", str(root))[1]
    assert f"1 folder below {root} can't be read: permission denied" in told and "no runs yet" not in told
    root.chmod(0o755)
