"""Never wrong: whatever happens to files, names, manifests, attributes and clocks, the mirror ends as the
server's equal."""

import json
import os
import random
import shutil
import subprocess
import time

import pytest
from far import Far
from pairs import (  # noqa: F401 (fixtures)
    OLD,
    OWN,
    RUN,
    Pair,
    grow,
    here,
    live,
    make_run,
    mirror,
    pair,
    root,
    settle,
    told,
    tree,
    write,
)

from runicorn import manifest
from runicorn.ssh import sftp

# -- files change in every way -------------------------------------------------------------------------------

CHANGES = {
    "truncated": lambda file: os.truncate(file, 100),
    "emptied": lambda file: os.truncate(file, 0),
    "replaced by a longer one": lambda file: write(file, b"z" * 200_000),
    "replaced by a shorter one": lambda file: write(file, b"y" * 50),
    "replaced by one as long": lambda file: write(file, bytes(reversed(file.read_bytes()))),
    "shrunk and regrown beyond": lambda file: (os.truncate(file, 1000), grow(file, b"w" * 300_000)),
    "rotated": lambda file: (os.rename(file, f"{file}.1"), write(file, b"fresh\n")),
    "rewritten in place": lambda file: file.write_bytes(b"q" * file.stat().st_size),
    "appended": grow,
}


