"""The documents are held to their word: every command, option, route, function and file they name exists; the
first steps run."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import run_folder

from runicorn import manifest, settings
from runicorn.cli import completion
from runicorn.cli import main as cli

TREE = Path(__file__).parents[2]
DOCUMENTS = sorted([*TREE.glob("README*.md"), *TREE.glob("docs/**/*.md")])
RUN_ID = "20250123_180000_abc123"
# Every command line of the workflow guide, with the options spelt as there.
GUIDE = [
    "runicorn --version",
    "runicorn generate-manifest",
    "runicorn generate-manifest --verbose",
    "runicorn viewer",
    "runicorn viewer --port 23301",
    "runicorn viewer --offline",
    "runicorn viewer --cache-size 1GB",
    'runicorn config ssh add --name "GPU Server 1" --host gpu-server.example.com --port 22 --user '
    'your_username --key ~/.ssh/id_rsa'
    " --remote-root /home/user/.runicorn/experiments",
    'runicorn sync start --connection "GPU Server 1"',
    f"runicorn export --run-id {RUN_ID} --format csv",
    f"runicorn export --run-id {RUN_ID} --format tensorboard",
    "runicorn cache clean --older-than 30d",
]
LASTING = ("viewer", "sync start")      # these go on until they are stopped


def text(path):
    return path.read_text(encoding="utf-8")


def blocks(path, *languages):
    """Return the code blocks (list of str) of a document in any of these languages."""
    return [code for language, code in re.findall(r"^```(\w*)\n(.*?)^```", text(path), re.M | re.S)
            if language in languages]


def commands(path):
    """Return the argument lists of all runicorn command lines in a document's code blocks."""
    found = []
    for code in blocks(path, "bash", "sh", "bat"):
        for line in code.replace("\\\n", " ").splitlines():
            found += command_lines(line)
    return found


def command_lines(line):
    """Yield the arguments of each runicorn command in one shell line."""
    for inner in re.findall(r"\$\(runicorn ([^)]*)\)", line):
        yield shlex.split(inner)
    try:
        words = shlex.split(line.replace("$(which runicorn)", "runicorn").replace("D:\\", "D:/"),
                            comments=True)
    except ValueError:                  # a shell construct over several lines: it holds no command of ours
        return
    for at, word in enumerate(words):
        if (word == "runicorn"
            and (at == 0 or words[at - 1] in ("&&", "sudo", "-m") or words[0].startswith("*/"))):
            rest = words[at + 1:]
            ends = [i for i, other in enumerate(rest) if other in ("&&", "|", ">", ";", "||")]
            yield rest[:ends[0]] if ends else rest


def understood(argv):
    """Parse a command line as the command would; raises UsageError or SystemExit where it would refuse."""
    name = cli.SAME.get(argv[0], argv[0])
    if name.startswith("--"):
        assert name in ("--version", "--help", "--completion")
    elif name in cli.OWN_ARGUMENTS:
        flags = completion.words_of(cli.door(cli.COMMANDS[name][0]).main, name)[name]
        # behind it stands another program's command line
        ours = argv[1:argv.index("--")] if "--" in argv else argv[1:]
        assert [word for word in ours if word.startswith("--") and word.partition("=")[0] not in flags] == []
    else:
        cli.parser_of(name).parse_args(argv[1:])


