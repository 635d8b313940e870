"""`runicorn runs` and `show`: the run list and one run, without a browser."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from runicorn import left_out
from runicorn.cli import dialogue, terminal
from runicorn.cli.arguments import count, take_minus
from runicorn.layout import default_root, home_dir, strict
from runicorn.reader import bounded
from runicorn.reader.filters import parse

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from typing import Any

    from runicorn.cli.parser import Parser
    from runicorn.metrics.series import Series
    from runicorn.reader.catalog import Catalog

EXAMPLES = {
    "runs": "runicorn runs \"loss<0.3 tag:baseline\"",
    "show": "runicorn show 20250123_180000_abc123",
}
MARKS = {"running": "●", "stalled": "◐", "quiet": "◑", "lost": "○", "checking": "◌", "finished": "✓",
         "failed": "✗", "interrupted": "■"}
SHOWN = 200                 # lines of one part of a run that `show` prints unasked
WHOLE = ("STATE", "STARTED", "TOOK", "STEP", "MAIN METRIC", "ID")     # columns that are never cut
NARROW = ("TOOK", "STEP", "PROJECT")    # … that go where there is no room for all, in this order
NAME_CELLS = 12             # a name, project or metric has so much room before a column goes
FAULTS = 3                  # runs of which `runs` says what is wrong with them


def catalog(roots: list[str] | None = None) -> Catalog:
    """Return a Catalog over the local roots and, where none is named, every mirror on this machine, up to
    date; no connection is opened."""
    from runicorn.cli.viewer import local_roots
    from runicorn.reader import scripts
    from runicorn.reader.beside_viewer import mirror_folders
    home = home_dir()
    return scripts.open_reader(local_roots(roots), [] if roots else mirror_folders(home), home)


# -- runs ----------------------------------------------------------------------------------------------------

def add_runs(parser: Parser) -> None:
    take_minus(parser)
    parser.set_defaults(run=runs)
    parser.add_argument("filter", nargs="?", default="",
                        help='as in the filter box: "loss<0.3 tag:baseline state:running resnet"')
    parser.add_argument("--sort", default="-started", metavar="FIELD",
                        help="name, started, duration, state, config.X, summary.X …; a leading - puts the "
                             "largest first")
    parser.add_argument("--limit", type=count, default=50, metavar="N",
                        help="at most N runs (default 50; 0: all)")
    parser.add_argument("--columns", default="", metavar="A,B",
                        help="further columns, such as config.lr,summary.val/loss")
    parser.add_argument("--root", action="append", metavar="FOLDER",
                        help="only what is in this local root; may be repeated (default: your experiments, "
                             "and the mirrors of servers)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def runs(options):
    """Print the run list. Raises UsageError for a filter that means nothing."""
    columns = [column for column in options.columns.split(",") if column]
    answer = beside(options, columns)
    if answer is not None and not is_open(answer, answer["undecided"], options):
        return print_runs(answer, columns, options)
    index = catalog(options.root)

    def look():
        return index.runs(filter=options.filter, sort=options.sort, offset=0, limit=options.limit or None,
                          columns=columns)
    answer = look()
    again = is_open(answer, index.undecided(), options)
    unread = index.unreadable()
    if answer["runs"] or not (again or unread):
        print_runs(answer, columns, options)
    if unread:
        folders = "1 folder" if unread == 1 else f"{unread} folders"
        print(f"{folders} below {', '.join(options.root or [str(default_root())])} can't be read: "
              f"permission denied", file=sys.stderr)
    passed = {reason: count for reason, count in index.others_passed().items() if reason != "unreadable"}
    if passed:
        print(f"passed over: {left_out.passed_text(passed)}", file=sys.stderr)
    if again:
        second_look(index, look, answer, columns, options)
    return None


def is_open(answer: dict[str, Any], undecided: int, options: Namespace) -> int:
    """Whether the list, as it was found, waits for runs of which it is not known yet whether they are alive
    (`undecided` in all)."""
    by_state = any(term.field == "state" for term in parse(options.filter))
    return undecided and (by_state or any(row["state"] == "checking" for row in answer["runs"])
                          and sys.stdout.isatty())


def beside(options: Namespace, columns: list[str]) -> None:
    """Return the list as a viewer beside us has it (dict), None where it must be read here."""
    from runicorn.cli.viewer import local_roots
    from runicorn.reader import beside_viewer as beside
    mirrors = () if options.root else beside.mirror_folders(home_dir())
    return beside.runs(home_dir(), local_roots(options.root), mirrors, options.filter, options.sort,
                       options.limit or None, columns)


def second_look(index, look, shown, columns, options):
    """Print again, once it is known whether they are alive, the runs of which that was not known at the first
    look."""
    from runicorn.reader import scripts
    say = "1 run is" if index.undecided() == 1 else f"{index.undecided()} runs are"
    print(f"{say} looked at once more, one beat later (10 s), to see whether they are alive; Ctrl+C leaves "
          f"it at this", file=sys.stderr)
    sys.stdout.flush()
    try:
        scripts.decide(index)
    except KeyboardInterrupt:
        return
    before = {row["key"]: row["state"] for row in shown["runs"]}
    answer = look()
    rows = [row for row in answer["runs"] if before.get(row["key"]) != row["state"]]
    if rows or not shown["runs"]:
        print_runs({**answer, "runs": rows, "matched": len(rows)}, columns, options)


def print_runs(answer: dict[str, Any], columns: list[str], options: Namespace) -> None:
    """Print an answer of Catalog.runs as a table or as JSON."""
    if options.json:
        for row in answer["runs"]:
            # No curve was read
            main = row["main"] and {name: value for name, value in row["main"].items() if name != "best"}
            print(dialogue.json_text(strict({**row, "main": main})))
        return
    if not answer["runs"]:
        folders = options.root or [str(default_root())]
        old = [] if options.filter else [folder for folder in folders if holds_old(folder)]
        if old:
            print(f"no runs yet in {old[0]}, but there are some of another layout below it (an older "
                  f"Runicorn's, TensorBoard's): `runicorn "
                  f"import {old[0]}` brings them in and leaves the old ones as they are", file=sys.stderr)
            return
        places = ", ".join(folders)
        print("no runs fit this filter" if options.filter
              else f"no runs yet in {places}, nor from a server: a script that "
              "calls runicorn.init makes one, `runicorn config ssh add` adds a server", file=sys.stderr)
        return
    for line in listed(answer["runs"], columns, terminal.columns()):
        terminal.say(line)
    for field, names in answer.get("means", {}).items():
        meanings = ", ".join(f"{name} in {count} run{'s' if count > 1 else ''}"
                             for name, count in names.items())
        print(f"{field} means {dialogue.clean(meanings)}", file=sys.stderr)
    for row in [row for row in answer["runs"] if row.get("error")][:FAULTS]:
        print(dialogue.clean(f"{row['id']}: {row['error']}"), file=sys.stderr)
    if answer["matched"] > len(answer["runs"]):
        print(f"{len(answer['runs'])} of {answer['matched']} runs; --limit 0 shows all", file=sys.stderr)


def listed(rows, columns, width):
    """Return the lines (list of str) of the run list. Where not all has room, the main metric is said in
    short, then the columns NARROW go; neither a date nor a number nor an id is ever cut."""
    headers = ["STATE", "NAME", "PROJECT", "STARTED", "TOOK", "STEP", "MAIN METRIC",
               *(column.upper() for column in columns), "ID"]
    lines = [cells(row, columns) for row in rows]
    if too_wide(headers, lines, width):
        headers = [header.partition(".")[2] or header for header in headers]        # CONFIG.LR
        lines = [[*line[:6], short_main(row["main"]), *line[7:]] for line, row in zip(lines, rows)]
    for header in NARROW:
        if too_wide(headers, lines, width):
            index = headers.index(header)
            headers, lines = (headers[:index] + headers[index + 1:],
                              [line[:index] + line[index + 1:] for line in lines])
    return dialogue.table(headers, lines, width, uncut=WHOLE)


def short_main(main: dict[str, Any] | None) -> str:
    """Return the main metric in NAME_CELLS + 2 cells (str): the last part of its name, four digits of its
    value."""
    if not main:
        return "-"
    value = (f"{main['value']:.4g}" if isinstance(main["value"], float)
             else terminal.number_text(main["value"]))
    name, room = terminal.clean(main["metric"].rpartition("/")[2]), max(4, NAME_CELLS + 1 - len(value))
    return f"{terminal.fit(name, room).rstrip()} {value}"


def too_wide(headers: list[str], lines: list[Any], width: int) -> bool:
    """Whether a table has no room in `width` cells where all but what is never cut is NAME_CELLS wide at
    most."""
    least = [max(map(terminal.cells, column)) for column in zip(headers, *lines)]
    least = [cell_count if header in WHOLE else min(cell_count, NAME_CELLS)
             for header, cell_count in zip(headers, least)]
    return sum(least) + 2 * (len(least) - 1) > width


def holds_old(folder: str) -> bool:
    """Whether there are runs of other makes in a folder that `import` would take."""
    from runicorn.transfer.importer import holds_any
    return holds_any(folder)


def cells(row: dict[str, Any], columns: list[str]) -> list[str]:
    """Return a row of the table (list of str)."""
    main = row["main"]
    prefix = "" if row["connection"] == "local" else f"{row['connection']}:"
    return [f"{MARKS[row['state']]} {row['state']}", row["name"], row["project"], when(row["started"]),
            terminal.duration_text(row["duration"]) if row["duration"] is not None else "-",
            terminal.number_text(row["step"]), f"{main['metric']} {terminal.number_text(main['value'])}"
            if main else "-", *(terminal.number_text(row["values"].get(column)) for column in columns),
            prefix + row["id"]]


def when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "-"


# -- show ----------------------------------------------------------------------------------------------------

def add_show(parser: Parser) -> None:
    parser.set_defaults(run=show)
    parser.add_argument("run_id", metavar="ID", help="a run's id, or the end of connection:project/name/id")
    parser.add_argument("--root", action="append", metavar="FOLDER",
                        help="a local root; may be repeated (default: your experiments)")
    parser.add_argument("--find", default="", metavar="TEXT",
                        help="only the names of config, summary and metrics that hold TEXT")
    parser.add_argument("--all", action="store_true", help=f"also what is beyond the first {SHOWN} of each")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")


def show(options: Namespace) -> None:
    """Print one run. Raises NotFoundError or AmbiguousError."""
    index = catalog(options.root)
    key = index.find(options.run_id)
    run = index.run(key)
    if options.json:
        return print(dialogue.json_text(strict(run), indent=2))
    for line in head(run):
        terminal.say(line)
    width = terminal.columns()
    for title, values in (("config", run["config"]), ("summary", run["summary"]),
                          ("Slurm", job(run["meta"]))):
        shown = part(bounded.pairs(values), options, short=bounded.short_pair)
        section(title, [(name, text(value)) for name, value in shown["items"]], width)
        say_more(shown)
    shown = part(run["metrics"], options, name=lambda metric: metric["name"])
    metrics(shown["items"], index.series(key), width)
    say_more(shown)


def part(items: Iterator[Any] | list[dict[str, Any]], options: Namespace, **how: Any) -> dict[str, Any]:
    """Return the bounded.page of what `show` prints of a part of a run."""
    most = sys.maxsize if options.all else SHOWN
    return bounded.page(items, options.find, 0, most, size=sys.maxsize, **how)


def say_more(shown: dict[str, Any]) -> None:
    """Say how many lines of a part were left out, and how they come."""
    left_out = shown["matched"] - len(shown["items"])
    if left_out:
        print(f"  and {left_out:,} more; --all shows all, --find TEXT those whose names hold TEXT")


def head(run: dict[str, Any]) -> list[str]:
    """Return the lines (list of str) that say what the run is and how it stands."""
    state, reason = run["state"], run["reason"]["text"]
    standing = reason if f"{reason};".startswith(f"{state};") else f"{state} ({reason})"
    took = f", {terminal.duration_text(run['duration'])}" if run["duration"] is not None else ""
    lines = [f"{run['project']} / {run['name']}   {run['key']}", f"{MARKS[state]} {standing}",
             f"started {when(run['started'])}{took}, on {run.get('host') or '?'} by {run.get('user') or '?'}"]
    lines += [f"tags: {', '.join(run['tags'])}"] if run["tags"] else []
    lines += [f"note: {run['note']}"] if run.get("note") else []
    lines += [f"! {run['error']}"] if run["error"] else []
    lines += [f"! {name or 'its folder'}: {why['text']}"
              for name, why in sorted(run["left_out"].items())][:FAULTS]
    lines += [f"! {run['skipped']:,} lines, records or values of its files are unread; `runicorn check` "
              f"says why"] if run["skipped"] else []
    return [terminal.clean(line) for line in [*lines, f"files: {run['path']}"]]


def job(meta: dict[str, Any]) -> dict[str, Any]:
    """Return what a meta.json says of the Slurm job (dict), without what only a restart asks for."""
    slurm = meta.get("slurm")
    return ({name: value for name, value in slurm.items() if name != "config"} if isinstance(slurm, dict)
            else {})


def text(value: float | str) -> str:
    """Return a value of a config or summary as a line shows it (str)."""
    return value if isinstance(value, str) else dialogue.json_text(strict(value))


def section(title: str, rows: list[Any], width: int) -> None:
    if rows:
        print(f"\n{title}")
        for line in dialogue.table(["", ""], [[f"  {name}", text] for name, text in rows], width)[1:]:
            terminal.say(line)


def metrics(listed: list[dict[str, Any]], series: Series, width: int) -> None:
    """Print a line a metric: last and best value, and a sparkline."""
    if not listed:
        return
    print()
    unicode = terminal.unicode_fits(sys.stdout)
    rows = []
    for metric in listed:
        best = metric["best"]
        rows.append([f"  {metric['name']}", terminal.number_text(metric["last"]),
                     f"{terminal.number_text(best['value'])} at step {terminal.number_text(best['step'])}"
                     if best else "-", str(metric["points"]),
                     dialogue.spark(series.spark(metric["name"], n=24), unicode)])
    for line in dialogue.table(["metrics", "LAST", "BEST", "POINTS", ""], rows, width):
        terminal.say(line)
