"""`runicorn cache`: what the mirrors take on this disk, and cleaning it. Nothing on a server is ever
touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn.cli import dialogue, terminal
from runicorn.cli.arguments import SECONDS, Branch, age, size
from runicorn.cli.sync import at_work
from runicorn.errors import UsageError
from runicorn.layout import home_dir

if TYPE_CHECKING:
    from argparse import Namespace

    from runicorn.cli.parser import Parser

EXAMPLES = {"cache": "runicorn cache clean --older-than 30d"}


def add_cache(parser: Parser) -> None:
    branch = Branch(parser)
    info = branch.add("info", "what each mirror takes", "runicorn cache info", cache_info)
    info.add_argument("--json", action="store_true")
    clean = branch.add("clean", "delete mirrored files; they come back when their run is opened",
                       "runicorn cache clean --older-than 30d", cache_clean)
    clean.add_argument("--older-than", type=age, metavar="AGE",
                       help="runs neither viewed nor changed for so long, such as 30d")
    clean.add_argument("--connection", metavar="NAME",
                       help="only this connection's mirror; alone: all of its ended runs")
    clean.add_argument("--size", type=size, metavar="SIZE",
                       help="until no more than this is left, least recently viewed first")
    clean.add_argument("--dry-run", action="store_true", help="only say what would go")
    clean.add_argument("--yes", action="store_true", help="don't ask")


def cache_info(options: Namespace) -> None:
    with at_work(offline=True) as (_, connections):
        info = connections.cache.info()
    if options.json:
        return print(dialogue.json_text(info, indent=2))
    rows = [[slug, dialogue.size_text(size)]
            for slug, size in sorted(info["by"].items(), key=lambda item: -item[1])]
    for line in dialogue.table(["MIRROR", "SIZE"], [*rows, ["all", dialogue.size_text(info["used"])]],
                               terminal.columns()):
        print(line)
    return print(f"limit {dialogue.size_text(info['limit'])}; {home_dir() / 'cache'}")


def cache_clean(options):
    """Say what would go, ask, and delete it. Raises UsageError without a choice, or where nobody can be
    asked."""
    if options.older_than is None and options.size is None and options.connection is None:
        raise UsageError("say what may go: --older-than 30d, --size 1GB or --connection NAME")
    everything = options.older_than is None and options.size is None
    days = 0 if everything else None if options.older_than is None else options.older_than / SECONDS["d"]
    choice = {"older_than": days, "connection": options.connection, "size": options.size}
    with at_work(offline=True) as (_, connections):
        would = connections.cache_clean(**choice, dry_run=True)
        text = f"{would['files']} files, {dialogue.size_text(would['bytes'])}"
        if not would["files"]:
            return print("nothing to clean")
        if options.dry_run:
            return print(f"would delete {text}")
        if not options.yes and not dialogue.confirm(f"Delete {text} of mirrored data that the servers have, "
                                                    f"too?"):
            return 1
        report = connections.cache_clean(**choice)
    return print(f"deleted {report['files']} files, {dialogue.size_text(report['bytes'])}")
