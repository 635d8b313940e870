"""Runs that another logger wrote: which files are of which kind, and in which folders below a root they lie.
Reads the beginning and the end of text files only; Python 3.6 is enough.

What is a run: a folder that holds files of a kind. `checkpoint-*` belongs to the folder above it; the folders
of one W&B run id are one run, ":id" below their parent. A folder whose `runs` holds runs of ours is ours:
nothing beside them is looked for.
"""
import collections
import os
import re
from os import scandir
from stat import S_IFDIR, S_IFLNK, S_ISDIR, S_ISLNK, S_ISREG

from runicorn.foreign_names import CHECKPOINT, KINDS, LOGS, STATE, SURE, is_looked_into, kind_by_name
from runicorn.foreign_rules import Rules
from runicorn.foreign_text import kind_by_content

SHORTAGE = (12, 23, 24)         # ENOMEM, ENFILE, EMFILE: they tell of this machine, and of no folder

# levels, folders in all, entries of a folder, text files read
DEPTH, FOLDERS, ENTRIES, READ = 8, 200000, 20000, 5000
OF_FOLDER = 100                                 # … of one folder, the newest; so many tables are a data set
# Bytes of a text file's beginning and end that are read; a traceback may stand there
HEAD, TAIL = 4096, 16384
META, OURS = "meta.json", {"status.json", "events.jsonl"}       # one of these beside the first: our run
# What is in a folder that holds no runs, whatever it is called
NEVER_IN = {"pyvenv.cfg": "Python environments", "conda-meta": "Python environments"}
MIRROR = ".index"                               # in the mirror of a server
MARKS = {*NEVER_IN, *OURS, META, MIRROR}        # files that are none of a run but say what a folder is
WANDB = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-([^/]+)$")
# What a run was configured with
BESIDE = ("hparams.yaml", "args.yaml", "opt.yaml", "config.yaml", "args.json", "config.json")
WANDB_FILES = ("files/config.yaml", "files/wandb-summary.json", "files/wandb-metadata.json",
               "files/output.log")
WANDB_NAMES = "wandb-summary.json", "wandb-metadata.json"
DATED = re.compile(r"\d{8}_\d{6}\.json$")
# What a rule of one's own may name: text, and files without an ending.
CLAIMED = re.compile(r"[^.].*\.(?:log|out|txt|err|json|jsonl|ndjson)$|[^.]+$", re.IGNORECASE)
DATA = "tables and lines of data sets"
ELSEWHERE = "runs of ours that lie elsewhere than in PROJECT/NAME/runs"

Run = collections.namedtuple("Run", "path folder kinds files")
Run.__doc__ = """One run of another logger. path: below the root (str; "." is the root itself); folder: where
its files lie (str); kinds: of KINDS, in that order; files: [(name below the folder, size, mtime, ctime,
mode), ...] sorted, times in ns."""


def is_own_run(names):
    """Whether a folder that holds the files `names` (a set) is a run of ours, wherever it lies: in
    PROJECT/NAME/runs, manifest.is_ours tells."""
    return META in names and not OURS.isdisjoint(names)


def why_none(names, is_root=False):
    """Return why a folder that holds the files and folders `names` (a set), and what is below it, is no run
    of another logger (str), None where it may be one. is_root: of the root, which may be a mirror."""
    if is_own_run(names):
        return ELSEWHERE
    if MIRROR in names and not is_root:
        return "mirrors of servers"
    return next((NEVER_IN[name] for name in NEVER_IN if name in names), None)


def is_of_use(name, rules=None):
    """Whether a Finder wants to know of a file of this name. rules: foreign_rules.Rules, if there are any."""
    return (bool(kind_by_name(name) or rules and rules.may_name(name) and CLAIMED.match(name))
            or name in BESIDE or name in MARKS or (name.startswith(WANDB_NAMES)))


def kind_of_name(file_path, rules=None):
    """Return the kind that the name of the file at `file_path`, below a root, speaks of (str), or None: of
    text, a rule may say another."""
    name = file_path.rpartition("/")[2]
    kind = kind_by_name(name)
    return rules.kind_of(file_path, kind) if rules and kind not in SURE and CLAIMED.match(name) else kind


