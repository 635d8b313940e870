"""Which points of an event file a restart supersedes, as TensorBoard decides it (event_accumulator.py,
`_MaybePurgeOrphanedData`).

File version 2: a SessionLog START supersedes what stands before it at its step or beyond. Version 1 or none:
an event whose step is below the last one's supersedes the points of its own tags at its step or beyond.
"""

import math

MOST = 10_000           # purges remembered; a file with more is no training's
VERSION = "brain.Event:"


class Purges:
    """Gathers the purges of one file. `overflow` counts those beyond MOST."""

    def __init__(self, state=None):
        state = state or {}
        self.version = state.get("version")
        self._recent = state.get("recent", -1)
        self.restarts, self.overflow = state.get("restarts", 0), state.get("overflow", 0)
        # Tag -> its highest step that counts; before version 2
        self._tops = dict(state.get("tops", ()))
        # A tag, or None for all -> [[row, step]], rows and steps ascending.
        self._lists = {tag: list(purges) for tag, purges in state.get("lists", ())}
        self._count = sum(map(len, self._lists.values()))

    def state(self):
        """Return what the constructor takes (dict for JSON)."""
        return {"version": self.version, "recent": self._recent, "restarts": self.restarts,
                "overflow": self.overflow, "tops": list(self._tops.items()),
                "lists": [(tag, list(purges)) for tag, purges in self._lists.items()]}

    @property
    def old(self):
        """Whether steps that go back decide."""
        return not (self.version and self.version >= 2)

    def declare(self, text):
        """Take the version from an Event.file_version (str)."""
        try:
            self.version = float(text.rpartition(VERSION)[2])
        except ValueError:
            self.version = -1.0
        if not math.isfinite(self.version):
            self.version = -1.0

    def start(self, row, step):
        """Take a SessionLog START before `row`."""
        self.restarts += 1
        if not self.old:
            self._note(None, row, step)

    def event(self, row, step, tags, summary):
        """Take an event of an old file, in order. tags: those of its scalars; summary: whether it holds a
        summary at all."""
        if step < self._recent and summary:
            for tag in tags:
                lowest = self._lists.get(tag)
                # One below all before it may supersede points of an earlier file.
                if not lowest or step < lowest[0][1] or step <= self._tops.get(tag, step):
                    self._note(tag, row, step)
                    self._tops[tag] = step
        else:
            self._recent = step
        for tag in tags:
            self._tops[tag] = max(step, self._tops.get(tag, step))

    def _note(self, tag, row, step):
        purges = self._lists.setdefault(tag, [])
        while purges and purges[-1][1] >= step:
            purges.pop()                        # the later one supersedes all that this one did
            self._count -= 1
        if self._count >= MOST:
            self.overflow += 1
            return
        purges.append([row, step])
        self._count += 1

    def list(self):
        """Return [[row, step, tags or None], …], rows ascending: points before `row` at `step` or beyond are
        superseded."""
        together = {}
        for tag, purges in self._lists.items():
            for row, step in purges:
                together.setdefault((row, step, tag is None), []).append(tag)
        return [[row, step, None if every else sorted(tags)]
                for (row, step, every), tags in sorted(together.items())]
