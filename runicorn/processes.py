"""Which system runs our processes, and what it says of them where there is no /proc: start(pid), cpu_times() and memory(), as in
`windows`; None elsewhere."""

import contextlib
import os
import sys

WINDOWS = os.name == "nt"
HAS_DESKTOP = sys.platform in ("darwin", "win32")       # whoever sits at a terminal there has a desktop

start = cpu_times = memory = lambda *_: None
if WINDOWS:
    with contextlib.suppress(ImportError):              # the server copy
        from runicorn import windows
        start, cpu_times, memory = windows.start, windows.cpu_times, windows.memory
