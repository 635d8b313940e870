"""What the long fault runs come to: cases tried, bytes that were wrong, bytes that were lost. Printed at the end of `make chaos`."""

cases = wrong = lost = 0


def tried(count=1):
    """Count cases."""
    global cases
    cases += count


def compare(held, true, whole=True):
    """Compare what the mirror holds of a file (bytes) with what the server has, count what differs, and refuse it.

    whole: False while the file may still be on its way: then a true beginning is enough.
    """
    global wrong, lost
    bad = 0 if true.startswith(held) else sum(one != other for one, other in zip(held, true)) + max(0, len(held) - len(true))
    missing = max(0, len(true) - len(held)) if whole else 0
    wrong, lost = wrong + bad, lost + missing
    assert (bad, missing) == (0, 0), f"{bad} bytes wrong, {missing} lost of {len(true)}"


def summary():
    """Return the line that tells all of it, or None when nothing was tried."""
    return f"chaos: {cases} cases tried, wrong bytes {wrong}, lost bytes {lost}" if cases else None
