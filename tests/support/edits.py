"""Edits of runs that have ended, and of those that go on."""

import os

from pairs import OLD, RUN, grow, live, make_run, write

EDITS = {
    "appended": lambda run: grow(run / "events.jsonl"),
    "truncated": lambda run: os.truncate(run / "events.jsonl", 5000),
    "rewritten longer": lambda run: (run / "events.jsonl").write_bytes(
        b'{"step":1,"data":{"loss":7}}\n' * 9000),
    "a line changed and one appended": lambda run: (poke(run / "events.jsonl", 30),
                                                    grow(run / "events.jsonl")),
    "rewritten shorter": lambda run: (run / "events.jsonl").write_bytes(
        b'{"step":1,"data":{"loss":7}}\n' * 9),
    "same size in place": lambda run: poke(run / "events.jsonl", 40_000),
    "same size by rename": lambda run: write(run / "events.jsonl",
                                             (run / "events.jsonl").read_bytes().replace(b"0.5", b"0.6")),
    "an older copy put back": lambda run: write(run / "logs.txt",
                                                (run / "logs.txt").read_bytes().replace(b"line", b"LINE"),
                                                OLD - 5000),
    "from the future": lambda run: write(run / "logs.txt",
                                         (run / "logs.txt").read_bytes().replace(b"line", b"LINE"), 4e9),
    "new summary": lambda run: write(run / "summary.json", {"loss": 0.7}),
    "new status": lambda run: write(run / "status.json", {"status": "failed"}),
    "another file": lambda run: poke(run / "checkpoints" / "last.pt", 5),
    "a new file below": lambda run: write(run / "checkpoints" / "new.pt", b"new"),
    "another rank": lambda run: poke(run / "events.rank1.jsonl", 7),
    "a second attempt": lambda run: write(run / "events.2.jsonl", b'{"step":11,"data":{"loss":1}}\n'),
    "deleted": lambda run: (run / "logs.txt").unlink(),
    "deleted and made again": lambda run: ((run / "logs.txt").unlink(),
                                           (run / "logs.txt").write_bytes(b"anew\n")),
}


def edited_run(root, status, path=RUN):
    run = make_run(root, path, status=status, rows=2000)
    write(run / "checkpoints" / "last.pt", bytes(range(256)) * 8, mtime=OLD)
    write(run / "events.rank1.jsonl", (run / "events.jsonl").read_bytes(), mtime=OLD)
    for folder in (run / "checkpoints", run):
        os.utime(folder, (OLD, OLD))
    if status == "running":
        live(root, path)
    return run


NAMES = ("a new file below", "a second attempt", "deleted", "deleted and made again")


def poke(file, place):
    """Overwrite one byte of a file in place."""
    with open(file, "r+b") as opened:
        opened.seek(place)
        opened.write(b"#")
