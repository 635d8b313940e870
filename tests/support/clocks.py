"""The one clock for tests: it stands still until it is moved."""


class Clock:
    """Called, it says `now` (s), which a test moves."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now
