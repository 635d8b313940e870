"""Does this folder keep the format (README, "Format")? Reads a root or one run, changes nothing, says what is
wrong and where."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn import foreign, local_disk, manifest
from runicorn.errors import LayoutError, NotFoundError
from runicorn.layout import (
    ENDED,
    EXPERIMENTS,
    FORMAT,
    HIDDEN,
    LIVE,
    META,
    RUNS,
    STATUS,
    SUMMARY,
    home_dir,
    number,
    open_regular,
    own_file,
    parse_own,
    slug,
)
from runicorn.local_names import inside, parse_rank_status, split_run_path
from runicorn.metrics.foreign_files import ForeignFiles
from runicorn.metrics.series import Series
from runicorn.rule_book import RuleBook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STATES = ("running", *ENDED)
SAME = 5                # so many findings of one kind in one file are told, the rest are counted
STAMP = re.compile(rb"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d([+-]\d{4})?\] ")
DEEPEST = 64                # levels of a value in a file of ours; readers go no deeper
# Types of rows
WITH_FILES = ("image", "table", "plot", "audio", "video", "html", "object3d", "molecule", "plotly", "bokeh")
OLD_EXTRAS = ("global_step", "time", "stage")       # what Runicorn 0.4 to 0.7 put beside the metrics
LONGEST = 64 << 20      # bytes; a longer line is no line

Finding = namedtuple("Finding", "path line text wrong")
Finding.__doc__ = """What was found: `path` (relative to what was checked), `line` (int or None), `text`;
`wrong`, else a note."""


def check(path, only=None):
    """Yield a Finding for all that is wrong or worth a note in a root or a run folder; only: path of another
    logger's run in the root, of which alone is told. Raises NotFoundError for any other path."""
    path = Path(path).expanduser()
    if not path.is_dir():
        raise NotFoundError(f"{path} is not a folder")
    if is_run(path):
        yield from check_run(path, "", expected=None)
        return
    skipped = Counter()
    runs = [(relative, folder) for relative, folder in run_folders(path, skipped) if is_run(folder)]
    rules = RuleBook(home_dir()).of_folder(path)
    if only is not None:
        yield from _foreign_findings([run for run in foreign.find(os.fspath(path), Counter(), rules=rules)
                                      if run.path == only], rules)
        return
    others = foreign.find(os.fspath(path), skipped,
                          {relative.rpartition(f"/{RUNS}/")[0] for relative, _ in runs}, rules=rules)
    if not runs and not others and not (path / HIDDEN).is_dir():
        raise NotFoundError(f"{path} holds no runs: a root has project/name/runs/id below it, a run has "
                            f"{META}")
    for relative, folder in runs:
        yield from check_run(folder, relative + "/", expected=relative)
    yield from _foreign_findings(others, rules)
    for root in ("", EXPERIMENTS):
        yield from check_live(path, root)
    for reason, count in sorted((+skipped).items()):
        if reason != "outside":
            yield Finding(".", None, f"{count} {reason}: passed over", False)


def _foreign_findings(others, rules):
    """Yield the findings of other loggers' runs (list of foreign.Run)."""
    for foreign_run in others:
        count = f"{len(foreign_run.files)} {'file' if len(foreign_run.files) == 1 else 'files'}"
        yield Finding(foreign_run.path, None,
                      f"not ours: {', '.join(foreign.NAMES[kind] for kind in foreign_run.kinds)}, {count}",
                      False)
        yield from check_foreign(foreign_run, rules)


def check_foreign(run, rules):
    """Yield a finding for each reason for which something of a file of another logger's run (foreign.Run) is
    passed over."""
    series = Series(run.folder, None, ForeignFiles(run.path, run.kinds, system=False, rules=lambda: rules))
    series.refresh()
    for path, reasons in series.passed_over():
        name = Path(os.path.relpath(path, run.folder)).as_posix()
        for reason, count in sorted(reasons.items()):
            yield Finding(f"{run.path}/{name}", None, f"{count} {reason}: passed over", False)


def is_run(path):
    """Whether a folder (Path) is a run of ours: by what its place in a root says of it, elsewhere by a file
    that only such a run has."""
    if path.parent.name == RUNS:
        return manifest.is_run(os.fspath(path))
    return os.path.isfile(path / META) or os.path.isfile(path / own_file("events"))


def run_folders(root, skipped):
    """Return [(path below the root, its folder)] of the runs, sorted; what is passed over is counted in
    `skipped` (Counter)."""
    folders = manifest.runs(root, skipped)
    return sorted((path, Path(local_disk.reach(folder)))
                  for path, folder in folders)


