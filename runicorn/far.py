"""What the server shows of a run whose files are not here yet: the end of its log and spaced lines of its events, read through the
connection into memory, never into the mirror. The exact picture follows when the files are here."""

import logging
import tempfile
import weakref

from runicorn import layout
from runicorn.errors import RunicornError
from runicorn.logs import Log

LOG_END = 256 << 10         # bytes of a log's end that are read

_primed = weakref.WeakKeyDictionary()       # Series -> {file name: the size its sample was taken at}
log = logging.getLogger("runicorn")


def prime(mirrors, entry, series):
    """Give `series` a sample of each events file that is not here, once per size. Quietly does without where the line is down."""
    primed = _primed.setdefault(series, {})
    for name, size in _missing(entry, "events", entry.sizes()):
        if primed.get(name) == size:
            continue
        try:
            series.prime(name, size, lambda spans, name=name: _blocks(mirrors, entry, name, spans))
            primed[name] = size
        except RunicornError as error:
            log.info("%s: no first look at %s: %s", entry.key, name, error)     # sync brings the whole file as soon as it can


def log_end(mirrors, entry, limit):
    """Return a page of the end of the newest log on the server (dict as Log.page gives), or None if it can't be had."""
    missing = [(name, size) for name, size in _missing(entry, "logs", {}) if size]
    if not missing:
        return None
    name, size = max(missing, key=lambda item: layout.parse_own(item[0])[1])
    start = max(0, size - LOG_END)
    try:
        block, = _blocks(mirrors, entry, name, [(start, size - start)])
    except RunicornError as error:
        log.info("%s: no first look at %s: %s", entry.key, name, error)
        return None
    start += block.find(b"\n") + 1 if start else 0
    with tempfile.NamedTemporaryFile(prefix="runicorn-") as file:
        file.write(block[block.find(b"\n") + 1:] if len(block) < size else block)
        file.flush()
        page = Log(file.name).page(limit_bytes=limit)
    for line in page["lines"]:
        line["at"] += start
        line["n"] = None
    return {**page, "start": page["start"] + start, "end": size, "size": size, "more_before": page["start"] + start > 0, "file": name}


def _missing(entry, stem, here):
    """Yield (name, size) of rank 0's files of a stem that the server has and we have less of."""
    files = (entry.source.entry(entry.record.path) or {}).get("files", {})
    for name, file in sorted(files.items()):
        own = layout.parse_own(name)
        if own and own[0] == stem and own[2] == 0 and here.get(name, 0) < file["size"]:
            yield name, file["size"]


def _blocks(mirrors, entry, name, spans):
    project, experiment, run_id = layout.split_run_path(entry.record.path)
    found = mirrors.peek(f"{entry.source.slug}:{project}/{experiment}/{run_id}", name, spans)
    if found is None:
        raise RunicornError("its connection is not at work")
    return found
