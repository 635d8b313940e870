"""`runicorn tail`: follow a run's metrics and log in the terminal, on the server itself or on a mirror.

Reads the run's files only, with the standard library only; runs on Python 3.8.
"""

import importlib
import os
import re
import sys
import time
from collections import Counter
from datetime import datetime, timedelta

from runicorn import manifest
from runicorn.cli import terminal
from runicorn.cli.dialogue import size_text
from runicorn.errors import NotFoundError
from runicorn.layout import (
    BEAT,
    ENDED,
    EXPERIMENTS,
    HIDDEN,
    INDEX,
    INDEX_FULL,
    LIVE,
    META,
    STATUS,
    default_root,
    ends_key,
    home_dir,
    number,
    only,
    open_regular,
    own_file,
    parse_own,
    read_json,
)
from runicorn.metrics.parse import event_row, read_object
from runicorn.reader.log_lines import shown
from runicorn.writer import processes

EXAMPLES = {"tail": "runicorn tail 20250123_180000_abc123"}
PASS_SECONDS = 0.3          # between two looks at the files
METRICS_SECONDS = 1.0       # between two lines of metrics: they must not bury the log
SILENT_SECONDS = 180.0      # without a sign of life: the pages call it lost
FOLLOWED = ("logs", "events")
BACK_BYTES = 256 << 10      # how far back the last lines are looked for
TIME, TIMED = "%Y%m%d_%H%M%S", re.compile(r"\d{8}_\d{6}_")


def add_tail(parser):
    parser.set_defaults(run=tail)
    parser.add_argument("run_id", nargs="?", metavar="ID",
                        help="a run's id, the end of connection:project/name/id, or a folder (default: the "
                             "newest run)")
    parser.add_argument("--root", help="look in this root only")
    parser.add_argument("--lines", type=int, default=20, metavar="N",
                        help="log lines to begin with (default 20)")
    parser.add_argument("--rank", type=int, default=0, help="the rank to follow (default 0)")
    parser.add_argument("--no-follow", action="store_true", help="print the end and stop")


def tail(options):
    """Print the end of a run's log and metrics, then what comes, until the run ends or Ctrl+C."""
    heading, following = _following(options)
    output = Output(sys.stdout)
    output.line(heading)
    has_warned = False
    while True:
        ended = following.ended()           # before the last look, so that nothing is missed
        output.show(following.one_pass(time.monotonic()), following.moving)
        if ended or options.no_follow:
            output.show([*following.metrics(), *following.unfetched()], "")
            return output.line(ended) if ended else None
        if not has_warned:
            output.show(following.unfetched(), following.moving)
            has_warned = True
        time.sleep(PASS_SECONDS)


def _following(options):
    """Return (title, Tail) of the run, or of one that another logger writes. Raises NotFoundError,
    AmbiguousError."""
    roots = places(options.root)
    try:
        folder = find(roots, options.run_id)
        return title(folder), Tail(folder, options.rank, options.lines)
    except NotFoundError:
        try:
            tail_foreign = importlib.import_module("runicorn.cli.tail_foreign")
        except ImportError:
            tail_foreign = None         # the server copy, which has no readers
        foreign_tail = tail_foreign and tail_foreign.find(roots, options.run_id,
                                                          lambda path: Growing(path, BACK_BYTES),
                                                          options.lines)
        if not foreign_tail:
            raise
        return foreign_tail


# -- which run -----------------------------------------------------------------------------------------------

def places(root=None):
    """Return [(name, folder)] to look in: `root` alone, else the default root and every mirror on this
    machine."""
    if root:
        return [("local", os.path.expanduser(root))]
    return [("local", default_root())] + [(mirror.name, mirror)
                                          for mirror in sorted((home_dir() / "cache").glob("*"))]


def find(roots, tail=None):
    """Return the folder (str) of the run `tail`: an id, or the end of connection:project/name/id; None: the
    newest.

    Raises NotFoundError, or AmbiguousError with the candidates.
    """
    last = tail.replace(":", "/").split("/")[-1] if tail else None
    runs = [(key(name, folder), folder) for name, root in roots for folder in run_folders(root, last)]
    if not tail:
        folders = [folder for _, folder in runs]
        while folders:
            folder = newest(folders)
            if manifest.is_run(folder):
                return folder
            folders.remove(folder)
        raise NotFoundError(f"there is no run in {', '.join(str(root) for _, root in roots)}")
    fitting = {name: folder for name, folder in runs if ends_key(name, tail) and manifest.is_run(folder)}
    return fitting[only(list(fitting), tail)]


