"""Lines for the terminal, on stderr."""

import sys

from runicorn.writer.values import attempt

_repeated = set()


def termlog(string="", newline=True, repeat=True, prefix=True):
    """Print "wandb: `string`" on stderr; repeat=False: once a process."""
    if not repeat and string in _repeated:
        return
    if not repeat:
        _repeated.add(string)
    lines = [("wandb: " if prefix else "") + line for line in str(string).split("\n")]
    attempt(lambda: print("\n".join(lines), end="\n" if newline else "", file=sys.stderr, flush=True))


termwarn = termerror = termlog


def termsetup(settings=None, logger=None):
    """Nothing is to be set."""
