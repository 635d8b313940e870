"""The manifest: what it lists, what it takes over, what it refuses; and that it runs from a pipe on an old
Python."""

import collections
import contextlib
import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from edits import poke
from pairs import OLD, grow, live, make_run, write

from runicorn import manifest, manifest_timer
from runicorn.errors import UsageError
from runicorn.mirror import server_answer

FILE = Path(manifest.__file__)
RUN = "vision/resnet50/runs/20250123_180000_abc123"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def plain(path):
    """Parse a manifest as any other program would."""
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_manifest_is_json_with_one_run_per_line_and_the_small_files_inlined(root):
    make_run(root)
    make_run(root, "语言/模型 一/runs/20250124_180000_abc124")
    report = manifest.generate(str(root))
    whole = plain(root / ".runicorn" / "full_manifest.json")
    assert list(whole["runs"]) == sorted(whole["runs"]) and len(whole["runs"]) == 2
    entry = whole["runs"][RUN]
    assert entry["status"] == {"status": "finished"} and entry["ended"] is True and entry["beat"] is None
    events = (root / RUN / "events.jsonl").read_bytes()
    from hashlib import sha256

    assert entry["files"]["events.jsonl"]["size"] == len(events)
    assert entry["files"]["events.jsonl"]["tail"] == sha256(events[-4096:]).hexdigest()
    assert whole["statistics"] == {"runs": 2, "files": 10, "bytes": report["bytes"]}
    assert len((root / ".runicorn" / "full_manifest.json").read_text(encoding="utf-8").splitlines()) == 6
    assert manifest.load(root / ".runicorn" / "full_manifest.json").entry(RUN)["meta"]["name"] == "resnet50"


def test_the_revision_grows_only_when_a_run_changed(root):
    run = make_run(root)
    first = manifest.generate(str(root))
    file = root / ".runicorn" / "full_manifest.json"
    os.utime(file, (1, 1))
    inode = file.stat().st_ino
    second = manifest.generate(str(root))
    assert (first["revision"], second["revision"], second["changed"]) == (1, 1, False)
    assert file.stat().st_ino == inode, "an unchanged manifest is not written …"
    assert file.stat().st_mtime > 1, "… but touched"
    with open(run / "events.jsonl", "a") as events:
        events.write("{}\n")
    assert manifest.generate(str(root), incremental=False)["revision"] == 2


def test_a_run_of_unchanged_files_is_taken_over_without_opening_one(root, monkeypatch):
    make_run(root)
    make_run(root, "p/n/runs/20250124_180000_abc124", status="running")
    manifest.generate(str(root))
    known = manifest.load(root / ".runicorn" / "full_manifest.json")
    opened = []
    monkeypatch.setattr(manifest, "_read", lambda path, *_: opened.append(path))
    built = manifest.build(str(root), known)
    assert (opened, built.read, built.lines) == ([], 0, known.lines)


def test_what_is_read_again_costs_no_revision_and_is_taken_over_the_next_time(root):
    run = make_run(root)
    first = manifest.generate(str(root))
    # the bytes of small files are the digest, not their times
    os.utime(run / "status.json", (OLD + 7, OLD + 7))
    again = manifest.generate(str(root))
    known = manifest.load(root / ".runicorn" / "full_manifest.json")
    assert (again["revision"], again["changed"]) == (first["revision"], False)
    at = known.entry(RUN)["files"]["status.json"]["mtime"]
    assert at == pytest.approx(OLD + 7, abs=1e-5) and manifest.build(str(root), known).read == 0


