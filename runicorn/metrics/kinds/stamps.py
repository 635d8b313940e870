"""Times as loggers write them: Unix seconds or milliseconds, ISO 8601, Python's logging, syslog. No clock of
this machine."""

import re
from calendar import timegm

# 2000 to 2100: what is no time of a training is a duration, or a metric
FIRST, LAST = 946_684_800, 4_102_444_800
ISO = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d)[T "
                 r"_](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d(?![\d:-]))?")


def plausible(value):
    """Whether a number may be a time (Unix seconds)."""
    return FIRST <= value < LAST


def seconds(text):
    """Return the Unix seconds (float) that `text` stands for, a number or a time with its date, or None.
    Without a zone: as UTC."""
    try:
        value = float(text) if "_" not in text else None
    except ValueError:
        value = None
    if value is not None:
        return moment(value)
    match = ISO.match(text)
    return iso(match) if match else None


def moment(value):
    """Return the Unix seconds (float) that a number of seconds or milliseconds stands for, or None."""
    if plausible(value):
        return float(value)
    return value / 1000 if plausible(value / 1000) and value > 1e11 else None


def iso(match):
    """Return the Unix seconds of what ISO matched, or None if that is no date."""
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60
            and 2000 <= year < 2100):
        return None
    zone = match[8]
    shift = 0 if zone in (None, "Z") else (1 if zone[0] == "+" else -1) * (3600 * int(zone[1:3])
                                                                           + 60 * int(zone[-2:]))
    return timegm((year, month, day, hour, minute, second)) - shift + float("0." + (match[7] or "0"))


def naive(cell):
    """Whether a time as written (bytes) does not say its zone."""
    match = ISO.match(cell.decode("latin-1").strip())
    return match is not None and match[8] is None