def check_run(folder: Path, prefix: str, expected: str | None) -> Iterator[Any]:
    """Yield the findings of one run; `expected` is its path in the root, or None when it stands alone."""
    meta, findings = load(folder / META, prefix + META)
    yield from findings
    if meta is not None:
        if isinstance(meta.get("format"), (int, float)) and meta["format"] > FORMAT:
            yield Finding(prefix + META, None,
                          f"format {meta['format']} was made by a newer Runicorn; this one knows {FORMAT}",
                          False)
            return
        yield from check_meta(meta, prefix + META, expected)
    for name, rules in ((STATUS, check_status), (SUMMARY, lambda value, path: ())):
        value, findings = load(folder / name, prefix + name)
        yield from findings
        yield from rules(value, prefix + name) if value is not None else ()
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield Finding(prefix.rstrip("/") or ".", None, f"can't be listed: {error.strerror}", True)
        return
    for name in names:
        stem = (parse_own(name) or [None])[0]
        if stem:
            yield from gathered(LINES[stem](folder, name), prefix + name)
        elif parse_rank_status(name):
            value, findings = load(folder / name, prefix + name)
            yield from findings
            yield from check_status(value, prefix + name) if value is not None else ()


# -- small files ---------------------------------------------------------------------------------------------

def load(path, place_name):
    """Return (dict or None, [findings]) of a small JSON file."""
    try:
        with open(open_regular(path), "rb") as file:
            value = strict_json(file.read())
    except FileNotFoundError:
        return None, [Finding(place_name, None, "is missing", place_name.endswith(META))]
    except OSError as error:
        return None, [Finding(place_name, None, f"can't be read: {error.strerror}", True)]
    except (ValueError, RecursionError) as error:
        return (None, [Finding(place_name, getattr(error, "lineno", None), f"is no strict JSON: {error}",
                               True)])
    if not isinstance(value, dict):
        return None, [Finding(place_name, None, "is no JSON object", True)]
    return value, []


def strict_json(raw: bytes) -> dict[str, Any]:
    """Return the value of strict JSON text (bytes, UTF-8). Raises ValueError, also for a bare NaN or
    Infinity."""
    def refuse(word):
        raise ValueError(f'{word} must be written as the string "{word}"')
    value = json.loads(raw.decode("utf-8"), parse_constant=refuse)
    if _depth(value) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
    return value


