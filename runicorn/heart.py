"""The one daemon thread of a run: does each of its chores when it is due. Keeps the training alive whatever they do."""

import threading
import time

from runicorn.notice import say

LONGEST = 10.0          # seconds between two looks at the clock
NEVER = float("inf")    # what a chore returns that is done for good


class Heart(threading.Thread):
    """Calls each chore, a function of the monotonic time that returns the seconds until it wants to be called again
    (None: only when woken)."""

    def __init__(self, chores):
        super().__init__(name="runicorn", daemon=True)
        self._chores = [[0.0, chore] for chore in chores]
        # A bare lock as a bell: a signal handler that strikes within an Event's Python code may leave it locked for ever.
        self._news = threading.Lock()
        self._news.acquire()
        self._stopping = False

    def wake(self):
        """Have the chores that sleep until woken looked at now."""
        try:
            self._news.release()
        except RuntimeError:
            pass            # rung already

    def stop(self, timeout=1.0):
        """End the thread; waits at most `timeout` seconds for a chore in the middle of its work."""
        self._stopping = True
        self.wake()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout)

    def run(self):
        while not self._stopping:
            if self._news.acquire(timeout=self.one_pass(time.monotonic())):
                for chore in self._chores:
                    if chore[0] is None:
                        chore[0] = 0.0

    def one_pass(self, now):
        """Do what is due at `now`; returns the seconds until the next chore."""
        for chore in self._chores:
            if self._stopping:
                break
            if chore[0] is not None and now >= chore[0]:
                chore[0] = self._due(chore[1], now)
        due = [when for when, _ in self._chores if when is not None]
        return min([LONGEST] + [max(0.0, when - now) for when in due])

    def _due(self, chore, now):
        try:
            pause = chore(now)
        except Exception as error:      # a fault of ours must cost one chore a turn, not the training its log
            say(f"{getattr(chore, '__name__', chore)}: {type(error).__name__}: {error}; training goes on")
            return now + LONGEST
        return None if pause is None else now + pause
