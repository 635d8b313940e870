"""Which system runs our processes, and what it says of them where there is no /proc: start(pid), cpu_times() and memory(), as in
`windows`; None elsewhere."""

import os

WINDOWS = os.name == "nt"

start = cpu_times = memory = lambda *_: None
if WINDOWS:
    import contextlib

    with contextlib.suppress(ImportError):              # the server copy
        from runicorn import windows
        start, cpu_times, memory = windows.start, windows.cpu_times, windows.memory