def kind_of_text(file_path, head, tail, rules, skipped):
    """Return the kind (str) of the text file at `file_path`, below a root, or None where it is no log of a
    training: by a rule of one's own, else by what all such logs have. head, tail: its first bytes and its
    last; skipped: a Counter of rules that took too long."""
    kind = kind_by_name(file_path.rpartition("/")[2])
    return (rules and rules.decide(file_path, kind, head, tail, skipped) or kind
            and kind_by_content(kind, head, tail))


class Finder:
    """Finds the runs among folders whose listings it is handed, in any order, a folder before what is in it.
    Touches no file.

    `doubtful` holds [(folder, name, kind, size, mtime), ...] of text files that somebody has to look into,
    and `decide`. skipped: a Counter of what was left out for its number; `passed` is one of what is never
    looked into. ours: paths of folders that are ours (a container of str). rules: foreign_rules.Rules, if
    there are any. `visited` are the paths of the folders it was handed (set); `waits`: whether a text file
    was empty yet.
    """

    def __init__(self, skipped, ours=(), rules=None):
        self.skipped, self.passed, self.doubtful, self.visited = skipped, collections.Counter(), [], set()
        self.rules, self.waits, self._ours, self._count = rules, False, ours, 1
        # Folder -> [(name, size, mtime, ctime, mode), ...] of those that a run is made of
        self._files = {}
        self._kinds = {}            # folder -> {name: kind} of those with metrics

    def take(self, path, entries):
        """Take what is in the folder `path` ("" for the root), [(name, size, mtime, ctime, mode), ...];
        return the paths of folders in it to be listed next."""
        self.visited.add(path)
        names = {entry[0] for entry in entries}
        reason = why_none(names, not path)
        if reason:
            self.passed[reason] += 1
            return []
        if len(entries) > ENTRIES:
            self.skipped["entries beyond %d of a folder" % ENTRIES] += len(entries) - ENTRIES
            entries = entries[:ENTRIES]
        folders = []
        for entry in entries:
            if not _is_utf8(entry[0]):
                self.passed["names that are no UTF-8"] += 1
            elif S_ISREG(entry[4]):
                self._note(path, entry)
            elif S_ISLNK(entry[4]):
                self.passed["links"] += 1
            elif S_ISDIR(entry[4]) and self._is_looked_into(path, entry[0]):
                folders.append(entry[0])
        folders = _newest_checkpoint(folders)
        return [below(path, name) for name in self._within_bounds(path, sorted(folders))]

    def _is_looked_into(self, path, name):
        if CHECKPOINT.match(path.rpartition("/")[2]) or _is_of_wandb(path):
            return False
        return is_looked_into(name) and below(path, name) not in self._ours

    def _within_bounds(self, path, folders):
        depth = path.count("/") + 1 if path else 0
        room = max(0, FOLDERS - self._count) if depth < DEPTH else 0
        if len(folders) > room and depth < DEPTH:
            self.skipped["folders beyond %d" % FOLDERS] += len(folders) - room
        elif len(folders) > room:
            self.passed["folders deeper than %d" % DEPTH] += len(folders)
        self._count += min(len(folders), room)
        return folders[:room]

    def _note(self, path, entry):
        name = entry[0]
        kind = kind_of_name(below(path, name), self.rules)
        if CHECKPOINT.match(path.rpartition("/")[2]) and kind != "trainer":
            return
        if _is_of_wandb(path):
            if "files/" + name in WANDB_FILES:
                self._files.setdefault(path, []).append(entry)
        elif kind in SURE:
            self._files.setdefault(path, []).append(entry)
            self._kinds.setdefault(path, {})[name] = kind
        elif kind or name in BESIDE:
            self._files.setdefault(path, []).append(entry)
            self.waits = self.waits or bool(kind) and not entry[1]
            if kind and entry[1]:
                self.doubtful.append((path, name, kind) + tuple(entry[1:3]))

    def decide(self, path, name, kind):
        """Take the kind (str, or None) of a text file that was looked into."""
        if kind:
            self._kinds.setdefault(path, {})[name] = kind
        elif not name.endswith(LOGS):
            self._files[path] = [entry for entry in self._files[path] if entry[0] != name]

    def runs(self, root):
        """Return the Runs (list, sorted by path) of what was taken. root: where the folders lie (str)."""
        by_path = {}
        for path, kinds in self._kinds.items():
            run_path, prefix = _place(path)
            run_kinds, files = by_path.setdefault(run_path, (set(), []))
            run_kinds.update(kinds.values())
            files += [(prefix + entry[0],) + tuple(entry[1:]) for entry in self._files[path]]
            beside = (self._files.get(path + "/files", ()) if run_path.rpartition("/")[2].startswith(":")
                      else ())
            files += [(prefix + "files/" + entry[0],) + tuple(entry[1:]) for entry in beside]
        return [Run(run_path, os.path.join(root, folder_of(run_path)).rstrip("/"),
                    tuple(kind for kind in KINDS if kind in kinds), sorted(files))
                for run_path, (kinds, files) in sorted(by_path.items())]

    def kinds_of(self, run):
        """Return {name: kind} of the files with metrics of the run at the path `run`."""
        return {prefix + name: kind for path, kinds in self._kinds.items()
                for run_folder, prefix in [_place(path)] if run_folder == run for name, kind in kinds.items()}


