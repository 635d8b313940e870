"""`runs`, `show` and `viewer` as a person meets them, on the golden folders."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from small_runs import run_folder, write_run

import runicorn
from runicorn import loopback
from runicorn.cli import main as cli
from runicorn.cli import terminal
from runicorn.cli.viewer import has_desktop, local_roots
from runicorn.version import VERSION

GOLDEN = str(Path(__file__).parents[1] / "golden" / "root")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def printed(capsys, *argv, code=0):
    assert cli.main(list(argv)) == code
    return capsys.readouterr()


# -- runs ----------------------------------------------------------------------------------------------------

def test_runs_lists_every_run_of_root_with_state_and_main_metric(capsys):
    lines = printed(capsys, "runs", "--root", GOLDEN).out.splitlines()
    assert len(lines) == 8 and lines[0].startswith("STATE")
    line, = [line for line in lines if line.endswith("20250123_180000_abc123")]
    words = line.split()
    assert words[:4] + words[6:] == ["✓", "finished", "resnet50", "vision", "59s", "50", "val/loss", "1.5",
                                     "20250123_180000_abc123"]


def test_runs_takes_the_filter_language_columns_and_sort(capsys):
    said = printed(capsys, "runs", "tag:baseline", "--root", GOLDEN, "--columns",
                   "config.optimizer.lr,summary.best_val_accuracy")
    assert "CONFIG.OPTIMIZER.LR" in said.out and len(said.out.splitlines()) == 2 and "61.5" in said.out
    lines = printed(capsys, "runs", "project:vision", "--sort", "name", "--json", "--root",
                    GOLDEN).out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["ddp", "numbers", "resnet50", "resnet50"]


def test_runs_says_so_when_nothing_fits_and_where_a_filter_is_wrong(capsys, tmp_path):
    assert printed(capsys, "runs", "tag:nowhere", "--root", GOLDEN).err == "no runs fit this filter\n"
    assert printed(capsys, "runs", "--root", str(tmp_path)).err.startswith(
        f"no runs yet in {tmp_path}, nor from a server: ")
    assert "runicorn: " in printed(capsys, "runs", "loss<", "--root", GOLDEN, code=2).err


def test_runs_fits_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert all(terminal.cells(line) <= 80
               for line in printed(capsys, "runs", "--root", GOLDEN).out.splitlines())


@pytest.mark.parametrize("width", [60, 80, 90, 100, 120, 160])
def test_dates_ids_and_values_are_whole_and_names_told_apart_at_any_width(
        capsys, monkeypatch, tmp_path, width):
    monkeypatch.setenv("COLUMNS", str(width))
    names = [f"pretrain_llama_7b_redpajama_cosine_warmup{end}" for end in ("_lr1e-4", "_lr3e-4", "_seed1")]
    names += ["x" * 60 + middle + "y" * 60 for middle in "ab"]
    names += ["大规模语言模型预训练实验使用余弦学习率与长时间预热" + end for end in ("一号", "二号")]
    for number, name in enumerate(names):
        write_run(tmp_path, "a_project_with_a_long_name", name, f"20260101_00000{number}_abc123", rows=3,
                  metric="eval/mean_of_everything_loss")
    header, *lines = printed(capsys, "runs", "--root", str(tmp_path)).out.splitlines()
    assert len(lines) == len(names) and all(terminal.cells(line) <= max(width, 78) for line in lines)
    whole = re.compile(r"✓ finished  (\S+) +.*\d{4}-\d\d-\d\d \d\d:\d\d  .* 0\.6+7  \d{8}_\d{6}_abc123")
    found = [whole.fullmatch(line) for line in lines]
    assert all(found), [line for line, one in zip(lines, found) if not one]
    assert len({one[1] for one in found}) == len(names), lines
    assert ("PROJECT" in header, "TOOK" in header) == (width > 90, width > 100), header


def test_many_columns_leave_dates_and_ids_whole(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "96")
    write_run(tmp_path, "p", "n", "20260101_000000_abc123", config={"lr": 0.00012345678, "model": "resnet"})
    header, line = printed(capsys, "runs", "--root", str(tmp_path), "--columns",
                           "config.lr,config.model").out.splitlines()
    assert header.split()[-3:] == ["LR", "MODEL", "ID"]
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d .*20260101_000000_abc123$", line)


def test_a_newer_format_is_said_in_list_and_show(capsys, tmp_path):
    write_run(tmp_path, "p", "n", "20260101_000000_abc123", format=3)
    said = printed(capsys, "runs", "--root", str(tmp_path))
    assert said.out.splitlines()[1].split()[-3:] == ["-", "-", "20260101_000000_abc123"]
    assert "format is 3" in said.err
    assert "! its format is 3" in printed(capsys, "show", "abc123", "--root", str(tmp_path)).out
    row = json.loads(printed(capsys, "runs", "--json", "--root", str(tmp_path)).out)
    assert (row["newer"], row["format"], row["step"], row["main"]) == (True, 3, None, None)


def test_limit_0_shows_all_and_a_limit_no_more(capsys, tmp_path):
    for number in range(60):
        write_run(tmp_path, "p", "n", f"20260101_0000{number:02}_abc123", rows=1)
    assert len(printed(capsys, "runs", "--root", str(tmp_path)).out.splitlines()) == 51
    everything = printed(capsys, "runs", "--root", str(tmp_path), "--limit", "0")
    assert len(everything.out.splitlines()) == 61 and "--limit" not in everything.err
    assert len(printed(capsys, "runs", "--root", str(tmp_path), "--limit", "2").out.splitlines()) == 3
    view = runicorn.runs(root=tmp_path)[0]._reader.view()
    view.runs = view.runs * 200
    assert len(view.list(limit=None)["runs"]) == 12_000 and len(view.list(limit=11_000)["runs"]) == 11_000


def test_runs_says_when_it_shows_a_part(capsys):
    said = printed(capsys, "runs", "--limit", "2", "--root", GOLDEN)
    assert len(said.out.splitlines()) == 3 and "2 of 7 runs" in said.err


# -- show ----------------------------------------------------------------------------------------------------

def test_show_tells_config_summary_state_and_metrics(capsys):
    said = printed(capsys, "show", "20250123_180000_abc123", "--root", GOLDEN).out
    for words in ("vision / resnet50", "✓ finished", "on gpu-01 by alice", "tags: baseline, v2.0",
                  "optimizer.lr", "best_val_accuracy"):
        assert words in said
    assert "█" in said
    loss, = [line.split() for line in said.splitlines() if line.startswith("  train/loss") and "step" in line]
    assert loss[:7] == ["train/loss", "1.25", "1.25", "at", "step", "50", "3"]


def test_show_as_json_is_the_api_answer(capsys):
    run = json.loads(printed(capsys, "show", "20250127_120000_cccccc", "--json", "--root", GOLDEN).out)
    assert run["state"] == "interrupted" and run["skipped"] == 2
    assert run["metrics"][0]["name"] and "NaN" in json.dumps(run)


def test_an_unknown_run_is_refused_and_an_ambiguous_one_with_the_candidates(capsys, tmp_path):
    assert "there is no run" in printed(capsys, "show", "20990101", "--root", GOLDEN, code=2).err
    for second in ("20250101_000000_abc123", "20250102_000000_abc123"):
        run_folder(tmp_path, f"vision/resnet50/runs/{second}", {
            "meta.json": {"format": 1, "id": second, "project": "vision", "name": "resnet50",
                          "created_at": 1.0}})
    said = printed(capsys, "show", "abc123", "--root", str(tmp_path), code=2).err
    assert "local:vision/resnet50/20250101_000000_abc123" in said
    assert "local:vision/resnet50/20250102_000000_abc123" in said
    assert printed(capsys, "show", "20250102_000000_abc123", "--root", str(tmp_path)).out


# -- viewer --------------------------------------------------------------------------------------------------

def start(*argv):
    return subprocess.Popen([sys.executable, "-m", "runicorn", "viewer", "--no-browser", *argv],
                            stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONIOENCODING": "utf-8"})


def test_viewer_prints_the_guides_banner_serves_and_ends_on_ctrl_c(home):
    process = start("--port", "0", "--root", GOLDEN)
    try:
        box = [process.stdout.readline().rstrip("\n") for _ in range(7)]
        assert box[0] == "╭" + "─" * 58 + "╮" and box[6] == "╰" + "─" * 58 + "╯"
        title, version, url, empty, stop = [line[2:-1].strip() for line in box[1:6]]
        assert (title, version, empty, stop) == ("Runicorn Viewer", f"Version: {VERSION}", "",
                                                 "Press Ctrl+C to stop")
        url = url.removeprefix("URL: ")
        with urllib.request.urlopen(f"{url}/api/runs", timeout=30) as answer:
            assert json.load(answer)["total"] == 7
        kept, = (home / "run").glob("*.json")
        assert kept.stat().st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
        assert (process.returncode, complaint) == (0, "") and not kept.exists()
    finally:
        process.kill()
        process.communicate()


def test_an_ascii_terminal_gets_an_ascii_box():
    process = subprocess.Popen([sys.executable, "-m", "runicorn", "viewer", "--no-browser", "--port", "0"],
                               stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    try:
        assert process.stdout.readline().isascii() and b"Runicorn Viewer" in process.stdout.readline()
    finally:
        process.terminate()
        process.communicate()


def test_a_taken_port_is_said_with_a_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 1 and complaint.count("\n") == 1
    assert str(port) in complaint and "--port" in complaint


def test_an_unknown_connection_is_refused_before_anything_is_served(home, capsys):
    assert "nowhere" in printed(capsys, "viewer", "--port", "0", "--connection", "nowhere", "--no-browser",
                                code=2).err


def test_several_local_roots_have_names(tmp_path):
    (tmp_path / "b").mkdir()
    assert local_roots([str(tmp_path), str(tmp_path / "b")]) == [
        ("local", tmp_path), ("local2", tmp_path / "b")]


def test_no_browser_without_a_terminal_or_desktop(monkeypatch):
    monkeypatch.setattr(loopback, "HAS_DESKTOP", False)
    assert not has_desktop({"DISPLAY": ":0"})                   # the output is captured: no terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert has_desktop({"DISPLAY": ":0"}) and has_desktop({"WAYLAND_DISPLAY": "w"})
    assert not has_desktop({}) and not has_desktop({"DISPLAY": ":0", "SSH_CONNECTION": "1"})


@pytest.mark.few(2)
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("words", ["runs", "runs --json", "show 20250123_180000_abc123", "--version"])
def test_a_closed_stdout_or_stderr_is_no_fault(home, tmp_path, closed, words):
    write_run(tmp_path / "root", "vision", "n", "20250123_180000_abc123", status="running")
    command = f"exec {sys.executable} -m runicorn {words} {closed}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60,
                           cwd=Path(__file__).parents[2],
                           env={**os.environ, "RUNICORN_DIR": str(tmp_path / "root")})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert bool(ended.stdout) == (closed == "2>&-")


@pytest.mark.few(3)
@pytest.mark.parametrize("command",
                         [("show",), ("tail", "--no-follow"),
                          ("export", "--format", "csv", "-o", "-", "--run-id")])
def test_every_command_that_names_a_run_takes_the_same_ends_and_says_the_same(tmp_path, capsys, command):
    name, *words = command
    for project, ending in (("vision", "180000_abc123"), ("speech", "180001_abc123"),
                            ("speech", "180002_abd123")):
        write_run(tmp_path, project, "base", f"20250123_{ending}")

    def told(tail, code=0):
        captured = printed(capsys, name, "--root", str(tmp_path), *words, tail, code=code)
        return captured.err if code else captured.out
    ends = ["abd123", "180002_abd123", "20250123_180002_abd123", "base/20250123_180002_abd123",
            "local:speech/base/20250123_180002_abd123"]
    first, *others = map(told, ends)
    assert "speech" in first or name == "export"
    assert [out == first for out in others] == [True] * 4
    assert told("abc123",
                2) == ("runicorn: 'abc123' may be 2 runs: local:speech/base/20250123_180001_abc123, "
                       "local:vision/base/20250123_180000_abc123; give more of the key\n")
    assert told("bd123", 2) == "runicorn: there is no run 'bd123'; `runicorn runs` lists them\n"


@pytest.mark.parametrize("words", [
    ["show", "{}"], ["tail", "--no-follow", "{}"], ["check", "{}"], ["check", "--secrets", "{}"],
    ["export", "--format", "csv", "-o", "-", "--run-id", "{}"]])
def test_every_command_names_a_run_alike(tmp_path, capsys, words):
    for number in range(2):
        write_run(tmp_path / "root", "p", f"n{number}", f"2026010{number + 1}_000000_aaaaaa")

    def said(name):
        code = cli.main([word.format(name) for word in words] + ["--root", str(tmp_path / "root")])
        output = capsys.readouterr()
        return code, output.out, output.err
    for name in ("20260101_000000_aaaaaa", "n0/20260101_000000_aaaaaa", "p/n0/20260101_000000_aaaaaa",
                 "local:p/n0/20260101_000000_aaaaaa"):
        code, out, err = said(name)
        assert code == 0 and out and not err, (name, err)
    code, out, err = said("aaaaaa")
    assert code and not out
    assert ("'aaaaaa' may be 2 runs: local:p/n0/20260101_000000_aaaaaa, local:p/n1/20260102_000000_aaaaaa"
            in err)
    code, out, err = said("zzz")
    assert code and not out and "there is no run 'zzz'; `runicorn runs` lists them" in err


@pytest.mark.parametrize("words", [["check"], ["check", "--secrets"]])
def test_a_place_that_is_none_gets_a_sentence(tmp_path, capsys, words):
    assert cli.main([*words, str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"runicorn: {tmp_path / 'nowhere'} is not a folder\n"
