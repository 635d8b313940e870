"""The one way to wait for what comes to pass: `until`."""

import time


def until(true, what="it", seconds=60):
    """Wait until `true()` is true and return what it returned; AssertionError after `seconds`.

    what: says what was waited for, or returns it when it did not come (callable)."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"waited {seconds} s: {what() if callable(what) else what} did not come to pass"
        time.sleep(0.05)
    return found