def _is_of_wandb(path):
    """Whether a folder is the `files` of a W&B run."""
    above, _, name = path.rpartition("/")
    return name == "files" and WANDB.match(above.rpartition("/")[2]) is not None


def _is_utf8(name):
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _newest_checkpoint(folders):
    """Return the names of folders without those of checkpoints but the newest."""
    steps = {int(match.group(1)): name for name, match in ((name, CHECKPOINT.match(name)) for name in folders)
             if match}
    return [name for name in folders if not CHECKPOINT.match(name) or name == steps[max(steps)]]


def _place(path):
    """Return (path of the run that the files in a folder belong to, what stands before their names in it)."""
    above, _, name = path.rpartition("/")
    resumed = WANDB.match(name)
    if resumed:
        return (above + "/" if above else "") + ":" + resumed.group(1), name + "/"
    return (above or ".", name + "/") if CHECKPOINT.match(name) else (path or ".", "")


def folder_of(path):
    """Return the folder below the root ("" for the root itself) in which the files of the run at `path`
    lie."""
    above, _, name = path.rpartition("/")
    return above if name.startswith(":") else "" if path == "." else path


def is_path(path):
    """Whether `path` (str), which another machine told, may be that of a run: "a/b", "." or "a/:id"."""
    above, _, last = path.rpartition("/")
    folders = ([] if path == "." else above.split("/") if above and last[:1] == ":" else [] if last[:1] == ":"
               else path.split("/"))
    return (path.count("/") < DEPTH and last != ":" and "\0" not in path and _is_utf8(path)
            and all(folder and is_looked_into(folder) for folder in folders))


def belongs(path, name, rules=None):
    """Whether `name` may be a file of the run at `path` (both str, relative), which another machine told.
    rules: as for `kind_of_name`."""
    *above, last = name.split("/")
    if (not is_path(path) or not last or last.startswith(".") or "\0" in last or not _is_utf8(last)
            or len(above) > 2):
        return False
    folder, run_id = WANDB.match(above[0]) if above else None, path.rpartition("/")[2]
    is_own = kind_of_name(below(folder_of(path), name), rules) or last in BESIDE
    if run_id.startswith(":"):
        is_believable = is_own if len(above) == 1 else "/".join(above[1:] + [last]) in WANDB_FILES
        return bool(folder and folder.group(1) == run_id[1:] and is_believable)
    return last == STATE and len(above) == 1 and bool(CHECKPOINT.match(above[0])) if above else bool(is_own)


NAMES = {"wandb": "W&B", "tensorboard": "TensorBoard", "csv": "CSV", "trainer": "Trainer",
         "jsonl": "JSON lines", "log": "text log"}


