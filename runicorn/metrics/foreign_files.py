"""Which files of another logger's run hold its metrics, and what reads them."""

from __future__ import annotations

import collections
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from runicorn import foreign, layout, local_disk
from runicorn.metrics.follow import module_of, reader_of
from runicorn.metrics.kinds import hparams

if TYPE_CHECKING:
    from typing import Any

MEASURED = ("wandb",)       # kinds whose files tell of the machine, too
FILES = 10_000              # of one run that are read


class Ruled(NamedTuple):
    """Makes the reader of a text file for which there are rules of one's own. Called with a state, as
    the class of a reader is."""

    kind: str
    rules: str              # as JSON

    def __call__(self, state=None):
        from runicorn.metrics.kinds import ruled  # here: most have no rules
        return ruled.reader(self.kind, self.rules, state)


def maker(kind, file_path, rules=None):
    """Return what makes the reader of a file of a kind that lies at `file_path` below a root. rules:
    foreign_rules.Rules, if there are any."""
    fitting = rules.of(file_path, foreign.kind_of_name(file_path)) if rules else ()
    fitting = ([rule for rule in fitting if ("pattern" in rule) == (kind == "log")]
               if kind in ("log", "jsonl") else ())
    return Ruled(kind, layout.to_json(fitting)) if fitting else reader_of(kind)


class ForeignFiles:
    """The files of the run at `path` below a root, looked for again where a folder of it changed. For one
    thread at a time.

    `numbers` is {name: (number in the last answer, kind)}, also of those that a mirror lists and that are not
    here.
    """

    def __init__(self, path, kinds=(), system=True, listed=None, rules=lambda: None):
        """path: of the run, as foreign.Run has it; kinds: those that are known of it, whose readers are
        imported at once; system: whether what was measured of the machine is wanted, too, for which such
        files are read twice; listed: function() returning {name: its name in the folder} of the run's files,
        which may not be here, None: those are looked for; rules: function() returning the
        foreign_rules.Rules of its root, or None."""
        for kind in kinds:
            module_of(kind)
        self._path, self._run_kinds, self._rules_of, self._rules = path, kinds, rules, None
        self._measured, self._listed, self.numbers = MEASURED if system else (), listed, {}
        self._text_kinds = {}                   # as foreign.find has it
        # what the last look found; mtimes of the folders it was in, None: look again
        self._kinds, self._mtimes = {}, None

    def __call__(self, folder):
        """Return {("events", 0, number): (path, function(state) returning its reader)}, those of the kind
        that is believed first last, of one kind in the order of their names; the same with "system" for what
        W&B measured of the machine; {} where the folder is not here."""
        self._follow_rules()
        places = self._listed() if self._listed else None
        run = foreign.without_twins(self._in_folder(folder) if places is None
                                    else self._of_listed(folder, places))
        kinds = {}
        for name, kind in run.items():
            kinds.setdefault(kind, []).append(name)
        names = [(name, kind) for kind in reversed(foreign.KINDS) for name in sorted(kinds.get(kind, ()))]
        self.numbers = {name: (number, kind) for number, (name, kind) in enumerate(names[-FILES:], 1)}
        paths = [(number, name, os.path.join(folder, (places or {}).get(name, name)), kind)
                 for name, (number, kind) in self.numbers.items()]
        paths = paths if places is None else [file for file in paths if os.path.lexists(file[2])]
        files = {("events", 0, number): (path, self.maker(name, kind)) for number, name, path, kind in paths}
        files.update({("system", 0, number): (path, module_of(kind).SystemReader)
                      for number, _, path, kind in paths if kind in self._measured})
        return files

    def maker(self, name, kind):
        """Return what makes the reader of the run's file `name`, which is of a kind."""
        return maker(kind, foreign.below(foreign.folder_of(self._path), name), self._rules)

    def _follow_rules(self):
        rules = self._rules_of()
        if rules != self._rules:
            self._rules, self._mtimes = rules, None
            self._text_kinds.clear()

    def _in_folder(self, folder):
        """Return {name: kind} of the files with metrics in the run's folder."""
        if self._mtimes and self._mtimes == {path: _mtime(path) for path in self._mtimes}:
            return self._kinds
        began = time.time_ns()
        finder = foreign.in_folder(folder, self._path, self._text_kinds, self._rules)
        self._kinds, top = finder.kinds_of(self._path), foreign.folder_of(self._path)
        mtimes = {path: _mtime(path)
                  for path in (os.path.join(folder, foreign.inside(folder_path, top))
                               for folder_path in finder.visited)}
        waits = finder.waits or any(kind is None for _, kind in self._text_kinds.values())
        is_settled = all(mtime is not None and layout.tells_changes(mtime, began)
                         for mtime in mtimes.values())
        self._mtimes = mtimes if is_settled and not waits else None
        return self._kinds

    def _of_listed(self, folder, places):
        """Return {name: kind} of the files with metrics among those that a mirror lists."""
        listed, top = {}, foreign.folder_of(self._path)
        for name, position in places.items():
            file_path, path = foreign.below(top, name), os.path.join(folder, position)
            kind = foreign.kind_of_name(file_path, self._rules)
            if kind and kind not in foreign.SURE:
                try:
                    stat = os.lstat(path)
                    kind = self._kind_of(path, file_path, stat) if stat.st_size else None
                except OSError:                     # not here yet
                    kind = kind if kind in self._run_kinds else None
            listed.update({name: kind} if kind else {})
        return listed

    def _kind_of(self, path, file_path, stat):
        """Return the kind (str) of a text file, or None; looked into again while it is short and
        grows, or was replaced."""
        mark = stat.st_dev, stat.st_ino
        cached = self._text_kinds.get(path)
        if cached and cached[0] == mark and (cached[2] or cached[1] == stat.st_size):
            return cached[2]
        kind_now = foreign.kind_of_text(file_path, *foreign.ends(path, stat.st_size), self._rules,
                                        collections.Counter())
        self._text_kinds[path] = mark, stat.st_size, kind_now
        return kind_now


def _mtime(path):
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None             # taken away meanwhile


def config(path: str) -> dict[str, Any]:
    """Return the settings of a training in a JSON or YAML file (dict of plain JSON values);
    {} where it tells none."""
    if path.endswith(".json"):
        return layout.read_json(path, limit=hparams.LIMIT) or {}
    try:
        with open(layout.open_regular(path), "rb") as file:
            return hparams.config(file.read(hparams.LIMIT + 1))
    except OSError as error:        # gone since it was listed
        local_disk.pass_over(error)
        return {}
