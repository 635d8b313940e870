"""The one way to wait for what comes to pass: `until`."""

import time


def until(look, what="it", seconds=60, wanted=bool, pause=0.05):
    """Wait until `wanted` holds of what `look()` returns, and return that; AssertionError after `seconds`.
    It is called every `pause` seconds.

    what: says what was waited for, or returns it when it did not come (callable)."""
    deadline = time.monotonic() + seconds
    while not wanted(seen := look()):
        assert time.monotonic() < deadline, (
            f"waited {seconds} s: {what() if callable(what) else what} did not come to pass",
            str(seen)[:2000])
        time.sleep(pause)
    return seen
