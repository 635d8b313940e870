"""What the long runs come to: cases tried, bytes wrong, bytes lost, runs called verified that were wrong;
states that runs ended in.

Printed at the end."""

from collections import Counter

cases = wrong = lost = falsely = 0
states = {}                 # how runs were ended -> Counter of the states they ended in


def count(way, found):
    """Count the states (iterable of str) of runs that were ended in the same way; returns the Counter of this
    way."""
    states.setdefault(way, Counter()).update(found)
    return states[way]


def counts():
    """Return what is counted (tuple of int), as `add` takes it from another process."""
    return cases, wrong, lost, falsely


def add(*others):
    """Add what another process counted."""
    global cases, wrong, lost, falsely
    cases, wrong, lost, falsely = (one + other for one, other in zip(counts(), others or (0, 0, 0, 0)))


def tried(count=1):
    """Count cases."""
    global cases
    cases += count


def compare(held, true, whole=True):
    """Compare what the mirror holds of a file (bytes) with what the server has, count what differs, and
    refuse it.

    whole: False while the file may still be on its way: then a true beginning is enough.
    """
    global wrong, lost
    bad = (0 if true.startswith(held)
           else sum(one != other for one, other in zip(held, true)) + max(0, len(held) - len(true)))
    missing = max(0, len(true) - len(held)) if whole else 0
    wrong, lost = wrong + bad, lost + missing
    assert (bad, missing) == (0, 0), f"{bad} bytes wrong, {missing} lost of {len(true)}"


def verified(same, what):
    """Count a run `what` that is called verified where it is not the `same` as the server's (bool), and
    refuse it."""
    global falsely
    falsely += not same
    assert same, f"{what} is called verified, and is wrong"


def summary():
    """Return the lines that tell all of it, empty when nothing was tried."""
    lines = [f"chaos: {cases} cases tried, wrong bytes {wrong}, lost bytes {lost}, "
             f"called verified while wrong {falsely}"] if cases else []
    for way, counts in states.items():
        lines.append(f"{way}: " + ", ".join(f"{number} {state}" for state, number in sorted(counts.items())))
    return lines
