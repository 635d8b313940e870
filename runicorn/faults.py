"""A mistake of our own is said as one: what, where, once for each place. It is no line that broke, and trying
again mends nothing."""

import traceback
from pathlib import Path

PACKAGE = Path(__file__).parent
_logged = set()               # (type, place) of those in a log already: any thread adds


def place(error):
    """Return where in our code an exception comes from (str, such as "mirror/sync.py:130"): the last of its
    steps that is in it."""
    steps = traceback.extract_tb(error.__traceback__)
    ours = [step for step in steps if PACKAGE in Path(step.filename).parents] or steps[-1:]
    if not ours:
        return "an unknown place"
    path = Path(ours[-1].filename)
    name = path.relative_to(PACKAGE).as_posix() if PACKAGE in path.parents else path.name
    return f"{name}:{ours[-1].lineno}"


def tell(logger, error, doing, **extra):
    """Log, the first time, that `doing` (str) failed by a mistake of ours, with its traceback; return that
    for a user (str, one line)."""
    text = " ".join(str(error).split())[:300]
    sentence = (f"a mistake of Runicorn's own at {place(error)} "
                f"({type(error).__name__}{f': {text}' if text else ''}); please report it")
    if (type(error), place(error)) not in _logged:
        _logged.add((type(error), place(error)))
        logger.error("%s failed: %s", doing, sentence, exc_info=error, **extra)
    return sentence
