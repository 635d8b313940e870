"""Tries patterns on lines in a process of its own, which whoever asks may end: a pattern may take for ever.
Runs alone, from its text.

A question is a line of JSON {"patterns", "lines", "seconds"}, the answer one {"found": [[line, pattern,
groups], ...], "slow": the line on which the processor's time was up, or null}.
"""

import json
import re
import signal
import sys


class Late(Exception):
    """The time for a question is up."""


def late(*_):
    raise Late


def answer(patterns, lines, seconds):
    """Return the answer (dict) to one question."""
    compiled, hits, line, has_timer = ([re.compile(pattern) for pattern in patterns], [], None,
                                       hasattr(signal, "setitimer"))
    try:
        if has_timer:
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        for line, text in enumerate(lines):
            for position, pattern in enumerate(compiled):
                match = pattern.search(text)
                if match:
                    groups = {name: value for name, value in match.groupdict().items() if value is not None}
                    hits.append([line, position, groups, [list(match.span(name)) for name in groups]])
                    break
        return {"found": hits, "slow": None}
    except Late:
        return {"found": hits, "slow": line}
    finally:
        if has_timer:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def main():
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl+C is for whoever asks
    if hasattr(signal, "SIGVTALRM"):
        signal.signal(signal.SIGVTALRM, late)
    for question in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(answer(**json.loads(question.decode()))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
