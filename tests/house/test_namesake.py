"""The registry's other runicorn is recognised and told from ours, and nothing of it is imported."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sshd import NO_BASHRC, Sshd

from runicorn import namesake, settings
from runicorn.connections import doctor
from runicorn.ssh import remote_shell
from runicorn.version import VERSION

TREE = Path(__file__).parents[2]


def other(folder, version="0.7.2", pip=True):
    """Lay out what pip leaves of the other program; its import would end the test."""
    package = folder / "runicorn"
    package.mkdir(parents=True)
    for name in ("__init__.py", "sdk.py", "_version.py"):
        (package / name).write_text("raise SystemExit('the other program was imported')\n")
    (package / "VERSION.txt").write_text(version + "\n")
    if pip:
        (folder / f"runicorn-{version}.dist-info").mkdir()
        (folder / f"runicorn-{version}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: runicorn\nVersion: {version}\n")
    return folder


def run(tmp_path, paths, *words):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)),
           "RUNICORN_HOME": str(tmp_path / "home")}
    return subprocess.run([sys.executable, "-m", "runicorn", *words], capture_output=True, text=True,
                          timeout=60, cwd=tmp_path, env=env)


def test_it_is_found_by_what_pip_wrote_and_by_its_files(tmp_path):
    one, two = other(tmp_path / "one"), other(tmp_path / "two", "0.6.1", pip=False)
    ours = tmp_path / "ours"
    (ours / f"runicorn-{VERSION}.dist-info").mkdir(parents=True)
    (tmp_path / "a file").write_text("")
    assert namesake.others([ours, one, tmp_path / "a file", tmp_path / "absent", two, one, TREE]) == \
        [("0.7.2", str(one)), ("0.6.1", str(two))]


def test_later_versions_of_ours_and_other_names_are_not_taken_for_it(tmp_path):
    for name in ("runicorn-1.2.0.dist-info", "runicorn-10.0.dist-info", "runicorn_extras-0.7.2.dist-info",
                 "unicorn-0.7.2.dist-info"):
        (tmp_path / name).mkdir()
    assert namesake.others([tmp_path]) == []


LATER = {"sdk.py": ["__init__.py", "sdk.py", "layout.py"], "another package": ["__init__.py", "client.py"]}


@pytest.mark.parametrize("holds", LATER)
@pytest.mark.parametrize("version", ["1.0.0", "2.3"])
def test_a_later_version_of_it_is_told_by_what_it_holds(tmp_path, version, holds):
    listed = "".join(f"runicorn/{name},sha256=x,1\n" for name in LATER[holds])
    recorded, linked = tmp_path / "site", tmp_path / "linked"
    unpacked = tmp_path / f"runicorn-{version}-py3-none-any.whl"
    for folder in (recorded, linked):
        (folder / f"runicorn-{version}.dist-info").mkdir(parents=True)
    (recorded / f"runicorn-{version}.dist-info" / "RECORD").write_text(listed)
    with zipfile.ZipFile(unpacked, "w") as archive:
        for name in LATER[holds]:
            archive.writestr(f"runicorn/{name}", "")
    for name in LATER[holds]:
        (tmp_path / "checkout" / "src" / "runicorn").mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / "src" / "runicorn" / name).write_text("")
    (linked / f"runicorn-{version}.dist-info" / "direct_url.json").write_text(
        json.dumps({"url": f"file://{tmp_path / 'checkout'}", "dir_info": {"editable": True}}))
    places = [recorded, unpacked, linked]
    assert namesake.others(places) == [(version, str(place)) for place in places]


def test_a_wheel_and_an_installation_of_ours_are_none(tmp_path):
    site = tmp_path / "site"
    info = site / "runicorn-1.4.0.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text(
        "".join(f"runicorn/{path.name},,\n" for path in (TREE / "runicorn").glob("*.py")))
    wheel = tmp_path / "runicorn-1.4.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in (TREE / "runicorn").glob("*.py"):
            archive.writestr(f"runicorn/{path.name}", "")
    assert namesake.others([site, wheel]) == []


def test_version_and_import_say_it_and_do_what_they_do(tmp_path):
    folder = other(tmp_path / "site")
    done = run(tmp_path, [TREE, folder], "--version")
    assert done.returncode == 0 and done.stdout == f"runicorn {VERSION}\n"
    assert f"in {folder} is runicorn 0.7.2, another program of the same name" in done.stderr
    assert f"pip install ./runicorn-{VERSION}-py3-none-any.whl" in done.stderr
    (tmp_path / "empty").mkdir()
    done = run(tmp_path, [TREE, folder], "import", str(tmp_path / "empty"))
    assert done.returncode == 2 and "is runicorn 0.7.2, another program" in done.stderr
    assert "holds neither" in done.stderr


def editable(folder):
    """What setuptools leaves of an editable install by a finder: no package beside its record."""
    (folder / "runicorn-0.8.0.dist-info").mkdir(parents=True)
    (folder / "__editable___runicorn_0_8_0_finder.py").write_text(
        "raise SystemExit('the other program was imported')\n")


def checkout(folder):
    """An editable install by a path: the checkout's source, and a record without a version in its name."""
    (other(folder, "0.8.0", pip=False) / "runicorn.egg-info").mkdir()


