"""One run of a root, looked at by itself: what an executor of a Spark job does with a run that the driver
found."""

import os

from runicorn.reader.command_root import CommandRoot
from runicorn.reader.file_marks import file_mark
from runicorn.reader.foreign_entry import ForeignEntry
from runicorn.reader.records import Record, record_of
from runicorn.reader.run_entry import Entry, Member


class OneRun(CommandRoot):
    """A root in which an executor looks at one run. verdict: what the driver saw of it,
    a liveness.Verdict."""

    def __init__(self, run, verdict=None):
        super().__init__(run.connection, run.root)
        self._foreign_names = {run.path: run.files}
        self._replace({run.path: self._read_foreign(run) if run.kinds else self._read_own(run)})
        if verdict:
            self.believe(True, {run.path: verdict})

    def _read_own(self, run):
        answer = self._read_small(run.path, self.passed)
        return Record.again(*answer) if answer else record_of(run.path, None)

    def _read_foreign(self, run):
        folder, files = os.fspath(self.run_folder(run.path)), {}
        for name in run.files:
            mark = file_mark(os.path.join(folder, name))
            files.update({name: {"size": mark[1], "mtime": mark[0] / 1e9}} if mark else {})
        return record_of(run.path, {"kinds": run.kinds, "files": files})


def opened(run, verdict=None):
    """Return the Entry of a dataset.Run, as an executor sees it."""
    source = OneRun(run, verdict)
    return (ForeignEntry if run.kinds else Entry)(run.key, [Member(source, source.records[run.path])])
