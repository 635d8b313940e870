"""`runicorn bundle`, `import` and `check`: runs as files, carried and examined."""

from __future__ import annotations

import collections
import math
import os
import re
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import local_disk, local_names
from runicorn.cli import dialogue, terminal
from runicorn.cli.arguments import age, size
from runicorn.errors import NotFoundError, UsageError
from runicorn.layout import default_root, home_dir, slug

if TYPE_CHECKING:
    from argparse import Namespace

    from runicorn.cli.parser import Parser
    from runicorn.manifest import Manifest

ALIKE = 20                  # notes of `check` that differ in numbers only, of which more are counted
NUMBER = re.compile(r"\d+")
EXAMPLES = {
    "bundle": "runicorn bundle --since last",
    "import": "runicorn import runs.bundle.tar.gz",
    "check": "runicorn check ~/.runicorn/experiments",
}


# -- bundle --------------------------------------------------------------------------------------------------

def add_bundle(parser: Parser) -> None:
    parser.set_defaults(run=bundle)
    parser.add_argument("--since", default="last", metavar="WHEN",
                        help="last: what is new since the last bundle (default); all; or an age such as 7d")
    parser.add_argument("--root", help="the root to pack (default: your experiments)")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="the archive to write (default: runicorn-<host>-<time>.bundle.tar.gz, here)")


def bundle(options: Namespace) -> None:
    """Pack what is new. What the last bundle held is remembered once the archive is whole."""
    import socket

    from runicorn import manifest
    from runicorn.transfer import bundle as courier
    root = Path(options.root).expanduser().absolute() if options.root else default_root()
    index = courier.snapshot(root)
    last = home_dir() / "bundles" / f"{slug(str(root))}.json"
    output = (options.output
              or f"runicorn-{slug(socket.gethostname())}-{time.strftime('%Y%m%d-%H%M%S')}.bundle.tar.gz")
    report = courier.bundle(root, index, packed_before(options.since, index, last), output)
    _say_problems(report)
    last.parent.mkdir(parents=True, exist_ok=True)
    courier.forget(index, report["incomplete"])         # packed the next time
    manifest.save(index, last)
    if not report["files"]:
        local_disk.remove(output)
        return print("nothing is new since the last bundle; --since all packs everything again",
                     file=sys.stderr)
    print(output)
    return print(f"{report['files']} files of {report['runs']} runs, {dialogue.size_text(report['bytes'])} "
                 f"packed into "
                 f"{dialogue.size_text(os.path.getsize(output))}; carry it over and: runicorn import "
                 f"{output}", file=sys.stderr)


def packed_before(since: str, index: Manifest, last: Path) -> Manifest | None:
    """Return the Manifest of what need not be packed again, or None."""
    from runicorn import manifest
    if since == "all":
        return None
    if since == "last":
        return manifest.load(last) if last.is_file() else None
    try:
        oldest = time.time() - age(since)
    except ArgumentTypeError as error:
        raise UsageError(f"--since {since!r}: it may be last, all, or an age such as 7d") from error
    lines = {path: index.line(path) for path in index.paths() if newest(index.entry(path)) < oldest}
    return manifest.Manifest(index.header, lines)


def newest(entry):
    return max((file["mtime"] for file in entry["files"].values()), default=0)


# -- import --------------------------------------------------------------------------------------------------

def add_import(parser: Parser) -> None:
    parser.set_defaults(run=take_in)
    parser.add_argument("path", metavar="PATH",
                        help="a bundle, a folder with TensorBoard logs, or a folder of Runicorn 0.4 to 0.7")
    parser.add_argument("--root", help="the root to take it into (default: your experiments)")
    parser.add_argument("--project",
                        help="for folders: the project (default: as written there, or the folder's name)")
    parser.add_argument("--name", help="for folders: the name of the experiment")
    parser.add_argument("--limit", type=size, default=None, metavar="SIZE",
                        help="most a bundle may unpack to (default 20GB; 0: no limit)")


