"""What rules of one's own make of one text file: the lines that fit and the curves that come out, as the page
and the command show them before they are set. Keeps nothing."""

from __future__ import annotations

import json
import os

from runicorn import foreign, foreign_rules, layout, rules
from runicorn.foreign_text import decoded
from runicorn.layout import open_regular
from runicorn.metrics.kinds import ruled
from runicorn.rule_process import SHARED

BYTES = 1 << 20             # of a file that are looked at: its beginning and, of a larger one, its end
# Lines that are tried, shown, and of these before the first that fits
TRIED, SHOWN, CONTEXT = 5000, 60, 3
CLIPPED = 300               # characters of a line that are shown
CURVES, POINTS = 24, 200    # metrics, and points of each


def read(path):
    """Return the bytes of a file that a preview looks at. Raises OSError."""
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= BYTES:
            return file.read(BYTES)
        head = file.read(BYTES // 2)
        file.seek(size - BYTES // 2)
        return joined(head, file.read(BYTES // 2))


def joined(head, tail):
    """Return the whole lines of the beginning and the end of a file as one."""
    return head[:head.rfind(b"\n") + 1] + tail[tail.find(b"\n") + 1:]


def preview(listed, file_path, data):
    """Return {"kind", "tried", "matched", "slow", "lines": [{"text", "spans": [[name, begin, end], ...],
    "fits"}, ...], "curves": [{"metric", "steps", "values", "points"}, ...]} of the file at `file_path` below
    a root; "kind" is None where no rule is for it.

    listed: rules (list of dicts); data: what `read` gave (bytes). Raises UsageError for what is no rule.
    """
    fitting = rules.made(rules.checked(listed)).of(file_path, foreign.kind_of_name(file_path))
    kind = foreign_rules.kind_of(fitting[0]) if fitting else None
    fitting = [rule for rule in fitting if foreign_rules.kind_of(rule) == kind]
    lines = [decoded(line)
             for line in data[:data.rfind(b"\n") + 1].replace(b"\r\n", b"\n").split(b"\n")[:TRIED]
             if line.strip()]
    spans, slow = _spans(kind, fitting, lines) if kind else ({}, None)
    begin = max(0, min(spans, default=0) - CONTEXT)
    shown = [{"text": text[:CLIPPED], "fits": number in spans, "spans": spans.get(number, [])}
             for number, text in enumerate(lines[begin:begin + SHOWN], begin)]
    return {"kind": kind, "tried": len(lines), "matched": len(spans), "slow": slow, "lines": shown,
            "curves": _curves(kind, fitting, data) if spans and slow is None else []}


def _spans(kind, fitting, lines):
    """Return ({place of a line: what of it is which group}, the pattern that takes too long or None)."""
    if kind == "jsonl":
        return {number: [] for number, text in enumerate(lines) if _is_row(text, fitting[0])}, None
    spans = {}
    for rule in fitting:
        remaining = [number for number in range(len(lines)) if number not in spans]
        hits, slow = SHARED.ask([rule["pattern"]],
                                [lines[number][:foreign_rules.LINE] for number in remaining])
        if slow is not None:
            return spans, rule["pattern"]
        spans.update((remaining[line], [[name, *span] for name, span in zip(groups, offset)])
                     for line, _, groups, offset in hits)
    return spans, None


def _is_row(text, rule):
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(entry, dict) and foreign_rules.is_row(entry, rule)


def _curves(kind, fitting, data):
    reader, points, remaining = ruled.reader(kind, layout.to_json(fitting)), {}, data
    while remaining:
        used, parts = reader.take(remaining, len(remaining))
        for part in parts:
            for name, column in zip(part.names, part.columns):
                points.setdefault(name, []).extend(zip(part.rows, part.steps, column))
        remaining = remaining[used:] if used else b""
    curves = []
    for name, rows in list(points.items())[:CURVES]:
        rows = sorted(rows)
        every = max(1, len(rows) // POINTS)
        curves.append({"metric": name, "points": len(rows), "steps": [row[1] for row in rows[::every]],
                       "values": [layout.strict(row[2]) for row in rows[::every]]})
    return curves
