"""Which values of a root or a run look like secrets, for `runicorn check --secrets`. Says where they stand,
never what they are."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from runicorn.errors import NotFoundError
from runicorn.layout import META, STATUS, SUMMARY, parse_own
from runicorn.local_names import parse_rank_status
from runicorn.masking import masked
from runicorn.transfer.check import Finding, gathered, is_run, lines, load, rows, run_folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def scan(path):
    """Yield a Finding for each value that looks like a secret in a root or a run folder. Raises NotFoundError
    for any other path."""
    path = Path(path).expanduser()
    runs = [("", path)] if is_run(path) else run_folders(path, Counter())
    if not runs:
        raise NotFoundError(f"{path} holds no runs: a root has project/name/runs/id below it, a run has "
                            f"{META}")
    for relative, folder in runs:
        yield from scan_run(folder, relative and relative + "/")


def scan_run(folder, prefix):
    """Yield the findings of one run's own files; media and what the user put beside them are not looked
    into."""
    for name in (META, STATUS, SUMMARY, *sorted(filter(parse_rank_status, os.listdir(folder)))):
        value, findings = load(folder / name, prefix + name)
        yield from (finding for finding in findings if finding.wrong and (folder / name).exists())
        for key in differing(value, masked(value)):
            yield Finding(prefix + name, None, f"{key} looks like a secret", True)
    for name in sorted(os.listdir(folder)):
        own = parse_own(name)
        if own and own[0] in ("events", "logs"):
            scan = scan_events if own[0] == "events" else scan_logs
            yield from gathered(scan(folder / name), prefix + name)


def scan_events(path: Path) -> Iterator[Any]:
    for n, row, _ in rows(path):
        for key in differing(row, masked(row)):
            yield n, f"{key} looks like a secret", True


def scan_logs(path):
    for n, line, _ in lines(path):
        text = line.decode("utf-8", "replace")
        if masked(text) != text:
            yield n, "printed: what looks like a secret", True


def differing(value: Any, shown: Any, key: str = "") -> Iterator[Any]:
    """Yield the key ("config.db.password", "argv[2]") of each value that is another in `shown`, which has the
    same shape."""
    if isinstance(value, dict) and len(value) == len(shown):
        for name, item in zip(shown, value.values()):
            yield from differing(item, shown[name], f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from differing(item, shown[n], f"{key}[{n}]")
    elif value != shown:
        yield key
