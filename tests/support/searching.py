"""The processes that a process searches logs with, as the system shows them."""

import psutil


def searching(pid=None):
    """Return the ids (list of int) of the children of `pid`, default this process, that search by an
    expression."""
    found = []
    for child in psutil.Process(pid).children():
        try:
            if any("def matcher(" in word for word in child.cmdline()):
                found.append(child.pid)
        except psutil.Error:
            pass        # ended between the look and the question
    return found
