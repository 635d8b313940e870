"""A server whose python3 answers with what no honest one does: it costs that answer, in bounded memory, time
and disk; SFTP goes on."""

import json
import os
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest
from small_runs import write_run
from sshd import Sshd

from runicorn import manifest, settings
from runicorn.mirror import manifest_stream

RUN = "p/n/runs/20250123_180000_abc123"
MORE = 200 << 20                # bytes of memory that an answer may cost beside those of an honest one
HEAD = ('{"format": 1, "kind": "delta", "digest": "x", "stamp": "x", "generated_at": 1.7e9, "absent": %s, '
        '"took": %s')
ENTRY = ('{"digest": "%s", "mtime": 1.0, "ended": true, "count": 0, "bytes": 0, "beat": null, "meta": %%s, '
         '"files": {}}' % ("0" * 64))
# What the python3 of the server prints after it read the question: `mark` begins and ends an answer, `packed`
# makes a delta of texts.
PREAMBLE = """
import itertools, re, sys, time, zlib
text = sys.stdin.buffer.read()
mark = re.search(rb"runicorn-[0-9a-f]{16}", text)[0]
out = sys.stdout.buffer
def begin():
    out.write(mark + b" 3.11.7\\n")
def end():
    out.write(b"\\n" + mark); out.flush()
def packed(texts):
    pack = zlib.compressobj(1)
    begin(); out.write(b"delta")
    for text in texts:
        out.write(pack.compress(text))
    out.write(pack.flush()); end()
def laid_out(lines, absent="[]", took="0.1"):
    head = HEAD % (absent, took)
    yield head.encode() + b',\\n"runs": {\\n'
    yield from lines
    yield b'\\n},\\n"statistics": {}}\\n'
MB = b"\\0" * (1 << 20)
"""
ANSWERS = {
    "800 MB": "begin(); [out.write(MB) for _ in range(800)]; end()",
    "800 MB that begin with nothing": "[out.write(MB) for _ in range(800)]",
    "800 MB on standard error": "[sys.stderr.buffer.write(MB) for _ in range(800)]",
    "one run of 400 MB":
    """packed(laid_out(itertools.chain(
        [b'"p/n/runs/a": {'], itertools.repeat(b' ' * 1000000, 400), [b'}'])))""",
    "400 MB before the runs": """packed(itertools.chain(
        [HEAD.encode() + b', "x": "'], itertools.repeat(b' ' * 1000000, 400)))""",
    "3 MB of empty lists": """packed([b'{"format": 1, "runs": {"a": [' + b'[],' * 1000000 + b'[]]}}'])""",
    "7 MB of empty lists": """packed([b'{"format": 1, "runs": {"a": [' + b'[],' * 2300000 + b'[]]}}'])""",
    "runs of 7 MB of empty lists": """packed(laid_out(b'"p/n/runs/%d": %s%s' % (
        n, (ENTRY % ('[' + '[],' * 2300000 + '[]]')).encode(), b',\\n' * (n < 7)) for n in range(8)))""",
    "300,000 runs": """packed(laid_out(
        b'"p/n/runs/%d": {}%s' % (n, b',\\n' if n < 299999 else b'') for n in range(300000)))""",
    "a cut answer": """begin(); out.write(
        b'delta' + zlib.compress(b''.join(laid_out([b'"p/n/runs/a": {}'])))[:-9]); end()""",
    "no end": "begin(); out.write(b'delta' + zlib.compress(b'x'))",
    "absent that is a number": "packed(laid_out([], '5'))",
    "absent that is a text": """packed(laid_out([], '"012"'))""",
    "absent of everything": "packed(laid_out([], '[-1, 1e3, true, null, [0], {}, 99999999999999999999]'))",
    "took that is none": """packed(laid_out([], '[]', '"long"'))""",
    "took for ever": "packed(laid_out([], '[]', '1e999'))",
    "unchanged without a head": "begin(); out.write(b'unchanged'); end()",
    "unchanged with another one":
        """begin(); out.write(b'unchanged{"stamp": 5, "generated_at": "x"}'); end()""",
    "unchanged at the end of time":
        """begin(); out.write(b'unchanged{"stamp": "x", "generated_at": 1e308}'); end()""",
    "deep": "packed([b'[' * 100000])",
    "paths out of the root": """packed(laid_out([
        b'"../../x/runs/a": {},\\n"/etc/n/runs/b": {},\\n"p/n/runs/..": {},\\n',
        b'"p/n/runs/a\\\\u0000b": {}']))""",
    "a file of minus one byte": """packed(laid_out([b'"RUN": ' + (ENTRY % 'null').encode().replace(b'{}}',
        b'{"meta.json": {"size": -1, "mtime": 1e19}, "../x": {"size": 1, "mtime": 1}, '
        b'"a": {"size": 1e30}}}')]))""",
    "nothing, slowly": "begin(); out.flush(); time.sleep(20)",
}


# Since its own exec: ru_maxrss begins with what the process held that forked it, a test's, which may be much.
PEAK = "import re, sys; peak = lambda: re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]"
# what is taken for "python3 does not answer"
ENDS = ("SftpError", "LineError", "ProtocolError", "ManifestError")


def once(home, expect=0):
    """Run `sync once`; returns the most memory it took (bytes)."""
    code = (f"{PEAK}; import runpy, atexit; atexit.register(lambda: print(peak())); "
            "sys.argv[1:] = ['sync', 'once']; runpy.run_module('runicorn', None, '__main__')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240,
                          stdin=subprocess.DEVNULL,
                          env={**os.environ, "HOME": str(home), "RUNICORN_HOME": str(home)})
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr and "mistake" not in (home / "logs" / "sync.log").read_text()
    return int(done.stdout.split()[-1]) << 10