@pytest.mark.few(6)
@pytest.mark.parametrize("name", ["events.jsonl", "logs.txt", "summary.json", "weights.pt"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_here_as_it_is_there(root, pair, name, change):
    run = make_run(root, status="running", rows=2000)
    (run / "weights.pt").write_bytes(random.Random(1).randbytes(90_000))
    one = pair()
    one.passes()
    CHANGES[change](run / name)
    for _ in range(4):
        one.passes(31)
    one.same()


@pytest.mark.few(3)
@pytest.mark.parametrize("change", [name for name in CHANGES if name != "rewritten in place"])
def test_so_it_is_while_somebody_watches(root, pair, change):
    run = make_run(root, status="running", rows=2000, old=False)
    live(root)
    one = pair()
    one.bell.look({"runs"})
    one.passes()
    grow(run / "events.jsonl")
    one.passes(1)
    CHANGES[change](run / "events.jsonl")
    for seconds in (1, 1, 1, 31, 31):
        one.passes(seconds)
    one.same()


@pytest.mark.parametrize("source", ["exec", "sftp"])
@pytest.mark.parametrize("change", ["swapped", "rotated"])
def test_what_a_sync_now_finds_wrong_is_mended_before_it_is_done(root, pair, source, change):
    run = make_run(root, rows=30)
    one = pair(source)
    one.passes()
    if change == "swapped":
        os.rename(run / "events.jsonl", run / "x")
        os.rename(run / "logs.txt", run / "events.jsonl")
        os.rename(run / "x", run / "logs.txt")
    else:
        os.rename(run / "logs.txt", run / "logs.2.txt")
        write(run / "logs.txt", b"fresh\n", OLD)
    one.sync.sync_now()
    one.passes(3)
    one.same()
    assert not one.sync.is_asked


def test_small_json_rewritten_within_its_second_is_read_once_more(root, pair):
    run = make_run(root, status="running", old=False)
    one = pair()
    one.passes()
    before = (run / "summary.json").stat()
    (run / "summary.json").write_text('{"loss": 9.9}')
    assert (run / "summary.json").stat().st_size == before.st_size
    os.utime(run / "summary.json", (before.st_mtime, before.st_mtime))
    one.passes(3)
    one.passes(31)
    one.same()


def test_a_run_deleted_and_made_again_is_the_new_one(root, pair):
    run = make_run(root, status="running", rows=500)
    one = pair()
    one.passes()
    subprocess.run(["rm", "-r", run], check=True)
    make_run(root, status="finished", rows=20)
    for _ in range(3):
        one.passes(31)
    one.same()


def test_a_run_that_vanished_stays_here_marked_and_may_come_back(root, pair):
    run = make_run(root)
    make_run(root, "p/n/runs/20250124_180000_abc124")
    one = pair()
    one.passes()
    held = tree(one.mirror)
    os.rename(run, root.parent / "aside")
    one.passes(31)
    assert told(one)["gone"] == [RUN] and tree(one.mirror) == held
    os.rename(root.parent / "aside", run)
    os.utime(run.parent, (time.time() + 5,) * 2)  # all this takes less than one second of the server's clock
    one.passes(31)
    assert told(one)["gone"] == []
    one.same()


def test_a_root_that_can_not_be_seen_makes_no_run_vanish(root, pair):
    make_run(root)
    one = pair()
    one.passes()
    os.rename(root, root.parent / "aside")
    one.passes(31)
    assert told(one)["gone"] == [] and here(one) == OWN and one.sync.state()["reason"]["code"] == "no_root"
    os.rename(root.parent / "aside", root)
    one.passes(31)
    one.same()
    assert one.sync.state()["reason"]["code"] == "live"


def test_a_folder_made_by_other_means_is_mirrored_too(root, pair):
    run = root / "my project (v2)" / "exp: β" / "runs" / "first try"
    run.mkdir(parents=True)
    (run / "events.jsonl").write_text('{"step": 1, "data": {"loss": 1}}\n')
    one = pair()
    one.passes()
    assert len(tree(one.mirror)) == 1
    assert list(tree(one.mirror).values()) == [(run / "events.jsonl").read_bytes()]
    grow(run / "events.jsonl")
    one.passes(31)
    assert list(tree(one.mirror).values()) == [(run / "events.jsonl").read_bytes()]


# -- names and manifests that lie ----------------------------------------------------------------------------


def test_hostile_names_stay_inside_the_mirror_and_apart(root, pair, tmp_path):
    names = [
        "back\\slash",
        "C:evil",
        "con",
        "nul.txt",
        "tab\there",
        "new\nline",
        "trailing.",
        "trailing ",
        'quote"',
        "star*",
        "~",
        "%41",
        "A",
        "ⒶUnicode",
        "...",
        "twin.pt",
        "TWIN.pt",
    ]
    run = make_run(root)
    for number, name in enumerate(names):
        (run / name).write_bytes(b"%d" % number)
    (run / "link").symlink_to("/etc/passwd")
    (run / "loop").symlink_to(".")
    make_run(root, "..evil/..n/runs/...i")
    one = pair(small_limit=1 << 20)
    one.passes()
    contents = sorted(path.read_bytes() for path in (one.mirror / RUN).iterdir() if path.name not in OWN)
    assert contents == sorted(b"%d" % number for number in range(len(names)))
    assert not list(one.mirror.rglob("link"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "near"]
    assert all(path.resolve().is_relative_to(one.mirror) for path in one.mirror.rglob("*"))


def test_a_link_planted_in_the_mirror_is_never_followed(root, pair, tmp_path):
    make_run(root)
    outside = tmp_path / "outside"
    outside.mkdir()
    one = pair()
    (one.mirror / "vision").mkdir(parents=True)
    (one.mirror / "vision" / "resnet50").symlink_to(outside)
    one.passes()
    assert list(outside.iterdir()) == []
    assert one.sync.state()["state"] == "live"


def line(**entry):
    whole = {
        "digest": "0" * 64,
        "mtime": OLD,
        "ended": True,
        "meta": None,
        "status": {"status": "finished"},
        "summary": None,
        "beat": None,
        "files": {},
        **entry,
    }
    return json.dumps(whole)


LIES = {
    "traversal": {"../../outside/runs/i": line(files={"a": {"size": 1, "mtime": 1, "tail": None}})},
    "absolute": {"/etc/x/runs/i": line()},
    "escaping file": {RUN: line(files={"../../../../../evil": {"size": 5, "mtime": 1, "tail": None}})},
    "windows": {"C:\\x/n/runs/i": line(), "p\\..\\x/n/runs/i": line()},
    "wrong sizes": {
        RUN: line(files={"events.jsonl": {"size": 10**9, "mtime": OLD, "tail": None},
                         "logs.txt": {"size": 3, "mtime": OLD, "tail": None}})
    },
    "wrong tails": {RUN: line(files={"events.jsonl": {"size": 450, "mtime": OLD, "tail": "f" * 64}})},
    "runs that are not": {
        f"ghost/n/runs/2025012{n}_180000_abc123":
        line(files={"events.jsonl": {"size": 9, "mtime": 1, "tail": None}}) for n in range(9)
    },
    "runs missing": {},
    "no JSON": {RUN: "{nonsense}"},
    "wrong shape": {RUN: '{"files": {"a": -1}}'},
    "deep": {RUN: "[" * 99_999},
    "lone surrogate": {"\\ud800/n/runs/i": line()},
    "many": {f"p/n/runs/i{n}": "{}" for n in range(3_000)},
}


@pytest.mark.few(6)
@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_found_out(root, pair, tmp_path, lie):
    make_run(root)
    make_run(root, "p/n/runs/20250124_180000_abc124")
    text = ",\n".join(f'"{path if path.startswith(chr(92)) else json.dumps(path)[1:-1]}": {entry}'
                      for path, entry in LIES[lie].items())
    head = ('{"format": 1, "kind": "full", "revision": 1, "digest": "sha256:x", "generated_at": 1, '
            '"host": "h", "root": "r",\n"runs": {\n')
    (root / ".runicorn").mkdir()
    (root / ".runicorn" / "full_manifest.json").write_text(head + text + '\n},\n"statistics": {}}\n')
    one = pair()
    for _ in range(3):
        one.passes(31)
    one.same()
    assert sorted(manifest.load(one.mirror / ".index" / "full.json").paths()) == [
        "p/n/runs/20250124_180000_abc124", RUN]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "near"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b" + b"x" * 100,
        b'{"format": 1, "kind": "full"',
        b"[" * 100_000,
        b'{"format": 1, "digest": "x", "runs": {"a": {}, "a": {}}}',
        b'{"format": 1, "digest": "x",\n"runs": {\n"p/n/runs/a": {},\n"p/n/runs/a": {"ended": true}\n},\n'
        b'"statistics": {}}\n',
    ],
)
def test_a_manifest_that_is_none_is_left_alone(root, pair, data):
    make_run(root)
    (root / ".runicorn").mkdir()
    for name in ("full_manifest.json", "full_manifest.json.gz", "active_manifest.json"):
        (root / ".runicorn" / name).write_bytes(data)
    one = pair()
    one.passes()
    one.passes(31)
    one.same()


def test_a_stale_manifest_hides_nothing(root, pair):
    run = make_run(root, status="running")
    manifest.generate(str(root))
    grow(run / "events.jsonl")
    make_run(root, "p/n/runs/20250124_180000_abc124")
    write(run / "status.json", {"status": "finished"})
    one = pair()
    one.passes()
    one.same()


# -- attributes, clocks, hearts ------------------------------------------------------------------------------


class Stale(sftp.Sftp):
    """Serves attributes as a network file system does: up to 60 s old, unless the file was opened since."""

    def __init__(self, stream, clock, **options):
        self.clock, self.cache = clock, {}
        super().__init__(stream, **options)

    def ask(self, request, done):
        if request.kind == sftp.OPEN:
            self.cache.pop(request.about, None)
        if request.kind == sftp.LSTAT:
            kept = self.cache.get(request.about)
            if kept and self.clock() - kept[0] < 60:
                return super().ask(request, lambda fresh: done(kept[1]))
            return super().ask(request,
                               lambda fresh: (self.cache.update({request.about: (self.clock(), fresh)}),
                                              done(fresh)))
        return super().ask(request, done)


def test_attributes_a_minute_old_neither_lose_nor_repeat_a_byte(root, pair):
    class OldFar(Far):
        def client(self, **options):
            return Stale(self.stream(), lambda: one.now, timeout=10, **options)

    run = make_run(root, status="running", old=False)
    live(root)
    one = pair(far=OldFar())
    one.bell.look({"runs"})
    one.passes()
    for second in range(12):
        grow(run / "events.jsonl", b'{"step":%d}\n' % second)
        one.passes(1)
        assert tree(one.mirror)[f"{RUN}/events.jsonl"] == (run / "events.jsonl").read_bytes()
    before = one.far.bytes_received
    for _ in range(4):
        one.passes(31)
    one.same()
    assert one.far.bytes_received - before < 30_000


def test_clocks_an_hour_off_change_nothing(root, pair):
    run = make_run(root, status="running", old=False)
    one = pair()
    one.passes()
    for ahead in (3600, -3600, 7200):
        grow(run / "events.jsonl")
        write(run / "summary.json", {"loss": ahead})
        for name in ("events.jsonl", "summary.json"):
            os.utime(run / name, (time.time() + ahead,) * 2)
        one.passes(31)
        one.passes(31)
        one.same()


def test_our_own_clock_set_back_does_not_stop_us(root, pair):
    run = make_run(root, status="running")
    one = pair()
    one.passes()
    grow(run / "events.jsonl")
    assert one.passes(-7200) <= 30
    one.same()
    grow(run / "events.jsonl")
    one.passes(50_000)  # the laptop slept
    one.same()


@pytest.mark.few(3)
@pytest.mark.parametrize("source", ["exec", "manifest", "sftp"])
@pytest.mark.parametrize("path", [RUN, f"{RUN}/logs.txt"])
def test_what_somebody_removed_from_the_mirror_comes_again_by_sync_now(root, pair, source, path):
    make_run(root)
    manifest.generate(str(root)) if source == "manifest" else None
    one = pair(source)
    one.passes()
    one.passes(31)
    one.same()
    shutil.rmtree(one.mirror / path) if path == RUN else os.unlink(one.mirror / path)
    one.sync.sync_now()
    one.passes(5)
    settle(one)
    one.passes(5)
    one.same()