def _depth(value):
    """Return how deep a value of JSON is nested (int), at most one more than DEEPEST."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        level = [item for outer in level if isinstance(outer, (dict, list))
                 for item in (outer.values() if isinstance(outer, dict) else outer)
                 if isinstance(item, (dict, list))]
        depth += 1
    return depth


def check_meta(meta: dict[str, Any], label: str, expected: str | None) -> Iterator[Any]:
    if "format" not in meta:
        yield Finding(label, None, "has no format number: an older Runicorn wrote it; it is read as it is",
                      False)
    for field, kind in (("id", str), ("project", str), ("name", str), ("created_at", (int, float)),
                        ("config", dict), ("tags", list)):
        old = field in ("config", "tags") or "format" not in meta
        if field not in meta:
            yield Finding(label, None, f"{field} is missing", not old)
        elif not isinstance(meta[field], kind):
            yield Finding(label, None, f"{field} is {meta[field]!r:.60}, which is not of its type", True)
    if expected:
        yield from check_place(meta, label, expected)


def check_place(meta: dict[str, Any], label: str, expected: str) -> Iterator[Any]:
    """Yield a finding if the run stands in a folder that is not its own."""
    try:
        project, name, run_id = split_run_path(expected)
        for field, folder in (("project", project), ("name", name), ("id", run_id)):
            if isinstance(meta.get(field), str) and meta[field] and slug(meta[field]) != folder:
                yield Finding(label, None, f"{field} {meta[field]!r} belongs in the folder "
                                           f"{slug(meta[field])!r}, not {folder!r}", True)
    except LayoutError as error:
        yield Finding(label, None, str(error), True)


def check_status(status: dict[str, Any], label: str) -> Iterator[Any]:
    if status.get("status") not in STATES:
        yield Finding(label, None, f"status is {status.get('status')!r:.60}; it may be {', '.join(STATES)}",
                      True)
    for field in ("started_at", "ended_at"):
        if status.get(field) is not None and number(status[field]) is None:
            yield Finding(label, None, f"{field} is {status[field]!r:.60}, not Unix seconds", True)


def check_live(folder, root):
    """Yield a finding for each live file that names no run of its root, which is `root` (str) in a folder
    (Path) or, where that is "", the folder."""
    live = folder / root / HIDDEN / LIVE
    try:
        paths = sorted(live / name for name in os.listdir(live) if name.endswith(".json"))
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding(live.relative_to(folder).as_posix(), None, f"can't be listed: {error.strerror}", True)
        return
    for path in paths:
        label = path.relative_to(folder).as_posix()
        beat, findings = load(path, label)
        yield from findings
        if beat is not None and not is_here(folder / root, beat.get("path"), os.path.isdir):
            yield Finding(label, None, f"names the run {beat.get('path')!r:.100}, which is not here", True)


# -- append-only files ---------------------------------------------------------------------------------------

def gathered(findings: Iterator[Any], path: str) -> Iterator[Any]:
    """Yield the findings (line, text, wrong) of one file; beyond a few of a kind only their number."""
    counts = {}
    try:
        for line, text, wrong in findings:
            kind = text.split(":")[0]
            counts[kind, wrong] = counts.get((kind, wrong), 0) + 1
            if counts[kind, wrong] <= SAME:
                yield Finding(path, line, text, wrong)
    except OSError as error:
        yield Finding(path, None, f"can't be read: {error.strerror}", True)
    for (kind, wrong), count in counts.items():
        if count > SAME:
            yield Finding(path, None, f"{kind}: {count - SAME} more such lines", wrong)


def lines(path: Path) -> Iterator[Any]:
    """Yield (number, bytes, whether it is torn: the last, without a newline) of each line."""
    with open(open_regular(path), "rb") as file:
        n = 0
        while True:
            line = file.readline(LONGEST)
            if not line:
                return
            n += 1
            yield n, line.rstrip(b"\n"), not line.endswith(b"\n")


def rows(path: Path) -> Iterator[Any]:
    """Yield (number, dict or None, finding or None) of each JSON line; torn ends and filled holes are
    notes."""
    for n, line, torn in lines(path):
        try:
            value = strict_json(line)
            problem = None if isinstance(value, dict) else (n, "is no JSON object", True)
        except (ValueError, RecursionError) as error:
            value = None
            problem = (n, "an unfinished last line", False) if torn else (n, f"is no strict JSON: {error}",
                                                                          True)
            if not line.strip(b"\0\r "):
                problem = (n, "an empty line or zero bytes, which readers skip", False)
        yield n, value if isinstance(value, dict) else None, problem


def check_events(folder: Path, name: str) -> Iterator[Any]:
    for n, row, problem in rows(folder / name):
        if problem:
            yield problem
        if row is None:
            continue
        if number(row.get("ts")) is None:
            yield n, f"ts: is {row.get('ts')!r:.60}, not Unix seconds", True
        if row.get("type", "metrics") == "metrics":
            yield from check_data(n, row)
        elif row["type"] in WITH_FILES:
            yield from check_media(n, row, folder)


def check_data(n: int, row: dict[str, Any]) -> Iterator[Any]:
    """Yield what is wrong with one row of metrics."""
    data = row.get("data")
    if not isinstance(data, dict):
        yield n, "data: is no JSON object", True
        return
    step = row.get("step", data.get("global_step", data.get("step")))
    if step is not None and number(step) is None:
        yield n, f"step: is {step!r:.60}, not a number", True
    extras = OLD_EXTRAS if "step" not in row else ()
    for metric, value in data.items():
        if metric not in extras and not loggable(value):
            yield n, f"metric: {metric!r:.60} is {value!r:.60}, no number, text or list of numbers", True


def loggable(value: float | str) -> bool:
    """Whether a value may stand in a row: null, a number, text, or a list of numbers."""
    if isinstance(value, list):
        return all(number(item) is not None for item in value)
    return value is None or isinstance(value, str) or number(value) is not None


def check_media(n, row, folder):
    """Yield what is wrong with one row of images, tables or other media that are files."""
    data = row.get("data")
    if not isinstance(data, dict):
        yield n, "data: is no JSON object", True
        return
    # Runicorn 0.4 to 0.7 wrote one image a row
    old = "key" in data and ("path" in data or "file" in data)
    images = [data] if old else [image for value in data.values()
                                 for image in (value if isinstance(value, list) else [value])]
    images = [{"file": image.get("file", image.get("path"))} if isinstance(image, dict) else image
              for image in images]
    for file in [image.get("file") if isinstance(image, dict) else image for image in images]:
        if not is_here(folder, file, os.path.isfile):
            yield n, f"{row['type']}: {file!r:.100} is not here", True


def is_here(folder, path, kind):
    """Whether what a file calls `path` is a path in the folder, and what lies there is of a kind
    (os.path.isfile, os.path.isdir)."""
    try:
        return isinstance(path, str) and kind(local_disk.reach(inside(folder, path)))
    except LayoutError:
        return False            # nobody may have us look elsewhere: another machine's share would hear of it


def check_system(folder: Path, name: str) -> Iterator[Any]:
    for n, row, problem in rows(folder / name):
        if problem:
            yield problem
        if row is not None and number(row.get("ts")) is None:
            yield n, f"ts: is {row.get('ts')!r:.60}, not Unix seconds", True


def check_logs(folder: Path, name: str) -> Iterator[Any]:
    for n, line, torn in lines(folder / name):
        if line and not torn and not STAMP.match(line):
            yield n, "a line without its stamp [2025-01-23 18:30:45+0800]", False


LINES = {"events": check_events, "system": check_system, "logs": check_logs}