def newest(folders):
    """Return the folder of the run that was made last; of ids that are times, those within what time zones
    differ by are looked at."""
    names = list(map(os.path.basename, folders))
    try:
        latest = datetime.strptime(max(name[:15] for name in names if TIMED.match(name)), TIME)
        oldest = (latest - timedelta(hours=26)).strftime(TIME)
    except ValueError:          # none is a time
        oldest = ""
    return max((folder for folder, name in zip(folders, names) if name >= oldest or not TIMED.match(name)),
               key=made)


def made(folder):
    """Return when a run was made (Unix s): what its meta.json says, else its folder's time."""
    created = number((read_json(os.path.join(folder, META)) or {}).get("created_at"))
    return created if created is not None and abs(created) < 1e11 else os.stat(folder).st_mtime


def run_folders(root, run_id=None):
    """Yield the folder (str) of each run below `root`, or of those with that id or an id that ends like
    this."""
    for path, folder in manifest.runs(root, Counter()) if os.path.isdir(root) else ():
        if run_id is None or path.endswith((f"/{run_id}", f"_{run_id}")):
            yield manifest.reach(folder)


def key(name, folder):
    """Return the run's key: connection:project/name/id."""
    project, experiment, _, run_id = os.path.normpath(folder).split(os.sep)[-4:]
    return f"{name}:{project}/{experiment}/{run_id}"


def title(folder):
    meta = read_json(os.path.join(folder, META)) or {}
    project, name, host = (meta.get(field, "?") for field in ("project", "name", "hostname"))
    return terminal.clean(f"{project} / {name}  {os.path.basename(folder)}  on {host}")


# -- what is new ---------------------------------------------------------------------------------------------

class Growing:
    """An append-only file read as it grows: whole lines once each, the unfinished last one on the side."""

    def __init__(self, path, back=None):
        size = os.path.getsize(path)
        self._path, self.partial, self._past = path, b"", b""      # _past: what lies before the offset
        self.offset = max(size - back, 0) if back is not None else 0
        self._cut = self.offset > 0        # the first line we see lost its beginning

    def read(self):
        """Return the whole lines (list of bytes) that came since the last call."""
        try:
            with open(open_regular(self._path), "rb") as file:
                file.seek(self.offset - len(self._past))
                # Another file has the name now, or it was cut
                if file.read(len(self._past)) != self._past:
                    self.offset, self.partial, self._past, self._cut = file.seek(0), b"", b"", False
                data = file.read()
        except OSError:
            return []               # removed under us: nothing more comes
        self.offset += len(data)
        self._past = (self._past + data)[-64:]
        *lines, self.partial = (self.partial + data).split(b"\n")
        if self._cut and lines:
            self._cut, lines = False, lines[1:]
        return lines