# -- on this machine -----------------------------------------------------------------------------------------
def find(root, skipped, ours=(), known=None, rules=None):
    """Return the Runs of other loggers below a folder of this machine (list). skipped, ours, rules: as for a
    Finder; known: {path of a text
    file: (its state, its kind)} of the last look (dict), which is brought up to date: only what changed is
    read."""
    finder, ahead = Finder(skipped, ours, rules), [""]
    while ahead:
        path = ahead.pop()
        try:
            ahead += finder.take(path, listed(os.path.join(root, path), rules))
        except OSError as error:
            if error.errno in SHORTAGE:
                raise
            finder.passed["unreadable"] += isinstance(error, PermissionError)
    look_into(finder, root, {} if known is None else known)
    for reason, count in finder.passed.items():
        skipped[reason] = max(skipped[reason], count)       # whoever looked for ours counted some of these
    return finder.runs(root)


def listed(folder, rules=None):
    """Return what of a folder on this machine a Finder takes (list). Raises OSError."""
    with scandir(folder) as items:
        return [entry for entry in (_state(item, rules) for item in items) if entry]


def below(path, name):
    """Return the path of what is called `name` in the folder `path` ("" for the root)."""
    return path + "/" + name if path else name


def look_into(finder, root, known):
    """Decide on all doubtful files of a Finder, which lie below a folder of this machine. known: as `find`
    has it."""
    for doubt in doubts(finder, known):
        settle(finder, known, doubt, *ends(os.path.join(root, doubt[0], doubt[1]), doubt[3]))


def settle(finder, known, doubt, head, tail):
    """Decide on one of `doubts` by its beginning and its end (bytes), and note in `known` what it was. Both
    are None where it can't be read: it is of no kind for now, and read again the next time."""
    path, name, kind, size, mtime = doubt
    verdict = None
    if head is None:
        known.pop(below(path, name), None)
    else:
        verdict = kind_of_text(below(path, name), head, tail, finder.rules, finder.skipped)
        known[below(path, name)] = [size, mtime], verdict
    finder.decide(path, name, verdict)


def doubts(finder, known):
    """Decide on those doubtful files of a Finder that `known` (see `find`) tells of, or that are too many;
    return the others (list)."""
    before, of_folder, unknown = dict(known), collections.Counter(), []
    for file_path in list(known):
        if "" in finder.visited or file_path.rpartition("/")[0] in finder.visited:
            del known[file_path]
    alike = collections.Counter((path, kind) for path, _, kind, *_ in finder.doubtful if kind != "log")
    for path, name, kind, *state in _in_turns(finder.doubtful):
        is_data = alike[path, kind] > OF_FOLDER
        of_folder[path] += not is_data
        if is_data or of_folder[path] > OF_FOLDER or len(known) >= READ:
            most = "%d of a folder" % OF_FOLDER if of_folder[path] > OF_FOLDER else str(READ)
            finder.skipped[DATA if is_data else "text files beyond " + most] += 1
            finder.decide(path, name, None)
            continue
        file_path = below(path, name)
        earlier = before.get(file_path, (None, None))
        # a log that grew is one still
        if earlier[0] == state or earlier[1] == kind == "log" and state[0] >= earlier[0][0]:
            known[file_path] = state, earlier[1]
            finder.decide(path, name, earlier[1])
        else:
            known[file_path] = state, None
            unknown.append((path, name, kind) + tuple(state))
    return unknown


def _in_turns(doubtful):
    """Return `doubtful` texts (list) so that each folder's newest come first, then the second ones: no data
    set is so large that a training is left out for it."""
    turns, of_folder = [], collections.Counter()
    for item in sorted(doubtful, key=lambda item: (-item[4], item[:2])):
        turns.append((of_folder[item[0]], item))
        of_folder[item[0]] += 1
    return [item for _, item in sorted(turns, key=lambda turn: turn[0])]


def _in_time(patterns, lines):
    """Search as foreign_rules.Rules has it, where this process, which is alone, ends if a pattern takes too
    long."""
    import signal
    signal.setitimer(signal.ITIMER_VIRTUAL, 2)
    compiled = [re.compile(pattern) for pattern in patterns]
    matches = [(line, position, pattern.search(text)) for line, text in enumerate(lines)
               for position, pattern in enumerate(compiled)]
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return [(line, position, match.groupdict()) for line, position, match in matches if match]


