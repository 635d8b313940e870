"""What a run's entry in a manifest must look like, whoever made it: every field its type and range. Used
where manifests are read, never where they are made."""

import json
import re

from runicorn.foreign import KINDS
from runicorn.layout import ENDED, STEMS

UNDECODABLE = re.compile("[\ud800-\udfff]")     # how Python shows bytes of a name that are no UTF-8
KINDS_OF_LINE = re.compile(rb', "kinds": (\["[a-z]+"(?:, "[a-z]+")*\])\}\Z')
HEX = re.compile(r"[0-9a-f]{64}\Z")


def kinds_of(line):
    """Return the kinds (tuple of KINDS) that a run's line (bytes) says it is of, () of a run of ours; looks
    at its end only."""
    match = KINDS_OF_LINE.search(line, max(0, len(line) - 128)) if line.endswith(b'"]}') else None
    kinds = json.loads(match.group(1).decode()) if match else []
    return tuple(kinds) if _are_kinds(kinds) else ()


def parsed(line, is_object, is_number, levels):
    """Return (the entry in a run's line (bytes), what did not fit in it, see `checked`). Raises ValueError,
    RecursionError.
    levels: is_object looks whether a dict has more, which one with fewer brackets has not."""
    entry = json.loads(line.decode("utf-8"))
    is_deep = line.count(b"{") + line.count(b"[") > levels
    return entry, checked(entry, is_object if is_deep else _is_dict, is_number)


def checked(entry, is_object, is_number):
    """Give every field of a parsed entry its type and range, in place; return what did not fit (list of str:
    fields).

    What is absent or does not fit is filled in; a file without a believable name or size is left out. Raises
    ValueError for no dict.
    is_object, is_number: what fits as such.
    """
    if not isinstance(entry, dict):
        raise ValueError("not a dict")
    wrong = [field for field in STEMS if not _mend(entry, field, is_object)]
    wrong += [field for field in ("mtime", "beat") if not _mend(entry, field, is_number)]
    wrong += [] if _mend(entry, "digest", _is_hash, "") else ["digest"]
    files = entry.setdefault("files", {})
    # One was lost, or told twice
    if not isinstance(files, dict) or type(entry.get("count")) is int and entry["count"] != len(files):
        wrong.append("files")
        entry["files"] = files if isinstance(files, dict) else {}
    wrong += [] if "kinds" not in entry or _mend(entry, "kinds", _are_kinds, ()) else ["kinds"]
    status = (entry["status"] or {}).get("status")
    ended = entry.setdefault("ended", status in ENDED)
    if type(ended) is not bool or isinstance(status, str) and ended is not (status in ENDED):
        wrong.append("ended")
        entry["ended"] = status in ENDED
    for name, file in list(entry["files"].items()):
        if (isinstance(file, dict) and _is_size(file.get("size"))
                and (name.isascii() or not UNDECODABLE.search(name))):
            mtime, tail = file.setdefault("mtime", None), file.setdefault("tail", None)
            if not ((mtime is None or is_number(mtime)) and (tail is None or _is_hash(tail))):
                wrong += [f"files.{name}.{field}"
                          for field, fits in (("mtime", is_number), ("tail", _is_hash))
                          if not _mend(file, field, fits)]
        else:
            wrong.append("files." + ascii(name)[1:-1])
            del entry["files"][name]
    return wrong


def _mend(record, field, fits, default=None):
    """Whether `record` has a fitting value, or none, at `field`; it has `default` there otherwise."""
    value = record.setdefault(field, default)
    if value is default or fits(value):
        return True
    record[field] = default
    return False


def _is_dict(value):
    return isinstance(value, dict)


def _are_kinds(value):
    return isinstance(value, list) and 0 < len(value) <= len(KINDS) and all(kind in KINDS for kind in value)


def _is_hash(value):
    return isinstance(value, str) and HEX.match(value) is not None


def _is_size(value):
    return type(value) is int and 0 <= value < 1 << 60
