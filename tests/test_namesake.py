"""The registry's other runicorn is recognised and told from ours, and nothing of it is imported."""

import os
import subprocess
import sys
from pathlib import Path

from runicorn import namesake
from runicorn.version import VERSION

TREE = Path(__file__).parents[1]


def other(folder, version="0.7.2", pip=True):
    """Lay out what pip leaves of the other program; its import would end the test."""
    package = folder / "runicorn"
    package.mkdir(parents=True)
    for name in ("__init__.py", "sdk.py", "_version.py"):
        (package / name).write_text("raise SystemExit('the other program was imported')\n")
    (package / "VERSION.txt").write_text(version + "\n")
    if pip:
        (folder / f"runicorn-{version}.dist-info").mkdir()
        (folder / f"runicorn-{version}.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: runicorn\nVersion: {version}\n")
    return folder


def run(tmp_path, paths, *words):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "RUNICORN_HOME": str(tmp_path / "home")}
    return subprocess.run([sys.executable, "-m", "runicorn", *words], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=env)


def test_it_is_found_by_what_pip_wrote_and_by_its_files(tmp_path):
    one, two = other(tmp_path / "one"), other(tmp_path / "two", "0.6.1", pip=False)
    ours = tmp_path / "ours"
    (ours / f"runicorn-{VERSION}.dist-info").mkdir(parents=True)
    (tmp_path / "a file").write_text("")
    assert namesake.others([ours, one, tmp_path / "a file", tmp_path / "absent", two, one, TREE]) == \
        [("0.7.2", str(one)), ("0.6.1", str(two))]


def test_later_versions_of_ours_and_other_names_are_not_taken_for_it(tmp_path):
    for name in ("runicorn-1.2.0.dist-info", "runicorn-10.0.dist-info", "runicorn_extras-0.7.2.dist-info", "unicorn-0.7.2.dist-info"):
        (tmp_path / name).mkdir()
    assert namesake.others([tmp_path]) == []


def test_version_and_import_say_it_and_do_what_they_do(tmp_path):
    folder = other(tmp_path / "site")
    done = run(tmp_path, [TREE, folder], "--version")
    assert done.returncode == 0 and done.stdout == f"runicorn {VERSION}\n"
    assert f"in {folder} is runicorn 0.7.2, another program of the same name" in done.stderr
    assert f"pip install ./runicorn-{VERSION}-py3-none-any.whl" in done.stderr
    (tmp_path / "empty").mkdir()
    done = run(tmp_path, [TREE, folder], "import", str(tmp_path / "empty"))
    assert done.returncode == 2 and "is runicorn 0.7.2, another program" in done.stderr and "holds neither" in done.stderr


def test_nothing_is_said_where_it_is_not(tmp_path):
    done = run(tmp_path, [TREE], "--version")
    assert (done.stdout, done.stderr) == (f"runicorn {VERSION}\n", "")