def test_the_documents_the_guide_links_to_are_there():
    for name in ("docs/future/SERVER_SETUP_GUIDE.md", "docs/api/zh/manifest_api.md",
                 "docs/api/zh/ssh_api.md"):
        assert len(text(TREE / name).splitlines()) <= 100       # two screens


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_every_command_in_a_document_is_understood(path):
    for argv in commands(path):
        understood(argv)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_every_option_in_a_document_exists(path):
    known = {word for words in completion_words().values() for word in words}
    prose = re.sub(r"^```.*?^```", "", text(path), flags=re.M | re.S)
    ours = {option for code in re.findall(r"`([^`]+)`", prose)
            if not re.match(r"(ssh|pip|make|sshd|python)\b", code)
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert ours <= known


def completion_words():
    found = {"": ["--help", "--version", "--completion"]}
    for name, parser in completion.parsers().items():
        found.update(completion.words_of(parser, name))
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_every_route_in_a_document_exists(path):
    from runicorn.viewer import routes_connections  # noqa: F401  (its routes join the table)
    from runicorn.viewer.routes import ROUTES
    rules = [re.compile("^" + re.sub(r"<[^>]*:re:([^>]*)>", r"(\1)",
                                     re.sub(r"<\w+(:path)?>", "[^?]+", one.rule)) + "$") for one in ROUTES]
    named = {route.rstrip("/.,")
             for route in re.findall(r"/api(?:/[\w{}./:-]+)?",
                                     re.sub(r"\S*docs/api\S*|\.\./api\S*", "", text(path)))}
    assert [route for route in named if not any(rule.match(route) for rule in rules)] == []


LINK = r"\]\(([^)#]+)(?:#[^)]*)?\)"
OURS = r"(?<![\w./~-])(?:tests|benchmarks|static|runicorn)/[\w./-]*\w"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_every_link_leads_somewhere(path):
    targets = re.findall(LINK, text(path))
    assert [to for to in targets if not to.startswith(("http://", "https://"))
            and not (path.parent / to).resolve().exists()] == []


def test_there_are_links_and_files_to_look_at():
    assert all(sum(len(re.findall(what, text(path))) for path in DOCUMENTS) > 20 for what in (LINK, OURS))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_every_file_of_ours_in_a_document_exists(path):
    assert [name for name in re.findall(OURS, text(path))
            if not any((place / name).exists() for place in (TREE, TREE / "dist"))
            and not name.startswith(("static/uplot", "runicorn/static"))] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_every_make_target_in_a_document_exists(path):
    phony = re.search(r"^\.PHONY: (.*)$", text(TREE / "Makefile"), re.M)[1].split()
    named = set(re.findall(r"`make ([a-z-]+)", text(path))) | {target for code in blocks(path, "bash", "sh")
                                                               for target in re.findall(
                                                                   r"^make ([a-z-]+)", code, re.M)}
    assert named <= set(phony)


def test_the_functions_of_the_manifest_document_exist():
    names = re.findall(r"^\| `(\w+)\(", text(TREE / "docs/api/zh/manifest_api.md"), re.M)
    assert names and all(callable(getattr(manifest, name)) for name in names)


def test_the_fields_of_the_connection_document_exist():
    table = text(TREE / "docs/api/zh/ssh_api.md").split("## 一个连接的字段")[1].split("## HTTP")[0]
    named = {field for line in table.splitlines() if line.startswith("| `")
             for field in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named <= set(settings.CONNECTION)


def test_both_readmes_have_the_same_commands():
    english, chinese = (commands(TREE / name) for name in ("README.md", "README.zh.md"))
    assert english == chinese


# -- they run ------------------------------------------------------------------------------------------------

@pytest.fixture
def made(home):
    """A home with one finished run and the guide's connection."""
    run_folder(home / "experiments", f"vision/resnet50/runs/{RUN_ID}", {
        "meta.json": {"format": 1, "id": RUN_ID, "project": "vision", "name": "resnet50",
                      "created_at": 1737653400.0},
        "status.json": {"status": "finished", "started_at": 1737653400.0, "ended_at": 1737653460.0},
        "events.jsonl": '{"ts":1737653401.0,"step":0,"data":{"loss":0.5}}\n'})
    settings.save_connection(home, {"name": "GPU Server 1", "host": "gpu-server.invalid", "user": "alice"})
    return home


@pytest.mark.parametrize("line", GUIDE)
def test_every_command_of_the_guide_runs(line, made, tmp_path):
    argv = shlex.split(line)[1:]
    lasting = line.startswith(tuple(f"runicorn {name}" for name in LASTING))
    if argv[0] == "viewer" and "--port" not in argv:
        argv += ["--port", "0"]                 # 23300 may be somebody's
    process = subprocess.Popen([sys.executable, "-m", "runicorn", *argv], cwd=tmp_path,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        if lasting:
            first = process.stdout.readline()
            assert first, process.stderr.read()
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
        said, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, complaint
    assert "Traceback" not in complaint


def test_every_other_command_of_the_readme_runs(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.log").write_text("up 1 perte 0.5\nup 2 perte 0.25\n")
    done = []
    for argv in commands(TREE / "README.md"):
        # lasting, or they reach a server
        if argv[0] not in ("viewer", "sync", "demo", "run") and argv[:3] != ["config", "ssh", "test"]:
            if argv[0] == "import":
                bundle, = tmp_path.glob("*.bundle.tar.gz")
                bundle.rename(argv[1])
            assert (argv, cli.main(argv)) == (argv, 0), capsys.readouterr().err
            done.append(argv[0])
    assert {"runs", "show", "tail", "export", "bundle", "import", "check", "cache", "manifest",
            "--completion", "config"} <= set(done)


def test_a_report_compares_several_runs(made, tmp_path, capsys):
    second = made / "experiments" / "vision" / "resnet18" / "runs" / "20250124_180000_abc124"
    shutil.copytree(made / "experiments" / "vision" / "resnet50" / "runs" / RUN_ID, second)
    (second / "meta.json").write_text(
        (second / "meta.json").read_text().replace(RUN_ID, second.name).replace("resnet50", "resnet18"))
    both = ["export", "--run-id", RUN_ID, "--run-id", second.name, "-o", str(tmp_path / "both.html")]
    assert cli.main([*both, "--format", "html"]) == 0
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "resnet50" in page and "resnet18" in page
    assert cli.main([*both, "--format", "csv"]) == 2
    assert "--format html" in capsys.readouterr().err


def test_export_writes_into_the_current_folder_and_never_over_it(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    export = ["export", "--run-id", RUN_ID, "--format", "csv"]
    assert cli.main(export) == 0
    assert capsys.readouterr().out == f"{RUN_ID}.csv\n"
    assert "0.5" in (tmp_path / f"{RUN_ID}.csv").read_text()
    assert cli.main(export) == 2
    assert "--force" in capsys.readouterr().err
    assert cli.main([*export, "--force"]) == 0
    assert cli.main([*export, "-o", "-"]) == 0
    assert "0.5" in capsys.readouterr().out
    assert cli.main(["export", "--run-id", RUN_ID, "--format", "tensorboard"]) == 0
    assert [file.name for file in (tmp_path / f"{RUN_ID}.tensorboard").glob("events.out.tfevents.*")]
    assert cli.main(["export", "--run-id", RUN_ID, "--format", "html"]) == 0
    assert b"uPlot" in (tmp_path / f"{RUN_ID}.html").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a tmpfs")
def test_a_full_disk_is_one_sentence_that_names_the_file(made, tmp_path, capsys):
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(full)], check=True)
    try:
        (full / "rest").write_bytes(b"\0" * 8000)
        for argv in (["export", "--run-id", RUN_ID, "--format", "html", "-o", str(full / "x")],
                     ["bundle", "-o", str(full / "x")]):
            assert cli.main(argv) == 1
            assert capsys.readouterr().err == f"runicorn: {full / 'x'}: No space left on device\n"
        with subprocess.Popen([sys.executable, "-m", "runicorn", "viewer", "--port", "0", "--offline"],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "RUNICORN_HOME": str(full)}) as viewer:
            assert any("URL: " in line for line in viewer.stdout)           # reading goes on
            viewer.terminate()
            assert f"{full} can't be written (No space left on device)" in viewer.communicate(timeout=60)[1]
        assert [path.name for path in full.iterdir() if path.is_file()] == ["rest"]
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_a_folder_that_is_not_there_is_named(made, tmp_path, capsys):
    assert cli.main(["export", "--run-id", RUN_ID, "--format", "csv", "-o",
                     str(tmp_path / "no" / "x.csv")]) == 1
    assert capsys.readouterr().err == f"runicorn: {tmp_path / 'no' / 'x.csv'}: No such file or directory\n"


def shell(code):
    """Run shell code in which `runicorn` is this tree's."""
    code = f'runicorn() {{ {sys.executable} -m runicorn "$@"; }}\n{code}'
    return subprocess.run(["bash", "-e", "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readmes_first_script_runs(name, tmp_path):
    script = next(code for code in blocks(TREE / name, "python") if "runicorn.init" in code)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60, env={**os.environ, "RUNICORN_DIR": str(tmp_path / "root")})
    assert done.returncode == 0, done.stderr
    assert cli.main(["check", str(tmp_path / "root")]) == 0


def test_the_formats_least_example_keeps_the_format():
    code, = [code for code in blocks(TREE / "docs/format.md", "bash") if "printf" in code]
    done = shell(code)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout


def test_what_the_manifest_document_shows_runs(made, tmp_path, monkeypatch):
    code, = blocks(TREE / "docs/api/zh/manifest_api.md", "python")
    code = code.replace("/data/experiments", str(made / "experiments")).replace(
        "/tmp/index.json", str(tmp_path / "index.json"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert RUN_ID in done.stdout and (tmp_path / "index.json").is_file()


def test_cron_line_of_the_guide_writes_a_manifest(made):
    done = shell(f"cd {shlex.quote(str(made / 'experiments'))} && runicorn generate-manifest")
    assert done.returncode == 0, done.stderr
    assert (made / "experiments" / ".runicorn" / "full_manifest.json").is_file()