class Tail:
    """The log and the metrics of one run and rank as they grow; a new attempt is followed when its files
    appear."""

    def __init__(self, folder, rank=0, lines=20):
        self._folder, self._rank, self._lines = folder, rank, lines
        self._files, self._attempts, self._last = {}, {}, {}
        self._step, self._told_at, self._fresh = None, float("-inf"), False
        self._signs, self._alive, self._missed = None, None, False
        self.moving = ""

    def ended(self):
        """Return how the run ended, for people, or None while it runs."""
        status = read_json(os.path.join(self._folder, STATUS)) or {}
        if status.get("status") not in ENDED:
            return None
        text = f"— {status['status']}"
        started, ended = (number(status.get(field)) for field in ("started_at", "ended_at"))
        if started is not None and ended is not None and abs(ended - started) < 1e11:
            text += f" after {terminal.duration_text(ended - started)}"
        return terminal.clean(f"{text}: {status['error']}" if isinstance(status.get("error"), str) else text)

    def one_pass(self, now):
        """Return the lines (list of str) to print now: log lines as they came, at most one line of metrics a
        second."""
        lines = list(self._look())      # by itself: 3.8 calls both before it takes from the first
        lines += self._log()
        self._events()
        if self._fresh and now - self._told_at >= METRICS_SECONDS:
            self._told_at = now
            lines += self.metrics()
        return lines + self._silence(now)

    def _silence(self, now):
        """Return the line that says so when the run gave no sign of life for long, once; judged by change,
        not by clocks."""
        root = self._folder
        for _ in range(4):          # ".." is a name below Windows' prefix for long paths
            root = os.path.dirname(root)
        live = manifest.reach(os.path.join(root, HIDDEN, LIVE, os.path.basename(self._folder) + ".json"))
        signs = [signature(path) for path in (live, os.path.join(self._folder, BEAT))]
        signs += [file.offset for file in self._files.values()]
        if signs != self._signs:
            self._signs, self._alive, self._missed = signs, now, False
        elif now - self._alive >= SILENT_SECONDS and not self._missed and not self.ended():
            self._missed = True
            return [f"· no sign of life for {terminal.duration_text(now - self._alive)}: the process may be "
                    f"gone"]
        return []

    def unfetched(self):
        """Return a line on each of the files that ends here before it does on the server, as the mirror's
        index knows it: [] elsewhere."""
        *_, project, name, runs, run_id = os.path.normpath(self._folder).split(os.sep)
        root = os.path.normpath(os.path.join(self._folder, *[os.pardir] * 4))
        path = "/".join((project, name, runs, run_id))
        of_home = f"{os.sep}{os.path.normpath(EXPERIMENTS)}"
        if root.endswith(of_home):
            root, path = root[:-len(of_home)], f"{EXPERIMENTS}/{path}"
        try:
            files = manifest.load(os.path.join(root, INDEX, INDEX_FULL)).entry(path)["files"]
        except (manifest.ManifestError, KeyError):
            return []           # no mirror, or one that has not listed the run
        own = [(name, parse_own(name)) for name in sorted(files) if parse_own(name)]
        ours = [name for name, (stem, attempt, rank) in own
                if stem in FOLLOWED and rank == self._rank and attempt >= self._attempts.get(stem, 0)]
        missing = [(name, files[name]["size"] - size_of(os.path.join(self._folder, name))) for name in ours]
        return [f"· the last {size_text(size)} of {name} have not been fetched"
                for name, size in missing if size > 0]

    def metrics(self):
        """Return the line of the last value of each metric, if any came since the last call."""
        if not self._fresh:
            return []
        self._fresh = False
        values = "  ".join(f"{terminal.clean(name)}={terminal.number_text(value)}"
                           for name, value in sorted(self._last.items()))
        return [f"· step {self._step}  {values}"]

    def _look(self):
        """Find the newest attempt's files of our rank."""
        names = os.listdir(self._folder) if os.path.isdir(self._folder) else ()
        newest = dict(sorted((stem, attempt)
                             for stem, attempt, rank in filter(None, map(parse_own, names))
                             if rank == self._rank))
        for stem in FOLLOWED:
            attempt, before = newest.get(stem, 0), self._attempts.get(stem, 0)
            path = os.path.join(self._folder, own_file(stem, attempt, self._rank))
            if attempt > before and os.path.isfile(path):
                self._attempts[stem] = attempt
                self._files[stem] = Growing(path, None if before else BACK_BYTES)
                if not os.access(path, os.R_OK):
                    yield f"· {path} can't be read"

    def _log(self):
        file = self._files.get("logs")
        if not file:
            return []
        lines = file.read()
        if self._lines is not None:
            lines, self._lines = (lines[-self._lines:] if self._lines else []), None
        self.moving = line_text(file.partial)
        return [line_text(line) for line in lines]

    def _events(self):
        file = self._files.get("events")
        for line in file.read() if file else ():
            event = read_object(line)
            row = event and event_row(event)
            if row:
                _, step, values = row
                self._last.update({name: value for name, value in values.items()
                                   if number(value) is not None})
                self._step, self._fresh = self._step if step is None else step, True


def size_of(path):
    """Return the bytes of a file, 0 where it is not here."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def signature(path):
    """Return what changes when a heart beats (mtime in ns), or None."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None         # this run beats elsewhere, or not at all


def line_text(line):
    """Return a line of a log (bytes) as the terminal showed it, its time in this zone's."""
    ts, text = shown(line)
    return text if ts is None else time.strftime("[%H:%M:%S] ", time.localtime(ts)) + text


class Output:
    """Prints lines; on a terminal the unfinished line stays at the bottom, redrawn in place, and colours are
    kept."""

    def __init__(self, stream):
        self._stream, self._live, self._moving = stream, stream.isatty() and processes.escapes(stream), ""

    def line(self, text):
        terminal.say(text, self._stream)

    def show(self, lines, moving):
        """Print `lines`, then `moving` without an end."""
        changed = self._live and (lines or moving != self._moving)
        if changed and self._moving:
            self._stream.write("\r\x1b[K")
        for text in lines:
            self.line(terminal.coloured(text) if self._live else terminal.clean(terminal.SGR.sub("", text)))
        if changed and moving:
            self._stream.write(terminal.fit(terminal.clean(
                                                           moving), terminal.columns(self._stream)
                                            - 1).rstrip())
            self._stream.flush()
        self._moving = moving
