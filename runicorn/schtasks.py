"""The task of Windows' Task Scheduler that makes a root's manifest again every 5 minutes (Microsoft:
"schtasks create")."""

import os
import re
import subprocess
import zlib

from runicorn.errors import UsageError

TASK_CHARS = 261            # of a task's command, the most that schtasks takes


def task_words(root, command):
    """Return the words (list of str) that install the task of `root`. command: what it runs (list of str).
    Raises UsageError."""
    line = subprocess.list2cmdline([_windowless(command[0])] + command[1:])
    if len(line) > TASK_CHARS:
        raise UsageError(f"schtasks takes a command of {TASK_CHARS} characters and this one has "
                         f"{len(line)}: with runicorn.pyz in a folder "
                         f"whose path is short it is shorter\n{line}")
    return ["schtasks", "/Create", "/F", "/SC", "MINUTE", "/MO", "5", "/TN", _name(root), "/TR", line]


def _name(root):
    """Return the name of a root's task, one for each root however it is written: "Runicorn manifest D my runs
    1a2b3c4d"."""
    plain = root.replace("/", "\\").rstrip("\\").lower()
    end = re.sub(r"[^\w.-]+", " ", plain)[-60:].strip()
    return f"Runicorn manifest {end} {zlib.crc32(plain.encode('utf-8', 'replace')):08x}"


def _windowless(python):
    """Return the interpreter beside `python` that shows no console window each time, where there is one."""
    pythonw = re.sub(r"python([\d.]*)(\.exe)\Z", r"pythonw\1\2", python, flags=re.I)
    return pythonw if os.path.isfile(pythonw) else python
