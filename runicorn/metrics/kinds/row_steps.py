"""The step of each row of a text file, where loggers count in different ways: from zero again in each epoch,
by epochs beside iterations, or all anew when a training was started again and appended to the same file."""

import math
from zlib import crc32

from runicorn.metrics.parse import STEP_LIMIT

SHAPES = 64                 # sets of metrics whose last steps are remembered
# Steps remembered of each: threads that log at once overtake one another by so many at most
RECENT = 8
EPOCHS = 256                # whose beginnings are remembered, where steps are counted in each
PURGES = 256
NAMES = 1024                # metrics whose last step is remembered
# In rows of all sorts
COMMON = {"epoch", "iter", "iteration", "step", "lr", "learning_rate", "time", "data_time", "eta", "memory"}


class Steps:
    """Turns steps as they are written into steps that go on. Notes what a later attempt of the training
    supersedes, as `purges` [[row, step, None], …]: rows before `row` at or beyond `step`; `restarts` counts
    the attempts after the first."""

    def __init__(self, state=None):
        """state: what `state` told, or None."""
        state = state or {}
        self.purges, self.restarts = state.get("purges", []), state.get("restarts", 0)
        # {key of a set of metrics: [its last steps]}, as written
        self._recent = state.get("recent", {})
        self._tops = state.get("tops", {})              # {metric: its last step}, as written
        self._epochs = state.get("epochs", {})          # {…: its last epoch}
        self._base, self._last = state.get("base", 0), state.get("last")
        # Of steps counted in each epoch
        self._bases = {float(epoch): base for epoch, base in state.get("bases", [])}
        # Whether rows have steps of their own, not epochs alone
        self._counts = state.get("counts", False)
        self._keys = {}

    def state(self):
        """Return what a Steps that goes on from here is made with (dict)."""
        return {"purges": [list(purge) for purge in self.purges], "restarts": self.restarts,
                "recent": {key: list(steps) for key, steps in self._recent.items()},
                "epochs": dict(self._epochs), "tops": dict(self._tops), "base": self._base,
                "last": self._last, "bases": [list(item) for item in self._bases.items()],
                "counts": self._counts}

    def facts(self, has_times, has_naive):
        """Return `purges` and `restarts`, if there are any, and what of the rows' times is not to be
        believed: "no_times" where none was told, "naive_times" where one had no zone."""
        facts = ({"purges": [list(purge) for purge in self.purges], "restarts": self.restarts} if self.purges
                 else {})
        return {**facts, **({"no_times": True} if not has_times else {"naive_times": True} if has_naive
                            else {})}

    def settle(self, parts, epochs, lengths=None):
        """Return `parts` (list of parse.Part) with their steps settled.

        Their steps may be None or NaN: a row that has an epoch alone. epochs: for each part the epochs of its
        rows (NaN: unknown) or None.
        lengths: for each part the steps in an epoch as each row tells them (0: it does not), or None.
        """
        if not parts:
            return parts
        are_known = len(parts) == 1 or all(self._key(part.names) in self._recent for part in parts)
        if (self._base == 0 and are_known and len(parts) + len(self._recent) <= SHAPES
                and all(map(self._goes_on, parts, epochs))):
            for part, counted in zip(parts, epochs):
                self._note(part.names, part.steps, counted or ())
            self._counts = True
            self._last = max(parts, key=lambda part: part.rows[-1]).steps[-1]
            return parts
        order = sorted((row, position, index) for position, part in enumerate(parts)
                       for index, row in enumerate(part.rows))
        settled = [[0] * len(part.rows) for part in parts]
        for row, position, index in order:
            part = parts[position]
            step = part.steps[index] if part.steps is not None else math.nan
            epoch = epochs[position][index] if epochs[position] is not None else math.nan
            length = lengths[position][index] if lengths is not None else 0
            settled[position][index] = self._settle(row, part.names, step, epoch, length)
        return [part._replace(steps=steps) for part, steps in zip(parts, settled)]

    def _goes_on(self, part, epochs):
        steps = part.steps
        if steps is None or not math.isfinite(sum(steps)):
            return False
        recent, ordered = self._recent.get(self._key(part.names)) or self._others(part.names), sorted(steps)
        if epochs is not None and (recent and max(recent) == steps[0] or len(set(ordered)) < len(ordered)):
            return False                                # each epoch may end at the same step
        return list(steps) == ordered and (not recent or max(recent) <= steps[0])

    def _key(self, names):
        key = self._keys.get(names)
        if key is None:
            if len(self._keys) >= 16 * SHAPES:
                self._keys.clear()
            key = self._keys[names] = f"{crc32(chr(0).join(names).encode('utf-8', 'surrogatepass')):08x}"
        return key

    def _others(self, names):
        """Return the last step of metrics that are new in this company ([step], or [])."""
        tops = [self._tops[name] for name in names if name in self._tops]
        return [max(tops)] if tops else tops

    def _note(self, names, steps, epochs):
        key = self._key(names)
        if len(self._tops) < NAMES:
            self._tops.update([(name, max(steps[-1], self._tops.get(name, steps[-1])))
                               for name in names[:NAMES] if len(name) < 200 and name not in COMMON])
        self._recent[key] = (self._recent.pop(key, []) + list(steps[-RECENT:]))[-RECENT:]
        epoch = next((epoch for epoch in reversed(epochs) if epoch == epoch), None)
        if epoch is not None:
            self._epochs[key] = epoch
        while len(self._recent) > SHAPES:
            oldest = next(iter(self._recent))
            del self._recent[oldest]
            self._epochs.pop(oldest, None)

    def _settle(self, row, names, step, epoch, length):
        if step == step:
            self._counts = True
            return self._count(row, names, step, epoch, length)
        # An epoch alone: it stands where the iterations do, if the file counts them
        if self._counts or epoch != epoch:
            return self._last or 0
        return self._count(row, names, whole(epoch), math.nan, 0)

    def _count(self, row, names, step, epoch, length):
        key = self._key(names)
        recent = self._recent.get(key) or self._others(names)
        if recent and step <= max(recent):
            before = self._epochs.get(key, math.nan)
            if epoch > before and whole(epoch) == epoch:
                self._begin_epoch(epoch, step, recent, length * int(epoch - before))
            # What was overtaken was not there before
            elif step < min(recent) or step in recent and step < max(recent):
                self._supersede(row, step, epoch)
        self._note(names, [step], [epoch])
        self._last = step + self._base
        return self._last

    def _begin_epoch(self, epoch, step, recent, length):
        gap = recent[-1] - recent[-2] if len(recent) > 1 else 1
        self._base = self._base + length if length else (self._last or 0) - step + (step or max(gap, 1))
        self._recent.clear()
        self._tops.clear()
        self._bases[epoch] = self._base
        while len(self._bases) > EPOCHS:
            del self._bases[next(iter(self._bases))]

    def _supersede(self, row, step, epoch):
        self._recent.clear()
        self._epochs.clear()
        self._tops.clear()
        self._base = self._bases.get(epoch, 0)
        self.restarts += 1
        step += self._base
        while self.purges and self.purges[-1][1] >= step:       # all that one supersedes, this one does
            self.purges.pop()
        if len(self.purges) < PURGES:
            self.purges.append([row, step, None])


def whole(step):
    """Return a step (float) as int where it is one and not beyond what a step may be."""
    return int(step) if step == step and abs(step) < STEP_LIMIT and step == int(step) else step