LONG = ("800 MB that begin with nothing", "400 MB before the runs", "300,000 runs",
        "runs of 7 MB of empty lists", "nothing, slowly")


def asked(home):
    """Ask python3 on the server and wait for what it says; returns (what came of it, the most memory that
    took in bytes)."""
    code = textwrap.dedent("""
        from pathlib import Path
        from runicorn import settings
        from runicorn.mirror import exec_look as execlook
        from runicorn.ssh import remote
        home = Path(sys.argv[1])
        saved, = settings.connections(home)
        execlook.TIMEOUT = 8.0
        look = execlook.ExecLook(remote.connect(saved, home=home), saved["remote_root"])
        look.start({}, 0.0)
        try:
            said = f"{len(look.take(30.0)[0].lines)} runs"
        except Exception as error:
            said = type(error).__name__
        print(said)
        print(peak())
    """)
    done = subprocess.run([sys.executable, "-c", f"{PEAK}\n{code}", str(home)], capture_output=True,
                          text=True, timeout=100,
                          env={**os.environ, "HOME": str(home), "RUNICORN_HOME": str(home)})
    said, most = done.stdout.split("\n")[:2]
    return said, int(most) << 10


@pytest.fixture
def server(tmp_path):
    """A function that makes an Sshd whose commands are answered by Python code, and a home that trusts it;
    returns the home."""
    servers = []

    def make(code):
        root = tmp_path / "far"
        write_run(root, "p", "n", RUN.rpartition("/")[2])
        preamble = PREAMBLE.replace("HEAD", repr(HEAD)).replace("ENTRY", repr(ENTRY))
        (tmp_path / "answer.py").write_text(
            preamble + code.replace("RUN", RUN).replace("HEAD", repr(HEAD)).replace("ENTRY", repr(ENTRY)))
        (tmp_path / "shell").write_text(
            f'#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in *sftp*) exec /usr/lib/openssh/sftp-server;; esac\n'
            f'exec {sys.executable} {tmp_path / "answer.py"}\n')
        (tmp_path / "shell").chmod(0o755)
        servers.append(Sshd(tmp_path / "sshd", ForceCommand=tmp_path / "shell"))
        home = tmp_path / "home"
        servers[-1].__enter__().trusted_in(home)
        settings.save_connection(home, {**servers[-1].connection(), "name": "gpu", "remote_root": str(root)})
        return home
    yield make
    for one in servers:
        one.__exit__(None, None, None)


@pytest.mark.few("800 MB", "3 MB of empty lists", "a cut answer", "paths out of the root")
@pytest.mark.parametrize("what",
                         [pytest.param(what, marks=pytest.mark.chaos) if what in LONG else what
                          for what in ANSWERS])
def test_an_answer_costs_itself_alone(server, tmp_path, what):
    honest = 120 << 20          # bytes; what a `sync once` of one run takes is about half of that
    home = server(ANSWERS[what])
    assert once(home) < honest + MORE
    copy = home / "cache" / "gpu"
    own = {path.relative_to(tmp_path / "far" / RUN): path.read_bytes()
           for path in (tmp_path / "far" / RUN).iterdir()}
    assert len(own) == 4 and {path: (copy / RUN / path).read_bytes() for path in own} == own
    there = {str(path.relative_to(copy))
             for path in copy.rglob("*") if path.is_dir() and ".index" not in path.parts}
    assert there <= {"p", "p/n", "p/n/runs", RUN}
    assert sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) < 30 << 20
    said, most = asked(home)
    assert said in (*ENDS, *(f"{runs} runs" for runs in range(9))) and most < honest + MORE
    assert once(home) < honest + MORE, "again, with what the first time left in our own index"


def test_a_manifest_is_taken_in_by_pieces_as_it_is_whole(tmp_path):
    lines = {f"p/n/runs/{n}": b'{"meta": "%s"}' % (b"x" * 2000) for n in range(9000)}
    whole = b"".join(
        manifest.text(manifest.Manifest({"format": 1, "digest": "d", "statistics": {"runs": 9000}}, lines)))
    assert len(whole) > 2 * manifest.PLAIN
    for size in (1000, 999_983, len(whole)):
        for pack in (None, zlib.compressobj(1, zlib.DEFLATED, 31)):
            data = whole if pack is None else pack.compress(whole) + pack.flush()
            found = manifest_stream.read((data[at:at + size] for at in range(0, len(data), size)), "it")
            assert found.lines == lines and found.header["digest"] == "d"
            assert found.header["statistics"] == {"runs": 9000}
    wide = whole[:9 << 20] + b" " * (20 << 20)
    for broken, words in ((whole[:-50], "middle"), (whole.replace(b"\n", b" "), "one run a line"),
                          (wide, "more than 8 MB")):
        with pytest.raises(manifest.ManifestError, match=words):
            manifest_stream.read((broken[at:at + 1_000_000] for at in range(0, len(broken), 1_000_000)), "it")


def test_the_answers_of_this_file_are_python():
    assert len(ANSWERS) > 20 and set(LONG) < set(ANSWERS)
    for code in ANSWERS.values():
        compile(textwrap.dedent(code), "answer", "exec")
    assert json.loads(HEAD % ("[]", "1") + "}") and json.loads(ENTRY % "null") and Path(__file__).name