def reply(root):
    """Answer a mirror's question on standard input, packed JSON {"ours", "known", "rules"} as `find` has
    them, by packed JSON: "runs": [[path, kinds, mtime of the folder, [[name, size, mtime], ...]], ...],
    "skipped", "known" if that changed, "took" (s). It runs alone."""
    import json
    import sys
    import time
    import zlib
    began, skipped = time.perf_counter(), collections.Counter()
    question = json.loads(zlib.decompress(sys.stdin.buffer.read()).decode())
    decoded, encoded = ((lambda name: os.fsdecode(name.encode("utf-8", "surrogateescape"))),
                        lambda name: os.fsencode(name).decode())
    before = {decoded(file_path): (answer[0], answer[1]) for file_path, answer in question["known"].items()}
    states = dict(before)
    runs_below = find(root, skipped, {decoded(path) for path in question["ours"]}, states,
                      Rules(question.get("rules") or (), "", _in_time))
    runs = [[encoded(run.path), run.kinds, int(os.stat(run.folder).st_mtime),
             [[encoded(name), size, mtime // 10 ** 9] for name, size, mtime, *_ in run.files]]
            for run in runs_below if os.path.isdir(run.folder)]
    answer = {"runs": runs, "skipped": +skipped, "took": time.perf_counter() - began}
    if states != before:
        answer["known"] = {encoded(file_path): state for file_path, state in states.items()}
    sys.stdout.buffer.write(b"others" + zlib.compress(json.dumps(answer).encode(), 6))


def in_folder(folder, path, known, rules=None):
    """Return a Finder that was handed what is in `folder`, on this machine, of the run at `path` below a
    root: `kinds_of` tells its files.
    known, rules: as for `find`."""
    finder, top = Finder(collections.Counter(), rules=rules), folder_of(path)
    ahead = [top]
    while ahead:
        inner = ahead.pop()
        try:
            more = finder.take(inner, listed(os.path.join(folder, inside(inner, top)), rules))
        except OSError:
            continue            # not here yet, or taken away
        ahead += [inner_path for inner_path in more if _place(inner_path)[0] == path] if inner == top else []
    for doubt in doubts(finder, known):
        settle(finder, known, doubt, *ends(os.path.join(folder, inside(below(*doubt[:2]), top)), doubt[3]))
    return finder


def without_twins(kinds):
    """Return {name: kind} of a run's files without those whose rows stand in another: mmengine writes each
    into `scalars.json` and into a file of its start's date beside it."""
    return {name: kind for name, kind in kinds.items()
            if not (DATED.match(name.rpartition("/")[2])
                    and kinds.get(below(name.rpartition("/")[0], "scalars.json")) == kind)}


def inside(path, top):
    """Return the path below the folder `top` of what lies there at `path` below the root."""
    return path[len(top):].lstrip("/")


def _state(item, rules):
    """Return what a Finder wants to know of an entry (tuple), None of what it has no use for; asks the disk
    for little of it."""
    name = item.name
    try:
        if item.is_dir(follow_symlinks=False):
            return name, 0, 0, 0, S_IFDIR
        if item.is_symlink():
            return name, 0, 0, 0, S_IFLNK
        if not is_of_use(name, rules):
            return None
        stat = item.stat(follow_symlinks=False)
        return name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_mode
    except OSError:         # removed under our eyes
        return None


def ends(path, size):
    """Return the first HEAD and the last TAIL bytes of a regular file; None for both of one that can't be
    read."""
    try:
        descriptor = os.open(path, os.O_RDONLY
                             | sum(getattr(os, flag, 0) for flag in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK")))
    except OSError:
        return None, None
    try:
        head = os.read(descriptor, HEAD)
        os.lseek(descriptor, max(0, size - TAIL), os.SEEK_SET)
        return head, os.read(descriptor, TAIL)
    except OSError:
        return None, None
    finally:
        os.close(descriptor)
