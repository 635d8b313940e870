"""`runicorn export`: a run in another format, and many runs as one dataset."""

import os
import sys

from runicorn import disk, local_disk, local_names
from runicorn.cli import dialogue, terminal
from runicorn.cli.arguments import take_minus
from runicorn.cli.runs import catalog
from runicorn.errors import UsageError
from runicorn.layout import BESIDE

EXAMPLES = {
    "export": "runicorn export --run-id 20250123_180000_abc123 --format csv\n"
              "  runicorn export --format parquet \"project:vision val/loss<0.3\" -o dataset",
}
FORMATS = ("csv", "tensorboard", "html", "parquet")
SAID = 20                   # runs and columns that are named; the rest is counted


def add_export(parser):
    take_minus(parser)
    parser.set_defaults(run=export)
    parser.add_argument("filter", nargs="?", default="",
                        help='for parquet: which runs, as in the filter box: "loss<0.3 tag:baseline"; all '
                        "without one")
    parser.add_argument("--run-id", action="append", metavar="ID",
                        help="the run; repeat it for a report that compares, or a " "dataset of these")
    parser.add_argument("--format", required=True, choices=FORMATS,
                        help="csv: UTF-8 without a byte order mark, which Excel reads right by Data, From "
                             "Text/CSV; tensorboard: a folder; "
                        "html: a page that needs no network; parquet: a dataset of many runs for DuckDB, "
                        "Polars, pandas and Spark")
    parser.add_argument("-o", "--output", metavar="PATH",
                        help="where to (default: <run-id>.csv and so on, here; - is stdout); for parquet "
                        "a folder, in which a second export writes only what changed")
    parser.add_argument("--long", action="store_true",
                        help="CSV with one line a value instead of one column a metric")
    parser.add_argument("--force", action="store_true",
                        help="overwrite what is there; a dataset is written anew")
    parser.add_argument("--root", action="append", metavar="FOLDER",
                        help="a local root; may be repeated (default: your experiments)")


def export(options):
    """Write the run in another format and print where. Raises UsageError rather than overwriting without
    --force."""
    if options.format == "parquet":
        return export_dataset(options)
    if options.filter:
        raise UsageError(f"a filter ({options.filter!r}) chooses runs for --format parquet; --run-id names "
                         f"the run for {options.format}")
    if not options.run_id:
        raise UsageError("--run-id names the run (`runicorn runs` lists them)")
    if len(options.run_id) > 1 and options.format != "html":
        raise UsageError(f"one run at a time as {options.format}; a comparison is --format html, a dataset "
                         f"--format parquet")
    from runicorn.transfer import export as exporter
    index = catalog(options.root)
    keys = [index.find(run_id) for run_id in options.run_id]
    facts = exporter.told(index, keys[0])
    if options.format == "csv":
        pieces = exporter.csv(exporter.rows(index, keys[0]), long=options.long)
    elif options.format == "tensorboard":
        pieces = exporter.tensorboard(exporter.rows(index, keys[0]), facts)
    else:
        pieces = exporter.html(index, keys)
    if options.output == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return None
    target = destination(facts, options)
    write_whole(target, pieces)
    return print(target)


def destination(run, options):
    """Return the path (str) to write to, its folder made where it needs one. Raises UsageError if it is
    taken."""
    # a server may have made the id
    target = options.output or local_names.local_name(f"{run['id']}.{options.format}", hidden=False)
    if os.path.exists(target) and not options.force:
        raise UsageError(f"{target} is there already; --force overwrites it, -o writes elsewhere")
    if options.format != "tensorboard" and os.path.exists(target) and not os.path.isfile(target):
        raise UsageError(f"{target} is no regular file; -o names a file, - is stdout")
    target = os.path.realpath(target) if os.path.islink(target) else target      # a link stays one
    if options.format == "tensorboard":         # TensorBoard reads folders
        from runicorn.transfer.export import tensorboard_name
        os.makedirs(target, exist_ok=True)
        target = os.path.join(target, tensorboard_name(run))
    return target


def write_whole(path, pieces):
    """Write the pieces (bytes) beside `path` and rename, so that a broken export leaves nothing half. Raises
    OSError that names `path`."""
    beside = f"{path}.{os.getpid()}{BESIDE}"
    try:
        with open(beside, "wb") as file:
            for piece in pieces:
                file.write(piece)
        disk.replace(beside, path)
    except OSError as error:
        raise local_disk.about(error, path, beside) from error
    finally:
        disk.discard(beside, 0.0)       # there only when something went wrong


# -- a dataset -----------------------------------------------------------------------------------------------

def export_dataset(options):
    """Write the runs of a filter as a dataset and print where; returns 1 if the points of some could not
    be."""
    if not options.output or options.output == "-":
        raise UsageError("--format parquet writes a folder: name it with -o")
    from runicorn.reader import scripts
    from runicorn.reader.filters import parse
    from runicorn.transfer import dataset, export_dataset
    parse(options.filter)
    index = catalog(options.root)
    scripts.decide(index)               # whether a run is alive stands in the table
    view, entries = index.chosen(options.filter)
    if options.run_id:
        chosen = {index.find(run_id) for run_id in options.run_id}
        entries = [entry for entry in entries if entry.key in chosen]
    selection = {"filter": options.filter,
                 "run_ids": sorted(entry.key for entry in entries) if options.run_id else [],
                 "roots": [os.path.abspath(os.path.expanduser(root)) for root in options.root or ()]}
    workers = export_dataset.LocalWorkers(view, {entry.key: entry for entry in entries})
    report = export_dataset.export(os.path.expanduser(options.output), list(map(dataset.run_of, entries)),
                                   workers, selection, options.force,
                                   progress if sys.stderr.isatty() else lambda count, parts: None)
    say_report(report)
    print(options.output)
    return 1 if report.problems else 0


def progress(count, parts):
    """Say on a terminal how far the points are, in place."""
    print(f"\r{count} of {parts} files of points", end="\n" if count == parts else "", file=sys.stderr,
          flush=True)


def say_report(report):
    """Say what came of a dataset's export."""
    for note in report.notes[:SAID]:
        terminal.say(f"· {terminal.clean(note)}", sys.stderr)
    if report.notes[SAID:]:
        print(f"· and {len(report.notes) - SAID:,} more like these; _schema.json has all", file=sys.stderr)
    for key, why in report.problems[:SAID]:
        terminal.say(f"✗ {terminal.clean(why if key in why else f'{key}: {why}')}", sys.stderr)
    if report.problems:
        print(f"the points of {dialogue.counted(len(report.problems), 'run')} are left out; the table of "
              f"runs says why", file=sys.stderr)
    runs, points, files = (dialogue.counted(getattr(report, f"{noun}s"), noun)
                           for noun in ("run", "point", "file"))
    print(f"{runs}, {points} in {files}, {report.written:,} of them written now", file=sys.stderr)
