"""Which system runs our processes, and what it says of them where there is no /proc: start(pid), cpu_times(),
memory(), at_close(end), as in `windows`, None elsewhere; settle(root, given, run_id); escapes(stream):
whether a terminal takes escape sequences."""

import os

WINDOWS = os.name == "nt"

start = cpu_times = memory = at_close = lambda *_: None
escapes = bool              # of a stream: any terminal does


def settle(*same):
    return same


if WINDOWS:
    try:
        from runicorn.writer.windows import at_close, cpu_times, escapes, memory, settle, start  # noqa: F401 (for those who ask us)
    except ImportError:
        pass                # the server copy
