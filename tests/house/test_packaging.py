"""What travels: wheel, source archive, single file, full copy, server copy. Each is built, then used from an
empty folder without the registries and without this tree."""

import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest
from ports import free_port, listening
from waiting import until

from runicorn.version import VERSION

TREE = Path(__file__).parents[2]
BARE = [sys.executable, "-S", "-I"]         # no site-packages, no environment: what a bare Python has
# Runs a command of a copy at argv[1] as `python3 -m runicorn …` inside it would, with nothing else to import
# from.
IN_COPY = [*BARE, "-c",
           "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('runicorn', None, "
           "'__main__', True)"]
TRAIN = """
import sys; sys.path.insert(0, sys.argv[1])
import runicorn
with runicorn.init(project="vision", name="resnet50", config={"lr": 0.1}) as run:
    for step in range(5):
        run.log({"loss": 1 / (step + 1)}, step=step)
    print("hello")
print(run.dir)
foreign = [name for name, module in sys.modules.items()
           if "site-packages" in (getattr(module, "__file__", None) or "")]
assert not foreign, foreign
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is committed or about to be, as a fresh clone would have it, with uPlot fetched."""
    folder = tmp_path_factory.mktemp("source") / "runicorn"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TREE, capture_output=True,
                            text=True, check=True).stdout
    for name in listed.splitlines():
        if (TREE / name).is_file() and not name.startswith(("tests/", "benchmarks/", '"')):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TREE / name, folder / name)
    shutil.copytree(TREE / "static" / "uplot", folder / "static" / "uplot")
    return folder


@pytest.fixture(scope="module")
def built(source):
    """The folder dist/ with the wheel and both copies."""
    for kind in ("copy", "server-copy"):
        subprocess.run([sys.executable, ".ci/pack.py", kind], cwd=source, check=True,
                       stdout=subprocess.DEVNULL)
    return build(source, "wheel")


@pytest.fixture(scope="module")
def single_file(source):
    """runicorn.pyz."""
    subprocess.run([sys.executable, ".ci/pack.py", "pyz"], cwd=source, check=True, stdout=subprocess.DEVNULL)
    return source / "dist" / "runicorn.pyz"


