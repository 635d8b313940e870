"""Manifests with records of all kinds, and what every way of reading lists of them."""

import json

import pytest
from pairs import OLD

from runicorn.reader.catalog import Catalog
from runicorn.viewer.exchange import to_json

POISON = {
    "two exponents": "1e5e5", "huge": "1e999", "minus huge": "-1e999", "nan": "NaN", "infinity": "Infinity",
    "negative": "-5", "1e18": "1e18", "long": "9" * 5000, "digits": "9" * 400, "true": "true", "null": "null",
    "text": '"x"', "number as text": '"7"', "surrogate": '"\\ud800"', "list": "[]", "dict": "{}",
    "half": "0.5", "nested lists": "[" * 900 + "]" * 900, "nested": '{"a":' * 400 + "1" + "}" * 400,
    "giant": '"' + "x" * 100_000 + '"', "word": "nonsense", "empty": "", "list of lists": "[[1], {}]",
}
HEAD = ("digest", "mtime", "ended", "count", "bytes", "beat", "meta", "status", "summary", "files")
PLACES = {
    **{field: (field,) for field in HEAD},
    "file": ("files", "logs.txt"), "size": ("files", "logs.txt", "size"),
    "file's mtime": ("files", "logs.txt", "mtime"), "tail": ("files", "logs.txt", "tail"),
    **{f"meta.{name}": ("meta", name)
       for name in ("format", "id", "project", "name", "created_at", "user", "hostname", "tags", "notes",
                    "config")},
    "tag": ("meta", "tags", 0), "config.lr": ("meta", "config", "lr"),
    **{f"status.{name}": ("status", name)
       for name in ("status", "started_at", "ended_at", "exit_code", "signal", "error", "attempts")},
    "attempt": ("status", "attempts", 0), "summary.loss": ("summary", "loss"), "unknown": ("unknown",),
}


def sound(status="finished"):
    return {"digest": "a" * 64, "mtime": OLD, "ended": status == "finished", "count": 1, "bytes": 3,
            "beat": None, "meta": {"format": 1, "id": "i", "project": "p", "name": "n", "created_at": OLD,
                                   "user": "u", "hostname": "h", "tags": ["t"], "notes": "",
                                   "config": {"lr": 0.1}},
            "status": {"status": status, "started_at": OLD, "ended_at": OLD + 5, "exit_code": 0,
                       "signal": None, "error": None, "attempts": [{"started_at": OLD}]},
            "summary": {"loss": 0.5}, "files": {"logs.txt": {"size": 3, "mtime": OLD, "tail": None}}}


def poisoned(place, poison, status="finished"):
    """Return the JSON of a run with `poison` (JSON text, or none) at `place`, the other fields as a manifest
    has them."""
    entry = sound(status)
    inner = entry
    for key in place[:-1]:
        inner = inner[key]
    if place[-1] in inner if isinstance(inner, dict) else True:
        inner[place[-1]] = "@@"
    else:
        inner[place[-1]] = "@@"
    return json.dumps(entry).replace('"@@"', poison)


def run_id(number):
    return f"20250124_{number:06d}_abc123"


def all_lines(every=1):
    """Return {run path: line}: every poison at every place, in turn of a run that ended and one that goes on;
    of these `every`-th."""
    both = [(name, what, place, poison) for name, place in PLACES.items() for what, poison in POISON.items()]
    states = [("finished", "running")[number // len(POISON) % 2] for number in range(len(both))]
    return {f"p/{status}/runs/{run_id(number)}": poisoned(place, poison, status)
            for number, ((_, _, place, poison), status) in enumerate(zip(both, states))
            if number % every == 0}


def write_manifest(root, lines, header='"revision": 1, "generated_at": 1, "host": "h", "root": "/r"',
                   name="full_manifest.json"):
    (root / ".runicorn").mkdir(parents=True, exist_ok=True)
    text = ",\n".join(f"{json.dumps(path)}: {line}" for path, line in lines.items())
    (root / ".runicorn" / name).write_text(
        f'{{"format": 1, "kind": "full", "digest": "sha256:x", {header},\n"runs": {{\n{text}\n}},\n'
        f'"statistics": {{}}}}\n')


def listed(*sources, **more):
    """Return the rows of the list as the API gives them, read as strictly as a browser does."""
    reader = Catalog(*sources, **more)
    reader.begin()
    reader.refresh()
    reader.look()
    answer = to_json(reader.runs(limit=None, spark=True,
                                 columns=("config.lr", "summary.loss", "started"))).body.decode()
    answers = [to_json(reader.facets(reader.view()).tree())]
    for key in [row["key"] for row in reader.runs(limit=None)["runs"]]:
        answers.append(to_json(reader.run(key)))
    assert [one for one in answers
            if not isinstance(json.loads(one.body.decode(), parse_constant=pytest.fail), dict)] == []
    for sort in ("-started", "ended", "duration", "name", "config.lr", "summary.loss", "main", "tags"):
        reader.runs(sort=sort)
    return json.loads(answer, parse_constant=pytest.fail)["runs"]
