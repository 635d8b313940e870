"""Which files of another logger's run hold its metrics, and what reads them."""

import os

from runicorn import foreign, layout, local_disk
from runicorn.foreign_text import kind_by_content
from runicorn.metrics.follow import module_of, reader_of
from runicorn.metrics.kinds import hparams

MEASURED = ("wandb",)       # kinds whose files tell of the machine, too
FILES = 10_000              # of one run that are read


class ForeignFiles:
    """The files of the run at `path` below a root, found anew with each call. For one thread at a time.

    `numbers` is {name: (number in the last answer, kind)}, also of those that a mirror lists and that are not here.
    """

    def __init__(self, path, kinds=(), system=True, listed=None):
        """path: of the run, as foreign.Run has it; kinds: those that are known of it, whose readers are imported at once; system: whether
        what was measured of the machine is wanted, too, for which such files are read twice; listed: function() returning {name: its name
        in the folder} of the run's files, which may not be here, None: those are looked for."""
        for kind in kinds:
            module_of(kind)
        self._path, self._run_kinds, self._kinds = path, kinds, {}      # path of a text file -> (device, inode, size, its kind or None)
        self._measured, self._listed, self.numbers = MEASURED if system else (), listed, {}

    def __call__(self, folder):
        """Return {("events", 0, number): (path, function(state) returning its reader)}, those of the kind that is believed first last,
        of one kind in the order of their names; the same with "system" for what W&B measured of the machine; {} where the folder is
        not here."""
        places = self._listed() if self._listed else None
        run = foreign.in_folder(folder, self._path, self._kind_of) if places is None else self._of_listed(folder, places)
        kinds = {}
        for name, kind in run.items():
            kinds.setdefault(kind, []).append(name)
        names = [(name, kind) for kind in reversed(foreign.KINDS) for name in sorted(kinds.get(kind, ()))]
        self.numbers = {name: (number, kind) for number, (name, kind) in enumerate(names[-FILES:], 1)}
        paths = [(number, os.path.join(folder, (places or {}).get(name, name)), kind) for name, (number, kind) in self.numbers.items()]
        paths = paths if places is None else [file for file in paths if os.path.lexists(file[1])]
        found = {("events", 0, number): (path, reader_of(kind)) for number, path, kind in paths}
        found.update({("system", 0, number): (path, module_of(kind).SystemReader)
                      for number, path, kind in paths if kind in self._measured})
        return found

    def _of_listed(self, folder, places):
        """Return {name: kind} of the files with metrics among those that a mirror lists."""
        found = {}
        for name, position in places.items():
            kind, path = foreign.kind_by_name(name.rpartition("/")[2]), os.path.join(folder, position)
            if kind and kind not in foreign.SURE:
                try:
                    stat = os.lstat(path)
                    kind = self._kind_of(path, kind, stat) if stat.st_size else None
                except OSError:                     # not here yet
                    kind = kind if kind in self._run_kinds else None
            found.update({name: kind} if kind else {})
        return found

    def _kind_of(self, path, kind, stat):
        """Return the kind (str) of a text file, or None; looked into again while it is short and grows, or was replaced."""
        mark = stat.st_dev, stat.st_ino
        known = self._kinds.get(path)
        if known and known[0] == mark and (known[2] or known[1] == stat.st_size):
            return known[2]
        found = kind_by_content(kind, *foreign.ends(path, stat.st_size))
        self._kinds[path] = mark, stat.st_size, found
        return found


def config(path):
    """Return the settings of a training in a JSON or YAML file (dict of plain JSON values); {} where it tells none."""
    if path.endswith(".json"):
        return layout.read_json(path, limit=hparams.LIMIT) or {}
    try:
        with open(layout.open_regular(path), "rb") as file:
            return hparams.config(file.read(hparams.LIMIT + 1))
    except OSError as error:        # gone since it was listed
        local_disk.pass_over(error)
        return {}