def build(source, kind):
    """Make a wheel or an sdist; returns the folder it lies in."""
    done = subprocess.run([sys.executable, "-c",
                           f"from setuptools import build_meta as b; b.build_{kind}('dist')"],
                          cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Deprecat" not in done.stderr
    return source / "dist"


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The `runicorn` command of a fresh virtual environment that has the wheel, bottle, and nothing else."""
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=False)
    import pip
    # as `pip --python` does it, which starts twice
    subprocess.run([place / "bin" / "python", Path(pip.__file__).parent, "install", "--quiet", "--no-index",
                    "--no-deps", "--disable-pip-version-check",
                    str(next(built.glob("*.whl")))], check=True)
    package, = place.glob("lib/python*/site-packages/runicorn")
    import bottle
    shutil.copy(bottle.__file__, package.parent)
    return place / "bin" / "runicorn"


def run(*command, cwd, ok=True, **environ):
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True,
                          timeout=120, env={**os.environ, **environ}, stdin=subprocess.DEVNULL)
    assert not ok or done.returncode == 0, done.stderr
    return done


def bare_python(version):
    """Return the command of a bare Python of this version where one is installed beside the present one, else
    of the present one."""
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))
    return [str(beside[0]), "-S", "-I", "-W", "error"] if beside else [*BARE, "-W", "error"]


@contextlib.contextmanager
def viewer(*command, cwd):
    """Start a viewer of an artefact on a free port; gives a function that fetches an address (bytes)."""
    port = free_port()
    process = subprocess.Popen([*map(str, command), "viewer", "--port", str(port), "--no-browser"], cwd=cwd,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def fetch(address):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{address}", timeout=30) as answer:
            return answer.read()
    try:
        for line in process.stdout:         # the banner's last line stands when it listens
            if (line.startswith(("╰", "+-")) and "Ctrl" not in line and line.strip("╰─╯+-\n ") == ""
                and process.poll() is None):
                break
        until(lambda: listening("127.0.0.1", port))
        yield fetch
    finally:
        process.terminate()
        _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (0, "")


def shows_the_run(fetch):
    assert b"<!doctype html>" in fetch("/")[:100].lower()
    assert b"uPlot" in fetch("/static/uplot/uPlot.iife.min.js")[:300]
    assert fetch("/static/styles/style.css") and fetch("/static/app.js")
    row, = json.loads(fetch("/api/runs"))["runs"]
    assert (row["name"], row["state"], row["step"]) == ("resnet50", "finished", 4)


def weight(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# -- what is in it -------------------------------------------------------------------------------------------

def test_weights(built):
    assert next(built.glob("*.whl")).stat().st_size <= 1_190_000
    assert weight(built / "runicorn-server-copy") <= 380_000


@pytest.mark.long
def test_the_weight_of_the_single_file(single_file):
    assert single_file.stat().st_size <= 935_000


PAGES = {f"runicorn/static/{name}" for name in (
    "index.html", "styles/style.css", "app.js", "uplot/uPlot.iife.min.js", "uplot/uPlot.min.css",
    "uplot/LICENSE")}
LICENCES = {"LICENSE", "LICENSE.bottle", "bottle.py"}


def not_ours(names):
    return [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_wheel_and_copy_hold_the_pages_the_chart_library_and_the_licences(built):
    wheel = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    copy = [path.relative_to(built / "runicorn-copy").as_posix()
            for path in (built / "runicorn-copy").rglob("*")]
    assert set(wheel) >= PAGES and set(copy) >= PAGES | LICENCES
    assert not_ours(wheel) == not_ours(copy) == []
    assert any(name.endswith("licenses/LICENSE") for name in wheel)


@pytest.mark.long
def test_the_single_file_holds_them_too(single_file):
    names = zipfile.ZipFile(single_file).namelist()
    assert set(names) >= PAGES | LICENCES and not_ours(names) == []


def code_and_lines(text, package=""):
    """Return what a module of `package` does, and the line of each of its nodes, whatever its docstrings
    are."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if (isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None):
            del node.body[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 1:
            node.level, node.module = 0, ".".join(filter(None, [package, node.module]))
    return ast.dump(tree), [node.lineno for node in ast.walk(tree) if hasattr(node, "lineno")]


@pytest.mark.few("runicorn-server-copy…")
@pytest.mark.parametrize("artefact, at_least", [("runicorn.pyz", 50), ("runicorn-server-copy", 30)])
def test_what_is_packed_lean_holds_the_same_code_on_the_same_lines(request, source, artefact, at_least):
    if artefact.endswith(".pyz"):
        with zipfile.ZipFile(request.getfixturevalue("single_file")) as single:
            packed = {name: single.read(name).decode() for name in single.namelist()
                      if re.fullmatch(r"runicorn/((?!static)\w+/)?\w+\.py", name)}
    else:
        folder = request.getfixturevalue("built") / artefact
        first = packer().FROM_ZIP
        packed = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8").replace(first, "")
                  for path in folder.rglob("*.py")}
        for path in folder.rglob("*.zip"):
            with zipfile.ZipFile(path) as archive:
                packed.update({f"{path.parent.relative_to(folder).as_posix()}/{name}":
                               archive.read(name).decode()
                               for name in archive.namelist()})
        assert {"runicorn/metrics/kinds/wandb.py", "runicorn/wandb/facade.py", "runicorn/cli/run.py"} <= set(
            packed)
    assert len(packed) > at_least
    for name, text in packed.items():
        package = name.rpartition("/")[0].replace("/", ".")
        assert code_and_lines(text, package) == code_and_lines((source / name).read_text(encoding="utf-8"),
                                                               package), name


def test_code_is_made_narrow_outside_of_texts_only():
    pack = packer()
    source = ('def f(x, y):\n    """Of f, say.\n\n    More:\n        even more."""\n    if x:\n'
              '        return (f"""a, {x, y}\n        {x}\n    b""", x,\n'
              '                "c, d", y)\n    z = y == "a = b"\n    # no\n'
              "    if '' or not 'b' 'c': return b'' if '' '' else f'' if x in '' else ''\n"
              "    return '''\n    d'''\n")
    narrow = pack.narrow(pack.lean(source, {"f"}))
    assert narrow == ('def f(x,y):\n """Of f, say.\n\n More:\n     even more."""\n if x:\n'
                      '  return(f"""a, {x, y}\n        {x}\n    b""",x,\n "c, d",y)\n z=y=="a = b"\n\n'
                      " if''or not'b' 'c':return b''if'' ''else f''if x in''else''\n"
                      " return'''\n    d'''\n")
    assert code_and_lines(narrow) == code_and_lines(source)


@pytest.mark.few("server-copy")
@pytest.mark.parametrize("artefact", ["pyz", "server-copy"])
def test_help_is_there_where_no_network_is(request, tmp_path, artefact):
    packed = (request.getfixturevalue("single_file") if artefact == "pyz"
              else request.getfixturevalue("built") / "runicorn-server-copy")
    asked = ("init", "log", "finish", "define_metric", "Run", "Run.log", "Run.finish", "Run.define_metric",
             "Run.tags", "Run.notes", "Image")
    ask = ("import sys; sys.path.insert(0, sys.argv[1]); import runicorn, inspect, operator, json; " \
          "print(json.dumps({name: inspect.getdoc(operator.attrgetter(name)(runicorn)) for name in "
           "sys.argv[2:]}))")
    docs = {place: json.loads(run(*BARE, "-B", "-c", ask, place, *asked, cwd=tmp_path).stdout)
            for place in (packed, TREE)}
    assert all(docs[TREE].values()) and docs[packed] == docs[TREE]


def test_a_traceback_from_the_server_copy_names_lines_of_the_tree(built, tmp_path):
    failing = "import sys; sys.path.insert(0, sys.argv[1]); import runicorn; runicorn.init(mode='nonsense')"
    ends = [run(*BARE, "-B", "-c", failing, place, cwd=tmp_path,
                ok=False).stderr.replace(str(place), "").replace(" ", "")
            for place in (built / "runicorn-server-copy", TREE)]
    assert ends[0] == ends[1] and (ends[0].count("api.py"), ends[0].count("beginning.py")) == (1, 2)


@pytest.mark.long
def test_the_source_archive_builds_the_same_wheel(built, source, tmp_path):
    build(source, "sdist")
    with tarfile.open(next(built.glob("runicorn-1*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    folder, = tmp_path.iterdir()
    run(sys.executable, "-c", "from setuptools import build_meta as b; b.build_wheel('dist')", cwd=folder)
    again, first = (zipfile.ZipFile(next(place.glob("*.whl"))).namelist()
                    for place in (folder / "dist", built))
    assert sorted(again) == sorted(first)


def test_copies_say_how_they_are_used(built):
    for name in ("runicorn-copy", "runicorn-server-copy"):
        lines = (built / name / "README").read_text().splitlines()
        assert len(lines) <= 12 and any("python3 -m runicorn" in line for line in lines)
        with tarfile.open(built / f"{name}.tar.gz") as archive:
            files = [built / name, *(built / name).rglob("*")]
            assert sorted(archive.getnames()) == sorted(path.relative_to(built).as_posix() for path in files)


# -- used from an empty folder -------------------------------------------------------------------------------

def test_the_wheel_in_a_fresh_environment(installed, tmp_path):
    assert run(installed, "--version", cwd=tmp_path).stdout == f"runicorn {VERSION}\n"
    (tmp_path / "train.py").write_text(
        TRAIN.replace("assert not foreign", "assert set(foreign) <= {*sys.modules}"))
    run(installed.parent / "python", "train.py", str(tmp_path), cwd=tmp_path)
    run(installed, "manifest", cwd=tmp_path)
    with viewer(installed, cwd=tmp_path) as fetch:
        shows_the_run(fetch)


def test_an_absent_package_is_one_sentence(installed, tmp_path):
    done = run(installed.parent / "python", "-c",
               "import sys; sys.modules['bottle'] = None; from runicorn.cli.main import main; "
               "sys.exit(main(['viewer', '--port', '0']))", cwd=tmp_path, ok=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "pip install bottle" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_the_single_file_on_a_bare_python(single_file, tmp_path, version):
    single, bare = tmp_path / "runicorn.pyz", bare_python(version)
    shutil.copy(single_file, single)
    run(*bare, "-c", TRAIN, single, cwd=tmp_path)
    assert run(*bare, single, "--version", cwd=tmp_path).stdout == f"runicorn {VERSION}\n"
    run(*bare, single, "manifest", cwd=tmp_path)
    with viewer(*bare, single, cwd=tmp_path) as fetch:
        shows_the_run(fetch)


def test_the_manifest_alone_from_a_pipe_on_python_3_6(tmp_path):
    shutil.copytree(TREE / "tests" / "golden" / "root", tmp_path / "root")
    with open(TREE / "runicorn" / "manifest.py", "rb") as source:
        done = subprocess.run([*bare_python("3.6"), "-", str(tmp_path / "root")], stdin=source,
                              capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "root" / ".runicorn" / "full_manifest.json").read_text(
        encoding="utf-8"))["statistics"]["runs"] == 7


@pytest.mark.long
def test_the_copy_on_a_bare_python(built, tmp_path):
    with tarfile.open(built / "runicorn-copy.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    copy = tmp_path / "runicorn-copy"
    run(*BARE, "-c", TRAIN, copy, cwd=tmp_path)
    run(*IN_COPY, copy, "manifest", cwd=tmp_path)
    assert "resnet50" in run(*IN_COPY, copy, "runs", cwd=tmp_path).stdout
    with viewer(*IN_COPY, copy, cwd=tmp_path) as fetch:
        shows_the_run(fetch)


@pytest.mark.long
def test_the_copy_synchronises_over_the_systems_ssh_on_a_bare_python(built, tmp_path, sshd, home):
    root = tmp_path / "far" / "experiments"
    run(*BARE, "-c", TRAIN, built / "runicorn-server-copy", cwd=tmp_path, RUNICORN_DIR=str(root))
    user = Path(os.environ["HOME"]) / ".ssh"
    user.mkdir(mode=0o700)
    shutil.copy(sshd.known_hosts, user / "known_hosts")
    added = run(*IN_COPY, built / "runicorn-copy", "config", "ssh", "add", "--name", "lab", "--host",
                sshd.host, "--port", sshd.port, "--user", sshd.user, "--key", sshd.key, "--remote-root",
                "~/experiments", cwd=tmp_path)
    assert "saved" in added.stdout
    # OpenSSH takes the home of the password file, not of the environment, so it is told where its known hosts
    # are.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(
        f'#!/bin/sh\nexec {shutil.which("ssh")} -o UserKnownHostsFile={sshd.known_hosts} "$@"\n')
    (tmp_path / "bin" / "ssh").chmod(0o755)
    done = run(*IN_COPY, built / "runicorn-copy", "sync", "once", cwd=tmp_path,
               PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert "1 run," in done.stdout, done.stdout
    assert len(list((home / "cache" / "lab").glob("vision/resnet50/runs/*/events.jsonl"))) == 1


@pytest.mark.few("3.8")
@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_the_server_copy_on_a_bare_python(built, tmp_path, version):
    bare = bare_python(version)
    with tarfile.open(built / "runicorn-server-copy.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    copy = tmp_path / "runicorn-server-copy"
    folder = run(*bare, "-c", TRAIN, copy, cwd=tmp_path).stdout.splitlines()[-1]
    in_copy = [*bare, *IN_COPY[len(BARE):]]
    assert "hello" in run(*in_copy, copy, "tail", os.path.basename(folder), cwd=tmp_path).stdout
    assert "runs        1" in run(*in_copy, copy, "manifest", "--verbose", cwd=tmp_path).stdout
    refused = run(*in_copy, copy, "viewer", cwd=tmp_path, ok=False)
    assert refused.returncode == 1 and "pip install runicorn" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.few("3.8")
@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_the_server_copy_runs_a_program(built, tmp_path, version):
    bare = bare_python(version)
    copy = tmp_path / "copy"
    shutil.copytree(built / "runicorn-server-copy", copy)
    python = bare[0]
    (tmp_path / "job.sh").write_text(
        f"echo hello $1; {python} train.py\n(echo step,loss; for i in 1 2 3 4; do echo $i,$i.5; "
        "done) > metrics.csv; exit 3\n")
    (tmp_path / "train.py").write_text(
        "import wandb\nrun = wandb.init(project='vision', name='resnet50', config={'lr': 1})\n"
        "wandb.log({'acc': 1, 'h': wandb.Histogram([1, 2])})\nimport runicorn.metrics.kinds.wandb\n")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(copy),
           "RUNICORN_DIR": str(tmp_path / "root")}
    done = subprocess.run([python, "-S", "-m", "runicorn", "run", "bash", "job.sh", "you"], cwd=tmp_path,
                          env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "hello you\n"), done.stderr
    folder, = (tmp_path / "root").glob("vision/resnet50/runs/*")
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [row["data"] for row in events if "type" not in row] == [
        {"acc": 1}, *({"loss": n + 0.5} for n in range(1, 5))]
    assert json.loads((folder / "status.json").read_text())["status"] == "failed"


def test_the_server_copy_lists_runs_of_other_loggers(built, tmp_path):
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "metrics.csv").write_text("step,loss\n1,0.5\n")
    asked = run(*IN_COPY, built / "runicorn-server-copy", "manifest", "--verbose", "--root", "root",
                cwd=tmp_path)
    assert "runs        1" in asked.stdout
    assert json.loads(
        (tmp_path / "root" / ".runicorn" / "full_manifest.json").read_text())["runs"]["a"]["kinds"] == ["csv"]


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_an_older_python_gets_a_sentence(built, version):
    """From the real one where it is installed; else from the present one that says it is of this version."""
    real = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))
    numbers = real[-1].parent.parent.name if real else f"{version}.18"
    lie = f"import sys; sys.version_info = ({numbers.replace('.', ', ')}, 'final', 0); "
    sentence = f"runicorn needs Python 3.8 or newer; this is {numbers}"
    for command in ([[real[-1], "-c", ""]] if real else []) + [[sys.executable, "-c", lie]]:
        done = subprocess.run([*command[:2], command[2] + "import runicorn"], cwd=TREE, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 1 and done.stderr.splitlines()[-1] == f"ImportError: {sentence}"
        caught = command[2] + "\ntry:\n    import runicorn\nexcept ImportError:\n    print('goes on')"
        done = subprocess.run([*command[:2], caught], cwd=TREE, capture_output=True, text=True, timeout=60)
        assert done.stdout == "goes on\n"
    for command in [[real[-1], "-m", "runicorn"]] * (bool(real) and version != "2.7"):
        done = subprocess.run([*command, "viewer"], cwd=built / "runicorn-server-copy", capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 1 and done.stderr.startswith(sentence) and done.stderr.count(
            "\n") == 1, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_an_older_python_gets_a_sentence_from_the_single_file(single_file, tmp_path, version):
    real = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))
    if not real:
        pytest.skip(f"there is no Python {version} here")
    done = run(real[-1], single_file, "viewer", cwd=tmp_path, ok=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"runicorn needs Python 3.8 or newer; this is {version}")


# -- the workshop --------------------------------------------------------------------------------------------

def test_make_help_names_every_target():
    shown = subprocess.run(["make", "help"], cwd=TREE, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (TREE / "Makefile").read_text(), re.M)[1].split()
    assert set(re.findall(r"^([a-z-]+) ", shown, re.M)) == set(phony)


def test_without_npm_make_says_what_to_do(source, tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("uplot", "dist"))
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "mkdir", "python3", "tar", "cp", "make"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    done = run("make", cwd=folder, ok=False, PATH=str(tmp_path / "bin"))
    assert done.returncode != 0 and "npm, which is not installed" in done.stderr


def test_an_archive_that_is_not_the_pinned_one_is_not_unpacked(source, tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("uplot", "dist"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\necho evil > uplot-1.6.32.tgz\n")
    (tmp_path / "bin" / "npm").chmod(0o755)
    done = run("make", cwd=folder, ok=False, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode != 0 and "nothing was unpacked" in done.stderr
    assert not (folder / "static" / "uplot" / "uPlot.iife.min.js").exists()


def packer():
    """Return the module .ci/pack.py."""
    sys.path.insert(0, str(TREE / ".ci"))
    try:
        import pack
    finally:
        sys.path.pop(0)
    return pack


def server_side():
    """Return the paths of the modules that the server copy holds."""
    pack = packer()
    return ([pack.source(name) for name in pack.reached(pack.SERVER)]
            + sorted(TREE.glob("runicorn/integrations/*.py")))


@pytest.mark.few(1)
@pytest.mark.parametrize("version, files", [
    ("3.6", lambda: [TREE / "runicorn" / name
                     for name in ("manifest.py", "shares.py", "mirror/server_answer.py")]),
    ("3.8", server_side),
    ("3.9", lambda: sorted((TREE / "runicorn").rglob("*.py"))),
])
def test_syntax_and_modules_of_old_pythons_are_enough(version, files):
    done = subprocess.run([Path(sys.executable).with_name("vermin"), "--no-tips", "--violations",
                           "--eval-annotations", f"-t={version}-", *files()], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stdout
