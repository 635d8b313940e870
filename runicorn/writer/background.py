"""The one daemon thread of a run: does each of its chores when it is due. Keeps the training alive whatever
they do."""

import threading
import time

from runicorn.writer.notice import say

LONGEST = 10.0          # seconds between two looks at the clock
NEVER = float("inf")    # what a chore returns that is done for good
# Before the first chores: who starts the thread waits for its first breath, and should not wait for their
# imports
REST_SECONDS = 0.02
TRY_SECONDS = 10.0      # between two tries to start the thread where there is no room for one


class Heart:
    """Calls each chore, a function of the monotonic time that returns the seconds until it wants to be called
    again (None: only when woken), in a thread of its own. Any other may `wake` it, a signal handler, too."""

    def __init__(self, chores):
        self._chores = [[0.0, chore] for chore in chores]
        # A bare lock as a bell: a signal handler that strikes within an Event's Python code may leave it
        # locked for ever.
        self._news = threading.Lock()
        self._news.acquire()
        self._thread = None
        self._try_at = 0.0
        self._stopping = False

    def start(self, now=None):
        """Start the thread; returns whether there is one. A process limit, a subinterpreter or an interpreter
        that is ending may have no room for it; then it is tried again by whoever calls this, every
        TRY_SECONDS."""
        now = time.monotonic() if now is None else now
        if self._thread is None and not self._stopping and now >= self._try_at:
            self._try_at = now + TRY_SECONDS
            try:
                thread = threading.Thread(target=self.run, name="runicorn", daemon=True)
                thread.start()
                self._thread = thread
            except RuntimeError as error:
                say(f"no thread can be started ({error}): rows are recorded, but no samples of the system, "
                    f"and the run beats when it logs",
                    once="thread")
        return self._thread is not None

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
        thread = self._thread
        if thread is not None and thread.is_alive() and threading.current_thread() is not thread:
            thread.join(timeout)

    def run(self):
        """What the thread does."""
        self._news.acquire(timeout=REST_SECONDS)
        while not self._stopping:
            if self._news.acquire(timeout=self.one_pass(time.monotonic())):
                for chore in self._chores:
                    if chore[0] is None:
                        chore[0] = 0.0

    def one_pass(self, now, only=None):
        """Do what is due at `now`, of the chores `only` if that is given; returns the seconds until the next
        chore."""
        for chore in self._chores:
            if self._stopping:
                break
            if chore[0] is not None and now >= chore[0] and (only is None or chore[1] in only):
                chore[0] = self._due(chore[1], now)
        due = [time for time, _ in self._chores if time is not None]
        return min([LONGEST] + [max(0.0, time - now) for time in due])

    def _due(self, chore, now):
        try:
            pause = chore(now)
        except Exception as error:      # a fault of ours must cost one chore a turn, not the training its log
            say(f"{getattr(chore, '__name__', chore)}: {type(error).__name__}: {error}; training goes on")
            return now + LONGEST
        return None if pause is None else now + pause
