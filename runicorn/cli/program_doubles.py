"""Which curves in a program's files are those that its script logs to the run itself, as a training does that
hands its metrics to two loggers: each point is compared with what the script logged at that step."""

import json
import time

from runicorn.writer.notice import say

# A curve of which the script has not logged a point by then is the file's own: at first, and where another
# curve was found to be the script's. (Ultralytics draws its plots between writing a table and logging it.)
LATE_SECONDS, TWIN_SECONDS = 10.0, 60.0
HELD = 2000                 # points of a curve that are kept to be put back
AT_ONE = 4                  # values of one step that are compared, the newest: it may be an epoch
STEPS_KNOWN = 20_000        # of what a script logged under one name, the newest
LAST_SECONDS = 2.0          # of reading when the program has ended
BYTES = 4 << 20             # of the run's events, read in one pass
CLOSE = 1e-5                # files tell six digits, TensorBoard's 32 bits
# What a script that counts otherwise than its run logs beside its metrics, behind the last "/"
STEPS = {"step", "_step", "global_step", "epoch"}


class Doubles:
    """Points wait in `holds` until `settle` knows better. Nothing is lost: what is dropped stands in the run
    under the script's name, and comes back when the curves come to differ. One thread at a time."""

    def __init__(self, events):
        """events: function() -> path of the events that the script writes."""
        self._events, self._offset = events, 0
        self._logged = {}       # name -> {step: what the script logged there (list)}
        self._waiting = {}      # (curve, name) -> [(monotonic, ts, step, value), …]
        self._equal = {}        # … -> points that were dropped
        self._own = set()       # curves that are the file's own

    def holds(self, curve, name, ts, step, value):
        """Whether a point waits. curve: what it is called in the run, name: what in the file."""
        if curve in self._own:
            return False
        if name not in self._logged:        # it may have been logged since long
            self._logged, self._offset = {known: {} for known in (*self._logged, name)}, 0
        self._waiting.setdefault((curve, name), []).append((time.monotonic(), ts, step, value))
        return True

    def settle(self, is_last=False):
        """Compare what waits; returns what is to be recorded, [(ts, step, {curve: value}), …]."""
        if not self._waiting:
            return []
        now, is_behind, rows = time.monotonic(), self._read(), []
        while is_behind and is_last and time.monotonic() < now + LAST_SECONDS:
            is_behind = self._read()
        for key, points in list(self._waiting.items()):
            logged, rest = self._logged[key[1]], []
            for point in points:
                came, _, step, value = point
                if any(_is_close(value, other) for other in logged.get(step, ())):
                    self._equal.setdefault(key, []).append(point)
                    del self._equal[key][:-HELD]
                    continue
                rest.append(point)
                patience = TWIN_SECONDS if self._equal else LATE_SECONDS
                if is_last or now - came > patience and not is_behind:
                    self._own.add(key[0])
            self._waiting[key] = rest
            if key[0] in self._own:
                rest = self._equal.pop(key, []) + rest
                rows += [(ts, step, {key[0]: value}) for _, ts, step, value in rest]
            elif key in self._equal:
                say("metrics that the script logs itself are not taken from its files a second time: "
                    f"{key[1]} …", once="doubles")
            if key[0] in self._own or not rest:
                del self._waiting[key]
        return rows

    def _read(self):
        """Take in what the script has logged since; returns whether there is more."""
        try:
            with open(self._events(), "rb") as file:
                file.seek(self._offset)
                block = file.read(BYTES)
        except OSError:
            return False
        lines = block[:block.rfind(b"\n") + 1]
        self._offset += len(lines)
        for line in lines.splitlines():
            try:
                row = json.loads(line)
                data = row["data"] if "type" not in row else {}
                names = self._logged.keys() & data.keys()
                steps = {row["step"], *(data[key] for key in data if key.rpartition("/")[2] in STEPS)}
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
            for name in names:
                values = self._logged[name]
                for step in steps:
                    values[step] = [*values.get(step, ()), data[name]][-AT_ONE:]
                while len(values) > STEPS_KNOWN:
                    del values[next(iter(values))]
        return len(block) == BYTES


def _is_close(value, logged):
    try:
        other = float(logged)           # "NaN", too
    except (TypeError, ValueError):
        return False
    return value == other or value != value and other != other or abs(value - other) <= CLOSE * abs(other)
