"""A manifest made to exhaust whoever reads it: the work, the memory and the requests it costs are bounded,
and the log says what it was."""

import gzip
import subprocess
import sys
import textwrap

import pytest
import tally
from pairs import RUN, Pair, make_run, mirror, pair, root  # noqa: F401 (fixtures)

from runicorn import manifest
from runicorn.mirror import listings

BLOCK = 100_000


def bomb(root, count, by_line=True, ended="false"):
    """Write a gzip'd manifest of `count` runs that are not there, as a stream; by_line: laid out as ours is,
    one run a line."""
    (root / ".runicorn").mkdir(exist_ok=True)
    between = b",\n" if by_line else b","
    with gzip.open(root / ".runicorn" / "full_manifest.json.gz", "wb", compresslevel=1) as file:
        file.write(b'{"format": 1, "kind": "full", "revision": 1, "digest": "x",'
                   + (b'\n"runs": {\n' if by_line else b' "runs": {'))
        for start in range(0, count, BLOCK):
            some = between.join(b'"p/n/runs/%d": {"ended": %s}' % (n, ended.encode())
                                for n in range(start, min(count, start + BLOCK)))
            file.write((between if start else b"") + some)
        file.write(b'\n},\n"statistics": {}}\n' if by_line else b"}}")


@pytest.mark.few(1)
@pytest.mark.parametrize("ended", ["true", "false"])
def test_thousands_of_runs_that_are_not_there_cost_no_request_each(root, pair, caplog, ended):
    make_run(root)
    bomb(root, 20_000, ended=ended)
    one = pair()
    one.passes()
    one.passes(31)
    one.same()
    assert one.far.sessions[0].requests < 200 and one.sync.state()["runs"] == 1
    assert "speaks of 20000 runs that are not there" in caplog.text
    assert manifest.load(one.mirror / ".index" / "full.json").paths() == [RUN]


@pytest.mark.parametrize("name", ["full_manifest.json", "full_manifest.json.gz", "active_manifest.json"])
def test_a_manifest_of_a_terabyte_is_not_read_at_all(root, pair, caplog, name):
    make_run(root)
    (root / ".runicorn").mkdir()
    with open(root / ".runicorn" / name, "ab") as file:
        file.truncate(1 << 40)
    one = pair()
    one.passes()
    one.passes(31)
    one.same()
    assert one.far.bytes_received < 100_000
    assert caplog.text.count("is larger than 512 MB") == 1


def test_a_few_that_are_not_there_are_asked_for_before_they_are_forgotten(root, pair):
    make_run(root)
    bomb(root, 50)
    one = pair()
    one.passes()
    one.same()
    assert listings.GHOSTS > 50 and 50 < one.far.sessions[0].requests < 400 and one.sync.state()["runs"] == 1


@pytest.mark.few(1)
@pytest.mark.parametrize("by_line", [True, False], ids=["one run a line", "one line"])
def test_more_runs_than_any_root_has_are_refused_whole(root, pair, monkeypatch, caplog, by_line):
    monkeypatch.setattr(manifest, "RUNS", 5_000)
    make_run(root)
    bomb(root, 5_001, by_line)
    one = pair()
    one.passes()
    one.same()
    assert "of no use" in caplog.text and one.sync.state()["source"] == "walk"
    assert one.sync.state()["runs"] == 1


def test_the_size_a_gzip_file_says_bounds_what_is_unpacked():
    plain = b"{" * 1_000_000
    packed = gzip.compress(plain)
    for size in (10, 1_000_001, (512 << 20) + 1, 0xFFFFFFFF):
        with pytest.raises(manifest.ManifestError, match="wrong size|more than 512 MB|length check"):
            manifest.parse(packed[:-4] + size.to_bytes(4, "little"))
    with pytest.raises(manifest.ManifestError):
        manifest.parse(packed + packed)


@pytest.mark.chaos
@pytest.mark.parametrize("by_line", [True, False], ids=["one run a line", "one line"])
def test_ten_million_runs_end_in_bounded_time_and_memory(root, mirror, by_line):
    make_run(root)
    bomb(root, 10_000_000, by_line)
    script = textwrap.dedent(f"""
        import resource, sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from pairs import Pair
        resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
        one = Pair(Path({str(root)!r}), Path({str(mirror)!r}))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        one.passes()
        one.passes(31)
        one.same()
        assert one.sync.state()["runs"] == 1 and one.sync.state()["source"] == "walk"
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        one.close()
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 700_000, "KB"
    tally.tried()
