"""One run as the list and its page show it: where it was found, how far it is, how long it took. Looks at ends of files only."""

import os
import time

from runicorn import glance, layout
from runicorn.errors import LayoutError
from runicorn.record import NO_META
from runicorn.states import with_ranks

SETTLED = 2.0               # s; a folder may change once more within the second of its mtime


class Entry:
    """One run as the list shows it: the member read, and all members (the same run through several connections)."""

    __slots__ = ("key", "source", "record", "members", "words", "owes", "_sizes", "_end", "_sparks", "_ranks")

    def __init__(self, key, members):
        self.key, self.members = key, members
        self.source, self.record = members[0].source, members[0].record
        self.words, self.owes, self._sizes, self._end, self._sparks, self._ranks = None, False, None, None, {}, (None, {})

    @property
    def folder(self):
        return self.source.run_folder(self.record.path)

    @property
    def gone(self):
        """Whether the server no longer has it."""
        return self.record.path in getattr(self.source, "gone", ())

    def state(self):
        """Return the derived state's name, without its reason."""
        return self.record.ended or self.source.verdict(self.record).state

    def verdict(self):
        """Return the states.Verdict on the run, with what its ranks other than 0 said of their ends."""
        return with_ranks(self.source.verdict(self.record), self.record.status, self._rank_statuses())

    def _rank_statuses(self):
        """Return what glance.rank_statuses does; read again only when the folder changed."""
        try:
            folder = self.folder
            changed = os.stat(folder).st_mtime
        except (OSError, LayoutError):
            return {}               # gone, or not here yet
        if self._ranks[0] != changed:
            self._ranks = changed if changed < time.time() - SETTLED else None, glance.rank_statuses(folder)
        return self._ranks[1]

    def sizes(self):
        """Return {name: bytes} of the run's append-only files here; those of an ended local run are looked up once."""
        if self._sizes is None or not (self.record.ended and self.source.local):
            self._sizes = glance.own_sizes(self.folder)
        return self._sizes

    def there(self):
        """Return {name: bytes} of the run's append-only files as its server has them; empty for a run of this machine."""
        return self.source.there(self.record.path)

    def error(self):
        """Return what the list says is wrong with the run (str), or None."""
        error = self.record.error
        if error == NO_META:
            why = self.source.left_out(self.record.path)
            why = why.get(layout.META) or why.get("")
            error = f"{layout.META} is not here: {why['text']}" if why else error
        return error or self._unread()

    def _unread(self):
        """Return that the events of a local run may not be read (str), or None."""
        if not self.source.local:
            return None             # of a mirror, the run's page and the connection say so
        events = [name for name in glance.events_of(self.sizes()) if not os.access(os.path.join(self.folder, name), os.R_OK)]
        return f"{events[0]} can't be read: permission denied" if events else None

    def end(self, sizes=None):
        """Return the glance.End of the run's events, read again only when they grew."""
        sizes = sizes or self.sizes()
        if self._end is None or self._end[0] != sizes:
            self._end = sizes, glance.end(self.folder, sizes)
        return self._end[1]

    def glanced(self, metric, sizes):
        """Whether `spark` of the metric would read nothing."""
        return metric in self._sparks and self._sparks[metric][0] == sizes

    def spark(self, metric, sizes):
        """Return the glance.Spark of a metric, or None."""
        if not self.glanced(metric, sizes):
            self._sparks = {metric: (sizes, glance.spark(self.folder, sizes, metric))}
        return self._sparks[metric][1]

    def last_spark(self, metric):
        """Return the glance.Spark of a metric as it was when last looked at, or None; reads nothing."""
        return self._sparks[metric][1] if metric in self._sparks else None

    def duration(self, end=None):
        """Return the seconds the run took or has been running, by its own clock (float), or None."""
        record = self.record
        if record.started is None:
            return None
        if record.ended and record.finished is not None:
            return max(0.0, record.finished - record.started)
        last, pulse = (end or self.end()).ts, self.source.pulses.get(record.path)
        if last is None:
            return None
        waited = pulse.since_row(pulse.read) if pulse and pulse.read and self.state() == "running" else 0.0
        return max(0.0, last - record.started + (waited or 0.0))

    def here(self):
        """Whether all own files of the run are on this machine."""
        return self.source.local or self.source.complete(self.record.path)

    def logged(self, whole=True):
        """Whether the events of all its attempts and ranks are; if not `whole`, the beginning of each is enough."""
        return self.source.local or self.source.complete(self.record.path, "events", whole)


class Member:
    """One place a run was found in."""

    __slots__ = ("source", "record")

    def __init__(self, source, record):
        self.source, self.record = source, record


def freshness(member):
    """Return a key: local files first, then a source whose line is up, then the one that saw the run change last."""
    pulse = member.source.pulses.get(member.record.path)
    return member.source.local, member.source.up, (pulse.changed or 0.0) if pulse else 0.0


def total_steps(record):
    """Return how many steps the run is to take (float), if its config says so, else None."""
    for name in ("max_steps", "total_steps"):
        value = record.config.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return value
    return None


def attempts(status, entry):
    """Return [{"n", "started_at", "from_step"}] of the run's attempts, from its status or else its files."""
    said = status.get("attempts") if isinstance(status.get("attempts"), list) else []
    told = {item.get("n", place): item for place, item in enumerate(said, 1) if isinstance(item, dict)}
    events = {layout.parse_own(name)[1]: name for name in glance.events_of(entry.sizes())}
    numbers = sorted({n for n in told if isinstance(n, int)} | set(events) | {1})
    return [_attempt(n, told.get(n, {}), status, entry.folder, events.get(n)) for n in numbers]


def _attempt(n, told, status, folder, name):
    started = told.get("started_at", status.get("started_at") if n == 1 else None)
    first = told.get("from_step", glance.first_step(folder, name) if name else None)
    return {"n": n, "started_at": layout.number(started), "from_step": first}


def progress(entry, series, end):
    """Return {"step", "total", "speed" (steps/s), "eta" (s)} of the run; None where it can't be known."""
    total, speed = total_steps(entry.record), series.speed()
    share = _epoch_share(entry.record)
    if total is None and share and end.step:
        total = end.step / share
    left = max(0.0, total - end.step) if total is not None and end.step is not None else None
    eta = left / speed if left is not None and speed and not entry.record.ended else None
    return {"step": end.step, "total": round(total) if total is not None else None, "speed": speed, "eta": eta}


def _epoch_share(record):
    """Return the share done by epochs (0 to 1), if the config tells `epochs` and the run logs `epoch` beyond the first."""
    epochs, epoch = record.config.get("epochs"), layout.number(record.summary.get("epoch"))
    if not isinstance(epochs, (int, float)) or isinstance(epochs, bool) or not epoch or not 0 < epoch < epochs:
        return None
    return min(1.0, (epoch + 0.5) / epochs)     # somewhere within the epoch it logged
