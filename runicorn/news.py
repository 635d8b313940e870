"""There is news: whoever changed something rings its topic, whoever waits for that topic, and nobody else,
wakes up. Keeps numbers, never the news itself."""

import secrets
import threading
import time
import weakref

# Longer than one long poll, so a page that asks again at once stays "watched" without a gap
WATCHED_SECONDS = 30
DIGITS = 18             # more than any number of rings has
TOPICS_KEPT = 20_000    # older topics are forgotten; who waits from before that is told everything changed


class Bell:
    """Numbered topics. A news number is `boot.n`: `boot` names this process's bell, `n` counts rings. Any
    thread may call any method; `wait` keeps it waiting."""

    def __init__(self, clock=time.monotonic):
        self.boot = secrets.token_hex(4)
        self._clock = clock
        self._n = 0
        self._forgotten = 0                 # the largest number among topics dropped
        self._rung = {}                     # topic -> number of its last ring, oldest first
        self._waited = {}                   # topic -> when somebody last waited for it
        # Topic -> the Events of those who wait for it, and for no other ring
        self._waiters = {}
        self._beginnings = weakref.WeakSet()        # Events, see `wake_watched`
        self._lock = threading.Lock()

    def now(self):
        """Return the present news number, `boot.n`; take it before reading the data it stands for."""
        with self._lock:
            return f"{self.boot}.{self._n}"

    def ring(self, *topics):
        """Say that `topics` (str) changed; whoever waits wakes up once for all of them. Never blocks for
        long, never raises."""
        with self._lock:
            for topic in topics:
                self._n += 1
                self._rung.pop(topic, None)
                self._rung[topic] = self._n
                if len(self._rung) > TOPICS_KEPT:
                    oldest = next(iter(self._rung))
                    self._forgotten = self._rung.pop(oldest)
            waiters = {waiter for topic in topics for waiter in self._waiters.get(topic, ())}
        for waiter in waiters:              # each finds the lock free
            waiter.set()

    def wait(self, since, topics, timeout):
        """Wait until one of `topics` was rung after `since`, at most `timeout` seconds.

        Returns {"news": str, "topics": [str, …]}, with "reset": True when `since` is not a number of this
        bell (another process, or so old that topics were forgotten): then everything may have changed.
        """
        topics = set(topics)
        boot, _, number = since.partition(".")
        deadline = self._clock() + timeout
        number = int(number) if number.isdecimal() and len(number) <= DIGITS else -1
        waiter = threading.Event()
        with self._lock:
            self._look(topics)
            if boot != self.boot or number < self._forgotten:
                return {"news": f"{self.boot}.{self._n}", "topics": sorted(topics), "reset": True}
            if not self._changed(topics, number):
                for topic in topics:
                    self._waiters.setdefault(topic, set()).add(waiter)
        try:
            while True:
                with self._lock:
                    changed, seconds = self._changed(topics, number), deadline - self._clock()
                    if changed or seconds <= 0:
                        self._look(topics)
                        return {"news": f"{self.boot}.{self._n}", "topics": changed}
                waiter.wait(seconds)
                waiter.clear()
        finally:
            with self._lock:
                for topic in topics & self._waiters.keys():
                    self._waiters[topic].discard(waiter)
                    if not self._waiters[topic]:
                        del self._waiters[topic]

    def _changed(self, topics, number):
        return sorted(topic for topic in topics if self._rung.get(topic, 0) > number)

    def wake(self, topic, event):
        """Have `event` (threading.Event) set with each ring of a topic from now on; nobody is said to look at
        that."""
        with self._lock:
            self._waiters.setdefault(topic, set()).add(event)

    def last(self, topic):
        """Return the number (int) of the last ring of a topic, 0 if there was none."""
        with self._lock:
            return self._rung.get(topic, 0)

    def look(self, topics):
        """Note that somebody looks at `topics` now, without waiting."""
        with self._lock:
            self._look(topics)

    def watched(self):
        """Return the set of topics somebody waited for, or looked at, within the last 30 s."""
        with self._lock:
            oldest = self._clock() - WATCHED_SECONDS
            self._waited = {topic: moment for topic, moment in self._waited.items() if moment >= oldest}
            return set(self._waited)

    def wake_watched(self, event):
        """Have `event` (threading.Event) set when somebody begins to look at a topic, while it exists."""
        with self._lock:
            self._beginnings.add(event)

    def _look(self, topics):
        moment = self._clock()
        if any(topic not in self._waited for topic in topics):
            for event in self._beginnings:
                event.set()
        for topic in topics:
            self._waited[topic] = moment
