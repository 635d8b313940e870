"""The dataset of export_dataset made by a Spark job, for a shared root that is too large for one process.

    python -m runicorn.transfer.spark ROOT OUT [FILTER] [--master local[4]] [--force]

ROOT and OUT are folders that the driver and all executors see under the same path, and Runicorn and pyarrow
are installed there. The driver looks for the runs and plans; a task writes one file of points, or reads the
small files of some runs, into a folder of this export, and renames what is whole. So a task that is tried
again, or runs twice at once, leaves its rows once. What comes out is what `runicorn export` makes. Memory of
the driver: some kB a run, nothing of the points.
"""

import argparse
import functools
import importlib
import os
import pickle
import sys
import uuid

from runicorn import layout
from runicorn.errors import MissingPackageError, RunicornError
from runicorn.reader import scripts
from runicorn.transfer import dataset, export_dataset, parquet, parts
from runicorn.transfer.one_run import opened

try:
    import py4j.protocol
    import pyspark.errors
    import pyspark.sql
except ImportError as error:
    raise MissingPackageError(
        f"a Spark job needs the Python package pyspark ({error}): pip install "
        f"'pyspark >= 4.0, < 5' 'pyarrow >= 16'") from error

SAID = 20                   # runs that are named; the others are counted


class SparkWorkers:
    """Has the executors do what export_dataset.LocalWorkers does. context: SparkContext; verdicts: {key:
    (Verdict, tags and note)} of what only the driver knows of a run."""

    def __init__(self, context, verdicts):
        self._context, self._verdicts = context, verdicts

    def parts(self, folder, work, planned):
        """Yield the parts.Written of each dataset.Part in `planned`: a task each, those of
        the largest files first."""
        largest = sorted(planned, key=lambda part: -sum(run.size for run in part.runs))
        yield from self._each(largest, functools.partial(_write, folder, work))

    def tallies(self, work, chunks):
        """Yield what parts.tally returns for each list of Runs."""
        for path in self._each(chunks, functools.partial(_tally, work)):
            with open(path, "rb") as file:
                yield pickle.load(file)             # which a task of this job wrote

    def rows(self, work, chunks, facts, configs, summaries):
        """Yield paths of files with the rows of the table of runs for each list of Runs. facts:
        as LocalWorkers has it."""
        chunks = [[(run, self._verdicts[run.key][0], {**self._verdicts[run.key][1], **facts[run.key]})
                   for run in chunk] for chunk in chunks]
        yield from self._each(chunks, functools.partial(_rows, work, configs, summaries))

    def _each(self, items, task):
        return self._context.parallelize(items, len(items)).map(task).collect() if items else []


# -- tasks ---------------------------------------------------------------------------------------------------

def _write(folder, work, part):
    return parts.write_part(folder, work, part, opened)


def _tally(work, runs):
    path = os.path.join(work, uuid.uuid4().hex)
    with open(path, "xb") as file:
        pickle.dump(parts.tally(map(opened, runs)), file)
    return path


def _rows(work, configs, summaries, chunk):
    rows = parts.rows([opened(run, verdict) for run, verdict, _ in chunk], [facts for _, _, facts in chunk],
                      configs, summaries)
    path = os.path.join(work, uuid.uuid4().hex)
    with open(path, "xb") as file:
        table = parquet.RunsFile(file, parts.columns(configs, summaries))
        table.add(rows)
        table.close()
    return path


# -- the driver ----------------------------------------------------------------------------------------------

def export(context, root, out, filter="", again=False):
    """Bring the dataset in `out` in line with the runs of `root` that fit `filter`; return the
    export_dataset.Report.

    context: SparkContext. Raises as export_dataset.export does, and FilterError.
    """
    root = os.path.abspath(root)
    catalog = scripts.open_reader([("local", root)], [], layout.home_dir())
    scripts.decide(catalog)
    view, entries = catalog.chosen(filter)
    verdicts = {entry.key: (None if entry.record.ended else entry.source.verdict(entry.record),
                            export_dataset.tags_of(view, entry))
                for entry in entries}
    selection = {"filter": filter, "run_ids": [], "roots": [root]}
    return export_dataset.export(out, list(map(dataset.run_of, entries)), SparkWorkers(context, verdicts),
                                 selection, again)


def say(report, out):
    """Say what came of it: broken runs, stragglers, and how much there is."""
    for note in report.notes[:SAID]:
        print(f"· {note}", file=sys.stderr)
    for key, why in report.problems[:SAID]:
        print(f"✗ {why if key in why else f'{key}: {why}'}", file=sys.stderr)
    if report.problems:
        print(f"the points of {len(report.problems)} runs are left out; the table of runs says why",
              file=sys.stderr)
    for part in report.slowest:
        print(f"slow: {part.file} with {len(part.runs)} runs took {part.seconds:.0f} s on {part.host}",
              file=sys.stderr)
    print(f"{report.runs:,} runs, {report.points:,} points in {report.files:,} files, "
          f"{report.written:,} of them written now", file=sys.stderr)
    print(out)


def main(argv):
    """Run the job; returns the exit code: 1 if the points of some runs could not be had."""
    parser = argparse.ArgumentParser(prog="python -m runicorn.transfer.spark",
                                     description=__doc__.partition("\n")[0])
    parser.add_argument("root", metavar="ROOT", help="the folder of runs, which all executors see")
    parser.add_argument("out", metavar="OUT", help="the folder of the dataset, which all executors see")
    parser.add_argument("filter", metavar="FILTER", nargs="?", default="",
                        help='which runs, as in the filter box: "project:vision"')
    parser.add_argument("--master", help="where Spark runs (default: as spark-submit or spark.master says)")
    parser.add_argument("--force", action="store_true", help="write everything anew")
    options = parser.parse_args(argv)
    if not os.path.isdir(options.root):
        print(f"runicorn: the root {options.root} is not a folder", file=sys.stderr)
        return 2
    if options.master and options.master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)         # where all of this is installed
    builder = pyspark.sql.SparkSession.builder.appName(f"runicorn {options.root}")
    session = (builder.master(options.master) if options.master else builder).getOrCreate()
    try:
        report = export(session.sparkContext, options.root, options.out, options.filter, options.force)
    except RunicornError as error:
        print(f"runicorn: {error}", file=sys.stderr)
        return error.exit_code
    except (pyspark.errors.PySparkException, py4j.protocol.Py4JError) as error:
        why = [line for line in str(error).strip().splitlines() if line.strip()]
        print(f"runicorn: the Spark job failed ({why[-1].strip() if why else 'see its log'}); "
              f"what is whole in {options.out} stays, and the same command goes on from there",
              file=sys.stderr)
        return 1
    finally:
        session.stop()
    say(report, options.out)
    return 1 if report.problems else 0


if __name__ == "__main__":
    # executors find no functions of __main__
    sys.exit(importlib.import_module("runicorn.transfer.spark").main(sys.argv[1:]))