EDITS = {
    "appended": lambda file: grow(file),
    "truncated": lambda file: os.truncate(file, 100),
    "rewritten longer": lambda file: file.write_bytes(b"z" * 9000),
    "rewritten shorter": lambda file: file.write_bytes(b"z" * 90),
    "same size in place": lambda file: file.write_bytes(bytes(reversed(file.read_bytes()))),
    "same size in the middle": lambda file: poke(file, file.stat().st_size // 2),
    "same size by rename": lambda file: write(file, bytes(reversed(file.read_bytes()))),
    "with an older mtime": lambda file: write(file, b"y" * file.stat().st_size, mtime=OLD - 1000),
    "with a future mtime": lambda file: write(file, b"y" * file.stat().st_size, mtime=time.time() + 10**6),
    "touched": lambda file: os.utime(file),
    "deleted": lambda file: file.unlink(),
}


@pytest.mark.parametrize("status", ["finished", "running"])
@pytest.mark.parametrize("name", ["events.jsonl", "checkpoints/last.pt"])
@pytest.mark.parametrize("edit", EDITS)
def test_every_change_of_a_file_moves_the_digest(root, status, name, edit):
    run = make_run(root, status=status, rows=1000)
    write(run / "checkpoints" / "last.pt", bytes(range(256)) * 40, mtime=OLD)
    manifest.generate(str(root))
    known = manifest.load(root / ".runicorn" / "full_manifest.json")
    EDITS[edit](run / name)
    os.utime((run / name).parent, (OLD, OLD))  # the folder shows nothing
    fresh, whole = manifest.build(str(root), known), manifest.build(str(root), rescan=True)
    assert fresh.lines == whole.lines and fresh.header["digest"] != known.header["digest"]


def test_a_file_changed_again_within_its_second_is_read_again(root, monkeypatch):
    run = make_run(root, old=False)
    events = run / "events.jsonl"
    known = manifest.build(str(root))
    before = events.stat()
    poke(events, 0)
    os.utime(events, ns=(before.st_mtime_ns, before.st_mtime_ns))
    coarse = manifest._listed

    def whole_seconds(folder, skipped):
        return [(name, size, mtime, before.st_ctime_ns if name == "events.jsonl" else ctime, mode)
                for name, size, mtime, ctime, mode in coarse(folder, skipped)]
    # as a file system of whole seconds would tell it
    monkeypatch.setattr(manifest, "_listed", whole_seconds)
    assert manifest.build(str(root), known).line(RUN) != known.line(RUN)


def test_a_runs_own_files_come_first_however_many_others_there_are(root, monkeypatch):
    monkeypatch.setattr(manifest, "FILES", 50)
    run = make_run(root)
    for number in range(80):
        (run / f"a{number:03d}.pt").touch()
    (run / "zzz").mkdir()
    (run / "zzz" / "more.pt").touch()
    built = manifest.build(str(root))
    assert {"events.jsonl", "logs.txt", "meta.json", "status.json",
            "summary.json"} < built.entry(RUN)["files"].keys()
    assert len(built.entry(RUN)["files"]) <= 55 and built.skipped[manifest.FULL_RUN] > 0


def test_a_temporary_file_that_vanishes_while_it_is_looked_at_takes_no_run_with_it(root, monkeypatch):
    run = make_run(root, status="running")
    real = os.scandir

    class Vanishing:
        def __init__(self, item):
            self.name, self.path = item.name, item.path
            self._item = item

        def stat(self, follow_symlinks=True):
            if self.name == "logs.txt":
                raise FileNotFoundError(2, "gone", self.path)
            return self._item.stat(follow_symlinks=follow_symlinks)

    @contextlib.contextmanager
    def scandir(path):
        with real(path) as items:
            yield map(Vanishing, items) if Path(path) == run else items
    monkeypatch.setattr(manifest, "scandir", scandir)
    assert sorted(manifest.build(str(root)).entry(RUN)["files"]) == [
        "events.jsonl", "meta.json", "status.json", "summary.json"]


def test_a_file_that_may_not_be_read_is_listed_without_a_tail(root, monkeypatch):
    run = make_run(root)
    real = os.open

    def refused(path, *rest, **more):
        if os.fspath(path).endswith("events.jsonl"):
            raise PermissionError(13, "denied", path)
        return real(path, *rest, **more)
    monkeypatch.setattr(manifest.os, "open", refused)
    built = manifest.build(str(root))
    assert built.entry(RUN)["files"]["events.jsonl"] == {"size": (run / "events.jsonl").stat().st_size,
                                                         "mtime": pytest.approx(OLD, abs=1e-5), "tail": None}


def test_a_run_that_goes_on_is_read_again(root):
    run = make_run(root, status="running")
    manifest.generate(str(root))
    with open(run / "logs.txt", "a") as logs:
        logs.write("more\n")
    os.utime(run, (time.time() - 1000,) * 2)
    assert manifest.generate(str(root))["changed"]


def test_a_beat_is_told_without_reading_the_run(root):
    run = make_run(root, status="running")
    manifest.generate(str(root))
    known = manifest.load(root / ".runicorn" / "full_manifest.json")
    live(root, RUN)
    built = manifest.build(str(root), known)
    assert built.read == 0 and built.entry(RUN)["beat"] == pytest.approx(time.time(), abs=60)
    assert built.header["digest"] == known.header["digest"]
    (root / ".runicorn" / "live" / f"{run.name}.json").unlink()
    (run / ".beat").touch()
    os.utime(run / ".beat", (5000, 5000))
    assert manifest.build(str(root), built).entry(RUN)["beat"] == 5000


@pytest.mark.posix       # of a change that keeps the time of writing Windows tells no time
def test_the_active_manifest_has_a_finished_run_whose_file_was_appended_to(root):
    for n in range(3):
        make_run(root, f"p/n/runs/20250123_18000{n}_abc12{n}")
    built = manifest.build(str(root))
    assert len(manifest.active(built)) == 3, "they were all made just now"
    made, built.header["generated_at"] = built.header["generated_at"], time.time() + 7200
    assert manifest.active(built).paths() == []
    built.header["generated_at"] = made
    time.sleep(0.2)
    grow(root / "p/n/runs/20250123_180001_abc121/events.jsonl")
    late = manifest.build(str(root), built)
    late.header["generated_at"] = float(
        manifest.HEAD.match(late.line("p/n/runs/20250123_180001_abc121")).group(7)) + 1
    assert manifest.active(late, window=1.1).paths() == ["p/n/runs/20250123_180001_abc121"]


@pytest.mark.posix       # as above
def test_the_active_manifest_applied_to_an_old_full_one_gives_the_new_one(root):
    for n in range(5):
        make_run(root, f"p/n/runs/20250123_18000{n}_abc12{n}")
    manifest.generate(str(root))
    old = manifest.load(root / ".runicorn" / "full_manifest.json")
    made = time.time()
    time.sleep(0.05)
    make_run(root, "p/n/runs/20250123_180009_abc129", old=False)
    manifest.generate(str(root), active_window=time.time() - made)
    active = manifest.load(root / ".runicorn" / "active_manifest.json")
    assert active.header["kind"] == "active" and active.paths() == ["p/n/runs/20250123_180009_abc129"]
    from runicorn.mirror.remote_index import index_digest

    assert index_digest({**old.lines, **active.lines}) == active.header["digest"]
    assert index_digest(old.lines) != active.header["digest"]


def test_what_is_no_run_is_counted_and_left_out(root):
    run = make_run(root)
    (run / "link.pt").symlink_to("/etc/passwd")
    os.mkfifo(run / "pipe")
    (run / "deep" / "er").mkdir(parents=True)
    (run / "deep" / "er" / "weights.pt").write_bytes(b"w" * 5000)
    (root / "stray.txt").write_text("x")
    (root / "notes" / "todo").mkdir(parents=True)
    (root / "linked").symlink_to(root.parent / "elsewhere")
    with open(os.path.join(os.fsencode(run), b"caf\xe9.txt"), "wb") as file:
        file.write(b"x")
    built = manifest.build(str(root))
    assert built.paths() == [RUN]
    assert sorted(built.entry(RUN)["files"]) == [
        "deep/er/weights.pt",
        "events.jsonl",
        "logs.txt",
        "meta.json",
        "status.json",
        "summary.json",
    ]
    assert built.skipped == {manifest.IN_RUNS: 1, "links to no folder": 1, "outside": 3, manifest.NO_UTF8: 1}
    assert built.entry(RUN)["skipped"] == {manifest.IN_RUNS: 1, "outside": 1, manifest.NO_UTF8: 1}


@pytest.mark.parametrize(
    "text, kept",
    [
        (b'{"a":\n 1}', {"a": 1}),
        (b'{"a": NaN, "b": -Infinity}', {"a": "NaN", "b": "-Infinity"}),
        (b'{"a": 1', None),
        (b"[1]", None),
        (b"\xff", None),
        (b"[" * 60_000, None),
        (b'{"a": "' + b"x" * 70_000 + b'"}', {"truncated": 70_009}),
        (b"", None),
    ],
)
def test_small_files_are_spliced_in_only_when_they_are_json(root, text, kept):
    run = make_run(root)
    write(run / "summary.json", text)
    manifest.generate(str(root))
    assert plain(root / ".runicorn" / "full_manifest.json")["runs"][RUN]["summary"] == kept


def test_gzip_and_other_layouts_are_read_too(root, tmp_path):
    make_run(root)
    report = manifest.generate(str(root), compress=True)
    assert report["output"].endswith("full_manifest.json.gz") and report["compressed"]
    zipped = manifest.load(report["output"])
    pretty = tmp_path / "pretty.json"
    pretty.write_text(json.dumps(json.loads(gzip.decompress(Path(report["output"]).read_bytes())), indent=3))
    assert manifest.load(pretty).entry(RUN) == zipped.entry(RUN)


def bomb():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(b"{" * (manifest.LIMIT + 10)) + packer.flush()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"format":1',
        b'{"format":1,"digest":"x","runs":[]}',
        b'{"format":2,"digest":"x","runs":{}}',
        b"\x1f\x8bgarbage",
        b"\xff\xfe",
        gzip.compress(b'{"format":1,"digest":"x","runs":{}}', mtime=0)[:-12],
        b"[" * 1_000_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_a_broken_manifest_is_one_clear_error(data):
    with pytest.raises(manifest.ManifestError):
        manifest.parse(data)


def test_a_gzip_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(manifest, "LIMIT", 1 << 20)
    with pytest.raises(manifest.ManifestError, match="more than 1 MB"):
        manifest.parse(bomb())


@pytest.mark.parametrize("entry", ["[]", "{", "", "7", "1e5e5", '{"mtime": 1e5e5}', "[" * 100_000])
def test_an_entry_that_is_no_object_is_refused_when_it_is_looked_at(entry):
    whole = manifest.Manifest({"format": 1, "digest": ""}, {"p/n/runs/i": entry.encode()})
    with pytest.raises(manifest.ManifestError):
        whole.entry("p/n/runs/i")


@pytest.mark.parametrize(
    "entry, wrong",
    [
        ("{}", []),
        ('{"files": []}', ["files"]),
        ('{"files": {"a": 1}}', ["files.a"]),
        ('{"files": {"a": {"size": -1}}}', ["files.a"]),
        ('{"files": {"a": {"size": 1e3}}}', ["files.a"]),
        ('{"files": {"a": {"size": true}}}', ["files.a"]),
        ('{"files": {"a": {"size": 99999999999999999999}}}', ["files.a"]),
        ('{"files": {"\\ud800": {"size": 1}}}', ["files.\\ud800"]),
        ('{"files": {"a": {"size": 1, "mtime": NaN}}}', ["files.a.mtime"]),
        ('{"files": {"a": {"size": 1, "mtime": 1e999, "tail": 7}}}', ["files.a.mtime", "files.a.tail"]),
        ('{"meta": [], "summary": "x"}', ["meta", "summary"]),
        ('{"beat": "x", "mtime": true}', ["mtime", "beat"]),
        ('{"digest": 7, "ended": 1}', ["digest", "ended"]),
    ],
)
def test_what_does_not_fit_in_an_entry_is_mended_and_named(entry, wrong):
    whole = manifest.Manifest({"format": 1, "digest": ""}, {"p/n/runs/i": entry.encode()})
    mended, told = whole.mended("p/n/runs/i")
    assert told == wrong and manifest.Manifest({}, {"r": json.dumps(mended).encode()}).mended("r")[1] == []
    assert {"digest", "mtime", "ended", "meta", "status", "summary", "beat", "files"} <= mended.keys()


@pytest.mark.posix       # a name that is no text
def test_names_are_those_of_utf8_where_python_takes_them_for_ascii(root, tmp_path):
    """As Python 3.6 does in the C locale, which cron has; later ones are told to."""
    folder = root / "视觉" / "实验" / "runs" / "运行"
    (folder / "图").mkdir(parents=True)
    for name in ("meta.json", "status.json", "图/样本.png"):
        (folder / name).write_text("{}")
    (folder / os.fsdecode(b"\xff.txt")).write_text("")
    (root / ".runicorn" / "live").mkdir(parents=True, exist_ok=True)
    (root / ".runicorn" / "live" / "运行.json").write_text("{}")
    lines = []
    for locale, flags in (("C", ["-X", "utf8=0"]), ("C.UTF-8", [])):
        output = tmp_path / f"{locale}.json"
        subprocess.run([sys.executable, *flags, manifest.__file__, str(root), "--output", str(output)],
                       check=True, env={**os.environ, "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"})
        lines.append(manifest.load(str(output)).lines)
    entry = json.loads(lines[0]["视觉/实验/runs/运行"])
    assert list(lines[0]) == list(lines[1])
    assert list(entry["files"]) == ["meta.json", "status.json", "图/样本.png"]
    assert entry["beat"] and entry["digest"] == json.loads(lines[1]["视觉/实验/runs/运行"])["digest"]


def test_what_is_no_regular_file_is_no_place_to_write_to(root, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert manifest.main([str(root), "--output", str(tmp_path / "pipe")]) == 1
    assert "no regular file" in capsys.readouterr().err and stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
    (tmp_path / "target").write_text("")
    (tmp_path / "link").symlink_to("target")
    assert manifest.main([str(root), "--output", str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    assert manifest.load(str(tmp_path / "target")).lines == manifest.build(str(root)).lines


@pytest.mark.posix       # a quotation mark in a name
def test_what_is_saved_is_loaded_again(root, tmp_path):
    make_run(root, 'pro"ject/na\\me/runs/20250123_180000_abc123')
    built = manifest.build(str(root))
    for name, compress in (("a.json", False), ("a.json.gz", True)):
        manifest.save(built, str(tmp_path / name), compress)
        again = manifest.load(tmp_path / name)
        assert (again.lines, again.header) == (built.lines, built.header)
    empty = manifest.build(str(tmp_path / "root" / ".."))
    manifest.save(empty, str(tmp_path / "empty.json"))
    assert len(manifest.load(tmp_path / "empty.json")) == 0 and plain(tmp_path / "empty.json")["runs"] == {}


def test_old_live_files_are_cleared_and_beats_shown(root):
    run = make_run(root, status="running")
    live = root / ".runicorn" / "live"
    live.mkdir(parents=True)
    for name, age in ((run.name, 5), ("20200101_000000_dead00", 8 * 86400)):
        (live / f"{name}.json").write_text("{}")
        os.utime(live / f"{name}.json", (time.time() - age,) * 2)
    manifest.generate(str(root))
    assert [path.name for path in live.iterdir()] == [f"{run.name}.json"]
    assert (abs(manifest.load(root / ".runicorn" / "full_manifest.json").entry(RUN)["beat"] - time.time() + 5)
            < 2)


def delta(answer):
    assert answer[:5] == b"delta", answer[:200]
    return manifest.parse(zlib.decompress(answer[5:]))


def keys(held, paths):
    return b"".join(server_answer.key(path, manifest.HEAD.match(held.line(path)).group(6).decode())
                    for path in paths)


@pytest.mark.parametrize("linked", [".runicorn", ".runicorn/live"])
def test_nothing_is_deleted_in_a_folder_that_others_laid_a_link_to(root, tmp_path, linked):
    """In a root that a group may write to."""
    from runicorn.writer import live
    shutil.rmtree(root / ".runicorn", ignore_errors=True)
    home = tmp_path / "home" / ("live" if linked == ".runicorn" else "")
    home.mkdir(parents=True)
    for name in ("notes.json", "thesis.tex", "left.tmp"):
        (home / name).write_text("{}")
        os.utime(home / name, (1, 1))
    (root / linked).parent.mkdir(exist_ok=True)
    (root / linked).symlink_to(tmp_path / "home")
    manifest.main([str(root), "--output", str(tmp_path / "out.json")])
    live.clear_stale(str(root))
    assert sorted(os.listdir(home)) == ["left.tmp", "notes.json", "thesis.tex"]


def test_only_live_files_are_cleared(root):
    from runicorn.writer import live
    folder = root / ".runicorn" / "live"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("old.json", "notes.txt", ".1-ab0.tmp"):
        (folder / name).write_text("{}")
        os.utime(folder / name, (1, 1))
    live.clear_stale(str(root))
    assert [name for name in os.listdir(folder) if name in ("old.json", "notes.txt", ".1-ab0.tmp")] == [
        "notes.txt"]


def test_the_answer_to_a_mirror_is_what_it_has_not(root):
    paths = [f"p/n/runs/20250123_18000{n}_abc12{n}" for n in range(3)]
    for path in paths:
        make_run(root, path)
    held = delta(server_answer.answer(str(root)))
    assert held.paths() == paths and held.lines == manifest.build(str(root)).lines
    assert server_answer.answer(str(root), keys(held, paths))[:9] == b"unchanged"
    make_run(root, "p/n/runs/20250123_180009_abc129")
    grow(root / paths[1] / "events.jsonl")
    shutil.rmtree(root / paths[2])
    told = delta(server_answer.answer(str(root), keys(held, paths)))
    assert told.paths() == [paths[1], "p/n/runs/20250123_180009_abc129"] and told.header["absent"] == [1, 2]


def test_a_mirror_that_was_told_before_asks_with_one_stamp(root):
    for n in range(3):
        make_run(root, f"p/n/runs/20250123_18000{n}_abc12{n}")
    header = delta(server_answer.answer(str(root))).header
    said = server_answer.answer(str(root), stamp=header["stamp"], since=header["generated_at"] + 60)
    assert said[:9] == b"unchanged" and json.loads(said[9:].decode())["took"] >= 0
    time.sleep(0.8)
    grow(root / "p/n/runs/20250123_180001_abc121/events.jsonl")
    told = delta(server_answer.answer(str(root), stamp=header["stamp"], since=time.time() - 0.5))
    assert told.paths() == ["p/n/runs/20250123_180001_abc121"] and told.header["stamp"] != header["stamp"]
    assert told.header["stamp"] == delta(server_answer.answer(str(root))).header["stamp"]


def test_the_command_says_what_it_found_and_which_root(root, monkeypatch, capsys):
    make_run(root)
    monkeypatch.chdir(root)
    assert manifest.main(["--verbose"]) == 0
    said = capsys.readouterr().out
    assert f"{root} (this folder)" in said
    assert all(
        word in said
        for word in ("kind", "output", "compressed", "revision", "runs        1", "files       5", "bytes")
    )
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv("RUNICORN_DIR", str(root / "absent"))
    # a server before its first training
    assert manifest.main(["--verbose"]) == 0 and "no runs yet" in capsys.readouterr().out
    assert manifest.main(["--root", str(root / "absent")]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert manifest.main(["--root", str(root), "--output", str(root.parent / "out.json")]) == 0
    assert manifest.load(root.parent / "out.json").paths() == [RUN]


def test_without_runs_here_the_default_root_is_taken(root, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("RUNICORN_DIR", str(root))
    assert manifest.main([]) == 0
    assert f"{root} (the default root)" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["3.6", "3.8"])
def test_it_runs_alone_from_a_pipe(root, version):
    make_run(root)
    old = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    python = str(old[-1]) if old else sys.executable  # without an old Python here, at least without ours
    done = subprocess.run([python, "-S", "-I", "-", str(root), "--verbose"], input=FILE.read_bytes(),
                          capture_output=True, timeout=60)
    assert done.returncode == 0 and b"runs        1" in done.stdout, done.stderr


@pytest.mark.posix       # crontab and systemd
def test_units_name_this_interpreter_and_root(root, capsys):
    for kind, words in (
        ("cron", ["*/5 * * * *"]),
        ("systemd", ["runicorn-manifest.timer", "OnCalendar=*:0/5", "ExecStart="]),
        ("schtasks", ["/SC", "MINUTE"]),
    ):
        assert manifest.main(["--root", str(root), "--install", kind]) == 0
        said = capsys.readouterr().out
        assert all(word in said for word in [*words, sys.executable, str(FILE), str(root)])


def test_what_is_not_on_this_machine_is_said(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="not on this machine"):
        manifest_timer.install("schtasks", str(root), yes=True)
    capsys.readouterr()


@pytest.mark.parametrize(("text", "taken"), [
    ('{"a":' * 63 + "{}" + "}" * 63, True), ('{"a":' * 64 + "{}" + "}" * 64, False),
    ('{"a": ' + "[" * 64 + "]" * 64 + "}", False),
    ('{"a": [' + "[1.5], " * 80 + "{}]}", True), ('{"a": "' + "{[" * 80 + '"}', True),
    ('{"a": 1e999, "b": -0.0, "c": 2.5e-300}', True),
    ('{"a": 0.' + "3" * 5000 + "}", True), ('{"a": 1.}', False), ('{"a": .5}', False),
    ('{"a": 1.5, "a": 01}', False), ("1.5", False), ("[1.5]", False),
    ('\ufeff{"a": 1}', False), ('{"a": "\ud800"}', False), ("", False)])
def test_small_json_is_spliced_in_as_found_or_counted(root, text, taken):
    (make_run(root) / "meta.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    built = manifest.build(str(root))
    assert (b'"meta": %s, "status"' % (text.encode("utf-8", "replace") if taken else b"null")
            in built.lines[RUN])
    assert built.skipped == ({} if taken else {"not JSON": 1})


def test_a_number_in_small_json_is_one_when_somebody_looks(root):
    (make_run(root) / "meta.json").write_text('{"a": 0.1, "b": NaN}')
    assert manifest.build(str(root)).entry(RUN)["meta"] == {"a": 0.1, "b": "NaN"}
    assert manifest.splice(b'{"a": 0.1}', collections.Counter()) == (b'{"a": 0.1}', {"a": 0.1})


@pytest.mark.parametrize("name",
                         ["half.tmp", "a.tmp.txt", pytest.param("\udce9.txt", marks=pytest.mark.posix),
                          "\u5b9e\u9a8c.txt"])
def test_a_name_that_needs_a_look_is_treated_alike_among_plain_ones(root, name):
    run = make_run(root)
    plain = sorted(manifest.build(str(root)).entry(RUN)["files"])
    (run / name).write_text("x")
    built = manifest.build(str(root))
    listed = name in ("a.tmp.txt", "\u5b9e\u9a8c.txt")
    assert sorted(built.entry(RUN)["files"]) == sorted(plain + [name] * listed)
    assert built.skipped == ({manifest.NO_UTF8: 1} if name == "\udce9.txt" else {})


def test_a_key_that_is_no_text_is_no_run(root):
    make_run(root)
    data = b"".join(manifest.text(manifest.build(str(root))))
    for key in (b"\\ud800", b"\\u0041\\udfff", b"\xed\xa0\x80", b"\\u00"):
        poisoned = data.replace(b'"runs": {\n', b'"runs": {\n"%s": {},\n' % key)
        assert poisoned != data and manifest.parse(poisoned).paths() == [RUN]
    escaped = data.replace(b'"vision/', b'"\\u0076ision/')
    assert escaped != data and manifest.parse(escaped).paths() == [RUN]