def take_in(options: Namespace) -> int:
    """Take in a bundle or a folder; returns 1 if something of it could not be merged."""
    from runicorn import namesake
    from runicorn.transfer import bundle as courier
    from runicorn.transfer import importer
    namesake.say()
    root = Path(options.root).expanduser().absolute() if options.root else default_root()
    source = Path(options.path).expanduser()
    if not local_names.is_plain(source.name):
        # a device, which would be waited for
        raise NotFoundError(f"{source} is no name of a file on Windows")
    if not source.exists():
        raise NotFoundError(f"{source} does not exist")
    if source.is_dir():
        report = importer.take_in(source, root, options.project, options.name)
        print(f"{report['runs']} runs, {report['new']} of them new or grown, {report['points']} points, "
              f"{report['skipped']} values that are no scalars left out; root {root}")
        for damage in report["damage"][:20]:
            terminal.say(f"· {terminal.clean(damage)}", sys.stderr)
        _say_problems(report)
        return 1 if report["problems"] else 0
    if not source.is_file():
        raise UsageError(f"{source} is neither a file nor a folder")
    report = courier.take_in(source, root,
                             {None: courier.LIMIT, 0: math.inf}.get(options.limit, options.limit))
    print(f"{report['files']} files of {report['runs']} runs: {report['put']} put, {report['appended']} "
          f"appended, "
          f"{report['unchanged']} were here already ({dialogue.size_text(report['bytes'])} new); root {root}")
    _say_problems(report)
    return 1 if report["problems"] else 0


def _say_problems(report):
    for problem in report["problems"][:20]:
        terminal.say(f"✗ {terminal.clean(problem)}", sys.stderr)


# -- check ---------------------------------------------------------------------------------------------------

def add_check(parser: Parser) -> None:
    parser.set_defaults(run=check)
    parser.add_argument("path", metavar="PATH", nargs="?",
                        help="a root or a run's folder; or a run's id, or the end of "
                             "connection:project/name/id (default: all of the root)")
    parser.add_argument("--root", help="this root, or look for the run in this root only")
    parser.add_argument("--secrets", action="store_true",
                        help="instead: which values look like secrets? Says where, never what")
    parser.add_argument("--json", action="store_true", help="one JSON object a finding")


def _place(path, root):
    """Return (the folder (str) that `path` is, or that of the run it names, or of the root of another
    logger's run that it names; the path of that run, or None). Raises NotFoundError, AmbiguousError."""
    if os.path.isdir(local_disk.reach(os.path.expanduser(path))):
        return path, None
    if os.path.isabs(path) or path.startswith((".", "~")):
        raise NotFoundError(f"{path} is not a folder")
    from runicorn.cli import tail, tail_foreign
    roots = tail.places(root)
    try:
        return tail.find(roots, path), None
    except NotFoundError as error:
        foreign_run = tail_foreign.place(roots, path)
        if foreign_run is None:
            raise NotFoundError(f"{path} is not a folder, and {error}") from error
        return foreign_run


def check(options: Namespace) -> int:
    """Print the findings; returns 1 if anything is wrong, 0 if there are notes at most."""
    path, foreign_run = _place(options.path or options.root or str(default_root()), options.root)
    if options.secrets and foreign_run is not None:
        raise UsageError(f"{foreign_run} is another logger's run; --secrets looks at what Runicorn wrote")
    if options.secrets:
        from runicorn.transfer.secret_scan import scan
        findings = scan(path)
    else:
        from runicorn.transfer.check import check as findings_of
        findings = findings_of(path) if foreign_run is None else findings_of(path, foreign_run)
    wrong = notes = 0
    alike = collections.Counter()
    for finding in findings:
        wrong, notes = wrong + finding.wrong, notes + (not finding.wrong)
        if options.json:
            print(dialogue.json_text(finding._asdict()))
        elif finding.wrong or _is_told(finding, alike):
            line = f":{finding.line}" if finding.line else ""
            terminal.say(f"{'✗' if finding.wrong else '·'} {terminal.clean(finding.path)}{line}: "
                         f"{terminal.clean(finding.text)}")
    if not options.json:
        for kind, count in alike.items():
            if count > ALIKE:
                terminal.say(f"· … and {count - ALIKE:,} more like “{kind}”; --json has all")
        terminal.say(f"{'✗' if wrong else '✓'} {path}: {wrong} wrong, {notes} notes")
    return 1 if wrong else 0


def _is_told(note, alike):
    """Whether a note is among the first ALIKE of those that differ in numbers only, which `alike` (Counter)
    counts."""
    kind = NUMBER.sub("n", terminal.clean(note.text))
    alike[kind] += 1
    return alike[kind] <= ALIKE
