"""One line to whoever runs the script, on stderr, each said once. Never raises."""

import sys

SAID_LIMIT = 1000       # distinct lines a process says at most: a loop of new troubles must not flood a terminal
_said = set()


def say(message, once=None):
    """Print "runicorn: `message`" to stderr unless it, or what `once` names, was said before in this process."""
    key = once or message
    if key in _said or len(_said) >= SAID_LIMIT:
        return
    _said.add(key)
    try:
        sys.stderr.write(f"runicorn: {message}\n")
        sys.stderr.flush()
    except Exception:       # stderr is None, closed or somebody's broken object: there is nobody left to tell
        pass
