"""The rows of one growing file of a known kind, as they come, for whoever keeps them himself. Keeps none."""

import importlib
import os

from runicorn.layout import open_regular

READ_BYTES = 1 << 20        # read at once
RECORD_LIMIT = 16 << 20     # what a reader does not know as one whole record by then is never one
CHECKED = 64                # bytes before what is read that must still be the same
MODULES = {"wandb": "wandb", "tensorboard": "tensorboard", "csv": "csv_table", "trainer": "trainer",
           "jsonl": "jsonl", "log": "text_log"}


def module_of(kind):
    """Return the module that reads files of a kind (of foreign.KINDS)."""
    return importlib.import_module(f"runicorn.metrics.kinds.{MODULES[kind]}")


def reader_of(kind):
    """Return the class that reads files of a kind (of foreign.KINDS)."""
    return module_of(kind).Reader


class Followed:
    """One file, or one after another that each hold what the one before held (a Trainer's states). For one
    thread."""

    def __init__(self, path, kind, folder, skip=0):
        """path: str; kind: of foreign.KINDS; folder: of the training whose it is (str), which is kept in
        `folder`; skip: bytes at its beginning that are old, whose rows are not wanted (int)."""
        self.path, self.kind, self.folder, self._skip = path, kind, folder, skip
        self._next_row = 0
        self._first_row = None              # by which a file that was written anew is told from another
        self._looked = None
        self._begin()

    def _begin(self):
        self.reader, self._position, self._guard = reader_of(self.kind)(), 0, b""

    def move(self, path):
        """Read `path` from now on, which goes on where the one before ended."""
        self.path, self._looked = path, None
        self._begin()

    def step(self):
        """Read at most READ_BYTES; return ([(ts, step, {name: value}), ...] of new rows, whether more is
        left). Raises OSError."""
        status = os.stat(self.path)
        look = status.st_ino, status.st_size, status.st_mtime_ns
        if look == self._looked:
            return [], False
        with open(open_regular(self.path), "rb") as file:
            file.seek(max(0, self._position - len(self._guard)))
            if file.read(len(self._guard)) != self._guard or status.st_size < self._position:
                self._begin()                       # written anew
                file.seek(0)
                self._skip = 0
            remaining = os.fstat(file.fileno()).st_size - self._position
            is_old = self._position < self._skip
            block = file.read(min(READ_BYTES, self._skip - self._position) if is_old else READ_BYTES)
            used, parts = self.reader.take(block, max(remaining, len(block)))
            if is_old and not used and self._position + len(block) == self._skip:
                self._skip = self._position         # the record that was begun then is new
                return [], True
            while not used and READ_BYTES <= len(block) < RECORD_LIMIT:
                more = file.read(READ_BYTES)
                if not more:
                    break
                block += more
                used, parts = self.reader.take(block, max(remaining, len(block)))
            self._position += used
            file.seek(max(0, self._position - CHECKED))
            self._guard = file.read(min(CHECKED, self._position))
        rows = self._rows(parts, status.st_mtime, is_old)
        if not used or self._position >= status.st_size:
            self._looked = look
            return rows, False
        return rows, True

    def _rows(self, parts, now, is_old):
        """Return the rows of `parts` that were not handed out yet, in the order of the file."""
        no_times = self.reader.facts().get("no_times")
        rows = sorted(((row, now if no_times else ts, step, dict(zip(part.names, values))) for part in parts
                       for row, ts, step, values in zip(part.rows, part.ts, part.steps, zip(*part.columns))),
                      key=lambda row: row[0])
        if rows and rows[0][0] == 0:
            first_row = (rows[0][2], next(iter(rows[0][3].items()), None))
            if self._first_row not in (None, first_row):
                self._next_row = 0                     # another training in the same file
            self._first_row = first_row
        new = [] if is_old else [row[1:] for row in rows if row[0] >= self._next_row]
        if rows:
            self._next_row = max(self._next_row, rows[-1][0] + 1)
        return new