def archive(folder):
    """A wheel that nobody unpacked stands on the path itself."""
    with zipfile.ZipFile(folder, "w") as wheel:
        wheel.writestr("runicorn/__init__.py", "raise SystemExit('the other program was imported')\n")


@pytest.mark.few(1)
@pytest.mark.parametrize("place, lay",
                         [("site", editable), ("src", checkout),
                          ("runicorn-0.8.0-py3-none-any.whl", archive)])
def test_it_is_told_however_it_was_installed(tmp_path, place, lay):
    lay(tmp_path / place)
    done = run(tmp_path, [TREE, tmp_path / place], "--version")
    assert done.stdout == f"runicorn {VERSION}\n"
    assert f"in {tmp_path / place} is runicorn 0.8.0, another program" in done.stderr
    bin_folder, site = venv(tmp_path / "env")
    assert looked(bin_folder, tmp_path, PYTHONPATH=str(tmp_path / place)) == ("0.8.0", str(tmp_path / place))
    (site / "theirs.pth").write_text(f"{tmp_path / place}\n")
    assert looked(bin_folder, tmp_path) == ("0.8.0", str(tmp_path / place))


def test_a_users_own_packages_are_looked_at(tmp_path):
    site = other(tmp_path / "base" / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages")
    env = {"PYTHONPATH": str(TREE), "PYTHONUSERBASE": str(tmp_path / "base"),
           "RUNICORN_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys._base_executable, "-m", "runicorn", "--version"], capture_output=True,
                          text=True, timeout=60, env=env, cwd=tmp_path)
    assert done.stdout == f"runicorn {VERSION}\n"
    assert f"in {site} is runicorn 0.7.2, another program" in done.stderr


def test_where_this_one_was_put_over_it_both_are_named(tmp_path):
    site = other(tmp_path / "site")
    shutil.copytree(TREE / "runicorn", site / "runicorn", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__"))
    done = run(tmp_path, [site], "--version")
    assert done.stdout == f"runicorn {VERSION}\n"
    assert "0.7.2, another program of the same name which this one was put over" in done.stderr
    assert "does not log here" not in done.stderr


def test_nothing_is_said_where_it_is_not(tmp_path):
    done = run(tmp_path, [TREE], "--version")
    assert (done.stdout, done.stderr) == (f"runicorn {VERSION}\n", "")


def examined(server, home, auth="key"):
    """Return the connection test's lines, by name, and how often python3 on the server was asked anything."""
    lines, asked, real = [], [], remote_shell.python
    connection = settings.checked(server.trusted_in(home).connection(auth=auth))
    try:
        remote_shell.python = lambda *words, **more: asked.append(words) or real(*words, **more)
        doctor.examine(connection, lines.append, home=home)
    finally:
        remote_shell.python = real
    return {line["name"]: line for line in lines}, len(asked)


def venv(folder, python=sys.executable, system=False):
    """Make a virtual environment without pip; returns (its bin, its site-packages)."""
    more = ["--system-site-packages"] if system else []
    subprocess.run([python, "-m", "venv", "--without-pip", *more, folder], check=True, timeout=120)
    return folder / "bin", next(folder.glob("lib/python3*/site-packages"))


def ours(folder):
    (folder / "runicorn").mkdir(parents=True)
    for name in ("__init__.py", "layout.py"):
        (folder / "runicorn" / name).write_text("")
    return folder


@pytest.mark.few(1)
@pytest.mark.parametrize("auth", ["key", "system"])
def test_the_connection_test_tells_of_it_within_the_question_that_is_asked_anyway(tmp_path, home, auth):
    bin_folder, site = venv(tmp_path / "env")
    other(site)
    with Sshd(tmp_path / "sshd", SetEnv=f"{NO_BASHRC} PATH={bin_folder}:/usr/bin:/bin") as server:
        lines, asked = examined(server, home, auth)
    line = lines["namesake"]
    assert asked == 1 and line["ok"] is None and lines["exec"]["said"] == "exec_python"
    assert f"in {site} is runicorn 0.7.2, another program of the same name" in line["text"]
    assert "pip uninstall runicorn" in line["advice"]
    assert f"pip install ./runicorn-{VERSION}-py3-none-any.whl" in line["advice"]
    assert (line["said"], line["version"], line["folder"], line["wheel"]) == (
        "namesake", "0.7.2", str(site), namesake.WHEEL)


def test_the_connection_test_says_nothing_where_it_is_not(sshd, home):
    lines, asked = examined(sshd, home)
    assert asked == 1 and lines["exec"]["said"] == "exec_python" and "namesake" not in lines


def looked(bin_folder, tmp_path, **env):
    """Return what the other program's look answers under the python3 of `bin_folder`, started as a server's
    is."""
    done = subprocess.run([bin_folder / "python3", "-I", "-S", "-"], input=namesake.LOOK.encode(),
                          capture_output=True, timeout=60, env={"HOME": str(tmp_path / "user"), **env},
                          cwd="/")
    assert (done.returncode, done.stderr) == (0, b"")
    return namesake.told(done.stdout)


def test_what_an_import_there_would_take_decides(tmp_path):
    bin_folder, site = venv(tmp_path / "env")
    assert looked(bin_folder, tmp_path) is None                         # none
    (site / "runicorn-0.7.2.dist-info").mkdir()
    assert looked(bin_folder, tmp_path) is None                         # what an uninstall left
    (site / "runicorn-0.7.2.dist-info").rmdir()
    other(site, "0.6.1", pip=False)
    assert looked(bin_folder, tmp_path) == ("0.6.1", str(site))         # put there without pip
    copy = ours(tmp_path / "server-copy")
    assert looked(bin_folder, tmp_path, PYTHONPATH=str(copy)) is None   # ours goes before it
    before = other(tmp_path / "before")
    assert looked(bin_folder, tmp_path, PYTHONPATH=f"{before}:{copy}") == ("0.7.2", str(before))


@pytest.mark.parametrize("holds", LATER)
def test_a_later_version_of_it_on_a_server_is_told_by_what_it_holds(tmp_path, holds):
    bin_folder, site = venv(tmp_path / "env")
    (site / "runicorn").mkdir()
    for name in LATER[holds]:
        (site / "runicorn" / name).write_text("")
    (site / "runicorn-1.2.0.dist-info").mkdir()
    assert looked(bin_folder, tmp_path) == ("1.2.0", str(site))
    wheel = tmp_path / "runicorn-1.3.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in LATER[holds]:
            archive.writestr(f"runicorn/{name}", "")
    assert looked(bin_folder, tmp_path, PYTHONPATH=str(wheel)) == ("1.3.0", str(wheel))


def test_paths_that_pth_files_name_count_and_their_code_does_not_run(tmp_path):
    bin_folder, site = venv(tmp_path / "env")
    folder = other(tmp_path / "checkout")
    (site / "a.pth").write_text(f"import sys; sys.exit('ran')\n# words\n{tmp_path / 'absent'}\n{folder}\n")
    assert looked(bin_folder, tmp_path) == ("0.7.2", str(folder))
    (site / "Z.pth").write_text(f"{ours(tmp_path / 'mine')}\n")
    assert looked(bin_folder, tmp_path) is None                         # Z comes before a


def test_a_users_own_packages_count_outside_an_environment_only(tmp_path):
    closed, _ = venv(tmp_path / "closed")
    opened, _ = venv(tmp_path / "opened", system=True)
    name = "python{}.{}".format(*sys.version_info)
    site = other(tmp_path / "user" / ".local" / "lib" / name / "site-packages")
    assert looked(closed, tmp_path) is None
    assert looked(opened, tmp_path) == ("0.7.2", str(site))


@pytest.mark.parametrize("answer", [
    b"", b"null", b"[]", b'"0.7.2"', b'["0.7"]', b'["1", "/x"]', b'["0.7.2 <b>", "/x"]', b'["0.7.2", 5]',
    b"[" * 100_000, b"\xff\xfe", b'["0.7.2", "' + b"x" * 5000 + b'"]', b'[["0.7"], "/x"]'])
def test_what_a_server_may_answer_otherwise_is_nothing(answer):
    assert namesake.told(answer) is None


def test_a_folder_of_control_characters_is_told_as_text():
    assert namesake.told(json.dumps(["0.7.2", "/a\x1b[2J\n\u202e/b"]).encode()) == ("0.7.2", "/a?[2J??/b")
