"""The small files of a run, meta.json, status.json and summary.json: what they hold, with secrets masked, and
when they are written."""

import os
import time

from runicorn.disk import PATIENCE
from runicorn.layout import META, STATUS, SUMMARY
from runicorn.masking import masked
from runicorn.writer.jsonfile import JsonFile
from runicorn.writer.mappings import Config, Summary

# How old the counts in meta.json may be from which the next attempt goes on with a mean
MEANS_SECONDS = 60.0
# What meta.json and status.json are read by: as it is
IDENTITY = ("id", "project", "name", "attempts", "metrics")


class SmallFiles:
    """Any thread may call it. `config`, `summary`: the run's mappings, whose changes are written; `meta`:
    what meta.json has, a dict for others to read."""

    def __init__(self, meta, attempt, before, last, not_secret, wake):
        """meta: dict for meta.json. attempt: dict, this attempt's entry in status.json. before: the
        status.json of the attempt before, {} if there is none. last: the metrics' last values, a dict that
        `log` updates. not_secret: see masking.masked. wake: called when a change has to wait. Nothing is
        written before `place`."""
        self.meta, self._not_secret = meta, not_secret
        self._ended, self._stated, self._means_at = False, True, 0.0
        self._begin(attempt, before)
        self.config = Config(lambda: self._ended or self._meta.changed(), meta["config"])
        self.summary = Summary(lambda: self._ended or self._summary.changed(), last)
        self._meta = JsonFile(None, lambda: self._facts(dict(self.meta, config=self.config.as_dict())), wake)
        self._status = JsonFile(None, lambda: self._facts(self._state), wake)
        self._summary = JsonFile(None, lambda: self.masked(self.summary.as_dict()), wake)

    def _begin(self, attempt, before):
        self._history = {"started_at": before.get("started_at") or attempt["started_at"],
                         "attempts": (before.get("attempts") or []) + [attempt]}
        self._state = dict(self._history, status="running")

    def masked(self, value):
        """Return what is written in place of `value`: secrets stay in the process."""
        return masked(value, self._not_secret)

    def _facts(self, facts):
        return dict(self.masked(facts), **{key: facts[key] for key in IDENTITY if key in facts})

    def place(self, folder, names=(META, STATUS, SUMMARY)):
        """Write those of `names` into `folder` (str), from now on. Raises OSError."""
        for file, name in ((self._meta, META), (self._status, STATUS), (self._summary, SUMMARY)):
            if name in names:
                file.move(os.path.join(folder, name))
                if not file.write() and not file.refused:
                    raise OSError(f"{file.path} can't be written")

    def move(self, folder):
        """Write into `folder` (str) from now on, where they are already."""
        for file, name in ((self._meta, META), (self._status, STATUS), (self._summary, SUMMARY)):
            file.move(os.path.join(folder, name))

    def be_attempt(self, folder, meta, attempt, before):
        """Be those of one more attempt of the run in `folder` (str). meta: dict for meta.json. attempt: dict,
        of this attempt's entry what has changed. before: the status.json of the attempt before."""
        self._begin(dict(self._history["attempts"][-1], **attempt), before)
        self.meta.update(meta)
        self.config.update(meta["config"])
        self.move(folder)
        self.write()
        self._status.write()

    def leave(self):
        """Write what waits: from now on meta.json and summary.json are another process's to write."""
        self.write()
        self._meta.move(None)
        self._summary.move(None)

    def take_back(self, folder, meta, summary):
        """Write them again, with what the other process left in them (dicts) over ours."""
        self.config.update(meta.get("config") or {})
        self.meta.update({key: value for key, value in meta.items() if key != "config"})
        self.summary.update(summary)
        self._meta.move(os.path.join(folder, META))
        self._summary.move(os.path.join(folder, SUMMARY))
        self.write()

    def place_status(self, path, attempt):
        """Write the status alone, to `path`: of a rank that joined `attempt` (int) of rank 0's run."""
        self._history["attempts"][0]["n"] = attempt
        self._status.move(path)
        self._status.write()

    def set(self, **facts):
        """Put facts into meta.json."""
        self.meta.update(facts)
        self._meta.changed()

    def rows_came(self, now):
        """The metrics' last values, and what means are made of, changed."""
        self._summary.changed()
        if "means" in self.meta and now >= self._means_at:
            self._means_at = now + MEANS_SECONDS
            self._meta.changed()

    def flush(self, now):
        """Write what waits if it is time; returns the seconds until the next call, None for "when woken"."""
        due = [pause for pause in (file.flush(now) for file in (self._status, self._meta, self._summary))
               if pause is not None]
        return min(due) if due else None

    def write(self):
        """Write all but the status now: the run ends."""
        self._summary.write(PATIENCE)
        self._meta.write(PATIENCE)

    def state_end(self, verdict):
        """Have status.json say that the run ended so (see exits.verdict)."""
        self._state = dict(self._history, ended_at=round(time.time(), 3), **verdict)
        self._stated = self._status.write(PATIENCE)

    def state_again(self):
        """Where a full disk or a lack of descriptors kept the verdict out, what was closed meanwhile has made
        room."""
        if not self._stated:
            self._stated = self._status.write(PATIENCE)

    def end(self):
        """The run is over: changes of its config and summary are written no more."""
        self._ended = True

    def go_on(self):
        """The run goes on after all."""
        self._state = dict(self._history, status="running")
        self._status.changed()

    def abandon(self):
        """In a forked child: the files are the parent's to write."""
        for file in (self._meta, self._status, self._summary):
            file.abandon()
