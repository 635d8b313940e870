"""Which system runs our processes, and what it says of them where there is no /proc: start(pid), cpu_times(), memory(), at_close(end) and
reach(root, given), as in `windows`, None elsewhere; escapes(stream): whether a terminal takes escape sequences."""

import os

WINDOWS = os.name == "nt"

start = cpu_times = memory = at_close = reach = lambda *_: None
escapes = bool              # of a stream: any terminal does
if WINDOWS:
    try:
        from runicorn.windows import at_close, cpu_times, escapes, memory, reach, start  # noqa: F401 (for those who ask us)
    except ImportError:
        pass                # the server copy
